//! What a query's stages do to one line and its labels.
//!
//! A [`Pipeline`] is made once a query and run once a line. It is told which labels will be asked for afterwards, so
//! that parsers write down only those. It never fails on a line: a line that cannot be parsed gets `__error__`.

pub(crate) mod fields;
pub(crate) mod json;
mod label_test;
mod logfmt;
pub(crate) mod paths;
pub(crate) mod pattern;

pub use fields::{Category, Fields};
pub use label_test::LabelTest;

use crate::ast::*;
use crate::template::{Scope, Template};
use crate::units::{
    bytes_fault, duration_fault, float_fault, parse_bytes, parse_go_duration_ns, parse_value,
};
use memchr::memmem::Finder;
use model::LabelTests;
use regex::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;

pub(crate) const ERROR: &str = "__error__";
pub(crate) const ERROR_DETAILS: &str = "__error_details__";
const JSON_ERROR: &str = "JSONParserErr";
const LOGFMT_ERROR: &str = "LogfmtParserErr";
const FILTER_ERROR: &str = "LabelFilterErr";
const TEMPLATE_ERROR: &str = "TemplateFormatErr";
const UNWRAP_ERROR: &str = "SampleExtractionErr";

/// Terminal colours and titles of windows, as `decolorize` takes them out.
static COLOR: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let title = "(?:[0-9A-Za-z]*(?:;[0-9A-Za-z]*)*)?\\x07";
    let color = "(?:[0-9]{1,4}(?:;[0-9]{0,4})*)?[0-9A-PRZcf-nqrty=><~]";
    Regex::new(&format!("[\\x1b\\x{{9b}}][\\[\\]()#;?]*(?:{title}|{color})")).ok()
});

pub struct Pipeline {
    steps: Vec<Step>,
    /// What is judged once the value is unwrapped.
    filters_of_value: Vec<LabelFilter>,
    /// What parsers write down; `None` is everything.
    wanted: Option<Vec<String>>,
    /// A line that a parser failed on is no fault of the query, which asks for the errors.
    asks_for_errors: bool,
    reads_line: bool,
    changes_line: bool,
}

enum Step {
    Line { negated: bool, any: Vec<LineTest> },
    Stage(Stage),
}

enum LineTest {
    Text(Box<Finder<'static>>),
    Other(LineMatch),
}

impl Pipeline {
    /// `outputs` are the labels read after the pipeline; `None` where all are.
    pub fn new(stages: &[Stage], unwrap: Option<&Unwrap>, outputs: Option<&[String]>) -> Pipeline {
        let mut steps: Vec<Step> = stages.iter().map(Step::new).collect();
        let filters_of_value = unwrap.map(|unwrap| unwrap.filters.clone()).unwrap_or_default();
        let wanted = outputs.map(|outputs| {
            let mut wanted = outputs.to_vec();
            wanted.extend(unwrap.map(|unwrap| unwrap.label.clone()));
            for step in &steps {
                step.reads(&mut |name| wanted.push(name.to_owned()));
            }
            for filter in &filters_of_value {
                filter.names(&mut |name| wanted.push(name.to_owned()));
            }
            let plain: Vec<String> =
                wanted.iter().filter_map(|n| n.strip_suffix("_extracted")).map(str::to_owned).collect();
            wanted.extend(plain);
            wanted.sort_unstable();
            wanted.dedup();
            wanted
        });
        let wants = |is_it: fn(&[String]) -> bool| wanted.as_deref().is_some_and(is_it);
        // What finds labels alone has nothing to find then, and no line is at fault.
        if wants(<[String]>::is_empty) {
            steps.retain(|step| !step.only_finds_labels());
        }
        let asks_for_errors = wants(|names| names.iter().any(|name| name == ERROR));
        let reads_line = steps.iter().any(Step::reads_line);
        let changes_line = stages
            .iter()
            .any(|stage| matches!(stage, Stage::LineFormat(_) | Stage::Unpack | Stage::Decolorize));
        Pipeline { steps, filters_of_value, wanted, asks_for_errors, reads_line, changes_line }
    }

