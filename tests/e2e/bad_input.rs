//! Input that is wrong, each kind with a clear answer, and the rest working after it.

use crate::server::{Server, command, eventually, now_ms};
use crate::traffic::{loki_push, reading, remote_write, samples};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn still_works(server: &Server) {
    let now = now_ms();
    assert!(remote_write(server, samples(&[(&[("__name__", "fine")], &[(now, 1.0)])])).status().is_success());
    assert_eq!(server.promql("fine").len(), 1);
    assert!(server.get("/health/ready").status().is_success());
}

#[test]
fn bodies_that_are_not_the_protocol() {
    let server = Server::bare();
    let post = |path: &str, kind: &str, body: Vec<u8>| {
        let response =
            server.http.post(server.url(path)).header("Content-Type", kind).body(body).send().unwrap();
        let status = response.status().as_u16();
        (status, response.text().unwrap_or_default())
    };
    let truncated = {
        let mut body = samples(&[(&[("__name__", "x")], &[(1, 1.0)])]);
        body.truncate(body.len() - 3);
        body
    };
    for (path, kind, body) in [
        ("/api/v1/write", "application/x-protobuf", b"not snappy".to_vec()),
        ("/api/v1/write", "application/x-protobuf", truncated),
        ("/loki/api/v1/push", "application/json", b"{\"streams\": [".to_vec()),
        ("/loki/api/v1/push", "application/x-protobuf", vec![0xff; 50]),
        ("/otlp/v1/metrics", "application/x-protobuf", vec![0x0a, 0xff, 0xff, 0xff]),
        ("/otlp/v1/logs", "application/json", b"[]".to_vec()),
        ("/otlp/v1/traces", "application/x-protobuf", b"GET / HTTP/1.1".to_vec()),
    ] {
        let (status, text) = post(path, kind, body);
        assert_eq!(status, 400, "{path}: {text}");
        assert!(text.len() > 10, "{path}: says why");
    }
    let (status, _) = post("/otlp/v1/logs", "text/plain", b"hello".to_vec());
    assert_eq!(status, 415);
    still_works(&server);
}

#[test]
fn a_decompression_bomb_is_refused_by_its_size() {
    let server = Server::bare();
    // 1 GiB of zeros in about 1 MiB, and the same in zstd.
    let zeros = vec![0u8; 1 << 20];
    let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
    let mut zstd = zstd::Encoder::new(vec![], 3).unwrap();
    for _ in 0..1024 {
        gzip.write_all(&zeros).unwrap();
        zstd.write_all(&zeros).unwrap();
    }
    for (encoding, body) in [("gzip", gzip.finish().unwrap()), ("zstd", zstd.finish().unwrap())] {
        let response = server
            .http
            .post(server.url("/otlp/v1/logs"))
            .header("Content-Type", "application/x-protobuf")
            .header("Content-Encoding", encoding)
            .body(body)
            .send()
            .unwrap();
        assert_eq!(response.status(), 413, "{encoding}");
    }
    still_works(&server);
}

