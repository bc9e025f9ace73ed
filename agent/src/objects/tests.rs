use super::*;
use crate::alive::Alive;
use crate::pods::{Pod, PodList};
use crate::tests::{labels_and_values, told_and_ended};
use model::{Labels, MetricKind};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

/// Of what kube-state-metrics says of pods: what is not told here, by the beginning of its name, and why.
const ABSENT: &[&str] = &[
    // Off there too, unless it is asked for; there it is an empty one.
    "kube_pod_annotations",
    // Only of pods that no kubelet has: of those the elected agent tells.
    "kube_pod_status_unscheduled_time",
    "kube_pod_status_unschedulable",
];

/// A static pod's mirror was made by the API server, which the kubelet does not say.
const STATIC_ABSENT: &str = "kube_pod_created";

/// A pod of this name at this address, waiting for this reason.
fn waiting(name: &str, ip: &str, reason: &str) -> Pod {
    serde_json::from_value(serde_json::json!({
        "metadata": { "name": name, "namespace": "shop", "uid": format!("uid-{name}") },
        "spec": { "nodeName": "n1", "containers": [{ "name": "app" }] },
        "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
            "containerStatuses": [{ "name": "app", "state": { "waiting": { "reason": reason } } }] },
    }))
    .unwrap()
}

#[test]
fn series_of_a_pod_end_with_it_and_with_what_it_was() {
    let pods = Pods::default();
    let mut alive = Alive::default();
    let mut again = || {
        let mut samples = Samples::new(0, "n1", false);
        samples.ending(&mut alive, |out| collect("n1", &pods, &Metadata::default(), out));
        told_and_ended(&samples.finish())
    };
    assert_eq!(again(), (vec![], vec![]));
    pods.replace(vec![waiting("web", "10.0.0.1", "CrashLoopBackOff"), waiting("db", "10.0.0.9", "a")]);
    let (told, ended) = again();
    assert_eq!(ended, [""; 0]);
    // While the kubelet does not answer, pods are as it said last.
    assert_eq!(again(), (told.clone(), vec![]));
    pods.replace(vec![waiting("web", "10.0.0.2", "ImagePullBackOff"), waiting("db", "10.0.0.9", "a")]);
    let (changed, ended) = again();
    let names: Vec<&str> = ended.iter().filter_map(|one| one.split('{').next()).collect();
    assert_eq!(names, ["kube_pod_container_status_waiting_reason", "kube_pod_info", "kube_pod_ips"]);
    assert!(ended[0].contains("CrashLoopBackOff") && ended[1].contains("10.0.0.1"), "{ended:?}");
    assert!(ended.iter().all(|one| told.contains(one) && !changed.contains(one)));
    // One is renamed, which is another pod.
    pods.replace(vec![waiting("shop", "10.0.0.2", "ImagePullBackOff"), waiting("db", "10.0.0.9", "a")]);
    let (renamed, ended) = again();
    let of_web = |series: &[String]| -> Vec<String> {
        series.iter().filter(|one| one.contains("pod=\"web\"")).cloned().collect()
    };
    assert_eq!(ended, of_web(&changed));
    assert!(of_web(&renamed).is_empty() && !ended.is_empty());
    pods.replace(vec![waiting("db", "10.0.0.9", "a")]);
    let (left, ended) = again();
    assert!(left.iter().all(|one| renamed.contains(one)));
    assert!(ended.iter().all(|one| one.contains("pod=\"shop\"")));
    assert_eq!(left.len() + ended.len(), renamed.len());
}

#[test]
fn why_a_pod_is_to_go_and_what_runs_it_is_told() {
    let told = |reason: &str| {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "u" },
            "spec": { "nodeName": "n1", "runtimeClassName": "kata", "containers": [] },
            "status": { "phase": "Running", "conditions": [
                { "type": "DisruptionTarget", "status": "True", "reason": reason }] },
        }))
        .unwrap();
        let mut samples = Samples::new(0, "n1", false);
        tell(&pod, &Metadata::default(), &mut samples);
        let (told, _) = told_and_ended(&samples.finish());
        let of = |metric: &str, label: &str| {
            let series = told.iter().find(|one| one.starts_with(metric))?;
            let (_, behind) = series.split_once(&format!("{label}=\""))?;
            Some(behind.split_once('"')?.0.to_owned())
        };
        let reason = of("kube_pod_status_disruption_reason", "reason");
        (reason, of("kube_pod_runtimeclass_name_info", "runtimeclass_name"))
    };
    let is = |reason: &str| (Some(reason.to_owned()), Some("kata".to_owned()));
    assert_eq!(told("EvictionByEvictionAPI"), is("EvictionByEvictionAPI"));
    assert_eq!(told("ByHand"), is("Other"));
}

