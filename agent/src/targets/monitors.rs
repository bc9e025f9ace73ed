//! PodMonitors and ServiceMonitors of the Prometheus operator (`monitoring.coreos.com/v1`), as the operator turns them into
//! scrape configurations: its job names, its labels, its defaults.
//!
//! A service's pods on this node are found by its selector and its ports' target ports, so endpoints need not be read.
//! Secrets are not read either: an endpoint that needs one is told and left out, and so is one with `bearerTokenFile`, which
//! would send this agent's token wherever whoever may write a monitor wants it.

use super::known::{self, Objects};
use super::meta::{self, Place, Port};
use super::selector::{Namespaces, Selector};
use super::service::Service;
use crate::objects::{label_name, quantity};
use crate::pods::Pod;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    job_label: String,
    selector: Selector,
    namespace_selector: Namespaces,
    pod_metrics_endpoints: Vec<Value>,
    endpoints: Vec<Value>,
    pod_target_labels: Vec<String>,
    target_labels: Vec<String>,
    attach_metadata: Attached,
    scrape_class: String,
    native_histogram_min_bucket_factor: Value,
    /// What a job takes as it is, see [`OF_JOB`].
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attached {
    node: bool,
}

/// Of a monitor, by what a job calls it.
const OF_JOB: [(&str, &str); 13] = [
    ("sampleLimit", "sample_limit"),
    ("targetLimit", "target_limit"),
    ("labelLimit", "label_limit"),
    ("labelNameLengthLimit", "label_name_length_limit"),
    ("labelValueLengthLimit", "label_value_length_limit"),
    ("bodySizeLimit", "body_size_limit"),
    ("keepDroppedTargets", "keep_dropped_targets"),
    ("scrapeProtocols", "scrape_protocols"),
    ("fallbackScrapeProtocol", "fallback_scrape_protocol"),
    ("scrapeNativeHistograms", "scrape_native_histograms"),
    ("scrapeClassicHistograms", "always_scrape_classic_histograms"),
    ("nativeHistogramBucketLimit", "native_histogram_bucket_limit"),
    ("convertClassicHistogramsToNHCB", "convert_classic_histograms_to_nhcb"),
];

/// Of an endpoint, likewise.
const OF_ENDPOINT: [(&str, &str); 9] = [
    ("scrapeTimeout", "scrape_timeout"),
    ("path", "metrics_path"),
    ("scheme", "scheme"),
    ("params", "params"),
    ("honorLabels", "honor_labels"),
    ("honorTimestamps", "honor_timestamps"),
    ("trackTimestampsStaleness", "track_timestamps_staleness"),
    ("followRedirects", "follow_redirects"),
    ("enableHttp2", "enable_http2"),
];

/// What else an endpoint may say. One that has ended has no address, so `filterRunning` changes nothing.
const KNOWN: [&str; 8] = [
    "port",
    "portNumber",
    "targetPort",
    "interval",
    "tlsConfig",
    "relabelings",
    "metricRelabelings",
    "filterRunning",
];

/// Something of an endpoint that is not done here, by its key and why.
const REFUSED: [(&str, &str); 9] = [
    ("bearerTokenFile", "would send the agent's token to whoever a monitor names"),
    ("bearerTokenSecret", "is in a secret, and secrets are not read"),
    ("basicAuth", "is in a secret, and secrets are not read"),
    ("oauth2", "is in a secret, and secrets are not read"),
    ("authorization", "is in a secret, and secrets are not read"),
    ("proxyUrl", "is not used"),
    ("proxyFromEnvironment", "is not used"),
    ("noProxy", "is not used"),
    ("proxyConnectHeader", "is not used"),
];

