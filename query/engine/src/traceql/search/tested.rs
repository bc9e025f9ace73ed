//! What filters ask of single spans, as a test of a few columns by which spans are ruled out before more of them is read: most often
//! few are left, and the ids of their traces take longer to read than what is asked.

use crate::traceql::alike::conditions;
use crate::traceql::passing::Passing;
use crate::traceql::rooted::Rooted;
use crate::traceql::scan::narrow;
use crate::traceql::sources::fields_or_columns_of;
use crate::traceql::spans::Spans;
use arrow::array::RecordBatch;
use model::{SpanSelect, TimeRange};
use std::sync::Arc;
use store::{SpanColumns, SpanTest};
use traceql::{Field, FieldExpr, Intrinsic, Static};

/// Passed by spans that one of the filters may let pass. `None` where it would rule out nothing.
pub(super) fn test_of(filters: &[&FieldExpr]) -> Option<SpanTest> {
    let is_alone = filters.len() == 1;
    let asked = filters.iter().map(|filter| of_spans(filter, is_alone)).collect::<Option<Vec<_>>>()?;
    if asked.is_empty() {
        return None;
    }
    let (mut fields, mut columns) = (vec![], vec![]);
    for filter in &asked {
        filter.fields(&mut |field| {
            fields_or_columns_of(field, &mut fields, &mut columns);
            if *field == Field::Intrinsic(Intrinsic::EventTimeSinceStart) {
                columns.push("start_ts");
            }
        });
    }
    let passing = move |batch: &RecordBatch| any_passing(&asked, &Spans::of(batch));
    Some(SpanTest { columns: SpanColumns::named(&columns), fields, passing: Arc::new(passing) })
}

/// The conditions that a span tells of without its trace. What a filter that is looked for alone narrows the reading by is not
/// asked once more.
fn of_spans(filter: &FieldExpr, is_alone: bool) -> Option<FieldExpr> {
    let asked = conditions(filter).into_iter().filter(|one| is_told(one) && !(is_alone && narrows(one)));
    asked.cloned().reduce(|left, right| FieldExpr::And(Box::new(left), Box::new(right)))
}

/// Whether a filter asks anything of single spans. Else, as in `{ traceDuration > 1s }`, it may let any pass.
pub(super) fn is_of_spans(filter: &FieldExpr) -> bool {
    conditions(filter).into_iter().any(is_told)
}

fn is_told(condition: &FieldExpr) -> bool {
    let mut of_trace = false;
    condition.fields(&mut |field| of_trace |= field.of_trace());
    let is_told = !of_trace || Rooted::of(condition).is_some();
    is_told && !matches!(condition, FieldExpr::Static(Static::Bool(true)))
}

pub(super) fn narrows(condition: &FieldExpr) -> bool {
    let all = SpanSelect::all(TimeRange::ALL);
    let mut select = all.clone();
    narrow(&mut select, condition);
    select != all
}

/// Of each row, whether one of the filters may let it pass.
fn any_passing(filters: &[FieldExpr], spans: &Spans<'_>) -> Vec<bool> {
    let mut any = vec![false; spans.len()];
    for filter in filters {
        let mut passing = vec![true; spans.len()];
        Passing::new(filter).judge(spans, &mut passing);
        any.iter_mut().zip(passing).for_each(|(any, passes)| *any |= passes);
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;
    use traceql::{Element, Pipeline, Root, SpansetExpr};

    fn filter(query: &str) -> FieldExpr {
        let Root::Spansets(Pipeline { elements, .. }) = traceql::parse(query).unwrap().root else {
            panic!("{query} is of metrics")
        };
        match elements.into_iter().next() {
            Some(Element::Spansets(SpansetExpr::Filter(filter))) => filter,
            other => panic!("{other:?}"),
        }
    }

    fn columns(queries: &[&str]) -> Option<Vec<String>> {
        let filters: Vec<FieldExpr> = queries.iter().map(|query| filter(query)).collect();
        let test = test_of(&filters.iter().collect::<Vec<_>>())?;
        let own = |at: &usize| store::schema::SPANS.field(*at).name().clone();
        let fields = test.fields.iter().map(|field| field.column());
        Some(test.columns.0.iter().map(own).chain(fields).collect())
    }

    #[test]
    fn a_test_is_of_what_single_spans_tell_and_reading_is_not_narrowed_by() {
        let of = |queries: &[&str], expected: &[&str]| {
            let names = || expected.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
            let expected = (!expected.is_empty()).then(names);
            assert_eq!(columns(queries), expected, "{queries:?}");
        };
        of(&["{ span.a =~ `x` && kind = server && span.b = `y` }"], &["kind", "span:a"]);
        of(&["{ span.a > 5 || .b != 1 }"], &["span:a", "span:b", "resource:b"]);
        of(&["{ event:timeSinceStart > 1ms }"], &["start_ts", "events"]);
        // Narrowed, of the whole trace, or nothing.
        of(&["{ span.b = `y` && duration > 5ms }"], &[]);
        of(&["{ traceDuration > 5ms || span.a > 5 }"], &[]);
        of(&["{ parent.a = 1 }"], &[]);
        of(&["{ nestedSetParent < 0 && childCount > 1 }"], &["parent_span_id"]);
        of(&["{ }"], &[]);
        of(&[], &[]);
        // Together nothing is narrowed by what one of them asks, and one that all spans pass leaves all.
        of(&["{ span.b = `y` }", "{ span.a !~ `x` }"], &["span:b", "span:a"]);
        of(&["{ span.b = `y` }", "{ }"], &[]);
    }
}