/// As kube-state-metrics tells them by default (source: its `internal/store/pod.go`).
#[test]
fn tolerations_and_claims_of_devices_are_told() {
    let toleration = serde_json::json!({ "key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 });
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": { "name": "web", "namespace": "shop", "uid": "u" },
        "spec": { "tolerations": [toleration, { "operator": "Exists" }, toleration], "resourceClaims": [
            { "name": "gpu", "resourceClaimName": "mine" }, { "name": "made", "resourceClaimTemplateName": "t" },
            { "name": "pending", "resourceClaimTemplateName": "t" }, { "name": "neither" }] },
        "status": { "resourceClaimStatuses": [{ "name": "made", "resourceClaimName": "web-made-x" }, { "name": "pending" }] },
    }))
    .unwrap();
    let mut samples = Samples::new(0, "n1", false);
    tell(&pod, &Metadata::default(), &mut samples);
    let (told, _) = told_and_ended(&samples.finish());
    let has = |name: &str, labels: &[&str]| {
        told.iter().any(|one| one.starts_with(name) && labels.iter().all(|label| one.contains(label)))
    };
    let count = |name: &str| told.iter().filter(|one| one.starts_with(name)).count();
    assert_eq!((count("kube_pod_tolerations{"), count("kube_pod_resourceclaim_info{")), (2, 3), "{told:#?}");
    let labels = ["key=\"k\"", "operator=\"Exists\"", "effect=\"NoExecute\"", "toleration_seconds=\"300\""];
    assert!(has("kube_pod_tolerations{", &labels), "{told:#?}");
    for labels in [
        &["claim_name=\"gpu\"", "resourceclaim_name=\"mine\""],
        &["resourceclaim_name=\"web-made-x\"", "resourceclaim_template_name=\"t\""],
        &["claim_name=\"pending\"", "resourceclaim_template_name=\"t\""],
    ] {
        assert!(has("kube_pod_resourceclaim_info{", labels), "{labels:?} in {told:#?}");
    }
}

#[test]
fn a_recorded_nodes_pods_are_told_as_kube_state_metrics_tells_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/suites/data/k8s/kubelet_ksm_controlplane/1_35");
    let Ok(packed) = std::fs::File::open(folder.join("ksm/metrics.gz")) else {
        println!("no {}: kube-state-metrics' answer was not read", folder.display());
        return;
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    let pods = Pods::default();
    let list: PodList = serde_json::from_slice(&std::fs::read(folder.join("kubelet/pods")).unwrap()).unwrap();
    pods.replace(list.items);
    let mut samples = Samples::new(0, "datagen-1-35", true);
    collect("datagen-1-35", &pods, &Metadata::default(), &mut samples);
    let batch = samples.finish();
    let kinds: BTreeMap<&str, MetricKind> = batch.metadata.iter().map(|m| (&*m.name, m.kind)).collect();
    // A static pod has another uid at its kubelet; labels are told there only where they are asked for.
    let key = |labels: &Labels| {
        let is_of_target = |name: &str| matches!(name, "job" | "instance");
        let has_node = matches!(
            labels.metric_name(),
            "kube_pod_info" | "kube_pod_container_resource_requests" | "kube_pod_container_resource_limits"
        );
        Labels::from_pairs(labels.iter().filter(|(name, value)| {
            !value.is_empty()
                && !is_of_target(name)
                && *name != "uid"
                && (*name != "node" || has_node)
                && !name.starts_with("label_")
        }))
        .to_string()
    };
    let ours: BTreeMap<String, f64> =
        labels_and_values(&batch).iter().map(|(labels, value)| (key(labels), *value)).collect();
    let theirs = wire::exposition::parse(&text, 0).unwrap().batch;
    let their_kinds: BTreeMap<&str, MetricKind> =
        theirs.metadata.iter().map(|m| (&*m.name, m.kind)).collect();
    let known: BTreeSet<String> = pods.all().iter().map(|pod| pod.metadata.name.clone()).collect();
    let (mut same, mut wrong) = (0, vec![]);
    for (labels, value) in labels_and_values(&theirs) {
        let name = labels.metric_name();
        let is_of_pod =
            name.starts_with("kube_pod_") && labels.get("pod").is_some_and(|pod| known.contains(pod));
        let pod = pods.all().into_iter().find(|pod| labels.get("pod") == Some(&pod.metadata.name));
        let is_mirrored = name == STATIC_ABSENT && pod.is_some_and(|pod| pod.is_static());
        if !is_of_pod || is_mirrored || ABSENT.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        assert_eq!(kinds.get(name), their_kinds.get(name), "the type of {name}");
        match ours.get(&key(&labels)) {
            Some(mine) if *mine == value => same += 1,
            mine => wrong.push(format!("{} {value}, and here {mine:?}", key(&labels))),
        }
    }
    println!("{same} series are the same, {} are not", wrong.len());
    assert!(same > 500 && wrong.is_empty(), "{}", wrong.join("\n"));
}
