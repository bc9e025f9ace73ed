//! The nodes of an hour: how large each is, for how long it was seen, and what its price depends on.
//!
//! A node is called what Kubernetes calls it; a machine of which nothing tells that, and which was scraped by its address,
//! what it calls itself. Sizes are what node_exporter's names tell, else what kube-state-metrics' do. Provider, region,
//! zone, instance type and how the node is paid for are read from the node's labels, the cloud's own and those that cluster
//! autoscalers set, and where there are none from what the agent read of the cloud's metadata (`binnacle_node_cloud_info`).

use super::prices::{Kind, Lifecycle};
use super::series::{GIB, Gauge, Hour, covered_hours, mean};
use crate::QueryError;
use model::Labels;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

/// A node and its size.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    pub name: String,
    pub cores: f64,
    pub memory_gib: f64,
    pub gpus: f64,
    /// For how much of the hour it was seen.
    pub hours: f64,
    pub kind: Kind,
    /// As the cloud names it.
    pub provider_id: String,
}

/// Labels that name the node of a series, the clearest first: Kubernetes' name, the machine's own, where it was scraped.
const NODE_LABELS: [&str; 5] = ["node", "k8s_node_name", "nodename", "host_name", "instance"];
/// So many of them are Kubernetes'.
const OF_KUBERNETES: usize = 2;

const MACHINE_MEMORY: &str = "node_memory_MemTotal_bytes";
const CAPACITY: &str = "kube_node_status_capacity";

/// Where there is a node, there are series of one of these.
pub const TOLD_BY: [&str; 2] = [MACHINE_MEMORY, CAPACITY];

/// The nodes of an hour, and every label value that names one of them.
pub struct Nodes {
    pub all: Vec<Node>,
    by_value: HashMap<String, usize>,
}

impl Nodes {
    /// A series that names no known node belongs to the only node there is, if there is only one.
    pub fn of(&self, labels: &Labels) -> Option<usize> {
        let named = NODE_LABELS.iter().filter_map(|label| labels.get(label));
        let mut known = named.filter_map(|value| self.by_value.get(value));
        known.next().copied().or((self.all.len() == 1).then_some(0))
    }

    fn named(&self, labels: &Labels) -> Option<usize> {
        self.by_value.get(labels.get("node")?).copied()
    }

    pub async fn read(hour: &Hour<'_>) -> Result<Nodes, QueryError> {
        let mut nodes = Nodes { all: vec![], by_value: HashMap::new() };
        nodes.told_by_machines(hour).await?;
        let infos = hour.labels("kube_node_info", None).await?;
        nodes.named_by_cluster(&infos);
        nodes.told_by_cluster(hour).await?;
        for labels in hour.labels("kube_node_labels", None).await? {
            if let Some(at) = nodes.named(&labels).or_else(|| nodes.of(&labels)) {
                of_labels(&labels, &mut nodes.all[at].kind);
            }
        }
        for labels in hour.labels("binnacle_node_cloud_info", None).await? {
            if let Some(at) = nodes.of(&labels) {
                of_metadata(&labels, &mut nodes.all[at].kind);
            }
        }
        for labels in &infos {
            if let (Some(at), Some(id)) = (nodes.named(labels), labels.get("provider_id")) {
                nodes.all[at].provider_id = id.to_owned();
                let kind = &mut nodes.all[at].kind;
                set(&mut kind.provider, provider_of(id));
            }
        }
        Ok(nodes)
    }

    async fn told_by_machines(&mut self, hour: &Hour<'_>) -> Result<(), QueryError> {
        let memory = hour.gauges(MACHINE_MEMORY, None).await?;
        // By node. An exporter whose pod is replaced goes on under another label.
        let mut seen: Vec<Vec<i64>> = vec![];
        for (labels, ts_ms, values) in memory.iter() {
            let at = self.all.len();
            let Some(name) = NODE_LABELS.iter().find_map(|label| labels.get(label)) else { continue };
            if let Some(at) = self.by_value.get(name) {
                seen[*at].extend_from_slice(ts_ms);
                continue;
            }
            for value in NODE_LABELS.iter().filter_map(|label| labels.get(label)) {
                self.by_value.entry(value.to_owned()).or_insert(at);
            }
            self.all.push(Node { name: name.to_owned(), memory_gib: mean(values) / GIB, ..Node::default() });
            seen.push(ts_ms.to_vec());
        }
        for (node, mut seen) in self.all.iter_mut().zip(seen) {
            seen.sort_unstable();
            seen.dedup();
            node.hours = covered_hours(&seen);
        }
        let mut cores: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for labels in hour.labels("node_cpu_seconds_total", Some(("mode", "idle"))).await? {
            if let Some(node) = self.of(&labels) {
                cores.entry(node).or_default().insert(labels.get("cpu").unwrap_or("").to_owned());
            }
        }
        for (node, cpus) in cores {
            self.all[node].cores = cpus.len() as f64;
        }
        for labels in hour.labels("node_uname_info", None).await? {
            self.calls_itself(&labels);
        }
        Ok(())
    }

