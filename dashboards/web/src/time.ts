// A time range as it stands in the URL (`now-1h`, epoch milliseconds, ISO 8601) and as the APIs want it.

export interface Range {
  from: string;
  to: string;
}

/** The range in epoch milliseconds, and the distance of points for it. */
export interface Span {
  startMs: number;
  endMs: number;
  stepMs: number;
}

export const DEFAULT_RANGE: Range = { from: "now-15m", to: "now" };

export const QUICK_RANGES: { label: string; from: string }[] = [
  { label: "Last 5 minutes", from: "now-5m" },
  { label: "Last 15 minutes", from: "now-15m" },
  { label: "Last 30 minutes", from: "now-30m" },
  { label: "Last hour", from: "now-1h" },
  { label: "Last 3 hours", from: "now-3h" },
  { label: "Last 6 hours", from: "now-6h" },
  { label: "Last 24 hours", from: "now-24h" },
  { label: "Last 7 days", from: "now-7d" },
  { label: "Last 30 days", from: "now-30d" },
];

const UNIT_MS: Record<string, number> = {
  ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000, y: 31_536_000_000,
};

/** `1h30m` → milliseconds; null when it is not a duration. */
export function durationMs(text: string): number | null {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdwy])/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join("") !== text) return null;
  return parts.reduce((sum, part) => sum + Number(part[1]) * (UNIT_MS[part[2] ?? ""] ?? 0), 0);
}

/** null when it is not a time. */
export function timeMs(text: string, nowMs: number): number | null {
  const relative = /^now(?:([+-])(.+))?$/.exec(text.trim());
  if (relative) {
    if (!relative[1]) return nowMs;
    const distance = durationMs(relative[2] ?? "");
    return distance === null ? null : nowMs + (relative[1] === "-" ? -distance : distance);
  }
  if (/^\d{10,16}$/.test(text)) return Number(text) * (text.length <= 11 ? 1000 : 1);
  const parsed = Date.parse(text);
  return Number.isNaN(parsed) ? null : parsed;
}

/** What a chart of `points` wide asks for: a step of whole 15 s where the range allows, aligned so that points stay put. */
export function span(range: Range, nowMs: number, points = 240): Span {
  let endMs = timeMs(range.to, nowMs) ?? nowMs;
  let startMs = timeMs(range.from, nowMs) ?? endMs - 3_600_000;
  if (startMs >= endMs) [startMs, endMs] = [endMs - 60_000, startMs];
  const stepMs = roundStep((endMs - startMs) / points);
  // The end stays where it is: what has just happened belongs to the answer.
  return { startMs: Math.floor(startMs / stepMs) * stepMs, endMs: Math.round(endMs), stepMs };
}

const STEPS_MS = [
  1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000,
  7_200_000, 21_600_000, 43_200_000, 86_400_000,
];

export function roundStep(ms: number): number {
  return STEPS_MS.find((step) => step >= ms) ?? 86_400_000;
}

/** `90000` → `1m30s`, as PromQL writes it. */
export function durationText(ms: number): string {
  if (ms < 1000) return `${Math.max(1, Math.round(ms))}ms`;
  let rest = Math.round(ms / 1000);
  let text = "";
  for (const [unit, seconds] of [["d", 86_400], ["h", 3600], ["m", 60], ["s", 1]] as const) {
    const count = Math.floor(rest / seconds);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * seconds;
  }
  return text;
}

export function rangeLabel(range: Range): string {
  const quick = QUICK_RANGES.find((one) => one.from === range.from && range.to === "now");
  if (quick) return quick.label;
  const show = (text: string) => (text.startsWith("now") ? text : clock(timeMs(text, Date.now()) ?? 0));
  return `${show(range.from)} to ${show(range.to)}`;
}

/** Local or UTC is one choice for the whole page. */
export const zone = { utc: false };

export function clock(ms: number, seconds = true): string {
  return new Date(ms).toLocaleString(undefined, {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hour12: false,
    ...(seconds ? { second: "2-digit" } : {}),
    ...(zone.utc ? { timeZone: "UTC" } : {}),
  });
}

/** `2026-11-24 15:04:05.123`: for lines of a log. */
export function stamp(ms: number): string {
  const at = zone.utc ? new Date(ms) : new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return at.toISOString().replace("T", " ").slice(0, 23);
}

export function ago(ms: number, nowMs = Date.now()): string {
  const seconds = Math.max(0, (nowMs - ms) / 1000);
  if (seconds < 5) return "just now";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} days ago`;
}
