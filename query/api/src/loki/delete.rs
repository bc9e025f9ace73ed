//! `/loki/api/v1/delete`, as Loki's compactor has it: lines are deleted by a query and a range of time, deletions are
//! listed, and taken back as long as they may be.

use super::params::Params;
use super::{Answer, Refusal, now_ns};
use crate::TenantHeader;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use model::TimeRange;
use serde_json::{Value, json};
use std::sync::Arc;
use store::{CancelError, DeleteError, Store};

const NS_PER_MS: i64 = 1_000_000;

pub fn router(store: Arc<Store>) -> Router {
    let methods = get(list).post(delete).put(delete).delete(cancel);
    Router::new().route("/loki/api/v1/delete", methods).with_state(store)
}

impl From<DeleteError> for Refusal {
    fn from(error: DeleteError) -> Self {
        let status = match &error {
            DeleteError::TooMany => StatusCode::TOO_MANY_REQUESTS,
            DeleteError::Invalid(why) => return Refusal::bad(format!("invalid query expression: {why}")),
            DeleteError::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal(status, error.to_string())
    }
}

impl From<CancelError> for Refusal {
    fn from(error: CancelError) -> Self {
        let status = match &error {
            CancelError::Unknown => StatusCode::NOT_FOUND,
            CancelError::TooLate => StatusCode::BAD_REQUEST,
            CancelError::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal(status, error.to_string())
    }
}

async fn delete(
    State(store): State<Arc<Store>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<StatusCode> {
    let Some(query) = params.get("query").filter(|query| !query.trim().is_empty()) else {
        return Err(Refusal::bad("query not set"));
    };
    let range = range(&params, now_ns())?;
    store.delete_logs(&tenant, query, range).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Loki counts milliseconds here; of the last one all is meant.
fn range(params: &Params, now_ns: i64) -> Answer<TimeRange> {
    let invalid =
        |name: &str| Refusal::bad(format!("invalid {name} time: require unix seconds or RFC3339 format"));
    let start = params.time("start").map_err(|_| invalid("start"))?;
    let start = start.ok_or_else(|| Refusal::bad("start time not set"))?;
    let end = params.time("end").map_err(|_| invalid("end"))?.unwrap_or(now_ns);
    if end > now_ns {
        return Err(Refusal::bad("deletes in the future are not allowed"));
    }
    if start >= end {
        return Err(Refusal::bad("start time can't be greater than or equal to end time"));
    }
    interval(params, start, end)?;
    Ok(TimeRange { start, end })
}

/// `max_interval` cuts a deletion into pieces that Loki works on one by one. Here parts are the pieces, so that it changes
/// nothing; what Loki would refuse is refused.
fn interval(params: &Params, start: i64, end: i64) -> Answer<()> {
    let Some(text) = params.get("max_interval").filter(|text| !text.is_empty()) else { return Ok(()) };
    let interval = logql::parse_duration_ns(text).filter(|interval| *interval >= 1_000 * NS_PER_MS);
    let interval =
        interval.ok_or_else(|| Refusal::bad("invalid max_interval: valid time units are 's', 'm', 'h'"))?;
    if interval > end - start {
        let whole = logql::format_duration(end - start);
        let why = format!("max_interval can't be greater than the interval to be deleted ({whole})");
        return Err(Refusal::bad(why));
    }
    Ok(())
}

async fn list(State(store): State<Arc<Store>>, TenantHeader(tenant): TenantHeader) -> Json<Value> {
    let seconds = |ms: i64| ms as f64 / 1e3;
    let deletions = store.log_deletions(&tenant);
    let shown = deletions.into_iter().map(|deletion| {
        json!({
            "request_id": deletion.request_id,
            "start_time": seconds(deletion.range.start.div_euclid(NS_PER_MS)),
            "end_time": seconds(deletion.range.end.div_euclid(NS_PER_MS)),
            "query": deletion.query,
            "status": if deletion.processed { "processed" } else { "received" },
            "created_at": seconds(deletion.created_ms),
        })
    });
    Json(shown.collect())
}

async fn cancel(
    State(store): State<Arc<Store>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<StatusCode> {
    store.cancel_log_deletion(&tenant, params.get("request_id").unwrap_or("")).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests;
