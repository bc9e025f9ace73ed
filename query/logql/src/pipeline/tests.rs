use super::*;
use crate::{Expr, parse};
use proptest::prelude::*;
use std::sync::Arc;

/// The line and the labels after the stages of `{app="x"} …`, as `line | a=1 b=2`, or "" where it was dropped.
fn run(stages: &str, line: &str) -> String {
    let Expr::Log(log) = parse(&format!("{{app=\"x\"}} {stages}")).unwrap() else { panic!("no log query") };
    let pipeline = Pipeline::new(&log.stages, None, None);
    let mut fields = Fields::default();
    fields.start(&Arc::from([("app".to_owned(), "x".to_owned())]));
    fields.add_metadata("pod", "p1");
    match pipeline.run(0, line, &mut fields) {
        None => String::new(),
        Some(line) => {
            let mut labels: Vec<String> = fields
                .iter()
                .filter(|(name, _, _)| !matches!(*name, "app" | "pod" | ERROR_DETAILS))
                .map(|(name, value, _)| format!("{name}={value}"))
                .collect();
            labels.sort();
            format!("{line} | {}", labels.join(" "))
        }
    }
}

#[test]
fn of_metadata_that_labels_spell_alike_the_last_stays() {
    let mut fields = Fields::default();
    fields.start(&Arc::from([("app".to_owned(), "x".to_owned())]));
    for value in ["1", "2"] {
        fields.add_metadata("event_name", value);
        fields.add_metadata("app", value);
    }
    let found: Vec<String> = fields.iter().map(|(name, value, _)| format!("{name}={value}")).collect();
    assert_eq!(found, ["app=x", "event_name=2", "app_extracted=2"]);
}

