use super::lease::Candidate;
use super::*;
use crate::objects::{Allowed, Metadata};
use axum::extract::{Path, RawQuery, State as Shared};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

/// An API server with leases, and deployments whose answers are given one by one.
#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Value>>>,
    lists: Arc<Mutex<Vec<Value>>>,
    watches: Arc<Mutex<Vec<(u16, String)>>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// `Accept` of the same requests.
    accepted: Arc<Mutex<Vec<String>>>,
}

async fn lease(Shared(server): Shared<Server>) -> (axum::http::StatusCode, Json<Value>) {
    match &*server.lease.lock() {
        Some(lease) => (axum::http::StatusCode::OK, Json(lease.clone())),
        None => (axum::http::StatusCode::NOT_FOUND, Json(json!({ "message": "not found" }))),
    }
}

async fn write(
    Shared(server): Shared<Server>,
    Json(mut lease): Json<Value>,
) -> (axum::http::StatusCode, Json<Value>) {
    let mut known = server.lease.lock();
    let before = known.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
    let read = lease["metadata"].get("resourceVersion").cloned();
    if before != read {
        return (
            axum::http::StatusCode::CONFLICT,
            Json(json!({ "message": "the object has been modified" })),
        );
    }
    let next = read.and_then(|version| version.as_str()?.parse::<u64>().ok()).unwrap_or(0) + 1;
    lease["metadata"]["resourceVersion"] = json!(next.to_string());
    *known = Some(lease.clone());
    (axum::http::StatusCode::OK, Json(lease))
}

async fn deployments(
    Shared(server): Shared<Server>,
    Path(_): Path<String>,
    RawQuery(query): RawQuery,
    headers: axum::http::HeaderMap,
) -> (axum::http::StatusCode, String) {
    let query = query.unwrap_or_default();
    server.asked.lock().push(query.clone());
    let accepted = headers.get("accept").map_or("", |kind| kind.to_str().unwrap());
    server.accepted.lock().push(accepted.to_owned());
    if query.contains("watch=true") {
        let mut watches = server.watches.lock();
        let (status, lines) = if watches.is_empty() { (403, "enough".into()) } else { watches.remove(0) };
        return (axum::http::StatusCode::from_u16(status).unwrap(), lines);
    }
    let mut lists = server.lists.lock();
    let list = if lists.len() > 1 { lists.remove(0) } else { lists[0].clone() };
    (axum::http::StatusCode::OK, list.to_string())
}

fn deployment(version: &str, replicas: u32) -> Value {
    json!({ "metadata": { "name": "cart", "namespace": "shop", "resourceVersion": version },
        "spec": { "replicas": replicas }, "status": { "replicas": replicas } })
}

struct World {
    server: Server,
    cluster: Arc<Cluster>,
    _dir: tempfile::TempDir,
}

async fn world() -> World {
    world_by(Arc::new(model::SystemClock)).await
}

