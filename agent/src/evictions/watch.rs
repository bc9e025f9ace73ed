//! The pods of this node as the API server tells of them. Nothing of them is kept here but which were evicted: a pod whose
//! grace is a second or two is gone before the kubelet is asked again.

use super::Evictions;
use crate::kubelet::Settings;
use crate::kubelet::client::{Client, Lines, beginning, body};
use crate::pods::Pod;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// A watch ends after this time and goes on with a new one.
const WATCH_S: u64 = 300;

/// Between two watches; twice as long after each failure.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(300);

/// All pods are told of first, as the API server's cache has them. Without a version, or with bookmarks, it asks etcd, and is
/// refused where that is older than 3.4.31 (seen on 1.36).
const BEGINNING: &str = "0";

pub struct Watch {
    client: Client,
    node: String,
    evictions: Arc<Evictions>,
    /// Where a watch goes on.
    version: String,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Versioned,
    /// Of an error.
    #[serde(default)]
    code: u64,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Versioned {
    resource_version: String,
}

#[derive(Deserialize)]
struct Told {
    object: Pod,
}

impl Watch {
    pub fn new(settings: &Settings, node: &str, evictions: Arc<Evictions>) -> anyhow::Result<Watch> {
        Ok(Watch {
            client: Client::new(settings)?,
            node: node.to_owned(),
            evictions,
            version: BEGINNING.to_owned(),
        })
    }

    pub async fn run(&mut self, stop: CancellationToken) {
        let mut wait = WAIT_MIN;
        let mut said = String::new();
        loop {
            let ended = tokio::select! {
                ended = self.follow() => ended,
                () = stop.cancelled() => return,
            };
            wait = match ended {
                Ok(()) => WAIT_MIN,
                Err(why) => {
                    self.begin();
                    if why != said {
                        warn!(why, "evictions are told only while the kubelet still has their pods");
                        said = why;
                    }
                    (wait * 2).min(WAIT_MAX)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Until the watch ends.
    async fn follow(&mut self) -> Result<(), String> {
        let Watch { node, version, .. } = &*self;
        let path = format!(
            "/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3D{node}&timeoutSeconds={WATCH_S}&resourceVersion={version}"
        );
        let timeout = Duration::from_secs(WATCH_S + 30);
        let response = self.client.send(Method::GET, &path, None, timeout).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::GONE => {
                self.begin();
                return Ok(());
            }
            StatusCode::FORBIDDEN => {
                let said = body(response).await?;
                return Err(format!(
                    "403: the agent's ClusterRole must allow `list` and `watch` on `pods`; it says: {}",
                    beginning(&said)
                ));
            }
            other => return Err(other.to_string()),
        }
        let mut lines = Lines::of(response);
        while let Some(some) = lines.next().await? {
            for line in some {
                self.apply(&line).await?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) {
        BEGINNING.clone_into(&mut self.version);
    }

    async fn apply(&mut self, line: &[u8]) -> Result<(), String> {
        let no_event = |wrong| format!("an event is not understood: {wrong}");
        let event: Event = serde_json::from_slice(line).map_err(no_event)?;
        match event.kind.as_str() {
            "ADDED" | "MODIFIED" | "DELETED" => {
                let told: Told = serde_json::from_slice(line).map_err(no_event)?;
                self.evictions.tell(&[Arc::new(told.object)]).await;
            }
            // A stream of status 200 may hold errors.
            _ if event.object.code == u64::from(StatusCode::GONE.as_u16()) => {
                self.begin();
                return Ok(());
            }
            _ => return Err(format!("the API server's watch of pods: {}", beginning(line))),
        }
        self.version = event.object.metadata.resource_version;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
