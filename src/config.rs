//! Configuration in two steps: [`Flags`] is what was written (command line, environment, TOML file), [`Config`] what
//! it means: parsed, defaulted, checked against itself. Nothing is opened or bound here.

mod flags;
mod memory_limit;
mod node;
#[cfg(feature = "server")]
mod server;
mod units;

pub use flags::Flags;
#[cfg(feature = "server")]
pub use units::place;
pub use units::{parse_bytes, parse_duration};

use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Which parts of the stack this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Up { demo: bool, agent: bool, alerts: bool, web: bool },
    Agent,
    Ingest,
    Query,
    Alerts,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Up { .. } => "up",
            Role::Agent => "agent",
            Role::Ingest => "ingest",
            Role::Query => "query",
            Role::Alerts => "alerts",
        }
    }
}

/// What it means.
#[derive(Clone, Debug)]
pub struct Config {
    pub role: Role,
    /// It was read from, beside flags and environment.
    pub config_file: Option<PathBuf>,
    pub data_dir: PathBuf,
    pub http: SocketAddr,
    pub otlp_grpc: SocketAddr,
    pub otlp_http: SocketAddr,
    pub pg: SocketAddr,
    pub syslog: Option<SocketAddr>,
    /// Of HTTP, OTLP and PostgreSQL.
    pub tls: Option<TlsFiles>,
    pub syslog_tls: Option<(SocketAddr, TlsFiles)>,
    pub log: LogConfig,
    pub memory_bytes: usize,
    pub token_file: Option<PathBuf>,
    /// What only a server needs.
    #[cfg(feature = "server")]
    pub server: server::Config,
    pub service_name_from: Vec<String>,
    pub query_timeout: Duration,
    pub rules: Vec<String>,
    pub slos: Vec<String>,
    pub webhook: Vec<String>,
    pub alertmanager: Vec<String>,
    pub evaluation_interval: Duration,
    pub external_url: Option<String>,
    pub admin_api: bool,
    pub experimental_functions: bool,
    pub span_metrics: bool,
    pub discover_log_levels: bool,
    pub tail_sampling: Option<PathBuf>,
    pub otlp: wire::otlp::Translation,
    pub otlp_delta_bytes: usize,
    pub replicas: receive::replicas::Config,
    pub prices: Option<PathBuf>,
    pub ingest_url: String,
    pub query_url: String,
    pub ingest_token_file: Option<PathBuf>,
    /// Shown to --ingest and --query, and believed of them.
    pub ingest_certificates: agent::Certificates,
    pub tenant: model::Tenant,
    pub host_root: PathBuf,
    pub log_files: Vec<String>,
    pub textfile_dir: Option<PathBuf>,
    pub log_rules: Option<PathBuf>,
    pub kubelet: Option<agent::kubelet::Settings>,
    pub cluster: Option<agent::ClusterSettings>,
    pub cluster_name: Option<String>,
    pub job_names: agent::JobNames,
    pub scrape_config: Option<PathBuf>,
    pub cloud_metadata: Option<String>,
    pub discover: agent::Discover,
    pub metadata: agent::objects::Metadata,
    pub agent_queue_bytes: Option<u64>,
    pub collect_interval: Duration,
    pub self_telemetry: SelfTelemetry,
}

