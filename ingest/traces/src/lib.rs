//! What happens to spans between the doors and the store: numbers are derived from them, and written as ordinary
//! metrics beside them.
//!
//! [`Derive`] is a [`Sink`] in front of another. A batch goes through unchanged; when it is stored, what it says of
//! requests is counted (`red`: span metrics; `graph`: who asks whom; `lately`: each span once, though it comes again), and
//! every interval the counts are written through the same sink. The counts live in memory alone: what a log replays after a crash
//! passes no sink and is not counted twice, and counters begin at 0 with the process, as Prometheus expects of one. [`Sampler`] is
//! another such sink, which keeps whole traces by policies. They know no protocol and no storage.

mod export;
mod graph;
mod lately;
mod latency;
mod names;
mod red;
mod sampling;
mod size;
mod slab;
mod to_its_end;

pub use sampling::{Sampler, Sampling};
pub use to_its_end::ToItsEnd;

use export::Export;
use graph::{Graph, Half, Peer, Telling};
use lately::Lately;
use model::{
    Batch, Clock, Metadata, MetricBatch, Reading, Receipt, Refused, Sink, SpanBatch, Tenant, Value, Write,
    attribute,
};
use parking_lot::Mutex;
use red::{Red, Seen};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

#[derive(Clone, Debug)]
pub struct Config {
    /// How often counts are written, as Prometheus would scrape them.
    pub interval: Duration,
    /// A series that nothing was added to for so long ends.
    pub stale_after: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config { interval: Duration::from_secs(15), stale_after: Duration::from_secs(15 * 60) }
    }
}

/// Tenants of which metrics are derived; spans of further ones are stored all the same.
const TENANTS_MAX: usize = 1_000;

/// Counts the spans that pass through.
pub struct Derive {
    next: Arc<dyn Sink>,
    clock: Arc<dyn Clock>,
    config: Config,
    started_ms: i64,
    hashing: foldhash::quality::RandomState,
    tenants: Mutex<HashMap<Tenant, Arc<Mutex<Derived>>>>,
}

/// What is derived of one tenant's spans.
#[derive(Default)]
struct Derived {
    red: Red,
    graph: Graph,
    lately: Lately,
}

/// What a batch adds once it is stored.
struct Noted {
    seen: Vec<Seen>,
    /// Each with the place of its span among those that were seen.
    halves: Vec<(usize, Half)>,
}

/// Spans that are looked up or counted while the lock is held: a tenth of a millisecond, so that writers of one tenant and
/// whoever exports wait for each other no longer than that.
const LOCKED_SPANS: usize = 256;

impl Noted {
    fn of(derive: &Derive, derived: &Mutex<Derived>, batch: &SpanBatch, now_ms: i64) -> Noted {
        let mut noted = Noted { seen: Vec::with_capacity(batch.spans()), halves: vec![] };
        let mut telling = Telling::default();
        for resource in &batch.resources {
            let service = attribute(&resource.resource, "service.name").map(Value::to_string);
            let service: Arc<str> = service.unwrap_or_default().into();
            let told = Peer::attributes(&resource.resource);
            let peer = Peer::of(&told);
            for spans in resource.spans.chunks(LOCKED_SPANS) {
                let first = noted.seen.len();
                let whole = || spans.iter().filter(|span| span.wrong(now_ms).is_none());
                for span in whole() {
                    let weight = model::sampling_weight(&span.trace_state);
                    let place = noted.seen.len();
                    noted.seen.push(Seen::of(span, weight, lately::hash(&derive.hashing, &service, span)));
                    // A node of the graph has a name.
                    if !service.is_empty() {
                        let half = Half::of(&service, &peer, span, weight, &mut telling);
                        noted.halves.extend(half.map(|half| (place, half)));
                    }
                }
                let mut derived = derived.lock();
                for (seen, span) in noted.seen[first..].iter_mut().zip(whole()) {
                    seen.series = derived.red.series_of(&service, span, now_ms);
                }
            }
        }
        noted
    }

    /// Two that come at once know of each other only here.
    fn count(mut self, derived: &Mutex<Derived>, share: usize, now_ms: i64) {
        let mut again = vec![];
        for (chunk, seen) in self.seen.chunks(LOCKED_SPANS).enumerate() {
            let mut derived = derived.lock();
            for (place, seen) in seen.iter().enumerate() {
                if derived.lately.is_new(seen.hash, share) {
                    derived.red.count(seen);
                } else {
                    again.push(chunk * LOCKED_SPANS + place);
                }
            }
        }
        if !again.is_empty() {
            self.halves.retain(|(place, _)| again.binary_search(place).is_err());
        }
        let mut halves = self.halves.into_iter();
        while halves.len() > 0 {
            let mut derived = derived.lock();
            halves.by_ref().take(LOCKED_SPANS).for_each(|(_, half)| derived.graph.add(half, now_ms));
        }
    }
}

