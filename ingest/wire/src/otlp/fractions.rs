//! Fractions that JSON has as texts. In protobuf's JSON any number may be one, and what is no number or without end has to
//! be; the messages' own reader takes numbers alone and would refuse the whole request.

use memchr::{memchr, memmem};
use std::borrow::Cow;
use std::ops::Range;

/// Of a value of any type.
const ANY: &[u8] = b"\"doubleValue\"";
const TEXT: &[u8] = b"\"stringValue\"";
/// Of a point of a metric.
const POINT: &[u8] = b"\"asDouble\"";

/// The body with such texts as numbers. Where JSON has no number for it, a value stays the text it is; a point stays
/// without a value, which is counted where it is read.
pub(super) fn as_numbers(body: &[u8]) -> Cow<'_, [u8]> {
    let mut read = Cow::Borrowed(body);
    for (key, otherwise) in [(ANY, TEXT), (POINT, POINT)] {
        if let Some(changed) = changed(&read, key, otherwise) {
            read = Cow::Owned(changed);
        }
    }
    read
}

/// Inside of a text a quote has a backslash before it, so a quoted name with a colon behind it is a key.
fn changed(body: &[u8], key: &[u8], otherwise: &[u8]) -> Option<Vec<u8>> {
    let (mut changed, mut done) = (Vec::new(), 0);
    for at in memmem::find_iter(body, key) {
        let Some(text) = text_after(body, at + key.len()) else { continue };
        let number = std::str::from_utf8(&body[text.clone()]).ok().and_then(|text| text.parse::<f64>().ok());
        let Some(number) = number else { continue };
        changed.extend_from_slice(&body[done..at]);
        if number.is_finite() {
            changed.extend_from_slice(key);
            changed.extend_from_slice(format!(":{number:e}").as_bytes());
            done = text.end + 1;
        } else {
            changed.extend_from_slice(otherwise);
            done = at + key.len();
        }
    }
    if done == 0 {
        return None;
    }
    changed.extend_from_slice(&body[done..]);
    Some(changed)
}

/// What stands between the quotes behind a colon.
fn text_after(body: &[u8], from: usize) -> Option<Range<usize>> {
    let next = |from: usize| {
        let blanks = body.get(from..)?.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        body.get(from + blanks).map(|byte| (from + blanks, *byte))
    };
    let (colon, b':') = next(from)? else { return None };
    let (quote, b'"') = next(colon + 1)? else { return None };
    let length = memchr(b'"', &body[quote + 1..])?;
    Some(quote + 1..quote + 1 + length)
}

#[cfg(test)]
mod tests {
    use super::as_numbers;

    #[test]
    fn texts_of_fractions_are_numbers() {
        for (body, read) in [
            (r#"{"doubleValue":"1.5"}"#, r#"{"doubleValue":1.5e0}"#),
            (r#"{"doubleValue" : "-2" , "x":"3"}"#, r#"{"doubleValue":-2e0 , "x":"3"}"#),
            (r#"{"doubleValue":"NaN"},{"doubleValue":2}"#, r#"{"stringValue":"NaN"},{"doubleValue":2}"#),
            (r#"{"doubleValue": "-Infinity"}"#, r#"{"stringValue": "-Infinity"}"#),
            (r#"[{"asDouble":"4"},{"asDouble":"NaN"}]"#, r#"[{"asDouble":4e0},{"asDouble":"NaN"}]"#),
            // Neither what is no number, nor names and texts that only look like it.
            (r#"{"doubleValue":"x"}"#, r#"{"doubleValue":"x"}"#),
            (r#"{"key":"doubleValue","v":"1"}"#, r#"{"key":"doubleValue","v":"1"}"#),
            (r#"{"v":"\"doubleValue\":\"1\""}"#, r#"{"v":"\"doubleValue\":\"1\""}"#),
            (r#"{"doubleValue":"1"#, r#"{"doubleValue":"1"#),
            (r#"{"doubleValue""#, r#"{"doubleValue""#),
        ] {
            assert_eq!(std::str::from_utf8(&as_numbers(body.as_bytes())).unwrap(), read, "{body}");
        }
    }
}
