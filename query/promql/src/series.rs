//! The notation of samples in unit tests of rules: `up{job="x"} 1 2 _ 3+1x4 stale {{schema:1 count:3 buckets:[1 2]}}`.

use crate::ast::Node;
use crate::{Expr, parse};
use model::{Histogram, Labels, METRIC_NAME, Match, ResetHint};

/// Samples that one line may stand for.
const SAMPLES_MAX: u64 = 10_000_000;

#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// Nothing at this time.
    Gap,
    Number(f64),
    Stale,
    Histogram(Histogram),
}

/// A series and its samples, one a step of whoever reads them.
pub fn parse_series(line: &str) -> Result<(Labels, Vec<Sample>), String> {
    let end = metric_end(line)?;
    let labels = labels(line[..end].trim())?;
    let mut samples = vec![];
    let rest = &line[end..];
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return Err(format!("unexpected {:?} in series values", &rest[..rest.len().min(10)]));
    }
    let mut rest = rest.trim();
    while !rest.is_empty() {
        let (item, tail) = next_item(rest)?;
        read_item(item, &mut samples)?;
        if samples.len() as u64 > SAMPLES_MAX {
            return Err(format!("more than {SAMPLES_MAX} samples in one line"));
        }
        rest = tail.trim_start();
    }
    Ok((labels, samples))
}

/// Where the metric ends and its values begin.
fn metric_end(line: &str) -> Result<usize, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let name = line.find(|c| !is_part(c)).unwrap_or(line.len());
    let rest = line[name..].trim_start();
    let open = line.len() - rest.len();
    if !rest.starts_with('{') || rest.starts_with("{{") {
        return Ok(name);
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
            None if c == '}' => return Ok(open + at + 1),
            None => {}
        }
    }
    Err("unexpected end of input inside braces".into())
}

fn labels(metric: &str) -> Result<Labels, String> {
    let braces = metric.find('{').map(|open| metric[open + 1..].trim_end_matches('}').trim());
    if metric.is_empty() || (metric.starts_with('{') && braces == Some("")) {
        return Ok(Labels::empty());
    }
    // An empty value leaves a label out, which a selector may not.
    let wanted = if metric.starts_with('{') { format!("x{metric}") } else { metric.to_owned() };
    let Expr { node: Node::Selector(selector), .. } = parse(&wanted)
        .or_else(|wrong| if metric.starts_with('{') { parse(metric).map_err(|_| wrong) } else { Err(wrong) })
        .map_err(|wrong| wrong.what)?
    else {
        return Err(format!("{metric:?} is no metric"));
    };
    if selector.matchers.iter().any(|matcher| matcher.op != Match::Equal) {
        return Err(format!("{metric:?}: a label is set by \"=\""));
    }
    let ours = selector.matchers.iter().enumerate();
    let ours = ours
        .filter(|(at, m)| !(metric.starts_with('{') && *at == 0 && m.name == METRIC_NAME && m.value == "x"));
    Ok(Labels::from_pairs(ours.map(|(_, m)| (m.name.as_str(), m.value.as_str()))))
}

/// Up to the next space that is not within a histogram.
fn next_item(text: &str) -> Result<(&str, &str), String> {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("{{") {
            at += rest.find("}}").ok_or("histogram description incomplete")? + 2;
        } else if rest.starts_with([' ', '\t']) {
            break;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    Ok(text.split_at(at))
}

fn read_item(item: &str, samples: &mut Vec<Sample>) -> Result<(), String> {
    let bad = || format!("unexpected {item:?} in series values");
    if item.starts_with("{{") {
        return read_histograms(item, samples);
    }
    if item == "stale" {
        samples.push(Sample::Stale);
        return Ok(());
    }
    let (base, times) = match item.split_once('x') {
        Some((base, times)) => (base, Some(repetitions(times)?)),
        None => (item, None),
    };
    if base == "_" {
        samples.extend(std::iter::repeat_n(Sample::Gap, times.unwrap_or(1) as usize));
        return Ok(());
    }
    if let Some(value) = signed_number(base) {
        // `5x3` is 5 and three times 5 more.
        samples
            .extend(std::iter::repeat_n(Sample::Number(value), times.map_or(1, |times| times as usize + 1)));
        return Ok(());
    }
    let split = base
        .char_indices()
        .skip(1)
        .find(|(at, c)| matches!(c, '+' | '-') && !base[..*at].ends_with(['e', 'E']));
    let (Some((at, _)), Some(times)) = (split, times) else { return Err(bad()) };
    let mut value = signed_number(&base[..at]).ok_or_else(bad)?;
    let step = signed_number(&base[at..]).ok_or_else(bad)?;
    for _ in 0..=times {
        samples.push(Sample::Number(value));
        value += step;
    }
    Ok(())
}

fn repetitions(text: &str) -> Result<u64, String> {
    let times = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    times
        .filter(|times| *times < SAMPLES_MAX)
        .ok_or_else(|| format!("invalid repetition in series values: {text:?}"))
}

fn signed_number(text: &str) -> Option<f64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let value = match digits.to_ascii_lowercase().as_str() {
        "inf" => f64::INFINITY,
        "nan" => f64::NAN,
        _ if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            digits.replace('_', "").parse().ok()?
        }
        _ => return None,
    };
    Some(if negative { -value } else { value })
}

