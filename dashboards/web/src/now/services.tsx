// What traced requests say of each service: rate, errors and latency. A row opens its slow traces.

import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { type Row, sql } from "../api/sql";
import { format, share } from "../format";
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

export function Services() {
  const { nowMs } = useClock();
  const go = useGo();
  const services = useQuery({ queryKey: ["services", nowMs], queryFn: ({ signal }) => sql(SERVICES, signal), placeholderData: keepPreviousData });
  return (
    <section className="card" aria-label="Services">
      <h2 className="card-title">Services, slowest first</h2>
      <Answered query={services} empty={(data) => (data.rows.length === 0 ? "No application has sent traces in the last five minutes. Point an OpenTelemetry SDK at port 4317 or 4318, or start with --demo." : null)}>
        {(data) => (
          <div style={{ maxHeight: 420, overflow: "auto" }}>
            <Warnings list={data.warnings} />
            <Rows
              label="Services" rows={data.rows} onOpen={(row) => go("/explore", { lang: "traceql", q: slowest(row) })}
              columns={[
                { name: "Service", value: (row) => text(row, "service") },
                { name: "Requests", number: true, value: (row) => value(row, "per_second"), show: (row) => format(value(row, "per_second"), "reqps") },
                { name: "Errors", number: true, value: (row) => value(row, "errors"), show: (row) => share(value(row, "errors")) },
                { name: "Usual", number: true, value: (row) => value(row, "p50"), show: (row) => format(value(row, "p50"), "s") },
                { name: "1 in 20 takes", number: true, value: (row) => value(row, "p95"), show: (row) => format(value(row, "p95"), "s") },
              ]}
            />
          </div>
        )}
      </Answered>
    </section>
  );
}

/** TraceQL for the slow requests of a service. */
function slowest(row: Row): string {
  return `{ resource.service.name = ${JSON.stringify(text(row, "service"))} && duration > ${Math.max(1, Math.floor(value(row, "p95") * 800))}ms }`;
}

function text(row: Row, column: string): string {
  return String(row[column] ?? "");
}

function value(row: Row, column: string): number {
  return Number(row[column] ?? NaN);
}
