//! Reads log records of a snapshot, and finds for each the labels of its stream.

use super::operator::{Batches, Work};
use crate::QueryError;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, MapArray, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int32Type, Schema, SchemaRef, TimestampNanosecondType, UInt8Type, UInt32Type};
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::{StreamExt, TryStreamExt};
use logql::Fields;
use model::{Labels, LogSelect, Matcher, level};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{LogColumns, Snapshot};

/// What a query read and gave back so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub lines: AtomicU64,
    pub bytes: AtomicU64,
}

/// A snapshot's records as batches of [`store::schema::LOGS`].
pub(crate) struct LogScan {
    pub snapshot: Arc<dyn Snapshot>,
    pub select: LogSelect,
    pub columns: LogColumns,
    pub counters: Arc<Counters>,
}

impl std::fmt::Debug for LogScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogScan {:?}", self.select)
    }
}

pub(crate) fn read_error(error: store::ReadError) -> DataFusionError {
    DataFusionError::External(Box::new(QueryError::from(error)))
}

impl Work for LogScan {
    fn name(&self) -> &'static str {
        "LogScan"
    }

    fn schema(&self) -> SchemaRef {
        let fields: Vec<_> =
            self.columns.0.iter().map(|at| store::schema::LOGS.fields()[*at].clone()).collect();
        Arc::new(Schema::new(fields))
    }

    fn details(&self) -> String {
        format!(
            "{:?} contains={:?} limit={:?}",
            self.select.matchers, self.select.contains, self.select.limit
        )
    }

    fn run(self: Arc<Self>, _: Vec<SendableRecordBatchStream>, _: Arc<TaskContext>) -> Batches {
        let counters = self.counters.clone();
        futures::stream::once(async move {
            self.snapshot.logs(&self.select, &self.columns).await.map_err(read_error)
        })
        .try_flatten_stream_of_reads(counters)
    }
}

/// Turns the future of a stream of reads into a stream of batches, counting what passes.
trait Reads {
    fn try_flatten_stream_of_reads(self, counters: Arc<Counters>) -> Batches;
}

impl<S> Reads for S
where
    S: futures::Stream<Item = Result<store::BatchStream, DataFusionError>> + Send + 'static,
{
    fn try_flatten_stream_of_reads(self, counters: Arc<Counters>) -> Batches {
        self.map_ok(|batches| batches.map_err(read_error))
            .try_flatten()
            .inspect_ok(move |batch| {
                counters.lines.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
                if let Some(body) = batch.column_by_name("body").and_then(|b| b.as_string_opt::<i32>()) {
                    let offsets = body.value_offsets();
                    let bytes = offsets[offsets.len() - 1] - offsets[0];
                    counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                }
            })
            .boxed()
    }
}

/// Name and value of a stream's labels, as pipelines take them.
pub(crate) type StreamLabels = Arc<[(String, String)]>;

/// A stream that rows were seen of.
pub(crate) struct Stream {
    pub labels: Labels,
    pub pairs: StreamLabels,
    /// The level that a label gives all of its lines.
    level: Option<String>,
    /// Passes the matchers: a snapshot may hand out others too.
    pub selected: bool,
}

/// Streams by their label bytes; the work that depends on a stream alone is done once here.
pub(crate) struct Streams {
    matchers: Vec<Matcher>,
    known: HashMap<Box<[u8]>, usize>,
    /// The entries of the batch before, which the batches of a part have alike, and the stream of each that a row had.
    of_batch: Option<(BinaryArray, Vec<usize>)>,
    pub all: Vec<Stream>,
}

impl Streams {
    pub fn new(matchers: Vec<Matcher>) -> Streams {
        Streams { matchers, known: HashMap::new(), of_batch: None, all: Vec::new() }
    }

    fn index(&mut self, bytes: &[u8]) -> Result<usize, DataFusionError> {
        if let Some(at) = self.known.get(bytes) {
            return Ok(*at);
        }
        let labels = Labels::from_bytes(bytes)
            .map_err(|why| DataFusionError::Execution(format!("a log stream's labels are damaged: {why}")))?;
        let pairs = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let selected = self.matchers.iter().all(|matcher| matcher.matches_labels(&labels));
        let level = level::named(|name| labels.get(name)).map(str::to_owned);
        self.all.push(Stream { labels, pairs, level, selected });
        self.known.insert(bytes.into(), self.all.len() - 1);
        Ok(self.all.len() - 1)
    }

