//! Jaeger's query service by a gRPC client over a socket.

use super::super::tests::{TRACE, World};
use super::*;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

async fn client(world: &World) -> tonic::client::Grpc<Channel> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = router(world.engine.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    client
}

fn path(call: &str) -> http::uri::PathAndQuery {
    http::uri::PathAndQuery::try_from(format!("/{SERVICE}/{call}")).unwrap()
}

async fn ask<Q, A>(world: &World, call: &str, message: Q) -> Result<Vec<A>, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let codec = ProstCodec::<Q, A>::default();
    let stream = client(world).await.server_streaming(Request::new(message), path(call), codec).await?;
    let (mut stream, mut messages) = (stream.into_inner(), vec![]);
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

/// A call of one answer, as a client makes it.
async fn ask_one<Q, A>(world: &World, call: &str, message: Q) -> Result<A, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let codec = ProstCodec::<Q, A>::default();
    Ok(client(world).await.unary(Request::new(message), path(call), codec).await?.into_inner())
}

fn seconds(ns: i64) -> Option<Seconds> {
    Some(Seconds { seconds: ns.div_euclid(1_000_000_000), nanos: ns.rem_euclid(1_000_000_000) as i32 })
}

#[tokio::test]
async fn services_operations_and_who_calls_whom() {
    let world = World::new().await;
    let services: GetServicesResponse = ask_one(&world, "GetServices", GetServicesRequest {}).await.unwrap();
    assert_eq!(services.services, ["frontend", "orders"]);
    let asked = GetOperationsRequest { service: "frontend".into(), span_kind: String::new() };
    let found: GetOperationsResponse = ask_one(&world, "GetOperations", asked.clone()).await.unwrap();
    assert!(!found.operations.is_empty(), "{found:?}");
    let kind = found.operations[0].span_kind.clone();
    let asked = GetOperationsRequest { span_kind: "nothing".into(), ..asked };
    let none: GetOperationsResponse = ask_one(&world, "GetOperations", asked).await.unwrap();
    assert_eq!((none.operations.len(), kind.as_str()), (0, "server"));
    let nobody = GetOperationsRequest::default();
    let wrong = ask_one::<_, GetOperationsResponse>(&world, "GetOperations", nobody).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    let asked = GetDependenciesRequest {
        start_time: seconds(world.start_ns - 60_000_000_000),
        end_time: seconds(world.start_ns + 60_000_000_000),
    };
    let found: DependenciesResponse = ask_one(&world, "GetDependencies", asked).await.unwrap();
    let [edge] = found.dependencies.as_slice() else { panic!("{found:?}") };
    assert_eq!((edge.parent.as_str(), edge.child.as_str(), edge.call_count), ("frontend", "orders", 1));
}

#[tokio::test]
async fn a_trace_by_its_id_and_by_what_it_holds() {
    let world = World::new().await;
    let asked = GetTraceRequest { trace_id: TRACE.into(), ..Default::default() };
    let found: Vec<TracesData> = ask(&world, "GetTrace", asked).await.unwrap();
    let [trace] = found.as_slice() else { panic!("{found:?}") };
    let spans: usize = trace.resource_spans.iter().map(|of| of.scope_spans[0].spans.len()).sum();
    assert!(spans >= 2, "{trace:?}");
    let unknown = GetTraceRequest { trace_id: "ff".into(), ..Default::default() };
    let wrong = ask::<_, TracesData>(&world, "GetTrace", unknown).await.unwrap_err();
    assert_eq!(wrong.code(), Code::NotFound);
    let wrong = ask::<_, TracesData>(&world, "GetTrace", GetTraceRequest::default()).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);

    let query = TraceQuery {
        service_name: "frontend".into(),
        attributes: BTreeMap::from([("error".to_owned(), "true".to_owned())]),
        start_time_min: seconds(world.start_ns - 60_000_000_000),
        start_time_max: seconds(world.start_ns + 60_000_000_000),
        duration_min: seconds(1_000_000),
        search_depth: 5,
        ..TraceQuery::default()
    };
    let find = |query: TraceQuery| {
        ask::<_, TracesData>(&world, "FindTraces", FindTracesRequest { query: Some(query) })
    };
    assert_eq!(find(query.clone()).await.unwrap(), found);
    let asked = FindTracesRequest { query: Some(query.clone()) };
    let told: Vec<FindTraceSummariesResponse> = ask(&world, "FindTraceSummaries", asked).await.unwrap();
    let [FindTraceSummariesResponse { summaries }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((summaries[0].trace_id.as_str(), summaries[0].span_count), (TRACE, 2));
    let timeless = TraceQuery { start_time_min: None, ..query.clone() };
    let wrong = find(timeless).await.unwrap_err();
    let why = "start time min and max are required parameters";
    assert_eq!((wrong.code(), wrong.message()), (Code::InvalidArgument, why));
    let longer = TraceQuery { duration_min: seconds(3_600_000_000_000), ..query.clone() };
    assert_eq!(find(longer).await.unwrap(), []);
    let filtered = TraceQuery { filter: Some(vec![]), ..query };
    assert_eq!(find(filtered).await.unwrap_err().code(), Code::Unimplemented);
    let none = FindTracesRequest { query: None };
    let wrong = ask::<_, TracesData>(&world, "FindTraces", none).await.unwrap_err();
    assert_eq!((wrong.code(), wrong.message()), (Code::InvalidArgument, "missing query"));
    let wrong = ask::<_, TracesData>(&world, "Nothing", FindTracesRequest::default()).await.unwrap_err();
    assert_eq!(wrong.code(), Code::Unimplemented);
}

#[test]
fn a_large_trace_is_several_messages_with_all_of_its_spans() {
    let span =
        |at: usize| model::Span { span_id: [at as u8; 8], name: "n".repeat(1_000), ..model::Span::default() };
    let spans: Vec<model::Span> = (0..10_000).map(span).collect();
    let batch = SpanBatch { resources: vec![model::ResourceSpans { spans, ..Default::default() }] };
    let pieces: Vec<ResourceSpans> = otlp_traces(&batch).resource_spans.into_iter().flat_map(split).collect();
    assert!(pieces.len() > 3 && pieces.iter().all(|piece| piece.encoded_len() <= MESSAGE_BYTES_MAX));
    assert_eq!(pieces.iter().map(|piece| piece.scope_spans[0].spans.len()).sum::<usize>(), 10_000);
}
