//! The API server's PodMonitors, ServiceMonitors and services: listed out of its cache (`resourceVersion=0`), which costs
//! etcd nothing, and watched from there on. Two thousand agents that list ten thousand services every half minute would be
//! given a gigabyte a second. Services are asked for only where there is a ServiceMonitor.
//!
//! What cannot be listed keeps what it had; a kind that is not installed or not allowed is said once and asked for less often.
//! Where the role allows to list and not to watch, as that of older manifests, lists are read again and again.

use super::known::{KINDS, Kind, Objects};
use crate::ClusterSettings;
use crate::kubelet::Settings;
use crate::kubelet::client::{Client, Lines, TIMEOUT, beginning, body};
use reqwest::{Method, StatusCode};
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

const LIST_EVERY: Duration = Duration::from_secs(30);
/// The operator may be installed, and a right granted, while we run.
const ABSENT_EVERY: Duration = Duration::from_secs(300);

/// A watch ends after this time, or up to twice as long, and goes on with a new one.
const WATCH_S: u64 = 300;

pub struct Api {
    client: Client,
    objects: Objects,
    /// In the order of [`KINDS`].
    kinds: [Following; 3],
}

/// How far one kind is known.
struct Following {
    /// Where a watch goes on; empty where a list is to be read.
    version: String,
    watch: Option<Lines>,
    /// Nothing is asked for before.
    next: Instant,
    /// No watch is asked for before: it was refused.
    lists_until: Option<Instant>,
    /// Or not there, when it was last asked for.
    is_refused: bool,
    said: String,
}

impl Following {
    fn new() -> Following {
        let version = String::new();
        Following {
            version,
            watch: None,
            next: Instant::now(),
            lists_until: None,
            is_refused: false,
            said: String::new(),
        }
    }

    fn wait(&mut self, wait: Duration) {
        // Agents that start at one time do not ask at one time.
        self.next = Instant::now() + wait.mul_f64(rand::random_range(0.8..1.2));
    }

    /// All agents come to this at one time where the API server begins anew.
    fn read_anew(&mut self) {
        self.version.clear();
        self.watch = None;
        self.next = Instant::now() + LIST_EVERY.mul_f64(rand::random_range(0.0..1.0));
    }

    /// Whether it is the second time. An API server that has just begun refuses everybody until it has read who may what, and
    /// knows no kinds until it has read what is installed.
    fn refused_again(&mut self, trouble: &Trouble) -> bool {
        let is_refused = matches!(trouble, Trouble::Absent | Trouble::Forbidden(_));
        let was_refused = std::mem::replace(&mut self.is_refused, is_refused);
        is_refused && was_refused
    }

    fn is_list_due(&self) -> bool {
        self.version.is_empty() && Instant::now() >= self.next
    }

    fn is_watch_due(&self) -> bool {
        self.watch.is_none() && !self.version.is_empty() && Instant::now() >= self.next
    }

    /// The role does not allow to watch.
    fn list_alone(&mut self, kind: Kind, why: &str) {
        if self.lists_until.is_none() {
            let kind = kind.name();
            warn!(kind, why, "these are listed again and again: the agent's ClusterRole must allow watch");
        }
        self.lists_until = Some(Instant::now() + ABSENT_EVERY);
        self.version.clear();
        self.wait(LIST_EVERY);
    }

    fn only_lists(&self) -> bool {
        self.lists_until.is_some_and(|until| Instant::now() < until)
    }

    /// The lines that come next; for ever none where nothing is watched.
    async fn lines(&mut self) -> Result<Option<Vec<Vec<u8>>>, String> {
        match &mut self.watch {
            Some(watch) => watch.next().await,
            None => std::future::pending().await,
        }
    }

    /// Once, until something else is to be said.
    fn tell(&mut self, kind: Kind, said: String) {
        if said == self.said {
            return;
        }
        let kind = kind.name();
        match said.as_str() {
            "" => info!(kind, "the API server tells these again"),
            "absent" => info!(kind, "not installed in this cluster; targets of these are not looked for"),
            why => warn!(kind, why, "the API server does not tell these"),
        }
        self.said = said;
    }
}

impl Api {
    pub fn new(settings: &ClusterSettings) -> anyhow::Result<Api> {
        let ClusterSettings { url, token_file, trust, .. } = settings.clone();
        let client = Client::new(&Settings { url, token_file, trust })?;
        let kinds = std::array::from_fn(|_| Following::new());
        Ok(Api { client, objects: Objects::default(), kinds })
    }

    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Lists what is due.
    pub async fn list(&mut self) {
        for (at, kind) in KINDS.into_iter().enumerate() {
            if kind == Kind::Service && !self.is_for_services(at) {
                continue;
            }
            if !self.kinds[at].is_list_due() {
                continue;
            }
            let listed = self.listed(kind).await;
            let following = &mut self.kinds[at];
            match listed {
                Ok(version) => {
                    let lists = following.only_lists() || version.is_empty();
                    following.version = if lists { String::new() } else { version };
                    following.wait(if lists { LIST_EVERY } else { Duration::ZERO });
                    following.is_refused = false;
                    following.tell(kind, String::new());
                }
                Err(trouble) => {
                    let again = following.refused_again(&trouble);
                    if again {
                        self.objects.clear(kind);
                    }
                    following.wait(if again { ABSENT_EVERY } else { LIST_EVERY });
                    following.tell(kind, trouble.said());
                }
            }
        }
    }

