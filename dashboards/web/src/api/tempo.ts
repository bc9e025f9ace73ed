// The Tempo HTTP API: search by TraceQL, and one trace as OTLP JSON.

import type { Span as TimeSpan } from "../time";
import { ApiError, getJson } from "./http";

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

export async function search(query: string, span: TimeSpan, limit: number, signal?: AbortSignal): Promise<FoundTrace[]> {
  // Whole seconds: the end is taken up, so that what has just ended is found.
  const parameters = { q: query, limit, spss: 3, start: Math.floor(span.startMs / 1000), end: Math.ceil(span.endMs / 1000) + 1 };
  return (await getJson<{ traces?: FoundTrace[] }>("/tempo/api/search", parameters, signal)).traces ?? [];
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

export async function trace(id: string, signal?: AbortSignal): Promise<ResourceSpans[]> {
  const unknown = new ApiError(`No trace has the id ${id}. It may be older than the retention, or not have arrived yet.`, 404);
  try {
    const path = `/tempo/api/v2/traces/${encodeURIComponent(id)}`;
    const batches = (await getJson<{ trace?: { resourceSpans?: ResourceSpans[] } }>(path, {}, signal)).trace?.resourceSpans ?? [];
    if (batches.length > 0) return batches;
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
