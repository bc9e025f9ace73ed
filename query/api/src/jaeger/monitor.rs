//! Rates, errors and latencies of services over time, as the page's monitor asks for them: PromQL over what is counted
//! while spans come in.
//!
//! Times are milliseconds; of latencies, too. Answers are the JSON of Jaeger's `MetricFamily`.

use super::params::{Params, truth};
use super::{Answer, Refusal};
use crate::TenantHeader;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router, routing::get};
use engine::{Engine, LOOKBACK_MS, PromResult, PromSeries};
use model::{Clock, Point, SpanKind, SystemClock, Tenant};
use serde_json::{Value, json};
use std::sync::Arc;

const CALLS: &str = "traces_spanmetrics_calls_total";
const LATENCY: &str = "traces_spanmetrics_latency_bucket";

/// Jaeger's: an hour, in steps of 5 s, each a rate over 10 minutes.
const HOUR_MS: i64 = 3_600_000;
const STEP_MS: i64 = 5_000;
const RATE_MS: i64 = 600_000;

pub(super) fn router() -> Router<Arc<Engine>> {
    Router::new()
        .route("/calls", get(calls))
        .route("/errors", get(errors))
        .route("/latencies", get(latencies))
}

async fn calls(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let asked = Asked::of(&params)?;
    asked.answer(&engine, &tenant, &asked.calls(), "call_rate", "calls/sec, grouped by service").await
}

async fn errors(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let asked = Asked::of(&params)?;
    let help = "error rate, computed as a fraction of errors/sec over calls/sec, grouped by service";
    asked.answer(&engine, &tenant, &asked.errors(), "error_rate", help).await
}

async fn latencies(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let text = params.get("quantile").unwrap_or("");
    let quantile = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| {
        let why = format!("unable to parse param 'quantile': {text:?} is no number from 0 to 1; write 0.95");
        Refusal::bad(why)
    })?;
    let asked = Asked::of(&params)?;
    let help = format!("{quantile:.2}th quantile latency, grouped by service");
    asked.answer(&engine, &tenant, &asked.latencies(quantile), "latencies", &help).await
}

struct Asked {
    /// Regular expressions as texts of PromQL.
    services: String,
    kinds: String,
    by_operation: bool,
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
    rate_ms: i64,
}

impl Asked {
    fn of(params: &Params) -> Answer<Asked> {
        let services: Vec<String> = params.all("service").map(literally).collect();
        if services.is_empty() {
            let why = "unable to parse param 'service': please provide at least one service name";
            return Err(Refusal::bad(why));
        }
        let kind = |word: &str| {
            let kind = SpanKind::from_word(word).ok_or_else(|| {
                Refusal::bad(format!("unable to parse param 'spanKind': unsupported span kind: '{word}'"))
            });
            kind.map(|kind| format!("SPAN_KIND_{}", kind.as_str().to_uppercase()))
        };
        let mut kinds: Vec<String> = params.all("spanKind").map(kind).collect::<Result<_, _>>()?;
        if kinds.is_empty() {
            kinds.push("SPAN_KIND_SERVER".to_owned());
        }
        let by_operation = match params.get("groupByOperation") {
            None => false,
            Some(text) => truth(text).ok_or_else(|| {
                Refusal::bad(format!(
                    "unable to parse param 'groupByOperation': {text:?}; write true or false"
                ))
            })?,
        };
        let end_ms = params.ms("endTs")?.unwrap_or_else(|| SystemClock.now_ms());
        let lookback_ms = params.ms("lookback")?.unwrap_or(HOUR_MS);
        Ok(Asked {
            services: text(&services.join("|")),
            kinds: text(&kinds.join("|")),
            by_operation,
            start_ms: end_ms.saturating_sub(lookback_ms),
            end_ms,
            step_ms: params.ms("step")?.unwrap_or(STEP_MS),
            rate_ms: params.ms("ratePer")?.unwrap_or(RATE_MS),
        })
    }

    /// The sum of the rates of a metric, by service and, where they are asked for, operations.
    fn rates(&self, metric: &str, more: &str, by: &str) -> String {
        let operation = if self.by_operation { ", span_name" } else { "" };
        let Asked { services, kinds, rate_ms, .. } = self;
        format!(
            "sum by (service{operation}{by}) \
             (rate({metric}{{service=~{services}, span_kind=~{kinds}{more}}}[{rate_ms}ms]))"
        )
    }

    fn calls(&self) -> String {
        self.rates(CALLS, "", "")
    }

    /// Whoever had calls and no errors has 0.
    fn errors(&self) -> String {
        let (calls, failed) = (self.calls(), self.rates(CALLS, ", status_code=\"STATUS_CODE_ERROR\"", ""));
        format!("({failed} or 0 * {calls}) / {calls}")
    }

    fn latencies(&self, quantile: f64) -> String {
        format!("1000 * histogram_quantile({quantile}, {})", self.rates(LATENCY, "", ", le"))
    }

    async fn answer(
        &self,
        engine: &Engine,
        tenant: &Tenant,
        query: &str,
        what: &str,
        help: &str,
    ) -> Answer<Json<Value>> {
        let Asked { start_ms, end_ms, step_ms, .. } = *self;
        let answer = engine.promql_range(tenant, query, start_ms, end_ms, step_ms, LOOKBACK_MS).await?;
        // There is no room to say that an answer is not whole: then there is none.
        if !answer.warnings.is_empty() {
            return Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, answer.warnings.join("; ")));
        }
        let series = match answer.result {
            PromResult::Matrix(series) => series,
            _ => vec![],
        };
        let (of, and) =
            if self.by_operation { ("service_operation", " & operation") } else { ("service", "") };
        Ok(Json(json!({
            "name": format!("{of}_{what}"),
            "type": "GAUGE",
            "help": format!("{help}{and}"),
            "metrics": series.iter().map(metric).collect::<Vec<_>>(),
        })))
    }
}

