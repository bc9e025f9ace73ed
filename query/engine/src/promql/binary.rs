//! Arithmetic, comparison and set operators between scalars and vectors.

use super::matrix::{Matrix, Row, Sample, Series};
use super::node::{Node, Times, same_labels, scalar, scalar_at, without_name};
use super::notes::Notes;
use crate::QueryError;
use crate::room::Room;
use ::promql::{BinaryOp, Cardinality, Matching};
use model::{Histogram, LabelSetBuilder, Labels, ResetHint};
use std::collections::HashMap;
use std::sync::Arc;

/// Which sides are scalars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScalarSide {
    Left,
    Right,
    Both,
}

#[derive(Debug)]
pub(super) struct Join {
    pub op: BinaryOp,
    pub returns_bool: bool,
    pub matching: Matching,
    pub scalar: Option<ScalarSide>,
    pub times: Times,
    pub notes: Notes,
    /// Where it stands in the query.
    pub at: usize,
}

#[async_trait::async_trait]
impl Node for Join {
    fn name(&self) -> &'static str {
        "PromJoin"
    }

    fn details(&self) -> String {
        format!("{}{}", self.op.as_str(), self.matching)
    }

    async fn evaluate(&self, inputs: Vec<Matrix>, _: &Room) -> Result<Matrix, QueryError> {
        let mut inputs = inputs.into_iter();
        let (Some(left), Some(right)) = (inputs.next(), inputs.next()) else { return Ok(Matrix::default()) };
        match self.scalar {
            Some(ScalarSide::Both) => Ok(scalar((0..self.times.count).map(|step| {
                let (left, right) = (scalar_at(&left, step), scalar_at(&right, step));
                compare(self.op, left, right)
                    .map_or_else(|| compute(self.op, left, right), |truth| f64::from(u8::from(truth)))
            }))),
            Some(side) => Ok(self.with_scalar(left, right, side)),
            None if self.op.is_set() => Ok(self.set(left, right)),
            None => self.vectors(left, right),
        }
    }
}

/// Of a pair: what comes out, and whether a comparison keeps it.
struct Outcome {
    sample: Sample,
    keep: bool,
}

impl Join {
    /// `None` where the pair has no answer, which a note then tells.
    fn pair(&self, left: &Sample, right: &Sample) -> Option<Outcome> {
        match (left, right) {
            (Sample::Number(a), Sample::Number(b)) => match self.op {
                BinaryOp::TrimUpper | BinaryOp::TrimLower => self.incompatible("float", "float"),
                op => Some(match compare(op, *a, *b) {
                    None => Outcome { sample: Sample::Number(compute(op, *a, *b)), keep: true },
                    Some(keep) => Outcome { sample: Sample::Number(*a), keep },
                }),
            },
            (Sample::Number(a), Sample::Histogram(b)) => match self.op {
                BinaryOp::Mul => histogram((**b).clone().scaled(*a).compact()),
                _ => self.incompatible("float", "histogram"),
            },
            (Sample::Histogram(a), Sample::Number(b)) => match self.op {
                BinaryOp::Mul => histogram((**a).clone().scaled(*b).compact()),
                BinaryOp::Div => histogram((**a).clone().divided(*b).compact()),
                BinaryOp::TrimUpper => histogram((**a).clone().trimmed(*b, true)),
                BinaryOp::TrimLower => histogram((**a).clone().trimmed(*b, false)),
                _ => self.incompatible("histogram", "float"),
            },
            (Sample::Histogram(a), Sample::Histogram(b)) => match self.op {
                BinaryOp::Add | BinaryOp::Sub => self.sum(a, b),
                BinaryOp::Eql => Some(Outcome { sample: left.clone(), keep: a == b }),
                BinaryOp::Neq => Some(Outcome { sample: left.clone(), keep: a != b }),
                _ => self.incompatible("histogram", "histogram"),
            },
        }
    }

    fn incompatible(&self, left: &str, right: &str) -> Option<Outcome> {
        let op = self.op.as_str();
        self.notes.info(
            self.at,
            format_args!(
                "incompatible sample types encountered for binary operator {op:?}: {left} {op} {right}"
            ),
        );
        None
    }

