//! Remote write 1.0 and 2.0, and exposition text by POST.

use crate::body::{self, text};
use crate::doors::{Caller, Doors, Refusal, told};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{Batch, Clock, Receipt, SystemClock};
use std::sync::Arc;
use wire::compression::Encoding;
use wire::parts::{Kind, messages};

/// `/api/v1/write`. 204; what was left out is told with a 400, which Prometheus does not send again.
pub async fn write(State(doors): State<Arc<Doors>>, headers: HeaderMap, body: Body) -> Response {
    match Version::of(&headers) {
        Ok(Version::One) => answer(&doors, remote_write(&doors, Version::One, headers, body).await),
        Ok(Version::Two) => {
            let written = remote_write(&doors, Version::Two, headers, body).await;
            let counts = written.as_ref().map(Written::of).unwrap_or_default();
            counts.told(answer(&doors, written))
        }
        Err(refusal) => refused(&doors, &refusal),
    }
}

/// Of the remote write protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    One,
    Two,
}

impl Version {
    /// By the parameter `proto` of the content type; without it, 1.0.
    fn of(headers: &HeaderMap) -> Result<Version, Refusal> {
        let kind = text(headers, header::CONTENT_TYPE).unwrap_or("application/x-protobuf");
        let mut pieces = kind.split(';').map(str::trim);
        let is_protobuf =
            pieces.next().is_some_and(|main| main.eq_ignore_ascii_case("application/x-protobuf"));
        let message = pieces
            .filter_map(|piece| piece.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("proto"))
            .map(|(_, value)| value.trim().trim_matches('"'));
        match message {
            None | Some("prometheus.WriteRequest") if is_protobuf => Ok(Version::One),
            Some("io.prometheus.write.v2.Request") if is_protobuf => Ok(Version::Two),
            _ => {
                let why = format!(
                    "Content-Type {kind:?} is not known; remote write 1.0 is application/x-protobuf, \
                     2.0 is application/x-protobuf;proto=io.prometheus.write.v2.Request"
                );
                Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why))
            }
        }
    }
}

/// What version 2.0 says of a write whatever became of it: senders take its absence for an old receiver that found nothing.
#[derive(Default)]
struct Written {
    samples: u64,
    histograms: u64,
    exemplars: u64,
}

impl Written {
    fn of(receipt: &Receipt) -> Written {
        let Receipt { accepted, histograms, exemplars, .. } = *receipt;
        Written { samples: accepted - histograms, histograms, exemplars }
    }

    fn told(self, mut response: Response) -> Response {
        for (name, count) in [
            ("x-prometheus-remote-write-samples-written", self.samples),
            ("x-prometheus-remote-write-histograms-written", self.histograms),
            ("x-prometheus-remote-write-exemplars-written", self.exemplars),
        ] {
            response.headers_mut().insert(HeaderName::from_static(name), count.into());
        }
        response
    }
}

async fn remote_write(
    doors: &Doors,
    version: Version,
    headers: HeaderMap,
    body: Body,
) -> Result<Receipt, Refusal> {
    let caller = Caller::of(&headers)?;
    let encoding = text(&headers, header::CONTENT_ENCODING);
    if version == Version::Two && encoding.is_some_and(|encoding| encoding != "snappy") {
        let why = format!("Content-Encoding {encoding:?}: remote write 2.0 is compressed with snappy");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let parts = match version {
        Version::One => &messages::REMOTE_WRITE,
        Version::Two => &messages::REMOTE_WRITE_2,
    };
    let body = body::read(doors, &headers, body, Encoding::Snappy).await?.made_of(Kind::Protobuf(parts))?;
    let decoded = match version {
        Version::One => wire::remote_write::decode(&body.bytes)?,
        Version::Two => wire::remote_write::v2::decode(&body.bytes)?,
    };
    doors.write(caller, Batch::Metrics(decoded.batch), decoded.rejected).await
}

/// `/api/v1/import/prometheus`: exposition text, for scripts and for what cannot be scraped.
pub async fn import(State(doors): State<Arc<Doors>>, headers: HeaderMap, body: Body) -> Response {
    answer(&doors, exposition(&doors, headers, body).await)
}

async fn exposition(doors: &Doors, headers: HeaderMap, body: Body) -> Result<Receipt, Refusal> {
    let caller = Caller::of(&headers)?;
    let body = body::read(doors, &headers, body, Encoding::Identity).await?.made_of(Kind::Lines)?;
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
