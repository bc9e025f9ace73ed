//! What the doors share: bounds, the sink behind them, and the count of what came through.

use crate::deltas::Book;
use crate::ids::Ids;
use crate::peers;
use crate::replicas::Tracker;
use axum::http::{HeaderMap, StatusCode};
use model::{
    Batch, Clock, Identify, Origin, Reading, Receipt, Refused, RejectReason, Rejection, Sink, SystemClock,
    Tenant, Write,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use wire::Rejected;
use wire::otlp::{self, ExportLogsServiceRequest};

/// Bounds of a request, and of all requests together.
#[derive(Clone, Debug)]
pub struct Config {
    /// Of a body as it is sent.
    pub body_bytes_max: usize,
    /// Of a body when decompressed.
    pub decompressed_bytes_max: usize,
    /// Bodies being read and decoded at one time, as they are sent; past it senders are asked to wait.
    pub in_flight_bytes_max: usize,
    /// What becomes of the names and resources of OTLP metrics.
    pub otlp: wire::otlp::Translation,
    /// Of logs by Loki push and OTLP: labels that `service_name` is taken from where a stream has none; with none it is not added.
    pub service_name_from: Vec<String>,
    /// Sums of delta points, of one tenant.
    pub delta_bytes_max: usize,
    pub replicas: crate::replicas::Config,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            body_bytes_max: 32 << 20,
            decompressed_bytes_max: 128 << 20,
            in_flight_bytes_max: 128 << 20,
            otlp: wire::otlp::Translation::default(),
            service_name_from: wire::loki::SERVICE_NAME_LABELS.map(str::to_owned).into(),
            delta_bytes_max: 64 << 20,
            replicas: crate::replicas::Config::default(),
        }
    }
}

/// The doors of one process.
pub struct Doors {
    pub(crate) config: Config,
    sink: Arc<dyn Sink>,
    pub(crate) identify: Option<Arc<dyn Identify>>,
    /// In KiB.
    in_flight: Semaphore,
    accepted: [AtomicU64; 3],
    rejected: Mutex<BTreeMap<RejectReason, u64>>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    /// Of documents that came with one.
    pub(crate) ids: Mutex<Ids>,
    pub(crate) deltas: Book,
    /// Of spans.
    pub(crate) resources: wire::otlp::Resources,
    replicas: Tracker,
}

const SIGNALS: [&str; 3] = ["metrics", "logs", "traces"];

/// Why a request is not taken, before any protocol's own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub status: StatusCode,
    pub why: String,
    pub retry_after: Option<Duration>,
}

impl Refusal {
    pub fn new(status: StatusCode, why: impl Into<String>) -> Refusal {
        Refusal { status, why: why.into(), retry_after: None }
    }

    fn later(status: StatusCode, why: String, after: Duration) -> Refusal {
        Refusal { status, why, retry_after: Some(after) }
    }
}

impl From<wire::Malformed> for Refusal {
    fn from(wrong: wire::Malformed) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, wrong.0)
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        let why = refused.to_string();
        match refused {
            Refused::Busy { retry_after, .. } => {
                Refusal::later(StatusCode::TOO_MANY_REQUESTS, why, retry_after)
            }
            Refused::TooMuch(_) => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why),
            Refused::Broken(_) => {
                Refusal::later(StatusCode::SERVICE_UNAVAILABLE, why, Duration::from_secs(5))
            }
            Refused::Stopping => Refusal::later(StatusCode::SERVICE_UNAVAILABLE, why, Duration::from_secs(1)),
        }
    }
}

impl Doors {
    pub fn new(sink: Arc<dyn Sink>, config: Config) -> Doors {
        Doors {
            in_flight: Semaphore::new(config.in_flight_bytes_max >> 10),
            deltas: Book::new(config.delta_bytes_max),
            resources: wire::otlp::Resources::default(),
            replicas: Tracker::new(config.replicas.clone()),
            config,
            sink,
            identify: None,
            accepted: Default::default(),
            rejected: Mutex::default(),
            refused: Mutex::default(),
            ids: Mutex::default(),
        }
    }

    /// The same doors, whose senders are known by their address.
    pub fn identified_by(mut self, identify: Arc<dyn Identify>) -> Doors {
        self.identify = Some(identify);
        self
    }

