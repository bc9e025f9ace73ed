//! The labels by which Prometheus' own discovery tells of a pod's ports (`__meta_kubernetes_*`), so that relabelling rules
//! that were written for it work here.

use crate::objects::label_name;
use crate::pods::{ContainerSpec, Pod};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Where and how often is scraped.
pub struct Place {
    pub node: String,
    pub interval: Duration,
}

/// A port of a pod, or the pod itself where it declares none.
#[derive(Clone)]
pub struct Port {
    pub container: String,
    pub name: String,
    pub number: u16,
}

/// All TCP ports that a pod declares.
pub fn ports(pod: &Pod) -> Vec<Port> {
    let beside = |one: &&ContainerSpec| one.restart_policy.as_deref() == Some("Always");
    let containers = pod.spec.containers.iter().chain(pod.spec.init_containers.iter().filter(beside));
    let of = |container: &ContainerSpec| {
        let tcp = container.ports.iter().filter(|port| matches!(port.protocol.as_str(), "" | "TCP"));
        let made = tcp.map(|port| Port {
            container: container.name.clone(),
            name: port.name.clone(),
            number: port.container_port,
        });
        made.collect::<Vec<_>>()
    };
    containers.flat_map(of).collect()
}

/// Whether it has an address to be asked at, and has not ended.
pub fn is_up(pod: &Pod) -> bool {
    pod.status.phase == "Running" && !pod.status.pod_ip.is_empty()
}

/// `address:port`, with an IPv6 address in brackets.
pub fn address(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// Without `job`: whoever scrapes says it.
pub fn labels(pod: &Pod, port: Option<&Port>) -> Map<String, Value> {
    let mut labels = Map::new();
    let mut set = |name: &str, value: &str| {
        labels.insert(format!("__meta_kubernetes_{name}"), json!(value));
    };
    let ready = pod.status.conditions.iter().find(|condition| condition.kind == "Ready");
    set("namespace", &pod.metadata.namespace);
    set("pod_name", &pod.metadata.name);
    set("pod_uid", &pod.metadata.uid);
    set("pod_ip", &pod.status.pod_ip);
    set("pod_host_ip", &pod.status.host_ip);
    set("pod_node_name", &pod.spec.node_name);
    set("node_name", &pod.spec.node_name);
    set("pod_phase", &pod.status.phase);
    set("pod_ready", &ready.map_or("unknown".to_owned(), |ready| ready.status.to_lowercase()));
    if let Some(owner) = pod.metadata.owner_references.iter().find(|owner| owner.controller) {
        set("pod_controller_kind", &owner.kind);
        set("pod_controller_name", &owner.name);
    }
    for (name, value) in &pod.metadata.labels {
        let name = label_name(name);
        set(&format!("pod_label_{name}"), value);
        set(&format!("pod_labelpresent_{name}"), "true");
    }
    for (name, value) in &pod.metadata.annotations {
        let name = label_name(name);
        set(&format!("pod_annotation_{name}"), value);
        set(&format!("pod_annotationpresent_{name}"), "true");
    }
    if let Some(port) = port {
        set("pod_container_name", &port.container);
        let mut containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
        if let Some(container) = containers.find(|container| container.name == port.container) {
            set("pod_container_image", &container.image);
        }
        set("pod_container_port_name", &port.name);
        set("pod_container_port_number", &port.number.to_string());
        set("pod_container_port_protocol", "TCP");
    }
    labels
}

/// One target as a group of its own.
pub fn group(address: &str, labels: Map<String, Value>) -> Value {
    json!({ "targets": [address], "labels": labels })
}

/// As a configuration writes it.
pub fn span(span: Duration) -> String {
    format!("{}ms", span.as_millis())
}

/// How often, and how long at most.
pub fn timing(interval: Duration) -> Map<String, Value> {
    let timeout = interval.min(Duration::from_secs(10));
    Map::from_iter([
        ("scrape_interval".to_owned(), json!(span(interval))),
        ("scrape_timeout".to_owned(), json!(span(timeout))),
    ])
}
