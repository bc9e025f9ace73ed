//! Hours added up by what was asked for, and what is shared divided over the rest.

use engine::{Allocation, Part};
use std::collections::BTreeMap;

/// Costs that are not their owners' alone.
#[derive(Default)]
pub struct Sharing {
    /// What nobody had, over who had something of the same resource, in proportion.
    pub idle: bool,
    /// Namespaces whose costs the others pay.
    pub namespaces: Vec<String>,
    /// In equal parts instead of in proportion to what each costs.
    pub evenly: bool,
}

/// Hours added up.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    pub cpu: Part,
    pub memory: Part,
    pub gpu: Part,
    pub volume_gib_hours: f64,
    pub volume_cost: f64,
    pub load_balancer_cost: f64,
    pub sent_bytes: Option<f64>,
    pub received_bytes: Option<f64>,
    pub network_cost: f64,
    pub shared_cost: f64,
    /// Of the three costs above, what was idle and is paid here: CPU, memory, GPU.
    pub idle_cost: [f64; 3],
    /// What it is of, as far as all its rows agree.
    pub namespace: Option<String>,
    pub workload: Option<String>,
    pub workload_kind: Option<String>,
    pub pod: Option<String>,
    pub container: Option<String>,
    pub node: Option<String>,
    pub cluster: Option<String>,
    pub provider_id: Option<String>,
    rows: usize,
    rows_without_usage: usize,
}

fn add(sum: &mut Part, part: &Part) {
    sum.hours += part.hours;
    sum.cost += part.cost;
    for (sum, part) in [(&mut sum.requested, part.requested), (&mut sum.used, part.used)] {
        if let Some(part) = part {
            *sum.get_or_insert(0.0) += part;
        }
    }
}

impl Sum {
    fn of(row: &Allocation) -> Sum {
        let text = |text: &String| Some(text.clone());
        let is_of_node = !row.node.is_empty();
        Sum {
            cpu: row.cpu,
            memory: row.memory,
            gpu: row.gpu,
            volume_gib_hours: row.volume_gib_hours,
            volume_cost: row.volume_cost,
            load_balancer_cost: row.load_balancer_cost,
            sent_bytes: row.traffic.map(|traffic| traffic.sent_bytes),
            received_bytes: row.traffic.map(|traffic| traffic.received_bytes),
            network_cost: row.network_cost(),
            namespace: text(&row.namespace),
            workload: text(&row.workload),
            workload_kind: text(&row.workload_kind),
            pod: text(&row.pod),
            container: text(&row.container),
            node: text(&row.node),
            cluster: text(&row.cluster),
            provider_id: text(&row.provider_id),
            rows: 1,
            rows_without_usage: usize::from(
                is_of_node && (row.cpu.used.is_none() || row.memory.used.is_none()),
            ),
            ..Sum::default()
        }
    }

    pub fn merge(&mut self, other: Sum) {
        if self.rows == 0 {
            *self = other;
            return;
        }
        add(&mut self.cpu, &other.cpu);
        add(&mut self.memory, &other.memory);
        add(&mut self.gpu, &other.gpu);
        self.volume_gib_hours += other.volume_gib_hours;
        self.volume_cost += other.volume_cost;
        self.load_balancer_cost += other.load_balancer_cost;
        self.network_cost += other.network_cost;
        self.shared_cost += other.shared_cost;
        self.idle_cost.iter_mut().zip(other.idle_cost).for_each(|(sum, part)| *sum += part);
        for (sum, part) in
            [(&mut self.sent_bytes, other.sent_bytes), (&mut self.received_bytes, other.received_bytes)]
        {
            if let Some(part) = part {
                *sum.get_or_insert(0.0) += part;
            }
        }
        for (known, value) in [
            (&mut self.namespace, other.namespace),
            (&mut self.workload, other.workload),
            (&mut self.workload_kind, other.workload_kind),
            (&mut self.pod, other.pod),
            (&mut self.container, other.container),
            (&mut self.node, other.node),
            (&mut self.cluster, other.cluster),
            (&mut self.provider_id, other.provider_id),
        ] {
            if *known != value {
                *known = None;
            }
        }
        self.rows += other.rows;
        self.rows_without_usage += other.rows_without_usage;
    }

