//! An hour's cost over who pays for it: nodes over pods, groups and processes, volumes and traffic over pods.
//!
//! Whoever asked for or used something pays for the larger of the two. Together they may have more than there is: then each
//! pays in proportion. What nobody has is `__idle__`, so the rows of a node add up to its price, whatever came in.

use super::prices::Rates;
use super::usage::{NodeHour, Owner, Share, Shares};
use super::volumes::{Others, Traffic};
use super::{Allocation, IDLE, Part};
use std::collections::BTreeMap;

/// One node's rows, the last of which is what nobody had.
pub fn node(hour: &NodeHour, rates: Rates, start_ms: i64, rows: &mut Vec<Allocation>) {
    let node = &hour.node;
    let shares = || hour.shares.values();
    let cpu = Pool::of(node.cores * node.hours, rates.cpu_core, shares().map(|one| one.cpu));
    let memory = Pool::of(node.memory_gib * node.hours, rates.memory_gib, shares().map(|one| one.memory));
    let gpu = Pool::of(node.gpus * node.hours, rates.gpu, shares().map(|one| one.gpu));
    let row = |owner: &Owner, cpu: Part, memory: Part, gpu: Part| Allocation {
        node: node.name.clone(),
        provider_id: node.provider_id.clone(),
        cpu,
        memory,
        gpu,
        ..Allocation::of(owner, start_ms)
    };
    for (owner, Shares { cpu: of_cpu, memory: of_memory, gpu: of_gpu }) in &hour.shares {
        rows.push(row(owner, cpu.part(of_cpu), memory.part(of_memory), gpu.part(of_gpu)));
    }
    let nobody = Owner { namespace: IDLE.into(), workload: IDLE.into(), ..Owner::default() };
    rows.push(row(&nobody, cpu.idle(), memory.idle(), gpu.idle()));
}

/// What there is of one resource on one node, and who has it.
struct Pool {
    capacity_hours: f64,
    had_hours: f64,
    /// Of an hour of a unit that somebody has.
    rate: f64,
    rate_idle: f64,
}

impl Pool {
    fn of(capacity_hours: f64, rate: f64, shares: impl Iterator<Item = Share>) -> Pool {
        let had_hours: f64 = shares.map(|share| share.allocated()).sum();
        let is_over = had_hours > capacity_hours;
        let rate_had = if is_over { rate * capacity_hours / had_hours } else { rate };
        Pool { capacity_hours, had_hours, rate: rate_had, rate_idle: rate }
    }

    fn part(&self, share: &Share) -> Part {
        let hours = share.allocated();
        Part { hours, requested: share.requested, used: share.used, cost: hours * self.rate }
    }

    fn idle(&self) -> Part {
        let hours = (self.capacity_hours - self.had_hours).max(0.0);
        Part { hours, requested: Some(0.0), used: Some(0.0), cost: hours * self.rate_idle }
    }
}

/// What is paid beside nodes, on the rows of the pods that pay it; who has no row gets one. The rows are those of the same
/// hour and cluster: a pod of the same name in another one pays nothing.
pub fn others(others: &Others, start_ms: i64, rows: &mut Vec<Allocation>) {
    let mut of_pod: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        if !row.pod.is_empty() {
            of_pod.entry((row.namespace.clone(), row.pod.clone())).or_default().push(at);
        }
    }
    // The containers of a pod share alike.
    let mut pay = |rows: &mut Vec<Allocation>, owner: &Owner, put: &dyn Fn(&mut Allocation, f64)| {
        let of_this = of_pod.entry((owner.namespace.clone(), owner.pod.clone())).or_insert_with(|| {
            rows.push(Allocation::of(owner, start_ms));
            vec![rows.len() - 1]
        });
        let share = 1.0 / of_this.len() as f64;
        of_this.iter().for_each(|at| put(&mut rows[*at], share));
    };
    for (volume, payers) in &others.volumes {
        let of_each = 1.0 / payers.len().max(1) as f64;
        for owner in payers {
            pay(rows, owner, &|row, share| {
                row.volume_gib_hours += volume.gib * volume.hours * of_each * share;
                row.volume_cost += volume.cost * of_each * share;
            });
        }
    }
    for (owner, traffic) in &others.traffic {
        pay(rows, owner, &|row, share| {
            let sum = row.traffic.get_or_insert(Traffic::default());
            sum.sent_bytes += traffic.sent_bytes * share;
            sum.received_bytes += traffic.received_bytes * share;
            sum.cost += traffic.cost * share;
        });
    }
    for balancer in &others.load_balancers {
        let owner = Owner {
            namespace: balancer.namespace.clone(),
            workload: balancer.service.clone(),
            workload_kind: "service".into(),
            ..Owner::default()
        };
        rows.push(Allocation { load_balancer_cost: balancer.cost, ..Allocation::of(&owner, start_ms) });
    }
}

