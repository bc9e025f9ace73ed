//! OpenMetrics text (source: the OpenMetrics 1.0 specification): one metric family after another, each said once, its
//! samples as its type demands, and `# EOF` at the end. What breaks a rule makes the whole text an error, as a text
//! that was cut short would be.

use super::line::Line;
use super::{Unescaped, Wrong, add, exemplar, kind_of, ms_of, unescape, unescaped};
use crate::{Decoded, Malformed};
use model::{Labels, METRIC_NAME, Metadata, MetricBatch, MetricKind};
use std::collections::HashSet;

/// Text to samples; `now_ms` is the time of those that carry none.
pub fn parse(text: &str, now_ms: i64) -> Result<Decoded<MetricBatch>, Malformed> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let mut parser = Parser { now_ms, ..Parser::default() };
    let mut lines = body.split('\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let at =
            |(column, what): Wrong| Malformed(format!("line {}, column {}: {what}", number + 1, column + 1));
        if line == "# EOF" {
            return match lines.peek() {
                None => parser.finish().map_err(at),
                Some(_) => Err(at((0, "text after # EOF".into()))),
            };
        }
        parser.line(line).map_err(at)?;
    }
    Err(Malformed(format!("line {}: the text ends without # EOF", body.split('\n').count())))
}

#[derive(Default)]
struct Parser {
    now_ms: i64,
    decoded: Decoded<MetricBatch>,
    family: Option<Family>,
    /// Names of families, and names that their samples may have.
    taken: HashSet<String>,
    /// Hashes of series and time, of the family that is read.
    seen: HashSet<(u64, i64)>,
}

/// The family whose lines are read.
struct Family {
    name: String,
    kind: Option<MetricKind>,
    help: Option<String>,
    unit: Option<String>,
    has_samples: bool,
    /// Groups of labels that have been left.
    left: HashSet<Labels>,
    group: Option<Group>,
}

/// Samples of one set of labels, without those that tell apart the samples of one metric.
struct Group {
    labels: Labels,
    ts: Option<Option<f64>>,
    buckets: Vec<(f64, f64)>,
    /// Whether a bound is written as no client of Prometheus writes one: `1` for `1.0`.
    has_whole_bounds: bool,
    sum: Option<f64>,
    count: Option<f64>,
}

const SUFFIXES: [&str; 7] = ["_total", "_created", "_bucket", "_count", "_sum", "_gcount", "_gsum"];

/// Suffixes of a type's samples.
fn suffixes(kind: MetricKind) -> &'static [&'static str] {
    match kind {
        MetricKind::Counter => &["_total", "_created"],
        MetricKind::Histogram => &["_bucket", "_count", "_sum", "_created"],
        MetricKind::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricKind::Summary => &["", "_count", "_sum", "_created"],
        MetricKind::Info => &["_info"],
        MetricKind::Unknown | MetricKind::Gauge | MetricKind::StateSet => &[""],
    }
}

