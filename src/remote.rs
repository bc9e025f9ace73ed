//! The contracts over the network, for roles that run as processes of their own: [`RemoteAsk`] asks a query process,
//! [`RemoteSink`] writes to an ingest process. Both speak the public Prometheus protocols.

use crate::config::Config;
use crate::trace_context;
use agent::{Caller, Certificates};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use model::{
    Answer, Ask, AskError, Batch, Histogram, Labels, Point, Receipt, Refused, SeriesPoints, Sink, Tenant,
    Write,
};
use reqwest::{IntoUrl, Method, RequestBuilder};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Longer than any query may take (`--query-timeout` answers first).
const ASK_TIMEOUT: Duration = Duration::from_secs(150);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What is shown to other processes, and believed of them: a token, read at each use as tokens in files rotate, and
/// certificates.
#[derive(Clone, Debug, Default)]
pub struct Access {
    pub token_file: Option<PathBuf>,
    pub certificates: Certificates,
}

impl Access {
    pub fn of(config: &Config) -> Access {
        Access {
            token_file: config.ingest_token_file.clone(),
            certificates: config.ingest_certificates.clone(),
        }
    }
}

/// Another process of ours, at its URL.
pub struct Process {
    base: String,
    access: Access,
    caller: Caller,
}

impl Process {
    pub fn new(base: &str, access: Access, timeout: Duration) -> anyhow::Result<Process> {
        crate::telemetry::install_tls();
        let caller = Caller::new(access.certificates.clone(), timeout, Some(timeout))?;
        Ok(Process { base: base.to_owned(), access, caller })
    }

    /// In the trace of what is under way. A token that cannot be read is not shown, and the other side says that it misses it.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        let request = self.caller.http().request(method, url).headers(trace_context::headers());
        match self.access.token_file.as_ref().and_then(|path| std::fs::read_to_string(path).ok()) {
            Some(token) => request.bearer_auth(token.trim()),
            None => request,
        }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn no_answer(&self, wrong: &reqwest::Error) -> String {
        format!("no answer of {}: {}", self.base, self.caller.cause(wrong))
    }
}

/// Asks a query process, in PromQL or LogQL.
pub struct RemoteAsk {
    process: Process,
    /// Below it are `query`, `query_range` and `format_query`.
    root: &'static str,
}

const METRICS_ROOT: &str = "/api/v1";
const LOGS_ROOT: &str = "/loki/api/v1";

impl RemoteAsk {
    pub fn metrics(base: &str, access: Access) -> anyhow::Result<RemoteAsk> {
        Ok(RemoteAsk { process: Process::new(base, access, ASK_TIMEOUT)?, root: METRICS_ROOT })
    }

    pub fn logs(base: &str, access: Access) -> anyhow::Result<RemoteAsk> {
        Ok(RemoteAsk { process: Process::new(base, access, ASK_TIMEOUT)?, root: LOGS_ROOT })
    }

    async fn get(
        &self,
        tenant: Option<&Tenant>,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Value, AskError> {
        let base = self.process.base();
        let url = reqwest::Url::parse_with_params(&format!("{base}{}/{path}", self.root), query)
            .map_err(|wrong| AskError::Broken(format!("{base}: {wrong}")))?;
        let mut request = self.process.request(Method::GET, url);
        if let Some(tenant) = tenant {
            request = request.header("X-Scope-OrgID", tenant.as_str());
        }
        let response =
            request.send().await.map_err(|wrong| AskError::Broken(self.process.no_answer(&wrong)))?;
        let status = response.status().as_u16();
        let text = response
            .text()
            .await
            .map_err(|wrong| AskError::Broken(format!("no whole answer of {base}: {wrong}")))?;
        // Loki's errors are plain text.
        let json = serde_json::from_str(&text).unwrap_or_else(|_| serde_json::json!({ "error": text }));
        if json["status"] == "success" {
            return Ok(json);
        }
        let text = json["error"].as_str().unwrap_or("no reason given").to_owned();
        Err(match status {
            400 => AskError::BadQuery(text),
            422 => AskError::TooMuch(text),
            503 => AskError::Timeout(text),
            _ => AskError::Broken(text),
        })
    }
}

#[async_trait::async_trait]
impl Ask for RemoteAsk {
    async fn instant(&self, tenant: &Tenant, query: &str, at_ms: i64) -> Result<Answer, AskError> {
        // A query process of ours adds what Prometheus' JSON does not tell of a native histogram.
        let parameters =
            [("query", query.to_owned()), ("time", seconds(at_ms)), ("histograms", "encoded".to_owned())];
        Ok(answer(&self.get(Some(tenant), "query", &parameters).await?))
    }

