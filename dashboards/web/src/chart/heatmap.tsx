// A heatmap: time to the right, classes upwards, the stronger the colour the more.

import { Text, useComputedColorScheme } from "@mantine/core";
import { type PointerEvent, useEffect, useMemo, useRef, useState } from "react";
import { format } from "../format";
import { clock } from "../time";

export interface HeatRow {
  /** The upper bound of the class. */
  bound: number;
  values: (number | null)[];
}

interface Properties {
  label: string;
  times: number[];
  /** From the lowest class to the highest. */
  rows: HeatRow[];
  /** Of the bounds. */
  unit: string;
  startMs: number;
  endMs: number;
}

const LEFT = 64;
const BOTTOM = 22;

export function Heatmap({ label, times, rows, unit, startMs, endMs }: Properties) {
  const dark = useComputedColorScheme("light") === "dark";
  const canvas = useRef<HTMLCanvasElement>(null);
  const [at, setAt] = useState<{ column: number; row: number } | null>(null);
  const most = useMemo(() => Math.max(1e-12, ...rows.flatMap((row) => row.values.map((value) => value ?? 0))), [rows]);

  const stepMs = times.slice(1).reduce((least, time, index) => Math.min(least, (time - (times[index] ?? 0)) * 1000), endMs - startMs);

  useEffect(() => {
    const element = canvas.current;
    const box = element?.parentElement;
    if (!element || !box) return;
    const draw = () => {
      const ratio = devicePixelRatio || 1;
      const [width, height] = [box.clientWidth, Math.max(60, box.clientHeight)];
      element.width = width * ratio;
      element.height = height * ratio;
      element.style.width = `${width}px`;
      element.style.height = `${height}px`;
      const context = element.getContext("2d");
      if (!context) return;
      context.scale(ratio, ratio);
      const cell = { width: ((width - LEFT) * stepMs) / (endMs - startMs), height: (height - BOTTOM) / rows.length };
      const x = (ms: number) => LEFT + ((width - LEFT) * (ms - startMs)) / (endMs - startMs);
      rows.forEach((row, index) => {
        row.values.forEach((value, column) => {
          if (!value || value <= 0) return;
          // The square root lets the few slow ones be seen beside the many fast ones.
          context.fillStyle = dark ? `rgba(90, 169, 230, ${0.1 + 0.9 * Math.sqrt(value / most)})` : `rgba(20, 91, 151, ${0.1 + 0.9 * Math.sqrt(value / most)})`;
          // A bucket counts what came before its time.
          context.fillRect(x((times[column] ?? 0) * 1000 - stepMs), height - BOTTOM - (index + 1) * cell.height, Math.max(1, cell.width - 0.5), Math.max(1, cell.height - 1));
        });
      });
      context.fillStyle = dark ? "#a9b4c0" : "#4a5663";
      context.font = "12px system-ui";
      context.textAlign = "right";
      const every = Math.ceil(rows.length / Math.max(1, Math.floor((height - BOTTOM) / 18)));
      rows.forEach((row, index) => {
        if (index % every === 0) context.fillText(Number.isFinite(row.bound) ? format(row.bound, unit) : "more", LEFT - 6, height - BOTTOM - index * cell.height - cell.height / 2 + 4);
      });
      context.textAlign = "center";
      for (let tick = 1; tick < 6; tick++) {
        const ms = startMs + ((endMs - startMs) * tick) / 6;
        context.fillText(clock(ms, false).split(", ").at(-1) ?? "", x(ms), height - 6);
      }
    };
    draw();
    const watch = new ResizeObserver(() => requestAnimationFrame(draw));
    watch.observe(box);
    return () => watch.disconnect();
  }, [times, rows, unit, dark, most, startMs, endMs, stepMs]);

  const point = (event: PointerEvent<HTMLCanvasElement>) => {
    const { left, top, width, height } = event.currentTarget.getBoundingClientRect();
    const ms = startMs + ((event.clientX - left - LEFT) / (width - LEFT)) * (endMs - startMs);
    const column = times.findIndex((time) => time * 1000 >= ms && time * 1000 - stepMs <= ms);
    const row = rows.length - 1 - Math.floor(((event.clientY - top) / (height - BOTTOM)) * rows.length);
    setAt(column >= 0 && column < times.length && row >= 0 && row < rows.length ? { column, row } : null);
  };
  const chosen = at && rows[at.row];
  return (
    <div data-state="chart" className="chart-fills">
      <div className="chart-host">
        <canvas ref={canvas} role="img" aria-label={`${label}. ${spoken(rows, unit)}`} onPointerMove={point} onPointerLeave={() => setAt(null)} style={{ display: "block" }} />
      </div>
      <Text size="xs" c="dimmed" className="legend">
        {chosen ? `${clock((times[at.column] ?? 0) * 1000)}: ${format(chosen.values[at.column])} at most ${Number.isFinite(chosen.bound) ? format(chosen.bound, unit) : "any"}` : `The stronger the colour, the more. ${spoken(rows, unit)}`}
      </Text>
    </div>
  );
}

function spoken(rows: HeatRow[], unit: string): string {
  const sums = rows.map((row) => row.values.reduce<number>((sum, value) => sum + (value ?? 0), 0));
  const top = sums.indexOf(Math.max(...sums));
  const bound = rows[top]?.bound ?? NaN;
  return `The fullest class is the one up to ${Number.isFinite(bound) ? format(bound, unit) : "any size"}.`;
}

/** Prometheus' buckets hold all that is not larger; a class holds what the one below it does not. */
export function classes(rows: HeatRow[]): HeatRow[] {
  const sorted = [...rows].sort((a, b) => a.bound - b.bound);
  return sorted.map((row, index) => {
    const below = sorted[index - 1];
    return { bound: row.bound, values: row.values.map((value, at) => (value === null ? null : Math.max(0, value - (below?.values[at] ?? 0)))) };
  });
}
