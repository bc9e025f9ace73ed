//! What the evaluation of rules wrote, as SQL views: `alerts` (states over time) and `slos` (budgets over time).
//!
//! They read the series that the alerts role writes, so they answer for the past and in a query process of its own,
//! which knows no rule.

/// A row is an alert at an evaluation: its state then, and since when it was active.
const ALERTS: &str = "\
select ts, label(labels, 'alertname') as alertname, label(labels, 'alertstate') as state, \
label(labels, 'severity') as severity, labels \
from metrics where name = 'ALERTS' and value = 1";

/// A row is an objective at an evaluation: the share of its budget that was left.
const SLOS: &str = "\
select ts, label(labels, 'slo') as slo, label(labels, 'slo_service') as service, \
label(labels, 'slo_objective') as objective, label(labels, 'slo_window') as time_window, \
value as budget_remaining, labels \
from metrics where name = 'slo:error_budget_remaining:ratio' and not isnan(value)";

pub const VIEWS: [(&str, &str); 2] = [("alerts", ALERTS), ("slos", SLOS)];

#[cfg(test)]
mod tests;
