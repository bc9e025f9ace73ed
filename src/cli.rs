//! What a user types: commands, flags, their help. A flag is also an environment variable and a key of the TOML file;
//! `config` merges the three. Nothing is opened or bound here.

#[cfg(feature = "server")]
mod server;

use crate::app;
use crate::config::{Config, Flags, Role};
use crate::output;
use clap::{Args, Parser, Subcommand};
#[cfg(feature = "server")]
pub use server::Language;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "binnacle",
    version = VERSION,
    about = ABOUT,
    after_help = AFTER_HELP,
    propagate_version = true,
    // The last of two wins, as people expect who add a flag to a line that they were given.
    args_override_self = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[cfg(feature = "server")]
use server::{ABOUT, AFTER_HELP};
#[cfg(not(feature = "server"))]
const ABOUT: &str =
    "The node agent of Binnacle: one node's metrics, logs and traces, sent to an ingest process";
#[cfg(not(feature = "server"))]
const AFTER_HELP: &str = "Start with `binnacle agent --ingest URL`; `binnacle agent --dry-run` prints what it would collect. \
    This binary is the agent alone; the other roles are in the whole one.";

/// Version, commit and build profile, as `binnacle version` prints them.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Subcommand)]
#[cfg_attr(
    not(feature = "server"),
    allow(clippy::large_enum_variant, reason = "one of it is made, at the start")
)]
enum Command {
    #[cfg(feature = "server")]
    #[command(flatten)]
    Server(server::Command),
    #[command(display_order = 1)]
    /// Run the node agent alone: collect this machine's telemetry and ship it to --ingest
    Agent(AgentFlags),
    /// Print version, commit and build profile
    Version,
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

/// Runs one command to its end.
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        #[cfg(feature = "server")]
        Command::Server(command) => server::run(command),
        Command::Agent(agent) => match agent.command {
            Some(AgentCommand::Top(args)) => crate::top::run(&args),
            None if agent.dry_run => dry_run(agent.flags),
            None => serve(Role::Agent, agent.flags),
        },
        Command::Version => {
            let (commit, profile) = (env!("BINNACLE_COMMIT"), env!("BINNACLE_PROFILE"));
            let told = format!("binnacle {VERSION} (commit {commit}, profile {profile})\n");
            output::end(&told, ExitCode::SUCCESS)
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
        Ok(text) => output::end(&text, ExitCode::SUCCESS),
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
