//! `scrape_configs` as Prometheus has them, from its YAML file: what was written, then what it means. A key that is not
//! known is a mistake; one that is known and has no effect here is told by its name, as are the file's other sections.

mod discovery;
mod http;
mod mistake;
mod protocols;
mod units;

pub use discovery::{DnsDiscovery, Family, Group, HttpDiscovery};
pub use http::{Client, Oauth2, Proxy, Secret, Tls, TlsVersion};
pub use mistake::Mistake;
pub use units::{duration, duration_text};

use super::client::Format;
use super::relabel::Rule;
use discovery::{DnsNames, Files, HttpServer};
use http::{Authorization, Basic, Header, WrittenOauth2};
use mistake::{mistake, place_of_job};
use protocols::{Escaping, Protocol, accept};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_yaml_ng::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use units::{Bytes, Span};

/// One of `scrape_configs`, with what it takes over from `global`.
#[derive(Clone, Debug)]
pub struct Job {
    pub name: String,
    pub honor_labels: bool,
    pub honor_timestamps: bool,
    pub track_timestamps: bool,
    pub params: BTreeMap<String, Vec<String>>,
    pub interval: Duration,
    pub timeout: Duration,
    pub metrics_path: String,
    pub scheme: String,
    /// The `Accept` header.
    pub accept: String,
    /// What an answer is read as whose type is not known.
    pub fallback: Format,
    pub with_classic_histograms: bool,
    /// Histograms of series `_bucket`, `_sum`, `_count` become native ones with custom buckets.
    pub classic_to_native: bool,
    /// Buckets of a native histogram, 0 is no limit; and the least growth from one bucket to the next.
    pub buckets_max: usize,
    pub bucket_factor_min: f64,
    /// Names of letters, digits, `_` and `:` alone.
    pub legacy_names: bool,
    pub client: Client,
    pub body_bytes_max: usize,
    /// 0 is no limit, as in the file.
    pub samples_max: usize,
    pub targets_max: usize,
    pub labels_max: usize,
    pub label_name_bytes_max: usize,
    pub label_value_bytes_max: usize,
    pub groups: Vec<Group>,
    pub files: Vec<PathBuf>,
    pub http: Vec<HttpDiscovery>,
    pub dns: Vec<DnsDiscovery>,
    /// Dropped targets that are kept to be shown; 0 is no limit of its own.
    pub dropped_max: usize,
    pub relabel: Vec<Rule>,
    pub metric_relabel: Vec<Rule>,
    pub extra_metrics: bool,
}

