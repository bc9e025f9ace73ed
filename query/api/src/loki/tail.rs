//! Live tailing: a WebSocket that first gets the newest lines there are, then new ones as they come; of `v1` as streams of lines,
//! of `v2alpha`, which Grafana's plugin itself asks for, as data frames.
//!
//! New lines are asked for once a second with the query itself. A line may come late, so each question looks back a
//! little, and what was sent in that time is remembered. Bounded: sockets at one time, lines a frame (what does not fit
//! is told in `dropped_entries`), and the time a socket lives.

mod frames;

use super::params::Params;
use super::{Answer, Refusal, encode, now_ns};
use crate::TenantHeader;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use engine::{Direction, Engine, Held, LogEntry, LogLines, LogResult, QueryError};
use model::{Labels, Tenant};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Sockets at one time; each costs one query a second.
const TAILS_MAX: usize = 64;
static ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(TAILS_MAX)));

const LINES_DEFAULT: usize = 100;
/// Lines of one frame; the first has as many as its asker wants.
const FRAME_LINES_MAX: usize = 1_000;
const FRAME_LINES_MIN: usize = 16;
/// Lines that one frame may tell as dropped.
const DROPPED_MAX: usize = 100;
const EVERY: Duration = Duration::from_secs(1);
/// Lines that come later than this after their time are not shown.
const LATE_NS: i64 = 30_000_000_000;
/// As Loki's `tail_max_duration`.
const LIFE: Duration = Duration::from_secs(3_600);
/// `delay_for` at most, as in Loki.
const DELAY_SECONDS_MAX: i64 = 5;

/// How lines are told, up to so many.
type Told = fn(Vec<LogLines>, usize) -> Value;

pub(super) async fn tail(
    engine: State<Arc<Engine>>,
    tenant: TenantHeader,
    request: Request,
) -> Answer<Response> {
    tailed(engine, tenant, request, frame).await
}

pub(super) async fn tail_frames(
    engine: State<Arc<Engine>>,
    tenant: TenantHeader,
    request: Request,
) -> Answer<Response> {
    tailed(engine, tenant, request, frames::of).await
}

async fn tailed(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    request: Request,
    told: Told,
) -> Answer<Response> {
    let (mut parts, body) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let params = Params::of(Request::from_parts(parts, body)).await?;
    let query = params.required("query")?.to_owned();
    let expr = logql::parse(&query).map_err(|why| Refusal::bad(why.to_string()))?;
    // More than a question may answer is cut where it is asked.
    let limit = params.limit("limit", LINES_DEFAULT)?;
    let start_ns = params.time("start")?.unwrap_or_else(|| now_ns().saturating_sub(3_600_000_000_000));
    let delay = match params.get("delay_for").filter(|text| !text.is_empty()) {
        None => 0,
        Some(text) => text
            .parse::<i64>()
            .map_err(|_| Refusal::bad(format!("strconv.Atoi: parsing {text:?}: invalid syntax")))?,
    };
    if !(0..=i64::from(u32::MAX)).contains(&delay) {
        return Err(Refusal::bad(format!("delay_for value {delay} is out of range [0, {}]", u32::MAX)));
    }
    if delay > DELAY_SECONDS_MAX {
        return Err(Refusal::bad(format!("delay_for can't be greater than {DELAY_SECONDS_MAX}")));
    }
    let upgrade = upgrade.map_err(|why| {
        Refusal::bad(format!("tail speaks WebSocket: {why}; ask /query_range for lines that are there"))
    })?;
    // A client of sockets shows why one was closed, and not what was said of it before it began.
    if matches!(expr, logql::Expr::Metric(_)) {
        let why = "only log selector is supported";
        return Ok(upgrade.on_upgrade(move |mut socket| async move { close(&mut socket, why).await }));
    }
    let place = ROOM.clone().try_acquire_owned().map_err(|_| {
        Refusal(
            StatusCode::TOO_MANY_REQUESTS,
            format!("max concurrent tail requests limit exceeded, count > limit ({TAILS_MAX})"),
        )
    })?;
    let tail = Tail {
        engine,
        tenant,
        query,
        limit,
        delay_ns: delay * 1_000_000_000,
        frame_lines: FRAME_LINES_MAX,
        sent: BTreeSet::new(),
        hasher: RandomState::new(),
        from_ns: start_ns,
        told,
        _place: place,
    };
    Ok(upgrade.on_upgrade(move |socket| tail.run(socket)))
}