    async fn range(
        &self,
        tenant: &Tenant,
        query: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> Result<Answer, AskError> {
        let parameters = [
            ("query", query.to_owned()),
            ("start", seconds(start_ms)),
            ("end", seconds(end_ms)),
            ("step", seconds(step_ms)),
        ];
        Ok(answer(&self.get(Some(tenant), "query_range", &parameters).await?))
    }

    async fn check(&self, query: &str) -> Result<(), AskError> {
        if self.root == LOGS_ROOT {
            return engine::LogAsk::checked(query);
        }
        self.get(None, "format_query", &[("query", query.to_owned())]).await.map(|_| ())
    }
}

/// Both servers take seconds with a fraction.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

fn answer(json: &Value) -> Answer {
    let data = &json["data"];
    let point = |pair: &Value| {
        Some(Point { ts_ms: (pair[0].as_f64()? * 1e3).round() as i64, value: number(pair[1].as_str()?)? })
    };
    let series = match data["resultType"].as_str() {
        Some("scalar") => vec![SeriesPoints {
            labels: Labels::empty(),
            points: point(&data["result"]).into_iter().collect(),
        }],
        _ => data["result"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|series| SeriesPoints {
                labels: labels(series),
                points: std::iter::once(&series["value"])
                    .chain(series["values"].as_array().into_iter().flatten())
                    .filter_map(point)
                    .collect(),
            })
            .filter(|series: &SeriesPoints| !series.points.is_empty())
            .collect(),
    };
    let histograms = match data["resultType"].as_str() {
        Some("vector") => data["result"].as_array().into_iter().flatten().filter_map(histogram).collect(),
        _ => vec![],
    };
    let warnings = json["warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|w| w.as_str().map(str::to_owned))
        .collect();
    Answer { series, histograms, warnings }
}

fn labels(series: &Value) -> Labels {
    let pairs = series["metric"].as_object().into_iter().flatten();
    Labels::from_pairs(pairs.map(|(name, value)| (name, value.as_str().unwrap_or(""))))
}

fn histogram(series: &Value) -> Option<(Labels, Arc<Histogram>)> {
    let bytes = BASE64_STANDARD.decode(series["histogram"][1]["encoded"].as_str()?).ok()?;
    Some((labels(series), Arc::new(Histogram::decode(&bytes).ok()?)))
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        other => other.parse().ok(),
    }
}

/// Writes metrics to an ingest process by remote write.
pub struct RemoteSink(Process);

impl RemoteSink {
    pub fn new(base: &str, access: Access) -> anyhow::Result<RemoteSink> {
        Ok(RemoteSink(Process::new(base, access, WRITE_TIMEOUT)?))
    }
}

#[async_trait::async_trait]
impl Sink for RemoteSink {
    async fn write(&self, write: Write) -> Result<Receipt, Refused> {
        let Batch::Metrics(batch) = &write.batch else {
            return Err(Refused::Broken("only metrics are written to a remote ingest process".into()));
        };
        let process = &self.0;
        let response = process
            .request(Method::POST, format!("{}/api/v1/write", process.base()))
            .header("Content-Type", "application/x-protobuf")
            .header("Content-Encoding", "snappy")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0")
            .header("X-Scope-OrgID", write.tenant.as_str())
            .body(wire::remote_write::encode(batch))
            .send()
            .await
            .map_err(|wrong| Refused::Broken(process.no_answer(&wrong)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(Receipt::of_all(&write.batch));
        }
        let text = response.text().await.unwrap_or_default();
        Err(match status.as_u16() {
            429 | 503 => Refused::Busy { why: text, retry_after: Duration::from_secs(1) },
            400 | 413 => Refused::TooMuch(text),
            other => Refused::Broken(format!("{} answered {other}: {text}", process.base())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_keeps_its_labels_and_special_numbers() {
        let json = serde_json::json!({"status": "success", "warnings": ["partial"], "data": {"resultType": "vector",
            "result": [{"metric": {"a": "b"}, "value": [1.5, "+Inf"]}]}});
        let answer = answer(&json);
        assert_eq!(answer.warnings, ["partial"]);
        assert_eq!(answer.series[0].labels.get("a"), Some("b"));
        assert_eq!(answer.series[0].points, [Point { ts_ms: 1500, value: f64::INFINITY }]);
    }

    #[test]
    fn a_native_histogram_comes_whole() {
        let whole = Histogram {
            schema: 2,
            count: 3.0,
            sum: 4.5,
            zero_threshold: 0.5,
            zero_count: 1.0,
            positive: vec![(-1, 2.0)],
            ..Histogram::default()
        };
        let mut bytes = vec![];
        whole.encode(&mut bytes);
        let told = serde_json::json!([1.5, { "count": "3", "sum": "4.5", "encoded": BASE64_STANDARD.encode(bytes) }]);
        let json = serde_json::json!({"status": "success", "data": {"resultType": "vector",
            "result": [{"metric": {"a": "b"}, "histogram": told}]}});
        let answer = answer(&json);
        assert!(answer.series.is_empty());
        assert_eq!(answer.histograms, [(Labels::from_pairs([("a", "b")]), Arc::new(whole))]);
    }
}
