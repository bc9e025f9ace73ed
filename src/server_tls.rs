//! Flags of the commands that ask a running server over TLS.

use agent::Certificates;
use std::path::PathBuf;

#[derive(clap::Args, Clone, Default)]
pub struct ServerTls {
    /// PEM file with who must have signed the server's certificate [default: what the machine trusts]
    #[arg(long, env = "BINNACLE_SERVER_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// PEM file with the certificate to show to a server that asks for one (its --tls-client-ca) [default: none]
    #[arg(long, env = "BINNACLE_SERVER_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// PEM file with that certificate's private key
    #[arg(long, env = "BINNACLE_SERVER_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl ServerTls {
    pub fn certificates(&self) -> anyhow::Result<Certificates> {
        let ServerTls { tls_ca, tls_cert, tls_key } = self.clone();
        Certificates::of("--tls", tls_ca, tls_cert, tls_key)
    }
}
