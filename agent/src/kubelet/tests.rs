use super::*;
use crate::tests::labels_and_values;
use std::collections::HashMap;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// Status and body by path.
type Answers = Mutex<HashMap<&'static str, (u16, &'static str)>>;

/// A kubelet over TLS: answers by path, to one token only, and refuses as the real one does.
struct World {
    answers: Arc<Answers>,
    address: std::net::SocketAddr,
    dir: tempfile::TempDir,
}

fn answer(known: &Answers, path: &str) -> (u16, &'static str) {
    known.lock().get(path).copied().unwrap_or((404, "404 page not found"))
}

const PODS: &str = r#"{"kind":"PodList","items":[
  {"metadata":{"name":"cart-7d9f8b6c5d-x2x9z","namespace":"shop","uid":"0f8fad5b-d9cb-469f-a165-70867728950e",
    "labels":{"pod-template-hash":"7d9f8b6c5d"},"managedFields":[{"x":1}],
    "ownerReferences":[{"kind":"ReplicaSet","name":"cart-7d9f8b6c5d","controller":true}]},
   "spec":{"nodeName":"node1","containers":[{"name":"app","image":"shop/cart:1.2"}]},
   "status":{"phase":"Running","containerStatuses":[{"name":"app","image":"shop/cart:1.2","restartCount":1,
     "containerID":"containerd://8bf60f676daa9b8ba8118641aa7ceb8888a2de0fc4ffecc60bf9d85b794ccb4d",
     "state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}},"lastState":{}}]}}]}"#;

impl World {
    async fn new(answers: &[(&'static str, u16, &'static str)]) -> World {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), include_str!("tests/ca.pem")).unwrap();
        std::fs::write(dir.path().join("token"), "first\n").unwrap();
        let certificate = CertificateDer::from_pem_slice(include_bytes!("tests/cert.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tests/key.pem")).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = answers.iter().map(|(path, status, body)| (*path, (*status, *body))).collect();
        let answers: Arc<Answers> = Arc::new(Mutex::new(answers));
        let known = answers.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = vec![];
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                        break;
                    }
                    request.push(byte[0]);
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                let path = request.split(' ').nth(1).unwrap_or("").to_owned();
                let (status, body) =
                    match request.contains("Bearer second") || request.contains("bearer second") {
                        true => answer(&known, &path),
                        false => (401, "Unauthorized"),
                    };
                let head = format!(
                    "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        World { answers, address, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn settings(&self, trust: Trust) -> Settings {
        Settings { url: format!("https://{}/", self.address), token_file: self.path("token"), trust }
    }

    fn trusted(&self) -> Client {
        Client::new(&self.settings(Trust::CaFile(self.path("ca.pem")))).unwrap()
    }
}

#[tokio::test]
async fn the_token_is_read_anew_and_the_certificate_is_checked() {
    let world = World::new(&[("/pods", 200, PODS)]).await;
    let client = world.trusted();
    let refused = client.get("/pods").await.unwrap_err();
    assert!(refused.starts_with("401: it does not know the token in"), "{refused}");
    std::fs::write(world.path("token"), "second\n").unwrap();
    assert_eq!(client.get("/pods").await.unwrap(), PODS.as_bytes());
    let doubts = Client::new(&world.settings(Trust::System)).unwrap().get("/pods").await.unwrap_err();
    assert!(doubts.contains("--kubelet-ca-file"), "{doubts}");
    assert!(Client::new(&world.settings(Trust::Anyone)).unwrap().get("/pods").await.is_ok());
    std::fs::write(world.path("token"), "\n").unwrap();
    assert!(client.get("/pods").await.unwrap_err().contains("is empty"), "it asks as nobody");
    std::fs::remove_file(world.path("token")).unwrap();
    let untold = client.get("/pods").await.unwrap_err();
    assert!(untold.contains("cannot be read") && untold.contains("--kubelet-token-file"), "{untold}");
    let absent = Trust::CaFile(world.path("absent"));
    assert!(Client::new(&world.settings(absent)).is_err());
}

#[tokio::test]
async fn an_authority_that_is_changed_is_believed_without_a_restart() {
    let world = World::new(&[("/pods", 200, PODS)]).await;
    std::fs::write(world.path("token"), "second").unwrap();
    // Its own certificate is none that it hangs on.
    std::fs::write(world.path("ca.pem"), include_str!("tests/cert.pem")).unwrap();
    let client = world.trusted();
    let doubts = client.get("/pods").await.unwrap_err();
    assert!(doubts.contains("--kubelet-ca-file"), "{doubts}");
    std::fs::write(world.path("ca.pem"), include_str!("tests/ca.pem")).unwrap();
    assert_eq!(client.get("/pods").await.unwrap(), PODS.as_bytes());
    // Nothing or half of it is written, or it is not there for a moment: what was stays.
    for half in ["", "-----BEGIN CERTIFICATE-----\nMIIB"] {
        std::fs::write(world.path("ca.pem"), half).unwrap();
        assert!(client.get("/pods").await.is_ok());
    }
    std::fs::remove_file(world.path("ca.pem")).unwrap();
    assert!(client.get("/pods").await.is_ok());
}

#[tokio::test]
async fn a_refusal_names_the_right_that_is_missing() {
    const SAID: &str = "Forbidden (user=system:serviceaccount:default:agent, verb=get, resource=nodes, subresource(s)=[stats])";
    let world = World::new(&[("/stats/summary", 403, SAID), ("/pods", 500, "disk")]).await;
    std::fs::write(world.path("token"), "second").unwrap();
    let why = world.trusted().get("/stats/summary").await.unwrap_err();
    assert!(why.contains("`get` on `nodes/stats`") && why.ends_with(SAID), "{why}");
    let why = world.trusted().get("/pods").await.unwrap_err();
    assert!(why.starts_with("500") && why.ends_with("disk"), "{why}");
}

#[tokio::test]
async fn pods_of_the_kubelet_name_containers() {
    let world = World::new(&[("/pods", 200, PODS)]).await;
    std::fs::write(world.path("token"), "second").unwrap();
    let config = Config { data_dir: world.path("data"), ..Config::default() };
    let queue = Arc::new(Queue::open(world.path("queue"), 64 << 20).unwrap());
    let place = (Arc::new(Host::of(world.dir.path())), queue.clone());
    let pods = Pods::default();
    let of_pods = (pods.clone(), Arc::new(Evictions::new(&config, place.clone(), 0).await));
    let settings = world.settings(Trust::CaFile(world.path("ca.pem")));
    let mut kubelet = Kubelet::new(&settings, &config, place, of_pods, Arc::new(model::SystemClock)).unwrap();
    kubelet.look().await;
    kubelet.measure().await;
    let known = pods.container("8bf60f676daa9b8ba8118641aa7ceb8888a2de0fc4ffecc60bf9d85b794ccb4d").unwrap();
    assert_eq!((known.name.as_str(), known.image.as_str()), ("app", "shop/cart:1.2"));
    assert_eq!(known.pod.workload(), Some(("Deployment", "cart".to_owned())));
    let failed: Vec<_> = kubelet
        .counts()
        .readings()
        .into_iter()
        .filter(|reading| reading.name.contains("failures"))
        .map(|reading| reading.value)
        .collect();
    assert_eq!(failed, [0.0, 1.0], "the summary was not there");
}

#[tokio::test]
async fn a_list_without_the_pod_that_asks_is_not_whole() {
    const OTHER: &str = r#"{"items":[{"metadata":{"name":"web","namespace":"shop","uid":"u1"}}]}"#;
    const BOTH: &str = r#"{"items":[{"metadata":{"name":"web","namespace":"shop","uid":"u1"}},
      {"metadata":{"name":"agent-x","namespace":"binnacle","uid":"u2"}}]}"#;
    const US: &str = r#"{"items":[{"metadata":{"name":"agent-x","namespace":"binnacle","uid":"u2"}}]}"#;
    let world = World::new(&[]).await;
    std::fs::write(world.path("token"), "second").unwrap();
    let queue = Arc::new(Queue::open(world.path("queue"), 64 << 20).unwrap());
    let pod_labels = vec![("namespace", "binnacle".to_owned()), ("pod", "agent-x".to_owned())];
    let place = (Arc::new(Host { pod_labels, ..Host::of(world.dir.path()) }), queue);
    let settings = world.settings(Trust::CaFile(world.path("ca.pem")));
    let (clock, config, pods) = (Arc::new(model::SystemClock), Config::default(), Pods::default());
    let of_pods = (pods.clone(), Arc::new(Evictions::new(&config, place.clone(), 0).await));
    let mut kubelet = Kubelet::new(&settings, &config, place, of_pods, clock).unwrap();
    // Where it never names us the address of another kubelet was given, which is to be believed as it is.
    for (list, known) in [
        (OTHER, 1),
        (BOTH, 2),
        (r#"{"items":[]}"#, 2),
        (OTHER, 2),
        (US, 1),
        (r#"{"items":[]}"#, 1),
        (BOTH, 2),
    ] {
        world.answers.lock().insert("/pods", (200, list));
        kubelet.look().await;
        assert_eq!(pods.all().len(), known, "{list}");
    }
}

#[tokio::test]
async fn a_volume_ends_by_a_summary_without_it_and_not_by_none() {
    const SUMMARY: &str = "/stats/summary";
    const TWO: &str = r#"{"pods":[
      {"podRef":{"name":"db-0","namespace":"shop"},"volume":[{"name":"data","usedBytes":7}]},
      {"podRef":{"name":"db-1","namespace":"shop"},"volume":[{"name":"data","usedBytes":8}]}]}"#;
    const ONE: &str = r#"{"pods":[{"podRef":{"name":"db-1","namespace":"shop"},"volume":[{"name":"data","usedBytes":9}]}]}"#;
    let world = World::new(&[]).await;
    std::fs::write(world.path("token"), "second").unwrap();
    let queue = Arc::new(Queue::open(world.path("queue"), 64 << 20).unwrap());
    let place = (Arc::new(Host::of(world.dir.path())), queue.clone());
    let settings = world.settings(Trust::CaFile(world.path("ca.pem")));
    let (clock, config) = (Arc::new(model::SystemClock), Config::default());
    let of_pods = (Pods::default(), Arc::new(Evictions::new(&config, place.clone(), 0).await));
    let mut kubelet = Kubelet::new(&settings, &config, place, of_pods, clock).unwrap();
    for (status, body) in [(200, TWO), (503, "busy"), (200, "no JSON"), (200, TWO), (200, ONE), (200, ONE)] {
        world.answers.lock().insert(SUMMARY, (status, body));
        kubelet.measure().await;
    }
    let pods = |series: &[String]| -> Vec<String> {
        let used = series.iter().filter(|one| one.starts_with("binnacle_pod_volume_used_bytes{"));
        used.filter_map(|one| Some(one.split("pod=\"").nth(1)?.split('"').next()?.to_owned())).collect()
    };
    let collections: Vec<_> =
        crate::tests::queued_metrics(&queue).iter().map(crate::tests::told_and_ended).collect();
    let (both, second) = (vec!["db-0".to_owned(), "db-1".to_owned()], vec!["db-1".to_owned()]);
    let found: Vec<_> = collections.iter().map(|(told, ended)| (pods(told), pods(ended))).collect();
    let none = vec![];
    let expected = [
        (both.clone(), none.clone()),
        (both, none.clone()),
        (second.clone(), vec!["db-0".to_owned()]),
        (second, none),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_pod_that_is_drained_away_is_told_once() {
    const EVICTED: &str = r#"{"items":[{"metadata":{"name":"cart-0","namespace":"shop","uid":"u"},
      "status":{"conditions":[{"type":"DisruptionTarget","status":"True","reason":"EvictionByEvictionAPI",
        "lastTransitionTime":"2200-01-01T00:00:00Z"}]}}]}"#;
    let world = World::new(&[("/pods", 200, EVICTED)]).await;
    std::fs::write(world.path("token"), "second").unwrap();
    let queue = Arc::new(Queue::open(world.path("queue"), 64 << 20).unwrap());
    let place = (Arc::new(Host::of(world.dir.path())), queue.clone());
    let settings = world.settings(Trust::CaFile(world.path("ca.pem")));
    let config = Config { data_dir: world.path("data"), ..Config::default() };
    let clock = Arc::new(model::SystemClock);
    let of_pods = (Pods::default(), Arc::new(Evictions::new(&config, place.clone(), clock.now_ns()).await));
    let mut kubelet = Kubelet::new(&settings, &config, place, of_pods, clock).unwrap();
    kubelet.look().await;
    kubelet.look().await;
    let told = crate::tests::queued_lines(&queue);
    assert!(told.len() == 1 && told[0].starts_with("Pod cart-0 is evicted from node"), "{told:?}");
}

