import { expect, test } from "vitest";
import { format, share } from "./format";

test("a share too small to matter is not written out", () => {
  expect([null, 0, 0.0000012, 0.0001, 0.152, 1].map(share)).toEqual(["–", "0 %", "<0.01 %", "0.01 %", "15.2 %", "100 %"]);
});

test("axes and panels keep every digit that tells", () => {
  expect(format(0.0000012, "percentunit")).toBe("0.00012 %");
});