struct Tail {
    engine: Arc<Engine>,
    tenant: Tenant,
    query: String,
    limit: usize,
    delay_ns: i64,
    /// Fewer where lines are so long that there was no memory for as many.
    frame_lines: usize,
    /// Time and hash of the lines sent that the next question can meet again.
    sent: BTreeSet<(i64, u64)>,
    hasher: RandomState,
    /// Where the next question begins.
    from_ns: i64,
    told: Told,
    _place: OwnedSemaphorePermit,
}

impl Tail {
    async fn run(mut self, mut socket: WebSocket) {
        let end = Instant::now() + LIFE;
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut first = true;
        loop {
            tokio::select! {
                heard = socket.recv() => match heard {
                    // Nothing that a client says matters but that it goes; pings are answered below us.
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => continue,
                },
                _ = ticks.tick() => {}
            }
            if Instant::now() > end {
                return close(&mut socket, "reached tail max duration limit").await;
            }
            let frame = match self.next(first).await {
                Ok(frame) => frame,
                // What others hold comes back, and what was not asked for now is asked for later.
                Err(QueryError::TooMuch(_)) if self.frame_lines > FRAME_LINES_MIN => {
                    self.frame_lines /= 4;
                    continue;
                }
                Err(why) => return close(&mut socket, &why.to_string()).await,
            };
            first = false;
            // Its memory is held until whoever reads slowly has it.
            let (message, held) = match frame {
                Some((frame, held)) => (Message::Text(frame.to_string().into()), held),
                // Whoever is between us keeps a silent socket open.
                None => (Message::Ping(Default::default()), Held::default()),
            };
            if socket.send(message).await.is_err() {
                return;
            }
            drop(held);
        }
    }

    /// The lines that were not sent yet, if there are any.
    async fn next(&mut self, first: bool) -> Result<Option<(Value, Held)>, QueryError> {
        let end_ns = now_ns().saturating_sub(self.delay_ns);
        if end_ns <= self.from_ns {
            return Ok(None);
        }
        // The first frame has the newest lines there are; then each line in its turn.
        let (asked, direction) = match first {
            true if self.frame_lines == FRAME_LINES_MAX => (self.limit, Direction::Backward),
            true => (self.limit.min(self.frame_lines), Direction::Backward),
            false => (self.frame_lines + self.sent.len(), Direction::Forward),
        };
        let asked = asked.min(self.engine.limits().log_entries_max);
        let (engine, tenant) = (self.engine.clone(), self.tenant.clone());
        // Lines know no steps: one that no range is too long for.
        let step_ms = end_ns.saturating_sub(self.from_ns) / 1_000_000 + 1;
        let answer =
            engine.logql_range(&tenant, &self.query, self.from_ns, end_ns, step_ms, asked, direction).await?;
        let LogResult::Streams(streams) = answer.result else { return Ok(None) };
        let full = streams.iter().map(|stream| stream.entries.len()).sum::<usize>() >= asked;
        let times = || streams.iter().flat_map(|s| &s.entries).map(|entry| entry.ts_ns);
        let (oldest, newest) = (times().min(), times().max());
        let fresh = self.fresh(streams);
        // More lines than a question may answer: go on behind those that came, without looking back.
        let all_seen = end_ns.saturating_sub(LATE_NS).max(self.from_ns);
        self.from_ns = match (full, first) {
            // What came before the newest lines is not asked for again.
            (true, true) => oldest.unwrap_or(all_seen).max(all_seen),
            (true, false) => newest.unwrap_or(all_seen).max(self.from_ns),
            (false, _) => all_seen,
        };
        let keep = (self.from_ns, 0);
        self.sent = self.sent.split_off(&keep);
        let lines_max = if first { self.limit } else { FRAME_LINES_MAX };
        let held = answer.held;
        Ok((!fresh.is_empty()).then(|| ((self.told)(fresh, lines_max), held)))
    }

    fn fresh(&mut self, streams: Vec<LogLines>) -> Vec<LogLines> {
        let mut out = Vec::new();
        for mut stream in streams {
            let labels = stream.labels.clone();
            stream.entries.retain(|entry| {
                let hash = self.hasher.hash_one((labels.as_bytes(), &entry.line, entry.metadata.as_bytes()));
                self.sent.insert((entry.ts_ns, hash))
            });
            stream.entries.sort_by_key(|entry| entry.ts_ns);
            if !stream.entries.is_empty() {
                out.push(stream);
            }
        }
        out
    }
}

