use super::*;
use model::*;
use serde_json::json;
use std::sync::Arc;

fn labels_of(batch: &MetricBatch) -> Vec<(String, f64)> {
    let mut all: Vec<(String, f64)> = batch
        .iter()
        .map(|(bytes, _, values)| (Labels::from_bytes(bytes).unwrap().to_string(), values[0]))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn request(metric: serde_json::Value) -> ExportMetricsServiceRequest {
    let body = json!({ "resourceMetrics": [{
        "resource": { "attributes": [
            { "key": "service.name", "value": { "stringValue": "cart" } },
            { "key": "service.namespace", "value": { "stringValue": "shop" } },
            { "key": "service.instance.id", "value": { "stringValue": "cart-1" } },
            { "key": "os.type", "value": { "stringValue": "linux" } } ] },
        "scopeMetrics": [{ "scope": { "name": "test" }, "metrics": [metric] }] }] });
    Notation::Json.read(body.to_string().as_bytes()).unwrap()
}

#[test]
fn a_histogram_becomes_cumulative_buckets_with_job_and_instance() {
    let decoded = metrics(request(
        json!({ "name": "http.server.request.duration", "unit": "s", "histogram": {
        "aggregationTemporality": 2, "dataPoints": [{ "timeUnixNano": "1700000000000000000", "count": "6", "sum": 3.5,
            "bucketCounts": ["1", "2", "3"], "explicitBounds": [0.1, 1.0],
            "exemplars": [
                { "timeUnixNano": "1699999999000000000", "asDouble": 0.5, "traceId": "5b8efff798038103d269b633813fc60c",
                  "spanId": "eee19b7ec3c1b174",
                  "filteredAttributes": [{ "key": "user.id", "value": { "intValue": "7" } }] },
                { "timeUnixNano": "1699999999000000000", "asInt": "30" } ],
            "attributes": [{ "key": "http.route", "value": { "stringValue": "/x" } }] }] } }),
    ));
    let found = labels_of(&decoded.batch);
    let value = |part: &str| found.iter().find(|(labels, _)| labels.contains(part)).map(|(_, value)| *value);
    assert_eq!(value("le=\"0.1\""), Some(1.0), "{found:?}");
    assert_eq!(value("le=\"1\""), Some(3.0));
    assert_eq!(value("le=\"+Inf\""), Some(6.0));
    assert_eq!(value("http_server_request_duration_seconds_sum"), Some(3.5));
    assert!(found.iter().all(|(labels, _)| labels.contains("job=\"shop/cart\"") && labels.contains("instance=\"cart-1\"")));
    assert!(
        found
            .iter()
            .any(|(labels, _)| labels.contains("target_info") && labels.contains("os_type=\"linux\""))
    );
    assert_eq!(decoded.batch.metadata[0].kind, MetricKind::Histogram);
    let exemplars: Vec<_> = decoded
        .batch
        .exemplars
        .iter()
        .map(|e| (e.series.get("le").unwrap(), e.labels.to_string(), e.ts_ms, e.value))
        .collect();
    let trace =
        "{span_id=\"eee19b7ec3c1b174\", trace_id=\"5b8efff798038103d269b633813fc60c\", user.id=\"7\"}";
    let (first, at_ms) = (trace.to_owned(), 1_699_999_999_000);
    assert_eq!(exemplars, [("1", first, at_ms, 0.5), ("+Inf", "{}".to_owned(), at_ms, 30.0)]);
    let series = decoded.batch.exemplars[0].series.to_string();
    assert!(found.iter().any(|(labels, _)| *labels == series), "{series} is a series that has samples");
}

#[test]
fn exponential_buckets_fold_to_powers_of_two() {
    let decoded =
        metrics(request(json!({ "name": "d", "exponentialHistogram": { "aggregationTemporality": 2,
        "dataPoints": [{ "timeUnixNano": "1", "count": "10", "sum": 1.0, "scale": 1, "zeroCount": "1",
            "positive": { "offset": -1, "bucketCounts": ["2", "3", "4"] } }] } })));
    let found = labels_of(&decoded.batch);
    // At scale 1 the bounds are 1, √2, 2.
    let buckets: Vec<f64> =
        found.iter().filter(|(labels, _)| labels.contains("d_bucket")).map(|(_, v)| *v).collect();
    assert_eq!(buckets, [10.0, 1.0, 3.0, 10.0], "{found:?}");
}

#[test]
fn delta_points_are_counted_with_the_remedy() {
    let decoded =
        metrics(request(json!({ "name": "d", "sum": { "aggregationTemporality": 1, "isMonotonic": true,
        "dataPoints": [{ "timeUnixNano": "1", "asInt": "3" }, { "timeUnixNano": "2", "asInt": "3" }] } })));
    assert_eq!(decoded.batch.samples(), 0);
    assert_eq!(decoded.rejected.0[0].count, 2);
    assert!(decoded.rejected.0[0].example.contains("cumulative"));
}

#[test]
fn what_the_agent_encodes_arrives_as_it_was() {
    let mut batch = MetricBatch::default();
    batch.begin_series(&mut [("__name__", "node_load1"), ("instance", "n1")]).unwrap();
    batch.push(1_700_000_000_000, 0.5);
    batch.begin_series(&mut [("__name__", "node_cpu_seconds_total"), ("mode", "idle")]).unwrap();
    batch.push(1_700_000_000_000, stale_marker());
    batch.metadata.push(Metadata {
        name: "node_cpu_seconds_total".into(),
        kind: MetricKind::Counter,
        help: "Seconds the CPUs spent in each mode.".into(),
        unit: String::new(),
    });
    batch.exemplars.push(Exemplar {
        series: Labels::from_pairs([("__name__", "orders_total"), ("a.b", "c")]),
        labels: Labels::from_pairs([("trace_id", "abc")]),
        ts_ms: 5,
        value: -0.5,
    });
    let decoded = metrics(Notation::Protobuf.read(&encode_metrics(&batch)[0]).unwrap());
    assert_eq!(decoded.batch.exemplars, batch.exemplars);
    assert!(decoded.rejected.0.is_empty());
    assert_eq!(decoded.batch.metadata, batch.metadata);
    assert_eq!(decoded.batch.label_bytes, batch.label_bytes);
    assert!(is_stale_marker(decoded.batch.values[1]) && decoded.batch.values[0] == 0.5);

    let record = LogRecord {
        ts_ns: 5,
        severity: 13,
        body: "x".into(),
        trace_id: Some([1; 16]),
        ..LogRecord::default()
    };
    let labels = Labels::from_pairs([("filename", "/var/log/x")]);
    let logs_batch =
        LogBatch { streams: vec![LogStream { labels, resource: vec![], records: vec![record] }] };
    let decoded = logs(Notation::Protobuf.read(&encode_logs(&logs_batch)).unwrap(), 0);
    assert_eq!(decoded.batch.streams[0].labels, logs_batch.streams[0].labels);
    assert_eq!(decoded.batch.streams[0].records, logs_batch.streams[0].records);
}

#[test]
fn spans_come_back_and_bad_ids_are_counted() {
    let span = Span {
        trace_id: [1; 16],
        span_id: [2; 8],
        parent_span_id: Some([3; 8]),
        trace_state: "a=b".into(),
        start_ns: 10,
        duration_ns: 5,
        name: "GET".into(),
        kind: SpanKind::Server,
        status: StatusCode::Error,
        status_message: "boom".into(),
        attributes: vec![("n".into(), Value::Int(1)), ("list".into(), Value::Json("[1,\"a\"]".into()))],
        events: vec![SpanEvent { ts_ns: 11, name: "e".into(), attributes: vec![] }],
        links: vec![SpanLink {
            trace_id: [9; 16],
            span_id: [8; 8],
            trace_state: String::new(),
            attributes: vec![],
        }],
    };
    let of = ResourceSpans {
        resource: Arc::new(vec![("service.name".into(), Value::from("cart"))]),
        scope_name: "s".into(),
        scope_version: "1".into(),
        spans: vec![span],
    };
    let batch = SpanBatch { resources: vec![of] };
    let decoded = spans(Notation::Protobuf.read(&encode_spans(&batch)).unwrap());
    assert_eq!(decoded.batch, batch);
    let bad = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{ "traceId": "", "spanId": "0102030405060708" }] }] }] });
    let decoded = spans(Notation::Json.read(bad.to_string().as_bytes()).unwrap());
    assert_eq!((decoded.batch.spans(), decoded.rejected.0[0].reason), (0, RejectReason::InvalidId));
}

