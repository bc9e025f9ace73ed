//! Values for which traces are read whole: those of a trace's root, where spans narrow them, and those of spans that are
//! found by what their trace says.

use super::super::search::{SHOWN, Search, TRACES_READ, TraceSearch};
use super::super::sources::columns_of;
use super::{Asked, TagValue, note};
use crate::QueryError;
use datafusion::execution::memory_pool::MemoryConsumer;
use std::collections::BTreeSet;
use traceql::{Element, FieldExpr, Pipeline, SpansetExpr};

/// Traces looked into for one list, the newest: completion needs the usual values, not the last rare one.
const TRACES_MAX: usize = 5_000;

impl Asked {
    pub fn hangs_on_traces(&self, filter: &FieldExpr) -> bool {
        let mut hangs = self.field.of_trace();
        filter.fields(&mut |field| hangs |= field.of_trace());
        hangs
    }

    pub async fn of_traces(&self, filter: &FieldExpr) -> Result<Vec<TagValue>, QueryError> {
        let pipeline = Pipeline { elements: vec![Element::Spansets(SpansetExpr::Filter(filter.clone()))] };
        let search = Search {
            snapshot: self.snapshot.clone(),
            context: self.context.clone(),
            pipeline,
            range: self.range,
            limit: usize::MAX,
            spans_per_spanset: 1,
        };
        let mut columns = SHOWN.to_vec();
        columns_of(&self.field, &mut columns);
        filter.fields(&mut |field| columns_of(field, &mut columns));
        let mut ids = search.candidates(self.range, &mut TraceSearch::default()).await?;
        ids.truncate(TRACES_MAX);
        let reservation = MemoryConsumer::new("tag values").register(self.context.memory_pool());
        let (mut found, mut bytes) = (BTreeSet::new(), 0);
        for chunk in ids.chunks(TRACES_READ * 16) {
            search
                .whole(chunk, &columns, &mut |_, trace, spansets| {
                    for span in spansets.iter().flat_map(|set| &set.spans) {
                        trace.at(*span).each(&self.field, &mut |value| {
                            bytes += note(&mut found, value);
                            false
                        });
                    }
                    Ok(())
                })
                .await?;
            reservation.try_resize(bytes).map_err(crate::logql::broken)?;
            if found.len() >= self.limit {
                break;
            }
        }
        Ok(found.into_iter().take(self.limit).collect())
    }
}
