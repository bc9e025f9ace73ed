use super::ask::{By, Wanted};
use super::sum::{Sharing, add_up};
use super::*;
use axum::extract::Query;
use engine::{Allocation, Asset, Lifecycle, Node, Paid, Part, Rates, Volume};

fn row(hour: i64, namespace: &str, workload: &str, pod: &str, cost: f64) -> Allocation {
    let part = |hours: f64| Part { hours, requested: Some(hours), used: Some(hours), cost };
    Allocation {
        window_start_ms: hour * HOUR_MS,
        window_end_ms: (hour + 1) * HOUR_MS,
        namespace: namespace.into(),
        workload: workload.into(),
        pod: pod.into(),
        node: "alpha".into(),
        cpu: part(1.0),
        memory: part(2.0),
        ..Allocation::default()
    }
}

fn hours(end_ms: i64) -> Window {
    Window { start_ms: 0, end_ms }
}

fn asked(query: &str) -> Result<Wanted, String> {
    let uri: axum::http::Uri = format!("http://x/?{query}").parse().unwrap();
    Wanted::of(Query::try_from_uri(&uri), "namespace")
}

#[test]
fn rows_are_added_up_by_what_is_asked_for() {
    let rows = [
        row(0, "shop", "cart", "cart-1", 1.0),
        row(1, "shop", "cart", "cart-2", 2.0),
        row(1, engine::IDLE, engine::IDLE, "", 4.0),
    ];
    let names = |query: &str| asked(query).unwrap().sums(rows.iter()).into_keys().collect::<Vec<_>>();
    assert_eq!(names("aggregate=namespace"), ["__idle__", "shop"]);
    assert_eq!(names("aggregate=namespace,pod"), ["__idle__", "shop/cart-1", "shop/cart-2"]);
    assert_eq!(names("aggregate=namespace&idleByNode=true"), ["alpha/__idle__", "shop"]);
    assert_eq!(names("aggregate=namespace&includeIdle=false"), ["shop"]);
    assert_eq!(names("aggregate=namespace&idle=false"), ["shop"]);
    assert_eq!(names("aggregate=all"), ["cluster"]);
    assert_eq!(names("aggregate=cluster"), ["default"]);
    assert_eq!(names("aggregate=node"), ["alpha"], "idle belongs to its node");
    assert_eq!(names("aggregate=pod&filter=pod:%22cart-2%22"), ["cart-2"]);
    let sums = asked("aggregate=controller").unwrap().sums(rows.iter());
    let cart = &sums["cart"];
    assert_eq!((cart.total(), cart.namespace.as_deref(), cart.pod.as_deref()), (6.0, Some("shop"), None));
    let shown = opencost::allocation("cart", cart, hours(2 * HOUR_MS));
    assert_eq!(
        (&shown["cpuCores"], &shown["totalCost"], &shown["minutes"], &shown["cpuEfficiency"]),
        (&json!(1.0), &json!(6.0), &json!(120.0), &json!(1.0))
    );
    assert_eq!(
        shown["properties"],
        json!({"cluster": "default", "controller": "cart", "namespace": "shop", "node": "alpha"})
    );
}

