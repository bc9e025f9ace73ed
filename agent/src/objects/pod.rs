//! This node's pods under kube-state-metrics' names (source: kubernetes/kube-state-metrics, docs/metrics/workload/pod-metrics.md).

use super::{Metadata, quantity};
use crate::pods::{ContainerSpec, ContainerStatus, OwnerReference, Pod, time_ns};
use crate::samples::Samples;
use std::collections::BTreeMap;

const PHASES: [&str; 5] = ["Pending", "Succeeded", "Failed", "Unknown", "Running"];
const QOS_CLASSES: [&str; 3] = ["BestEffort", "Burstable", "Guaranteed"];
const REASONS: [&str; 8] = [
    "Evicted",
    "NodeAffinity",
    "NodeLost",
    "PreemptionByScheduler",
    "SchedulingGated",
    "Shutdown",
    "TerminationByKubelet",
    "UnexpectedAdmissionError",
];

/// The labels that every series of a pod has, and where it goes.
struct Of<'o, 's> {
    labels: [(&'o str, &'o str); 3],
    out: &'s mut Samples,
}

impl Of<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, more: &[(&str, &str)], value: f64) {
        let mut labels = self.labels.to_vec();
        labels.extend_from_slice(more);
        self.out.gauge(name, help, &labels, value);
    }

    fn counter(&mut self, name: &str, help: &str, more: &[(&str, &str)], value: f64) {
        let mut labels = self.labels.to_vec();
        labels.extend_from_slice(more);
        self.out.counter(name, help, &labels, value);
    }

    /// 1 for the one of them that it is, 0 for the others.
    fn one_of(&mut self, name: &str, help: &str, label: &str, all: &[&str], is: &str) {
        for value in all {
            self.gauge(name, help, &[(label, value)], f64::from(u8::from(*value == is)));
        }
    }

    fn time(&mut self, name: &str, help: &str, time: Option<&str>) {
        if let Some(ns) = time_ns(time) {
            self.gauge(name, help, &[], ns.div_euclid(1_000_000_000) as f64);
        }
    }
}

/// Why a pod is to go.
const DISRUPTIONS: [&str; 5] = [
    "PreemptionByScheduler",
    "DeletionByTaintManager",
    "EvictionByEvictionAPI",
    "DeletionByPodGC",
    "TerminationByKubelet",
];

pub fn tell(pod: &Pod, told: &Metadata, out: &mut Samples) {
    let (metadata, status) = (&pod.metadata, &pod.status);
    let labels =
        [("namespace", metadata.namespace.as_str()), ("pod", metadata.name.as_str()), ("uid", &metadata.uid)];
    let of = &mut Of { labels, out };
    identity(pod, of);
    own_words(pod, told, of);
    tolerations(pod, of);
    claims(pod, of);
    of.time("kube_pod_created", "Unix creation timestamp", metadata.creation_timestamp.as_deref());
    of.time("kube_pod_deletion_timestamp", "Unix deletion timestamp", metadata.deletion_timestamp.as_deref());
    of.time("kube_pod_start_time", "Start time in unix timestamp for a pod.", status.start_time.as_deref());
    let help = "The pods current phase.";
    of.one_of("kube_pod_status_phase", help, "phase", &PHASES, &status.phase);
    let help = "The pods current qosClass.";
    of.one_of("kube_pod_status_qos_class", help, "qos_class", &QOS_CLASSES, &status.qos_class);
    let help = "The pod status reasons";
    of.one_of("kube_pod_status_reason", help, "reason", &REASONS, &status.reason);
    conditions(pod, of);
    completion(pod, of);
    let specs = |all: &[ContainerSpec]| -> BTreeMap<String, ContainerSpec> {
        all.iter().map(|spec| (spec.name.clone(), spec.clone())).collect()
    };
    for (prefix, specs, statuses) in [
        ("kube_pod_container", specs(&pod.spec.containers), &status.container_statuses),
        ("kube_pod_init_container", specs(&pod.spec.init_containers), &status.init_container_statuses),
    ] {
        for spec in specs.values() {
            resources(prefix, spec, &pod.spec.node_name, of);
        }
        for status in statuses {
            container(prefix, status, specs.get(&status.name), of);
        }
    }
    for (resource, name) in [("cpu", "cpu_cores"), ("memory", "memory_bytes")] {
        if let Some(value) = pod.spec.overhead.get(resource).and_then(|text| quantity::parse(text)) {
            of.gauge(
                &format!("kube_pod_overhead_{name}"),
                "The pod overhead associated with running a pod.",
                &[],
                value,
            );
        }
    }
}

