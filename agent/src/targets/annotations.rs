//! Pods that ask to be scraped by the annotations that Prometheus' own example of a configuration made known:
//! `prometheus.io/scrape`, `prometheus.io/port`, `prometheus.io/path`, `prometheus.io/scheme`, `prometheus.io/param_<name>`.

use super::meta::{self, Place, Port};
use crate::pods::Pod;
use serde_json::{Map, Value, json};
use std::sync::Arc;

const PREFIX: &str = "prometheus.io/";

/// The job that this example calls `kubernetes-pods`, where a pod of this node asks for it.
pub fn job(pods: &[Arc<Pod>], place: &Place) -> Option<Value> {
    let groups: Vec<Value> = pods.iter().flat_map(|pod| groups(pod, place)).collect();
    if groups.is_empty() {
        return None;
    }
    let mut job = meta::timing(place.interval);
    job.extend([
        ("job_name".to_owned(), json!("kubernetes-pods")),
        ("static_configs".to_owned(), json!(groups)),
        (
            "relabel_configs".to_owned(),
            json!([{ "action": "labelmap", "regex": "__meta_kubernetes_pod_label_(.+)" }]),
        ),
    ]);
    Some(job.into())
}

/// Whether the pod's annotation says so; another word than `true` says no, as there.
pub fn is_asked(pod: &Pod) -> bool {
    annotation(pod, "scrape").is_some_and(|value| value == "true")
}

/// What is not done of what pods ask for.
pub fn troubles(pods: &[Arc<Pod>]) -> Vec<String> {
    let mut told = vec![];
    for pod in pods {
        let of = format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
        if !is_asked(pod) {
            let word = annotation(pod, "scrape").filter(|word| !matches!(*word, "" | "false"));
            told.extend(word.map(|word| {
                format!("pod {of} is not scraped: its annotation {PREFIX}scrape {word:?} is neither true nor false")
            }));
            continue;
        }
        let (port, scheme) = (annotation(pod, "port"), annotation(pod, "scheme"));
        if let Some(port) = port.filter(|port| port.trim().parse::<u16>().is_err()) {
            told.push(format!(
                "pod {of} is not scraped: its annotation {PREFIX}port {port:?} is no number of a port"
            ));
        }
        if let Some(scheme) = scheme.map(str::trim).filter(|scheme| !matches!(*scheme, "" | "http" | "https"))
        {
            told.push(format!("pod {of} is asked by http: its annotation {PREFIX}scheme {scheme:?} is neither http nor https"));
        }
    }
    told
}

fn annotation<'p>(pod: &'p Pod, name: &str) -> Option<&'p str> {
    pod.metadata.annotations.get(&format!("{PREFIX}{name}")).map(String::as_str)
}

fn groups(pod: &Pod, place: &Place) -> Vec<Value> {
    if !is_asked(pod) || !meta::is_up(pod) {
        return vec![];
    }
    let declared = meta::ports(pod);
    let ports: Vec<(String, Option<Port>)> = match annotation(pod, "port") {
        // One target, whichever port is declared.
        Some(port) => match port.trim().parse::<u16>() {
            Ok(number) => {
                let known = declared.into_iter().find(|declared| declared.number == number);
                vec![(meta::address(&pod.status.pod_ip, number), known)]
            }
            Err(_) => return vec![],
        },
        // The scheme's own port.
        None if declared.is_empty() => vec![(pod.status.pod_ip.clone(), None)],
        None => declared
            .into_iter()
            .map(|port| (meta::address(&pod.status.pod_ip, port.number), Some(port)))
            .collect(),
    };
    let group = |(address, port): (String, Option<Port>)| {
        let mut labels = meta::labels(pod, port.as_ref());
        labels.extend(own(pod, place));
        if let Some(port) = port {
            labels.insert("container".into(), json!(port.container));
        }
        meta::group(&address, labels)
    };
    ports.into_iter().map(group).collect()
}

/// What the annotations set, and what a series is known by.
fn own(pod: &Pod, place: &Place) -> Map<String, Value> {
    let mut labels = Map::from_iter([
        ("namespace".to_owned(), json!(pod.metadata.namespace)),
        ("pod".to_owned(), json!(pod.metadata.name)),
        ("node".to_owned(), json!(place.node)),
    ]);
    let set = |name: &str| annotation(pod, name).map(str::trim).filter(|value| !value.is_empty());
    if let Some(path) = set("path") {
        labels.insert("__metrics_path__".into(), json!(path));
    }
    if let Some(scheme) = set("scheme").filter(|scheme| matches!(*scheme, "http" | "https")) {
        labels.insert("__scheme__".into(), json!(scheme));
    }
    for (name, value) in &pod.metadata.annotations {
        if let Some(param) = name.strip_prefix(PREFIX).and_then(|name| name.strip_prefix("param_")) {
            labels.insert(format!("__param_{param}"), json!(value));
        }
    }
    labels
}
