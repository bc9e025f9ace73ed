//! `binnacle check`: every mistake of every file, with file, line and a remedy. Exit code 1 when there is any.

mod configuration;
mod dashboard;

use crate::output;
use std::path::Path;
use std::process::ExitCode;

pub fn run(files: &[std::path::PathBuf]) -> ExitCode {
    let (mut told, mut mistakes) = (String::new(), 0);
    for file in files {
        match check(file) {
            Ok(what) => told += &format!("{}: {what}\n", file.display()),
            Err(found) => {
                for mistake in &found {
                    told += &format!("{}:{mistake}\n", file.display());
                }
                mistakes += found.len();
            }
        }
    }
    if mistakes == 0 {
        return output::end(&told, ExitCode::SUCCESS);
    }
    told += &format!("{mistakes} mistake{}\n", if mistakes == 1 { "" } else { "s" });
    output::end(&told, ExitCode::FAILURE)
}

/// What the file is, or each of its mistakes as `line[:column]: text`.
fn check(path: &Path) -> Result<String, Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|wrong| vec![format!(" cannot be read: {wrong}")])?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => told(configuration::mistakes(&text), "configuration is valid"),
        Some("yml" | "yaml" | "rules") => yaml(path),
        Some("json") if is_price_book(&text) => prices(&text),
        Some("json") => told(dashboard::mistakes(&text, &parses), "dashboard is valid"),
        Some("csv") => prices(&text),
        _ => Err(vec![
            " unknown kind of file; .toml is configuration, .yaml rules, SLOs or tail sampling, .json a dashboard or price book, .csv a price book"
                .into(),
        ]),
    }
}

fn told(mistakes: Vec<String>, right: &str) -> Result<String, Vec<String>> {
    if mistakes.is_empty() { Ok(right.into()) } else { Err(mistakes) }
}

/// Sections of Prometheus' own configuration file, none of which a file of rules has.
const OF_PROMETHEUS: [&str; 10] = [
    "scrape_configs",
    "scrape_config_files",
    "global",
    "rule_files",
    "alerting",
    "remote_write",
    "remote_read",
    "storage",
    "tracing",
    "otlp",
];

