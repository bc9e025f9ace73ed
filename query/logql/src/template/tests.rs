use super::*;

fn rendered(template: &str) -> Result<String, String> {
    let template = Template::parse("line", template)?;
    let field = |name: &str| match name {
        "msg" => Some("hello world".to_owned()),
        "status" => Some("503".to_owned()),
        _ => None,
    };
    let mut out = String::new();
    let all = || vec![("msg".to_owned(), "hello world".to_owned()), ("status".to_owned(), "503".to_owned())];
    template.render(&Scope { field: &field, all: &all, line: "the line", ts_ns: 1_500_000_000 }, &mut out)?;
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
        ("{{ if gt (int .status) 500 }}bad{{ else if eq .status \"200\" }}ok{{ else }}?{{ end }}", "bad"),
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
        (
            "{{ html `<a>` }} {{ js `it's` }} {{ urlquery .msg }} {{ slice .msg 1 3 }}",
            "&lt;a&gt; it\\'s hello+world el",
        ),
        ("{{ (fromJson `{\"y\":{\"z\":1}}`).y.z }} {{ 'a' }} {{ eq .msg nil }}", "1 97 false"),
        (
            "{{ substr 0 3 .msg }} {{ trunc -3 .msg }} {{ substr -1 2 .msg }} {{ substr 2 -1 .msg }}",
            "hel rld he llo world",
        ),
        (
            "{{ $a := 1 }}{{ if true }}{{ $a = 2 }}{{ end }}{{ $a }} {{ . }}",
            "2 map[msg:hello world status:503]",
        ),
        (
            "{{ upper `straße` }} {{ fromJson `[1,null]` }} {{ (fromJson `bad`).y }}",
            "STRAßE [1 <nil>] <no value>",
        ),
        ("{{ __timestamp__ | date `Jan 2 3:04` }}", "Jan 1 12:00"),
        ("{{ range fromJson `[1,2,3]` }}{{ if eq . 2.0 }}{{ break }}{{ end }}{{ . }}{{ end }}", "1"),
        ("{{ __timestamp__ | date \"2006-01-02T15:04:05.000\" }}", "1970-01-01T00:00:01.500"),
    ] {
        assert_eq!(rendered(template).as_deref(), Ok(want), "{template}");
    }
}

#[test]
fn what_cannot_work_is_refused_when_parsed() {
    for bad in ["{{", "{{ nosuchfunc }}", "{{ .a | }}", "{{ if .a }}", "{{ end }}", "{{}}"] {
        assert!(Template::parse("line", bad).is_err(), "{bad}");
    }
    assert!(rendered("{{ repeat 100000000 .msg }}").is_err());
    for (fails, told) in [
        ("{{ upper }}", "1:3: executing \"line\" at <upper>: wrong number of args for upper: want 1 got 0"),
        ("{{ .msg | now }}", "1:10: executing \"line\" at <now>: wrong number of args for now: want 0 got 1"),
        ("{{ .a .b }}", "1:3: executing \"line\" at <.a>: a is not a method but has arguments"),
        (
            "{{ range .msg }}x{{ end }}",
            "1:9: executing \"line\" at <.msg>: range can't iterate over hello world",
        ),
        (
            "a\n{{div .status 0}}",
            "2:2: executing \"line\" at <div .status 0>: error calling div: runtime error: integer divide by zero",
        ),
        (
            "{{ substr 20 30 .msg }}",
            "1:3: executing \"line\" at <substr 20 30 .msg>: error calling substr: runtime error: slice bounds out of \
             range [20:11]",
        ),
        ("{{ upper 5 }}", "1:9: executing \"line\" at <5>: expected string; found 5"),
        (
            "{{ trunc .status .msg }}",
            "1:9: executing \"line\" at <.status>: wrong type for value; expected int; got string",
        ),
        (
            "{{ if gt .status 300 }}x{{ end }}",
            "1:6: executing \"line\" at <gt .status 300>: error calling gt: incompatible types for comparison: string and int",
        ),
        ("{{ nil }}", "1:3: executing \"line\" at <nil>: nil is not a command"),
        ("{{ .msg.x }}", "1:7: executing \"line\" at <.msg.x>: can't evaluate field x in type string"),
    ] {
        let why = rendered(fails).unwrap_err();
        assert_eq!(why, format!("template: line:{told}"), "{fails}");
    }
    for (text, told) in [
        ("{{ nosuch .a }}", "template: line:1: function \"nosuch\" not defined"),
        ("a\n{{ $x }}", "template: line:2: undefined variable \"$x\""),
        ("{{ if .a }}", "template: line:1: unexpected EOF"),
        ("{{ end }}", "template: line:1: unexpected {{end}}"),
        ("{{}}", "template: line:1: missing value for command"),
    ] {
        assert_eq!(Template::parse("line", text).unwrap_err(), told);
    }
    assert!(rendered("{{ div 1 0 }}").is_err());
}

/// Each of these would take all memory, or for ever.
#[test]
fn what_a_line_may_take_is_bounded() {
    let doubled = "{{ $a = print $a $a $a $a $a $a $a $a }}".repeat(12);
    let inside = |depth: usize, body: &str| {
        let open = "{{ range $l }}".repeat(depth);
        let list = format!("[{}]", vec!["1"; 1_000].join(","));
        format!("{{{{ $l := fromJson `{list}` }}}}{open}{body}{}", "{{ end }}".repeat(depth))
    };
    let long = |text: &str, by: usize| format!("`{}`", text.repeat(by));
    for (template, why) in [
        (format!("{{{{ $a := .msg }}}}{doubled}"), "are given to it"),
        (inside(6, ""), "for one line"),
        (inside(4, "{{ $x := count `l` $.msg }}"), "for one line"),
        (format!("{{{{ Replace {} `` {} -1 }}}}", long("a", 5_000), long("b", 5_000)), "too long"),
        (format!("{{{{ replace `a` {} {} }}}}", long("b", 5_000), long("a", 5_000)), "too long"),
        (format!("{{{{ regexReplaceAll `.*` {} {} }}}}", long("a", 5_000), long("${0}", 5_000)), "too long"),
        (
            format!("{{{{ regexReplaceAllLiteral `a` {} {} }}}}", long("a", 5_000), long("b", 5_000)),
            "too long",
        ),
        (format!("{{{{ indent 1000 {} }}}}", long("\n", 20_000)), "too long"),
    ] {
        let said = rendered(&template).expect_err(&template[..40]);
        assert!(said.contains(why), "{said:.200}");
    }
    assert_eq!(
        rendered("{{ Replace `aaa` `a` `bb` 2 }} {{ Replace `ab` `` `-` -1 }}").unwrap(),
        "bbbba -a-b-"
    );
    assert_eq!(
        rendered("{{ regexReplaceAll `(h)(e)` .msg `$2$1` }} {{ regexReplaceAllLiteral `o` .msg `$1` }}")
            .unwrap(),
        "ehllo world hell$1 w$1rld"
    );
    assert!(Template::parse("line", "{{ -0x-8000000000000000 }}").is_err());
}