#[test]
fn records_that_cannot_be_kept_are_counted_by_reason() {
    let server = Server::bare();
    let now = now_ms();
    let year_9999_ms = 253_370_764_800_000;
    let response = remote_write(
        &server,
        samples(&[(&[("__name__", "kept")], &[(now, 1.0), (year_9999_ms, 2.0), (-62_135_596_800_000, 3.0)])]),
    );
    // Prometheus does not send again what is answered with 400.
    assert_eq!(response.status(), 400);
    let why = response.text().unwrap();
    assert!(why.contains("2 rejected (timestamp_out_of_range)"), "{why}");
    let kept = server.promql("kept");
    assert_eq!(kept[0]["value"][1], "1");
    let metrics = server.get("/metrics").text().unwrap();
    let rejected: f64 = metrics
        .lines()
        .filter(|line| {
            line.starts_with("binnacle_ingest_rejected_total") && line.contains("timestamp_out_of_range")
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert_eq!(rejected, 2.0, "{metrics}");
    let without_name = json!({ "streams": [{ "stream": { "": "x" }, "values": [[(now * 1_000_000).to_string(), "line"]] }] });
    let response = server.http.post(server.url("/loki/api/v1/push")).json(&without_name).send().unwrap();
    assert_eq!(response.status(), 400);
    still_works(&server);
}

#[test]
fn a_line_of_ten_megabytes_is_refused_in_words_and_the_rest_is_kept() {
    let server = Server::bare();
    let now = now_ms() * 1_000_000;
    let long = "x".repeat(10 << 20);
    let response = loki_push(&server, json!({ "app": "long" }), &[(now, &long), (now + 1, "short")]);
    let status = response.status().as_u16();
    let text = response.text().unwrap();
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("max entry size") && text.contains("10485760"), "{text}");
    let rows = server.sql("select count(*) as n from logs where body = 'short'");
    assert_eq!(rows[0]["n"], 1, "the accepted line of the same request is kept");
    still_works(&server);
}

/// One answer at most doors: nothing of the request is taken, the sender is told why, and it is counted. Loki's push, OTLP and
/// Jaeger's Thrift are exceptions: what is no text in them costs a stream, or is replaced, or kept as bytes.
#[test]
fn text_that_is_not_utf8() {
    let server = Server::bare();
    let now = now_ms();
    let spoiled = |body: &[u8]| -> Vec<u8> {
        let at = body.windows(4).position(|four| four == b"MARK").expect("the mark that is spoiled");
        [&body[..at], &[0xff, 0xfe, 0xfd, 0xfc], &body[at + 4..]].concat()
    };
    let snappy = |body: &[u8]| snap::raw::Encoder::new().compress_vec(body).unwrap();
    // resourceLogs, scopeLogs, logRecords, body, stringValue; and streams, labels, entries, line.
    let otlp: &[u8] = &[b"\x0a\x0c\x12\x0a\x12\x08\x2a\x06\x0a\x04" as &[u8], b"MARK"].concat();
    // Seconds as five bytes of seven bits.
    let seconds: Vec<u8> =
        (0..5).map(|n| ((now / 1_000) >> (7 * n)) as u8 & 0x7f | if n < 4 { 0x80 } else { 0 }).collect();
    let loki: &[u8] =
        &[b"\x0a\x1e\x0a\x0c{app=\"MARK\"}\x12\x0e\x0a\x06\x08", &seconds[..], b"\x12\x04line"].concat();
    let remote = snap::raw::Decoder::new()
        .decompress_vec(&samples(&[(&[("__name__", "spoiled"), ("a", "MARK")], &[(now, 1.0)])]))
        .unwrap();
    let otlp_json = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"MARK"}}]}]}]}"#;
    let loki_json =
        format!(r#"{{"streams":[{{"stream":{{"app":"x"}},"values":[["{now}000000","MARK"]]}}]}}"#);
    let exposition = b"spoiled{a=\"MARK\"} 1\n";
    let (protobuf, json, plain) = ("application/x-protobuf", "application/json", "text/plain");
    for (path, kind, whole, body, says) in [
        ("/api/v1/write", protobuf, snappy(&remote), snappy(&spoiled(&remote)), "text that is not UTF-8"),
        ("/api/v1/import/prometheus", plain, exposition.to_vec(), spoiled(exposition), "not UTF-8"),
    ] {
        let send = |body: Vec<u8>| {
            let request = server.http.post(server.url(path)).header("Content-Type", kind).body(body);
            let response = request.send().unwrap();
            (response.status().as_u16(), String::from_utf8_lossy(&response.bytes().unwrap()).into_owned())
        };
        let counted = reading(&server, "binnacle_ingest_refused_requests_total");
        let kept = reading(&server, "binnacle_ingest_accepted_total");
        let (status, text) = send(body);
        assert!(status == 400 && text.contains(says), "{path} {kind}: {status} {text}");
        assert_eq!(
            reading(&server, "binnacle_ingest_refused_requests_total"),
            counted + 1.0,
            "{path} {kind}"
        );
        assert_eq!(reading(&server, "binnacle_ingest_accepted_total"), kept, "{path} {kind}");
        // It was the bytes: the same request with text in their place is taken.
        let (status, text) = send(whole);
        assert!(status < 300, "{path} {kind}: {status} {text}");
        assert_eq!(reading(&server, "binnacle_ingest_accepted_total"), kept + 1.0, "{path} {kind}");
    }
    // Of Loki's streams only the one with such a label is refused.
    let push = |body: Vec<u8>| {
        let request = server.http.post(server.url("/loki/api/v1/push")).header("Content-Type", protobuf);
        let response = request.body(snappy(&body)).send().unwrap();
        (response.status().as_u16(), response.text().unwrap())
    };
    let (status, text) = push([&spoiled(loki)[..], loki].concat());
    assert!(status == 400 && text.contains("1:6: parse error: invalid UTF-8 rune"), "{status} {text}");
    assert_eq!(server.sql("select body from logs where body = 'line'").len(), 1);
    // Its lines are bytes: one is kept, with what is no text in it replaced.
    let line = [&loki[..loki.len() - 2], &[0xff, 0xfe]].concat();
    assert_eq!(push(line).0, 204);
    assert_eq!(server.sql("select body from logs where starts_with(body, 'li\u{fffd}')").len(), 1);
    let request = server.http.post(server.url("/loki/api/v1/push")).header("Content-Type", json);
    assert_eq!(request.body(spoiled(loki_json.as_bytes())).send().unwrap().status(), 204);
    assert_eq!(server.sql("select body from logs where starts_with(body, '\u{fffd}')").len(), 1);
    // So is what OTLP sends; in protobuf nothing may become longer.
    for (kind, body) in [(protobuf, spoiled(otlp)), (json, spoiled(otlp_json))] {
        let request = server.http.post(server.url("/otlp/v1/logs")).header("Content-Type", kind);
        assert_eq!(request.body(body).send().unwrap().status(), 200, "{kind}");
    }
    assert_eq!(server.sql("select body from logs where body = '????'").len(), 1);
    assert_eq!(server.sql("select body from logs where starts_with(body, '\u{fffd}')").len(), 2);
    let metrics = server.get("/metrics").text().unwrap();
    assert!(
        metrics.contains("binnacle_ingest_refused_requests_total{reason=\"malformed\"} 2\n"),
        "{metrics}"
    );
    still_works(&server);
}

