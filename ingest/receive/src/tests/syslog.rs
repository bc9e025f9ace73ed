use super::*;
use crate::syslog::{self, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

struct Listening {
    memory: Arc<Memory>,
    doors: Arc<Doors>,
    tcp: std::net::SocketAddr,
    udp: std::net::SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn listening(limits: Limits) -> Listening {
    let (memory, doors) = doors(Config::default());
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (at, stop) = ((tcp.local_addr().unwrap(), udp.local_addr().unwrap()), CancellationToken::new());
    let tenant = Tenant::new("net").unwrap();
    let task = tokio::spawn(syslog::serve((tcp, udp), doors.clone(), tenant, limits, stop.clone()));
    Listening { memory, doors, tcp: at.0, udp: at.1, stop, task }
}

/// Ends with the connection that it made: all of it is read by then.
async fn send(to: std::net::SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    stream.read_to_end(&mut vec![]).await.unwrap();
}

fn bodies(memory: &Memory) -> Vec<String> {
    let mut bodies = vec![];
    for write in memory.writes.lock().iter() {
        assert_eq!(write.tenant.as_str(), "net");
        let Batch::Logs(batch) = &write.batch else { panic!("{write:?}") };
        bodies.extend(
            batch.streams.iter().flat_map(|stream| &stream.records).map(|record| record.body.clone()),
        );
    }
    bodies
}

#[tokio::test]
async fn a_closed_connection_has_its_messages_stored() {
    let syslog = listening(Limits::default()).await;
    send(syslog.tcp, b"<13>one\n8 <13>two\n<13>three").await;
    assert_eq!(bodies(&syslog.memory), ["one", "two", "three"]);
    syslog.stop.cancel();
    syslog.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_datagram_is_a_message() {
    let syslog = listening(Limits::default()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(b"<13>one\ntwo\n", syslog.udp).await.unwrap();
    while syslog.memory.writes.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(bodies(&syslog.memory), ["one\ntwo"]);
}

#[tokio::test]
async fn a_connection_past_the_bound_is_closed_and_counted() {
    let syslog = listening(Limits { connections_max: 1 }).await;
    let mut first = TcpStream::connect(syslog.tcp).await.unwrap();
    send(syslog.tcp, b"").await;
    let refused = syslog.doors.readings().into_iter().find(|r| r.labels.contains(&("reason", "busy".into())));
    assert_eq!(refused.map(|reading| reading.value), Some(1.0));
    first.write_all(b"<13>still read\n").await.unwrap();
    first.shutdown().await.unwrap();
    first.read_to_end(&mut vec![]).await.unwrap();
    assert_eq!(bodies(&syslog.memory), ["still read"]);
}

#[tokio::test]
async fn a_store_that_refuses_keeps_a_connection_waiting() {
    let syslog = listening(Limits::default()).await;
    let busy = Refused::Busy { why: "full".into(), retry_after: Duration::from_millis(1) };
    *syslog.memory.refuse.lock() = Some(busy);
    let sending = send(syslog.tcp, b"<13>kept\n");
    let freeing = async {
        while syslog.doors.readings().iter().all(|r| !r.labels.contains(&("reason", "busy".into()))) {
            tokio::task::yield_now().await;
        }
        *syslog.memory.refuse.lock() = None;
    };
    let both = async { tokio::join!(sending, freeing) };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("the sender waits until it is stored");
    assert_eq!(bodies(&syslog.memory), ["kept"]);
}
