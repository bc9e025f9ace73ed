//! Senders that are known by their address.

use super::*;
use std::net::IpAddr;

struct Known;

impl Identify for Known {
    fn identify(&self, peer: IpAddr, said: &dyn Fn(&str) -> Option<String>) -> Attributes {
        if peer != IpAddr::from([10, 1, 2, 3]) || said("k8s.pod.name").is_some() {
            return vec![];
        }
        vec![("k8s.pod.name".into(), "cart-0".into()), ("service.name".into(), "never said".into())]
    }
}

async fn written(path: &str, peer: &str, body: &str) -> Write {
    let memory = Arc::new(Memory::default());
    let doors = Arc::new(Doors::new(memory.clone(), Config::default()).identified_by(Arc::new(Known)));
    let headers = [("content-type", "application/json"), (PEER_HEADER, peer)];
    let (status, answer) = post(&doors, path, &headers, body.to_owned()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    memory.writes.lock().pop().unwrap()
}

const RESOURCE: &str =
    r#""resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]}"#;

#[tokio::test]
async fn resources_are_completed_and_what_they_say_stands() {
    let logs = format!(
        r#"{{"resourceLogs": [{{{RESOURCE}, "scopeLogs": [{{"logRecords": [{{"timeUnixNano": "1", "body": {{"stringValue": "x"}}}}]}}]}}]}}"#
    );
    let resource_of = |write: Write| match write.batch {
        Batch::Logs(logs) => logs.streams[0].resource.clone(),
        Batch::Spans(spans) => (*spans.resources[0].resource).clone(),
        Batch::Metrics(_) => panic!("no metrics were sent"),
    };
    let text = |resource: &Attributes, name: &str| {
        attribute(resource, name).and_then(Value::as_str).map(str::to_owned)
    };
    let known = resource_of(written("/otlp/v1/logs", "10.1.2.3", &logs).await);
    assert_eq!(text(&known, "k8s.pod.name").as_deref(), Some("cart-0"));
    assert_eq!(text(&known, "service.name").as_deref(), Some("cart"));
    let mapped = resource_of(written("/otlp/v1/logs", "::ffff:10.1.2.3", &logs).await);
    assert_eq!(text(&mapped, "k8s.pod.name").as_deref(), Some("cart-0"));
    // Its pod is among the labels that the stream is found by, as where a collector names it before it sends.
    let stream_of = |write: Write| match write.batch {
        Batch::Logs(logs) => logs.streams[0].clone(),
        other => panic!("{other:?}"),
    };
    let named = stream_of(written("/otlp/v1/logs", "10.1.2.3", &logs).await).labels;
    assert_eq!((named.get("k8s_pod_name"), named.get("service_name")), (Some("cart-0"), Some("cart")));
    let bare = logs.replace(&format!("{RESOURCE}, "), "");
    let bare = stream_of(written("/otlp/v1/logs", "10.1.2.3", &bare).await);
    assert_eq!(text(&bare.resource, "k8s.pod.name").as_deref(), Some("cart-0"));
    assert_eq!(bare.labels.get("service_name"), Some("never said"));
    let stranger = resource_of(written("/otlp/v1/logs", "10.9.9.9", &logs).await);
    assert_eq!(text(&stranger, "k8s.pod.name"), None);

    let spans = format!(
        r#"{{"resourceSpans": [{{{RESOURCE}, "scopeSpans": [{{"spans": [{{"traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331", "name": "s", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}}]}}]}}]}}"#
    );
    let known = resource_of(written("/otlp/v1/traces", "10.1.2.3", &spans).await);
    assert_eq!(text(&known, "k8s.pod.name").as_deref(), Some("cart-0"));
    let zipkin = r#"[{"traceId": "0af7651916cd43dd8448eb211c80319c", "id": "b7ad6b7169203331", "name": "s",
        "timestamp": 1, "duration": 1, "localEndpoint": {"serviceName": "cart"}}]"#;
    let memory = Arc::new(Memory::default());
    let doors = Arc::new(Doors::new(memory.clone(), Config::default()).identified_by(Arc::new(Known)));
    let headers = [("content-type", "application/json"), (PEER_HEADER, "10.1.2.3")];
    let (status, answer) = post(&doors, "/api/v2/spans", &headers, zipkin).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let known = resource_of(memory.writes.lock().pop().unwrap());
    assert_eq!(text(&known, "k8s.pod.name").as_deref(), Some("cart-0"));
}

#[tokio::test]
async fn series_of_two_pods_are_two() {
    let metrics = format!(
        r#"{{"resourceMetrics": [{{{RESOURCE}, "scopeMetrics": [{{"metrics": [{{"name": "orders", "gauge": {{"dataPoints": [
        {{"timeUnixNano": "1000000", "asDouble": 1}}]}}}}]}}]}}]}}"#
    );
    let pods = |write: Write| match write.batch {
        Batch::Metrics(batch) => batch
            .iter()
            .map(|(labels, ..)| Labels::from_bytes(labels).unwrap())
            .filter(|labels| labels.metric_name() == "orders")
            .map(|labels| labels.get("k8s_pod_name").map(str::to_owned))
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(pods(written("/otlp/v1/metrics", "10.1.2.3", &metrics).await), [Some("cart-0".to_owned())]);
    assert_eq!(pods(written("/otlp/v1/metrics", "10.9.9.9", &metrics).await), [None]);
}
