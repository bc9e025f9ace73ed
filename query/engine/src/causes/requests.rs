//! Requests, and what each of them waited for.
//!
//! What a request paid to an operation is that operation's time on its critical path; what ran beside it, unwaited for, is
//! kept too, as it tells what is usual. Which of these times are two sizes is said elsewhere.

use super::weighted::{Of, Weighted};
use super::{EXAMPLES, Row, Tree, path};
use model::{SpanKind, TraceId};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The least share of all requests, with 95 % confidence. Who asks for one service's requests asks for fewer: a timeout that
/// one payment in a hundred runs into is nothing to the shop, and would be a claim of half of the answers about payments.
const SHARE_MIN: Share = Share { least: 0.005, deviations: 1.96 };
/// Or of the requests that reach the operation, with 99 %: a rare kind of request may be slow by any measure of its own.
const SHARE_OF_REACHED_MIN: Share = Share { least: 0.01, deviations: 2.58 };
/// What half of the requests of a kind take is not the usual where more than half are slow; a quarter may be left.
const USUAL_QUANTILE: f64 = 0.25;
/// An operation that runs more often in one request than in others takes as much longer, and is not slow. Up to so many times as
/// often: a statement that is run for each of a hundred rows is what slows who else runs it once.
const RUNS_TIMES: f64 = 4.0;
/// Statements of one name take as long as who runs them makes them: one that reads a row, and one that fills a cache. What is
/// usual is said by who begins them where there are so many requests to say it by.
const OF_CALLERS_MIN: usize = 10;
/// A trace begun so shortly before the newest request may not have arrived whole: services send when they will.
const SETTLED_NS: i64 = 10_000_000_000;
/// Slow ones are told from lost spans if they are more than these by so much again, and by so many standard deviations: how
/// many got lost is known about, and not of each service.
const LOSSES_TIMES: f64 = 1.5;
const LOSSES_DEVIATIONS: f64 = 3.0;
/// Lengths of what may get lost are told apart by a fifth.
const LENGTHS_AN_OCTAVE: f64 = 4.0;

pub(super) struct Request {
    pub trace: TraceId,
    pub start_ns: i64,
    pub took_ns: i64,
    /// Its entry's operation.
    pub kind: u32,
    /// How many it stands for, where a sampler kept one of many.
    pub weight: f64,
    /// No span is known to be missing.
    pub whole: bool,
}

/// What a request paid to an operation on its critical path.
pub(super) struct Paid {
    pub request: usize,
    pub ns: i64,
    /// In how many spans.
    runs: u32,
    /// One bit for each operation that began these; a few share one.
    callers: u64,
    /// Of that, so much may have been paid to what is missing below.
    missing_ns: i64,
    /// And so much to what found no place in it.
    unsure_ns: i64,
    /// There is more of the operation in what was torn off the request.
    in_part: bool,
}

fn add_to(paid: &mut Vec<Paid>, more: Paid) {
    match paid.last_mut() {
        Some(last) if last.request == more.request => {
            last.ns += more.ns;
            last.runs += more.runs;
            last.callers |= more.callers;
            last.missing_ns = last.missing_ns.saturating_add(more.missing_ns);
            last.unsure_ns = last.unsure_ns.saturating_add(more.unsure_ns);
        }
        _ => paid.push(more),
    }
}

/// What an operation took of one request.
pub(super) struct Took {
    /// Beyond what is usual for as many runs in requests of its kind.
    pub beyond_ms: f64,
    /// Where it ran so often that this is what is slow: what of its runs was taken for usual above.
    pub more_ms: f64,
    pub ms: f64,
    /// So much of it may be the time of others.
    pub unsure_ms: f64,
    /// The request, where it waited.
    pub of: Option<usize>,
    /// How many requests there are of it, as its sampler has it.
    pub weight: f64,
    /// And with its part of those that lack spans and, among these, perhaps this one.
    pub stands_for: f64,
}

pub(super) struct Times {
    /// Ascending.
    pub took: Vec<Took>,
    /// Requests in which it ran, and how many these stand for.
    pub reached: usize,
    pub reached_weight: f64,
}

/// Requests that take so long or longer, and their time together.
pub(super) struct Slowest {
    pub from_ns: i64,
    pub total_ns: f64,
}

