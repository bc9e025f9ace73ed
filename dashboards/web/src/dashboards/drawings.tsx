// How each panel type draws its data.

import { Group, Progress, Stack, Text, useComputedColorScheme } from "@mantine/core";
import { Fragment, type ReactNode } from "react";
import { type Cell, cellText, cellTimeMs, type Row, type Rows as SqlRows } from "../api/sql";
import { sampleValue } from "../api/prometheus";
import { Chart, type Threshold } from "../chart/chart";
import { classes, Heatmap } from "../chart/heatmap";
import { named, stroke } from "../chart/palette";
import { align } from "../chart/plot";
import { FoundTraces } from "../explore/trace-result";
import { LogLines } from "../explore/log-lines";
import { format } from "../format";
import { useClock, useSpan } from "../parts/clock";
import { To } from "../parts/link";
import { type Column, Rows } from "../parts/rows";
import { stamp } from "../time";
import { type PanelData, reduce } from "./answers";
import { type FieldConfig, fieldConfig, mapped, type Panel, thresholdColor } from "./model";

interface Properties {
  panel: Panel;
  data: PanelData;
}

function decimals(config: FieldConfig): number | undefined {
  return typeof config.decimals === "number" ? config.decimals : undefined;
}

export function TimeSeries({ panel, data }: Properties) {
  const dark = useComputedColorScheme("light") === "dark";
  const { zoom } = useClock();
  const span = useSpan();
  const defaults = panel.fieldConfig?.defaults ?? {};
  const configs = new Map(data.series.map((series) => [series, fieldConfig(panel, { name: series.name, refId: series.refId, number: true })]));
  const drawn = data.series.filter((series) => !configs.get(series)?.custom?.hideFrom?.viz);
  const { times, plots } = align(drawn, (series) => configs.get(series as (typeof data.series)[number])?.displayName ?? (series as (typeof data.series)[number]).name);
  // Series of another stacking group, as a total often is, stand beside the stack.
  const anyStacked = [...configs.values()].some(isStacked);
  const group = defaults.custom?.stacking?.group;
  const colored = plots.map((plot, index) => {
    const series = drawn[index];
    const config = series && configs.get(series);
    const fixed = config?.color?.mode === "fixed" || config?.color?.fixedColor ? config?.color?.fixedColor : undefined;
    const values = config?.custom?.transform === "negative-Y" ? plot.values.map((value) => (value === null ? null : -value)) : plot.values;
    return { ...plot, values, ...(fixed ? { color: named(fixed, dark) } : {}), ...(anyStacked && !(isStacked(config) && config?.custom?.stacking?.group === group) ? { alone: true } : {}) };
  });
  // One axis is drawn: an override that all series share decides its unit.
  const units = new Set([...configs.values()].map((config) => config.unit));
  const unit = units.size === 1 ? [...units][0] : defaults.unit;
  const custom = anyStacked ? defaults.custom : ((drawn[0] && configs.get(drawn[0])?.custom) ?? defaults.custom);
  const lines = custom?.thresholdsStyle?.mode?.includes("line") ? thresholds(defaults, dark) : [];
  const showLegend = panel.options?.legend?.showLegend !== false && panel.options?.legend?.displayMode !== "hidden";
  return (
    <Chart
      times={times} plots={colored} label={panel.title ?? "Panel"} unit={unit ?? "short"} {...optional("decimals", decimals(defaults))}
      fills
      stacked={anyStacked}
      {...optional("fill", custom?.fillOpacity === undefined ? undefined : custom.fillOpacity / 100)}
      {...optional("min", defaults.min ?? undefined)} {...optional("max", defaults.max ?? undefined)}
      bars={custom?.drawStyle === "bars"} points={custom?.drawStyle === "points" || custom?.showPoints === "always"}
      legend={showLegend} thresholds={lines} startMs={span.startMs} endMs={span.endMs} onZoom={zoom}
    />
  );
}

