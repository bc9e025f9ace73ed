//! Rows T2, T6 and T9 of what Grafana calls, by a gRPC client over a socket.

use super::super::tests::{TRACE, World};
use super::message::{
    MetadataMetrics, QueryInstantRequest, QueryInstantResponse, QueryRangeRequest, QueryRangeResponse,
    SearchRequest, SearchResponse, SearchTagValuesRequest, SearchTagValuesResponse,
    SearchTagValuesV2Response, SearchTagsRequest, SearchTagsResponse, SearchTagsV2Response,
    SearchTagsV2Scope, ServiceStats, TagValue,
};
use super::*;
use crate::grpc::MESSAGE_BYTES_MAX;
use std::collections::HashMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

async fn client(world: &World) -> tonic::client::Grpc<Channel> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = router(world.engine.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    tonic::client::Grpc::new(channel)
}

async fn ask<Q, A>(world: &World, call: &'static str, message: Q, tenant: &str) -> Result<Vec<A>, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let mut client = client(world).await;
    client.ready().await.unwrap();
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-scope-orgid", tenant.parse().unwrap());
    let path = http::uri::PathAndQuery::try_from(format!("/tempopb.StreamingQuerier/{call}")).unwrap();
    let codec = ProstCodec::<Q, A>::default();
    let mut stream = client.server_streaming(request, path, codec).await?.into_inner();
    let mut messages = vec![];
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

fn seconds(world: &World) -> (u32, u32) {
    let start = (world.start_ns / 1_000_000_000) as u32;
    (start - 60, start + 60)
}

#[tokio::test]
async fn t2_t6_a_search_is_told_while_it_goes_on() {
    let world = World::new().await;
    let (start, end) = seconds(&world);
    let query = "{ span.http.response.status_code >= 500 }".to_owned();
    let asked = SearchRequest { query, limit: 20, spans_per_span_set: 3, start, end, ..Default::default() };
    let told: Vec<SearchResponse> = ask(&world, "Search", asked, "default").await.unwrap();
    let [first, last] = told.as_slice() else { panic!("{told:?}") };
    let [trace] = first.traces.as_slice() else { panic!("{first:?}") };
    assert_eq!((trace.trace_id.as_str(), trace.duration_ms), (TRACE, 400));
    assert_eq!(
        (trace.root_service_name.as_str(), trace.root_trace_name.as_str()),
        ("frontend", "GET /checkout")
    );
    assert_eq!(trace.start_time_unix_nano, world.start_ns as u64);
    assert_eq!(trace.service_stats["frontend"], ServiceStats { span_count: 1, error_count: 1 });
    let span = &trace.span_sets[0].spans[0];
    assert_eq!((span.span_id.as_str(), span.duration_nanos), ("0101010101010101", 400_000_000));
    assert_eq!(span.attributes[0].key, "http.response.status_code");
    let jobs = |told: &SearchResponse| told.metrics.as_ref().map(|m| (m.completed_jobs, m.total_jobs));
    assert_eq!((jobs(first), jobs(last)), (Some((1, 2)), Some((2, 2))));
    assert_eq!((last.traces.len(), last.metrics.as_ref().unwrap().inspected_traces), (0, 1));

    // Tags as they were before TraceQL; what another tenant asks finds nothing.
    let tags = HashMap::from([("service.name".to_owned(), "frontend".to_owned())]);
    let asked = SearchRequest { tags, min_duration_ms: 100, start, end, ..Default::default() };
    let told: Vec<SearchResponse> = ask(&world, "Search", asked.clone(), "default").await.unwrap();
    assert_eq!(told[0].traces[0].trace_id, TRACE);
    let told: Vec<SearchResponse> = ask(&world, "Search", asked, "another").await.unwrap();
    assert!(told.iter().all(|message| message.traces.is_empty()), "{told:?}");
}

#[tokio::test]
async fn t9_metrics() {
    let world = World::new().await;
    let start = (world.start_ns - 60_000_000_000) as u64;
    let (end, minute) = (start + 120_000_000_000, 60_000_000_000);
    let query = "{} | count_over_time() by (resource.service.name)".to_owned();
    let asked =
        QueryRangeRequest { query: query.clone(), start, end, step: minute, exemplars: 10, max_series: 0 };
    let told: Vec<QueryRangeResponse> =
        ask(&world, "MetricsQueryRange", asked.clone(), "default").await.unwrap();
    let [answer] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((answer.series.len(), answer.status), (2, 0));
    let series = &answer.series[0];
    assert_eq!(series.prom_labels, "{resource.service.name=\"frontend\"}");
    assert_eq!(series.labels[0].key, "resource.service.name");
    assert_eq!(series.samples.iter().map(|sample| sample.value).sum::<f64>(), 1.0);
    assert_eq!(series.samples[1].timestamp_ms - series.samples[0].timestamp_ms, 60_000);
    assert_eq!(series.exemplars.len(), 1);
    let metrics = answer.metrics.as_ref().unwrap();
    assert_eq!((metrics.completed_jobs, metrics.total_jobs, metrics.inspected_spans), (1, 1, 2));

    let asked = QueryRangeRequest { max_series: 1, ..asked };
    let told: Vec<QueryRangeResponse> = ask(&world, "MetricsQueryRange", asked, "default").await.unwrap();
    assert_eq!((told[0].series.len(), told[0].status), (1, 1));
    assert_eq!(told[0].message, "of 2 series these are the first 1, as maxSeries says");

    let asked = QueryInstantRequest { query, start, end };
    let told: Vec<QueryInstantResponse> = ask(&world, "MetricsQueryInstant", asked, "default").await.unwrap();
    assert_eq!(told[0].series.iter().map(|series| series.value).collect::<Vec<_>>(), [1.0, 1.0]);
}

#[tokio::test]
async fn tags_and_their_values() {
    let world = World::new().await;
    let (start, end) = seconds(&world);
    let asked = SearchTagsRequest { start, end, ..Default::default() };
    let told: Vec<SearchTagsResponse> = ask(&world, "SearchTags", asked.clone(), "default").await.unwrap();
    assert!(told[0].tag_names.contains(&"pool.name".to_owned()), "{told:?}");
    // A filter leaves the names of the spans that it finds.
    let asked = SearchTagsRequest {
        scope: "span".into(),
        query: "{ resource.service.name = \"orders\" }".into(),
        ..asked
    };
    let told: Vec<SearchTagsV2Response> = ask(&world, "SearchTagsV2", asked, "default").await.unwrap();
    let scope = SearchTagsV2Scope { name: "span".into(), tags: vec!["pool.name".into()] };
    assert_eq!(told[0].scopes, [scope]);
    assert_eq!(told[0].metrics, Some(MetadataMetrics { total_jobs: 1, completed_jobs: 1 }));

    let values =
        |name: &str| SearchTagValuesRequest { tag_name: name.into(), start, end, ..Default::default() };
    let told: Vec<SearchTagValuesResponse> =
        ask(&world, "SearchTagValues", values("service.name"), "default").await.unwrap();
    assert_eq!(told[0].tag_values, ["frontend", "orders"]);
    let told: Vec<SearchTagValuesV2Response> =
        ask(&world, "SearchTagValuesV2", values("span.http.response.status_code"), "default").await.unwrap();
    assert_eq!(told[0].tag_values, [TagValue { kind: "int".into(), value: "500".into() }]);
}

#[tokio::test]
async fn mistakes_have_a_code_and_a_sentence() {
    let world = World::new().await;
    let search = |query: &str| SearchRequest { query: query.into(), ..Default::default() };
    let wrong = ask::<_, SearchResponse>(&world, "Search", search("{ duration >"), "default").await;
    let wrong = wrong.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(wrong.message().contains("line 1, col 13"), "{wrong}");
    let wrong = ask::<_, SearchResponse>(&world, "Search", search("{}"), "../other").await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    let wrong = ask::<_, SearchResponse>(&world, "Nothing", search("{}"), "default").await.unwrap_err();
    assert_eq!(wrong.code(), Code::Unimplemented);
}

#[test]
fn no_message_is_larger_than_a_client_takes() {
    let values: Vec<String> = (0..40_000).map(|at| format!("{at:0>200}")).collect();
    let split = parts(values.clone(), String::len);
    assert_eq!(split.len(), 3);
    assert_eq!(split.concat(), values);
    for tag_values in split {
        let message = SearchTagValuesResponse { tag_values, metrics: message::done(0, 1) };
        assert!(prost::Message::encoded_len(&message) < 4 << 20);
    }
    assert_eq!(parts(Vec::<String>::new(), String::len), [Vec::<String>::new()]);

    let span = engine::FoundSpan {
        span_id: [1; 8],
        name: "n".repeat(1_000),
        start_ns: 0,
        duration_ns: 1,
        attributes: vec![],
    };
    let spans = engine::FoundSpanset { spans: vec![span; 10_000], matched: 10_000, attributes: vec![] };
    let found = engine::FoundTrace {
        trace_id: [1; 16],
        root_service: String::new(),
        root_name: String::new(),
        start_ns: 0,
        duration_ns: 1,
        spansets: vec![spans],
        services: Default::default(),
    };
    let fitted = message::trace(&found);
    assert!(prost::Message::encoded_len(&fitted) <= MESSAGE_BYTES_MAX);
    assert_eq!((fitted.span_sets[0].matched, fitted.span_sets[0].spans.len()), (10_000, 2_500));
}
