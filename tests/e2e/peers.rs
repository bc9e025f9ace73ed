//! Real peers: Debian's Prometheus writes to us and scrapes us, and answers the same questions; the OpenTelemetry SDK for
//! Python sends all three signals.

use crate::server::{Peer, Server, eventually, free_port, now_ms, program};
use serde_json::Value;
use std::process::{Command, Stdio};

fn prometheus(dir: &std::path::Path, port: u16, server: &Server) -> Peer {
    let config = dir.join("prometheus.yml");
    std::fs::write(
        &config,
        format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: binnacle\n  static_configs: [{{ targets: ['{}'] }}]\n\
             - job_name: itself\n  static_configs: [{{ targets: ['127.0.0.1:{port}'] }}]\nremote_write:\n- url: {}\n",
            server.address("http"),
            server.url("/api/v1/write")
        ),
    )
    .unwrap();
    let child = Command::new(program("prometheus"))
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Peer(child)
}

#[test]
fn prometheus_scrapes_us_and_writes_to_us() {
    let server = Server::bare();
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let _prometheus = prometheus(dir.path(), port, &server);
    // What it scraped from our /metrics comes back to us through its remote write, so both directions hold.
    eventually("up of our own scrape", || {
        server.promql("up{job=\"binnacle\"}").first().filter(|row| row["value"][1] == "1").cloned()
    });
    eventually("our metrics by way of Prometheus", || {
        server.promql("binnacle_build_info{job=\"binnacle\"}").first().cloned()
    });
    eventually("a minute's worth of samples", || {
        let count = server.promql("count_over_time(up{job=\"itself\"}[5m])");
        (count.first()?["value"][1].as_str()?.parse::<f64>().ok()? >= 10.0).then_some(())
    });
    // Both hold the same samples up to a second ago and must answer alike.
    let at = ((now_ms() - 3_000) / 1000).to_string();
    for query in [
        "count(up)",
        "sum by (job) (up)",
        "count by (job) ({job=~\".+\", __name__=~\"go_.*\"})",
        "max_over_time(go_goroutines{job=\"itself\"}[20s])",
        "topk(2, prometheus_http_requests_total)",
    ] {
        let ask = |base: &str| -> Value {
            let url = reqwest::Url::parse_with_params(
                &format!("{base}/api/v1/query"),
                &[("query", query), ("time", &at)],
            )
            .unwrap();
            let mut answer: Value = server.http.get(url).send().unwrap().json().unwrap();
            let rows = answer["data"]["result"].as_array_mut().unwrap();
            rows.sort_by_key(|row| row.to_string());
            answer["data"].take()
        };
        eventually(&format!("equal answers to {query}"), || {
            (ask(&format!("http://127.0.0.1:{port}")) == ask(&server.url(""))).then_some(())
        });
    }
}

const PYTHON: &str = r#"
import logging, sys
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
kind, endpoint = sys.argv[1], sys.argv[2]
if kind == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    to = lambda signal: dict(endpoint=endpoint, insecure=True)
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    to = lambda signal: dict(endpoint=endpoint + "/v1/" + signal)
resource = Resource.create({"service.name": "python-" + kind})
traces = TracerProvider(resource=resource)
traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(**to("traces"))))
metrics = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter(**to("metrics")), export_interval_millis=60000)])
logs = LoggerProvider(resource=resource)
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(**to("logs"))))
logger = logging.getLogger("shop")
logger.addHandler(LoggingHandler(logger_provider=logs))
counter = metrics.get_meter("shop").create_counter("shop.orders", unit="{order}")
duration = metrics.get_meter("shop").create_histogram("shop.duration", unit="s")
with traces.get_tracer("shop", "1.2", attributes={"team": "checkout"}).start_as_current_span("order", attributes={"customer": "c-1"}):
    counter.add(3, {"country": "NL"})
    duration.record(0.25)
    logger.error("card refused")
traces.shutdown(); metrics.shutdown(); logs.shutdown()
"#;

