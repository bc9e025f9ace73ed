//! Tail sampling: which traces are kept is decided when a trace is there as a whole, by policies.
//!
//! [`Sampler`] is a [`Sink`] in front of another. Spans wait in memory, by trace, until the trace is decided: so long after
//! its first span came, or after its root did, or when memory is full, the oldest first. What comes later follows the
//! decision, which is remembered for a while. What waits is not on disk: a crash loses it, an orderly stop decides it.

mod condition;
mod policy;

use crate::sampling::policy::{File, Policy, Says, duration};
use model::{
    Batch, Clock, Reading, Receipt, Refused, ResourceSpans, Sink, Span, SpanBatch, Tenant, TraceId, Write,
};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Policies and bounds, ready to be used.
pub struct Sampling {
    decision_wait: Duration,
    /// Shorter, once the root is there; `None` waits as long in any case.
    after_root: Option<Duration>,
    traces_max: usize,
    remembered: [usize; 2],
    policies: Vec<Policy>,
}

/// Defaults of the collector's processor; it remembers no decision unless told to, and then loses the ends of traces.
const DECISION_WAIT: Duration = Duration::from_secs(30);
const TRACES_MAX: usize = 50_000;
const REMEMBERED: usize = 100_000;
/// What one trace may have: a batch job with spans without end is decided as far as it is there.
const TRACE_SPANS_MAX: usize = 20_000;
/// Senders whose batches are known when they come again.
const SENDERS_MAX: usize = 10_000;
/// How often is looked for traces that are due.
const TICK: Duration = Duration::from_millis(500);
/// Spans of one batch to the store.
const BATCH_SPANS: usize = 5_000;

impl Sampling {
    /// How many there are.
    pub fn policies(&self) -> usize {
        self.policies.len()
    }

    /// The text of a file; an error says what and, where the text is no YAML of this form, where.
    pub fn parse(text: &str) -> Result<Sampling, String> {
        let file: File = serde_yaml_ng::from_str(text).map_err(|wrong| wrong.to_string())?;
        if file.policies.is_empty() {
            return Err("policies is empty, so no trace would be kept".to_owned());
        }
        let wait =
            |key: &str, text: &Option<String>| text.as_deref().map(|text| duration(key, text)).transpose();
        let remembered = [file.decision_cache.sampled_cache_size, file.decision_cache.non_sampled_cache_size];
        Ok(Sampling {
            decision_wait: wait("decision_wait", &file.decision_wait)?.unwrap_or(DECISION_WAIT),
            after_root: wait("decision_wait_after_root_received", &file.decision_wait_after_root_received)?
                .filter(|wait| !wait.is_zero()),
            traces_max: file.num_traces.map_or(TRACES_MAX, |count| count.0.max(1)),
            remembered: remembered.map(|size| size.map_or(REMEMBERED, |count| count.0)),
            policies: file.policies.into_iter().map(|policy| policy.policy(1)).collect::<Result<_, _>>()?,
        })
    }
}

/// Spans of a trace with one resource and scope.
type Part = ResourceSpans;

struct Waiting {
    parts: Vec<Part>,
    spans: usize,
    bytes: usize,
    due_ms: i64,
}

/// Decisions about traces, the newest so many.
struct Decided {
    known: HashMap<(Tenant, TraceId), bool>,
    /// Not kept, kept.
    order: [VecDeque<(Tenant, TraceId)>; 2],
    max: [usize; 2],
}

impl Decided {
    /// Not kept, kept; the oldest of too many are forgotten.
    fn bound(&mut self, max: [usize; 2]) {
        self.max = max;
        for (order, max) in self.order.iter_mut().zip(max) {
            let too_many = order.len().saturating_sub(max);
            for key in order.drain(..too_many) {
                self.known.remove(&key);
            }
        }
    }

