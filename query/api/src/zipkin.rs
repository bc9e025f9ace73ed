//! The Zipkin query API, version 2, under `/zipkin/api/v2` and, as its clients know nothing before it, `/api/v2`; what its
//! page asks beside it is in `page`.
//!
//! Times are milliseconds, durations microseconds. Errors are plain text.

mod convert;
mod page;
mod params;

use crate::traces::{self, rows, text, whole_traces};
use crate::{TenantHeader, refusal};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use engine::{Engine, QueryError, SearchOptions, SqlParameter};
use model::{SpanBatch, Tenant, TimeRange, TraceId};
use params::Params;
use serde_json::{Value, json};
use std::sync::Arc;

/// Traces of one search where no limit is given, as in Zipkin.
const TRACES_DEFAULT: usize = 10;
/// Keys and values of one completion.
const TAGS_MAX: usize = 1_000;

pub fn router(engine: Arc<Engine>) -> Router {
    let routes: Router<Arc<Engine>> = Router::new()
        .route("/services", get(services))
        .route("/spans", get(span_names))
        .route("/remoteServices", get(remote_services))
        .route("/traces", get(search))
        .route("/trace/{id}", get(trace))
        .route("/traceMany", get(many))
        .route("/dependencies", get(dependencies))
        .route("/autocompleteKeys", get(keys))
        .route("/autocompleteValues", get(values));
    let page = Router::new()
        .route("/config.json", get(page::config))
        .route("/health", get(page::health))
        .route("/info", get(page::info));
    Router::new()
        .nest("/zipkin/api/v2", routes.clone())
        .nest("/zipkin", page)
        .nest("/api/v2", routes)
        .with_state(engine)
}

/// Why a request is refused: a status and a sentence.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        (self.0, kind, self.1 + "\n").into_response()
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        Refusal(refusal::status(&error), error.to_string())
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Refusal(StatusCode::BAD_REQUEST, why)
    }
}

type Answer = Result<Json<Value>, Refusal>;

/// Zipkin's answers have no room to say that something is missing: then there is none.
fn whole<T>((found, warnings): (T, Vec<String>)) -> Result<T, Refusal> {
    match warnings.is_empty() {
        true => Ok(found),
        false => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, warnings.join("; "))),
    }
}

async fn names(engine: &Arc<Engine>, tenant: &Tenant, query: &str, service: Option<&str>) -> Answer {
    let parameters = service.map(|service| SqlParameter::Text(service.to_owned())).into_iter().collect();
    let mut names = whole(rows(engine, tenant, query, parameters, |batch, row| text(batch, 0, row)).await?)?;
    // What is empty is none in Zipkin.
    names.retain(|name| !name.is_empty());
    Ok(Json(json!(names)))
}

async fn services(State(engine): State<Arc<Engine>>, TenantHeader(tenant): TenantHeader) -> Answer {
    let query = "select distinct service from spans where service is not null order by service";
    names(&engine, &tenant, query, None).await
}

async fn span_names(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer {
    let query = "select distinct name from spans where service = $1 order by name";
    names(&engine, &tenant, query, Some(params.required("serviceName")?)).await
}

async fn remote_services(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer {
    let query = "select distinct attr(attributes, 'peer.service') as peer from spans \
                 where service = $1 and attr(attributes, 'peer.service') is not null order by peer";
    names(&engine, &tenant, query, Some(params.required("serviceName")?)).await
}

async fn found(
    engine: &Engine,
    tenant: &Tenant,
    ids: &[TraceId],
    range: Option<TimeRange>,
) -> Result<Vec<Value>, Refusal> {
    let found: Vec<SpanBatch> = whole(engine.traces_by_id(tenant, ids, range).await?)?;
    Ok(found.iter().filter(|spans| !spans.resources.is_empty()).map(convert::trace).collect())
}

async fn search(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer {
    let range = params.range()?;
    let options = SearchOptions { range, limit: params.limit(TRACES_DEFAULT)?, spans_per_spanset: 1 };
    let searched = engine.traceql_search(&tenant, &params.query()?, options).await?;
    let traces = whole((searched.traces, searched.warnings))?;
    let ids: Vec<TraceId> = traces.iter().map(|trace| trace.trace_id).collect();
    Ok(Json(json!(found(&engine, &tenant, &ids, Some(whole_traces(range))).await?)))
}

async fn trace(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(id): Path<String>,
) -> Answer {
    let id = traces::trace_id(id.trim())?;
    let trace = found(&engine, &tenant, &[id], None).await?.into_iter().next();
    let unknown = || Refusal(StatusCode::NOT_FOUND, format!("{} not found", convert::trace_id(id)));
    trace.map(Json).ok_or_else(unknown)
}

async fn many(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer {
    Ok(Json(json!(found(&engine, &tenant, &params.trace_ids()?, None).await?)))
}

async fn dependencies(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer {
    params.required("endTs")?;
    let calls = whole(traces::calls(&engine, &tenant, params.range()?).await?)?;
    let link = |call: traces::Calls| {
        let mut link = json!({ "parent": call.parent, "child": call.child, "callCount": call.count });
        if call.errors > 0 {
            link["errorCount"] = json!(call.errors);
        }
        link
    };
    Ok(Json(calls.into_iter().map(link).collect()))
}

async fn keys(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer {
    let tags = engine.traceql_tags(&tenant, Some("span"), None, params.range()?, TAGS_MAX).await?;
    Ok(Json(json!(tags.get("span").cloned().unwrap_or_default())))
}

async fn values(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer {
    let name = params.required("key")?.to_owned();
    let field = traceql::Field::Attribute { scope: traceql::Scope::Span, name }.to_string();
    let values = engine.traceql_tag_values(&tenant, &field, None, params.range()?, TAGS_MAX).await?;
    Ok(Json(values.into_iter().map(|value| json!(value.value)).collect()))
}

#[cfg(test)]
mod tests;
