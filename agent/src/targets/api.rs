//! The API server's PodMonitors, ServiceMonitors and services, listed again and again out of its cache
//! (`resourceVersion=0`), which costs etcd nothing. Services are asked for only where there is a ServiceMonitor.
//!
//! What cannot be listed keeps what it had; a kind that is not installed or not allowed is said once and asked for less often.

use crate::ClusterSettings;
use crate::kubelet::Settings;
use crate::kubelet::client::{Client, TIMEOUT, beginning, body};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::time::{Duration, Instant};
use tracing::{info, warn};

const LIST_EVERY: Duration = Duration::from_secs(30);
/// The operator may be installed, and a right granted, while we run.
const ABSENT_EVERY: Duration = Duration::from_secs(300);

/// Objects of one kind; a larger cluster is told in part.
const OBJECTS_MAX: usize = 20_000;

const KINDS: [(&str, &str); 3] = [
    ("PodMonitor", "/apis/monitoring.coreos.com/v1/podmonitors"),
    ("ServiceMonitor", "/apis/monitoring.coreos.com/v1/servicemonitors"),
    ("Service", "/api/v1/services"),
];

pub struct Api {
    client: Client,
    objects: Objects,
    next: [Instant; 3],
    said: [String; 3],
}

#[derive(Default)]
pub struct Objects {
    pub pod_monitors: Vec<Value>,
    pub service_monitors: Vec<Value>,
    pub services: Vec<Value>,
}

impl Objects {
    fn of(&mut self, at: usize) -> &mut Vec<Value> {
        match at {
            0 => &mut self.pod_monitors,
            1 => &mut self.service_monitors,
            _ => &mut self.services,
        }
    }
}

impl Api {
    pub fn new(settings: &ClusterSettings) -> anyhow::Result<Api> {
        let ClusterSettings { url, token_file, trust, .. } = settings.clone();
        let client = Client::new(&Settings { url, token_file, trust })?;
        Ok(Api { client, objects: Objects::default(), next: [Instant::now(); 3], said: Default::default() })
    }

    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Asks for what is due.
    pub async fn refresh(&mut self) {
        for (at, (kind, path)) in KINDS.into_iter().enumerate() {
            if Instant::now() < self.next[at]
                || (kind == "Service" && self.objects.service_monitors.is_empty())
            {
                continue;
            }
            let (wait, said) = match self.list(path).await {
                Ok(items) => {
                    *self.objects.of(at) = items;
                    (LIST_EVERY, String::new())
                }
                Err(Trouble::Absent) => {
                    self.objects.of(at).clear();
                    (ABSENT_EVERY, "absent".to_owned())
                }
                Err(Trouble::Forbidden(why)) => {
                    self.objects.of(at).clear();
                    (ABSENT_EVERY, format!("the agent's ClusterRole must allow list: {why}"))
                }
                Err(Trouble::Other(why)) => (LIST_EVERY, why),
            };
            if said != self.said[at] {
                match said.as_str() {
                    "" => info!(kind, "the API server tells these again"),
                    "absent" => {
                        info!(kind, "not installed in this cluster; targets of these are not looked for")
                    }
                    why => warn!(kind, why, "the API server does not tell these"),
                }
                self.said[at] = said;
            }
            // Agents that start at one time do not ask at one time.
            self.next[at] = Instant::now() + wait.mul_f64(rand::random_range(0.8..1.2));
        }
    }

    async fn list(&self, path: &str) -> Result<Vec<Value>, Trouble> {
        let path = format!("{path}?resourceVersion=0");
        let response = self.client.send(Method::GET, &path, None, TIMEOUT).await.map_err(Trouble::Other)?;
        let status = response.status();
        let bytes = body(response).await.map_err(Trouble::Other)?;
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Trouble::Absent),
            StatusCode::FORBIDDEN => return Err(Trouble::Forbidden(beginning(&bytes))),
            other => return Err(Trouble::Other(format!("{other}: {}", beginning(&bytes)))),
        }
        let mut list: Value =
            serde_json::from_slice(&bytes).map_err(|wrong| Trouble::Other(format!("no list: {wrong}")))?;
        let Value::Array(mut items) = list["items"].take() else { return Ok(vec![]) };
        if items.len() > OBJECTS_MAX {
            warn!(path, objects = items.len(), max = OBJECTS_MAX, "too many objects; the rest is left out");
            items.truncate(OBJECTS_MAX);
        }
        for item in &mut items {
            if let Some(metadata) = item["metadata"].as_object_mut() {
                metadata.remove("managedFields");
            }
        }
        Ok(items)
    }
}

enum Trouble {
    /// No such kind here.
    Absent,
    Forbidden(String),
    Other(String),
}
