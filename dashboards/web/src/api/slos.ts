// `/api/slos`: how each promise stands.

import { ApiError, getJson } from "./http";

export type Known = number | "unknown";

export interface Slo {
  name: string;
  display_name: string;
  service: string;
  description: string;
  objective: string;
  target: number;
  window: string;
  status: "ok" | "burning" | "exhausted" | "unknown";
  reason: string | null;
  budget_remaining: Known;
  error_ratio: Known;
  burn_rates: Record<string, Known>;
  time_to_empty: string;
}

export async function slos(signal: AbortSignal): Promise<Slo[]> {
  try {
    return (await getJson<{ slos: Slo[] }>("/api/slos", {}, signal)).slos;
  } catch (wrong) {
    if (wrong instanceof ApiError && wrong.status === 404) throw new ApiError("This server runs without its alerts role, which evaluates SLOs.", 404);
    throw wrong;
  }
}

export function known(value: Known): number | null {
  return value === "unknown" ? null : value;
}
