//! Deletions of series. What a tombstone covers is not shown from the moment it is set; it goes when its part is
//! rewritten, and the tombstone with it once no part has any of it.
//!
//! A tombstone covers what was there when it was set, and nothing that is written later, whatever its time: it names
//! the parts by their ids, which only grow, and what was in memory became parts before.

use crate::metrics::Run;
use crate::part::{PartMeta, Signal};
use crate::snapshot::SeriesInfo;
use model::{Labels, Matcher, SeriesSelect, Tenant, TimeRange};
use std::collections::HashMap;
use std::sync::Arc;

/// Tombstones that may wait to be cleaned away: each read of a part asks all of them.
pub const TOMBSTONES_MAX: usize = 1_000;

/// Why series are not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    #[error(
        "{TOMBSTONES_MAX} deletions wait to be carried out; call clean_tombstones, or wait for the next merge"
    )]
    TooMany,
    /// What is to be deleted cannot be understood.
    #[error("{0}")]
    Invalid(String),
    #[error("{0:#}")]
    Broken(#[from] anyhow::Error),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tombstone {
    pub id: i64,
    pub matchers: Vec<Matcher>,
    pub range: TimeRange,
    /// Parts from this id on came later.
    pub parts_before: i64,
}

pub type Tombstones = Arc<HashMap<Tenant, Vec<Arc<Tombstone>>>>;

/// The tombstones that concern one part.
#[derive(Clone, Debug, Default)]
pub struct Covers(Vec<Arc<Tombstone>>);

impl Tombstone {
    pub fn select(&self) -> SeriesSelect {
        SeriesSelect { matchers: self.matchers.clone(), range: self.range }
    }

    fn concerns(&self, part: &PartMeta) -> bool {
        part.signal == Signal::Metrics
            && part.id < self.parts_before
            && self.range.overlaps(part.first_ts, part.last_ts)
    }

    fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches_labels(labels))
    }
}

impl Covers {
    pub fn of(of_tenant: &[Arc<Tombstone>], part: &PartMeta) -> Covers {
        Covers(of_tenant.iter().filter(|tombstone| tombstone.concerns(part)).cloned().collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Tombstone>> {
        self.0.iter()
    }

    /// Takes what is covered out of a run; it may be empty then.
    pub fn cut(&self, run: &mut Run) {
        for tombstone in self.0.iter().filter(|tombstone| tombstone.matches(&run.labels)) {
            let start = run.ts_ms.partition_point(|ts| *ts < tombstone.range.start);
            let end = run.ts_ms.partition_point(|ts| *ts <= tombstone.range.end).max(start);
            run.ts_ms.drain(start..end);
            run.values.drain(start..end);
        }
    }

    /// What is left of a series, by its bounds.
    pub fn left_of(&self, mut series: SeriesInfo) -> Option<SeriesInfo> {
        for tombstone in self.0.iter().filter(|tombstone| tombstone.matches(&series.labels)) {
            let TimeRange { start, end } = tombstone.range;
            if start <= series.first_ms && series.first_ms <= end {
                series.first_ms = end.saturating_add(1);
            }
            if start <= series.last_ms && series.last_ms <= end {
                series.last_ms = start.saturating_sub(1);
            }
        }
        (series.first_ms <= series.last_ms).then_some(series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(ranges: &[(i64, i64)]) -> Covers {
        let tombstone = |(start, end): &(i64, i64)| Tombstone {
            id: 0,
            matchers: vec![Matcher::equal("__name__", "up")],
            range: TimeRange { start: *start, end: *end },
            parts_before: 10,
        };
        Covers(ranges.iter().map(tombstone).map(Arc::new).collect())
    }

    fn left(name: &str, ranges: &[(i64, i64)]) -> (Vec<i64>, Option<(i64, i64)>) {
        let labels = Labels::from_pairs([("__name__", name)]);
        let mut run = Run { labels: labels.clone(), ts_ms: (1..=5).collect(), values: vec![0.5; 5] };
        covers(ranges).cut(&mut run);
        assert_eq!(run.ts_ms.len(), run.values.len());
        let series = covers(ranges).left_of(SeriesInfo { labels, first_ms: 1, last_ms: 5 });
        (run.ts_ms, series.map(|series| (series.first_ms, series.last_ms)))
    }

    #[test]
    fn what_is_covered_is_cut_out() {
        assert_eq!(left("up", &[(2, 3)]), (vec![1, 4, 5], Some((1, 5))));
        assert_eq!(left("up", &[(0, 3)]), (vec![4, 5], Some((4, 5))));
        assert_eq!(left("up", &[(5, 9)]), (vec![1, 2, 3, 4], Some((1, 4))));
        assert_eq!(left("up", &[(0, 2), (3, 9)]), (vec![], None));
        assert_eq!(left("up", &[(i64::MIN, i64::MAX)]), (vec![], None));
        assert_eq!(left("other", &[(i64::MIN, i64::MAX)]), (vec![1, 2, 3, 4, 5], Some((1, 5))));
        assert_eq!(
            left("up", &[(4, 2)]),
            (vec![1, 2, 3, 4, 5], Some((1, 5))),
            "an empty range covers nothing"
        );
    }
}
