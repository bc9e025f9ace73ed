//! Table functions over traces as a whole: `trace_tree(id)` is a trace from the top, `compare_spans(selection, baseline,
//! start, end)` what tells two sets of traces apart.
//!
//! Arguments are constants, times as those of `traceql()`.

use super::languages::{Fixed, constant, external, time_ns};
use super::rows::{Cell, CellKind, RowTable, RowTableProvider, RowsFuture};
use super::table::Snapshots;
use crate::causes::{Difference, TreeSpan};
use crate::{Engine, QueryError};
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, plan_err};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::Expr;
use model::{Clock, SystemClock, Tenant, TimeRange, TraceId};
use std::fmt;
use std::sync::Arc;

const HOUR_NS: i64 = 3_600_000_000_000;

pub(super) fn register(
    session: &SessionContext,
    engine: &Arc<Engine>,
    tenant: &Tenant,
    snapshots: &Snapshots,
) {
    for kind in [Kind::TraceTree, Kind::CompareSpans] {
        let function =
            Function { kind, engine: engine.clone(), tenant: tenant.clone(), snapshots: snapshots.clone() };
        session.register_udtf(kind.name(), Arc::new(function));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    TraceTree,
    CompareSpans,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::TraceTree => "trace_tree",
            Kind::CompareSpans => "compare_spans",
        }
    }
}

struct Function {
    kind: Kind,
    engine: Arc<Engine>,
    tenant: Tenant,
    snapshots: Snapshots,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}()", self.kind.name())
    }
}

/// The question, ready to be asked.
#[derive(Clone)]
enum Call {
    TraceTree(TraceId),
    CompareSpans { selection: String, baseline: Option<String>, range: TimeRange },
}

impl TableFunctionImpl for Function {
    fn call_with_args(&self, arguments: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let call = match self.kind {
            Kind::TraceTree => trace_tree(arguments.exprs())?,
            Kind::CompareSpans => compare_spans(arguments.exprs())?,
        };
        let (engine, snapshots) = (self.engine.clone(), self.snapshots.clone());
        let rows = move |tenant: Tenant| -> RowsFuture {
            let (engine, snapshots, call) = (engine.clone(), snapshots.clone(), call.clone());
            Box::pin(async move {
                let snapshot = snapshots.take().await.map_err(QueryError::from)?;
                let (rows, warnings) = call.ask(&engine.over(Arc::new(Fixed(snapshot))), &tenant).await?;
                snapshots.tell(warnings);
                Ok(rows)
            })
        };
        let columns = match self.kind {
            Kind::TraceTree => TREE.as_slice(),
            Kind::CompareSpans => DIFFERENCES.as_slice(),
        };
        let table = RowTable { name: self.kind.name(), columns, rows: Arc::new(rows) };
        Ok(Arc::new(RowTableProvider::new(table, self.tenant.clone())))
    }
}

fn text(function: &str, what: &str, argument: &Expr) -> Result<Option<String>> {
    let value = constant(function, what, argument)?;
    if value.is_null() {
        return Ok(None);
    }
    match value.try_as_str().flatten() {
        Some(text) => Ok(Some(text.to_owned())),
        None => plan_err!("{function}(): {what} is text, not {value}"),
    }
}

fn trace_tree(arguments: &[Expr]) -> Result<Call> {
    let [id] = arguments else {
        return plan_err!(
            "trace_tree() takes a trace id, as in trace_tree('0af7651916cd43dd8448eb211c80319c')"
        );
    };
    let text = text("trace_tree", "the trace id", id)?.unwrap_or_default();
    let mut id = TraceId::default();
    let digits = format!("{text:0>32}");
    if text.is_empty() || text.len() > 32 || hex_into(&digits, &mut id).is_none() {
        return plan_err!("trace_tree(): trace id {text:?} is not 1 to 32 hex digits");
    }
    Ok(Call::TraceTree(id))
}

fn hex_into(digits: &str, id: &mut TraceId) -> Option<()> {
    hex::decode_to_slice(digits, id).ok()
}

