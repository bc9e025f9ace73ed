use super::*;
use crate::tests::queued_lines;
use model::{LogRecord, LogStream};

#[tokio::test]
async fn what_was_sent_is_not_read_again_to_find_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(dir.path().to_owned(), 64 << 20).unwrap();
    let push = async |body: &str| {
        let record = LogRecord { body: body.into(), ..LogRecord::default() };
        let stream = LogStream { records: vec![record], ..LogStream::default() };
        queue.push_logs(&Tenant::default(), &LogBatch { streams: vec![stream] }, &[]).await.unwrap();
    };
    push("one").await;
    assert_eq!(queued_lines(&queue), ["one"]);
    queue.mark_sent(1);
    // The log goes on in the file that it has open. Nobody can find it by its name and begin anew.
    let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    names
        .filter(|path| path.extension().is_some_and(|end| end == "wal"))
        .for_each(|path| std::fs::remove_file(path).unwrap());
    push("two").await;
    push("three").await;
    assert_eq!(queued_lines(&queue), ["two", "three"]);
}

/// Lines as batches of their own.
async fn push(queue: &Queue, lines: &[&str]) {
    for line in lines {
        let record = LogRecord { body: (*line).into(), ..LogRecord::default() };
        let stream = LogStream { records: vec![record], ..LogStream::default() };
        queue.push_logs(&Tenant::default(), &LogBatch { streams: vec![stream] }, &[]).await.unwrap();
    }
}

/// The log's writer lets go of its lock a moment after the queue is dropped.
async fn reopened(dir: &Path) -> Queue {
    reopened_with(dir, 64 << 20).await
}

async fn reopened_with(dir: &Path, bytes_max: u64) -> Queue {
    let open = || Queue::open(dir.to_owned(), bytes_max);
    for _ in 0..1_000 {
        match open() {
            Ok(queue) => return queue,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
    open().unwrap()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "wal")).collect()
}

/// Whoever makes room on a disk by hand deletes the largest files.
#[tokio::test]
async fn a_queue_whose_files_were_deleted_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(dir.path().to_owned(), 64 << 20).unwrap();
    push(&queue, &["one", "two", "three"]).await;
    queue.mark_sent(3);
    queue.save_sent().unwrap();
    let sender = queue.sender;
    queue.close().unwrap();
    drop(queue);
    for segment in segments(dir.path()) {
        std::fs::remove_file(segment).unwrap();
    }
    let queue = reopened(dir.path()).await;
    push(&queue, &["four"]).await;
    assert_eq!(queued_lines(&queue), ["four"]);
    assert_ne!(queue.sender, sender, "ingest knows records one to three of that one");
    drop(queue);
    assert_eq!(queued_lines(&reopened(dir.path()).await), ["four"], "it is not taken for one that was sent");
}

/// Ingest takes what has the number of another for a copy of it.
#[tokio::test]
async fn no_number_is_given_twice_by_one_sender() {
    let dir = tempfile::tempdir().unwrap();
    // Each line is larger than a segment.
    const BYTES_MAX: u64 = 16 << 10;
    let line = |n: u32| -> String {
        (0..8_000).map(|_| rand::random_range('a'..='z')).chain(n.to_string().chars()).collect()
    };
    let queue = Queue::open(dir.path().to_owned(), BYTES_MAX).unwrap();
    push(&queue, &[&line(1), &line(2)]).await;
    let ids = |queue: &Queue| -> Vec<(Seq, u128)> {
        queue.next_unsent(1 << 20).unwrap().iter().map(|record| (record.seq, record.sender)).collect()
    };
    let before = ids(&queue);
    assert_eq!(before.len(), 2);
    // Both are sent, and the agent is killed before it writes that down. Then the newest file is deleted.
    drop(queue);
    std::fs::remove_file(segments(dir.path()).into_iter().max().unwrap()).unwrap();
    let queue = reopened_with(dir.path(), BYTES_MAX).await;
    push(&queue, &[&line(3)]).await;
    let after = ids(&queue);
    assert_eq!(after[0], before[0], "what was sent is known by its name");
    assert_eq!(after[1].0, before[1].0);
    assert_ne!(after[1].1, before[1].1, "and the new one by its own");
}

