//! Kills for want of memory, each told once: by the kernel's log, by the groups' counters, by the kubelet's status.
//!
//! No source is enough. The kernel's log is exact and may be overrun or forbidden; a group's counter dies with the
//! container and counts each victim twice in version 2; the kubelet tells only of a container's first process, and only
//! of its last two ends. So of each container id the number of kills is the largest that any of them knows, and what was
//! told of it already is remembered through restarts.

mod kernel;
mod ledger;

pub use ledger::{Group, Ledger};

use crate::changes::{self, Change};
use crate::host::Host;
use crate::once::Once;
use crate::pods::Pods;
use crate::samples::Samples;
use kernel::KernelLog;
use ledger::Kill;
use model::{Clock, LogBatch};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The kernel keeps its log far longer, and a kill is told some time after it in any case.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the collection of metrics adds, and reads for its counter.
pub type Shared = Arc<Mutex<Ledger>>;

pub struct Watching {
    pub host: Arc<Host>,
    pub pods: Pods,
    pub ledger: Shared,
    /// Where what was told is remembered.
    pub once: Once,
}

impl Watching {
    pub async fn run(self: Arc<Self>, clock: Arc<dyn Clock>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut kernel = KernelLog::open(&self.host.root, self.ledger.lock().kernel_seen());
        let mut version = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let now_ns = clock.now_ns();
            {
                let mut ledger = self.ledger.lock();
                for victim in kernel.read(now_ns) {
                    ledger.kernel(victim, now_ns);
                }
                ledger.set_kernel_seen(kernel.seen());
                if self.pods.version() != version || ledger.lacks_a_name() {
                    version = self.pods.version();
                    self.pods.all().iter().for_each(|pod| ledger.status(pod, now_ns));
                }
            }
            self.once.tell(|| self.due(now_ns)).await;
        }
    }

    /// And the ledger that has them as told.
    fn due(&self, now_ns: i64) -> Option<(LogBatch, Vec<u8>)> {
        let (due, told) = {
            let mut ledger = self.ledger.lock();
            let due = ledger.due(now_ns);
            if due.is_empty() {
                return None;
            }
            (due, ledger.to_bytes())
        };
        let changes = due.iter().map(|kill| self.change(kill)).collect();
        Some((changes::batch(changes, &self.host), told))
    }

    fn change(&self, kill: &Kill) -> Change {
        let pod = self.pods.by_uid(&kill.uid);
        let known = self.pods.container(&kill.container_id);
        let container = known.as_ref().map_or(kill.name.as_str(), |known| &known.name);
        let name = pod.as_ref().map_or(kill.uid.as_str(), |pod| &pod.metadata.name);
        let workload = pod.as_ref().and_then(|pod| pod.workload()).map_or(name.to_owned(), |(_, name)| name);
        let mut details = match &pod {
            Some(pod) => {
                crate::pods::attributes(pod, Some(container).filter(|name| !name.is_empty()), &self.host.name)
            }
            None => vec![("k8s.pod.uid".to_owned(), kill.uid.as_str().into())],
        };
        details.retain(|(name, _)| name != "container.id");
        details.push(("container.id".to_owned(), kill.container_id.as_str().into()));
        let mut after = String::from("killed");
        if let Some(victim) = &kill.victim {
            details.push(("process.pid".into(), model::Value::Int(i64::from(victim.pid))));
            details.push(("process.executable.name".into(), victim.name.as_str().into()));
        }
        if let Some((code, reason)) = &kill.exit {
            details.push(("exit.code".into(), model::Value::Int(i64::from(*code))));
            after = format!("{reason}, exit code {code}");
        }
        // A container may have come and gone between two looks at the groups: then its limit is the one that was asked for.
        let limit_bytes = kill.limit_bytes.or_else(|| pod.as_ref()?.memory_limit(container));
        if let Some(limit) = limit_bytes {
            details.push(("memory.limit_bytes".into(), model::Value::Int(limit as i64)));
        }
        if !kill.curve.is_empty() {
            let points: Vec<(i64, f64)> =
                kill.curve.iter().map(|(ns, bytes)| (ns / 1_000_000, *bytes)).collect();
            let text = serde_json::to_string(&points).unwrap_or_default();
            details.push(("memory.working_set".into(), model::Value::Json(text)));
        }
        let last = kill.curve.last().map(|(_, bytes)| format!(", last working set {}", mib(*bytes)));
        let limit = limit_bytes.map(|limit| format!(" of limit {}", mib(limit)));
        let process = kill.victim.as_ref().map(|victim| format!(" (process {} {})", victim.pid, victim.name));
        // Without a kubelet nobody says its name.
        let called = match container {
            "" => kill.container_id.get(..ID_SHOWN).unwrap_or(&kill.container_id),
            name => name,
        };
        let what = format!(
            "OOM kill: container {called} of pod {name}{}{}{}",
            limit.clone().unwrap_or_default(),
            last.unwrap_or_default(),
            process.unwrap_or_default()
        );
        Change {
            ts_ns: kill.ts_ns,
            kind: "oom_kill".into(),
            namespace: pod.as_ref().map(|pod| pod.metadata.namespace.clone()).unwrap_or_default(),
            workload,
            what,
            before: kill.curve.last().map(|(_, bytes)| mib(*bytes)).unwrap_or_default(),
            after,
            severity: 17,
            details,
        }
    }
}

/// As much of a container's id as runtimes' tools show.
const ID_SHOWN: usize = 12;

fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / 1_048_576.0)
}

/// cAdvisor's name for it, by container and through its restarts: a series for each container of each pod, which is 0
/// before the first kill so that the first is seen as an increase.
pub fn collect(ledger: &Shared, pods: &Pods, out: &mut Samples) {
    let ledger = ledger.lock();
    for pod in pods.all() {
        let who = pod.metric_labels();
        for status in pod.statuses() {
            let mut labels: Vec<(&str, &str)> =
                who.iter().map(|(name, value)| (*name, value.as_str())).collect();
            labels.push(("container", &status.name));
            let help = "Count of out of memory events observed for the container";
            let kills = ledger.kills(pod.folder_uid(), &status.name);
            out.counter("container_oom_events_total", help, &labels, kills as f64);
        }
    }
}

#[cfg(test)]
mod tests;
