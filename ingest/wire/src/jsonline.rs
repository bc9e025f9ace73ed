//! Newline-delimited JSON, a log record a line, with VictoriaLogs' parameters (source: docs.victoriametrics.com,
//! "JSON stream API"): which fields are the time, the line and the labels of the stream.

use crate::document::{Document, LINES, MAYBE_TIMES, Names, Streams, TIMES};
use crate::otlp::names;
use crate::{Decoded, Rejected};
use model::{Labels, LogBatch, LogRecord, RejectReason};

/// Names of fields; nested ones are dotted. Where a list is empty, what shippers usually write is looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    pub times: Vec<String>,
    pub lines: Vec<String>,
    pub labels: Vec<String>,
    pub ignored: Vec<String>,
    /// Given to every record that does not have them.
    pub extra: Vec<(String, String)>,
}

/// A line that is no record is left out, and the others stay.
pub fn decode(body: &[u8], options: &Options, now_ns: i64) -> Decoded<LogBatch> {
    let (times, lines) = (names("_time", &options.times, &TIMES), names("_msg", &options.lines, &LINES));
    // Where it is said what the time is, nothing else is.
    let maybe_times: &[&str] = if options.times.is_empty() { &MAYBE_TIMES } else { &[] };
    let names = Names { times: &times, maybe_times, lines: &lines };
    let (mut streams, mut rejected) = (Streams::default(), Rejected::default());
    for (at, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match record(line, options, &names, now_ns) {
            Ok((labels, record)) => {
                streams.push(labels, record);
            }
            Err(why) => rejected.add(RejectReason::InvalidDocument, 1, || format!("line {}: {why}", at + 1)),
        }
    }
    let (batch, _) = streams.finish();
    Decoded { batch, rejected }
}

fn names<'a>(ours: &'a str, written: &'a [String], usual: &[&'a str]) -> Vec<&'a str> {
    if written.is_empty() {
        std::iter::once(ours).chain(usual.iter().copied()).collect()
    } else {
        written.iter().map(String::as_str).collect()
    }
}

fn record(
    line: &[u8],
    options: &Options,
    names: &Names<'_>,
    now_ns: i64,
) -> Result<(Labels, LogRecord), String> {
    let mut document = Document::parse(line)?;
    options.ignored.iter().for_each(|name| document.remove(name));
    options.extra.iter().for_each(|(name, value)| document.add(name, value));
    let labels = if options.labels.is_empty() {
        Labels::from_pairs(document.take_labels())
    } else {
        chosen(&mut document, &options.labels)
    };
    Ok((labels, document.into_record(names, now_ns)?))
}

fn chosen(document: &mut Document<'_>, fields: &[String]) -> Labels {
    let mut labels: Vec<_> = fields
        .iter()
        .filter_map(|field| Some((names::label(field), document.take(&[field.as_str()])?.to_string())))
        .collect();
    if labels.is_empty() {
        // A stream has a label.
        labels.push(("service_name".into(), "unknown_service".into()));
    }
    Labels::from_pairs(labels)
}

#[cfg(test)]
mod tests;
