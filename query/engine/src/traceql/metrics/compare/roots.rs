//! What traces are rooted in, as the indexes know it without the spans. Each thread asks for a share of the traces.

use super::super::MetricsQuery;
use crate::QueryError;
use crate::logql::broken;
use crate::traceql::search::range_of_traces;
use crate::traceql::shares::in_shares;
use crate::traceql::spans::{Keyed, Spans};
use crate::traceql::trace::TraceFacts;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use std::borrow::Cow;
use std::sync::Arc;
use store::TraceRoots;

/// The roots of traces, with the memory that they take.
#[derive(Clone)]
pub(super) struct Roots {
    pub known: Arc<TraceRoots>,
    _held: Arc<MemoryReservation>,
}

impl Roots {
    /// Traces that begin in the range, so that they have a span there.
    pub fn begun(&self) -> usize {
        self.known.begun
    }

    /// Service and name of a root by its number.
    pub fn get(&self, number: u32) -> Option<&(String, String)> {
        self.known.names.get(number)
    }

    /// Which one the trace of each row has.
    pub fn keyed<'a>(&self, spans: &Spans<'a>) -> Option<Keyed<'a>> {
        let keys = Cow::Borrowed(spans.roots()?);
        Some(Keyed { keys, kinds: None, words: self.known.names.len(), dictionary: None })
    }
}

impl MetricsQuery {
    /// `None` where the indexes do not tell them.
    pub(super) async fn roots(&self) -> Result<Option<Roots>, QueryError> {
        let unknown = TraceFacts::unknown();
        let (range, without) = (self.steps.range(), (&*unknown.root_service, &*unknown.root_name));
        let search = self.snapshot.root_search(range, range_of_traces(range), without).await?;
        let Some(search) = search.map(Arc::new) else { return Ok(None) };
        let held = MemoryConsumer::new("traceql compare").register(self.context.memory_pool());
        held.try_grow(search.bytes_max()).map_err(broken)?;
        let shares = in_shares(|share| {
            let search = search.clone();
            async move { Ok(search.share(share).await) }
        })
        .await?;
        let known = search.finish(shares);
        held.try_resize(known.bytes()).map_err(broken)?;
        Ok(Some(Roots { known: Arc::new(known), _held: Arc::new(held) }))
    }
}
