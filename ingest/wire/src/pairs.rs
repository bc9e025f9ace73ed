//! Halves of UTF-16's pairs. JavaScript cuts texts by its units (OpenTelemetry's limit of an attribute's length does), and then
//! writes half an emoji as `\ud83d`: no JSON of ours, and no reason to refuse the whole request. It is told as U+FFFD.

use memchr::memchr;
use std::borrow::Cow;

enum Half {
    First,
    Second,
}

/// The body with each half that stands alone replaced.
pub(crate) fn whole(body: &[u8]) -> Cow<'_, [u8]> {
    let (mut whole, mut at) = (Cow::Borrowed(body), 0);
    while let Some(found) = body.get(at..).and_then(|rest| memchr(b'\\', rest)) {
        let escape = at + found;
        at = match (half(body, escape), half(body, escape + 6)) {
            (Some(Half::First), Some(Half::Second)) => escape + 12,
            (Some(_), _) => {
                whole.to_mut()[escape + 2..escape + 6].copy_from_slice(b"fffd");
                escape + 6
            }
            // Whatever is escaped, a backslash too, is no beginning of another.
            (None, _) => escape + 2,
        };
    }
    whole
}

fn half(body: &[u8], at: usize) -> Option<Half> {
    let digits = std::str::from_utf8(body.get(at..at + 6)?.strip_prefix(b"\\u")?).ok()?;
    match u32::from_str_radix(digits, 16).ok()? {
        0xd800..=0xdbff => Some(Half::First),
        0xdc00..=0xdfff => Some(Half::Second),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn a_half_alone_is_replaced() {
        for (body, read) in [
            (r#""a \ud83d""#, r#""a \ufffd""#),
            (r#""\uDE00\ud83d\ude00\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00\ufffd\ud83d\ude00""#),
            (r#""\\ud83d \n\u00e9 \\\ud83d""#, r#""\\ud83d \n\u00e9 \\\ufffd""#),
            (r#""\ud8"#, r#""\ud8"#),
            ("\\", "\\"),
        ] {
            assert_eq!(std::str::from_utf8(&whole(body.as_bytes())).unwrap(), read, "{body}");
        }
    }
}
