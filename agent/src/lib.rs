//! The node agent: this machine's metrics under node_exporter's names, its processes and cgroups, its logs, OTLP of
//! applications passed on, and what Prometheus' scrape configurations name. Everything goes through a queue on disk, so nothing is lost while ingest is away.
//!
//! Collectors fill batches and know no network; the queue knows no collector; the shipper sends what the queue has, in
//! order, each record named by the agent and its place in the queue, so that ingest stores it once however often it is sent.

mod alive;
mod caller;
mod changes;
mod cloud;
mod cluster;
mod containers;
mod costs;
mod evictions;
mod gateway;
mod host;
mod job_names;
pub mod kubelet;
mod logs;
mod memory;
mod node;
pub mod objects;
mod oom;
mod pods;
mod preview;
mod priority;
mod processes;
mod queue;
mod samples;
pub mod scrape;
mod ship;
mod targets;

use alive::Alive;
use anyhow::Context;
use costs::Costs;
use gateway::Gateway;
use host::Host;
use model::{Clock, Identify, MetricBatch, Reading, Sink};
use parking_lot::Mutex;
use queue::Queue;
use samples::Samples;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use caller::{Caller, Certificates, Stamp, stamp};
pub use cloud::METADATA as CLOUD_METADATA;
pub use cluster::ClusterSettings;
pub use job_names::JobNames;
pub use logs::Rules as LogRules;
pub use memory::give_back_code;
pub use preview::preview;
pub use priority::{THREADS_MAX, stand_back};
pub use targets::Discover;

/// What the agent collects, and where it goes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Holds the queue and the positions in log files.
    pub data_dir: PathBuf,
    /// The ingest process, as `http://host:port`.
    pub ingest: String,
    /// Shown to ingest.
    pub token: Token,
    /// Shown to ingest, and believed of it.
    pub certificates: Certificates,
    /// Under which this machine's own telemetry is stored.
    pub tenant: model::Tenant,
    /// Where the host's `/proc`, `/sys` and `/var/log` are; not `/` inside a container.
    pub host_root: PathBuf,
    /// What the jobs are called of metrics that are measured here.
    pub job_names: JobNames,
    /// Between two collections of metrics.
    pub interval: Duration,
    /// Globs of plain log files.
    pub log_files: Vec<String>,
    /// Where other programs leave metrics as `*.prom` files, below the host's root.
    pub textfile_dir: PathBuf,
    /// What is done with lines of containers before they are sent.
    pub log_rules: LogRules,
    /// The kubelet of this node; without it pods are known by their log folders alone.
    pub kubelet: Option<kubelet::Settings>,
    /// What this cluster is called, on every record; it is nowhere written in the cluster itself.
    pub cluster_name: Option<String>,
    /// The API server, of which one agent of all tells the cluster's objects.
    pub cluster: Option<ClusterSettings>,
    /// The cloud's metadata server, which says what machine this is; not asked without it.
    pub cloud_metadata: Option<String>,
    /// Which pods of this node are scraped without being named.
    pub discover: Discover,
    /// Which labels and annotations of objects are told.
    pub metadata: objects::Metadata,
    /// What is scraped beside this machine.
    pub scrape_jobs: Vec<scrape::Job>,
    /// The queue on disk; past it the oldest records are dropped and counted.
    pub queue_bytes_max: u64,
}

/// The bearer token that ingest asks for.
#[derive(Clone, Debug, Default)]
pub enum Token {
    #[default]
    None,
    Text(String),
    /// Read again when ingest refuses what was in it: tokens in files rotate.
    File(PathBuf),
}

impl Token {
    fn read(&self) -> std::io::Result<Option<String>> {
        match self {
            Token::None => Ok(None),
            Token::Text(token) => Ok(Some(token.clone())),
            Token::File(path) => Ok(Some(std::fs::read_to_string(path)?.trim().to_owned())),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data_dir: "binnacle-agent".into(),
            ingest: "http://127.0.0.1:7400".into(),
            token: Token::None,
            certificates: Certificates::default(),
            tenant: model::Tenant::default(),
            host_root: "/".into(),
            job_names: JobNames::default(),
            interval: Duration::from_secs(15),
            log_files: ["/var/log/*.log", "/var/log/syslog", "/var/log/messages"].map(str::to_owned).to_vec(),
            // Where Debian's node_exporter reads them.
            textfile_dir: "/var/lib/prometheus/node-exporter".into(),
            log_rules: LogRules::default(),
            kubelet: None,
            cluster_name: None,
            cluster: None,
            cloud_metadata: None,
            discover: Discover::default(),
            metadata: objects::Metadata::default(),
            scrape_jobs: vec![],
            queue_bytes_max: 2 << 30,
        }
    }
}

