//! A regex on the name of spans, by the names that there are: the index has them all. Where few match, their spans are found as
//! those of a name that was asked for.

use super::Search;
use crate::QueryError;
use crate::traceql::alike::conditions;
use model::TimeRange;
use regex::Regex;
use traceql::{Field, FieldExpr, Intrinsic};

/// Spans of a name lie together, so that a few names are sought one by one.
const NAMES_MAX: usize = 8;

impl Search {
    /// Names that a filter asks for by a regex; `None` where it asks for nothing of the kind, or where there are many.
    pub(super) async fn names_like(
        &self,
        filter: &FieldExpr,
        range: TimeRange,
    ) -> Result<Option<Vec<String>>, QueryError> {
        let Some(regex) = sought(filter) else { return Ok(None) };
        let names = self.snapshot.span_names(range).await?.and_then(|names| names.operations);
        let Some(names) = names else { return Ok(None) };
        let matching: Vec<String> = names.into_iter().filter(|name| regex.is_match(name)).collect();
        Ok((matching.len() <= NAMES_MAX).then_some(matching))
    }
}

/// What the name must match.
fn sought(filter: &FieldExpr) -> Option<&Regex> {
    conditions(filter).into_iter().find_map(|condition| match condition {
        FieldExpr::Regex { negated: false, value, regex } => match value.as_ref() {
            FieldExpr::Field(Field::Intrinsic(Intrinsic::Name)) => Some(regex),
            _ => None,
        },
        _ => None,
    })
}
