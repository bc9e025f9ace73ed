//! Our own questions for causes: `/api/bottlenecks` (what slows a service's requests), `/api/compare` (what tells a
//! selection of traces or log lines from a baseline) and `/api/trace/{id}` (a trace from the top, each span beside what it
//! usually takes).
//!
//! Times are seconds, milliseconds or nanoseconds since 1970, or RFC 3339; without them the last hour is asked.

use crate::refusal::status;
use crate::{TenantHeader, traces};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use engine::{Engine, TreeSpan};
use model::{Clock, SystemClock, TimeRange};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

const HOUR_NS: i64 = 3_600_000_000_000;

pub fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/api/bottlenecks", get(bottlenecks))
        .route("/api/compare", get(compare))
        .route("/api/trace/{id}", get(trace))
        .with_state(engine)
}

#[derive(Deserialize)]
struct Bottlenecks {
    service: Option<String>,
    start: Option<String>,
    end: Option<String>,
}

#[derive(Deserialize)]
struct Compare {
    selection: Option<String>,
    baseline: Option<String>,
    start: Option<String>,
    end: Option<String>,
    /// The selection is of a part of the time where these are given.
    selection_start: Option<String>,
    selection_end: Option<String>,
}

async fn bottlenecks(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Result<Query<Bottlenecks>, QueryRejection>,
) -> Response {
    let range = asked.map_err(|wrong| wrong.body_text()).and_then(|Query(asked)| {
        let range = range(asked.start.as_deref(), asked.end.as_deref())?;
        Ok((asked.service.filter(|name| !name.is_empty()), range))
    });
    let (service, range) = match range {
        Ok(right) => right,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &why),
    };
    let answer = match engine.bottlenecks(&tenant, service.as_deref(), range).await {
        Ok(answer) => answer,
        Err(wrong) => return refuse(status(&wrong), &wrong.to_string()),
    };
    let bottlenecks: Vec<Value> = answer
        .found
        .iter()
        .map(|found| {
            json!({
                "service": found.service,
                "operation": found.operation,
                "adds_ms": found.adds_ms,
                "usual_ms": found.usual_ms,
                "share_of_requests": found.share_of_requests,
                "share_of_time": found.share_of_time,
                "share_of_p95": found.share_of_p95,
                "of": found.of.as_deref().unwrap_or("all services"),
                "slowed": found.slowed,
                "traces": found.traces.iter().map(hex::encode).collect::<Vec<_>>(),
            })
        })
        .collect();
    let mut body = json!({
        "bottlenecks": bottlenecks,
        "critical_path": answer.path.iter().map(on_path).collect::<Vec<_>>(),
        "p95_ms": answer.p95_ms,
        "requests": answer.requests,
        "sampled": answer.sampled,
    });
    if !answer.warnings.is_empty() {
        body["warnings"] = json!(answer.warnings);
    }
    Json(body).into_response()
}

fn on_path(on: &engine::OnPath) -> Value {
    json!({
        "service": on.service,
        "operation": on.operation,
        "share_of_time": on.share_of_time,
        "share_of_p95": on.share_of_p95,
        "share_of_requests": on.share_of_requests,
        "mean_ms": on.mean_ms,
    })
}

async fn compare(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Result<Query<Compare>, QueryRejection>,
) -> Response {
    let asked = asked.map_err(|wrong| wrong.body_text()).and_then(|Query(asked)| {
        let selection = asked.selection.filter(|query| !query.trim().is_empty()).ok_or_else(|| {
            "`selection` is missing: TraceQL as { duration > 300ms } or LogQL as {service_name=\"cart\"}"
                .to_owned()
        })?;
        let within = range(asked.start.as_deref(), asked.end.as_deref())?;
        let part = match (asked.selection_start.as_deref(), asked.selection_end.as_deref()) {
            (None, None) => within,
            (Some(start), Some(end)) => range(Some(start), Some(end))?,
            _ => return Err("selection_start and selection_end go together".to_owned()),
        };
        Ok((selection, asked.baseline.filter(|query| !query.trim().is_empty()), part, within))
    });
    let (selection, baseline, part, range) = match asked {
        Ok(right) => right,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &why),
    };
    let answer = match engine.compare(&tenant, (&selection, part), baseline.as_deref(), range).await {
        Ok(answer) => answer,
        Err(wrong) => return refuse(status(&wrong), &wrong.to_string()),
    };
    let differences: Vec<Value> = answer
        .differences
        .iter()
        .map(|one| {
            json!({
                "attribute": one.attribute,
                "value": one.value,
                "selection_count": one.selection_count,
                "baseline_count": one.baseline_count,
                "selection_share": one.selection_share,
                "baseline_share": one.baseline_share,
                "score": one.score,
            })
        })
        .collect();
    let mut body = json!({
        "differences": differences,
        "selection": answer.selection,
        "baseline": answer.baseline,
    });
    if !answer.warnings.is_empty() {
        body["warnings"] = json!(answer.warnings);
    }
    Json(body).into_response()
}

