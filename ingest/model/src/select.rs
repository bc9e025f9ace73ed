//! What a snapshot is asked for: which series, streams or spans, and when.

use crate::labels::Labels;
use crate::regexp;
use crate::spans::TraceId;
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};

/// From `start` to `end`, both included. The unit is the table's: ms for metrics, ns for logs and spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    pub start: i64,
    pub end: i64,
}

impl TimeRange {
    pub const ALL: TimeRange = TimeRange { start: i64::MIN, end: i64::MAX };

    #[inline]
    pub fn contains(self, ts: i64) -> bool {
        self.start <= ts && ts <= self.end
    }

    pub fn overlaps(self, first: i64, last: i64) -> bool {
        self.start <= last && first <= self.end
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Match {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

impl Match {
    pub fn as_str(self) -> &'static str {
        match self {
            Match::Equal => "=",
            Match::NotEqual => "!=",
            Match::Regex => "=~",
            Match::NotRegex => "!~",
        }
    }
}

/// One label matcher. A label that a series does not have is "".
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "MatcherText", into = "MatcherText")]
pub struct Matcher {
    pub name: String,
    pub op: Match,
    pub value: String,
    /// Compiled and anchored at both ends; set exactly for the two regex operators.
    regex: Option<Regex>,
}

#[derive(Serialize, Deserialize)]
struct MatcherText {
    name: String,
    op: Match,
    value: String,
}

impl TryFrom<MatcherText> for Matcher {
    type Error = InvalidMatcher;
    fn try_from(text: MatcherText) -> Result<Self, Self::Error> {
        Matcher::new(text.name, text.op, text.value)
    }
}

impl From<Matcher> for MatcherText {
    fn from(matcher: Matcher) -> Self {
        MatcherText { name: matcher.name, op: matcher.op, value: matcher.value }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidMatcher(String);

/// Small regexes that were compiled before. A dashboard asks for the same ones at each refresh, and one that was used
/// has the states of its automaton already.
static KNOWN: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);
const KNOWN_MAX: usize = 32;
/// Of a regex that is kept, and of the states that it gathers in use.
const KNOWN_BYTES_MAX: usize = 256 << 10;

fn anchored(pattern: &str) -> Result<Regex, InvalidMatcher> {
    // A poisoned lock holds what is still right: entries are put in whole.
    let known = || KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(regex) = known().get(pattern) {
        return Ok(regex.clone());
    }
    // `s`: Prometheus lets `.` match a newline.
    let translated = regexp::translated(pattern).map_err(InvalidMatcher)?;
    let mut builder = regex::RegexBuilder::new(&format!("^(?s:{translated})$"));
    let small = builder.size_limit(KNOWN_BYTES_MAX).dfa_size_limit(KNOWN_BYTES_MAX).build();
    let Ok(regex) = small else {
        // The bound keeps `(\pL{100}){10}` from eating memory.
        let large = builder.size_limit(10 << 20).dfa_size_limit(2 << 20).build();
        return large.map_err(|why| InvalidMatcher(regexp::refusal(&why, pattern)));
    };
    let mut known = known();
    if known.len() >= KNOWN_MAX {
        known.clear();
    }
    known.insert(pattern.to_owned(), regex.clone());
    Ok(regex)
}

impl Matcher {
    pub fn new(
        name: impl Into<String>,
        op: Match,
        value: impl Into<String>,
    ) -> Result<Matcher, InvalidMatcher> {
        let value = value.into();
        let regex = match op {
            Match::Regex | Match::NotRegex => Some(anchored(&value)?),
            _ => None,
        };
        Ok(Matcher { name: name.into(), op, value, regex })
    }

    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Matcher {
        Matcher { name: name.into(), op: Match::Equal, value: value.into(), regex: None }
    }

    /// Whether a label of this value passes; "" stands for a label that is not there.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (Match::Equal, _) => self.value == value,
            (Match::NotEqual, _) => self.value != value,
            (Match::Regex, Some(regex)) => regex.is_match(value),
            (Match::NotRegex, Some(regex)) => !regex.is_match(value),
            (_, None) => false,
        }
    }

    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or(""))
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Series whose labels pass all of `matchers`, with samples in `range` (ms).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesSelect {
    pub matchers: Vec<Matcher>,
    pub range: TimeRange,
}

