//! Answers as Prometheus' JSON, written straight into strings.

use super::params::Params;
use crate::pieces::Pieces;
use axum::response::IntoResponse;
use base64::Engine as _;
use engine::{PromAnswer, PromResult, PromSeries, PromTimings};
use model::{Histogram, Labels, Point};
use std::fmt::Write;
use std::time::Duration;

/// How native histograms are written.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Histograms {
    /// Count, sum and filled buckets.
    AsPrometheus,
    /// With all that is known of them beside that, in base 64: for a process of ours that records them.
    Encoded,
}

impl Histograms {
    pub fn asked_for(params: &Params) -> Histograms {
        match params.get("histograms") {
            Some("encoded") => Histograms::Encoded,
            _ => Histograms::AsPrometheus,
        }
    }
}

/// What is told of the evaluation.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Stats {
    Sums,
    /// And the samples of each step.
    BySteps,
}

impl Stats {
    pub fn asked_for(params: &Params) -> Option<Stats> {
        match params.get("stats")? {
            "" => None,
            "all" => Some(Stats::BySteps),
            _ => Some(Stats::Sums),
        }
    }
}

/// `stats`: what of them, and how long it took, where the caller asked for it.
pub(super) fn answer(
    answer: PromAnswer,
    limit: usize,
    stats: Option<(Stats, Duration)>,
    histograms: Histograms,
) -> impl IntoResponse {
    let mut warnings = capped(answer.warnings, "warning");
    let mut head = String::from(r#"{"status":"success","data":{"resultType":"#);
    let (series, is_matrix) = match answer.result {
        PromResult::Scalar(point) => {
            head.push_str(r#""scalar","result":"#);
            sample(&mut head, point);
            (None, false)
        }
        PromResult::Text { ts_ms, value } => {
            head.push_str(r#""string","result":["#);
            seconds(&mut head, ts_ms);
            let _ = write!(head, ",{}]", serde_json::Value::from(value));
            (None, false)
        }
        PromResult::Vector(series) => {
            head.push_str(r#""vector","result":["#);
            (Some(series), false)
        }
        PromResult::Matrix(series) => {
            head.push_str(r#""matrix","result":["#);
            (Some(series), true)
        }
    };
    let mut tail = String::from(if series.is_some() { "]" } else { "" });
    let series = cut(series.unwrap_or_default(), limit, &mut warnings);
    if let Some((stats, took)) = stats {
        let (timings, by_step) = (answer.timings, &answer.samples_by_step);
        write_stats(&mut tail, stats, took, &timings, by_step, answer.samples_read);
    }
    tail.push('}');
    for (name, notes) in [("warnings", warnings), ("infos", capped(answer.infos, "info"))] {
        if !notes.is_empty() {
            let _ = write!(tail, r#","{name}":{}"#, serde_json::Value::from(notes));
        }
    }
    tail.push('}');
    let held = answer.held;
    Pieces::new(head, series.into_iter(), tail, move |out, series| {
        let _until_the_last_is_written = &held;
        out.push_str(r#"{"metric":"#);
        metric(out, &series.labels);
        match is_matrix {
            true => over_time(out, &series, histograms),
            false => at_once(out, &series, histograms),
        }
        out.push('}');
    })
}

fn at_once(out: &mut String, series: &PromSeries, form: Histograms) {
    if let Some(point) = series.points.first() {
        out.push_str(r#","value":"#);
        sample(out, *point);
    } else if let Some((ts_ms, of)) = series.histograms.first() {
        out.push_str(r#","histogram":"#);
        histogram(out, *ts_ms, of, form);
    }
}

fn over_time(out: &mut String, series: &PromSeries, form: Histograms) {
    if !series.points.is_empty() || series.histograms.is_empty() {
        out.push_str(r#","values":["#);
        for (i, point) in series.points.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            sample(out, *point);
        }
        out.push(']');
    }
    if !series.histograms.is_empty() {
        out.push_str(r#","histograms":["#);
        for (i, (ts_ms, of)) in series.histograms.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            histogram(out, *ts_ms, of, form);
        }
        out.push(']');
    }
}

fn write_stats(
    out: &mut String,
    stats: Stats,
    took: Duration,
    timings: &PromTimings,
    samples_by_step: &[(i64, u64)],
    samples_read: u64,
) {
    let _ = write!(
        out,
        r#","stats":{{"timings":{{"evalTotalTime":{},"queryPreparationTime":{},"innerEvalTime":{},"execTotalTime":{}}},"samples":{{"#,
        (timings.preparation + timings.evaluation).as_secs_f64(),
        timings.preparation.as_secs_f64(),
        timings.evaluation.as_secs_f64(),
        took.as_secs_f64(),
    );
    if stats == Stats::BySteps {
        out.push_str(r#""totalQueryableSamplesPerStep":["#);
        for (i, (ts_ms, count)) in samples_by_step.iter().enumerate() {
            out.push_str(if i > 0 { ",[" } else { "[" });
            seconds(out, *ts_ms);
            let _ = write!(out, ",{count}]");
        }
        out.push_str("],");
    }
    let total: u64 = samples_by_step.iter().map(|(_, count)| count).sum();
    let _ = write!(out, r#""totalQueryableSamples":{total},"peakSamples":{samples_read}}}}}"#);
}

/// Notes of each kind that an answer carries at most, as Prometheus' own.
const NOTES_MAX: usize = 10;

fn capped(mut notes: Vec<String>, kind: &str) -> Vec<String> {
    let more = notes.len().saturating_sub(NOTES_MAX);
    if more > 0 {
        notes.truncate(NOTES_MAX);
        notes.push(format!("{more} more {kind} annotations omitted"));
    }
    notes
}

fn cut(mut series: Vec<PromSeries>, limit: usize, warnings: &mut Vec<String>) -> Vec<PromSeries> {
    if limit > 0 && series.len() > limit {
        series.truncate(limit);
        warnings.push("results truncated due to limit".into());
    }
    series
}

fn metric(out: &mut String, labels: &Labels) {
    out.push('{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        text(out, name);
        out.push(':');
        text(out, value);
    }
    out.push('}');
}

/// Most label values need no escaping.
fn text(out: &mut String, value: &str) {
    if value.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(value);
        out.push('"');
    } else {
        let _ = write!(out, "{}", serde_json::Value::from(value));
    }
}

fn sample(out: &mut String, point: Point) {
    out.push('[');
    seconds(out, point.ts_ms);
    out.push(',');
    number(out, point.value);
    out.push(']');
}

/// `[time, {"count":"…","sum":"…","buckets":[[which ends belong to it,"from","to","count"],…]}]`
fn histogram(out: &mut String, ts_ms: i64, histogram: &Histogram, form: Histograms) {
    out.push('[');
    seconds(out, ts_ms);
    out.push_str(r#",{"count":"#);
    number(out, histogram.count);
    out.push_str(r#","sum":"#);
    number(out, histogram.sum);
    let buckets = histogram.all_buckets();
    let mut filled = buckets.iter().filter(|bucket| bucket.count != 0.0).peekable();
    if filled.peek().is_some() {
        out.push_str(r#","buckets":["#);
        for (i, bucket) in filled.enumerate() {
            let ends = match (bucket.lower_inclusive, bucket.upper_inclusive) {
                (false, true) => 0,
                (true, false) => 1,
                (false, false) => 2,
                (true, true) => 3,
            };
            let _ = write!(out, "{}[{ends},", if i > 0 { "," } else { "" });
            number(out, bucket.lower);
            out.push(',');
            number(out, bucket.upper);
            out.push(',');
            number(out, bucket.count);
            out.push(']');
        }
        out.push(']');
    }
    if form == Histograms::Encoded {
        let mut bytes = vec![];
        histogram.encode(&mut bytes);
        let _ = write!(out, r#","encoded":"{}""#, base64::prelude::BASE64_STANDARD.encode(bytes));
    }
    out.push_str("}]");
}

/// As Go writes a number for JSON: plain, with an exponent where it is very small or large.
fn number(out: &mut String, value: f64) {
    out.push('"');
    match value {
        value if value.is_nan() => out.push_str("NaN"),
        f64::INFINITY => out.push_str("+Inf"),
        f64::NEG_INFINITY => out.push_str("-Inf"),
        value if value != 0.0 && !(1e-6..1e21).contains(&value.abs()) => {
            let text = format!("{value:e}");
            match text.split_once('e') {
                Some((digits, exponent)) if !exponent.starts_with('-') => {
                    let _ = write!(out, "{digits}e+{exponent:0>2}");
                }
                Some((digits, exponent)) => {
                    let _ = write!(out, "{digits}e-{:0>2}", &exponent[1..]);
                }
                None => out.push_str(&text),
            }
        }
        value => {
            let _ = write!(out, "{value}");
        }
    }
    out.push('"');
}

/// As [`number`] writes it, without the quotes.
pub(super) fn number_text(value: f64) -> String {
    let mut out = String::new();
    number(&mut out, value);
    out.trim_matches('"').to_owned()
}

fn seconds(out: &mut String, ts_ms: i64) {
    let sign = if ts_ms < 0 { "-" } else { "" };
    let (whole, ms) = (ts_ms.unsigned_abs() / 1000, ts_ms.unsigned_abs() % 1000);
    let _ = if ms == 0 { write!(out, "{sign}{whole}") } else { write!(out, "{sign}{whole}.{ms:03}") };
}
