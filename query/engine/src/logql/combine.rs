//! Operators over numbers: vector aggregations, binary operations, `label_replace` and constants.

use super::matrix::{MATRIX, Matrix, Series, Steps};
use super::operator::{Batches, Work};
use super::range::variance;
use crate::QueryError;
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::{StreamExt, TryStreamExt};
use logql::{BinaryOp, Cardinality, Grouping, Matching, VectorOp};
use model::{LabelSetBuilder, Labels};
use regex::Regex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) enum Combine {
    /// The same value at every step, without labels.
    Constant {
        value: f64,
        steps: Steps,
    },
    Aggregate {
        op: VectorOp,
        param: Option<usize>,
        grouping: Option<Grouping>,
    },
    /// Both sides are inputs.
    Binary {
        op: BinaryOp,
        returns_bool: bool,
        matching: Matching,
    },
    /// One side is a number: on the left where `literal_left`.
    WithLiteral {
        op: BinaryOp,
        returns_bool: bool,
        literal: f64,
        literal_left: bool,
    },
    LabelReplace {
        to: String,
        replacement: String,
        from: String,
        regex: Regex,
    },
}

impl Work for Combine {
    fn name(&self) -> &'static str {
        match self {
            Combine::Constant { .. } => "LogConstant",
            Combine::Aggregate { .. } => "LogAggregate",
            Combine::Binary { .. } | Combine::WithLiteral { .. } => "LogBinary",
            Combine::LabelReplace { .. } => "LogLabelReplace",
        }
    }

    fn schema(&self) -> SchemaRef {
        MATRIX.clone()
    }

    fn details(&self) -> String {
        match self {
            Combine::Constant { value, .. } => value.to_string(),
            Combine::Aggregate { op, grouping, .. } => {
                format!("{} {}", op.as_str(), grouping.as_ref().map(ToString::to_string).unwrap_or_default())
            }
            Combine::Binary { op, .. } | Combine::WithLiteral { op, .. } => op.as_str().to_owned(),
            Combine::LabelReplace { to, .. } => to.clone(),
        }
    }

    fn run(self: Arc<Self>, inputs: Vec<SendableRecordBatchStream>, context: Arc<TaskContext>) -> Batches {
        futures::stream::once(async move {
            let reservation = MemoryConsumer::new("logql combine").register(context.memory_pool());
            let mut sides = Vec::with_capacity(inputs.len());
            for input in inputs {
                let batches: Vec<_> = input.try_collect().await?;
                let side = Matrix::from_batches(&batches)?;
                reservation.try_grow(side.bytes())?;
                sides.push(side);
            }
            self.apply(sides)?.to_batch()
        })
        .boxed()
    }
}

fn execution(text: String) -> DataFusionError {
    DataFusionError::External(Box::new(QueryError::Execution(text)))
}

impl Combine {
    fn apply(&self, sides: Vec<Matrix>) -> Result<Matrix, DataFusionError> {
        let mut sides = sides.into_iter();
        let mut next = || sides.next().unwrap_or_default();
        Ok(match self {
            Combine::Constant { value, steps } => {
                Matrix(vec![Series { labels: Labels::empty(), values: vec![Some(*value); steps.count] }])
            }
            Combine::Aggregate { op, param, grouping } => aggregate(*op, *param, grouping.as_ref(), next()),
            Combine::Binary { op, returns_bool, matching } => {
                let (left, right) = (next(), next());
                match op.is_set() {
                    true => set_operation(*op, matching, left, right),
                    false => arithmetic(*op, *returns_bool, matching, left, right)?,
                }
            }
            Combine::WithLiteral { op, returns_bool, literal, literal_left } => {
                let mut matrix = next();
                for value in matrix.0.iter_mut().flat_map(|series| series.values.iter_mut()) {
                    *value = value.and_then(|number| {
                        let (a, b) = if *literal_left { (*literal, number) } else { (number, *literal) };
                        result(*op, *returns_bool, a, b, number)
                    });
                }
                matrix.without_empty()
            }
            Combine::LabelReplace { to, replacement, from, regex } => {
                let mut matrix = next();
                for series in &mut matrix.0 {
                    let source = series.labels.get(from).unwrap_or("");
                    let Some(captures) = regex.captures(source) else { continue };
                    let mut value = String::new();
                    captures.expand(replacement, &mut value);
                    let mut labels = LabelSetBuilder::from_labels(&series.labels);
                    labels.set(to, &value);
                    series.labels = labels.build();
                }
                let mut seen = HashSet::new();
                if let Some(twice) = matrix.0.iter().find(|series| !seen.insert(series.labels.clone())) {
                    return Err(execution(format!(
                        "label_replace makes two series with the labels {}",
                        twice.labels
                    )));
                }
                matrix
            }
        })
    }
}

