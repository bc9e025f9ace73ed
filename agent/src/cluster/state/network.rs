//! How pods are reached: services and what is behind them, ingresses, and who may.

use super::{Of, list, texts, version};
use crate::objects;
use serde_json::Value;

/// What a service selects pods by, under OpenCost's name: whose pods they are cannot be told otherwise.
fn selector(object: &Value, of: &mut Of<'_, '_>) {
    let Some(selector) = object.pointer("/spec/selector").and_then(Value::as_object) else { return };
    let names = objects::named("label", texts(Some(selector)));
    let mut labels = of.labels.clone();
    labels.retain(|(name, _)| *name != "uid");
    labels.extend(names.iter().map(|(name, value)| (name.as_str(), *value)));
    of.out.gauge("service_selector_labels", "service selector labels", &labels, 1.0);
}

pub(super) fn service(object: &Value, of: &mut Of<'_, '_>) {
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

/// A number as a label; without it the label is none.
fn number(value: &Value) -> String {
    value.as_i64().map_or(String::new(), |number| number.to_string())
}

pub(super) fn endpoint_slice(object: &Value, of: &mut Of<'_, '_>) {
    let kind = object["addressType"].as_str().unwrap_or("");
    of.gauge("info", &[("addresstype", kind)], 1.0);
    for endpoint in list(object, "/endpoints") {
        let text = |path: &str| endpoint.pointer(path).and_then(Value::as_str).unwrap_or("");
        let truth = |path: &str| match endpoint.pointer(path).and_then(Value::as_bool) {
            Some(true) => "true",
            Some(false) => "false",
            None => "",
        };
        let labels = [
            ("ready", truth("/conditions/ready")),
            ("serving", truth("/conditions/serving")),
            ("terminating", truth("/conditions/terminating")),
            ("hostname", text("/hostname")),
            ("targetref_kind", text("/targetRef/kind")),
            ("targetref_name", text("/targetRef/name")),
            ("targetref_namespace", text("/targetRef/namespace")),
            ("endpoint_nodename", text("/nodeName")),
            ("endpoint_zone", text("/zone")),
        ];
        for address in list(endpoint, "/addresses").filter_map(Value::as_str) {
            let labels: Vec<(&str, &str)> = labels.into_iter().chain([("address", address)]).collect();
            of.gauge("endpoints", &labels, 1.0);
        }
        let first = text("/addresses/0");
        for zone in list(endpoint, "/hints/forZones").filter(|_| !first.is_empty()) {
            let zone = zone["name"].as_str().unwrap_or("");
            of.gauge("endpoints_hints", &[("address", first), ("for_zone", zone)], 1.0);
        }
    }
    for port in list(object, "/ports") {
        let text = |name: &str| port[name].as_str().unwrap_or("");
        let number = number(&port["port"]);
        let labels = [
            ("port_name", text("name")),
            ("port_protocol", text("protocol")),
            ("port_number", number.as_str()),
        ];
        of.gauge("ports", &labels, 1.0);
    }
}

pub(super) fn ingress(object: &Value, of: &mut Of<'_, '_>) {
    // The annotation is what there was before the field, and is preferred where there are both.
    let class = ["/metadata/annotations/kubernetes.io~1ingress.class", "/spec/ingressClassName"];
    let class = class.iter().find_map(|path| object.pointer(path)?.as_str());
    of.gauge("info", &[("ingressclass", class.unwrap_or("_default"))], 1.0);
    version(object, of);
    for rule in list(object, "/spec/rules") {
        let host = rule["host"].as_str().unwrap_or("");
        for path in list(rule, "/http/paths") {
            let text = |name: &str| path.pointer(name).and_then(Value::as_str).unwrap_or("");
            // A port that is named is number 0, as there.
            let port = path.pointer("/backend/service/port/number").and_then(Value::as_u64).unwrap_or(0);
            let port = port.to_string();
            let mut labels = vec![("host", host), ("path", text("/path")), ("path_type", text("/pathType"))];
            labels.extend(match path.pointer("/backend/service") {
                Some(_) => {
                    vec![("service_name", text("/backend/service/name")), ("service_port", port.as_str())]
                }
                None => vec![
                    ("resource_api_group", text("/backend/resource/apiGroup")),
                    ("resource_kind", text("/backend/resource/kind")),
                    ("resource_name", text("/backend/resource/name")),
                ],
            });
            of.gauge("path", &labels, 1.0);
        }
    }
    for tls in list(object, "/spec/tls") {
        let secret = tls["secretName"].as_str().unwrap_or("");
        for host in list(tls, "/hosts").filter_map(Value::as_str) {
            of.gauge("tls", &[("tls_host", host), ("secret", secret)], 1.0);
        }
    }
}

pub(super) fn policy(object: &Value, of: &mut Of<'_, '_>) {
    for (name, path) in [("spec_ingress_rules", "/spec/ingress"), ("spec_egress_rules", "/spec/egress")] {
        of.gauge(name, &[], list(object, path).count() as f64);
    }
}
