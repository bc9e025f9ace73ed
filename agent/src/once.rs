//! What is told once, whenever the agent is killed: a file says what was told, and holds the batch that tells the last of it
//! until that is in the queue. Who begins anew queues it, where the queue does not have it.
//!
//! The file is a line of JSON; behind it the batch, as a record of the queue.

use crate::queue::{self, PushError, Queue, Record};
use model::{LogBatch, Tenant};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;
use tracing::warn;

pub struct Once {
    path: PathBuf,
    queue: Arc<Queue>,
    tenant: Tenant,
    /// Held from what is marked as told until it is queued: the file has room for one batch.
    telling: Mutex<()>,
}

impl Once {
    /// With what was told before, where there was anybody to tell. What he may not have queued is queued now.
    pub async fn open(path: PathBuf, queue: Arc<Queue>, tenant: Tenant) -> (Once, Option<Vec<u8>>) {
        let once = Once { path, queue, tenant, telling: Mutex::default() };
        let Ok(mut told) = std::fs::read(&once.path) else { return (once, None) };
        if let Some(line) = memchr::memchr(b'\n', &told) {
            let batch = Record::from_bytes(0, &told[line + 1..], 0);
            told.truncate(line);
            for new in once.queue.clone().new_of(batch.into_iter().collect()).await {
                once.queue.keep_packed(new).await;
            }
            once.write(told.clone()).await;
        }
        (once, Some(told))
    }

    /// `find` marks what is new as told; it gives that, and all that was told with it.
    pub async fn tell(&self, find: impl FnOnce() -> Option<(LogBatch, Vec<u8>)>) {
        let _telling = self.telling.lock().await;
        let Some((batch, told)) = find() else { return };
        match queue::packed_logs(&self.tenant, &batch) {
            Ok(record) => {
                self.write([&told[..], b"\n", &record.to_bytes()].concat()).await;
                self.queue.keep_packed(record).await;
            }
            Err(wrong) => self.queue.lost_logs(&batch, &PushError::from(wrong)),
        }
        self.write(told).await;
    }

    pub async fn write(&self, bytes: Vec<u8>) {
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || queue::write_whole(&path, &bytes)).await;
        if let Ok(Err(wrong)) = written {
            let path = self.path.display();
            warn!(error = %wrong, %path, "what was told cannot be written down; a restart may tell it again, or not at all");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::{self, Change};
    use crate::host::Host;

    #[tokio::test]
    async fn who_is_killed_around_the_queue_tells_it_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("told.json");
        let queue = Arc::new(Queue::open(dir.path().join("queue"), 1 << 20).unwrap());
        let open = || Once::open(path.clone(), queue.clone(), Tenant::default());
        let queued = || queue.next_unsent(1 << 20).unwrap().len();
        let host = Host::of(dir.path());
        let batch =
            |what: &str| changes::batch(vec![Change { what: what.into(), ..Change::default() }], &host);
        let (once, told) = open().await;
        once.tell(|| None).await;
        assert_eq!((told, path.exists(), queued()), (None, false, 0));
        once.tell(|| Some((batch("first"), b"[1]".to_vec()))).await;
        assert_eq!((queued(), std::fs::read(&path).unwrap()), (1, b"[1]".to_vec()));
        let second = queue::packed_logs(&Tenant::default(), &batch("second")).unwrap();
        let written = [&b"[1,2]\n"[..], &second.to_bytes()].concat();
        for _before_and_after in 0..2 {
            std::fs::write(&path, &written).unwrap();
            let (_, told) = open().await;
            assert_eq!((told, queued()), (Some(b"[1,2]".to_vec()), 2));
            assert_eq!(std::fs::read(&path).unwrap(), b"[1,2]");
        }
    }
}
