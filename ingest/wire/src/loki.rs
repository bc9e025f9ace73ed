//! Loki push: `logproto.PushRequest` after snappy (source: pkg/push/push.proto of Loki), and its JSON.

mod selector;

use crate::protobuf::Fields;
use crate::{Decoded, Malformed, Rejected};
use model::{
    Attributes, Labels, LogBatch, LogRecord, LogStream, RejectReason, SpanId, TraceId, Value, attribute,
    level,
};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// What `service_name` is taken from where a stream has none, the first that is there: `discover_service_name` of Loki 3.
pub const SERVICE_NAME_LABELS: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// `service_from` names the labels that `service_name` is taken from; with none it is not added.
pub fn decode_protobuf(body: &[u8], service_from: &[String]) -> Result<Decoded<LogBatch>, Malformed> {
    let mut decoded = Decoded::<LogBatch>::default();
    let mut request = Fields::of(body);
    while let Some((field, value)) = request.next()? {
        if field == 1 {
            stream(value.bytes()?, service_from, &mut decoded)?;
        }
    }
    Ok(decoded)
}

fn stream(message: &[u8], service_from: &[String], decoded: &mut Decoded<LogBatch>) -> Result<(), Malformed> {
    let (mut labels, mut records): (&[u8], _) = (&[], vec![]);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => labels = value.bytes()?,
            2 => records.push(entry(value.bytes()?)?),
            _ => {}
        }
    }
    let parsed = text_of_labels(labels)
        .and_then(selector::parse)
        .and_then(|pairs| labels_of(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())), service_from));
    add(parsed, records, decoded);
    Ok(())
}

/// A stream that cannot be named is refused alone, and told where its mistake is, as Loki does.
fn text_of_labels(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|wrong| {
        let before = &bytes[..wrong.valid_up_to()];
        let column = before.iter().rposition(|byte| *byte == b'"').unwrap_or(before.len()) + 1;
        format!("couldn't parse labels: 1:{column}: parse error: invalid UTF-8 rune")
    })
}

fn entry(message: &[u8]) -> Result<LogRecord, Malformed> {
    let mut record = LogRecord::default();
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => record.ts_ns = timestamp(value.bytes()?)?,
            // Lines come from files: bytes that are no text are shown as what they are, not refused.
            2 => record.body = String::from_utf8_lossy(value.bytes()?).into_owned(),
            3 => record.attributes.push(pair(value.bytes()?)?),
            _ => {}
        }
    }
    Ok(record)
}

fn timestamp(message: &[u8]) -> Result<i64, Malformed> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => seconds = value.integer()?,
            2 => nanos = value.integer()?,
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

fn pair(message: &[u8]) -> Result<(String, Value), Malformed> {
    let (mut name, mut text) = (Cow::default(), Cow::default());
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            // As of lines.
            1 => name = String::from_utf8_lossy(value.bytes()?),
            2 => text = String::from_utf8_lossy(value.bytes()?),
            _ => {}
        }
    }
    Ok((name.into_owned(), text.into_owned().into()))
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow, default)]
    streams: Vec<Stream<'a>>,
}

#[derive(Deserialize)]
struct Stream<'a> {
    #[serde(borrow, default)]
    stream: BTreeMap<Cow<'a, str>, serde_json::Value>,
    #[serde(borrow, default)]
    values: Vec<Entry<'a>>,
}

/// `[time, line]` or `[time, line, {metadata}]`. Without a line it is empty, and what follows is not looked at, as in Loki.
struct Entry<'a> {
    ts: Cow<'a, str>,
    line: Cow<'a, str>,
    metadata: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Entry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[\"<ns>\",\"line\"] or [\"<ns>\",\"line\",{\"name\":\"value\"}]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entry<'de>, A::Error> {
        let Text(ts) = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let Text(line) = seq.next_element()?.unwrap_or_default();
        let Pairs(metadata) = seq.next_element()?.unwrap_or_default();
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Entry { ts, line, metadata })
    }
}