/// What an operation took of the requests of one kind.
#[derive(Default)]
struct Ran<'a> {
    /// And the request, where it waited.
    paid: Vec<(&'a Paid, Option<usize>)>,
    /// Requests of which that is known in part: a lost span tore the rest off. Where it usually runs twice, once would seem to
    /// be usual where many are torn, and twice slow.
    in_part: usize,
    /// How many stand for it, and for what is known in part.
    weight: f64,
    in_part_weight: f64,
}

#[derive(Default)]
struct Kind {
    requests: usize,
    /// Of these, such as lack spans.
    torn: usize,
    /// How many they stand for, and the time of these together.
    weight: f64,
    total_ns: f64,
}

#[derive(Default)]
pub(super) struct Requests {
    /// And not of one service.
    pub of_everybody: bool,
    pub all: Vec<Request>,
    /// How many all stand for, and their time together.
    pub weight: f64,
    pub total_ns: f64,
    kinds: HashMap<u32, Kind>,
    pub paid: HashMap<u32, Vec<Paid>>,
    /// What operations took that ran while something else was waited for: nobody paid it, but it is what they usually take.
    hidden: HashMap<u32, Vec<Paid>>,
    /// Operations by which a service asks nobody and answers nobody.
    within: HashSet<u32>,
    /// How many of an operation's children got lost unseen that would have been waited for, by their length.
    lost: HashMap<u32, BTreeMap<i64, f64>>,
}

/// Which one of the lengths that are told apart.
fn length(ns: f64) -> i64 {
    (ns.max(1.0).log2() * LENGTHS_AN_OCTAVE) as i64
}

impl Requests {
    /// None yet.
    pub(super) fn begin(of_everybody: bool) -> Requests {
        Requests { of_everybody, ..Requests::default() }
    }

    /// One that enters at a span of a trace.
    pub(super) fn add(&mut self, rows: &[Row], tree: &Tree, at: usize) {
        let (request, entry, nodes) = (self.all.len(), &rows[at], &tree.nodes);
        let (took_ns, weight) = (entry.end_ns - entry.start_ns, entry.weight);
        self.all.push(Request {
            trace: entry.trace,
            start_ns: entry.start_ns,
            took_ns,
            kind: entry.operation,
            weight,
            whole: tree.whole,
        });
        self.weight += weight;
        self.total_ns += took_ns as f64 * weight;
        let kind = self.kinds.entry(entry.operation).or_default();
        kind.requests += 1;
        kind.weight += weight;
        kind.total_ns += took_ns as f64 * weight;
        kind.torn += usize::from(!tree.whole);
        let in_part = |node: usize| tree.torn_off.binary_search(&rows[node].operation).is_ok();
        let paid = |node: usize, ns: i64, unsure_ns: i64| {
            let (missing_ns, in_part) = (tree.missing_ns[node], in_part(node));
            let callers = tree.parents[node].map_or(0, |parent| 1 << (rows[parent].operation % u64::BITS));
            Paid { request, ns, runs: 1, callers, missing_ns, unsure_ns, in_part }
        };
        let mut told = vec![false; nodes.len()];
        path::walk(nodes, at, |node, ns, unsure_ns| {
            told[node] = true;
            if matches!(rows[node].kind, SpanKind::Internal | SpanKind::Unspecified) {
                self.within.insert(rows[node].operation);
            }
            add_to(self.paid.entry(rows[node].operation).or_default(), paid(node, ns, unsure_ns));
        });
        for node in (0..nodes.len()).filter(|node| told[*node] && *node != at && tree.untold[*node] > 0.0) {
            let Some(parent) = tree.parents[node].filter(|parent| !in_part(*parent)) else { continue };
            let lost = self.lost.entry(rows[parent].operation).or_default();
            *lost.entry(length(nodes[node].length_ns() as f64)).or_default() += tree.untold[node];
        }
        // What was not waited for is a path of its own, as long as if it had been.
        let (mut seen, mut todo) = (vec![false; nodes.len()], vec![at]);
        while let Some(node) = todo.pop() {
            if std::mem::replace(&mut seen[node], true) {
                continue;
            }
            todo.extend(nodes[node].children.iter().map(|child| *child as usize));
            if told[node] {
                continue;
            }
            path::walk(nodes, node, |below, ns, unsure_ns| {
                if !std::mem::replace(&mut told[below], true) {
                    let hidden = self.hidden.entry(rows[below].operation).or_default();
                    add_to(hidden, paid(below, ns, unsure_ns));
                }
            });
        }
    }

