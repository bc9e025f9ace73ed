//! What became of records: how many were sent, and how many were given up, why, and whose they were.

use super::contents::Contents;
use super::record::KINDS;
use model::Reading;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub struct Counts {
    pub sent: [AtomicU64; 3],
    /// Samples, lines and spans that ingest left out of batches that it took.
    pub rejected: [AtomicU64; 3],
    pub send_failures: AtomicU64,
    pub log_lines: AtomicU64,
    dropped: Mutex<BTreeMap<&'static str, Dropped>>,
}

#[derive(Default)]
struct Dropped {
    records: u64,
    /// What was in them, by signal, as far as it is known.
    contents: [Contents; 3],
}

impl Counts {
    pub fn dropped(&self, reason: &'static str, records: u64) {
        self.dropped.lock().entry(reason).or_default().records += records;
    }

    /// What was in records that are counted as dropped.
    pub fn dropped_contents(&self, reason: &'static str, signal: usize, contents: Contents) {
        if let Some(of_signal) = self.dropped.lock().entry(reason).or_default().contents.get_mut(signal) {
            of_signal.merge(contents);
        }
    }

    pub fn readings(&self) -> Vec<Reading> {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let help = "Attempts to send that failed and are repeated";
        let failures =
            Reading::counter("binnacle_agent_send_failures_total", help, value(&self.send_failures));
        let lines =
            Reading::counter("binnacle_agent_log_lines_total", "Log lines read", value(&self.log_lines));
        let mut readings = vec![failures, lines];
        for (at, (_, signal)) in KINDS.iter().enumerate() {
            let help = "Batches that ingest has taken";
            let sent = Reading::counter("binnacle_agent_sent_records_total", help, value(&self.sent[at]));
            let help = "Samples, lines and spans that ingest left out of batches that it took";
            let rejected =
                Reading::counter("binnacle_agent_rejected_items_total", help, value(&self.rejected[at]));
            readings.extend([sent, rejected].map(|reading| reading.with("signal", *signal)));
        }
        for (reason, dropped) in &*self.dropped.lock() {
            let records = dropped.records as f64;
            let records =
                Reading::counter("binnacle_agent_dropped_records_total", "Batches given up", records);
            readings.push(records.with("reason", *reason));
            for ((_, signal), contents) in KINDS.iter().zip(&dropped.contents) {
                readings.extend(contents.iter().map(|(source, count)| {
                    let help = "Samples, lines and spans in batches that were given up";
                    Reading::counter("binnacle_agent_dropped_items_total", help, count as f64)
                        .with("signal", *signal)
                        .with("source", source)
                        .with("reason", *reason)
                }));
            }
        }
        readings
    }
}
