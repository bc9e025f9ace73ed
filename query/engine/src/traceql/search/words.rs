//! A regex on one attribute of spans, or on their name, by the values that there are. To look which values match takes that
//! attribute's column alone, and each value once for all rows that have it, and the index has all names; where few match, their
//! spans are found as those of a value that was asked for.

use super::Search;
use crate::QueryError;
use crate::traceql::alike::{Alike, Known, conditions};
use crate::traceql::evaluate::SpanAt;
use crate::traceql::shares::in_shares;
use crate::traceql::spans::Spans;
use futures::StreamExt;
use model::{SpanField, SpanSelect, TimeRange};
use std::collections::BTreeSet;
use traceql::{Field, FieldExpr, Intrinsic, Scope};

/// More values are sought for together.
const VALUES_MAX: usize = 3;
/// The same of names, whose spans lie together.
const NAMES_MAX: usize = 8;

/// What spans may be asked for that match.
pub(super) enum Word {
    Name(String),
    Attribute(String, String),
}

impl Word {
    pub fn narrow(self, select: &mut SpanSelect) {
        match self {
            Word::Name(name) => select.name = Some(name),
            Word::Attribute(name, text) => select.attributes.push((name, text)),
        }
    }
}

impl Search {
    /// Texts that a filter asks for by a regex; `None` where it asks for nothing of the kind, or where there are many.
    pub(super) async fn words_like(
        &self,
        filter: &FieldExpr,
        range: TimeRange,
    ) -> Result<Option<Vec<Word>>, QueryError> {
        if let Some(condition) = sought_name(filter) {
            let names = self.snapshot.span_names(range).await?.and_then(|names| names.operations);
            let Some(names) = names else { return Ok(None) };
            let FieldExpr::Regex { regex, .. } = condition else { return Ok(None) };
            let matching: Vec<String> = names.into_iter().filter(|name| regex.is_match(name)).collect();
            let few = matching.len() <= NAMES_MAX;
            return Ok(few.then(|| matching.into_iter().map(Word::Name).collect()));
        }
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
        let word = |text| Word::Attribute(name.to_owned(), text);
        Ok((all.len() <= VALUES_MAX).then(|| all.into_iter().map(word).collect()))
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

/// The condition on the name.
fn sought_name(filter: &FieldExpr) -> Option<&FieldExpr> {
    conditions(filter).into_iter().find(|condition| match condition {
        FieldExpr::Regex { negated: false, value, .. } => {
            matches!(value.as_ref(), FieldExpr::Field(Field::Intrinsic(Intrinsic::Name)))
        }
        _ => false,
    })
}
