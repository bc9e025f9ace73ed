use super::*;

fn rendered(template: &str) -> Result<String, String> {
    let template = Template::parse(template)?;
    let field = |name: &str| match name {
        "msg" => Some("hello world".to_owned()),
        "status" => Some("503".to_owned()),
        _ => None,
    };
    let mut out = String::new();
    template.render(&Scope { field: &field, line: "the line", ts_ns: 1_500_000_000 }, &mut out)?;
    Ok(out)
}

#[test]
fn fields_pipes_and_functions() {
    for (template, want) in [
        ("plain", "plain"),
        ("a {{ .msg }} b{{.missing}}c", "a hello world bc"),
        ("{{.msg | upper | trunc 5}}", "HELLO"),
        ("{{ __line__ | replace \"line\" \"end\" }}", "the end"),
        ("{{ printf \"%5d|%-4s|%.1f|%%\" 42 \"ab\" 2.25 }}", "   42|ab  |2.2|%"),
        ("{{ if gt .status 500 }}bad{{ else if eq .status \"200\" }}ok{{ else }}?{{ end }}", "bad"),
        ("{{ if .missing }}x{{ else }}y{{ end }}", "y"),
        ("{{ default \"none\" .missing }}", "none"),
        ("{{ add 1 2 | mul 3 }}", "9"),
        ("{{ regexReplaceAll \"l+\" .msg \"L\" }}", "heLo worLd"),
        ("{{ b64enc \"ab\" }} {{ b64dec \"YWI=\" }}", "YWI= ab"),
        ("x {{- .msg -}} y", "xhello worldy"),
        ("{{ __timestamp__ | unixEpochMillis }} {{ __timestamp__ }}", "1500 1970-01-01 00:00:01.5 +0000 UTC"),
        (
            "{{ range $q := fromJson `[{\"query\":\"a\"},{\"query\":\"b\"}]` }}{{ $q.query }}{{ .query }};{{ end }}",
            "aa;bb;",
        ),
        (
            "{{ range $n, $v := fromJson `{\"b\":1,\"a\":[2.5]}` }}{{ $n }}={{ $v }} {{ $.status }},{{ end }}",
            "a=[2.5] 503,b=1 503,",
        ),
        (
            "{{ range fromJson `[]` }}x{{ else }}none{{ end }}{{ with .missing }}x{{ else }}y{{ end }}",
            "noney",
        ),
        ("{{ $x := upper .msg }}{{ with $x }}{{ . }}!{{ end }}", "HELLO WORLD!"),
        ("{{ index (fromJson `[1,2]`) 1 }}{{ len (fromJson `[1,2]`) }}", "22"),
        ("{{ bytes `3MB` }} {{ mulf 1.5 2 }} {{ divf 20.2 5.25 }}", "3e+06 3 3.8476190476190477"),
        ("{{ round 3.885714 5 .2 }} {{ round 3.885714 5 }}", "3.88572 3.88571"),
        ("{{ date \"2006-01-02\" (toDate \"2006-01-02\" \"2021-11-02\") }}", "2021-11-02"),
        (
            "{{ `2023-03-10T01:32:40.340485723Z` | toDateInZone \"2006-01-02T15:04:05.999999999Z\" \"UTC\" | unixEpochNanos }}",
            "1678411960340485723",
        ),
        ("{{ unixToTime `1679577215` | date \"Jan _2 15:04:05.999\" }}", "Mar 23 13:13:35"),
        ("{{ div (unixEpoch now) (unixEpoch now) }}", "1"),
        ("{{ __timestamp__ | date \"2006-01-02T15:04:05.000\" }}", "1970-01-01T00:00:01.500"),
    ] {
        assert_eq!(rendered(template).as_deref(), Ok(want), "{template}");
    }
}

#[test]
fn what_cannot_work_is_refused_when_parsed() {
    for bad in ["{{", "{{ nosuchfunc }}", "{{ .a | }}", "{{ if .a }}", "{{ end }}", "{{}}"] {
        assert!(Template::parse(bad).is_err(), "{bad}");
    }
    assert!(rendered("{{ repeat 100000000 .msg }}").is_err());
    for (fails, told) in [
        ("{{ upper }}", "wrong number of args for upper: want 1 got 0"),
        ("{{ .msg | now }}", "wrong number of args for now: want 0 got 1"),
        ("{{ .a .b }}", "a is not a method but has arguments"),
        ("{{ range .msg }}x{{ end }}", "range can't iterate over hello world"),
    ] {
        let why = rendered(fails).unwrap_err();
        assert!(why.ends_with(told), "{fails}: {why}");
    }
    assert!(rendered("{{ div 1 0 }}").is_err());
}
