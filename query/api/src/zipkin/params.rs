//! Parameters of a Zipkin call, and the TraceQL that a search is.

use super::Refusal;
use crate::traces::{condition, quoted, tag_condition, trace_id, within};
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use model::{Clock, SystemClock, TimeRange, TraceId};
use std::collections::HashMap;
use traceql::Scope;

/// How far back is looked where nothing is said, as in Zipkin: a day.
const LOOKBACK_MS: i64 = 86_400_000;
const TRACE_IDS_MAX: usize = 1_000;
/// As in Zipkin; what stands behind them is part of the last.
const ANNOTATIONS_MAX: usize = 100;

pub(super) struct Params(HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(params)| Params(params))
            .map_err(|why| why.to_string().into())
    }
}

impl Params {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    pub fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| format!("parameter {name} is required").into())
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse::<i64>() {
            Ok(number) if number > 0 => Ok(Some(number)),
            Ok(_) => Err(format!("{name} <= 0; write a number above it").into()),
            Err(_) => Err(format!("{name} is {text:?}; write a whole number").into()),
        }
    }

    pub fn limit(&self, default: usize) -> Result<usize, Refusal> {
        Ok(self.number("limit")?.map_or(default, |limit| limit as usize))
    }

    /// `endTs` and `lookback`.
    pub fn range(&self) -> Result<TimeRange, Refusal> {
        let end_ms = self.number("endTs")?.unwrap_or_else(|| SystemClock.now_ms());
        let lookback_ms = self.number("lookback")?.unwrap_or(LOOKBACK_MS);
        // The whole of the last millisecond.
        let end = end_ms.saturating_add(1).saturating_mul(1_000_000) - 1;
        Ok(within(end_ms.saturating_sub(lookback_ms).saturating_mul(1_000_000), end)?)
    }

    /// Two at least, and each once.
    pub fn trace_ids(&self) -> Result<Vec<TraceId>, Refusal> {
        let ids: Vec<&str> = self.required("traceIds")?.split(',').collect();
        if ids.len() > TRACE_IDS_MAX {
            return Err(format!("more than {TRACE_IDS_MAX} trace ids; ask in several calls").into());
        }
        let mut found = Vec::with_capacity(ids.len());
        for text in ids {
            let id = trace_id(text.trim())?;
            if found.contains(&id) {
                return Err(format!("redundant traceId: {text}").into());
            }
            found.push(id);
        }
        match found.len() {
            1 => Err("Use /api/v2/trace/{traceId} endpoint to retrieve a single trace".to_owned().into()),
            _ => Ok(found),
        }
    }

    /// The search as TraceQL: conditions on one span, as Zipkin has them.
    pub fn query(&self) -> Result<String, Refusal> {
        let mut conditions = vec![];
        if let Some(service) = self.get("serviceName").filter(|name| *name != "all") {
            conditions.push(format!("resource.service.name = {}", quoted(service)));
        }
        if let Some(name) = self.get("spanName").filter(|name| *name != "all") {
            conditions.push(format!("name = {}", quoted(name)));
        }
        if let Some(peer) = self.get("remoteServiceName").filter(|name| *name != "all") {
            conditions.push(format!("span.peer.service = {}", quoted(peer)));
        }
        let [min, max] = [self.number("minDuration")?, self.number("maxDuration")?];
        if min.zip(max).is_some_and(|(min, max)| max < min) {
            return Err("maxDuration < minDuration; swap them".to_owned().into());
        }
        conditions.extend(min.map(|us| format!("duration >= {us}us")));
        conditions.extend(max.map(|us| format!("duration <= {us}us")));
        let asked = annotations(self.get("annotationQuery").unwrap_or(""));
        conditions.extend(asked.into_iter().map(|(name, value)| annotation(name, value)));
        Ok(format!("{{ {} }}", conditions.join(" && ")))
    }
}

/// `key=value` is a tag; `key` alone, or with nothing behind it, asks whether it is there. Of one key the last value counts.
fn annotations(query: &str) -> Vec<(&str, &str)> {
    let mut asked: Vec<(&str, &str)> = vec![];
    for text in query.splitn(ANNOTATIONS_MAX, " and ") {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let (name, value) = (name.trim(), value.trim());
        match asked.iter_mut().find(|(known, _)| *known == name) {
            Some(known) if text.contains('=') => known.1 = value,
            Some(_) => {}
            None if name.is_empty() => {}
            None => asked.push((name, value)),
        }
    }
    asked
}

/// Of a tag or, where no value is asked for, of an annotation.
fn annotation(name: &str, value: &str) -> String {
    match (name, value) {
        ("error", "") => "status = error".to_owned(),
        (_, "") => {
            let field = traceql::Field::Attribute { scope: Scope::Any, name: name.to_owned() };
            format!("(event:name = {} || {field} != nil)", quoted(name))
        }
        // Why a span failed is told as this tag's value.
        ("error", why) if !matches!(why, "true" | "false") => {
            let tag = tag_condition(Scope::Any, name, why);
            format!("((status = error && statusMessage = {}) || {tag})", quoted(why))
        }
        ("error", _) => condition(name, value),
        _ if name.starts_with("otel.") => condition(name, value),
        _ => tag_condition(Scope::Any, name, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_traceql() {
        let asked = [
            ("serviceName", "shop"),
            ("spanName", "all"),
            ("remoteServiceName", "bank"),
            ("annotationQuery", "http.path=/x and ws and error and a = 1 and a and b="),
            ("minDuration", "100"),
        ];
        let params = Params(asked.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect());
        let query = params.query().unwrap_or_else(|refusal| panic!("{}", refusal.1));
        traceql::parse(&query).unwrap_or_else(|why| panic!("{query}: {why}"));
        for part in [
            "span.peer.service =",
            ".http.path =",
            "event:name =",
            ".ws != nil",
            "status = error",
            ".a = 1",
            ".b != nil",
            "duration >= 100us",
        ] {
            assert!(query.contains(part), "{part}: {query}");
        }
        assert!(!query.contains("all") && !query.contains(".a != nil"), "{query}");
        traceql::parse(&Params(HashMap::new()).query().unwrap_or_default()).unwrap();
    }

    #[test]
    fn of_one_key_the_last_value_counts() {
        for (query, asked) in [
            ("", vec![]),
            ("a", vec![("a", "")]),
            (" a = 1 and b and  c=d=e ", vec![("a", "1"), ("b", ""), ("c", "d=e")]),
            ("a=1 and a and a=2", vec![("a", "2")]),
            ("a and a=1", vec![("a", "1")]),
            ("a=1 and a=", vec![("a", "")]),
            ("=x and  and b", vec![("b", "")]),
        ] {
            assert_eq!(annotations(query), asked, "{query:?}");
        }
        assert_eq!(annotations(&" and a".repeat(10_000)).len(), 2);
    }

    #[test]
    fn why_a_span_failed_is_the_value_of_its_error() {
        for (value, query) in
            [("refused", "statusMessage"), ("true", "status = error"), ("false", "status != error")]
        {
            let asked = annotation("error", value);
            assert!(asked.contains(query), "{asked}");
            traceql::parse(&format!("{{ {asked} }}")).unwrap_or_else(|why| panic!("{asked}: {why}"));
        }
    }
}
