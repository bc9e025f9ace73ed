//! The cluster's own parts and its mesh, by the labels that kubeadm, the distributions and Istio give their pods, under the
//! job names that kubernetes-mixin, etcd's and CoreDNS' mixins look for.
//!
//! Scheduler, controller manager, kube-proxy and etcd listen on the node's loopback unless they are told otherwise: their
//! flags say where. They are asked with the agent's token; the certificate of scheduler and controller manager is their own,
//! made anew at each start, so nobody can have signed it and any is believed.

use super::annotations;
use super::meta::{self, Place};
use crate::pods::Pod;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the agent shows and believes.
pub struct Access {
    pub token_file: Option<PathBuf>,
    /// Of the cluster's authority.
    pub ca_file: Option<PathBuf>,
    /// The API server's URL.
    pub cluster: Option<String>,
    pub api_server_job: String,
    pub host_root: PathBuf,
}

/// How a part is found and asked.
struct Part {
    job: &'static str,
    /// A label of its pods.
    label: (&'static str, &'static str),
    scheme: &'static str,
    /// The flag that says where it listens (a port, or an address with one), and the port where it does not say.
    port_flag: &'static str,
    port: u16,
    path: &'static str,
    with_token: bool,
}

const fn part(
    job: &'static str,
    label: (&'static str, &'static str),
    (scheme, port_flag, port): (&'static str, &'static str, u16),
) -> Part {
    let with_token = matches!(scheme.as_bytes(), b"https");
    Part { job, label, scheme, port_flag, port, path: "/metrics", with_token }
}

const PARTS: [Part; 7] = [
    part("kube-scheduler", ("component", "kube-scheduler"), ("https", "--secure-port", 10259)),
    part(
        "kube-controller-manager",
        ("component", "kube-controller-manager"),
        ("https", "--secure-port", 10257),
    ),
    part("kube-proxy", ("k8s-app", "kube-proxy"), ("http", "--metrics-bind-address", 10249)),
    part("kube-dns", ("k8s-app", "kube-dns"), ("http", "", 9153)),
    part("kube-dns", ("k8s-app", "coredns"), ("http", "", 9153)),
    part("istiod", ("app", "istiod"), ("http", "", 15014)),
    part("istiod", ("istio", "pilot"), ("http", "", 15014)),
];

const ETCD: (&str, &str) = ("component", "etcd");

/// Of an Envoy beside an application, or of a gateway.
const ENVOY_CONTAINER: &str = "istio-proxy";
const ENVOY_PORT: u16 = 15090;
const ENVOY_PATH: &str = "/stats/prometheus";

fn has(pod: &Pod, (name, value): (&str, &str)) -> bool {
    pod.metadata.labels.get(name).is_some_and(|label| label == value)
}

/// The first that fits: Istio's pods have both labels of theirs.
fn part_of(pod: &Pod) -> Option<&'static Part> {
    PARTS.iter().find(|part| has(pod, part.label))
}

/// Whether it is scraped as one of the cluster's parts, and for no annotation beside that (istiod has them).
pub fn is_part(pod: &Pod) -> bool {
    part_of(pod).is_some()
}

/// Jobs of what runs on this node.
pub fn jobs(pods: &[Arc<Pod>], place: &Place, access: &Access) -> Vec<Value> {
    let up = || pods.iter().filter(|pod| meta::is_up(pod));
    let mut jobs = vec![];
    for part in &PARTS {
        let is_it = |pod: &&Arc<Pod>| part_of(pod).is_some_and(|known| known.label == part.label);
        let found: Vec<Value> = up().filter(is_it).map(|pod| of_part(part, pod, place)).collect();
        if !found.is_empty() {
            let name = format!("{}/{}", part.job, part.label.1);
            jobs.push(job(&name, part.scheme, part.path, found, place, &auth(part, access)));
        }
    }
    let etcd: Vec<Value> =
        up().filter(|pod| has(pod, ETCD)).filter_map(|pod| of_etcd(pod, place, access)).collect();
    jobs.extend(etcd);
    let envoys: Vec<Value> = up().filter_map(|pod| of_envoy(pod, place)).collect();
    if !envoys.is_empty() {
        jobs.push(job("envoy-stats", "http", ENVOY_PATH, envoys, place, &json!({})));
    }
    jobs
}

/// The API server at its URL, by one agent of all: in a managed cluster it is no pod. Its certificate is of the cluster's
/// authority.
pub fn api_server(place: &Place, access: &Access, url: &str) -> Option<Value> {
    let (scheme, rest) = url.split_once("://")?;
    let address = rest.split('/').next()?;
    let address = if address.rsplit(']').next().is_some_and(|tail| tail.contains(':')) {
        address.to_owned()
    } else {
        format!("{address}:{}", if scheme == "https" { 443 } else { 80 })
    };
    let tls = match &access.ca_file {
        Some(path) => json!({ "ca_file": path }),
        None => json!({}),
    };
    let auth = json!({ "authorization": credentials(access), "tls_config": tls });
    let group = json!({ "targets": [address], "labels": { "job": access.api_server_job } });
    Some(job("kube-apiserver", scheme, "/metrics", vec![group], place, &auth))
}

