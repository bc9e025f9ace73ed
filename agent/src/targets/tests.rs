//! What is scraped of pods, monitors and services as API servers and kubelets write them.

use super::known::{Kind, Objects};
use super::*;
use crate::panics::Panics;
use crate::pods::Pod;
use crate::queue::Queue;
use model::SystemClock;
use serde_json::{Value, json};

fn pod(metadata: Value, spec: Value) -> Arc<Pod> {
    let status = json!({ "phase": "Running", "podIP": "10.1.2.3", "hostIP": "192.168.0.7" });
    let pod = json!({ "metadata": metadata, "spec": spec, "status": status });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn place() -> Place {
    Place { node: "n1".into(), interval: Duration::from_secs(15) }
}

fn access() -> Access {
    Access {
        token_file: Some("/token".into()),
        ca_file: Some("/ca.crt".into()),
        cluster: Some("https://10.0.0.1:443".into()),
        api_server_job: "kube-apiserver".into(),
        host_root: "/host".into(),
    }
}

/// What the jobs come to: URL and labels of each target, through the relabelling that they have.
fn scraped(jobs: Vec<Value>) -> Vec<(String, String)> {
    let text = json!({ "scrape_configs": jobs }).to_string();
    let jobs = scrape::parse_jobs(&text, Path::new("/")).unwrap().jobs;
    let mut found: Vec<_> = jobs.iter().flat_map(scrape::targets_of).collect();
    found.sort();
    found
}

fn only(jobs: Vec<Value>) -> (String, String) {
    let mut found = scraped(jobs);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

fn cart(annotations: Value) -> Arc<Pod> {
    pod(
        json!({ "name": "cart-0", "namespace": "shop", "uid": "u", "annotations": annotations,
            "labels": { "app": "cart", "app.kubernetes.io/name": "cart" } }),
        json!({ "nodeName": "n1", "containers": [
            { "name": "cart", "ports": [
                { "name": "http", "containerPort": 8080 }, { "name": "metrics", "containerPort": 9090 },
                { "name": "dns", "containerPort": 53, "protocol": "UDP" }] },
        ] }),
    )
}

#[test]
fn annotations_say_port_path_scheme_and_parameters() {
    let job = |annotations: Value| annotations::job(&[cart(annotations)], &place()).into_iter().collect();
    let labels = "{app=\"cart\", app_kubernetes_io_name=\"cart\", container=\"cart\", instance=\"10.1.2.3:9090\", \
        job=\"kubernetes-pods\", namespace=\"shop\", node=\"n1\", pod=\"cart-0\"}";
    let all = json!({ "prometheus.io/scrape": "true", "prometheus.io/port": "9090", "prometheus.io/path": "/m",
        "prometheus.io/scheme": "https", "prometheus.io/param_format": "x" });
    assert_eq!(only(job(all)), ("https://10.1.2.3:9090/m?format=x".into(), labels.into()));
    let urls =
        |annotations: Value| scraped(job(annotations)).into_iter().map(|(url, _)| url).collect::<Vec<_>>();
    assert_eq!(
        urls(json!({ "prometheus.io/scrape": "true" })),
        ["http://10.1.2.3:8080/metrics", "http://10.1.2.3:9090/metrics"],
        "every TCP port that is declared"
    );
    assert_eq!(
        urls(json!({ "prometheus.io/scrape": "true", "prometheus.io/port": "7" })),
        ["http://10.1.2.3:7/metrics"],
        "a port need not be declared"
    );
    let troubles = |annotations: Value| super::annotations::troubles(&[cart(annotations)]);
    let wrong =
        json!({ "prometheus.io/scrape": "true", "prometheus.io/port": "web", "prometheus.io/scheme": "ftp" });
    let told = troubles(wrong);
    assert!(
        told.len() == 2 && told[0].contains("port \"web\"") && told[1].contains("scheme \"ftp\""),
        "{told:?}"
    );
    assert!(troubles(json!({ "prometheus.io/port": "web" })).is_empty(), "it asks for nothing");
    assert!(troubles(json!({ "prometheus.io/scrape": "false", "prometheus.io/port": "web" })).is_empty());
    let told = troubles(json!({ "prometheus.io/scrape": "yes" }));
    assert!(told.len() == 1 && told[0].contains("scrape \"yes\" is neither true nor false"), "{told:?}");
    for none in [
        json!({}),
        json!({ "prometheus.io/scrape": "false" }),
        json!({ "prometheus.io/scrape": "true", "prometheus.io/port": "web" }),
    ] {
        assert!(urls(none.clone()).is_empty(), "{none}");
    }
    let mut ended = (*cart(json!({ "prometheus.io/scrape": "true" }))).clone();
    ended.status.phase = "Succeeded".into();
    assert!(annotations::job(&[Arc::new(ended)], &place()).is_none());
}

/// As kubeadm writes the pods of a control plane.
#[test]
fn the_control_plane_is_found_by_its_labels_and_flags() {
    let part = |component: &str, flags: &[&str]| {
        pod(
            json!({ "name": format!("{component}-n1"), "namespace": "kube-system", "labels":
                { "component": component, "tier": "control-plane" } }),
            json!({ "hostNetwork": true, "containers": [{ "name": component, "command": flags }] }),
        )
    };
    let dns = pod(
        json!({ "name": "coredns-1", "namespace": "kube-system", "labels": { "k8s-app": "kube-dns" } }),
        json!({ "containers": [{ "name": "coredns", "ports": [{ "name": "metrics", "containerPort": 9153 }] }] }),
    );
    let pods = [
        part("kube-scheduler", &["kube-scheduler", "--bind-address=127.0.0.1"]),
        part("kube-controller-manager", &["kube-controller-manager", "--secure-port=20257"]),
        part("etcd", &["etcd", "--listen-metrics-urls=http://127.0.0.1:2381"]),
        dns,
    ];
    let jobs = control_plane::jobs(&pods, &place(), &access());
    let of_scheduler = jobs.iter().find(|job| job["job_name"] == "kube-scheduler/kube-scheduler").unwrap();
    assert_eq!(of_scheduler["authorization"]["credentials_file"], json!("/token"));
    let found: Vec<_> = scraped(jobs)
        .into_iter()
        .map(|(url, labels)| {
            let job = labels.split("job=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
            (url, job)
        })
        .collect();
    let expected = [
        ("http://10.1.2.3:9153/metrics", "kube-dns"),
        ("http://127.0.0.1:2381/metrics", "etcd"),
        ("https://127.0.0.1:10259/metrics", "kube-scheduler"),
        ("https://127.0.0.1:20257/metrics", "kube-controller-manager"),
    ];
    assert_eq!(found, expected.map(|(url, job)| (url.to_owned(), job.to_owned())));
    let api = control_plane::api_server(&place(), &access(), "https://10.0.0.1").unwrap();
    assert_eq!(api["tls_config"]["ca_file"], json!("/ca.crt"));
    let (url, labels) = only(vec![api]);
    assert_eq!(url, "https://10.0.0.1/metrics", "the port of https needs no words");
    assert!(labels.contains("job=\"kube-apiserver\""), "{labels}");
    let renamed = Access { api_server_job: "apiserver".into(), ..access() };
    let api = control_plane::api_server(&place(), &renamed, "https://10.0.0.1").unwrap();
    assert!(only(vec![api]).1.contains("job=\"apiserver\""));
}

#[test]
fn etcd_over_tls_is_asked_with_a_clients_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let of = |flag: &str| {
        let etcd = pod(
            json!({ "name": "etcd-n1", "namespace": "kube-system", "labels": { "component": "etcd" } }),
            json!({ "hostNetwork": true, "containers": [{ "name": "etcd", "command": ["etcd", flag] }] }),
        );
        let access = Access { host_root: dir.path().to_owned(), ..access() };
        control_plane::jobs(&[etcd], &place(), &access)
    };
    assert!(of("--listen-client-urls=https://127.0.0.1:2379").is_empty(), "there is no certificate");
    let folder = dir.path().join("etc/kubernetes/pki/etcd");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("healthcheck-client.key"), "").unwrap();
    for (flag, address) in [
        ("--listen-client-urls=https://127.0.0.1:2379,https://10.0.0.1:2379", "127.0.0.1:2379"),
        ("--listen-client-urls=https://0.0.0.0:2379", "127.0.0.1:2379"),
        ("--listen-client-urls=https://[fd00::1]:2379", "[fd00::1]:2379"),
        ("--listen-metrics-urls=https://localhost:2381/", "localhost:2381"),
    ] {
        let jobs = of(flag);
        assert_eq!(jobs[0]["static_configs"][0]["targets"], json!([address]), "{flag}");
        let shown = &jobs[0]["tls_config"];
        assert_eq!(shown["cert_file"], json!(folder.join("healthcheck-client.crt")), "{flag}");
        assert_eq!(shown["key_file"], json!(folder.join("healthcheck-client.key")), "{flag}");
    }
    assert_eq!(of("--listen-metrics-urls=http://127.0.0.1:2381")[0].get("tls_config"), None);
    // Jobs know no working directory.
    let config = crate::Config { host_root: "host".into(), ..crate::Config::default() };
    let here = std::env::current_dir().unwrap();
    assert_eq!(super::access(&config, None).host_root, here.join("host"));
}

/// What a real node's kubelet says of its pods.
#[test]
fn a_recorded_nodes_control_plane_is_found() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/suites/data/k8s/kubelet_ksm_controlplane/1_35/kubelet/pods");
    let Ok(recorded) = std::fs::read(&path) else {
        println!("no {}: a kubelet's answer was not read", path.display());
        return;
    };
    let list: crate::pods::PodList = serde_json::from_slice(&recorded).unwrap();
    let pods: Vec<Arc<Pod>> = list.items.into_iter().map(Arc::new).collect();
    let found = scraped(control_plane::jobs(&pods, &place(), &access()));
    let urls: Vec<&str> = found.iter().map(|(url, _)| url.as_str()).collect();
    let expected = [
        "http://10.244.0.2:9153/metrics",
        "http://127.0.0.1:10249/metrics",
        "http://127.0.0.1:2381/metrics",
        "https://127.0.0.1:10257/metrics",
        "https://127.0.0.1:10259/metrics",
    ];
    assert_eq!(urls, expected);
    assert!(annotations::job(&pods, &place()).is_none(), "no pod of it asks to be scraped");
}

