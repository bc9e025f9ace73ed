//! Service level objectives: OpenSLO v1 in, objectives with their indicator out.
//!
//! An objective becomes recording rules and burn-rate alerts ([`rules`]), and its budget is read from what those rules
//! recorded ([`budget`]). Where there is no data the budget is unknown: never full, never empty.

pub mod budget;
pub mod query;
pub mod rules;

use crate::duration;
use crate::yaml::{File, Node, Place};
use std::collections::HashMap;
use std::time::Duration;

/// One objective of an SLO.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    pub name: String,
    pub display_name: String,
    pub service: String,
    pub description: String,
    /// Tells apart the objectives of one SLO; empty where there is only one.
    pub objective: String,
    /// The share that should be good, e.g. 0.999.
    pub target: f64,
    pub window: Duration,
    pub method: Method,
    pub indicator: Indicator,
    pub file: String,
}

/// What is counted against the budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Every event, or every sample, is good or bad.
    Occurrences,
    /// Every slice of time is good (its share of good events reaches `target`) or bad.
    Timeslices { slice: Duration, target: f64 },
    /// The mean of the slices' shares.
    RatioTimeslices { slice: Duration },
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Occurrences => "Occurrences",
            Method::Timeslices { .. } => "Timeslices",
            Method::RatioTimeslices { .. } => "RatioTimeslices",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Indicator {
    /// Events counted: the good or the bad ones, and all.
    Events { part: String, part_is_good: bool, total: String, counter: bool },
    /// A share that somebody else computed.
    Share { query: String, of_good: bool },
    /// A value that should be on the right side of a threshold.
    Threshold { query: String, op: &'static str, value: f64 },
}

impl Slo {
    /// The share that may be bad.
    pub fn budget(&self) -> f64 {
        1.0 - self.target
    }

    /// The labels of everything recorded for it.
    pub fn labels(&self) -> Vec<(String, String)> {
        let mut labels =
            vec![("slo".to_owned(), self.name.clone()), ("slo_service".to_owned(), self.service.clone())];
        if !self.objective.is_empty() {
            labels.push(("slo_objective".to_owned(), self.objective.clone()));
        }
        labels
    }
}

/// Each objective costs a dozen queries at each interval.
const OBJECTIVES_MAX: usize = 1_000;

/// Objectives of a file, and the queries in it with their places.
#[derive(Debug, Default)]
pub struct SloFile {
    pub slos: Vec<Slo>,
    expressions: Vec<(Place, String)>,
}

impl SloFile {
    pub fn expressions(&self) -> impl Iterator<Item = (&Place, &str)> {
        self.expressions.iter().map(|(place, text)| (place, text.as_str()))
    }
}

const KINDS: [&str; 7] =
    ["SLO", "SLI", "Service", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget"];

/// Not right while `file` has mistakes.
pub fn read(file: &File<'_>, name: &str) -> SloFile {
    let mut found = SloFile::default();
    let mut shared = HashMap::new();
    let mut slos = vec![];
    for document in file.documents() {
        if let Some(version) = document.get("apiVersion").or_else(|| document.need("apiVersion")) {
            let text = version.text().unwrap_or_default();
            if text != "openslo/v1" {
                version.wrong(format!("{text:?} is not read; write openslo/v1"));
            }
        }
        let Some(kind) = document.need("kind") else { continue };
        match kind.text().unwrap_or_default().as_str() {
            "SLO" => slos.push(document),
            "SLI" => {
                let name = document.get("metadata").and_then(|metadata| metadata.get("name")?.text());
                if let (Some(name), Some(spec)) = (name, document.need("spec")) {
                    shared.insert(name, spec);
                }
            }
            // They say nothing that an objective's budget depends on.
            other if KINDS.contains(&other) => {}
            other => kind.wrong(format!("{other:?} is no kind of OpenSLO; known are {}", KINDS.join(", "))),
        }
    }
    for document in &slos {
        read_slo(document, &shared, name, &mut found);
    }
    if found.slos.len() > OBJECTIVES_MAX {
        file.wrong(
            &Place::default(),
            format!("{} objectives; at most {OBJECTIVES_MAX} are taken", found.slos.len()),
        );
    }
    found
}

fn read_slo(
    document: &Node<'_>,
    shared: &HashMap<String, Node<'_>>,
    file: &str,
    found: &mut SloFile,
) -> Option<()> {
    let metadata = document.need("metadata")?;
    let name = metadata.need("name")?.text()?;
    let spec = document.need("spec")?;
    spec.only(&[
        "description",
        "service",
        "indicator",
        "indicatorRef",
        "timeWindow",
        "budgetingMethod",
        "objectives",
        "alertPolicies",
    ]);
    let text = |node: &Node<'_>, key: &str| node.get(key).and_then(|node| node.text()).unwrap_or_default();
    let window = read_window(&spec);
    let objectives = spec.need("objectives").map(|list| list.items()).unwrap_or_default();
    if objectives.is_empty() {
        spec.wrong("an SLO needs at least one objective");
    }
    for (i, objective) in objectives.iter().enumerate() {
        objective.only(&[
            "displayName",
            "op",
            "value",
            "target",
            "targetPercent",
            "timeSliceTarget",
            "timeSliceWindow",
            "indicator",
            "indicatorRef",
            "compositeWeight",
        ]);
        let target = read_target(objective);
        let method = read_method(&spec, objective);
        let source = indicator_of(objective, shared).or_else(|| indicator_of(&spec, shared));
        let Some(source) = source else {
            spec.wrong("`indicator` or `indicatorRef` is missing");
            continue;
        };
        let indicator = read_indicator(&source, objective, found);
        let (Some(target), Some(method), Some(indicator), Some(window)) = (target, method, indicator, window)
        else {
            continue;
        };
        let label = match (objectives.len(), text(objective, "displayName")) {
            (1, _) => String::new(),
            (_, name) if name.is_empty() => format!("{}", i + 1),
            (_, name) => name,
        };
        if found.slos.iter().any(|slo| slo.name == name && slo.objective == label) {
            document.wrong(format!("SLO {name:?} {label:?} is there twice; give each its own name"));
        }
        found.slos.push(Slo {
            name: name.clone(),
            display_name: text(&metadata, "displayName"),
            service: text(&spec, "service"),
            description: text(&spec, "description"),
            objective: label,
            target,
            window,
            method,
            indicator,
            file: file.to_owned(),
        });
    }
    Some(())
}

fn read_window(spec: &Node<'_>) -> Option<Duration> {
    let windows = spec.need("timeWindow")?;
    let items = windows.items();
    let [window] = items.as_slice() else {
        windows.wrong("exactly one time window is expected");
        return None;
    };
    if let Some(calendar) = window.get("calendar") {
        calendar.wrong("calendar windows are not supported; use `isRolling: true` without `calendar`");
        return None;
    }
    let length = window.need("duration")?;
    let parsed = shorthand(&length.text()?);
    match parsed {
        Ok(parsed) if parsed < Duration::from_secs(3600) => {
            length.wrong("a window shorter than 1h has no budget worth the name");
            None
        }
        Ok(parsed) => Some(parsed),
        Err(why) => {
            length.wrong(why);
            None
        }
    }
}

/// OpenSLO's durations: as Prometheus', and `M`, `Q`, `Y` for 30, 90 and 365 days.
fn shorthand(text: &str) -> Result<Duration, String> {
    let days = match text.chars().last() {
        Some('M') => 30,
        Some('Q') => 90,
        Some('Y') => 365,
        _ => return duration::parse(text),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| format!("{text:?} is not a duration"))?;
    duration::parse(&format!("{}d", number.saturating_mul(days)))
}

fn read_target(objective: &Node<'_>) -> Option<f64> {
    let (node, target) = match (objective.get("target"), objective.get("targetPercent")) {
        (Some(node), None) => (node.clone(), node.number()?),
        (None, Some(node)) => (node.clone(), node.number()? / 100.0),
        (Some(_), Some(node)) => {
            node.wrong("either `target` or `targetPercent`, not both");
            return None;
        }
        (None, None) => {
            objective.wrong("`target` is missing, e.g. 0.999");
            return None;
        }
    };
    if !(0.0..1.0).contains(&target) {
        node.wrong(format!(
            "{target} is not a target; it must be at least 0 and less than 1 (100 % leaves no budget)"
        ));
        return None;
    }
    // Less budget than this is lost in the arithmetic of shares.
    if 1.0 - target < 1e-9 {
        node.wrong(format!("{target} leaves no budget worth the name; 0.999999 allows one in a million"));
        return None;
    }
    Some(target)
}

fn read_method(spec: &Node<'_>, objective: &Node<'_>) -> Option<Method> {
    let Some(node) = spec.get("budgetingMethod") else { return Some(Method::Occurrences) };
    let slice = || {
        let window = objective.need("timeSliceWindow")?;
        match shorthand(&window.text()?) {
            Ok(slice) if slice >= Duration::from_secs(1) => Some(slice),
            Ok(_) => {
                window.wrong("a time slice is at least 1s");
                None
            }
            Err(why) => {
                window.wrong(why);
                None
            }
        }
    };
    match node.text()?.as_str() {
        "Occurrences" => Some(Method::Occurrences),
        "Timeslices" => {
            let target = objective.need("timeSliceTarget")?.number()?;
            Some(Method::Timeslices { slice: slice()?, target })
        }
        "RatioTimeslices" => Some(Method::RatioTimeslices { slice: slice()? }),
        other => {
            node.wrong(format!("{other:?} is not known; use Occurrences, Timeslices or RatioTimeslices"));
            None
        }
    }
}

/// The `spec` of the indicator that `node` holds or refers to.
fn indicator_of<'f>(node: &Node<'f>, shared: &HashMap<String, Node<'f>>) -> Option<Node<'f>> {
    if let Some(inline) = node.get("indicator") {
        return inline.need("spec");
    }
    let reference = node.get("indicatorRef")?;
    let name = reference.text()?;
    let known = shared.get(&name).cloned();
    if known.is_none() {
        reference.wrong(format!("no SLI named {name:?} in this file; put it there as a document of its own"));
    }
    known
}

fn read_indicator(spec: &Node<'_>, objective: &Node<'_>, found: &mut SloFile) -> Option<Indicator> {
    spec.only(&["description", "thresholdMetric", "ratioMetric"]);
    match (spec.get("ratioMetric"), spec.get("thresholdMetric")) {
        (Some(ratio), None) => read_ratio(&ratio, found),
        (None, Some(threshold)) => {
            let (place, query) = metric_query(&threshold)?;
            let op = objective.need("op")?;
            let sign = match op.text()?.as_str() {
                "lt" => "<",
                "lte" => "<=",
                "gt" => ">",
                "gte" => ">=",
                other => {
                    op.wrong(format!("{other:?} is not known; use lt, lte, gt or gte"));
                    return None;
                }
            };
            let value = objective.need("value")?.number()?;
            found.expressions.push((place, query::threshold_error(&query, sign, value)));
            Some(Indicator::Threshold { query, op: sign, value })
        }
        _ => {
            spec.wrong("either `ratioMetric` or `thresholdMetric` is expected");
            None
        }
    }
}

fn read_ratio(ratio: &Node<'_>, found: &mut SloFile) -> Option<Indicator> {
    ratio.only(&["counter", "good", "bad", "total", "rawType", "raw"]);
    if let Some(raw) = ratio.get("raw") {
        let kind = ratio.need("rawType")?;
        let of_good = match kind.text()?.as_str() {
            "success" => true,
            "failure" => false,
            other => {
                kind.wrong(format!("{other:?} is not known; use success or failure"));
                return None;
            }
        };
        let (place, query) = metric_query(&raw)?;
        found.expressions.push((place, query.clone()));
        return Some(Indicator::Share { query, of_good });
    }
    let counter = match ratio.get("counter") {
        Some(counter) => counter.truth()?,
        None => true,
    };
    let (part, part_is_good) = match (ratio.get("good"), ratio.get("bad")) {
        (Some(good), None) => (good, true),
        (None, Some(bad)) => (bad, false),
        _ => {
            ratio.wrong("exactly one of `good` and `bad` is expected beside `total`");
            return None;
        }
    };
    let total = ratio.need("total")?;
    let mut one = |node: &Node<'_>| {
        let (place, query) = metric_query(node)?;
        match query::over(&query, counter, "5m") {
            Ok(expression) => found.expressions.push((place, expression)),
            Err(why) => {
                node.wrong(why);
                return None;
            }
        }
        Some(query)
    };
    let (part, total) = (one(&part), one(&total));
    Some(Indicator::Events { part: part?, part_is_good, total: total?, counter })
}

/// The PromQL text of a metric, and where it is.
fn metric_query(metric: &Node<'_>) -> Option<(Place, String)> {
    let source = metric.need("metricSource")?;
    if let Some(kind) = source.get("type") {
        let text = kind.text()?;
        if !["prometheus", "binnacle"].contains(&text.to_ascii_lowercase().as_str()) {
            kind.wrong(format!("metric source {text:?} cannot be asked; use Prometheus"));
            return None;
        }
    }
    let spec = source.need("spec")?;
    let query = ["query", "promql", "expr"].iter().find_map(|key| spec.get(key));
    let Some(query) = query else {
        spec.wrong("`query` with PromQL is missing");
        return None;
    };
    Some((query.place(), query.text()?.trim().to_owned()))
}

#[cfg(test)]
mod tests;
