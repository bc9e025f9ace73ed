// Now: how things are, in one sentence and in short findings; what slows requests; then services, charts, processes, intake.

import { Badge, Group, Stack, Text, Title } from "@mantine/core";
import { IconAlertTriangle, IconCircleCheck, IconEye } from "@tabler/icons-react";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { ApiError } from "../api/http";
import { alerts, instant, type Series } from "../api/prometheus";
import { known, type Slo, slos } from "../api/slos";
import { sql } from "../api/sql";
import { format } from "../format";
import { Answered, Failed } from "../parts/answer";
import { useClock, useSpan } from "../parts/clock";
import { To, useGo } from "../parts/link";
import { QueryChart } from "../parts/query-chart";
import { Rows } from "../parts/rows";
import { STATUS } from "../slos/status";
import { CHECKS, type Finding, type Firing, findings, type Grade, headline } from "./health";
import { bottlenecks } from "../api/causes";
import { sentence, WhatSlows } from "./bottlenecks";
import { Services } from "./services";

const GRADES: Record<Grade, { word: string; color: string; icon: typeof IconEye }> = {
  ok: { word: "well", color: "green", icon: IconCircleCheck },
  watch: { word: "watch", color: "yellow", icon: IconEye },
  bad: { word: "bad", color: "red", icon: IconAlertTriangle },
};

export function NowPage() {
  const { nowMs } = useClock();
  const health = useQuery({
    queryKey: ["health", nowMs],
    queryFn: async ({ signal }) => {
      const [machines, ...answers] = await Promise.all([
        instant("node_uname_info", undefined, signal), ...CHECKS.map((check) => instant(check.query, undefined, signal)),
      ]);
      return { machines: machines.series, findings: findings(answers.map((answer) => answer.series)) };
    },
    placeholderData: keepPreviousData,
  });
  const burning = useQuery({ queryKey: ["alerts", nowMs], queryFn: ({ signal }) => alerts(signal), placeholderData: keepPreviousData });

  const promises = useQuery({ queryKey: ["slos", nowMs], queryFn: ({ signal }) => slos(signal), placeholderData: keepPreviousData, retry: false });
  const broken = (promises.data ?? []).filter((slo) => slo.status === "exhausted" || slo.status === "burning").map((slo) => slo.display_name || slo.name);

  const span = useSpan();
  const slow = useQuery({ queryKey: ["bottlenecks", span], queryFn: ({ signal }) => bottlenecks(span, signal), placeholderData: keepPreviousData });
  const slowed = slow.data?.bottlenecks[0];

  const firing = new Map<string, Firing>();
  for (const alert of burning.data ?? []) {
    if (alert.state !== "firing") continue;
    const name = alert.labels.alertname ?? "unnamed";
    const before = firing.get(name);
    firing.set(name, { name, count: (before?.count ?? 0) + 1, summary: before?.summary ?? alert.annotations.summary });
  }
  const machines = (health.data?.machines ?? []).map((series) => series.labels.nodename ?? series.labels.instance ?? "a machine");

  return (
    <Stack gap="md">
      <Answered query={health} empty={() => null} height={70}>
        {(data) => {
          const top = headline(data.findings, [...firing.values()], machines, broken, slowed && sentence(slowed));
          const { icon: Icon, color, word } = GRADES[top.grade];
          return (
            <header data-now={top.grade}>
              <Group gap="sm" wrap="nowrap" align="center">
                <Icon size={34} color={`var(--mantine-color-${color}-${top.grade === "watch" ? 7 : 6})`} aria-label={word} style={{ flex: "none" }} />
                <div>
                  <Title order={1} size="h3">{top.text} {firing.size > 0 && <Text span size="sm" fw={400}><To to="/alerts">Alerts</To></Text>}</Title>
                  <Machine series={data.machines} />
                </div>
              </Group>
            </header>
          );
        }}
      </Answered>
      {burning.error && !isAbsent(burning.error) && <Failed error={burning.error} />}
      {health.data && health.data.findings.length > 0 && (
        <div className="grid-facts">
          {health.data.findings.map((finding) => <Fact key={finding.topic} finding={finding} />)}
        </div>
      )}
      <div className="grid-2">
        <Stack gap="md">
          <WhatSlows query={slow} />
          {(promises.data?.length ?? 0) > 0 && <Promises list={promises.data ?? []} />}
        </Stack>
        <Services />
      </div>
      <div className="grid-2">
        <QueryChart
          title="CPU by what it does" unit="percentunit" stacked min={0} max={1} empty="No CPU metrics in this time range."
          queries={[{ query: 'sum by (mode) (rate(node_cpu_seconds_total{mode!="idle"}[1m])) / scalar(count(node_cpu_seconds_total{mode="idle"}))', name: (series) => series.labels.mode ?? "" }]}
        />
        <QueryChart
          title="Memory" unit="bytes" min={0} empty="No memory metrics in this time range."
          queries={[
            { query: "sum(node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes)", name: () => "used" },
            { query: "sum(node_memory_Cached_bytes + node_memory_Buffers_bytes)", name: () => "cache, given back when needed" },
            { query: "sum(node_memory_MemTotal_bytes)", name: () => "total" },
          ]}
        />
        <QueryChart
          title="Disks" unit="Bps" empty="No disk metrics in this time range. Containers often cannot see disks."
          queries={[
            { query: "sum by (device) (rate(node_disk_read_bytes_total[1m])) > 0", name: (series) => `${series.labels.device} read` },
            { query: "sum by (device) (rate(node_disk_written_bytes_total[1m])) > 0", name: (series) => `${series.labels.device} written` },
          ]}
        />
        <QueryChart
          title="Network" unit="Bps" empty="No network metrics in this time range."
          queries={[
            { query: "sum by (device) (rate(node_network_receive_bytes_total[1m])) > 0", name: (series) => `${series.labels.device} in` },
            { query: "sum by (device) (rate(node_network_transmit_bytes_total[1m])) > 0", name: (series) => `${series.labels.device} out` },
          ]}
        />
      </div>
      <div className="grid-2">
        <Processes />
        <Intake />
      </div>
    </Stack>
  );
}

