//! Configuration in two steps: [`Flags`] is what was written (command line, environment, TOML file), [`Config`] what
//! it means: parsed, defaulted, checked against itself. Nothing is opened or bound here.

mod memory_limit;
#[cfg(feature = "server")]
mod server;
mod units;

#[cfg(feature = "server")]
pub use units::place;
pub use units::{parse_bytes, parse_duration};

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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

/// As written. Every field is a flag, an environment variable `BINNACLE_…` and a key of the TOML file (with `_`).
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flags {
    /// TOML file with the keys of these flags; flags and environment win over it
    #[arg(long, env = "BINNACLE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Where everything is kept [default: ./binnacle-data]
    #[arg(long, env = "BINNACLE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// HTTP: page, query APIs, remote write, Loki push [default: 127.0.0.1:7400]; port 0 means any free port
    #[arg(long, env = "BINNACLE_HTTP", value_name = "ADDR")]
    pub http: Option<String>,
    /// OTLP over gRPC [default: 127.0.0.1:4317]
    #[arg(long, env = "BINNACLE_OTLP_GRPC", value_name = "ADDR")]
    pub otlp_grpc: Option<String>,
    /// OTLP over HTTP [default: 127.0.0.1:4318]
    #[arg(long, env = "BINNACLE_OTLP_HTTP", value_name = "ADDR")]
    pub otlp_http: Option<String>,
    /// PostgreSQL wire protocol [default: 127.0.0.1:5439]
    #[arg(long, env = "BINNACLE_PG", value_name = "ADDR")]
    pub pg: Option<String>,
    /// Syslog, RFC 5424 and 3164, over TCP and UDP, e.g. 0.0.0.0:5514; it asks for no token [default: off]
    #[arg(long, env = "BINNACLE_SYSLOG", value_name = "ADDR")]
    pub syslog: Option<String>,
    /// Syslog over TLS (RFC 5425), e.g. 0.0.0.0:6514; needs --syslog-tls-cert and --syslog-tls-key [default: off]
    #[arg(long, env = "BINNACLE_SYSLOG_TLS", value_name = "ADDR")]
    pub syslog_tls: Option<String>,
    /// PEM file with the certificate that syslog senders are shown, and those it hangs on
    #[arg(long, env = "BINNACLE_SYSLOG_TLS_CERT", value_name = "FILE")]
    pub syslog_tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key
    #[arg(long, env = "BINNACLE_SYSLOG_TLS_KEY", value_name = "FILE")]
    pub syslog_tls_key: Option<PathBuf>,
    /// PEM file with the authorities one of which must have signed a sender's certificate; without it none is asked for
    #[arg(long, env = "BINNACLE_SYSLOG_TLS_CLIENT_CA", value_name = "FILE")]
    pub syslog_tls_client_ca: Option<PathBuf>,
    /// text or json [default: text]
    #[arg(long, env = "BINNACLE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// error, warn, info, debug, trace, or per module as in `info,store=debug` [default: info]
    #[arg(long, env = "BINNACLE_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Memory for memtables, indexing and queries together, e.g. 2GiB [default: 70 % of the machine or its cgroup]
    #[arg(long, env = "BINNACLE_MEMORY", value_name = "BYTES")]
    pub memory: Option<String>,
    /// File with one accepted bearer token a line; without it, no token is asked for
    #[arg(long, env = "BINNACLE_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How long metrics are kept, e.g. 15d, 52w [default: 31d]
    #[arg(long, env = "BINNACLE_RETENTION_METRICS", value_name = "DURATION")]
    pub retention_metrics: Option<String>,
    /// How long logs are kept [default: 31d]
    #[arg(long, env = "BINNACLE_RETENTION_LOGS", value_name = "DURATION")]
    pub retention_logs: Option<String>,
    /// Log streams that are kept for another time, as `24h {app="web"}`; of several that fit, the one with the highest
    /// priority counts, written as `24h 5 {app="web"}`. May be given more than once
    #[arg(
        long,
        env = "BINNACLE_RETENTION_STREAM",
        value_name = "DURATION [PRIORITY] SELECTOR",
        value_delimiter = ';'
    )]
    pub retention_stream: Vec<String>,
    /// How long traces are kept [default: 14d]
    #[arg(long, env = "BINNACLE_RETENTION_TRACES", value_name = "DURATION")]
    pub retention_traces: Option<String>,
    /// How long a deletion of logs can be taken back; its lines are hidden at once and stay on disk as long [default: 24h]
    #[arg(long, env = "BINNACLE_DELETE_REQUEST_CANCEL_PERIOD", value_name = "DURATION")]
    pub delete_request_cancel_period: Option<String>,
    /// Loki push: labels that `service_name` is taken from where a stream has none, the first that is there, else
    /// `unknown_service`; `none` adds no label [default: service, app, application, app_name, name, app_kubernetes_io_name,
    /// container, container_name, k8s_container_name, component, workload, job, k8s_job_name]
    #[arg(long, env = "BINNACLE_DISCOVER_SERVICE_NAME", value_name = "LABEL", value_delimiter = ',')]
    pub discover_service_name: Vec<String>,
    /// Logs: the longest line, e.g. 256KB; longer ones are left out [default: 2MiB]
    #[arg(long, env = "BINNACLE_MAX_LINE_SIZE", value_name = "BYTES")]
    pub max_line_size: Option<String>,
    /// Logs: the most labels of a stream [default: 128]
    #[arg(long, env = "BINNACLE_MAX_LABEL_NAMES_PER_SERIES", value_name = "COUNT")]
    pub max_label_names_per_series: Option<usize>,
    /// Logs: the longest name of a label, in bytes [default: no limit]
    #[arg(long, env = "BINNACLE_MAX_LABEL_NAME_LENGTH", value_name = "BYTES")]
    pub max_label_name_length: Option<usize>,
    /// Logs: the longest value of a label, in bytes [default: no limit]
    #[arg(long, env = "BINNACLE_MAX_LABEL_VALUE_LENGTH", value_name = "BYTES")]
    pub max_label_value_length: Option<usize>,
    /// Logs: older lines are left out, e.g. 1w [default: no limit]
    #[arg(long, env = "BINNACLE_REJECT_OLD_SAMPLES_MAX_AGE", value_name = "DURATION")]
    pub reject_old_samples_max_age: Option<String>,
    /// Logs: how far ahead of this machine's clock a line may be [default: 1d]
    #[arg(long, env = "BINNACLE_CREATION_GRACE_PERIOD", value_name = "DURATION")]
    pub creation_grace_period: Option<String>,
    /// Logs: megabytes of lines that a tenant may write a second [default: no limit]
    #[arg(long, env = "BINNACLE_INGESTION_RATE_MB", value_name = "NUMBER")]
    pub ingestion_rate_mb: Option<f64>,
    /// Logs: megabytes that a tenant may write at once [default: 1.5 times --ingestion-rate-mb]
    #[arg(long, env = "BINNACLE_INGESTION_BURST_SIZE_MB", value_name = "NUMBER")]
    pub ingestion_burst_size_mb: Option<f64>,
    /// Logs: bytes of lines that may be written to a stream a second, e.g. 3MB [default: no limit]
    #[arg(long, env = "BINNACLE_PER_STREAM_RATE_LIMIT", value_name = "BYTES")]
    pub per_stream_rate_limit: Option<String>,
    /// Logs: bytes that may be written to a stream at once [default: 5 times --per-stream-rate-limit]
    #[arg(long, env = "BINNACLE_PER_STREAM_RATE_LIMIT_BURST", value_name = "BYTES")]
    pub per_stream_rate_limit_burst: Option<String>,
    /// What one tenant, series or record may be: KEY=VALUE for all tenants, TENANT/KEY=VALUE for one. Keys: series_max (active
    /// series: 2000000, or one for each 2 KiB of --memory where that is less), series_of_metric_max (off), labels_max (128), label_name_bytes_max (1024), label_value_bytes_max,
    /// label_bytes_max (65536), past_max (off), future_max (1d), line_bytes_max (2097152), exemplar_bytes_max (1024);
    /// 0 switches the series limits and past_max off. May be given more than once
    #[arg(long, env = "BINNACLE_LIMIT", value_name = "KEY=VALUE", value_delimiter = ',')]
    pub limit: Vec<String>,
    /// Metrics older than AGE keep the last sample of each INTERVAL, e.g. 30d:5m; TENANT/30d:5m for one tenant. Carried out day by
    /// day, on disk; what went is gone. May be given more than once [default: all samples stay]
    #[arg(long, env = "BINNACLE_DOWNSAMPLE", value_name = "AGE:INTERVAL", value_delimiter = ',')]
    pub downsample: Vec<String>,
    /// Time limit of one query [default: 2m]
    #[arg(long, env = "BINNACLE_QUERY_TIMEOUT", value_name = "DURATION")]
    pub query_timeout: Option<String>,
    /// Rule files in Prometheus' format; a `*` in the file name matches many. May be given more than once
    #[arg(long, env = "BINNACLE_RULES", value_name = "GLOB", value_delimiter = ',')]
    pub rules: Vec<String>,
    /// OpenSLO files; as --rules
    #[arg(long, env = "BINNACLE_SLOS", value_name = "GLOB", value_delimiter = ',')]
    pub slos: Vec<String>,
    /// Where notifications go: a URL that takes Alertmanager's webhook (v4 JSON). May be given more than once
    #[arg(long, env = "BINNACLE_WEBHOOK", value_name = "URL", value_delimiter = ',')]
    pub webhook: Vec<String>,
    /// An Alertmanager that also gets the alerts (base URL). May be given more than once
    #[arg(long, env = "BINNACLE_ALERTMANAGER", value_name = "URL", value_delimiter = ',')]
    pub alertmanager: Vec<String>,
    /// How often rules are evaluated where their group does not say [default: 1m]
    #[arg(long, env = "BINNACLE_EVALUATION_INTERVAL", value_name = "DURATION")]
    pub evaluation_interval: Option<String>,
    /// This server's URL as people reach it, for links in notifications [default: from --http]
    #[arg(long, env = "BINNACLE_EXTERNAL_URL", value_name = "URL")]
    pub external_url: Option<String>,
    /// Allow deleting series by /api/v1/admin/tsdb (delete_series, clean_tombstones); named as Prometheus' flag
    #[arg(
        long = "web.enable-admin-api", visible_alias = "web-enable-admin-api",
        env = "BINNACLE_WEB_ENABLE_ADMIN_API", value_name = "true|false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub web_enable_admin_api: Option<bool>,
    /// PromQL features by Prometheus' names. All are on until one is named; then promql-experimental-functions is on only
    /// where it is among them, and `none` names nothing. May be given more than once
    #[arg(long, env = "BINNACLE_ENABLE_FEATURE", value_name = "NAME", value_delimiter = ',')]
    pub enable_feature: Vec<String>,
    /// Metrics of requests from spans while they come in (traces_spanmetrics_*, traces_service_graph_*) [default: true]
    #[arg(long, env = "BINNACLE_SPAN_METRICS", value_name = "true|false")]
    pub span_metrics: Option<bool>,
    /// Keep whole traces by policies: a YAML file as OpenTelemetry's tail sampling processor has it [default: all are kept]
    #[arg(long, env = "BINNACLE_TAIL_SAMPLING", value_name = "FILE")]
    pub tail_sampling: Option<PathBuf>,
    /// With --demo: which service waits for its pool, how many of its requests, how long, e.g. inventory:0.05:120ms; or
    /// none [default: orders:0.15:300ms]
    #[arg(long, env = "BINNACLE_DEMO_BOTTLENECK", value_name = "SERVICE:SHARE:DELAY")]
    pub demo_bottleneck: Option<String>,
    /// OTLP metrics: what becomes of names, by the words of Prometheus' otlp.translation_strategy:
    /// UnderscoreEscapingWithSuffixes, NoUTF8EscapingWithSuffixes, UnderscoreEscapingWithoutSuffixes, NoTranslation
    /// [default: UnderscoreEscapingWithSuffixes]
    #[arg(long, env = "BINNACLE_OTLP_TRANSLATION_STRATEGY", value_name = "STRATEGY")]
    pub otlp_translation_strategy: Option<String>,
    /// OTLP metrics: resource attributes that become labels of each series; `none` names nothing
    /// [default: service.*, deployment.environment, host.name, k8s.* and the like]
    #[arg(
        long,
        env = "BINNACLE_OTLP_PROMOTE_RESOURCE_ATTRIBUTES",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub otlp_promote_resource_attributes: Vec<String>,
    /// OTLP metrics: all resource attributes become labels, but for those of --otlp-ignore-resource-attributes
    #[arg(
        long, env = "BINNACLE_OTLP_PROMOTE_ALL_RESOURCE_ATTRIBUTES", value_name = "true|false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub otlp_promote_all_resource_attributes: Option<bool>,
    /// OTLP metrics: resource attributes that --otlp-promote-all-resource-attributes leaves out
    #[arg(
        long,
        env = "BINNACLE_OTLP_IGNORE_RESOURCE_ATTRIBUTES",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub otlp_ignore_resource_attributes: Vec<String>,
    /// OTLP metrics: service.name, service.namespace and service.instance.id are in target_info too
    #[arg(
        long, env = "BINNACLE_OTLP_KEEP_IDENTIFYING_RESOURCE_ATTRIBUTES", value_name = "true|false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub otlp_keep_identifying_resource_attributes: Option<bool>,
    /// OTLP metrics: histograms with explicit bounds become native ones with custom buckets
    #[arg(
        long, env = "BINNACLE_OTLP_CONVERT_HISTOGRAMS_TO_NHCB", value_name = "true|false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub otlp_convert_histograms_to_nhcb: Option<bool>,
    /// OTLP metrics: name, version and attributes of the scope become labels otel_scope_…
    #[arg(
        long, env = "BINNACLE_OTLP_PROMOTE_SCOPE_METADATA", value_name = "true|false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub otlp_promote_scope_metadata: Option<bool>,
    /// OTLP metrics: memory for the sums of one tenant's delta series; more of them are refused [default: 64MiB]
    #[arg(long, env = "BINNACLE_OTLP_DELTA_MEMORY", value_name = "BYTES")]
    pub otlp_delta_memory: Option<String>,
    /// Tenants whose Prometheus servers come in pairs with the external labels `cluster` and `__replica__`: of each cluster
    /// the samples of one replica are taken; `*` means every tenant [default: none]
    #[arg(long, env = "BINNACLE_HA_TRACKER", value_name = "TENANT", value_delimiter = ',')]
    pub ha_tracker: Vec<String>,
    /// The label that names the cluster of a pair [default: cluster]
    #[arg(long, env = "BINNACLE_HA_CLUSTER_LABEL", value_name = "NAME")]
    pub ha_cluster_label: Option<String>,
    /// The label that names the replica; it is taken off [default: __replica__]
    #[arg(long, env = "BINNACLE_HA_REPLICA_LABEL", value_name = "NAME")]
    pub ha_replica_label: Option<String>,
    /// After so much silence of the elected replica another takes its place [default: 30s]
    #[arg(long, env = "BINNACLE_HA_FAILOVER_TIMEOUT", value_name = "DURATION")]
    pub ha_failover_timeout: Option<String>,
    /// Clusters that one tenant may have pairs in [default: 100]
    #[arg(long, env = "BINNACLE_HA_MAX_CLUSTERS", value_name = "NUMBER")]
    pub ha_max_clusters: Option<usize>,
    /// Price book (CSV or JSON) instead of the built-in one
    #[arg(long, env = "BINNACLE_PRICES", value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Roles alone: base URL of the ingest process [default: http://127.0.0.1:7400]
    #[arg(long, env = "BINNACLE_INGEST", value_name = "URL")]
    pub ingest: Option<String>,
    /// Role alerts alone: base URL of the query process [default: http://127.0.0.1:7400]
    #[arg(long, env = "BINNACLE_QUERY", value_name = "URL")]
    pub query: Option<String>,
    /// Roles alone: file with the bearer token to show to --ingest and --query
    #[arg(long, env = "BINNACLE_INGEST_TOKEN_FILE", value_name = "FILE")]
    pub ingest_token_file: Option<PathBuf>,
    /// Tenant that the agent ships as and that syslog is written to [default: default]
    #[arg(long, env = "BINNACLE_TENANT", value_name = "NAME")]
    pub tenant: Option<String>,
    /// Agent: where the machine's root is mounted, e.g. /host in a container [default: /]
    #[arg(long, env = "BINNACLE_HOST_ROOT", value_name = "DIR")]
    pub host_root: Option<PathBuf>,
    /// Agent: plain log files to follow. May be given more than once [default: /var/log/*.log, /var/log/syslog, /var/log/messages]
    #[arg(long, env = "BINNACLE_LOG_FILES", value_name = "GLOB", value_delimiter = ',')]
    pub log_files: Vec<String>,
    /// Agent: folder where other programs leave metrics as `*.prom` files [default: /var/lib/prometheus/node-exporter]
    #[arg(long, env = "BINNACLE_TEXTFILE_DIR", value_name = "DIR")]
    pub textfile_dir: Option<PathBuf>,
    /// Agent: file of rules for container logs: joining, dropping, redaction, sampling, limits by namespace
    #[arg(long, env = "BINNACLE_LOG_RULES", value_name = "FILE")]
    pub log_rules: Option<PathBuf>,
    /// Agent: the node's kubelet, e.g. https://10.0.0.7:10250; it names pods and tells their file systems and probes [default: not asked]
    #[arg(long, env = "BINNACLE_KUBELET", value_name = "URL")]
    pub kubelet: Option<String>,
    /// Agent: file with the token for the kubelet, read anew at each request [default: the pod's service account token]
    #[arg(long, env = "BINNACLE_KUBELET_TOKEN_FILE", value_name = "FILE")]
    pub kubelet_token_file: Option<PathBuf>,
    /// Agent: PEM file of who signed the kubelet's certificate [default: what the system trusts]
    #[arg(long, env = "BINNACLE_KUBELET_CA_FILE", value_name = "FILE")]
    pub kubelet_ca_file: Option<PathBuf>,
    /// Agent: believe any certificate of the kubelet
    #[arg(
        long, env = "BINNACLE_KUBELET_INSECURE", value_name = "true|false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub kubelet_insecure: Option<bool>,
    /// Agent: the API server, e.g. https://10.0.0.1:443, or `auto` inside a pod; one agent of all then tells the cluster's
    /// objects and changes [default: not asked]
    #[arg(long, env = "BINNACLE_KUBE_API", value_name = "URL|auto")]
    pub kube_api: Option<String>,
    /// Agent: PEM file of who signed the API server's certificate [default: the pod's service account has it]
    #[arg(long, env = "BINNACLE_KUBE_API_CA_FILE", value_name = "FILE")]
    pub kube_api_ca_file: Option<PathBuf>,
    /// Agent: what this cluster is called, as `cluster` and `k8s.cluster.name` on every record [default: not said]
    #[arg(long, env = "BINNACLE_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// Agent: the cloud's metadata server, `auto` for that of AWS, Google and Azure, or a URL; it says what machine this is,
    /// which prices depend on [default: not asked]
    #[arg(long, env = "BINNACLE_CLOUD_METADATA", value_name = "auto|URL")]
    pub cloud_metadata: Option<String>,
    /// Agent: file in Prometheus' format whose scrape_configs are scraped
    #[arg(long, env = "BINNACLE_SCRAPE_CONFIG", value_name = "FILE")]
    pub scrape_config: Option<PathBuf>,
    /// Agent: what of this node is scraped without being named, where --kubelet or --kube-api is given: annotations
    /// (prometheus.io/scrape), monitors (PodMonitor, ServiceMonitor), control-plane (scheduler, controller manager, etcd,
    /// CoreDNS, kube-proxy, Istio; the API server by one agent of all); or none [default: all three]
    #[arg(long, env = "BINNACLE_SCRAPE_DISCOVER", value_name = "WHAT", value_delimiter = ',')]
    pub scrape_discover: Vec<String>,
    /// Agent: the most its queue may take on disk, e.g. 500MiB; past it the oldest records are dropped and counted [default: 2GiB]
    #[arg(long, env = "BINNACLE_AGENT_QUEUE", value_name = "BYTES")]
    pub agent_queue: Option<String>,
    /// Agent: seconds between two collections [default: 15s]
    #[arg(long, env = "BINNACLE_COLLECT_INTERVAL", value_name = "DURATION")]
    pub collect_interval: Option<String>,
    /// Send own traces and logs by OTLP/gRPC: `off`, `self`, or a URL [default: off]
    #[arg(long, env = "BINNACLE_SELF_TELEMETRY", value_name = "WHERE")]
    pub self_telemetry: Option<String>,
}

