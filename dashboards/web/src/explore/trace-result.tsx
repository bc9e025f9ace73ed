// What a TraceQL query answers: the traces that match, each one a way to its waterfall.

import { Text } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { counted, countsTraces, type FoundTrace, search, traceMetrics } from "../api/tempo";
import { format } from "../format";
import { Answered, Warnings } from "../parts/answer";
import { useSpan } from "../parts/clock";
import { useGo } from "../parts/link";
import { Rows } from "../parts/rows";
import { stamp } from "../time";
import { MarkedGraph } from "./marked";

const LIMIT = 100;

export function TraceResult({ query }: { query: string }) {
  const span = useSpan();
  const counts = countsTraces(query);
  const answer = useQuery({
    queryKey: ["explore", "traceql", query, span],
    queryFn: async ({ signal }) => (counts ? { traces: [], ...(await traceMetrics(query, span, signal)) } : { series: [], ...(await search(query, span, LIMIT, signal)) }),
    placeholderData: keepPreviousData,
  });
  return (
    <section className="card" aria-label="Result">
      <Answered query={answer} height={320} empty={(found) => (found.traces.length + found.series.length === 0 ? "The query is right and no trace matches in this time range." : null)}>
        {(found) => (
          <>
            <Warnings list={found.warnings} />
            {found.series.length > 0 ? <MarkedGraph answer={{ type: "matrix", ...found }} label={query} counted={counted(query)} what="traces" /> : <FoundTraces found={found.traces} />}
          </>
        )}
      </Answered>
    </section>
  );
}

/** `compact` leaves out what a narrow panel has no room for. */
export function FoundTraces({ found, compact = false }: { found: FoundTrace[]; compact?: boolean }) {
  const go = useGo();
  return (
    <>
      {found.length >= LIMIT && <Text size="xs" c="dimmed">The first {LIMIT} traces found; there may be more.</Text>}
      <Rows
        label="Traces"
        rows={found}
        copy={!compact}
        onOpen={(row) => go(`/trace/${row.traceID}`, { span: row.spanSets?.[0]?.spans?.[0]?.spanID })}
        columns={[
          { name: "Started", value: startMs, show: (row) => <span className="mono">{compact ? stamp(startMs(row)).slice(11, 19) : stamp(startMs(row))}</span> },
          { name: "Service", value: (row) => row.rootServiceName ?? "" },
          { name: "Operation", value: (row) => row.rootTraceName ?? "" },
          { name: "Took", number: true, value: (row) => row.durationMs ?? 0, show: (row) => format(row.durationMs ?? 0, "ms") },
          { name: "Spans", number: true, value: (row) => sum(row, "spanCount") },
          { name: "Errors", number: true, value: (row) => sum(row, "errorCount") },
          ...(compact ? [] : [
            { name: "Matched", value: matched },
            { name: "Trace", value: (row: FoundTrace) => row.traceID, show: (row: FoundTrace) => <span className="mono">{row.traceID.slice(0, 12)}…</span> },
          ]),
        ]}
      />
    </>
  );
}

function startMs(row: FoundTrace): number {
  return Number((row.startTimeUnixNano ?? "0").slice(0, -6) || 0);
}

function sum(row: FoundTrace, what: "spanCount" | "errorCount"): number | null {
  const counts = Object.values(row.serviceStats ?? {});
  return counts.length === 0 ? null : counts.reduce((total, service) => total + (service[what] ?? 0), 0);
}

function matched(row: FoundTrace): string {
  const spans = (row.spanSets ?? []).flatMap((set) => set.spans ?? []);
  const shown = spans.slice(0, 2).map((span) => `${span.name ?? span.spanID} ${format(Number(span.durationNanos ?? 0), "ns")}`);
  const all = (row.spanSets ?? []).reduce((total, set) => total + (set.matched ?? 0), 0);
  return shown.join(", ") + (all > shown.length ? ` and ${all - shown.length} more` : "");
}
