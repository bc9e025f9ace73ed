//! From a query's tree to operators.
//!
//! What can be decided before reading is decided here: hints for the scan, which columns it needs, and the grouping of
//! `sum by (…) (rate(…))` moved into the range aggregation, so that labels nobody asked for are never made.

use super::combine::Combine;
use super::lines::Lines;
use super::matrix::Steps;
use super::operator::Operator;
use super::range::{Extremes, RangeAggregate};
use super::scan::{Counters, LogScan};
use crate::QueryError;
use datafusion::physical_plan::ExecutionPlan;
use logql::{
    Binary, Grouping, LineMatch, LineOp, LogExpr, LogRange, MetricExpr, Pipeline, RangeOp, Stage, VectorOp,
};
use model::{LinePattern, LogSelect, TimeRange};
use regex::Regex;
use std::sync::Arc;
use store::{LogColumns, Snapshot};

pub(crate) struct Planner {
    pub snapshot: Arc<dyn Snapshot>,
    pub counters: Arc<Counters>,
    pub steps: Steps,
    /// Whether lines have a level that is asked for by no name.
    pub levels: bool,
}

type Plan = Arc<dyn ExecutionPlan>;
/// With the scan below it.
type Range = (RangeAggregate, Plan);

impl Planner {
    pub fn lines(&self, log: &LogExpr, range: TimeRange, limit: usize, newest_first: bool) -> Plan {
        let pipeline = Pipeline::new(&log.stages, None, None);
        let filters = log.stages.iter().any(|stage| matches!(stage, Stage::Line(_) | Stage::Label(_)));
        let left: Vec<Stage> = left_to_judge(&log.stages).cloned().collect();
        let json_tests = Pipeline::new(&left, None, None).tests_to_hand_on();
        let limit_of_scan = (!filters).then_some(limit);
        let select = LogSelect { limit: limit_of_scan, newest_first, json_tests, ..select(log, range) };
        let scan = self.scan(
            select,
            LogColumns::named(&[
                "ts",
                "severity_number",
                "body",
                "trace_id",
                "span_id",
                "attributes",
                "resource",
                "stream",
            ]),
        );
        Operator::plan(
            Lines {
                pipeline,
                matchers: log.matchers.clone(),
                range,
                limit,
                newest_first,
                levels: self.levels,
            },
            vec![scan],
        )
    }

    fn scan(&self, select: LogSelect, columns: LogColumns) -> Plan {
        let scan =
            LogScan { snapshot: self.snapshot.clone(), select, columns, counters: self.counters.clone() };
        Operator::plan(scan, vec![])
    }

    /// A recursion as deep as the parser lets a tree be.
    pub async fn metric(&self, expr: &MetricExpr) -> Result<Plan, QueryError> {
        Ok(match expr {
            MetricExpr::Range { op, param, range, grouping } => {
                self.aggregate(self.range(*op, *param, range, grouping.clone()).await?)
            }
            MetricExpr::Vector { op, param, expr, grouping } => {
                if let Some(range) = self.fused(*op, expr, grouping.as_ref()).await? {
                    return Ok(self.aggregate(range));
                }
                let input = match self.extremes(*op, *param, expr, grouping.as_ref()).await? {
                    Some(range) => self.aggregate(range),
                    None => Box::pin(self.metric(expr)).await?,
                };
                let combine = Combine::Aggregate { op: *op, param: *param, grouping: grouping.clone() };
                Operator::plan(combine, vec![input])
            }
            MetricExpr::Binary(binary) => self.binary(binary).await?,
            MetricExpr::LabelReplace(replace) => {
                let input = Box::pin(self.metric(&replace.expr)).await?;
                let combine = Combine::LabelReplace {
                    to: replace.to.clone(),
                    replacement: replace.replacement.clone(),
                    from: replace.from.clone(),
                    regex: replace.regex.clone(),
                };
                Operator::plan(combine, vec![input])
            }
            MetricExpr::Constant(value) | MetricExpr::Literal(value) => {
                Operator::plan(Combine::Constant { value: *value, steps: self.steps }, vec![])
            }
        })
    }

