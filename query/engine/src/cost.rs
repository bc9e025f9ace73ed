//! Cost: what each node costs by the price book, divided over who asked for it or used it, hour by hour and cluster by
//! cluster.
//!
//! A node's hour costs its cores, memory and GPUs times their rates. Every pod, group or process pays for the larger of what
//! it asked for and what it used; what the node used beyond that is `__unallocated__`, what nobody had `__idle__`, so the
//! rows of a node add up to its price. Volumes, load balancers and traffic are paid by the pods and services that have
//! them, volumes that nobody mounts by `__unmounted__`. Usage that nothing tells is missing, not zero. The `allocation`
//! table holds the last day; [`Engine::costs`] answers for any range.

mod divide;
mod nodes;
mod prices;
mod series;
mod usage;
mod volumes;

pub use nodes::Node;
pub use prices::{InvalidPrices, Item, Kind, Lifecycle, Price, PriceBook, Rates};
pub use volumes::{LoadBalancer, Traffic, UNMOUNTED, Volume};

use crate::sql::{Cell, CellKind, RowTable};
use crate::{Engine, QueryError};
use model::{Clock, Labels, Tenant};
use parking_lot::RwLock;
use series::{HOUR_MS, Hour};
use std::collections::HashMap;
use std::sync::Arc;
use store::Source;
use usage::Owner;

/// The namespace and workload of what nobody had.
pub const IDLE: &str = "__idle__";

/// Hours the `allocation` table holds; older ones are asked for by HTTP with a window.
const TABLE_HOURS: i64 = 24;
/// A month and a day; each hour is a read.
const HOURS_MAX: i64 = 32 * 24;
/// Rows of one answer.
const ROWS_MAX: usize = 500_000;

/// One owner's cost in one hour on one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allocation {
    pub window_start_ms: i64,
    pub window_end_ms: i64,
    pub namespace: String,
    pub workload: String,
    /// `deployment`, `statefulset`, …; empty where it is not told.
    pub workload_kind: String,
    pub pod: String,
    pub container: String,
    pub node: String,
    /// Empty where it is not told.
    pub cluster: String,
    pub provider_id: String,
    /// Of the pod, as `kube_pod_labels` names them: `label_app`.
    pub labels: Labels,
    /// Of the pod, as `kube_pod_annotations` names them: `annotation_team`.
    pub annotations: Labels,
    /// Whose selectors the pod's labels pass, sorted; a load balancer's own.
    pub services: Vec<String>,
    /// Cores.
    pub cpu: Part,
    /// GiB.
    pub memory: Part,
    pub gpu: Part,
    pub volume_gib_hours: f64,
    pub volume_cost: f64,
    pub load_balancer_cost: f64,
    /// `None` where nothing tells it.
    pub traffic: Option<Traffic>,
}

/// Of one resource, in units times hours.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Part {
    /// What is paid for: the larger of the two below.
    pub hours: f64,
    pub requested: Option<f64>,
    pub used: Option<f64>,
    pub cost: f64,
}

impl Allocation {
    fn of(owner: &Owner, start_ms: i64) -> Allocation {
        let Owner { namespace, workload, workload_kind, pod, container } = owner.clone();
        Allocation {
            window_start_ms: start_ms,
            window_end_ms: start_ms + HOUR_MS,
            namespace,
            workload,
            workload_kind,
            pod,
            container,
            ..Allocation::default()
        }
    }

    pub fn network_cost(&self) -> f64 {
        self.traffic.map_or(0.0, |traffic| traffic.cost)
    }

    pub fn total_cost(&self) -> f64 {
        self.cpu.cost
            + self.memory.cost
            + self.gpu.cost
            + self.volume_cost
            + self.load_balancer_cost
            + self.network_cost()
    }

    pub fn is_idle(&self) -> bool {
        self.namespace == IDLE
    }
}

