//! Numbers that JSON has as texts, and enums that it has by their names. In protobuf's JSON any number may be a text, what is
//! no number or without end has to be one, and OpenTelemetry's collector reads enums by both. The messages' own reader takes
//! numbers alone: it would refuse the whole request or, worse, leave a metric without its data.

use super::filled_in;
use memchr::{memchr, memchr_iter, memrchr};
use opentelemetry_proto::tonic::logs::v1::SeverityNumber;
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};
use std::borrow::Cow;
use std::ops::Range;

/// The body with such texts as numbers. Where JSON has no number for it, an attribute stays the text it is; a point stays
/// without a value, which is counted where it is read.
pub(super) fn as_numbers(body: &[u8]) -> Cow<'_, [u8]> {
    let (mut changed, mut done) = (Vec::new(), 0);
    for colon in memchr_iter(b':', body) {
        // In what is no JSON a name may begin where the text before it ends.
        let Some(key) = key(body, colon).filter(|key| key.start > done) else { continue };
        let (name, value) = (&body[key.clone()], body[colon + 1..].trim_ascii_start());
        let Some((instead, length)) = of_text(name, value).or_else(|| filled_in::instead(name, value)) else {
            continue;
        };
        changed.extend_from_slice(&body[done..key.start - 1]);
        changed.extend_from_slice(instead.as_bytes());
        done = body.len() - value.len() + length;
    }
    if done == 0 {
        return Cow::Borrowed(body);
    }
    changed.extend_from_slice(&body[done..]);
    Cow::Owned(changed)
}

/// The name before a colon, without its quotes. Inside of a text a quote has a backslash before it, which is none of the
/// names that are asked for.
pub(super) fn key(body: &[u8], colon: usize) -> Option<Range<usize>> {
    let before = body[..colon].trim_ascii_end().strip_suffix(b"\"")?;
    Some(memrchr(b'"', before)? + 1..before.len())
}

/// What stands in place of a name and the text that its value begins with, and how long that is with its quotes.
fn of_text(key: &[u8], value: &[u8]) -> Option<(String, usize)> {
    let text = value.strip_prefix(b"\"")?;
    let length = memchr(b'"', text)?;
    instead(key, &text[..length]).map(|instead| (instead, length + 2))
}

/// What stands in place of a name and its text; `None` leaves both.
fn instead(key: &[u8], text: &[u8]) -> Option<String> {
    let number: fn(&str) -> Option<String> = match key {
        b"kind" => |name| SpanKind::from_str_name(name).map(|kind| (kind as i32).to_string()),
        b"code" => |name| StatusCode::from_str_name(name).map(|code| (code as i32).to_string()),
        b"severityNumber" => |name| SeverityNumber::from_str_name(name).map(|of| (of as i32).to_string()),
        b"aggregationTemporality" => {
            |name| AggregationTemporality::from_str_name(name).map(|of| (of as i32).to_string())
        }
        b"flags"
        | b"droppedAttributesCount"
        | b"droppedEventsCount"
        | b"droppedLinksCount"
        | b"scale"
        | b"offset" => |text| text.parse::<i64>().ok().map(|number| number.to_string()),
        b"doubleValue" | b"asDouble" | b"sum" | b"min" | b"max" | b"zeroThreshold" | b"quantile"
        | b"value" => fraction,
        _ => return None,
    };
    let (key, text) = (std::str::from_utf8(key).ok()?, std::str::from_utf8(text).ok()?);
    if text.parse::<f64>().is_ok_and(|number| !number.is_finite()) {
        match key {
            "doubleValue" => return Some(format!("\"stringValue\":\"{text}\"")),
            // A histogram goes without them.
            "sum" | "min" | "max" => return Some(format!("\"{key}\":null")),
            _ => {}
        }
    }
    number(text).map(|number| format!("\"{key}\":{number}"))
}

fn fraction(text: &str) -> Option<String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.map(|number| format!("{number:e}"))
}

#[cfg(test)]
mod tests {
    use super::as_numbers;

    #[track_caller]
    fn check(body: &str, read: &str) {
        assert_eq!(std::str::from_utf8(&as_numbers(body.as_bytes())).unwrap(), read, "{body}");
    }

    #[test]
    fn texts_of_numbers_are_numbers() {
        for (body, read) in [
            (r#"{"doubleValue":"1.5"}"#, r#"{"doubleValue":1.5e0}"#),
            (r#"{"doubleValue" : "-2" , "x":"3"}"#, r#"{"doubleValue":-2e0 , "x":"3"}"#),
            (r#"{"doubleValue":"NaN"},{"doubleValue":2}"#, r#"{"stringValue":"NaN"},{"doubleValue":2}"#),
            (r#"{"doubleValue": "-Infinity"}"#, r#"{"stringValue":"-Infinity"}"#),
            (r#"[{"asDouble":"4"},{"asDouble":"NaN"}]"#, r#"[{"asDouble":4e0},{"asDouble":"NaN"}]"#),
            (r#"{"min":"-Infinity","sum":"NaN"}"#, r#"{"min":null,"sum":null}"#),
            (r#"{"flags":"257","scale":"-3","sum":"4.5"}"#, r#"{"flags":257,"scale":-3,"sum":4.5e0}"#),
        ] {
            check(body, read);
        }
    }

    #[test]
    fn names_of_enums_are_numbers() {
        for (body, read) in [
            (r#"{"kind":"SPAN_KIND_SERVER"}"#, r#"{"kind":2}"#),
            (r#"{"status":{"code":"STATUS_CODE_ERROR"}}"#, r#"{"status":{"code":2}}"#),
            (r#"{"severityNumber":"SEVERITY_NUMBER_INFO"}"#, r#"{"severityNumber":9}"#),
            (
                r#"{"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE"}"#,
                r#"{"aggregationTemporality":2}"#,
            ),
            (r#"{"kind":"server"}"#, r#"{"kind":"server"}"#),
        ] {
            check(body, read);
        }
    }

    /// Neither what is no number, nor names and texts that only look like it, nor what is no JSON.
    #[test]
    fn what_is_no_such_text_stays() {
        for body in [
            r#"{"doubleValue":"x"}"#,
            r#"{"key":"doubleValue","v":"1"}"#,
            r#"{"key":"kind","value":{"stringValue":"SPAN_KIND_SERVER"}}"#,
            r#"{"v":"\"doubleValue\":\"1\""}"#,
            r#"{"doubleValue":"1"#,
            r#"{"doubleValue""#,
            r#"":"#,
            ":",
        ] {
            check(body, body);
        }
        check(r#"{"flags":"1"flags":"2"}"#, r#"{"flags":1flags":"2"}"#);
    }
}
