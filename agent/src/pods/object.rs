//! A pod as the kubelet and the API server write it; what is not used here is not read.

use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Default, Deserialize)]
pub struct PodList {
    #[serde(default, deserialize_with = "none_is_empty")]
    pub items: Vec<Pod>,
}

/// A kubelet that has no pods writes `null` (seen on 1.36).
fn none_is_empty<'de, D: serde::Deserializer<'de>>(items: D) -> Result<Vec<Pod>, D::Error> {
    Ok(Option::deserialize(items)?.unwrap_or_default())
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pod {
    pub metadata: Metadata,
    pub spec: PodSpec,
    pub status: PodStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub creation_timestamp: Option<String>,
    pub deletion_timestamp: Option<String>,
    pub owner_references: Vec<OwnerReference>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct OwnerReference {
    pub kind: String,
    pub name: String,
    pub controller: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    pub node_name: String,
    pub host_network: bool,
    pub restart_policy: String,
    pub service_account_name: String,
    pub priority_class_name: String,
    pub runtime_class_name: String,
    pub scheduler_name: String,
    pub containers: Vec<ContainerSpec>,
    pub init_containers: Vec<ContainerSpec>,
    pub volumes: Vec<Volume>,
    /// Quantities by resource.
    pub overhead: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub resource_claims: Vec<ResourceClaim>,
}

/// Of a taint that does not keep it off, or not at once.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Toleration {
    pub key: String,
    pub operator: String,
    pub value: String,
    pub effect: String,
    pub toleration_seconds: Option<i64>,
}

/// Of a device, by its own name or by that of what it is made of.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceClaim {
    pub name: String,
    pub resource_claim_name: Option<String>,
    pub resource_claim_template_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerSpec {
    pub name: String,
    pub image: String,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub ports: Vec<ContainerPort>,
    pub resources: Resources,
    /// `Always` makes an init container one that runs beside the others.
    pub restart_policy: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerPort {
    pub name: String,
    pub container_port: u16,
    /// Empty is TCP.
    pub protocol: String,
}

/// Quantities by resource, as written.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Resources {
    pub requests: BTreeMap<String, String>,
    pub limits: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Volume {
    pub name: String,
    pub persistent_volume_claim: Option<Claim>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Claim {
    pub claim_name: String,
    pub read_only: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    pub phase: String,
    pub reason: String,
    pub qos_class: String,
    pub start_time: Option<String>,
    #[serde(rename = "hostIP")]
    pub host_ip: String,
    #[serde(rename = "podIP")]
    pub pod_ip: String,
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<PodIp>,
    pub conditions: Vec<Condition>,
    pub container_statuses: Vec<ContainerStatus>,
    pub init_container_statuses: Vec<ContainerStatus>,
    pub ephemeral_container_statuses: Vec<ContainerStatus>,
    /// What claims were made of templates.
    pub resource_claim_statuses: Vec<ResourceClaim>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PodIp {
    pub ip: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub last_transition_time: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStatus {
    pub name: String,
    pub image: String,
    #[serde(rename = "imageID")]
    pub image_id: String,
    /// `containerd://<id>`.
    #[serde(rename = "containerID")]
    pub container_id: String,
    pub ready: bool,
    pub restart_count: u32,
    pub state: State,
    pub last_state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct State {
    pub running: Option<Running>,
    pub waiting: Option<Waiting>,
    pub terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Running {
    pub started_at: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Waiting {
    pub reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Terminated {
    pub exit_code: i32,
    pub reason: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    #[serde(rename = "containerID")]
    pub container_id: String,
}

/// `containerd://8bf6…` → `8bf6…`.
fn bare(id: &str) -> Option<&str> {
    Some(id.rsplit_once("//").map_or(id, |(_, id)| id)).filter(|id| !id.is_empty())
}

impl Terminated {
    pub fn id(&self) -> Option<&str> {
        bare(&self.container_id)
    }
}

impl ContainerStatus {
    pub fn id(&self) -> Option<&str> {
        bare(&self.container_id)
    }
}

/// A static pod's mirror in the API has another uid than its folders and groups; this annotation has theirs.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";

/// The label that a Deployment gives the pods of each of its ReplicaSets.
const TEMPLATE_HASH: &str = "pod-template-hash";

impl Pod {
    /// One of which only the name is known.
    pub fn named(namespace: &str, name: &str, uid: &str) -> Pod {
        let metadata = Metadata {
            name: name.into(),
            namespace: namespace.into(),
            uid: uid.into(),
            ..Metadata::default()
        };
        Pod { metadata, ..Pod::default() }
    }

    /// The uid in the names of folders and groups.
    pub fn folder_uid(&self) -> &str {
        let annotation = |name: &str| self.metadata.annotations.get(name);
        annotation(CONFIG_MIRROR).or_else(|| annotation(CONFIG_HASH)).unwrap_or(&self.metadata.uid)
    }

    /// From a file of the node, and as its kubelet has it: without an owner.
    pub fn is_static(&self) -> bool {
        self.metadata.annotations.contains_key(CONFIG_HASH) && self.metadata.owner_references.is_empty()
    }

    /// What runs it: kind and name, a ReplicaSet's Deployment and a Job's CronJob before it.
    pub fn workload(&self) -> Option<(&'static str, String)> {
        self.owners().pop()
    }

    /// The owner, and behind it its owner as far as its name tells.
    fn owners(&self) -> Vec<(&'static str, String)> {
        let controller = self.metadata.owner_references.iter().find(|owner| owner.controller);
        let Some(owner) = controller.or(self.metadata.owner_references.first()) else { return vec![] };
        let name = owner.name.clone();
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let hash = self.metadata.labels.get(TEMPLATE_HASH);
                let deployment = hash
                    .and_then(|hash| name.strip_suffix(hash.as_str())?.strip_suffix('-'))
                    .map(str::to_owned);
                let mut owners = vec![("ReplicaSet", name)];
                owners.extend(deployment.map(|name| ("Deployment", name)));
                owners
            }
            "Job" => {
                // A CronJob names its jobs by the minute since 1970.
                let cron = name.rsplit_once('-').filter(|(_, minute)| {
                    minute.len() >= 8 && minute.bytes().all(|byte| byte.is_ascii_digit())
                });
                let cron = cron.map(|(cron, _)| cron.to_owned());
                let mut owners = vec![("Job", name)];
                owners.extend(cron.map(|name| ("CronJob", name)));
                owners
            }
            "StatefulSet" => vec![("StatefulSet", name)],
            "DaemonSet" => vec![("DaemonSet", name)],
            "ReplicationController" => vec![("ReplicationController", name)],
            // A static pod is owned by its node: nothing that runs elsewhere too.
            _ => vec![],
        }
    }

    /// `k8s.deployment.name` and the like.
    pub fn owner_attributes(&self) -> Vec<(&'static str, String)> {
        let name = |kind| match kind {
            "ReplicaSet" => "k8s.replicaset.name",
            "Deployment" => "k8s.deployment.name",
            "StatefulSet" => "k8s.statefulset.name",
            "DaemonSet" => "k8s.daemonset.name",
            "CronJob" => "k8s.cronjob.name",
            "ReplicationController" => "k8s.replicationcontroller.name",
            _ => "k8s.job.name",
        };
        self.owners().into_iter().map(|(kind, owner)| (name(kind), owner)).collect()
    }

    /// OpenTelemetry's name of the service that a container is: what the pod says, then its workload, then itself.
    pub fn service_name(&self, container: &str) -> String {
        let said = self.metadata.annotations.get("resource.opentelemetry.io/service.name");
        let said = said.or_else(|| self.metadata.labels.get("app.kubernetes.io/name"));
        said.cloned()
            .or_else(|| self.workload().map(|(_, name)| name))
            .unwrap_or_else(|| container.to_owned())
    }

    /// Of every series of the pod; the workload as OpenTelemetry's attributes are written as labels.
    pub fn metric_labels(&self) -> Vec<(&'static str, String)> {
        let mut labels = vec![
            ("namespace", self.metadata.namespace.clone()),
            ("pod", self.metadata.name.clone()),
            ("k8s_pod_uid", self.metadata.uid.clone()),
        ];
        if let Some((kind, name)) = self.workload() {
            let label = match kind {
                "Deployment" => "k8s_deployment_name",
                "StatefulSet" => "k8s_statefulset_name",
                "DaemonSet" => "k8s_daemonset_name",
                "CronJob" => "k8s_cronjob_name",
                "Job" => "k8s_job_name",
                "ReplicaSet" => "k8s_replicaset_name",
                _ => "k8s_replicationcontroller_name",
            };
            labels.push((label, name));
        }
        labels
    }

    pub fn statuses(&self) -> impl Iterator<Item = &ContainerStatus> {
        let status = &self.status;
        let others = status.init_container_statuses.iter().chain(&status.ephemeral_container_statuses);
        status.container_statuses.iter().chain(others)
    }

    pub fn status_of(&self, container: &str) -> Option<&ContainerStatus> {
        self.statuses().find(|status| status.name == container)
    }

    /// Ids, names and images of the containers that run and of those before them.
    pub fn container_ids(&self) -> Vec<(&str, &str, &str)> {
        let mut ids = vec![];
        for status in self.statuses() {
            let ended = [&status.state, &status.last_state];
            let ended = ended.into_iter().filter_map(|state| state.terminated.as_ref()?.id());
            for id in status.id().into_iter().chain(ended) {
                ids.push((id, status.name.as_str(), status.image.as_str()));
            }
        }
        ids
    }
}

impl Pod {
    /// Bytes that a container may have, as it was asked for.
    pub fn memory_limit(&self, container: &str) -> Option<f64> {
        crate::objects::quantity::parse(self.spec_of(container)?.resources.limits.get("memory")?)
    }

    /// What was asked for.
    pub fn spec_of(&self, container: &str) -> Option<&ContainerSpec> {
        let mut specs = self.spec.containers.iter().chain(&self.spec.init_containers);
        specs.find(|spec| spec.name == container)
    }
}

/// Nanoseconds since 1970 of an API time.
pub fn time_ns(text: Option<&str>) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(text?).ok()?.timestamp_nanos_opt()
}
