//! The tools by their names in Tempo, each a call of this door.

use super::docs::{CONFIG, TRACEQL};
use super::{INVALID_PARAMS, Wrong};
use crate::tempo::encode::{self, RangeMetrics};
use crate::tempo::{self, Params, Refusal, diff};
use axum::http::StatusCode;
use engine::Engine;
use model::Tenant;
use serde_json::{Map, Value, json};
use traceql::Root;

/// A tool's argument: its name, what it is, whether it must be there.
type Argument = (&'static str, &'static str, bool);

struct Tool {
    name: &'static str,
    about: &'static str,
    arguments: &'static [Argument],
    /// What its answer is, for clients that show kinds apart, and the version of its form.
    kind: (&'static str, &'static str),
}

const START: Argument = ("start", "Start of the time range, RFC 3339; an hour ago if left out", false);
const END: Argument = ("end", "End of the time range, RFC 3339; now if left out", false);
const FORMATS: &str = "trace-summary-v0-composed (default), trace-summary-v0-native or trace-patch-v0";

const TOOLS: &[Tool] = &[
    Tool {
        name: "traceql-search",
        about: "Find traces with a TraceQL query",
        arguments: &[("query", "TraceQL, as { status = error }", true), START, END],
        kind: ("search-results", "1"),
    },
    Tool {
        name: "traceql-metrics-instant",
        about: "One number for each series of a TraceQL metrics query over a time range; best for now and for totals",
        arguments: &[("query", "TraceQL metrics, as { } | rate()", true), START, END],
        kind: ("metrics-instant", "1"),
    },
    Tool {
        name: "traceql-metrics-range",
        about: "Series over time of a TraceQL metrics query; best for trends",
        arguments: &[("query", "TraceQL metrics, as { } | rate()", true), START, END],
        kind: ("metrics-range", "1"),
    },
    Tool {
        name: "get-trace",
        about: "One trace with all of its spans",
        arguments: &[("trace_id", "The trace's id in hex", true)],
        kind: ("trace", "2"),
    },
    Tool {
        name: "trace-diff",
        about: "What differs between two whole traces: times, errors, spans that came or went, attributes",
        arguments: &[
            ("base_trace_id", "The trace to compare with", true),
            ("compare_trace_id", "The trace that is compared", true),
            ("base_start", "Start of where the first lies, RFC 3339; only with base_end", false),
            ("base_end", "End of where the first lies, RFC 3339", false),
            ("compare_start", "Start of where the second lies, RFC 3339; only with compare_end", false),
            ("compare_end", "End of where the second lies, RFC 3339", false),
            ("format", FORMATS, false),
        ],
        kind: ("trace-diff", "2"),
    },
    Tool {
        name: "get-attribute-names",
        about: "Names of attributes that TraceQL can ask for, by scope",
        arguments: &[(
            "scope",
            "span, resource, event, link, instrumentation or intrinsic; all if left out",
            false,
        )],
        kind: ("attribute-names", "2"),
    },
    Tool {
        name: "get-attribute-values",
        about: "Values of one attribute",
        arguments: &[
            ("name", "The attribute with its scope, as resource.service.name", true),
            (
                "filter-query",
                "Only values of spans that match, as { resource.service.name = \"cart\" }",
                false,
            ),
        ],
        kind: ("attribute-values", "2"),
    },
    Tool {
        name: "docs-traceql",
        about: "How TraceQL is written",
        arguments: &[("name", "basic, aggregates, structural or metrics", true)],
        kind: ("documentation", "1"),
    },
    Tool {
        name: "docs-config",
        about: "How this server is configured",
        arguments: &[("name", "overview or reference", true)],
        kind: ("documentation", "1"),
    },
];

pub(super) fn list() -> Vec<Value> {
    TOOLS.iter().map(described).collect()
}

fn described(tool: &Tool) -> Value {
    let properties: Map<String, Value> = tool
        .arguments
        .iter()
        .map(|(name, about, _)| ((*name).to_owned(), json!({ "type": "string", "description": about })))
        .collect();
    let required: Vec<&str> =
        tool.arguments.iter().filter(|(.., must)| *must).map(|(name, ..)| *name).collect();
    json!({
        "name": tool.name,
        "description": tool.about,
        "inputSchema": { "type": "object", "properties": properties, "required": required },
        "annotations": { "readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false },
    })
}

/// What goes wrong inside a tool is its answer: who called it can mend the arguments.
pub(super) async fn call(engine: &Engine, tenant: &Tenant, params: &Value) -> Result<Value, Wrong> {
    let name = params["name"].as_str().unwrap_or_default();
    let Some(tool) = TOOLS.iter().find(|tool| tool.name == name) else {
        return Err(Wrong(INVALID_PARAMS, format!("no tool {name:?}; tools/list names all")));
    };
    let done = match arguments(tool, &params["arguments"]) {
        Ok(given) => run(engine, tenant, tool, &given).await,
        Err(refused) => Err(refused),
    };
    let (text, wrong) = match done {
        Ok(text) => (text, false),
        Err(Refusal(_, why)) => (why, true),
    };
    let encoding = if tool.kind.0 == "documentation" { "markdown" } else { "json" };
    let mut result = json!({
        "content": [{ "type": "text", "text": text }],
        "isError": wrong,
    });
    if !wrong {
        result["_meta"] = json!({ "type": tool.kind.0, "encoding": encoding, "version": tool.kind.1 });
    }
    Ok(result)
}

/// Those that are given, all of which the tool must know: a wrong name would silently ask something else.
fn arguments(tool: &Tool, given: &Value) -> Result<Params, Refusal> {
    let mut arguments = std::collections::HashMap::new();
    for (name, value) in given.as_object().into_iter().flatten() {
        if !tool.arguments.iter().any(|(known, ..)| known == name) {
            let known: Vec<&str> = tool.arguments.iter().map(|(known, ..)| *known).collect();
            return Err(Refusal::bad(format!(
                "no argument {name:?}; {} takes {}",
                tool.name,
                known.join(", ")
            )));
        }
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null => continue,
            _ => return Err(Refusal::bad(format!("argument {name:?} must be a text"))),
        };
        arguments.insert(name.clone(), text);
    }
    for (name, about, must) in tool.arguments {
        if *must && arguments.get(*name).is_none_or(String::is_empty) {
            return Err(Refusal::bad(format!("argument {name:?} is missing: {about}")));
        }
    }
    Ok(Params(arguments))
}