    fn sum(&self, a: &Histogram, b: &Histogram) -> Option<Outcome> {
        let adds = self.op == BinaryOp::Add;
        let mut result = a.clone();
        let combined = if adds { result.add(b) } else { result.subtract(b) };
        let operation = if adds { "addition" } else { "subtraction" };
        match combined {
            Err(_) => {
                let op = self.op.as_str();
                self.notes.warn(
                    self.at,
                    format_args!("incompatible bucket layout encountered for binary operator {op}"),
                );
                return None;
            }
            Ok(told) => {
                if told.hints_collide {
                    self.notes.hints_collide(self.at, operation);
                }
                if told.bounds_reconciled {
                    self.notes.bounds_reconciled(self.at, operation);
                }
            }
        }
        if !adds {
            result.hint = ResetHint::Gauge;
        }
        histogram(result.compact())
    }

    /// Whether what comes out is no more the metric that went in.
    fn changes_metric(&self) -> bool {
        !self.op.is_comparison() && !matches!(self.op, BinaryOp::TrimUpper | BinaryOp::TrimLower)
    }

    fn with_scalar(&self, left: Matrix, right: Matrix, side: ScalarSide) -> Matrix {
        let (vector, number) = if side == ScalarSide::Left { (right, left) } else { (left, right) };
        let drops = self.changes_metric() || self.returns_bool;
        let series = vector.0.into_iter().map(|series| {
            let drop_name = series.drop_name || drops;
            if !series.histograms.is_empty() {
                return Series { drop_name, ..self.mixed_with_scalar(series, &number, side) };
            }
            let values = series.values.iter().enumerate().map(|(step, value)| {
                let (value, number) = (value?, scalar_at(&number, step));
                let (left, right) = if side == ScalarSide::Left { (number, value) } else { (value, number) };
                match compare(self.op, left, right) {
                    None if !self.changes_metric() => {
                        self.incompatible("float", "float");
                        None
                    }
                    None => Some(compute(self.op, left, right)),
                    Some(truth) if self.returns_bool => Some(f64::from(u8::from(truth))),
                    Some(truth) => truth.then_some(value),
                }
            });
            Series { values: values.collect(), labels: series.labels, drop_name, histograms: vec![] }
        });
        Matrix(series.collect()).without_empty()
    }

    fn mixed_with_scalar(&self, series: Series, number: &Matrix, side: ScalarSide) -> Series {
        let mut row = Row::new(self.times.count);
        for step in 0..self.times.count {
            let Some(sample) = series.at(step) else { continue };
            let number = Sample::Number(scalar_at(number, step));
            let swapped = side == ScalarSide::Left;
            let (left, right) = if swapped { (&number, &sample) } else { (&sample, &number) };
            let Some(Outcome { sample: found, keep }) = self.pair(left, right) else { continue };
            if self.returns_bool {
                row.set(step, Sample::Number(f64::from(u8::from(keep))));
            } else if keep {
                // A comparison keeps the vector's own sample, on whichever side it stands.
                row.set(step, if self.op.is_comparison() { sample } else { found });
            }
        }
        row.series(series.labels, series.drop_name)
    }

    /// What two series must have alike.
    fn signature(&self, labels: &Labels) -> Vec<u8> {
        let named = |name: &str| self.matching.labels.iter().any(|label| label == name);
        let kept = |name: &str| {
            if self.matching.on { named(name) } else { name != model::METRIC_NAME && !named(name) }
        };
        let mut pairs: Vec<(&str, &str)> = labels.iter().filter(|(name, _)| kept(name)).collect();
        let mut key = vec![];
        // Names of a label set are never empty or doubled.
        let _ = LabelSetBuilder::encode_into(&mut pairs, &mut key);
        key
    }

    /// Series of both sides by what they have alike, in the order in which it is first seen.
    fn match_groups(&self, many: &Matrix, one: &Matrix) -> Vec<MatchGroup> {
        let mut groups: Vec<MatchGroup> = vec![];
        let mut known: HashMap<Vec<u8>, usize> = HashMap::with_capacity(many.0.len().max(one.0.len()));
        for (is_many, matrix) in [(true, many), (false, one)] {
            for (at, series) in matrix.0.iter().enumerate() {
                let signature = self.signature(&series.labels);
                let group = *known.entry(signature).or_insert_with_key(|signature| {
                    let labels = Labels::from_bytes(signature).unwrap_or_default();
                    groups.push(MatchGroup { labels, many: vec![], one: vec![] });
                    groups.len() - 1
                });
                let side = if is_many { &mut groups[group].many } else { &mut groups[group].one };
                side.push(at);
            }
        }
        groups
    }