/// Jobs, and what is not done of what monitors ask for. Most of a cluster's monitors select nothing of this node, and are
/// not read.
pub fn jobs(objects: &Objects, pods: &[Arc<Pod>], place: &Place) -> (Vec<Value>, Vec<String>) {
    let (mut jobs, mut troubles) = (vec![], vec![]);
    let selects_pod = |monitor: &known::Monitor| {
        pods.iter().any(|pod| monitor.selects(&pod.metadata.namespace, &pod.metadata.labels))
    };
    for monitor in objects.pod_monitors() {
        let Some(of) = Monitor::read(monitor, "podMonitor", selects_pod, &mut troubles) else { continue };
        for (at, endpoint) in of.spec.pod_metrics_endpoints.iter().enumerate() {
            let groups = of.pod_groups(endpoint, pods);
            jobs.extend(of.job(at, endpoint, groups, place, &mut troubles));
        }
    }
    let is_here = |service: &&Service| pods.iter().any(|pod| service.is_before(pod));
    let services: Vec<&Service> = objects.services().filter(is_here).collect();
    let selects_service = |monitor: &known::Monitor| {
        services.iter().any(|service| monitor.selects(&service.namespace, &service.labels))
    };
    for monitor in objects.service_monitors() {
        let Some(of) = Monitor::read(monitor, "serviceMonitor", selects_service, &mut troubles) else {
            continue;
        };
        for (at, endpoint) in of.spec.endpoints.iter().enumerate() {
            let groups = of.service_groups(endpoint, &services, pods);
            jobs.extend(of.job(at, endpoint, groups, place, &mut troubles));
        }
    }
    (jobs, troubles)
}

struct Monitor {
    kind: &'static str,
    namespace: String,
    name: String,
    spec: Spec,
}

impl Monitor {
    /// Where it selects something; what is not understood selects nothing, and is told.
    fn read(
        monitor: &known::Monitor,
        kind: &'static str,
        selects: impl Fn(&known::Monitor) -> bool,
        troubles: &mut Vec<String>,
    ) -> Option<Monitor> {
        let (namespace, name) = (monitor.namespace.clone(), monitor.name.clone());
        let spec = match &monitor.selection {
            Ok(_) if !selects(monitor) => return None,
            Ok(_) => serde_json::from_value::<Spec>(monitor.object()["spec"].take())
                .map_err(|wrong| wrong.to_string()),
            Err(wrong) => Err(wrong.clone()),
        };
        match spec {
            Ok(spec) => Some(Monitor { kind, namespace, name, spec }),
            Err(wrong) => {
                troubles.push(format!("{kind} {namespace}/{name} is not understood: {wrong}"));
                None
            }
        }
    }

    fn pod_groups(&self, endpoint: &Value, pods: &[Arc<Pod>]) -> Vec<Value> {
        let spec = &self.spec;
        let is_selected = |pod: &&Arc<Pod>| {
            meta::is_up(pod)
                && spec.namespace_selector.select(&self.namespace, &pod.metadata.namespace)
                && spec.selector.selects(&pod.metadata.labels)
        };
        let mut groups = vec![];
        for pod in pods.iter().filter(is_selected) {
            for port in wanted_ports(pod, endpoint) {
                let mut labels = meta::labels(pod, Some(&port));
                labels.extend(own(pod, &port, endpoint_name(endpoint, &port)));
                let job = pod.metadata.labels.get(&spec.job_label).filter(|job| !job.is_empty()).cloned();
                labels.insert(
                    "job".into(),
                    json!(job.unwrap_or_else(|| format!("{}/{}", self.namespace, self.name))),
                );
                carry(&spec.pod_target_labels, &pod.metadata.labels, &mut labels);
                groups.push(meta::group(&meta::address(&pod.status.pod_ip, port.number), labels));
            }
        }
        groups
    }

    fn service_groups(&self, endpoint: &Value, services: &[&Service], pods: &[Arc<Pod>]) -> Vec<Value> {
        let spec = &self.spec;
        let is_selected = |service: &&&Service| {
            spec.namespace_selector.select(&self.namespace, &service.namespace)
                && spec.selector.selects(&service.labels)
        };
        let mut groups = vec![];
        for service in services.iter().filter(is_selected) {
            let is_behind = |pod: &&Arc<Pod>| meta::is_up(pod) && service.is_before(pod);
            for pod in pods.iter().filter(is_behind) {
                for (name, port) in service.wanted_ports(endpoint, pod) {
                    let mut labels = meta::labels(pod, Some(&port));
                    labels.extend(own(pod, &port, name.clone()));
                    service.tell(&name, pod, &mut labels);
                    let named = service.labels.get(&spec.job_label).filter(|job| !job.is_empty());
                    let job = named.unwrap_or(&service.name);
                    labels.insert("job".into(), json!(job));
                    carry(&spec.target_labels, &service.labels, &mut labels);
                    carry(&spec.pod_target_labels, &pod.metadata.labels, &mut labels);
                    groups.push(meta::group(&meta::address(&pod.status.pod_ip, port.number), labels));
                }
            }
        }
        groups
    }

