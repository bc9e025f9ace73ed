//! `kill -9` during ingest under load, twenty times in a row: what was acknowledged is there once.

use crate::server::Server;
use crate::traffic::{loki_push, remote_write, samples};
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
