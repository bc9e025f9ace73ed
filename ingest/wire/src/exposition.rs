//! Prometheus' text exposition format (source: prometheus.io/docs/instrumenting/exposition_formats), with the additions
//! of OpenMetrics that senders mix in: `# UNIT`, `# EOF`, exemplars after `#`.

use crate::{Decoded, Malformed};
use model::{Metadata, MetricBatch, MetricKind, RejectReason};
use std::borrow::Cow;

/// Text to samples; `now_ms` is the time of those that carry none. A line that does not parse is an error with its
/// number and column; nothing is taken from the text then.
pub fn parse(text: &str, now_ms: i64) -> Result<Decoded<MetricBatch>, Malformed> {
    let mut decoded = Decoded::<MetricBatch>::default();
    for (number, line) in text.lines().enumerate() {
        let at = |column: usize, what: String| {
            Malformed(format!("line {}, column {}: {what}", number + 1, column + 1))
        };
        match line.trim_start().strip_prefix('#') {
            Some(comment) => describe(comment, &mut decoded.batch.metadata),
            None if line.trim().is_empty() => {}
            None => sample(line, now_ms, &mut decoded).map_err(|(column, what)| at(column, what))?,
        }
    }
    Ok(decoded)
}

fn describe(comment: &str, book: &mut Vec<Metadata>) {
    let mut words = comment.trim_start().splitn(3, [' ', '\t']);
    let (Some(keyword), Some(name)) = (words.next(), words.next()) else { return };
    let rest = words.next().unwrap_or("").trim();
    if !matches!(keyword, "HELP" | "TYPE" | "UNIT") {
        return;
    }
    let known = match book.iter().rposition(|metadata| metadata.name == name) {
        Some(at) => &mut book[at],
        None => {
            let kind = MetricKind::Unknown;
            book.push(Metadata { name: name.to_owned(), kind, help: String::new(), unit: String::new() });
            let last = book.len() - 1;
            &mut book[last]
        }
    };
    match keyword {
        "HELP" => known.help = unescape(rest).into_owned(),
        "UNIT" => known.unit = rest.to_owned(),
        _ => known.kind = kind_of(rest),
    }
}

fn kind_of(word: &str) -> MetricKind {
    match word {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        "histogram" => MetricKind::Histogram,
        "gaugehistogram" => MetricKind::GaugeHistogram,
        "summary" => MetricKind::Summary,
        "info" => MetricKind::Info,
        "stateset" => MetricKind::StateSet,
        _ => MetricKind::Unknown,
    }
}

type Wrong = (usize, String);

fn sample(line: &str, now_ms: i64, decoded: &mut Decoded<MetricBatch>) -> Result<(), Wrong> {
    let column = |rest: &str| line.len() - rest.len();
    let rest = line.trim_start();
    let name_len =
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
    let (name, mut rest) = rest.split_at(name_len);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err((line.len() - line.trim_start().len(), "a metric name belongs here".into()));
    }
    let mut labels: Vec<(&str, Cow<'_, str>)> = vec![("__name__", name.into())];
    if let Some(after) = rest.trim_start().strip_prefix('{') {
        rest = label_pairs(line, after, &mut labels)?;
    }
    // An exemplar of OpenMetrics follows the numbers.
    let numbers = rest.split(" # ").next().unwrap_or(rest);
    let mut words = numbers.split_ascii_whitespace();
    let value = words.next().ok_or_else(|| (column(rest), "a value belongs here".to_owned()))?;
    let value = number(value).ok_or_else(|| (column(rest), format!("{value:?} is not a number")))?;
    let ts_ms = match words.next() {
        None => now_ms,
        Some(ts) => {
            ts.parse().map_err(|_| (column(rest), format!("{ts:?} is not a time in milliseconds")))?
        }
    };
    if let Some(more) = words.next() {
        return Err((column(rest), format!("{more:?} after the time")));
    }
    let mut pairs: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_ref())).collect();
    match decoded.batch.begin_series(&mut pairs) {
        Ok(()) => decoded.batch.push(ts_ms, value),
        Err(wrong) => decoded.rejected.add(RejectReason::InvalidLabels, 1, || wrong.to_string()),
    }
    Ok(())
}

