import { expect, test } from "vitest";
import { bottleneck } from "./services";

const row = (service: string, typical: number, slow: number) => ({ service, name: "call", typical, slow, adds: slow - typical });

test("only what stands out is called the bottleneck", () => {
  expect(bottleneck([row("orders", 1, 301), row("a", 2, 5)])).toContain("orders waits in call: usually 1 ms, but one in 20 takes 301 ms");
  expect(bottleneck([row("a", 2, 9), row("b", 2, 8)])).toBe("");
  expect(bottleneck([])).toBe("");
});