/// What is paid for in one hour.
#[derive(Clone, Debug, PartialEq)]
pub struct Asset {
    pub window_start_ms: i64,
    /// Empty where it is not told.
    pub cluster: String,
    pub what: Paid,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Paid {
    Node(Node, Rates),
    Volume(Volume),
    LoadBalancer(LoadBalancer),
    /// All that left the cluster.
    Network(f64),
}

impl Asset {
    pub fn cost(&self) -> f64 {
        match &self.what {
            Paid::Node(node, rates) => {
                node.hours
                    * (node.cores * rates.cpu_core
                        + node.memory_gib * rates.memory_gib
                        + node.gpus * rates.gpu)
            }
            Paid::Volume(volume) => volume.cost,
            Paid::LoadBalancer(balancer) => balancer.cost,
            Paid::Network(cost) => *cost,
        }
    }
}

/// What was paid for, and by whom: both add up to the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Costs {
    pub allocations: Vec<Allocation>,
    pub assets: Vec<Asset>,
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
    pub async fn costs(&self, tenant: &Tenant, start_ms: i64, end_ms: i64) -> Result<Costs, QueryError> {
        let book = self.prices();
        let work = costs(self.source.as_ref(), &book, tenant, start_ms, end_ms);
        let ran = tokio::time::timeout(self.timeout(), work).await;
        ran.unwrap_or(Err(QueryError::Timeout(self.timeout().as_millis() as u64)))
    }
}

async fn costs(
    source: &dyn Source,
    book: &PriceBook,
    tenant: &Tenant,
    start_ms: i64,
    end_ms: i64,
) -> Result<Costs, QueryError> {
    let first = start_ms.div_euclid(HOUR_MS);
    let after = end_ms.saturating_add(HOUR_MS - 1).div_euclid(HOUR_MS);
    if after.saturating_sub(first) > HOURS_MAX {
        return Err(QueryError::TooMuch(format!("a window of more than {} days; narrow it", HOURS_MAX / 24)));
    }
    let snapshot = source.snapshot(tenant).await?;
    let told_by = [nodes::TOLD_BY.as_slice(), volumes::TOLD_BY.as_slice()].concat();
    let mut costs = Costs::default();
    for start_ms in (first..after).map(|hour| hour * HOUR_MS) {
        for cluster in series::clusters(snapshot.as_ref(), start_ms, &told_by).await? {
            let hour = Hour { snapshot: snapshot.as_ref(), start_ms, cluster: &cluster };
            of_hour(&hour, book, &mut costs).await?;
        }
        if costs.allocations.len() > ROWS_MAX {
            return Err(QueryError::TooMuch(format!("more than {ROWS_MAX} rows of cost; narrow the window")));
        }
    }
    Ok(costs)
}

async fn of_hour(hour: &Hour<'_>, book: &PriceBook, costs: &mut Costs) -> Result<(), QueryError> {
    let start_ms = hour.start_ms;
    let mut rows = vec![];
    let mut asset = |what| {
        costs.assets.push(Asset { window_start_ms: start_ms, cluster: hour.cluster.to_owned(), what });
    };
    let nodes = nodes::Nodes::read(hour).await?;
    if !nodes.all.is_empty() {
        for node in usage::of_hour(hour, &nodes).await? {
            let size = &node.node;
            let rates = book.rates(size.cores, size.memory_gib, size.gpus, &size.kind);
            divide::node(&node, rates, start_ms, &mut rows);
            asset(Paid::Node(node.node, rates));
        }
    }
    let others = volumes::of_hour(hour, &nodes, book).await?;
    divide::others(&others, start_ms, &mut rows);
    let network: f64 = others.traffic.values().map(|traffic| traffic.cost).sum();
    others.volumes.into_iter().for_each(|(volume, _)| asset(Paid::Volume(volume)));
    others.load_balancers.into_iter().for_each(|balancer| asset(Paid::LoadBalancer(balancer)));
    if network > 0.0 {
        asset(Paid::Network(network));
    }
    label(hour, &mut rows).await?;
    costs.allocations.extend(rows);
    Ok(())
}

async fn label(hour: &Hour<'_>, rows: &mut [Allocation]) -> Result<(), QueryError> {
    rows.iter_mut().for_each(|row| row.cluster = hour.cluster.to_owned());
    for row in rows.iter_mut().filter(|row| row.workload_kind == "service") {
        row.services = vec![row.workload.clone()];
    }
    if rows.iter().all(|row| row.pod.is_empty()) {
        return Ok(());
    }
    let labels = by_pod(hour, "kube_pod_labels", LABEL).await?;
    let annotations = by_pod(hour, "kube_pod_annotations", "annotation_").await?;
    let services = hour.labels("service_selector_labels", None).await?;
    for row in rows.iter_mut().filter(|row| !row.pod.is_empty()) {
        let pod = (row.namespace.clone(), row.pod.clone());
        row.labels = labels.get(&pod).cloned().unwrap_or_default();
        row.annotations = annotations.get(&pod).cloned().unwrap_or_default();
        row.services = services_of(row, &services);
    }
    Ok(())
}

