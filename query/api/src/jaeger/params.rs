//! Parameters of a Jaeger call, and the TraceQL that a search is.

use super::Refusal;
use crate::traces;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use model::{Clock, SystemClock, TimeRange, TraceId};

const SECOND_NS: i64 = 1_000_000_000;
/// How far back is looked where no start is given, as in Jaeger.
const LOOKBACK_NS: i64 = 48 * 3_600 * SECOND_NS;
/// The same of who calls whom.
const CALLS_LOOKBACK_NS: i64 = 24 * 3_600 * SECOND_NS;
const TRACE_IDS_MAX: usize = 1_000;

pub(super) struct Params(pub Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Params(params)),
            Err(why) => Err(Refusal::bad(why.to_string())),
        }
    }
}

/// As [`traces::trace_id`]; also in base64, as protobuf's JSON has it.
pub(super) fn trace_id(text: &str) -> Result<TraceId, Refusal> {
    traces::trace_id(text).or_else(|why| of_base64(text).ok_or_else(|| Refusal::bad(why)))
}

fn of_base64(text: &str) -> Option<TraceId> {
    let text = text.trim_end_matches('=');
    let read = BASE64_STANDARD_NO_PAD.decode(text).or_else(|_| BASE64_URL_SAFE_NO_PAD.decode(text)).ok()?;
    if ![8, 16].contains(&read.len()) {
        return None;
    }
    let mut id = [0; 16];
    id[16 - read.len()..].copy_from_slice(&read);
    Some(id)
}

/// A truth as Go's parameters have it.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl Params {
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(n, value)| n == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    pub fn trace_ids(&self) -> Result<Vec<TraceId>, Refusal> {
        let ids = self.0.iter().filter(|(name, _)| name == "traceID");
        let ids: Vec<TraceId> = ids.map(|(_, id)| trace_id(id)).collect::<Result<_, _>>()?;
        if ids.len() > TRACE_IDS_MAX {
            return Err(Refusal::bad(format!("more than {TRACE_IDS_MAX} trace ids; ask in several calls")));
        }
        Ok(ids)
    }

    /// Whether spans are wanted as they were sent.
    pub fn raw(&self) -> Result<bool, Refusal> {
        let Some(text) = self.get("raw") else { return Ok(false) };
        let bad = || Refusal::bad(format!("unable to parse param 'raw': {text:?}; write true or false"));
        truth(text).ok_or_else(bad)
    }

    /// 0 means the default, as it is never meant.
    pub fn limit(&self, default: usize) -> Result<usize, Refusal> {
        match self.get("limit").map(str::parse::<usize>) {
            None | Some(Ok(0)) => Ok(default),
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => Err(Refusal::bad("unable to parse param 'limit': write a whole number")),
        }
    }

    /// Microseconds; Grafana asks for single traces in milliseconds, which are told apart by their size.
    fn time(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number: i64 = text.parse().map_err(|_| {
            Refusal::bad(format!(
                "unable to parse param '{name}': {text:?} is no whole number of microseconds"
            ))
        })?;
        let unit = match text.trim_start_matches('-').len() {
            0..=10 => SECOND_NS,
            11..=13 => 1_000_000,
            14..=16 => 1_000,
            _ => 1,
        };
        Ok(Some(number.saturating_mul(unit)))
    }

    pub fn given_range(&self) -> Result<Option<TimeRange>, Refusal> {
        match (self.time("start")?, self.time("end")?) {
            (Some(start), Some(end)) => within(start, end).map(Some),
            _ => Ok(None),
        }
    }

    pub fn range(&self) -> Result<TimeRange, Refusal> {
        let end = self.time("end")?.unwrap_or_else(|| SystemClock.now_ns());
        let start = match (self.time("start")?, self.get("lookback")) {
            (Some(start), _) => start,
            (None, None | Some("custom")) => end.saturating_sub(LOOKBACK_NS),
            (None, Some(text)) => end.saturating_sub(duration_ns("lookback", text)?),
        };
        within(start, end)
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(known, text)| known == name && !text.is_empty())
            .map(|(_, text)| text.as_str())
    }

    /// Milliseconds, of which there are nanoseconds.
    pub fn ms(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse::<i64>().ok().filter(|ms| ms.checked_mul(1_000_000).is_some());
        number.map(Some).ok_or_else(|| {
            Refusal::bad(format!(
                "unable to parse param '{name}': {text:?} is no whole number of milliseconds"
            ))
        })
    }

    /// `endTs` and `lookback` in milliseconds.
    pub fn lookback(&self) -> Result<TimeRange, Refusal> {
        let ns = |ms: i64| ms.saturating_mul(1_000_000);
        let end = self.ms("endTs")?.map_or_else(|| SystemClock.now_ns(), ns);
        let lookback = self.ms("lookback")?.map_or(CALLS_LOOKBACK_NS, ns);
        within(end.saturating_sub(lookback), end)
    }

    /// The search as TraceQL: conditions on one span, as Jaeger has them. Without a service it is of all.
    pub fn query(&self) -> Result<String, Refusal> {
        let service = self.get("service");
        let service = service.map(|service| format!("resource.service.name = {}", traces::quoted(service)));
        let mut conditions: Vec<String> = service.into_iter().collect();
        if let Some(operation) = self.get("operation").filter(|operation| *operation != "all") {
            conditions.push(format!("name = {}", traces::quoted(operation)));
        }
        let [min, max] = [self.duration("minDuration")?, self.duration("maxDuration")?];
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            return Err(Refusal::bad("'maxDuration' should be greater than 'minDuration'"));
        }
        conditions.extend(min.map(|ns| format!("duration >= {ns}ns")));
        conditions.extend(max.map(|ns| format!("duration <= {ns}ns")));
        for (name, value) in self.tags()? {
            conditions.push(traces::condition(&name, &value));
        }
        Ok(format!("{{ {} }}", conditions.join(" && ")))
    }

    fn duration(&self, name: &str) -> Result<Option<i64>, Refusal> {
        self.get(name).map(|text| duration_ns(name, text)).transpose()
    }

    /// `tags={"name":"value"}` and `tag=name:value`.
    fn tags(&self) -> Result<Vec<(String, String)>, Refusal> {
        let mut tags = Vec::new();
        for (param, text) in &self.0 {
            match param.as_str() {
                "tag" => {
                    let (name, value) = text.split_once(':').ok_or_else(|| {
                        Refusal::bad(format!(
                            "malformed 'tag' parameter, expecting key:value, received: {text}"
                        ))
                    })?;
                    tags.push((name.to_owned(), value.to_owned()));
                }
                "tags" if !text.is_empty() => {
                    let map: std::collections::BTreeMap<String, serde_json::Value> = serde_json::from_str(text)
                        .map_err(|why| {
                            Refusal::bad(format!(
                                "malformed 'tags' parameter, cannot unmarshal JSON: {why}; write {{\"name\":\"value\"}}"
                            ))
                        })?;
                    tags.extend(map.into_iter().map(|(name, value)| match value {
                        serde_json::Value::String(value) => (name, value),
                        other => (name, other.to_string()),
                    }));
                }
                _ => {}
            }
        }
        Ok(tags)
    }
}

