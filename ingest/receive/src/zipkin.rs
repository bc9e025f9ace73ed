//! Zipkin's `POST /api/v2/spans`: JSON or protobuf. Its older thrift is told where to go.

use crate::body::{self, text};
use crate::doors::{Caller, Doors, Refusal, told};
use crate::prometheus::refused;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{Batch, Receipt, SpanBatch};
use std::sync::Arc;
use wire::compression::Encoding;
use wire::parts::{Kind, messages};
use wire::{Decoded, Malformed};

type Decode = fn(&[u8]) -> Result<Decoded<SpanBatch>, Malformed>;

/// 202, as Zipkin says it; what was left out is told with it.
pub async fn spans(State(doors): State<Arc<Doors>>, headers: HeaderMap, body: Body) -> Response {
    match take(&doors, headers, body).await {
        Ok(receipt) => {
            (StatusCode::ACCEPTED, told(&receipt).map_or_else(String::new, |why| why + "\n")).into_response()
        }
        Err(refusal) => refused(&doors, &refusal),
    }
}

async fn take(doors: &Doors, headers: HeaderMap, body: Body) -> Result<Receipt, Refusal> {
    let caller = Caller::of(&headers)?;
    // As in Zipkin, whatever names no other of its formats is JSON.
    let kind = text(&headers, header::CONTENT_TYPE).unwrap_or("");
    let (kind, decode): (Kind, Decode) = match kind.split(';').next().unwrap_or("").trim() {
        "application/x-protobuf" | "application/protobuf" => {
            (Kind::Protobuf(&messages::ZIPKIN), wire::zipkin::decode_protobuf)
        }
        "application/x-thrift" => {
            let why = format!(
                "Content-Type {kind:?}: Zipkin's spans are taken as application/json or application/x-protobuf, version 2"
            );
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        _ => (Kind::Json, wire::zipkin::decode_json),
    };
    let body = body::read(doors, &headers, body, Encoding::Identity).await?.made_of(kind)?;
    if body.bytes.is_empty() {
        return Ok(Receipt::default());
    }
    let decoded = decode(&body.bytes)?;
    doors.write(caller, Batch::Spans(decoded.batch), decoded.rejected).await
}
