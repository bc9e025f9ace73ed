//! The ports of a process: bound first, so that a port in use ends the start before a file is touched, and made known
//! once they answer.

use super::data_dir;
use crate::config::{Config, Role};
use crate::output;
use anyhow::Context;
use serde::Serialize;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};
use tracing::warn;

/// Bound and not yet accepting.
pub struct Listeners {
    pub http: TcpListener,
    /// Where TLS is spoken on the others: on loopback, for what runs in this process.
    pub own_http: Option<TcpListener>,
    pub own_grpc: Option<TcpListener>,
    pub otlp_grpc: Option<TcpListener>,
    pub otlp_http: Option<TcpListener>,
    pub pg: Option<TcpListener>,
    pub syslog: Option<(TcpListener, UdpSocket)>,
    pub syslog_tls: Option<TcpListener>,
    pub addresses: Addresses,
}

/// Where they are, as `listeners.json` says it.
#[derive(Clone, Debug, Serialize)]
pub struct Addresses {
    /// Whether HTTP, OTLP and PostgreSQL are spoken over TLS.
    pub tls: bool,
    #[serde(skip)]
    own_http: Option<SocketAddr>,
    #[serde(skip)]
    own_grpc: Option<SocketAddr>,
    pub http: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_grpc: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_http: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pg: Option<SocketAddr>,
    /// TCP and UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog_tls: Option<SocketAddr>,
}

pub const FILE: &str = "listeners.json";

/// Between two attempts to write it on a disk that is full.
const AGAIN: Duration = Duration::from_secs(5);

impl Listeners {
    /// Binds what the role needs. Every role has HTTP (health, metrics).
    pub async fn bind(config: &Config) -> anyhow::Result<Listeners> {
        let (takes_otlp, takes_pg) = match config.role {
            Role::Up { .. } => (true, true),
            Role::Agent | Role::Ingest => (true, false),
            Role::Query => (false, true),
            Role::Alerts => (false, false),
        };
        let http = bind("--http", config.http).await?;
        let otlp_grpc = bind_if(takes_otlp, "--otlp-grpc", config.otlp_grpc).await?;
        let otlp_http = bind_if(takes_otlp, "--otlp-http", config.otlp_http).await?;
        let pg = bind_if(takes_pg, "--pg", config.pg).await?;
        let syslog = match config.syslog {
            Some(address) => Some(bind_both(address).await?),
            None => None,
        };
        let syslog_tls = match &config.syslog_tls {
            Some((address, _)) => Some(bind("--syslog-tls", *address).await?),
            None => None,
        };
        let (tls, own) = (config.tls.is_some(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let own_http = bind_if(tls, "--http", own).await?;
        let own_grpc = bind_if(tls && takes_otlp, "--otlp-grpc", own).await?;
        let at = |listener: &Option<TcpListener>| listener.as_ref().map(TcpListener::local_addr).transpose();
        let addresses = Addresses {
            tls,
            own_http: at(&own_http)?,
            own_grpc: at(&own_grpc)?,
            http: http.local_addr()?,
            otlp_grpc: at(&otlp_grpc)?,
            otlp_http: at(&otlp_http)?,
            pg: at(&pg)?,
            syslog: syslog.as_ref().map(|(tcp, _)| tcp.local_addr()).transpose()?,
            syslog_tls: at(&syslog_tls)?,
        };
        Ok(Listeners { http, own_http, own_grpc, otlp_grpc, otlp_http, pg, syslog, syslog_tls, addresses })
    }
}

fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr =
            if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    address
}

async fn bind_if(wanted: bool, flag: &str, address: SocketAddr) -> anyhow::Result<Option<TcpListener>> {
    if wanted { bind(flag, address).await.map(Some) } else { Ok(None) }
}

/// Syslog's two sockets on one port. Where any port will do, one that TCP was given may be taken for UDP.
async fn bind_both(address: SocketAddr) -> anyhow::Result<(TcpListener, UdpSocket)> {
    const TRIES: usize = 20;
    let mut tries = 1;
    loop {
        let tcp = bind("--syslog", address).await?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((tcp, udp)),
            Err(_) if address.port() == 0 && tries < TRIES => tries += 1,
            Err(wrong) => {
                return Err(wrong).with_context(|| {
                    format!("cannot take UDP on {address}; stop what uses the port, or choose another with --syslog")
                });
            }
        }
    }
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; stop what uses the port, or choose another with {flag} (port 0: any free one)")
    })
}

impl Addresses {
    /// Where this process itself reaches its HTTP port: one that listens on all addresses is also on loopback.
    pub fn reachable_http(&self) -> SocketAddr {
        self.own_http.unwrap_or(reachable(self.http))
    }

    pub fn reachable_otlp_grpc(&self) -> Option<SocketAddr> {
        self.own_grpc.or(self.otlp_grpc.map(reachable))
    }

    pub fn http_scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// One line a listener on standard output, and `listeners.json` for programs. Where there is no room for it, it is
    /// written when there is.
    pub async fn announce(&self, config: &Config) -> anyhow::Result<()> {
        match self.write_down(&config.data_dir).await {
            Err(wrong) if data_dir::is_full(&wrong) => {
                warn!(error = %wrong, "{FILE} is written later");
                tokio::spawn(self.clone().write_down_later(config.data_dir.clone()));
            }
            written => written.with_context(|| format!("writing {FILE} in {}", config.data_dir.display()))?,
        }
        let scheme = self.http_scheme();
        let mut told = format!("http       {scheme}://{}\n", self.http);
        for (name, address) in [("otlp-grpc", self.otlp_grpc), ("otlp-http", self.otlp_http)] {
            if let Some(address) = address {
                told += &format!("{name:<10} {scheme}://{address}\n");
            }
        }
        if let Some(pg) = self.pg {
            told += &format!("pg         postgres://{pg}/{}\n", config.tenant);
        }
        if let Some(syslog) = self.syslog {
            told += &format!("syslog     tcp+udp://{syslog}\n");
        }
        if let Some(syslog) = self.syslog_tls {
            told += &format!("syslog-tls tls://{syslog}\n");
        }
        let (role, dir) = (config.role.name(), config.data_dir.display());
        told += &format!("binnacle {role} is ready; data in {dir}\n");
        // A server runs whoever reads this.
        if let Err(wrong) = output::print(told.as_bytes()) {
            warn!(error = %wrong, "the listeners are not told on standard output");
        }
        Ok(())
    }

    async fn write_down(&self, dir: &Path) -> std::io::Result<()> {
        let path = dir.join(FILE);
        let written = path.with_extension("json.tmp");
        tokio::fs::write(&written, serde_json::to_vec(self)?).await?;
        tokio::fs::rename(&written, &path).await
    }

    async fn write_down_later(self, dir: PathBuf) {
        while self.write_down(&dir).await.is_err() {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ports_are_written_down_once_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, 7_400));
        let addresses = Addresses {
            tls: false,
            own_http: None,
            own_grpc: None,
            http,
            otlp_grpc: None,
            otlp_http: None,
            pg: None,
            syslog: None,
            syslog_tls: None,
        };
        let written = dir.path().join("listeners.json.tmp");
        std::os::unix::fs::symlink("/dev/full", &written).unwrap();
        assert!(data_dir::is_full(&addresses.write_down(dir.path()).await.unwrap_err()));
        std::fs::remove_file(&written).unwrap();
        addresses.write_down_later(dir.path().to_owned()).await;
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(text, r#"{"tls":false,"http":"127.0.0.1:7400"}"#);
    }
}
