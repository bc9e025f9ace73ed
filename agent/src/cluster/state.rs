//! Objects of the cluster under kube-state-metrics' names (source: kubernetes/kube-state-metrics, docs/metrics).

mod jobs;

use crate::objects::{self, Metadata, quantity};
use crate::pods::{Pod, time_ns};
use crate::samples::Samples;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A number of an object: the metric behind the kind's prefix, where it stands, and whether its absence is a zero.
type Field = (&'static str, &'static str, bool);

/// A kind: the metrics' prefix, the label that names the object, its numbers.
struct Kind {
    kind: &'static str,
    /// As flags and paths name it.
    plural: &'static str,
    prefix: &'static str,
    label: &'static str,
    fields: &'static [Field],
}

const KINDS: &[Kind] = &[
    Kind {
        kind: "Deployment",
        plural: "deployments",
        prefix: "kube_deployment",
        label: "deployment",
        fields: &[
            ("spec_replicas", "/spec/replicas", false),
            ("spec_paused", "/spec/paused", true),
            ("status_replicas", "/status/replicas", true),
            ("status_replicas_ready", "/status/readyReplicas", true),
            ("status_replicas_available", "/status/availableReplicas", true),
            ("status_replicas_unavailable", "/status/unavailableReplicas", true),
            ("status_replicas_updated", "/status/updatedReplicas", true),
            ("status_terminating_replicas", "/status/terminatingReplicas", false),
            ("status_observed_generation", "/status/observedGeneration", true),
            ("metadata_generation", "/metadata/generation", false),
        ],
    },
    Kind {
        kind: "ReplicaSet",
        plural: "replicasets",
        prefix: "kube_replicaset",
        label: "replicaset",
        fields: &[
            ("spec_replicas", "/spec/replicas", false),
            ("status_replicas", "/status/replicas", true),
            ("status_fully_labeled_replicas", "/status/fullyLabeledReplicas", true),
            ("status_ready_replicas", "/status/readyReplicas", true),
            ("status_terminating_replicas", "/status/terminatingReplicas", false),
            ("status_observed_generation", "/status/observedGeneration", true),
            ("metadata_generation", "/metadata/generation", false),
        ],
    },
    Kind {
        kind: "StatefulSet",
        plural: "statefulsets",
        prefix: "kube_statefulset",
        label: "statefulset",
        fields: &[
            ("replicas", "/spec/replicas", false),
            ("ordinals_start", "/spec/ordinals/start", false),
            ("status_replicas", "/status/replicas", true),
            ("status_replicas_ready", "/status/readyReplicas", true),
            ("status_replicas_available", "/status/availableReplicas", true),
            ("status_replicas_current", "/status/currentReplicas", true),
            ("status_replicas_updated", "/status/updatedReplicas", true),
            ("status_observed_generation", "/status/observedGeneration", false),
            ("metadata_generation", "/metadata/generation", false),
        ],
    },
    Kind {
        kind: "DaemonSet",
        plural: "daemonsets",
        prefix: "kube_daemonset",
        label: "daemonset",
        fields: &[
            ("status_desired_number_scheduled", "/status/desiredNumberScheduled", true),
            ("status_current_number_scheduled", "/status/currentNumberScheduled", true),
            ("status_number_misscheduled", "/status/numberMisscheduled", true),
            ("status_number_ready", "/status/numberReady", true),
            ("status_number_available", "/status/numberAvailable", true),
            ("status_number_unavailable", "/status/numberUnavailable", true),
            ("status_updated_number_scheduled", "/status/updatedNumberScheduled", true),
            ("status_observed_generation", "/status/observedGeneration", true),
            ("metadata_generation", "/metadata/generation", false),
        ],
    },
    Kind {
        kind: "Job",
        plural: "jobs",
        prefix: "kube_job",
        label: "job_name",
        fields: &[
            ("spec_parallelism", "/spec/parallelism", false),
            ("spec_completions", "/spec/completions", false),
            ("spec_active_deadline_seconds", "/spec/activeDeadlineSeconds", false),
            ("status_active", "/status/active", true),
            ("status_ready", "/status/ready", true),
            ("status_succeeded", "/status/succeeded", true),
            ("status_suspended", "/spec/suspend", true),
        ],
    },
    Kind {
        kind: "CronJob",
        plural: "cronjobs",
        prefix: "kube_cronjob",
        label: "cronjob",
        fields: &[
            ("spec_suspend", "/spec/suspend", true),
            ("spec_starting_deadline_seconds", "/spec/startingDeadlineSeconds", false),
            ("spec_successful_job_history_limit", "/spec/successfulJobsHistoryLimit", false),
            ("spec_failed_job_history_limit", "/spec/failedJobsHistoryLimit", false),
        ],
    },
    Kind {
        kind: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
        prefix: "kube_horizontalpodautoscaler",
        label: "horizontalpodautoscaler",
        fields: &[
            ("spec_min_replicas", "/spec/minReplicas", false),
            ("spec_max_replicas", "/spec/maxReplicas", false),
            ("status_current_replicas", "/status/currentReplicas", true),
            ("status_desired_replicas", "/status/desiredReplicas", true),
            // The API server counts none of them; kube-state-metrics tells 0.
            ("metadata_generation", "/metadata/generation", true),
        ],
    },
    Kind {
        kind: "PodDisruptionBudget",
        plural: "poddisruptionbudgets",
        prefix: "kube_poddisruptionbudget",
        label: "poddisruptionbudget",
        fields: &[
            ("status_current_healthy", "/status/currentHealthy", true),
            ("status_desired_healthy", "/status/desiredHealthy", true),
            ("status_pod_disruptions_allowed", "/status/disruptionsAllowed", true),
            ("status_expected_pods", "/status/expectedPods", true),
            ("status_observed_generation", "/status/observedGeneration", true),
        ],
    },
    Kind {
        kind: "ResourceQuota",
        plural: "resourcequotas",
        prefix: "kube_resourcequota",
        label: "resourcequota",
        fields: &[],
    },
    Kind {
        kind: "Node",
        plural: "nodes",
        prefix: "kube_node",
        label: "node",
        fields: &[("spec_unschedulable", "/spec/unschedulable", true)],
    },
    Kind {
        kind: "Namespace",
        plural: "namespaces",
        prefix: "kube_namespace",
        label: "namespace",
        fields: &[],
    },
    Kind {
        kind: "PersistentVolumeClaim",
        plural: "persistentvolumeclaims",
        prefix: "kube_persistentvolumeclaim",
        label: "persistentvolumeclaim",
        fields: &[],
    },
    Kind {
        kind: "PersistentVolume",
        plural: "persistentvolumes",
        prefix: "kube_persistentvolume",
        label: "persistentvolume",
        fields: &[],
    },
    Kind { kind: "Service", plural: "services", prefix: "kube_service", label: "service", fields: &[] },
    // Of both the metadata alone are known, and the type of a secret is none of them.
    Kind {
        kind: "ConfigMap",
        plural: "configmaps",
        prefix: "kube_configmap",
        label: "configmap",
        fields: &[],
    },
    Kind { kind: "Secret", plural: "secrets", prefix: "kube_secret", label: "secret", fields: &[] },
];

