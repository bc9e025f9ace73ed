//! Answers in Loki's JSON.

use super::CATEGORIZE;
use crate::pieces::Pieces;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use engine::{LogAnswer, LogEntry, LogLines, LogResult, LogStats};
use model::{LabelSetBuilder, Labels, SeriesPoints};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The answer, written while it is sent: its lines go one by one.
pub(super) fn answer(answer: LogAnswer, categorize: bool) -> Response {
    let LogAnswer { result, stats: took, warnings, held } = answer;
    let kind = match result {
        LogResult::Streams(_) => "streams",
        LogResult::Matrix(_) => "matrix",
        LogResult::Vector(_) => "vector",
        LogResult::Scalar(_) => "scalar",
    };
    let mut head = format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"{kind}\"");
    if categorize && kind == "streams" {
        head.push_str(&format!(",\"encodingFlags\":[\"{CATEGORIZE}\"]"));
    }
    head.push_str(",\"result\":[");
    let mut tail = format!("],\"stats\":{}}}", stats(&took));
    if !warnings.is_empty() {
        tail.push_str(",\"warnings\":");
        put(&mut tail, &warnings);
    }
    tail.push('}');
    let mut response = match result {
        LogResult::Streams(streams) => {
            let streams = if categorize { streams } else { merged(streams) };
            Pieces::new(head, one_by_one(streams), tail, move |text, line| {
                let _until_it_is_sent = &held;
                put_line(text, &line, categorize);
            })
            .into_response()
        }
        LogResult::Matrix(series) => Pieces::new(head, series.into_iter(), tail, move |text, one| {
            let _until_it_is_sent = &held;
            put_series(text, &one);
        })
        .into_response(),
        LogResult::Vector(series) => {
            let first = |one: SeriesPoints| Some((one.points.first().copied()?, one.labels));
            Pieces::new(head, series.into_iter().filter_map(first), tail, move |text, (point, labels)| {
                let _until_it_is_sent = &held;
                put(text, &json!({ "metric": labels, "value": [seconds(point.ts_ms), number(point.value)] }));
            })
            .into_response()
        }
        LogResult::Scalar(point) => {
            // A scalar alone has its time in milliseconds, as Loki writes it.
            let pair = [json!(point.ts_ms), json!(number(point.value))];
            Pieces::new(head, pair.into_iter(), tail, |text, item: Value| put(text, &item)).into_response()
        }
    };
    let kind = HeaderValue::from_static("application/json; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// What cannot fail: texts, numbers and labels.
pub(super) fn put(text: &mut String, value: &impl Serialize) {
    text.push_str(&serde_json::to_string(value).unwrap_or_default());
}

/// A line of a stream, which it may begin and end.
struct Line {
    begins: Option<Arc<Labels>>,
    entry: LogEntry,
    ends: bool,
}

fn one_by_one(streams: Vec<LogLines>) -> impl Iterator<Item = Line> + Send + 'static {
    streams.into_iter().flat_map(|stream| {
        let (labels, last) = (Arc::new(stream.labels), stream.entries.len().saturating_sub(1));
        stream.entries.into_iter().enumerate().map(move |(at, entry)| Line {
            begins: (at == 0).then(|| labels.clone()),
            entry,
            ends: at == last,
        })
    })
}

fn put_line(text: &mut String, line: &Line, categorize: bool) {
    if let Some(labels) = &line.begins {
        text.push_str("{\"stream\":");
        put(text, &**labels);
        text.push_str(",\"values\":[");
    }
    text.push_str(&format!("[\"{}\",", line.entry.ts_ns));
    put(text, &line.entry.line);
    if categorize {
        put_categories(text, &line.entry);
    }
    text.push_str(if line.ends { "]]}" } else { "]" });
}

/// What is known of a line besides stands with the line, and a category of which nothing is is left out.
fn put_categories(text: &mut String, entry: &LogEntry) {
    text.push_str(",{");
    let categories = [("\"structuredMetadata\":", &entry.metadata), ("\"parsed\":", &entry.parsed)];
    for (at, (name, labels)) in categories.into_iter().filter(|(_, labels)| !labels.is_empty()).enumerate() {
        text.push_str(if at > 0 { "," } else { "" });
        text.push_str(name);
        put(text, labels);
    }
    text.push('}');
}

/// Streams by all labels that their lines have.
fn merged(streams: Vec<LogLines>) -> Vec<LogLines> {
    let mut out: Vec<LogLines> = Vec::new();
    let mut known: HashMap<Labels, usize> = HashMap::new();
    for stream in streams {
        for mut entry in stream.entries {
            let all = stream.labels.iter().chain(entry.metadata.iter()).chain(entry.parsed.iter());
            let labels = with_empty_ones(all);
            (entry.metadata, entry.parsed) = (Labels::empty(), Labels::empty());
            let at = *known.entry(labels.clone()).or_insert_with(|| {
                out.push(LogLines { labels, entries: Vec::new() });
                out.len() - 1
            });
            out[at].entries.push(entry);
        }
    }
    out
}