fn duration_ns(name: &str, text: &str) -> Result<i64, Refusal> {
    logql::parse_duration_ns(text).ok_or_else(|| {
        Refusal::bad(format!(
            "unable to parse param '{name}': time: invalid duration {text:?}; write it as 1.2s or 100ms"
        ))
    })
}

fn within(start: i64, end: i64) -> Result<TimeRange, Refusal> {
    traces::within(start, end).map_err(Refusal::bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_search_is_traceql() {
        let asked = params(&[
            ("service", "api"),
            ("operation", "GET \"/\""),
            ("tags", r#"{"error":"true","http.status_code":"500","span.kind":"server"}"#),
            ("tag", "a b:c"),
            ("minDuration", "1.5ms"),
        ]);
        let query = asked.query().unwrap_or_else(|refusal| panic!("{}", refusal.1));
        traceql::parse(&query).unwrap_or_else(|why| panic!("{query}: {why}"));
        for part in ["status = error", "kind = server", ".http.status_code = 500", "duration >= 1500000ns"] {
            assert!(query.contains(part), "{query}");
        }
        for bad in [
            vec![("service", "a"), ("minDuration", "2s"), ("maxDuration", "1s")],
            vec![("service", "a"), ("tags", "[1]")],
            vec![("service", "a"), ("tag", "x")],
            vec![("service", "a"), ("minDuration", "long")],
        ] {
            assert!(params(&bad).query().is_err(), "{bad:?}");
        }
        let of_all = params(&[]).query().unwrap_or_else(|refusal| panic!("{}", refusal.1));
        traceql::parse(&of_all).unwrap_or_else(|why| panic!("{of_all}: {why}"));
    }

    #[test]
    fn tags_that_read_as_numbers_are_compared_as_such_too() {
        for (value, typed) in [
            ("5", true),
            ("-5", true),
            ("-0.5", true),
            ("1.", true),
            ("9223372036854775807", true),
            ("12345678901234567890", false),
            ("-9223372036854775808", false),
            ("+5", false),
            ("-", false),
            ("1.2.3", false),
            ("", false),
        ] {
            let condition = traces::tag_condition(traceql::Scope::Any, "order", value);
            assert_eq!(condition.ends_with(&format!("= {value})")), typed, "{condition}");
            traceql::parse(&format!("{{ {condition} }}")).unwrap_or_else(|why| panic!("{condition}: {why}"));
        }
    }

    #[test]
    fn ids_are_hex_or_base64() {
        let hex = |text: &str| trace_id(text).map(hex::encode).ok();
        let whole = Some("00000000000000010203040506070809".to_owned());
        assert_eq!(hex("10203040506070809"), whole);
        // The same with and without padding, and of 8 bytes alone.
        assert_eq!(hex("AAAAAAAAAAECAwQFBgcICQ=="), whole);
        assert_eq!(hex("AAAAAAAAAAECAwQFBgcICQ"), whole);
        assert_eq!(hex("_____w8PDw8="), Some("0000000000000000ffffffff0f0f0f0f".to_owned()));
        assert_eq!(hex("/////w8PDw8="), hex("_____w8PDw8"));
        for wrong in ["", "xyz", "chumbawumba", "AAAAAAAAAAECAwQFBgcICQAAAAAAAAAAAA=="] {
            assert_eq!(hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_microseconds() {
        let asked = params(&[("start", "1700000000000000"), ("end", "1700000001000000")]);
        let range = asked.range().unwrap_or_else(|refusal| panic!("{}", refusal.1));
        assert_eq!(range, TimeRange { start: 1_700_000_000 * SECOND_NS, end: 1_700_000_001 * SECOND_NS });
        let asked = params(&[("start", "1700000000000"), ("end", "1700000001000")]);
        assert_eq!(asked.given_range().ok().flatten(), Some(range));
        assert!(params(&[("start", "2"), ("end", "1")]).range().is_err());
        assert!(params(&[("start", "now")]).range().is_err());
    }
}