/// An object's own labels, and where its series go.
struct Of<'o, 's> {
    prefix: &'static str,
    labels: Vec<(&'o str, &'o str)>,
    out: &'s mut Samples,
}

impl Of<'_, '_> {
    fn gauge(&mut self, name: &str, more: &[(&str, &str)], value: f64) {
        let mut labels = self.labels.clone();
        labels.extend_from_slice(more);
        // The one metric of quotas is called as their kind alone.
        let name = format!("{}_{name}", self.prefix);
        let name = name.trim_end_matches('_');
        let help = format!("kube-state-metrics: {}.", name.replace('_', " "));
        self.out.gauge(name, &help, &labels, value);
    }

    fn one_of(&mut self, name: &str, label: &str, all: &[&str], is: &str) {
        for value in all {
            self.gauge(name, &[(label, value)], f64::from(u8::from(*value == is)));
        }
    }
}

pub fn tell(kind: &str, object: &Value, told: &Metadata, out: &mut Samples) {
    // One that no node has yet: those of a node are told by its agent.
    if kind == "Pod" {
        if let Ok(pod) = Pod::deserialize(object) {
            objects::tell(&pod, told, out);
        }
        return;
    }
    let Some(known) = KINDS.iter().find(|known| known.kind == kind) else { return };
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    let mut labels = vec![(known.label, text("/metadata/name"))];
    if !text("/metadata/namespace").is_empty() {
        labels.push(("namespace", text("/metadata/namespace")));
    }
    // Of all kinds but pods theirs alone are told with it.
    if kind == "Service" {
        labels.push(("uid", text("/metadata/uid")));
    }
    let of = &mut Of { prefix: known.prefix, labels, out };
    for (name, path, is_zero_without) in known.fields {
        let value = match object.pointer(path) {
            Some(Value::Bool(truth)) => Some(f64::from(u8::from(*truth))),
            Some(number) => number.as_f64(),
            None => is_zero_without.then_some(0.0),
        };
        if let Some(value) = value {
            of.gauge(name, &[], value);
        }
    }
    for (name, path) in
        [("created", "/metadata/creationTimestamp"), ("deletion_timestamp", "/metadata/deletionTimestamp")]
    {
        if let Some(ns) = time_ns(object.pointer(path).and_then(Value::as_str)) {
            of.gauge(name, &[], ns.div_euclid(1_000_000_000) as f64);
        }
    }
    own_words(object, known.plural, told, of);
    owner(object, of);
    match kind {
        "Node" => node(object, of),
        "Deployment" => {
            conditions(object, of);
            strategy(object, of);
        }
        "HorizontalPodAutoscaler" => autoscaler(object, of),
        "Job" => jobs::job(object, of),
        "CronJob" => jobs::cron_job(object, of),
        "StatefulSet" => {
            for (name, path) in [
                ("status_current_revision", "/status/currentRevision"),
                ("status_update_revision", "/status/updateRevision"),
            ] {
                of.gauge(name, &[("revision", text(path))], 1.0);
            }
            let policy = "/spec/persistentVolumeClaimRetentionPolicy";
            if let Some(policy) = object.pointer(policy) {
                let text = |name: &str| policy[name].as_str().unwrap_or("");
                let when = [("when_deleted", text("whenDeleted")), ("when_scaled", text("whenScaled"))];
                of.gauge("persistentvolumeclaim_retention_policy", &when, 1.0);
            }
        }
        "ResourceQuota" => quota(object, of),
        "Namespace" => of.one_of("status_phase", "phase", &["Active", "Terminating"], text("/status/phase")),
        "PersistentVolumeClaim" => claim(object, of),
        "PersistentVolume" => volume(object, of),
        "Service" => service(object, of),
        "ConfigMap" | "Secret" => configuration(object, of),
        _ => {}
    }
}

