//! What is known of a trace as a whole without looking at its spans: when it begins and ends, how many spans it has, and what
//! its root is. A search for what few traces have leaves the others out by it.
//!
//! Times are whole milliseconds that hold the trace; a trace of which several parts know is the sum of what they know.

use super::groups::{GROUP, GroupColumns};
use super::part::{Facts, PREFIXES, prefix};
use super::root_names::RootNames;
use super::stored::numbers;
use crate::part::{Damaged, Part};
use crate::side_index::{Cursor, put_split, take_split};
use crate::snapshot::{ReadError, TraceFact, TraceFacts};
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, TimestampNanosecondType, UInt32Type};
use futures::StreamExt;
use model::TraceId;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

const MS: i64 = 1_000_000;
/// Of one call; with more, all of them would not fit.
pub const TRACES_MAX: usize = 4_000_000;
/// Blocks of the largest part that are looked at together.
const BLOCKS_OF_A_SLICE: usize = 16;
/// The traces of a part with so few are read once for all slices.
const TRACES_KEPT: usize = 4_096;
/// One span, as far as it matters here; `root` is a number of its service and name, where it has no parent.
pub struct SpanOf {
    pub trace: TraceId,
    pub start_ns: i64,
    pub end_ns: i64,
    pub root: Option<u32>,
}

/// The first span without a parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Root {
    #[default]
    None,
    One(u32),
    /// Several may be it.
    Uncertain,
}

impl Root {
    /// Of a trace of which two parts know.
    pub fn and(self, other: Root) -> Root {
        match (self, other) {
            (Root::None, root) | (root, Root::None) => root,
            (one, other) if one == other => one,
            _ => Root::Uncertain,
        }
    }