fn identity(pod: &Pod, of: &mut Of<'_, '_>) {
    let (metadata, spec, status) = (&pod.metadata, &pod.spec, &pod.status);
    // A static pod is owned by its node, which the API server's mirror of it says and the kubelet does not.
    let node = OwnerReference { kind: "Node".into(), name: spec.node_name.clone(), controller: true };
    let of_node = pod.is_static().then_some(&node);
    let owners: Vec<&OwnerReference> = metadata.owner_references.iter().chain(of_node).collect();
    let owner = owners.iter().find(|owner| owner.controller);
    let info = [
        ("host_ip", status.host_ip.as_str()),
        ("pod_ip", &status.pod_ip),
        ("node", &spec.node_name),
        ("created_by_kind", owner.map_or("", |owner| &owner.kind)),
        ("created_by_name", owner.map_or("", |owner| &owner.name)),
        ("priority_class", &spec.priority_class_name),
        ("host_network", if spec.host_network { "true" } else { "false" }),
    ];
    of.gauge("kube_pod_info", "Information about pod.", &info, 1.0);
    let help = "Information about the Pod's owner.";
    if owners.is_empty() {
        of.gauge("kube_pod_owner", help, &[], 1.0);
    }
    for owner in &owners {
        let is_controller = if owner.controller { "true" } else { "false" };
        let labels = [
            ("owner_kind", owner.kind.as_str()),
            ("owner_name", &owner.name),
            ("owner_is_controller", is_controller),
        ];
        of.gauge("kube_pod_owner", help, &labels, 1.0);
    }
    for ip in &status.pod_ips {
        let family = if ip.ip.contains(':') { "6" } else { "4" };
        of.gauge("kube_pod_ips", "Pod IP addresses", &[("ip", &ip.ip), ("ip_family", family)], 1.0);
    }
    let help = "Describes the restart policy in use by this pod.";
    of.gauge("kube_pod_restart_policy", help, &[("type", &spec.restart_policy)], 1.0);
    if !spec.runtime_class_name.is_empty() {
        let help = "The runtimeclass associated with the pod.";
        let class = [("runtimeclass_name", spec.runtime_class_name.as_str())];
        of.gauge("kube_pod_runtimeclass_name_info", help, &class, 1.0);
    }
    let help = "The service account for a pod.";
    of.gauge("kube_pod_service_account", help, &[("service_account", &spec.service_account_name)], 1.0);
    of.gauge("kube_pod_scheduler", "The scheduler for a pod.", &[("name", &spec.scheduler_name)], 1.0);
    for volume in &spec.volumes {
        let Some(claim) = &volume.persistent_volume_claim else { continue };
        let labels = [("volume", volume.name.as_str()), ("persistentvolumeclaim", &claim.claim_name)];
        let help = "Information about persistentvolumeclaim volumes in a pod.";
        of.gauge("kube_pod_spec_volumes_persistentvolumeclaims_info", help, &labels, 1.0);
        let help = "Describes whether a persistentvolumeclaim is mounted read only.";
        let read_only = f64::from(u8::from(claim.read_only));
        of.gauge("kube_pod_spec_volumes_persistentvolumeclaims_readonly", help, &labels, read_only);
    }
}

/// Labels and annotations, as far as they are asked for.
fn own_words(pod: &Pod, told: &Metadata, of: &mut Of<'_, '_>) {
    let Metadata { labels, annotations } = told;
    for (word, allowed, all) in
        [("label", labels, &pod.metadata.labels), ("annotation", annotations, &pod.metadata.annotations)]
    {
        let all = all.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let Some(named) = allowed.of("pods", word, all) else { continue };
        let labels: Vec<(&str, &str)> = named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let help = format!("Kubernetes {word}s converted to Prometheus labels.");
        of.gauge(&format!("kube_pod_{word}s"), &help, &labels, 1.0);
    }
}