/// What it means.
#[derive(Clone, Debug)]
pub struct Config {
    pub role: Role,
    pub data_dir: PathBuf,
    pub http: SocketAddr,
    pub otlp_grpc: SocketAddr,
    pub otlp_http: SocketAddr,
    pub pg: SocketAddr,
    pub syslog: Option<SocketAddr>,
    pub syslog_tls: Option<SyslogTls>,
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
    pub tail_sampling: Option<PathBuf>,
    pub otlp: wire::otlp::Translation,
    pub otlp_delta_bytes: usize,
    pub replicas: receive::replicas::Config,
    pub prices: Option<PathBuf>,
    pub ingest_url: String,
    pub query_url: String,
    pub ingest_token_file: Option<PathBuf>,
    pub tenant: model::Tenant,
    pub host_root: PathBuf,
    pub log_files: Vec<String>,
    pub textfile_dir: Option<PathBuf>,
    pub log_rules: Option<PathBuf>,
    pub kubelet: Option<agent::kubelet::Settings>,
    pub cluster: Option<agent::ClusterSettings>,
    pub cluster_name: Option<String>,
    pub scrape_config: Option<PathBuf>,
    pub cloud_metadata: Option<String>,
    pub discover: agent::Discover,
    pub agent_queue_bytes: Option<u64>,
    pub collect_interval: Duration,
    pub self_telemetry: SelfTelemetry,
}

