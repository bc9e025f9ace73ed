//! Sends what the queue has to ingest, in order, until it is taken.
//!
//! Ingest that takes nothing is waited for without end, as Prometheus' remote write does. A batch that ingest refuses again
//! and again may be one that it does not get along with: it is set aside. Not where ingest says itself that it is not ready,
//! as with a full disk: then it is not the batch's fault. Where ingest says that it is ready, those after it are set aside
//! likewise, and sooner, as long as none has to be given up for it. Where it says nothing, only the next one tells which
//! it is: a second one is set aside after something was taken. What is aside is tried again now and then, behind its turn.

use crate::queue::{Queue, Record, aside};
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

/// Where ingest says whether it takes something.
const READY: &str = "/health/ready";

/// Records read from the queue at one time.
const READ_BYTES: usize = 4 << 20;

/// How often what was sent is written down; after a crash that much is sent again.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// Refusals of one batch in a row after which it is set aside: three to five minutes, as far apart as they come.
const REFUSALS_MAX: u32 = 30;

/// Where one is aside already, ingest is known to fail at some: a third of them tells, within two minutes.
const SOONER: u32 = 3;

/// Between two attempts at what was set aside; doubled each time.
const AGAIN_MIN: Duration = Duration::from_secs(60);
const AGAIN_MAX: Duration = Duration::from_secs(3600);

pub struct Shipper {
    caller: Caller,
    base: String,
    token: Token,
    /// As last read.
    bearer: Mutex<Option<String>>,
    queue: Arc<Queue>,
    pub patience: Patience,
}

/// With batches that ingest does not get along with.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub refusals_max: u32,
    pub again_min: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { refusals_max: REFUSALS_MAX, again_min: AGAIN_MIN }
    }
}

/// How sending goes.
struct Progress {
    /// What was sent, as last written down.
    saved: wal::Seq,
    saved_at: Instant,
    /// Since something was last taken.
    failures: u32,
    /// Of the batch whose turn it is, in a row.
    refusals: u32,
    /// Nothing was taken since a batch was set aside.
    is_unproven: bool,
    /// When what is aside is tried again, and how long after that.
    again_at: Instant,
    again_after: Duration,
    /// What was not taken, and is sent again: in the queue it may be dropped meanwhile.
    held: Option<Record>,
}

enum Sent {
    Taken,
    /// Never taken as it is.
    Refused(String),
    Later(Later),
}

struct Later {
    why: String,
    after: Option<Duration>,
    /// Ingest was there and did not take it: that may be for what is in it. Where it may have been taken after all, as by
    /// one that is slow to answer, it is not: under another name it would be there twice.
    may_be_of_batch: bool,
}

impl Shipper {
    pub fn new(config: &Config, queue: Arc<Queue>) -> anyhow::Result<Shipper> {
        let caller = Caller::new(config.certificates.clone(), CONNECT_TIMEOUT, Some(SEND_TIMEOUT))?;
        let base = config.ingest.trim_end_matches('/').to_owned();
        let bearer = Mutex::new(config.token.read().context("reading the token for ingest")?);
        let (token, patience) = (config.token.clone(), Patience::default());
        Ok(Shipper { caller, base, token, bearer, queue, patience })
    }

