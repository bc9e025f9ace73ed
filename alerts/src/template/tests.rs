use super::*;

fn expand(text: &str) -> Result<String, Failed> {
    let labels = Labels::from_pairs([("job", "shop"), ("instance", "db.example.org:9090")]);
    let samples = vec![(Labels::from_pairs([("pod", "b")]), 2.0), (Labels::from_pairs([("pod", "a")]), 1.0)];
    let queries = HashMap::from([("up".to_owned(), samples), ("none".to_owned(), vec![])]);
    let context =
        Context { labels: &labels, value: 42.5, external_url: "http://host/x", queries: &queries, now_ms: 0 };
    Template::parse(text).map_err(Failed::Wrong)?.run(&context)
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
}

#[test]
fn labels_and_value() {
    check("plain", "plain");
    check("{{ $labels.job }} at {{ $value }}", "shop at 42.5");
    check("{{.Labels.job}}/{{ .Value }}/{{ $labels.absent }}", "shop/42.5/");
    check("{{ index $labels \"job\" }}", "shop");
    check("{{ $externalURL }}{{ pathPrefix }}", "http://host/x/x");
    check("a {{- /* comment */ -}} b", "ab");
    check("a  {{- \"-\" -}}  b", "a-b");
}

#[test]
fn pipelines_and_functions() {
    check("{{ $value | humanize }}", "42.5");
    check("{{ 1234567.0 | humanize }} {{ 0.00012 | humanize }} {{ humanize 0.0 }}", "1.235M 120u 0");
    check("{{ humanize1024 1048576.0 }}", "1Mi");
    check("{{ humanizePercentage 0.1234567 }}", "12.35%");
    check(
        "{{ humanizeDuration 90061.0 }} {{ humanizeDuration 0.25 }} {{ humanizeDuration 59.5 }}",
        "1d 1h 1m 1s 250ms 59.5s",
    );
    check("{{ humanizeTimestamp 1435065584.128 }}", "2015-06-23 13:19:44.128 +0000 UTC");
    check(
        "{{ printf \"%.2f|%5d|%-4s|%04d|%q|%v|%%\" $value 7 \"a\" 7 \"b\" true }}",
        "42.50|    7|a   |0007|\"b\"|true|%",
    );
    check("{{ printf \"%s\" $value }}", "%!s(float64=42.5)");
    check("{{ $labels.instance | stripPort | stripDomain | toUpper }}", "DB");
    check("{{ reReplaceAll \"(.*):.*\" \"$1\" $labels.instance }}", "db.example.org");
    check("{{ if match \"^db\" $labels.instance }}yes{{ end }}", "yes");
    check(
        "{{ 1000000.0 }} {{ 1234567.0 }} {{ 123456.0 }} {{ 0.00001 }} {{ 100 }}",
        "1e+06 1.234567e+06 123456 1e-05 100",
    );
    check("{{ title \"two words\" }}", "Two Words");
    check("{{ (query \"up\" | first).Value }} {{ (query \"up\" | first).Labels.pod }}", "2 b");
    check("{{ query \"up\" | first | label \"pod\" }}{{ query \"up\" | first | value }}", "b2");
}

#[test]
fn blocks_and_variables() {
    check("{{ if gt $value 40.0 }}big{{ else if gt $value 10.0 }}middle{{ else }}small{{ end }}", "big");
    check("{{ if and (eq $labels.job \"shop\") (lt $value 1.0) }}x{{ else }}y{{ end }}", "y");
    check("{{ range query \"up\" }}{{ .Labels.pod }}={{ .Value }} {{ end }}", "b=2 a=1 ");
    check("{{ range sortByLabel \"pod\" (query \"up\") }}{{ .Labels.pod }}{{ end }}", "ab");
    check("{{ range query \"none\" }}x{{ else }}nothing{{ end }}", "nothing");
    check("{{ with query \"up\" }}{{ . | first | value }}{{ end }}", "2");
    check(
        "{{ range $name, $text := $labels }}{{ $name }}:{{ $text }},{{ end }}",
        "instance:db.example.org:9090,job:shop,",
    );
    check(
        "{{ define \"t\" }}<{{ . }}>{{ end }}{{ template \"t\" $value }}{{ template \"t\" \"x\" }}",
        "<42.5><x>",
    );
    check("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2");
}

#[test]
fn an_unanswered_query_is_handed_out() {
    assert_eq!(expand("{{ query \"down\" }}"), Err(Failed::Query("down".into())));
}

#[test]
fn what_is_wrong_is_an_error_and_never_a_panic() {
    for bad in [
        "{{",
        "{{ }}",
        "{{ $labels.job",
        "{{ nope }}",
        "{{ end }}",
        "{{ else }}",
        "{{ if true }}",
        "{{ (1 }}",
        "{{ 1) }}",
        "{{ \"a }}",
        "{{ 1 | }}",
        "{{ template \"x\" }}",
        "{{ $label.job }}",
        "{{ $x = 1 }}",
        "{{ if $y := 1 }}{{ end }}{{ $y }}",
        "{{ if }}x{{ end }}",
        "{{ ; }}",
        "{{ /* x }}",
        "{{ \"\\z\" }}",
    ] {
        assert!(Template::parse(bad).is_err(), "{bad:?}");
    }
    for bad in [
        "{{ define \"r\" }}{{ template \"r\" . }}{{ end }}{{ template \"r\" . }}",
        "{{ humanize \"x\" }}",
        "{{ 1 2 }}",
        "{{ .Nope }}",
        "{{ first (query \"none\") }}",
        "{{ match \"(\" \"x\" }}",
    ] {
        assert!(matches!(expand(bad), Err(Failed::Wrong(_))), "{bad:?}");
    }
    assert!(
        Template::parse(&format!("{}1{}", "{{ ".to_owned() + &"(".repeat(5000), ")".repeat(5000) + " }}"))
            .is_err()
    );
    assert!(Template::parse(&"{{ if true }}".repeat(5000)).is_err());
    let nested = "{{ range query \"up\" }}".repeat(20) + "x" + &"{{ end }}".repeat(20);
    assert!(expand(&nested).is_err(), "2^20 steps are too many");
    check("{{ printf \"%999999999d\" 1 }}", &format!("{}1", " ".repeat(199)));
}
