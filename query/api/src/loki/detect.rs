//! What fields lines have, found by looking at the newest lines: the pickers of Logs Drilldown.

use super::params::Params;
use super::{Answer, now_ns, selector_of};
use crate::TenantHeader;
use axum::Json;
use axum::extract::{Path, State};
use engine::{Direction, Engine, LogResult, QueryError};
use logql::{Fields, Pipeline};
use model::Tenant;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// As many as Loki looks at.
const LINES_DEFAULT: usize = 100;
const LINES_MAX: usize = 5_000;
pub(super) const FIELDS_DEFAULT: usize = 1_000;
/// Values kept of one field; its cardinality is not counted further.
pub(super) const VALUES_MAX: usize = 1_000;

pub(super) async fn labels(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let selectors: Vec<String> = params.selector().map(selector_of).into_iter().collect();
    let series = engine.log_series(&tenant, &selectors, params.time_range(now_ns())?).await?;
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in series.iter().flat_map(|labels| labels.iter()) {
        values.entry(name).or_default().insert(value);
    }
    let found: Vec<Value> = values
        .into_iter()
        .filter(|(name, values)| ALWAYS_SHOWN.contains(name) || !are_ids(values))
        .map(|(name, values)| json!({ "label": name, "cardinality": values.len() }))
        .collect();
    Ok(Json(json!({ "detectedLabels": found })))
}

/// Labels that people look for whatever their values are.
const ALWAYS_SHOWN: [&str; 4] = ["cluster", "namespace", "instance", "pod"];

/// Whether all values are numbers or UUIDs, which nobody picks from a list; 0 and 1 alone are a yes and a no.
fn are_ids(values: &BTreeSet<&str>) -> bool {
    let is_id = |value: &str| value.parse::<f64>().is_ok() || is_uuid(value);
    let is_truth = values.len() <= 2 && values.iter().all(|value| matches!(*value, "0" | "1"));
    !is_truth && values.iter().all(|value| is_id(value))
}

fn is_uuid(text: &str) -> bool {
    let is_fine = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(is_fine)
}

/// What was seen of one field.
#[derive(Default)]
struct Field {
    values: BTreeSet<String>,
    parsers: BTreeSet<&'static str>,
    /// Keys that lead to it in a JSON line.
    path: Vec<String>,
}

async fn detected(engine: &Engine, tenant: &Tenant, params: &Params) -> Answer<BTreeMap<String, Field>> {
    let query = params.required("query")?;
    let (start, end) = params.range(now_ns())?;
    let lines = params.limit("line_limit", LINES_DEFAULT)?.min(LINES_MAX);
    let step_ms = params.step_ms(start, end)?;
    let answer = engine.logql_range(tenant, query, start, end, step_ms, lines, Direction::Backward).await?;
    let LogResult::Streams(streams) = answer.result else {
        return Err(QueryError::Bad("only log selector is supported".into()).into());
    };
    let parser = |stage: &str| match logql::parse(&format!("{{a=\"b\"}} | {stage}")) {
        Ok(logql::Expr::Log(log)) => Some(Pipeline::new(&log.stages, None, None)),
        _ => None,
    };
    let (json, logfmt) = (parser("json"), parser("logfmt"));
    let mut found: BTreeMap<String, Field> = BTreeMap::new();
    let mut fields = Fields::default();
    for stream in &streams {
        let pairs: Arc<[(String, String)]> =
            stream.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        for entry in &stream.entries {
            let said = entry.metadata.iter().chain(entry.parsed.iter());
            for (name, value) in said.filter(|(name, _)| !name.starts_with("__error")) {
                note(&mut found, name, value, None);
            }
            let is_json = entry.line.trim_start().starts_with('{');
            for (name, parser) in [("json", &json), ("logfmt", &logfmt)] {
                let may_be = if name == "json" { is_json } else { entry.line.contains('=') };
                let Some(parser) = parser.as_ref().filter(|_| may_be) else { continue };
                fields.start(&pairs);
                if parser.run(entry.ts_ns, &entry.line, &mut fields).is_none() || fields.failed() {
                    continue;
                }
                if name == "json" {
                    note_paths(&mut found, &entry.line);
                }
                for (field, value, category) in fields.iter() {
                    if category == logql::Category::Parsed {
                        note(&mut found, field, value, Some(name));
                    }
                }
                break;
            }
        }
    }
    // A path that no label came of: an array, or a name that a label has.
    found.retain(|_, field| !field.values.is_empty());
    Ok(found)
}

fn note(found: &mut BTreeMap<String, Field>, name: &str, value: &str, parser: Option<&'static str>) {
    if !found.contains_key(name) {
        found.insert(name.to_owned(), Field::default());
    }
    if let Some(field) = found.get_mut(name) {
        field.parsers.extend(parser);
        if field.values.len() < VALUES_MAX && !field.values.contains(value) {
            field.values.insert(value.to_owned());
        }
    }
}

/// Where in the line each field is that `| json` makes of it.
fn note_paths(found: &mut BTreeMap<String, Field>, line: &str) {
    let Ok(Value::Object(object)) = serde_json::from_str(line) else { return };
    let mut open: Vec<(String, Vec<String>, &serde_json::Map<String, Value>)> =
        vec![(String::new(), vec![], &object)];
    while let Some((prefix, path, object)) = open.pop() {
        for (key, value) in object {
            let spelled: String =
                key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            let name = if prefix.is_empty() { spelled } else { format!("{prefix}_{spelled}") };
            let path = [&path[..], std::slice::from_ref(key)].concat();
            match value {
                Value::Object(inner) => open.push((name, path, inner)),
                _ => {
                    // The latter is its name where a label of the stream has the former.
                    for name in [format!("{name}_extracted"), name] {
                        let field = found.entry(name).or_default();
                        if field.path.is_empty() {
                            field.path.clone_from(&path);
                        }
                    }
                }
            }
        }
    }
}

impl Field {
    /// By its values: all of one kind, else text.
    fn kind(&self) -> &'static str {
        let all = |test: fn(&str) -> bool| self.values.iter().all(|value| test(value));
        if all(|value| value.parse::<i64>().is_ok()) {
            "int"
        } else if all(|value| value.parse::<f64>().is_ok()) {
            "float"
        } else if all(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "false" | "t" | "f")) {
            "boolean"
        } else if all(|value| logql::parse_duration_ns(value).is_some()) {
            "duration"
        } else if all(|value| logql::parse_bytes(value).is_some()) {
            "bytes"
        } else {
            "string"
        }
    }
}

pub(super) async fn fields(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let limit = params.limit("limit", FIELDS_DEFAULT)?;
    let found = detected(&engine, &tenant, &params).await?;
    let fields: Vec<Value> = found
        .iter()
        .take(limit)
        .map(|(name, field)| {
            let parsers = if field.parsers.is_empty() { Value::Null } else { json!(field.parsers) };
            let mut said = json!({
                "label": name,
                "type": field.kind(),
                "cardinality": field.values.len(),
                "parsers": parsers,
            });
            if field.parsers.contains("json") {
                said["jsonPath"] = json!(field.path);
            }
            said
        })
        .collect();
    Ok(Json(json!({ "fields": fields, "limit": limit })))
}

pub(super) async fn field_values(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(name): Path<String>,
    params: Params,
) -> Answer<Json<Value>> {
    let limit = params.limit("limit", FIELDS_DEFAULT)?;
    let found = detected(&engine, &tenant, &params).await?;
    let values: Vec<&String> =
        found.get(&name).into_iter().flat_map(|field| &field.values).take(limit).collect();
    Ok(Json(json!({ "values": values, "limit": limit })))
}
