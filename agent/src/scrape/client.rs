//! One request to a target: credentials, certificates, the formats that are wanted, and a body within its bounds.

use super::config::{Client, Job, Tls};
use super::target::Target;
use reqwest::header::{self, HeaderMap};
use std::path::PathBuf;

/// What a target answered.
pub struct Fetched {
    pub format: Format,
    pub body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    Text,
    OpenMetrics,
    Protobuf,
}

impl Format {
    /// What is not known is read as the oldest format: exporters that say nothing or `text/html` mean it.
    fn of(headers: &HeaderMap) -> Format {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        match kind.split(';').next().unwrap_or("").trim() {
            "application/openmetrics-text" => Format::OpenMetrics,
            "application/vnd.google.protobuf" => Format::Protobuf,
            _ => Format::Text,
        }
    }
}

/// The client of a job; certificates are read here.
pub fn client(of: &Client) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .redirect(if of.follow_redirects {
            reqwest::redirect::Policy::limited(10)
        } else {
            reqwest::redirect::Policy::none()
        })
        .gzip(of.compression)
        .zstd(false)
        .user_agent(concat!("binnacle/", env!("CARGO_PKG_VERSION")))
        .pool_max_idle_per_host(1);
    builder = match &of.proxy {
        Some(url) => builder.proxy(reqwest::Proxy::all(url).map_err(|wrong| format!("proxy_url: {wrong}"))?),
        None => builder.no_proxy(),
    };
    let Tls { ca, ca_file, cert, cert_file, key, key_file, insecure_skip_verify, .. } = &of.tls;
    if let Some(ca) = pem(ca, ca_file)? {
        let certificates = reqwest::Certificate::from_pem_bundle(ca.as_bytes());
        for certificate in certificates.map_err(|wrong| format!("tls_config.ca: {wrong}"))? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    if let (Some(cert), Some(key)) = (pem(cert, cert_file)?, pem(key, key_file)?) {
        let identity = reqwest::Identity::from_pem(format!("{key}\n{cert}").as_bytes());
        builder = builder.identity(identity.map_err(|wrong| format!("tls_config.cert: {wrong}"))?);
    }
    builder.danger_accept_invalid_certs(*insecure_skip_verify).build().map_err(|wrong| wrong.to_string())
}

fn pem(text: &Option<String>, file: &Option<PathBuf>) -> Result<Option<String>, String> {
    match (text, file) {
        (Some(text), _) => Ok(Some(text.clone())),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map(Some)
            .map_err(|wrong| format!("unable to read {}: {wrong}", path.display())),
        (None, None) => Ok(None),
    }
}

/// The error is what `/api/v1/targets` shows.
pub async fn fetch(http: &reqwest::Client, job: &Job, target: &Target) -> Result<Fetched, String> {
    let asked = async {
        let seconds = target.timeout.as_secs_f64().to_string();
        let mut request = http
            .get(&target.url)
            .header(header::ACCEPT, &job.accept)
            .header("X-Prometheus-Scrape-Timeout-Seconds", seconds);
        if let Some((name, password)) = &job.client.basic {
            request = request.basic_auth(name.read()?, Some(password.read()?));
        }
        if let Some((kind, credentials)) = &job.client.authorization {
            request = request.header(header::AUTHORIZATION, format!("{kind} {}", credentials.read()?));
        }
        let mut response = request.send().await.map_err(|wrong| cause(&wrong))?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("server returned HTTP status {}", response.status()));
        }
        let format = Format::of(response.headers());
        let mut body = vec![];
        while let Some(piece) = response.chunk().await.map_err(|wrong| cause(&wrong))? {
            if body.len() + piece.len() > job.body_bytes_max {
                return Err(format!("body size limit exceeded: more than {} bytes", job.body_bytes_max));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Fetched { format, body })
    };
    match tokio::time::timeout(target.timeout, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("context deadline exceeded: no answer within {:?}", target.timeout)),
    }
}

/// The innermost reason: the outer ones only repeat the URL.
fn cause(wrong: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = wrong;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests;
