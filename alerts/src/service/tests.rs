use super::*;
use model::{Answer, AskError, Labels, Point, Receipt, Refused, SeriesPoints, SystemClock, Write};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Answers every query with one series of the value it is told.
struct Gauge(parking_lot::Mutex<Option<f64>>);

#[async_trait::async_trait]
impl Ask for Gauge {
    async fn instant(&self, _: &Tenant, _: &str, at_ms: i64) -> Result<Answer, AskError> {
        let series = self.0.lock().map(|value| SeriesPoints {
            labels: Labels::from_pairs([("pod", "p")]),
            points: vec![Point { ts_ms: at_ms, value }],
        });
        Ok(Answer { series: series.into_iter().collect(), ..Answer::default() })
    }

    async fn range(&self, _: &Tenant, _: &str, _: i64, _: i64, _: i64) -> Result<Answer, AskError> {
        Ok(Answer::default())
    }

    async fn check(&self, query: &str) -> Result<(), AskError> {
        if query.contains("nonsense") { Err(AskError::BadQuery("1:1: nonsense".into())) } else { Ok(()) }
    }
}

/// Logs: each tenant has as many lines as its name has letters.
struct Logs;

#[async_trait::async_trait]
impl Ask for Logs {
    async fn instant(&self, tenant: &Tenant, _: &str, at_ms: i64) -> Result<Answer, AskError> {
        let point = Point { ts_ms: at_ms, value: tenant.as_str().len() as f64 };
        let series = SeriesPoints { labels: Labels::from_pairs([("app", "a")]), points: vec![point] };
        Ok(Answer { series: vec![series], ..Answer::default() })
    }

    async fn range(&self, _: &Tenant, _: &str, _: i64, _: i64, _: i64) -> Result<Answer, AskError> {
        Ok(Answer::default())
    }

    async fn check(&self, query: &str) -> Result<(), AskError> {
        if query.contains("rate(") { Ok(()) } else { Err(AskError::BadQuery("no rate".into())) }
    }
}

struct Nowhere;

#[async_trait::async_trait]
impl Sink for Nowhere {
    async fn write(&self, _: Write) -> Result<Receipt, Refused> {
        Ok(Receipt::default())
    }
}

/// A receiver over real HTTP. It answers the first `failures` requests with 503.
async fn receiver(failures: usize) -> (String, mpsc::UnboundedReceiver<Value>) {
    let (send, receive) = mpsc::unbounded_channel();
    let left = Arc::new(std::sync::atomic::AtomicUsize::new(failures));
    let handler = move |axum::Json(body): axum::Json<Value>| {
        let (send, left) = (send.clone(), left.clone());
        async move {
            use std::sync::atomic::Ordering::SeqCst;
            if left.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok() {
                return axum::http::StatusCode::SERVICE_UNAVAILABLE;
            }
            let _ = send.send(body);
            axum::http::StatusCode::OK
        }
    };
    let router = axum::Router::new()
        .route("/hook", axum::routing::post(handler.clone()))
        .route("/api/v2/alerts", axum::routing::post(handler));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, receive)
}

/// Only a failing test waits this long.
async fn next(bodies: &mut mpsc::UnboundedReceiver<Value>) -> Value {
    tokio::time::timeout(Duration::from_secs(30), bodies.recv())
        .await
        .expect("a notification in time")
        .unwrap()
}

struct Started {
    alerts: Arc<Alerts>,
    gauge: Arc<Gauge>,
    stop: CancellationToken,
}

async fn start(config: Config, value: Option<f64>) -> anyhow::Result<Started> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let gauge = Arc::new(Gauge(parking_lot::Mutex::new(value)));
    let stop = CancellationToken::new();
    let asks = Asks { metrics: gauge.clone(), logs: Arc::new(Logs) };
    let alerts = Alerts::start(config, asks, Arc::new(Nowhere), Arc::new(SystemClock), stop.clone()).await?;
    Ok(Started { alerts, gauge, stop })
}

impl Started {
    async fn end(self) {
        self.stop.cancel();
        self.alerts.join().await;
    }
}

fn config(dir: &std::path::Path, rules: &str) -> Config {
    let file = dir.join("rules.yaml");
    std::fs::write(&file, rules).unwrap();
    Config {
        rules: vec![file.display().to_string()],
        data_dir: dir.join("states"),
        group_wait: Duration::ZERO,
        group_interval: Duration::from_millis(50),
        ..Config::default()
    }
}

const RULES: &str = "groups:\n- name: g\n  interval: 100ms\n  rules:\n  - {alert: A, expr: q, labels: {severity: page}, annotations: {summary: 'at {{ $value }}'}}\n";

#[tokio::test]
async fn firing_is_told_once_across_a_restart_then_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let (url, mut hook) = receiver(1).await;
    let config = Config { webhooks: vec![format!("{url}/hook")], ..config(dir.path(), RULES) };
    let first = start(config.clone(), Some(5.0)).await.unwrap();
    let told = next(&mut hook).await;
    assert_eq!(
        (&told["status"], &told["alerts"][0]["annotations"]["summary"]),
        (&json!("firing"), &json!("at 5"))
    );
    let since = first.alerts.active(&Tenant::default())[0].active_at.clone();
    first.end().await;
    let second = start(config, Some(6.0)).await.unwrap();
    assert_eq!(second.alerts.active(&Tenant::default())[0].active_at, since, "the state survived");
    *second.gauge.0.lock() = None;
    let told = next(&mut hook).await;
    assert_eq!(told["status"], "resolved", "not a second firing: {told}");
    second.end().await;
    assert!(hook.try_recv().is_err());
}

