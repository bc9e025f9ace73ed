//! `scrape_configs` as Prometheus has them, from its YAML file: what was written, then what it means. Other sections of
//! the file are taken as they are; a kind of discovery that is not there is a mistake, not silence.

use super::relabel::Rule;
use serde::Deserialize;
use serde_yaml_ng::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    pub with_classic_histograms: bool,
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
    pub relabel: Vec<Rule>,
    pub metric_relabel: Vec<Rule>,
    pub extra_metrics: bool,
}

/// How a target is spoken to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Client {
    pub basic: Option<(Secret, Secret)>,
    /// Scheme and credentials.
    pub authorization: Option<(String, Secret)>,
    pub tls: Tls,
    pub follow_redirects: bool,
    pub compression: bool,
    pub proxy: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    pub ca: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub cert: Option<String>,
    pub cert_file: Option<PathBuf>,
    pub key: Option<String>,
    pub key_file: Option<PathBuf>,
    pub insecure_skip_verify: bool,
    server_name: Option<String>,
    min_version: Option<String>,
    max_version: Option<String>,
}

/// A text, or the file that has it, which is read at each use.
#[derive(Clone, PartialEq)]
pub enum Secret {
    Text(String),
    File(PathBuf),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Told apart where configurations are compared, and not shown.
            Secret::Text(text) => write!(f, "<secret {:x}>", xxhash_rust::xxh3::xxh3_64(text.as_bytes())),
            Secret::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Secret {
    pub fn read(&self) -> Result<String, String> {
        match self {
            Secret::Text(text) => Ok(text.clone()),
            Secret::File(path) => std::fs::read_to_string(path)
                .map(|text| text.trim().to_owned())
                .map_err(|wrong| format!("unable to read {}: {wrong}", path.display())),
        }
    }
}

/// Targets with the labels that they share.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    #[serde(default)]
    pub targets: Vec<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What is wrong, and where it stands.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{line}:{column}: {text}")]
pub struct Mistake {
    pub line: usize,
    pub column: usize,
    pub text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WholeFile {
    #[serde(default)]
    global: Global,
    #[serde(default)]
    scrape_configs: Vec<Written>,
    // Sections of Prometheus that have other places here.
    #[serde(default, rename = "scrape_config_files")]
    _scrape_config_files: Option<Value>,
    #[serde(default, rename = "rule_files")]
    _rule_files: Option<Value>,
    #[serde(default, rename = "alerting")]
    _alerting: Option<Value>,
    #[serde(default, rename = "remote_write")]
    _remote_write: Option<Value>,
    #[serde(default, rename = "remote_read")]
    _remote_read: Option<Value>,
    #[serde(default, rename = "storage")]
    _storage: Option<Value>,
    #[serde(default, rename = "tracing")]
    _tracing: Option<Value>,
    #[serde(default, rename = "otlp")]
    _otlp: Option<Value>,
    #[serde(default, rename = "runtime")]
    _runtime: Option<Value>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Global {
    scrape_interval: Option<Span>,
    scrape_timeout: Option<Span>,
    scrape_protocols: Option<Vec<Protocol>>,
    scrape_native_histograms: Option<bool>,
    always_scrape_classic_histograms: Option<bool>,
    extra_scrape_metrics: Option<bool>,
    body_size_limit: Option<Bytes>,
    sample_limit: Option<usize>,
    target_limit: Option<usize>,
    label_limit: Option<usize>,
    label_name_length_limit: Option<usize>,
    label_value_length_limit: Option<usize>,
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
    #[serde(rename = "fallback_scrape_protocol")]
    _fallback_scrape_protocol: Option<Protocol>,
    scrape_native_histograms: Option<bool>,
    #[serde(alias = "scrape_classic_histograms")]
    always_scrape_classic_histograms: Option<bool>,
    #[serde(rename = "convert_classic_histograms_to_nhcb")]
    _convert_classic_histograms_to_nhcb: Option<bool>,
    #[serde(rename = "scrape_failure_log_file")]
    _scrape_failure_log_file: Option<String>,
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
    #[serde(rename = "native_histogram_bucket_limit")]
    _native_histogram_bucket_limit: Option<usize>,
    #[serde(rename = "native_histogram_min_bucket_factor")]
    _native_histogram_min_bucket_factor: Option<f64>,
    #[serde(rename = "keep_dropped_targets")]
    _keep_dropped_targets: Option<usize>,
    #[serde(rename = "metric_name_validation_scheme")]
    _metric_name_validation_scheme: Option<String>,
    #[serde(rename = "metric_name_escaping_scheme")]
    _metric_name_escaping_scheme: Option<String>,
    extra_scrape_metrics: Option<bool>,
    #[serde(default)]
    static_configs: Vec<Group>,
    #[serde(default)]
    file_sd_configs: Vec<Files>,
    #[serde(default)]
    relabel_configs: Vec<Rule>,
    #[serde(default)]
    metric_relabel_configs: Vec<Rule>,
    basic_auth: Option<Basic>,
    authorization: Option<Authorization>,
    bearer_token: Option<String>,
    bearer_token_file: Option<PathBuf>,
    #[serde(default)]
    tls_config: Tls,
    #[serde(default = "yes")]
    follow_redirects: bool,
    #[serde(rename = "enable_http2")]
    _enable_http2: Option<bool>,
    proxy_url: Option<String>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    files: Vec<PathBuf>,
    /// Files are looked at more often than this.
    #[serde(rename = "refresh_interval")]
    _refresh_interval: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Basic {
    username: Option<String>,
    username_file: Option<PathBuf>,
    password: Option<String>,
    password_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Authorization {
    #[serde(rename = "type")]
    kind: Option<String>,
    credentials: Option<String>,
    credentials_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scheme {
    Http,
    Https,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
enum Protocol {
    PrometheusProto,
    #[serde(rename = "OpenMetricsText0.0.1")]
    OpenMetrics0,
    #[serde(rename = "OpenMetricsText1.0.0")]
    OpenMetrics1,
    #[serde(rename = "PrometheusText0.0.4")]
    Text0,
    #[serde(rename = "PrometheusText1.0.0")]
    Text1,
}

impl Protocol {
    fn accept(self) -> &'static str {
        match self {
            Protocol::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            Protocol::OpenMetrics0 => "application/openmetrics-text;version=0.0.1",
            Protocol::OpenMetrics1 => "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
            Protocol::Text0 => "text/plain;version=0.0.4",
            Protocol::Text1 => "text/plain;version=1.0.0;escaping=allow-utf-8",
        }
    }
}

/// The first is wanted most.
fn accept(protocols: &[Protocol]) -> String {
    let mut parts: Vec<String> = vec![];
    for (place, protocol) in protocols.iter().enumerate() {
        parts.push(format!("{};q=0.{}", protocol.accept(), protocols.len() + 1 - place));
    }
    parts.push("*/*;q=0.1".into());
    parts.join(",")
}

/// A duration as Prometheus writes it.
#[derive(Clone, Copy)]
struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration(&text).map(Span).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "not a valid duration string: {text:?}; write it as 15s or 1m30s"
            ))
        })
    }
}

