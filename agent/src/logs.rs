//! Log lines of this machine: container files under /var/log/pods, plain files by glob, the journal of systemd.
//!
//! One loop reads a little of every file in turn, makes a batch of it and waits until the batch is safe in the queue; how
//! far each file was read goes into the queue with the lines and, now and then, into `positions.json`. So a restart reads
//! on where the safe lines end.

mod counts;
mod cri;
mod find;
mod follow;
mod follower;
mod journal;
mod level;
mod line;
mod multiline;
mod positions;
mod rotations;
mod rules;
mod script;
mod source;
mod tail;
mod watch;

pub use counts::Counts;
pub use rules::Rules;

use crate::Config;
use crate::costs::Costs;
use crate::host::Host;
use crate::panics::{Panics, joined};
use crate::pods::Pods;
use crate::queue::Queue;
use follower::{Follower, Next, With};
use journal::Journal;
use model::{Clock, LogBatch};
use parking_lot::Mutex;
use positions::Positions;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Between two looks at all files: at what no event told of, and whether one is gone.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Between two looks at files of which nobody tells, or of which a line is held.
const IDLE: Duration = Duration::from_millis(500);

/// What is written in this time is read at once: a program that writes a line now and then wakes no more often.
const GATHER: Duration = Duration::from_millis(200);

/// Between two looks at a file that is about to be left for its successor.
const SOON: Duration = Duration::from_millis(25);

/// Between two looks for new files, and where the kernel tells of them.
const FIND_EVERY: Duration = Duration::from_secs(2);
const FIND_EVERY_WATCHED: Duration = Duration::from_secs(30);

/// A kubelet that does not name a pod in this time is not waited for: it may be away for long, and a container that
/// writes much has its oldest file deleted at the fourth rotation, for which it needs more than this.
const NAMED_WITHIN: Duration = Duration::from_secs(8);

/// A line that comes to a panic does so again, and each time is told.
const WAIT_AFTER_PANIC: Duration = Duration::from_secs(30);

/// A file that is gone may have its name back until then.
const FORGET: Duration = Duration::from_secs(60);

const SAVE_EVERY: Duration = Duration::from_secs(5);

/// Waited after the disk refused a batch; the lines are kept and tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What the tail is told by the rest of the agent.
#[derive(Clone)]
pub struct Shared {
    pub host: Arc<Host>,
    pub pods: Pods,
    pub queue: Arc<Queue>,
    pub rules: Arc<Mutex<Arc<Rules>>>,
    pub counts: Arc<Counts>,
    pub costs: Costs,
    pub panics: Panics,
}

/// Until `stop`. Begun anew after a panic it reads on behind the lines that are in the queue, as after a restart.
pub async fn tail(config: Config, shared: Shared, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let Shared { host, pods, queue, rules, counts, costs, panics } = shared;
    let path = config.data_dir.join("positions.json");
    let mut saved = Positions::load(&path, &queue);
    let mut journal = Journal::start(&host, saved.journal.clone(), panics.clone(), &stop);
    let rules_now = rules.lock().clone();
    let (host_root, globs, limits) = (host.clone(), config.log_files.clone(), Arc::default());
    let wait = if config.kubelet.is_some() { NAMED_WITHIN } else { Duration::ZERO };
    let with = With {
        host,
        pods,
        globs,
        rules: rules_now,
        limits,
        counts,
        wait,
        panics,
        wait_after_panic: WAIT_AFTER_PANIC,
        forget: FORGET,
    };
    let mut follower = Some(Follower::new(with, saved.files.clone()));
    let mut watch = Some(watch::Watch::new());
    let globs = config.log_files.clone();
    let (mut found, mut swept, mut written) = (None::<Instant>, None::<Instant>, Instant::now());
    // Until they are saved for the first time, what the queue holds of positions may be all there is.
    let mut unsaved = true;
    while !stop.is_cancelled() {
        let (Some(mut reading), Some(mut watching)) = (follower.take(), watch.take()) else { return };
        let (find_every, sweep_every) = match watching.is_whole {
            true => (FIND_EVERY_WATCHED, SWEEP_EVERY),
            false => (FIND_EVERY, IDLE),
        };
        let begun = Instant::now();
        let told = watching.told();
        let is_due = |last: Option<Instant>, every| last.is_none_or(|at| begun - at >= every);
        let look = told.has_moved || told.everything || is_due(found, find_every);
        let sweep = look || is_due(swept, sweep_every);
        if look {
            found = Some(begun);
        }
        if sweep {
            swept = Some(begun);
        }
        let (now_ns, host, rules) = (clock.now_ns(), host_root.clone(), rules.lock().clone());
        let (costs, globs) = (costs.clone(), globs.clone());
        // Reading waits for the disk, and splitting lines is work.
        let read = tokio::task::spawn_blocking(move || {
            let read = costs.of("logs", || {
                reading.set_rules(rules);
                if look {
                    // Watched before it is looked at: what comes in between wakes the next look.
                    watching.look(&host.root, &globs);
                    reading.find();
                }
                if sweep {
                    reading.wake_all();
                }
                reading.wake(&told);
                reading.read(now_ns)
            });
            (reading, watching, read)
        });
        let Some((reading, watching, (mut batch, mut changed, next))) = joined(read.await) else { return };
        (follower, watch) = (Some(reading), Some(watching));
        changed.journal = journal.take_into(&mut batch);
        unsaved |= !changed.files.is_empty() || changed.journal.is_some();
        if batch.records() > 0 {
            let Some(seq) = push(&config, (&queue, &path, &saved), &batch, &changed, &stop).await else {
                return;
            };
            saved.apply(&changed);
            saved.seq = seq;
        }
        if unsaved && written.elapsed() > SAVE_EVERY {
            written = Instant::now();
            unsaved = false;
            save_all(&path, &mut saved, &follower, &queue).await;
        }
        let Some(watch) = &watch else { return };
        let pause = match next {
            Next::Now => continue,
            Next::Soon => SOON,
            Next::Idle => IDLE,
            Next::Quiet if unsaved => SAVE_EVERY,
            Next::Quiet if watch.is_whole => SWEEP_EVERY,
            Next::Quiet => IDLE,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => continue,
            () = watch.changed() => {}
            () = journal.waiting() => {}
            () = stop.cancelled() => break,
        }
        tokio::select! {
            () = tokio::time::sleep(GATHER.min(pause).saturating_sub(begun.elapsed())) => {}
            () = stop.cancelled() => {}
        }
    }
    save_all(&path, &mut saved, &follower, &queue).await;
}

