//! What slows requests, and how two sets of traces or log lines differ.
//!
//! A bottleneck is an operation of which the time on the critical path comes in two sizes: most requests pay the usual
//! one, some pay a second. `path` says what a request waited for, `habits` what all traces together tell of that (and
//! `siblings` what an operation begins, `losses` how much gets lost), `requests` what each paid, `split` whether an
//! operation's times come in two sizes, this file which of these matter. Requests of one kind (the same entry operation)
//! are compared with one another only: that a checkout takes longer than a page view is no bottleneck.

mod compare;
mod counts;
mod habits;
mod losses;
mod path;
mod requests;
mod siblings;
mod split;
mod waterfall;
mod weighted;

pub use counts::{Comparison, Difference};
pub use waterfall::{TraceTree, TreeSpan, Usual};

use crate::logql::operator::Operator;
use crate::traceql::{SpanScan, Spans};
use crate::{Engine, QueryError};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use habits::{Habits, Seen};
use model::{SpanId, SpanKind, SpanSelect, Tenant, TimeRange, TraceId};
use path::Node;
use requests::{Paid, Requests, Slowest};
use split::two_sizes;
use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;
use store::SpanColumns;
use weighted::Weighted;

/// Spans looked at; with more, every second trace is left out at random. That leaves five to ten thousand requests of the
/// demo, of which a share of 15 % is known to 3 % of itself.
const SPANS_MAX: usize = 400_000;
/// Distinct operations told apart; names that carry ids would otherwise be without end.
const OPERATIONS_MAX: usize = 10_000;
/// A trace's later spans may start so long after the asked range.
const TRACE_NS_MAX: i64 = 600_000_000_000;
/// Fewer requests, or fewer slow ones, say nothing.
const REQUESTS_MIN: usize = 30;
const SLOWED_MIN: usize = 5;
/// The least part that is worth a claim of the time of all requests of the kinds that are slowed.
const TIME_SHARE_MIN: f64 = 0.01;
const ADDS_MS_MIN: f64 = 1.0;
const EXAMPLES: usize = 5;
const FOUND_MAX: usize = 20;
/// Each request is looked for in its whole trace. Where one trace asks a service without end, so many spans in all.
const LOOKED_THROUGH_MAX: usize = 20_000_000;
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
            "trace_state",
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
    /// How many it stands for, where a sampler kept one of many.
    weight: f64,
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
            weight: spans.weight(row),
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
        let habits = self.habits();
        let Some(service) = service else {
            let mut answer = self.judge_those(&Entries::FromOutside, &habits, range);
            // Who takes a message keeps nobody waiting, and what slows it is seen in no request from outside.
            answer.found.extend(self.judge_those(&Entries::Messages, &habits, range).found);
            return answer;
        };
        self.judge_those(&Entries::Of(service), &habits, range)
    }

    fn judge_those(&self, entries: &Entries<'_>, habits: &Habits, range: TimeRange) -> Bottlenecks {
        let requests = self.requests(entries, habits, range);
        let mut answer = Bottlenecks {
            requests: requests.all.len(),
            sampled: 0.5f64.powi(self.halvings as i32),
            ..Bottlenecks::default()
        };
        if requests.all.len() < REQUESTS_MIN {
            return answer;
        }
        let slowest = requests.slowest();
        answer.p95_ms = slowest.from_ns as f64 / 1e6;
        answer.path = self.path(&requests, &slowest);
        for (operation, paid) in &requests.paid {
            // What takes less than that of each kind cannot add it to any.
            let took = requests.by_kind(paid.iter().map(|paid| (paid.request, paid.ns as f64)));
            if took.iter().any(|(sum, all)| *sum >= TIME_SHARE_MIN * all) {
                answer.found.extend(self.judge_operation(*operation, paid, &requests));
            }
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

    fn judge_operation(&self, operation: u32, paid: &[Paid], requests: &Requests) -> Option<Bottleneck> {
        let times = requests.times(operation, paid);
        let sorted = Weighted::of(times.took.iter().map(|took| (took.beyond_ms, took.weight)).collect());
        let may_be_losses = |at: Range<usize>, beyond_ms: f64| {
            let slow = times.took[at].iter().filter(|took| took.of.is_some()).count();
            requests.may_be_losses(operation, slow, beyond_ms / 2.0)
        };
        let split = two_sizes(sorted.all(), may_be_losses)?;
        let (usual, slow) = times.took[..split.until].split_at(split.at);
        // What was slow while something else was waited for slowed nobody.
        let waited = || slow.iter().filter(|took| took.of.is_some());
        let stand_for: f64 = waited().map(|took| took.stands_for).sum();
        let slow_weight: f64 = waited().map(|took| took.weight).sum();
        let more_ms: f64 = waited().map(|took| took.more_ms * took.weight).sum();
        let adds_ms = split.adds + more_ms / slow_weight.max(1.0);
        // What may be the time of others is no sign that one of them is slow.
        let sure = waited().filter(|took| took.beyond_ms - took.unsure_ms >= split.adds / 2.0);
        let sure: Vec<f64> = sure.map(|took| took.weight).collect();
        let sure_weight: f64 = sure.iter().sum();
        let slow: Vec<usize> = slow.iter().filter_map(|took| took.of).collect();
        let share = stand_for / requests.weight;
        let share_of_time = adds_ms * stand_for * 1e6 / requests.total_ns;
        // A report that runs for a minute, and who waits for news for as long, would hide all that ever slows a checkout.
        let added = requests.by_kind(slow.iter().map(|request| (*request, adds_ms * 1e6)));
        let added_ns: f64 = added.iter().map(|(ns, _)| ns).sum();
        let of_kinds_ns: f64 = added.iter().map(|(_, all_ns)| all_ns).sum();
        let matters = sure.len() >= SLOWED_MIN
            && 2.0 * sure_weight >= slow_weight
            && adds_ms >= ADDS_MS_MIN
            && added_ns >= TIME_SHARE_MIN * of_kinds_ns
            && requests.are_many(sure_weight, &times);
        if !matters {
            return None;
        }
        let usual = Weighted::of(usual.iter().map(|took| (took.ms, took.weight)).collect());
        let named = self.operations.get(operation as usize)?;
        Some(Bottleneck {
            service: named.service_name.clone(),
            operation: named.name.clone(),
            of: None,
            usual_ms: usual.all().quantile(0.5),
            adds_ms,
            share_of_requests: share,
            share_of_time,
            share_of_p95: 0.0,
            slowed: slow.len(),
            traces: requests.newest(&slow),
        })
    }

    /// Every operation's part of the requests' time.
    fn path(&self, requests: &Requests, slowest: &Slowest) -> Vec<OnPath> {
        let on_path = |(operation, paid): (&u32, &Vec<Paid>)| {
            let named = self.operations.get(*operation as usize)?;
            let sum: f64 = paid.iter().map(|paid| requests.weighted_ns(paid)).sum();
            let weight: f64 = paid.iter().map(|paid| requests.all[paid.request].weight).sum();
            let of_slowest = paid.iter().filter(|paid| requests.all[paid.request].took_ns >= slowest.from_ns);
            let of_slowest: f64 = of_slowest.map(|paid| requests.weighted_ns(paid)).sum();
            Some(OnPath {
                service: named.service_name.clone(),
                operation: named.name.clone(),
                share_of_time: sum / requests.total_ns.max(1.0),
                share_of_p95: of_slowest / slowest.total_ns.max(1.0),
                share_of_requests: weight / requests.weight,
                mean_ms: sum / 1e6 / weight,
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
    fn requests(&self, entries: &Entries<'_>, habits: &Habits, range: TimeRange) -> Requests {
        let of_everybody = matches!(entries, Entries::FromOutside);
        let mut requests = Requests::begin(of_everybody);
        let wanted = |row: &Row| match entries {
            Entries::FromOutside => true,
            Entries::Messages => row.kind == SpanKind::Consumer,
            Entries::Of(service) => self.operations[row.operation as usize].service_name == *service,
        };
        for rows in self.rows.chunk_by(|a, b| a.trace == b.trace) {
            if !rows.iter().any(wanted) {
                continue;
            }
            let mut tree = self.tree(rows);
            habits.tell(rows, &mut tree);
            let enters = |(at, row): (usize, &Row)| {
                let enters = match (entries, tree.parents[at]) {
                    (Entries::FromOutside, _) => row.parent.is_none(),
                    // One without a parent is from outside.
                    (Entries::Messages, _) => row.parent.is_some(),
                    (Entries::Of(_), None) => row.parent.is_none() || habits.may_enter(row.operation),
                    (Entries::Of(_), Some(parent)) => tree.nodes[parent].clock != tree.nodes[at].clock,
                };
                enters && wanted(row)
            };
            let enters: Vec<bool> = rows.iter().enumerate().map(enters).collect();
            tree.torn_off = habits.torn_off(rows, &tree, &enters);
            let mut left = LOOKED_THROUGH_MAX / rows.len();
            for (at, row) in rows.iter().enumerate() {
                if enters[at] && range.contains(row.start_ns) && left > 0 {
                    left -= 1;
                    requests.add(rows, &tree, at);
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
                off: false,
                doubtful: false,
                awaited: true,
                children: Vec::new(),
            })
            .collect();
        let (mut parents, mut whole) = (vec![None; rows.len()], true);
        for (at, row) in rows.iter().enumerate() {
            let parent = row.parent.and_then(|parent| by_id.get(&parent).copied());
            if let Some(parent) = parent.filter(|parent| *parent != at) {
                nodes[parent].children.push(at as u32);
                parents[at] = Some(parent);
            } else {
                whole &= row.parent.is_none();
            }
        }
        let (missing_ns, untold) = (vec![0; rows.len()], vec![0.0; rows.len()]);
        Tree { nodes, parents, missing_ns, untold, torn_off: vec![], whole }
    }

    /// What is usual between spans, as all traces together tell.
    fn habits(&self) -> Habits {
        let mut seen = Seen::default();
        for rows in self.rows.chunk_by(|a, b| a.trace == b.trace) {
            seen.see(rows, &self.tree(rows));
        }
        seen.habits()
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
    /// Of each node, how long that may have taken which it usually begins and which is not there.
    missing_ns: Vec<i64>,
    /// Of each node, how many like it got lost for one that is there, where its parent's other children do not tell of it.
    untold: Vec<f64>,
    /// Operations of spans that would be below others if none had got lost, in order.
    torn_off: Vec<u32>,
    /// Every parent that is named is there.
    whole: bool,
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::engine_with_a_shop as test_world;
