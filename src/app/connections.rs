//! Connections to a listener, over TCP or TLS, as a server takes them. One whose other end takes nothing of what it is
//! sent for a minute ends, and with it whatever was held for its answer.

use super::tls::Tls;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tracing::debug;

/// Between two writes; what nginx allows (`send_timeout`).
const STALL_MAX: Duration = Duration::from_secs(60);

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Handshakes that are under way; whoever comes then waits in the listener's own queue.
const HANDSHAKES_MAX: usize = 256;

pub type Connection = Pin<Box<TimeoutStream<Either<TcpStream, TlsStream<TcpStream>>>>>;

/// What a listener accepts.
pub struct Connections {
    address: SocketAddr,
    from: From,
    stall_max: Duration,
}

enum From {
    Tcp(TcpListener),
    /// Those whose handshake is done: nobody waits for another's.
    Tls(mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>),
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Connections>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

impl Connections {
    /// With `tls`, nothing else is spoken.
    pub fn of(listener: TcpListener, tls: Option<Arc<Tls>>) -> io::Result<Connections> {
        let address = listener.local_addr()?;
        let from = match tls {
            None => From::Tcp(listener),
            Some(tls) => {
                let (shaken, taken) = mpsc::channel(1);
                tokio::spawn(shake(listener, tls, shaken));
                From::Tls(taken)
            }
        };
        Ok(Connections { address, from, stall_max: STALL_MAX })
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, peer) = match &mut self.from {
            From::Tcp(listener) => {
                let (stream, peer) = Listener::accept(listener).await;
                (Either::Left(stream), peer)
            }
            From::Tls(taken) => match taken.recv().await {
                Some((stream, peer)) => (Either::Right(stream), peer),
                // Only with the runtime.
                None => std::future::pending().await,
            },
        };
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.stall_max));
        (Box::pin(stream), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Ends when nobody takes connections any more.
async fn shake(
    mut listener: TcpListener,
    tls: Arc<Tls>,
    shaken: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Ok(place) = places.clone().acquire_owned().await {
        let (stream, peer) = tokio::select! {
            accepted = Listener::accept(&mut listener) => accepted,
            () = shaken.closed() => return,
        };
        let (acceptor, shaken) = (tls.acceptor(), shaken.clone());
        tokio::spawn(async move {
            let _place = place;
            match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => _ = shaken.send((stream, peer)).await,
                Ok(Err(wrong)) => debug!(%peer, error = %wrong, "no TLS handshake"),
                Err(_) => debug!(%peer, "no TLS handshake within {} s", HANDSHAKE_MAX.as_secs()),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn one_that_takes_nothing_ends_and_one_that_takes_goes_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut connections = Connections::of(listener, None).unwrap();
        let address = connections.local_addr().unwrap();
        let piece = vec![0; 1 << 20];

        connections.stall_max = Duration::from_millis(20);
        let _takes_nothing = TcpStream::connect(address).await.unwrap();
        let (mut stream, _) = Listener::accept(&mut connections).await;
        let ended = loop {
            if let Err(wrong) = stream.write_all(&piece).await {
                break wrong;
            }
        };
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);

        connections.stall_max = STALL_MAX;
        let mut takes = TcpStream::connect(address).await.unwrap();
        let (mut stream, _) = Listener::accept(&mut connections).await;
        let taken = tokio::spawn(async move {
            let mut taken = vec![];
            takes.read_to_end(&mut taken).await.map(|_| taken.len())
        });
        for _ in 0..16 {
            stream.write_all(&piece).await.unwrap();
        }
        drop(stream);
        assert_eq!(taken.await.unwrap().unwrap(), 16 << 20);
    }
}
