//! What a TLS listener shows to its callers and asks of them, out of PEM files.

use crate::config::SyslogTls;
use anyhow::Context;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;

/// Reads the files of `--syslog-tls`.
pub fn server_config(tls: &SyslogTls) -> anyhow::Result<Arc<ServerConfig>> {
    crate::telemetry::install_tls();
    let chain = certificates("--syslog-tls-cert", &tls.cert)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .with_context(|| format!("--syslog-tls-key {} has no private key in PEM", tls.key.display()))?;
    let builder = match &tls.client_ca {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates("--syslog-tls-client-ca", path)? {
                roots.add(authority).with_context(|| format!("--syslog-tls-client-ca {}", path.display()))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            let verifier = verifier.with_context(|| format!("--syslog-tls-client-ca {}", path.display()))?;
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, key).with_context(|| {
        format!("--syslog-tls-cert {} and --syslog-tls-key do not go together", tls.cert.display())
    })?;
    Ok(Arc::new(config))
}

fn certificates(flag: &str, path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let wrong = || format!("{flag} {} has no certificates in PEM", path.display());
    let found = CertificateDer::pem_file_iter(path).with_context(wrong)?.collect::<Result<Vec<_>, _>>();
    let found = found.with_context(wrong)?;
    anyhow::ensure!(!found.is_empty(), wrong());
    Ok(found)
}
