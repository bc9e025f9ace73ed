//! A mistake in one part of the agent ends that part and no other: it is said in the log, counted, and the part begins
//! anew after a while.
//!
//! The process does not end for it: where the agent runs within the whole server, that would take the server with it, and a
//! mistake that comes at every start would leave nothing of the node to be seen.

use model::Reading;
use parking_lot::Mutex;
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// Before a part begins anew; doubled while it comes to nothing.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Panics {
    /// How often each part came to one.
    counts: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    wait: Duration,
}

impl Default for Panics {
    fn default() -> Panics {
        Panics { counts: Arc::default(), wait: WAIT_MIN }
    }
}

impl Panics {
    /// Runs what is begun until it ends by itself, or `stop`. `begin` itself only puts together what is needed.
    pub async fn begun_anew<F>(
        self,
        part: &'static str,
        stop: CancellationToken,
        mut begin: impl FnMut() -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.counts.lock().entry(part).or_default();
        let mut wait = self.wait;
        loop {
            let begun = Instant::now();
            let Err(ended) = tokio::spawn(begin()).await else { return };
            // Else the runtime ends, and everything with it.
            let Ok(panic) = ended.try_into_panic() else { return };
            self.happened(part, &*panic);
            if begun.elapsed() > WAIT_MAX {
                wait = self.wait;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return,
            }
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    /// Does the work; nothing where it came to a panic.
    pub fn caught<T>(&self, part: &'static str, work: impl FnOnce() -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(work));
        done.map_err(|panic| self.happened(part, &*panic)).ok()
    }

    pub fn happened(&self, part: &'static str, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words");
        error!(part, panic = text, "a part of the agent came to a panic; it begins anew");
        *self.counts.lock().entry(part).or_default() += 1;
    }

    pub fn readings(&self) -> Vec<Reading> {
        let help = "Mistakes in the agent that ended a part of it, which then began anew";
        let all = self.counts.lock();
        let readings = all.iter().map(|(part, count)| {
            Reading::counter("binnacle_agent_panics_total", help, *count as f64).with("part", *part)
        });
        readings.collect()
    }
}

/// What came of work on another thread. Its panic goes on in the part that waited for it; `None` where the runtime ends.
pub fn joined<T>(worked: Result<T, JoinError>) -> Option<T> {
    match worked.map_err(JoinError::try_into_panic) {
        Ok(done) => Some(done),
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn count(panics: &Panics, part: &str) -> f64 {
        let of_part = |reading: &&Reading| reading.labels.contains(&("part", part.to_owned()));
        panics.readings().iter().filter(of_part).map(|reading| reading.value).sum()
    }

    /// What panics at its first `times` beginnings, and the number of these.
    fn panicking(times: u32) -> (impl FnMut() -> BoxFuture + Send + 'static, Arc<AtomicU32>) {
        let begun = Arc::new(AtomicU32::new(0));
        let counted = begun.clone();
        let begin = move || -> BoxFuture {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move { assert!(number >= times, "number {number}") })
        };
        (begin, begun)
    }

    type BoxFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

    #[tokio::test]
    async fn a_part_that_panics_begins_anew_until_it_ends_by_itself() {
        let panics = Panics { wait: Duration::ZERO, ..Panics::default() };
        let (begin, begun) = panicking(2);
        panics.clone().begun_anew("logs", CancellationToken::new(), begin).await;
        assert_eq!((begun.load(Ordering::SeqCst), count(&panics, "logs")), (3, 2.0));
    }

    #[tokio::test]
    async fn a_part_that_waits_to_begin_anew_ends_with_the_agent() {
        let panics = Panics { wait: Duration::from_secs(3_600), ..Panics::default() };
        let stop = CancellationToken::new();
        stop.cancel();
        let (begin, begun) = panicking(u32::MAX);
        panics.clone().begun_anew("pods", stop, begin).await;
        assert_eq!((begun.load(Ordering::SeqCst), count(&panics, "pods")), (1, 1.0));
    }

    #[test]
    fn what_is_caught_is_counted_and_the_rest_is_done() {
        let panics = Panics::default();
        assert_eq!(panics.caught("node", || "no number".parse::<u32>().unwrap()), None);
        assert_eq!(panics.caught("objects", || 5), Some(5));
        assert_eq!((count(&panics, "node"), count(&panics, "objects")), (1.0, 0.0));
    }
}