#[test]
fn its_metrics_are_jobs_with_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        url: "https://10.0.0.7:10250".into(),
        token_file: "token".into(),
        trust: Trust::CaFile("pki/ca".into()),
    };
    let host = Host::of(dir.path());
    let mut config = Config::default();
    let jobs = scrape_jobs(&settings, &host, &config);
    let paths: Vec<&str> = jobs.iter().map(|job| job.metrics_path.as_str()).collect();
    assert_eq!(paths, ["/metrics", "/metrics/resource", "/metrics/probes", "/metrics/cadvisor"]);
    assert!(jobs.iter().all(|job| job.track_timestamps), "series of a pod end with it");
    // From the folder that the agent was started in.
    let here = std::env::current_dir().unwrap();
    assert_eq!(jobs[0].client.tls.ca_file, Some(here.join("pki/ca")));
    let job_of_last = |config: &Config| {
        let jobs = scrape_jobs(&settings, &host, config);
        let (_, labels) = scrape::targets_of(&jobs[3]).remove(0);
        labels.split("job=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    assert_eq!(job_of_last(&config), "cadvisor");
    config.job_names = crate::JobNames::parse("kube-prometheus").unwrap();
    assert_eq!(job_of_last(&config), "kubelet");
    // Where groups are read there is nothing left to ask cAdvisor for.
    std::fs::create_dir_all(dir.path().join("sys/fs/cgroup/memory")).unwrap();
    assert_eq!(scrape_jobs(&settings, &host, &config).len(), 3);
}

/// A real kubelet's answers, where they lie beside the checkout.
fn recorded(path: &str) -> Option<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/kubernetes");
    let found = std::fs::read(folder.join(path)).ok();
    if found.is_none() {
        println!("no {}: recorded answers were not read", folder.join(path).display());
    }
    found
}

