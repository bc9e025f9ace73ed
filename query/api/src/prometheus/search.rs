//! `/api/v1/search/…`: names of metrics and labels, and values of a label, as somebody types them. Answers are lines of
//! JSON: batches of results, then a line that says whether that was all (source: Prometheus' `web/api/v1/search.go`).

mod score;

use super::params::Params;
use super::{Answered, Refusal};
use crate::TenantHeader;
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use engine::{Engine, Found};
use model::{Clock, METRIC_NAME, Metadata, SystemClock, TimeRange};
use score::{Algorithm, Filter};
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/search/metric_names", get(metric_names).post(metric_names))
        .route("/search/label_names", get(label_names).post(label_names))
        .route("/search/label_values", get(label_values).post(label_values))
}

/// Results, and results of one line, where the caller names no number.
const LIMIT: usize = 100;
const BATCH: usize = 100;

/// Where the caller names no time, names of the last hour are sought.
const RANGE_MS: i64 = 3_600_000;

/// What all three have.
struct Search {
    selectors: Vec<String>,
    range: TimeRange,
    filter: Filter,
    order: Order,
    with_score: bool,
    limit: usize,
    batch: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Ascending,
    Descending,
    Score,
}

async fn metric_names(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answered<Response> {
    let search = Search::of(&params, "metric_names")?;
    let with_metadata = truth(&params, "include_metadata", false)?;
    let found = engine.prom_label_values(&tenant, METRIC_NAME, &search.selectors, search.range).await?;
    let known: HashMap<String, Metadata> = match with_metadata {
        true => engine.prom_metadata(&tenant).await?.into_iter().map(|one| (one.name.clone(), one)).collect(),
        false => HashMap::new(),
    };
    Ok(search.answer(found, |name, row| {
        if let Some(metadata) = known.get(name) {
            let told = [("type", metadata.kind.as_str()), ("help", &metadata.help), ("unit", &metadata.unit)];
            told.into_iter()
                .filter(|(_, text)| !text.is_empty())
                .for_each(|(key, text)| row[key] = json!(text));
        }
    }))
}

async fn label_names(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answered<Response> {
    let search = Search::of(&params, "label_names")?;
    let found = engine.prom_label_names(&tenant, &search.selectors, search.range).await?;
    Ok(search.answer(found, |_, _| ()))
}

async fn label_values(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answered<Response> {
    let search = Search::of(&params, "label_values")?;
    let Some(label) = params.get("label").filter(|label| !label.is_empty()) else {
        return Err(Refusal::bad("missing required parameter \"label\""));
    };
    let found = engine.prom_label_values(&tenant, label, &search.selectors, search.range).await?;
    Ok(search.answer(found, |_, _| ()))
}

impl Search {
    fn of(params: &Params, what: &str) -> Answered<Search> {
        let now_ms = SystemClock.now_ms();
        let range = TimeRange {
            start: params.time("start")?.unwrap_or(now_ms - RANGE_MS),
            end: params.time("end")?.unwrap_or(now_ms),
        };
        let given = |name: &str| params.get(name).filter(|text| !text.is_empty());
        let threshold = match given("fuzz_threshold") {
            None => 0,
            Some(text) => text
                .parse::<u8>()
                .ok()
                .filter(|percent| *percent <= 100)
                .ok_or_else(|| Refusal::bad(format!("invalid fuzz_threshold {text:?}: must be 0-100")))?,
        };
        let algorithm = match given("fuzz_alg") {
            None | Some("subsequence") => Algorithm::Subsequence,
            Some("jarowinkler") => Algorithm::JaroWinkler,
            Some(other) => {
                let why = format!("unsupported fuzz_alg {other:?}: must be one of [subsequence jarowinkler]");
                return Err(Refusal::bad(why));
            }
        };
        let searches = params.all("search[]");
        let order = order(given("sort_by"), given("sort_dir"), what, searches.is_empty())?;
        let case_sensitive = truth(params, "case_sensitive", true)?;
        Ok(Search {
            selectors: params.all("match[]"),
            range,
            filter: Filter::new(&searches, f64::from(threshold) / 100.0, algorithm, case_sensitive),
            order,
            with_score: truth(params, "include_score", false)?,
            limit: number(params, "limit", LIMIT)?,
            batch: number(params, "batch_size", BATCH)?,
        })
    }

    fn answer(&self, found: Found<String>, more: impl Fn(&str, &mut Value)) -> Response {
        let scored = found.found.into_iter().filter_map(|name| Some((self.filter.score(&name)?, name)));
        let mut scored: Vec<(f64, String)> = scored.collect();
        scored.sort_by(|a, b| match self.order {
            Order::Ascending => a.1.cmp(&b.1),
            Order::Descending => b.1.cmp(&a.1),
            Order::Score => b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal).then_with(|| a.1.cmp(&b.1)),
        });
        let has_more = scored.len() > self.limit;
        scored.truncate(self.limit);
        let rows: Vec<Value> = scored
            .into_iter()
            .map(|(score, name)| {
                let mut row = json!({ "name": name });
                if self.with_score {
                    row["score"] = json!(score);
                }
                more(&name, &mut row);
                row
            })
            .collect();
        let mut batches: Vec<Value> =
            rows.chunks(self.batch).map(|rows| json!({ "results": rows })).collect();
        if batches.is_empty() {
            batches.push(json!({ "results": [] }));
        }
        if !found.warnings.is_empty() {
            batches[0]["warnings"] = json!(found.warnings);
        }
        batches.push(json!({ "status": "success", "has_more": has_more }));
        let lines: String = batches.iter().map(|line| format!("{line}\n")).collect();
        ([(header::CONTENT_TYPE, "application/x-ndjson; charset=utf-8")], lines).into_response()
    }
}

fn order(by: Option<&str>, direction: Option<&str>, what: &str, nothing_sought: bool) -> Answered<Order> {
    let bad = |why: String| Err(Refusal::bad(why));
    match (by, direction) {
        (None, Some(_)) => return bad("sort_dir is only valid when sort_by is set".into()),
        (Some("score"), Some(_)) => return bad("sort_dir is not supported for sort_by=score".into()),
        (_, Some(other)) if other != "asc" && other != "dsc" => {
            return bad(format!("invalid sort_dir {other:?}: must be \"asc\" or \"dsc\""));
        }
        _ => {}
    }
    match by {
        Some("score") if nothing_sought => bad("sort_by=score requires search[] to be set".into()),
        Some("score") => Ok(Order::Score),
        None | Some("alpha") if direction == Some("dsc") => Ok(Order::Descending),
        None | Some("alpha") => Ok(Order::Ascending),
        Some(other) => bad(format!("invalid sort_by {other:?} for {what}: must be \"alpha\" or \"score\"")),
    }
}

/// As Go reads a truth.
fn truth(params: &Params, name: &str, unsaid: bool) -> Answered<bool> {
    match params.get(name) {
        None | Some("") => Ok(unsaid),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(Refusal::bad(format!("invalid {name} {other:?}: must be boolean"))),
    }
}

/// 0 is the number that is taken where none is given.
fn number(params: &Params, name: &str, unsaid: usize) -> Answered<usize> {
    let Some(text) = params.get(name).filter(|text| !text.is_empty()) else { return Ok(unsaid) };
    match text.parse() {
        Ok(0) => Ok(unsaid),
        Ok(number) => Ok(number),
        Err(_) => Err(Refusal::bad(format!("invalid {name} {text:?}: must be non-negative integer"))),
    }
}
