//! A rule file is evaluated, a webhook reaches a real receiver, states survive a restart, an SLO has a budget.

use crate::server::{Peer, Server, eventually, free_port, http_client, now_ms, program};
use crate::traffic::{remote_write, samples};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// An HTTP server that keeps what it is sent.
pub fn receiver() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_ok() {
                let _ = reader
                    .get_mut()
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                if let Ok(json) = serde_json::from_slice(&body) {
                    let _ = send.send(json);
                }
            }
        }
    });
    (url, receive)
}

const RULES: &str = "groups:\n- name: shop\n  interval: 1s\n  rules:\n  - record: shop:requests:sum\n    expr: sum(shop_requests)\n  \
    - alert: TooManyRequests\n    expr: shop_requests > 10\n    labels: { severity: page }\n    annotations: { summary: 'requests of {{ $labels.job }} at {{ $value }}' }\n";

fn set_requests(server: &Server, value: f64) {
    let body = samples(&[(&[("__name__", "shop_requests"), ("job", "shop")], &[(now_ms(), value)])]);
    assert!(remote_write(server, body).status().is_success());
}

#[test]
fn an_alert_fires_survives_a_restart_and_is_resolved_once() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yaml");
    std::fs::write(&rules, RULES).unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let (hook, notifications) = receiver();
    let flags = ["--no-agent", "--no-web", "--rules", rules.to_str().unwrap(), "--webhook", &hook];
    let server = Server::start("up", &data, &flags);
    set_requests(&server, 42.0);
    let firing = eventually("the firing notification", || notifications.try_recv().ok());
    assert_eq!((&firing["version"], &firing["status"]), (&Value::from("4"), &Value::from("firing")));
    let alert = &firing["alerts"][0];
    assert_eq!(alert["labels"]["alertname"], "TooManyRequests");
    assert_eq!(alert["labels"]["severity"], "page");
    assert_eq!(alert["annotations"]["summary"], "requests of shop at 42");
    for field in [
        "groupKey",
        "receiver",
        "groupLabels",
        "commonLabels",
        "commonAnnotations",
        "externalURL",
        "truncatedAlerts",
    ] {
        assert!(firing.get(field).is_some(), "{field}: {firing}");
    }
    let find = |server: &Server| {
        let alerts = server.json("/api/v1/alerts");
        alerts["data"]["alerts"]
            .as_array()?
            .iter()
            .find(|a| a["labels"]["alertname"] == "TooManyRequests")
            .cloned()
    };
    let before = eventually("the alert", || find(&server));
    assert_eq!(before["state"], "firing");
    let rules = server.json("/api/v1/rules");
    assert!(rules.to_string().contains("shop:requests:sum"), "{rules}");
    eventually("the recorded series", || server.promql("shop:requests:sum").first().cloned());
    eventually("ALERTS", || server.promql("ALERTS{alertstate=\"firing\"}").first().cloned());

    assert_eq!(server.terminate().code(), Some(0));
    let server = Server::start("up", &data, &flags);
    let after = eventually("the alert after a restart", || find(&server));
    assert_eq!(after["activeAt"], before["activeAt"], "the state survived");

    set_requests(&server, 1.0);
    let resolved = eventually("the resolved notification", || notifications.try_recv().ok());
    assert_eq!(resolved["status"], "resolved", "{resolved}");
    assert_eq!(resolved["alerts"][0]["status"], "resolved");
}

const PATIENT: &str = "groups:\n- name: shop\n  interval: 1s\n  rules:\n  - alert: Patient\n    expr: shop_requests > 10\n    for: 3s\n    \
    keep_firing_for: 2s\n    labels: { team: 'of {{ $labels.job }}' }\n    annotations: { summary: '{{ $value | humanize }}' }\n";

