//! What a WAL record holds: tenant, origin and one batch. Metrics are their flat arrays as they are; log records and
//! spans are their groups, the shapes of their attributes and the Arrow batch that the memtable holds, as an IPC stream. Format: FORMAT.md.

use crate::part::Signal;
use crate::rows::groups::Group;
use crate::rows::shapes::{self, Shape, Shapes};
use crate::rows::stored::{self, Stored};
use crate::side_index::Cursor;
use arrow::array::{AsArray, RecordBatch};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use model::{Exemplar, Labels, Metadata, MetricBatch, Origin, SeriesSamples, Tenant};
use std::sync::Arc;

/// A batch in the shape in which it is kept in memory.
#[derive(Clone, Debug)]
pub enum Rows {
    Metrics(MetricBatch),
    Logs(Stored),
    Spans(Stored),
}

#[derive(Debug)]
pub struct Record {
    pub tenant: Tenant,
    pub origin: Option<Origin>,
    pub rows: Rows,
}

#[derive(Debug, thiserror::Error)]
#[error("log record cannot be read: {0}")]
pub struct Unreadable(String);

const VERSION: u8 = 4;
/// Read as well: attributes of rows are a map, as whoever asks for them gets them.
const VERSION_BEFORE: u8 = 3;

pub fn encode(tenant: &Tenant, origin: Option<Origin>, rows: &Rows) -> Result<Vec<u8>, Unreadable> {
    let mut out = vec![VERSION, kind(rows), tenant.as_str().len() as u8];
    out.extend_from_slice(tenant.as_str().as_bytes());
    match origin {
        None => out.push(0),
        Some(origin) => {
            out.push(1);
            out.extend_from_slice(&origin.sender.to_le_bytes());
            out.extend_from_slice(&origin.sequence.to_le_bytes());
        }
    }
    match rows {
        Rows::Metrics(batch) => {
            encode_metrics(batch, &mut out)?;
            encode_exemplars(&batch.exemplars, &mut out);
        }
        Rows::Logs(stored) | Rows::Spans(stored) => {
            encode_groups(stored, &mut out);
            if has_more(stored) {
                Group::encode_more(&stored.groups, &mut out);
            }
            encode_shapes(stored, &mut out);
            encode_rows(stored, &mut out)?;
        }
    }
    Ok(out)
}

pub fn decode(bytes: &[u8]) -> Result<Record, Unreadable> {
    let mut rest = Bytes(bytes);
    let [version, kind, tenant_len] = rest.array()?;
    if ![VERSION, VERSION_BEFORE].contains(&version) {
        return Err(Unreadable(format!("version {version} is not known")));
    }
    let tenant =
        std::str::from_utf8(rest.take(tenant_len as usize)?).map_err(|e| Unreadable(e.to_string()))?;
    let tenant = Tenant::new(tenant).map_err(|e| Unreadable(e.to_string()))?;
    let origin = match rest.array()? {
        [0] => None,
        _ => Some(Origin {
            sender: u128::from_le_bytes(rest.array()?),
            sequence: u64::from_le_bytes(rest.array()?),
        }),
    };
    let rows = match kind {
        b'm' => Rows::Metrics(decode_metrics(&mut rest)?),
        b'e' => {
            let mut batch = decode_metrics(&mut rest)?;
            batch.exemplars = decode_exemplars(&mut rest)?;
            Rows::Metrics(batch)
        }
        b'l' | b's' | b'S' => {
            let mut rest = Cursor(rest.0);
            let mut groups = decode_groups(&mut rest)?;
            if kind == b'S' {
                Group::decode_more(&mut groups, &mut rest).map_err(Unreadable)?;
            }
            let shapes = if version == VERSION { Some(decode_shapes(&mut rest)?) } else { None };
            match kind {
                b'l' => Rows::Logs(decode_rows(Signal::Logs, groups, shapes, rest)?),
                _ => Rows::Spans(decode_rows(Signal::Spans, groups, shapes, rest)?),
            }
        }
        other => return Err(Unreadable(format!("kind {other} is not known"))),
    };
    Ok(Record { tenant, origin, rows })
}

fn kind(rows: &Rows) -> u8 {
    match rows {
        Rows::Metrics(batch) if batch.exemplars.is_empty() => b'm',
        Rows::Metrics(_) => b'e',
        Rows::Logs(_) => b'l',
        Rows::Spans(stored) if has_more(stored) => b'S',
        Rows::Spans(_) => b's',
    }
}

fn has_more(stored: &Stored) -> bool {
    stored.groups.iter().any(|group| group.has_more())
}