    /// The aggregation as part of the range aggregation below it, where that gives the same numbers.
    async fn fused(
        &self,
        op: VectorOp,
        expr: &MetricExpr,
        grouping: Option<&Grouping>,
    ) -> Result<Option<Range>, QueryError> {
        let MetricExpr::Range { op: inner, param, range, grouping: None } = expr else { return Ok(None) };
        let adds = matches!(
            inner,
            RangeOp::Count | RangeOp::Rate | RangeOp::Bytes | RangeOp::BytesRate | RangeOp::Sum
        );
        let same = match op {
            VectorOp::Sum => adds,
            VectorOp::Max => *inner == RangeOp::Max,
            VectorOp::Min => *inner == RangeOp::Min,
            _ => false,
        };
        if !same {
            return Ok(None);
        }
        let mut grouping = grouping.cloned().unwrap_or_default();
        // `without` must not see the label that unwrap has taken out.
        if let (true, Some(unwrap)) = (grouping.without, &range.unwrap) {
            grouping.labels.push(unwrap.label.clone());
        }
        self.range(*inner, *param, range, Some(grouping)).await.map(Some)
    }

    /// The counts of lines below a `topk` or `bottomk` at one step, of which most need not be handed on.
    async fn extremes(
        &self,
        op: VectorOp,
        keep: Option<usize>,
        expr: &MetricExpr,
        grouping: Option<&Grouping>,
    ) -> Result<Option<Range>, QueryError> {
        let extremes = match (op, keep) {
            (VectorOp::Topk, Some(keep)) => Extremes::Largest(keep),
            (VectorOp::Bottomk, Some(keep)) => Extremes::Smallest(keep),
            _ => return Ok(None),
        };
        let whole = grouping.is_none_or(|grouping| !grouping.without && grouping.labels.is_empty());
        let (true, 1, MetricExpr::Vector { op: VectorOp::Sum, expr, grouping, .. }) =
            (whole, self.steps.count, expr)
        else {
            return Ok(None);
        };
        let range = self.fused(VectorOp::Sum, expr, grouping.as_ref()).await?;
        let counts = range.filter(|(range, _)| matches!(range.op, RangeOp::Count | RangeOp::Rate));
        Ok(counts.map(|(range, scan)| (RangeAggregate { extremes: Some(extremes), ..range }, scan)))
    }

    fn aggregate(&self, (range, scan): Range) -> Plan {
        Operator::plan(range, vec![scan])
    }

    async fn binary(&self, binary: &Binary) -> Result<Plan, QueryError> {
        let (op, returns_bool) = (binary.op, binary.returns_bool);
        let literal = match (&binary.left, &binary.right) {
            (MetricExpr::Literal(number), other) => Some((*number, true, other)),
            (other, MetricExpr::Literal(number)) => Some((*number, false, other)),
            _ => None,
        };
        if let Some((literal, literal_left, other)) = literal {
            let input = Box::pin(self.metric(other)).await?;
            return Ok(Operator::plan(
                Combine::WithLiteral { op, returns_bool, literal, literal_left },
                vec![input],
            ));
        }
        let left = Box::pin(self.metric(&binary.left)).await?;
        let right = Box::pin(self.metric(&binary.right)).await?;
        let combine = Combine::Binary { op, returns_bool, matching: binary.matching.clone() };
        Ok(Operator::plan(combine, vec![left, right]))
    }

