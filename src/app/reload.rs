//! What comes of a SIGHUP: what does not parse is told, and what was stays in force.

use crate::config::Config;
use std::fmt::Debug;
use tracing::{info, warn};

/// What stays as it was, so far.
pub struct Reload(Vec<&'static str>);

impl Reload {
    /// What lasts from the start to the end and is written otherwise by now waits for a restart, and is told.
    pub fn of(was: &Config, is: &Config) -> Reload {
        let both = lasting(was).into_iter().zip(lasting(is));
        let changed: Vec<&'static str> =
            both.filter(|(was, is)| was != is).map(|((flag, _), _)| flag).collect();
        if !changed.is_empty() {
            warn!(settings = changed.join(", "), "a change of these takes a restart");
        }
        Reload(changed)
    }

    pub fn came_to(&mut self, what: &'static str, done: anyhow::Result<()>) {
        if let Err(wrong) = done {
            warn!(error = format!("{wrong:#}"), "{what} are kept as they were");
            self.0.push(what);
        }
    }

    /// Once all was tried. Whoever looks for one line finds it, and reads in it whether all is as he wrote it.
    pub fn tell(self) {
        let Reload(kept) = self;
        if kept.is_empty() {
            info!("reloaded");
        } else {
            warn!(kept = kept.join(", "), "reloaded in part");
        }
    }
}

/// Settings that are read at the start alone.
fn lasting(config: &Config) -> Vec<(&'static str, String)> {
    let settings: [(&'static str, &dyn Debug); 19] = [
        ("--data-dir", &config.data_dir),
        ("--http", &config.http),
        ("--otlp-grpc", &config.otlp_grpc),
        ("--otlp-http", &config.otlp_http),
        ("--pg", &config.pg),
        ("--syslog", &config.syslog),
        ("--log-format", &config.log.json),
        ("--log-level", &config.log.filter),
        ("--memory", &config.memory_bytes),
        ("--rules", &config.rules),
        ("--slos", &config.slos),
        ("--webhook", &config.webhook),
        ("--alertmanager", &config.alertmanager),
        ("--evaluation-interval", &config.evaluation_interval),
        ("--ingest", &config.ingest_url),
        ("--query", &config.query_url),
        ("--log-files", &config.log_files),
        ("--agent-queue", &config.agent_queue_bytes),
        ("--collect-interval", &config.collect_interval),
    ];
    settings.into_iter().map(|(flag, value)| (flag, format!("{value:?}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, Role};

    #[test]
    fn what_takes_a_restart_stays_and_is_named() {
        let config = |flags| {
            Config::build(Role::Up { demo: false, agent: true, alerts: true, web: true }, flags).unwrap()
        };
        let text = |text: &str| Some(text.to_owned());
        let was = config(Flags::default());
        let same = config(Flags { query_timeout: text("7s"), ..Flags::default() });
        assert!(Reload::of(&was, &same).0.is_empty());
        let moved = Flags { http: text("127.0.0.1:1"), rules: vec!["more.yaml".into()], ..Flags::default() };
        assert_eq!(Reload::of(&was, &config(moved)).0, ["--http", "--rules"]);
    }
}
