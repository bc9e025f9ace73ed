//! OpenCost's shapes of an allocation and of an asset (opencost/opencost, core/pkg/opencost/allocation_json.go and
//! asset_json.go). A usage that nothing tells is `null`, and so is an efficiency that would need it; `usageMissing` is ours
//! and says that a sum holds some.

use super::ask::cluster_name;
use super::sum::Sum;
use super::time;
use super::window::Window;
use engine::{Asset, Lifecycle, Node, Paid, Part, Rates};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const GIB: f64 = (1u64 << 30) as f64;
const HOUR_MS: f64 = 3_600_000.0;

/// What is paid beside what was asked for pays no efficiency: usage by request.
fn efficiency(part: &Part) -> Option<f64> {
    let used = part.used?;
    Some(match part.requested {
        Some(requested) if requested > 0.0 => used / requested,
        _ if used > 0.0 => 1.0,
        _ => 0.0,
    })
}

fn total_efficiency(sum: &Sum) -> Option<f64> {
    let cost = sum.cpu.cost + sum.memory.cost;
    if cost <= 0.0 {
        return Some(0.0);
    }
    Some((efficiency(&sum.cpu)? * sum.cpu.cost + efficiency(&sum.memory)? * sum.memory.cost) / cost)
}

pub fn window(Window { start_ms, end_ms }: Window) -> Value {
    json!({ "start": time(start_ms), "end": time(end_ms) })
}

pub fn allocation(name: &str, sum: &Sum, of: Window) -> Value {
    let Window { start_ms, end_ms } = of;
    let hours = ((end_ms - start_ms) as f64 / HOUR_MS).max(f64::MIN_POSITIVE);
    let mean = |hours_of: Option<f64>, unit: f64| hours_of.map(|of| of * unit / hours);
    let cluster = sum.cluster.as_deref().map(|told| cluster_name(told).to_owned());
    let mut properties = Map::new();
    for (key, value) in [
        ("cluster", &cluster),
        ("node", &sum.node),
        ("namespace", &sum.namespace),
        ("controller", &sum.workload),
        ("controllerKind", &sum.workload_kind),
        ("pod", &sum.pod),
        ("container", &sum.container),
        ("providerID", &sum.provider_id),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            properties.insert(key.to_owned(), json!(value));
        }
    }
    let [cpu_idle, memory_idle, gpu_idle] = sum.idle_cost;
    let mut fields = json!({
        "name": name,
        "properties": properties,
        "window": window(of),
        "start": time(start_ms),
        "end": time(end_ms),
        "minutes": (end_ms - start_ms) as f64 / 60_000.0,
        "usageMissing": sum.usage_is_missing(),
        "cpuCores": sum.cpu.hours / hours,
        "cpuCoreRequestAverage": mean(sum.cpu.requested, 1.0),
        "cpuCoreUsageAverage": mean(sum.cpu.used, 1.0),
        "cpuCoreHours": sum.cpu.hours,
        "cpuCost": sum.cpu.cost,
        "cpuCostAdjustment": 0,
        "cpuCostIdle": cpu_idle,
        "cpuEfficiency": efficiency(&sum.cpu),
        "gpuCount": sum.gpu.hours / hours,
        "gpuRequestAverage": mean(sum.gpu.requested, 1.0),
        "gpuUsageAverage": mean(sum.gpu.used, 1.0),
        "gpuHours": sum.gpu.hours,
        "gpuCost": sum.gpu.cost,
        "gpuCostAdjustment": 0,
        "gpuCostIdle": gpu_idle,
        "gpuEfficiency": efficiency(&sum.gpu),
    });
    let more = json!({
        "networkTransferBytes": sum.sent_bytes,
        "networkReceiveBytes": sum.received_bytes,
        "networkCost": sum.network_cost,
        "networkCostAdjustment": 0,
        "loadBalancerCost": sum.load_balancer_cost,
        "loadBalancerCostAdjustment": 0,
        "pvBytes": sum.volume_gib_hours * GIB / hours,
        "pvByteHours": sum.volume_gib_hours * GIB,
        "pvCost": sum.volume_cost,
        "pvCostAdjustment": 0,
        "pvs": null,
        "ramBytes": sum.memory.hours * GIB / hours,
        "ramByteRequestAverage": mean(sum.memory.requested, GIB),
        "ramByteUsageAverage": mean(sum.memory.used, GIB),
        "ramByteHours": sum.memory.hours * GIB,
        "ramCost": sum.memory.cost,
        "ramCostAdjustment": 0,
        "ramCostIdle": memory_idle,
        "ramEfficiency": efficiency(&sum.memory),
        "externalCost": 0,
        "sharedCost": sum.shared_cost,
        "totalCost": sum.total(),
        "totalEfficiency": total_efficiency(sum),
        "lbAllocations": null,
        "rawAllocationOnly": null,
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
        fields.extend(more);
    }
    fields
}