    /// Until `stop`, and then until the queue is empty or ingest does not answer.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut at = Progress {
            saved: self.queue.sent(),
            saved_at: Instant::now(),
            failures: 0,
            refusals: 0,
            // In the run before.
            is_unproven: !self.queue.aside.keys().is_empty(),
            again_at: Instant::now(),
            again_after: self.patience.again_min,
            held: None,
        };
        loop {
            let records = match at.held.take() {
                Some(record) => vec![record],
                None => self.queue.next_unsent(READ_BYTES).unwrap_or_else(|wrong| {
                    warn!(error = %wrong, "the agent's queue cannot be read");
                    vec![]
                }),
            };
            if records.is_empty() {
                let is_unsaved = at.saved != self.queue.sent();
                let due = SAVE_EVERY.saturating_sub(at.saved_at.elapsed());
                tokio::select! {
                    () = self.queue.pushed.notified() => {}
                    // Not at once: where something is sent every second, writing that down would be most of the work.
                    () = tokio::time::sleep(due), if is_unsaved => self.save(&mut at),
                    () = stop.cancelled() => return self.end(at),
                }
                continue;
            }
            for record in records {
                // It may have been dropped since it was read.
                if !self.queue.begin_sending(record.seq) {
                    continue;
                }
                if let Err(pause) = self.settle(&record, &mut at).await {
                    at.held = Some(record);
                    self.save(&mut at);
                    if stop.is_cancelled() {
                        return self.end(at);
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => {}
                    }
                    break;
                }
                self.queue.mark_sent(record.seq);
                if at.saved_at.elapsed() > SAVE_EVERY {
                    self.save(&mut at);
                }
            }
        }
    }

    /// Sends it, or finds that it need not be sent here any more; or how long to wait before it is sent again.
    async fn settle(&self, record: &Record, at: &mut Progress) -> Result<(), Duration> {
        // It was set aside before a crash, and that it was is not written down.
        if self.queue.aside.has(record) {
            (at.refusals, at.is_unproven) = (0, true);
            return Ok(());
        }
        match self.send(record).await {
            Sent::Taken => {
                if at.failures > 0 {
                    let waiting = self.queue.waiting();
                    info!(ingest = self.base, waiting, "ingest takes records again");
                }
                (at.failures, at.refusals) = (0, 0);
                self.queue.counts.sent[record.signal()].fetch_add(1, Ordering::Relaxed);
                // Where ingest was only away, what is aside was not at fault, and is late enough.
                if std::mem::take(&mut at.is_unproven) || at.again_at <= Instant::now() {
                    self.send_aside(at).await;
                }
                Ok(())
            }
            Sent::Refused(why) => {
                at.refusals = 0;
                self.queue.give_up(record, &why);
                Ok(())
            }
            Sent::Later(later) => self.later(record, later, at).await,
        }
    }

    /// How long to wait, or nothing where the record is now aside.
    async fn later(&self, record: &Record, later: Later, at: &mut Progress) -> Result<(), Duration> {
        let Later { why, after, may_be_of_batch } = later;
        if at.failures == 0 {
            warn!(ingest = self.base, why, "ingest takes nothing now; records wait in the queue");
        }
        at.failures += 1;
        at.refusals = if may_be_of_batch { at.refusals + 1 } else { 0 };
        self.queue.counts.send_failures.fetch_add(1, Ordering::Relaxed);
        if at.refusals >= self.refusals_needed() && self.is_of_batch(record, at).await {
            match self.queue.set_aside(record, &why) {
                Ok(()) => {
                    (at.refusals, at.is_unproven) = (0, true);
                    at.again_after = self.patience.again_min;
                    return Ok(());
                }
                Err(wrong) => warn!(error = %wrong, "a batch that ingest refuses cannot be set aside"),
            }
        }
        Err(after.map_or_else(|| backoff(at.failures), spread))
    }

    fn refusals_needed(&self) -> u32 {
        match self.queue.aside.keys().is_empty() {
            true => self.patience.refusals_max,
            false => (self.patience.refusals_max / SOONER).max(1),
        }
    }

    /// Whether it is the batch that ingest does not get along with, and not all of them.
    async fn is_of_batch(&self, record: &Record, at: &Progress) -> bool {
        match self.says_it_is_ready().await {
            Some(false) => false,
            // Those that are aside may be good all the same.
            Some(true) => !at.is_unproven || self.queue.aside.has_room_for(record),
            None => !at.is_unproven,
        }
    }

    /// Nothing where ingest cannot be asked, or who stands before it answers.
    async fn says_it_is_ready(&self) -> Option<bool> {
        let response = self.caller.http().get(format!("{}{READY}", self.base)).send().await.ok()?;
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_of_ingest = response.url().path().ends_with(READY)
            && kind.is_some_and(|kind| kind.starts_with("application/json"));
        match response.status() {
            StatusCode::OK if is_of_ingest => Some(true),
            StatusCode::SERVICE_UNAVAILABLE if is_of_ingest => Some(false),
            _ => None,
        }
    }

    /// What was set aside, once each. One that is still refused does not hold up the others.
    async fn send_aside(&self, at: &mut Progress) {
        for key in self.queue.aside.keys() {
            match self.send_one_aside(key).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(wrong) => warn!(error = %wrong, "what was set aside cannot be read or removed"),
            }
        }
        at.again_at = Instant::now() + at.again_after;
        at.again_after = (at.again_after * 2).min(AGAIN_MAX);
    }

    /// Whether the next one may be tried.
    async fn send_one_aside(&self, key: aside::Key) -> std::io::Result<bool> {
        let Some(record) = self.queue.read_aside(key)? else { return Ok(true) };
        match self.send(&record).await {
            Sent::Taken => _ = self.queue.counts.sent[record.signal()].fetch_add(1, Ordering::Relaxed),
            Sent::Refused(why) => self.queue.give_up(&record, &why),
            Sent::Later(later) => return Ok(later.may_be_of_batch),
        }
        self.queue.aside.remove(key)?;
        Ok(true)
    }

    fn save(&self, at: &mut Progress) {
        (at.saved, at.saved_at) = (self.queue.sent(), Instant::now());
        if let Err(wrong) = self.queue.save_sent() {
            warn!(error = %wrong, "what was sent cannot be written down");
        }
    }

    fn end(&self, mut at: Progress) {
        if let Some(record) = at.held.take() {
            self.queue.end_sending(&record);
        }
        self.save(&mut at);
        if let Err(wrong) = self.queue.close() {
            warn!(error = %wrong, "the agent's queue cannot be closed in order");
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
            .header(wire::ORIGIN_HEADER, format!("{:x}-{}", record.sender, record.seq))
            .body(record.body.clone());
        if let Some(token) = &*self.bearer.lock() {
            request = request.bearer_auth(token);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(wrong) => {
                // It hangs up at what it is sent. Had it taken it at one of the times before, it would say so now.
                let may_be_of_batch = wrong.is_request() && !wrong.is_connect() && !wrong.is_timeout();
                let why = self.caller.cause(&wrong);
                return Sent::Later(Later { why, after: None, may_be_of_batch });
            }
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
            _ => {
                let is_broken =
                    matches!(status, StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE);
                let after = after.map(|after| after.clamp(BACKOFF_MIN, RETRY_AFTER_MAX));
                Sent::Later(Later { why, after, may_be_of_batch: is_broken && is_of_ingest })
            }
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