    fn note(&mut self, key: (Tenant, TraceId), keep: bool) {
        let order = &mut self.order[usize::from(keep)];
        if self.max[usize::from(keep)] == 0 || self.known.insert(key.clone(), keep).is_some() {
            return;
        }
        order.push_back(key);
        if order.len() > self.max[usize::from(keep)]
            && let Some(oldest) = order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

struct State {
    sampling: Sampling,
    waiting: HashMap<(Tenant, TraceId), Waiting>,
    /// When to look at a trace; one that was decided before is passed over.
    due: VecDeque<(i64, (Tenant, TraceId))>,
    due_after_root: VecDeque<(i64, (Tenant, TraceId))>,
    bytes: usize,
    decided: Decided,
    /// Kept, and not yet taken by the store.
    ready: Vec<(Tenant, Part)>,
    ready_bytes: usize,
    senders: HashMap<u128, u64>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    /// Not kept, kept.
    traces: [u64; 2],
    spans: [u64; 2],
    late: [u64; 2],
    early: u64,
    /// Traces that each policy wanted to keep.
    by_policy: Vec<u64>,
}

/// Keeps what its policies want.
pub struct Sampler {
    next: Arc<dyn Sink>,
    clock: Arc<dyn Clock>,
    bytes_max: usize,
    state: Mutex<State>,
}

impl Sampler {
    /// `bytes_max` bounds what waits in memory.
    pub fn new(next: Arc<dyn Sink>, clock: Arc<dyn Clock>, sampling: Sampling, bytes_max: usize) -> Sampler {
        let [kept, refused] = sampling.remembered;
        let decided = Decided { known: HashMap::new(), order: Default::default(), max: [refused, kept] };
        let counts = Counts { by_policy: vec![0; sampling.policies.len()], ..Counts::default() };
        Sampler {
            next,
            clock,
            bytes_max,
            state: Mutex::new(State {
                sampling,
                waiting: HashMap::new(),
                due: VecDeque::new(),
                due_after_root: VecDeque::new(),
                bytes: 0,
                decided,
                ready: vec![],
                ready_bytes: 0,
                senders: HashMap::new(),
                counts,
            }),
        }
    }

    /// Others from here on: what waits is decided by them, when it was to be. A policy that keeps its name goes on counting.
    pub fn set(&self, sampling: Sampling) {
        let mut state = self.state.lock();
        let [kept, refused] = sampling.remembered;
        state.decided.bound([refused, kept]);
        let count_of = |policy: &Policy| {
            let known = state.sampling.policies.iter().position(|was| was.name == policy.name);
            known.map_or(0, |at| state.counts.by_policy[at])
        };
        let by_policy = sampling.policies.iter().map(count_of).collect();
        state.counts.by_policy = by_policy;
        state.sampling = sampling;
    }

    /// Decides what is due until the token is cancelled; then all that waits.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.decide(self.clock.now_ms()).await,
                () = stop.cancelled() => return self.decide(i64::MAX).await,
            }
        }
    }

    /// Decides traces that are due at `until_ms`, and writes what is kept.
    pub async fn decide(&self, until_ms: i64) {
        let now_s = self.clock.now_ms() / 1_000;
        {
            let mut state = self.state.lock();
            let mut due = vec![];
            let State { due: first, due_after_root: second, .. } = &mut *state;
            for queue in [first, second] {
                while let Some((_, key)) = queue.pop_front_if(|(due_ms, _)| *due_ms <= until_ms) {
                    due.push(key);
                }
            }
            for key in due {
                // Two entries lead to a trace with a root; the earlier that holds decides.
                if state.waiting.get(&key).is_some_and(|trace| trace.due_ms <= until_ms) {
                    state.decide(key, now_s);
                }
            }
        }
        self.write_ready().await;
    }

    /// Writes what is kept and not written yet.
    async fn write_ready(&self) {
        let ready = std::mem::take(&mut self.state.lock().ready);
        for (tenant, parts) in batches(ready) {
            if let Err(back) = self.keep(&tenant, parts).await {
                self.state.lock().ready.extend(back.into_iter().map(|part| (tenant.clone(), part)));
            }
        }
    }

    /// What the store refuses comes back and is tried again.
    async fn keep(&self, tenant: &Tenant, parts: Vec<Part>) -> Result<(), Vec<Part>> {
        let bytes: usize = parts.iter().flat_map(|part| &part.spans).map(held).sum();
        let batch = Batch::Spans(SpanBatch { resources: parts.clone() });
        match self.next.write(Write { tenant: tenant.clone(), batch, origin: None }).await {
            Ok(_) => {
                let mut state = self.state.lock();
                state.ready_bytes = state.ready_bytes.saturating_sub(bytes);
                Ok(())
            }
            Err(refused) => {
                warn!(%tenant, %refused, "spans of traces that are kept are written later");
                Err(parts)
            }
        }
    }

    pub fn readings(&self) -> Vec<Reading> {
        let state = self.state.lock();
        let counts = &state.counts;
        let mut readings = vec![
            Reading::gauge(
                "binnacle_tail_sampling_waiting_traces",
                "Traces that wait for their decision",
                state.waiting.len() as f64,
            ),
            Reading::gauge(
                "binnacle_tail_sampling_waiting_bytes",
                "Spans in memory that wait for a decision or for the store",
                (state.bytes + state.ready_bytes) as f64,
            ),
            Reading::counter(
                "binnacle_tail_sampling_early_decisions_total",
                "Traces decided before their time, as there was no room for more",
                counts.early as f64,
            ),
        ];
        for (at, decision) in ["not_sampled", "sampled"].into_iter().enumerate() {
            for (name, help, count) in [
                ("binnacle_tail_sampling_traces_total", "Traces by what was decided", counts.traces[at]),
                (
                    "binnacle_tail_sampling_spans_total",
                    "Spans by what was decided of their trace",
                    counts.spans[at],
                ),
                (
                    "binnacle_tail_sampling_late_spans_total",
                    "Spans that came after the decision",
                    counts.late[at],
                ),
            ] {
                readings.push(Reading::counter(name, help, count as f64).with("decision", decision));
            }
        }
        for (policy, count) in state.sampling.policies.iter().zip(&counts.by_policy) {
            let help = "Traces that a policy wanted to keep";
            let reading = Reading::counter("binnacle_tail_sampling_policy_traces_total", help, *count as f64);
            readings.push(reading.with("policy", policy.name.as_str()));
        }
        readings
    }

    fn refuse_when_full(&self, state: &State) -> Result<(), Refused> {
        // What waits can be decided early; what the store does not take cannot.
        match state.ready_bytes > self.bytes_max {
            true => Err(Refused::Busy {
                why: "spans of traces that are kept wait for the store".into(),
                retry_after: Duration::from_secs(1),
            }),
            false => Ok(()),
        }
    }

    /// Sorts a batch's spans into those that wait, those that are dropped, and those that are ready to be written.
    fn sort(&self, tenant: &Tenant, batch: SpanBatch, receipt: &mut Receipt) -> Result<(), Refused> {
        let now_ms = self.clock.now_ms();
        let mut state = self.state.lock();
        self.refuse_when_full(&state)?;
        for mut group in batch.resources {
            let spans = std::mem::take(&mut group.spans);
            let mut kept = vec![];
            for span in spans {
                if let Some((reason, why)) = span.wrong(now_ms) {
                    receipt.reject(reason, || why);
                    continue;
                }
                receipt.accepted += 1;
                let key = (tenant.clone(), span.trace_id);
                match state.decided.known.get(&key).copied() {
                    Some(keep) => {
                        state.counts.late[usize::from(keep)] += 1;
                        state.counts.spans[usize::from(keep)] += 1;
                        if keep {
                            kept.push(span);
                        }
                    }
                    None => state.wait(key, &group, span, now_ms),
                }
            }
            if !kept.is_empty() {
                state.ready_bytes += kept.iter().map(held).sum::<usize>();
                state.ready.push((tenant.clone(), Part { spans: kept, ..group }));
            }
        }
        while state.waiting.len() > state.sampling.traces_max || state.bytes > self.bytes_max {
            let Some((_, oldest)) = state.due.pop_front() else { break };
            if state.waiting.contains_key(&oldest) {
                state.counts.early += 1;
                state.decide(oldest, now_ms / 1_000);
            }
        }
        state.forget_decided();
        Ok(())
    }
}

