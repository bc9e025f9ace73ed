//! The web page and the Grafana dashboards, embedded.
//!
//! In: `web/dist` as Vite built it, and the classic dashboard JSON of `grafana/`, both put into the binary by
//! `build.rs`. Out: the bytes of one file, ready for an HTTP answer, and the list of dashboards. Knows no HTTP server,
//! no query and nothing else of ours.

mod files;
mod grafana;

pub use files::{Asset, asset};
pub use grafana::{Dashboard, grafana};
