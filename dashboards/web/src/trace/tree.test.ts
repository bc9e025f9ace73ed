import { expect, test } from "vitest";
import type { OtlpSpan, ResourceSpans } from "../api/tempo";
import { beyondUsual, build, costliest, firstError, usually } from "./tree";

const id = (n: number) => n.toString(16).padStart(16, "0");
const span = (n: number, parent: number, startMs: number, endMs: number, more: Partial<OtlpSpan> = {}): OtlpSpan => ({
  traceId: "0".repeat(31) + "1", spanId: id(n), parentSpanId: parent ? id(parent) : "", name: `s${n}`,
  startTimeUnixNano: String(1_700_000_000_000_000_000n + BigInt(startMs) * 1_000_000n),
  endTimeUnixNano: String(1_700_000_000_000_000_000n + BigInt(endMs) * 1_000_000n), ...more,
});
const of = (...spans: OtlpSpan[]): ResourceSpans[] => [
  { resource: { attributes: [{ key: "service.name", value: { stringValue: "shop" } }] }, scopeSpans: [{ spans }] },
];

test("children lie below their parent, by start", () => {
  const trace = build(of(span(3, 1, 50, 60), span(2, 1, 10, 40), span(1, 0, 0, 100), span(4, 2, 15, 20)));
  expect(trace.nodes.map((node) => [node.name, node.depth])).toEqual([["s1", 0], ["s2", 1], ["s4", 2], ["s3", 1]]);
  expect([trace.durationMs, trace.services]).toEqual([100, ["shop"]]);
});

test("own time leaves out what children covered, overlaps once", () => {
  const trace = build(of(span(1, 0, 0, 100), span(2, 1, 10, 50), span(3, 1, 40, 60), span(4, 1, 90, 150)));
  expect(trace.nodes[0]?.ownMs).toBe(40);
});

test("what was waited for and what is usual are the server's words", () => {
  const spans = of(span(1, 0, 0, 100), span(2, 1, 0, 30), span(3, 1, 0, 90));
  const usual = { p50_ms: 5, p95_ms: 30, spans: 400 };
  const trace = build(spans, [
    { span_id: id(1), kind: "server", critical_ms: 10, usual: null },
    { span_id: id(2), kind: "internal", critical_ms: 0, usual },
    { span_id: id(3), kind: "internal", critical_ms: 90, usual },
    { span_id: id(9), kind: "internal", critical_ms: 500, usual },
  ]);
  expect(trace.nodes.map((node) => [node.criticalMs, node.usual?.p95_ms])).toEqual([[10, undefined], [0, 30], [90, 30]]);
  expect(costliest(trace)?.name).toBe("s3");
  // At its p95 a span is not beyond it.
  expect(trace.nodes.map(beyondUsual)).toEqual([undefined, undefined, 3]);
  expect(usually(usual, (ms) => `${ms} ms`)).toBe("5 ms (p50) to 30 ms (p95)");
  const unjudged = build(spans);
  expect([costliest(unjudged), unjudged.nodes[0]?.criticalMs]).toEqual([undefined, undefined]);
});

test("the first error is the deepest one", () => {
  const failed = { status: { code: "STATUS_CODE_ERROR" } };
  const trace = build(of(span(1, 0, 0, 100, failed), span(2, 1, 10, 50, failed), span(3, 2, 20, 30, { status: { code: 2 } })));
  expect([firstError(trace)?.name, trace.errors]).toEqual(["s3", 3]);
});

test("a lost parent, a span twice, a ring and no spans at all", () => {
  const lost = build(of(span(2, 9, 0, 10), span(2, 9, 0, 10)));
  expect([lost.nodes.length, lost.roots[0]?.orphan]).toEqual([1, true]);
  const ring = build(of(span(1, 2, 0, 10), span(2, 1, 0, 10)));
  expect(ring.nodes.length).toBe(2);
  expect(build([]).nodes).toEqual([]);
});

test("ids in base64 are the same ids", () => {
  const trace = build(of({ ...span(1, 0, 0, 10), spanId: "AAAAAAAAAAE=" }, span(2, 1, 1, 2)));
  expect(trace.nodes.map((node) => node.depth)).toEqual([0, 1]);
});

test("a chain of 10,000 spans is no deeper than memory", () => {
  const spans = Array.from({ length: 10_000 }, (_, n) => span(n + 1, n, n, 20_000 - n));
  expect(build(of(...spans)).nodes.at(-1)?.depth).toBe(9999);
});
