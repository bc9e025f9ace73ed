//! A number of each of many traces, found by the trace's id and a time at which one of its spans starts.
//!
//! Spans lie in order of their start, so that those that are asked for one after the other are of traces of about the same time.
//! In one map of a million traces each of them would be a miss or two of the cache. Here time is cut into stretches, and each has a
//! small table of the traces that may have spans in it: of buckets, each a line of the cache, with tags and numbers. A map has what
//! has no place there: what goes on for so long that it would stand in too many tables, what is too much for a bucket, and what has
//! the tag of another. So each trace that is known has its own number. Of one that is not known a tag of 39 bits says so; that it
//! is taken for another happens once in a hundred thousand million times.

use foldhash::fast::RandomState;
use model::{TimeRange, TraceId};
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::ops::Range;

const MS: i64 = 1_000_000;
/// Pieces of time that are told apart.
const TICKS: i64 = 1 << 16;
/// About as many traces in the table of a stretch as a core's own cache has room for.
const TRACES_OF_A_STRETCH: usize = 1_024;
/// A trace stands in the tables of no more stretches.
const STRETCHES_MAX: usize = 4;
/// As many for each bucket: then one in 150 has no room in its own.
const TRACES_OF_A_BUCKET: usize = 4;
/// Spans whose traces are looked for at a time, so that the processor waits for all their buckets at once.
const AT_ONCE: usize = 64;
/// The number of none.
pub const NONE: u32 = u32::MAX;

/// A range of time in equal pieces.
#[derive(Clone, Copy)]
pub struct Ticks {
    first_ms: i64,
    last_ms: i64,
    each_ms: i64,
}

/// A trace before it has its places, and the ticks of its first and last time.
pub struct Known {
    id: TraceId,
    pub number: u32,
    first: u16,
    last: u16,
}

impl Ticks {
    pub fn over(range: TimeRange) -> Ticks {
        let (first_ms, last_ms) = (range.start.div_euclid(MS), range.end.div_euclid(MS));
        Ticks { first_ms, last_ms, each_ms: (last_ms - first_ms).max(0) / TICKS + 1 }
    }

    /// `None` of a trace that is over before the range or begins after it. The times are those of the whole milliseconds that
    /// hold it.
    pub fn known(&self, id: TraceId, number: u32, (start_ms, end_ms): (i64, i64)) -> Option<Known> {
        let is_within = start_ms <= self.last_ms && self.first_ms <= end_ms;
        let (first, last) = (self.of(start_ms), self.of(end_ms.max(start_ms)));
        is_within.then_some(Known { id, number, first, last })
    }

    fn of(&self, ms: i64) -> u16 {
        let since = ms.min(self.last_ms).saturating_sub(self.first_ms).max(0);
        (since / self.each_ms) as u16
    }
}

/// Which stretches there are: of so many ticks each, as a power of two.
#[derive(Clone)]
pub struct Stretches {
    ticks: Ticks,
    shift: u32,
    hasher: RandomState,
}

impl Stretches {
    /// So many that each has its share of these.
    pub fn of(ticks: Ticks, known: &[Vec<Known>]) -> Stretches {
        let (mut first, mut last) = (u16::MAX, 0);
        known.iter().flatten().for_each(|one| (first, last) = (first.min(one.first), last.max(one.last)));
        let traces: usize = known.iter().map(Vec::len).sum();
        let wanted = (traces / TRACES_OF_A_STRETCH).max(1);
        let mut shift = 0;
        while usize::from(last.saturating_sub(first)) >> shift >= wanted {
            shift += 1;
        }
        Stretches { ticks, shift, hasher: RandomState::default() }
    }

    fn count(&self) -> usize {
        self.number(u16::MAX) + 1
    }

    fn number(&self, tick: u16) -> usize {
        usize::from(tick) >> self.shift
    }

    /// Those in whose tables a trace stands.
    fn of_trace(&self, one: &Known) -> Option<Range<usize>> {
        let (first, last) = (self.number(one.first), self.number(one.last));
        (last - first < STRETCHES_MAX).then_some(first..last + 1)
    }

    /// About what it takes to make the tables of these, beside what is known of them: each trace has a place in the list and in
    /// the table of each of its stretches, or is one of the others.
    pub fn bytes_of(&self, known: &[Vec<Known>]) -> usize {
        let places = known.iter().flatten().map(|one| self.of_trace(one).map_or(1, |own| own.len()));
        places.sum::<usize>() * (size_of::<(TraceId, u32)>() + size_of::<Bucket>() / TRACES_OF_A_BUCKET)
    }

    /// The nanoseconds of one.
    fn times(&self, number: usize) -> Range<i64> {
        let each_ms = self.ticks.each_ms << self.shift;
        let from_ms = self.ticks.first_ms.saturating_add(each_ms.saturating_mul(number as i64));
        from_ms.saturating_mul(MS)..from_ms.saturating_add(each_ms).saturating_mul(MS)
    }

    fn hash(&self, id: &TraceId) -> u64 {
        self.hasher.hash_one(u128::from_ne_bytes(*id))
    }

