import { expect, test } from "vitest";
import { format } from "./format";
import { durationMs, durationText, span, timeMs } from "./time";
import { parseSearch, stringifySearch } from "./url";

const NOW = 1_700_000_007_000;

test("times as people and APIs write them", () => {
  expect(timeMs("now", NOW)).toBe(NOW);
  expect(timeMs("now-1h30m", NOW)).toBe(NOW - 5_400_000);
  expect(timeMs("1700000000000", NOW)).toBe(1_700_000_000_000);
  expect(timeMs("1700000000", NOW)).toBe(1_700_000_000_000);
  expect(timeMs("2026-11-24T15:04:00Z", NOW)).toBe(Date.UTC(2026, 10, 24, 15, 4));
  for (const wrong of ["", "yesterday", "now-", "now-5", "now-5parsecs"]) expect(timeMs(wrong, NOW), wrong).toBeNull();
  expect([durationMs("1h"), durationMs("x1h"), durationText(90_000), durationText(500)]).toEqual([3_600_000, null, "1m30s", "500ms"]);
});

test("a span is aligned to its step and never empty", () => {
  expect(span({ from: "now-1h", to: "now" }, NOW)).toEqual({ startMs: 1_699_996_395_000, endMs: NOW, stepMs: 15_000 });
  const backwards = span({ from: "now", to: "now-1h" }, NOW);
  expect(backwards.startMs).toBeLessThan(backwards.endMs);
  expect(span({ from: "nonsense", to: "nonsense" }, NOW).stepMs).toBeGreaterThan(0);
});

test("numbers with their units", () => {
  const shown = [
    format(0.1234, "percentunit"), format(1536, "bytes"), format(1536, "decbytes"), format(0.0153, "s"), format(2e9, "ns"),
    format(1234567), format(null), format(NaN), format(Infinity), format(3.5, "currencyEUR"), format(-0.004, "currencyUSD"), format(0.0125, "currencyUSD"), format(0.5, "currencyUSD"), format(4999.6, "currencyEUR"), format(21_800, "currencyEUR"), format(7, "suffix:GiB h"), format(0, "short"),
  ];
  expect(shown).toEqual(["12.3 %", "1.5 KiB", "1.54 kB", "15.3 ms", "2 s", "1.23 M", "–", "–", "∞", "€3.50", "−$0.004", "$0.0125", "$0.50", "€5000", "€21.8 K", "7 GiB h", "0"]);
});

test("the URL keeps what it is given", () => {
  const search = { q: 'rate(x{a="b&c"}[5m]) + 1', "var-a": ["1", "2"], empty: undefined };
  expect(parseSearch(stringifySearch(search))).toEqual({ q: search.q, "var-a": ["1", "2"] });
});
