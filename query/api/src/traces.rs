//! What the doors to traces share: Tempo, Jaeger and Zipkin name a trace by the same id, widen a range so that a trace
//! is whole, have tags without types, and ask who calls whom.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use engine::{Engine, QueryError, SqlParameter};
use model::{Tenant, TimeRange, TraceId};
use std::sync::Arc;

/// A trace with a span in a range may have begun so long before it, and end so long after.
const TRACE_NS_MAX: i64 = 3_600_000_000_000;

/// Up to 32 hex digits; those at the front that are 0 may be left out, as all three let them.
pub(crate) fn trace_id(text: &str) -> Result<TraceId, String> {
    let refuse = || format!("trace id {text:?} is not 1 to 32 hex digits");
    if text.is_empty() || text.len() > 32 {
        return Err(refuse());
    }
    let mut id = [0; 16];
    hex::decode_to_slice(format!("{text:0>32}"), &mut id).map_err(|_| refuse())?;
    Ok(id)
}

pub(crate) fn within(start: i64, end: i64) -> Result<TimeRange, String> {
    match start <= end {
        true => Ok(TimeRange { start, end }),
        false => Err("start is after end; swap them".to_owned()),
    }
}

/// Where the spans of traces with a span in `range` may lie.
pub(crate) fn whole_traces(range: TimeRange) -> TimeRange {
    TimeRange { start: range.start.saturating_sub(TRACE_NS_MAX), end: range.end.saturating_add(TRACE_NS_MAX) }
}

/// A text of TraceQL, quoted.
pub(crate) fn quoted(text: &str) -> String {
    traceql::Static::Text(text.to_owned()).to_string()
}

/// An attribute that equals a tag's value. Tags have no types, so what reads as a number or a truth is compared as that,
/// too.
pub(crate) fn tag_condition(scope: traceql::Scope, name: &str, value: &str) -> String {
    let field = traceql::Field::Attribute { scope, name: name.to_owned() };
    match is_number(value) || matches!(value, "true" | "false") {
        true => format!("({field} = {} || {field} = {value})", quoted(value)),
        false => format!("{field} = {}", quoted(value)),
    }
}

/// As TraceQL writes one. A whole number beyond 64 bits is none: an id that is so long was sent as a text.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let fits =
        if digits.contains('.') { digits.parse::<f64>().is_ok() } else { digits.parse::<i64>().is_ok() };
    plain && fits
}

/// A tag of Jaeger or Zipkin, anywhere on a span: it has no type, and what OpenTelemetry keeps in fields of its own are tags,
/// too.
pub(crate) fn condition(name: &str, value: &str) -> String {
    let text = quoted(value);
    let fitting = |known: &[&str]| known.contains(&value).then_some(value);
    match (name, value) {
        ("error", "true") => return "status = error".to_owned(),
        ("error", "false") => return "status != error".to_owned(),
        ("otel.status_code", "ERROR") => return "status = error".to_owned(),
        ("otel.status_code", "OK") => return "status = ok".to_owned(),
        ("otel.status_description", _) => return format!("statusMessage = {text}"),
        ("otel.scope.name" | "otel.library.name", _) => return format!("instrumentation:name = {text}"),
        ("otel.scope.version" | "otel.library.version", _) => {
            return format!("instrumentation:version = {text}");
        }
        ("span.kind", _) => {
            if let Some(kind) = fitting(&["server", "client", "producer", "consumer", "internal"]) {
                return format!("kind = {kind}");
            }
        }
        _ => {}
    }
    use traceql::Scope::{Any, Event, Instrumentation, Link};
    let places = [Any, Event, Instrumentation, Link];
    format!("({})", places.map(|scope| tag_condition(scope, name, value)).join(" || "))
}

/// Rows of a statement over the table `spans`, and what could not be read.
pub(crate) async fn rows<T>(
    engine: &Arc<Engine>,
    tenant: &Tenant,
    query: &str,
    parameters: Vec<SqlParameter>,
    row: impl Fn(&RecordBatch, usize) -> T,
) -> Result<(Vec<T>, Vec<String>), QueryError> {
    let answer = engine.sql(tenant, query, parameters).await?;
    let all = answer.batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |at| (batch, at)));
    Ok((all.map(|(batch, at)| row(batch, at)).collect(), answer.warnings))
}

pub(crate) fn text(batch: &RecordBatch, column: usize, row: usize) -> String {
    let texts = batch.column(column).as_string_opt::<i32>();
    texts.filter(|texts| texts.is_valid(row)).map_or("", |texts| texts.value(row)).to_owned()
}

fn integer(batch: &RecordBatch, column: usize, row: usize) -> i64 {
    batch.column(column).as_primitive_opt::<Int64Type>().map_or(0, |counts| counts.value(row))
}

/// Calls from one service to another, those that sampling left out with them.
pub(crate) struct Calls {
    pub parent: String,
    pub child: String,
    pub count: i64,
    /// Those of which the child's span failed.
    pub errors: i64,
}

/// Who calls whom, of spans that begin in the range.
pub(crate) async fn calls(
    engine: &Arc<Engine>,
    tenant: &Tenant,
    range: TimeRange,
) -> Result<(Vec<Calls>, Vec<String>), QueryError> {
    let weight = "greatest(sampling_weight(p.trace_state), sampling_weight(c.trace_state))";
    let begins = |span: &str, first: u8| {
        let ts = format!("{span}start_ts");
        format!("{ts} >= to_timestamp_nanos(${first}) and {ts} <= to_timestamp_nanos(${})", first + 1)
    };
    // `s` has the ids that a server shares with its client. What names such a one as its parent is below the server: of the
    // client's the server alone is. It is the side that is kept in memory, and nearly always empty.
    let query = format!(
        "select t.parent, t.child, cast(round(sum(t.weight)) as bigint), \
         cast(round(coalesce(sum(t.weight) filter (where t.failed), 0)) as bigint) \
         from (select distinct trace_id, span_id from spans where parent_span_id = span_id and {}) s \
         right join (select p.service as parent, c.service as child, p.trace_id, p.span_id, \
         c.span_id = p.span_id or p.parent_span_id = p.span_id as of_server, c.status = 'error' as failed, \
         {weight} as weight \
         from spans c join spans p on c.trace_id = p.trace_id and c.parent_span_id = p.span_id \
         where p.service <> c.service and {} and {}) t \
         on s.trace_id = t.trace_id and s.span_id = t.span_id \
         where s.span_id is null or t.of_server group by 1, 2 order by 1, 2",
        begins("", 3),
        begins("c.", 1),
        begins("p.", 3),
    );
    // A call's other end may have begun a little before or after.
    let wide = whole_traces(range);
    let bounds = [range.start, range.end, wide.start, wide.end].map(SqlParameter::Integer).to_vec();
    let edge = |batch: &RecordBatch, row: usize| Calls {
        parent: text(batch, 0, row),
        child: text(batch, 1, row),
        count: integer(batch, 2, row),
        errors: integer(batch, 3, row),
    };
    let (mut calls, warnings) = rows(engine, tenant, &query, bounds, edge).await?;
    // A node has a name.
    calls.retain(|call| !call.parent.is_empty() && !call.child.is_empty());
    Ok((calls, warnings))
}
