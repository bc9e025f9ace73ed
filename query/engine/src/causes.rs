//! What slows requests, and how two sets of traces or log lines differ.
//!
//! A bottleneck is an operation of which the time on the critical path comes in two sizes: most requests pay the usual
//! one, some pay a second. `path` says what each request waited for, `split` whether an operation's times come in two
//! sizes, this file which of these matter. Requests of one kind (the same entry operation) are compared with one another
//! only: that a checkout takes longer than a page view is no bottleneck.

mod compare;
mod path;
mod split;
mod waterfall;

pub use compare::{Comparison, Difference};
pub use waterfall::{TraceTree, TreeSpan, Usual};

use crate::logql::operator::Operator;
use crate::traceql::{SpanScan, Spans};
use crate::{Engine, QueryError};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use model::{SpanId, SpanKind, SpanSelect, Tenant, TimeRange, TraceId};
use path::Node;
use split::{quantile, two_sizes};
use std::collections::{HashMap, HashSet};
use std::time::Instant;
use store::SpanColumns;

/// Spans looked at; with more, whole traces are left out at random. Six thousand requests of the demo.
const SPANS_MAX: usize = 200_000;
/// Distinct operations told apart; names that carry ids would otherwise be without end.
const OPERATIONS_MAX: usize = 10_000;
/// A trace's later spans may start so long after the asked range.
const TRACE_NS_MAX: i64 = 600_000_000_000;
/// Fewer requests, or fewer slow ones, say nothing.
const REQUESTS_MIN: usize = 30;
const SLOWED_MIN: usize = 5;
/// The least part of all requests' time that is worth a claim.
const TIME_SHARE_MIN: f64 = 0.01;
/// The least share of all requests, with 95 % confidence. Who asks for one service's requests asks for fewer: a timeout that
/// one payment in a hundred runs into is nothing to the shop, and would be a claim of half of the answers about payments.
const SHARE_MIN: Share = Share { least: 0.005, deviations: 1.96 };
/// Or of the requests that reach the operation, with 99 %: a rare kind of request may be slow by any measure of its own.
const SHARE_OF_REACHED_MIN: Share = Share { least: 0.02, deviations: 2.58 };
const ADDS_MS_MIN: f64 = 1.0;
/// What half of the requests of a kind take is not the usual where more than half are slow; a quarter may be left.
const USUAL_QUANTILE: f64 = 0.25;
const EXAMPLES: usize = 5;
/// A trace begun so shortly before the newest request may not have arrived whole: services send when they will.
const SETTLED_NS: i64 = 10_000_000_000;
const FOUND_MAX: usize = 20;
/// Operations of the critical path that are told.
const PATH_MAX: usize = 50;

/// An operation that makes some requests slower than others of their kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Bottleneck {
    pub service: String,
    pub operation: String,
    /// Whose requests; `None` is those of everybody who asks from outside.
    pub of: Option<String>,
    /// What it takes of the critical path of a request that it does not slow.
    pub usual_ms: f64,
    pub adds_ms: f64,
    pub share_of_requests: f64,
    /// Of the time of all requests together, the part that it adds.
    pub share_of_time: f64,
    /// Of the time of the slowest twentieth of requests, the part that it is waited for.
    pub share_of_p95: f64,
    pub slowed: usize,
    /// The newest that it slowed and that are there as a whole.
    pub traces: Vec<TraceId>,
}

