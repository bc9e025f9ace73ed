//! `zipkin.proto3` of openzipkin/zipkin-api, by its numbers: the same spans as in JSON.

use super::{Annotation, Endpoint, Sent};
use crate::Malformed;
use prost::Message;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListOfSpans {
    #[prost(message, repeated, tag = "1")]
    pub spans: Vec<SpanMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SpanMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub parent_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub id: Vec<u8>,
    /// 1 CLIENT, 2 SERVER, 3 PRODUCER, 4 CONSUMER.
    #[prost(int32, tag = "4")]
    pub kind: i32,
    #[prost(string, tag = "5")]
    pub name: String,
    #[prost(fixed64, tag = "6")]
    pub timestamp: u64,
    #[prost(uint64, tag = "7")]
    pub duration: u64,
    #[prost(message, optional, tag = "8")]
    pub local_endpoint: Option<EndpointMessage>,
    #[prost(message, optional, tag = "9")]
    pub remote_endpoint: Option<EndpointMessage>,
    #[prost(message, repeated, tag = "10")]
    pub annotations: Vec<AnnotationMessage>,
    #[prost(btree_map = "string, string", tag = "11")]
    pub tags: BTreeMap<String, String>,
    #[prost(bool, tag = "12")]
    pub debug: bool,
    #[prost(bool, tag = "13")]
    pub shared: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EndpointMessage {
    #[prost(string, tag = "1")]
    pub service_name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub ipv4: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub ipv6: Vec<u8>,
    #[prost(int32, tag = "4")]
    pub port: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AnnotationMessage {
    #[prost(fixed64, tag = "1")]
    pub timestamp: u64,
    #[prost(string, tag = "2")]
    pub value: String,
}

pub(super) fn spans(body: &[u8]) -> Result<Vec<Sent>, Malformed> {
    let list = ListOfSpans::decode(body)
        .map_err(|wrong| Malformed(format!("not a ListOfSpans of Zipkin's protobuf: {wrong}")))?;
    Ok(list.spans.into_iter().map(sent).collect())
}

fn sent(span: SpanMessage) -> Sent {
    let id = |bytes: Vec<u8>| (!bytes.is_empty()).then(|| hex::encode(bytes));
    let kind = match span.kind {
        1 => Some("CLIENT"),
        2 => Some("SERVER"),
        3 => Some("PRODUCER"),
        4 => Some("CONSUMER"),
        _ => None,
    };
    let annotation =
        |one: AnnotationMessage| Annotation { timestamp: signed(one.timestamp), value: one.value };
    Sent {
        trace_id: hex::encode(span.trace_id),
        id: hex::encode(span.id),
        parent_id: id(span.parent_id),
        name: Some(span.name),
        kind: kind.map(str::to_owned),
        timestamp: Some(signed(span.timestamp)),
        duration: Some(signed(span.duration)),
        shared: Some(span.shared),
        debug: Some(span.debug),
        local_endpoint: span.local_endpoint.map(endpoint),
        remote_endpoint: span.remote_endpoint.map(endpoint),
        annotations: Some(span.annotations.into_iter().map(annotation).collect()),
        tags: Some(span.tags),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn endpoint(sent: EndpointMessage) -> Endpoint {
    let v4 = <[u8; 4]>::try_from(sent.ipv4).ok().map(|bytes| Ipv4Addr::from(bytes).to_string());
    let v6 = <[u8; 16]>::try_from(sent.ipv6).ok().map(|bytes| Ipv6Addr::from(bytes).to_string());
    Endpoint { service_name: Some(sent.service_name), ipv4: v4, ipv6: v6, port: Some(i64::from(sent.port)) }
}
