//! A span for each question that is asked over HTTP, in the trace of who asks where its headers name one (W3C's trace
//! context). Doors that take telemetry have none: with own traces sent to this process itself, each export would cause the
//! next.

use crate::trace_context;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::trace::FutureExt;
use tracing::Instrument;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Middleware, named by OpenTelemetry's conventions for HTTP servers.
pub async fn request(request: Request, next: Next) -> Response {
    let method = request.method().as_str().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!(
        "request",
        otel.name = %format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %method,
        http.route = %route,
        http.response.status_code = Empty,
    );
    let caller = trace_context::caller(request.headers());
    let answer = next.run(request).instrument(span.clone());
    let response = match caller {
        Some(caller) => {
            // Nobody is told of spans where own telemetry is off. Whom we ask in turn learns of the caller in any case.
            let _ = span.set_parent(caller.clone());
            answer.with_context(caller).await
        }
        None => answer.await,
    };
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tower::ServiceExt;
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    /// `traceparent` and `tracestate` of what is asked on the way to the answer.
    async fn sent_on(parent: Option<&str>) -> Option<(String, Option<String>)> {
        let asked: Router = Router::new().route("/asked", get(|| async { trace_context::headers() }));
        let asked = asked.layer(axum::middleware::from_fn(request));
        let mut question = axum::http::Request::get("/asked");
        if let Some(parent) = parent {
            question = question.header("traceparent", parent).header("tracestate", "vendor=1");
        }
        let answer = asked.oneshot(question.body(Body::empty()).unwrap()).await.unwrap();
        let header = |name: &str| Some(answer.headers().get(name)?.to_str().unwrap().to_owned());
        Some((header("traceparent")?, header("tracestate")))
    }

    #[tokio::test]
    async fn the_caller_is_told_on_where_nothing_is_recorded() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let told = sent_on(Some(parent.as_str())).await;
        assert_eq!(told, Some((parent, Some("vendor=1".to_owned()))));
        assert_eq!(sent_on(Some("00-0-0-01")).await, None);
        assert_eq!(sent_on(None).await, None);
    }

    #[tokio::test]
    async fn a_span_of_ours_is_told_on_in_its_callers_trace() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let _recorded = tracing::subscriber::set_default(Registry::default().with(layer));
        for flags in ["01", "00"] {
            let asks = format!("00-{TRACE}-{SPAN}-{flags}");
            let (parent, state) = sent_on(Some(asks.as_str())).await.unwrap();
            assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with(flags), "{parent}");
            assert!(!parent.contains(SPAN), "{parent}: the caller's own");
            assert_eq!(state.as_deref(), Some("vendor=1"));
        }
        let (parent, state) = sent_on(None).await.unwrap();
        assert!(!parent.contains(TRACE) && parent.ends_with("-01"), "{parent}");
        assert_eq!(state, None);
    }
}
