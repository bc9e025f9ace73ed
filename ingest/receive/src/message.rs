//! The message of a gRPC call: read whole and unpacked within the same room as any body. tonic would take up to its own bound for
//! each of however many calls there are.

use crate::body::{self, Room};
use crate::doors::{Doors, Refusal};
use crate::grpc::status;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;
use wire::compression::Encoding;
use wire::parts::Kind;
use wire::parts::messages::{self, Message};

/// Before each message: whether it is packed (u8), and its length (u32, big endian).
const PREFIX_BYTES: usize = 5;

/// Hands a call on with its message unpacked. Its room is free again when it is answered.
pub async fn unpacked(State(doors): State<Arc<Doors>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let read = async {
        let (bytes, mut room) = body::collect(&doors, &parts.headers, body).await?;
        let mut bytes = unpack(bytes, &parts.headers, &mut room)?;
        if let (Some(message), Some(fields)) = (message_of(parts.uri.path()), bytes.get(PREFIX_BYTES..)) {
            room.hold(Kind::Protobuf(message), fields)?;
            // tonic would refuse the whole message.
            if let Some(mended) = message.mended(fields) {
                let mut whole = BytesMut::from(&bytes[..PREFIX_BYTES]);
                whole.extend_from_slice(&mended);
                bytes = whole.freeze();
            }
        }
        Ok::<_, Refusal>((bytes, room))
    };
    match read.await {
        Ok((bytes, _room)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(refusal) => status(&doors, refusal).into_http(),
    }
}

fn message_of(path: &str) -> Option<&'static Message> {
    match path {
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Some(&messages::LOGS),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Some(&messages::METRICS),
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Some(&messages::TRACES),
        "/jaeger.api_v2.CollectorService/PostSpans" => Some(&messages::JAEGER),
        _ => None,
    }
}

/// A message that is packed in an unknown way stays as it is, and so does none: tonic has the words for it.
fn unpack(bytes: Bytes, headers: &HeaderMap, room: &mut Room<'_>) -> Result<Bytes, Refusal> {
    let Some((&prefix, message)) = bytes.split_first_chunk::<PREFIX_BYTES>() else { return Ok(bytes) };
    let [is_packed, length @ ..] = prefix;
    let length = u32::from_be_bytes(length) as usize;
    if length != message.len() {
        // tonic would read what follows, too.
        let why = format!("a message of {length} bytes was announced, {} bytes came", message.len());
        return Err(Refusal::new(StatusCode::BAD_REQUEST, why));
    }
    let encoding = match headers.get("grpc-encoding").map(|name| name.as_bytes()) {
        Some(b"gzip") if is_packed == 1 => Encoding::Gzip,
        Some(b"zstd") if is_packed == 1 => Encoding::Zstd,
        _ => return Ok(bytes),
    };
    let message = room.unpack(encoding, bytes.slice(PREFIX_BYTES..))?;
    let mut plain = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    plain.put_u8(0);
    plain.put_u32(message.len() as u32);
    plain.extend_from_slice(&message);
    Ok(plain.freeze())
}
