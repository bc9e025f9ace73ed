// Variables of a dashboard: what they may be, what is chosen (in the URL), and how they stand in queries.

import { labelValues, instant } from "../api/prometheus";
import { cellText, sql } from "../api/sql";
import { durationText, type Span } from "../time";
import { regexp, type Variable } from "./model";

/** Values chosen, by name. `$__all` stands for every one. */
export type Chosen = Record<string, string[]>;

export const ALL = "$__all";
const VALUES_MAX = 1000;

export interface Filled {
  variable: Variable;
  options: string[];
  chosen: string[];
}

/** In order, as a later variable may use an earlier one. */
export async function fill(variables: Variable[], asked: Chosen, span: Span, signal?: AbortSignal): Promise<Filled[]> {
  const filled: Filled[] = [];
  for (const variable of variables) {
    const before = chosenOf(filled);
    const options = await optionsOf(variable, before, span, filled, signal);
    filled.push({ variable, options, chosen: choose(variable, options, asked[variable.name]) });
  }
  return filled;
}

export function chosenOf(filled: Filled[]): Chosen {
  return Object.fromEntries(filled.map((one) => [one.variable.name, one.chosen]));
}

async function optionsOf(variable: Variable, before: Chosen, span: Span, filled: Filled[], signal?: AbortSignal): Promise<string[]> {
  const text = typeof variable.query === "string" ? variable.query : (variable.query?.query ?? variable.definition ?? "");
  switch (variable.type) {
    case "query": {
      const query = interpolate(text, before, span, filled);
      const values = /postgres|sql/.test(typeof variable.datasource === "string" ? variable.datasource : (variable.datasource?.type ?? ""))
        ? (await sql(query, signal)).rows.map((row) => cellText(Object.values(row)[0]))
        : await metricValues(query, span, signal);
      return sorted(filtered(values, variable.regex), variable.sort ?? 0).slice(0, VALUES_MAX);
    }
    case "custom":
    case "interval":
      return text.split(",").map((one) => one.trim().split(" : ").at(-1) ?? "").filter((one) => one !== "");
    case "constant":
      return [text];
    case "textbox":
      return [];
    case "datasource":
      return [text];
    default:
      return [];
  }
}

async function metricValues(query: string, span: Span, signal?: AbortSignal): Promise<string[]> {
  const values = /^\s*label_values\(\s*(?:(.+)\s*,\s*)?([\w.]+)\s*\)\s*$/s.exec(query);
  if (values) return labelValues(values[2] ?? "", values[1]?.trim(), span, signal);
  const metrics = /^\s*metrics\(\s*(.*)\s*\)\s*$/.exec(query);
  if (metrics) return labelValues("__name__", `{__name__=~${JSON.stringify(`.*${metrics[1] ?? ""}.*`)}}`, span, signal);
  const result = /^\s*query_result\((.*)\)\s*$/s.exec(query);
  if (!result) return [];
  return (await instant(result[1] ?? "", span.endMs, signal)).series.map((series) => {
    const { __name__: name = "", ...labels } = series.labels;
    return `${name}{${Object.entries(labels).map(([label, value]) => `${label}="${value}"`).join(",")}} ${series.values[0] ?? ""}`;
  });
}

/** A variable's `regex` keeps what matches, and the first group (or the one called `value`) of it. */
export function filtered(values: string[], pattern: string | undefined): string[] {
  const test = pattern ? regexp(pattern) : null;
  const kept = test ? values.flatMap((value) => {
    const found = test.exec(value);
    return found ? [found.groups?.value ?? found[1] ?? value] : [];
  }) : values;
  return [...new Set(kept.filter((value) => value !== ""))];
}

function sorted(values: string[], how: number): string[] {
  const byNumber = how === 3 || how === 4;
  const order = [...values].sort((a, b) => (byNumber ? parseFloat(a) - parseFloat(b) : a.localeCompare(b)));
  return how % 2 === 0 && how > 0 ? order.reverse() : order;
}

function choose(variable: Variable, options: string[], asked: string[] | undefined): string[] {
  const isAll = (value: string) => value === ALL || value === "All";
  if (variable.type === "textbox") return asked ?? [typeof variable.query === "string" ? variable.query : ""];
  const known = (asked ?? []).filter((value) => options.includes(value) || (variable.includeAll && isAll(value)));
  if (known.length > 0) return known.map((value) => (isAll(value) ? ALL : value));
  const current = [variable.current?.value ?? []].flat().filter((value) => options.includes(value) || (variable.includeAll && isAll(value)));
  if (current.length > 0) return current.map((value) => (isAll(value) ? ALL : value));
  if (variable.includeAll) return [ALL];
  return options[0] === undefined ? [] : [options[0]];
}

