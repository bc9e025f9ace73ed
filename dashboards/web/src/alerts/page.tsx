// Alerts: what fires and what is about to, then every rule with its state, its query and its error.

import { Badge, Group, SegmentedControl, Stack, Text, Title } from "@mantine/core";
import { IconAlertTriangle, IconCircleCheck, IconClock, IconHelp } from "@tabler/icons-react";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { type Alert, alerts, type Labels, type Rule, rules } from "../api/prometheus";
import { format } from "../format";
import { Answered, Failed, Nothing } from "../parts/answer";
import { useClock } from "../parts/clock";
import { To } from "../parts/link";
import { ago, clock } from "../time";
import { one, useUrl } from "../url";

const STATES = {
  firing: { color: "red", icon: IconAlertTriangle },
  pending: { color: "yellow", icon: IconClock },
  inactive: { color: "green", icon: IconCircleCheck },
  unknown: { color: "gray", icon: IconHelp },
} as const;

export function StateBadge({ state }: { state: string }) {
  const { color, icon: Icon } = STATES[state as keyof typeof STATES] ?? STATES.unknown;
  return <Badge color={color} variant="light" leftSection={<Icon size={12} aria-hidden="true" />} style={{ color: "var(--mantine-color-text)", textTransform: "none", flex: "none" }}>{state}</Badge>;
}

export function AlertsPage() {
  const { nowMs } = useClock();
  const [search, change] = useUrl();
  const kind = one(search.kind) ?? "alerting";
  const active = useQuery({ queryKey: ["alerts", nowMs], queryFn: ({ signal }) => alerts(signal), placeholderData: keepPreviousData });
  const groups = useQuery({ queryKey: ["rules", nowMs], queryFn: ({ signal }) => rules(signal), placeholderData: keepPreviousData });
  return (
    <Stack gap="md">
      <Title order={1} size="h4">Alerts</Title>
      <Answered query={active} empty={(list) => (list.length === 0 ? "Nothing is firing and nothing is about to." : null)}>
        {(list) => (
          <Stack gap="xs" data-state="table" data-rows={list.length}>
            {[...list].sort((a, b) => a.state.localeCompare(b.state)).map((alert, index) => <Active key={index} alert={alert} />)}
          </Stack>
        )}
      </Answered>
      <Group justify="space-between">
        <Title order={2} size="h5">Rules</Title>
        <SegmentedControl size="xs" aria-label="Kind of rule" value={kind} onChange={(next) => change({ kind: next }, true)} data={[{ value: "alerting", label: "Alerting" }, { value: "recording", label: "Recording" }]} />
      </Group>
      <Answered
        query={groups}
        empty={(list) => (list.length === 0 ? "No rule file is loaded. Start with --rules FILE (Prometheus' format), or --slos FILE (OpenSLO) and the rules come from it." : null)}
      >
        {(list) => {
          const shown = list.map((group) => ({ ...group, rules: group.rules.filter((rule) => rule.type === kind) })).filter((group) => group.rules.length > 0);
          return (
            <Stack gap="sm" data-state="table" data-rows={shown.length}>
              {shown.length === 0 && <Nothing>No {kind} rules are loaded.</Nothing>}
              {shown.map((group) => (
                <section className="card" key={`${group.file} ${group.name}`} aria-label={`Group ${group.name}`}>
                  <h3 className="card-title">{group.name} <Text span size="xs" c="dimmed">every {format(group.interval, "s")} · {group.file}</Text></h3>
                  <Stack gap="xs">{group.rules.map((rule, index) => <RuleRow key={`${rule.name} ${index}`} rule={rule} />)}</Stack>
                </section>
              ))}
            </Stack>
          );
        }}
      </Answered>
    </Stack>
  );
}

function Active({ alert }: { alert: Alert }) {
  const { alertname, ...labels } = alert.labels;
  const text = alert.annotations.summary ?? alert.annotations.description ?? alert.annotations.message;
  return (
    <section className="card" aria-label={alertname}>
      <Group gap="xs">
        <StateBadge state={alert.state} />
        <Text fw={600}>{alertname}</Text>
        {alert.activeAt && <Text size="sm" c="dimmed">since {clock(Date.parse(alert.activeAt))}, {ago(Date.parse(alert.activeAt))}</Text>}
        <Text size="sm" c="dimmed">value {format(Number(alert.value), "none")}</Text>
      </Group>
      {text && <Text size="sm" mt={4}>{text}</Text>}
      <LabelList labels={labels} />
      {alert.annotations.runbook_url && <a href={alert.annotations.runbook_url} rel="noreferrer" style={{ color: "var(--mantine-color-anchor)", fontSize: 13 }}>Runbook</a>}
    </section>
  );
}

function RuleRow({ rule }: { rule: Rule }) {
  return (
    <div>
      <Group gap="xs" wrap="nowrap">
        {rule.type === "alerting" && <StateBadge state={rule.state ?? "unknown"} />}
        <Text size="sm" fw={600} className="wrap">{rule.name}</Text>
        {rule.duration ? <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>after {format(rule.duration, "s")}</Text> : null}
        {rule.lastEvaluation && !rule.lastEvaluation.startsWith("0001") && (
          <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>evaluated {ago(Date.parse(rule.lastEvaluation))}</Text>
        )}
      </Group>
      <Text className="mono wrap"><To to="/explore" search={{ lang: "promql", q: rule.query }}>{rule.query}</To></Text>
      {rule.lastError && <Failed error={new Error(rule.lastError)} />}
      {rule.labels && <LabelList labels={rule.labels} />}
    </div>
  );
}

function LabelList({ labels }: { labels: Labels }) {
  const list = Object.entries(labels);
  if (list.length === 0) return null;
  return <Text size="xs" c="dimmed" className="wrap mono">{list.map(([name, value]) => `${name}=${value}`).join("  ")}</Text>;
}