/// The running agent.
pub struct Agent {
    costs: Costs,
    queue: Arc<Queue>,
    gateway: Arc<Gateway>,
    scraping: Arc<scrape::Scraping>,
    jobs: Arc<Jobs>,
    kubelet: Option<Arc<kubelet::Counts>>,
    cluster: Option<Arc<cluster::Counts>>,
    log_lines: LogLines,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What is scraped, by who named it.
struct Jobs {
    /// The configuration; it can be read anew.
    named: Mutex<Vec<scrape::Job>>,
    of_kubelet: Vec<scrape::Job>,
    /// On this node, by looking.
    found: Mutex<Vec<scrape::Job>>,
}

impl Jobs {
    fn all(&self) -> Vec<scrape::Job> {
        let (named, found) = (self.named.lock(), self.found.lock());
        named.iter().chain(&self.of_kubelet).chain(found.iter()).cloned().collect()
    }
}

/// What can be changed and seen of the reading of log files.
struct LogLines {
    rules: Arc<Mutex<Arc<LogRules>>>,
    counts: Arc<logs::Counts>,
}

/// What is collected last is sent within this time after the stop, or with the next start.
const LAST_SEND_MAX: Duration = Duration::from_secs(2);

impl Agent {
    /// Opens the queue and starts collecting.
    pub async fn start(
        config: Config,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> anyhow::Result<Agent> {
        std::fs::create_dir_all(&config.data_dir)
            .with_context(|| format!("making the agent's directory {}", config.data_dir.display()))?;
        let (dir, bytes_max) = (config.data_dir.join("queue"), config.queue_bytes_max);
        let queue = tokio::task::spawn_blocking(move || Queue::open(dir, bytes_max)).await?;
        let queue = queue.context("opening the agent's queue")?.of_cluster(config.cluster_name.clone());
        let queue = Arc::new(queue);
        let host = Arc::new(Host::of(&config.host_root).in_cluster(config.cluster_name.clone()));
        info!(host = host.name, ingest = config.ingest, waiting = queue.waiting(), "agent collects");
        let shipper = ship::Shipper::new(&config, queue.clone())?;
        let sending = CancellationToken::new();
        let (pods, costs) = (pods::Pods::default(), Costs::default());
        let mut collectors = vec![];
        let senders = pods.clone();
        let (mut kubelet, mut of_kubelet) = (None, vec![]);
        let place = (host.clone(), queue.clone());
        let evictions = Arc::new(evictions::Evictions::new(&config, place, clock.now_ns()));
        if let Some(settings) = &config.kubelet {
            let place = (host.clone(), queue.clone());
            let of_pods = (pods.clone(), evictions.clone());
            let asking = kubelet::Kubelet::new(settings, &config, place, of_pods, clock.clone())?;
            of_kubelet = kubelet::scrape_jobs(settings, &host, &config);
            kubelet = Some(asking.counts());
            collectors.push(tokio::spawn(asking.run(stop.clone())));
        }
        let mut watched = None;
        if let Some(settings) = &config.cluster {
            let place = (host.clone(), queue.clone());
            let watching = Arc::new(cluster::Cluster::new(settings, &config, place, clock.clone())?);
            watched = Some(watching.counts.clone());
            collectors.push(tokio::spawn(watching.run(stop.clone())));
            let watch = evictions::watch::Watch::new(&settings.access(), &host.name, evictions)?;
            collectors.push(tokio::spawn(watch.run(stop.clone())));
        }
        let named = Mutex::new(config.scrape_jobs.clone());
        let jobs = Arc::new(Jobs { named, of_kubelet, found: Mutex::default() });
        let tenant = config.tenant.clone();
        let scraping = scrape::Scraping::new(queue.clone(), tenant, clock.clone(), jobs.all());
        collectors.push(tokio::spawn(scraping.clone().run(stop.clone())));
        if config.kubelet.is_some() || config.cluster.is_some() {
            let finding = targets::Finding::new(&config, &host, pods.clone(), watched.clone())?;
            let (jobs, scraping) = (jobs.clone(), scraping.clone());
            let found = move |found| {
                *jobs.found.lock() = found;
                scraping.set_jobs(jobs.all());
            };
            collectors.push(tokio::spawn(finding.run(found, stop.clone())));
        }
        let path = config.data_dir.join("oom.json");
        let remembered = std::fs::read(&path).map(|bytes| oom::Ledger::from_bytes(&bytes));
        let kills = Arc::new(Mutex::new(remembered.unwrap_or_default()));
        let watching = oom::Watching {
            host: host.clone(),
            pods: pods.clone(),
            queue: queue.clone(),
            tenant: config.tenant.clone(),
            ledger: kills.clone(),
            path,
        };
        collectors.push(tokio::spawn(watching.run(clock.clone(), stop.clone())));
        let machine = cloud::Known::default();
        if let Some(base) = &config.cloud_metadata {
            collectors.push(tokio::spawn(machine.clone().ask(base.clone(), stop.clone())));
        }
        let measured = Measured {
            machine,
            config: config.clone(),
            host: host.clone(),
            queue: queue.clone(),
            pods: pods.clone(),
            kills,
            mounts: node::Mounts::default(),
            costs: costs.clone(),
        };
        collectors.push(tokio::spawn(collect(measured, clock.clone(), stop.clone())));
        let rules = Arc::new(Mutex::new(Arc::new(config.log_rules.clone())));
        let counts = Arc::<logs::Counts>::default();
        let shared = logs::Shared {
            host: host.clone(),
            pods,
            queue: queue.clone(),
            rules: rules.clone(),
            counts: counts.clone(),
            costs: costs.clone(),
        };
        let log_lines = LogLines { rules, counts };
        collectors.push(tokio::spawn(logs::tail(config, shared, clock, stop)));
        let shipping = tokio::spawn(shipper.run(sending.clone()));
        let closing = tokio::spawn(async move {
            for collector in collectors {
                let _ = collector.await;
            }
            sending.cancel();
        });
        let gateway = Arc::new(Gateway { queue: queue.clone(), host, pods: senders });
        Ok(Agent {
            costs,
            queue,
            gateway,
            scraping,
            jobs,
            kubelet,
            cluster: watched,
            log_lines,
            tasks: Mutex::new(vec![closing, shipping]),
        })
    }

    /// Takes telemetry of applications in: it is given this host's attributes and queued.
    pub fn sink(&self) -> Arc<dyn Sink> {
        self.gateway.clone()
    }

    /// Knows the pods of this node by their addresses.
    pub fn identify(&self) -> Arc<dyn Identify> {
        self.gateway.clone()
    }

    pub fn readings(&self) -> Vec<Reading> {
        let mut readings = self.queue.readings();
        readings.extend(self.scraping.readings());
        readings.extend(self.costs.readings());
        readings.extend(self.log_lines.counts.readings());
        readings.extend(self.cluster.iter().flat_map(|counts| counts.readings()));
        readings.extend(self.kubelet.iter().flat_map(|counts| counts.readings()));
        readings
    }

    /// What is scraped, and how the last scrapes went.
    pub fn targets(&self) -> scrape::Targets {
        self.scraping.targets()
    }

    /// Other jobs from here on, beside the kubelet's and those that are found.
    pub fn set_scrape_jobs(&self, jobs: Vec<scrape::Job>) {
        *self.jobs.named.lock() = jobs;
        self.scraping.set_jobs(self.jobs.all());
    }

    /// Other rules for lines of containers from here on.
    pub fn set_log_rules(&self, rules: LogRules) {
        *self.log_lines.rules.lock() = Arc::new(rules);
    }

    /// After the stop: waits for collectors, and a moment for what they still had.
    pub async fn join(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            let abort = task.abort_handle();
            if tokio::time::timeout(LAST_SEND_MAX, task).await.is_err() {
                abort.abort();
            }
        }
    }
}

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

/// What is measured at this collection beside what is measured at each.
#[derive(Clone, Copy)]
struct Due {
    dear: bool,
    each_process: bool,
}

/// What one collection leaves to the next.
#[derive(Default)]
struct Left {
    known: processes::Processes,
    /// Series by what is measured together. What some collections leave out is a part of its own: it has not ended by that.
    /// An agent that starts knows none, and none is ended when it stops: the next one on its node tells the same, and what
    /// goes between the two fades after five minutes.
    processes: Alive,
    node: Alive,
    dear: Alive,
    containers: Alive,
    objects: Alive,
}

/// What the collection of metrics works with.
struct Measured {
    machine: cloud::Known,
    config: Config,
    host: Arc<Host>,
    queue: Arc<Queue>,
    pods: pods::Pods,
    kills: oom::Shared,
    mounts: node::Mounts,
    costs: Costs,
}

impl Measured {
    /// `before`: the pod that told the node's series before this one.
    fn collect(&self, due: Due, before: Option<String>, left: &mut Left, out: &mut Samples) {
        let Measured { machine, config, host, pods, kills, mounts, costs, .. } = self;
        machine.tell(out);
        if due.each_process {
            let known = &mut left.known;
            let processes = |out: &mut Samples| known.collect(&host.root, out);
            costs.of("processes", || out.ending(&mut left.processes, processes));
        }
        out.of_pod(&host.pod_labels, before);
        costs.of("node", || {
            let textfiles = config.textfile_dir.to_string_lossy();
            out.ending(&mut left.node, |out| {
                node::collect(&host.root, &textfiles, mounts, out);
                out.up();
            });
            if due.dear {
                out.ending(&mut left.dear, |out| node::collect_dear(&host.root, out));
            }
        });
        costs.of("containers", || {
            pods.look(&host.root);
            let groups = |out: &mut Samples| containers::collect(&host.root, &host.name, pods, kills, out);
            out.ending(&mut left.containers, groups);
        });
        // A kubelet that does not answer ends no pod: they are told as it named them last.
        let of_pods = |out: &mut Samples| objects::collect(&host.name, pods, &config.metadata, out);
        costs.of("objects", || out.ending(&mut left.objects, of_pods));
    }
}

/// Node, process and cgroup metrics, at once and then every interval.
async fn collect(with: Measured, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let with = Arc::new(with);
    let Measured { config, host, queue, .. } = &*with;
    let mut ticks = tokio::time::interval(config.interval);
    // A machine that stalls is measured once when it comes back, not once for every tick that it missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left = Left::default();
    let mut collection = 0u64;
    let (mut dear, mut each_process) = (Cadence::of(DEAR_EVERY), Cadence::of(PROCESSES_EVERY));
    let remembered = config.data_dir.join("pod");
    let (pod, mut before) = (host.pod().map(str::to_owned), pod_before(&remembered, host));
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let (measured, clock, before) = (with.clone(), clock.clone(), before.take());
        let mut kept = std::mem::take(&mut left);
        let due =
            Due { dear: dear.is_due(config.interval), each_process: each_process.is_due(config.interval) };
        let (full, mut pieces) = tokio::sync::mpsc::channel(1);
        // Reads of /proc and statvfs of a network disk may block.
        let collected = tokio::task::spawn_blocking(move || {
            let describe = collection.is_multiple_of(DESCRIBE_EVERY);
            let samples = Samples::new(clock.now_ns(), &measured.host.name, describe);
            let mut samples = samples.in_jobs(&measured.config.job_names).in_pieces(full);
            measured.collect(due, before, &mut kept, &mut samples);
            (samples.finish(), kept)
        });
        let push = async |batch: MetricBatch| queue.keep_metrics(&config.tenant, &batch).await;
        while let Some(piece) = pieces.recv().await {
            push(piece).await;
        }
        match collected.await {
            Ok((rest, kept)) => {
                left = kept;
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
fn pod_before(remembered: &Path, host: &Host) -> Option<String> {
    let now = host.pod()?;
    std::fs::read_to_string(remembered).ok().filter(|before| before != now)
}

#[cfg(test)]
mod tests;
