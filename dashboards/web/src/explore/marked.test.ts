import { expect, test } from "vitest";
import { counted, countsTraces } from "../api/tempo";
import { parsePart, partText } from "./marked";

test("a part of the time survives the URL, anything else is none", () => {
  expect(parsePart(partText({ startMs: 1_700_000_000_000.4, endMs: 1_700_000_060_000 }))).toEqual({ startMs: 1_700_000_000_000, endMs: 1_700_000_060_000 });
  for (const none of [undefined, "", "5", "9-5", "5-5", "a-b", "1-2-3"]) expect(parsePart(none)).toBeUndefined();
});

test("what a query counts is found by what stands before the function", () => {
  expect(counted("{ status = error } | rate() by (resource.service.name)")).toBe("{ status = error }");
  expect(counted("{ } | select(.a) | quantile_over_time(duration, .9)")).toBe("{ } | select(.a)");
  expect([counted("{ }"), countsTraces("{ }"), countsTraces("{} | rate()")]).toEqual(["{ }", false, true]);
});
