//! The commands of the whole binary: the other roles, the languages, the checker.

use super::serve;
use crate::config::{Flags, Role};
use crate::{check, client};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

pub const ABOUT: &str = "Metrics, logs, traces, alerts and cost of a Kubernetes cluster in one binary";
pub const AFTER_HELP: &str = "Start with `binnacle up` and open http://127.0.0.1:7400, or `binnacle up --demo` for a live shop to look at.";

#[derive(Subcommand)]
pub enum Command {
    /// Run the whole stack in one process: agent for this machine, ingest, query, alerts and the web page
    #[command(display_order = 0)]
    Up(UpFlags),
    /// Run the ingest role alone: receive, store, answer snapshots to query processes
    Ingest(Flags),
    /// Run the query role alone, over the ingest process at --ingest
    Query(Flags),
    /// Run rule evaluation and notification alone, over --query and --ingest
    Alerts(Flags),
    /// Run SQL against a server; without a statement, an interactive prompt
    Sql(client::QueryArgs),
    /// Run PromQL against a server
    Promql(client::QueryArgs),
    /// Run LogQL against a server
    Logql(client::QueryArgs),
    /// Run TraceQL against a server
    Traceql(client::QueryArgs),
    /// Check configuration, rule, SLO and dashboard files; exit 1 when any has a mistake
    Check(CheckArgs),
}

#[derive(Args)]
pub struct UpFlags {
    #[command(flatten)]
    flags: Flags,
    /// Also run a live demo: a 45-service shop with one real bottleneck, sent through a real OTLP client
    #[arg(long)]
    demo: bool,
    /// Do not collect telemetry of this machine
    #[arg(long, env = "BINNACLE_NO_AGENT")]
    no_agent: bool,
    /// Do not evaluate rules and SLOs
    #[arg(long, env = "BINNACLE_NO_ALERTS")]
    no_alerts: bool,
    /// Do not serve the web page
    #[arg(long, env = "BINNACLE_NO_WEB")]
    no_web: bool,
}

#[derive(Args)]
pub struct CheckArgs {
    /// Files to check: TOML configuration, rule YAML, OpenSLO YAML, tail sampling YAML, Grafana dashboard JSON, price book CSV or JSON
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    Sql,
    Promql,
    Logql,
    Traceql,
}

/// Runs one command to its end.
pub fn run(command: Command) -> ExitCode {
    match command {
        Command::Up(up) => serve(
            Role::Up { demo: up.demo, agent: !up.no_agent, alerts: !up.no_alerts, web: !up.no_web },
            up.flags,
        ),
        Command::Ingest(flags) => serve(Role::Ingest, flags),
        Command::Query(flags) => serve(Role::Query, flags),
        Command::Alerts(flags) => serve(Role::Alerts, flags),
        Command::Sql(args) => client::run(Language::Sql, args),
        Command::Promql(args) => client::run(Language::Promql, args),
        Command::Logql(args) => client::run(Language::Logql, args),
        Command::Traceql(args) => client::run(Language::Traceql, args),
        Command::Check(args) => check::run(&args.files),
    }
}