const LABEL: &str = "label_";

/// What a metric says of each pod (by namespace and name) in labels that begin so.
async fn by_pod(
    hour: &Hour<'_>,
    metric: &str,
    prefix: &str,
) -> Result<HashMap<(String, String), Labels>, QueryError> {
    let of_pod = |labels: &Labels| {
        let text = |name: &str| labels.get(name).unwrap_or("").to_owned();
        (text("namespace"), text("pod"))
    };
    let told = hour.labels(metric, None).await?.into_iter();
    Ok(told.map(|all| (of_pod(&all), all.without(|name| !name.starts_with(prefix)))).collect())
}

/// Services of the row's namespace all of whose selector the pod's labels have.
fn services_of(row: &Allocation, selectors: &[Labels]) -> Vec<String> {
    let selects = |selector: &&Labels| {
        let mut asked = selector.iter().filter(|(name, _)| name.starts_with(LABEL)).peekable();
        selector.get("namespace") == Some(row.namespace.as_str())
            && asked.peek().is_some()
            && asked.all(|(name, value)| row.labels.get(name) == Some(value))
    };
    let mut services: Vec<String> = selectors
        .iter()
        .filter(selects)
        .filter_map(|selector| selector.get("service").map(str::to_owned))
        .collect();
    services.sort();
    services.dedup();
    services
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
    ("workload_kind", CellKind::Text),
    ("cpu_request_core_hours", CellKind::Number),
    ("cpu_usage_core_hours", CellKind::Number),
    ("memory_request_gib_hours", CellKind::Number),
    ("memory_usage_gib_hours", CellKind::Number),
    ("gpu_hours", CellKind::Number),
    ("gpu_request_hours", CellKind::Number),
    ("gpu_usage_hours", CellKind::Number),
    ("gpu_cost", CellKind::Number),
    ("volume_gib_hours", CellKind::Number),
    ("volume_cost", CellKind::Number),
    ("load_balancer_cost", CellKind::Number),
    ("network_sent_bytes", CellKind::Number),
    ("network_received_bytes", CellKind::Number),
    ("network_cost", CellKind::Number),
    ("cluster", CellKind::Text),
];

/// The `allocation` table.
pub(crate) fn table(source: Arc<dyn Source>, clock: Arc<dyn Clock>, prices: Prices) -> RowTable {
    let rows = move |tenant: Tenant| -> crate::sql::RowsFuture {
        let (source, book, now_ms) = (source.clone(), prices.read().clone(), clock.now_ms());
        Box::pin(async move {
            let start_ms = now_ms - (TABLE_HOURS - 1) * HOUR_MS;
            let costs = costs(source.as_ref(), &book, &tenant, start_ms, now_ms).await?;
            Ok(costs.allocations.into_iter().map(cells).collect())
        })
    };
    RowTable { name: "allocation", columns: COLUMNS, rows: Arc::new(rows) }
}

fn cells(row: Allocation) -> Vec<Cell> {
    let time = |ms: i64| Cell::Time(ms.saturating_mul(1_000_000));
    let told = |number: Option<f64>| number.map_or(Cell::Null, Cell::Number);
    let (total, network) = (row.total_cost(), row.network_cost());
    vec![
        time(row.window_start_ms),
        Cell::Text(row.namespace),
        Cell::Text(row.workload),
        Cell::Text(row.pod),
        Cell::Text(row.node),
        Cell::Text(row.container),
        time(row.window_end_ms),
        Cell::Number(row.cpu.hours),
        Cell::Number(row.memory.hours),
        Cell::Number(row.cpu.cost),
        Cell::Number(row.memory.cost),
        Cell::Number(total),
        Cell::Text("USD".into()),
        Cell::Text(row.workload_kind),
        told(row.cpu.requested),
        told(row.cpu.used),
        told(row.memory.requested),
        told(row.memory.used),
        Cell::Number(row.gpu.hours),
        told(row.gpu.requested),
        told(row.gpu.used),
        Cell::Number(row.gpu.cost),
        Cell::Number(row.volume_gib_hours),
        Cell::Number(row.volume_cost),
        Cell::Number(row.load_balancer_cost),
        told(row.traffic.map(|traffic| traffic.sent_bytes)),
        told(row.traffic.map(|traffic| traffic.received_bytes)),
        Cell::Number(network),
        Cell::Text(row.cluster),
    ]
}

#[cfg(test)]
mod tests;
