use super::*;

fn pod(text: &str) -> Pod {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_workload_is_the_owner_that_stays() {
    let owned = |kind: &str, name: &str, hash: &str| {
        pod(&format!(
            r#"{{"metadata":{{"labels":{{"pod-template-hash":"{hash}"}},
               "ownerReferences":[{{"kind":"{kind}","name":"{name}","controller":true}}]}}}}"#
        ))
        .workload()
    };
    let is = |kind, name: &str| Some((kind, name.to_owned()));
    assert_eq!(owned("ReplicaSet", "web-5d9", "5d9"), is("Deployment", "web"));
    assert_eq!(owned("ReplicaSet", "lone", ""), is("ReplicaSet", "lone"));
    assert_eq!(owned("Job", "backup-29012345", ""), is("CronJob", "backup"));
    assert_eq!(owned("Job", "once-1", ""), is("Job", "once-1"));
    assert_eq!(owned("DaemonSet", "agent", ""), is("DaemonSet", "agent"));
    assert_eq!(owned("Node", "node1", ""), None, "a static pod is its own");
}

#[test]
fn a_mirror_of_a_static_pod_has_the_uid_of_its_folders() {
    let mirror = pod(r#"{"metadata":{"name":"web-node1","namespace":"d","uid":"api-uid",
        "annotations":{"kubernetes.io/config.hash":"73ab","kubernetes.io/config.mirror":"73ab"}}}"#);
    let pods = Pods::default();
    pods.replace(vec![mirror]);
    assert_eq!(pods.by_uid("73ab").unwrap().metadata.name, "web-node1");
    assert!(pods.by_uid("api-uid").is_none());
}

#[test]
fn a_pod_that_is_gone_is_known_for_a_while() {
    let pods = Pods::default();
    pods.replace(vec![Pod::named("a", "b", "uid")]);
    let before = pods.version();
    pods.replace(vec![Pod::named("a", "b", "uid")]);
    assert_eq!(pods.version(), before, "nothing changed");
    pods.replace(vec![Pod::named("a", "c", "other")]);
    assert_eq!(pods.all().len(), 1);
    assert_eq!(pods.by_uid("uid").unwrap().metadata.name, "b");
}

#[test]
fn a_kubelet_without_pods_is_believed_after_a_while() {
    // As the real one writes it, just started or on a node where nothing runs.
    let none =
        || serde_json::from_str::<PodList>(r#"{"kind":"PodList","metadata":{},"items":null}"#).unwrap().items;
    let (pods, begin) = (Pods::default(), Instant::now());
    pods.replace_at(none(), begin);
    assert!(pods.all().is_empty());
    let here = || vec![Pod::named("a", "b", "uid")];
    pods.replace_at(here(), begin);
    for (after, are_there) in [(0, 1), (29, 1), (30, 0), (31, 0)] {
        pods.replace_at(none(), begin + Duration::from_secs(after));
        assert_eq!(pods.all().len(), are_there, "after {after} s");
    }
    pods.replace_at(here(), begin);
    pods.replace_at(none(), begin + Duration::from_secs(60));
    assert_eq!(pods.all().len(), 1, "the time begins anew");
}

#[test]
fn telemetry_has_opentelemetrys_names() {
    let pod = pod(
        r#"{"metadata":{"name":"p","namespace":"n","uid":"u","labels":{"controller-revision-hash":"db-7"}},"status":{"containerStatuses":[
        {"name":"c","image":"r:5000/team/shop:1.2@sha256:ab","containerID":"containerd://id","restartCount":2}]}}"#,
    );
    let found = attributes(&pod, Some("c"), "node1");
    let get = |name: &str| model::attribute(&found, name).and_then(|value| value.as_str().map(str::to_owned));
    for (name, value) in [
        ("k8s.namespace.name", "n"),
        ("k8s.pod.uid", "u"),
        ("k8s.node.name", "node1"),
        ("k8s.pod.label.controller-revision-hash", "db-7"),
        ("k8s.container.name", "c"),
        ("container.image.name", "r:5000/team/shop"),
        ("container.image.tags", "1.2"),
        ("container.id", "id"),
    ] {
        assert_eq!(get(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(image_parts("r:5000/x"), ("r:5000/x", None));
}

/// As kubeadm's control plane has it on a real node.
#[test]
fn an_image_that_is_told_as_a_digest_has_the_name_that_was_asked_for() {
    let asked = pod(r#"{"metadata":{"name":"etcd-n1","namespace":"kube-system","uid":"u"},
        "spec":{"containers":[{"name":"etcd","image":"registry.k8s.io/etcd:3.5.21-0"}]},
        "status":{"containerStatuses":[{"name":"etcd","image":"sha256:499038711c08"}]}}"#);
    let attributes = attributes(&asked, Some("etcd"), "n1");
    let get = |name: &str| model::attribute(&attributes, name).and_then(|value| value.as_str());
    assert_eq!(
        (get("container.image.name"), get("container.image.tags")),
        (Some("registry.k8s.io/etcd"), Some("3.5.21-0"))
    );
}

/// A StatefulSet's next pod has the name of the one before, whose last lines are still on their way.
#[test]
fn a_name_that_is_used_again_is_another_pod() {
    let of = |uid: &str, image: &str| {
        pod(&format!(
            r#"{{"metadata":{{"name":"web-0","namespace":"shop","uid":"{uid}"}},
               "status":{{"containerStatuses":[{{"name":"app","image":"{image}"}}]}}}}"#
        ))
    };
    let pods = Pods::default();
    pods.replace(vec![of("old", "web:1")]);
    pods.replace(vec![of("new", "web:2")]);
    for (uid, image) in [("old", "web"), ("new", "web")] {
        let found = pods.by_uid(uid).unwrap();
        let attributes = attributes(&found, Some("app"), "node1");
        let get = |name: &str| model::attribute(&attributes, name).and_then(|value| value.as_str());
        assert_eq!((get("k8s.pod.uid"), get("container.image.name")), (Some(uid), Some(image)));
    }
    assert_eq!(pods.by_name("shop", "web-0").unwrap().metadata.uid, "new");
    assert!(pods.by_name("bank", "web-0").is_none());
    let tag = |uid: &str| pods.by_uid(uid).unwrap().status.container_statuses[0].image.clone();
    assert_eq!((tag("old").as_str(), tag("new").as_str()), ("web:1", "web:2"));
}
