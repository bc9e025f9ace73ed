//! What Grafana's data sources call, row by row (P1-P10, L1-L7, T1, T3, T5, T10, T11 of the acceptance table).

use crate::server::{PATIENCE, Server, now_ms};
use crate::traffic::{TRACE, loki_push, otlp_log, remote_write, samples, trace};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

fn server_with_metrics() -> (Server, i64) {
    let server = Server::bare();
    let now = now_ms();
    let points: Vec<(i64, f64)> = (0..20).map(|i| (now - 300_000 + i * 15_000, i as f64 * 10.0)).collect();
    let body = samples(&[
        (&[("__name__", "http_requests_total"), ("job", "api"), ("code", "200")], &points),
        (&[("__name__", "http_requests_total"), ("job", "api"), ("code", "500")], &points),
        (&[("__name__", "queue.length"), ("net.peer", "10.0.0.1")], &points[19..]),
    ]);
    assert!(remote_write(&server, body).status().is_success());
    (server, now)
}

#[test]
fn prometheus_rows() {
    let (server, now) = server_with_metrics();
    let now_s = (now / 1000).to_string();
    let start_s = (now / 1000 - 300).to_string();

    // P1, P2: instant, health; GET and POST alike; parameters of a POST may stand in the URL.
    let vector =
        server.query("/api/v1/query", &[("query", "sum by (code) (http_requests_total)"), ("time", &now_s)]);
    assert_eq!(vector["status"], "success");
    assert_eq!(vector["data"]["resultType"], "vector");
    assert_eq!(vector["data"]["result"].as_array().unwrap().len(), 2);
    let health =
        server.http.post(server.url("/api/v1/query?time=4")).form(&[("query", "1+1")]).send().unwrap();
    let health: Value = health.json().unwrap();
    assert_eq!(health["data"], json!({ "resultType": "scalar", "result": [4, "2"] }));
    // P3
    let matrix = server.query(
        "/api/v1/query_range",
        &[("query", "rate(http_requests_total[1m])"), ("start", &start_s), ("end", &now_s), ("step", "15")],
    );
    assert_eq!(matrix["data"]["resultType"], "matrix");
    let points = matrix["data"]["result"][0]["values"].as_array().unwrap();
    assert!(points.len() > 10, "{matrix}");
    let rate: f64 = points[8][1].as_str().unwrap().parse().unwrap();
    assert!((rate - 10.0 / 15.0).abs() < 1e-9, "{rate}");
    let too_many = server.get("/api/v1/query_range?query=1&start=0&end=1000000&step=1");
    assert_eq!(too_many.status(), 400);
    assert!(too_many.json::<Value>().unwrap()["error"].as_str().unwrap().contains("11,000"));
    // P4: Grafana's probe sends milliseconds.
    let exemplars = server.query(
        "/api/v1/query_exemplars",
        &[("query", "test"), ("start", "1764000000000"), ("end", "1764000001000")],
    );
    assert_eq!(exemplars["status"], "success");
    // P5, P6, P7
    let labels = server.query("/api/v1/labels", &[("start", &start_s), ("end", &now_s)]);
    assert_eq!(labels["data"], json!(["__name__", "code", "job", "net.peer"]));
    // A name that is no plain word comes escaped.
    let peers = server.json("/api/v1/label/U__net_2e_peer/values");
    assert_eq!(peers["data"], json!(["10.0.0.1"]));
    let one = server.json("/api/v1/labels?limit=1");
    assert_eq!(
        (&one["data"], &one["warnings"][0]),
        (&json!(["__name__"]), &json!("results truncated due to limit"))
    );
    let values = server.query("/api/v1/label/code/values", &[("match[]", "http_requests_total")]);
    assert_eq!(values["data"], json!(["200", "500"]));
    let suggestions = server.http.post(server.url("/api/v1/label/__name__/values")).send().unwrap();
    assert_eq!(suggestions.json::<Value>().unwrap()["data"], json!(["http_requests_total", "queue.length"]));
    let all = server.query("/api/v1/series", &[("match[]", "{__name__!=\"\"}")]);
    assert_eq!(all["data"].as_array().unwrap().len(), 3);
    let series = server
        .query("/api/v1/series", &[("match[]", "{code=\"500\"}"), ("start", &start_s), ("end", &now_s)]);
    assert_eq!(series["data"], json!([{ "__name__": "http_requests_total", "code": "500", "job": "api" }]));
    // P8, P10
    assert_eq!(server.json("/api/v1/metadata?limit=10")["status"], "success");
    let build = server.json("/api/v1/status/buildinfo");
    assert!(build["data"]["version"].is_string() && build["data"].get("features").is_none(), "{build}");
    // P11, P13
    let formatted = server.query("/api/v1/format_query", &[("query", "sum(up)by(job)")]);
    assert_eq!(formatted["data"], "sum by (job) (up)");
    let tree = server.query("/api/v1/parse_query", &[("query", "up[5m]")]);
    assert_eq!((&tree["data"]["type"], &tree["data"]["range"]), (&json!("matrixSelector"), &json!(300_000)));
    let cardinality = server.json("/api/v1/status/tsdb");
    assert_eq!(cardinality["data"]["headStats"]["numSeries"], 3);
    assert_eq!(
        cardinality["data"]["seriesCountByMetricName"][0],
        json!({ "name": "http_requests_total", "value": 2 })
    );
    assert_eq!(server.json("/api/v1/features")["data"]["promql_functions"]["rate"], true);
    assert_eq!(server.json("/api/v1/targets")["data"]["activeTargets"], json!([]));
    // What an answer should be read with comes as warnings and infos, which Grafana shows beside the panel.
    let doubtful =
        server.query("/api/v1/query", &[("query", "rate({\"queue.length\"}[5m])"), ("time", &now_s)]);
    assert!(doubtful.get("warnings").is_none(), "{doubtful}");
    let warned = server.query("/api/v1/query", &[("query", "quantile(2, http_requests_total)")]);
    assert_eq!(
        warned["warnings"],
        json!(["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"])
    );
    // The same under the prefix.
    assert_eq!(server.query("/prometheus/api/v1/query", &[("query", "1")])["status"], "success");
    // Errors in Prometheus' own shape, with a position.
    let wrong = server.get("/api/v1/query?query=sum(");
    assert_eq!(wrong.status(), 400);
    let wrong: Value = wrong.json().unwrap();
    assert_eq!((&wrong["status"], &wrong["errorType"]), (&json!("error"), &json!("bad_data")));
    assert_eq!(wrong["error"], "invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis");
}