    /// With the number that its own has elsewhere.
    pub fn renumbered(self, numbers: &[u32]) -> Root {
        match self {
            Root::One(number) => numbers.get(number as usize).map_or(Root::Uncertain, |own| Root::One(*own)),
            other => other,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fact {
    pub start_ms: i64,
    pub end_ms: i64,
    pub spans: u32,
    pub root: Root,
    /// Not written: of one part it is decided.
    root_start_ns: i64,
}

impl Default for Fact {
    fn default() -> Fact {
        let (start_ms, end_ms) = (i64::MAX, i64::MIN);
        Fact { start_ms, end_ms, spans: 0, root: Root::None, root_start_ns: i64::MAX }
    }
}

impl Fact {
    pub fn add(&mut self, span: &SpanOf) {
        self.start_ms = self.start_ms.min(span.start_ns.div_euclid(MS));
        let end_ms = span.end_ns.div_euclid(MS) + i64::from(span.end_ns.rem_euclid(MS) != 0);
        self.end_ms = self.end_ms.max(end_ms);
        self.spans = self.spans.saturating_add(1);
        let Some(root) = span.root.map(Root::One) else { return };
        if span.start_ns < self.root_start_ns {
            (self.root, self.root_start_ns) = (root, span.start_ns);
        } else if span.start_ns == self.root_start_ns && self.root != root {
            self.root = Root::Uncertain;
        }
    }

    /// A trace that lasts longer than 49 days has no end.
    pub fn put_all<'a>(out: &mut Vec<u8>, facts: impl Iterator<Item = &'a Fact> + Clone) {
        put_split(out, facts.clone().map(|fact| fact.start_ms.to_le_bytes()));
        let length =
            |fact: &Fact| u32::try_from(fact.end_ms.saturating_sub(fact.start_ms)).unwrap_or(u32::MAX);
        put_split(out, facts.clone().map(|fact| length(fact).to_le_bytes()));
        let root = |fact: &Fact| match fact.root {
            Root::None => 0,
            Root::Uncertain => 1,
            Root::One(number) => number.saturating_add(2),
        };
        put_split(out, facts.map(|fact| root(fact).to_le_bytes()));
    }

    /// `ends` are those of the traces' rows.
    pub fn take_all(rest: &mut Cursor<'_>, ends: &[u32]) -> Result<Vec<Fact>, String> {
        let starts = take_split::<8>(rest, ends.len())?;
        let lengths = take_split::<4>(rest, ends.len())?;
        let roots = take_split::<4>(rest, ends.len())?;
        let mut before = 0;
        let facts = ends.iter().zip(starts).zip(lengths).zip(roots).map(|(((end, start), length), root)| {
            let (start_ms, length) = (i64::from_le_bytes(start), u32::from_le_bytes(length));
            let spans = end.saturating_sub(before);
            before = *end;
            Fact {
                start_ms,
                end_ms: if length == u32::MAX { i64::MAX } else { start_ms.saturating_add(length.into()) },
                spans,
                root: root_of(root),
                root_start_ns: i64::MAX,
            }
        });
        Ok(facts.collect())
    }

    /// When each begins, in milliseconds, and its root.
    pub fn take_starts_and_roots(rest: &mut Cursor<'_>, count: usize) -> Result<Vec<(i64, Root)>, String> {
        let starts = take_split::<8>(rest, count)?;
        rest.take(count * size_of::<u32>())?;
        let roots = take_split::<4>(rest, count)?;
        Ok(starts.into_iter().map(i64::from_le_bytes).zip(roots.into_iter().map(root_of)).collect())
    }
}

/// As [`Fact::put_all`] wrote it.
fn root_of(bytes: [u8; 4]) -> Root {
    match u32::from_le_bytes(bytes) {
        0 => Root::None,
        1 => Root::Uncertain,
        number => Root::One(number - 2),
    }
}

/// Rows in memory, and what their groups are.
pub type Memory = Vec<(Arc<GroupColumns>, Vec<RecordBatch>)>;

/// Columns of rows in memory that tell all of it.
pub const COLUMNS: &[&str] = &[GROUP, "trace_id", "parent_span_id", "start_ts", "duration_ns", "name"];

/// The spans of a batch as it is stored; `root` gives the number of a row.
pub fn spans_of<'a>(
    batch: &'a RecordBatch,
    mut root: impl FnMut(usize) -> u32 + 'a,
) -> Option<impl Iterator<Item = SpanOf> + 'a> {
    let ids = batch.column_by_name("trace_id")?.as_fixed_size_binary_opt()?;
    let starts = batch.column_by_name("start_ts")?.as_primitive_opt::<TimestampNanosecondType>()?;
    let durations = batch.column_by_name("duration_ns")?.as_primitive_opt::<Int64Type>()?;
    let parents = batch.column_by_name("parent_span_id")?.as_fixed_size_binary_opt()?;
    let has_parent = |row: usize| parents.is_valid(row) && parents.value(row).iter().any(|byte| *byte != 0);
    Some((0..batch.num_rows()).map(move |row| {
        let start_ns = starts.value(row);
        let number = root(row);
        SpanOf {
            trace: ids.value(row).try_into().unwrap_or_default(),
            start_ns,
            end_ns: start_ns.saturating_add(durations.value(row)),
            root: (!has_parent(row)).then_some(number),
        }
    }))
}

/// A part that is asked.
struct Source {
    part: Arc<Part>,
    facts: Facts,
    /// By its runs.
    roots: Vec<u32>,
    /// Where there are few.
    kept: Option<Vec<TraceFact>>,
}

impl Source {
    async fn of(&self, prefixes: Range<u32>) -> Result<Vec<TraceFact>, Damaged> {
        if let Some(kept) = &self.kept {
            return Ok(within(kept, &prefixes).to_vec());
        }
        let facts = self.facts.of(&self.part, prefixes).await?;
        Ok(facts.into_iter().map(|(id, fact)| named(id, &fact, &self.roots)).collect())
    }
}

fn named(id: TraceId, fact: &Fact, roots: &[u32]) -> TraceFact {
    let root = fact.root.renumbered(roots);
    TraceFact { id, start_ms: fact.start_ms, end_ms: fact.end_ms, spans: fact.spans, root }
}

fn within<'a>(facts: &'a [TraceFact], prefixes: &Range<u32>) -> &'a [TraceFact] {
    let before = |end: u32| facts.partition_point(|fact| prefix(&fact.id) < end);
    &facts[before(prefixes.start)..before(prefixes.end)]
}