async fn world_by(clock: Arc<dyn Clock>) -> World {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Server::default();
    let leases = "/apis/coordination.k8s.io/v1/namespaces/b/leases";
    let router = Router::new()
        .route(leases, axum::routing::post(write))
        .route(&format!("{leases}/binnacle-agent"), get(lease).put(write))
        .route("/apis/apps/v1/{kind}", get(deployments))
        .route("/api/v1/{kind}", get(deployments))
        .with_state(server.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    let dir = tempfile::tempdir().unwrap();
    let settings = ClusterSettings {
        url,
        token_file: dir.path().join("absent"),
        trust: Trust::System,
        namespace: "b".into(),
        identity: "one".into(),
    };
    let queue = Arc::new(Queue::open(dir.path().join("queue"), 64 << 20).unwrap());
    let host = Arc::new(Host::of(dir.path()));
    let config = Config { data_dir: dir.path().into(), ..Config::default() };
    let cluster = Cluster::new(&settings, &config, (host, queue), clock, Panics::default());
    World { server, cluster: Arc::new(cluster.unwrap()), _dir: dir }
}

impl World {
    /// What is queued, and what is held until the lease says so.
    fn told(&self) -> Vec<Record> {
        let mut told = self.cluster.queue.next_unsent(1 << 20).unwrap();
        told.extend(self.cluster.told.lock().held.batches().cloned());
        told
    }

    fn changes(&self) -> Vec<String> {
        crate::tests::lines(self.told())
    }

    /// The lease is asked for as in the midst of a term.
    async fn renew(&self, candidate: &mut Candidate) -> bool {
        let leads = self.cluster.campaign(candidate).await.unwrap();
        self.cluster.counts.leads.store(u64::from(leads), Ordering::Relaxed);
        leads
    }

    fn has_told(&self, kind: &str, version: u64, time_ns: i64) {
        self.cluster.told.lock().before.insert(kind.to_owned(), Until { version, time_ns });
    }

    fn server_has(&self, annotations: Value) {
        self.server.lease.lock().as_mut().unwrap()["metadata"]["annotations"] = annotations;
    }
}

const BEGIN_NS: i64 = 1_767_225_600_000_000_000;

#[tokio::test]
async fn one_agent_holds_the_lease_and_loses_it_to_who_was_quicker() {
    let world = world().await;
    let mut one = Candidate::new("one".into());
    assert_eq!(world.cluster.campaign(&mut one).await, Ok(true));
    assert_eq!(world.cluster.campaign(&mut one).await, Ok(true), "renewed");
    assert_eq!(world.cluster.campaign(&mut Candidate::new("two".into())).await, Ok(false));
    // Of an agent that had our name before us: what it told is told.
    *world.cluster.told.lock() = Told::default();
    world.server_has(json!({ "binnacle.io/told": "Node=70@2026-01-01T00:00:00Z" }));
    assert_eq!(world.cluster.campaign(&mut one).await, Ok(true));
    let until = Until { version: 70, time_ns: BEGIN_NS };
    assert_eq!(world.cluster.told.lock().before, BTreeMap::from([("Node".to_owned(), until)]));
    world.server.lease.lock().as_mut().unwrap()["spec"]["holderIdentity"] = json!("two");
    assert_eq!(world.cluster.campaign(&mut one).await, Ok(false));
}

#[tokio::test]
async fn a_rollout_between_two_watchers_is_told_by_the_second() {
    let world = world().await;
    let templated = |name: &str, revision: &str, version: &str, uid: &str| {
        json!({ "metadata": { "name": name, "namespace": "shop", "resourceVersion": version, "uid": uid,
                "creationTimestamp": "2026-01-01T00:00:07Z", "ownerReferences": [{ "controller": true, "uid": "d" }],
                "annotations": { "deployment.kubernetes.io/revision": revision } },
            "spec": { "template": { "spec": { "containers": [{ "image": format!("cart:{revision}") }] } } } })
    };
    let list = |items: Vec<Value>| json!({ "metadata": { "resourceVersion": "150" }, "items": items });
    let of = |version: &str| {
        let mut cart = templated("cart", "2", version, "d");
        cart["metadata"]["creationTimestamp"] = json!("2025-12-31T00:00:00Z");
        list(vec![cart])
    };
    let sets = list(vec![templated("cart-a", "1", "90", "a"), templated("cart-b", "2", "120", "b")]);
    *world.server.lists.lock() = vec![of("130"), sets, list(vec![]), of("130")];
    world.has_told("Deployment", 100, BEGIN_NS);
    let at = WATCHED.iter().position(|(kind, _)| *kind == "Deployment").unwrap();
    let (kind, path) = WATCHED[at];
    assert!(world.cluster.list(at, kind, path).await.is_ok());
    assert_eq!(world.changes(), ["Deployment cart is rolled out"]);
    assert!(world.cluster.list(at, kind, path).await.is_ok());
    assert_eq!(world.changes().len(), 1, "a later list has what was known to differ from");
    assert_eq!(world.server.asked.lock().len(), 4, "the history is asked for once");
}

#[tokio::test]
async fn a_scaling_between_two_watchers_is_told_by_the_second() {
    let world = world().await;
    let list = |items: Vec<Value>| json!({ "metadata": { "resourceVersion": "150" }, "items": items });
    let (early, late) = ("2025-12-31T00:00:00Z", "2026-01-01T00:00:07Z");
    let mut cart = deployment("130", 4);
    cart["metadata"]["creationTimestamp"] = json!(early);
    cart["metadata"]["uid"] = json!("d");
    let scaled = json!({ "involvedObject": { "uid": "d" }, "firstTimestamp": late, "lastTimestamp": late,
        "message": "Scaled up replica set cart-a from 2 to 4" });
    *world.server.lists.lock() =
        vec![list(vec![cart.clone()]), list(vec![]), list(vec![scaled]), list(vec![cart])];
    world.has_told("Deployment", 100, BEGIN_NS);
    let at = WATCHED.iter().position(|(kind, _)| *kind == "Deployment").unwrap();
    let (kind, path) = WATCHED[at];
    assert!(world.cluster.list(at, kind, path).await.is_ok());
    assert!(world.cluster.list(at, kind, path).await.is_ok());
    assert_eq!(world.changes(), ["Deployment cart is scaled from 2 to 4"]);
    let asked = world.server.asked.lock().clone();
    assert!(asked[2].starts_with("fieldSelector=reason%3DScalingReplicaSet&limit="), "{asked:?}");
}

/// Nobody has acted on it yet: there are neither events nor replica sets of it.
#[tokio::test]
async fn the_size_of_a_workload_is_handed_on_with_the_lease() {
    for kind in ["StatefulSet", "Deployment"] {
        let set = |version: &str, replicas: u32| {
            let mut set = deployment(version, replicas);
            set["metadata"]["creationTimestamp"] = json!("2025-12-31T00:00:00Z");
            json!({ "metadata": { "resourceVersion": version }, "items": [set] })
        };
        let at = WATCHED.iter().position(|(known, _)| *known == kind).unwrap();
        let (kind, path) = WATCHED[at];
        let first = world().await;
        let mut one = Candidate::new("one".into());
        assert!(first.renew(&mut one).await);
        *first.server.lists.lock() = vec![set("100", 2)];
        assert!(first.cluster.list(at, kind, path).await.is_ok());
        assert!(first.renew(&mut one).await);
        let mut left = first.server.lease.lock().clone().unwrap();
        left["spec"]["holderIdentity"] = json!("");

        let second = world().await;
        *second.server.lease.lock() = Some(left);
        assert!(second.renew(&mut Candidate::new("two".into())).await);
        let nothing = json!({ "metadata": {}, "items": [] });
        let mut lists = vec![set("130", 4), nothing.clone()];
        lists.extend((kind == "Deployment").then_some(nothing));
        lists.push(set("130", 4));
        *second.server.lists.lock() = lists;
        assert!(second.cluster.list(at, kind, path).await.is_ok());
        assert!(second.cluster.list(at, kind, path).await.is_ok());
        assert_eq!(second.changes(), [format!("{kind} cart is scaled from 2 to 4")]);
    }
}

/// Its controller writes of it a moment after the lease said that it is told.
#[tokio::test]
async fn a_scaling_that_was_told_is_not_found_again_by_its_time() {
    let list = |items: Vec<Value>| json!({ "metadata": { "resourceVersion": "150" }, "items": items });
    let first = world().await;
    let mut one = Candidate::new("one".into());
    assert!(first.renew(&mut one).await);
    watched(&first, "Deployment", &[deployment("9", 2)], "MODIFIED", deployment("10", 4)).await;
    assert!(first.renew(&mut one).await);
    assert_eq!(first.changes(), ["Deployment cart is scaled from 2 to 4"]);
    let mut left = first.server.lease.lock().clone().unwrap();
    left["spec"]["holderIdentity"] = json!("");
    // There are so many that there was no room for its number.
    left["metadata"]["annotations"]["binnacle.io/deployments"] = json!("");

    let second = world().await;
    *second.server.lease.lock() = Some(left);
    assert!(second.renew(&mut Candidate::new("two".into())).await);
    let mut cart = deployment("130", 4);
    cart["metadata"]["creationTimestamp"] = json!("2025-12-31T00:00:00Z");
    cart["metadata"]["uid"] = json!("d");
    let late = "2199-01-01T00:00:00Z";
    let scaled = json!({ "involvedObject": { "uid": "d" }, "firstTimestamp": late, "lastTimestamp": late,
        "message": "Scaled up replica set cart-a from 2 to 4" });
    *second.server.lists.lock() = vec![list(vec![cart]), list(vec![]), list(vec![scaled])];
    let at = WATCHED.iter().position(|(kind, _)| *kind == "Deployment").unwrap();
    let (kind, path) = WATCHED[at];
    assert!(second.cluster.list(at, kind, path).await.is_ok());
    assert_eq!(second.server.asked.lock().len(), 3, "it was looked for");
    assert_eq!(second.changes(), [""; 0]);
    let noted = |world: &World| world.cluster.note().lately;
    assert_eq!(noted(&second), noted(&first), "for who comes after that");
}

#[tokio::test]
async fn what_became_of_a_node_between_two_watchers_is_told_by_the_second() {
    let world = world().await;
    let ready = json!({ "type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:07Z" });
    let node = json!({ "metadata": { "name": "n1", "resourceVersion": "130", "creationTimestamp": "2025-12-31T00:00:00Z" },
        "status": { "conditions": [ready] } });
    let list = json!({ "metadata": { "resourceVersion": "150" }, "items": [node] });
    *world.server.lists.lock() = vec![list];
    world.has_told("Node", 100, BEGIN_NS);
    let at = WATCHED.iter().position(|(kind, _)| *kind == "Node").unwrap();
    let (kind, path) = WATCHED[at];
    assert!(world.cluster.list(at, kind, path).await.is_ok());
    assert!(world.cluster.list(at, kind, path).await.is_ok());
    assert_eq!(world.changes(), ["Node n1: Ready is False"]);
}

#[tokio::test]
async fn a_list_and_its_watches_go_on_through_gone_and_broken_streams() {
    let world = world().await;
    let list = |version: &str, replicas| json!({ "metadata": { "resourceVersion": version }, "items": [deployment(version, replicas)] });
    *world.server.lists.lock() = vec![list("10", 1), list("30", 3)];
    let event = |kind: &str, object: Value| json!({ "type": kind, "object": object }).to_string() + "\n";
    let bookmark = event("BOOKMARK", json!({ "metadata": { "resourceVersion": "25" } }));
    *world.server.watches.lock() = vec![
        (200, event("MODIFIED", deployment("20", 2)) + bookmark.as_str()),
        (
            200,
            event(
                "ERROR",
                json!({ "code": 410, "reason": "Expired", "message": "too old resource version" }),
            ),
        ),
        (410, String::new()),
    ];
    let at = WATCHED.iter().position(|(kind, _)| *kind == "Deployment").unwrap();
    let (kind, path) = WATCHED[at];
    let cluster = &world.cluster;
    assert!(cluster.list(at, kind, path).await.is_ok());
    assert!(matches!(cluster.follow(at, kind, path).await, Ok(None)), "its end is no trouble");
    let Ok(Some(why)) = cluster.follow(at, kind, path).await else { panic!("an error on status 200") };
    assert!(why.starts_with("410 Expired"), "{why}");
    assert!(cluster.list(at, kind, path).await.is_ok());
    assert!(matches!(cluster.follow(at, kind, path).await, Ok(Some(_))), "gone");
    assert!(matches!(cluster.follow(at, kind, path).await, Err(Trouble::Forbidden(_))));
    // What was missed between the two lists shows as well.
    assert_eq!(
        world.changes(),
        ["Deployment cart is scaled from 1 to 2", "Deployment cart is scaled from 2 to 3"]
    );
    let asked = world.server.asked.lock().clone();
    assert!(asked[2].ends_with("resourceVersion=25"), "from the bookmark on: {asked:?}");
    let mut samples = Samples::new(1, "n", true);
    samples.of_kube_state("");
    for text in cluster.known[at].lock().texts() {
        state::tell("Deployment", &known::object(&text), &Metadata::default(), &mut samples);
    }
    let all = crate::tests::labels_and_values(&samples.finish());
    let replicas =
        all.iter().find(|(labels, _)| labels.metric_name() == "kube_deployment_spec_replicas").unwrap();
    assert_eq!((replicas.0.get("deployment"), replicas.0.get("node"), replicas.1), (Some("cart"), None, 3.0));
}

/// A list with `before` in it, and a watch that ends after it told of `after`, of objects of this kind.
async fn watched(world: &World, kind: &str, before: &[Value], event: &str, after: Value) {
    let list = json!({ "metadata": { "resourceVersion": "10" }, "items": before });
    *world.server.lists.lock() = vec![list];
    let line = json!({ "type": event, "object": after }).to_string() + "\n";
    *world.server.watches.lock() = vec![(200, line)];
    let at = WATCHED.iter().position(|(known, _)| *known == kind).unwrap();
    assert!(world.cluster.list(at, kind, WATCHED[at].1).await.is_ok());
    assert!(matches!(world.cluster.follow(at, kind, WATCHED[at].1).await, Ok(None)));
}

/// Series of deployments that are told, and those that end.
fn of_deployments(world: &World, alive: &mut Alive) -> (Vec<String>, Vec<String>) {
    let (told, ended) = crate::tests::told_and_ended(&world.cluster.collect(world.cluster.samples(), alive));
    let these = |series: Vec<String>| -> Vec<String> {
        series.into_iter().filter(|one| one.starts_with("kube_deployment_")).collect()
    };
    (these(told), these(ended))
}

#[tokio::test]
async fn series_of_an_object_end_with_it_and_with_what_it_was() {
    let world = world().await;
    let conditioned = |version: &str, reason: &str| {
        let mut deployment = deployment(version, 1);
        deployment["status"]["conditions"] =
            json!([{ "type": "Available", "status": "True", "reason": reason }]);
        deployment
    };
    let mut alive = Alive::default();
    assert_eq!(of_deployments(&world, &mut alive), (vec![], vec![]), "before it is listed nothing is told");
    let (old, new) = (conditioned("9", "NotYet"), conditioned("12", "MinimumReplicasAvailable"));
    watched(&world, "Deployment", &[], "ADDED", old.clone()).await;
    let (told, ended) = of_deployments(&world, &mut alive);
    assert!(ended.is_empty() && !told.is_empty());
    watched(&world, "Deployment", &[old], "MODIFIED", new.clone()).await;
    let (changed, ended) = of_deployments(&world, &mut alive);
    assert_eq!(ended.len(), 3, "true, false and unknown: {ended:?}");
    assert!(ended.iter().all(|one| one.contains("reason=\"NotYet\"") && told.contains(one)), "{ended:?}");
    assert_eq!(of_deployments(&world, &mut alive), (changed.clone(), vec![]));
    let last = [new.clone()];
    watched(&world, "Deployment", &last, "DELETED", new).await;
    assert_eq!(of_deployments(&world, &mut alive), (vec![], changed));
    assert_eq!(of_deployments(&world, &mut alive), (vec![], vec![]));
}

/// They tell the same series under the same labels: nobody ends what the next one tells.
#[tokio::test]
async fn who_is_elected_next_ends_nothing_of_who_was_before() {
    let world = world().await;
    watched(&world, "Deployment", &[], "ADDED", deployment("9", 1)).await;
    let (mut first, mut second) = (Alive::default(), Alive::default());
    let (told, _) = of_deployments(&world, &mut first);
    // While both believe that they are elected each ends what it told, when it sees it go.
    assert_eq!(of_deployments(&world, &mut second), (told.clone(), vec![]));
    watched(&world, "Deployment", &[deployment("9", 1)], "DELETED", deployment("9", 1)).await;
    assert_eq!(of_deployments(&world, &mut first), (vec![], told.clone()));
    assert_eq!(of_deployments(&world, &mut second), (vec![], told));
    // A term begins with nothing known and nothing told.
    watched(&world, "Deployment", &[], "ADDED", deployment("9", 1)).await;
    world.cluster.begin_holding(&json!({}), "one").await;
    let mut third = Alive::default();
    assert_eq!(of_deployments(&world, &mut third), (vec![], vec![]));
    watched(&world, "Deployment", &[], "ADDED", deployment("12", 2)).await;
    assert!(of_deployments(&world, &mut third).1.is_empty());
}

/// What is told of the whole cluster is told by this agent alone, for as long as it leads.
#[tokio::test]
async fn what_is_measured_of_a_cluster_begins_anew_after_a_panic() {
    let clock = Arc::new(crate::tests::Fragile::default());
    let world = world_by(clock.clone()).await;
    *world.server.lists.lock() = vec![json!({ "metadata": { "resourceVersion": "10" }, "items": [] })];
    clock.breaks.store(true, Ordering::SeqCst);
    let ending = CancellationToken::new();
    let tasks = world.cluster.clone().begin(&ending);
    let told = || !crate::tests::queued_metrics(&world.cluster.queue).is_empty();
    crate::tests::until("metrics of the cluster", told).await;
    let panics = world.cluster.panics.readings().iter().map(|reading| reading.value).sum::<f64>();
    assert_eq!(panics, 1.0);
    ending.cancel();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn of_configurations_it_is_asked_and_told_only_that_they_changed() {
    let world = world().await;
    for kind in ["ConfigMap", "Secret"] {
        let of = |version: &str| {
            json!({ "metadata": { "name": "c", "namespace": "shop", "resourceVersion": version },
            "data": { "password": "hunter2" } })
        };
        // This server is an old one, which does not know of metadata alone.
        watched(&world, kind, &[of("9")], "MODIFIED", of("12")).await;
        let at = WATCHED.iter().position(|(known, _)| *known == kind).unwrap();
        let kept = world.cluster.known[at].lock().texts();
        assert!(kept.iter().all(|text| known::object(text).get("data").is_none()));
    }
    assert_eq!(world.changes(), ["ConfigMap c changed", "Secret c changed"]);
    let metadata = |kind: &str| {
        format!("application/json;as=PartialObjectMetadata{kind};g=meta.k8s.io;v=v1,application/json")
    };
    // The type of a secret is in no metadata.
    let table = |kind: &str| format!("application/json;as=Table;g=meta.k8s.io;v=v1,{}", metadata(kind));
    assert_eq!(*world.server.accepted.lock(), [metadata("List"), metadata(""), table("List"), table("")]);
}

#[tokio::test]
async fn a_probe_that_fails_is_a_change_and_every_event_a_line() {
    let world = world().await;
    let event = |reason: &str, message: &str| {
        json!({ "metadata": { "name": reason, "namespace": "shop", "resourceVersion": "12" }, "type": "Warning",
            "reason": reason, "message": message, "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1,
            "involvedObject": { "kind": "Pod", "namespace": "shop", "name": "cart-0" } })
    };
    watched(&world, "Event", &[], "ADDED", event("Unhealthy", "Readiness probe failed: 503")).await;
    assert_eq!(world.changes(), ["Readiness probe failed: 503"; 2]);
    watched(&world, "Event", &[], "ADDED", event("Pulled", "Image is there")).await;
    assert_eq!(world.changes()[2..], ["Image is there"]);
    let told = world.told();
    let services: Vec<Vec<u8>> = told
        .into_iter()
        .map(|record| {
            let body = axum::body::Bytes::from(record.body);
            wire::compression::Encoding::Zstd.decompress(body, 1 << 20).unwrap().to_vec()
        })
        .collect();
    let holds = |at: usize, text: &str| memchr::memmem::find(&services[at], text.as_bytes()).is_some();
    assert!(holds(0, changes::SERVICE) && holds(0, "probe") && holds(1, "kubernetes-events"));
}

#[tokio::test]
async fn a_node_that_is_not_ready_any_more_is_told_with_what_it_was() {
    let world = world().await;
    let node = |version: &str, ready: &str| {
        json!({ "metadata": { "name": "n1", "resourceVersion": version },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] } })
    };
    watched(&world, "Node", &[node("9", "True")], "MODIFIED", node("12", "Unknown")).await;
    assert_eq!(world.changes(), ["Node n1: Ready is Unknown"]);
}

