//! Which of all agents watches the cluster: the holder of a Lease (coordination.k8s.io/v1), as client-go elects leaders.
//!
//! Clocks of nodes differ, so whether a lease has run out is judged by how long it has not changed as seen from here, and
//! not by the time that is written in it.
//!
//! Beside its name the holder writes how far of each kind changes are told. It is told what this says: changes are on their
//! way when the lease that says so was taken, and of two who believe that they hold it one cannot write it.

use super::lately::Lately;
use super::rollouts::Until;
use super::sizes::Sizes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub const DURATION: Duration = Duration::from_secs(15);
pub const RENEW_EVERY: Duration = Duration::from_secs(5);

/// Between a change that is seen and the lease that says that it is told. Times of objects are of whole seconds: a lease of
/// a second later is later than all that was told.
pub const NOTED_AFTER: Duration = Duration::from_secs(1);

/// What is to be done about the lease.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Written anew, with the version it was read with: of two writers one fails.
    Write(Value),
    /// Somebody else holds it.
    Wait,
}

/// Up to which version changes of each kind are told, and when that was written: `Event=582@2026-01-01T00:00:00Z,…`. Kinds
/// are listed and watched each for itself, so of one more may have been seen than of another.
const TOLD: &str = "binnacle.io/told";

/// Up to which of its numbers each of the latest holders told what it held: `node1_77=12,…`, the latest last.
const NUMBERS: &str = "binnacle.io/told-by";

/// Who was killed asks for its own when it begins anew; so many others may have held the lease meanwhile.
const NUMBERS_MAX: usize = 16;

/// How large workloads of a kind were when that was written.
const SIZES: [(&str, &str); 2] =
    [("Deployment", "binnacle.io/deployments"), ("StatefulSet", "binnacle.io/stateful-sets")];

/// What was told of workloads and nodes a short while before.
const LATELY: &str = "binnacle.io/told-lately";

/// What the holder writes beside its name for who comes next. What is not known yet leaves what is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Note {
    /// Versions, by kind.
    pub told: BTreeMap<String, u64>,
    /// By kind.
    pub sizes: BTreeMap<String, Sizes>,
    /// Of what it held until now.
    pub number: Option<u64>,
    pub lately: Option<String>,
}

/// How long a lease that was asked for at `asked`, and given, is surely held: for the others its time begins when it was
/// written, which was no earlier, and they wait longer than it lasts. So a holder that hears nothing until then watches
/// no more before the next begins.
pub fn left(asked: Instant, now: Instant) -> Duration {
    DURATION.saturating_sub(now.saturating_duration_since(asked))
}

pub struct Candidate {
    pub identity: String,
    /// The lease as last seen, and since when it is so.
    seen: Option<(Value, Instant)>,
}

impl Candidate {
    pub fn new(identity: String) -> Candidate {
        Candidate { identity, seen: None }
    }

    /// `lease` is what the API server has; `time` is the wall clock's for the text.
    pub fn decide(&mut self, lease: &Value, now: Instant, time: &str, note: &Note) -> Step {
        let spec = &lease["spec"];
        let holder = spec["holderIdentity"].as_str().unwrap_or("");
        let since = match &self.seen {
            Some((before, since)) if before == spec => *since,
            _ => {
                self.seen = Some((spec.clone(), now));
                now
            }
        };
        let seconds = spec["leaseDurationSeconds"].as_u64().unwrap_or(DURATION.as_secs());
        let has_run_out = now.duration_since(since) > Duration::from_secs(seconds);
        let is_mine = holder == self.identity;
        if !(is_mine || holder.is_empty() || has_run_out) {
            return Step::Wait;
        }
        let mut next = self.noted(lease, time, note);
        let transitions = spec["leaseTransitions"].as_u64().unwrap_or(0);
        if !is_mine {
            next["spec"]["acquireTime"] = json!(time);
            next["spec"]["leaseTransitions"] = json!(transitions + u64::from(!holder.is_empty()));
        }
        next["spec"]["holderIdentity"] = json!(self.identity);
        next["spec"]["leaseDurationSeconds"] = json!(DURATION.as_secs());
        next["spec"]["renewTime"] = json!(time);
        Step::Write(next)
    }

    /// The lease given back, if it is ours, so that another need not wait until it runs out.
    pub fn give_back(&self, lease: &Value, time: &str, note: &Note) -> Option<Value> {
        let is_mine = lease["spec"]["holderIdentity"].as_str() == Some(&self.identity);
        let mut next = is_mine.then(|| self.noted(lease, time, note))?;
        next["spec"]["holderIdentity"] = json!("");
        next["spec"]["leaseDurationSeconds"] = json!(1);
        next["spec"]["renewTime"] = json!(time);
        Some(next)
    }

