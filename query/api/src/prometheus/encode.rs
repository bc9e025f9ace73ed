//! Answers as Prometheus' JSON, written straight into one string.

use engine::{PromAnswer, PromResult};
use model::{Labels, Point, SeriesPoints};
use std::fmt::Write;
use std::time::Duration;

/// `stats`: how long it took, where the caller asked for it.
pub(super) fn answer(answer: PromAnswer, limit: usize, stats: Option<Duration>) -> String {
    let mut warnings = answer.warnings;
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
                out.push_str(r#","value":"#);
                if let Some(point) = series.points.first() {
                    sample(out, *point);
                }
            });
            out.push(']');
        }
        PromResult::Matrix(series) => {
            out.push_str(r#""matrix","result":["#);
            list(&mut out, cut(series, limit, &mut warnings), |out, series| {
                out.push_str(r#","values":["#);
                for (i, point) in series.points.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    sample(out, *point);
                }
                out.push(']');
            });
            out.push(']');
        }
    }
    if let Some(took) = stats {
        let _ = write!(
            out,
            r#","stats":{{"timings":{{"evalTotalTime":{}}},"samples":{{"totalQueryableSamples":{},"peakSamples":{}}}}}"#,
            took.as_secs_f64(),
            answer.samples_read,
            answer.samples_read
        );
    }
    out.push('}');
    if !warnings.is_empty() {
        let _ = write!(out, r#","warnings":{}"#, serde_json::Value::from(warnings));
    }
    out.push('}');
    out
}

fn cut(mut series: Vec<SeriesPoints>, limit: usize, warnings: &mut Vec<String>) -> Vec<SeriesPoints> {
    if limit > 0 && series.len() > limit {
        series.truncate(limit);
        warnings.push("results truncated due to limit".into());
    }
    series
}

fn list(out: &mut String, series: Vec<SeriesPoints>, points: impl Fn(&mut String, &SeriesPoints)) {
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
    out.push_str(",\"");
    match point.value {
        value if value.is_nan() => out.push_str("NaN"),
        f64::INFINITY => out.push_str("+Inf"),
        f64::NEG_INFINITY => out.push_str("-Inf"),
        value => {
            let _ = write!(out, "{value}");
        }
    }
    out.push_str("\"]");
}

fn seconds(out: &mut String, ts_ms: i64) {
    let sign = if ts_ms < 0 { "-" } else { "" };
    let (whole, ms) = (ts_ms.unsigned_abs() / 1000, ts_ms.unsigned_abs() % 1000);
    let _ = if ms == 0 { write!(out, "{sign}{whole}") } else { write!(out, "{sign}{whole}.{ms:03}") };
}
