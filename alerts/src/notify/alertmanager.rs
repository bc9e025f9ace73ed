//! Alerts for other Alertmanagers: each gets the newest state of each alert, resolved ones a few times over, because
//! they forget what they do not hear again. What waits is one entry an alert, so an Alertmanager that is away costs
//! nothing but the news of how it was in between.

use super::webhook::annotations;
use super::{Alert, explore_path};
use crate::state::State;
use crate::template::print::rfc3339;
use model::Labels;
use serde_json::{Value, json};
use std::collections::HashMap;

/// As many alerts in one body as Prometheus sends.
const BATCH_MAX: usize = 256;
/// How often a firing alert is said again.
const REPEAT_MS: i64 = 60_000;
/// An Alertmanager takes an alert for resolved this long after it last heard of it: a few missed evaluations.
const ENDS_AFTER_MS: i64 = 4 * REPEAT_MS;
const BACK_OFF_MAX_MS: i64 = 60_000;

/// What one Alertmanager should hear.
pub struct Outbox {
    waiting: HashMap<Labels, Alert>,
    /// When and as what each alert was last sent.
    sent: HashMap<Labels, (i64, State)>,
    alerts_max: usize,
    failures: u32,
    retry_ms: i64,
}

impl Outbox {
    pub fn new(alerts_max: usize) -> Outbox {
        Outbox { waiting: HashMap::new(), sent: HashMap::new(), alerts_max, failures: 0, retry_ms: 0 }
    }

    /// Gives how many found no room.
    pub fn update(&mut self, alerts: &[Alert], now_ms: i64) -> usize {
        let mut dropped = 0;
        for alert in alerts {
            let due = match self.sent.get(&alert.labels) {
                Some((at_ms, state)) => *state != alert.state || now_ms - at_ms >= REPEAT_MS,
                None => alert.state == State::Firing,
            };
            if !due && !self.waiting.contains_key(&alert.labels) {
                continue;
            }
            if self.waiting.len() >= self.alerts_max && !self.waiting.contains_key(&alert.labels) {
                dropped += 1;
                continue;
            }
            self.waiting.insert(alert.labels.clone(), alert.clone());
        }
        self.sent.retain(|_, (at_ms, _)| now_ms - *at_ms < 5 * ENDS_AFTER_MS);
        dropped
    }

    pub fn next_due_ms(&self) -> Option<i64> {
        (!self.waiting.is_empty()).then_some(self.retry_ms)
    }

    pub fn due(&self, now_ms: i64) -> Vec<Alert> {
        if self.retry_ms > now_ms {
            return vec![];
        }
        self.waiting.values().take(BATCH_MAX).cloned().collect()
    }

    pub fn told(&mut self, alerts: &[Alert], now_ms: i64) {
        (self.failures, self.retry_ms) = (0, 0);
        for alert in alerts {
            self.sent.insert(alert.labels.clone(), (now_ms, alert.state));
            // Unless it changed while the body was on its way.
            if self.waiting.get(&alert.labels).is_some_and(|now| now.state == alert.state) {
                self.waiting.remove(&alert.labels);
            }
        }
    }

    pub fn failed(&mut self, now_ms: i64) {
        self.retry_ms = now_ms + (1_000 << self.failures.min(10)).min(BACK_OFF_MAX_MS);
        self.failures += 1;
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// The body of `POST /api/v2/alerts`.
pub fn body(alerts: &[Alert], external_url: &str, now_ms: i64) -> Value {
    let one = |alert: &Alert| {
        json!({
            "labels": alert.labels,
            "annotations": annotations(alert),
            "startsAt": rfc3339(alert.starts_at_ms),
            "endsAt": rfc3339(alert.ends_at_ms.unwrap_or(now_ms + ENDS_AFTER_MS)),
            "generatorURL": format!("{external_url}{}", explore_path(&alert.query)),
        })
    };
    Value::Array(alerts.iter().map(one).collect())
}

/// Where alerts are posted to, from what was configured: the base URL, or the whole path.
pub fn url(base: &str) -> String {
    let base = base.trim_end_matches('/');
    if base.ends_with("/api/v2/alerts") { base.to_owned() } else { format!("{base}/api/v2/alerts") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(state: State) -> Alert {
        Alert { labels: Labels::from_pairs([("alertname", "A")]), state, ..Alert::default() }
    }

    #[test]
    fn a_firing_alert_is_said_again_and_a_resolved_one_too() {
        let mut outbox = Outbox::new(10);
        outbox.update(&[alert(State::Resolved)], 0);
        assert_eq!(outbox.next_due_ms(), None, "nobody heard of it");
        outbox.update(&[alert(State::Firing)], 0);
        let batch = outbox.due(0);
        outbox.told(&batch, 0);
        outbox.update(&[alert(State::Firing)], 30_000);
        assert_eq!(outbox.waiting(), 0);
        outbox.update(&[alert(State::Firing)], 60_000);
        assert_eq!(outbox.waiting(), 1);
        outbox.failed(60_000);
        assert_eq!(outbox.due(60_500).len(), 0);
        outbox.update(&[alert(State::Resolved)], 61_000);
        let batch = outbox.due(61_000);
        assert_eq!(batch[0].state, State::Resolved, "the present, not the past");
        outbox.told(&batch, 61_000);
        assert_eq!(outbox.next_due_ms(), None);
    }

    #[test]
    fn urls_may_be_given_with_or_without_the_path() {
        for given in ["http://a:9093", "http://a:9093/", "http://a:9093/api/v2/alerts"] {
            assert_eq!(url(given), "http://a:9093/api/v2/alerts");
        }
    }

    #[test]
    fn a_firing_alert_ends_in_the_future() {
        let body = body(&[alert(State::Firing)], "http://b", 1_000);
        assert_eq!(body[0]["endsAt"], "1970-01-01T00:04:01.000Z");
    }
}
