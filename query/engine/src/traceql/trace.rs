//! One whole trace: who is whose child, its root, and the spansets that a pipeline finds in it.

use super::copies;
use super::evaluate::{SpanAt, arithmetic, compare};
use super::spans::Spans;
use super::value::Val;
use model::{SpanId, SpanKind};
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use traceql::{
    Aggregate, Answers, Element, FieldExpr, Intrinsic, Pipeline, Relation, Scalar, SpansetExpr, SpansetOp,
};

/// What the spans of a trace are to one another.
pub(crate) struct TraceFacts {
    /// The parent of each span, where it is in the trace.
    parents: Vec<Option<usize>>,
    /// Spans that have no parent.
    roots: Vec<bool>,
    children: Vec<u32>,
    /// Left and right of each span in the nested-set numbering from 1.
    nested: Vec<(i64, i64)>,
    pub start_ns: i64,
    pub end_ns: i64,
    pub root_name: String,
    pub root_service: String,
}

pub(crate) struct Trace<'a> {
    /// Batch and row of each span.
    pub rows: Vec<(&'a Spans<'a>, usize)>,
    pub facts: TraceFacts,
}

/// Spans of a trace that belong together, and what was computed of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spanset {
    pub spans: Vec<usize>,
    pub attributes: Vec<(String, Val<'static>)>,
}

impl<'a> Trace<'a> {
    /// The rows in order of their start; a span that was sent twice is there once. Both ends of a call may have one id and
    /// one start: their kinds tell which comes first, wherever the two lie.
    pub fn new(mut rows: Vec<(&'a Spans<'a>, usize)>) -> Trace<'a> {
        copies::once(&mut rows);
        let facts = TraceFacts::of(&rows);
        Trace { rows, facts }
    }

    pub fn at(&self, index: usize) -> SpanAt<'_> {
        let (spans, row) = self.rows[index];
        SpanAt { spans, row, trace: Some((self, index)) }
    }

    pub fn find(&self, pipeline: &Pipeline) -> Vec<Spanset> {
        let all = Spanset { spans: (0..self.rows.len()).collect(), attributes: Vec::new() };
        self.pipeline(pipeline, vec![all])
    }

    fn pipeline(&self, pipeline: &Pipeline, mut sets: Vec<Spanset>) -> Vec<Spanset> {
        for element in &pipeline.elements {
            sets = match element {
                Element::Spansets(expr) => sets
                    .into_iter()
                    .map(|set| Spanset { spans: self.spansets(expr, &set.spans), attributes: set.attributes })
                    .filter(|set| !set.spans.is_empty())
                    .collect(),
                Element::Scalar { left, op, right } => sets
                    .into_iter()
                    .filter_map(|mut set| {
                        let value = self.scalar(left, &set.spans)?;
                        let other = self.scalar(right, &set.spans)?;
                        compare(*op, &value, &other)?.then(|| {
                            set.attributes.push((left.to_string(), value));
                            set
                        })
                    })
                    .collect(),
                Element::By(expr) => sets.into_iter().flat_map(|set| self.grouped(expr, set)).collect(),
                Element::Coalesce => {
                    let mut spans: Vec<usize> = sets.into_iter().flat_map(|set| set.spans).collect();
                    spans.sort_unstable();
                    spans.dedup();
                    vec![Spanset { spans, attributes: Vec::new() }]
                }
                Element::Select(_) => sets,
            };
        }
        sets.retain(|set| !set.spans.is_empty());
        sets
    }

    fn grouped(&self, expr: &traceql::FieldExpr, set: Spanset) -> Vec<Spanset> {
        let mut groups: Vec<(Val<'static>, Vec<usize>)> = Vec::new();
        // By what they are written as: a trace may have a million spans, and each may be a group of its own.
        let mut places: HashMap<String, usize> = HashMap::new();
        for span in set.spans {
            let key = self.at(span).evaluate(expr).owned();
            let place = *places.entry(format!("{key:?}")).or_insert(groups.len());
            match groups.get_mut(place) {
                Some((_, spans)) => spans.push(span),
                None => groups.push((key, vec![span])),
            }
        }
        let name = format!("by({expr})");
        groups
            .into_iter()
            .map(|(key, spans)| {
                let mut attributes = set.attributes.clone();
                attributes.push((name.clone(), key));
                Spanset { spans, attributes }
            })
            .collect()
    }

    fn scalar(&self, scalar: &Scalar, spans: &[usize]) -> Option<Val<'static>> {
        scalar_of(scalar, spans.len(), &|expr, see| {
            spans.iter().for_each(|span| see(&self.at(*span).evaluate(expr)));
        })
    }

    fn spansets(&self, expr: &SpansetExpr, among: &[usize]) -> Vec<usize> {
        match expr {
            SpansetExpr::Filter(filter) => {
                among.iter().copied().filter(|span| self.at(*span).holds(filter) == Some(true)).collect()
            }
            SpansetExpr::Pipeline(pipeline) => {
                let set = Spanset { spans: among.to_vec(), attributes: Vec::new() };
                let mut spans: Vec<usize> =
                    self.pipeline(pipeline, vec![set]).into_iter().flat_map(|set| set.spans).collect();
                spans.sort_unstable();
                spans.dedup();
                spans
            }
            SpansetExpr::Op { op, left, right } => {
                let (left, right) = (self.spansets(left, among), self.spansets(right, among));
                match op {
                    SpansetOp::And if left.is_empty() || right.is_empty() => Vec::new(),
                    SpansetOp::And | SpansetOp::Or => union(left, right),
                    SpansetOp::Structural(relation, answers) => {
                        self.structural(*relation, *answers, left, right)
                    }
                }
            }
        }
    }

    fn structural(
        &self,
        relation: Relation,
        answers: Answers,
        left: Vec<usize>,
        right: Vec<usize>,
    ) -> Vec<usize> {
        let mask = |spans: &[usize]| {
            let mut mask = vec![false; self.rows.len()];
            spans.iter().for_each(|span| mask[*span] = true);
            mask
        };
        let related = self.facts.related(relation, &mask(&left));
        match answers {
            Answers::Right => right.into_iter().filter(|span| related[*span]).collect(),
            Answers::Not => right.into_iter().filter(|span| !related[*span]).collect(),
            Answers::Union => {
                let back = self.facts.related(turned(relation), &mask(&right));
                let left = left.into_iter().filter(|span| back[*span]).collect();
                union(left, right.into_iter().filter(|span| related[*span]).collect())
            }
        }
    }
}

