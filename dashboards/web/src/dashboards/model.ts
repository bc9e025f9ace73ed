// The part of classic Grafana dashboard JSON that is drawn here. What is not named stays in the file untouched.

export interface Dashboard {
  uid: string;
  title: string;
  description?: string;
  tags?: string[];
  time?: { from?: string; to?: string };
  refresh?: string;
  templating?: { list?: Variable[] };
  panels?: Panel[];
}

export interface Variable {
  name: string;
  label?: string;
  type: "query" | "custom" | "constant" | "textbox" | "interval" | "datasource" | "adhoc" | string;
  query?: string | { query?: string; qryType?: number };
  definition?: string;
  datasource?: DataSource | string | null;
  regex?: string;
  multi?: boolean;
  includeAll?: boolean;
  allValue?: string | null;
  hide?: number;
  sort?: number;
  current?: { value?: string | string[]; text?: string | string[] };
  options?: { value: string; text: string }[];
}

export interface DataSource {
  type?: string;
  uid?: string;
}

export interface Panel {
  id: number;
  type: string;
  title?: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  datasource?: DataSource | string | null;
  targets?: Target[];
  fieldConfig?: { defaults?: FieldConfig; overrides?: Override[] };
  options?: PanelOptions;
  transformations?: { id: string; options?: Record<string, unknown>; disabled?: boolean }[];
  /** Of a row that is shut. */
  panels?: Panel[];
  collapsed?: boolean;
  repeat?: string;
  interval?: string;
}

export interface Target {
  refId?: string;
  datasource?: DataSource | string | null;
  expr?: string;
  query?: string;
  rawSql?: string;
  legendFormat?: string;
  instant?: boolean;
  format?: string;
  hide?: boolean;
  limit?: number;
  interval?: string;
}

export interface FieldConfig {
  unit?: string;
  decimals?: number | null;
  min?: number | null;
  max?: number | null;
  displayName?: string;
  noValue?: string;
  color?: { mode?: string; fixedColor?: string };
  thresholds?: { mode?: "absolute" | "percentage"; steps?: { color: string; value: number | null }[] };
  mappings?: { type: string; options: Record<string, unknown> }[];
  custom?: {
    fillOpacity?: number;
    stacking?: { mode?: string; group?: string | boolean };
    transform?: string;
    drawStyle?: string;
    showPoints?: string;
    thresholdsStyle?: { mode?: string };
    hideFrom?: { viz?: boolean };
  };
  links?: { title?: string; url?: string }[];
}

export interface Override {
  matcher: { id: string; options?: unknown };
  properties: { id: string; value?: unknown }[];
}

export interface PanelOptions {
  reduceOptions?: { calcs?: string[]; values?: boolean; fields?: string };
  legend?: { showLegend?: boolean; displayMode?: string };
  orientation?: string;
  content?: string;
  mode?: string;
  textMode?: string;
  colorMode?: string;
  graphMode?: string;
  displayMode?: string;
  pieType?: string;
  yAxis?: { unit?: string };
}

/** What a dashboard's own file says, with the overrides that match this field. */
export function fieldConfig(panel: Panel, field: { name: string; refId?: string | undefined; number: boolean }): FieldConfig {
  const config: FieldConfig = { ...panel.fieldConfig?.defaults };
  for (const override of panel.fieldConfig?.overrides ?? []) {
    if (!matches(override.matcher, field)) continue;
    for (const { id, value } of override.properties) set(config as Record<string, unknown>, id.split("."), value);
  }
  return config;
}

function matches(matcher: Override["matcher"], field: { name: string; refId?: string | undefined; number: boolean }): boolean {
  const { id, options } = matcher;
  if (id === "byName") return options === field.name;
  if (id === "byFrameRefID") return options === field.refId;
  if (id === "byType") return options === "number" && field.number;
  if (id === "byNames") return ((options as { names?: string[] })?.names ?? []).includes(field.name);
  if (id === "byRegexp" && typeof options === "string") return regexp(options)?.test(field.name) ?? false;
  return false;
}

/** `/…/i` or a bare pattern; null when it is not one. */
export function regexp(text: string): RegExp | null {
  const slashed = /^\/(.*)\/([a-z]*)$/.exec(text);
  try {
    return slashed ? new RegExp(slashed[1] ?? "", (slashed[2] ?? "").replace("g", "")) : new RegExp(text);
  } catch {
    return null;
  }
}