    /// Whether any stage looks at the line itself.
    pub fn reads_line(&self) -> bool {
        self.reads_line
    }

    pub fn changes_line(&self) -> bool {
        self.changes_line
    }

    /// Whether a template may ask for the line's time.
    pub fn reads_time(&self) -> bool {
        let formats = |stage: &Stage| matches!(stage, Stage::LineFormat(_) | Stage::LabelFormat(_));
        self.steps.iter().any(|step| matches!(step, Step::Stage(stage) if formats(stage)))
    }

    /// Names of the labels that stages or the asker read; `None` where it is all.
    pub fn wanted(&self) -> Option<&[String]> {
        self.wanted.as_deref()
    }

    /// The labels that are enough to know of a JSON line, where `| json` is all that looks at it.
    pub fn json_labels(&self) -> Option<Vec<String>> {
        let mut json = false;
        for step in self.steps.iter().filter(|step| step.reads_line()) {
            match step {
                Step::Stage(Stage::Json(wanted)) if wanted.is_empty() => json = true,
                _ => return None,
            }
        }
        let own = |name: &&String| !matches!(name.as_str(), ERROR | ERROR_DETAILS);
        json.then(|| Some(self.wanted.as_ref()?.iter().filter(own).cloned().collect())).flatten()
    }

    /// Runs the stages over a line of JSON that was read before: `extract` writes down its labels where `| json` would.
    /// Only where [`json_labels`](Self::json_labels) tells labels. Whether the line passes.
    pub fn run_json(&self, ts_ns: i64, fields: &mut Fields, extract: &dyn Fn(&mut Fields)) -> bool {
        self.steps.iter().all(|step| match step {
            Step::Line { .. } => false,
            Step::Stage(Stage::Json(_)) => {
                extract(fields);
                true
            }
            Step::Stage(stage) => self.stage(stage, ts_ns, "", fields).is_some(),
        })
    }

    /// What a JSON line's labels must hold, all of it, where `| json` comes first and only comparisons follow. `None` for
    /// other pipelines.
    pub fn label_tests(&self) -> Option<Vec<LabelTest<'_>>> {
        let mut stages = self.steps.iter().map(|step| match step {
            Step::Stage(stage) => Some(stage),
            Step::Line { .. } => None,
        });
        if !matches!(stages.next()?, Some(Stage::Json(wanted)) if wanted.is_empty()) {
            return None;
        }
        let mut tests = vec![];
        for stage in stages {
            let Some(Stage::Label(filter)) = stage else { return None };
            match filter {
                LabelFilter::Text(matcher) if matcher.name == ERROR && matcher.matches("") => {}
                other => tests.push(LabelTest::of(other)?),
            }
        }
        Some(tests)
    }

    /// The same for who reads the lines.
    pub fn tests_to_hand_on(&self) -> LabelTests {
        LabelTests(self.label_tests().unwrap_or_default().iter().map(LabelTest::to_hand_on).collect())
    }

