use super::*;
use chrono::Utc;
use model::attribute;
use proptest::prelude::*;

/// 2026-01-01T00:30:00Z.
const NOW_NS: i64 = 1_767_227_400_000_000_000;

fn read(text: &str) -> (Labels, LogRecord) {
    record(text, &Arrival { now_ns: NOW_NS, peer: "10.0.0.9", zone: Utc })
}

fn at(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_nanos_opt().unwrap()
}

#[test]
fn rfc_5424_gives_all_its_fields() {
    // The third example of RFC 5424, section 6.5, with an escape and a second element.
    let (labels, record) = read(
        "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 42 ID47 \
         [exampleSDID@32473 iut=\"3\" eventSource=\"App\\\"s\\]\"][seen@1] \u{feff}An application event",
    );
    let expected = [("job", "syslog"), ("node", "mymachine.example.com"), ("service_name", "evntslog")];
    assert_eq!(labels, Labels::from_pairs(expected));
    assert_eq!(
        (record.ts_ns, record.body.as_str()),
        (at("2003-10-11T22:14:15.003Z"), "An application event")
    );
    assert_eq!((record.severity, record.severity_text.as_str()), (10, "notice"));
    let attributes: Vec<(&str, String)> =
        record.attributes.iter().map(|(name, value)| (name.as_str(), value.to_string())).collect();
    assert_eq!(
        attributes,
        [
            ("syslog.facility", "local4".into()),
            ("process.pid", "42".into()),
            ("syslog.msgid", "ID47".into()),
            ("exampleSDID@32473.iut", "3".into()),
            ("exampleSDID@32473.eventSource", "App\"s]".into()),
            ("seen@1", String::new()),
        ]
    );
    let (labels, record) = read("<34>1 - - - - - - only text");
    assert_eq!(labels.get("node"), Some("10.0.0.9"));
    assert_eq!((record.ts_ns, record.body.as_str()), (NOW_NS, "only text"));
}

#[test]
fn rfc_3164_has_the_nearest_year_and_the_zone_of_this_machine() {
    let line = |date: &str| format!("<34>{date} mymachine su[77]: 'su root' failed");
    for (date, expected) in [
        ("Jan  1 00:29:59", "2026-01-01T00:29:59Z"),
        ("Dec 31 23:59:59", "2025-12-31T23:59:59Z"),
        ("Jan  2 00:00:00", "2026-01-02T00:00:00Z"),
        ("Jan  1 00:29:59.25", "2026-01-01T00:29:59.25Z"),
        ("Feb  1 00:00:00", "2025-02-01T00:00:00Z"),
        ("2025-06-01T12:00:00.25+02:00", "2025-06-01T10:00:00.25Z"),
    ] {
        let (labels, record) = read(&line(date));
        assert_eq!(record.ts_ns, at(expected), "{date}");
        assert_eq!(labels.get("service_name"), Some("su"), "{date}");
        assert_eq!((record.severity, record.body.as_str()), (21, "'su root' failed"), "{date}");
        assert_eq!(attribute(&record.attributes, "process.pid"), Some(&"77".into()), "{date}");
    }
    let (_, no_such_day) = read(&line("Feb 29 00:00:00"));
    assert_eq!((no_such_day.ts_ns, no_such_day.severity), (NOW_NS, 21));
    assert!(no_such_day.body.starts_with("Feb 29"), "{no_such_day:?}");
    let zone = FixedOffset::east_opt(3 * 3600).unwrap();
    let (_, east) = record(&line("Jan  1 03:00:00"), &Arrival { now_ns: NOW_NS, peer: "p", zone });
    assert_eq!(east.ts_ns, at("2026-01-01T00:00:00Z"));
}

#[test]
fn devices_that_count_their_messages_are_one_stream() {
    for (text, node, body, ts_ns) in [
        (
            "<189>33: *Jan  1 00:00:00.123 UTC: %SYS-5-CONFIG_I: Configured",
            "10.0.0.9",
            "%SYS-5-CONFIG_I: Configured",
            at("2026-01-01T00:00:00.123Z"),
        ),
        (
            "<189>Jan  1 2026 00:00:00 fw01 : %ASA-5-111008: User",
            "fw01",
            "%ASA-5-111008: User",
            at("2026-01-01T00:00:00Z"),
        ),
        ("<189>34: something else", "10.0.0.9", "34: something else", NOW_NS),
        ("<189>Jan  1 00:00:00 sw1 35: something", "sw1", "something", at("2026-01-01T00:00:00Z")),
    ] {
        let (labels, record) = read(text);
        let expected = [("job", "syslog"), ("node", node), ("service_name", "unknown_service")];
        assert_eq!(labels, Labels::from_pairs(expected), "{text}");
        assert_eq!((record.body.as_str(), record.ts_ns, record.severity), (body, ts_ns, 10), "{text}");
    }
    let (_, counted) = read("<189>Jan  1 00:00:00 sw1 35: something");
    assert_eq!(attribute(&counted.attributes, "syslog.sequence"), Some(&"35".into()));
}