fn encode_metrics(batch: &MetricBatch, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let metadata = if batch.metadata.is_empty() {
        vec![]
    } else {
        serde_json::to_vec(&batch.metadata).map_err(|e| Unreadable(e.to_string()))?
    };
    out.reserve(
        batch.label_bytes.len() + batch.series.len() * 8 + batch.ts_ms.len() * 16 + metadata.len() + 16,
    );
    for length in [batch.label_bytes.len(), batch.series.len(), batch.ts_ms.len(), metadata.len()] {
        out.extend_from_slice(&(length as u32).to_le_bytes());
    }
    out.extend_from_slice(&batch.label_bytes);
    for series in &batch.series {
        out.extend_from_slice(&series.labels_end.to_le_bytes());
        out.extend_from_slice(&series.samples_end.to_le_bytes());
    }
    batch.ts_ms.iter().for_each(|ts| out.extend_from_slice(&ts.to_le_bytes()));
    batch.values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    out.extend_from_slice(&metadata);
    Ok(())
}

fn decode_metrics(rest: &mut Bytes<'_>) -> Result<MetricBatch, Unreadable> {
    let mut length = || rest.array().map(|bytes| u32::from_le_bytes(bytes) as usize);
    let (labels, series, samples, metadata) = (length()?, length()?, length()?, length()?);
    let label_bytes = rest.take(labels)?.to_vec();
    let words = |bytes: &[u8]| -> Vec<u64> {
        bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default())).collect()
    };
    let series: Vec<SeriesSamples> = words(rest.take(series * 8)?)
        .into_iter()
        .map(|word| SeriesSamples { labels_end: word as u32, samples_end: (word >> 32) as u32 })
        .collect();
    let ts_ms = words(rest.take(samples * 8)?).into_iter().map(|word| word as i64).collect();
    let values = words(rest.take(samples * 8)?).into_iter().map(f64::from_bits).collect();
    let metadata: Vec<Metadata> = match rest.take(metadata)? {
        [] => vec![],
        json => serde_json::from_slice(json).map_err(|e| Unreadable(e.to_string()))?,
    };
    let (mut label, mut sample) = (0, 0);
    for one in &series {
        if one.labels_end < label || one.samples_end < sample {
            return Err(Unreadable("series are out of order".into()));
        }
        (label, sample) = (one.labels_end, one.samples_end);
    }
    if label as usize > labels || sample as usize > samples {
        return Err(Unreadable("series reach past their samples".into()));
    }
    Ok(MetricBatch { label_bytes, series, ts_ms, values, metadata, exemplars: vec![] })
}

