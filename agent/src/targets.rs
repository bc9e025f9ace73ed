//! What of this node is scraped without being named: pods that ask for it by annotation, pods that a PodMonitor or
//! ServiceMonitor selects, and the cluster's own parts.
//!
//! Each agent scrapes the pods of its own node, so every target is scraped once. What is found is written down as
//! `scrape_configs`, which the scraping that is there for files too reads: relabelling, limits, TLS and staleness are its.
//! Only the API server is asked by one agent of all, as it need not be a pod.

mod annotations;
mod api;
mod control_plane;
mod known;
mod meta;
mod monitors;
mod selector;
mod service;

use crate::cluster::Counts;
use crate::host::Host;
use crate::pods::Pods;
use crate::{ClusterSettings, Config, kubelet, scrape};
use api::Api;
use control_plane::Access;
use meta::Place;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Which of them are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discover {
    pub annotations: bool,
    pub monitors: bool,
    pub control_plane: bool,
}

impl Default for Discover {
    fn default() -> Discover {
        Discover { annotations: true, monitors: true, control_plane: true }
    }
}

impl Discover {
    pub const NAMES: [&str; 3] = ["annotations", "monitors", "control-plane"];

    /// Names of what is looked for; `none` alone looks for nothing.
    pub fn parse(names: &[String]) -> Result<Discover, String> {
        let mut discover = Discover { annotations: false, monitors: false, control_plane: false };
        for name in names {
            match name.as_str() {
                "annotations" => discover.annotations = true,
                "monitors" => discover.monitors = true,
                "control-plane" => discover.control_plane = true,
                "none" => {}
                other => {
                    return Err(format!(
                        "{other:?} is not known; use {} or none",
                        Discover::NAMES.join(", ")
                    ));
                }
            }
        }
        Ok(discover)
    }
}

/// Between two looks at the pods, which the kubelet is asked for as often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Troubles that are remembered.
const SAID_MAX: usize = 1_000;

pub struct Finding {
    pods: Pods,
    discover: Discover,
    place: Place,
    access: Access,
    api: Option<Api>,
    /// Whether this agent is the one that asks the API server.
    leads: Option<Arc<Counts>>,
    /// Mistakes that were said already.
    said: Mutex<BTreeSet<String>>,
}

impl Finding {
    pub fn new(
        config: &Config,
        host: &Host,
        pods: Pods,
        leads: Option<Arc<Counts>>,
    ) -> anyhow::Result<Finding> {
        let cluster = config.cluster.as_ref();
        let api = cluster.filter(|_| config.discover.monitors).map(Api::new).transpose()?;
        Ok(Finding {
            pods,
            discover: config.discover,
            place: Place { node: host.name.clone(), interval: config.interval },
            access: access(config, cluster),
            api,
            leads,
            said: Mutex::default(),
        })
    }

    /// Looks again and again, and hands the jobs over whenever they differ from what they were.
    pub async fn run(&mut self, found: impl Fn(Vec<scrape::Job>), stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = String::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = following(self.api.as_mut()) => {}
                () = stop.cancelled() => return,
            }
            let asking = async {
                if let Some(api) = &mut self.api {
                    api.list().await;
                    api.watch().await;
                }
            };
            tokio::select! {
                () = asking => {}
                () = stop.cancelled() => return,
            }
            let configs = self.look().await;
            if configs != before {
                found(self.jobs(&configs));
                before = configs;
            }
        }
    }

    /// What is there now, and the mistakes in it; without a kubelet or an API server nothing is.
    pub async fn once(mut self) -> (Vec<scrape::Job>, BTreeSet<String>) {
        if let Some(api) = &mut self.api {
            api.list().await;
        }
        let configs = self.look().await;
        let jobs = self.jobs(&configs);
        (jobs, self.said.into_inner())
    }

    /// `scrape_configs` of what is there now; empty where nothing is.
    async fn look(&mut self) -> String {
        let pods = self.pods.all();
        let mut jobs = vec![];
        if self.discover.annotations {
            let asking =
                pods.iter().filter(|pod| !(self.discover.control_plane && control_plane::is_part(pod)));
            let asking: Vec<_> = asking.cloned().collect();
            jobs.extend(annotations::job(&asking, &self.place));
            annotations::troubles(&asking).into_iter().for_each(|trouble| self.tell(trouble));
        }
        if self.discover.control_plane {
            jobs.extend(control_plane::jobs(&pods, &self.place, &self.access));
            if self.leads.as_ref().is_some_and(|counts| counts.leads())
                && let Some(cluster) = &self.access.cluster
            {
                jobs.extend(control_plane::api_server(&self.place, &self.access, cluster));
            }
        }
        if let Some(api) = &self.api {
            let (of_monitors, troubles) = monitors::jobs(api.objects(), &pods, &self.place);
            jobs.extend(of_monitors);
            troubles.into_iter().for_each(|trouble| self.tell(trouble));
        }
        if jobs.is_empty() {
            String::new()
        } else {
            serde_json::json!({ "scrape_configs": jobs }).to_string()
        }
    }

    /// Once, however often it is found.
    fn tell(&self, trouble: String) {
        let mut said = self.said.lock();
        if said.contains(&trouble) {
            return;
        }
        warn!("{trouble}");
        // Pods come and go under ever new names.
        if said.len() >= SAID_MAX {
            said.clear();
        }
        said.insert(trouble);
    }

    /// A job that is written wrongly (by whoever wrote its monitor) is told and does not take the others with it.
    fn jobs(&self, configs: &str) -> Vec<scrape::Job> {
        let all: serde_json::Value = serde_json::from_str(configs).unwrap_or_default();
        let mut jobs = vec![];
        for one in all["scrape_configs"].as_array().into_iter().flatten() {
            let text = serde_json::json!({ "scrape_configs": [one] }).to_string();
            // JSON is YAML.
            match scrape::parse_jobs(&text, Path::new("/")) {
                Ok(parsed) => jobs.extend(parsed.jobs),
                Err(mistake) => {
                    let name = one["job_name"].as_str().unwrap_or("");
                    self.tell(format!("{name} is not scraped: {}", mistake.text));
                }
            }
        }
        jobs
    }
}

/// What the API server tells meanwhile, for ever.
async fn following(api: Option<&mut Api>) {
    match api {
        Some(api) => api.follow().await,
        None => std::future::pending().await,
    }
}

fn access(config: &Config, cluster: Option<&ClusterSettings>) -> Access {
    let token_file = cluster
        .map(|cluster| cluster.token_file.clone())
        .or_else(|| config.kubelet.as_ref().map(|kubelet| kubelet.token_file.clone()))
        .map(|path| std::path::absolute(&path).unwrap_or(path));
    let trust = cluster.map(|cluster| &cluster.trust);
    let ca_file: Option<PathBuf> = match trust {
        // The jobs that are made of it know no working directory.
        Some(kubelet::Trust::CaFile(path)) => {
            Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()))
        }
        _ => None,
    };
    Access {
        token_file,
        ca_file,
        cluster: cluster.map(|cluster| cluster.url.clone()),
        api_server_job: config.job_names.api_server.clone(),
        host_root: std::path::absolute(&config.host_root).unwrap_or_else(|_| config.host_root.clone()),
    }
}

#[cfg(test)]
mod tests;
