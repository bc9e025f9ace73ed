// The Tempo HTTP API: search by TraceQL, and one trace as OTLP JSON.

import type { Span as TimeSpan } from "../time";
import { ApiError, getJson } from "./http";
import type { Series } from "./prometheus";

export interface FoundTrace {
  traceID: string;
  rootServiceName?: string;
  rootTraceName?: string;
  startTimeUnixNano?: string;
  durationMs?: number;
  spanSets?: { matched?: number; spans?: FoundSpan[] }[];
  serviceStats?: Record<string, { spanCount?: number; errorCount?: number }>;
}

export interface FoundSpan {
  spanID: string;
  name?: string;
  startTimeUnixNano?: string;
  durationNanos?: string;
  attributes?: KeyValue[];
}

export interface Found {
  traces: FoundTrace[];
  warnings: string[];
}

export async function search(query: string, span: TimeSpan, limit: number, signal?: AbortSignal): Promise<Found> {
  // Whole seconds: the end is taken up, so that what has just ended is found.
  const parameters = { q: query, limit, spss: 3, start: Math.floor(span.startMs / 1000), end: Math.ceil(span.endMs / 1000) + 1 };
  const answer = await getJson<{ traces?: FoundTrace[]; metrics?: { completedJobs?: number; totalJobs?: number } }>("/tempo/api/search", parameters, signal);
  const { completedJobs: done = 0, totalJobs: all = 0 } = answer.metrics ?? {};
  return { traces: answer.traces ?? [], warnings: done < all ? [`${all - done} of ${all} parts of the data could not be searched.`] : [] };
}

const COUNTS = /\|\s*(rate|count_over_time|(?:avg|sum|max|min|quantile|histogram)_over_time)\s*\(/;

/** Whether a query counts instead of finding, as Grafana tells it. */
export function countsTraces(query: string): boolean {
  return COUNTS.test(query);
}

/** Of a query that counts, the one that finds what it counts. */
export function counted(query: string): string {
  return query.slice(0, COUNTS.exec(query)?.index).trim();
}

export async function traceMetrics(query: string, span: TimeSpan, signal?: AbortSignal): Promise<{ series: Series[]; warnings: string[] }> {
  const parameters = { q: query, step: `${Math.max(1, Math.round(span.stepMs / 1000))}s`, start: Math.floor(span.startMs / 1000), end: Math.ceil(span.endMs / 1000), exemplars: 0 };
  const answer = await getJson<{
    series?: { labels?: KeyValue[]; samples?: { timestampMs: string; value?: number | string }[] }[]; status?: string; message?: string;
  }>("/tempo/api/metrics/query_range", parameters, signal);
  const series = (answer.series ?? []).map((one): Series => ({
    labels: attributes(one.labels),
    times: (one.samples ?? []).map((sample) => Number(sample.timestampMs) / 1000),
    // Protobuf's JSON leaves a zero out.
    values: (one.samples ?? []).map((sample) => Number(sample.value ?? 0)),
  }));
  return { series, warnings: answer.status === "PARTIAL" ? [answer.message ?? "The answer is partial."] : [] };
}

export interface KeyValue {
  key: string;
  value?: AnyValue;
}

export interface AnyValue {
  stringValue?: string;
  boolValue?: boolean;
  intValue?: string | number;
  doubleValue?: number;
  arrayValue?: { values?: AnyValue[] };
  kvlistValue?: { values?: KeyValue[] };
  bytesValue?: string;
}

export interface OtlpSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name?: string;
  kind?: string | number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes?: KeyValue[];
  events?: { timeUnixNano: string; name?: string; attributes?: KeyValue[] }[];
  links?: { traceId: string; spanId: string; attributes?: KeyValue[] }[];
  status?: { code?: string | number; message?: string };
}

export interface ResourceSpans {
  resource?: { attributes?: KeyValue[] };
  scopeSpans?: { scope?: { name?: string }; spans?: OtlpSpan[] }[];
}

export async function trace(id: string, signal?: AbortSignal): Promise<{ batches: ResourceSpans[]; warnings: string[] }> {
  const unknown = new ApiError(`No trace has the id ${id}. It may be older than the retention, or not have arrived yet.`, 404);
  try {
    const path = `/tempo/api/v2/traces/${encodeURIComponent(id)}`;
    const answer = await getJson<{ trace?: { resourceSpans?: ResourceSpans[] }; status?: string; message?: string }>(path, {}, signal);
    const batches = answer.trace?.resourceSpans ?? [];
    if (batches.length > 0) return { batches, warnings: answer.status === "PARTIAL" ? [answer.message ?? "Parts of the trace are missing."] : [] };
  } catch (wrong) {
    if (!(wrong instanceof ApiError && wrong.status === 404)) throw wrong;
  }
  throw unknown;
}

export function valueText(value: AnyValue | undefined): string {
  if (!value) return "";
  if (value.stringValue !== undefined) return value.stringValue;
  if (value.boolValue !== undefined) return String(value.boolValue);
  if (value.intValue !== undefined) return String(value.intValue);
  if (value.doubleValue !== undefined) return String(value.doubleValue);
  if (value.arrayValue) return `[${(value.arrayValue.values ?? []).map(valueText).join(", ")}]`;
  if (value.kvlistValue) return `{${(value.kvlistValue.values ?? []).map((pair) => `${pair.key}: ${valueText(pair.value)}`).join(", ")}}`;
  return value.bytesValue ?? "";
}

export function attributes(list: KeyValue[] | undefined): Record<string, string> {
  return Object.fromEntries((list ?? []).map((pair) => [pair.key, valueText(pair.value)]));
}

/** Protobuf's JSON has ids in base64, OTLP's JSON in hex. */
export function hexId(id: string | undefined, bytes: 8 | 16): string {
  if (!id) return "";
  if (id.length === bytes * 2 && /^[0-9a-fA-F]+$/.test(id)) return id.toLowerCase();
  try {
    return [...atob(id)].map((character) => character.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  } catch {
    return id;
  }
}
