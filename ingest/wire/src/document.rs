//! A log record that came as a JSON object: what is time, line, level and trace in it, what names the stream, and what
//! is left as structured metadata. Elasticsearch bulk and newline-delimited JSON share it.
//!
//! Nested objects become dotted names (`kubernetes.pod.name`), as they are searched in Elasticsearch. Which protocol it
//! was, and what an error is called there, is not known here.

use crate::pairs;
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use model::{Attributes, Labels, LogBatch, LogRecord, LogStream, Value, level};
use serde_json::Value as Json;
use std::collections::HashMap;

/// Elasticsearch's own `index.mapping.total_fields.limit`.
const FIELDS_MAX: usize = 1_000;

/// Nested names are joined, so one long name would be written once for each field below it.
const NAME_BYTES_MAX: usize = 1 << 10;

/// A document is read as a tree, whose values are up to sixteen times as large as they are written.
const VALUES_MAX: usize = 100_000;

/// Deeper objects stay JSON text.
const DEPTH_MAX: usize = 16;

/// Elasticsearch's own name of the time, which every shipper for it sets.
pub const TIMES: [&str; 1] = ["@timestamp"];

/// Other fields that are often the time, and as often how long something took, or a text of any kind.
pub const MAYBE_TIMES: [&str; 2] = ["timestamp", "time"];

/// The line: Beats and Logstash say `message`, Fluent Bit and Fluentd `log` for what containers write, the exporter of an
/// OpenTelemetry collector `body.text`.
pub const LINES: [&str; 3] = ["message", "log", "body.text"];

/// Stream labels, and the fields that give them, first that is there: Filebeat's names (ECS), Fluent Bit's
/// (`kubernetes` filter), OpenTelemetry's, also as its collector's exporter writes them below `resource`. The labels are
/// those that the agent gives to what it reads itself.
const LABELS: [(&str, &[&str]); 7] = [
    (
        "namespace",
        &[
            "kubernetes.namespace",
            "kubernetes.namespace_name",
            "k8s.namespace.name",
            "resource.attributes.k8s.namespace.name",
        ],
    ),
    (
        "pod",
        &["kubernetes.pod.name", "kubernetes.pod_name", "k8s.pod.name", "resource.attributes.k8s.pod.name"],
    ),
    (
        "container",
        &[
            "kubernetes.container.name",
            "kubernetes.container_name",
            "k8s.container.name",
            "container.name",
            "resource.attributes.k8s.container.name",
        ],
    ),
    (
        "node",
        &[
            "kubernetes.node.name",
            "kubernetes.host",
            "k8s.node.name",
            "host.name",
            "host",
            "hostname",
            "resource.attributes.k8s.node.name",
            "resource.attributes.host.name",
        ],
    ),
    (
        "app",
        &[
            "kubernetes.labels.app_kubernetes_io/name",
            "kubernetes.labels.app.kubernetes.io/name",
            "kubernetes.labels.app",
            "app",
        ],
    ),
    ("service_name", &["service.name", "service_name", "service", "resource.attributes.service.name"]),
    ("stream", &["stream"]),
];

/// Where no field names the service, these labels do; Loki says `unknown_service` for the rest.
const SERVICE_FROM: [&str; 2] = ["app", "container"];

const LEVELS: [&str; 7] =
    ["log.level", "level", "lvl", "severity", "severity_text", "loglevel", "log.syslog.severity.name"];
const TRACE_IDS: [&str; 4] = ["trace.id", "trace_id", "traceid", "traceID"];
const SPAN_IDS: [&str; 4] = ["span.id", "span_id", "spanid", "spanID"];

/// The fields that are not yet taken, under their dotted names.
pub struct Document<'a> {
    text: &'a str,
    fields: Attributes,
}

/// Which fields a document's time and line are in.
pub struct Names<'a> {
    /// A document whose time cannot be read is refused,
    pub times: &'a [&'a str],
    /// and one of these that is no time is a field like any other.
    pub maybe_times: &'a [&'a str],
    pub lines: &'a [&'a str],
}

impl Names<'static> {
    pub const USUAL: Names<'static> = Names { times: &TIMES, maybe_times: &MAYBE_TIMES, lines: &LINES };
}

