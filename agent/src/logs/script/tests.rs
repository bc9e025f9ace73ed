use super::super::rules::{Limits, Rules};
use super::*;
use crate::logs::find::Container;
use model::Value;

const STREAMS: [(&str, &str); 2] = [("stdout", "cart"), ("stderr", "cart")];

fn scripts(text: &str, on_error: OnError) -> Scripts {
    let mut scripts = Scripts::default();
    scripts.add(&Script::compile(text, 1, on_error).unwrap());
    let stream = |(stream, container): (&str, &str)| {
        let labels =
            Labels::from_pairs([("namespace", "shop"), ("stream", stream), ("container", container)]);
        (labels, vec![("k8s.deployment.name".to_owned(), Value::from("cart"))])
    };
    scripts.name(&STREAMS.map(stream), "shop", &Arc::default());
    scripts
}

/// The line as it goes, or why it does not.
fn of(text: &str, line: &str) -> Result<String, Reason> {
    let treated = scripts(text, OnError::Drop).of(0, line.as_bytes())?;
    Ok(String::from_utf8(treated.line.into_owned()).unwrap())
}

fn errors(scripts: &Scripts) -> f64 {
    let readings = scripts.counts.readings();
    let errors = readings.iter().filter(|one| one.name == "binnacle_agent_log_script_errors_total");
    errors.map(|one| one.value).sum()
}

#[test]
fn a_line_is_dropped_and_nothing_follows() {
    let health = r##"if matches(line, #"GET /(health|ready)\b"#) { drop() } line = "kept""##;
    assert_eq!(of(health, "GET /health 200"), Err("script"));
    assert_eq!(of(health, "GET /healthy 200").unwrap(), "kept");
    // Neither a function nor `try` holds it up.
    assert_eq!(of("fn f() { drop() } f(); line = \"x\"", "a"), Err("script"));
    assert_eq!(of("try { drop() } catch { line = \"x\" }", "a"), Err("script"));
    assert_eq!(of("if line == \"\" { return } drop()", "").unwrap(), "");
}

