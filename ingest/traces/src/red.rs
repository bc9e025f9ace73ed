//! Span metrics: how often, how long, how large, by service, span name, kind and status, under the names of Tempo's
//! metrics-generator. A name costs one look-up a span.

use crate::export::Export;
use crate::latency::Latency;
use crate::names::{Names, OVERFLOW};
use crate::slab::Slab;
use foldhash::HashMap;
use model::{MetricKind, Span, SpanKind, StatusCode};
use std::sync::Arc;

const CALLS: &str = "traces_spanmetrics_calls_total";
const LATENCY: &str = "traces_spanmetrics_latency";
const SIZE: &str = "traces_spanmetrics_size_total";
pub(crate) const METADATA: [(&str, MetricKind, &str); 3] = [
    (CALLS, MetricKind::Counter, "Spans by service, span name, kind and status"),
    (LATENCY, MetricKind::Histogram, "Durations of spans in seconds"),
    (SIZE, MetricKind::Counter, "Bytes of spans"),
];

/// Seconds: from 2 ms by twos, as Tempo's.
const BOUNDS: [f64; 14] =
    [0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];
/// Label sets of one tenant; each is about 40 series. Spans beyond are counted under one name.
const SERIES_MAX: usize = 5_000;
/// Once half of them are there, no service takes more than an even share of all, with one more to come, or than this: who makes names without
/// end would leave nothing to those that come later.
const EVEN_SHARE_MIN: usize = 50;
/// When all are there, those that nothing was added to for so long make room, so many at a time: names that come once and
/// never again are idle at once, and what has requests is not. Few, as each that is made anew is 40 series more on disk.
const IDLE_MS: i64 = 60_000;
const IDLE_ENDED_MAX: usize = 100;
const KINDS: usize = 6;
const STATUSES: usize = 3;

/// Number of the series of each kind and status, plus one; 0 where there is none.
#[derive(Default)]
struct ByKind([[u32; STATUSES]; KINDS]);

struct Service {
    label: Arc<str>,
    names: Names<ByKind>,
    /// Label sets.
    sets: usize,
}

impl Service {
    fn new(label: &str) -> Service {
        Service { label: label.into(), names: Names::default(), sets: 0 }
    }
}

struct Series {
    service: Arc<str>,
    name: Box<str>,
    kind: SpanKind,
    status: StatusCode,
    calls: f64,
    bytes: f64,
    latency: Latency,
    touched_ms: i64,
    told: bool,
}

#[derive(Default)]
pub(crate) struct Red {
    services: HashMap<Box<str>, Service>,
    series: Slab<Series>,
    pub overflowed: u64,
}

impl Red {
    /// The number of a span's series, made where it is new. Nothing is counted yet.
    pub fn series_of(&mut self, service: &str, span: &Span, now_ms: i64) -> u32 {
        let full = self.series.len() >= SERIES_MAX;
        let even_share = (SERIES_MAX / (self.services.len() + 1)).max(EVEN_SHARE_MIN);
        let place = |kinds: &mut ByKind| kinds.0[span.kind as usize][span.status as usize];
        if let Some(known) = self.services.get_mut(service) {
            let full = full || self.series.len() >= SERIES_MAX / 2 && known.sets >= even_share;
            let found = known.names.of(&span.name, |kinds, stands| match place(kinds) {
                0 if full => Err(()),
                0 => {
                    let made = self.series.insert(Series::new(&known.label, stands, span));
                    known.sets += 1;
                    kinds.0[span.kind as usize][span.status as usize] = made + 1;
                    Ok(made)
                }
                found => Ok(found - 1),
            });
            if let Ok(found) = found {
                return self.touch(found, now_ms);
            }
        } else if !full {
            self.services.insert(service.into(), Service::new(service));
            return self.series_of(service, span, now_ms);
        }
        self.overflow(span, now_ms)
    }

    fn overflow(&mut self, span: &Span, now_ms: i64) -> u32 {
        self.overflowed += 1;
        let service = self.services.entry(OVERFLOW.into()).or_insert_with(|| Service::new(OVERFLOW));
        let made = service.names.of(OVERFLOW, |kinds, stands| {
            let at = &mut kinds.0[span.kind as usize][span.status as usize];
            if *at == 0 {
                *at = self.series.insert(Series::new(&service.label, stands, span)) + 1;
            }
            *at - 1
        });
        self.touch(made, now_ms)
    }

