//! `binnacle sql`, `promql`, `logql`, `traceql`: a question to a running server over its public HTTP API, and the
//! answer as a table or as JSON, CSV or Arrow. What is printed to a pipe is the same as to a terminal.

mod answer;
mod prompt;
mod statement;
mod time;

use crate::cli::Language;
use crate::output;
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Args, Clone)]
pub struct QueryArgs {
    /// The query; without it, an interactive prompt with history and completion, or a script from standard input
    pub(crate) query: Option<String>,
    /// Base URL of the server
    #[arg(long, env = "BINNACLE_SERVER", default_value = "http://127.0.0.1:7400", value_name = "URL")]
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) tls: crate::server_tls::ServerTls,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Start of the range: RFC 3339, Unix seconds, or before now as in -1h. PromQL without it asks at one instant
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) start: Option<String>,
    /// End of the range [default: now]
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) end: Option<String>,
    /// Distance of points in a range [default: the range in 250 points]
    #[arg(long, value_name = "DURATION")]
    pub(crate) step: Option<String>,
    /// At most so many lines or traces
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
    /// Tenant to ask as (X-Scope-OrgID)
    #[arg(long, env = "BINNACLE_TENANT", value_name = "NAME")]
    pub(crate) tenant: Option<String>,
    /// File with the bearer token
    #[arg(long, env = "BINNACLE_CLIENT_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
    Csv,
    Arrow,
}

/// A query may take as long as the server lets it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs one query, or the prompt, to its end.
pub fn run(language: Language, args: QueryArgs) -> ExitCode {
    match run_to_end(language, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("binnacle: {wrong:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_to_end(language: Language, args: QueryArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = Server::new(&args)?;
    match &args.query {
        Some(query) => {
            let bytes = runtime.block_on(server.ask(language, query, &args))?;
            output::print(&bytes)?;
            Ok(())
        }
        None => prompt::run(&runtime, &server, language, &args),
    }
}

/// The server that is asked, and how to reach it.
pub(crate) struct Server {
    caller: agent::Caller,
    base: String,
    tenant: Option<String>,
    token: Option<String>,
}

impl Server {
    fn new(args: &QueryArgs) -> anyhow::Result<Server> {
        crate::telemetry::install_tls();
        let token = match &args.token_file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .with_context(|| format!("reading --token-file {}", path.display()))?
                    .trim()
                    .to_owned(),
            ),
            None => None,
        };
        Ok(Server {
            caller: agent::Caller::new(args.tls.certificates()?, CONNECT_TIMEOUT, None)?,
            base: args.server.trim_end_matches('/').to_owned(),
            tenant: args.tenant.clone(),
            token,
        })
    }

    /// The answer in the asked format, ready to be written out.
    pub(crate) async fn ask(
        &self,
        language: Language,
        query: &str,
        args: &QueryArgs,
    ) -> anyhow::Result<Vec<u8>> {
        match language {
            Language::Sql => self.ask_sql(query, args).await,
            Language::Promql => self.ask_promql(query, args).await,
            Language::Logql => self.ask_logql(query, args).await,
            Language::Traceql => self.ask_traceql(query, args).await,
        }
    }

    async fn ask_sql(&self, query: &str, args: &QueryArgs) -> anyhow::Result<Vec<u8>> {
        let wire = match args.format {
            Format::Table | Format::Arrow => "arrow",
            Format::Json => "json",
            Format::Csv => "csv",
        };
        let body = serde_json::json!({ "query": query, "format": wire });
        let asked = self.send(self.caller.http().post(format!("{}/api/sql", self.base)).json(&body)).await;
        let bytes = asked.map_err(|wrong| answer::pointing(wrong, query))?;
        if args.format == Format::Table { answer::arrow_table(&bytes) } else { Ok(bytes) }
    }

    async fn ask_promql(&self, query: &str, args: &QueryArgs) -> anyhow::Result<Vec<u8>> {
        let now = chrono::Utc::now();
        let mut form = vec![("query", query.to_owned())];
        let path = match &args.start {
            None => {
                form.push(("time", time::seconds(time::parse(args.end.as_deref(), now, now)?)));
                "query"
            }
            Some(start) => {
                let start = time::parse(Some(start), now, now)?;
                let end = time::parse(args.end.as_deref(), now, now)?;
                form.push(("start", time::seconds(start)));
                form.push(("end", time::seconds(end)));
                form.push(("step", time::step(args.step.as_deref(), start, end)?));
                "query_range"
            }
        };
        let bytes = self.send(self.caller.http().get(self.url(&format!("/api/v1/{path}"), &form)?)).await?;
        answer::metric(&bytes, args.format)
    }

    async fn ask_logql(&self, query: &str, args: &QueryArgs) -> anyhow::Result<Vec<u8>> {
        let now = chrono::Utc::now();
        let end = time::parse(args.end.as_deref(), now, now)?;
        let start = time::parse(args.start.as_deref(), now, end - chrono::TimeDelta::hours(1))?;
        let form = vec![
            ("query", query.to_owned()),
            ("start", time::nanoseconds(start)),
            ("end", time::nanoseconds(end)),
            ("step", time::step(args.step.as_deref(), start, end)?),
            ("limit", args.limit.unwrap_or(100).to_string()),
        ];
        let bytes = self.send(self.caller.http().get(self.url("/loki/api/v1/query_range", &form)?)).await?;
        answer::log(&bytes, args.format)
    }

    async fn ask_traceql(&self, query: &str, args: &QueryArgs) -> anyhow::Result<Vec<u8>> {
        let now = chrono::Utc::now();
        let end = time::parse(args.end.as_deref(), now, now)?;
        let start = time::parse(args.start.as_deref(), now, end - chrono::TimeDelta::hours(1))?;
        let form = vec![
            ("q", query.to_owned()),
            ("start", start.timestamp().to_string()),
            ("end", (end.timestamp() + 1).to_string()),
            ("limit", args.limit.unwrap_or(20).to_string()),
        ];
        let bytes = self.send(self.caller.http().get(self.url("/tempo/api/search", &form)?)).await?;
        answer::traces(&bytes, args.format)
    }

    fn url(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<reqwest::Url> {
        let url = format!("{}{path}", self.base);
        reqwest::Url::parse_with_params(&url, query)
            .with_context(|| format!("--server {:?} is not a URL", self.base))
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> anyhow::Result<Vec<u8>> {
        if let Some(tenant) = &self.tenant {
            request = request.header("X-Scope-OrgID", tenant);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(|wrong| {
            let why = self.caller.cause(&wrong);
            let what = match wrong.is_connect() && !self.base.starts_with("https") {
                true => "; start one with `binnacle up`, or give --server",
                false => "",
            };
            anyhow::anyhow!("no answer of {}: {why}{what}", self.base)
        })?;
        let status = response.status();
        let bytes = response.bytes().await.context("the answer broke off")?.to_vec();
        if !status.is_success() {
            bail!("{}", answer::error_text(status.as_u16(), &bytes));
        }
        Ok(bytes)
    }
}
