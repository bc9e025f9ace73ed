// SLOs: for each promise how much budget is left, how fast it burns, and when it is gone.

import { Badge, Group, Progress, Stack, Text, Title } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { known, type Slo, slos } from "../api/slos";
import { durationMs } from "../time";
import { format } from "../format";
import { Answered } from "../parts/answer";
import { useClock } from "../parts/clock";
import { Rows } from "../parts/rows";
import { STATUS } from "./status";

export function SlosPage() {
  const { nowMs } = useClock();
  const query = useQuery({ queryKey: ["slos", nowMs], queryFn: ({ signal }) => slos(signal), placeholderData: keepPreviousData });
  return (
    <Stack gap="sm">
      <Title order={1} size="h4">SLOs</Title>
      <Answered query={query} empty={(list) => (list.length === 0 ? "No SLO is defined. Start with --slos FILE (OpenSLO); --demo brings its own." : null)}>
        {(list) => <div className="grid-2">{list.map((slo) => <Card key={`${slo.name} ${slo.objective}`} slo={slo} />)}</div>}
      </Answered>
    </Stack>
  );
}

function Card({ slo }: { slo: Slo }) {
  const { word, color, icon: Icon } = STATUS[slo.status];
  const left = known(slo.budget_remaining);
  const bad = known(slo.error_ratio);
  const burns = Object.entries(slo.burn_rates).sort(([a], [b]) => (durationMs(a) ?? 0) - (durationMs(b) ?? 0));
  return (
    <section className="card" aria-label={slo.display_name || slo.name}>
      <Group justify="space-between" wrap="nowrap" mb={4}>
        <Text fw={600} className="wrap">{slo.service && `${slo.service}: `}{slo.display_name || slo.name}{slo.objective && `, ${slo.objective}`}</Text>
        <Badge color={color} variant="light" leftSection={<Icon size={12} aria-hidden="true" />} style={{ color: "var(--mantine-color-text)", textTransform: "none", flex: "none" }}>{word}</Badge>
      </Group>
      {slo.description && <Text size="sm" c="dimmed">{slo.description}.</Text>}
      <Text size="sm">
        Promised: {format(slo.target, "percentunit", digits(slo.target))} over {slo.window}{bad === null ? "" : `. Kept so far: ${format(1 - bad, "percentunit", 3)}`}.
      </Text>
      <Text size="sm" fw={600} mt={6}>{sentence(slo, left)}</Text>
      {left !== null && <Progress value={Math.min(100, Math.max(0, left * 100))} color={color} mt={4} aria-label={`Budget left: ${format(left, "percentunit")}`} />}
      {burns.length > 0 && <Rows
        label="How fast the budget burns, by window" copy={false} rows={burns}
        columns={[
          { name: "Window", value: ([window]) => durationMs(window), show: ([window]) => window },
          { name: "Burns", number: true, value: ([, rate]) => known(rate), show: ([, rate]) => burnText(known(rate)) },
        ]}
      />}
    </section>
  );
}

function burnText(rate: number | null): string {
  return rate === null ? "unknown" : `${format(rate, "none")} × as fast as allowed`;
}

function sentence(slo: Slo, left: number | null): string {
  if (left === null) return `The budget is unknown: ${slo.reason ?? "there is no data"}.`;
  if (left <= 0) return `The budget is spent: ${format(1 - left, "percentunit")} of it has been used.`;
  const when = slo.time_to_empty === "never" ? "nothing burns it" : `as in the last hour it would last ${about(slo.time_to_empty)}`;
  return `${format(left, "percentunit")} of the budget is left; ${when}.`;
}

/** The two largest parts of a duration: `13d 7h 50m 23s` is 13d 7h. */
export function about(duration: string): string {
  return duration.split(" ").slice(0, 2).join(" ");
}

/** 0.999 is 99.9 %, not 99.90 %. */
function digits(target: number): number {
  return (String(Number((target * 100).toFixed(6))).split(".")[1] ?? "").length;
}
