// `/api/sql`: one reading statement, rows as JSON.

import { postJson } from "./http";

export type Cell = string | number | boolean | null | Cell[] | { [key: string]: Cell };
export type Row = Record<string, Cell>;

export interface Rows {
  columns: string[];
  rows: Row[];
  warnings: string[];
}

export async function sql(query: string, signal?: AbortSignal): Promise<Rows> {
  return postJson<Rows>("/api/sql", { query, format: "json" }, signal);
}

/** A timestamp column of the answer as epoch milliseconds; null for anything else. */
export function cellTimeMs(cell: Cell | undefined): number | null {
  if (typeof cell !== "string" || !/^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/.test(cell)) return null;
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(cell) ? cell : `${cell}Z`;
  // Date.parse takes three digits of a fraction.
  const parsed = Date.parse(zoned.replace(" ", "T").replace(/(\.\d{3})\d+/, "$1"));
  return Number.isNaN(parsed) ? null : parsed;
}

export function cellText(cell: Cell | undefined): string {
  if (cell === null || cell === undefined) return "";
  return typeof cell === "object" ? JSON.stringify(cell) : String(cell);
}

/** In single quotes, for text that a user or the data gave. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
