//! The latest that was told of workloads and nodes, noted on the lease by who watches for who comes next.
//!
//! What nobody watched is found by times, which are of whole seconds, and a controller writes of a change a moment after
//! the lease may have said that it is told. What was told so short a time before is not found again.

use crate::changes::Change;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Controllers have written by then, and who is elected next has its lists.
const KEPT_NS: i64 = 30_000_000_000;

/// Of the note: annotations of an object may take 256 KiB. Of more than a hundred at once some may be told twice.
const BYTES_MAX: usize = 16 << 10;

/// By what it is told of: how it is now, and when that was told.
#[derive(Debug, Default)]
pub struct Lately(BTreeMap<String, (String, i64)>);

/// `scale Deployment shop/cart`, `node Node /n1 Ready`.
fn subject(change: &Change) -> String {
    let Change { kind, namespace, workload, what, after, .. } = change;
    let object = what.split(' ').next().unwrap_or("");
    let part = match kind.as_str() {
        "node" => after.split('=').next().unwrap_or("").trim_start_matches("un"),
        _ => "",
    };
    format!("{kind} {object} {namespace}/{workload} {part}").trim_end().to_owned()
}

impl Lately {
    /// A note, as if it were told now.
    pub fn read(note: &str, now_ns: i64) -> Lately {
        let noted: BTreeMap<String, String> = serde_json::from_str(note).unwrap_or_default();
        Lately(noted.into_iter().map(|(of, after)| (of, (after, now_ns))).collect())
    }

    pub fn add(&mut self, told: &[Change], now_ns: i64) {
        self.0.retain(|_, (_, at_ns)| now_ns - *at_ns <= KEPT_NS);
        self.0.extend(told.iter().map(|change| (subject(change), (change.after.clone(), now_ns))));
    }

    /// `{"scale Deployment shop/cart":"3"}`, without the oldest for which there is no room.
    pub fn note(&self, now_ns: i64) -> String {
        let mut latest: Vec<(&str, &str, i64)> =
            self.0.iter().map(|(of, (after, at_ns))| (of.as_str(), after.as_str(), *at_ns)).collect();
        latest.sort_by_key(|(_, _, at_ns)| Reverse(*at_ns));
        let mut noted = BTreeMap::new();
        let mut bytes = 0;
        for (of, after, at_ns) in latest {
            // Four quotes, a colon and a comma.
            bytes += of.len() + after.len() + 6;
            if bytes > BYTES_MAX || now_ns - at_ns > KEPT_NS {
                break;
            }
            noted.insert(of, after);
        }
        serde_json::to_string(&noted).unwrap_or_default()
    }

    /// Of changes in their order, of each subject those after the latest that was told.
    pub fn untold(&self, found: Vec<Change>) -> Vec<Change> {
        let mut told = BTreeSet::new();
        let is_untold = |change: &Change| {
            if self.has(change) {
                told.insert(subject(change));
            }
            !told.contains(&subject(change))
        };
        let mut untold: Vec<Change> = found.into_iter().rev().filter(is_untold).collect();
        untold.reverse();
        untold
    }

    /// Whether this was the latest that was told of it.
    fn has(&self, change: &Change) -> bool {
        self.0.get(&subject(change)).is_some_and(|(after, _)| *after == change.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    fn change(kind: &str, what: &str, workload: &str, after: &str) -> Change {
        Change {
            kind: kind.into(),
            what: what.into(),
            workload: workload.into(),
            after: after.into(),
            ..Change::default()
        }
    }

    fn scaled(to: &str) -> Change {
        change("scale", &format!("Deployment cart is scaled to {to}"), "cart", to)
    }

    #[test]
    fn the_latest_of_each_is_told_and_handed_on() {
        let mut lately = Lately::default();
        let node = |after: &str| change("node", "Node n1", "n1", after);
        lately.add(&[scaled("3"), node("Ready=False"), node("cordoned")], 0);
        lately.add(&[scaled("4"), node("uncordoned")], SECOND_NS);
        let next = Lately::read(&lately.note(SECOND_NS), 9 * SECOND_NS);
        for lately in [&lately, &next] {
            assert!([scaled("4"), node("Ready=False"), node("uncordoned")].iter().all(|one| lately.has(one)));
            let set = change("scale", "StatefulSet cart is scaled to 4", "cart", "4");
            let others = [scaled("3"), set, node("Ready=True"), node("cordoned"), node("joined")];
            assert!(!others.iter().any(|one| lately.has(one)));
        }
        assert_eq!(lately.note(30 * SECOND_NS + 1), lately.note(31 * SECOND_NS), "the oldest are old");
        assert_eq!(
            lately.note(31 * SECOND_NS),
            r#"{"node Node /n1 cordoned":"uncordoned","scale Deployment /cart":"4"}"#
        );
        assert_eq!(lately.note(32 * SECOND_NS), "{}");
        assert!(!Lately::read("", 0).has(&scaled("4")));
    }

    #[test]
    fn what_came_before_what_was_told_was_told_too() {
        let mut lately = Lately::default();
        let rolled_out = |name: &str, after: &str| change("rollout", "Deployment", name, after);
        lately.add(&[rolled_out("cart", "revision 3")], 0);
        let of_cart = ["revision 2", "revision 3", "revision 4", "revision 5"];
        let mut found: Vec<Change> = of_cart.iter().map(|after| rolled_out("cart", after)).collect();
        found.push(rolled_out("web", "revision 2"));
        assert_eq!(lately.untold(found.clone()), found[2..]);
    }

    #[test]
    fn a_note_has_an_end() {
        let mut lately = Lately::default();
        let name = |number: u32| format!("cart-{number}");
        let all: Vec<Change> =
            (0..9_000).map(|number| change("scale", "Deployment", &name(number), "1")).collect();
        lately.add(&all, 0);
        lately.add(&[scaled("4")], SECOND_NS);
        let note = lately.note(SECOND_NS);
        assert!(note.len() <= BYTES_MAX + 2 && note.len() > BYTES_MAX - 100, "{}", note.len());
        assert!(Lately::read(&note, 0).has(&scaled("4")), "the newest has room");
        lately.add(&[], 40 * SECOND_NS);
        assert!(lately.0.is_empty());
    }
}