/// Files are read by who starts the listener.
#[derive(Clone, Debug)]
pub struct SyslogTls {
    pub address: SocketAddr,
    pub cert: PathBuf,
    pub key: PathBuf,
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
        let file = match &flags.config {
            Some(path) => Flags::from_file(path)?,
            None => Flags::default(),
        };
        Config::build(role, flags.over(file))
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
        let config = Config {
            #[cfg(feature = "server")]
            server: server::Config::of(&flags, memory_bytes)?,
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
                None | Some("off") => None,
                written => Some(SyslogTls {
                    address: address("--syslog-tls", written.map(str::to_owned), "")?,
                    cert: flags.syslog_tls_cert.context("--syslog-tls needs --syslog-tls-cert")?,
                    key: flags.syslog_tls_key.context("--syslog-tls needs --syslog-tls-key")?,
                    client_ca: flags.syslog_tls_client_ca,
                }),
            },
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
            tenant: match flags.tenant {
                Some(name) => model::Tenant::new(&name).with_context(|| format!("--tenant {name:?}"))?,
                None => model::Tenant::default(),
            },
            host_root: flags.host_root.unwrap_or_else(|| "/".into()),
            log_files: flags.log_files,
            textfile_dir: flags.textfile_dir,
            log_rules: flags.log_rules,
            cluster: cluster(flags.kube_api, flags.kubelet_token_file.clone(), flags.kube_api_ca_file)?,
            cluster_name: flags.cluster_name.filter(|name| !name.is_empty()),
            kubelet: kubelet(
                flags.kubelet,
                flags.kubelet_token_file,
                flags.kubelet_ca_file,
                flags.kubelet_insecure,
            )?,
            scrape_config: flags.scrape_config,
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
            agent_queue_bytes: flags.agent_queue.map(|text| queue_bytes(&text)).transpose()?,
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
            .chain(self.syslog_tls.as_ref().map(|tls| ("--syslog-tls", tls.address)))
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

impl Flags {
    fn from_file(path: &Path) -> anyhow::Result<Flags> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading --config {}", path.display()))?;
        Flags::from_toml(&text).map_err(|wrong| {
            let wrong = match wrong.downcast::<toml::de::Error>() {
                Ok(wrong) => wrong,
                Err(other) => return other,
            };
            let place = units::place(&text, wrong.span().map_or(0, |span| span.start));
            // Without the list of everything that it might have been.
            let what = wrong.message().split(", expected").next().unwrap_or_default();
            anyhow::anyhow!(
                "--config {}:{place}: {what}; `binnacle check` tells every mistake",
                path.display()
            )
        })
    }

