//! One request to the kubelet, bounded in time and size; a refusal names the right that is missing.

use super::Settings;
use crate::caller::{Stamp, built, stamp};
use anyhow::Context;
use parking_lot::Mutex;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use tracing::warn;

/// Whose certificate is believed. A kubelet's is often its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Trust {
    System,
    CaFile(PathBuf),
    /// Any: asked for on purpose.
    Anyone,
}

pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A list of some hundred pods with all their fields is about 10 MB.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A line of a watch; etcd holds no larger objects than 1.5 MB.
const LINE_BYTES_MAX: usize = 8 << 20;

/// Of what an answer says.
const TOLD_BYTES_MAX: usize = 300;

/// By path: the resource on which a role must allow `get`.
const RIGHTS: [(&str, &str); 7] = [
    ("/pods", "nodes/pods"),
    ("/stats/summary", "nodes/stats"),
    ("/metrics/cadvisor", "nodes/metrics"),
    ("/metrics/resource", "nodes/metrics"),
    ("/metrics/probes", "nodes/metrics"),
    ("/metrics", "nodes/metrics"),
    ("/configz", "nodes/configz"),
];

pub struct Client {
    trust: Trust,
    now: Mutex<Now>,
    base: String,
    token_file: PathBuf,
}

/// The client, and the file of authorities that it was made of.
struct Now {
    http: reqwest::Client,
    stamp: Stamp,
}

impl Trust {
    fn stamp(&self) -> Stamp {
        match self {
            Trust::System | Trust::Anyone => vec![],
            Trust::CaFile(path) => stamp([path]),
        }
    }

    fn client(&self) -> anyhow::Result<reqwest::Client> {
        let authorities = match self {
            Trust::System | Trust::Anyone => vec![],
            Trust::CaFile(path) => {
                let pem =
                    std::fs::read(path).with_context(|| format!("reading the CA {}", path.display()))?;
                let wrong = || format!("{} holds no certificate in PEM", path.display());
                let found = reqwest::Certificate::from_pem_bundle(&pem).with_context(wrong)?;
                anyhow::ensure!(!found.is_empty(), wrong());
                found
            }
        };
        let builder = || {
            let builder = reqwest::Client::builder()
                .connect_timeout(TIMEOUT)
                .no_proxy()
                .pool_max_idle_per_host(1)
                .tls_certs_merge(authorities.clone());
            anyhow::Ok(builder.danger_accept_invalid_certs(*self == Trust::Anyone))
        };
        built(builder).context("making the HTTP client of the kubelet and the API server")
    }
}

impl Client {
    pub fn new(settings: &Settings) -> anyhow::Result<Client> {
        let Settings { url, token_file, trust } = settings.clone();
        // What is written between the two is noticed at the first request.
        let stamp = trust.stamp();
        let now = Mutex::new(Now { http: trust.client()?, stamp });
        let base = url.trim_end_matches('/').to_owned();
        Ok(Client { trust, now, base, token_file })
    }

    /// With the authorities as they are now: a cluster changes them while its agents run. While the file is being written
    /// what was stays.
    fn http(&self) -> reqwest::Client {
        let stamp = self.trust.stamp();
        let mut now = self.now.lock();
        if stamp != now.stamp {
            match self.trust.client() {
                Ok(http) => now.http = http,
                Err(wrong) => warn!(error = format!("{wrong:#}"), "other authorities are not used"),
            }
            now.stamp = stamp;
        }
        now.http.clone()
    }

