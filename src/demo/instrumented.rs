//! One service of the shop as the OpenTelemetry SDK sees it: its own resource, tracer, logger and meter.
//!
//! All services share one connection to the receiver, as processes behind one collector would. Queues are small: a
//! service that cannot send drops, as the SDK does, and memory stays bounded.

use super::pool::{Bottleneck, Pool};
use super::topology::{POOL_CONNECTIONS_MAX, Service};
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider};
use opentelemetry::trace::{SpanContext, TracerProvider};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{BatchLogProcessor, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

/// Spans, and log records, that a service holds until they are sent. The busiest makes about 200 in a delay.
const QUEUE_MAX: usize = 1024;
const BATCH_MAX: usize = 256;
/// A newcomer should not wait for what just happened.
const SEND_DELAY: Duration = Duration::from_secs(2);
const METRICS_INTERVAL: Duration = Duration::from_secs(10);
/// At the end; the whole process has 10 s.
const FLUSH_MAX: Duration = Duration::from_secs(4);

/// Bucket bounds that the semantic conventions advise for durations of requests, in seconds.
const DURATION_BOUNDS_S: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Who gets the telemetry: one connection, and what is shown with each call.
pub struct Receiver {
    pub channel: Channel,
    pub metadata: MetadataMap,
}

pub struct Instrumented {
    pub name: &'static str,
    pub tracer: SdkTracer,
    pub requests: Histogram<f64>,
    pub calls: Histogram<f64>,
    pub statements: Histogram<f64>,
    pub consumed: Histogram<f64>,
    pub pool: Option<MeteredPool>,
    logger: SdkLogger,
    providers: Providers,
}

/// The pool with its instruments; only the slow service has one.
pub struct MeteredPool {
    pub name: String,
    pub state: Arc<Mutex<Pool>>,
    pub wait: Histogram<f64>,
    pub exhausted: Counter<u64>,
}

#[derive(Clone)]
struct Providers {
    traces: SdkTracerProvider,
    logs: SdkLoggerProvider,
    metrics: SdkMeterProvider,
}

impl Instrumented {
    /// Must be called inside the runtime that the channel lives in.
    pub fn new(
        service: &'static Service,
        bottleneck: &Bottleneck,
        receiver: &Receiver,
    ) -> anyhow::Result<Instrumented> {
        let resource = resource(service);
        let providers = Providers {
            traces: traces(&resource, receiver)?,
            logs: logs(&resource, receiver)?,
            metrics: metrics(&resource, receiver)?,
        };
        let scope = InstrumentationScope::builder("shop").with_version(service.version).build();
        let meter = providers.metrics.meter_with_scope(scope.clone());
        Ok(Instrumented {
            name: service.name,
            tracer: providers.traces.tracer_with_scope(scope.clone()),
            logger: providers.logs.logger_with_scope(scope),
            requests: seconds(&meter, "http.server.request.duration", "Duration of HTTP server requests."),
            calls: seconds(&meter, "http.client.request.duration", "Duration of HTTP client requests."),
            statements: seconds(
                &meter,
                "db.client.operation.duration",
                "Duration of database client operations.",
            ),
            consumed: seconds(&meter, "messaging.process.duration", "Duration of processing a message."),
            pool: (service.name == bottleneck.service).then(|| MeteredPool::new(&meter, bottleneck.pool())),
            providers,
        })
    }

    /// A meter for what only this service counts.
    pub fn meter(&self) -> Meter {
        self.providers.metrics.meter("shop")
    }

    /// Writes a log record that belongs to a span.
    pub fn log(
        &self,
        at: SystemTime,
        severity: Severity,
        body: String,
        span: &SpanContext,
        fields: Vec<(&'static str, AnyValue)>,
    ) {
        let mut record = self.logger.create_log_record();
        record.set_timestamp(at);
        record.set_severity_number(severity);
        record.set_severity_text(severity.name());
        record.set_body(AnyValue::from(body));
        record.add_attributes(fields);
        record.set_trace_context(span.trace_id(), span.span_id(), Some(span.trace_flags()));
        self.logger.emit(record);
    }

    /// Sends what is buffered and ends the service. Blocks.
    pub fn shut_down(&self) {
        let ended = [
            self.providers.traces.shutdown_with_timeout(FLUSH_MAX),
            self.providers.logs.shutdown_with_timeout(FLUSH_MAX),
            self.providers.metrics.shutdown_with_timeout(FLUSH_MAX),
        ];
        for failed in ended.into_iter().filter_map(Result::err) {
            tracing::debug!(service = self.name, error = %failed, "demo telemetry was not sent to its end");
        }
    }
}

impl MeteredPool {
    fn new(meter: &Meter, name: String) -> MeteredPool {
        let state = Arc::new(Mutex::new(Pool::default()));
        let read = |take: fn(&mut Pool) -> u64| {
            let state = state.clone();
            move || take(&mut state.lock().unwrap_or_else(|held| held.into_inner()))
        };
        let own_name = name.clone();
        let name = move || KeyValue::new("db.client.connection.pool.name", name.clone());
        let (used, pending) = (read(Pool::take_used_peak), read(Pool::take_pending_peak));
        // The SDK keeps the callbacks; the handles that `build` returns are not needed to keep them alive.
        meter
            .u64_observable_gauge("db.client.connection.count")
            .with_unit("{connection}")
            .with_description("Most connections in the pool in a state since the last reading.")
            .with_callback({
                let name = name.clone();
                move |observer| {
                    let used = used();
                    let state = |state| [name(), KeyValue::new("db.client.connection.state", state)];
                    observer.observe(used, &state("used"));
                    observer.observe(POOL_CONNECTIONS_MAX - used.min(POOL_CONNECTIONS_MAX), &state("idle"));
                }
            })
            .build();
        meter
            .u64_observable_gauge("db.client.connection.pending_requests")
            .with_unit("{request}")
            .with_description("Most requests that waited for a connection at once since the last reading.")
            .with_callback({
                let name = name.clone();
                move |observer| observer.observe(pending(), &[name()])
            })
            .build();
        meter
            .u64_observable_gauge("db.client.connection.max")
            .with_unit("{connection}")
            .with_description("Connections that the pool may have.")
            .with_callback(move |observer| observer.observe(POOL_CONNECTIONS_MAX, &[name()]))
            .build();
        MeteredPool {
            name: own_name,
            wait: seconds(
                meter,
                "db.client.connection.wait_time",
                "Time it took to get a connection from the pool.",
            ),
            exhausted: meter
                .u64_counter("db.client.connection.exhausted")
                .with_unit("{request}")
                .with_description("Requests that found no free connection in the pool.")
                .build(),
            state,
        }
    }
}

fn seconds(meter: &Meter, name: &'static str, description: &'static str) -> Histogram<f64> {
    meter
        .f64_histogram(name)
        .with_unit("s")
        .with_description(description)
        .with_boundaries(DURATION_BOUNDS_S.to_vec())
        .build()
}

/// What Kubernetes would say about the pod that runs the service.
fn resource(service: &Service) -> Resource {
    // Stable names: a restarted demo continues its series.
    let hash = service.name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let pod = format!("{}-{:08x}-{:05x}", service.name, hash >> 32, hash & 0xf_ffff);
    Resource::builder()
        .with_service_name(service.name)
        .with_attributes([
            KeyValue::new("service.namespace", "shop"),
            KeyValue::new("service.version", service.version),
            KeyValue::new("service.instance.id", pod.clone()),
            KeyValue::new("deployment.environment.name", "demo"),
            KeyValue::new("telemetry.sdk.language", service.language),
            KeyValue::new("k8s.cluster.name", "shop-demo"),
            KeyValue::new("k8s.namespace.name", format!("shop-{}", service.team)),
            KeyValue::new("k8s.deployment.name", service.name),
            KeyValue::new("k8s.pod.name", pod),
            KeyValue::new("k8s.container.name", service.name),
            KeyValue::new("k8s.node.name", format!("shop-node-{}", hash % 5)),
        ])
        .build()
}

fn traces(resource: &Resource, receiver: &Receiver) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_channel(receiver.channel.clone())
        .with_metadata(receiver.metadata.clone())
        .build()?;
    let queue = opentelemetry_sdk::trace::BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX)
        .with_max_export_batch_size(BATCH_MAX)
        .with_scheduled_delay(SEND_DELAY)
        .build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(queue).build();
    Ok(SdkTracerProvider::builder().with_resource(resource.clone()).with_span_processor(processor).build())
}

fn logs(resource: &Resource, receiver: &Receiver) -> anyhow::Result<SdkLoggerProvider> {
    let exporter = LogExporter::builder()
        .with_tonic()
        .with_channel(receiver.channel.clone())
        .with_metadata(receiver.metadata.clone())
        .build()?;
    let queue = opentelemetry_sdk::logs::BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX)
        .with_max_export_batch_size(BATCH_MAX)
        .with_scheduled_delay(SEND_DELAY)
        .build();
    let processor = BatchLogProcessor::builder(exporter).with_batch_config(queue).build();
    Ok(SdkLoggerProvider::builder().with_resource(resource.clone()).with_log_processor(processor).build())
}

fn metrics(resource: &Resource, receiver: &Receiver) -> anyhow::Result<SdkMeterProvider> {
    let exporter = MetricExporter::builder()
        .with_tonic()
        .with_channel(receiver.channel.clone())
        .with_metadata(receiver.metadata.clone())
        .build()?;
    let reader = PeriodicReader::builder(exporter).with_interval(METRICS_INTERVAL).build();
    Ok(SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(reader).build())
}