    fn set(&self, left: Matrix, right: Matrix) -> Matrix {
        // Of the side that decides: at which steps a signature has a sample.
        let steps_of = |matrix: &Matrix| {
            let mut steps: HashMap<Vec<u8>, Vec<bool>> = HashMap::new();
            for series in &matrix.0 {
                let present = steps
                    .entry(self.signature(&series.labels))
                    .or_insert_with(|| vec![false; self.times.count]);
                present.iter_mut().enumerate().for_each(|(step, known)| *known |= series.is_present(step));
            }
            steps
        };
        let filtered = |matrix: Matrix, deciding: &HashMap<Vec<u8>, Vec<bool>>, wanted: bool| {
            let series = matrix.0.into_iter().filter_map(|series| {
                let present = deciding.get(&self.signature(&series.labels));
                let is_present = |step: usize| present.is_some_and(|steps| steps[step]);
                match present {
                    None => (!wanted).then_some(series),
                    Some(_) => Some(series.filtered(|step| is_present(step) == wanted)),
                }
            });
            Matrix(series.collect()).without_empty()
        };
        match self.op {
            BinaryOp::And => filtered(left, &steps_of(&right), true),
            BinaryOp::Unless => filtered(left, &steps_of(&right), false),
            _ => {
                let others = filtered(right, &steps_of(&left), false);
                let mut all = left;
                all.0.extend(others.0);
                all
            }
        }
    }

    fn vectors(&self, left: Matrix, right: Matrix) -> Result<Matrix, QueryError> {
        // "One" is the side of which a match group may have one series at a step.
        let swapped = self.matching.cardinality == Cardinality::OneToMany;
        let fill = self.matching.fill;
        let (fill_many, fill_one) = (fill.left, fill.right);
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let mut out = Output { rows: vec![], known: HashMap::new() };
        for group in self.match_groups(&many, &one) {
            let no_partner = (group.one.is_empty() && fill_one.is_none())
                || (group.many.is_empty() && fill_many.is_none());
            if !no_partner {
                self.match_group(&group, &many, &one, swapped, &mut out)?;
            }
        }
        let series = out.rows.into_iter();
        let series =
            series.map(|(labels, drop_name, row)| row.series(labels, drop_name || self.returns_bool));
        Ok(Matrix(series.collect()).without_empty())
    }

    fn match_group(
        &self,
        group: &MatchGroup,
        many: &Matrix,
        one: &Matrix,
        swapped: bool,
        out: &mut Output,
    ) -> Result<(), QueryError> {
        let fill = self.matching.fill;
        let absent = &group.labels;
        // By pair of series (the last place stands for a filled one): the row of the answer.
        let mut rows: HashMap<(usize, usize), usize> = HashMap::new();
        let (no_many, no_one) = (group.many.len(), group.one.len());
        for step in 0..self.times.count {
            let partner = self.partner(group, one, step, swapped)?;
            let mut matched: Vec<usize> = vec![];
            let mut pairs: Vec<(usize, usize)> = vec![];
            for (i, at) in group.many.iter().enumerate() {
                if many.0[*at].is_present(step) && (partner.is_some() || fill.right.is_some()) {
                    pairs.push((i, partner.unwrap_or(no_one)));
                }
            }
            if pairs.is_empty() && partner.is_some() && fill.left.is_some() {
                pairs.push((no_many, partner.unwrap_or(no_one)));
            }
            for (i, j) in pairs {
                let filled = |value: Option<f64>| Sample::Number(value.unwrap_or(f64::NAN));
                let (many_labels, ours) = match group.many.get(i) {
                    Some(at) => (&many.0[*at].labels, many.0[*at].at(step)),
                    None => (absent, None),
                };
                let (one_labels, theirs) = match group.one.get(j) {
                    Some(at) => (&one.0[*at].labels, one.0[*at].at(step)),
                    None => (absent, None),
                };
                let ours = ours.unwrap_or_else(|| filled(fill.left));
                let theirs = theirs.unwrap_or_else(|| filled(fill.right));
                let (left, right) = if swapped { (&theirs, &ours) } else { (&ours, &theirs) };
                let Some(Outcome { sample, keep }) = self.pair(left, right) else { continue };
                if self.matching.cardinality == Cardinality::OneToOne && !matched.is_empty() {
                    return Err(QueryError::Execution(
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                            .into(),
                    ));
                }
                let row = *rows.entry((i, j)).or_insert_with(|| {
                    let drop_name = group.many.get(i).is_some_and(|at| many.0[*at].drop_name);
                    out.row(self.labels(many_labels, one_labels), drop_name, self.times.count)
                });
                if self.matching.cardinality != Cardinality::OneToOne && matched.contains(&row) {
                    return Err(QueryError::Execution(
                        "multiple matches for labels: grouping labels must ensure unique matches".into(),
                    ));
                }
                matched.push(row);
                if !keep && !self.returns_bool {
                    continue;
                }
                let row = &mut out.rows[row].2;
                if row.is_set(step) {
                    return Err(same_labels());
                }
                let truth = || Sample::Number(f64::from(u8::from(keep)));
                row.set(step, if self.returns_bool { truth() } else { sample });
            }
        }
        Ok(())
    }

