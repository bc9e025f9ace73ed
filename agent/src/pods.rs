//! The pods of this node: who they are, so that metrics and log lines name them alike.
//!
//! They come from the kubelet where it answers. What it does not say, names in /var/log tell: whose a log folder is and
//! which container an id belongs to. A pod that is gone is remembered for some minutes: its last lines and counters come
//! after it.

mod object;

pub use object::{ContainerSpec, ContainerStatus, OwnerReference, Pod, PodList, time_ns};

use crate::host::Root;
use model::Attributes;
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a pod is known that the kubelet no longer names.
const REMEMBER: Duration = Duration::from_secs(300);

/// A kubelet that has just started has no pods until the API server has named them: that it has none is believed when it
/// says so for this time.
const EMPTY_FOR: Duration = Duration::from_secs(30);

/// Pods and containers by what files and groups call them. Clones share what they know.
#[derive(Clone, Default)]
pub struct Pods(Arc<RwLock<Known>>, Arc<Notify>);

#[derive(Default)]
struct Known {
    pods: HashMap<String, Seen>,
    containers: HashMap<String, Arc<Container>>,
    /// Uids of pods with a network of their own.
    addresses: HashMap<IpAddr, String>,
    /// Whether the kubelet has named its pods.
    is_told: bool,
    /// Since when it names none of those that there were.
    empty: Option<Instant>,
    /// Grows with each change of any pod.
    version: u64,
}

struct Seen {
    pod: Arc<Pod>,
    /// Not named any more since then.
    gone: Option<Instant>,
}

/// A container that ran or runs.
#[derive(Debug)]
pub struct Container {
    pub pod: Arc<Pod>,
    pub name: String,
    pub image: String,
}

impl Pods {
    /// All pods that there are now.
    pub fn replace(&self, pods: Vec<Pod>) {
        self.replace_at(pods, Instant::now());
    }

    fn replace_at(&self, pods: Vec<Pod>, now: Instant) {
        let mut known = self.0.write();
        let has_lost_all = pods.is_empty() && known.pods.values().any(|seen| seen.gone.is_none());
        if !has_lost_all {
            known.empty = None;
        } else if now.duration_since(*known.empty.get_or_insert(now)) < EMPTY_FOR {
            return;
        }
        known.is_told = true;
        for seen in known.pods.values_mut() {
            seen.gone.get_or_insert(now);
        }
        for pod in pods {
            let uid = pod.folder_uid().to_owned();
            let same = known.pods.get_mut(&uid).filter(|seen| *seen.pod == pod);
            match same {
                Some(seen) => seen.gone = None,
                None => {
                    known.version += 1;
                    known.pods.insert(uid, Seen { pod: Arc::new(pod), gone: None });
                }
            }
        }
        known.pods.retain(|_, seen| seen.gone.is_none_or(|since| since.elapsed() < REMEMBER));
        let mut containers = HashMap::new();
        for seen in known.pods.values() {
            for (id, name, image) in seen.pod.container_ids() {
                containers.insert(
                    id.to_owned(),
                    Arc::new(Container {
                        pod: seen.pod.clone(),
                        name: name.to_owned(),
                        image: image.to_owned(),
                    }),
                );
            }
        }
        known.containers = containers;
        known.addresses = addresses(&known.pods);
    }

    /// From the names of log folders, while the kubelet has said nothing.
    pub fn look(&self, root: &Root) {
        if self.0.read().is_told {
            return;
        }
        let mut found: BTreeMap<String, Arc<Pod>> = BTreeMap::new();
        for name in root.names("var/log/pods") {
            let mut parts = name.splitn(3, '_');
            if let (Some(namespace), Some(pod), Some(uid)) = (parts.next(), parts.next(), parts.next()) {
                found.insert(uid.to_owned(), Arc::new(Pod::named(namespace, pod, uid)));
            }
        }
        let containers = linked_containers(root, &found);
        let mut known = self.0.write();
        known.pods = found.into_iter().map(|(uid, pod)| (uid, Seen { pod, gone: None })).collect();
        known.containers = containers;
    }

    /// By the uid in paths, which for a static pod is the hash of its file.
    pub fn by_uid(&self, uid: &str) -> Option<Arc<Pod>> {
        Some(self.0.read().pods.get(uid)?.pod.clone())
    }

    /// By an address of its own.
    pub fn by_ip(&self, ip: IpAddr) -> Option<Arc<Pod>> {
        let known = self.0.read();
        let uid = known.addresses.get(&ip)?;
        Some(known.pods.get(uid)?.pod.clone())
    }

    /// By its name, of which a pod that is there comes before one that is only remembered.
    pub fn by_name(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let known = self.0.read();
        let is_it = |seen: &&Seen| seen.pod.metadata.name == name && seen.pod.metadata.namespace == namespace;
        let found = known.pods.values().filter(is_it).max_by_key(|seen| (seen.gone.is_none(), seen.gone));
        Some(found?.pod.clone())
    }

    /// Whether the kubelet has named it: what its annotations want is known then.
    pub fn knows(&self, uid: &str) -> bool {
        let known = self.0.read();
        known.is_told && known.pods.contains_key(uid)
    }

