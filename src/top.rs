//! `binnacle agent top`: what a running agent does and what costs what, from its own metrics, twice apart.

use crate::output::{self, Reader};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub struct TopArgs {
    /// Base URL of the agent (or of `binnacle up`)
    #[arg(long, env = "BINNACLE_SERVER", value_name = "URL", default_value = "http://127.0.0.1:7400")]
    server: String,
    #[command(flatten)]
    tls: crate::server_tls::ServerTls,
    /// Seconds between two looks
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    every: f64,
    /// Print once and end
    #[arg(long)]
    once: bool,
}

/// Values by series, as exposed: `name{labels}`.
type Exposed = BTreeMap<String, f64>;

pub fn run(args: &TopArgs) -> ExitCode {
    crate::telemetry::install_tls();
    let every = Duration::from_secs_f64(args.every.clamp(0.2, 3_600.0));
    let first = Asking::of(args).and_then(|asking| Ok((asking.look()?, Instant::now(), asking)));
    let (mut before, asking) = match first {
        Ok((exposed, at, asking)) => ((exposed, at), asking),
        Err(why) => {
            eprintln!("binnacle: {}: {why:#}; is the agent there? (--server URL)", args.server);
            return ExitCode::FAILURE;
        }
    };
    let is_screen = std::io::stdout().is_terminal();
    loop {
        std::thread::sleep(every);
        match asking.look() {
            Ok(exposed) => {
                let text = table(&before.0, &exposed, before.1.elapsed().as_secs_f64());
                let shown = match (args.once, is_screen) {
                    (true, _) => text,
                    // The screen is cleared from the top, as top does.
                    (false, true) => format!("\x1b[H\x1b[2J{text}"),
                    (false, false) => format!("{text}\n"),
                };
                if args.once {
                    return output::end(&shown, ExitCode::SUCCESS);
                }
                match output::print(shown.as_bytes()) {
                    Ok(Reader::Listens) => before = (exposed, Instant::now()),
                    Ok(Reader::Gone) => return ExitCode::SUCCESS,
                    Err(wrong) => {
                        eprintln!("binnacle: standard output: {wrong}");
                        return ExitCode::FAILURE;
                    }
                }
            }
            Err(why) => eprintln!("binnacle: {}: {why:#}", args.server),
        }
    }
}

/// Who asks the agent.
struct Asking {
    url: String,
    caller: agent::Caller,
    runtime: tokio::runtime::Runtime,
}

const TIMEOUT: Duration = Duration::from_secs(30);

impl Asking {
    fn of(args: &TopArgs) -> anyhow::Result<Asking> {
        let url = format!("{}/metrics", args.server.trim_end_matches('/'));
        let caller = agent::Caller::new(args.tls.certificates()?, TIMEOUT, Some(TIMEOUT))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Asking { url, caller, runtime })
    }

    fn look(&self) -> anyhow::Result<Exposed> {
        let asked =
            async { self.caller.http().get(&self.url).send().await?.error_for_status()?.text().await };
        let text = self.runtime.block_on(asked);
        Ok(exposed(&text.map_err(|wrong| anyhow::anyhow!(self.caller.cause(&wrong)))?))
    }
}

fn exposed(text: &str) -> Exposed {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        })
        .collect()
}

/// What grew, a second, and what there is.
fn table(before: &Exposed, now: &Exposed, seconds: f64) -> String {
    let mut out = String::new();
    let rate = |series: &str| {
        let grown = now.get(series).copied().unwrap_or(0.0) - before.get(series).copied().unwrap_or(0.0);
        grown.max(0.0) / seconds.max(1e-3)
    };
    let of = |name: &str| -> Vec<&String> {
        now.keys().filter(|series| series.split('{').next() == Some(name)).collect()
    };
    // The sum of nothing is a negative zero, and would be printed as one.
    let sum = |name: &str| of(name).into_iter().map(|series| now[series]).sum::<f64>() + 0.0;
    let sum_rate = |name: &str| of(name).into_iter().map(|series| rate(series)).sum::<f64>() + 0.0;
    let mib = |bytes: f64| bytes / 1_048_576.0;
    out.push_str(&format!(
        "process   {:6.2} % of a core   {:8.1} MiB resident\n",
        100.0 * sum_rate("process_cpu_seconds_total"),
        mib(sum("process_resident_memory_bytes")),
    ));
    let mut parts: Vec<(f64, String)> = of("binnacle_agent_part_cpu_seconds_total")
        .into_iter()
        .map(|series| (100.0 * rate(series), label(series, "part")))
        .collect();
    parts.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (percent, part) in parts {
        out.push_str(&format!("  {part:<12} {percent:6.2} %\n"));
    }
    out.push_str(&format!(
        "logs      {:10.1} lines/s   {:8.1} MiB behind   {:.1} dropped/s\n",
        sum_rate("binnacle_agent_log_lines_total"),
        mib(sum("binnacle_agent_log_behind_bytes")),
        sum_rate("binnacle_agent_log_lines_dropped_total"),
    ));
    out.push_str(&format!(
        "queue     {:10.0} records   {:8.1} MiB   {:.1} sent/s   {:.1} failures/s\n",
        sum("binnacle_agent_queue_records"),
        mib(sum("binnacle_agent_queue_bytes")),
        sum_rate("binnacle_agent_sent_records_total"),
        sum_rate("binnacle_agent_send_failures_total"),
    ));
    out.push_str(&format!(
        "scrapes   {:10.1} /s   {:.0} targets   {:.1} failures/s\n",
        sum_rate("binnacle_agent_scrapes_total"),
        sum("binnacle_agent_scrape_targets"),
        sum_rate("binnacle_agent_scrape_failures_total"),
    ));
    for series in of("binnacle_agent_kubelet_requests_total") {
        let path = label(series, "path");
        let failures = series.replace("requests", "failures");
        out.push_str(&format!(
            "kubelet   {path:<16} {:.2} /s   {:.2} failures/s\n",
            rate(series),
            rate(&failures)
        ));
    }
    out
}

fn label(series: &str, name: &str) -> String {
    let value = series.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
    value.unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_told_by_part() {
        let at = |logs: f64, lines: f64| {
            exposed(&format!(
                "# TYPE a counter\nbinnacle_agent_part_cpu_seconds_total{{part=\"logs\"}} {logs}\n\
                 binnacle_agent_part_cpu_seconds_total{{part=\"node\"}} 1\nbinnacle_agent_log_lines_total {lines}\n\
                 binnacle_agent_kubelet_requests_total{{path=\"/pods\"}} {lines}\n"
            ))
        };
        let text = table(&at(1.0, 100.0), &at(2.0, 300.0), 2.0);
        assert!(text.contains("logs          50.00 %"), "{text}");
        assert!(text.contains("100.0 lines/s") && text.contains("/pods"), "{text}");
        assert!(text.contains(" 0.0 dropped/s") && !text.contains("-0"), "{text}");
    }
}
