//! What the agent does at what ingest, or who stands before it, answers; and at a disk that is full.

use super::*;
use crate::panics::Panics;
use std::fs::File;
use std::io;
use std::time::Instant;

/// One line of a container, as a batch.
fn batch(line: &str) -> LogBatch {
    let resource = [("k8s.namespace.name", "shop"), ("k8s.pod.name", "p"), ("k8s.container.name", "cart")];
    let resource = resource.map(|(name, value)| (name.to_owned(), value.into())).to_vec();
    let record = LogRecord { body: line.into(), ts_ns: 1, ..LogRecord::default() };
    LogBatch { streams: vec![LogStream { records: vec![record], resource, ..LogStream::default() }] }
}

/// Two lines sent, each a batch, to an ingest that says this first: what it took, and the queue.
async fn sent(answer: Answer) -> (Vec<String>, Arc<Queue>) {
    sent_after([answer]).await
}

async fn sent_after<const N: usize>(answers: [Answer; N]) -> (Vec<String>, Arc<Queue>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let queue = Arc::new(Queue::open(dir.path().to_owned(), 64 << 20).unwrap());
    for line in ["one", "two"] {
        queue.push_logs(&Tenant::default(), &batch(line), &[]).await.unwrap();
    }
    let ingest = Ingest::default();
    ingest.is_open.store(true, Ordering::SeqCst);
    ingest.answers.lock().extend(answers);
    let config = Config { ingest: ingest.serve().await, ..Config::default() };
    let stop = CancellationToken::new();
    let shipper = Arc::new(ship::Shipper::new(&config, queue.clone()).unwrap());
    let shipping = tokio::spawn(shipper.run(stop.clone()));
    until("all is sent", || queue.waiting() == 0).await;
    stop.cancel();
    shipping.await.unwrap();
    (ingest.logs(), queue)
}

/// Of one name and, where it is not empty, one reason.
fn count(queue: &Queue, name: &str, reason: &str) -> f64 {
    let readings = queue.readings();
    let is_it = |reading: &&Reading| {
        reading.name == name && (reason.is_empty() || reading.labels.contains(&("reason", reason.to_owned())))
    };
    readings.iter().filter(is_it).map(|reading| reading.value).sum()
}

const DROPPED: &str = "binnacle_agent_dropped_records_total";

#[tokio::test]
async fn ingest_that_is_busy_is_asked_again_when_it_says() {
    for status in [429, 503] {
        let begun = Instant::now();
        let (lines, queue) = sent((status, ("retry-after", "1"), vec![])).await;
        assert_eq!(lines, ["one", "two"], "{status}");
        // By itself it would have come again in half of that.
        assert!(begun.elapsed() >= Duration::from_secs(1), "{status}");
        assert_eq!(count(&queue, "binnacle_agent_send_failures_total", ""), 1.0);
        assert_eq!(count(&queue, DROPPED, ""), 0.0);
    }
}

#[tokio::test]
async fn a_page_of_a_proxy_refuses_nothing() {
    let page = b"<html>The plain HTTP request was sent to HTTPS port</html>".to_vec();
    let (lines, queue) = sent((400, ("content-type", "text/html"), page)).await;
    assert_eq!(lines, ["one", "two"]);
    assert_eq!(count(&queue, DROPPED, ""), 0.0);
}

/// As who signs people in answers those whom it does not know.
#[tokio::test]
async fn a_page_where_one_signs_in_takes_nothing() {
    let page = |kind| (200, ("content-type", kind), b"Sign in".to_vec());
    let led_there = (302, ("location", "/login"), vec![]);
    let at_once = sent(page("text/html; charset=utf-8")).await;
    for (lines, queue) in [at_once, sent_after([led_there, page("text/plain")]).await] {
        assert_eq!(lines, ["one", "two"]);
        assert_eq!(count(&queue, "binnacle_agent_send_failures_total", ""), 1.0);
        assert_eq!(count(&queue, DROPPED, ""), 0.0);
    }
}

/// Else a sender that fails comes again as fast as it can.
#[tokio::test]
async fn who_asks_for_no_wait_is_waited_for_all_the_same() {
    let begun = Instant::now();
    let (lines, _) = sent((503, ("retry-after", "0"), vec![])).await;
    assert_eq!(lines, ["one", "two"]);
    assert!(begun.elapsed() >= Duration::from_millis(250));
}

