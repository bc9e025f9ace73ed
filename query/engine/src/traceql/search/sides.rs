//! Traces in which a span of one filter stands to a span of another as a structural operator asks, as `{ name = "a" } >> { status =
//! error }`, without reading them whole. A filter that asks something of the parent, as `{ parent.a = 1 && status = error }`, asks
//! for a child of such a span. Of the spans of both sides only the link is read by which they may hang together: the own id of
//! what is above, the parent's id of what is below. A child's link is its parent's; what is further below climbs by the ids and
//! parents of all spans of its trace. Of the side that is more common only spans are looked at that have a link of the other
//! (`linked`), so that it may be all spans. Traces that are left are read whole.

use super::candidates::how_common;
use super::linked::{By, Linked, NONE};
use super::matching::{Among, Matched, Matching};
use super::waiting::Told;
use super::{Search, range_of_traces};
use crate::QueryError;
use crate::traceql::alike::conditions;
use crate::traceql::scan::narrow;
use crate::traceql::shares::in_shares;
use crate::traceql::spans::Spans;
use datafusion::execution::memory_pool::MemoryConsumer;
use foldhash::fast::RandomState;
use futures::StreamExt;
use model::{SpanId, SpanSelect, TimeRange, TraceId};
use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use store::SpanTest;
use traceql::{
    Answers, CompareOp, Element, Field, FieldExpr, Pipeline, Relation, SpansetExpr, SpansetOp, Static,
};

/// Traces that are climbed at a time: each time the index's blocks that they lie in are unpacked, which are all of them soon.
pub(super) const CLIMBED: usize = 8_192;

/// Two filters, and how their spans must stand to each other.
struct Sides {
    above: FieldExpr,
    below: FieldExpr,
    how: How,
    /// Whether both are asked for by filters of their own. A parent that is asked for by its child's may lie before the range.
    both_within: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Child,
    Descendant,
    /// Neither is above.
    Sibling,
}

impl Sides {
    /// `None` where it is not so, where single spans do not tell what a filter holds of, and where a third one must have spans in
    /// the range as well.
    fn of(pipeline: &Pipeline) -> Option<Sides> {
        let (Element::Spansets(spansets), rest) = pipeline.elements.split_first()? else { return None };
        if rest.iter().any(|element| matches!(element, Element::Spansets(_))) {
            return None;
        }
        match spansets {
            SpansetExpr::Filter(filter) => Sides::of_parent(filter),
            SpansetExpr::Op { op: SpansetOp::Structural(relation, answers), left, right }
                if *answers != Answers::Not =>
            {
                Sides::of_relation(*relation, left, right)
            }
            _ => None,
        }
    }

    fn of_relation(relation: Relation, left: &SpansetExpr, right: &SpansetExpr) -> Option<Sides> {
        let (SpansetExpr::Filter(left), SpansetExpr::Filter(right)) = (left, right) else { return None };
        if is_of_trace(left) || is_of_trace(right) {
            return None;
        }
        let (above, below, how) = match relation {
            Relation::Child => (left, right, How::Child),
            Relation::Parent => (right, left, How::Child),
            Relation::Descendant => (left, right, How::Descendant),
            Relation::Ancestor => (right, left, How::Descendant),
            Relation::Sibling => (left, right, How::Sibling),
        };
        let how = match how {
            // What has any span below it has a child, and what is below any has a parent.
            How::Descendant if is_everything(above) || is_everything(below) => How::Child,
            how => how,
        };
        Some(Sides { above: above.clone(), below: below.clone(), how, both_within: true })
    }

    /// Of a filter that asks of the parent what only one that is there can have.
    fn of_parent(filter: &FieldExpr) -> Option<Sides> {
        let (mut above, mut below) = (vec![], vec![]);
        for condition in conditions(filter) {
            match at_parent(condition) {
                Some(asked) => above.push(asked),
                None if !is_of_trace(condition) => below.push(condition.clone()),
                None => {}
            }
        }
        let joined = |conditions: Vec<FieldExpr>| {
            conditions.into_iter().reduce(|left, right| FieldExpr::And(Box::new(left), Box::new(right)))
        };
        let below = joined(below).unwrap_or(FieldExpr::Static(Static::Bool(true)));
        Some(Sides { above: joined(above)?, below, how: How::Child, both_within: false })
    }