#[test]
fn envoys_are_scraped_once() {
    let meshed = |annotations: Value| {
        pod(
            json!({ "name": "cart-0", "namespace": "shop", "annotations": annotations }),
            json!({ "containers": [{ "name": "cart" }, { "name": "istio-proxy" }] }),
        )
    };
    let jobs = |annotations| control_plane::jobs(&[meshed(annotations)], &place(), &access());
    let (url, labels) = only(jobs(json!({})));
    assert_eq!(url, "http://10.1.2.3:15090/stats/prometheus");
    assert!(labels.contains("job=\"envoy-stats\""), "{labels}");
    let merged = json!({ "prometheus.io/scrape": "true", "prometheus.io/port": "15020",
        "prometheus.io/path": "/stats/prometheus" });
    assert!(jobs(merged).is_empty());
}

/// As Istio's chart and kubeadm have them.
#[test]
fn parts_are_scraped_once_and_where_they_listen() {
    let istiod = pod(
        json!({ "name": "istiod-1", "namespace": "istio-system", "labels": { "app": "istiod", "istio": "pilot" },
            "annotations": { "prometheus.io/scrape": "true", "prometheus.io/port": "15014" } }),
        json!({ "containers": [{ "name": "discovery", "ports": [{ "name": "http-monitoring", "containerPort": 15014 }] }] }),
    );
    let proxy = |bound: &str| {
        let command = ["kube-proxy", bound];
        pod(
            json!({ "name": "kube-proxy-a", "namespace": "kube-system", "labels": { "k8s-app": "kube-proxy" } }),
            json!({ "hostNetwork": true, "containers": [{ "name": "kube-proxy", "command": command }] }),
        )
    };
    let found = |pod: Arc<Pod>| only(control_plane::jobs(&[pod], &place(), &access()));
    assert!(control_plane::is_part(&istiod));
    let (url, labels) = found(istiod);
    assert!(url == "http://10.1.2.3:15014/metrics" && labels.contains("app=\"istiod\""), "{url} {labels}");
    for (bound, url) in [
        ("", "http://127.0.0.1:10249/metrics"),
        ("--metrics-bind-address=0.0.0.0:10250", "http://127.0.0.1:10250/metrics"),
        ("--metrics-bind-address=10.0.0.7:11249", "http://10.0.0.7:11249/metrics"),
        ("--metrics-bind-address=[::]:11249", "http://127.0.0.1:11249/metrics"),
    ] {
        assert_eq!(found(proxy(bound)).0, url, "{bound}");
    }
}