/// `1h30m`, units from the largest to the smallest.
pub fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 31_536_000_000),
        ("w", 604_800_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut ms, mut next) = (text, 0u64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let unit = next + UNITS[next..].iter().position(|(unit, _)| *unit == &rest[..letters])?;
        ms = ms.checked_add(number.checked_mul(UNITS[unit].1)?)?;
        (rest, next) = (&rest[letters..], unit + 1);
    }
    (!text.is_empty()).then_some(Duration::from_millis(ms))
}

/// The other way.
pub fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis() as u64;
    let mut rest = ms;
    let mut out = String::new();
    for (unit, of_ms) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= of_ms {
            out.push_str(&format!("{}{unit}", rest / of_ms));
            rest %= of_ms;
        }
    }
    if ms == 0 { "0s".into() } else { out }
}

/// `10MB`; every unit counts by 1,024.
#[derive(Clone, Copy)]
struct Bytes(usize);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text,
            other => return Err(serde::de::Error::custom(format!("{other:?} is no number of bytes"))),
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let unit = text[digits..].trim_end_matches("iB").trim_end_matches('B');
        let power = ["", "K", "M", "G", "T"].iter().position(|known| *known == unit);
        let bytes = text[..digits].parse::<usize>().ok().zip(power);
        let bytes =
            bytes.and_then(|(number, power)| number.checked_mul(1usize.checked_shl(10 * power as u32)?));
        bytes.map(Bytes).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is no number of bytes; write it as 10MB or 512KB"))
        })
    }
}

/// A body larger than this is no exposition, whatever the file allows.
const BODY_BYTES_MAX: usize = 256 << 20;

/// Jobs of a file's text; relative paths are below `folder`, the file's own.
pub fn parse(text: &str, folder: &Path) -> Result<Vec<Job>, Mistake> {
    let file: WholeFile = serde_yaml_ng::from_str(text).map_err(|wrong| mistake(text, &wrong))?;
    let mut jobs: Vec<Job> = vec![];
    for (number, written) in file.scrape_configs.into_iter().enumerate() {
        let name = written.job_name.clone();
        let wrong = |what: String| {
            let (line, column) = place_of_job(text, number);
            Mistake { line, column, text: format!("job {name:?}: {what}") }
        };
        if jobs.iter().any(|known| known.name == name) {
            return Err(wrong("found multiple scrape configs with this job name; give each its own".into()));
        }
        jobs.push(written.meaning(&file.global, folder).map_err(wrong)?);
    }
    Ok(jobs)
}

