// One trace: what happened in a sentence, the waterfall, and the chosen span with its attributes, events and logs.

import { Badge, Button, Group, Stack, Table, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useMemo } from "react";
import { judgedTrace } from "../api/causes";
import { quoted, sql } from "../api/sql";
import { trace as fetchTrace } from "../api/tempo";
import { SqlTable } from "../explore/sql-result";
import { format } from "../format";
import { Answered, Failed, Waiting, Warnings } from "../parts/answer";
import { stamp } from "../time";
import { one, useUrl } from "../url";
import { beyondUsual, build, costliest, firstError, type Node, type Trace, usually } from "./tree";
import { Waterfall } from "./waterfall";

export function TracePage() {
  const { id = "" } = useParams({ strict: false }) as { id?: string };
  const query = useQuery({ queryKey: ["trace", id], queryFn: ({ signal }) => fetchTrace(id, signal) });
  // The spans are drawn as soon as they are there; what is usual for them takes a look at the hour before.
  const judged = useQuery({ queryKey: ["trace-judged", id], queryFn: ({ signal }) => judgedTrace(id, signal) });
  const trace = useMemo(() => (query.data ? build(query.data.batches, judged.data?.spans) : null), [query.data, judged.data]);
  if (query.error) return <Failed error={query.error} retry={() => void query.refetch()} />;
  if (!trace) return <Waiting height={300} />;
  return <Loaded id={id} trace={trace} warnings={[...(query.data?.warnings ?? []), ...(judged.error ? [`What is usual for these spans is not known: ${judged.error.message}`] : [])]} />;
}

function Loaded({ id, trace, warnings }: { id: string; trace: Trace; warnings: string[] }) {
  const [search, change] = useUrl();
  const error = firstError(trace);
  const slow = costliest(trace);
  // Who comes for one operation sees its longest span, whatever else failed in the trace.
  const at = one(search.at);
  const asked = at ? trace.nodes.filter((node) => `${node.service}: ${node.name}` === at).sort((a, b) => b.ownMs - a.ownMs)[0] : undefined;
  const chosen = trace.nodes.find((node) => node.id === one(search.span)) ?? asked ?? error ?? slow ?? trace.nodes[0];
  const select = (span: string) => change({ span }, true);
  const root = trace.roots[0];
  return (
    <Stack gap="sm">
      <header>
        <Title order={1} size="h4" className="wrap">{root ? `${root.service}: ${root.name}` : "Trace"}</Title>
        <Text size="sm" c="dimmed">
          {stamp(trace.startMs)} · {format(trace.durationMs, "ms")} · {trace.nodes.length} spans in {trace.services.length} {trace.services.length === 1 ? "service" : "services"} · <span className="mono">{id}</span>
        </Text>
        <Group gap="xs" mt={6}>
          {slow && (
            <Button size="compact-xs" variant="light" onClick={() => select(slow.id)}>
              Most time: {slow.service} {slow.name}, {format(slow.criticalMs ?? 0, "ms")} of {format(trace.durationMs, "ms")}
            </Button>
          )}
          {error && <Button size="compact-xs" variant="light" color="red" onClick={() => select(error.id)}>First error: {error.service} {error.name}</Button>}
          {trace.roots.length > 1 && <Badge color="yellow" variant="light" style={{ color: "var(--mantine-color-text)" }}>some spans' parents have not arrived</Badge>}
        </Group>
      </header>
      <Warnings list={warnings} />
      <section className="card" aria-label="Waterfall">
        <Waterfall trace={trace} selected={chosen?.id} onSelect={select} />
        <Text size="xs" c="dimmed" mt={4}>Outlined bars are the critical path: without them the request would have ended sooner. The line below a bar is how long 95 % of such spans take, its tick how long half of them do.</Text>
      </section>
      {chosen && <SpanDetails node={chosen} traceId={id} />}
    </Stack>
  );
}

function SpanDetails({ node, traceId }: { node: Node; traceId: string }) {
  const logs = useQuery({
    queryKey: ["span-logs", traceId, node.id],
    queryFn: ({ signal }) => sql(`select ts, severity, service, body from logs where trace_id = ${quoted(traceId)} and span_id = ${quoted(node.id)} order by ts limit 200`, signal),
  });
  const beyond = beyondUsual(node);
  return (
    <div className="grid-2">
      <section className="card" aria-label="Chosen span">
        <h2 className="card-title">{node.service}: {node.name}</h2>
        <Text size="sm">
          {node.kind && `${node.kind} span, `}starts after {format(node.startMs, "ms")}, takes {format(node.durationMs, "ms")}, of which {format(node.ownMs, "ms")} are its own{node.criticalMs ? ` and ${format(node.criticalMs, "ms")} kept the request waiting` : ""}.
        </Text>
        {node.usual && (
          <Text size="sm" {...(beyond ? { className: "span-beyond" } : { c: "dimmed" })} data-usual-of={node.id}>
            This span normally takes {usually(node.usual, (ms) => format(ms, "ms"))}, by {format(node.usual.spans)} of them in the hour before{beyond ? `; this one took ${format(beyond)} times its p95` : ""}.
          </Text>
        )}
        {node.error && <Text size="sm" c="red" fw={600}>Failed{node.statusMessage ? `: ${node.statusMessage}` : ""}</Text>}
        {node.orphan && <Text size="sm" c="dimmed">Its parent span {node.parentId} has not arrived.</Text>}
        <Pairs title="Attributes" pairs={node.attributes} />
        {node.events.map((event, index) => <Pairs key={index} title={`Event ${event.name} after ${format(event.atMs, "ms")}`} pairs={event.attributes} />)}
      </section>
      <section className="card" aria-label="Logs and resource">
        <h2 className="card-title">Its log lines</h2>
        <Answered query={logs} empty={(data) => (data.rows.length === 0 ? "No log line carries this span's id." : null)}>
          {(data) => <SqlTable data={data} />}
        </Answered>
        <Pairs title="Resource" pairs={node.resource} />
      </section>
    </div>
  );
}

function Pairs({ title, pairs }: { title: string; pairs: Record<string, string> }) {
  const list = Object.entries(pairs).sort();
  if (list.length === 0) return null;
  return (
    <Table fz="sm" verticalSpacing={2} mt="xs" captionSide="top">
      <Table.Caption ta="left" fw={600} mt={0} c="var(--mantine-color-text)">{title}</Table.Caption>
      <Table.Tbody>
        {list.map(([name, value]) => (
          <Table.Tr key={name}>
            <Table.Td c="dimmed" w={220} className="wrap">{name}</Table.Td>
            <Table.Td className="wrap mono">{value}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