/// The most characters that the labels of an exemplar may have.
const EXEMPLAR_CHARS_MAX: usize = 128;

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), Wrong> {
        match line.strip_prefix("# ") {
            Some(_) => self.describe(line),
            None if line.starts_with('#') => Err((0, "a comment is # HELP, # TYPE, # UNIT or # EOF".into())),
            None => self.sample(line),
        }
    }

    fn describe(&mut self, line: &str) -> Result<(), Wrong> {
        let keyword = line[2..].split(' ').next().unwrap_or_default();
        if !matches!(keyword, "HELP" | "TYPE" | "UNIT") {
            return Err((2, format!("{keyword:?} is none of HELP, TYPE, UNIT and EOF")));
        }
        let mut at = Line::of(line, 2 + keyword.len());
        if !at.take(b' ') {
            return at.wrong("a space and a metric name belong here");
        }
        let name = at.metric_name()?;
        if !at.take(b' ') {
            return at.wrong("a space belongs here");
        }
        let (column, rest) = (at.column(), at.rest());
        if self.family.as_ref().is_none_or(|family| family.name != name) {
            self.begin(&name).map_err(|what| (2, what))?;
        }
        let Some(family) = &mut self.family else { return Ok(()) };
        if family.has_samples {
            return Err((0, format!("{keyword} of {name:?} comes after its samples")));
        }
        let again = || Err((0, format!("{keyword} of {name:?} is said twice")));
        match keyword {
            "HELP" if family.help.is_some() => again(),
            "UNIT" if family.unit.is_some() => again(),
            "TYPE" if family.kind.is_some() => again(),
            "HELP" => {
                family.help = Some(unescape(rest).into_owned());
                Ok(())
            }
            "UNIT" => {
                let fits = rest.is_empty() || name.ends_with(&format!("_{rest}"));
                if !fits || rest.contains([' ', '\t']) {
                    return Err((column, format!("the name {name:?} does not end with its unit {rest:?}")));
                }
                family.unit = Some(rest.to_owned());
                family.check_unit().map_err(|what| (column, what))
            }
            _ => {
                let kind = kind_of(rest).filter(|_| !matches!(rest, "" | "untyped"));
                family.kind = Some(kind.ok_or_else(|| (column, format!("{rest:?} is no type of a metric")))?);
                family.check_unit().map_err(|what| (column, what))
            }
        }
    }

    /// Ends the family before.
    fn begin(&mut self, name: &str) -> Result<(), String> {
        self.end()?;
        if !self.taken.insert(name.to_owned()) {
            return Err(format!("{name:?} was there before, or is the name of another metric's samples"));
        }
        self.family = Some(Family {
            name: name.to_owned(),
            kind: None,
            help: None,
            unit: None,
            has_samples: false,
            left: HashSet::new(),
            group: None,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(family) = self.family.take() else { return Ok(()) };
        if let Some(group) = &family.group {
            group.check(family.kind())?;
        }
        for suffix in suffixes(family.kind()).iter().filter(|suffix| !suffix.is_empty()) {
            let name = format!("{}{suffix}", family.name);
            if !self.taken.insert(name.clone()) {
                return Err(format!("{name:?} is the name of another metric"));
            }
        }
        self.seen.clear();
        let is_described = family.kind.is_some() || family.help.is_some() || family.unit.is_some();
        if is_described {
            self.decoded.batch.metadata.push(Metadata {
                kind: family.kind(),
                name: family.name,
                help: family.help.unwrap_or_default(),
                unit: family.unit.unwrap_or_default(),
            });
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Decoded<MetricBatch>, Wrong> {
        self.end().map_err(|what| (0, what))?;
        Ok(self.decoded)
    }

    fn sample(&mut self, line: &str) -> Result<(), Wrong> {
        let mut at = Line::of(line, 0);
        let mut written = vec![];
        at.series(&mut written)?;
        if line[..at.column()].strip_suffix('}').is_some_and(|labels| labels.trim_end().ends_with(',')) {
            return at.wrong("no comma belongs behind the last label");
        }
        let mut pairs = unescaped(&written);
        if !at.take(b' ') {
            return at.wrong("a space and a value belong here");
        }
        let value = plain_number(&mut at, "a value")?;
        let mut seconds = None;
        if at.take(b' ') && !at.begins("# ") {
            let column = at.column();
            let number = plain_number(&mut at, "a time in seconds")?;
            if !number.is_finite() {
                return Err((column, "the time is not a number of seconds".into()));
            }
            seconds = Some(number);
            if !at.is_at_end() && !at.take(b' ') {
                return at.wrong("a space belongs here");
            }
        }
        let of_exemplar = match at.begins("#") {
            false if at.is_at_end() && !line.ends_with(' ') => None,
            false => return at.wrong("text after the sample"),
            true => Some((at.column(), exemplar(&mut at)?)),
        };
        if !at.is_at_end() || line.ends_with([' ', '\t']) {
            return at.wrong("text after the exemplar");
        }
        let has_exemplar = match &of_exemplar {
            None => false,
            Some((column, (labels, _, _))) => {
                let chars: usize = labels.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum();
                if chars > EXEMPLAR_CHARS_MAX {
                    let what = format!(
                        "an exemplar's labels have {chars} characters; the most is {EXEMPLAR_CHARS_MAX}"
                    );
                    return Err((*column, what));
                }
                true
            }
        };
        self.check(&pairs, value, seconds, has_exemplar).map_err(|what| (0, what))?;
        let ts_ms = seconds.map_or(self.now_ms, ms_of);
        add(&mut pairs, ts_ms, value, of_exemplar.map(|(_, exemplar)| exemplar), &mut self.decoded);
        Ok(())
    }

    /// Finds the sample's family and the rules of its type.
    fn check(
        &mut self,
        pairs: &Unescaped<'_>,
        value: f64,
        seconds: Option<f64>,
        has_exemplar: bool,
    ) -> Result<(), String> {
        let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|two| two[0] == two[1]) {
            return Err(format!("label {:?} occurs twice", twice[0]));
        }
        let name = label(pairs, METRIC_NAME).unwrap_or_default();
        let suffix = match self.family.as_ref().and_then(|family| family.suffix_of(name)) {
            Some(suffix) => suffix,
            // Samples without a word before them are a family of their own, and of any form.
            None if self
                .family
                .as_ref()
                .is_some_and(|family| family.name == name && family.kind.is_some()) =>
            {
                let kind = self.family.as_ref().map_or("", |family| family.kind().as_str());
                return Err(format!("a {kind} has no sample {name:?}"));
            }
            None => {
                self.end()?;
                let of_typed = SUFFIXES.iter().filter_map(|suffix| name.strip_suffix(suffix));
                if self.taken.contains(name) && of_typed.clone().any(|family| self.taken.contains(family)) {
                    return Err(format!("{name:?} comes after its metric has ended"));
                }
                return match has_exemplar && !name.ends_with("_total") && !name.ends_with("_bucket") {
                    true => Err(format!("{name:?} may have no exemplar")),
                    false => Ok(()),
                };
            }
        };
        let Some(family) = &mut self.family else { return Ok(()) };
        family.has_samples = true;
        let kind = family.kind();
        let may_have_exemplar = matches!(
            (kind, suffix),
            (MetricKind::Counter, "_total") | (MetricKind::Histogram | MetricKind::GaugeHistogram, "_bucket")
        );
        if has_exemplar && !may_have_exemplar {
            return Err(format!("{name:?} may have no exemplar"));
        }
        family.check_value(kind, suffix, pairs, value)?;
        family.enter(kind, suffix, pairs, seconds)?;
        family.note(kind, suffix, pairs, value)?;
        // A time may come again, but not a sample without one.
        let series = Labels::from_pairs(pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())));
        if seconds.is_none() && !self.seen.insert((series.fingerprint(), 0)) && !has_empty_value(pairs) {
            return Err(format!("{series} comes twice"));
        }
        Ok(())
    }
}