/// Files are read by who starts the listener.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// How the flags that name certificate and key begin.
    pub flag: &'static str,
    pub cert: PathBuf,
    pub key: PathBuf,
    /// How the flag that names the authorities begins.
    pub client_ca_flag: &'static str,
    pub client_ca: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct LogConfig {
    pub json: bool,
    pub filter: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelfTelemetry {
    Off,
    /// To this process' own OTLP/gRPC listener.
    OnSelf,
    To(String),
}

impl Config {
    /// Merges the three places a setting can be written in and checks the result.
    pub fn load(role: Role, flags: Flags) -> anyhow::Result<Config> {
        let Some(path) = flags.config.clone() else { return Config::build(role, flags) };
        let file = Flags::from_file(&path)?;
        let of_file = file.clone();
        Config::build(role, flags.over(file)).map_err(|wrong| {
            let told = format!("{wrong:#}");
            // What is written elsewhere wins over the file, and is none of its mistakes.
            let is_own = Config::build(role, of_file).is_err_and(|own| format!("{own:#}") == told);
            match is_own.then(|| Flags::line_of(&path, &told)).flatten() {
                Some(line) => wrong.context(format!("--config {}:{line}", path.display())),
                None => wrong,
            }
        })
    }

    /// What each setting means, and that no two contradict each other.
    pub fn build(role: Role, flags: Flags) -> anyhow::Result<Config> {
        let config = Config::meaning(role, flags)?;
        config.refuse_shared_ports()?;
        if config.self_telemetry == SelfTelemetry::OnSelf && matches!(config.role, Role::Query | Role::Alerts)
        {
            bail!(
                "--self-telemetry self: role {} takes no OTLP; give the URL of one that does",
                config.role.name()
            );
        }
        if config.syslog_tls.is_some() && matches!(config.role, Role::Query | Role::Alerts) {
            bail!("--syslog-tls: role {} takes no logs; give it to up, ingest or agent", config.role.name());
        }
        if config.syslog.is_some() && matches!(config.role, Role::Query | Role::Alerts) {
            bail!("--syslog: role {} takes no logs; give it to up, ingest or agent", config.role.name());
        }
        Ok(config)
    }

    /// What each setting means, by itself.
    pub fn meaning(role: Role, flags: Flags) -> anyhow::Result<Config> {
        let memory_bytes = match &flags.memory {
            Some(text) => parse_bytes(text).with_context(|| format!("--memory {text:?}"))?,
            None => units::memory_default(),
        };
        #[cfg(feature = "server")]
        let server = server::Config::of(&flags, memory_bytes)?;
        let of_all = tls("--tls", (flags.tls_cert, flags.tls_key, flags.tls_client_ca))?;
        let config = Config {
            #[cfg(feature = "server")]
            server,
            service_name_from: match flags.discover_service_name.as_slice() {
                [] => wire::loki::SERVICE_NAME_LABELS.map(str::to_owned).into(),
                [none] if none == "none" => vec![],
                labels => labels.to_vec(),
            },
            role,
            data_dir: flags.data_dir.unwrap_or_else(|| "binnacle-data".into()),
            http: address("--http", flags.http, "127.0.0.1:7400")?,
            otlp_grpc: address("--otlp-grpc", flags.otlp_grpc, "127.0.0.1:4317")?,
            otlp_http: address("--otlp-http", flags.otlp_http, "127.0.0.1:4318")?,
            pg: address("--pg", flags.pg, "127.0.0.1:5439")?,
            syslog: match flags.syslog.as_deref() {
                None | Some("off") => None,
                written => Some(address("--syslog", written.map(str::to_owned), "")?),
            },
            syslog_tls: match flags.syslog_tls.as_deref() {
                Some("off") => None,
                // Whoever gives these believes that senders are asked.
                None if flags.syslog_tls_client_ca.is_some() || flags.syslog_tls_cert.is_some() => {
                    bail!(
                        "--syslog-tls-cert and --syslog-tls-client-ca are for --syslog-tls, which is not given"
                    )
                }
                None => None,
                written => {
                    let own = (flags.syslog_tls_cert, flags.syslog_tls_key, flags.syslog_tls_client_ca);
                    let files = syslog_tls(own, of_all.as_ref())?;
                    Some((address("--syslog-tls", written.map(str::to_owned), "")?, files))
                }
            },
            tls: of_all,
            log: LogConfig {
                json: match flags.log_format.as_deref() {
                    None | Some("text") => false,
                    Some("json") => true,
                    Some(other) => bail!("--log-format {other:?} is not known; use text or json"),
                },
                filter: log_filter(flags.log_level)?,
            },
            memory_bytes,
            token_file: flags.token_file,
            query_timeout: duration("--query-timeout", flags.query_timeout, Duration::from_secs(120))?,
            rules: flags.rules,
            slos: flags.slos,
            webhook: flags
                .webhook
                .into_iter()
                .map(|url| checked_url("--webhook", url))
                .collect::<Result<_, _>>()?,
            alertmanager: flags
                .alertmanager
                .into_iter()
                .map(|url| checked_url("--alertmanager", url))
                .collect::<Result<_, _>>()?,
            evaluation_interval: duration(
                "--evaluation-interval",
                flags.evaluation_interval,
                Duration::from_secs(60),
            )?,
            external_url: flags.external_url.map(|url| checked_url("--external-url", url)).transpose()?,
            experimental_functions: experimental_functions(&flags.enable_feature)?,
            admin_api: flags.web_enable_admin_api.unwrap_or(false),
            span_metrics: flags.span_metrics.unwrap_or(true),
            discover_log_levels: flags.discover_log_levels.unwrap_or(true),
            tail_sampling: flags.tail_sampling,
            otlp: wire::otlp::Translation {
                strategy: match flags.otlp_translation_strategy {
                    None => wire::otlp::Strategy::default(),
                    Some(word) => word
                        .parse()
                        .map_err(|wrong| anyhow::anyhow!("--otlp-translation-strategy {wrong}"))?,
                },
                promoted: promoted(
                    flags.otlp_promote_resource_attributes,
                    flags.otlp_promote_all_resource_attributes.unwrap_or(false),
                    flags.otlp_ignore_resource_attributes,
                )?,
                keep_identifying: flags.otlp_keep_identifying_resource_attributes.unwrap_or(false),
                explicit_as_native: flags.otlp_convert_histograms_to_nhcb.unwrap_or(false),
                scope_metadata: flags.otlp_promote_scope_metadata.unwrap_or(false),
            },
            otlp_delta_bytes: match flags.otlp_delta_memory {
                None => 64 << 20,
                Some(text) => parse_bytes(&text).with_context(|| format!("--otlp-delta-memory {text:?}"))?,
            },
            replicas: receive::replicas::Config {
                tenants: replica_tenants(&flags.ha_tracker)?,
                cluster_label: flags.ha_cluster_label.unwrap_or_else(|| "cluster".into()),
                replica_label: flags.ha_replica_label.unwrap_or_else(|| "__replica__".into()),
                failover: duration(
                    "--ha-failover-timeout",
                    flags.ha_failover_timeout,
                    Duration::from_secs(30),
                )?,
                clusters_max: flags.ha_max_clusters.unwrap_or(100),
            },
            prices: flags.prices,
            ingest_url: base_url("--ingest", flags.ingest)?,
            query_url: base_url("--query", flags.query)?,
            ingest_token_file: flags.ingest_token_file,
            ingest_certificates: agent::Certificates::of(
                "--ingest-tls",
                flags.ingest_tls_ca,
                flags.ingest_tls_cert,
                flags.ingest_tls_key,
            )?,
            tenant: match flags.tenant {
                Some(name) => model::Tenant::new(&name).with_context(|| format!("--tenant {name:?}"))?,
                None => model::Tenant::default(),
            },
            host_root: flags.host_root.unwrap_or_else(|| "/".into()),
            log_files: flags.log_files,
            textfile_dir: flags.textfile_dir,
            log_rules: flags.log_rules,
            cluster: node::cluster(flags.kube_api, flags.kubelet_token_file.clone(), flags.kube_api_ca_file)?,
            cluster_name: flags.cluster_name.filter(|name| !name.is_empty()),
            job_names: node::job_names(flags.job_names, flags.node_job)?,
            kubelet: node::kubelet(
                flags.kubelet,
                flags.kubelet_token_file,
                flags.kubelet_ca_file,
                flags.kubelet_insecure,
            )?,
            scrape_config: flags.scrape_config,
            config_file: flags.config,
            cloud_metadata: match flags.cloud_metadata.as_deref() {
                None | Some("" | "off") => None,
                Some("auto") => Some(agent::CLOUD_METADATA.to_owned()),
                Some(url) => {
                    let url = checked_url("--cloud-metadata", url.to_owned())?;
                    Some(url.trim_end_matches('/').to_owned())
                }
            },
            discover: match flags.scrape_discover.as_slice() {
                [] => agent::Discover::default(),
                names => agent::Discover::parse(names)
                    .map_err(|wrong| anyhow::anyhow!("--scrape-discover {wrong}"))?,
            },
            metadata: node::metadata(flags.metric_labels_allowlist, flags.metric_annotations_allowlist)?,
            agent_queue_bytes: flags.agent_queue.map(|text| node::queue_bytes(&text)).transpose()?,
            collect_interval: duration(
                "--collect-interval",
                flags.collect_interval,
                Duration::from_secs(15),
            )?,
            self_telemetry: match flags.self_telemetry.as_deref() {
                None | Some("off") => SelfTelemetry::Off,
                Some("self") => SelfTelemetry::OnSelf,
                Some(url) => SelfTelemetry::To(checked_url("--self-telemetry", url.to_owned())?),
            },
        };
        if config.memory_bytes < MEMORY_BYTES_MIN {
            bail!("--memory is {} bytes; at least 64MiB is needed", config.memory_bytes);
        }
        Ok(config)
    }

    /// Two listeners on one port would fail later with a text that names neither.
    fn refuse_shared_ports(&self) -> anyhow::Result<()> {
        let listeners = [
            ("--http", self.http),
            ("--otlp-grpc", self.otlp_grpc),
            ("--otlp-http", self.otlp_http),
            ("--pg", self.pg),
        ];
        let listeners: Vec<_> = listeners
            .into_iter()
            .chain(self.syslog.map(|address| ("--syslog", address)))
            .chain(self.syslog_tls.as_ref().map(|(address, _)| ("--syslog-tls", *address)))
            .collect();
        for (i, (name, address)) in listeners.iter().enumerate() {
            if let Some((other, _)) =
                listeners[..i].iter().find(|(_, earlier)| earlier == address && address.port() != 0)
            {
                bail!(
                    "{other} and {name} are both {address}; give each its own port, or port 0 for any free one"
                );
            }
        }
        Ok(())
    }
}

fn replica_tenants(names: &[String]) -> anyhow::Result<receive::replicas::Tenants> {
    use receive::replicas::Tenants;
    if names.is_empty() {
        return Ok(Tenants::None);
    }
    if names.iter().any(|name| name == "*") {
        return Ok(Tenants::All);
    }
    let named =
        names.iter().map(|name| model::Tenant::new(name).with_context(|| format!("--ha-tracker {name:?}")));
    Ok(Tenants::These(named.collect::<Result<_, _>>()?))
}

/// The lists that Prometheus has for it exclude one another there too.
fn promoted(these: Vec<String>, all: bool, ignored: Vec<String>) -> anyhow::Result<wire::otlp::Promoted> {
    use wire::otlp::Promoted;
    if all && !these.is_empty() {
        bail!(
            "--otlp-promote-all-resource-attributes and --otlp-promote-resource-attributes cannot be configured simultaneously"
        );
    }
    if !all && !ignored.is_empty() {
        bail!(
            "--otlp-ignore-resource-attributes cannot be configured unless --otlp-promote-all-resource-attributes is true"
        );
    }
    Ok(match (all, these.as_slice()) {
        (true, _) => Promoted::AllBut(ignored),
        (false, []) => Promoted::default(),
        (false, [none]) if none == "none" => Promoted::These(vec![]),
        (false, _) => Promoted::These(these),
    })
}

/// Below this a memtable and one query do not fit beside each other.
const MEMORY_BYTES_MIN: usize = 64 << 20;

/// As they are written: certificate, its key, and the authorities of callers.
type TlsFilesWritten = (Option<PathBuf>, Option<PathBuf>, Option<PathBuf>);

/// The files of a listener's TLS; none where there is to be none.
fn tls(flag: &'static str, (cert, key, client_ca): TlsFilesWritten) -> anyhow::Result<Option<TlsFiles>> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { flag, cert, key, client_ca_flag: flag, client_ca })),
        (None, None) if client_ca.is_none() => Ok(None),
        _ => bail!("{flag}-cert and {flag}-key go together: give both files"),
    }
}

