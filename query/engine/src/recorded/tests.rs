use crate::{Engine, Limits};
use arrow::util::pretty::pretty_format_batches;
use model::{Batch, Labels, MetricBatch, Sink, SystemClock, Tenant, Write};
use std::sync::Arc;
use store::Store;

#[tokio::test]
async fn alerts_and_budgets_are_tables() {
    let dir = tempfile::tempdir().unwrap();
    let config = store::Config { dir: dir.path().into(), ..store::Config::default() };
    let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
    let now_ms = model::Clock::now_ms(&SystemClock);
    let mut batch = MetricBatch::default();
    let alert = |state| {
        Labels::from_pairs([
            ("__name__", "ALERTS"),
            ("alertname", "Down"),
            ("alertstate", state),
            ("severity", "page"),
        ])
    };
    batch.push_sample(&alert("pending"), now_ms - 2000, 1.0);
    batch.push_sample(&alert("pending"), now_ms - 1000, model::stale_marker());
    batch.push_sample(&alert("firing"), now_ms - 1000, 1.0);
    let budget = [("__name__", "slo:error_budget_remaining:ratio"), ("slo", "fast"), ("slo_service", "web")];
    batch.push_sample(&Labels::from_pairs(budget), now_ms - 2000, 0.75);
    batch.push_sample(&Labels::from_pairs(budget), now_ms - 1000, model::stale_marker());
    let write = Write { tenant: Tenant::default(), batch: Batch::Metrics(batch), origin: None };
    store.write(write).await.unwrap();
    let engine = Arc::new(Engine::new(store, Arc::new(SystemClock), Limits::default()).unwrap());
    let shown = async |query: &str| {
        let answer = engine.sql(&Tenant::default(), query, vec![]).await.unwrap();
        pretty_format_batches(&answer.batches).unwrap().to_string()
    };
    let alerts = shown("select alertname, state, severity from alerts order by ts").await;
    let rows: Vec<&str> = alerts.lines().filter(|line| line.contains("Down")).collect();
    assert_eq!(rows.len(), 2, "{alerts}");
    assert!(
        rows[0].contains("pending") && rows[1].contains("firing") && rows[1].contains("page"),
        "{alerts}"
    );
    let slos = shown("select slo, service, budget_remaining from slos").await;
    assert!(slos.contains("| fast | web     | 0.75 "), "{slos}");
    assert_eq!(slos.lines().count(), 5, "{slos}");
}
