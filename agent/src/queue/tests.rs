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
    let open = || Queue::open(dir.to_owned(), 64 << 20);
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
    drop(queue);
    assert_eq!(reopened(dir.path()).await.sender, sender);
    for segment in segments(dir.path()) {
        std::fs::remove_file(segment).unwrap();
    }
    let queue = reopened(dir.path()).await;
    push(&queue, &["four"]).await;
    assert_eq!(queued_lines(&queue), ["four"]);
    assert_ne!(queue.sender, sender, "ingest knows records one to three of that one");
    let kept = queue.sender;
    drop(queue);
    let queue = reopened(dir.path()).await;
    assert_eq!((queue.sender, queued_lines(&queue)), (kept, vec!["four".to_owned()]));
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
