//! Arithmetic, comparison and set operators between scalars and vectors.

use super::node::{Node, Times, join_same, scalar, scalar_at, without_name};
use crate::QueryError;
use crate::logql::matrix::{Matrix, Series};
use ::promql::{BinaryOp, Cardinality, Matching};
use model::{LabelSetBuilder, Labels};
use std::collections::HashMap;

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
}

#[async_trait::async_trait]
impl Node for Join {
    fn name(&self) -> &'static str {
        "PromJoin"
    }

    fn details(&self) -> String {
        format!("{}{}", self.op.as_str(), self.matching)
    }

    async fn evaluate(&self, inputs: Vec<Matrix>) -> Result<Matrix, QueryError> {
        let mut inputs = inputs.into_iter();
        let (Some(left), Some(right)) = (inputs.next(), inputs.next()) else { return Ok(Matrix::default()) };
        match self.scalar {
            Some(ScalarSide::Both) => Ok(scalar((0..self.times.count).map(|step| {
                let (left, right) = (scalar_at(&left, step), scalar_at(&right, step));
                compare(self.op, left, right)
                    .map_or_else(|| compute(self.op, left, right), |truth| f64::from(u8::from(truth)))
            }))),
            Some(side) => self.with_scalar(left, right, side),
            None if self.op.is_set() => self.set(left, right),
            None => self.vectors(left, right),
        }
    }
}

impl Join {
    /// The value of a pair; `None` where a comparison leaves it out.
    fn value(&self, left: f64, right: f64, kept: f64) -> Option<f64> {
        match compare(self.op, left, right) {
            None => Some(compute(self.op, left, right)),
            Some(truth) if self.returns_bool => Some(f64::from(u8::from(truth))),
            Some(truth) => truth.then_some(kept),
        }
    }

    fn drops_name(&self) -> bool {
        self.returns_bool || !self.op.is_comparison()
    }

