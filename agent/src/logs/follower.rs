//! All followed files: a little of each in turn, so that a noisy one does not hold up the others.

use super::cri;
use super::find::{self, Container, FILES_MAX, Found};
use super::follow::{Follow, Raw, Step};
use super::line;
use super::positions::{Position, Positions};
use crate::host::Host;
use model::{Labels, LogBatch, LogRecord, LogStream};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Read of one file before the next has its turn; holds more than the longest line.
const TURN_BYTES: usize = 512 << 10;

/// Text in one batch, about.
const BATCH_BYTES: usize = 1 << 20;

/// A plain file that was never seen is read from so far before its end: old lines have no time of their own.
const FIRST_BYTES_MAX: u64 = 16 << 20;

/// A file that is gone is forgotten after this time; its name may come back until then.
const FORGET: Duration = Duration::from_secs(60);

pub struct Follower {
    host: Arc<Host>,
    globs: Vec<String>,
    tails: BTreeMap<String, Tail>,
    /// Positions of files that have not been found again.
    remembered: BTreeMap<String, Position>,
    started: Instant,
    buffer: Vec<u8>,
    /// Whose turn it is.
    turn: String,
}

struct Tail {
    follow: Follow,
    /// One for plain files; stdout's and stderr's for containers.
    labels: Vec<Labels>,
    is_container: bool,
    gone: Option<Instant>,
    failed: bool,
}

impl Follower {
    pub fn new(host: Arc<Host>, globs: Vec<String>, remembered: BTreeMap<String, Position>) -> Follower {
        Follower {
            host,
            globs,
            tails: BTreeMap::new(),
            remembered,
            started: Instant::now(),
            buffer: vec![0; TURN_BYTES],
            turn: String::new(),
        }
    }

    /// Looks for files that were not there before.
    pub fn find(&mut self) {
        let mut found = find::containers(&self.host.root);
        for glob in &self.globs {
            found.extend(find::by_glob(&self.host.root, glob));
        }
        for file in found {
            if self.tails.len() < FILES_MAX && !self.tails.contains_key(&file.path) {
                let tail = self.begin(&file);
                self.tails.insert(file.path, tail);
            }
        }
        self.tails.retain(|_, tail| tail.gone.is_none_or(|since| since.elapsed() < FORGET));
        if self.started.elapsed() > FORGET {
            self.remembered.clear();
        }
    }

    fn begin(&mut self, file: &Found) -> Tail {
        let path = self.host.root.path(&file.path);
        let position = self.remembered.remove(&file.path).unwrap_or_else(|| {
            let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
            if file.container.is_some() || bytes <= FIRST_BYTES_MAX {
                return Position::default();
            }
            info!(path = file.path, bytes, "a large file is read from near its end");
            // Somewhere inside a line, which is passed over.
            Position { offset: bytes - FIRST_BYTES_MAX, skipping: true, ..Position::default() }
        });
        let node = self.host.name.as_str();
        let labels = match &file.container {
            Some(container) => {
                cri::STREAMS.iter().map(|stream| container_labels(container, stream, node)).collect()
            }
            None => vec![file_labels(&file.path, node)],
        };
        let is_container = file.container.is_some();
        let follow = Follow::new(path, position, is_container);
        Tail { follow, labels, is_container, gone: None, failed: false }
    }

    /// A batch of new lines, the positions behind them, and whether there is more.
    pub fn read(&mut self, now_ns: i64) -> (LogBatch, Positions, bool) {
        let (mut batch, mut changed) = (LogBatch::default(), Positions::default());
        let (mut bytes, mut more) = (0, false);
        let after = self
            .tails
            .range::<String, _>((std::ops::Bound::Excluded(&self.turn), std::ops::Bound::Unbounded));
        let before = self.tails.range::<String, _>(..=&self.turn);
        let order: Vec<String> = after.chain(before).map(|(path, _)| path.clone()).collect();
        for path in order {
            let Some(tail) = self.tails.get_mut(&path) else { continue };
            let before = tail.follow.position.clone();
            let mut records: Vec<Vec<LogRecord>> = tail.labels.iter().map(|_| vec![]).collect();
            more |= tail.read(&mut self.buffer, now_ns, &path, &mut records);
            for (labels, records) in
                tail.labels.iter().zip(records).filter(|(_, records)| !records.is_empty())
            {
                bytes += records.iter().map(|record| record.body.len() + 64).sum::<usize>();
                batch.streams.push(LogStream { labels: labels.clone(), resource: vec![], records });
            }
            if tail.follow.position != before {
                changed.files.insert(path.clone(), tail.follow.position.clone());
            }
            self.turn = path;
            if bytes >= BATCH_BYTES {
                return (batch, changed, true);
            }
        }
        (batch, changed, more)
    }

    pub fn positions(&self) -> BTreeMap<String, Position> {
        let mut all = self.remembered.clone();
        all.extend(self.tails.iter().map(|(path, tail)| (path.clone(), tail.follow.position.clone())));
        all
    }
}

impl Tail {
    fn read(&mut self, buffer: &mut [u8], now_ns: i64, path: &str, records: &mut [Vec<LogRecord>]) -> bool {
        let is_container = self.is_container;
        // Lines of one read keep their order by a nanosecond each.
        let mut now_ns = now_ns;
        let mut each = |raw: Raw<'_>, position: &mut Position| {
            now_ns += 1;
            if is_container {
                if let Some(whole) = cri::add(raw.bytes, now_ns, &mut position.pending) {
                    records[whole.stream].push(line::record(whole.ts_ns, &whole.body, whole.cut || raw.cut));
                }
            } else if !raw.bytes.is_empty() {
                let ts_ns = line::time_of(raw.bytes).unwrap_or(now_ns);
                records[0].push(line::record(ts_ns, raw.bytes, raw.cut));
            }
        };
        match self.follow.read(buffer, &mut each) {
            Ok(step) => {
                self.failed = false;
                match step {
                    Step::Gone => _ = self.gone.get_or_insert_with(Instant::now),
                    Step::More | Step::Idle => self.gone = None,
                }
                step == Step::More
            }
            Err(wrong) => {
                // Said once, not at every look.
                if !std::mem::replace(&mut self.failed, true) {
                    warn!(path, error = %wrong, "a log file cannot be read");
                }
                false
            }
        }
    }
}

fn container_labels(container: &Container, stream: &str, node: &str) -> Labels {
    let job = format!("{}/{}", container.namespace, container.name);
    Labels::from_pairs([
        ("namespace", container.namespace.as_str()),
        ("pod", &container.pod),
        ("container", &container.name),
        ("service_name", &container.name),
        ("stream", stream),
        ("job", &job),
        ("node", node),
    ])
}

fn file_labels(path: &str, node: &str) -> Labels {
    let filename = format!("/{path}");
    let name = path.rsplit('/').next().unwrap_or(path);
    let service = name.strip_suffix(".log").filter(|stem| !stem.is_empty()).unwrap_or(name);
    Labels::from_pairs([
        ("filename", filename.as_str()),
        ("job", "files"),
        ("service_name", service),
        ("node", node),
    ])
}