    fn noted(&self, lease: &Value, time: &str, note: &Note) -> Value {
        let mut told = told(lease);
        if let Some(time_ns) = crate::pods::time_ns(Some(time)) {
            let until =
                |(kind, version): (&String, &u64)| (kind.clone(), Until { version: *version, time_ns });
            told.extend(note.told.iter().map(until));
        }
        let told = told.iter().map(|(kind, until)| {
            let Until { version, time_ns } = until;
            format!("{kind}={version}@{}", super::micro_time(*time_ns))
        });
        let mut numbers = numbers(lease);
        if let Some(number) = note.number {
            numbers.retain(|(of, _)| *of != self.identity);
            numbers.push((self.identity.as_str(), number));
        }
        let latest = numbers.len().saturating_sub(NUMBERS_MAX);
        let numbers = numbers[latest..].iter().map(|(of, number)| format!("{of}={number}"));
        let mut next = lease.clone();
        let if_any = |texts: Vec<String>| Some(texts.join(",")).filter(|text| !text.is_empty());
        let mut annotations = vec![
            (TOLD, if_any(told.collect())),
            (NUMBERS, if_any(numbers.collect())),
            (LATELY, note.lately.clone()),
        ];
        annotations.extend(SIZES.map(|(kind, name)| (name, note.sizes.get(kind).map(Sizes::note))));
        for (name, text) in annotations {
            let Some(text) = text else { continue };
            if !next["metadata"]["annotations"].is_object() {
                next["metadata"]["annotations"] = json!({});
            }
            next["metadata"]["annotations"][name] = json!(text);
        }
        next
    }

    /// The first lease of all.
    pub fn first(&self, namespace: &str, name: &str, time: &str) -> Value {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": name, "namespace": namespace },
            "spec": {
                "holderIdentity": self.identity, "leaseDurationSeconds": DURATION.as_secs(),
                "acquireTime": time, "renewTime": time, "leaseTransitions": 0,
            },
        })
    }
}

/// Until when changes are told, by kind. The holder writes how far it is whenever it renews the lease; of kinds that the
/// last one had not listed yet it is what those before it wrote.
pub fn told(lease: &Value) -> BTreeMap<String, Until> {
    let of_kind = |one: &str| {
        let (kind, until) = one.split_once('=')?;
        let (version, time) = until.split_once('@')?;
        let time_ns = crate::pods::time_ns(Some(time))?;
        Some((kind.to_owned(), Until { version: version.parse().ok()?, time_ns }))
    };
    annotation(lease, TOLD).split(',').filter_map(of_kind).collect()
}

/// Up to which of its numbers this holder told what it held; 0 where none is known.
pub fn told_by(lease: &Value, identity: &str) -> u64 {
    let own = numbers(lease).into_iter().find(|(of, _)| *of == identity);
    own.map_or(0, |(_, number)| number)
}

pub fn sizes(lease: &Value) -> BTreeMap<String, Sizes> {
    SIZES.map(|(kind, name)| (kind.to_owned(), Sizes::read(annotation(lease, name)))).into()
}

pub fn lately(lease: &Value, now_ns: i64) -> Lately {
    Lately::read(annotation(lease, LATELY), now_ns)
}

fn numbers(lease: &Value) -> Vec<(&str, u64)> {
    let all = annotation(lease, NUMBERS).split(',').filter_map(|one| one.rsplit_once('='));
    all.filter_map(|(of, number)| Some((of, number.parse().ok()?))).collect()
}

