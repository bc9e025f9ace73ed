//! Syslog over TCP and UDP on one address, and over TLS (RFC 5425) on another.
//!
//! Syslog has no answers, so a sender over TCP is told to wait by not being read until its messages are stored. A
//! datagram that cannot be stored is counted and lost, as syslog over UDP promises no more.

use crate::doors::{Caller, Doors, Refusal};
use chrono::Local;
use model::{Batch, Clock, LogBatch, SystemClock, Tenant};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;
use wire::Rejected;
use wire::syslog::{self, Arrival, Frame, Framer};

#[derive(Clone, Debug)]
pub struct Limits {
    /// Past it a connection is closed at once. Each holds two messages at most, so this is 128 MiB.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections_max: 1_024 }
    }
}

/// Read from a connection at one time, and stored together.
const READ_BYTES: usize = 64 << 10;

/// Datagrams that are stored together.
const DATAGRAMS_MAX: usize = 1_000;

const DATAGRAM_BYTES_MAX: usize = 64 << 10;

/// A client that has not shown who it is by then is not one.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Until a store that could not take a batch is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// Runs until `stop`, and returns when what was read is stored.
pub async fn serve(
    (tcp, udp): (TcpListener, UdpSocket),
    doors: Arc<Doors>,
    tenant: Tenant,
    limits: Limits,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let syslog = Syslog { doors, tenant, stop, tls: None };
    let (streams, datagrams) = tokio::join!(syslog.accept(&tcp, limits), syslog.receive(&udp));
    streams.and(datagrams)
}

/// What greets a sender over TLS, for one connection.
pub type Greeting = Arc<dyn Fn() -> TlsAcceptor + Send + Sync>;

/// As [`serve`], over TLS alone.
pub async fn serve_tls(
    (tcp, tls): (TcpListener, Greeting),
    doors: Arc<Doors>,
    tenant: Tenant,
    limits: Limits,
    stop: CancellationToken,
) -> std::io::Result<()> {
    Syslog { doors, tenant, stop, tls: Some(tls) }.accept(&tcp, limits).await
}

#[derive(Clone)]
struct Syslog {
    doors: Arc<Doors>,
    tenant: Tenant,
    stop: CancellationToken,
    tls: Option<Greeting>,
}

impl Syslog {
    async fn accept(&self, listener: &TcpListener, limits: Limits) -> std::io::Result<()> {
        let (room, connections) = (Arc::new(Semaphore::new(limits.connections_max)), TaskTracker::new());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(wrong) => {
                    // No file descriptor left, most likely: others end in time.
                    warn!(error = %wrong, "a syslog connection could not be accepted");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            let Ok(place) = room.clone().try_acquire_owned() else {
                let why = format!("{} syslog connections are open", limits.connections_max);
                self.doors.count_refusal(&Refusal::new(axum::http::StatusCode::TOO_MANY_REQUESTS, why));
                continue;
            };
            let syslog = self.clone();
            connections.spawn(async move {
                syslog.greet(stream, peer).await;
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
        Ok(())
    }

    async fn greet(&self, stream: TcpStream, peer: SocketAddr) {
        let Some(tls) = &self.tls else { return self.read(stream, peer).await };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(HANDSHAKE_MAX, tls().accept(stream)) => shaken,
            () = self.stop.cancelled() => return,
        };
        let why = match shaken {
            Ok(Ok(stream)) => return self.read(stream, peer).await,
            Ok(Err(wrong)) => wrong.to_string(),
            Err(_) => format!("no TLS handshake within {} s", HANDSHAKE_MAX.as_secs()),
        };
        warn!(%peer, why, "a syslog connection is not taken");
        self.doors.count_refusal(&Refusal::new(axum::http::StatusCode::BAD_REQUEST, why));
    }

    async fn read(&self, mut stream: impl AsyncRead + Unpin, peer: SocketAddr) {
        let (mut framer, mut piece) = (Framer::default(), vec![0; READ_BYTES]);
        let peer = peer.ip().to_canonical().to_string();
        loop {
            let read = tokio::select! {
                read = stream.read(&mut piece) => read,
                () = self.stop.cancelled() => Ok(0),
            };
            let length = read.unwrap_or(0);
            let mut frames = framer.feed(&piece[..length]);
            if length == 0 {
                frames.extend(framer.finish());
            }
            self.store(&frames, &peer).await;
            if length == 0 {
                return;
            }
        }
    }

    /// Returns when it is done, or when the process stops.
    async fn store(&self, frames: &[Frame], peer: &str) {
        if frames.is_empty() {
            return;
        }
        let batch = batch(frames, peer);
        while let Err(refusal) = self.write(batch.clone()).await {
            self.doors.count_refusal(&refusal);
            tokio::select! {
                () = tokio::time::sleep(refusal.retry_after.unwrap_or(RETRY)) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn receive(&self, socket: &UdpSocket) -> std::io::Result<()> {
        let mut piece = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let received = tokio::select! {
                received = socket.recv_from(&mut piece) => received,
                () = self.stop.cancelled() => return Ok(()),
            };
            let mut batches = LogBatch::default();
            let mut next = received;
            for _ in 0..DATAGRAMS_MAX {
                // An error here is an answer to something that was sent, and nothing is.
                let Ok((length, peer)) = next else { break };
                let frames: Vec<Frame> = syslog::datagram(&piece[..length]).into_iter().collect();
                let peer = peer.ip().to_canonical().to_string();
                batches.streams.extend(batch(&frames, &peer).streams);
                next = socket.try_recv_from(&mut piece);
            }
            if batches.streams.is_empty() {
                continue;
            }
            if let Err(refusal) = self.write(batches).await {
                self.doors.count_refusal(&refusal);
                warn!(why = refusal.why, "syslog datagrams are lost");
            }
        }
    }

    async fn write(&self, batch: LogBatch) -> Result<(), Refusal> {
        let caller = Caller { tenant: self.tenant.clone(), origin: None, peer: None };
        self.doors.write(caller, Batch::Logs(batch), Rejected::default()).await.map(|_| ())
    }
}

fn batch(frames: &[Frame], peer: &str) -> LogBatch {
    syslog::batch(frames, &Arrival { now_ns: SystemClock.now_ns(), peer, zone: Local })
}