/// What the requests that were looked at wait for: the time of one operation on their critical paths.
#[derive(Clone, Debug, PartialEq)]
pub struct OnPath {
    pub service: String,
    pub operation: String,
    /// Of the time of all requests together, and of the slowest twentieth of them.
    pub share_of_time: f64,
    pub share_of_p95: f64,
    /// The part of requests on whose path it is, and what it takes of each of these.
    pub share_of_requests: f64,
    pub mean_ms: f64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bottlenecks {
    /// Worst first: by the time that they add to all requests together.
    pub found: Vec<Bottleneck>,
    /// Where the time of requests goes, most of that of the slowest ones first.
    pub path: Vec<OnPath>,
    /// 95 % of requests take no longer.
    pub p95_ms: f64,
    /// Requests that were looked at.
    pub requests: usize,
    /// The share of traces that were looked at; 1 is all.
    pub sampled: f64,
    pub warnings: Vec<String>,
}

impl Engine {
    /// What slows the requests that begin in the range: those that reach `service`, or all that come from outside.
    pub async fn bottlenecks(
        &self,
        tenant: &Tenant,
        service: Option<&str>,
        range: TimeRange,
    ) -> Result<Bottlenecks, QueryError> {
        let began = Instant::now();
        let snapshot = self.source.snapshot(tenant).await?;
        let late = TimeRange { start: range.start, end: range.end.saturating_add(TRACE_NS_MAX) };
        let columns = SpanColumns::named(&[
            "trace_id",
            "span_id",
            "parent_span_id",
            "start_ts",
            "duration_ns",
            "service",
            "name",
            "kind",
        ]);
        let scan = SpanScan { snapshot: snapshot.clone(), select: SpanSelect::all(late), columns };
        let (context, service) = (self.task_context(), service.map(str::to_owned));
        let answer = self
            .off_thread(async move {
                let batches = execute_stream(Operator::plan(scan, vec![]), context.clone())
                    .map_err(crate::logql::broken)?;
                let sample = Sample::read(batches, &context).await?;
                let mut answer = sample.judge(service.as_deref(), range);
                answer.warnings = snapshot.warnings();
                Ok(answer)
            })
            .await;
        self.observe("traceql", began.elapsed());
        answer
    }
}

#[derive(Clone, Copy)]
struct Row {
    trace: TraceId,
    start_ns: i64,
    end_ns: i64,
    span: SpanId,
    parent: Option<SpanId>,
    operation: u32,
    kind: SpanKind,
}

impl Row {
    fn of(spans: &Spans<'_>, row: usize, names: &mut Names) -> Row {
        let start_ns = spans.start(row);
        Row {
            trace: spans.trace_id(row),
            start_ns,
            end_ns: start_ns.saturating_add(spans.duration(row).max(0)),
            span: spans.span_id(row),
            parent: spans.parent(row),
            operation: names.of(spans.service(row), spans.name(row)),
            kind: spans.kind(row),
        }
    }
}

/// Whole traces, in as many spans as may be held.
struct Sample {
    rows: Vec<Row>,
    operations: Vec<Operation>,
    /// Of 2 to this power traces one is in it.
    halvings: u32,
}

struct Operation {
    service: u32,
    service_name: String,
    name: String,
}

/// Interned names.
#[derive(Default)]
struct Names {
    operations: Vec<Operation>,
    by_name: HashMap<String, HashMap<String, u32>>,
    services: HashMap<String, u32>,
}

impl Names {
    fn of(&mut self, service: &str, name: &str) -> u32 {
        if let Some(known) = self.by_name.get(service).and_then(|names| names.get(name)) {
            return *known;
        }
        let name = if self.operations.len() < OPERATIONS_MAX { name } else { "other operations" };
        let next = self.services.len() as u32;
        let service_at = *self.services.entry(service.to_owned()).or_insert(next);
        let names = self.by_name.entry(service.to_owned()).or_default();
        *names.entry(name.to_owned()).or_insert_with(|| {
            self.operations.push(Operation {
                service: service_at,
                service_name: service.to_owned(),
                name: name.to_owned(),
            });
            self.operations.len() as u32 - 1
        })
    }
}

/// Ids are random in most of their bytes, in which ones is up to who made them.
fn scattered(id: &TraceId) -> u64 {
    let (a, b) = id.split_at(8);
    let half = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let mixed = (half(a) ^ half(b).rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

impl Sample {
    /// Of all that there is.
    fn new(mut rows: Vec<Row>, names: Names) -> Sample {
        // A span that was sent twice is looked at once, as it ended last.
        rows.sort_unstable_by_key(|row| {
            (row.trace, row.start_ns, row.span, row.kind as u8, std::cmp::Reverse(row.end_ns))
        });
        rows.dedup_by_key(|row| (row.trace, row.start_ns, row.span, row.kind as u8));
        Sample { rows, operations: names.operations, halvings: 0 }
    }

    async fn read(
        mut batches: SendableRecordBatchStream,
        context: &TaskContext,
    ) -> Result<Sample, QueryError> {
        let reservation = MemoryConsumer::new("bottlenecks").register(context.memory_pool());
        let (mut rows, mut names, mut halvings) = (Vec::new(), Names::default(), 0);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(crate::logql::broken)?;
            let spans = Spans::of(&batch);
            for row in 0..spans.len() {
                let trace = spans.trace_id(row);
                if scattered(&trace).leading_zeros() < halvings {
                    continue;
                }
                rows.push(Row::of(&spans, row, &mut names));
                while rows.len() > SPANS_MAX && halvings < 63 {
                    halvings += 1;
                    rows.retain(|row| scattered(&row.trace).leading_zeros() >= halvings);
                }
            }
            reservation.try_resize(rows.capacity() * size_of::<Row>()).map_err(crate::logql::broken)?;
        }
        Ok(Sample { halvings, ..Sample::new(rows, names) })
    }

    fn judge(&self, service: Option<&str>, range: TimeRange) -> Bottlenecks {
        let Some(service) = service else {
            let mut answer = self.judge_those(&Entries::FromOutside, range);
            // Who takes a message keeps nobody waiting, and what slows it is seen in no request from outside.
            answer.found.extend(self.judge_those(&Entries::Messages, range).found);
            return answer;
        };
        self.judge_those(&Entries::Of(service), range)
    }

    fn judge_those(&self, entries: &Entries<'_>, range: TimeRange) -> Bottlenecks {
        let requests = self.requests(entries, range);
        let mut answer = Bottlenecks {
            requests: requests.all.len(),
            sampled: 0.5f64.powi(self.halvings as i32),
            ..Bottlenecks::default()
        };
        if requests.all.len() < REQUESTS_MIN {
            return answer;
        }
        let total_ns: f64 = requests.all.iter().map(|request| request.took_ns as f64).sum();
        let slowest = requests.slowest();
        answer.p95_ms = slowest.from_ns as f64 / 1e6;
        answer.path = self.path(&requests, &slowest, total_ns);
        for (operation, paid) in &requests.paid {
            // What takes less than that in all cannot add it.
            let sum: f64 = paid.iter().map(|paid| paid.ns as f64).sum();
            if sum < TIME_SHARE_MIN * total_ns {
                continue;
            }
            answer.found.extend(self.judge_operation(*operation, paid, &requests, total_ns));
        }
        for found in &mut answer.found {
            found.of = entries.name();
            let same = |on: &&OnPath| on.service == found.service && on.operation == found.operation;
            found.share_of_p95 = answer.path.iter().find(same).map_or(0.0, |on| on.share_of_p95);
        }
        answer.path.truncate(PATH_MAX);
        answer.found.sort_by(|a, b| b.share_of_time.total_cmp(&a.share_of_time));
        answer.found.truncate(FOUND_MAX);
        answer
    }

    fn judge_operation(
        &self,
        operation: u32,
        paid: &[Paid],
        requests: &Requests,
        total_ns: f64,
    ) -> Option<Bottleneck> {
        let mut by_kind: HashMap<u32, Vec<(f64, Option<usize>)>> = HashMap::new();
        let mut ran: HashSet<usize> = HashSet::with_capacity(paid.len());
        for paid in paid {
            ran.insert(paid.request);
            let kind = requests.all[paid.request].kind;
            by_kind.entry(kind).or_default().push((paid.ns as f64 / 1e6, Some(paid.request)));
        }
        // Of two that run at the same time now this one and now that one is waited for: what it takes when it is not is as
        // usual as what it takes when it is, or half of the requests would seem to be slowed by either.
        for hidden in requests.hidden.get(&operation).into_iter().flatten() {
            if ran.insert(hidden.request) {
                let kind = requests.all[hidden.request].kind;
                by_kind.entry(kind).or_default().push((hidden.ns as f64 / 1e6, None));
            }
        }
        // Beyond what is usual for the kind, the time itself, and the request; those that paid nothing are some, too.
        let mut beyond: Vec<(f64, f64, Option<usize>)> = Vec::new();
        for (kind, took) in by_kind {
            // What most requests of a kind do is usual for it; those that do without say nothing of what it should take.
            let without = requests.kinds.get(&kind).map_or(0, |count| count.saturating_sub(took.len()));
            let without = if without > took.len() { without } else { 0 };
            let mut times: Vec<f64> = took.iter().map(|(ms, _)| *ms).collect();
            times.resize(times.len() + without, 0.0);
            times.sort_by(f64::total_cmp);
            let usual = quantile(&times, USUAL_QUANTILE);
            beyond.extend(took.iter().map(|(ms, request)| (ms - usual, *ms, *request)));
            beyond.extend((0..without).map(|_| (-usual, 0.0, None)));
        }
        beyond.sort_by(|a, b| a.0.total_cmp(&b.0));
        let sorted: Vec<f64> = beyond.iter().map(|(ms, _, _)| *ms).collect();
        let split = two_sizes(&sorted)?;
        let (usual, slow) = beyond.split_at(split.at);
        // What was slow while something else was waited for slowed nobody.
        let slow: Vec<_> = slow.iter().filter(|(_, _, request)| request.is_some()).collect();
        let share = slow.len() as f64 / requests.all.len() as f64;
        let share_of_time = split.adds * slow.len() as f64 * 1e6 / total_ns;
        let matters = slow.len() >= SLOWED_MIN
            && split.adds >= ADDS_MS_MIN
            && share_of_time >= TIME_SHARE_MIN
            && requests.are_many(slow.len(), ran.len());
        if !matters {
            return None;
        }
        let mut usual_ms: Vec<f64> = usual.iter().map(|(_, ms, _)| *ms).collect();
        usual_ms.sort_by(f64::total_cmp);
        let named = self.operations.get(operation as usize)?;
        Some(Bottleneck {
            service: named.service_name.clone(),
            operation: named.name.clone(),
            of: None,
            usual_ms: quantile(&usual_ms, 0.5),
            adds_ms: split.adds,
            share_of_requests: share,
            share_of_time,
            share_of_p95: 0.0,
            slowed: slow.len(),
            traces: requests.newest(slow.iter().filter_map(|(_, _, request)| *request)),
        })
    }

    /// Every operation's part of the requests' time.
    fn path(&self, requests: &Requests, slowest: &Slowest, total_ns: f64) -> Vec<OnPath> {
        let on_path = |(operation, paid): (&u32, &Vec<Paid>)| {
            let named = self.operations.get(*operation as usize)?;
            let sum: f64 = paid.iter().map(|paid| paid.ns as f64).sum();
            let of_slowest = paid.iter().filter(|paid| requests.all[paid.request].took_ns >= slowest.from_ns);
            let of_slowest: f64 = of_slowest.map(|paid| paid.ns as f64).sum();
            Some(OnPath {
                service: named.service_name.clone(),
                operation: named.name.clone(),
                share_of_time: sum / total_ns.max(1.0),
                share_of_p95: of_slowest / slowest.total_ns.max(1.0),
                share_of_requests: paid.len() as f64 / requests.all.len() as f64,
                mean_ms: sum / 1e6 / paid.len() as f64,
            })
        };
        let mut path: Vec<OnPath> = requests.paid.iter().filter_map(on_path).collect();
        path.sort_by(|a, b| {
            let names = || (&a.service, &a.operation).cmp(&(&b.service, &b.operation));
            b.share_of_p95.total_cmp(&a.share_of_p95).then_with(names)
        });
        path
    }

    /// Every request and what it paid to which operation.
    fn requests(&self, entries: &Entries<'_>, range: TimeRange) -> Requests {
        let of_everybody = matches!(entries, Entries::FromOutside);
        let mut requests = Requests { of_everybody, ..Requests::default() };
        let wanted = |row: &Row| match entries {
            Entries::FromOutside => true,
            Entries::Messages => row.kind == SpanKind::Consumer,
            Entries::Of(service) => self.operations[row.operation as usize].service_name == *service,
        };
        for rows in self.rows.chunk_by(|a, b| a.trace == b.trace) {
            if !rows.iter().any(wanted) {
                continue;
            }
            let tree = self.tree(rows);
            for (at, row) in rows.iter().enumerate() {
                let enters = match (entries, tree.parents[at]) {
                    (Entries::FromOutside, _) => row.parent.is_none(),
                    // One without a parent is from outside.
                    (Entries::Messages, _) => row.parent.is_some(),
                    (Entries::Of(_), None) => true,
                    (Entries::Of(_), Some(parent)) => tree.nodes[parent].clock != tree.nodes[at].clock,
                };
                if enters && wanted(row) && range.contains(row.start_ns) {
                    requests.add(row, rows, &tree.nodes, at);
                }
            }
        }
        requests
    }

    fn tree(&self, rows: &[Row]) -> Tree {
        let mut by_id: HashMap<SpanId, usize> = HashMap::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            by_id.entry(row.span).or_insert(at);
        }
        let mut nodes: Vec<Node> = rows
            .iter()
            .map(|row| Node {
                start_ns: row.start_ns,
                end_ns: row.end_ns,
                kind: row.kind,
                clock: self.operations[row.operation as usize].service,
                children: Vec::new(),
            })
            .collect();
        let mut parents = vec![None; rows.len()];
        for (at, row) in rows.iter().enumerate() {
            let parent = row.parent.and_then(|parent| by_id.get(&parent).copied());
            if let Some(parent) = parent.filter(|parent| *parent != at) {
                nodes[parent].children.push(at as u32);
                parents[at] = Some(parent);
            }
        }
        Tree { nodes, parents }
    }
}

/// Whose requests are looked at.
enum Entries<'a> {
    FromOutside,
    Messages,
    Of(&'a str),
}

impl Entries<'_> {
    fn name(&self) -> Option<String> {
        match self {
            Entries::FromOutside => None,
            Entries::Messages => Some("messages".to_owned()),
            Entries::Of(service) => Some((*service).to_owned()),
        }
    }
}

