//! InfluxDB's write calls, of version 1 (`/write`) and 2 (`/api/v2/write`), for Telegraf and what speaks like it.

use crate::body;
use crate::doors::{Caller, Doors, Refusal, told};
use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use model::{Batch, Clock, Receipt, SystemClock};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use wire::compression::Encoding;
use wire::influx::{self, Precision};
use wire::parts::Kind;

#[derive(Deserialize)]
pub struct Params {
    #[serde(default)]
    precision: String,
    db: Option<String>,
}

/// Before it writes, Telegraf asks whether somebody is there.
pub async fn ping() -> Response {
    (StatusCode::NO_CONTENT, [("x-influxdb-version", "1.8.0")]).into_response()
}

pub async fn write(
    State(doors): State<Arc<Doors>>,
    Query(params): Query<Params>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match lines(&doors, &params, headers, body).await {
        Ok(receipt) => match told(&receipt) {
            None => StatusCode::NO_CONTENT.into_response(),
            Some(why) => wrong(StatusCode::BAD_REQUEST, &format!("partial write: {why}")),
        },
        Err(refusal) => {
            doors.count_refusal(&refusal);
            let mut response = wrong(refusal.status, &refusal.why);
            crate::prometheus::retry_after(&mut response, &refusal);
            response
        }
    }
}

/// Version 1 reads `error`, version 2 `code` and `message`.
fn wrong(status: StatusCode, why: &str) -> Response {
    let code = match status.as_u16() {
        400 => "invalid",
        413 => "request too large",
        429 => "too many requests",
        _ => "unavailable",
    };
    (status, Json(json!({ "error": why, "code": code, "message": why }))).into_response()
}

async fn lines(doors: &Doors, params: &Params, headers: HeaderMap, body: Body) -> Result<Receipt, Refusal> {
    let caller = Caller::of(&headers)?;
    let precision = Precision::from_word(&params.precision).ok_or_else(|| {
        let why = format!("precision {:?} is not known; use ns, us, ms, s, m or h", params.precision);
        Refusal::new(StatusCode::BAD_REQUEST, why)
    })?;
    let body = body::read(doors, &headers, body, Encoding::Identity).await?.made_of(Kind::Lines)?;
    let text = std::str::from_utf8(&body.bytes)
        .map_err(|wrong| Refusal::new(StatusCode::BAD_REQUEST, format!("the body is not UTF-8: {wrong}")))?;
    let db = params.db.as_deref().filter(|db| !db.is_empty());
    let decoded = influx::decode(text, precision, db, SystemClock.now_ms());
    doors.write(caller, Batch::Metrics(decoded.batch), decoded.rejected).await
}