#[test]
fn blanks_around_what_is_said_stay() {
    for (text, body) in [
        ("<13>Jan  1 00:00:00 combo sshd[1]: rhost=10.0.0.1 ", "rhost=10.0.0.1 "),
        ("<13>Jan  1 00:00:00 combo java[1]:     at x.y(Z.java:1)\t ", "    at x.y(Z.java:1)\t "),
        ("<13>Jan  1 00:00:00 combo java[1]: \tat x", "\tat x"),
        ("<34>1 - - a - - -   two more ", "  two more "),
        ("<34>1 - - a - - - \u{feff}one", "one"),
        ("<13>Jan  1 00:00:00 combo sshd[1]: x", "x"),
    ] {
        assert_eq!(read(text).1.body, body, "{text:?}");
    }
}

#[test]
fn what_is_neither_is_a_line_with_what_priority_it_has() {
    let (labels, record) = read("<11>disk failing");
    let expected = [("job", "syslog"), ("node", "10.0.0.9"), ("service_name", "unknown_service")];
    assert_eq!(labels, Labels::from_pairs(expected));
    assert_eq!((record.ts_ns, record.severity, record.body.as_str()), (NOW_NS, 17, "disk failing"));
    let (labels, record) = read("<11>pyshop[7]: card refused: no money");
    assert_eq!((labels.get("service_name"), record.severity), (Some("pyshop"), 17));
    assert_eq!(record.body, "card refused: no money");
    assert_eq!(attribute(&record.attributes, "process.pid"), Some(&"7".into()));
    for line in ["plain", "no priority: no tag", "<999>x", "<>", "<192>x", "<13"] {
        assert_eq!(read(line).1.body, line);
    }
}

fn bodies(pieces: &[&[u8]]) -> Vec<(String, bool)> {
    let mut framer = Framer::default();
    let mut frames: Vec<Frame> = pieces.iter().flat_map(|piece| framer.feed(piece)).collect();
    frames.extend(framer.finish());
    frames.into_iter().map(|frame| (String::from_utf8(frame.bytes).unwrap(), frame.cut)).collect()
}

#[test]
fn both_framings_are_told_apart_however_the_bytes_arrive() {
    let stream = b"<1>one\n9 <2>two\nxy<3>three\r\n\n7 <4>four<5>99 bottles\0\n2026 is no count\n12345678901 neither\n<6>end";
    let expected = ["<1>one", "<2>two\nxy", "<3>three", "<4>four", "<5>99 bottles"];
    let whole = bodies(&[stream]);
    let found: Vec<&str> = whole.iter().map(|(body, _)| body.as_str()).take(5).collect();
    assert_eq!(found, expected);
    let stream = &stream[..stream.len() - b"2026 is no count\n12345678901 neither\n<6>end".len()];
    let by_byte: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(bodies(&by_byte), bodies(&[stream]));
    assert_eq!(
        bodies(&[b"12345678901 neither\n<6>end"]),
        [("12345678901 neither".into(), false), ("<6>end".into(), false)]
    );
    assert_eq!(bodies(&[b"20 <7>short"]), [("<7>short".into(), true)], "the connection ended in a message");
}

#[test]
fn a_message_that_is_too_long_is_cut_and_the_next_one_is_whole() {
    let long = "x".repeat(MESSAGE_BYTES_MAX + 10);
    let cut = (long[..MESSAGE_BYTES_MAX].to_owned(), true);
    for stream in [format!("{long}\n<1>next\n"), format!("{} {long}<1>next\n", long.len())] {
        for piece in [1, 1_000, stream.len()] {
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(piece).collect();
            assert_eq!(bodies(&pieces), [cut.clone(), ("<1>next".into(), false)], "{piece}");
        }
    }
    let mut framer = Framer::default();
    framer.feed(format!("{} x", 900_000_000).as_bytes());
    for _ in 0..100 {
        framer.feed(&[b'y'; 64 << 10]);
        assert!(framer.buffer.len() <= MESSAGE_BYTES_MAX + 20, "{}", framer.buffer.len());
    }
    let cut = datagram(&[b'x'; MESSAGE_BYTES_MAX + 1]).unwrap();
    let batch = batch(&[cut], &Arrival { now_ns: 0, peer: "p", zone: Utc });
    assert_eq!(attribute(&batch.streams[0].records[0].attributes, CUT), Some(&Value::Bool(true)));
}

proptest! {
    #[test]
    fn no_text_is_a_panic(text in r#"(<[0-9]{0,4}>)?(1 )?([A-Za-z]{3} {1,2}[0-9]{1,3} [0-9:]{0,9} |-|[0-9TZ:+.-]{0,30} )?(\PC| |\[|\]|"|\\|=|:){0,40}"#) {
        read(&text);
    }

    #[test]
    fn no_bytes_are_a_panic_and_none_are_kept(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
        let mut framer = Framer::default();
        for piece in &pieces {
            framer.feed(piece);
        }
        framer.finish();
        prop_assert!(framer.buffer.is_empty());
    }
}
