//! What an answer tells of a trace and of the spans that were found in it.

use super::super::evaluate::{SpanAt, passes};
use super::super::trace::{Spanset, Trace};
use super::super::value::{Val, elements};
use super::{FoundSpan, FoundSpanset, FoundTrace, Search, ServiceStats};
use model::{StatusCode, TraceId};
use std::collections::BTreeMap;
use traceql::{
    CompareOp, Element, Field, FieldExpr, Intrinsic, Pipeline, Scalar, Scope, SpansetExpr, Static,
    go_duration,
};

const ROOT_MISSING: &str = "<root span not yet received>";

impl Search {
    pub(super) fn answer(&self, trace_id: TraceId, trace: &Trace<'_>, spansets: &[Spanset]) -> FoundTrace {
        let mut services: BTreeMap<String, ServiceStats> = BTreeMap::new();
        for (spans, row) in &trace.rows {
            let service = services.entry(spans.service(*row).to_owned()).or_default();
            service.spans += 1;
            service.errors += u32::from(spans.status(*row) == StatusCode::Error);
        }
        let told = told_of(&self.pipeline);
        let span = |at: &usize| {
            let (spans, row) = trace.rows[*at];
            let here = trace.at(*at);
            let mut attributes: Vec<(String, model::Value)> = Vec::with_capacity(told.len());
            for told in &told {
                let Some(value) = told.value(&here) else { continue };
                let one = (field_key(told.field), value);
                // `.a` and `resource.a` may be the same.
                if !attributes.contains(&one) {
                    attributes.push(one);
                }
            }
            FoundSpan {
                span_id: spans.span_id(row),
                name: spans.name(row).to_owned(),
                start_ns: spans.start(row),
                duration_ns: spans.duration(row),
                attributes,
            }
        };
        let spanset = |set: &Spanset| FoundSpanset {
            spans: set.spans.iter().take(self.spans_per_spanset).map(span).collect(),
            matched: set.spans.len(),
            attributes: set
                .attributes
                .iter()
                // Spans without what they are grouped by are a group as well.
                .map(|(name, value)| {
                    (name.clone(), value_of(value.clone()).unwrap_or_else(|| model::Value::from("nil")))
                })
                .collect(),
        };
        FoundTrace {
            trace_id,
            // What Tempo writes where the root is not there.
            root_service: match trace.facts.root_service.as_str() {
                "" => ROOT_MISSING.to_owned(),
                service => service.to_owned(),
            },
            root_name: trace.facts.root_name.clone(),
            start_ns: trace.facts.start_ns,
            duration_ns: trace.facts.end_ns.saturating_sub(trace.facts.start_ns),
            spansets: spansets.iter().map(spanset).collect(),
            services,
        }
    }
}

/// A field that an answer tells.
struct Told<'a> {
    field: &'a Field,
    /// What is asked of it; a value that passes none of them is not told.
    conditions: Vec<Condition<'a>>,
    /// It is also read for itself: whatever it is, is told.
    any: bool,
    /// It is asked whether it is missing: an answer says so.
    missing: bool,
}

#[derive(Clone, Copy)]
struct Condition<'a> {
    asks: &'a FieldExpr,
    /// What the same event or link must pass, it among it; empty where it is asked alone.
    together: &'a [FieldExpr],
}

impl Told<'_> {
    /// Of several events or links the last that passes, as Tempo has it.
    fn value(&self, at: &SpanAt<'_>) -> Option<model::Value> {
        let (mut last, mut there, mut lacking, mut event) = (Val::Nil, false, false, 0);
        let together: Vec<Vec<bool>> = self.conditions.iter().map(|one| at.passing(one.together)).collect();
        let conditions = || self.conditions.iter().zip(&together);
        at.each(self.field, &mut |value| {
            match value {
                Val::Nil => lacking = true,
                _ => there = true,
            }
            let passed = |(one, together): &(&Condition<'_>, &Vec<bool>)| {
                passes(one.asks, &value) && (one.together.is_empty() || together.get(event) == Some(&true))
            };
            if self.any && value != Val::Nil {
                last = value;
            } else if let Some((condition, _)) = conditions().find(passed) {
                last = only_element(condition.asks, &value).unwrap_or(value);
            }
            event += 1;
            false
        });
        match value_of(last) {
            None if self.missing && (!there || lacking && of_several(self.field)) => {
                Some(model::Value::from("nil"))
            }
            told => told,
        }
    }
}

/// Whether a field is of events or links: one of them may lack what another has.
fn of_several(field: &Field) -> bool {
    matches!(field, Field::Attribute { scope: Scope::Event | Scope::Link, .. })
}

/// Of a list, the one element that passes.
fn only_element(condition: &FieldExpr, value: &Val<'_>) -> Option<Val<'static>> {
    let Val::Array(text) = value else { return None };
    let (mut only, mut count) = (None, 0);
    elements(text, &mut |element| {
        if passes(condition, &element) {
            count += 1;
            only = Some(element.owned());
        }
        count > 1
    });
    only.filter(|_| count == 1)
}

/// The fields that the pipeline reads, each once, but for what stands in every answer as it is.
fn told_of(pipeline: &Pipeline) -> Vec<Told<'_>> {
    let mut told = Fields(Vec::new());
    told.of_pipeline(pipeline);
    told.0
}

