// What instant queries say about machines, as sentences a person on call would say. Pure: answers in, findings out.

import { format, share } from "../format";
import type { Series } from "../api/prometheus";

export type Grade = "ok" | "watch" | "bad";

export interface Finding {
  grade: Grade;
  /** What is measured, in one word or two. */
  topic: string;
  sentence: string;
  /** The query behind it. */
  query: string;
}

interface Check {
  topic: string;
  query: string;
  watch: number;
  bad: number;
  /** The sentence of one machine; `where` names it when there are several. */
  say: (value: number, labels: Record<string, string>, grade: Grade) => string;
}

const REAL = 'fstype!~"tmpfs|devtmpfs|ramfs|overlay|squashfs|iso9660|proc|sysfs|nsfs|fuse.*|autofs",mountpoint!~"/(boot|run|etc|proc|sys|dev).*"';

/** Every query gives one value a machine (or a disk), the larger the worse. */
export const CHECKS: Check[] = [
  {
    topic: "CPU", watch: 0.8, bad: 0.95,
    // A share of all modes: where five minutes are not there yet, both rates fall short alike.
    query: '1 - sum by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m])) / sum by (instance) (rate(node_cpu_seconds_total[5m]))',
    say: (value, _, grade) => `${grade === "ok" ? "has room" : grade === "watch" ? "is busy" : "is saturated"}: ${format(value, "percentunit")} used over five minutes`,
  },
  {
    topic: "Memory", watch: 0.85, bad: 0.95,
    query: "1 - max by (instance) (node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)",
    say: (value, _, grade) => `${grade === "ok" ? "has room" : grade === "watch" ? "is getting short" : "is nearly gone"}: ${format(1 - value, "percentunit")} still available`,
  },
  {
    topic: "Disk space", watch: 0.85, bad: 0.95,
    query: `1 - min by (instance, mountpoint) (node_filesystem_avail_bytes{${REAL}} / (node_filesystem_size_bytes{${REAL}} > 0))`,
    say: (value, { mountpoint = "" }, grade) => `${grade === "ok" ? "is free" : grade === "watch" ? "is filling up" : "is nearly full"}: the fullest, ${mountpoint}, has ${format(1 - value, "percentunit")} left`,
  },
  {
    topic: "Waiting for CPU", watch: 0.25, bad: 0.6,
    query: "max by (instance) (rate(node_pressure_cpu_waiting_seconds_total[5m]))",
    say: (value, _, grade) => (grade === "ok" ? `is bearable: some task waited ${share(value)} of the time` : `costs time: some task waited for a CPU ${share(value)} of the time`),
  },
  {
    topic: "Waiting for disks", watch: 0.2, bad: 0.5,
    query: "max by (instance) (rate(node_pressure_io_waiting_seconds_total[5m]))",
    say: (value, _, grade) => (grade === "ok" ? `is small: ${share(value)} of the time` : `costs time: tasks waited for disks ${share(value)} of the time`),
  },
  {
    topic: "Waiting for memory", watch: 0.05, bad: 0.2,
    query: "max by (instance) (rate(node_pressure_memory_waiting_seconds_total[5m]))",
    say: (value, _, grade) => (grade === "ok" ? `is small: ${share(value)} of the time` : `costs time: tasks waited for memory ${share(value)} of the time`),
  },
  {
    topic: "Killed for memory", watch: 0.5, bad: 0.5,
    query: "max by (instance) (increase(node_vmstat_oom_kill[1h]))",
    say: (value, _, grade) => (grade === "ok" ? "nothing in the last hour" : `${Math.max(1, Math.round(value))} processes in the last hour`),
  },
];

const ORDER: Record<Grade, number> = { bad: 0, watch: 1, ok: 2 };

/** One finding a check: the worst machine speaks, the others are counted. A check without data gives none. */
export function findings(answers: (Series[] | undefined)[]): Finding[] {
  const found = CHECKS.flatMap((check, index): Finding[] => {
    const rows = (answers[index] ?? [])
      .map((series) => ({ labels: series.labels, value: series.values.at(-1) ?? NaN }))
      .filter((row) => Number.isFinite(row.value))
      .sort((a, b) => b.value - a.value);
    const worst = rows[0];
    if (!worst) return [];
    const grade = gradeOf(worst.value, check);
    const machines = new Set(rows.map((row) => row.labels.instance)).size;
    const alike = new Set(rows.filter((row) => gradeOf(row.value, check) === grade).map((row) => row.labels.instance)).size;
    const where = machines > 1 ? ` (${worst.labels.instance ?? "one machine"}; ${alike} of ${machines} machines alike)` : "";
    return [{ grade, topic: check.topic, sentence: check.say(worst.value, worst.labels, grade) + where, query: check.query }];
  });
  return found.sort((a, b) => ORDER[a.grade] - ORDER[b.grade]);
}

function gradeOf(value: number, check: Check): Grade {
  return value >= check.bad ? "bad" : value >= check.watch ? "watch" : "ok";
}

/** Alerts of one name that fire. */
export interface Firing {
  name: string;
  count: number;
  /** What the first of them says about itself. */
  summary: string | undefined;
}

/** The one sentence above everything. */
export function headline(found: Finding[], firing: Firing[], machines: string[], broken: string[] = [], slowed?: string): { grade: Grade; text: string } {
  const who = machines.length === 1 ? (machines[0] ?? "This machine") : `${machines.length} machines`;
  const alerts = firing.reduce((sum, one) => sum + one.count, 0);
  const bad = found.filter((one) => one.grade === "bad");
  const watch = found.filter((one) => one.grade === "watch");
  if (alerts > 0) {
    const only = firing.length === 1 ? firing[0] : undefined;
    if (only?.summary) return { grade: "bad", text: `${only.summary.replace(/\.$/, "")}.${alerts > 1 ? ` ${alerts} alerts say so.` : ""}` };
    const names = firing.slice(0, 3).map((one) => one.name).join(", ");
    return { grade: "bad", text: `${alerts} ${alerts === 1 ? "alert is" : "alerts are"} firing: ${names}${firing.length > 3 ? " and more" : ""}.` };
  }
  if (broken.length > 0) {
    return { grade: "bad", text: `${broken.length === 1 ? "A promise is" : `${broken.length} promises are`} being broken: ${broken.slice(0, 3).join(", ")}${broken.length > 3 ? " and more" : ""}.` };
  }
  // Requests that wait are felt by people; a machine that is only to be watched is not.
  if (bad.length === 0 && slowed) return { grade: "watch", text: `Requests are slow: ${slowed}` };
  const first = bad[0] ?? watch[0];
  if (first) {
    const others = bad.length + watch.length - 1;
    const rest = others > 0 ? ` ${others === 1 ? "One more thing needs" : `${others} more things need`} a look.` : "";
    return { grade: first.grade, text: `${who}: ${first.topic} ${first.sentence}.${rest}` };
  }
  if (found.length === 0) return { grade: "watch", text: "No machine has sent metrics yet." };
  return { grade: "ok", text: machines.length > 1 ? `All ${machines.length} machines are well.` : `${who} is well: CPU, memory and disks have room.` };
}
