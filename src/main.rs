//! The one binary. Everything it does is in the modules; this file only starts them.

// The agent alone has the same flags and listeners, and uses fewer of them.
#![cfg_attr(not(feature = "server"), allow(dead_code))]
// It panics where nobody reads: `output` is the way out.
#![deny(clippy::print_stdout)]

mod app;
#[cfg(feature = "server")]
mod check;
mod cli;
#[cfg(feature = "server")]
mod client;
mod config;
#[cfg(feature = "server")]
mod demo;
mod memory;
mod output;
#[cfg(feature = "server")]
mod remote;
mod server_tls;
mod telemetry;
mod top;
#[cfg(feature = "server")]
mod trace_context;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(cli) => cli::run(cli),
        Err(code) => code,
    }
}
