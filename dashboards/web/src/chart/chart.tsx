// A time series chart: uPlot on a canvas, a legend of buttons, the arrow keys as a cursor, a drag to zoom.

import { useComputedColorScheme } from "@mantine/core";
import { type KeyboardEvent, memo, useEffect, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { format } from "../format";
import { clock, zone } from "../time";
import { Legend } from "./legend";
import { stroke } from "./palette";
import { between, type Plots, stack, summary } from "./plot";

/** More lines than this nobody reads; the legend says how many were left out. */
export const PLOTS_MAX = 60;

export interface Threshold {
  value: number;
  color: string;
}

interface Properties extends Plots {
  label: string;
  unit?: string;
  decimals?: number;
  height?: number;
  /** As high as the place it is put into, which must have a height of its own. */
  fills?: boolean;
  min?: number;
  max?: number;
  stacked?: boolean;
  /** 0…1 */
  fill?: number;
  bars?: boolean;
  points?: boolean;
  legend?: boolean;
  thresholds?: Threshold[];
  startMs?: number;
  endMs?: number;
  onZoom?: (startMs: number, endMs: number) => void;
}

const cursors = uPlot.sync("binnacle");

export const Chart = memo(function Chart(properties: Properties) {
  const { times, label, unit = "short", decimals, height = 220, fills = false, legend = true } = properties;
  const dark = useComputedColorScheme("light") === "dark";
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const zoom = useRef(properties.onZoom);
  zoom.current = properties.onZoom;
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const [cursor, setCursor] = useState<number | null>(null);

  const shown = useMemo(() => properties.plots.slice(0, PLOTS_MAX), [properties.plots]);
  const strokes = useMemo(
    () => shown.map((plot, index) => ({ ...stroke(index, dark), ...(plot.color ? { color: plot.color } : {}) })),
    [shown, dark],
  );
  const names = shown.map((plot) => plot.name).join("\n");
  const hiddenNames = [...hidden].join("\n");

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const visible = shown.map((plot, index) => ({ plot, stroke: strokes[index] })).filter(({ plot }) => !hidden.has(plot.name));
    const drawn = properties.stacked ? stack(visible.map(({ plot }) => plot)) : visible.map(({ plot }) => plot);
    const tall = () => (fills ? Math.max(60, element.clientHeight) : height);
    const ink = dark ? "#a9b4c0" : "#4a5663";
    const lines = dark ? "#2a323c" : "#e3e8ed";
    // Areas under many lines would mix to a grey in which none is seen.
    const fill = properties.stacked ? (properties.fill ?? 0.35) : visible.length > 4 && !properties.bars ? 0 : (properties.fill ?? 0.08);
    const axis = { stroke: ink, grid: { stroke: lines, width: 1 }, ticks: { stroke: lines, width: 1 }, font: "12px system-ui" };
    const span = properties.startMs !== undefined && properties.endMs !== undefined
      ? ([properties.startMs / 1000, properties.endMs / 1000] as [number, number]) : undefined;
    const options: uPlot.Options = {
      width: Math.max(80, element.clientWidth),
      height: tall(),
      legend: { show: false },
      padding: [8, 18, 0, 0],
      cursor: { sync: { key: cursors.key }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
      tzDate: (seconds) => (zone.utc ? uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC") : new Date(seconds * 1000)),
      scales: {
        x: span ? { time: true, range: () => span } : { time: true },
        y: {
          range: (_, low, high) => {
            const [bottom, top] = bounds(low, high);
            return [properties.min ?? bottom, properties.max ?? top];
          },
        },
      },
      axes: [
        { ...axis, size: 32, space: 76, values: hours },
        { ...axis, size: axisWidth, values: (_, splits) => splits.map((value) => format(value, unit, decimals)) },
      ],
      series: [
        {},
        ...visible.map(({ plot, stroke: line }): uPlot.Series => ({
          label: plot.name,
          stroke: line?.color ?? ink,
          dash: line?.dash ?? [],
          width: properties.bars ? 0 : 1.5,
          fill: fill > 0 && !plot.alone ? withAlpha(line?.color ?? ink, properties.bars ? 0.8 : fill) : undefined,
          points: { show: properties.points ? true : properties.bars ? false : lonely, size: 4 },
          spanGaps: false,
          ...(properties.bars && uPlot.paths.bars ? { paths: uPlot.paths.bars({ size: [0.8, 40] }) } : {}),
        } as uPlot.Series)),
      ],
      bands: properties.stacked ? between(drawn).map(([upper, lower]) => ({ series: [upper + 1, lower + 1] as [number, number] })) : [],
      hooks: {
        setCursor: [(plot) => setCursor(plot.cursor.idx ?? null)],
        setSelect: [
          (plot) => {
            if (plot.select.width < 4) return;
            const from = plot.posToVal(plot.select.left, "x");
            const to = plot.posToVal(plot.select.left + plot.select.width, "x");
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            zoom.current?.(from * 1000, to * 1000);
          },
        ],
        drawAxes: [(plot) => (properties.thresholds ?? []).forEach((threshold) => line(plot, threshold))],
      },
    };
    const data = [times, ...drawn.map((plot) => plot.values)] as uPlot.AlignedData;
    const made = new uPlot(options, data, element);
    chart.current = made;
    // A resize inside the observer's own callback would make the browser report a loop.
    let frame = 0;
    const watch = new ResizeObserver(() => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => {
        if (element.clientWidth > 0 && (element.clientWidth !== made.width || tall() !== made.height)) made.setSize({ width: element.clientWidth, height: tall() });
      });
    });
    watch.observe(element);
    return () => {
      cancelAnimationFrame(frame);
      watch.disconnect();
      made.destroy();
      chart.current = null;
    };
    // Strings stand for the arrays and sets that are new at every render.
  }, [times, shown, names, hiddenNames, dark, height, fills, unit, decimals, properties.stacked, properties.min, properties.max, properties.bars, properties.fill, properties.startMs, properties.endMs]);

  const step = (event: KeyboardEvent) => {
    const distance = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0;
    const plot = chart.current;
    if (distance === 0 || !plot || times.length === 0) return;
    event.preventDefault();
    const at = Math.min(times.length - 1, Math.max(0, (cursor ?? times.length) + distance));
    plot.setCursor({ left: plot.valToPos(times[at] ?? 0, "x"), top: plot.height / 2 });
  };

  const at = cursor !== null ? times[cursor] : undefined;
  return (
    <div data-state="chart" className={fills ? "chart-fills" : undefined}>
      <div
        ref={host}
        role="img"
        tabIndex={0}
        aria-label={`${label}. ${spoken(properties, unit, decimals)} Left and right arrow keys read points.`}
        onKeyDown={step}
        className="chart-host"
        style={fills ? undefined : { minHeight: height }}
      />
      {at !== undefined && <span className="visually-hidden" role="status">{clock(at * 1000)}</span>}
      {legend && (
        <Legend
          plots={shown}
          strokes={strokes}
          left={properties.plots.length - shown.length}
          unit={unit}
          decimals={decimals}
          cursor={cursor}
          timeMs={at === undefined ? null : at * 1000}
          hidden={hidden}
          onHide={setHidden}
        />
      )}
    </div>
  );
});

