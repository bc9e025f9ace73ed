//! One request to a target: credentials, certificates, the formats that are wanted, and a body within its bounds.

mod oauth2;

use super::config::{Client, Job, Proxy, Secret, Tls, TlsVersion};
use super::target::Target;
use crate::caller::{Stamp, built, stamp};
use oauth2::Tokens;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::path::PathBuf;
use std::sync::Arc;

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
    /// `None` is no format of metrics.
    fn of(headers: &HeaderMap) -> Option<Format> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        match kind.split(';').next().unwrap_or("").trim() {
            "application/openmetrics-text" => Some(Format::OpenMetrics),
            "application/vnd.google.protobuf" => Some(Format::Protobuf),
            "text/plain" => Some(Format::Text),
            _ => None,
        }
    }
}

/// Speaks to one target, or to a server that names some, as its configuration says.
pub struct Speaker {
    http: reqwest::Client,
    of: Client,
    tokens: Option<Tokens>,
}

impl Speaker {
    /// `url` is where it is going to be sent. Certificates are read here.
    pub fn new(of: &Client, url: &str) -> Result<Speaker, String> {
        let tokens = match &of.oauth2 {
            None => None,
            Some(oauth2) => Some(Tokens::new(oauth2)?),
        };
        Ok(Speaker { http: client(of, url)?, of: of.clone(), tokens })
    }

    /// A request with what the configuration adds to each.
    pub async fn get(&self, url: &str) -> Result<reqwest::RequestBuilder, String> {
        let mut request = self.http.get(self.named(url)?);
        if let Some(host) = self.host(url) {
            request = request.header(header::HOST, host);
        }
        if let Some((name, password)) = &self.of.basic {
            request = request.basic_auth(name.read()?, Some(password.read()?));
        }
        if let Some((kind, credentials)) = &self.of.authorization {
            request = request.header(header::AUTHORIZATION, format!("{kind} {}", credentials.read()?));
        }
        if let Some(tokens) = &self.tokens {
            request = request.bearer_auth(tokens.token().await?);
        }
        for (name, value) in header_map(&self.of.headers)?.iter() {
            request = request.header(name, value);
        }
        Ok(request)
    }

    /// The certificate is asked for by the name in the URL: with a name of its own, the URL gets it, and the client's
    /// resolver leads back to the target.
    fn named(&self, url: &str) -> Result<reqwest::Url, String> {
        let mut url = reqwest::Url::parse(url).map_err(|wrong| format!("{url}: {wrong}"))?;
        if let Some(name) = self.of.tls.server_name.as_deref().filter(|_| url.scheme() == "https") {
            url.set_host(Some(name)).map_err(|wrong| format!("tls_config.server_name {name:?}: {wrong}"))?;
        }
        Ok(url)
    }

    fn host(&self, url: &str) -> Option<String> {
        self.of.tls.server_name.as_ref()?;
        let url = reqwest::Url::parse(url).ok().filter(|url| url.scheme() == "https")?;
        let host = url.host_str()?;
        Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    }
}

/// The speaker of a target, made anew when files of its certificates change: they are renewed while it is scraped.
pub struct Speaking {
    of: Client,
    url: String,
    stamp: Stamp,
    speaker: Result<Speaker, String>,
}

impl Speaking {
    pub fn new(of: &Client, url: &str) -> Speaking {
        let (stamp, speaker) = (stamp(files(of)), Speaker::new(of, url));
        Speaking { of: of.clone(), url: url.to_owned(), stamp, speaker }
    }

    /// While they are being written (a certificate without its key yet) what was stays.
    pub fn now(&mut self) -> Result<&Speaker, String> {
        let stamp = stamp(files(&self.of));
        if stamp != self.stamp {
            self.stamp = stamp;
            let renewed = Speaker::new(&self.of, &self.url);
            if renewed.is_ok() || self.speaker.is_err() {
                self.speaker = renewed;
            }
        }
        self.speaker.as_ref().map_err(String::clone)
    }
}

