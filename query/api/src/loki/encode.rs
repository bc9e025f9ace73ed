//! Answers in Loki's JSON.

use super::CATEGORIZE;
use engine::{LogAnswer, LogEntry, LogLines, LogResult, LogStats};
use model::{Labels, Point, SeriesPoints};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

pub(super) fn answer(answer: &LogAnswer, categorize: bool) -> String {
    let (kind, result) = match &answer.result {
        LogResult::Streams(streams) => {
            ("streams", if categorize { categorized(streams) } else { merged(streams) })
        }
        LogResult::Matrix(series) => ("matrix", matrix(series)),
        LogResult::Vector(series) => ("vector", vector(series)),
        LogResult::Scalar(point) => ("scalar", json!([seconds(point.ts_ms), number(point.value)])),
    };
    let mut data = Map::new();
    data.insert("resultType".into(), json!(kind));
    if categorize && kind == "streams" {
        data.insert("encodingFlags".into(), json!([CATEGORIZE]));
    }
    data.insert("result".into(), result);
    data.insert("stats".into(), stats(&answer.stats));
    let mut body = json!({ "status": "success", "data": data });
    if !answer.warnings.is_empty() {
        body["warnings"] = json!(answer.warnings);
    }
    body.to_string()
}

/// Streams by their own labels; what is known of each line besides stands with the line.
fn categorized(streams: &[LogLines]) -> Value {
    let values = |entries: &[LogEntry]| -> Vec<Value> {
        let one = |entry: &LogEntry| {
            let beside = json!({ "structuredMetadata": entry.metadata, "parsed": entry.parsed });
            json!([entry.ts_ns.to_string(), entry.line, beside])
        };
        entries.iter().map(one).collect()
    };
    streams
        .iter()
        .map(|stream| json!({ "stream": stream.labels, "values": values(&stream.entries) }))
        .collect()
}

/// Streams by all labels that their lines have.
pub(super) fn merged(streams: &[LogLines]) -> Value {
    let mut out: Vec<(Labels, Vec<Value>)> = Vec::new();
    let mut known: HashMap<Labels, usize> = HashMap::new();
    for stream in streams {
        for entry in &stream.entries {
            let all = stream.labels.iter().chain(entry.metadata.iter()).chain(entry.parsed.iter());
            let labels = Labels::from_pairs(all);
            let at = *known.entry(labels.clone()).or_insert_with(|| {
                out.push((labels, Vec::new()));
                out.len() - 1
            });
            out[at].1.push(json!([entry.ts_ns.to_string(), entry.line]));
        }
    }
    out.into_iter().map(|(labels, values)| json!({ "stream": labels, "values": values })).collect()
}

fn matrix(series: &[SeriesPoints]) -> Value {
    let values = |points: &[Point]| -> Vec<Value> {
        points.iter().map(|point| json!([seconds(point.ts_ms), number(point.value)])).collect()
    };
    series.iter().map(|one| json!({ "metric": one.labels, "values": values(&one.points) })).collect()
}

fn vector(series: &[SeriesPoints]) -> Value {
    let points = series.iter().filter_map(|one| one.points.first().map(|point| (&one.labels, point)));
    points.map(|(labels, point)| json!({ "metric": labels, "value": [seconds(point.ts_ms), number(point.value)] })).collect()
}

/// Seconds, whole where they are.
pub(super) fn seconds(ts_ms: i64) -> Value {
    if ts_ms % 1_000 == 0 { json!(ts_ms / 1_000) } else { json!(ts_ms as f64 / 1e3) }
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

pub(super) fn no_stats() -> Value {
    stats(&LogStats::default())
}

/// The parts of Loki's statistics that readers look at; those of caches and queues we do not have are 0.
fn stats(stats: &LogStats) -> Value {
    let rate = |amount: u64| if stats.seconds > 0.0 { (amount as f64 / stats.seconds) as u64 } else { 0 };
    let store = json!({
        "totalChunksRef": 0,
        "totalChunksDownloaded": 0,
        "chunksDownloadTime": 0,
        "chunk": {
            "headChunkBytes": 0,
            "headChunkLines": 0,
            "decompressedBytes": stats.bytes_read,
            "decompressedLines": stats.lines_read,
            "compressedBytes": 0,
            "totalDuplicates": 0,
        },
    });
    json!({
        "summary": {
            "bytesProcessedPerSecond": rate(stats.bytes_read),
            "linesProcessedPerSecond": rate(stats.lines_read),
            "totalBytesProcessed": stats.bytes_read,
            "totalLinesProcessed": stats.lines_read,
            "execTime": stats.seconds,
            "queueTime": 0,
            "subqueries": 0,
            "totalEntriesReturned": stats.entries_returned,
            "splits": 0,
            "shards": 0,
        },
        "querier": { "store": store },
        "ingester": {
            "totalReached": 0,
            "totalChunksMatched": 0,
            "totalBatches": 0,
            "totalLinesSent": 0,
            "store": no_store(),
        },
    })
}

fn no_store() -> Value {
    json!({ "totalChunksRef": 0, "totalChunksDownloaded": 0, "chunksDownloadTime": 0, "chunk": {} })
}
