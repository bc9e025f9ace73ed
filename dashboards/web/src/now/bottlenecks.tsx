// What slows requests: each operation that makes some of them wait, how much and how many, and the way to the cause.

import { Button, Group, Stack, Text } from "@mantine/core";
import { IconArrowRight, IconGitCompare, IconList } from "@tabler/icons-react";
import type { UseQueryResult } from "@tanstack/react-query";
import { type Bottleneck, type Bottlenecks, slowed } from "../api/causes";
import { format, share } from "../format";
import { Answered, Warnings } from "../parts/answer";
import { Compared } from "../parts/compared";
import { useGo } from "../parts/link";
import { one as first, useUrl } from "../url";

const SHOWN = 5;

export function WhatSlows({ query }: { query: UseQueryResult<Bottlenecks> }) {
  return (
    <section className="card" aria-label="What slows requests">
      <h2 className="card-title">What slows requests</h2>
      <Answered query={query} empty={() => null}>
        {(data) => (
          <Stack gap="sm" data-state={data.bottlenecks.length > 0 ? "table" : "well"} data-rows={data.bottlenecks.length}>
            <Warnings list={data.warnings ?? []} />
            {data.bottlenecks.slice(0, SHOWN).map((found) => <Found key={`${found.service} ${found.operation}`} found={found} />)}
            {data.bottlenecks.length === 0 && <Text size="sm">{nothing(data)}</Text>}
            <Text size="xs" c="dimmed">{lookedAt(data)}</Text>
          </Stack>
        )}
      </Answered>
    </section>
  );
}

function Found({ found }: { found: Bottleneck }) {
  const go = useGo();
  const [search, change] = useUrl();
  const name = `${found.service}: ${found.operation}`;
  const open = first(search.why) === name;
  const trace = found.traces[0];
  return (
    <div data-bottleneck={name}>
      <Text size="md" fw={600}>{sentence(found)}</Text>
      <Text size="sm" c="dimmed">
        For the other requests it takes {format(found.usual_ms, "ms")}. In all it is {share(found.share_of_time)} of the time that requests take, and {share(found.share_of_p95)} of the time of the slowest twentieth.
      </Text>
      <Group gap="xs" mt={6}>
        {trace && <Button size="compact-sm" leftSection={<IconArrowRight size={14} />} onClick={() => go(`/trace/${trace}`, { at: name })}>Open a slow trace</Button>}
        <Button size="compact-sm" variant="default" leftSection={<IconList size={14} />} onClick={() => go("/explore", { lang: "traceql", q: slowed(found) })}>All slow traces</Button>
        <Button size="compact-sm" variant="default" leftSection={<IconGitCompare size={14} />} aria-expanded={open} onClick={() => change({ why: open ? undefined : name })}>What is different</Button>
      </Group>
      {open && <Differences found={found} />}
    </div>
  );
}

function Differences({ found }: { found: Bottleneck }) {
  return <Compared selection={slowed(found)} what="slow traces" />;
}

/** "orders waits in pool.acquire: that adds 301 ms to 15 % of requests." */
export function sentence(found: Bottleneck): string {
  return `${found.service} waits in ${found.operation}: that adds ${format(found.adds_ms, "ms")} to ${share(found.share_of_requests)} of requests.`;
}

export function nothing(data: Bottlenecks): string {
  if (data.requests === 0) return "No application has sent traces in this time range. Point an OpenTelemetry SDK at port 4317 or 4318, or start with --demo.";
  return "No operation makes some requests slower than others of their kind.";
}

function lookedAt(data: Bottlenecks): string {
  if (data.requests === 0) return "";
  const sampled = data.sampled < 1 ? `, one trace in ${Math.round(1 / data.sampled)}` : "";
  return `Of ${format(data.requests)} requests in this time range${sampled}: time on the critical path, compared among requests of one kind.`;
}