/// Takes what an expression is at a span.
type Taker<'a> = dyn FnMut(&Val<'_>) + 'a;

/// What a scalar is of so many spans. `each` hands on what an expression is at every one of them, in order of their start.
pub(super) fn scalar_of(
    scalar: &Scalar,
    spans: usize,
    each: &dyn Fn(&FieldExpr, &mut Taker<'_>),
) -> Option<Val<'static>> {
    Some(match scalar {
        Scalar::Count => Val::Int(spans as i64),
        Scalar::Static(value) => Val::from(value).owned(),
        Scalar::Arithmetic(op, left, right) => {
            let value = arithmetic(*op, &scalar_of(left, spans, each)?, &scalar_of(right, spans, each)?);
            value.number()?;
            value
        }
        Scalar::Aggregate(op, expr) => {
            let (mut durations, mut integers) = (true, *op != Aggregate::Avg);
            let (mut numbers, mut whole): (Vec<f64>, Vec<i64>) = (vec![], vec![]);
            each(expr, &mut |value| {
                if let Some(number) = value.number() {
                    durations &= matches!(value, Val::Duration(_));
                    integers &= matches!(value, Val::Int(_));
                    numbers.push(number);
                }
                if let Val::Int(number) | Val::Duration(number) = value {
                    whole.push(*number);
                }
            });
            if numbers.is_empty() {
                return None;
            }
            let number = match op {
                Aggregate::Sum => numbers.iter().sum(),
                Aggregate::Avg => numbers.iter().sum::<f64>() / numbers.len() as f64,
                Aggregate::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
                Aggregate::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            };
            let exact = || whole_of(*op, &whole).unwrap_or(number as i64);
            match (durations, integers) {
                (true, _) => Val::Duration(exact()),
                (_, true) => Val::Int(exact()),
                _ => Val::Float(number),
            }
        }
    })
}