/// The files of syslog's listener: without a certificate of its own it shows that of all, and asks of senders what all
/// ask unless it names authorities of its own.
fn syslog_tls(own: TlsFilesWritten, of_all: Option<&TlsFiles>) -> anyhow::Result<TlsFiles> {
    const FLAG: &str = "--syslog-tls";
    let files = match (own, of_all) {
        ((None, None, client_ca @ Some(_)), Some(of_all)) => {
            Some(TlsFiles { client_ca_flag: FLAG, client_ca, ..of_all.clone() })
        }
        ((None, None, _), of_all) => of_all.cloned(),
        (own, _) => tls(FLAG, own)?,
    };
    files.context("--syslog-tls needs --syslog-tls-cert and --syslog-tls-key, or --tls-cert and --tls-key")
}

fn address(flag: &str, written: Option<String>, default: &str) -> anyhow::Result<SocketAddr> {
    let text = written.as_deref().unwrap_or(default);
    // `localhost:7400` and `:7400` are what people type.
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None if text.starts_with(':') => format!("0.0.0.0{text}"),
        None => text.to_owned(),
    };
    text.parse().with_context(|| format!("{flag} {text:?} is not an address and port such as 127.0.0.1:7400"))
}

fn duration(flag: &str, written: Option<String>, default: Duration) -> anyhow::Result<Duration> {
    match written {
        None => Ok(default),
        Some(text) => parse_duration(&text).with_context(|| format!("{flag} {text:?}")),
    }
}

