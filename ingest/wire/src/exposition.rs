//! Prometheus' text exposition format (source: prometheus.io/docs/instrumenting/exposition_formats), with the additions
//! of OpenMetrics that senders mix in: `# UNIT`, `# EOF`, exemplars after `#`. [`openmetrics`] is that format alone, with
//! all its rules; [`protobuf`] the one with native histograms.

mod line;
pub mod native;
pub mod openmetrics;
mod order;
pub mod protobuf;

use crate::{Decoded, Malformed};
use line::Line;
use model::{Exemplar, Labels, Metadata, MetricBatch, MetricKind, RejectReason};
use order::Order;
use std::borrow::Cow;

/// Text to samples; `now_ms` is the time of those that carry none. A line that does not parse is an error with its
/// number and column; nothing is taken from the text then.
pub fn parse(text: &str, now_ms: i64) -> Result<Decoded<MetricBatch>, Malformed> {
    let mut decoded = Decoded::<MetricBatch>::default();
    decoded.batch.reserve(memchr::memchr_iter(b'\n', text.as_bytes()).count() + 1, text.len());
    let mut book = Book::default();
    // One list for all lines: each clears it.
    let (mut labels, mut order): (Pairs<'_>, _) = (vec![], Order::default());
    for (number, line) in lines_of(text).enumerate() {
        let at =
            |(column, what): Wrong| Malformed(format!("line {}, column {}: {what}", number + 1, column + 1));
        if line.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) {
            sample(line, now_ms, &mut labels, &mut order, &mut decoded).map_err(at)?;
            continue;
        }
        let comment = line.strip_prefix('#').or_else(|| line.trim_start().strip_prefix('#'));
        match comment {
            Some(comment) => book.describe(line, comment).map_err(at)?,
            None if line.trim().is_empty() => {}
            None => sample(line, now_ms, &mut labels, &mut order, &mut decoded).map_err(at)?,
        }
    }
    decoded.batch.metadata = book.close();
    Ok(decoded)
}

/// As `str::lines` has them, whose search for a line's end is slower.
fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest.as_bytes());
        let (line, after) = match end {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None if rest.is_empty() => return None,
            None => (rest, ""),
        };
        rest = after;
        Some(if end.is_some() { line.strip_suffix('\r').unwrap_or(line) } else { line })
    })
}

/// Column, and what is wrong there.
type Wrong = (usize, String);

/// What comments say of metrics.
#[derive(Default)]
struct Book<'a> {
    pages: Vec<Metadata>,
    /// The name of the last, as it stands in the text: what is said of a metric mostly stands together.
    written: &'a str,
}