fn monitors(objects: Objects) -> (Vec<(String, String)>, Vec<String>) {
    let (jobs, troubles) = super::monitors::jobs(&objects, &[cart(json!({}))], &place());
    (if jobs.is_empty() { vec![] } else { scraped(jobs) }, troubles)
}

#[test]
fn pod_monitors_select_pods_and_ports() {
    let monitor = |spec: Value| {
        let monitor = json!({ "metadata": { "name": "m", "namespace": "shop" }, "spec": spec });
        monitors(Objects::of(&[(Kind::PodMonitor, monitor)]))
    };
    let app = json!({ "matchLabels": { "app": "cart" } });
    let (found, troubles) = monitor(json!({ "selector": app, "podTargetLabels": ["app.kubernetes.io/name"],
        "podMetricsEndpoints": [{ "port": "metrics", "path": "/m", "interval": "5s", "relabelings": [
            { "sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "where", "action": "Replace" }] }] }));
    let labels = "{app_kubernetes_io_name=\"cart\", container=\"cart\", endpoint=\"metrics\", instance=\"10.1.2.3:9090\", \
        job=\"shop/m\", namespace=\"shop\", pod=\"cart-0\", where=\"n1\"}";
    assert_eq!(found, [("http://10.1.2.3:9090/m".to_owned(), labels.to_owned())], "{troubles:?}");
    let urls = |spec: Value| monitor(spec).0.into_iter().map(|(url, _)| url).collect::<Vec<_>>();
    let of_port = |endpoint: Value| urls(json!({ "selector": {}, "podMetricsEndpoints": [endpoint] }));
    assert_eq!(of_port(json!({ "portNumber": 8080 })), ["http://10.1.2.3:8080/metrics"]);
    assert_eq!(
        of_port(json!({ "targetPort": "http", "scheme": "HTTPS" })),
        ["https://10.1.2.3:8080/metrics"]
    );
    assert!(of_port(json!({ "port": "absent" })).is_empty());
    let elsewhere = json!({ "selector": {}, "namespaceSelector": { "matchNames": ["other"] },
        "podMetricsEndpoints": [{ "port": "metrics" }] });
    assert!(urls(elsewhere).is_empty());
    for (key, value) in [
        ("bearerTokenFile", json!("/var/run/secrets/kubernetes.io/serviceaccount/token")),
        ("basicAuth", json!({ "username": { "name": "s", "key": "k" } })),
        ("tlsConfig", json!({ "caFile": "/etc/passwd" })),
        ("tlsConfig", json!({ "ca": { "secret": { "name": "s", "key": "k" } } })),
    ] {
        let (found, troubles) =
            monitor(json!({ "selector": {}, "podMetricsEndpoints": [{ "port": "metrics", key: value }] }));
        assert!(found.is_empty() && troubles.len() == 1 && troubles[0].contains(key), "{key}: {troubles:?}");
    }
    let (found, troubles) = monitor(
        json!({ "selector": {}, "jobLabel": "none", "sampleLimit": 10, "scrapeClass": "tls",
        "scrapeProtocols": ["PrometheusText0.0.4"], "nativeHistogramMinBucketFactor": "1100m", "attachMetadata": { "node": true },
        "podMetricsEndpoints": [{ "port": "metrics", "filterRunning": true, "intervall": "5s" }] }),
    );
    assert_eq!(found.len(), 1, "what is not done of it takes nothing else with it");
    let told = ["attachMetadata.node", "scrapeClass \"tls\"", "intervall is not known"];
    assert!(
        troubles.len() == 3 && told.iter().all(|told| troubles.iter().any(|of| of.contains(told))),
        "{troubles:?}"
    );
    let (jobs, _) = super::monitors::jobs(
        &Objects::of(&[(
            Kind::PodMonitor,
            json!({ "metadata": { "name": "m", "namespace": "shop" }, "spec": { "selector": {},
                "sampleLimit": 10, "nativeHistogramMinBucketFactor": "1100m", "scrapeClassicHistograms": true,
                "podMetricsEndpoints": [{ "port": "metrics" }] } }),
        )]),
        &[cart(json!({}))],
        &place(),
    );
    assert_eq!(jobs[0]["sample_limit"], json!(10));
    assert_eq!(jobs[0]["native_histogram_min_bucket_factor"], json!(1.1));
    assert_eq!(jobs[0]["always_scrape_classic_histograms"], json!(true));
    let (_, troubles) = monitor(json!({ "selector": 3 }));
    assert!(troubles[0].contains("podMonitor shop/m is not understood"), "{troubles:?}");
}

#[test]
fn service_monitors_find_the_pods_behind_services() {
    let service = json!({ "metadata": { "name": "cart", "namespace": "shop", "labels": { "team": "a", "tier": "" },
            "annotations": { "a.b/who": "me" } },
        "spec": { "selector": { "app": "cart" }, "ports": [
            { "name": "web", "port": 80, "targetPort": "http" }, { "name": "m", "port": 90, "targetPort": 9090 }] } });
    let without_pods = json!({ "metadata": { "name": "none", "namespace": "shop", "labels": { "team": "a" } },
        "spec": { "ports": [{ "name": "m", "port": 90 }] } });
    let monitor = json!({ "metadata": { "name": "m", "namespace": "monitoring" }, "spec": {
        "selector": { "matchLabels": { "team": "a" } }, "namespaceSelector": { "any": true }, "targetLabels": ["team"],
        "jobLabel": "tier", "endpoints": [{ "port": "m", "relabelings": [
            { "sourceLabels": ["__meta_kubernetes_service_annotation_a_b_who", "__meta_kubernetes_endpoint_node_name"],
              "separator": "@", "targetLabel": "who" }] }, { "port": "web", "path": "/w", "params": { "a": ["b"] } }] } });
    let (found, troubles) = monitors(Objects::of(&[
        (Kind::ServiceMonitor, monitor),
        (Kind::Service, service),
        (Kind::Service, without_pods),
    ]));
    let labels = |endpoint: &str, port: &str, who: &str| {
        format!(
            "{{container=\"cart\", endpoint=\"{endpoint}\", instance=\"10.1.2.3:{port}\", job=\"cart\", namespace=\"shop\", \
             pod=\"cart-0\", service=\"cart\", team=\"a\"{who}}}"
        )
    };
    assert_eq!(
        found,
        [
            ("http://10.1.2.3:8080/w?a=b".to_owned(), labels("web", "8080", "")),
            ("http://10.1.2.3:9090/metrics".to_owned(), labels("m", "9090", ", who=\"me@n1\"")),
        ],
        "{troubles:?}"
    );
}

/// An API server as it answers, from the list to what is scraped.
#[tokio::test]
async fn the_api_server_names_monitors_and_a_pod_is_scraped() {
    use axum::routing::get;
    let pods = Pods::default();
    let exposed = axum::Router::new().route("/m", get(|| async { "up_and_running 1\n" }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, exposed).await.unwrap() });
    let monitor = json!({ "metadata": { "name": "m", "namespace": "shop" }, "spec": { "selector": {},
        "podMetricsEndpoints": [{ "port": "metrics", "path": "/m", "interval": "50ms", "scrapeTimeout": "50ms" }] } });
    let list =
        json!({ "kind": "PodMonitorList", "metadata": { "resourceVersion": "7" }, "items": [monitor] });
    let api = axum::Router::new()
        .route("/apis/monitoring.coreos.com/v1/podmonitors", get(move || async move { axum::Json(list) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, api).await.unwrap() });

    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        cluster: Some(ClusterSettings {
            url,
            token_file: "/nowhere".into(),
            trust: kubelet::Trust::System,
            namespace: "default".into(),
            identity: "me".into(),
        }),
        ..Config::default()
    };
    let mut metrics = (*pod(
        json!({ "name": "cart-0", "namespace": "shop", "uid": "u" }),
        json!({ "containers": [{ "name": "c", "ports": [{ "name": "metrics", "containerPort": port }] }] }),
    ))
    .clone();
    metrics.status.pod_ip = "127.0.0.1".into();
    pods.replace(vec![metrics.clone()]);
    let host = Host::of(Path::new("/"));
    let (once, mistakes) = Finding::new(&config, &host, pods.clone(), None).unwrap().once().await;
    let urls: Vec<Vec<String>> = once.iter().map(scrape::urls).collect();
    assert_eq!(urls, [[format!("http://127.0.0.1:{port}/m")]], "as --dry-run tells");
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let mut wrong = metrics.clone();
    wrong.metadata.annotations.insert("prometheus.io/scrape".into(), "yes".into());
    pods.replace(vec![wrong]);
    let (_, mistakes) = Finding::new(&config, &host, pods.clone(), None).unwrap().once().await;
    assert!(
        mistakes.len() == 1 && mistakes.first().unwrap().contains("neither true nor false"),
        "{mistakes:?}"
    );
    pods.replace(vec![metrics]);
    let mut finding = Finding::new(&config, &host, pods, None).unwrap();
    let queue = Arc::new(Queue::open(dir.path().join("queue"), 64 << 20).unwrap());
    let (tenant, clock) = (model::Tenant::default(), Arc::new(SystemClock));
    let scraping = scrape::Scraping::new(queue, tenant, clock, vec![], Panics::default());
    let stop = CancellationToken::new();
    let running = tokio::spawn(scraping.clone().run(stop.clone()));
    let given = scraping.clone();
    let looking = tokio::spawn({
        let stop = stop.clone();
        async move { finding.run(move |jobs| given.set_jobs(jobs), stop).await }
    });
    let scraped = loop {
        let targets = scraping.targets();
        match targets.active.iter().find_map(|target| Some((target.clone(), target.last.clone()?))) {
            Some(scraped) => break scraped,
            None => tokio::task::yield_now().await,
        }
    };
    stop.cancel();
    let (target, last) = scraped;
    assert_eq!(last.error, None);
    assert_eq!((target.job.as_str(), target.labels.get("pod")), ("podMonitor/shop/m/0", Some("cart-0")));
    running.await.unwrap();
    looking.await.unwrap();
}
