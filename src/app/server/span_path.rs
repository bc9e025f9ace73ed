//! The way of spans from the doors to the store: counted as metrics of requests, then, where that is wanted, held back until
//! their trace is decided. What is counted is all that comes, so rates stay true whatever is kept.

use crate::config::Config;
use model::{Clock, Reading, Sink};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use traces::{Derive, Sampler, Sampling, ToItsEnd};

pub struct SpanPath {
    sink: Arc<dyn Sink>,
    derive: Option<Arc<Derive>>,
    sampler: Option<Arc<Sampler>>,
    closes: CancellationToken,
    running: Mutex<Vec<JoinHandle<()>>>,
}

/// The share of `--memory` in which spans wait for the decision about their trace.
const SAMPLING_SHARE: usize = 8;

impl SpanPath {
    /// In front of `store`; `None` where nothing is done with spans but storing them.
    pub fn start(
        config: &Config,
        sampling: Option<Sampling>,
        store: Arc<dyn Sink>,
        clock: Arc<dyn Clock>,
    ) -> Option<SpanPath> {
        if !config.span_metrics && sampling.is_none() {
            return None;
        }
        let mut path = SpanPath {
            sink: store,
            derive: None,
            sampler: None,
            closes: CancellationToken::new(),
            running: Mutex::default(),
        };
        let mut running = vec![];
        if let Some(sampling) = sampling {
            let bytes_max = config.memory_bytes / SAMPLING_SHARE;
            let sampler = Arc::new(Sampler::new(path.sink.clone(), clock.clone(), sampling, bytes_max));
            running.push(tokio::spawn(sampler.clone().run(path.closes.clone())));
            path.sink = sampler.clone();
            path.sampler = Some(sampler);
        }
        if config.span_metrics {
            let derive = Arc::new(Derive::new(path.sink.clone(), clock, traces::Config::default()));
            running.push(tokio::spawn(derive.clone().run(path.closes.clone())));
            path.sink = derive.clone();
            path.derive = Some(derive);
        }
        path.sink = Arc::new(ToItsEnd(path.sink.clone()));
        path.running = Mutex::new(running);
        Some(path)
    }

    pub fn sink(&self) -> Arc<dyn Sink> {
        self.sink.clone()
    }

    /// Other policies from here on, where it samples.
    pub fn set_sampling(&self, sampling: Sampling) {
        if let Some(sampler) = &self.sampler {
            sampler.set(sampling);
        }
    }

    /// After the doors and before the store: what waits is decided, and the last counts are written.
    pub async fn close(&self) {
        self.closes.cancel();
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        for task in running {
            let _ = task.await;
        }
    }

    pub fn readings(&self) -> Vec<Reading> {
        let derived = self.derive.iter().flat_map(|derive| derive.readings());
        derived.chain(self.sampler.iter().flat_map(|sampler| sampler.readings())).collect()
    }
}