#[test]
fn queries_that_do_not_parse_say_where() {
    let server = Server::bare();
    let deep = "(".repeat(100_000);
    for (path, parameter) in [
        ("/api/v1/query", "query"),
        ("/loki/api/v1/query_range", "query"),
        ("/tempo/api/search", "q"),
        ("/api/sql", "query"),
    ] {
        for query in ["{{{", deep.as_str(), "\u{0}", "sum("] {
            let response = server.http.post(server.url(path)).form(&[(parameter, query)]).send().unwrap();
            let status = if response.status() == 405 || response.status() == 415 || response.status() == 404 {
                let url = reqwest::Url::parse_with_params(
                    &server.url(path),
                    &[(parameter, &query[..query.len().min(4_000)])],
                )
                .unwrap();
                // A connection of its own: that of the body which was not read is being closed.
                reqwest::blocking::get(url).unwrap().status()
            } else {
                response.status()
            };
            assert!(status.is_client_error(), "{path} {:.10}: {status}", query);
        }
    }
    still_works(&server);
}

/// As Grafana and other clients of the emulated APIs read them: Prometheus' JSON, Loki's and Tempo's text.
#[test]
fn refusals_before_a_door_have_the_words_of_its_api() {
    let server = Server::up(&["--no-agent"]);
    let ask = |method: &str, path: &str, tenant: Option<&str>| {
        let mut request = server.http.request(method.parse().unwrap(), server.url(path));
        if let Some(tenant) = tenant {
            request = request.header("X-Scope-OrgID", tenant);
        }
        let response = request.send().unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.text().unwrap())
    };
    for (prefix, path) in [
        ("/api/v1", "/labels"),
        ("/prometheus/api/v1", "/labels"),
        ("/api/v1", "/rules"),
        ("/loki/api/v1", "/labels"),
        ("/tempo/api", "/search/tags"),
        ("/jaeger/api", "/services"),
        ("/api", "/bottlenecks"),
        ("/cost", "/assets"),
    ] {
        for (status, (found, headers, body), says) in [
            (404, ask("GET", &format!("{prefix}/no/such/path"), None), "404 page not found"),
            (405, ask("DELETE", &format!("{prefix}{path}"), None), "DELETE"),
            (400, ask("GET", &format!("{prefix}{path}"), Some("../default")), "X-Scope-OrgID"),
        ] {
            assert_eq!(found, status, "{prefix} {body}");
            assert_eq!(headers.contains_key("allow"), status == 405, "{prefix} {headers:?}");
            let kind = headers["content-type"].to_str().unwrap();
            if prefix.starts_with("/loki") || prefix.starts_with("/tempo") {
                assert!(kind.starts_with("text/plain") && body.contains(says), "{prefix} {kind}: {body}");
                continue;
            }
            assert_eq!(kind, "application/json", "{prefix}");
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            let why = if prefix.ends_with("/api/v1") {
                let error_type = if status == 404 { "not_found" } else { "bad_data" };
                assert_eq!((&body["status"], &body["errorType"]), (&json!("error"), &json!(error_type)));
                &body["error"]
            } else if prefix.starts_with("/jaeger") {
                assert_eq!(body["errors"][0]["code"], status);
                &body["errors"][0]["msg"]
            } else {
                &body["error"]
            };
            assert!(why.as_str().unwrap().contains(says), "{prefix} {status}: {body}");
        }
    }
}

