//! Parts give back exactly what came in, to us and to readers of plain Parquet.

use super::*;
use arrow::array::{
    Array, AsArray, BooleanArray, Int8Array, Int64Array, TimestampNanosecondArray, UInt32Array,
};
use arrow::compute::filter_record_batch;
use arrow::util::display::array_value_to_string;
use futures::Stream;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeSet;

type Kind = (&'static str, fn(i64) -> f64);

/// Series of every kind of value and time: integers, decimals, what fits no exponent, shared times and lone ones.
fn values_of_all_kinds(part: i64) -> Batch {
    let mut batch = MetricBatch::default();
    let kinds: [Kind; 8] = [
        ("counter", |i| (i * 1_000_003) as f64),
        ("decimal", |i| i as f64 * 0.25 - 3.5),
        ("seconds", |i| (i * 37) as f64 / 1e6),
        ("thirds", |i| i as f64 / 3.0),
        ("zero", |i| if i % 2 == 0 { -0.0 } else { 0.0 }),
        ("broken", |i| if i % 5 == 0 { f64::NAN } else { i as f64 }),
        ("ends", |i| if i % 7 == 6 { stale_marker() } else { 1.0 }),
        ("huge", |i| if i == 3 { f64::INFINITY } else { 1e300 * i as f64 }),
    ];
    for (name, value) in kinds {
        batch.begin_series(&mut [("__name__", name), ("job", "a")]).unwrap();
        for i in 0..130 {
            let lone = if name == "thirds" || name == "decimal" { i * i % 13 } else { 0 };
            batch.push(NOON_MS + (part * 130 + i) * 15_000 + lone, value(i));
        }
    }
    Batch::Metrics(batch)
}

fn bits(block: &SampleBlock) -> Vec<(String, Vec<(i64, u64)>)> {
    block
        .iter()
        .map(|(labels, ts, values)| {
            let samples = ts.iter().zip(values).map(|(ts, value)| (*ts, value.to_bits()));
            (labels.to_string(), samples.collect())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bit_of_every_value_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.write(write(values_of_all_kinds(0))).await.unwrap();
    let expected = bits(&read_samples(&store, vec![]).await);
    store.flush().await.unwrap();
    assert_eq!(bits(&read_samples(&store, vec![]).await), expected);
    for matcher in [("__name__", "thirds"), ("__name__", "counter"), ("job", "a")] {
        let some = bits(&read_samples(&store, vec![Matcher::equal(matcher.0, matcher.1)]).await);
        let of_it = |one: &&(String, _)| matcher.0 == "job" || one.0.starts_with(matcher.1);
        assert_eq!(some, expected.iter().filter(of_it).cloned().collect::<Vec<_>>());
    }
    // Merged with later samples of the same series.
    store.write(write(values_of_all_kinds(1))).await.unwrap();
    let expected = bits(&read_samples(&store, vec![]).await);
    store.flush().await.unwrap();
    assert_eq!(store.compact().await.unwrap().parts, 1);
    assert_eq!(bits(&read_samples(&store, vec![]).await), expected);

    // A window in the middle, by way of timelines and of times in the file.
    let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
    let range = TimeRange { start: NOON_MS + 15_000 * 20, end: NOON_MS + 15_000 * 30 };
    let window = bits(&snapshot.samples(&SeriesSelect { matchers: vec![], range }).await.unwrap());
    let cut: Vec<_> = expected
        .into_iter()
        .map(|(labels, samples)| {
            (labels, samples.into_iter().filter(|(ts, _)| range.contains(*ts)).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(window, cut);
}

/// FORMAT.md's expression for readers of the file alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_say_the_values_without_us() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.write(write(values_of_all_kinds(0))).await.unwrap();
    let block = read_samples(&store, vec![]).await;
    store.flush().await.unwrap();
    let file = std::fs::File::open(&damage::parts(dir.path(), ".parquet")[0]).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let (mut times, mut values) = (vec![], vec![]);
    for batch in reader {
        let batch = batch.unwrap();
        let integers = |name: &str| {
            batch.column_by_name(name).unwrap().as_any().downcast_ref::<Int64Array>().unwrap().clone()
        };
        let (ts, mantissa, base) = (integers("ts"), integers("mantissa"), integers("base"));
        let exp = batch.column_by_name("exp").unwrap().as_any().downcast_ref::<Int8Array>().unwrap();
        let floats =
            batch.column_by_name("value_f64").unwrap().as_primitive::<arrow::datatypes::Float64Type>();
        for row in 0..batch.num_rows() {
            let scaled =
                || (base.value(row) - mantissa.value(row)) as f64 / 10f64.powi(i32::from(exp.value(row)));
            values.push(if floats.is_valid(row) { floats.value(row) } else { scaled() }.to_bits());
            times.push(ts.value(row));
        }
    }
    assert_eq!(times, block.ts_ms);
    assert_eq!(values, block.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_are_known_without_their_series() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.write(write(samples("up", 0..3, 0..10))).await.unwrap();
    store.write(write(samples("down", 2..5, 20..30))).await.unwrap();
    let all = SeriesSelect { matchers: vec![], range: TimeRange::ALL };
    let up = SeriesSelect { matchers: vec![Matcher::equal("__name__", "up")], ..all.clone() };
    let late = SeriesSelect { range: TimeRange { start: NOON_MS + 15_000, end: i64::MAX }, ..all.clone() };
    for flushed in [false, true] {
        if flushed {
            store.flush().await.unwrap();
        }
        let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
        let values = async |name: &str, select: &SeriesSelect| -> Vec<String> {
            snapshot.label_values(name, select, &Unbounded).await.unwrap().into_iter().collect()
        };
        assert_eq!(values("instance", &all).await, ["i0", "i1", "i2", "i3", "i4"], "{flushed}");
        assert_eq!(values("instance", &up).await, ["i0", "i1", "i2"], "{flushed}");
        assert_eq!(values("instance", &late).await, ["i2", "i3", "i4"], "{flushed}");
        assert_eq!(values("absent", &all).await, Vec::<String>::new());
        let names = snapshot.label_names(&up, &Unbounded).await.unwrap();
        assert_eq!(names, BTreeSet::from(["__name__".to_owned(), "instance".to_owned()]));
    }
}

pub(super) fn rich(from: i64) -> [Batch; 2] {
    let attributes = |i: i64| -> Attributes {
        let mut attributes = vec![("http.route".to_owned(), Value::from("/cart"))];
        if i % 2 == 0 {
            attributes.push(("code".into(), Value::Int(i)));
            attributes.push(("ratio".into(), Value::Double(i as f64 / 3.0)));
        }
        if i % 3 == 0 {
            attributes.push(("http.route".into(), Value::from("twice")));
            attributes.push(("list".into(), Value::Json("[1,\"x\"]".into())));
        }
        if i % 50 == 0 {
            attributes.insert(0, (format!("rare.{i}"), Value::Bytes(vec![1, 2])));
        }
        attributes
    };
    let resource = |service: &str| -> Attributes {
        vec![
            ("service.name".into(), service.into()),
            ("k8s.pod.name".into(), format!("{service}-1").into()),
            ("n".into(), Value::Int(1)),
        ]
    };
    let records = |service: &str| {
        let record = |i: i64| LogRecord {
            ts_ns: NOON_NS + (from + i * 7 % 100) * 1_000,
            severity: (i % 25) as u8,
            body: format!("{service} line {i} took {}ms", i % 7),
            trace_id: (i % 2 == 0).then_some([i as u8 + 1; 16]),
            attributes: attributes(i),
            ..LogRecord::default()
        };
        LogStream {
            labels: Labels::from_pairs([("service_name", service)]),
            resource: resource(service),
            records: (0..150).map(record).collect(),
        }
    };
    let span = |i: i64| Span {
        trace_id: [(i % 20) as u8 + 1; 16],
        span_id: (i + 1).to_be_bytes(),
        parent_span_id: (i % 4 > 0).then_some(i.to_be_bytes()).filter(|id| *id != [0; 8]),
        trace_state: if i % 9 == 0 { "a=b".into() } else { String::new() },
        start_ns: NOON_NS + (from + i * 11 % 150) * 1_000,
        duration_ns: i * 1_000,
        name: format!("GET /{}", i % 5),
        kind: SpanKind::from_number((i % 6) as i32),
        status: StatusCode::from_number((i % 3) as i32),
        status_message: if i % 3 == 2 { "deadline".into() } else { String::new() },
        attributes: attributes(i).into(),
        events: (0..i % 3)
            .map(|n| SpanEvent {
                ts_ns: NOON_NS + n,
                name: "e".into(),
                attributes: attributes(n),
                dropped_attributes: n as u32,
            })
            .collect(),
        links: (0..i % 2)
            .map(|_| SpanLink { trace_id: [9; 16], span_id: [8; 8], flags: 1, ..SpanLink::default() })
            .collect(),
        flags: 0x101,
        dropped_attributes: u32::from(i == 77),
        dropped_events: 0,
        dropped_links: 0,
    };
    let of = |service: &str, version: &str| ResourceSpans {
        resource: Arc::new(resource(service)),
        // One of three has attributes, and its group is not the first.
        scope: Scope {
            attributes: if version == "2" { attributes(3) } else { vec![] },
            schema_url: if version == "3" { "https://scope".into() } else { String::new() },
            ..Scope::named("scope", version)
        },
        schema_url: String::new(),
        dropped_attributes: u32::from(version == "3"),
        spans: (0..150).map(span).collect(),
    };
    [
        Batch::Logs(LogBatch { streams: vec![records("cart"), records("db")] }),
        Batch::Spans(SpanBatch { resources: vec![of("cart", "1"), of("db", "2"), of("cart", "3")] }),
    ]
}

/// Every row as text, sorted.
pub(super) async fn all_rows(store: &Store) -> Vec<String> {
    let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
    let logs = snapshot.logs(&LogSelect::all(TimeRange::ALL), &LogColumns::all()).await.unwrap();
    let spans = snapshot.spans(&SpanSelect::all(TimeRange::ALL), &SpanColumns::all()).await.unwrap();
    let rows = texts(logs.chain(spans)).await;
    assert!(snapshot.warnings().is_empty(), "{:?}", snapshot.warnings());
    rows
}

async fn texts(batches: impl Stream<Item = Result<RecordBatch, crate::ReadError>>) -> Vec<String> {
    let mut rows = vec![];
    for batch in batches.try_collect::<Vec<RecordBatch>>().await.unwrap() {
        rows.extend((0..batch.num_rows()).map(|row| {
            let texts = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
            texts.collect::<Vec<_>>().join(" ; ")
        }));
    }
    rows.sort();
    rows
}

/// Of traces only some pages of some columns are read; what comes is the same as of a scan of everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_are_read_as_they_would_be_with_all_others() {
    // Of no other span.
    const LATE: [u8; 16] = *b"behind the first";
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for from in [0, 500_000, 40, 1, 2, 3, 4, 5] {
        for batch in rich(from) {
            store.write(write(batch)).await.unwrap();
        }
        for service in ["cart", "bank"] {
            store.write(write(spans(service, 255))).await.unwrap();
        }
        // Its rows lie behind the first page, once the parts are one.
        let [_, Batch::Spans(mut late)] = rich(from) else { panic!() };
        late.resources = vec![late.resources.swap_remove(1)];
        late.resources[0].spans.iter_mut().for_each(|span| span.trace_id = LATE);
        store.write(write(Batch::Spans(late))).await.unwrap();
        store.flush().await.unwrap();
    }
    let check = async || {
        let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
        let range = TimeRange { start: NOON_NS, end: NOON_NS + 100_000 };
        for (columns, range) in [
            (SpanColumns::all(), TimeRange::ALL),
            (SpanColumns::all(), range),
            (SpanColumns::named(&["name", "attributes"]), TimeRange::ALL),
            (SpanColumns::named(&["trace_id", "flags", "links"]), range),
        ] {
            let mut with_id = columns.0.clone();
            with_id.extend(SpanColumns::named(&["trace_id"]).0);
            with_id.sort_unstable();
            with_id.dedup();
            let all = snapshot.spans(&SpanSelect::all(range), &SpanColumns(with_id.clone())).await.unwrap();
            let all: Vec<RecordBatch> = all.try_collect().await.unwrap();
            for ids in [vec![[1u8; 16]], vec![LATE], vec![[3; 16], [4; 16], [200; 16]], vec![[0; 16]]] {
                let select = SpanSelect { trace_ids: ids.clone(), ..SpanSelect::all(range) };
                let found = texts(snapshot.spans(&select, &columns).await.unwrap()).await;
                let expected = all.iter().map(|batch| {
                    let own = batch.column_by_name("trace_id").unwrap().as_fixed_size_binary();
                    let mask: BooleanArray =
                        own.iter().map(|id| Some(ids.iter().any(|other| id == Some(&other[..])))).collect();
                    let places: Vec<usize> = columns
                        .0
                        .iter()
                        .map(|column| with_id.iter().position(|other| other == column).unwrap())
                        .collect();
                    Ok(filter_record_batch(batch, &mask).unwrap().project(&places).unwrap())
                });
                let what = format!("{ids:?} {columns:?} {:?}", snapshot.warnings());
                assert_eq!(found, texts(futures::stream::iter(expected)).await, "{what}");
            }
        }
        assert!(snapshot.warnings().is_empty(), "{:?}", snapshot.warnings());
    };
    check().await;
    store.compact().await.unwrap();
    check().await;
}

/// Pages say which times they have, so that a short range is not looked for in all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_range_of_spans_is_all_that_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for from in (0..20).map(|from| from * 1_000) {
        let [_, spans] = rich(from);
        store.write(write(spans)).await.unwrap();
        store.flush().await.unwrap();
    }
    store.compact().await.unwrap();
    let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
    let columns = SpanColumns::named(&["start_ts", "span_id", "name"]);
    let read = async |range| {
        let stream = snapshot.spans(&SpanSelect::all(range), &columns).await.unwrap();
        stream.try_collect::<Vec<RecordBatch>>().await.unwrap()
    };
    let all = read(TimeRange::ALL).await;
    for (from, to) in [(0, 0), (0, 999), (5_000, 5_040), (7_149, 12_001), (18_999, 30_000), (40_000, 50_000)]
    {
        let range = TimeRange { start: NOON_NS + from * 1_000, end: NOON_NS + to * 1_000 };
        let within = all.iter().map(|batch| {
            let times: &TimestampNanosecondArray = batch.column_by_name("start_ts").unwrap().as_primitive();
            let mask: BooleanArray = times.iter().map(|ts| ts.map(|ts| range.contains(ts))).collect();
            Ok(filter_record_batch(batch, &mask).unwrap())
        });
        let expected = texts(futures::stream::iter(within)).await;
        let found = texts(futures::stream::iter(read(range).await.into_iter().map(Ok))).await;
        assert_eq!(found, expected, "{range:?}");
        assert_eq!(found.is_empty(), from == 40_000, "{range:?}");
    }
    assert!(snapshot.warnings().is_empty(), "{:?}", snapshot.warnings());
}

/// Runs count their errors, so that those without are not read; each row comes from another part, and so does its word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_found_in_every_run_of_a_merged_part() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for failing in ["a", "b", "c", "d"] {
        // In each part the failed ones are of another service, and the words in another order.
        for service in ["a", "b", "c", "d"] {
            let Batch::Spans(mut batch) = spans(service, 9) else { panic!() };
            for (at, span) in batch.resources[0].spans.iter_mut().enumerate() {
                span.start_ns += i64::from(failing.as_bytes()[0]) * 1_000;
                span.status = match (service == failing, at % 2) {
                    (true, 0) => StatusCode::Error,
                    (_, at) => StatusCode::from_number(at as i32),
                };
            }
            store.write(write(Batch::Spans(batch))).await.unwrap();
        }
        store.flush().await.unwrap();
    }
    store.compact().await.unwrap();
    let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
    let select = SpanSelect { errors_only: true, ..SpanSelect::all(TimeRange::ALL) };
    let found = snapshot.spans(&select, &SpanColumns::named(&["service"])).await.unwrap();
    let found = texts(found).await;
    for service in ["a", "b", "c", "d"] {
        assert_eq!(found.iter().filter(|own| *own == service).count(), 5, "{service}: {found:?}");
    }
}

/// One attribute as a column says what the map of all says, in memory, in parts where it has a column of its own or has not,
/// and of shares each row once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_and_shares_are_what_the_whole_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let check = async |names: &[&str]| {
        let of_spans = names.iter().map(|name| SpanField::Span((*name).into()));
        let of_resources = ["k8s.pod.name", "n", "nowhere"].map(|name| SpanField::Resource(name.into()));
        let attributes: Vec<SpanField> = of_spans.chain(of_resources).collect();
        let fields = [&attributes[..], &[SpanField::Resources, SpanField::Root]].concat();
        let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
        let rooted = rooted(&*snapshot).await;
        let search =
            snapshot.root_search(TimeRange::ALL, TimeRange::ALL, ("no", "root")).await.unwrap().unwrap();
        let columns = ["span_id", "attributes", "attribute_types", "resource", "resource_types", "trace_id"];
        let all =
            snapshot.spans(&SpanSelect::all(TimeRange::ALL), &SpanColumns::named(&columns)).await.unwrap();
        let mut expected = vec![];
        for batch in all.try_collect::<Vec<RecordBatch>>().await.unwrap() {
            let text = |column: &str, row| array_value_to_string(&batch[column], row).unwrap();
            for row in 0..batch.num_rows() {
                let found = attributes.iter().map(|field| {
                    let (map, name) = match field {
                        SpanField::Resource(name) => ("resource", name),
                        SpanField::Span(name) => ("attributes", name),
                        other => unreachable!("{other:?} is no attribute"),
                    };
                    let types =
                        batch.column_by_name(&format!("{}_types", map.trim_end_matches('s'))).unwrap();
                    let of_row = batch.column_by_name(map).unwrap().as_map().value(row);
                    let at =
                        of_row.column(0).as_string::<i32>().iter().position(|own| own == Some(name.as_str()));
                    at.map_or(" 0".to_owned(), |at| {
                        let text = of_row.column(1).as_string::<i32>().value(at);
                        format!("{text} {}", types.as_binary::<i32>().value(row)[at])
                    })
                });
                let found = found.collect::<Vec<_>>().join(" ");
                let [id, resource, types, trace] =
                    ["span_id", "resource", "resource_types", "trace_id"].map(|column| text(column, row));
                let root = &rooted[&trace];
                expected.push(format!("{id} {found} {{attributes: {resource}, types: {types}}} {root}"));
            }
        }
        expected.sort();
        for of in [1, 2, 3] {
            let mut found = vec![];
            let mut shares = vec![];
            for at in 0..of {
                shares.push(search.share((at, of)).await);
            }
            let roots = Arc::new(search.finish(shares));
            assert_eq!(roots.begun, rooted.len());
            for at in 0..of {
                let select = SpanSelect {
                    fields: fields.clone(),
                    share: Some((at, of)),
                    ..SpanSelect::all(TimeRange::ALL)
                };
                let rows = snapshot.spans_rooted(&select, &SpanColumns::named(&["span_id"]), &roots).await;
                for batch in rows.unwrap().try_collect::<Vec<RecordBatch>>().await.unwrap() {
                    let (root, others) = batch.columns().split_last().unwrap();
                    let numbers: &UInt32Array = root.as_primitive();
                    found.extend((0..batch.num_rows()).map(|row| {
                        let mut texts: Vec<String> =
                            others.iter().map(|column| array_value_to_string(column, row).unwrap()).collect();
                        let root = roots.names.get(numbers.value(row));
                        texts.push(root.map_or("?".into(), |(service, name)| format!("{service} {name}")));
                        texts.join(" ")
                    }));
                }
            }
            found.sort();
            assert_eq!(found, expected, "{of} {:?}", snapshot.warnings());
        }
    };
    // Of some of these a row group has other columns to read than flat ones.
    let check_all = async || {
        check(&["code", "http.route", "list", "rare.0", "nowhere"]).await;
        check(&["code", "http.route", "list"]).await;
    };
    for from in [0, 500_000] {
        for batch in rich(from).map(|batch| repeated(batch, 15)) {
            store.write(write(batch)).await.unwrap();
        }
        check_all().await;
        store.flush().await.unwrap();
        check_all().await;
    }
    store.compact().await.unwrap();
    check_all().await;
}

