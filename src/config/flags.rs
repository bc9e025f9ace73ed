//! What was written: the command line, the environment, the TOML file.

use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use std::path::{Path, PathBuf};

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
    /// PEM file with the certificate of HTTP, OTLP and PostgreSQL, and those it hangs on: they speak TLS only then. It
    /// is read again when it changes, and at SIGHUP [default: no TLS]
    #[arg(long, env = "BINNACLE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key
    #[arg(long, env = "BINNACLE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// PEM file with the authorities one of which must have signed a caller's certificate; without it none is asked for
    #[arg(long, env = "BINNACLE_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Syslog, RFC 5424 and 3164, over TCP and UDP, e.g. 0.0.0.0:5514; it asks for no token [default: off]
    #[arg(long, env = "BINNACLE_SYSLOG", value_name = "ADDR")]
    pub syslog: Option<String>,
    /// Syslog over TLS (RFC 5425), e.g. 0.0.0.0:6514 [default: off]
    #[arg(long, env = "BINNACLE_SYSLOG_TLS", value_name = "ADDR")]
    pub syslog_tls: Option<String>,
    /// PEM file with the certificate that syslog senders are shown, and those it hangs on [default: --tls-cert]
    #[arg(long, env = "BINNACLE_SYSLOG_TLS_CERT", value_name = "FILE")]
    pub syslog_tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key [default: --tls-key where the certificate is --tls-cert]
    #[arg(long, env = "BINNACLE_SYSLOG_TLS_KEY", value_name = "FILE")]
    pub syslog_tls_key: Option<PathBuf>,
    /// PEM file with the authorities one of which must have signed a sender's certificate [default: --tls-client-ca where
    /// the certificate is --tls-cert; otherwise none is asked for]
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
    /// Logs: whether lines, and series of LogQL that are not grouped, have `detected_level`, as in Loki [default: true]
    #[arg(long, env = "BINNACLE_DISCOVER_LOG_LEVELS", value_name = "true|false")]
    pub discover_log_levels: Option<bool>,
    /// Logs: the longest line, e.g. 256KB (1,024 bytes each, as in Loki); longer ones are left out [default: 2MiB]
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
    /// 0 switches the series limits and past_max off. For logs also the names of the flags above with underscores, as in
    /// team-a/ingestion_rate_mb=8 and team-a/max_line_size=256KB. May be given more than once
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
    /// Roles alone: PEM file with who must have signed the certificate of --ingest and --query; it and the next two are read
    /// again when they change [default: what the machine trusts]
    #[arg(long, env = "BINNACLE_INGEST_TLS_CA", value_name = "FILE")]
    pub ingest_tls_ca: Option<PathBuf>,
    /// Roles alone: PEM file with the certificate to show to --ingest and --query (their --tls-client-ca) [default: none]
    #[arg(long, env = "BINNACLE_INGEST_TLS_CERT", value_name = "FILE")]
    pub ingest_tls_cert: Option<PathBuf>,
    /// Roles alone: PEM file with that certificate's private key
    #[arg(long, env = "BINNACLE_INGEST_TLS_KEY", value_name = "FILE")]
    pub ingest_tls_key: Option<PathBuf>,
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
    /// Agent: file of rules for container logs: joining, dropping, redaction, sampling, limits, scripts, by namespace
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
    /// Agent: whose rules and dashboards find the agent's own metrics by their jobs: mixins (node, cadvisor, kube-apiserver)
    /// or kube-prometheus (node-exporter, kubelet, apiserver) [default: mixins]
    #[arg(long, env = "BINNACLE_JOB_NAMES", value_name = "mixins|kube-prometheus")]
    pub job_names: Option<String>,
    /// Agent: the job that the node's own metrics are of: node-mixin asks for `node`, kubernetes-mixin beside its `cadvisor`
    /// for `node-exporter` [default: that of --job-names]
    #[arg(long, env = "BINNACLE_NODE_JOB", value_name = "NAME")]
    pub node_job: Option<String>,
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
    /// Agent: which labels of objects are in kube_*_labels, as kube-state-metrics' flag has it: pods=[app,team],namespaces=[*];
    /// `*` is every kind, and an empty text none [default: *=[*]]
    #[arg(long, env = "BINNACLE_METRIC_LABELS_ALLOWLIST", value_name = "KIND=[KEY,…],…")]
    pub metric_labels_allowlist: Option<String>,
    /// Agent: which annotations are in kube_*_annotations, likewise; costs can then be asked for by them [default: none]
    #[arg(long, env = "BINNACLE_METRIC_ANNOTATIONS_ALLOWLIST", value_name = "KIND=[KEY,…],…")]
    pub metric_annotations_allowlist: Option<String>,
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

impl Flags {
    pub(super) fn from_file(path: &Path) -> anyhow::Result<Flags> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading --config {}", path.display()))?;
        Flags::from_toml(&text).map_err(|wrong| {
            let wrong = match wrong.downcast::<toml::de::Error>() {
                Ok(wrong) => wrong,
                Err(other) => return other,
            };
            let place = super::units::place(&text, wrong.span().map_or(0, |span| span.start));
            // Without the list of everything that it might have been.
            let what = wrong.message().split(", expected one of").next().unwrap_or_default();
            let before = wrong.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.rsplit('\n').next().unwrap_or_default();
            let key = line.split_once('=').map(|(key, _)| format!("{}: ", key.trim())).unwrap_or_default();
            anyhow::anyhow!(
                "--config {}:{place}: {key}{what}; `binnacle check` tells every mistake",
                path.display()
            )
        })
    }

    /// The line of the file that sets the flag whose mistake is told.
    pub(super) fn line_of(path: &Path, told: &str) -> Option<usize> {
        let ends_flag = |letter: char| letter != '-' && !letter.is_ascii_alphanumeric();
        let key = told.strip_prefix("--")?.split(ends_flag).next()?.replace('-', "_");
        let text = std::fs::read_to_string(path).ok()?;
        let is_set_by = |line: &str| {
            let rest = line.trim_start().strip_prefix(key.as_str());
            rest.is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        text.lines().position(is_set_by).map(|at| at + 1)
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
    pub(super) fn over(self, file: Flags) -> Flags {
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
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            tls_client_ca: self.tls_client_ca.or(file.tls_client_ca),
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
            discover_log_levels: self.discover_log_levels.or(file.discover_log_levels),
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
            ingest_tls_ca: self.ingest_tls_ca.or(file.ingest_tls_ca),
            ingest_tls_cert: self.ingest_tls_cert.or(file.ingest_tls_cert),
            ingest_tls_key: self.ingest_tls_key.or(file.ingest_tls_key),
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
            job_names: self.job_names.or(file.job_names),
            node_job: self.node_job.or(file.node_job),
            cloud_metadata: self.cloud_metadata.or(file.cloud_metadata),
            scrape_discover: list(self.scrape_discover, file.scrape_discover),
            metric_labels_allowlist: self.metric_labels_allowlist.or(file.metric_labels_allowlist),
            metric_annotations_allowlist: self
                .metric_annotations_allowlist
                .or(file.metric_annotations_allowlist),
            agent_queue: self.agent_queue.or(file.agent_queue),
            collect_interval: self.collect_interval.or(file.collect_interval),
            self_telemetry: self.self_telemetry.or(file.self_telemetry),
        }
    }
}
