//! What a query about cost asks for, by OpenCost's parameters: `window`, `aggregate`, `step`, `accumulate`, `filter`,
//! `includeIdle` (`idle`), `idleByNode`, `shareIdle`, `shareNamespaces`, `shareSplit`.

use super::HOUR_MS;
use super::filter::Filter;
use super::sum::{self, Sharing, Sum};
use super::window::{self, Window};
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use chrono::Utc;
use engine::Allocation;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Sets of one answer: a month of hours.
const STEPS_MAX: i64 = 32 * 24;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    #[serde(default = "last_day")]
    window: String,
    aggregate: Option<String>,
    step: Option<String>,
    accumulate: Option<String>,
    filter: Option<String>,
    /// Kubecost calls it so.
    #[serde(alias = "idle")]
    include_idle: Option<String>,
    idle_by_node: Option<String>,
    share_idle: Option<String>,
    share_namespaces: Option<String>,
    share_split: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, String>,
}

/// How parameters begin that would change what is answered: without them it would be an answer to another question. Others
/// (`resolution`, `format`) change nothing here.
const UNKNOWN: [&str; 3] = ["filter", "share", "accumulateBy"];

fn last_day() -> String {
    "24h".into()
}

pub type Asked = Result<Query<Request>, QueryRejection>;

/// Understood.
pub struct Wanted {
    pub window: Window,
    pub step_ms: i64,
    pub by: Vec<By>,
    filter: Filter,
    with_idle: bool,
    idle_by_node: bool,
    sharing: Sharing,
}

impl Wanted {
    pub fn of(asked: Asked, by_default: &str) -> Result<Wanted, String> {
        let Query(request) = asked.map_err(|wrong| wrong.body_text())?;
        let is_unknown = |name: &&String| UNKNOWN.iter().any(|begin| name.starts_with(begin));
        if let Some(name) = request.others.keys().find(is_unknown) {
            return Err(format!(
                "{name} is not known; use filter, shareIdle, shareNamespaces, shareSplit, step, accumulate"
            ));
        }
        let window = window::parse(&request.window, Utc::now())?;
        let by = request.aggregate.as_deref().filter(|text| !text.is_empty()).unwrap_or(by_default);
        let by = by.split(',').map(By::parse).collect::<Result<Vec<_>, _>>()?;
        let step_ms = match request.step.as_deref() {
            None | Some("") => window.length_ms().max(1),
            Some(_) if truth("accumulate", &request.accumulate, false)? => window.length_ms().max(1),
            Some(step) => window::duration_ms(step)?,
        };
        if step_ms < HOUR_MS && step_ms < window.length_ms() {
            return Err(format!(
                "step {:?} is shorter than 1h, and costs are by hour",
                request.step.unwrap_or_default()
            ));
        }
        if window.length_ms() / step_ms > STEPS_MAX {
            return Err(format!("more than {STEPS_MAX} steps; make the step longer or the window shorter"));
        }
        let evenly = match request.share_split.as_deref() {
            None | Some("" | "weighted") => false,
            Some("even") => true,
            Some(other) => return Err(format!("shareSplit {other:?} is not known; use weighted or even")),
        };
        let namespaces = request.share_namespaces.as_deref().unwrap_or("").split(',').map(str::trim);
        Ok(Wanted {
            window,
            step_ms,
            by,
            filter: Filter::parse(request.filter.as_deref().unwrap_or(""))?,
            with_idle: truth("includeIdle", &request.include_idle, true)?,
            idle_by_node: truth("idleByNode", &request.idle_by_node, false)?,
            sharing: Sharing {
                idle: truth("shareIdle", &request.share_idle, false)?,
                namespaces: namespaces.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
                evenly,
            },
        })
    }

    /// By name (`shop/cart`). Costs are shared before anything is left out, so who pays what does not depend on the filter.
    pub fn sums<'r>(&self, rows: impl Iterator<Item = &'r Allocation>) -> BTreeMap<String, Sum> {
        // What is to be shared is needed for it, and no row of its own then.
        let with_idle = self.with_idle || self.sharing.idle;
        let rows: Vec<&Allocation> = rows.filter(|row| with_idle || !row.is_idle()).collect();
        let name = |row: &Allocation| self.name(row);
        if self.filter.is_all() {
            return sum::add_up(rows, &name, &self.sharing);
        }
        // A filter may ask for what is added away: each row's own share is taken first.
        let one = |row: &Allocation| {
            [&row.cluster, &row.node, &row.namespace, &row.workload, &row.pod, &row.container]
                .map(String::as_str)
                .join("/")
        };
        let shared = sum::add_up(rows.iter().copied(), &one, &self.sharing);
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        let mut names: BTreeMap<String, &Allocation> = BTreeMap::new();
        rows.iter().for_each(|row| _ = names.entry(one(row)).or_insert(row));
        for (key, part) in shared {
            if let Some(row) = names.get(&key).filter(|row| self.filter.passes(row)) {
                sums.entry(self.name(row)).or_default().merge(part);
            }
        }
        sums
    }

    /// Whether something of this cluster is asked for.
    pub fn has_cluster(&self, told: &str) -> bool {
        self.filter.passes_cluster(told)
    }

    /// What nobody had stays one row of its own, or one a cluster or node, unless it is asked by what it belongs to.
    fn name(&self, row: &Allocation) -> String {
        let has_place = self.by.contains(&By::Node) || self.by.iter().all(|by| by.is_whole());
        if row.is_idle() && !has_place {
            let cluster = self.by.contains(&By::Cluster).then(|| cluster_name(&row.cluster));
            let node = self.idle_by_node.then_some(row.node.as_str());
            return [cluster, node, Some(engine::IDLE)].into_iter().flatten().collect::<Vec<_>>().join("/");
        }
        let parts = self.by.iter().map(|by| by.of(row)).filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("/")
    }
}

