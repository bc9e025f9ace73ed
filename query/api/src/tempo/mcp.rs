//! `/mcp`: the Model Context Protocol over streamable HTTP, with Tempo's tools, so that an assistant asks for traces as a
//! person's Grafana does. JSON-RPC 2.0 in, one JSON answer out; no stream and no session, as no tool needs either.
//!
//! A tool is a call of this door by another name: same tenant, same limits, same words of refusal.

mod docs;
mod tools;

use super::Refusal;
use crate::TenantHeader;
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::Engine;
use model::Tenant;
use serde_json::{Value, json};
use std::sync::Arc;

/// Newest first; of them all what is used here is the same.
const VERSIONS: &[&str] = &["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// Messages that one body may hold. The protocol had such bodies in one version.
const BATCH_MAX: usize = 20;

const INVALID_REQUEST: i64 = -32600;
const NO_METHOD: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const NO_RESOURCE: i64 = -32002;

/// A JSON-RPC error.
struct Wrong(i64, String);

pub(super) async fn call(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    headers: HeaderMap,
    body: Result<Json<Value>, JsonRejection>,
) -> Response {
    if !of_this_host(&headers) {
        let why = "the Origin header names another host: a page of somewhere else may not ask".to_owned();
        return Refusal(StatusCode::FORBIDDEN, why).into_response();
    }
    let answers = match body {
        Err(wrong) => return Refusal(wrong.status(), wrong.body_text()).into_response(),
        Ok(Json(Value::Array(messages))) if messages.is_empty() || messages.len() > BATCH_MAX => {
            let why = format!("a body holds one message, or a list of up to {BATCH_MAX}");
            return (StatusCode::BAD_REQUEST, Json(error(Value::Null, &Wrong(INVALID_REQUEST, why))))
                .into_response();
        }
        Ok(Json(Value::Array(messages))) => {
            let mut answers = vec![];
            for message in &messages {
                answers.extend(answer(&engine, &tenant, message).await);
            }
            if answers.is_empty() { None } else { Some(Value::Array(answers)) }
        }
        Ok(Json(message)) => answer(&engine, &tenant, &message).await,
    };
    match answers {
        Some(answer) => Json(answer).into_response(),
        None => StatusCode::ACCEPTED.into_response(),
    }
}

/// The protocol asks for it: a page that a browser was led to could otherwise ask what listens on its own machine.
fn of_this_host(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return true };
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_some() && host == text(header::HOST)
}

/// `None`: a notification, which has no answer.
async fn answer(engine: &Engine, tenant: &Tenant, message: &Value) -> Option<Value> {
    let id = message.get("id").cloned();
    let Some(method) = message["method"].as_str() else {
        let why = "a message needs `method`".to_owned();
        return Some(error(id.unwrap_or(Value::Null), &Wrong(INVALID_REQUEST, why)));
    };
    let id = id?;
    let result = match method {
        "initialize" => Ok(initialized(&message["params"])),
        "ping" => Ok(json!({})),
        "tools/list" => Ok(json!({ "tools": tools::list() })),
        "tools/call" => tools::call(engine, tenant, &message["params"]).await,
        "resources/list" => Ok(json!({ "resources": docs::list() })),
        "resources/templates/list" => Ok(json!({ "resourceTemplates": [] })),
        "resources/read" => docs::read(&message["params"]),
        other => Err(Wrong(NO_METHOD, format!("no method {other:?} here"))),
    };
    Some(match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(wrong) => error(id, &wrong),
    })
}

fn error(id: Value, Wrong(code, why): &Wrong) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": why } })
}

fn initialized(params: &Value) -> Value {
    let asked = params["protocolVersion"].as_str();
    let version = VERSIONS.iter().find(|version| asked == Some(version)).unwrap_or(&VERSIONS[0]);
    json!({
        "protocolVersion": version,
        "capabilities": { "tools": { "listChanged": false }, "resources": { "subscribe": false, "listChanged": false } },
        "serverInfo": { "name": "binnacle", "version": env!("CARGO_PKG_VERSION") },
    })
}

#[cfg(test)]
mod tests;
