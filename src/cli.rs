//! What a user types: commands, flags, their help. A flag is also an environment variable and a key of the TOML file;
//! `config` merges the three. Nothing is opened or bound here.

use crate::config::{Config, Flags, Role};
use crate::{app, check, client};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "binnacle",
    version = VERSION,
    about = "Metrics, logs, traces, alerts and cost of a Kubernetes cluster in one binary",
    after_help = "Start with `binnacle up` and open http://127.0.0.1:7400, or `binnacle up --demo` for a live shop to look at.",
    propagate_version = true,
    // The last of two wins, as people expect who add a flag to a line that they were given.
    args_override_self = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Version, commit and build profile, as `binnacle version` prints them.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Subcommand)]
enum Command {
    /// Run the whole stack in one process: agent for this machine, ingest, query, alerts and the web page
    Up(UpFlags),
    /// Run the node agent alone: collect this machine's telemetry and ship it to --ingest
    Agent(AgentFlags),
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
    /// Print version, commit and build profile
    Version,
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
#[command(args_conflicts_with_subcommands = true)]
pub struct AgentFlags {
    #[command(flatten)]
    flags: Flags,
    /// Print what would be collected, and end; nothing is sent or written
    #[arg(long)]
    dry_run: bool,
    #[command(subcommand)]
    command: Option<AgentCommand>,
}

#[derive(Subcommand)]
enum AgentCommand {
    /// Show live what a running agent does and what costs what
    Top(crate::top::TopArgs),
}

#[derive(Args)]
struct CheckArgs {
    /// Files to check: TOML configuration, rule YAML, OpenSLO YAML, tail sampling YAML, Grafana dashboard JSON, price book CSV
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
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Up(up) => serve(
            Role::Up { demo: up.demo, agent: !up.no_agent, alerts: !up.no_alerts, web: !up.no_web },
            up.flags,
        ),
        Command::Agent(agent) => match agent.command {
            Some(AgentCommand::Top(args)) => crate::top::run(&args),
            None if agent.dry_run => dry_run(agent.flags),
            None => serve(Role::Agent, agent.flags),
        },
        Command::Ingest(flags) => serve(Role::Ingest, flags),
        Command::Query(flags) => serve(Role::Query, flags),
        Command::Alerts(flags) => serve(Role::Alerts, flags),
        Command::Sql(args) => client::run(Language::Sql, args),
        Command::Promql(args) => client::run(Language::Promql, args),
        Command::Logql(args) => client::run(Language::Logql, args),
        Command::Traceql(args) => client::run(Language::Traceql, args),
        Command::Check(args) => check::run(&args.files),
        Command::Version => {
            println!(
                "binnacle {VERSION} (commit {}, profile {})",
                env!("BINNACLE_COMMIT"),
                env!("BINNACLE_PROFILE")
            );
            ExitCode::SUCCESS
        }
    }
}

/// Reads the command line. What does not parse is one line and exit code 2; help and version are as clap prints them.
pub fn parse() -> Result<Cli, ExitCode> {
    let wrong = match Cli::try_parse() {
        Ok(cli) => return Ok(cli),
        Err(wrong) => wrong,
    };
    let asks_for_help = wrong.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !wrong.use_stderr() || asks_for_help {
        wrong.exit();
    }
    let text = wrong.render().to_string();
    // Its first paragraph says what; usage and tips follow.
    let paragraph = text.split("\n\n").next().unwrap_or(&text);
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let what = words.join(" ");
    eprintln!("binnacle: {}; see `binnacle --help`", what.strip_prefix("error: ").unwrap_or(&what));
    Err(ExitCode::from(EXIT_USAGE))
}

/// Exit code of a start that its input forbids; 1 is for what went wrong later.
const EXIT_USAGE: u8 = 2;

/// What the agent would collect; no listener is bound and no directory made.
fn dry_run(flags: Flags) -> ExitCode {
    let told = Config::load(Role::Agent, flags).and_then(|config| app::preview(&config));
    match told {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            eprintln!("binnacle: {wrong:#}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn serve(role: Role, flags: Flags) -> ExitCode {
    let config = match Config::load(role, flags.clone()) {
        Ok(config) => config,
        Err(wrong) => {
            eprintln!("binnacle: {wrong:#}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let inputs = match app::Inputs::read(&config) {
        Ok(inputs) => inputs,
        Err(wrong) => {
            eprintln!("binnacle: {wrong:#}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match app::run(config, inputs, Box::new(move || Config::load(role, flags.clone()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("binnacle: {wrong:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests;
