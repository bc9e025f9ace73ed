//! The patch: what to change in one trace to have the other. Durations count as changed from a fifth and a millisecond on,
//! and numbers that measure something from a twentieth on: two runs of the same request never take the same time.

use super::flat::Flat;
use super::pairs::pairs;
use model::{Attributes, StatusCode, Value as Attribute};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

pub(super) const VERSION: &str = "trace-patch-v0";
const DURATION_SHARE: f64 = 0.2;
const DURATION_NS: f64 = 1e6;
const MEASURE_SHARE: f64 = 0.05;
/// How names of attributes end that hold a measure, after OpenTelemetry's conventions.
const MEASURES: &[&str] =
    &[".size", "_size", ".length", "_length", ".bytes", "_bytes", "_tokens", ".duration"];

pub(super) struct Patch<'a> {
    base: &'a Flat<'a>,
    compare: &'a Flat<'a>,
    pub modified: Vec<Modified>,
    /// Places in `compare`.
    pub added: Vec<usize>,
    /// Places in `base`.
    pub removed: Vec<usize>,
    pub matched: usize,
    pub field_changes: usize,
    pub attribute_changes: usize,
    event_changes: usize,
}

pub(super) struct Modified {
    pub base: usize,
    pub compare: usize,
    changes: Vec<Value>,
}

impl<'a> Patch<'a> {
    pub fn of(base: &'a Flat<'a>, compare: &'a Flat<'a>) -> Patch<'a> {
        let pairs = pairs(base, compare);
        let mut patch = Patch {
            base,
            compare,
            modified: vec![],
            added: vec![],
            removed: vec![],
            matched: 0,
            field_changes: 0,
            attribute_changes: 0,
            event_changes: 0,
        };
        let mut stays = vec![false; base.spans.len()];
        for (at, pair) in pairs.into_iter().enumerate() {
            match pair {
                Some(before) => {
                    stays[before] = true;
                    patch.matched += 1;
                    patch.change(before, at);
                }
                None => patch.added.push(at),
            }
        }
        patch.removed = (0..base.spans.len()).filter(|at| !stays[*at]).collect();
        patch
    }

    fn change(&mut self, base: usize, compare: usize) {
        let (before, after) = (self.base.spans[base].span, self.compare.spans[compare].span);
        let field = |name: &str, before: Value, after: Value| json!({ "op": "modify", "target": { "type": "field", "name": name }, "before": before, "after": after });
        let mut changes = vec![];
        if !close(before.duration_ns as f64, after.duration_ns as f64, DURATION_SHARE, DURATION_NS) {
            changes.push(field("duration_nanos", json!(before.duration_ns), json!(after.duration_ns)));
        }
        if before.status != after.status {
            changes.push(field("status", json!(status(before.status)), json!(status(after.status))));
        }
        self.field_changes += changes.len();
        let attributes = attributes(&before.attributes.unpacked(), &after.attributes.unpacked());
        self.attribute_changes += attributes.len();
        changes.extend(attributes);
        let events = |span: &'a model::Span| span.events.iter().map(|event| event.name.as_str());
        self.event_changes += counted(events(before), events(after));
        if !changes.is_empty() {
            self.modified.push(Modified { base, compare, changes });
        }
    }

    pub fn warnings(&self) -> Vec<Value> {
        let told = |side: &str, flat: &Flat<'_>| match flat.duplicate_ids() {
            0 => None,
            count => {
                let message = format!("{side}: {count} spans have an id that another span of the trace has");
                Some(json!({ "code": "duplicate_span_id", "message": message }))
            }
        };
        told("base", self.base).into_iter().chain(told("compare", self.compare)).collect()
    }

    pub fn document(&self) -> Value {
        let meta =
            |flat: &Flat<'_>| json!({ "traceId": hex::encode(flat.trace_id), "spanCount": flat.spans.len() });
        let modified = |modified: &Modified| json!({ "span": locator(self.compare, modified.compare), "changes": modified.changes });
        json!({
            "version": VERSION,
            "base": meta(self.base),
            "compare": meta(self.compare),
            "stats": {
                "spanCountA": self.base.spans.len(),
                "spanCountB": self.compare.spans.len(),
                "matchedSpans": self.matched,
                "modifiedSpans": self.modified.len(),
                "addedSpans": self.added.len(),
                "removedSpans": self.removed.len(),
                "fieldChanges": self.field_changes,
                "attributeChanges": self.attribute_changes,
                "eventChanges": self.event_changes,
                "truncated": false,
            },
            "modified": self.modified.iter().map(modified).collect::<Vec<_>>(),
            "added": self.added.iter().map(|at| added(self.compare, *at)).collect::<Vec<_>>(),
            "removed": self.removed.iter().map(|at| removed(self.base, *at)).collect::<Vec<_>>(),
            "warnings": self.warnings(),
        })
    }
}

