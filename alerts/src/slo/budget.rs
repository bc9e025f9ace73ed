//! How an objective stands: read from what its rules recorded last, nothing is asked.

use super::Slo;
use super::rules::Recorded;
use crate::duration;
use crate::group::Group;
use crate::template::print::humanize_duration;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::time::Duration;

/// A number, or "unknown" where there is no data to compute it from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known(pub Option<f64>);

impl Serialize for Known {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(number) if number.is_finite() => serializer.serialize_f64(number),
            _ => serializer.serialize_str("unknown"),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct SloView {
    pub name: String,
    pub display_name: String,
    pub service: String,
    pub description: String,
    /// Which objective of the SLO; empty where it has one.
    pub objective: String,
    pub target: f64,
    pub window: String,
    pub window_seconds: u64,
    pub budgeting_method: &'static str,
    pub file: String,
    /// `ok`, `burning` (an alert of it fires), `exhausted` (nothing left), or `unknown`.
    pub status: &'static str,
    /// Why the status is unknown.
    pub reason: Option<String>,
    /// The share of the budget that is left: 1 is all, 0 none, negative is overspent.
    pub budget_remaining: Known,
    pub error_ratio: Known,
    /// How many times faster than allowed the budget is spent, by window. 1 spends it exactly in the SLO's window.
    pub burn_rates: BTreeMap<&'static str, Known>,
    pub time_to_empty_seconds: Known,
    /// The same in words: `3d 4h 0m 0s`, `never` while nothing burns, `empty`, or `unknown`.
    pub time_to_empty: String,
    /// Burn-rate alerts that fire.
    pub alerts_firing: usize,
}

pub fn view(slo: &Slo, recorded: &Recorded, group: &Group) -> SloView {
    let newest = |rule: usize| -> Option<f64> {
        let (_, value) = group.latest(rule)?.into_iter().next()?;
        value.is_finite().then_some(value)
    };
    let burn = |error: Option<f64>| error.map(|error| error / slo.budget());
    let error = newest(recorded.whole);
    let remaining = burn(error).map(|spent| 1.0 - spent);
    let burn_rates: BTreeMap<&'static str, Known> =
        recorded.windows.iter().map(|(window, rule)| (*window, Known(burn(newest(*rule))))).collect();
    // An hour is long enough to be steady and short enough to be now.
    let burning_at =
        burn_rates.get("1h").and_then(|known| known.0).or(burn_rates.get("5m").and_then(|known| known.0));
    let (seconds, words) = time_to_empty(remaining, burning_at, slo.window);
    let (alerts_firing, failed) = group.firing_and_error();
    let status = match remaining {
        None => "unknown",
        Some(left) if left <= 0.0 => "exhausted",
        Some(_) if alerts_firing > 0 => "burning",
        Some(_) => "ok",
    };
    let reason = (status == "unknown").then(|| match failed {
        Some(why) => format!("its rules cannot be evaluated: {why}"),
        None => "there is no data of its queries yet".to_owned(),
    });
    SloView {
        name: slo.name.clone(),
        display_name: slo.display_name.clone(),
        service: slo.service.clone(),
        description: slo.description.clone(),
        objective: slo.objective.clone(),
        target: slo.target,
        window: duration::print(slo.window),
        window_seconds: slo.window.as_secs(),
        budgeting_method: slo.method.as_str(),
        file: slo.file.clone(),
        status,
        reason,
        budget_remaining: Known(remaining),
        error_ratio: Known(error),
        burn_rates,
        time_to_empty_seconds: Known(seconds),
        time_to_empty: words,
        alerts_firing,
    }
}

/// When the budget is gone if it goes on being spent as in the last hour.
fn time_to_empty(remaining: Option<f64>, burn: Option<f64>, window: Duration) -> (Option<f64>, String) {
    match (remaining, burn) {
        (Some(left), _) if left <= 0.0 => (Some(0.0), "empty".into()),
        (Some(_), Some(burn)) if burn <= 0.0 => (None, "never".into()),
        (Some(left), Some(burn)) => {
            let seconds = left * window.as_secs_f64() / burn;
            (Some(seconds), humanize_duration(seconds.round()))
        }
        _ => (None, "unknown".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_to_empty_is_in_words() {
        let month = Duration::from_secs(30 * 86_400);
        let words = |left, burn| time_to_empty(left, burn, month).1;
        assert_eq!(words(Some(0.5), Some(1.0)), "15d 0h 0m 0s");
        assert_eq!(words(Some(0.5), Some(0.0)), "never");
        assert_eq!(words(Some(-1.0), Some(5.0)), "empty");
        assert_eq!(words(None, Some(5.0)), "unknown");
        assert_eq!(words(Some(0.5), None), "unknown");
    }

    #[test]
    fn what_is_not_known_is_said() {
        assert_eq!(
            serde_json::to_string(&[Known(None), Known(Some(0.5)), Known(Some(f64::NAN))]).unwrap(),
            "[\"unknown\",0.5,\"unknown\"]"
        );
    }
}
