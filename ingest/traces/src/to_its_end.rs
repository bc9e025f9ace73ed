//! A [`Sink`] in front of another, for spans: a write that was begun goes to its end when its sender hangs up.
//!
//! A connection that ends drops the future that answers it, wherever that waits. The store's own writes outlive that; what
//! stands before it would not. A batch could be stored and never counted, and spans of *other* senders that are kept by then,
//! and are on their way with this write, would be lost with it.

use model::{Batch, Receipt, Refused, Sink, Write};
use std::sync::Arc;

pub struct ToItsEnd(pub Arc<dyn Sink>);

#[async_trait::async_trait]
impl Sink for ToItsEnd {
    async fn write(&self, write: Write) -> Result<Receipt, Refused> {
        if !matches!(write.batch, Batch::Spans(_)) {
            return self.0.write(write).await;
        }
        let next = self.0.clone();
        let written = tokio::spawn(async move { next.write(write).await }).await;
        written.unwrap_or_else(|ended| Err(Refused::Broken(format!("the write ended early: {ended}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{SpanBatch, Tenant};
    use tokio::sync::Semaphore;

    /// Takes a write when it is let.
    struct Slow {
        lets: Semaphore,
        taken: Semaphore,
    }

    #[async_trait::async_trait]
    impl Sink for Slow {
        async fn write(&self, write: Write) -> Result<Receipt, Refused> {
            self.lets.acquire().await.map_err(|closed| Refused::Broken(closed.to_string()))?.forget();
            self.taken.add_permits(1);
            Ok(Receipt::of_all(&write.batch))
        }
    }

    #[tokio::test]
    async fn a_write_goes_on_when_its_sender_hangs_up() {
        let slow = Arc::new(Slow { lets: Semaphore::new(0), taken: Semaphore::new(0) });
        let sink = ToItsEnd(slow.clone());
        let batch = Batch::Spans(SpanBatch::default());
        tokio::select! {
            biased;
            _ = sink.write(Write { tenant: Tenant::default(), batch, origin: None }) => panic!("nothing let it"),
            () = std::future::ready(()) => {}
        }
        slow.lets.add_permits(1);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(slow.taken.available_permits(), 1);
    }
}
