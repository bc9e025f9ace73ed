// OTLP spans → a tree in drawing order, with each span's own time; the critical path and what is usual are the server's. Pure.

import type { JudgedSpan, Usual } from "../api/causes";
import { attributes, hexId, type OtlpSpan, type ResourceSpans } from "../api/tempo";

export interface Node {
  id: string;
  parentId: string;
  service: string;
  name: string;
  kind: string;
  /** Milliseconds after the trace's first span; nanosecond inputs keep their microseconds. */
  startMs: number;
  durationMs: number;
  error: boolean;
  statusMessage: string;
  attributes: Record<string, string>;
  resource: Record<string, string>;
  events: { name: string; atMs: number; attributes: Record<string, string> }[];
  children: Node[];
  depth: number;
  /** Time in which no child ran. */
  ownMs: number;
  /** What of its time the request waited for; unknown until the server has said it. */
  criticalMs: number | undefined;
  /** What spans like it took lately. */
  usual: Usual | undefined;
  /** Its parent was not received. */
  orphan: boolean;
}

export interface Trace {
  roots: Node[];
  nodes: Node[];
  startMs: number;
  durationMs: number;
  services: string[];
  errors: number;
}

export function build(batches: ResourceSpans[], judged: JudgedSpan[] = []): Trace {
  const raw = batches.flatMap((batch) => {
    const resource = attributes(batch.resource?.attributes);
    return (batch.scopeSpans ?? []).flatMap((scope) => (scope.spans ?? []).map((span) => ({ span, resource })));
  });
  const firstNs = raw.reduce((least, { span }) => min(least, BigInt(span.startTimeUnixNano)), raw[0] ? BigInt(raw[0].span.startTimeUnixNano) : 0n);
  const byId = new Map<string, Node>();
  for (const { span, resource } of raw) {
    const node = toNode(span, resource, firstNs);
    // A span that was sent twice is one span.
    if (!byId.has(node.id)) byId.set(node.id, node);
  }
  const roots: Node[] = [];
  for (const node of byId.values()) {
    const parent = node.parentId === node.id ? undefined : byId.get(node.parentId);
    if (parent) parent.children.push(node);
    else {
      node.orphan = node.parentId !== "";
      roots.push(node);
    }
  }
  const nodes: Node[] = [];
  const placed = new Set<Node>();
  place(roots, nodes, placed);
  // What no root leads to is a ring, in a damaged trace: it is cut open at its first span.
  for (const node of byId.values()) {
    if (placed.has(node)) continue;
    node.orphan = true;
    roots.push(node);
    place([node], nodes, placed);
  }
  for (const node of nodes) node.ownMs = own(node);
  for (const { span_id, critical_ms, usual } of judged) {
    const node = byId.get(span_id);
    if (!node) continue;
    node.criticalMs = critical_ms;
    node.usual = usual ?? undefined;
  }
  const endMs = nodes.reduce((most, node) => Math.max(most, node.startMs + node.durationMs), 0);
  return {
    roots, nodes, durationMs: endMs, startMs: Number(firstNs / 1_000_000n),
    services: [...new Set(nodes.map((node) => node.service))],
    errors: nodes.filter((node) => node.error).length,
  };
}

function toNode(span: OtlpSpan, resource: Record<string, string>, firstNs: bigint): Node {
  const start = BigInt(span.startTimeUnixNano);
  const code = span.status?.code;
  return {
    id: hexId(span.spanId, 8),
    parentId: hexId(span.parentSpanId, 8).replace(/^0+$/, ""),
    service: resource["service.name"] ?? "unknown",
    name: span.name ?? "",
    kind: kindOf(span.kind),
    startMs: Number(start - firstNs) / 1e6,
    durationMs: Math.max(0, Number(BigInt(span.endTimeUnixNano) - start) / 1e6),
    error: code === 2 || code === "STATUS_CODE_ERROR",
    statusMessage: span.status?.message ?? "",
    attributes: attributes(span.attributes),
    resource,
    events: (span.events ?? []).map((event) => ({
      name: event.name ?? "", atMs: Number(BigInt(event.timeUnixNano) - firstNs) / 1e6, attributes: attributes(event.attributes),
    })),
    children: [], depth: 0, ownMs: 0, criticalMs: undefined, usual: undefined, orphan: false,
  };
}

const KINDS = ["", "internal", "server", "client", "producer", "consumer"];

function kindOf(kind: string | number | undefined): string {
  return typeof kind === "number" ? (KINDS[kind] ?? "") : (kind ?? "").replace("SPAN_KIND_", "").toLowerCase().replace("unspecified", "");
}

/** Depth first, by start; without recursion, as a chain may be 10,000 spans deep. */
function place(roots: Node[], into: Node[], placed: Set<Node>): void {
  const byStart = (a: Node, b: Node) => a.startMs - b.startMs;
  const todo = roots.sort(byStart).toReversed();
  for (let node = todo.pop(); node; node = todo.pop()) {
    placed.add(node);
    into.push(node);
    node.children = node.children.filter((child) => !placed.has(child)).sort(byStart);
    for (const child of node.children.toReversed()) {
      child.depth = node.depth + 1;
      todo.push(child);
    }
  }
}

function own(node: Node): number {
  const end = node.startMs + node.durationMs;
  let covered = 0;
  let until = node.startMs;
  for (const child of node.children) {
    const from = Math.max(until, child.startMs);
    const to = Math.min(end, child.startMs + child.durationMs);
    if (to > from) {
      covered += to - from;
      until = to;
    }
  }
  return Math.max(0, node.durationMs - covered);
}

/** The deepest error that started first: where it went wrong, not where it was passed on. */
export function firstError(trace: Trace): Node | undefined {
  return trace.nodes.filter((node) => node.error && !node.children.some((child) => child.error)).sort((a, b) => a.startMs - b.startMs)[0];
}

/** Where most of the time of the critical path went. */
export function costliest(trace: Trace): Node | undefined {
  const paid = (node: Node) => node.criticalMs ?? 0;
  const most = trace.nodes.reduce<Node | undefined>((most, node) => (!most || paid(node) > paid(most) ? node : most), undefined);
  return most && paid(most) > 0 ? most : undefined;
}

/** How many times its usual p95 a span took, where that is more than once. */
export function beyondUsual(node: Node): number | undefined {
  const times = node.usual && node.usual.p95_ms > 0 ? node.durationMs / node.usual.p95_ms : 0;
  return times > 1 ? times : undefined;
}

/** "4 ms (p50) to 9 ms (p95)", as it is said of a span. */
export function usually(usual: Usual, ms: (value: number) => string): string {
  return `${ms(usual.p50_ms)} (p50) to ${ms(usual.p95_ms)} (p95)`;
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