/** A point without neighbours has no line: without its dot it would not be seen. */
const lonely: uPlot.Series.Points.Show = (plot, index) => {
  const values = plot.data[index] ?? [];
  return values.length < 3;
};

/** Zero stays in sight unless the values are far from it. */
function bounds(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  if (low === high) return low === 0 ? [0, 1] : low > 0 ? [0, low * 1.2] : [low * 1.2, 0];
  const room = (high - low) * 0.08;
  const bottom = low >= 0 && low < high * 0.7 ? 0 : low - room;
  return [bottom, high + room];
}

function axisWidth(_: uPlot, values: string[] | null): number {
  const longest = (values ?? []).reduce((most, text) => Math.max(most, text.length), 0);
  return Math.max(48, 24 + longest * 7);
}

function hours(plot: uPlot, splits: number[], _axis: number, _space: number, increment: number): string[] {
  void plot;
  return splits.map((seconds) => {
    const at = new Date(seconds * 1000);
    const zoned = zone.utc ? { timeZone: "UTC" } : {};
    if (increment >= 86_400) return at.toLocaleDateString(undefined, { month: "short", day: "numeric", ...zoned });
    return at.toLocaleTimeString(undefined, {
      hour: "2-digit", minute: "2-digit", hour12: false, ...(increment < 60 ? { second: "2-digit" as const } : {}), ...zoned,
    });
  });
}

function withAlpha(color: string, alpha: number): string {
  const hex = /^#([0-9a-f]{6})$/i.exec(color)?.[1];
  return hex ? `#${hex}${Math.round(alpha * 255).toString(16).padStart(2, "0")}` : color;
}

function line(plot: uPlot, threshold: Threshold): void {
  const y = plot.valToPos(threshold.value, "y", true);
  if (y < plot.bbox.top || y > plot.bbox.top + plot.bbox.height) return;
  const { ctx } = plot;
  ctx.save();
  ctx.strokeStyle = threshold.color;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([6, 4]);
  ctx.beginPath();
  ctx.moveTo(plot.bbox.left, y);
  ctx.lineTo(plot.bbox.left + plot.bbox.width, y);
  ctx.stroke();
  ctx.restore();
}

function spoken({ plots }: Plots, unit: string, decimals?: number): string {
  const few = plots.slice(0, 4).map((plot) => {
    const { last, max } = summary(plot.values);
    return `${plot.name} ${format(last, unit, decimals)}, highest ${format(max, unit, decimals)}`;
  });
  return `${plots.length} series: ${few.join("; ")}${plots.length > 4 ? "; and more" : ""}.`;
}
