//! W3C's trace context: read from the headers of who asks us, and written to those of what we ask other processes of ours
//! on the way to an answer, so that one trace shows all of it.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
/// Of a trace's state, by W3C's specification; what has more is none.
const MEMBERS_MAX: usize = 32;

/// The span that asks, where headers name one.
pub fn caller(headers: &HeaderMap) -> Option<Context> {
    let caller = TraceContextPropagator::new().extract(&Caller::of(headers));
    caller.has_active_span().then_some(caller)
}

/// Name the span that is under way in this task: ours where it is recorded, else its caller's. Without either there are none.
pub fn headers() -> HeaderMap {
    let (current, mut named) = (Context::current(), Named::default());
    if current.has_active_span() {
        TraceContextPropagator::new().inject_context(&current, &mut named);
    }
    named.0
}

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

#[derive(Default)]
struct Named(HeaderMap);

impl Injector for Named {
    fn set(&mut self, key: &str, value: String) {
        // OpenTelemetry's own writer gives a state in any case, be it one without members.
        if value.is_empty() {
            return;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, values: &[String]) -> HeaderMap {
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
        let found = |value: String| parent(&of(PARENT, &[value])).map(str::to_owned);
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
        assert_eq!(parent(&of(PARENT, &[whole.clone(), whole])), None, "which of them?");
        assert_eq!(parent(&HeaderMap::new()), None);
    }

    #[test]
    fn states_of_several_headers_are_one() {
        let found = |values: &[&str]| {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            state(&of(STATE, &values))
        };
        assert_eq!(found(&["a=1", "", "b=2 , \tc=3,,"]).as_deref(), Some("a=1,b=2,c=3"));
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[" ,"]), None);
        let many = |count: usize| vec!["a=1"; count].join(",");
        assert_eq!(found(&[many(32).as_str()]), Some(many(32)));
        assert_eq!(found(&[many(32).as_str(), "b=2"]), None);
    }

    #[test]
    fn what_was_read_is_written_again() {
        let whole = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".to_owned();
        let mut asked = of(PARENT, &[whole]);
        assert!(headers().is_empty(), "nobody asks");
        let under = |asked: &HeaderMap| {
            let _under_way = caller(asked).unwrap().attach();
            headers()
        };
        assert_eq!(under(&asked), asked, "and no state where there is none");
        asked.insert(STATE, HeaderValue::from_static("a=1,b=2"));
        assert_eq!(under(&asked), asked);
        asked.remove(PARENT);
        assert!(caller(&asked).is_none());
        assert!(headers().is_empty());
    }
}
