//! Alertmanager's webhook body, version 4, with what a person on call looks for first: `evidence` on each alert.

use super::book::Letter;
use super::{Alert, explore_path};
use crate::state::State;
use crate::template::print::{general, rfc3339, rfc3339_or_never};
use model::Labels;
use serde_json::{Map, Value, json};

/// Alerts in one body; the rest is counted in `truncatedAlerts`.
const ALERTS_MAX: usize = 500;

pub const RECEIVER: &str = "webhook";

pub fn body(letter: &Letter, external_url: &str) -> Value {
    let firing = letter.alerts.iter().any(|alert| alert.state == State::Firing);
    let shown = &letter.alerts[..letter.alerts.len().min(ALERTS_MAX)];
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{}", letter.group),
        "truncatedAlerts": letter.alerts.len() - shown.len(),
        "status": if firing { "firing" } else { "resolved" },
        "receiver": RECEIVER,
        "groupLabels": letter.group,
        "commonLabels": common(letter.alerts.iter().map(|alert| alert.labels.iter().collect())),
        "commonAnnotations": common(letter.alerts.iter().map(|alert| {
            alert.annotations.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
        })),
        "externalURL": external_url,
        "alerts": shown.iter().map(|alert| one(alert, external_url)).collect::<Vec<_>>(),
    })
}

fn one(alert: &Alert, external_url: &str) -> Value {
    let mut links = json!({
        "query": format!("{external_url}{}", explore_path(&alert.query)),
        "alerts": format!("{external_url}/alerts"),
    });
    if let Some((_, runbook)) = alert.annotations.iter().find(|(name, _)| name == "runbook_url") {
        links["runbook"] = json!(runbook);
    }
    let values: Vec<Value> =
        alert.values.iter().map(|(ts_ms, value)| json!([*ts_ms as f64 / 1e3, general(*value)])).collect();
    json!({
        "status": alert.state.as_str(),
        "labels": alert.labels,
        "annotations": annotations(alert),
        "startsAt": rfc3339(alert.starts_at_ms),
        "endsAt": rfc3339_or_never(alert.ends_at_ms),
        "generatorURL": format!("{external_url}{}", explore_path(&alert.query)),
        "fingerprint": format!("{:016x}", alert.fingerprint()),
        "evidence": { "query": alert.query, "value": general(alert.value), "values": values, "links": links },
    })
}

pub fn annotations(alert: &Alert) -> Map<String, Value> {
    alert.annotations.iter().map(|(name, text)| (name.clone(), json!(text))).collect()
}

/// What all of them have with the same value.
fn common<'a>(mut all: impl Iterator<Item = Vec<(&'a str, &'a str)>>) -> Labels {
    let mut same = all.next().unwrap_or_default();
    for other in all {
        same.retain(|pair| other.contains(pair));
    }
    Labels::from_pairs(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_version_4_with_evidence() {
        let alert = |pod: &str, state| Alert {
            labels: Labels::from_pairs([("alertname", "A"), ("pod", pod), ("team", "x")]),
            annotations: vec![("runbook_url".into(), "http://r".into())],
            state,
            value: 42.0,
            starts_at_ms: 1_000,
            ends_at_ms: (state == State::Resolved).then_some(2_000),
            query: "up == 0".into(),
            values: vec![(500, 1.5), (1_000, 42.0)],
        };
        let letter = Letter {
            group: Labels::from_pairs([("alertname", "A")]),
            alerts: vec![alert("1", State::Firing), alert("2", State::Resolved)],
        };
        let body = body(&letter, "http://b");
        assert_eq!((&body["version"], &body["status"]), (&json!("4"), &json!("firing")));
        assert_eq!(body["groupKey"], "{}:{alertname=\"A\"}");
        assert_eq!(body["commonLabels"], json!({"alertname": "A", "team": "x"}));
        assert_eq!(body["commonAnnotations"], json!({"runbook_url": "http://r"}));
        assert_eq!(body["alerts"][0]["startsAt"], "1970-01-01T00:00:01.000Z");
        assert_eq!(body["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
        assert_eq!(body["alerts"][1]["endsAt"], "1970-01-01T00:00:02.000Z");
        let evidence = &body["alerts"][0]["evidence"];
        assert_eq!(evidence["query"], "up == 0");
        assert_eq!(evidence["values"], json!([[0.5, "1.5"], [1.0, "42"]]));
        assert_eq!(evidence["links"]["runbook"], "http://r");
    }
}
