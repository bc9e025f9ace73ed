//! Cost over a real store.

use super::*;
use crate::Limits;
use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use model::{Batch, Labels, MetricBatch, Sink, Write};
use store::Store;

const GIB: f64 = (1u64 << 30) as f64;

/// The clock stands still in the middle of an hour.
struct Still(i64);

impl Clock for Still {
    fn now_ns(&self) -> i64 {
        self.0 * 1_000_000
    }
}

const HOUR: i64 = 480_000;
const NOW_MS: i64 = HOUR * HOUR_MS + HOUR_MS / 2;

/// Labels of a series, its first and its last value.
type Line<'a> = (&'a [(&'a str, &'a str)], f64, f64);
/// Whose labels are put together.
type Made<'a> = (Vec<(&'a str, &'a str)>, f64, f64);

async fn engine(series: &[Line<'_>]) -> (Arc<Engine>, tempfile::TempDir) {
    let mut batch = MetricBatch::default();
    for (labels, first, last) in series {
        batch.begin_labels(&Labels::from_pairs(labels.iter().copied()));
        // Half an hour, a sample a minute, from `first` to `last` in a straight line.
        for minute in 0..30 {
            batch.push(HOUR * HOUR_MS + minute * 60_000, first + (last - first) * minute as f64 / 29.0);
        }
    }
    engine_of(batch).await
}

async fn engine_of(batch: MetricBatch) -> (Arc<Engine>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(Still(NOW_MS));
    let config = store::Config { dir: dir.path().into(), ..store::Config::default() };
    let store = Store::open(config, clock.clone()).await.unwrap();
    let write = Write { tenant: Tenant::default(), batch: Batch::Metrics(batch), origin: None };
    store.write(write).await.unwrap();
    (Arc::new(Engine::new(store, clock, Limits::default()).unwrap()), dir)
}

const NODE: [Line<'static>; 4] = [
    (&[("__name__", "node_memory_MemTotal_bytes"), ("instance", "a:1")], 8.0 * GIB, 8.0 * GIB),
    (
        &[("__name__", "node_cpu_seconds_total"), ("instance", "a:1"), ("mode", "idle"), ("cpu", "0")],
        0.0,
        9.0,
    ),
    (
        &[("__name__", "node_cpu_seconds_total"), ("instance", "a:1"), ("mode", "idle"), ("cpu", "1")],
        0.0,
        9.0,
    ),
    (&[("__name__", "node_uname_info"), ("instance", "a:1"), ("nodename", "alpha")], 1.0, 1.0),
];

fn with_node<'a>(more: &[Line<'a>]) -> Vec<Line<'a>> {
    NODE.iter().copied().chain(more.iter().copied()).collect()
}

