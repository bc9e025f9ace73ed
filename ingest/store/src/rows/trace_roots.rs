//! What traces are rooted in, for whoever looks at all spans of many of them: by the place of a trace among those of its part, so
//! that no id is looked for, and by the id where a part does not tell places.
//!
//! A trace may lie in several parts, of which one has its root. So what each part knows is put together by the ids, which the
//! indexes have in order: each share of the work is of the ids that begin so and so.

use super::fields::TRACE_ID;
use super::part::{Facts, Index, PREFIXES, Rooted as Known, prefix};
use super::root_names::RootNames;
use super::trace_facts::{Memory, Root, TRACES_MAX, in_memory};
use crate::part::{Damaged, Part};
use crate::snapshot::TraceFact;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::error::ArrowError;
use foldhash::fast::RandomState;
use model::{TimeRange, TraceId};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

const MS: i64 = 1_000_000;
/// The column of rows of a part whose roots were told by its index.
pub const ROOT: &str = "root";
/// Traces of the largest part that are put together at a time, about.
const SLICE_TRACES: usize = 8_192;
/// The traces of a part with so few are read once for all slices.
const TRACES_KEPT: usize = 4_096;

/// Parts that are asked, and what is known already of traces in memory.
pub struct RootSearch {
    range: TimeRange,
    names: RootNames,
    /// The number of a trace that has no root.
    without: u32,
    sources: Vec<Source>,
    /// In order of their ids.
    memory: Vec<Known>,
    /// No more traces than these are in all parts.
    traces: usize,
    told: Box<dyn Fn(&Damaged) + Send + Sync>,
}

struct Source {
    part: Arc<Part>,
    facts: Facts,
    /// By its runs.
    roots: Vec<u32>,
    /// Rows of the part tell the places of their traces.
    has_places: bool,
}

/// What one share found; of the parts in the order of the search.
pub struct RootShare {
    at: usize,
    /// By the places of the share's traces, one behind the other; `None` of a part that could not be read.
    of_parts: Vec<Option<Vec<u32>>>,
    others: Vec<(TraceId, u32)>,
    begun: usize,
}

/// The number of what each trace is rooted in.
pub struct TraceRoots {
    /// Service and name.
    pub names: RootNames,
    /// Traces that begin in the range, so that they have a span there.
    pub begun: usize,
    /// By the numbers of parts, and there by the place of the trace.
    of_parts: HashMap<i64, Arc<Vec<u32>>>,
    /// Those of other parts and of memory.
    others: HashMap<TraceId, u32, RandomState>,
}

impl TraceRoots {
    /// What is not known to be rooted in one thing.
    pub const UNKNOWN: u32 = u32::MAX;

    /// By the places of the traces of a part; `None` where its rows are asked by their ids.
    pub fn of_part(&self, id: i64) -> Option<&Arc<Vec<u32>>> {
        self.of_parts.get(&id)
    }

    /// Bytes of memory that it takes, about.
    pub fn bytes(&self) -> usize {
        let of_parts: usize = self.of_parts.values().map(|roots| roots.len() * size_of::<u32>()).sum();
        of_parts + self.others.capacity() * (size_of::<(TraceId, u32)>() + 1)
    }

    /// Of each of these rows.
    pub fn column(&self, rows: &RecordBatch) -> Result<ArrayRef, ArrowError> {
        if let Some(roots) = rows.column_by_name(ROOT) {
            return Ok(roots.clone());
        }
        let ids = rows.column_by_name(TRACE_ID).and_then(|ids| ids.as_fixed_size_binary_opt());
        let ids = ids.ok_or_else(|| ArrowError::SchemaError("no trace ids".into()))?;
        let of_row = |row: usize| {
            let id = TraceId::try_from(ids.value(row)).unwrap_or_default();
            self.others.get(&id).copied().unwrap_or(TraceRoots::UNKNOWN)
        };
        Ok(Arc::new(UInt32Array::from_iter_values((0..ids.len()).map(of_row))))
    }
}

impl RootSearch {
    /// `without` are service and name that a trace without a root is said to have. `None` where a part does not know of its traces,
    /// or they are too many. `told` is asked what to do with a part that cannot be read.
    pub async fn of(
        parts: Vec<Arc<Part>>,
        memory: Memory,
        (range, without): (TimeRange, (&str, &str)),
        told: impl Fn(&Damaged) + Send + Sync + 'static,
    ) -> Option<RootSearch> {
        let mut names = RootNames::default();
        let without = names.number(without.0, without.1);
        let (mut sources, mut traces) = (vec![], 0);
        for part in parts {
            let index: Arc<Index> = match part.rows_index().await {
                Ok(index) => index,
                Err(wrong) => {
                    told(&wrong);
                    continue;
                }
            };
            let facts = Facts::of_index(&index)?;
            let of_runs = index.runs.iter().map(|run| names.number(index.group_of(run).service(), &run.name));
            let roots = of_runs.collect();
            traces += facts.count_max();
            sources.push(Source { roots, has_places: index.has_places(), part, facts });
        }
        if traces > TRACES_MAX {
            return None;
        }
        let memory = in_memory(memory, &mut names);
        let known = |fact: TraceFact| Known { id: fact.id, start_ms: fact.start_ms, root: fact.root };
        let memory = memory.into_iter().map(known).collect();
        Some(RootSearch { range, names, without, sources, memory, traces, told: Box::new(told) })
    }