fn files(of: &Client) -> Vec<&PathBuf> {
    let Tls { ca_file, cert_file, key_file, .. } = &of.tls;
    let of_tokens = of.oauth2.iter().flat_map(|oauth2| files(&oauth2.client));
    [ca_file, cert_file, key_file].into_iter().flatten().chain(of_tokens).collect()
}

/// Leads every name to one host.
struct To(Arc<str>);

impl reqwest::dns::Resolve for To {
    fn resolve(&self, _name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((&*host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

fn client(of: &Client, url: &str) -> Result<reqwest::Client, String> {
    built(|| builder(of, url).map_err(anyhow::Error::msg)).map_err(|wrong| wrong.to_string())
}

fn builder(of: &Client, url: &str) -> Result<reqwest::ClientBuilder, String> {
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
    if !of.http2 {
        builder = builder.http1_only();
    }
    builder = match &of.proxy {
        Proxy::None => builder.no_proxy(),
        Proxy::Environment => builder,
        Proxy::To { url, except, headers } => {
            let mut proxy = reqwest::Proxy::all(url).map_err(|wrong| format!("proxy_url: {wrong}"))?;
            if !headers.is_empty() {
                proxy = proxy.headers(header_map(headers)?);
            }
            builder.proxy(proxy.no_proxy(except.as_deref().and_then(reqwest::NoProxy::from_string)))
        }
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
    if let Some(version) = of.tls.min_version {
        builder = builder.tls_version_min(tls_version(version));
    }
    if let Some(version) = of.tls.max_version {
        builder = builder.tls_version_max(tls_version(version));
    }
    if of.tls.server_name.is_some() {
        let url = reqwest::Url::parse(url).map_err(|wrong| format!("{url}: {wrong}"))?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).into();
        builder = builder.dns_resolver(Arc::new(To(host)));
    }
    Ok(builder.danger_accept_invalid_certs(*insecure_skip_verify))
}

/// Versions before 1.2 are not spoken; asked for as the oldest, they mean the oldest there is.
fn tls_version(version: TlsVersion) -> reqwest::tls::Version {
    match version {
        TlsVersion::Tls10 | TlsVersion::Tls11 | TlsVersion::Tls12 => reqwest::tls::Version::TLS_1_2,
        TlsVersion::Tls13 => reqwest::tls::Version::TLS_1_3,
    }
}

fn header_map(headers: &[(String, Secret)]) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let wrong = |what: &dyn std::fmt::Display| format!("http_headers: {name:?}: {what}");
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|bad| wrong(&bad))?;
        map.append(key, HeaderValue::from_str(&value.read()?).map_err(|bad| wrong(&bad))?);
    }
    Ok(map)
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
pub async fn fetch(speaker: &Speaker, job: &Job, target: &Target) -> Result<Fetched, String> {
    let asked = async {
        let seconds = target.timeout.as_secs_f64().to_string();
        let request = speaker.get(&target.url).await?;
        let request = request
            .header(header::ACCEPT, &job.accept)
            .header("X-Prometheus-Scrape-Timeout-Seconds", seconds);
        let response = request.send().await.map_err(|wrong| cause(&wrong))?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("server returned HTTP status {}", response.status()));
        }
        // Exporters that say nothing or `text/html` mean the oldest format.
        let format = Format::of(response.headers()).unwrap_or(job.fallback);
        Ok(Fetched { format, body: read(response, job.body_bytes_max).await? })
    };
    match tokio::time::timeout(target.timeout, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("context deadline exceeded: no answer within {:?}", target.timeout)),
    }
}

/// A body of at most so many bytes.
pub async fn read(mut response: reqwest::Response, bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut body = vec![];
    while let Some(piece) = response.chunk().await.map_err(|wrong| cause(&wrong))? {
        if body.len() + piece.len() > bytes_max {
            return Err(format!("body size limit exceeded: more than {bytes_max} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The innermost reason: the outer ones only repeat the URL.
pub fn cause(wrong: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = wrong;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests;