/// Each once, though a pod may have one twice.
fn tolerations(pod: &Pod, of: &mut Of<'_, '_>) {
    let all = &pod.spec.tolerations;
    for (at, toleration) in all.iter().enumerate() {
        if all[..at].contains(toleration) {
            continue;
        }
        let seconds = toleration.toleration_seconds.map_or(String::new(), |seconds| seconds.to_string());
        let labels = [
            ("key", toleration.key.as_str()),
            ("operator", &toleration.operator),
            ("value", &toleration.value),
            ("effect", &toleration.effect),
            ("toleration_seconds", &seconds),
        ];
        of.gauge("kube_pod_tolerations", "Information about the pod tolerations", &labels, 1.0);
    }
}

/// A claim that is made of a template has its name when it was made.
fn claims(pod: &Pod, of: &mut Of<'_, '_>) {
    for claim in &pod.spec.resource_claims {
        let template = claim.resource_claim_template_name.as_deref();
        let made = pod.status.resource_claim_statuses.iter().find(|made| made.name == claim.name);
        let name = match &claim.resource_claim_name {
            None if template.is_none() => continue,
            None => made.and_then(|made| made.resource_claim_name.as_deref()).unwrap_or(""),
            Some(name) => name.as_str(),
        };
        let labels = [
            ("claim_name", claim.name.as_str()),
            ("resourceclaim_name", name),
            ("resourceclaim_template_name", template.unwrap_or("")),
        ];
        let help = "Information about a DRA ResourceClaim referenced by a pod.";
        of.gauge("kube_pod_resourceclaim_info", help, &labels, 1.0);
    }
}

fn conditions(pod: &Pod, of: &mut Of<'_, '_>) {
    for condition in &pod.status.conditions {
        let at = condition.last_transition_time.as_deref();
        let is_true = condition.status == "True";
        let word = condition.status.to_lowercase();
        match condition.kind.as_str() {
            "Ready" => {
                let help = "Describes whether the pod is ready to serve requests.";
                of.one_of("kube_pod_status_ready", help, "condition", &["true", "false", "unknown"], &word);
                if is_true {
                    let help = "Readiness achieved time in unix timestamp for a pod.";
                    of.time("kube_pod_status_ready_time", help, at);
                }
            }
            "PodScheduled" => {
                let help = "Describes the status of the scheduling process for the pod.";
                of.one_of(
                    "kube_pod_status_scheduled",
                    help,
                    "condition",
                    &["true", "false", "unknown"],
                    &word,
                );
                if is_true {
                    of.time(
                        "kube_pod_status_scheduled_time",
                        "Unix timestamp when pod moved into scheduled status",
                        at,
                    );
                } else if condition.status == "False" {
                    let help = "Unix timestamp when pod moved into unscheduled status";
                    of.time("kube_pod_status_unscheduled_time", help, at);
                    let help = "Describes the unschedulable status for the pod.";
                    of.gauge("kube_pod_status_unschedulable", help, &[], 1.0);
                }
            }
            "ContainersReady" if is_true => {
                let help = "Readiness achieved time in unix timestamp for a pod containers.";
                of.time("kube_pod_status_container_ready_time", help, at);
            }
            "DisruptionTarget" => {
                let known = DISRUPTIONS.iter().find(|known| **known == condition.reason);
                let help = "The pod disruption condition reason";
                let reason = [("reason", *known.unwrap_or(&"Other"))];
                of.gauge("kube_pod_status_disruption_reason", help, &reason, 1.0);
            }
            "Initialized" if is_true => {
                let help = "Initialized time in unix timestamp for a pod.";
                of.time("kube_pod_status_initialized_time", help, at);
            }
            _ => {}
        }
    }
}