impl Derived {
    /// All counts as of now.
    fn export(&mut self, now_ms: i64, born_ms: i64, stale_before_ms: i64) -> Vec<MetricBatch> {
        self.graph.give_up(now_ms);
        let mut batches = vec![];
        let mut out = Export::new(&mut batches, now_ms);
        self.red.expire(stale_before_ms, now_ms, &mut out);
        self.graph.expire(stale_before_ms, now_ms, &mut out);
        self.red.export(&mut out, born_ms);
        self.graph.export(&mut out, born_ms);
        if let Some(batch) = batches.first_mut() {
            batch.metadata = red::METADATA.iter().chain(&graph::METADATA).map(metadata).collect();
        }
        batches
    }

    fn is_empty(&self) -> bool {
        self.red.len() == 0 && self.graph.len() == 0 && self.graph.waiting() == 0
    }
}

fn metadata((name, kind, help): &(&str, model::MetricKind, &str)) -> Metadata {
    Metadata { name: (*name).to_owned(), kind: *kind, help: (*help).to_owned(), unit: String::new() }
}

impl Derive {
    pub fn new(next: Arc<dyn Sink>, clock: Arc<dyn Clock>, config: Config) -> Derive {
        let started_ms = clock.now_ms();
        Derive { next, clock, config, started_ms, hashing: Default::default(), tenants: Mutex::default() }
    }

    fn of(&self, tenant: &Tenant) -> Option<Arc<Mutex<Derived>>> {
        let mut tenants = self.tenants.lock();
        if let Some(known) = tenants.get(tenant) {
            return Some(known.clone());
        }
        let room = tenants.len() < TENANTS_MAX;
        room.then(|| tenants.entry(tenant.clone()).or_default().clone())
    }

    /// Writes the counts at every interval until the token is cancelled, and once more then.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.config.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.write_counts().await,
                () = stop.cancelled() => return self.write_counts().await,
            }
        }
    }

    /// Writes all counts now. What the sink refuses is written with the next: counts only grow.
    pub async fn write_counts(&self) {
        let now_ms = self.clock.now_ms();
        let born_ms = self.started_ms.max(now_ms - self.config.interval.as_millis() as i64);
        let stale_before_ms = now_ms.saturating_sub(self.config.stale_after.as_millis() as i64);
        let all: Vec<_> = self.tenants.lock().iter().map(|(t, d)| (t.clone(), d.clone())).collect();
        for (tenant, derived) in all {
            let batches = derived.lock().export(now_ms, born_ms, stale_before_ms);
            for batch in batches {
                let write = Write { tenant: tenant.clone(), batch: Batch::Metrics(batch), origin: None };
                if let Err(refused) = self.next.write(write).await {
                    warn!(%tenant, %refused, "metrics of spans are written later");
                }
            }
        }
        self.tenants.lock().retain(|_, derived| Arc::strong_count(derived) > 1 || !derived.lock().is_empty());
    }

    pub fn readings(&self) -> Vec<Reading> {
        let all: Vec<_> = self.tenants.lock().values().cloned().collect();
        let mut sums = [0u64; 6];
        for derived in all {
            let derived = derived.lock();
            let numbers = [
                derived.red.len() as u64,
                derived.graph.len() as u64,
                derived.graph.waiting() as u64,
                derived.graph.dropped_halves,
                derived.graph.expired_halves,
                derived.red.overflowed + derived.graph.overflowed(),
            ];
            sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
        }
        let [series, edges, waiting, dropped, expired, overflowed] = sums.map(|sum| sum as f64);
        vec![
            Reading::gauge("binnacle_traces_span_series", "Label sets of span metrics", series),
            Reading::gauge("binnacle_traces_graph_edges", "Edges of the service graph", edges),
            Reading::gauge("binnacle_traces_graph_waiting", "Spans that wait for the other side", waiting),
            Reading::counter(
                "binnacle_traces_graph_dropped_total",
                "Spans for whose wait there was no room",
                dropped,
            ),
            Reading::counter(
                "binnacle_traces_graph_expired_total",
                "Spans whose other side never came and is not known",
                expired,
            ),
            Reading::counter(
                "binnacle_traces_overflowed_total",
                "Spans and edges counted under __cardinality_overflow__",
                overflowed,
            ),
        ]
    }
}

#[async_trait::async_trait]
impl Sink for Derive {
    async fn write(&self, write: Write) -> Result<Receipt, Refused> {
        let Batch::Spans(batch) = &write.batch else { return self.next.write(write).await };
        let Some(derived) = self.of(&write.tenant) else { return self.next.write(write).await };
        // The batch goes on by value: what it adds is noted before, and counted when it is stored.
        let noted = Noted::of(self, &derived, batch, self.clock.now_ms());
        let receipt = self.next.write(write).await?;
        if !receipt.repeated {
            let share = lately::share(self.tenants.lock().len());
            noted.count(&derived, share, self.clock.now_ms());
        }
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests;