const REGEX_SIGNS = /[\\^$.*+?()[\]{}|]/g;

/** `$name`, `${name}`, `${name:format}`, `[[name]]` and Grafana's own `$__…`. */
export function interpolate(text: string, chosen: Chosen, span: Span, filled: Filled[] = [], forSql = false): string {
  const own = ownVariables(span);
  return text.replace(/\$\{(\w+)(?::(\w+))?\}|\$(\w+)|\[\[(\w+)(?::(\w+))?\]\]/g, (whole, a?: string, b?: string, c?: string, d?: string, e?: string) => {
    const name = a ?? c ?? d ?? "";
    const mine = own[name];
    if (mine !== undefined) return mine;
    const values = chosen[name];
    if (values === undefined) return whole;
    return formatted(values, b ?? e, filled.find((one) => one.variable.name === name), forSql);
  });
}

function formatted(values: string[], how: string | undefined, filled: Filled | undefined, forSql: boolean): string {
  const all = values.includes(ALL);
  if (all && filled?.variable.allValue) return filled.variable.allValue;
  const list = all ? (filled?.options ?? []) : values;
  switch (how) {
    case "csv": return list.join(",");
    case "pipe": return list.join("|");
    case "raw": return list.join(",");
    case "sqlstring": case "singlequote": return list.map((one) => `'${one.replaceAll("'", "''")}'`).join(",");
    case "doublequote": return list.map((one) => JSON.stringify(one)).join(",");
    case "text": return all ? "All" : list.join(" + ");
  }
  if (forSql) {
    const quoted = list.map((one) => `'${one.replaceAll("'", "''")}'`).join(",");
    return filled?.variable.multi || filled?.variable.includeAll ? quoted || "''" : (list[0] ?? "");
  }
  // `.*` also keeps series that lack the label, as "All" means no restriction.
  if (all && how !== "regex" && list.length === 0) return ".*";
  const escaped = filled?.variable.multi || filled?.variable.includeAll || how === "regex"
    ? list.map((one) => one.replace(REGEX_SIGNS, (sign) => `\\${how === "regex" ? "" : "\\"}${sign}`)) : list;
  return escaped.length === 1 ? (escaped[0] ?? "") : `(${escaped.join("|")})`;
}

function ownVariables(span: Span): Record<string, string> {
  const range = span.endMs - span.startMs;
  // Four points of a scrape every 15 s, as Grafana reckons it: fewer and a rate has gaps.
  const rate = Math.max(span.stepMs + 15_000, 60_000);
  return {
    __interval: durationText(span.stepMs), __interval_ms: String(span.stepMs), __rate_interval: durationText(rate), __rate_interval_ms: String(rate),
    __range: durationText(range), __range_s: String(Math.round(range / 1000)), __range_ms: String(range),
    __from: String(span.startMs), __to: String(span.endMs), __auto: durationText(span.stepMs),
  };
}

/** The macros of Grafana's PostgreSQL data source. */
export function macros(text: string, span: Span): string {
  const iso = (ms: number) => `'${new Date(ms).toISOString()}'`;
  return text
    .replace(/\$__timeFilter\(([^()]+(?:\([^()]*\))?)\)/g, (_, column: string) => `${column} BETWEEN ${iso(span.startMs)} AND ${iso(span.endMs)}`)
    .replace(/\$__timeFrom\(\)/g, iso(span.startMs))
    .replace(/\$__timeTo\(\)/g, iso(span.endMs))
    .replace(/\$__timeGroup(?:Alias)?\(([^,()]+(?:\([^()]*\))?),\s*('?)([^')]+)\2[^)]*\)/g, (whole, column: string, _quote: string, width: string) => {
      const every = width.includes("$__interval") ? durationText(span.stepMs) : width.trim();
      const bucket = `date_bin(interval '${interval(every)}', ${column})`;
      return whole.startsWith("$__timeGroupAlias") ? `${bucket} AS "time"` : bucket;
    })
    .replace(/\$__interval_ms/g, String(span.stepMs))
    .replace(/\$__interval/g, durationText(span.stepMs));
}

/** `1m30s` → `90 seconds`, which SQL takes. */
function interval(text: string): string {
  const units: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };
  const parts = [...text.matchAll(/(\d+)([smhd])/g)];
  if (parts.length === 0) return text;
  return `${parts.reduce((sum, part) => sum + Number(part[1]) * (units[part[2] ?? ""] ?? 0), 0)} seconds`;
}
