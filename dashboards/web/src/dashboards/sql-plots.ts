// Rows of SQL as series: the first timestamp column is time, numbers are values, text columns name the series.

import { cellText, cellTimeMs, type Rows } from "../api/sql";
import type { Series } from "../api/prometheus";
import { align, type Plots } from "../chart/plot";

/** null: no time column, or nothing to draw. */
export function rowsToSeries(rows: Rows): Series[] | null {
  const sample = (name: string) => rows.rows.find((row) => row[name] !== null)?.[name];
  const time = rows.columns.find((name) => cellTimeMs(sample(name)) !== null);
  const values = rows.columns.filter((name) => typeof sample(name) === "number");
  if (time === undefined || values.length === 0) return null;
  const words = rows.columns.filter((name) => name !== time && !values.includes(name) && sample(name) !== undefined);
  const series = new Map<string, Series>();
  for (const row of rows.rows) {
    const at = cellTimeMs(row[time]);
    if (at === null) continue;
    const group = words.map((name) => cellText(row[name])).join(" ");
    for (const name of values) {
      const title = values.length === 1 && group ? group : group ? `${group} ${name}` : name;
      let one = series.get(title);
      if (!one) series.set(title, (one = { labels: { __name__: title }, times: [], values: [] }));
      one.times.push(at / 1000);
      one.values.push(row[name] === null ? NaN : Number(row[name]));
    }
  }
  return [...series.values()];
}

export function rowsToPlots(rows: Rows): Plots | null {
  const series = rowsToSeries(rows);
  return series && series.length > 0 ? align(series, (one) => one.labels.__name__ ?? "") : null;
}