fn credentials(access: &Access) -> Value {
    match &access.token_file {
        Some(path) => json!({ "credentials_file": path }),
        None => Value::Null,
    }
}

fn auth(part: &Part, access: &Access) -> Value {
    if !part.with_token {
        return json!({});
    }
    json!({ "authorization": credentials(access), "tls_config": { "insecure_skip_verify": true } })
}

fn job(name: &str, scheme: &str, path: &str, groups: Vec<Value>, place: &Place, auth: &Value) -> Value {
    let mut job = meta::timing(place.interval);
    job.extend([
        ("job_name".to_owned(), json!(name)),
        ("scheme".to_owned(), json!(scheme)),
        ("metrics_path".to_owned(), json!(path)),
        ("static_configs".to_owned(), json!(groups)),
    ]);
    for (key, value) in auth.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        job.insert(key.clone(), value.clone());
    }
    job.into()
}

fn target(job: &str, pod: &Pod, address: &str, place: &Place) -> Value {
    json!({ "targets": [address], "labels": {
        "job": job, "namespace": pod.metadata.namespace, "pod": pod.metadata.name, "node": place.node,
    }})
}

fn of_part(part: &Part, pod: &Pod, place: &Place) -> Value {
    let (ip, port) = listening(flag(pod, part.port_flag).unwrap_or(""));
    let port = port.or_else(|| {
        let named = meta::ports(pod);
        let named = named.iter().find(|port| matches!(port.name.as_str(), "metrics" | "http-monitoring"));
        named.filter(|_| part.port_flag.is_empty()).map(|port| port.number)
    });
    let address = meta::address(&listens_at(pod, ip), port.unwrap_or(part.port));
    let mut target = target(part.job, pod, &address, place);
    // Istio's dashboards ask for it.
    if part.label.0 == "app" {
        target["labels"]["app"] = json!(part.label.1);
    }
    target
}

/// What a flag says of where its part listens: `10259`, `127.0.0.1:10249`, `[::]:10249` or an address alone.
fn listening(said: &str) -> (Option<IpAddr>, Option<u16>) {
    match said.parse::<SocketAddr>() {
        Ok(address) => (Some(address.ip()), Some(address.port())),
        Err(_) => (said.parse().ok(), said.parse().ok()),
    }
}

/// On the node's network a part without a flag is on loopback, and one that listens everywhere is there too.
fn listens_at(pod: &Pod, said: Option<IpAddr>) -> String {
    let bound = said.or_else(|| flag(pod, "--bind-address")?.parse().ok());
    match bound.filter(|ip| !ip.is_unspecified()) {
        Some(ip) => ip.to_string(),
        None if pod.spec.host_network => "127.0.0.1".to_owned(),
        None => pod.status.pod_ip.clone(),
    }
}

/// The value of `--name=value` in a container's command line.
fn flag<'p>(pod: &'p Pod, name: &str) -> Option<&'p str> {
    if name.is_empty() {
        return None;
    }
    let containers = pod.spec.containers.iter();
    let mut words = containers.flat_map(|container| container.command.iter().chain(&container.args));
    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// By the port for metrics alone where there is one, else by the clients' port; over TLS with the certificate that kubeadm
/// made for health checks.
fn of_etcd(pod: &Pod, place: &Place, access: &Access) -> Option<Value> {
    let first = |flag_name: &str| flag(pod, flag_name).and_then(|urls| urls.split(',').next());
    let url = first("--listen-metrics-urls").or_else(|| first("--listen-client-urls"))?;
    let (scheme, address) = url.trim_end_matches('/').split_once("://")?;
    // No certificate is of the address that stands for all of them.
    let address = match address.parse::<SocketAddr>() {
        Ok(bound) => meta::address(&listens_at(pod, Some(bound.ip())), bound.port()),
        Err(_) => address.to_owned(),
    };
    let group = target("etcd", pod, &address, place);
    if scheme != "https" {
        return Some(job("etcd", scheme, "/metrics", vec![group], place, &json!({})));
    }
    let (ca, cert, key) = files(&access.host_root.join("etc/kubernetes/pki/etcd"));
    let tls = json!({ "tls_config": { "ca_file": ca, "cert_file": cert, "key_file": key } });
    key.exists().then(|| job("etcd", scheme, "/metrics", vec![group], place, &tls))
}

fn files(folder: &Path) -> (PathBuf, PathBuf, PathBuf) {
    (folder.join("ca.crt"), folder.join("healthcheck-client.crt"), folder.join("healthcheck-client.key"))
}

/// Not where its annotations have it scraped already: Istio sets them when Envoy's and the application's metrics are one.
fn of_envoy(pod: &Pod, place: &Place) -> Option<Value> {
    let specs = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    let is_there = specs.into_iter().any(|container| container.name == ENVOY_CONTAINER);
    let is_told = annotations::is_asked(pod)
        && pod.metadata.annotations.get("prometheus.io/path").is_some_and(|path| path == ENVOY_PATH);
    (is_there && !is_told)
        .then(|| target("envoy-stats", pod, &meta::address(&pod.status.pod_ip, ENVOY_PORT), place))
}
