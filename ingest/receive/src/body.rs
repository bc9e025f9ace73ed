//! A request's body: read whole and decompressed, both within their bounds.

use crate::doors::{Doors, Refusal};
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::SemaphorePermit;
use wire::compression::{DecompressError, Encoding};

/// The raw body, and the room it takes until it is dropped.
pub struct Read<'d> {
    pub bytes: Bytes,
    _room: SemaphorePermit<'d>,
}

/// What a body is compressed with when its header does not say.
pub async fn read<'d>(
    doors: &'d Doors,
    headers: &HeaderMap,
    body: Body,
    unsaid: Encoding,
) -> Result<Read<'d>, Refusal> {
    let max = doors.config.body_bytes_max;
    let too_large = || {
        let why = format!("the body is larger than {max} bytes; send smaller batches");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why)
    };
    let encoding = match text(headers, header::CONTENT_ENCODING) {
        None => unsaid,
        Some(name) => Encoding::from_header(name).ok_or_else(|| {
            let why = format!("Content-Encoding {name:?} is not known; use gzip, zstd or snappy");
            Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why)
        })?,
    };
    let announced = text(headers, header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(too_large());
    }
    let expected = announced.unwrap_or(1 << 20);
    let mut room = doors.admit(expected)?;
    let compressed = Limited::new(body, max).collect().await.map_err(|wrong| {
        if wrong.downcast_ref::<LengthLimitError>().is_some() {
            too_large()
        } else {
            Refusal::new(StatusCode::BAD_REQUEST, format!("the body ended early: {wrong}"))
        }
    })?;
    let bytes =
        encoding.decompress(compressed.to_bytes(), doors.config.decompressed_bytes_max).map_err(|wrong| {
            let status = match wrong {
                DecompressError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                DecompressError::Malformed { .. } => StatusCode::BAD_REQUEST,
            };
            Refusal::new(status, wrong.to_string())
        })?;
    // A few kilobytes may unpack to a hundred megabytes. As unpacking blocks its thread, only so many bodies are past it
    // without their room as there are threads.
    let more = bytes.len().saturating_sub(expected.next_multiple_of(1 << 10));
    if more > 0 {
        room.merge(doors.admit(more)?);
    }
    Ok(Read { bytes, _room: room })
}

pub fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
