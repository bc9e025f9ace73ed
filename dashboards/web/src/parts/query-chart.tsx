// A chart of one or more PromQL queries in the page's time range.

import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { range, type Series, seriesName } from "../api/prometheus";
import { Chart } from "../chart/chart";
import { align } from "../chart/plot";
import { Answered, Warnings } from "./answer";
import { useClock, useSpan } from "./clock";
import { To } from "./link";

interface Properties {
  title: string;
  queries: { query: string; name: (series: Series) => string }[];
  unit: string;
  stacked?: boolean;
  min?: number;
  max?: number;
  height?: number;
  empty: string;
}

export function QueryChart({ title, queries, unit, empty, height = 180, ...look }: Properties) {
  const span = useSpan();
  const { zoom } = useClock();
  const texts = queries.map((one) => one.query);
  const query = useQuery({
    queryKey: ["range", texts, span],
    queryFn: async ({ signal }) => {
      const answers = await Promise.all(texts.map((text) => range(text, span, signal)));
      const named = answers.flatMap((answer, index) =>
        answer.series.map((series) => ({ ...series, labels: { __name__: queries[index]?.name(series) ?? seriesName(series.labels) } })));
      return { ...align(named, (series) => series.labels.__name__ ?? ""), warnings: answers.flatMap((answer) => answer.warnings) };
    },
    placeholderData: keepPreviousData,
  });
  return (
    <section className="card" aria-label={title}>
      <h3 className="card-title">
        <To to="/explore" search={{ lang: "promql", q: texts[0] }} aria-label={`${title}: open in Explore`}>{title}</To>
      </h3>
      <Answered query={query} height={height} empty={(data) => (data.plots.length === 0 ? empty : null)}>
        {(data) => (
          <>
            <Warnings list={data.warnings} />
            <Chart {...look} times={data.times} plots={data.plots} label={title} unit={unit} height={height} startMs={span.startMs} endMs={span.endMs} onZoom={zoom} />
          </>
        )}
      </Answered>
    </section>
  );
}
