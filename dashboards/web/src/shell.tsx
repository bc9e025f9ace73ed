// What surrounds every page: navigation, time range, light or dark, keys.

import {
  ActionIcon, AppShell, Burger, Group, Kbd, Modal, NavLink, Table, Text, Tooltip, useComputedColorScheme, useMantineColorScheme,
} from "@mantine/core";
import { useDisclosure, useHotkeys } from "@mantine/hooks";
import {
  IconActivityHeartbeat, IconBell, IconKeyboard, IconLayoutDashboard, IconMoon, IconSearch, IconSun, IconTarget, IconWorld,
} from "@tabler/icons-react";
import { Link, Outlet, useLocation, useSearch } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { ClockProvider } from "./parts/clock";
import { kept, useGo } from "./parts/link";
import { TimePicker } from "./parts/time-picker";
import { zone } from "./time";
import type { Search } from "./url";

const PAGES = [
  { to: "/", label: "Now", icon: IconActivityHeartbeat, key: "n" },
  { to: "/explore", label: "Explore", icon: IconSearch, key: "e" },
  { to: "/dashboards", label: "Dashboards", icon: IconLayoutDashboard, key: "d" },
  { to: "/alerts", label: "Alerts", icon: IconBell, key: "a" },
  { to: "/slos", label: "SLOs", icon: IconTarget, key: "s" },
];

const KEYS = [
  ["/", "to the query or search box; to Explore where there is none"], ["t", "time range"], ["r", "refresh"], ["Ctrl Enter", "run the query"],
  ["g, then n e d a s", "Now, Explore, Dashboards, Alerts, SLOs"], ["j k", "next and previous row"], ["← →", "points of a chart; fold and unfold spans"], ["?", "this list"],
] as const;

export function Shell() {
  return (
    <ClockProvider>
      <Frame />
    </ClockProvider>
  );
}

function Frame() {
  const [menu, { toggle, close }] = useDisclosure(false);
  const [keys, setKeys] = useState(false);
  const { pathname } = useLocation();
  const search = useSearch({ strict: false }) as Search;
  const go = useGo();
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme("light") === "dark";
  const [utc, setUtc] = useState(() => localStorage.getItem("binnacle-utc") === "yes");
  zone.utc = utc;
  useEffect(close, [pathname, close]);
  useGoKeys(go);
  useHotkeys([
    ["/", () => {
      if (focusSearch()) return;
      go("/explore");
      focusWhenThere();
    }],
    ["shift+?", () => setKeys(true)],
  ]);

  return (
    <AppShell header={{ height: 48 }} navbar={{ width: 176, breakpoint: "sm", collapsed: { mobile: !menu } }} padding="md">
      <a className="skip" href="#main">Skip to the page</a>
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="xs" wrap="nowrap">
            <Burger opened={menu} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Navigation" />
            <svg width="22" height="22" viewBox="0 0 32 32" aria-hidden="true">
              <circle cx="16" cy="16" r="13" fill="none" stroke="var(--mantine-primary-color-filled)" strokeWidth="3.5" />
              <path d="M16 5l4 11-4 11-4-11z" fill="#d9480f" />
            </svg>
            <Text fw={700} visibleFrom="xs">Binnacle</Text>
          </Group>
          <Group gap={6} wrap="nowrap">
            <TimePicker />
            <Tooltip label={utc ? "Times are UTC" : "Times are local"}>
              <ActionIcon
                variant={utc ? "light" : "default"} size={30} aria-label="UTC times" aria-pressed={utc}
                onClick={() => {
                  localStorage.setItem("binnacle-utc", utc ? "no" : "yes");
                  setUtc(!utc);
                }}
              >
                <IconWorld size={16} />
              </ActionIcon>
            </Tooltip>
            <Tooltip label={dark ? "Light" : "Dark"}>
              <ActionIcon variant="default" size={30} aria-label={dark ? "Light colours" : "Dark colours"} onClick={() => setColorScheme(dark ? "light" : "dark")}>
                {dark ? <IconSun size={16} /> : <IconMoon size={16} />}
              </ActionIcon>
            </Tooltip>
            <Tooltip label="Keys">
              <ActionIcon variant="default" size={30} aria-label="Keys" onClick={() => setKeys(true)} visibleFrom="xs"><IconKeyboard size={16} /></ActionIcon>
            </Tooltip>
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p={6} aria-label="Pages">
        {PAGES.map(({ to, label, icon: Icon }) => {
          const here = to === "/" ? pathname === "/" : pathname.startsWith(to) || (to === "/explore" && pathname.startsWith("/trace"));
          return (
            <NavLink
              key={to} label={label} active={here} leftSection={<Icon size={18} aria-hidden="true" />} style={{ borderRadius: 6 }}
              {...(here ? { "aria-current": "page" as const } : {})}
              renderRoot={(properties) => <Link to={to as "/"} search={kept(search) as never} {...properties} />}
            />
          );
        })}
      </AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1} key={utc ? "utc" : "local"}>
        <Outlet />
      </AppShell.Main>
      <Modal opened={keys} onClose={() => setKeys(false)} title="Keys" size="sm">
        <Table>
          <Table.Tbody>
            {KEYS.map(([key, does]) => <Table.Tr key={key}><Table.Td><Kbd>{key}</Kbd></Table.Td><Table.Td>{does}</Table.Td></Table.Tr>)}
          </Table.Tbody>
        </Table>
        <Text size="xs" c="dimmed" mt="sm"><a href="/licenses.txt" style={{ color: "inherit" }}>Licences of what this page is built from</a></Text>
      </Modal>
    </AppShell>
  );
}

function focusSearch(): boolean {
  const box = document.querySelector<HTMLElement>("[data-search] .cm-content, input[data-search]");
  box?.focus();
  return box !== null;
}

/** The editor comes in a file of its own, a moment after its page. */
function focusWhenThere(until = performance.now() + 5000): void {
  if (!focusSearch() && performance.now() < until) requestAnimationFrame(() => focusWhenThere(until));
}

/** `g`, then the letter of a page within a second. */
function useGoKeys(go: (to: string) => void): void {
  useEffect(() => {
    let armedAt = 0;
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
      if (event.key === "g") armedAt = event.timeStamp;
      else if (event.timeStamp - armedAt < 1000) {
        const page = PAGES.find((one) => one.key === event.key);
        armedAt = 0;
        if (page) {
          event.preventDefault();
          go(page.to);
        }
      }
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  });
}
