//! Rules, alert states, SLOs, notifications.
//!
//! Rule files in Prometheus' format and OpenSLO files come in; recorded series, `ALERTS` and notifications go out.
//! Groups of rules also come over the API ([`ruler`](mod@ruler)). Everything is asked through [`model::Ask`] and written through [`model::Sink`]: this crate knows no query language,
//! no HTTP server and no storage. Alert states are a plain state machine ([`state`](mod@state)) over answers; what
//! receivers should hear is a plain book; tasks, sockets and the one file are at the edge, in `service`.

mod config;
mod disk;
mod duration;
mod files;
mod group;
mod notify;
mod ruler;
mod rules;
mod service;
mod slo;
mod state;
mod telemetry;
mod template;
mod yaml;

pub use config::Config;
pub use files::{Checked, check_file, matching};
pub use group::view::{AlertView, AlertingView, GroupView, RuleView};
pub use ruler::{Language, RulerError, Shelf};
pub use service::{Alerts, Asks};
pub use slo::budget::{Known, SloView};
pub use yaml::Mistake;