#[test]
fn a_real_summary_tells_file_systems_only() {
    for version in ["kubelet-cgroup-v1/tok_stats_summary", "kubelet-cgroup-v2/stats_summary"] {
        let Some(body) = recorded(version) else { return };
        let mut samples = Samples::new(1, "node1", true);
        summary::tell(&summary::parse(&body).unwrap(), &mut samples);
        let all = labels_and_values(&samples.finish());
        let names: std::collections::BTreeSet<&str> =
            all.iter().map(|(labels, _)| labels.metric_name()).collect();
        assert!(names.contains("container_fs_usage_bytes") && names.contains("container_fs_limit_bytes"));
        assert!(!names.iter().any(|name| name.contains("cpu") || name.contains("pressure")), "{names:?}");
        assert!(all.iter().any(|(labels, value)| labels.metric_name() == "container_fs_usage_bytes"
            && labels.get("container") == Some("app")
            && *value > 0.0));
    }
}

#[test]
fn real_pods_have_their_containers_and_states() {
    let Some(body) = recorded("kubelet-cgroup-v1/tok_pods") else { return };
    let list: PodList = serde_json::from_slice(&body).unwrap();
    let shop = list.items.iter().find(|pod| pod.metadata.name == "shop").unwrap();
    assert_eq!(shop.statuses().count(), 3, "init containers too");
    let crash = shop.status_of("crash").unwrap();
    assert_eq!(crash.last_state.terminated.as_ref().unwrap().exit_code, 7);
    let web = list.items.iter().find(|pod| pod.metadata.name == "web-node1").unwrap();
    assert_eq!(web.folder_uid(), "73ab2dd5d7eb07d8c0fe169a240a62b8");
    assert_eq!(web.status_of("oom").unwrap().last_state.terminated.as_ref().unwrap().reason, "OOMKilled");
}

#[test]
fn of_a_refusal_its_words_are_told() {
    let status = br#"{"kind":"Status","message":"services is forbidden","reason":"Forbidden","code":403}"#;
    assert_eq!(client::beginning(status), "services is forbidden");
    assert_eq!(client::beginning(b" no\n"), "no");
    let long = "\u{e9}".repeat(300);
    assert_eq!(client::beginning(long.as_bytes()), "\u{e9}".repeat(150));
}
