// The time range: quick choices, or two times in any form the URL takes.

import { ActionIcon, Button, Group, Menu, Popover, Stack, Text, TextInput, Tooltip } from "@mantine/core";
import { useHotkeys } from "@mantine/hooks";
import { IconClock, IconRefresh } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import { QUICK_RANGES, rangeLabel } from "../time";
import { one, useUrl } from "../url";
import { useClock, validTime } from "./clock";

const REFRESHES = [["5", "every 5 s"], ["15", "every 15 s"], ["60", "every minute"], ["off", "only when asked"]] as const;

export function TimePicker() {
  const { range, setRange, refresh, refreshMs } = useClock();
  const [search, change] = useUrl();
  const [open, setOpen] = useState(false);
  const [from, setFrom] = useState(range.from);
  const [to, setTo] = useState(range.to);
  useEffect(() => {
    setFrom(range.from);
    setTo(range.to);
  }, [range.from, range.to]);
  useHotkeys([["t", () => setOpen(true)], ["r", refresh]]);

  const choose = (next: { from: string; to: string }) => {
    setRange(next);
    setOpen(false);
  };
  const valid = validTime(from) && validTime(to);
  return (
    <Group gap={4} wrap="nowrap">
      <Popover opened={open} onChange={setOpen} position="bottom-end" trapFocus returnFocus shadow="md">
        <Popover.Target>
          <Button size="xs" variant="default" leftSection={<IconClock size={16} />} onClick={() => setOpen(!open)} aria-haspopup="dialog">
            {rangeLabel(range)}
          </Button>
        </Popover.Target>
        <Popover.Dropdown aria-label="Time range">
          <Group align="flex-start" gap="lg">
            <Stack gap={2}>
              {QUICK_RANGES.map((quick) => (
                <Button
                  key={quick.from} size="compact-sm" justify="flex-start"
                  variant={quick.from === range.from && range.to === "now" ? "light" : "subtle"}
                  onClick={() => choose({ from: quick.from, to: "now" })}
                >
                  {quick.label}
                </Button>
              ))}
            </Stack>
            <form
              onSubmit={(event) => {
                event.preventDefault();
                if (valid) choose({ from, to });
              }}
            >
              <Stack gap="xs" w={230}>
                <TextInput size="xs" label="From" value={from} onChange={(event) => setFrom(event.currentTarget.value)} error={validTime(from) ? null : "Not a time"} />
                <TextInput size="xs" label="To" value={to} onChange={(event) => setTo(event.currentTarget.value)} error={validTime(to) ? null : "Not a time"} />
                <Text size="xs" c="dimmed">now-90m, 2026-11-24T15:04:00Z or epoch milliseconds</Text>
                <Button size="xs" type="submit" disabled={!valid}>Apply</Button>
              </Stack>
            </form>
          </Group>
        </Popover.Dropdown>
      </Popover>
      <Menu position="bottom-end">
        <Menu.Target>
          <Tooltip label={refreshMs ? `Refreshes every ${refreshMs / 1000} s. Press r to do it now` : "Press r to refresh"}>
            <ActionIcon variant="default" size={30} aria-label="Refresh"><IconRefresh size={16} /></ActionIcon>
          </Tooltip>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item onClick={refresh} rightSection={<Text size="xs" c="dimmed">r</Text>}>Refresh now</Menu.Item>
          <Menu.Divider />
          {REFRESHES.map(([value, label]) => (
            <Menu.Item key={value} onClick={() => change({ refresh: value }, true)} fw={(one(search.refresh) ?? "15") === value ? 700 : 400}>{label}</Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
    </Group>
  );
}
