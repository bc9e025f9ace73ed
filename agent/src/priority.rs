//! An agent stands back behind what its node is there for: where the cores are busy, others come first.

use rustix::process::{getpriority_process, setpriority_process};
use tracing::debug;

/// As `nice` alone has it. Of a control group's shares the agent has what its requests say, this is for the rest.
const NICE: i32 = 10;

/// Threads for what does not wait for the disk, however many cores a node has.
pub const THREADS_MAX: usize = 2;

/// To be called before there are other threads: to the kernel niceness belongs to a thread, which hands it on to those that
/// it starts. Who is further behind stays there.
pub fn stand_back() {
    let is_behind = getpriority_process(None).is_ok_and(|nice| nice >= NICE);
    if !is_behind && let Err(wrong) = setpriority_process(None, NICE) {
        debug!(error = %wrong, "the agent is as urgent as others");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_come_after_are_behind_as_well() {
        let nice = || getpriority_process(None).unwrap();
        let before = nice();
        let one = std::thread::spawn(move || {
            stand_back();
            let mine = nice();
            stand_back();
            assert_eq!(nice(), mine, "once");
            (mine, std::thread::spawn(nice).join().unwrap())
        });
        let (mine, next) = one.join().unwrap();
        assert_eq!((mine, next), (before.max(NICE), before.max(NICE)));
    }
}