#[test]
fn pods_are_added_up_by_their_labels() {
    let labelled = |pod: &str, app: &str| Allocation {
        labels: model::Labels::from_pairs([("label_app_kubernetes_io_name", app)]),
        ..row(0, "shop", "", pod, 1.0)
    };
    let rows = [labelled("a-1", "a"), labelled("a-2", "a"), labelled("b-1", "b"), row(0, "x", "", "c", 1.0)];
    let by = |query: &str| {
        let sums = asked(query).unwrap().sums(rows.iter());
        sums.iter().map(|(name, sum)| format!("{name} {}", sum.total())).collect::<Vec<_>>()
    };
    assert_eq!(by("aggregate=label:app.kubernetes.io/name"), ["__unallocated__ 2", "a 4", "b 2"]);
    assert_eq!(
        by("aggregate=label:app.kubernetes.io/name&filter=label%5Bapp.kubernetes.io/name%5D:%22b%22"),
        ["b 2"]
    );
    let sums = asked("aggregate=namespace").unwrap().sums(rows.iter());
    let shown = opencost::summary("shop", &sums["shop"], hours(HOUR_MS));
    assert_eq!((&shown["totalCost"], shown.as_object().unwrap().len()), (&json!(6.0), 22));
    assert!(asked("aggregate=colour").err().unwrap().contains("label:<name>"));
    let of_team = |services: &[&str]| Allocation {
        annotations: model::Labels::from_pairs([("annotation_example_com_team", "green")]),
        services: services.iter().map(|name| (*name).to_owned()).collect(),
        workload_kind: "statefulset".into(),
        ..row(0, "shop", "db", "db-0", 1.0)
    };
    let rows = [of_team(&["api", "web"]), row(0, "x", "", "c", 1.0)];
    let by = |query: &str| asked(query).unwrap().sums(rows.iter()).into_keys().collect::<Vec<_>>();
    assert_eq!(by("aggregate=service"), ["__unallocated__", "api"]);
    assert_eq!(by("aggregate=annotation:example.com/team"), ["__unallocated__", "green"]);
    // Words are told apart as kube-state-metrics does it.
    assert_eq!(by("aggregate=annotation:exampleCom/team"), ["__unallocated__", "green"]);
    assert_eq!(by("aggregate=statefulset"), ["__unallocated__", "db"]);
    assert_eq!(by("aggregate=deployment"), ["__unallocated__"]);
    assert_eq!(by("aggregate=controller"), ["__unallocated__", "statefulset:db"]);
    assert_eq!(by("aggregate=team"), ["__unallocated__"]);
}

#[test]
fn missing_usage_is_null_and_said() {
    let mut untold = row(0, "shop", "cart", "cart-1", 1.0);
    (untold.cpu.used, untold.memory.used) = (None, None);
    let sums = |rows: &[Allocation]| asked("aggregate=namespace").unwrap().sums(rows.iter());
    let shown = opencost::allocation("shop", &sums(&[untold.clone()])["shop"], hours(HOUR_MS));
    for name in ["cpuCoreUsageAverage", "ramByteUsageAverage", "cpuEfficiency", "totalEfficiency"] {
        assert_eq!(shown[name], Value::Null, "{name}");
    }
    assert_eq!((&shown["cpuCoreRequestAverage"], &shown["usageMissing"]), (&json!(1.0), &json!(true)));
    let both = sums(&[untold, row(0, "shop", "cart", "cart-2", 1.0)]);
    let shown = opencost::allocation("shop", &both["shop"], hours(HOUR_MS));
    assert_eq!((&shown["cpuCoreUsageAverage"], &shown["usageMissing"]), (&json!(1.0), &json!(true)));
}

#[test]
fn what_is_shared_is_paid_by_the_others_to_the_last_cent() {
    let rows = [
        row(0, "a", "a", "a-1", 3.0),
        row(0, "b", "b", "b-1", 1.0),
        row(0, "kube-system", "dns", "dns-1", 2.0),
        row(0, engine::IDLE, engine::IDLE, "", 4.0),
    ];
    let total: f64 = rows.iter().map(Allocation::total_cost).sum();
    let sums = |query: &str| asked(&format!("aggregate=namespace&{query}")).unwrap().sums(rows.iter());
    for query in [
        "shareIdle=true",
        "shareIdle=true&includeIdle=false",
        "shareNamespaces=kube-system",
        "shareIdle=true&shareNamespaces=kube-system&shareSplit=even",
        "shareIdle=true&shareNamespaces=kube-system,a,b",
    ] {
        let sum: f64 = sums(query).values().map(Sum::total).sum();
        assert!((sum - total).abs() < 1e-9, "{query}: {sum} is not {total}");
    }
    let idle = sums("shareIdle=true");
    assert_eq!((idle["a"].total(), idle["a"].idle_cost[0]), (10.0, 2.0), "half of what is had is a's");
    let shared = sums("shareNamespaces=kube-system");
    assert_eq!((shared["a"].shared_cost, shared["b"].shared_cost), (3.0, 1.0));
    let even = sums("shareNamespaces=kube-system&shareSplit=even");
    assert_eq!((even["a"].shared_cost, even["b"].shared_cost), (2.0, 2.0));
    assert!(
        add_up(&rows[3..], &|row| row.namespace.clone(), &Sharing { idle: true, ..Sharing::default() })
            .contains_key(engine::IDLE)
    );
}

