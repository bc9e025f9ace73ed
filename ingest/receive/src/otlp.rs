//! OTLP over HTTP: protobuf and JSON. Answers are in the notation of the request; what was left out is a partial success.

use crate::body::{self, text};
use crate::doors::{Caller, Doors, Refusal, told};
use crate::prometheus::retry_after;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{Batch, Receipt};
use prost::Message;
use serde_json::json;
use std::sync::Arc;
use wire::compression::Encoding;
use wire::otlp::{self, Notation};
use wire::parts::{Kind, messages};

pub async fn metrics(State(doors): State<Arc<Doors>>, headers: HeaderMap, body: Body) -> Response {
    answer(Signal::Metrics, &doors, &headers, body).await
}

pub async fn logs(State(doors): State<Arc<Doors>>, headers: HeaderMap, body: Body) -> Response {
    answer(Signal::Logs, &doors, &headers, body).await
}

pub async fn traces(State(doors): State<Arc<Doors>>, headers: HeaderMap, body: Body) -> Response {
    answer(Signal::Traces, &doors, &headers, body).await
}

#[derive(Clone, Copy)]
enum Signal {
    Metrics,
    Logs,
    Traces,
}

impl Signal {
    /// What a request in protobuf is.
    fn message(self) -> &'static messages::Message {
        match self {
            Signal::Metrics => &messages::METRICS,
            Signal::Logs => &messages::LOGS,
            Signal::Traces => &messages::TRACES,
        }
    }

    /// How an answer in JSON calls the count of what was left out.
    fn rejected(self) -> &'static str {
        match self {
            Signal::Metrics => "rejectedDataPoints",
            Signal::Logs => "rejectedLogRecords",
            Signal::Traces => "rejectedSpans",
        }
    }
}

async fn answer(signal: Signal, doors: &Arc<Doors>, headers: &HeaderMap, body: Body) -> Response {
    let notation = match notation(headers) {
        Ok(notation) => notation,
        Err(refusal) => return refuse(doors, Notation::Json, &refusal),
    };
    match take(signal, doors, headers, body, notation).await {
        Ok(receipt) => success(notation, &receipt, signal.rejected()),
        Err(refusal) => refuse(doors, notation, &refusal),
    }
}

async fn take(
    signal: Signal,
    doors: &Arc<Doors>,
    headers: &HeaderMap,
    body: Body,
    notation: Notation,
) -> Result<Receipt, Refusal> {
    let caller = Caller::of(headers)?;
    let body = body::read(doors, headers, body, Encoding::Identity).await?;
    let body = body.made_of(Kind::of(notation, signal.message()))?;
    match signal {
        Signal::Metrics => doors.write_otlp_metrics(caller, notation.read(&body.bytes)?).await,
        Signal::Logs => doors.write_otlp_logs(caller, notation.read(&body.bytes)?).await,
        Signal::Traces => {
            let decoded = otlp::decode_spans(notation, &body.bytes, &doors.resources)?;
            doors.write(caller, Batch::Spans(decoded.batch), decoded.rejected).await
        }
    }
}

fn notation(headers: &HeaderMap) -> Result<Notation, Refusal> {
    let kind = text(headers, header::CONTENT_TYPE).unwrap_or("");
    Notation::from_content_type(kind).ok_or_else(|| {
        let why = format!("Content-Type {kind:?}: OTLP is application/x-protobuf or application/json");
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why)
    })
}

/// `partial_success` as the three response messages have it: they differ in the name of the count alone.
#[derive(Clone, PartialEq, prost::Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

fn success(notation: Notation, receipt: &Receipt, rejected: &'static str) -> Response {
    let partial = told(receipt)
        .map(|error_message| PartialSuccess { rejected: receipt.rejected_count() as i64, error_message });
    match notation {
        Notation::Protobuf => protobuf(StatusCode::OK, &ExportResponse { partial_success: partial }),
        Notation::Json => axum::Json(match partial {
            None => json!({ "partialSuccess": {} }),
            Some(partial) => json!({ "partialSuccess": {
                rejected: partial.rejected.to_string(), "errorMessage": partial.error_message } }),
        })
        .into_response(),
    }
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

fn refuse(doors: &Doors, notation: Notation, refusal: &Refusal) -> Response {
    doors.count_refusal(refusal);
    let code = match refusal.status.as_u16() {
        429 => 8,
        503 => 14,
        _ => 3,
    };
    let mut response = match notation {
        Notation::Protobuf => protobuf(refusal.status, &Status { code, message: refusal.why.clone() }),
        Notation::Json => {
            (refusal.status, axum::Json(json!({ "code": code, "message": refusal.why }))).into_response()
        }
    };
    retry_after(&mut response, refusal);
    response
}

fn protobuf(status: StatusCode, message: &impl Message) -> Response {
    (status, [(header::CONTENT_TYPE, "application/x-protobuf")], message.encode_to_vec()).into_response()
}
