//! Loki push: protobuf in snappy, or JSON.

use crate::body::{self, text};
use crate::doors::{Caller, Doors, Refusal};
use crate::prometheus::refused;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{Batch, Receipt, RejectReason};
use std::sync::Arc;
use wire::compression::Encoding;
use wire::parts::{Kind, messages};

/// 204; what was left out is told with a 400, or a 429 where waiting helps, as Loki does: the rest of the request is
/// stored.
pub async fn push(State(doors): State<Arc<Doors>>, headers: HeaderMap, body: Body) -> Response {
    match take(&doors, headers, body).await {
        Ok(receipt) if receipt.rejected.is_empty() => StatusCode::NO_CONTENT.into_response(),
        Ok(receipt) => {
            let too_fast = receipt.rejected.iter().any(|row| row.reason == RejectReason::StreamRateLimit);
            let status = if too_fast { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::BAD_REQUEST };
            (status, left_out(&receipt) + "\n").into_response()
        }
        Err(refusal) => refused(&doors, &refusal),
    }
}

/// One of each kind and how many there are, in the form in which Loki groups its errors.
fn left_out(receipt: &Receipt) -> String {
    let kinds: Vec<String> = receipt
        .rejected
        .iter()
        .map(|row| match row.count {
            1 => row.example.clone(),
            many => format!("{many} errors like: {}", row.example),
        })
        .collect();
    kinds.join("; ")
}

async fn take(doors: &Doors, headers: HeaderMap, body: Body) -> Result<Receipt, Refusal> {
    let caller = Caller::of(&headers)?;
    let kind = text(&headers, header::CONTENT_TYPE).unwrap_or("application/x-protobuf").to_owned();
    let decoded = match kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase().as_str() {
        "application/json" => {
            let body = body::read(doors, &headers, body, Encoding::Identity).await?.made_of(Kind::Json)?;
            wire::loki::decode_json(&body.bytes, &doors.config.service_name_from)?
        }
        "application/x-protobuf" => {
            let body = body::read(doors, &headers, body, Encoding::Snappy).await?;
            let body = body.made_of(Kind::Protobuf(&messages::LOKI_PUSH))?;
            wire::loki::decode_protobuf(&body.bytes, &doors.config.service_name_from)?
        }
        other => {
            let why =
                format!("Content-Type {other:?}: Loki push is application/x-protobuf or application/json");
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
    };
    if decoded.batch.streams.is_empty() && decoded.rejected.0.is_empty() {
        let why = "error at least one valid stream is required for ingestion";
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, why));
    }
    doors.write(caller, Batch::Logs(decoded.batch), decoded.rejected).await
}
