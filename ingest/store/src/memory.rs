//! What is in memory of each tenant: the memtables that are written to, and sealed ones until their parts are committed.

use crate::active::Active;
use crate::metrics::head::Head as MetricsHead;
use crate::record::Rows;
use crate::rows::head::Head as RowsHead;
use arrow::error::ArrowError;
use model::{Metadata, Tenant};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;

/// One tenant's memtables. Each has a lock of its own, held for an append or for copying out what is read.
#[derive(Default)]
pub struct Memtables {
    pub metrics: RwLock<MetricsHead>,
    pub logs: RwLock<RowsHead>,
    pub spans: RwLock<RowsHead>,
}

/// Memory that records take: all of it, and what a flush is made for. Series cost more than their samples and come
/// back right after a flush, so they do not press for one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    pub bytes: usize,
    pub pressing: usize,
}

/// Rows press as if they were half as many again: while they are flushed, sorted and encoded, others come in.
fn pressing_rows(bytes: usize) -> usize {
    bytes + bytes / 2
}

fn append_rows(
    head: &RwLock<RowsHead>,
    append: impl FnOnce(&mut RowsHead) -> Result<(), ArrowError>,
) -> Result<Taken, ArrowError> {
    let mut head = head.write();
    let before = head.bytes();
    append(&mut head)?;
    let bytes = head.bytes() - before;
    Ok(Taken { bytes, pressing: pressing_rows(bytes) })
}

pub type Tenants = HashMap<Tenant, Arc<Memtables>>;

/// Memtables that are written to no more: everything before a WAL position.
pub struct Sealed {
    pub tenants: Tenants,
    /// The WAL position of the first record that is not in them.
    pub covered: u64,
}

impl Memtables {
    /// Returns the bytes that it takes.
    pub fn append(&self, rows: &Rows, active: &Mutex<Active>, now_ms: i64) -> Result<Taken, ArrowError> {
        match rows {
            Rows::Metrics(batch) => {
                let mut head = self.metrics.write();
                let before = (head.bytes(), head.pressing());
                head.append(batch, |labels| active.lock().took_up(labels, now_ms));
                Ok(Taken { bytes: head.bytes() - before.0, pressing: head.pressing() - before.1 })
            }
            Rows::Logs(stored) => append_rows(&self.logs, |head| head.append(stored)),
            Rows::Spans(stored) => append_rows(&self.spans, |head| head.append_new(stored)),
        }
    }

    /// What comes back when these are gone.
    pub fn freed(&self) -> Taken {
        let (metrics, rows) = (self.metrics.read(), self.logs.read().bytes() + self.spans.read().bytes());
        Taken { bytes: metrics.bytes_freed() + rows, pressing: metrics.pressing() + pressing_rows(rows) }
    }

    /// Empty ones that know the series of these, where that is of use.
    pub fn next(&self, registry_bytes_max: usize) -> Option<Memtables> {
        let metrics = RwLock::new(self.metrics.read().next(registry_bytes_max)?);
        Some(Memtables { metrics, ..Memtables::default() })
    }

    pub fn is_empty(&self) -> bool {
        self.metrics.read().is_empty() && self.logs.read().is_empty() && self.spans.read().is_empty()
    }
}

/// What metrics are, by tenant and name, and which of it the catalog does not have yet.
#[derive(Default)]
pub struct MetadataBook {
    known: HashMap<(Tenant, String), Metadata>,
    unsaved: Vec<(Tenant, Metadata)>,
}

/// Names of which something is kept; past it new ones are not, which costs type hints and nothing else.
const METADATA_MAX: usize = 100_000;

impl MetadataBook {
    pub fn load(rows: Vec<(Tenant, Metadata)>) -> MetadataBook {
        let known = rows.into_iter().map(|(tenant, m)| ((tenant, m.name.clone()), m)).collect();
        MetadataBook { known, unsaved: vec![] }
    }

    pub fn add(&mut self, tenant: &Tenant, metadata: &[Metadata]) {
        for one in metadata {
            let key = (tenant.clone(), one.name.clone());
            let is_new = self.known.get(&key).is_none_or(|known| known != one);
            if is_new && (self.known.len() < METADATA_MAX || self.known.contains_key(&key)) {
                self.known.insert(key, one.clone());
                self.unsaved.push((tenant.clone(), one.clone()));
            }
        }
    }

    pub fn of(&self, tenant: &Tenant) -> Vec<Metadata> {
        let mut found: Vec<Metadata> = self
            .known
            .iter()
            .filter(|((of, _), _)| of == tenant)
            .map(|(_, metadata)| metadata.clone())
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    pub fn unsaved(&self) -> Vec<(Tenant, Metadata)> {
        self.unsaved.clone()
    }

    pub fn saved(&mut self, count: usize) {
        self.unsaved.drain(..count.min(self.unsaved.len()));
    }
}
