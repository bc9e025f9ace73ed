//! A regex on one attribute of spans, by the values that there are. To look which values match takes that attribute's column
//! alone, and each value once for all rows that have it; where few match, their spans are found as those of a value that was
//! asked for.

use super::Search;
use crate::QueryError;
use crate::traceql::alike::{Alike, Known, conditions};
use crate::traceql::evaluate::SpanAt;
use crate::traceql::shares::in_shares;
use crate::traceql::spans::Spans;
use futures::StreamExt;
use model::{SpanField, SpanSelect, TimeRange};
use std::collections::BTreeSet;
use traceql::{Field, FieldExpr, Scope};

/// More values are sought for together.
const VALUES_MAX: usize = 3;

impl Search {
    /// Texts of an attribute that a filter asks for by a regex, with its name; `None` where it asks for nothing of the
    /// kind, or where there are many.
    pub(super) async fn words_like(
        &self,
        filter: &FieldExpr,
        range: TimeRange,
    ) -> Result<Option<(String, BTreeSet<String>)>, QueryError> {
        let Some((name, _)) = sought(filter) else { return Ok(None) };
        let shares = in_shares(|share| {
            let (own, filter) = (self.clone(), filter.clone());
            async move { own.share_of_words(&filter, range, share).await }
        })
        .await?;
        let mut all = BTreeSet::new();
        for share in shares {
            let Some(words) = share else { return Ok(None) };
            all.extend(words);
        }
        Ok((all.len() <= VALUES_MAX).then(|| (name.to_owned(), all)))
    }

    async fn share_of_words(
        &self,
        filter: &FieldExpr,
        range: TimeRange,
        share: (usize, usize),
    ) -> Result<Option<BTreeSet<String>>, QueryError> {
        let Some((name, condition)) = sought(filter) else { return Ok(None) };
        let field = Field::Attribute { scope: Scope::Span, name: name.to_owned() };
        let fields = vec![SpanField::Span(name.to_owned())];
        let mut batches =
            self.scan(SpanSelect { share: Some(share), fields, ..SpanSelect::all(range) }, &[])?;
        let mut words = BTreeSet::new();
        let mut passing = Known::default();
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(crate::logql::broken)?;
            let spans = Spans::of(&batch);
            let Some(mut alike) = Alike::new(&spans, &[&field]) else { return Ok(None) };
            passing.forget();
            for row in 0..spans.len() {
                let at = SpanAt { spans: &spans, row, trace: None };
                if passing.get(alike.of(row), || at.holds(condition) != Some(false)) {
                    words.extend(
                        spans.own_text(name, row).filter(|word| !words.contains(*word)).map(str::to_owned),
                    );
                }
            }
            if words.len() > VALUES_MAX {
                return Ok(None);
            }
        }
        Ok(Some(words))
    }
}

/// The attribute, and the condition on it alone.
fn sought(filter: &FieldExpr) -> Option<(&str, &FieldExpr)> {
    conditions(filter).into_iter().find_map(|condition| match condition {
        FieldExpr::Regex { negated: false, value, .. } => match value.as_ref() {
            FieldExpr::Field(Field::Attribute { scope: Scope::Span, name }) => {
                Some((name.as_str(), condition))
            }
            _ => None,
        },
        _ => None,
    })
}
