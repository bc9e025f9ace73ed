//! What ships logs elsewhere ships them here: util-linux' `logger`, rsyslog over TLS, Python's `SysLogHandler`,
//! `systemd-journal-upload`, Elastic's own client for Python, and plain HTTP with a JSON object a line.

use crate::journal;
use crate::server::{Peer, Server, eventually, free_port, now_ms, program};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

fn count(server: &Server, what: &str) -> i64 {
    server.sql(&format!("select count(*) as n from logs where {what}"))[0]["n"].as_i64().unwrap()
}

pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

fn python(code: &str, arguments: &[&str]) {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    assert!(python.exists(), "no Python environment; run tests/setup.sh");
    run(Command::new(python).args(["-c", code]).args(arguments));
}

#[test]
fn logger_and_python_send_syslog_over_tcp_and_udp() {
    let server = Server::up(&["--no-agent", "--no-web", "--syslog", "127.0.0.1:0"]);
    let (host, port) = server.address("syslog").rsplit_once(':').unwrap();
    for (protocol, framing) in [("--tcp", "--octet-count"), ("--tcp", "--rfc5424"), ("--udp", "--rfc5424")] {
        let mut logger = Command::new(program("logger"));
        logger.args(["--server", host, "--port", port, protocol, framing, "--rfc5424", "--msgid", "ID7"]);
        logger.args(["--sd-id", "order@32473", "--sd-param", "id=\"17\"", "--sd-param", "country=\"NL\""]);
        run(logger.args(["-t", "shop", "-p", "user.err", &format!("order refused {protocol} {framing}")]));
    }
    let mut logger = Command::new(program("logger"));
    run(logger.args(["--server", host, "--port", port, "--tcp", "--rfc3164", "-t", "old", "an older habit"]));
    let code = "import logging, logging.handlers, socket, sys\n\
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):\n\
                \x20   handler = logging.handlers.SysLogHandler((sys.argv[1], int(sys.argv[2])), socktype=kind)\n\
                \x20   handler.ident = 'pyshop: '\n\
                \x20   log = logging.getLogger(str(kind)); log.addHandler(handler)\n\
                \x20   log.error('card refused'); handler.close()\n";
    python(code, &[host, port]);
    eventually("all six messages", || (count(&server, "body is not null") == 6).then_some(()));
    let orders = server.sql(
        "select attr(attributes, 'order@32473.id') as id, attr(attributes, 'syslog.msgid') as msgid, severity, \
         service from logs where starts_with(body, 'order refused')",
    );
    let expected = json!({ "id": "17", "msgid": "ID7", "severity": "error", "service": "shop" });
    assert_eq!(orders, vec![expected; 3]);
    assert_eq!(count(&server, "service = 'old' and body = 'an older habit'"), 1);
    assert_eq!(count(&server, "service = 'pyshop' and severity = 'error' and body = 'card refused'"), 2);
    // Structured data is what Loki calls structured metadata.
    let found = server.query(
        "/loki/api/v1/query_range",
        &[("query", r#"{service_name="shop"} | order_32473_country="NL""#), ("limit", "10")],
    );
    let lines = found["data"]["result"].as_array().unwrap().iter();
    assert_eq!(lines.map(|stream| stream["values"].as_array().unwrap().len()).sum::<usize>(), 3, "{found}");
}

#[test]
fn rsyslog_forwards_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    crate::tls::certificates(dir.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let flags = ["--no-agent", "--no-web", "--syslog-tls", "127.0.0.1:0"];
    let (cert, key, ca) = (file("cert.pem"), file("key.pem"), file("ca.pem"));
    let pem = ["--syslog-tls-cert", &cert, "--syslog-tls-key", &key, "--syslog-tls-client-ca", &ca];
    let server = Server::up(&[&flags[..], &pem[..]].concat());
    let port = server.address("syslog_tls").rsplit_once(':').unwrap().1;
    let own = free_port();
    let config = format!(
        "global(workDirectory=\"{dir}\" defaultNetstreamDriver=\"ossl\" defaultNetstreamDriverCAFile=\"{ca}\"\n\
         \x20 defaultNetstreamDriverCertFile=\"{cert}\" defaultNetstreamDriverKeyFile=\"{key}\")\n\
         module(load=\"imtcp\")\ninput(type=\"imtcp\" port=\"{own}\" address=\"127.0.0.1\")\n\
         action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" protocol=\"tcp\" TCP_Framing=\"octet-counted\"\n\
         \x20 template=\"RSYSLOG_SyslogProtocol23Format\" StreamDriver=\"ossl\" StreamDriverMode=\"1\"\n\
         \x20 StreamDriverAuthMode=\"x509/name\" StreamDriverPermittedPeers=\"localhost\"\n\
         \x20 action.resumeRetryCount=\"-1\")\n",
        dir = dir.path().display(),
    );
    std::fs::write(dir.path().join("rsyslog.conf"), config).unwrap();
    // Debian keeps it where root looks for programs.
    let rsyslogd = Path::new("/usr/sbin/rsyslogd");
    assert!(rsyslogd.is_file(), "rsyslog is not installed; run tests/setup.sh");
    let child = Command::new(rsyslogd)
        .args(["-n", "-i", &file("pid"), "-f", &file("rsyslog.conf")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _rsyslog = Peer(child);
    let own = own.to_string();
    eventually("rsyslog's port", || std::net::TcpStream::connect(format!("127.0.0.1:{own}")).ok());
    for n in 0..20 {
        let mut logger = Command::new(program("logger"));
        logger.args(["--server", "127.0.0.1", "--port", &own, "--tcp", "--rfc5424", "-t", "relayed"]);
        run(logger.arg(format!("message {n} of twenty")));
    }
    eventually("twenty messages", || (count(&server, "service = 'relayed'") == 20).then_some(()));
    // Who shows no certificate is not let in.
    let mut refused = Command::new(program("openssl"))
        .args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{port}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut refused.stdin.take().unwrap(), b"<13>nobody\n").unwrap();
    let refusals = || {
        let metrics = server.get("/metrics").text().unwrap();
        let name = "binnacle_ingest_refused_requests_total{reason=\"malformed\"} ";
        metrics.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok())
    };
    eventually("the refusal", refusals);
    let _ = refused.wait();
    assert_eq!(count(&server, "body = 'nobody'"), 0);
}

#[test]
fn systemd_sends_a_journal() {
    let server = Server::bare();
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("system.journal");
    journal::write(&journal, 0..250);
    let uploader = Path::new("/lib/systemd/systemd-journal-upload");
    assert!(uploader.is_file(), "systemd-journal-remote is not installed; run tests/setup.sh");
    run(Command::new(uploader)
        .arg("--follow=no")
        .arg(format!("--url={}", server.url("")))
        .arg(format!("--file={}", journal.display()))
        .arg(format!("--save-state={}", dir.path().join("state").display())));
    eventually("all entries", || (count(&server, "service = 'shop'") == 250).then_some(()));
    assert_eq!(server.sql("select count(distinct body) as n from logs")[0]["n"], 250);
}

const ELASTIC: &str = r#"
import sys
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk, streaming_bulk
client = Elasticsearch(sys.argv[1], http_compress=True)
assert client.info()["version"]["number"].startswith("8.")
assert client.ping()
documents = [{"_op_type": "create", "_index": "shop-logs", "_id": str(n), "@timestamp": "2026-03-01T12:00:00Z",
              "message": f"order {n} placed", "service": {"name": "orders"}} for n in range(500)]
made, errors = bulk(client, documents, stats_only=True)
assert (made, errors) == (500, 0), (made, errors)
again = [result for ok, result in streaming_bulk(client, documents[:10], raise_on_error=False) if not ok]
assert len(again) == 10 and all(one["create"]["status"] == 409 for one in again), again
wrong = [{"_op_type": "create", "_index": "shop-logs", "@timestamp": "yesterday", "message": "lost"},
         {"_op_type": "create", "_index": "shop-logs", "message": "kept", "service": {"name": "orders"}}]
results = list(streaming_bulk(client, wrong, raise_on_error=False))
assert [ok for ok, _ in results] == [False, True], results
assert results[0][1]["create"]["error"]["type"] == "document_parsing_exception", results
"#;

#[test]
fn elastic_s_own_client_puts_documents() {
    let server = Server::bare();
    python(ELASTIC, &[&server.url("/elastic")]);
    assert_eq!(count(&server, "service = 'orders'"), 501);
    let placed = server.sql("select count(*) as n from logs where label(labels, 'index') = 'shop-logs'");
    assert_eq!(placed[0]["n"], 501);
}

/// Lines that no log file should have: of a megabyte, of many lines, of words that are nowhere else, with all the bytes
/// that JSON can write. Each comes back byte for byte, from memory and from a part.
#[test]
fn odd_lines_come_back_as_they_were() {
    let server = Server::bare();
    let now = now_ms();
    // Words without end, from a small generator of our own so that each run has the same ones.
    let mut seed = 7u64;
    let mut word = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:016x}", seed ^ (seed >> 29)).replace(|c: char| c.is_ascii_digit(), "q")
    };
    let megabyte = (0..60_000).map(|_| word()).collect::<Vec<_>>().join(" ");
    let stack = format!("panic: {}\n\tat a.b(C.java:1)\r\n\n\tat größe \u{1F980}\u{0}\u{7f}end\n", word());
    let mut odd = vec![megabyte.clone(), stack.clone(), String::new(), " ".into(), "{\"a\":1,".into()];
    odd.extend((0..3_000).map(|_| (0..8).map(|_| word()).collect::<Vec<_>>().join(" ")));
    let values: Vec<Value> = odd
        .iter()
        .enumerate()
        .map(|(n, line)| json!([format!("{}", now * 1_000_000 + n as i64), line]))
        .collect();
    let push = json!({ "streams": [{ "stream": { "app": "odd" }, "values": values }] });
    let pushed = server.http.post(server.url("/loki/api/v1/push")).json(&push).send().unwrap();
    assert_eq!(pushed.status(), 204, "{}", pushed.text().unwrap());
    let lines = |query: &str| -> Vec<String> {
        let found = server.query(
            "/loki/api/v1/query_range",
            &[("query", query), ("limit", "5000"), ("direction", "forward"), ("since", "10m")],
        );
        let streams = found["data"]["result"].as_array().unwrap().clone();
        let mut values: Vec<(String, String)> = streams
            .iter()
            .flat_map(|stream| stream["values"].as_array().unwrap())
            .map(|value| (value[0].as_str().unwrap().into(), value[1].as_str().unwrap().into()))
            .collect();
        values.sort();
        values.into_iter().map(|(_, line)| line).collect()
    };
    let last_word = megabyte.rsplit_once(' ').unwrap().1;
    let needle = odd[2_000].split_once(' ').unwrap().0.to_owned();
    for place in ["in memory", "in a part"] {
        assert!(lines(r#"{app="odd"}"#) == odd, "{place}: a line is not as it was");
        assert_eq!(lines(&format!(r#"{{app="odd"}} |= "{last_word}""#)), [megabyte.as_str()], "{place}");
        assert_eq!(lines(&format!(r#"{{app="odd"}} |= "{needle}""#)), [odd[2_000].as_str()], "{place}");
        assert_eq!(lines(r#"{app="odd"} |~ "panic: .*\n\tat a""#), [stack.as_str()], "{place}");
        assert_eq!(lines(r#"{app="odd"} |= "\u0000""#), [stack.as_str()], "{place}");
        assert!(server.http.post(server.url("/api/admin/flush")).send().unwrap().status().is_success());
    }
    let long = json!({ "streams": [{ "stream": { "app": "odd" }, "values": [
        [format!("{}", now * 1_000_000), "x".repeat(3 << 20)], [format!("{}", now * 1_000_000), "kept beside it"]] }] });
    let pushed = server.http.post(server.url("/loki/api/v1/push")).json(&long).send().unwrap();
    let (status, why) = (pushed.status(), pushed.text().unwrap());
    assert!(status == 400 && why.contains("'3145728' bytes"), "{status} {why}");
    assert_eq!(lines(r#"{app="odd"} |= "kept beside it""#), ["kept beside it"]);
}

#[test]
fn a_json_object_a_line_comes_by_plain_http() {
    let server = Server::bare();
    let path = "/insert/jsonline?_stream_fields=app,pod&_msg_field=m&_time_field=at&ignore_fields=secret";
    let lines = format!(
        "{{\"at\":\"{0}\",\"m\":\"card refused\",\"app\":\"pay\",\"pod\":\"p-1\",\"secret\":\"s\",\"user\":{{\"id\":7}},\"level\":\"warn\"}}\n\
         no json\n\
         {{\"at\":{0},\"m\":\"card taken\",\"app\":\"pay\",\"pod\":\"p-2\"}}",
        now_ms()
    );
    let response = server.http.post(server.url(path)).body(lines).send().unwrap();
    assert_eq!(response.status(), 400, "the second line is none");
    assert!(response.text().unwrap().contains("1 rejected (invalid_document): line 2"));
    let found = server.query("/loki/api/v1/query_range", &[("query", r#"{app="pay"} |= "card""#)]);
    let streams = found["data"]["result"].as_array().unwrap();
    assert_eq!(streams.len(), 2, "{found}");
    let row =
        server.sql("select body, severity, attr(attributes, 'user.id') as id from logs where pod = 'p-1'");
    let expected = json!({ "body": "card refused", "severity": "warn", "id": "7" });
    assert_eq!(row, vec![expected]);
    assert_eq!(count(&server, "attr(attributes, 'secret') is not null"), 0);
}
