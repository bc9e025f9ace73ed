//! Jaeger's collector: `jaeger.api_v2.CollectorService/PostSpans` by gRPC, and Thrift by HTTP at `/api/traces`.

use crate::body::{self, text};
use crate::doors::{Caller, Doors, Refusal, told};
use crate::grpc::status;
use crate::prometheus::refused;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{self, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use model::{Batch, Receipt};
use std::sync::Arc;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use wire::compression::Encoding;
use wire::jaeger::{PostSpansRequest, PostSpansResponse};
use wire::parts::Kind;

/// 202, as Jaeger's collector says it; what was left out is told with it.
pub async fn thrift(State(doors): State<Arc<Doors>>, headers: HeaderMap, body: Body) -> Response {
    match take(&doors, headers, body).await {
        Ok(receipt) => {
            (StatusCode::ACCEPTED, told(&receipt).map_or_else(String::new, |why| why + "\n")).into_response()
        }
        Err(refusal) => refused(&doors, &refusal),
    }
}

async fn take(doors: &Doors, headers: HeaderMap, body: Body) -> Result<Receipt, Refusal> {
    const KINDS: [&str; 2] = ["application/x-thrift", "application/vnd.apache.thrift.binary"];
    let caller = Caller::of(&headers)?;
    let kind = text(&headers, header::CONTENT_TYPE).unwrap_or("");
    if !KINDS.contains(&kind.split(';').next().unwrap_or("").trim()) {
        let why = format!("Content-Type {kind:?}: Jaeger's batches are {} (binary)", KINDS.join(" or "));
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let body = body::read(doors, &headers, body, Encoding::Identity).await?.made_of(Kind::Thrift)?;
    let decoded = wire::jaeger::decode_thrift(&body.bytes)?;
    doors.write(caller, Batch::Spans(decoded.batch), decoded.rejected).await
}

pub fn grpc_router(doors: &Arc<Doors>) -> Router {
    Router::new()
        .route("/jaeger.api_v2.CollectorService/PostSpans", post(post_spans))
        .with_state(doors.clone())
}

async fn post_spans(State(doors): State<Arc<Doors>>, request: http::Request<Body>) -> Response {
    let mut grpc = tonic::server::Grpc::new(ProstCodec::<PostSpansResponse, PostSpansRequest>::default())
        .accept_compressed(Gzip)
        .accept_compressed(Zstd)
        // tonic holds decompressed messages to this bound too.
        .max_decoding_message_size(doors.config.decompressed_bytes_max);
    let service =
        tower::service_fn(move |request: Request<PostSpansRequest>| written(doors.clone(), request));
    grpc.unary(service, request).await.map(Body::new)
}

async fn written(
    doors: Arc<Doors>,
    request: Request<PostSpansRequest>,
) -> Result<tonic::Response<PostSpansResponse>, Status> {
    let caller = Caller::of(&request.metadata().clone().into_headers());
    let decoded = wire::jaeger::decode_protobuf(request.into_inner());
    let written = match caller {
        Ok(caller) => doors.write(caller, Batch::Spans(decoded.batch), decoded.rejected).await,
        Err(refusal) => Err(refusal),
    };
    written.map(|_| tonic::Response::new(PostSpansResponse {})).map_err(|refusal| status(&doors, refusal))
}
