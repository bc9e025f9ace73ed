//! Where targets come from: what was written of it under a job, and what it means.

use super::http::{self, Authorization, Basic, Client, Header, Tls, WrittenOauth2};
use super::units::Span;
use super::yes;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A server that names targets (`http_sd_configs`).
#[derive(Clone, Debug, PartialEq)]
pub struct HttpDiscovery {
    pub url: String,
    pub every: Duration,
    pub client: Client,
}

/// Names whose addresses are targets (`dns_sd_configs`).
#[derive(Clone, Debug, PartialEq)]
pub struct DnsDiscovery {
    pub names: Vec<String>,
    pub family: Family,
    pub port: u16,
    pub every: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Family {
    V4,
    V6,
}

/// Targets with the labels that they share.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    #[serde(default)]
    pub targets: Vec<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Files {
    pub files: Vec<PathBuf>,
    /// Files are looked at more often than this.
    #[serde(rename = "refresh_interval")]
    _refresh_interval: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpServer {
    url: String,
    refresh_interval: Option<Span>,
    basic_auth: Option<Basic>,
    authorization: Option<Authorization>,
    oauth2: Option<WrittenOauth2>,
    bearer_token: Option<String>,
    bearer_token_file: Option<PathBuf>,
    #[serde(default)]
    tls_config: Tls,
    #[serde(default = "yes")]
    follow_redirects: bool,
    #[serde(default = "yes")]
    enable_http2: bool,
    proxy_url: Option<String>,
    no_proxy: Option<String>,
    #[serde(default)]
    proxy_from_environment: bool,
    proxy_connect_header: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default)]
    http_headers: BTreeMap<String, Header>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DnsNames {
    names: Vec<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    port: Option<u16>,
    refresh_interval: Option<Span>,
}

/// Between two times that a server is asked for targets, and that names are looked up, as in Prometheus.
const HTTP_EVERY: Duration = Duration::from_secs(60);
const DNS_EVERY: Duration = Duration::from_secs(30);

impl HttpServer {
    pub fn meaning(self, folder: &Path) -> Result<HttpDiscovery, String> {
        let of = |what: String| format!("http_sd_configs: {what}");
        let url =
            reqwest::Url::parse(&self.url).map_err(|wrong| of(format!("url {:?}: {wrong}", self.url)))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(of("URL scheme must be 'http' or 'https'".into()));
        }
        let written = http::Written {
            basic_auth: self.basic_auth,
            authorization: self.authorization,
            oauth2: self.oauth2,
            bearer_token: self.bearer_token,
            bearer_token_file: self.bearer_token_file,
            tls_config: self.tls_config,
            follow_redirects: self.follow_redirects,
            enable_compression: true,
            enable_http2: self.enable_http2,
            proxy_url: self.proxy_url,
            no_proxy: self.no_proxy,
            proxy_from_environment: self.proxy_from_environment,
            proxy_connect_header: self.proxy_connect_header,
            http_headers: self.http_headers,
        };
        let every = self.refresh_interval.map_or(HTTP_EVERY, |span| span.0);
        Ok(HttpDiscovery { url: self.url, every, client: written.meaning(folder).map_err(of)? })
    }
}

impl DnsNames {
    pub fn meaning(self) -> Result<DnsDiscovery, String> {
        let of = |what: &str| Err(format!("dns_sd_configs: {what}"));
        if self.names.is_empty() {
            return of("DNS-SD config must contain at least one SRV record name");
        }
        let family = match self.kind.as_deref().map(str::to_ascii_uppercase).as_deref() {
            Some("A") => Family::V4,
            Some("AAAA") => Family::V6,
            None | Some("SRV" | "MX" | "NS") => {
                return of("type SRV, MX and NS are not supported; use A or AAAA with a port");
            }
            Some(other) => return of(&format!("invalid DNS-SD records type {other}")),
        };
        let Some(port) = self.port.filter(|port| *port != 0) else {
            return of("a port is required in DNS-SD configs for all record types except SRV");
        };
        let every = self.refresh_interval.map_or(DNS_EVERY, |span| span.0);
        Ok(DnsDiscovery { names: self.names, family, port, every })
    }
}