fn annotation<'l>(lease: &'l Value, name: &str) -> &'l str {
    lease["metadata"]["annotations"][name].as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the API server takes for its answers.
    #[test]
    fn a_holder_ends_before_another_can_begin() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        for written in [0, 1, 9_900] {
            let (one, mut two) = (Candidate::new("one".into()), Candidate::new("two".into()));
            let lease = one.first("b", "agent", "t0");
            let ends = at(0) + left(at(0), at(0));
            assert_eq!(two.decide(&lease, at(written), "t", &Note::default()), Step::Wait);
            let next = (written..).step_by(100).map(at);
            let begins = next.filter(|now| two.decide(&lease, *now, "t", &Note::default()) != Step::Wait);
            assert!(begins.take(1).all(|begins| begins > ends), "written after {written} ms");
        }
        assert_eq!(
            (left(at(0), at(14_000)), left(at(0), at(99_000))),
            (Duration::from_secs(1), Duration::ZERO)
        );
        assert_eq!(left(at(5), at(0)), DURATION, "a clock that stands still");
    }

    #[test]
    fn a_lease_is_taken_when_it_has_not_changed_for_its_time() {
        let (mut one, mut two) = (Candidate::new("one".into()), Candidate::new("two".into()));
        let nothing = Note::default();
        let note = |version: u64, sizes| Note {
            told: [("Event".to_owned(), version)].into(),
            sizes: [("StatefulSet".to_owned(), Sizes::read(sizes))].into(),
            number: Some(version),
            lately: None,
        };
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut lease = one.first("b", "agent", "t0");
        assert_eq!(two.decide(&lease, at(0), "t0", &nothing), Step::Wait);
        // Renewed: the other's patience begins anew, whatever the clocks say.
        let Step::Write(renewed) = one.decide(&lease, at(5), "1999", &nothing) else { panic!("it is mine") };
        lease = renewed;
        assert_eq!(lease["spec"]["leaseTransitions"], 0);
        assert_eq!(two.decide(&lease, at(10), "t", &nothing), Step::Wait);
        assert_eq!(two.decide(&lease, at(25), "t", &nothing), Step::Wait);
        let Step::Write(taken) = two.decide(&lease, at(26), "t26", &nothing) else {
            panic!("it has run out")
        };
        assert_eq!(
            (&taken["spec"]["holderIdentity"], &taken["spec"]["leaseTransitions"]),
            (&json!("two"), &json!(1))
        );
        assert_eq!(one.decide(&taken, at(27), "t", &nothing), Step::Wait);
        // Given back on purpose, with what was told until then; who does not hold it gives nothing back.
        assert_eq!(one.give_back(&taken, "t", &note(7, "")), None);
        let given = two.give_back(&taken, "2026-01-01T00:00:00.5Z", &note(7, "shop/db=3")).unwrap();
        let until = |version| {
            let until = Until { version, time_ns: 1_767_225_600_500_000_000 };
            BTreeMap::from([("Event".to_owned(), until)])
        };
        assert_eq!(told(&given), until(7));
        let Step::Write(back) = one.decide(&given, at(28), "2026-01-01T00:00:00.5Z", &nothing) else {
            panic!("nobody holds it")
        };
        assert_eq!((&back["spec"]["holderIdentity"], told(&back)), (&json!("one"), until(7)));
        let size = |lease: &Value| sizes(lease)["StatefulSet"].note();
        assert_eq!(size(&back), "shop/db=3");
        let Step::Write(back) = one.decide(&back, at(29), "2026-01-01T00:00:00.5Z", &note(9, "shop/db=4"))
        else {
            panic!("it is mine")
        };
        assert_eq!((told(&back), told(&lease)), (until(9), BTreeMap::new()));
        assert_eq!((told_by(&back, "one"), told_by(&back, "two"), told_by(&back, "three")), (9, 7, 0));
        assert_eq!((size(&back).as_str(), size(&lease).as_str()), ("shop/db=4", ""));
    }

    #[test]
    fn each_kind_is_told_up_to_its_own_version_and_time() {
        let one = Candidate::new("one".into());
        let lease = one.first("b", "agent", "t0");
        let note = |kinds: &[(&str, u64)]| {
            let told = kinds.iter().map(|(kind, version)| ((*kind).to_owned(), *version)).collect();
            Note { told, ..Note::default() }
        };
        let lease = one.noted(&lease, "2026-01-01T00:00:00Z", &note(&[("Event", 9), ("Node", 5)]));
        // The next holder has listed events alone when it ends.
        let lease = one.noted(&lease, "2026-01-01T00:00:07.25Z", &note(&[("Event", 12)]));
        let begin = 1_767_225_600_000_000_000;
        let event = Until { version: 12, time_ns: begin + 7_250_000_000 };
        let expected = [("Event", event), ("Node", Until { version: 5, time_ns: begin })];
        assert_eq!(told(&lease), BTreeMap::from(expected.map(|(kind, until)| (kind.to_owned(), until))));
    }

    #[test]
    fn numbers_of_the_latest_holders_are_kept() {
        let mut lease = Candidate::new("0".into()).first("b", "agent", "t0");
        for at in 0..=NUMBERS_MAX as u64 {
            let note = Note { number: Some(at + 1), ..Note::default() };
            lease = Candidate::new(format!("n{at}")).noted(&lease, "t", &note);
        }
        assert_eq!(["n0", "n1", "n16"].map(|of| told_by(&lease, of)), [0, 2, 17]);
        let note = Note { number: Some(99), ..Note::default() };
        lease = Candidate::new("n1".into()).noted(&lease, "t", &note);
        assert_eq!((told_by(&lease, "n1"), told_by(&lease, "n2")), (99, 3), "in its own place");
    }
}
