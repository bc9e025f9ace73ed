use super::*;
use model::{is_stale_marker, runs};
use std::path::Path;

fn scraper(options: &str) -> Scraper {
    let text = format!("scrape_configs:\n- job_name: j\n  scrape_interval: 10s\n{options}");
    let job = super::super::config::parse(&text, Path::new("/")).unwrap().jobs.remove(0);
    let labels = Labels::from_pairs([("job", "j"), ("instance", "i:1")]);
    let span = Duration::from_secs(10);
    let target = Target {
        url: "http://i:1/metrics".into(),
        discovered: labels.clone(),
        labels,
        interval: span,
        timeout: span,
    };
    Scraper::new(Arc::new(job), Arc::new(target))
}

fn text(body: &str) -> Result<Fetched, String> {
    Ok(Fetched { format: Format::Text, body: body.as_bytes().to_vec() })
}

/// Lines as `series value time`, without the target's labels and the reports but `up`.
fn lines(batch: &MetricBatch) -> Vec<String> {
    let mut lines: Vec<String> = batch
        .iter()
        .flat_map(|(labels, ts_ms, values)| {
            let labels = Labels::from_bytes(labels).unwrap();
            let reported = labels.metric_name().starts_with("scrape_");
            let name = labels.without(|name| name == "job" || name == "instance").to_string();
            let value =
                |value: &f64| if is_stale_marker(*value) { "stale".into() } else { value.to_string() };
            let samples: Vec<String> = ts_ms
                .iter()
                .zip(values)
                .map(|(ts, number)| format!("{name} {} {ts}", value(number)))
                .collect();
            if reported { vec![] } else { samples }
        })
        .collect();
    lines.sort();
    lines
}

fn scraped(
    scraper: &mut Scraper,
    at_ms: i64,
    fetched: Result<Fetched, String>,
) -> (Vec<String>, Option<String>) {
    let outcome = scraper.scraped(at_ms, Duration::from_millis(250), fetched);
    (lines(&outcome.batch), outcome.error)
}

#[test]
fn what_does_not_come_again_is_ended() {
    let mut scraper = scraper("");
    assert_eq!(
        scraped(&mut scraper, 10, text("a 1\nb{x=\"y\"} 2\n")).0,
        ["a 1 10", "b{x=\"y\"} 2 10", "up 1 10"]
    );
    assert_eq!(scraped(&mut scraper, 20, text("a 3\n")).0, ["a 3 20", "b{x=\"y\"} stale 20", "up 1 20"]);
    let (found, error) = scraped(&mut scraper, 30, Err("connection refused".into()));
    assert_eq!(
        (found, error.as_deref()),
        (vec!["a stale 30".into(), "up 0 30".into()], Some("connection refused"))
    );
    assert_eq!(scraped(&mut scraper, 40, text("a{\n")).0, ["up 0 40"], "and once only");
    assert_eq!(scraped(&mut scraper, 50, text("a 1\n")).0, ["a 1 50", "up 1 50"]);
    let ended = lines(&scraper.ended(60));
    assert_eq!(ended, ["a stale 60", "up stale 60"]);
}

#[test]
fn a_scrape_tells_of_itself() {
    let mut scraper = scraper(
        "  extra_scrape_metrics: true\n  sample_limit: 7\n  metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]\n",
    );
    let outcome = scraper.scraped(10, Duration::from_millis(250), text("a 1\nb 2\nc 3\n"));
    let report = |batch: &MetricBatch| -> Vec<(String, f64)> {
        let of = batch.iter().map(|(labels, _, values)| (Labels::from_bytes(labels).unwrap(), values[0]));
        of.filter(|(labels, _)| labels.metric_name().starts_with("scrape_"))
            .inspect(|(labels, _)| {
                assert_eq!((labels.get("job"), labels.get("instance")), (Some("j"), Some("i:1")))
            })
            .map(|(labels, value)| (labels.metric_name()[7..].to_owned(), value))
            .collect()
    };
    let wanted = [
        ("duration_seconds", 0.25),
        ("samples_scraped", 3.0),
        ("samples_post_metric_relabeling", 2.0),
        ("series_added", 2.0),
        ("timeout_seconds", 10.0),
        ("sample_limit", 7.0),
        ("body_size_bytes", 12.0),
    ];
    let wanted: Vec<(String, f64)> =
        wanted.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    assert_eq!(report(&outcome.batch), wanted);
    let again = scraper.scraped(20, Duration::ZERO, text("a 1\nb 2\nc 3\n"));
    assert_eq!(report(&again.batch)[3], ("series_added".to_owned(), 0.0));
}

#[test]
fn what_a_metric_is_is_told_at_first_and_now_and_then() {
    let mut scraper = scraper("");
    let mut told = |at_ms: i64| {
        let body = text("# TYPE a counter\n# HELP a Of a.\na 1\n");
        scraper.scraped(at_ms, Duration::ZERO, body).batch.metadata.len()
    };
    let told: Vec<i64> = (1..=250).filter(|at| told(*at) == 1).collect();
    assert_eq!(told, [1, 100, 200]);
}