#[test]
fn objects_of_other_kinds_are_told_as_kube_state_metrics_tells_them() {
    let mut samples = Samples::new(0, "n1", false);
    let volume = json!({ "metadata": { "name": "pv-1" }, "spec": { "storageClassName": "gp3", "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain", "capacity": { "storage": "10Gi" },
        "claimRef": { "name": "data", "namespace": "shop" } }, "status": { "phase": "Bound" } });
    let service = json!({ "metadata": { "name": "web", "namespace": "shop", "uid": "s" }, "spec": { "type": "LoadBalancer",
        "clusterIP": "10.0.0.9", "externalIPs": ["10.0.0.8"], "externalTrafficPolicy": "Local", "selector": { "app.kubernetes.io/name": "web" } }, "status": { "loadBalancer": { "ingress": [{ "hostname": "a.example" }] } } });
    state::tell("PersistentVolume", &volume, &Metadata::default(), &mut samples);
    state::tell("Service", &service, &Metadata::default(), &mut samples);
    let quota = json!({ "metadata": { "name": "q", "namespace": "shop" },
        "status": { "hard": { "requests.cpu": "1500m" }, "used": { "requests.cpu": "1" } } });
    let budget = json!({ "metadata": { "name": "b", "namespace": "shop" }, "status": { "currentHealthy": 1, "desiredHealthy": 2 } });
    let autoscaler = json!({ "metadata": { "name": "cart", "namespace": "shop" },
        "spec": { "maxReplicas": 9, "scaleTargetRef": { "kind": "Deployment", "name": "cart", "apiVersion": "apps/v1" }, "metrics": [
            { "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } } },
            { "type": "Pods", "pods": { "metric": { "name": "orders" }, "target": { "type": "AverageValue", "averageValue": "1500m" } } }] },
        "status": { "currentMetrics": [{ "type": "Resource", "resource": { "name": "cpu",
            "current": { "averageUtilization": 35, "averageValue": "35m" } } }] } });
    state::tell("HorizontalPodAutoscaler", &autoscaler, &Metadata::default(), &mut samples);
    let stateful = json!({ "metadata": { "name": "db", "namespace": "shop" },
        "spec": { "ordinals": { "start": 3 }, "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Retain", "whenScaled": "Delete" } },
        "status": { "currentRevision": "db-1", "updateRevision": "db-2" } });
    let rolling = json!({ "metadata": { "name": "web", "namespace": "shop" }, "spec": { "replicas": 7, "strategy": {
        "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "25%", "maxSurge": "25%" } } },
        "status": { "terminatingReplicas": 2 } });
    state::tell("Deployment", &rolling, &Metadata::default(), &mut samples);
    state::tell("ResourceQuota", &quota, &Metadata::default(), &mut samples);
    state::tell("PodDisruptionBudget", &budget, &Metadata::default(), &mut samples);
    state::tell("StatefulSet", &stateful, &Metadata::default(), &mut samples);
    let end = json!([{ "type": "Failed", "status": "True", "reason": "DeadlineExceeded" }]);
    for (kind, name, spec, status) in [
        ("Job", "j", json!({}), json!({})),
        ("Job", "some", json!({}), json!({ "failed": 3 })),
        ("Job", "all", json!({}), json!({ "failed": 3, "conditions": end })),
        ("CronJob", "bare", json!({ "schedule": "@daily" }), json!({})),
        ("CronJob", "odd", json!({ "schedule": "99 * * * *" }), json!({})),
        ("CronJob", "nowhere", json!({ "schedule": "@daily", "timeZone": "Mars/Base" }), json!({})),
    ] {
        let object =
            json!({ "metadata": { "name": name, "namespace": "shop" }, "spec": spec, "status": status });
        state::tell(kind, &object, &Metadata::default(), &mut samples);
    }
    let cron = json!({ "metadata": { "name": "tick", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:30Z",
            "labels": { "partOf": "shop" }, "annotations": { "owner/team": "a", "note": "b" } },
        "spec": { "schedule": "*/5 * * * *", "concurrencyPolicy": "Allow", "suspend": false, "timeZone": "Asia/Kolkata" },
        "status": { "active": [{}, {}], "lastScheduleTime": "2026-01-01T00:05:00Z" } });
    let annotations = Allowed::parse("cronjobs=[owner/team]").unwrap();
    state::tell("CronJob", &cron, &Metadata { annotations, ..Metadata::default() }, &mut samples);
    let waiting = json!({ "metadata": { "name": "nofit", "namespace": "shop", "uid": "u" }, "spec": {},
        "status": { "phase": "Pending", "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "lastTransitionTime": "1970-01-01T00:00:07Z" }] } });
    state::tell("Pod", &waiting, &Metadata::default(), &mut samples);
    for kind in ["ConfigMap", "Secret"] {
        let configuration = json!({ "metadata": { "name": "c", "namespace": "shop", "resourceVersion": "4711",
            "creationTimestamp": "1970-01-01T00:00:09Z", "labels": { "team": "a" } },
            "type": "Opaque", "data": { "password": "hunter2" } });
        state::tell(kind, &configuration, &Metadata::default(), &mut samples);
    }
    let all: Vec<(String, f64)> = crate::tests::labels_and_values(&samples.finish())
        .into_iter()
        .map(|(labels, value)| {
            (labels.without(|name| matches!(name, "instance" | "job" | "node")).to_string(), value)
        })
        .collect();
    for (series, value) in [
        ("kube_persistentvolume_capacity_bytes{persistentvolume=\"pv-1\"}", 10737418240.0),
        ("kube_persistentvolume_status_phase{persistentvolume=\"pv-1\", phase=\"Bound\"}", 1.0),
        ("kube_persistentvolume_status_phase{persistentvolume=\"pv-1\", phase=\"Released\"}", 0.0),
        (
            "kube_persistentvolume_claim_ref{claim_namespace=\"shop\", name=\"data\", persistentvolume=\"pv-1\"}",
            1.0,
        ),
        (
            "kube_persistentvolume_info{persistentvolume=\"pv-1\", reclaim_policy=\"Retain\", storageclass=\"gp3\"}",
            1.0,
        ),
        ("kube_persistentvolume_access_mode{access_mode=\"ReadWriteOnce\", persistentvolume=\"pv-1\"}", 1.0),
        (
            "kube_horizontalpodautoscaler_metadata_generation{horizontalpodautoscaler=\"cart\", namespace=\"shop\"}",
            0.0,
        ),
        (
            "kube_service_spec_type{namespace=\"shop\", service=\"web\", type=\"LoadBalancer\", uid=\"s\"}",
            1.0,
        ),
        (
            "kube_service_status_load_balancer_ingress{hostname=\"a.example\", namespace=\"shop\", service=\"web\", uid=\"s\"}",
            1.0,
        ),
        (
            "kube_resourcequota{namespace=\"shop\", resource=\"requests.cpu\", resourcequota=\"q\", type=\"hard\"}",
            1.5,
        ),
        (
            "kube_resourcequota{namespace=\"shop\", resource=\"requests.cpu\", resourcequota=\"q\", type=\"used\"}",
            1.0,
        ),
        (
            "kube_poddisruptionbudget_status_desired_healthy{namespace=\"shop\", poddisruptionbudget=\"b\"}",
            2.0,
        ),
        (
            "kube_statefulset_status_update_revision{namespace=\"shop\", revision=\"db-2\", statefulset=\"db\"}",
            1.0,
        ),
        (
            "kube_statefulset_persistentvolumeclaim_retention_policy{namespace=\"shop\", statefulset=\"db\", \
             when_deleted=\"Retain\", when_scaled=\"Delete\"}",
            1.0,
        ),
        (
            "kube_deployment_spec_strategy_rollingupdate_max_unavailable{deployment=\"web\", namespace=\"shop\"}",
            1.0,
        ),
        (
            "kube_deployment_spec_strategy_rollingupdate_max_surge{deployment=\"web\", namespace=\"shop\"}",
            2.0,
        ),
        ("kube_cronjob_status_active{cronjob=\"tick\", namespace=\"shop\"}", 2.0),
        (
            "kube_cronjob_info{concurrency_policy=\"Allow\", cronjob=\"tick\", namespace=\"shop\", schedule=\"*/5 * * * *\", timezone=\"Asia/Kolkata\"}",
            1.0,
        ),
        ("kube_cronjob_next_schedule_time{cronjob=\"tick\", namespace=\"shop\"}", 1_767_226_200.0),
        ("kube_cronjob_labels{cronjob=\"tick\", label_part_of=\"shop\", namespace=\"shop\"}", 1.0),
        ("kube_cronjob_annotations{annotation_owner_team=\"a\", cronjob=\"tick\", namespace=\"shop\"}", 1.0),
        ("kube_pod_status_unscheduled_time{namespace=\"shop\", pod=\"nofit\", uid=\"u\"}", 7.0),
        ("kube_pod_status_unschedulable{namespace=\"shop\", pod=\"nofit\", uid=\"u\"}", 1.0),
        ("kube_pod_status_phase{namespace=\"shop\", phase=\"Pending\", pod=\"nofit\", uid=\"u\"}", 1.0),
        ("kube_job_owner{job_name=\"j\", namespace=\"shop\"}", 1.0),
        (
            "kube_horizontalpodautoscaler_info{horizontalpodautoscaler=\"cart\", namespace=\"shop\", \
             scaletargetref_api_version=\"apps/v1\", scaletargetref_kind=\"Deployment\", scaletargetref_name=\"cart\"}",
            1.0,
        ),
        (
            "kube_horizontalpodautoscaler_spec_target_metric{horizontalpodautoscaler=\"cart\", metric_name=\"cpu\", \
             metric_target_type=\"utilization\", namespace=\"shop\"}",
            80.0,
        ),
        (
            "kube_horizontalpodautoscaler_spec_target_metric{horizontalpodautoscaler=\"cart\", metric_name=\"orders\", \
             metric_target_type=\"average\", namespace=\"shop\"}",
            1.5,
        ),
        (
            "kube_horizontalpodautoscaler_status_target_metric{horizontalpodautoscaler=\"cart\", metric_name=\"cpu\", \
             metric_target_type=\"average\", namespace=\"shop\"}",
            0.035,
        ),
        (
            "service_selector_labels{label_app_kubernetes_io_name=\"web\", namespace=\"shop\", service=\"web\"}",
            1.0,
        ),
        (
            "kube_service_info{cluster_ip=\"10.0.0.9\", external_traffic_policy=\"Local\", namespace=\"shop\", service=\"web\", uid=\"s\"}",
            1.0,
        ),
        (
            "kube_service_spec_external_ip{external_ip=\"10.0.0.8\", namespace=\"shop\", service=\"web\", uid=\"s\"}",
            1.0,
        ),
        ("kube_persistentvolume_volume_mode{persistentvolume=\"pv-1\", volumemode=\"Filesystem\"}", 1.0),
        ("kube_statefulset_ordinals_start{namespace=\"shop\", statefulset=\"db\"}", 3.0),
        ("kube_deployment_status_terminating_replicas{deployment=\"web\", namespace=\"shop\"}", 2.0),
        (
            "kube_cronjob_info{cronjob=\"bare\", namespace=\"shop\", schedule=\"@daily\", timezone=\"local\"}",
            1.0,
        ),
        ("kube_cronjob_schedule_invalid{cronjob=\"odd\", namespace=\"shop\"}", 1.0),
        ("kube_cronjob_schedule_invalid{cronjob=\"nowhere\", namespace=\"shop\"}", 1.0),
        ("kube_job_info{job_name=\"j\", namespace=\"shop\"}", 1.0),
        ("kube_job_status_failed{job_name=\"j\", namespace=\"shop\"}", 0.0),
        ("kube_job_status_failed{job_name=\"some\", namespace=\"shop\"}", 3.0),
        ("kube_job_status_failed{job_name=\"all\", namespace=\"shop\", reason=\"DeadlineExceeded\"}", 1.0),
        ("kube_job_status_failed{job_name=\"all\", namespace=\"shop\", reason=\"Evicted\"}", 0.0),
        ("kube_configmap_info{configmap=\"c\", namespace=\"shop\"}", 1.0),
        ("kube_configmap_created{configmap=\"c\", namespace=\"shop\"}", 9.0),
        ("kube_configmap_metadata_resource_version{configmap=\"c\", namespace=\"shop\"}", 4711.0),
        ("kube_configmap_labels{configmap=\"c\", label_team=\"a\", namespace=\"shop\"}", 1.0),
        ("kube_secret_info{namespace=\"shop\", secret=\"c\"}", 1.0),
        ("kube_secret_created{namespace=\"shop\", secret=\"c\"}", 9.0),
        ("kube_secret_metadata_resource_version{namespace=\"shop\", secret=\"c\"}", 4711.0),
        ("kube_secret_labels{label_team=\"a\", namespace=\"shop\", secret=\"c\"}", 1.0),
        ("kube_secret_owner{namespace=\"shop\", secret=\"c\"}", 1.0),
        ("kube_secret_type{namespace=\"shop\", secret=\"c\", type=\"Opaque\"}", 1.0),
    ] {
        assert!(all.contains(&(series.to_owned(), value)), "{series} {value} is not in {all:#?}");
    }
    assert!(!all.iter().any(|(series, _)| series.contains("hunter2")), "{all:#?}");
    for absent in
        ["kube_configmap_owner", "kube_configmap_type", "kube_cronjob_schedule_invalid{cronjob=\"bare"]
    {
        assert!(!all.iter().any(|(series, _)| series.starts_with(absent)), "{all:#?}");
    }
}

/// All that is told of some objects, without what tells who tells.
fn told_of(objects: &[(&str, Value)]) -> Vec<String> {
    let mut samples = Samples::new(0, "n1", false);
    objects.iter().for_each(|(kind, object)| state::tell(kind, object, &Metadata::default(), &mut samples));
    let all = crate::tests::labels_and_values(&samples.finish()).into_iter();
    let mut told: Vec<String> = all
        .map(|(labels, value)| {
            format!("{} {value}", labels.without(|name| matches!(name, "instance" | "job" | "node")))
        })
        .collect();
    told.sort();
    told
}

/// Labels, names and values as a kube-state-metrics beside a cluster tells them.
#[test]
fn what_pods_are_reached_by_is_told_as_kube_state_metrics_tells_it() {
    let metadata = |name: &str| json!({ "name": name, "namespace": "n", "resourceVersion": "7" });
    let slice = json!({ "metadata": metadata("s"), "addressType": "IPv4", "ports": [{ "name": "http", "protocol": "TCP", "port": 80 }, {}],
        "endpoints": [{ "addresses": ["10.0.0.1", "10.0.0.2"], "conditions": { "ready": true, "terminating": false }, "nodeName": "n1",
            "zone": "a", "targetRef": { "kind": "Pod", "name": "p", "namespace": "n" }, "hints": { "forZones": [{ "name": "a" }, { "name": "b" }] } },
            { "hints": { "forZones": [{ "name": "c" }] } }] });
    assert_eq!(
        told_of(&[("EndpointSlice", slice)]),
        [
            "kube_endpointslice_endpoints_hints{address=\"10.0.0.1\", endpointslice=\"s\", for_zone=\"a\", namespace=\"n\"} 1",
            "kube_endpointslice_endpoints_hints{address=\"10.0.0.1\", endpointslice=\"s\", for_zone=\"b\", namespace=\"n\"} 1",
            "kube_endpointslice_endpoints{address=\"10.0.0.1\", endpoint_nodename=\"n1\", endpoint_zone=\"a\", endpointslice=\"s\", \
             namespace=\"n\", ready=\"true\", targetref_kind=\"Pod\", targetref_name=\"p\", targetref_namespace=\"n\", terminating=\"false\"} 1",
            "kube_endpointslice_endpoints{address=\"10.0.0.2\", endpoint_nodename=\"n1\", endpoint_zone=\"a\", endpointslice=\"s\", \
             namespace=\"n\", ready=\"true\", targetref_kind=\"Pod\", targetref_name=\"p\", targetref_namespace=\"n\", terminating=\"false\"} 1",
            "kube_endpointslice_info{addresstype=\"IPv4\", endpointslice=\"s\", namespace=\"n\"} 1",
            "kube_endpointslice_labels{endpointslice=\"s\", namespace=\"n\"} 1",
            "kube_endpointslice_ports{endpointslice=\"s\", namespace=\"n\", port_name=\"http\", port_number=\"80\", port_protocol=\"TCP\"} 1",
            "kube_endpointslice_ports{endpointslice=\"s\", namespace=\"n\"} 1",
        ]
    );
    let resource = json!({ "resource": { "apiGroup": "g", "kind": "K", "name": "r" } });
    let ingress = json!({ "metadata": metadata("i"), "spec": { "tls": [{ "hosts": ["a.example"], "secretName": "t" }, { "secretName": "u" }],
        "rules": [{ "host": "a.example", "http": { "paths": [
            { "path": "/", "pathType": "Prefix", "backend": { "service": { "name": "web", "port": { "number": 80 } } } },
            { "path": "/r", "backend": resource }] } }, {}] } });
    let mut told = told_of(&[("Ingress", ingress.clone())]);
    told.retain(|series| !series.starts_with("kube_ingress_labels"));
    assert_eq!(
        told,
        [
            "kube_ingress_info{ingress=\"i\", ingressclass=\"_default\", namespace=\"n\"} 1",
            "kube_ingress_metadata_resource_version{ingress=\"i\", namespace=\"n\"} 7",
            "kube_ingress_path{host=\"a.example\", ingress=\"i\", namespace=\"n\", path=\"/\", path_type=\"Prefix\", \
             service_name=\"web\", service_port=\"80\"} 1",
            "kube_ingress_path{host=\"a.example\", ingress=\"i\", namespace=\"n\", path=\"/r\", resource_api_group=\"g\", \
             resource_kind=\"K\", resource_name=\"r\"} 1",
            "kube_ingress_tls{ingress=\"i\", namespace=\"n\", secret=\"t\", tls_host=\"a.example\"} 1",
        ]
    );
    let mut classed = ingress;
    classed["spec"]["ingressClassName"] = json!("new");
    assert!(told_of(&[("Ingress", classed.clone())])[0].contains("ingressclass=\"new\""));
    classed["metadata"]["annotations"] = json!({ "kubernetes.io/ingress.class": "old" });
    assert!(told_of(&[("Ingress", classed)])[0].contains("ingressclass=\"old\""));
    let policy = json!({ "metadata": metadata("p"), "spec": { "ingress": [{}, {}] } });
    let told = told_of(&[("NetworkPolicy", policy)]);
    for series in [
        "kube_networkpolicy_spec_egress_rules{namespace=\"n\", networkpolicy=\"p\"} 0",
        "kube_networkpolicy_spec_ingress_rules{namespace=\"n\", networkpolicy=\"p\"} 2",
    ] {
        assert!(told.iter().any(|one| one == series), "{told:#?}");
    }
}

#[test]
fn what_the_api_server_works_with_is_told_as_kube_state_metrics_tells_it() {
    let created = "1970-01-01T00:00:09Z";
    let lease = |owners: Value| {
        json!({ "metadata": { "name": "l", "namespace": "n", "creationTimestamp": created, "ownerReferences": owners },
            "spec": { "holderIdentity": "h", "renewTime": "1970-01-01T00:00:11.250000Z" } })
    };
    let owned = lease(json!([{ "kind": "Node", "name": "n1" }]));
    let renewed = "kube_lease_renew_time{lease=\"l\", namespace=\"n\"} 11";
    assert_eq!(
        told_of(&[("Lease", owned)]),
        [
            "kube_lease_owner{lease=\"l\", lease_holder=\"h\", namespace=\"n\", owner_kind=\"Node\", owner_name=\"n1\"} 1",
            renewed
        ]
    );
    assert_eq!(
        told_of(&[("Lease", lease(json!([])))]),
        ["kube_lease_owner{lease=\"l\", lease_holder=\"h\", namespace=\"n\"} 1", renewed]
    );
    // "four" in base64.
    let request = json!({ "metadata": { "name": "c" }, "spec": { "signerName": "s" },
        "status": { "certificate": "Zm91cg==", "conditions": [{ "type": "Approved" }] } });
    let of_request = "certificatesigningrequest=\"c\"";
    assert_eq!(
        told_of(&[("CertificateSigningRequest", request)]),
        [
            format!("kube_certificatesigningrequest_cert_length{{{of_request}, signer_name=\"s\"}} 4"),
            format!(
                "kube_certificatesigningrequest_condition{{{of_request}, condition=\"approved\", signer_name=\"s\"}} 1"
            ),
            format!(
                "kube_certificatesigningrequest_condition{{{of_request}, condition=\"denied\", signer_name=\"s\"}} 0"
            ),
            format!(
                "kube_certificatesigningrequest_condition{{{of_request}, condition=\"failed\", signer_name=\"s\"}} 0"
            ),
            format!("kube_certificatesigningrequest_labels{{{of_request}, signer_name=\"s\"}} 1"),
        ]
    );
    let webhooks = json!({ "metadata": { "name": "w", "resourceVersion": "7", "labels": { "a": "b" } }, "webhooks": [
        { "name": "one", "clientConfig": { "service": { "name": "s", "namespace": "n" } } }, { "name": "two" }] });
    let of_webhook = "kube_mutatingwebhookconfiguration";
    assert_eq!(
        told_of(&[("MutatingWebhookConfiguration", webhooks)]),
        [
            format!("{of_webhook}_info{{mutatingwebhookconfiguration=\"w\"}} 1"),
            format!("{of_webhook}_metadata_resource_version{{mutatingwebhookconfiguration=\"w\"}} 7"),
            format!(
                "{of_webhook}_webhook_clientconfig_service{{mutatingwebhookconfiguration=\"w\", service_name=\"s\", \
                 service_namespace=\"n\", webhook_name=\"one\"}} 1"
            ),
            format!(
                "{of_webhook}_webhook_clientconfig_service{{mutatingwebhookconfiguration=\"w\", webhook_name=\"two\"}} 1"
            ),
        ]
    );
}

/// Rules alert on the share of lists and watches that fail: a right that is not given on purpose would alert for ever.
#[tokio::test]
async fn a_kind_that_is_refused_or_not_there_is_left_out_and_no_mistake() {
    let world = world().await;
    let at = WATCHED.iter().position(|(kind, _)| *kind == "Job").unwrap();
    let (kind, path) = WATCHED[at];
    let listed = world.cluster.list(at, kind, path).await;
    assert!(matches!(listed, Err(Trouble::Absent)), "this server has no such kind: {listed:?}");
    let refused = Err::<(), _>(Trouble::Forbidden("no".into()));
    let failed = Err(Trouble::Other("503".into()));
    let went: Vec<_> = [listed, refused, failed, Ok(())].iter().map(went_well).collect();
    assert_eq!(went, [None, None, Some(false), Some(true)]);
}

#[test]
fn policies_of_admission_are_told_as_kube_state_metrics_tells_them() {
    let policy = json!({ "metadata": { "name": "p", "labels": { "a": "b" } }, "spec": { "failurePolicy": "Fail",
        "paramKind": { "apiVersion": "v1", "kind": "ConfigMap" } } });
    let binding = json!({ "metadata": { "name": "b" }, "spec": { "policyName": "p", "validationActions": ["Deny", "Audit"],
        "paramRef": { "name": "c", "parameterNotFoundAction": "Allow" } } });
    let of = "kube_validatingadmissionpolicybinding";
    assert_eq!(
        told_of(&[("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding)]),
        [
            "kube_validatingadmissionpolicy_info{failure_policy=\"Fail\", param_api_version=\"v1\", param_kind=\"ConfigMap\", \
             validatingadmissionpolicy=\"p\"} 1"
                .to_owned(),
            format!(
                "{of}_info{{param_name=\"c\", param_not_found_action=\"Allow\", policy_name=\"p\", \
                 validatingadmissionpolicybinding=\"b\"}} 1"
            ),
            format!("{of}_validation_action{{action=\"Audit\", validatingadmissionpolicybinding=\"b\"}} 1"),
            format!("{of}_validation_action{{action=\"Deny\", validatingadmissionpolicybinding=\"b\"}} 1"),
        ]
    );
}

#[test]
fn conditions_of_namespaces_and_claims_and_ranges_of_nodes_are_told_as_kube_state_metrics_tells_them() {
    let status = json!({ "conditions": [{ "type": "C", "status": "True" }] });
    let space = json!({ "metadata": { "name": "going" }, "status": status });
    let class = json!({ "volume.beta.kubernetes.io/storage-class": "old" });
    let claim = json!({ "metadata": { "name": "data", "namespace": "n", "annotations": class },
        "spec": { "storageClassName": "new" }, "status": status });
    let node = json!({ "metadata": { "name": "n2" }, "spec": { "podCIDRs": ["10.0.2.0/24", "fd00::/64"] } });
    let told = told_of(&[("Namespace", space), ("PersistentVolumeClaim", claim), ("Node", node)]);
    for series in [
        "kube_namespace_status_condition{condition=\"C\", namespace=\"going\", status=\"true\"} 1",
        "kube_namespace_status_condition{condition=\"C\", namespace=\"going\", status=\"unknown\"} 0",
        "kube_persistentvolumeclaim_status_condition{condition=\"C\", namespace=\"n\", persistentvolumeclaim=\"data\", \
         status=\"true\"} 1",
        "kube_persistentvolumeclaim_info{namespace=\"n\", persistentvolumeclaim=\"data\", storageclass=\"old\"} 1",
        "kube_node_spec_pod_cidrs{pod_cidr=\"10.0.2.0/24\"} 1",
        "kube_node_spec_pod_cidrs{pod_cidr=\"fd00::/64\"} 1",
    ] {
        assert!(told.iter().any(|one| one == series), "{series} is not in {told:#?}");
    }
}

#[test]
fn limits_controllers_and_what_volumes_are_made_by_are_told_as_kube_state_metrics_tells_them() {
    let limits = json!({ "metadata": { "name": "l", "namespace": "n" }, "spec": { "limits": [
        { "type": "Container", "max": { "cpu": "1500m" }, "defaultRequest": { "memory": "1Ki" } }] } });
    assert_eq!(
        told_of(&[("LimitRange", limits)]),
        [
            "kube_limitrange{constraint=\"defaultRequest\", limitrange=\"l\", namespace=\"n\", resource=\"memory\", type=\"Container\"} 1024",
            "kube_limitrange{constraint=\"max\", limitrange=\"l\", namespace=\"n\", resource=\"cpu\", type=\"Container\"} 1.5",
        ]
    );
    let controller =
        json!({ "metadata": { "name": "r", "namespace": "n", "generation": 2 }, "spec": { "replicas": 3 } });
    let told = told_of(&[("ReplicationController", controller)]);
    assert_eq!(told.len(), 8, "{told:#?}");
    for series in [
        "spec_replicas{namespace=\"n\", replicationcontroller=\"r\"} 3",
        "owner{namespace=\"n\", replicationcontroller=\"r\"} 1",
    ] {
        assert!(told.contains(&format!("kube_replicationcontroller_{series}")), "{told:#?}");
    }
    let class = json!({ "metadata": { "name": "fast" }, "provisioner": "p" });
    assert_eq!(
        told_of(&[("StorageClass", class)]),
        [
            "kube_storageclass_info{provisioner=\"p\", reclaim_policy=\"Delete\", storageclass=\"fast\", \
             volume_binding_mode=\"Immediate\"} 1",
            "kube_storageclass_labels{storageclass=\"fast\"} 1",
        ]
    );
    let attachment = json!({ "metadata": { "name": "v", "labels": { "team": "a" } }, "spec": { "attacher": "csi", "nodeName": "n2",
        "source": { "persistentVolumeName": "pv" } }, "status": { "attached": true, "attachmentMetadata": { "devicePath": "/dev/x" } } });
    let mut samples = Samples::new(0, "n1", false);
    state::tell("VolumeAttachment", &attachment, &Metadata::default(), &mut samples);
    let told = crate::tests::labels_and_values(&samples.finish());
    let label = |metric: &str, name: &str| {
        let found = told.iter().find(|(labels, value)| labels.metric_name() == metric && *value == 1.0);
        found.and_then(|(labels, _)| labels.get(name)).map(str::to_owned)
    };
    for (metric, name, value) in [
        ("info", "attacher", "csi"),
        // As there, whoever tells it.
        ("info", "node", "n2"),
        ("labels", "label_team", "a"),
        ("spec_source_persistentvolume", "volumename", "pv"),
        ("status_attached", "volumeattachment", "v"),
        ("status_attachment_metadata", "metadata_device_path", "/dev/x"),
    ] {
        assert_eq!(
            label(&format!("kube_volumeattachment_{metric}"), name).as_deref(),
            Some(value),
            "{metric}"
        );
    }
    assert_eq!(told.len(), 5, "{told:?}");
}

#[tokio::test]
async fn a_change_is_told_when_the_lease_says_so_and_by_its_holder_alone() {
    let world = world().await;
    let mut one = Candidate::new("one".into());
    assert!(world.renew(&mut one).await);
    watched(&world, "Deployment", &[deployment("9", 1)], "MODIFIED", deployment("10", 2)).await;
    let queued = || crate::tests::queued_lines(&world.cluster.queue);
    assert_eq!(queued(), [""; 0], "who is killed now leaves it to the next");
    // The lease shall say so soon.
    let news = tokio::time::timeout(Duration::from_secs(5), world.cluster.news.notified());
    assert!(news.await.is_ok());
    assert!(world.renew(&mut one).await);
    let told = ["Deployment cart is scaled from 1 to 2"];
    assert_eq!(queued(), told);
    assert!(!world.cluster.path.exists());
    // It stood still, and another holds the lease before it notices.
    world.server.lease.lock().as_mut().unwrap()["spec"]["holderIdentity"] = json!("two");
    watched(&world, "Deployment", &[deployment("10", 2)], "MODIFIED", deployment("12", 3)).await;
    let annotations =
        || world.server.lease.lock().as_ref().map(|lease| lease["metadata"]["annotations"].clone());
    let before = annotations();
    world.server.lease.lock().as_mut().unwrap()["metadata"]["resourceVersion"] = json!("99");
    assert!(!world.renew(&mut one).await);
    assert_eq!(world.changes(), told);
    assert_eq!(annotations(), before, "nor says that it did");
}

/// A deployment that is deleted is in no list.
#[tokio::test]
async fn a_term_goes_on_where_nobody_else_held_the_lease_meanwhile() {
    let world = world().await;
    let mut one = Candidate::new("one".into());
    assert!(world.renew(&mut one).await);
    watched(&world, "Deployment", &[deployment("9", 1)], "DELETED", deployment("10", 1)).await;
    // The API server was away for longer than the lease lasts.
    world.cluster.counts.leads.store(0, Ordering::Relaxed);
    let at = WATCHED.iter().position(|(kind, _)| *kind == "Deployment").unwrap();
    let version = world.cluster.known[at].lock().version.clone();
    assert!(world.renew(&mut one).await);
    let queued = || crate::tests::queued_lines(&world.cluster.queue);
    assert_eq!(queued(), ["Deployment cart is deleted"]);
    assert_eq!(world.cluster.known[at].lock().version, version);
    // Another held it, and gave it back.
    watched(&world, "Deployment", &[deployment("11", 1)], "MODIFIED", deployment("12", 2)).await;
    world.cluster.counts.leads.store(0, Ordering::Relaxed);
    {
        let lease = &mut *world.server.lease.lock();
        let lease = lease.as_mut().unwrap();
        lease["spec"]["holderIdentity"] = json!("");
        lease["metadata"]["resourceVersion"] = json!("99");
    }
    assert!(world.renew(&mut one).await);
    assert_eq!(world.changes().len(), 1, "what it told is not told again");
    assert_eq!(world.cluster.known[at].lock().version, "");
}

/// At any moment: before the lease says that a change is told, and after.
#[tokio::test]
async fn who_was_killed_tells_what_its_last_lease_said_and_the_next_holder_the_rest() {
    let change = (deployment("9", 1), deployment("10", 2));
    let told = ["Deployment cart is scaled from 1 to 2"];
    for says_so in [false, true] {
        let expected: &[&str] = if says_so { &told } else { &[] };
        let world = world().await;
        let mut one = Candidate::new("one".into());
        assert!(world.renew(&mut one).await);
        watched(&world, "Deployment", std::slice::from_ref(&change.0), "MODIFIED", change.1.clone()).await;
        // The request is on its way, and its answer is never seen.
        let lease = world.server.lease.lock().clone().unwrap();
        world.cluster.will_replace(&lease).await;
        let next = one.decide(&lease, Instant::now(), "2026-01-01T00:00:00Z", &world.cluster.note());
        if let (true, lease::Step::Write(next)) = (says_so, next) {
            *world.server.lease.lock() = Some(next);
        }
        let settings = world.cluster.settings.clone();
        let config = world.cluster.config.clone();
        let place = (world.cluster.host.clone(), world.cluster.queue.clone());
        let clock = Arc::new(model::SystemClock);
        let again = Cluster::new(&settings, &config, place, clock, Panics::default()).unwrap();
        assert_eq!(again.campaign(&mut Candidate::new("another".into())).await, Ok(false));
        let queued = || crate::tests::queued_lines(&world.cluster.queue);
        assert_eq!(queued(), expected);
        let until = lease::told(&world.server.lease.lock().clone().unwrap());
        let version = until.get("Deployment").map(|until| until.version);
        assert_eq!(version, says_so.then_some(10), "who comes next tells what is later");
        // Killed while it queued it: it is there, and not written down as told.
        let lease = world.server.lease.lock().clone().unwrap();
        let held = world.cluster.told.lock().held.to_bytes().unwrap();
        std::fs::write(&world.cluster.path, held).unwrap();
        let place = (world.cluster.host.clone(), world.cluster.queue.clone());
        let clock = Arc::new(model::SystemClock);
        let again = Cluster::new(&settings, &config, place, clock, Panics::default()).unwrap();
        again.settle(&lease).await;
        assert_eq!(queued(), expected);
    }
}

#[test]
fn a_refusal_is_asked_about_again_soon_and_then_seldom() {
    let soon = Duration::from_secs(1);
    assert!(refused(1) <= soon && refused(4) > soon, "an API server that has just started refuses everybody");
    assert_eq!((refused(8), refused(u32::MAX)), (FORBIDDEN_WAIT, FORBIDDEN_WAIT));
}