/// Up to and past the closing brace; hands back what follows.
fn label_pairs<'a>(
    line: &'a str,
    mut rest: &'a str,
    labels: &mut Vec<(&'a str, Cow<'a, str>)>,
) -> Result<&'a str, Wrong> {
    let wrong = |rest: &str, what: &str| Err((line.len() - rest.len(), what.to_owned()));
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        let Some((name, after)) = rest.split_once('=') else {
            return wrong(rest, "a label name and = belong here");
        };
        let name = name.trim();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return wrong(rest, "a label name belongs here");
        }
        let Some(quoted) = after.trim_start().strip_prefix('"') else {
            return wrong(after, "a quoted value belongs here");
        };
        let Some(end) = end_of_quoted(quoted) else { return wrong(quoted, "the quoted value does not end") };
        labels.push((name, unescape(&quoted[..end])));
        rest = quoted[end + 1..].trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return wrong(rest, "a comma or } belongs here"),
        }
    }
}

fn end_of_quoted(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(other @ ('"' | '\\')) => out.push(other),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
    out.into()
}

/// Go's notation of floats, which the format uses.
fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        other => other.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Labels;

    const TEXT: &str = "# HELP http_requests_total The \\\"number\\\" of\\nrequests\n# TYPE http_requests_total counter\n\
        http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n\
        http_requests_total{method=\"post\",code=\"400\",}    3 1395066363000\n\n\
        msdos_file_access_time_seconds{path=\"DIR/FILE.TXT\",error=\"Cannot find\"} 1.458255915e9\n\
        metric_without_labels 12.47\nsomething_weird{problem=\"division by zero\"} +Inf -3982045\n# EOF\n";

    fn ours(text: &str) -> Vec<(Labels, i64, f64)> {
        let decoded = parse(text, 42).unwrap();
        decoded.batch.iter().map(|(l, ts, v)| (Labels::from_bytes(l).unwrap(), ts[0], v[0])).collect()
    }

    #[test]
    fn the_second_opinion_reads_the_same() {
        let lines = TEXT.lines().map(|line| Ok(line.to_owned()));
        let theirs =
            prometheus_parse::Scrape::parse_at(lines, chrono::DateTime::from_timestamp_millis(42).unwrap());
        let mut theirs: Vec<(Labels, i64, f64)> = theirs
            .unwrap()
            .samples
            .into_iter()
            .map(|sample| {
                let labels = sample.labels.iter().map(|(n, v)| (n.clone(), v.clone()));
                let labels = labels.chain([("__name__".to_owned(), sample.metric.clone())]);
                let value = match sample.value {
                    prometheus_parse::Value::Counter(v)
                    | prometheus_parse::Value::Gauge(v)
                    | prometheus_parse::Value::Untyped(v) => v,
                    other => panic!("{other:?}"),
                };
                (Labels::from_pairs(labels), sample.timestamp.timestamp_millis(), value)
            })
            .collect();
        let mut ours = ours(TEXT);
        for list in [&mut ours, &mut theirs] {
            list.sort_by(|a, b| a.0.cmp(&b.0));
        }
        assert_eq!(ours, theirs);
        let metadata = &parse(TEXT, 0).unwrap().batch.metadata;
        assert_eq!(
            (metadata[0].kind, metadata[0].help.as_str()),
            (MetricKind::Counter, "The \"number\" of\nrequests")
        );
    }

    /// The second opinion leaves escapes as they are.
    #[test]
    fn escapes_in_values_are_undone() {
        let text = "m{path=\"C:\\\\DIR\",error=\"not\\n\\\"found\\\"\"} 1";
        let (labels, _, _) = &ours(text)[0];
        assert_eq!((labels.get("path"), labels.get("error")), (Some("C:\\DIR"), Some("not\n\"found\"")));
    }

    #[test]
    fn a_line_that_does_not_parse_says_where() {
        for (line, place) in [
            ("1up 1", "line 2, column 1"),
            ("up{a=1} 1", "line 2, column 6"),
            ("up{a=\"1} 1", "column 7"),
            ("up one", "\"one\" is not a number"),
            ("up", "a value"),
            ("up 1 2 3", "\"3\""),
            ("up{a=\"1\" b=\"2\"} 1", "a comma"),
        ] {
            let wrong = parse(&format!("fine 1\n{line}"), 0).unwrap_err();
            assert!(wrong.0.contains(place), "{line}: {wrong}");
        }
    }
}