    /// What was looked up now is not removed before it is counted.
    fn touch(&mut self, at: u32, now_ms: i64) -> u32 {
        if let Some(series) = self.series.get_mut(at) {
            series.touched_ms = now_ms;
        }
        at
    }

    pub fn count(&mut self, seen: &Seen) {
        let Some(series) = self.series.get_mut(seen.series) else { return };
        series.calls += seen.weight;
        series.bytes += seen.bytes as f64;
        series.latency.observe(seen.duration_ns, seen.weight, seen.trace, seen.end_ms);
    }

    pub fn export(&mut self, out: &mut Export<'_>, born_ms: i64) {
        for series in self.series.iter_mut().filter(|series| series.calls > 0.0) {
            let told = std::mem::replace(&mut series.told, true);
            out.born((!told).then_some(born_ms));
            let labels = labels(&series.service, &series.name, series.kind, series.status);
            out.counter(CALLS, "", &labels, series.calls);
            out.counter(SIZE, "", &labels, series.bytes);
            series.latency.export(LATENCY, &labels, out);
        }
        out.born(None);
    }

    /// Ends series that nothing was added to since `before_ms`, and some of the others where there is no room.
    pub fn expire(&mut self, before_ms: i64, now_ms: i64, out: &mut Export<'_>) {
        let mut gone = vec![];
        let mut to_end = if self.series.len() >= SERIES_MAX { IDLE_ENDED_MAX } else { 0 };
        let keep = |series: &Series| {
            let makes_room = to_end > 0 && series.touched_ms < now_ms - IDLE_MS;
            to_end -= usize::from(makes_room);
            series.touched_ms >= before_ms && !makes_room
        };
        self.series.retain(keep, |series| gone.push(series));
        if gone.is_empty() {
            return;
        }
        for series in &gone {
            if series.told {
                let labels = labels(&series.service, &series.name, series.kind, series.status);
                out.end(CALLS, "", &labels);
                out.end(SIZE, "", &labels);
                series.latency.end(LATENCY, &labels, out);
            }
            if let Some(service) = self.services.get_mut(&*series.service) {
                service.sets = service.sets.saturating_sub(1);
                service.names.of(&series.name, |kinds, _| {
                    kinds.0[series.kind as usize][series.status as usize] = 0;
                });
            }
        }
        self.services.retain(|_, service| {
            service.names.retain(|kinds| kinds.0.iter().flatten().any(|at| *at != 0));
            !service.names.is_empty()
        });
    }

    pub fn len(&self) -> usize {
        self.series.len()
    }
}

/// A span as it will be counted.
pub(crate) struct Seen {
    pub series: u32,
    pub duration_ns: i64,
    pub end_ms: i64,
    pub bytes: usize,
    pub weight: f64,
    pub trace: model::TraceId,
    /// Of the span, by which it is known when it comes again.
    pub hash: u64,
}

impl Seen {
    /// Of a span whose series is not yet known.
    pub fn of(span: &Span, weight: f64, hash: u64) -> Seen {
        Seen {
            series: u32::MAX,
            duration_ns: span.duration_ns,
            end_ms: span.start_ns.saturating_add(span.duration_ns).div_euclid(1_000_000),
            bytes: crate::size::of(span),
            weight,
            trace: span.trace_id,
            hash,
        }
    }
}

impl Series {
    fn new(service: &Arc<str>, name: &str, span: &Span) -> Series {
        Series {
            service: service.clone(),
            name: name.into(),
            kind: span.kind,
            status: span.status,
            calls: 0.0,
            bytes: 0.0,
            latency: Latency::new(&BOUNDS),
            touched_ms: 0,
            told: false,
        }
    }
}

fn labels<'a>(
    service: &'a str,
    name: &'a str,
    kind: SpanKind,
    status: StatusCode,
) -> [(&'static str, &'a str); 4] {
    let kind = match kind {
        SpanKind::Unspecified => "SPAN_KIND_UNSPECIFIED",
        SpanKind::Internal => "SPAN_KIND_INTERNAL",
        SpanKind::Server => "SPAN_KIND_SERVER",
        SpanKind::Client => "SPAN_KIND_CLIENT",
        SpanKind::Producer => "SPAN_KIND_PRODUCER",
        SpanKind::Consumer => "SPAN_KIND_CONSUMER",
    };
    let status = match status {
        StatusCode::Unset => "STATUS_CODE_UNSET",
        StatusCode::Ok => "STATUS_CODE_OK",
        StatusCode::Error => "STATUS_CODE_ERROR",
    };
    [("service", service), ("span_name", name), ("span_kind", kind), ("status_code", status)]
}