    /// What was paid by all that the request stands for.
    pub(super) fn weighted_ns(&self, paid: &Paid) -> f64 {
        paid.ns as f64 * self.all[paid.request].weight
    }

    /// What was paid by requests, in nanoseconds, beside the time of all of their kind, for each kind of them.
    pub(super) fn by_kind(&self, paid: impl Iterator<Item = (usize, f64)>) -> Vec<(f64, f64)> {
        let mut sums: HashMap<u32, f64> = HashMap::new();
        for (request, ns) in paid {
            let request = &self.all[request];
            *sums.entry(request.kind).or_default() += ns * request.weight;
        }
        let beside = |(kind, sum): (u32, f64)| Some((sum, self.kinds.get(&kind)?.total_ns));
        sums.into_iter().filter_map(beside).collect()
    }

    /// What an operation took of all requests that it may have slowed.
    pub(super) fn times(&self, operation: u32, paid: &[Paid]) -> Times {
        // Of two that run at the same time now this one and now that one is waited for: what it takes when it is not is as
        // usual as what it takes when it is, or half of the requests would seem to be slowed by either.
        let hidden = self.hidden.get(&operation).map(Vec::as_slice).unwrap_or_default();
        let hidden = hidden.iter().map(|hidden| (hidden, None));
        let mut by_kind: HashMap<u32, Ran<'_>> = HashMap::new();
        let mut ran: HashSet<usize> = HashSet::with_capacity(paid.len());
        for (paid, waited) in paid.iter().map(|paid| (paid, Some(paid.request))).chain(hidden) {
            if ran.insert(paid.request) {
                let request = &self.all[paid.request];
                let of_kind = by_kind.entry(request.kind).or_default();
                if paid.in_part {
                    of_kind.in_part += 1;
                    of_kind.in_part_weight += request.weight;
                } else {
                    of_kind.paid.push((paid, waited));
                    of_kind.weight += request.weight;
                }
            }
        }
        let reached = by_kind.values().map(|of_kind| of_kind.paid.len()).sum();
        let reached_weight = by_kind.values().map(|of_kind| of_kind.weight).sum();
        let mut times = Times { took: vec![], reached, reached_weight };
        for (kind, ran) in by_kind {
            if let Some(kind) = self.kinds.get(&kind) {
                self.times_of(operation, kind, &ran, &mut times.took);
            }
        }
        times.took.sort_by(|a, b| a.beyond_ms.total_cmp(&b.beyond_ms));
        times
    }

