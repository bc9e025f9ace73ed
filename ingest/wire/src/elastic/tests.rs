use super::*;
use model::{Value, attribute};

/// As Filebeat 8 posts to `_bulk` for a container's line: `kubernetes` processor, ECS names, operation `create`.
const FILEBEAT: &str = r#"{"create":{"_index":"filebeat-8.17.0"}}
{"@timestamp":"2026-03-01T12:00:00.123Z","log":{"offset":4711,"file":{"path":"/var/log/containers/orders-5d9c_shop_orders-a1.log"}},"stream":"stderr","message":"level=error pool exhausted","input":{"type":"container"},"kubernetes":{"container":{"name":"orders"},"node":{"uid":"66f1","hostname":"node-1","name":"node-1"},"pod":{"uid":"77aa","ip":"10.0.0.7","name":"orders-5d9c"},"namespace":"shop","labels":{"app_kubernetes_io/name":"orders-api","pod-template-hash":"5d9c"}},"ecs":{"version":"8.0.0"},"host":{"name":"node-1"},"agent":{"type":"filebeat","version":"8.17.0","name":"node-1"}}
"#;

/// As Fluent Bit 3 posts with `Kube_Tag_Prefix`, `Logstash_Format On`, `Suppress_Type_Name On`.
const FLUENT_BIT: &str = r#"{"create":{"_index":"logstash-2026.03.01"}}
{"@timestamp":"2026-03-01T12:00:01.250Z","time":"2026-03-01T12:00:01.250000000Z","stream":"stdout","_p":"F","log":"{\"level\":\"warn\",\"msg\":\"slow\"}","kubernetes":{"pod_name":"pay-77","namespace_name":"shop","pod_id":"9c1e","labels":{"app":"pay"},"host":"node-2","container_name":"pay","docker_id":"a1b2","container_image":"registry/pay:1"}}
"#;