#[tokio::test]
async fn what_is_refused_for_good_is_counted_with_whose_it_was() {
    // A proxy that takes no body of this size will not take it later.
    for (status, kind) in [(400, "application/x-protobuf"), (413, "text/html")] {
        let (lines, queue) = sent((status, ("content-type", kind), vec![])).await;
        assert_eq!(lines, ["two"], "{status}");
        assert_eq!(count(&queue, DROPPED, "refused"), 1.0);
        let readings = queue.readings();
        let items: Vec<&Reading> =
            readings.iter().filter(|reading| reading.name == "binnacle_agent_dropped_items_total").collect();
        assert_eq!((items.len(), items[0].value), (1, 1.0));
        for label in [("signal", "logs"), ("source", "shop/p/cart"), ("reason", "refused")] {
            assert!(items[0].labels.contains(&(label.0, label.1.to_owned())), "{label:?}");
        }
    }
}

#[tokio::test]
async fn what_ingest_leaves_out_of_a_batch_is_counted() {
    let mut partial = vec![0x0a, 11, 0x08, 3, 0x12, 7];
    partial.extend_from_slice(b"too old");
    let (lines, queue) = sent((200, ("content-type", "application/x-protobuf"), partial)).await;
    assert_eq!(lines, ["one", "two"]);
    assert_eq!(count(&queue, "binnacle_agent_rejected_items_total", ""), 3.0);
    assert_eq!(count(&queue, DROPPED, ""), 0.0);
}

/// A disk without room, until somebody makes some.
#[derive(Clone, Default)]
struct FullDisk {
    has_room: Arc<AtomicBool>,
    asked: Arc<AtomicBool>,
}

impl wal::Disk for FullDisk {
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.asked.store(true, Ordering::SeqCst);
        if self.has_room.load(Ordering::SeqCst) {
            return wal::RealDisk.write(file, bytes);
        }
        // As a real one: what fits is written.
        wal::RealDisk.write(file, &bytes[..bytes.len() / 2])?;
        Err(io::ErrorKind::StorageFull.into())
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        wal::RealDisk.sync(file)
    }
}

#[tokio::test]
async fn a_full_disk_holds_log_lines_back_and_counts_what_nobody_sends_again() {
    let world = World::new().await;
    let disk = FullDisk::default();
    let dir = world.dir.path().join("queue");
    let queue = Arc::new(Queue::open_on(dir, 64 << 20, Box::new(disk.clone())).unwrap());
    let host = Arc::new(Host::of(&world.config.host_root));
    let shared = logs::Shared {
        host: host.clone(),
        pods: pods::Pods::default(),
        queue: queue.clone(),
        rules: Arc::default(),
        counts: Arc::default(),
        costs: Costs::default(),
        panics: Panics::default(),
    };
    std::fs::create_dir_all(&world.config.data_dir).unwrap();
    let tail = logs::tail(world.config.clone(), shared, Arc::new(SystemClock), world.stop.clone());
    let tailing = tokio::spawn(tail);
    until("a line that the disk refuses", || disk.asked.load(Ordering::SeqCst)).await;

    // A sender has it still, and is told to come again.
    let gateway = Gateway { queue: queue.clone(), host, pods: pods::Pods::default() };
    let write =
        || Write { tenant: Tenant::default(), batch: Batch::Logs(batch("of an application")), origin: None };
    let refused = gateway.write(write()).await.unwrap_err();
    assert!(matches!(&refused, model::Refused::Broken(why) if why.contains("storage")), "{refused}");
    assert_eq!(count(&queue, DROPPED, ""), 0.0);

    let mut metrics = MetricBatch::default();
    metrics.begin_series(&mut [("__name__", "node_load1")]).unwrap();
    metrics.push(1_000, 5.0);
    queue.keep_metrics(&Tenant::default(), &metrics).await;
    let of_agent = crate::queue::packed_logs(&Tenant::default(), &batch("of the agent")).unwrap();
    queue.keep_packed(of_agent).await;
    assert_eq!(count(&queue, DROPPED, "disk"), 2.0);
    assert_eq!(count(&queue, "binnacle_agent_dropped_items_total", "disk"), 2.0);

    world.log("two\n");
    disk.has_room.store(true, Ordering::SeqCst);
    until("both lines of the file", || queued_lines(&queue).len() >= 2).await;
    gateway.write(write()).await.unwrap();
    world.stop.cancel();
    tailing.await.unwrap();
    assert_eq!(queued_lines(&queue), ["one", "two", "of an application"]);
}