    fn job(
        &self,
        at: usize,
        endpoint: &Value,
        groups: Vec<Value>,
        place: &Place,
        troubles: &mut Vec<String>,
    ) -> Option<Value> {
        let Monitor { kind, namespace, name, spec } = self;
        if groups.is_empty() {
            return None;
        }
        let title = format!("{kind}/{namespace}/{name}/{at}");
        for (key, why) in REFUSED {
            if endpoint.get(key).is_some_and(|value| !is_empty(value) && *value != json!(false)) {
                troubles.push(format!("{title} is not scraped: its {key} {why}"));
                return None;
            }
        }
        let tls = match tls(&endpoint["tlsConfig"]) {
            Ok(tls) => tls,
            Err(why) => {
                troubles.push(format!("{title} is not scraped: its tlsConfig {why}"));
                return None;
            }
        };
        let mut job = meta::timing(place.interval);
        job.insert("job_name".into(), json!(title));
        if let Some(interval) = text(endpoint, "interval") {
            job.insert("scrape_interval".into(), json!(interval));
            // Prometheus' own, where the interval is no shorter.
            job.remove("scrape_timeout");
            job.extend(short_timeout(interval));
        }
        for (theirs, ours) in OF_ENDPOINT {
            if let Some(value) = endpoint.get(theirs).filter(|value| !is_empty(value)) {
                job.insert(ours.into(), value.clone());
            }
        }
        if let Some(Value::String(scheme)) = job.get_mut("scheme") {
            *scheme = scheme.to_lowercase();
        }
        if !tls.is_empty() {
            job.insert("tls_config".into(), tls.into());
        }
        for (theirs, ours) in OF_JOB {
            if let Some(value) = spec.more.get(theirs).filter(|value| !is_empty(value)) {
                job.insert(ours.into(), value.clone());
            }
        }
        // A quantity: `1.1`, "1100m".
        let factor = match &spec.native_histogram_min_bucket_factor {
            Value::String(text) => quantity::parse(text),
            other => other.as_f64(),
        };
        if let Some(factor) = factor {
            job.insert("native_histogram_min_bucket_factor".into(), json!(factor));
        }
        troubles.extend(self.not_done(endpoint).into_iter().map(|what| format!("{title}: {what}")));
        for (theirs, ours) in
            [("relabelings", "relabel_configs"), ("metricRelabelings", "metric_relabel_configs")]
        {
            if let Some(rules) = endpoint.get(theirs).and_then(Value::as_array) {
                job.insert(ours.into(), rules.iter().map(rule).collect());
            }
        }
        job.insert("static_configs".into(), groups.into());
        Some(job.into())
    }
}

