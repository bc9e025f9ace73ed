import { expect, test } from "vitest";
import { align, between, stack, summary } from "./plot";

const series = (name: string, times: number[], values: number[]) => ({ labels: { name }, times, values });

test("series share the union of their times, with gaps", () => {
  const { times, plots } = align([series("a", [1, 3], [1, NaN]), series("b", [2, 3], [5, 6])], (one) => one.labels.name ?? "");
  expect(times).toEqual([1, 2, 3]);
  expect(plots.map((plot) => plot.values)).toEqual([[1, null, null], [null, 5, 6]]);
});

test("a stack leaves out what stands alone", () => {
  const plots = [{ name: "total", values: [9], alone: true }, { name: "a", values: [1] }, { name: "b", values: [null] }, { name: "c", values: [2] }];
  expect(stack(plots).map((plot) => plot.values[0])).toEqual([9, 1, null, 3]);
  expect(between(plots)).toEqual([[2, 1], [3, 2]]);
});

test("a summary of nothing is nothing", () => {
  expect(summary([null, NaN])).toEqual({ last: null, min: null, max: null, mean: null });
  expect(summary([1, null, 3, null])).toEqual({ last: 3, min: 1, max: 3, mean: 2 });
});