    /// The series of the one side that has a value at the step, by its place in the group.
    fn partner(
        &self,
        group: &MatchGroup,
        one: &Matrix,
        step: usize,
        swapped: bool,
    ) -> Result<Option<usize>, QueryError> {
        let mut present = group.one.iter().enumerate().filter(|(_, at)| one.0[**at].is_present(step));
        let Some((first, first_at)) = present.next() else { return Ok(None) };
        if let Some((_, second_at)) = present.next() {
            let mut both = [first_at, second_at].map(|at| spelled(&one.0[*at].labels));
            both.sort();
            return Err(QueryError::Execution(format!(
                "found duplicate series for the match group {} on the {} hand-side of the operation: [{}, {}];\
                 many-to-many matching not allowed: matching labels must be unique on one side",
                spelled(&group.labels),
                if swapped { "left" } else { "right" },
                both[0],
                both[1]
            )));
        }
        Ok(Some(first))
    }

    fn labels(&self, many: &Labels, one: &Labels) -> Labels {
        let base = if self.changes_metric() { without_name(many) } else { many.clone() };
        if self.matching.cardinality == Cardinality::OneToOne {
            let named = |name: &str| self.matching.labels.iter().any(|label| label == name);
            return match self.matching.on {
                true => base.without(|name| !named(name)),
                false if self.matching.labels.is_empty() => base,
                false => base.without(named),
            };
        }
        if self.matching.include.is_empty() {
            return base;
        }
        let mut labels = LabelSetBuilder::from_labels(&base);
        for name in &self.matching.include {
            match one.get(name) {
                Some(value) => labels.set(name, value),
                None => labels.remove(name),
            };
        }
        labels.build()
    }
}

fn histogram(histogram: Histogram) -> Option<Outcome> {
    Some(Outcome { sample: Sample::Histogram(Arc::new(histogram)), keep: true })
}

/// As Prometheus' errors write a label set: the name is a label like others.
fn spelled(labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={}", ::promql::quoted(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

struct MatchGroup {
    labels: Labels,
    many: Vec<usize>,
    one: Vec<usize>,
}

/// Rows of the answer by their labels.
struct Output {
    rows: Vec<(Labels, bool, Row)>,
    known: HashMap<Labels, usize>,
}

impl Output {
    fn row(&mut self, labels: Labels, drop_name: bool, steps: usize) -> usize {
        *self.known.entry(labels.clone()).or_insert_with(|| {
            self.rows.push((labels, drop_name, Row::new(steps)));
            self.rows.len() - 1
        })
    }
}

/// `None` where the operator is no comparison.
fn compare(op: BinaryOp, left: f64, right: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Eql => left == right,
        BinaryOp::Neq => left != right,
        BinaryOp::Gtr => left > right,
        BinaryOp::Gte => left >= right,
        BinaryOp::Lss => left < right,
        BinaryOp::Lte => left <= right,
        _ => return None,
    })
}

fn compute(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        // Both keep the sign of the left side, as C's fmod does.
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        _ => f64::NAN,
    }
}