impl<'a> Document<'a> {
    pub fn parse(json: &'a [u8]) -> Result<Document<'a>, String> {
        let text =
            std::str::from_utf8(json).map_err(|wrong| format!("the document is not UTF-8: {wrong}"))?;
        // Shorter ones cannot have so many.
        if text.len() > VALUES_MAX && values(text) > VALUES_MAX {
            return Err(format!("the document has more than {VALUES_MAX} values"));
        }
        let object = match serde_json::from_slice(&pairs::whole(json)) {
            Ok(Json::Object(object)) => object,
            Ok(_) => return Err("the document is not a JSON object".into()),
            Err(wrong) => return Err(format!("the document is not JSON: {wrong}")),
        };
        let mut fields = vec![];
        flatten(String::new(), 0, object, &mut fields)?;
        Ok(Document { text: text.trim(), fields })
    }

    /// Adds a field, where the document does not have it.
    pub fn add(&mut self, name: &str, value: &str) {
        if !self.fields.iter().any(|(known, _)| known == name) {
            self.fields.push((name.to_owned(), value.into()));
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.fields.retain(|(known, _)| known != name);
    }

    /// The first of these fields that has a value, taken out.
    pub fn take(&mut self, names: &[&str]) -> Option<Value> {
        let at = names.iter().find_map(|name| {
            self.fields.iter().position(|(known, value)| known == name && !value.to_string().is_empty())
        })?;
        Some(self.fields.remove(at).1)
    }

    fn take_text(&mut self, names: &[&str]) -> Option<String> {
        self.take(names).map(|value| value.to_string())
    }

    /// The labels that the usual fields give, taken out.
    pub fn take_labels(&mut self) -> Vec<(&'static str, String)> {
        let mut labels: Vec<(&str, String)> =
            LABELS.iter().filter_map(|(label, fields)| Some((*label, self.take_text(fields)?))).collect();
        let of = |name: &str| labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value.clone());
        if of("service_name").is_none() {
            let service = SERVICE_FROM.iter().find_map(|label| of(label));
            labels.push(("service_name", service.unwrap_or_else(|| "unknown_service".into())));
        }
        labels
    }

    /// What is left becomes the record; a document without a line is its own line.
    pub fn into_record(mut self, names: &Names<'_>, now_ns: i64) -> Result<LogRecord, String> {
        let ts_ns = match names.times.iter().find_map(|name| Some((*name, self.take(&[name])?))) {
            Some((name, value)) => time_ns(&value).ok_or_else(|| {
                format!(
                    "failed to parse field [{name}] of type [date]: {:?} is neither an ISO 8601 time nor a number \
                     of seconds, milliseconds, microseconds or nanoseconds since 1970",
                    value.to_string()
                )
            })?,
            None => names.maybe_times.iter().find_map(|name| self.take_time(name)).unwrap_or(0),
        };
        // Of a time that nobody set there is only when it came.
        let ts_ns = if ts_ns == 0 { now_ns } else { ts_ns };
        let severity_text = self.take_level().unwrap_or_default();
        let trace_id = TRACE_IDS.iter().find_map(|name| self.take_id(name));
        let span_id = SPAN_IDS.iter().find_map(|name| self.take_id(name));
        // Filebeat's `log` is an object, and so not under this name.
        let line = self.take_text(names.lines).or_else(|| self.take_empty(names.lines));
        let (body, attributes) = match line {
            Some(line) => (line.strip_suffix('\n').unwrap_or(&line).to_owned(), self.fields),
            None => (self.text.to_owned(), vec![]),
        };
        let severity = level::of_word(&severity_text);
        Ok(LogRecord { ts_ns, severity, severity_text, trace_id, span_id, body, attributes })
    }

    /// A field that is no time stays where it was, and so does a number that is how long something took.
    fn take_time(&mut self, name: &str) -> Option<i64> {
        /// 1973 in seconds, as in [`unit_ns`].
        const FIRST_NS: i64 = 100_000_000 * 1_000_000_000;
        let at = self.fields.iter().position(|(known, _)| known == name)?;
        let time = time_ns(&self.fields[at].1).filter(|time| *time >= FIRST_NS)?;
        self.fields.remove(at);
        Some(time)
    }

    /// A word that is no level stays where it was, as nothing else would tell it.
    fn take_level(&mut self) -> Option<String> {
        let name = LEVELS.into_iter().find(|name| {
            let is_level = |value: &Value| level::of_word(&value.to_string()) > 0;
            self.fields.iter().any(|(known, value)| known == *name && is_level(value))
        })?;
        self.take_text(&[name])
    }

    /// A line may be empty, and is one where it is there.
    fn take_empty(&mut self, names: &[&str]) -> Option<String> {
        let at = self.fields.iter().position(|(known, _)| names.contains(&known.as_str()))?;
        self.fields.remove(at);
        Some(String::new())
    }

    /// A field that is not an id stays where it was.
    fn take_id<const N: usize>(&mut self, name: &str) -> Option<[u8; N]> {
        let at = self.fields.iter().position(|(known, _)| known == name)?;
        let mut id = [0; N];
        hex::decode_to_slice(self.fields[at].1.as_str()?, &mut id).ok()?;
        (id != [0; N]).then(|| {
            self.fields.remove(at);
            id
        })
    }
}

/// At least as many as it has: what ends one, outside of texts.
fn values(json: &str) -> usize {
    let (mut count, mut in_text, mut escaped) = (1, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}

fn flatten(
    prefix: String,
    depth: usize,
    object: serde_json::Map<String, Json>,
    fields: &mut Attributes,
) -> Result<(), String> {
    for (name, value) in object {
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        if name.len() > NAME_BYTES_MAX {
            let start: String = name.chars().take(40).collect();
            return Err(format!(
                "field name [{start}…] has {} bytes; the most is {NAME_BYTES_MAX}",
                name.len()
            ));
        }
        let value = match value {
            Json::Null => continue,
            Json::Object(inner) if depth < DEPTH_MAX => {
                flatten(name, depth + 1, inner, fields)?;
                continue;
            }
            Json::Bool(truth) => Value::Bool(truth),
            Json::String(text) => Value::String(text),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Value::Int(whole),
                // A double would not tell its last digits.
                (None, Some(double)) if !number.is_u64() => Value::Double(double),
                (None, _) => number.to_string().into(),
            },
            deep @ (Json::Array(_) | Json::Object(_)) => Value::Json(deep.to_string()),
        };
        if fields.len() == FIELDS_MAX {
            return Err(format!("Limit of total fields [{FIELDS_MAX}] has been exceeded"));
        }
        fields.push((name, value));
    }
    Ok(())
}

/// ISO 8601 as Elasticsearch's `strict_date_optional_time` takes it (UTC where no zone is given), or a number.
fn time_ns(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => number.checked_mul(unit_ns(*number)),
        // Its shortest digits are those that were sent.
        Value::Double(number) => decimal_ns(&number.to_string()),
        Value::String(text) => decimal_ns(text.trim()).or_else(|| iso_ns(text.trim())),
        _ => None,
    }
}

