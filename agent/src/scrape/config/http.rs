//! How a target, or a server that names targets, is spoken to: what was written under a job or a discovery, and what it
//! means.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How a target is spoken to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Client {
    pub basic: Option<(Secret, Secret)>,
    /// Scheme and credentials.
    pub authorization: Option<(String, Secret)>,
    pub oauth2: Option<Box<Oauth2>>,
    pub tls: Tls,
    pub follow_redirects: bool,
    pub compression: bool,
    pub http2: bool,
    pub proxy: Proxy,
    /// Sent with each request, in their order.
    pub headers: Vec<(String, Secret)>,
}

/// Which way requests go.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Proxy {
    #[default]
    None,
    /// `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`.
    Environment,
    To {
        url: String,
        /// Hosts that are asked directly, by commas.
        except: Option<String>,
        /// Sent to the proxy with CONNECT.
        headers: Vec<(String, Secret)>,
    },
}

/// A token that is fetched with the client's own credentials (RFC 6749, 4.4).
#[derive(Clone, Debug, PartialEq)]
pub struct Oauth2 {
    pub id: String,
    pub secret: Secret,
    pub scopes: Vec<String>,
    pub token_url: String,
    pub parameters: BTreeMap<String, String>,
    pub client: Client,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    pub ca: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub cert: Option<String>,
    pub cert_file: Option<PathBuf>,
    pub key: Option<String>,
    pub key_file: Option<PathBuf>,
    pub insecure_skip_verify: bool,
    /// What the certificate is of, where that is not the target's own name.
    pub server_name: Option<String>,
    pub min_version: Option<TlsVersion>,
    pub max_version: Option<TlsVersion>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub enum TlsVersion {
    #[serde(rename = "TLS10")]
    Tls10,
    #[serde(rename = "TLS11")]
    Tls11,
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

/// A text, or the file that has it, which is read at each use.
#[derive(Clone, PartialEq)]
pub enum Secret {
    Text(String),
    File(PathBuf),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Told apart where configurations are compared, and not shown.
            Secret::Text(text) => write!(f, "<secret {:x}>", xxhash_rust::xxh3::xxh3_64(text.as_bytes())),
            Secret::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Secret {
    pub fn read(&self) -> Result<String, String> {
        match self {
            Secret::Text(text) => Ok(text.clone()),
            Secret::File(path) => std::fs::read_to_string(path)
                .map(|text| text.trim().to_owned())
                .map_err(|wrong| format!("unable to read {}: {wrong}", path.display())),
        }
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Basic {
    username: Option<String>,
    username_file: Option<PathBuf>,
    password: Option<String>,
    password_file: Option<PathBuf>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authorization {
    #[serde(rename = "type")]
    kind: Option<String>,
    credentials: Option<String>,
    credentials_file: Option<PathBuf>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Header {
    values: Vec<String>,
    secrets: Vec<String>,
    files: Vec<PathBuf>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenOauth2 {
    client_id: String,
    client_secret: Option<String>,
    client_secret_file: Option<PathBuf>,
    #[serde(default)]
    scopes: Vec<String>,
    token_url: String,
    #[serde(default)]
    endpoint_params: BTreeMap<String, String>,
    #[serde(default)]
    tls_config: Tls,
    proxy_url: Option<String>,
    no_proxy: Option<String>,
    #[serde(default)]
    proxy_from_environment: bool,
    proxy_connect_header: Option<BTreeMap<String, Vec<String>>>,
}

/// As it stands in the file. Whoever has these keys among others of its own hands them over in this.
#[derive(Clone, Default)]
pub(super) struct Written {
    pub basic_auth: Option<Basic>,
    pub authorization: Option<Authorization>,
    pub oauth2: Option<WrittenOauth2>,
    pub bearer_token: Option<String>,
    pub bearer_token_file: Option<PathBuf>,
    pub tls_config: Tls,
    pub follow_redirects: bool,
    pub enable_compression: bool,
    pub enable_http2: bool,
    pub proxy_url: Option<String>,
    pub no_proxy: Option<String>,
    pub proxy_from_environment: bool,
    pub proxy_connect_header: Option<BTreeMap<String, Vec<String>>>,
    pub http_headers: BTreeMap<String, Header>,
}

/// Headers that a request has anyway (source: `reservedHeaders` of Prometheus' HTTP client).
const RESERVED: [&str; 18] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

impl Written {
    /// Relative paths are below `folder`.
    pub fn meaning(self, folder: &Path) -> Result<Client, String> {
        let basic = match self.basic_auth {
            None => None,
            Some(Basic { username, username_file, password, password_file }) => {
                let none = || Secret::Text(String::new());
                Some((
                    secret(folder, username, username_file, "username")?.unwrap_or_else(none),
                    secret(folder, password, password_file, "password")?.unwrap_or_else(none),
                ))
            }
        };
        let authorization = match self.authorization {
            None => secret(folder, self.bearer_token, self.bearer_token_file, "bearer_token")?
                .map(|token| ("Bearer".to_owned(), token)),
            Some(Authorization { kind, credentials, credentials_file }) => {
                let kind = kind.unwrap_or_else(|| "Bearer".into());
                if kind.eq_ignore_ascii_case("basic") {
                    return Err(
                        "authorization type cannot be set to \"basic\", use basic_auth instead".into()
                    );
                }
                secret(folder, credentials, credentials_file, "credentials")?.map(|token| (kind, token))
            }
        };
        let oauth2 = self.oauth2.map(|written| written.meaning(folder)).transpose()?;
        let kinds = [basic.is_some(), authorization.is_some(), oauth2.is_some()];
        if kinds.into_iter().filter(|given| *given).count() > 1 {
            return Err(
                "at most one of basic_auth, authorization, oauth2 and bearer_token must be configured".into(),
            );
        }
        let proxy =
            proxy(self.proxy_url, self.no_proxy, self.proxy_from_environment, self.proxy_connect_header)?;
        Ok(Client {
            basic,
            authorization,
            oauth2: oauth2.map(Box::new),
            tls: tls(self.tls_config, folder)?,
            follow_redirects: self.follow_redirects,
            compression: self.enable_compression,
            http2: self.enable_http2,
            proxy,
            headers: headers(self.http_headers, folder)?,
        })
    }
}

impl WrittenOauth2 {
    fn meaning(self, folder: &Path) -> Result<Oauth2, String> {
        let given = secret(folder, self.client_secret, self.client_secret_file, "client_secret")?;
        let Some(secret) = given else {
            return Err("oauth2 needs client_secret or client_secret_file".into());
        };
        if self.client_id.is_empty() || self.token_url.is_empty() {
            return Err("oauth2 needs client_id and token_url".into());
        }
        let written = Written {
            tls_config: self.tls_config,
            follow_redirects: true,
            enable_compression: true,
            enable_http2: true,
            proxy_url: self.proxy_url,
            no_proxy: self.no_proxy,
            proxy_from_environment: self.proxy_from_environment,
            proxy_connect_header: self.proxy_connect_header,
            ..Written::default()
        };
        Ok(Oauth2 {
            id: self.client_id,
            secret,
            scopes: self.scopes,
            token_url: self.token_url,
            parameters: self.endpoint_params,
            client: written.meaning(folder)?,
        })
    }
}

fn secret(
    folder: &Path,
    text: Option<String>,
    file: Option<PathBuf>,
    what: &str,
) -> Result<Option<Secret>, String> {
    match (text, file) {
        (Some(_), Some(_)) => Err(format!("at most one of {what} and {what}_file must be configured")),
        (Some(text), None) => Ok(Some(Secret::Text(text))),
        (None, Some(file)) => Ok(Some(Secret::File(folder.join(file)))),
        (None, None) => Ok(None),
    }
}

fn tls(mut tls: Tls, folder: &Path) -> Result<Tls, String> {
    for file in [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file].into_iter().flatten() {
        *file = folder.join(&*file);
    }
    for (what, text, file) in
        [("ca", &tls.ca, &tls.ca_file), ("cert", &tls.cert, &tls.cert_file), ("key", &tls.key, &tls.key_file)]
    {
        if text.is_some() && file.is_some() {
            return Err(format!("at most one of {what} and {what}_file must be configured"));
        }
    }
    let has_cert = tls.cert.is_some() || tls.cert_file.is_some();
    if has_cert != (tls.key.is_some() || tls.key_file.is_some()) {
        return Err("tls_config needs both cert and key, or none of them".into());
    }
    if matches!(tls.max_version, Some(TlsVersion::Tls10 | TlsVersion::Tls11)) {
        return Err("tls_config.max_version: TLS 1.2 is the oldest that is spoken".into());
    }
    let newer = matches!(tls.min_version, Some(TlsVersion::Tls13));
    if newer && tls.max_version == Some(TlsVersion::Tls12) {
        return Err(
            "tls_config.max_version must be greater than or equal to tls_config.min_version if both are specified".into(),
        );
    }
    Ok(tls)
}

fn proxy(
    url: Option<String>,
    except: Option<String>,
    from_environment: bool,
    headers: Option<BTreeMap<String, Vec<String>>>,
) -> Result<Proxy, String> {
    if from_environment && (url.is_some() || except.is_some()) {
        return Err(
            "if proxy_from_environment is configured, proxy_url and no_proxy must not be configured".into()
        );
    }
    if url.is_none() && except.is_some() {
        return Err("if no_proxy is configured, proxy_url must also be configured".into());
    }
    if headers.is_some() && url.is_none() {
        return Err("if proxy_connect_header is configured, proxy_url must also be configured".into());
    }
    let headers = headers.into_iter().flatten();
    let headers = headers
        .flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), Secret::Text(value))));
    Ok(match (url, from_environment) {
        (Some(url), _) => Proxy::To { url, except, headers: headers.collect() },
        (None, true) => Proxy::Environment,
        (None, false) => Proxy::None,
    })
}

fn headers(written: BTreeMap<String, Header>, folder: &Path) -> Result<Vec<(String, Secret)>, String> {
    let mut headers = vec![];
    for (name, Header { values, secrets, files }) in written {
        if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(format!("setting header {name:?} is not allowed"));
        }
        let texts = values.into_iter().chain(secrets).map(Secret::Text);
        let files = files.into_iter().map(|file| Secret::File(folder.join(file)));
        headers.extend(texts.chain(files).map(|value| (name.clone(), value)));
    }
    Ok(headers)
}
