use super::messages::{Chunk, ChunkedReadResponse, LabelMatcher, ReadResponse};
use super::*;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use model::*;
use store::Store;
use tower::ServiceExt;

const START: i64 = 1_700_000_000_000;

/// Times and bits of the series `number{n=0}` and `number{n=1}`; every kind of step and of value is among them.
fn numbers(n: i64) -> Vec<(i64, u64)> {
    let mut ts_ms = START;
    let steps = [15_000, 15_000, 15_001, 14_000, 30_000, 100_000, 3_000_000, 15_000];
    (0..400)
        .map(|i: i64| {
            ts_ms += steps[(i * (n + 1) % 8) as usize];
            let value = match i % 7 {
                0 => i as f64,
                1 => i as f64 / 3.0,
                2 => f64::from_bits(STALE_NAN_BITS),
                3 => f64::NEG_INFINITY,
                4 => -0.0,
                5 => f64::MIN_POSITIVE * i as f64,
                _ => 1.0,
            };
            (ts_ms, value.to_bits())
        })
        .collect()
}

fn histogram(grown: f64) -> Histogram {
    Histogram {
        schema: 3,
        hint: ResetHint::NotReset,
        count: 7.5 + grown,
        sum: -2.5,
        zero_threshold: 0.001,
        zero_count: 1.0,
        positive: vec![(-3, 1.0), (0, 0.5), (1, 2.0), (10, 1.0 + grown)],
        negative: vec![(-1, 2.0)],
        ..Histogram::default()
    }
}

fn custom() -> Histogram {
    Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 3.0,
        sum: 2.0,
        positive: vec![(0, 1.0), (2, 2.0)],
        custom_values: vec![0.25, 1e21].into(),
        ..Histogram::default()
    }
}

async fn api(dir: &std::path::Path) -> Router {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = store::Config { dir: dir.to_owned(), fsync: false, ..Default::default() };
    let store = Store::open(config, clock.clone()).await.unwrap();
    let mut batch = MetricBatch::default();
    for n in 0..2 {
        batch.push_samples_of(
            &Labels::from_pairs([("__name__", "number"), ("n", &n.to_string())]),
            &numbers(n),
        );
    }
    let labels = Labels::from_pairs([("__name__", "histogram")]);
    let points = [(START, histogram(0.0)), (START + 1, histogram(1.0)), (START + 3, custom())];
    batch.push_histograms(&labels, &points);
    batch.push_samples_of(&labels, &[(START + 2, 5f64.to_bits())]);
    let write = Write { tenant: Tenant::default(), batch: Batch::Metrics(batch), origin: None };
    store.write(write).await.unwrap();
    crate::prometheus::router(
        Arc::new(Engine::new(store, clock, engine::Limits::default()).unwrap()),
        Default::default(),
    )
}

trait PushAll {
    fn push_samples_of(&mut self, labels: &Labels, samples: &[(i64, u64)]);
}

impl PushAll for MetricBatch {
    fn push_samples_of(&mut self, labels: &Labels, samples: &[(i64, u64)]) {
        self.begin_labels(labels);
        samples.iter().for_each(|(ts_ms, bits)| self.push(*ts_ms, f64::from_bits(*bits)));
    }
}

fn query(kind: i32, name: &str, value: &str, range: (i64, i64)) -> Query {
    Query {
        start_timestamp_ms: range.0,
        end_timestamp_ms: range.1,
        matchers: vec![LabelMatcher { kind, name: name.into(), value: value.into() }],
    }
}

