//! What this crate says of itself. Names and help texts are here and nowhere else.

use model::Reading;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn value(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64
    }
}

#[derive(Debug, Default)]
pub struct Counters {
    pub evaluations: Counter,
    pub evaluation_failures: Counter,
    pub evaluations_missed: Counter,
    pub samples_written: Counter,
    pub write_failures: Counter,
    pub sent: Counter,
    pub send_failed: Counter,
    pub dropped: Counter,
    pub state_write_failures: Counter,
    pub reload_failures: Counter,
}

impl Counters {
    pub fn readings(&self) -> Vec<Reading> {
        let counter = |name, help, counter: &Counter| Reading::counter(name, help, counter.value());
        vec![
            counter("binnacle_alerts_rule_evaluations_total", "Rules evaluated", &self.evaluations),
            counter(
                "binnacle_alerts_rule_evaluation_failures_total",
                "Rules whose query was not answered",
                &self.evaluation_failures,
            ),
            counter(
                "binnacle_alerts_group_iterations_missed_total",
                "Evaluations of a group left out because the one before took too long",
                &self.evaluations_missed,
            ),
            counter(
                "binnacle_alerts_samples_written_total",
                "Samples of recorded series, ALERTS and ALERTS_FOR_STATE written",
                &self.samples_written,
            ),
            counter(
                "binnacle_alerts_write_failures_total",
                "Writes of rule results that were refused",
                &self.write_failures,
            ),
            counter("binnacle_alerts_notifications_total", "Notifications that receivers took", &self.sent),
            counter(
                "binnacle_alerts_notification_failures_total",
                "Notifications that receivers did not take",
                &self.send_failed,
            ),
            counter(
                "binnacle_alerts_notifications_dropped_total",
                "Alerts left out of notifications because too many wait",
                &self.dropped,
            ),
            counter(
                "binnacle_alerts_state_write_failures_total",
                "Times the alert states could not be written to disk",
                &self.state_write_failures,
            ),
            counter(
                "binnacle_alerts_reload_failures_total",
                "Reloads of rules and SLOs that found mistakes and changed nothing",
                &self.reload_failures,
            ),
        ]
    }
}