/// Nothing where there is none.
fn encode_exemplars(exemplars: &[Exemplar], out: &mut Vec<u8>) {
    for Exemplar { series, labels, ts_ms, value } in exemplars {
        for labels in [series, labels] {
            out.extend_from_slice(&(labels.as_bytes().len() as u32).to_le_bytes());
            out.extend_from_slice(labels.as_bytes());
        }
        out.extend_from_slice(&ts_ms.to_le_bytes());
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}

fn decode_exemplars(rest: &mut Bytes<'_>) -> Result<Vec<Exemplar>, Unreadable> {
    let mut exemplars = vec![];
    while !rest.0.is_empty() {
        let mut labels = || {
            let length = u32::from_le_bytes(rest.array()?) as usize;
            Labels::from_bytes(rest.take(length)?).map_err(|e| Unreadable(e.to_string()))
        };
        let (series, labels) = (labels()?, labels()?);
        let ts_ms = i64::from_le_bytes(rest.array()?);
        let value = f64::from_bits(u64::from_le_bytes(rest.array()?));
        exemplars.push(Exemplar { series, labels, ts_ms, value });
    }
    Ok(exemplars)
}

fn encode_groups(stored: &Stored, out: &mut Vec<u8>) {
    out.extend_from_slice(&(stored.groups.len() as u32).to_le_bytes());
    stored.groups.iter().for_each(|group| group.encode(out));
}

fn decode_groups(rest: &mut Cursor<'_>) -> Result<Vec<Arc<Group>>, Unreadable> {
    let count = rest.u32().map_err(Unreadable)?;
    let group = |_| Group::decode(rest).map(Arc::new).map_err(Unreadable);
    (0..count).map(group).collect()
}

fn encode_shapes(stored: &Stored, out: &mut Vec<u8>) {
    out.extend_from_slice(&(stored.shapes.len() as u32).to_le_bytes());
    stored.shapes.iter().for_each(|shape| shapes::encode(shape, out));
}

fn decode_shapes(rest: &mut Cursor<'_>) -> Result<Vec<Arc<Shape>>, Unreadable> {
    let count = rest.u32().map_err(Unreadable)?;
    let shape = |_| shapes::decode(rest).map(Arc::new).map_err(Unreadable);
    (0..count).map(shape).collect()
}

fn encode_rows(stored: &Stored, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let failed = |e: arrow::error::ArrowError| Unreadable(e.to_string());
    out.reserve(stored.batch.get_array_memory_size() + 4_096);
    let mut writer = StreamWriter::try_new(out, &stored.batch.schema()).map_err(failed)?;
    writer.write(&stored.batch).map_err(failed)?;
    writer.finish().map_err(failed)
}

/// Without shapes the rows are of the version before.
fn decode_rows(
    signal: Signal,
    groups: Vec<Arc<Group>>,
    shapes: Option<Vec<Arc<Shape>>>,
    rest: Cursor<'_>,
) -> Result<Stored, Unreadable> {
    let failed = |e: arrow::error::ArrowError| Unreadable(e.to_string());
    let mut reader = StreamReader::try_new(rest.0, None).map_err(failed)?;
    let batch = reader.next().ok_or_else(|| Unreadable("no batch".into()))?.map_err(failed)?;
    let mut columns = batch.columns().to_vec();
    let shapes = match shapes {
        Some(shapes) => shapes,
        None => {
            let mut shapes = Shapes::default();
            let at = batch.schema_ref().index_of("attributes").map_err(failed)?;
            let (map, types) = (columns[at].as_map_opt(), columns[at + 1].as_binary_opt());
            let (map, types) = map.zip(types).ok_or_else(|| Unreadable("attributes are no map".into()))?;
            let [numbers, values] = shapes::of_maps(map, types, &mut shapes).map_err(failed)?;
            (columns[at], columns[at + 1]) = (numbers, values);
            shapes.list().to_vec()
        }
    };
    // The rows of a version always have the columns of that version.
    let batch = RecordBatch::try_new(stored::schema(signal).clone(), columns).map_err(failed)?;
    Ok(Stored { groups, shapes, batch })
}

/// A slice that is taken from its front, never past its end.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or_else(|| Unreadable("it is cut short".into()))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.take(N)?.try_into().map_err(|_| Unreadable("it is cut short".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exemplars_follow_their_samples() {
        let mut batch = MetricBatch::default();
        let series = Labels::from_pairs([("__name__", "up")]);
        batch.push_sample(&series, 5, 1.0);
        let labels = Labels::from_pairs([("trace_id", "abc")]);
        for value in [f64::INFINITY, 0.5] {
            batch.exemplars.push(Exemplar {
                series: series.clone(),
                labels: labels.clone(),
                ts_ms: 4,
                value,
            });
        }
        let bytes = encode(&Tenant::default(), None, &Rows::Metrics(batch.clone())).unwrap();
        let Rows::Metrics(again) = decode(&bytes).unwrap().rows else { panic!() };
        assert_eq!(again, batch);
        let of_one = bytes.len() - (bytes.len() - 40) / 2;
        let whole = (of_one..bytes.len()).filter(|cut| decode(&bytes[..*cut]).is_ok()).count();
        assert!(whole <= 1, "a cut one is an error, but between two of them");
    }

    /// As programs of the version before wrote them, whose log is read after an update.
    #[test]
    fn rows_of_the_version_before_have_their_attributes() {
        let span = |number: u8, attributes: Vec<(String, model::Value)>| model::Span {
            trace_id: [number; 16],
            span_id: [number; 8],
            attributes: attributes.into(),
            ..model::Span::default()
        };
        let some = vec![("a".to_owned(), model::Value::Int(7)), ("b".to_owned(), "x".into())];
        let spans = vec![span(1, some.clone()), span(2, vec![]), span(3, some)];
        let of = model::ResourceSpans { spans, ..model::ResourceSpans::default() };
        let stored =
            crate::rows::build::spans(&model::SpanBatch { resources: vec![of] }, &Default::default())
                .unwrap();
        let mut columns = stored.batch.columns().to_vec();
        let mut fields: Vec<_> = stored.batch.schema().fields().iter().cloned().collect();
        let at = stored.batch.schema().index_of(shapes::SHAPE).unwrap();
        let (map, types) = shapes::maps(&stored.batch, &stored.shapes).unwrap();
        for (at, (name, column)) in [(at, ("attributes", map)), (at + 1, ("attribute_types", types))] {
            fields[at] = Arc::new(arrow::datatypes::Field::new(name, column.data_type().clone(), false));
            columns[at] = column;
        }
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let batch = RecordBatch::try_new(schema, columns).unwrap();
        let mut bytes = vec![VERSION_BEFORE, b's', 1, b't', 0];
        let before = Stored { batch, ..stored.clone() };
        encode_groups(&before, &mut bytes);
        encode_rows(&before, &mut bytes).unwrap();
        let Rows::Spans(again) = decode(&bytes).unwrap().rows else { panic!() };
        assert_eq!((again.batch, again.shapes), (stored.batch, stored.shapes));
    }

    #[test]
    fn a_record_comes_back_and_a_cut_one_is_an_error() {
        let mut batch = MetricBatch::default();
        batch.push_sample(&model::Labels::from_pairs([("__name__", "up")]), 5, f64::NAN);
        batch.push(6, -0.0);
        let origin = Some(Origin { sender: 7, sequence: 8 });
        let bytes = encode(&Tenant::default(), origin, &Rows::Metrics(batch.clone())).unwrap();
        let record = decode(&bytes).unwrap();
        assert_eq!((record.tenant, record.origin), (Tenant::default(), origin));
        let Rows::Metrics(again) = record.rows else { panic!() };
        assert_eq!(
            again.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            [f64::NAN.to_bits(), (-0.0f64).to_bits()]
        );
        assert_eq!((again.ts_ms, again.label_bytes), (batch.ts_ms, batch.label_bytes));
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "{cut}");
        }
    }
}
