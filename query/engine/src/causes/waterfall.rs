//! One trace as it is read from the top: each span below the one that began it, with what of its time the request waited
//! for, and what its operation usually takes.

use super::path::{self, Node};
use super::weighted::Weighted;
use crate::logql::operator::Operator;
use crate::traceql::{SpanScan, Spans};
use crate::{Engine, QueryError};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use model::{
    ResourceSpans, Span, SpanBatch, SpanId, SpanKind, SpanSelect, StatusCode, Tenant, TimeRange, TraceId,
    Value, attribute,
};
use std::collections::HashMap;
use store::SpanColumns;

/// What is usual is taken from so long before the trace ended.
const USUAL_NS: i64 = 3_600_000_000_000;
/// Durations of one operation that are kept; of more, every second one, and so on.
const USUAL_MAX: usize = 4_096;
/// Fewer say nothing.
const USUAL_MIN: usize = 10;

/// One span of a trace, in the order in which it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeSpan {
    /// 0 for one without a parent in the trace.
    pub depth: u32,
    pub span_id: SpanId,
    pub parent_span_id: Option<SpanId>,
    pub service: String,
    pub name: String,
    pub kind: SpanKind,
    pub status: StatusCode,
    pub start_ns: i64,
    pub duration_ns: i64,
    /// Its own time on the critical path of the request: what kept its root from ending, and no child of its own.
    pub critical_ns: i64,
    /// What its operation took lately; `None` where it ran too seldom to say.
    pub usual: Option<Usual>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    pub p50_ns: i64,
    pub p95_ns: i64,
    pub spans: usize,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceTree {
    /// Empty: the trace is not known.
    pub spans: Vec<TreeSpan>,
    pub warnings: Vec<String>,
}

impl Engine {
    /// The spans of a trace from the top, each with what it usually takes.
    pub async fn trace_tree(
        &self,
        tenant: &Tenant,
        id: TraceId,
        range: Option<TimeRange>,
    ) -> Result<TraceTree, QueryError> {
        let found = self.trace_by_id(tenant, id, range).await?;
        let mut tree = TraceTree { spans: tree(&found.spans), warnings: found.warnings };
        let ends = tree.spans.iter().map(|span| span.start_ns.saturating_add(span.duration_ns)).max();
        let Some(end) = ends else { return Ok(tree) };
        let starts = tree.spans.iter().map(|span| span.start_ns).min().unwrap_or(end);
        let around = TimeRange { start: starts.saturating_sub(USUAL_NS), end };
        let usual = self.usual(tenant, &tree.spans, around).await?;
        for span in &mut tree.spans {
            span.usual = usual.get(&(span.service.clone(), span.name.clone())).copied();
        }
        Ok(tree)
    }

    async fn usual(
        &self,
        tenant: &Tenant,
        spans: &[TreeSpan],
        range: TimeRange,
    ) -> Result<HashMap<(String, String), Usual>, QueryError> {
        let mut wanted: HashMap<String, HashMap<String, Durations>> = HashMap::new();
        for span in spans {
            wanted.entry(span.service.clone()).or_default().entry(span.name.clone()).or_default();
        }
        let snapshot = self.source.snapshot(tenant).await?;
        let columns = SpanColumns::named(&["start_ts", "duration_ns", "service", "name", "trace_state"]);
        let scan = SpanScan { snapshot, select: SpanSelect::all(range), columns };
        let context = self.task_context();
        self.off_thread(async move {
            let mut batches =
                execute_stream(Operator::plan(scan, vec![]), context).map_err(crate::logql::broken)?;
            while let Some(batch) = batches.next().await {
                let batch = batch.map_err(crate::logql::broken)?;
                let spans = Spans::of(&batch);
                for row in (0..spans.len()).filter(|row| range.contains(spans.start(*row))) {
                    let names = wanted.get_mut(spans.service(row));
                    if let Some(durations) = names.and_then(|names| names.get_mut(spans.name(row))) {
                        durations.add(spans.duration(row), spans.weight(row));
                    }
                }
            }
            let mut usual = HashMap::new();
            for (service, names) in wanted {
                for (name, durations) in names {
                    usual.extend(durations.usual().map(|usual| ((service.clone(), name), usual)));
                }
            }
            Ok(usual)
        })
        .await
    }
}

