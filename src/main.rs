//! The one binary. Everything it does is in the modules; this file only starts them.

mod app;
mod check;
mod cli;
mod client;
mod config;
mod demo;
mod memory;
mod remote;
mod telemetry;
mod top;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(cli) => cli::run(cli),
        Err(code) => code,
    }
}
