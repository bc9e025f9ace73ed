// One panel of a dashboard: its frame, its question, and the drawing of its type.

import { Badge, Text, Tooltip } from "@mantine/core";
import { useIntersection } from "@mantine/hooks";
import { IconInfoCircle } from "@tabler/icons-react";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useMemo, useRef } from "react";
import { Answered, Nothing, Waiting, Warnings } from "../parts/answer";
import { useSpan } from "../parts/clock";
import { To } from "../parts/link";
import { ask, type PanelData } from "./answers";
import { BarGauge, Gauge, HeatmapPanel, Logs, Pie, Stat, TablePanel, TextPanel, TimeSeries, Traces } from "./drawings";
import { type Panel as PanelModel, sourceOf } from "./model";
import { type Chosen, type Filled, interpolate } from "./variables";

const LANGUAGE = { metrics: "promql", logs: "logql", traces: "traceql", sql: "sql" } as const;

interface Properties {
  panel: PanelModel;
  chosen: Chosen;
  filled: Filled[];
}

export function Panel({ panel, chosen, filled }: Properties) {
  const { x, y, w, h } = panel.gridPos;
  const span = useSpan();
  const title = interpolate(panel.title ?? "", chosen, span, filled);
  const target = panel.targets?.find((one) => !one.hide);
  const source = target ? sourceOf(target, panel, chosen) : "unknown";
  const query = target ? interpolate(target.expr ?? target.rawSql ?? target.query ?? "", chosen, span, filled, source === "sql") : "";
  // What is far below the fold asks nothing until it is scrolled to.
  const { ref, entry } = useIntersection({ rootMargin: "400px 0px" });
  const seen = useRef(false);
  seen.current ||= entry?.isIntersecting ?? false;
  return (
    <section
      ref={ref} className="card" aria-label={title || panel.type} data-panel={panel.type} data-title={title}
      style={{ gridColumn: `${x + 1} / span ${w}`, gridRow: `${y + 1} / span ${h}` }}
    >
      {title && (
        <h3 className="card-title" style={{ marginBottom: 4 }}>
          {source === "unknown" ? title : <To to="/explore" search={{ lang: LANGUAGE[source], q: query }} aria-label={`${title}: open in Explore`}>{title}</To>}
          {panel.description && (
            <Tooltip label={panel.description} multiline w={280}>
              <IconInfoCircle size={14} style={{ marginLeft: 6, verticalAlign: -2 }} aria-label={panel.description} tabIndex={0} />
            </Tooltip>
          )}
        </h3>
      )}
      <div className="panel-body">
        {panel.type === "text" ? <TextPanel panel={panel} text={interpolate(panel.options?.content ?? "", chosen, span, filled)} />
          : !DRAWN.has(panel.type) ? <Unknown panel={panel} />
          : seen.current ? <Asked panel={panel} chosen={chosen} filled={filled} /> : <Waiting height={40} />}
      </div>
    </section>
  );
}

const DRAWN = new Set(["timeseries", "graph", "stat", "singlestat", "gauge", "bargauge", "table", "table-old", "logs", "piechart", "barchart", "traces", "heatmap"]);

function Unknown({ panel }: { panel: PanelModel }) {
  return (
    <Text size="sm" c="dimmed" data-state="placeholder">
      <Badge variant="light" size="sm" style={{ color: "var(--mantine-color-text)", textTransform: "none" }}>{panel.type}</Badge> panels are not drawn here. Grafana draws this one from the same data sources.
    </Text>
  );
}

function Asked({ panel, chosen, filled }: Properties) {
  const span = useSpan();
  const query = useQuery({
    queryKey: ["panel", panel.id, panel.targets, panel.type, chosen, span],
    queryFn: ({ signal }) => ask(panel, chosen, filled, span, signal),
    placeholderData: keepPreviousData,
  });
  return (
    <Answered query={query} height={Math.max(40, panel.gridPos.h * 38 - 60)} empty={(data) => (nothing(data) ? (panel.fieldConfig?.defaults?.noValue ?? "No data in this time range.") : null)}>
      {(data) => <Drawn panel={panel} data={data} />}
    </Answered>
  );
}

function nothing(data: PanelData): boolean {
  return data.series.length === 0 && data.lines.length === 0 && data.traces.length === 0 && data.tables.every((table) => table.rows.rows.length === 0);
}

function Drawn({ panel, data }: { panel: PanelModel; data: PanelData }) {
  const body = useMemo(() => {
    switch (panel.type) {
      case "timeseries": case "graph": return <TimeSeries panel={panel} data={data} />;
      case "stat": case "singlestat": return <Stat panel={panel} data={data} />;
      case "gauge": return <Gauge panel={panel} data={data} />;
      case "bargauge": case "barchart": return <BarGauge panel={panel} data={data} />;
      case "heatmap": return <HeatmapPanel panel={panel} data={data} />;
      case "piechart": return <Pie panel={panel} data={data} />;
      case "logs": return <Logs panel={panel} data={data} />;
      case "traces": return <Traces panel={panel} data={data} />;
      default: return data.traces.length > 0 ? <Traces panel={panel} data={data} /> : data.tables.length > 0 || data.series.length > 0 ? <TablePanel panel={panel} data={data} /> : <Nothing>No data in this time range.</Nothing>;
    }
  }, [panel, data]);
  return (
    <>
      <Warnings list={data.warnings} />
      {body}
    </>
  );
}
