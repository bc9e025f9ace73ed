//! Starting and stopping: what is printed, what is refused, what the exit codes are.

use crate::server::{Server, command, eventually};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn refused(mut command: Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.stderr(Stdio::piped()).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn listeners_are_announced_and_sigterm_drains() {
    let server = Server::up(&["--no-agent"]);
    for listener in ["http", "otlp_grpc", "otlp_http", "pg"] {
        assert!(!server.address(listener).ends_with(":0"));
    }
    assert_eq!(server.json("/health/live")["status"], "ok");
    assert_eq!(server.json("/health/ready")["status"], "ok");
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn wrong_input_is_one_line_and_exit_2() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rules = write("rules.yaml", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(\n");
    let prices = write("prices.csv", "not,prices\n1,2\n");
    let config = write("config.toml", "htpt = \"127.0.0.1:0\"\n");
    let nothing = write("nothing", "\n");
    for arguments in [
        ["--memory", "two elephants"],
        ["--log-format", "xml"],
        ["--webhook", "ftp://x"],
        ["--no-such-flag", "1"],
        ["--token-file", "/nowhere/tokens"],
        ["--token-file", &nothing],
        ["--ingest-token-file", &nothing],
        ["--ingest-tls-ca", "/nowhere/ca.pem"],
        ["--syslog-tls-client-ca", "/nowhere/ca.pem"],
        ["--rules", &rules],
        ["--prices", &prices],
        ["--config", &config],
        ["--agent-queue", "1KiB"],
        ["--host-root", "/nowhere"],
    ] {
        let mut start = command("up", dir.path());
        start.args(arguments);
        let (code, text) = refused(start);
        assert_eq!(code, 2, "{arguments:?}: {text}");
        let one_line = text.trim().lines().count() == 1 && text.starts_with("binnacle: ");
        assert!(one_line && text.contains(arguments[0]), "{arguments:?}: {text}");
    }
    for arguments in [["--ingest-tls-ca", "/nowhere/ca.pem"], ["--token-file", "/nowhere/tokens"]] {
        let mut preview = command("agent", dir.path());
        preview.arg("--dry-run").args(arguments);
        let (code, text) = refused(preview);
        assert!(code == 2 && text.contains(arguments[0]), "as the start would be: {text}");
    }
    let mut start = command("up", dir.path());
    start.env("BINNACLE_LOG_FORMAT", "xml");
    assert_eq!(refused(start).0, 2, "the environment is written input, too");
    let mut start = command("query", dir.path());
    start.args(["--self-telemetry", "self"]);
    assert_eq!(refused(start).0, 2);
    assert!(!dir.path().join("listeners.json").exists());
}

#[test]
fn a_directory_in_use_names_itself() {
    let server = Server::bare();
    let (code, text) = refused(command("up", &server.dir));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("in use"), "{text}");
    assert!(server.get("/health/ready").status().is_success(), "the first one goes on");
}

#[test]
fn a_directory_that_cannot_be_written_names_the_flag() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for role in ["up", "agent", "ingest", "query", "alerts"] {
        cannot_be_written(command(role, &file.path().join("below-a-file")), "Not a directory");
    }
    // Whoever runs this may be root, to whom nothing is forbidden.
    let dir = tempfile::tempdir().unwrap();
    let forbid = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let theirs = dir.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    forbid(&theirs, 0o555);
    forbid(dir.path(), 0o555);
    for data in [theirs, dir.path().join("new")] {
        cannot_be_written(without_rights(command("up", &data)), "Permission denied");
    }
    forbid(dir.path(), 0o755);
}

/// A wrong --data-dir is a mistake of the start's input: one line and exit code 2.
fn cannot_be_written(start: Command, why: &str) {
    let told = format!("{start:?}");
    let (code, text) = refused(start);
    assert_eq!(code, 2, "{told}: {text}");
    let one_line = text.trim().lines().count() == 1 && text.starts_with("binnacle: ");
    assert!(one_line && text.contains("--data-dir") && text.contains(why), "{told}: {text}");
}

/// The same command without root's rights, if it would have them: only then do modes of directories hold for it.
fn without_rights(start: Command) -> Command {
    let mut bounded = Command::new("setpriv");
    bounded.args(["--inh-caps=-all", "--bounding-set=-all", "--"]);
    bounded.arg(start.get_program()).args(start.get_args());
    bounded.stdin(Stdio::null()).stdout(Stdio::null());
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if is_root { bounded } else { start }
}

#[test]
fn a_port_in_use_names_the_flag() {
    let server = Server::bare();
    let dir = tempfile::tempdir().unwrap();
    let mut start = Command::new(env!("CARGO_BIN_EXE_binnacle"));
    start.args(["up", "--no-agent", "--http", server.address("http"), "--otlp-grpc", "127.0.0.1:0"]);
    start.args(["--otlp-http", "127.0.0.1:0", "--pg", "127.0.0.1:0", "--data-dir"]).arg(dir.path());
    let (code, text) = refused(start);
    assert_eq!(code, 1);
    assert!(text.contains("--http") && text.contains(server.address("http")), "{text}");
}

#[test]
fn a_token_file_closes_every_door_but_health() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, "s3cret\n").unwrap();
    let server = Server::up(&["--no-agent", "--no-alerts", "--token-file", tokens.to_str().unwrap()]);
    assert_eq!(server.get("/api/v1/query?query=1").status(), 401);
    assert_eq!(server.get("/metrics").status(), 401);
    assert!(server.get("/health/ready").status().is_success());
    let with = |token| {
        server.http.get(server.url("/api/v1/query?query=1")).bearer_auth(token).send().unwrap().status()
    };
    assert_eq!(with("wrong"), 401);
    assert_eq!(with("s3cret"), 200);
    std::fs::write(&tokens, "newer\n").unwrap();
    crate::server::signal(server.pid(), "HUP");
    eventually("the new token", || (with("newer") == 200).then_some(()));
    assert_eq!(with("s3cret"), 401);
}