#[test]
fn rules_are_listed() {
    // P9
    let server = Server::up(&["--no-agent", "--no-web"]);
    let rules = server.json("/api/v1/rules");
    assert_eq!(rules["status"], "success");
    assert!(rules["data"]["groups"].is_array());
    assert!(server.json("/api/v1/alerts")["data"]["alerts"].is_array());
}

#[test]
fn loki_rows() {
    let server = Server::bare();
    let now = now_ms() * 1_000_000;
    let second = 1_000_000_000;
    let pushed = loki_push(
        &server,
        json!({ "app": "api", "level": "error" }),
        &[
            (now - 3 * second, r#"{"msg":"payment timeout","ms":512}"#),
            (now - 2 * second, "level=info msg=done took=3ms"),
            (now - second, "plain words"),
        ],
    );
    assert_eq!(pushed.status(), 204);
    let (start, end) = ((now - 60 * second).to_string(), (now + second).to_string());
    let range = |query: &str| {
        server.query(
            "/loki/api/v1/query_range",
            &[("query", query), ("start", &start), ("end", &end), ("step", "1000ms")],
        )
    };
    // L1
    let streams = range(r#"{app="api"} |= "timeout""#);
    assert_eq!(streams["data"]["resultType"], "streams");
    assert_eq!(streams["data"]["result"][0]["values"][0][0], (now - 3 * second).to_string());
    let parsed = range(r#"{app="api"} | json | __error__="" | ms > 500"#);
    assert_eq!(parsed["data"]["result"].as_array().unwrap().len(), 1, "{parsed}");
    assert_eq!(parsed["data"]["result"][0]["stream"]["msg"], "payment timeout", "{parsed}");
    // A line that is no JSON carries the error; a comparison drops it, as it lacks the label.
    let with_errors = range(r#"{app="api"} | json"#);
    let of_error = |stream: &&Value| stream["stream"]["__error__"] == "JSONParserErr";
    let streams = with_errors["data"]["result"].as_array().unwrap();
    assert_eq!(streams.iter().filter(of_error).count(), 1, "{with_errors}");
    let compared = range(r#"{app="api"} | json | ms > 500"#);
    assert_eq!(compared["data"]["result"].as_array().unwrap().len(), 1, "{compared}");
    let logfmt = range(r#"{app="api"} | logfmt | took < 5ms"#);
    assert_eq!(logfmt["data"]["result"].as_array().unwrap().len(), 1, "{logfmt}");
    let newest = range(r#"{app="api"}"#);
    let lines: usize = newest["data"]["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["values"].as_array().unwrap().len())
        .sum();
    assert_eq!(lines, 3);
    let url = reqwest::Url::parse_with_params(
        &server.url("/loki/api/v1/query_range"),
        &[("query", r#"{app="api"} | logfmt | took != """#), ("start", &start), ("end", &end)],
    )
    .unwrap();
    let categorized: Value = server
        .http
        .get(url)
        .header("X-Loki-Response-Encoding-Flags", "categorize-labels")
        .send()
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(categorized["data"]["encodingFlags"], json!(["categorize-labels"]));
    assert_eq!(categorized["data"]["result"][0]["values"][0][2]["parsed"]["msg"], "done", "{categorized}");
    // Metric queries.
    let counts = server.query(
        "/loki/api/v1/query",
        &[("query", r#"sum by (app) (count_over_time({app="api"}[1m]))"#), ("time", &end)],
    );
    assert_eq!(counts["data"]["result"][0]["value"][1], "3", "{counts}");
    // L3
    let health = server.query(
        "/loki/api/v1/query",
        &[("query", "vector(1)+vector(1)"), ("direction", "backward"), ("time", "4000000000")],
    );
    assert_eq!(health["data"]["result"].as_array().unwrap().len(), 1);
    assert_eq!(health["data"]["result"][0]["value"][1], "2");
    // L4 - L7
    let within = [("start", start.as_str()), ("end", end.as_str())];
    let labels = server.query("/loki/api/v1/labels", &within);
    assert!(labels["data"].as_array().unwrap().contains(&json!("app")), "{labels}");
    assert_eq!(server.query("/loki/api/v1/label/app/values", &within)["data"], json!(["api"]));
    let series = server.query("/loki/api/v1/series", &[("match[]", r#"{app="api"}"#), within[0], within[1]]);
    assert_eq!(series["data"][0]["app"], "api");
    let stats =
        server.query("/loki/api/v1/index/stats", &[("query", r#"{app="api"}"#), within[0], within[1]]);
    assert_eq!((&stats["streams"], &stats["entries"]), (&json!(1), &json!(3)));
    // L8: the landing page of Logs Drilldown asks by `service_name`, which the push did not have.
    let volume = server.query(
        "/loki/api/v1/index/volume",
        &[("query", r#"{service_name=~".+"}"#), ("targetLabels", "service_name"), within[0], within[1]],
    );
    assert_eq!(volume["data"]["result"][0]["metric"], json!({ "service_name": "api" }), "{volume}");
    // L17
    assert_eq!(server.get("/ready").text().unwrap(), "ready\n");
    let config = server.get("/config").text().unwrap();
    assert!(
        config.contains("limits_config:\n") && config.contains("  retention_period: \"31d\"\n"),
        "{config}"
    );
    // L14
    let limits = &server.json("/loki/api/v1/drilldown-limits")["limits"];
    assert_eq!(
        (&limits["retention_period"], &limits["discover_service_name"][1]),
        (&json!("31d"), &json!("app"))
    );
    // A wrong query is refused with a position, as text.
    let wrong = server.get("/loki/api/v1/query_range?query=%7Bapp%3D");
    assert_eq!(wrong.status(), 400);
    assert!(wrong.text().unwrap().contains("line 1"), "position");
}

#[test]
fn service_name_is_not_added_where_it_is_switched_off() {
    let flags = ["--discover-service-name", "none", "--retention-logs", "36h", "--query-timeout", "7s"];
    let server = Server::up(&[&["--no-agent", "--no-alerts", "--no-web"][..], &flags[..]].concat());
    assert_eq!(loki_push(&server, json!({ "app": "api" }), &[(now_ms() * 1_000_000, "x")]).status(), 204);
    assert_eq!(server.json("/loki/api/v1/labels")["data"], json!(["app"]));
    let limits = &server.json("/loki/api/v1/drilldown-limits")["limits"];
    assert_eq!(
        (&limits["discover_service_name"], &limits["retention_period"], &limits["query_timeout"]),
        (&json!([]), &json!("1d12h"), &json!("7s"))
    );
}

/// L15, as a browser does it through Grafana's proxy.
#[test]
fn tail_sends_what_is_there_and_what_comes() {
    let server = Server::bare();
    let now = now_ms() * 1_000_000;
    let labels = || json!({ "app": "api" });
    let old: Vec<(i64, &str)> = vec![(now - 3, "one"), (now - 2, "two"), (now - 1, "three")];
    assert_eq!(loki_push(&server, labels(), &old).status(), 204);
    let mut socket = tailing(&server, "v1", "query=%7Bapp%3D%22api%22%7D&limit=2&delay_for=0&start=0");
    let lines = |frame: &Value| -> Vec<String> {
        let values = frame["streams"][0]["values"].as_array().unwrap();
        values.iter().map(|value| value[1].as_str().unwrap().to_owned()).collect()
    };
    let first = text_frame(&mut socket);
    assert_eq!(first["streams"][0]["stream"]["service_name"], "api", "{first}");
    assert_eq!(lines(&first), ["two", "three"]);
    assert_eq!(loki_push(&server, labels(), &[(now_ms() * 1_000_000, "four")]).status(), 204);
    assert_eq!(lines(&text_frame(&mut socket)), ["four"]);
}

/// As Loki: a client of sockets is told why one is closed. A limit that no other question may have is no reason.
#[test]
fn tail_of_numbers_is_closed_with_a_reason() {
    let server = Server::bare();
    let query = "query=rate(%7Bapp%3D%22api%22%7D%5B1m%5D)&limit=1000000";
    let mut socket = tailing(&server, "v1", query);
    let mut head = [0; 4];
    socket.read_exact(&mut head).unwrap();
    let why = "only log selector is supported";
    // Closed, so many bytes, 1011: an error.
    assert_eq!(head, [0x88, why.len() as u8 + 2, 0x03, 0xf3]);
    let mut told = vec![0; why.len()];
    socket.read_exact(&mut told).unwrap();
    assert_eq!(String::from_utf8(told).unwrap(), why);
}

/// L16, as Grafana's plugin asks itself.
#[test]
fn tail_of_the_plugin_is_a_data_frame() {
    let server = Server::bare();
    let labels = || json!({ "app": "api" });
    let at = now_ms() * 1_000_000 - 7;
    assert_eq!(loki_push(&server, labels(), &[(at, "one")]).status(), 204);
    let mut socket = tailing(&server, "v2alpha", "query=%7Bapp%3D%22api%22%7D");
    let frame = text_frame(&mut socket);
    let names: Vec<_> = frame["schema"]["fields"].as_array().unwrap().iter().map(|f| &f["name"]).collect();
    assert_eq!(names, ["labels", "Time", "Line", "tsNs"]);
    let values = &frame["data"]["values"];
    assert_eq!((&values[1][0], &values[2][0]), (&json!(at / 1_000_000), &json!("one")));
    assert_eq!((&values[0][0]["service_name"], &values[3][0]), (&json!("api"), &json!(at.to_string())));
    assert_eq!(frame["data"]["nanos"][1][0], json!(at % 1_000_000));
    assert_eq!(loki_push(&server, labels(), &[(now_ms() * 1_000_000, "two")]).status(), 204);
    assert_eq!(text_frame(&mut socket)["data"]["values"][2], json!(["two"]));
}

fn tailing(server: &Server, version: &str, query: &str) -> BufReader<TcpStream> {
    let mut socket = TcpStream::connect(server.address("http")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        socket,
        "GET /loki/api/{version}/tail?{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    let mut socket = BufReader::new(socket);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(socket.read_line(&mut head).unwrap(), 0, "{head}");
    }
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    socket
}

/// The next text of a server's WebSocket; its pings are passed over.
fn text_frame(socket: &mut impl Read) -> Value {
    loop {
        let mut head = [0; 2];
        socket.read_exact(&mut head).unwrap();
        let mut long = [0; 2];
        let length = match head[1] {
            126 => {
                socket.read_exact(&mut long).unwrap();
                usize::from(u16::from_be_bytes(long))
            }
            short => usize::from(short),
        };
        let mut text = vec![0; length];
        socket.read_exact(&mut text).unwrap();
        match head[0] {
            0x81 => return serde_json::from_slice(&text).unwrap(),
            0x89 => {}
            other => panic!("a frame of kind {other:#x}"),
        }
    }
}

#[test]
fn tempo_rows() {
    let server = Server::bare();
    let start_ns = (now_ms() - 30_000) * 1_000_000;
    assert!(trace(&server, start_ns).status().is_success());
    // T1
    assert_eq!(server.get("/tempo/api/echo").text().unwrap(), "echo");
    // T3: protobuf with a trace in it; an unknown id is an empty trace, not an error.
    let by_id = |id: &str| {
        let response = server
            .http
            .get(server.url(&format!("/tempo/api/v2/traces/{id}")))
            .header("Accept", "application/protobuf")
            .send()
            .unwrap();
        assert_eq!(response.status(), 200);
        response.bytes().unwrap()
    };
    let found = by_id(TRACE);
    for word in ["frontend", "pool.acquire", "orders-db", "boom"] {
        assert!(found.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
    assert_eq!(found[0], 0x0a, "field 1, the trace, is set");
    assert_eq!(by_id("ffffffffffffffffffffffffffffffff")[0], 0x0a);
    // T5
    let seconds =
        [((start_ns / 1_000_000_000) - 60).to_string(), (start_ns / 1_000_000_000 + 60).to_string()];
    let search = |q: &str| {
        server.query(
            "/tempo/api/search",
            &[("q", q), ("start", &seconds[0]), ("end", &seconds[1]), ("limit", "10")],
        )
    };
    for q in [
        r#"{ resource.service.name = "orders" && duration > 200ms }"#,
        r#"{ status = error }"#,
        r#"{ span.http.response.status_code >= 500 }"#,
        r#"{ .db.client.connection.pool.name = "orders-db" }"#,
        r#"{ name = "GET /checkout" } && { duration > 200ms }"#,
    ] {
        let answer = search(q);
        let traces = answer["traces"].as_array().unwrap_or_else(|| panic!("{q}: {answer}"));
        assert_eq!(traces.len(), 1, "{q}: {answer}");
        assert_eq!(
            traces[0]["traceID"].as_str().unwrap().trim_start_matches('0'),
            TRACE.trim_start_matches('0')
        );
        assert_eq!(
            (&traces[0]["rootServiceName"], &traces[0]["rootTraceName"]),
            (&json!("frontend"), &json!("GET /checkout"))
        );
        assert_eq!(traces[0]["durationMs"], 400);
    }
    assert_eq!(search("{ duration > 10s }")["traces"].as_array().map_or(0, Vec::len), 0);
    assert_eq!(server.get("/tempo/api/search?q=%7B%20duration%20%3E").status(), 400);
    // T10, T11
    let tags = server.query("/tempo/api/v2/search/tags", &[("limit", "5000")]);
    let span_tags = tags["scopes"].as_array().unwrap().iter().find(|scope| scope["name"] == "span").unwrap();
    assert!(span_tags["tags"].as_array().unwrap().contains(&json!("http.response.status_code")), "{tags}");
    let values = server.json("/tempo/api/v2/search/tag/resource.service.name/values");
    let services: Vec<&str> =
        values["tagValues"].as_array().unwrap().iter().map(|v| v["value"].as_str().unwrap()).collect();
    assert!(services.contains(&"frontend") && services.contains(&"orders"), "{values}");
}

#[test]
fn tenants_never_see_each_other() {
    let server = Server::bare();
    let now = now_ms();
    let as_tenant = |tenant: &str, path: &str| -> Value {
        server.http.get(server.url(path)).header("X-Scope-OrgID", tenant).send().unwrap().json().unwrap()
    };
    assert!(
        remote_write(&server, samples(&[(&[("__name__", "secret_total")], &[(now, 1.0)])]))
            .status()
            .is_success()
    );
    loki_push(&server, json!({ "app": "secret" }), &[(now * 1_000_000, "secret")]);
    otlp_log(&server, now * 1_000_000, "secret", "secret", Some(TRACE));
    trace(&server, now * 1_000_000);
    for path in [
        "/api/v1/query?query=secret_total",
        "/api/v1/labels",
        "/api/v1/label/__name__/values",
        "/loki/api/v1/labels",
        "/loki/api/v1/query_range?query=%7Bapp%3D~%22.%2B%22%7D",
        "/tempo/api/search?q=%7B%7D",
        "/api/sql?query=select%20count(*)%20as%20n%20from%20logs%20having%20count(*)%20%3E%200",
    ] {
        let text = as_tenant("other", path).to_string();
        assert!(!text.contains("secret") && !text.contains("frontend"), "{path}: {text}");
        assert!(as_tenant("default", path) != text, "{path} shows nothing to its own tenant either");
    }
    let wrong =
        server.http.get(server.url("/api/v1/labels")).header("X-Scope-OrgID", "../default").send().unwrap();
    assert_eq!(wrong.status(), 400);
}
