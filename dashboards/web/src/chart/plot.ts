// Series of an answer → columns that share one time axis, stacked where asked.

import type { Series } from "../api/prometheus";

export interface Plot {
  name: string;
  values: (number | null)[];
  /** Overrides the palette. */
  color?: string;
  /** Stands on its own where the others are stacked: a total beside its parts. */
  alone?: boolean;
}

export interface Plots {
  /** Epoch seconds, ascending. */
  times: number[];
  plots: Plot[];
}

/** The union of all times; a point that a series lacks is null, so the line breaks there. */
export function align(series: Series[], name: (one: Series) => string): Plots {
  const times = [...new Set(series.flatMap((one) => one.times))].sort((a, b) => a - b);
  const at = new Map(times.map((time, index) => [time, index]));
  const plots = series.map((one) => {
    const values = new Array<number | null>(times.length).fill(null);
    one.times.forEach((time, index) => {
      const value = one.values[index];
      values[at.get(time) ?? 0] = value !== undefined && Number.isFinite(value) ? value : null;
    });
    return { name: name(one), values };
  });
  return { times, plots };
}

/** Each plot on top of those before it; those that stand alone stay. */
export function stack(plots: Plot[]): Plot[] {
  const sums: number[] = [];
  return plots.map((plot) => plot.alone ? plot : ({
    ...plot,
    values: plot.values.map((value, index) => {
      if (value === null) return null;
      return (sums[index] = (sums[index] ?? 0) + value);
    }),
  }));
}

/** Pairs of neighbours in a stack, as places in the list: what lies between them is filled. */
export function between(plots: Plot[]): [upper: number, lower: number][] {
  const stacked = plots.flatMap((plot, index) => (plot.alone ? [] : [index]));
  return stacked.slice(1).map((upper, index) => [upper, stacked[index] ?? 0]);
}

export interface Summary {
  last: number | null;
  min: number | null;
  max: number | null;
  mean: number | null;
}

export function summary(values: (number | null)[]): Summary {
  const known = values.filter((value): value is number => value !== null && Number.isFinite(value));
  if (known.length === 0) return { last: null, min: null, max: null, mean: null };
  return {
    last: known[known.length - 1] ?? null,
    min: known.reduce((a, b) => Math.min(a, b)),
    max: known.reduce((a, b) => Math.max(a, b)),
    mean: known.reduce((a, b) => a + b, 0) / known.length,
  };
}
