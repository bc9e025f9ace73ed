//! Loki push: protobuf in snappy, or JSON.

use crate::body::{self, text};
use crate::doors::{Caller, Doors, Refusal, told};
use crate::prometheus::refused;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{Batch, Receipt};
use std::sync::Arc;
use wire::compression::Encoding;

/// 204; what was left out is told with a 400, as Loki does: the rest of the request is stored.
pub async fn push(State(doors): State<Arc<Doors>>, headers: HeaderMap, body: Body) -> Response {
    match take(&doors, headers, body).await {
        Ok(receipt) => match told(&receipt) {
            None => StatusCode::NO_CONTENT.into_response(),
            Some(why) => (StatusCode::BAD_REQUEST, why + "\n").into_response(),
        },
        Err(refusal) => refused(&doors, &refusal),
    }
}

async fn take(doors: &Doors, headers: HeaderMap, body: Body) -> Result<Receipt, Refusal> {
    let caller = Caller::of(&headers)?;
    let kind = text(&headers, header::CONTENT_TYPE).unwrap_or("application/x-protobuf").to_owned();
    let decoded = match kind.split(';').next().unwrap_or("").trim() {
        "application/json" => {
            let body = body::read(doors, &headers, body, Encoding::Identity).await?;
            wire::loki::decode_json(&body.bytes)?
        }
        "application/x-protobuf" => {
            let body = body::read(doors, &headers, body, Encoding::Snappy).await?;
            wire::loki::decode_protobuf(&body.bytes)?
        }
        other => {
            let why =
                format!("Content-Type {other:?}: Loki push is application/x-protobuf or application/json");
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
    };
    doors.write(caller, Batch::Logs(decoded.batch), decoded.rejected).await
}
