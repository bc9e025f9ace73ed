//! Notifications: from alerts to receivers over HTTP.
//!
//! Each receiver has a book of its own ([`book`], [`alertmanager`]) that says what it should hear and when, and one
//! task that sends it. A receiver that is slow or away holds up nobody: evaluation only updates the books.

pub mod alertmanager;
pub mod book;
pub mod webhook;

use crate::state::State;
use crate::telemetry::Counters;
use alertmanager::Outbox;
use anyhow::Context;
use book::{Book, Pace, Told};
use model::{Clock, Labels, Reading};
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// An alert on its way to people: firing or resolved.
#[derive(Clone, Debug)]
pub struct Alert {
    pub labels: Labels,
    pub annotations: Vec<(String, String)>,
    pub state: State,
    pub value: f64,
    pub starts_at_ms: i64,
    pub ends_at_ms: Option<i64>,
    pub query: String,
    /// Values of the last evaluations, oldest first.
    pub values: Vec<(i64, f64)>,
}

impl Alert {
    /// As Prometheus and Alertmanager have it, so that who hears of an alert from both knows it for one: FNV-1a over
    /// names and values in order, each ended by a byte that no text has.
    pub fn fingerprint(&self) -> u64 {
        let parts = self.labels.iter().flat_map(|(name, value)| [name, value]);
        let bytes = parts.flat_map(|part| part.bytes().chain([0xff]));
        bytes
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

#[cfg(test)]
impl Default for Alert {
    fn default() -> Self {
        Alert {
            labels: Labels::empty(),
            annotations: vec![],
            state: State::Firing,
            value: 0.0,
            starts_at_ms: 0,
            ends_at_ms: None,
            query: String::new(),
            values: vec![],
        }
    }
}

/// The page's address of a query, below the external URL.
pub fn explore_path(query: &str) -> String {
    format!("/explore?lang=promql&q={}", crate::template::query_escape(query))
}

/// A receiver answers within this or is tried again.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stop waits for an answer that is under way.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Longest sleep between looks at the clock: it may be set while we sleep.
const NAP_MAX: Duration = Duration::from_secs(60);

enum Kind {
    Webhook(Mutex<Book>),
    Alertmanager(Mutex<Outbox>),
}

struct Receiver {
    url: String,
    /// Names the receiver on disk and in our own metrics without its URL, which may hold a secret.
    id: String,
    kind: Kind,
    news: Notify,
}

/// All receivers.
pub struct Receivers {
    all: Vec<Arc<Receiver>>,
    external_url: String,
    counters: Arc<Counters>,
}

/// What was told last, by receiver.
pub type ToldBy = Vec<(String, Vec<Told>)>;

impl Receivers {
    pub fn new(
        webhooks: &[String],
        alertmanagers: &[String],
        pace: &Pace,
        external_url: &str,
        mut told: ToldBy,
        now_ms: i64,
        counters: Arc<Counters>,
    ) -> Receivers {
        let mut all = vec![];
        for url in webhooks {
            let id = id_of(url);
            let at = told.iter().position(|(known, _)| *known == id);
            let told = at.map(|at| told.swap_remove(at).1).unwrap_or_default();
            let kind = Kind::Webhook(Mutex::new(Book::new(pace.clone(), told, now_ms)));
            all.push(Arc::new(Receiver { url: url.clone(), id, kind, news: Notify::new() }));
        }
        for base in alertmanagers {
            let kind = Kind::Alertmanager(Mutex::new(Outbox::new(pace.alerts_max)));
            let url = alertmanager::url(base);
            all.push(Arc::new(Receiver { id: id_of(&url), url, kind, news: Notify::new() }));
        }
        Receivers { all, external_url: external_url.to_owned(), counters }
    }

    /// Takes alerts as they are now, firing and resolved. Never waits.
    pub fn update(&self, alerts: &[Alert], now_ms: i64) {
        if alerts.is_empty() {
            return;
        }
        for receiver in &self.all {
            let dropped = match &receiver.kind {
                Kind::Webhook(book) => book.lock().update(alerts, now_ms),
                Kind::Alertmanager(outbox) => outbox.lock().update(alerts, now_ms),
            };
            if dropped > 0 {
                self.counters.dropped.add(dropped as u64);
                warn!(
                    receiver = receiver.id,
                    dropped, "too many alerts wait for the receiver; the newest are left out"
                );
            }
            receiver.news.notify_one();
        }
    }

    /// Starts the senders. `told` is notified whenever something that belongs on disk changed.
    pub fn run(
        &self,
        clock: &Arc<dyn Clock>,
        told: &Arc<Notify>,
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<()> {
        if self.all.is_empty() {
            return Ok(());
        }
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .user_agent(concat!("binnacle/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("building the HTTP client of notifications")?;
        for receiver in &self.all {
            let sender = Sender {
                receiver: receiver.clone(),
                http: http.clone(),
                external_url: self.external_url.clone(),
                clock: clock.clone(),
                told: told.clone(),
                counters: self.counters.clone(),
            };
            let stop = stop.clone();
            tasks.spawn(async move { sender.run(stop).await });
        }
        Ok(())
    }

    pub fn to_disk(&self) -> ToldBy {
        let told = |receiver: &Arc<Receiver>| match &receiver.kind {
            Kind::Webhook(book) => Some((receiver.id.clone(), book.lock().to_disk())),
            Kind::Alertmanager(_) => None,
        };
        self.all.iter().filter_map(told).collect()
    }

    pub fn readings(&self) -> Vec<Reading> {
        let waiting = |receiver: &Arc<Receiver>| {
            let (kind, count) = match &receiver.kind {
                Kind::Webhook(book) => ("webhook", book.lock().waiting().0),
                Kind::Alertmanager(outbox) => ("alertmanager", outbox.lock().waiting()),
            };
            Reading::gauge(
                "binnacle_alerts_notifications_waiting",
                "Groups or alerts a receiver has yet to hear of",
                count as f64,
            )
            .with("receiver", receiver.id.clone())
            .with("kind", kind)
        };
        self.all.iter().map(waiting).collect()
    }
}

fn id_of(url: &str) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(url.as_bytes()))
}

struct Sender {
    receiver: Arc<Receiver>,
    http: reqwest::Client,
    external_url: String,
    clock: Arc<dyn Clock>,
    told: Arc<Notify>,
    counters: Arc<Counters>,
}

/// What came of an attempt.
enum Sent {
    Taken,
    /// The receiver will not take it, however often it is sent.
    Refused,
    Failed,
}

impl Sender {
    async fn run(self, stop: CancellationToken) {
        loop {
            let nap = match self.next_due_ms() {
                Some(due_ms) => {
                    Duration::from_millis((due_ms - self.clock.now_ms()).max(0) as u64).min(NAP_MAX)
                }
                None => NAP_MAX,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.receiver.news.notified() => {}
                () = tokio::time::sleep(nap) => {}
            }
            // What is on its way is let arrive: a receiver that has it and is not noted would hear it twice.
            let given_up = async {
                stop.cancelled().await;
                tokio::time::sleep(LAST_WORDS).await;
            };
            tokio::select! {
                () = given_up => return,
                () = self.send_due(&stop) => {}
            }
        }
    }

    fn next_due_ms(&self) -> Option<i64> {
        match &self.receiver.kind {
            Kind::Webhook(book) => book.lock().next_due_ms(),
            Kind::Alertmanager(outbox) => outbox.lock().next_due_ms(),
        }
    }

    async fn send_due(&self, stop: &CancellationToken) {
        match &self.receiver.kind {
            Kind::Webhook(book) => {
                let letters = book.lock().due(self.clock.now_ms());
                for letter in letters {
                    if stop.is_cancelled() {
                        return;
                    }
                    let sent = self.post(&webhook::body(&letter, &self.external_url)).await;
                    match sent {
                        Sent::Taken | Sent::Refused => book.lock().told(&letter, self.clock.now_ms()),
                        Sent::Failed => book.lock().failed(&letter, self.clock.now_ms()),
                    }
                    self.told.notify_one();
                }
            }
            Kind::Alertmanager(outbox) => {
                let now_ms = self.clock.now_ms();
                let alerts = outbox.lock().due(now_ms);
                if alerts.is_empty() {
                    return;
                }
                match self.post(&alertmanager::body(&alerts, &self.external_url, now_ms)).await {
                    Sent::Taken | Sent::Refused => outbox.lock().told(&alerts, self.clock.now_ms()),
                    Sent::Failed => outbox.lock().failed(self.clock.now_ms()),
                }
            }
        }
    }

    async fn post(&self, body: &Value) -> Sent {
        let answer = self.http.post(&self.receiver.url).json(body).send().await;
        let receiver = self.receiver.id.as_str();
        let sent = match answer {
            Ok(answer) if answer.status().is_success() => Sent::Taken,
            Ok(answer) if worth_another_try(answer.status().as_u16()) => {
                warn!(receiver, status = answer.status().as_u16(), "notification is tried again later");
                Sent::Failed
            }
            Ok(answer) => {
                error!(
                    receiver,
                    status = answer.status().as_u16(),
                    "receiver refuses the notification; see its log"
                );
                Sent::Refused
            }
            Err(wrong) => {
                // The URL may hold a secret, so the error goes without it.
                warn!(receiver, error = %wrong.without_url(), "receiver cannot be reached; tried again later");
                Sent::Failed
            }
        };
        match sent {
            Sent::Taken => {
                debug!(receiver, "notified");
                self.counters.sent.add(1);
            }
            Sent::Refused | Sent::Failed => self.counters.send_failed.add(1),
        }
        sent
    }
}

fn worth_another_try(status: u16) -> bool {
    status == 408 || status == 429 || status >= 500
}
