//! Which spans came lately. A span that comes once more, as its sender got no answer or sends on two ways, is one request all the
//! same, and counters cannot take it back. Known are hashes, of the newest spans so many and no more.

use foldhash::HashSet;
use foldhash::quality::RandomState;
use model::Span;
use std::hash::BuildHasher;

/// Of each generation of a tenant; there are two, and with the second the first is forgotten. At 10,000 spans a second copies
/// are known for 20 to 40 seconds, in 5 MiB.
const GENERATION_SPANS: usize = 200_000;

/// Of all tenants together: more than ten share 50 MiB. A tenant who lives on fills his generations, however slowly.
const SHARED_SPANS: usize = 10 * GENERATION_SPANS;

/// How many spans a generation may have, with so many tenants.
pub(crate) fn share(tenants: usize) -> usize {
    (SHARED_SPANS / tenants.max(1)).min(GENERATION_SPANS)
}

#[derive(Default)]
pub(crate) struct Lately {
    newest: HashSet<u64>,
    before: HashSet<u64>,
}

impl Lately {
    /// Notes a span; whether it is new. A generation ends with `share` of them.
    pub fn is_new(&mut self, hash: u64, share: usize) -> bool {
        if self.before.contains(&hash) || !self.newest.insert(hash) {
            return false;
        }
        if self.newest.len() >= share {
            // Not cleared: what it had room for is given back.
            self.before = std::mem::take(&mut self.newest);
        }
        true
    }
}

/// Of all that a counted span says of a request. One that is told when it begins and once more when it has ended is two.
pub(crate) fn hash(hashing: &RandomState, service: &str, span: &Span) -> u64 {
    let ids = (span.trace_id, span.span_id, span.start_ns, span.duration_ns);
    hashing.hash_one((ids, span.kind, span.status, service, &span.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_known_and_no_more() {
        let mut lately = Lately::default();
        let all = 3 * GENERATION_SPANS as u64;
        for hash in 0..all {
            assert!(lately.is_new(hash, GENERATION_SPANS));
            assert!(!lately.is_new(hash, GENERATION_SPANS));
            assert!(!lately.is_new(hash.saturating_sub(GENERATION_SPANS as u64 - 1), GENERATION_SPANS));
        }
        assert!(lately.newest.len() + lately.before.len() <= 2 * GENERATION_SPANS);
        assert!(lately.is_new(0, GENERATION_SPANS), "the first ones are forgotten");
    }

    #[test]
    fn many_tenants_share_what_one_may_have() {
        assert_eq!([0, 1, 10].map(share), [GENERATION_SPANS; 3]);
        assert_eq!(share(1_000) * 1_000, SHARED_SPANS);
        let mut lately = Lately::default();
        for hash in 0..GENERATION_SPANS as u64 {
            assert!(lately.is_new(hash, share(1)));
        }
        for hash in 1..=2 * share(1_000) as u64 {
            assert!(lately.is_new(u64::MAX - hash, share(1_000)));
        }
        let room = lately.newest.capacity() + lately.before.capacity();
        assert!(room < 4 * share(1_000), "{room}");
    }
}
