use super::*;

fn row(hour: i64, namespace: &str, workload: &str, pod: &str, cost: f64) -> Allocation {
    Allocation {
        window_start_ms: hour * HOUR_MS,
        window_end_ms: (hour + 1) * HOUR_MS,
        namespace: namespace.into(),
        workload: workload.into(),
        pod: pod.into(),
        container: String::new(),
        node: "alpha".into(),
        cpu_core_hours: 1.0,
        memory_gib_hours: 2.0,
        cpu_cost: cost,
        memory_cost: cost,
    }
}

#[test]
fn rows_are_added_up_by_what_is_asked_for() {
    let rows = [
        row(0, "shop", "cart", "cart-1", 1.0),
        row(1, "shop", "cart", "cart-2", 2.0),
        row(1, engine::IDLE, engine::IDLE, "", 4.0),
    ];
    let names = |by: &[By]| add_up(rows.iter(), by).keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&[By::Namespace]), ["__idle__", "shop"]);
    assert_eq!(names(&[By::Namespace, By::Pod]), ["__idle__", "shop/cart-1", "shop/cart-2"]);
    assert_eq!(names(&[By::All]), ["cluster"]);
    assert_eq!(names(&[By::Node]), ["alpha"], "idle belongs to its node");
    let sums = add_up(rows.iter(), &[By::Workload]);
    let cart = &sums["cart"];
    assert_eq!((cart.total(), cart.namespace.as_deref(), cart.pod.as_deref()), (6.0, Some("shop"), None));
    let shown = opencost("cart", cart, 0, 2 * HOUR_MS);
    assert_eq!(
        (&shown["cpuCores"], &shown["totalCost"], &shown["minutes"]),
        (&json!(1.0), &json!(6.0), &json!(120.0))
    );
    assert_eq!(
        shown["properties"],
        json!({"cluster": "default", "controller": "cart", "namespace": "shop", "node": "alpha"})
    );
}

#[test]
fn what_is_not_understood_says_what_to_write() {
    let asked = |query: &str| {
        let uri: axum::http::Uri = format!("http://x/?{query}").parse().unwrap();
        Wanted::of(Query::try_from_uri(&uri), "namespace")
    };
    assert!(asked("window=1d&aggregate=namespace,pod&step=1h").is_ok());
    assert!(asked("").is_ok());
    assert!(asked("window=soon").err().unwrap().contains("24h"));
    assert!(asked("aggregate=mood").err().unwrap().contains("namespace"));
    assert!(asked("step=5m").err().unwrap().contains("1h"));
    assert!(asked("window=0,99999999999&step=1h").err().unwrap().contains("steps"));
}
