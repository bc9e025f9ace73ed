//! Targets that a server names (`http_sd_configs`), and addresses of names (`dns_sd_configs`). Each is asked again at its own
//! interval; one that does not answer keeps what it had.

use super::super::client::{Speaker, cause, read};
use super::super::config::{DnsDiscovery, Family, Group, HttpDiscovery, Job};
use super::Groups;
use model::Clock;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tracing::warn;

/// No server and no resolver may hold up the others for longer.
const ASKED_MAX: Duration = Duration::from_secs(10);

const ANSWER_BYTES_MAX: usize = 32 << 20;

/// What is asked.
#[derive(Clone, Debug)]
enum Place {
    Server(Box<HttpDiscovery>),
    Names(DnsDiscovery),
}

/// What each said when it was asked last. Known by the whole of its configuration.
#[derive(Default)]
pub struct Remote {
    said: HashMap<String, Said>,
}

struct Said {
    groups: Groups,
    next_ms: i64,
}

impl Remote {
    /// Asks all that are due, at one time.
    pub async fn refresh(&mut self, jobs: &[Arc<Job>], clock: &dyn Clock) {
        let now_ms = clock.now_ms();
        let places: HashMap<String, Place> =
            jobs.iter().flat_map(|job| places(job)).map(|place| (format!("{place:?}"), place)).collect();
        self.said.retain(|key, _| places.contains_key(key));
        let mut asked = JoinSet::new();
        for (key, place) in places {
            if self.said.get(&key).is_some_and(|said| now_ms < said.next_ms) {
                continue;
            }
            asked.spawn(async move {
                let answer = tokio::time::timeout(ASKED_MAX, place.ask()).await;
                let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {ASKED_MAX:?}")));
                (key, place, answer)
            });
        }
        while let Some(done) = asked.join_next().await {
            let Ok((key, place, answer)) = done else { continue };
            let next_ms = now_ms.saturating_add(place.every().as_millis() as i64);
            let said = self.said.entry(key).or_insert(Said { groups: vec![], next_ms });
            said.next_ms = next_ms;
            match answer {
                Ok(groups) => said.groups = groups,
                Err(why) => {
                    warn!(place = place.name(), why, "discovery failed; what was known stays");
                }
            }
        }
    }

    pub fn groups(&self, job: &Job) -> Groups {
        let said = places(job).into_iter().filter_map(|place| self.said.get(&format!("{place:?}")));
        said.flat_map(|said| said.groups.clone()).collect()
    }
}

fn places(job: &Job) -> Vec<Place> {
    let servers = job.http.iter().map(|server| Place::Server(Box::new(server.clone())));
    servers.chain(job.dns.iter().cloned().map(Place::Names)).collect()
}

impl Place {
    fn every(&self) -> Duration {
        match self {
            Place::Server(server) => server.every,
            Place::Names(names) => names.every,
        }
    }

    fn name(&self) -> String {
        match self {
            Place::Server(server) => server.url.clone(),
            Place::Names(names) => names.names.join(", "),
        }
    }

    async fn ask(&self) -> Result<Groups, String> {
        match self {
            Place::Server(server) => asked(server).await,
            Place::Names(names) => looked_up(names).await,
        }
    }
}

async fn asked(server: &HttpDiscovery) -> Result<Groups, String> {
    let request = Speaker::new(&server.client, &server.url)?.get(&server.url).await?;
    let request = request
        .header("Accept", "application/json")
        .header("X-Prometheus-Refresh-Interval-Seconds", server.every.as_secs_f64().to_string());
    let response = request.send().await.map_err(|wrong| cause(&wrong))?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(format!("server returned HTTP status {}", response.status()));
    }
    let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("");
    if kind.split(';').next().unwrap_or("").trim() != "application/json" {
        return Err(format!("unsupported content type {kind:?}"));
    }
    let body = read(response, ANSWER_BYTES_MAX).await?;
    let groups: Vec<Group> = serde_json::from_slice(&body).map_err(|wrong| wrong.to_string())?;
    Ok(groups.into_iter().map(|group| (group, Some(("__meta_url", server.url.clone())))).collect())
}

async fn looked_up(of: &DnsDiscovery) -> Result<Groups, String> {
    let (mut groups, mut wrong) = (vec![], None);
    for name in &of.names {
        match tokio::net::lookup_host((name.as_str(), of.port)).await {
            Ok(found) => {
                let mut targets: Vec<String> = found
                    .filter(|address| address.is_ipv4() == (of.family == Family::V4))
                    .map(|address| address.to_string())
                    .collect();
                targets.sort();
                targets.dedup();
                let group = Group { targets, labels: BTreeMap::new() };
                groups.push((group, Some(("__meta_dns_name", name.clone()))));
            }
            Err(failed) => wrong = Some(format!("{name}: {failed}")),
        }
    }
    match wrong {
        // One name that is gone does not take the others with it.
        Some(why) if groups.is_empty() => Err(why),
        _ => Ok(groups),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::config::parse;
    use axum::Router;
    use axum::routing::get;
    use std::path::Path;
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

    struct At(AtomicI64);

    impl Clock for At {
        fn now_ns(&self) -> i64 {
            self.0.load(Ordering::Relaxed) * 1_000_000
        }
    }

    #[tokio::test]
    async fn servers_and_names_are_asked_at_their_intervals() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let times = Arc::new(AtomicUsize::new(0));
        let count = times.clone();
        let answer = move || {
            let time = count.fetch_add(1, Ordering::Relaxed);
            async move {
                match time {
                    0 => Ok((
                        [("content-type", "application/json")],
                        r#"[{"targets": ["a:1"], "labels": {"x": "y"}}]"#,
                    )),
                    _ => Err(axum::http::StatusCode::BAD_GATEWAY),
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/sd", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().route("/sd", get(answer))).into_future());
        let text = format!(
            "scrape_configs:\n- job_name: j\n  http_sd_configs: [{{url: '{url}', refresh_interval: 30s}}]\n  \
             dns_sd_configs: [{{names: [localhost], type: A, port: 9100}}]\n"
        );
        let jobs: Vec<_> = parse(&text, Path::new("/")).unwrap().jobs.into_iter().map(Arc::new).collect();
        let (mut remote, clock) = (Remote::default(), At(AtomicI64::new(0)));
        for (now_ms, asked) in [(0, 1), (29_999, 1), (30_000, 2)] {
            clock.0.store(now_ms, Ordering::Relaxed);
            remote.refresh(&jobs, &clock).await;
            assert_eq!(times.load(Ordering::Relaxed), asked, "at {now_ms}");
            let found: Vec<_> = remote
                .groups(&jobs[0])
                .into_iter()
                .map(|(group, place)| (group.targets.join(","), place.unwrap()))
                .collect();
            assert_eq!(
                found[0],
                ("a:1".into(), ("__meta_url", url.clone())),
                "what does not answer keeps what it had"
            );
            assert_eq!(found[1], ("127.0.0.1:9100".into(), ("__meta_dns_name", "localhost".into())));
        }
    }
}