    /// Somebody met a pod that is not known: the kubelet is to be asked at once.
    pub fn ask(&self) {
        self.1.notify_one();
    }

    pub async fn asked(&self) {
        self.1.notified().await;
    }

    pub fn container(&self, id: &str) -> Option<Arc<Container>> {
        self.0.read().containers.get(id).cloned()
    }

    /// Those that the kubelet names now.
    pub fn all(&self) -> Vec<Arc<Pod>> {
        let known = self.0.read();
        let mut pods: Vec<Arc<Pod>> =
            known.pods.values().filter(|seen| seen.gone.is_none()).map(|seen| seen.pod.clone()).collect();
        pods.sort_by(|a, b| a.folder_uid().cmp(b.folder_uid()));
        pods
    }

    pub fn version(&self) -> u64 {
        self.0.read().version
    }
}

/// An address is given anew when a pod has gone or ended: who runs comes before who is only remembered.
fn addresses(pods: &HashMap<String, Seen>) -> HashMap<IpAddr, String> {
    let mut all: Vec<(&String, &Seen)> =
        pods.iter().filter(|(_, seen)| !seen.pod.spec.host_network).collect();
    all.sort_by_key(|(_, seen)| (seen.gone.is_none(), seen.pod.status.phase == "Running"));
    let mut addresses = HashMap::new();
    for (uid, seen) in all {
        let status = &seen.pod.status;
        let ips = status.pod_ips.iter().map(|ip| ip.ip.as_str()).chain([status.pod_ip.as_str()]);
        addresses.extend(ips.filter_map(|ip| Some((ip.parse().ok()?, uid.clone()))));
    }
    addresses
}

/// `/var/log/containers/<pod>_<namespace>_<container>-<id>.log` are links to the pods' files. The names are cut at 255
/// bytes, so the target says whose it is, and the name only the id where it is whole.
fn linked_containers(root: &Root, pods: &BTreeMap<String, Arc<Pod>>) -> HashMap<String, Arc<Container>> {
    let mut containers = HashMap::new();
    for name in root.names("var/log/containers") {
        let id = name.strip_suffix(".log").and_then(|stem| stem.rsplit_once('-')).map(|(_, id)| id);
        let Some(id) = id.filter(|id| id.len() == 64) else { continue };
        let Ok(target) = std::fs::read_link(root.path(&format!("var/log/containers/{name}"))) else {
            continue;
        };
        let mut parts = target.iter().rev().filter_map(|part| part.to_str());
        let (_, container, folder) = (parts.next(), parts.next(), parts.next());
        let uid = folder.and_then(|folder| folder.rsplit_once('_')).map(|(_, uid)| uid);
        if let (Some(container), Some(pod)) = (container, uid.and_then(|uid| pods.get(uid))) {
            let known = Container { pod: pod.clone(), name: container.to_owned(), image: String::new() };
            containers.insert(id.to_owned(), Arc::new(known));
        }
    }
    containers
}

/// The label by which stateful and daemon sets tell their pods of one template from those of another.
const REVISION: &str = "controller-revision-hash";

/// OpenTelemetry's attributes of a container's telemetry (semantic conventions: resource/k8s, resource/container).
pub fn attributes(pod: &Pod, container: Option<&str>, node: &str) -> Attributes {
    let mut attributes: Attributes = vec![
        ("k8s.node.name".into(), node.into()),
        ("k8s.namespace.name".into(), pod.metadata.namespace.as_str().into()),
        ("k8s.pod.name".into(), pod.metadata.name.as_str().into()),
        ("k8s.pod.uid".into(), pod.metadata.uid.as_str().into()),
    ];
    for (name, value) in pod.owner_attributes() {
        attributes.push((name.to_owned(), value.into()));
    }
    // A replica set's name has its revision; of other workloads the pod alone says it.
    if let Some(revision) = pod.metadata.labels.get(REVISION) {
        attributes.push((format!("k8s.pod.label.{REVISION}"), revision.as_str().into()));
    }
    let Some(container) = container else { return attributes };
    attributes.push(("k8s.container.name".into(), container.into()));
    if let Some(status) = pod.status_of(container) {
        attributes
            .push(("k8s.container.restart_count".into(), model::Value::Int(i64::from(status.restart_count))));
        // A runtime that knows an image by several names tells its digest alone.
        let is_digest = status.image.starts_with("sha256:");
        let spec = pod.spec_of(container).filter(|spec| is_digest && !spec.image.is_empty());
        let (repository, tag) = image_parts(spec.map_or(&status.image, |spec| &spec.image));
        attributes.push(("container.image.name".into(), repository.into()));
        if let Some(tag) = tag {
            attributes.push(("container.image.tags".into(), tag.into()));
        }
        if let Some(id) = status.id() {
            attributes.push(("container.id".into(), id.into()));
        }
    }
    attributes
}

/// `registry:5000/team/shop:1.2@sha256:…` → `registry:5000/team/shop`, `1.2`.
fn image_parts(image: &str) -> (&str, Option<&str>) {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (image, None),
    }
}

#[cfg(test)]
mod tests;
