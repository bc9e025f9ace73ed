//! A log line, whatever it holds, through every stage that reads one: behind the first line break of the data, before it a
//! template. The words of a line's pattern are those of the line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use logql::{Drain, Expr, Fields, MetricExpr, Pipeline, Unwrap};
use std::sync::{Arc, LazyLock};

const QUERIES: [&str; 12] = [
    r#"{app="a"} | json"#,
    r#"{app="a"} | json a="b[0].c", d="e[\"f g\"]""#,
    r#"{app="a"} | logfmt"#,
    r#"{app="a"} | logfmt --strict --keep-empty"#,
    r#"{app="a"} | pattern "<ip> - <_> [<time>] \"<method> <path>\"""#,
    r#"{app="a"} | regexp "(?P<first>\\S+) (?P<rest>.*)""#,
    r#"{app="a"} | unpack"#,
    r#"{app="a"} | decolorize | json | level="error" or ms > 10ms or size >= 3KB or count != 7"#,
    r#"{app="a"} |> "<_>error<_>" !> "a<_>b" | logfmt | drop level | keep msg"#,
    r#"{app="a"} |= ip("192.0.2.0/24") | json | addr = ip("::1")"#,
    r#"{app="a"} | json | line_format "{{.msg | upper}} {{.a}}" | label_format b=a, c="{{.b}}""#,
    r#"sum_over_time({app="a"} | logfmt | unwrap duration_seconds(took) | __error__="" [1m])"#,
];

static PIPELINES: LazyLock<Vec<(Pipeline, Option<Unwrap>)>> =
    LazyLock::new(|| QUERIES.iter().filter_map(|query| pipeline(query)).collect());

fn pipeline(query: &str) -> Option<(Pipeline, Option<Unwrap>)> {
    match logql::parse(query).ok()? {
        Expr::Log(log) => Some((Pipeline::new(&log.stages, None, None), None)),
        Expr::Metric(MetricExpr::Range { range, .. }) => {
            Some((Pipeline::new(&range.log.stages, range.unwrap.as_ref(), None), range.unwrap))
        }
        Expr::Metric(_) => None,
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (template, line) = text.split_once('\n').unwrap_or(("", text));
    let stream = Arc::from([("app".to_owned(), "a".to_owned())]);
    let mut fields = Fields::default();
    let mut run = |pipeline: &Pipeline, unwrap: Option<&Unwrap>| {
        fields.start(&stream);
        fields.add_metadata("trace_id", "0af7");
        if pipeline.run(1_790_000_000_000_000_000, line, &mut fields).is_some()
            && let Some(unwrap) = unwrap
        {
            unwrap.value(&mut fields);
            pipeline.keeps_value(&mut fields);
        }
    };
    assert_eq!(PIPELINES.len(), QUERIES.len(), "each query is one");
    PIPELINES.iter().for_each(|(pipeline, unwrap)| run(pipeline, unwrap.as_ref()));
    if let Ok(Expr::Log(log)) = logql::parse(&format!("{{app=\"a\"}} | json | line_format {template:?}")) {
        run(&Pipeline::new(&log.stages, None, None), None);
    }
    model::level::of_line(line);
    let mut drain = Drain::default();
    if let Some(number) = drain.learn(line) {
        drain.pattern(number);
    }
    logql::line_pattern(line);
});