    /// The names of all keys.
    pub fn keys() -> Vec<String> {
        let command = Flags::augment_args(clap::Command::new("keys"));
        let names = command.get_arguments().map(|argument| argument.get_id().as_str().to_owned());
        names.filter(|name| name != "config").collect()
    }

    pub fn from_toml(text: &str) -> anyhow::Result<Flags> {
        Ok(toml::from_str(text)?)
    }

    /// These flags where they are set, else `file`'s.
    fn over(self, file: Flags) -> Flags {
        fn list(own: Vec<String>, file: Vec<String>) -> Vec<String> {
            if own.is_empty() { file } else { own }
        }
        Flags {
            config: self.config,
            data_dir: self.data_dir.or(file.data_dir),
            http: self.http.or(file.http),
            otlp_grpc: self.otlp_grpc.or(file.otlp_grpc),
            otlp_http: self.otlp_http.or(file.otlp_http),
            pg: self.pg.or(file.pg),
            syslog: self.syslog.or(file.syslog),
            syslog_tls: self.syslog_tls.or(file.syslog_tls),
            syslog_tls_cert: self.syslog_tls_cert.or(file.syslog_tls_cert),
            syslog_tls_key: self.syslog_tls_key.or(file.syslog_tls_key),
            syslog_tls_client_ca: self.syslog_tls_client_ca.or(file.syslog_tls_client_ca),
            log_format: self.log_format.or(file.log_format),
            log_level: self.log_level.or(file.log_level),
            memory: self.memory.or(file.memory),
            token_file: self.token_file.or(file.token_file),
            retention_metrics: self.retention_metrics.or(file.retention_metrics),
            retention_logs: self.retention_logs.or(file.retention_logs),
            discover_service_name: list(self.discover_service_name, file.discover_service_name),
            max_line_size: self.max_line_size.or(file.max_line_size),
            max_label_names_per_series: self.max_label_names_per_series.or(file.max_label_names_per_series),
            max_label_name_length: self.max_label_name_length.or(file.max_label_name_length),
            max_label_value_length: self.max_label_value_length.or(file.max_label_value_length),
            reject_old_samples_max_age: self.reject_old_samples_max_age.or(file.reject_old_samples_max_age),
            creation_grace_period: self.creation_grace_period.or(file.creation_grace_period),
            ingestion_rate_mb: self.ingestion_rate_mb.or(file.ingestion_rate_mb),
            ingestion_burst_size_mb: self.ingestion_burst_size_mb.or(file.ingestion_burst_size_mb),
            per_stream_rate_limit: self.per_stream_rate_limit.or(file.per_stream_rate_limit),
            per_stream_rate_limit_burst: self
                .per_stream_rate_limit_burst
                .or(file.per_stream_rate_limit_burst),
            retention_stream: list(self.retention_stream, file.retention_stream),
            retention_traces: self.retention_traces.or(file.retention_traces),
            delete_request_cancel_period: self
                .delete_request_cancel_period
                .or(file.delete_request_cancel_period),
            limit: list(self.limit, file.limit),
            downsample: list(self.downsample, file.downsample),
            query_timeout: self.query_timeout.or(file.query_timeout),
            rules: list(self.rules, file.rules),
            slos: list(self.slos, file.slos),
            webhook: list(self.webhook, file.webhook),
            alertmanager: list(self.alertmanager, file.alertmanager),
            evaluation_interval: self.evaluation_interval.or(file.evaluation_interval),
            external_url: self.external_url.or(file.external_url),
            enable_feature: list(self.enable_feature, file.enable_feature),
            web_enable_admin_api: self.web_enable_admin_api.or(file.web_enable_admin_api),
            span_metrics: self.span_metrics.or(file.span_metrics),
            tail_sampling: self.tail_sampling.or(file.tail_sampling),
            demo_bottleneck: self.demo_bottleneck.or(file.demo_bottleneck),
            otlp_translation_strategy: self.otlp_translation_strategy.or(file.otlp_translation_strategy),
            otlp_promote_resource_attributes: list(
                self.otlp_promote_resource_attributes,
                file.otlp_promote_resource_attributes,
            ),
            otlp_promote_all_resource_attributes: self
                .otlp_promote_all_resource_attributes
                .or(file.otlp_promote_all_resource_attributes),
            otlp_ignore_resource_attributes: list(
                self.otlp_ignore_resource_attributes,
                file.otlp_ignore_resource_attributes,
            ),
            otlp_keep_identifying_resource_attributes: self
                .otlp_keep_identifying_resource_attributes
                .or(file.otlp_keep_identifying_resource_attributes),
            otlp_convert_histograms_to_nhcb: self
                .otlp_convert_histograms_to_nhcb
                .or(file.otlp_convert_histograms_to_nhcb),
            otlp_promote_scope_metadata: self
                .otlp_promote_scope_metadata
                .or(file.otlp_promote_scope_metadata),
            otlp_delta_memory: self.otlp_delta_memory.or(file.otlp_delta_memory),
            ha_tracker: list(self.ha_tracker, file.ha_tracker),
            ha_cluster_label: self.ha_cluster_label.or(file.ha_cluster_label),
            ha_replica_label: self.ha_replica_label.or(file.ha_replica_label),
            ha_failover_timeout: self.ha_failover_timeout.or(file.ha_failover_timeout),
            ha_max_clusters: self.ha_max_clusters.or(file.ha_max_clusters),
            prices: self.prices.or(file.prices),
            ingest: self.ingest.or(file.ingest),
            query: self.query.or(file.query),
            ingest_token_file: self.ingest_token_file.or(file.ingest_token_file),
            tenant: self.tenant.or(file.tenant),
            host_root: self.host_root.or(file.host_root),
            log_files: list(self.log_files, file.log_files),
            textfile_dir: self.textfile_dir.or(file.textfile_dir),
            log_rules: self.log_rules.or(file.log_rules),
            kubelet: self.kubelet.or(file.kubelet),
            kube_api: self.kube_api.or(file.kube_api),
            kube_api_ca_file: self.kube_api_ca_file.or(file.kube_api_ca_file),
            kubelet_token_file: self.kubelet_token_file.or(file.kubelet_token_file),
            kubelet_ca_file: self.kubelet_ca_file.or(file.kubelet_ca_file),
            kubelet_insecure: self.kubelet_insecure.or(file.kubelet_insecure),
            scrape_config: self.scrape_config.or(file.scrape_config),
            cluster_name: self.cluster_name.or(file.cluster_name),
            cloud_metadata: self.cloud_metadata.or(file.cloud_metadata),
            scrape_discover: list(self.scrape_discover, file.scrape_discover),
            agent_queue: self.agent_queue.or(file.agent_queue),
            collect_interval: self.collect_interval.or(file.collect_interval),
            self_telemetry: self.self_telemetry.or(file.self_telemetry),
        }
    }
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

/// Where Kubernetes puts a pod's own token, the API server's CA and the pod's namespace.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn cluster(
    url: Option<String>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
) -> anyhow::Result<Option<agent::ClusterSettings>> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let url = match url.as_deref() {
        None | Some("" | "off") => return Ok(None),
        Some("auto") => {
            let (Some(host), Some(port)) = (env("KUBERNETES_SERVICE_HOST"), env("KUBERNETES_SERVICE_PORT"))
            else {
                bail!(
                    "--kube-api auto works inside a pod (KUBERNETES_SERVICE_HOST is not set); give the URL"
                );
            };
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            format!("https://{host}:{port}")
        }
        Some(url) => checked_url("--kube-api", url.to_owned())?,
    };
    let account = Path::new(SERVICE_ACCOUNT);
    let in_pod = account.join("ca.crt");
    let trust = match ca_file.or_else(|| in_pod.exists().then_some(in_pod)) {
        Some(path) => agent::kubelet::Trust::CaFile(path),
        None => agent::kubelet::Trust::System,
    };
    let namespace = env("POD_NAMESPACE")
        .or_else(|| std::fs::read_to_string(account.join("namespace")).ok())
        .map_or("default".to_owned(), |name| name.trim().to_owned());
    let identity =
        env("NODE_NAME").or_else(|| env("HOSTNAME")).unwrap_or_else(|| "binnacle-agent".to_owned());
    // Two agents on one machine are two.
    let identity = format!("{identity}_{}", std::process::id());
    let token_file = token_file.unwrap_or_else(|| account.join("token"));
    Ok(Some(agent::ClusterSettings { url, token_file, trust, namespace, identity }))
}