    /// The table of these; what has no place in it is added to the others.
    fn table(&self, traces: &[(TraceId, u32)], others: &mut Vec<(TraceId, u32)>) -> Vec<Bucket> {
        let mut table = vec![FREE; traces.len().div_ceil(TRACES_OF_A_BUCKET)];
        for (id, number) in traces {
            let (bucket, tag) = place(self.hash(id), table.len());
            table[bucket].put(tag, *number);
        }
        others.extend(traces.iter().filter(|(id, number)| {
            let (bucket, tag) = place(self.hash(id), table.len());
            table[bucket].get(tag) != Some(*number)
        }));
        table
    }
}

/// Of each trace a tag and, in the lower bits, its number and one more: 0 where only the map tells it. 0 altogether where the place
/// is free.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Bucket([u64; 8]);

const FREE: Bucket = Bucket([0; 8]);
static NOTHING: Bucket = FREE;
/// Above what stands for numbers.
const TAG: u64 = 1 << 24;

impl Bucket {
    fn put(&mut self, tag: u64, number: u32) {
        let own = self.0.iter_mut().find(|own| **own == 0 || (**own ^ tag) < TAG);
        match (own, u64::from(number) + 1) {
            (Some(own), number @ ..TAG) if *own == 0 => *own = tag | number,
            (Some(own), _) => *own = tag,
            (None, _) => {}
        }
    }

    /// All places are looked at, as whoever waits for none of them does not have to guess which one it will be.
    fn get(&self, tag: u64) -> Option<u32> {
        let nearest = self.0.iter().fold(u64::MAX, |nearest, own| nearest.min(own ^ tag));
        (1..TAG).contains(&nearest).then(|| nearest as u32 - 1)
    }
}

/// Which of so many buckets is the one of a hash, and its tag there, which is not 0.
fn place(hash: u64, buckets: usize) -> (usize, u64) {
    let bucket = ((hash >> 32) * buckets as u64) >> 32;
    (bucket as usize, hash << TAG.ilog2() | 1 << 63)
}

/// The tables of some stretches that follow one another, and what has no place in them.
pub struct Piece {
    share: usize,
    tables: Vec<Vec<Bucket>>,
    others: Vec<(TraceId, u32)>,
}

impl Piece {
    /// One share of all tables of these traces, which are those that the stretches were made for. Traces of one table are brought
    /// together before it is made of them: to put each where it belongs at once would be a miss of the cache for each.
    pub fn of(stretches: &Stretches, known: &[Vec<Known>], (share, of): (usize, usize)) -> Piece {
        let cut = |share: usize| stretches.count() * share / of.max(1);
        let own = cut(share)..cut(share + 1);
        let mut others = vec![];
        let own_of = |one: &Known| {
            let all = stretches.of_trace(one).unwrap_or_default();
            all.start.max(own.start)..all.end.min(own.end)
        };
        let mut ends = vec![0; own.len() + 1];
        for one in known.iter().flatten() {
            own_of(one).for_each(|table| ends[table - own.start + 1] += 1);
            if share == 0 && stretches.of_trace(one).is_none() {
                others.push((one.id, one.number));
            }
        }
        let mut total = 0;
        for end in &mut ends {
            total += *end;
            *end = total;
        }
        // Each goes where those of its table ended before, so that the end of one is the start of the next at last.
        let mut sorted = vec![([0; 16], NONE); total];
        for one in known.iter().flatten() {
            for table in own_of(one) {
                let end = &mut ends[table - own.start];
                sorted[*end] = (one.id, one.number);
                *end += 1;
            }
        }
        let mut start = 0;
        let table_until = |end: &usize| {
            let traces = &sorted[start..*end];
            start = *end;
            stretches.table(traces, &mut others)
        };
        let tables = ends[..own.len()].iter().map(table_until).collect();
        Piece { share, tables, others }
    }
}

pub struct ByTime {
    stretches: Stretches,
    tables: Vec<Vec<Bucket>>,
    others: HashMap<TraceId, u32, RandomState>,
}

impl ByTime {
    /// Of all pieces.
    pub fn of(stretches: Stretches, mut pieces: Vec<Piece>) -> ByTime {
        pieces.sort_unstable_by_key(|piece| piece.share);
        let (mut tables, mut others) = (vec![], HashMap::default());
        for piece in pieces {
            tables.extend(piece.tables);
            others.extend(piece.others);
        }
        ByTime { stretches, tables, others }
    }

    /// Of memory.
    pub fn bytes(&self) -> usize {
        let of_table = |table: &Vec<Bucket>| size_of::<Vec<Bucket>>() + table.len() * size_of::<Bucket>();
        // Of eight places one stays free, and each has a byte beside it.
        let of_others = self.others.capacity() * 8 / 7 * (size_of::<(TraceId, u32)>() + 1);
        of_others + self.tables.iter().map(of_table).sum::<usize>()
    }

