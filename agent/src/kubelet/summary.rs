//! `/stats/summary`: what containers, volumes and images take on disk. CPU, memory and network are read elsewhere, more
//! often and without the kubelet.

use crate::samples::Samples;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Summary {
    node: Node,
    pods: Vec<Pod>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Node {
    fs: Option<Space>,
    runtime: Runtime,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Runtime {
    image_fs: Option<Space>,
    container_fs: Option<Space>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Pod {
    pod_ref: PodRef,
    containers: Vec<Container>,
    #[serde(rename = "ephemeral-storage")]
    ephemeral_storage: Option<Space>,
    volume: Vec<Volume>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodRef {
    name: String,
    namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    rootfs: Option<Space>,
    logs: Option<Space>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Volume {
    name: String,
    #[serde(flatten)]
    space: Space,
}

/// Bytes and inodes. Absent is unknown.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Space {
    capacity_bytes: Option<f64>,
    available_bytes: Option<f64>,
    used_bytes: Option<f64>,
    inodes: Option<f64>,
    inodes_free: Option<f64>,
    inodes_used: Option<f64>,
}

pub fn parse(body: &[u8]) -> Result<Summary, serde_json::Error> {
    serde_json::from_slice(body)
}

pub fn tell(summary: &Summary, out: &mut Samples) {
    for (name, space) in [
        ("nodefs", &summary.node.fs),
        ("imagefs", &summary.node.runtime.image_fs),
        ("containerfs", &summary.node.runtime.container_fs),
    ] {
        let Some(space) = space else { continue };
        of_space("binnacle_kubelet_filesystem", space, &[("filesystem", name)], out);
    }
    for pod in &summary.pods {
        let of_pod = [("namespace", pod.pod_ref.namespace.as_str()), ("pod", &pod.pod_ref.name)];
        for container in &pod.containers {
            let mut labels = of_pod.to_vec();
            labels.push(("container", &container.name));
            of_container(container, &labels, out);
        }
        if let Some(space) = &pod.ephemeral_storage {
            of_space("binnacle_pod_ephemeral_storage", space, &of_pod, out);
        }
        for volume in &pod.volume {
            let mut labels = of_pod.to_vec();
            labels.push(("volume", &volume.name));
            of_space("binnacle_pod_volume", &volume.space, &labels, out);
        }
    }
}

/// cAdvisor counts the writable layer and the log files of a container together.
fn of_container(container: &Container, labels: &[(&str, &str)], out: &mut Samples) {
    let parts = [&container.rootfs, &container.logs];
    let used = |of: fn(&Space) -> Option<f64>| {
        let found: Vec<f64> = parts.iter().filter_map(|part| of(part.as_ref()?)).collect();
        (!found.is_empty()).then(|| found.iter().sum::<f64>())
    };
    if let Some(bytes) = used(|space| space.used_bytes) {
        let help = "Number of bytes that are consumed by the container on this filesystem.";
        out.gauge("container_fs_usage_bytes", help, labels, bytes);
    }
    if let Some(bytes) = container.rootfs.as_ref().and_then(|space| space.capacity_bytes) {
        let help = "Number of bytes that can be consumed by the container on this filesystem.";
        out.gauge("container_fs_limit_bytes", help, labels, bytes);
    }
    for (part, space) in [("rootfs", &container.rootfs), ("logs", &container.logs)] {
        if let Some(inodes) = space.as_ref().and_then(|space| space.inodes_used) {
            let mut labels = labels.to_vec();
            labels.push(("part", part));
            let help = "Inodes that a container uses.";
            out.gauge("binnacle_container_fs_inodes_used", help, &labels, inodes);
        }
    }
}

fn of_space(prefix: &str, space: &Space, labels: &[(&str, &str)], out: &mut Samples) {
    for (name, help, value) in [
        ("capacity_bytes", "Size of the file system, in bytes.", space.capacity_bytes),
        ("available_bytes", "Free space of the file system, in bytes.", space.available_bytes),
        ("used_bytes", "What is used of it, in bytes.", space.used_bytes),
        ("inodes", "Inodes of the file system.", space.inodes),
        ("inodes_free", "Free inodes of the file system.", space.inodes_free),
        ("inodes_used", "Inodes used of it.", space.inodes_used),
    ] {
        if let Some(value) = value {
            out.gauge(&format!("{prefix}_{name}"), help, labels, value);
        }
    }
}
