//! `/loki/api/v1/delete`, as Loki's compactor has it: lines are deleted by a query and a range of time, deletions are
//! listed, and taken back as long as they may be.

use super::params::Params;
use super::{Answer, Refusal, now_ns};
use crate::TenantHeader;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
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
            CancelError::PastDeadline(period) => {
                let period = logql::go_duration(i64::try_from(period.as_nanos()).unwrap_or(i64::MAX));
                return Refusal::bad(format!(
                    "Cancellation of partially completed delete request or delete request past the deadline of {period} since its \
                     creation is not allowed. To force, use the ?force query parameter"
                ));
            }
            CancelError::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal(status, error.to_string())
    }
}

async fn delete(
    State(store): State<Arc<Store>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<impl IntoResponse> {
    let Some(query) = params.get("query").filter(|query| !query.trim().is_empty()) else {
        return Err(Refusal::bad("query not set"));
    };
    let read = logql::read_log_query(query).map_err(DeleteError::Invalid)?;
    let range = range(&params, now_ns())?;
    if read.judge.is_some() {
        interval(&params, range.end - range.start)?;
    }
    let request_id = store.delete_logs(&tenant, query, range).await?;
    Ok((StatusCode::NO_CONTENT, [("X-Delete-Request-ID", request_id)]))
}

/// Loki counts milliseconds here; of the last one all is meant.
fn range(params: &Params, now_ns: i64) -> Answer<TimeRange> {
    let start = time(params, "start")?.ok_or_else(|| Refusal::bad("start time not set"))?;
    let end = time(params, "end")?.unwrap_or(now_ns);
    if end > now_ns {
        return Err(Refusal::bad("deletes in the future are not allowed"));
    }
    if start >= end {
        return Err(Refusal::bad("start time can't be greater than or equal to end time"));
    }
    Ok(TimeRange { start, end })
}

/// Seconds in ten digits, or RFC 3339. Queries take more, but who names milliseconds here, which are years less in nanoseconds,
/// would delete what he did not mean.
fn time(params: &Params, name: &str) -> Answer<Option<i64>> {
    let text = params.get(name).unwrap_or_default();
    let is_known =
        text.contains(['T', 't']) || text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    let refused = || Refusal::bad(format!("invalid {name} time: require unix seconds or RFC3339 format"));
    if !text.is_empty() && !is_known {
        return Err(refused());
    }
    params.time(name).map_err(|_| refused())
}

/// `max_interval` cuts a deletion by more than labels into pieces that Loki works on one by one. Here parts are the pieces, so
/// that it changes nothing; what Loki would refuse is refused.
fn interval(params: &Params, whole_ns: i64) -> Answer<()> {
    let Some(text) = params.get("max_interval").filter(|text| !text.is_empty()) else { return Ok(()) };
    let interval = logql::parse_go_duration_ns(text).filter(|interval| *interval >= 1_000 * NS_PER_MS);
    let interval =
        interval.ok_or_else(|| Refusal::bad("invalid max_interval: valid time units are 's', 'm', 'h'"))?;
    if interval > whole_ns {
        let whole = logql::go_duration(whole_ns / NS_PER_MS * NS_PER_MS);
        let why = format!("max_interval can't be greater than the interval to be deleted ({whole})");
        return Err(Refusal::bad(why));
    }
    Ok(())
}

/// With `start` and `end` those that have any of that time.
async fn list(
    State(store): State<Arc<Store>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let seconds = |ms: i64| ms as f64 / 1e3;
    let asked = match (time(&params, "start")?, time(&params, "end")?) {
        (Some(start), Some(end)) => TimeRange { start, end },
        _ => TimeRange::ALL,
    };
    let mut deletions = store.log_deletions(&tenant);
    deletions.retain(|deletion| deletion.range.start <= asked.end && asked.start <= deletion.range.end);
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
    Ok(Json(shown.collect()))
}

async fn cancel(
    State(store): State<Arc<Store>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<StatusCode> {
    let request_id = params.get("request_id").unwrap_or("");
    match params.get("force") {
        Some("true") => store.cancel_what_is_left(&tenant, request_id).await?,
        _ => store.cancel_log_deletion(&tenant, request_id).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests;