    pub fn total(&self) -> f64 {
        self.cpu.cost
            + self.memory.cost
            + self.gpu.cost
            + self.volume_cost
            + self.load_balancer_cost
            + self.network_cost
            + self.shared_cost
    }

    /// Whether something in it has a request and no usage that is told: its usage is then that of the rest.
    pub fn usage_is_missing(&self) -> bool {
        self.rows_without_usage > 0
    }
}

/// By name. Each cluster's shared costs are paid in that cluster, so its rows add up to what it costs.
pub fn add_up<'r>(
    rows: impl IntoIterator<Item = &'r Allocation>,
    name: &dyn Fn(&Allocation) -> String,
    sharing: &Sharing,
) -> BTreeMap<String, Sum> {
    let mut clusters: BTreeMap<&str, Vec<&Allocation>> = BTreeMap::new();
    rows.into_iter().for_each(|row| clusters.entry(&row.cluster).or_default().push(row));
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for (name, sum) in clusters.into_values().flat_map(|rows| of_cluster(rows, name, sharing)) {
        sums.entry(name).or_default().merge(sum);
    }
    sums
}

/// What is to be shared and finds nobody to pay stays a row of its own.
fn of_cluster(
    rows: Vec<&Allocation>,
    name: &dyn Fn(&Allocation) -> String,
    sharing: &Sharing,
) -> BTreeMap<String, Sum> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    let mut idle: BTreeMap<String, Sum> = BTreeMap::new();
    let mut shared: BTreeMap<String, Sum> = BTreeMap::new();
    for row in rows {
        let into = match row {
            row if sharing.idle && row.is_idle() => &mut idle,
            row if sharing.namespaces.contains(&row.namespace) => &mut shared,
            _ => &mut sums,
        };
        into.entry(name(row)).or_default().merge(Sum::of(row));
    }
    share(&mut sums, shared, sharing.evenly);
    share_idle(&mut sums, idle);
    sums
}

fn share(sums: &mut BTreeMap<String, Sum>, shared: BTreeMap<String, Sum>, evenly: bool) {
    let cost: f64 = shared.values().map(Sum::total).sum();
    let is_owner = |sum: &Sum| sum.namespace.as_deref() != Some(engine::IDLE);
    let weight = |sum: &Sum| if evenly { 1.0 } else { sum.total() };
    let weights: f64 = sums.values().filter(|sum| is_owner(sum)).map(weight).sum();
    if weights <= 0.0 {
        shared.into_iter().for_each(|(name, sum)| sums.entry(name).or_default().merge(sum));
        return;
    }
    for sum in sums.values_mut().filter(|sum| is_owner(sum)) {
        sum.shared_cost += cost * weight(sum) / weights;
    }
}

fn share_idle(sums: &mut BTreeMap<String, Sum>, mut idle: BTreeMap<String, Sum>) {
    let parts: [fn(&mut Sum) -> &mut Part; 3] =
        [|sum| &mut sum.cpu, |sum| &mut sum.memory, |sum| &mut sum.gpu];
    for (at, part) in parts.into_iter().enumerate() {
        let cost: f64 = idle.values_mut().map(|sum| part(sum).cost).sum();
        let weights: f64 = sums.values_mut().map(|sum| part(sum).cost).sum();
        if weights <= 0.0 {
            continue;
        }
        for sum in sums.values_mut() {
            let share = cost * part(sum).cost / weights;
            part(sum).cost += share;
            sum.idle_cost[at] += share;
        }
        idle.values_mut().for_each(|sum| *part(sum) = Part::default());
    }
    for (name, sum) in idle.into_iter().filter(|(_, sum)| sum.total() > 0.0) {
        sums.entry(name).or_default().merge(sum);
    }
}
