// One dashboard: its variables, its rows and its panels where the file puts them.

import { ActionIcon, Group, MultiSelect, Select, Stack, Text, TextInput, Title } from "@mantine/core";
import { IconChevronDown, IconChevronRight } from "@tabler/icons-react";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { getJson } from "../api/http";
import { Answered, Failed, Waiting } from "../parts/answer";
import { useSpan } from "../parts/clock";
import { useUrl } from "../url";
import { type Dashboard, laidOut } from "./model";
import { Panel } from "./panel";
import { ALL, type Chosen, chosenOf, fill, type Filled, interpolate } from "./variables";

export function DashboardPage() {
  const { uid = "" } = useParams({ strict: false }) as { uid?: string };
  const query = useQuery({ queryKey: ["dashboard", uid], queryFn: ({ signal }) => getJson<Dashboard>(`/api/dashboards/${encodeURIComponent(uid)}`, {}, signal) });
  return (
    <Answered query={query} height={300} empty={(dashboard) => ((dashboard.panels ?? []).length === 0 ? "This dashboard has no panels." : null)}>
      {(dashboard) => <Loaded key={dashboard.uid} dashboard={dashboard} />}
    </Answered>
  );
}

function Loaded({ dashboard }: { dashboard: Dashboard }) {
  const [search, change] = useUrl();
  const span = useSpan();
  const [opened, setOpened] = useState<ReadonlySet<number>>(new Set());
  // The file's own time range, unless the reader came with one.
  const { from, to } = dashboard.time ?? {};
  useEffect(() => {
    if (search.from === undefined && from) change({ from, to: to ?? "now" }, true);
  }, [search.from, from, to, change]);
  const variables = dashboard.templating?.list ?? [];
  const asked: Chosen = Object.fromEntries(
    variables.flatMap(({ name }) => (search[`var-${name}`] === undefined ? [] : [[name, [search[`var-${name}`] ?? []].flat()]])),
  );
  // Names come and go slowly: they are asked for once a minute, not at every refresh.
  const minute = Math.floor(span.endMs / 60_000);
  const filled = useQuery({
    queryKey: ["variables", dashboard.uid, asked, minute],
    queryFn: ({ signal }) => fill(variables, asked, span, signal),
    placeholderData: keepPreviousData,
  });
  const chosen = chosenOf(filled.data ?? []);
  const toggle = (id: number) => {
    const next = new Set(opened);
    if (!next.delete(id)) next.add(id);
    setOpened(next);
  };
  return (
    <Stack gap="sm">
      <Group justify="space-between" align="flex-end">
        <div>
          <Title order={1} size="h4">{dashboard.title}</Title>
          {dashboard.description && <Text size="sm" c="dimmed">{dashboard.description}</Text>}
        </div>
        <Group gap="xs" align="flex-end">{(filled.data ?? []).map((one) => <Choice key={one.variable.name} filled={one} />)}</Group>
      </Group>
      {filled.error && <Failed error={filled.error} />}
      {!filled.data && !filled.error ? <Waiting height={200} /> : (
        <div className="dashboard">
          {laidOut(dashboard.panels ?? [], opened).map((panel) =>
            panel.type === "row" ? (
              <h2 key={panel.id} className="row-title" style={{ gridColumn: "1 / -1", gridRow: `${panel.gridPos.y + 1}`, margin: 0, fontSize: 14, flexDirection: "row" }}>
                <ActionIcon variant="subtle" size="sm" aria-expanded={!panel.collapsed} aria-label={`Row ${panel.title}`} onClick={() => toggle(panel.id)}>
                  {panel.collapsed ? <IconChevronRight size={16} /> : <IconChevronDown size={16} />}
                </ActionIcon>
                {interpolate(panel.title ?? "", chosen, span, filled.data)}
              </h2>
            ) : <Panel key={panel.id} panel={panel} chosen={chosen} filled={filled.data ?? []} />,
          )}
        </div>
      )}
    </Stack>
  );
}

function Choice({ filled }: { filled: Filled }) {
  const [, change] = useUrl();
  const { variable, options, chosen } = filled;
  if (variable.hide === 2 || ["constant", "datasource", "adhoc"].includes(variable.type)) return null;
  const label = variable.label ?? variable.name;
  const set = (values: string[]) => change({ [`var-${variable.name}`]: values.length > 0 ? values : undefined }, true);
  const data = [...(variable.includeAll ? [{ value: ALL, label: "All" }] : []), ...options.map((value) => ({ value, label: value }))];
  if (variable.type === "textbox") {
    return <TextInput size="xs" label={label} defaultValue={chosen[0] ?? ""} onBlur={(event) => set([event.currentTarget.value])} />;
  }
  if (variable.multi) {
    // "All" and one of them exclude each other: what was chosen last wins.
    const pick = (values: string[]) => set(values.at(-1) === ALL ? [ALL] : values.filter((value) => value !== ALL));
    return <MultiSelect size="xs" label={label} data={data} value={chosen} onChange={pick} searchable miw={160} maw={380} />;
  }
  return <Select size="xs" label={label} data={data} value={chosen[0] ?? null} onChange={(value) => value && set([value])} searchable allowDeselect={false} w={200} />;
}