/** The alerts role may run elsewhere. */
function isAbsent(wrong: unknown): boolean {
  return wrong instanceof ApiError && wrong.status === 404;
}

function Promises({ list }: { list: Slo[] }) {
  const go = useGo();
  return (
    <section className="card" aria-label="Promises">
      <h2 className="card-title"><To to="/slos">SLOs: what was promised, and what is left of the budget</To></h2>
      <Rows
        label="SLOs" copy={false} rows={list} onOpen={() => go("/slos")}
        columns={[
          { name: "SLO", value: (slo) => slo.display_name || slo.name },
          { name: "Service", value: (slo) => slo.service },
          { name: "State", value: (slo) => STATUS[slo.status].word },
          { name: "Promised", number: true, value: (slo) => slo.target, show: (slo) => format(slo.target * 100, "percent") },
          { name: "Budget left", number: true, value: (slo) => known(slo.budget_remaining), show: (slo) => format(known(slo.budget_remaining), "percentunit") },
          { name: "Burns, last hour", number: true, value: (slo) => known(slo.burn_rates["1h"] ?? "unknown"), show: (slo) => times(known(slo.burn_rates["1h"] ?? "unknown")) },
        ]}
      />
    </section>
  );
}

function times(rate: number | null): string {
  return rate === null ? "unknown" : `${format(rate, "none")} ×`;
}

function Machine({ series }: { series: Series[] }) {
  const { nowMs } = useClock();
  const facts = useQuery({
    queryKey: ["machine", Math.floor(nowMs / 60_000)],
    queryFn: async ({ signal }) => Promise.all(
      ['count(node_cpu_seconds_total{mode="idle"})', "sum(node_memory_MemTotal_bytes)", "min(node_time_seconds - node_boot_time_seconds)", "sum(node_load1)"].map(
        async (query) => (await instant(query, undefined, signal)).series[0]?.values[0],
      ),
    ),
    placeholderData: keepPreviousData,
  });
  const [cpus, memory, up, load] = facts.data ?? [];
  const uname = series.length === 1 ? series[0]?.labels : undefined;
  const parts = [
    uname && `${uname.sysname ?? ""} ${uname.release ?? ""} ${uname.machine ?? ""}`.trim(),
    cpus !== undefined && `${cpus} CPUs`,
    memory !== undefined && `${format(memory, "bytes")} of memory`,
    load !== undefined && `load ${format(load, "none")}`,
    up !== undefined && `up for ${format(up, "s")}`,
  ].filter(Boolean);
  return <Text size="sm" c="dimmed">{parts.join(" · ")}</Text>;
}

