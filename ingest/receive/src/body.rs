//! A request's body: read whole and decompressed, both within their bounds.

use crate::doors::{Doors, Refusal};
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::SemaphorePermit;
use wire::compression::{DecompressError, Encoding};
use wire::parts::Kind;

/// The raw body, and the room it takes until it is dropped.
pub struct Read<'d> {
    pub bytes: Bytes,
    room: Room<'d>,
}

impl Read<'_> {
    /// With room for what it is decoded to.
    pub fn made_of(mut self, kind: Kind) -> Result<Self, Refusal> {
        self.room.hold(kind, &self.bytes)?;
        Ok(self)
    }
}

/// Of the room that a part takes, beside how long it is. A part is some hundred bytes in memory, and a body may be several times
/// its own length there.
const PART_BYTES: usize = 96;

/// Bytes that a request may hold until it is answered.
pub struct Room<'d> {
    doors: &'d Doors,
    permit: SemaphorePermit<'d>,
    bytes: usize,
}

impl<'d> Room<'d> {
    fn of(doors: &'d Doors, bytes: usize) -> Result<Room<'d>, Refusal> {
        Ok(Room { doors, permit: doors.admit(bytes)?, bytes: bytes.next_multiple_of(1 << 10) })
    }

    /// Room for so many bytes in all, or the sender waits.
    fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            self.permit.merge(self.doors.admit(more)?);
            self.bytes += more.next_multiple_of(1 << 10);
        }
        Ok(())
    }

    /// Room for what a body of so many parts is decoded to.
    pub fn hold(&mut self, kind: Kind, body: &[u8]) -> Result<(), Refusal> {
        let parts = kind.parts(body);
        let bytes = parts.saturating_mul(PART_BYTES);
        // Nobody should send again for ever what there is never room for.
        if bytes > self.doors.config.in_flight_bytes_max {
            let max = self.doors.config.in_flight_bytes_max / PART_BYTES;
            let why = format!(
                "the body has {parts} records, attributes and values, at most {max} are read; send smaller batches"
            );
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        self.grow_to(bytes)
    }

    /// What is packed in `bytes`. A few kilobytes may be a hundred megabytes. As unpacking blocks its thread, only so many
    /// bodies are past it without their room as there are threads.
    pub fn unpack(&mut self, encoding: Encoding, bytes: Bytes) -> Result<Bytes, Refusal> {
        let unpacked =
            encoding.decompress(bytes, self.doors.config.decompressed_bytes_max).map_err(|wrong| {
                let status = match wrong {
                    DecompressError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                    DecompressError::Malformed { .. } => StatusCode::BAD_REQUEST,
                };
                Refusal::new(status, wrong.to_string())
            })?;
        self.grow_to(unpacked.len())?;
        Ok(unpacked)
    }
}

/// What a body is compressed with when its header does not say.
pub async fn read<'d>(
    doors: &'d Doors,
    headers: &HeaderMap,
    body: Body,
    unsaid: Encoding,
) -> Result<Read<'d>, Refusal> {
    let encoding = match text(headers, header::CONTENT_ENCODING) {
        None => unsaid,
        Some(name) => Encoding::from_header(name).ok_or_else(|| {
            let why = format!("Content-Encoding {name:?} is not known; use gzip, zstd or snappy");
            Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why)
        })?,
    };
    let (packed, mut room) = collect(doors, headers, body).await?;
    let bytes = room.unpack(encoding, packed)?;
    Ok(Read { bytes, room })
}

/// What is expected of a sender that does not say how much it sends, as by gRPC: room grows as bytes come.
const UNSAID_BYTES: usize = 64 << 10;

/// A body as it comes, in room of its own.
pub async fn collect<'d>(
    doors: &'d Doors,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Room<'d>), Refusal> {
    let max = doors.config.body_bytes_max;
    let too_large = || {
        let why = format!("the body is larger than {max} bytes; send smaller batches");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why)
    };
    let announced = text(headers, header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(too_large());
    }
    let mut room = Room::of(doors, announced.unwrap_or(UNSAID_BYTES))?;
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or(0));
    let mut body = Limited::new(body, max);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|wrong| {
            if wrong.downcast_ref::<LengthLimitError>().is_some() {
                too_large()
            } else {
                Refusal::new(StatusCode::BAD_REQUEST, format!("the body ended early: {wrong}"))
            }
        })?;
        if let Ok(data) = frame.into_data() {
            room.grow_to(bytes.len() + data.len())?;
            bytes.extend_from_slice(&data);
        }
    }
    Ok((bytes.freeze(), room))
}

pub fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
