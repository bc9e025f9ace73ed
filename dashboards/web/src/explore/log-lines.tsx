// Lines of logs: only those in sight are in the document; an open one shows its labels and the way to its trace.

import { Table } from "@mantine/core";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, useRef, useState } from "react";
import { type Level, level, type Line } from "../api/loki";
import { To } from "../parts/link";
import { stamp } from "../time";

const COLORS: Record<Level, string> = {
  error: "var(--mantine-color-red-6)", warning: "var(--mantine-color-yellow-6)", info: "var(--mantine-color-green-6)",
  debug: "var(--mantine-color-blue-5)", unknown: "var(--mantine-color-gray-5)",
};
const WORDS: Record<Level, string> = { error: "ERROR", warning: "WARN", info: "INFO", debug: "DEBUG", unknown: "" };

export function LogLines({ lines, height }: { lines: Line[]; height: number | string }) {
  const scroller = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState<string | null>(null);
  const key = (index: number) => `${lines[index]?.ns} ${index}`;
  const rows = useVirtualizer({
    count: lines.length, getScrollElement: () => scroller.current, estimateSize: () => 22, overscan: 20, getItemKey: key,
  });
  const walk = (event: KeyboardEvent<HTMLElement>) => {
    const forward = event.key === "j" || event.key === "ArrowDown";
    if (!forward && event.key !== "k" && event.key !== "ArrowUp") return;
    event.preventDefault();
    const all = [...(scroller.current?.querySelectorAll<HTMLElement>("button.log-line") ?? [])].sort((a, b) => Number(a.dataset.index) - Number(b.dataset.index));
    const at = all.indexOf(document.activeElement as HTMLElement);
    all[at + (forward ? 1 : -1)]?.focus();
  };
  return (
    <div ref={scroller} data-state="logs" data-rows={lines.length} style={{ height, overflow: "auto" }} role="list" aria-label="Log lines" onKeyDown={walk}>
      <div style={{ height: rows.getTotalSize(), position: "relative" }}>
        {rows.getVirtualItems().map((item) => {
          const line = lines[item.index];
          if (!line) return null;
          const grade = level(line);
          const isOpen = open === key(item.index);
          return (
            <div key={item.key} role="listitem" ref={rows.measureElement} data-index={item.index} style={{ position: "absolute", top: 0, left: 0, width: "100%", transform: `translateY(${item.start}px)` }}>
              <button type="button" className="log-line" data-index={item.index} aria-expanded={isOpen} onClick={() => setOpen(isOpen ? null : key(item.index))}>
                <span style={{ background: COLORS[grade], borderRadius: 2 }} aria-hidden="true" />
                <span style={{ color: "var(--mantine-color-dimmed)", whiteSpace: "nowrap" }}><span className="log-date">{stamp(line.timeMs).slice(0, 11)}</span>{stamp(line.timeMs).slice(11)}</span>
                <span style={{ fontWeight: grade === "error" ? 700 : 400 }}>{WORDS[grade]}</span>
                <span className={`log-text ${isOpen ? "" : "short"}`}>{line.text}</span>
              </button>
              {isOpen && <LineLabels line={line} />}
            </div>
          );
        })}
      </div>
    </div>
  );
}

function LineLabels({ line }: { line: Line }) {
  const trace = line.labels.trace_id ?? line.labels.traceID ?? line.labels.traceid;
  return (
    <div style={{ padding: "4px 12px 10px 12%" }}>
      {trace && <To to={`/trace/${trace}`}>Open its trace</To>}
      <Table fz="xs" verticalSpacing={2} layout="auto">
        <Table.Tbody>
          {Object.entries(line.labels).sort().map(([name, value]) => (
            <Table.Tr key={name}>
              <Table.Td c="dimmed" w={180}>{name}</Table.Td>
              <Table.Td className="wrap mono">{value}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}
