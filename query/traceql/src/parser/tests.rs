use super::*;
use proptest::prelude::*;
use std::path::PathBuf;

fn rows(path: &str) -> Vec<serde_json::Value> {
    let root = std::env::var_os("BINNACLE_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let text = std::fs::read_to_string(root.join("suites/data").join(path)).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn public_cases() {
    let mut wrong = Vec::new();
    for row in rows("tempo/traceql_cases.jsonl") {
        let (query, class) = (row["query"].as_str().unwrap(), row["class"].as_str().unwrap());
        let parsed = parse(query);
        match class {
            "valid" if parsed.is_err() => wrong.push(format!("{query}\n    {}", parsed.unwrap_err())),
            "parse_fails" | "validate_fails" if parsed.is_ok() => {
                wrong.push(format!("{class} accepted: {query}"))
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn documented_queries() {
    // Tables and templates of the documentation, not queries.
    let no_query = |query: &str| {
        query.contains("cond") || query.contains("\\|") || query.contains("__meta") || query.contains("= }")
    };
    for row in rows("tempo/traceql_doc_queries.jsonl") {
        let query = row["query"].as_str().unwrap();
        if !no_query(query) {
            parse(query).unwrap_or_else(|why| panic!("{query}: {why}"));
        }
    }
}

#[test]
fn where_elements_may_stand() {
    assert!(parse("select(.a)").is_ok() && parse("select(.a, name) | { .b }").is_ok());
    assert!(parse("coalesce()").is_err());
    for second in ["topk(10)", "bottomk(10)", "topk(2) | bottomk(1)"] {
        assert!(parse(&format!("{{ }} | rate() by (name) | {second}")).is_ok());
        let why = parse(&format!("{{ }} | compare({{ status = error }}) | {second}")).unwrap_err();
        assert!(why.to_string().contains("compare()"), "{why}");
    }
}

#[test]
fn scalars_in_parentheses() {
    for (query, printed) in [
        ("{ } | (count()) > 1", "{ } | count() > 1"),
        ("{ } | ((count() + 1) * 2) > 3", "{ } | (count() + 1) * 2 > 3"),
        ("{ } | (avg(duration)) > 1s | { .a = 1 }", "{ } | avg(duration) > 1s | { .a = 1 }"),
        ("{ } | avg(.a) > -(1s) | min(.b) < -(-2)", "{ } | avg(.a) > -1s | min(.b) < 2"),
    ] {
        let (read, again) = (parse(query).unwrap(), parse(printed).unwrap());
        assert_eq!(read.to_string(), again.to_string(), "{query}");
    }
    assert!(parse("(count() > 1) && { .a }").is_ok());
    assert!(parse("{ } | sum(.a) > -(count())").is_err());
}

#[test]
fn numbers_of_compare() {
    let compared = |numbers: &str| parse(&format!("{{ }} | compare({{ status = error }}{numbers})"));
    for good in ["", ", 1", ", 1000", ", 5, 10, 20"] {
        assert!(compared(good).is_ok(), "{good}");
    }
    for bad in [", 0", ", 1001", ", 5, 0, 20", ", 5, 20, 10"] {
        assert!(compared(bad).is_err(), "{bad}");
    }
}

#[test]
fn printed_and_read_again() {
    for (query, want) in [
        ("{}", "{ }"),
        (
            "{ .a = 1 && span.b != `x` || -2 < duration }",
            "{ ((.a = 1) && (span.b != `x`)) || (-2 < duration) }",
        ),
        ("{ .a } >> { .b } && { .c }", "(({ .a } >> { .b }) && { .c })"),
        (
            "{ name =~ \"a.*\" } | by(.x) | count() > 2 | select(.y, span:name)",
            "{ name =~ `a.*` } | by(.x) | count() > 2 | select(.y, name)",
        ),
        ("({} | rate()) * 2 + 3 > 1", "(((({ } | rate()) * 2.0) + 3.0) > 1.0)"),
        (
            "{} | quantile_over_time(duration, .9, 1) by (name) with(sample=0.1)",
            "({ } | quantile_over_time(duration, 0.9, 1.0) by (name)) with (sample=0.1)",
        ),
        ("{ nil != .a && nil = nil }", "{ (.a != nil) && (nil = nil) }"),
        ("{ .a = 25e-2 || .b > 1.5E+3 }", "{ (.a = 0.25) || (.b > 1500.0) }"),
        ("{ .\"a b\" = 1h30m }", "{ .\"a b\" = 1h30m0s }"),
        ("{ !.a && name = \"`\\n\" }", "{ (!.a) && (name = \"`\\n\") }"),
        ("{} | by(span.a + 1 * duration) | avg(-.b) > 1", "{ } | by(span.a + (1 * duration)) | avg(-.b) > 1"),
    ] {
        let once = parse(query).unwrap_or_else(|why| panic!("{query}: {why}")).to_string();
        assert_eq!(once, want);
        assert_eq!(parse(&once).unwrap_or_else(|why| panic!("{once}: {why}")).to_string(), once);
    }
}

#[test]
fn constants_are_computed_while_they_are_read() {
    for (query, printed) in [
        ("{ } | rate() > 1 / 2", "({ } | rate() > 0.0)"),
        ("{ } | rate() > 1.0 / 2", "({ } | rate() > 0.5)"),
        ("{ } | rate() > -(2 + 3 / 3)", "({ } | rate() > -3.0)"),
        ("{ } | max_over_time(duration) > -(5ms)", "({ } | max_over_time(duration) > -0.005)"),
        ("7 / 2 * ({ } | rate())", "(3.0 * ({ } | rate()))"),
        ("-(-1) * ({ } | rate()) > 2 * 3", "((1.0 * ({ } | rate())) > 6.0)"),
    ] {
        let (read, again) =
            (parse(query).unwrap_or_else(|why| panic!("{query}: {why}")), parse(printed).unwrap());
        assert_eq!(read.to_string(), again.to_string(), "{query}");
    }
    for (query, says) in [
        ("1s * ({ } | rate())", "duration cannot be used as a scalar operand in metric arithmetic"),
        ("({ } | rate()) / (1s)", "duration cannot be used as a scalar operand in metric arithmetic"),
        ("{ } | rate() > 2 * 1s", "duration cannot be used in scalar arithmetic"),
        ("{ } | rate() > 1 / 0", "division by zero"),
        ("({ } | rate()) * (1 / 0)", "division by zero"),
        ("{ } | rate() > ({ } | rate())", "unexpected"),
        ("-({ } | rate())", "unexpected"),
    ] {
        let why = parse(query).unwrap_err().to_string();
        assert!(why.contains(says), "{query}: {why}");
    }
    assert!(parse(&format!("{}1 * ({{ }} | rate())", "-".repeat(10_000))).is_err());
}

#[test]
fn comments_are_passed_over() {
    for query in [
        "// all errors\n{ status = error } // of a trace",
        "{ /* a\n b */ status = error }/**/",
        "/**/{ status /*=ok*/ = error // }\n}",
    ] {
        let printed = parse(query).unwrap_or_else(|why| panic!("{query}: {why}")).to_string();
        assert_eq!(printed, "{ status = error }");
    }
    for open in ["{ } /*", "{ } /* *", "{ /*/ }", "{ } /"] {
        assert!(parse(open).is_err(), "{open}");
    }
    // What stands in a text or a name is none.
    assert_eq!(
        parse("{ .a//b = \"//c\" }").map(|query| query.to_string()),
        Ok("{ .a//b = `//c` }".to_owned())
    );
}

#[test]
fn durations_may_be_days_weeks_and_years() {
    for (text, hours) in [("1d", 24), ("2w", 336), ("1y", 8_760), ("1y1w1d1h", 8_953), ("1.5d", 36)] {
        let printed = parse(&format!("{{ duration > {text} }}")).map(|query| query.to_string());
        assert_eq!(printed, Ok(format!("{{ duration > {hours}h0m0s }}")), "{text}");
    }
}

#[test]
fn texts_are_escaped_as_in_go() {
    let text = r#"{ name = "a\n\t\u00e9\x41\U0001F600\\\"\xc3\xa9\303\251\101\377\400" }"#;
    let Root::Spansets(pipeline) = parse(text).unwrap().root else { panic!() };
    let Element::Spansets(SpansetExpr::Filter(FieldExpr::Compare(_, _, right))) = &pipeline.elements[0]
    else {
        panic!()
    };
    let FieldExpr::Static(Static::Text(told)) = right.as_ref() else { panic!() };
    assert_eq!(told, "a\n\t\u{e9}A\u{1F600}\\\"ééA\u{fffd}\\400");
    assert!(parse(r#"{ name =~ "\d+\.\xg\u1" }"#).is_err());
    assert!(parse(r#"{ name =~ "\d+\.\w" }"#).is_ok());
}

#[test]
fn a_dot_of_a_regex_is_any_character() {
    let Root::Spansets(pipeline) = parse("{ name =~ `a.b` }").unwrap().root else { panic!() };
    let Element::Spansets(SpansetExpr::Filter(FieldExpr::Regex { regex, .. })) = &pipeline.elements[0] else {
        panic!()
    };
    assert!(regex.is_match("a\nb") && !regex.is_match("a\nbc"));
}

#[test]
fn errors_say_where() {
    let error = |query: &str| parse(query).unwrap_err().to_string();
    assert!(
        error("{ duration >").starts_with("parse error at line 1, col 13: syntax error: unexpected $end")
    );
    assert!(error("{ .a = 1 }\n | nope()").starts_with("parse error at line 2, col 4:"));
    for (query, why) in [
        ("{ .a = 1e }", "parse error at line 1, col 8: exponent has no digits"),
        ("{ .a = 7e+ }", "parse error at line 1, col 8: exponent has no digits"),
        (
            "{ .a = 2e999 }",
            "parse error at line 1, col 8: strconv.ParseFloat: parsing \"2e999\": value out of range",
        ),
        ("{ name > 5 }", "binary operations must operate on the same type: name > 5"),
        ("{ .a && 5 }", "illegal operation for the given types: .a && 5"),
        ("{ name && true }", "binary operations must operate on the same type: name && true"),
        ("{ status > ok }", "illegal operation for the given types: status > ok"),
        ("{ .a > nil }", "illegal operation for the given types: .a > nil"),
        ("{ !name }", "illegal operation for the given type: !name"),
        ("{ -name = 1 }", "illegal operation for the given type: -name"),
        ("{ name = nil }", "name=nil is not valid because intrinsics cannot be nil"),
        (
            "{ nil = resource.service.name }",
            "resource.service.name=nil is not valid because resource.service.name cannot be nil",
        ),
        ("{ 1 }", "span filter field expressions must resolve to a boolean: { 1 }"),
        ("{ } | by(1)", "grouping field expressions must reference the span: by(1)"),
        ("{ } | avg(name) > 1", "aggregate field expressions must resolve to a number type: avg(name)"),
        ("{ .a =~ 5 }", "illegal operation for the given types: .a =~ 5"),
    ] {
        assert_eq!(error(query), why);
    }
    assert!(error("{ .a =~ `(` }").starts_with("invalid regex: `(`"));
}

#[test]
fn depth_and_length_are_bounded() {
    for query in [
        "(".repeat(100_000),
        format!("{{ {}.a{} }}", "(".repeat(50_000), ")".repeat(50_000)),
        format!("{{ {}.a }}", "!".repeat(50_000)),
        format!("{{ .a{} }}", " && .a".repeat(10_000)),
        format!("{{}}{}", " && {}".repeat(10_000)),
        format!("{{}}{}", " | {}".repeat(10_000)),
        format!("{{}} | rate(){}", " > 1".repeat(10_000)),
        "-(".repeat(20_000),
        "{ .a = \"".to_owned() + &"x".repeat(1 << 20),
    ] {
        assert!(parse(&query).is_err());
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_tokens_are_parsed_or_refused(words in proptest::collection::vec(proptest::sample::select(vec![
        "{", "}", ".a", "span.b", "resource.c", "=", "!=", ">", ">>", "&&", "||", "!", "-", "1", "2.5", "1h", "\"x\"",
        "(", ")", "|", "count()", "avg(duration)", "by(.a)", "rate()", "select(.a)", "~", "&>", "name", "status",
        "error", "nil", "true", "{}", "{ .a }", "+", "*", "topk(2)", "with(a=1)", "=~", "quantile_over_time(duration, .9)",
    ]), 0..20)) {
        let text = words.join(" ");
        if let Ok(query) = parse(&text) {
            let printed = query.to_string();
            prop_assert_eq!(parse(&printed).map(|query| query.to_string()), Ok(printed));
        }
    }
}