struct Tree {
    nodes: Vec<Node>,
    parents: Vec<Option<usize>>,
}

struct Request {
    trace: TraceId,
    start_ns: i64,
    took_ns: i64,
    /// Its entry's operation.
    kind: u32,
}

/// What a request paid to an operation on its critical path.
struct Paid {
    request: usize,
    ns: i64,
}

fn add_to(paid: &mut Vec<Paid>, request: usize, ns: i64) {
    match paid.last_mut() {
        Some(last) if last.request == request => last.ns += ns,
        _ => paid.push(Paid { request, ns }),
    }
}

/// Requests that take so long or longer, and their time together.
struct Slowest {
    from_ns: i64,
    total_ns: f64,
}

#[derive(Default)]
struct Requests {
    /// And not of one service.
    of_everybody: bool,
    all: Vec<Request>,
    kinds: HashMap<u32, usize>,
    paid: HashMap<u32, Vec<Paid>>,
    /// What operations took that ran while something else was waited for: nobody paid it, but it is what they usually take.
    hidden: HashMap<u32, Vec<Paid>>,
}

impl Requests {
    fn add(&mut self, entry: &Row, rows: &[Row], nodes: &[Node], at: usize) {
        let request = self.all.len();
        self.all.push(Request {
            trace: entry.trace,
            start_ns: entry.start_ns,
            took_ns: entry.end_ns - entry.start_ns,
            kind: entry.operation,
        });
        *self.kinds.entry(entry.operation).or_default() += 1;
        let mut on_path = vec![false; nodes.len()];
        path::walk(nodes, at, |node, ns| {
            on_path[node] = true;
            add_to(self.paid.entry(rows[node].operation).or_default(), request, ns);
        });
        let length = |node: usize| (nodes[node].end_ns - nodes[node].start_ns).max(0);
        let (mut seen, mut todo) = (vec![false; nodes.len()], vec![at]);
        while let Some(node) = todo.pop() {
            if std::mem::replace(&mut seen[node], true) {
                continue;
            }
            let children = || nodes[node].children.iter().map(|child| *child as usize);
            todo.extend(children());
            if !on_path[node] {
                let ns = (length(node) - children().map(length).sum::<i64>()).max(0);
                add_to(self.hidden.entry(rows[node].operation).or_default(), request, ns);
            }
        }
    }

