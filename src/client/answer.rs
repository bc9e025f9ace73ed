//! Answers as a person reads them, or as the next program does.

use super::Format;
use anyhow::{Context, bail};
use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches;
use chrono::{DateTime, SecondsFormat};
use comfy_table::{Table, presets};
use model::Labels;
use serde_json::Value;

/// The server's own words, whatever shape its API gives them.
pub fn error_text(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let said = serde_json::from_str::<Value>(text).ok().and_then(|json| {
        ["error", "message"].iter().find_map(|key| json.get(key).and_then(Value::as_str).map(str::to_owned))
    });
    match said {
        Some(said) => said,
        None if text.is_empty() => format!("the server answered with status {status}"),
        None => text.to_owned(),
    }
}

/// A longer line is not shown again for its mistake: it would fill the screen before the caret.
const POINTED_CHARS_MAX: usize = 200;

/// An SQL error with the line that it names and a caret below the column, as psql draws it.
pub fn pointing(wrong: anyhow::Error, query: &str) -> anyhow::Error {
    let text = wrong.to_string();
    let drawn = place(&text).and_then(|(number, column)| {
        let line = query.lines().nth(number.checked_sub(1)?)?;
        if line.chars().count() > POINTED_CHARS_MAX {
            return None;
        }
        let head = format!("LINE {number}: ");
        let indent = head.len() + column.checked_sub(1)?;
        Some(format!("{text}\n{head}{}\n{:indent$}^", line.replace('\t', " "), ""))
    });
    drawn.map_or(wrong, |drawn| anyhow::anyhow!(drawn))
}

/// `… at Line: 1, Column: 8`.
fn place(text: &str) -> Option<(usize, usize)> {
    let number = |text: &str| -> Option<usize> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..digits].parse().ok()
    };
    let (_, from_line) = text.split_once("Line: ")?;
    let (_, from_column) = from_line.split_once("Column: ")?;
    Some((number(from_line)?, number(from_column)?))
}

fn arrow_batches(bytes: &[u8]) -> anyhow::Result<Vec<RecordBatch>> {
    StreamReader::try_new(bytes, None)
        .and_then(|reader| {
            let schema = reader.schema();
            let batches = reader.collect::<Result<Vec<_>, _>>()?;
            // Without rows the columns are still shown.
            Ok(if batches.is_empty() { vec![RecordBatch::new_empty(schema)] } else { batches })
        })
        .context("the server's answer is not an Arrow stream")
}

pub fn arrow_table(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let batches = arrow_batches(bytes)?;
    let table = pretty_format_batches(&batches)?;
    Ok(format!("{table}\n{}", counted(&batches)).into_bytes())
}

fn counted(batches: &[RecordBatch]) -> String {
    let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    format!("({rows} row{})\n", if rows == 1 { "" } else { "s" })
}

/// A table, or records where the table is wider.
pub fn arrow_within(bytes: &[u8], columns_max: usize) -> anyhow::Result<Vec<u8>> {
    let table = arrow_table(bytes)?;
    let first = table.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if first.len() <= columns_max { Ok(table) } else { arrow_records(bytes) }
}

/// A row a block, a column a line, as psql's `\x`.
pub fn arrow_records(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let batches = arrow_batches(bytes)?;
    let mut out = String::new();
    let mut record = 0;
    for batch in &batches {
        let schema = batch.schema();
        let width = schema.fields().iter().map(|field| field.name().chars().count()).max().unwrap_or(0);
        let options = FormatOptions::default();
        let formatters = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            record += 1;
            out.push_str(&format!("-[ RECORD {record} ]{:-<1$}\n", "", width));
            for (field, formatter) in schema.fields().iter().zip(&formatters) {
                let value = formatter.value(row).to_string().replace('\n', &format!("\n{:width$} | ", ""));
                out.push_str(&format!("{:width$} | {value}\n", field.name()));
            }
        }
    }
    out.push_str(&counted(&batches));
    Ok(out.into_bytes())
}