#[test]
fn assets_and_allocations_add_up_to_the_same() {
    let node = Node { name: "alpha".into(), cores: 2.0, memory_gib: 8.0, hours: 1.0, ..Node::default() };
    let kind =
        engine::Kind { instance_type: "m5.xlarge".into(), lifecycle: Lifecycle::Spot, ..node.kind.clone() };
    let node = Node { kind, ..node };
    let rates = Rates { cpu_core: 0.5, memory_gib: 0.25, gpu: 0.0 };
    let volume = Volume { name: "data".into(), class: "gp3".into(), gib: 10.0, hours: 1.0, cost: 0.5 };
    let at = |what| Asset { window_start_ms: 0, cluster: String::new(), what };
    let costs = Costs {
        allocations: vec![],
        assets: vec![at(Paid::Node(node, rates)), at(Paid::Volume(volume)), at(Paid::Network(0.25))],
    };
    let shown = opencost::assets(&costs.assets, hours(HOUR_MS));
    let all: Vec<&Value> = shown.as_object().unwrap().values().collect();
    let total: f64 = all.iter().map(|asset| asset["totalCost"].as_f64().unwrap()).sum();
    assert_eq!(total, 3.75);
    let node = all.iter().find(|asset| asset["type"] == "Node").unwrap();
    assert_eq!((&node["nodeType"], &node["preemptible"]), (&json!("m5.xlarge"), &json!(1)));
    assert_eq!(node["properties"]["name"], json!("alpha"));
    let disk = all.iter().find(|asset| asset["type"] == "Disk").unwrap();
    assert_eq!((&disk["storageClass"], &disk["bytes"]), (&json!("gp3"), &json!(10737418240.0)));
}

#[test]
fn clusters_are_told_apart() {
    let of = |cluster: &str, row: Allocation| Allocation { cluster: cluster.into(), ..row };
    let rows = [
        of("east", row(0, "shop", "cart", "cart-0", 1.0)),
        of("west", row(0, "shop", "cart", "cart-0", 2.0)),
        of("west", row(0, engine::IDLE, engine::IDLE, "", 4.0)),
        of("", row(0, "old", "x", "x-0", 8.0)),
    ];
    let sums = |query: &str| asked(query).unwrap().sums(rows.iter());
    let told = |query: &str| {
        let sums = sums(query);
        sums.iter().map(|(name, sum)| format!("{name} {}", sum.total())).collect::<Vec<_>>()
    };
    assert_eq!(told("aggregate=cluster"), ["default 16", "east 2", "west 12"]);
    assert_eq!(
        told(&format!("aggregate={BY_EACH}")),
        [
            "default/alpha/old/x-0 16",
            "east/alpha/shop/cart-0 2",
            "west/alpha/__idle__ 8",
            "west/alpha/shop/cart-0 4"
        ]
    );
    let by_namespace = ["default/old 16", "east/shop 2", "west/__idle__ 8", "west/shop 4"];
    assert_eq!(told("aggregate=cluster,namespace"), by_namespace);
    assert_eq!(told("aggregate=cluster,namespace&idleByNode=true")[2], "west/alpha/__idle__ 8");
    assert_eq!(told("aggregate=namespace"), ["__idle__ 8", "old 16", "shop 6"]);
    for (filter, passing) in [
        ("cluster:%22east%22", "shop 2"),
        ("cluster:%22default%22", "old 16"),
        ("cluster!:%22west%22", "old 16, shop 2"),
        ("cluster%3C~:%22we%22%2Bnamespace:%22shop%22", "shop 4"),
    ] {
        assert_eq!(told(&format!("aggregate=namespace&filter={filter}")).join(", "), passing, "{filter}");
    }
    // What nobody had in one cluster is not paid in another one, whether or not that is asked for.
    assert_eq!(told("aggregate=cluster&shareIdle=true"), ["default 16", "east 2", "west 12"]);
    assert_eq!(told("aggregate=pod&shareIdle=true&filter=cluster:%22east%22"), ["cart-0 2"]);
    let cluster_of = |query: &str, name: &str| {
        let shown = opencost::allocation(name, &sums(query)[name], hours(HOUR_MS));
        shown["properties"]["cluster"].clone()
    };
    assert_eq!(cluster_of("aggregate=cluster", "east"), json!("east"));
    assert_eq!(cluster_of("aggregate=namespace", "old"), json!("default"));
    assert_eq!(cluster_of("aggregate=namespace", "shop"), Value::Null, "it is in two");
}

