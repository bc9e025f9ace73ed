//! Aggregations: many series of a group to one, or to the chosen ones.

use super::fold::Folding;
use super::matrix::{Matrix, Row, Sample, Series, Values};
use super::mixed::Sum;
use super::node::{Node, Times, join_same, scalar_at};
use super::notes::Notes;
use crate::QueryError;
use crate::quantile::quantile;
use crate::room::Room;
use ::promql::{AggregateOp, Grouping};
use model::{LabelSetBuilder, Labels};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Inputs: the vector, and the parameter where the operator has one.
#[derive(Debug)]
pub(super) struct Aggregate {
    pub op: AggregateOp,
    pub grouping: Grouping,
    /// Of `count_values`.
    pub label: String,
    pub times: Times,
    pub notes: Notes,
    /// Where in the query the aggregation, its vector and its parameter stand.
    pub at: usize,
    pub vector_at: usize,
    pub parameter_at: usize,
}

/// Members of a group by their place in the input.
type Groups = Vec<(Labels, Vec<usize>)>;

#[async_trait::async_trait]
impl Node for Aggregate {
    fn name(&self) -> &'static str {
        "PromAggregate"
    }

    fn details(&self) -> String {
        format!("{}{}", self.op.as_str(), self.grouping)
    }

    async fn evaluate(&self, inputs: Vec<Matrix>, room: &Room) -> Result<Matrix, QueryError> {
        let mut inputs = inputs.into_iter();
        let Some(matrix) = inputs.next() else { return Ok(Matrix::default()) };
        let parameter = inputs.next();
        let parameters: Vec<f64> = match &parameter {
            Some(scalar) => (0..self.times.count).map(|step| scalar_at(scalar, step)).collect(),
            None => vec![],
        };
        if !self.may_choose(&parameters)? || matrix.0.is_empty() {
            return Ok(Matrix::default());
        }
        if self.op == AggregateOp::CountValues {
            return self.count_values(&matrix, room);
        }
        Ok(match self.op {
            AggregateOp::Topk | AggregateOp::Bottomk => {
                let groups = self.groups(&matrix);
                self.extremes(matrix, groups, &parameters)
            }
            AggregateOp::Limitk | AggregateOp::LimitRatio => {
                let groups = self.groups(&matrix);
                self.limited(matrix, groups, &parameters)
            }
            AggregateOp::Quantile => self.quantiles(&matrix, &parameters),
            _ => {
                let mut folding = Folding::new(self, room);
                matrix.0.into_iter().try_for_each(|series| folding.add(series))?;
                folding.finish()
            }
        })
    }
}

