//! Telemetry of a node's pods by way of its agent: named by the address it comes from whatever it is spoken in, and told
//! to wait where the agent has no room.

use crate::server::{Server, eventually, free_port, now_ms};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use tonic_prost::ProstCodec;
use wire::jaeger::{PostSpansRequest, PostSpansResponse};

/// A kubelet on whose node one pod has the address that tests call from.
fn kubelet() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let owner = json!([{ "kind": "StatefulSet", "name": "cart", "controller": true }]);
    let pod = json!({
        "metadata": { "name": "cart-0", "namespace": "shop", "uid": "0f8fad5b", "ownerReferences": owner },
        "spec": { "nodeName": "n1", "containers": [{ "name": "main", "image": "shop/cart:1.2" }] },
        "status": { "phase": "Running", "podIP": "127.0.0.1", "podIPs": [{ "ip": "127.0.0.1" }] },
    });
    let pods = json!({ "kind": "PodList", "items": [pod] }).to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let (mut request, mut line) = (String::new(), String::new());
            let _ = reader.read_line(&mut request);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let (status, body) = match request.starts_with("GET /pods ") {
                true => ("200 OK", pods.as_str()),
                false => ("404 Not Found", ""),
            };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = reader.get_mut().write_all((head + body).as_bytes());
        }
    });
    url
}

fn agent(dir: &Path, extra: &[&str]) -> Server {
    let (data, host) = (dir.join("agent"), dir.join("host"));
    std::fs::create_dir_all(&data).unwrap();
    std::fs::create_dir_all(host.join("proc")).unwrap();
    let mut flags = vec!["--host-root", host.to_str().unwrap(), "--collect-interval", "1h"];
    flags.extend(extra);
    Server::start("agent", &data, &flags)
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn otlp_span(name: &str) -> Value {
    let start = now_ms() * 1_000_000;
    let id = name.bytes().map(u64::from).sum::<u64>();
    json!({ "resourceSpans": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "cart" } }] },
        "scopeSpans": [{ "spans": [{ "traceId": TRACE, "spanId": format!("{id:016x}"), "name": name,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 1_000).to_string() }] }] }] })
}

/// JSON on the port of OTLP over HTTP.
fn post(to: &Server, path: &str, body: &Value) -> reqwest::blocking::Response {
    let url = format!("http://{}{path}", to.address("otlp_http"));
    to.http.post(url).json(body).send().unwrap()
}

/// One call on the port of gRPC.
fn call<Q, A>(to: &Server, path: &str, message: Q) -> Result<A, tonic::Status>
where
    Q: Message + Send + Sync + 'static,
    A: Message + Default + Send + Sync + 'static,
{
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", to.address("otlp_grpc")));
        let mut client = tonic::client::Grpc::new(endpoint.unwrap().connect().await.unwrap());
        client.ready().await.unwrap();
        let codec = ProstCodec::<Q, A>::default();
        let answer = client.unary(tonic::Request::new(message), path.parse().unwrap(), codec).await?;
        Ok(answer.into_inner())
    })
}

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

fn export(to: &Server, name: &str) -> Result<ExportTraceServiceResponse, tonic::Status> {
    let request: ExportTraceServiceRequest = serde_json::from_value(otlp_span(name)).unwrap();
    call(to, EXPORT, request)
}

/// A field of protobuf with bytes in it.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [[(number << 3) | 2, bytes.len() as u8].as_slice(), bytes].concat()
}

fn jaeger(name: &str) -> PostSpansRequest {
    let mut seconds = vec![0x08];
    prost::encoding::encode_varint((now_ms() / 1_000) as u64, &mut seconds);
    let span =
        [field(1, &[7; 16]), field(2, &[7; 8]), field(3, name.as_bytes()), field(6, &seconds)].concat();
    let batch = [field(1, &span), field(2, &field(1, b"cart"))].concat();
    PostSpansRequest::decode(field(1, &batch).as_slice()).unwrap()
}

#[test]
fn spans_in_every_protocol_are_named_by_the_pod_they_come_from() {
    let server = Server::bare();
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path(), &["--ingest", &server.url(""), "--kubelet", &kubelet()]);
    eventually("the kubelet's pods", || {
        assert!(post(&agent, "/v1/traces", &otlp_span("early")).status().is_success());
        let early =
            "select name from spans where name = 'early' and attr(resource, 'k8s.pod.name') = 'cart-0'";
        server.sql(early).first().cloned()
    });
    assert!(post(&agent, "/v1/traces", &otlp_span("otlp-http")).status().is_success());
    export(&agent, "otlp-grpc").unwrap();
    let path = "/jaeger.api_v2.CollectorService/PostSpans";
    call::<_, PostSpansResponse>(&agent, path, jaeger("jaeger")).unwrap();
    let zipkin = json!([{ "traceId": TRACE, "id": "b7ad6b7169203332", "name": "zipkin", "timestamp": now_ms() * 1_000,
        "duration": 1, "localEndpoint": { "serviceName": "cart" } }]);
    assert_eq!(post(&agent, "/api/v2/spans", &zipkin).status(), 202);
    for protocol in ["otlp-http", "otlp-grpc", "jaeger", "zipkin"] {
        let query = format!(
            "select service, attr(resource, 'k8s.pod.name') as pod, attr(resource, 'k8s.pod.uid') as uid, \
             attr(resource, 'k8s.namespace.name') as namespace, attr(resource, 'k8s.container.name') as container, \
             attr(resource, 'k8s.statefulset.name') as workload from spans where name = '{protocol}'"
        );
        let row = eventually(protocol, || server.sql(&query).first().cloned());
        let expected = json!({ "service": "cart", "pod": "cart-0", "uid": "0f8fad5b", "namespace": "shop",
            "container": "main", "workload": "cart" });
        assert_eq!(row, expected, "{protocol}");
    }
}

/// Nothing is thrown away for want of room: exporters keep what they have and come again when they are told.
#[test]
fn a_full_queue_tells_senders_how_long_to_wait() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let agent = agent(dir.path(), &["--ingest", &nobody, "--agent-queue", "16MiB"]);
    // Letters that do not repeat, so that they fill it.
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let mut letters = || {
        let words = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{noise:016x}")
        });
        words.take(40_000).collect::<String>()
    };
    let refused = (0..200).find_map(|_| {
        let answer = post(&agent, "/v1/traces", &otlp_span(&letters()));
        (!answer.status().is_success()).then_some(answer)
    });
    let refused = refused.expect("a queue of 16 MiB has an end");
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "5");
    assert!(refused.text().unwrap().contains("nearly full"));
    let status = export(&agent, "one more").unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    // Its `RetryInfo` ends with a duration of 5 s.
    assert!(status.details().ends_with(&[0x12, 4, 0x0a, 2, 0x08, 5]), "{:?}", status.details());
    let zipkin =
        json!([{ "traceId": TRACE, "id": "b7ad6b7169203332", "timestamp": now_ms() * 1_000, "duration": 1 }]);
    let refused = post(&agent, "/api/v2/spans", &zipkin);
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "5"));
    assert_eq!(crate::traffic::reading(&agent, "binnacle_agent_dropped_records_total"), 0.0);
}
