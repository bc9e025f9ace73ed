use super::*;
use axum::response::Response;

/// `resource_logs { scope_logs { log_records { body { string_value: "hi" } } } }`
const HI: &[u8] = b"\x0a\x0a\x12\x08\x12\x06\x2a\x04\x0a\x02hi";

/// The code of the answer and its words, wherever they are.
async fn export(doors: &Arc<Doors>, packed: u8, message: &[u8]) -> (String, String) {
    let mut body = vec![packed];
    body.extend((message.len() as u32).to_be_bytes());
    body.extend_from_slice(message);
    let request = Request::post("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", "zstd")
        .body(Body::from(body));
    let (parts, body) =
        otlp_grpc_router(doors).oneshot(request.unwrap()).await.map(Response::into_parts).unwrap();
    let mut headers = parts.headers;
    headers.extend(body.collect().await.unwrap().trailers().cloned().unwrap_or_default());
    let of =
        |name: &str| headers.get(name).map_or_else(String::new, |text| text.to_str().unwrap().to_owned());
    (of("grpc-status"), of("grpc-message"))
}

#[tokio::test]
async fn messages_of_calls_are_unpacked_within_their_room() {
    let (memory, doors) = doors(Config {
        decompressed_bytes_max: 200 << 10,
        in_flight_bytes_max: 100 << 10,
        ..Config::default()
    });
    let zstd = |bytes: &[u8]| wire::compression::zstd(bytes).unwrap();
    for (packed, message) in [(0, HI.to_vec()), (1, zstd(HI))] {
        assert_eq!(export(&doors, packed, &message).await, ("0".into(), String::new()));
    }
    let writes = memory.writes.lock().len();
    assert_eq!(writes, 2);
    let (code, why) = export(&doors, 1, &zstd(&[0; (200 << 10) + 1])).await;
    assert_eq!((code.as_str(), why.contains("204800")), ("8", true), "{why}");
    // Unavailable is what clients send again.
    let (code, why) = export(&doors, 1, &zstd(&[0; 150 << 10])).await;
    assert_eq!((code.as_str(), why.contains("try%20again")), ("14", true), "{why}");
    let (code, _) = export(&doors, 1, b"not packed").await;
    assert_eq!(code, "3");
    // 2,000 records, each of two bytes.
    let records = vec![[0x12, 0]; 2_000].concat();
    let scope = [&[0x12, 0xa0, 0x1f][..], &records].concat();
    let (code, why) = export(&doors, 0, &[&[0x0a, 0xa3, 0x1f][..], &scope].concat()).await;
    assert_eq!((code.as_str(), why.contains("2002%20records")), ("8", true), "{why}");
    assert_eq!(export(&doors, 0, HI).await.0, "0", "what was refused takes no room");
}
