use super::*;
use model::{InvalidHistogram, MetricBatch, runs};
use prost::Message;

/// The protocol's messages once more, as another library writes them.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<ProtoSample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<ProtoHistogram>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<ProtoExemplar>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<ProtoMetadata>,
    #[prost(int64, tag = "6")]
    created_timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ProtoSample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(int64, tag = "3")]
    start_timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ProtoHistogram {
    #[prost(uint64, tag = "1")]
    count_int: u64,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "12")]
    positive_deltas: Vec<i64>,
    #[prost(int64, tag = "15")]
    timestamp: i64,
    #[prost(int64, tag = "17")]
    start_timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[derive(Clone, PartialEq, Message)]
struct ProtoExemplar {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ProtoMetadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint32, tag = "3")]
    help_ref: u32,
    #[prost(uint32, tag = "4")]
    unit_ref: u32,
}

const SYMBOLS: [&str; 8] = ["", "__name__", "up", "trace_id", "abc", "job", "näher", "Whether it is up"];

fn decoded(timeseries: Vec<TimeSeries>) -> Decoded<MetricBatch> {
    let request = Request { symbols: SYMBOLS.map(str::to_owned).to_vec(), timeseries };
    decode(&request.encode_to_vec()).unwrap()
}

fn sample(value: f64, timestamp: i64, start_timestamp: i64) -> ProtoSample {
    ProtoSample { value, timestamp, start_timestamp }
}

fn named(samples: Vec<ProtoSample>) -> TimeSeries {
    TimeSeries { labels_refs: vec![1, 2], samples, ..TimeSeries::default() }
}

/// A histogram of two buckets with 2 and 1 in them.
fn histogram(count_int: u64, timestamp: i64) -> ProtoHistogram {
    ProtoHistogram {
        count_int,
        sum: 4.5,
        schema: 1,
        positive_spans: vec![Span { offset: -1, length: 2 }],
        positive_deltas: vec![2, -1],
        timestamp,
        ..ProtoHistogram::default()
    }
}

/// A stored series put together again, each value with its time.
struct Stored {
    labels: Labels,
    numbers: Vec<(i64, f64)>,
    /// Their counts.
    histograms: Vec<(i64, f64)>,
    starts: Vec<(i64, i64)>,
}

fn stored(batch: &MetricBatch) -> Vec<Stored> {
    let mut stored: Vec<(Labels, Vec<i64>, Vec<f64>)> = batch
        .iter()
        .map(|(labels, ts, values)| (Labels::from_bytes(labels).unwrap(), ts.to_vec(), values.to_vec()))
        .collect();
    stored.sort_by(|a, b| a.0.cmp(&b.0));
    runs(stored.iter().map(|(labels, ts, values)| (labels, &ts[..], &values[..])))
        .into_iter()
        .map(|run| {
            let numbers = run.ts_ms.iter().copied().zip(run.values.iter().copied()).collect();
            let histograms = run.histograms.iter().map(|(ts, histogram)| (*ts, histogram.count)).collect();
            Stored { labels: run.labels, numbers, histograms, starts: run.starts }
        })
        .collect()
}

#[test]
fn a_series_comes_with_all_that_belongs_to_it() {
    let series = TimeSeries {
        labels_refs: vec![5, 6, 1, 2],
        samples: vec![sample(1.5, 1000, 0), sample(2.5, 2000, 500)],
        exemplars: vec![
            ProtoExemplar { labels_refs: vec![3, 4], value: 0.25, timestamp: 1990 },
            ProtoExemplar { labels_refs: vec![], value: 0.5, timestamp: 0 },
        ],
        metadata: Some(ProtoMetadata { kind: 2, help_ref: 7, unit_ref: 0 }),
        ..TimeSeries::default()
    };
    let again = TimeSeries { samples: vec![], exemplars: vec![], ..series.clone() };
    let decoded = decoded(vec![series, again]);
    assert!(decoded.rejected.0.is_empty());
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "näher")]);
    let Stored { labels: found, numbers, starts, .. } = &stored(&decoded.batch)[0];
    assert_eq!(
        (found, &numbers[..], &starts[..]),
        (&labels, &[(1000, 1.5), (2000, 2.5)][..], &[(2000, 500)][..])
    );
    let exemplar = Exemplar {
        series: labels,
        labels: Labels::from_pairs([("trace_id", "abc")]),
        ts_ms: 1990,
        value: 0.25,
    };
    let at_the_last_sample =
        Exemplar { labels: Labels::empty(), ts_ms: 2000, value: 0.5, ..exemplar.clone() };
    assert_eq!(decoded.batch.exemplars, [exemplar, at_the_last_sample]);
    let (name, help) = ("up".to_owned(), "Whether it is up".to_owned());
    let metadata = Metadata { name, kind: MetricKind::Gauge, help, unit: String::new() };
    assert_eq!(decoded.batch.metadata, [metadata], "said twice, kept once");
    assert_eq!(decoded.batch.points(), model::Points { numbers: 2, histograms: 0 });
}

