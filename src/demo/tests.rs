use super::*;

#[test]
fn the_rate_swells_and_ebbs_around_its_mean() {
    let rates: Vec<f64> = (0..600).map(|second| tidal_rate(12.0, Duration::from_secs(second))).collect();
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    assert!((mean - 12.0).abs() < 0.01);
    assert!(rates.iter().all(|rate| (7.0..17.0).contains(rate)));
}

#[tokio::test]
async fn a_rate_that_no_machine_should_carry_is_refused() {
    let config = Config { requests_per_second: 1e9, ..Config::default() };
    let wrong = run(config, CancellationToken::new()).await.unwrap_err();
    assert!(wrong.to_string().contains("0.1 to 200"), "{wrong}");
}

#[tokio::test]
async fn an_endpoint_that_is_no_url_is_named() {
    let config = Config { otlp_grpc: "not a url".into(), ..Config::default() };
    let wrong = run(config, CancellationToken::new()).await.unwrap_err();
    assert!(format!("{wrong:#}").contains("not a url"), "{wrong:#}");
}

/// Nobody listens: the shop still opens, and closes within its bound.
#[tokio::test(flavor = "multi_thread")]
async fn a_shop_that_cannot_send_still_closes() {
    let stop = CancellationToken::new();
    stop.cancel();
    let config = Config { otlp_grpc: "http://127.0.0.1:1".into(), ..Config::default() };
    run(config, stop).await.unwrap();
}
