//! `kill -9` during ingest under load, twenty times in a row: what was acknowledged is there once.

use crate::server::{Server, now_ms};
use crate::traffic::{loki_push, remote_write, samples};
use model::{ResourceSpans, Span, SpanBatch};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const ROUNDS: usize = 20;
/// Acknowledged batches after which the process is killed; the number makes rounds differ in what is in flight.
const ACKNOWLEDGED_PER_ROUND: usize = 7;
const T0_MS: i64 = 1_700_000_000_000;

/// Sends numbered lines and samples until the server is gone; gives the numbers that were acknowledged.
fn send_until_killed(server: &Arc<Server>, lane: &str, first: usize, stop: &AtomicBool) -> Vec<usize> {
    let mut acknowledged = vec![];
    for n in first.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let line = format!("{lane} line {n}");
        let ts_ms = T0_MS + n as i64;
        let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let log =
                loki_push(server, serde_json::json!({ "lane": lane }), &[(ts_ms * 1_000_000, line.as_str())]);
            let metric = remote_write(
                server,
                samples(&[(&[("__name__", "crash_total"), ("lane", lane)], &[(ts_ms, n as f64)])]),
            );
            log.status().is_success() && metric.status().is_success()
        }));
        match sent {
            Ok(true) => acknowledged.push(n),
            _ => break,
        }
    }
    acknowledged
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_there_twice() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Server::start("up", dir.path(), &["--no-agent", "--no-alerts", "--no-web"]);
    let mut acknowledged = [vec![], vec![]];
    let mut next = 0;
    for round in 0..ROUNDS {
        let server = Arc::new(start());
        let stop = AtomicBool::new(false);
        let pid = server.pid();
        std::thread::scope(|scope| {
            let lanes: Vec<_> = ["a", "b"]
                .map(|lane| {
                    let (server, stop) = (&server, &stop);
                    scope.spawn(move || send_until_killed(server, lane, next, stop))
                })
                .into();
            // Some rounds die while a flush or a merge is under way.
            let storm = (round % 3 == 1).then(|| {
                let server = &server;
                let stop = &stop;
                scope.spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        if server.http.post(server.url("/api/admin/flush")).send().is_err() {
                            break;
                        }
                        let _ = server.http.post(server.url("/api/admin/compact")).send();
                    }
                })
            });
            crate::server::eventually("some acknowledged lines", || {
                let count = server.http.get(server.url("/metrics")).send().ok()?.text().ok()?;
                (accepted(&count) >= (ACKNOWLEDGED_PER_ROUND + round) as f64).then_some(())
            });
            crate::server::signal(pid, "KILL");
            stop.store(true, Ordering::SeqCst);
            for (i, lane) in lanes.into_iter().enumerate() {
                acknowledged[i].extend(lane.join().unwrap());
            }
            if let Some(storm) = storm {
                storm.join().unwrap();
            }
        });
        // A number that was sent and not acknowledged may be there or not; the next round starts past it.
        next = acknowledged.iter().flatten().max().map_or(0, |n| n + 2) + 2;
    }

    let server = start();
    for (i, lane) in ["a", "b"].iter().enumerate() {
        let rows = server.sql(&format!(
            "select body, count(*) as n from logs where body like '{lane} line %' group by body"
        ));
        let mut seen = std::collections::HashMap::new();
        for row in &rows {
            seen.insert(row["body"].as_str().unwrap().to_owned(), row["n"].as_i64().unwrap());
        }
        assert!(acknowledged[i].len() >= ROUNDS, "too little was acknowledged to say anything");
        for n in &acknowledged[i] {
            assert!(
                seen.contains_key(&format!("{lane} line {n}")),
                "acknowledged line {n} of lane {lane} is lost"
            );
        }
        let twice: Vec<_> = seen.iter().filter(|(_, n)| **n > 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
        let rows = server.sql(&format!(
            "select value, count(*) as n from metrics where name = 'crash_total' and label(labels, 'lane') = '{lane}' group by value"
        ));
        let values: std::collections::HashSet<usize> =
            rows.iter().map(|row| row["value"].as_f64().unwrap() as usize).collect();
        assert!(rows.iter().all(|row| row["n"] == 1));
        for n in &acknowledged[i] {
            assert!(values.contains(n), "acknowledged sample {n} of lane {lane} is lost");
        }
    }
}