#[test]
fn bodies_that_are_not_otlp_are_errors() {
    assert!(Notation::Protobuf.read::<ExportLogsServiceRequest>(&[0x0a, 0xff, 0xff]).is_err());
    let wrong = Notation::Json.read::<ExportLogsServiceRequest>(b"{\"resourceLogs\": 5}").unwrap_err();
    assert!(wrong.0.contains("line 1"), "{wrong}");
}

#[test]
fn many_series_are_sent_in_pieces_and_each_says_what_it_is() {
    let mut batch = MetricBatch::default();
    for n in 0..9_000 {
        let labels = Labels::from_pairs([("__name__", "many_total"), ("n", &n.to_string())]);
        batch.push_sample(&labels, 5, f64::from(n));
    }
    let known = model::Metadata {
        name: "many_total".into(),
        kind: model::MetricKind::Counter,
        help: "Many.".into(),
        unit: String::new(),
    };
    batch.metadata.push(known.clone());
    let requests = encode_metrics(&batch);
    assert_eq!(requests.len(), 3);
    let mut series = 0;
    for request in &requests {
        let decoded = metrics(Notation::Protobuf.read(request).unwrap());
        assert_eq!(decoded.batch.metadata.first(), Some(&known));
        series += decoded.batch.series.len();
    }
    assert_eq!(series, 9_000);
    assert_eq!(encode_metrics(&MetricBatch::default()), Vec::<Vec<u8>>::new());
}