    /// Whether there are fewer of what is above, roughly; `None` where both filters would have everything read, and where one would
    /// whose spans are not found by their links.
    fn above_is_rarer(&self, range: TimeRange) -> Option<bool> {
        match (rank(&self.above, range), rank(&self.below, range)) {
            (Some(above), Some(below)) => Some(above < below),
            (None, None) => None,
            (above, _) => (self.how != How::Descendant).then_some(above.is_some()),
        }
    }

    fn filter(&self, of_above: bool) -> &FieldExpr {
        if of_above { &self.above } else { &self.below }
    }

    /// Siblings have one parent.
    fn by(&self, of_above: bool) -> By {
        if of_above && self.how != How::Sibling { By::Own } else { By::Parent }
    }

    /// Whether a span with this link may stand so to any other.
    fn may_be_linked(&self, link: &Link) -> bool {
        self.how == How::Sibling || link.link != NONE
    }
}

/// Roughly how many spans a filter holds of, the fewest first; `None` where it would have everything read.
fn rank(filter: &FieldExpr, range: TimeRange) -> Option<u8> {
    let all = SpanSelect::all(range);
    let mut select = all.clone();
    narrow(&mut select, filter);
    (select != all).then(|| how_common(&select))
}

fn is_everything(filter: &FieldExpr) -> bool {
    matches!(filter, FieldExpr::Static(Static::Bool(true)))
}

fn is_of_trace(filter: &FieldExpr) -> bool {
    let mut of_trace = false;
    filter.fields(&mut |field| of_trace |= field.of_trace());
    of_trace
}

/// A condition on the parent as one that is asked of that span itself; `None` of any other, and of one that holds where there is
/// no parent.
fn at_parent(condition: &FieldExpr) -> Option<FieldExpr> {
    let of_parent = |expr: &FieldExpr| match expr {
        FieldExpr::Field(Field::Attribute { scope, name }) => {
            let scope = scope.at_parent()?;
            Some(Box::new(FieldExpr::Field(Field::Attribute { scope, name: name.clone() })))
        }
        _ => None,
    };
    let nil = |expr: &FieldExpr| matches!(expr, FieldExpr::Static(Static::Nil));
    match condition {
        FieldExpr::Compare(CompareOp::Equal, left, right) if nil(left) || nil(right) => None,
        FieldExpr::Compare(op, left, right) => match (left.as_ref(), right.as_ref()) {
            (field, FieldExpr::Static(_)) => Some(FieldExpr::Compare(*op, of_parent(field)?, right.clone())),
            (FieldExpr::Static(_), field) => Some(FieldExpr::Compare(*op, left.clone(), of_parent(field)?)),
            _ => None,
        },
        FieldExpr::Regex { negated, value, regex } => {
            Some(FieldExpr::Regex { negated: *negated, value: of_parent(value)?, regex: regex.clone() })
        }
        _ => None,
    }
}

/// Of one span.
struct Link {
    trace: TraceId,
    link: SpanId,
    start_ns: i64,
    /// Of siblings, to tell a span from itself.
    id: SpanId,
    kind: u8,
}

impl Link {
    /// What copies of one span share.
    fn span(&self) -> (SpanId, u8, i64) {
        (self.id, self.kind, self.start_ns)
    }
}

/// The spans of both sides, in order of their traces and links.
pub(super) struct Links {
    above: Matched<Link>,
    below: Matched<Link>,
}

impl Links {
    fn new(mut above: Matched<Link>, mut below: Matched<Link>) -> Links {
        above.rows.sort_unstable_by_key(|link| (link.trace, link.link));
        below.rows.sort_unstable_by_key(|link| (link.trace, link.link));
        Links { above, below }
    }

