// The labels of the lines that are shown, with their commonest values; a click narrows the query to one.

import { Progress, Stack, Text, UnstyledButton } from "@mantine/core";
import { useMemo } from "react";
import type { Line } from "../api/loki";

export interface Facet {
  label: string;
  values: { value: string; count: number }[];
  /** Distinct values in all. */
  distinct: number;
}

const VALUES_SHOWN = 5;
const FACETS_SHOWN = 8;

/** Labels that divide the lines: more than one value, and fewer than one for every second line. */
export function facets(lines: Line[]): Facet[] {
  const counts = new Map<string, Map<string, number>>();
  for (const line of lines) {
    for (const [label, value] of Object.entries(line.labels)) {
      let values = counts.get(label);
      if (!values) counts.set(label, (values = new Map()));
      values.set(value, (values.get(value) ?? 0) + 1);
    }
  }
  return [...counts]
    .filter(([, values]) => values.size > 1 && values.size <= Math.max(2, lines.length / 2))
    .map(([label, values]): Facet => ({
      label, distinct: values.size,
      values: [...values].map(([value, count]) => ({ value, count })).sort((a, b) => b.count - a.count || a.value.localeCompare(b.value)).slice(0, VALUES_SHOWN),
    }))
    .sort((a, b) => a.distinct - b.distinct || a.label.localeCompare(b.label))
    .slice(0, FACETS_SHOWN);
}

/** A label filter after the rest of the pipeline works for stream labels, metadata and parsed labels alike. */
export function narrowed(query: string, label: string, value: string): string {
  return `${query.trimEnd()} | ${label}=${JSON.stringify(value)}`;
}

export function Facets({ lines, onChoose }: { lines: Line[]; onChoose: (label: string, value: string) => void }) {
  const found = useMemo(() => facets(lines), [lines]);
  if (found.length === 0) return null;
  return (
    <aside aria-label="Labels of these lines" className="facets">
      {found.map(({ label, values, distinct }) => (
        <Stack gap={2} key={label} mb="sm">
          <Text size="xs" fw={600} truncate title={label}>{label}</Text>
          {values.map(({ value, count }) => (
            <UnstyledButton key={value} onClick={() => onChoose(label, value)} title={`only ${label}=${value}`}>
              <Text size="xs" component="span" style={{ display: "flex", justifyContent: "space-between", gap: 8 }}>
                <span className="facet-value">{value || "(empty)"}</span>
                <span style={{ color: "var(--mantine-color-dimmed)" }}>{count}</span>
              </Text>
              <Progress value={(count / lines.length) * 100} size={3} aria-label={`${value}: ${count} of ${lines.length} lines`} />
            </UnstyledButton>
          ))}
          {distinct > values.length && <Text size="xs" c="dimmed">and {distinct - values.length} more</Text>}
        </Stack>
      ))}
    </aside>
  );
}
