// `/api/bottlenecks` and `/api/compare`: what slows requests, and how the slow ones differ from the rest.

import type { Span } from "../time";
import { getJson } from "./http";

export interface Bottleneck {
  service: string;
  operation: string;
  adds_ms: number;
  usual_ms: number;
  share_of_requests: number;
  share_of_time: number;
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

export function compare(selection: string, span: Span, signal: AbortSignal): Promise<Comparison> {
  return getJson("/api/compare", { selection, start: Math.round(span.startMs), end: Math.round(span.endMs) }, signal);
}

/** TraceQL for the requests that it slowed. */
export function slowed(one: Bottleneck): string {
  const least = Math.max(1, Math.floor(one.usual_ms + one.adds_ms / 2));
  return `{ resource.service.name = ${JSON.stringify(one.service)} && name = ${JSON.stringify(one.operation)} && duration > ${least}ms }`;
}