    /// Traces of which what is told by the links alone is so, those with the newest first. Of spans that were found by their links
    /// it is not told whether others of their filter lie in the range.
    fn candidates(&self, how: How, range: TimeRange) -> Vec<(i64, TraceId)> {
        let mut candidates = vec![];
        for below in self.below.rows.chunk_by(|one, next| one.trace == next.trace) {
            let above = of_trace(&self.above.rows, &below[0].trace);
            let may_be = match how {
                How::Child => below.iter().any(|link| link.link != NONE && has(above, &link.link)),
                How::Sibling => below.iter().any(|link| has_another(above, link)),
                How::Descendant => {
                    let is_below = below.iter().any(|link| link.link != NONE);
                    is_below && newest(above, range).is_some() && newest(below, range).is_some()
                }
            };
            if may_be {
                let newest = newest(above, range).max(newest(below, range));
                candidates.push((newest.unwrap_or(range.start), below[0].trace));
            }
        }
        candidates.sort_unstable_by_key(|newest| Reverse(*newest));
        candidates
    }

    /// Whether a span of what is below has one of what is above over it. Of several spans with one id each may be the parent.
    fn hang_together(&self, trace: &TraceId, steps: &[Step]) -> bool {
        let above = of_trace(&self.above.rows, trace);
        let mut climbed = HashSet::new();
        let mut open: Vec<SpanId> = of_trace(&self.below.rows, trace).iter().map(|link| link.link).collect();
        while let Some(id) = open.pop() {
            if id == NONE || !climbed.insert(id) {
                continue;
            }
            if has(above, &id) {
                return true;
            }
            let own = &steps[steps.partition_point(|step| step.id < id)..];
            open.extend(own.iter().take_while(|step| step.id == id).map(|step| step.parent));
        }
        false
    }
}

fn newest(links: &[Link], range: TimeRange) -> Option<i64> {
    links.iter().map(|link| link.start_ns).filter(|start_ns| range.contains(*start_ns)).max()
}

fn of_trace<'l>(links: &'l [Link], trace: &TraceId) -> &'l [Link] {
    let own = &links[links.partition_point(|link| link.trace < *trace)..];
    &own[..own.partition_point(|link| link.trace == *trace)]
}

/// Whether it is a link of one of them, which are of one trace.
fn has(links: &[Link], link: &SpanId) -> bool {
    links.binary_search_by_key(link, |own| own.link).is_ok()
}

/// Whether it is one of another span than its own.
fn has_another(links: &[Link], link: &Link) -> bool {
    let own = &links[links.partition_point(|own| own.link < link.link)..];
    own.iter().take_while(|own| own.link == link.link).any(|own| own.span() != link.span())
}

/// From a span to its parent.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    trace: TraceId,
    id: SpanId,
    parent: SpanId,
}

impl Search {
    /// Whether [`Search::told_by_sides`] can tell anything.
    pub(super) fn sides_tell(&self) -> bool {
        Sides::of(&self.pipeline).is_some_and(|sides| sides.above_is_rarer(self.range).is_some())
    }

    /// The same of a filter that asks for a parent: without it, what has that parent may be any trace.
    pub(super) fn parents_tell(&self) -> bool {
        let is_of_parent = |sides: &Sides| !sides.both_within;
        Sides::of(&self.pipeline).filter(is_of_parent).is_some() && self.sides_tell()
    }

    /// Whether all spans are looked at for it: it is quicker to look into the first traces that have spans of the rarer side.
    pub(super) fn sides_take_all(&self) -> bool {
        Sides::of(&self.pipeline).is_some_and(|sides| {
            let is_of_all = |filter| rank(filter, self.range).is_none();
            sides.both_within && (is_of_all(&sides.above) || is_of_all(&sides.below))
        })
    }