/** One row for each `le`; other series are rows by their order. */
export function HeatmapPanel({ panel, data }: Properties) {
  const span = useSpan();
  const { times, plots } = align(data.series, (series) => series.labels.le ?? (series as (typeof data.series)[number]).name);
  const rows = plots.map((plot, index) => ({ bound: Number.isNaN(sampleValue(plot.name)) ? index : sampleValue(plot.name), values: plot.values }));
  const cumulative = panel.targets?.some((target) => target.format === "heatmap");
  const yAxis = panel.options?.yAxis?.unit ?? panel.fieldConfig?.defaults?.unit ?? "short";
  return <Heatmap label={panel.title ?? "Heatmap"} times={times} rows={cumulative ? classes(rows) : rows.sort((a, b) => a.bound - b.bound)} unit={yAxis} startMs={span.startMs} endMs={span.endMs} />;
}

function isStacked(config: FieldConfig | undefined): boolean {
  return config?.custom?.stacking?.mode === "normal" || config?.custom?.stacking?.mode === "percent";
}

function thresholds(config: FieldConfig, dark: boolean): Threshold[] {
  return (config.thresholds?.steps ?? []).flatMap((step) => (step.value === null ? [] : [{ value: step.value, color: named(step.color, dark) }]));
}

function optional<K extends string, V>(name: K, value: V | undefined): { [key in K]?: V } {
  return (value === undefined ? {} : { [name]: value }) as { [key in K]?: V };
}

interface Reading {
  name: string;
  value: number | null;
  text: string;
  color: string | null;
  config: FieldConfig;
  times: number[];
  values: number[];
}

function readings({ panel, data }: Properties, dark: boolean): Reading[] {
  const calc = panel.options?.reduceOptions?.calcs?.[0];
  return data.series.map((series) => {
    const config = fieldConfig(panel, { name: series.name, refId: series.refId, number: true });
    const value = reduce(series.values, calc);
    const text = mapped(config, value);
    const color = text?.color ?? (config.color?.mode === "fixed" ? config.color.fixedColor : thresholdColor(config, value)) ?? null;
    return {
      name: config.displayName ?? series.name, value, config, times: series.times, values: series.values,
      text: text?.text ?? format(value, config.unit ?? "short", decimals(config)), color: color ? named(color, dark) : null,
    };
  });
}

export function Stat(properties: Properties) {
  const dark = useComputedColorScheme("light") === "dark";
  const all = readings(properties, dark).slice(0, 24);
  const { options } = properties.panel;
  return (
    <Group data-state="stat" gap="lg" align="center" justify={all.length > 1 ? "space-around" : "center"}>
      {all.map((one) => (
        <Stack key={one.name} gap={0} align="center">
          <Text fw={600} lh={1.2} className={all.length > 1 ? "stat-small" : "stat"} style={{ color: options?.colorMode === "none" ? undefined : (one.color ?? undefined), fontVariantNumeric: "tabular-nums" }}>{one.text}</Text>
          {(all.length > 1 || options?.textMode === "value_and_name") && <Text size="xs" c="dimmed">{one.name}</Text>}
          {options?.graphMode !== "none" && one.values.length > 2 && <Sparkline values={one.values} color={one.color ?? "var(--mantine-primary-color-filled)"} />}
        </Stack>
      ))}
    </Group>
  );
}

function Sparkline({ values, color }: { values: number[]; color: string }) {
  const known = values.filter(Number.isFinite);
  const low = Math.min(...known);
  const height = Math.max(...known) - low || 1;
  const points = values.map((value, index) => `${((index / (values.length - 1)) * 120).toFixed(1)},${(22 - ((value - low) / height) * 20).toFixed(1)}`);
  return (
    <svg width="120" height="24" aria-hidden="true"><polyline points={points.filter((point) => !point.includes("NaN")).join(" ")} fill="none" stroke={color} strokeWidth="1.5" /></svg>
  );
}