    async fn range(
        &self,
        op: RangeOp,
        param: Option<f64>,
        range: &LogRange,
        grouping: Option<Grouping>,
    ) -> Result<Range, QueryError> {
        let outputs = match &grouping {
            _ if op == RangeOp::Absent => Some(Vec::new()),
            Some(Grouping { without: false, labels, .. }) => Some(labels.clone()),
            _ => None,
        };
        let counts_bytes = matches!(op, RangeOp::Bytes | RangeOp::BytesRate);
        let left: Vec<Stage> = left_to_judge(&range.log.stages).cloned().collect();
        let stages = if counts_bytes { left } else { without_idle_formats(left) };
        let pipeline = Pipeline::new(&stages, range.unwrap.as_ref(), outputs.as_deref());
        // Windows are open at the start: (t - range, t].
        let start = self.steps.start_ns.saturating_sub(range.range_ns).saturating_sub(range.offset_ns);
        let end = self.steps.last().saturating_sub(range.offset_ns);
        let select = select(&range.log, TimeRange { start: start.saturating_add(1), end });
        let streams = self.snapshot.log_streams(&select).await?;
        let from_stream = |name: &str| streams.iter().all(|stream| stream.labels.get(name).is_some());
        let reads_level =
            pipeline.wanted().map_or(self.levels, |names| names.iter().any(|n| n == "detected_level"));
        let reads_metadata =
            pipeline.wanted().is_none_or(|names| !names.iter().all(|name| from_stream(name)));
        // Where `| json` alone looks at the line, its labels are enough.
        let json_labels = pipeline.json_labels().filter(|_| !counts_bytes && !reads_level);
        let json_tests = pipeline.tests_to_hand_on();
        let select = LogSelect { json_labels: json_labels.unwrap_or_default(), json_tests, ..select };
        let mut columns = vec!["stream"];
        // What is read for one step is what is in its window: no line has to be told from another by its time.
        if self.steps.count != 1 || range.unwrap.is_some() || pipeline.reads_time() {
            columns.push("ts");
        }
        if pipeline.reads_line() || counts_bytes {
            columns.push("body");
        }
        if reads_level {
            columns.push("severity_number");
        }
        if reads_metadata {
            columns.extend(["attributes", "resource"]);
            let wants = |id: &str| pipeline.wanted().is_none_or(|names| names.iter().any(|name| name == id));
            columns.extend(["trace_id", "span_id"].into_iter().filter(|id| wants(id)));
        }
        let aggregate = RangeAggregate {
            op,
            param,
            pipeline,
            unwrap: range.unwrap.clone(),
            matchers: range.log.matchers.clone(),
            grouping,
            range_ns: range.range_ns,
            offset_ns: range.offset_ns,
            steps: self.steps,
            reads_metadata,
            reads_level,
            extremes: None,
        };
        Ok((aggregate, self.scan(select, LogColumns::named(&columns))))
    }
}

pub(super) fn select(log: &LogExpr, range: TimeRange) -> LogSelect {
    LogSelect {
        matchers: log.matchers.clone(),
        contains: contains(log),
        patterns: patterns(log),
        ..LogSelect::all(range)
    }
}

fn changes_line(stage: &Stage) -> bool {
    matches!(stage, Stage::LineFormat(_) | Stage::Unpack | Stage::Decolorize)
}

/// Strings that every line of the answer has, by the line filters before any stage that changes the line.
fn contains(log: &LogExpr) -> Vec<String> {
    let unchanged = log.stages.iter().take_while(|stage| !changes_line(stage));
    unchanged
        .filter_map(|stage| match stage {
            Stage::Line(filter) if !filter.negated && filter.any.len() == 1 => match &filter.any[0] {
                LineMatch::Regex(regex) => literal_of(regex.as_str()),
                _ => text_of(stage).map(str::to_owned),
            },
            _ => None,
        })
        .filter(|text| !text.is_empty())
        .collect()
}

