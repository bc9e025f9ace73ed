//! Deletions of log records, and which rows of a part are hidden by them.
//!
//! A deletion is a log query and a range of time. It covers what was there when it was asked for and nothing that is
//! written later, whatever its time: it names the parts by their ids, which only grow. Its rows are hidden from then on;
//! while it may still be taken back they stay on disk, after that their parts are rewritten without them.

use crate::config::StreamRetention;
use crate::part::{PartMeta, Signal};
use crate::snapshot::LogColumns;
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{TimestampNanosecondType, UInt8Type, UInt32Type};
use arrow::error::ArrowError;
use model::{JudgedLog, Labels, LogQuery, Tenant, TimeRange};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Deletions that are kept to be shown when they are done with; the oldest go first.
pub const PROCESSED_MAX: usize = 1_000;

#[derive(Clone, Debug)]
pub struct LogDeletion {
    pub id: i64,
    /// What callers know it by.
    pub request_id: String,
    pub query: String,
    /// Nanoseconds, both ends included.
    pub range: TimeRange,
    pub created_ms: i64,
    /// Parts from this id on came later,
    pub parts_before: i64,
    /// but for those that were rewritten from covered ones.
    pub parts_also: BTreeSet<i64>,
    /// Nothing of it is on disk any more.
    pub processed: bool,
    pub wanted: LogQuery,
}

pub type LogDeletions = Arc<HashMap<Tenant, Vec<Arc<LogDeletion>>>>;

impl LogDeletion {
    pub fn concerns(&self, part: &PartMeta) -> bool {
        !self.processed
            && part.signal == Signal::Logs
            && (part.id < self.parts_before || self.parts_also.contains(&part.id))
            && self.range.overlaps(part.first_ts, part.last_ts)
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        self.wanted.matchers.iter().all(|matcher| matcher.matches_labels(labels))
    }
}

/// How long streams are kept that are kept for another time than the rest.
#[derive(Clone, Debug)]
pub struct Periods {
    pub streams: Arc<Vec<StreamRetention>>,
    pub rest_ns: i64,
    pub now_ns: i64,
}

impl Periods {
    /// Records of such a stream are kept from here on.
    pub fn kept_from(&self, labels: &Labels) -> i64 {
        let matching = self.streams.iter().filter(|stream| stream.matches(labels));
        // Of the most important ones the shortest, as Loki has it.
        let chosen = matching.min_by_key(|stream| (std::cmp::Reverse(stream.priority), stream.period));
        let period_ns =
            chosen.map_or(self.rest_ns, |stream| i64::try_from(stream.period.as_nanos()).unwrap_or(i64::MAX));
        self.now_ns.saturating_sub(period_ns)
    }
}

/// What hides rows of one part.
#[derive(Clone, Debug, Default)]
pub struct Hidden {
    pub deletions: Vec<Arc<LogDeletion>>,
    pub periods: Option<Periods>,
}

impl Hidden {
    pub fn by(deletions: &[Arc<LogDeletion>], part: &PartMeta) -> Hidden {
        let concerned = deletions.iter().filter(|deletion| deletion.concerns(part));
        Hidden { deletions: concerned.cloned().collect(), periods: None }
    }

    pub fn is_nothing(&self) -> bool {
        self.deletions.is_empty() && self.periods.is_none()
    }

    fn judges(&self) -> bool {
        self.deletions.iter().any(|deletion| deletion.wanted.judge.is_some())
    }

    /// The columns that [`kept`](Self::kept) looks at.
    pub fn columns(&self) -> LogColumns {
        let mut names = vec!["ts", "stream"];
        if self.judges() {
            names.extend(["severity_number", "body", "trace_id", "span_id", "attributes", "resource"]);
        }
        LogColumns::named(&names)
    }

    /// Which rows are not hidden. The batch has at least [`columns`](Self::columns).
    pub fn kept(&self, batch: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        let missing = |name: &str| ArrowError::SchemaError(format!("rows have no {name}"));
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| missing(name));
        let times = column("ts")?.as_primitive::<TimestampNanosecondType>().values();
        let streams = column("stream")?.as_dictionary::<UInt32Type>();
        let labels = streams.values().as_binary::<i32>();
        let mut of_streams = Vec::with_capacity(labels.len());
        for at in 0..labels.len() {
            of_streams.push(self.of_stream(labels.value(at))?);
        }
        let records = if self.judges() { Some(Records::of(batch)?) } else { None };
        let is_kept = |row: usize| {
            let of_stream = &of_streams[streams.keys().value(row) as usize];
            let ts = times[row];
            ts >= of_stream.kept_from
                && !of_stream.deletions.iter().any(|deletion| {
                    deletion.range.contains(ts)
                        && match (&deletion.wanted.judge, &records) {
                            (Some(judge), Some(records)) => {
                                records.with(row, ts, &of_stream.labels, |record| judge.passes(record))
                            }
                            _ => true,
                        }
                })
        };
        Ok((0..batch.num_rows()).map(|row| Some(is_kept(row))).collect())
    }

    fn of_stream(&self, bytes: &[u8]) -> Result<OfStream<'_>, ArrowError> {
        let labels = Labels::from_bytes(bytes).map_err(|wrong| ArrowError::ParseError(wrong.to_string()))?;
        let deletions = self.deletions.iter().filter(|deletion| deletion.matches(&labels)).collect();
        let kept_from = self.periods.as_ref().map_or(i64::MIN, |periods| periods.kept_from(&labels));
        Ok(OfStream { labels, deletions, kept_from })
    }
}

/// What may hide rows of one stream.
struct OfStream<'h> {
    labels: Labels,
    deletions: Vec<&'h Arc<LogDeletion>>,
    kept_from: i64,
}

/// Columns that judges look at.
struct Records<'a> {
    bodies: &'a StringArray,
    severities: &'a arrow::array::UInt8Array,
    ids: [(&'static str, &'a arrow::array::FixedSizeBinaryArray); 2],
    maps: [&'a arrow::array::MapArray; 2],
}

impl<'a> Records<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Records<'a>, ArrowError> {
        let column = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("rows have no {name}")))
        };
        Ok(Records {
            bodies: column("body")?.as_string(),
            severities: column("severity_number")?.as_primitive::<UInt8Type>(),
            ids: [
                ("trace_id", column("trace_id")?.as_fixed_size_binary()),
                ("span_id", column("span_id")?.as_fixed_size_binary()),
            ],
            maps: [column("attributes")?.as_map(), column("resource")?.as_map()],
        })
    }

    fn with<T>(&self, row: usize, ts_ns: i64, labels: &Labels, judge: impl Fn(&JudgedLog<'_>) -> T) -> T {
        let ids: Vec<(&str, String)> = self
            .ids
            .iter()
            .filter(|(_, ids)| ids.is_valid(row))
            .map(|(name, ids)| (*name, hex::encode(ids.value(row))))
            .collect();
        let mut metadata: Vec<(&str, &str)> = vec![];
        for map in self.maps {
            let (names, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
            let entries = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
            metadata.extend(
                entries.filter(|at| values.is_valid(*at)).map(|at| (names.value(at), values.value(at))),
            );
        }
        metadata.extend(ids.iter().map(|(name, id)| (*name, id.as_str())));
        judge(&JudgedLog {
            ts_ns,
            body: self.bodies.value(row),
            labels,
            metadata: &metadata,
            severity: self.severities.value(row),
        })
    }
}