/// What each trace is rooted in, as all that is known of traces says it.
async fn rooted(snapshot: &dyn crate::Snapshot) -> std::collections::HashMap<String, String> {
    let facts = snapshot.trace_facts(TimeRange::ALL, (0, 1)).await.unwrap().unwrap();
    let slices: Vec<Vec<crate::TraceFact>> = facts.slices.collect().await;
    let told = slices.into_iter().flatten().map(|fact| {
        let root = match fact.root {
            crate::Root::None => "no root".to_owned(),
            crate::Root::One(number) => {
                facts.roots.get(number).map(|(service, name)| format!("{service} {name}")).unwrap()
            }
            crate::Root::Uncertain => "?".into(),
        };
        (hex::encode(fact.id), root)
    });
    told.collect()
}

/// The spans so many times, each time in other traces and later.
fn repeated(batch: Batch, times: i64) -> Batch {
    let Batch::Spans(mut batch) = batch else { return batch };
    for resource in &mut batch.resources {
        let later = |n: i64| {
            resource.spans.iter().cloned().map(move |mut span| {
                span.trace_id[0] ^= n as u8;
                span.start_ns += n * 1_000_000;
                span
            })
        };
        resource.spans = (0..times).flat_map(later).collect();
    }
    Batch::Spans(batch)
}