fn locator(flat: &Flat<'_>, at: usize) -> Value {
    let span = &flat.spans[at];
    json!({
        "path": flat.path(at),
        "service": span.service,
        "name": span.span.name,
        "kind": traceql_kind(span.span.kind),
    })
}

fn snapshot(flat: &Flat<'_>, at: usize) -> Value {
    let mut snapshot = locator(flat, at);
    snapshot["duration_nanos"] = json!(flat.spans[at].span.duration_ns);
    snapshot["status"] = json!(status(flat.spans[at].span.status));
    snapshot
}

fn added(flat: &Flat<'_>, at: usize) -> Value {
    let mut target = json!({ "type": "span", "index": flat.spans[at].index });
    if let Some(parent) = flat.spans[at].parent {
        target["parentPath"] = json!(flat.path(parent));
    }
    json!({ "target": target, "span": snapshot(flat, at) })
}

fn removed(flat: &Flat<'_>, at: usize) -> Value {
    json!({ "target": { "type": "span", "path": flat.path(at) }, "span": snapshot(flat, at) })
}

fn traceql_kind(kind: model::SpanKind) -> &'static str {
    use model::SpanKind::{Client, Consumer, Internal, Producer, Server, Unspecified};
    match kind {
        Unspecified => "unspecified",
        Internal => "internal",
        Server => "server",
        Client => "client",
        Producer => "producer",
        Consumer => "consumer",
    }
}

fn status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::Unset => "unset",
        StatusCode::Ok => "ok",
        StatusCode::Error => "error",
    }
}

/// Attributes of a span that came, went or changed, by name.
fn attributes(before: &Attributes, after: &Attributes) -> Vec<Value> {
    let mut both: BTreeMap<&str, (Option<&Attribute>, Option<&Attribute>)> = BTreeMap::new();
    for (key, value) in before {
        both.entry(key).or_default().0 = Some(value);
    }
    for (key, value) in after {
        both.entry(key).or_default().1 = Some(value);
    }
    let changed = |(key, (before, after)): (&str, (Option<&Attribute>, Option<&Attribute>))| {
        let op = match (before, after) {
            (Some(before), Some(after)) if same(key, before, after) => return None,
            (Some(_), Some(_)) => "modify",
            (None, _) => "add",
            (_, None) => "remove",
        };
        let target = json!({ "type": "attribute", "scope": "span", "key": key });
        Some(json!({ "op": op, "target": target, "before": before.map(plain), "after": after.map(plain) }))
    };
    both.into_iter().filter_map(changed).collect()
}

fn plain(value: &Attribute) -> Value {
    match value {
        Attribute::Int(number) => json!(number),
        Attribute::Bool(truth) => json!(truth),
        Attribute::Double(number) if number.is_finite() => json!(number),
        Attribute::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        other => json!(other.to_string()),
    }
}

fn same(key: &str, before: &Attribute, after: &Attribute) -> bool {
    let number = |value: &Attribute| match value {
        Attribute::Int(number) => Some(*number as f64),
        Attribute::Double(number) => Some(*number),
        _ => None,
    };
    match (number(before), number(after)) {
        (Some(before), Some(after)) if MEASURES.iter().any(|end| key.ends_with(end)) => {
            close(before, after, MEASURE_SHARE, 0.0)
        }
        (Some(before), Some(after)) if before.is_nan() && after.is_nan() => true,
        _ => before == after,
    }
}

fn close(before: f64, after: f64, share: f64, least: f64) -> bool {
    before == after || (before - after).abs() <= least + share * before.abs().max(after.abs())
}

/// How many of the names are on one side alone, each as often as it is there more.
fn counted<'a>(before: impl Iterator<Item = &'a str>, after: impl Iterator<Item = &'a str>) -> usize {
    let mut counts: HashMap<&str, isize> = HashMap::new();
    before.for_each(|name| *counts.entry(name).or_default() += 1);
    after.for_each(|name| *counts.entry(name).or_default() -= 1);
    counts.values().map(|count| count.unsigned_abs()).sum()
}