#[test]
fn parsers_find_fields() {
    let json = r#"{"a":1,"b":{"c":"x\ty","d":[1,{"e":true}]},"app":"y","pod":"q","n":null,"we-ird":false}"#;
    assert_eq!(
        run("| json | line_format \"L\"", json),
        "L | a=1 app_extracted=y b_c=x\ty pod_extracted=q we_ird=false"
    );
    assert_eq!(
        run("| json v=\"b.d[1].e\", w=\"b.d\", z=\"no.such\" | line_format \"L\"", json),
        "L | v=true w=[1,{\"e\":true}] z="
    );
    assert_eq!(
        run("| logfmt", "level=info msg=\"a \\\"b\\\"\" empty= flag n=1 n=2"),
        "level=info msg=\"a \\\"b\\\"\" empty= flag n=1 n=2 | level=info msg=a \"b\" n=1"
    );
    assert_eq!(run("| regexp `(?P<verb>\\w+) (?P<path>\\S+)`", "GET /x"), "GET /x | path=/x verb=GET");
    assert_eq!(run("| pattern `<verb> <_> <code>`", "GET /x 200"), "GET /x 200 | code=200 verb=GET");
    assert_eq!(run("| unpack", r#"{"_entry":"hello","k":"v","n":1}"#), "hello | k=v");
}

#[test]
fn a_line_that_does_not_parse_gets_an_error() {
    for broken in [
        "{\"a\":",
        "not json",
        "",
        "{\"a\":1",
        "{\"a\":tru}",
        "{\"a\" 1}",
        "{\"a\":\"x",
        "{\"a\":\"\\",
        "[1]",
    ] {
        assert!(run("| json", broken).contains("__error__=JSONParserErr"), "{broken}");
        assert_eq!(run("| json | __error__=\"\"", broken), "");
    }
    assert!(run("| logfmt --strict", "a=b=c").contains("__error__=LogfmtParserErr"));
    assert_eq!(run("| logfmt | a > 5", "a=x"), "a=x | __error__=LabelFilterErr a=x");
    assert_eq!(run("| json | drop __error__", "x"), "x | ");
}

#[test]
fn an_error_stands_before_what_a_line_calls_so() {
    let line = r#"{"__error__":"mine"}"#;
    assert_eq!(run("| json", line), "{\"__error__\":\"mine\"} | __error__=mine");
    assert_eq!(run("| json | line_format \"x\" | json", line), "x | __error__=JSONParserErr");
    assert_eq!(run("| json | line_format \"x\" | keep a", line), "x | __error__=mine");
}

#[test]
fn lines_that_are_nearly_json_or_logfmt_are_read_as_far_as_loki_reads_them() {
    for (stages, line, labels) in [
        ("| json", r#"{"a":1} and more"#, "a=1"),
        ("| json", r#"{"a":{"b-c":1},}"#, "a_b_c=1"),
        ("| json", r#"{" ":{"a":"x"},"":"y","n":[1 2}3]}"#, "a=x"),
        ("| json", "{\"a\":\"\u{fffd}x\",\"b\":\"\\q\",\"c\":12ab}", "a= x b= c=12ab"),
        ("| json", r#"{"a":1,"b":"x"#, "__error__=JSONParserErr a=1"),
        ("| json x=\"a.b\"", r#"{"a":{"b":"y\"z"}"#, "x=y\"z"),
        ("| json x=\"a\"", "", ""),
        ("| json x=\"a\"", " {\"a\":1}", "__error__=JSONParserErr"),
        ("| json x=\"a\"", "\"a\" : 1,", "__error__=JSONParserErr x="),
        ("| json x=\"a\"", "\"a\", 1", "x="),
        ("| logfmt", "a=b=c d=e \"f g=h i\"j k=\u{fffd}", "d=e g=h k= "),
        ("| logfmt --strict", "a=1 b=2=3 c=4", "__error__=LogfmtParserErr a=1"),
        ("| logfmt a, z=\"no\"", "a=1", "a=1 z="),
        ("| unpack", r#"{"k":"v"}"#, ""),
        ("| unpack", r#"{"a.b":"v","_entry":"e"}"#, "a_b=v"),
        ("| unpack", "", ""),
        ("| regexp `(?P<a>x)|(?P<b>y)`", "x", "a=x b="),
        ("| json", r#"{"a":"\ud800","b":"\u12","c":"\ud83d\ude00","d":"\udc00\udc00"}"#, "a= b= c=😀 d= "),
        ("| json", r#"{"a":1,"\ud800":2,"b":3}"#, "__error__=JSONParserErr a=1"),
        ("| json app=\"no\", pod=\"z\", a=\"no\"", r#"{"z":null}"#, "a= pod_extracted="),
        ("| json | n > 1", r#"{"n":"1e999"}"#, "__error__=LabelFilterErr n=1e999"),
        ("| logfmt", r#"a="\x" b="\u00e9\/" c="\ud800" d="\ud83d\ude00""#, "b=é/ c=  d=😀"),
        ("| logfmt --strict", r#"a=1 b="\x" c=2"#, "__error__=LogfmtParserErr a=1"),
        ("| logfmt pod=\"a\"", "a=1 a=2", "pod_extracted=1"),
        ("| pattern `<a> <b>`", "", ""),
        ("| pattern `<a> <b>`", "x", "a=x"),
        ("| json a=\"a\", b=\"b\"", r#"{"b":1,"a":nul}"#, "__error__=JSONParserErr a= b=1"),
        ("| json", r#"{"x":1,"a":{"b":1,"c":{"d":2},"e":"cut"#, "__error__=JSONParserErr x=1"),
        (
            "| json",
            r#"{"x":1,"a":{"b":1,"c":{"d":"}"}},"e":"cut"#,
            "__error__=JSONParserErr a_b=1 a_c_d=} x=1",
        ),
    ] {
        let found = run(stages, line);
        assert_eq!(found.split_once(" | ").unwrap().1, labels, "{stages} {line}");
    }
    let details = |stages: &str, line: &str| {
        let Expr::Log(log) = parse(&format!("{{app=\"x\"}} {stages}")).unwrap() else {
            panic!("no log query")
        };
        let mut fields = Fields::default();
        Pipeline::new(&log.stages, None, None).run(0, line, &mut fields);
        fields.get(ERROR_DETAILS).unwrap_or_default().to_owned()
    };
    for (stages, line, told) in [
        ("| json", "plain", "Value looks like object, but can't find closing '}' symbol"),
        ("| json", "{n}", "Value looks like object, but can't find closing '}' symbol"),
        ("| json", "{\"a\":\"", "Value is string, but can't find closing '\"' symbol"),
        ("| json", "{\"a\" 1}", "Malformed JSON error"),
        ("| json", "{\"a\":what}", "Unknown value type"),
        ("| json", r#"{"a":{"b":"cut"#, "Value looks like object, but can't find closing '}' symbol"),
        ("| json x=\"a\"", "plain", ""),
        ("| json x=\"a\"", "\"a\":1", "Malformed JSON error"),
        ("| unpack | json x=\"a\"", "plain", "expecting json object(6), but it is not"),
        ("| json x=\"a\"", "{\"a\":nul}", "Unknown value type"),
        ("| json x=\"a\"", "{\"a\":\"b", "Value is string, but can't find closing '\"' symbol"),
        ("| unpack", "[1]", "expecting json object(6), but it is not"),
        ("| logfmt --strict", "a=b=c", "logfmt syntax error at pos 4 : unexpected '='"),
        ("| logfmt --strict", r#"a="\x"b"#, "logfmt syntax error at pos 7 : invalid quoted value"),
        ("| json", r#"{"\q":1}"#, "Encountered an invalid escape sequence in a string"),
        ("| json | n > 1", r#"{"n":"1e999"}"#, "strconv.ParseFloat: parsing \"1e999\": value out of range"),
    ] {
        assert_eq!(details(stages, line), told, "{stages} {line}");
    }
}

#[test]
fn filters_pass_and_drop() {
    for (stages, passes) in [
        ("|= \"GET\"", true),
        ("!= \"GET\"", false),
        ("|= \"no\" or \"GET\"", true),
        ("!= \"no\" or \"GET\"", false),
        ("|~ \"G.T\" !~ \"P.T\"", true),
        ("|> \"GET <_> 200<_>\"", true),
        ("|> \"GET <_>\"", true),
        ("|> \"/x<_>\"", true),
        ("|> \"/x\"", false),
        ("|> \"<_>GET /x<_>\"", false),
        ("|= ip(\"10.0.0.0/8\")", true),
        ("!= ip(\"10.0.0.0/8\")", false),
        ("| logfmt | took > 1s", true),
        ("| logfmt | took > 2s or size >= 2KB", true),
        ("| logfmt | took > 2s and size >= 2KB", false),
        ("| logfmt | addr = ip(\"10.1.0.0/16\")", true),
        ("| logfmt | missing > 1", false),
        ("| logfmt | missing = \"\"", true),
        ("| app=\"x\", pod=~\"p.\"", true),
    ] {
        let line = "GET /x 200 took=1500ms size=2.5KB addr=10.1.2.3";
        assert_eq!(!run(stages, line).is_empty(), passes, "{stages}");
    }
}

#[test]
fn labels_are_formatted_dropped_and_kept() {
    assert_eq!(run("| logfmt | label_format c=a, d=\"<{{.b}}>\"", "a=1 b=2"), "a=1 b=2 | b=2 c=1 d=<2>");
    assert_eq!(run("| logfmt | drop a, b=\"3\"", "a=1 b=2"), "a=1 b=2 | b=2");
    assert_eq!(run("| logfmt | keep a", "a=1 b=2"), "a=1 b=2 | a=1");
    assert_eq!(run("| line_format \"{{.app}} {{.nope}}\"", "q"), "x  | ");
    assert_eq!(run("| decolorize", "\u{1b}[31mred\u{1b}[0m"), "red | ");
    assert_eq!(run("| decolorize", "\u{1b}]0;title\u{7} x\u{1b}[5P"), " x | ");
}

#[test]
fn what_is_asked_for_by_name_stands_over_what_was_found() {
    let json = r#"{"a":1,"b":{"a":2},"pod":3}"#;
    assert_eq!(run("| json | json a=\"b.a\" | line_format \"L\"", json), "L | a=2 b_a=2 pod_extracted=3");
    assert_eq!(run("| json a | json a=\"none\" | line_format \"L\"", json), "L | a=1");
    assert_eq!(run("| json a=\"none\" | json a | line_format \"L\"", json), "L | a=1");
    assert_eq!(run("| label_format a=`x` | json a | line_format \"L\"", json), "L | a=1");
    assert_eq!(run("| json pod | json pod=\"a\" | line_format \"L\"", json), "L | pod_extracted=1");
    assert_eq!(run("| logfmt | logfmt a=\"b\" | line_format \"L\"", "a=1 b=2"), "L | a=2 b=2");
    assert_eq!(
        run("| logfmt | label_format c=b | logfmt c=\"none\" | line_format \"L\"", "a=1 b=2"),
        "L | a=1 c="
    );
}

#[test]
fn what_was_found_and_taken_away_is_found_no_more() {
    for taken_away in ["drop a", "keep b", "label_format z=a | drop z"] {
        for again in ["logfmt", "regexp `a=(?P<a>\\d+)`", "pattern `a=<a> <_>`"] {
            let stages = format!("| logfmt | {taken_away} | {again} | line_format \"L\"");
            assert_eq!(run(&stages, "a=1 b=2"), "L | b=2", "{stages}");
        }
    }
    assert_eq!(run("| logfmt | drop a | logfmt a | line_format \"L\"", "a=1 b=2"), "L | a=1 b=2");
    assert_eq!(run("| drop pod | logfmt | line_format \"{{.pod}}\"", "pod=1"), "1 | ");
    let many: Vec<String> = (0..100).map(|n| format!("k{n}=1")).collect();
    assert_eq!(run("| logfmt | keep a | logfmt | line_format \"L\"", &many.join(" ")), "L | ");
}

#[test]
fn tens_of_thousands_of_fields_are_read_in_no_time() {
    let field = |n: usize| format!("\"k{n}\":{}", n % 7);
    let fields: Vec<String> = (0..60_000).chain([5, 70, 59_999]).map(field).collect();
    let line = format!("{{{},\"app\":1,\"app\":2}}", fields.join(","));
    let all = run("| json | line_format \"L\"", &line);
    assert_eq!(all.matches('=').count(), 60_001, "each name once");
    assert!(all.contains("app_extracted=1") && all.contains(" k59999=2"));
    assert_eq!(run("| json | keep k70, k9 | line_format \"L\"", &line), "L | k70=0 k9=2");
    // Nor is what was taken away looked for among so many.
    assert_eq!(run("| json | drop k1 | json | keep k1, k2 | line_format \"L\"", &line), "L | k2=2");
}

#[test]
fn only_wanted_fields_are_written_down() {
    let Expr::Log(log) = parse("{app=\"x\"} | json | status >= 500").unwrap() else { panic!("no log query") };
    let pipeline = Pipeline::new(&log.stages, None, Some(&["level".to_owned()]));
    let mut fields = Fields::default();
    fields.start(&Arc::from([]));
    assert!(pipeline.run(0, r#"{"level":"error","status":503,"o":{"x":1},"z":"9"}"#, &mut fields).is_some());
    let names: Vec<&str> = fields.iter().map(|(name, _, _)| name).collect();
    assert_eq!(names, ["level", "status"]);
}

proptest! {
    #[test]
    fn no_line_panics(line in "\\PC{0,60}", json in "[{}\\[\\]\":,\\\\a-c0-9 uD8n.e-]{0,60}") {
        for stages in [
            "| json", "| json x=\"a.b[0]\"", "| logfmt --strict --keep-empty", "| unpack", "| pattern `<a> <b>`",
            "|> `a<_>b`", "|= ip(\"::/0\")", "| decolorize", "| logfmt | label_format x=`{{.a | trunc 1}}`",
        ] {
            run(stages, &line);
            run(stages, &json);
        }
        model::level::of_line(&json);
    }

    #[test]
    fn whatever_a_json_library_reads_is_read_alike(text in "[{}\\[\\]\":,a-b0-1 tn-]{0,24}") {
        let mut ignore = |_: &str, _: &str| {};
        let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_ok();
        if object {
            prop_assert!(json::flatten(&text, None, &mut ignore).is_ok(), "{}", text);
        }
    }
}
