//! Metrics that are measured on this machine: of the node, its processes, control groups and pods, once round at a time.

use crate::costs::Costs;
use crate::host::Host;
use crate::panics::Panics;
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
    pub costs: Costs,
    pub panics: Panics,
}

/// What is done at one collection, and not at each.
pub struct Turn<'p> {
    /// With what is known of them.
    pub processes: Option<&'p mut Processes>,
    pub dear: bool,
    /// The pod whose series end.
    pub before: Option<String>,
}

impl Machine {
    /// Once round. What comes to a panic leaves out what it had not told yet, and nothing of the others.
    pub fn measure(&self, turn: Turn<'_>, samples: &mut Samples) {
        let Machine { cloud, config, host, pods, kills, mounts, costs, panics } = self;
        let Turn { processes, dear, mut before } = turn;
        panics.caught("cloud", || cloud.tell(samples));
        let mut part = |part, work: &mut dyn FnMut(&mut Samples)| {
            costs.of(part, || panics.caught(part, || work(samples)));
        };
        if let Some(processes) = processes {
            part("processes", &mut |samples| processes.collect(&host.root, samples));
        }
        part("node", &mut |samples| {
            samples.of_pod(&host.pod_labels, before.take());
            let textfiles = config.textfile_dir.to_string_lossy();
            node::collect(&host.root, &textfiles, mounts, dear, samples);
            samples.up();
        });
        part("containers", &mut |samples| {
            pods.look(&host.root);
            containers::collect(&host.root, &host.name, pods, kills, samples);
        });
        part("objects", &mut |samples| objects::collect(&host.name, pods, &config.metadata, samples));
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
    let mut processes = Processes::default();
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
        let (dear, each_process) = (dear.is_due(interval), each_process.is_due(interval));
        let mut known = std::mem::take(&mut processes);
        let (full, mut pieces) = tokio::sync::mpsc::channel(1);
        // Reads of /proc and statvfs of a network disk may block.
        let collected = tokio::task::spawn_blocking(move || {
            let describes = collection.is_multiple_of(DESCRIBE_EVERY);
            let samples = Samples::new(now_ns, &measured.host.name, describes);
            let mut samples = samples.in_jobs(&measured.config.job_names).in_pieces(full);
            let turn = Turn { processes: each_process.then_some(&mut known), dear, before };
            measured.measure(turn, &mut samples);
            (samples.finish(), known)
        });
        let push = async |batch: MetricBatch| queue.keep_metrics(&tenant, &batch).await;
        while let Some(piece) = pieces.recv().await {
            push(piece).await;
        }
        match collected.await {
            Ok((rest, known)) => {
                processes = known;
                collection += 1;
                push(rest).await;
                if let Some(pod) = pod.as_ref().filter(|_| collection == 1)
                    && let Err(wrong) = tokio::fs::write(&remembered, pod).await
                {
                    warn!(error = %wrong, path = %remembered.display(), "this pod's series will not be ended by the next");
                }
            }
            Err(wrong) => warn!(error = %wrong, "collection ended early"),
        }
    }
}

/// The pod that the agent of this node was, where it is another one now.
pub fn pod_before(remembered: &Path, host: &Host) -> Option<String> {
    let now = host.pod()?;
    std::fs::read_to_string(remembered).ok().filter(|before| before != now)
}
