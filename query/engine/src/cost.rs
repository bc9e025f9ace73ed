//! Cost: what each node costs by the price book, divided over who used it, hour by hour.
//!
//! A node's hour costs its cores and memory times their rates. Every pod, cgroup or process pays for what it used;
//! what the node used beyond that is `__unallocated__`, what nobody used `__idle__`, so the rows of a node add up to its
//! price. The `allocation` table
//! holds the last day; [`Engine::allocation`] answers for any range.

mod prices;
mod usage;

pub use prices::{InvalidPrices, Item, Price, PriceBook, Rates};

use crate::sql::{Cell, CellKind, RowTable};
use crate::{Engine, QueryError};
use model::{Clock, Tenant};
use parking_lot::RwLock;
use std::sync::Arc;
use store::Source;
use usage::{HOUR_MS, NodeHour};

/// The namespace and workload of what nobody used.
pub const IDLE: &str = "__idle__";

/// Hours the `allocation` table holds; older ones are asked for by HTTP with a window.
const TABLE_HOURS: i64 = 24;
/// A month and a day; each hour is a read.
const HOURS_MAX: i64 = 32 * 24;
/// Rows of one answer.
const ROWS_MAX: usize = 500_000;

/// One owner's cost in one hour on one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    pub window_start_ms: i64,
    pub window_end_ms: i64,
    pub namespace: String,
    pub workload: String,
    pub pod: String,
    pub container: String,
    pub node: String,
    pub cpu_core_hours: f64,
    pub memory_gib_hours: f64,
    pub cpu_cost: f64,
    pub memory_cost: f64,
}

impl Allocation {
    pub fn total_cost(&self) -> f64 {
        self.cpu_cost + self.memory_cost
    }

    pub fn is_idle(&self) -> bool {
        self.namespace == IDLE
    }
}

/// The book in force, shared with the SQL table.
pub(crate) type Prices = Arc<RwLock<Arc<PriceBook>>>;

impl Engine {
    /// Replaces the built-in price book.
    pub fn set_prices(&self, book: PriceBook) {
        *self.prices.write() = Arc::new(book);
    }

    pub fn prices(&self) -> Arc<PriceBook> {
        self.prices.read().clone()
    }

    /// Cost by owner and hour; the hours that `start_ms` and `end_ms` (exclusive) are in are whole.
    pub async fn allocation(
        &self,
        tenant: &Tenant,
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<Allocation>, QueryError> {
        let book = self.prices();
        let work = allocate(self.source.as_ref(), &book, tenant, start_ms, end_ms);
        let ran = tokio::time::timeout(self.timeout(), work).await;
        ran.unwrap_or(Err(QueryError::Timeout(self.timeout().as_millis() as u64)))
    }
}

async fn allocate(
    source: &dyn Source,
    book: &PriceBook,
    tenant: &Tenant,
    start_ms: i64,
    end_ms: i64,
) -> Result<Vec<Allocation>, QueryError> {
    let first = start_ms.div_euclid(HOUR_MS);
    let after = end_ms.saturating_add(HOUR_MS - 1).div_euclid(HOUR_MS);
    if after.saturating_sub(first) > HOURS_MAX {
        return Err(QueryError::TooMuch(format!("a window of more than {} days; narrow it", HOURS_MAX / 24)));
    }
    let snapshot = source.snapshot(tenant).await?;
    let mut rows = vec![];
    for hour in first..after {
        for node in usage::of_hour(snapshot.as_ref(), hour * HOUR_MS).await? {
            divide(&node, book, hour * HOUR_MS, &mut rows);
        }
        if rows.len() > ROWS_MAX {
            return Err(QueryError::TooMuch(format!("more than {ROWS_MAX} rows of cost; narrow the window")));
        }
    }
    Ok(rows)
}

/// One node's hour as rows, the last of which is what nobody used.
fn divide(hour: &NodeHour, book: &PriceBook, start_ms: i64, rows: &mut Vec<Allocation>) {
    let node = &hour.node;
    let rates = book.rates(node.cores, node.memory_gib, node.instance_type.as_deref());
    let (mut cpu_left, mut memory_left) = (node.cores * node.hours, node.memory_gib * node.hours);
    let row =
        |namespace: &str, workload: &str, pod: &str, container: &str, cpu: f64, memory: f64| Allocation {
            window_start_ms: start_ms,
            window_end_ms: start_ms + HOUR_MS,
            namespace: namespace.to_owned(),
            workload: workload.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
            node: node.name.clone(),
            cpu_core_hours: cpu,
            memory_gib_hours: memory,
            cpu_cost: cpu * rates.cpu_core,
            memory_cost: memory * rates.memory_gib,
        };
    for (owner, used) in &hour.used {
        cpu_left -= used.cpu_core_hours;
        memory_left -= used.memory_gib_hours;
        rows.push(row(
            &owner.namespace,
            &owner.workload,
            &owner.pod,
            &owner.container,
            used.cpu_core_hours,
            used.memory_gib_hours,
        ));
    }
    rows.push(row(IDLE, IDLE, "", "", cpu_left.max(0.0), memory_left.max(0.0)));
}

const COLUMNS: &[(&str, CellKind)] = &[
    ("window_start", CellKind::Time),
    ("namespace", CellKind::Text),
    ("workload", CellKind::Text),
    ("pod", CellKind::Text),
    ("node", CellKind::Text),
    ("container", CellKind::Text),
    ("window_end", CellKind::Time),
    ("cpu_core_hours", CellKind::Number),
    ("memory_gib_hours", CellKind::Number),
    ("cpu_cost", CellKind::Number),
    ("memory_cost", CellKind::Number),
    ("total_cost", CellKind::Number),
    ("currency", CellKind::Text),
];

/// The `allocation` table.
pub(crate) fn table(source: Arc<dyn Source>, clock: Arc<dyn Clock>, prices: Prices) -> RowTable {
    let rows = move |tenant: Tenant| -> crate::sql::RowsFuture {
        let (source, book, now_ms) = (source.clone(), prices.read().clone(), clock.now_ms());
        Box::pin(async move {
            let start_ms = now_ms - (TABLE_HOURS - 1) * HOUR_MS;
            let rows = allocate(source.as_ref(), &book, &tenant, start_ms, now_ms).await?;
            Ok(rows.into_iter().map(cells).collect())
        })
    };
    RowTable { name: "allocation", columns: COLUMNS, rows: Arc::new(rows) }
}

fn cells(row: Allocation) -> Vec<Cell> {
    let time = |ms: i64| Cell::Time(ms.saturating_mul(1_000_000));
    let total = row.total_cost();
    vec![
        time(row.window_start_ms),
        Cell::Text(row.namespace),
        Cell::Text(row.workload),
        Cell::Text(row.pod),
        Cell::Text(row.node),
        Cell::Text(row.container),
        time(row.window_end_ms),
        Cell::Number(row.cpu_core_hours),
        Cell::Number(row.memory_gib_hours),
        Cell::Number(row.cpu_cost),
        Cell::Number(row.memory_cost),
        Cell::Number(total),
        Cell::Text("USD".into()),
    ]
}

#[cfg(test)]
mod tests;
