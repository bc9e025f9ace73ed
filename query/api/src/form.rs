//! What a query string and a form are: pairs of names and values, escaped byte by byte. By hand they are written with quotes and
//! brackets as they are. Whether a value must be text is its reader's to say.

use crate::refusal::Refusal;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};

/// A form longer than this is no query.
const BYTES_MAX: usize = 1 << 20;

/// The body of a request where that is a form, else nothing.
pub(crate) async fn of_body(request: Request) -> Result<Bytes, Refusal> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    if !kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        return Ok(Bytes::new());
    }
    let body = to_bytes(request.into_body(), BYTES_MAX).await;
    body.map_err(|why| Refusal(StatusCode::PAYLOAD_TOO_LARGE, why.to_string()))
}

/// In their order.
pub(crate) fn pairs(encoded: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=').map(unescaped);
        let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
        (text(name), value)
    })
}

/// Bytes that are no text are shown as what they are.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned())
}

/// `+` is a blank, `%` and two digits a byte. What has no two digits stands for itself.
fn unescaped(encoded: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let [first, after @ ..] = rest {
        let mut byte = [0];
        let is_escape = *first == b'%'
            && after.get(..2).is_some_and(|digits| hex::decode_to_slice(digits, &mut byte).is_ok());
        (byte[0], rest) = match (is_escape, *first) {
            (true, _) => (byte[0], &after[2..]),
            (false, b'+') => (b' ', after),
            (false, plain) => (plain, after),
        };
        out.push(byte[0]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_unescaped_byte_by_byte() {
        let read = |encoded: &str| pairs(encoded.as_bytes()).collect::<Vec<_>>();
        let pair = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        assert!(read("").is_empty());
        assert_eq!(
            read("a=1&&b&=c&d=x=y"),
            [pair("a", b"1"), pair("b", b""), pair("", b"c"), pair("d", b"x=y")]
        );
        assert_eq!(read("%71=%7B+%2b%ff%"), [pair("q", b"{ +\xff%")]);
        assert_eq!(read("q=%+1%zz"), [pair("q", b"% 1%zz")]);
        assert_eq!(read(r#"q={a="<é>"}"#), [pair("q", "{a=\"<é>\"}".as_bytes())]);
    }
}
