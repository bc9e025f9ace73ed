// The four query languages as Explore offers them: what each asks, and real examples to start from.

export type Language = "promql" | "logql" | "traceql" | "sql";

export interface LanguageInfo {
  id: Language;
  name: string;
  asks: string;
  examples: { title: string; query: string }[];
}

export const LANGUAGES: LanguageInfo[] = [
  {
    id: "promql", name: "PromQL", asks: "metrics",
    examples: [
      { title: "CPU by mode", query: 'sum by (mode) (rate(node_cpu_seconds_total{mode!="idle"}[1m]))' },
      { title: "Memory that is available", query: "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes" },
      { title: "Request latency, 95th percentile by service", query: "histogram_quantile(0.95, sum by (le, service_name) (rate(http_server_request_duration_seconds_bucket[5m])))" },
      { title: "Largest processes", query: "topk(5, binnacle_process_resident_memory_bytes)" },
    ],
  },
  {
    id: "logql", name: "LogQL", asks: "logs",
    examples: [
      { title: "All lines", query: '{service_name=~".+"}' },
      { title: "Lines that name an error", query: '{service_name=~".+"} |~ `(?i)error|fail|timeout`' },
      { title: "Lines a second by service", query: 'sum by (service_name) (rate({service_name=~".+"}[1m]))' },
    ],
  },
  {
    id: "traceql", name: "TraceQL", asks: "traces",
    examples: [
      { title: "All traces", query: "{ }" },
      { title: "Slow requests", query: "{ duration > 300ms }" },
      { title: "Failed requests", query: "{ status = error }" },
      { title: "Slow and by a server", query: "{ kind = server && duration > 100ms }" },
      { title: "Failed spans a second, by service", query: "{ status = error } | rate() by (resource.service.name)" },
    ],
  },
  {
    id: "sql", name: "SQL", asks: "everything together",
    examples: [
      { title: "Metrics and their series", query: "select name, count(*) as series from series group by name order by series desc limit 20" },
      { title: "Latest log records", query: "select ts, severity, service, body from logs order by ts desc limit 50" },
      { title: "Slowest operations", query: "select service, name, count(*) as spans, approx_percentile_cont(0.95) within group (order by duration_ns) / 1e6 as p95_ms\nfrom spans where start_ts > now() - interval '15 minutes'\ngroup by service, name order by p95_ms desc limit 20" },
      { title: "Log lines of slow spans", query: "select l.ts, s.service, s.name, s.duration_ns / 1e6 as ms, l.body\nfrom logs l join spans s on l.trace_id = s.trace_id and l.span_id = s.span_id\nwhere s.duration_ns > 200000000 order by ms desc limit 50" },
    ],
  },
];

export function languageOf(text: string | undefined): LanguageInfo {
  return LANGUAGES.find((one) => one.id === text) ?? (LANGUAGES[0] as LanguageInfo);
}
