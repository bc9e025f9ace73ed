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
        (
            "{{ b64dec `YW\nI=` }}|{{ b64dec `YWI` }}|{{ b64dec `YWJjYQ==x` }}",
            "ab|illegal base64 data at input byte 0|illegal base64 data at input byte 8",
        ),
        ("{{ title `hello foo_bar it's a-b ünï ǆx` }}", "Hello Foo_bar It'S A-B Ünï ǅx"),
        ("{{ js \"\\u007f\\u00ad\" }}", "\u{7f}\\u00AD"),
        ("x {{- .msg -}} y", "xhello worldy"),
        ("{{/* it's */}}x {{- /* \" */ -}} y", "xy"),
        ("{{ .status | }}{{ (upper .msg |) }}", "503HELLO WORLD"),
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
        (
            "{{ toDate `2006` .msg | unixEpochNanos }} {{ toDate `2006` .msg | unixEpochMillis }}",
            "-6795364578871345152 -62135596800000",
        ),
        ("{{ unixToTime `1679577215` | date \"Jan _2 15:04:05.999\" }}", "Mar 23 13:13:35"),
        ("{{ div (unixEpoch now) (unixEpoch now) }}", "1"),
        (
            "{{ html `<a>` }} {{ js `it's` }} {{ urlquery .msg }} {{ slice .msg 1 3 }}",
            "&lt;a&gt; it\\'s hello+world el",
        ),
        ("{{ (fromJson `{\"y\":{\"z\":1}}`).y.z }} {{ 'a' }} {{ eq .msg nil }}", "1 97 false"),
        (r#"{{ "\xc3\xa9\303\251" }} {{ '\xe9' }} {{ '\'' }}"#, "éé 233 39"),
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
    for bad in ["{{", "{{ nosuchfunc }}", "{{ if .a }}", "{{ end }}", "{{}}"] {
        assert!(Template::parse("line", bad).is_err(), "{bad}");
    }
    assert!(rendered("{{ repeat 100000000 .msg }}").is_err());
    for (fails, told) in [
        ("{{ upper }}", "1:3: executing \"line\" at <upper>: wrong number of args for upper: want 1 got 0"),
        ("{{ .msg | now }}", "1:10: executing \"line\" at <now>: wrong number of args for now: want 0 got 1"),
        ("{{ .a .b }}", "1:3: executing \"line\" at <.a>: a is not a method but has arguments"),
        ("{{ .a upper }}", "1:3: executing \"line\" at <.a>: a is not a method but has arguments"),
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
        ("{{ \"x }}", "template: line:1: unterminated quoted string"),
        ("{{ `x }}", "template: line:1: unterminated raw quoted string"),
        ("{{ 'x }}", "template: line:1: unterminated character constant"),
        ("{{/* x }}", "template: line:1: unclosed comment"),
        ("{{.a", "template: line:1: unclosed action"),
        ("{{.a}", "template: line:1: bad character U+007D '}'"),
        ("{{ .a | | .b }}", "template: line:1: unexpected \"|\" in command"),
        ("{{ (| .a) }}", "template: line:1: unexpected \"|\" in parenthesized pipeline"),
        ("{{ () }}", "template: line:1: missing value for parenthesized pipeline"),
        ("{{ .a | upper | 5 }}", "template: line:1: non executable command in pipeline stage 3"),
        ("{{ .a | . }}", "template: line:1: non executable command in pipeline stage 2"),
        ("{{ .a | nil }}", "template: line:1: non executable command in pipeline stage 2"),
        ("{{ @ }}", "template: line:1: unexpected \"@\" in command"),
        ("{{ .a := 5 }}", "template: line:1: unexpected \":=\" in operand"),
        ("{{ .a, .b }}", "template: line:1: unexpected \",\" in operand"),
        ("{{ .a@ }}", "template: line:1: bad character U+0040 '@'"),
        ("{{ upper(.a) }}", "template: line:1: unexpected \"(\" in operand"),
        ("{{ `a`.b }}", "template: line:1: unexpected . after term \"`a`\""),
        ("{{ (.a)b }}", "template: line:1: unexpected \"b\" in operand"),
        ("{{ .a..b }}", "template: line:1: unexpected <.> in operand"),
        ("{{ .a. }}", "template: line:1: unexpected <.> in operand"),
        ("{{ $x.. }}", "template: line:1: undefined variable \"$x\""),
        ("{{ 'ab' }}", "template: line:1: malformed character constant: 'ab'"),
        ("{{ '' }}", "template: line:1: invalid syntax"),
        (r#"{{ "\'" }}"#, "template: line:1: invalid syntax"),
        ("{{ - }}", "template: line:1: illegal number syntax: \"-\""),
        ("{{ /* x */ }}", "template: line:1: unexpected \"/\" in command"),
        ("{{/* x */ }}", "template: line:1: comment ends before closing delimiter"),
        ("{{/* x */ .a}}", "template: line:1: comment ends before closing delimiter"),
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

#[test]
fn templates_inside_see_what_they_are_given() {
    for (template, want) in [
        ("{{define `x`}}hi {{.msg}}{{.no}}{{end}}{{template `x` .}}", "hi hello world"),
        (
            "{{ define `x` }}[{{ . }}|{{ $ }}]{{ end }}{{ template `x` .status }}{{ template `x` }}",
            "[503|503][<no value>|<no value>]",
        ),
        ("{{ block `a` .status }}<{{ . }}>{{ end }}{{ template `a` `z` }}", "<503><z>"),
        ("{{ define `x` }}A{{- end -}}  B {{ template `x` . }}", "B A"),
        (
            "{{ with .no }}a{{ else with .no2 }}b{{ else }}c{{ end }}{{ with .no }}{{ else with .status }}{{ . }}{{ end }}",
            "c503",
        ),
        (
            "{{ range 3 }}{{ . }}{{ end }}{{ range $i := int `2` }}{{ $i }}{{ else }}x{{ end }}{{ range -1 }}{{ else }}none{{ end }}",
            "01201none",
        ),
    ] {
        assert_eq!(rendered(template).as_deref(), Ok(want), "{template}");
    }
    for (template, told) in [
        (
            "{{ template `x` }}",
            "1:12: executing \"line\" at <{{template \"x\"}}>: template \"x\" not defined",
        ),
        (
            "{{ define `x` }}{{ .msg.y }}{{ end }}{{ template `x` . }}",
            "1:23: executing \"x\" at <.msg.y>: can't evaluate field y in type string",
        ),
        (
            "{{ define `x` }}{{ template `x` . }}{{ end }}{{ template `x` . }}",
            "1:28: executing \"x\" at <{{template \"x\" .}}>: exceeded maximum template depth (20)",
        ),
        (
            "{{ range $i, $e := 3 }}{{ end }}",
            "1:19: executing \"line\" at <3>: can't use 3 to iterate over more than one variable",
        ),
    ] {
        assert_eq!(rendered(template).unwrap_err(), format!("template: line:{told}"), "{template}");
    }
    for (template, told) in [
        ("{{ if true }}{{ define `x` }}a{{ end }}{{ end }}", "unexpected <define> in command"),
        ("{{ define x }}a{{ end }}", "unexpected \"x\" in define clause"),
        ("{{ block `a` }}x{{ end }}", "missing value for block clause"),
        (
            "{{ define `a` }}1{{ end }}{{ define `a` }}2{{ end }}",
            "template: multiple definition of template \"a\"",
        ),
        ("{{ $v := 1 }}{{ define `x` }}{{ $v }}{{ end }}", "undefined variable \"$v\""),
        ("{{ if }}x{{ end }}", "missing value for if"),
        ("{{ ..msg }}", "unexpected . after term \".\""),
    ] {
        assert_eq!(Template::parse("line", template).unwrap_err(), format!("template: line:1: {told}"));
    }
}

#[test]
fn times_are_written_and_read_as_go_does() {
    for (template, want) in [
        ("{{ __timestamp__ | date `02.01.2006 15.04.05.000` }}", "01.01.1970 00.00.01.500"),
        (
            "{{ __timestamp__ | date `02 002 __2 Z07 -07 .00 ,000 06 1 3PM` }}",
            "01 001   1 Z +00 .50 ,500 70 1 12AM",
        ),
        ("{{ __timestamp__ | date `Month Monday January _2006 jan` }}", "Month Thursday January _1970 jan"),
        ("{{ toDate `02.01.2006` `03.02.2021` }}", "2021-02-03 00:00:00 +0000 UTC"),
        (
            "{{ toDate `2006` `2020` }}, {{ toDate `15:04` `10:20` }}",
            "2020-01-01 00:00:00 +0000 UTC, 0000-01-01 10:20:00 +0000 UTC",
        ),
        ("{{ toDate `Mon Jan 2 2006` `Mon Mar 3 2020` }}", "2020-03-03 00:00:00 +0000 UTC"),
        ("{{ toDate `06-1-2 3:4:5 PM` `21-2-3 4:5:6 PM` }}", "2021-02-03 16:05:06 +0000 UTC"),
        (
            "{{ toDate `2006-01-02T15:04:05Z07:00` `2021-01-02T03:04:05.25-05:30` }}",
            "2021-01-02 03:04:05.25 -0530 -0530",
        ),
        (
            "{{ toDate `02/Jan/2006:15:04:05 -0700` `27/Nov/2026:10:00:00 +0100` | date `15:04 MST` }}",
            "09:00 UTC",
        ),
        (
            "{{ toDate `2006-01-02 MST` `2021-01-02 CET` }}, {{ toDate `2006-002` `2021-045` }}",
            "2021-01-02 00:00:00 +0000 CET, 2021-02-14 00:00:00 +0000 UTC",
        ),
        (
            "{{ toDate `2006-01-02` `2021-1-2` }}, {{ (toDate `2006-01-02` `2021-01-02 x`).IsZero }}",
            "0001-01-01 00:00:00 +0000 UTC, true",
        ),
        (
            "{{ toDateInZone `2006-01-02 15:04` `Europe/Berlin` `2021-06-01 12:00` }}",
            "2021-06-01 12:00:00 +0200 CEST",
        ),
        (
            "{{ toDateInZone `2006-01-02 15:04` `Europe/Berlin` `2021-06-01 12:00` | unixEpoch }}",
            "1622541600",
        ),
        (
            "{{ toDateInZone `2006-01-02 15:04` `Nowhere` `2021-06-01 12:00` | date `15:04 MST` }}",
            "12:00 UTC",
        ),
    ] {
        assert_eq!(rendered(template).as_deref(), Ok(want), "{template}");
    }
}

#[test]
fn times_have_the_methods_of_go() {
    for (template, want) in [
        (
            "{{ __timestamp__.Year }} {{ (__timestamp__).Month }} {{ __timestamp__.Weekday }} {{ __timestamp__.UnixMilli }}",
            "1970 January Thursday 1500",
        ),
        (
            "{{ printf `%v %d %s` __timestamp__.Month __timestamp__.Month __timestamp__.Year }}",
            "January 1 %!s(int=1970)",
        ),
        (
            "{{ eq __timestamp__.Month 1 }} {{ lt __timestamp__.Hour 6 }} {{ add __timestamp__.Month 1 }}",
            "true true 2",
        ),
        (
            "{{ with __timestamp__ }}{{ .UTC.Year }} {{ .Format `15:04` }}{{ end }} {{ $t := __timestamp__ }}{{ $t.Second }}",
            "1970 00:00 1",
        ),
        (
            "{{ __timestamp__.Truncate 1000000000 }} {{ (__timestamp__.Add 5).Nanosecond }}",
            "1970-01-01 00:00:01 +0000 UTC 500000005",
        ),
        (
            "{{ __timestamp__.Sub (unixToTime `0000000000`) }} {{ (__timestamp__.Sub (unixToTime `0000000000`)).Seconds }}",
            "1.5s 1.5",
        ),
        (
            "{{ __timestamp__.Before now }} {{ (toDateInZone `2006-01-02 15` `Europe/Berlin` `2021-06-01 12`).Format `15 MST -07` }}",
            "true 12 CEST +02",
        ),
    ] {
        assert_eq!(rendered(template).as_deref(), Ok(want), "{template}");
    }
    for (template, told) in [
        ("{{ __timestamp__.Format }}", "wrong number of args for Format: want 1 got 0"),
        ("{{ __timestamp__.Nope }}", "can't evaluate field Nope in type time.Time"),
        ("{{ .msg.Year }}", "can't evaluate field Year in type string"),
        ("{{ .msg.Year 5 }}", "Year is not a method but has arguments"),
    ] {
        let why = rendered(template).unwrap_err();
        assert!(why.ends_with(told), "{template}: {why}");
    }
}

#[test]
fn printf_writes_as_go_does() {
    for (template, want) in [
        ("{{ printf `%05s|%-5d|%5t|%v|%5q` `a` 5 true nil `a` }}", "0000a|5    | true|<nil>|  \"a\""),
        (
            "{{ printf `%q %+q %#q` \"a\\tb\\x01é\\u200b\" `é😀` `a` }}",
            r#""a\tb\x01é\u200b" "\u00e9\U0001f600" `a`"#,
        ),
        ("{{ printf `%q %q %+q %q` 65 10 233 39 }}", r"'A' '\n' '\u00e9' '\''"),
        ("{{ printf `%5d|%-5d|%+5d` `a` `b` true }}", "%!d(string=    a)|%!d(string=b    )|%!d(bool= true)"),
        ("{{ printf `%x|%#x|% X|%.1x` `hi` `hi` `hi` `hi` }}", "6869|0x6869|68 69|68"),
        (
            "{{ printf `%e %E %G %08.3f %+.1f % .1f` 1e-10 1e10 1e21 -3.14159 2.0 2.0 }}",
            "1.000000e-10 1.000000E+10 1E+21 -003.142 +2.0  2.0",
        ),
        (
            "{{ printf `%s %v` (fromJson `[1,null,\"a\",true]`) (fromJson `[1,null]`) }}",
            "[%!s(float64=1) <nil> a %!s(bool=true)] [1 <nil>]",
        ),
        ("{{ printf `%q` (fromJson `{\"a\":\"b\"}`) }}", "map[\"a\":\"b\"]"),
        (
            "{{ printf `%08b|%o|%#o|%O|%#X|%06d|%+d|% d|%.3d` 5 8 8 8 255 -5 5 5 5 }}",
            "00000101|10|010|0o10|0XFF|-00005|+5| 5|005",
        ),
        ("{{ printf `%*d|%-*d|%.*f` 5 1 5 2 2 3.14159 }}", "    1|2    |3.14"),
        ("{{ printf `%[2]d %[1]d|%[3]v` 1 2 }}", "2 1|%!v(BADINDEX)"),
        (
            "{{ printf `%d` 1 nil }} {{ printf `%d %s` 1 }} {{ printf `%` }} {{ printf `%U %#U %c` 65 65 65 }}",
            "1%!(EXTRA <nil>) 1 %!s(MISSING) %!(NOVERB) U+0041 U+0041 'A' A",
        ),
        ("{{ print nil }}", "<nil>"),
    ] {
        assert_eq!(rendered(template).as_deref(), Ok(want), "{template}");
    }
}

#[test]
fn numbers_are_read_as_go_reads_them() {
    let template = "{{ int `08` }} {{ int `1_000` }} {{ int ` 5 ` }} {{ int `-0x10` }} {{ int `0b11` }} {{ int `-5.7` }} \
                    {{ add `010` 1 }} {{ addf `1_000.5` 1 }}";
    assert_eq!(rendered(template).as_deref(), Ok("0 1000 0 -16 3 -5 9 1001.5"));
}
