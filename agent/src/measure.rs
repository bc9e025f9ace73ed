//! Metrics that are measured on this machine: of the node, its processes, control groups and pods, once round at a time, by
//! the agent and by its dry run. Each part remembers what it told, to end what is gone, and comes to a panic by itself.

use crate::alive::Alive;
use crate::costs::Costs;
use crate::host::Host;
use crate::panics::{Panics, joined};
use crate::processes::Processes;
use crate::queue::Queue;
use crate::samples::Samples;
use crate::{Config, cloud, containers, node, objects, oom, pods};
use model::{Clock, MetricBatch};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Ingest is told what the metrics are at every so manieth collection: pods come and go, and with them metrics.
const DESCRIBE_EVERY: u64 = 20;

/// What walks all processes of the machine, and what walks all its sockets, is done no more often, however short the
/// interval is. The second is gauges alone, of which one a minute is enough to see.
const PROCESSES_EVERY: Duration = Duration::from_secs(15);
const DEAR_EVERY: Duration = Duration::from_secs(60);

/// Something that is done at some collections.
struct Cadence {
    every: Duration,
    last: Option<Instant>,
}

impl Cadence {
    fn of(every: Duration) -> Cadence {
        Cadence { every, last: None }
    }

    /// Half an interval of grace: ticks come a little early, too.
    fn is_due(&mut self, interval: Duration) -> bool {
        let due = self.last.is_none_or(|last| last.elapsed() + interval / 2 > self.every);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}

/// What is measured, and what is known of it.
pub struct Machine {
    pub cloud: cloud::Known,
    pub config: Config,
    pub host: Arc<Host>,
    pub pods: pods::Pods,
    pub kills: oom::Shared,
    pub mounts: node::Mounts,
    pub textfiles: node::Textfiles,
    pub costs: Costs,
    pub panics: Panics,
}

/// What is measured at this collection beside what is measured at each.
#[derive(Clone, Copy)]
pub struct Due {
    pub dear: bool,
    pub each_process: bool,
}

/// What one collection leaves to the next.
#[derive(Default)]
pub struct Left {
    known: Processes,
    /// Series by what is measured together. What some collections leave out is a part of its own: it has not ended by that.
    /// An agent that starts knows none, and none is ended when it stops: the next one on its node tells the same, and what
    /// goes between the two fades after five minutes.
    processes: Alive,
    node: Alive,
    dear: Alive,
    containers: Alive,
    objects: Alive,
}

impl Machine {
    /// Once round. `before`: the pod that told the node's series before this one.
    pub fn measure(&self, due: Due, before: Option<String>, left: &mut Left, samples: &mut Samples) {
        let Machine { cloud, config, host, pods, kills, mounts, textfiles, panics, .. } = self;
        panics.caught("cloud", || cloud.tell(samples));
        if due.each_process {
            let known = &mut left.known;
            self.part("processes", &mut left.processes, samples, |out| known.collect(&host.root, out));
        }
        samples.of_pod(&host.pod_labels, before);
        self.part("node", &mut left.node, samples, |out| {
            node::collect(&host.root, textfiles, mounts, out);
            out.up();
        });
        if due.dear {
            self.part("node", &mut left.dear, samples, |out| node::collect_dear(&host.root, out));
        }
        self.part("containers", &mut left.containers, samples, |out| {
            pods.look(&host.root);
            containers::collect(&host.root, &host.name, pods, kills, out);
        });
        // A kubelet that does not answer ends no pod: they are told as it named them last.
        self.part("objects", &mut left.objects, samples, |out| {
            objects::collect(&host.name, pods, &config.metadata, out);
        });
    }

    /// What comes to a panic leaves out what it had not told yet, and nothing of the other parts. It forgets what it told:
    /// nothing ends for having been left out, and what is gone by the next collection fades.
    fn part(
        &self,
        name: &'static str,
        alive: &mut Alive,
        samples: &mut Samples,
        work: impl FnOnce(&mut Samples),
    ) {
        self.costs.of(name, || self.panics.caught(name, || samples.ending(alive, work)));
    }
}

/// At once and then every interval.
pub async fn collect(
    machine: Arc<Machine>,
    queue: Arc<Queue>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let (interval, tenant) = (machine.config.interval, machine.config.tenant.clone());
    let mut ticks = tokio::time::interval(interval);
    // A machine that stalls is measured once when it comes back, not once for every tick that it missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left = Left::default();
    let mut collection = 0u64;
    let (mut dear, mut each_process) = (Cadence::of(DEAR_EVERY), Cadence::of(PROCESSES_EVERY));
    let remembered = machine.config.data_dir.join("pod");
    let pod = machine.host.pod().map(str::to_owned);
    let mut before = pod_before(&remembered, &machine.host);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let (measured, now_ns, before) = (machine.clone(), clock.now_ns(), before.take());
        let mut kept = std::mem::take(&mut left);
        let due = Due { dear: dear.is_due(interval), each_process: each_process.is_due(interval) };
        let (full, mut pieces) = tokio::sync::mpsc::channel(1);
        // Reads of /proc and statvfs of a network disk may block.
        let collected = tokio::task::spawn_blocking(move || {
            let describes = collection.is_multiple_of(DESCRIBE_EVERY);
            let samples = Samples::new(now_ns, &measured.host.name, describes);
            let mut samples = samples.in_jobs(&measured.config.job_names).in_pieces(full);
            measured.measure(due, before, &mut kept, &mut samples);
            (samples.finish(), kept)
        });
        let push = async |batch: MetricBatch| queue.keep_metrics(&tenant, &batch).await;
        while let Some(piece) = pieces.recv().await {
            push(piece).await;
        }
        let Some((rest, kept)) = joined(collected.await) else { return };
        left = kept;
        collection += 1;
        push(rest).await;
        if let Some(pod) = pod.as_ref().filter(|_| collection == 1)
            && let Err(wrong) = tokio::fs::write(&remembered, pod).await
        {
            warn!(error = %wrong, path = %remembered.display(), "this pod's series will not be ended by the next");
        }
    }
}

/// The pod that the agent of this node was, where it is another one now.
fn pod_before(remembered: &Path, host: &Host) -> Option<String> {
    let now = host.pod()?;
    std::fs::read_to_string(remembered).ok().filter(|before| before != now)
}

#[cfg(test)]
mod tests;
