//! What belongs to no node: workloads, nodes, claims, autoscalers and events of the cluster, listed and watched by one
//! agent of all. It tells them under kube-state-metrics' names, their changes as rows of `changes`, and events as logs.
//!
//! A list that the API server no longer can go on from (410, an ERROR on a stream of status 200) is read anew; what was
//! missed in between then shows as a difference. A kind that may not be read is said once and left out.

mod asked;
mod difference;
mod election;
mod events;
mod held;
mod known;
mod lately;
mod lease;
mod missed;
mod rollouts;
mod schedule;
mod sizes;
pub mod state;

use crate::Config;
use crate::alive::Alive;
use crate::changes::{self, Change};
use crate::host::Host;
use crate::kubelet::client::{Client, Lines, TIMEOUT, beginning, body};
use crate::kubelet::{Settings, Trust};
use crate::panics::{Panics, joined};
use crate::queue::{self, PushError, Queue, Record};
use crate::samples::Samples;
use asked::Asked;
use held::Held;
use known::{Event, Known, Text};
use lately::Lately;
use lease::Note;
use model::{Clock, LogBatch, MetricBatch, Reading};
use parking_lot::Mutex;
use reqwest::{Method, StatusCode};
use rollouts::{Rollouts, Until};
use serde_json::Value;
use sizes::Sizes;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Where the API server is and who we are to it.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    pub url: String,
    pub token_file: PathBuf,
    pub trust: Trust,
    /// Of the lease.
    pub namespace: String,
    pub identity: String,
}

impl ClusterSettings {
    pub fn access(&self) -> Settings {
        let ClusterSettings { url, token_file, trust, .. } = self.clone();
        Settings { url, token_file, trust }
    }
}

const LEASE: &str = "binnacle-agent";