/// To the last digit: past 2^53 a fraction tells a whole number roughly. A sum longer than 64 bits is the longest that there is.
fn whole_of(op: Aggregate, numbers: &[i64]) -> Option<i64> {
    match op {
        Aggregate::Sum => {
            let sum: i128 = numbers.iter().copied().map(i128::from).sum();
            Some(sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
        }
        Aggregate::Avg => None,
        Aggregate::Min => numbers.iter().copied().min(),
        Aggregate::Max => numbers.iter().copied().max(),
    }
}

fn turned(relation: Relation) -> Relation {
    match relation {
        Relation::Child => Relation::Parent,
        Relation::Parent => Relation::Child,
        Relation::Descendant => Relation::Ancestor,
        Relation::Ancestor => Relation::Descendant,
        Relation::Sibling => Relation::Sibling,
    }
}

fn union(mut left: Vec<usize>, right: Vec<usize>) -> Vec<usize> {
    left.extend(right);
    left.sort_unstable();
    left.dedup();
    left
}

impl TraceFacts {
    /// Of a trace whose spans are not here.
    pub fn unknown() -> TraceFacts {
        TraceFacts::of(&[])
    }

    /// Service and name of the root of another trace.
    pub fn take_root(&mut self, (service, name): &(String, String)) {
        self.root_service.clone_from(service);
        self.root_name.clone_from(name);
    }

    fn of(rows: &[(&Spans<'_>, usize)]) -> TraceFacts {
        // A server's span may share its id with the client's. What is below that id was asked by the server, unless it is a
        // server itself; of several the first by time stands for the others.
        let mut by_id: HashMap<SpanId, (usize, Option<usize>)> = HashMap::new();
        for (at, (spans, row)) in rows.iter().enumerate() {
            match by_id.entry(spans.span_id(*row)) {
                Entry::Vacant(place) => _ = place.insert((at, None)),
                Entry::Occupied(mut known) => _ = known.get_mut().1.get_or_insert(at),
            }
        }
        let kind = |at: usize| rows[at].0.kind(rows[at].1);
        let parent = |at: usize| {
            let (spans, row) = rows[at];
            let (first, second) = *by_id.get(&spans.parent(row)?)?;
            let wanted = if kind(at) == SpanKind::Server { SpanKind::Client } else { SpanKind::Server };
            let second = second.filter(|second| kind(*second) == wanted && kind(first) != wanted);
            Some(second.unwrap_or(first)).filter(|parent| *parent != at)
        };
        let parents: Vec<Option<usize>> = (0..rows.len()).map(parent).collect();
        let roots: Vec<bool> = rows.iter().map(|(spans, row)| spans.parent(*row).is_none()).collect();
        let mut children = vec![0u32; rows.len()];
        parents.iter().flatten().for_each(|parent| children[*parent] += 1);
        let root = roots.iter().position(|root| *root);
        let start_ns = rows.iter().map(|(spans, row)| spans.start(*row)).min().unwrap_or(0);
        let end = |(spans, row): &(&Spans<'_>, usize)| spans.start(*row).saturating_add(spans.duration(*row));
        let end_ns = rows.iter().map(end).max().unwrap_or(0);
        let nested = nested(&parents, &roots);
        let (root_name, root_service) = match root {
            Some(at) => (rows[at].0.name(rows[at].1).to_owned(), rows[at].0.service(rows[at].1).to_owned()),
            None => (String::new(), String::new()),
        };
        TraceFacts { parents, roots, children, nested, start_ns, end_ns, root_name, root_service }
    }

    /// The parent of a span, where it is in the trace.
    pub fn parent(&self, at: usize) -> Option<usize> {
        self.parents[at]
    }

    pub fn value<'a>(&'a self, intrinsic: Intrinsic, at: usize) -> Val<'a> {
        match intrinsic {
            Intrinsic::TraceDuration => Val::Duration(self.end_ns.saturating_sub(self.start_ns)),
            Intrinsic::RootName => Val::Text(Cow::Borrowed(&self.root_name)),
            Intrinsic::RootService => Val::Text(Cow::Borrowed(&self.root_service)),
            Intrinsic::ChildCount => Val::Int(i64::from(self.children[at])),
            Intrinsic::NestedSetLeft => Val::Int(self.nested[at].0),
            Intrinsic::NestedSetRight => Val::Int(self.nested[at].1),
            // A root's parent is -1 and one that is not there 0, as Tempo has it: `nestedSetParent < 0` asks for roots.
            Intrinsic::NestedSetParent if self.roots[at] => Val::Int(-1),
            Intrinsic::NestedSetParent => {
                Val::Int(self.parents[at].map_or(0, |parent| self.nested[parent].0))
            }
            _ => Val::Nil,
        }
    }

    /// For each span whether it stands in the relation to any of `to`. A loop of parents ends after one round.
    fn related(&self, relation: Relation, to: &[bool]) -> Vec<bool> {
        let count = self.parents.len();
        let mut related = vec![false; count];
        match relation {
            Relation::Child => {
                for (related, parent) in related.iter_mut().zip(&self.parents) {
                    *related = parent.is_some_and(|parent| to[parent]);
                }
            }
            Relation::Parent => {
                for at in (0..count).filter(|at| to[*at]) {
                    if let Some(parent) = self.parents[at] {
                        related[parent] = true;
                    }
                }
            }
            Relation::Descendant => {
                // What was found of a span holds for all that is below it, so that a long chain is climbed once.
                let mut known = vec![None; count];
                let mut climbed = Vec::new();
                for mut at in 0..count {
                    let below = loop {
                        if let Some(below) = known[at] {
                            break below;
                        }
                        known[at] = Some(false);
                        climbed.push(at);
                        match self.parents[at] {
                            Some(parent) if !to[parent] => at = parent,
                            parent => break parent.is_some(),
                        }
                    };
                    for at in climbed.drain(..) {
                        known[at] = Some(below);
                        related[at] = below;
                    }
                }
            }
            Relation::Ancestor => {
                for at in (0..count).filter(|at| to[*at]) {
                    for ancestor in self.ancestors(at) {
                        if std::mem::replace(&mut related[ancestor], true) {
                            break;
                        }
                    }
                }
            }
            Relation::Sibling => {
                // Roots are siblings as well.
                let family = |at: usize| self.parents[at].map(Some).or(self.roots[at].then_some(None));
                let mut of_parent: HashMap<Option<usize>, (usize, usize)> = HashMap::new();
                for at in (0..count).filter(|at| to[*at]) {
                    if let Some(parent) = family(at) {
                        let entry = of_parent.entry(parent).or_insert((0, at));
                        entry.0 += 1;
                    }
                }
                for (at, related) in related.iter_mut().enumerate() {
                    let others = family(at).and_then(|parent| of_parent.get(&parent));
                    *related = others.is_some_and(|(count, only)| *count > 1 || *only != at);
                }
            }
        }
        related
    }

    fn ancestors(&self, at: usize) -> impl Iterator<Item = usize> {
        let first = self.parents[at];
        std::iter::successors(first, |at| self.parents[*at]).take(self.parents.len())
    }
}

/// Left and right of each span by a walk through the trees, without recursion. Spans that no root is above keep 0.
fn nested(parents: &[Option<usize>], roots: &[bool]) -> Vec<(i64, i64)> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); parents.len()];
    for (at, parent) in parents.iter().enumerate() {
        if let Some(parent) = parent {
            children[*parent].push(at);
        }
    }
    let mut nested = vec![(0, 0); parents.len()];
    let mut counter = 0;
    for root in (0..parents.len()).filter(|at| roots[*at]) {
        let mut stack = vec![(root, 0usize)];
        while let Some((at, child)) = stack.pop() {
            if child == 0 {
                counter += 1;
                nested[at].0 = counter;
            }
            match children[at].get(child) {
                Some(next) => {
                    stack.push((at, child + 1));
                    stack.push((*next, 0));
                }
                None => {
                    counter += 1;
                    nested[at].1 = counter;
                }
            }
        }
    }
    nested
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    /// Also where parents form rings.
    #[test]
    fn below_is_who_has_one_of_them_above() {
        let mut rng = StdRng::seed_from_u64(5);
        for _ in 0..300 {
            let count = rng.random_range(1..30);
            let mut parents = Vec::new();
            for at in 0..count {
                let parent = rng.random_range(0..count);
                parents.push((parent != at && rng.random_bool(0.85)).then_some(parent));
            }
            let to: Vec<bool> = (0..count).map(|_| rng.random_bool(0.2)).collect();
            let roots = parents.iter().map(Option::is_none).collect();
            let facts = TraceFacts { parents, roots, ..TraceFacts::unknown() };
            let expected: Vec<bool> =
                (0..count).map(|at| facts.ancestors(at).any(|above| to[above])).collect();
            assert_eq!(facts.related(Relation::Descendant, &to), expected, "{:?} {to:?}", facts.parents);
        }
    }
}
