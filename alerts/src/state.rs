//! The states of one alerting rule's alerts: value in, value out, no clock, no I/O.
//!
//! An alert is one label set of the rule's answer. It is pending until it held for the rule's `for`, then firing, and
//! once its series is gone (and `keep_firing_for` is over) resolved. Resolved alerts stay for a while, so that whoever
//! missed the news can still be told.

use model::Labels;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Pending,
    Firing,
    Resolved,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Firing => "firing",
            State::Resolved => "resolved",
        }
    }
}

/// One alert of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub labels: Labels,
    pub annotations: Vec<(String, String)>,
    pub state: State,
    #[serde(with = "number")]
    pub value: f64,
    /// Since when the expression holds; the alert's identity over time together with its labels.
    pub active_at_ms: i64,
    pub fired_at_ms: Option<i64>,
    pub resolved_at_ms: Option<i64>,
    /// Since when it fires only because of `keep_firing_for`.
    pub kept_since_ms: Option<i64>,
    /// Until then it is not taken for over: it came from disk after an outage, and data may not be back yet.
    #[serde(skip)]
    pub spared_until_ms: Option<i64>,
    /// The values of the last evaluations, oldest first: evidence for whoever is called.
    #[serde(with = "numbers")]
    pub values: VecDeque<(i64, f64)>,
}

/// Values kept as evidence: half an hour at the usual minute.
const VALUES_MAX: usize = 30;
/// As long as Prometheus keeps resolved alerts.
const RESOLVED_KEPT_MS: i64 = 15 * 60_000;

/// A series of the rule's answer, as an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub labels: Labels,
    pub annotations: Vec<(String, String)>,
    pub value: f64,
}

#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub hold_ms: i64,
    pub keep_firing_ms: i64,
}

/// The alerts of one rule, by labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Instance>", into = "Vec<Instance>")]
pub struct Alerts(BTreeMap<Labels, Instance>);

impl From<Vec<Instance>> for Alerts {
    fn from(instances: Vec<Instance>) -> Alerts {
        Alerts(instances.into_iter().map(|instance| (instance.labels.clone(), instance)).collect())
    }
}

impl From<Alerts> for Vec<Instance> {
    fn from(alerts: Alerts) -> Vec<Instance> {
        alerts.0.into_values().collect()
    }
}

impl Alerts {
    pub fn iter(&self) -> impl Iterator<Item = &Instance> {
        self.0.values()
    }

    pub fn active(&self) -> impl Iterator<Item = &Instance> {
        self.iter().filter(|alert| alert.state != State::Resolved)
    }

    /// Takes the rule's answer at `now_ms`. Says whether any alert changed its state.
    pub fn step(&mut self, now_ms: i64, timing: Timing, found: Vec<Found>) -> bool {
        let mut changed = false;
        for found in found {
            changed |= self.seen(now_ms, timing, found);
        }
        self.0.retain(|_, alert| {
            if alert.last_seen_ms() == Some(now_ms) && alert.state != State::Resolved {
                return true;
            }
            let before = alert.state;
            let keep = alert.unseen(now_ms, timing);
            changed |= !keep || alert.state != before;
            keep
        });
        changed
    }

    fn seen(&mut self, now_ms: i64, timing: Timing, found: Found) -> bool {
        let alert = self.0.entry(found.labels.clone()).or_insert_with(|| Instance::new(found.labels, now_ms));
        let before = (alert.state, alert.last_seen_ms().is_none());
        if alert.state == State::Resolved {
            // It is back: a new alert, which only shares the labels.
            *alert = Instance::new(alert.labels.clone(), now_ms);
        }
        alert.annotations = found.annotations;
        alert.value = found.value;
        (alert.kept_since_ms, alert.spared_until_ms) = (None, None);
        alert.remember(now_ms);
        if alert.state == State::Pending && now_ms - alert.active_at_ms >= timing.hold_ms {
            alert.state = State::Firing;
            alert.fired_at_ms = Some(now_ms);
        }
        before != (alert.state, false)
    }

    /// After an outage: firing alerts are not taken for over before `until_ms`, as their data may not be back yet, and
    /// nobody knows whether what was pending held all the time.
    pub fn after_outage(&mut self, until_ms: i64) {
        self.0.retain(|_, alert| alert.state != State::Pending);
        self.0.values_mut().for_each(|alert| alert.spared_until_ms = Some(until_ms));
    }

    /// Ends all: the rule is gone. Those that were firing are told as resolved.
    pub fn end(mut self, now_ms: i64) -> Vec<Instance> {
        self.0.retain(|_, alert| alert.state == State::Firing);
        self.0.into_values().map(|alert| alert.resolved(now_ms)).collect()
    }
}

impl Instance {
    fn new(labels: Labels, now_ms: i64) -> Instance {
        Instance {
            labels,
            annotations: vec![],
            state: State::Pending,
            value: 0.0,
            active_at_ms: now_ms,
            fired_at_ms: None,
            resolved_at_ms: None,
            kept_since_ms: None,
            spared_until_ms: None,
            values: VecDeque::new(),
        }
    }

    fn last_seen_ms(&self) -> Option<i64> {
        self.values.back().map(|(ts_ms, _)| *ts_ms)
    }

    fn remember(&mut self, now_ms: i64) {
        if self.values.len() == VALUES_MAX {
            self.values.pop_front();
        }
        self.values.push_back((now_ms, self.value));
    }

