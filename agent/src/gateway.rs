//! Telemetry of applications on this host: given the host's attributes, queued like the agent's own.

use crate::host::Host;
use crate::pods::{self, Pods};
use crate::queue::Queue;
use model::{
    Attributes, Batch, Identify, LabelSetBuilder, Labels, LogBatch, LogStream, MetricBatch, Receipt, Refused,
    Sink, SpanBatch, Value, Write, attribute,
};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub struct Gateway {
    pub queue: Arc<Queue>,
    pub host: Arc<Host>,
    pub pods: Pods,
}

/// Senders are asked to come again after this time; exporters of OTLP wait about as long by themselves.
const COME_AGAIN: Duration = Duration::from_secs(5);

impl Identify for Gateway {
    fn identify(&self, peer: IpAddr, said: &dyn Fn(&str) -> Option<String>) -> Attributes {
        let running = said("container.id").and_then(|id| self.pods.container(&id));
        let Some(pod) = self.sender(peer, said, running.as_deref()) else { return vec![] };
        let by_id = running.filter(|running| running.pod.metadata.uid == pod.metadata.uid);
        let only = match pod.spec.containers.as_slice() {
            [only] => Some(only.name.clone()),
            _ => None,
        };
        let container = said("k8s.container.name").or(by_id.map(|running| running.name.clone())).or(only);
        let mut attributes = pods::attributes(&pod, container.as_deref(), &self.host.name);
        if !pod.status.pod_ip.is_empty() {
            attributes.push(("k8s.pod.ip".into(), pod.status.pod_ip.as_str().into()));
        }
        attributes
    }
}

#[async_trait::async_trait]
impl Sink for Gateway {
    async fn write(&self, write: Write) -> Result<Receipt, Refused> {
        // Its own telemetry pushes the oldest out; others can wait and lose nothing.
        if self.queue.is_nearly_full() {
            let why =
                "the agent's queue on disk is nearly full, as ingest does not take what is in it".to_owned();
            return Err(Refused::Busy { why, retry_after: COME_AGAIN });
        }
        let tenant = &write.tenant;
        let receipt = Receipt::of_all(&write.batch);
        let pushed = match write.batch {
            Batch::Metrics(batch) => self.queue.push_metrics(tenant, &self.metrics(batch)).await,
            Batch::Logs(batch) => self.queue.push_logs(tenant, &self.logs(batch), &[]).await.map(|_| ()),
            Batch::Spans(batch) => self.queue.push_spans(tenant, &self.spans(batch)).await,
        };
        match pushed {
            Ok(()) => Ok(receipt),
            Err(wrong) if wrong.is_for_good() => Err(Refused::TooMuch(format!("the agent's queue: {wrong}"))),
            Err(wrong) => Err(Refused::Broken(format!("the agent's queue: {wrong}"))),
        }
    }
}

impl Gateway {
    /// A pod by what its telemetry says, else by the address that it comes from. Pods on the node's network share its
    /// address, and nobody is known by it.
    fn sender(
        &self,
        peer: IpAddr,
        said: &dyn Fn(&str) -> Option<String>,
        running: Option<&pods::Container>,
    ) -> Option<Arc<pods::Pod>> {
        if let Some(uid) = said("k8s.pod.uid") {
            return self.pods.by_uid(&uid);
        }
        if let Some(ip) = said("k8s.pod.ip") {
            return self.pods.by_ip(ip.parse::<IpAddr>().ok()?.to_canonical());
        }
        match (said("k8s.pod.name"), said("k8s.namespace.name"), running) {
            (Some(name), Some(namespace), _) => self.pods.by_name(&namespace, &name),
            // A collector that passes on for others is not whom they are of.
            (Some(name), None, _) => self.pods.by_ip(peer).filter(|pod| pod.metadata.name == name),
            (None, _, Some(running)) => Some(running.pod.clone()),
            (None, _, None) => self.pods.by_ip(peer),
        }
    }

    /// What the sender says of itself stands. Where it passes on what is of another node, this host's are not its names.
    fn complete(&self, attributes: &mut Attributes) {
        let node = attribute(attributes, "k8s.node.name").and_then(Value::as_str);
        let is_elsewhere = node.is_some_and(|node| node != self.host.name);
        for (name, value) in &self.host.attributes {
            let is_of_host = name.starts_with("host.") || name.starts_with("os.");
            if attribute(attributes, name).is_none() && !(is_elsewhere && is_of_host) {
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
        let is_elsewhere = labels.get("k8s_node_name").is_some_and(|node| node != self.host.name);
        if is_elsewhere || labels.get("host_name").is_some() {
            return labels.clone();
        }
        let mut with_host = LabelSetBuilder::from_labels(labels);
        with_host.set("host_name", &self.host.name);
        with_host.build()
    }

    fn logs(&self, mut batch: LogBatch) -> LogBatch {
        // What came by syslog is of other hosts. It has labels of its own; OTLP without a resource has none but this.
        let is_of_otlp = |stream: &&mut LogStream| {
            !stream.resource.is_empty() || stream.labels.iter().all(|(name, _)| name == "service_name")
        };
        for stream in batch.streams.iter_mut().filter(is_of_otlp) {
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