function Fact({ finding }: { finding: Finding }) {
  const { color, word, icon: Icon } = GRADES[finding.grade];
  return (
    <section className="card" aria-label={finding.topic}>
      <Group justify="space-between" gap={4} wrap="nowrap" mb={4}>
        <Text fw={600} size="sm" className="card-title fact" mb={0}><To to="/explore" search={{ lang: "promql", q: finding.query }}>{finding.topic}</To></Text>
        <Badge color={color} variant="light" size="sm" autoContrast leftSection={<Icon size={12} aria-hidden="true" />} style={{ color: "var(--mantine-color-text)", flex: "none" }}>{word}</Badge>
      </Group>
      <Text size="sm">{finding.sentence.charAt(0).toUpperCase() + finding.sentence.slice(1)}.</Text>
    </section>
  );
}

const LARGEST = "topk(12, sum by (process) (binnacle_process_resident_memory_bytes))";

function Processes() {
  const { nowMs } = useClock();
  const query = useQuery({
    queryKey: ["processes", nowMs],
    queryFn: async ({ signal }) => {
      const [memory, cpu, count] = await Promise.all(
        [LARGEST, "sum by (process) (rate(binnacle_process_cpu_seconds_total[1m]))", "sum by (process) (binnacle_processes)"].map(
          async (text) => new Map((await instant(text, undefined, signal)).series.map((series) => [series.labels.process ?? "", series.values[0] ?? null])),
        ),
      );
      return [...(memory ?? [])].map(([process, bytes]) => ({ process, bytes, cpu: cpu?.get(process) ?? null, count: count?.get(process) ?? null }));
    },
    placeholderData: keepPreviousData,
  });
  return (
    <section className="card" aria-label="Largest processes">
      <h2 className="card-title"><To to="/explore" search={{ lang: "promql", q: LARGEST }}>Largest processes</To></h2>
      <Answered query={query} empty={(rows) => (rows.length === 0 ? "No process metrics yet: the agent sends them every 15 s." : null)}>
        {(rows) => (
          <Rows
            label="Processes by memory" copy={false} rows={rows}
            columns={[
              { name: "Process", value: (row) => row.process },
              { name: "How many", number: true, value: (row) => row.count },
              { name: "CPUs", number: true, value: (row) => row.cpu, show: (row) => format(row.cpu, "none") },
              { name: "Memory", number: true, value: (row) => row.bytes, show: (row) => format(row.bytes, "bytes") },
            ]}
          />
        )}
      </Answered>
    </section>
  );
}

const INTAKE = `
select 'metrics' as signal, 'samples' as unit, count(*) / 60.0 as per_second from metrics where ts > now() - interval '1 minute'
union all select 'logs', 'lines', count(*) / 60.0 from logs where ts > now() - interval '1 minute'
union all select 'traces', 'spans', count(*) / 60.0 from spans where start_ts > now() - interval '1 minute'`;

function Intake() {
  const { nowMs } = useClock();
  const query = useQuery({ queryKey: ["intake", nowMs], queryFn: ({ signal }) => sql(INTAKE, signal), placeholderData: keepPreviousData });
  return (
    <section className="card" aria-label="What arrives">
      <h2 className="card-title">What arrived in the last minute</h2>
      <Answered query={query} empty={(data) => (data.rows.length === 0 ? "Nothing." : null)}>
        {(data) => (
          <Rows
            label="Telemetry by signal" copy={false} rows={data.rows}
            columns={[
              { name: "Signal", value: (row) => String(row.signal) },
              { name: "Rate", number: true, value: (row) => Number(row.per_second), show: (row) => `${format(Number(row.per_second))} ${String(row.unit)}/s` },
            ]}
          />
        )}
      </Answered>
    </section>
  );
}