/// A Prometheus answer: a row a sample.
pub fn metric(bytes: &[u8], format: Format) -> anyhow::Result<Vec<u8>> {
    if format == Format::Json {
        return Ok(with_newline(bytes));
    }
    let json: Value = serde_json::from_slice(bytes).context("the server's answer is not JSON")?;
    warn(&json);
    let data = &json["data"];
    let mut rows = Rows::new(&["series", "time", "value"]);
    let mut point = |series: &str, point: &Value| {
        let seconds = point[0].as_f64().unwrap_or_default();
        rows.add([series.to_owned(), time_text((seconds * 1e9) as i64), text(&point[1])]);
    };
    match data["resultType"].as_str() {
        Some("scalar" | "string") => point("", &data["result"]),
        _ => {
            for series in data["result"].as_array().into_iter().flatten() {
                let name = series_text(&series["metric"]);
                if series.get("value").is_some() {
                    point(&name, &series["value"]);
                }
                for value in series["values"].as_array().into_iter().flatten() {
                    point(&name, value);
                }
            }
        }
    }
    rows.write(format)
}

/// A Loki answer: lines by time, or samples.
pub fn log(bytes: &[u8], format: Format) -> anyhow::Result<Vec<u8>> {
    if format == Format::Json {
        return Ok(with_newline(bytes));
    }
    let json: Value = serde_json::from_slice(bytes).context("the server's answer is not JSON")?;
    if json["data"]["resultType"] != "streams" {
        return metric(bytes, format);
    }
    warn(&json);
    let mut streams: Vec<(Labels, &Value)> = json["data"]["result"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|stream| (labels(&stream["stream"]), &stream["values"]))
        .collect();
    if format == Format::Table {
        let shared = shared(&mut streams);
        if !shared.is_empty() {
            eprintln!("all lines: {shared}");
        }
    }
    let mut lines = Vec::new();
    for (labels, values) in streams {
        let labels = labels.to_string();
        for value in values.as_array().into_iter().flatten() {
            let ts_ns: i64 = value[0].as_str().and_then(|ns| ns.parse().ok()).unwrap_or_default();
            lines.push((ts_ns, labels.clone(), text(&value[1])));
        }
    }
    lines.sort();
    if format == Format::Table {
        // Lines are read as lines; a box around each would break copying them. What tells them apart comes last: it is
        // longer than most of them.
        let mut out = String::new();
        for (ts_ns, labels, line) in lines {
            let labels = if labels == "{}" { String::new() } else { format!("  {labels}") };
            out.push_str(&format!("{} {line}{labels}\n", time_text(ts_ns)));
        }
        return Ok(out.into_bytes());
    }
    let mut rows = Rows::new(&["time", "stream", "line"]);
    for (ts_ns, labels, line) in lines {
        rows.add([time_text(ts_ns), labels, line]);
    }
    rows.write(format)
}

/// A Tempo search answer: a row a trace.
pub fn traces(bytes: &[u8], format: Format) -> anyhow::Result<Vec<u8>> {
    if format == Format::Json {
        return Ok(with_newline(bytes));
    }
    let json: Value = serde_json::from_slice(bytes).context("the server's answer is not JSON")?;
    let mut rows = Rows::new(&["trace", "start", "service", "name", "duration_ms", "matched"]);
    for trace in json["traces"].as_array().into_iter().flatten() {
        let start: i64 =
            trace["startTimeUnixNano"].as_str().and_then(|ns| ns.parse().ok()).unwrap_or_default();
        let matched: u64 = trace["spanSets"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|set| set["matched"].as_u64().unwrap_or_default())
            .sum();
        rows.add([
            text(&trace["traceID"]),
            time_text(start),
            text(&trace["rootServiceName"]),
            text(&trace["rootTraceName"]),
            text(&trace["durationMs"]),
            matched.to_string(),
        ]);
    }
    rows.write(format)
}

