//! Aggregations that are told one series after the other: of a group they keep one state a step, however many members
//! it has.

use super::aggregate::Aggregate;
use super::matrix::{Matrix, Series, Values};
use super::node::Node;
use super::scan::Scan;
use super::windows::{Kahan, Mean, Variance};
use crate::QueryError;
use crate::room::Room;
use ::promql::AggregateOp;
use model::{Labels, STALE_NAN_BITS, is_stale_marker, stale_marker};
use std::collections::HashMap;

/// One state a step.
#[derive(Debug)]
pub(super) enum Fold {
    /// Where there was no number yet, the sum is the stale marker.
    Sum(Vec<Kahan>),
    Count(Vec<u32>),
    Group(Vec<bool>),
    /// The best so far, or the stale marker.
    Best(Vec<f64>, fn(f64, f64) -> bool),
    Mean(Vec<Mean>),
    /// And how to get from the variance to the answer.
    Variance(Vec<Variance>, fn(f64) -> f64),
}

impl Fold {
    /// `None` where the operator must see all members of a group at once.
    pub fn of(op: AggregateOp, steps: usize) -> Option<Fold> {
        Some(match op {
            AggregateOp::Sum => Fold::Sum(vec![Kahan::starting(stale_marker()); steps]),
            AggregateOp::Count => Fold::Count(vec![0; steps]),
            AggregateOp::Group => Fold::Group(vec![false; steps]),
            AggregateOp::Min => Fold::Best(vec![stale_marker(); steps], |new, old| new < old),
            AggregateOp::Max => Fold::Best(vec![stale_marker(); steps], |new, old| new > old),
            AggregateOp::Avg => Fold::Mean(vec![Mean::default(); steps]),
            AggregateOp::Stdvar => Fold::Variance(vec![Variance::default(); steps], |variance| variance),
            AggregateOp::Stddev => Fold::Variance(vec![Variance::default(); steps], f64::sqrt),
            _ => return None,
        })
    }

    fn bytes(&self) -> usize {
        match self {
            Fold::Sum(sums) => size_of_val(&sums[..]),
            Fold::Count(counts) => size_of_val(&counts[..]),
            Fold::Group(any) => size_of_val(&any[..]),
            Fold::Best(best, _) => size_of_val(&best[..]),
            Fold::Mean(means) => size_of_val(&means[..]),
            Fold::Variance(variances, _) => size_of_val(&variances[..]),
        }
    }

    fn add(&mut self, values: &Values) {
        match self {
            Fold::Sum(sums) => each(sums, values, |sum, value| {
                // The marker would not be the same after an addition.
                if sum.main().to_bits() == STALE_NAN_BITS {
                    *sum = Kahan::default();
                }
                sum.add(value);
            }),
            Fold::Count(counts) => each(counts, values, |count, _| *count += 1),
            Fold::Group(any) => each(any, values, |any, _| *any = true),
            Fold::Best(best, better) => each(best, values, |best, value| {
                // The stale marker is one of the values that are no numbers.
                if best.is_nan() || better(value, *best) {
                    *best = value;
                }
            }),
            Fold::Mean(means) => each(means, values, Mean::add),
            Fold::Variance(variances, _) => each(variances, values, Variance::add),
        }
    }

    fn values(self) -> Values {
        let present = |value: f64| (!is_stale_marker(value)).then_some(value);
        match self {
            Fold::Sum(sums) => sums.into_iter().map(|sum| present(sum.main()).map(|_| sum.sum())).collect(),
            Fold::Count(counts) => {
                counts.into_iter().map(|count| (count > 0).then(|| f64::from(count))).collect()
            }
            Fold::Group(any) => any.into_iter().map(|any| any.then_some(1.0)).collect(),
            Fold::Best(best, _) => best.into_iter().map(present).collect(),
            Fold::Mean(means) => means.into_iter().map(Mean::value).collect(),
            Fold::Variance(variances, of) => {
                variances.into_iter().map(|variance| variance.value().map(of)).collect()
            }
        }
    }
}

fn each<T>(states: &mut [T], values: &Values, mut add: impl FnMut(&mut T, f64)) {
    for (state, value) in states.iter_mut().zip(values.iter()) {
        if let Some(value) = value {
            add(state, value);
        }
    }
}

/// Groups in the order of their first member.
pub(super) struct Folding<'a> {
    aggregate: &'a Aggregate,
    room: &'a Room,
    groups: Vec<Group>,
    known: HashMap<Vec<u8>, usize>,
    key: Vec<u8>,
}

struct Group {
    labels: Labels,
    drop_name: bool,
    numbers: Fold,
    /// Members that have any: they are rare, and what becomes of them depends on all.
    with_histograms: Vec<Series>,
}

impl<'a> Folding<'a> {
    pub fn new(aggregate: &'a Aggregate, room: &'a Room) -> Folding<'a> {
        Folding { aggregate, room, groups: vec![], known: HashMap::new(), key: vec![] }
    }

    pub fn add(&mut self, series: Series) -> Result<(), QueryError> {
        self.aggregate.key(&series.labels, &mut self.key);
        let at = match self.known.get(&self.key) {
            Some(at) => *at,
            None => {
                let labels = Labels::from_bytes(&self.key).unwrap_or_default();
                let Some(numbers) = Fold::of(self.aggregate.op, self.aggregate.times.count) else {
                    return Ok(());
                };
                self.room.take(numbers.bytes() + 2 * self.key.len() + size_of::<Group>())?;
                self.known.insert(self.key.clone(), self.groups.len());
                self.groups.push(Group { labels, drop_name: false, numbers, with_histograms: vec![] });
                self.groups.len() - 1
            }
        };
        let group = &mut self.groups[at];
        group.drop_name |= series.drop_name;
        group.numbers.add(&series.values);
        if !series.histograms.is_empty() {
            self.room.take(series.bytes())?;
            group.with_histograms.push(series);
        }
        Ok(())
    }

    pub fn finish(self) -> Matrix {
        let series = self.groups.into_iter().map(|group| {
            let Group { labels, drop_name, numbers, with_histograms } = group;
            let values = numbers.values();
            if with_histograms.is_empty() {
                return Series { labels, drop_name, values, histograms: vec![] };
            }
            let members: Vec<&Series> = with_histograms.iter().collect();
            self.aggregate.with_histograms(&values, &members).series(labels, drop_name)
        });
        Matrix(series.collect()).without_empty()
    }
}

/// An aggregation of what a selector finds, without holding all of it. Inputs are the selector's.
#[derive(Debug)]
pub(super) struct AggregateScan {
    pub aggregate: Aggregate,
    pub scan: Scan,
}

#[async_trait::async_trait]
impl Node for AggregateScan {
    fn name(&self) -> &'static str {
        "PromAggregateScan"
    }

    fn details(&self) -> String {
        format!("{} {}", self.aggregate.details(), self.scan.details())
    }

    async fn evaluate(&self, parameters: Vec<Matrix>, room: &Room) -> Result<Matrix, QueryError> {
        let mut folding = Folding::new(&self.aggregate, room);
        self.scan.each(&parameters, room, |series| folding.add(series)).await?;
        Ok(folding.finish())
    }
}
