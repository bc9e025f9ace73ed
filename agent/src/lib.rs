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
mod measure;
mod memory;
mod node;
pub mod objects;
mod once;
mod oom;
mod panics;
mod pods;
mod preview;
mod priority;
mod processes;
mod queue;
mod samples;
pub mod scrape;
mod ship;
mod targets;

use anyhow::Context;
use costs::Costs;
use gateway::Gateway;
use host::Host;
use measure::Machine;
use model::{Clock, Identify, Reading, Sink};
use once::Once;
use panics::Panics;
use parking_lot::Mutex;
use queue::Queue;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

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
    /// Where other programs leave metrics as `*.prom` files, below the host's root; the usual folder without it.
    pub textfile_dir: Option<PathBuf>,
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
            textfile_dir: None,
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
    panics: Panics,
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

/// A part that keeps what it knows through a panic.
fn shared<T>(part: T) -> Arc<tokio::sync::Mutex<T>> {
    Arc::new(tokio::sync::Mutex::new(part))
}

/// What can be changed and seen of the reading of log files.
struct LogLines {
    rules: Arc<Mutex<Arc<LogRules>>>,
    counts: Arc<logs::Counts>,
}

/// Parts of the agent, each of which begins anew by itself.
struct Parts {
    panics: Panics,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Parts {
    /// `begin` is asked for the part at the start and after each panic.
    fn run<F>(&mut self, part: &'static str, begin: impl FnMut(CancellationToken) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (mut begin, stop) = (begin, self.stop.clone());
        let begin = move || begin(stop.clone());
        self.tasks.push(tokio::spawn(self.panics.clone().begun_anew(part, self.stop.clone(), begin)));
    }
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
        let shipper = Arc::new(ship::Shipper::new(&config, queue.clone())?);
        let sending = CancellationToken::new();
        let (pods, costs, panics) = (pods::Pods::default(), Costs::default(), Panics::default());
        let mut collectors = Parts { panics: panics.clone(), stop, tasks: vec![] };
        let senders = pods.clone();
        let (mut kubelet, mut of_kubelet) = (None, vec![]);
        let place = (host.clone(), queue.clone());
        let evictions = Arc::new(evictions::Evictions::new(&config, place, clock.now_ns()).await);
        if let Some(settings) = &config.kubelet {
            let place = (host.clone(), queue.clone());
            let of_pods = (pods.clone(), evictions.clone());
            let asking = kubelet::Kubelet::new(settings, &config, place, of_pods, clock.clone())?;
            of_kubelet = kubelet::scrape_jobs(settings, &host, &config);
            kubelet = Some(asking.counts());
            let asking = shared(asking);
            collectors.run("kubelet", move |stop| {
                let asking = asking.clone();
                async move { asking.lock().await.run(stop).await }
            });
        }
        let mut watched = None;
        if let Some(settings) = &config.cluster {
            let place = (host.clone(), queue.clone());
            let watching = cluster::Cluster::new(settings, &config, place, clock.clone(), panics.clone())?;
            let watching = Arc::new(watching);
            watched = Some(watching.counts.clone());
            collectors.run("cluster", move |stop| watching.clone().run(stop));
            let watch = shared(evictions::watch::Watch::new(&settings.access(), &host.name, evictions)?);
            collectors.run("evictions", move |stop| {
                let watch = watch.clone();
                async move { watch.lock().await.run(stop).await }
            });
        }
        let named = Mutex::new(config.scrape_jobs.clone());
        let jobs = Arc::new(Jobs { named, of_kubelet, found: Mutex::default() });
        let tenant = config.tenant.clone();
        let scraping =
            scrape::Scraping::new(queue.clone(), tenant, clock.clone(), jobs.all(), panics.clone());
        let scraped = scraping.clone();
        collectors.run("scrape", move |stop| scraped.clone().run(stop));
        if config.kubelet.is_some() || config.cluster.is_some() {
            let finding = shared(targets::Finding::new(&config, &host, pods.clone(), watched.clone())?);
            let (jobs, scraping) = (jobs.clone(), scraping.clone());
            collectors.run("targets", move |stop| {
                let (finding, jobs, scraping) = (finding.clone(), jobs.clone(), scraping.clone());
                let found = move |found| {
                    *jobs.found.lock() = found;
                    scraping.set_jobs(jobs.all());
                };
                async move { finding.lock().await.run(found, stop).await }
            });
        }
        let path = config.data_dir.join("oom.json");
        let (once, remembered) = Once::open(path, queue.clone(), config.tenant.clone()).await;
        let mut kills = oom::Ledger::from_bytes(&remembered.unwrap_or_default());
        kills.set_has_kubelet(config.kubelet.is_some());
        let kills = Arc::new(Mutex::new(kills));
        let watching =
            Arc::new(oom::Watching { host: host.clone(), pods: pods.clone(), ledger: kills.clone(), once });
        let of_kills = clock.clone();
        collectors.run("oom", move |stop| watching.clone().run(of_kills.clone(), stop));
        let cloud = cloud::Known::default();
        if let Some(base) = config.cloud_metadata.clone() {
            let cloud = cloud.clone();
            collectors.run("cloud", move |stop| cloud.clone().ask(base.clone(), stop));
        }
        let machine = Arc::new(Machine {
            cloud,
            config: config.clone(),
            host: host.clone(),
            pods: pods.clone(),
            kills,
            mounts: node::Mounts::default(),
            textfiles: node::Textfiles::of(config.textfile_dir.as_deref()),
            costs: costs.clone(),
            panics: panics.clone(),
        });
        let (measured, of_metrics) = (queue.clone(), clock.clone());
        collectors.run("metrics", move |stop| {
            measure::collect(machine.clone(), measured.clone(), of_metrics.clone(), stop)
        });
        let rules = Arc::new(Mutex::new(Arc::new(config.log_rules.clone())));
        let counts = Arc::<logs::Counts>::default();
        let of_logs = logs::Shared {
            host: host.clone(),
            pods,
            queue: queue.clone(),
            rules: rules.clone(),
            counts: counts.clone(),
            costs: costs.clone(),
            panics: panics.clone(),
        };
        let log_lines = LogLines { rules, counts };
        collectors.run("logs", move |stop| logs::tail(config.clone(), of_logs.clone(), clock.clone(), stop));
        let until = sending.clone();
        let begin = move || shipper.clone().run(until.clone());
        let shipping = tokio::spawn(panics.clone().begun_anew("sending", sending.clone(), begin));
        let closing = tokio::spawn(async move {
            for collector in collectors.tasks {
                let _ = collector.await;
            }
            sending.cancel();
        });
        let gateway = Arc::new(Gateway { queue: queue.clone(), host, pods: senders });
        Ok(Agent {
            costs,
            panics,
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
        readings.extend(self.panics.readings());
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

#[cfg(test)]
mod tests;
