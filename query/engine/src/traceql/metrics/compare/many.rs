//! Whether so many traces have a span that passes the filter that they are not read whole. Where nearly all have, it shows at
//! the first spans, and not all traces need be gathered to see it.

use super::super::MetricsQuery;
use crate::QueryError;
use crate::traceql::passing::Passing;
use crate::traceql::scan::narrow;
use crate::traceql::shares::in_shares;
use crate::traceql::sources::fields_or_columns_of;
use crate::traceql::spans::Spans;
use foldhash::fast::RandomState;
use futures::StreamExt;
use model::{SpanSelect, TraceId};
use std::collections::HashSet;
use traceql::FieldExpr;

/// A thread looks at no more spans: what so few of them have is gathered by a search, which knows where to look for it.
const SPANS_MAX: usize = 1 << 20;

type Traces = HashSet<TraceId, RandomState>;

impl MetricsQuery {
    /// Whether there are more such traces, as far as the first spans tell: `false` may be so still.
    pub(super) async fn shows_more_than(&self, max: usize, filter: &FieldExpr) -> Result<bool, QueryError> {
        let shares = in_shares(|share| {
            let (own, filter) = (self.clone(), filter.clone());
            async move { own.traces_of_first(max, &filter, share).await }
        })
        .await?;
        let mut all = Traces::default();
        shares.into_iter().for_each(|traces| all.extend(traces));
        Ok(all.len() > max)
    }

    /// Traces of the first spans of one share, not many more than `max`.
    async fn traces_of_first(
        &self,
        max: usize,
        filter: &FieldExpr,
        share: (usize, usize),
    ) -> Result<Traces, QueryError> {
        let range = self.steps.range();
        let mut select = SpanSelect { share: Some(share), ..SpanSelect::all(range) };
        narrow(&mut select, filter);
        let mut columns = vec!["trace_id", "start_ts"];
        filter.fields(&mut |field| fields_or_columns_of(field, &mut select.fields, &mut columns));
        let mut batches = self.scanned(select, &columns)?;
        let filter = Passing::new(filter);
        let (mut traces, mut looked_at) = (Traces::default(), 0);
        while looked_at < SPANS_MAX
            && traces.len() <= max
            && let Some(batch) = batches.next().await
        {
            let batch = batch.map_err(crate::logql::broken)?;
            looked_at += batch.num_rows();
            let spans = Spans::of(&batch);
            let starts = spans.starts().unwrap_or_default();
            let mut passing: Vec<bool> = starts.iter().map(|start| range.contains(*start)).collect();
            filter.judge(&spans, &mut passing);
            let passing = passing.iter().enumerate().filter(|(_, passes)| **passes);
            traces.extend(passing.map(|(row, _)| spans.trace_id(row)));
        }
        Ok(traces)
    }
}
