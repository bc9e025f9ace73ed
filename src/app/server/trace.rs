//! A span for each question that is asked over HTTP, in the trace of who asks where its headers name one (W3C's trace
//! context). Doors that take telemetry have none: with own traces sent to this process itself, each export would cause the
//! next.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Instrument;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
/// Of a trace's state, by W3C's specification; what has more is none.
const MEMBERS_MAX: usize = 32;

/// What headers say of the span that asks, where it is said as W3C's trace context wants it. OpenTelemetry's own reader is more
/// lenient: it takes numbers of any length, the first of several headers, and of too long a state the beginning.
struct Caller<'a> {
    parent: Option<&'a str>,
    state: Option<String>,
}

impl Caller<'_> {
    fn of(headers: &HeaderMap) -> Caller<'_> {
        Caller { parent: parent(headers), state: state(headers) }
    }
}

impl Extractor for Caller<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            PARENT => self.parent,
            STATE => self.state.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![PARENT, STATE]
    }
}

/// Version, trace, span and flags; versions that are still to come may have more behind them.
fn parent(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(PARENT).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (known, more) = only.to_str().ok()?.trim().split_at_checked(55)?;
    let parts: Vec<&str> = known.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_whole = lengths == [2, 32, 16, 2] && parts.iter().all(|part| part.bytes().all(is_digit));
    let may_go_on = more.is_empty() || (parts[0] != "00" && more.starts_with('-'));
    (is_whole && may_go_on).then_some(known)
}

/// Of all headers together.
fn state(headers: &HeaderMap) -> Option<String> {
    let texts: Vec<&str> =
        headers.get_all(STATE).iter().map(HeaderValue::to_str).collect::<Result<_, _>>().ok()?;
    let members = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
    let members: Vec<&str> = members.filter(|member| !member.is_empty()).collect();
    (1..=MEMBERS_MAX).contains(&members.len()).then(|| members.join(","))
}

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
    let caller = TraceContextPropagator::new().extract(&Caller::of(request.headers()));
    if caller.has_active_span() {
        // Nobody is told of spans where own telemetry is off.
        let _ = span.set_parent(caller);
    }
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[String]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_parent_is_followed_as_w3c_says() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let whole = format!("00-{trace}-{span}-01");
        let found = |value: String| parent(&headers(PARENT, &[value])).map(str::to_owned);
        for value in [whole.clone(), format!(" \t{whole} "), format!("00-{trace}-{span}-03")] {
            assert_eq!(found(value.clone()).as_deref(), Some(value.trim()), "{value:?}");
        }
        let future = format!("cc-{trace}-{span}-01");
        assert_eq!(found(format!("{future}-what-will-be")), Some(future.clone()));
        assert_eq!(found(future.clone()), Some(future.clone()));
        for value in [
            String::new(),
            format!("{whole}-"),
            format!("{whole}-what"),
            format!("{whole}."),
            format!("{future}.what"),
            format!("0-{trace}-{span}-01"),
            format!("000-{trace}-{span}-01"),
            format!("+0-{trace}-{span}-01"),
            format!("00-{}-{span}-01", &trace[2..]),
            format!("00-00{trace}-{span}-01"),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{}-01", &span[2..]),
            format!("00-{trace}-{span}-1"),
            format!("00-{trace}-{span}-001"),
            format!("00-{trace}-{span}-.1"),
        ] {
            assert_eq!(found(value.clone()), None, "{value:?}");
        }
        assert_eq!(parent(&headers(PARENT, &[whole.clone(), whole])), None, "which of them?");
        assert_eq!(parent(&HeaderMap::new()), None);
    }

    #[test]
    fn states_of_several_headers_are_one() {
        let found = |values: &[&str]| {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            state(&headers(STATE, &values))
        };
        assert_eq!(found(&["a=1", "", "b=2 , \tc=3,,"]).as_deref(), Some("a=1,b=2,c=3"));
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[" ,"]), None);
        let of = |count: usize| vec!["a=1"; count].join(",");
        assert_eq!(found(&[of(32).as_str()]), Some(of(32)));
        assert_eq!(found(&[of(32).as_str(), "b=2"]), None);
    }
}
