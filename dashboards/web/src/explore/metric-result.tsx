// What a PromQL query answers: a graph over the range, or a table of now.

import { Group, SegmentedControl, Stack, Text } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { type Answer, instant, range, seriesName } from "../api/prometheus";
import { Chart } from "../chart/chart";
import { align } from "../chart/plot";
import { format } from "../format";
import { Answered, Warnings } from "../parts/answer";
import { useClock, useSpan } from "../parts/clock";
import { Rows } from "../parts/rows";
import { durationText } from "../time";
import { one, useUrl } from "../url";

const NOTHING = "The query is right and matches no series in this time range. Check the metric's name and labels, or take a longer range.";

export function MetricResult({ query }: { query: string }) {
  const [search, change] = useUrl();
  const view = one(search.view) === "table" ? "table" : "graph";
  const span = useSpan();
  const answer = useQuery({
    queryKey: ["explore", "promql", query, view, span],
    queryFn: ({ signal }) => (view === "table" ? instant(query, span.endMs, signal) : range(query, span, signal)),
    placeholderData: keepPreviousData,
  });
  return (
    <section className="card" aria-label="Result">
      <Group justify="space-between" mb="xs">
        <SegmentedControl size="xs" aria-label="View" value={view} onChange={(next) => change({ view: next }, true)} data={[{ value: "graph", label: "Graph" }, { value: "table", label: "Table" }]} />
        <Text size="xs" c="dimmed">{answer.data ? `${answer.data.series.length} series` : ""}{view === "graph" ? ` · one point every ${durationText(span.stepMs)}` : ""}</Text>
      </Group>
      <Answered query={answer} height={320} empty={(data) => (data.series.length === 0 ? NOTHING : null)}>
        {(data) => (
          <Stack gap="xs">
            <Warnings list={data.warnings} />
            {view === "graph" && data.type === "matrix" ? <Graph answer={data} label={query} /> : <Values answer={data} />}
          </Stack>
        )}
      </Answered>
    </section>
  );
}

/** A drag zooms, unless it means something else here. */
export function Graph({ answer, label, onDrag }: { answer: Answer; label: string; onDrag?: (startMs: number, endMs: number) => void }) {
  const { zoom } = useClock();
  const span = useSpan();
  const { times, plots } = align(answer.series, (series) => seriesName(series.labels));
  return <Chart times={times} plots={plots} label={label} height={340} startMs={span.startMs} endMs={span.endMs} onZoom={onDrag ?? zoom} />;
}

export function Values({ answer }: { answer: Answer }) {
  const names = [...new Set(answer.series.flatMap((series) => Object.keys(series.labels)))].sort();
  return (
    <Rows
      label="Values now"
      rows={answer.series}
      columns={[
        ...names.map((name) => ({ name: name === "__name__" ? "metric" : name, value: (row: Answer["series"][number]) => row.labels[name] ?? "" })),
        { name: "Value", number: true, value: (row) => row.values.at(-1) ?? null, show: (row) => <span title={String(row.values.at(-1))}>{format(row.values.at(-1), "none")}</span> },
      ]}
    />
  );
}
