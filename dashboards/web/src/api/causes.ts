// `/api/bottlenecks`, `/api/compare` and `/api/trace`: what slows requests, how the slow ones differ from the rest, and what
// each span of a trace kept waiting and usually takes.

import type { Span } from "../time";
import { getJson } from "./http";

export interface Bottleneck {
  service: string;
  operation: string;
  adds_ms: number;
  usual_ms: number;
  share_of_requests: number;
  share_of_time: number;
  share_of_p95: number;
  of: string;
  traces: string[];
}

export interface Bottlenecks {
  bottlenecks: Bottleneck[];
  requests: number;
  sampled: number;
  warnings?: string[];
}

export interface Difference {
  attribute: string;
  value: string;
  selection_share: number;
  baseline_share: number;
  selection_count: number;
  baseline_count: number;
  score: number;
}

export interface Comparison {
  differences: Difference[];
  selection: number;
  baseline: number;
  warnings?: string[];
}

export function bottlenecks(span: Span, signal: AbortSignal): Promise<Bottlenecks> {
  return getJson("/api/bottlenecks", { start: Math.round(span.startMs), end: Math.round(span.endMs) }, signal);
}

/** A part of the time, where the selection is of a part alone. */
export interface Part {
  startMs: number;
  endMs: number;
}

export function compare(selection: string, span: Span, signal: AbortSignal, baseline?: string, part?: Part): Promise<Comparison> {
  return getJson("/api/compare", {
    selection, start: Math.round(span.startMs), end: Math.round(span.endMs),
    ...(baseline ? { baseline } : {}),
    ...(part ? { selection_start: Math.round(part.startMs), selection_end: Math.round(part.endMs) } : {}),
  }, signal);
}

/** What spans of one service and name took in the hour before. */
export interface Usual {
  p50_ms: number;
  p95_ms: number;
  spans: number;
}

export interface JudgedSpan {
  span_id: string;
  kind: string;
  /** Of the span's time, what the request waited for. */
  critical_ms: number;
  usual: Usual | null;
}

export function judgedTrace(id: string, signal: AbortSignal): Promise<{ spans: JudgedSpan[]; warnings?: string[] }> {
  return getJson(`/api/trace/${encodeURIComponent(id)}`, {}, signal);
}

/** TraceQL for the requests that it slowed. */
export function slowed(one: Bottleneck): string {
  const least = Math.max(1, Math.floor(one.usual_ms + one.adds_ms / 2));
  return `{ resource.service.name = ${JSON.stringify(one.service)} && name = ${JSON.stringify(one.operation)} && duration > ${least}ms }`;
}