/// The jobs of a file, and what of it has no effect here.
#[derive(Debug, Default)]
pub struct Parsed {
    pub jobs: Vec<Job>,
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WholeFile {
    #[serde(default)]
    global: Global,
    #[serde(default)]
    scrape_configs: Vec<Written>,
    #[serde(default)]
    scrape_config_files: Vec<PathBuf>,
    // Sections of Prometheus that have other places here.
    rule_files: Option<Value>,
    alerting: Option<Value>,
    remote_write: Option<Value>,
    remote_read: Option<Value>,
    storage: Option<Value>,
    tracing: Option<Value>,
    otlp: Option<Value>,
    runtime: Option<Value>,
}

/// What `scrape_config_files` name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JobsFile {
    #[serde(default)]
    scrape_configs: Vec<Written>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Global {
    scrape_interval: Option<Span>,
    scrape_timeout: Option<Span>,
    scrape_protocols: Option<Vec<Protocol>>,
    scrape_native_histograms: Option<bool>,
    convert_classic_histograms_to_nhcb: Option<bool>,
    always_scrape_classic_histograms: Option<bool>,
    extra_scrape_metrics: Option<bool>,
    body_size_limit: Option<Bytes>,
    sample_limit: Option<usize>,
    target_limit: Option<usize>,
    label_limit: Option<usize>,
    label_name_length_limit: Option<usize>,
    label_value_length_limit: Option<usize>,
    keep_dropped_targets: Option<usize>,
    metric_name_validation_scheme: Option<Validation>,
    metric_name_escaping_scheme: Option<Escaping>,
    evaluation_interval: Option<Value>,
    rule_query_offset: Option<Value>,
    query_log_file: Option<Value>,
    scrape_failure_log_file: Option<Value>,
    external_labels: Option<Value>,
    runtime: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    job_name: String,
    #[serde(default)]
    honor_labels: bool,
    #[serde(default = "yes")]
    honor_timestamps: bool,
    #[serde(default)]
    track_timestamps_staleness: bool,
    #[serde(default)]
    params: BTreeMap<String, Vec<String>>,
    scrape_interval: Option<Span>,
    scrape_timeout: Option<Span>,
    scrape_protocols: Option<Vec<Protocol>>,
    fallback_scrape_protocol: Option<Protocol>,
    scrape_native_histograms: Option<bool>,
    #[serde(alias = "scrape_classic_histograms")]
    always_scrape_classic_histograms: Option<bool>,
    convert_classic_histograms_to_nhcb: Option<bool>,
    scrape_failure_log_file: Option<Value>,
    metrics_path: Option<String>,
    scheme: Option<Scheme>,
    #[serde(default = "yes")]
    enable_compression: bool,
    body_size_limit: Option<Bytes>,
    sample_limit: Option<usize>,
    target_limit: Option<usize>,
    label_limit: Option<usize>,
    label_name_length_limit: Option<usize>,
    label_value_length_limit: Option<usize>,
    native_histogram_bucket_limit: Option<usize>,
    native_histogram_min_bucket_factor: Option<f64>,
    keep_dropped_targets: Option<usize>,
    metric_name_validation_scheme: Option<Validation>,
    metric_name_escaping_scheme: Option<Escaping>,
    extra_scrape_metrics: Option<bool>,
    #[serde(default)]
    static_configs: Vec<Group>,
    #[serde(default)]
    file_sd_configs: Vec<Files>,
    #[serde(default)]
    http_sd_configs: Vec<HttpServer>,
    #[serde(default)]
    dns_sd_configs: Vec<DnsNames>,
    #[serde(default)]
    relabel_configs: Vec<Rule>,
    #[serde(default)]
    metric_relabel_configs: Vec<Rule>,
    basic_auth: Option<Basic>,
    authorization: Option<Authorization>,
    oauth2: Option<WrittenOauth2>,
    bearer_token: Option<String>,
    bearer_token_file: Option<PathBuf>,
    #[serde(default)]
    tls_config: Tls,
    #[serde(default = "yes")]
    follow_redirects: bool,
    #[serde(default = "yes")]
    enable_http2: bool,
    proxy_url: Option<String>,
    no_proxy: Option<String>,
    #[serde(default)]
    proxy_from_environment: bool,
    proxy_connect_header: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default)]
    http_headers: BTreeMap<String, Header>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Validation {
    Utf8,
    Legacy,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scheme {
    Http,
    Https,
}

/// A body larger than this is no exposition, whatever the file allows.
const BODY_BYTES_MAX: usize = 256 << 20;

/// Jobs of a file's text; relative paths are below `folder`, the file's own.
pub fn parse(text: &str, folder: &Path) -> Result<Parsed, Mistake> {
    let mut file: WholeFile = read(text).map_err(|wrong| mistake(text, &wrong))?;
    let mut parsed = Parsed { jobs: vec![], warnings: file.without_effect() };
    let own = std::mem::take(&mut file.scrape_configs);
    take_jobs(&mut parsed, own, &file.global, text, folder)?;
    for pattern in &file.scrape_config_files {
        if pattern.parent().is_some_and(|folder| folder.to_string_lossy().contains('*')) {
            let why = format!(
                "scrape_config_files {pattern:?}: a * may stand in the name of a file, not of a folder"
            );
            return Err(Mistake { line: 1, column: 1, text: why });
        }
        for path in super::discover::matching(&folder.join(pattern)) {
            of_file(&mut parsed, &file.global, &path)?;
        }
    }
    Ok(parsed)
}

/// With `<<: *other`, which takes over what another mapping has; the parser tells it as a key.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_yaml_ng::Error> {
    serde_yaml_ng::from_str(text).or_else(|wrong| {
        if !text.contains("<<:") {
            return Err(wrong);
        }
        let mut value: Value = serde_yaml_ng::from_str(text)?;
        value.apply_merge()?;
        serde_yaml_ng::from_value(value)
    })
}