    fn times_of(&self, operation: u32, kind: &Kind, ran: &Ran<'_>, all: &mut Vec<Took>) {
        let paid = &ran.paid;
        let mut without = kind.requests.saturating_sub(paid.len() + ran.in_part);
        let (without_weight, mut unseen_share) = (kind.weight - ran.weight - ran.in_part_weight, 1.0);
        if without_weight <= ran.weight {
            // What most requests of a kind do is usual for it; those that do without say nothing of what it should take.
            let torn = paid.iter().filter(|(paid, _)| !self.all[paid.request].whole).count();
            let unseen = kind.torn - torn;
            unseen_share = kind.requests as f64 / (kind.requests - unseen) as f64;
            without = 0;
        } else if !self.within.contains(&operation) {
            // That some ask somebody whom the others do not is no sign of anything slow; a wait may leave no span where it is
            // none.
            without = 0;
        }
        let ms = |ns: i64| ns as f64 / 1e6;
        let weight = |request: usize| self.all[request].weight;
        let weight_without = without_weight / without.max(1) as f64;
        let one_run = |paid: &Paid| (ms(paid.ns) / f64::from(paid.runs), weight(paid.request));
        let usual_of = |runs: Vec<Of>| Weighted::of(runs).all().quantile(USUAL_QUANTILE);
        let none = std::iter::repeat_n((0.0, weight_without), without);
        let usual_run = usual_of(paid.iter().map(|(paid, _)| one_run(paid)).chain(none).collect());
        let mut by_callers: HashMap<u64, Vec<Of>> = HashMap::new();
        // What most do without takes nothing, whoever begins it.
        for (paid, _) in paid.iter().filter(|_| without == 0) {
            by_callers.entry(paid.callers).or_default().push(one_run(paid));
        }
        by_callers.retain(|_, runs| runs.len() >= OF_CALLERS_MIN);
        let by_callers: HashMap<u64, f64> =
            by_callers.into_iter().map(|(callers, runs)| (callers, usual_of(runs))).collect();
        let runs = paid.iter().map(|(paid, _)| (f64::from(paid.runs), weight(paid.request)));
        let usual_runs = Weighted::of(runs.collect()).all().quantile(USUAL_QUANTILE);
        let runs_max = RUNS_TIMES * usual_runs;
        all.extend(paid.iter().map(|(paid, of)| {
            let usual_run = by_callers.get(&paid.callers).copied().unwrap_or(usual_run);
            let usual = usual_run * f64::from(paid.runs).min(runs_max);
            let unsure_ms = ms(paid.unsure_ns);
            // What a missing span may account for slowed nobody as far as is known.
            let ms = ms(paid.ns).min(usual.max(ms(paid.ns) - ms(paid.missing_ns)));
            let more_ms = if f64::from(paid.runs) > runs_max { usual - usual_run * usual_runs } else { 0.0 };
            let weight = weight(paid.request);
            let stands_for = weight * unseen_share;
            Took { beyond_ms: ms - usual, more_ms, ms, unsure_ms, of: *of, weight, stands_for }
        }));
        all.extend((0..without).map(|_| Took {
            beyond_ms: -usual_run,
            more_ms: 0.0,
            ms: 0.0,
            unsure_ms: 0.0,
            of: None,
            weight: weight_without,
            stands_for: weight_without,
        }));
    }

    /// Whether so many slow ones may be such as lack something below that took at least so long: of what comes in two sizes there
    /// is next to nothing nearer to the usual than half of the way, which is what is asked for.
    pub(super) fn may_be_losses(&self, operation: u32, slow: usize, least_ms: f64) -> bool {
        let Some(lost) = self.lost.get(&operation) else { return false };
        let lost: f64 = lost.range(length(least_ms * 1e6)..).map(|(_, lost)| lost).sum();
        slow as f64 <= LOSSES_TIMES * lost + LOSSES_DEVIATIONS * lost.sqrt()
    }

    /// Whether as many slow ones of those that reach an operation are more than chance brings.
    pub(super) fn are_many(&self, slow_weight: f64, times: &Times) -> bool {
        SHARE_OF_REACHED_MIN.is_met(slow_weight / times.reached_weight, times.reached)
            || self.of_everybody && SHARE_MIN.is_met(slow_weight / self.weight, self.all.len())
    }

    /// The twentieth that takes longest.
    pub(super) fn slowest(&self) -> Slowest {
        let mut took: Vec<(i64, f64)> =
            self.all.iter().map(|request| (request.took_ns, request.weight)).collect();
        took.sort_by_key(|(ns, _)| *ns);
        let mut below = 0.0;
        let from = took.iter().find(|(_, weight)| {
            below += weight;
            below >= 0.95 * self.weight
        });
        let from_ns = from.or(took.last()).map_or(0, |(ns, _)| *ns);
        let slowest = took.iter().filter(|(ns, _)| *ns >= from_ns);
        Slowest { from_ns, total_ns: slowest.map(|(ns, weight)| *ns as f64 * weight).sum() }
    }

    pub(super) fn newest(&self, of: &[usize]) -> Vec<TraceId> {
        let newest_ns = self.all.iter().map(|request| request.start_ns).max().unwrap_or(0);
        let mut requests: Vec<&Request> = of.iter().map(|request| &self.all[*request]).collect();
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
    /// Whether the share `p` of so many stands for at least that (Wilson).
    fn is_met(&self, p: f64, of: usize) -> bool {
        let (n, z) = (of as f64, self.deviations);
        let middle = p + z * z / (2.0 * n);
        let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        (middle - spread) / (1.0 + z * z / n) >= self.least
    }
}
