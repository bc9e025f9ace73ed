use super::*;

fn jobs(text: &str) -> Result<Vec<Job>, String> {
    parse(text, Path::new("/etc/prometheus")).map_err(|wrong| wrong.to_string())
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

#[test]
fn durations_are_prometheus_own() {
    for (text, ms) in
        [("15s", 15_000), ("1h30m", 5_400_000), ("1d", 86_400_000), ("1m0s500ms", 60_500), ("0", 0)]
    {
        assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
    }
    for text in ["15s", "1h30m", "24h", "1m500ms", "0s"] {
        assert_eq!(duration_text(duration(text).unwrap()), text);
    }
    for text in ["", "5", "s", "5x", "1m1h", "1.5s", "-1s", "99999999999999999999s"] {
        assert_eq!(duration(text), None, "{text}");
    }
}
