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
        ("{{ __timestamp__ | date \"2006-01-02T15:04:05.000\" }}", "1970-01-01T00:00:01.500"),
    ] {
        assert_eq!(rendered(template).as_deref(), Ok(want), "{template}");
    }
}

#[test]
fn what_cannot_work_is_refused_when_parsed() {
    for bad in [
        "{{",
        "{{ nosuchfunc }}",
        "{{ .a | }}",
        "{{ if .a }}",
        "{{ end }}",
        "{{ upper }}",
        "{{ .a .b }}",
        "{{}}",
    ] {
        assert!(Template::parse(bad).is_err(), "{bad}");
    }
    assert!(rendered("{{ repeat 100000000 .msg }}").is_err());
    assert!(rendered("{{ div 1 0 }}").is_err());
}
