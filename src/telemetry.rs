//! Our own logs, traces and TLS provider: what a process sets up once, before anything else.
//!
//! Logs go to standard error as text or JSON. When asked, the same events and the spans around them also go out by
//! OTLP/gRPC (`--self-telemetry`), to this process itself or elsewhere.

use crate::config::LogConfig;
use anyhow::Context;
use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::sync::{Arc, Mutex};
use tonic::metadata::MetadataMap;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// Chooses ring for every TLS connection of this process. Calling it again changes nothing.
pub fn install_tls() {
    // Err means that a provider is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Holds what must be flushed at the end.
pub struct Telemetry {
    exporters: Mutex<Option<Exporters>>,
}

/// Who gets own traces and logs: an OTLP/gRPC endpoint, and the token to show there.
pub struct Destination {
    pub endpoint: String,
    pub token: Option<String>,
}

struct Exporters {
    traces: SdkTracerProvider,
    logs: SdkLoggerProvider,
}

/// Logs to standard error from here on, and by OTLP where there is a destination. What it misses before its doors are
/// open is kept by the exporters for a moment and sent then.
pub fn start(config: &LogConfig, to: Option<&Destination>) -> anyhow::Result<Arc<Telemetry>> {
    let filter = EnvFilter::try_new(&config.filter).context("--log-level")?;
    let exporters = match to {
        None => None,
        Some(to) => {
            Some(Exporters::of(to).with_context(|| format!("sending own telemetry to {}", to.endpoint))?)
        }
    };
    // Its level is its own: what is worth a line on the terminal is another question.
    let registry = Registry::default().with(exporters.as_ref().map(Exporters::layer));
    let text = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let started = if config.json {
        registry.with(text.json().flatten_event(true).with_filter(filter)).try_init()
    } else {
        registry.with(text.with_filter(filter)).try_init()
    };
    started.context("starting the log")?;
    Ok(Arc::new(Telemetry { exporters: Mutex::new(exporters) }))
}

impl Exporters {
    fn of(to: &Destination) -> anyhow::Result<Exporters> {
        let mut metadata = MetadataMap::new();
        if let Some(token) = &to.token {
            metadata.insert("authorization", format!("Bearer {token}").parse().context("own token")?);
        }
        let resource = Resource::builder().with_service_name("binnacle").build();
        let traces = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&to.endpoint)
            .with_metadata(metadata.clone())
            .build()?;
        let logs = opentelemetry_otlp::LogExporter::builder()
            .with_tonic()
            .with_endpoint(&to.endpoint)
            .with_metadata(metadata)
            .build()?;
        Ok(Exporters {
            traces: SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_batch_exporter(traces)
                .build(),
            logs: SdkLoggerProvider::builder().with_resource(resource).with_batch_exporter(logs).build(),
        })
    }

    /// Events of the exporter's own road (hyper, tonic, h2 and our doors) are left out, or each export would cause the
    /// next.
    fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        let filter = || {
            EnvFilter::new(
                "info,hyper=off,tonic=off,h2=off,tower=off,reqwest=off,opentelemetry=off,receive=off",
            )
        };
        let layer = tracing_opentelemetry::layer()
            .with_tracer(self.traces.tracer("binnacle"))
            .with_filter(filter())
            .and_then(OpenTelemetryTracingBridge::new(&self.logs).with_filter(filter()));
        Box::new(layer)
    }
}

impl Telemetry {
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