#[tokio::test]
async fn an_alertmanager_hears_of_it_too() {
    let dir = tempfile::tempdir().unwrap();
    let (url, mut posted) = receiver(0).await;
    let started =
        start(Config { alertmanagers: vec![url], ..config(dir.path(), RULES) }, Some(1.0)).await.unwrap();
    let told = next(&mut posted).await;
    assert_eq!(told[0]["labels"], json!({"alertname": "A", "pod": "p", "severity": "page"}));
    started.end().await;
}

#[tokio::test]
async fn a_reload_keeps_states_resolves_what_is_gone_and_refuses_mistakes() {
    let dir = tempfile::tempdir().unwrap();
    let (url, mut hook) = receiver(0).await;
    let config = Config { webhooks: vec![format!("{url}/hook")], ..config(dir.path(), RULES) };
    let file = config.rules[0].clone();
    let started = start(config, Some(1.0)).await.unwrap();
    assert_eq!(next(&mut hook).await["status"], "firing");
    let since = started.alerts.active(&Tenant::default())[0].active_at.clone();

    std::fs::write(&file, RULES.replace("expr: q", "expr: nonsense")).unwrap();
    let wrong = started.alerts.reload().await.unwrap_err().to_string();
    assert!(wrong.contains("rules.yaml:5:"), "{wrong}");
    assert!(wrong.contains(": groups[0].rules[0].expr: 1:1: nonsense"), "{wrong}");
    assert_eq!(started.alerts.active(&Tenant::default()).len(), 1);

    std::fs::write(&file, RULES.to_owned() + "  - {record: more, expr: q}\n").unwrap();
    started.alerts.reload().await.unwrap();
    assert_eq!(started.alerts.active(&Tenant::default())[0].active_at, since);
    assert_eq!(started.alerts.groups(&Tenant::default())[0].rules.len(), 2);

    std::fs::write(&file, "groups: []\n").unwrap();
    started.alerts.reload().await.unwrap();
    assert_eq!(next(&mut hook).await["status"], "resolved");
    started.end().await;
}

#[tokio::test]
async fn a_start_with_a_mistake_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = start(config(dir.path(), "groups:\n- nam: g\n"), None).await.err().unwrap().to_string();
    assert!(wrong.contains("rules.yaml:2:3: groups[0].nam"), "{wrong}");
}

#[tokio::test]
async fn the_demo_objectives_are_unknown_without_data() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { with_demo_slos: true, data_dir: dir.path().into(), ..Config::default() };
    let started = start(config, None).await.unwrap();
    let slos = serde_json::to_value(started.alerts.slos()).unwrap();
    assert!(!slos.as_array().unwrap().is_empty());
    for slo in slos.as_array().unwrap() {
        assert_eq!((&slo["status"], &slo["budget_remaining"]), (&json!("unknown"), &json!("unknown")));
        assert_eq!(slo["time_to_empty"], "unknown");
    }
    started.end().await;
}

#[test]
fn slots_are_multiples_of_the_interval() {
    assert_eq!(slot_after(1_000, 60_000, 0), 60_000);
    assert_eq!(slot_after(60_000, 60_000, 0), 120_000);
    assert_eq!(slot_after(60_000, 60_000, 500), 60_500);
    assert_eq!(slot_after(-1, 60_000, 0), 0);
}

#[tokio::test]
async fn groups_set_over_the_api_are_evaluated_in_their_language_for_their_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let (url, mut hook) = receiver(0).await;
    let config = Config { webhooks: vec![format!("{url}/hook")], ..config(dir.path(), RULES) };
    let first = start(config.clone(), None).await.unwrap();
    let acme = Tenant::new("acme").unwrap();
    let shelf = Shelf { tenant: acme.clone(), language: Language::LogQl, namespace: "shop".into() };
    let group = "name: errors\ninterval: 100ms\nrules:\n- alert: Many\n  expr: rate(x)\n  annotations: {n: '{{ $value }}'}\n";
    let wrong = first.alerts.set_rule_group(&shelf, &group.replace("rate(x)", "x")).await.unwrap_err();
    assert_eq!(wrong.to_string(), "5:9: rules[0].expr: no rate");
    first.alerts.set_rule_group(&shelf, group).await.unwrap();
    let told = next(&mut hook).await;
    assert_eq!(told["alerts"][0]["annotations"]["n"], "4");
    assert_eq!(told["alerts"][0]["labels"], json!({"alertname": "Many", "app": "a", "tenant": "acme"}));
    assert_eq!(first.alerts.groups(&acme)[0].file, "shop");
    assert!(first.alerts.groups(&Tenant::default()).iter().all(|group| group.name == "g"));
    first.end().await;
    // It is there after a restart, and its alert is not told twice.
    let second = start(config, None).await.unwrap();
    assert!(second.alerts.rule_group(&shelf, "errors").unwrap().contains("rate(x)"));
    second.alerts.reload().await.unwrap();
    assert_eq!(second.alerts.groups(&acme).len(), 1);
    second.alerts.remove_rule_groups(&shelf, None).await.unwrap();
    let told = next(&mut hook).await;
    assert_eq!(
        (&told["status"], &told["alerts"][0]["labels"]["tenant"]),
        (&json!("resolved"), &json!("acme"))
    );
    assert!(second.alerts.groups(&acme).is_empty());
    assert!(second.alerts.rule_groups(&acme, Language::LogQl, None).unwrap().is_none());
    second.end().await;
}