/// The parameters of a call have other names than a tool's arguments.
fn renamed(mut given: Params, from: &str, to: &str) -> Params {
    if let Some(value) = given.0.remove(from) {
        given.0.insert(to.to_owned(), value);
    }
    given
}

async fn run(engine: &Engine, tenant: &Tenant, tool: &Tool, given: &Params) -> Result<String, Refusal> {
    let named = given.get("name").unwrap_or_default();
    let given = Params(given.0.clone());
    let answer = match tool.name {
        "docs-traceql" => return page(TRACEQL, named),
        "docs-config" => return page(CONFIG, named),
        "traceql-search" => {
            let asks_numbers =
                |text: &str| traceql::parse(text).is_ok_and(|query| matches!(query.root, Root::Metrics(_)));
            if given.get("query").is_some_and(asks_numbers) {
                let tools = "traceql-metrics-instant and traceql-metrics-range take it";
                return Err(Refusal::bad(format!("the query answers numbers: {tools}")));
            }
            let given = renamed(given, "query", "q");
            encode::search(&tempo::searched(engine, tenant, &given).await?)
        }
        "traceql-metrics-instant" => {
            let given = renamed(given, "query", "q");
            encode::metrics_instant(&tempo::instant_metrics(engine, tenant, &given).await?)
        }
        "traceql-metrics-range" => {
            let mut given = renamed(given, "query", "q");
            given.0.insert("exemplars".to_owned(), "0".to_owned());
            json!(RangeMetrics(tempo::range_metrics(engine, tenant, &given).await?))
        }
        "get-trace" => trace(engine, tenant, &given).await?,
        "trace-diff" => diff::answer(engine, tenant, &compared(&given)?).await?,
        "get-attribute-names" => tempo::scopes(tempo::tags(engine, tenant, &given).await?),
        _ => {
            let tag = named.to_owned();
            let given = renamed(given, "filter-query", "q");
            tempo::typed(tempo::values(engine, tenant, &tag, &given).await?)
        }
    };
    Ok(answer.to_string())
}

fn page(pages: &[(&str, &str, &'static str)], name: &str) -> Result<String, Refusal> {
    let known = || pages.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
    let found = pages.iter().find(|(page, ..)| *page == name).map(|(.., text)| (*text).to_owned());
    found.ok_or_else(|| Refusal::bad(format!("no page {name:?}; there are {}", known())))
}

async fn trace(engine: &Engine, tenant: &Tenant, given: &Params) -> Result<Value, Refusal> {
    let id = given.get("trace_id").unwrap_or_default();
    let found = tempo::trace(engine, tenant, id, given).await?;
    if found.spans.resources.is_empty() {
        return Err(Refusal(StatusCode::NOT_FOUND, format!("trace {id} not found")));
    }
    Ok(tempo::trace_json(&found))
}

fn compared(given: &Params) -> Result<diff::Asked, Refusal> {
    let format = match given.0.get("format").map(String::as_str) {
        None => "trace-summary-v0-composed",
        Some("") => return Err(Refusal::bad(format!("format is empty; write {FORMATS}"))),
        Some(format) => format,
    };
    Ok(diff::Asked {
        base: which(given, "base")?,
        compare: which(given, "compare")?,
        format: format.to_owned(),
    })
}

fn which(given: &Params, side: &str) -> Result<diff::Which, Refusal> {
    let of = |name: &str| given.get(&format!("{side}_{name}"));
    let seconds = |name: &str| -> Result<Option<i64>, Refusal> {
        let Some(text) = of(name) else { return Ok(None) };
        let at = chrono::DateTime::parse_from_rfc3339(text);
        let at =
            at.map_err(|why| Refusal::bad(format!("{side}_{name} is {text:?}: {why}; write RFC 3339")))?;
        Ok(Some(at.timestamp()))
    };
    let (start, end) = (seconds("start")?, seconds("end")?);
    if start.is_some() != end.is_some() {
        return Err(Refusal::bad(format!("{side}_start and {side}_end go together")));
    }
    Ok(diff::Which { trace_id: of("trace_id").unwrap_or_default().to_owned(), start, end })
}
