use super::*;
use crate::protobuf::Writer;

fn push(labels: &str, lines: &[&[u8]]) -> Vec<u8> {
    let (mut request, mut stream) = (Writer::default(), Writer::default());
    stream.bytes(1, labels.as_bytes());
    for line in lines {
        let (mut entry, mut time, mut pair) = (Writer::default(), Writer::default(), Writer::default());
        time.integer(1, 1_700_000_000);
        time.integer(2, 5);
        pair.bytes(1, b"trace_id");
        pair.bytes(2, b"0af7651916cd43dd8448eb211c80319c");
        entry.bytes(1, &time.0);
        entry.bytes(2, line);
        entry.bytes(3, &pair.0);
        stream.bytes(2, &entry.0);
    }
    request.bytes(1, &stream.0);
    request.0
}

#[test]
fn a_record_that_stands_twice_in_a_stream_is_kept_once() {
    let body = br#"{"streams":[{"stream":{"app":"a"},"values":[
        ["1","x"],["1","y"],["1","x"],["2","x"],["2","x",{"k":"v"}],["2","x",{"k":"v"}],["2","x",{"k":"w"}]]}]}"#;
    let decoded = decode_json(body, &[]).unwrap();
    let kept: Vec<_> = decoded.batch.streams[0]
        .records
        .iter()
        .map(|r| (r.ts_ns, r.body.as_str(), r.attributes.len()))
        .collect();
    assert_eq!(kept, [(1, "x", 0), (1, "y", 0), (2, "x", 0), (2, "x", 1), (2, "x", 1)]);
}

#[test]
fn protobuf_and_json_say_the_same() {
    let protobuf =
        decode_protobuf(&push(r#"{app="w\"eb", env=`prod`}"#, &[b"level=warn late"]), &[]).unwrap();
    let json = br#"{"streams":[{"stream":{"app":"w\"eb","env":"prod"},
        "values":[["1700000000000000005","level=warn late",{"trace_id":"0af7651916cd43dd8448eb211c80319c"}]]}]}"#;
    assert_eq!(decode_json(json, &[]).unwrap(), protobuf);
    let record = &protobuf.batch.streams[0].records[0];
    assert_eq!((record.severity, record.trace_id.unwrap()[0]), (0, 0x0a));
    assert_eq!(protobuf.batch.streams[0].labels.get("app"), Some("w\"eb"));
}

#[test]
fn bytes_that_are_no_text_stay_visible() {
    let decoded = decode_protobuf(&push("{app=\"x\"}", &[b"a\xffb"]), &[]).unwrap();
    assert_eq!(decoded.batch.streams[0].records[0].body, "a\u{fffd}b");
    let json = b"{\"streams\":[{\"stream\":{\"app\":\"x\"},\"values\":[[\"5\",\"a\xffb\"]]}]}";
    assert_eq!(decode_json(json, &[]).unwrap().batch.streams[0].records[0].body, "a\u{fffd}b");
}

#[test]
fn metadata_and_labels_that_are_no_text_cost_no_other_line() {
    let (mut stream, mut entry, mut pair) = (Writer::default(), Writer::default(), Writer::default());
    pair.bytes(1, b"k");
    pair.bytes(2, b"v\xff");
    entry.bytes(2, b"one");
    entry.bytes(3, &pair.0);
    stream.bytes(1, b"{app=\"x\"}");
    stream.bytes(2, &entry.0);
    let (mut unnamed, mut body) = (Writer::default(), Writer::default());
    unnamed.bytes(1, b"{app=\"p\xff\"}");
    unnamed.bytes(2, &entry.0);
    body.bytes(1, &unnamed.0);
    body.bytes(1, &stream.0);
    let decoded = decode_protobuf(&body.0, &[]).unwrap();
    let streams = &decoded.batch.streams;
    assert_eq!((streams.len(), streams[0].records[0].body.as_str()), (1, "one"));
    assert_eq!(attribute(&streams[0].records[0].attributes, "k"), Some(&"v\u{fffd}".into()));
    let row = &decoded.rejected.0[0];
    let why = "couldn't parse labels: 1:6: parse error: invalid UTF-8 rune";
    assert_eq!((row.count, row.example.as_str()), (1, why));
}

