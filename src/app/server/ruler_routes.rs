//! Rule groups over the API: Loki's ruler (`/loki/api/v1/rules`, `/api/prom/rules`, LogQL) and Mimir's
//! (`/config/v1/rules`, also below `/prometheus`, PromQL). Groups come and go as YAML.

use alerts::{Alerts, Language, RulerError, Shelf};
use api::TenantHeader;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use model::Tenant;
use serde_json::json;
use std::sync::Arc;

#[derive(Clone)]
struct Ruler {
    alerts: Arc<Alerts>,
    language: Language,
}

pub fn router(alerts: Arc<Alerts>) -> Router {
    let mut router = Router::new();
    for (root, language) in [
        ("/loki/api/v1/rules", Language::LogQl),
        ("/api/prom/rules", Language::LogQl),
        ("/config/v1/rules", Language::PromQl),
        ("/prometheus/config/v1/rules", Language::PromQl),
    ] {
        let routes = Router::new()
            .route(root, get(all))
            .route(&format!("{root}/{{namespace}}"), get(one_namespace).post(set).delete(delete_namespace))
            .route(&format!("{root}/{{namespace}}/{{group}}"), get(one).delete(delete))
            .with_state(Ruler { alerts: alerts.clone(), language });
        router = router.merge(routes);
    }
    router
}

impl Ruler {
    fn shelf(&self, tenant: Tenant, namespace: String) -> Shelf {
        Shelf { tenant, language: self.language, namespace }
    }

    fn list(&self, tenant: &Tenant, namespace: Option<&str>) -> Response {
        match self.alerts.rule_groups(tenant, self.language, namespace) {
            Ok(Some(groups)) => yaml(groups),
            // Each ruler's own way to say that there are none.
            Ok(None) if self.language == Language::PromQl => yaml("{}\n".into()),
            Ok(None) => refused(RulerError::NotFound("no rule groups found")),
            Err(wrong) => refused(wrong),
        }
    }
}

fn yaml(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/yaml")], text).into_response()
}

fn refused(wrong: RulerError) -> Response {
    let status = match &wrong {
        RulerError::NotFound(_) => StatusCode::NOT_FOUND,
        RulerError::Invalid(_) => StatusCode::BAD_REQUEST,
        RulerError::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{wrong}\n")).into_response()
}

fn accepted(done: Result<(), RulerError>) -> Response {
    let body = json!({ "status": "success", "data": null, "errorType": "", "error": "" });
    done.map_or_else(refused, |()| (StatusCode::ACCEPTED, Json(body)).into_response())
}

async fn all(State(ruler): State<Ruler>, TenantHeader(tenant): TenantHeader) -> Response {
    ruler.list(&tenant, None)
}

async fn one_namespace(
    State(ruler): State<Ruler>,
    TenantHeader(tenant): TenantHeader,
    Path(namespace): Path<String>,
) -> Response {
    ruler.list(&tenant, Some(&namespace))
}

async fn one(
    State(ruler): State<Ruler>,
    TenantHeader(tenant): TenantHeader,
    Path((namespace, group)): Path<(String, String)>,
) -> Response {
    ruler.alerts.rule_group(&ruler.shelf(tenant, namespace), &group).map_or_else(refused, yaml)
}

async fn set(
    State(ruler): State<Ruler>,
    TenantHeader(tenant): TenantHeader,
    Path(namespace): Path<String>,
    body: String,
) -> Response {
    accepted(ruler.alerts.set_rule_group(&ruler.shelf(tenant, namespace), &body).await)
}

async fn delete_namespace(
    State(ruler): State<Ruler>,
    TenantHeader(tenant): TenantHeader,
    Path(namespace): Path<String>,
) -> Response {
    accepted(ruler.alerts.remove_rule_groups(&ruler.shelf(tenant, namespace), None).await)
}

async fn delete(
    State(ruler): State<Ruler>,
    TenantHeader(tenant): TenantHeader,
    Path((namespace, group)): Path<(String, String)>,
) -> Response {
    accepted(ruler.alerts.remove_rule_groups(&ruler.shelf(tenant, namespace), Some(&group)).await)
}