/// Jobs of another file that the first one names.
fn of_file(parsed: &mut Parsed, global: &Global, path: &Path) -> Result<(), Mistake> {
    let here = |text: String| Mistake { line: 1, column: 1, text: format!("{}: {text}", path.display()) };
    let text = std::fs::read_to_string(path).map_err(|wrong| here(wrong.to_string()))?;
    let found = read::<JobsFile>(&text).map_err(|wrong| mistake(&text, &wrong));
    let folder = path.parent().unwrap_or(Path::new("."));
    found
        .and_then(|found| take_jobs(parsed, found.scrape_configs, global, &text, folder))
        .map_err(|wrong| here(wrong.to_string()))
}

fn take_jobs(
    parsed: &mut Parsed,
    written: Vec<Written>,
    global: &Global,
    text: &str,
    folder: &Path,
) -> Result<(), Mistake> {
    for (number, written) in written.into_iter().enumerate() {
        let name = written.job_name.clone();
        let wrong = |what: String| {
            let (line, column) = place_of_job(text, number);
            Mistake { line, column, text: format!("job {name:?}: {what}") }
        };
        if parsed.jobs.iter().any(|known| known.name == name) {
            return Err(wrong("found multiple scrape configs with this job name; give each its own".into()));
        }
        if written.scrape_failure_log_file.is_some() {
            let what = "scrape_failure_log_file has no effect here: failures are in the log at level debug";
            parsed.warnings.push(format!("job {name:?}: {what}"));
        }
        parsed.jobs.push(written.meaning(global, folder).map_err(wrong)?);
    }
    Ok(())
}

impl WholeFile {
    /// What Prometheus knows and has another place, or none, here.
    fn without_effect(&self) -> Vec<String> {
        let global = &self.global;
        let all = [
            ("rule_files", &self.rule_files, "name rule files with --rules"),
            ("alerting", &self.alerting, "name Alertmanagers with --alertmanager"),
            ("remote_write", &self.remote_write, "what is scraped goes to --ingest"),
            ("remote_read", &self.remote_read, "there is nothing to read from elsewhere"),
            ("storage", &self.storage, "see --retention-metrics, --limit"),
            ("tracing", &self.tracing, "see --self-telemetry"),
            ("otlp", &self.otlp, "see the flags --otlp-…"),
            ("runtime", &self.runtime, "it is of Go's runtime"),
            ("global.runtime", &global.runtime, "it is of Go's runtime"),
            ("global.evaluation_interval", &global.evaluation_interval, "see --evaluation-interval"),
            ("global.rule_query_offset", &global.rule_query_offset, "write query_offset in the rule group"),
            ("global.query_log_file", &global.query_log_file, "there is no such log"),
            (
                "global.scrape_failure_log_file",
                &global.scrape_failure_log_file,
                "failures are in the log at level debug",
            ),
            (
                "global.external_labels",
                &global.external_labels,
                "add labels with relabel_configs (target_label, replacement)",
            ),
        ];
        let given = all.into_iter().filter(|(_, value, _)| value.is_some());
        given.map(|(key, _, what)| format!("{key} has no effect here: {what}")).collect()
    }
}