/// Prometheus' features that are always on here.
const FEATURES_ALWAYS_ON: [&str; 12] = [
    "created-timestamp-zero-ingestion",
    "exemplar-storage",
    "extra-scrape-metrics",
    "metadata-wal-records",
    "native-histograms",
    "promql-at-modifier",
    "promql-binop-fill-modifiers",
    "promql-delayed-name-removal",
    "promql-duration-expr",
    "promql-extended-range-selectors",
    "promql-negative-offset",
    "promql-per-step-stats",
];
const EXPERIMENTAL_FUNCTIONS: &str = "promql-experimental-functions";

fn experimental_functions(named: &[String]) -> anyhow::Result<bool> {
    for name in named {
        if !FEATURES_ALWAYS_ON.contains(&name.as_str()) && name != EXPERIMENTAL_FUNCTIONS && name != "none" {
            bail!(
                "--enable-feature {name:?} is not known; use {EXPERIMENTAL_FUNCTIONS}, none, or one of those that are \
                 always on: {}",
                FEATURES_ALWAYS_ON.join(", ")
            );
        }
    }
    Ok(named.is_empty() || named.iter().any(|name| name == EXPERIMENTAL_FUNCTIONS))
}

fn base_url(flag: &str, written: Option<String>) -> anyhow::Result<String> {
    let url = checked_url(flag, written.unwrap_or_else(|| "http://127.0.0.1:7400".into()))?;
    Ok(url.trim_end_matches('/').to_owned())
}

