//! Prometheus' own test scripts against the engine over a real store, where they lie beside the checkout.
//!
//! `known.txt` names the cases that do not pass yet, with the reason. A case that fails and is not named, or is named
//! and passes, fails the test: the list is exact.

use super::script::{Command, Eval, Expected, SeriesValues, Text, commands};
use super::*;
use ::promql::series::Sample;
use std::collections::{BTreeMap, BTreeSet};
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
    let (mut passed, mut report, mut section) = (BTreeMap::<String, usize>::new(), vec![], 0);
    for path in files {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        section += 1;
        let script = commands(&std::fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|wrong| panic!("{file}: {wrong}"));
        for command in script {
            let tenant = Tenant::new(&format!("s{section}")).unwrap();
            match command {
                Command::Clear => section += 1,
                Command::Load { step_ms, series, starts } => {
                    load(&store, tenant, step_ms, &series, &starts).await;
                }
                Command::Eval(eval) => match run(&engine, &tenant, &eval).await {
                    Ok(()) => *passed.entry(file.clone()).or_default() += 1,
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
    println!("{} cases of Prometheus pass, {} do not yet", passed.values().sum::<usize>(), failed.len());
    println!("{passed:?}");
    if std::env::var_os("PROMQL_SUITE_REPORT").is_some() {
        failed.iter().for_each(|case| println!("failed {case}"));
    }
    let healed: Vec<&String> = known.difference(&failed).collect();
    assert!(report.is_empty(), "{} cases fail:\n{}", report.len(), report.join("\n"));
    assert!(healed.is_empty(), "these pass now: take them off known.txt: {healed:?}");
}

async fn load(
    store: &Arc<Store>,
    tenant: Tenant,
    step_ms: i64,
    series: &[SeriesValues],
    starts: &[(Labels, Vec<Option<i64>>)],
) {
    let mut batch = MetricBatch::default();
    for (labels, values) in series {
        batch.begin_series(&mut labels.iter().collect::<Vec<_>>()).unwrap();
        let mut histograms = vec![];
        for (at, value) in values.iter().enumerate() {
            let ts_ms = at as i64 * step_ms;
            match value {
                Sample::Number(value) => batch.push(ts_ms, *value),
                Sample::Stale => batch.push(ts_ms, stale_marker()),
                Sample::Gap => {}
                Sample::Histogram(histogram) => histograms.push((ts_ms, histogram.clone())),
            }
        }
        batch.push_histograms(labels, &histograms);
    }
    for (labels, starts) in starts {
        let known = starts.iter().enumerate().filter_map(|(at, start)| {
            let ts_ms = at as i64 * step_ms;
            Some((ts_ms, ts_ms + (*start)?))
        });
        batch.push_starts(labels, &known.collect::<Vec<_>>());
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
    let answer = match answer {
        Err(wrong) if eval.must_fail => return told(eval, "fail", &[wrong.to_string()]),
        Err(wrong) => return Err(wrong.to_string()),
        Ok(answer) if eval.must_fail => return Err(format!("no error but {:?}", answer.result)),
        Ok(answer) => answer,
    };
    told(eval, "warn", &answer.warnings)?;
    told(eval, "info", &answer.infos)?;
    let result = answer.result;
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

/// Whether what was said of a kind is what must be said.
fn told(eval: &Eval, kind: &str, said: &[String]) -> Result<(), String> {
    if eval.expects.iter().any(|(wanted, _)| *wanted == format!("no_{kind}")) && !said.is_empty() {
        return Err(format!("{kind}: {said:?}"));
    }
    for (_, text) in eval.expects.iter().filter(|(wanted, _)| wanted == kind) {
        let fits = |said: &String| match text {
            None => true,
            Some(Text::Is(text)) => said.contains(text),
            Some(Text::Matches(pattern)) => regex::Regex::new(pattern).unwrap().is_match(said),
        };
        if !said.iter().any(fits) {
            return Err(format!("{kind} {text:?} is wanted, not {said:?}"));
        }
    }
    Ok(())
}

fn same(
    found: &[PromSeries],
    wanted: &[SeriesValues],
    time: impl Fn(usize) -> i64,
    is_ordered: bool,
) -> Result<(), String> {
    if found.len() != wanted.len() {
        let labels: Vec<String> = found
            .iter()
            .map(|s| format!("{} {:?} {:?}", s.labels, s.points.first(), s.histograms.first()))
            .collect();
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
        let (mut points, mut histograms) = (series.points.iter(), series.histograms.iter());
        for (at, value) in values.iter().enumerate() {
            let none = || format!("{labels} has no value {at}");
            let at_time = |ts_ms: i64| match ts_ms == time(at) {
                true => Ok(()),
                false => Err(format!("{labels} has a value at {ts_ms}, not {}", time(at))),
            };
            match value {
                Sample::Gap => {}
                Sample::Number(value) => {
                    let point = points.next().ok_or_else(none)?;
                    at_time(point.ts_ms)?;
                    close(point.value, *value).map_err(|wrong| format!("{labels} {wrong}"))?;
                }
                Sample::Histogram(wanted) => {
                    let (ts_ms, found) = histograms.next().ok_or_else(none)?;
                    at_time(*ts_ms)?;
                    alike(found, wanted)
                        .map_err(|wrong| format!("{labels} {wrong}: {found:?}\n not {wanted:?}"))?;
                }
                Sample::Stale => return Err("a stale marker is no answer".into()),
            }
        }
        if points.next().is_some() || histograms.next().is_some() {
            return Err(format!("{labels} has one value more"));
        }
    }
    Ok(())
}

fn alike(found: &Histogram, wanted: &Histogram) -> Result<(), String> {
    if found.schema != wanted.schema || found.custom_values != wanted.custom_values {
        return Err("other buckets".into());
    }
    if wanted.hint != ResetHint::Unknown && wanted.hint != found.hint {
        return Err(format!("hint {:?}, not {:?}", found.hint, wanted.hint));
    }
    close(found.count, wanted.count).map_err(|wrong| format!("count {wrong}"))?;
    close(found.sum, wanted.sum).map_err(|wrong| format!("sum {wrong}"))?;
    close(found.zero_count, wanted.zero_count).map_err(|wrong| format!("zero {wrong}"))?;
    close(found.zero_threshold, wanted.zero_threshold).map_err(|wrong| format!("threshold {wrong}"))?;
    let filled = |buckets: &[(i32, f64)]| -> Vec<(i32, f64)> {
        buckets.iter().copied().filter(|(_, count)| *count != 0.0).collect()
    };
    for (found, wanted) in [(&found.positive, &wanted.positive), (&found.negative, &wanted.negative)] {
        let (found, wanted) = (filled(found), filled(wanted));
        if found.len() != wanted.len() {
            return Err(format!("{} buckets, not {}", found.len(), wanted.len()));
        }
        for (found, wanted) in found.iter().zip(&wanted) {
            if found.0 != wanted.0 {
                return Err(format!("bucket {}, not {}", found.0, wanted.0));
            }
            close(found.1, wanted.1).map_err(|wrong| format!("bucket {} {wrong}", found.0))?;
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