/// Sends all three signals with the SDK and ends.
fn python_sends(kind: &str, to: &Server, listener: &str) {
    let python = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    assert!(python.exists(), "no Python environment; run tests/setup.sh");
    let endpoint = format!("http://{}", to.address(listener));
    let output = Command::new(&python).args(["-c", PYTHON, kind, &endpoint]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("Failed to export"), "{said}");
}

#[test]
fn an_agent_passes_the_python_sdk_s_telemetry_on_with_its_host() {
    let server = Server::bare();
    let dir = tempfile::tempdir().unwrap();
    let agent = Server::start("agent", dir.path(), &["--ingest", &server.url("")]);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim();
    for (kind, listener) in [("grpc", "otlp_grpc"), ("http", "otlp_http")] {
        python_sends(kind, &agent, listener);
        let service = format!("python-{kind}");
        let orders = eventually("the counter", || {
            server.promql(&format!("shop_orders_total{{job=\"{service}\"}}")).first().cloned()
        });
        assert_eq!((&orders["value"][1], &orders["metric"]["host_name"]), (&"3".into(), &host.into()));
        for (table, what) in [("spans", "name"), ("logs", "body")] {
            let query = format!(
                "select {what} as what, attr(resource, 'host.name') as host from {table} where service = '{service}'"
            );
            let row = eventually(table, || server.sql(&query).first().cloned());
            assert_eq!(row["host"], host, "{row}");
        }
    }
}

#[test]
fn the_python_sdk_sends_all_three_signals() {
    let server = Server::bare();
    for (kind, listener) in [("grpc", "otlp_grpc"), ("http", "otlp_http")] {
        python_sends(kind, &server, listener);
        let service = format!("python-{kind}");
        let orders = server.promql(&format!("shop_orders_total{{job=\"{service}\"}}"));
        assert_eq!(orders[0]["value"][1], "3", "{orders:?}");
        assert_eq!(orders[0]["metric"]["country"], "NL");
        let count = server.promql(&format!("shop_duration_seconds_count{{job=\"{service}\"}}"));
        assert_eq!(count[0]["value"][1], "1");
        let joined = server.sql(&format!(
            "select l.body, s.name, attr(s.attributes, 'customer') as customer, attr(s.scope_attributes, 'team') as team from logs l join spans s on l.trace_id = s.trace_id where l.service = '{service}'"
        ));
        assert_eq!(joined.len(), 1, "{joined:?}");
        assert_eq!(
            (&joined[0]["body"], &joined[0]["name"], &joined[0]["customer"]),
            (&"card refused".into(), &"order".into(), &"c-1".into())
        );
        assert_eq!(joined[0]["team"], "checkout");
    }
}

/// Sends with the SDK for Node and ends.
fn node_sends(kind: &str, to: &Server, listener: &str) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
    assert!(folder.join("node_modules").exists(), "no SDK for Node; run tests/setup.sh");
    let url = format!("http://{}", to.address(listener));
    let output = Command::new("node").current_dir(folder).args(["send.mjs", kind, &url]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_node_sdk_sends_traces_by_each_protocol() {
    let server = Server::bare();
    for (kind, listener) in [("grpc", "otlp_grpc"), ("proto", "otlp_http"), ("json", "otlp_http")] {
        node_sends(kind, &server, listener);
        let query = format!(
            "select name, kind, status, status_message, scope_name, scope_version, attr(attributes, 'total') as total, \
             events like '%retry%' as retried, links <> '[]' as linked from spans where service = 'node-{kind}' \
             order by name desc"
        );
        let rows = server.sql(&query);
        let [pay, order, before] = rows.as_slice() else { panic!("{kind}: {rows:?}") };
        assert_eq!(
            (&pay["status"], &pay["status_message"]),
            (&"error".into(), &"card refused".into()),
            "{kind}"
        );
        assert_eq!((&pay["kind"], &pay["retried"]), (&"client".into(), &true.into()), "{kind}: {pay}");
        assert_eq!((&order["total"], &order["linked"]), (&"9.5".into(), &true.into()), "{kind}: {order}");
        assert_eq!((&order["retried"], &pay["linked"]), (&false.into(), &false.into()), "{kind}");
        assert_eq!((&before["scope_name"], &before["scope_version"]), (&"shop".into(), &"1.2.3".into()));
    }
}
