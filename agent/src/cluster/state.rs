//! Objects of the cluster under kube-state-metrics' names (source: kubernetes/kube-state-metrics, docs/metrics).

mod api_server;
mod jobs;
mod kinds;
mod network;
mod storage;

use crate::objects::{self, Metadata, quantity};
use crate::pods::{Pod, time_ns};
use crate::samples::Samples;
use kinds::KINDS;
use serde::Deserialize;
use serde_json::{Map, Value};

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

    /// In seconds, where there is one.
    fn time(&mut self, name: &str, written: Option<&Value>) {
        if let Some(ns) = time_ns(written.and_then(Value::as_str)) {
            self.gauge(name, &[], ns.div_euclid(1_000_000_000) as f64);
        }
    }

    fn one_of(&mut self, name: &str, label: &str, all: &[&str], is: &str) {
        for value in all {
            self.gauge(name, &[(label, value)], f64::from(u8::from(*value == is)));
        }
    }
}

/// Kinds whose labels and annotations kube-state-metrics does not tell, or in its own way.
const WITHOUT_OWN_WORDS: [&str; 9] = [
    "LimitRange",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "ReplicationController",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
];

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
    if kind == "CertificateSigningRequest" {
        labels.push(("signer_name", text("/spec/signerName")));
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
    // Of leases it tells nothing else.
    if kind == "Lease" {
        return api_server::lease(object, of);
    }
    of.time("created", object.pointer("/metadata/creationTimestamp"));
    of.time("deletion_timestamp", object.pointer("/metadata/deletionTimestamp"));
    if !WITHOUT_OWN_WORDS.contains(&kind) {
        own_words(object, known.plural, told, of);
    }
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
        "Namespace" => {
            of.one_of("status_phase", "phase", &["Active", "Terminating"], text("/status/phase"));
            conditions(object, of);
        }
        "LimitRange" => limits(object, of),
        "PersistentVolumeClaim" => storage::claim(object, of),
        "PersistentVolume" => storage::volume(object, of),
        "StorageClass" => storage::class(object, of),
        "VolumeAttachment" => storage::attachment(object, of),
        "Service" => network::service(object, of),
        "EndpointSlice" => network::endpoint_slice(object, of),
        "Ingress" => network::ingress(object, of),
        "NetworkPolicy" => network::policy(object, of),
        "MutatingAdmissionPolicy" | "ValidatingAdmissionPolicy" => api_server::policy(object, of),
        "MutatingAdmissionPolicyBinding" | "ValidatingAdmissionPolicyBinding" => {
            api_server::policy_binding(object, of);
        }
        "CertificateSigningRequest" => api_server::certificate_request(object, of),
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            api_server::webhooks(object, of);
        }
        "ConfigMap" | "Secret" => {
            of.gauge("info", &[], 1.0);
            version(object, of);
            // Where the server made a table of it, or is too old to keep the contents to itself.
            if kind == "Secret" && !text("/type").is_empty() {
                of.gauge("type", &[("type", text("/type"))], 1.0);
            }
        }
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

fn list<'v>(object: &'v Value, path: &str) -> impl Iterator<Item = &'v Value> {
    object.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

fn texts(all: Option<&Map<String, Value>>) -> impl Iterator<Item = (&str, &str)> {
    all.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
}

fn owner(object: &Value, of: &mut Of<'_, '_>) {
    const WITH_OWNERS: [&str; 5] =
        ["kube_replicaset", "kube_replicationcontroller", "kube_job", "kube_deployment", "kube_secret"];
    if !WITH_OWNERS.contains(&of.prefix) {
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
    for range in list(object, "/spec/podCIDRs").filter_map(Value::as_str) {
        of.gauge("spec_pod_cidrs", &[("pod_cidr", range)], 1.0);
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

fn limits(object: &Value, of: &mut Of<'_, '_>) {
    for limit in list(object, "/spec/limits") {
        let kind = limit["type"].as_str().unwrap_or("");
        for constraint in ["min", "max", "default", "defaultRequest", "maxLimitRequestRatio"] {
            for (resource, value) in limit[constraint].as_object().into_iter().flatten() {
                if let Some(value) = value.as_str().and_then(quantity::parse) {
                    let labels =
                        [("resource", resource.as_str()), ("type", kind), ("constraint", constraint)];
                    of.gauge("", &labels, value);
                }
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
    for (name, path) in [
        ("spec_behavior_scale_up_tolerance", "/spec/behavior/scaleUp/tolerance"),
        ("spec_behavior_scale_down_tolerance", "/spec/behavior/scaleDown/tolerance"),
    ] {
        if let Some(share) = quantity::parse(text(path)) {
            of.gauge(name, &[], share);
        }
    }
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

/// Which version of it is there.
fn version(object: &Value, of: &mut Of<'_, '_>) {
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    if let Some(version) = version.and_then(|version| version.parse::<u64>().ok()) {
        of.gauge("metadata_resource_version", &[], version as f64);
    }
}
