//! Telemetry of applications on this host: given the host's attributes, queued like the agent's own.

use crate::host::Host;
use crate::queue::Queue;
use model::{
    Attributes, Batch, LabelSetBuilder, Labels, LogBatch, MetricBatch, Receipt, Refused, Sink, SpanBatch,
    Write, attribute,
};
use std::sync::Arc;

pub struct Gateway {
    pub queue: Arc<Queue>,
    pub host: Arc<Host>,
}

#[async_trait::async_trait]
impl Sink for Gateway {
    async fn write(&self, write: Write) -> Result<Receipt, Refused> {
        let tenant = &write.tenant;
        let receipt = Receipt::of_all(&write.batch);
        let pushed = match write.batch {
            Batch::Metrics(batch) => self.queue.push_metrics(tenant, &self.metrics(batch)).await,
            Batch::Logs(batch) => self.queue.push_logs(tenant, &self.logs(batch), &[]).await.map(|_| ()),
            Batch::Spans(batch) => self.queue.push_spans(tenant, &self.spans(batch)).await,
        };
        match pushed {
            Ok(()) => Ok(receipt),
            Err(wrong) => Err(Refused::Broken(format!("the agent's queue: {wrong}"))),
        }
    }
}

impl Gateway {
    /// What the sender says of itself stands.
    fn complete(&self, attributes: &mut Attributes) {
        for (name, value) in &self.host.attributes {
            if attribute(attributes, name).is_none() {
                attributes.push((name.clone(), value.clone()));
            }
        }
    }

    fn metrics(&self, batch: MetricBatch) -> MetricBatch {
        let mut out = MetricBatch { metadata: batch.metadata.clone(), ..MetricBatch::default() };
        for (bytes, ts_ms, values) in batch.iter() {
            out.begin_labels(&self.with_host(&Labels::from_bytes(bytes).unwrap_or_default()));
            ts_ms.iter().zip(values).for_each(|(ts, value)| out.push(*ts, *value));
        }
        out.exemplars = batch.exemplars;
        out.exemplars.iter_mut().for_each(|exemplar| exemplar.series = self.with_host(&exemplar.series));
        out
    }

    fn with_host(&self, labels: &Labels) -> Labels {
        if labels.get("host_name").is_some() {
            return labels.clone();
        }
        let mut with_host = LabelSetBuilder::from_labels(labels);
        with_host.set("host_name", &self.host.name);
        with_host.build()
    }

    fn logs(&self, mut batch: LogBatch) -> LogBatch {
        for stream in batch.streams.iter_mut().filter(|stream| !stream.resource.is_empty()) {
            self.complete(&mut stream.resource);
        }
        batch
    }

    fn spans(&self, mut batch: SpanBatch) -> SpanBatch {
        for resource in &mut batch.resources {
            let mut attributes = (*resource.resource).clone();
            self.complete(&mut attributes);
            resource.resource = Arc::new(attributes);
        }
        batch
    }
}