/// The alert waits for its time, fires, is kept firing for a while after its cause is gone, and Debian's Alertmanager
/// sends both on.
#[test]
fn an_alertmanager_hears_of_an_alert_that_waits_and_lingers() {
    let dir = tempfile::tempdir().unwrap();
    let (hook, notifications) = receiver();
    let config = dir.path().join("alertmanager.yml");
    let text = format!(
        "route: {{ receiver: hook, group_wait: 0s, group_interval: 1s, repeat_interval: 1h }}\n\
         receivers: [{{ name: hook, webhook_configs: [{{ url: '{hook}' }}] }}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let port = free_port();
    let alertmanager = Command::new(program("prometheus-alertmanager"))
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", dir.path().join("alertmanager").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _alertmanager = Peer(alertmanager);
    let url = format!("http://127.0.0.1:{port}");
    let http = http_client();
    eventually("the Alertmanager", || {
        http.get(format!("{url}/-/ready")).send().ok()?.error_for_status().ok()
    });

    let rules = dir.path().join("rules.yaml");
    std::fs::write(&rules, PATIENT).unwrap();
    let server =
        Server::up(&["--no-agent", "--no-web", "--rules", rules.to_str().unwrap(), "--alertmanager", &url]);
    set_requests(&server, 42.0);
    let state = |server: &Server| {
        let alerts = server.json("/api/v1/alerts");
        alerts["data"]["alerts"].as_array()?.first().cloned()
    };
    let pending = eventually("the alert", || state(&server));
    assert_eq!(pending["state"], "pending", "it has to wait first: {pending}");
    let firing = eventually("Alertmanager's word of it", || notifications.try_recv().ok());
    assert_eq!((&firing["status"], &firing["receiver"]), (&Value::from("firing"), &Value::from("hook")));
    let alert = &firing["alerts"][0];
    assert_eq!(
        (&alert["labels"]["team"], &alert["annotations"]["summary"]),
        (&"of shop".into(), &"42".into())
    );
    let starts_at = alert["startsAt"].as_str().unwrap().to_owned();
    assert!(starts_at.as_str() > pending["activeAt"].as_str().unwrap(), "it fires later than it is active");

    set_requests(&server, 1.0);
    let kept = eventually("an alert without its cause", || {
        state(&server).filter(|alert| !alert["keepFiringSince"].is_null())
    });
    assert_eq!(kept["state"], "firing");
    let resolved = eventually("Alertmanager's word of its end", || {
        notifications.try_recv().ok().filter(|told| told["status"] == "resolved")
    });
    assert_eq!(resolved["alerts"][0]["startsAt"], starts_at.as_str());
}

const SLO: &str = "apiVersion: openslo/v1\nkind: SLO\nmetadata: { name: shop-availability }\nspec:\n  service: shop\n  budgetingMethod: Occurrences\n  \
    timeWindow: [{ duration: 30d, isRolling: true }]\n  indicator:\n    metadata: { name: shop-ok }\n    spec:\n      ratioMetric:\n        counter: true\n        \
    good: { metricSource: { type: Prometheus, spec: { query: 'shop_http_total{code=\"200\"}' } } }\n        \
    total: { metricSource: { type: Prometheus, spec: { query: 'shop_http_total' } } }\n  objectives: [{ target: 0.99 }]\n";

#[test]
fn an_slo_without_data_is_unknown_and_becomes_rules() {
    let dir = tempfile::tempdir().unwrap();
    let slo = dir.path().join("slo.yaml");
    std::fs::write(&slo, SLO).unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let flags = ["--no-agent", "--no-web", "--slos", slo.to_str().unwrap(), "--evaluation-interval", "1s"];
    let server = Server::start("up", &data, &flags);
    let find = || {
        let slos = server.json("/api/slos");
        slos["slos"].as_array()?.iter().find(|s| s["name"] == "shop-availability").cloned()
    };
    let first = eventually("the SLO", find);
    assert!(first.to_string().contains("unknown"), "{first}");
    let rules = server.json("/api/v1/rules").to_string();
    for window in ["5m", "1h", "30m", "6h", "2h", "1d", "3d"] {
        assert!(rules.contains(window), "{window}: {rules}");
    }
    assert!(rules.contains("14.4"), "{rules}");
    // Ten minutes of one request in fifty failing: twice what 99 % allows.
    let now = now_ms();
    let points = |each: f64| -> Vec<(i64, f64)> {
        (0..41).map(|i| (now - 600_000 + i * 15_000, i as f64 * each)).collect()
    };
    let body = samples(&[
        (&[("__name__", "shop_http_total"), ("code", "200")], &points(98.0)),
        (&[("__name__", "shop_http_total"), ("code", "500")], &points(2.0)),
    ]);
    assert!(remote_write(&server, body).status().is_success());
    let known = eventually("a known budget", || {
        find().filter(|slo| !slo["budget_remaining"].is_null() && slo["budget_remaining"] != "unknown")
    });
    assert!(known["budget_remaining"].as_f64().unwrap() < 1.0, "{known}");
}
