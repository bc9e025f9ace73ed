use super::*;
use crate::Decoded;
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

fn plain(request: ExportMetricsServiceRequest) -> Decoded<MetricBatch> {
    metrics(request, &Translation::default(), &mut Sums::default())
}

#[test]
fn a_histogram_becomes_cumulative_buckets_with_job_and_instance() {
    let decoded = plain(request(json!({ "name": "http.server.request.duration", "unit": "s", "histogram": {
        "aggregationTemporality": 2, "dataPoints": [{ "timeUnixNano": "1700000000000000000", "count": "6", "sum": 3.5,
            "bucketCounts": ["1", "2", "3"], "explicitBounds": [0.1, 1.0],
            "exemplars": [
                { "timeUnixNano": "1699999999000000000", "asDouble": 0.5, "traceId": "5b8efff798038103d269b633813fc60c",
                  "spanId": "eee19b7ec3c1b174",
                  "filteredAttributes": [{ "key": "user.id", "value": { "intValue": "7" } }] },
                { "timeUnixNano": "1699999999000000000", "asInt": "30" } ],
            "attributes": [{ "key": "http.route", "value": { "stringValue": "/x" } }] }] } })));
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

/// The one native histogram of a batch.
fn native(batch: &MetricBatch) -> (i64, Histogram) {
    let stored: Vec<_> = batch.iter().map(|(l, t, v)| (Labels::from_bytes(l).unwrap(), t, v)).collect();
    let mut stored: Vec<_> = stored.iter().map(|(labels, t, v)| (labels, *t, *v)).collect();
    stored.sort_by(|a, b| a.0.cmp(b.0));
    let all: Vec<_> = runs(stored.into_iter()).into_iter().flat_map(|run| run.histograms).collect();
    assert_eq!(all.len(), 1);
    (all[0].0, (*all[0].1).clone())
}

#[test]
fn exponential_histograms_become_native_ones() {
    let point = |scale: i32| {
        json!({ "name": "d", "exponentialHistogram": { "aggregationTemporality": 2,
        "dataPoints": [{ "timeUnixNano": "1000000", "count": "13", "sum": 1.5, "scale": scale, "zeroCount": "1",
            "min": -2.0, "max": 9.0,
            "positive": { "offset": -1, "bucketCounts": ["2", "3", "0", "4"] },
            "negative": { "offset": 0, "bucketCounts": ["3"] },
            "exemplars": [{ "timeUnixNano": "1000000", "asDouble": 0.5 }] }] } })
    };
    let decoded = plain(request(point(1)));
    let (ts_ms, found) = native(&decoded.batch);
    // OTLP's bucket 0 is (1, √2]; a native one's ends at 1.
    assert_eq!((ts_ms, found.schema, found.count, found.sum), (1, 1, 13.0, 1.5));
    assert_eq!((found.positive, found.negative), (vec![(0, 2.0), (1, 3.0), (3, 4.0)], vec![(1, 3.0)]));
    assert_eq!((found.zero_count, found.zero_threshold), (1.0, 1e-128));
    let exemplar = &decoded.batch.exemplars[0];
    assert_eq!((exemplar.series.metric_name(), exemplar.series.get("le")), ("d", None));
    // Two buckets of scale 9 are one of schema 8: -1 alone, 0 and 1, 2 (that is empty) and 3.
    let (_, finer) = native(&plain(request(point(9))).batch);
    assert_eq!((finer.schema, finer.positive), (8, vec![(0, 2.0), (1, 3.0), (2, 4.0)]));
    let refused = plain(request(point(-5)));
    assert!(refused.rejected.0[0].example.contains("Scale must be >= -4, was -5"), "{refused:?}");
    let mut wrong = point(1);
    wrong["exponentialHistogram"]["dataPoints"][0]["count"] = json!("14");
    let refused = plain(request(wrong));
    assert!(
        refused.rejected.0[0].example.contains("13 observations found in buckets, but the Count field is 14")
    );
}

#[test]
fn explicit_histograms_become_native_ones_on_request() {
    let metric = json!({ "name": "d", "histogram": { "aggregationTemporality": 2, "dataPoints": [{
        "timeUnixNano": "1000000", "count": "6", "sum": 3.5, "bucketCounts": ["1", "0", "5"], "explicitBounds": [0.1, 1.0] }] } });
    let translation = Translation { explicit_as_native: true, ..Translation::default() };
    let decoded = metrics(request(metric), &translation, &mut Sums::default());
    let (_, found) = native(&decoded.batch);
    assert_eq!((found.schema, &found.custom_values[..]), (CUSTOM_BUCKETS_SCHEMA, &[0.1, 1.0][..]));
    assert_eq!((found.positive, found.count), (vec![(0, 1.0), (2, 5.0)], 6.0));
}

#[test]
fn deltas_become_totals_that_say_when_they_began() {
    let mut deltas = Deltas::new(1 << 20);
    let mut send = |points: serde_json::Value| {
        let mut sums = Sums::over(&deltas, 0);
        let decoded = metrics(request(points), &Translation::default(), &mut sums);
        let changes = sums.into_changes();
        deltas.commit(changes, 0);
        decoded
    };
    let counter = |start: u64, time: u64, value: i64| {
        let point = json!({ "startTimeUnixNano": (start * 1_000_000).to_string(),
            "timeUnixNano": (time * 1_000_000).to_string(), "asInt": value.to_string() });
        json!({ "name": "orders", "sum": { "aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [point] } })
    };
    assert!(has_deltas(&request(counter(1, 2, 3))));
    send(counter(1000, 2000, 3));
    let decoded = send(counter(2000, 3000, 4));
    let found = labels_of(&decoded.batch);
    let of = |start: &str| {
        found
            .iter()
            .find(|(l, _)| l.starts_with("orders_total") && l.contains("__histogram__") != start.is_empty())
    };
    assert_eq!(of("").map(|(_, v)| *v), Some(7.0), "{found:?}");
    assert_eq!(of("start").map(|(_, v)| *v), Some(1000.0), "{found:?}");
    assert_eq!(decoded.batch.metadata[0].kind, MetricKind::Counter);
    let again = send(counter(2000, 3000, 4));
    assert_eq!(again.rejected.0[0].reason, RejectReason::DeltaOutOfOrder);
    let exponential = |time: u64, scale: i32, offset: i32| {
        let point = json!({ "timeUnixNano": time.to_string(), "count": "2", "sum": 2.0, "scale": scale,
            "positive": { "offset": offset, "bucketCounts": ["1", "1"] } });
        json!({ "name": "d", "exponentialHistogram": { "aggregationTemporality": 1, "dataPoints": [point] } })
    };
    send(exponential(1, 1, 0));
    let (_, total) = native(&send(exponential(2, 0, 0)).batch);
    // At the coarser scale both points of the first one lie in (1, 2].
    assert_eq!((total.schema, total.positive, total.count), (0, vec![(1, 3.0), (2, 1.0)], 4.0));
}

#[test]
fn a_temporality_that_is_not_said_is_refused() {
    let decoded = plain(request(
        json!({ "name": "d", "sum": { "dataPoints": [{ "timeUnixNano": "1", "asInt": "3" }] } }),
    ));
    assert_eq!(decoded.batch.samples(), 0);
    assert!(decoded.rejected.0[0].example.contains("invalid temporality"));
}

#[test]
fn the_resource_gives_labels_and_target_info() {
    let point = |minute: u64| {
        json!({ "timeUnixNano": (minute * 60_000_000_000).to_string(), "asDouble": 1.0,
        "attributes": [{ "key": "job", "value": { "stringValue": "mine" } },
            { "key": "b.x", "value": { "stringValue": "2" } }, { "key": "b-x", "value": { "stringValue": "1" } }] })
    };
    let gauge =
        || request(json!({ "name": "queue.depth", "gauge": { "dataPoints": [point(10), point(14)] } }));
    let with = |translation: Translation| metrics(gauge(), &translation, &mut Sums::default()).batch;
    let names =
        |batch: &MetricBatch| labels_of(batch).into_iter().map(|(labels, _)| labels).collect::<Vec<_>>();
    let plain = with(Translation::default());
    let found = names(&plain);
    let info = "target_info{instance=\"cart-1\", job=\"shop/cart\", os_type=\"linux\"}";
    assert!(found.iter().any(|labels| labels == info), "{found:?}");
    // The first and the last point lie four minutes apart; within any five minutes it has a sample.
    let minutes: Vec<i64> = plain.iter().last().unwrap().1.iter().map(|ts| ts / 1000).collect();
    assert_eq!(minutes, [600, 750, 840]);
    let series = found.iter().find(|labels| labels.starts_with("queue_depth")).unwrap();
    assert!(series.contains("b_x=\"1;2\"") && series.contains("job=\"shop/cart\""), "{series}");
    assert!(series.contains("service_name=\"cart\"") && !series.contains("os_type"), "{series}");
    let all = Translation {
        strategy: Strategy::NoTranslation,
        promoted: Promoted::AllBut(vec!["service.name".into()]),
        keep_identifying: true,
        scope_metadata: true,
        ..Translation::default()
    };
    let found = names(&with(all));
    let series = found.iter().find(|labels| labels.contains("queue.depth")).unwrap();
    for (part, has) in
        [("os.type", true), ("service.name=", false), ("b-x", true), ("otel_scope_name=\"test\"", true)]
    {
        assert_eq!(series.contains(part), has, "{part}: {series}");
    }
    assert!(found.iter().any(|labels| labels.contains("target_info") && labels.contains("service.name")));
}

#[test]
fn summaries_have_quantiles_sum_and_count() {
    let decoded = plain(request(
        json!({ "name": "s", "unit": "ms", "summary": { "dataPoints": [{ "timeUnixNano": "1000000",
        "count": "4", "sum": 9.0, "quantileValues": [{ "quantile": 0.5, "value": 2.0 }, { "quantile": 1.0, "value": 3.0 }] }] } }),
    ));
    let found = labels_of(&decoded.batch);
    let value = |part: &str| found.iter().find(|(l, _)| l.contains(part)).map(|(_, v)| *v);
    assert_eq!(
        (
            value("quantile=\"0.5\""),
            value("quantile=\"1\""),
            value("s_milliseconds_sum"),
            value("s_milliseconds_count")
        ),
        (Some(2.0), Some(3.0), Some(9.0), Some(4.0)),
        "{found:?}"
    );
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
    let decoded = plain(Notation::Protobuf.read(&encode_metrics(&batch, &[]).next().unwrap().bytes).unwrap());
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
    let decoded = logs(Notation::Protobuf.read(&encode_logs(&logs_batch)).unwrap(), 0, &[]);
    assert_eq!(decoded.batch.streams[0].labels, logs_batch.streams[0].labels);
    assert_eq!(decoded.batch.streams[0].records, logs_batch.streams[0].records);
}

#[test]
fn a_log_record_with_a_nameless_attribute_is_left_out() {
    let request = r#"{"resourceLogs":[{
        "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"api"}}]},
        "scopeLogs":[{"logRecords":[
        {"timeUnixNano":"5","body":{"stringValue":"x"},"attributes":[{"key":"","value":{"stringValue":"v"}}]},
        {"timeUnixNano":"6","body":{"stringValue":"y"},"attributes":[{"key":"a","value":{"stringValue":"v"}}]}]}]}]}"#;
    let decoded = logs(Notation::Json.read(request.as_bytes()).unwrap(), 0, &[]);
    let bodies: Vec<&str> =
        decoded.batch.streams[0].records.iter().map(|record| record.body.as_str()).collect();
    assert_eq!(bodies, ["y"]);
    let [refused] = decoded.rejected.0.as_slice() else { panic!("{:?}", decoded.rejected) };
    assert_eq!((refused.count, refused.example.as_str()), (1, "an attribute of a log record has no name"));
}

#[test]
fn what_a_scope_says_of_log_records_is_kept() {
    let request = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"api"}}]},
        "scopeLogs":[{"scope":{"name":"lib.http","version":"1.2","attributes":[{"key":"team","value":{"stringValue":"a"}}],"droppedAttributesCount":2},
        "logRecords":[
            {"timeUnixNano":"5","observedTimeUnixNano":"7","severityNumber":10,"severityText":"Notice","flags":1,"droppedAttributesCount":3,
                "body":{"bytesValue":"AP8="},"attributes":[{"key":"team","value":{"stringValue":"b"}},
                {"key":"http","value":{"kvlistValue":{"values":[{"key":"status","value":{"intValue":"200"}},
                    {"key":"raw","value":{"bytesValue":"AP8="}},{"key":"list","value":{"arrayValue":{"values":[{"intValue":"1"}]}}}]}}}]},
            {"observedTimeUnixNano":"6","body":{"stringValue":"level=critical"},"eventName":"e",
                "attributes":[{"key":"detected_level","value":{"stringValue":"ERR"}},{"key":"event_name","value":{"stringValue":"x"}},{"key":"none","value":{}}]}]}]}]}"#;
    let decoded = logs(Notation::Json.read(request.as_bytes()).unwrap(), 0, &[]);
    let [one, other] = &decoded.batch.streams[0].records[..] else { panic!("{decoded:?}") };
    let said = |record: &LogRecord| -> Vec<String> {
        record.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect()
    };
    let of_scope = ["scope_name=lib.http", "scope_version=1.2", "scope_dropped_attributes_count=2"];
    let own = ["team=b", "http.status=200", "http.raw=AP8=", "http.list=[1]"];
    let of_record = [
        "observed_timestamp=7",
        "severity_number=10",
        "severity_text=Notice",
        "dropped_attributes_count=3",
        "flags=1",
    ];
    assert_eq!(said(one), [&own[..], &of_record, &of_scope].concat());
    assert_eq!(said(other), [&["detected_level=error", "event.name=e", "team=a"], &of_scope[..]].concat());
    assert_eq!((one.body.as_str(), other.ts_ns), ("AP8=", 6));
    assert_eq!([one, other].map(|record| model::severity_text(record.severity)), ["info", "unknown"]);
}