impl State {
    fn wait(&mut self, key: (Tenant, TraceId), group: &Part, span: Span, now_ms: i64) {
        // It may wait for longer than what came with it.
        let span = Span { attributes: span.attributes.alone(), ..span };
        let bytes = held(&span);
        self.bytes += bytes;
        let State { sampling, waiting, due, due_after_root, .. } = self;
        let trace = waiting.entry(key.clone()).or_insert_with(|| {
            let due_ms = now_ms + sampling.decision_wait.as_millis() as i64;
            due.push_back((due_ms, key.clone()));
            Waiting { parts: vec![], spans: 0, bytes: 0, due_ms }
        });
        if let Some(wait) = sampling.after_root.filter(|_| span.parent_span_id.is_none()) {
            let due_ms = now_ms + wait.as_millis() as i64;
            if due_ms < trace.due_ms {
                trace.due_ms = due_ms;
                due_after_root.push_back((due_ms, key.clone()));
            }
        }
        trace.bytes += bytes;
        trace.spans += 1;
        let same = |part: &&mut Part| {
            Arc::ptr_eq(&part.resource, &group.resource)
                && part.scope == group.scope
                && part.schema_url == group.schema_url
        };
        match trace.parts.last_mut().filter(same) {
            Some(part) => part.spans.push(span),
            None => trace.parts.push(Part { spans: vec![span], ..group.clone() }),
        }
        if trace.spans > TRACE_SPANS_MAX {
            self.counts.early += 1;
            self.decide(key, now_ms / 1_000);
        }
    }

