//! The patterns of a query's lines, as Logs Drilldown draws them.

use super::params::Params;
use super::{Answer, Refusal, now_ns, success};
use crate::TenantHeader;
use axum::Json;
use axum::extract::State;
use engine::Engine;
use model::TimeRange;
use serde_json::{Value, json};
use std::sync::Arc;

const PATTERNS_MAX: usize = 300;
/// As the step of Loki's pattern ingester, which is the least that it takes.
const STEP_MS_MIN: i64 = 10_000;

pub(super) async fn patterns(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let query = params.required("query")?;
    let (start, end) = params.range(now_ns())?;
    let step_ms = params.step_ms(start, end)?.max(STEP_MS_MIN);
    logql::parse_selector(query).map_err(Refusal::bad)?;
    if start == end {
        return Ok(success(json!([])));
    }
    let range = TimeRange { start, end };
    let found = engine.log_patterns(&tenant, query, range, step_ms, PATTERNS_MAX).await?;
    let patterns = found.into_iter().map(|pattern| {
        let seconds = |ns: i64| ns.div_euclid(1_000_000_000);
        let samples: Vec<(i64, u64)> =
            pattern.samples.into_iter().map(|(at, lines)| (seconds(at), lines)).collect();
        json!({ "pattern": pattern.pattern, "level": pattern.level, "samples": samples })
    });
    Ok(success(patterns.collect()))
}
