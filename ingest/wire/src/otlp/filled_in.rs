//! What the messages' own reader of JSON asks for and senders leave out, and whole numbers that are too large to be whole. Any
//! of these would have it refuse the whole request.
//!
//! Protobuf's JSON does not write a list that is empty, so that OpenTelemetry's collector has `{"arrayValue":{}}` where
//! `values` are asked for. Entities, whose empty fields are left out likewise, are not read at all. JavaScript has one kind
//! of numbers and takes what has no fraction for an integer: its exporter writes `{"intValue":1e+300}`. A text that is empty
//! is left out, too, and so an attribute may have no `key`.

use super::numbers::key;
use memchr::memchr_iter;

/// The body with an empty key where an attribute begins with its value; `None` where none does. Who has a key behind its value
/// would have two: this is for bodies that are refused without it.
pub(super) fn with_keys(body: &[u8]) -> Option<Vec<u8>> {
    let (mut filled, mut done) = (Vec::new(), 0);
    for colon in memchr_iter(b':', body) {
        let Some(name) = key(body, colon).filter(|name| body[name.clone()] == *b"value") else { continue };
        let before = body[..name.start - 1].trim_ascii_end();
        if before.ends_with(b"{") && body[colon + 1..].trim_ascii_start().starts_with(b"{") {
            filled.extend_from_slice(&body[done..before.len()]);
            filled.extend_from_slice(br#""key":"","#);
            done = before.len();
        }
    }
    if done == 0 {
        return None;
    }
    filled.extend_from_slice(&body[done..]);
    Some(filled)
}

/// What stands in place of a name and what its value begins with, and how long that beginning is; `None` leaves both.
pub(super) fn instead(name: &[u8], value: &[u8]) -> Option<(String, usize)> {
    match name {
        b"arrayValue" => empty(value).map(|length| (r#""arrayValue":{"values":[]}"#.to_owned(), length)),
        b"kvlistValue" => empty(value).map(|length| (r#""kvlistValue":{"values":[]}"#.to_owned(), length)),
        b"intValue" => not_whole(value),
        // By another name it is passed over.
        b"entityRefs" => Some((r#""notRead":"#.to_owned(), 0)),
        _ => None,
    }
}

/// How long an object is that has nothing in it.
fn empty(value: &[u8]) -> Option<usize> {
    let rest = value.strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"}")?;
    Some(value.len() - rest.len())
}

/// A number that is no integer of 64 bits as it is written.
fn not_whole(value: &[u8]) -> Option<(String, usize)> {
    let in_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let length = value.iter().position(|byte| !in_number(byte)).unwrap_or(value.len());
    let text = std::str::from_utf8(&value[..length]).ok()?;
    if text.parse::<i64>().is_ok() {
        return None;
    }
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    let is_integer = number.fract() == 0.0 && number.abs() < i64::MAX as f64;
    let instead = match is_integer {
        true => format!("\"intValue\":{}", number as i64),
        false => format!("\"doubleValue\":{number:e}"),
    };
    Some((instead, length))
}

#[cfg(test)]
mod tests {
    use super::super::numbers::as_numbers;

    #[track_caller]
    fn check(body: &str, read: &str) {
        assert_eq!(std::str::from_utf8(&as_numbers(body.as_bytes())).unwrap(), read, "{body}");
    }

    #[test]
    fn lists_that_are_left_out_are_empty() {
        check(r#"[{"arrayValue":{}},{"s":"x"}]"#, r#"[{"arrayValue":{"values":[]}},{"s":"x"}]"#);
        check("{\"kvlistValue\" : {\n } }", r#"{"kvlistValue":{"values":[]} }"#);
        check(r#"{"entityRefs": [{"type":"k8s.pod"}]}"#, r#"{"notRead":[{"type":"k8s.pod"}]}"#);
        for body in [
            r#"{"arrayValue":{"values":[{"intValue":"1"}]}}"#,
            r#"{"key":"arrayValue","value":{}}"#,
            r#"{"stringValue":"\"arrayValue\":{}"}"#,
            r#"{"arrayValue":{"#,
            r#"{"arrayValue":"#,
        ] {
            check(body, body);
        }
    }

    #[test]
    fn an_attribute_that_begins_with_its_value_gets_a_key() {
        let filled =
            |body: &str| super::with_keys(body.as_bytes()).map(|filled| String::from_utf8(filled).unwrap());
        assert_eq!(
            filled(r#"[{"value":{"intValue":"1"}}, { "value" : {} },{"key":"a","value":{}}]"#).unwrap(),
            r#"[{"key":"","value":{"intValue":"1"}}, {"key":"", "value" : {} },{"key":"a","value":{}}]"#
        );
        for body in [
            r#"{"quantile":0.5,"value":1}"#,
            r#"{"value":1.5}"#,
            r#"{"stringValue":"{\"value\":{}"}"#,
            r#""value":{"#,
            r#"value":{"#,
        ] {
            assert_eq!(filled(body), None, "{body}");
        }
    }

    #[test]
    fn integers_that_are_none_are_fractions() {
        check(r#"{"intValue":1e+300}"#, r#"{"doubleValue":1e300}"#);
        check(
            r#"{"intValue": 9223372036854776000 ,"x":1}"#,
            r#"{"doubleValue":9.223372036854776e18 ,"x":1}"#,
        );
        check(r#"{"intValue":-1.5e3}"#, r#"{"intValue":-1500}"#);
        check(r#"{"intValue":0.5}"#, r#"{"doubleValue":5e-1}"#);
        for body in [
            r#"{"intValue":9223372036854775807}"#,
            r#"{"intValue":"9223372036854775807"}"#,
            r#"{"intValue":-0}"#,
            r#"{"intValue":1e999}"#,
            r#"{"intValue":null}"#,
            r#"{"intValue":-}"#,
            r#"{"intValue":"#,
        ] {
            check(body, body);
        }
    }
}