async fn post(api: &Router, request: ReadRequest) -> (u16, [String; 2], Bytes) {
    let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap();
    let request = Request::post("/api/v1/read").body(Body::from(body)).unwrap();
    let response = api.clone().oneshot(request).await.unwrap();
    let kinds = ["content-type", "content-encoding"]
        .map(|name| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned());
    let status = response.status().as_u16();
    (status, kinds, response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_samples_answer_each_query() {
    let dir = tempfile::tempdir().unwrap();
    let api = api(dir.path()).await;
    let all = numbers(1);
    let queries = vec![
        query(2, "n", "1|2", (all[5].0, all[9].0)),
        query(0, "__name__", "nothing", (i64::MIN, i64::MAX)),
        query(0, "__name__", "histogram", (i64::MIN, i64::MAX)),
    ];
    let (status, kinds, body) = post(&api, ReadRequest { queries, accepted_response_types: vec![] }).await;
    assert_eq!((status, &kinds[0][..], &kinds[1][..]), (200, "application/x-protobuf", "snappy"));
    let raw = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
    let results = ReadResponse::decode(&raw[..]).unwrap().results;
    let some = &results[0].timeseries[0];
    let found: Vec<_> = some.samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect();
    assert_eq!((results[0].timeseries.len(), &found[..]), (1, &all[5..=9]));
    assert_eq!((&some.labels[1].name[..], &some.labels[1].value[..]), ("n", "1"));
    assert!(results[1].timeseries.is_empty());
    let histograms = &results[2].timeseries[0].histograms;
    assert_eq!(histograms.len(), 3);
    let first = &histograms[0];
    assert_eq!(
        (first.count_float, first.zero_count_float, first.schema, first.reset_hint),
        (Some(7.5), Some(1.0), 3, 2)
    );
    let spans: Vec<_> = first.positive_spans.iter().map(|span| (span.offset, span.length)).collect();
    assert_eq!(
        (&spans[..], &first.positive_counts[..]),
        (&[(-3, 1), (2, 2), (8, 1)][..], &[1.0, 0.5, 2.0, 1.0][..])
    );
    assert_eq!((histograms[2].schema, &histograms[2].custom_values[..]), (-53, &[0.25, 1e21][..]));
}

/// Answers of more than one piece, with a series that is longer than one and labels that are.
#[test]
fn pieces_are_one_block_of_snappy() {
    let one = |n: usize, samples: usize, label: &str| PromSeries {
        labels: Labels::from_pairs([("__name__", "number"), ("n", &n.to_string()), ("text", label)]),
        points: (0..samples as i64).map(|i| Point { ts_ms: START + i * i, value: (i % 99) as f64 }).collect(),
        histograms: vec![(START - 1, Arc::new(histogram(n as f64)))],
    };
    let found = vec![
        vec![one(0, 20_000, "short"), one(1, 0, &"long".repeat(40_000)), one(2, 10, "short")],
        vec![],
        vec![one(3, 3, "last")],
    ];
    let pieces: Vec<Vec<u8>> = whole::pieces(found.clone()).unwrap().collect();
    assert!(pieces.len() > 5 && pieces.iter().all(|piece| piece.len() < 80 << 10));
    let raw = snap::raw::Decoder::new().decompress_vec(&pieces.concat()).unwrap();
    let results = ReadResponse::decode(&raw[..]).unwrap().results;
    assert_eq!(raw.len(), ReadResponse { results: results.clone() }.encoded_len());
    for (result, found) in results.iter().zip(&found) {
        assert_eq!(result.timeseries.len(), found.len());
        for (series, found) in result.timeseries.iter().zip(found) {
            let samples: Vec<_> = found.points.iter().map(|p| (p.ts_ms, p.value)).collect();
            assert_eq!(series.samples.iter().map(|s| (s.timestamp, s.value)).collect::<Vec<_>>(), samples);
            assert_eq!(series.labels, messages::labels(&found.labels));
            assert_eq!(series.histograms[0].sum, -2.5);
        }
    }
    assert_eq!(whole::pieces(vec![]).unwrap().collect::<Vec<_>>(), [[0]], "nothing is a block too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_hold_the_same_samples() {
    let dir = tempfile::tempdir().unwrap();
    let api = api(dir.path()).await;
    let queries = vec![
        query(0, "__name__", "histogram", (i64::MIN, i64::MAX)),
        query(0, "__name__", "number", (i64::MIN, i64::MAX)),
    ];
    let (status, kinds, body) =
        post(&api, ReadRequest { queries, accepted_response_types: vec![9, 1, 0] }).await;
    assert_eq!((status, &kinds[1][..]), (200, ""));
    assert_eq!(kinds[0], "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse");
    let frames = frames(body);
    let series = |frame: &ChunkedReadResponse| {
        let of = &frame.chunked_series[0];
        (frame.query_index, of.labels.last().unwrap().value.clone(), of.chunks.clone())
    };
    let (query, name, chunks) = series(&frames[0]);
    assert_eq!((query, &name[..]), (0, "histogram"));
    let kinds: Vec<_> = chunks.iter().map(|chunk| (chunk.kind, chunk.min_time_ms - START)).collect();
    assert_eq!(kinds, [(3, 0), (3, 1), (1, 2), (3, 3)], "by time, and none in another");
    assert_eq!(read_histogram(&chunks[0]), histogram(0.0));
    assert_eq!(read_histogram(&chunks[3]), custom());
    assert_eq!(read_numbers(&chunks[2]), [(START + 2, 5f64.to_bits())]);
    for n in 0..2 {
        let (query, label, chunks) = series(&frames[1 + n as usize]);
        assert_eq!((query, label), (1, n.to_string()));
        let found: Vec<_> = chunks.iter().flat_map(read_numbers).collect();
        assert_eq!(found, numbers(n));
        assert!(chunks.iter().all(|chunk| read_numbers(chunk).len() <= 120));
    }
    assert_eq!(frames.len(), 3);

    // Without histograms series are handed out while they are read.
    let queries = vec![
        self::query(0, "__name__", "nothing", (i64::MIN, i64::MAX)),
        self::query(0, "__name__", "number", (i64::MIN, i64::MAX)),
    ];
    let (status, _, body) = post(&api, ReadRequest { queries, accepted_response_types: vec![1] }).await;
    assert_eq!(status, 200);
    assert_eq!(self::frames(body), frames[1..], "the second query's series, in the same order");
    let (status, _, body) =
        post(&api, ReadRequest { queries: vec![], accepted_response_types: vec![1] }).await;
    assert_eq!((status, body.len()), (200, 0));
}

fn frames(mut body: Bytes) -> Vec<ChunkedReadResponse> {
    let mut frames = vec![];
    while !body.is_empty() {
        let length = prost::encoding::decode_varint(&mut body).unwrap() as usize;
        let sum = u32::from_be_bytes(body.split_to(4)[..].try_into().unwrap());
        let message = body.split_to(length);
        assert_eq!(crc32c::crc32c(&message), sum);
        frames.push(ChunkedReadResponse::decode(message).unwrap());
    }
    frames
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let api = api(dir.path()).await;
    let request = Request::post("/api/v1/read").body(Body::from("no snappy")).unwrap();
    assert_eq!(api.clone().oneshot(request).await.unwrap().status(), 400);
    for (queries, types, place) in [
        (vec![query(2, "n", "(", (0, 1))], vec![], "regexp"),
        (vec![query(7, "n", "", (0, 1))], vec![], "kind 7"),
        (vec![], vec![5], "[5]"),
        (vec![Query::default(); 101], vec![], "101 queries"),
    ] {
        let (status, _, body) = post(&api, ReadRequest { queries, accepted_response_types: types }).await;
        let text = String::from_utf8_lossy(&body);
        assert_eq!((status, text.contains(place)), (400, true), "{text}");
    }
}

/// Reads what the format's description says, by itself.
struct Reader<'c> {
    bytes: &'c [u8],
    at: usize,
}

impl Reader<'_> {
    fn bits(&mut self, count: u32) -> u64 {
        (0..count).fold(0, |number, _| {
            let bit = self.bytes[self.at / 8] >> (7 - self.at % 8) & 1;
            self.at += 1;
            number << 1 | u64::from(bit)
        })
    }

    fn double(&mut self) -> f64 {
        f64::from_bits(self.bits(64))
    }

    fn uvarint(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.bits(8);
            number |= (byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }

    fn ones(&mut self, max: u32) -> u32 {
        (0..max).take_while(|_| self.bits(1) == 1).count() as u32
    }

    /// A pattern above the middle of its width stands for a negative number.
    fn signed(&mut self, width: u32) -> i64 {
        let pattern = self.bits(width);
        if width < 64 && pattern > 1 << (width - 1) { pattern as i64 - (1 << width) } else { pattern as i64 }
    }

    fn varbit_width(&mut self) -> u32 {
        [0, 3, 6, 9, 12, 18, 25, 56, 64][self.ones(8) as usize]
    }

    fn varbit_int(&mut self) -> i64 {
        let width = self.varbit_width();
        self.signed(width)
    }

    fn varbit_uint(&mut self) -> u64 {
        let width = self.varbit_width();
        self.bits(width)
    }
}

fn read_numbers(chunk: &Chunk) -> Vec<(i64, u64)> {
    assert_eq!(chunk.kind, 1);
    let mut reader = Reader { bytes: &chunk.data, at: 0 };
    let count = reader.bits(16);
    let zigzag = reader.uvarint();
    let mut ts_ms = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
    let mut value = reader.bits(64);
    let mut found = vec![(ts_ms, value)];
    let (mut step, mut leading, mut width) = (0i64, 0, 0);
    for at in 1..count {
        if at == 1 {
            step = reader.uvarint() as i64;
        } else {
            let class = reader.ones(4) as usize;
            step += reader.signed([0, 14, 17, 20, 64][class]);
        }
        ts_ms += step;
        if reader.bits(1) == 1 {
            if reader.bits(1) == 1 {
                leading = reader.bits(5) as u32;
                width = match reader.bits(6) as u32 {
                    0 => 64,
                    width => width,
                };
            }
            value ^= reader.bits(width) << (64 - leading - width);
        }
        found.push((ts_ms, value));
    }
    assert_eq!((chunk.min_time_ms, chunk.max_time_ms), (found[0].0, ts_ms));
    found
}

fn read_histogram(chunk: &Chunk) -> Histogram {
    assert_eq!(chunk.kind, 3);
    let mut reader = Reader { bytes: &chunk.data, at: 0 };
    assert_eq!(reader.bits(16), 1);
    let hint = reader.bits(8);
    let zero_threshold = match reader.bits(8) {
        0 => 0.0,
        255 => reader.double(),
        other => panic!("{other}"),
    };
    let schema = reader.varbit_int() as i8;
    let mut spans = || -> Vec<(i32, u32)> {
        let count = reader.varbit_uint();
        let mut spans = vec![];
        for _ in 0..count {
            let length = reader.varbit_uint() as u32;
            spans.push((reader.varbit_int() as i32, length));
        }
        spans
    };
    let (positive, negative) = (spans(), spans());
    let mut bounds = vec![];
    if schema == CUSTOM_BUCKETS_SCHEMA {
        for _ in 0..reader.varbit_uint() {
            assert_eq!(reader.bits(1), 0);
            bounds.push(reader.double());
        }
    }
    assert_eq!(reader.varbit_int(), chunk.min_time_ms);
    let (count, zero_count, sum) = (reader.double(), reader.double(), reader.double());
    let mut buckets = |spans: Vec<(i32, u32)>| {
        let length: u32 = spans.iter().map(|span| span.1).sum();
        let counts: Vec<f64> = (0..length).map(|_| reader.double()).collect();
        Histogram::from_spans(&spans, &counts).unwrap()
    };
    let (positive, negative) = (buckets(positive), buckets(negative));
    let hint =
        [ResetHint::Unknown, ResetHint::NotReset, ResetHint::Reset, ResetHint::Gauge][hint as usize >> 6];
    let custom_values = bounds.into();
    Histogram { schema, hint, count, sum, zero_threshold, zero_count, positive, negative, custom_values }
}
