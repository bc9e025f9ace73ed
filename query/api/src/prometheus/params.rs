//! Parameters of a Prometheus call, from the query string and from a form: Grafana uses both at once.

use super::Refusal;
use crate::form;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header;

pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let in_url = read(request.uri().query().unwrap_or("").as_bytes())?;
        let kind =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let is_form = kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded");
        if !is_form || request.method() != axum::http::Method::POST {
            return Ok(Params(in_url));
        }
        let body = Bytes::from_request(request, state).await;
        // Of a parameter that both have, the form's is the one that counts.
        let mut pairs = read(&body.map_err(|wrong| Refusal::bad(wrong.to_string()))?)?;
        pairs.extend(in_url);
        Ok(Params(pairs))
    }
}

fn read(encoded: &[u8]) -> Result<Vec<(String, String)>, Refusal> {
    form::pairs(encoded).map(pair).collect()
}

/// Bytes of a query that are no text would ask for another series than was meant.
fn pair((name, value): (String, Vec<u8>)) -> Result<(String, String), Refusal> {
    let value = match name.as_str() {
        "query" | "match[]" => text_of(&name, value)?,
        _ => form::text(value),
    };
    Ok((name, value))
}

/// A text that is none is told with the place where it begins, as by Prometheus.
fn text_of(name: &str, value: Vec<u8>) -> Result<String, Refusal> {
    String::from_utf8(value).map_err(|wrong| {
        let before = String::from_utf8_lossy(&wrong.as_bytes()[..wrong.utf8_error().valid_up_to()]);
        let line = before.rsplit('\n').next().unwrap_or_default();
        let column = line[..line.rfind(['"', '\'', '`']).unwrap_or(line.len())].chars().count() + 1;
        let line = before.matches('\n').count() + 1;
        let told = format!("{line}:{column}: parse error: invalid UTF-8 rune");
        Refusal::bad(format!("invalid parameter {name:?}: {told}"))
    })
}

impl Params {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    }

    /// Seconds since 1970, whole or with a fraction, or RFC 3339; as milliseconds.
    pub fn time(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
        let rfc3339 = || chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis());
        // A cast of what is too large gives the last time there is.
        seconds.map(|seconds| (seconds * 1e3).round() as i64).or_else(rfc3339).map(Some).ok_or_else(|| {
            Refusal::bad(format!("invalid parameter {name:?}: cannot parse {text:?} to a valid timestamp"))
        })
    }

    /// Seconds, or a duration as `5m`; as milliseconds.
    pub fn duration(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
        let ms = seconds.map(|seconds| (seconds * 1e3) as i64).or_else(|| promql::parse_duration(text));
        ms.map(Some).ok_or_else(|| {
            Refusal::bad(format!("invalid parameter {name:?}: cannot parse {text:?} to a valid duration"))
        })
    }

    /// 0 is no limit.
    pub fn limit(&self) -> Result<usize, Refusal> {
        self.count("limit")
    }

    /// A whole number, 0 where it is not given.
    pub fn count(&self, name: &str) -> Result<usize, Refusal> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(0) };
        text.parse().map_err(|_| {
            Refusal::bad(format!("invalid parameter {name:?}: {text:?} is not a number of results"))
        })
    }
}

/// Label names that are no plain words come escaped: `U__` before them, `_<hex>_` for a character, `__` for `_`.
pub fn unescaped_name(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut out = String::new();
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '_' {
            out.push(c);
        } else if let Some(after) = rest.strip_prefix('_') {
            out.push('_');
            rest = after;
        } else {
            let decoded = rest
                .split_once('_')
                .and_then(|(hex, after)| Some((char::from_u32(u32::from_str_radix(hex, 16).ok()?)?, after)));
            let Some((decoded, after)) = decoded else { return name.to_owned() };
            out.push(decoded);
            rest = after;
        }
    }
    out
}