impl Written {
    fn meaning(mut self, global: &Global, folder: &Path) -> Result<Job, String> {
        let client = self.client().meaning(folder)?;
        if self.job_name.is_empty() {
            return Err("job_name is empty".into());
        }
        let default = global.scrape_interval.map_or(Duration::from_secs(60), |span| span.0);
        let interval = self.scrape_interval.map_or(default, |span| span.0);
        if interval.is_zero() {
            return Err("scrape_interval is 0; write it as 15s".into());
        }
        let default = global.scrape_timeout.map_or(Duration::from_secs(10), |span| span.0).min(interval);
        let timeout = self.scrape_timeout.map_or(default, |span| span.0);
        if timeout > interval {
            return Err("scrape timeout greater than scrape interval; lower scrape_timeout".into());
        }
        let with_native = self.scrape_native_histograms.or(global.scrape_native_histograms).unwrap_or(false);
        let mut protocols = self.scrape_protocols.or(global.scrape_protocols.clone()).unwrap_or_else(|| {
            vec![Protocol::OpenMetrics1, Protocol::OpenMetrics0, Protocol::Text1, Protocol::Text0]
        });
        if protocols.is_empty() {
            return Err("scrape_protocols cannot be empty".into());
        }
        if protocols.iter().enumerate().any(|(at, protocol)| protocols[..at].contains(protocol)) {
            return Err("duplicated protocol in scrape_protocols".into());
        }
        if with_native && !protocols.contains(&Protocol::PrometheusProto) {
            protocols.insert(0, Protocol::PrometheusProto);
        }
        if let (Some(target), true) = (
            self.static_configs.iter().flat_map(|group| &group.targets).find(|target| target.contains('/')),
            self.relabel_configs.is_empty(),
        ) {
            return Err(format!("{target:?} is not a valid hostname; write targets as host:port"));
        }
        let validation = self.metric_name_validation_scheme.or(global.metric_name_validation_scheme);
        let legacy_names = validation == Some(Validation::Legacy);
        let escaping = self.metric_name_escaping_scheme.or(global.metric_name_escaping_scheme);
        if legacy_names && escaping == Some(Escaping::AllowUtf8) {
            return Err("utf8 metric names requested but validation scheme is not set to UTF8; \
                 set metric_name_validation_scheme: utf8"
                .into());
        }
        let escaping =
            escaping.unwrap_or(if legacy_names { Escaping::Underscores } else { Escaping::AllowUtf8 });
        let limit = |own: Option<usize>, global: Option<usize>| own.or(global).unwrap_or(0);
        let body = self.body_size_limit.or(global.body_size_limit).map_or(0, |bytes| bytes.0);
        let http = self.http_sd_configs.into_iter().map(|server| server.meaning(folder));
        let dns = self.dns_sd_configs.into_iter().map(DnsNames::meaning);
        Ok(Job {
            name: self.job_name,
            honor_labels: self.honor_labels,
            honor_timestamps: self.honor_timestamps,
            track_timestamps: self.track_timestamps_staleness,
            params: self.params,
            interval,
            timeout,
            metrics_path: self.metrics_path.unwrap_or_else(|| "/metrics".into()),
            scheme: match self.scheme {
                Some(Scheme::Https) => "https".into(),
                _ => "http".into(),
            },
            accept: accept(&protocols, escaping),
            fallback: self.fallback_scrape_protocol.map_or(Format::Text, Protocol::format),
            with_classic_histograms: self
                .always_scrape_classic_histograms
                .or(global.always_scrape_classic_histograms)
                .unwrap_or(false),
            classic_to_native: self
                .convert_classic_histograms_to_nhcb
                .or(global.convert_classic_histograms_to_nhcb)
                .unwrap_or(false),
            buckets_max: self.native_histogram_bucket_limit.unwrap_or(0),
            bucket_factor_min: self.native_histogram_min_bucket_factor.unwrap_or(0.0),
            legacy_names,
            client,
            body_bytes_max: if body == 0 { BODY_BYTES_MAX } else { body.min(BODY_BYTES_MAX) },
            samples_max: limit(self.sample_limit, global.sample_limit),
            targets_max: limit(self.target_limit, global.target_limit),
            labels_max: limit(self.label_limit, global.label_limit),
            label_name_bytes_max: limit(self.label_name_length_limit, global.label_name_length_limit),
            label_value_bytes_max: limit(self.label_value_length_limit, global.label_value_length_limit),
            groups: self.static_configs,
            files: self
                .file_sd_configs
                .into_iter()
                .flat_map(|of| of.files)
                .map(|path| folder.join(path))
                .collect(),
            http: http.collect::<Result<_, _>>()?,
            dns: dns.collect::<Result<_, _>>()?,
            dropped_max: limit(self.keep_dropped_targets, global.keep_dropped_targets),
            relabel: self.relabel_configs,
            metric_relabel: self.metric_relabel_configs,
            extra_metrics: self.extra_scrape_metrics.or(global.extra_scrape_metrics).unwrap_or(false),
        })
    }

    fn client(&mut self) -> http::Written {
        http::Written {
            basic_auth: self.basic_auth.take(),
            authorization: self.authorization.take(),
            oauth2: self.oauth2.take(),
            bearer_token: self.bearer_token.take(),
            bearer_token_file: self.bearer_token_file.take(),
            tls_config: std::mem::take(&mut self.tls_config),
            follow_redirects: self.follow_redirects,
            enable_compression: self.enable_compression,
            enable_http2: self.enable_http2,
            proxy_url: self.proxy_url.take(),
            no_proxy: self.no_proxy.take(),
            proxy_from_environment: self.proxy_from_environment,
            proxy_connect_header: self.proxy_connect_header.take(),
            http_headers: std::mem::take(&mut self.http_headers),
        }
    }
}

#[cfg(test)]
mod tests;
