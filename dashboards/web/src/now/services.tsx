// What traced requests say: each service's rate, errors and latency, and where their time goes.

import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Text } from "@mantine/core";
import { type Row, type Rows as SqlRows, sql } from "../api/sql";
import { format } from "../format";
import { Answered, Warnings } from "../parts/answer";
import { useClock } from "../parts/clock";
import { useGo } from "../parts/link";
import { Rows } from "../parts/rows";

const MINUTES = 5;

const SERVICES = `
select service, count(*) / ${MINUTES * 60}.0 as per_second,
       sum(case when status = 'error' then 1.0 else 0.0 end) / count(*) as errors,
       approx_percentile_cont(0.5) within group (order by duration_ns) / 1e9 as p50,
       approx_percentile_cont(0.95) within group (order by duration_ns) / 1e9 as p95
from spans
where start_ts > now() - interval '${MINUTES} minutes' and kind in ('server', 'consumer') and service is not null
group by service order by p95 desc limit 200`;

// A span's own time is what none of its children took: a slow child makes all its parents slow, but only itself own time.
const WHERE_TIME_GOES = `
with recent as (
  select trace_id, span_id, parent_span_id, service, name, duration_ns from spans
  where start_ts > now() - interval '${MINUTES} minutes' and service is not null
), children as (
  select trace_id, parent_span_id, sum(duration_ns) as duration_ns from recent where parent_span_id is not null group by trace_id, parent_span_id
), own as (
  select r.service, r.name, greatest(0, r.duration_ns - coalesce(c.duration_ns, 0)) / 1e6 as ms
  from recent r left join children c on c.trace_id = r.trace_id and c.parent_span_id = r.span_id
), grouped as (
  select service, name, count(*) as n, approx_percentile_cont(0.5) within group (order by ms) as typical, approx_percentile_cont(0.95) within group (order by ms) as slow, sum(ms) as total
  from own group by service, name having count(*) >= 20
)
select service, name, n, typical, slow, slow - typical as adds, total from grouped where slow - typical > 1 order by adds desc limit 12`;

export function Services() {
  const { nowMs } = useClock();
  const go = useGo();
  const services = useQuery({ queryKey: ["services", nowMs], queryFn: ({ signal }) => sql(SERVICES, signal), placeholderData: keepPreviousData });
  const any = (services.data?.rows.length ?? 0) > 0;
  const time = useQuery({ queryKey: ["where-time-goes", nowMs], queryFn: ({ signal }) => sql(WHERE_TIME_GOES, signal), placeholderData: keepPreviousData, enabled: any });
  const traces = (query: string) => go("/explore", { lang: "traceql", q: query });

  return (
    <div className="grid-2">
      <section className="card" aria-label="Where the time goes">
        <h2 className="card-title">Where the time goes: operations whose slow requests cost most</h2>
        <Answered query={any || services.isPending ? time : services} empty={(data: SqlRows) => (data.rows.length === 0 ? NO_TRACES(any) : null)}>
          {(data) => (
            <>
              <Warnings list={data.warnings} />
              <Text size="sm" fw={600} mb={4}>{bottleneck(data.rows)}</Text>
              <Text size="xs" c="dimmed" mb={4}>Own time of spans in the last {MINUTES} minutes, without their children. A row opens its slow traces.</Text>
              <Rows
                label="Operations by what their slow requests add"
                rows={data.rows}
                onOpen={(row) => traces(`{ resource.service.name = ${JSON.stringify(text(row, "service"))} && name = ${JSON.stringify(text(row, "name"))} && duration > ${Math.max(1, Math.floor(value(row, "slow") * 0.8))}ms }`)}
                columns={[
                  { name: "Service", value: (row) => text(row, "service") },
                  { name: "Operation", value: (row) => text(row, "name") },
                  { name: "Usual", number: true, value: (row) => value(row, "typical"), show: (row) => format(value(row, "typical"), "ms") },
                  { name: "1 in 20 takes", number: true, value: (row) => value(row, "slow"), show: (row) => format(value(row, "slow"), "ms") },
                  { name: "Adds", number: true, value: (row) => value(row, "adds"), show: (row) => <b>{format(value(row, "adds"), "ms")}</b> },
                  { name: "Spans", number: true, value: (row) => value(row, "n"), show: (row) => format(value(row, "n")) },
                ]}
              />
            </>
          )}
        </Answered>
      </section>
      <section className="card" aria-label="Services">
        <h2 className="card-title">Services, slowest first</h2>
        <Answered query={services} empty={(data) => (data.rows.length === 0 ? NO_TRACES(false) : null)}>
          {(data) => (
            <div style={{ maxHeight: 420, overflow: "auto" }}>
              <Rows
                label="Services"
                rows={data.rows}
                onOpen={(row) => traces(`{ resource.service.name = ${JSON.stringify(text(row, "service"))} }`)}
                columns={[
                  { name: "Service", value: (row) => text(row, "service") },
                  { name: "Requests", number: true, value: (row) => value(row, "per_second"), show: (row) => format(value(row, "per_second"), "reqps") },
                  { name: "Errors", number: true, value: (row) => value(row, "errors"), show: (row) => format(value(row, "errors"), "percentunit") },
                  { name: "Usual", number: true, value: (row) => value(row, "p50"), show: (row) => format(value(row, "p50"), "s") },
                  { name: "1 in 20 takes", number: true, value: (row) => value(row, "p95"), show: (row) => format(value(row, "p95"), "s") },
                ]}
              />
            </div>
          )}
        </Answered>
      </section>
    </div>
  );
}

/** Said only when one operation stands out from all others; "" otherwise. */
export function bottleneck(rows: Row[]): string {
  const [first, second] = rows;
  if (!first || value(first, "adds") < 3 * (second ? value(second, "adds") : 0)) return "";
  return `${text(first, "service")} waits in ${text(first, "name")}: usually ${format(value(first, "typical"), "ms")}, but one in 20 takes ${format(value(first, "slow"), "ms")} or more. Nothing else stands out like this.`;
}

const NO_TRACES = (any: boolean) =>
  any ? "No operation has requests that are much slower than usual." : "No application has sent traces in the last five minutes. Point an OpenTelemetry SDK at port 4317 or 4318, or start with --demo.";

function text(row: Row, column: string): string {
  return String(row[column] ?? "");
}

function value(row: Row, column: string): number {
  return Number(row[column] ?? NaN);
}