impl Aggregate {
    /// Whether the parameter lets anything through; refusals and notes about it.
    fn may_choose(&self, parameters: &[f64]) -> Result<bool, QueryError> {
        let most = parameters.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = parameters.iter().copied().fold(f64::INFINITY, f64::min);
        let any_nan = parameters.iter().any(|parameter| parameter.is_nan());
        let refused = |what: String| Err(QueryError::Execution(what));
        match self.op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => {
                if any_nan {
                    return refused("Parameter value is NaN".into());
                }
                if most < 1.0 {
                    return Ok(false);
                }
                if least <= i64::MIN as f64 {
                    return refused(format!("Scalar value {} underflows int64", model::short(least)));
                }
                if most >= i64::MAX as f64 {
                    return refused(format!("Scalar value {} overflows int64", model::short(most)));
                }
            }
            AggregateOp::LimitRatio => {
                if any_nan {
                    return refused("Ratio value is NaN".into());
                }
                for (ratio, bound) in [(most, 1.0), (least, -1.0)] {
                    if ratio.abs() > 1.0 && (ratio > 0.0) == (bound > 0.0) {
                        let ratio = model::short(ratio);
                        self.notes.warn(
                            self.parameter_at,
                            format_args!(
                                "ratio value should be between -1 and 1, got {ratio}, capping to {bound}"
                            ),
                        );
                    }
                }
                return Ok(most != 0.0 || least != 0.0);
            }
            AggregateOp::Quantile => {
                let bad = [(any_nan, f64::NAN), (most > 1.0, most), (least < 0.0, least)];
                for (_, quantile) in bad.into_iter().filter(|(is_bad, _)| *is_bad) {
                    self.notes.invalid_quantile(self.parameter_at, quantile);
                }
            }
            _ => {}
        }
        Ok(true)
    }

    /// Groups in the order of their first member.
    fn groups(&self, matrix: &Matrix) -> Groups {
        let mut groups: Groups = vec![];
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

    pub fn key(&self, labels: &Labels, key: &mut Vec<u8>) {
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

    fn quantiles(&self, matrix: &Matrix, parameters: &[f64]) -> Matrix {
        let mut present = vec![];
        let series = self.groups(matrix).into_iter().map(|(labels, members)| {
            let members: Vec<&Series> = members.iter().map(|at| &matrix.0[*at]).collect();
            let drop_name = members.iter().any(|series| series.drop_name);
            let of_step = |step: usize| {
                present.clear();
                present.extend(members.iter().filter_map(|series| series.values.get(step)));
                let parameter = parameters.get(step).copied().unwrap_or(f64::NAN);
                (!present.is_empty()).then(|| quantile(parameter, &mut present))
            };
            let values: Values = (0..self.times.count).map(of_step).collect();
            if members.iter().any(|series| !series.histograms.is_empty()) {
                return self.with_histograms(&values, &members).series(labels, drop_name);
            }
            Series { labels, drop_name, values, histograms: vec![] }
        });
        Matrix(series.collect()).without_empty()
    }

    /// `numbers` is what the operator makes of a group's numbers, `members` are those that have histograms, and may be
    /// others.
    pub fn with_histograms(&self, numbers: &Values, members: &[&Series]) -> Row {
        let mut row = Row::new(self.times.count);
        for step in 0..self.times.count {
            let number = numbers.get(step);
            let histograms = || members.iter().filter_map(|series| Some((series, series.histogram(step)?)));
            let count = histograms().count();
            if count == 0 && number.is_none() {
                continue;
            }
            match self.op {
                AggregateOp::Count => row.set(step, Sample::Number(number.unwrap_or(0.0) + count as f64)),
                AggregateOp::Group => row.set(step, Sample::Number(1.0)),
                AggregateOp::Sum | AggregateOp::Avg if count > 0 => {
                    let mut sum = Sum::default();
                    let mut failed = false;
                    for (series, histogram) in histograms() {
                        let added = match self.op {
                            AggregateOp::Sum => sum.add(histogram),
                            _ => sum.add_to_mean(histogram),
                        };
                        if added.is_err() {
                            self.notes.mixed_schemas(self.vector_at, series.labels.metric_name());
                            failed = true;
                            break;
                        }
                    }
                    if number.is_some() {
                        self.notes.warn(
                            self.vector_at,
                            "encountered a mix of histograms and floats for aggregation",
                        );
                        continue;
                    }
                    sum.note(&self.notes, self.vector_at);
                    let total = if self.op == AggregateOp::Sum { sum.total() } else { sum.mean() };
                    if let Some(total) = total.filter(|_| !failed) {
                        row.set(step, Sample::Histogram(Arc::new(total.compact())));
                    }
                }
                _ => {
                    if count > 0 {
                        self.notes.histogram_ignored(self.vector_at, self.op.as_str());
                    }
                    if let Some(number) = number {
                        row.set(step, Sample::Number(number));
                    }
                }
            }
        }
        row
    }

    /// `topk`, `bottomk`: the series stay what they are, at the steps at which they are among the k.
    fn extremes(&self, matrix: Matrix, groups: Groups, k: &[f64]) -> Matrix {
        let mut rows: Vec<Row> = matrix.0.iter().map(|_| Row::new(self.times.count)).collect();
        if matrix.has_histograms() {
            self.notes.histogram_ignored(self.at, self.op.as_str());
        }
        let mut order = vec![];
        let mut ranked: Vec<(f64, usize)> = vec![];
        let top = self.op == AggregateOp::Topk;
        let compare = |(a, _): &(f64, usize), (b, _): &(f64, usize)| {
            let values = if top { b.partial_cmp(a) } else { a.partial_cmp(b) };
            values.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        };
        for (_, members) in groups {
            for (step, k) in k.iter().enumerate() {
                ranked.clear();
                ranked.extend(members.iter().filter_map(|at| Some((matrix.0[*at].values.get(step)?, *at))));
                let k = count(*k);
                if k > 0 && k * 4 < ranked.len() {
                    // Most are out: find the border first. Equal values keep the order in which they came.
                    ranked.select_nth_unstable_by(k - 1, |a, b| compare(a, b).then(a.1.cmp(&b.1)));
                    ranked.truncate(k);
                    ranked.sort_by_key(|(_, at)| *at);
                }
                ranked.sort_by(compare);
                ranked.truncate(k);
                for (value, at) in &ranked {
                    rows[*at].set(step, Sample::Number(*value));
                    order.push(*at);
                }
            }
        }
        in_order(matrix, rows, order)
    }

    fn limited(&self, matrix: Matrix, groups: Groups, parameters: &[f64]) -> Matrix {
        let mut rows: Vec<Row> = matrix.0.iter().map(|_| Row::new(self.times.count)).collect();
        let mut order = vec![];
        for (_, members) in groups {
            for (step, parameter) in parameters.iter().enumerate() {
                let present = members.iter().filter_map(|at| Some((matrix.0[*at].at(step)?, *at)));
                let chosen: Vec<(Sample, usize)> = match self.op {
                    AggregateOp::Limitk => present.take(count(*parameter)).collect(),
                    _ => present.filter(|(_, at)| in_ratio(&matrix.0[*at].labels, *parameter)).collect(),
                };
                for (sample, at) in chosen {
                    rows[at].set(step, sample);
                    order.push(at);
                }
            }
        }
        in_order(matrix, rows, order)
    }

    /// The label may overwrite one that told groups apart; these then count together.
    fn count_values(&self, matrix: &Matrix, room: &Room) -> Result<Matrix, QueryError> {
        let mut counted: BTreeMap<Labels, Vec<u32>> = BTreeMap::new();
        let mut key = vec![];
        let with_label = Aggregate {
            grouping: Grouping {
                without: self.grouping.without,
                labels: match self.grouping.without {
                    true => self.grouping.labels.clone(),
                    false => self.grouping.labels.iter().cloned().chain([self.label.clone()]).collect(),
                },
            },
            label: String::new(),
            notes: self.notes.clone(),
            ..*self
        };
        for series in &matrix.0 {
            let mut by_text: HashMap<String, Labels> = HashMap::new();
            for step in 0..self.times.count {
                let text = match series.at(step) {
                    None => continue,
                    Some(Sample::Number(value)) => text(value),
                    Some(Sample::Histogram(histogram)) => histogram.to_string(),
                };
                let labels = by_text.entry(text).or_insert_with_key(|text| {
                    let mut named = LabelSetBuilder::from_labels(&series.labels);
                    named.set(&self.label, text);
                    with_label.key(&named.build(), &mut key);
                    Labels::from_bytes(&key).unwrap_or_default()
                });
                let counts = match counted.entry(labels.clone()) {
                    Entry::Occupied(counts) => counts.into_mut(),
                    Entry::Vacant(new) => {
                        room.take(self.times.count * size_of::<u32>() + new.key().as_bytes().len())?;
                        new.insert(vec![0; self.times.count])
                    }
                };
                counts[step] += 1;
            }
        }
        let mut out = Vec::with_capacity(counted.len());
        for (labels, counts) in counted {
            room.take(self.times.count * size_of::<f64>())?;
            let present = |count: u32| (count > 0).then(|| f64::from(count));
            out.push(Series::of_numbers(labels, counts.into_iter().map(present).collect()));
        }
        join_same(Matrix(out))
    }
}

fn count(k: f64) -> usize {
    if k >= 1.0 { k as usize } else { 0 }
}

/// A stable choice by label set, the one that Prometheus makes: of the ratio r and of r − 1 each series is in exactly
/// one.
fn in_ratio(labels: &Labels, ratio: f64) -> bool {
    let place = super::ratio::label_hash(labels) as f64 / u64::MAX as f64;
    if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio }
}

fn text(value: f64) -> String {
    if value.is_infinite() { (if value > 0.0 { "+Inf" } else { "-Inf" }).into() } else { value.to_string() }
}

/// Chosen series in the order in which they were first chosen.
fn in_order(matrix: Matrix, rows: Vec<Row>, order: Vec<usize>) -> Matrix {
    let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
    let chosen = order.into_iter().filter_map(|at| {
        let row = rows[at].take()?;
        let Series { labels, drop_name, .. } = &matrix.0[at];
        Some(row.series(labels.clone(), *drop_name))
    });
    Matrix(chosen.collect())
}