#[test]
fn maps_of_long_names_are_not_multiplied() {
    let of = |name: &str| {
        let values =
            json!([{"key": "x", "value": {"intValue": "1"}}, {"key": "y", "value": {"intValue": "2"}}]);
        let map = json!({"key": name, "value": {"kvlistValue": {"values": values}}});
        let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"attributes": [map]}]}]}]});
        let decoded = logs(Notation::Json.read(request.to_string().as_bytes()).unwrap(), 5, &[]);
        decoded.batch.streams[0].records[0].attributes.clone()
    };
    assert_eq!(of("m"), [("m.x".to_owned(), Value::Int(1)), ("m.y".to_owned(), Value::Int(2))]);
    let long = "m".repeat(129);
    assert_eq!(of(&long), [(long.clone(), Value::Json(r#"{"x":1,"y":2}"#.into()))]);
}

#[test]
fn a_service_without_a_name_is_called_as_its_labels_say() {
    let service_of = |resource: serde_json::Value, from: &[&str]| {
        let pair = |(name, text)| json!({"key": name, "value": {"stringValue": text}});
        let attributes: Vec<_> = resource.as_object().unwrap().iter().map(pair).collect();
        let request = json!({"resourceLogs": [{
            "resource": {"attributes": attributes},
            "scopeLogs": [{"logRecords": [{"body": {"stringValue": "x"}}]}]}]});
        let from: Vec<String> = from.iter().map(|name| (*name).to_owned()).collect();
        let decoded = logs(Notation::Json.read(request.to_string().as_bytes()).unwrap(), 5, &from);
        decoded.batch.streams[0].labels.get("service_name").map(str::to_owned)
    };
    let of_both = ["k8s_container_name", "container_name"];
    let container = json!({"container.name": "a", "service.name": ""});
    assert_eq!(service_of(container.clone(), &of_both).as_deref(), Some("a"));
    assert_eq!(service_of(json!({"k8s.pod.name": "p"}), &of_both).as_deref(), Some("unknown_service"));
    assert_eq!(service_of(container, &[]), None);
    assert_eq!(service_of(json!({"service.name": "s"}), &of_both).as_deref(), Some("s"));
}

#[test]
fn spans_come_back_and_bad_ids_are_counted() {
    let span = Span {
        trace_id: [1; 16],
        span_id: [2; 8],
        parent_span_id: Some([3; 8]),
        trace_state: "a=b".into(),
        flags: 0x101,
        start_ns: 10,
        duration_ns: 5,
        name: "GET".into(),
        kind: SpanKind::Server,
        status: StatusCode::Error,
        status_message: "boom".into(),
        attributes: vec![
            ("n".into(), Value::Int(-1)),
            ("list".into(), Value::Json("[1,\"a\"]".into())),
            ("map".into(), Value::Json("{\"a\":true}".into())),
            ("text".into(), Value::from("ä")),
            ("half".into(), Value::Double(0.5)),
            ("true".into(), Value::Bool(true)),
            ("bytes".into(), Value::Bytes(vec![0, 255])),
            ("nothing".into(), Value::from("")),
        ]
        .into(),
        events: vec![SpanEvent {
            ts_ns: 11,
            name: "e".into(),
            attributes: vec![("n".into(), Value::Int(2))],
            dropped_attributes: 6,
        }],
        links: vec![SpanLink {
            trace_id: [9; 16],
            span_id: [8; 8],
            trace_state: "c=d".into(),
            flags: 0x300,
            attributes: vec![("n".into(), Value::Int(3))],
            dropped_attributes: 7,
        }],
        dropped_attributes: 1,
        dropped_events: 2,
        dropped_links: 3,
    };
    let of = ResourceSpans {
        resource: Arc::new(vec![("service.name".into(), Value::from("cart"))]),
        scope: Scope {
            name: "s".into(),
            version: "1".into(),
            attributes: vec![("n".into(), Value::Int(1)), ("list".into(), Value::Json("[1,2]".into()))],
            schema_url: "https://scope".into(),
            dropped_attributes: 4,
        },
        schema_url: "https://resource".into(),
        dropped_attributes: 5,
        spans: vec![span],
    };
    let batch = SpanBatch { resources: vec![of] };
    let body = encode_spans(&batch);
    let resources = Resources::default();
    assert_eq!(decode_spans(Notation::Protobuf, &body, &resources).unwrap().batch, batch);
    // The message tree's decoder says the same of it, and of what is cut anywhere.
    for end in 0..=body.len() {
        let straight = decode_spans(Notation::Protobuf, &body[..end], &resources);
        let by_tree = Notation::Protobuf.read(&body[..end]).map(spans);
        assert_eq!(straight.as_ref().ok(), by_tree.as_ref().ok(), "{end} bytes: {straight:?}");
    }
    let id_cut = body.windows(18).position(|w| w == [&[0x0a, 16][..], &[1; 16]].concat()).unwrap();
    let mut bad = body.clone();
    bad[id_cut + 2..id_cut + 18].fill(0);
    let decoded = decode_spans(Notation::Protobuf, &bad, &resources).unwrap();
    assert_eq!((decoded.batch.spans(), decoded.rejected.0[0].reason), (0, RejectReason::InvalidId));
    let bad = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{ "traceId": "", "spanId": "0102030405060708" }] }] }] });
    let decoded = decode_spans(Notation::Json, bad.to_string().as_bytes(), &resources).unwrap();
    assert_eq!((decoded.batch.spans(), decoded.rejected.0[0].reason), (0, RejectReason::InvalidId));
}