    /// Learns the streams of a batch's rows, for [`of_key`](Self::of_key).
    pub fn see(&mut self, rows: &Rows<'_>) -> Result<(), DataFusionError> {
        let mut of_batch = match self.of_batch.take() {
            Some((values, streams)) if is_same(&values, rows.stream_values) => (values, streams),
            _ => (rows.stream_values.clone(), vec![usize::MAX; rows.stream_values.len()]),
        };
        // A part's streams may be many more than those of the few lines that were found.
        for of_stream in rows.stream_keys.chunk_by(|one, next| one == next) {
            let key = of_stream[0] as usize;
            if let Some(stream @ &mut usize::MAX) = of_batch.1.get_mut(key) {
                *stream = self.index(rows.stream_values.value(key))?;
            }
        }
        self.of_batch = Some(of_batch);
        Ok(())
    }

    /// The place in [`all`](Self::all) of a stream of the batch that was seen last, by its dictionary's key.
    pub fn of_key(&self, key: u32) -> usize {
        self.of_batch.as_ref().map_or(usize::MAX, |(_, streams)| streams[key as usize])
    }
}

/// Whether both are one piece of memory.
fn is_same(one: &BinaryArray, other: &BinaryArray) -> bool {
    one.len() == other.len()
        && std::ptr::eq(one.value_data(), other.value_data())
        && std::ptr::eq(one.value_offsets(), other.value_offsets())
}

/// The columns of one batch, taken apart once.
pub(crate) struct Rows<'a> {
    times: Option<&'a TimestampNanosecondArray>,
    pub stream_keys: &'a [u32],
    stream_values: &'a BinaryArray,
    pub body: Option<&'a StringArray>,
    metadata: Vec<&'a MapArray>,
    /// Names of levels that some metadata has.
    level_names: Vec<&'static str>,
    trace_id: Option<&'a arrow::array::FixedSizeBinaryArray>,
    span_id: Option<&'a arrow::array::FixedSizeBinaryArray>,
    severity: Option<&'a arrow::array::UInt8Array>,
    json: Option<Json<'a>>,
}

/// Labels of JSON bodies that came without the bodies.
pub(crate) struct Json<'a> {
    known: &'a BooleanArray,
    labels: Vec<(&'a str, Values<'a>)>,
}

/// The values of one label, by row.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    Plain(&'a StringArray),
    /// Each distinct value once, and which of them a row has.
    Coded(&'a Int32Array, &'a StringArray),
}

impl<'a> Values<'a> {
    fn of(column: &'a ArrayRef) -> Option<Values<'a>> {
        match column.as_dictionary_opt::<Int32Type>() {
            Some(coded) => Some(Values::Coded(coded.keys(), coded.values().as_string_opt()?)),
            None => column.as_string_opt().map(Values::Plain),
        }
    }

    pub fn get(self, row: usize) -> Option<&'a str> {
        match self {
            Values::Plain(values) => values.is_valid(row).then(|| values.value(row)),
            Values::Coded(keys, values) => keys.is_valid(row).then(|| values.value(keys.value(row) as usize)),
        }
    }
}

impl<'a> Json<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Json<'a>> {
        let known = batch.column_by_name(store::schema::JSON_KNOWN)?.as_boolean_opt()?;
        let fields = batch.schema_ref().fields().iter().zip(batch.columns());
        let label = |(field, column): (&'a arrow::datatypes::FieldRef, &'a ArrayRef)| {
            let name = field.name().strip_prefix(store::schema::JSON_LABEL)?;
            Some((name, Values::of(column)?))
        };
        Some(Json { known, labels: fields.filter_map(label).collect() })
    }

    /// By row.
    pub fn known(&self) -> &BooleanBuffer {
        self.known.values()
    }

    pub fn knows(&self, row: usize) -> bool {
        self.known.value(row)
    }

    pub fn label(&self, name: &str) -> Option<Values<'a>> {
        self.labels.iter().find(|(other, _)| *other == name).map(|(_, values)| *values)
    }

    pub fn extract(&self, row: usize, fields: &mut Fields) {
        for (name, values) in &self.labels {
            if let Some(value) = values.get(row) {
                fields.extract(name, value);
            }
        }
    }
}

/// In the order in which they are believed.
fn level_names(metadata: &[&MapArray]) -> Vec<&'static str> {
    let has = |name: &&str| {
        let keys = |map: &&MapArray| map.keys().as_string::<i32>().iter().flatten().any(|key| key == *name);
        metadata.iter().any(keys)
    };
    level::FIELDS.iter().copied().filter(has).collect()
}

/// Whether labels spell the name of metadata so.
fn spelled(key: &str, name: &str) -> bool {
    let of_digit = key.starts_with(|c: char| c.is_ascii_digit()).then(|| name.strip_prefix("key_")).flatten();
    key.len() >= of_digit.unwrap_or(name).len() && logql::metadata_name(key).eq(name.chars())
}

