//! Spans of one filter, from where traces are read whole, each as what little is asked of it. What is asked of the spans of a
//! trace together is told by them, without reading the traces whole.

use super::{Search, range_of_traces};
use crate::QueryError;
use crate::traceql::evaluate::SpanAt;
use crate::traceql::passing::Passing;
use crate::traceql::scan::narrow;
use crate::traceql::shares::in_shares;
use crate::traceql::sources::fields_or_columns_of;
use crate::traceql::spans::Spans;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use foldhash::fast::RandomState;
use futures::StreamExt;
use model::{SpanSelect, TraceId};
use std::collections::HashSet;
use std::sync::Arc;
use store::SpanTest;
use traceql::{Field, FieldExpr};

/// Spans that may be remembered, of some fifty bytes each.
const ROWS_MAX: usize = 4_000_000;

/// Traces, with the memory that they take.
pub(super) struct Among {
    traces: HashSet<TraceId, RandomState>,
    _taken: MemoryReservation,
}

impl Among {
    pub fn is_empty(&self) -> bool {
        self.traces.is_empty()
    }
}

#[derive(Clone)]
pub(super) struct Matching {
    pub filter: FieldExpr,
    /// What is read beside the filter's own fields, the trace and the start.
    pub fields: Vec<Field>,
    pub columns: &'static [&'static str],
    /// Spans of other traces are left out. `None`: of all.
    pub among: Option<Arc<Among>>,
    /// What does not pass it may be left out.
    pub test: Option<SpanTest>,
}

/// What was made of the spans, with the memory that it takes.
pub(super) struct Matched<R> {
    pub rows: Vec<R>,
    pub inspected_spans: u64,
    reservation: MemoryReservation,
}

impl<R> Matched<R> {
    pub fn of(rows: Vec<R>, reservation: MemoryReservation) -> Matched<R> {
        Matched { rows, inspected_spans: 0, reservation }
    }

    fn has_room(&self) -> bool {
        let bytes = self.rows.capacity() * size_of::<R>();
        self.rows.len() <= ROWS_MAX && self.reservation.try_resize(bytes).is_ok()
    }

    /// Of all shares; `None` where they are too many together.
    fn joined(shares: Vec<Option<Matched<R>>>) -> Option<Matched<R>> {
        let mut shares = shares.into_iter();
        let mut all = shares.next()??;
        for share in shares {
            let share = share?;
            all.inspected_spans += share.inspected_spans;
            all.rows.extend(share.rows);
            if !all.has_room() {
                return None;
            }
        }
        Some(all)
    }
}

impl Search {
    /// What `make` makes of each span that the filter may hold of; `None` where there are too many.
    pub(super) async fn matching<R, F>(
        &self,
        asked: Matching,
        make: F,
    ) -> Result<Option<Matched<R>>, QueryError>
    where
        R: Send + 'static,
        F: Fn(&SpanAt<'_>) -> R + Clone + Send + 'static,
    {
        let shares = in_shares(|share| {
            let (own, asked, make) = (self.clone(), asked.clone(), make.clone());
            async move { own.share_of_matching(asked, make, share).await }
        })
        .await?;
        Ok(Matched::joined(shares))
    }

    async fn share_of_matching<R, F>(
        &self,
        asked: Matching,
        make: F,
        share: (usize, usize),
    ) -> Result<Option<Matched<R>>, QueryError>
    where
        F: Fn(&SpanAt<'_>) -> R,
    {
        let range = range_of_traces(self.range);
        let mut select = SpanSelect { share: Some(share), ..SpanSelect::all(range) };
        narrow(&mut select, &asked.filter);
        let mut columns = [&["trace_id", "start_ts"][..], asked.columns].concat();
        let mut read: Vec<&Field> = asked.fields.iter().collect();
        asked.filter.fields(&mut |field| read.push(field));
        read.into_iter().for_each(|field| fields_or_columns_of(field, &mut select.fields, &mut columns));
        let reservation = MemoryConsumer::new("traceql matching").register(self.context.memory_pool());
        let mut found = Matched::of(vec![], reservation);
        let filter = Passing::new(&asked.filter);
        let mut batches = match asked.test.clone() {
            Some(test) => self.scan_tested(select, &columns, test)?,
            None => self.scan(select, &columns)?,
        };
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(crate::logql::broken)?;
            found.inspected_spans += batch.num_rows() as u64;
            let spans = Spans::of(&batch);
            let mut passing = vec![true; spans.len()];
            filter.judge(&spans, &mut passing);
            let is_among = |row| match &asked.among {
                Some(among) => among.traces.contains(&spans.trace_id(row)),
                None => true,
            };
            for row in (0..spans.len()).filter(|row| passing[*row]) {
                if range.contains(spans.start(row)) && is_among(row) {
                    found.rows.push(make(&SpanAt { spans: &spans, row, trace: None }));
                }
            }
            if !found.has_room() {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    /// These traces, each once; `None` where there is no room for them.
    pub(super) fn among(&self, traces: impl Iterator<Item = TraceId>) -> Option<Arc<Among>> {
        let traces: HashSet<TraceId, RandomState> = traces.collect();
        let taken = MemoryConsumer::new("traceql matching").register(self.context.memory_pool());
        // With its byte of metadata.
        taken.try_grow(traces.capacity() * (size_of::<TraceId>() + 1)).ok()?;
        Some(Arc::new(Among { traces, _taken: taken }))
    }
}
