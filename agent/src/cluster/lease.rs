//! Which of all agents watches the cluster: the holder of a Lease (coordination.k8s.io/v1), as client-go elects leaders.
//!
//! Clocks of nodes differ, so whether a lease has run out is judged by how long it has not changed as seen from here, and
//! not by the time that is written in it.

use super::rollouts::Until;
use super::sizes::Sizes;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub const DURATION: Duration = Duration::from_secs(15);
pub const RENEW_EVERY: Duration = Duration::from_secs(5);

/// Between a change that is told and the lease that says so. Times of objects are of whole seconds: a lease of a second
/// later is later than all that was told.
pub const NOTED_AFTER: Duration = Duration::from_secs(1);

/// What is to be done about the lease.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Written anew, with the version it was read with: of two writers one fails.
    Write(Value),
    /// Somebody else holds it.
    Wait,
}

/// Up to which version events were told, so that who comes next tells those that nobody did.
const TOLD: &str = "binnacle.io/events-told";

/// How large stateful sets were when that was written.
const SIZES: &str = "binnacle.io/stateful-sets";

/// What the holder writes beside its name for who comes next. What is not known yet leaves what is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Note {
    pub told: String,
    pub sizes: Option<Sizes>,
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
        let mut next = noted(lease, note);
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
        let mut next = is_mine.then(|| noted(lease, note))?;
        next["spec"]["holderIdentity"] = json!("");
        next["spec"]["leaseDurationSeconds"] = json!(1);
        next["spec"]["renewTime"] = json!(time);
        Some(next)
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

/// Until when the holder before told what it saw: it wrote how far it was whenever it renewed the lease.
pub fn told(lease: &Value) -> Option<Until> {
    let version = annotation(lease, TOLD)?.parse().ok()?;
    Some(Until { version, time_ns: crate::pods::time_ns(lease["spec"]["renewTime"].as_str())? })
}

pub fn sizes(lease: &Value) -> Sizes {
    Sizes::read(annotation(lease, SIZES).unwrap_or(""))
}

fn annotation<'l>(lease: &'l Value, name: &str) -> Option<&'l str> {
    lease["metadata"]["annotations"][name].as_str()
}

fn noted(lease: &Value, note: &Note) -> Value {
    let mut next = lease.clone();
    let told = (!note.told.is_empty()).then(|| note.told.clone());
    let sizes = note.sizes.as_ref().map(Sizes::note);
    for (name, text) in [(TOLD, told), (SIZES, sizes)] {
        let Some(text) = text else { continue };
        if !next["metadata"]["annotations"].is_object() {
            next["metadata"]["annotations"] = json!({});
        }
        next["metadata"]["annotations"][name] = json!(text);
    }
    next
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
        let note = |told: &str, sizes| Note { told: told.into(), sizes: Some(Sizes::read(sizes)) };
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
        assert_eq!(one.give_back(&taken, "t", &note("7", "")), None);
        let given = two.give_back(&taken, "2026-01-01T00:00:00.5Z", &note("7", "shop/db=3")).unwrap();
        let until = |version| Some(Until { version, time_ns: 1_767_225_600_500_000_000 });
        assert_eq!(told(&given), until(7));
        let Step::Write(back) = one.decide(&given, at(28), "2026-01-01T00:00:00.5Z", &nothing) else {
            panic!("nobody holds it")
        };
        assert_eq!((&back["spec"]["holderIdentity"], told(&back)), (&json!("one"), until(7)));
        assert_eq!(sizes(&back).note(), "shop/db=3");
        let Step::Write(back) = one.decide(&back, at(29), "2026-01-01T00:00:00.5Z", &note("9", "shop/db=4"))
        else {
            panic!("it is mine")
        };
        assert_eq!((told(&back), told(&lease)), (until(9), None));
        assert_eq!((sizes(&back).note().as_str(), sizes(&lease)), ("shop/db=4", Sizes::default()));
    }
}
