//! The agent's share: where its kubelet and its API server are, how much its queue may hold.

use super::{checked_url, parse_bytes};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

/// Where Kubernetes puts a pod's own token, the API server's CA and the pod's namespace.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

pub(super) fn cluster(
    url: Option<String>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
) -> anyhow::Result<Option<agent::ClusterSettings>> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let url = match url.as_deref() {
        None | Some("" | "off") => return Ok(None),
        Some("auto") => {
            let (Some(host), Some(port)) = (env("KUBERNETES_SERVICE_HOST"), env("KUBERNETES_SERVICE_PORT"))
            else {
                bail!(
                    "--kube-api auto works inside a pod (KUBERNETES_SERVICE_HOST is not set); give the URL"
                );
            };
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            format!("https://{host}:{port}")
        }
        Some(url) => checked_url("--kube-api", url.to_owned())?,
    };
    let account = Path::new(SERVICE_ACCOUNT);
    let in_pod = account.join("ca.crt");
    let trust = match ca_file.or_else(|| in_pod.exists().then_some(in_pod)) {
        Some(path) => agent::kubelet::Trust::CaFile(path),
        None => agent::kubelet::Trust::System,
    };
    let namespace = env("POD_NAMESPACE")
        .or_else(|| std::fs::read_to_string(account.join("namespace")).ok())
        .map_or("default".to_owned(), |name| name.trim().to_owned());
    let identity =
        env("NODE_NAME").or_else(|| env("HOSTNAME")).unwrap_or_else(|| "binnacle-agent".to_owned());
    // Two agents on one machine are two.
    let identity = format!("{identity}_{}", std::process::id());
    let token_file = token_file.unwrap_or_else(|| account.join("token"));
    Ok(Some(agent::ClusterSettings { url, token_file, trust, namespace, identity }))
}

pub(super) fn kubelet(
    url: Option<String>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    insecure: Option<bool>,
) -> anyhow::Result<Option<agent::kubelet::Settings>> {
    use agent::kubelet::{Settings, Trust};
    let trust = match (ca_file, insecure.unwrap_or(false)) {
        (Some(_), true) => {
            bail!("--kubelet-ca-file and --kubelet-insecure exclude each other; leave one out")
        }
        (Some(path), false) => Trust::CaFile(path),
        (None, true) => Trust::Anyone,
        (None, false) => Trust::System,
    };
    let Some(url) = url.filter(|url| !url.is_empty() && url != "off") else { return Ok(None) };
    let url = checked_url("--kubelet", url)?;
    let token_file = token_file.unwrap_or_else(|| Path::new(SERVICE_ACCOUNT).join("token"));
    Ok(Some(Settings { url, token_file, trust }))
}

/// A set of names, and another name in it for the node's.
pub(super) fn job_names(set: Option<String>, node: Option<String>) -> anyhow::Result<agent::JobNames> {
    let mut names = match set.as_deref() {
        None | Some("") => agent::JobNames::default(),
        Some(set) => agent::JobNames::parse(set).map_err(|wrong| anyhow::anyhow!("--job-names {wrong}"))?,
    };
    if let Some(job) = node.filter(|name| !name.is_empty()) {
        names.node = job;
    }
    Ok(names)
}

pub(super) fn metadata(
    labels: Option<String>,
    annotations: Option<String>,
) -> anyhow::Result<agent::objects::Metadata> {
    use agent::objects::Allowed;
    let mut metadata = agent::objects::Metadata::default();
    let parsed =
        |flag: &str, text: String| Allowed::parse(&text).map_err(|wrong| anyhow::anyhow!("{flag}: {wrong}"));
    if let Some(text) = labels {
        metadata.labels = parsed("--metric-labels-allowlist", text)?;
    }
    if let Some(text) = annotations {
        metadata.annotations = parsed("--metric-annotations-allowlist", text)?;
    }
    Ok(metadata)
}

/// Less holds no batch of log lines and its neighbours.
const QUEUE_BYTES_MIN: usize = 16 << 20;

pub(super) fn queue_bytes(text: &str) -> anyhow::Result<u64> {
    let bytes = parse_bytes(text).with_context(|| format!("--agent-queue {text:?}"))?;
    if bytes < QUEUE_BYTES_MIN {
        bail!("--agent-queue {text:?} is too small; at least 16MiB is needed");
    }
    Ok(bytes as u64)
}
