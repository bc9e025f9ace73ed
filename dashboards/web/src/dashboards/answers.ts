// A panel's targets, asked: series, log lines, traces or rows.

import { type Line, logs } from "../api/loki";
import { instant, type Labels, range, type Series, seriesName } from "../api/prometheus";
import { type Row, type Rows, sql } from "../api/sql";
import { countsTraces, type FoundTrace, search, traceMetrics } from "../api/tempo";
import type { Span } from "../time";
import { durationMs } from "../time";
import { type Panel, sourceOf, type Target } from "./model";
import { rowsToSeries } from "./sql-plots";
import { type Chosen, type Filled, interpolate, macros } from "./variables";

export interface NamedSeries extends Series {
  name: string;
  refId: string | undefined;
}

export interface PanelData {
  series: NamedSeries[];
  tables: { refId: string | undefined; rows: Rows }[];
  lines: Line[];
  traces: FoundTrace[];
  warnings: string[];
}

/** Panels of one value each draw from an instant answer, which costs the server one point instead of hundreds. */
const OF_ONE_VALUE = new Set(["bargauge", "table", "piechart"]);

export async function ask(panel: Panel, chosen: Chosen, filled: Filled[], span: Span, signal?: AbortSignal): Promise<PanelData> {
  const data: PanelData = { series: [], tables: [], lines: [], traces: [], warnings: [] };
  const targets = (panel.targets ?? []).filter((target) => !target.hide && text(target).trim() !== "");
  await Promise.all(targets.map((target) => askOne(target, panel, chosen, filled, span, data, signal)));
  // Answers come in any order; the order of the file decides colours and columns.
  const order = new Map(targets.map((target, index) => [target.refId, index]));
  data.series.sort((a, b) => (order.get(a.refId) ?? 0) - (order.get(b.refId) ?? 0));
  data.tables.sort((a, b) => (order.get(a.refId) ?? 0) - (order.get(b.refId) ?? 0));
  return data;
}

function text(target: Target): string {
  return target.expr ?? target.rawSql ?? target.query ?? "";
}

async function askOne(target: Target, panel: Panel, chosen: Chosen, filled: Filled[], span: Span, data: PanelData, signal?: AbortSignal): Promise<void> {
  const source = sourceOf(target, panel, chosen);
  const { refId } = target;
  if (source === "metrics") {
    const query = interpolate(text(target), chosen, span, filled);
    const one = target.instant ?? OF_ONE_VALUE.has(panel.type);
    const answer = one ? await instant(query, span.endMs, signal) : await range(query, stepped(span, target, panel, chosen, filled), signal);
    data.warnings.push(...answer.warnings);
    data.series.push(...answer.series.map((series) => ({ ...series, refId, name: legend(target, series.labels) })));
    if (target.format === "table") data.tables.push({ refId, rows: labelTable(answer.series) });
  } else if (source === "logs") {
    const answer = await logs(interpolate(text(target), chosen, span, filled), span, 500, signal);
    if (answer.kind === "lines") {
      data.lines.push(...answer.lines);
      data.warnings.push(...answer.warnings);
    } else data.series.push(...answer.answer.series.map((series) => ({ ...series, refId, name: legend(target, series.labels) })));
  } else if (source === "traces") {
    const query = interpolate(text(target), chosen, span, filled);
    if (countsTraces(query)) {
      const answer = await traceMetrics(query, span, signal);
      data.warnings.push(...answer.warnings);
      data.series.push(...answer.series.map((series) => ({ ...series, refId, name: legend(target, series.labels) })));
    } else {
      const found = await search(query, span, target.limit ?? 50, signal);
      data.warnings.push(...found.warnings);
      data.traces.push(...found.traces);
    }
  } else if (source === "sql") {
    const rows = await sql(interpolate(macros(text(target), span), chosen, span, filled, true), signal);
    data.warnings.push(...rows.warnings);
    data.tables.push({ refId, rows });
    const series = target.format === "time_series" ? rowsToSeries(rows) : null;
    data.series.push(...(series ?? rowSeries(rows)).map((one) => ({ ...one, refId, name: one.labels.__name__ ?? "" })));
  } else {
    throw new Error(`This panel asks a data source that is not served here: ${JSON.stringify(target.datasource ?? panel.datasource)}.`);
  }
}

function stepped(span: Span, target: Target, panel: Panel, chosen: Chosen, filled: Filled[]): Span {
  const least = durationMs(interpolate(target.interval ?? panel.interval ?? "", chosen, span, filled).replace(/^>/, "")) ?? 0;
  return least > span.stepMs ? { startMs: Math.floor(span.startMs / least) * least, endMs: span.endMs, stepMs: least } : span;
}

/** `{{label}}` of a legend format; without one the labels themselves. */
export function legend(target: Target, labels: Labels): string {
  const format = target.legendFormat;
  if (!format || format === "__auto") {
    const { __name__: name, ...rest } = labels;
    const values = Object.values(rest);
    return values.length === 1 ? (values[0] ?? "") : values.length === 0 ? (name ?? "Value") : seriesName(labels);
  }
  return format.replace(/\{\{\s*([\w.]+)\s*\}\}/g, (_, label: string) => labels[label] ?? "");
}

/** An instant answer as a table: a column a label, then the value. */
function labelTable(series: Series[]): Rows {
  const names = [...new Set(series.flatMap((one) => Object.keys(one.labels)))].filter((name) => name !== "__name__");
  const rows = series.map((one): Row => ({ ...Object.fromEntries(names.map((name) => [name, one.labels[name] ?? ""])), Value: one.values.at(-1) ?? null }));
  return { columns: [...names, "Value"], rows, warnings: [] };
}

/** For stats and gauges over SQL: each number column of each row is a value, text beside it its name. */
function rowSeries(rows: Rows): Series[] {
  const few = rows.rows.slice(0, 100);
  return few.flatMap((row) => {
    const group = rows.columns.filter((name) => typeof row[name] === "string").map((name) => row[name]).join(" ");
    const numbers = rows.columns.filter((name) => typeof row[name] === "number");
    return numbers.map((name): Series => ({
      labels: { __name__: group && numbers.length === 1 ? group : group ? `${group} ${name}` : name }, times: [0], values: [Number(row[name])],
    }));
  });
}

/** Grafana's reducers by name. */
export function reduce(values: number[], calc = "lastNotNull"): number | null {
  const known = values.filter((value) => !Number.isNaN(value));
  if (known.length === 0) return null;
  switch (calc) {
    case "mean": return known.reduce((a, b) => a + b, 0) / known.length;
    case "sum": return known.reduce((a, b) => a + b, 0);
    case "min": return Math.min(...known);
    case "max": return Math.max(...known);
    case "first": case "firstNotNull": return known[0] ?? null;
    case "count": return known.length;
    case "range": return Math.max(...known) - Math.min(...known);
    case "delta": case "diff": return (known.at(-1) ?? 0) - (known[0] ?? 0);
    default: return known.at(-1) ?? null;
  }
}
