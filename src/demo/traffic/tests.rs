use super::*;
use crate::demo::pool::Bottleneck;
use crate::demo::topology::{SLOW_SERVICE, flows};
use rand::SeedableRng;
use rand::rngs::StdRng;

fn played(count: usize) -> Vec<Request> {
    let (flows, mut rng) = (flows(SLOW_SERVICE), StdRng::seed_from_u64(7));
    let mut lots = Lots::new(Bottleneck::default());
    (0..count).map(|_| play(choose(&flows, &mut rng).unwrap(), &mut lots, &mut rng)).collect()
}

fn took_ms(span: &Span) -> f64 {
    (span.end - span.start).as_secs_f64() * 1e3
}

#[test]
fn fifteen_in_a_hundred_requests_wait_300_ms_for_a_connection() {
    let requests = played(20_000);
    let waits: Vec<f64> = requests
        .iter()
        .flat_map(|request| &request.spans)
        .filter(|span| matches!(span.did, Did::AcquireConnection(Acquired { exhausted: true, .. })))
        .map(took_ms)
        .collect();
    let share = waits.len() as f64 / requests.len() as f64;
    assert!((share - 0.15).abs() < 0.0005, "share {share}");
    let mean = waits.iter().sum::<f64>() / waits.len() as f64;
    assert!((295.0..305.0).contains(&mean), "mean {mean} ms");
    let slow = requests.iter().filter(|request| took_ms(&request.spans[0]) > 250.0).count() as f64;
    assert!((0.14..0.165).contains(&(slow / requests.len() as f64)), "the pool is what makes requests slow");
}

#[test]
fn only_the_slow_service_waits_and_the_rest_is_quick() {
    for request in played(2_000) {
        for span in &request.spans {
            let waits = matches!(span.did, Did::AcquireConnection(_));
            assert!(!waits || Some(span.service) == index_of(SLOW_SERVICE));
        }
        let waited = request.spans.iter().any(|s| matches!(s.did, Did::AcquireConnection(a) if a.exhausted));
        assert!(waited || request.failed || took_ms(&request.spans[0]) < 250.0);
    }
}

#[test]
fn spans_form_one_tree_and_children_lie_within_their_parents() {
    for request in played(2_000) {
        assert!(request.spans.len() >= 8);
        for (index, span) in request.spans.iter().enumerate() {
            let Some(parent) = span.parent else {
                assert_eq!(index, 0, "one root");
                continue;
            };
            assert!(parent < index);
            let outlives = matches!(span.did, Did::Consume { .. });
            let parent = &request.spans[parent];
            assert!(parent.start <= span.start && (outlives || span.end <= parent.end));
        }
    }
}

#[test]
fn a_timeout_at_the_bank_is_a_failed_checkout_and_rare() {
    let requests = played(20_000);
    let failed: Vec<_> = requests.iter().filter(|request| request.failed).collect();
    assert!((1..100).contains(&failed.len()), "{} failed", failed.len());
    for request in failed {
        let statuses: Vec<u16> = request
            .spans
            .iter()
            .filter_map(|s| if let Did::Serve { status, .. } = s.did { Some(status) } else { None })
            .collect();
        assert_eq!(statuses[0], STATUS_UPSTREAM_FAILED);
        assert!(statuses.contains(&STATUS_TIMEOUT));
    }
}

#[test]
fn the_same_seed_plays_the_same_requests() {
    let ends =
        |requests: Vec<Request>| requests.iter().map(|request| request.spans[0].end).collect::<Vec<_>>();
    assert_eq!(ends(played(50)), ends(played(50)));
}
