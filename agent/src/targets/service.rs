//! A service as a ServiceMonitor needs it: which pods are behind it, and which of their ports an endpoint may mean.

use super::meta::Port;
use super::monitors::{of_target, text};
use crate::objects::label_name;
use crate::pods::Pod;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The whole object once more, in every object that was made by `kubectl apply`.
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub struct Service {
    pub namespace: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    selector: BTreeMap<String, String>,
    /// Name, number, and the pod's port by name or number.
    ports: Vec<(String, u64, Value)>,
}

impl Service {
    /// None of a service without ports or without a selector: there are no pods of a node behind it.
    pub fn read(object: &Value) -> Option<Service> {
        let text = |name: &str| object["metadata"][name].as_str().unwrap_or("").to_owned();
        let map = |value: &Value| -> BTreeMap<String, String> {
            serde_json::from_value(value.clone()).unwrap_or_default()
        };
        let selector = map(&object["spec"]["selector"]);
        if selector.is_empty() {
            return None;
        }
        let ports = object["spec"]["ports"]
            .as_array()?
            .iter()
            .filter(|port| matches!(port["protocol"].as_str(), None | Some("TCP")));
        let ports = ports.filter_map(|port| {
            let number = port["port"].as_u64()?;
            let target = match &port["targetPort"] {
                Value::Null => json!(number),
                target => target.clone(),
            };
            Some((port["name"].as_str().unwrap_or("").to_owned(), number, target))
        });
        let mut annotations = map(&object["metadata"]["annotations"]);
        annotations.remove(APPLIED);
        Some(Service {
            namespace: text("namespace"),
            name: text("name"),
            labels: map(&object["metadata"]["labels"]),
            annotations,
            selector,
            ports: ports.collect(),
        })
    }

    /// Whether the pod is one of those that it stands for.
    pub fn is_before(&self, pod: &Pod) -> bool {
        let has = |(name, value): (&String, &String)| pod.metadata.labels.get(name) == Some(value);
        pod.metadata.namespace == self.namespace && self.selector.iter().all(has)
    }

    /// With the name that the endpoint has in series.
    pub fn wanted_ports(&self, endpoint: &Value, pod: &Pod) -> Vec<(String, Port)> {
        if let Some(name) = text(endpoint, "port") {
            let named = self.ports.iter().filter(|(known, ..)| known == name);
            return named
                .filter_map(|(name, _, target)| Some((name.clone(), of_target(target, pod)?)))
                .collect();
        }
        let target = &endpoint["targetPort"];
        if !target.is_null() {
            let named = match target {
                Value::String(name) => name.clone(),
                other => other.to_string(),
            };
            return of_target(target, pod).into_iter().map(|port| (named.clone(), port)).collect();
        }
        let all = self.ports.iter();
        all.filter_map(|(name, number, target)| {
            let name = if name.is_empty() { number.to_string() } else { name.clone() };
            Some((name, of_target(target, pod)?))
        })
        .collect()
    }

    pub fn tell(&self, endpoint: &str, pod: &Pod, labels: &mut Map<String, Value>) {
        labels.insert("service".into(), json!(self.name));
        let mut set = |name: String, value: &str| {
            labels.insert(format!("__meta_kubernetes_{name}"), json!(value));
        };
        for (name, value) in [
            ("service_name", self.name.as_str()),
            ("endpoints_name", self.name.as_str()),
            ("endpoint_port_name", endpoint),
            ("endpoint_port_protocol", "TCP"),
            ("endpoint_node_name", pod.spec.node_name.as_str()),
            ("endpoint_address_target_kind", "Pod"),
            ("endpoint_address_target_name", pod.metadata.name.as_str()),
        ] {
            set(name.to_owned(), value);
        }
        for (kind, pairs) in [("label", &self.labels), ("annotation", &self.annotations)] {
            for (name, value) in pairs {
                let name = label_name(name);
                set(format!("service_{kind}_{name}"), value);
                set(format!("service_{kind}present_{name}"), "true");
            }
        }
    }
}