#[test]
fn nodes_of_one_name_in_two_clusters_are_two_assets() {
    let node = Node { name: "alpha".into(), cores: 2.0, hours: 1.0, ..Node::default() };
    let rates = Rates { cpu_core: 0.5, ..Rates::default() };
    let of = |cluster: &str, what| Asset { window_start_ms: 0, cluster: cluster.into(), what };
    let paid = [
        of("east", Paid::Node(node.clone(), rates)),
        of("west", Paid::Node(node, rates)),
        of("", Paid::Network(0.25)),
    ];
    let shown = |query: &str| {
        let wanted = asked(query).unwrap();
        let of_clusters = paid.iter().filter(|asset| wanted.has_cluster(&asset.cluster));
        let shown = opencost::assets(of_clusters, hours(HOUR_MS));
        let assets = shown.as_object().unwrap().iter();
        assets
            .map(|(key, asset)| {
                let cluster = asset["properties"]["cluster"].as_str().unwrap();
                assert_eq!(key.split('/').nth(4), Some(cluster), "{key}");
                format!("{cluster} {} {}", asset["type"].as_str().unwrap(), asset["totalCost"])
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(""), ["east Node 1.0", "west Node 1.0", "default Network 0.25"]);
    assert_eq!(shown("filter=cluster:%22east%22"), ["east Node 1.0"]);
    assert_eq!(shown("filter=cluster!:%22west%22"), ["east Node 1.0", "default Network 0.25"]);
    assert_eq!(shown("filter=cluster:%22default%22"), ["default Network 0.25"]);
    assert_eq!(shown("filter=namespace:%22shop%22").len(), 3, "an asset has no namespace");
}

#[test]
fn what_is_not_understood_says_what_to_write() {
    assert!(asked("window=1d&aggregate=namespace,pod&step=1h").is_ok());
    assert!(asked("").is_ok());
    assert!(asked("window=soon").err().unwrap().contains("24h"));
    assert!(asked("aggregate=mood").err().unwrap().contains("namespace"));
    assert!(asked("step=5m").err().unwrap().contains("1h"));
    assert!(asked("window=0,99999999999&step=1h").err().unwrap().contains("steps"));
    assert!(asked("includeIdle=maybe").err().unwrap().contains("includeIdle"));
    assert!(asked("shareSplit=mood").err().unwrap().contains("weighted"));
    assert!(asked("filter=mood").err().unwrap().contains("filter"));
    assert!(asked("filterNamespaces=shop").err().unwrap().starts_with("filterNamespaces is not known"));
    assert!(asked("window=1d&shareCost=5").err().unwrap().starts_with("shareCost is not known"));
    assert!(asked("window=1d&resolution=1m&format=json").is_ok());
    assert!(By::parse("controllerKind").is_ok());
}

#[test]
fn nothing_costs_nothing() {
    assert_eq!(added(std::iter::empty()).to_string(), "0");
    assert_eq!(added([0.5, 0.25].into_iter()).to_string(), "0.75");
}
