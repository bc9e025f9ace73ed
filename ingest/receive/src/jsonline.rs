//! Newline-delimited JSON, with VictoriaLogs' path, parameters and headers.

use crate::body;
use crate::doors::{Caller, Doors, Refusal, told};
use crate::prometheus::refused;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use model::{Batch, Clock, Receipt, SystemClock};
use std::collections::HashMap;
use std::sync::Arc;
use wire::compression::Encoding;
use wire::jsonline::{self, Options};
use wire::parts::Kind;

/// 200; what was left out is told with a 400, as the door of Loki does: the rest of the request is stored.
pub async fn insert(
    State(doors): State<Arc<Doors>>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match take(&doors, &parameters, headers, body).await {
        Ok(receipt) => match told(&receipt) {
            None => StatusCode::OK.into_response(),
            Some(why) => (StatusCode::BAD_REQUEST, why + "\n").into_response(),
        },
        Err(refusal) => refused(&doors, &refusal),
    }
}

async fn take(
    doors: &Doors,
    parameters: &HashMap<String, String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Receipt, Refusal> {
    let caller = Caller::of(&headers)?;
    let options = options(parameters, &headers)?;
    let body = body::read(doors, &headers, body, Encoding::Identity).await?.made_of(Kind::Json)?;
    let decoded = jsonline::decode(&body.bytes, &options, SystemClock.now_ns());
    doors.write(caller, Batch::Logs(decoded.batch), decoded.rejected).await
}

/// A parameter wins over the header of its name.
fn options(parameters: &HashMap<String, String>, headers: &HeaderMap) -> Result<Options, Refusal> {
    let list = |parameter: &str, header: &str| -> Vec<String> {
        let header = || headers.get(header)?.to_str().ok();
        let written = parameters.get(parameter).map(String::as_str).or_else(header).unwrap_or("");
        written.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let extra = list("extra_fields", "vl-extra-fields").into_iter().map(|pair| {
        pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| {
            let why = format!("extra_fields: {pair:?} is not name=value");
            Refusal::new(StatusCode::BAD_REQUEST, why)
        })
    });
    Ok(Options {
        times: list("_time_field", "vl-time-field"),
        lines: list("_msg_field", "vl-msg-field"),
        labels: list("_stream_fields", "vl-stream-fields"),
        ignored: list("ignore_fields", "vl-ignore-fields"),
        extra: extra.collect::<Result<_, _>>()?,
    })
}