#[test]
fn a_field_of_json_is_redacted() {
    let redact = r##"
        let record = json(line);
        if type_of(record) == "map" && "user" in record && "password" in record.user {
            record.user.password = "***";
            line = to_json(record);
        }"##;
    let line = r#"{"n":18446744073709551615,"f":0.5,"user":{"password":"a\"b","id":-1},"z":[null,true,"ü"]}"#;
    let redacted =
        r#"{"f":0.5,"n":18446744073709551615,"user":{"id":-1,"password":"***"},"z":[null,true,"ü"]}"#;
    assert_eq!(of(redact, line).unwrap(), redacted);
    assert_eq!(of(redact, "[INFO] no JSON").unwrap(), "[INFO] no JSON");
    assert_eq!(of(redact, r#"{"user":{"password":"cut"#), Err("script_failed"));
}

#[test]
fn regexes_replace_with_groups_and_in_place() {
    assert_eq!(of(r##"line = replace(line, #"(\w+)@\w+"#, "$1@…")"##, "a@b c@d").unwrap(), "a@… c@…");
    assert_eq!(of(r#"line.replace("b+", "-")"#, "abbab").unwrap(), "a-a-");
    assert_eq!(of(r#"line = replace(line, "x", "y")"#, "abc").unwrap(), "abc");
    assert_eq!(of(r#"line = "<" + line.to_upper() + ">""#, "abc\r").unwrap(), "<ABC>");
}

#[test]
fn it_knows_whose_the_line_is_and_adds_attributes() {
    let told = r#"
        attributes.from = `${labels.namespace}/${labels.stream}/${resource["k8s.deployment.name"]}`;
        attributes.level = level;
        attributes.parts = line.split(" ");
        attributes.none = ();"#;
    let scripts = scripts(told, OnError::Keep);
    let treated = scripts.of(1, b"ERROR no").unwrap();
    let text = |name: &str, value: &str| (name.to_owned(), Value::from(value));
    let parts = ("parts".to_owned(), Value::Json(r#"["ERROR","no"]"#.into()));
    assert_eq!(treated.attributes, [text("from", "shop/stderr/cart"), text("level", "error"), parts]);
    assert!(matches!(treated.line, Cow::Borrowed(_)));
    assert_eq!(scripts.of(0, b"x").unwrap().attributes[0], text("from", "shop/stdout/cart"));
}

#[test]
fn a_script_that_fails_keeps_the_line_or_drops_it() {
    let fails = r#"line = "changed"; attributes.a = 1; throw "no""#;
    let keeps = scripts(fails, OnError::Keep);
    assert_eq!(
        keeps.of(0, b"as it was"),
        Ok(Treated { line: Cow::Borrowed(b"as it was"), attributes: vec![] })
    );
    let drops = scripts(fails, OnError::Drop);
    assert_eq!(drops.of(0, b"secret"), Err("script_failed"));
    assert_eq!((errors(&keeps), errors(&drops)), (1.0, 1.0));
    assert_eq!(of("line = 1", "a"), Err("script_failed"));
    assert_eq!(of("attributes = 1", "a"), Err("script_failed"));
    assert_eq!(of("labels.namespace = \"other\"", "a"), Err("script_failed"));
}

#[test]
fn what_never_ends_or_grows_is_ended() {
    for endless in [
        "loop { }",
        "fn f(n) { f(n + 1) } f(0)",
        "let a = [1]; loop { a += a }",
        "let a = []; loop { a = [a] }",
        "let a = #{}; loop { a = #{ a: a } }",
        "loop { line += line }",
        r#"loop { line = replace(line, ".", "$0$0") }"#,
        r#"let a = []; for n in 0..4000 { a = [a] } line = to_json(a)"#,
        r#"line.pad(300000, "x")"#,
    ] {
        let scripts = scripts(endless, OnError::Keep);
        assert!(matches!(scripts.of(0, b"line").unwrap().line, Cow::Borrowed(b"line")), "{endless}");
        assert_eq!(errors(&scripts), 1.0, "{endless}");
    }
}

#[test]
fn mistakes_are_told_with_line_and_column() {
    for (text, place) in [
        ("let a = 1;\nif a {\n  lien = \"x\";\n}", "script line 3, column 3: Undefined variable: lien"),
        ("line = ", "script line 1, column "),
        ("\n  eval(\"1\")", "script line 2, column 3: "),
        ("import \"os\" as os;", "script line 1, column 1: "),
        ("print(line)", "script line 1, column 1: "),
        (
            "// matches(line, \"(\")\nif line == \"\" {\n  matches(line, \"(\")\n}",
            "script line 3, column 17: regex \"(\"",
        ),
        ("let a = f(1, [2, 3]).replace(#\"a{2\\\"#, \"\")", "script line 1, column 30: regex"),
    ] {
        let wrong = Script::compile(text, 1, OnError::Keep).unwrap_err().to_string();
        assert!(wrong.starts_with(place), "{text}: {wrong}");
    }
    for right in [
        "matches(line, \"a\\\\.b\")",
        "let p = line + \"(\"; replace(line, p, \"\")",
        "matches(`a${`b`}`, 'x' + \"(\")",
    ] {
        assert!(Script::compile(right, 1, OnError::Keep).is_ok(), "{right}");
    }
}

/// When the script is read, and not at the first line that comes to the call.
#[test]
fn calls_of_what_is_not_there_are_told_with_line_and_column() {
    for (text, told) in [
        (
            "if line == \"never\" {\n  let a = 1;\n  mathces(line, \"a\");\n}",
            "script line 3, column 3: there is no function mathces",
        ),
        ("let a = [lne(line)];", "script line 1, column 10: there is no function lne"),
        ("fn f() {\n  dorp()\n}", "script line 2, column 3: there is no function dorp"),
        ("line = `a${upper(line)}`", "script line 1, column 12: there is no function upper"),
        ("line = line.uper()", "script line 1, column 13: there is no function uper"),
        ("if !mathces(line, \"a\") && line != \"\" { drop() }", "script line 1, column 5: "),
        ("matches(line)", "script line 1, column 1: matches takes 2 and not 1 values"),
        ("let m = line.matches()", "script line 1, column 14: matches takes 2 and not 1 values"),
        ("fn f(a) { a } f(1, 2)", "script line 1, column 15: f takes 1 and not 2 values"),
        ("drop(line)", "script line 1, column 1: drop takes 0 and not 1 values"),
        // As others know it: there is none.
        ("sleep(1)", "script line 1, column 1: there is no function sleep"),
        ("exit()", "script line 1, column 1: there is no function exit"),
    ] {
        let wrong = Script::compile(text, 1, OnError::Keep).unwrap_err().to_string();
        assert!(wrong.starts_with(told), "{text}: {wrong}");
    }
    let right = [
        "if line.contains(\"a\") && \"b\" in line || line.len() > 3 { drop() }",
        "let a = line.split(\" \"); a.push(\"-1\"); a.sort(); attributes.n = a.len() + 1;",
        "fn twice(n) { n * 2 } attributes.n = twice(4); fn more() { this + 1 } let n = 1; n = n.more();",
        "let f = |x| x + 1; attributes.n = f.call(1); let o = #{ f: f }; attributes.m = o.f(2);",
        "let f = Fn(\"matches\"); attributes.n = call(f, line, \"a\"); attributes.b = is_def_fn(\"a\", 1);",
        "attributes.t = line.type_of(); attributes.u = type_of(line); let a = [3, 1].filter(|n| n > 1);",
        "for n in 0..3 { line += n.to_string() } for (c, n) in line.chars() { if n > 3 { break } }",
        "switch level { \"error\" => (), _ => line.make_upper() } line.trim(); attributes.f = 1.5.floor();",
        "attributes.k = #{ a: 1 }.keys(); attributes.p = line.index_of(\"a\"); line = line.sub_string(0, 3);",
        "try { throw \"a\" } catch (e) { attributes.e = `${e}` } let x = parse_int(\"3\"); x += abs(-3) ** 2;",
    ];
    let fails = |text: &&str| {
        let scripts = scripts(text, OnError::Keep);
        scripts.of(0, b"x y").is_err() || errors(&scripts) > 0.0
    };
    assert_eq!(right.into_iter().filter(fails).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn scripts_of_rules_follow_each_other_and_the_limit_counts_what_they_leave() {
    let rules = "
rules:
  - match: { namespace: shop }
    script: |
      if line == \"a\" { drop() }
      attributes.n = 1;
      line += \" one 1234\";
    lines_per_second: 1
  - redact: [{ pattern: '\\d{4}', with: '#' }]
    script: |
      line += \" two\";
      attributes.n = 2;
";
    let container = |namespace: &str| Container {
        namespace: namespace.into(),
        pod: "p".into(),
        uid: "u".into(),
        name: "c".into(),
    };
    let (rules, limits) = (Rules::parse(rules).unwrap(), Limits::default());
    let treatment = rules.treatment(&container("shop"), None, &limits).unwrap();
    assert_eq!(treatment.of(0, b"a", 0, 1), Err("script"));
    let treated = treatment.of(0, b"b", 0, 1).unwrap();
    assert_eq!(String::from_utf8_lossy(&treated.line), "b one # two");
    assert_eq!(treated.attributes, [("n".to_owned(), Value::Int(2))]);
    assert_eq!(treatment.of(0, b"b", 0, 1), Err("rate_limited"));
    let other = rules.treatment(&container("bank"), None, &limits).unwrap();
    assert_eq!(String::from_utf8_lossy(&other.of(0, b"b", 0, 1).unwrap().line), "b two");
}
