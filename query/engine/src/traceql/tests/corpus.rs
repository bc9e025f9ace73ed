//! The public corpus of queries, each over traces that are made of the names and values that it asks for: what a search finds,
//! which reads as little as it can, is what the pipeline finds in every trace, read whole.

use super::*;
use crate::traceql::search::fields_of;
use crate::traceql::trace::Trace;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use traceql::{Element, Field, FieldExpr, Pipeline, Scope, SpansetExpr, Static};

const TRACES: u8 = 14;

fn corpus() -> Vec<String> {
    let root = std::env::var_os("BINNACLE_SHARED")
        .map(std::path::PathBuf::from)
        .unwrap_or_else(|| std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let mut queries = vec![];
    for file in ["traceql_cases", "traceql_doc_queries"] {
        let path = root.join(format!("suites/data/tempo/{file}.jsonl"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            queries.extend(row["query"].as_str().map(str::to_owned));
        }
    }
    // What reads the whole trace, and what is sought by its words, where few match.
    queries.extend(
        [
            "{ traceDuration > 3s }",
            "{ traceDuration < 1s && .a = 1 }",
            r#"{ rootServiceName = "b" }"#,
            r#"{ rootName =~ "GET.*" } >> { status = error }"#,
            r#"{ rootName = "" }"#,
            "{ } | count() > 8",
            "{ .a = 1 } | count() = 3",
            r#"{ span.a =~ "b.*" }"#,
            r#"{ span.a =~ ".*" && resource.a = "b" }"#,
            r#"{ span.a =~ "b|1" && duration > 1s } || { span.b =~ "x" }"#,
            r#"{ span.a !~ "b.*" }"#,
            // What rules spans out before more of them is read.
            r#"{ .a =~ "b.*" || span.b > 1 || kind = server }"#,
            "{ span.a != nil && status != error && duration > 1ms }",
            r#"{ resource.a =~ "b|1" && status = error }"#,
            "{ span.a = nil && kind = client }",
            "{ event.a = 1 || span.b = 2 }",
            "{ event:timeSinceStart > 0ns && kind = client }",
            r#"{ span:id = "0505050505050505" || span:parentID = "0101010101010101" }"#,
            r#"{ span:id = "0505050505050505" }"#,
            r#"{ trace:id = "07070707070707070707070707070707" && kind != server }"#,
            "{ span.a = 1 } && { traceDuration > 1s }",
            "{ traceDuration > 1s && kind = client } >> { }",
            "{ span.a > 1 } && { rootName != \"\" } && { status = error }",
        ]
        .map(str::to_owned),
    );
    queries
}

/// Constants of a query, so that some spans have them.
fn constants(pipeline: &Pipeline, into: &mut Vec<Static>) {
    fn of_filter(filter: &FieldExpr, into: &mut Vec<Static>) {
        match filter {
            FieldExpr::Static(value) => into.push(value.clone()),
            FieldExpr::Field(_) => {}
            FieldExpr::Not(inner) | FieldExpr::Negate(inner) => of_filter(inner, into),
            FieldExpr::OfOne(conditions) => {
                conditions.iter().for_each(|condition| of_filter(condition, into));
            }
            FieldExpr::And(left, right)
            | FieldExpr::Or(left, right)
            | FieldExpr::Compare(_, left, right)
            | FieldExpr::Arithmetic(_, left, right) => {
                of_filter(left, into);
                of_filter(right, into);
            }
            FieldExpr::Regex { value, .. } => of_filter(value, into),
        }
    }
    fn of_spansets(expr: &SpansetExpr, into: &mut Vec<Static>) {
        match expr {
            SpansetExpr::Filter(filter) => of_filter(filter, into),
            SpansetExpr::Pipeline(pipeline) => constants(pipeline, into),
            SpansetExpr::Op { left, right, .. } => {
                of_spansets(left, into);
                of_spansets(right, into);
            }
        }
    }
    for element in &pipeline.elements {
        if let Element::Spansets(expr) = element {
            of_spansets(expr, into);
        }
    }
}

fn value(constant: &Static) -> Option<Value> {
    Some(match constant {
        Static::Text(text) => Value::String(text.clone()),
        Static::Int(number) => Value::Int(*number),
        Static::Float(number) => Value::Double(*number),
        Static::Bool(truth) => Value::Bool(*truth),
        _ => return None,
    })
}

fn some(rng: &mut StdRng, values: &[Value]) -> Value {
    values[rng.random_range(0..values.len())].clone()
}

/// Traces whose spans have, at random, the attributes that the query names with values that it names, or others.
fn traces(pipeline: &Pipeline, rng: &mut StdRng) -> SpanBatch {
    let mut fields: Vec<Field> = vec![];
    fields_of(pipeline, &mut |field| fields.push(field.clone()));
    let mut statics = vec![];
    constants(pipeline, &mut statics);
    let mut values: Vec<Value> = statics.iter().filter_map(value).collect();
    values.extend([
        Value::from("b"),
        Value::from("bar"),
        Value::Int(1),
        Value::Double(2.5),
        Value::Bool(true),
    ]);
    let names = |wanted: &[Scope]| -> Vec<String> {
        let of = |field: &Field| match field {
            Field::Attribute { scope, name } => {
                wanted.contains(&scope.at_parent().unwrap_or(*scope)).then(|| name.clone())
            }
            Field::Intrinsic(_) => None,
        };
        let named = fields.iter().filter_map(of).filter(|name| name != "service.name");
        named.chain(["a".to_owned()]).collect()
    };
    let own = names(&[Scope::Span, Scope::Any]);
    let of_resource = names(&[Scope::Resource, Scope::Any]);
    let of_event = names(&[Scope::Event]);
    let of_link = names(&[Scope::Link]);
    let mut resources = vec![];
    for trace in 1..=TRACES {
        for id in 1..=rng.random_range(1..=9u8) {
            let pick = |rng: &mut StdRng, names: &[String]| -> model::Attributes {
                let mut all = BTreeMap::new();
                for name in names {
                    if rng.random_bool(0.6) {
                        all.insert(name.clone(), some(rng, &values));
                    }
                }
                all.into_iter().collect()
            };
            // A parent that is not there, now and then.
            let parent = if id == 1 { 0 } else { rng.random_range(1..=id) };
            let parent = if rng.random_bool(0.05) { 99 } else { parent };
            let text = some(rng, &values).to_string();
            let mut one =
                span(trace, id, if parent == id { 0 } else { parent }, &text, rng.random_range(0..900), 0);
            one.duration_ns = [1_000, MS, 100 * MS, 2 * SECOND_NS, 4_000 * SECOND_NS][rng.random_range(0..5)];
            one.status = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error][rng.random_range(0..3)];
            one.kind = SpanKind::from_number(rng.random_range(0..6));
            one.attributes = pick(rng, &own).into();
            one.events = vec![SpanEvent {
                ts_ns: one.start_ns + 1,
                name: some(rng, &values).to_string(),
                attributes: pick(rng, &of_event),
                ..SpanEvent::default()
            }];
            one.links = vec![model::SpanLink {
                trace_id: [1; 16],
                span_id: [1; 8],
                attributes: pick(rng, &of_link),
                ..model::SpanLink::default()
            }];
            let mut resource = pick(rng, &of_resource);
            let service = some(rng, &values).to_string();
            resource.push(("service.name".to_owned(), Value::String(service)));
            resources.push(ResourceSpans {
                resource: Arc::new(resource),
                scope: model::Scope::named(some(rng, &values).to_string(), "1"),
                spans: vec![one],
                ..ResourceSpans::default()
            });
        }
    }
    SpanBatch { resources }
}

type Found = BTreeMap<TraceId, Vec<Vec<u8>>>;

/// In every trace, read whole.
async fn looked_through(world: &World, tenant: &Tenant, pipeline: &Pipeline) -> Found {
    let snapshot = world.engine.source.snapshot(tenant).await.unwrap();
    let scan = SpanScan { snapshot, select: SpanSelect::all(TimeRange::ALL), columns: SpanColumns::all() };
    let mut stream = execute_stream(Operator::plan(scan, vec![]), world.engine.task_context()).unwrap();
    let mut batches = vec![];
    while let Some(batch) = stream.next().await {
        batches.push(batch.unwrap());
    }
    let views: Vec<Spans<'_>> = batches.iter().map(Spans::of).collect();
    let mut traces: BTreeMap<TraceId, Vec<(&Spans<'_>, usize)>> = BTreeMap::new();
    for spans in &views {
        for row in 0..spans.len() {
            traces.entry(spans.trace_id(row)).or_default().push((spans, row));
        }
    }
    let mut found = Found::new();
    for (id, rows) in traces {
        let trace = Trace::new(rows);
        let ids = |at: &usize| trace.rows[*at].0.span_id(trace.rows[*at].1)[0];
        let sets: Vec<Vec<u8>> =
            trace.find(pipeline).iter().map(|set| set.spans.iter().map(ids).collect()).collect();
        if !sets.is_empty() {
            found.insert(id, sets);
        }
    }
    found
}

async fn searched(world: &World, tenant: &Tenant, query: &str) -> Found {
    let range = TimeRange { start: NOON_NS, end: NOON_NS + 120 * SECOND_NS };
    let options = SearchOptions { range, limit: 1_000, spans_per_spanset: 100 };
    let answer = world.engine.traceql_search(tenant, query, options).await;
    let answer = answer.unwrap_or_else(|why| panic!("{query}: {why}"));
    let sets = |trace: &FoundTrace| {
        let ids = |set: &FoundSpanset| set.spans.iter().map(|span| span.span_id[0]).collect();
        (trace.trace_id, trace.spansets.iter().map(ids).collect())
    };
    answer.traces.iter().map(sets).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_finds_what_is_in_the_traces() {
    let world = World::new().await;
    let mut rng = StdRng::seed_from_u64(5);
    let (mut asked, mut answered) = (vec![], 0);
    for query in corpus() {
        let Ok(traceql::Query { root: Root::Spansets(pipeline), .. }) = traceql::parse(&query) else {
            continue;
        };
        let tenant = Tenant::new(&format!("q{}", asked.len())).unwrap();
        let batch = Batch::Spans(traces(&pipeline, &mut rng));
        world.store.write(Write { tenant: tenant.clone(), batch, origin: None }).await.unwrap();
        asked.push((query, pipeline, tenant));
    }
    for place in ["memory", "parts"] {
        for (query, pipeline, tenant) in &asked {
            let expected = looked_through(&world, tenant, pipeline).await;
            assert_eq!(searched(&world, tenant, query).await, expected, "{query} in {place}");
            answered += usize::from(!expected.is_empty());
        }
        world.store.flush().await.unwrap();
    }
    // Else the traces have little to do with the queries.
    assert!(answered > asked.len(), "{answered} of {} twice", asked.len());
}

/// Of many traces few are answers, for what they are as a whole: the others are left out before they are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rare_traces_are_found_among_many() {
    const MANY: u16 = 3_000;
    let world = World::new().await;
    let tenant = Tenant::new("many").unwrap();
    let one = |at: u16| {
        let own = |id: u8, parent: u8, name: &str, start_ms: i64, duration_ms: i64| {
            let mut one = span(0, id, parent, name, i64::from(at) * 30 + start_ms, duration_ms);
            one.trace_id[..2].copy_from_slice(&(at + 1).to_be_bytes());
            one
        };
        // The root is told after its children, is missing, or there are two; a child may begin long after it.
        let root = match at % 100 {
            7 => own(1, 99, "lost", 0, 10),
            9 => own(1, 0, "rare", 0, 10),
            _ => own(1, 0, "usual", 0, 10),
        };
        let mut spans = vec![own(2, 1, "child", 1, 5), root];
        if at % 500 == 11 {
            spans.push(own(3, 1, "late", 20_000, 5));
        }
        if at % 700 == 13 {
            spans.extend((4..9).map(|id| own(id, 0, "second", 2, 1)));
        }
        spans
    };
    let (few, others): (Vec<u16>, Vec<u16>) = (0..MANY).partition(|at| at % 800 == 17);
    let resources = vec![
        of("shop", others.into_iter().flat_map(one).collect()),
        of("seldom", few.into_iter().flat_map(one).collect()),
    ];
    let batch = Batch::Spans(SpanBatch { resources });
    world.store.write(Write { tenant: tenant.clone(), batch, origin: None }).await.unwrap();
    for place in ["memory", "parts"] {
        for (query, count) in [
            ("{ traceDuration > 10s }", 6),
            (r#"{ rootName = "rare" && name = "child" }"#, 30),
            (r#"{ rootName = "" }"#, 30),
            (r#"{ rootServiceName =~ "sel.*" }"#, 4),
            ("{ } | count() > 4", 5),
            ("{ traceDuration > 10s } && { name = \"usual\" }", 6),
            ("{ traceDuration > 100s }", 0),
            ("{ name = \"child\" } | count() = 2", 0),
        ] {
            let Root::Spansets(pipeline) = traceql::parse(query).unwrap().root else { unreachable!() };
            let expected = looked_through(&world, &tenant, &pipeline).await;
            assert_eq!(expected.len(), count, "{query}");
            assert_eq!(searched(&world, &tenant, query).await, expected, "{query} in {place}");
        }
        world.store.flush().await.unwrap();
    }
}
