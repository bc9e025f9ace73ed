import { expect, test } from "vitest";
import { CHECKS, findings, headline } from "./health";

const one = (value: number, labels: Record<string, string> = { instance: "a" }) => [{ labels, times: [1], values: [value] }];
const at = (topic: string) => CHECKS.findIndex((check) => check.topic === topic);
const answers = (given: Record<string, ReturnType<typeof one>>) => CHECKS.map((check) => given[check.topic]);

test("the worst comes first and says what it is", () => {
  const found = findings(answers({ CPU: one(0.2), Memory: one(0.97), "Disk space": one(0.9, { instance: "a", mountpoint: "/var" }) }));
  expect(found.map((finding) => [finding.topic, finding.grade])).toEqual([["Memory", "bad"], ["Disk space", "watch"], ["CPU", "ok"]]);
  expect(found[0]?.sentence).toBe("is nearly gone: 3 % still available");
  expect(found[1]?.sentence).toContain("/var");
});

test("no data gives no finding, and the headline says so", () => {
  expect(findings([])).toEqual([]);
  expect(headline([], [], []).text).toBe("No machine has sent metrics yet.");
});

test("NaN is not a value", () => {
  expect(findings(answers({ CPU: one(NaN) }))).toEqual([]);
  expect(at("CPU")).toBe(0);
});

test("of several machines the worst speaks and the alike are counted", () => {
  const found = findings(answers({ CPU: [...one(0.97, { instance: "b" }), ...one(0.1), ...one(0.99, { instance: "c" })] }));
  expect(found[0]?.sentence).toContain("(c; 2 of 3 machines alike)");
});

test("a firing alert outranks everything", () => {
  const found = findings(answers({ CPU: one(0.99) }));
  expect(headline(found, [{ name: "PaymentsDown", count: 2, summary: undefined }], ["a"])).toEqual({ grade: "bad", text: "2 alerts are firing: PaymentsDown." });
  expect(headline(found, [{ name: "X", count: 1, summary: "Payments fail." }], ["a"]).text).toBe("Payments fail.");
  expect(headline(found, [], ["a"], ["Requests are fast"]).text).toBe("A promise is being broken: Requests are fast.");
  expect(headline(found, [], ["a"]).grade).toBe("bad");
  expect(headline(findings(answers({ CPU: one(0.1) })), [], ["a"])).toEqual({ grade: "ok", text: "a is well: CPU, memory and disks have room." });
});

test("slow requests come before what is only to be watched, after what is bad", () => {
  const slowed = "orders waits in pool.acquire: that adds 300 ms to 15 % of requests.";
  expect(headline(findings(answers({ CPU: one(0.85) })), [], ["a"], [], slowed)).toEqual({ grade: "watch", text: `Requests are slow: ${slowed}` });
  expect(headline(findings(answers({ CPU: one(0.99) })), [], ["a"], [], slowed).text).toContain("CPU");
});