/// Taken from the body without a copy where it has no escapes.
#[derive(Default, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Default, Deserialize)]
struct Pairs<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, Cow<'a, str>>);

/// `service_from` as in [`decode_protobuf`].
pub fn decode_json(body: &[u8], service_from: &[String]) -> Result<Decoded<LogBatch>, Malformed> {
    // One byte that is no text is no reason to refuse the lines of all.
    let text = String::from_utf8_lossy(body);
    let push: Push = serde_json::from_str(&text).map_err(|wrong| {
        Malformed(format!(
            "not a Loki push request: {wrong}; expected {{\"streams\":[{{\"stream\":{{\"label\":\"value\"}},\"values\":[[\"<ns>\",\"line\"]]}}]}}"
        ))
    })?;
    let mut decoded = Decoded::<LogBatch>::default();
    for stream in push.streams {
        let records = stream.values.into_iter().map(record).collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<(&str, Cow<'_, str>)> =
            stream.stream.iter().map(|(name, value)| (name.as_ref(), label_text(value))).collect();
        let labels = labels_of(texts.iter().map(|(name, text)| (*name, text.as_ref())), service_from);
        add(labels, records, &mut decoded);
    }
    Ok(decoded)
}

/// Scripts write `"status": 200`; Loki takes the value of a label as it stands in JSON.
fn label_text(value: &serde_json::Value) -> Cow<'_, str> {
    match value {
        serde_json::Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

fn record(entry: Entry<'_>) -> Result<LogRecord, Malformed> {
    let Entry { ts, line, metadata } = entry;
    let ts_ns =
        ts.parse().map_err(|_| Malformed(format!("time {ts:?} is not nanoseconds since 1970 in decimal")))?;
    let attributes: Attributes =
        metadata.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
    Ok(LogRecord { ts_ns, body: line.into_owned(), attributes, ..LogRecord::default() })
}

fn labels_of<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    service_from: &'a [String],
) -> Result<Labels, String> {
    let mut pairs: Vec<_> = pairs.collect();
    if !pairs.iter().all(|(name, _)| is_label_name(name)) {
        // Loki reads them from this text, and tells where in it they are wrong.
        let why = selector::parse(&written(&pairs)).err();
        return Err(why.unwrap_or_else(|| format!("stream '{}' has an invalid label name", written(&pairs))));
    }
    // A label without a value is none.
    pairs.retain(|(_, value)| !value.is_empty());
    pairs.extend(service_name(&pairs, service_from).map(|service| ("service_name", service)));
    if pairs.is_empty() {
        return Err("error at least one label pair is required per stream".into());
    }
    pairs.sort_by_key(|(name, _)| *name);
    if let Some(same) = pairs.windows(2).find(|two| two[0].0 == two[1].0) {
        let name = same[0].0;
        return Err(format!("stream '{}' has duplicate label name: '{name}'", written(&pairs)));
    }
    Ok(Labels::from_pairs(pairs))
}

fn written(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// What Loki adds to a stream that was pushed without: Logs Drilldown finds streams by it.
fn service_name<'a>(pairs: &[(&'a str, &'a str)], service_from: &[String]) -> Option<&'a str> {
    // The last two are streams that Loki makes of its own accord.
    let is_complete = |name: &str| matches!(name, "service_name" | "__aggregated_metric__" | "__pattern__");
    if service_from.is_empty() || pairs.iter().any(|(name, _)| is_complete(name)) {
        return None;
    }
    let of = |wanted: &String| pairs.iter().find(|(name, _)| name == wanted);
    Some(service_from.iter().find_map(of).map_or("unknown_service", |(_, value)| value))
}

fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':'))
}