/// The string that a line filter asks for, where it asks for nothing else.
fn text_of(stage: &Stage) -> Option<&str> {
    match stage {
        Stage::Line(filter) if !filter.negated && filter.op == LineOp::Contains => match &filter.any[..] {
            [LineMatch::Text(text)] => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// The other line filters before any stage that changes the line, as regexes.
fn patterns(log: &LogExpr) -> Vec<LinePattern> {
    let unchanged = log.stages.iter().take_while(|stage| !changes_line(stage));
    unchanged.filter(|stage| text_of(stage).is_none()).filter_map(pattern_of).collect()
}

/// A line filter as one regex, where it is one.
fn pattern_of(stage: &Stage) -> Option<LinePattern> {
    let Stage::Line(filter) = stage else { return None };
    let regex = match &filter.any[..] {
        [LineMatch::Regex(regex)] => regex.regex().clone(),
        any => {
            let alternative = |one: &LineMatch| match one {
                LineMatch::Text(text) => Some(regex::escape(text)),
                LineMatch::Regex(regex) => Some(format!("(?:{})", regex.as_str())),
                LineMatch::Pattern(_) | LineMatch::Ip(_) => None,
            };
            let any: Vec<String> = any.iter().map(alternative).collect::<Option<_>>()?;
            // One that is too large for a regex stays with the pipeline.
            Regex::new(&any.join("|")).ok()?
        }
    };
    Some(LinePattern { regex, negated: filter.negated })
}

/// Stages that the scan has not judged with [`contains`] and [`patterns`]: a count that needs no line then reads none.
fn left_to_judge(stages: &[Stage]) -> impl Iterator<Item = &Stage> {
    let unchanged = stages.iter().take_while(|stage| !changes_line(stage)).count();
    let is_judged = |stage: &Stage| text_of(stage).is_some() || pattern_of(stage).is_some();
    stages.iter().enumerate().filter(move |(at, stage)| *at >= unchanged || !is_judged(stage)).map(|(_, s)| s)
}

/// Stages without the formats of lines that no stage reads any more: they change no number and cannot fail.
fn without_idle_formats(mut stages: Vec<Stage>) -> Vec<Stage> {
    // A format of labels may ask for the line.
    let reads_line = |stage: &Stage| {
        !matches!(
            stage,
            Stage::Label(_) | Stage::Drop(_) | Stage::Keep(_) | Stage::Decolorize | Stage::LineFormat(_)
        )
    };
    let read = stages.iter().rposition(reads_line).map_or(0, |last| last + 1);
    let mut idle = stages.split_off(read);
    idle.retain(|stage| !matches!(stage, Stage::LineFormat(_)));
    stages.extend(idle);
    stages
}

/// The longest string that every match of the regex holds, as far as can be seen without parsing it whole.
pub(crate) fn literal_of(regex: &str) -> Option<String> {
    // An edge of a word, as it stands in regexes of LogQL.
    let regex = regex.replace(r"(?-u:\b)", r"\b");
    if regex.contains("(?") || regex.contains('|') {
        return None;
    }
    let mut best = String::new();
    let mut run = String::new();
    let mut depth = 0usize;
    let mut chars = regex.chars().peekable();
    while let Some(c) = chars.next() {
        let mut literal = None;
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '[' => {
                // A class may begin with `]` or `^]`, which stand for themselves, and hold others: `[[:alpha:]_]`.
                chars.next_if_eq(&'^');
                chars.next_if_eq(&']');
                let mut open = 1usize;
                while open > 0 {
                    match chars.next() {
                        Some('\\') => {
                            chars.next();
                        }
                        Some('[') => open += 1,
                        Some(']') => open -= 1,
                        Some(_) => {}
                        None => break,
                    }
                }
            }
            '{' => while chars.next().is_some_and(|inside| inside != '}') {},
            '\\' => match chars.next() {
                // Escapes of more than one character, which the next ones are part of.
                Some('x' | 'u' | 'U' | 'p' | 'P') => return None,
                escaped => literal = escaped.filter(|escaped| !escaped.is_alphanumeric()),
            },
            '.' | '^' | '$' | '*' | '+' | '?' => {}
            other => literal = Some(other),
        }
        // A group may be optional or repeated, so only what stands outside of all groups counts.
        let kept = literal.filter(|_| depth == 0 && !matches!(chars.peek(), Some('?' | '*' | '{')));
        match kept {
            Some(literal) => run.push(literal),
            None => run.clear(),
        }
        if run.len() > best.len() {
            best.clone_from(&run);
        }
        if chars.peek() == Some(&'+') {
            run.clear();
        }
    }
    (best.len() >= 3).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::literal_of;

    #[test]
    fn literals_of_regexes() {
        for (regex, literal) in [
            ("HTTP/1.1\" 50[02] ", Some("HTTP/1")),
            ("error", Some("error")),
            ("erro?r+wxyz", Some("wxyz")),
            ("a(bcdef)?ghij", Some("ghij")),
            ("foo|bar", None),
            ("(?i)error", None),
            ("ab\\d+\\.cde", Some(".cde")),
            ("x{3}yz", None),
            ("[]abc]defg", Some("defg")),
            (r"\x41bcdef", None),
            (r"\pLong", None),
            (r"(?-u:\b)error [0-9]+", Some("error ")),
            (r"a[\x00-/:-@\[-\^`\{-\x{10FFFF}]bcd", Some("bcd")),
            (r"[[:alpha:]_\.\-]+", None),
            (r"[[:alnum:]_\.]+@here", Some("@here")),
            (r"[^[:space:]\[\]abcd]efg", Some("efg")),
            (r"abc[[:alpha:]", Some("abc")),
        ] {
            assert_eq!(literal_of(regex).as_deref(), literal, "{regex}");
        }
    }
}
