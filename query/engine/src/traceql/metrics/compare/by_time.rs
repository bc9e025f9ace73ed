//! A number of each of many traces, found by the trace's id and a time at which one of its spans starts.
//!
//! Spans lie in order of their start, so that those that are asked for one after the other are of traces of about the same time.
//! In one map of a million traces each of them would be a miss of the cache. Here time is cut into stretches, and each has a small
//! map of the traces that may have spans in it. What goes on for long would stand in too many and has a map of its own.

use foldhash::fast::RandomState;
use model::{TimeRange, TraceId};
use std::collections::HashMap;
use std::ops::Range;

const MS: i64 = 1_000_000;
/// Pieces of time that are told apart.
const TICKS: i64 = 1 << 16;
/// About as many traces in the map of a stretch as a core's own cache has room for.
const TRACES_OF_A_STRETCH: usize = 800;
/// A trace stands in the maps of no more stretches.
const STRETCHES_MAX: usize = 4;
/// The number of none.
pub const NONE: u32 = u32::MAX;

type Map = HashMap<TraceId, u32, RandomState>;

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
#[derive(Clone, Copy)]
pub struct Stretches {
    ticks: Ticks,
    shift: u32,
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
        Stretches { ticks, shift }
    }

    /// One more than there are stretches: the last one is of what goes on for long.
    fn maps(&self) -> usize {
        self.number(u16::MAX) + 2
    }

    fn number(&self, tick: u16) -> usize {
        usize::from(tick) >> self.shift
    }

    /// The maps that a trace stands in.
    fn maps_of(&self, one: &Known) -> Range<usize> {
        let (first, last) = (self.number(one.first), self.number(one.last));
        if last - first < STRETCHES_MAX { first..last + 1 } else { self.maps() - 1..self.maps() }
    }

    /// The nanoseconds of one.
    fn times(&self, number: usize) -> Range<i64> {
        let each_ms = self.ticks.each_ms << self.shift;
        let from_ms = self.ticks.first_ms.saturating_add(each_ms.saturating_mul(number as i64));
        from_ms.saturating_mul(MS)..from_ms.saturating_add(each_ms).saturating_mul(MS)
    }
}

/// The maps of some stretches that follow one another.
pub struct Piece {
    share: usize,
    maps: Vec<Map>,
}

impl Piece {
    /// One share of all maps of these traces, which are those that the stretches were made for. Traces of one map are brought
    /// together before it is made of them: to put each where it belongs at once would be a miss of the cache for each.
    pub fn of(stretches: Stretches, known: &[Vec<Known>], (share, of): (usize, usize)) -> Piece {
        let cut = |share: usize| stretches.maps() * share / of.max(1);
        let own = cut(share)..cut(share + 1);
        let maps_of = |one: &Known| {
            let maps = stretches.maps_of(one);
            maps.start.max(own.start)..maps.end.min(own.end)
        };
        let mut ends = vec![0; own.len() + 1];
        for one in known.iter().flatten() {
            maps_of(one).for_each(|map| ends[map - own.start + 1] += 1);
        }
        let mut total = 0;
        for end in &mut ends {
            total += *end;
            *end = total;
        }
        // Each goes where those of its map ended before, so that the end of one is the start of the next at last.
        let mut sorted = vec![([0; 16], NONE); total];
        for one in known.iter().flatten() {
            for map in maps_of(one) {
                let end = &mut ends[map - own.start];
                sorted[*end] = (one.id, one.number);
                *end += 1;
            }
        }
        let hasher = RandomState::default();
        let mut start = 0;
        let map_until = |end: &usize| {
            let traces = &sorted[start..*end];
            start = *end;
            let mut map = Map::with_capacity_and_hasher(traces.len(), hasher.clone());
            map.extend(traces.iter().copied());
            map
        };
        Piece { share, maps: ends[..own.len()].iter().map(map_until).collect() }
    }
}

pub struct ByTime {
    stretches: Stretches,
    maps: Vec<Map>,
}

impl ByTime {
    /// Of all pieces.
    pub fn of(stretches: Stretches, mut pieces: Vec<Piece>) -> ByTime {
        pieces.sort_unstable_by_key(|piece| piece.share);
        ByTime { stretches, maps: pieces.into_iter().flat_map(|piece| piece.maps).collect() }
    }

    /// Of memory.
    pub fn bytes(&self) -> usize {
        // Of eight places one stays free, and each has a byte beside it.
        let of_map =
            |map: &Map| size_of::<Map>() + map.capacity() * 8 / 7 * (size_of::<(TraceId, u32)>() + 1);
        self.maps.iter().map(of_map).sum()
    }

    /// To look for traces at one time after the other.
    pub fn near(&self) -> Near<'_> {
        Near { all: self, times: 0..0, map: None }
    }
}

/// The traces of one stretch, to which it moves when another time is asked for.
pub struct Near<'a> {
    all: &'a ByTime,
    times: Range<i64>,
    map: Option<&'a Map>,
}

impl Near<'_> {
    /// The number of the trace of a span that starts at this time of the range; [`NONE`] where it is not known.
    pub fn get(&mut self, id: &TraceId, start_ns: i64) -> u32 {
        if !self.times.contains(&start_ns) {
            let stretches = self.all.stretches;
            let number = stretches.number(stretches.ticks.of(start_ns.div_euclid(MS)));
            (self.times, self.map) = (stretches.times(number), self.all.maps.get(number));
        }
        let found = self.map.and_then(|map| map.get(id));
        found.or_else(|| self.all.maps.last()?.get(id)).copied().unwrap_or(NONE)
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
            let pieces = [2, 0, 1].map(|share| Piece::of(stretches, &shares, (share, 3)));
            let by_time = ByTime::of(stretches, pieces.into());
            assert_eq!(by_time.maps.len(), stretches.maps(), "{traces}");
            let places: usize = by_time.maps.iter().map(Map::len).sum();
            assert!(places <= STRETCHES_MAX * numbers.len(), "{traces} {places}");
            let mut near = by_time.near();
            for (id, (start, end)) in &times {
                let (from, until) = ((start * MS).max(RANGE.start), end.saturating_mul(MS).min(RANGE.end));
                if from > until {
                    continue;
                }
                for at in [from, until, rng.random_range(from..=until)] {
                    assert_eq!(Some(&near.get(id, at)), numbers.get(id), "{traces} {start} {end} {at}");
                }
                assert_eq!(near.get(&rng.random(), from), NONE);
                assert_eq!(near.get(&[0; 16], from), NONE);
            }
        }
    }
}
