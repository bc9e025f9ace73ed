//! The messages of `tempopb.StreamingQuerier`, by the numbers of Tempo's `pkg/tempopb/tempo.proto`, and what of an answer
//! goes into them. Fields that tell of Tempo's blocks and shards have no meaning here and are left out. Messages are bounded: a gRPC client takes 4 MiB unless
//! told otherwise, so a long answer is several.

use super::otlp;
use crate::grpc::MESSAGE_BYTES_MAX;
use engine::{
    FoundSpan, FoundSpanset, FoundTrace, TraceExemplar, TraceMetrics, TraceSearch, TraceSeries, TraceTags,
    prom_labels,
};
use model::Value;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use prost::Message;
use std::collections::HashMap;

#[derive(Clone, PartialEq, prost::Message)]
pub struct SearchRequest {
    #[prost(map = "string, string", tag = "1")]
    pub tags: HashMap<String, String>,
    #[prost(uint32, tag = "2")]
    pub min_duration_ms: u32,
    #[prost(uint32, tag = "3")]
    pub max_duration_ms: u32,
    #[prost(uint32, tag = "4")]
    pub limit: u32,
    /// Seconds.
    #[prost(uint32, tag = "5")]
    pub start: u32,
    #[prost(uint32, tag = "6")]
    pub end: u32,
    #[prost(string, tag = "8")]
    pub query: String,
    #[prost(uint32, tag = "9")]
    pub spans_per_span_set: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SearchResponse {
    #[prost(message, repeated, tag = "1")]
    pub traces: Vec<TraceSearchMetadata>,
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<SearchMetrics>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TraceSearchMetadata {
    #[prost(string, tag = "1")]
    pub trace_id: String,
    #[prost(string, tag = "2")]
    pub root_service_name: String,
    #[prost(string, tag = "3")]
    pub root_trace_name: String,
    #[prost(uint64, tag = "4")]
    pub start_time_unix_nano: u64,
    #[prost(uint32, tag = "5")]
    pub duration_ms: u32,
    #[prost(message, repeated, tag = "7")]
    pub span_sets: Vec<SpanSet>,
    #[prost(map = "string, message", tag = "8")]
    pub service_stats: HashMap<String, ServiceStats>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ServiceStats {
    #[prost(uint32, tag = "1")]
    pub span_count: u32,
    #[prost(uint32, tag = "2")]
    pub error_count: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SpanSet {
    #[prost(message, repeated, tag = "1")]
    pub spans: Vec<Span>,
    #[prost(uint32, tag = "2")]
    pub matched: u32,
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Span {
    #[prost(string, tag = "1")]
    pub span_id: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(uint64, tag = "3")]
    pub start_time_unix_nano: u64,
    #[prost(uint64, tag = "4")]
    pub duration_nanos: u64,
    #[prost(message, repeated, tag = "5")]
    pub attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SearchMetrics {
    #[prost(uint32, tag = "1")]
    pub inspected_traces: u32,
    #[prost(uint32, tag = "4")]
    pub completed_jobs: u32,
    #[prost(uint32, tag = "5")]
    pub total_jobs: u32,
    #[prost(uint64, tag = "7")]
    pub inspected_spans: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SearchTagsRequest {
    #[prost(string, tag = "1")]
    pub scope: String,
    #[prost(string, tag = "2")]
    pub query: String,
    /// Seconds.
    #[prost(uint32, tag = "3")]
    pub start: u32,
    #[prost(uint32, tag = "4")]
    pub end: u32,
    #[prost(uint32, tag = "5")]
    pub max_tags_per_scope: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SearchTagsResponse {
    #[prost(string, repeated, tag = "1")]
    pub tag_names: Vec<String>,
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<MetadataMetrics>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SearchTagsV2Response {
    #[prost(message, repeated, tag = "1")]
    pub scopes: Vec<SearchTagsV2Scope>,
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<MetadataMetrics>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SearchTagsV2Scope {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, repeated, tag = "2")]
    pub tags: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SearchTagValuesRequest {
    #[prost(string, tag = "1")]
    pub tag_name: String,
    #[prost(string, tag = "2")]
    pub query: String,
    /// Seconds.
    #[prost(uint32, tag = "4")]
    pub start: u32,
    #[prost(uint32, tag = "5")]
    pub end: u32,
    #[prost(uint32, tag = "6")]
    pub max_tag_values: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SearchTagValuesResponse {
    #[prost(string, repeated, tag = "1")]
    pub tag_values: Vec<String>,
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<MetadataMetrics>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SearchTagValuesV2Response {
    #[prost(message, repeated, tag = "1")]
    pub tag_values: Vec<TagValue>,
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<MetadataMetrics>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TagValue {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct MetadataMetrics {
    #[prost(uint32, tag = "2")]
    pub total_jobs: u32,
    #[prost(uint32, tag = "3")]
    pub completed_jobs: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct QueryRangeRequest {
    #[prost(string, tag = "1")]
    pub query: String,
    /// Nanoseconds.
    #[prost(uint64, tag = "2")]
    pub start: u64,
    #[prost(uint64, tag = "3")]
    pub end: u64,
    #[prost(uint64, tag = "4")]
    pub step: u64,
    #[prost(uint32, tag = "16")]
    pub exemplars: u32,
    /// 0 are all.
    #[prost(uint32, tag = "17")]
    pub max_series: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct QueryInstantRequest {
    #[prost(string, tag = "1")]
    pub query: String,
    /// Nanoseconds.
    #[prost(uint64, tag = "2")]
    pub start: u64,
    #[prost(uint64, tag = "3")]
    pub end: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct QueryRangeResponse {
    #[prost(message, repeated, tag = "1")]
    pub series: Vec<TimeSeries>,
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<SearchMetrics>,
    /// 0 for a whole answer, 1 for a part of it.
    #[prost(int32, tag = "3")]
    pub status: i32,
    #[prost(string, tag = "4")]
    pub message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<KeyValue>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Reserved since Tempo 2.9; a Grafana that is older names its series by it.
    #[prost(string, tag = "3")]
    pub prom_labels: String,
    #[prost(message, repeated, tag = "4")]
    pub exemplars: Vec<Exemplar>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Sample {
    #[prost(double, tag = "1")]
    pub value: f64,
    #[prost(int64, tag = "2")]
    pub timestamp_ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<KeyValue>,
    #[prost(double, tag = "2")]
    pub value: f64,
    #[prost(int64, tag = "3")]
    pub timestamp_ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct QueryInstantResponse {
    #[prost(message, repeated, tag = "1")]
    pub series: Vec<InstantSeries>,
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<SearchMetrics>,
    #[prost(int32, tag = "3")]
    pub status: i32,
    #[prost(string, tag = "4")]
    pub message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct InstantSeries {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<KeyValue>,
    #[prost(double, tag = "2")]
    pub value: f64,
    #[prost(string, tag = "3")]
    pub prom_labels: String,
}

/// Of part `at` of `of`.
pub fn done(at: usize, of: usize) -> Option<MetadataMetrics> {
    Some(MetadataMetrics { completed_jobs: at as u32 + 1, total_jobs: of as u32 })
}

/// A whole answer: each warning stands for a job that did not come to its end.
pub fn search(found: &TraceSearch) -> SearchResponse {
    let metrics = SearchMetrics {
        inspected_traces: found.inspected_traces as u32,
        inspected_spans: found.inspected_spans,
        completed_jobs: 1,
        total_jobs: 1 + found.warnings.len() as u32,
    };
    SearchResponse { traces: found.traces.iter().map(trace).collect(), metrics: Some(metrics) }
}

pub fn tags(found: TraceTags) -> SearchTagsV2Response {
    let scopes = found.into_iter().map(|(name, tags)| SearchTagsV2Scope { name: name.to_owned(), tags });
    SearchTagsV2Response { scopes: scopes.collect(), metrics: done(0, 1) }
}

pub fn value(found: engine::TagValue) -> TagValue {
    TagValue { kind: found.kind.to_owned(), value: found.value }
}

/// With as many of its spans as go into one message; `matched` says how many there are.
pub fn trace(found: &FoundTrace) -> TraceSearchMetadata {
    let stats = found.services.iter().map(|(service, stats)| {
        (service.clone(), ServiceStats { span_count: stats.spans, error_count: stats.errors })
    });
    let mut message = TraceSearchMetadata {
        trace_id: hex::encode(found.trace_id),
        root_service_name: found.root_service.clone(),
        root_trace_name: found.root_name.clone(),
        start_time_unix_nano: unsigned(found.start_ns),
        duration_ms: (found.duration_ns / 1_000_000).clamp(0, i64::from(u32::MAX)) as u32,
        span_sets: found.spansets.iter().map(spanset).collect(),
        service_stats: stats.collect(),
    };
    while message.encoded_len() > MESSAGE_BYTES_MAX {
        let longest = message.span_sets.iter_mut().max_by_key(|set| set.spans.len());
        match longest {
            Some(set) if !set.spans.is_empty() => set.spans.truncate(set.spans.len() / 2),
            _ => break,
        }
    }
    message
}

fn spanset(found: &FoundSpanset) -> SpanSet {
    SpanSet {
        spans: found.spans.iter().map(span).collect(),
        matched: found.matched as u32,
        attributes: pairs(&found.attributes),
    }
}

fn span(found: &FoundSpan) -> Span {
    Span {
        span_id: hex::encode(found.span_id),
        name: found.name.clone(),
        start_time_unix_nano: unsigned(found.start_ns),
        duration_nanos: unsigned(found.duration_ns),
        attributes: pairs(&found.attributes),
    }
}

fn unsigned(ns: i64) -> u64 {
    u64::try_from(ns).unwrap_or(0)
}

fn pairs(attributes: &[(String, Value)]) -> Vec<KeyValue> {
    attributes.iter().map(|(name, value)| otlp::pair(name, otlp::any(value))).collect()
}

pub fn series(found: &TraceSeries) -> TimeSeries {
    let exemplar = |exemplar: &TraceExemplar| Exemplar {
        labels: pairs(&exemplar.labels()),
        value: exemplar.value,
        timestamp_ms: exemplar.ts_ms,
    };
    TimeSeries {
        labels: pairs(&found.labels),
        samples: found
            .points
            .iter()
            .map(|(timestamp_ms, value)| Sample { timestamp_ms: *timestamp_ms, value: *value })
            .collect(),
        prom_labels: prom_labels(&found.labels),
        exemplars: found.exemplars.iter().map(exemplar).collect(),
    }
}

pub fn instant_series(found: &TraceSeries) -> InstantSeries {
    InstantSeries {
        labels: pairs(&found.labels),
        value: found.points.first().map_or(0.0, |(_, value)| *value),
        prom_labels: prom_labels(&found.labels),
    }
}

/// Of part `at` of `of`: each warning stands for a job that did not come to its end.
pub fn search_metrics(found: &TraceMetrics, at: usize, of: usize) -> SearchMetrics {
    SearchMetrics {
        inspected_spans: found.inspected_spans,
        completed_jobs: at as u32 + 1,
        total_jobs: (of + found.warnings.len()) as u32,
        ..SearchMetrics::default()
    }
}
