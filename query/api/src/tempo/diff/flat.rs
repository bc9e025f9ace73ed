//! A trace as a list in the order in which it is drawn: each span behind its parent, siblings by their start.

use model::{ResourceSpans, Span, SpanBatch, SpanId, SpanKind, TraceId, Value, attribute};
use std::collections::HashMap;

/// Steps from the roots to all spans together. A span is named by its path, so that a chain of spans costs the square of
/// its length to name.
const STEPS_MAX: usize = 5_000_000;

pub(super) struct Flat<'a> {
    pub trace_id: TraceId,
    pub spans: Vec<FlatSpan<'a>>,
}

pub(super) struct FlatSpan<'a> {
    pub span: &'a Span,
    pub service: String,
    /// Where its parent is in the list: before it.
    pub parent: Option<usize>,
    /// Its place among the children of its parent, or among the roots.
    pub index: usize,
    pub depth: usize,
}

/// What a span is in any trace: service, name and kind.
pub(super) type Identity<'a> = (&'a str, &'a str, SpanKind);

impl<'a> Flat<'a> {
    /// `None` where spans lie too deep.
    pub fn of(trace_id: TraceId, batch: &'a SpanBatch) -> Option<Flat<'a>> {
        let found = by_start(batch);
        let (roots, children) = families(&found);
        let mut flat = Flat { trace_id, spans: Vec::with_capacity(found.len()) };
        let mut seen = vec![false; found.len()];
        let mut steps = 0;
        let mut index = 0;
        // Spans in a ring of parents hang on no root: they come last, and each once.
        for root in roots.into_iter().chain(0..found.len()) {
            if seen[root] {
                continue;
            }
            let mut open = vec![(root, None, index, 0)];
            index += 1;
            while let Some((at, parent, index, depth)) = open.pop() {
                if std::mem::replace(&mut seen[at], true) {
                    continue;
                }
                steps += depth;
                if steps > STEPS_MAX {
                    return None;
                }
                let place = flat.spans.len();
                let below = children[at].iter().enumerate().rev();
                open.extend(below.map(|(index, child)| (*child, Some(place), index, depth + 1)));
                let (resource, span) = found[at];
                let service = attribute(&resource.resource, "service.name");
                let service = service.map_or_else(String::new, Value::to_string);
                flat.spans.push(FlatSpan { span, service, parent, index, depth });
            }
        }
        Some(flat)
    }

    pub fn identity(&self, at: usize) -> Identity<'_> {
        let flat = &self.spans[at];
        (&flat.service, &flat.span.name, flat.span.kind)
    }

    pub fn parent_identity(&self, at: usize) -> Option<Identity<'_>> {
        self.spans[at].parent.map(|parent| self.identity(parent))
    }

    /// Places among siblings, from the root down.
    pub fn path(&self, at: usize) -> Vec<usize> {
        let mut path = Vec::with_capacity(self.spans[at].depth + 1);
        let mut next = Some(at);
        while let Some(here) = next {
            path.push(self.spans[here].index);
            next = self.spans[here].parent;
        }
        path.reverse();
        path
    }

    pub fn duplicate_ids(&self) -> usize {
        let mut seen = std::collections::HashSet::with_capacity(self.spans.len());
        self.spans.iter().filter(|flat| !seen.insert(flat.span.span_id)).count()
    }
}

fn by_start(batch: &SpanBatch) -> Vec<(&ResourceSpans, &Span)> {
    let mut found: Vec<_> = batch
        .resources
        .iter()
        .flat_map(|resource| resource.spans.iter().map(move |span| (resource, span)))
        .collect();
    found.sort_by_key(|(_, span)| (span.start_ns, span.span_id, span.kind as u8));
    found
}

/// The roots, and the children of each.
fn families(found: &[(&ResourceSpans, &Span)]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut by_id: HashMap<SpanId, usize> = HashMap::with_capacity(found.len());
    for (at, (_, span)) in found.iter().enumerate() {
        by_id.entry(span.span_id).or_insert(at);
    }
    let mut roots = vec![];
    let mut children = vec![vec![]; found.len()];
    for (at, (_, span)) in found.iter().enumerate() {
        let parent = span.parent_span_id.and_then(|parent| by_id.get(&parent).copied());
        match parent.filter(|parent| *parent != at) {
            Some(parent) => children[parent].push(at),
            None => roots.push(at),
        }
    }
    (roots, children)
}
