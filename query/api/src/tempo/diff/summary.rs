//! The summary: what a patch comes to. Sums of durations are of all spans, so that what makes each span a little slower
//! shows, though no span of the patch says it.

use super::flat::{Flat, Identity};
use super::patch::Patch;
use model::StatusCode;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub(super) const VERSION: &str = "trace-summary-v0-native";
pub(super) const COMPOSED: &str = "trace-summary-v0-composed";
/// A service whose spans together took so much more or less has changed: this share, and no less than a millisecond.
const DRIFT_SHARE: f64 = 0.05;
const DRIFT_NS: f64 = 1e6;
const MS_NS: i64 = 1_000_000;

/// What one trace comes to.
struct Side {
    latency_ns: i64,
    sum_ns: i64,
    errors: i64,
}

impl Side {
    fn of(flat: &Flat<'_>) -> Side {
        let starts = flat.spans.iter().map(|flat| flat.span.start_ns).filter(|start| *start > 0).min();
        let ends = flat.spans.iter().filter(|flat| flat.span.start_ns > 0);
        let end = ends.map(|flat| flat.span.start_ns.saturating_add(flat.span.duration_ns)).max();
        let durations = flat.spans.iter().map(|flat| flat.span.duration_ns);
        Side {
            latency_ns: starts.zip(end).map_or(0, |(start, end)| end.saturating_sub(start)),
            sum_ns: durations.fold(0, i64::saturating_add),
            errors: flat.spans.iter().filter(|flat| flat.span.status == StatusCode::Error).count() as i64,
        }
    }

    fn document(&self, flat: &Flat<'_>) -> Value {
        let mut side = json!({
            "traceId": hex::encode(flat.trace_id),
            "spanCount": flat.spans.len(),
            "errorSpanCount": self.errors,
            "durationMs": self.latency_ns / MS_NS,
            "sumSpanDurationMs": self.sum_ns / MS_NS,
        });
        if let Some(root) = flat.spans.first() {
            side["rootService"] = json!(root.service);
            side["rootName"] = json!(root.span.name);
        }
        side
    }
}

pub(super) fn document(base: &Flat<'_>, compare: &Flat<'_>, patch: &Patch<'_>) -> Value {
    let (before, after) = (Side::of(base), Side::of(compare));
    let structure = structure_changed(base, compare);
    let services = services(base, compare, patch);
    let changed: BTreeSet<&str> =
        services.keys().copied().chain(structure.iter().copied()).map(named).collect();
    let latency_ms = (after.latency_ns - before.latency_ns) / MS_NS;
    let sum_ms = (after.sum_ns - before.sum_ns) / MS_NS;
    let errors = after.errors - before.errors;
    let spans = compare.spans.len() as i64 - base.spans.len() as i64;
    let moved = !patch.added.is_empty() || !patch.removed.is_empty() || !structure.is_empty();
    let share = |of: usize| if of == 0 { 0.0 } else { patch.matched as f64 / of as f64 };
    let mut summary = json!({
        "version": VERSION,
        "base": before.document(base),
        "compare": after.document(compare),
        "signals": {
            "traceLatency": direction(latency_ms),
            "sumSpanDuration": direction(sum_ms),
            "errors": direction(errors),
            "spanCount": direction(spans),
            "structure": if moved { "changed" } else { "unchanged" },
        },
        "trust": {
            "matchedSpanRatio": share(base.spans.len().max(compare.spans.len())),
            "structureOverlap": share(base.spans.len().min(compare.spans.len())),
        },
        "stats": {
            "traceLatencyDeltaMs": latency_ms,
            "sumSpanDurationDeltaMs": sum_ms,
            "spanCountDelta": spans,
            "errorSpanDelta": errors,
            "matchedSpans": patch.matched,
            "modifiedSpans": patch.modified.len(),
            "addedSpans": patch.added.len(),
            "removedSpans": patch.removed.len(),
            "fieldChanges": patch.field_changes,
            "attributeChanges": patch.attribute_changes,
        },
        "changedServices": changed,
        "services": ranked(services),
    });
    let warnings = patch.warnings();
    if !warnings.is_empty() {
        summary["warnings"] = json!(warnings);
    }
    summary
}

