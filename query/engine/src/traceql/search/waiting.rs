//! Traces that wait to be read whole, and how many are at a time. Before many are, those that cannot be answers are left out.

use super::sides::{CLIMBED, Links};
use super::{Search, TRACE_NS_MAX, TRACES_READ, TraceSearch};
use crate::QueryError;
use foldhash::fast::RandomState;
use model::{TimeRange, TraceId};
use std::collections::HashSet;
use std::sync::Arc;

/// Spans that are held at a time, about.
const SPANS_READ: usize = 100_000;
/// So many traces are looked into before it is asked which are impossible: mostly there are enough answers among them.
const TRACES_LOOKED_INTO: usize = 512;
/// Of fewer it is quicker to read them whole than to count the children of all spans.
const TRACES_COUNTED: usize = 16_384;
/// So many are looked into where columns tell it.
const TRACES_TRIED: usize = 50;

/// How many traces are read at a time. While few are answers, ever more: a page that has a span of one trace has some of
/// many others.
pub(super) struct Pace {
    pub traces: usize,
    seen: usize,
    spans: usize,
    /// Whether traces may be left out by what the query demands of them as a whole, and it was not tried yet.
    demands: bool,
    /// Whether some may be left out of the whole range by whatever is told of them.
    pub leaves_some: bool,
    /// So many of the newest are looked into then before.
    tried_max: usize,
}

impl Pace {
    pub fn of(search: &Search) -> Pace {
        let demands = search.demands_of_traces();
        let by_columns = search.aggregates_tell() || search.parents_tell();
        Pace {
            traces: TRACES_READ.min(search.limit.max(1)),
            seen: 0,
            spans: 0,
            demands,
            leaves_some: demands || by_columns,
            tried_max: if by_columns { TRACES_TRIED } else { TRACES_LOOKED_INTO },
        }
    }

    pub fn went(&mut self, spans: usize) {
        self.seen += self.traces;
        self.spans += spans;
        let of_one = (self.spans / self.seen).max(1);
        self.traces = (self.traces * 2).min((SPANS_READ / of_one).max(TRACES_READ));
    }

    /// Of the newest traces: where some can be left out, the others are judged together with those of the whole range.
    pub fn has_tried(&self) -> bool {
        self.leaves_some && self.seen >= self.tried_max
    }

    /// Once.
    fn may_leave_out(&mut self, left: usize) -> bool {
        let now = self.demands && self.seen >= TRACES_LOOKED_INTO && left >= TRACES_LOOKED_INTO;
        self.demands &= !now;
        now
    }
}

/// Those that are looked into next first.
pub(super) struct Waiting {
    pub ids: Vec<TraceId>,
    /// By which those can be left out whose spans do not hang together.
    links: Option<Arc<Links>>,
    /// So many of the first are those that were left then.
    climbed: usize,
    /// Whether what the query demands of whole traces was asked of none of them.
    may_be_impossible: bool,
    /// Whether they are not yet those that columns tell.
    untold: bool,
}

/// What columns tell of all traces.
pub(super) struct Told {
    /// Those that may be answers, those with the newest matching spans first.
    pub traces: Vec<(i64, TraceId)>,
    /// By which they can be [climbed](Search::climbed), where that tells more.
    pub links: Option<Arc<Links>>,
}

impl Waiting {
    /// Of a part of the range.
    pub fn new(ids: Vec<TraceId>) -> Waiting {
        Waiting { ids, links: None, climbed: 0, may_be_impossible: false, untold: false }
    }

    /// None where none of them can be an answer.
    pub async fn next(
        &mut self,
        search: &Search,
        pace: &mut Pace,
        found: &mut TraceSearch,
    ) -> Result<Vec<TraceId>, QueryError> {
        if self.may_be_impossible && pace.may_leave_out(self.ids.len()) {
            self.ids = search.without_impossible(std::mem::take(&mut self.ids)).await?;
        }
        if self.untold && pace.seen >= TRACES_LOOKED_INTO && self.ids.len() >= TRACES_LOOKED_INTO {
            self.untold = false;
            let possible = match search.told_by_columns(found).await? {
                Some(told) => {
                    self.links = told.links;
                    Some(told.traces.into_iter().map(|(_, id)| id).collect::<HashSet<_, RandomState>>())
                }
                None => search.told_by_operands(&mut found.inspected_spans).await?,
            };
            if let Some(possible) = possible {
                self.ids.retain(|id| possible.contains(id));
            }
        }
        if let Some(links) = self.links.clone() {
            while self.climbed == 0 && !self.ids.is_empty() && pace.seen >= TRACES_TRIED {
                let later = self.ids.split_off(CLIMBED.min(self.ids.len()));
                self.ids = search.climbed(&links, std::mem::take(&mut self.ids)).await?;
                self.climbed = self.ids.len();
                self.ids.extend(later);
            }
        }
        // Those that were left are looked into before others are climbed.
        let most = match self.climbed {
            0 => self.ids.len(),
            climbed => climbed.min(self.ids.len()),
        };
        let next: Vec<TraceId> = self.ids.drain(..pace.traces.min(most)).collect();
        self.climbed = self.climbed.saturating_sub(next.len());
        Ok(next)
    }
}

impl Search {
    /// Of the last part of the range, which is all of it where some may be left out: by what tells the most.
    pub(super) async fn last_waiting(
        &self,
        range: TimeRange,
        found: &mut TraceSearch,
    ) -> Result<Waiting, QueryError> {
        if self.demands_nothing_else()
            && let Some(mut ids) = self.told_by_indexes().await?
        {
            if ids.len() >= TRACES_COUNTED
                && let Some(told) = self.told_by_children(&mut found.inspected_spans).await?
            {
                ids.retain(|id| told.contains(id));
            }
            return Ok(Waiting::new(ids));
        }
        // What columns tell is of whole traces, from an hour before the range to one after it. Of a short one it is quicker to
        // look into the first ones.
        let is_short = self.range.end.saturating_sub(self.range.start) < TRACE_NS_MAX;
        let looks_first = is_short || self.sides_take_all();
        let told = if looks_first { None } else { self.told_by_columns(found).await? };
        let untold = looks_first || told.is_none() && self.operands_tell();
        let (ids, links) = match told {
            Some(told) => (told.traces.into_iter().map(|(_, id)| id).collect(), told.links),
            None => (self.candidates(range, found).await?, None),
        };
        Ok(Waiting { ids, links, climbed: 0, may_be_impossible: true, untold })
    }

    /// `None` where they do not tell, or it takes too much room.
    async fn told_by_columns(&self, found: &mut TraceSearch) -> Result<Option<Told>, QueryError> {
        let by_either = self.told_by_either(&mut found.inspected_spans).await?;
        if by_either.is_some() {
            return Ok(by_either);
        }
        let by_sides = self.told_by_sides(&mut found.inspected_spans).await?;
        if by_sides.is_some() {
            return Ok(by_sides);
        }
        let by_aggregates = self.told_by_aggregates(&mut found.inspected_spans).await?;
        Ok(by_aggregates.map(|traces| Told { traces, links: None }))
    }
}