#[test]
fn check_names_file_line_and_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = write("good.toml", "http = \"127.0.0.1:0\"\n");
    let bad = write("bad.toml", "log_level = \"info\"\nhtpt = \"x\"\n");
    let rule = write("rule.yaml", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(rate(x[5m])\n");
    let check = |file: &std::path::Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_binnacle")).arg("check").arg(file).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(check(&good).0, 0);
    let (code, text) = check(&bad);
    assert_eq!(code, 1);
    assert!(text.contains("bad.toml:2:1") && text.contains("did you mean `http`"), "{text}");
    let dashboard = write(
        "board.json",
        "{\"title\": \"t\",\n \"panels\": [{\"type\": \"stat\",\n  \"targets\": [{\"expr\": \"sum(\"}]}]}\n",
    );
    let (code, text) = check(&dashboard);
    assert_eq!(code, 1);
    assert!(text.contains("board.json:3:"), "{text}");
    let (code, text) = check(&rule);
    assert_eq!(code, 1);
    assert!(text.contains("rule.yaml:5"), "{text}");
}

/// Standard output whose reader went away, as `| head` does.
fn nobody_reads(mut command: Command) -> Command {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    command
}

#[test]
fn commands_end_quietly_where_nobody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good.toml");
    std::fs::write(&good, "http = \"127.0.0.1:0\"\n").unwrap();
    let program = || Command::new(env!("CARGO_BIN_EXE_binnacle"));
    let [mut version, mut check, mut preview] = [program(), program(), command("agent", dir.path())];
    version.arg("version");
    check.arg("check").arg(&good);
    preview.arg("--dry-run");
    for start in [version, check, preview] {
        let shown = format!("{start:?}");
        let (code, text) = refused(nobody_reads(start));
        assert_eq!(code, 0, "{shown}: {text}");
    }
}

