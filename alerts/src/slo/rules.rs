//! The rules of an objective: what to record, and when to call somebody.
//!
//! Events are recorded as rates over five minutes, bad ones and all. Short windows are asked of the raw series, long
//! ones are sums of what was recorded: that weighs each event alike, as the budget does, and a month costs one series
//! of one sample a minute rather than every raw series of a month. So a long window knows only the time since the
//! objective was configured.

use super::{Indicator, Method, Slo, query};
use crate::duration;
use crate::rules::{Group, Kind, Rule};
use std::time::Duration;

/// Short window, long window, how many times faster than allowed, and who is called. The numbers are those of the
/// site reliability workbook: they spend 2 %, 5 %, 10 % and 10 % of a month's budget before somebody is called.
pub const BURNS: [(&str, &str, f64, &str); 4] = [
    ("5m", "1h", 14.4, "page"),
    ("30m", "6h", 6.0, "page"),
    ("2h", "1d", 3.0, "ticket"),
    ("6h", "3d", 1.0, "ticket"),
];

/// Shortest first. The first three are asked of the raw series.
pub const WINDOWS: [&str; 7] = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"];
const RAW_WINDOWS: usize = 3;

/// Where in the group what is of interest to [`budget`](super::budget) is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Window and rule number, shortest first; only windows that fit into the objective's.
    pub windows: Vec<(&'static str, usize)>,
    pub whole: usize,
}

/// The group of an objective.
pub fn group(slo: &Slo, interval: Duration) -> (Group, Recorded) {
    let labels = slo.labels();
    let selector = selector(&labels);
    let mut rules = vec![];
    let basis = basis(slo);
    rules.extend(basis.recorded.iter().map(|(name, expr)| record(name, expr.clone(), &labels, None)));

    let mut windows = vec![];
    for (i, window) in WINDOWS.into_iter().enumerate() {
        let fits = duration::parse(window).is_ok_and(|length| length <= slo.window);
        if fits {
            windows.push((window, rules.len()));
            let raw = if i < RAW_WINDOWS { basis.raw(window) } else { None };
            let expr = raw.unwrap_or_else(|| basis.recorded_over(window, &selector));
            rules.push(record(&error_name(window), expr, &labels, Some(window)));
        }
    }
    let window = duration::print(slo.window);
    let whole = match windows.iter().find(|(known, _)| *known == window) {
        Some((_, at)) => *at,
        None => {
            let expr = basis.recorded_over(&window, &selector);
            rules.push(record(&error_name(&window), expr, &labels, Some(&window)));
            rules.len() - 1
        }
    };
    let budget = number(slo.budget());
    rules.push(record(
        "slo:error_budget_remaining:ratio",
        format!("1 - {}{selector} / {budget}", error_name(&window)),
        &labels,
        None,
    ));
    if windows.iter().any(|(known, _)| *known == "1h") {
        rules.push(record(
            "slo:burn_rate:ratio",
            format!("{}{selector} / {budget}", error_name("1h")),
            &labels,
            None,
        ));
    }
    for (short, long, factor, severity) in BURNS {
        if windows.iter().any(|(known, _)| *known == long) {
            rules.push(burn_alert(slo, &selector, short, long, factor, severity));
        }
    }
    let name =
        if slo.objective.is_empty() { slo.name.clone() } else { format!("{} {}", slo.name, slo.objective) };
    let group = Group {
        name: format!("slo {name}"),
        file: slo.file.clone(),
        interval: Some(interval),
        query_offset: Duration::ZERO,
        limit: 0,
        set_by: None,
        rules,
    };
    (group, Recorded { windows, whole })
}

fn error_name(window: &str) -> String {
    format!("slo:sli_error:ratio_rate{window}")
}

/// How the share of errors over a window comes about.
struct Basis {
    /// Names and expressions that everything else builds on.
    recorded: Vec<(&'static str, String)>,
    /// Where events are counted: the objective, whose queries can be asked over any window.
    events: Option<Slo>,
}

fn basis(slo: &Slo) -> Basis {
    match (&slo.indicator, slo.method) {
        (Indicator::Events { .. }, Method::Occurrences) => {
            let (bad, total) = events(slo, "5m");
            Basis {
                recorded: vec![("slo:events_bad:rate5m", bad), ("slo:events_total:rate5m", total)],
                events: Some(slo.clone()),
            }
        }
        _ => Basis { recorded: vec![("slo:sli_error:ratio_now", error_now(slo))], events: None },
    }
}

impl Basis {
    /// From the raw series, where that is exact.
    fn raw(&self, window: &str) -> Option<String> {
        let slo = self.events.as_ref()?;
        let (bad, total) = events(slo, window);
        Some(format!("({bad}) / ({total} > 0)"))
    }