async fn close(socket: &mut WebSocket, why: &str) {
    // A reason may have 123 bytes.
    let reason: String = why.chars().take(100).filter(char::is_ascii).collect();
    let frame =
        axum::extract::ws::CloseFrame { code: axum::extract::ws::close_code::ERROR, reason: reason.into() };
    // A client that has gone does not hear it.
    let _ = socket.send(Message::Close(Some(frame))).await;
}

fn frame(mut streams: Vec<LogLines>, lines_max: usize) -> Value {
    let mut dropped = Vec::new();
    let mut left = lines_max;
    for stream in &mut streams {
        let over = stream.entries.split_off(left.min(stream.entries.len()));
        left -= stream.entries.len();
        let told = over.iter().take(DROPPED_MAX.saturating_sub(dropped.len()));
        dropped.extend(told.map(|entry| told_dropped(&stream.labels, entry)));
    }
    let mut told = json!({ "streams": encode::frame(streams) });
    // Where none are, Loki does not speak of them.
    if !dropped.is_empty() {
        told["dropped_entries"] = json!(dropped);
    }
    told
}

fn told_dropped(labels: &Labels, entry: &LogEntry) -> Value {
    json!({ "timestamp": entry.ts_ns.to_string(), "labels": labels.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Batch, LogBatch, LogRecord, LogStream, Sink, SystemClock, Write};
    use store::Store;

    async fn push(store: &Store, bodies: &[(i64, &str)]) {
        let records = bodies.iter().map(|(ago_ms, body)| LogRecord {
            ts_ns: now_ns() - ago_ms * 1_000_000,
            body: (*body).to_owned(),
            ..LogRecord::default()
        });
        let labels = Labels::from_pairs([("app", "api")]);
        let stream = LogStream { labels, resource: vec![], records: records.collect() };
        let batch = Batch::Logs(LogBatch { streams: vec![stream] });
        store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    }

    async fn lines(tail: &mut Tail, first: bool) -> Vec<String> {
        let Some((frame, _)) = tail.next(first).await.unwrap() else { return vec![] };
        assert!(frame.get("dropped_entries").is_none());
        let values = frame["streams"].as_array().unwrap().iter().flat_map(|stream| {
            assert_eq!(stream["stream"]["app"], "api");
            stream["values"].as_array().unwrap().clone()
        });
        values.map(|value| value[1].as_str().unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn each_line_is_sent_once_and_late_ones_too() {
        let dir = tempfile::tempdir().unwrap();
        let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
        let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
        let engine = Engine::new(store.clone(), Arc::new(SystemClock), engine::Limits::default()).unwrap();
        let mut tail = Tail {
            engine: Arc::new(engine),
            tenant: Tenant::default(),
            query: r#"{app="api"} != "quiet""#.into(),
            limit: 2,
            frame_lines: FRAME_LINES_MAX,
            delay_ns: 0,
            sent: BTreeSet::new(),
            hasher: RandomState::new(),
            from_ns: now_ns() - 60_000_000_000,
            told: frame,
            _place: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
        };
        push(&store, &[(9_000, "old"), (3_000, "a"), (2_000, "b"), (1_500, "quiet")]).await;
        assert_eq!(lines(&mut tail, true).await, ["a", "b"]);
        assert!(lines(&mut tail, false).await.is_empty());
        push(&store, &[(1_000, "c"), (2_500, "late"), (1_000, "quiet")]).await;
        assert_eq!(lines(&mut tail, false).await, ["late", "c"]);
        assert!(lines(&mut tail, false).await.is_empty());
        // The same line at another time is another line.
        push(&store, &[(500, "c")]).await;
        assert_eq!(lines(&mut tail, false).await, ["c"]);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let entry = |at: i64| LogEntry {
            ts_ns: at,
            line: "x".into(),
            metadata: Labels::empty(),
            parsed: Labels::empty(),
        };
        let entries = (0..FRAME_LINES_MAX as i64 + 2).map(entry).collect();
        let frame =
            frame(vec![LogLines { labels: Labels::from_pairs([("a", "b")]), entries }], FRAME_LINES_MAX);
        assert_eq!(frame["streams"][0]["values"].as_array().map(Vec::len), Some(FRAME_LINES_MAX));
        assert_eq!(frame["dropped_entries"].as_array().map(Vec::len), Some(2));
    }
}
