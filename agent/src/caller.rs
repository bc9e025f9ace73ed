//! The HTTP client to another process of ours, with what it shows and believes over TLS out of files that are renewed
//! while it runs: cert-manager and the like write them anew, and nobody restarts for it.

use anyhow::Context;
use parking_lot::Mutex;
use reqwest::{Certificate, Client, ClientBuilder, Identity};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tracing::warn;

/// Files in PEM, and how the flags begin that name them: `--ingest-tls` for `--ingest-tls-ca` and its sisters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certificates {
    pub flag: &'static str,
    /// Who must have signed the other's certificate; without it, whom the machine trusts.
    pub ca: Option<PathBuf>,
    /// What is shown: a certificate (and those it hangs on) and its private key.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// What the files' metadata tell of their contents: a renewed secret in Kubernetes is another file behind a link.
pub type Stamp = Vec<Option<(SystemTime, u64)>>;

pub fn stamp<'p>(files: impl IntoIterator<Item = &'p PathBuf>) -> Stamp {
    let of = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.into_iter().map(of).collect()
}

pub struct Caller {
    of: Certificates,
    connecting: Duration,
    answering: Option<Duration>,
    now: Mutex<Now>,
}

struct Now {
    client: Client,
    stamp: Stamp,
    /// Of files that were not understood, so that they are told once.
    refused: Option<Stamp>,
}

impl Certificates {
    /// An authority, a certificate and its key, as the flags that begin with `flag` name them.
    pub fn of(
        flag: &'static str,
        ca: Option<PathBuf>,
        cert: Option<PathBuf>,
        key: Option<PathBuf>,
    ) -> anyhow::Result<Certificates> {
        let own = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => anyhow::bail!("{flag}-cert needs {flag}-key: the certificate's private key"),
            (None, Some(_)) => anyhow::bail!("{flag}-key needs {flag}-cert: the key's certificate"),
        };
        Ok(Certificates { flag, ca, own })
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.ca.iter().chain(self.own.iter().flat_map(|(cert, key)| [cert, key]))
    }

    fn stamp(&self) -> Stamp {
        stamp(self.files())
    }

    /// Whether the files are there and are what they ought to be.
    pub fn check(&self) -> anyhow::Result<()> {
        self.authorities()?;
        self.identity()?;
        Ok(())
    }

    /// The builder with what the files say; errors name them by their flags.
    fn apply(&self, mut builder: ClientBuilder) -> anyhow::Result<ClientBuilder> {
        if let Some(authorities) = self.authorities()? {
            builder = builder.tls_certs_only(authorities);
        }
        if let Some(identity) = self.identity()? {
            builder = builder.identity(identity);
        }
        Ok(builder)
    }

    fn authorities(&self) -> anyhow::Result<Option<Vec<Certificate>>> {
        let Some(path) = &self.ca else { return Ok(None) };
        let wrong = || format!("{}-ca {} has no certificates in PEM", self.flag, path.display());
        let found = Certificate::from_pem_bundle(&self.read("ca", path)?).with_context(wrong)?;
        anyhow::ensure!(!found.is_empty(), wrong());
        Ok(Some(found))
    }

    fn identity(&self) -> anyhow::Result<Option<Identity>> {
        let Some((cert, key)) = &self.own else { return Ok(None) };
        let mut pem = self.read("key", key)?;
        pem.push(b'\n');
        pem.extend(self.read("cert", cert)?);
        let identity = Identity::from_pem(&pem).with_context(|| {
            let (flag, cert, key) = (self.flag, cert.display(), key.display());
            format!("{flag}-cert {cert} and {flag}-key {key} are no certificate and its private key in PEM")
        })?;
        Ok(Some(identity))
    }

    /// Why a request came to nothing, with the innermost reason: the outer ones only repeat the URL.
    pub fn cause(&self, wrong: &reqwest::Error) -> String {
        let (inner, flag) = (crate::scrape::cause(wrong), self.flag);
        // In TLS 1.3 the other side judges after the handshake, and closing can overtake what it says of it.
        let over_tls = wrong.url().is_some_and(|url| url.scheme() == "https");
        if inner.contains("CertificateRequired") || (over_tls && self.own.is_none() && closed(wrong)) {
            return format!("{inner}: it may ask callers for a certificate ({flag}-cert and {flag}-key)");
        }
        // An authority of the same name but another key is told by the signature.
        if inner.contains("UnknownIssuer") || inner.contains("BadSignature") {
            return format!("{inner}: name who signed its certificate ({flag}-ca)");
        }
        inner
    }

    fn read(&self, name: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
        std::fs::read(path).with_context(|| format!("reading {}-{name} {}", self.flag, path.display()))
    }
}

/// Whether the other side went away without an answer. What is told of it depends on who noticed first: the reader or the
/// writer of HTTP/1 or HTTP/2, within the handshake or after it.
fn closed(wrong: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    if !wrong.is_connect() {
        return wrong.is_request() && !wrong.is_timeout();
    }
    let causes = std::iter::successors(std::error::Error::source(wrong), |cause| cause.source());
    let mut kinds =
        causes.filter_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    kinds.any(|kind| {
        matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
    })
}

impl Caller {
    /// `connecting` and `answering` are the most that either may take.
    pub fn new(
        of: Certificates,
        connecting: Duration,
        answering: Option<Duration>,
    ) -> anyhow::Result<Caller> {
        let (stamp, client) = (of.stamp(), client(&of, connecting, answering)?);
        let now = Mutex::new(Now { client, stamp, refused: None });
        Ok(Caller { of, connecting, answering, now })
    }