async fn trace(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(id): Path<String>,
) -> Response {
    let id = match traces::trace_id(&id) {
        Ok(id) => id,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &why),
    };
    let tree = match engine.trace_tree(&tenant, id, None).await {
        Ok(tree) => tree,
        Err(wrong) => return refuse(status(&wrong), &wrong.to_string()),
    };
    if tree.spans.is_empty() && tree.warnings.is_empty() {
        return refuse(StatusCode::NOT_FOUND, &format!("trace {} is not known", hex::encode(id)));
    }
    let mut body = json!({
        "trace_id": hex::encode(id),
        "spans": tree.spans.iter().map(span).collect::<Vec<_>>(),
    });
    if !tree.warnings.is_empty() {
        body["warnings"] = json!(tree.warnings);
    }
    Json(body).into_response()
}

fn span(span: &TreeSpan) -> Value {
    let ms = |ns: i64| ns as f64 / 1e6;
    let usual = |usual: &engine::Usual| json!({ "p50_ms": ms(usual.p50_ns), "p95_ms": ms(usual.p95_ns), "spans": usual.spans });
    json!({
        "depth": span.depth,
        "span_id": hex::encode(span.span_id),
        "parent_span_id": span.parent_span_id.map(hex::encode),
        "service": span.service,
        "name": span.name,
        "kind": span.kind.as_str(),
        "status": span.status.as_str(),
        "start_ns": span.start_ns.to_string(),
        "duration_ms": ms(span.duration_ns),
        "critical_ms": ms(span.critical_ns),
        "usual": span.usual.as_ref().map(usual),
    })
}

fn range(start: Option<&str>, end: Option<&str>) -> Result<TimeRange, String> {
    let read = |name: &str, text: Option<&str>| match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => time_ns(text).map(Some).ok_or_else(|| {
            format!(
                "{name} is {text:?}; write seconds, milliseconds or nanoseconds since 1970, or RFC 3339, as \
                 2026-01-02T15:04:05Z"
            )
        }),
    };
    let end = read("end", end)?.unwrap_or_else(|| SystemClock.now_ns());
    let start = read("start", start)?.unwrap_or_else(|| end.saturating_sub(HOUR_NS));
    if start > end {
        return Err("start is after end; swap them".to_owned());
    }
    Ok(TimeRange { start, end })
}

/// Seconds have at most 11 digits, milliseconds up to 14, longer ones are nanoseconds.
fn time_ns(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<i64>() {
        let unit_ns = match text.trim_start_matches(['-', '+']).len() {
            ..=11 => 1_000_000_000,
            12..=14 => 1_000_000,
            _ => 1,
        };
        return number.checked_mul(unit_ns);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1e3).round();
        return (ms.abs() < 9.2e12).then(|| ms as i64 * 1_000_000);
    }
    chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt()
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written_elsewhere() {
        let noon_ns = 1_772_366_400_000_000_000;
        for text in [
            "1772366400",
            "1772366400.0",
            "1772366400000",
            "1772366400000000000",
            "2026-03-01T12:00:00Z",
            "2026-03-01T13:00:00+01:00",
        ] {
            assert_eq!(time_ns(text), Some(noon_ns), "{text}");
        }
        assert_eq!((time_ns("yesterday"), time_ns("1e300"), time_ns("NaN")), (None, None, None));
    }

    #[test]
    fn a_range_that_is_none_is_refused_by_name() {
        assert!(range(Some("5"), Some("4")).unwrap_err().contains("swap"));
        assert!(range(Some("x"), None).unwrap_err().contains("start is \"x\""));
        let last_hour = range(None, Some("7200")).unwrap();
        assert_eq!(last_hour.start, HOUR_NS);
    }
}
