// The waterfall: one row a span, only those in sight in the document, walked with the arrow keys like any tree.

import { useComputedColorScheme } from "@mantine/core";
import { IconAlertTriangle, IconChevronDown, IconChevronRight } from "@tabler/icons-react";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from "react";
import type { Usual } from "../api/causes";
import { stroke } from "../chart/palette";
import { format } from "../format";
import { beyondUsual, type Node, type Trace, usually } from "./tree";

interface Properties {
  trace: Trace;
  selected: string | undefined;
  onSelect: (id: string) => void;
}

export function Waterfall({ trace, selected, onSelect }: Properties) {
  const dark = useComputedColorScheme("light") === "dark";
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const scroller = useRef<HTMLDivElement>(null);
  const rows = useMemo(() => visible(trace.nodes, folded), [trace, folded]);
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => scroller.current, estimateSize: () => 26, overscan: 15 });
  const at = rows.findIndex((node) => node.id === selected);

  // What was chosen outside (the first error, a link) is brought into sight.
  useEffect(() => {
    if (at >= 0) virtual.scrollToIndex(at, { align: "auto" });
  }, [at, virtual]);

  const fold = (node: Node, shut: boolean) => {
    const next = new Set(folded);
    if (shut) next.add(node.id);
    else next.delete(node.id);
    setFolded(next);
  };
  const walk = (event: KeyboardEvent) => {
    const node = rows[at];
    const move = (to: number) => rows[to] && onSelect(rows[to].id);
    if (event.key === "j" || event.key === "ArrowDown") move(at + 1);
    else if (event.key === "k" || event.key === "ArrowUp") move(Math.max(0, at - 1));
    else if (event.key === "Home") move(0);
    else if (event.key === "End") move(rows.length - 1);
    else if (event.key === "ArrowLeft" && node) node.children.length > 0 && !folded.has(node.id) ? fold(node, true) : node.parentId && onSelect(node.parentId);
    else if (event.key === "ArrowRight" && node) folded.has(node.id) ? fold(node, false) : move(at + 1);
    else return;
    event.preventDefault();
  };

  // In the order in which the services appear: neighbours differ, which a hash of the name would not promise.
  const colors = useMemo(() => new Map(trace.services.map((service, index) => [service, stroke(index, dark).color])), [trace, dark]);
  const total = trace.durationMs || 1;
  return (
    <div>
      <div className="span-row" style={{ cursor: "default", height: 22, paddingRight: 70 }} aria-hidden="true">
        <span style={{ fontWeight: 600 }}>{trace.nodes.length} spans</span>
        <span style={{ display: "flex", justifyContent: "space-between", color: "var(--mantine-color-dimmed)" }}>
          {[0, 0.25, 0.5, 0.75, 1].map((part) => <span key={part}>{format(total * part, "ms")}</span>)}
        </span>
      </div>
      <div
        ref={scroller} role="treegrid" aria-label="Spans of the trace" aria-rowcount={rows.length} tabIndex={0} onKeyDown={walk}
        aria-activedescendant={at >= 0 ? `span-${selected}` : undefined} data-state="waterfall" data-rows={trace.nodes.length}
        style={{ height: Math.min(620, rows.length * 26 + 4), overflow: "auto" }}
      >
        <div style={{ height: virtual.getTotalSize(), position: "relative" }} role="presentation">
          {virtual.getVirtualItems().map((item) => {
            const node = rows[item.index];
            if (!node) return null;
            const left = (node.startMs / total) * 100;
            const width = Math.max(0.1, (node.durationMs / total) * 100);
            const shut = folded.has(node.id);
            const inner = node.children.length > 0;
            const late = left + width > 75;
            const critical = (node.criticalMs ?? 0) > 0;
            const usual = node.usual && `normally takes ${usually(node.usual, (ms) => format(ms, "ms"))}`;
            const beyond = beyondUsual(node);
            return (
              <div
                key={node.id} id={`span-${node.id}`} role="row" className="span-row" aria-level={node.depth + 1} aria-selected={node.id === selected} aria-rowindex={item.index + 1}
                {...(inner ? { "aria-expanded": !shut } : {})}
                onClick={() => onSelect(node.id)}
                style={{ position: "absolute", top: 0, transform: `translateY(${item.start}px)`, paddingRight: 70 }}
              >
                <div role="gridcell" className="span-name" style={{ paddingLeft: Math.min(node.depth, 24) * 12 }} title={`${node.service}: ${node.name}`}>
                  <span
                    style={{ width: 16, flex: "none", visibility: inner ? "visible" : "hidden" }}
                    onClick={(event) => {
                      event.stopPropagation();
                      fold(node, !shut);
                    }}
                  >
                    {shut ? <IconChevronRight size={14} /> : <IconChevronDown size={14} />}
                  </span>
                  <span style={{ width: 4, height: 16, borderRadius: 2, flex: "none", background: colors.get(node.service) }} />
                  {node.error && <IconAlertTriangle size={14} color="var(--mantine-color-red-6)" aria-label="error" style={{ flex: "none" }} />}
                  <b>{node.service}</b>
                  <span style={{ overflow: "hidden", textOverflow: "ellipsis" }}>{node.name}</span>
                </div>
                <div role="gridcell" className="span-track" aria-label={`starts after ${format(node.startMs, "ms")}, takes ${format(node.durationMs, "ms")}, own time ${format(node.ownMs, "ms")}${critical ? ", on the critical path" : ""}${usual ? `, ${usual}` : ""}`} title={usual}>
                  {node.usual && <UsualMark node={node} usual={node.usual} total={total} />}
                  <div className={`span-bar ${critical ? "critical" : ""}`} style={{ left: `${left}%`, width: `${width}%`, background: colors.get(node.service) }} />
                  <span className={`span-time ${beyond ? "span-beyond" : ""}`} style={late && left > 12 ? { right: `${100 - left}%` } : { left: `${Math.min(100, left + width)}%` }}>{format(node.durationMs, "ms")}
                    {beyond && node.usual && !late && ` usually ${format(node.usual.p50_ms, "ms")}`}
                  </span>
                </div>
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

/** Below a bar, from where it begins: a line as long as 95 % of its kind take, with a tick where half of them end. */
function UsualMark({ node, usual, total }: { node: Node; usual: Usual; total: number }) {
  const left = (node.startMs / total) * 100;
  const upTo = (ms: number) => Math.min(100 - left, (ms / total) * 100);
  return (
    <div aria-hidden="true" data-usual={usual.spans}>
      <div className="span-usual" style={{ left: `${left}%`, width: `${upTo(usual.p95_ms)}%` }} />
      <div className="span-usual-half" style={{ left: `${left + upTo(usual.p50_ms)}%` }} />
    </div>
  );
}

/** Without what lies below a folded span. */
function visible(nodes: Node[], folded: ReadonlySet<string>): Node[] {
  if (folded.size === 0) return nodes;
  let hiddenBelow = Infinity;
  return nodes.filter((node) => {
    if (node.depth > hiddenBelow) return false;
    hiddenBelow = folded.has(node.id) ? node.depth : Infinity;
    return true;
  });
}
