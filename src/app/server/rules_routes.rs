//! `/api/v1/rules` and `/api/v1/alerts` in Prometheus' shape (also below `/prometheus`), and `/api/slos`.
//!
//! Rules of files belong to one tenant, those of the ruler's API to who set them.

use alerts::{Alerts, GroupView};
use api::TenantHeader;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;

/// A process that judges no rules has none to show, as a Prometheus without rule files.
type MaybeAlerts = Option<Arc<Alerts>>;

pub fn router(alerts: MaybeAlerts) -> Router {
    Router::new()
        .route("/api/v1/rules", get(rules))
        .route("/prometheus/api/v1/rules", get(rules))
        .route("/api/v1/alerts", get(active))
        .route("/prometheus/api/v1/alerts", get(active))
        .route("/api/slos", get(slos))
        .with_state(alerts)
}

async fn rules(
    State(alerts): State<MaybeAlerts>,
    TenantHeader(tenant): TenantHeader,
    RawQuery(query): RawQuery,
) -> Response {
    let wanted = match Wanted::parse(query.as_deref().unwrap_or("")) {
        Ok(wanted) => wanted,
        Err(why) => return refuse(&why),
    };
    let groups = alerts.map(|alerts| alerts.groups(&tenant)).unwrap_or_default();
    let groups: Vec<GroupView> = groups.into_iter().filter_map(|group| wanted.of(group)).collect();
    success(json!({ "groups": groups }))
}

async fn active(State(alerts): State<MaybeAlerts>, TenantHeader(tenant): TenantHeader) -> Response {
    let active = alerts.map(|alerts| alerts.active(&tenant)).unwrap_or_default();
    success(json!({ "alerts": active }))
}

async fn slos(State(alerts): State<MaybeAlerts>, TenantHeader(tenant): TenantHeader) -> Response {
    let theirs = alerts.filter(|alerts| alerts.tenant() == &tenant);
    let slos = theirs.map(|alerts| alerts.slos()).unwrap_or_default();
    Json(json!({ "slos": slos })).into_response()
}

fn success(data: Value) -> Response {
    Json(json!({ "status": "success", "data": data })).into_response()
}

fn refuse(why: &str) -> Response {
    let body = json!({ "status": "error", "errorType": "bad_data", "error": why });
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// Which rules are asked for; an empty list asks for all.
#[derive(Default)]
struct Wanted {
    kind: Option<&'static str>,
    names: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    without_alerts: bool,
}

impl Wanted {
    fn parse(query: &str) -> Result<Wanted, String> {
        let mut wanted = Wanted::default();
        // Only the query is of interest; any base makes it a URL that can be taken apart.
        let url = reqwest::Url::parse(&format!("http://x/?{query}")).map_err(|wrong| wrong.to_string())?;
        for (name, value) in url.query_pairs() {
            match (name.as_ref(), value.as_ref()) {
                ("type", "alert") => wanted.kind = Some("alerting"),
                ("type", "record") => wanted.kind = Some("recording"),
                ("type", "") => {}
                ("type", other) => return Err(format!("type {other:?} is not known; use alert or record")),
                ("rule_name[]", name) => wanted.names.push(name.to_owned()),
                ("rule_group[]", group) => wanted.groups.push(group.to_owned()),
                ("file[]", file) => wanted.files.push(file.to_owned()),
                ("exclude_alerts", truth) => wanted.without_alerts = truth == "true",
                _ => {}
            }
        }
        Ok(wanted)
    }

    fn of(&self, mut group: GroupView) -> Option<GroupView> {
        let among = |list: &[String], name: &str| list.is_empty() || list.iter().any(|wanted| wanted == name);
        if !among(&self.groups, &group.name) || !among(&self.files, &group.file) {
            return None;
        }
        group
            .rules
            .retain(|rule| self.kind.is_none_or(|kind| kind == rule.kind) && among(&self.names, &rule.name));
        if self.without_alerts {
            group.rules.iter_mut().filter_map(|rule| rule.alerting.as_mut()).for_each(|a| a.alerts.clear());
        }
        let narrowed = self.kind.is_some() || !self.names.is_empty();
        (!narrowed || !group.rules.is_empty()).then_some(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_narrowed_as_asked() {
        let group = |rules: &[(&'static str, &str)]| GroupView {
            name: "g".into(),
            file: "f".into(),
            rules: rules
                .iter()
                .map(|(kind, name)| alerts::RuleView {
                    kind,
                    name: (*name).into(),
                    query: String::new(),
                    labels: Default::default(),
                    health: "ok",
                    last_error: None,
                    evaluation_time: 0.0,
                    last_evaluation: String::new(),
                    alerting: None,
                })
                .collect(),
            interval: 1.0,
            limit: 0,
            evaluation_time: 0.0,
            last_evaluation: String::new(),
        };
        let left = |query: &str| {
            let wanted = Wanted::parse(query).unwrap();
            wanted.of(group(&[("alerting", "A"), ("recording", "r")])).map(|group| group.rules.len())
        };
        assert_eq!(left(""), Some(2));
        assert_eq!(left("type=alert"), Some(1));
        assert_eq!(left("rule_name%5B%5D=r"), Some(1));
        assert_eq!(left("rule_name[]=r&type=alert"), None);
        assert_eq!(left("rule_group[]=other"), None);
        assert!(Wanted::parse("type=x").is_err());
    }
}
