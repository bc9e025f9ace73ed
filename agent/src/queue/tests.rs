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
