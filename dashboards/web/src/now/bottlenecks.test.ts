import { expect, test } from "vitest";
import { slowed } from "../api/causes";
import { nothing, sentence } from "./bottlenecks";

const pool = { service: "orders", operation: "pool.acquire", adds_ms: 300.4, usual_ms: 0.12, share_of_requests: 0.1512, share_of_time: 0.4, share_of_p95: 0.6, of: "all services", traces: [] };

test("a bottleneck is said in one sentence, and its traces asked for by half of what it adds", () => {
  expect(sentence(pool)).toBe("orders waits in pool.acquire: that adds 300 ms to 15.1 % of requests.");
  expect(slowed(pool)).toBe('{ resource.service.name = "orders" && name = "pool.acquire" && duration > 150ms }');
});

test("no traces are told apart from no bottleneck", () => {
  expect(nothing({ bottlenecks: [], requests: 0, sampled: 1 })).toContain("No application has sent traces");
  expect(nothing({ bottlenecks: [], requests: 900, sampled: 1 })).toContain("No operation makes some requests slower");
});