#[tokio::test]
async fn a_nodes_rows_add_up_to_its_price() {
    let cpu: &[(&str, &str)] = &[
        ("__name__", "container_cpu_usage_seconds_total"),
        ("instance", "a:1"),
        ("namespace", "shop"),
        ("pod", "cart-7d9f8b6c5d-x2x9z"),
        ("container", "cart"),
    ];
    let memory: &[(&str, &str)] = &[
        ("__name__", "container_memory_working_set_bytes"),
        ("instance", "a:1"),
        ("namespace", "shop"),
        ("pod", "cart-7d9f8b6c5d-x2x9z"),
        ("container", "cart"),
    ];
    let (engine, _dir) = engine(&with_node(&[(cpu, 100.0, 1000.0), (memory, 2.0 * GIB, 2.0 * GIB)])).await;
    let rows = engine.costs(&Tenant::default(), NOW_MS, NOW_MS).await.unwrap().allocations;
    assert_eq!(rows.len(), 2, "{rows:#?}");
    let cart = rows.iter().find(|row| !row.is_idle()).unwrap();
    assert_eq!(
        (cart.namespace.as_str(), cart.workload.as_str(), cart.node.as_str()),
        ("shop", "cart", "alpha")
    );
    assert!((cart.cpu.hours - 900.0 / 3600.0).abs() < 1e-9);
    assert!((cart.memory.hours - 1.0).abs() < 1e-9, "2 GiB for half an hour");
    let total: f64 = rows.iter().map(Allocation::total_cost).sum();
    let price = 0.5 * (2.0 * 0.031611 + 8.0 * 0.004237);
    assert!((total - price).abs() < 1e-9, "{total} is not {price}");

    let answer = engine
        .sql(
            &Tenant::default(),
            "select workload, total_cost from allocation order by total_cost desc",
            vec![],
        )
        .await
        .unwrap();
    assert_eq!(answer.batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
    engine.set_prices(
        PriceBook::parse(
            "item,provider,region,instance_type,usd_per_hour,as_of,source\n\
             cpu_core,default,,,1,2026-01-01,x\nmemory_gib,default,,,0,2026-01-01,x\n",
        )
        .unwrap(),
    );
    let rows = engine.costs(&Tenant::default(), NOW_MS, NOW_MS).await.unwrap().allocations;
    assert!(
        (rows.iter().map(Allocation::total_cost).sum::<f64>() - 1.0).abs() < 1e-9,
        "two cores, half an hour"
    );
}

/// A node's exporter has its pod in its labels, and a rollout gives the node another.
async fn replaced_exporter() -> (Arc<Engine>, tempfile::TempDir) {
    let mut batch = MetricBatch::default();
    for (pod, minutes) in [("agent-a", 0..15), ("agent-b", 15..30)] {
        let of = [("instance", "alpha"), ("pod", pod)];
        let memory = [("__name__", "node_memory_MemTotal_bytes")];
        let cpu = [("__name__", "node_cpu_seconds_total"), ("mode", "idle"), ("cpu", "0")];
        for (own, value) in [(&memory[..], 8.0 * GIB), (&cpu[..], 1.0)] {
            batch.begin_labels(&Labels::from_pairs(of.iter().chain(own).copied()));
            minutes.clone().for_each(|minute| batch.push(HOUR * HOUR_MS + minute * 60_000, value));
        }
    }
    engine_of(batch).await
}

#[tokio::test]
async fn an_exporter_that_is_replaced_within_the_hour_is_one_node() {
    let (engine, _dir) = replaced_exporter().await;
    let rows = engine.costs(&Tenant::default(), NOW_MS, NOW_MS).await.unwrap().allocations;
    let total: f64 = rows.iter().map(Allocation::total_cost).sum();
    let price = 0.5 * (0.031611 + 8.0 * 0.004237);
    assert!((total - price).abs() < 1e-9, "{total} is not {price}: {rows:#?}");
}

/// Its series end with a marker, which is no time that it was there for.
#[tokio::test]
async fn a_node_that_lived_for_seven_minutes_is_paid_for_seven() {
    let mut batch = MetricBatch::default();
    let memory = [("__name__", "node_memory_MemTotal_bytes"), ("node", "alpha")];
    let cpu = [("__name__", "node_cpu_seconds_total"), ("node", "alpha"), ("mode", "idle"), ("cpu", "0")];
    for (labels, value) in [(&memory[..], 8.0 * GIB), (&cpu[..], 1.0)] {
        batch.begin_labels(&Labels::from_pairs(labels.iter().copied()));
        (0..28).for_each(|scrape| batch.push(HOUR * HOUR_MS + scrape * 15_000, value));
        batch.push(HOUR * HOUR_MS + 28 * 15_000, model::stale_marker());
    }
    let (engine, _dir) = engine_of(batch).await;
    let rows = engine.costs(&Tenant::default(), NOW_MS, NOW_MS).await.unwrap().allocations;
    let total: f64 = rows.iter().map(Allocation::total_cost).sum();
    let price = 7.0 / 60.0 * (0.031611 + 8.0 * 0.004237);
    assert!((total - price).abs() < 1e-9, "{total} is not {price}: {rows:#?}");
}

/// An agent, and beside it exporters that a Prometheus scrapes, one of them by the node's address alone and on two of its pages.
#[tokio::test]
async fn what_two_tell_is_one_node_and_was_used_and_asked_for_once() {
    let mut series: Vec<Made<'_>> = vec![];
    for node in [
        &[("node", "alpha"), ("instance", "alpha")][..],
        &[("node", "alpha"), ("instance", "10.0.0.9:9101")],
        &[("instance", "10.0.0.9:9100")],
        &[("instance", "10.0.0.9:9100"), ("metrics_path", "/metrics/resource")],
    ] {
        let idle = [("mode", "idle"), ("cpu", "0")];
        let user = [("mode", "user"), ("cpu", "0")];
        series.push((of("node_memory_MemTotal_bytes", node, &[]), 8.0 * GIB, 8.0 * GIB));
        series.push((of("node_cpu_seconds_total", node, &idle), 0.0, 9.0));
        series.push((of("node_cpu_seconds_total", node, &user), 0.0, 900.0));
        let cart = [("namespace", "shop"), ("pod", "cart-0"), ("container", "cart")];
        series.push((of("container_cpu_usage_seconds_total", node, &cart), 0.0, 360.0));
        let cpu = [("namespace", "shop"), ("pod", "cart-0"), ("container", "cart"), ("resource", "cpu")];
        series.push((of("kube_pod_container_resource_requests", node, &cpu), 0.5, 0.5));
        let gpus = [("node", "alpha"), ("resource", "nvidia_com_gpu")];
        series.push((of("kube_node_status_capacity", &node[node.len() - 1..], &gpus), 1.0, 1.0));
        let claim = [("namespace", "shop"), ("persistentvolumeclaim", "data")];
        let size = "kube_persistentvolumeclaim_resource_requests_storage_bytes";
        series.push((of(size, node, &claim), 100.0 * GIB, 100.0 * GIB));
        let web = [("namespace", "shop"), ("service", "web"), ("type", "LoadBalancer")];
        series.push((of("kube_service_spec_type", node, &web), 1.0, 1.0));
        let sent = [("namespace", "shop"), ("pod", "cart-0"), ("interface", "eth0")];
        series.push((of("container_network_transmit_bytes_total", node, &sent), 0.0, 1_000.0));
    }
    let info = of("kube_node_info", &[("node", "alpha"), ("internal_ip", "10.0.0.9")], &[]);
    series.push((info, 1.0, 1.0));
    let told: Vec<Line<'_>> =
        series.iter().map(|(labels, first, last)| (labels.as_slice(), *first, *last)).collect();
    let (engine, _dir) = engine(&told).await;
    let costs = engine.costs(&Tenant::default(), NOW_MS, NOW_MS).await.unwrap();
    assert_eq!(costs.assets.len(), 3, "{:#?}", costs.assets);
    let paid: f64 = costs.assets.iter().map(Asset::cost).sum();
    let beside = 50.0 * 0.00005479452 + 0.5 * 0.025;
    let node = 0.5 * (0.031611 + 8.0 * 0.004237 + 0.95);
    assert!((paid - node - beside).abs() < 1e-9, "{paid}");
    let near = |told: Option<f64>, expected: f64| told.is_some_and(|told| (told - expected).abs() < 1e-9);
    let row = |workload: &str| costs.allocations.iter().find(|row| row.workload == workload).unwrap();
    let (cart, nobody) = (row("cart"), row("__unallocated__"));
    assert!(near(cart.cpu.used, 0.1) && near(cart.cpu.requested, 0.25), "{cart:#?}");
    assert!(near(nobody.cpu.used, 0.15), "{nobody:#?}");
    assert!(near(cart.traffic.map(|traffic| traffic.sent_bytes), 1_000.0), "{cart:#?}");
}

/// The dashboard multiplies by the number of CPUs.
#[tokio::test]
async fn a_month_on_the_dashboard_counts_each_cpu_once() {
    let (engine, _dir) = replaced_exporter().await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dashboards/grafana/cost.json");
    let dashboard: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let month = panels.iter().find(|panel| panel["title"] == "A month at these prices").unwrap();
    let query = month["targets"][0]["rawSql"].as_str().unwrap();
    // As Grafana fills it in: the hour that the clock stands in.
    let query = query
        .replace("$__timeFrom()", "'2024-10-04T00:00:00Z'")
        .replace("$__timeTo()", "'2024-10-04T01:00:00Z'");
    let answer = engine.sql(&Tenant::default(), &query, vec![]).await.unwrap();
    let row = answer.batches.iter().find(|batch| batch.num_rows() > 0).unwrap();
    let told = row.column(0).as_primitive::<Float64Type>().value(0);
    let price = 730.0 * (0.031611 + 8.0 * 0.004237);
    assert!((told - price).abs() < 1e-6, "{told} is not {price}");
}

#[tokio::test]
async fn a_machine_without_containers_is_divided_over_its_processes() {
    let cpu: &[(&str, &str)] = &[
        ("__name__", "namedprocess_namegroup_cpu_seconds_total"),
        ("instance", "a:1"),
        ("groupname", "postgres"),
        ("mode", "user"),
    ];
    let (engine, _dir) = engine(&with_node(&[(cpu, 0.0, 360.0)])).await;
    let rows = engine.costs(&Tenant::default(), NOW_MS, NOW_MS).await.unwrap().allocations;
    let postgres = rows.iter().find(|row| row.workload == "postgres").unwrap();
    assert!((postgres.cpu.hours - 0.1).abs() < 1e-9);
    let other = Tenant::new("other").unwrap();
    assert!(engine.costs(&other, NOW_MS, NOW_MS).await.unwrap().allocations.is_empty());
}

/// What the node says was used is not idle, whoever used it; and groups of which only the memory is told are no answer.
#[tokio::test]
async fn what_nobody_owns_is_not_idle() {
    let group: &[(&str, &str)] =
        &[("__name__", "cgroup_memory_working_set_bytes"), ("instance", "a:1"), ("id", "/a/b")];
    let process = |name| [("__name__", name), ("instance", "a:1"), ("process", "postgres")];
    let cpu = process("binnacle_process_cpu_seconds_total");
    let memory = process("binnacle_process_resident_memory_bytes");
    let user: &[(&str, &str)] =
        &[("__name__", "node_cpu_seconds_total"), ("instance", "a:1"), ("mode", "user"), ("cpu", "0")];
    let free: &[(&str, &str)] = &[("__name__", "node_memory_MemAvailable_bytes"), ("instance", "a:1")];
    let (engine, _dir) = engine(&with_node(&[
        (group, GIB, GIB),
        (&cpu, 0.0, 360.0),
        (&memory, GIB, GIB),
        (user, 0.0, 900.0),
        (free, 5.0 * GIB, 5.0 * GIB),
    ]))
    .await;
    let rows = engine.costs(&Tenant::default(), NOW_MS, NOW_MS).await.unwrap().allocations;
    let of = |workload: &str| rows.iter().find(|row| row.workload == workload).unwrap();
    assert_eq!(rows.len(), 3, "{rows:#?}");
    let (postgres, nobody, idle) = (of("postgres"), of("__unallocated__"), of(IDLE));
    assert!((postgres.cpu.hours - 0.1).abs() < 1e-9 && (postgres.memory.hours - 0.5).abs() < 1e-9);
    assert!((nobody.cpu.hours - 0.15).abs() < 1e-9, "a quarter of a core hour, less postgres");
    assert!((nobody.memory.hours - 1.0).abs() < 1e-9, "3 GiB for half an hour, less postgres");
    assert!((idle.cpu.hours - 0.75).abs() < 1e-9 && (idle.memory.hours - 2.5).abs() < 1e-9);
}

#[tokio::test]
async fn a_window_has_a_bound() {
    let (engine, _dir) = engine(&[]).await;
    let tenant = Tenant::default();
    assert!(matches!(engine.costs(&tenant, 0, NOW_MS).await, Err(QueryError::TooMuch(_))));
    assert!(matches!(engine.costs(&tenant, i64::MIN, i64::MAX).await, Err(QueryError::TooMuch(_))));
    assert!(engine.costs(&tenant, NOW_MS, NOW_MS).await.unwrap().allocations.is_empty());
}

const CART: [(&str, &str); 3] = [("namespace", "shop"), ("pod", "cart-7d9f8b6c5d-x2x9z"), ("node", "alpha")];

fn of<'a>(
    name: &'a str,
    base: &[(&'a str, &'a str)],
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    [("__name__", name)].iter().chain(base).chain(more).copied().collect()
}

