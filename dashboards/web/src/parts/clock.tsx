// One "now" for the whole page, moved on every refresh, so that all charts end at the same moment.

import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from "react";
import { DEFAULT_RANGE, type Range, type Span, span, timeMs } from "../time";
import { one, useUrl } from "../url";

interface Now {
  range: Range;
  nowMs: number;
  /** 0: only when asked. */
  refreshMs: number;
  refresh: () => void;
  setRange: (range: Range) => void;
  zoom: (startMs: number, endMs: number) => void;
}

const Context = createContext<Now | null>(null);

export function ClockProvider({ children }: { children: ReactNode }) {
  const [search, change] = useUrl();
  const [nowMs, setNowMs] = useState(Date.now());
  const from = one(search.from) ?? DEFAULT_RANGE.from;
  const to = one(search.to) ?? DEFAULT_RANGE.to;
  const chosen = one(search.refresh);
  const refreshMs = !to.startsWith("now") || chosen === "off" ? 0 : Math.max(5, Number(chosen) || 15) * 1000;
  const refresh = useCallback(() => setNowMs(Date.now()), []);

  // A page that nobody sees asks nothing.
  useEffect(() => {
    if (refreshMs === 0) return;
    const tick = setInterval(() => document.visibilityState === "visible" && refresh(), refreshMs);
    const back = () => document.visibilityState === "visible" && refresh();
    document.addEventListener("visibilitychange", back);
    return () => {
      clearInterval(tick);
      document.removeEventListener("visibilitychange", back);
    };
  }, [refreshMs, refresh]);

  const value = useMemo<Now>(() => {
    const setRange = (range: Range) => {
      setNowMs(Date.now());
      change({ from: range.from, to: range.to });
    };
    return {
      range: { from, to }, nowMs, refreshMs, refresh, setRange,
      zoom: (startMs, endMs) => setRange({ from: String(Math.round(startMs)), to: String(Math.round(endMs)) }),
    };
  }, [from, to, nowMs, refreshMs, refresh, change]);
  return <Context value={value}>{children}</Context>;
}

export function useClock(): Now {
  const clock = useContext(Context);
  if (!clock) throw new Error("useClock outside ClockProvider");
  return clock;
}

export function useSpan(points?: number): Span {
  const { range, nowMs } = useClock();
  return useMemo(() => span(range, nowMs, points), [range, nowMs, points]);
}

export function validTime(text: string): boolean {
  return timeMs(text, Date.now()) !== null;
}