/// Of all traces of these parts and batches in memory, one share; `None` where a part does not know. `told` is asked what to
/// do with a part that cannot be read.
pub async fn read(
    parts: Vec<Arc<Part>>,
    memory: Memory,
    (at, of): (usize, usize),
    told: impl Fn(&Damaged) + Clone + Send + Sync + 'static,
) -> Result<Option<TraceFacts>, ReadError> {
    let cut = |share: usize| (PREFIXES as usize * share / of.max(1)) as u32;
    let own = cut(at)..cut(at + 1);
    let mut roots = RootNames::default();
    let (mut sources, mut count, mut largest) = (vec![], 0, 0);
    for part in parts {
        let index = match part.rows_index().await {
            Ok(index) => index,
            Err(wrong) => {
                told(&wrong);
                continue;
            }
        };
        let Some(facts) = Facts::of_index(&index) else { return Ok(None) };
        let of_runs = index.runs.iter().map(|run| roots.number(index.group_of(run).service(), &run.name));
        let mut source = Source { roots: of_runs.collect(), part, facts, kept: None };
        count += source.facts.count_max();
        largest = largest.max(source.facts.blocks());
        if source.facts.count_max() <= TRACES_KEPT {
            match source.of(own.clone()).await {
                Ok(kept) => source.kept = Some(kept),
                Err(wrong) => told(&wrong),
            }
        }
        sources.push(source);
    }
    if count > TRACES_MAX {
        return Ok(None);
    }
    let memory = in_memory(memory, &mut roots);
    let slices = (largest / of.max(1) / BLOCKS_OF_A_SLICE).max(1) as u32;
    let width = (own.len() as u32).div_ceil(slices).max(1);
    let starts: Vec<u32> = own.clone().step_by(width as usize).collect();
    let asked = Arc::new((sources, memory));
    let slices = futures::stream::iter(starts).then(move |start| {
        let (asked, told) = (asked.clone(), told.clone());
        let prefixes = start..(start + width).min(own.end);
        async move {
            let mut all = within(&asked.1, &prefixes).to_vec();
            for source in &asked.0 {
                match source.of(prefixes.clone()).await {
                    Ok(facts) => all = joined(all, facts),
                    Err(wrong) => told(&wrong),
                }
            }
            all
        }
    });
    Ok(Some(TraceFacts { roots, slices: slices.boxed() }))
}

/// In order of their ids.
pub fn in_memory(memory: Memory, roots: &mut RootNames) -> Vec<TraceFact> {
    let mut all: BTreeMap<TraceId, Fact> = BTreeMap::new();
    for (groups, batches) in memory {
        for batch in batches {
            let names =
                batch.column_by_name("name").and_then(|names| names.as_dictionary_opt::<UInt32Type>());
            let (Some(names), Ok(numbers)) = (names, numbers(&batch)) else { continue };
            let words: &StringArray = names.values().as_string();
            let mut known: HashMap<(u32, Option<usize>), u32> = HashMap::new();
            let root = |row: usize| {
                let key = (numbers.value(row), names.key(row));
                *known.entry(key).or_insert_with(|| {
                    let service = groups.groups().get(key.0 as usize).map_or("", |group| group.service());
                    roots.number(service, key.1.map_or("", |word| words.value(word)))
                })
            };
            for span in spans_of(&batch, root).into_iter().flatten() {
                all.entry(span.trace).or_default().add(&span);
            }
        }
    }
    let same: Vec<u32> = (0..roots.len() as u32).collect();
    all.into_iter().map(|(id, fact)| named(id, &fact, &same)).collect()
}

/// Both are in order of ids; a trace of both is the sum.
fn joined(left: Vec<TraceFact>, right: Vec<TraceFact>) -> Vec<TraceFact> {
    if left.is_empty() || right.is_empty() {
        return if left.is_empty() { right } else { left };
    }
    let mut all = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        match a.id.cmp(&b.id) {
            std::cmp::Ordering::Less => all.extend(left.next()),
            std::cmp::Ordering::Greater => all.extend(right.next()),
            std::cmp::Ordering::Equal => {
                all.push(both(a, b));
                left.next();
                right.next();
            }
        }
    }
    all.extend(left);
    all.extend(right);
    all
}

fn both(a: &TraceFact, b: &TraceFact) -> TraceFact {
    TraceFact {
        id: a.id,
        start_ms: a.start_ms.min(b.start_ms),
        end_ms: a.end_ms.max(b.end_ms),
        spans: a.spans.saturating_add(b.spans),
        root: a.root.and(b.root),
    }
}