struct Rows<const N: usize> {
    header: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Rows<N> {
    fn new(header: &[&'static str; N]) -> Self {
        Rows { header: *header, rows: Vec::new() }
    }

    fn add(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    fn write(self, format: Format) -> anyhow::Result<Vec<u8>> {
        match format {
            Format::Table => {
                let mut table = Table::new();
                table.load_preset(presets::NOTHING).set_header(self.header);
                for row in self.rows {
                    table.add_row(row);
                }
                Ok(format!("{table}\n").into_bytes())
            }
            Format::Csv => {
                let mut out = csv_line(self.header.iter().copied());
                for row in &self.rows {
                    out.push_str(&csv_line(row.iter().map(String::as_str)));
                }
                Ok(out.into_bytes())
            }
            Format::Json | Format::Arrow => bail!("--format arrow is for SQL; use table, json or csv here"),
        }
    }
}

/// RFC 4180: a field with a comma, a quote or a line break is quoted, quotes doubled.
fn csv_line<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let fields: Vec<String> = fields
        .map(|field| {
            if field.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                field.to_owned()
            }
        })
        .collect();
    fields.join(",") + "\n"
}

fn with_newline(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.last() != Some(&b'\n') {
        bytes.push(b'\n');
    }
    bytes
}

fn warn(json: &Value) {
    for key in ["warnings", "infos"] {
        for warning in json[key].as_array().into_iter().flatten() {
            eprintln!("binnacle: {}", text(warning));
        }
    }
}

/// Takes the labels that all streams share out of them.
fn shared(streams: &mut [(Labels, &Value)]) -> Labels {
    let Some((first, _)) = streams.first() else { return Labels::default() };
    let shared: Vec<(String, String)> = first
        .iter()
        .filter(|(name, value)| streams.iter().all(|(labels, _)| labels.get(name) == Some(*value)))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for (labels, _) in streams.iter_mut() {
        let rest = labels.iter().filter(|(name, _)| shared.iter().all(|(shared, _)| shared != name));
        *labels = Labels::from_pairs(rest.collect::<Vec<_>>());
    }
    Labels::from_pairs(shared)
}

fn labels(value: &Value) -> Labels {
    let pairs = value.as_object().into_iter().flatten();
    Labels::from_pairs(pairs.map(|(name, value)| (name.clone(), text(value))))
}

fn series_text(value: &Value) -> String {
    labels(value).to_string()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn time_text(ts_ns: i64) -> String {
    DateTime::from_timestamp_nanos(ts_ns).to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_words_come_through() {
        assert_eq!(error_text(400, br#"{"status":"error","error":"1:3: parse error"}"#), "1:3: parse error");
        assert_eq!(error_text(400, br#"{"message":"no"}"#), "no");
        assert_eq!(error_text(500, b"plain"), "plain");
        assert!(error_text(502, b"").contains("502"));
    }

    #[test]
    fn an_sql_error_points_at_its_place() {
        let told = |why: &str, query: &str| pointing(anyhow::anyhow!("{why}"), query).to_string();
        let why = "No field named nope at Line: 2, Column: 3";
        assert_eq!(told(why, "select\n  nope"), format!("{why}\nLINE 2:   nope\n          ^"));
        assert_eq!(told("no place", "select 1"), "no place");
        assert_eq!(told("at Line: 9, Column: 1", "select 1"), "at Line: 9, Column: 1");
        assert_eq!(told("at Line: 0, Column: 0", "select 1"), "at Line: 0, Column: 0");
    }

    #[test]
    fn rows_wider_than_the_terminal_are_records() {
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("n", std::sync::Arc::new(arrow::array::Int64Array::from(vec![1, 2]))),
            ("text", std::sync::Arc::new(arrow::array::StringArray::from(vec!["short", "two\nlines"]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = arrow::ipc::writer::StreamWriter::try_new(vec![], &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        let bytes = writer.into_inner().unwrap();
        let shown = |columns_max| String::from_utf8(arrow_within(&bytes, columns_max).unwrap()).unwrap();
        assert!(shown(80).starts_with("+---+"), "{}", shown(80));
        let records = "-[ RECORD 1 ]----\nn    | 1\ntext | short\n-[ RECORD 2 ]----\nn    | 2\ntext | two\n     | lines\n(2 rows)\n";
        assert_eq!(shown(10), records);
    }

    #[test]
    fn log_lines_come_before_what_tells_them_apart() {
        let body = br#"{"data":{"resultType":"streams","result":[
            {"stream":{"app":"a","pod":"p1"},"values":[["2000000","second"]]},
            {"stream":{"app":"a","pod":"p2"},"values":[["1000000","first"]]}]}}"#;
        let told = String::from_utf8(log(body, Format::Table).unwrap()).unwrap();
        assert_eq!(
            told,
            "1970-01-01T00:00:00.001Z first  {pod=\"p2\"}\n1970-01-01T00:00:00.002Z second  {pod=\"p1\"}\n"
        );
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        assert_eq!(csv_line(["a", "b,c", "d\"e"].into_iter()), "a,\"b,c\",\"d\"\"e\"\n");
    }

    #[test]
    fn a_vector_is_a_row_a_series() {
        let body = br#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"node"},"value":[1.5,"1"]}]}}"#;
        let csv = String::from_utf8(metric(body, Format::Csv).unwrap()).unwrap();
        assert_eq!(csv, "series,time,value\n\"up{job=\"\"node\"\"}\",1970-01-01T00:00:01.500Z,1\n");
    }
}
