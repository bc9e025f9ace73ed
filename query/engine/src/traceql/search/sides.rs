//! Traces in which a span of one filter stands to a span of another as a structural operator asks, as `{ name = "a" } >> { status =
//! error }`, without reading them whole. Of the spans of both sides only the link is read by which they may hang together: the
//! own id of what is above, the parent's id of what is below. A child's link is its parent's; what is further below climbs by
//! the ids and parents of all spans of its trace. Traces that are left are read whole.

use super::candidates::how_common;
use super::matching::{Among, Matched, Matching};
use super::waiting::Told;
use super::{Search, range_of_traces};
use crate::QueryError;
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
use traceql::{Answers, Element, FieldExpr, Pipeline, Relation, SpansetExpr, SpansetOp};

/// Traces that are climbed at a time: each time the index's blocks that they lie in are unpacked, which are all of them soon.
pub(super) const CLIMBED: usize = 8_192;

/// No parent.
const NONE: SpanId = [0; 8];

/// Two filters, and how their spans must stand to each other.
struct Sides<'a> {
    above: &'a FieldExpr,
    below: &'a FieldExpr,
    how: How,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Child,
    Descendant,
    /// Neither is above.
    Sibling,
}

impl<'a> Sides<'a> {
    /// `None` where it is not so, where single spans do not tell what a filter holds of, and where a third one must have spans in
    /// the range as well.
    fn of(pipeline: &'a Pipeline) -> Option<Sides<'a>> {
        let (Element::Spansets(SpansetExpr::Op { op, left, right }), rest) =
            pipeline.elements.split_first()?
        else {
            return None;
        };
        let (SpansetExpr::Filter(left), SpansetExpr::Filter(right)) = (left.as_ref(), right.as_ref()) else {
            return None;
        };
        let SpansetOp::Structural(relation, Answers::Right | Answers::Union) = op else { return None };
        let mut of_trace = false;
        left.fields(&mut |field| of_trace |= field.of_trace());
        right.fields(&mut |field| of_trace |= field.of_trace());
        if of_trace || rest.iter().any(|element| matches!(element, Element::Spansets(_))) {
            return None;
        }
        Some(match relation {
            Relation::Child => Sides { above: left, below: right, how: How::Child },
            Relation::Parent => Sides { above: right, below: left, how: How::Child },
            Relation::Descendant => Sides { above: left, below: right, how: How::Descendant },
            Relation::Ancestor => Sides { above: right, below: left, how: How::Descendant },
            Relation::Sibling => Sides { above: left, below: right, how: How::Sibling },
        })
    }

    /// Whether there are fewer of what is above, roughly; `None` where one of the filters would have everything read.
    fn above_is_rarer(&self, range: TimeRange) -> Option<bool> {
        let all = SpanSelect::all(range);
        let rank = |filter: &FieldExpr| {
            let mut select = all.clone();
            narrow(&mut select, filter);
            (select != all).then(|| how_common(&select))
        };
        Some(rank(self.above)? < rank(self.below)?)
    }
}

/// Of one span.
struct Link {
    trace: TraceId,
    link: SpanId,
    start_ns: i64,
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

    /// Traces that have spans of both sides in the range, and of which what is told by the links alone is so; those with the newest
    /// first.
    fn candidates(&self, how: How, range: TimeRange) -> Vec<TraceId> {
        let mut candidates = vec![];
        for below in self.below.rows.chunk_by(|one, next| one.trace == next.trace) {
            let above = of_trace(&self.above.rows, &below[0].trace);
            let (Some(first), Some(second)) = (newest(above, range), newest(below, range)) else { continue };
            let may_be = match how {
                How::Child => below.iter().any(|link| link.link != NONE && has(above, &link.link)),
                How::Sibling => below.iter().any(|link| has(above, &link.link)),
                How::Descendant => true,
            };
            if may_be {
                candidates.push((first.max(second), below[0].trace));
            }
        }
        candidates.sort_unstable_by_key(|newest| Reverse(*newest));
        candidates.into_iter().map(|(_, trace)| trace).collect()
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

/// From a span to its parent.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    trace: TraceId,
    id: SpanId,
    parent: SpanId,
}

impl Search {
    /// Traces that may be answers; `None` where it is not told so, or takes too much room.
    pub(super) async fn told_by_sides(&self, inspected: &mut u64) -> Result<Option<Told>, QueryError> {
        let Some(sides) = Sides::of(&self.pipeline) else { return Ok(None) };
        let Some(above_first) = sides.above_is_rarer(self.range) else { return Ok(None) };
        let Some(rarer) = self.links(&sides, above_first, None).await? else { return Ok(None) };
        let within = rarer.rows.iter().filter(|link| self.range.contains(link.start_ns));
        let Some(among) = self.among(within.map(|link| link.trace)) else { return Ok(None) };
        *inspected += rarer.inspected_spans;
        if among.is_empty() {
            return Ok(Some(Told { traces: vec![], links: None }));
        }
        let Some(other) = self.links(&sides, !above_first, Some(among)).await? else { return Ok(None) };
        *inspected += other.inspected_spans;
        let links = if above_first { Links::new(rarer, other) } else { Links::new(other, rarer) };
        let traces = links.candidates(sides.how, self.range);
        let links = (sides.how == How::Descendant).then(|| Arc::new(links));
        Ok(Some(Told { traces, links }))
    }

    async fn links(
        &self,
        sides: &Sides<'_>,
        of_above: bool,
        among: Option<Arc<Among>>,
    ) -> Result<Option<Matched<Link>>, QueryError> {
        let filter = if of_above { sides.above } else { sides.below };
        // Siblings have one parent.
        let by_id = of_above && sides.how != How::Sibling;
        let columns: &'static [&'static str] = if by_id { &["span_id"] } else { &["parent_span_id"] };
        let wanted = Matching { filter: filter.clone(), fields: vec![], columns, among };
        self.matching(wanted, move |at| Link {
            trace: at.spans.trace_id(at.row),
            link: if by_id { at.spans.span_id(at.row) } else { at.spans.parent(at.row).unwrap_or(NONE) },
            start_ns: at.spans.start(at.row),
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
    use traceql::Root;

    #[test]
    fn two_filters_tell_by_their_links_where_each_narrows_what_is_read() {
        // Whether what is above is the rarer one.
        for (query, expected) in [
            ("{ status = error } >> { name = `a` }", Some(true)),
            ("{ name = `a` } > { status = error } | count() > 2", Some(false)),
            ("{ name = `a` } < { status = error }", Some(true)),
            ("{ name = `a` } &<< { span.x = `b` }", Some(true)),
            ("{ name = `a` } ~ { name = `b` }", Some(false)),
            ("{ name = `a` } !>> { status = error }", None),
            ("{ name = `a` } && { status = error }", None),
            ("{ name = `a` } >> { duration < 1s }", None),
            ("{ name = `a` } >> { status = error && childCount > 2 }", None),
            ("{ name = `a` } >> { status = error } >> { name = `b` }", None),
            ("{ name = `a` } >> { status = error } | { name = `b` }", None),
            ("{ name = `a` }", None),
        ] {
            let Root::Spansets(pipeline) = traceql::parse(query).unwrap().root else { panic!("{query}") };
            let rarer = Sides::of(&pipeline).and_then(|sides| sides.above_is_rarer(TimeRange::ALL));
            assert_eq!(rarer, expected, "{query}");
        }
    }
}
