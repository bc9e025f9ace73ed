//! Reads scripts of Prometheus' own test language: `load`, `eval`, `expect` and what each must answer.

use ::promql::Expr;
use model::Labels;

/// A value in series notation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    Gap,
    Number(f64),
    Stale,
    /// A native histogram, whose inside is not read here.
    Histogram,
}

pub type SeriesValues = (Labels, Vec<Value>);

#[derive(Debug)]
pub enum Command {
    Clear,
    Load { step_ms: i64, series: Vec<SeriesValues> },
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
            Some(word) if word.starts_with("load") => load(head, &block),
            Some(word) if word.starts_with("eval") => Command::Eval(Box::new(eval(at, head, &block)?)),
            Some(word) => return Err(format!("line {at}: no command {word:?}")),
        };
        commands.push(command);
    }
    Ok(commands)
}

fn load(head: &str, block: &[&str]) -> Command {
    let step_ms = head.split_whitespace().nth(1).and_then(duration_ms).unwrap_or(0);
    // Start timestamps (`name@st …`) are not stored yet.
    let lines =
        block.iter().filter(|line| !line.split_whitespace().next().is_some_and(|word| word.ends_with("@st")));
    Command::Load { step_ms, series: lines.filter_map(|line| series(line)).collect() }
}

fn eval(line: usize, head: &str, block: &[&str]) -> Result<Eval, String> {
    let bad = || format!("line {line}: {head:?} is no eval");
    let (word, rest) = head.split_once(char::is_whitespace).ok_or_else(bad)?;
    let mut eval =
        Eval { line, must_fail: word == "eval_fail", is_ordered: word == "eval_ordered", ..Eval::default() };
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
            Ok(Expr::Text(text)) => Expected::Text(text),
            _ => Expected::Unknown(line.into()),
        };
    } else if let Some(rest) = line.strip_prefix("expect ") {
        eval.must_fail |= rest.starts_with("fail");
        eval.is_ordered |= rest.starts_with("ordered");
    } else if line.starts_with("expected_fail") {
        // The words of an error are our own.
    } else if let Some(value) = number(line) {
        eval.expected = Expected::Scalar(value);
    } else {
        match (series(line), &mut eval.expected) {
            (Some(series), Expected::Series(all) | Expected::Raw(_, _, all)) => all.push(series),
            _ => eval.expected = Expected::Unknown(line.into()),
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

fn series(line: &str) -> Option<SeriesValues> {
    let end = metric_end(line)?;
    let (metric, values) = line.split_at(end);
    let labels = match metric.trim() {
        "" => return None,
        "{}" => Labels::empty(),
        metric => match ::promql::parse(metric).ok()? {
            Expr::Selector(selector) => {
                Labels::from_pairs(selector.matchers.iter().map(|m| (m.name.as_str(), m.value.as_str())))
            }
            _ => return None,
        },
    };
    Some((labels, values_of(values)?))
}

/// Where the metric ends and its values begin.
fn metric_end(line: &str) -> Option<usize> {
    let name =
        line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(line.len());
    let rest = line[name..].trim_start();
    let open = line.len() - rest.len();
    if !rest.starts_with('{') || rest.starts_with("{{") {
        return Some(name);
    }
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(q) if c == '\\' && q != '`' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'' | '`') => quote = Some(c),
            None if c == '}' => return Some(open + at + 1),
            None => {}
        }
    }
    None
}

fn values_of(text: &str) -> Option<Vec<Value>> {
    let mut values = vec![];
    let mut rest = text.trim();
    while !rest.is_empty() {
        if rest.starts_with("{{") {
            values.push(Value::Histogram);
            rest = &rest[rest.find("}}")? + 2..];
            // `+{{…}}x5`, `x5`: still histograms.
            while rest.starts_with(['+', '-']) {
                rest = &rest[rest.find("}}")? + 2..];
            }
            rest = rest[rest.find(char::is_whitespace).unwrap_or(rest.len())..].trim_start();
            continue;
        }
        let (word, after) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
        word_values(word, &mut values)?;
        rest = after.trim_start();
    }
    Some(values)
}

/// `1`, `_`, `_x3`, `stale`, `5x3` (four times 5), `1+2x3` (1 3 5 7).
fn word_values(word: &str, values: &mut Vec<Value>) -> Option<()> {
    // `0x59` is sixty zeros here, not a hexadecimal number.
    if let Some(value) = decimal(word) {
        values.push(Value::Number(value));
        return Some(());
    }
    let (base, times) = match word.rsplit_once('x') {
        Some((base, times)) => (base, Some(times.parse::<usize>().ok()?)),
        None => (word, None),
    };
    match base {
        "_" => values.extend(std::iter::repeat_n(Value::Gap, times.unwrap_or(1))),
        "stale" => values.extend(std::iter::repeat_n(Value::Stale, times.unwrap_or(0) + 1)),
        _ => {
            let times = times?;
            let sign = |at: &usize| !matches!(base.as_bytes()[at - 1], b'e' | b'E');
            let signs = base.char_indices().skip(1).filter(|(_, c)| matches!(c, '+' | '-')).map(|(at, _)| at);
            let split = signs.filter(sign).last();
            let (mut value, step) = match split {
                Some(at) => (decimal(&base[..at])?, decimal(&base[at..])?),
                None => (decimal(base)?, 0.0),
            };
            for _ in 0..=times {
                values.push(Value::Number(value));
                value += step;
            }
        }
    }
    Some(())
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
    decimal(text)
}

fn decimal(text: &str) -> Option<f64> {
    text.replace('_', "").parse().ok()
}
