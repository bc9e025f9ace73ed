//! Reads scripts of Prometheus' own test language: `load`, `eval`, `expect` and what each must answer.

use ::promql::series::{Sample, parse_series};
use ::promql::{Expr, Node};
use model::{CUSTOM_BUCKETS_SCHEMA, Histogram, LabelSetBuilder, Labels};
use std::collections::BTreeMap;

pub type SeriesValues = (Labels, Vec<Sample>);

#[derive(Debug)]
pub enum Command {
    Clear,
    /// `starts`: when counters began, in milliseconds before (below 0) each sample.
    Load {
        step_ms: i64,
        series: Vec<SeriesValues>,
        starts: Vec<(Labels, Vec<Option<i64>>)>,
    },
    Eval(Box<Eval>),
}

#[derive(Clone, Debug, Default)]
pub struct Eval {
    /// Where in the file it begins, from 1.
    pub line: usize,
    pub query: String,
    pub start_ms: i64,
    pub end_ms: i64,
    /// `None`: at one time.
    pub step_ms: Option<i64>,
    pub expected: Expected,
    pub must_fail: bool,
    pub is_ordered: bool,
    /// `warn`, `no_info`, … and what the text must be, or match where it is a pattern.
    pub expects: Vec<(String, Option<Text>)>,
}

#[derive(Clone, Debug)]
pub enum Text {
    Is(String),
    Matches(String),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    Scalar(f64),
    Text(String),
    Series(Vec<SeriesValues>),
    /// What a range vector holds as it is: from, step, series.
    Raw(i64, i64, Vec<SeriesValues>),
    /// A line that this reader does not know.
    Unknown(String),
}

impl Default for Expected {
    fn default() -> Self {
        Expected::Series(vec![])
    }
}

pub fn commands(text: &str) -> Result<Vec<Command>, String> {
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, if line.trim_start().starts_with('#') { "" } else { line.trim() }))
        .peekable();
    let mut commands = vec![];
    while let Some((at, head)) = lines.next() {
        let block: Vec<&str> = match head {
            "" | "clear" => vec![],
            _ => std::iter::from_fn(|| lines.next_if(|(_, line)| !line.is_empty()).map(|(_, line)| line))
                .collect(),
        };
        let command = match head.split_whitespace().next() {
            None => continue,
            Some("clear") => Command::Clear,
            Some(word) if word.starts_with("load") => load(at, head, &block)?,
            Some(word) if word.starts_with("eval") => Command::Eval(Box::new(eval(at, head, &block)?)),
            Some(word) => return Err(format!("line {at}: no command {word:?}")),
        };
        commands.push(command);
    }
    Ok(commands)
}

fn load(at: usize, head: &str, block: &[&str]) -> Result<Command, String> {
    let step_ms = head.split_whitespace().nth(1).and_then(duration_ms).unwrap_or(0);
    let is_start = |line: &&&str| line.split("@st").count() == 2 && line.contains("@st ");
    let starts = block.iter().filter(is_start).map(|line| starts_of(line)).collect::<Result<Vec<_>, _>>();
    let starts = starts.map_err(|wrong| format!("line {at}: {wrong}"))?;
    let lines = block.iter().filter(|line| !is_start(line));
    let series = lines.map(|line| parse_series(line)).collect::<Result<Vec<_>, _>>();
    let mut series = series.map_err(|wrong| format!("line {at}: {wrong}"))?;
    if head.starts_with("load_with_nhcb") {
        series.extend(with_custom_buckets(&series));
    }
    Ok(Command::Load { step_ms, series, starts })
}

/// `name{…}@st _ -1m -30s-1mx2 -1sx3`: `_` is none, `-1sx3` four times the same, `-30s-1mx2` ever a minute more.
fn starts_of(line: &str) -> Result<(Labels, Vec<Option<i64>>), String> {
    let bad = || format!("{line:?} is no line of start times");
    let (metric, values) = line.split_once("@st").ok_or_else(bad)?;
    let (labels, _) = parse_series(metric)?;
    let mut starts = vec![];
    for word in values.split_whitespace() {
        let (base, times) = match word.split_once('x') {
            Some((base, times)) => (base, Some(times.parse::<usize>().map_err(|_| bad())?)),
            None => (word, None),
        };
        if base == "_" {
            starts.extend(std::iter::repeat_n(None, times.unwrap_or(1)));
            continue;
        }
        let split = base.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-')).map(|(at, _)| at);
        let (first, step) = base.split_at(split.unwrap_or(base.len()));
        let mut now = duration_ms(first.trim_start_matches('+')).ok_or_else(bad)?;
        let step = match step {
            "" => 0,
            step => duration_ms(step.trim_start_matches('+')).ok_or_else(bad)?,
        };
        for _ in 0..=times.unwrap_or(0) {
            starts.push(Some(now));
            now += step;
        }
    }
    Ok((labels, starts))
}