/// What the test of a column rules out is not read, and nothing else is missing, wherever the columns lie.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_spans_come_that_pass_a_test() {
    // One of so many rows, by what its columns say but the id, which only the answer has.
    fn passing(batch: &RecordBatch, every: usize) -> Vec<bool> {
        let fields = batch.schema_ref().fields().iter().zip(batch.columns());
        let own: Vec<_> = fields.filter(|(field, _)| field.name() != "span_id").collect();
        let passes = |row: usize| {
            let texts = own.iter().map(|(_, column)| array_value_to_string(column, row).unwrap());
            texts.flat_map(String::into_bytes).map(usize::from).sum::<usize>().is_multiple_of(every)
        };
        (0..batch.num_rows()).map(passes).collect()
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let check = async |in_memory: bool| {
        let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
        for (columns, attributes) in [
            (vec!["duration_ns"], vec![]),
            (vec!["kind", "service"], vec!["code"]),
            (vec!["trace_state"], vec!["nowhere"]),
            (vec!["name", "events"], vec!["rare.0"]),
            (vec![], vec!["http.route", "list"]),
        ] {
            for (every, errors_only) in
                [1, 2, 7, 100, usize::MAX].into_iter().flat_map(|n| [(n, false), (n, true)])
            {
                let columns = [&columns[..], &["status"]].concat();
                let own = attributes.iter().map(|name| SpanField::Span((*name).to_owned()));
                let fields: Vec<SpanField> = own.chain([SpanField::Resource("n".into())]).collect();
                let test = SpanTest {
                    columns: SpanColumns::named(&columns),
                    fields: fields.clone(),
                    passing: Arc::new(move |batch: &RecordBatch| passing(batch, every)),
                };
                let select = SpanSelect { errors_only, fields, ..SpanSelect::all(TimeRange::ALL) };
                let columns = SpanColumns::named(&[&columns[..], &["span_id"]].concat());
                let wanted = |batch: RecordBatch| {
                    let passing = passing(&batch, every);
                    let status = batch.column_by_name("status").unwrap();
                    let fits = |row: usize| {
                        passing[row]
                            && (!errors_only || array_value_to_string(status, row).unwrap() == "error")
                    };
                    let mask: BooleanArray = (0..batch.num_rows()).map(|row| Some(fits(row))).collect();
                    Ok(filter_record_batch(&batch, &mask).unwrap())
                };
                let all = snapshot.spans(&select, &columns).await.unwrap();
                let all: Vec<RecordBatch> = all.try_collect().await.unwrap();
                let found = snapshot.spans_passing(&select, &columns, &test).await.unwrap();
                let found: Vec<RecordBatch> = found.try_collect().await.unwrap();
                let rows: usize = found.iter().map(RecordBatch::num_rows).sum();
                assert_eq!(
                    texts(futures::stream::iter(found.into_iter().map(wanted))).await,
                    texts(futures::stream::iter(all.into_iter().map(wanted))).await,
                    "{columns:?} {every} {errors_only} {:?}",
                    snapshot.warnings()
                );
                assert!(in_memory || every < usize::MAX || rows == 0, "{columns:?}: {rows} rows");
            }
        }
    };
    for from in [0, 500_000, 40, 1, 2, 3] {
        let [_, spans] = rich(from);
        store.write(write(spans)).await.unwrap();
        if from == 500_000 {
            check(true).await;
        }
        store.flush().await.unwrap();
    }
    check(false).await;
    store.compact().await.unwrap();
    check(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_the_same_in_memory_in_parts_and_after_a_merge() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for batch in rich(0) {
        store.write(write(batch)).await.unwrap();
    }
    let expected = all_rows(&store).await;
    assert_eq!(expected.len(), 750);
    killed(store).await;
    let store = open(dir.path()).await;
    assert_eq!(all_rows(&store).await, expected, "from the log");
    store.flush().await.unwrap();
    assert_eq!(all_rows(&store).await, expected);
    for from in [50, 5_000] {
        for batch in rich(from) {
            store.write(write(batch)).await.unwrap();
        }
        store.flush().await.unwrap();
    }
    let expected = all_rows(&store).await;
    assert_eq!(store.compact().await.unwrap().parts, 2);
    assert_eq!(all_rows(&store).await, expected);
    killed(store).await;
    assert_eq!(all_rows(&*open(dir.path()).await).await, expected);
}

/// What no span says is not read, and comes back all the same; what one of many says is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_with_nothing_in_them_are_left_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let blank = async |expected: [bool; 4]| {
        let rows = all_rows(&store).await;
        store.flush().await.unwrap();
        store.compact().await.unwrap();
        assert_eq!(all_rows(&store).await, rows);
        let part = store.state.read().parts.values().flatten().next().unwrap().clone();
        let index = part.rows_index().await.unwrap();
        assert_eq!(["trace_state", "status_message", "events", "links"].map(|c| index.is_blank(c)), expected);
    };
    store.write(write(spans("cart", 9))).await.unwrap();
    blank([true, true, false, true]).await;
    let Batch::Spans(mut batch) = spans("db", 9) else { panic!() };
    let span = &mut batch.resources[0].spans[4];
    span.trace_state = "ot=th:c".into();
    span.links = vec![SpanLink { trace_id: [9; 16], span_id: [8; 8], ..SpanLink::default() }];
    store.write(write(Batch::Spans(batch))).await.unwrap();
    blank([false, true, false, false]).await;
    assert!(!store.state.read().parts.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_gives_the_log_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for batch in rich(0) {
        store.write(write(batch)).await.unwrap();
    }
    assert!(store.wal.bytes() > 10_000);
    store.flush().await.unwrap();
    assert_eq!(store.wal.bytes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_another_version_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.write(write(samples("up", 0..2, 0..3))).await.unwrap();
    store.flush().await.unwrap();
    killed(store).await;
    let path = &damage::parts(dir.path(), ".idx")[0];
    let mut bytes = std::fs::read(path).unwrap();
    bytes[7] = b'1';
    std::fs::write(path, bytes).unwrap();
    let store = open(dir.path()).await;
    let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
    let all = SeriesSelect { matchers: vec![], range: TimeRange::ALL };
    assert!(snapshot.samples(&all).await.unwrap().labels.is_empty());
    assert!(snapshot.warnings()[0].contains("version '1'"), "{:?}", snapshot.warnings());
}

/// Text lines lie as templates and values, JSON as columns, with times that are the record's or nearly so.
fn lines_of_kinds(from: i64) -> Batch {
    let record = |n: i64| {
        let ts_ns = NOON_NS + (from + n) * 1_234_567;
        let clock = |ts_ns: i64| {
            chrono::DateTime::from_timestamp_nanos(ts_ns).format("%Y-%m-%dT%H:%M:%S%.3f").to_string()
        };
        let id = format!("{:032x}", (n + from + 1) as u128 * 0x1357_9bdf_0246_8ace_1357);
        let body = match n % 4 {
            0 => format!("{} INFO  [exec-{n}] part {from} took {}ms id={id}", clock(ts_ns), n % 7),
            1 => format!("{{\"ts\":\"{}Z\",\"msg\":\"done {n}\",\"id\":\"{id}\"}}", clock(ts_ns)),
            2 => format!("{{\"ts\":\"{}Z\",\"msg\":\"late\"}}", clock(ts_ns - n * 1_000_000)),
            _ => format!("10.0.{n}.{} - GET /v1/items/{n} 0.{:03}\nat x({n})", n % 250, n % 1_000),
        };
        LogRecord { ts_ns, body, ..LogRecord::default() }
    };
    let labels = Labels::from_pairs([("app", "mixed")]);
    let stream = LogStream { labels, resource: vec![], records: (0..400).map(record).collect() };
    Batch::Logs(LogBatch { streams: vec![stream] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_found_by_any_part_wherever_they_lie() {
    found_wherever_they_lie(WordBounds::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_found_though_their_words_are_too_many_for_the_index() {
    let all = WordBounds { page: usize::MAX, piece: usize::MAX, part: usize::MAX };
    found_wherever_they_lie(WordBounds { page: 2_000, ..all }).await;
    found_wherever_they_lie(WordBounds { piece: 0, part: 0, ..all }).await;
}

async fn found_wherever_they_lie(words: WordBounds) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Config { words, ..config(dir.path()) }, clock()).await.unwrap();
    let all = LogSelect::all(TimeRange::ALL);
    store.write(write(lines_of_kinds(0))).await.unwrap();
    let id = format!("{:032x}", 9u128 * 0x1357_9bdf_0246_8ace_1357);
    let needles = [
        "took",
        "1 took",
        "INFO  [exec-8] part",
        &id,
        &id[5..],
        "12:00:00.0",
        ".123 ",
        "Z\",\"msg\":\"late",
        "x(3",
        "nowhere",
    ];
    // A boundary of words has no automaton: whole lines are looked at.
    let regexes = [
        "took [0-9]+ms$",
        "^2026-.*exec-[35]\\]",
        r"12:00:0\d\.[13]",
        "\"msg\":\"(late|order [0-9]*7)",
        "[89a]f[0-9a-f]{3}",
        r"(?i)INFO|warn",
        "^$|^x",
        r"\bexec\b",
        r"\w{12}\s?(\w{7}\s){2}|took",
    ];
    let check = async |expected: &[String]| {
        assert_eq!(bodies(&store, &all).await, expected);
        for needle in needles {
            let wanted: Vec<&String> = expected.iter().filter(|line| line.contains(needle)).collect();
            // Twice: the second time the pages are there decoded.
            for _ in 0..2 {
                let select = LogSelect { contains: vec![needle.to_owned()], ..all.clone() };
                assert_eq!(bodies(&store, &select).await.iter().collect::<Vec<_>>(), wanted, "{needle}");
            }
        }
        for regex in regexes.map(|regex| regex::Regex::new(regex).unwrap()) {
            for negated in [false, true] {
                let wanted: Vec<&String> =
                    expected.iter().filter(|line| regex.is_match(line) != negated).collect();
                let patterns = vec![LinePattern { regex: regex.clone(), negated }];
                let select = LogSelect { patterns, ..all.clone() };
                let found = bodies(&store, &select).await;
                assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{regex} {negated}");
                let select = LogSelect { contains: vec!["1".into()], ..select };
                let found = bodies(&store, &select).await.len();
                assert_eq!(
                    found,
                    wanted.iter().filter(|line| line.contains('1')).count(),
                    "{regex} {negated} 1"
                );
            }
        }
    };
    let expected = bodies(&store, &all).await;
    check(&expected).await;
    store.flush().await.unwrap();
    check(&expected).await;
    store.write(write(lines_of_kinds(400))).await.unwrap();
    store.flush().await.unwrap();
    let expected = bodies(&store, &all).await;
    assert_eq!(expected.len(), 800);
    assert_eq!(store.compact().await.unwrap().parts, 1);
    check(&expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_logs_of_versions_before_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let written = [r#"{"level":"info","msg":"one"}"#, r#"{"level":"warn","msg":"two"}"#];
    store.write(write(lines("web", &written, 0))).await.unwrap();
    store.flush().await.unwrap();
    killed(store).await;
    let path = &damage::parts(dir.path(), ".idx")[0];
    let raw = crate::side_index::open("BNCLROW", b'9', &std::fs::read(path).unwrap()).unwrap();
    let two = LogSelect { contains: vec!["two".into()], ..LogSelect::all(TimeRange::ALL) };
    for version in *b"85" {
        // What they say of words is not looked at, and nothing is taken as absent for want of it.
        std::fs::write(path, crate::side_index::seal("BNCLROW", version, &[&raw]).unwrap()).unwrap();
        let store = open(dir.path()).await;
        assert_eq!(bodies(&store, &two).await, written[1..]);
        killed(store).await;
    }
    // What was added then ends it: no templates, no words, no forms.
    let before = raw.strip_suffix(&[0; 12]).unwrap();
    std::fs::write(path, crate::side_index::seal("BNCLROW", b'4', &[before]).unwrap()).unwrap();
    let store = open(dir.path()).await;
    let all = LogSelect::all(TimeRange::ALL);
    assert_eq!(bodies(&store, &all).await, written);
    store.write(write(lines("web", &["2026 text 1", "2026 text 2"], 9))).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.compact().await.unwrap().parts, 1);
    assert_eq!((bodies(&store, &two).await.len(), bodies(&store, &all).await.len()), (1, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_in_memory_are_those_used_last_and_those_that_went_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let one_index = {
        let store = open(dir.path()).await;
        for name in ["a", "b", "c"] {
            store.write(write(samples(name, 0..20, 0..10))).await.unwrap();
            store.flush().await.unwrap();
        }
        read_samples(&store, vec![]).await;
        assert_eq!(store.indexes.parts(), [1, 2, 3]);
        let bytes = store.indexes.bytes() / 3;
        killed(store).await;
        bytes
    };
    let config = Config { index_bytes_max: one_index * 5 / 2, ..config(dir.path()) };
    let store = Store::open(config, clock()).await.unwrap();
    for (name, held) in [("a", vec![1]), ("b", vec![1, 2]), ("a", vec![1, 2]), ("c", vec![1, 3])] {
        // Only the part of one name is asked for its samples; all are asked for the name.
        let part = store.state.read().parts.values().flatten().cloned().collect::<Vec<_>>();
        let part = &part[["a", "b", "c"].iter().position(|known| *known == name).unwrap()];
        assert_eq!(part.metrics_index().await.unwrap().len(), 20);
        assert_eq!(store.indexes.parts(), held, "after {name}");
    }
    assert_eq!(read_samples(&store, vec![]).await.values.len(), 600);
    store.compact().await.unwrap();
    assert!(store.indexes.parts().iter().all(|part| *part > 3), "those of merged parts are gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_uuid_is_found_in_the_one_page_that_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let uuid = |n: usize| format!("{n:08x}-e29b-41d4-a716-{:012x}", n * 7919);
    let line = |n: usize| match n % 3 {
        0 => format!(r#"{{"level":"info","request_id":"{}","n":{n}}}"#, uuid(n)),
        1 => format!("request {} is done after {n}ms", uuid(n)),
        // Letters go on before and behind it.
        _ => format!("request-id=ff{}ff, {n}", uuid(n)),
    };
    let lines_of: Vec<String> = (0..9_000).map(line).collect();
    let texts: Vec<&str> = lines_of.iter().map(String::as_str).collect();
    store.write(write(lines("web", &texts, 0))).await.unwrap();
    for is_merged in [false, true] {
        store.flush().await.unwrap();
        if is_merged {
            store.compact().await.unwrap();
        }
        for n in [0, 1, 2, 4_500, 8_998] {
            let select = LogSelect { contains: vec![uuid(n)], ..LogSelect::all(TimeRange::ALL) };
            assert_eq!(bodies(&store, &select).await, [lines_of[n].clone()], "{n}");
            let part = store.state.read().parts.values().flatten().next().cloned().unwrap();
            assert!(part.rows_index().await.unwrap().rows_to_look_at(&select) <= 4_096, "{n}");
        }
        let none = LogSelect { contains: vec![uuid(9_000)], ..LogSelect::all(TimeRange::ALL) };
        assert!(bodies(&store, &none).await.is_empty());
    }
}