/// Requests, a claim, a load balancer, a spot node of known type: what is paid is what is divided, and every cent has one who
/// pays.
#[tokio::test]
async fn a_clusters_costs_are_those_of_its_assets() {
    let asks = |resource| {
        of("kube_pod_container_resource_requests", &CART, &[("container", "cart"), ("resource", resource)])
    };
    let (cpu, memory) = (asks("cpu"), asks("memory"));
    let phase = of("kube_pod_status_phase", &CART, &[("phase", "Running")]);
    let owner =
        of("kube_pod_owner", &CART, &[("owner_kind", "ReplicaSet"), ("owner_name", "cart-7d9f8b6c5d")]);
    let done: &[(&str, &str)] = &[("namespace", "shop"), ("pod", "once-x2x9z"), ("node", "alpha")];
    let done_asks =
        of("kube_pod_container_resource_requests", done, &[("container", "once"), ("resource", "cpu")]);
    let done_phase = of("kube_pod_status_phase", done, &[("phase", "Running")]);
    let labels = of(
        "kube_node_labels",
        &[("node", "alpha")],
        &[
            ("label_node_kubernetes_io_instance_type", "m5.xlarge"),
            ("label_topology_kubernetes_io_region", "us-east-1"),
            ("label_karpenter_sh_capacity_type", "spot"),
        ],
    );
    let pod_labels = of("kube_pod_labels", &CART, &[("label_app", "cart"), ("uid", "u")]);
    let annotations = of("kube_pod_annotations", &CART, &[("annotation_team", "checkout")]);
    let selects = |service: &'static str, label: &'static str, value: &'static str| {
        of("service_selector_labels", &[("namespace", "shop"), ("service", service)], &[(label, value)])
    };
    let (selector, other) = (selects("cart", "label_app", "cart"), selects("other", "label_app", "web"));
    let claim: &[(&str, &str)] = &[("namespace", "shop"), ("persistentvolumeclaim", "data")];
    let lost: &[(&str, &str)] = &[("namespace", "old"), ("persistentvolumeclaim", "left")];
    let size = "kube_persistentvolumeclaim_resource_requests_storage_bytes";
    let (claim_size, lost_size) = (of(size, claim, &[]), of(size, lost, &[]));
    let mount =
        of("kube_pod_spec_volumes_persistentvolumeclaims_info", claim, &[("pod", "cart-7d9f8b6c5d-x2x9z")]);
    let service = of(
        "kube_service_spec_type",
        &[("namespace", "shop"), ("service", "web")],
        &[("type", "LoadBalancer")],
    );
    let (engine, _dir) = engine(&with_node(&[
        (&cpu, 0.5, 0.5),
        (&memory, GIB, GIB),
        (&phase, 1.0, 1.0),
        (&owner, 1.0, 1.0),
        (&done_asks, 8.0, 8.0),
        (&done_phase, 0.0, 0.0),
        (&labels, 1.0, 1.0),
        (&pod_labels, 1.0, 1.0),
        (&annotations, 1.0, 1.0),
        (&selector, 1.0, 1.0),
        (&other, 1.0, 1.0),
        (&claim_size, 100.0 * GIB, 100.0 * GIB),
        (&lost_size, 50.0 * GIB, 50.0 * GIB),
        (&mount, 1.0, 1.0),
        (&service, 1.0, 1.0),
    ]))
    .await;
    let costs = engine.costs(&Tenant::default(), NOW_MS, NOW_MS).await.unwrap();
    let divided: f64 = costs.allocations.iter().map(Allocation::total_cost).sum();
    let paid: f64 = costs.assets.iter().map(Asset::cost).sum();
    assert!((divided - paid).abs() < 1e-9, "{divided} is not {paid}");
    let node = costs.assets.iter().find(|asset| matches!(asset.what, Paid::Node(..))).unwrap();
    let whole = |spot: &str| {
        if spot.is_empty() { 2.0 * 0.031611 + 8.0 * 0.004237 } else { 2.0 * 0.006655 + 8.0 * 0.000892 }
    };
    let spot_price = 0.192 * whole("spot") / whole("");
    assert!((node.cost() - 0.5 * spot_price).abs() < 1e-9, "half an hour: {}", node.cost());

    let cart = costs.allocations.iter().find(|row| row.workload == "cart").unwrap();
    assert_eq!((cart.workload_kind.as_str(), cart.container.as_str()), ("deployment", "cart"));
    assert_eq!(cart.labels.to_string(), "{label_app=\"cart\"}");
    assert_eq!(cart.annotations.to_string(), "{annotation_team=\"checkout\"}");
    assert_eq!(cart.services, ["cart"], "not one that selects others");
    assert_eq!((cart.cpu.requested, cart.cpu.used), (Some(0.25), None), "its usage is not told");
    assert!((cart.cpu.hours - 0.25).abs() < 1e-9 && (cart.memory.hours - 0.5).abs() < 1e-9);
    assert!((cart.volume_cost - 50.0 * 0.00005479452).abs() < 1e-9, "100 GiB for half an hour");
    assert!(
        costs.allocations.iter().all(|row| row.workload != "once"),
        "a pod that has ended asks for nothing"
    );
    let left = costs.allocations.iter().find(|row| row.pod == UNMOUNTED).unwrap();
    assert_eq!(left.namespace, "old");
    assert!((left.volume_cost - 25.0 * 0.00005479452).abs() < 1e-9);
    let web = costs.allocations.iter().find(|row| row.workload == "web").unwrap();
    assert_eq!((web.workload_kind.as_str(), web.load_balancer_cost), ("service", 0.0125));
    assert_eq!(web.services, ["web"]);

    let answer = engine
        .sql(
            &Tenant::default(),
            "select count(*) from allocation where cpu_usage_core_hours is null and pod like 'cart%'",
            vec![],
        )
        .await
        .unwrap();
    let told = format!("{:?}", answer.batches[0].column(0));
    assert!(told.contains('1'), "{told}");
}

