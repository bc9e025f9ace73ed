//! What is paid for beside nodes: volumes, load balancers and what leaves the cluster.
//!
//! A volume is paid by the pods that mount it, in equal parts; one that nobody mounts by `__unmounted__` in its claim's
//! namespace. A load balancer is paid by its service. Where traffic goes is told by OpenCost's network daemon alone
//! (`kubecost_pod_network_egress_bytes_total`); without it bytes are told and cost nothing.

use super::nodes::Nodes;
use super::prices::{Kind, PriceBook};
use super::series::{GIB, Gauge, Hour};
use super::usage::{Owner, Whose, source, workload_of};
use crate::QueryError;
use model::Labels;
use std::collections::{BTreeMap, BTreeSet};

const CLAIMED_BYTES: &str = "kube_persistentvolumeclaim_resource_requests_storage_bytes";
const VOLUME_BYTES: &str = "kube_persistentvolume_capacity_bytes";
const SERVICES: &str = "kube_service_spec_type";
const SENT_BYTES: &str = "container_network_transmit_bytes_total";
const RECEIVED_BYTES: &str = "container_network_receive_bytes_total";
const EGRESS_BYTES: &str = "kubecost_pod_network_egress_bytes_total";

/// Where something is paid for beside nodes, there are series of one of these.
pub const TOLD_BY: [&str; 6] =
    [CLAIMED_BYTES, VOLUME_BYTES, SERVICES, SENT_BYTES, RECEIVED_BYTES, EGRESS_BYTES];

/// The pod and container of a volume that no pod mounts.
pub const UNMOUNTED: &str = "__unmounted__";

#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Of the claim; a volume without one has its own name.
    pub name: String,
    pub class: String,
    pub gib: f64,
    pub hours: f64,
    pub cost: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LoadBalancer {
    pub namespace: String,
    pub service: String,
    pub hours: f64,
    pub cost: f64,
}

/// What a pod sent and received.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    pub sent_bytes: f64,
    pub received_bytes: f64,
    pub cost: f64,
}

/// Beside nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Others {
    /// With who pays: their parts add up to the volume.
    pub volumes: Vec<(Volume, Vec<Owner>)>,
    pub load_balancers: Vec<LoadBalancer>,
    pub traffic: BTreeMap<Owner, Traffic>,
}

pub async fn of_hour(hour: &Hour<'_>, nodes: &Nodes, book: &PriceBook) -> Result<Others, QueryError> {
    // Prices of what has no node are those of the cloud that the nodes are in.
    let kind = nodes.all.first().map(|node| node.kind.clone()).unwrap_or_default();
    let whose = Whose::read(hour).await?;
    Ok(Others {
        volumes: volumes(hour, &whose, book, &kind).await?,
        load_balancers: load_balancers(hour, book, &kind).await?,
        traffic: traffic(hour, &whose, book, &kind).await?,
    })
}

fn text(labels: &Labels, name: &str) -> String {
    labels.get(name).unwrap_or("").to_owned()
}

async fn volumes(
    hour: &Hour<'_>,
    whose: &Whose,
    book: &PriceBook,
    kind: &Kind,
) -> Result<Vec<(Volume, Vec<Owner>)>, QueryError> {
    let claim_of = |labels: &Labels| (text(labels, "namespace"), text(labels, "persistentvolumeclaim"));
    let mut mounted: BTreeMap<(String, String), BTreeSet<Owner>> = BTreeMap::new();
    for labels in hour.labels("kube_pod_spec_volumes_persistentvolumeclaims_info", None).await? {
        let pod = text(&labels, "pod");
        let owner = Owner {
            namespace: text(&labels, "namespace"),
            workload: workload_of(&pod).to_owned(),
            pod,
            ..Owner::default()
        };
        mounted.entry(claim_of(&labels)).or_default().insert(whose.of(owner));
    }
    let mut classes = BTreeMap::new();
    let mut claimed = BTreeSet::new();
    for labels in hour.labels("kube_persistentvolumeclaim_info", None).await? {
        classes.insert(claim_of(&labels), text(&labels, "storageclass"));
        claimed.insert(text(&labels, "volumename"));
    }
    let mut volumes = vec![];
    let priced = |name: String, class: String, mut size: Gauge| {
        let (gib, hours) = (size.mean() / GIB, size.covered_hours());
        let cost = gib * hours * book.storage_gib(kind, &class);
        Volume { name, class, gib, hours, cost }
    };
    let mut claims: BTreeMap<(String, String), Gauge> = BTreeMap::new();
    let sizes = hour.gauges(CLAIMED_BYTES, None).await?;
    for (labels, ts_ms, values) in sizes.iter() {
        claims.entry(claim_of(labels)).or_default().add(ts_ms, values);
    }
    for (claim, size) in claims {
        let class = classes.get(&claim).cloned().unwrap_or_default();
        let payers = match mounted.get(&claim) {
            Some(pods) => pods.iter().cloned().collect(),
            None => vec![unmounted(&claim.0)],
        };
        volumes.push((priced(claim.1, class, size), payers));
    }
    let mut of_volume = BTreeMap::new();
    for labels in hour.labels("kube_persistentvolume_info", None).await? {
        of_volume.insert(text(&labels, "persistentvolume"), text(&labels, "storageclass"));
    }
    let mut unclaimed: BTreeMap<String, Gauge> = BTreeMap::new();
    let sizes = hour.gauges(VOLUME_BYTES, None).await?;
    for (labels, ts_ms, values) in sizes.iter() {
        unclaimed.entry(text(labels, "persistentvolume")).or_default().add(ts_ms, values);
    }
    // A claimed one is paid as its claim.
    unclaimed.retain(|name, _| !claimed.contains(name));
    for (name, size) in unclaimed {
        let class = of_volume.get(&name).cloned().unwrap_or_default();
        volumes.push((priced(name, class, size), vec![unmounted(UNMOUNTED)]));
    }
    Ok(volumes)
}

