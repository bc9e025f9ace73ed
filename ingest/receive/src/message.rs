//! The message of a gRPC call: read whole and unpacked within the same room as any body. tonic would take up to its own bound for
//! each of however many calls there are.

use crate::body::{self, Room};
use crate::doors::{Doors, Refusal};
use crate::grpc::status;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;
use wire::compression::Encoding;

/// Before each message: whether it is packed (u8), and its length (u32, big endian).
const PREFIX_BYTES: usize = 5;

/// Hands a call on with its message unpacked. Its room is free again when it is answered.
pub async fn unpacked(State(doors): State<Arc<Doors>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let read = async {
        let (bytes, mut room) = body::collect(&doors, &parts.headers, body).await?;
        let bytes = unpack(bytes, &parts.headers, &mut room)?;
        Ok::<_, Refusal>((bytes, room))
    };
    match read.await {
        Ok((bytes, _room)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(refusal) => status(&doors, refusal).into_http(),
    }
}

/// What is no packed message, or packed in an unknown way, stays as it is: tonic has the words for it.
fn unpack(bytes: Bytes, headers: &HeaderMap, room: &mut Room<'_>) -> Result<Bytes, Refusal> {
    let encoding = headers.get("grpc-encoding").and_then(|name| match name.as_bytes() {
        b"gzip" => Some(Encoding::Gzip),
        b"zstd" => Some(Encoding::Zstd),
        _ => None,
    });
    let (Some(encoding), Some((&prefix, packed))) = (encoding, bytes.split_first_chunk::<PREFIX_BYTES>())
    else {
        return Ok(bytes);
    };
    let [1, length @ ..] = prefix else { return Ok(bytes) };
    if u32::from_be_bytes(length) as usize != packed.len() {
        return Ok(bytes);
    }
    let message = room.unpack(encoding, bytes.slice(PREFIX_BYTES..))?;
    let mut plain = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    plain.put_u8(0);
    plain.put_u32(message.len() as u32);
    plain.extend_from_slice(&message);
    Ok(plain.freeze())
}
