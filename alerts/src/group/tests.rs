use super::*;
use model::{Answer, Clock as _, Point, Receipt, Refused, SeriesPoints, SystemClock};

/// Answers each query with what the test put there, and keeps what is written.
#[derive(Default)]
struct Memory {
    answers: Mutex<HashMap<String, Vec<(Labels, f64)>>>,
    histograms: Mutex<Vec<(Labels, Arc<Histogram>)>>,
    written: Mutex<Vec<(String, i64, f64)>>,
    writes: Mutex<usize>,
}

#[async_trait::async_trait]
impl Ask for Memory {
    async fn instant(&self, _: &Tenant, query: &str, at_ms: i64) -> Result<Answer, AskError> {
        let answers = self.answers.lock();
        let Some(series) = answers.get(query) else { return Err(AskError::Broken("no such answer".into())) };
        let points = |(labels, value): &(Labels, f64)| SeriesPoints {
            labels: labels.clone(),
            points: vec![Point { ts_ms: at_ms, value: *value }],
        };
        let histograms = self.histograms.lock().clone();
        Ok(Answer { series: series.iter().map(points).collect(), histograms, ..Answer::default() })
    }

    async fn range(&self, _: &Tenant, _: &str, _: i64, _: i64, _: i64) -> Result<Answer, AskError> {
        Err(AskError::Broken("not asked here".into()))
    }

    async fn check(&self, _: &str) -> Result<(), AskError> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl Sink for Memory {
    async fn write(&self, write: Write) -> Result<Receipt, Refused> {
        let Batch::Metrics(batch) = write.batch else { return Err(Refused::Broken("not metrics".into())) };
        *self.writes.lock() += 1;
        let mut written = self.written.lock();
        for (labels, ts, values) in batch.iter() {
            written.push((Labels::from_bytes(labels).unwrap().to_string(), ts[0], values[0]));
        }
        Ok(Receipt { accepted: batch.samples() as u64, ..Receipt::default() })
    }
}

impl Memory {
    fn answer(&self, query: &str, series: &[(&[(&str, &str)], f64)]) {
        let series = series
            .iter()
            .map(|(labels, value)| (Labels::from_pairs(labels.iter().copied()), *value))
            .collect();
        self.answers.lock().insert(query.into(), series);
    }