    fn recorded_over(&self, window: &str, selector: &str) -> String {
        match self.events {
            Some(_) => format!(
                "sum_over_time(slo:events_bad:rate5m{selector}[{window}]) / (sum_over_time(slo:events_total:rate5m{selector}[{window}]) > 0)"
            ),
            None => format!("avg_over_time(slo:sli_error:ratio_now{selector}[{window}])"),
        }
    }
}

/// Bad events and all events a second over `window`. A side that has no series yet counts as none, as long as there
/// are events at all.
fn events(slo: &Slo, window: &str) -> (String, String) {
    let Indicator::Events { part, part_is_good, total, counter } = &slo.indicator else {
        return (String::new(), String::new());
    };
    // Both were tried when the file was read.
    let over = |query: &str| query::over(query, *counter, window).unwrap_or_default();
    let (part, total) = (over(part), over(total));
    let part = format!("({part} or {total} * 0)");
    (if *part_is_good { format!("{total} - {part}") } else { part }, total)
}

/// The share of errors at this moment, for methods that weigh time rather than events.
fn error_now(slo: &Slo) -> String {
    let share = |slice: &str| match &slo.indicator {
        Indicator::Events { .. } => {
            let (bad, total) = events(slo, slice);
            format!("({bad}) / ({total} > 0)")
        }
        Indicator::Share { query, of_good: true } => format!("1 - avg({query})"),
        Indicator::Share { query, of_good: false } => format!("avg({query})"),
        Indicator::Threshold { query, op, value } => query::threshold_error(query, op, *value),
    };
    match slo.method {
        Method::Occurrences => share("5m"),
        Method::RatioTimeslices { slice } => share(&range_of(slice)),
        Method::Timeslices { slice, target } => {
            format!("({}) > bool {}", share(&range_of(slice)), number(1.0 - target))
        }
    }
}

/// A slice as the range of a rate, which needs a few samples to see anything.
fn range_of(slice: Duration) -> String {
    duration::print(slice.max(Duration::from_secs(60)))
}

fn record(name: &str, expr: String, labels: &[(String, String)], window: Option<&str>) -> Rule {
    let mut labels = labels.to_vec();
    labels.extend(window.map(|window| ("slo_window".to_owned(), window.to_owned())));
    labels.sort();
    Rule { expr, labels, kind: Kind::Record { name: name.to_owned() } }
}

fn burn_alert(slo: &Slo, selector: &str, short: &str, long: &str, factor: f64, severity: &str) -> Rule {
    let budget = number(slo.budget());
    let above = |window: &str| format!("{}{selector} > ({factor} * {budget})", error_name(window));
    let mut labels = slo.labels();
    labels.push(("severity".into(), severity.into()));
    labels.push(("slo_burn_rate".into(), factor.to_string()));
    labels.sort();
    let name = if slo.display_name.is_empty() { &slo.name } else { &slo.display_name };
    let annotations = vec![
        (
            "description".to_owned(),
            format!(
                "{{{{ $value | humanizePercentage }}}} errors over {short}; {} are allowed over {}, and at {factor} times \
                 that its budget is gone in {}.",
                percent(slo.budget()),
                duration::print(slo.window),
                crate::template::print::humanize_duration(slo.window.as_secs_f64() / factor),
            ),
        ),
        (
            "summary".to_owned(),
            escape_braces(&format!("{name} burns its error budget {factor} times too fast")),
        ),
    ];
    Rule {
        expr: format!("{} and ignoring(slo_window) {}", above(short), above(long)),
        labels,
        kind: Kind::Alert {
            name: "SLOErrorBudgetBurn".into(),
            hold: Duration::ZERO,
            keep_firing: Duration::ZERO,
            annotations,
        },
    }
}

/// A name is no template, whatever is in it.
fn escape_braces(text: &str) -> String {
    text.replace("{{", "{ {")
}

fn percent(share: f64) -> String {
    crate::template::print::humanize_percentage(share)
}

/// Without the dust of binary fractions: 1 − 0.99 is 0.01.
fn number(value: f64) -> String {
    let text = format!("{value:.12}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn selector(labels: &[(String, String)]) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| {
            format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
        })
        .collect();
    format!("{{{}}}", pairs.join(","))
}