fn unmounted(namespace: &str) -> Owner {
    Owner {
        namespace: namespace.to_owned(),
        workload: UNMOUNTED.into(),
        pod: UNMOUNTED.into(),
        container: UNMOUNTED.into(),
        ..Owner::default()
    }
}

async fn load_balancers(
    hour: &Hour<'_>,
    book: &PriceBook,
    kind: &Kind,
) -> Result<Vec<LoadBalancer>, QueryError> {
    let services = hour.gauges(SERVICES, Some(("type", "LoadBalancer"))).await?;
    let rate = book.load_balancer(kind);
    let mut told: BTreeMap<(String, String), Gauge> = BTreeMap::new();
    for (labels, ts_ms, values) in services.iter() {
        let of = (text(labels, "namespace"), text(labels, "service"));
        told.entry(of).or_default().add(ts_ms, values);
    }
    let one = |((namespace, service), mut told): ((String, String), Gauge)| {
        let hours = told.covered_hours();
        LoadBalancer { namespace, service, hours, cost: hours * rate }
    };
    Ok(told.into_iter().map(one).collect())
}

async fn traffic(
    hour: &Hour<'_>,
    whose: &Whose,
    book: &PriceBook,
    kind: &Kind,
) -> Result<BTreeMap<Owner, Traffic>, QueryError> {
    let mut all: BTreeMap<Owner, Traffic> = BTreeMap::new();
    let owner = |namespace: String, pod: String| {
        let workload = workload_of(&pod).to_owned();
        whose.of(Owner { namespace, workload, pod, ..Owner::default() })
    };
    for (name, sent) in [(SENT_BYTES, true), (RECEIVED_BYTES, false)] {
        let bytes = hour.counters(name).await?;
        let mut told: BTreeMap<(Owner, String), f64> = BTreeMap::new();
        for (labels, ts_ms, values) in bytes.iter() {
            let pod = text(labels, "pod");
            if pod.is_empty() {
                continue;
            }
            let of = (owner(text(labels, "namespace"), pod), source(labels));
            *told.entry(of).or_default() += hour.increase(ts_ms, values);
        }
        for ((owner, _), grown) in told {
            let of = all.entry(owner).or_default();
            let most = if sent { &mut of.sent_bytes } else { &mut of.received_bytes };
            *most = most.max(grown);
        }
    }
    let rates = book.egress(kind);
    let egress = hour.counters(EGRESS_BYTES).await?;
    for (labels, ts_ms, values) in egress.iter() {
        let is = |name: &str| labels.get(name) == Some("true");
        let rate = match (is("internet"), is("same_region"), is("same_zone")) {
            (true, ..) => rates.internet,
            (false, false, _) => rates.region,
            (false, true, false) => rates.zone,
            (false, true, true) => 0.0,
        };
        let named =
            |names: [&str; 2]| names.iter().find_map(|name| labels.get(name)).unwrap_or("").to_owned();
        let of = all.entry(owner(named(["namespace", "exported_namespace"]), named(["pod_name", "pod"])));
        of.or_default().cost += hour.increase(ts_ms, values) / GIB * rate;
    }
    Ok(all)
}