fn iso_ns(text: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return time.timestamp_nanos_opt();
    }
    // Python's logging has a comma before the milliseconds.
    let text = text.replacen(',', ".", 1);
    // `+0000` and `+00`, as Fluentd and many loggers write a zone, also behind a blank.
    let with_zone = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"];
    if let Some(time) = with_zone.iter().find_map(|form| DateTime::parse_from_str(&text, form).ok()) {
        return time.timestamp_nanos_opt();
    }
    let day = || NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let time = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(&text, form).ok())
        .or_else(day)?;
    time.and_utc().timestamp_nanos_opt()
}

/// A decimal number since 1970, exactly: OpenTelemetry's collector writes milliseconds with six digits behind the point.
fn decimal_ns(text: &str) -> Option<i64> {
    /// Finer than a nanosecond in every unit.
    const DIGITS_MAX: usize = 9;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let number: i64 = whole.parse().ok()?;
    let unit = unit_ns(number);
    let mut ns = number.checked_mul(unit)?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = &fraction[..fraction.len().min(DIGITS_MAX)];
    if !digits.is_empty() {
        let scale = 10_i64.pow(digits.len() as u32);
        // At most a unit, and so less than 10^18 before it is divided.
        let part = digits.parse::<i64>().ok()? * unit / scale;
        ns = ns.checked_add(if whole.starts_with('-') { -part } else { part })?;
    }
    Some(ns)
}

/// The unit by the size of the number: each covers the years 1973 to 5138 of its own.
fn unit_ns(number: i64) -> i64 {
    match number.unsigned_abs() {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    }
}

/// Records by their labels, in the order of first sight.
#[derive(Default)]
pub struct Streams {
    batch: LogBatch,
    by_labels: HashMap<Labels, usize>,
}

/// Where a record is until [`Streams::finish`] counts it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    stream: usize,
    record: usize,
}

impl Streams {
    pub fn push(&mut self, labels: Labels, record: LogRecord) -> Place {
        let streams = &mut self.batch.streams;
        let stream = *self.by_labels.entry(labels).or_insert_with_key(|labels| {
            streams.push(LogStream { labels: labels.clone(), ..LogStream::default() });
            streams.len() - 1
        });
        let records = &mut streams[stream].records;
        records.push(record);
        Place { stream, record: records.len() - 1 }
    }

    /// The batch, and how many records lie before each of its streams.
    pub fn finish(self) -> (LogBatch, Before) {
        let mut sum = 0;
        let before = self.batch.streams.iter().map(|stream| {
            let before = sum;
            sum += stream.records.len();
            before
        });
        let before = before.collect();
        (self.batch, Before(before))
    }
}

pub struct Before(Vec<usize>);

impl Before {
    /// Where the record is, counted over all streams of the batch.
    pub fn position(&self, place: Place) -> u32 {
        (self.0[place.stream] + place.record) as u32
    }
}

#[cfg(test)]
mod tests;