#[tokio::test]
async fn a_sender_goes_on_after_a_stop_and_not_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(dir.path().to_owned(), 64 << 20).unwrap();
    push(&queue, &["one"]).await;
    let sender = queue.sender;
    queue.close().unwrap();
    drop(queue);
    let queue = reopened(dir.path()).await;
    assert_eq!(queue.sender, sender);
    push(&queue, &["two"]).await;
    drop(queue);
    let queue = reopened(dir.path()).await;
    assert_ne!(queue.sender, sender);
    let senders: Vec<u128> = queue.next_unsent(1 << 20).unwrap().iter().map(|record| record.sender).collect();
    assert_eq!(senders, [sender; 2], "each record keeps the one that it was made by");
    // What was closed is not as it was then.
    let sender = queue.sender;
    queue.close().unwrap();
    push(&queue, &["three"]).await;
    drop(queue);
    let queue = reopened(dir.path()).await;
    assert_ne!(queue.sender, sender);
    // Another machine was made of this one's disk.
    let sender = queue.sender;
    queue.close().unwrap();
    drop(queue);
    let closed = dir.path().join(CLOSED);
    let text = std::fs::read_to_string(&closed).unwrap();
    std::fs::write(&closed, format!("{text} elsewhere")).unwrap();
    assert_ne!(reopened(dir.path()).await.sender, sender);
}

#[tokio::test]
async fn zeros_of_a_power_loss_and_a_torn_record_lose_nothing_before_them() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(dir.path().to_owned(), 64 << 20).unwrap();
    push(&queue, &["one", "two"]).await;
    let sender = queue.sender;
    drop(queue);
    let path = segments(dir.path()).remove(0);
    let whole = std::fs::read(&path).unwrap();
    let first = 16 + u32::from_le_bytes(whole[..4].try_into().unwrap()) as usize;
    let (zeros, torn) = ([0; 4_096], &whole[first..whole.len() - 9]);
    let both = [torn, &zeros[..]].concat();
    for end in [&zeros[..], torn, &both[..]] {
        std::fs::write(&path, [&whole[..first], end].concat()).unwrap();
        let queue = reopened(dir.path()).await;
        push(&queue, &["three"]).await;
        assert_eq!(queued_lines(&queue), ["one", "three"]);
        assert!(
            queue.readings().iter().all(|reading| reading.name != "binnacle_agent_dropped_records_total")
        );
        let senders: Vec<u128> =
            queue.next_unsent(1 << 20).unwrap().iter().map(|record| record.sender).collect();
        assert!(senders[0] == sender && senders[1] != sender, "the number of what was lost is given again");
    }
    // A segment of nothing else: its name keeps the number.
    std::fs::write(dir.path().join("00000000000000000009.wal"), zeros).unwrap();
    let queue = reopened(dir.path()).await;
    push(&queue, &["nine"]).await;
    assert_eq!(queue.newest(), 9);
}

/// Whoever cannot be taken whatever goes for it makes nothing go.
#[tokio::test]
async fn a_batch_larger_than_the_queue_is_refused_and_drops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(dir.path().to_owned(), 64 << 10).unwrap();
    let line = |letters: usize| -> String { (0..letters).map(|_| rand::random_range('a'..='z')).collect() };
    push(&queue, &["one"]).await;
    let record = LogRecord { body: line(200_000), ..LogRecord::default() };
    let stream = LogStream { records: vec![record], ..LogStream::default() };
    let large = LogBatch { streams: vec![stream] };
    let wrong = queue.push_logs(&Tenant::default(), &large, &[]).await.unwrap_err();
    assert!(wrong.is_for_good() && wrong.to_string().contains("the whole queue may have 65536"), "{wrong}");
    assert_eq!(queued_lines(&queue), ["one"]);
    // One that fits, where all there is is in the segment that is written to.
    let half = line(70_000);
    push(&queue, &[&half, &half]).await;
    assert_eq!(queued_lines(&queue), [half]);
}

/// A disk that takes so many writes.
struct FewWrites(u32);

impl Disk for FewWrites {
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
        if self.0 == 0 {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.0 -= 1;
        RealDisk.write(file, bytes)
    }

    fn sync(&mut self, file: &File) -> std::io::Result<()> {
        RealDisk.sync(file)
    }
}

#[tokio::test]
async fn of_a_batch_in_pieces_those_that_are_not_queued_are_counted_as_lost() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open_on(dir.path().to_owned(), 64 << 20, Box::new(FewWrites(1))).unwrap();
    let mut batch = MetricBatch::default();
    for n in 0..9_000 {
        let n = n.to_string();
        batch.begin_series(&mut [("__name__", "many"), ("n", n.as_str())]).unwrap();
        batch.push(1_000, 1.0);
    }
    queue.keep_metrics(&Tenant::default(), &batch).await;
    let readings = queue.readings();
    let lost = readings.iter().find(|reading| reading.name == "binnacle_agent_dropped_items_total");
    assert_eq!((queue.newest(), lost.unwrap().value), (1, 5_000.0));
}