    /// Room for a body of so many bytes, or the sender waits.
    pub(crate) fn admit(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Refusal> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX).max(1);
        self.in_flight.try_acquire_many(kib).map_err(|_| {
            let why = "too many requests are being read; try again in 1 s".to_owned();
            Refusal::later(StatusCode::TOO_MANY_REQUESTS, why, Duration::from_secs(1))
        })
    }

    pub(crate) async fn write_otlp_logs(
        &self,
        caller: Caller,
        mut request: ExportLogsServiceRequest,
    ) -> Result<Receipt, Refusal> {
        if let (Some(identify), Some(peer)) = (&self.identify, caller.peer) {
            peers::complete_logs(&**identify, peer, &mut request);
        }
        let decoded = otlp::logs(request, SystemClock.now_ns(), &self.config.service_name_from);
        self.write(caller, Batch::Logs(decoded.batch), decoded.rejected).await
    }

    /// Writes what was decoded. The receipt also has what decoding left out.
    pub(crate) async fn write(
        &self,
        caller: Caller,
        batch: Batch,
        mut left_out: Rejected,
    ) -> Result<Receipt, Refusal> {
        let mut batch = match batch {
            Batch::Metrics(batch) => {
                let now_ms = SystemClock.now_ms();
                Batch::Metrics(self.replicas.pass(&caller.tenant, batch, &mut left_out, now_ms).0)
            }
            other => other,
        };
        let signal = match &batch {
            Batch::Metrics(_) => 0,
            Batch::Logs(_) => 1,
            Batch::Spans(_) => 2,
        };
        if let (Some(identify), Some(peer)) = (&self.identify, caller.peer) {
            peers::complete(&**identify, peer, &mut batch);
        }
        let Caller { tenant, origin, .. } = caller;
        let mut receipt = self.sink.write(Write { tenant, batch, origin }).await?;
        for Rejection { reason, count, example, .. } in left_out.0 {
            receipt.reject_many(reason, count, || example);
        }
        self.accepted[signal].fetch_add(receipt.accepted, Ordering::Relaxed);
        let mut rejected = self.rejected.lock();
        receipt.rejected.iter().for_each(|row| *rejected.entry(row.reason).or_default() += row.count);
        Ok(receipt)
    }

    pub(crate) fn count_refusal(&self, refusal: &Refusal) {
        let reason = match refusal.status.as_u16() {
            400 => "malformed",
            413 => "too_large",
            415 => "unsupported_media_type",
            422 => "empty",
            429 => "busy",
            _ => "unavailable",
        };
        *self.refused.lock().entry(reason).or_default() += 1;
    }

    pub fn readings(&self) -> Vec<Reading> {
        let accepted = SIGNALS.iter().zip(&self.accepted).map(|(signal, count)| {
            let count = count.load(Ordering::Relaxed) as f64;
            Reading::counter("binnacle_ingest_accepted_total", "Samples, records and spans stored", count)
                .with("signal", *signal)
        });
        let rejected = self.rejected.lock().clone();
        let rejected = rejected.into_iter().map(|(reason, count)| {
            Reading::counter(
                "binnacle_ingest_rejected_total",
                "Samples, records and spans left out",
                count as f64,
            )
            .with("reason", reason.as_str())
        });
        let refused = self.refused.lock().clone();
        let refused = refused.into_iter().map(|(reason, count)| {
            Reading::counter(
                "binnacle_ingest_refused_requests_total",
                "Write requests of which nothing was taken",
                count as f64,
            )
            .with("reason", reason)
        });
        accepted
            .chain(rejected)
            .chain(refused)
            .chain(self.deltas.readings())
            .chain(self.replicas.readings())
            .collect()
    }
}

/// Who writes: tenant, and where it may send again, which batch this is.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    pub tenant: Tenant,
    pub origin: Option<Origin>,
    /// Where the listener tells it.
    pub peer: Option<IpAddr>,
}

impl Caller {
    pub fn of(headers: &HeaderMap) -> Result<Caller, Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let tenant = match headers.get("x-scope-orgid") {
            None => Tenant::default(),
            Some(name) => Tenant::new(name.to_str().unwrap_or("\u{fffd}"))
                .map_err(|wrong| Refusal::new(StatusCode::BAD_REQUEST, format!("X-Scope-OrgID: {wrong}")))?,
        };
        let origin = match text(wire::ORIGIN_HEADER) {
            None => None,
            Some(value) => Some(origin(value).ok_or_else(|| {
                let why = format!("X-Binnacle-Origin {value:?} is not <sender, hex>-<sequence>");
                Refusal::new(StatusCode::BAD_REQUEST, why)
            })?),
        };
        Ok(Caller { tenant, origin, peer: peers::of(headers) })
    }
}

fn origin(value: &str) -> Option<Origin> {
    let (sender, sequence) = value.split_once('-')?;
    Some(Origin { sender: u128::from_str_radix(sender, 16).ok()?, sequence: sequence.parse().ok()? })
}

/// The rows of a receipt as one sentence; `None` where nothing was left out.
pub(crate) fn told(receipt: &Receipt) -> Option<String> {
    let rows: Vec<String> = receipt
        .rejected
        .iter()
        .map(|row| format!("{} rejected ({}): {}", row.count, row.reason.as_str(), row.example))
        .collect();
    (!rows.is_empty()).then(|| rows.join("; "))
}