fn own_words(object: &Value, plural: &str, told: &Metadata, of: &mut Of<'_, '_>) {
    for (word, allowed) in [("label", &told.labels), ("annotation", &told.annotations)] {
        let all = object.pointer(&format!("/metadata/{word}s")).and_then(Value::as_object);
        let Some(named) = allowed.of(plural, word, texts(all)) else { continue };
        let labels: Vec<(&str, &str)> = named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        of.gauge(&format!("{word}s"), &labels, 1.0);
    }
}

fn texts(all: Option<&Map<String, Value>>) -> impl Iterator<Item = (&str, &str)> {
    all.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
}

fn owner(object: &Value, of: &mut Of<'_, '_>) {
    if !matches!(of.prefix, "kube_replicaset" | "kube_job" | "kube_deployment" | "kube_secret") {
        return;
    }
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    if owners.is_none_or(|owners| owners.is_empty()) {
        // Rules tell by it what stands alone: a label without a value is none.
        of.gauge("owner", &[], 1.0);
    }
    for owner in owners.into_iter().flatten() {
        let text = |name: &str| owner[name].as_str().unwrap_or("");
        let is_controller = if owner["controller"].as_bool() == Some(true) { "true" } else { "false" };
        let labels = [
            ("owner_kind", text("kind")),
            ("owner_name", text("name")),
            ("owner_is_controller", is_controller),
        ];
        of.gauge("owner", &labels, 1.0);
    }
}

fn conditions(object: &Value, of: &mut Of<'_, '_>) {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    for condition in all.into_iter().flatten() {
        let text = |name: &str| condition[name].as_str().unwrap_or("");
        let is = text("status").to_lowercase();
        for status in ["true", "false", "unknown"] {
            let mut labels = vec![("condition", text("type")), ("status", status)];
            if of.prefix == "kube_deployment" {
                labels.push(("reason", text("reason")));
            }
            of.gauge("status_condition", &labels, f64::from(u8::from(is == status)));
        }
    }
}