/// A regex that a log line must match somewhere, or must not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "LinePatternText", into = "LinePatternText")]
pub struct LinePattern {
    pub regex: Regex,
    pub negated: bool,
}

#[derive(Serialize, Deserialize)]
struct LinePatternText {
    regex: String,
    negated: bool,
}

/// As large as the query that it came from may make it.
const LINE_PATTERN_BYTES_MAX: usize = 10 << 20;

impl TryFrom<LinePatternText> for LinePattern {
    type Error = InvalidMatcher;
    fn try_from(text: LinePatternText) -> Result<Self, Self::Error> {
        let regex = regex::RegexBuilder::new(&text.regex).size_limit(LINE_PATTERN_BYTES_MAX).build();
        let regex = regex.map_err(|why| InvalidMatcher(why.to_string()))?;
        Ok(LinePattern { regex, negated: text.negated })
    }
}

impl From<LinePattern> for LinePatternText {
    fn from(pattern: LinePattern) -> Self {
        LinePatternText { regex: pattern.regex.as_str().to_owned(), negated: pattern.negated }
    }
}

impl PartialEq for LinePattern {
    fn eq(&self, other: &Self) -> bool {
        (self.regex.as_str(), self.negated) == (other.regex.as_str(), other.negated)
    }
}

impl LinePattern {
    pub fn passes(&self, line: &str) -> bool {
        self.regex.is_match(line) != self.negated
    }
}

/// Log records of the streams that pass `matchers`, in `range` (ns).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogSelect {
    /// On stream labels.
    pub matchers: Vec<Matcher>,
    pub range: TimeRange,
    /// Only records whose body has each of these strings, in the case as written (not a hint).
    pub contains: Vec<String>,
    /// Only records whose body passes all of these (not a hint).
    #[serde(default)]
    pub patterns: Vec<LinePattern>,
    /// Only records of this trace.
    pub trace_id: Option<TraceId>,
    /// At most so many records are wanted, newest first (`Some(true)`) or oldest first (`Some(false)`).
    /// A hint: more may come back, never a wrong set.
    pub limit: Option<usize>,
    pub newest_first: bool,
    /// Of bodies that are JSON, the labels that `| json` makes are wanted and not the bodies. A hint: rows whose labels
    /// are handed out say so, all others have their body.
    #[serde(default)]
    pub json_labels: Vec<String>,
    /// Of bodies that are JSON, the texts of the values at these paths of keys are wanted and not the bodies. A hint as the
    /// labels are, of which none are wanted then.
    #[serde(default)]
    pub json_values: Vec<Vec<String>>,
    /// Only records of which these columns say this: service, namespace, pod, container, node. Only narrows.
    #[serde(default)]
    pub places: Vec<(String, String)>,
    /// Records that have no label that passes are not wanted. Only narrows, and only where it costs little.
    #[serde(skip)]
    pub json_tests: LabelTests,
    /// Only records whose body has these words, all of the list. Only narrows: more may come back and the asker filters.
    #[serde(default)]
    pub words: Vec<WordQuery>,
}

/// Decides over lines by a label that `| json` makes.
pub trait TestLabel: fmt::Debug + Send + Sync {
    fn name(&self) -> &str;

    /// Whether a line passes whose label has this value; `None` where it is not the value alone that decides.
    fn passes(&self, value: Option<&str>) -> Option<bool>;
}

/// All must let a line pass. Two are equal when they are the same ones.
#[derive(Clone, Debug, Default)]
pub struct LabelTests(pub Vec<Arc<dyn TestLabel>>);

impl PartialEq for LabelTests {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

/// What words a text has. A word is a run of ASCII letters, digits, `_` and characters beyond ASCII; the case of ASCII
/// letters does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WordQuery {
    Word(String),
    /// A word begins with it.
    Prefix(String),
    /// Words that follow one another.
    Phrase(Vec<String>),
    All(Vec<WordQuery>),
    Any(Vec<WordQuery>),
    Not(Box<WordQuery>),
}

impl LogSelect {
    pub fn all(range: TimeRange) -> LogSelect {
        LogSelect {
            matchers: vec![],
            range,
            contains: vec![],
            patterns: vec![],
            trace_id: None,
            limit: None,
            newest_first: true,
            json_labels: vec![],
            json_values: vec![],
            places: vec![],
            json_tests: LabelTests::default(),
            words: vec![],
        }
    }

