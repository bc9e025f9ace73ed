//! What is gathered of spans by group and step until they are told as series.

use super::super::alike::Known;
use super::super::evaluate::SpanAt;
use super::super::search::{field_key, value_of};
use super::super::value::Val;
use super::Labels;
use super::exemplars::Example;
use super::values::{Powers, Values};
use crate::QueryError;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use std::collections::HashMap;
use traceql::{Field, MetricsOp};

/// Memory is asked for in such pieces: a value at a time, asking costs more than keeping.
const GROWN_BYTES: usize = 64 << 10;

/// What is gathered of one group at one step.
#[derive(Default, Clone)]
pub(super) struct Bucket {
    /// Spans, each as many times as its sender's sampling says.
    pub count: f64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    /// Kept for quantiles only.
    pub values: Values,
    /// Kept for histograms only.
    pub powers: Powers,
    pub exemplar: Option<Example>,
}

impl Bucket {
    /// A value, and the number that a histogram sorts it by; the bytes that it took.
    #[inline]
    pub fn add(&mut self, op: MetricsOp, (value, whole): (f64, f64), weight: f64) -> usize {
        self.min = if self.count == 0.0 { value } else { self.min.min(value) };
        self.max = if self.count == 0.0 { value } else { self.max.max(value) };
        self.count += weight;
        self.sum += value * weight;
        match op {
            MetricsOp::QuantileOverTime => self.values.push(value, weight),
            MetricsOp::HistogramOverTime => self.powers.add(whole, weight),
            _ => 0,
        }
    }

    /// The largest value of a step is what a reader of a chart wants to open; the bytes that it took.
    pub fn show(&mut self, value: f64, example: impl FnOnce() -> Example) -> usize {
        let before = self.exemplar.as_ref().map(|example| example.value);
        if before.is_some_and(|before| value <= before) {
            return 0;
        }
        let example = example();
        let bytes = if before.is_none() { example.bytes() } else { 0 };
        self.exemplar = Some(example);
        bytes
    }

    fn absorb(&mut self, other: Bucket) {
        if other.count == 0.0 {
            return;
        }
        self.min = if self.count == 0.0 { other.min } else { self.min.min(other.min) };
        self.max = if self.count == 0.0 { other.max } else { self.max.max(other.max) };
        self.count += other.count;
        self.sum += other.sum;
        self.values.absorb(other.values);
        self.powers.absorb(&other.powers);
        let own = self.exemplar.as_ref().map(|example| example.value);
        if let Some(larger) = other.exemplar.filter(|example| own.is_none_or(|own| example.value > own)) {
            self.exemplar = Some(larger);
        }
    }
}

/// Groups, and the memory that they are accounted for.
pub(super) struct Gathered {
    pub groups: Groups,
    /// Not asked for yet.
    grown: usize,
    reservations: Vec<MemoryReservation>,
}

impl Gathered {
    pub fn new(context: &TaskContext, read: Vec<Field>) -> Gathered {
        let reservation = MemoryConsumer::new("traceql metrics").register(context.memory_pool());
        Gathered { groups: Groups { read, ..Groups::default() }, grown: 0, reservations: vec![reservation] }
    }

    /// So many bytes more are held.
    pub fn account(&mut self, grown: usize) -> Result<(), QueryError> {
        self.grown += grown;
        if self.grown < GROWN_BYTES {
            return Ok(());
        }
        let grown = std::mem::take(&mut self.grown);
        self.reservations[0].try_grow(grown).map_err(crate::logql::broken)
    }

    pub fn absorb(&mut self, other: Gathered) {
        self.reservations.extend(other.reservations);
        self.groups.absorb(other.groups);
    }
}

/// What is gathered of a group, by step.
pub(super) enum Numbers {
    /// Where nothing but the count is asked for, and a span of each step where examples are: a group that has few spans
    /// takes a fraction of the memory.
    Counts(Vec<f64>, Vec<Option<Example>>),
    Buckets(Vec<Bucket>),
}

impl Numbers {
    fn bytes(&self) -> usize {
        match self {
            Numbers::Counts(counts, examples) => {
                counts.len() * size_of::<f64>() + examples.len() * size_of::<Option<Example>>()
            }
            Numbers::Buckets(buckets) => buckets.len() * size_of::<Bucket>(),
        }
    }

    fn absorb(&mut self, other: Numbers) {
        match (self, other) {
            (Numbers::Counts(own, own_examples), Numbers::Counts(counts, examples)) => {
                own.iter_mut().zip(counts).for_each(|(own, count)| *own += count);
                own_examples.iter_mut().zip(examples).for_each(|(own, example)| {
                    if own.is_none() {
                        *own = example;
                    }
                });
            }
            (Numbers::Buckets(own), Numbers::Buckets(buckets)) => {
                own.iter_mut().zip(buckets).for_each(|(own, bucket)| own.absorb(bucket));
            }
            // Both are of one query.
            _ => {}
        }
    }
}

/// Groups by the text of their labels.
#[derive(Default)]
pub(super) struct Groups {
    known: HashMap<String, usize>,
    /// By rows that are alike in what is grouped by.
    pub alike: Known<usize>,
    pub all: Vec<(Labels, Numbers)>,
    key: String,
    /// What exemplars are told with.
    pub read: Vec<Field>,
}

impl Groups {
    fn absorb(&mut self, other: Groups) {
        let mut theirs: Vec<Option<(Labels, Numbers)>> = other.all.into_iter().map(Some).collect();
        for (key, at) in other.known {
            let Some((labels, numbers)) = theirs[at].take() else { continue };
            match self.known.get(&key) {
                Some(own) => self.all[*own].1.absorb(numbers),
                None => {
                    self.known.insert(key, self.all.len());
                    self.all.push((labels, numbers));
                }
            }
        }
    }

    /// The group of a span; `grown` by the bytes that it took to make it.
    pub fn of(
        &mut self,
        by: &[Field],
        at: &SpanAt<'_>,
        numbers: impl FnOnce() -> Numbers,
        grown: &mut usize,
    ) -> usize {
        use std::fmt::Write;
        self.key.clear();
        for field in by {
            // Formatting a value into a string cannot fail.
            let _ = match at.value(field) {
                Val::Text(text) => write!(self.key, "s{text}\u{0}"),
                other => write!(self.key, "{other:?}\u{0}"),
            };
        }
        if let Some(group) = self.known.get(&self.key) {
            return *group;
        }
        // What a span does not have is no label.
        let label = |field: &Field| Some((label_name(field), value_of(at.value(field))?));
        let labels: Labels = by.iter().filter_map(label).collect();
        let numbers = numbers();
        *grown += self.key.len() * 2 + numbers.bytes() + 200;
        self.all.push((labels, numbers));
        self.known.insert(self.key.clone(), self.all.len() - 1);
        self.all.len() - 1
    }
}

/// A series' label keeps its scope, as in `resource.service.name`.
pub(super) fn label_name(field: &Field) -> String {
    match field {
        Field::Attribute { .. } => field.to_string(),
        Field::Intrinsic(_) => field_key(field),
    }
}