    /// The kubelet may have been given another name than the machine's, so that of the machine is for what has no name but an
    /// address. Our agent's `instance` is no address: it is what the kubelet was given.
    fn calls_itself(&mut self, uname: &Labels) {
        // Two machines may call themselves the same: the other labels say which one this is.
        let found = self.of(&uname.without(|label| label == "nodename"));
        let (Some(at), Some(name)) = (found, uname.get("nodename")) else { return };
        if self.by_value.contains_key(name) {
            return;
        }
        self.by_value.insert(name.to_owned(), at);
        let is_named = NODE_LABELS[..OF_KUBERNETES].iter().any(|label| uname.get(label).is_some());
        if !is_named && is_address(&self.all[at].name) {
            self.all[at].name = name.to_owned();
        }
    }

    /// Kubernetes' name stands, whatever the machine calls itself. A machine that is scraped by its address is the node
    /// that has it, and so it may be one that tells of itself under its name as well.
    fn named_by_cluster(&mut self, infos: &[Labels]) {
        let mut hosts: HashMap<String, BTreeSet<usize>> = HashMap::new();
        for (value, at) in &self.by_value {
            let bound = value.parse::<SocketAddr>();
            hosts.entry(bound.map_or(value.clone(), |bound| bound.ip().to_string())).or_default().insert(*at);
        }
        let (mut named, mut twice) = (BTreeSet::new(), BTreeMap::new());
        for labels in infos {
            let Some(name) = labels.get("node") else { continue };
            let here = labels.get("internal_ip").filter(|ip| !ip.is_empty()).and_then(|ip| hosts.get(ip));
            let by_address = here.and_then(|here| here.first().copied());
            let Some(at) = self.by_value.get(name).copied().or(by_address) else { continue };
            self.all[at].name = name.to_owned();
            self.by_value.insert(name.to_owned(), at);
            named.insert(at);
            twice.extend(here.into_iter().flatten().filter(|again| **again != at).map(|again| (*again, at)));
        }
        // Each of the cluster's own is one.
        twice.retain(|again, _| !named.contains(again));
        self.leave_out(&twice);
    }

    /// Nodes that are others of them, by their places.
    fn leave_out(&mut self, twice: &BTreeMap<usize, usize>) {
        for at in self.by_value.values_mut() {
            let kept = twice.get(&*at).copied().unwrap_or(*at);
            *at = kept - twice.range(..kept).count();
        }
        let mut places = 0..;
        self.all.retain(|_| places.next().is_some_and(|at| !twice.contains_key(&at)));
    }

