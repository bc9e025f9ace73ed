//! The kubelet of this node: which pods run, what their file systems hold, and its own metrics.
//!
//! It is asked with the agent's service account token, which is read anew at each request because it is changed every
//! hour. What the account may not see is said with the right that is missing. Nothing waits for the kubelet: groups and
//! log files are read without it (for some seconds they wait), and are named better once it answers.

pub(crate) mod client;
mod summary;

pub use client::Trust;

use crate::alive::Alive;
use crate::evictions::Evictions;
use crate::host::Host;
use crate::pods::{Pod, PodList, Pods};
use crate::queue::Queue;
use crate::samples::Samples;
use crate::{Config, scrape};
use client::Client;
use model::{Clock, Reading};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Where the kubelet is and how it is trusted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://<node's address>:10250`.
    pub url: String,
    pub token_file: PathBuf,
    pub trust: Trust,
}

/// Between two looks at the pods, but for one whose log folder is there before.
const PODS_EVERY: Duration = Duration::from_secs(5);

/// Requests and failures by path, for the agent's own metrics.
#[derive(Default)]
pub struct Counts(Mutex<BTreeMap<&'static str, (u64, u64)>>);

pub struct Kubelet {
    client: Client,
    pods: Pods,
    host: Arc<Host>,
    queue: Arc<Queue>,
    config: Config,
    clock: Arc<dyn Clock>,
    counts: Arc<Counts>,
    evictions: Arc<Evictions>,
    /// What was said of a path last, so that a lasting trouble is one line.
    said: BTreeMap<&'static str, String>,
    /// What the last summary told.
    alive: Alive,
}

impl Kubelet {
    pub fn new(
        settings: &Settings,
        config: &Config,
        (host, queue): (Arc<Host>, Arc<Queue>),
        (pods, evictions): (Pods, Arc<Evictions>),
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Kubelet> {
        let client = Client::new(settings)?;
        let (config, counts, said) = (config.clone(), Arc::default(), BTreeMap::new());
        let alive = Alive::default();
        Ok(Kubelet { client, pods, host, queue, config, clock, counts, evictions, said, alive })
    }

    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    pub async fn run(&mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(PODS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut summary = tokio::time::interval(self.config.interval.max(PODS_EVERY));
        summary.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.look().await,
                () = self.pods.asked() => self.look().await,
                _ = summary.tick() => self.measure().await,
                () = stop.cancelled() => return,
            }
        }
    }

    async fn look(&mut self) {
        if let Some(body) = self.get("/pods").await {
            match serde_json::from_slice::<PodList>(&body) {
                Ok(list) if self.is_whole(&list.items) => {
                    self.pods.replace(list.items);
                    self.evictions.tell(&self.pods.all()).await;
                }
                Ok(_) => {
                    let why = "its list lacks the pod that asks, as when it has just started";
                    self.trouble("/pods", why.to_owned());
                }
                Err(wrong) => self.trouble("/pods", format!("its answer is no list of pods: {wrong}")),
            }
        }
    }

    /// A kubelet that has just started names those pods that it has heard of so far, which may be none. Once it has named
    /// the pod that we run in, a list without it is believed no more: all other pods would end with it and come back. Where
    /// we run in none, an empty list is not believed at once ([`Pods::replace`]).
    fn is_whole(&self, pods: &[Pod]) -> bool {
        let of_us = |label: &str| {
            let labels = &self.host.pod_labels;
            labels.iter().find(|(known, _)| *known == label).map(|(_, value)| value.as_str())
        };
        let (Some(namespace), Some(name)) = (of_us("namespace"), of_us("pod")) else { return true };
        let is_us = |pod: &Pod| pod.metadata.namespace == namespace && pod.metadata.name == name;
        pods.iter().any(is_us) || self.pods.by_name(namespace, name).is_none()
    }

    /// What a summary does not tell has ended; a summary that does not come tells nothing. The kubelet gives up on all of it
    /// where one disk is slow, and an alert of a volume would begin anew. That it does not answer is said by the `up` of what
    /// is scraped of it, and what it told last fades after five minutes.
    async fn measure(&mut self) {
        let Some(body) = self.get("/stats/summary").await else { return };
        let summary = match summary::parse(&body) {
            Ok(summary) => summary,
            Err(wrong) => {
                return self.trouble("/stats/summary", format!("its answer is not understood: {wrong}"));
            }
        };
        let samples = Samples::new(self.clock.now_ns(), &self.host.name, true);
        let mut samples = samples.in_jobs(&self.config.job_names);
        samples.of_cadvisor(&self.host.name);
        samples.ending(&mut self.alive, |out| summary::tell(&summary, out));
        self.queue.keep_metrics(&self.config.tenant, &samples.finish()).await;
    }

    async fn get(&mut self, path: &'static str) -> Option<Vec<u8>> {
        let got = self.client.get(path).await;
        {
            let mut counts = self.counts.0.lock();
            let (asked, failed) = counts.entry(path).or_default();
            *asked += 1;
            *failed += u64::from(got.is_err());
        }
        match got {
            Ok(body) => {
                if self.said.remove(path).is_some() {
                    info!(path, "the kubelet answers again");
                }
                Some(body)
            }
            Err(why) => {
                self.trouble(path, why);
                None
            }
        }
    }

    fn trouble(&mut self, path: &'static str, why: String) {
        if self.said.get(path) != Some(&why) {
            warn!(path, why, "the kubelet does not answer");
            self.said.insert(path, why);
        }
    }
}

impl Counts {
    pub fn readings(&self) -> Vec<Reading> {
        let mut readings = vec![];
        for (path, (asked, failed)) in &*self.0.lock() {
            for (name, help, count) in [
                ("binnacle_agent_kubelet_requests_total", "Requests to the kubelet", *asked),
                (
                    "binnacle_agent_kubelet_failures_total",
                    "Requests that the kubelet did not answer",
                    *failed,
                ),
            ] {
                readings.push(Reading::counter(name, help, count as f64).with("path", *path));
            }
        }
        readings
    }
}

/// What `/metrics/resource` repeats of the groups' metrics: a sum over all jobs would count it twice.
const READ_DIRECTLY: &str =
    "container_cpu_usage_seconds_total|container_memory_working_set_bytes|container_start_time_seconds";

/// Its own metrics, as Prometheus would scrape them: of itself, of resources by pod, and of probes. `/metrics/cadvisor`
/// is among them only where groups cannot be read directly.
pub fn scrape_jobs(settings: &Settings, host: &Host, config: &Config) -> Vec<scrape::Job> {
    let interval = config.interval;
    let node = &host.name;
    let (scheme, address) = settings.url.split_once("://").unwrap_or(("https", &settings.url));
    // Jobs know no working directory.
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let token_file = absolute(&settings.token_file);
    let tls = match &settings.trust {
        Trust::System => serde_json::json!({}),
        Trust::CaFile(path) => serde_json::json!({ "ca_file": absolute(path) }),
        Trust::Anyone => serde_json::json!({ "insecure_skip_verify": true }),
    };
    let mut paths =
        vec![("kubelet", "/metrics"), ("kubelet", "/metrics/resource"), ("kubelet", "/metrics/probes")];
    if !crate::containers::can_read(&host.root) {
        paths.push((config.job_names.cadvisor.as_str(), "/metrics/cadvisor"));
    }
    let every = format!("{}ms", interval.as_millis());
    // A port without authentication needs no token, and there may be none.
    let authorization = match scheme == "https" || token_file.exists() {
        true => serde_json::json!({ "credentials_file": token_file }),
        false => serde_json::Value::Null,
    };
    let jobs: Vec<_> = paths
        .into_iter()
        .map(|(job, path)| {
            serde_json::json!({
                "job_name": format!("kubelet{path}"), "scheme": scheme, "metrics_path": path,
                "scrape_interval": every, "scrape_timeout": format!("{}ms", interval.as_millis().min(10_000)),
                // The kubelet's own series name pods; what it says of itself stands.
                "honor_labels": true,
                // Those of resources and of cAdvisor have times of their own. What does not come again has ended with its pod.
                "track_timestamps_staleness": true,
                "authorization": authorization,
                "tls_config": tls,
                "metric_relabel_configs": [{
                    "source_labels": ["__name__"], "action": "drop",
                    "regex": if path == "/metrics/resource" { READ_DIRECTLY } else { "" },
                }],
                "static_configs": [{
                    "targets": [address.trim_end_matches('/')],
                    "labels": { "job": job, "metrics_path": path, "node": node },
                }],
            })
        })
        .collect();
    // JSON is YAML.
    let text = serde_json::json!({ "scrape_configs": jobs }).to_string();
    match scrape::parse_jobs(&text, std::path::Path::new("/")) {
        Ok(parsed) => parsed.jobs,
        Err(mistakes) => {
            warn!(?mistakes, "the kubelet's metrics are not scraped");
            vec![]
        }
    }
}

#[cfg(test)]
mod tests;
