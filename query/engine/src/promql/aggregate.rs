//! Aggregations: many series of a group to one, or to the chosen ones.

use super::node::{Node, Times, scalar_at};
use super::windows::{Kahan, mean, quantile, variance};
use crate::QueryError;
use crate::logql::matrix::{Matrix, Series};
use ::promql::{AggregateOp, Grouping};
use model::{LabelSetBuilder, Labels};
use std::collections::{BTreeMap, HashMap};

/// Inputs: the vector, and the parameter where the operator has one.
#[derive(Debug)]
pub(super) struct Aggregate {
    pub op: AggregateOp,
    pub grouping: Grouping,
    /// Of `count_values`.
    pub label: String,
    pub times: Times,
}

#[async_trait::async_trait]
impl Node for Aggregate {
    fn name(&self) -> &'static str {
        "PromAggregate"
    }

    fn details(&self) -> String {
        format!("{}{}", self.op.as_str(), self.grouping)
    }

    async fn evaluate(&self, inputs: Vec<Matrix>) -> Result<Matrix, QueryError> {
        let mut inputs = inputs.into_iter();
        let Some(matrix) = inputs.next() else { return Ok(Matrix::default()) };
        let parameter = inputs.next();
        let parameter = |step: usize| parameter.as_ref().map_or(f64::NAN, |matrix| scalar_at(matrix, step));
        let is_choice = !matches!(self.op, AggregateOp::Quantile | AggregateOp::CountValues)
            && self.op.parameter().is_some();
        if is_choice && (0..self.times.count).any(|step| parameter(step).is_nan()) {
            return Err(QueryError::Execution("Parameter value is NaN".into()));
        }
        let groups = self.groups(&matrix);
        Ok(match self.op {
            AggregateOp::Topk | AggregateOp::Bottomk => self.extremes(matrix, groups, parameter),
            AggregateOp::Limitk | AggregateOp::LimitRatio => self.limited(matrix, groups, parameter),
            AggregateOp::CountValues => self.count_values(&matrix, groups),
            _ => {
                let series = groups.into_iter().map(|(labels, members)| {
                    let members: Vec<&[Option<f64>]> =
                        members.iter().map(|at| matrix.0[*at].values.as_slice()).collect();
                    Series { labels, values: self.one(&members, parameter) }
                });
                Matrix(series.collect()).without_empty()
            }
        })
    }
}

impl Aggregate {
    /// Members of each group, groups in the order of their first member.
    fn groups(&self, matrix: &Matrix) -> Vec<(Labels, Vec<usize>)> {
        let mut groups: Vec<(Labels, Vec<usize>)> = vec![];
        let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut key = vec![];
        for (at, series) in matrix.0.iter().enumerate() {
            self.key(&series.labels, &mut key);
            let group = match known.get(&key) {
                Some(group) => *group,
                None => {
                    let labels = Labels::from_bytes(&key).unwrap_or_default();
                    known.insert(key.clone(), groups.len());
                    groups.push((labels, vec![]));
                    groups.len() - 1
                }
            };
            groups[group].1.push(at);
        }
        groups
    }

    fn key(&self, labels: &Labels, key: &mut Vec<u8>) {
        key.clear();
        let named = |name: &str| self.grouping.labels.iter().any(|label| label == name);
        let mut pairs: Vec<(&str, &str)> = match self.grouping.without {
            true => labels.iter().filter(|(name, _)| *name != model::METRIC_NAME && !named(name)).collect(),
            false if self.grouping.labels.is_empty() => vec![],
            false => labels.iter().filter(|(name, _)| named(name)).collect(),
        };
        // Names of a label set are never empty or doubled.
        let _ = LabelSetBuilder::encode_into(&mut pairs, key);
    }

    fn one(&self, members: &[&[Option<f64>]], parameter: impl Fn(usize) -> f64) -> Vec<Option<f64>> {
        let steps = 0..self.times.count;
        match self.op {
            AggregateOp::Sum => {
                let mut sums = vec![None::<Kahan>; self.times.count];
                for values in members {
                    for (sum, value) in sums.iter_mut().zip(*values) {
                        if let Some(value) = value {
                            sum.get_or_insert_default().add(*value);
                        }
                    }
                }
                sums.into_iter().map(|sum| sum.map(Kahan::sum)).collect()
            }
            AggregateOp::Count => steps
                .map(|step| Some(members.iter().filter(|values| values[step].is_some()).count() as f64))
                .map(|count| count.filter(|count| *count > 0.0))
                .collect(),
            AggregateOp::Group => {
                steps.map(|step| members.iter().any(|values| values[step].is_some()).then_some(1.0)).collect()
            }
            AggregateOp::Min => folded(members, self.times.count, |new, old| new < old),
            AggregateOp::Max => folded(members, self.times.count, |new, old| new > old),
            _ => {
                let mut present = vec![];
                steps
                    .map(|step| {
                        present.clear();
                        present.extend(members.iter().filter_map(|values| values[step]));
                        if present.is_empty() {
                            return None;
                        }
                        Some(match self.op {
                            AggregateOp::Avg => mean(&present),
                            AggregateOp::Stdvar => variance(&present),
                            AggregateOp::Stddev => variance(&present).sqrt(),
                            _ => quantile(parameter(step), &mut present),
                        })
                    })
                    .collect()
            }
        }
    }