fn compare_spans(arguments: &[Expr]) -> Result<Call> {
    const NAME: &str = "compare_spans";
    if !(1..=4).contains(&arguments.len()) {
        return plan_err!(
            "{NAME}() takes a selection and, where they are wanted, a baseline, start and end, as in \
             {NAME}('{{ duration > 300ms }}', '{{ }}', '-1h', 'now')"
        );
    }
    let Some(selection) = text(NAME, "the selection", &arguments[0])? else {
        return plan_err!("{NAME}(): the selection is TraceQL, as in '{{ status = error }}'");
    };
    let baseline =
        arguments.get(1).map(|argument| text(NAME, "the baseline", argument)).transpose()?.flatten();
    for query in [Some(&selection), baseline.as_ref()].into_iter().flatten() {
        if let Err(why) = traceql::parse(query) {
            return Err(external(QueryError::Bad(format!("in a query of {NAME}(): {why}"))));
        }
    }
    let now_ns = SystemClock.now_ns();
    let time = |at: usize, what: &str| -> Result<Option<i64>> {
        let Some(argument) = arguments.get(at) else { return Ok(None) };
        let value = constant(NAME, what, argument)?;
        match (value.is_null(), time_ns(value, now_ns)) {
            (true, _) => Ok(None),
            (false, Some(ns)) => Ok(Some(ns)),
            (false, None) => {
                plan_err!(
                    "{NAME}(): {what} is {value}; write a timestamp, seconds since 1970, 'now' or '-1h'"
                )
            }
        }
    };
    let (start, end) = (time(2, "start")?, time(3, "end")?.unwrap_or(now_ns));
    let start = start.unwrap_or_else(|| end.saturating_sub(HOUR_NS));
    if end < start {
        return plan_err!("{NAME}(): end is before start; swap them");
    }
    Ok(Call::CompareSpans { selection, baseline, range: TimeRange { start, end } })
}

type Rows = Vec<Vec<Cell>>;

impl Call {
    /// Rows, and what is to be said beside them.
    async fn ask(
        self,
        engine: &Engine,
        tenant: &Tenant,
    ) -> std::result::Result<(Rows, Vec<String>), QueryError> {
        Ok(match self {
            Call::TraceTree(id) => {
                let tree = engine.trace_tree(tenant, id, None).await?;
                (tree.spans.into_iter().map(tree_row).collect(), tree.warnings)
            }
            Call::CompareSpans { selection, baseline, range } => {
                let compared =
                    engine.compare(tenant, (&selection, range), baseline.as_deref(), range).await?;
                (compared.differences.into_iter().map(difference_row).collect(), compared.warnings)
            }
        })
    }
}

const TREE: [(&str, CellKind); 14] = [
    ("depth", CellKind::Integer),
    ("tree", CellKind::Text),
    ("service", CellKind::Text),
    ("name", CellKind::Text),
    ("start_ts", CellKind::Time),
    ("duration_ns", CellKind::Integer),
    ("critical_ns", CellKind::Integer),
    ("usual_p50_ns", CellKind::Integer),
    ("usual_p95_ns", CellKind::Integer),
    ("usual_spans", CellKind::Integer),
    ("kind", CellKind::Text),
    ("status", CellKind::Text),
    ("span_id", CellKind::Text),
    ("parent_span_id", CellKind::Text),
];

fn tree_row(span: TreeSpan) -> Vec<Cell> {
    let usual = |of: fn(&crate::causes::Usual) -> i64| {
        span.usual.as_ref().map_or(Cell::Null, |u| Cell::Integer(of(u)))
    };
    vec![
        Cell::Integer(i64::from(span.depth)),
        Cell::Text(format!("{}{}: {}", "  ".repeat(span.depth.min(100) as usize), span.service, span.name)),
        Cell::Text(span.service.clone()),
        Cell::Text(span.name.clone()),
        Cell::Time(span.start_ns),
        Cell::Integer(span.duration_ns),
        Cell::Integer(span.critical_ns),
        usual(|usual| usual.p50_ns),
        usual(|usual| usual.p95_ns),
        usual(|usual| usual.spans as i64),
        Cell::Text(span.kind.as_str().to_owned()),
        Cell::Text(span.status.as_str().to_owned()),
        Cell::Text(hex::encode(span.span_id)),
        span.parent_span_id.map_or(Cell::Null, |parent| Cell::Text(hex::encode(parent))),
    ]
}