fn add(labels: Result<Labels, String>, records: Vec<LogRecord>, decoded: &mut Decoded<LogBatch>) {
    let Decoded { batch, rejected } = decoded;
    match labels {
        Ok(labels) => {
            let given = Given::by(&labels);
            let mut records = each_once(with_named_metadata(records, rejected));
            records.iter_mut().for_each(|record| complete(record, &given));
            batch.streams.push(LogStream { labels, resource: vec![], records });
        }
        Err(wrong) => reject(rejected, records.len(), wrong),
    }
}

/// Nobody could ask for metadata without a name, which Loki refuses, too. That without a value stays: it is told from none.
fn with_named_metadata(mut records: Vec<LogRecord>, rejected: &mut Rejected) -> Vec<LogRecord> {
    let sent = records.len();
    records.retain(|record| record.attributes.iter().all(|(name, _)| !name.is_empty()));
    if records.len() < sent {
        reject(rejected, sent - records.len(), "label name is empty".to_owned());
    }
    records
}

/// A record that a stream of the request has twice, metadata and all, is kept once, as in Loki: it was read twice.
fn each_once(mut records: Vec<LogRecord>) -> Vec<LogRecord> {
    // Most come in order and no two of one time.
    if records.windows(2).all(|pair| pair[0].ts_ns < pair[1].ts_ns) {
        return records;
    }
    let mut of_time: HashMap<i64, Vec<usize>> = HashMap::new();
    let mut twice = vec![false; records.len()];
    for (at, record) in records.iter().enumerate() {
        let seen = of_time.entry(record.ts_ns).or_default();
        let is_same = |other: &&usize| {
            let other = &records[**other];
            other.body == record.body && other.attributes == record.attributes
        };
        // A sender whose lines all have one time is not compared line by line.
        if seen.len() < SAME_TIME_MAX {
            match seen.iter().find(is_same) {
                Some(_) => twice[at] = true,
                None => seen.push(at),
            }
        }
    }
    let mut twice = twice.into_iter();
    records.retain(|_| !twice.next().unwrap_or(false));
    records
}

/// So many different records of one time are told apart.
const SAME_TIME_MAX: usize = 256;

fn reject(rejected: &mut Rejected, records: usize, wrong: String) {
    rejected.add(RejectReason::InvalidLabels, records.max(1) as u64, || wrong);
}

/// Level and ids that a stream's labels give all of its records.
struct Given {
    severity: u8,
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
}

const TRACE_IDS: [&str; 3] = ["trace_id", "traceid", "traceID"];
const SPAN_IDS: [&str; 3] = ["span_id", "spanid", "spanID"];

impl Given {
    fn by(labels: &Labels) -> Given {
        Given {
            severity: level::named(|name| labels.get(name)).map_or(0, level::of_word),
            trace_id: TRACE_IDS.iter().find_map(|name| hex_id(labels.get(name)?)),
            span_id: SPAN_IDS.iter().find_map(|name| hex_id(labels.get(name)?)),
        }
    }
}

/// Level and trace ids from where Loki's clients put them: structured metadata and the stream's labels.
fn complete(record: &mut LogRecord, given: &Given) {
    level::spell(&mut record.attributes);
    let text_of = |name: &str| attribute(&record.attributes, name).and_then(Value::as_str);
    let said = |word: Option<&str>| word.map(level::of_word).filter(|level| *level > 0);
    record.severity = said(text_of("detected_level"))
        .or(Some(given.severity).filter(|level| *level > 0))
        .or_else(|| said(level::named(text_of)))
        .or_else(|| text_of("severity_number")?.parse().ok().filter(|number| (1..=24).contains(number)))
        .unwrap_or(0);
    record.trace_id = TRACE_IDS.iter().find_map(|name| hex_id(text_of(name)?)).or(given.trace_id);
    record.span_id = SPAN_IDS.iter().find_map(|name| hex_id(text_of(name)?)).or(given.span_id);
}

fn hex_id<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut id = [0; N];
    hex::decode_to_slice(text, &mut id).ok()?;
    (id != [0; N]).then_some(id)
}

#[cfg(test)]
mod tests;
