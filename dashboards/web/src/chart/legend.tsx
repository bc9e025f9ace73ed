// What each line is and its value under the cursor, or its last and highest one.

import { Group, Text, UnstyledButton } from "@mantine/core";
import { format } from "../format";
import { clock } from "../time";
import type { Stroke } from "./palette";
import { type Plot, summary } from "./plot";

interface Properties {
  plots: Plot[];
  strokes: Stroke[];
  /** Series that are not drawn. */
  left: number;
  unit: string;
  decimals?: number | undefined;
  cursor: number | null;
  timeMs: number | null;
  hidden: ReadonlySet<string>;
  onHide: (hidden: ReadonlySet<string>) => void;
}

export function Legend({ plots, strokes, left, unit, decimals, cursor, timeMs, hidden, onHide }: Properties) {
  /** A click shows one alone, the next click all again; with Ctrl it hides or shows that one. */
  const choose = (name: string, alone: boolean) => {
    const others = plots.map((plot) => plot.name).filter((other) => other !== name);
    const isAlone = others.length > 0 && others.every((other) => hidden.has(other)) && !hidden.has(name);
    if (alone) return onHide(isAlone ? new Set() : new Set(others));
    const next = new Set(hidden);
    if (!next.delete(name)) next.add(name);
    onHide(next);
  };
  return (
    <div className="legend" style={{ maxHeight: plots.length > 6 ? 88 : undefined }}>
      {plots.map((plot, index) => {
        const { last, max } = summary(plot.values);
        const under = cursor === null ? null : plot.values[cursor];
        const line = strokes[index];
        return (
          <UnstyledButton
            key={`${plot.name} ${index}`}
            className="legend-item"
            aria-pressed={!hidden.has(plot.name)}
            title={`${plot.name}\nclick: only this one; Ctrl+click: hide or show`}
            onClick={(event) => choose(plot.name, !(event.ctrlKey || event.metaKey))}
          >
            <svg width="16" height="8" aria-hidden="true">
              <line x1="0" x2="16" y1="4" y2="4" stroke={line?.color} strokeWidth="3" strokeDasharray={line?.dash.join(" ")} />
            </svg>
            <span className="legend-name">{plot.name}</span>
            <span className="legend-value">
              {cursor !== null ? format(under, unit, decimals) : `${format(last, unit, decimals)} · max ${format(max, unit, decimals)}`}
            </span>
          </UnstyledButton>
        );
      })}
      <Group gap="xs">
        {timeMs !== null && <Text size="xs" c="dimmed">{clock(timeMs)}</Text>}
        {left > 0 && <Text size="xs" c="dimmed">{left} more series are not drawn; narrow the query or use topk().</Text>}
      </Group>
    </div>
  );
}
