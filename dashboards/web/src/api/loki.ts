// The Loki HTTP API: log lines, or series where the query counts.

import type { Span } from "../time";
import { getJson } from "./http";
import { type Answer, decode, type Labels } from "./prometheus";

export interface Line {
  /** Nanoseconds since 1970 as text: a number cannot hold them. */
  ns: string;
  timeMs: number;
  text: string;
  /** Stream labels, structured metadata and parsed labels in one. */
  labels: Labels;
}

export type LogAnswer = { kind: "lines"; lines: Line[]; warnings: string[] } | { kind: "series"; answer: Answer };

interface Stream {
  stream: Labels;
  values: [string, string, { structuredMetadata?: Labels; parsed?: Labels }?][];
}

interface Envelope {
  data: { resultType: "streams" | "matrix" | "vector"; result: unknown };
  warnings?: string[];
}

export async function logs(query: string, span: Span, limit: number, signal?: AbortSignal): Promise<LogAnswer> {
  const parameters = {
    query, limit, direction: "backward", step: `${span.stepMs}ms`, start: `${span.startMs}000000`, end: `${span.endMs}000000`,
  };
  const envelope = await getJson<Envelope>("/loki/api/v1/query_range", parameters, signal);
  if (envelope.data.resultType !== "streams") {
    return { kind: "series", answer: decode(envelope as Parameters<typeof decode>[0]) };
  }
  return { kind: "lines", lines: lines(envelope.data.result as Stream[]), warnings: envelope.warnings ?? [] };
}

/** Newest first; equal times keep the order of the answer. */
export function lines(streams: Stream[]): Line[] {
  const all = streams.flatMap(({ stream, values }) =>
    values.map(([ns, text, extra]): Line => ({
      ns, text, timeMs: Number(ns.slice(0, -6)), labels: { ...stream, ...extra?.structuredMetadata, ...extra?.parsed },
    })),
  );
  return all.sort((a, b) => (a.ns.length - b.ns.length || (a.ns < b.ns ? -1 : a.ns > b.ns ? 1 : 0)) * -1);
}

export type Level = "error" | "warning" | "info" | "debug" | "unknown";

export function level(line: Line): Level {
  const { labels } = line;
  const text = (labels.detected_level ?? labels.level ?? labels.severity ?? labels.severity_text ?? "").toLowerCase();
  if (/^(err|fatal|crit|alert|emerg|panic)/.test(text)) return "error";
  if (text.startsWith("warn")) return "warning";
  if (/^(info|notice)/.test(text)) return "info";
  if (/^(debug|trace)/.test(text)) return "debug";
  return "unknown";
}
