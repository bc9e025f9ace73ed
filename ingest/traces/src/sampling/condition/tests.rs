//! Conditions over one span with two events.

use super::*;
use model::{Packed, Scope, SpanKind, StatusCode};
use std::sync::Arc;

fn part() -> Part {
    let attributes = |pairs: &[(&str, Value)]| -> Vec<(String, Value)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let event = |name: &str, tries: i64| SpanEvent {
        name: name.to_owned(),
        attributes: attributes(&[("tries", Value::Int(tries))]),
        ..SpanEvent::default()
    };
    Part {
        resource: Arc::new(attributes(&[("service.name", Value::from("shop"))])),
        scope: Scope { attributes: attributes(&[("own", Value::Bool(true))]), ..Scope::named("lib", "1.2") },
        spans: vec![Span {
            name: "GET /cart".to_owned(),
            kind: SpanKind::Server,
            status: StatusCode::Error,
            status_message: "no \"room\"".to_owned(),
            trace_state: "ot=th:8".to_owned(),
            attributes: Packed::from(attributes(&[
                ("code", Value::Int(500)),
                ("load", Value::Double(0.5)),
                ("nan", Value::Double(f64::NAN)),
                ("retried", Value::Bool(false)),
                ("user", Value::from("vip-7")),
                ("list", Value::Json("[1]".to_owned())),
            ])),
            events: vec![event("retry", 1), event("gave up", 3)],
            ..Span::default()
        }],
        ..Part::default()
    }
}

fn holds(text: &str, about: About) -> bool {
    let (condition, part) = (Condition::read(text, about).unwrap(), part());
    let span = &part.spans[0];
    match about {
        About::Span => condition.holds(Place { part: &part, span, event: None }),
        About::Event => {
            span.events.iter().any(|event| condition.holds(Place { part: &part, span, event: Some(event) }))
        }
    }
}

#[test]
fn conditions_of_spans() {
    for (text, expected) in [
        (r#"attributes["code"] == 500"#, true),
        (r#"attributes["code"] >= 500.0 and attributes["code"] < 600"#, true),
        (r#"attributes["code"] == "500""#, false),
        (r#"attributes["code"] != "500""#, true),
        (r#"attributes["code"] < "600""#, false),
        (r#"500 == span.attributes["code"]"#, true),
        (r#"attributes["load"] > .25 and attributes["load"] < 1 and attributes["load"] > -1"#, true),
        (r#"attributes["nan"] == attributes["nan"]"#, false),
        (r#"attributes["nan"] != attributes["nan"]"#, true),
        (r#"attributes["retried"] == false"#, true),
        (r#"attributes["list"] == attributes["list"]"#, true),
        (r#"attributes["gone"] == nil"#, true),
        (r#"attributes["gone"] != nil"#, false),
        (r#"attributes["user"] != nil"#, true),
        (r#"attributes["gone"] != "x""#, true),
        (r#"attributes["gone"] < 5"#, false),
        (r#"resource.attributes["service.name"] == "shop""#, true),
        (r#"instrumentation_scope.name == "lib" and scope.version == "1.2""#, true),
        (r#"instrumentation_scope.attributes["own"] == true"#, true),
        ("kind == SPAN_KIND_SERVER and status.code == STATUS_CODE_ERROR", true),
        ("kind == 3 or status.code == 2", true),
        ("kind == SPAN_KIND_CLIENT", false),
        (r#"status.message == "no \"room\"""#, true),
        (r#"trace_state == "ot=th:8""#, true),
        (r#"IsMatch(name, "^GET /c")"#, true),
        (r#"IsMatch(name, "^POST")"#, false),
        (r#"IsMatch(attributes["code"], "^5\\d\\d$")"#, true),
        (r#"IsMatch(attributes["gone"], "")"#, false),
        (r#"not IsMatch(name, "POST")"#, true),
        ("IsRootSpan()", true),
        ("true", true),
        ("not true", false),
        // `and` binds closer than `or`.
        ("true or true and false", true),
        ("(true or true) and false", false),
        (r#"not (name == "x" or kind == 2)"#, false),
        (r#"name<"H"and name>="GET""#, true),
    ] {
        assert_eq!(holds(text, About::Span), expected, "{text}");
    }
}

#[test]
fn conditions_of_events() {
    for (text, expected) in [
        (r#"name == "gave up""#, true),
        (r#"name == "GET /cart""#, false),
        (r#"span.name == "GET /cart" and attributes["tries"] > 2"#, true),
        (r#"name == "retry" and attributes["tries"] > 2"#, false),
        (r#"spanevent.attributes["tries"] == 1"#, true),
        (r#"attributes["code"] == nil and span.attributes["code"] == 500"#, true),
        (r#"resource.attributes["service.name"] == "shop""#, true),
    ] {
        assert_eq!(holds(text, About::Event), expected, "{text}");
    }
}

#[test]
fn what_is_not_known_is_told_with_its_place() {
    for (text, about, says) in [
        ("", About::Span, "at its end: expected a value"),
        ("name", About::Span, "at its end: expected =="),
        ("name = \"x\"", About::Span, r#"at "= \"x\"": this is not known"#),
        ("name == \"x", About::Span, "has no end"),
        (r#"name == "\d""#, About::Span, r"write \\d"),
        ("name == \"x\" name", About::Span, r#"at "name": expected and, or"#),
        ("(name == \"x\"", About::Span, "at its end: expected )"),
        (r#"IsMatch(name, "(")"#, About::Span, "unclosed group"),
        ("IsMatch(name, name)", About::Span, "expected a text in quotes"),
        ("IsString(name)", About::Span, r#"at "IsString(name)": of the functions IsMatch"#),
        ("end_time_unix_nano - start_time_unix_nano > 5", About::Span, "nothing is computed"),
        ("start_time_unix_nano > 5", About::Span, r#"at "start_time_unix_nano > 5": this path is not known"#),
        ("attributes == nil", About::Span, "this path is not known"),
        ("attributes[\"a\"][\"b\"] == 1", About::Span, r#"at "[\"b\"] == 1": expected =="#),
        ("spanevent.name == \"x\"", About::Span, "this path is not known"),
        ("kind == 2", About::Event, "this path is not known"),
        ("name == 99999999999999999999", About::Span, "no number of 64 bits"),
    ] {
        let wrong = Condition::read(text, about).err().unwrap_or_default();
        assert!(wrong.contains(says), "{text}: {wrong}");
    }
    let deep = |levels: usize| format!("{}true{}", "(".repeat(levels), ")".repeat(levels));
    assert!(Condition::read(&deep(63), About::Span).is_ok());
    let wrong = Condition::read(&deep(100_000), About::Span).err().unwrap_or_default();
    assert!(wrong.contains("at most 64"), "{}", wrong.len());
}