fn spell(key: &str, name: &mut String) {
    name.clear();
    name.extend(logql::metadata_name(key));
}

impl<'a> Rows<'a> {
    pub fn of(batch: &'a RecordBatch) -> Result<Rows<'a>, DataFusionError> {
        let missing =
            |name: &str| DataFusionError::Internal(format!("log batch without a readable column {name}"));
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| missing(name));
        let stream = column("stream")?.as_dictionary_opt::<UInt32Type>().ok_or_else(|| missing("stream"))?;
        let optional = |name: &str| batch.column_by_name(name);
        let metadata: Vec<_> = ["attributes", "resource"]
            .into_iter()
            .filter_map(|name| optional(name)?.as_map_opt())
            .filter(|map| map.offsets().last() != map.offsets().first())
            .collect();
        let ids = |name: &str| {
            optional(name)?.as_fixed_size_binary_opt().filter(|ids| ids.null_count() < ids.len())
        };
        Ok(Rows {
            times: optional("ts").and_then(|ts| ts.as_primitive_opt::<TimestampNanosecondType>()),
            stream_keys: stream.keys().values(),
            stream_values: stream.values().as_binary_opt::<i32>().ok_or_else(|| missing("stream"))?,
            body: optional("body").and_then(|body| body.as_string_opt::<i32>()),
            level_names: level_names(&metadata),
            metadata,
            trace_id: ids("trace_id"),
            span_id: ids("span_id"),
            severity: optional("severity_number").and_then(|s| s.as_primitive_opt::<UInt8Type>()),
            json: Json::of(batch),
        })
    }

    pub fn len(&self) -> usize {
        self.stream_keys.len()
    }

    /// `None` where nobody asked for them.
    pub fn times(&self) -> Option<&'a [i64]> {
        self.times.map(|times| &times.values()[..])
    }

    pub fn needs_times(&self) -> Result<&'a [i64], DataFusionError> {
        self.times().ok_or_else(|| DataFusionError::Internal("log batch without times".into()))
    }

    /// Whether any row may have metadata that labels spell so.
    pub fn has_metadata(&self, name: &str) -> bool {
        let has =
            |map: &&MapArray| map.keys().as_string::<i32>().iter().flatten().any(|key| spelled(key, name));
        match name {
            "trace_id" if self.trace_id.is_some() => true,
            "span_id" if self.span_id.is_some() => true,
            _ => self.metadata.iter().any(has),
        }
    }

    pub fn json(&self) -> Option<&Json<'a>> {
        self.json.as_ref()
    }

    pub fn line(&self, row: usize) -> &'a str {
        self.body.map_or("", |body| body.value(row))
    }

    /// Puts the row's structured metadata into `fields`, names as labels spell them. Resource attributes that are
    /// stream labels already are not said twice.
    pub fn metadata_into(&self, row: usize, fields: &mut Fields, name: &mut String) {
        for map in &self.metadata {
            let range = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
            let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
            for at in range {
                spell(keys.value(at), name);
                // Some doors take attributes without a name, which no label can have.
                if name.is_empty() {
                    continue;
                }
                let value = if values.is_null(at) { "" } else { values.value(at) };
                if fields.get(name) != Some(value) {
                    fields.add_metadata(name, value);
                }
            }
        }
        for (label, ids) in [("trace_id", self.trace_id), ("span_id", self.span_id)] {
            if let Some(ids) = ids.filter(|ids| ids.is_valid(row))
                && fields.get(label).is_none()
            {
                fields.add_metadata(label, &hex::encode(ids.value(row)));
            }
        }
    }

    /// What the row's stream or its metadata calls its level, else its severity, which its line had a say in when it came.
    pub fn level<'s>(&self, row: usize, stream: &'s Stream) -> &'s str
    where
        'a: 's,
    {
        if let Some(level) = &stream.level {
            return level;
        }
        let named = self.level_names.iter().find_map(|name| self.metadata_of(row, name));
        named.filter(|word| !word.is_empty()).map_or_else(|| self.severity(row), level::normal)
    }

    /// The level by the severity alone.
    pub fn severity(&self, row: usize) -> &'static str {
        model::severity_text(self.severity.map_or(0, |severity| severity.value(row)))
    }

    fn metadata_of(&self, row: usize, name: &str) -> Option<&'a str> {
        self.metadata.iter().find_map(|map| {
            let mut range = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
            let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
            range.find(|at| keys.value(*at) == name).map(|at| values.value(at))
        })
    }
}