/// What a line has empty is told, too.
fn with_empty_ones<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Labels {
    let by_name: BTreeMap<&str, &str> = pairs.collect();
    let (mut pairs, mut bytes): (Vec<(&str, &str)>, Vec<u8>) = (by_name.into_iter().collect(), vec![]);
    let encoded = LabelSetBuilder::encode_all_into(&mut pairs, &mut bytes);
    encoded.ok().and_then(|()| Labels::from_bytes(&bytes).ok()).unwrap_or_else(|| Labels::from_pairs(pairs))
}

/// The few lines of a frame that live tailing sends.
pub(super) fn frame(streams: Vec<LogLines>) -> Value {
    let values = |entries: &[LogEntry]| -> Vec<Value> {
        entries.iter().map(|entry| json!([entry.ts_ns.to_string(), entry.line])).collect()
    };
    let one = |stream: &LogLines| json!({ "stream": stream.labels, "values": values(&stream.entries) });
    merged(streams).iter().map(one).collect()
}

fn put_series(text: &mut String, series: &SeriesPoints) {
    text.push_str("{\"metric\":");
    put(text, &series.labels);
    text.push_str(",\"values\":[");
    for (at, point) in series.points.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&format!("[{},\"{}\"]", seconds(point.ts_ms), number(point.value)));
    }
    text.push_str("]}");
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

#[cfg(test)]
mod tests {
    use super::*;
    use model::Point;

    async fn written(result: LogResult, categorize: bool) -> Value {
        let warnings = vec!["a \"part\"".to_owned()];
        let all = LogAnswer { result, stats: LogStats::default(), warnings, held: Default::default() };
        let body = axum::body::to_bytes(answer(all, categorize).into_body(), usize::MAX).await.unwrap();
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["status"], &body["warnings"]), (&json!("success"), &json!(["a \"part\""])));
        assert_eq!(body["data"]["stats"], no_stats());
        body["data"].as_object_mut().unwrap().remove("stats");
        body["data"].take()
    }

    #[tokio::test]
    async fn lines_are_written_one_by_one() {
        let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
        let entry = |ts_ns, line: &str, level: &str| LogEntry {
            ts_ns,
            line: line.to_owned(),
            metadata: labels(&[("pod", "p")]),
            parsed: labels(&[("level", level)]),
        };
        // More than one piece.
        let long = "x\n".repeat(50_000);
        let streams = vec![
            LogLines {
                labels: labels(&[("app", "a")]),
                entries: vec![entry(3, &long, "info"), entry(2, "two", "warn"), entry(1, "one", "info")],
            },
            LogLines {
                labels: labels(&[("app", "b\"")]),
                entries: vec![entry(9, "", "info"), entry(8, "", "")],
            },
        ];
        let beside =
            |level: &str| json!({ "structuredMetadata": { "pod": "p" }, "parsed": { "level": level } });
        let expected = json!({
            "resultType": "streams",
            "encodingFlags": ["categorize-labels"],
            "result": [
                {
                    "stream": { "app": "a" },
                    "values": [
                        ["3", &long, beside("info")],
                        ["2", "two", beside("warn")],
                        ["1", "one", beside("info")],
                    ],
                },
                { "stream": { "app": "b\"" }, "values": [["9", "", beside("info")], ["8", "", { "structuredMetadata": { "pod": "p" } }]] },
            ],
        });
        assert_eq!(written(LogResult::Streams(streams.clone()), true).await, expected);
        let all = |app: &str, level: &str| json!({ "app": app, "level": level, "pod": "p" });
        let expected = json!({
            "resultType": "streams",
            "result": [
                { "stream": all("a", "info"), "values": [["3", &long], ["1", "one"]] },
                { "stream": all("a", "warn"), "values": [["2", "two"]] },
                { "stream": all("b\"", "info"), "values": [["9", ""]] },
                { "stream": { "app": "b\"", "pod": "p" }, "values": [["8", ""]] },
            ],
        });
        assert_eq!(written(LogResult::Streams(streams), false).await, expected);
    }

    #[tokio::test]
    async fn numbers_are_written_series_by_series() {
        let point = |ts_ms, value| Point { ts_ms, value };
        let series = vec![SeriesPoints {
            labels: Labels::from_pairs([("a", "b")]),
            points: vec![point(1_500, 2.0), point(2_000, f64::NAN)],
        }];
        let matrix = written(LogResult::Matrix(series.clone()), true).await;
        assert_eq!(
            matrix,
            json!({ "resultType": "matrix", "result": [{ "metric": { "a": "b" }, "values": [[1.5, "2"], [2, "NaN"]] }] })
        );
        let vector = written(LogResult::Vector(series), false).await;
        assert_eq!(
            vector,
            json!({ "resultType": "vector", "result": [{ "metric": { "a": "b" }, "value": [1.5, "2"] }] })
        );
        let scalar = written(LogResult::Scalar(point(1_000, 0.5)), false).await;
        assert_eq!(scalar, json!({ "resultType": "scalar", "result": [1_000, "0.5"] }));
        assert_eq!(written(LogResult::Streams(vec![]), false).await["result"], json!([]));
    }
}