#[test]
fn labels_of_the_target_win_or_give_way() {
    let body = "a{job=\"theirs\",exported_job=\"x\"} 1\n";
    let of = |options: &str| scraped(&mut scraper(options), 10, text(body)).0;
    let labels = |options: &str| {
        let outcome = scraper(options).scraped(10, Duration::ZERO, text(body));
        let (bytes, _, _) = outcome.batch.iter().next().unwrap();
        Labels::from_bytes(bytes).unwrap().to_string()
    };
    assert_eq!(of("")[0], "a{exported_exported_job=\"theirs\", exported_job=\"x\"} 1 10");
    assert_eq!(labels("  honor_labels: true\n"), "a{exported_job=\"x\", instance=\"i:1\", job=\"theirs\"}");
}

#[test]
fn times_are_the_target_s_where_they_are_honoured() {
    let body = || text("a 1 5\nb 2\n");
    let mut honours = scraper("");
    assert_eq!(scraped(&mut honours, 10, body()).0, ["a 1 5", "b 2 10", "up 1 10"]);
    assert_eq!(scraped(&mut honours, 20, text("")).0, ["b stale 20", "up 1 20"], "its source ends it");
    assert_eq!(
        scraped(&mut scraper("  honor_timestamps: false\n"), 10, body()).0,
        ["a 1 10", "b 2 10", "up 1 10"]
    );
    let mut tracks = scraper("  track_timestamps_staleness: true\n");
    scraped(&mut tracks, 10, body());
    assert_eq!(scraped(&mut tracks, 20, text("")).0, ["a stale 20", "b stale 20", "up 1 20"]);
}

#[test]
fn past_a_limit_nothing_is_taken() {
    for (options, place) in [
        ("  sample_limit: 1\n", "sample limit exceeded"),
        ("  label_limit: 3\n", "label limit exceeded (4, the most is 3)"),
        ("  label_name_length_limit: 8\n", "label name length"),
        ("  label_value_length_limit: 5\n", "label value length"),
    ] {
        let (found, error) =
            scraped(&mut scraper(options), 10, text("a 1\nb{long_name=\"a long value\"} 2\n"));
        assert_eq!(found, ["up 0 10"], "{options}");
        assert!(error.as_deref().is_some_and(|why| why.contains(place)), "{error:?}");
    }
    let mut fits = scraper(
        "  sample_limit: 1\n  metric_relabel_configs: [{action: drop, source_labels: [x], regex: y}]\n",
    );
    assert_eq!(
        scraped(&mut fits, 10, text("a 1\nb{x=\"y\"} 2\n")).1,
        None,
        "what a rule drops does not count"
    );
}

/// A histogram of two buckets as protobuf has it, delimited.
#[rustfmt::skip]
const NATIVE: &[u8] = &[
    34, 0x0a, 1, b'h', 0x18, 4, 0x22, 27, // name, type, a metric
    0x3a, 25, // a histogram
    0x08, 3, 0x11, 0, 0, 0, 0, 0, 0, 0x12, 0x40, // count 3, sum 4.5
    0x28, 2, // schema 1
    0x62, 4, 0x08, 1, 0x10, 2, // a span from -1 on, 2 long
    0x6a, 2, 4, 1, // deltas 2, -1
    0x38, 0, // zero count
];

#[test]
fn native_histograms_are_scraped_relabelled_and_ended() {
    let mut scraper = scraper(
        "  metric_relabel_configs: [{target_label: extra, replacement: 'yes'}, {action: labeldrop, regex: '__histogram__'}]\n",
    );
    let mut seen = |at_ms, body: &[u8]| {
        let fetched = Fetched { format: Format::Protobuf, body: body.to_vec() };
        let outcome = scraper.scraped(at_ms, Duration::ZERO, Ok(fetched));
        let mut stored: Vec<(Labels, Vec<i64>, Vec<f64>)> = outcome
            .batch
            .iter()
            .map(|(labels, ts, values)| (Labels::from_bytes(labels).unwrap(), ts.to_vec(), values.to_vec()))
            .filter(|(labels, ..)| labels.metric_name() == "h")
            .collect();
        stored.sort_by(|a, b| a.0.cmp(&b.0));
        let runs = runs(stored.iter().map(|(labels, ts, values)| (labels, &ts[..], &values[..])));
        let found: Vec<_> = runs
            .iter()
            .map(|run| {
                (
                    run.labels.to_string(),
                    run.histograms[0].0,
                    run.histograms[0].1.is_stale_marker(),
                    run.histograms[0].1.count,
                )
            })
            .collect();
        (found, outcome.error)
    };
    let labels = "h{extra=\"yes\", instance=\"i:1\", job=\"j\"}".to_owned();
    assert_eq!(seen(10, NATIVE), (vec![(labels.clone(), 10, false, 3.0)], None));
    assert_eq!(seen(20, &[]), (vec![(labels, 20, true, 0.0)], None));
}