#[test]
fn histograms_have_their_start_and_a_wrong_one_leaves_the_others() {
    let series = TimeSeries {
        labels_refs: vec![1, 2],
        histograms: vec![
            ProtoHistogram { start_timestamp: 7, ..histogram(3, 1000) },
            histogram(99, 2000),
            histogram(3, 3000),
        ],
        created_timestamp: 9,
        ..TimeSeries::default()
    };
    let decoded = decoded(vec![series]);
    let Stored { histograms, starts, .. } = &stored(&decoded.batch)[0];
    assert_eq!(
        (&histograms[..], &starts[..]),
        (&[(1000, 3.0), (3000, 3.0)][..], &[(1000, 7), (3000, 9)][..])
    );
    assert_eq!(decoded.batch.points(), model::Points { numbers: 0, histograms: 2 });
    let wrong = InvalidHistogram::CountMismatch { found: 3, count: 99 };
    assert_eq!(decoded.rejected.0[0].example, format!("up: {wrong}"));
    let not_a_number = ProtoHistogram { sum: f64::NAN, ..histogram(99, 0) };
    let series =
        TimeSeries { histograms: vec![not_a_number], labels_refs: vec![1, 2], ..TimeSeries::default() };
    assert!(self::decoded(vec![series]).rejected.0.is_empty(), "what is no number is in no bucket");
}

#[test]
fn a_series_that_cannot_be_kept_leaves_the_others() {
    for (labels_refs, place) in [
        (vec![5, 6], "{job=\"näher\"} has no metric name"),
        (vec![], "has no metric name"),
        (vec![1, 0], "has no metric name"),
        (vec![1, 2, 5], "3 label references"),
        (vec![1, 2, 5, 8], "symbol 8 is named, and the table has 8"),
        (vec![1, 2, 5, 6, 5, 6], "\"job\" occurs twice"),
        (vec![1, 2, 0, 6], "no name"),
    ] {
        let wrong = TimeSeries { labels_refs, ..named(vec![sample(1.0, 1, 0), sample(1.0, 2, 0)]) };
        let decoded = decoded(vec![wrong, named(vec![sample(3.0, 3, 0)])]);
        assert_eq!(decoded.batch.samples(), 1, "{place}");
        let row = &decoded.rejected.0[0];
        assert_eq!((row.reason, row.count), (RejectReason::InvalidLabels, 2), "{place}");
        assert!(row.example.contains(place), "{}", row.example);
    }
    let exemplar = ProtoExemplar { labels_refs: vec![3], value: 0.0, timestamp: 0 };
    let decoded = decoded(vec![TimeSeries { exemplars: vec![exemplar], ..named(vec![sample(1.0, 1, 0)]) }]);
    assert_eq!((decoded.batch.samples(), decoded.rejected.0[0].reason), (1, RejectReason::InvalidExemplar));
}

#[test]
fn a_body_cut_anywhere_is_an_error_or_fewer_samples() {
    let series = TimeSeries { histograms: vec![histogram(3, 5)], ..named(vec![sample(1.0, 1, 1)]) };
    let symbols = SYMBOLS.map(str::to_owned).to_vec();
    let whole = Request { symbols, timeseries: vec![series] }.encode_to_vec();
    let all = decode(&whole).unwrap().batch.samples();
    for length in 0..whole.len() {
        if let Ok(decoded) = decode(&whole[..length]) {
            assert!(decoded.batch.samples() < all, "{length}");
        }
    }
    // The message of version 1.0 has other fields: nothing is found, and nothing is made up.
    assert_eq!(decode(&[0x0a, 0x00]).unwrap(), Decoded::default());
}