    /// `topk`, `bottomk`: the series stay what they are, at the steps at which they are among the k.
    fn extremes(
        &self,
        matrix: Matrix,
        groups: Vec<(Labels, Vec<usize>)>,
        k: impl Fn(usize) -> f64,
    ) -> Matrix {
        let mut kept: Vec<Vec<Option<f64>>> = matrix.0.iter().map(|_| vec![None; self.times.count]).collect();
        let mut order = vec![];
        let mut ranked = vec![];
        for (_, members) in groups {
            for step in 0..self.times.count {
                ranked.clear();
                ranked.extend(members.iter().filter_map(|at| Some((matrix.0[*at].values[step]?, *at))));
                let top = self.op == AggregateOp::Topk;
                ranked.sort_by(|(a, _), (b, _)| {
                    let values = if top { b.partial_cmp(a) } else { a.partial_cmp(b) };
                    values.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
                });
                ranked.truncate(count(k(step)));
                for (value, at) in &ranked {
                    kept[*at][step] = Some(*value);
                    order.push(*at);
                }
            }
        }
        in_order(matrix, kept, order)
    }

    fn limited(
        &self,
        matrix: Matrix,
        groups: Vec<(Labels, Vec<usize>)>,
        parameter: impl Fn(usize) -> f64,
    ) -> Matrix {
        let mut kept: Vec<Vec<Option<f64>>> = matrix.0.iter().map(|_| vec![None; self.times.count]).collect();
        let mut order = vec![];
        for (_, members) in groups {
            for step in 0..self.times.count {
                let present = members.iter().filter_map(|at| Some((matrix.0[*at].values[step]?, *at)));
                let chosen: Vec<(f64, usize)> = match self.op {
                    AggregateOp::Limitk => present.take(count(parameter(step))).collect(),
                    _ => present.filter(|(_, at)| in_ratio(&matrix.0[*at].labels, parameter(step))).collect(),
                };
                for (value, at) in chosen {
                    kept[at][step] = Some(value);
                    order.push(at);
                }
            }
        }
        in_order(matrix, kept, order)
    }

    /// The label may overwrite one that told groups apart; these then count together.
    fn count_values(&self, matrix: &Matrix, groups: Vec<(Labels, Vec<usize>)>) -> Matrix {
        let mut counted: BTreeMap<Labels, Vec<Option<f64>>> = BTreeMap::new();
        for (labels, members) in groups {
            let mut by_value: BTreeMap<String, Labels> = BTreeMap::new();
            for at in members {
                for (step, value) in matrix.0[at].values.iter().enumerate() {
                    let Some(value) = value else { continue };
                    let named = by_value.entry(text(*value)).or_insert_with_key(|value| {
                        let mut named = LabelSetBuilder::from_labels(&labels);
                        named.set(&self.label, value);
                        named.build()
                    });
                    let counts = counted.entry(named.clone()).or_insert_with(|| vec![None; self.times.count]);
                    counts[step] = Some(counts[step].unwrap_or(0.0) + 1.0);
                }
            }
        }
        Matrix(counted.into_iter().map(|(labels, values)| Series { labels, values }).collect())
    }
}

fn count(k: f64) -> usize {
    if k >= 1.0 { k as usize } else { 0 }
}

/// A stable choice by label set: of the ratio r and of r − 1 each series is in exactly one.
fn in_ratio(labels: &Labels, ratio: f64) -> bool {
    let place = labels.fingerprint() as f64 / u64::MAX as f64;
    if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio }
}

fn text(value: f64) -> String {
    if value.is_infinite() { (if value > 0.0 { "+Inf" } else { "-Inf" }).into() } else { value.to_string() }
}

/// Chosen series in the order in which they were first chosen.
fn in_order(matrix: Matrix, mut kept: Vec<Vec<Option<f64>>>, order: Vec<usize>) -> Matrix {
    let mut seen = vec![false; kept.len()];
    let first = order.into_iter().filter(|at| !std::mem::replace(&mut seen[*at], true));
    let series =
        first.map(|at| Series { labels: matrix.0[at].labels.clone(), values: std::mem::take(&mut kept[at]) });
    Matrix(series.collect())
}

fn folded(members: &[&[Option<f64>]], steps: usize, better: fn(f64, f64) -> bool) -> Vec<Option<f64>> {
    let mut best = vec![None::<f64>; steps];
    for values in members {
        for (best, value) in best.iter_mut().zip(*values) {
            if let Some(value) = value
                && best.is_none_or(|best| better(*value, best) || best.is_nan())
            {
                *best = Some(*value);
            }
        }
    }
    best
}