    /// Whether there is somebody to select services; who selects others than before wants those that were thrown away.
    fn is_for_services(&mut self, at: usize) -> bool {
        let is_wider = std::mem::take(&mut self.objects.is_wider);
        let following = &mut self.kinds[at];
        if self.objects.service_monitors().next().is_none() {
            *following = Following::new();
            self.objects.clear(Kind::Service);
            return false;
        }
        if is_wider && !following.version.is_empty() {
            following.read_anew();
        }
        true
    }

    async fn listed(&mut self, kind: Kind) -> Result<String, Trouble> {
        let path = format!("{}?resourceVersion=0", kind.path());
        let response = self.client.send(Method::GET, &path, None, TIMEOUT).await.map_err(Trouble::Other)?;
        let status = response.status();
        let bytes = body(response).await.map_err(Trouble::Other)?;
        match status {
            StatusCode::OK => self.objects.replace(kind, &bytes).map_err(Trouble::Other),
            status => Err(Trouble::of(status, &bytes)),
        }
    }

    /// Begins watches of what is listed and not watched.
    pub async fn watch(&mut self) {
        for (at, kind) in KINDS.into_iter().enumerate() {
            if !self.kinds[at].is_watch_due() {
                continue;
            }
            let version = self.kinds[at].version.clone();
            let watch = watched(&self.client, kind, &version).await;
            let following = &mut self.kinds[at];
            match watch {
                Ok(lines) => {
                    following.watch = Some(lines);
                    following.is_refused = false;
                    following.tell(kind, String::new());
                }
                Err(trouble) => {
                    let again = following.refused_again(&trouble);
                    match trouble {
                        Trouble::Gone => following.read_anew(),
                        Trouble::Absent if again => following.read_anew(),
                        Trouble::Forbidden(why) if again => following.list_alone(kind, &why),
                        Trouble::Absent | Trouble::Forbidden(_) => following.wait(LIST_EVERY),
                        Trouble::Other(why) => {
                            following.wait(LIST_EVERY);
                            following.tell(kind, why);
                        }
                    }
                }
            }
        }
    }

    /// Takes what watches tell, for ever. It may be left at any time, and nothing is lost.
    pub async fn follow(&mut self) {
        loop {
            self.follow_once().await;
        }
    }

    async fn follow_once(&mut self) {
        let [first, second, third] = &mut self.kinds;
        let (at, came) = tokio::select! {
            came = first.lines() => (0, came),
            came = second.lines() => (1, came),
            came = third.lines() => (2, came),
        };
        let (kind, following) = (KINDS[at], &mut self.kinds[at]);
        match came {
            Ok(Some(lines)) => {
                for line in lines {
                    match self.objects.apply(kind, &line) {
                        Ok(version) => following.version = version,
                        Err(why) => {
                            debug!(kind = kind.name(), why, "the list is read anew");
                            return following.read_anew();
                        }
                    }
                }
            }
            // The next goes on from where it was.
            Ok(None) => following.watch = None,
            Err(why) => {
                debug!(kind = kind.name(), why, "a watch broke off");
                following.watch = None;
            }
        }
    }
}

async fn watched(client: &Client, kind: Kind, version: &str) -> Result<Lines, Trouble> {
    let (path, seconds) = (kind.path(), rand::random_range(WATCH_S..2 * WATCH_S));
    let path = format!(
        "{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={version}"
    );
    let timeout = Duration::from_secs(seconds + 30);
    let response = client.send(Method::GET, &path, None, timeout).await.map_err(Trouble::Other)?;
    match response.status() {
        StatusCode::OK => Ok(Lines::of(response)),
        status => Err(Trouble::of(status, &body(response).await.map_err(Trouble::Other)?)),
    }
}

enum Trouble {
    /// No such kind here.
    Absent,
    Forbidden(String),
    /// The version is too old.
    Gone,
    Other(String),
}

impl Trouble {
    fn of(status: StatusCode, said: &[u8]) -> Trouble {
        match status {
            StatusCode::NOT_FOUND => Trouble::Absent,
            StatusCode::FORBIDDEN => Trouble::Forbidden(beginning(said)),
            StatusCode::GONE => Trouble::Gone,
            other => Trouble::Other(format!("{other}: {}", beginning(said))),
        }
    }

    /// Of a list.
    fn said(self) -> String {
        match self {
            Trouble::Absent => "absent".to_owned(),
            Trouble::Forbidden(why) => format!("the agent's ClusterRole must allow list: {why}"),
            Trouble::Gone => "410 Gone".to_owned(),
            Trouble::Other(why) => why,
        }
    }
}

#[cfg(test)]
mod tests;
