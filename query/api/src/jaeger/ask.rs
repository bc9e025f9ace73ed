//! What all of Jaeger's doors ask: which services and operations there are, and which traces a search finds.

use super::TRACES_DEFAULT;
use super::params::Params;
use crate::traces::{rows, text, whole_traces};
use engine::{Engine, QueryError, SearchOptions, SqlParameter};
use model::{SpanBatch, Tenant, TimeRange, TraceId};
use serde_json::{Value, json};
use std::sync::Arc;

/// With each list, what could not be read.
pub(super) type Told<T> = (Vec<T>, Vec<String>);

pub(super) struct Operation {
    pub name: String,
    /// Empty where a span does not say.
    pub kind: String,
}

impl Operation {
    /// As all versions of the HTTP API have it.
    pub fn json(&self) -> Value {
        json!({ "name": self.name, "spanKind": self.kind })
    }
}

pub(super) async fn services(engine: &Arc<Engine>, tenant: &Tenant) -> Result<Told<String>, QueryError> {
    let query = "select distinct service from spans where service is not null order by service";
    let (mut names, warnings) = rows(engine, tenant, query, vec![], |batch, row| text(batch, 0, row)).await?;
    // Nobody can choose one without a letter.
    names.retain(|name| !name.is_empty());
    Ok((names, warnings))
}

/// Of one kind where it is not empty.
pub(super) async fn operations(
    engine: &Arc<Engine>,
    tenant: &Tenant,
    service: &str,
    kind: &str,
) -> Result<Told<Operation>, QueryError> {
    let query = "select distinct name, kind from spans where service = $1 and ($2 = '' or kind = $2) \
                 order by name, kind";
    let asked = [service, kind].map(|text| SqlParameter::Text(text.to_owned())).to_vec();
    rows(engine, tenant, query, asked, |batch, row| {
        let kind = Some(text(batch, 1, row)).filter(|kind| kind != "unspecified");
        Operation { name: text(batch, 0, row), kind: kind.unwrap_or_default() }
    })
    .await
}

/// Those that are known, in the order of `ids`.
pub(super) async fn traces(
    engine: &Engine,
    tenant: &Tenant,
    ids: &[TraceId],
    range: Option<TimeRange>,
) -> Result<Told<(TraceId, SpanBatch)>, QueryError> {
    let (found, warnings) = engine.traces_by_id(tenant, ids, range).await?;
    let found = ids.iter().copied().zip(found).filter(|(_, spans)| !spans.resources.is_empty());
    Ok((found.collect(), warnings))
}

/// Whole traces with a span as the parameters say.
pub(super) async fn search(
    engine: &Engine,
    tenant: &Tenant,
    params: &Params,
) -> Result<Told<(TraceId, SpanBatch)>, super::Refusal> {
    let options =
        SearchOptions { range: params.range()?, limit: params.limit(TRACES_DEFAULT)?, spans_per_spanset: 1 };
    let searched = engine.traceql_search(tenant, &params.query()?, options).await?;
    let ids: Vec<TraceId> = searched.traces.iter().map(|trace| trace.trace_id).collect();
    let (found, mut warnings) = traces(engine, tenant, &ids, Some(whole_traces(options.range))).await?;
    for warning in searched.warnings {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    Ok((found, warnings))
}