#[test]
fn a_span_that_ends_before_it_starts_takes_no_time() {
    for end in ["0", "99", "100"] {
        let span = json!({
            "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708",
            "startTimeUnixNano": "100", "endTimeUnixNano": end,
        });
        let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string();
        let request: ExportTraceServiceRequest = Notation::Json.read(body.as_bytes()).unwrap();
        let message = prost::Message::encode_to_vec(&request);
        for (notation, body) in [(Notation::Json, body.as_bytes()), (Notation::Protobuf, &message)] {
            let decoded = decode_spans(notation, body, &Resources::default()).unwrap();
            let span = &decoded.batch.resources[0].spans[0];
            assert_eq!((span.start_ns, span.duration_ns), (100, 0), "{end}");
            assert!(decoded.rejected.0.is_empty(), "{end}");
        }
    }
}

#[test]
fn fractions_may_be_texts_in_json() {
    let pair = |key: &str, text: &str| json!({ "key": key, "value": { "doubleValue": text } });
    let span = json!({
        "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708",
        "attributes": [pair("half", "0.5"), pair("none", "NaN"), pair("all", "Infinity")],
    });
    let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string();
    let decoded = decode_spans(Notation::Json, body.as_bytes(), &Resources::default()).unwrap();
    let attributes = &decoded.batch.resources[0].spans[0].attributes;
    assert_eq!(attributes.get("half"), Some(Value::Double(0.5)));
    assert_eq!(attributes.get("none"), Some(Value::from("NaN")));
    assert_eq!(attributes.get("all"), Some(Value::from("Infinity")));
    let points =
        json!([{ "timeUnixNano": "1", "asDouble": "2.5" }, { "timeUnixNano": "1", "asDouble": "NaN" }]);
    let decoded = plain(request(json!({ "name": "m", "gauge": { "dataPoints": points } })));
    let found = labels_of(&decoded.batch).into_iter().filter(|(labels, _)| labels.starts_with("m{"));
    assert_eq!(found.map(|(_, value)| value).collect::<Vec<f64>>(), [2.5]);
    assert_eq!(decoded.rejected.0[0].count, 1);
}