/** An arc from 0 to the largest value that the dashboard names. */
export function Gauge(properties: Properties) {
  const dark = useComputedColorScheme("light") === "dark";
  const all = readings(properties, dark).slice(0, 12);
  return (
    <Group data-state="stat" gap="md" justify="space-around" align="center">
      {all.map((one) => (
        <Stack key={one.name} gap={0} align="center" maw="100%">
          <svg viewBox="0 0 120 72" style={{ width: all.length > 1 ? 110 : 132, maxWidth: "100%" }} role="img" aria-label={`${one.name}: ${one.text}`}>
            <path d={arc(1)} fill="none" stroke="var(--line)" strokeWidth="11" strokeLinecap="round" />
            <path d={arc(share(one))} fill="none" stroke={one.color ?? "var(--mantine-primary-color-filled)"} strokeWidth="11" strokeLinecap="round" />
            <text x="60" y="60" textAnchor="middle" fontSize="18" fontWeight="600" fill="var(--mantine-color-text)">{one.text}</text>
          </svg>
          {(all.length > 1 || !/^Value$|[{]/.test(one.name)) && <Text size="xs" c="dimmed" ta="center" lineClamp={1} maw={132} title={one.name}>{one.name}</Text>}
        </Stack>
      ))}
    </Group>
  );
}

function arc(part: number): string {
  const angle = Math.PI * (1 - Math.max(0.001, part));
  return `M 12 62 A 48 48 0 0 1 ${(60 + 48 * Math.cos(angle)).toFixed(2)} ${(62 - 48 * Math.sin(angle)).toFixed(2)}`;
}

function share({ value, config }: Reading, largest = 0): number {
  const percent = config.unit === "percentunit" ? 1 : config.unit === "percent" ? 100 : 0;
  const low = config.min ?? 0;
  const high = config.max ?? (percent || largest || Math.abs(value ?? 1) || 1);
  return Math.min(1, Math.max(0, ((value ?? low) - low) / (high - low || 1)));
}

export function BarGauge(properties: Properties) {
  const dark = useComputedColorScheme("light") === "dark";
  const all = readings(properties, dark);
  const largest = Math.max(0, ...all.map((one) => one.value ?? 0));
  return (
    <Stack data-state="stat" data-bars gap={6}>
      {all.slice(0, 100).map((one, index) => (
        <div key={`${one.name} ${index}`}>
          <Group justify="space-between" gap="xs" wrap="nowrap">
            <Text size="xs" truncate title={one.name}>{one.name}</Text>
            <Text size="xs" fw={600} style={{ whiteSpace: "nowrap", fontVariantNumeric: "tabular-nums" }}>{one.text}</Text>
          </Group>
          <Progress value={share(one, largest) * 100} color={one.color ?? "sea"} size="sm" aria-label={`${one.name}: ${one.text}`} />
        </div>
      ))}
    </Stack>
  );
}

/** Drawn as one bar of parts and a list: shares are read more exactly from it than from angles. */
export function Pie(properties: Properties) {
  const dark = useComputedColorScheme("light") === "dark";
  const all = readings(properties, dark).filter((one) => (one.value ?? 0) > 0).sort((a, b) => (b.value ?? 0) - (a.value ?? 0));
  const total = all.reduce((sum, one) => sum + (one.value ?? 0), 0);
  return (
    <Stack data-state="stat" data-bars gap="xs">
      <Progress.Root size="xl">
        {all.map((one, index) => <Progress.Section key={one.name} value={((one.value ?? 0) / total) * 100} color={stroke(index, dark).color} aria-label={`${one.name} ${one.text}`} />)}
      </Progress.Root>
      {all.map((one, index) => (
        <Group key={one.name} gap={6} wrap="nowrap">
          <span style={{ width: 10, height: 10, borderRadius: 2, flex: "none", background: stroke(index, dark).color }} />
          <Text size="xs" truncate style={{ flex: 1 }}>{one.name}</Text>
          <Text size="xs" fw={600}>{one.text}</Text>
          <Text size="xs" c="dimmed" w={52} ta="right">{format(((one.value ?? 0) / total) * 100, "percent")}</Text>
        </Group>
      ))}
    </Stack>
  );
}

export function TablePanel({ panel, data }: Properties) {
  const table = merged(data);
  const organize = panel.transformations?.find((one) => one.id === "organize" && !one.disabled)?.options as
    { excludeByName?: Record<string, boolean>; renameByName?: Record<string, string>; indexByName?: Record<string, number> } | undefined;
  const shown = table.columns
    .filter((name) => !organize?.excludeByName?.[name])
    .sort((a, b) => (organize?.indexByName?.[a] ?? table.columns.indexOf(a)) - (organize?.indexByName?.[b] ?? table.columns.indexOf(b)));
  const columns = shown.map((name): Column<Row> => {
    const number = typeof table.rows.find((row) => row[name] !== null)?.[name] === "number";
    const config = fieldConfig(panel, { name: organize?.renameByName?.[name] ?? name, number });
    return {
      name: config.displayName ?? organize?.renameByName?.[name] ?? name, number,
      value: (row) => (typeof row[name] === "number" ? row[name] : cellText(row[name])),
      show: (row) => cell(name, row[name], config),
    };
  });
  return <Rows label={panel.title ?? "Table"} rows={table.rows} columns={columns} copy={false} />;
}

/** Tables of several queries are one, joined on the labels that they share. */
function merged(data: PanelData): SqlRows {
  if (data.tables.length === 0) {
    return { columns: ["Name", "Value"], warnings: [], rows: data.series.map((series) => ({ Name: series.name, Value: series.values.at(-1) ?? null })) };
  }
  if (data.tables.length === 1) return data.tables[0]?.rows ?? { columns: [], rows: [], warnings: [] };
  const rows = new Map<string, Row>();
  const columns: string[] = [];
  for (const { refId, rows: table } of data.tables) {
    const labels = table.columns.filter((name) => name !== "Value");
    for (const name of labels) if (!columns.includes(name)) columns.push(name);
    for (const row of table.rows) {
      const key = labels.map((name) => `${name}=${cellText(row[name])}`).sort().join("\n");
      const { Value, ...rest } = row;
      rows.set(key, { ...rows.get(key), ...rest, ...(Value === undefined ? {} : { [`Value #${refId}`]: Value }) });
    }
  }
  const values = data.tables.map((table) => `Value #${table.refId}`).filter((name) => [...rows.values()].some((row) => row[name] !== undefined));
  return { columns: [...columns, ...values], rows: [...rows.values()].map((row) => ({ ...Object.fromEntries(values.map((name) => [name, null])), ...row })), warnings: [] };
}

function cell(name: string, value: Cell | undefined, config: FieldConfig): ReactNode {
  const text = mapped(config, typeof value === "number" || typeof value === "string" ? value : null);
  if (text) return text.text;
  if (typeof value === "number") return format(value, config.unit ?? "short", decimals(config));
  if (name === "trace_id" && value) return <To to={`/trace/${cellText(value)}`}><span className="mono">{cellText(value).slice(0, 12)}…</span></To>;
  const time = cellTimeMs(value);
  return time !== null ? stamp(time).slice(0, 19) : cellText(value) || "–";
}

export function Logs({ panel, data }: Properties) {
  return <LogLines lines={data.lines} height={Math.max(80, panel.gridPos.h * 38 - 60)} />;
}

export function Traces({ data }: Properties) {
  return <FoundTraces found={data.traces} compact />;
}

/** Paragraphs, headings, lists, bold, code and links of Markdown; anything else stays the text it is. */
export function TextPanel({ panel, text }: { panel: Panel; text: string }) {
  if (panel.options?.mode === "html") return <Text size="sm">{new DOMParser().parseFromString(text, "text/html").body.textContent}</Text>;
  return (
    <div>
      {text.split(/\n{2,}/).map((block, index) => {
        const heading = /^(#{1,6})\s+(.*)$/s.exec(block);
        if (heading) return <Text key={index} fw={700} fz={heading[1]?.length === 1 ? "lg" : "md"}>{inline(heading[2] ?? "")}</Text>;
        const items = block.split("\n").filter((line) => line.trim() !== "");
        if (items.length > 0 && items.every((line) => /^\s*[-*]\s/.test(line))) {
          return <ul key={index} style={{ margin: "4px 0", paddingLeft: 20 }}>{items.map((line, at) => <li key={at}>{inline(line.replace(/^\s*[-*]\s/, ""))}</li>)}</ul>;
        }
        return <Text key={index} size="sm" mb={6}>{inline(block)}</Text>;
      })}
    </div>
  );
}

function inline(text: string): ReactNode[] {
  return text.split(/(\*\*[^*]+\*\*|`[^`]+`|\[[^\]]+\]\([^)\s]+\))/).map((part, index) => {
    if (part.startsWith("**")) return <b key={index}>{part.slice(2, -2)}</b>;
    if (part.startsWith("`")) return <code key={index}>{part.slice(1, -1)}</code>;
    const link = /^\[([^\]]+)\]\(((?:https?:\/\/|\/|#)[^)\s]*)\)$/.exec(part);
    return link ? <a key={index} href={link[2]} rel="noreferrer" style={{ color: "var(--mantine-color-anchor)" }}>{link[1]}</a> : <Fragment key={index}>{part}</Fragment>;
  });
}
