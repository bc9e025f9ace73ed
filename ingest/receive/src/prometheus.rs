//! Remote write 1.0, and exposition text by POST.

use crate::body::{self, text};
use crate::doors::{Caller, Doors, Refusal, told};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{Batch, Clock, Receipt, SystemClock};
use std::sync::Arc;
use wire::compression::Encoding;

/// `/api/v1/write`. 204; what was left out is told with a 400, which Prometheus does not send again.
pub async fn write(State(doors): State<Arc<Doors>>, headers: HeaderMap, body: Body) -> Response {
    answer(&doors, remote_write(&doors, headers, body).await)
}

async fn remote_write(doors: &Doors, headers: HeaderMap, body: Body) -> Result<Receipt, Refusal> {
    let caller = Caller::of(&headers)?;
    let kind = text(&headers, header::CONTENT_TYPE).unwrap_or("application/x-protobuf");
    let (main, proto) = kind.split_once(';').map_or((kind, ""), |(main, rest)| (main, rest));
    if main.trim() != "application/x-protobuf" || proto.contains("io.prometheus.write.v2") {
        let why = format!(
            "Content-Type {kind:?}: remote write 1.0 is application/x-protobuf (prometheus.WriteRequest)"
        );
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let body = body::read(doors, &headers, body, Encoding::Snappy).await?;
    let decoded = wire::remote_write::decode(&body.bytes)?;
    doors.write(caller, Batch::Metrics(decoded.batch), decoded.rejected).await
}

/// `/api/v1/import/prometheus`: exposition text, for scripts and for what cannot be scraped.
pub async fn import(State(doors): State<Arc<Doors>>, headers: HeaderMap, body: Body) -> Response {
    answer(&doors, exposition(&doors, headers, body).await)
}

async fn exposition(doors: &Doors, headers: HeaderMap, body: Body) -> Result<Receipt, Refusal> {
    let caller = Caller::of(&headers)?;
    let body = body::read(doors, &headers, body, Encoding::Identity).await?;
    let text = std::str::from_utf8(&body.bytes)
        .map_err(|wrong| Refusal::new(StatusCode::BAD_REQUEST, format!("the body is not UTF-8: {wrong}")))?;
    let decoded = wire::exposition::parse(text, SystemClock.now_ms())?;
    doors.write(caller, Batch::Metrics(decoded.batch), decoded.rejected).await
}

fn answer(doors: &Doors, written: Result<Receipt, Refusal>) -> Response {
    match written {
        Ok(receipt) => match told(&receipt) {
            None => StatusCode::NO_CONTENT.into_response(),
            Some(why) => (StatusCode::BAD_REQUEST, why + "\n").into_response(),
        },
        Err(refusal) => refused(doors, &refusal),
    }
}

/// A refusal as plain text.
pub fn refused(doors: &Doors, refusal: &Refusal) -> Response {
    doors.count_refusal(refusal);
    let mut response = (refusal.status, format!("{}\n", refusal.why)).into_response();
    retry_after(&mut response, refusal);
    response
}

pub fn retry_after(response: &mut Response, refusal: &Refusal) {
    if let Some(after) = refusal.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, after.as_secs().max(1).into());
    }
}
