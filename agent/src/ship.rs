//! Sends what the queue has to ingest, in order, until it is taken.

use crate::queue::{Queue, Record};
use crate::{Caller, Config, Token};
use anyhow::Context;
use parking_lot::Mutex;
use reqwest::StatusCode;
use reqwest::header::{self, HeaderName};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// Whoever asks for more is asked again after this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Of an answer so much is read, and so much of that is told.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const ANSWER_LETTERS_MAX: usize = 500;

/// Records read from the queue at one time.
const READ_BYTES: usize = 4 << 20;

/// How often what was sent is written down; after a crash that much is sent again.
const SAVE_EVERY: Duration = Duration::from_secs(5);

pub struct Shipper {
    caller: Caller,
    base: String,
    token: Token,
    /// As last read.
    bearer: Mutex<Option<String>>,
    queue: Arc<Queue>,
}

/// What was sent, as last written down.
struct Saved {
    at: Instant,
    seq: wal::Seq,
}

enum Sent {
    Taken,
    /// Never taken as it is.
    Refused(String),
    Later {
        why: String,
        after: Option<Duration>,
    },
}

impl Shipper {
    pub fn new(config: &Config, queue: Arc<Queue>) -> anyhow::Result<Shipper> {
        let caller = Caller::new(config.certificates.clone(), CONNECT_TIMEOUT, Some(SEND_TIMEOUT))?;
        let base = config.ingest.trim_end_matches('/').to_owned();
        let bearer = config.token.read().context("reading the token for ingest")?;
        Ok(Shipper { caller, base, token: config.token.clone(), bearer: Mutex::new(bearer), queue })
    }

    /// Until `stop`, and then until the queue is empty or ingest does not answer.
    pub async fn run(self, stop: CancellationToken) {
        let mut saved = Saved { at: Instant::now(), seq: self.queue.sent() };
        let mut failures = 0u32;
        loop {
            let records = self.queue.next_unsent(READ_BYTES).unwrap_or_else(|wrong| {
                warn!(error = %wrong, "the agent's queue cannot be read");
                vec![]
            });
            if records.is_empty() {
                let is_unsaved = saved.seq != self.queue.sent();
                let due = SAVE_EVERY.saturating_sub(saved.at.elapsed());
                tokio::select! {
                    () = self.queue.pushed.notified() => {}
                    // Not at once: where something is sent every second, writing that down would be most of the work.
                    () = tokio::time::sleep(due), if is_unsaved => self.save(&mut saved, true),
                    () = stop.cancelled() => return self.save(&mut saved, true),
                }
                continue;
            }
            for record in records {
                match self.send(&record).await {
                    Sent::Taken => {
                        if failures > 0 {
                            info!(
                                ingest = self.base,
                                waiting = self.queue.waiting(),
                                "ingest takes records again"
                            );
                        }
                        failures = 0;
                        self.queue.counts.sent[record.signal()].fetch_add(1, Ordering::Relaxed);
                    }
                    Sent::Refused(why) => self.queue.give_up(&record, &why),
                    Sent::Later { why, after } => {
                        if failures == 0 {
                            warn!(
                                ingest = self.base,
                                why, "ingest takes nothing now; records wait in the queue"
                            );
                        }
                        failures += 1;
                        self.queue.counts.send_failures.fetch_add(1, Ordering::Relaxed);
                        self.save(&mut saved, true);
                        if stop.is_cancelled() {
                            return;
                        }
                        tokio::select! {
                            () = tokio::time::sleep(after.map_or_else(|| backoff(failures), spread)) => {}
                            () = stop.cancelled() => {}
                        }
                        break;
                    }
                }
                self.queue.mark_sent(record.seq);
                self.save(&mut saved, false);
            }
        }
    }

    fn save(&self, saved: &mut Saved, now: bool) {
        if now || saved.at.elapsed() > SAVE_EVERY {
            *saved = Saved { at: Instant::now(), seq: self.queue.sent() };
            if let Err(wrong) = self.queue.save_sent() {
                warn!(error = %wrong, "what was sent cannot be written down");
            }
        }
    }

    async fn send(&self, record: &Record) -> Sent {
        let mut request = self
            .caller
            .http()
            .post(format!("{}{}", self.base, record.path()))
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::CONTENT_ENCODING, "zstd")
            .header("X-Scope-OrgID", &record.tenant)
            .header(wire::ORIGIN_HEADER, format!("{:x}-{}", self.queue.sender, record.seq))
            .body(record.body.clone());
        if let Some(token) = &*self.bearer.lock() {
            request = request.bearer_auth(token);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(wrong) => return Sent::Later { why: self.caller.cause(&wrong), after: None },
        };
        let status = response.status();
        let said = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let after = said(header::RETRY_AFTER).and_then(|value| value.parse().ok()).map(Duration::from_secs);
        let is_page = said(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html"));
        // Who is led elsewhere, as to where one signs in, asks there for a page and sends nothing.
        let asked = response.url().path().to_owned();
        let is_of_ingest = asked.ends_with(record.path()) && !is_page;
        let answer = beginning(response).await;
        if status.is_success() && is_of_ingest {
            self.left_out(record, &answer);
            return Sent::Taken;
        }
        let why = format!("{asked}: {status}: {}", told(&answer));
        if status == StatusCode::UNAUTHORIZED
            && let Ok(token) = self.token.read()
        {
            *self.bearer.lock() = token;
        }
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => Sent::Refused(why),
            StatusCode::BAD_REQUEST
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY
                if is_of_ingest =>
            {
                Sent::Refused(why)
            }
            // A wrong token or address may be mended; the records wait for that. A page for people is of a proxy that
            // stands where ingest is looked for: it says nothing of the batch, whatever its status.
            _ => Sent::Later { why, after: after.map(|after| after.clamp(BACKOFF_MIN, RETRY_AFTER_MAX)) },
        }
    }

    /// What ingest took of a batch is not always all of it.
    fn left_out(&self, record: &Record, answer: &[u8]) {
        if let Some((count, why)) = wire::otlp::rejected(answer) {
            let why = told(why.as_bytes());
            warn!(count, why, what = record.contents.told(), "ingest left out a part of a batch");
            self.queue.counts.rejected[record.signal()].fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// As much of an answer as anybody reads.
async fn beginning(mut response: reqwest::Response) -> Vec<u8> {
    let mut answer = vec![];
    while let Ok(Some(chunk)) = response.chunk().await {
        answer.extend_from_slice(&chunk);
        if answer.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    answer
}

/// For people: without what is no text, as protobuf has between its texts.
fn told(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    text.chars().filter(|letter| !letter.is_control()).take(ANSWER_LETTERS_MAX).collect()
}

/// What ingest asks of all agents at once they do one after the other.
fn spread(after: Duration) -> Duration {
    after.mul_f64(rand::random_range(1.0..1.25))
}

/// Doubles up to the most, and is spread so that agents do not come back all at once.
fn backoff(failures: u32) -> Duration {
    let whole = BACKOFF_MIN.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
    whole.mul_f64(rand::random_range(0.5..1.0))
}
