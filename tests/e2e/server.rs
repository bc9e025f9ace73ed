//! A running `binnacle` of one test, stopped when the test ends, and the few ways to speak to it.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a slow machine that runs all tests at once; only a failing test waits it out.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Server {
    child: Peer,
    pub dir: PathBuf,
    pub listeners: Value,
    pub http: reqwest::blocking::Client,
    /// Deleted with the server unless the test keeps it for the next start.
    _owned: Option<tempfile::TempDir>,
}

pub fn command(role: &str, dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_binnacle"));
    command.arg(role).args([
        "--http",
        "127.0.0.1:0",
        "--otlp-grpc",
        "127.0.0.1:0",
        "--otlp-http",
        "127.0.0.1:0",
    ]);
    command.args(["--pg", "127.0.0.1:0", "--data-dir"]).arg(dir).args(["--log-level", "warn"]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BINNACLE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

pub fn http_client() -> reqwest::blocking::Client {
    client(None)
}

/// Waits until `look` gives something, and says what it waited for when it never does.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Server {
    /// `up` without a page, in a directory of its own. `extra` are further arguments.
    pub fn up(extra: &[&str]) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::start("up", dir.path(), extra);
        server._owned = Some(dir);
        server
    }

    /// Without collection of this machine and without rules: only what the test sends is in it.
    pub fn bare() -> Server {
        Server::up(&["--no-agent", "--no-alerts", "--no-web"])
    }

    pub fn start(role: &str, dir: &Path, extra: &[&str]) -> Server {
        let _ = std::fs::remove_file(dir.join("listeners.json"));
        Server::watch(command(role, dir).args(extra), dir)
    }

    /// Starts what the command says and waits until it listens.
    pub fn watch(start: &mut Command, dir: &Path) -> Server {
        let listeners_file = dir.join("listeners.json");
        // Dies with the test from here on, however that goes.
        let mut child = Peer(start.spawn().expect("starting binnacle"));
        let listeners = eventually("listeners.json", || {
            if let Some(status) = child.0.try_wait().unwrap() {
                panic!("{start:?} ended with {status}");
            }
            serde_json::from_slice(&std::fs::read(&listeners_file).ok()?).ok()
        });
        let http = client(None);
        Server { child, dir: dir.to_owned(), listeners, http, _owned: None }
    }

    /// Shows a bearer token with each request from here on.
    pub fn with_token(mut self, token: &str) -> Server {
        self.http = client(Some(token));
        self
    }

    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    pub fn address(&self, listener: &str) -> &str {
        self.listeners[listener].as_str().unwrap_or_else(|| panic!("no listener {listener}"))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address("http"))
    }

    pub fn get(&self, path: &str) -> reqwest::blocking::Response {
        self.http.get(self.url(path)).send().unwrap()
    }

    /// GET that must succeed with JSON.
    pub fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        let status = response.status();
        let text = response.text().unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}"))
    }

    /// GET with parameters, encoded.
    pub fn query(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = reqwest::Url::parse_with_params(&self.url(path), parameters).unwrap();
        let response = self.http.get(url).send().unwrap();
        let status = response.status();
        let text = response.text().unwrap();
        assert!(status.is_success(), "{path} {parameters:?}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}"))
    }

    /// The result list of an instant PromQL query.
    pub fn promql(&self, query: &str) -> Vec<Value> {
        let answer = self.query("/api/v1/query", &[("query", query)]);
        answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{query}: {answer}")).clone()
    }

    /// Rows of an SQL answer as JSON objects.
    pub fn sql(&self, query: &str) -> Vec<Value> {
        let body = serde_json::json!({ "query": query, "format": "json" });
        let response = self.http.post(self.url("/api/sql")).json(&body).send().unwrap();
        let status = response.status();
        let text = response.text().unwrap();
        assert!(status.is_success(), "{query}: {status} {text}");
        let json: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{query}: {e}: {text}"));
        json.as_array()
            .or_else(|| json["rows"].as_array())
            .unwrap_or_else(|| panic!("{query}: {text}"))
            .clone()
    }

    /// `kill -9`.
    pub fn kill(mut self) -> PathBuf {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap();
        std::mem::take(&mut self.dir)
    }

    /// SIGTERM; gives the exit status.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        signal(self.pid(), "TERM");
        eventually("exit after SIGTERM", || self.child.0.try_wait().unwrap())
    }
}

/// The binary chooses the same for its own connections.
fn client(token: Option<&str>) -> reqwest::blocking::Client {
    // As the binary does: which features reqwest has hangs on what else is built.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut headers = reqwest::header::HeaderMap::new();
    if let Some(token) = token {
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    reqwest::blocking::Client::builder().timeout(PATIENCE).default_headers(headers).build().unwrap()
}

pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

pub fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A program that `tests/setup.sh` installs; without it the test cannot say anything.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed; run tests/setup.sh"))
}

/// A child that dies with the test.
pub struct Peer(pub Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago, for programs that cannot take port 0.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