/// How many more or fewer there may be while a rollout goes on; a share of the replicas is rounded as the controller does it.
fn strategy(object: &Value, of: &mut Of<'_, '_>) {
    let replicas = object.pointer("/spec/replicas").and_then(Value::as_f64).unwrap_or(1.0);
    for (name, field, is_rounded_up) in
        [("max_unavailable", "maxUnavailable", false), ("max_surge", "maxSurge", true)]
    {
        let number = match object.pointer(&format!("/spec/strategy/rollingUpdate/{field}")) {
            Some(Value::String(share)) => {
                let percent = share.strip_suffix('%').and_then(|percent| percent.parse::<f64>().ok());
                let exact = percent.map(|percent| replicas * percent / 100.0);
                exact.map(|exact| if is_rounded_up { exact.ceil() } else { exact.floor() })
            }
            Some(number) => number.as_f64(),
            None => None,
        };
        if let Some(number) = number {
            of.gauge(&format!("spec_strategy_rollingupdate_{name}"), &[], number);
        }
    }
}

fn node(object: &Value, of: &mut Of<'_, '_>) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    let addresses = || object.pointer("/status/addresses").and_then(Value::as_array).into_iter().flatten();
    let internal = addresses().find(|address| address["type"] == "InternalIP");
    let info = [
        ("kernel_version", text("/status/nodeInfo/kernelVersion")),
        ("os_image", text("/status/nodeInfo/osImage")),
        ("container_runtime_version", text("/status/nodeInfo/containerRuntimeVersion")),
        ("kubelet_version", text("/status/nodeInfo/kubeletVersion")),
        ("kubeproxy_version", "deprecated"),
        ("provider_id", text("/spec/providerID")),
        ("pod_cidr", text("/spec/podCIDR")),
        ("system_uuid", text("/status/nodeInfo/systemUUID")),
        ("internal_ip", internal.and_then(|address| address["address"].as_str()).unwrap_or("")),
    ];
    of.gauge("info", &info, 1.0);
    for address in addresses() {
        let text = |name: &str| address[name].as_str().unwrap_or("");
        of.gauge("status_addresses", &[("type", text("type")), ("address", text("address"))], 1.0);
    }
    for (name, path) in
        [("status_capacity", "/status/capacity"), ("status_allocatable", "/status/allocatable")]
    {
        for (resource, written) in object.pointer(path).and_then(Value::as_object).into_iter().flatten() {
            let Some(value) = written.as_str().and_then(quantity::parse) else { continue };
            let (resource, unit) = quantity::resource(resource);
            of.gauge(name, &[("resource", &resource), ("unit", unit)], value);
        }
    }
    conditions(object, of);
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    for name in labels.into_iter().flatten().map(|(name, _)| name) {
        if let Some(role) = name.strip_prefix("node-role.kubernetes.io/") {
            of.gauge("role", &[("role", role)], 1.0);
        }
    }
    for taint in object.pointer("/spec/taints").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| taint[name].as_str().unwrap_or("");
        let labels = [("key", text("key")), ("value", text("value")), ("effect", text("effect"))];
        of.gauge("spec_taint", &labels, 1.0);
    }
}

fn quota(object: &Value, of: &mut Of<'_, '_>) {
    for (kind, path) in [("hard", "/status/hard"), ("used", "/status/used")] {
        let all = object.pointer(path).and_then(Value::as_object);
        for (resource, value) in all.into_iter().flatten() {
            if let Some(value) = value.as_str().and_then(quantity::parse) {
                of.gauge("", &[("resource", resource), ("type", kind)], value);
            }
        }
    }
}

/// What it scales, and of each metric what it shall reach and has reached.
fn autoscaler(object: &Value, of: &mut Of<'_, '_>) {
    conditions(object, of);
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    let info = [
        ("scaletargetref_kind", text("/spec/scaleTargetRef/kind")),
        ("scaletargetref_name", text("/spec/scaleTargetRef/name")),
        ("scaletargetref_api_version", text("/spec/scaleTargetRef/apiVersion")),
    ];
    of.gauge("info", &info, 1.0);
    for (name, path, side) in [
        ("spec_target_metric", "/spec/metrics", "target"),
        ("status_target_metric", "/status/currentMetrics", "current"),
    ] {
        for metric in object.pointer(path).and_then(Value::as_array).into_iter().flatten() {
            const SOURCES: [&str; 5] = ["resource", "containerResource", "pods", "object", "external"];
            let Some(source) = SOURCES.iter().find_map(|source| metric.get(source)) else { continue };
            let named = source.get("name").or_else(|| source.pointer("/metric/name"));
            let named = named.and_then(Value::as_str).unwrap_or("");
            for (kind, field) in
                [("value", "value"), ("average", "averageValue"), ("utilization", "averageUtilization")]
            {
                let number = match &source[side][field] {
                    Value::String(quantity) => quantity::parse(quantity),
                    other => other.as_f64(),
                };
                if let Some(number) = number {
                    of.gauge(name, &[("metric_name", named), ("metric_target_type", kind)], number);
                }
            }
        }
    }
}

