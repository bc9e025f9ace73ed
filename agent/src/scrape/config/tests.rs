use super::*;

fn jobs(text: &str) -> Result<Vec<Job>, String> {
    parse(text, Path::new("/etc/prometheus")).map(|parsed| parsed.jobs).map_err(|wrong| wrong.to_string())
}

#[test]
fn a_prometheus_file_is_read_as_it_is() {
    let jobs = jobs(
        "
global: {scrape_interval: 15s, scrape_timeout: 10s, evaluation_interval: 30s, external_labels: {a: b}}
rule_files: [first.rules]
remote_write: [{url: http://x}]
scrape_configs:
- job_name: node
  honor_labels: true
  scrape_interval: 1m30s
  params: {collect: [cpu, mem]}
  basic_auth: {username: admin, password_file: secret}
  file_sd_configs: [{files: ['targets/*.json', /abs/x.yml], refresh_interval: 10m}]
  metric_relabel_configs:
  - {source_labels: [__name__], regex: 'go_.*', action: drop}
- job_name: app
  scheme: https
  body_size_limit: 10MB
  sample_limit: 100
  scrape_native_histograms: true
  static_configs: [{targets: ['localhost:1', 'localhost:2'], labels: {env: test}}]
  tls_config: {insecure_skip_verify: true}
  authorization: {credentials: abc}
",
    )
    .unwrap();
    let (node, app) = (&jobs[0], &jobs[1]);
    assert_eq!((node.interval, node.timeout), (Duration::from_secs(90), Duration::from_secs(10)));
    assert!(node.honor_labels && node.honor_timestamps && !app.honor_labels);
    let files: Vec<_> = node.files.iter().map(|path| path.display().to_string()).collect();
    assert_eq!(files, ["/etc/prometheus/targets/*.json", "/abs/x.yml"]);
    let secret = Secret::File("/etc/prometheus/secret".into());
    assert_eq!(node.client.basic, Some((Secret::Text("admin".into()), secret)));
    assert!(node.accept.starts_with("application/openmetrics-text;version=1.0.0"), "{}", node.accept);
    assert!(app.accept.starts_with("application/vnd.google.protobuf"), "{}", app.accept);
    assert_eq!((app.interval, app.body_bytes_max, app.samples_max), (Duration::from_secs(15), 10 << 20, 100));
    assert_eq!((&*app.scheme, app.groups[0].targets.len()), ("https", 2));
    assert_eq!(app.client.authorization, Some(("Bearer".into(), Secret::Text("abc".into()))));
    assert!(!format!("{app:?}").contains("abc"), "secrets are not shown");
}

#[test]
fn a_mistake_says_where_it_is_and_what_to_do() {
    let head = "scrape_configs:\n- job_name: a\n";
    for (tail, place) in [
        ("  scrape_intervall: 5s\n", "3:3: scrape_configs[0]: unknown field `scrape_intervall`"),
        (
            "  scrape_interval: 5 seconds\n",
            "3:20: scrape_configs[0]: not a valid duration string: \"5 seconds\"; write it as",
        ),
        ("  kubernetes_sd_configs: []\n", "3:3: kubernetes_sd_configs is not supported; use static_configs"),
        (
            "  relabel_configs:\n  - {action: jump}\n",
            "4:14: scrape_configs[0].relabel_configs: unknown relabel action \"jump\"; one of replace",
        ),
        ("  metric_relabel_configs:\n  - {regex: '(', target_label: x}\n", "regex \"(\""),
        ("  scrape_timeout: 2m\n", "2:3: job \"a\": scrape timeout greater than scrape interval"),
        (
            "  static_configs: [{targets: ['http://x:1']}]\n",
            "2:3: job \"a\": \"http://x:1\" is not a valid hostname",
        ),
        (
            "  basic_auth: {username: x, password: y, password_file: z}\n",
            "at most one of password and password_file",
        ),
        ("  tls_config: {cert_file: x}\n", "needs both cert and key"),
        ("- job_name: a\n", "3:3: job \"a\": found multiple scrape configs"),
        ("  body_size_limit: many\n", "write it as 10MB"),
        (
            "  static_configs: {}\n",
            "3:19: scrape_configs[0].static_configs: invalid type: map, expected a sequence",
        ),
    ] {
        let wrong = jobs(&format!("{head}{tail}")).unwrap_err();
        assert!(wrong.contains(place), "{tail}: {wrong}");
    }
}

/// Every key that Prometheus 3 has for a job and for `global`: each has its effect, is told to have none, or is refused.
#[test]
fn every_key_of_prometheus_has_an_effect_or_is_told() {
    let text = "
global:
  scrape_interval: 1m
  scrape_timeout: 10s
  scrape_protocols: [PrometheusText0.0.4]
  evaluation_interval: 1m
  rule_query_offset: 0s
  query_log_file: q.log
  scrape_failure_log_file: f.log
  external_labels: {a: b}
  runtime: {gogc: 75}
  body_size_limit: 1MB
  sample_limit: 1
  target_limit: 2
  label_limit: 3
  label_name_length_limit: 4
  label_value_length_limit: 5
  keep_dropped_targets: 6
  metric_name_validation_scheme: utf8
  metric_name_escaping_scheme: dots
  scrape_native_histograms: false
  convert_classic_histograms_to_nhcb: true
  always_scrape_classic_histograms: false
  extra_scrape_metrics: true
scrape_configs:
- job_name: all
  scrape_failure_log_file: f.log
  fallback_scrape_protocol: OpenMetricsText1.0.0
  always_scrape_classic_histograms: true
  convert_classic_histograms_to_nhcb: false
  native_histogram_bucket_limit: 160
  native_histogram_min_bucket_factor: 1.1
  keep_dropped_targets: 7
  metric_name_validation_scheme: legacy
  metric_name_escaping_scheme: values
  enable_compression: false
  enable_http2: false
  follow_redirects: false
  proxy_url: http://proxy:1
  no_proxy: a,b
  proxy_connect_header: {x: [y]}
  http_headers: {X-Tenant: {values: [a], secrets: [b], files: [c]}}
  tls_config: {server_name: n, min_version: TLS12, max_version: TLS13}
  oauth2:
    client_id: me
    client_secret: abc
    scopes: [s]
    token_url: http://t/
    endpoint_params: {audience: u}
    tls_config: {insecure_skip_verify: true}
  http_sd_configs: [{url: 'http://sd/', refresh_interval: 10s, bearer_token: abc}]
  dns_sd_configs: [{names: [a.b], type: AAAA, port: 9, refresh_interval: 5s}]
- job_name: rest
";
    let parsed = parse(text, Path::new("/etc/prometheus")).unwrap();
    let told: Vec<&str> =
        parsed.warnings.iter().map(|told| told.split(" has no effect").next().unwrap()).collect();
    assert_eq!(
        told,
        [
            "global.runtime",
            "global.evaluation_interval",
            "global.rule_query_offset",
            "global.query_log_file",
            "global.scrape_failure_log_file",
            "global.external_labels",
            "job \"all\": scrape_failure_log_file"
        ]
    );
    let (all, rest) = (&parsed.jobs[0], &parsed.jobs[1]);
    assert_eq!((all.fallback, rest.fallback), (Format::OpenMetrics, Format::Text));
    assert_eq!((all.with_classic_histograms, rest.with_classic_histograms), (true, false));
    assert_eq!((all.classic_to_native, rest.classic_to_native), (false, true));
    assert_eq!((all.buckets_max, all.bucket_factor_min), (160, 1.1));
    assert_eq!((all.dropped_max, rest.dropped_max), (7, 6));
    assert_eq!((all.legacy_names, rest.legacy_names), (true, false));
    assert_eq!((rest.samples_max, rest.targets_max, rest.labels_max), (1, 2, 3));
    assert_eq!((rest.label_name_bytes_max, rest.label_value_bytes_max, rest.extra_metrics), (4, 5, true));
    let client = &all.client;
    assert!(!client.compression && !client.http2 && !client.follow_redirects);
    let headers: Vec<_> = client.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(headers, ["X-Tenant"; 3]);
    assert!(matches!(&client.proxy, Proxy::To { url, except: Some(except), headers }
        if url == "http://proxy:1" && except == "a,b" && headers.len() == 1));
    assert_eq!(client.tls.server_name.as_deref(), Some("n"));
    let oauth2 = client.oauth2.as_ref().unwrap();
    assert_eq!(
        (&*oauth2.id, &*oauth2.token_url, oauth2.client.tls.insecure_skip_verify),
        ("me", "http://t/", true)
    );
    assert_eq!(
        (all.http[0].every, all.dns[0].port, all.dns[0].family),
        (Duration::from_secs(10), 9, Family::V6)
    );
    for (keys, place) in [
        ("  scrape_intervall: 1m", "unknown field `scrape_intervall`"),
        (
            "  metric_name_validation_scheme: legacy\n  metric_name_escaping_scheme: allow-utf-8",
            "validation scheme",
        ),
        ("  dns_sd_configs: [{names: [a]}]", "type SRV, MX and NS are not supported; use A or AAAA"),
        ("  dns_sd_configs: [{names: [a], type: A}]", "a port is required"),
        ("  http_sd_configs: [{url: 'ftp://x'}]", "URL scheme must be 'http' or 'https'"),
        ("  consul_sd_configs: [{server: x}]", "consul_sd_configs is not supported"),
        ("  http_headers: {Host: {values: [x]}}", "setting header \"Host\" is not allowed"),
        ("  body_size_limit: 100", "write it as 10MB"),
        ("  scrape_protocols: [PrometheusProto, PrometheusProto]", "duplicated protocol"),
        ("  no_proxy: x", "if no_proxy is configured, proxy_url must also be configured"),
        ("  oauth2: {client_id: x, token_url: y}", "oauth2 needs client_secret"),
        ("  bearer_token: x\n  basic_auth: {username: x}", "at most one of basic_auth"),
        ("  tls_config: {min_version: TLS13, max_version: TLS12}", "must be greater than or equal"),
    ] {
        let wrong = jobs(&format!("scrape_configs:\n- job_name: a\n{keys}\n")).unwrap_err();
        assert!(wrong.contains(place), "{keys}: {wrong}");
    }
    assert!(jobs("global: {scrape_intervall: 1m}").unwrap_err().contains("scrape_intervall"));
}

#[test]
fn a_job_takes_over_what_another_has() {
    let text = "scrape_configs:\n- &first\n  job_name: a\n  scrape_interval: 5s\n  static_configs: [{targets: ['x:1']}]\n\
        - <<: *first\n  job_name: b\n";
    let found = jobs(text).unwrap();
    let told: Vec<_> = found.iter().map(|job| (job.name.as_str(), job.interval.as_secs())).collect();
    assert_eq!(told, [("a", 5), ("b", 5)]);
    assert_eq!(found[1].groups[0].targets, ["x:1"]);
    let wrong = jobs(&text.replace("job_name: b", "job_name: b\n  oops: 1")).unwrap_err();
    assert!(wrong.contains("unknown field `oops`"), "{wrong}");
}

#[test]
fn other_files_may_hold_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("a.yml", "scrape_configs: [{job_name: a}]");
    write("b.yml", "scrape_configs: [{job_name: b, scrape_interval: 5s}]");
    let text =
        "scrape_config_files: ['*.yml']\nglobal: {scrape_interval: 20s}\nscrape_configs: [{job_name: own}]";
    let parsed = parse(text, dir.path()).unwrap();
    let found: Vec<_> = parsed.jobs.iter().map(|job| (job.name.as_str(), job.interval.as_secs())).collect();
    assert_eq!(found, [("own", 20), ("a", 20), ("b", 5)]);
    let below = parse("scrape_config_files: ['jobs/*/*.yml']", dir.path()).unwrap_err();
    assert!(below.to_string().contains("not of a folder"), "{below}");
    write("b.yml", "scrape_configs: [{job_name: a}]");
    let wrong = parse(text, dir.path()).unwrap_err().to_string();
    assert!(wrong.contains("b.yml: 1:") && wrong.contains("multiple scrape configs"), "{wrong}");
}
