//! Which machine this is, and where its files are.

use crate::queue::CLUSTER_LABEL;
use model::{Attributes, LabelSetBuilder, Labels};
use std::fs;
use std::path::{Path, PathBuf};

/// OpenTelemetry's name for it.
const CLUSTER_ATTRIBUTE: &str = "k8s.cluster.name";

pub struct Host {
    pub name: String,
    /// The cluster that this machine is a node of, where the configuration names it.
    pub cluster: Option<String>,
    pub root: Root,
    /// What applications on this host are given: OpenTelemetry's names.
    pub attributes: Attributes,
    /// The node and the pod that this process runs in, as an exporter's series have them from whoever scrapes its pod:
    /// kubernetes-mixin finds a node's CPUs by them. Empty outside a cluster.
    pub pod_labels: Vec<(&'static str, String)>,
}

impl Host {
    pub fn of(root: &Path) -> Host {
        let root = Root(root.to_owned());
        // A pod's own host name is the pod's; the manifest hands the node's in.
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let node = env("NODE_NAME");
        let name = node
            .clone()
            .or_else(|| root.text("proc/sys/kernel/hostname").map(|name| name.trim().to_owned()))
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "localhost".into());
        let mut attributes: Attributes =
            vec![("host.name".into(), name.as_str().into()), ("os.type".into(), "linux".into())];
        if let Some(id) = root.text("etc/machine-id") {
            attributes.push(("host.id".into(), id.trim().into()));
        }
        let mut pod_labels = vec![];
        if let Some(node) = node {
            pod_labels.push(("node", node.clone()));
            if let (Some(namespace), Some(pod)) = (env("POD_NAMESPACE"), env("POD_NAME")) {
                pod_labels.extend([("namespace", namespace), ("pod", pod)]);
            }
            attributes.push(("k8s.node.name".into(), node.into()));
        }
        Host { name, cluster: None, root, attributes, pod_labels }
    }

    /// The pod that this process runs in.
    pub fn pod(&self) -> Option<&str> {
        self.pod_labels.iter().find(|(label, _)| *label == "pod").map(|(_, pod)| pod.as_str())
    }

    pub fn in_cluster(mut self, name: Option<String>) -> Host {
        if let Some(name) = &name {
            self.attributes.push((CLUSTER_ATTRIBUTE.to_owned(), name.as_str().into()));
        }
        Host { cluster: name, ..self }
    }

    /// A stream of logs and its resource, with the cluster's name.
    pub fn named(&self, (labels, mut resource): (Labels, Attributes)) -> (Labels, Attributes) {
        let Some(cluster) = &self.cluster else { return (labels, resource) };
        resource.push((CLUSTER_ATTRIBUTE.to_owned(), cluster.as_str().into()));
        let mut labels = LabelSetBuilder::from_labels(&labels);
        labels.set(CLUSTER_LABEL, cluster);
        (labels.build(), resource)
    }
}

/// The host's file system, which inside a container is mounted somewhere else.
#[derive(Clone, Debug)]
pub struct Root(pub PathBuf);

/// Files of /proc and /sys are small; what is larger is not one of those that are read here.
const FILE_BYTES_MAX: usize = 16 << 20;

impl Root {
    pub fn path(&self, relative: &str) -> PathBuf {
        self.0.join(relative.trim_start_matches('/'))
    }

    /// `None` where it is missing or unreadable: a kernel without a feature has no file for it.
    pub fn text(&self, relative: &str) -> Option<String> {
        use std::io::{ErrorKind, Read};
        let mut file = fs::File::open(self.path(relative)).ok()?;
        // Hundreds of files are read at every collection. Asking for their length first would double the calls, and
        // the kernel does not know it.
        let (mut text, mut piece) = (vec![], [0; 8 << 10]);
        while text.len() < FILE_BYTES_MAX {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => text.extend_from_slice(&piece[..read]),
                Err(wrong) if wrong.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Some(
            String::from_utf8(text)
                .unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned()),
        )
    }

    pub fn number(&self, relative: &str) -> Option<f64> {
        self.text(relative)?.trim().parse().ok()
    }

    /// The word alone on a file's first line.
    pub fn word(&self, relative: &str) -> Option<String> {
        Some(self.text(relative)?.lines().next()?.trim().to_owned())
    }

    /// Names in a directory, sorted.
    pub fn names(&self, relative: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(relative)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Network counters belong to a network namespace: that of the host's first process, not of this one.
    pub fn net(&self, file: &str) -> Option<String> {
        self.text(&format!("proc/1/net/{file}")).or_else(|| self.text(&format!("proc/net/{file}")))
    }
}
