//! `/api/sql`: one reading statement in, rows out as JSON, CSV or Arrow.
//!
//! JSON is `{"columns": […], "rows": [{…}], "warnings": […]}`; CSV has a header line; Arrow is an IPC stream. What
//! an answer lacks, and what functions say beside their rows, is told in `warnings`, and in the header `X-Binnacle-Warnings`
//! for the formats that have no room for it.

use crate::TenantHeader;
use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use engine::{Engine, QueryError, SqlAnswer, SqlParameter};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

pub fn router(engine: Arc<Engine>) -> Router {
    Router::new().route("/api/sql", get(by_get).post(by_post)).with_state(engine)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    query: String,
    /// What `$1`, `$2`, … in the query stand for.
    #[serde(default)]
    params: Vec<Value>,
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
    Arrow,
}

async fn by_get(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    request: Result<Query<Request>, QueryRejection>,
) -> Response {
    match request {
        Ok(Query(request)) => answer(&engine, &tenant, request).await,
        Err(wrong) => refuse(StatusCode::BAD_REQUEST, &wrong.body_text()),
    }
}

async fn by_post(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    request: Result<Json<Request>, JsonRejection>,
) -> Response {
    match request {
        Ok(Json(request)) => answer(&engine, &tenant, request).await,
        Err(wrong) => {
            let hint = "send {\"query\": \"…\", \"params\": […], \"format\": \"json|csv|arrow\"} as application/json";
            refuse(wrong.status(), &format!("{}; {hint}", wrong.body_text()))
        }
    }
}

async fn answer(engine: &Arc<Engine>, tenant: &model::Tenant, request: Request) -> Response {
    let parameters = match request.params.iter().map(parameter).collect::<Result<Vec<_>, _>>() {
        Ok(parameters) => parameters,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, &wrong),
    };
    match engine.sql(tenant, &request.query, parameters).await {
        Ok(answer) => encode(&answer, request.format),
        Err(wrong) => refuse(status(&wrong), &wrong.to_string()),
    }
}

fn parameter(value: &Value) -> Result<SqlParameter, String> {
    match value {
        Value::Null => Ok(SqlParameter::Null),
        Value::Bool(truth) => Ok(SqlParameter::Bool(*truth)),
        Value::String(text) => Ok(SqlParameter::Text(text.clone())),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Ok(SqlParameter::Integer(integer)),
            (None, Some(number)) => Ok(SqlParameter::Number(number)),
            (None, None) => Err(format!("parameter {number} is not a number that fits 64 bits")),
        },
        other => {
            Err(format!("parameter {other} is an array or an object; give text, a number, a boolean or null"))
        }
    }
}

fn status(error: &QueryError) -> StatusCode {
    match error {
        QueryError::Bad(_) => StatusCode::BAD_REQUEST,
        QueryError::Execution(_) | QueryError::TooMuch(_) => StatusCode::UNPROCESSABLE_ENTITY,
        QueryError::Timeout(_) | QueryError::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        QueryError::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

fn encode(answer: &SqlAnswer, format: Format) -> Response {
    let encoded = match format {
        Format::Json => to_json(answer).map(|bytes| ("application/json", bytes)),
        Format::Csv => to_csv(answer).map(|bytes| ("text/csv; charset=utf-8", bytes)),
        Format::Arrow => to_arrow(answer).map(|bytes| ("application/vnd.apache.arrow.stream", bytes)),
    };
    let (kind, bytes) = match encoded {
        Ok(encoded) => encoded,
        Err(wrong) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &wrong.to_string()),
    };
    let mut response = ([(header::CONTENT_TYPE, kind)], bytes).into_response();
    if !answer.warnings.is_empty()
        && let Ok(warnings) = HeaderValue::from_str(&answer.warnings.join("; ").replace(['\r', '\n'], " "))
    {
        response.headers_mut().insert("x-binnacle-warnings", warnings);
    }
    response
}

fn to_json(answer: &SqlAnswer) -> anyhow::Result<Vec<u8>> {
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::JsonArray>(Vec::new());
    let shown: Vec<RecordBatch> = answer.batches.iter().map(renamed).collect::<Result<_, _>>()?;
    writer.write_batches(&shown.iter().collect::<Vec<_>>())?;
    writer.finish()?;
    let mut rows = writer.into_inner();
    if rows.is_empty() {
        rows.extend_from_slice(b"[]");
    }
    let columns = names(&answer.schema);
    let mut out = format!("{{\"columns\":{},\"rows\":", serde_json::to_string(&columns)?).into_bytes();
    out.append(&mut rows);
    out.extend_from_slice(format!(",\"warnings\":{}}}", serde_json::to_string(&answer.warnings)?).as_bytes());
    Ok(out)
}

/// Two columns of one name (`select a.ts, b.ts`) would be one key of a JSON object: the second becomes `ts_2`.
fn names(schema: &Schema) -> Vec<String> {
    let mut taken = HashSet::new();
    let name = |field: &Arc<Field>| {
        let (mut name, mut count) = (field.name().clone(), 1);
        while !taken.insert(name.clone()) {
            count += 1;
            name = format!("{}_{count}", field.name());
        }
        name
    };
    schema.fields().iter().map(name).collect()
}

fn renamed(batch: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let schema = batch.schema();
    let named = schema.fields().iter().zip(names(&schema));
    let fields: Vec<Field> = named.map(|(field, name)| field.as_ref().clone().with_name(name)).collect();
    RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        batch.columns().to_vec(),
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )
}

fn to_csv(answer: &SqlAnswer) -> anyhow::Result<Vec<u8>> {
    let flat: Vec<RecordBatch> = answer.batches.iter().map(engine::maps_as_text).collect::<Result<_, _>>()?;
    let mut out = Vec::new();
    let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut out);
    if flat.is_empty() {
        writer.write(&engine::maps_as_text(&RecordBatch::new_empty(answer.schema.clone()))?)?;
    }
    for batch in &flat {
        writer.write(batch)?;
    }
    drop(writer);
    Ok(out)
}

fn to_arrow(answer: &SqlAnswer) -> anyhow::Result<Vec<u8>> {
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(Vec::new(), &answer.schema)?;
    for batch in &answer.batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests;
