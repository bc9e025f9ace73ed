//! What fields lines have, found by looking at the newest lines: the pickers of Logs Drilldown.

use super::params::Params;
use super::{Answer, Refusal, now_ns};
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
pub(super) const FIELDS_DEFAULT: usize = 1_000;
/// Values kept of one field; its cardinality is not counted further.
pub(super) const VALUES_MAX: usize = 1_000;

pub(super) async fn labels(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let selectors: Vec<String> = params.selector()?.map(str::to_owned).into_iter().collect();
    let series = match params.times(now_ns())? {
        Some(range) => engine.log_series(&tenant, &selectors, range).await?,
        None => vec![],
    };
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in series.iter().flat_map(|labels| labels.iter()) {
        values.entry(name).or_default().insert(value);
    }
    let found: Vec<Value> = values
        .into_iter()
        .filter(|(name, values)| ALWAYS_SHOWN.contains(name) || !are_ids(values))
        .map(|(name, values)| json!({ "label": name, "cardinality": values.len() }))
        .collect();
    // Loki leaves out an empty list.
    Ok(Json(if found.is_empty() { json!({}) } else { json!({ "detectedLabels": found }) }))
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
    /// In the order in which they were first of use.
    parsers: Vec<&'static str>,
    /// Keys that lead to it in a JSON line.
    path: Vec<String>,
}

async fn detected(engine: &Engine, tenant: &Tenant, params: &Params) -> Answer<BTreeMap<String, Field>> {
    let query = params.required("query")?;
    let (start, end) = params.range(now_ns())?;
    let (lines, lines_max) = (params.limit("line_limit", LINES_DEFAULT)?, engine.limits().log_entries_max);
    if lines > lines_max {
        return Err(Refusal::bad(format!(
            "max entries limit per query exceeded, limit > max_entries_limit_per_query ({lines} > {lines_max})"
        )));
    }
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
            for (name, value) in entry.metadata.iter() {
                note(&mut found, name, value, None);
            }
            let mut read_by = None;
            for (name, parser) in [("json", &json), ("logfmt", &logfmt)] {
                let Some(parser) = parser else { continue };
                fields.start(&pairs);
                if parser.run(entry.ts_ns, &entry.line, &mut fields).is_none() || fields.failed() {
                    continue;
                }
                read_by = Some(name);
                if name == "json" {
                    note_paths(&mut found, &entry.line);
                }
                for (field, value, category) in fields.iter() {
                    if category == logql::Category::Parsed {
                        note(&mut found, field, value, read_by);
                    }
                }
                break;
            }
            // What the query itself made of the line is of its parser, too, as Loki has it.
            for (name, value) in entry.parsed.iter().filter(|(name, _)| !name.starts_with("__error")) {
                note(&mut found, name, value, read_by);
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
        field.parsers.extend(parser.filter(|parser| !field.parsers.contains(parser)));
        if field.values.len() < VALUES_MAX && !field.values.contains(value) {
            field.values.insert(value.to_owned());
        }
    }
}

/// Where in the line each field is that `| json` makes of it.
fn note_paths(found: &mut BTreeMap<String, Field>, line: &str) {
    // What stands behind the object does not matter to `| json`.
    let first = serde_json::Deserializer::from_str(line).into_iter::<Value>().next();
    let Some(Ok(Value::Object(object))) = first else { return };
    let mut open: Vec<(String, Vec<String>, &serde_json::Map<String, Value>)> =
        vec![(String::new(), vec![], &object)];
    while let Some((prefix, path, object)) = open.pop() {
        for (key, value) in object {
            let spelled: String =
                key.trim().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            let name = match prefix.is_empty() {
                true if spelled.starts_with(|c: char| c.is_ascii_digit()) => format!("_{spelled}"),
                true => spelled,
                false => format!("{prefix}_{spelled}"),
            };
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
        } else if all(|value| logql::parse_float(value).is_some()) {
            "float"
        } else if all(is_truth) {
            "boolean"
        } else if all(|value| logql::parse_go_duration_ns(value).is_some()) {
            "duration"
        } else if all(|value| logql::parse_bytes(value).is_some()) {
            "bytes"
        } else {
            "string"
        }
    }
}

