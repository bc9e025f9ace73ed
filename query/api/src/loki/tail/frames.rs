//! New lines as a Grafana data frame in its JSON: a schema of fields, and their values column by column. Fields are those that
//! Grafana's plugin makes of the lines of a query.

use engine::LogLines;
use serde_json::{Value, json};

const NS_OF_A_MS: i64 = 1_000_000;

/// Times are whole milliseconds, and `nanos` has what is left of each. Of lines that do not fit, the oldest stay away: the fields
/// have no place for them.
pub fn of(streams: Vec<LogLines>, lines_max: usize) -> Value {
    let mut lines: Vec<(i64, String, Value)> = vec![];
    for stream in streams {
        for entry in stream.entries {
            let labels = stream.labels.iter().chain(entry.metadata.iter()).chain(entry.parsed.iter());
            let labels = labels.map(|(name, value)| (name.to_owned(), Value::from(value)));
            lines.push((entry.ts_ns, entry.line, Value::Object(labels.collect())));
        }
    }
    lines.sort_by_key(|(ts_ns, ..)| *ts_ns);
    lines.drain(..lines.len().saturating_sub(lines_max));
    let field =
        |name: &str, kind: &str, of: &str| json!({ "name": name, "type": kind, "typeInfo": { "frame": of } });
    let column =
        |value: &dyn Fn(&(i64, String, Value)) -> Value| lines.iter().map(value).collect::<Vec<Value>>();
    json!({
        "schema": {
            "fields": [
                field("labels", "other", "json.RawMessage"),
                field("Time", "time", "time.Time"),
                field("Line", "string", "string"),
                field("tsNs", "string", "string"),
            ],
        },
        "data": {
            "values": [
                column(&|(_, _, labels)| labels.clone()),
                column(&|(ts_ns, ..)| json!(ts_ns.div_euclid(NS_OF_A_MS))),
                column(&|(_, line, _)| json!(line)),
                column(&|(ts_ns, ..)| json!(ts_ns.to_string())),
            ],
            "nanos": [null, column(&|(ts_ns, ..)| json!(ts_ns.rem_euclid(NS_OF_A_MS))), null, null],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::LogEntry;
    use model::Labels;

    #[test]
    fn fields_are_columns_and_the_newest_lines_stay() {
        let entry = |ts_ns: i64, line: &str| LogEntry {
            ts_ns,
            line: line.into(),
            metadata: Labels::from_pairs([("trace_id", "7")]),
            parsed: Labels::empty(),
        };
        let stream = |app: &str, entries| LogLines { labels: Labels::from_pairs([("app", app)]), entries };
        let streams = vec![
            stream("a", vec![entry(1_000_001, "first"), entry(3_000_003, "third")]),
            stream("b", vec![entry(2_000_002, "second")]),
        ];
        let frame = of(streams, 2);
        assert_eq!(
            frame["data"],
            json!({
                "values": [
                    [{ "app": "b", "trace_id": "7" }, { "app": "a", "trace_id": "7" }],
                    [2, 3], ["second", "third"], ["2000002", "3000003"],
                ],
                "nanos": [null, [2, 3], null, null],
            })
        );
        assert_eq!(frame["schema"]["fields"][1]["type"], "time");
    }
}