const DIFFERENCES: [(&str, CellKind); 7] = [
    ("attribute", CellKind::Text),
    ("value", CellKind::Text),
    ("selection_share", CellKind::Number),
    ("baseline_share", CellKind::Number),
    ("score", CellKind::Number),
    ("selection_count", CellKind::Integer),
    ("baseline_count", CellKind::Integer),
];

fn difference_row(one: Difference) -> Vec<Cell> {
    vec![
        Cell::Text(one.attribute),
        Cell::Text(one.value),
        Cell::Number(one.selection_share),
        Cell::Number(one.baseline_share),
        Cell::Number(one.score),
        Cell::Integer(i64::from(one.selection_count)),
        Cell::Integer(i64::from(one.baseline_count)),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::test_world;
    use model::Tenant;
    use std::sync::Arc;

    async fn asked(query: &str) -> Result<Vec<Vec<String>>, String> {
        let engine = Arc::new(test_world().await);
        let answer = engine.sql(&Tenant::default(), query, vec![]).await.map_err(|why| why.to_string())?;
        let mut rows = vec![];
        for batch in &answer.batches {
            for row in 0..batch.num_rows() {
                let cell = |column: &arrow::array::ArrayRef| {
                    arrow::util::display::array_value_to_string(column, row).unwrap()
                };
                rows.push(batch.columns().iter().map(cell).collect());
            }
        }
        Ok(rows)
    }

    #[tokio::test]
    async fn why_nothing_differs_is_told_beside_no_rows() {
        let engine = Arc::new(test_world().await);
        let nothing = "select * from compare_spans('{ name = \"nobody\" }', null, '2026-03-01T12:00:00Z', \
                       '2026-03-01T13:00:00Z')";
        let answer = engine.sql(&Tenant::default(), nothing, vec![]).await.unwrap();
        assert_eq!(answer.warnings, ["nothing matches the selection in its time"]);
        let (session, snapshot) = engine.sql_session(&Tenant::default());
        let rows = session.sql(nothing).await.unwrap().count().await.unwrap();
        assert_eq!((rows, snapshot.warnings()), (0, answer.warnings));
        snapshot.release();
        assert!(snapshot.warnings().is_empty());
    }

    #[tokio::test]
    async fn a_trace_from_the_top_and_what_tells_slow_ones_apart() {
        let slow = "select trace_id from spans where name = 'db.pool' and duration_ns > 200000000 limit 1";
        let id = asked(slow).await.unwrap()[0][0].clone();
        let rows =
            asked(&format!("select tree, duration_ns > usual_p95_ns - 100000000 from trace_tree('{id}')"))
                .await;
        let rows = rows.unwrap();
        assert!(rows[0][0].starts_with("frontend: "), "{rows:?}");
        assert!(rows.iter().any(|row| row[0] == "      inventory: db.pool"), "{rows:?}");
        assert_eq!(asked("select * from trace_tree('ff')").await.unwrap().len(), 0);
        let first = "select attribute, value, selection_share from compare_spans('{ duration > 250ms && kind = server }', null, \
                     '2026-03-01T12:00:00Z', '2026-03-01T13:00:00Z') where attribute like 'span.%' order by score desc limit 1";
        assert_eq!(asked(first).await.unwrap(), [["span.db.pool.exhausted", "true", "1.0"]]);
        for (wrong, says) in [
            ("select * from trace_tree('xyz')", "1 to 32 hex digits"),
            ("select * from trace_tree()", "takes a trace id"),
            ("select * from compare_spans('{ duration >')", "compare_spans"),
            ("select * from compare_spans('{ }', null, 'soon')", "start is"),
        ] {
            let why = asked(wrong).await.unwrap_err();
            assert!(why.contains(says), "{wrong}: {why}");
        }
    }
}