/// As Go reads it.
fn is_truth(value: &str) -> bool {
    matches!(
        value,
        "1" | "t" | "T" | "TRUE" | "true" | "True" | "0" | "f" | "F" | "FALSE" | "false" | "False"
    )
}

pub(super) async fn fields(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let limit = limit(&params)?;
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
            if field.parsers.contains(&"json") && !field.path.is_empty() {
                said["jsonPath"] = json!(field.path);
            }
            said
        })
        .collect();
    Ok(told("fields", fields, limit))
}

/// `field_limit` is its older name.
fn limit(params: &Params) -> Answer<usize> {
    let name = if params.get("limit").is_some_and(|text| !text.is_empty()) { "limit" } else { "field_limit" };
    params.limit(name, FIELDS_DEFAULT)
}

/// Loki leaves out an empty list, and the limit with it.
fn told(name: &str, found: Vec<Value>, limit: usize) -> Json<Value> {
    Json(if found.is_empty() { json!({}) } else { json!({ name: found, "limit": limit }) })
}

pub(super) async fn field_values(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(name): Path<String>,
    params: Params,
) -> Answer<Json<Value>> {
    let limit = limit(&params)?;
    let found = detected(&engine, &tenant, &params).await?;
    let values: BTreeSet<String> = match found.get(&name) {
        Some(field) if field.parsers.is_empty() => field.values.iter().cloned().collect(),
        Some(field) => field.values.iter().map(|value| as_in_a_query(value)).collect(),
        None => BTreeSet::new(),
    };
    Ok(told("values", values.into_iter().take(limit).map(Value::from).collect(), limit))
}

/// A size as it may stand in a query, as Loki rounds it; anything else as it is. Letters without a `b` may be minutes.
fn as_in_a_query(value: &str) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let is_size = value.ends_with(['b', 'B']);
    let Some(bytes) = logql::parse_bytes(value).filter(|_| is_size) else { return value.to_owned() };
    let (mut scaled, mut unit) = (bytes as f64, 0);
    while scaled >= 1_000.0 && unit + 1 < UNITS.len() {
        scaled /= 1_000.0;
        unit += 1;
    }
    let tenths = (scaled * 10.0 + 0.5).floor() / 10.0;
    let digits = usize::from(unit > 0 && tenths < 10.0);
    format!("{tenths:.digits$}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::{Field, as_in_a_query, note_paths};
    use std::collections::BTreeMap;

    #[test]
    fn fields_are_of_the_kinds_that_go_reads() {
        for (values, kind) in [
            (vec!["1", "-2"], "int"),
            (vec!["1", "2.5"], "float"),
            (vec!["0x1p4", "Inf", "1_000.5"], "float"),
            (vec!["true", "F", "1"], "boolean"),
            (vec!["1.5s", "2h3m"], "duration"),
            (vec!["1d"], "string"),
            (vec!["5KB", "1.5 MiB"], "bytes"),
            (vec!["5KB", "x"], "string"),
        ] {
            let field = Field {
                values: values.iter().map(|value| (*value).to_owned()).collect(),
                ..Field::default()
            };
            assert_eq!(field.kind(), kind, "{values:?}");
        }
    }

    #[test]
    fn paths_are_of_whatever_json_reads() {
        let mut found = BTreeMap::new();
        note_paths(&mut found, r#"{"9x":1,"a":{"b c":[2]}} trailing"#);
        let path = |name: &str| found.get(name).map(|field: &Field| field.path.join("/"));
        assert_eq!((path("_9x"), path("a_b_c")), (Some("9x".into()), Some("a/b c".into())));
        assert_eq!(path("a_b_c_extracted"), path("a_b_c"));
    }

    #[test]
    fn sizes_are_values_that_a_query_can_have() {
        for (value, told) in [
            ("5KB", "5.0kB"),
            ("2KiB", "2.0kB"),
            ("1.5MB", "1.5MB"),
            ("100B", "100B"),
            ("12345kb", "12MB"),
            ("5m", "5m"),
            ("7", "7"),
            ("b", "b"),
        ] {
            assert_eq!(as_in_a_query(value), told, "{value}");
        }
    }
}