fn checked_url(flag: &str, url: String) -> anyhow::Result<String> {
    let parsed = reqwest::Url::parse(&url).with_context(|| format!("{flag} {url:?} is not a URL"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        bail!("{flag} {url:?} must begin with http:// or https://");
    }
    Ok(url)
}

fn log_filter(written: Option<String>) -> anyhow::Result<String> {
    let filter = written.unwrap_or_else(|| "info".into());
    tracing_subscriber::EnvFilter::try_new(&filter).with_context(|| {
        format!("--log-level {filter:?}; use error, warn, info, debug, trace or module=level")
    })?;
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(flags: Flags) -> anyhow::Result<Config> {
        Config::build(Role::Up { demo: false, agent: true, alerts: true, web: true }, flags)
    }

    #[test]
    fn defaults_listen_on_loopback_only() {
        let config = up(Flags::default()).unwrap();
        for address in [config.http, config.otlp_grpc, config.otlp_http, config.pg] {
            assert!(address.ip().is_loopback(), "{address}");
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = Flags::from_toml("http = \"127.0.0.1:1\"\nlog_level = \"debug\"").unwrap();
        let flags = Flags { http: Some("127.0.0.1:2".into()), ..Flags::default() };
        let config = up(flags.over(file)).unwrap();
        assert_eq!(config.http.port(), 2);
        assert_eq!(config.log.filter, "debug");
    }

    #[test]
    fn jobs_are_called_as_a_set_of_rules_asks_for() {
        let jobs = |set: Option<&str>, node: Option<&str>| {
            let [job_names, node_job] = [set, node].map(|text| text.map(str::to_owned));
            let names = up(Flags { job_names, node_job, ..Flags::default() })?.job_names;
            anyhow::Ok([names.node, names.cadvisor, names.api_server])
        };
        assert_eq!(jobs(None, None).unwrap(), ["node", "cadvisor", "kube-apiserver"]);
        assert_eq!(
            jobs(Some("mixins"), Some("node-exporter")).unwrap(),
            ["node-exporter", "cadvisor", "kube-apiserver"]
        );
        assert_eq!(jobs(Some("kube-prometheus"), None).unwrap(), ["node-exporter", "kubelet", "apiserver"]);
        let wrong = jobs(Some("others"), None).unwrap_err().to_string();
        assert!(wrong.contains("--job-names \"others\"") && wrong.contains("kube-prometheus"), "{wrong}");
    }

    #[test]
    fn syslog_shows_the_certificate_of_all_and_may_ask_of_its_senders_something_else() {
        let files = |flags: Flags| {
            let of_all = Flags {
                syslog_tls: Some(":6514".into()),
                tls_cert: Some("all.pem".into()),
                tls_key: Some("all.key".into()),
                tls_client_ca: Some("callers.pem".into()),
                ..flags
            };
            let (_, files) = up(of_all).unwrap().syslog_tls.unwrap();
            let client_ca = files.client_ca.map(|path| (files.client_ca_flag, path));
            (files.flag, files.cert, client_ca)
        };
        let senders = || Some(PathBuf::from("senders.pem"));
        assert_eq!(
            files(Flags::default()),
            ("--tls", "all.pem".into(), Some(("--tls", "callers.pem".into())))
        );
        assert_eq!(
            files(Flags { syslog_tls_client_ca: senders(), ..Flags::default() }),
            ("--tls", "all.pem".into(), Some(("--syslog-tls", "senders.pem".into())))
        );
        let own = |syslog_tls_client_ca| Flags {
            syslog_tls_cert: Some("own.pem".into()),
            syslog_tls_key: Some("own.key".into()),
            syslog_tls_client_ca,
            ..Flags::default()
        };
        assert_eq!(files(own(None)), ("--syslog-tls", "own.pem".into(), None));
        assert_eq!(
            files(own(senders())),
            ("--syslog-tls", "own.pem".into(), Some(("--syslog-tls", "senders.pem".into())))
        );
    }

    #[test]
    fn mistakes_name_the_flag_and_the_remedy() {
        let wrong = |flags: Flags| format!("{:#}", up(flags).unwrap_err());
        let text = |s: &str| Some(s.to_owned());
        assert!(wrong(Flags { http: text("nope"), ..Flags::default() }).contains("--http"));
        assert!(wrong(Flags { memory: text("2 elephants"), ..Flags::default() }).contains("--memory"));
        assert!(wrong(Flags { memory: text("1MiB"), ..Flags::default() }).contains("64MiB"));
        assert!(wrong(Flags { pg: text("127.0.0.1:7400"), ..Flags::default() }).contains("--http and --pg"));
        assert!(
            wrong(Flags { syslog: text("127.0.0.1:5439"), ..Flags::default() }).contains("--pg and --syslog")
        );
        assert!(wrong(Flags { syslog: text("514"), ..Flags::default() }).contains("--syslog"));
        assert!(wrong(Flags { syslog_tls: text(":6514"), ..Flags::default() }).contains("--syslog-tls-cert"));
        let syslog_asks = Flags {
            syslog_tls: text(":6514"),
            syslog_tls_client_ca: Some("senders.pem".into()),
            ..Flags::default()
        };
        assert!(wrong(syslog_asks).contains("--syslog-tls-cert"));
        let nobody_asks = |syslog_tls| Flags {
            syslog_tls,
            syslog_tls_client_ca: Some("senders.pem".into()),
            ..Flags::default()
        };
        assert!(wrong(nobody_asks(None)).contains("--syslog-tls, which is not given"));
        assert!(up(nobody_asks(text("off"))).is_ok());
        assert!(wrong(Flags { log_format: text("xml"), ..Flags::default() }).contains("json"));
        assert!(wrong(Flags { webhook: vec!["ftp://x".into()], ..Flags::default() }).contains("http://"));
        assert!(
            wrong(Flags { retention_logs: text("soon"), ..Flags::default() }).contains("--retention-logs")
        );
        assert!(
            wrong(Flags { ingestion_rate_mb: Some(-1.0), ..Flags::default() })
                .contains("--ingestion-rate-mb")
        );
        let four_mb = up(Flags { ingestion_rate_mb: Some(4.0), ..Flags::default() }).unwrap();
        let rate = four_mb.server.limits.of(&model::Tenant::default()).logs.rate;
        assert_eq!(rate.map(|rate| rate.burst_bytes), Some(6291456.0));
        for (written, part) in [
            ("24h", "stream selector"),
            ("soon {a=\"b\"}", "duration"),
            ("24h x {a=\"b\"}", "priority"),
            ("24h {a=b}", "line 1, col"),
        ] {
            let told = wrong(Flags { retention_stream: vec![written.into()], ..Flags::default() });
            assert!(told.contains("--retention-stream") && told.contains(part), "{told}");
        }
        let feature = |names: &[&str]| Flags {
            enable_feature: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Flags::default()
        };
        assert!(wrong(feature(&["agent-mode"])).contains("promql-experimental-functions"));
        let on = |names: &[&str]| up(feature(names)).unwrap().experimental_functions;
        assert!(on(&[]) && on(&["exemplar-storage", "promql-experimental-functions"]));
        assert!(!on(&["none"]) && !on(&["exemplar-storage"]));
        assert!(format!("{:#}", Flags::from_toml("htpt = 1").unwrap_err()).contains("htpt"));
    }

    #[test]
    fn mistakes_of_a_file_have_their_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("binnacle.toml");
        let wrong = |text: &str, flags: Flags| {
            std::fs::write(&path, text).unwrap();
            let flags = Flags { config: Some(path.clone()), ..flags };
            let told = format!("{:#}", Config::load(Role::Query, flags).unwrap_err());
            let told = told.strip_prefix("--config ").unwrap_or(&told);
            told.strip_prefix(&path.display().to_string()).unwrap_or(told).to_owned()
        };
        let of_file = |text: &str| wrong(text, Flags::default());
        let told = of_file("pg = \"127.0.0.1:1\"\n  retention_logs = \"3q\"\n");
        assert!(told.starts_with(":2: --retention-logs \"3q\""), "{told}");
        let told = of_file("log_level = \"info\"\nretention_logs = 7\n");
        assert!(told.starts_with(":2:18: retention_logs: ") && told.contains("a string"), "{told}");
        let told = of_file("\nhtp = 7\n");
        assert!(told.starts_with(":2:1: unknown field `htp`;"), "{told}");
        // The flag's mistake is not the file's.
        let flags = Flags { retention_logs: Some("4q".into()), ..Flags::default() };
        let told = wrong("retention_logs = \"3d\"\n", flags);
        assert!(told.starts_with("--retention-logs \"4q\""), "{told}");
    }
}