/// A list without elements as the collector writes it, and a large number as JavaScript's exporter does.
#[test]
fn what_json_leaves_out_or_has_otherwise_costs_nothing() {
    let span = json!({
        "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708",
        "attributes": [
            { "key": "none", "value": { "arrayValue": {} } },
            { "key": "nested", "value": { "arrayValue": { "values": [{ "kvlistValue": {} }, { "intValue": 0.5 }] } } },
            { "key": "large", "value": { "intValue": 1e300 } },
            { "key": "whole", "value": { "intValue": 5e3 } },
        ],
    });
    let resource = json!({ "entityRefs": [{ "type": "host", "idKeys": ["host.id"] }] });
    let body = json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "spans": [span] }] }] });
    let decoded = decode_spans(Notation::Json, body.to_string().as_bytes(), &Resources::default()).unwrap();
    let attributes = &decoded.batch.resources[0].spans[0].attributes;
    let expected = [
        ("none", Value::Json("[]".to_owned())),
        ("nested", Value::Json("[{},0.5]".to_owned())),
        ("large", Value::Double(1e300)),
        ("whole", Value::Int(5_000)),
    ];
    assert_eq!(attributes.unpacked(), expected.map(|(name, value)| (name.to_owned(), value)));
}

/// Protobuf's JSON does not write an empty text, nor does the JSON of traces that is told here.
#[test]
fn an_attribute_without_a_key_costs_no_request() {
    let read = |attributes: &str| {
        let span = r#""traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708""#;
        let body = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{span},"attributes":[{attributes}]}}]}}]}}]}}"#
        );
        decode_spans(Notation::Json, body.as_bytes(), &Resources::default())
            .map(|decoded| decoded.batch.resources[0].spans[0].attributes.unpacked())
    };
    let map = r#"{"key":"map","value":{"kvlistValue":{"values":[{"value":{"intValue":"1"}}]}}}"#;
    let found = read(&format!(r#"{{"value":{{"stringValue":"x"}}}},{map}"#)).unwrap();
    let expected = [("", Value::from("x")), ("map", Value::Json(r#"{"":1}"#.to_owned()))];
    assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value)));
    // A key behind its value is its key.
    let found = read(r#"{"value":{"stringValue":"x"},"key":"a"}"#).unwrap();
    assert_eq!(found, [("a".to_owned(), Value::from("x"))]);
    assert!(read(r#"{"key":"a","value":5}"#).unwrap_err().0.contains("line 1"));
}

#[test]
fn a_histogram_of_which_the_sum_is_none_keeps_its_counts_in_json() {
    let point = json!({ "timeUnixNano": "1000000", "count": "2", "sum": "NaN", "min": "-Infinity", "max": "Infinity",
        "bucketCounts": ["1", "1"], "explicitBounds": [0.5] });
    let histogram = json!({ "aggregationTemporality": 2, "dataPoints": [point] });
    let decoded = plain(request(json!({ "name": "h", "histogram": histogram })));
    let found = labels_of(&decoded.batch).into_iter().filter(|(labels, _)| labels.starts_with("h_count"));
    assert_eq!(found.map(|(_, value)| value).collect::<Vec<f64>>(), [2.0]);
    assert!(decoded.rejected.0.is_empty(), "{decoded:?}");
}

#[test]
fn enums_may_be_names_in_json() {
    let span = json!({
        "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708", "flags": "257",
        "kind": "SPAN_KIND_SERVER", "status": { "code": "STATUS_CODE_ERROR" },
    });
    let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string();
    let decoded = decode_spans(Notation::Json, body.as_bytes(), &Resources::default()).unwrap();
    let span = &decoded.batch.resources[0].spans[0];
    assert_eq!((span.kind, span.status, span.flags), (SpanKind::Server, StatusCode::Error, 257));
    let sum = json!({ "aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "isMonotonic": true,
        "dataPoints": [{ "timeUnixNano": "1000000", "asInt": "5", "flags": "0" }] });
    let decoded = plain(request(json!({ "name": "orders", "sum": sum })));
    let found =
        labels_of(&decoded.batch).into_iter().filter(|(labels, _)| labels.starts_with("orders_total"));
    assert_eq!(found.map(|(_, value)| value).collect::<Vec<f64>>(), [5.0]);
    assert!(decoded.rejected.0.is_empty(), "{decoded:?}");
}

#[test]
fn half_a_pair_costs_itself_alone() {
    let span = json!({
        "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708",
        "attributes": [{ "key": "user", "value": { "stringValue": "a HALF" } }],
    });
    let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string();
    let body = body.replace("HALF", r"\ud83d");
    let decoded = decode_spans(Notation::Json, body.as_bytes(), &Resources::default()).unwrap();
    let span = &decoded.batch.resources[0].spans[0];
    assert_eq!(span.attributes.get("user"), Some(Value::from("a \u{fffd}")));
}

/// The messages' reader makes nothing of data with a field of another type, and says nothing of it.
#[test]
fn a_metric_without_data_is_told() {
    let point = json!({ "timeUnixNano": "1", "asInt": "3" });
    let sum = json!({ "aggregationTemporality": "often", "dataPoints": [point] });
    let decoded = plain(request(json!({ "name": "orders", "sum": sum })));
    let told: Vec<&str> = decoded.rejected.0.iter().map(|row| row.example.as_str()).collect();
    assert_eq!(told, ["metric \"orders\" has no data, or none that can be read"]);
}

#[test]
fn bodies_that_are_not_otlp_are_errors() {
    assert!(Notation::Protobuf.read::<ExportLogsServiceRequest>(&[0x0a, 0xff, 0xff]).is_err());
    let wrong = Notation::Json.read::<ExportLogsServiceRequest>(b"{\"resourceLogs\": 5}").unwrap_err();
    assert!(wrong.0.contains("line 1"), "{wrong}");
}

#[test]
fn what_a_metric_is_arrives_with_it() {
    let mut batch = MetricBatch::default();
    for name in ["pgfault", "took_bucket", "took_sum", "took_count", "lasts", "lasts_count", "build_info"] {
        batch.push_sample(&Labels::from_pairs([("__name__", name)]), 5, 1.0);
    }
    for (name, kind, help) in [
        ("took", MetricKind::Histogram, "Seconds."),
        ("pgfault", MetricKind::Unknown, "Faults."),
        ("lasts", MetricKind::Summary, ""),
        ("build_info", MetricKind::Info, "Of this build."),
        ("absent", MetricKind::Histogram, "Nothing of it is here."),
    ] {
        batch.metadata.push(Metadata { name: name.into(), kind, help: help.into(), unit: String::new() });
    }
    let decoded = plain(Notation::Protobuf.read(&encode_metrics(&batch, &[]).next().unwrap().bytes).unwrap());
    batch.metadata.pop();
    assert_eq!(decoded.batch.metadata, batch.metadata);
    assert_eq!(decoded.batch.series.len(), 7);
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
    let requests: Vec<Encoded> = encode_metrics(&batch, &[("many", "own"), ("cluster", "one")]).collect();
    assert_eq!(requests.iter().map(|request| request.samples).collect::<Vec<_>>(), [4_000, 4_000, 1_000]);
    let mut series = 0;
    for request in &requests {
        let decoded = plain(Notation::Protobuf.read(&request.bytes).unwrap());
        assert_eq!(decoded.batch.metadata.first(), Some(&known));
        let labels = Labels::from_bytes(decoded.batch.iter().next().unwrap().0).unwrap();
        assert_eq!(labels.get("cluster"), Some("one"), "{labels}");
        series += decoded.batch.series.len();
    }
    assert_eq!(series, 9_000);
    assert_eq!(encode_metrics(&MetricBatch::default(), &[]).count(), 0);
}

#[test]
fn answers_say_what_was_left_out() {
    assert_eq!(rejected(b""), None);
    assert_eq!(rejected(&[0x0a, 0]), None, "all were taken");
    assert_eq!(rejected(&[0x0a, 4, 0x12, 2, b'o', b'k']), None, "a remark");
    assert_eq!(rejected(&[0x0a, 6, 0x08, 7, 0x12, 2, b'n', b'o']), Some((7, "no".to_owned())));
    assert_eq!(rejected(b"<html>"), None);
}