/// Fields of an allocation that its summary has (summaryallocation_json.go).
const OF_SUMMARY: [&str; 22] = [
    "name",
    "start",
    "end",
    "cpuCoreRequestAverage",
    "cpuCoreUsageAverage",
    "cpuCost",
    "cpuCostIdle",
    "gpuRequestAverage",
    "gpuUsageAverage",
    "gpuCost",
    "gpuCostIdle",
    "networkCost",
    "loadBalancerCost",
    "pvCost",
    "ramByteRequestAverage",
    "ramByteUsageAverage",
    "ramCost",
    "ramCostIdle",
    "sharedCost",
    "externalCost",
    "totalEfficiency",
    "totalCost",
];

pub fn summary(name: &str, sum: &Sum, of: Window) -> Value {
    let mut whole = allocation(name, sum, of);
    if let Value::Object(fields) = &mut whole {
        fields.retain(|field, _| OF_SUMMARY.contains(&field.as_str()));
    }
    whole
}

/// An asset over the window.
#[derive(Default)]
struct Owned {
    kind: Option<Kind>,
    name: String,
    cluster: String,
    hours: f64,
    /// Cores, GiB, GPUs; GiB of a volume.
    sizes: [f64; 3],
    costs: [f64; 3],
}

enum Kind {
    Node(Box<Node>),
    Disk { class: String },
    LoadBalancer,
    Network,
}

/// By OpenCost's keys.
pub fn assets<'a>(paid: impl IntoIterator<Item = &'a Asset>, window: Window) -> Value {
    let mut all: BTreeMap<String, Owned> = BTreeMap::new();
    for asset in paid {
        let (cluster, cost) = (cluster_name(&asset.cluster), asset.cost());
        match &asset.what {
            Paid::Node(node, rates) => add_node(&mut all, cluster, node, rates),
            Paid::Volume(volume) => {
                let owned = asset_of(&mut all, cluster, ["", "Storage", "Disk", "", &volume.name]);
                owned.kind = Some(Kind::Disk { class: volume.class.clone() });
                owned.hours += volume.hours;
                owned.sizes[0] += volume.gib * volume.hours;
                owned.costs[0] += cost;
            }
            Paid::LoadBalancer(balancer) => {
                let name = format!("{}/{}", balancer.namespace, balancer.service);
                let owned = asset_of(&mut all, cluster, ["", "Network", "LoadBalancer", "", &name]);
                owned.kind = Some(Kind::LoadBalancer);
                owned.hours += balancer.hours;
                owned.costs[0] += cost;
            }
            Paid::Network(_) => {
                let owned = asset_of(&mut all, cluster, ["", "Network", "Network", "", "egress"]);
                owned.kind = Some(Kind::Network);
                owned.hours += 1.0;
                owned.costs[0] += cost;
            }
        }
    }
    all.into_iter().map(|(key, owned)| (key, shown(&owned, window))).collect::<Map<_, _>>().into()
}

