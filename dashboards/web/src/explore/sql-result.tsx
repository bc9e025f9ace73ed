// What an SQL statement answers: rows, and a chart where the first column is time and the others are numbers.

import { Group, SegmentedControl, Text } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { type Cell, cellText, cellTimeMs, type Row, type Rows as SqlRows, sql } from "../api/sql";
import { Chart } from "../chart/chart";
import { rowsToPlots } from "../dashboards/sql-plots";
import { macros } from "../dashboards/variables";
import { format } from "../format";
import { Answered, Warnings } from "../parts/answer";
import { useSpan } from "../parts/clock";
import { To } from "../parts/link";
import { type Column, Rows } from "../parts/rows";
import { stamp } from "../time";
import { one, useUrl } from "../url";

export function SqlResult({ query }: { query: string }) {
  const [search, change] = useUrl();
  const span = useSpan();
  const answer = useQuery({
    queryKey: ["explore", "sql", query, span],
    queryFn: ({ signal }) => sql(macros(query, span), signal),
    placeholderData: keepPreviousData,
  });
  const plots = answer.data ? rowsToPlots(answer.data) : null;
  const view = one(search.view) === "graph" && plots ? "graph" : "table";
  return (
    <section className="card" aria-label="Result">
      <Answered query={answer} height={320} empty={(data) => (data.rows.length === 0 ? "The statement is right and gives no rows." : null)}>
        {(data) => (
          <>
            <Warnings list={data.warnings} />
            <Group justify="space-between" mb="xs">
              {plots ? (
                <SegmentedControl size="xs" aria-label="View" value={view} onChange={(next) => change({ view: next }, true)} data={[{ value: "table", label: "Table" }, { value: "graph", label: "Graph" }]} />
              ) : <span />}
              <Text size="xs" c="dimmed">{data.rows.length} rows</Text>
            </Group>
            {view === "graph" && plots ? <Chart times={plots.times} plots={plots.plots} label={query} height={340} /> : <SqlTable data={data} />}
          </>
        )}
      </Answered>
    </section>
  );
}

export function SqlTable({ data }: { data: SqlRows }) {
  return <Rows label="Rows" rows={data.rows} columns={data.columns.map((name) => column(name, data.rows))} />;
}

function column(name: string, rows: Row[]): Column<Row> {
  const first = rows.find((row) => row[name] !== null)?.[name];
  const number = typeof first === "number";
  return {
    name,
    number,
    value: (row) => sortable(row[name]),
    show: (row) => shown(name, row[name]),
  };
}

function sortable(cell: Cell | undefined): string | number | null {
  return cell === null || cell === undefined ? null : typeof cell === "number" ? cell : cellText(cell);
}

function shown(name: string, cell: Cell | undefined) {
  if (cell === null || cell === undefined) return <Text span size="sm" c="dimmed">null</Text>;
  if (typeof cell === "number") return <span title={String(cell)}>{Number.isInteger(cell) ? String(cell) : format(cell, "none")}</span>;
  if (name === "trace_id" && typeof cell === "string" && cell) return <To to={`/trace/${cell}`}><span className="mono">{cell.slice(0, 12)}…</span></To>;
  const time = cellTimeMs(cell);
  return time !== null ? <span className="mono">{stamp(time)}</span> : cellText(cell);
}