    /// Traces that may be answers; `None` where it is not told so, or takes too much room.
    pub(super) async fn told_by_sides(&self, inspected: &mut u64) -> Result<Option<Told>, QueryError> {
        let Some(sides) = Sides::of(&self.pipeline) else { return Ok(None) };
        let Some(above_first) = sides.above_is_rarer(self.range) else { return Ok(None) };
        let Some(rarer) = self.links(&sides, above_first, None, None).await? else { return Ok(None) };
        *inspected += rarer.inspected_spans;
        let may_lie_anywhere = above_first && !sides.both_within;
        let within = rarer.rows.iter().filter(|link| may_lie_anywhere || self.range.contains(link.start_ns));
        let Some(among) = self.among(within.map(|link| link.trace)) else { return Ok(None) };
        if among.is_empty() || !rarer.rows.iter().any(|link| sides.may_be_linked(link)) {
            return Ok(Some(Told { traces: vec![], links: None }));
        }
        let linked = match sides.how {
            How::Descendant => None,
            How::Child | How::Sibling => {
                let links = rarer.rows.iter().filter(|link| sides.may_be_linked(link)).map(|link| link.link);
                let room = MemoryConsumer::new("traceql links").register(self.context.memory_pool());
                let Some(linked) = Linked::of(links, rarer.rows.len(), room) else { return Ok(None) };
                Some(linked.test(sides.by(!above_first)))
            }
        };
        let Some(other) = self.links(&sides, !above_first, Some(among), linked).await? else {
            return Ok(None);
        };
        *inspected += other.inspected_spans;
        let links = if above_first { Links::new(rarer, other) } else { Links::new(other, rarer) };
        let traces = links.candidates(sides.how, self.range);
        let links = (sides.how == How::Descendant).then(|| Arc::new(links));
        Ok(Some(Told { traces, links }))
    }

