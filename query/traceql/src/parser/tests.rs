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
fn printed_and_read_again() {
    for (query, want) in [
        ("{}", "{ }"),
        (
            "{ .a = 1 && span.b != `x` || -2 < duration }",
            "{ (((.a = 1) && (span.b != \"x\")) || (-2 < duration)) }",
        ),
        ("{ .a } >> { .b } && { .c }", "(({ .a } >> { .b }) && { .c })"),
        (
            "{ name =~ \"a.*\" } | by(.x) | count() > 2 | select(.y, span:name)",
            "{ (name =~ \"a.*\") } | by(.x) | count() > 2 | select(.y, name)",
        ),
        ("({} | rate()) * 2 + 3 > 1", "(((({ } | rate()) * 2.0) + 3.0) > 1.0)"),
        (
            "{} | quantile_over_time(duration, .9, 1) by (name) with(sample=0.1)",
            "({ } | quantile_over_time(duration, 0.9, 1.0) by (name)) with (sample=0.1)",
        ),
        ("{ .\"a b\" = 1h30m }", "{ (.\"a b\" = 1h30m) }"),
    ] {
        let once = parse(query).unwrap_or_else(|why| panic!("{query}: {why}")).to_string();
        assert_eq!(once, want);
        assert_eq!(parse(&once).unwrap_or_else(|why| panic!("{once}: {why}")).to_string(), once);
    }
}

#[test]
fn errors_say_where() {
    let error = |query: &str| parse(query).unwrap_err().to_string();
    assert!(
        error("{ duration >").starts_with("parse error at line 1, col 13: syntax error: unexpected $end")
    );
    assert!(error("{ .a = 1 }\n | nope()").starts_with("parse error at line 2, col 4:"));
    assert!(error("{ name > 5 }").contains("same type"));
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