/// Fewer refusals are enough, and what is set aside is tried whenever something is taken.
async fn hasty(ingest: &Ingest, queue: &Arc<Queue>, stop: &CancellationToken) -> JoinHandle<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config { ingest: ingest.serve().await, ..Config::default() };
    let mut shipper = ship::Shipper::new(&config, queue.clone()).unwrap();
    shipper.patience = ship::Patience { refusals_max: 2, again_min: Duration::ZERO };
    tokio::spawn(Arc::new(shipper).run(stop.clone()))
}

fn aside(queue: &Queue) -> f64 {
    count(queue, "binnacle_agent_set_aside_records", "")
}

#[tokio::test]
async fn a_batch_that_ingest_fails_at_holds_up_none_and_comes_once_it_can_be_taken() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Arc::new(Queue::open(dir.path().to_owned(), 64 << 20).unwrap());
    let push = async |line: &str| queue.push_logs(&Tenant::default(), &batch(line), &[]).await.unwrap();
    for line in ["one", "poison", "three"] {
        push(line).await;
    }
    let (ingest, stop) = (Ingest::default(), CancellationToken::new());
    ingest.is_open.store(true, Ordering::SeqCst);
    *ingest.poison.lock() = Some("poison");
    let shipping = hasty(&ingest, &queue, &stop).await;
    until("the others are sent", || queue.waiting() == 0).await;
    assert_eq!(ingest.logs(), ["one", "three"]);
    assert_eq!((aside(&queue), count(&queue, DROPPED, "")), (1.0, 0.0));
    *ingest.poison.lock() = None;
    push("four").await;
    until("what was set aside", || aside(&queue) == 0.0).await;
    stop.cancel();
    shipping.await.unwrap();
    assert_eq!(ingest.logs(), ["one", "three", "four", "poison"]);
    let origins: BTreeSet<String> = ingest.sent.lock().iter().map(|(_, origin, _)| origin.clone()).collect();
    assert_eq!(origins.len(), 4, "each has a name of its own");
    let senders: BTreeSet<&str> = origins.iter().map(|origin| origin.split_once('-').unwrap().0).collect();
    assert_eq!(senders.len(), 2, "by its own number it would be a copy of what came before it");
}

/// It is not the batch's fault then, and not all of them shall change their order.
#[tokio::test]
async fn of_an_ingest_that_fails_at_everything_one_batch_is_set_aside_and_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Arc::new(Queue::open(dir.path().to_owned(), 64 << 20).unwrap());
    for line in ["one", "two", "three"] {
        queue.push_logs(&Tenant::default(), &batch(line), &[]).await.unwrap();
    }
    let (ingest, stop) = (Ingest::default(), CancellationToken::new());
    let shipping = hasty(&ingest, &queue, &stop).await;
    until("two of each", || count(&queue, "binnacle_agent_send_failures_total", "") >= 4.0).await;
    assert_eq!((aside(&queue), queue.waiting()), (1.0, 2));
    ingest.is_open.store(true, Ordering::SeqCst);
    until("all are sent", || queue.waiting() == 0 && aside(&queue) == 0.0).await;
    stop.cancel();
    shipping.await.unwrap();
    assert_eq!(ingest.logs(), ["two", "one", "three"]);
}

/// One bad container writes into many batches, and each of them would hold up all others for ever.
#[tokio::test]
async fn a_run_of_batches_that_ingest_fails_at_holds_up_none_where_it_says_that_it_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Arc::new(Queue::open(dir.path().to_owned(), 64 << 20).unwrap());
    for line in ["one", "poison 1", "poison 2", "poison 3", "five"] {
        queue.push_logs(&Tenant::default(), &batch(line), &[]).await.unwrap();
    }
    let (ingest, stop) = (Ingest::default(), CancellationToken::new());
    ingest.is_open.store(true, Ordering::SeqCst);
    *ingest.poison.lock() = Some("poison");
    *ingest.readiness.lock() = Some(200);
    let shipping = hasty(&ingest, &queue, &stop).await;
    until("the others are sent", || queue.waiting() == 0).await;
    assert_eq!((ingest.logs(), aside(&queue)), (vec!["one".to_owned(), "five".to_owned()], 3.0));
    *ingest.poison.lock() = None;
    queue.push_logs(&Tenant::default(), &batch("six"), &[]).await.unwrap();
    until("what was set aside", || aside(&queue) == 0.0).await;
    stop.cancel();
    shipping.await.unwrap();
    assert_eq!(ingest.logs(), ["one", "five", "six", "poison 1", "poison 2", "poison 3"]);
    assert_eq!(count(&queue, DROPPED, ""), 0.0);
}

