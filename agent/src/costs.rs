//! What each part of the agent costs: CPU seconds of the threads that do its work, for `binnacle agent top` and the
//! agent's own metrics.

use model::Reading;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Default)]
pub struct Costs(Arc<Mutex<BTreeMap<&'static str, f64>>>);

impl Costs {
    /// Does the work on this thread, and adds what it cost to the part.
    pub fn of<T>(&self, part: &'static str, work: impl FnOnce() -> T) -> T {
        let before = thread_cpu_s();
        let done = work();
        *self.0.lock().entry(part).or_default() += thread_cpu_s() - before;
        done
    }

    pub fn readings(&self) -> Vec<Reading> {
        let help = "CPU time that a part of the agent took";
        let all = self.0.lock();
        all.iter()
            .map(|(part, seconds)| {
                Reading::counter("binnacle_agent_part_cpu_seconds_total", help, *seconds).with("part", *part)
            })
            .collect()
    }
}

fn thread_cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
