use super::*;

fn record(json: &str) -> Result<(Labels, LogRecord), String> {
    let mut document = Document::parse(json.as_bytes())?;
    let labels = Labels::from_pairs(document.take_labels());
    Ok((labels, document.into_record(&Names::USUAL, 7)?))
}

#[test]
fn times_are_read_in_every_common_notation() {
    for (time, expected) in [
        (r#""2026-03-01T12:00:00Z""#, 1_772_366_400_000_000_000),
        (r#""2026-03-01T12:00:00.123456789Z""#, 1_772_366_400_123_456_789),
        (r#""2026-03-01T13:00:00+01:00""#, 1_772_366_400_000_000_000),
        (r#""2026-03-01T13:00:00.5+0100""#, 1_772_366_400_500_000_000),
        (r#""2026-03-01T12:00:00""#, 1_772_366_400_000_000_000),
        (r#""2026-03-01 12:00:00.250""#, 1_772_366_400_250_000_000),
        (r#""2026-03-01""#, 1_772_323_200_000_000_000),
        ("1772366400", 1_772_366_400_000_000_000),
        ("1772366400.5", 1_772_366_400_500_000_000),
        ("1772366400123", 1_772_366_400_123_000_000),
        ("1772366400123456", 1_772_366_400_123_456_000),
        ("\"1772366400123456789\"", 1_772_366_400_123_456_789),
        (r#""2026-03-01T12:00Z""#, 1_772_366_400_000_000_000),
        (r#""2026-03-01 12:00:00,250""#, 1_772_366_400_250_000_000),
        (r#""2026-03-01 13:00:00 +0100""#, 1_772_366_400_000_000_000),
        (r#""2026-03-01T13:00:00.5+01""#, 1_772_366_400_500_000_000),
        (r#""1772366400.123456789""#, 1_772_366_400_123_456_789),
        (r#""1772366400123.456789""#, 1_772_366_400_123_456_789),
        ("1772366400123.5", 1_772_366_400_123_500_000),
        ("null", 7),
        ("0", 7),
        (r#""0""#, 7),
    ] {
        let json = format!("{{\"@timestamp\":{time},\"message\":\"m\"}}");
        assert_eq!(record(&json).unwrap().1.ts_ns, expected, "{time}");
    }
    for wrong in ["\"soon\"", "\"1.2.3\"", "true", "\"2026-13-01T00:00:00Z\"", "1e300", "[1]"] {
        let said = record(&format!("{{\"@timestamp\":{wrong}}}")).unwrap_err();
        assert!(said.contains("[@timestamp] of type [date]"), "{wrong}: {said}");
    }
}

#[test]
fn what_is_no_line_is_metadata_and_a_document_without_one_is_its_own_line() {
    let (_, with) =
        record(r#"{"message":"late\n","log":{"level":"WARN","offset":5},"n":1.5,"tags":["a"],"no":null}"#)
            .unwrap();
    assert_eq!((with.body.as_str(), with.severity, with.severity_text.as_str()), ("late", 13, "WARN"));
    let expected = [
        ("log.offset".to_owned(), Value::Int(5)),
        ("n".to_owned(), Value::Double(1.5)),
        ("tags".to_owned(), Value::Json("[\"a\"]".into())),
    ];
    assert_eq!(with.attributes, expected);
    let json = r#"{"user":"x",  "level":"error", "app":"shop"}"#;
    let (labels, without) = record(json).unwrap();
    assert_eq!((without.body.as_str(), without.severity, without.attributes.len()), (json, 17, 0));
    assert_eq!(labels, Labels::from_pairs([("app", "shop"), ("service_name", "shop")]));
}

#[test]
fn what_is_often_a_time_is_one_where_it_can_be() {
    for (time, ts_ns) in [
        (r#""2026-03-01T12:00:00Z""#, Some(1_772_366_400_000_000_000)),
        ("1772366400", Some(1_772_366_400_000_000_000)),
        ("0.003", None),
        ("250", None),
        (r#""01/Mar/2026:12:00:00 +0000""#, None),
    ] {
        let (_, record) = record(&format!("{{\"message\":\"m\",\"time\":{time}}}")).unwrap();
        assert_eq!(record.ts_ns, ts_ns.unwrap_or(7), "{time}");
        assert_eq!(record.attributes.len(), usize::from(ts_ns.is_none()), "{time}");
    }
}

#[test]
fn an_empty_line_is_a_line_and_what_is_no_level_stays() {
    let (_, record) = record(r#"{"message":"","level":"audit","severity":"warn"}"#).unwrap();
    assert_eq!((record.body.as_str(), record.severity, record.severity_text.as_str()), ("", 13, "warn"));
    assert_eq!(record.attributes, [("level".to_owned(), "audit".into())]);
}

#[test]
fn whole_numbers_keep_their_digits() {
    let (_, record) = record(r#"{"message":18446744073709551615,"n":9223372036854775807}"#).unwrap();
    assert_eq!(record.body, "18446744073709551615");
    assert_eq!(record.attributes, [("n".to_owned(), Value::Int(i64::MAX))]);
}

#[test]
fn half_a_pair_of_utf_16_costs_itself_alone() {
    let (_, record) = record(r#"{"message":"a \ud83d","user":"\ud83d\ude00"}"#).unwrap();
    assert_eq!(record.body, "a \u{fffd}");
    assert_eq!(record.attributes, [("user".to_owned(), Value::from("😀"))]);
}

#[test]
fn ids_are_those_that_are_ids() {
    let (_, record) = record(
        r#"{"message":"m","trace.id":"0af7651916cd43dd8448eb211c80319c","span_id":"no","span":{"id":"00f067aa0ba902b7"}}"#,
    )
    .unwrap();
    assert_eq!((record.trace_id.unwrap()[0], record.span_id.unwrap()[1]), (0x0a, 0xf0));
    assert_eq!(record.attributes, [("span_id".to_owned(), "no".into())]);
}

#[test]
fn a_document_is_bounded_in_fields_names_and_depth() {
    let wide = |fields: usize| {
        let pairs: Vec<String> = (0..fields).map(|n| format!("\"f{n}\":1")).collect();
        record(&format!("{{{}}}", pairs.join(",")))
    };
    assert!(wide(FIELDS_MAX).is_ok());
    assert!(wide(FIELDS_MAX + 1).unwrap_err().contains("[1000]"));
    let long = format!("{{\"{}\":{{\"x\":1}}}}", "n".repeat(NAME_BYTES_MAX));
    assert!(record(&long).unwrap_err().contains("has 1026 bytes"));
    let deep = format!("{{\"message\":\"m\",\"a\":{}1{}}}", "{\"b\":".repeat(60), "}".repeat(60));
    let attributes = record(&deep).unwrap().1.attributes;
    assert!(
        matches!(&attributes[..], [(name, Value::Json(_))] if name.len() == 1 + 2 * DEPTH_MAX),
        "{attributes:?}"
    );
    let list =
        |values: usize, text: &str| format!("{{\"message\":\"{text}\",\"a\":[0{}]}}", ",0".repeat(values));
    assert!(record(&list(VALUES_MAX, "")).unwrap_err().contains("more than 100000 values"));
    assert!(record(&list(VALUES_MAX / 2, &r#",[{\"\\"#.repeat(VALUES_MAX))).is_ok(), "texts are no values");
    let bottomless = "{\"a\":".repeat(50_000);
    assert!(record(&bottomless).unwrap_err().contains("not JSON"));
}
