//! How many lines were left out and why, and how far reading is behind: for the agent's own metrics.

use super::follow::Losses;
use super::rules::Reason;
use model::Reading;
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Namespaces told by name; lines of further ones are counted together.
const NAMESPACES_MAX: usize = 200;

/// Files of which it is told by name how far reading is behind.
const BEHIND_MAX: usize = 20;

#[derive(Debug, Default)]
pub struct Counts {
    left_out: Mutex<BTreeMap<(Reason, String), u64>>,
    /// By the rule's number.
    script_errors: Mutex<BTreeMap<(usize, String), u64>>,
    lost_files: AtomicU64,
    gaps: AtomicU64,
    cut_files: AtomicU64,
    cut_bytes: AtomicU64,
    lost_lines: AtomicU64,
    /// By file, and of all others together.
    behind: Mutex<Vec<(String, u64)>>,
}

impl Counts {
    pub fn left_out(&self, reason: Reason, namespace: &str) {
        let mut counts = self.left_out.lock();
        let namespace = if counts.len() < NAMESPACES_MAX { namespace } else { "" };
        *counts.entry((reason, namespace.to_owned())).or_default() += 1;
    }

    pub fn script_failed(&self, rule: usize, namespace: &str) {
        let mut errors = self.script_errors.lock();
        let namespace = if errors.len() < NAMESPACES_MAX { namespace } else { "" };
        *errors.entry((rule, namespace.to_owned())).or_default() += 1;
    }

    pub fn lost(&self, losses: Losses) {
        self.lost_files.fetch_add(losses.files, Ordering::Relaxed);
        self.gaps.fetch_add(losses.gaps, Ordering::Relaxed);
        self.cut_files.fetch_add(losses.cut_files, Ordering::Relaxed);
        self.cut_bytes.fetch_add(losses.cut_bytes, Ordering::Relaxed);
        self.lost_lines.fetch_add(losses.lines, Ordering::Relaxed);
    }

    /// Bytes that are not read yet, by the paths of files.
    pub fn behind<'p>(&self, files: impl Iterator<Item = (&'p str, u64)>) {
        let mut files: Vec<(&str, u64)> = files.filter(|(_, bytes)| *bytes > 0).collect();
        files.sort_unstable_by_key(|(path, bytes)| (Reverse(*bytes), *path));
        let others = files.split_off(files.len().min(BEHIND_MAX));
        let others = (String::new(), others.iter().map(|(_, bytes)| bytes).sum::<u64>());
        let named = files.iter().map(|(path, bytes)| (format!("/{path}"), *bytes));
        *self.behind.lock() = named.chain([others]).collect();
    }

    pub fn readings(&self) -> Vec<Reading> {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let mut readings = vec![
            Reading::counter(
                "binnacle_agent_log_lost_files_total",
                "Log files that were deleted before they were read to their end",
                count(&self.lost_files),
            ),
            Reading::counter(
                "binnacle_agent_log_gaps_total",
                "Log files that were deleted before the next one was seen, so that others between them may be lost",
                count(&self.gaps),
            ),
            Reading::counter(
                "binnacle_agent_log_damaged_files_total",
                "Packed log files that end in the middle; what is before it was read",
                count(&self.cut_files),
            ),
            Reading::counter(
                "binnacle_agent_log_cut_bytes_total",
                "Bytes of lines past the longest that a line may be",
                count(&self.cut_bytes),
            ),
            Reading::counter(
                "binnacle_agent_log_lost_lines_total",
                "Log lines that are passed over, as each attempt at them was a mistake of the agent",
                count(&self.lost_lines),
            ),
        ];
        for (path, bytes) in &*self.behind.lock() {
            let help = "Bytes of log files that are not read yet: of those with the most, and of all others";
            let behind = Reading::gauge("binnacle_agent_log_behind_bytes", help, *bytes as f64);
            readings.push(behind.with("path", path.clone()));
        }
        for ((reason, namespace), count) in &*self.left_out.lock() {
            readings.push(
                Reading::counter(
                    "binnacle_agent_log_lines_dropped_total",
                    "Log lines left out",
                    *count as f64,
                )
                .with("reason", *reason)
                .with("namespace", namespace.clone()),
            );
        }
        for ((rule, namespace), count) in &*self.script_errors.lock() {
            readings.push(
                Reading::counter(
                    "binnacle_agent_log_script_errors_total",
                    "Log lines at which the script of a rule failed",
                    *count as f64,
                )
                .with("rule", rule.to_string())
                .with("namespace", namespace.clone()),
            );
        }
        readings
    }
}
