//! Parts are plain Parquet: DuckDB, which knows nothing of us, reads the files and comes to the same answers.

use crate::server::{Server, eventually, now_ms};
use crate::sql::server_with_all_signals;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const DAY_MS: i64 = 86_400_000;

/// Prints each sample as `time value`, the value by its bits, then what of lines and spans; see FORMAT.md.
const READ: &str = r#"
import duckdb, glob, json, struct, sys
def files(signal):
    found = glob.glob(sys.argv[1] + "/parts/*/" + signal + "/*/*.parquet")
    return f"read_parquet({found!r}, union_by_name=true)"
value = "coalesce(value_f64, (base - mantissa)::double / pow(10.0::double, exp))"
rows = duckdb.sql(f"select ts, {value} from {files('metrics')}").fetchall()
samples = sorted([ts, struct.pack(">d", value).hex()] for ts, value in rows)
lines = duckdb.sql(f"select service, count(*)::int from {files('logs')} group by all order by all").fetchall()
spans = duckdb.sql(f"select service, name, max(duration_ns) from {files('spans')} group by all order by all").fetchall()
print(json.dumps([samples, lines, spans]))
"#;

fn duckdb_reads(data: &Path) -> Vec<Value> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    assert!(python.exists(), "no Python environment; run tests/setup.sh");
    let output = Command::new(python).args(["-c", READ]).arg(data).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Files of metrics.
fn metrics_parts(data: &Path) -> i64 {
    let folders = |folder: &Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let windows =
        folders(&data.join("parts")).into_iter().flat_map(|tenant| folders(&tenant.join("metrics")));
    let files = windows.flat_map(|window| folders(&window));
    files.filter(|file| file.extension().is_some_and(|extension| extension == "parquet")).count() as i64
}

fn import(server: &Server, text: String) {
    let answer = server.http.post(server.url("/api/v1/import/prometheus")).body(text).send().unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

fn post(server: &Server, path: &str) {
    assert!(server.http.post(server.url(path)).send().unwrap().status().is_success(), "{path}");
}

#[test]
fn duckdb_reads_the_parts_with_the_same_answers() {
    let server = server_with_all_signals();
    let mut written: Vec<(i64, f64)> = vec![];
    let begin = now_ms() - 600_000;
    for round in 0..2 {
        let mut text = String::new();
        for n in 0..300 {
            let at = begin + (round * 300 + n) * 1_000;
            // Whole, with decimals, without a common scale, large, tiny, not numbers.
            let odd = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -0.0, 1e300, 5e-324][n as usize % 6];
            let values = [n as f64, n as f64 / 1_000.0, (n as f64).sqrt(), n as f64 * 1e15, odd];
            for (series, value) in values.into_iter().enumerate() {
                text += &format!("plain{{series=\"{series}\"}} {value} {at}\n").replace("inf", "Inf");
                written.push((at, value));
            }
        }
        import(&server, text);
        post(&server, "/api/admin/flush");
    }
    let told = server.sql("select ts, value from metrics where name = 'plain'");
    assert_eq!(told.len(), written.len());
    let lines = server.sql("select service, count(*) as n from logs group by service order by service");
    let spans = server
        .sql("select service, name, max(duration_ns) as ns from spans group by service, name order by service, name");
    let bits = |value: f64| format!("{:016x}", value.to_bits());
    let mut expected: Vec<(i64, String)> = written.iter().map(|(at, value)| (*at, bits(*value))).collect();
    expected.sort();
    for merged in [false, true] {
        if merged {
            post(&server, "/api/admin/compact");
            // What was merged goes as soon as nobody reads it; there is a part for each day.
            let days = now_ms() / DAY_MS - begin / DAY_MS + 1;
            eventually("merged parts to be deleted", || (metrics_parts(&server.dir) <= days).then_some(()));
        }
        let found = duckdb_reads(&server.dir);
        let samples = found[0].as_array().unwrap().iter();
        let samples: Vec<(i64, String)> = samples
            .map(|row| (row[0].as_i64().unwrap(), row[1].as_str().unwrap().to_owned()))
            .filter(|(at, _)| expected.binary_search_by_key(at, |(at, _)| *at).is_ok())
            .collect();
        assert_eq!(samples, expected, "merged: {merged}");
        let rows = |table: &Value| table.as_array().unwrap().clone();
        let of =
            |row: &Value, names: &[&str]| -> Value { names.iter().map(|name| row[*name].clone()).collect() };
        assert_eq!(rows(&found[1]), lines.iter().map(|row| of(row, &["service", "n"])).collect::<Vec<_>>());
        assert_eq!(
            rows(&found[2]),
            spans.iter().map(|row| of(row, &["service", "name", "ns"])).collect::<Vec<_>>()
        );
    }
}
