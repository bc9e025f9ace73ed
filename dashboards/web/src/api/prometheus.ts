// The Prometheus HTTP API: instant and range queries, rules, alerts.

import type { Span } from "../time";
import { getJson, postForm } from "./http";

export type Labels = Record<string, string>;
type Sample = [number, string];

export interface Series {
  labels: Labels;
  /** Epoch seconds. */
  times: number[];
  values: number[];
}

export interface Answer {
  type: "vector" | "matrix" | "scalar" | "string";
  series: Series[];
  warnings: string[];
}

interface Envelope {
  data: { resultType: Answer["type"]; result: unknown };
  warnings?: string[];
  infos?: string[];
}

export async function instant(query: string, timeMs?: number, signal?: AbortSignal): Promise<Answer> {
  const fields: Record<string, string | number> = { query };
  if (timeMs !== undefined) fields.time = timeMs / 1000;
  return decode(await postForm<Envelope>("/api/v1/query", fields, signal));
}

export async function range(query: string, span: Span, signal?: AbortSignal): Promise<Answer> {
  const fields = { query, start: span.startMs / 1000, end: span.endMs / 1000, step: span.stepMs / 1000 };
  return decode(await postForm<Envelope>("/api/v1/query_range", fields, signal));
}

export async function labelNames(signal?: AbortSignal): Promise<string[]> {
  return (await getJson<{ data: string[] }>("/api/v1/labels", {}, signal)).data;
}

export async function labelValues(label: string, selector: string | undefined, span: Span, signal?: AbortSignal): Promise<string[]> {
  const path = `/api/v1/label/${encodeURIComponent(label)}/values`;
  const parameters = { "match[]": selector, start: span.startMs / 1000, end: span.endMs / 1000 };
  return (await getJson<{ data: string[] }>(path, parameters, signal)).data;
}

/** Also what Loki answers to a metric query. */
export function decode(envelope: Envelope): Answer {
  const { resultType, result } = envelope.data;
  const warnings = envelope.warnings ?? [];
  if (resultType === "scalar" || resultType === "string") {
    return { type: resultType, series: [series({}, [result as Sample])], warnings };
  }
  const rows = result as { metric: Labels; value?: Sample; values?: Sample[] }[];
  return { type: resultType, series: rows.map((row) => series(row.metric, row.values ?? (row.value ? [row.value] : []))), warnings };
}

function series(labels: Labels, samples: Sample[]): Series {
  return { labels, times: samples.map(([time]) => time), values: samples.map(([, value]) => sampleValue(value)) };
}

export function sampleValue(text: string): number {
  if (text === "+Inf" || text === "Inf") return Infinity;
  if (text === "-Inf") return -Infinity;
  return Number(text);
}

/** `name{a="b"}`, as PromQL would write it. */
export function seriesName(labels: Labels): string {
  const { __name__: name = "", ...rest } = labels;
  const inside = Object.entries(rest).map(([label, value]) => `${label}=${JSON.stringify(value)}`).join(", ");
  return inside ? `${name}{${inside}}` : name || "value";
}

export interface Rule {
  type: "alerting" | "recording";
  name: string;
  query: string;
  health: string;
  lastError?: string;
  duration?: number;
  state?: "firing" | "pending" | "inactive";
  labels?: Labels;
  annotations?: Labels;
  alerts?: Alert[];
  lastEvaluation?: string;
  evaluationTime?: number;
}

export interface RuleGroup {
  name: string;
  file: string;
  interval: number;
  rules: Rule[];
}

export interface Alert {
  labels: Labels;
  annotations: Labels;
  state: "firing" | "pending";
  activeAt?: string;
  value: string;
}

export async function rules(signal?: AbortSignal): Promise<RuleGroup[]> {
  return (await getJson<{ data: { groups: RuleGroup[] } }>("/api/v1/rules", {}, signal)).data.groups;
}

export async function alerts(signal?: AbortSignal): Promise<Alert[]> {
  return (await getJson<{ data: { alerts: Alert[] } }>("/api/v1/alerts", {}, signal)).data.alerts;
}
