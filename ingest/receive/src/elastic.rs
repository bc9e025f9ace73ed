//! Elasticsearch's bulk request, and the questions that its shippers ask before they send one: Filebeat and Logstash
//! look at version and licence, then put templates, policies and pipelines where there are none.
//!
//! Nothing of those is kept or used here, and the header `Warning` of each such answer says so.

use crate::body;
use crate::doors::{Caller, Doors, Refusal};
use crate::ids::Stored;
use crate::prometheus::retry_after;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use model::{Batch, Clock, Receipt, Rejection, SystemClock};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use wire::compression::Encoding;
use wire::elastic::{self, Action, Bulk, Item, Outcome};
use wire::parts::Kind;

/// Shippers refuse a server that is older than they are, and one of another major version asks for other endpoints.
const VERSION: &str = "8.17.0";

const NOT_USED: HeaderValue =
    HeaderValue::from_static("299 Binnacle \"templates, policies and pipelines are not used here\"");

/// Below `/elastic` an Elasticsearch as far as its shippers ask; `_bulk` is also where one without a path posts it.
pub fn router() -> Router<Arc<Doors>> {
    let mut router = Router::new()
        .route("/elastic", get(about))
        .route("/elastic/", get(about))
        .route("/elastic/{index}", get(existing).put(made))
        .route("/elastic/_license", get(license))
        .route("/elastic/_xpack", get(license))
        .route("/elastic/_cluster/health", get(health))
        .route("/elastic/_ilm/policy/{name}", get(policy).put(acknowledge))
        .route("/elastic/_data_stream/{name}", get(data_stream).put(acknowledge))
        .route("/elastic/_ingest/pipeline/{name}", get(named).put(acknowledge));
    for kind in ["_index_template", "_component_template"] {
        router = router.route(&format!("/elastic/{kind}/{{name}}"), get(template).put(acknowledge));
    }
    for kind in ["_template", "_alias"] {
        router = router.route(&format!("/elastic/{kind}/{{name}}"), get(named).put(acknowledge));
    }
    for prefix in ["", "/elastic"] {
        router = router
            .route(&format!("{prefix}/_bulk"), post(bulk).put(bulk))
            .route(&format!("{prefix}/{{index}}/_bulk"), post(bulk_to).put(bulk_to));
    }
    // Elastic's own clients refuse an answer without it.
    router.layer(map_response(|mut response: Response| async {
        response.headers_mut().insert("x-elastic-product", HeaderValue::from_static("Elasticsearch"));
        response
    }))
}

#[derive(Default, Deserialize)]
struct Parameters {
    filter_path: Option<String>,
}

async fn bulk(
    State(doors): State<Arc<Doors>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&doors, None, &parameters, headers, body).await
}

async fn bulk_to(
    State(doors): State<Arc<Doors>>,
    Path(index): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&doors, Some(&index), &parameters, headers, body).await
}