#[test]
fn what_is_set_aside_is_bounded_and_its_oldest_is_told_when_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Aside::open(dir.path().join("aside"), 1_000).unwrap();
    let aside = open();
    let record = |seq, bytes| Record {
        seq,
        sender: 7,
        kind: b'l',
        tenant: "team".into(),
        positions: vec![],
        contents: Contents::default(),
        body: vec![1; bytes],
    };
    aside.put(&record(5, 600)).unwrap();
    assert_eq!(aside.one_too_many(), None);
    aside.put(&record(6, 5_000)).unwrap();
    assert_eq!(aside.one_too_many(), Some((5, 7)));
    aside.remove((5, 7)).unwrap();
    assert_eq!(aside.one_too_many(), None, "one alone may be large");
    // As after a kill, in the midst of writing another.
    std::fs::write(dir.path().join("aside/half.next"), "").unwrap();
    let aside = open();
    assert_eq!(aside.keys(), [(6, 7)]);
    assert!(aside.has(&record(6, 0)) && !aside.has(&Record { sender: 8, ..record(6, 0) }));
    let sent = aside.read((6, 7)).unwrap().unwrap();
    assert_eq!((sent.seq, sent.sender, sent.body.len()), (1, 7 ^ 6, 5_000));
    for seq in 7..72 {
        aside.put(&record(seq, 0)).unwrap();
    }
    assert_eq!(aside.one_too_many(), Some((6, 7)), "and they are few");
}

#[tokio::test]
async fn a_damaged_record_is_counted_once_and_the_others_are_sent() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(dir.path().to_owned(), 64 << 20).unwrap();
    push(&queue, &["one", "two", "three"]).await;
    drop(queue);
    let path = segments(dir.path()).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    // A header is of 16 bytes and begins with the length of what follows it.
    let first = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    bytes[16 + first + 16] ^= 0xff;
    std::fs::write(&path, bytes).unwrap();
    let queue = reopened(dir.path()).await;
    let damaged = || {
        let readings = queue.readings();
        let is_it = |reading: &&Reading| reading.labels.contains(&("reason", "damaged".to_owned()));
        readings.iter().find(is_it).map(|reading| reading.value)
    };
    // Ingest may be away: what is not sent is read again.
    for _ in 0..2 {
        assert_eq!(queued_lines(&queue), ["one", "three"]);
        assert_eq!(damaged(), Some(1.0));
    }
}

/// A disk that is full: what was sent cannot be written down, and makes the room that is wanted.
#[tokio::test]
async fn what_was_sent_is_given_back_though_nothing_can_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(dir.path().to_owned(), 64 << 10).unwrap();
    let line = || -> String { (0..1_000).map(|_| rand::random_range('a'..='z')).collect() };
    for _ in 0..40 {
        push(&queue, &[line().as_str()]).await;
    }
    queue.positions_are_saved();
    queue.mark_sent(35);
    std::fs::create_dir(dir.path().join("sent.next")).unwrap();
    let before = queue.wal.bytes();
    assert!(queue.save_sent().is_err());
    assert!(queue.wal.bytes() < before);
    let first = queue.wal.first_seq();
    assert!(1 < first && first <= 36, "{first}");
    drop(queue);
    let queue = reopened(dir.path()).await;
    assert_eq!((queue.waiting(), queue.next_unsent(1).unwrap()[0].seq), (41 - first, first));
}

#[tokio::test]
async fn of_records_that_are_read_those_that_were_dropped_since_are_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(dir.path().to_owned(), 64 << 10).unwrap();
    let line = || -> String { (0..1_000).map(|_| rand::random_range('a'..='z')).collect() };
    let fill = async || {
        let before = queue.wal.first_seq();
        while queue.wal.first_seq() == before {
            push(&queue, &[line().as_str()]).await;
        }
    };
    let dropped = || {
        let readings = queue.readings();
        let of_full = |reading: &&Reading| reading.labels.contains(&("reason", "queue_full".to_owned()));
        let is_it = |reading: &&Reading| reading.name == "binnacle_agent_dropped_records_total";
        readings.iter().filter(is_it).find(of_full).map_or(0.0, |reading| reading.value)
    };
    push(&queue, &[line().as_str(), line().as_str()]).await;
    let read = queue.next_unsent(1 << 20).unwrap();
    assert!(queue.begin_sending(read[0].seq));
    fill().await;
    let first = queue.wal.first_seq();
    assert_eq!(dropped(), (first - 2) as f64, "all but the one that is being sent");
    assert!(!queue.begin_sending(read[1].seq));
    assert!(queue.begin_sending(read[0].seq), "it waits in memory");
    // One segment goes at a time.
    assert!(first < queue.newest() / 2, "{first} of {}", queue.newest());
    queue.mark_sent(read[0].seq);
    assert_eq!(queue.waiting(), queue.newest() + 1 - first);
    // It ends before it could be sent, and nobody has it any more.
    let next = queue.next_unsent(1).unwrap();
    assert!(queue.begin_sending(next[0].seq));
    fill().await;
    let before = dropped();
    queue.end_sending(&next[0]);
    assert_eq!(dropped(), before + 1.0);
    assert_eq!(dropped(), (queue.wal.first_seq() - 2) as f64);
}