/// A text as a regular expression that fits it alone.
fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

/// JSON's texts are PromQL's, too.
fn text(value: &str) -> String {
    json!(value).to_string()
}

fn metric(series: &PromSeries) -> Value {
    let labels: Vec<Value> = [("service_name", "service"), ("operation", "span_name")]
        .into_iter()
        .filter_map(|(theirs, ours)| Some(json!({ "name": theirs, "value": series.labels.get(ours)? })))
        .collect();
    let point = |point: &Point| {
        let time = chrono::DateTime::from_timestamp_millis(point.ts_ms).unwrap_or_default();
        let value = match point.value {
            value if value.is_finite() => json!(value),
            value if value.is_nan() => json!("NaN"),
            value => json!(if value > 0.0 { "Infinity" } else { "-Infinity" }),
        };
        json!({
            "gaugeValue": { "doubleValue": value },
            "timestamp": time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        })
    };
    json!({ "labels": labels, "metricPoints": series.points.iter().map(point).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::super::tests::World;
    use super::*;
    use model::{Batch, MetricBatch, Sink, Write};

    #[test]
    fn a_service_is_named_literally() {
        assert_eq!(literally("a.b|c"), r"a\.b\|c");
        assert_eq!(text(&literally("a.b")), r#""a\\.b""#);
    }

    #[test]
    fn what_is_no_question_is_refused_in_jaegers_words() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
            Asked::of(&Params(pairs.collect())).map_err(|refusal| refusal.1)
        };
        for (pairs, says) in [
            (vec![], "please provide at least one service name"),
            (vec![("service", "a"), ("spanKind", "wild")], "unsupported span kind: 'wild'"),
            (vec![("service", "a"), ("groupByOperation", "yes")], "groupByOperation"),
            (vec![("service", "a"), ("step", "5s")], "unable to parse param 'step'"),
        ] {
            let why = of(&pairs).err().unwrap_or_default();
            assert!(why.contains(says), "{pairs:?}: {why}");
        }
        let asked = of(&[("service", "a"), ("service", "b"), ("groupByOperation", "true")]);
        let asked = asked.unwrap_or_else(|why| panic!("{why}"));
        for query in [asked.calls(), asked.errors(), asked.latencies(0.95)] {
            promql::parse(&query).unwrap_or_else(|why| panic!("{query}: {why}"));
            assert!(query.contains(r#"service=~"a|b", span_kind=~"SPAN_KIND_SERVER""#), "{query}");
        }
    }

    /// One call a second for 20 minutes, of which each fourth fails, all in 50 to 100 ms.
    #[tokio::test]
    async fn rates_errors_and_latencies() {
        let world = World::new().await;
        let now_ms = SystemClock.now_ms() / 1_000 * 1_000;
        let mut batch = MetricBatch::default();
        let mut counted = |name: &str, more: [(&str, &str); 2], per_step: f64| {
            let mut labels = vec![("__name__", name), ("service", "shop"), ("span_kind", "SPAN_KIND_SERVER")];
            labels.extend(more);
            labels.sort_unstable();
            batch.begin_series(&mut labels).unwrap();
            for step in 0..=80 {
                batch.push(now_ms - (80 - step) * 15_000, step as f64 * per_step);
            }
        };
        let name = ("span_name", "GET /");
        counted(CALLS, [name, ("status_code", "STATUS_CODE_UNSET")], 11.25);
        counted(CALLS, [name, ("status_code", "STATUS_CODE_ERROR")], 3.75);
        counted(LATENCY, [name, ("le", "0.05")], 0.0);
        counted(LATENCY, [name, ("le", "0.1")], 15.0);
        counted(LATENCY, [name, ("le", "+Inf")], 15.0);
        let write = Write { tenant: Tenant::default(), batch: Batch::Metrics(batch), origin: None };
        world.store.write(write).await.unwrap();
        let ask = async |what: &str| {
            let path = format!("/metrics/{what}service=shop&endTs={now_ms}&lookback=60000&step=60000");
            let (status, body) = world.get(&path).await;
            assert_eq!(status, StatusCode::OK, "{path}: {body}");
            let value = body["metrics"][0]["metricPoints"][1]["gaugeValue"]["doubleValue"].as_f64();
            (body, value.unwrap())
        };
        let close = |value: f64, to: f64| assert!((value - to).abs() < 1e-6 * to, "{value} is not {to}");
        let (body, rate) = ask("calls?").await;
        close(rate, 1.0);
        assert_eq!(
            (&body["name"], &body["type"], &body["metrics"][0]["labels"]),
            (
                &json!("service_call_rate"),
                &json!("GAUGE"),
                &json!([{ "name": "service_name", "value": "shop" }])
            )
        );
        close(ask("errors?").await.1, 0.25);
        close(ask("latencies?quantile=0.5&").await.1, 75.0);
        let (body, _) = ask("calls?groupByOperation=true&").await;
        assert_eq!(body["name"], "service_operation_call_rate");
        assert_eq!(body["metrics"][0]["labels"][1], json!({ "name": "operation", "value": "GET /" }));
        let (status, body) = world.get("/metrics/calls?service=nobody").await;
        assert_eq!((status, &body["metrics"]), (StatusCode::OK, &json!([])));
        for quantile in ["", "2", "-0.1", "inf", "nan"] {
            let path = format!("/metrics/latencies?service=shop&quantile={quantile}");
            assert_eq!(world.get(&path).await.0, StatusCode::BAD_REQUEST, "{path}");
        }
    }
}
