//! Our own logs, traces and TLS provider: what a process sets up once, before anything else.
//!
//! Logs go to standard error as text or JSON. When asked, the same events and the spans around them also go out by
//! OTLP/gRPC (`--self-telemetry`), to this process itself or elsewhere.

use crate::config::LogConfig;
use anyhow::Context;
use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::sync::{Arc, Mutex};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// Chooses ring for every TLS connection of this process. Calling it again changes nothing.
pub fn install_tls() {
    // Err means that a provider is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

type Slot = Option<Box<dyn Layer<Registry> + Send + Sync>>;

/// Holds what must be flushed at the end.
pub struct Telemetry {
    otlp: reload::Handle<Slot, Registry>,
    exporters: Mutex<Option<Exporters>>,
}

struct Exporters {
    traces: SdkTracerProvider,
    logs: SdkLoggerProvider,
}

/// Logs to standard error from here on. [`Telemetry::export_to`] adds OTLP once its receiver listens.
pub fn start(config: &LogConfig) -> anyhow::Result<Arc<Telemetry>> {
    let filter = EnvFilter::try_new(&config.filter).context("--log-level")?;
    let (otlp, handle) = reload::Layer::new(None as Slot);
    let registry = Registry::default().with(otlp);
    let text = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = if config.json {
        registry.with(text.json().flatten_event(true).with_filter(filter)).try_init()
    } else {
        registry.with(text.with_filter(filter)).try_init()
    };
    started.context("starting the log")?;
    Ok(Arc::new(Telemetry { otlp: handle, exporters: Mutex::new(None) }))
}

impl Telemetry {
    /// Sends own traces and logs to an OTLP/gRPC receiver. Events of the exporter's own road (hyper, tonic, h2 and our
    /// doors) are left out, or each export would cause the next.
    pub fn export_to(&self, endpoint: &str) -> anyhow::Result<()> {
        let resource = Resource::builder().with_service_name("binnacle").build();
        let traces = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(
                opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?,
            )
            .build();
        let logs = SdkLoggerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(
                opentelemetry_otlp::LogExporter::builder().with_tonic().with_endpoint(endpoint).build()?,
            )
            .build();
        let filter = || {
            EnvFilter::new(
                "info,hyper=off,tonic=off,h2=off,tower=off,reqwest=off,opentelemetry=off,receive=off",
            )
        };
        let layer = tracing_opentelemetry::layer()
            .with_tracer(traces.tracer("binnacle"))
            .with_filter(filter())
            .and_then(OpenTelemetryTracingBridge::new(&logs).with_filter(filter()));
        self.otlp.reload(Some(Box::new(layer) as Box<dyn Layer<Registry> + Send + Sync>))?;
        *self.exporters.lock().unwrap_or_else(|held| held.into_inner()) = Some(Exporters { traces, logs });
        Ok(())
    }

    /// Sends what is still buffered. Blocks up to the exporters' own time limit.
    pub fn shutdown(&self) {
        let exporters = self.exporters.lock().unwrap_or_else(|held| held.into_inner()).take();
        if let Some(exporters) = exporters {
            let ended = [exporters.traces.shutdown(), exporters.logs.shutdown()];
            for failed in ended.into_iter().filter_map(Result::err) {
                tracing::warn!(error = %failed, "own telemetry was not sent to its end");
            }
        }
    }
}