    /// Whether a line that `| json` cannot read is dropped for its error.
    pub fn drops_broken_json(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Stage(Stage::Label(LabelFilter::Text(matcher))) => {
                matcher.name == ERROR && !matcher.matches(JSON_ERROR)
            }
            _ => false,
        })
    }

    /// No stage touches labels: the labels after it are those before.
    pub fn keeps_labels(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Line { .. }))
    }

    /// The line after all stages, or `None` where a filter dropped it. `fields` has been started with the line's
    /// stream and metadata.
    pub fn run<'l>(&self, ts_ns: i64, line: &'l str, fields: &mut Fields) -> Option<Cow<'l, str>> {
        let mut line = Cow::Borrowed(line);
        for step in &self.steps {
            match step {
                Step::Line { negated, any } => {
                    if any.iter().any(|test| test.passes(&line)) == *negated {
                        return None;
                    }
                }
                Step::Stage(stage) => {
                    if let Some(changed) = self.stage(stage, ts_ns, &line, fields)? {
                        line = Cow::Owned(changed);
                    }
                }
            }
        }
        Some(line)
    }

    /// Whether the filters behind `unwrap` keep a line whose value was taken: they see the error of one that is no number.
    pub fn keeps_value(&self, fields: &mut Fields) -> bool {
        self.filters_of_value.iter().all(|filter| passes(filter, fields))
    }

    /// Notes why a parser failed, as Loki does: not where all that is wanted was found before.
    fn fault(&self, error: &'static str, why: &str, fields: &mut Fields) {
        let has_all = |wanted: &Vec<String>| wanted.iter().all(|name| fields.is_parsed_label(name));
        if self.wanted.as_ref().is_some_and(has_all) {
            return;
        }
        fields.fail(error, why);
        if self.asks_for_errors {
            fields.excuse();
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|w| w == name))
    }

    /// `None` drops the line; `Some(Some(_))` replaces it.
    fn stage(&self, stage: &Stage, ts_ns: i64, line: &str, fields: &mut Fields) -> Option<Option<String>> {
        match stage {
            Stage::Line(_) => {}
            Stage::Json(wanted) if wanted.is_empty() => {
                if let Err(why) =
                    json::flatten(line, self.wanted.as_deref(), &mut |k, v| fields.extract(k, v))
                {
                    self.fault(JSON_ERROR, why, fields);
                }
            }
            Stage::Json(wanted) => self.json_fields(wanted, line, fields),
            Stage::Logfmt { strict, keep_empty, fields: wanted } => {
                self.logfmt(*strict, *keep_empty, wanted, line, fields);
            }
            Stage::Regexp(regex) => {
                if let Some(captures) = regex.captures(line) {
                    for (name, found) in regex.capture_names().zip(captures.iter()) {
                        if let Some(name) = name {
                            fields.extract(name, found.map_or("", |found| found.as_str()));
                        }
                    }
                }
            }
            Stage::Pattern(pattern) => pattern.captures(line, &mut |name, value| fields.extract(name, value)),
            Stage::Unpack => return Some(self.unpack(line, fields)),
            Stage::LineFormat(template) => return Some(render(template, ts_ns, line, fields)),
            Stage::LabelFormat(formats) => {
                for format in formats {
                    match format {
                        LabelFormat::Rename { to, from } => fields.rename(from, to),
                        LabelFormat::Template { to, template } => {
                            if let Some(value) = render(template, ts_ns, line, fields) {
                                fields.set(to, &value);
                            }
                        }
                    }
                }
            }
            Stage::Label(filter) => return passes(filter, fields).then_some(None),
            Stage::Drop(picks) => {
                for pick in picks {
                    let drops = match pick {
                        LabelPick::Name(_) => true,
                        LabelPick::Matching(matcher) => {
                            matcher.matches(fields.get(&matcher.name).unwrap_or(""))
                        }
                    };
                    if drops {
                        fields.remove(pick.name());
                    }
                }
            }
            Stage::Keep(picks) => fields.retain(|name, value| {
                // What a line calls an error stays as one does.
                matches!(name, ERROR | ERROR_DETAILS)
                    || picks.iter().any(|pick| match pick {
                        LabelPick::Name(kept) => kept == name,
                        LabelPick::Matching(matcher) => matcher.name == name && matcher.matches(value),
                    })
            }),
            Stage::Decolorize => {
                if let (Some(color), true) = (COLOR.as_ref(), line.contains(['\u{1b}', '\u{9b}'])) {
                    return Some(Some(color.replace_all(line, "").into_owned()));
                }
            }
        }
        Some(None)
    }

    fn logfmt(
        &self,
        strict: bool,
        keep_empty: bool,
        wanted: &[LogfmtField],
        line: &str,
        fields: &mut Fields,
    ) {
        let mut name = String::new();
        // Asked for by name, they are there, empty.
        for field in wanted {
            fields.begin(&field.label);
        }
        let ended = logfmt::pairs(line, strict, &mut |key, value| {
            let is_broken = value.contains(char::REPLACEMENT_CHARACTER);
            if wanted.is_empty() {
                if value.is_empty() && !keep_empty {
                    return;
                }
                json::sanitize(key, &mut name);
                if !name.is_empty() && self.wants(&name) {
                    match is_broken {
                        true => fields.extract(&name, &value.replace(char::REPLACEMENT_CHARACTER, " ")),
                        false => fields.extract(&name, value),
                    }
                }
            } else {
                json::sanitize(key, &mut name);
                // A key is also its own label where it is among them.
                let is_one = wanted.iter().any(|field| field.key == name);
                let asked = |field: &&LogfmtField| field.key == name || !is_one && field.label == name;
                for field in wanted.iter().filter(asked) {
                    fields.extract_last(&field.label, if is_broken { "" } else { value });
                }
            }
        });
        if let Err(why) = ended {
            self.fault(LOGFMT_ERROR, &why, fields);
        }
    }

    fn json_fields(&self, wanted: &[JsonField], line: &str, fields: &mut Fields) {
        if line.is_empty() {
            return;
        }
        if !line.starts_with(['{', '[', '"']) {
            return self.fault(JSON_ERROR, "", fields);
        }
        if json::begins_with_key(line) {
            self.fault(JSON_ERROR, json::MALFORMED, fields);
        }
        for field in wanted {
            match json::at_path(line, &field.steps) {
                Ok(None) => {}
                Ok(Some(value)) => fields.extract_over(&field.label, &value),
                Err(why) => self.fault(JSON_ERROR, why, fields),
            }
        }
        // Asked for by name, they are there, empty, where nothing else is called so.
        for field in wanted {
            if fields.get(&field.label).is_none() {
                fields.set(&field.label, "");
            }
        }
    }

    fn unpack(&self, line: &str, fields: &mut Fields) -> Option<String> {
        if !line.starts_with('{') {
            if !line.is_empty() {
                self.fault(JSON_ERROR, "expecting json object(6), but it is not", fields);
            }
            return None;
        }
        let (mut entry, mut labels, mut name) = (None, vec![], String::new());
        let unpacked = json::strings(line, &mut |key, value| {
            if key == "_entry" {
                entry = Some(value.to_owned());
                return;
            }
            json::sanitize(key, &mut name);
            if self.wants(&name) {
                labels.push((name.clone(), value.to_owned()));
            }
        });
        if let Err(why) = unpacked {
            self.fault(JSON_ERROR, why, fields);
            return None;
        }
        // A line that was not packed stays as it is.
        if entry.is_some() {
            labels.iter().for_each(|(name, value)| fields.extract(name, value));
        }
        entry
    }
}