/// Labels of series that have one value throughout.
type Constant<'a> = (Vec<(&'a str, &'a str)>, f64);

fn lines<'a>(all: &'a [Constant<'a>]) -> Vec<Line<'a>> {
    all.iter().map(|(labels, value)| (labels.as_slice(), *value, *value)).collect()
}

/// A cluster of one node with a core and so much memory, the same pod and claim as all others have, and labels of its own.
fn small_cluster<'a>(cluster: &'a str, team: &'a str, gib: f64) -> Vec<Constant<'a>> {
    let named = [("cluster", cluster)];
    let node = [("cluster", cluster), ("instance", "alpha")];
    let pod = [("cluster", cluster), ("namespace", "shop"), ("pod", "cart-0")];
    let claim = [("cluster", cluster), ("namespace", "shop"), ("persistentvolumeclaim", "data")];
    let asked = [("node", "alpha"), ("container", "cart"), ("resource", "cpu")];
    let storage = "kube_persistentvolumeclaim_resource_requests_storage_bytes";
    vec![
        (of("node_memory_MemTotal_bytes", &node, &[]), gib * GIB),
        (of("node_cpu_seconds_total", &node, &[("mode", "idle"), ("cpu", "0")]), 1.0),
        (of("kube_node_info", &named, &[("node", "alpha")]), 1.0),
        (of("kube_pod_container_resource_requests", &pod, &asked), 0.5),
        (of("kube_pod_labels", &pod, &[("label_team", team)]), 1.0),
        (of(storage, &claim, &[]), 10.0 * gib * GIB),
        (of("kube_pod_spec_volumes_persistentvolumeclaims_info", &claim, &[("pod", "cart-0")]), 1.0),
    ]
}

/// Names are a cluster's own: what is called the same in another one is another thing.
#[tokio::test]
async fn each_cluster_pays_for_its_own_nodes() {
    let clusters = [("", "none", 4.0), ("east", "rising", 8.0), ("west", "setting", 16.0)];
    let mut series: Vec<Constant<'_>> =
        clusters.iter().flat_map(|(cluster, team, gib)| small_cluster(cluster, team, *gib)).collect();
    let volume = [("cluster", "attic"), ("persistentvolume", "old")];
    series.push((of("kube_persistentvolume_capacity_bytes", &volume, &[]), GIB));
    let (engine, _dir) = engine(&lines(&series)).await;
    let costs = engine.costs(&Tenant::default(), NOW_MS, NOW_MS).await.unwrap();
    for (cluster, team, gib) in clusters {
        let rows: Vec<&Allocation> = costs.allocations.iter().filter(|row| row.cluster == cluster).collect();
        assert_eq!(rows.len(), 2, "the pod and what is idle: {rows:#?}");
        assert!(rows.iter().all(|row| row.node == "alpha"));
        let cart = rows.iter().find(|row| row.pod == "cart-0").unwrap();
        assert_eq!((cart.cpu.requested, cart.labels.get("label_team")), (Some(0.25), Some(team)));
        assert!((cart.volume_cost - 5.0 * gib * 0.00005479452).abs() < 1e-9, "half an hour, in {cluster:?}");
        let assets: Vec<&Asset> = costs.assets.iter().filter(|asset| asset.cluster == cluster).collect();
        let nodes = assets.iter().filter(|asset| matches!(asset.what, Paid::Node(..)));
        let nodes: Vec<f64> = nodes.map(|asset| asset.cost()).collect();
        let price = 0.5 * (0.031611 + gib * 0.004237);
        assert!(nodes.len() == 1 && (nodes[0] - price).abs() < 1e-9, "{nodes:?} is not {price}");
        let paid: f64 = assets.iter().map(|asset| asset.cost()).sum();
        let divided: f64 = rows.iter().map(|row| row.total_cost()).sum();
        assert!((divided - paid).abs() < 1e-9, "{divided} is not {paid} in {cluster:?}");
    }
    // A cluster whose nodes tell nothing pays for its volumes all the same.
    let attic = costs.allocations.iter().find(|row| row.cluster == "attic").unwrap();
    assert_eq!((attic.pod.as_str(), attic.node.as_str()), (UNMOUNTED, ""));
    assert_eq!(costs.allocations.len(), 2 * clusters.len() + 1);
    let answer = engine
        .sql(&Tenant::default(), "select pod, cluster from allocation where cluster = 'east'", vec![])
        .await
        .unwrap();
    assert_eq!(answer.batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
}

/// The kubelet may call a node otherwise than its machine is called, and all names lead to the node.
#[tokio::test]
async fn a_node_is_called_what_kubernetes_calls_it() {
    let mut series: Vec<Constant<'_>> = vec![];
    let mut machine = |labels: &[(&'static str, &'static str)], nodename: &'static str| {
        series.push((of("node_memory_MemTotal_bytes", labels, &[]), GIB));
        series.push((of("node_uname_info", labels, &[("nodename", nodename)]), 1.0));
    };
    machine(&[("instance", "10.0.0.1:9100"), ("node", "k-1")], "localhost");
    // As our agent tells them: its instance is the kubelet's name, which may be an address.
    machine(&[("instance", "k-2")], "localhost");
    machine(&[("instance", "10.0.0.3")], "m-3");
    machine(&[("instance", "10.0.0.4:9100")], "m-4");
    machine(&[("instance", "10.0.0.5:9100")], "m-5");
    machine(&[("host_name", "m-6"), ("k8s_node_name", "k-6")], "m-6");
    for (node, ip) in [("k-2", "10.0.0.2"), ("10.0.0.3", "10.0.0.3"), ("k-4", "10.0.0.4")] {
        series.push((of("kube_node_info", &[("node", node), ("internal_ip", ip)], &[]), 1.0));
        series.push((of("kube_node_status_capacity", &[("node", node), ("resource", "memory")], &[]), GIB));
    }
    let pods = [
        ("p-1", "node", "k-1", "k-1"),
        ("p-2", "node", "k-2", "k-2"),
        ("p-3", "node", "10.0.0.3", "10.0.0.3"),
        ("p-3m", "nodename", "m-3", "10.0.0.3"),
        ("p-4", "node", "k-4", "k-4"),
        ("p-4i", "instance", "10.0.0.4:9100", "k-4"),
        ("p-5", "instance", "10.0.0.5:9100", "m-5"),
        ("p-5n", "node", "m-5", "m-5"),
        ("p-6", "host_name", "m-6", "k-6"),
    ];
    for (pod, label, value, _) in pods {
        let labels = [("namespace", "shop"), ("pod", pod), (label, value)];
        series.push((of("container_memory_working_set_bytes", &labels, &[]), 0.1 * GIB));
    }
    let (engine, _dir) = engine(&lines(&series)).await;
    let costs = engine.costs(&Tenant::default(), NOW_MS, NOW_MS).await.unwrap();
    let name = |asset: &Asset| match &asset.what {
        Paid::Node(node, _) => Some(node.name.clone()),
        _ => None,
    };
    let mut names: Vec<String> = costs.assets.iter().filter_map(name).collect();
    names.sort();
    assert_eq!(names, ["10.0.0.3", "k-1", "k-2", "k-4", "k-6", "m-5"]);
    for (pod, _, _, node) in pods {
        let row = costs.allocations.iter().find(|row| row.pod == pod).unwrap();
        assert_eq!(row.node, node, "{pod}");
    }
}
