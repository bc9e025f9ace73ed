//! Parameters of a Tempo call.

use super::Refusal;
use crate::traces;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use model::{Clock, SystemClock, TimeRange};
use std::collections::HashMap;

const SECOND_NS: i64 = 1_000_000_000;
const HOUR_NS: i64 = 3_600 * SECOND_NS;
/// Points a series has where no step is given, about.
const POINTS_DEFAULT: i64 = 120;

pub(super) struct Params(pub HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Params(params)),
            Err(why) => Err(Refusal::bad(why.to_string())),
        }
    }
}

impl Params {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// The query: TraceQL in `q`, or `tags` and durations as Tempo had them before.
    pub fn query(&self) -> Result<String, Refusal> {
        if let Some(query) = self.get("q") {
            return Ok(query.to_owned());
        }
        let mut conditions = Vec::new();
        for (name, value) in tags(self.get("tags").unwrap_or(""))? {
            conditions.push(condition(&name, &value));
        }
        for (name, op) in [("minDuration", ">="), ("maxDuration", "<=")] {
            if let Some(duration) = self.get(name) {
                conditions.push(format!("duration {op} {duration}"));
            }
        }
        Ok(format!("{{ {} }}", conditions.join(" && ")))
    }

    /// 0 means the default, as it is never meant.
    pub fn number(&self, name: &str, default: usize) -> Result<usize, Refusal> {
        match self.get(name).map(str::parse::<usize>) {
            None | Some(Ok(0)) => Ok(default),
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => Err(Refusal::bad(format!("{name} must be a whole number"))),
        }
    }

    fn time(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_time(text).map(Some).ok_or_else(|| {
            Refusal::bad(format!(
                "{name} is {text:?}; write seconds, nanoseconds or RFC 3339, as 2026-01-02T15:04:05Z"
            ))
        })
    }

    /// Start and end where both are given. 0 and 0 is what Grafana sends for "no range".
    pub fn given_range(&self) -> Result<Option<TimeRange>, Refusal> {
        match (self.time("start")?, self.time("end")?) {
            (Some(start), Some(end)) if (start, end) != (0, 0) => {
                traces::within(start, end).map(Some).map_err(Refusal::bad)
            }
            _ => Ok(None),
        }
    }

    /// Start and end, by default the last hour.
    pub fn range(&self) -> Result<TimeRange, Refusal> {
        if let Some(range) = self.given_range()? {
            return Ok(range);
        }
        let end = self.time("end")?.filter(|end| *end != 0).unwrap_or_else(|| SystemClock.now_ns());
        let start = self.time("start")?.filter(|start| *start != 0);
        traces::within(start.unwrap_or_else(|| end.saturating_sub(HOUR_NS)), end).map_err(Refusal::bad)
    }

    /// A duration or seconds.
    pub fn step_ms(&self, range: TimeRange) -> Result<i64, Refusal> {
        let Some(text) = self.get("step") else {
            let seconds = range.end.saturating_sub(range.start) / POINTS_DEFAULT / SECOND_NS;
            return Ok(seconds.max(1) * 1_000);
        };
        let seconds = text.parse::<f64>().ok().filter(|s| s.is_finite()).map(|s| (s * 1e3) as i64);
        let step = seconds.or_else(|| logql::parse_duration_ns(text).map(|ns| ns / 1_000_000));
        step.filter(|step| *step > 0).ok_or_else(|| {
            Refusal::bad(format!("step is {text:?}; write a duration, as 15s, or seconds above 0"))
        })
    }
}

/// Whole numbers of at most ten digits are seconds, longer ones nanoseconds.
fn parse_time(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<i64>() {
        let digits = text.trim_start_matches(['-', '+']).len();
        return if digits <= 10 { number.checked_mul(SECOND_NS) } else { Some(number) };
    }
    if let Ok(seconds) = text.parse::<f64>() {
        let ns = seconds * 1e9;
        // Milliseconds survive a double; below that its digits are noise.
        return (ns.is_finite() && ns.abs() < 9.2e18).then(|| (seconds * 1e3).round() as i64 * 1_000_000);
    }
    chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt()
}

/// `name=value other="a value"`.
fn tags(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut tags = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let bad =
            || Refusal::bad(format!("tags must be name=value pairs, as service.name=api; wrong at {rest:?}"));
        let (name, after) = rest.split_once('=').ok_or_else(bad)?;
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(bad());
        }
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted).ok_or_else(bad)?,
            None => {
                let (value, after) = after.split_once(char::is_whitespace).unwrap_or((after, ""));
                (value.to_owned(), after)
            }
        };
        tags.push((name.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(tags)
}

/// Up to the closing quote, and what stands after it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// What Tempo searches by name and keeps in fields of its own.
fn condition(name: &str, value: &str) -> String {
    match name {
        "name" => format!("name = {}", traces::quoted(value)),
        "root.name" => format!("rootName = {}", traces::quoted(value)),
        "root.service.name" => format!("rootServiceName = {}", traces::quoted(value)),
        "status" | "status.code" if matches!(value, "error" | "ok" | "unset") => format!("status = {value}"),
        "error" if value == "true" => "status = error".to_owned(),
        other => traces::tag_condition(traceql::Scope::Any, other, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Result<String, String> {
        let params = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Params(params).query().map_err(|refusal| refusal.1)
    }

    #[test]
    fn tags_become_traceql() {
        let tags = r#"service.name=api http.status_code=500 name="GET /" error=true"#;
        let found = query(&[("tags", tags), ("minDuration", "100ms")]).unwrap();
        let expected = r#"{ .service.name = "api" && (.http.status_code = "500" || .http.status_code = 500) && name = "GET /" && status = error && duration >= 100ms }"#;
        assert_eq!(found.replace('`', "\""), expected);
        assert!(traceql::parse(&found).is_ok());
        assert!(traceql::parse(&query(&[]).unwrap()).is_ok());
        assert_eq!(query(&[("q", "{ duration > 1s }")]).unwrap(), "{ duration > 1s }");
        for bad in ["api", "=x", r#"a="b"#, "a b=c"] {
            assert!(query(&[("tags", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(parse_time("1700000000"), Some(1_700_000_000 * SECOND_NS));
        assert_eq!(parse_time("1700000000123456789"), Some(1_700_000_000_123_456_789));
        assert_eq!(parse_time("1700000000.5"), Some(1_700_000_000_500_000_000));
        assert_eq!(parse_time("now"), None);
    }
}