impl Step {
    fn new(stage: &Stage) -> Step {
        match stage {
            Stage::Line(filter) => Step::Line {
                negated: filter.negated,
                any: filter
                    .any
                    .iter()
                    .map(|one| match one {
                        LineMatch::Text(text) => {
                            LineTest::Text(Box::new(Finder::new(text.as_bytes()).into_owned()))
                        }
                        other => LineTest::Other(other.clone()),
                    })
                    .collect(),
            },
            other => Step::Stage(other.clone()),
        }
    }

    fn reads(&self, see: &mut impl FnMut(&str)) {
        let Step::Stage(stage) = self else { return };
        match stage {
            Stage::LineFormat(template) => template.fields(see),
            Stage::LabelFormat(formats) => {
                for format in formats {
                    match format {
                        LabelFormat::Rename { from, .. } => see(from),
                        LabelFormat::Template { template, .. } => template.fields(see),
                    }
                }
            }
            Stage::Label(filter) => filter.names(see),
            Stage::Drop(picks) => {
                for pick in picks {
                    if let LabelPick::Matching(matcher) = pick {
                        see(&matcher.name);
                    }
                }
            }
            _ => {}
        }
    }

    /// `unpack` also changes the line.
    fn only_finds_labels(&self) -> bool {
        match self {
            Step::Line { .. } => false,
            Step::Stage(stage) => {
                matches!(stage, Stage::Json(_) | Stage::Logfmt { .. } | Stage::Regexp(_) | Stage::Pattern(_))
            }
        }
    }

    fn reads_line(&self) -> bool {
        match self {
            Step::Line { .. } => true,
            Step::Stage(stage) => !matches!(stage, Stage::Label(_) | Stage::Drop(_) | Stage::Keep(_)),
        }
    }
}