#[test]
fn streams_with_bad_labels_are_counted_and_the_others_stay() {
    for labels in
        ["", "{}", "{app}", "{app=\"x\"", "{app=\"x\" b=\"y\"}", "{1a=\"x\"}", "{=\"x\"}", r#"{a="\q"}"#]
    {
        let mut body = push(labels, &[b"one", b"two"]);
        body.extend(push("{app=\"fine\"}", &[b"kept"]));
        let decoded = decode_protobuf(&body, &[]).unwrap();
        assert_eq!(decoded.batch.records(), 1, "{labels}");
        assert_eq!((decoded.rejected.0.len(), decoded.rejected.0[0].count), (1, 2), "{labels}");
    }
}

#[test]
fn labels_are_refused_in_the_words_of_their_parser() {
    let why = |labels: &str| selector::parse(labels).unwrap_err();
    for (labels, told) in [
        ("{1a=\"b\"}", "1:2: parse error: unexpected character inside braces: '1'"),
        ("{a=b}", "1:4: parse error: unexpected identifier \"b\" in label set, expected string"),
        ("{a=\"b\"", "1:7: parse error: unexpected end of input inside braces"),
        (
            "{a=\"b\" c=\"d\"}",
            "1:8: parse error: unexpected identifier \"c\" in label set, expected \",\" or \"}\"",
        ),
        ("{a=~\"b\"}", "1:3: parse error: unexpected <op:=~> in label set, expected \"=\""),
        ("{=\"b\"}", "1:2: parse error: unexpected \"=\" in label set, expected identifier or \"}\""),
    ] {
        assert_eq!(why(labels), format!("couldn't parse labels: {told}"));
    }
    let pairs = |labels: &str| selector::parse(labels).unwrap();
    let one = [("a.b".to_owned(), "c\"".to_owned())];
    for labels in [r#"{a.b="c\""}"#, r#"{"a.b"='c"'}"#, "{ a.b = `c\"` , }"] {
        assert_eq!(pairs(labels), one, "{labels}");
    }
    let json = br#"{"streams":[{"stream":{"a":"x","b-c":"y"},"values":[["1","z"]]}]}"#;
    let told = &decode_json(json, &[]).unwrap().rejected.0[0].example;
    assert_eq!(told, "couldn't parse labels: 1:10: parse error: unexpected character inside braces: '-'");
    let twice = decode_protobuf(&push(r#"{b="1", a="x", b="2"}"#, &[b"line"]), &[]).unwrap();
    assert_eq!(
        twice.rejected.0[0].example,
        r#"stream '{a="x", b="1", b="2"}' has duplicate label name: 'b'"#
    );
}

#[test]
fn json_may_leave_out_what_loki_does_not_need() {
    let read = |body: &str| decode_json(body.as_bytes(), &["app".to_owned()]).unwrap().batch;
    assert!(read("{}").streams.is_empty());
    let lines = |body: &str| -> Vec<String> {
        let batch = read(body);
        assert_eq!(batch.streams[0].labels, Labels::from_pairs([("service_name", "unknown_service")]));
        batch.streams[0].records.iter().map(|record| record.body.clone()).collect()
    };
    assert_eq!(lines(r#"{"streams":[{"stream":{"a":""},"values":[["1"],["2","x",{},5]]}]}"#), ["", "x"]);
    assert_eq!(lines(r#"{"streams":[{"values":[["1","x"]]}]}"#), ["x"]);
    assert!(lines(r#"{"streams":[{"stream":{}}]}"#).is_empty());
}

#[test]
fn labels_in_json_may_be_no_texts() {
    let json =
        br#"{"streams":[{"stream":{"app":"a","status":200,"ok":true,"none":null,"part":0.5,"of":{"b":[1]}},
        "values":[["1","x"]]}]}"#;
    let expected = [
        ("app", "a"),
        ("none", "null"),
        ("of", r#"{"b":[1]}"#),
        ("ok", "true"),
        ("part", "0.5"),
        ("status", "200"),
    ];
    assert_eq!(decode_json(json, &[]).unwrap().batch.streams[0].labels, Labels::from_pairs(expected));
}

#[test]
fn metadata_without_a_value_stays_and_without_a_name_is_refused() {
    let json = br#"{"streams":[{"stream":{"app":"a"},"values":[
        ["1","x",{}],["2","y",{"k":"","m":"v"}],["3","z",{"":"v"}]]}]}"#;
    let decoded = decode_json(json, &[]).unwrap();
    let records = &decoded.batch.streams[0].records;
    assert_eq!(records.iter().map(|record| record.body.as_str()).collect::<Vec<_>>(), ["x", "y"]);
    assert!(records[0].attributes.is_empty());
    let kept = [("k", ""), ("m", "v")].map(|(name, value)| (name.to_owned(), Value::from(value)));
    assert_eq!(records[1].attributes, kept);
    let [refused] = decoded.rejected.0.as_slice() else { panic!("{:?}", decoded.rejected) };
    assert_eq!((refused.count, refused.example.as_str()), (1, "label name is empty"));
}

#[test]
fn a_body_that_is_not_one_says_where() {
    let wrong = decode_json(b"{\"streams\": [{\"stream\":\n 1}]}", &[]).unwrap_err();
    assert!(wrong.0.contains("line 2"), "{wrong}");
    let wrong =
        decode_json(br#"{"streams":[{"stream":{"a":"b"},"values":[["now","x"]]}]}"#, &[]).unwrap_err();
    assert!(wrong.0.contains("\"now\""), "{wrong}");
    let whole = push("{app=\"x\"}", &[b"line"]);
    for length in 1..whole.len() {
        assert!(decode_protobuf(&whole[..length], &[]).is_err(), "{length}");
    }
}

#[test]
fn a_stream_without_service_name_gets_it() {
    let from = SERVICE_NAME_LABELS.map(str::to_owned);
    for (labels, expected) in [
        (r#"{app="web", container="c"}"#, Some("web")),
        (r#"{job="loki/x", service="pay", app="web"}"#, Some("pay")),
        (r#"{app="", k8s_job_name="nightly"}"#, Some("nightly")),
        (r#"{env="prod"}"#, Some("unknown_service")),
        (r#"{app="web", service_name="shop"}"#, Some("shop")),
        (r#"{app="web", service_name=""}"#, Some("web")),
        (r#"{__aggregated_metric__="shop", app="web"}"#, None),
    ] {
        let decoded = decode_protobuf(&push(labels, &[b"line"]), &from).unwrap();
        assert_eq!(decoded.batch.streams[0].labels.get("service_name"), expected, "{labels}");
    }
    let json = br#"{"streams":[{"stream":{"app":"web"},"values":[["1","line"]]}]}"#;
    let of = |from: &[String]| decode_json(json, from).unwrap().batch.streams[0].labels.clone();
    assert_eq!(of(&from), Labels::from_pairs([("app", "web"), ("service_name", "web")]));
    assert_eq!(of(&["env".to_owned()]).get("service_name"), Some("unknown_service"));
    assert_eq!(of(&[]), Labels::from_pairs([("app", "web")]));
}

#[test]
fn levels_are_those_that_are_said_beside_the_line() {
    let json = br#"{"streams":[
        {"stream":{"app":"x"},"values":[
            ["1","error",{"detected_level":"WARNING"}],["2","error",{"level":"Critical"}],["3","error",{"level":"odd"}],
            ["4","plain",{"severity_number":"17"}],["5","plain",{"severity_number":"170"}]]},
        {"stream":{"severity":"ERR"},"values":[["1","info",{"level":"debug"}]]}]}"#;
    let decoded = decode_json(json, &[]).unwrap();
    let levels = |stream: &LogStream| -> Vec<&str> {
        stream.records.iter().map(|record| model::severity_text(record.severity)).collect()
    };
    assert_eq!(levels(&decoded.batch.streams[0]), ["warn", "critical", "unknown", "error", "unknown"]);
    assert_eq!(levels(&decoded.batch.streams[1]), ["error"]);
    let said = attribute(&decoded.batch.streams[0].records[0].attributes, "detected_level");
    assert_eq!(said.and_then(Value::as_str), Some("warn"));
}