fn mistake(file: &str, wrong: &serde_yaml_ng::Error) -> Mistake {
    let (line, column) = wrong.location().map_or((1, 1), |at| (at.line(), at.column()));
    let text = wrong.to_string();
    let (line, column) = place_of_value(file, &text, line).unwrap_or((line, column));
    let text = text.split(" at line ").next().unwrap_or(&text);
    // Prometheus has some thirty kinds of discovery.
    let of_discovery = text.split('`').find(|word| word.ends_with("_sd_configs") || *word == "oauth2");
    let text = match of_discovery.filter(|word| text.contains(&format!("unknown field `{word}`"))) {
        Some(field) => format!("{field} is not supported; use static_configs or file_sd_configs"),
        // Without the list of everything that it might have been.
        None => text.split(", expected one of").next().unwrap_or(text).to_owned(),
    };
    Mistake { line, column, text }
}

/// Of a value that is wrong the parser knows only where its mapping begins; the message has the value itself.
fn place_of_value(file: &str, message: &str, from: usize) -> Option<(usize, usize)> {
    let value = message.split('"').nth(1).filter(|value| !value.is_empty())?;
    let lines = file.lines().enumerate().skip(from.saturating_sub(1));
    lines.map(|(line, text)| (line + 1, text.find(value))).find_map(|(line, at)| Some((line, at? + 1)))
}

/// The line on which a job begins: the parser keeps none for what it has read.
fn place_of_job(text: &str, number: usize) -> (usize, usize) {
    let lines = text.lines().enumerate();
    let mut begins = lines.filter_map(|(line, text)| Some((line + 1, text.find("job_name")? + 1)));
    begins.nth(number).unwrap_or((1, 1))
}

impl Written {
    fn meaning(self, global: &Global, folder: &Path) -> Result<Job, String> {
        let client = self.client(folder)?;
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
        if with_native && !protocols.contains(&Protocol::PrometheusProto) {
            protocols.insert(0, Protocol::PrometheusProto);
        }
        if let (Some(target), true) = (
            self.static_configs.iter().flat_map(|group| &group.targets).find(|target| target.contains('/')),
            self.relabel_configs.is_empty(),
        ) {
            return Err(format!("{target:?} is not a valid hostname; write targets as host:port"));
        }
        let limit = |own: Option<usize>, global: Option<usize>| own.or(global).unwrap_or(0);
        let body = self.body_size_limit.or(global.body_size_limit).map_or(0, |bytes| bytes.0);
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
            accept: accept(&protocols),
            with_classic_histograms: self
                .always_scrape_classic_histograms
                .or(global.always_scrape_classic_histograms)
                .unwrap_or(false),
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
            relabel: self.relabel_configs,
            metric_relabel: self.metric_relabel_configs,
            extra_metrics: self.extra_scrape_metrics.or(global.extra_scrape_metrics).unwrap_or(false),
        })
    }

    fn client(&self, folder: &Path) -> Result<Client, String> {
        let secret = |text: &Option<String>, file: &Option<PathBuf>, what: &str| match (text, file) {
            (Some(_), Some(_)) => Err(format!("at most one of {what} and {what}_file must be configured")),
            (Some(text), None) => Ok(Some(Secret::Text(text.clone()))),
            (None, Some(file)) => Ok(Some(Secret::File(folder.join(file)))),
            (None, None) => Ok(None),
        };
        let basic = match &self.basic_auth {
            None => None,
            Some(Basic { username, username_file, password, password_file }) => {
                let none = || Secret::Text(String::new());
                Some((
                    secret(username, username_file, "username")?.unwrap_or_else(none),
                    secret(password, password_file, "password")?.unwrap_or_else(none),
                ))
            }
        };
        let authorization = match &self.authorization {
            None => secret(&self.bearer_token, &self.bearer_token_file, "bearer_token")?
                .map(|token| ("Bearer".to_owned(), token)),
            Some(Authorization { kind, credentials, credentials_file }) => {
                let kind = kind.clone().unwrap_or_else(|| "Bearer".into());
                if kind.eq_ignore_ascii_case("basic") {
                    return Err(
                        "authorization type cannot be set to \"basic\", use basic_auth instead".into()
                    );
                }
                secret(credentials, credentials_file, "credentials")?.map(|token| (kind, token))
            }
        };
        if basic.is_some() && authorization.is_some() {
            return Err("at most one of basic_auth, authorization and bearer_token must be configured".into());
        }
        let mut tls = self.tls_config.clone();
        if tls.server_name.is_some() {
            return Err(
                "tls_config.server_name is not supported; name the target as its certificate does".into()
            );
        }
        for file in [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file].into_iter().flatten() {
            *file = folder.join(&*file);
        }
        let has_cert = tls.cert.is_some() || tls.cert_file.is_some();
        if has_cert != (tls.key.is_some() || tls.key_file.is_some()) {
            return Err("tls_config needs both cert and key, or none of them".into());
        }
        let (follow_redirects, compression) = (self.follow_redirects, self.enable_compression);
        Ok(Client { basic, authorization, tls, follow_redirects, compression, proxy: self.proxy_url.clone() })
    }
}

#[cfg(test)]
mod tests;
