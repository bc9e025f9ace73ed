import { expect, test } from "vitest";
import { lines } from "../api/loki";
import { facets, narrowed } from "./facets";

const stream = (service: string, count: number) => ({
  stream: { service, region: "one" },
  values: Array.from({ length: count }, (_, n): [string, string, { structuredMetadata: Record<string, string> }] => [`170000000000000000${n}`, "x", { structuredMetadata: { trace_id: `${service}${n}` } }]),
});

test("labels that divide the lines, commonest value first", () => {
  const found = facets(lines([stream("a", 2), stream("b", 5)]));
  expect(found).toEqual([{ label: "service", distinct: 2, values: [{ value: "b", count: 5 }, { value: "a", count: 2 }] }]);
});

test("lines come newest first, by all digits of their time", () => {
  const all = lines([{ stream: {}, values: [["1700000000000000001", "older"], ["1700000000000000003", "newer"]] }, { stream: {}, values: [["1700000000000000002", "between"]] }]);
  expect(all.map((line) => line.text)).toEqual(["newer", "between", "older"]);
});

test("a value is quoted into the query", () => {
  expect(narrowed('{a="b"} |= "x" ', "path", 'say "hi"')).toBe('{a="b"} |= "x" | path="say \\"hi\\""');
});
