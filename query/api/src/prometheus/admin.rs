//! `/api/v1/admin/tsdb`: deleting series. Only where the operator switched it on (`--web.enable-admin-api`), as in
//! Prometheus.

use super::params::Params;
use super::{Answered, Refusal, range};
use crate::TenantHeader;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use engine::selector_matchers;
use std::sync::Arc;
use store::{DeleteError, Store};

#[derive(Clone)]
struct Admin {
    store: Arc<Store>,
    is_on: bool,
}

pub fn router(store: Arc<Store>, is_on: bool) -> Router {
    let routes = Router::new()
        .route("/delete_series", post(delete_series).put(delete_series))
        .route("/clean_tombstones", post(clean_tombstones).put(clean_tombstones));
    Router::new().nest("/api/v1/admin/tsdb", routes).with_state(Admin { store, is_on })
}

impl Admin {
    fn store(&self) -> Answered<&Arc<Store>> {
        let off = "admin APIs disabled; start with --web.enable-admin-api";
        let refusal =
            || Refusal { status: StatusCode::SERVICE_UNAVAILABLE, kind: "unavailable", why: off.into() };
        self.is_on.then_some(&self.store).ok_or_else(refusal)
    }
}

async fn delete_series(
    State(admin): State<Admin>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answered<StatusCode> {
    let store = admin.store()?;
    let selectors = params.all("match[]");
    if selectors.is_empty() {
        return Err(Refusal::bad("no match[] parameter provided"));
    }
    let selections = selectors.iter().map(|text| selector_matchers(text)).collect::<Result<_, _>>()?;
    store.delete_series(&tenant, selections, range(&params)?).await.map_err(|wrong| {
        let (status, kind) = match &wrong {
            DeleteError::TooMany => (StatusCode::TOO_MANY_REQUESTS, "unavailable"),
            DeleteError::Invalid(_) => (StatusCode::BAD_REQUEST, "bad_data"),
            DeleteError::Broken(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Refusal { status, kind, why: wrong.to_string() }
    })?;
    Ok(StatusCode::NO_CONTENT)
}

async fn clean_tombstones(State(admin): State<Admin>) -> Answered<StatusCode> {
    let cleaned = admin.store()?.clean_tombstones().await;
    cleaned.map(|_| StatusCode::NO_CONTENT).map_err(|wrong| Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        kind: "internal",
        why: format!("{wrong:#}"),
    })
}

#[cfg(test)]
mod tests;