    /// Hands on the number of the trace of each of these spans, which start in the range; [`NONE`] where it is not known.
    pub fn each(&self, spans: impl Iterator<Item = (TraceId, i64)>, mut see: impl FnMut(u32)) {
        let (mut times, mut table) = (0..0, &[][..]);
        let mut looks = spans.map(|(id, start_ns)| {
            if !times.contains(&start_ns) {
                let number = self.stretches.number(self.stretches.ticks.of(start_ns.div_euclid(MS)));
                (times, table) =
                    (self.stretches.times(number), self.tables.get(number).map_or(&[][..], |own| own));
            }
            let (bucket, tag) = place(self.stretches.hash(&id), table.len());
            (id, table.get(bucket).unwrap_or(&NOTHING), tag)
        });
        let mut some: Vec<(TraceId, &Bucket, u64)> = Vec::with_capacity(AT_ONCE);
        loop {
            some.clear();
            some.extend(looks.by_ref().take(AT_ONCE));
            if some.is_empty() {
                return;
            }
            for (id, bucket, tag) in &some {
                let number = bucket.get(*tag).or_else(|| self.others.get(id).copied());
                see(number.unwrap_or(NONE));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    const RANGE: TimeRange = TimeRange { start: 1_000_000 * MS + 5, end: 4_600_000 * MS - 1 };

    #[test]
    fn a_trace_is_found_at_each_of_its_times() {
        let mut rng = StdRng::seed_from_u64(21);
        for (traces, most_ms) in [(0, 1), (1, 10), (3_000, 1), (20_000, 400), (5_000, 2_000_000)] {
            let ticks = Ticks::over(RANGE);
            let (mut times, mut shares) = (HashMap::<TraceId, (i64, i64)>::new(), [vec![], vec![]]);
            for number in 0..traces {
                // Of some senders only half of an id tells traces apart.
                let mut id: TraceId = rng.random();
                if number % 2 == 0 {
                    id[..8].fill(0);
                }
                let start = rng.random_range(900_000i64..4_700_000);
                let lasts = if rng.random_bool(0.9) { rng.random_range(0..most_ms) } else { i64::MAX / 2 };
                times.insert(id, (start, start + lasts));
                shares[number as usize % 2].extend(ticks.known(id, number, (start, start + lasts)));
            }
            let numbers: HashMap<TraceId, u32> =
                shares.iter().flatten().map(|one| (one.id, one.number)).collect();
            let stretches = Stretches::of(ticks, &shares);
            let pieces = [2, 0, 1].map(|share| Piece::of(&stretches, &shares, (share, 3)));
            let by_time = ByTime::of(stretches.clone(), pieces.into());
            assert_eq!(by_time.tables.len(), stretches.count(), "{traces}");
            let of_tables: usize = by_time.tables.iter().map(|table| table.len() * size_of::<Bucket>()).sum();
            let of_rounding = by_time.tables.len() * size_of::<Bucket>();
            assert!(of_tables <= stretches.bytes_of(&shares) + of_rounding, "{traces} {of_tables}");
            let buckets: usize = by_time.tables.iter().map(Vec::len).sum();
            assert!(buckets <= STRETCHES_MAX * numbers.len(), "{traces} {buckets}");
            if most_ms == 1 {
                // What goes on for long, and here and there one for which there is no room.
                assert!(by_time.others.len() <= numbers.len() / 7 + 1, "{traces} {}", by_time.others.len());
            }
            let mut asked: Vec<(TraceId, i64)> = vec![];
            for (id, (start, end)) in &times {
                let (from, until) = ((start * MS).max(RANGE.start), end.saturating_mul(MS).min(RANGE.end));
                if from <= until {
                    asked.extend([from, until, rng.random_range(from..=until)].map(|at| (*id, at)));
                    asked.extend([(rng.random(), from), ([0; 16], from)]);
                }
            }
            let mut found = vec![];
            by_time.each(asked.iter().copied(), |number| found.push(number));
            assert_eq!(found.len(), asked.len());
            for ((id, at), found) in asked.iter().zip(found) {
                assert_eq!(found, numbers.get(id).copied().unwrap_or(NONE), "{traces} {at}");
            }
        }
    }

    #[test]
    fn what_has_the_tag_of_another_or_no_room_is_told_by_the_map() {
        let tag = |number: u64| (1 << 63) | (number * TAG);
        let mut bucket = FREE;
        bucket.put(tag(7), 70);
        bucket.put(tag(9), 90);
        assert_eq!([7, 9, 8].map(|number| bucket.get(tag(number))), [Some(70), Some(90), None]);
        bucket.put(tag(7), 71);
        bucket.put(tag(7), 72);
        assert_eq!([7, 9].map(|number| bucket.get(tag(number))), [None, Some(90)]);
        bucket.put(tag(10), TAG as u32);
        assert_eq!(bucket.get(tag(10)), None, "its number is too large");
        (0..9).for_each(|number| bucket.put(tag(20 + number), number as u32));
        let kept = (0..9).filter(|number| bucket.get(tag(20 + number)) == Some(*number as u32)).count();
        assert_eq!(kept, 5);
        assert_eq!(bucket.get(tag(9)), Some(90));
    }
}