fn truth(name: &str, written: &Option<String>, default: bool) -> Result<bool, String> {
    match written.as_deref() {
        None | Some("") => Ok(default),
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("{name} {other:?} is neither true nor false")),
    }
}

/// What rows are added up by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    All,
    Cluster,
    Node,
    Namespace,
    ControllerKind,
    /// `deployment:cart`
    Controller,
    /// The name alone, whatever kind it is of.
    Workload,
    /// Names of this kind; what is of another has none.
    OfKind(&'static str),
    Service,
    Pod,
    Container,
    /// A label of the pod, by the name that metrics have for it: `label_app`.
    Label(String),
    Annotation(String),
}

const KINDS: [&str; 4] = ["deployment", "statefulset", "daemonset", "job"];

/// OpenCost's words for labels that say whose something is.
pub const OWNERS: [(&str, &str); 5] = [
    ("department", "department"),
    ("environment", "env"),
    ("owner", "owner"),
    ("product", "app"),
    ("team", "team"),
];

/// Of what has no such label.
const UNALLOCATED: &str = "__unallocated__";

/// What a cluster is called; one that nothing tells has a name all the same, as OpenCost's has.
pub fn cluster_name(told: &str) -> &str {
    if told.is_empty() { "default" } else { told }
}

impl By {
    pub fn parse(text: &str) -> Result<By, String> {
        let text = text.trim();
        let named = text.split_once(':');
        let owner = OWNERS.iter().find(|(word, _)| *word == text).map(|(_, label)| ("label", *label));
        match named.or(owner) {
            Some(("label", name)) => return Ok(By::Label(label_name(name))),
            Some(("annotation", name)) => return Ok(By::Annotation(annotation_name(name))),
            _ => {}
        }
        if let Some(kind) = KINDS.into_iter().find(|kind| *kind == text) {
            return Ok(By::OfKind(kind));
        }
        match text {
            "all" => Ok(By::All),
            "cluster" => Ok(By::Cluster),
            "node" => Ok(By::Node),
            "namespace" => Ok(By::Namespace),
            "controllerKind" => Ok(By::ControllerKind),
            "controller" => Ok(By::Controller),
            "workload" => Ok(By::Workload),
            "service" => Ok(By::Service),
            "pod" => Ok(By::Pod),
            "container" => Ok(By::Container),
            other => Err(format!(
                "aggregate {other:?} is not known; use all, cluster, node, namespace, controllerKind, controller, workload, \
                 {}, service, pod, container, label:<name>, annotation:<name>, {}",
                KINDS.join(", "),
                OWNERS.map(|(word, _)| word).join(", "),
            )),
        }
    }

    fn is_whole(&self) -> bool {
        matches!(self, By::All | By::Cluster)
    }

    fn of<'r>(&self, row: &'r Allocation) -> Cow<'r, str> {
        let known = |text: &'r str| if text.is_empty() { UNALLOCATED } else { text };
        Cow::Borrowed(match self {
            By::All => "cluster",
            By::Cluster => cluster_name(&row.cluster),
            By::Node => &row.node,
            By::Namespace => &row.namespace,
            By::ControllerKind => known(&row.workload_kind),
            By::Controller if row.workload_kind.is_empty() => known(&row.workload),
            By::Controller => return Cow::Owned(format!("{}:{}", row.workload_kind, row.workload)),
            By::Workload => &row.workload,
            By::OfKind(kind) if row.workload_kind == *kind => known(&row.workload),
            By::OfKind(_) => UNALLOCATED,
            // Of several the first, as OpenCost has it: a cost is counted once.
            By::Service => row.services.first().map_or(UNALLOCATED, String::as_str),
            By::Pod => &row.pod,
            By::Container => &row.container,
            By::Label(name) => row.labels.get(name).unwrap_or(UNALLOCATED),
            By::Annotation(name) => row.annotations.get(name).unwrap_or(UNALLOCATED),
        })
    }
}

/// As kube-state-metrics writes the name of a label: small, with underscores between words and for what no metric has.
pub fn label_name(label: &str) -> String {
    format!("label_{}", plain(label))
}

pub fn annotation_name(annotation: &str) -> String {
    format!("annotation_{}", plain(annotation))
}

/// `app.kubernetes.io/partOf` → `app_kubernetes_io_part_of`.
fn plain(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    let mut before = ' ';
    for c in name.chars() {
        if c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            out.push('_');
        }
        out.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
        before = c;
    }
    out
}