    fn take(&self) -> Vec<String> {
        let shown = |(series, ts, value): (String, i64, f64)| {
            let value = if model::is_stale_marker(value) { "stale".into() } else { value.to_string() };
            format!("{series} {value}@{ts}")
        };
        let mut all: Vec<String> = self.written.lock().drain(..).map(shown).collect();
        all.sort();
        all
    }
}

fn start(rules: &str) -> (Group, Arc<Memory>, World) {
    let group = rules::parse(rules).unwrap().remove(0);
    let memory = Arc::new(Memory::default());
    let world = World {
        tenant: Tenant::default(),
        ask: memory.clone(),
        ask_logs: memory.clone(),
        sink: memory.clone(),
        external_url: "http://b".into(),
        alerts_max: 100,
        counters: Arc::default(),
    };
    (Group::new(group, Duration::from_secs(60)), memory, world)
}

#[tokio::test]
async fn a_recorded_series_that_ends_is_marked_stale() {
    let (group, memory, world) =
        start("groups:\n- name: g\n  rules:\n  - {record: r, expr: q, labels: {team: a}}\n");
    memory.answer("q", &[(&[("__name__", "x"), ("pod", "1")], 5.0), (&[("pod", "2")], 6.0)]);
    group.evaluate(&world, 1000).await;
    assert_eq!(memory.take(), [r#"r{pod="1", team="a"} 5@1000"#, r#"r{pod="2", team="a"} 6@1000"#]);
    memory.answer("q", &[(&[("pod", "2")], 7.0)]);
    group.evaluate(&world, 2000).await;
    assert_eq!(memory.take(), [r#"r{pod="1", team="a"} stale@2000"#, r#"r{pod="2", team="a"} 7@2000"#]);
    assert_eq!(group.latest(0).unwrap().len(), 1);
}

#[tokio::test]
async fn a_recorded_histogram_stays_one_until_it_ends() {
    let (group, memory, world) =
        start("groups:\n- name: g\n  rules:\n  - {record: r, expr: q, labels: {team: a}}\n");
    memory.answer("q", &[(&[("pod", "1")], 5.0)]);
    let histogram = Histogram { count: 3.0, sum: 4.5, positive: vec![(1, 3.0)], ..Histogram::default() };
    memory.histograms.lock().push((Labels::from_pairs([("pod", "2")]), Arc::new(histogram)));
    group.evaluate(&world, 1000).await;
    let written = memory.take();
    assert!(written.contains(&r#"r{pod="1", team="a"} 5@1000"#.to_owned()), "{written:?}");
    for part in [
        "count\", pod=\"2\", team=\"a\"} 3@1000",
        "sum\", pod=\"2\", team=\"a\"} 4.5@1000",
        "p1\", pod=\"2\", team=\"a\"} 3@1000",
    ] {
        assert!(
            written.iter().any(|line| line.starts_with("r{") && line.ends_with(part)),
            "{part}: {written:?}"
        );
    }
    memory.histograms.lock().clear();
    group.evaluate(&world, 2000).await;
    assert_eq!(memory.take(), [r#"r{pod="1", team="a"} 5@2000"#, r#"r{pod="2", team="a"} stale@2000"#]);
    memory.histograms.lock().push((Labels::from_pairs([("pod", "1")]), Arc::default()));
    group.evaluate(&world, 3000).await;
    assert!(memory.take().is_empty(), "two series would become one");
}

#[tokio::test]
async fn a_rule_sees_the_series_of_the_rule_before_it() {
    let (group, memory, world) = start(
        "groups:\n- name: g\n  rules:\n  - {record: a, expr: q}\n  - {record: b, expr: q}\n  - {record: c, expr: a + 1}\n",
    );
    memory.answer("q", &[(&[], 5.0)]);
    memory.answer("a + 1", &[(&[], 6.0)]);
    group.evaluate(&world, 1000).await;
    assert_eq!(*memory.writes.lock(), 2, "one before c asks, one at the end");
}

#[tokio::test]
async fn an_alert_has_its_series_its_texts_and_its_notification() {
    let (group, memory, world) = start(
        "groups:\n- name: g\n  rules:\n  - alert: Full\n    expr: q\n    for: 1m\n    labels: {severity: page, where: '{{ $labels.pod }}!'}\n    \
         annotations: {summary: '{{ $value }} of {{ with query \"total\" }}{{ . | first | value }}{{ end }}', bad: '{{ humanize \"x\" }}'}\n",
    );
    memory.answer("q", &[(&[("__name__", "x"), ("pod", "1")], 5.0)]);
    memory.answer("total", &[(&[], 10.0)]);
    let outcome = group.evaluate(&world, 0).await;
    assert!(outcome.changed && outcome.alerts.is_empty(), "pending is nobody's news");
    assert_eq!(
        memory.take(),
        [
            r#"ALERTS_FOR_STATE{alertname="Full", pod="1", severity="page", where="1!"} 0@0"#,
            r#"ALERTS{alertname="Full", alertstate="pending", pod="1", severity="page", where="1!"} 1@0"#,
        ]
    );
    let outcome = group.evaluate(&world, 60_000).await;
    let alert = &outcome.alerts[0];
    assert_eq!((alert.state, alert.starts_at_ms, alert.query.as_str()), (State::Firing, 60_000, "q"));
    assert_eq!(alert.annotations[1], ("summary".into(), "5 of 10".into()));
    assert!(alert.annotations[0].1.starts_with("<error expanding template"));
    assert!(memory.take().iter().any(|s| s.contains("pending") && s.contains("stale")));
    let view = serde_json::to_value(group.view()).unwrap();
    let rule = &view["rules"][0];
    assert_eq!(
        (&rule["type"], &rule["state"], &rule["health"]),
        (&"alerting".into(), &"firing".into(), &"ok".into())
    );
    assert_eq!(rule["alerts"][0]["value"], "5e+00");
    memory.answer("q", &[]);
    let outcome = group.evaluate(&world, 120_000).await;
    assert_eq!((outcome.alerts[0].state, outcome.alerts[0].ends_at_ms), (State::Resolved, Some(120_000)));
    assert_eq!(memory.take().iter().filter(|s| s.contains("stale")).count(), 2);
}

#[tokio::test]
async fn a_failed_query_leaves_the_states_alone_and_says_why() {
    let (group, memory, world) = start("groups:\n- name: g\n  rules:\n  - {alert: A, expr: q}\n");
    memory.answer("q", &[(&[], 1.0)]);
    group.evaluate(&world, 0).await;
    memory.answers.lock().clear();
    let outcome = group.evaluate(&world, 1000).await;
    assert!(!outcome.changed);
    let view = serde_json::to_value(group.view()).unwrap();
    assert_eq!(view["rules"][0]["state"], "firing");
    assert_eq!(
        (&view["rules"][0]["health"], &view["rules"][0]["lastError"]),
        (&"err".into(), &"no such answer".into())
    );
}

#[tokio::test]
async fn too_many_alerts_or_two_that_are_one_are_an_error() {
    let (group, memory, world) = start(
        "groups:\n- name: g\n  limit: 2\n  rules:\n  - {alert: A, expr: q}\n  - {record: r, expr: same, labels: {pod: x}}\n",
    );
    memory.answer("q", &[(&[("p", "1")], 1.0), (&[("p", "2")], 1.0), (&[("p", "3")], 1.0)]);
    memory.answer("same", &[(&[("pod", "1")], 1.0), (&[("pod", "2")], 1.0)]);
    group.evaluate(&world, SystemClock.now_ms()).await;
    let view = serde_json::to_value(group.view()).unwrap();
    assert!(view["rules"][0]["lastError"].as_str().unwrap().contains("limit"));
    assert!(view["rules"][1]["lastError"].as_str().unwrap().contains("become one"));
}

#[test]
fn the_same_rule_has_the_same_key_and_its_state_moves() {
    let text = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: q}\n  - {alert: A, expr: q}\n";
    let (one, two) = (start(text).0, start(text).0);
    let keys = one.rule_keys();
    assert_eq!(keys, two.rule_keys());
    assert_ne!(keys[0], keys[1]);
    let state = RuleState { error: Some("kept".into()), ..RuleState::default() };
    two.adopt(|key| (key == keys[1]).then(|| state.clone()));
    assert_eq!(two.states()[1].1.error.as_deref(), Some("kept"));
}