    /// Nodes that tell nothing themselves are as large as the API server says; GPUs are told by no other.
    async fn told_by_cluster(&mut self, hour: &Hour<'_>) -> Result<(), QueryError> {
        let capacity = hour.gauges(CAPACITY, None).await?;
        // What node_exporter tells of a machine is exact: it is not mixed with what the cluster tells.
        let exact = self.all.len();
        // The agent that watches the cluster may be another one within the hour, or have company.
        let mut told: BTreeMap<(String, String), Gauge> = BTreeMap::new();
        for (labels, ts_ms, values) in capacity.iter() {
            if let (Some(name), Some(resource)) = (labels.get("node"), labels.get("resource")) {
                told.entry((name.to_owned(), resource.to_owned())).or_default().add(ts_ms, values);
            }
        }
        for ((name, resource), mut size) in told {
            let at = match self.by_value.get(&name) {
                Some(at) => *at,
                None => {
                    self.by_value.insert(name.clone(), self.all.len());
                    self.all.push(Node { name, ..Node::default() });
                    self.all.len() - 1
                }
            };
            let node = &mut self.all[at];
            match resource.as_str() {
                resource if is_gpu(resource) => node.gpus += size.mean(),
                "cpu" if at >= exact => node.cores = size.mean(),
                "memory" if at >= exact => {
                    node.memory_gib = size.mean() / GIB;
                    node.hours = size.covered_hours();
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whole GPUs, by the names that kube-state-metrics makes of the vendors' resources.
pub fn is_gpu(resource: &str) -> bool {
    matches!(resource, "nvidia_com_gpu" | "amd_com_gpu" | "gpu_intel_com_i915" | "gpu_intel_com_xe")
}

/// Whether it says where a machine is found (`10.0.0.1:9100`, `web:9100`, `10.0.0.1`) and not what it is called.
fn is_address(value: &str) -> bool {
    value.contains(':') || value.parse::<IpAddr>().is_ok()
}

fn set(field: &mut String, value: &str) {
    if field.is_empty() {
        value.clone_into(field);
    }
}

/// The first part of `aws:///us-east-1a/i-0abc`, as price books name it.
fn provider_of(id: &str) -> &str {
    match id.split_once("://").map_or("", |(scheme, _)| scheme) {
        "gce" => "gcp",
        other => other,
    }
}

fn of_labels(labels: &Labels, kind: &mut Kind) {
    let first = |names: &[&str]| names.iter().find_map(|name| labels.get(name)).unwrap_or("");
    set(
        &mut kind.instance_type,
        first(&["label_node_kubernetes_io_instance_type", "label_beta_kubernetes_io_instance_type"]),
    );
    set(
        &mut kind.region,
        first(&["label_topology_kubernetes_io_region", "label_failure_domain_beta_kubernetes_io_region"]),
    );
    set(
        &mut kind.zone,
        first(&["label_topology_kubernetes_io_zone", "label_failure_domain_beta_kubernetes_io_zone"]),
    );
    let any = |prefix: &str| labels.iter().any(|(name, _)| name.starts_with(prefix));
    for (prefix, provider) in [
        ("label_eks_amazonaws_com_", "aws"),
        ("label_k8s_io_cloud_provider_aws", "aws"),
        ("label_cloud_google_com_", "gcp"),
        ("label_kubernetes_azure_com_", "azure"),
    ] {
        if any(prefix) {
            set(&mut kind.provider, provider);
        }
    }
    if let Some(lifecycle) = lifecycle(labels) {
        kind.lifecycle = lifecycle;
    }
}

/// What says how a node is paid for. The first is ours, for commitments, which no cloud's label tells.
fn lifecycle(labels: &Labels) -> Option<Lifecycle> {
    if let Some(word) = labels.get("label_binnacle_io_lifecycle") {
        return Lifecycle::parse(word);
    }
    let spot = [
        ("label_eks_amazonaws_com_capacitytype", "spot"),
        ("label_eks_amazonaws_com_capacity_type", "spot"),
        ("label_karpenter_sh_capacity_type", "spot"),
        ("label_cloud_google_com_gke_spot", "true"),
        ("label_cloud_google_com_gke_preemptible", "true"),
        ("label_cloud_google_com_gke_provisioning", "spot"),
        ("label_kubernetes_azure_com_scalesetpriority", "spot"),
        ("label_kubernetes_azure_com_priority", "spot"),
        ("label_node_kubernetes_io_lifecycle", "spot"),
        ("label_spot_io_lifecycle", "spot"),
    ];
    let is_spot = labels.iter().any(|(name, value)| {
        spot.iter()
            .any(|(known, wanted)| name.eq_ignore_ascii_case(known) && value.eq_ignore_ascii_case(wanted))
    });
    is_spot.then_some(Lifecycle::Spot)
}

fn of_metadata(labels: &Labels, kind: &mut Kind) {
    let text = |name: &str| labels.get(name).unwrap_or("");
    set(&mut kind.provider, text("provider"));
    set(&mut kind.region, text("region"));
    set(&mut kind.zone, text("zone"));
    set(&mut kind.instance_type, text("instance_type"));
    if kind.lifecycle == Lifecycle::OnDemand {
        kind.lifecycle = Lifecycle::parse(text("lifecycle")).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(pairs: &[(&str, &str)]) -> Kind {
        let mut kind = Kind::default();
        of_labels(&Labels::from_pairs(pairs.iter().copied()), &mut kind);
        kind
    }

    #[test]
    fn a_nodes_labels_tell_what_its_price_depends_on() {
        let of = kind(&[
            ("label_node_kubernetes_io_instance_type", "m5.xlarge"),
            ("label_topology_kubernetes_io_region", "us-east-1"),
            ("label_topology_kubernetes_io_zone", "us-east-1a"),
            ("label_eks_amazonaws_com_capacity_type", "SPOT"),
        ]);
        assert_eq!(
            of,
            Kind {
                provider: "aws".into(),
                region: "us-east-1".into(),
                zone: "us-east-1a".into(),
                instance_type: "m5.xlarge".into(),
                lifecycle: Lifecycle::Spot
            }
        );
        // kube-state-metrics keeps capitals: eks.amazonaws.com/capacityType is `capacityType` there.
        for spot in [
            ("label_eks_amazonaws_com_capacityType", "SPOT"),
            ("label_karpenter_sh_capacity_type", "spot"),
            ("label_cloud_google_com_gke_spot", "true"),
            ("label_kubernetes_azure_com_scalesetpriority", "spot"),
        ] {
            assert_eq!(kind(&[spot]).lifecycle, Lifecycle::Spot, "{spot:?}");
        }
        assert_eq!(kind(&[("label_karpenter_sh_capacity_type", "on-demand")]).lifecycle, Lifecycle::OnDemand);
        assert_eq!(
            kind(&[("label_binnacle_io_lifecycle", "committed_1y")]).lifecycle,
            Lifecycle::Committed1y
        );
        assert_eq!(provider_of("gce://project/zone/name"), "gcp");
        assert_eq!(provider_of("no id"), "");
    }
}