#[test]
fn filebeat_and_fluent_bit_give_the_labels_of_the_agent() {
    let bulk = bulk(format!("{FILEBEAT}{FLUENT_BIT}").as_bytes(), None, 0, &mut |_, _, _, _| None).unwrap();
    let streams = &bulk.decoded.batch.streams;
    let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
    assert_eq!(
        streams[0].labels,
        labels(&[
            ("namespace", "shop"),
            ("pod", "orders-5d9c"),
            ("container", "orders"),
            ("node", "node-1"),
            ("app", "orders-api"),
            ("service_name", "orders-api"),
            ("stream", "stderr"),
            ("index", "filebeat-8.17.0"),
        ])
    );
    assert_eq!(
        streams[1].labels,
        labels(&[
            ("namespace", "shop"),
            ("pod", "pay-77"),
            ("container", "pay"),
            ("node", "node-2"),
            ("app", "pay"),
            ("service_name", "pay"),
            ("stream", "stdout"),
            ("index", "logstash-2026.03.01"),
        ])
    );
    let (beat, bit) = (&streams[0].records[0], &streams[1].records[0]);
    assert_eq!((beat.ts_ns, beat.severity), (1_772_366_400_123_000_000, 0));
    assert_eq!(beat.body, "level=error pool exhausted");
    assert_eq!(attribute(&beat.attributes, "log.offset"), Some(&Value::Int(4711)));
    assert_eq!(attribute(&beat.attributes, "kubernetes.pod.ip"), Some(&"10.0.0.7".into()));
    assert_eq!((bit.ts_ns, bit.severity), (1_772_366_401_250_000_000, 0));
    assert_eq!(bit.body, r#"{"level":"warn","msg":"slow"}"#);
    assert_eq!(attribute(&bit.attributes, "kubernetes.docker_id"), Some(&"a1b2".into()));
    assert!(bulk.decoded.rejected.0.is_empty());
}

#[test]
fn each_item_has_its_own_outcome_and_the_others_stay() {
    let body = concat!(
        "{\"index\":{\"_id\":\"a\"}}\n{\"message\":\"one\",\"app\":\"x\"}\n",
        "{\"delete\":{\"_index\":\"i\",\"_id\":\"b\"}}\n",
        "{\"update\":{\"_id\":\"c\"}}\n{\"doc\":{}}\n",
        "{\"create\":{}}\n{\"message\":\n",
        "{\"create\":{}}\n\"text\"\n",
        "{\"create\":{}}\n{\"message\":\"two\",\"app\":\"y\"}\r\n",
        "{\"create\":{}}\n{\"message\":\"three\",\"app\":\"x\"}\n",
    );
    let bulk = bulk(body.as_bytes(), Some("path"), 9, &mut |_, _, _, _| None).unwrap();
    let refused =
        |kind| move |outcome: &Outcome| matches!(outcome, Outcome::Refused { kind: k, .. } if *k == kind);
    let outcomes: Vec<_> = bulk.items.iter().map(|item| item.outcome.clone()).collect();
    assert_eq!(
        [&outcomes[0], &outcomes[5], &outcomes[6]],
        [&Outcome::Record(0), &Outcome::Record(2), &Outcome::Record(1)]
    );
    assert!(outcomes[1..3].iter().all(refused("illegal_argument_exception")), "{outcomes:?}");
    assert!(outcomes[3..5].iter().all(refused("document_parsing_exception")), "{outcomes:?}");
    let lines: Vec<_> = bulk
        .decoded
        .batch
        .streams
        .iter()
        .flat_map(|stream| &stream.records)
        .map(|r| r.body.as_str())
        .collect();
    assert_eq!(lines, ["one", "three", "two"]);
    assert_eq!((bulk.items[0].index.as_str(), bulk.items[1].index.as_str()), ("path", "i"));
    assert_eq!(bulk.items[0].id.as_deref(), Some("a"));
    let counts: Vec<_> = bulk.decoded.rejected.0.iter().map(|row| (row.reason, row.count)).collect();
    assert_eq!(counts, [(RejectReason::UnsupportedAction, 2), (RejectReason::InvalidDocument, 2)]);
}

#[test]
fn an_id_may_be_a_number() {
    let body = "{\"index\":{\"_id\":17}}\n{\"message\":\"one\"}\n{\"index\":{\"_id\":null}}\n{\"message\":\"two\"}\n";
    let mut asked = vec![];
    let mut known = |_: Action, _: &str, id: &str, _: &[u8]| {
        asked.push(id.to_owned());
        None::<Known>
    };
    let bulk = bulk(body.as_bytes(), None, 0, &mut known).unwrap();
    assert_eq!(bulk.items.iter().map(|item| item.id.as_deref()).collect::<Vec<_>>(), [Some("17"), None]);
    assert_eq!(asked, ["17"]);
}

/// As the exporter of an OpenTelemetry collector posts with its mapping `otel`.
const COLLECTOR: &str = r#"{"create":{"_index":"logs-generic.otel-default"}}
{"@timestamp":"1772366400123.456789","severity_text":"ERROR","severity_number":17,"body":{"text":"pool exhausted"},"attributes":{"user.id":7},"resource":{"attributes":{"service.name":"orders","k8s.pod.name":"orders-5d9c"}},"trace_id":"0af7651916cd43dd8448eb211c80319c"}
"#;

#[test]
fn a_collectors_records_are_read() {
    let bulk = bulk(COLLECTOR.as_bytes(), None, 0, &mut |_, _, _, _| None).unwrap();
    let stream = &bulk.decoded.batch.streams[0];
    let index = ("index", "logs-generic.otel-default");
    let labels = Labels::from_pairs([("pod", "orders-5d9c"), ("service_name", "orders"), index]);
    assert_eq!(stream.labels, labels);
    let record = &stream.records[0];
    assert_eq!((record.ts_ns, record.severity), (1_772_366_400_123_456_789, 17));
    assert_eq!((record.body.as_str(), record.trace_id.map(|id| id[0])), ("pool exhausted", Some(0x0a)));
    assert_eq!(attribute(&record.attributes, "attributes.user.id"), Some(&Value::Int(7)));
}

#[test]
fn a_body_that_is_no_bulk_says_where() {
    for (body, says) in [
        ("", "body is required"),
        ("\n \n", "body is required"),
        ("{\"index\":{}}\n{}", "terminated by a newline"),
        ("{\"index\":{}}\n", "line [1] has no document"),
        ("{\"index\":{}}\n{}\n{\"drop\":{}}\n{}\n", "line [3], expected field"),
        ("{\"index\":{},\"create\":{}}\n{}\n", "expected one action"),
        ("{\"index\":{}}\n{}\nnonsense\n{}\n", "line [3]"),
    ] {
        let wrong = bulk(body.as_bytes(), None, 0, &mut |_, _, _, _| None).unwrap_err();
        assert!(wrong.0.contains(says), "{body:?}: {wrong}");
    }
    let long = format!("{{\"index\":{{\"_id\":\"{}\"}}}}\n{{}}\n", "x".repeat(ACTION_BYTES_MAX));
    assert!(bulk(long.as_bytes(), None, 0, &mut |_, _, _, _| None).unwrap_err().0.contains("1048576 bytes"));
    assert!(bulk("{\"delete\":{}}\n".repeat(ITEMS_MAX).as_bytes(), None, 0, &mut |_, _, _, _| None).is_ok());
    assert!(
        bulk("{\"delete\":{}}\n".repeat(ITEMS_MAX + 1).as_bytes(), None, 0, &mut |_, _, _, _| None).is_err()
    );
}