struct Fields<'a>(Vec<Told<'a>>);

impl<'a> Fields<'a> {
    fn of_pipeline(&mut self, pipeline: &'a Pipeline) {
        for element in &pipeline.elements {
            match element {
                Element::Spansets(expr) => self.of_spansets(expr),
                Element::By(expr) => self.read(expr),
                Element::Select(fields) => fields.iter().for_each(|field| self.any(field)),
                Element::Scalar { left, right, .. } => {
                    self.of_scalar(left);
                    self.of_scalar(right);
                }
                Element::Coalesce => {}
            }
        }
    }

    fn of_spansets(&mut self, expr: &'a SpansetExpr) {
        match expr {
            SpansetExpr::Filter(filter) => self.of_filter(filter, &[]),
            SpansetExpr::Pipeline(pipeline) => self.of_pipeline(pipeline),
            SpansetExpr::Op { left, right, .. } => {
                self.of_spansets(left);
                self.of_spansets(right);
            }
        }
    }

    fn of_scalar(&mut self, scalar: &'a Scalar) {
        match scalar {
            Scalar::Aggregate(_, expr) => self.read(expr),
            Scalar::Arithmetic(_, left, right) => {
                self.of_scalar(left);
                self.of_scalar(right);
            }
            Scalar::Count | Scalar::Static(_) => {}
        }
    }

    fn of_filter(&mut self, filter: &'a FieldExpr, together: &'a [FieldExpr]) {
        match filter {
            FieldExpr::And(left, right) | FieldExpr::Or(left, right) => {
                self.of_filter(left, together);
                self.of_filter(right, together);
            }
            FieldExpr::OfOne(conditions) => conditions.iter().for_each(|one| self.of_filter(one, conditions)),
            FieldExpr::Compare(op, left, right) => match (left.as_ref(), right.as_ref()) {
                (FieldExpr::Field(field), FieldExpr::Static(Static::Nil))
                | (FieldExpr::Static(Static::Nil), FieldExpr::Field(field)) => match op {
                    CompareOp::Equal => self.missing(field),
                    _ => self.any(field),
                },
                (FieldExpr::Field(field), FieldExpr::Static(_))
                | (FieldExpr::Static(_), FieldExpr::Field(field)) => self.asked(field, filter, together),
                _ => self.read(filter),
            },
            FieldExpr::Regex { value, .. } => match value.as_ref() {
                FieldExpr::Field(field) => self.asked(field, filter, together),
                _ => self.read(filter),
            },
            other => self.read(other),
        }
    }

    fn read(&mut self, expr: &'a FieldExpr) {
        expr.fields(&mut |field| self.any(field));
    }

    fn any(&mut self, field: &'a Field) {
        if let Some(told) = self.place(field) {
            told.any = true;
        }
    }

    /// What is there, has not passed.
    fn missing(&mut self, field: &'a Field) {
        if let Some(told) = self.place(field) {
            told.missing = true;
        }
    }

    fn asked(&mut self, field: &'a Field, asks: &'a FieldExpr, together: &'a [FieldExpr]) {
        if let Some(told) = self.place(field) {
            told.conditions.push(Condition { asks, together });
        }
    }

    fn place(&mut self, field: &'a Field) -> Option<&mut Told<'a>> {
        if told_anyway(field) {
            return None;
        }
        let known = self.0.iter().position(|told| told.field == field);
        if known.is_none() {
            self.0.push(Told { field, conditions: vec![], any: false, missing: false });
        }
        let at = known.unwrap_or(self.0.len() - 1);
        self.0.get_mut(at)
    }
}

/// What stands in every answer as it is, of the span or of its trace.
fn told_anyway(field: &Field) -> bool {
    use Intrinsic::{Duration, Name, RootName, RootService, SpanId, TraceDuration, TraceId};
    let Field::Intrinsic(intrinsic) = field else { return false };
    matches!(intrinsic, Name | Duration | TraceDuration | RootName | RootService | SpanId | TraceId)
}

/// An attribute's name without its scope, as Tempo answers it.
pub(in crate::traceql) fn field_key(field: &Field) -> String {
    match field {
        Field::Attribute { name, .. } => name.clone(),
        Field::Intrinsic(intrinsic) => intrinsic.as_str().to_owned(),
    }
}

pub(in crate::traceql) fn value_of(value: Val<'_>) -> Option<model::Value> {
    Some(match value {
        Val::Unknown | Val::Nil => return None,
        Val::Int(number) => model::Value::Int(number),
        Val::Duration(ns) => model::Value::String(go_duration(ns)),
        Val::Float(number) => model::Value::Double(number),
        Val::Text(text) => model::Value::String(text.into_owned()),
        Val::Bool(truth) => model::Value::Bool(truth),
        Val::Status(status) => model::Value::String(status.as_str().to_owned()),
        Val::Kind(kind) => model::Value::String(kind.as_str().to_owned()),
        Val::Array(text) => model::Value::Json(text.into_owned()),
    })
}