#[cfg(test)]
mod tests {
    use super::super::nodes::Node;
    use super::super::volumes::{LoadBalancer, Volume};
    use super::*;
    use proptest::prelude::*;

    fn share() -> impl Strategy<Value = Share> {
        let hours = || proptest::option::of(0.0..100.0_f64);
        (hours(), hours()).prop_map(|(requested, used)| Share { requested, used })
    }

    fn owner() -> impl Strategy<Value = Owner> {
        ("[ab]", "[pq]?", "[cd]?").prop_map(|(namespace, pod, container)| Owner {
            namespace,
            pod,
            container,
            ..Owner::default()
        })
    }

    fn hour() -> impl Strategy<Value = NodeHour> {
        let shares = (share(), share(), share()).prop_map(|(cpu, memory, gpu)| Shares { cpu, memory, gpu });
        let all = proptest::collection::btree_map(owner(), shares, 0..8);
        ((0.0..128.0_f64, 0.0..512.0_f64, 0.0..8.0_f64, 0.0..1.0_f64), all).prop_map(
            |((cores, memory_gib, gpus, hours), shares)| NodeHour {
                node: Node { name: "n".into(), cores, memory_gib, gpus, hours, ..Node::default() },
                shares,
            },
        )
    }

    fn paid_beside() -> impl Strategy<Value = Others> {
        let volume = (0.0..9.0_f64, proptest::collection::vec(owner(), 1..4)).prop_map(|(cost, payers)| {
            (Volume { name: "v".into(), class: String::new(), gib: 1.0, hours: 1.0, cost }, payers)
        });
        let traffic = (0.0..9.0_f64).prop_map(|cost| Traffic { cost, ..Traffic::default() });
        let balancer = (0.0..9.0_f64).prop_map(|cost| LoadBalancer {
            namespace: "a".into(),
            service: "s".into(),
            hours: 1.0,
            cost,
        });
        let volumes = proptest::collection::vec(volume, 0..4);
        let balancers = proptest::collection::vec(balancer, 0..3);
        (volumes, balancers, proptest::collection::btree_map(owner(), traffic, 0..4))
            .prop_map(|(volumes, load_balancers, traffic)| Others { volumes, load_balancers, traffic })
    }

    proptest! {
        #[test]
        fn rows_add_up_to_what_is_paid(
            hours in proptest::collection::vec(hour(), 1..3),
            (cpu_core, memory_gib, gpu) in (0.0..2.0_f64, 0.0..2.0_f64, 0.0..9.0_f64),
            beside in paid_beside(),
        ) {
            let rates = Rates { cpu_core, memory_gib, gpu };
            let mut rows = vec![];
            let mut paid = 0.0;
            for hour in &hours {
                node(hour, rates, 0, &mut rows);
                let node = &hour.node;
                paid += node.hours
                    * (node.cores * cpu_core + node.memory_gib * memory_gib + node.gpus * gpu);
            }
            others(&beside, 0, &mut rows);
            paid += beside.volumes.iter().map(|(volume, _)| volume.cost).sum::<f64>();
            paid += beside.load_balancers.iter().map(|one| one.cost).sum::<f64>();
            paid += beside.traffic.values().map(|one| one.cost).sum::<f64>();
            let sum: f64 = rows.iter().map(Allocation::total_cost).sum();
            prop_assert!((sum - paid).abs() < 1e-6, "{sum} is not {paid}");
            prop_assert!(rows.iter().all(|row| row.total_cost() >= 0.0));
        }
    }

    #[test]
    fn the_larger_of_request_and_usage_is_paid_for_and_missing_usage_is_missing() {
        let of = |pod: &str| Owner { namespace: "a".into(), pod: pod.into(), ..Owner::default() };
        let cpu = |requested, used| Shares { cpu: Share { requested, used }, ..Shares::default() };
        let shares = BTreeMap::from([
            (of("asks"), cpu(Some(2.0), Some(0.5))),
            (of("uses"), cpu(Some(0.5), Some(1.0))),
            (of("untold"), cpu(Some(1.0), None)),
        ]);
        let node_of = |cores| Node { name: "n".into(), cores, hours: 1.0, ..Node::default() };
        let rates = Rates { cpu_core: 1.0, ..Rates::default() };
        let costs = |cores: f64| {
            let mut rows = vec![];
            node(&NodeHour { node: node_of(cores), shares: shares.clone() }, rates, 0, &mut rows);
            rows
        };
        let rows = costs(8.0);
        let cost: Vec<f64> = rows.iter().map(|row| row.cpu.cost).collect();
        assert_eq!(cost, [2.0, 1.0, 1.0, 4.0], "in the order of owners, then idle");
        assert_eq!((rows[1].cpu.used, rows[1].cpu.requested), (None, Some(1.0)));
        // Four cores are had and two are there: each pays half, and nothing is idle.
        let cost: Vec<f64> = costs(2.0).iter().map(|row| row.cpu.cost).collect();
        assert_eq!(cost, [1.0, 0.5, 0.5, 0.0]);
    }
}
