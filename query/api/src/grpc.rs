//! What the doors that speak gRPC share: how a call is run and its answer told, and how a refusal is worded.
//!
//! A gRPC client takes messages of 4 MiB unless told otherwise, so a long answer is several of them ([`parts`]).

use crate::tenant;
use axum::body::Body;
use axum::http::{self, HeaderMap, StatusCode, header};
use axum::response::Response;
use engine::QueryError;
use futures::Stream;
use futures::stream::poll_fn;
use model::Tenant;
use std::future::Future;
use tokio::sync::mpsc;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tracing::Instrument;

/// A query and a few numbers; nobody comes near it.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Messages that wait for a slow reader; then the work waits.
const WAITING_MAX: usize = 4;
/// Of the repeated part of one message; what stands around it is a few bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 3 << 20;

/// Where the messages of one call go; an error when the client is gone.
pub(crate) type Told<A> = mpsc::Sender<Result<A, Status>>;

/// Whether a request is a gRPC call, which is answered with a status of gRPC whatever happens.
pub fn is_call(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    kind.strip_prefix("application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// A call's end before it reached its door, in gRPC's words.
pub fn refused(status: StatusCode, why: &str) -> Response {
    answer_of(Status::new(code(status), why))
}

pub(crate) fn unknown_method(service: &str, call: &str) -> Response {
    answer_of(Status::unimplemented(format!("unknown method {call} for service {service}")))
}

fn answer_of(status: Status) -> Response {
    status.into_http::<tonic::body::Body>().map(Body::new)
}

fn code(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        404 => Code::NotFound,
        405 | 501 => Code::Unimplemented,
        413 | 422 => Code::ResourceExhausted,
        429 | 503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Internal,
    }
}

/// What a door refused with an HTTP status.
pub(crate) fn status(status: StatusCode, why: String) -> Status {
    Status::new(code(status), why)
}

pub(crate) fn failed(error: QueryError) -> Status {
    status(crate::refusal::status(&error), error.to_string())
}

/// Runs a call for as long as somebody reads its answer; `shared` is what its door works with.
pub(crate) async fn serve<S, Q, A, F, W>(request: http::Request<Body>, shared: S, work: F) -> Response
where
    S: Clone + Send + Sync + 'static,
    Q: prost::Message + Default + 'static,
    A: prost::Message + 'static,
    F: Fn(S, Tenant, Q, Told<A>) -> W + Clone + Send + 'static,
    W: Future<Output = Result<(), Status>> + Send + 'static,
{
    let service = tower::service_fn(move |request: Request<Q>| {
        let (shared, work) = (shared.clone(), work.clone());
        async move { Ok::<_, Status>(tonic::Response::new(stream(shared, request, work)?)) }
    });
    let mut grpc = tonic::server::Grpc::new(ProstCodec::<A, Q>::default())
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .accept_compressed(Gzip)
        .send_compressed(Gzip);
    grpc.server_streaming(service, request).await.map(Body::new)
}

fn stream<S, Q, A, F, W>(
    shared: S,
    request: Request<Q>,
    work: F,
) -> Result<impl Stream<Item = Result<A, Status>> + Send + 'static, Status>
where
    A: Send + 'static,
    F: Fn(S, Tenant, Q, Told<A>) -> W,
    W: Future<Output = Result<(), Status>> + Send + 'static,
{
    let headers = request.metadata().clone().into_headers();
    let tenant = tenant::of_headers(&headers).map_err(Status::invalid_argument)?;
    let (told, mut listens) = mpsc::channel(WAITING_MAX);
    let running = work(shared, tenant, request.into_inner(), told.clone());
    let working = async move {
        tokio::select! {
            ended = running => if let Err(wrong) = ended {
                // Nobody listens any more: then nobody misses it.
                let _ = told.send(Err(wrong)).await;
            },
            () = told.closed() => {}
        }
    };
    // In the question's span, so that what it asks other processes is in its trace.
    tokio::spawn(working.in_current_span());
    Ok(poll_fn(move |context| listens.poll_recv(context)))
}

pub(crate) async fn tell<A>(told: &Told<A>, message: A) -> Result<(), Status> {
    told.send(Ok(message)).await.map_err(|_| Status::cancelled("nobody reads the answer"))
}

/// Tells items in as many messages as they need; `message` makes one of a part, its number and how many there are.
pub(crate) async fn tell_parts<T, A>(
    told: &Told<A>,
    items: Vec<T>,
    bytes_of: impl Fn(&T) -> usize,
    message: impl Fn(Vec<T>, usize, usize) -> A,
) -> Result<(), Status> {
    let parts = parts(items, bytes_of);
    let of = parts.len();
    for (at, part) in parts.into_iter().enumerate() {
        tell(told, message(part, at, of)).await?;
    }
    Ok(())
}

/// Parts of at most [`MESSAGE_BYTES_MAX`] each, in order; one, if empty, where there is nothing. An item that is larger by
/// itself is a part of its own.
pub(crate) fn parts<T>(items: Vec<T>, bytes_of: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut parts, mut part, mut bytes) = (vec![], vec![], 0);
    for item in items {
        // What names the field and its length takes a few bytes more.
        let of_item = bytes_of(&item) + 8;
        if bytes + of_item > MESSAGE_BYTES_MAX && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += of_item;
        part.push(item);
    }
    if !part.is_empty() || parts.is_empty() {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_answer_is_several_messages() {
        let half = MESSAGE_BYTES_MAX / 2;
        let of = |sizes: &[usize]| parts(sizes.to_vec(), |size| *size);
        assert_eq!(of(&[]), [Vec::<usize>::new()]);
        assert_eq!(of(&[1, half, half]), [vec![1, half], vec![half]]);
        assert_eq!(of(&[2 * half + 9, 1]), [vec![2 * half + 9], vec![1]]);
    }

    #[test]
    fn a_call_is_known_by_its_content_type_and_refused_by_a_status() {
        for (kind, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; v=1", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
            assert_eq!(is_call(&headers), is, "{kind}");
        }
        let response = refused(StatusCode::UNAUTHORIZED, "no token");
        let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(response.status(), 200);
        assert_eq!([header("content-type"), header("grpc-status")], ["application/grpc", "16"]);
    }
}
