// OTLP spans → a tree in drawing order, with each span's own time and the critical path. Pure.

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
  /** Without it the trace would have ended earlier. */
  critical: boolean;
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

export function build(batches: ResourceSpans[]): Trace {
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
  const first = roots[0];
  if (first) markCritical(first);
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
    children: [], depth: 0, ownMs: 0, critical: false, orphan: false,
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

/** From the end backwards: the child that ended last before the point reached is what was waited for. */
function markCritical(root: Node): void {
  const todo: { node: Node; endMs: number }[] = [{ node: root, endMs: root.startMs + root.durationMs }];
  for (let next = todo.pop(); next; next = todo.pop()) {
    next.node.critical = true;
    let reached = next.endMs;
    const byEnd = next.node.children.toSorted((a, b) => b.startMs + b.durationMs - (a.startMs + a.durationMs));
    for (const child of byEnd) {
      const childEnd = child.startMs + child.durationMs;
      if (childEnd > reached || child.durationMs === 0) continue;
      todo.push({ node: child, endMs: childEnd });
      reached = child.startMs;
    }
  }
}

/** The deepest error that started first: where it went wrong, not where it was passed on. */
export function firstError(trace: Trace): Node | undefined {
  return trace.nodes.filter((node) => node.error && !node.children.some((child) => child.error)).sort((a, b) => a.startMs - b.startMs)[0];
}

/** Where most of the time of the critical path went. */
export function costliest(trace: Trace): Node | undefined {
  return trace.nodes.filter((node) => node.critical).reduce<Node | undefined>((most, node) => (!most || node.ownMs > most.ownMs ? node : most), undefined);
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