/// Kinds that are watched, and their paths.
const WATCHED: [(&str, &str); 33] = [
    ("Node", "/api/v1/nodes"),
    ("Namespace", "/api/v1/namespaces"),
    // Those that no node has yet.
    ("Pod", "/api/v1/pods?fieldSelector=spec.nodeName%3D"),
    ("PersistentVolumeClaim", "/api/v1/persistentvolumeclaims"),
    ("PersistentVolume", "/api/v1/persistentvolumes"),
    ("Service", "/api/v1/services"),
    ("Deployment", "/apis/apps/v1/deployments"),
    ("ReplicaSet", "/apis/apps/v1/replicasets"),
    ("StatefulSet", "/apis/apps/v1/statefulsets"),
    ("DaemonSet", "/apis/apps/v1/daemonsets"),
    ("Job", "/apis/batch/v1/jobs"),
    ("CronJob", "/apis/batch/v1/cronjobs"),
    ("HorizontalPodAutoscaler", "/apis/autoscaling/v2/horizontalpodautoscalers"),
    ("PodDisruptionBudget", "/apis/policy/v1/poddisruptionbudgets"),
    ("ResourceQuota", "/api/v1/resourcequotas"),
    ("ReplicationController", "/api/v1/replicationcontrollers"),
    ("LimitRange", "/api/v1/limitranges"),
    ("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices"),
    ("Ingress", "/apis/networking.k8s.io/v1/ingresses"),
    ("NetworkPolicy", "/apis/networking.k8s.io/v1/networkpolicies"),
    ("StorageClass", "/apis/storage.k8s.io/v1/storageclasses"),
    ("VolumeAttachment", "/apis/storage.k8s.io/v1/volumeattachments"),
    ("Lease", "/apis/coordination.k8s.io/v1/leases"),
    ("CertificateSigningRequest", "/apis/certificates.k8s.io/v1/certificatesigningrequests"),
    ("MutatingWebhookConfiguration", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"),
    (
        "ValidatingWebhookConfiguration",
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    ),
    // Younger than others: there are servers that do not have them.
    ("ValidatingAdmissionPolicy", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"),
    (
        "ValidatingAdmissionPolicyBinding",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    ),
    ("MutatingAdmissionPolicy", "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies"),
    (
        "MutatingAdmissionPolicyBinding",
        "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings",
    ),
    ("Event", "/api/v1/events"),
    // Only where a role allows them, and of both the metadata alone, and a secret's type.
    ("ConfigMap", "/api/v1/configmaps"),
    ("Secret", "/api/v1/secrets"),
];

/// Objects of one page of a list: some MB of parsed ones at a time.
const PAGE: usize = 100;

/// Pages that are read at a time. At the beginning of a term all kinds are listed, and each page is large for a moment.
const PAGES_AT_ONCE: usize = 2;

/// A watch ends after this time and goes on with a new one.
const WATCH_S: u64 = 300;

const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A right that is missing may be granted while we run.
const FORBIDDEN_WAIT: Duration = Duration::from_secs(300);

/// After the election, until most lists are there: who watched before told its last objects some time ago.
const LISTED_WITHIN: Duration = Duration::from_secs(2);

pub struct Cluster {
    client: Client,
    settings: ClusterSettings,
    config: Config,
    host: Arc<Host>,
    queue: Arc<Queue>,
    clock: Arc<dyn Clock>,
    panics: Panics,
    known: Vec<Mutex<Known>>,
    told: Mutex<Told>,
    rollouts: Mutex<Rollouts>,
    asked: Mutex<Asked>,
    /// When the lease of this term was last asked for; between terms nobody watches.
    renewed: Mutex<Option<Instant>>,
    /// Of what is held: the lease shall say that it is told.
    news: Notify,
    /// What was held is told.
    settled: Notify,
    pages: Semaphore,
    /// Where what is held is written down before the lease says so.
    path: PathBuf,
    pub counts: Arc<Counts>,
}

/// What is told: everything once, whoever leads.
#[derive(Default)]
struct Told {
    /// By the holders of the lease before, by kind.
    before: BTreeMap<String, Until>,
    /// As they were then, by kind.
    sizes: BTreeMap<String, Sizes>,
    /// By us, with all that is held. One lock is over both: the lease never says more or less than what goes on its way by it.
    note: Note,
    /// By us, and by the holder before.
    lately: Lately,
    held: Held,
}

/// For the agent's own metrics, and for who asks whether this agent leads.
#[derive(Default)]
pub struct Counts {
    leads: AtomicU64,
    events: AtomicU64,
    relists: AtomicU64,
    left_out: AtomicU64,
}

impl Counts {
    /// Whether this agent is the one of all that asks the API server.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed) > 0
    }

    pub fn readings(&self) -> Vec<Reading> {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        vec![
            Reading::gauge(
                "binnacle_agent_watches_cluster",
                "Whether this agent is the one that watches the cluster",
                count(&self.leads),
            ),
            Reading::counter(
                "binnacle_agent_cluster_events_total",
                "Changes of objects that the API server told of",
                count(&self.events),
            ),
            Reading::counter(
                "binnacle_agent_cluster_relists_total",
                "Lists that had to be read anew because a watch could not go on",
                count(&self.relists),
            ),
            Reading::gauge(
                "binnacle_agent_cluster_objects_left_out",
                "Objects of the cluster that are not told because there are too many of their kind",
                count(&self.left_out),
            ),
        ]
    }
}

#[derive(Debug)]
enum Trouble {
    /// The role does not allow it.
    Forbidden(String),
    /// The API server has no such kind.
    Absent,
    Other(String),
}

impl Trouble {
    fn why(self) -> String {
        match self {
            Trouble::Forbidden(why) | Trouble::Other(why) => why,
            Trouble::Absent => "the API server has no such kind".into(),
        }
    }
}

/// Whether a list or a watch went well, for who alerts on those that do not. What is refused or not there is left out, and
/// is no mistake.
fn went_well<T>(ended: &Result<T, Trouble>) -> Option<bool> {
    match ended {
        Ok(_) => Some(true),
        Err(Trouble::Other(_)) => Some(false),
        Err(Trouble::Forbidden(_) | Trouble::Absent) => None,
    }
}

impl Cluster {
    pub fn new(
        settings: &ClusterSettings,
        config: &Config,
        (host, queue): (Arc<Host>, Arc<Queue>),
        clock: Arc<dyn Clock>,
        panics: Panics,
    ) -> anyhow::Result<Cluster> {
        let client = Client::new(&settings.access())?;
        let known = WATCHED.iter().map(|&(kind, _)| Mutex::new(Known::of(kind))).collect();
        let (settings, config) = (settings.clone(), config.clone());
        let (rollouts, asked, renewed) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (news, settled, pages) = (Notify::new(), Notify::new(), Semaphore::new(PAGES_AT_ONCE));
        let path = config.data_dir.join("cluster.held");
        let held = std::fs::read(&path).ok().and_then(|bytes| Held::from_bytes(&bytes)).unwrap_or_default();
        let told = Mutex::new(Told { held, ..Told::default() });
        Ok(Cluster {
            client,
            settings,
            config,
            host,
            queue,
            clock,
            panics,
            known,
            told,
            rollouts,
            asked,
            renewed,
            news,
            settled,
            pages,
            path,
            counts: Arc::default(),
        })
    }

    /// Whether the lease is ours still. A process that stood still for longer than it lasts has another holder beside it
    /// before it notices, and what came meanwhile is told by that one.
    fn holds(&self) -> bool {
        self.renewed.lock().is_none_or(|asked| !lease::left(asked, Instant::now()).is_zero())
    }

    async fn json(
        &self,
        method: Method,
        path: &str,
        written: Option<&Value>,
    ) -> Result<(StatusCode, Value), String> {
        let response = self.client.send(method, path, written, TIMEOUT).await?;
        let status = response.status();
        let bytes = body(response).await?;
        let value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| serde_json::json!({ "message": beginning(&bytes) }));
        Ok((status, value))
    }

    /// Each kind, and what is measured of all, begins anew by itself after a panic for as long as the term lasts.
    fn begin(self: Arc<Self>, ending: &CancellationToken) -> Vec<tokio::task::JoinHandle<()>> {
        let watched = (0..WATCHED.len()).map(|at| {
            let (watching, until) = (self.clone(), ending.clone());
            let begin = move || watching.clone().watch(at, until.clone());
            tokio::spawn(self.panics.clone().begun_anew("cluster", ending.clone(), begin))
        });
        let mut tasks: Vec<_> = watched.collect();
        let (measuring, until) = (self.clone(), ending.clone());
        let begin = move || measuring.clone().measure(until.clone());
        tasks.push(tokio::spawn(self.panics.clone().begun_anew("cluster", ending.clone(), begin)));
        tasks
    }

    async fn measure(self: Arc<Self>, ending: CancellationToken) {
        let first = tokio::time::Instant::now() + LISTED_WITHIN;
        let mut ticks = tokio::time::interval_at(first, self.config.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Of this term alone, and dropped with it: who is elected next tells the same series under the same labels, and
        // markers of ours would end his. What goes while nobody is elected fades after five minutes, as it does where an
        // agent ends. Of two who both believe that they are elected each ends what it told itself, when it sees it go:
        // the other may tell it until it sees it too, and then ends it last.
        let mut alive = Alive::default();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = ending.cancelled() => return,
            }
            // A large cluster has 500,000 series: they go on their way by pieces, as those of a node do.
            let (collecting, mut kept) = (self.clone(), std::mem::take(&mut alive));
            let (full, mut pieces) = mpsc::channel(1);
            let collected = tokio::task::spawn_blocking(move || {
                let rest = collecting.collect(collecting.samples().in_pieces(full), &mut kept);
                (rest, kept)
            });
            while let Some(piece) = pieces.recv().await {
                self.keep(&piece).await;
            }
            let Some((rest, kept)) = joined(collected.await) else { return };
            alive = kept;
            self.keep(&rest).await;
        }
    }

    async fn keep(&self, batch: &MetricBatch) {
        if batch.samples() > 0 && self.holds() {
            self.queue.keep_metrics(&self.config.tenant, batch).await;
        }
    }

    fn samples(&self) -> Samples {
        let mut samples = Samples::new(self.clock.now_ns(), &self.host.name, true);
        samples.of_kube_state("");
        samples
    }

    /// All objects as they are known. An API server that does not answer changes nothing of that, as with
    /// kube-state-metrics: what is known is told on.
    fn collect(&self, mut samples: Samples, alive: &mut Alive) -> MetricBatch {
        let mut left_out = 0;
        samples.ending(alive, |out| {
            out.up();
            for ((kind, _), known) in WATCHED.iter().zip(&self.known) {
                let texts = {
                    let known = known.lock();
                    left_out += known.left_out as u64;
                    known.texts()
                };
                for text in texts {
                    state::tell(kind, &known::object(&text), &self.config.metadata, out);
                }
            }
            // Who tells may wait for the queue, and nobody for who tells.
            let asked = self.asked.lock().clone();
            asked.tell(out);
        });
        self.counts.left_out.store(left_out, Ordering::Relaxed);
        samples.finish()
    }

    /// One kind, listed and watched until the term ends.
    async fn watch(self: Arc<Self>, at: usize, ending: CancellationToken) {
        let (kind, path) = WATCHED[at];
        let (mut failures, mut lists) = (0u32, true);
        let mut refusals = 0u32;
        loop {
            let work = async {
                if lists {
                    let listed = self.list(at, kind, path).await;
                    if let Some(well) = went_well(&listed) {
                        self.asked.lock().listed(kind, path, well);
                    }
                    listed?;
                }
                let followed = self.follow(at, kind, path).await;
                if let Some(well) = went_well(&followed) {
                    self.asked.lock().watched(kind, path, well);
                }
                followed
            };
            let came_to = tokio::select! {
                came_to = work => came_to,
                () = ending.cancelled() => return,
            };
            let wait = match came_to {
                Ok(Some(why)) => {
                    debug!(kind, why, "the list is read anew");
                    self.counts.relists.fetch_add(1, Ordering::Relaxed);
                    (lists, failures) = (true, failures + 1);
                    backoff(failures)
                }
                // A watch has its end; the next goes on from where it was.
                Ok(None) => {
                    (lists, failures, refusals) = (false, 0, 0);
                    Duration::ZERO
                }
                Err(Trouble::Forbidden(why)) => {
                    let is_optional = matches!(kind, "ConfigMap" | "Secret");
                    match is_optional {
                        true => {
                            debug!(kind, why, "changes of these are not told: the role does not allow them")
                        }
                        false if refusals == 0 => {
                            warn!(kind, why, "the agent's ClusterRole must allow list and watch");
                        }
                        false => {}
                    }
                    (lists, refusals) = (true, refusals + 1);
                    refused(refusals)
                }
                Err(Trouble::Absent) => {
                    debug!(kind, "this API server has no such kind");
                    (lists, refusals) = (true, refusals + 1);
                    refused(refusals)
                }
                Err(Trouble::Other(why)) => {
                    if failures == 0 {
                        warn!(kind, why, "the API server does not answer");
                    }
                    (lists, failures) = (true, failures + 1);
                    backoff(failures)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = ending.cancelled() => return,
            }
        }
    }

    async fn list(&self, at: usize, kind: &str, path: &str) -> Result<(), Trouble> {
        let is_first = self.known[at].lock().version.is_empty();
        let before = self.told.lock().before.get(kind).copied().filter(|_| is_first);
        // Who scaled a workload in a gap of the lease stands in what else nobody asks for.
        let shorten: fn(&str, Value) -> Value = match before {
            Some(_) if rollouts::KINDS.contains(&kind) => |_, workload| workload,
            None if is_first => known::kept,
            _ => |_, object| known::trimmed(object),
        };
        let (items, version) = self.pages(kind, path, shorten).await?;
        let missed = match before {
            Some(until) => self.missed(kind, &items, until).await,
            None => vec![],
        };
        let since = before.filter(|_| matches!(kind, "Event" | "ConfigMap" | "Secret"));
        let (mut events, left_out) = {
            let mut known = self.known[at].lock();
            let items = items.iter().map(|text| known::object(text));
            let events = known.replace(items, version, since.map(|until| until.version));
            (events, known.left_out)
        };
        if left_out > 0 {
            warn!(kind, left_out, "there are more objects of a kind than are told");
        }
        if let Some(until) = since {
            let since = |event| difference::since(kind, event, until);
            events = events.into_iter().filter_map(since).collect();
        }
        self.tell(at, kind, missed, events).await;
        Ok(())
    }

    /// What became of workloads and nodes between the last word of who watched before and our first.
    async fn missed(&self, kind: &str, items: &[Text], until: Until) -> Vec<Change> {
        if kind != "Node" && !rollouts::KINDS.contains(&kind) {
            return vec![];
        }
        let is_later = |one: &Value| known::version_of(one).parse::<u64>().is_ok_and(|at| at > until.version);
        let items = items.iter().map(|text| known::object(text));
        let later: Vec<Value> = items.filter(is_later).collect();
        let later: Vec<&Value> = later.iter().collect();
        let found = match kind {
            "Node" => missed::of_nodes(&later, until),
            _ => self.missed_of(kind, &later, until).await,
        };
        self.told.lock().lately.untold(found)
    }

    /// Rollouts and scalings, out of what the cluster keeps of them.
    async fn missed_of(&self, kind: &str, workloads: &[&Value], until: Until) -> Vec<Change> {
        let shorten: fn(&str, Value) -> Value = |_, one| known::of_history(one);
        let kept = async |path: &str| match self.pages(kind, path, shorten).await {
            Ok((kept, _)) => kept,
            Err(trouble) => {
                let why = trouble.why();
                warn!(kind, path, why, "what nobody watched is told in part: it cannot be had");
                vec![]
            }
        };
        if workloads.is_empty() {
            return vec![];
        }
        let objects = |texts: Vec<Text>| texts.into_iter().map(|text| known::object(&text));
        let history = objects(kept(rollouts::history_path(kind)).await);
        let uids = rollouts::uids(workloads);
        let history: Vec<Value> = history.filter(|one| rollouts::is_of(one, &uids)).collect();
        let events = if kind == "Deployment" { kept(missed::SCALINGS_PATH).await } else { vec![] };
        let events: Vec<Value> = objects(events).collect();
        let mut found = rollouts::missed(kind, workloads, &history, until, self.clock.now_ns());
        let sizes = self.told.lock().sizes.get(kind).cloned().unwrap_or_default();
        let kept = missed::Kept { events: &events, sizes: &sizes };
        found.extend(missed::scalings(kind, workloads, &kept, &found, until));
        found
    }

    /// A whole list, and its version. What is not asked for goes page by page, and objects are text until they are read.
    async fn pages(
        &self,
        kind: &str,
        path: &str,
        shorten: fn(&str, Value) -> Value,
    ) -> Result<(Vec<Text>, String), Trouble> {
        let (mut items, mut next, mut version) = (vec![], String::new(), String::new());
        loop {
            // It is closed by nobody.
            let _turn = self.pages.acquire().await.ok();
            let page = match next.is_empty() {
                true => with(path, &format!("limit={PAGE}")),
                false => with(path, &format!("limit={PAGE}&continue={next}")),
            };
            let (status, mut list) = self.json(Method::GET, &page, None).await.map_err(Trouble::Other)?;
            let message = || list["message"].as_str().unwrap_or("").to_owned();
            match status {
                StatusCode::OK => {}
                StatusCode::FORBIDDEN => return Err(Trouble::Forbidden(message())),
                StatusCode::NOT_FOUND => return Err(Trouble::Absent),
                other => return Err(Trouble::Other(format!("{other}: {}", message()))),
            }
            version = list["metadata"]["resourceVersion"].as_str().unwrap_or(&version).to_owned();
            next = list["metadata"]["continue"].as_str().unwrap_or("").to_owned();
            let page = known::items(&mut list).into_iter();
            items.extend(page.map(|one| known::text(&shorten(kind, one))));
            if next.is_empty() {
                return Ok((items, version));
            }
        }
    }

    /// Until the watch ends; the text is why the list is to be read anew.
    async fn follow(&self, at: usize, kind: &str, path: &str) -> Result<Option<String>, Trouble> {
        let version = self.known[at].lock().version.clone();
        let watch =
            format!("watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_S}&resourceVersion={version}");
        let path = with(path, &watch);
        let timeout = Duration::from_secs(WATCH_S + 30);
        let response = self.client.send(Method::GET, &path, None, timeout).await.map_err(Trouble::Other)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::GONE => return Ok(Some("410 Gone".into())),
            StatusCode::NOT_FOUND => return Err(Trouble::Absent),
            StatusCode::FORBIDDEN => {
                let said = body(response).await.map_err(Trouble::Other)?;
                return Err(Trouble::Forbidden(beginning(&said)));
            }
            other => return Err(Trouble::Other(other.to_string())),
        }
        let mut lines = Lines::of(response);
        while let Some(some) = lines.next().await.map_err(Trouble::Other)? {
            let events: Vec<Event> = some.iter().map(|line| self.known[at].lock().apply(line)).collect();
            let relist = events.iter().find_map(|event| match event {
                Event::Relist(why) => Some(why.clone()),
                _ => None,
            });
            self.tell(at, kind, vec![], events).await;
            if relist.is_some() {
                return Ok(relist);
            }
        }
        Ok(None)
    }

    /// What became of a kind is held until the lease says that it is told.
    async fn tell(&self, at: usize, kind: &str, mut told: Vec<Change>, events: Vec<Event>) {
        let now_ns = self.clock.now_ns();
        let mut lines: Vec<Value> = vec![];
        for event in events {
            let Event::Changed { before, after } = event else { continue };
            self.counts.events.fetch_add(1, Ordering::Relaxed);
            told.extend(self.rollouts.lock().change(kind, before.as_ref(), after.as_ref(), now_ns));
            told.extend(difference::changes(kind, before.as_ref(), after.as_ref(), now_ns));
            if kind == "Event"
                && let Some(after) = after
            {
                lines.push(after);
            }
        }
        // Of others there are versions.
        let is_found_by_time = kind == "Node" || rollouts::KINDS.contains(&kind);
        let lately = if is_found_by_time { told.clone() } else { vec![] };
        let told = changes::of_cluster(told, &self.host);
        let lines = events::logged(&lines, now_ns, &self.host);
        let batches = [told, lines].iter().filter_map(|batch| self.packed(batch)).collect();
        self.hold(at, kind, batches, &lately);
        self.room().await;
    }

    fn packed(&self, batch: &LogBatch) -> Option<Record> {
        if batch.records() == 0 {
            return None;
        }
        let packed = queue::packed_logs(&self.config.tenant, batch).map_err(PushError::from);
        packed.inspect_err(|wrong| self.queue.lost_logs(batch, wrong)).ok()
    }

    /// All that was seen of a kind until now.
    fn hold(&self, at: usize, kind: &str, batches: Vec<Record>, lately: &[Change]) {
        let (version, sizes) = {
            let known = self.known[at].lock();
            let has_sizes = matches!(kind, "Deployment" | "StatefulSet");
            let sizes = has_sizes.then(|| known.sizes());
            (known.version.parse::<u64>().ok(), sizes)
        };
        if !batches.is_empty() {
            self.news.notify_one();
        }
        let told = &mut *self.told.lock();
        batches.into_iter().for_each(|batch| told.held.add(batch));
        told.lately.add(lately, self.clock.now_ns());
        told.note.told.extend(version.map(|version| (kind.to_owned(), version)));
        told.note.sizes.extend(sizes.map(|sizes| (kind.to_owned(), sizes)));
    }

    /// More can be held.
    async fn room(&self) {
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable();
            if self.told.lock().held.bytes() <= held::BYTES_MAX {
                return;
            }
            settled.await;
        }
    }
}

/// The path of a kind, which may ask for some of it, and what is asked more.
fn with(path: &str, query: &str) -> String {
    let between = if path.contains('?') { '&' } else { '?' };
    format!("{path}{between}{query}")
}

fn backoff(failures: u32) -> Duration {
    let whole = BACKOFF_MIN.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(BACKOFF_MAX);
    whole.mul_f64(rand::random_range(0.5..1.0))
}

/// An API server that has just started knows no roles yet and refuses everybody, which lasts for seconds.
fn refused(times: u32) -> Duration {
    if times > 7 { FORBIDDEN_WAIT } else { backoff(times) }
}

/// A `MicroTime` of the API.
fn micro_time(ns: i64) -> String {
    let time = chrono::DateTime::<chrono::Utc>::from_timestamp_nanos(ns);
    time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests;