fn claim(object: &Value, of: &mut Of<'_, '_>) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    let info = [
        ("storageclass", text("/spec/storageClassName")),
        ("volumename", text("/spec/volumeName")),
        ("volumemode", text("/spec/volumeMode")),
    ];
    of.gauge("info", &info, 1.0);
    of.one_of("status_phase", "phase", &["Lost", "Bound", "Pending"], text("/status/phase"));
    if let Some(bytes) = quantity::parse(text("/spec/resources/requests/storage")) {
        of.gauge("resource_requests_storage_bytes", &[], bytes);
    }
    access_modes(object, of);
}

fn access_modes(object: &Value, of: &mut Of<'_, '_>) {
    for mode in object.pointer("/spec/accessModes").and_then(Value::as_array).into_iter().flatten() {
        of.gauge("access_mode", &[("access_mode", mode.as_str().unwrap_or(""))], 1.0);
    }
}

fn volume(object: &Value, of: &mut Of<'_, '_>) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    let info = [
        ("storageclass", text("/spec/storageClassName")),
        ("csi_driver", text("/spec/csi/driver")),
        ("csi_volume_handle", text("/spec/csi/volumeHandle")),
        ("local_path", text("/spec/local/path")),
        ("local_fs", text("/spec/local/fsType")),
        ("host_path", text("/spec/hostPath/path")),
        ("host_path_type", text("/spec/hostPath/type")),
        ("nfs_server", text("/spec/nfs/server")),
        ("nfs_path", text("/spec/nfs/path")),
        ("reclaim_policy", text("/spec/persistentVolumeReclaimPolicy")),
    ];
    of.gauge("info", &info, 1.0);
    access_modes(object, of);
    let mode = if text("/spec/volumeMode").is_empty() { "Filesystem" } else { text("/spec/volumeMode") };
    of.gauge("volume_mode", &[("volumemode", mode)], 1.0);
    let phases = ["Pending", "Available", "Bound", "Released", "Failed"];
    of.one_of("status_phase", "phase", &phases, text("/status/phase"));
    if let Some(bytes) = quantity::parse(text("/spec/capacity/storage")) {
        of.gauge("capacity_bytes", &[], bytes);
    }
    let (name, namespace) = (text("/spec/claimRef/name"), text("/spec/claimRef/namespace"));
    if !name.is_empty() {
        of.gauge("claim_ref", &[("name", name), ("claim_namespace", namespace)], 1.0);
    }
}

/// What a service selects pods by, under OpenCost's name: whose pods they are cannot be told otherwise.
fn selector(object: &Value, of: &mut Of<'_, '_>) {
    let Some(selector) = object.pointer("/spec/selector").and_then(Value::as_object) else { return };
    let names = objects::named("label", texts(Some(selector)));
    let mut labels = of.labels.clone();
    labels.retain(|(name, _)| *name != "uid");
    labels.extend(names.iter().map(|(name, value)| (name.as_str(), *value)));
    of.out.gauge("service_selector_labels", "service selector labels", &labels, 1.0);
}

fn service(object: &Value, of: &mut Of<'_, '_>) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    let info = [
        ("cluster_ip", text("/spec/clusterIP")),
        ("external_name", text("/spec/externalName")),
        ("load_balancer_ip", text("/spec/loadBalancerIP")),
        ("external_traffic_policy", text("/spec/externalTrafficPolicy")),
    ];
    of.gauge("info", &info, 1.0);
    let kind = if text("/spec/type").is_empty() { "ClusterIP" } else { text("/spec/type") };
    of.gauge("spec_type", &[("type", kind)], 1.0);
    selector(object, of);
    for ip in object.pointer("/spec/externalIPs").and_then(Value::as_array).into_iter().flatten() {
        of.gauge("spec_external_ip", &[("external_ip", ip.as_str().unwrap_or(""))], 1.0);
    }
    let all = object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    for ingress in all.into_iter().flatten() {
        let text = |name: &str| ingress[name].as_str().unwrap_or("");
        of.gauge("status_load_balancer_ingress", &[("ip", text("ip")), ("hostname", text("hostname"))], 1.0);
    }
}

/// That it is there, and which version of it.
fn configuration(object: &Value, of: &mut Of<'_, '_>) {
    of.gauge("info", &[], 1.0);
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    if let Some(version) = version.and_then(|version| version.parse::<u64>().ok()) {
        of.gauge("metadata_resource_version", &[], version as f64);
    }
}
