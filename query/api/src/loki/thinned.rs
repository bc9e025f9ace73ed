//! `interval` of a query for lines: of lines that lie closer together than this, across all streams, only the first one in
//! the direction of the query is answered.

use engine::{Direction, Engine, LogAnswer, LogLines, LogResult, QueryError};
use model::{Tenant, TimeRange};

/// Lines are asked for in pieces until enough are left; each piece costs a query.
const PIECES_MAX: usize = 50;

/// Lines of `[start, end)`. A query that gives numbers knows no interval.
pub async fn lines(
    engine: &Engine,
    tenant: &Tenant,
    query: &str,
    mut range: TimeRange,
    step_ms: i64,
    (limit, direction): (usize, Direction),
    interval_ns: i64,
) -> Result<LogAnswer, QueryError> {
    let piece = engine.limits().log_entries_max;
    let mut found: Option<LogAnswer> = None;
    let mut thinner = Thinner { direction, interval_ns, limit, last_ns: None, taken: 0 };
    for _ in 0..PIECES_MAX {
        let (start, end) = (range.start, range.end);
        let answer = engine.logql_range(tenant, query, start, end, step_ms, piece, direction).await?;
        let LogResult::Streams(streams) = answer.result else { return Ok(answer) };
        let read: usize = streams.iter().map(|stream| stream.entries.len()).sum();
        let times = streams.iter().flat_map(|stream| &stream.entries).map(|entry| entry.ts_ns);
        let furthest = match direction {
            Direction::Forward => times.max(),
            Direction::Backward => times.min(),
        };
        let kept = thinner.keep(streams);
        let all = found.get_or_insert_with(|| LogAnswer {
            result: LogResult::Streams(vec![]),
            stats: Default::default(),
            warnings: vec![],
            held: Default::default(),
        });
        add(all, kept);
        all.stats.lines_read += answer.stats.lines_read;
        all.stats.bytes_read += answer.stats.bytes_read;
        all.stats.seconds += answer.stats.seconds;
        all.warnings = answer.warnings;
        let (Some(furthest), true) = (furthest, read >= piece && thinner.taken < limit) else { break };
        // What is nearer to the last line than the interval is not asked for again.
        let next = thinner.last_ns.map_or(furthest, |last| match direction {
            Direction::Forward => last.saturating_add(interval_ns).max(furthest),
            Direction::Backward => last.saturating_sub(interval_ns).min(furthest),
        });
        match direction {
            Direction::Forward => range.start = next,
            Direction::Backward => range.end = next.saturating_add(1),
        }
        if range.end <= range.start {
            break;
        }
    }
    let mut answer = found.ok_or(QueryError::Cancelled)?;
    answer.stats.entries_returned = thinner.taken as u64;
    Ok(answer)
}

struct Thinner {
    direction: Direction,
    interval_ns: i64,
    limit: usize,
    /// The last line that was kept.
    last_ns: Option<i64>,
    taken: usize,
}

impl Thinner {
    fn keep(&mut self, streams: Vec<LogLines>) -> Vec<LogLines> {
        let mut order: Vec<(i64, usize, usize)> = vec![];
        for (at, stream) in streams.iter().enumerate() {
            order.extend(stream.entries.iter().enumerate().map(|(entry, line)| (line.ts_ns, at, entry)));
        }
        // Stable: lines of one time stay as they came.
        order.sort_by_key(|(ts, ..)| if self.direction == Direction::Forward { *ts } else { !*ts });
        let mut wanted: Vec<Vec<bool>> =
            streams.iter().map(|stream| vec![false; stream.entries.len()]).collect();
        for (ts, stream, entry) in order {
            let far = self.last_ns.is_none_or(|last| match self.direction {
                Direction::Forward => ts >= last.saturating_add(self.interval_ns),
                Direction::Backward => ts <= last.saturating_sub(self.interval_ns),
            });
            if far && self.taken < self.limit {
                wanted[stream][entry] = true;
                self.last_ns = Some(ts);
                self.taken += 1;
            }
        }
        let mut kept = vec![];
        for (mut stream, wanted) in streams.into_iter().zip(wanted) {
            let mut wanted = wanted.into_iter();
            stream.entries.retain(|_| wanted.next().unwrap_or(false));
            if !stream.entries.is_empty() {
                kept.push(stream);
            }
        }
        kept
    }
}

fn add(answer: &mut LogAnswer, kept: Vec<LogLines>) {
    let LogResult::Streams(streams) = &mut answer.result else { return };
    for stream in kept {
        match streams.iter_mut().find(|known| known.labels == stream.labels) {
            Some(known) => known.entries.extend(stream.entries),
            None => streams.push(stream),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::LogEntry;
    use model::Labels;

    fn kept(direction: Direction, limit: usize, times: &[&[i64]]) -> Vec<Vec<i64>> {
        let streams = times.iter().enumerate().map(|(at, times)| LogLines {
            labels: Labels::from_pairs([("app", at.to_string().as_str())]),
            entries: times
                .iter()
                .map(|ts| LogEntry {
                    ts_ns: *ts,
                    line: String::new(),
                    metadata: Labels::empty(),
                    parsed: Labels::empty(),
                })
                .collect(),
        });
        let mut thinner = Thinner { direction, interval_ns: 10, limit, last_ns: None, taken: 0 };
        let kept = thinner.keep(streams.collect());
        kept.iter().map(|stream| stream.entries.iter().map(|entry| entry.ts_ns).collect()).collect()
    }

    #[test]
    fn lines_that_are_too_near_are_left_out_across_streams() {
        let times: [&[i64]; 2] = [&[1, 5, 11, 30], &[9, 21, 22]];
        assert_eq!(kept(Direction::Forward, 9, &times), [vec![1, 11], vec![21]]);
        assert_eq!(kept(Direction::Forward, 2, &times), [vec![1, 11]]);
        let times: [&[i64]; 2] = [&[30, 11, 5, 1], &[22, 21, 9]];
        assert_eq!(kept(Direction::Backward, 9, &times), [vec![30, 11, 1]]);
    }
}
