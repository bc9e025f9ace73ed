//! Starting and stopping: what is printed, what is refused, what the exit codes are.

use crate::server::{Server, command, eventually};
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
    for arguments in [["--memory", "two elephants"], ["--log-format", "xml"], ["--webhook", "ftp://x"]] {
        let mut start = command("up", dir.path());
        start.args(arguments);
        let (code, text) = refused(start);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(arguments[0]) && text.trim().lines().count() == 1, "{text}");
    }
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
    let (code, text) = refused(command("up", &file.path().join("below-a-file")));
    assert_eq!(code, 1);
    assert!(text.contains("--data-dir"), "{text}");
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
    assert!(text.contains("bad.toml:2") && text.contains("htpt"), "{text}");
    let (code, text) = check(&rule);
    assert_eq!(code, 1);
    assert!(text.contains("rule.yaml:5"), "{text}");
}

#[test]
fn own_metrics_are_openmetrics() {
    let server = Server::bare();
    crate::traffic::loki_push(
        &server,
        serde_json::json!({ "app": "a" }),
        &[(crate::server::now_ms() * 1_000_000, "x")],
    );
    let text = server.get("/metrics").text().unwrap();
    assert!(text.ends_with("# EOF\n"));
    for name in ["binnacle_build_info", "process_resident_memory_bytes", "binnacle_store_wal_bytes"] {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
}
