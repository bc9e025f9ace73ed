//! Functions that change labels, or order by them.

use super::math::note_sort;
use super::matrix::{Matrix, Series};
use super::node::{Node, join_same};
use super::notes::Notes;
use crate::QueryError;
use crate::room::Room;
use model::{LabelSetBuilder, Labels};
use regex::Regex;
use std::cmp::Ordering;

#[derive(Debug)]
pub(super) struct LabelReplace {
    target: String,
    replacement: String,
    source: String,
    pattern: Regex,
}

/// Any UTF-8 names a label, but for nothing.
fn check_name(function: &str, which: &str, label: &str) -> Result<(), QueryError> {
    if label.is_empty() || !::promql::is_utf8(label) {
        return Err(QueryError::Execution(format!("invalid {which} label name in {function}(): {label}")));
    }
    Ok(())
}

impl LabelReplace {
    pub fn new(
        target: &str,
        replacement: &str,
        source: &str,
        pattern: &str,
    ) -> Result<LabelReplace, QueryError> {
        check_name("label_replace", "destination", target)?;
        let pattern = model::regexp::compile_whole(pattern).map_err(|_| {
            QueryError::Execution(format!("invalid regular expression in label_replace(): {pattern}"))
        })?;
        let (target, replacement, source) = (target.to_owned(), replacement.to_owned(), source.to_owned());
        Ok(LabelReplace { target, replacement, source, pattern })
    }

    fn apply(&self, labels: &Labels) -> Option<Labels> {
        let captures = self.pattern.captures(labels.get(&self.source).unwrap_or(""))?;
        let mut value = String::new();
        captures.expand(&self.replacement, &mut value);
        let mut changed = LabelSetBuilder::from_labels(labels);
        changed.remove(&self.target);
        if !value.is_empty() {
            changed.set(&self.target, &value);
        }
        Some(changed.build())
    }
}

#[async_trait::async_trait]
impl Node for LabelReplace {
    fn name(&self) -> &'static str {
        "PromLabelReplace"
    }

    async fn evaluate(&self, inputs: Vec<Matrix>, _: &Room) -> Result<Matrix, QueryError> {
        relabelled(inputs, &self.target, |labels| self.apply(labels))
    }
}

/// `None` leaves labels as they are. A metric that is given a name keeps it.
fn relabelled(
    inputs: Vec<Matrix>,
    target: &str,
    change: impl Fn(&Labels) -> Option<Labels>,
) -> Result<Matrix, QueryError> {
    let Some(matrix) = inputs.into_iter().next() else { return Ok(Matrix::default()) };
    let series = matrix.0.into_iter().map(|series| match change(&series.labels) {
        None => series,
        Some(labels) => {
            let drop_name = series.drop_name && target != model::METRIC_NAME;
            Series { labels, drop_name, ..series }
        }
    });
    join_same(Matrix(series.collect()))
}

#[derive(Debug)]
pub(super) struct LabelJoin {
    target: String,
    separator: String,
    sources: Vec<String>,
}

impl LabelJoin {
    pub fn new(target: &str, separator: &str, sources: Vec<String>) -> Result<LabelJoin, QueryError> {
        for source in &sources {
            check_name("label_join", "source", source)?;
        }
        check_name("label_join", "destination", target)?;
        Ok(LabelJoin { target: target.to_owned(), separator: separator.to_owned(), sources })
    }
}

#[async_trait::async_trait]
impl Node for LabelJoin {
    fn name(&self) -> &'static str {
        "PromLabelJoin"
    }

    async fn evaluate(&self, inputs: Vec<Matrix>, _: &Room) -> Result<Matrix, QueryError> {
        relabelled(inputs, &self.target, |labels| {
            let values: Vec<&str> =
                self.sources.iter().map(|source| labels.get(source).unwrap_or("")).collect();
            let mut changed = LabelSetBuilder::from_labels(labels);
            changed.remove(&self.target);
            let value = values.join(&self.separator);
            if !value.is_empty() {
                changed.set(&self.target, &value);
            }
            Some(changed.build())
        })
    }
}

#[derive(Debug)]
pub(super) struct SortByLabel {
    pub labels: Vec<String>,
    pub descending: bool,
    pub instant: bool,
    pub notes: Notes,
    pub at: usize,
}

#[async_trait::async_trait]
impl Node for SortByLabel {
    fn name(&self) -> &'static str {
        "PromSortByLabel"
    }

    async fn evaluate(&self, inputs: Vec<Matrix>, _: &Room) -> Result<Matrix, QueryError> {
        let Some(mut matrix) = inputs.into_iter().next() else { return Ok(Matrix::default()) };
        if !self.instant {
            note_sort(&self.notes, self.at);
        }
        matrix.0.sort_by(|a, b| {
            let of = |labels: &Labels, name: &str| labels.get(name).unwrap_or("").to_owned();
            let by_labels =
                self.labels.iter().map(|name| natural(&of(&a.labels, name), &of(&b.labels, name)));
            let order = by_labels.fold(Ordering::Equal, Ordering::then).then_with(|| a.labels.cmp(&b.labels));
            if self.descending { order.reverse() } else { order }
        });
        Ok(matrix)
    }
}

/// Runs of digits compare as numbers: `node-2` before `node-10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (in_a, in_b) = (digits(a), digits(b));
        if in_a > 0 && in_b > 0 {
            let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
            let order = number(&a[..in_a]).cmp(&number(&b[..in_b]));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[in_a..], &b[in_b..]);
            continue;
        }
        let (mut rest_a, mut rest_b) = (a.chars(), b.chars());
        match (rest_a.next(), rest_b.next()) {
            (None, None) => return Ordering::Equal,
            (x, y) if x == y => (a, b) = (rest_a.as_str(), rest_b.as_str()),
            (x, y) => return x.cmp(&y),
        }
    }
}
