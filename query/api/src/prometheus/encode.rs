//! Answers as Prometheus' JSON, written straight into one string.

use super::params::Params;
use base64::Engine as _;
use engine::{PromAnswer, PromResult, PromSeries};
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
) -> String {
    let (mut warnings, infos) = (capped(answer.warnings, "warning"), capped(answer.infos, "info"));
    let mut out = String::with_capacity(4096);
    out.push_str(r#"{"status":"success","data":{"resultType":"#);
    match answer.result {
        PromResult::Scalar(point) => {
            out.push_str(r#""scalar","result":"#);
            sample(&mut out, point);
        }
        PromResult::Text { ts_ms, value } => {
            out.push_str(r#""string","result":["#);
            seconds(&mut out, ts_ms);
            let _ = write!(out, ",{}]", serde_json::Value::from(value));
        }
        PromResult::Vector(series) => {
            out.push_str(r#""vector","result":["#);
            list(&mut out, cut(series, limit, &mut warnings), |out, series| {
                if let Some(point) = series.points.first() {
                    out.push_str(r#","value":"#);
                    sample(out, *point);
                } else if let Some((ts_ms, of)) = series.histograms.first() {
                    out.push_str(r#","histogram":"#);
                    histogram(out, *ts_ms, of, histograms);
                }
            });
            out.push(']');
        }
        PromResult::Matrix(series) => {
            out.push_str(r#""matrix","result":["#);
            list(&mut out, cut(series, limit, &mut warnings), |out, series| {
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
                        histogram(out, *ts_ms, of, histograms);
                    }
                    out.push(']');
                }
            });
            out.push(']');
        }
    }
    if let Some((stats, took)) = stats {
        let _ = write!(
            out,
            r#","stats":{{"timings":{{"evalTotalTime":{},"queryPreparationTime":{},"innerEvalTime":{},"execTotalTime":{}}},"samples":{{"#,
            (answer.timings.preparation + answer.timings.evaluation).as_secs_f64(),
            answer.timings.preparation.as_secs_f64(),
            answer.timings.evaluation.as_secs_f64(),
            took.as_secs_f64(),
        );
        if stats == Stats::BySteps {
            out.push_str(r#""totalQueryableSamplesPerStep":["#);
            for (i, (ts_ms, count)) in answer.samples_by_step.iter().enumerate() {
                out.push_str(if i > 0 { ",[" } else { "[" });
                seconds(&mut out, *ts_ms);
                let _ = write!(out, ",{count}]");
            }
            out.push_str("],");
        }
        let total: u64 = answer.samples_by_step.iter().map(|(_, count)| count).sum();
        let _ = write!(out, r#""totalQueryableSamples":{total},"peakSamples":{}}}}}"#, answer.samples_read);
    }
    out.push('}');
    if !warnings.is_empty() {
        let _ = write!(out, r#","warnings":{}"#, serde_json::Value::from(warnings));
    }
    if !infos.is_empty() {
        let _ = write!(out, r#","infos":{}"#, serde_json::Value::from(infos));
    }
    out.push('}');
    out
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

fn list(out: &mut String, series: Vec<PromSeries>, points: impl Fn(&mut String, &PromSeries)) {
    for (i, series) in series.iter().enumerate() {
        out.push_str(if i > 0 { r#",{"metric":"# } else { r#"{"metric":"# });
        metric(out, &series.labels);
        points(out, series);
        out.push('}');
    }
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
