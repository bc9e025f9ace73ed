//! Log lines of this machine: container files under /var/log/pods, plain files by glob, the journal of systemd.
//!
//! One loop reads a little of every file in turn, makes a batch of it and waits until the batch is safe in the queue; how
//! far each file was read goes into the queue with the lines and, now and then, into `positions.json`. So a restart reads
//! on where the safe lines end.

mod cri;
mod find;
mod follow;
mod follower;
mod journal;
mod line;
mod positions;

use crate::Config;
use crate::host::Host;
use crate::queue::Queue;
use follower::Follower;
use journal::Journal;
use model::{Clock, LogBatch};
use positions::Positions;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Between two looks at files that had nothing new.
const IDLE: Duration = Duration::from_millis(500);

/// Between two looks for new files.
const FIND_EVERY: Duration = Duration::from_secs(2);

const SAVE_EVERY: Duration = Duration::from_secs(5);

/// Waited after the disk refused a batch; the lines are kept and tried again.
const RETRY: Duration = Duration::from_secs(1);

pub async fn tail(
    config: Config,
    host: Arc<Host>,
    queue: Arc<Queue>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let path = config.data_dir.join("positions.json");
    let mut saved = Positions::load(&path, &queue);
    let mut journal = Journal::start(&host, saved.journal.clone(), stop.clone());
    let mut follower = Some(Follower::new(host.clone(), config.log_files.clone(), saved.files.clone()));
    let (mut found, mut written) = (None::<Instant>, Instant::now());
    while !stop.is_cancelled() {
        let look = found.is_none_or(|at| at.elapsed() > FIND_EVERY);
        if look {
            found = Some(Instant::now());
        }
        let Some(mut reading) = follower.take() else { return };
        let now_ns = clock.now_ns();
        // Reading waits for the disk, and splitting lines is work.
        let read = tokio::task::spawn_blocking(move || {
            if look {
                reading.find();
            }
            let read = reading.read(now_ns);
            (reading, read)
        });
        let (reading, (mut batch, mut changed, more)) = match read.await {
            Ok(read) => read,
            Err(wrong) => {
                warn!(error = %wrong, "reading log files ended");
                return;
            }
        };
        follower = Some(reading);
        changed.journal = journal.take_into(&mut batch);
        if batch.records() > 0 {
            saved.apply(&changed);
            match push(&config, &queue, &batch, &changed, &stop).await {
                Some(seq) => saved.seq = seq,
                None => return,
            }
        }
        if written.elapsed() > SAVE_EVERY {
            written = Instant::now();
            save(&path, &mut saved, &follower, &queue).await;
        }
        if !more {
            tokio::select! {
                () = tokio::time::sleep(IDLE) => {}
                () = journal.waiting() => {}
                () = stop.cancelled() => {}
            }
        }
    }
    save(&path, &mut saved, &follower, &queue).await;
}

/// The batch's place in the queue; `None` where the agent stops before the disk takes it.
async fn push(
    config: &Config,
    queue: &Queue,
    batch: &LogBatch,
    changed: &Positions,
    stop: &CancellationToken,
) -> Option<wal::Seq> {
    let positions = serde_json::to_vec(changed).unwrap_or_default();
    loop {
        match queue.push_logs(&config.tenant, batch, &positions).await {
            Ok(seq) => return Some(seq),
            Err(wrong) => warn!(error = %wrong, "log lines cannot be queued; reading waits"),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stop.cancelled() => return None,
        }
    }
}

/// Only here, where no line is between its file and the queue, are all positions true at once.
async fn save(path: &std::path::Path, saved: &mut Positions, follower: &Option<Follower>, queue: &Queue) {
    if let Some(follower) = follower {
        saved.files = follower.positions();
    }
    let (path, text) = (path.to_owned(), serde_json::to_vec(saved).unwrap_or_default());
    let written = tokio::task::spawn_blocking(move || crate::queue::write_whole(&path, &text));
    match written.await {
        Ok(Ok(())) => queue.positions_are_saved(),
        Ok(Err(wrong)) => warn!(error = %wrong, "positions in log files cannot be written down"),
        Err(wrong) => warn!(error = %wrong, "positions in log files cannot be written down"),
    }
}

#[cfg(test)]
mod tests;
