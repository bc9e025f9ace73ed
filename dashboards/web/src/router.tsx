// Which page is at which path. The first page comes with the shell; every other one is fetched when it is opened.
// `src/files.rs` of this crate has the same list of first segments.

import { Button, Stack, Text, Title } from "@mantine/core";
import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";
import { said } from "./api/http";
import { NowPage } from "./now/page";
import { Waiting } from "./parts/answer";
import { To } from "./parts/link";
import { Shell } from "./shell";
import { parseSearch, type Search, stringifySearch } from "./url";

const root = createRootRoute({
  component: Shell,
  validateSearch: (search: Record<string, unknown>): Search => search as Search,
  notFoundComponent: () => <Stack><Title order={1} size="h3">No such page</Title><Text><To to="/">To the start</To></Text></Stack>,
});

const routes = [
  createRoute({ getParentRoute: () => root, path: "/", component: NowPage }),
  createRoute({ getParentRoute: () => root, path: "/explore", component: lazyRouteComponent(() => import("./explore/page"), "ExplorePage") }),
  createRoute({ getParentRoute: () => root, path: "/trace/$id", component: lazyRouteComponent(() => import("./trace/page"), "TracePage") }),
  createRoute({ getParentRoute: () => root, path: "/dashboards", component: lazyRouteComponent(() => import("./dashboards/list"), "DashboardsPage") }),
  createRoute({ getParentRoute: () => root, path: "/dashboards/$uid", component: lazyRouteComponent(() => import("./dashboards/page"), "DashboardPage") }),
  createRoute({ getParentRoute: () => root, path: "/alerts", component: lazyRouteComponent(() => import("./alerts/page"), "AlertsPage") }),
  createRoute({ getParentRoute: () => root, path: "/slos", component: lazyRouteComponent(() => import("./slos/page"), "SlosPage") }),
];

export const router = createRouter({
  routeTree: root.addChildren(routes),
  parseSearch,
  stringifySearch,
  defaultPreload: "intent",
  defaultPendingComponent: () => <Waiting height={200} />,
  defaultErrorComponent: ({ error, reset }) => (
    <Stack data-state="error" role="alert" align="flex-start">
      <Title order={1} size="h3">This page failed</Title>
      <Text className="wrap">{said(error)}</Text>
      <Button onClick={reset}>Try again</Button>
    </Stack>
  ),
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
