import { expect, test } from "vitest";
import { classes } from "../chart/heatmap";
import { legend, reduce } from "./answers";
import { fieldConfig, laidOut, mapped, type Panel, sourceOf, thresholdColor } from "./model";
import { rowsToPlots } from "./sql-plots";
import { ALL, type Filled, filtered, interpolate, macros } from "./variables";

const span = { startMs: 1_700_000_000_000, endMs: 1_700_003_600_000, stepMs: 15_000 };
const panel = (more: Partial<Panel>): Panel => ({ id: 1, type: "timeseries", gridPos: { x: 0, y: 0, w: 12, h: 8 }, ...more });
const many: Filled = { variable: { name: "job", type: "query", multi: true, includeAll: true }, options: ["a.b", "c"], chosen: [ALL] };

test("variables in every spelling", () => {
  const chosen = { job: ["node"], step: ["5m"] };
  expect(interpolate('up{job="$job",j="${job}",k="[[job]]"}[$step]', chosen, span)).toBe('up{job="node",j="node",k="node"}[5m]');
  expect(interpolate("$unknown $__interval $__rate_interval $__range_s", chosen, span)).toBe("$unknown 15s 1m 3600");
});

test("several values are an alternation, escaped for a quoted regex", () => {
  expect(interpolate('{job=~"$job"}', { job: ["a.b", "c"] }, span, [many])).toBe('{job=~"(a\\\\.b|c)"}');
  expect(interpolate('{job=~"$job"}', { job: [ALL] }, span, [{ ...many, variable: { ...many.variable, allValue: ".+" } }])).toBe('{job=~".+"}');
  expect(interpolate("x in (${job:sqlstring})", { job: ["it's"] }, span, [many])).toBe("x in ('it''s')");
  expect(interpolate("x in ($job)", { job: [ALL] }, span, [many], true)).toBe("x in ('a.b','c')");
});

test("the PostgreSQL macros", () => {
  expect(macros("select 1 where $__timeFilter(ts)", span)).toBe("select 1 where ts BETWEEN '2023-11-14T22:13:20.000Z' AND '2023-11-14T23:13:20.000Z'");
  expect(macros("select $__timeGroupAlias(ts, '5m'), 1", span)).toBe(`select date_bin(interval '300 seconds', ts) AS "time", 1`);
  expect(macros("select $__timeGroup(ts, $__interval)", span)).toBe("select date_bin(interval '15 seconds', ts)");
});

test("a regex of a variable keeps its group", () => {
  expect(filtered(["node-1", "node-2", "x", "node-1"], "/node-(\\d)/")).toEqual(["1", "2"]);
  expect(filtered(["a"], "/(/")).toEqual(["a"]);
});

test("overrides match by name, by regex and by query", () => {
  const one = panel({
    fieldConfig: {
      defaults: { unit: "short" },
      overrides: [
        { matcher: { id: "byName", options: "errors" }, properties: [{ id: "color", value: { fixedColor: "red" } }, { id: "custom.fillOpacity", value: 40 }] },
        { matcher: { id: "byRegexp", options: "/^p9/" }, properties: [{ id: "unit", value: "s" }] },
        { matcher: { id: "byFrameRefID", options: "B" }, properties: [{ id: "decimals", value: 0 }] },
      ],
    },
  });
  expect(fieldConfig(one, { name: "errors", number: true })).toMatchObject({ unit: "short", color: { fixedColor: "red" }, custom: { fillOpacity: 40 } });
  expect(fieldConfig(one, { name: "p95", refId: "B", number: true })).toMatchObject({ unit: "s", decimals: 0 });
  expect(one.fieldConfig?.defaults).toEqual({ unit: "short" });
});

test("thresholds and mappings", () => {
  const config = { thresholds: { steps: [{ color: "green", value: null }, { color: "red", value: 80 }] }, mappings: [{ type: "value", options: { "1": { text: "up" } } }] };
  expect([thresholdColor(config, 79), thresholdColor(config, 80), thresholdColor(config, null)]).toEqual(["green", "red", null]);
  expect([mapped(config, 1)?.text, mapped(config, 2)]).toEqual(["up", null]);
});

test("a data source by type, by uid and by variable", () => {
  expect(sourceOf({ datasource: { type: "loki", uid: "x" } }, panel({}), {})).toBe("logs");
  expect(sourceOf({}, panel({ datasource: { type: "grafana-postgresql-datasource" } }), {})).toBe("sql");
  expect(sourceOf({ datasource: { uid: "${ds}" } }, panel({}), { ds: ["prometheus"] })).toBe("metrics");
  expect(sourceOf({ datasource: { type: "influxdb" } }, panel({}), {})).toBe("unknown");
});

test("a row opens and pushes down what is below", () => {
  const inner = panel({ id: 3, gridPos: { x: 0, y: 1, w: 24, h: 5 } });
  const panels = [panel({ id: 2, type: "row", collapsed: true, panels: [inner], gridPos: { x: 0, y: 0, w: 24, h: 1 } }), panel({ id: 4, gridPos: { x: 0, y: 1, w: 24, h: 5 } })];
  expect(laidOut(panels, new Set()).map((one) => [one.id, one.gridPos.y])).toEqual([[2, 0], [4, 1]]);
  expect(laidOut(panels, new Set([2])).map((one) => [one.id, one.gridPos.y])).toEqual([[2, 0], [3, 1], [4, 6]]);
});

test("legends, reducers, rows as series", () => {
  expect(legend({ legendFormat: "{{mode}} of {{ cpu }}" }, { mode: "user", cpu: "0" })).toBe("user of 0");
  expect(legend({}, { instance: "a" })).toBe("a");
  expect([reduce([1, NaN, 3]), reduce([1, 3], "mean"), reduce([NaN])]).toEqual([3, 2, null]);
  const rows = { columns: ["time", "pod", "usd"], warnings: [], rows: [{ time: "2026-11-24T10:00:00.000000001", pod: "a", usd: 1 }, { time: "2026-11-24T11:00:00", pod: "b", usd: 2 }] };
  expect(rowsToPlots(rows)?.plots).toEqual([{ name: "a", values: [1, null] }, { name: "b", values: [null, 2] }]);
});

test("cumulative buckets become classes", () => {
  const buckets = [{ bound: Infinity, values: [10, null] }, { bound: 0.1, values: [4, 1] }, { bound: 0.5, values: [9, 1] }];
  expect(classes(buckets)).toEqual([{ bound: 0.1, values: [4, 1] }, { bound: 0.5, values: [5, 0] }, { bound: Infinity, values: [1, null] }]);
});
