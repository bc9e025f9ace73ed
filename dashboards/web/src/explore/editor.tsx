// The query editor: one CodeMirror, the grammar and completion of the language at hand.

import { autocompletion, type Completion, type CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import { PostgreSQL, sql } from "@codemirror/lang-sql";
import { LanguageSupport, LRLanguage } from "@codemirror/language";
import { parser as logqlParser } from "@grafana/lezer-logql";
import { parser as traceqlParser } from "@grafana/lezer-traceql";
import { styleTags, tags } from "@lezer/highlight";
import { useComputedColorScheme } from "@mantine/core";
import { PromQLExtension } from "@prometheus-io/codemirror-promql";
import CodeMirror, { EditorView, keymap, Prec, type Extension } from "@uiw/react-codemirror";
import { useMemo, useRef } from "react";
import { getJson } from "../api/http";
import type { Language } from "./languages";

interface Properties {
  language: Language;
  value: string;
  onChange: (text: string) => void;
  onRun: () => void;
}

export default function Editor({ language, value, onChange, onRun }: Properties) {
  const dark = useComputedColorScheme("light") === "dark";
  const run = useRef(onRun);
  run.current = onRun;
  const extensions = useMemo(
    () => [
      Prec.highest(keymap.of([
        { key: "Mod-Enter", run: () => (run.current(), true) },
        { key: "Escape", run: (view) => (view.contentDOM.blur(), false) },
      ])),
      EditorView.lineWrapping,
      EditorView.contentAttributes.of({ "aria-label": "Query" }),
      grammar(language),
    ],
    [language],
  );
  return (
    <div data-search>
      <CodeMirror
        value={value}
        onChange={onChange}
        theme={dark ? "dark" : "light"}
        extensions={extensions}
        minHeight="62px"
        maxHeight="320px"
        placeholder="Write a query; Ctrl+Enter runs it"
        basicSetup={{ lineNumbers: language === "sql", foldGutter: false, highlightActiveLine: false, autocompletion: language === "sql" || language === "promql" }}
      />
    </div>
  );
}

function grammar(language: Language): Extension {
  switch (language) {
    case "promql":
      return new PromQLExtension().setComplete({ remote: { url: "", httpMethod: "GET", cache: { maxAge: 60_000 } } }).asExtension();
    case "sql":
      return sql({ dialect: PostgreSQL, schema: TABLES, upperCaseKeywords: false });
    case "logql":
      return [new LanguageSupport(LOGQL), autocompletion({ override: [logqlWords] })];
    case "traceql":
      return [new LanguageSupport(TRACEQL), autocompletion({ override: [traceqlWords] })];
  }
}

const TABLES = {
  metrics: ["ts", "name", "value", "labels"],
  series: ["id", "name", "labels", "first_ts", "last_ts"],
  logs: ["ts", "severity", "body", "service", "namespace", "pod", "container", "node", "trace_id", "span_id", "attributes", "resource"],
  spans: ["trace_id", "span_id", "parent_span_id", "start_ts", "duration_ns", "service", "name", "kind", "status", "attributes", "resource", "events", "links"],
  allocation: ["window_start", "namespace", "workload", "pod", "node", "cluster"],
  business_orders: ["ts", "trace_id", "order_id", "total_eur"], business_revenue_by_minute: ["minute", "orders", "revenue_eur"],
  alerts: [], slos: [],
};

const words = {
  String: tags.string, Number: tags.number, Integer: tags.number, Float: tags.number, Duration: tags.number, Bytes: tags.number,
  "LineComment BlockComment": tags.comment, "Identifier AttributeField": tags.propertyName,
};
const LOGQL = LRLanguage.define({
  parser: logqlParser.configure({
    props: [styleTags({ ...words, "By Without And Or Unless On Ignoring Json Logfmt Regexp Pattern Unwrap LabelFormat LineFormat Drop Keep Bool Offset": tags.keyword, "Rate CountOverTime Sum Avg Max Min Count Topk Bottomk": tags.function(tags.variableName) })],
  }),
});
const TRACEQL = LRLanguage.define({
  parser: traceqlParser.configure({ props: [styleTags({ ...words, "And Or Pipe By": tags.operator, "IntrinsicField Static": tags.keyword })] }),
});

const LOGQL_WORDS: Completion[] = [
  ..."json logfmt regexp pattern unpack decolorize line_format label_format unwrap drop keep".split(" ").map((label) => ({ label, type: "keyword", detail: "stage, after |" })),
  ..."rate count_over_time bytes_rate bytes_over_time sum_over_time avg_over_time max_over_time min_over_time quantile_over_time first_over_time last_over_time absent_over_time sum avg min max count topk bottomk stddev stdvar sort sort_desc".split(" ").map((label) => ({ label, type: "function" })),
  ..."by without and or unless on ignoring offset bool".split(" ").map((label) => ({ label, type: "keyword" })),
];
const TRACEQL_WORDS: Completion[] = [
  ..."duration name status kind rootName rootServiceName traceDuration statusMessage nestedSetParent".split(" ").map((label) => ({ label, type: "property", detail: "of the span or its trace" })),
  ..."error ok unset server client producer consumer internal nil true false".split(" ").map((label) => ({ label, type: "constant" })),
  ..."count avg min max sum rate count_over_time quantile_over_time histogram_over_time select by coalesce".split(" ").map((label) => ({ label, type: "function", detail: "after |" })),
];

async function logqlWords(context: CompletionContext): Promise<CompletionResult | null> {
  const before = context.state.sliceDoc(0, context.pos);
  const value = /[{,]\s*([\w.]+)\s*(?:=~|!~|!=|=)\s*"([^"]*)$/.exec(before);
  if (value) return listed(`/loki/api/v1/label/${value[1]}/values`, context.pos - (value[2] ?? "").length);
  const name = /[{,]\s*([\w.]*)$/.exec(before);
  if (name) return listed("/loki/api/v1/labels", context.pos - (name[1] ?? "").length);
  const word = context.matchBefore(/\w+/);
  return word || context.explicit ? { from: word?.from ?? context.pos, options: LOGQL_WORDS } : null;
}

async function traceqlWords(context: CompletionContext): Promise<CompletionResult | null> {
  const before = context.state.sliceDoc(0, context.pos);
  const value = /([\w.]+)\s*(?:=~|!~|!=|=)\s*"([^"]*)$/.exec(before);
  try {
    if (value) {
      const answer = await getJson<{ tagValues?: { value: string }[] }>(`/tempo/api/v2/search/tag/${encodeURIComponent(value[1] ?? "")}/values`);
      return { from: context.pos - (value[2] ?? "").length, options: (answer.tagValues ?? []).map((one) => ({ label: one.value })) };
    }
    const word = context.matchBefore(/[\w.]+/);
    if (!word && !context.explicit) return null;
    const answer = await getJson<{ scopes?: { name: string; tags?: string[] }[] }>("/tempo/api/v2/search/tags", { limit: 500 });
    const scoped = (answer.scopes ?? []).filter((scope) => scope.name !== "intrinsic").flatMap((scope) => (scope.tags ?? []).map((tag) => ({ label: `${scope.name}.${tag}`, type: "property" })));
    return { from: word?.from ?? context.pos, options: [...TRACEQL_WORDS, ...scoped] };
  } catch {
    // Completion is a convenience: without an answer there is none.
    return null;
  }
}

async function listed(path: string, from: number): Promise<CompletionResult | null> {
  try {
    return { from, options: (await getJson<{ data?: string[] }>(path)).data?.map((label) => ({ label })) ?? [] };
  } catch {
    return null;
  }
}
