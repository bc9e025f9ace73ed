//! What traces are rooted in, as the indexes know it without the spans. Each thread asks for a share of the traces.

use super::super::MetricsQuery;
use super::by_time::{ByTime, Known, NONE, Piece, Stretches, Ticks};
use super::rows::Rows;
use super::table::Held;
use crate::QueryError;
use crate::logql::broken;
use crate::traceql::search::range_of_traces;
use crate::traceql::shares::in_shares;
use crate::traceql::spans::{Keyed, Spans, Traces};
use crate::traceql::trace::TraceFacts;
use arrow::array::FixedSizeBinaryArray;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use futures::StreamExt;
use model::TimeRange;
use std::borrow::Cow;
use std::sync::Arc;
use store::{Root, RootNames};

const MS: i64 = 1_000_000;
/// What was not looked up yet, and what is just being looked up.
const UNASKED: u32 = NONE - 1;
const ASKED: u32 = NONE - 2;

/// Services and names of roots, with the memory that they take.
pub(super) struct Roots {
    names: RootNames,
    of_traces: ByTime,
    /// Traces that begin in the range, so that they have a span there.
    pub begun: usize,
    _held: MemoryReservation,
}

/// Roots of a dictionary of traces, as far as they were looked up.
#[derive(Default)]
pub(super) struct KnownTraces {
    /// It is held, so that no other one lies where it does.
    dictionary: Option<FixedSizeBinaryArray>,
    roots: Vec<u32>,
    /// Keys that are asked for, each with the time of a span.
    asked: Vec<(u32, i64)>,
    /// Rows that wait for the answer.
    waiting: Vec<usize>,
}

impl KnownTraces {
    /// Forgets what was known of another dictionary.
    fn keep(&mut self, traces: &Traces<'_>, held: &mut Held) {
        let same =
            |own: &FixedSizeBinaryArray| std::ptr::eq(own.value_data(), traces.dictionary.value_data());
        if !self.dictionary.as_ref().is_some_and(same) {
            self.dictionary = Some(traces.dictionary.clone());
            let before = self.roots.capacity();
            self.roots.clear();
            self.roots.resize(traces.ids.len(), UNASKED);
            held.grown += (self.roots.capacity() - before) * size_of::<u32>();
        }
    }
}

impl Roots {
    /// Service and name of a root by its number.
    pub fn get(&self, number: u32) -> Option<&(String, String)> {
        self.names.get(number)
    }

    /// The numbers of what the traces of these rows are rooted in; other rows have none.
    pub fn keyed(
        &self,
        spans: &Spans<'_>,
        rows: &Rows,
        known: &mut KnownTraces,
        held: &mut Held,
    ) -> Keyed<'static> {
        let mut keys = vec![NONE; spans.len()];
        if let Some(traces) = spans.traces() {
            known.keep(traces, held);
            for (row, _) in rows.iter() {
                let Some(root) = known.roots.get_mut(traces.keys[row] as usize) else { continue };
                if *root == UNASKED {
                    *root = ASKED;
                    known.asked.push((traces.keys[row], spans.start(row)));
                }
                keys[row] = *root;
                if *root == ASKED {
                    known.waiting.push(row);
                }
            }
            self.answer(traces, known);
            known.waiting.drain(..).for_each(|row| keys[row] = known.roots[traces.keys[row] as usize]);
        }
        Keyed { keys: Cow::Owned(keys), kinds: None, words: self.names.len(), dictionary: None }
    }

    /// Looks up what is asked for.
    fn answer(&self, traces: &Traces<'_>, known: &mut KnownTraces) {
        let mut asked = known.asked.iter();
        let looked_up = known.asked.iter().map(|(key, start_ns)| (traces.ids[*key as usize], *start_ns));
        self.of_traces.each(looked_up, |root| {
            if let Some((key, _)) = asked.next() {
                known.roots[*key as usize] = root;
            }
        });
        known.asked.clear();
    }
}

/// What the threads were told, each in a list of its own.
struct Told {
    names: RootNames,
    known: Vec<Vec<Known>>,
    /// Traces that begin in the range.
    begun: usize,
    held: MemoryReservation,
}

impl Told {
    /// Takes over what another share knows, which is of other traces.
    fn absorb(&mut self, other: Told) -> Result<(), QueryError> {
        let numbers = self.names.absorb(&other.names);
        self.begun += other.begun;
        for mut known in other.known {
            let number = |one: &Known| numbers.get(one.number as usize).copied().unwrap_or(NONE);
            known.iter_mut().for_each(|one| one.number = number(one));
            self.known.push(known);
        }
        self.account(0)
    }

    fn account(&self, beside: usize) -> Result<(), QueryError> {
        let known: usize = self.known.iter().map(Vec::capacity).sum();
        self.held.try_resize(known * size_of::<Known>() + beside).map_err(broken)
    }

    async fn by_time(self, ticks: Ticks) -> Result<Roots, QueryError> {
        let stretches = Stretches::of(ticks, &self.known);
        self.account(stretches.bytes_of(&self.known))?;
        let known = Arc::new((self.known, stretches.clone()));
        let pieces = in_shares(|share| {
            let known = known.clone();
            async move { Ok(Piece::of(&known.1, &known.0, share)) }
        })
        .await?;
        drop(known);
        let of_traces = ByTime::of(stretches, pieces);
        self.held.try_resize(of_traces.bytes()).map_err(broken)?;
        Ok(Roots { names: self.names, of_traces, begun: self.begun, _held: self.held })
    }
}

impl MetricsQuery {
    /// `None` where the indexes do not tell them.
    pub(super) async fn roots(&self) -> Result<Option<Roots>, QueryError> {
        let ticks = Ticks::over(self.steps.range());
        let shares = in_shares(|share| {
            let own = self.clone();
            async move { own.share_of_roots(ticks, share).await }
        })
        .await?;
        let mut all: Option<Told> = None;
        for share in shares {
            let Some(share) = share else { return Ok(None) };
            match &mut all {
                Some(all) => all.absorb(share)?,
                None => all = Some(share),
            }
        }
        match all {
            Some(all) => all.by_time(ticks).await.map(Some),
            None => Ok(None),
        }
    }

    async fn share_of_roots(&self, ticks: Ticks, share: (usize, usize)) -> Result<Option<Told>, QueryError> {
        let range = range_of_traces(self.steps.range());
        let Some(told) = self.snapshot.trace_facts(range, share).await? else { return Ok(None) };
        let (mut names, mut slices) = (told.roots, told.slices);
        let unknown = TraceFacts::unknown();
        let none = names.number(&unknown.root_service, &unknown.root_name);
        let held = MemoryConsumer::new("traceql compare").register(self.context.memory_pool());
        let mut all = Told { names, known: vec![], begun: 0, held };
        let mut known = vec![];
        while let Some(slice) = slices.next().await {
            for fact in slice {
                all.begun += usize::from(begins_in(self.steps.range(), fact.start_ms));
                let root = match fact.root {
                    Root::None => none,
                    Root::One(number) => number,
                    Root::Uncertain => continue,
                };
                known.extend(ticks.known(fact.id, root, (fact.start_ms, fact.end_ms)));
            }
            all.account(known.capacity() * size_of::<Known>())?;
        }
        all.known.push(known);
        Ok(Some(all))
    }
}

/// Whether whatever begins in the millisecond begins in the range.
fn begins_in(range: TimeRange, ms: i64) -> bool {
    let first = ms.saturating_mul(MS);
    range.contains(first) && range.contains(first.saturating_add(MS - 1))
}