    /// Bytes that all shares and what is made of them take at most, about.
    pub fn bytes_max(&self) -> usize {
        let without_places = self.sources.iter().filter(|source| !source.has_places);
        let by_id: usize = without_places.map(|source| source.facts.count_max()).sum();
        let by_id = (by_id + self.memory.len()) * size_of::<(TraceId, u32)>();
        3 * (self.traces * size_of::<u32>() + by_id)
    }

    /// One of so many shares.
    pub async fn share(&self, (at, of): (usize, usize)) -> RootShare {
        let cut = |share: usize| (PREFIXES as usize * share / of.max(1)) as u32;
        let own = cut(at)..cut(at + 1);
        let of_parts = self.sources.iter().map(|source| source.has_places.then(Vec::new)).collect();
        let mut share = RootShare { at, of_parts, others: vec![], begun: 0 };
        // Parts with few traces are read once, and memory is a source like them.
        let mut kept: Vec<Option<Vec<Known>>> = vec![];
        for (number, source) in self.sources.iter().enumerate() {
            kept.push(match source.facts.count_max() <= TRACES_KEPT {
                true => {
                    let mut known = vec![];
                    self.each_known(number, own.clone(), &mut known, &mut share).await;
                    Some(known.into_iter().map(|(known, _)| known).collect())
                }
                false => None,
            });
        }
        let largest = self.sources.iter().map(|source| source.facts.count_max()).max().unwrap_or(0);
        let slices = (largest / of.max(1) / SLICE_TRACES).max(1) as u32;
        let width = (own.len() as u32).div_ceil(slices).max(1);
        let mut all = vec![];
        for start in own.clone().step_by(width as usize) {
            let prefixes = start..(start + width).min(own.end);
            for (number, kept) in kept.iter().enumerate() {
                match kept {
                    Some(kept) => all.extend(within(kept, &prefixes).iter().map(|known| (*known, number))),
                    None => self.each_known(number, prefixes.clone(), &mut all, &mut share).await,
                }
            }
            all.extend(within(&self.memory, &prefixes).iter().map(|known| (*known, self.sources.len())));
            self.join(&mut all, &mut share);
            all.clear();
        }
        share
    }

    /// Adds what a part knows of traces with these prefixes, in order of their ids.
    async fn each_known(
        &self,
        number: usize,
        prefixes: Range<u32>,
        all: &mut Vec<(Known, usize)>,
        share: &mut RootShare,
    ) {
        let (source, before) = (&self.sources[number], all.len());
        let add =
            |known: Known| all.push((Known { root: known.root.renumbered(&source.roots), ..known }, number));
        if let Err(wrong) = source.facts.each_root(&source.part, prefixes, add).await {
            (self.told)(&wrong);
            all.truncate(before);
            share.of_parts[number] = None;
        }
    }

    /// Puts together what the sources know, those of each in order.
    fn join(&self, all: &mut [(Known, usize)], share: &mut RootShare) {
        // To sort what is in order piece by piece is to merge it.
        all.sort_by_key(|(known, _)| u128::from_be_bytes(known.id));
        for same in all.chunk_by(|(one, _), (next, _)| one.id == next.id) {
            let root = match same.iter().fold(Root::None, |all, (known, _)| all.and(known.root)) {
                Root::None => self.without,
                Root::One(number) => number,
                Root::Uncertain => TraceRoots::UNKNOWN,
            };
            let start_ms = same.iter().map(|(known, _)| known.start_ms).min();
            share.begun += usize::from(start_ms.is_some_and(|start_ms| begins_in(self.range, start_ms)));
            let mut is_other = false;
            for (_, number) in same {
                is_other |= !self.sources.get(*number).is_some_and(|source| source.has_places);
                if let Some(Some(of_part)) = share.of_parts.get_mut(*number) {
                    of_part.push(root);
                }
            }
            if is_other {
                share.others.push((same[0].0.id, root));
            }
        }
    }

    /// Of all shares.
    pub fn finish(&self, mut shares: Vec<RootShare>) -> TraceRoots {
        shares.sort_unstable_by_key(|share| share.at);
        let mut of_parts = HashMap::new();
        for (number, source) in self.sources.iter().enumerate().filter(|(_, source)| source.has_places) {
            let own: Option<Vec<Vec<u32>>> =
                shares.iter_mut().map(|share| share.of_parts[number].take()).collect();
            // A part that could not be read was told of, and is passed over.
            of_parts.insert(source.part.meta.id, Arc::new(own.unwrap_or_default().concat()));
        }
        let mut others = HashMap::default();
        others.reserve(shares.iter().map(|share| share.others.len()).sum());
        let begun = shares.iter().map(|share| share.begun).sum();
        shares.into_iter().for_each(|share| others.extend(share.others));
        TraceRoots { names: self.names.clone(), begun, of_parts, others }
    }
}

fn within<'a>(known: &'a [Known], prefixes: &Range<u32>) -> &'a [Known] {
    let before = |end: u32| known.partition_point(|one| prefix(&one.id) < end);
    &known[before(prefixes.start)..before(prefixes.end)]
}

/// Whether whatever begins in the millisecond begins in the range.
fn begins_in(range: TimeRange, ms: i64) -> bool {
    let first = ms.saturating_mul(MS);
    range.contains(first) && range.contains(first.saturating_add(MS - 1))
}
