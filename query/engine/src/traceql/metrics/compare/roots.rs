//! What traces are rooted in, as the indexes know it without the spans. Each thread asks for a share of the traces.

use super::super::MetricsQuery;
use super::rows::Rows;
use crate::QueryError;
use crate::logql::broken;
use crate::traceql::search::range_of_traces;
use crate::traceql::shares::in_shares;
use crate::traceql::spans::{Keyed, Spans};
use crate::traceql::trace::TraceFacts;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use foldhash::fast::RandomState;
use futures::StreamExt;
use model::TraceId;
use std::borrow::Cow;
use std::collections::HashMap;
use store::{Root, RootNames};

/// Services and names of roots, with the memory that they take.
pub(super) struct Roots {
    names: RootNames,
    of_traces: HashMap<TraceId, u32, RandomState>,
    held: MemoryReservation,
}

impl Roots {
    /// Service and name of a root by its number.
    pub fn get(&self, number: u32) -> Option<&(String, String)> {
        self.names.get(number)
    }

    /// The numbers of what the traces of these rows are rooted in; other rows have none.
    pub fn keyed(&self, spans: &Spans<'_>, rows: &Rows) -> Keyed<'static> {
        let mut keys = vec![u32::MAX; spans.len()];
        for (row, _) in rows.iter() {
            keys[row] = self.of_traces.get(&spans.trace_id(row)).copied().unwrap_or(u32::MAX);
        }
        Keyed { keys: Cow::Owned(keys), kinds: None, words: self.names.len(), dictionary: None }
    }

    /// Takes over what another share knows, which is of other traces.
    fn absorb(&mut self, other: Roots) -> Result<(), QueryError> {
        let numbers = self.names.absorb(&other.names);
        self.of_traces.reserve(other.of_traces.len());
        self.account()?;
        let known = other.of_traces.into_iter();
        self.of_traces.extend(known.filter_map(|(id, root)| Some((id, *numbers.get(root as usize)?))));
        Ok(())
    }

    fn account(&self) -> Result<(), QueryError> {
        let bytes = self.of_traces.capacity() * (size_of::<(TraceId, u32)>() + 1);
        self.held.try_resize(bytes).map_err(broken)
    }
}

impl MetricsQuery {
    /// `None` where the indexes do not tell them.
    pub(super) async fn roots(&self) -> Result<Option<Roots>, QueryError> {
        let shares = in_shares(|share| {
            let own = self.clone();
            async move { own.share_of_roots(share).await }
        })
        .await?;
        let mut all: Option<Roots> = None;
        for share in shares {
            let Some(share) = share else { return Ok(None) };
            match &mut all {
                Some(all) => all.absorb(share)?,
                None => all = Some(share),
            }
        }
        Ok(all)
    }

    async fn share_of_roots(&self, share: (usize, usize)) -> Result<Option<Roots>, QueryError> {
        let range = range_of_traces(self.steps.range());
        let Some(told) = self.snapshot.trace_facts(range, share).await? else { return Ok(None) };
        let (mut names, mut slices) = (told.roots, told.slices);
        let unknown = TraceFacts::unknown();
        let none = names.number(&unknown.root_service, &unknown.root_name);
        let held = MemoryConsumer::new("traceql compare").register(self.context.memory_pool());
        let mut roots = Roots { names, of_traces: HashMap::default(), held };
        while let Some(slice) = slices.next().await {
            for fact in slice {
                let root = match fact.root {
                    Root::None => none,
                    Root::One(number) => number,
                    Root::Uncertain => continue,
                };
                roots.of_traces.insert(fact.id, root);
            }
            roots.account()?;
        }
        Ok(Some(roots))
    }
}