fn yaml(path: &Path) -> Result<String, Vec<String>> {
    if let Ok(text) = std::fs::read_to_string(path)
        && text.lines().any(|line| line.split_once(':').is_some_and(|(key, _)| OF_PROMETHEUS.contains(&key)))
    {
        let folder = path.parent().unwrap_or(Path::new("."));
        return agent::scrape::parse_jobs(&text, folder)
            .map(|parsed| {
                let valid = format!("scrape configuration is valid, {} jobs", parsed.jobs.len());
                std::iter::once(valid).chain(parsed.warnings).collect::<Vec<_>>().join("; ")
            })
            .map_err(|wrong| vec![wrong.to_string()]);
    }
    if let Ok(text) = std::fs::read_to_string(path)
        && text.lines().any(|line| line.starts_with("rules:"))
    {
        return agent::LogRules::parse(&text)
            .map(|_| "rules for container logs are valid".into())
            .map_err(|wrong| wrong.all().iter().map(ToString::to_string).collect());
    }
    if let Ok(text) = std::fs::read_to_string(path)
        && text.lines().any(|line| line.starts_with("policies:"))
    {
        return traces::Sampling::parse(&text)
            .map(|sampling| format!("tail sampling is valid, {} policies", sampling.policies()))
            .map_err(|wrong| vec![wrong]);
    }
    let parses = |query: &str| promql::parse(query).map(|_| ()).map_err(|wrong| wrong.to_string());
    alerts::check_file(path, &parses)
        .map(|what| what.to_string())
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

/// By the kind of the data source; where the dashboard leaves that open, any language will do.
fn parses(source: &str, query: &str) -> Result<(), String> {
    let as_promql = || promql::parse(query).map(|_| ()).map_err(|wrong| wrong.to_string());
    let as_logql = || logql::parse(query).map(|_| ()).map_err(|wrong| wrong.to_string());
    let as_traceql = || traceql::parse(query).map(|_| ()).map_err(|wrong| wrong.to_string());
    match source {
        "prometheus" => as_promql(),
        "loki" => as_logql(),
        "tempo" => as_traceql(),
        "" => as_promql().or_else(|wrong| as_logql().or_else(|_| as_traceql()).map_err(|_| wrong)),
        _ => Ok(()),
    }
}

/// A dashboard is an object without prices.
fn is_price_book(text: &str) -> bool {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    value.is_array() || value.get("prices").is_some()
}

fn prices(text: &str) -> Result<String, Vec<String>> {
    engine::PriceBook::parse(text)
        .map(|book| format!("price book is valid, {} prices", book.len()))
        .map_err(|wrong| wrong.all().iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// Files that Prometheus refuses and we read: its name for why is in the file's own.
    const READ_ALL_THE_SAME: [&str; 2] = [
        // Only where metric names may not be UTF-8.
        "legacy_validation_annotation.bad.yaml",
        // Right as a rule; it fails when it is evaluated.
        "bad-rules-error.yml",
    ];

    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found);
            } else {
                found.push(path);
            }
        }
    }

    /// Rules that others wrote are read, and those that are wrong on purpose are refused at a line.
    #[test]
    fn rule_files_of_others_are_read_or_refused_at_a_line() {
        let suites = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/suites/data");
        if !suites.exists() {
            println!("no {}: others' rule files were not read", suites.display());
            return;
        }
        let mut found = vec![];
        files(&suites.join("rules"), &mut found);
        files(&suites.join("prometheus/promtool_rules"), &mut found);
        let (mut read, mut refused) = (0, 0);
        for path in found {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            // Unit tests of rules are another kind of file.
            let is_test =
                text.lines().any(|line| line.starts_with("tests:") || line.starts_with("rule_files:"));
            let is_bad = ["bad", "invalid", "extrafields"].iter().any(|word| name.contains(word));
            let wanted = is_test || is_bad && !READ_ALL_THE_SAME.contains(&name.as_str());
            match check(&path) {
                Ok(told) => {
                    assert!(!wanted, "{name} is read: {told}");
                    read += 1;
                }
                Err(mistakes) => {
                    assert!(wanted, "{name} is refused: {mistakes:?}");
                    let at = mistakes[0].split(':').next().unwrap_or_default();
                    assert!(
                        at.parse::<u32>().is_ok_and(|line| line > 0),
                        "{name} without a line: {mistakes:?}"
                    );
                    refused += 1;
                }
            }
        }
        assert!(read > 50 && refused > 15, "{read} read, {refused} refused");
    }

    /// OpenSLO's own examples ask `Any` source for `Any` query; with Prometheus in their place the rolling one is read, and
    /// the others are told why not.
    #[test]
    fn openslo_s_examples_are_read_or_told_why_not() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/suites/data/slo/openslo");
        if !folder.exists() {
            println!("no {}: OpenSLO's examples were not read", folder.display());
            return;
        }
        let mut found = vec![];
        files(&folder, &mut found);
        let dir = tempfile::tempdir().unwrap();
        for path in found {
            let text = std::fs::read_to_string(&path).unwrap();
            let wrong = check(&path).unwrap_err();
            assert!(wrong.iter().any(|mistake| mistake.contains("use Prometheus")), "{wrong:?}");
            let asked = dir.path().join("slo.yaml");
            std::fs::write(
                &asked,
                text.replace("type: Any", "type: Prometheus").replace("query: Any", "query: up"),
            )
            .unwrap();
            match check(&asked) {
                Ok(told) => assert_eq!(told, "SLOs are valid, 1 objectives"),
                Err(wrong) => {
                    assert!(text.contains("calendar:"), "{wrong:?}");
                    assert!(wrong.len() == 1 && wrong[0].contains("calendar windows"), "{wrong:?}");
                }
            }
        }
    }
}