fn direction(delta: i64) -> &'static str {
    match delta {
        0 => "unchanged",
        1.. => "increased",
        _ => "decreased",
    }
}

fn named(service: &str) -> &str {
    if service.is_empty() { "unknown" } else { service }
}

#[derive(Default)]
struct Service {
    before_ns: i64,
    after_ns: i64,
    modified: usize,
    added: usize,
    removed: usize,
    new_errors: usize,
    resolved_errors: usize,
}

impl Service {
    fn delta_ns(&self) -> i64 {
        self.after_ns.saturating_sub(self.before_ns)
    }

    fn changed(&self) -> bool {
        let drift = (self.delta_ns() as f64).abs() >= DRIFT_NS.max(self.before_ns as f64 * DRIFT_SHARE);
        drift || self.modified + self.added + self.removed > 0
    }
}

/// Those that changed.
fn services<'a>(base: &'a Flat<'_>, compare: &'a Flat<'_>, patch: &Patch<'_>) -> BTreeMap<&'a str, Service> {
    let mut services: BTreeMap<&str, Service> = BTreeMap::new();
    for flat in &base.spans {
        let service = services.entry(&flat.service).or_default();
        service.before_ns = service.before_ns.saturating_add(flat.span.duration_ns);
    }
    for flat in &compare.spans {
        let service = services.entry(&flat.service).or_default();
        service.after_ns = service.after_ns.saturating_add(flat.span.duration_ns);
    }
    let failed = |flat: &Flat<'_>, at: usize| usize::from(flat.spans[at].span.status == StatusCode::Error);
    for modified in &patch.modified {
        let service = services.entry(&compare.spans[modified.compare].service).or_default();
        let (before, after) = (failed(base, modified.base), failed(compare, modified.compare));
        service.modified += 1;
        service.new_errors += after.saturating_sub(before);
        service.resolved_errors += before.saturating_sub(after);
    }
    for at in &patch.added {
        let service = services.entry(&compare.spans[*at].service).or_default();
        service.added += 1;
        service.new_errors += failed(compare, *at);
    }
    for at in &patch.removed {
        let service = services.entry(&base.spans[*at].service).or_default();
        service.removed += 1;
        service.resolved_errors += failed(base, *at);
    }
    services.retain(|_, service| service.changed());
    services
}

/// What changed most comes first.
fn ranked(services: BTreeMap<&str, Service>) -> Vec<Value> {
    let mut services: Vec<(&str, Service)> = services.into_iter().collect();
    services.sort_by_key(|(_, service)| std::cmp::Reverse(service.delta_ns().unsigned_abs()));
    let one = |(name, service): (&str, Service)| {
        json!({
            "name": named(name),
            "sumSpanDurationDeltaMs": service.delta_ns() / MS_NS,
            "modified": service.modified,
            "added": service.added,
            "removed": service.removed,
            "newErrors": service.new_errors,
            "resolvedErrors": service.resolved_errors,
        })
    };
    services.into_iter().map(one).collect()
}

type Place<'a> = (Identity<'a>, Option<Identity<'a>>);

/// Services with spans that are there more or less often, or below another parent.
fn structure_changed<'a>(base: &'a Flat<'_>, compare: &'a Flat<'_>) -> BTreeSet<&'a str> {
    let mut places: HashMap<Place<'_>, isize> = HashMap::new();
    for (flat, by) in [(base, 1), (compare, -1)] {
        for at in 0..flat.spans.len() {
            *places.entry((flat.identity(at), flat.parent_identity(at))).or_default() += by;
        }
    }
    places.into_iter().filter(|(_, count)| *count != 0).map(|((span, _), _)| span.0).collect()
}