impl LineTest {
    fn passes(&self, line: &str) -> bool {
        match self {
            LineTest::Text(finder) => finder.find(line.as_bytes()).is_some(),
            LineTest::Other(LineMatch::Text(text)) => line.contains(text.as_str()),
            LineTest::Other(LineMatch::Regex(regex)) => regex.is_match(line),
            LineTest::Other(LineMatch::Pattern(pattern)) => pattern.matches(line),
            LineTest::Other(LineMatch::Ip(ip)) => ip.found_in(line),
        }
    }
}

fn render(template: &Template, ts_ns: i64, line: &str, fields: &mut Fields) -> Option<String> {
    let mut out = String::new();
    let rendered = {
        let field = |name: &str| fields.get(name).map(str::to_owned);
        let all = || {
            let mut all: Vec<(String, String)> =
                fields.iter().map(|(name, value, _)| (name.to_owned(), value.to_owned())).collect();
            all.sort();
            all
        };
        template.render(&Scope { field: &field, all: &all, line, ts_ns }, &mut out)
    };
    match rendered {
        Ok(()) => Some(out),
        Err(why) => {
            fields.fail(TEMPLATE_ERROR, &why);
            None
        }
    }
}

/// Why a value is no number, in the words of those who are used to Loki.
fn fault(unit: Unit, text: &str) -> String {
    match unit {
        Unit::Plain => float_fault(text),
        Unit::Duration => duration_fault(text),
        Unit::Bytes => bytes_fault(text),
    }
}

fn number(unit: Unit, text: &str) -> Option<f64> {
    match unit {
        Unit::Plain => parse_value(text),
        Unit::Duration => parse_go_duration_ns(text).map(|ns| ns as f64),
        Unit::Bytes => parse_bytes(text).map(|bytes| bytes as f64),
    }
}

/// A value that is no number has its line pass with an error, which only a text filter on `__error__` sorts out.
fn passes(filter: &LabelFilter, fields: &mut Fields) -> bool {
    match filter {
        LabelFilter::Text(matcher) => matcher.matches(fields.get(&matcher.name).unwrap_or("")),
        LabelFilter::And(left, right) => {
            let left = passes(left, fields);
            passes(right, fields) && left
        }
        LabelFilter::Or(left, right) => passes(left, fields) || passes(right, fields),
        LabelFilter::Ip { name, negated, ip } => {
            fields.failed() || fields.get(name).is_some_and(|value| ip.found_in(value) != *negated)
        }
        LabelFilter::Number { name, .. } if matches!(name.as_str(), ERROR | ERROR_DETAILS) => false,
        LabelFilter::Number { name, op, value, unit } => {
            let Some(text) = fields.get(name) else { return false };
            match number(*unit, text) {
                Some(number) => op.holds(number, *value),
                None => {
                    // The first error of a line says most.
                    if !fields.failed() {
                        let why = fault(*unit, text);
                        fields.fail(FILTER_ERROR, &why);
                    }
                    true
                }
            }
        }
    }
}

impl Unwrap {
    /// The number that the label holds. A value that is none leaves an error in `fields`, whose line counts as 0;
    /// without the label the line gives no sample.
    pub fn value(&self, fields: &mut Fields) -> Option<f64> {
        let text = fields.get(&self.label).filter(|text| !text.is_empty())?;
        let number = match self.conversion {
            Conversion::Number => parse_value(text),
            Conversion::Bytes => parse_bytes(text).map(|bytes| bytes as f64),
            Conversion::Duration | Conversion::DurationSeconds => {
                parse_go_duration_ns(text).map(|ns| ns as f64 / 1e9)
            }
        };
        if number.is_none() {
            let unit = match self.conversion {
                Conversion::Number => Unit::Plain,
                Conversion::Bytes => Unit::Bytes,
                Conversion::Duration | Conversion::DurationSeconds => Unit::Duration,
            };
            let why = fault(unit, text);
            fields.fail(UNWRAP_ERROR, &why);
        }
        Some(number.unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests;
