//! Parameters of a Tempo call, from the query string and from a form.

use super::Refusal;
use crate::{form, traces};
use axum::extract::{FromRequest, Request};
use engine::SpansWanted;
use model::{Clock, SystemClock, TimeRange};
use std::collections::HashMap;

const SECOND_NS: i64 = 1_000_000_000;
const HOUR_NS: i64 = 3_600 * SECOND_NS;
/// Points a series has where no step is given, about: each 15 seconds of an hour.
const POINTS_DEFAULT: i64 = 240;
/// Steps of less than a minute's range are whole multiples of it, in milliseconds.
const SHORT_STEP_MS: i64 = 50;
/// Longer ones are whole multiples of the largest of these that is below them, in seconds.
const STEPS: [i64; 6] = [3_600, 300, 60, 15, 5, 1];

pub(super) struct Params(pub HashMap<String, String>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        let mut given: HashMap<String, String> = read(request.uri().query().unwrap_or("").as_bytes())?;
        // Of a parameter that both have, the form's is the one that counts.
        given.extend(read(&form::of_body(request).await?)?);
        Ok(Params(given))
    }
}

fn read(encoded: &[u8]) -> Result<HashMap<String, String>, Refusal> {
    form::pairs(encoded).map(pair).collect()
}

fn pair((name, value): (String, Vec<u8>)) -> Result<(String, String), Refusal> {
    let value = match name.as_str() {
        "q" | "query" => text_of(value)?,
        _ => form::text(value),
    };
    Ok((name, value))
}

/// Bytes of a query that are no text would ask for another span than was meant. Told with the place before them, as by Tempo.
fn text_of(query: Vec<u8>) -> Result<String, Refusal> {
    String::from_utf8(query).map_err(|wrong| {
        let before = String::from_utf8_lossy(&wrong.as_bytes()[..wrong.utf8_error().valid_up_to()]);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let line = before.matches('\n').count() + 1;
        let told = format!("parse error at line {line}, col {column}: invalid UTF-8 encoding");
        Refusal::bad(format!("invalid TraceQL query: {told}"))
    })
}