impl Monitor {
    /// It is scraped, but not as its monitor says.
    fn not_done(&self, endpoint: &Value) -> Vec<String> {
        let mut told = vec![];
        if self.spec.attach_metadata.node {
            told.push("of attachMetadata.node only the node's name is there".to_owned());
        }
        if !self.spec.scrape_class.is_empty() {
            told.push(format!("scrapeClass {:?} is not read", self.spec.scrape_class));
        }
        let is_known = |key: &str| {
            let copied = OF_ENDPOINT.map(|(theirs, _)| theirs).into_iter();
            copied.chain(REFUSED.map(|(theirs, _)| theirs)).chain(KNOWN).any(|known| known == key)
        };
        let keys = endpoint.as_object().into_iter().flatten().map(|(key, _)| key);
        told.extend(keys.filter(|key| !is_known(key)).map(|key| format!("{key} is not known and not used")));
        told
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        // The operator writes `bearerTokenSecret: {key: ""}` where there is none.
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

pub fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value[name].as_str().filter(|text| !text.is_empty())
}

/// An interval of less than Prometheus' timeout is its timeout, too.
fn short_timeout(interval: &str) -> Option<(String, Value)> {
    let seconds: f64 = interval.strip_suffix("ms").map_or_else(
        || interval.strip_suffix('s').and_then(|number| number.parse().ok()),
        |number| number.parse::<f64>().ok().map(|ms| ms / 1e3),
    )?;
    (seconds < 10.0).then(|| ("scrape_timeout".to_owned(), json!(interval)))
}

/// A relabelling rule in the operator's spelling.
fn rule(written: &Value) -> Value {
    let mut rule = Map::new();
    for (name, value) in written.as_object().into_iter().flatten() {
        let (name, value) = match (name.as_str(), value) {
            ("sourceLabels", value) => ("source_labels", value.clone()),
            ("targetLabel", value) => ("target_label", value.clone()),
            // `Replace` and `replace` are one to the operator.
            ("action", Value::String(action)) => ("action", json!(action.to_lowercase())),
            (name, value) => (name, value.clone()),
        };
        rule.insert(name.to_owned(), value);
    }
    rule.into()
}

fn tls(written: &Value) -> Result<Map<String, Value>, &'static str> {
    let mut tls = Map::new();
    for (name, value) in written.as_object().into_iter().flatten().filter(|(_, value)| !is_empty(value)) {
        match name.as_str() {
            "insecureSkipVerify" => _ = tls.insert("insecure_skip_verify".into(), value.clone()),
            "serverName" => _ = tls.insert("server_name".into(), value.clone()),
            "minVersion" => _ = tls.insert("min_version".into(), value.clone()),
            "maxVersion" => _ = tls.insert("max_version".into(), value.clone()),
            "caFile" | "certFile" | "keyFile" => return Err("names a file of this agent, which is not read"),
            _ => return Err("is in a secret or config map, and those are not read"),
        }
    }
    Ok(tls)
}

/// What every target of a monitor is known by.
fn own(pod: &Pod, port: &Port, endpoint: String) -> Map<String, Value> {
    Map::from_iter([
        ("namespace".to_owned(), json!(pod.metadata.namespace)),
        ("pod".to_owned(), json!(pod.metadata.name)),
        ("container".to_owned(), json!(port.container)),
        ("endpoint".to_owned(), json!(endpoint)),
    ])
}

fn carry(names: &[String], of: &BTreeMap<String, String>, labels: &mut Map<String, Value>) {
    for name in names {
        if let Some(value) = of.get(name) {
            labels.insert(label_name(name), json!(value));
        }
    }
}

fn endpoint_name(endpoint: &Value, port: &Port) -> String {
    let named = text(endpoint, "port").map(str::to_owned);
    named.unwrap_or_else(|| if port.name.is_empty() { port.number.to_string() } else { port.name.clone() })
}

/// Ports of a pod that a PodMonitor's endpoint means: by name, by number, or all that are declared.
fn wanted_ports(pod: &Pod, endpoint: &Value) -> Vec<Port> {
    let declared = meta::ports(pod);
    if let Some(name) = text(endpoint, "port") {
        return declared.into_iter().filter(|port| port.name == name).collect();
    }
    let target = match endpoint["portNumber"].as_u64() {
        Some(number) => json!(number),
        None => endpoint["targetPort"].clone(),
    };
    if target.is_null() { declared } else { of_target(&target, pod).into_iter().collect() }
}

/// The port of a pod by its name or number; a number need not be declared.
pub fn of_target(target: &Value, pod: &Pod) -> Option<Port> {
    let declared = meta::ports(pod);
    if let Some(name) = target.as_str().filter(|name| name.parse::<u16>().is_err()) {
        return declared.into_iter().find(|port| port.name == name);
    }
    let number = target.as_str().and_then(|text| text.parse().ok());
    let number = number.or_else(|| target.as_u64().and_then(|number| u16::try_from(number).ok()))?;
    let undeclared = || {
        let container = pod.spec.containers.first().map(|container| container.name.clone());
        Port { container: container.unwrap_or_default(), name: String::new(), number }
    };
    Some(declared.into_iter().find(|port| port.number == number).unwrap_or_else(undeclared))
}