    /// The expression does not hold any more. `false` when nothing is left to say of this alert.
    fn unseen(&mut self, now_ms: i64, timing: Timing) -> bool {
        match self.state {
            State::Pending => false,
            State::Resolved => self.resolved_at_ms.is_some_and(|at_ms| now_ms - at_ms <= RESOLVED_KEPT_MS),
            State::Firing if self.spared_until_ms.is_some_and(|until_ms| now_ms < until_ms) => true,
            State::Firing => {
                if timing.keep_firing_ms > 0 {
                    let since_ms = *self.kept_since_ms.get_or_insert(now_ms);
                    if now_ms - since_ms < timing.keep_firing_ms {
                        return true;
                    }
                }
                self.state = State::Resolved;
                self.resolved_at_ms = Some(now_ms);
                true
            }
        }
    }

    fn resolved(mut self, now_ms: i64) -> Instance {
        self.state = State::Resolved;
        self.resolved_at_ms = Some(now_ms);
        self
    }
}

/// JSON has no NaN and no infinity, and an alert's value may be either: numbers are kept as text.
mod number {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&number.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// As [`number`], with a time each.
mod numbers {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use std::collections::VecDeque;

    pub fn serialize<S: Serializer>(
        numbers: &VecDeque<(i64, f64)>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(numbers.iter().map(|(ts_ms, number)| (ts_ms, number.to_string())))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VecDeque<(i64, f64)>, D::Error> {
        let pairs = Vec::<(i64, String)>::deserialize(deserializer)?;
        pairs.into_iter().map(|(ts_ms, text)| Ok((ts_ms, text.parse().map_err(de::Error::custom)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    /// Steps once a minute; each letter is whether the series is there. Gives the state after each step, `-` for none.
    fn check(timing: Timing, there: &str, expected: &str) {
        let mut alerts = Alerts::default();
        let labels = Labels::from_pairs([("alertname", "A")]);
        let shown: String = there
            .chars()
            .enumerate()
            .map(|(minute, letter)| {
                let found = Found { labels: labels.clone(), annotations: vec![], value: minute as f64 };
                alerts.step(minute as i64 * MINUTE, timing, if letter == 'x' { vec![found] } else { vec![] });
                alerts.iter().next().map_or('-', |a| match a.state {
                    State::Pending => 'p',
                    State::Firing => 'F',
                    State::Resolved => 'r',
                })
            })
            .collect();
        assert_eq!(shown, expected, "{there}");
    }

    #[test]
    fn an_alert_goes_through_its_states() {
        let at_once = Timing { hold_ms: 0, keep_firing_ms: 0 };
        check(at_once, "xx.x", "FFrF");
        let held = Timing { hold_ms: 2 * MINUTE, keep_firing_ms: 0 };
        check(held, "xx.xxxx.", "pp-ppFFr");
        let kept = Timing { hold_ms: 0, keep_firing_ms: 2 * MINUTE };
        check(kept, "x..x...", "FFFFFFr");
        check(at_once, &("x".to_owned() + &".".repeat(18)), &("F".to_owned() + &"r".repeat(16) + "--"));
    }

    #[test]
    fn an_outage_resolves_nothing_at_once() {
        let mut alerts = Alerts::default();
        let timing = Timing { hold_ms: 0, keep_firing_ms: 0 };
        let found = Found { labels: Labels::from_pairs([("a", "1")]), annotations: vec![], value: 1.0 };
        alerts.step(0, timing, vec![found]);
        alerts.after_outage(10 * MINUTE);
        assert!(!alerts.step(9 * MINUTE, timing, vec![]));
        assert!(alerts.step(10 * MINUTE, timing, vec![]));
        assert_eq!(alerts.iter().next().unwrap().state, State::Resolved);
    }

    #[test]
    fn changes_are_told_and_values_kept() {
        let mut alerts = Alerts::default();
        let timing = Timing { hold_ms: MINUTE, keep_firing_ms: 0 };
        let found =
            |value| vec![Found { labels: Labels::from_pairs([("a", "1")]), annotations: vec![], value }];
        assert!(alerts.step(0, timing, found(1.0)), "a new one");
        assert!(alerts.step(MINUTE, timing, found(2.0)), "fires");
        assert!(!alerts.step(2 * MINUTE, timing, found(3.0)));
        let alert = alerts.iter().next().unwrap();
        assert_eq!(alert.active_at_ms, 0);
        assert_eq!(alert.values, [(0, 1.0), (MINUTE, 2.0), (2 * MINUTE, 3.0)]);
        assert!(alerts.step(3 * MINUTE, timing, vec![]), "resolved");
        assert!(!alerts.step(4 * MINUTE, timing, vec![]));
    }

    #[test]
    fn states_come_back_from_disk() {
        let mut alerts = Alerts::default();
        let found = Found {
            labels: Labels::from_pairs([("a", "1")]),
            annotations: vec![("b".into(), "c".into())],
            value: f64::INFINITY,
        };
        alerts.step(5, Timing { hold_ms: 0, keep_firing_ms: 0 }, vec![found]);
        let text = serde_json::to_string(&alerts).unwrap();
        assert_eq!(serde_json::from_str::<Alerts>(&text).unwrap(), alerts);
        assert_eq!(alerts.end(6)[0].state, State::Resolved);
    }
}