impl Params {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// The query: TraceQL in `q`, or `tags` and durations as Tempo had them before.
    pub fn query(&self) -> Result<String, Refusal> {
        if let Some(query) = self.get("q") {
            return match self.get("tags") {
                None => Ok(query.to_owned()),
                Some(_) => Err(Refusal::bad(
                    "invalid request: can't specify tags and q in the same query; write one",
                )),
            };
        }
        // Each is asked of the trace: one span may have this, and another that.
        let mut filters = Vec::new();
        let asked = match self.get("tags") {
            Some(text) => tags(text)?,
            None => self.tags_by_name(),
        };
        for (name, value) in asked {
            filters.push(format!("{{ {} }}", condition(&name, &value)));
        }
        let (min, max) = (self.duration_ns("minDuration")?, self.duration_ns("maxDuration")?);
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            return Err(Refusal::bad("invalid maxDuration: must be greater than minDuration"));
        }
        for (duration, op) in [(min, ">="), (max, "<=")] {
            filters.extend(duration.map(|ns| format!("{{ traceDuration {op} {ns}ns }}")));
        }
        if filters.is_empty() {
            filters.push("{ }".to_owned());
        }
        Ok(filters.join(" && "))
    }

    /// Without a range, any other parameter is a tag: so the oldest clients ask.
    fn tags_by_name(&self) -> Vec<(String, String)> {
        const OWN: [&str; 8] = ["q", "tags", "minDuration", "maxDuration", "limit", "spss", "start", "end"];
        if ["start", "end"].iter().any(|name| self.get(name).is_some_and(|text| text != "0")) {
            return Vec::new();
        }
        let others = self.0.iter().filter(|(name, value)| !OWN.contains(&name.as_str()) && !value.is_empty());
        let mut tags: Vec<(String, String)> =
            others.map(|(name, value)| (name.clone(), value.clone())).collect();
        tags.sort_unstable();
        tags
    }

    fn duration_ns(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let ns = logql::parse_duration_ns(text).filter(|ns| *ns >= 0);
        ns.map(Some).ok_or_else(|| Refusal::bad(format!("invalid {name}: {text:?} is no duration, as 100ms")))
    }

    /// That of a metrics call: `q`, or `query` as Prometheus has it.
    pub fn metrics_query(&self) -> Result<String, Refusal> {
        let query = self.get("q").or_else(|| self.get("query")).map(str::to_owned);
        query.ok_or_else(|| Refusal::bad("q is missing; write a TraceQL metrics query, as { } | rate()"))
    }

    fn given_number(&self, name: &str) -> Result<Option<usize>, Refusal> {
        match self.get(name).map(str::parse::<usize>) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(Refusal::bad(format!("invalid {name}: it must be a whole number"))),
        }
    }

    /// 0 means the default.
    pub fn number(&self, name: &str, default: usize) -> Result<usize, Refusal> {
        Ok(self.given_number(name)?.filter(|number| *number != 0).unwrap_or(default))
    }

    /// 0 are none.
    pub fn exemplars(&self, default: usize) -> Result<usize, Refusal> {
        Ok(self.given_number("exemplars")?.unwrap_or(default))
    }

    /// At least one.
    pub fn limit(&self, default: usize) -> Result<usize, Refusal> {
        match self.given_number("limit")? {
            Some(0) => Err(Refusal::bad("invalid limit: must be a positive number")),
            given => Ok(given.unwrap_or(default)),
        }
    }

    /// Spans of a spanset that are told; 0 are all.
    pub fn spans_told(&self, default: usize) -> Result<usize, Refusal> {
        Ok(match self.given_number("spss")? {
            Some(0) => usize::MAX,
            given => given.unwrap_or(default),
        })
    }

    /// Which spans of a trace are asked for, where it is not all. What has nothing to act on is not read, as in Tempo.
    pub fn wanted_spans(&self) -> Result<Option<SpansWanted>, Refusal> {
        let Some(filter) = self.get("q").map(str::trim).filter(|filter| !filter.is_empty()) else {
            return Ok(None);
        };
        let above =
            if self.truth("keep_hierarchy")? { self.levels("ancestor_depth", usize::MAX)? } else { 0 };
        Ok(Some(SpansWanted::of(filter, above, self.levels("match_depth", 0)?)?))
    }

    fn truth(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some(_) => Err(Refusal::bad(format!("invalid value for {name}: it must be true or false"))),
        }
    }

    /// -1 are all.
    fn levels(&self, name: &str, default: usize) -> Result<usize, Refusal> {
        match self.get(name).map(str::parse::<i64>) {
            None => Ok(default),
            Some(Ok(-1)) => Ok(usize::MAX),
            Some(Ok(levels)) if levels >= 0 => Ok(usize::try_from(levels).unwrap_or(usize::MAX)),
            Some(Ok(_)) => Err(Refusal::bad(format!("invalid value for {name}: must be >= -1"))),
            Some(Err(_)) => Err(Refusal::bad(format!("invalid value for {name}: it must be a whole number"))),
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

    /// As [`Params::range`], or what `since` says of the time before the end.
    pub fn metrics_range(&self) -> Result<TimeRange, Refusal> {
        let Some(text) = self.get("since").filter(|_| self.get("start").is_none()) else {
            return self.range();
        };
        let since = logql::parse_duration_ns(text)
            .ok_or_else(|| Refusal::bad(format!("since is {text:?}; write a duration, as 1h")))?;
        let end = self.time("end")?.filter(|end| *end != 0).unwrap_or_else(|| SystemClock.now_ns());
        traces::within(end.saturating_sub(since), end).map_err(Refusal::bad)
    }

    /// A duration or seconds.
    pub fn step_ms(&self, range: TimeRange) -> Result<i64, Refusal> {
        let Some(text) = self.get("step") else { return Ok(default_step_ms(range)) };
        let seconds = text.parse::<f64>().ok().filter(|s| s.is_finite()).map(|s| (s * 1e3) as i64);
        let step = seconds.or_else(|| logql::parse_duration_ns(text).map(|ns| ns / 1_000_000));
        step.filter(|step| *step > 0).ok_or_else(|| {
            Refusal::bad(format!("step is {text:?}; write a duration, as 15s, or seconds above 0"))
        })
    }
}

fn default_step_ms(range: TimeRange) -> i64 {
    let length_ns = range.end.saturating_sub(range.start);
    let wanted_ms = length_ns / POINTS_DEFAULT / 1_000_000;
    if length_ns < 60 * SECOND_NS {
        return (wanted_ms / SHORT_STEP_MS).max(1) * SHORT_STEP_MS;
    }
    let of = STEPS.iter().map(|seconds| seconds * 1_000).find(|step_ms| wanted_ms > *step_ms);
    of.map_or(1_000, |step_ms| wanted_ms / step_ms * step_ms)
}

/// Whole numbers of at most ten digits are seconds, those of seventeen and more nanoseconds. Between them are milliseconds and
/// microseconds, which this API has not: read as nanoseconds they would be a time of 1970, where nothing is found.
fn parse_time(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<i64>() {
        return match text.trim_start_matches(['-', '+']).len() {
            ..=10 => number.checked_mul(SECOND_NS),
            11..=16 => None,
            17.. => Some(number),
        };
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
        let expected = r#"{ .service.name = "api" } && { (.http.status_code = "500" || .http.status_code = 500) } && { name = "GET /" } && { status = error } && { traceDuration >= 100000000ns }"#;
        assert_eq!(found.replace('`', "\""), expected);
        assert!(traceql::parse(&found).is_ok());
        assert!(traceql::parse(&query(&[]).unwrap()).is_ok());
        assert_eq!(query(&[("q", "{ duration > 1s }")]).unwrap(), "{ duration > 1s }");
        for bad in ["api", "=x", r#"a="b"#, "a b=c"] {
            assert!(query(&[("tags", bad)]).is_err(), "{bad}");
        }
        assert!(query(&[("tags", "a=b"), ("q", "{ }")]).is_err());
        assert!(query(&[("minDuration", "1s"), ("maxDuration", "10ms")]).is_err());
        assert!(query(&[("minDuration", "long")]).is_err());
        assert_eq!(query(&[]).unwrap(), "{ }");
        let found = query(&[("service.name", "api"), ("error", "true"), ("limit", "5")]).unwrap();
        assert_eq!(found.replace('`', "\""), r#"{ status = error } && { .service.name = "api" }"#);
        assert_eq!(query(&[("service.name", "api"), ("start", "1"), ("end", "2")]).unwrap(), "{ }");
    }

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn how_much_is_told() {
        assert_eq!(params(&[]).limit(20).ok(), Some(20));
        assert_eq!(params(&[("limit", "7")]).limit(20).ok(), Some(7));
        assert!(params(&[("limit", "0")]).limit(20).is_err());
        assert!(params(&[("limit", "-1")]).limit(20).is_err());
        assert_eq!(params(&[]).spans_told(3).ok(), Some(3));
        assert_eq!(params(&[("spss", "0")]).spans_told(3).ok(), Some(usize::MAX));
        assert_eq!(params(&[("limit", "0")]).number("limit", 5).ok(), Some(5));
    }

    #[test]
    fn the_step_follows_the_range() {
        let step = |seconds: i64| {
            params(&[]).step_ms(TimeRange { start: 0, end: seconds * SECOND_NS }).unwrap_or_default()
        };
        let expected = [(1, 50), (30, 100), (60, 1_000), (600, 2_000), (3_600, 15_000), (7_200, 30_000)];
        for (seconds, step_ms) in expected {
            assert_eq!(step(seconds), step_ms, "{seconds}");
        }
        assert_eq!(step(86_400), 300_000);
        assert_eq!(step(86_400 * 30), 10_800_000);
        let since = params(&[("since", "30m"), ("end", "1700000000")]).metrics_range().map_err(|r| r.1);
        let end = 1_700_000_000 * SECOND_NS;
        assert_eq!(since, Ok(TimeRange { start: end - HOUR_NS / 2, end }));
        assert_eq!(
            params(&[("query", "{ } | rate()")]).metrics_query().ok().as_deref(),
            Some("{ } | rate()")
        );
        assert!(params(&[]).metrics_query().is_err());
    }

    #[test]
    fn times() {
        assert_eq!(parse_time("1700000000"), Some(1_700_000_000 * SECOND_NS));
        assert_eq!(parse_time("1700000000123456789"), Some(1_700_000_000_123_456_789));
        assert_eq!(parse_time("1700000000.5"), Some(1_700_000_000_500_000_000));
        assert_eq!(parse_time("00000000000000000005"), Some(5), "as the streaming calls write it");
        for none in ["now", "1700000000123", "1700000000123456", "99999999999"] {
            assert_eq!(parse_time(none), None, "{none}");
        }
    }
}
