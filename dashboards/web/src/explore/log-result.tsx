// What a LogQL query answers: lines, newest first, or a graph where it counts.

import { Group, Select, Text } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { logs } from "../api/loki";
import { Answered, Warnings } from "../parts/answer";
import { useSpan } from "../parts/clock";
import { one, useUrl } from "../url";
import { Facets, narrowed } from "./facets";
import { LogLines } from "./log-lines";
import { Graph } from "./metric-result";

const NOTHING = "The query is right and no line matches in this time range. Take a longer range or a wider selector.";

export function LogResult({ query }: { query: string }) {
  const [search, change] = useUrl();
  const limit = Math.min(5000, Math.max(1, Number(one(search.limit)) || 500));
  const span = useSpan();
  const answer = useQuery({
    queryKey: ["explore", "logql", query, limit, span],
    queryFn: ({ signal }) => logs(query, span, limit, signal),
    placeholderData: keepPreviousData,
  });
  return (
    <section className="card" aria-label="Result">
      <Answered query={answer} height={320} empty={(data) => ((data.kind === "lines" ? data.lines : data.answer.series).length === 0 ? NOTHING : null)}>
        {(data) =>
          data.kind === "series" ? (
            <>
              <Warnings list={data.answer.warnings} />
              <Graph answer={data.answer} label={query} />
            </>
          ) : (
            <>
              <Warnings list={data.warnings} />
              <Group justify="space-between" mb={4}>
                <Text size="xs" c="dimmed">
                  {data.lines.length} lines{data.lines.length >= limit ? ", the newest; older ones are left out" : ""}. A click on a line shows its labels.
                </Text>
                <Select size="xs" w={120} aria-label="Lines at most" data={["100", "500", "2000", "5000"]} value={String(limit)} onChange={(next) => change({ limit: next ?? undefined }, true)} />
              </Group>
              <div className="with-facets">
                <Facets lines={data.lines} onChoose={(label, value) => change({ q: narrowed(query, label, value) })} />
                <LogLines lines={data.lines} height={560} />
              </div>
            </>
          )
        }
      </Answered>
    </section>
  );
}
