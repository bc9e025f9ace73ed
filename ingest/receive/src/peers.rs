//! Senders that are known by their address: their resources are completed, what they say of themselves stands.
//!
//! The address comes in a header that the listener sets on every request, whatever the sender wrote there.

use axum::http::HeaderMap;
use model::{Attributes, Batch, Identify, Value, attribute};
use std::net::IpAddr;
use std::sync::Arc;
use wire::otlp::{ExportLogsServiceRequest, ExportMetricsServiceRequest, Resource, attributes};

/// Set by the listener; what a sender writes there is thrown away.
pub const PEER_HEADER: &str = "x-binnacle-peer";

pub fn of(headers: &HeaderMap) -> Option<IpAddr> {
    let peer: IpAddr = headers.get(PEER_HEADER)?.to_str().ok()?.parse().ok()?;
    // A listener on IPv6 has IPv4 callers, too.
    Some(peer.to_canonical())
}

/// Spans. Metrics and logs are completed before they become series and streams: see [`complete_metrics`].
pub fn complete(identify: &dyn Identify, peer: IpAddr, batch: &mut Batch) {
    let Batch::Spans(spans) = batch else { return };
    for resource in &mut spans.resources {
        let mut attributes = (*resource.resource).clone();
        add(identify, peer, &mut attributes);
        resource.resource = Arc::new(attributes);
    }
}

fn add(identify: &dyn Identify, peer: IpAddr, resource: &mut Attributes) {
    let said = |name: &str| attribute(resource, name).and_then(Value::as_str).map(str::to_owned);
    let known = identify.identify(peer, &said);
    for (name, value) in known {
        if attribute(resource, &name).is_none() {
            resource.push((name, value));
        }
    }
}

/// Before series are made, so that two pods that send the same metric do not become one series.
pub fn complete_metrics(identify: &dyn Identify, peer: IpAddr, request: &mut ExportMetricsServiceRequest) {
    for metrics in &mut request.resource_metrics {
        add_sent(identify, peer, metrics.resource.get_or_insert_default());
    }
}

/// Before streams are made: namespace, workload and pod are among their labels.
pub fn complete_logs(identify: &dyn Identify, peer: IpAddr, request: &mut ExportLogsServiceRequest) {
    for logs in &mut request.resource_logs {
        add_sent(identify, peer, logs.resource.get_or_insert_default());
    }
}

fn add_sent(identify: &dyn Identify, peer: IpAddr, resource: &mut Resource) {
    let said = |name: &str| {
        let pair = resource.attributes.iter().find(|pair| pair.key == name)?;
        attributes::value(pair.value.clone()).as_str().map(str::to_owned)
    };
    for (name, value) in identify.identify(peer, &said) {
        if !resource.attributes.iter().any(|pair| pair.key == name) {
            resource.attributes.push(attributes::pair(&name, attributes::any(&value)));
        }
    }
}
