//! Whose data a request is about: the header `X-Scope-OrgID`, else the tenant `default`.

use crate::refusal;
use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use model::Tenant;

pub const TENANT_HEADER: &str = "x-scope-orgid";

/// Extracts the tenant; a name that is no tenant name ends the request with 400.
pub struct TenantHeader(pub Tenant);

impl<S: Send + Sync> FromRequestParts<S> for TenantHeader {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        of_headers(&parts.headers).map(TenantHeader).map_err(|why| {
            // The path as it was dialled: a nested router sees the rest of it only.
            let dialled = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |whole| &whole.0);
            refusal::at(dialled.path(), StatusCode::BAD_REQUEST, &why)
        })
    }
}

/// As [`TenantHeader`], where the refusal is told in another protocol's way.
pub(crate) fn of_headers(headers: &HeaderMap) -> Result<Tenant, String> {
    let Some(value) = headers.get(TENANT_HEADER) else { return Ok(Tenant::default()) };
    let bad = |why: String| format!("header X-Scope-OrgID: {why}");
    let name = value.to_str().map_err(|_| bad("not ASCII text".into()))?;
    Tenant::new(name).map_err(|why| bad(why.to_string()))
}
