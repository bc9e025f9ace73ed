//! Prometheus' own test scripts against the engine over a real store, where they lie beside the checkout.
//!
//! `known.txt` names the cases that do not pass yet, with the reason. A case that fails and is not named, or is named
//! and passes, fails the test: the list is exact.

use super::script::{Command, Eval, Expected, SeriesValues, Value, commands};
use super::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const KNOWN: &str = include_str!("known.txt");

/// Cases by `file:line` that are known not to pass.
fn known() -> BTreeSet<String> {
    let lines = KNOWN.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(file, cases)| cases.split_whitespace().map(move |case| format!("{file}:{case}")))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_s_own_cases_pass() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites/data/prometheus/promqltest");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("no {}: Prometheus' cases were not run", folder.display());
        return;
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    files.sort();
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(At(100_000_000_000));
    let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..Default::default() };
    let store = Store::open(config, clock.clone()).await.unwrap();
    let engine = Engine::new(store.clone(), clock, Limits::default()).unwrap();
    let known = known();
    let mut failed = BTreeSet::new();
    let (mut passed, mut report, mut section) = (0, vec![], 0);
    for path in files {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        section += 1;
        let script = commands(&std::fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|wrong| panic!("{file}: {wrong}"));
        for command in script {
            let tenant = Tenant::new(&format!("s{section}")).unwrap();
            match command {
                Command::Clear => section += 1,
                Command::Load { step_ms, series } => load(&store, tenant, step_ms, &series).await,
                Command::Eval(eval) => match run(&engine, &tenant, &eval).await {
                    Ok(()) => passed += 1,
                    Err(why) => {
                        let case = format!("{file}:{}", eval.line);
                        if !known.contains(&case) {
                            report.push(format!("{case}: {}\n    {why}", eval.query));
                        }
                        failed.insert(case);
                    }
                },
            }
        }
    }
    println!("{passed} cases of Prometheus pass, {} do not yet", failed.len());
    let healed: Vec<&String> = known.difference(&failed).collect();
    assert!(report.is_empty(), "{} cases fail:\n{}", report.len(), report.join("\n"));
    assert!(healed.is_empty(), "these pass now: take them off known.txt: {healed:?}");
}

async fn load(store: &Arc<Store>, tenant: Tenant, step_ms: i64, series: &[SeriesValues]) {
    let mut batch = MetricBatch::default();
    for (labels, values) in series {
        batch.begin_series(&mut labels.iter().collect::<Vec<_>>()).unwrap();
        for (at, value) in values.iter().enumerate() {
            match value {
                Value::Number(value) => batch.push(at as i64 * step_ms, *value),
                Value::Stale => batch.push(at as i64 * step_ms, stale_marker()),
                Value::Gap | Value::Histogram => {}
            }
        }
    }
    store.write(Write { tenant, batch: Batch::Metrics(batch), origin: None }).await.unwrap();
}

async fn run(engine: &Engine, tenant: &Tenant, eval: &Eval) -> Result<(), String> {
    let answer = match eval.step_ms {
        None => engine.promql_instant(tenant, &eval.query, eval.start_ms, LOOKBACK_MS).await,
        Some(step) => {
            engine.promql_range(tenant, &eval.query, eval.start_ms, eval.end_ms, step, LOOKBACK_MS).await
        }
    };
    let result = match answer {
        Err(_) if eval.must_fail => return Ok(()),
        Err(wrong) => return Err(wrong.to_string()),
        Ok(answer) if eval.must_fail => return Err(format!("no error but {:?}", answer.result)),
        Ok(answer) => answer.result,
    };
    match (&result, &eval.expected) {
        (PromResult::Scalar(point), Expected::Scalar(value)) => close(point.value, *value),
        (PromResult::Text { value, .. }, Expected::Text(text)) if value == text => Ok(()),
        (PromResult::Vector(found), Expected::Series(wanted)) => {
            same(found, wanted, |_| eval.start_ms, eval.is_ordered)
        }
        (PromResult::Matrix(found), Expected::Series(wanted)) => {
            let step = eval.step_ms.unwrap_or(0);
            same(found, wanted, |at| eval.start_ms + at as i64 * step, false)
        }
        (PromResult::Matrix(found), Expected::Raw(from, step, wanted)) => {
            same(found, wanted, |at| from + at as i64 * step, false)
        }
        (found, wanted) => Err(format!("{found:?} is not {wanted:?}")),
    }
}

fn same(
    found: &[SeriesPoints],
    wanted: &[SeriesValues],
    time: impl Fn(usize) -> i64,
    is_ordered: bool,
) -> Result<(), String> {
    if found.len() != wanted.len() {
        let labels: Vec<String> =
            found.iter().map(|s| format!("{} {:?}", s.labels, s.points.first().map(|p| p.value))).collect();
        return Err(format!("{} series, not {}: {labels:?}", found.len(), wanted.len()));
    }
    for (at, (labels, values)) in wanted.iter().enumerate() {
        let series = match is_ordered {
            true => found.get(at).filter(|series| series.labels == *labels),
            false => found.iter().find(|series| series.labels == *labels),
        };
        let series = series.ok_or_else(|| {
            format!(
                "no {labels} in its place: {:?}",
                found.iter().map(|s| s.labels.to_string()).collect::<Vec<_>>()
            )
        })?;
        let mut points = series.points.iter();
        for (at, value) in values.iter().enumerate() {
            match value {
                Value::Gap => {}
                Value::Number(value) => {
                    let point = points.next().ok_or_else(|| format!("{labels} has no value {at}"))?;
                    if point.ts_ms != time(at) {
                        return Err(format!("{labels} has a value at {}, not {}", point.ts_ms, time(at)));
                    }
                    close(point.value, *value).map_err(|wrong| format!("{labels} {wrong}"))?;
                }
                Value::Stale | Value::Histogram => return Err("a native histogram is wanted".into()),
            }
        }
        if let Some(point) = points.next() {
            return Err(format!("{labels} has one value more: {point:?}"));
        }
    }
    Ok(())
}

/// Prometheus' own tolerance.
fn close(found: f64, wanted: f64) -> Result<(), String> {
    let near = || (found - wanted).abs() / (found.abs() + wanted.abs()).min(f64::MAX) < 1e-6;
    if found == wanted || (found.is_nan() && wanted.is_nan()) || near() {
        Ok(())
    } else {
        Err(format!("{found}, not {wanted}"))
    }
}