    /// The client with the files as they are now. While they are being written (a certificate without its key yet) what
    /// was stays.
    pub fn http(&self) -> Client {
        let stamp = self.of.stamp();
        let mut now = self.now.lock();
        if stamp == now.stamp || now.refused.as_ref() == Some(&stamp) {
            return now.client.clone();
        }
        match client(&self.of, self.connecting, self.answering) {
            Ok(client) => *now = Now { client, stamp, refused: None },
            Err(wrong) => {
                warn!(error = format!("{wrong:#}"), "renewed certificates are not used");
                now.refused = Some(stamp);
            }
        }
        now.client.clone()
    }

    pub fn cause(&self, wrong: &reqwest::Error) -> String {
        self.of.cause(wrong)
    }
}

fn client(of: &Certificates, connecting: Duration, answering: Option<Duration>) -> anyhow::Result<Client> {
    let builder = || {
        let mut builder = Client::builder().connect_timeout(connecting);
        if let Some(answering) = answering {
            builder = builder.timeout(answering);
        }
        of.apply(builder)
    };
    built(builder).with_context(|| {
        let named: Vec<String> = of.files().map(|path| path.display().to_string()).collect();
        format!("making the HTTP client {} {}", of.flag, named.join(", "))
    })
}

/// The client of a builder. Where the machine trusts nobody (an image without certificates of authorities), none could be
/// made, not even for plain HTTP: it gets one that trusts nobody, and says so when it is to speak over TLS.
pub fn built<E>(builder: impl Fn() -> Result<ClientBuilder, E>) -> Result<Client, E>
where
    E: From<reqwest::Error>,
{
    match builder()?.build() {
        Ok(client) => Ok(client),
        Err(wrong) => builder()?.tls_certs_only([]).build().map_err(|_| wrong.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a machine's authorities lie is told by the environment, which belongs to the process: in one of its own.
    fn without_authorities(test: &str) -> bool {
        let nowhere = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(|name| (name, "/nowhere"));
        if nowhere.iter().all(|(name, value)| std::env::var_os(name).is_some_and(|is| is == *value)) {
            return true;
        }
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let ended = again.args(["--exact", test]).envs(nowhere).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && said.contains("1 passed"), "{said}");
        false
    }

    #[tokio::test]
    async fn a_machine_that_trusts_nobody_is_spoken_from_over_plain_http() {
        let name = "caller::tests::a_machine_that_trusts_nobody_is_spoken_from_over_plain_http";
        if !without_authorities(name) {
            return;
        }
        _ = rustls::crypto::ring::default_provider().install_default();
        assert!(Client::builder().build().is_err(), "nothing to fall back from");
        let router = axum::Router::new().route("/", axum::routing::get(|| async { "here" }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let caller = Caller::new(Certificates::default(), Duration::from_secs(9), None).unwrap();
        assert_eq!(caller.http().get(&url).send().await.unwrap().text().await.unwrap(), "here");
        let (token_file, trust) = ("/nowhere".into(), crate::kubelet::Trust::System);
        let kubelet = crate::kubelet::Settings { url: url.clone(), token_file, trust };
        let kubelet = crate::kubelet::client::Client::new(&kubelet).unwrap();
        assert_eq!(kubelet.get("/").await.unwrap(), b"here");
        crate::scrape::client::Speaker::new(&Default::default(), &url).unwrap();
    }

    const PEM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kubelet/tests");

    fn certificates(folder: &Path) -> Certificates {
        let file = |name: &str| Some(folder.join(name));
        Certificates::of("--x-tls", file("ca.pem"), file("cert.pem"), file("key.pem")).unwrap()
    }

    #[test]
    fn a_certificate_goes_with_its_key() {
        _ = rustls::crypto::ring::default_provider().install_default();
        let wrong = Certificates::of("--x-tls", None, Some("c".into()), None).unwrap_err();
        assert!(wrong.to_string().contains("--x-tls-cert needs --x-tls-key"), "{wrong}");
        let wrong = Certificates::of("--x-tls", None, None, Some("k".into())).unwrap_err();
        assert!(wrong.to_string().contains("--x-tls-key needs --x-tls-cert"), "{wrong}");
        let none = Certificates::of("--x-tls", None, None, None).unwrap();
        Caller::new(none, Duration::from_secs(1), None).unwrap();
    }

    #[test]
    fn files_are_read_again_when_they_change_and_named_when_they_are_wrong() {
        _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        for name in ["ca.pem", "cert.pem", "key.pem"] {
            std::fs::copy(Path::new(PEM).join(name), dir.path().join(name)).unwrap();
        }
        let of = certificates(dir.path());
        let caller = Caller::new(of.clone(), Duration::from_secs(1), None).unwrap();
        let stamp = || caller.now.lock().stamp.clone();
        let first = stamp();
        caller.http();
        assert_eq!(stamp(), first, "unchanged files are not read again");

        let cert = dir.path().join("cert.pem");
        let whole = std::fs::read(&cert).unwrap();
        std::fs::write(&cert, b"half").unwrap();
        let wrong = Caller::new(of, Duration::from_secs(1), None).err().unwrap();
        assert!(format!("{wrong:#}").contains("--x-tls-cert"), "{wrong:#}");
        caller.http();
        assert_eq!(stamp(), first, "what was stays");
        assert!(caller.now.lock().refused.is_some());

        std::fs::write(&cert, [whole.as_slice(), b"\n"].concat()).unwrap();
        caller.http();
        assert_ne!(stamp(), first);
        assert!(caller.now.lock().refused.is_none());
    }
}
