//! Objects of the cluster under kube-state-metrics' names, and their changes.
//!
//! Each agent tells of its node's pods, which it has from the kubelet; what belongs to no node is watched and told by one
//! agent of all, the holder of a lease.

mod allowed;
mod pod;
pub mod quantity;

pub(crate) use allowed::named;
pub use allowed::{Allowed, Metadata};
pub use pod::tell;

use crate::pods::Pods;
use crate::samples::Samples;

/// This node's pods.
pub fn collect(node: &str, pods: &Pods, metadata: &Metadata, out: &mut Samples) {
    out.of_kube_state(node);
    let pods = pods.all();
    let mut told = pods.iter().filter(|pod| !pod.status.phase.is_empty()).peekable();
    if told.peek().is_some() {
        out.up();
    }
    for pod in told {
        tell(pod, metadata, out);
    }
}

/// `app.kubernetes.io/name` → `app_kubernetes_io_name`, as Prometheus' discovery writes them.
pub fn label_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
