//! What comes of a SIGHUP, or of a changed file: what does not parse is told, and what was stays in force.

use crate::config::{Config, LogConfig};
use receive::replicas;
use std::fmt::Debug;
use tracing::{info, warn};
use wire::otlp::Translation;

/// What stays as it was, so far.
pub struct Reload(Vec<&'static str>);

impl Reload {
    /// What lasts from the start to the end and is written otherwise by now waits for a restart, and is told.
    pub fn of(was: &Config, is: &Config) -> Reload {
        let both = lasting(was).into_iter().zip(lasting(is));
        let changed: Vec<&'static str> =
            both.filter(|(was, is)| was != is).map(|((flag, _), _)| flag).collect();
        if !changed.is_empty() {
            warn!(settings = changed.join(", "), "a change of these takes a restart");
        }
        Reload(changed)
    }

    pub fn came_to(&mut self, what: &'static str, done: anyhow::Result<()>) {
        if let Err(wrong) = done {
            warn!(error = format!("{wrong:#}"), "{what} are kept as they were");
            self.0.push(what);
        }
    }

    /// Once all was tried. Whoever looks for one line finds it, and reads in it whether all is as he wrote it.
    pub fn tell(self) {
        let Reload(kept) = self;
        if kept.is_empty() {
            info!("reloaded");
        } else {
            warn!(kept = kept.join(", "), "reloaded in part");
        }
    }
}

/// Settings that are read at the start alone.
fn lasting(config: &Config) -> Vec<(&'static str, String)> {
    // Without `..`: whoever adds a setting says here whether a reload takes it.
    let Config {
        role: _,
        config_file: _,
        token_file: _,
        query_timeout: _,
        prices: _,
        log_rules: _,
        scrape_config: _,
        #[cfg(feature = "server")]
            server: _,
        data_dir,
        http,
        otlp_grpc,
        otlp_http,
        pg,
        syslog,
        tls,
        syslog_tls,
        log: LogConfig { json, filter },
        memory_bytes,
        service_name_from,
        discover_log_levels,
        rules,
        slos,
        webhook,
        alertmanager,
        evaluation_interval,
        external_url,
        admin_api,
        experimental_functions,
        span_metrics,
        tail_sampling,
        otlp: Translation { strategy, promoted, keep_identifying, explicit_as_native, scope_metadata },
        otlp_delta_bytes,
        replicas: replicas::Config { tenants, cluster_label, replica_label, failover, clusters_max },
        ingest_url,
        query_url,
        ingest_token_file,
        ingest_certificates,
        tenant,
        host_root,
        log_files,
        textfile_dir,
        kubelet,
        cluster,
        cluster_name,
        job_names,
        cloud_metadata,
        discover,
        metadata,
        agent_queue_bytes,
        collect_interval,
        self_telemetry,
    } = config;
    let settings: [(&'static str, &dyn Debug); 59] = [
        ("--data-dir", data_dir),
        ("--http", http),
        ("--otlp-grpc", otlp_grpc),
        ("--otlp-http", otlp_http),
        ("--pg", pg),
        ("--syslog", syslog),
        ("--tls-cert", &tls.as_ref().map(|files| &files.cert)),
        ("--tls-key", &tls.as_ref().map(|files| &files.key)),
        ("--tls-client-ca", &tls.as_ref().map(|files| &files.client_ca)),
        ("--syslog-tls or its certificate", syslog_tls),
        ("--log-format", json),
        ("--log-level", filter),
        ("--memory", memory_bytes),
        ("--discover-service-name", service_name_from),
        ("--discover-log-levels", discover_log_levels),
        ("--rules", rules),
        ("--slos", slos),
        ("--webhook", webhook),
        ("--alertmanager", alertmanager),
        ("--evaluation-interval", evaluation_interval),
        ("--external-url", external_url),
        ("--web.enable-admin-api", admin_api),
        ("--enable-feature", experimental_functions),
        ("--span-metrics", span_metrics),
        ("--tail-sampling", &tail_sampling.is_some()),
        ("--otlp-translation-strategy", strategy),
        ("--otlp-promote-resource-attributes and its kind", promoted),
        ("--otlp-keep-identifying-resource-attributes", keep_identifying),
        ("--otlp-convert-histograms-to-nhcb", explicit_as_native),
        ("--otlp-promote-scope-metadata", scope_metadata),
        ("--otlp-delta-memory", otlp_delta_bytes),
        ("--ha-tracker", tenants),
        ("--ha-cluster-label", cluster_label),
        ("--ha-replica-label", replica_label),
        ("--ha-failover-timeout", failover),
        ("--ha-max-clusters", clusters_max),
        ("--ingest", ingest_url),
        ("--query", query_url),
        ("--ingest-token-file", ingest_token_file),
        ("--ingest-tls-ca", &ingest_certificates.ca),
        ("--ingest-tls-cert or --ingest-tls-key", &ingest_certificates.own),
        ("--tenant", tenant),
        ("--host-root", host_root),
        ("--log-files", log_files),
        ("--textfile-dir", textfile_dir),
        ("--kubelet", &kubelet.as_ref().map(|kubelet| &kubelet.url)),
        (
            "--kubelet-token-file",
            &(
                kubelet.as_ref().map(|kubelet| &kubelet.token_file),
                cluster.as_ref().map(|cluster| &cluster.token_file),
            ),
        ),
        ("--kubelet-ca-file or --kubelet-insecure", &kubelet.as_ref().map(|kubelet| &kubelet.trust)),
        ("--kube-api", &cluster.as_ref().map(|cluster| &cluster.url)),
        ("--kube-api-ca-file", &cluster.as_ref().map(|cluster| &cluster.trust)),
        ("--cluster-name", cluster_name),
        ("--job-names or --node-job", job_names),
        ("--cloud-metadata", cloud_metadata),
        ("--scrape-discover", discover),
        ("--metric-labels-allowlist", &metadata.labels),
        ("--metric-annotations-allowlist", &metadata.annotations),
        ("--agent-queue", agent_queue_bytes),
        ("--collect-interval", collect_interval),
        ("--self-telemetry", self_telemetry),
    ];
    let mut settings: Vec<_> =
        settings.into_iter().map(|(flag, value)| (flag, format!("{value:?}"))).collect();
    settings.extend(of_server(config));
    settings
}

#[cfg(feature = "server")]
fn of_server(config: &Config) -> Vec<(&'static str, String)> {
    let server = &config.server;
    vec![
        ("--delete-request-cancel-period", format!("{:?}", server.delete_cancel_period)),
        ("--demo-bottleneck", format!("{:?}", server.demo_bottleneck)),
    ]
}

#[cfg(not(feature = "server"))]
fn of_server(_: &Config) -> Vec<(&'static str, String)> {
    vec![]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, Role};

    #[test]
    fn what_takes_a_restart_stays_and_is_named() {
        let config = |flags| {
            Config::build(Role::Up { demo: false, agent: true, alerts: true, web: true }, flags).unwrap()
        };
        let text = |text: &str| Some(text.to_owned());
        let was = config(Flags::default());
        let same = config(Flags { query_timeout: text("7s"), ..Flags::default() });
        assert!(Reload::of(&was, &same).0.is_empty());
        let moved = Flags { http: text("127.0.0.1:1"), rules: vec!["more.yaml".into()], ..Flags::default() };
        assert_eq!(Reload::of(&was, &config(moved)).0, ["--http", "--rules"]);
        let on_the_node = Flags {
            kubelet: text("https://10.0.0.7:10250"),
            kube_api: text("https://10.0.0.1"),
            cluster_name: text("east"),
            span_metrics: Some(false),
            ..Flags::default()
        };
        let kept = Reload::of(&was, &config(on_the_node)).0;
        let told = |flag: &&str| kept.contains(flag);
        assert!(["--span-metrics", "--kubelet", "--kube-api", "--cluster-name"].iter().all(told), "{kept:?}");
        let other_book = Flags { prices: Some("prices.csv".into()), ..Flags::default() };
        assert!(Reload::of(&was, &config(other_book)).0.is_empty());
    }
}