    /// Without what only the records themselves tell.
    pub fn of_streams(&self) -> LogSelect {
        LogSelect { contains: vec![], patterns: vec![], trace_id: None, ..self.clone() }
    }
}

/// Spans that start in `range` (ns). The other fields narrow the read; what comes back may hold more and the asker
/// filters again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanSelect {
    pub range: TimeRange,
    /// Exactly the spans of these traces (not a hint). Empty: any.
    pub trace_ids: Vec<TraceId>,
    pub service: Option<String>,
    pub name: Option<String>,
    pub duration_ns_min: Option<i64>,
    /// Only spans with status error.
    pub errors_only: bool,
    /// Attributes of the span itself, by name and text. A span whose attribute is a list is not judged by it.
    #[serde(default)]
    pub attributes: Vec<(String, String)>,
    /// What comes as columns of their own behind the others: who wants one or two attributes need not have all put together.
    #[serde(default)]
    pub fields: Vec<SpanField>,
    /// One, counted from 0, of so many shares that together are all. Only who reads the store itself divides.
    #[serde(skip)]
    pub share: Option<(usize, usize)>,
}

/// An attribute of spans or of their resource, or what many spans share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum SpanField {
    Span(String),
    Resource(String),
    /// Attributes of the resource, a map, and their type bytes: a dictionary, of which each span has a key.
    Resources,
    /// The number of what the span's trace is rooted in, which only the store itself knows.
    Root,
}

impl SpanField {
    /// The name of its column. That of an attribute is of texts, null where a span does not have it.
    pub fn column(&self) -> String {
        match self {
            SpanField::Resources => "resources".into(),
            SpanField::Root => "root".into(),
            SpanField::Span(name) => format!("span:{name}"),
            SpanField::Resource(name) => format!("resource:{name}"),
        }
    }

    /// The name of the column of an attribute's type bytes.
    pub fn types(&self) -> String {
        format!("types:{}", self.column())
    }
}

impl SpanSelect {
    /// Whether an attribute's text may be the asked one.
    pub fn fits(asked: &str, text: &str) -> bool {
        asked == text || text.starts_with('[')
    }
}

impl SpanSelect {
    pub fn all(range: TimeRange) -> SpanSelect {
        SpanSelect {
            range,
            trace_ids: vec![],
            service: None,
            name: None,
            duration_ns_min: None,
            errors_only: false,
            attributes: vec![],
            fields: vec![],
            share: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_anchored_and_see_an_absent_label_as_empty() {
        let labels = Labels::from_pairs([("job", "api-1")]);
        let check =
            |name: &str, op, value: &str| Matcher::new(name, op, value).unwrap().matches_labels(&labels);
        assert!(check("job", Match::Regex, "api-.*"));
        assert!(!check("job", Match::Regex, "api"));
        assert!(check("job", Match::NotRegex, "api"));
        assert!(check("absent", Match::Equal, ""));
        assert!(check("absent", Match::Regex, "x|"));
        assert!(!check("absent", Match::NotEqual, ""));
        let route = Matcher::new("route", Match::Regex, "/users/{id}|/carts").unwrap();
        assert!(route.matches("/users/{id}") && !route.matches("/users/7"), "the brace begins no count");
        let refused = Matcher::new("job", Match::Regex, "(").unwrap_err();
        assert_eq!(refused.to_string(), "error parsing regexp: missing closing ): `(`");
    }

    #[test]
    fn more_regexes_than_are_kept_match_as_the_first_ones_do() {
        for round in 0..2 {
            for n in 0..2 * KNOWN_MAX {
                let matcher = Matcher::new("job", Match::Regex, format!("api-{n}.?")).unwrap();
                assert!(matcher.matches(&format!("api-{n}x")) && !matcher.matches("api-"), "{round} {n}");
            }
        }
        assert!(KNOWN.lock().unwrap().len() <= KNOWN_MAX);
        // Too large to be kept, and so large that it is refused.
        assert!(Matcher::new("job", Match::Regex, "x{1000}x{1000}").unwrap().matches(&"x".repeat(2_000)));
        assert!(Matcher::new("job", Match::Regex, "(x{1000}){1000}").is_err());
    }
}
