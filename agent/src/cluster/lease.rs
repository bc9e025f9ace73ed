//! Which of all agents watches the cluster: the holder of a Lease (coordination.k8s.io/v1), as client-go elects leaders.
//!
//! Clocks of nodes differ, so whether a lease has run out is judged by how long it has not changed as seen from here, and
//! not by the time that is written in it.

use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub const DURATION: Duration = Duration::from_secs(15);
pub const RENEW_EVERY: Duration = Duration::from_secs(5);

/// What is to be done about the lease.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Written anew, with the version it was read with: of two writers one fails.
    Write(Value),
    /// Somebody else holds it.
    Wait,
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
    pub fn decide(&mut self, lease: &Value, now: Instant, time: &str) -> Step {
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
        let mut next = lease.clone();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_it_has_not_changed_for_its_time() {
        let (mut one, mut two) = (Candidate::new("one".into()), Candidate::new("two".into()));
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut lease = one.first("b", "agent", "t0");
        assert_eq!(two.decide(&lease, at(0), "t0"), Step::Wait);
        // Renewed: the other's patience begins anew, whatever the clocks say.
        let Step::Write(renewed) = one.decide(&lease, at(5), "1999") else { panic!("it is mine") };
        lease = renewed;
        assert_eq!(lease["spec"]["leaseTransitions"], 0);
        assert_eq!(two.decide(&lease, at(10), "t"), Step::Wait);
        assert_eq!(two.decide(&lease, at(25), "t"), Step::Wait);
        let Step::Write(taken) = two.decide(&lease, at(26), "t26") else { panic!("it has run out") };
        assert_eq!(
            (&taken["spec"]["holderIdentity"], &taken["spec"]["leaseTransitions"]),
            (&json!("two"), &json!(1))
        );
        assert_eq!(one.decide(&taken, at(27), "t"), Step::Wait);
        // Given back on purpose.
        lease["spec"]["holderIdentity"] = json!("");
        assert!(matches!(one.decide(&lease, at(28), "t"), Step::Write(_)));
    }
}
