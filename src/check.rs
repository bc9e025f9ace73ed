//! `binnacle check`: every mistake of every file, with file, line and a remedy. Exit code 1 when there is any.

use crate::config::Flags;
use std::path::Path;
use std::process::ExitCode;

pub fn run(files: &[std::path::PathBuf]) -> ExitCode {
    let mut mistakes = 0;
    for file in files {
        match check(file) {
            Ok(what) => println!("{}: {what}", file.display()),
            Err(found) => {
                for mistake in &found {
                    println!("{}:{mistake}", file.display());
                }
                mistakes += found.len();
            }
        }
    }
    if mistakes == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{mistakes} mistake{}", if mistakes == 1 { "" } else { "s" });
    ExitCode::FAILURE
}

/// What the file is, or each of its mistakes as `line[:column]: text`.
fn check(path: &Path) -> Result<String, Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|wrong| vec![format!(" cannot be read: {wrong}")])?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => configuration(&text),
        Some("yml" | "yaml") => yaml(path),
        Some("json") => dashboard(&text),
        Some("csv") => prices(&text),
        _ => Err(vec![
            " unknown kind of file; .toml is configuration, .yaml rules or SLOs, .json a dashboard, .csv a price book"
                .into(),
        ]),
    }
}

fn configuration(text: &str) -> Result<String, Vec<String>> {
    Flags::from_toml(text).map(|_| "configuration is valid".into()).map_err(|wrong| {
        let wrong = wrong.downcast::<toml::de::Error>();
        vec![match wrong {
            Ok(wrong) => {
                let before = &text[..wrong.span().map_or(0, |span| span.start.min(text.len()))];
                let line = before.matches('\n').count() + 1;
                let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
                format!("{line}:{column}: {}", wrong.message())
            }
            Err(other) => format!(" {other:#}"),
        }]
    })
}

fn yaml(path: &Path) -> Result<String, Vec<String>> {
    let parses = |query: &str| promql::parse(query).map(|_| ()).map_err(|wrong| wrong.to_string());
    alerts::check_file(path, &parses)
        .map(|what| what.to_string())
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

fn dashboard(text: &str) -> Result<String, Vec<String>> {
    let json: serde_json::Value = serde_json::from_str(text)
        .map_err(|wrong| vec![format!("{}:{}: not JSON: {wrong}", wrong.line(), wrong.column())])?;
    let mut mistakes = vec![];
    if json.get("title").and_then(|title| title.as_str()).is_none_or(str::is_empty) {
        mistakes.push("1: no `title`; a dashboard needs one to be listed".to_owned());
    }
    let panels = json.get("panels").and_then(|panels| panels.as_array());
    match panels {
        None => mistakes
            .push("1: no `panels`; export the dashboard as classic JSON (not as a resource)".to_owned()),
        Some(panels) => {
            for (i, panel) in panels.iter().enumerate() {
                if panel.get("type").and_then(|kind| kind.as_str()).is_none() {
                    mistakes.push(format!("1: panels[{i}] has no `type`"));
                }
            }
        }
    }
    if mistakes.is_empty() { Ok("dashboard is valid".into()) } else { Err(mistakes) }
}

fn prices(text: &str) -> Result<String, Vec<String>> {
    engine::PriceBook::parse(text)
        .map(|book| format!("price book is valid, {} prices", book.len()))
        .map_err(|wrong| vec![wrong.to_string()])
}