function set(into: Record<string, unknown>, path: string[], value: unknown): void {
  const [first, ...rest] = path;
  if (first === undefined) return;
  if (rest.length === 0) into[first] = value;
  else {
    const inner = { ...(into[first] as Record<string, unknown> | undefined) };
    into[first] = inner;
    set(inner, rest, value);
  }
}

/** The colour of the last step that the value reaches. */
export function thresholdColor(config: FieldConfig, value: number | null): string | null {
  const steps = config.thresholds?.steps ?? [];
  if (value === null || steps.length === 0) return null;
  const { min, max } = config;
  const at = config.thresholds?.mode === "percentage" && typeof min === "number" && typeof max === "number" && max > min
    ? ((value - min) / (max - min)) * 100 : value;
  return steps.filter((step) => step.value === null || at >= step.value).at(-1)?.color ?? null;
}

/** A value mapping's text; null where none matches. */
export function mapped(config: FieldConfig, value: number | string | null): { text: string; color?: string } | null {
  for (const mapping of config.mappings ?? []) {
    const options = mapping.options as Record<string, { text?: string; color?: string }> & { from?: number; to?: number; match?: string; pattern?: string; result?: { text?: string; color?: string } };
    let found: { text?: string; color?: string } | undefined;
    if (mapping.type === "value") found = options[String(value)];
    else if (mapping.type === "range" && typeof value === "number" && value >= (options.from ?? -Infinity) && value <= (options.to ?? Infinity)) found = options.result;
    else if (mapping.type === "regex" && typeof value === "string" && regexp(options.pattern ?? "")?.test(value)) found = options.result;
    else if (mapping.type === "special" && ((options.match === "null" && value === null) || (options.match === "nan" && Number.isNaN(value)))) found = options.result;
    if (found?.text !== undefined) return { text: found.text, ...(found.color ? { color: found.color } : {}) };
  }
  return null;
}

export type Source = "metrics" | "logs" | "traces" | "sql" | "unknown";

/** A data source by its type; one without a type is the default one, as in Grafana. */
export function sourceOf(target: Target, panel: Panel, variables: Record<string, string[]>): Source {
  let source = target.datasource ?? panel.datasource ?? undefined;
  if (typeof source === "object" && source?.uid === "-- Mixed --") source = undefined;
  const text = typeof source === "string" ? source : (source?.type ?? source?.uid ?? "");
  const plain = text.startsWith("$") ? (variables[text.replace(/[${}]/g, "")]?.[0] ?? "prometheus") : text;
  if (plain === "" || plain === "default" || plain.includes("prometheus") || plain === "binnacle-metrics") return target.rawSql ? "sql" : "metrics";
  if (plain.includes("loki") || plain === "binnacle-logs") return "logs";
  if (plain.includes("tempo") || plain === "binnacle-traces") return "traces";
  if (plain.includes("postgres") || plain === "binnacle-sql") return "sql";
  return "unknown";
}

/** Panels in drawing order; those of a shut row follow it when it is opened. */
export function laidOut(panels: Panel[], opened: ReadonlySet<number>): Panel[] {
  const sorted = [...panels].sort((a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x);
  const placed: Panel[] = [];
  let down = 0;
  let shutBy: Panel | null = null;
  for (const panel of sorted) {
    if (panel.type === "row") {
      shutBy = null;
      const inner = panel.panels ?? [];
      const isOpen = panel.collapsed ? opened.has(panel.id) : !opened.has(panel.id);
      placed.push(moved({ ...panel, collapsed: !isOpen }, down));
      if (!isOpen && inner.length === 0) shutBy = panel;
      if (isOpen && panel.collapsed && inner.length > 0) {
        // The JSON keeps the inner panels where they would be if only this row were open.
        const top = Math.min(...inner.map((one) => one.gridPos.y));
        const bottom = Math.max(...inner.map((one) => one.gridPos.y + one.gridPos.h));
        const shift = panel.gridPos.y + 1 - top;
        for (const one of inner) placed.push(moved(one, down + shift));
        down += bottom - top;
      }
    } else if (shutBy) continue;
    else placed.push(moved(panel, down));
  }
  return placed;
}

function moved(panel: Panel, down: number): Panel {
  return { ...panel, gridPos: { ...panel.gridPos, y: panel.gridPos.y + down } };
}