fn kubelet(
    url: Option<String>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    insecure: Option<bool>,
) -> anyhow::Result<Option<agent::kubelet::Settings>> {
    use agent::kubelet::{Settings, Trust};
    let trust = match (ca_file, insecure.unwrap_or(false)) {
        (Some(_), true) => {
            bail!("--kubelet-ca-file and --kubelet-insecure exclude each other; leave one out")
        }
        (Some(path), false) => Trust::CaFile(path),
        (None, true) => Trust::Anyone,
        (None, false) => Trust::System,
    };
    let Some(url) = url.filter(|url| !url.is_empty() && url != "off") else { return Ok(None) };
    let url = checked_url("--kubelet", url)?;
    let token_file = token_file.unwrap_or_else(|| Path::new(SERVICE_ACCOUNT).join("token"));
    Ok(Some(Settings { url, token_file, trust }))
}

/// Less holds no batch of log lines and its neighbours.
const QUEUE_BYTES_MIN: usize = 16 << 20;

fn queue_bytes(text: &str) -> anyhow::Result<u64> {
    let bytes = parse_bytes(text).with_context(|| format!("--agent-queue {text:?}"))?;
    if bytes < QUEUE_BYTES_MIN {
        bail!("--agent-queue {text:?} is too small; at least 16MiB is needed");
    }
    Ok(bytes as u64)
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
        assert!(wrong(Flags { log_format: text("xml"), ..Flags::default() }).contains("json"));
        assert!(wrong(Flags { webhook: vec!["ftp://x".into()], ..Flags::default() }).contains("http://"));
        assert!(
            wrong(Flags { retention_logs: text("soon"), ..Flags::default() }).contains("--retention-logs")
        );
        assert!(
            wrong(Flags { ingestion_rate_mb: Some(-1.0), ..Flags::default() })
                .contains("--ingestion-rate-mb")
        );
        let rate =
            up(Flags { ingestion_rate_mb: Some(4.0), ..Flags::default() }).unwrap().server.log_limits.rate;
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
}