    /// Whether so many slow ones of those that reach an operation are more than chance brings.
    fn are_many(&self, slow: usize, reached: usize) -> bool {
        SHARE_OF_REACHED_MIN.is_met(slow, reached)
            || self.of_everybody && SHARE_MIN.is_met(slow, self.all.len())
    }

    /// The twentieth that takes longest.
    fn slowest(&self) -> Slowest {
        let mut took: Vec<i64> = self.all.iter().map(|request| request.took_ns).collect();
        took.sort_unstable();
        let at = ((took.len() as f64 * 0.95).ceil() as usize).clamp(1, took.len().max(1)) - 1;
        let from_ns = took.get(at).copied().unwrap_or(0);
        Slowest { from_ns, total_ns: took.iter().filter(|ns| **ns >= from_ns).map(|ns| *ns as f64).sum() }
    }

    fn newest(&self, of: impl Iterator<Item = usize>) -> Vec<TraceId> {
        let newest_ns = self.all.iter().map(|request| request.start_ns).max().unwrap_or(0);
        let mut requests: Vec<&Request> = of.map(|request| &self.all[request]).collect();
        requests.sort_by_key(|request| {
            (newest_ns - request.start_ns < SETTLED_NS, std::cmp::Reverse(request.start_ns))
        });
        let mut seen = HashSet::new();
        requests
            .iter()
            .map(|request| request.trace)
            .filter(|trace| seen.insert(*trace))
            .take(EXAMPLES)
            .collect()
    }
}

/// A share, and with how many standard deviations a count must be above it.
struct Share {
    least: f64,
    deviations: f64,
}

impl Share {
    /// Whether `slow` of `all` stand for at least that (Wilson).
    fn is_met(&self, slow: usize, all: usize) -> bool {
        let (n, z) = (all as f64, self.deviations);
        let p = slow as f64 / n;
        let middle = p + z * z / (2.0 * n);
        let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        (middle - spread) / (1.0 + z * z / n) >= self.least
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::engine_with_a_shop as test_world;
