//! All followed files: a little of each in turn, so that a noisy one does not hold up the others.

use super::counts::Counts;
use super::find::{self, FILES_MAX, Found};
use super::follow::Step;
use super::line;
use super::positions::{Position, Positions};
use super::rules::{Limits, Rules};
use super::tail::{Tail, Turn};
use super::watch::Told;
use crate::host::Host;
use crate::panics::Panics;
use crate::pods::Pods;
use model::{LogBatch, LogStream};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Read of one file before the next has its turn; holds more than the longest line.
const TURN_BYTES: usize = 2 * line::LINE_BYTES_MAX;

/// Text in one batch, about.
const BATCH_BYTES: usize = 1 << 20;

/// What log files are followed with.
#[derive(Clone)]
pub struct With {
    pub host: Arc<Host>,
    pub pods: Pods,
    pub globs: Vec<String>,
    pub rules: Arc<Rules>,
    pub limits: Arc<Limits>,
    pub counts: Arc<Counts>,
    /// How long lines of a pod wait in their file until the kubelet has named it: before, nobody knows whether it wants
    /// them sent, and whose they are. Not at all where no kubelet is asked.
    pub wait: Duration,
    pub panics: Panics,
    /// How long a file is left alone whose lines came to a panic.
    pub wait_after_panic: Duration,
    /// A file that is gone is forgotten after this time; its name may come back until then.
    pub forget: Duration,
}

pub struct Follower {
    with: With,
    tails: BTreeMap<String, Tail>,
    /// Positions of files that have not been found again.
    remembered: BTreeMap<String, Position>,
    started: Instant,
    buffer: Vec<u8>,
    /// Whose turn it is.
    turn: String,
    /// Of the pods, when the files' owners were last looked up.
    pods_version: u64,
}

/// When there is something to read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    /// Nothing until the kernel tells of something.
    Quiet,
    /// What is held or what nobody tells of is looked at again after a while.
    Idle,
    /// A file is about to be left for its successor.
    Soon,
    Now,
}

impl Follower {
    pub fn new(with: With, remembered: BTreeMap<String, Position>) -> Follower {
        Follower {
            with,
            tails: BTreeMap::new(),
            remembered,
            started: Instant::now(),
            buffer: vec![0; TURN_BYTES],
            turn: String::new(),
            pods_version: 0,
        }
    }

    /// Other rules from here on.
    pub fn set_rules(&mut self, rules: Arc<Rules>) {
        if !Arc::ptr_eq(&rules, &self.with.rules) {
            self.with.rules = rules;
            self.tails.values_mut().for_each(|tail| tail.identify(&self.with));
        }
    }

    /// Looks for files that were not there before.
    pub fn find(&mut self) {
        let mut found = find::containers(&self.with.host.root);
        for glob in &self.with.globs {
            found.extend(find::by_glob(&self.with.host.root, glob));
        }
        for file in found {
            if self.tails.len() < FILES_MAX && !self.tails.contains_key(&file.path) {
                let tail = self.begin(file);
                self.tails.insert(tail.path().to_owned(), tail);
            }
        }
        if self.started.elapsed() > self.with.forget {
            self.remembered.clear();
        }
    }

    /// More may be known of whose the files are.
    fn identify(&mut self) {
        let version = self.with.pods.version();
        if version != self.pods_version {
            self.pods_version = version;
            self.tails.values_mut().for_each(|tail| tail.identify(&self.with));
        }
    }

    /// Something happened in these folders: their files are looked at.
    pub fn wake(&mut self, told: &Told) {
        for tail in self.tails.values_mut() {
            tail.is_due |= told.everything || told.folders.contains(tail.folder());
        }
    }

    pub fn wake_all(&mut self) {
        self.tails.values_mut().for_each(|tail| tail.is_due = true);
    }

    fn begin(&mut self, file: Found) -> Tail {
        let remembered = self.remembered.remove(&file.path);
        Tail::new(file, remembered, &self.with)
    }

    /// A batch of new lines of the files that are due, the positions behind them, and when there is more.
    pub fn read(&mut self, now_ns: i64) -> (LogBatch, Positions, Next) {
        self.identify();
        let (mut batch, mut changed) = (LogBatch::default(), Positions::default());
        let (mut bytes, mut next) = (0, Next::Quiet);
        let after = self
            .tails
            .range::<String, _>((std::ops::Bound::Excluded(&self.turn), std::ops::Bound::Unbounded));
        let before = self.tails.range::<String, _>(..=&self.turn);
        let is_due = |tail: &Tail| tail.is_due || tail.is_link || tail.holds_lines();
        let due = after.chain(before).filter(|(_, tail)| is_due(tail));
        let order: Vec<String> = due.map(|(path, _)| path.clone()).collect();
        let (mut forgotten, forget) = (vec![], self.with.forget);
        for path in order {
            let Some(tail) = self.tails.get_mut(&path) else { continue };
            if tail.waits() {
                next = next.max(Next::Idle);
                continue;
            }
            let before = tail.position().clone();
            let turn = Turn { buffer: &mut self.buffer, now_ns, counts: &self.with.counts };
            let Some((mut records, step)) = self.with.panics.caught("logs", || tail.read(turn)) else {
                // None of its lines has gone on, so they are read again. The other files' are read meanwhile.
                let at_once = tail.came_to_a_panic(before, self.with.wait_after_panic);
                next = next.max(if at_once { Next::Now } else { Next::Idle });
                continue;
            };
            let is_over = step == Step::Gone && tail.gone_for().is_some_and(|gone| gone > forget);
            if is_over {
                let turn = Turn { buffer: &mut self.buffer, now_ns, counts: &self.with.counts };
                let last = self.with.panics.caught("logs", || tail.finish(turn)).unwrap_or_default();
                records.iter_mut().zip(last).for_each(|(all, last)| all.extend(last));
            }
            next = next.max(match step {
                Step::More => Next::Now,
                Step::Soon => Next::Soon,
                Step::Idle | Step::Gone if tail.is_link || tail.holds_lines() => Next::Idle,
                Step::Idle | Step::Gone => Next::Quiet,
            });
            for (stream, records) in
                records.into_iter().enumerate().filter(|(_, records)| !records.is_empty())
            {
                bytes += records.iter().map(|record| record.body.len() + 64).sum::<usize>();
                let (labels, resource) = tail.identity(stream);
                batch.streams.push(LogStream { labels, resource, records });
            }
            if *tail.position() != before {
                changed.files.insert(path.clone(), tail.position().clone());
            }
            if is_over {
                forgotten.push(path.clone());
            }
            self.turn = path;
            if bytes >= BATCH_BYTES {
                next = Next::Now;
                break;
            }
        }
        forgotten.iter().for_each(|path| _ = self.tails.remove(path));
        self.with.counts.behind(self.tails.values().map(|tail| (tail.path(), tail.behind())));
        (batch, changed, next)
    }

    #[cfg(test)]
    pub fn tails_mut(&mut self) -> impl Iterator<Item = &mut Tail> {
        self.tails.values_mut()
    }

    pub fn positions(&self) -> BTreeMap<String, Position> {
        let mut all = self.remembered.clone();
        all.extend(self.tails.iter().map(|(path, tail)| (path.clone(), tail.position().clone())));
        all
    }
}