/// `{{…}}`, `{{…}}x3`, `{{…}}+{{…}}x3`
fn read_histograms(item: &str, samples: &mut Vec<Sample>) -> Result<(), String> {
    let end = item.find("}}").ok_or("histogram description incomplete")? + 2;
    let base = histogram(&item[..end])?;
    let rest = &item[end..];
    if rest.is_empty() {
        samples.push(Sample::Histogram(base));
        return Ok(());
    }
    if let Some(times) = rest.strip_prefix('x') {
        samples.extend(std::iter::repeat_n(Sample::Histogram(base), repetitions(times)? as usize + 1));
        return Ok(());
    }
    let grows = rest.starts_with('+');
    let body = rest.strip_prefix(['+', '-']).filter(|body| body.starts_with("{{"));
    let body = body.ok_or_else(|| format!("unexpected {rest:?} in series values"))?;
    let end = body.find("}}").ok_or("histogram description incomplete")? + 2;
    let step = histogram(&body[..end])?;
    let times = body[end..].strip_prefix('x').ok_or("unexpected end of input in series values")?;
    let times = repetitions(times)?;
    let mut now = base;
    samples.push(Sample::Histogram(now.clone()));
    for _ in 0..times {
        if now.schema > step.schema {
            return Err(format!(
                "error combining histograms: cannot merge from schema {} to {}",
                step.schema, now.schema
            ));
        }
        let combined = if grows { now.add(&step) } else { now.subtract(&step) };
        combined.map_err(|wrong| wrong.to_string())?;
        samples.push(Sample::Histogram(now.clone()));
    }
    Ok(())
}

/// `{{schema:1 sum:3 count:22 z_bucket:1 z_bucket_w:.1 buckets:[5 10 7] offset:-1 counter_reset_hint:gauge}}`
fn histogram(text: &str) -> Result<Histogram, String> {
    let inside = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
    let inside = inside.ok_or("histogram description incomplete")?;
    let mut histogram = Histogram::default();
    if inside.trim().is_empty() {
        return Ok(histogram);
    }
    if inside.starts_with([' ', '\t']) {
        return Err("unexpected space in histogram description".into());
    }
    let mut seen: Vec<&str> = vec![];
    let (mut offset, mut negative_offset) = (0, 0);
    let (mut buckets, mut negative) = (vec![], vec![]);
    let mut rest = inside.trim_end();
    while !rest.is_empty() {
        let (key, after) =
            rest.split_once(':').ok_or_else(|| format!("missing `:` for histogram descriptor {rest:?}"))?;
        if after.starts_with([' ', '\t']) {
            return Err(format!("unexpected space behind {key:?} in histogram description"));
        }
        if seen.contains(&key) {
            return Err(format!("duplicate key {key:?} in histogram"));
        }
        seen.push(key);
        let length = match after.starts_with('[') {
            true => after.find(']').ok_or("unclosed left bracket")? + 1,
            false => after.find([' ', '\t']).unwrap_or(after.len()),
        };
        let (value, tail) = after.split_at(length);
        let bad = || format!("{value:?} is no value of {key:?} in a histogram description");
        let number = || signed_number(value).ok_or_else(bad);
        let whole = || value.parse::<i32>().map_err(|_| bad());
        match key {
            "schema" => histogram.schema = i8::try_from(whole()?).map_err(|_| bad())?,
            "sum" => histogram.sum = number()?,
            "count" => histogram.count = number()?,
            "z_bucket" => histogram.zero_count = number()?,
            "z_bucket_w" => histogram.zero_threshold = number()?,
            "buckets" => buckets = numbers(value).ok_or_else(bad)?,
            "n_buckets" => negative = numbers(value).ok_or_else(bad)?,
            "offset" => offset = whole()?,
            "n_offset" => negative_offset = whole()?,
            "custom_values" => histogram.custom_values = numbers(value).ok_or_else(bad)?.into(),
            "counter_reset_hint" => {
                histogram.hint = match value {
                    "unknown" => ResetHint::Unknown,
                    "reset" => ResetHint::Reset,
                    "not_reset" => ResetHint::NotReset,
                    "gauge" => ResetHint::Gauge,
                    _ => return Err(bad()),
                }
            }
            _ => return Err(format!("bad histogram descriptor found: {key:?}")),
        }
        rest = tail.trim_start();
    }
    let from = |offset: i32, counts: Vec<f64>| -> Vec<(i32, f64)> {
        counts.into_iter().enumerate().map(|(at, count)| (offset + at as i32, count)).collect()
    };
    histogram.positive = from(offset, buckets);
    histogram.negative = from(negative_offset, negative);
    Ok(histogram)
}

fn numbers(text: &str) -> Option<Vec<f64>> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    inside.split_whitespace().map(signed_number).collect()
}
