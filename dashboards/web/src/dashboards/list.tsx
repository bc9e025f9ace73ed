// Which dashboards there are.

import { Badge, Group, Stack, Text, TextInput, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getJson } from "../api/http";
import { Answered } from "../parts/answer";
import { To } from "../parts/link";
import { one, useUrl } from "../url";

interface Listed {
  uid: string;
  title: string;
  tags: string[];
}

export function DashboardsPage() {
  const [search, change] = useUrl();
  const wanted = (one(search.find) ?? "").toLowerCase();
  const query = useQuery({
    queryKey: ["dashboards"],
    queryFn: async ({ signal }) => (await getJson<{ dashboards: Listed[] }>("/api/dashboards", {}, signal)).dashboards,
  });
  return (
    <Stack gap="sm">
      <Title order={1} size="h4">Dashboards</Title>
      <TextInput data-search aria-label="Find a dashboard" placeholder="Find by title or tag" value={one(search.find) ?? ""} onChange={(event) => change({ find: event.currentTarget.value || undefined }, true)} maw={360} />
      <Answered query={query} empty={(list) => (list.length === 0 ? "This build has no dashboards." : null)}>
        {(list) => {
          const found = list.filter((one) => `${one.title} ${one.tags.join(" ")}`.toLowerCase().includes(wanted));
          return (
            <div className="grid-facts" data-state="table" data-rows={found.length}>
              {found.map((dashboard) => (
                <section className="card" key={dashboard.uid} aria-label={dashboard.title}>
                  <Text fw={600} mb={6}><To to={`/dashboards/${dashboard.uid}`}>{dashboard.title}</To></Text>
                  <Group gap={4}>{dashboard.tags.map((tag) => <Badge key={tag} size="sm" variant="light" style={{ textTransform: "none", color: "var(--mantine-color-text)" }}>{tag}</Badge>)}</Group>
                </section>
              ))}
              {found.length === 0 && <Text c="dimmed">None has “{wanted}” in its title or tags.</Text>}
            </div>
          );
        }}
      </Answered>
      <Text size="xs" c="dimmed">These are classic Grafana dashboards: <code>/api/dashboards/&lt;uid&gt;</code> is the JSON that Grafana imports unchanged.</Text>
    </Stack>
  );
}
