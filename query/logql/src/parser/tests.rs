use super::*;
use proptest::prelude::*;
use std::path::PathBuf;

/// A folder of the shared suites, where they are beside the repository.
fn suite(path: &str) -> Option<String> {
    let root = std::env::var_os("BINNACLE_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    std::fs::read_to_string(root.join("suites/data").join(path)).ok()
}

fn rows(path: &str) -> Vec<serde_json::Value> {
    let text = suite(path).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn printed(query: &str) -> String {
    parse(query).unwrap_or_else(|why| panic!("{query}: {why}")).to_string()
}

#[test]
fn public_parse_cases() {
    for row in rows("loki/logql_parse_cases.jsonl") {
        let query = row["query"].as_str().unwrap();
        let parsed = parse(query);
        assert_eq!(parsed.is_ok(), row["parse"] == "ok", "{query}: {parsed:?}");
    }
}

#[test]
fn queries_of_benchmarks_and_dashboards_parse() {
    for row in rows("loki/logql_bench_queries.jsonl") {
        let query = row["query"].as_str().unwrap();
        let query = query
            .replace("${SELECTOR}", "{app=\"a\"}")
            .replace("${RANGE}", "5m")
            .replace("${LABEL_NAME}", "x")
            .replace("${LABEL_VALUE}", "y");
        parse(&query).unwrap_or_else(|why| panic!("{query}: {why}"));
    }
    let mut refused = Vec::new();
    let metric_name = regex::Regex::new("[a-z_]\\{").unwrap();
    for row in rows("queries/logql_real.jsonl") {
        let query = row["subst"].as_str().or(row["query"].as_str()).unwrap();
        // The same dashboards ask Prometheus and Grafana's own variables, which is not LogQL.
        let promql = metric_name.is_match(query);
        // A variable that names a label was filled in as if it were a matcher.
        let variable =
            query.starts_with("label_values") || query.contains("\"=~\"") || query.starts_with("label_names");
        match parse(query) {
            Err(why) if !promql && !variable => refused.push(format!("{query}\n    {why}")),
            _ => {}
        }
    }
    assert!(refused.is_empty(), "{} refused:\n{}", refused.len(), refused.join("\n"));
}

/// These are refused by Loki too, or test another mode of it.
const REFUSED_TEST_QUERIES: [(&str, &str); 12] = [
    ("0b1010", "Go's ParseFloat knows no binary"),
    ("0o17", "nor octal"),
    ("0x1A", "hexadecimal needs a p exponent"),
    ("1 and 2", "set operation on literals"),
    ("> 0x10", "hexadecimal without exponent"),
    ("> 0o17", "octal"),
    ("approx_topk(2", "no grouping"),
    ("approx_topk(1.5", "whole numbers"),
    ("approx_topk(sum", "needs a parameter"),
    ("bool > ", "bool stands after the operator"),
    ("nosuchfunc", "unknown template function"),
    ("x=\"{{\"", "open template"),
];

#[test]
fn test_queries_parse_or_are_refused_with_a_reason() {
    let mut refused = Vec::new();
    for row in rows("loki/logqltest_queries.jsonl") {
        let query = row["query"].as_str().unwrap().to_owned();
        let known = REFUSED_TEST_QUERIES.iter().any(|(part, _)| query.contains(part));
        match parse(&query) {
            Err(why) if !known => refused.push(format!("{query}\n    {why}")),
            _ => {}
        }
    }
    // The others aggregate without unwrap, group where that is not allowed, or hold a broken regex, path or pattern.
    let broken = [
        "invalid aggregation",
        "grouping not allowed",
        "error parsing regexp",
        "named capture",
        "at least one named",
        "duplicate extracted",
        "cannot parse expression",
        "syntax error",
        "invalid regex",
        "ip: invalid",
    ];
    for line in &refused {
        assert!(broken.iter().any(|part| line.contains(part)), "{line}");
    }
    assert!(refused.len() < 75, "{} refused:\n{}", refused.len(), refused.join("\n"));
}

#[test]
fn precedence_and_folding() {
    for (query, want) in [
        ("1 + 1 - -1", "3"),
        ("2^3^2", "512"),
        ("-2^2", "4"),
        ("10 / 0", "0 / 0"),
        ("1 > 1 < 1", "1"),
        ("vector(1)+vector(1)", "(vector(1.000000) + vector(1.000000))"),
        ("vector(1e-9)", "vector(1e-09)"),
        (
            "sum by (b, a) (rate({x=\"y\"} |= `q\"` [1m])) > bool on (a) group_left (c) vector(2) * 3",
            "(sum by (b,a)(rate({x=\"y\"} |= \"q\\\"\"[1m])) > bool on (a) group_left (c) (vector(2.000000) * 3))",
        ),
        (
            "{a=\"b\"} | json | x > 5 or y<=2.5KiB and z=\"q\" | line_format \"{{.x}}\"",
            "{a=\"b\"} | json | ( x>5 or ( y<=2560B , z=\"q\" ) ) | line_format \"{{.x}}\"",
        ),
        (
            "{a=\"b\"} | d>90m | s>=5MB | l=~`5..` | m=~`x|yy` |= `\u{a0}\t` != `p` or `q`",
            "{a=\"b\"} | d>1h30m0s | s>=5.0MB | l=~`5..` | m=~\"x|yy\" |= \"\\u00a0\\t\" != \"p\" != \"q\"",
        ),
    ] {
        let once = printed(query);
        assert_eq!(once, want, "{query}");
        assert_eq!(printed(&once), once);
    }
}

#[test]
fn errors_say_where() {
    let error = |query: &str| parse(query).unwrap_err().to_string();
    assert_eq!(error("{app=}"), "parse error at line 1, col 6: syntax error: unexpected }, expecting STRING");
    assert!(error("{app=\"a\"}\n | json |").starts_with("parse error at line 2, col 10:"));
    assert!(error("").contains("unexpected $end"));
    for (query, told) in [
        ("unk({a=\"b\"}[5m])", "1, col 1: syntax error: unexpected IDENTIFIER"),
        ("rate({a=\"b\"}[5minutes])", "0, col 13: unknown unit \"minutes\" in duration \"5minutes\""),
        ("rate({a=\"b\"}[5])", "0, col 13: not a valid duration string: \"5\""),
        ("rate({a=\"b\"}[1.5h])", "0, col 13: unknown unit \".\" in duration \"1.5h\""),
        ("rate({a=\"b\"}[30m1h])", "0, col 13: not a valid duration string: \"30m1h\""),
        ("min({a=\"b\"}[5m])", "0, col 12: syntax error: unexpected RANGE"),
        ("{a=\"b\",}", "1, col 8: syntax error: unexpected }, expecting IDENTIFIER"),
        (
            "sum by (rate({a=\"b\"}[5m]))",
            "1, col 9: syntax error: unexpected RATE, expecting IDENTIFIER or )",
        ),
        (
            "avg_over_time({a=\"b\"} | unwrap x | unwrap y [5m])",
            "1, col 36: syntax error: unexpected unwrap, expecting IDENTIFIER or (",
        ),
        ("{a=\"b\"} | x > 5EB", "1, col 15: exponent has no digits"),
        ("(1", "1, col 3: syntax error: unexpected $end"),
        ("{by=\"c\"}", "1, col 2: syntax error: unexpected by, expecting IDENTIFIER or }"),
        ("{a=\"b\"} | json --strict", "0, col 16: syntax error: unexpected FUNCTION_FLAG"),
        (
            "sum_over_time({a=\"b\"}|unwrap x |= \"a\"[5m])",
            "0, col 32: syntax error: unexpected |=, expecting RANGE or |",
        ),
        ("{a=\"b\"} @ 5", "1, col 9: syntax error: unexpected IDENTIFIER"),
        ("stddev({a=\"b\"})", "1, col 15: syntax error: unexpected )"),
        (
            "{a=\"b\"} + {a=\"b\"}",
            ": unexpected type for left leg of binary operation (+): *syntax.MatchersExpr",
        ),
        (
            "rate({a=\"b\"}[5m]) > {a=\"b\"} |= \"x\"",
            ": unexpected type for right leg of binary operation (>): *syntax.PipelineExpr",
        ),
        ("sum(3, rate({a=\"b\"}[5m]))", "parse error : unsupported parameter for operation sum(3,"),
        ("sum(rate({a=\"b\"}[5m])) or 1", "logical/set binary operation (or): 1.000000"),
        ("{a=\"b\"} | x > 0x10", "strconv.ParseFloat: parsing \"0x10\": invalid syntax"),
        (
            "vector(0o17)",
            "parse error : unable to parse vectorExpr as a float: strconv.ParseFloat: parsing \"0o17\": invalid syntax",
        ),
        ("topk(1_000, rate({a=\"b\"}[5m]))", "parse error : invalid parameter topk(1_000,"),
        ("vector(1__0)", "1, col 8: '_' must separate successive digits"),
        ("vector(089)", "1, col 8: invalid digit '8' in octal literal"),
        ("vector(1.5.2)", "1, col 11: syntax error: unexpected NUMBER, expecting )"),
        ("vector(1kb)", "0, col 8: syntax error: unexpected BYTES, expecting NUMBER"),
        ("{a=\"b\"} | x > -5KB", "0, col 16: syntax error: unexpected BYTES, expecting NUMBER"),
        ("{a=\"b\"} | x > --5", "1, col 16: syntax error: unexpected -, expecting NUMBER"),
        ("{a=~\"(\"}", "parse error : error parsing regexp: missing closing ): `(`"),
        ("{a='bc'}", "1, col 4: invalid char literal"),
        ("{a='b", "1, col 4: literal not terminated"),
        ("{a='b'}", "1, col 4: syntax error: unexpected IDENTIFIER, expecting STRING"),
        ("{a=\"b\"} | logfmt | unwrap x", "1, col 20: syntax error: unexpected unwrap"),
        (
            "{a=\"b\"} |~ \"[\"",
            "parse error : stage '|~ \"[\"' : error parsing regexp: missing closing ]: `[`",
        ),
        ("{a=\"b\"} |= ip(\"bad\")", "parse error : stage '|= ip(\"bad\")' : ip: invalid pattern: \"bad\""),
        (
            "{a=\"b\"} | json x=\"a-b\"",
            "stage '| json x=\"a-b\"' : cannot parse expression [a-b]: unexpected char -",
        ),
        (
            "{a=\"b\"} | regexp \"(?P<x>.)(?P<x>.)\"",
            "invalid regexp parser: duplicate extracted label name 'x'",
        ),
        ("{a=\"b\"} | label_format __error__=\"x\"", "' : __error__ cannot be formatted"),
        (
            "{a=\"b\"} | line_format \"{{ nosuch }}\"",
            "' : invalid line template: template: line:1: function \"nosuch\" not defined",
        ),
        ("topk(0,rate({a=\"b\"}[5m]))", "parse error : invalid parameter (must be greater than 0) topk(0"),
        // Line filters are one stage to Loki, up to where the line is another.
        (
            "{a=\"b\"} |= \"a\" | logfmt | drop x |~ \"(\" |~ \"[\" or \"b\" != \"c\" or \"d\" | json x=\"a-b\"",
            "stage '|= \"a\" |~ \"(\" |~ \"[\" or \"b\" != \"c\" != \"d\"' : error parsing regexp: missing closing ]: `[`",
        ),
        (
            "{a=\"b\"} |= \"a\" | unpack |~ \"[\" | x=ip(\"bad\") |~ \"(\"",
            "stage '|~ \"[\"' : error parsing regexp: missing closing ]: `[`",
        ),
        (
            "{a=\"b\"} |= \"a\" | x=ip(\"bad\") |~ \"(\"",
            "stage '| x=ip(\"bad\")' : ip: invalid pattern: \"bad\"",
        ),
        // What is no token is told where the parser comes to it.
        ("rate({foo=}[5)", "1, col 11: syntax error: unexpected }, expecting STRING"),
        ("{a=\"b\"} | | 1e", "1, col 11: syntax error: unexpected |"),
        ("decolorize 'abc'", "1, col 1: syntax error: unexpected decolorize"),
        ("{a=\"b\"} | x > 1e", "1, col 15: exponent has no digits"),
        ("sum(1P3)", "1, col 5: 'P' exponent requires hexadecimal mantissa"),
        // Parentheses of lines, of numbers and of a range.
        ("({a=\"b\"}", "1, col 9: syntax error: unexpected $end"),
        ("({a=\"b\"}) |= \"x\"", "0, col 11: syntax error: unexpected |="),
        ("({a=\"b\"} |= \"x\" [1m])", "0, col 17: syntax error: unexpected RANGE"),
        ("({a=\"b\"} + 1)", "unexpected type for left leg of binary operation (+): *syntax.MatchersExpr"),
        ("1 + ({a=\"b\"} |= \"x\")", "right leg of binary operation (+): *syntax.PipelineExpr"),
        ("sum(({a=\"b\"}) )", "1, col 15: syntax error: unexpected )"),
        ("sum({a=\"b\"} + 1) + {a=\"b\"}", "right leg of binary operation (+): *syntax.MatchersExpr"),
        ("label_replace({a=\"b\"}, \"\", \"\", \"\", \"\")", "1, col 22: syntax error: unexpected ,"),
        ("rate(([5m]))", "0, col 7: syntax error: unexpected RANGE, expecting { or ("),
        ("rate((({a=\"b\"})) [5m])", "1, col 16: syntax error: unexpected ), expecting RANGE"),
        ("rate(({a=\"b\"}) |= \"x\" [5m])", "0, col 16: syntax error: unexpected |=, expecting RANGE"),
        ("rate(({a=\"b\"} | json [5m]) | json)", "1, col 28: syntax error: unexpected |, expecting )"),
        ("rate({a=\"b\"} | json [5m] | json)", "1, col 26: syntax error: unexpected |, expecting )"),
        ("rate(({a=\"b\"}) [5m] | json)", "1, col 23: syntax error: unexpected json, expecting unwrap"),
        (
            "rate(({a=\"b\"} | unwrap x + [5m]))",
            "1, col 26: syntax error: unexpected +, expecting RANGE or ) or |",
        ),
        ("rate({a=\"b\"} [5m] | unwrap x |= \"a\")", "0, col 30: syntax error: unexpected |=, expecting )"),
        ("{a=\"b\"} | logfmt or x=1", "1, col 21: syntax error: unexpected IDENTIFIER"),
        ("rate({a=\"b\"} | logfmt or x=1 [5m])", "1, col 23: syntax error: unexpected or"),
        ("rate({a=\"b\"} | x=1 rate({a=\"b\"}[5m])", "1, col 20: syntax error: unexpected RATE"),
        ("{sum(1)=\"b\"}", "1, col 2: syntax error: unexpected SUM, expecting IDENTIFIER or }"),
        (
            "rate({a=\"b\"}[5m]) + on (a) group_left (b rate(",
            "1, col 42: syntax error: unexpected RATE, expecting , or )",
        ),
        (
            "rate({a=\"b\"}[5m]) + on (a) group_left (=",
            "1, col 40: syntax error: unexpected =, expecting IDENTIFIER or )",
        ),
        ("{a=\"b\"} /* c", "1, col 9: comment not terminated"),
        ("{a=\"\\400\"}", "1, col 4: invalid syntax"),
        ("{a=\"\\U00110000\"}", "1, col 4: invalid syntax"),
        ("{a=\"\\x4\"}", "1, col 4: invalid char escape"),
        ("{a=\"\\'\"}", "1, col 4: invalid char escape"),
        ("{a=\"\\`\"}", "1, col 4: invalid char escape"),
        ("{a=\"b\"} |= \"\0\"", "1, col 12: invalid character NUL"),
        // Loki reads variants of a query, and by its limits answers none.
        (
            "variants(rate({a=\"b\"}[1m]), vector(1)) of ({a=\"b\"} | json [1m])",
            "multi variant queries are disabled for this instance",
        ),
        (
            "variants(rate({a=\"b\"}[1m])) ({a=\"b\"}[1m])",
            "1, col 29: syntax error: unexpected (, expecting of",
        ),
        ("variants({a=\"b\"}) of ({a=\"b\"}[1m])", "1, col 17: syntax error: unexpected )"),
        ("rate({a=\"b\"} of", "1, col 14: syntax error: unexpected of"),
        // What does not read is told before what does not hold, and of that the outermost.
        ("sum(3, rate({a=~\".*\"}[5m])) |", "1, col 29: syntax error: unexpected |"),
        ("topk(sum_over_time({a=\"b\"}[5m]))", "parse error : parameter required for operation topk"),
    ] {
        assert!(error(query).ends_with(told), "{query}: {}", error(query));
    }
    assert!(error("variants(1) of ({a=\"b\"}[1m])").starts_with("multi"));
    assert_eq!(printed("{of=\"b\"} | variants=\"c\""), "{of=\"b\"} | variants=\"c\"");
    assert_eq!(printed("/* a */ {a=\"\\ud800\"} // b\n |= \"//c\" # d"), "{a=\"\u{fffd}\"} |= \"//c\"");
    assert_eq!(printed("6 // 2\n/* 3 */ / 3"), "2");
    assert_eq!(printed("\u{feff}{a=\"b\"} |= \"\u{feff}\""), "{a=\"b\"} |= \"\\ufeff\"");
    for reads in [
        "(({a=\"b\"} |= \"x\"))",
        "rate((({a=\"b\"} | json) [5m] offset 1s))",
        "rate(({a=\"b\"}) [5m] | unwrap x | x > 1)",
        "rate({a=\"b\"} [5m] offset 1s | json | unwrap x | x > 1)",
        "rate(({a=\"b\"} | json | unwrap x) [5m])",
    ] {
        assert!(parse(reads).is_ok(), "{reads}");
    }
    for (written, value) in [("1_000", 1e3), ("1e1_0", 1e10), ("0_1", 1.0), ("0x1.8p1", 3.0), ("-1_0", -10.0)]
    {
        let Ok(Expr::Metric(MetricExpr::Literal(found))) = parse(written) else { panic!("{written}") };
        assert_eq!(found, value, "{written}");
    }
    assert!(parse(r#"{a="b"} |~ `{"level"` | regexp `(?P<x>\{\d{2,}})`"#).is_ok());
    for broken in [
        r#"{a="b"} | x=ip("bad")"#,
        r#"{a="b"} |= ip("bad")"#,
        r#"{a="b"} |~ "(""#,
        r#"{a="b"} |> "<a>""#,
        r#"{a="b"} | json x="a-b""#,
        r#"{a="b"} | logfmt x="a.b""#,
        r#"{a="b"} | line_format "{{ nosuch }}""#,
        r#"count_over_time({a="b"} | label_format a="{{"[1m])"#,
        r#"{a="b"} | label_format a=b,a=c"#,
    ] {
        assert_eq!(parse_to_print(broken).unwrap().to_string(), broken, "as it is written");
        assert!(parse(broken).is_err(), "{broken}");
    }
    assert!(parse_to_print(r#"{a="b"} | regexp "(""#).is_err());
    assert_eq!(printed(r#"{a="b"} |~ `{\d`"#), r#"{a="b"} |~ "{\\d""#);
    assert!(
        error("sum_over_time({a=\"b\"}[1m])").contains("invalid aggregation sum_over_time without unwrap")
    );
    assert!(error("{app=~\".*\"}").contains("at least one regexp or equality matcher"));
}

/// As Loki's grammar nests them: what a comma or a blank joins holds all that follows.
#[test]
fn label_filters_nest() {
    for (filter, nested) in [
        ("a=1 or b=2 and c=3", "( a==1 or ( b==2 , c==3 ) )"),
        ("a=1 and b=2 or c=3", "( ( a==1 , b==2 ) or c==3 )"),
        ("a=1, b=2 or c=3", "( a==1 , ( b==2 or c==3 ) )"),
        ("a=1 b=2 or c=3", "( a==1 , ( b==2 or c==3 ) )"),
        ("a=1 and b=2, c=3", "( a==1 , ( b==2 , c==3 ) )"),
        ("a=1 and b=2 and c=3, d=4", "( ( a==1 , b==2 ) , ( c==3 , d==4 ) )"),
        ("a=1, b=2 and c=3 or d=4", "( a==1 , ( ( b==2 , c==3 ) or d==4 ) )"),
        ("a=1 (b=2 or c=3) or d=4", "( a==1 , ( ( b==2 or c==3 ) or d==4 ) )"),
        ("(a=1, b=2) or c=3", "( ( a==1 , b==2 ) or c==3 )"),
        ("(((a=1) or b=2), c=3) or d=4", "( ( ( a==1 or b==2 ) , c==3 ) or d==4 )"),
        ("((a=1 or b=2) and (c=3))", "( ( a==1 or b==2 ) , c==3 )"),
    ] {
        let query = format!("{{x=\"y\"}} | {filter}");
        assert_eq!(printed(&query), format!("{{x=\"y\"}} | {nested}"), "{filter}");
    }
}

/// Escapes name characters, or bytes of which several may be one.
#[test]
fn escapes_are_as_in_go() {
    for (written, value) in [
        (r"\xc3\xa9 \303\251 \u00e9 \U000000e9", "é é é é"),
        (r"\x41\101\a\b\f\n\r\t\v\\", "AA\u{7}\u{8}\u{c}\n\r\t\u{b}\\"),
        (r"\xff \377", "\u{fffd} \u{fffd}"),
        (r"a\xc3", "a\u{fffd}"),
    ] {
        let Ok(Expr::Log(log)) = parse(&format!("{{a=\"{written}\"}}")) else { panic!("{written}") };
        assert_eq!(log.matchers[0].value, value, "{written}");
    }
}

#[test]
fn bytes_that_are_no_text_are_told_with_their_place() {
    assert_eq!(text_of("{a=\"é\"}".as_bytes()), Ok("{a=\"é\"}"));
    for (query, told) in [
        (&b"{a=\"\xff\"}"[..], "parse error at line 1, col 4: invalid UTF-8 encoding"),
        (&b"{a=\"b\"}\xff"[..], "parse error at line 1, col 7: invalid UTF-8 encoding"),
        (&b"{a=\"b\"}\n|= `\xe9`"[..], "parse error at line 2, col 4: invalid UTF-8 encoding"),
    ] {
        assert_eq!(text_of(query).unwrap_err().to_string(), told);
    }
}

#[test]
fn parentheses_may_be_many() {
    let within = |count: usize, inner: &str| format!("{}{inner}{}", "(".repeat(count), ")".repeat(count));
    assert_eq!(printed(&within(5_000, "{a=\"b\"} |= \"x\"")), "{a=\"b\"} |= \"x\"");
    let rate = "rate({a=\"b\"}[5m])";
    assert_eq!(printed(&within(1_000, rate)), printed(rate));
    let filter = |filter: &str| printed(&format!("{{a=\"b\"}} | {filter}"));
    assert_eq!(filter(&within(5_000, "x=1")), filter("x=1"));
    for (written, value) in
        [("((1+2)*3)", 9.0), ("(((1)+2)*3^2)", 27.0), ("((2))^((3)+1)", 16.0), ("(((8)-2)-1)-1", 4.0)]
    {
        let Ok(Expr::Metric(MetricExpr::Literal(found))) = parse(written) else { panic!("{written}") };
        assert_eq!(found, value, "{written}");
    }
    let why = |query: &str| parse(query).unwrap_err().to_string();
    assert_eq!(why("((1)"), "parse error at line 1, col 5: syntax error: unexpected $end");
    assert_eq!(why("((1) 2)"), "parse error at line 1, col 6: syntax error: unexpected NUMBER");
    assert_eq!(why("((1)))"), "parse error at line 1, col 6: syntax error: unexpected )");
    assert!(parse(&within(100, "vector(1)").repeat(2)).is_err());
}

/// As of ids that somebody looks for.
#[test]
fn a_line_filter_may_have_many_alternatives() {
    let query = |count: usize| format!("{{a=\"b\"}} |= \"x\"{}", " or \"y\"".repeat(count));
    let Ok(Expr::Log(log)) = parse(&query(1_000)) else { panic!("1,000 alternatives") };
    let Some(Stage::Line(filter)) = log.stages.first() else { panic!("{:?}", log.stages) };
    assert_eq!(filter.any.len(), 1_001);
    let why = parse(&query(5_000)).unwrap_err().to_string();
    assert!(why.contains("more than 2048 alternatives"), "{why}");
}

#[test]
fn depth_and_length_are_bounded() {
    for query in [
        format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("vector(1){}", "+vector(1)".repeat(10_000)),
        format!("{{a=\"b\"}} | {}x=1{}", "(y=2 or ".repeat(200), ")".repeat(200)),
        format!("{{a=\"b\"}} | x=1{}", " or x=1".repeat(10_000)),
        format!("{{a=\"b\"}}{}", " |= \"x\"".repeat(5_000)),
        "sum(".repeat(30_000),
        "{a=\"".to_owned() + &"x".repeat(1 << 20),
    ] {
        assert!(parse(&query).is_err());
    }
    parse(&format!("vector(1){}", "+vector(1)".repeat(200))).unwrap();
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_tokens_are_parsed_or_refused(words in proptest::collection::vec(proptest::sample::select(vec![
        "{", "}", "a", "=", "\"x\"", "|=", "|", "json", "logfmt", "(", ")", "[5m]", "rate", "sum", "by", ",", "1", "5m",
        "+", "^", "or", "and", "unwrap", "ip", "`{{.a}}`", "line_format", "label_format", "drop", "!=", "offset", "-",
        "{a=\"b\"}", "--strict", "pattern", "`<a> <_>`", "regexp", "`(?P<a>.)`", "topk", "vector", "bool", "on",
    ]), 0..24)) {
        let text = words.join(" ");
        if let Ok(expr) = parse(&text) {
            let printed = expr.to_string();
            let again = parse(&printed).map(|expr| expr.to_string());
            prop_assert_eq!(again, Ok(printed));
        }
    }
}