/// The one of a provider, category, type, provider ID and name, under the key that OpenCost writes:
/// provider/account/project/category/cluster/type/service/providerID/name.
fn asset_of<'a>(all: &'a mut BTreeMap<String, Owned>, cluster: &str, of: [&str; 5]) -> &'a mut Owned {
    let [provider, category, kind, provider_id, name] = of;
    let parts = [provider, "", "", category, cluster, kind, "Kubernetes", provider_id, name];
    let parts = parts.map(|part| if part.is_empty() { "__undefined__" } else { part });
    let owned = all.entry(parts.join("/")).or_default();
    name.clone_into(&mut owned.name);
    cluster.clone_into(&mut owned.cluster);
    owned
}

fn add_node(all: &mut BTreeMap<String, Owned>, cluster: &str, node: &Node, rates: &Rates) {
    let of = [node.kind.provider.as_str(), "Compute", "Node", node.provider_id.as_str(), node.name.as_str()];
    let owned = asset_of(all, cluster, of);
    owned.kind = Some(Kind::Node(Box::new(node.clone())));
    owned.hours += node.hours;
    for (at, (size, rate)) in
        [(node.cores, rates.cpu_core), (node.memory_gib, rates.memory_gib), (node.gpus, rates.gpu)]
            .into_iter()
            .enumerate()
    {
        owned.sizes[at] += size * node.hours;
        owned.costs[at] += size * node.hours * rate;
    }
}

fn shown(owned: &Owned, window: Window) -> Value {
    let (kind, category) = match &owned.kind {
        Some(Kind::Node(_)) => ("Node", "Compute"),
        Some(Kind::Disk { .. }) => ("Disk", "Storage"),
        Some(Kind::LoadBalancer) => ("LoadBalancer", "Network"),
        Some(Kind::Network) | None => ("Network", "Network"),
    };
    let mut properties = json!({
        "category": category, "cluster": owned.cluster, "name": owned.name, "service": "Kubernetes",
    });
    let mut asset = json!({
        "type": kind,
        "labels": {},
        "window": { "start": time(window.start_ms), "end": time(window.end_ms) },
        "start": time(window.start_ms),
        "end": time(window.end_ms),
        "minutes": owned.hours * 60.0,
        "adjustment": 0,
        "totalCost": owned.costs.iter().sum::<f64>(),
    });
    let mean = |of: f64| if owned.hours > 0.0 { of / owned.hours } else { 0.0 };
    match &owned.kind {
        Some(Kind::Node(node)) => {
            for (name, value) in [("provider", &node.kind.provider), ("providerID", &node.provider_id)] {
                if !value.is_empty() {
                    properties[name] = json!(value);
                }
            }
            asset["nodeType"] = json!(node.kind.instance_type);
            asset["labels"] = json!({
                "region": node.kind.region, "zone": node.kind.zone, "lifecycle": node.kind.lifecycle.name(),
            });
            asset["preemptible"] = json!(u8::from(node.kind.lifecycle == Lifecycle::Spot));
            asset["discount"] = json!(0);
            let [cores, gib, gpus] = owned.sizes;
            asset["cpuCores"] = json!(mean(cores));
            asset["ramBytes"] = json!(mean(gib) * GIB);
            asset["gpuCount"] = json!(mean(gpus));
            asset["cpuCoreHours"] = json!(cores);
            asset["ramByteHours"] = json!(gib * GIB);
            asset["GPUHours"] = json!(gpus);
            let [cpu, memory, gpu] = owned.costs;
            (asset["cpuCost"], asset["ramCost"], asset["gpuCost"]) = (json!(cpu), json!(memory), json!(gpu));
        }
        Some(Kind::Disk { class }) => {
            asset["storageClass"] = json!(class);
            asset["byteHours"] = json!(owned.sizes[0] * GIB);
            asset["bytes"] = json!(mean(owned.sizes[0]) * GIB);
        }
        Some(Kind::LoadBalancer | Kind::Network) | None => {}
    }
    asset["properties"] = properties;
    asset
}