/// Records accepted by this process, over all doors.
fn accepted(metrics: &str) -> f64 {
    metrics
        .lines()
        .filter(|line| line.starts_with("binnacle_ingest_accepted_total"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Lines, or spans, of one request: a dozen requests are more than a memtable whose part is left raw needs.
const FAST_ROWS: usize = 1_000;

fn fast_lines(server: &Server, number: usize, from_ns: i64) -> reqwest::blocking::Response {
    let filling = "x".repeat(1_000);
    let lines: Vec<String> = (0..FAST_ROWS).map(|row| format!("batch-{number} {row} {filling}")).collect();
    let lines: Vec<(i64, &str)> =
        lines.iter().enumerate().map(|(row, line)| (from_ns + row as i64, line.as_str())).collect();
    loki_push(server, serde_json::json!({ "app": "fast" }), &lines)
}

fn fast_spans(server: &Server, number: usize, from_ns: i64) -> reqwest::blocking::Response {
    let span = |row: usize| Span {
        trace_id: (number as u128 * 1_000_000 + row as u128 / 10 + 1).to_be_bytes(),
        span_id: (row as u64 + 1).to_be_bytes(),
        start_ns: from_ns + row as i64,
        duration_ns: 1_000,
        name: format!("batch-{number}"),
        attributes: vec![("filling".into(), "x".repeat(1_000).into())].into(),
        ..Span::default()
    };
    let resource = Arc::new(vec![("service.name".to_owned(), "fast".into())]);
    let of =
        ResourceSpans { resource, spans: (0..FAST_ROWS).map(span).collect(), ..ResourceSpans::default() };
    let body = wire::otlp::encode_spans(&SpanBatch { resources: vec![of] });
    let request = server.http.post(server.url("/otlp/v1/traces"));
    request.header("Content-Type", "application/x-protobuf").body(body).send().unwrap()
}

/// Parts that are raw: of spans by the name of the file, of lines by their side index.
fn raw_parts(data: &std::path::Path, signal: &str) -> usize {
    let days = std::fs::read_dir(data.join("parts/default").join(signal)).into_iter().flatten();
    let files = days.flat_map(|day| std::fs::read_dir(day.unwrap().path()).unwrap());
    let is_raw = |path: &std::path::Path| match path.extension().and_then(|ending| ending.to_str()) {
        Some("arrows") => true,
        Some("idx") => std::fs::read(path).unwrap().starts_with(b"BNCLROWR"),
        _ => false,
    };
    files.filter(|file| is_raw(&file.as_ref().unwrap().path())).count()
}

/// What comes so fast that its parts are raw at first: killed while these lie there, and while they are merged.
#[test]
fn nothing_of_raw_parts_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Server::start("up", dir.path(), &["--no-agent", "--no-alerts", "--no-web"]);
    let from_ns = |number: usize| (now_ms() - 60_000) * 1_000_000 + (number * FAST_ROWS) as i64;
    let (mut acknowledged, mut next) = (0, 0);
    for round in 0..4 {
        let server = start();
        // One after the other, as both at once would be flushed before each is much.
        for send in [fast_lines, fast_spans] {
            for number in next..next + 10 {
                assert!(send(&server, number, from_ns(number)).status().is_success());
            }
            assert!(server.http.post(server.url("/api/admin/flush")).send().unwrap().status().is_success());
        }
        acknowledged += 10;
        next += 10;
        let pid = server.pid();
        std::thread::scope(|scope| {
            let merging = (round % 2 == 1)
                .then(|| scope.spawn(|| server.http.post(server.url("/api/admin/compact")).send().is_ok()));
            // What is under way when it is killed counts for nothing.
            let more = scope.spawn(|| {
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    fast_spans(&server, next, from_ns(next)).status().is_success()
                }))
            });
            if round % 2 == 0 {
                assert!(raw_parts(dir.path(), "logs") > 0 && raw_parts(dir.path(), "spans") > 0);
            }
            crate::server::signal(pid, "KILL");
            let _ = (merging.map(|merging| merging.join()), more.join());
        });
        next += 1;
    }
    let server = start();
    let check = |of: &str| {
        for (table, batch, id) in
            [("logs", "split_part(body, ' ', 1)", "body"), ("spans", "name", "trace_id")]
        {
            let rows = server.sql(&format!(
                "select {batch} as batch, count(*) as n, count(distinct {id}) as ids from {table} group by 1"
            ));
            let whole = rows.iter().filter(|row| row["n"] == FAST_ROWS).count();
            assert_eq!(whole, rows.len(), "{of}: {table}: {rows:?}");
            assert!(
                (acknowledged..=acknowledged + 4).contains(&whole),
                "{of}: {table}: {whole} of {acknowledged}"
            );
            let ids = if table == "logs" { FAST_ROWS } else { FAST_ROWS / 10 };
            assert!(rows.iter().all(|row| row["ids"] == ids), "{of}: {table}: {rows:?}");
        }
    };
    check("as they were left");
    assert!(server.http.post(server.url("/api/admin/compact")).send().unwrap().status().is_success());
    check("merged");
    assert_eq!((raw_parts(dir.path(), "logs"), raw_parts(dir.path(), "spans")), (0, 0));
}