/// Durations of one operation, all or every so many.
#[derive(Default)]
struct Durations {
    /// Each with how many it stands for.
    kept: Vec<(i64, f64)>,
    seen: usize,
    /// Of 2 to this power one is kept.
    halvings: u32,
}

impl Durations {
    fn add(&mut self, ns: i64, weight: f64) {
        if self.seen & ((1 << self.halvings) - 1) == 0 {
            self.kept.push((ns, weight));
        }
        self.seen += 1;
        if self.kept.len() > USUAL_MAX {
            let mut at = 0;
            self.kept.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.halvings += 1;
        }
    }

    fn usual(self) -> Option<Usual> {
        if self.seen < USUAL_MIN {
            return None;
        }
        let sorted = Weighted::of(self.kept.iter().map(|(ns, weight)| (*ns as f64, *weight)).collect());
        let at = |share: f64| sorted.all().quantile(share) as i64;
        Some(Usual { p50_ns: at(0.5), p95_ns: at(0.95), spans: self.seen })
    }
}

/// Depth first, siblings by their start.
fn tree(found: &SpanBatch) -> Vec<TreeSpan> {
    let mut spans: Vec<(&ResourceSpans, &Span)> = found
        .resources
        .iter()
        .flat_map(|resource| resource.spans.iter().map(move |span| (resource, span)))
        .collect();
    spans.sort_by_key(|(_, span)| (span.start_ns, span.span_id, span.kind as u8));
    let mut by_id: HashMap<SpanId, usize> = HashMap::with_capacity(spans.len());
    for (at, (_, span)) in spans.iter().enumerate() {
        by_id.entry(span.span_id).or_insert(at);
    }
    let mut clocks: HashMap<String, u32> = HashMap::new();
    let services: Vec<String> = spans
        .iter()
        .map(|(resource, _)| {
            attribute(&resource.resource, "service.name").map_or_else(String::new, Value::to_string)
        })
        .collect();
    let mut nodes: Vec<Node> = spans
        .iter()
        .zip(&services)
        .map(|((_, span), service)| {
            let next = clocks.len() as u32;
            Node {
                start_ns: span.start_ns,
                end_ns: span.start_ns.saturating_add(span.duration_ns.max(0)),
                kind: span.kind,
                clock: *clocks.entry(service.clone()).or_insert(next),
                off: false,
                doubtful: false,
                awaited: true,
                children: vec![],
            }
        })
        .collect();
    let mut roots = vec![];
    for (at, (_, span)) in spans.iter().enumerate() {
        let parent = span.parent_span_id.and_then(|parent| by_id.get(&parent).copied());
        match parent.filter(|parent| *parent != at) {
            Some(parent) => nodes[parent].children.push(at as u32),
            None => roots.push(at),
        }
    }
    let mut critical = vec![0i64; spans.len()];
    roots.iter().for_each(|root| path::walk(&nodes, *root, |node, ns, _| critical[node] += ns));
    let mut drawn = Vec::with_capacity(spans.len());
    let mut seen = vec![false; spans.len()];
    // Spans in a ring of parents hang on no root: they come last, and each once.
    let entries = roots.iter().copied().chain(0..spans.len());
    for entry in entries {
        let mut todo = vec![(entry, 0u32)];
        while let Some((at, depth)) = todo.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            let span = spans[at].1;
            drawn.push(TreeSpan {
                depth,
                span_id: span.span_id,
                parent_span_id: span.parent_span_id,
                service: services[at].clone(),
                name: span.name.clone(),
                kind: span.kind,
                status: span.status,
                start_ns: span.start_ns,
                duration_ns: span.duration_ns,
                critical_ns: critical[at],
                usual: None,
            });
            todo.extend(nodes[at].children.iter().rev().map(|child| (*child as usize, depth + 1)));
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shop, World, range, traffic};
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn the_slow_span_of_a_slow_trace_stands_out() {
        let world = World::new().await;
        world.write(traffic(Shop::new(400, 0.15, 300.0))).await;
        let options = crate::SearchOptions { range: range(), limit: 1, spans_per_spanset: 1 };
        let slow = r#"{ name = "db.pool" && duration > 200ms }"#;
        let found = world.engine.traceql_search(&Tenant::default(), slow, options).await.unwrap();
        let id = found.traces[0].trace_id;
        let tree = world.engine.trace_tree(&Tenant::default(), id, None).await.unwrap();
        let root = &tree.spans[0];
        assert_eq!((root.depth, root.parent_span_id), (0, None));
        assert!(root.usual.unwrap().p50_ns < root.duration_ns);
        let pool = tree.spans.iter().find(|span| span.name == "db.pool").unwrap();
        let usual = pool.usual.unwrap();
        assert!(usual.p50_ns < 1_000_000 && usual.p95_ns > 200_000_000 && usual.spans > 300, "{usual:?}");
        assert_eq!((pool.depth, pool.critical_ns), (3, pool.duration_ns), "it is waited for from end to end");
        let path: i64 = tree.spans.iter().map(|span| span.critical_ns).sum();
        assert_eq!(path, root.duration_ns, "no moment is counted twice");
        // A child is drawn below its parent.
        for (at, span) in tree.spans.iter().enumerate().skip(1) {
            let above = tree.spans[..at].iter().rev().find(|other| other.depth + 1 == span.depth).unwrap();
            assert_eq!(Some(above.span_id), span.parent_span_id);
        }
        let none = world.engine.trace_tree(&Tenant::default(), [1; 16], None).await.unwrap();
        assert_eq!(none, TraceTree::default());
    }

    /// Hand-computed: two calls at once, a message that nobody waits for, and a server whose clock is a minute ahead.
    #[test]
    fn the_path_through_concurrent_asynchronous_and_skewed_spans() {
        let span = |id: u8, parent: u8, kind, from: i64, to: i64| Span {
            span_id: [id; 8],
            parent_span_id: (parent != 0).then_some([parent; 8]),
            kind,
            start_ns: from,
            duration_ns: to - from,
            ..Span::default()
        };
        let of = |service: &str, spans: Vec<Span>| ResourceSpans {
            resource: Arc::new(vec![("service.name".to_owned(), Value::from(service))]),
            spans,
            ..ResourceSpans::default()
        };
        use SpanKind::{Client, Consumer, Internal, Producer, Server};
        let skew = 60_000;
        let batch = SpanBatch {
            resources: vec![
                of(
                    "a",
                    vec![
                        span(1, 0, Server, 0, 1000),
                        // At the same time: the second is waited for longer.
                        span(2, 1, Internal, 100, 400),
                        span(3, 1, Client, 150, 700),
                        span(5, 1, Producer, 800, 820),
                    ],
                ),
                of("b", vec![span(4, 3, Server, 200 + skew, 600 + skew)]),
                of("c", vec![span(6, 5, Consumer, 900, 5000)]),
            ],
        };
        let drawn: Vec<(u32, u8, i64)> =
            tree(&batch).iter().map(|span| (span.depth, span.span_id[0], span.critical_ns)).collect();
        // Of 1000: 20 sending, 550 calling (400 of them in b, wherever its clock puts them), the rest its own.
        assert_eq!(drawn, [(0, 1, 430), (1, 2, 0), (1, 3, 150), (2, 4, 400), (1, 5, 20), (2, 6, 0)]);
    }

    #[test]
    fn a_ring_of_parents_is_drawn_once() {
        let span = |id: u8, parent: u8| Span {
            span_id: [id; 8],
            parent_span_id: Some([parent; 8]),
            ..Span::default()
        };
        let spans = vec![span(1, 2), span(2, 1)];
        let batch = SpanBatch { resources: vec![ResourceSpans { spans, ..ResourceSpans::default() }] };
        assert_eq!(tree(&batch).len(), 2);
    }

    #[test]
    fn many_durations_are_thinned_evenly() {
        let mut durations = Durations::default();
        (0..100_000).for_each(|ns| durations.add(ns, 1.0));
        assert!(durations.kept.len() <= USUAL_MAX);
        let usual = durations.usual().unwrap();
        assert!((usual.p50_ns - 50_000).abs() < 1_000 && (usual.p95_ns - 95_000).abs() < 1_000, "{usual:?}");
    }
}