    fn with_scalar(&self, left: Matrix, right: Matrix, side: ScalarSide) -> Result<Matrix, QueryError> {
        let (vector, number) = if side == ScalarSide::Left { (right, left) } else { (left, right) };
        let series = vector.0.into_iter().map(|series| {
            let values = series.values.into_iter().enumerate().map(|(step, value)| {
                let (value, number) = (value?, scalar_at(&number, step));
                let (left, right) = if side == ScalarSide::Left { (number, value) } else { (value, number) };
                self.value(left, right, value)
            });
            let values = values.collect();
            let labels = if self.drops_name() { without_name(&series.labels) } else { series.labels };
            Series { labels, values }
        });
        join_same(Matrix(series.collect()).without_empty())
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

    fn by_signature(&self, matrix: &Matrix) -> HashMap<Vec<u8>, Vec<usize>> {
        let mut groups: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (at, series) in matrix.0.iter().enumerate() {
            groups.entry(self.signature(&series.labels)).or_default().push(at);
        }
        groups
    }

    fn set(&self, left: Matrix, right: Matrix) -> Result<Matrix, QueryError> {
        // Of the side that decides: at which steps a signature has a value.
        let steps_of = |matrix: &Matrix| {
            let mut steps: HashMap<Vec<u8>, Vec<bool>> = HashMap::new();
            for series in &matrix.0 {
                let present = steps
                    .entry(self.signature(&series.labels))
                    .or_insert_with(|| vec![false; self.times.count]);
                present.iter_mut().zip(&series.values).for_each(|(known, value)| *known |= value.is_some());
            }
            steps
        };
        let filtered = |matrix: Matrix, deciding: &HashMap<Vec<u8>, Vec<bool>>, wanted: bool| {
            let series = matrix.0.into_iter().map(|series| {
                let present = deciding.get(&self.signature(&series.labels));
                let is_present = |step: usize| present.is_some_and(|steps| steps[step]);
                let values = series.values.into_iter().enumerate();
                let values =
                    values.map(|(step, value)| value.filter(|_| is_present(step) == wanted)).collect();
                Series { labels: series.labels, values }
            });
            Matrix(series.collect()).without_empty()
        };
        match self.op {
            BinaryOp::And => Ok(filtered(left, &steps_of(&right), true)),
            BinaryOp::Unless => Ok(filtered(left, &steps_of(&right), false)),
            _ => {
                let others = filtered(right, &steps_of(&left), false);
                let mut all = left;
                all.0.extend(others.0);
                join_same(all)
            }
        }
    }

    fn vectors(&self, left: Matrix, right: Matrix) -> Result<Matrix, QueryError> {
        // "One" is the side of which a match group may have one series at a step.
        let swapped = self.matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let ones = self.by_signature(&one);
        let mut out: Vec<Series> = vec![];
        let mut known: HashMap<Labels, usize> = HashMap::new();
        // One-to-one: which series of the many side a step of a match group already has.
        let mut taken: HashMap<Vec<u8>, Vec<Option<usize>>> = HashMap::new();
        for (at, series) in many.0.iter().enumerate() {
            let signature = self.signature(&series.labels);
            let Some(partners) = ones.get(&signature) else { continue };
            let mut targets: Vec<Option<usize>> = vec![None; partners.len()];
            for step in 0..self.times.count {
                let Some(value) = series.values[step] else { continue };
                let Some(partner) = self.partner(partners, &one, step, swapped)? else { continue };
                let other = one.0[partners[partner]].values[step].unwrap_or(f64::NAN);
                if self.matching.cardinality == Cardinality::OneToOne {
                    let steps =
                        taken.entry(signature.clone()).or_insert_with(|| vec![None; self.times.count]);
                    if steps[step].is_some_and(|earlier| earlier != at) {
                        return Err(QueryError::Execution(format!(
                            "found duplicate series for the match group {} on the left hand-side of the operation: [{}, {}];\
                             many-to-many matching not allowed: matching labels must be unique on one side",
                            Labels::from_bytes(&signature).unwrap_or_default(),
                            many.0[steps[step].unwrap_or(at)].labels,
                            series.labels
                        )));
                    }
                    steps[step] = Some(at);
                }
                let (left, right) = if swapped { (other, value) } else { (value, other) };
                let Some(result) = self.value(left, right, left) else { continue };
                let target = *targets[partner].get_or_insert_with(|| {
                    let labels = self.labels(&series.labels, &one.0[partners[partner]].labels);
                    *known.entry(labels.clone()).or_insert_with(|| {
                        out.push(Series { labels, values: vec![None; self.times.count] });
                        out.len() - 1
                    })
                });
                let slot = &mut out[target].values[step];
                if slot.is_some() {
                    return Err(QueryError::Execution(
                        "multiple matches for labels: grouping labels must ensure unique matches".into(),
                    ));
                }
                *slot = Some(result);
            }
        }
        Ok(Matrix(out).without_empty())
    }

    /// The series of the one side that has a value at the step.
    fn partner(
        &self,
        partners: &[usize],
        one: &Matrix,
        step: usize,
        swapped: bool,
    ) -> Result<Option<usize>, QueryError> {
        let mut present = partners.iter().enumerate().filter(|(_, at)| one.0[**at].values[step].is_some());
        let Some((first, first_at)) = present.next() else { return Ok(None) };
        if let Some((_, second_at)) = present.next() {
            let labels = &one.0[*first_at].labels;
            let group = Labels::from_bytes(&self.signature(labels)).unwrap_or_default();
            return Err(QueryError::Execution(format!(
                "found duplicate series for the match group {group} on the {} hand-side of the operation: [{}, {}];\
                 many-to-many matching not allowed: matching labels must be unique on one side",
                if swapped { "left" } else { "right" },
                one.0[*second_at].labels,
                labels
            )));
        }
        Ok(Some(first))
    }

    fn labels(&self, many: &Labels, one: &Labels) -> Labels {
        let base = if self.drops_name() { without_name(many) } else { many.clone() };
        if self.matching.cardinality == Cardinality::OneToOne {
            let named = |name: &str| self.matching.labels.iter().any(|label| label == name);
            return match self.matching.on {
                true => base.without(|name| !named(name)),
                false => base.without(named),
            };
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
