use super::*;

fn histogram(schema: i8, zero: (f64, f64), positive: &[(i32, f64)], negative: &[(i32, f64)]) -> Histogram {
    let counts = positive.iter().chain(negative).map(|(_, count)| count).sum::<f64>();
    Histogram {
        schema,
        count: counts + zero.1,
        sum: counts,
        zero_threshold: zero.0,
        zero_count: zero.1,
        positive: positive.to_vec(),
        negative: negative.to_vec(),
        ..Histogram::default()
    }
}

fn custom(bounds: &[f64], positive: &[(i32, f64)]) -> Histogram {
    Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        custom_values: bounds.into(),
        ..histogram(0, (0.0, 0.0), positive, &[])
    }
}

#[test]
fn what_is_encoded_is_decoded_and_what_is_cut_is_refused() {
    for one in [
        Histogram::default(),
        histogram(3, (0.001, 2.0), &[(-3, 1.0), (5, 0.0)], &[(1, 4.5)]),
        custom(&[1.0, 2.5], &[(0, 1.0), (2, 3.0)]),
        Histogram { hint: ResetHint::Gauge, ..histogram(0, (0.0, 0.0), &[], &[]) },
    ] {
        let mut bytes = vec![];
        one.encode(&mut bytes);
        let back = Histogram::decode(&bytes).unwrap();
        assert_eq!((&back, back.hint), (&one, one.hint));
        for length in 0..bytes.len().min(50) {
            assert!(Histogram::decode(&bytes[..length]).is_err(), "{length}");
        }
    }
    let mut stale = vec![];
    Histogram::stale().encode(&mut stale);
    assert!(Histogram::decode(&stale).unwrap().is_stale_marker());
}

#[test]
fn sums_come_down_to_the_coarser_schema_and_the_wider_zero() {
    let mut fine = histogram(1, (0.0, 0.0), &[(1, 1.0), (2, 2.0), (3, 4.0)], &[]);
    fine.add(&histogram(0, (0.0, 0.0), &[(1, 10.0)], &[])).unwrap();
    assert_eq!((fine.schema, &fine.positive[..]), (0, &[(1, 13.0), (2, 4.0)][..]));
    let mut narrow = histogram(0, (0.001, 1.0), &[(-1, 5.0), (1, 2.0)], &[]);
    narrow.add(&histogram(0, (0.5, 3.0), &[(1, 1.0)], &[])).unwrap();
    assert_eq!((narrow.zero_threshold, narrow.zero_count), (0.5, 9.0));
    assert_eq!(narrow.positive, [(1, 3.0)]);
}

#[test]
fn custom_bounds_meet_in_the_shared_ones() {
    let mut a = custom(&[1.0, 2.0, 3.0], &[(0, 1.0), (1, 1.0), (3, 1.0)]);
    let told = a.add(&custom(&[2.0, 4.0], &[(0, 5.0), (1, 6.0)])).unwrap();
    assert!(told.bounds_reconciled);
    assert_eq!((&a.custom_values[..], &a.positive[..]), (&[2.0][..], &[(0, 7.0), (1, 7.0)][..]));
    assert_eq!(a.add(&histogram(0, (0.0, 0.0), &[], &[])), Err(IncompatibleSchemas));
}

#[test]
fn a_count_that_fell_is_a_reset() {
    let before = histogram(0, (0.1, 1.0), &[(1, 2.0), (2, 3.0)], &[]);
    let grown = histogram(0, (0.1, 1.0), &[(1, 2.0), (2, 3.0), (3, 1.0)], &[]);
    assert!(!grown.detects_reset(&before));
    assert!(before.detects_reset(&grown));
    let moved = histogram(0, (0.1, 1.0), &[(1, 1.0), (2, 9.0)], &[]);
    assert!(moved.detects_reset(&before));
    assert!(Histogram { hint: ResetHint::Reset, ..grown.clone() }.detects_reset(&before));
    assert!(!Histogram { hint: ResetHint::NotReset, ..moved }.detects_reset(&before));
}

#[test]
fn bounds_and_text_are_prometheus_own() {
    let one = histogram(0, (0.001, 2.0), &[(0, 1.0), (1, 3.0)], &[(1, 1.0)]);
    assert_eq!(one.to_string(), "{count:7, sum:5, [-2,-1):1, [-0.001,0.001]:2, (0.5,1]:1, (1,2]:3}");
    assert_eq!(
        custom(&[1.0, 2.5], &[(0, 1.0), (2, 3.0)]).to_string(),
        "{count:4, sum:4, [-Inf,1]:1, (2.5,+Inf]:3}"
    );
    assert_eq!(
        [short(1e21), short(1.5e-7), short(-0.0), short(123456.0)],
        ["1e+21", "1.5e-07", "-0", "123456"]
    );
}

#[test]
fn what_no_sender_may_send_is_refused() {
    assert_eq!(Histogram { schema: 9, ..Histogram::default() }.validate(), Err(InvalidHistogram::Schema(9)));
    assert_eq!(histogram(0, (0.0, 0.0), &[(1, -1.0)], &[]).validate(), Err(InvalidHistogram::NegativeCount));
    assert_eq!(custom(&[2.0, 1.0], &[]).validate(), Err(InvalidHistogram::CustomBounds));
    assert_eq!(custom(&[1.0], &[(5, 1.0)]).validate(), Err(InvalidHistogram::SpansMismatch));
    assert_eq!(
        Histogram::from_spans(&[(1, 2), (1, 1)], &[1.0, 2.0, 3.0]).unwrap(),
        [(1, 1.0), (2, 2.0), (4, 3.0)]
    );
    assert_eq!(Histogram::from_spans(&[(1, 2)], &[1.0]), Err(InvalidHistogram::SpansMismatch));
    assert_eq!(Histogram::from_spans(&[(0, u32::MAX)], &[1.0]), Err(InvalidHistogram::TooManyBuckets));
}

#[test]
fn trimming_keeps_a_part() {
    let one = histogram(0, (0.0, 0.0), &[(1, 4.0), (2, 4.0)], &[]);
    let below = one.clone().trimmed(2.0, true);
    assert_eq!(below.positive, [(1, 4.0)]);
    assert_eq!(one.clone().trimmed(100.0, true), one);
    let above = custom(&[1.0, 3.0], &[(1, 4.0)]).trimmed(2.0, false);
    assert_eq!((above.count, above.sum), (2.0, 5.0));
}
