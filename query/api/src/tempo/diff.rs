//! `POST /v2/traces/diff`: how one trace differs from another, as documents that Tempo's tools read.
//!
//! `trace-patch-v0` names every span that changed, came or went; `trace-summary-v0-native` says what that comes to, for the
//! trace and each service; `trace-summary-v0-composed` is the summary, with the patch where it is small. A trace of which
//! something could not be read is not compared: what is missing would read as removed.

mod flat;
mod pairs;
mod patch;
mod summary;

use super::{Answer, Params, Refusal};
use crate::{TenantHeader, traces};
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use engine::Engine;
use flat::Flat;
use model::{SpanBatch, Tenant, TraceId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Spans that both traces may have together.
const SPANS_MAX: usize = 200_000;
/// What a composed answer attaches.
const PATCH_BYTES_MAX: usize = 64 << 10;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    pub base: Which,
    pub compare: Which,
    /// Empty: the patch.
    pub format: String,
}

/// A trace, and seconds between which it lies.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Which {
    pub trace_id: String,
    pub start: Option<i64>,
    pub end: Option<i64>,
}

#[derive(Clone, Copy)]
enum Format {
    Patch,
    Summary,
    Composed,
}

impl Format {
    fn named(name: &str) -> Answer<Format> {
        match name {
            "" | patch::VERSION => Ok(Format::Patch),
            summary::VERSION => Ok(Format::Summary),
            summary::COMPOSED => Ok(Format::Composed),
            other => Err(Refusal::bad(format!(
                "format is {other:?}; write {:?}, {:?} or {:?}",
                patch::VERSION,
                summary::VERSION,
                summary::COMPOSED
            ))),
        }
    }
}

pub(super) async fn diff(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Answer<Json<Value>> {
    let Json(asked) = asked.map_err(|wrong| Refusal(wrong.status(), wrong.body_text()))?;
    Ok(Json(answer(&engine, &tenant, &asked).await?))
}

pub(super) async fn answer(engine: &Engine, tenant: &Tenant, asked: &Asked) -> Answer<Value> {
    let format = Format::named(&asked.format)?;
    let base = whole(engine, tenant, "base", &asked.base).await?;
    let compare = whole(engine, tenant, "compare", &asked.compare).await?;
    let spans = count(&base.1) + count(&compare.1);
    if spans > SPANS_MAX {
        let why = format!("the two traces have {spans} spans; {SPANS_MAX} can be compared");
        return Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, why));
    }
    // Seconds for the largest: not on a thread that others wait for.
    let document = tokio::task::spawn_blocking(move || document(&base, &compare, format)).await;
    document
        .map_err(|_| Refusal(StatusCode::INTERNAL_SERVER_ERROR, "the comparison did not end".to_owned()))?
}

type Named = (TraceId, SpanBatch);

async fn whole(engine: &Engine, tenant: &Tenant, side: &str, which: &Which) -> Answer<Named> {
    if which.trace_id.is_empty() {
        return Err(Refusal::bad(format!("{side}.traceId is missing; write the trace's id in hex")));
    }
    let id = traces::trace_id(&which.trace_id).map_err(|why| Refusal::bad(format!("{side}: {why}")))?;
    let seconds = |name: &str, at: Option<i64>| at.map(|at| (name.to_owned(), at.to_string()));
    let range = seconds("start", which.start).into_iter().chain(seconds("end", which.end));
    let found = super::trace(engine, tenant, &which.trace_id, &Params(range.collect::<HashMap<_, _>>()))
        .await
        .map_err(|Refusal(status, why)| Refusal(status, format!("{side}: {why}")))?;
    if !found.warnings.is_empty() {
        let why = format!("{side}: the trace is not whole: {}", found.warnings.join("; "));
        return Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, why));
    }
    if count(&found.spans) == 0 {
        return Err(Refusal(StatusCode::NOT_FOUND, format!("{side}: trace {} not found", which.trace_id)));
    }
    Ok((id, found.spans))
}

fn count(batch: &SpanBatch) -> usize {
    batch.resources.iter().map(|resource| resource.spans.len()).sum()
}

fn document(base: &Named, compare: &Named, format: Format) -> Answer<Value> {
    let too_deep = |side: &str| {
        let why = format!("{side}: the spans of the trace lie too deep in one another to be compared");
        Refusal(StatusCode::UNPROCESSABLE_ENTITY, why)
    };
    let base = Flat::of(base.0, &base.1).ok_or_else(|| too_deep("base"))?;
    let compare = Flat::of(compare.0, &compare.1).ok_or_else(|| too_deep("compare"))?;
    let patch = patch::Patch::of(&base, &compare);
    if let Format::Patch = format {
        return Ok(patch.document());
    }
    let summary = summary::document(&base, &compare, &patch);
    if let Format::Summary = format {
        return Ok(summary);
    }
    let mut composed = json!({ "version": summary::COMPOSED, "summary": summary });
    let patch = patch.document();
    match patch.to_string().len() {
        bytes if bytes > PATCH_BYTES_MAX => {
            composed["patchOmitted"] = json!({ "bytes": bytes, "reason": "over_budget" });
        }
        _ => composed["patch"] = patch,
    }
    Ok(composed)
}

#[cfg(test)]
mod tests;