/// 200 with a status for each item. Where nothing of the request was taken it is one for all of them: not every client
/// looks for a 429 in the items.
async fn answer(
    doors: &Doors,
    index: Option<&str>,
    parameters: &Parameters,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let begun_ms = SystemClock.now_ms();
    let (items, receipt) = match take(doors, index, headers, body).await {
        Ok(taken) => taken,
        Err(refusal) => return refuse(doors, &refusal),
    };
    let by_position = left_out(&receipt);
    let errors = items.iter().any(|item| match &item.outcome {
        Outcome::Record(position) => by_position.contains_key(position),
        Outcome::Refused { .. } | Outcome::Exists => true,
        Outcome::Same => false,
    });
    // Text at once: a hundred thousand items as values are 200 MB.
    let mut text = format!("{{\"errors\":{errors},\"items\":[");
    for (at, mut item) in items.into_iter().enumerate() {
        let id = item.id.take().unwrap_or_else(|| format!("{begun_ms:x}-{at}"));
        let mut result = result(&item, id, &by_position);
        parameters.filter(&mut result);
        if at > 0 {
            text.push(',');
        }
        text.push_str(&json!({ item.action.as_str(): result }).to_string());
    }
    let took = (SystemClock.now_ms() - begun_ms).max(0);
    text.push_str(&format!("],\"took\":{took}}}"));
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn result(item: &Item, id: String, by_position: &HashMap<u32, &Rejection>) -> Map<String, Value> {
    let told = match &item.outcome {
        Outcome::Record(position) => match by_position.get(position) {
            None => stored(item, id, "created", 201),
            Some(row) => refused(item, id, 400, STORE_REFUSED, &told(row)),
        },
        Outcome::Refused { kind, why } => refused(item, id, 400, kind, why),
        Outcome::Same => stored(item, id, "updated", 200),
        Outcome::Exists => {
            let why = format!("[{id}]: version conflict, document already exists (current version [1])");
            refused(item, id, 409, "version_conflict_engine_exception", &why)
        }
    };
    match told {
        Value::Object(told) => told,
        _ => Map::new(),
    }
}

async fn take(
    doors: &Doors,
    index: Option<&str>,
    headers: HeaderMap,
    body: Body,
) -> Result<(Vec<Item>, Receipt), Refusal> {
    let caller = Caller::of(&headers)?;
    let body = body::read(doors, &headers, body, Encoding::Identity).await?.made_of(Kind::Json)?;
    let mut with_ids: HashMap<u64, Stored> = HashMap::new();
    let tenant = caller.tenant.clone();
    let mut known = |action: Action, index: &str, id: &str, document: &[u8]| {
        let stored = Stored::of(tenant.as_str(), index, id, document);
        let earlier = with_ids.get(&stored.id()).and_then(|before| stored.known(*before));
        let earlier = earlier.or_else(|| doors.ids.lock().known(stored));
        if earlier.is_none() || action == Action::Index {
            with_ids.insert(stored.id(), stored);
        }
        earlier
    };
    let Bulk { decoded, items } = elastic::bulk(&body.bytes, index, SystemClock.now_ns(), &mut known)?;
    let receipt = doors.write(caller, Batch::Logs(decoded.batch), decoded.rejected).await?;
    // What the store left out may be sent again in a shape that it takes.
    if receipt.rejected.iter().all(|row| row.at.is_empty()) {
        doors.ids.lock().add(with_ids.into_values());
    }
    Ok((items, receipt))
}

/// What a record is called that was decoded and that the store does not keep.
const STORE_REFUSED: &str = "illegal_argument_exception";

/// The store's rejections by position in the batch.
fn left_out(receipt: &Receipt) -> HashMap<u32, &Rejection> {
    receipt.rejected.iter().flat_map(|row| row.at.iter().map(move |at| (*at, row))).collect()
}

fn told(row: &Rejection) -> String {
    let first = if row.count > 1 { "the first of several is " } else { "" };
    format!("{}: {first}{}", row.reason.as_str(), row.example)
}

fn stored(item: &Item, id: String, result: &str, status: u16) -> Value {
    json!({
        "_index": item.index, "_id": id, "_version": 1, "result": result,
        "_shards": { "total": 1, "successful": 1, "failed": 0 },
        "_seq_no": 0, "_primary_term": 1, "status": status,
    })
}

fn refused(item: &Item, id: String, status: u16, kind: &str, why: &str) -> Value {
    json!({
        "_index": item.index, "_id": id, "status": status, "error": { "type": kind, "reason": why },
    })
}

impl Parameters {
    /// Filebeat wants `errors,items.*.error,items.*.status` and no more.
    fn filter(&self, result: &mut Map<String, Value>) {
        let paths = self.filter_path.as_deref().unwrap_or("");
        let wanted: Vec<&str> = paths.split(',').filter_map(|path| path.strip_prefix("items.*.")).collect();
        if !wanted.is_empty() {
            result.retain(|name, _| wanted.contains(&name.as_str()));
        }
    }
}

fn refuse(doors: &Doors, refusal: &Refusal) -> Response {
    doors.count_refusal(refusal);
    let kind = match refusal.status {
        StatusCode::BAD_REQUEST => "illegal_argument_exception",
        StatusCode::PAYLOAD_TOO_LARGE => "content_too_long_exception",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "media_type_header_exception",
        StatusCode::TOO_MANY_REQUESTS => "es_rejected_execution_exception",
        _ => "unavailable_exception",
    };
    let cause = json!({ "type": kind, "reason": refusal.why });
    let error = json!({
        "error": { "root_cause": [cause], "type": kind, "reason": refusal.why },
        "status": refusal.status.as_u16(),
    });
    let mut response = (refusal.status, Json(error)).into_response();
    retry_after(&mut response, refusal);
    response
}

async fn about() -> Json<Value> {
    Json(json!({
        "name": "binnacle",
        "cluster_name": "binnacle",
        "cluster_uuid": "binnacle",
        "version": {
            "number": VERSION,
            "build_flavor": "default",
            "build_type": "unknown",
            "build_hash": "unknown",
            "build_snapshot": false,
            "lucene_version": "9.12.0",
            "minimum_wire_compatibility_version": "7.17.0",
            "minimum_index_compatibility_version": "7.0.0",
        },
        "tagline": "You Know, for Search",
    }))
}

/// Beats of version 7 ask `_xpack` and read the mode, those of 8 `_license`.
async fn license() -> Json<Value> {
    let license = json!({ "uid": "binnacle", "type": "basic", "mode": "basic", "status": "active" });
    Json(json!({ "license": license, "features": {} }))
}

async fn health() -> Json<Value> {
    Json(json!({ "cluster_name": "binnacle", "status": "green", "timed_out": false, "number_of_nodes": 1 }))
}

async fn policy(Path(name): Path<String>) -> Response {
    unused(json!({ name: { "version": 1, "policy": { "phases": {} } } }))
}

/// Logstash of version 7 looks for its alias, and puts an index in its place; the name stands in the address as
/// `<logstash-{now/d}-000001>`.
async fn existing(Path(index): Path<String>) -> Response {
    no_index(&index).unwrap_or_else(|| unused(json!({ index: { "aliases": {} } })))
}

async fn made(Path(index): Path<String>) -> Response {
    no_index(&index).unwrap_or_else(|| {
        unused(json!({ "acknowledged": true, "shards_acknowledged": true, "index": index }))
    })
}

/// An index begins with no `_`: that is a question which is not answered here.
fn no_index(index: &str) -> Option<Response> {
    let why = "404 page not found";
    let cause = json!({ "type": "exception", "reason": why });
    let error =
        json!({ "error": { "root_cause": [cause], "type": "exception", "reason": why }, "status": 404 });
    index.starts_with('_').then(|| (StatusCode::NOT_FOUND, Json(error)).into_response())
}

async fn data_stream(Path(name): Path<String>) -> Response {
    unused(json!({ "data_streams": [{ "name": name, "status": "GREEN" }] }))
}

/// Of either kind: it exists, so that nothing is put in its place.
async fn template(Path(name): Path<String>) -> Response {
    let one = |inside: &str| json!([{ "name": name, inside: { "index_patterns": [] } }]);
    unused(
        json!({ "index_templates": one("index_template"), "component_templates": one("component_template") }),
    )
}

async fn named(Path(name): Path<String>) -> Response {
    unused(json!({ name: {} }))
}

async fn acknowledge() -> Response {
    unused(json!({ "acknowledged": true }))
}

fn unused(answer: Value) -> Response {
    ([(header::WARNING, NOT_USED)], Json(answer)).into_response()
}