/// No hexadecimal, no underscores: what a double is in the format.
fn plain_number(at: &mut Line<'_>, what: &str) -> Result<f64, Wrong> {
    if at.begins("\t") || at.begins(" ") {
        return at.wrong("one space is enough");
    }
    at.number(what)
}

fn label<'p>(pairs: &'p Unescaped<'_>, name: &str) -> Option<&'p str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
}

fn has_empty_value(pairs: &Unescaped<'_>) -> bool {
    pairs.iter().any(|(_, value)| value.is_empty())
}

impl Family {
    fn kind(&self) -> MetricKind {
        self.kind.unwrap_or(MetricKind::Unknown)
    }

    fn check_unit(&self) -> Result<(), String> {
        let has_unit = self.unit.as_ref().is_some_and(|unit| !unit.is_empty());
        match self.kind {
            Some(kind @ (MetricKind::Info | MetricKind::StateSet)) if has_unit => {
                Err(format!("a metric of type {} has no unit", kind.as_str()))
            }
            _ => Ok(()),
        }
    }

    fn suffix_of(&self, sample: &str) -> Option<&'static str> {
        let rest = sample.strip_prefix(&*self.name)?;
        suffixes(self.kind()).iter().find(|suffix| **suffix == rest).copied()
    }

    fn check_value(
        &self,
        kind: MetricKind,
        suffix: &str,
        pairs: &Unescaped<'_>,
        value: f64,
    ) -> Result<(), String> {
        let counts = match (kind, suffix) {
            (MetricKind::Counter, "_total") => true,
            (MetricKind::Histogram, "_bucket" | "_count") => true,
            (MetricKind::GaugeHistogram, "_bucket" | "_gcount") => true,
            (MetricKind::Summary, "_count" | "_sum") => true,
            (MetricKind::Histogram, "_sum") => value.is_nan(),
            _ => false,
        };
        if counts && (value.is_nan() || value < 0.0) {
            return Err(format!("{}{suffix} cannot be {value}", self.name));
        }
        match kind {
            MetricKind::Info if value != 1.0 => Err(format!("an info metric is 1, not {value}")),
            MetricKind::StateSet if value != 0.0 && value != 1.0 => {
                Err(format!("a state is 0 or 1, not {value}"))
            }
            MetricKind::StateSet if label(pairs, &self.name).is_none() => {
                Err(format!("a state of {0:?} has no label {0:?}", self.name))
            }
            MetricKind::Summary if suffix.is_empty() => {
                let quantile = label(pairs, "quantile").and_then(super::number);
                if !quantile.is_some_and(|quantile| (0.0..=1.0).contains(&quantile)) {
                    return Err("a quantile is a number from 0 to 1 in the label quantile".into());
                }
                if value < 0.0 { Err(format!("a quantile cannot be {value}")) } else { Ok(()) }
            }
            _ if suffix == "_bucket" => {
                let written = label(pairs, "le").unwrap_or_default();
                match super::number(written).filter(|bound| !bound.is_nan()) {
                    Some(bound) if bound == f64::INFINITY && written != "+Inf" => {
                        Err(format!("the bound of the last bucket is +Inf, not {written}"))
                    }
                    Some(_) => Ok(()),
                    None => Err("a bucket has its bound as a number in the label le".into()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Samples of one set of labels stand together, their times do not go back.
    fn enter(
        &mut self,
        kind: MetricKind,
        suffix: &str,
        pairs: &Unescaped<'_>,
        seconds: Option<f64>,
    ) -> Result<(), String> {
        let own = match (kind, suffix) {
            (MetricKind::Histogram | MetricKind::GaugeHistogram, "_bucket") => "le",
            (MetricKind::Summary, "") => "quantile",
            (MetricKind::StateSet, _) => &*self.name,
            _ => METRIC_NAME,
        };
        let others = pairs.iter().filter(|(name, _)| name != METRIC_NAME && name != own);
        let labels = Labels::from_pairs(others.map(|(name, value)| (name.as_ref(), value.as_ref())));
        // Every state, and every info, is a set of its own: their samples come in any order.
        let is_free = kind == MetricKind::Info;
        match &mut self.group {
            Some(group) if group.labels == labels => {
                let fits = match (group.ts, seconds) {
                    (Some(Some(before)), Some(now)) => now >= before,
                    (Some(before), now) => before.is_none() == now.is_none(),
                    (None, _) => true,
                };
                if !fits {
                    return Err(format!("times of {:?} go back, or only some samples have one", self.name));
                }
                group.ts = Some(seconds);
                Ok(())
            }
            _ => {
                if let Some(before) = self.group.take() {
                    before.check(kind)?;
                    self.left.insert(before.labels);
                }
                if self.left.contains(&labels) && !is_free {
                    return Err(format!("samples of {}{labels} do not stand together", self.name));
                }
                let ts = Some(seconds);
                self.group = Some(Group {
                    labels,
                    ts,
                    buckets: vec![],
                    has_whole_bounds: false,
                    sum: None,
                    count: None,
                });
                Ok(())
            }
        }
    }

    fn note(
        &mut self,
        kind: MetricKind,
        suffix: &str,
        pairs: &Unescaped<'_>,
        value: f64,
    ) -> Result<(), String> {
        let Some(group) = &mut self.group else { return Ok(()) };
        if !matches!(kind, MetricKind::Histogram | MetricKind::GaugeHistogram) {
            return Ok(());
        }
        match suffix {
            "_bucket" => {
                let written = label(pairs, "le").unwrap_or_default();
                let bound = super::number(written).unwrap_or(f64::NAN);
                group.has_whole_bounds |= !written.contains(['.', 'e', 'I']);
                // A later time of the same metric begins anew.
                if group.buckets.last().is_some_and(|(last, _)| *last == f64::INFINITY) {
                    group.check(kind)?;
                    (group.buckets, group.sum, group.count) = (vec![], None, None);
                }
                if let Some((before, count)) = group.buckets.last()
                    && (*before >= bound || *count > value)
                {
                    return Err(format!("buckets of {:?} do not ascend", self.name));
                }
                group.buckets.push((bound, value));
            }
            "_sum" | "_gsum" => group.sum = Some(value),
            "_count" | "_gcount" => group.count = Some(value),
            _ => {}
        }
        Ok(())
    }
}

impl Group {
    /// What a histogram must have when all of it was said.
    fn check(&self, kind: MetricKind) -> Result<(), String> {
        if !matches!(kind, MetricKind::Histogram | MetricKind::GaugeHistogram) {
            return Ok(());
        }
        let Some((bound, last)) = self.buckets.last() else {
            return Err("a histogram has no bucket".into());
        };
        if *bound != f64::INFINITY {
            return Err("a histogram has no bucket le=\"+Inf\"".into());
        }
        if self.count.is_some_and(|count| count != *last) {
            return Err("a histogram's count is not that of its last bucket".into());
        }
        if self.sum.is_some() != self.count.is_some() && !self.has_negative() {
            return Err("a histogram has only one of sum and count".into());
        }
        // By the specification it has none, but Prometheus' client for Go writes it, beside the count.
        let is_of_client = self.count.is_some() && !self.has_whole_bounds;
        if self.sum.is_some() && self.has_negative() && kind == MetricKind::Histogram && !is_of_client {
            return Err("a histogram with buckets below 0 has no sum".into());
        }
        if kind == MetricKind::GaugeHistogram && self.sum.is_some_and(|sum| sum < 0.0) && !self.has_negative()
        {
            return Err("a sum is not below 0 where no bucket is".into());
        }
        Ok(())
    }

    fn has_negative(&self) -> bool {
        self.buckets.first().is_some_and(|(bound, _)| *bound < 0.0)
    }
}

#[cfg(test)]
mod tests;