    /// Of one side; where those of the other are known, of its traces, and of spans that pass the test.
    async fn links(
        &self,
        sides: &Sides,
        of_above: bool,
        among: Option<Arc<Among>>,
        test: Option<SpanTest>,
    ) -> Result<Option<Matched<Link>>, QueryError> {
        let (by, siblings) = (sides.by(of_above), sides.how == How::Sibling);
        let columns: &'static [&'static str] = match by {
            By::Own => &["span_id"],
            By::Parent if siblings => &["parent_span_id", "span_id", "kind"],
            By::Parent => &["parent_span_id"],
        };
        let filter = sides.filter(of_above).clone();
        let wanted = Matching { filter, fields: vec![], columns, among, test };
        self.matching(wanted, move |at| Link {
            trace: at.spans.trace_id(at.row),
            link: by.link(at.spans, at.row),
            start_ns: at.spans.start(at.row),
            id: if siblings { at.spans.span_id(at.row) } else { NONE },
            kind: if siblings { at.spans.kind(at.row) as u8 } else { 0 },
        })
        .await
    }

    /// The traces in which a span of one side is somewhere below one of the other, in their order. All of them where it takes too
    /// much room to tell.
    pub(super) async fn climbed(
        &self,
        links: &Arc<Links>,
        ids: Vec<TraceId>,
    ) -> Result<Vec<TraceId>, QueryError> {
        let ids = Arc::new(ids);
        let shares = in_shares(|(at, of)| {
            let (own, links, ids) = (self.clone(), links.clone(), ids.clone());
            async move {
                // Traces that follow one another are of one time, and have their spans in the same pages.
                let share = ids.len() * at / of..ids.len() * (at + 1) / of;
                own.share_of_climbed(&links, &ids[share]).await
            }
        })
        .await?;
        let together: HashSet<TraceId, RandomState> = shares.into_iter().flatten().collect();
        Ok(ids.iter().copied().filter(|id| together.contains(id)).collect())
    }

    async fn share_of_climbed(&self, links: &Links, ids: &[TraceId]) -> Result<Vec<TraceId>, QueryError> {
        // None is not any.
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let select = SpanSelect { trace_ids: ids.to_vec(), ..SpanSelect::all(range_of_traces(self.range)) };
        let reservation = MemoryConsumer::new("traceql links").register(self.context.memory_pool());
        let mut steps = vec![];
        let mut batches = self.scan(select, &["trace_id", "span_id", "parent_span_id"])?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(crate::logql::broken)?;
            let spans = Spans::of(&batch);
            steps.extend((0..spans.len()).filter_map(|row| {
                let (trace, id) = (spans.trace_id(row), spans.span_id(row));
                spans.parent(row).map(|parent| Step { trace, id, parent })
            }));
            if reservation.try_resize(steps.capacity() * size_of::<Step>()).is_err() {
                return Ok(ids.to_vec());
            }
        }
        steps.sort_unstable();
        let together = |id: &&TraceId| {
            let own = &steps[steps.partition_point(|step| step.trace < **id)..];
            links.hang_together(id, &own[..own.partition_point(|step| step.trace == **id)])
        };
        Ok(ids.iter().filter(together).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};
    use traceql::Root;

    fn sides(query: &str) -> Option<Sides> {
        let Root::Spansets(pipeline) = traceql::parse(query).unwrap().root else { panic!("{query}") };
        Sides::of(&pipeline)
    }

    #[test]
    fn two_filters_tell_by_their_links_where_one_narrows_what_is_read() {
        // Whether what is above is the rarer one.
        for (query, expected) in [
            ("{ status = error } >> { name = `a` }", Some(true)),
            ("{ name = `a` } > { status = error } | count() > 2", Some(false)),
            ("{ name = `a` } < { status = error }", Some(true)),
            ("{ name = `a` } &<< { span.x = `b` }", Some(true)),
            ("{ name = `a` } ~ { name = `b` }", Some(false)),
            ("{ name = `a` } > { duration < 1s }", Some(true)),
            ("{ } &> { name = `a` }", Some(false)),
            ("{ name = `a` } >> { }", Some(true)),
            ("{ kind = client } ~ { name = `a` }", Some(false)),
            ("{ parent.span.x = `b` }", Some(true)),
            ("{ parent.span.x = `b` && status = error } | count() > 2", Some(true)),
            ("{ parent.x != nil && status = error }", Some(false)),
            ("{ parent.x > 1 }", None),
            ("{ parent.span.x = nil && status = error }", None),
            ("{ parent.span.x = `b` || status = error }", None),
            ("{ !(parent.span.x = `b`) }", None),
            ("{ parent.span.x = span.x }", None),
            ("{ } > { }", None),
            ("{ name = `a` } !>> { status = error }", None),
            ("{ name = `a` } && { status = error }", None),
            ("{ name = `a` } >> { duration < 1s }", None),
            ("{ name = `a` } >> { status = error && childCount > 2 }", None),
            ("{ name = `a` } >> { status = error } >> { name = `b` }", None),
            ("{ name = `a` } >> { status = error } | { name = `b` }", None),
            ("{ name = `a` }", None),
        ] {
            let rarer = sides(query).and_then(|sides| sides.above_is_rarer(TimeRange::ALL));
            assert_eq!(rarer, expected, "{query}");
        }
    }

    #[test]
    fn what_is_asked_of_a_parent_is_asked_of_a_span_above() {
        let asked =
            sides("{ 1 < parent.resource.x && .y = 2 && childCount > 1 && parent.z !~ `b` }").unwrap();
        assert_eq!(asked.above.to_string(), "(1 < resource.x) && (.z !~ `b`)");
        assert_eq!(asked.below.to_string(), ".y = 2");
        assert_eq!(sides("{ parent.span.x = 1 }").unwrap().below.to_string(), "true");
    }

    fn links(rows: Vec<Link>) -> Matched<Link> {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        Matched::of(rows, MemoryConsumer::new("test").register(&pool))
    }

    #[test]
    fn no_span_is_a_sibling_of_itself() {
        let of = |trace: u8, parent: u8, id: u8, kind: u8| Link {
            trace: [trace; 16],
            link: [parent; 8],
            start_ns: 5,
            id: [id; 8],
            kind,
        };
        let above =
            || links(vec![of(1, 1, 2, 0), of(2, 1, 2, 0), of(3, 0, 2, 0), of(4, 1, 2, 2), of(5, 1, 2, 0)]);
        // Itself, another one, another root, the other end of a call, and one of another family.
        let below =
            || links(vec![of(1, 1, 2, 0), of(2, 1, 3, 0), of(3, 0, 3, 0), of(4, 1, 2, 3), of(5, 4, 3, 0)]);
        let told = Links::new(above(), below()).candidates(How::Sibling, TimeRange { start: 0, end: 9 });
        let mut traces: Vec<u8> = told.into_iter().map(|(_, trace)| trace[0]).collect();
        traces.sort_unstable();
        assert_eq!(traces, [2, 3, 4]);
    }
}
