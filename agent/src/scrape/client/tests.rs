use super::super::config::parse;
use super::*;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap as Headers, StatusCode};
use axum::routing::get;
use model::Labels;
use std::path::Path;
use std::time::Duration;

/// A target that answers what it was asked with, and some that are wrong in their ways.
async fn world() -> std::net::SocketAddr {
    let told = |request: Request| async move {
        let header =
            |name: &str| request.headers().get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        let all =
            ["accept", "authorization", "x-prometheus-scrape-timeout-seconds", "user-agent"].map(header);
        let mut headers = Headers::new();
        headers.insert("content-type", "application/openmetrics-text; version=1.0.0".parse().unwrap());
        (headers, format!("{}|{}", request.uri(), all.join("|")))
    };
    let router = Router::new()
        .route("/metrics", get(told))
        .route("/text", get(|| async { ([("content-type", "text/html")], "up 1\n") }))
        .route(
            "/protobuf",
            get(|| async { ([("content-type", "application/vnd.google.protobuf; encoding=delimited")], "") }),
        )
        .route("/large", get(|| async { "x".repeat(2_000) }))
        .route("/never", get(std::future::pending::<()>))
        .route("/moved", get(|| async { (StatusCode::FOUND, [("location", "/text")]) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    address
}

async fn asked(path: &str, options: &str, timeout: Duration) -> Result<(Format, String), String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let address = world().await;
    let text = format!("scrape_configs:\n- job_name: j\n  scrape_interval: 10s\n{options}");
    let job = parse(&text, Path::new("/")).unwrap().jobs.remove(0);
    let labels = Labels::empty();
    let url = format!("http://{address}{path}");
    let target =
        Target { url, discovered: labels.clone(), labels, interval: Duration::from_secs(10), timeout };
    let fetched = fetch(&Speaker::new(&job.client, &target.url)?, &job, &target).await?;
    Ok((fetched.format, String::from_utf8(fetched.body).unwrap()))
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_target_is_asked_as_prometheus_asks() {
    let (format, told) = asked("/metrics?a=b", "", LONG).await.unwrap();
    assert_eq!(format, Format::OpenMetrics);
    let told: Vec<&str> = told.split('|').collect();
    assert_eq!((told[0], told[2], told[3]), ("/metrics?a=b", "-", "10"));
    assert!(
        told[1].starts_with("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"),
        "{told:?}"
    );
    assert!(told[4].starts_with("binnacle/"));
    for (options, header) in [
        ("  basic_auth: {username: a, password: b}\n", "Basic YTpi"),
        ("  authorization: {credentials: abc}\n", "Bearer abc"),
        ("  authorization: {type: Token, credentials: abc}\n", "Token abc"),
        ("  bearer_token: abc\n", "Bearer abc"),
    ] {
        let (_, told) = asked("/metrics", options, LONG).await.unwrap();
        assert_eq!(told.split('|').nth(2), Some(header), "{options}");
    }
}

#[tokio::test]
async fn the_answer_says_its_format() {
    assert_eq!(asked("/text", "", LONG).await.unwrap(), (Format::Text, "up 1\n".into()));
    assert_eq!(asked("/protobuf", "", LONG).await.unwrap().0, Format::Protobuf);
    assert_eq!(asked("/moved", "", LONG).await.unwrap().0, Format::Text);
}

#[tokio::test]
async fn what_is_not_an_answer_is_told() {
    for (path, options, timeout, place) in [
        ("/absent", "", LONG, "server returned HTTP status 404 Not Found"),
        ("/large", "  body_size_limit: 1KB\n", LONG, "body size limit exceeded: more than 1024 bytes"),
        ("/never", "", Duration::from_millis(20), "context deadline exceeded"),
        ("/moved", "  follow_redirects: false\n", LONG, "HTTP status 302"),
        (
            "/text",
            "  basic_auth: {username: a, password_file: /absent/file}\n",
            LONG,
            "unable to read /absent/file",
        ),
        ("/text", "  tls_config: {ca_file: /absent/ca}\n", LONG, "unable to read /absent/ca"),
    ] {
        let wrong = asked(path, options, timeout).await.unwrap_err();
        assert!(wrong.contains(place), "{path}: {wrong}");
    }
}

#[tokio::test]
async fn headers_and_tokens_are_sent_as_configured() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let times = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = times.clone();
    let token = move |request: Request| {
        let time = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move {
            let asked =
                request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
            let body = axum::body::to_bytes(request.into_body(), 1000).await.unwrap();
            assert_eq!(asked.as_deref(), Some("Basic bWU6YWJj"));
            assert_eq!(&body[..], b"grant_type=client_credentials&scope=a+b&audience=u");
            axum::Json(serde_json::json!({ "access_token": format!("t{time}"), "expires_in": 3600 }))
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tokens = listener.local_addr().unwrap();
    tokio::spawn(
        axum::serve(listener, Router::new().route("/token", axum::routing::post(token))).into_future(),
    );
    let target = world().await;
    let text = format!(
        "scrape_configs:\n- job_name: j\n  http_headers: {{X-Own: {{values: [a, b]}}}}\n  oauth2: {{client_id: me, \
         client_secret: abc, scopes: [a, b], token_url: 'http://{tokens}/token', endpoint_params: {{audience: u}}}}\n"
    );
    let job = parse(&text, Path::new("/")).unwrap().jobs.remove(0);
    let url = format!("http://{target}/metrics");
    let speaker = Speaker::new(&job.client, &url).unwrap();
    for _ in 0..2 {
        let request = speaker.get(&url).await.unwrap().build().unwrap();
        assert_eq!(request.headers().get("authorization").unwrap(), "Bearer t0");
        let own: Vec<_> = request.headers().get_all("x-own").iter().collect();
        assert_eq!(own, ["a", "b"]);
    }
    assert_eq!(times.load(std::sync::atomic::Ordering::Relaxed), 1, "a token is asked for once");
}

#[test]
fn a_certificate_of_another_name_is_asked_for_by_it() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let text = "scrape_configs:\n- job_name: j\n  scheme: https\n  tls_config: {server_name: n.example}\n";
    let job = parse(text, Path::new("/")).unwrap().jobs.remove(0);
    let speaker = Speaker::new(&job.client, "https://10.0.0.1:9100/metrics").unwrap();
    let named = speaker.named("https://10.0.0.1:9100/metrics").unwrap();
    assert_eq!(named.as_str(), "https://n.example:9100/metrics");
    assert_eq!(speaker.host("https://10.0.0.1:9100/metrics").as_deref(), Some("10.0.0.1:9100"));
    assert_eq!(speaker.named("http://10.0.0.1:1/").unwrap().as_str(), "http://10.0.0.1:1/");
}

#[test]
fn certificates_that_are_renewed_are_read_again() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let text = format!(
        "scrape_configs:\n- job_name: j\n  scheme: https\n  tls_config: {{ca_file: '{}'}}\n",
        ca.display()
    );
    let job = parse(&text, Path::new("/")).unwrap().jobs.remove(0);
    let mut speaking = Speaking::new(&job.client, "https://10.0.0.1:9100/metrics");
    assert!(speaking.now().is_err_and(|wrong| wrong.contains("unable to read")));
    std::fs::write(&ca, include_str!("../../kubelet/tests/ca.pem")).unwrap();
    assert!(speaking.now().is_ok());
    let half = "-----BEGIN CERTIFICATE-----\nMIIB";
    std::fs::write(&ca, half).unwrap();
    assert!(speaking.now().is_ok(), "what was stays");
    assert!(Speaking::new(&job.client, "https://10.0.0.1:9100/metrics").now().is_err());
}