    /// A request with the token as it is now.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
        timeout: Duration,
    ) -> Result<Response, String> {
        let mut request = self.http().request(method, format!("{}{path}", self.base)).timeout(timeout);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(kind) = accepted(path) {
            request = request.header(reqwest::header::ACCEPT, kind);
        }
        match tokio::fs::read_to_string(&self.token_file).await {
            // As nobody, whose rights are then said to be missing.
            Ok(token) if token.trim().is_empty() && self.base.starts_with("https") => {
                return Err(format!("its token {} is empty", self.token_file.display()));
            }
            Ok(token) => request = request.bearer_auth(token.trim()),
            // A port without authentication needs none.
            Err(wrong) if self.base.starts_with("https") => {
                return Err(format!(
                    "its token {} cannot be read: {wrong}; --kubelet-token-file names another file, an empty one \
                     where no token is asked for",
                    self.token_file.display()
                ));
            }
            Err(_) => {}
        }
        request.send().await.map_err(|wrong| explained(&wrong))
    }

    /// The body, or why there is none in words for the operator.
    pub async fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        let response = self.send(Method::GET, path, None, TIMEOUT).await?;
        let status = response.status();
        let body = body(response).await?;
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::FORBIDDEN => Err(forbidden(path, &body)),
            StatusCode::UNAUTHORIZED => Err(format!(
                "401: it does not know the token in {}; is webhook authentication on, and the token of this cluster?",
                self.token_file.display()
            )),
            other => Err(format!("{other}: {}", beginning(&body))),
        }
    }
}

/// Of what is secret the API server keeps the contents to itself, which may be large, too. The type of a secret is not of
/// its metadata: it stands in the table that the server makes for `kubectl get`. A server that cannot do so sends all, and
/// it is thrown away here.
fn accepted(path: &str) -> Option<String> {
    let is_of = |known: &str| path.starts_with(known);
    let what =
        if path.contains("watch=true") { "PartialObjectMetadata" } else { "PartialObjectMetadataList" };
    let kinds = if is_of("/api/v1/secrets") {
        vec!["Table", what]
    } else if is_of("/api/v1/configmaps") {
        vec![what]
    } else {
        return None;
    };
    let kinds = kinds.iter().map(|kind| format!("application/json;as={kind};g=meta.k8s.io;v=v1,"));
    Some(kinds.collect::<String>() + "application/json")
}

pub async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = vec![];
    while let Some(piece) = response.chunk().await.map_err(|wrong| explained(&wrong))? {
        if body.len() + piece.len() > BODY_BYTES_MAX {
            return Err(format!("its answer is longer than {BODY_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Whole lines of an answer that comes bit by bit, as a watch does.
pub struct Lines {
    response: Response,
    begun: Vec<u8>,
}

impl Lines {
    pub fn of(response: Response) -> Lines {
        Lines { response, begun: vec![] }
    }

    /// Those that came next; none at the end, for which the time of a request is one.
    pub async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, String> {
        let piece = match self.response.chunk().await {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(None),
            Err(wrong) if wrong.is_timeout() => return Ok(None),
            Err(wrong) => return Err(explained(&wrong)),
        };
        self.begun.extend_from_slice(&piece);
        let mut lines = vec![];
        let mut from = 0;
        while let Some(length) = memchr::memchr(b'\n', &self.begun[from..]) {
            lines.push(self.begun[from..from + length].to_vec());
            from += length + 1;
        }
        self.begun.drain(..from);
        match self.begun.len() > LINE_BYTES_MAX {
            true => Err(format!("an event of more than {LINE_BYTES_MAX} bytes")),
            false => Ok(Some(lines)),
        }
    }
}

fn forbidden(path: &str, body: &[u8]) -> String {
    let right = RIGHTS.iter().find(|(known, _)| *known == path).map_or("nodes/proxy", |(_, right)| right);
    format!(
        "403: the agent's ClusterRole must allow `get` on `{right}` (apiGroup \"\"); it says: {}",
        beginning(body)
    )
}

/// As an API server and a kubelet say no.
#[derive(Deserialize)]
struct Status {
    message: String,
}

/// What an answer says that is no success: the message that is in it, or how it begins.
pub fn beginning(body: &[u8]) -> String {
    let text = match serde_json::from_slice(body) {
        Ok(Status { message }) => message,
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(TOLD_BYTES_MAX)]).into_owned(),
    };
    text[..text.floor_char_boundary(TOLD_BYTES_MAX)].trim().to_owned()
}

pub fn explained(wrong: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = wrong;
    while let Some(source) = inner.source() {
        inner = source;
    }
    let inner = inner.to_string();
    if inner.contains("UnknownIssuer") || inner.contains("certificate") {
        return format!(
            "{inner}: give the CA of its certificate (--kubelet-ca-file or, of the API server, --kube-api-ca-file); \
             of a kubelet any is believed with --kubelet-insecure"
        );
    }
    inner
}
