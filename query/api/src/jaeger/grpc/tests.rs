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

/// A call of version 3, or of the service that it names.
fn path(call: &str) -> http::uri::PathAndQuery {
    let whole = if call.contains('/') { format!("/{call}") } else { format!("/{SERVICE}/{call}") };
    http::uri::PathAndQuery::try_from(whole).unwrap()
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

/// As Go's clients ask, who have no way to leave out a time or a duration.
#[tokio::test]
async fn what_is_not_given_may_be_said_with_zeros() {
    let world = World::new().await;
    let no_time = Some(Seconds { seconds: -62_135_596_800, nanos: 0 });
    let asked = GetTraceRequest {
        trace_id: TRACE.into(),
        start_time: no_time,
        end_time: no_time,
        ..Default::default()
    };
    let found: Vec<TracesData> = ask(&world, "GetTrace", asked).await.unwrap();
    assert_eq!(found.len(), 1);
    let query = TraceQuery {
        start_time_min: seconds(world.start_ns - 60_000_000_000),
        start_time_max: seconds(world.start_ns + 60_000_000_000),
        duration_min: seconds(0),
        duration_max: seconds(0),
        ..TraceQuery::default()
    };
    let asked = |query: &TraceQuery| FindTracesRequest { query: Some(query.clone()) };
    assert_eq!(ask::<_, TracesData>(&world, "FindTraces", asked(&query)).await.unwrap().len(), 1);
    let timeless = TraceQuery { start_time_min: no_time, ..query };
    let wrong = ask::<_, TracesData>(&world, "FindTraces", asked(&timeless)).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn version_2_has_jaegers_own_spans() {
    let world = World::new().await;
    let call = |name: &str| format!("jaeger.api_v2.QueryService/{name}");
    let trace_id = hex::decode(TRACE).unwrap();
    let asked = v2::GetTraceRequest { trace_id: trace_id.clone(), ..Default::default() };
    let told: Vec<v2::SpansResponseChunk> = ask(&world, &call("GetTrace"), asked).await.unwrap();
    let spans: Vec<_> = told.into_iter().flat_map(|chunk| chunk.spans).collect();
    let [root, child] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((root.operation_name.as_str(), root.trace_id == trace_id), ("GET /checkout", true));
    assert_eq!((root.start_time, root.duration), (seconds(world.start_ns), seconds(400_000_000)));
    let process = |span: &crate::jaeger::idl::Span| span.process.clone().map(|process| process.service_name);
    assert_eq!([process(root), process(child)], [Some("frontend".to_owned()), Some("orders".to_owned())]);
    assert_eq!(
        (child.references[0].ref_type, child.references[0].span_id.as_slice()),
        (0, [1_u8; 8].as_slice())
    );
    let status = root.tags.iter().find(|tag| tag.key == "http.status_code").unwrap();
    assert_eq!((status.v_type, status.v_int64), (2, 500));

    let query = TraceQuery { service_name: "orders".into(), ..TraceQuery::default() };
    let asked = FindTracesRequest { query: Some(query) };
    let told: Vec<v2::SpansResponseChunk> = ask(&world, &call("FindTraces"), asked).await.unwrap();
    assert_eq!(told.iter().map(|chunk| chunk.spans.len()).sum::<usize>(), 2);
    let services: GetServicesResponse =
        ask_one(&world, &call("GetServices"), GetServicesRequest {}).await.unwrap();
    assert_eq!(services.services, ["frontend", "orders"]);
    let asked = GetOperationsRequest { service: "frontend".into(), span_kind: String::new() };
    let found: v2::GetOperationsResponse = ask_one(&world, &call("GetOperations"), asked).await.unwrap();
    assert_eq!(
        (found.names.as_slice(), found.operations.len()),
        (["GET /checkout".to_owned()].as_slice(), 1)
    );
    let asked = GetDependenciesRequest {
        start_time: seconds(world.start_ns - 60_000_000_000),
        end_time: seconds(world.start_ns + 60_000_000_000),
    };
    let found: v2::GetDependenciesResponse = ask_one(&world, &call("GetDependencies"), asked).await.unwrap();
    assert_eq!(found.dependencies.len(), 1);

    for (trace_id, code) in
        [(vec![], Code::InvalidArgument), (vec![0; 16], Code::InvalidArgument), (vec![9; 8], Code::NotFound)]
    {
        let asked = v2::GetTraceRequest { trace_id, ..Default::default() };
        let wrong = ask::<_, v2::SpansResponseChunk>(&world, &call("GetTrace"), asked).await.unwrap_err();
        assert_eq!(wrong.code(), code, "{wrong:?}");
    }
    for (trace_id, code) in [(vec![], Code::InvalidArgument), (vec![1; 16], Code::Internal)] {
        let asked = v2::ArchiveTraceRequest { trace_id };
        let wrong =
            ask::<_, v2::ArchiveTraceResponse>(&world, &call("ArchiveTrace"), asked).await.unwrap_err();
        assert_eq!(wrong.code(), code, "{wrong:?}");
    }
    let asked = v2::GetTraceRequest::default();
    let wrong = ask::<_, v2::SpansResponseChunk>(&world, &call("GetTraces"), asked).await.unwrap_err();
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