/// When the last of those containers ended that have.
fn completion(pod: &Pod, of: &mut Of<'_, '_>) {
    let ends = pod
        .status
        .container_statuses
        .iter()
        .filter_map(|status| time_ns(status.state.terminated.as_ref()?.finished_at.as_deref()));
    if let Some(last) = ends.max() {
        let help = "Completion time in unix timestamp for a pod.";
        of.gauge("kube_pod_completion_time", help, &[], last.div_euclid(1_000_000_000) as f64);
    }
}

fn resources(prefix: &str, spec: &ContainerSpec, node: &str, of: &mut Of<'_, '_>) {
    for (what, help, quantities) in [
        ("requests", "The number of requested request resource by a container.", &spec.resources.requests),
        ("limits", "The number of requested limit resource by a container.", &spec.resources.limits),
    ] {
        for (name, text) in quantities {
            let Some(value) = quantity::parse(text) else { continue };
            let (resource, unit) = quantity::resource(name);
            let labels =
                [("container", spec.name.as_str()), ("node", node), ("resource", &resource), ("unit", unit)];
            of.gauge(&format!("{prefix}_resource_{what}"), help, &labels, value);
        }
    }
}

fn container(prefix: &str, status: &ContainerStatus, spec: Option<&ContainerSpec>, of: &mut Of<'_, '_>) {
    let name = [("container", status.name.as_str())];
    let restart_policy = spec.and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("");
    let info = [
        name[0],
        ("image_spec", spec.map_or("", |spec| &spec.image)),
        ("image", &status.image),
        ("image_id", &status.image_id),
        ("container_id", &status.container_id),
        ("restart_policy", restart_policy),
    ];
    of.gauge(&format!("{prefix}_info"), "Information about a container in a pod.", &info, 1.0);
    let truth = |truth: bool| f64::from(u8::from(truth));
    let help = "Describes whether the containers readiness check succeeded.";
    of.gauge(&format!("{prefix}_status_ready"), help, &name, truth(status.ready));
    let help = "The number of container restarts per container.";
    of.counter(&format!("{prefix}_status_restarts_total"), help, &name, f64::from(status.restart_count));
    let state = &status.state;
    for (word, is) in [
        ("waiting", state.waiting.is_some()),
        ("running", state.running.is_some()),
        ("terminated", state.terminated.is_some()),
    ] {
        let help = format!("Describes whether the container is currently in {word} state.");
        of.gauge(&format!("{prefix}_status_{word}"), &help, &name, truth(is));
    }
    let reason = |reason: &str| [("container", status.name.clone()), ("reason", reason.to_owned())];
    let mut reasons = |kind: &str, word: &str| {
        let labels = reason(word);
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let help = format!("Describes the {kind} reason of the container.");
        of.gauge(&format!("{prefix}_status_{kind}_reason"), &help, &labels, 1.0);
    };
    if let Some(waiting) = state.waiting.as_ref().filter(|waiting| !waiting.reason.is_empty()) {
        reasons("waiting", &waiting.reason);
    }
    if let Some(terminated) = &state.terminated {
        reasons("terminated", &terminated.reason);
    }
    if let Some(last) = &status.last_state.terminated {
        reasons("last_terminated", &last.reason);
        let help = "Describes the exit code for the last container in terminated state.";
        of.gauge(
            &format!("{prefix}_status_last_terminated_exitcode"),
            help,
            &name,
            f64::from(last.exit_code),
        );
        if let Some(ns) = time_ns(last.finished_at.as_deref()) {
            let help = "Last terminated time for a pod container in unix timestamp.";
            let seconds = ns.div_euclid(1_000_000_000) as f64;
            of.gauge(&format!("{prefix}_status_last_terminated_timestamp"), help, &name, seconds);
        }
    }
    let started = state.running.as_ref().map(|running| &running.started_at);
    let started = started.or(state.terminated.as_ref().map(|terminated| &terminated.started_at));
    if let Some(ns) = started.and_then(|at| time_ns(at.as_deref())) {
        let help = "Start time in unix timestamp for a pod container.";
        of.gauge(&format!("{prefix}_state_started"), help, &name, ns.div_euclid(1_000_000_000) as f64);
    }
}
