//! Parameters of a Zipkin call, and the TraceQL that a search is.

use super::Refusal;
use crate::traces::{quoted, tag_condition, trace_id, within};
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use model::{Clock, SystemClock, TimeRange, TraceId};
use std::collections::HashMap;
use traceql::Scope;

/// How far back is looked where nothing is said, as in Zipkin: a day.
const LOOKBACK_MS: i64 = 86_400_000;
const TRACE_IDS_MAX: usize = 1_000;

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
        let number = text.parse::<i64>().ok().filter(|number| *number >= 0);
        number.map(Some).ok_or_else(|| format!("{name} is {text:?}; write a whole number").into())
    }

    pub fn limit(&self, default: usize) -> Result<usize, Refusal> {
        Ok(self.number("limit")?.filter(|limit| *limit > 0).map_or(default, |limit| limit as usize))
    }

    /// `endTs` and `lookback`.
    pub fn range(&self) -> Result<TimeRange, Refusal> {
        let end_ms = self.number("endTs")?.unwrap_or_else(|| SystemClock.now_ms());
        let lookback_ms = self.number("lookback")?.unwrap_or(LOOKBACK_MS);
        // The whole of the last millisecond.
        let end = end_ms.saturating_add(1).saturating_mul(1_000_000) - 1;
        Ok(within(end_ms.saturating_sub(lookback_ms).saturating_mul(1_000_000), end)?)
    }

    pub fn trace_ids(&self) -> Result<Vec<TraceId>, Refusal> {
        let ids: Vec<&str> = self.required("traceIds")?.split(',').collect();
        if ids.len() > TRACE_IDS_MAX {
            return Err(format!("more than {TRACE_IDS_MAX} trace ids; ask in several calls").into());
        }
        Ok(ids.into_iter().map(trace_id).collect::<Result<_, _>>()?)
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
        for (name, op) in [("minDuration", ">="), ("maxDuration", "<=")] {
            if let Some(us) = self.number(name)? {
                conditions.push(format!("duration {op} {us}us"));
            }
        }
        let annotations = self.get("annotationQuery").unwrap_or("").split(" and ").map(str::trim);
        conditions.extend(annotations.filter(|text| !text.is_empty()).map(annotation));
        Ok(format!("{{ {} }}", conditions.join(" && ")))
    }
}

/// `key=value` is a tag; `value` alone an annotation, or a tag that is there.
fn annotation(text: &str) -> String {
    match text.split_once('=') {
        Some(("error", "true")) => "status = error".to_owned(),
        Some((name, value)) => tag_condition(Scope::Any, name, value),
        None if text == "error" => "status = error".to_owned(),
        None => {
            let field = traceql::Field::Attribute { scope: Scope::Span, name: text.to_owned() };
            format!("(event:name = {} || {field} != nil)", quoted(text))
        }
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
            ("annotationQuery", "http.path=/x and ws and error"),
            ("minDuration", "100"),
        ];
        let params = Params(asked.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect());
        let query = params.query().unwrap_or_else(|refusal| panic!("{}", refusal.1));
        traceql::parse(&query).unwrap_or_else(|why| panic!("{query}: {why}"));
        for part in
            ["span.peer.service =", ".http.path =", "event:name =", "span.ws != nil", "status = error"]
        {
            assert!(query.contains(part), "{part}: {query}");
        }
        assert!(!query.contains("all") && query.contains("duration >= 100us"), "{query}");
        traceql::parse(&Params(HashMap::new()).query().unwrap_or_default()).unwrap();
    }
}