/// Native histograms with custom bounds, made of the classic ones among the series.
fn with_custom_buckets(series: &[SeriesValues]) -> Vec<SeriesValues> {
    #[derive(Default, Clone)]
    struct Classic {
        buckets: Vec<(f64, f64)>,
        sum: f64,
        count: Option<f64>,
    }
    let mut all: BTreeMap<Labels, BTreeMap<usize, Classic>> = BTreeMap::new();
    for (labels, samples) in series {
        let name = labels.metric_name();
        let Some((suffix, base)) = ["_bucket", "_sum", "_count"]
            .into_iter()
            .find_map(|suffix| Some((suffix, name.strip_suffix(suffix)?)))
        else {
            continue;
        };
        let le = labels.get("le").and_then(|le| le.parse::<f64>().ok());
        if suffix == "_bucket" && le.is_none_or(f64::is_nan) {
            continue;
        }
        let mut of = LabelSetBuilder::from_labels(labels);
        of.remove("le").set("__name__", base);
        let points = all.entry(of.build()).or_default();
        for (at, sample) in samples.iter().enumerate() {
            let Sample::Number(value) = sample else { continue };
            let point = points.entry(at).or_default();
            match suffix {
                "_sum" => point.sum = *value,
                "_count" => point.count = Some(*value),
                _ => point.buckets.extend(le.map(|le| (le, *value))),
            }
        }
    }
    let made = all.into_iter().map(|(labels, points)| {
        let length = points.keys().last().map_or(0, |last| last + 1);
        let mut samples = vec![Sample::Gap; length];
        for (at, mut point) in points {
            point.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            point.buckets.dedup_by(|next, kept| next.0 == kept.0);
            let count = point.count.or(point.buckets.last().map(|(_, count)| *count)).unwrap_or(0.0);
            if point.buckets.last().is_none_or(|(le, _)| *le != f64::INFINITY) {
                point.buckets.push((f64::INFINITY, count));
            }
            let mut before = 0.0;
            let positive = point.buckets.iter().enumerate().map(|(at, (_, count))| {
                let own = count - before;
                before = *count;
                (at as i32, own)
            });
            samples[at] = Sample::Histogram(Histogram {
                schema: CUSTOM_BUCKETS_SCHEMA,
                count,
                sum: point.sum,
                positive: positive.collect(),
                custom_values: point.buckets.iter().map(|(le, _)| *le).filter(|le| le.is_finite()).collect(),
                ..Histogram::default()
            });
        }
        (labels, samples)
    });
    made.collect()
}

fn eval(line: usize, head: &str, block: &[&str]) -> Result<Eval, String> {
    let bad = || format!("line {line}: {head:?} is no eval");
    let (word, rest) = head.split_once(char::is_whitespace).ok_or_else(bad)?;
    let mut eval =
        Eval { line, must_fail: word == "eval_fail", is_ordered: word == "eval_ordered", ..Eval::default() };
    for kind in ["warn", "info"] {
        if word.ends_with(kind) {
            eval.expects.push((kind.into(), None));
        }
    }
    let mut rest = rest.trim_start();
    let mut after = |keyword: &str| -> Option<&str> {
        let value = rest.trim_start().strip_prefix(keyword)?.trim_start();
        let end = value.find(char::is_whitespace).unwrap_or(value.len());
        rest = value[end..].trim_start();
        Some(&value[..end])
    };
    if let Some(at) = after("instant at") {
        eval.start_ms = duration_ms(at).ok_or_else(bad)?;
        eval.end_ms = eval.start_ms;
    } else {
        eval.start_ms = after("range from").and_then(duration_ms).ok_or_else(bad)?;
        eval.end_ms = after("to").and_then(duration_ms).ok_or_else(bad)?;
        eval.step_ms = Some(after("step").and_then(duration_ms).ok_or_else(bad)?);
    }
    eval.query = rest.to_owned();
    for line in block {
        expect(&mut eval, line);
    }
    Ok(eval)
}

fn expect(eval: &mut Eval, line: &str) {
    if let Some(rest) = line.strip_prefix("expect range vector") {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let time = |at: usize| words.get(at).copied().and_then(duration_ms).unwrap_or(0);
        eval.expected = Expected::Raw(time(1), time(5), vec![]);
    } else if let Some(rest) = line.strip_prefix("expect string") {
        eval.expected = match ::promql::parse(rest.trim()) {
            Ok(Expr { node: Node::Text(text), .. }) => Expected::Text(text),
            _ => Expected::Unknown(line.into()),
        };
    } else if let Some(rest) = line.strip_prefix("expect ") {
        let (kind, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let text = text.trim();
        let is = text.strip_prefix("msg:").map(|text| Text::Is(text.trim().to_owned()));
        let matches = text.strip_prefix("regex:").map(|text| Text::Matches(text.trim().to_owned()));
        match kind {
            "ordered" => eval.is_ordered = true,
            kind => {
                eval.must_fail |= kind == "fail";
                eval.expects.push((kind.to_owned(), is.or(matches)));
            }
        }
    } else if let Some(text) = line.strip_prefix("expected_fail_message") {
        eval.expects.push(("fail".into(), Some(Text::Is(text.trim().to_owned()))));
    } else if let Some(text) = line.strip_prefix("expected_fail_regexp") {
        eval.expects.push(("fail".into(), Some(Text::Matches(text.trim().to_owned()))));
    } else if let Some(value) = number(line) {
        eval.expected = Expected::Scalar(value);
    } else {
        match (parse_series(line), &mut eval.expected) {
            (Ok(series), Expected::Series(all) | Expected::Raw(_, _, all)) => all.push(series),
            (wrong, _) => eval.expected = Expected::Unknown(format!("{line}: {wrong:?}")),
        }
    }
}

/// Milliseconds of `5m`, `-1m30s`, `10` (seconds).
fn duration_ms(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let seconds = || Some((text.parse::<f64>().ok()? * 1e3).round() as i64);
    ::promql::parse_duration(text).or_else(seconds).map(|ms| sign * ms)
}

fn number(text: &str) -> Option<f64> {
    let digits = text.trim_start_matches(['+', '-']);
    if text.len() - digits.len() > 1 {
        return None;
    }
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        let value = i64::from_str_radix(hex, 16).ok()? as f64;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    text.replace('_', "").parse().ok()
}