impl<'a> Book<'a> {
    fn describe(&mut self, line: &'a str, comment: &str) -> Result<(), Wrong> {
        let Some((keyword, rest)) = split_at_blank(behind_blanks(comment)) else { return Ok(()) };
        if !matches!(keyword, "HELP" | "TYPE" | "UNIT") {
            return Ok(());
        }
        let mut of_name = Line::of(line, line.len() - rest.len());
        of_name.spaces();
        let known = self.page(&mut of_name)?;
        let rest = trim_blanks(of_name.rest());
        match keyword {
            "HELP" => known.help = unescape(rest).into_owned(),
            "UNIT" => known.unit = rest.to_owned(),
            _ => {
                known.kind = kind_of(rest).ok_or_else(|| {
                    let column = line.len() - of_name.rest().trim_start().len();
                    (
                        column,
                        format!(
                            "{rest:?} is no type of a metric; counter, gauge, histogram, summary and untyped are"
                        ),
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Of the name that stands next: the last one, where it is of the same, or a new one.
    fn page(&mut self, at: &mut Line<'a>) -> Result<&mut Metadata, Wrong> {
        if self.pages.is_empty() || !at.take_word(self.written) {
            let from = at.rest();
            let name = at.metric_name()?.into_owned();
            self.written = &from[..from.len() - at.rest().len()];
            let kind = MetricKind::Unknown;
            self.pages.push(Metadata { name, kind, help: String::new(), unit: String::new() });
        }
        let last = self.pages.len() - 1;
        Ok(&mut self.pages[last])
    }

    /// Each metric once; what is said again goes over what was said before.
    fn close(self) -> Vec<Metadata> {
        let mut pages = self.pages;
        if pages.is_sorted_by(|a, b| a.name < b.name) {
            return pages;
        }
        pages.sort_by(|a, b| a.name.cmp(&b.name));
        pages.dedup_by(|later, kept| {
            let is_same = later.name == kept.name;
            if is_same {
                if later.kind != MetricKind::Unknown {
                    kept.kind = later.kind;
                }
                for (said, before) in [(&mut later.help, &mut kept.help), (&mut later.unit, &mut kept.unit)] {
                    if !said.is_empty() {
                        *before = std::mem::take(said);
                    }
                }
            }
            is_same
        });
        pages
    }
}

/// Byte by byte, as what follows: a search for characters takes longer than most comments have to trim.
fn behind_blanks(text: &str) -> &str {
    let from = text.bytes().position(is_no_blank).unwrap_or(text.len());
    &text[from..]
}

fn trim_blanks(text: &str) -> &str {
    let text = behind_blanks(text);
    let to = text.bytes().rposition(is_no_blank).map_or(0, |last| last + 1);
    &text[..to]
}

fn is_no_blank(byte: u8) -> bool {
    byte != b' ' && byte != b'\t'
}

fn split_at_blank(text: &str) -> Option<(&str, &str)> {
    let blank = text.bytes().position(|byte| byte == b' ' || byte == b'\t')?;
    Some((&text[..blank], &text[blank + 1..]))
}

pub(crate) fn kind_of(word: &str) -> Option<MetricKind> {
    Some(match word {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        "histogram" => MetricKind::Histogram,
        "gaugehistogram" => MetricKind::GaugeHistogram,
        "summary" => MetricKind::Summary,
        "info" => MetricKind::Info,
        "stateset" => MetricKind::StateSet,
        "unknown" | "untyped" | "" => MetricKind::Unknown,
        _ => return None,
    })
}

fn sample<'a>(
    line: &'a str,
    now_ms: i64,
    labels: &mut Pairs<'a>,
    order: &mut Order<'a>,
    decoded: &mut Decoded<MetricBatch>,
) -> Result<(), Wrong> {
    let mut at = Line::of(line, 0);
    at.spaces();
    labels.clear();
    at.series(labels)?;
    order.put(labels);
    at.spaces();
    let value = at.number("a value")?;
    at.spaces();
    let mut ts_ms = now_ms;
    if !at.is_at_end() && !at.begins("#") {
        let (column, word) = (at.column(), at.word());
        ts_ms = word.parse().map_err(|_| (column, format!("{word:?} is not a time in milliseconds")))?;
        at.spaces();
    }
    let exemplar = if at.begins("#") { Some(exemplar(&mut at)?) } else { None };
    at.spaces();
    if !at.is_at_end() {
        return Err((at.column(), format!("{:?} after the time", at.word())));
    }
    match at.has_escapes() {
        false => add(labels, ts_ms, value, exemplar, decoded),
        true => add(&mut unescaped(labels), ts_ms, value, exemplar, decoded),
    }
    Ok(())
}

/// As OpenMetrics has it, with the time in seconds. The cursor is at the `#`.
fn exemplar(at: &mut Line<'_>) -> Result<(Labels, f64, Option<i64>), Wrong> {
    at.take(b'#');
    at.spaces();
    let column = at.column();
    if !at.begins("{") {
        return Err((column, "labels of an exemplar belong here, in braces".into()));
    }
    let mut pairs = vec![];
    at.labels(false, &mut pairs)?;
    let labels = Labels::from_pairs(unescaped(&pairs));
    if !at.begins(" ") && !at.begins("\t") {
        return at.wrong("a space and the exemplar's value belong here");
    }
    at.spaces();
    let value = at.number("the exemplar's value")?;
    at.spaces();
    if at.is_at_end() {
        return Ok((labels, value, None));
    }
    let column = at.column();
    let seconds = at.number("the exemplar's time")?;
    if !seconds.is_finite() {
        return Err((column, "the exemplar's time is not a number of seconds".into()));
    }
    Ok((labels, value, Some(ms_of(seconds))))
}

/// Seconds as milliseconds.
fn ms_of(seconds: f64) -> i64 {
    (seconds * 1e3).round() as i64
}

/// Names and values as they stand in the text. Most have no escapes, and a pair of references is quickly moved.
type Pairs<'a> = Vec<(&'a str, &'a str)>;

type Unescaped<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn unescaped<'a>(pairs: &Pairs<'a>) -> Unescaped<'a> {
    pairs.iter().map(|(name, value)| (unescape(name), unescape(value))).collect()
}

fn add<T: AsRef<str>>(
    pairs: &mut [(T, T)],
    ts_ms: i64,
    value: f64,
    exemplar: Option<(Labels, f64, Option<i64>)>,
    decoded: &mut Decoded<MetricBatch>,
) {
    match decoded.batch.begin_series(pairs) {
        Ok(()) => decoded.batch.push(ts_ms, value),
        Err(wrong) => return decoded.rejected.add(RejectReason::InvalidLabels, 1, || wrong.to_string()),
    }
    if let Some((labels, value, at_ms)) = exemplar {
        let series = Labels::from_pairs(pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())));
        decoded.batch.exemplars.push(Exemplar { series, labels, ts_ms: at_ms.unwrap_or(ts_ms), value });
    }
}

fn unescape(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
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
            ("up{a=\"1} 1", "does not end"),
            ("up one", "\"one\" is not a number"),
            ("up", "a value"),
            ("up 1 2 3", "\"3\""),
            ("up{a=\"1\" b=\"2\"} 1", "a comma"),
        ] {
            let wrong = parse(&format!("fine 1\n{line}"), 0).unwrap_err();
            assert!(wrong.0.contains(place), "{line}: {wrong}");
        }
    }

    /// Labels that are written as usual are read another way than others.
    #[test]
    fn blanks_and_commas_between_labels_change_nothing() {
        for text in [
            "m{a=\"1\",b=\"2\"} 3",
            " m {a=\"1\",b=\"2\",} 3",
            "m{ a = \"1\" , b = \"2\" , } 3",
            "m{a=\"1\" ,b=\"2\"\t}3",
            "m{\"b\"=\"2\",a=\"1\"} 3 \r\n",
            "{\"m\",b=\"2\",a=\"1\",}\t3",
        ] {
            let (labels, _, value) = &ours(text)[0];
            assert_eq!((labels.to_string().as_str(), *value), ("m{a=\"1\", b=\"2\"}", 3.0), "{text}");
        }
        for text in ["m{a=\"1\"\"b\"=\"2\"} 3", "m{a=\"1\",,b=\"2\"} 3", "m{1a=\"1\"} 3", "m{=\"1\"} 3"] {
            assert!(parse(text, 0).is_err(), "{text}");
        }
    }

    /// Names of any characters stand in quotes, the metric's inside the braces.
    #[test]
    fn names_may_be_any_text() {
        let text = "{\"my.metric\",\"a b\"=\"c\"} 1\n{plain=\"x\",\"n\\\"q\"} 2\nup{\"ä\"=\"ö\",} 3\n# TYPE \"my.metric\" gauge";
        let found: Vec<String> = ours(text).iter().map(|(labels, _, _)| labels.to_string()).collect();
        assert_eq!(found, ["my.metric{a b=\"c\"}", "n\"q{plain=\"x\"}", "up{ä=\"ö\"}"]);
        assert_eq!(parse(text, 0).unwrap().batch.metadata[0].name, "my.metric");
    }

    /// Also where other metrics stand between.
    #[test]
    fn what_is_said_of_a_metric_comes_together() {
        let text = "# HELP b One\n#\tTYPE b \t counter \n # TYPE a gauge\n# UNIT b seconds\n# HELP b \t Two \t\n# HELP a A";
        let metadata = |name: &str, kind, help: &str, unit: &str| Metadata {
            name: name.into(),
            kind,
            help: help.into(),
            unit: unit.into(),
        };
        let book =
            [metadata("a", MetricKind::Gauge, "A", ""), metadata("b", MetricKind::Counter, "Two", "seconds")];
        assert_eq!(parse(text, 0).unwrap().batch.metadata, book);
        // A name that begins like the one before, and the one before in other words.
        let text = "# HELP a One\n# TYPE ab gauge\n# HELP \"a.b\" Two\n# TYPE \"a.b\" counter";
        let book = [
            metadata("a", MetricKind::Unknown, "One", ""),
            metadata("a.b", MetricKind::Counter, "Two", ""),
            metadata("ab", MetricKind::Gauge, "", ""),
        ];
        assert_eq!(parse(text, 0).unwrap().batch.metadata, book);
        let bare = parse("# HELP \"a.b\" Two\n# TYPE a.b counter", 0);
        assert_eq!(bare.unwrap_err().0, "line 2, column 9: a metric name ends before this");
    }

    #[test]
    fn exemplars_come_with_their_series() {
        let text = "a_bucket{le=\"1\"} 3 # {trace_id=\"x y\"} 0.5 1.25\na_total 1 7 # {} 2";
        let found = parse(text, 42).unwrap().batch.exemplars;
        let exemplar = |series: &str, labels: Labels, ts_ms, value| Exemplar {
            series: Labels::from_pairs(if series == "a_bucket" {
                vec![("__name__", series), ("le", "1")]
            } else {
                vec![("__name__", series)]
            }),
            labels,
            ts_ms,
            value,
        };
        let traced = Labels::from_pairs([("trace_id", "x y")]);
        assert_eq!(
            found,
            [exemplar("a_bucket", traced, 1250, 0.5), exemplar("a_total", Labels::empty(), 7, 2.0)]
        );
    }
}