/// As one whose disk is full says.
#[tokio::test]
async fn of_an_ingest_that_says_it_is_not_ready_no_batch_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Arc::new(Queue::open(dir.path().to_owned(), 64 << 20).unwrap());
    for line in ["one", "two", "three"] {
        queue.push_logs(&Tenant::default(), &batch(line), &[]).await.unwrap();
    }
    let (ingest, stop) = (Ingest::default(), CancellationToken::new());
    *ingest.readiness.lock() = Some(503);
    let shipping = hasty(&ingest, &queue, &stop).await;
    until("it is refused", || count(&queue, "binnacle_agent_send_failures_total", "") >= 4.0).await;
    assert_eq!((aside(&queue), queue.waiting()), (0.0, 3));
    ingest.is_open.store(true, Ordering::SeqCst);
    until("all are sent", || queue.waiting() == 0).await;
    stop.cancel();
    shipping.await.unwrap();
    assert_eq!(ingest.logs(), ["one", "two", "three"]);
}

/// What is sent while the queue drops it would be told as lost, and be there.
#[tokio::test]
async fn what_waits_to_be_sent_again_is_not_dropped_and_what_is_dropped_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Arc::new(Queue::open(dir.path().to_owned(), 64 << 10).unwrap());
    let (ingest, stop) = (Ingest::default(), CancellationToken::new());
    // Hard to compress, so that the bound is met.
    let line = |n: u32| -> String {
        let letters = (0..400).map(|_| rand::random_range('a'..='z'));
        n.to_string().chars().chain(" ".chars()).chain(letters).collect()
    };
    queue.push_logs(&Tenant::default(), &batch(&line(0)), &[]).await.unwrap();
    let shipping = hasty(&ingest, &queue, &stop).await;
    // The readiness is unknown, and one batch is set aside at the second refusal: it is the first but one that waits.
    until("the first is aside", || aside(&queue) == 1.0).await;
    queue.push_logs(&Tenant::default(), &batch(&line(1)), &[]).await.unwrap();
    until("the second is refused", || count(&queue, "binnacle_agent_send_failures_total", "") >= 3.0).await;
    for n in 2..400 {
        queue.push_logs(&Tenant::default(), &batch(&line(n)), &[]).await.unwrap();
    }
    let dropped = count(&queue, DROPPED, "queue_full");
    assert!(dropped > 0.0);
    ingest.is_open.store(true, Ordering::SeqCst);
    until("all are sent", || queue.waiting() == 0 && aside(&queue) == 0.0).await;
    stop.cancel();
    shipping.await.unwrap();
    let sent: BTreeSet<u32> =
        ingest.logs().iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(sent.len(), ingest.logs().len(), "once each");
    assert!(sent.contains(&0) && sent.contains(&1) && !sent.contains(&2));
    assert_eq!(400 - sent.len(), dropped as usize, "as many are missing as are told");
    assert_eq!(count(&queue, "binnacle_agent_dropped_items_total", "queue_full"), dropped);
}

/// Between setting it aside and writing down that it is, the agent may be killed.
#[tokio::test]
async fn a_batch_that_is_aside_and_in_the_queue_is_sent_once() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Arc::new(Queue::open(dir.path().to_owned(), 64 << 20).unwrap());
    for line in ["one", "two"] {
        queue.push_logs(&Tenant::default(), &batch(line), &[]).await.unwrap();
    }
    queue.set_aside(&queue.next_unsent(1).unwrap()[0], "a test").unwrap();
    drop(queue);
    let queue = Arc::new(loop {
        match Queue::open(dir.path().to_owned(), 64 << 20) {
            Ok(queue) => break queue,
            // The log's writer lets go of its lock a moment after the queue is dropped.
            Err(_) => tokio::task::yield_now().await,
        }
    });
    assert_eq!((aside(&queue), queue.waiting()), (1.0, 2));
    let (ingest, stop) = (Ingest::default(), CancellationToken::new());
    ingest.is_open.store(true, Ordering::SeqCst);
    let shipping = hasty(&ingest, &queue, &stop).await;
    until("both are sent", || queue.waiting() == 0 && aside(&queue) == 0.0).await;
    stop.cancel();
    shipping.await.unwrap();
    assert_eq!(ingest.logs(), ["two", "one"]);
}
