//! Which of many traces are answers, before what an answer shows of them is read: by as many threads as there are processors,
//! and of what the pipeline looks at alone.

use super::{SHOWN, Search, Whole, fields_of};
use crate::QueryError;
use crate::traceql::shares::in_shares;
use crate::traceql::spans::columns_of;
use model::TraceId;
use std::collections::HashMap;
use std::sync::Arc;
use traceql::{Element, Pipeline};

/// Of fewer it is quicker to read what is shown at once.
pub(super) const TRACES_MIN: usize = 128;

/// What tells spans apart and how they hang together.
const TOLD_APART: [&str; 5] = ["trace_id", "span_id", "parent_span_id", "start_ts", "kind"];

impl Search {
    /// The answers among these traces, in their order, each with its start; and how much was read.
    pub(super) async fn sifted(&self, ids: &[TraceId]) -> Result<(Vec<(i64, TraceId)>, Whole), QueryError> {
        let ids = Arc::new(ids.to_vec());
        let shares = in_shares(|(at, of)| {
            let (own, ids) = (self.clone(), ids.clone());
            async move {
                // Traces that follow one another are of one time, and have their spans in the same pages.
                let share = ids.len() * at / of..ids.len() * (at + 1) / of;
                own.share_of_sifted(&ids[share]).await
            }
        })
        .await?;
        let mut starts: HashMap<TraceId, i64> = HashMap::new();
        let mut read = Whole { traces: 0, spans: 0 };
        for (answers, own) in shares {
            starts.extend(answers);
            read.traces += own.traces;
            read.spans += own.spans;
        }
        let answers = ids.iter().filter_map(|id| Some((*starts.get(id)?, *id))).collect();
        Ok((answers, read))
    }

    async fn share_of_sifted(&self, ids: &[TraceId]) -> Result<(Vec<(TraceId, i64)>, Whole), QueryError> {
        let mut answers = vec![];
        let columns = decided_by(&self.pipeline);
        let read = self
            .whole(ids, &columns, &mut |id, trace, _| {
                answers.push((id, trace.facts.start_ns));
                Ok(())
            })
            .await?;
        Ok((answers, read))
    }
}

/// The columns that decide whether a trace is an answer.
fn decided_by(pipeline: &Pipeline) -> Vec<&'static str> {
    // What is selected is only shown.
    let deciding = pipeline.elements.iter().filter(|element| !matches!(element, Element::Select(_)));
    let deciding = Pipeline { elements: deciding.cloned().collect() };
    let (mut columns, mut of_trace) = (TOLD_APART.to_vec(), false);
    fields_of(&deciding, &mut |field| {
        of_trace |= field.of_trace();
        columns_of(field, &mut columns);
    });
    if of_trace {
        columns.extend(SHOWN);
    }
    columns
}
