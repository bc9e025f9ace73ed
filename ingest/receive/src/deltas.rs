//! OTLP metrics on their way in. Points of delta temporality are added to the sums of their tenant, which are kept here:
//! a request changes them only once its points are stored, and requests of one tenant that have such points take turns.

use crate::doors::{Caller, Doors, Refusal};
use crate::peers;
use axum::http::StatusCode;
use model::{Batch, Clock, Reading, Receipt, SystemClock, Tenant};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use wire::otlp::{self, Deltas, ExportMetricsServiceRequest, Sums};

/// The sums of all tenants.
pub(crate) struct Book {
    by_tenant: Mutex<HashMap<Tenant, Arc<Page>>>,
    /// Of one tenant.
    bytes_max: usize,
    points: AtomicU64,
    gaps: AtomicU64,
}

/// The sums of one tenant, and how many they are.
struct Page {
    deltas: tokio::sync::Mutex<Deltas>,
    streams: AtomicUsize,
}

impl Book {
    pub fn new(bytes_max: usize) -> Book {
        Book {
            by_tenant: Mutex::default(),
            bytes_max,
            points: AtomicU64::default(),
            gaps: AtomicU64::default(),
        }
    }

    fn page(&self, tenant: &Tenant) -> Arc<Page> {
        let fresh = || {
            Arc::new(Page {
                deltas: tokio::sync::Mutex::new(Deltas::new(self.bytes_max)),
                streams: AtomicUsize::new(0),
            })
        };
        self.by_tenant.lock().entry(tenant.clone()).or_insert_with(fresh).clone()
    }

    /// Tenants that send no more are forgotten as their series are.
    fn forget(&self, now_ms: i64) {
        self.by_tenant.lock().retain(|_, page| {
            // One that is held elsewhere, locked or not, is in use.
            let Some(page) = Arc::get_mut(page) else { return true };
            let deltas = page.deltas.get_mut();
            deltas.forget(now_ms);
            *page.streams.get_mut() = deltas.streams();
            deltas.streams() > 0
        });
    }

    pub fn readings(&self) -> Vec<Reading> {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let streams: usize =
            self.by_tenant.lock().values().map(|page| page.streams.load(Ordering::Relaxed)).sum();
        vec![
            Reading::gauge(
                "binnacle_ingest_delta_series",
                "Series of delta temporality that are summed up",
                streams as f64,
            ),
            Reading::counter(
                "binnacle_ingest_delta_points_total",
                "Delta points that were added to a sum",
                count(&self.points),
            ),
            Reading::counter(
                "binnacle_ingest_delta_gaps_total",
                "Delta points before which others are missing",
                count(&self.gaps),
            ),
        ]
    }
}

impl Doors {
    pub(crate) async fn write_otlp_metrics(
        self: &Arc<Doors>,
        caller: Caller,
        mut request: ExportMetricsServiceRequest,
    ) -> Result<Receipt, Refusal> {
        if let (Some(identify), Some(peer)) = (&self.identify, caller.peer) {
            peers::complete_metrics(&**identify, peer, &mut request);
        }
        let translation = &self.config.otlp;
        if !otlp::has_deltas(&request) {
            let decoded = otlp::metrics(request, translation, &mut Sums::default());
            return self.write(caller, Batch::Metrics(decoded.batch), decoded.rejected).await;
        }
        // A task of its own: sums that are stored and not remembered, because their sender hung up between the two, would
        // make the next ones fall, which reads as a counter that began anew.
        let doors = self.clone();
        let written = tokio::spawn(async move { doors.sum_up(caller, request).await }).await;
        written.unwrap_or_else(|ended| {
            let why = format!("the write ended early: {ended}");
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, why))
        })
    }

    async fn sum_up(&self, caller: Caller, request: ExportMetricsServiceRequest) -> Result<Receipt, Refusal> {
        let book = &self.deltas;
        let now_ms = SystemClock.now_ms();
        book.forget(now_ms);
        let page = book.page(&caller.tenant);
        let mut deltas = page.deltas.lock().await;
        let mut sums = Sums::over(&deltas, now_ms);
        let decoded = otlp::metrics(request, &self.config.otlp, &mut sums);
        let (points, gaps, changes) = (sums.points, sums.gaps, sums.into_changes());
        let receipt = self.write(caller, Batch::Metrics(decoded.batch), decoded.rejected).await?;
        deltas.commit(changes, now_ms);
        page.streams.store(deltas.streams(), Ordering::Relaxed);
        book.points.fetch_add(points, Ordering::Relaxed);
        book.gaps.fetch_add(gaps, Ordering::Relaxed);
        Ok(receipt)
    }
}