#[test]
fn a_damaged_part_is_named_and_the_rest_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--no-agent", "--no-alerts", "--no-web"];
    let server = Server::start("up", dir.path(), &flags);
    let now = now_ms();
    assert!(
        remote_write(&server, samples(&[(&[("__name__", "old")], &[(now - 60_000, 1.0)])]))
            .status()
            .is_success()
    );
    assert!(server.http.post(server.url("/api/admin/flush")).send().unwrap().status().is_success());
    server.kill();
    let damaged = files(dir.path(), |path| path.extension().is_some_and(|e| e == "parquet"));
    assert!(!damaged.is_empty(), "a flush leaves Parquet files");
    for path in damaged {
        let length = std::fs::metadata(&path).unwrap().len() as usize;
        std::fs::write(&path, vec![0x5a; length]).unwrap();
    }
    let server = Server::start("up", dir.path(), &flags);
    still_works(&server);
    let answer = server.query("/api/v1/query", &[("query", "old")]);
    let warnings = answer["warnings"].as_array().map_or(0, Vec::len);
    assert!(warnings > 0, "the answer says that it is partial: {answer}");
}

/// Files below a folder.
fn files(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let (mut found, mut folders) = (vec![], vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if wanted(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_damaged_end_of_the_log_loses_nothing_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--no-agent", "--no-alerts", "--no-web"];
    let server = Server::start("up", dir.path(), &flags);
    let now = now_ms() * 1_000_000;
    for n in 0..5 {
        let pushed = loki_push(&server, json!({ "app": "log" }), &[(now + n, &format!("line {n}"))]);
        assert!(pushed.status().is_success());
    }
    let wal = server.kill().join("wal");
    let last = files(&wal, |path| std::fs::metadata(path).is_ok_and(|meta| meta.len() > 0)).pop().unwrap();
    let whole = std::fs::read(&last).unwrap();
    // A record that was being written when the power went: its beginning is there, its end is not.
    for tail in [&whole[..whole.len().min(40)], &[0xff; 100], &[0; 4096]] {
        let mut file = std::fs::OpenOptions::new().append(true).open(&last).unwrap();
        file.write_all(tail).unwrap();
        drop(file);
        let server = Server::start("up", dir.path(), &flags);
        let rows = server.sql("select body from logs where starts_with(body, 'line ') order by body");
        assert_eq!(rows.len(), 5, "{rows:?}");
        still_works(&server);
        server.kill();
    }
    // The last record itself is cut: it is lost, and only it.
    let mut last = files(&wal, |path| std::fs::metadata(path).is_ok_and(|meta| meta.len() > 0));
    let last = last.pop().unwrap();
    let length = std::fs::metadata(&last).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&last).unwrap().set_len(length - 1).unwrap();
    let server = Server::start("up", dir.path(), &flags);
    assert_eq!(server.sql("select body from logs where starts_with(body, 'line ')").len(), 5);
    still_works(&server);
}

/// A limit on the size of files stands for a full disk: both fail a write half-way, and this one needs no right to mount.
#[test]
fn a_full_disk_refuses_in_words_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let plain = command("up", dir.path());
    let mut start = Command::new("sh");
    // Without the trap the kernel's signal would end the process.
    start.args(["-c", "trap '' XFSZ; exec prlimit --fsize=4194304:unlimited \"$0\" \"$@\""]);
    start.arg(plain.get_program()).args(plain.get_args()).args(["--no-agent", "--no-alerts", "--no-web"]);
    let server = Server::watch(&mut start, dir.path());
    // Hard to compress, and more than the limit.
    let mut seed = 1u64;
    let mut line = || {
        let mut text = String::with_capacity(400_000);
        while text.len() < 400_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(&format!("{seed:016x}"));
        }
        text
    };
    let (mut kept, mut refused) = (0, None);
    for n in 0..100 {
        let response = loki_push(&server, json!({ "app": "full" }), &[(now_ms() * 1_000_000 + n, &line())]);
        match response.status().as_u16() {
            204 => kept += 1,
            _ => refused = Some(response),
        }
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("100 lines of 400 kB do not fit into 4 MiB");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let why = refused.text().unwrap();
    assert!(why.contains("wal") && why.contains("File too large"), "{why}");
    let ready = server.get("/health/ready");
    assert_eq!(ready.status(), 503);
    assert!(ready.text().unwrap().contains("File too large"));
    assert!(server.get("/health/live").status().is_success());
    assert_eq!(server.sql("select count(*) as n from logs")[0]["n"], kept, "what was taken is answered");
    let lifted =
        Command::new("prlimit").args(["--pid", &server.pid().to_string(), "--fsize=unlimited"]).status();
    assert!(lifted.unwrap().success());
    let again = loki_push(&server, json!({ "app": "full" }), &[(now_ms() * 1_000_000, "after")]);
    assert!(again.status().is_success());
    still_works(&server);
    server.kill();
    let server = Server::start("up", dir.path(), &["--no-agent", "--no-alerts", "--no-web"]);
    assert_eq!(server.sql("select count(*) as n from logs")[0]["n"], kept + 1, "and is there after a crash");
}