/// What an operation answers for two numbers: a comparison without `bool` keeps `kept` or nothing.
fn result(op: BinaryOp, returns_bool: bool, left: f64, right: f64, kept: f64) -> Option<f64> {
    match op {
        BinaryOp::Compare(compare) if !returns_bool => compare.holds(left, right).then_some(kept),
        _ => Some(op.apply(left, right)),
    }
}

fn left_out(labels: &Labels, dropped: &[String]) -> Labels {
    labels.without(|name| dropped.iter().any(|dropped| dropped == name))
}

fn group_labels(labels: &Labels, grouping: Option<&Grouping>) -> Labels {
    match grouping {
        None => Labels::empty(),
        Some(Grouping { without: true, labels: dropped, .. }) => left_out(labels, dropped),
        Some(Grouping { without: false, labels: kept, .. }) => {
            labels.without(|name| !kept.iter().any(|k| k == name))
        }
    }
}

fn aggregate(op: VectorOp, param: Option<usize>, grouping: Option<&Grouping>, matrix: Matrix) -> Matrix {
    if matches!(op, VectorOp::Sort | VectorOp::SortDesc) {
        return sorted(op == VectorOp::SortDesc, matrix);
    }
    let mut groups: Vec<(Labels, Vec<Series>)> = Vec::new();
    let mut known: HashMap<Labels, usize> = HashMap::new();
    for series in matrix.0 {
        let labels = group_labels(&series.labels, grouping);
        let at = *known.entry(labels.clone()).or_insert_with(|| {
            groups.push((labels, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(series);
    }
    if op.has_param() {
        let keep = param.unwrap_or(1);
        let kept = groups.into_iter().flat_map(|(_, members)| best(op, keep, members)).collect();
        return sorted(op != VectorOp::Bottomk, Matrix(kept).without_empty());
    }
    let mut series: Vec<Series> = groups
        .into_iter()
        .map(|(labels, members)| {
            let steps = members.first().map_or(0, |m| m.values.len());
            let values =
                (0..steps).map(|step| over(op, members.iter().filter_map(|m| m.values[step]))).collect();
            Series { labels, values }
        })
        .collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Matrix(series)
}

fn over(op: VectorOp, values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let count = values.clone().count();
    if count == 0 {
        return None;
    }
    Some(match op {
        VectorOp::Sum => values.sum(),
        VectorOp::Avg => values.sum::<f64>() / count as f64,
        VectorOp::Min => values.fold(f64::NAN, |a, b| if b < a || a.is_nan() { b } else { a }),
        VectorOp::Max => values.fold(f64::NAN, |a, b| if b > a || a.is_nan() { b } else { a }),
        VectorOp::Stddev => variance(values).sqrt(),
        VectorOp::Stdvar => variance(values),
        _ => count as f64,
    })
}

/// At each step, only the values of the `keep` largest (or smallest) members; NaN is the worst of all.
fn best(op: VectorOp, keep: usize, mut members: Vec<Series>) -> Vec<Series> {
    let steps = members.first().map_or(0, |m| m.values.len());
    for step in 0..steps {
        let mut order: Vec<usize> =
            (0..members.len()).filter(|at| members[*at].values[step].is_some()).collect();
        order.sort_by(|a, b| {
            let (a, b) = (members[*a].values[step].unwrap_or(0.0), members[*b].values[step].unwrap_or(0.0));
            let by_value = if op == VectorOp::Bottomk { a.total_cmp(&b) } else { b.total_cmp(&a) };
            a.is_nan().cmp(&b.is_nan()).then(by_value)
        });
        for at in order.into_iter().skip(keep) {
            members[at].values[step] = None;
        }
    }
    members
}

/// By the last value; the order only shows in an instant answer.
fn sorted(descending: bool, mut matrix: Matrix) -> Matrix {
    let last = |series: &Series| series.values.last().copied().flatten().unwrap_or(f64::NAN);
    matrix.0.sort_by(|a, b| {
        let (x, y) = (last(a), last(b));
        let by_value = if descending { y.total_cmp(&x) } else { x.total_cmp(&y) };
        x.is_nan().cmp(&y.is_nan()).then(by_value)
    });
    matrix
}

fn signature(labels: &Labels, matching: &Matching) -> Labels {
    match matching.on {
        true => labels.without(|name| !matching.labels.iter().any(|l| l == name)),
        false => left_out(labels, &matching.labels),
    }
}

/// At which steps any series of a signature has a value.
fn presence(matrix: &Matrix, matching: &Matching) -> HashMap<Labels, Vec<bool>> {
    let mut presence: HashMap<Labels, Vec<bool>> = HashMap::new();
    for series in &matrix.0 {
        let seen = presence.entry(signature(&series.labels, matching)).or_default();
        seen.resize(series.values.len(), false);
        for (seen, value) in seen.iter_mut().zip(&series.values) {
            *seen |= value.is_some();
        }
    }
    presence
}

/// Takes away the values at steps where the other side has one, or with `want` those where it has none.
fn masked(mut matrix: Matrix, other: &HashMap<Labels, Vec<bool>>, matching: &Matching, want: bool) -> Matrix {
    for series in &mut matrix.0 {
        let there = other.get(&signature(&series.labels, matching));
        for (step, value) in series.values.iter_mut().enumerate() {
            if there.is_some_and(|seen| seen[step]) != want {
                *value = None;
            }
        }
    }
    matrix.without_empty()
}

fn set_operation(op: BinaryOp, matching: &Matching, left: Matrix, right: Matrix) -> Matrix {
    match op {
        BinaryOp::And => masked(left, &presence(&right, matching), matching, true),
        BinaryOp::Unless => masked(left, &presence(&right, matching), matching, false),
        _ => {
            let added = masked(right, &presence(&left, matching), matching, false);
            let mut all = left;
            let known: HashMap<Labels, usize> =
                all.0.iter().enumerate().map(|(at, series)| (series.labels.clone(), at)).collect();
            for series in added.0 {
                match known.get(&series.labels) {
                    Some(at) => {
                        for (value, more) in all.0[*at].values.iter_mut().zip(series.values) {
                            *value = value.or(more);
                        }
                    }
                    None => all.0.push(series),
                }
            }
            all
        }
    }
}

fn arithmetic(
    op: BinaryOp,
    returns_bool: bool,
    matching: &Matching,
    left: Matrix,
    right: Matrix,
) -> Result<Matrix, DataFusionError> {
    // `many` is the side whose series each make one of the answer.
    let swapped = matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let mut ones: HashMap<Labels, Vec<Series>> = HashMap::new();
    for series in one.0 {
        ones.entry(signature(&series.labels, matching)).or_default().push(series);
    }
    let mut taken: HashMap<Labels, Vec<bool>> = HashMap::new();
    let mut answer: Vec<Series> = Vec::new();
    let mut known: HashMap<Labels, usize> = HashMap::new();
    for series in many.0 {
        let key = signature(&series.labels, matching);
        let Some(partners) = ones.get(&key) else { continue };
        let taken = taken.entry(key).or_insert_with(|| vec![false; series.values.len()]);
        for (step, value) in series.values.iter().enumerate() {
            let Some(value) = *value else { continue };
            let mut there = partners.iter().filter_map(|p| Some((p, p.values[step]?)));
            let Some((partner, other)) = there.next() else { continue };
            if there.next().is_some() {
                let side = if swapped { "left" } else { "right" };
                return Err(execution(format!(
                    "found duplicate series on the {side} hand-side;many-to-many matching not allowed: matching labels must be \
                     unique on one side: {}",
                    partner.labels
                )));
            }
            if matching.cardinality == Cardinality::OneToOne && std::mem::replace(&mut taken[step], true) {
                return Err(execution(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                        .to_owned(),
                ));
            }
            let (a, b) = if swapped { (other, value) } else { (value, other) };
            let Some(number) = result(op, returns_bool, a, b, if swapped { other } else { value }) else {
                continue;
            };
            let labels = result_labels(matching, &series.labels, &partner.labels);
            let at = *known.entry(labels.clone()).or_insert_with(|| {
                answer.push(Series { labels, values: vec![None; series.values.len()] });
                answer.len() - 1
            });
            if answer[at].values[step].replace(number).is_some() {
                return Err(execution(format!(
                    "multiple matches for labels: grouping labels must ensure unique matches; {} is made twice",
                    answer[at].labels
                )));
            }
        }
    }
    answer.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(Matrix(answer))
}

fn result_labels(matching: &Matching, many: &Labels, one: &Labels) -> Labels {
    match matching.cardinality {
        Cardinality::OneToOne if matching.on => signature(many, matching),
        Cardinality::OneToOne => left_out(many, &matching.labels),
        _ => {
            let mut labels = LabelSetBuilder::from_labels(many);
            for name in &matching.include {
                labels.set(name, one.get(name).unwrap_or(""));
            }
            labels.build()
        }
    }
}
