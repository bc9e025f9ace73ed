//! Which spans of a batch a filter lets pass. What their words decide is asked once of the rows that have the same ones, and
//! bounds of the duration, ids and roots are judged by the whole column. What is asked of events, links, messages and scopes is
//! asked once of the rows that have none.

use crate::traceql::alike::{Alike, Known, parted};
use crate::traceql::bounds::Bound;
use crate::traceql::evaluate::SpanAt;
use crate::traceql::ids::OneId;
use crate::traceql::rooted::Rooted;
use crate::traceql::spans::Spans;
use traceql::{Field, FieldExpr};

/// The conditions of a filter by what decides them: words, the duration, an id, whether it is a root, or only the row.
pub(super) struct Passing<'q> {
    of_words: Vec<&'q FieldExpr>,
    bounds: Vec<Bound>,
    ids: Vec<OneId>,
    roots: Vec<Rooted>,
    of_rows: Vec<&'q FieldExpr>,
    /// Fields whose words make rows alike.
    words: Vec<&'q Field>,
}

impl<'q> Passing<'q> {
    pub fn new(filter: &'q FieldExpr) -> Passing<'q> {
        let (of_words, of_rows) = parted(filter);
        let (bounds, of_rows) = Bound::parted(&of_rows);
        let (ids, of_rows) = OneId::parted(&of_rows);
        let (roots, of_rows) = Rooted::parted(&of_rows);
        let mut words: Vec<&Field> = vec![];
        of_words.iter().for_each(|condition| condition.fields(&mut |field| words.push(field)));
        Passing { of_words, bounds, ids, roots, of_rows, words }
    }

    /// Takes out the rows that do not pass; not those of which only the whole trace tells.
    pub fn judge(&self, spans: &Spans<'_>, passing: &mut [bool]) {
        self.judge_words(spans, passing);
        for bound in &self.bounds {
            bound.judge(spans.durations().unwrap_or_default(), passing);
        }
        self.ids.iter().for_each(|id| id.judge(spans, passing));
        self.roots.iter().for_each(|rooted| rooted.judge(spans, passing));
        self.of_rows.iter().for_each(|condition| judge_rows(condition, spans, passing));
    }

    fn judge_words(&self, spans: &Spans<'_>, passing: &mut [bool]) {
        let mut alike = Alike::new(spans, &self.words);
        let (mut known, mut row) = (Known::default(), 0);
        while row < passing.len() {
            let at = SpanAt { spans, row, trace: None };
            let holds = || self.of_words.iter().all(|condition| at.holds(condition) != Some(false));
            let (passes, ends) = match &mut alike {
                Some(alike) => {
                    let (number, ends) = alike.run(row, passing.len());
                    (known.get(number, holds), ends)
                }
                None => (holds(), row + 1),
            };
            if !passes {
                passing[row..ends].fill(false);
            }
            row = ends;
        }
    }
}

fn judge_rows(condition: &FieldExpr, spans: &Spans<'_>, passing: &mut [bool]) {
    let mut fields = vec![];
    condition.fields(&mut |field| fields.push(field));
    let mut of_blank = None;
    for (row, passes) in passing.iter_mut().enumerate().filter(|(_, passes)| **passes) {
        let holds = || SpanAt { spans, row, trace: None }.holds(condition) != Some(false);
        *passes = match fields.iter().all(|field| spans.is_blank(field, row)) {
            true => *of_blank.get_or_insert_with(holds),
            false => holds(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, MapBuilder, RecordBatch, StringArray, StringBuilder};
    use std::sync::Arc;
    use traceql::{Element, Root, SpansetExpr};

    #[test]
    fn rows_without_a_message_or_scope_pass_as_each_would_by_itself() {
        let messages: ArrayRef = Arc::new(StringArray::from(vec!["", "bad", "", "worse", ""]));
        let durations: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]));
        let mut scopes = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for team in [None, Some("a"), Some("b"), None, Some("a")] {
            if let Some(team) = team {
                scopes.keys().append_value("team");
                scopes.values().append_value(team);
            }
            scopes.append(true).unwrap();
        }
        let scopes: ArrayRef = Arc::new(scopes.finish());
        let columns =
            [("status_message", messages), ("duration_ns", durations), ("scope_attributes", scopes)];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let spans = Spans::of(&batch);
        for query in [
            "{ statusMessage = `` }",
            "{ statusMessage != `bad` }",
            "{ statusMessage =~ `wor.*` && duration > 1ns }",
            "{ !(statusMessage =~ `b.*`) && duration != 1ns }",
            "{ statusMessage = `bad` || duration = 3ns }",
            "{ event:name = `a` }",
            "{ event:name != `a` || statusMessage = `` }",
            "{ link.a !~ `a` }",
            "{ instrumentation.team = `a` }",
            "{ instrumentation.team != `a` && duration > 1ns }",
            "{ instrumentation.team = nil || statusMessage = `bad` }",
        ] {
            let Root::Spansets(pipeline) = traceql::parse(query).unwrap().root else { panic!("{query}") };
            let [Element::Spansets(SpansetExpr::Filter(filter))] = &pipeline.elements[..] else {
                panic!("{query}")
            };
            let mut passing = vec![true; spans.len()];
            Passing::new(filter).judge(&spans, &mut passing);
            for (row, passes) in passing.into_iter().enumerate() {
                let at = SpanAt { spans: &spans, row, trace: None };
                assert_eq!(passes, at.holds(filter) != Some(false), "{query} {row}");
            }
        }
    }
}