#[test]
fn times_of_log_lines_and_spans_outside_of_reason_are_refused_in_words() {
    let server = Server::bare();
    let now = now_ms() * 1_000_000;
    // The years 1, 9999, 1969 and 2200: only the last two can be written in nanoseconds of 64 bits.
    let refused = ["-62135596800000000000", "253370764800000000000", "-1", "7258118400000000000"];
    let now = now.to_string();
    for (ts, kept) in refused.map(|ts| (ts, 0)).into_iter().chain([(now.as_str(), 1)]) {
        let body = json!({ "streams": [{ "stream": { "app": ts }, "values": [[ts, "x"]] }] });
        let response = server.http.post(server.url("/loki/api/v1/push")).json(&body).send().unwrap();
        let status = response.status().as_u16();
        let text = response.text().unwrap();
        assert!(
            if kept == 1 { status == 204 } else { status == 400 && text.len() > 10 },
            "{ts}: {status} {text}"
        );
    }
    // The largest that OTLP can write is in the year 2554.
    let span = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{
        "traceId": crate::traffic::TRACE, "spanId": "00f067aa0ba902b7", "name": "late", "kind": 1,
        "startTimeUnixNano": u64::MAX.to_string(), "endTimeUnixNano": u64::MAX.to_string() }] }] }] });
    let response = server.http.post(server.url("/otlp/v1/traces")).json(&span).send().unwrap();
    let (status, text) = (response.status().as_u16(), response.text().unwrap());
    assert!(status == 200 && text.contains(r#""rejectedSpans":"1""#), "{status} {text}");
    eventually("the line of now", || server.sql("select body from logs where body = 'x'").first().cloned());
    assert_eq!(server.sql("select count(*) as n from logs")[0]["n"], 1);
    still_works(&server);
}