/// Files that would be followed: paths below the root, and whose a container's is.
pub fn found(config: &Config, host: &Host, pods: &Pods) -> Vec<(String, Option<String>)> {
    let mut found = find::containers(&host.root);
    found.extend(config.log_files.iter().flat_map(|glob| find::by_glob(&host.root, glob)));
    let whose = |container: find::Container| {
        let pod = pods.by_uid(&container.uid);
        let treatment = config.log_rules.treatment(&container, pod.as_deref(), &rules::Limits::default());
        let without = if treatment.is_none() { ", left out as its pod wants it" } else { "" };
        format!("{}/{} container {}{without}", container.namespace, container.pod, container.name)
    };
    found.into_iter().map(|file| (file.path, file.container.map(whose))).collect()
}

/// The batch's place in the queue; `None` where the agent stops before the disk takes it. `saved`: how far lines are in the
/// queue, before this batch.
async fn push(
    config: &Config,
    (queue, path, saved): (&Arc<Queue>, &Path, &Positions),
    batch: &LogBatch,
    changed: &Positions,
    stop: &CancellationToken,
) -> Option<wal::Seq> {
    let positions = serde_json::to_vec(changed).unwrap_or_default();
    loop {
        match queue.push_logs(&config.tenant, batch, &positions).await {
            Ok(seq) => return Some(seq),
            // Else it would be tried for ever, and nothing be read meanwhile.
            Err(wrong) if wrong.is_for_good() => {
                queue.lost_logs(batch, &wrong);
                return Some(queue.newest());
            }
            Err(wrong) => warn!(error = %wrong, "log lines cannot be queued; reading waits"),
        }
        // The disk may be full of what was sent, and stays for the positions in it.
        save(path, saved, queue).await;
        if let Err(wrong) = queue.give_back() {
            warn!(error = %wrong, "what was sent cannot be given back");
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stop.cancelled() => return None,
        }
    }
}

/// Only here, where no line is between its file and the queue, are all positions true at once.
async fn save_all(path: &Path, saved: &mut Positions, follower: &Option<Follower>, queue: &Arc<Queue>) {
    if let Some(follower) = follower {
        saved.files = follower.positions();
    }
    save(path, saved, queue).await;
}

async fn save(path: &Path, positions: &Positions, queue: &Arc<Queue>) {
    let (path, bytes, of_sent) = (path.to_owned(), positions.to_bytes(), queue.clone());
    let written = tokio::task::spawn_blocking(move || match Positions::save(&bytes, &path) {
        // What was sent stays for the positions in it, and takes the room that they want. Only a crash in this moment
        // has lines read a second time.
        Err(wrong) if matches!(wrong.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            of_sent.give_back_sent()?;
            Positions::save(&bytes, &path)
        }
        written => written,
    });
    match written.await {
        Ok(Ok(())) => queue.positions_are_saved(),
        Ok(Err(wrong)) => warn!(error = %wrong, "positions in log files cannot be written down"),
        Err(wrong) => warn!(error = %wrong, "positions in log files cannot be written down"),
    }
}

#[cfg(test)]
mod tests;
