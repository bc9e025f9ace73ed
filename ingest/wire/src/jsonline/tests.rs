use super::*;
use model::{Value, attribute};

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_parameters_say_what_is_time_line_and_label() {
    let options = Options {
        times: list(&["at"]),
        lines: list(&["text.short", "text.long"]),
        labels: list(&["k8s.pod", "env"]),
        ignored: list(&["secret"]),
        extra: vec![("env".into(), "test".into()), ("dc".into(), "one".into())],
    };
    let body = concat!(
        r#"{"at":1772366400,"text":{"long":"hello"},"k8s":{"pod":"a"},"secret":"x","app":"y"}"#,
        "\n\n",
        r#"{"at":1772366401,"text":{"short":"again","long":"kept"},"k8s":{"pod":"a"},"env":"prod"}"#,
    );
    let decoded = decode(body.as_bytes(), &options, 0);
    let streams = decoded.batch.streams;
    assert_eq!(streams[0].labels, Labels::from_pairs([("k8s_pod", "a"), ("env", "test")]));
    assert_eq!(streams[1].labels, Labels::from_pairs([("k8s_pod", "a"), ("env", "prod")]));
    let record = &streams[0].records[0];
    assert_eq!((record.ts_ns, record.body.as_str()), (1_772_366_400_000_000_000, "hello"));
    assert_eq!(record.attributes, [("app".into(), "y".into()), ("dc".into(), Value::from("one"))]);
    assert_eq!(streams[1].records[0].body, "again");
    assert_eq!(attribute(&streams[1].records[0].attributes, "text.long"), Some(&"kept".into()));
}

#[test]
fn without_parameters_the_usual_names_are_looked_for() {
    let body =
        r#"{"_time":"2026-03-01T12:00:00Z","_msg":"level=warn x","message":"kept","service":{"name":"pay"}}"#;
    let decoded = decode(body.as_bytes(), &Options::default(), 0);
    let stream = &decoded.batch.streams[0];
    assert_eq!(stream.labels, Labels::from_pairs([("service_name", "pay")]));
    let record = &stream.records[0];
    assert_eq!(
        (record.ts_ns, record.severity, record.body.as_str()),
        (1_772_366_400_000_000_000, 0, "level=warn x")
    );
    assert_eq!(record.attributes, [("message".into(), "kept".into())]);
}

#[test]
fn lines_that_are_no_record_are_counted_with_the_first_ones_number() {
    let body =
        b"{\"_msg\":\"one\"}\n[1]\n{\"_time\":\"soon\",\"_msg\":\"x\"}\n\xff\n{\"_msg\":\"two\"}\n{\"_ms";
    let labels = Options { labels: list(&["none"]), ..Options::default() };
    let decoded = decode(body, &labels, 5);
    assert_eq!(decoded.batch.records(), 2);
    assert_eq!(decoded.batch.streams[0].labels.get("service_name"), Some("unknown_service"));
    let row = &decoded.rejected.0[0];
    assert_eq!((row.reason, row.count), (RejectReason::InvalidDocument, 4));
    assert!(row.example.starts_with("line 2: "), "{}", row.example);
}