#[test]
fn a_server_runs_where_nobody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let mut start = command("up", dir.path());
    start.args(["--no-agent", "--no-alerts", "--no-web"]);
    let server = Server::watch(&mut nobody_reads(start), dir.path());
    // Its address is written down before it is told.
    eventually("the server", || server.get("/health/ready").status().is_success().then_some(()));
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn own_metrics_are_openmetrics() {
    let server = Server::bare();
    crate::traffic::loki_push(
        &server,
        serde_json::json!({ "app": "a" }),
        &[(crate::server::now_ms() * 1_000_000, "x")],
    );
    server.promql("1");
    let response = server.get("/metrics");
    assert_eq!(
        response.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = response.text().unwrap();
    assert!(text.ends_with("# EOF\n"));
    for name in [
        "binnacle_build_info",
        "process_resident_memory_bytes",
        "binnacle_store_wal_bytes",
        "binnacle_store_parts",
        "binnacle_query_duration_seconds_bucket",
        "binnacle_ingest_accepted_total",
    ] {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
    openmetrics_is_valid(&text);
}

/// What a strict scraper refuses: a family in two pieces, a type after its samples, the same series twice, a counter
/// whose sample has another ending, a number that is none.
fn openmetrics_is_valid(text: &str) {
    let (mut family, mut kind) = (String::new(), String::new());
    let (mut ended, mut series) = (std::collections::HashSet::new(), std::collections::HashSet::new());
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            assert!(ended.insert(name.to_owned()), "{name} comes twice");
            (family, kind) = (name.to_owned(), of.to_owned());
            continue;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert_eq!(rest.split(' ').next(), Some(family.as_str()), "{line}");
            continue;
        }
        let (name_and_labels, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let name = name_and_labels.split('{').next().unwrap();
        let ending = name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} is below {family}"));
        let endings: &[&str] = match kind.as_str() {
            "counter" => &["_total", "_created"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(endings.contains(&ending), "{line}: a {kind} ends in one of {endings:?}");
        assert!(value.parse::<f64>().is_ok() || matches!(value, "+Inf" | "-Inf" | "NaN"), "{line}");
        assert!(series.insert(name_and_labels.to_owned()), "{line} comes twice");
    }
    assert!(series.len() > 10, "{text}");
}

#[test]
fn own_traces_and_logs_come_by_otlp_where_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, "door\n").unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let flags =
        ["--no-agent", "--no-web", "--self-telemetry", "self", "--token-file", tokens.to_str().unwrap()];
    let server = Server::start("up", &data, &flags).with_token("door");
    server.promql("vector(1)");
    // A caller's span, as its header names it.
    let asked = crate::server::http_client()
        .get(server.url("/api/v1/labels"))
        .bearer_auth("door")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .send();
    assert!(asked.unwrap().status().is_success());
    crate::server::signal(server.pid(), "HUP");
    eventually("the span of a query", || {
        let rows = server.sql(
            "select attr(attributes, 'http.response.status_code') as status from spans \
             where service = 'binnacle' and name = 'GET /api/v1/query'",
        );
        rows.first().map(|row| assert_eq!(row["status"], "200", "{row}"))
    });
    eventually("the span of a question in its caller's trace", || {
        let rows = server.sql(
            "select parent_span_id from spans where service = 'binnacle' \
             and trace_id = '0af7651916cd43dd8448eb211c80319c'",
        );
        rows.first().map(|row| assert_eq!(row["parent_span_id"], "b7ad6b7169203331", "{row}"))
    });
    eventually("the log line of the reload", || {
        server.sql("select body from logs where service = 'binnacle' and body = 'reloaded'").first().cloned()
    });
    // The tokens that were are in force, and who looks for a reload is told so.
    std::fs::write(&tokens, "").unwrap();
    crate::server::signal(server.pid(), "HUP");
    eventually("the log line of a reload in part", || {
        let rows = server.sql(
            "select attr(attributes, 'kept') as kept from logs \
             where service = 'binnacle' and body = 'reloaded in part'",
        );
        rows.first().map(|row| assert_eq!(row["kept"], "tokens", "{row}"))
    });
}
