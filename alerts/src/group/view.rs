//! Groups and alerts as `/api/v1/rules` and `/api/v1/alerts` show them.

use super::Group;
use crate::rules::Kind;
use crate::state::{Instance, State};
use crate::template::print::{exponential, rfc3339, rfc3339_or_never};
use model::Labels;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    pub name: String,
    pub file: String,
    pub rules: Vec<RuleView>,
    /// Seconds.
    pub interval: f64,
    pub limit: usize,
    pub evaluation_time: f64,
    pub last_evaluation: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleView {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub name: String,
    pub query: String,
    pub labels: BTreeMap<String, String>,
    pub health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    pub evaluation_time: f64,
    pub last_evaluation: String,
    #[serde(flatten)]
    pub alerting: Option<AlertingView>,
}

/// What only alerting rules have.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertingView {
    pub state: &'static str,
    pub duration: f64,
    pub keep_firing_for: f64,
    pub annotations: BTreeMap<String, String>,
    pub alerts: Vec<AlertView>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertView {
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    pub state: &'static str,
    pub active_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_firing_since: Option<String>,
    pub value: String,
}

impl Group {
    pub fn view(&self) -> GroupView {
        let states = self.states.lock();
        let rules = self.rules.iter().zip(states.iter()).map(|(prepared, state)| {
            let rule = &prepared.rule;
            let alerting = match &rule.kind {
                Kind::Record { .. } => None,
                Kind::Alert { hold, keep_firing, annotations, .. } => Some(AlertingView {
                    state: worst(state.alerts.active()),
                    duration: hold.as_secs_f64(),
                    keep_firing_for: keep_firing.as_secs_f64(),
                    annotations: annotations.iter().cloned().collect(),
                    alerts: state.alerts.active().map(AlertView::new).collect(),
                }),
            };
            RuleView {
                kind: if alerting.is_some() { "alerting" } else { "recording" },
                name: rule.name().to_owned(),
                query: rule.expr.clone(),
                labels: rule.labels.iter().cloned().collect(),
                health: match (&state.error, state.evaluated_ms) {
                    (Some(_), _) => "err",
                    (None, Some(_)) => "ok",
                    (None, None) => "unknown",
                },
                last_error: state.error.clone(),
                evaluation_time: state.took.as_secs_f64(),
                last_evaluation: rfc3339_or_never(state.evaluated_ms),
                alerting,
            }
        });
        let rules = rules.collect();
        drop(states);
        let (evaluated_ms, took) = *self.last.lock();
        GroupView {
            name: self.spec.name.clone(),
            file: self.spec.file.clone(),
            rules,
            interval: self.interval.as_secs_f64(),
            limit: self.spec.limit,
            evaluation_time: took.as_secs_f64(),
            last_evaluation: rfc3339_or_never(evaluated_ms),
        }
    }
}

/// A rule is as bad as its worst alert; Prometheus calls none "inactive".
fn worst<'a>(mut alerts: impl Iterator<Item = &'a Instance>) -> &'static str {
    let mut worst = "inactive";
    while let Some(alert) = alerts.next().filter(|_| worst != "firing") {
        worst = if alert.state == State::Firing { "firing" } else { "pending" };
    }
    worst
}

impl AlertView {
    fn new(alert: &Instance) -> AlertView {
        AlertView {
            labels: alert.labels.clone(),
            annotations: alert.annotations.iter().cloned().collect(),
            state: alert.state.as_str(),
            active_at: rfc3339(alert.active_at_ms),
            keep_firing_since: alert.kept_since_ms.map(rfc3339),
            value: exponential(alert.value, None),
        }
    }
}
