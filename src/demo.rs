//! `binnacle up --demo`: a live shop of 45 services that is watched as any other would be.
//!
//! Its telemetry leaves through the OpenTelemetry SDK by OTLP/gRPC; nothing reaches the store by another way. One
//! service has a connection pool that makes 15 % of its requests wait 300 ms, to be found by whoever looks; which, how many and
//! how long can be asked for.
//! `topology` is the shop as data, `traffic` plays one request of it, `pool` is the bottleneck, `instrumented` is a service
//! as the SDK sees it, `shop` puts them together. It deliberately does not know the rest of this program.

mod instrumented;
mod pool;
mod shop;
mod topology;
mod traffic;

use anyhow::Context;
use instrumented::Receiver;
pub use pool::Bottleneck;
use rand::SeedableRng;
use rand::rngs::StdRng;
use shop::Shop;
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

pub struct Config {
    /// Where the telemetry goes, as a URL.
    pub otlp_grpc: String,
    /// Shown there, where one is asked for.
    pub token: Option<String>,
    /// The same seed plays the same requests in the same order.
    pub seed: u64,
    /// Mean over ten minutes; it swells and ebbs around it.
    pub requests_per_second: f64,
    pub bottleneck: Bottleneck,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            otlp_grpc: "http://127.0.0.1:4317".to_owned(),
            token: None,
            seed: 45,
            requests_per_second: 12.0,
            bottleneck: Bottleneck::default(),
        }
    }
}

const TIDE: Duration = Duration::from_secs(600);
/// How far the rate swells above its mean and ebbs below it.
const TIDE_SHARE: f64 = 0.35;
/// The default's bounds: less draws no chart, more costs the machine that is looked at.
const REQUESTS_PER_SECOND: std::ops::RangeInclusive<f64> = 0.1..=200.0;

/// Runs the shop until it is stopped, then sends what is buffered.
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    anyhow::ensure!(
        REQUESTS_PER_SECOND.contains(&config.requests_per_second),
        "the demo's rate is {} requests a second; take one from 0.1 to 200",
        config.requests_per_second
    );
    let channel = Endpoint::from_shared(config.otlp_grpc.clone())
        .with_context(|| format!("the demo's OTLP endpoint {}", config.otlp_grpc))?
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(5))
        .connect_lazy();
    let mut metadata = tonic::metadata::MetadataMap::new();
    if let Some(token) = &config.token {
        metadata.insert("authorization", format!("Bearer {token}").parse().context("the demo's token")?);
    }
    let mut shop =
        Shop::open(&Receiver { channel, metadata }, config.bottleneck, StdRng::seed_from_u64(config.seed))?;
    tracing::info!(services = topology::SERVICES.len(), "demo shop is open");
    let opened = Instant::now();
    loop {
        let pause = shop.next_visitor_in(tidal_rate(config.requests_per_second, opened.elapsed()));
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => shop.serve_one(SystemTime::now()),
        }
    }
    shop.close().await;
    tracing::info!("demo shop is closed");
    Ok(())
}

fn tidal_rate(mean: f64, since_opening: Duration) -> f64 {
    let phase = since_opening.as_secs_f64() / TIDE.as_secs_f64() * std::f64::consts::TAU;
    mean * (1.0 + TIDE_SHARE * phase.sin())
}

#[cfg(test)]
mod tests;