    /// What was decided before its time leaves its place in the queues until then: with many such they would be longer than
    /// what waits.
    fn forget_decided(&mut self) {
        let State { sampling, waiting, due, due_after_root, .. } = self;
        for queue in [due, due_after_root] {
            if queue.len() > 2 * sampling.traces_max {
                queue.retain(|(_, key)| waiting.contains_key(key));
            }
        }
    }

    fn decide(&mut self, key: (Tenant, TraceId), now_s: i64) {
        let Some(trace) = self.waiting.remove(&key) else { return };
        let (mut keep, mut refuse) = (false, false);
        // Every policy is asked, as each counts for itself.
        for (policy, count) in self.sampling.policies.iter_mut().zip(&mut self.counts.by_policy) {
            match policy.ask(&key.1, &trace.parts, now_s) {
                Says::Keep => {
                    *count += 1;
                    keep = true;
                }
                Says::Refuse => refuse = true,
                Says::Nothing => {}
            }
        }
        let keep = keep && !refuse;
        self.bytes = self.bytes.saturating_sub(trace.bytes);
        self.counts.traces[usize::from(keep)] += 1;
        self.counts.spans[usize::from(keep)] += trace.spans as u64;
        if keep {
            self.ready_bytes += trace.bytes;
            self.ready.extend(trace.parts.into_iter().map(|part| (key.0.clone(), part)));
        }
        self.decided.note(key, keep);
    }
}

/// About what a span takes in memory: its fields, and texts that were allocated one by one.
fn held(span: &Span) -> usize {
    size_of::<Span>() + 2 * crate::size::of(span)
}

/// By tenant, some thousand spans at a time.
fn batches(ready: Vec<(Tenant, Part)>) -> Vec<(Tenant, Vec<Part>)> {
    let mut batches: Vec<(Tenant, Vec<Part>, usize)> = vec![];
    for (tenant, part) in ready {
        let spans = part.spans.len();
        let open = batches.iter_mut().find(|(of, _, count)| *of == tenant && *count < BATCH_SPANS);
        match open {
            Some((_, parts, count)) => {
                parts.push(part);
                *count += spans;
            }
            None => batches.push((tenant, vec![part], spans)),
        }
    }
    batches.into_iter().map(|(tenant, parts, _)| (tenant, parts)).collect()
}

#[async_trait::async_trait]
impl Sink for Sampler {
    async fn write(&self, write: Write) -> Result<Receipt, Refused> {
        let Batch::Spans(batch) = write.batch else { return self.next.write(write).await };
        if let Some(origin) = write.origin {
            let mut state = self.state.lock();
            let full = state.senders.len() >= SENDERS_MAX;
            if full && !state.senders.contains_key(&origin.sender) {
                state.senders.clear();
            }
            let highest = state.senders.entry(origin.sender).or_default();
            if origin.sequence <= *highest {
                return Ok(Receipt { repeated: true, ..Receipt::of_all(&Batch::Spans(batch)) });
            }
        }
        let mut receipt = Receipt::default();
        self.sort(&write.tenant, batch, &mut receipt)?;
        // Late spans of kept traces, and what was decided early.
        self.write_ready().await;
        if let Some(origin) = write.origin {
            let mut state = self.state.lock();
            let highest = state.senders.entry(origin.sender).or_default();
            *highest = (*highest).max(origin.sequence);
        }
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests;
