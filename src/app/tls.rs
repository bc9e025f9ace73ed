//! What a TLS listener shows to its callers and asks of them, out of PEM files.

use crate::config::TlsFiles;
use agent::Stamp;
use anyhow::Context;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio_rustls::TlsAcceptor;
use tracing::warn;

/// What is spoken inside (ALPN): HTTP in its versions, and PostgreSQL where a client begins with TLS.
const PROTOCOLS: [&[u8]; 3] = [b"h2", b"http/1.1", b"postgresql"];

/// Certificate and key of the listeners, read again when they are renewed.
pub struct Tls {
    files: TlsFiles,
    now: RwLock<Now>,
}

struct Now {
    config: Arc<ServerConfig>,
    /// Of the files when they were read.
    stamp: Stamp,
    looked: Instant,
}

/// Between two looks at whether the files are others.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Tls {
    pub fn read(files: TlsFiles) -> anyhow::Result<Tls> {
        let (stamp, config) = (stamp(&files), server_config(&files)?);
        Ok(Tls { files, now: RwLock::new(Now { config, stamp, looked: Instant::now() }) })
    }

    /// For the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        if now.looked.elapsed() < LOOK_EVERY {
            return now.config.clone().into();
        }
        drop(now);
        self.look()
    }

    /// Half of a renewal (a certificate without its key yet) is told, and what was stays until the other half is there.
    fn look(&self) -> TlsAcceptor {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        now.looked = Instant::now();
        let stamp = stamp(&self.files);
        if stamp != now.stamp {
            match server_config(&self.files) {
                Ok(config) => now.config = config,
                Err(wrong) => warn!(error = format!("{wrong:#}"), "renewed certificates are not used"),
            }
            now.stamp = stamp;
        }
        now.config.clone().into()
    }

    /// As [`acceptor`](Self::acceptor), for who knows only what a connection is greeted with.
    pub fn greeting(self: &Arc<Tls>) -> Arc<dyn Fn() -> TlsAcceptor + Send + Sync> {
        let tls = self.clone();
        Arc::new(move || tls.acceptor())
    }

    /// For connections from here on. Where the files are wrong, what was stays.
    pub fn reload(&self) -> anyhow::Result<()> {
        let (stamp, config) = (stamp(&self.files), server_config(&self.files)?);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) =
            Now { config, stamp, looked: Instant::now() };
        Ok(())
    }
}

fn stamp(tls: &TlsFiles) -> Stamp {
    agent::stamp([&tls.cert, &tls.key].into_iter().chain(&tls.client_ca))
}

/// Reads the files; errors name them by their flags.
fn server_config(tls: &TlsFiles) -> anyhow::Result<Arc<ServerConfig>> {
    crate::telemetry::install_tls();
    let flag = tls.flag;
    let chain = certificates(&format!("{flag}-cert"), &tls.cert)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .with_context(|| format!("{flag}-key {} has no private key in PEM", tls.key.display()))?;
    let builder = match &tls.client_ca {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(path) => {
            let named = format!("{}-client-ca", tls.client_ca_flag);
            let mut roots = RootCertStore::empty();
            for authority in certificates(&named, path)? {
                roots.add(authority).with_context(|| format!("{named} {}", path.display()))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            let verifier = verifier.with_context(|| format!("{named} {}", path.display()))?;
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .with_context(|| format!("{flag}-cert {} and {flag}-key do not go together", tls.cert.display()))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

fn certificates(flag: &str, path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let wrong = || format!("{flag} {} has no certificates in PEM", path.display());
    let found = CertificateDer::pem_file_iter(path).with_context(wrong)?.collect::<Result<Vec<_>, _>>();
    let found = found.with_context(wrong)?;
    anyhow::ensure!(!found.is_empty(), wrong());
    Ok(found)
}
