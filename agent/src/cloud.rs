//! What machine this is to its cloud: instance type, region, zone, and whether it is a spot machine, as the metadata server of
//! AWS, Google or Azure writes it. Prices depend on it. It is told as `binnacle_node_cloud_info`, for nodes whose labels do
//! not say it or that are in no cluster.

use crate::kubelet::client::explained;
use crate::samples::Samples;
use parking_lot::Mutex;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Where all three clouds have it.
pub const METADATA: &str = "http://169.254.169.254";

/// It is on the machine's own network; elsewhere nothing answers.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A machine stays what it is until it is stopped; the server may come up after us.
const AGAIN_AFTER: Duration = Duration::from_secs(300);
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Labels of one machine. Empty where the cloud does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    provider: &'static str,
    region: String,
    zone: String,
    instance_type: String,
    is_spot: bool,
}

/// Known once it was answered. Clones share it.
#[derive(Clone, Default)]
pub struct Known(Arc<Mutex<Option<Machine>>>);

impl Known {
    /// Asks until one of the clouds answers.
    pub async fn ask(self, base: String, stop: CancellationToken) {
        let builder = || anyhow::Ok(reqwest::Client::builder().no_proxy().timeout(TIMEOUT));
        let Ok(http) = crate::caller::built(builder) else { return };
        let mut said = false;
        loop {
            let asked = async { tokio::join!(aws(&http, &base), gcp(&http, &base), azure(&http, &base)) };
            let (aws, gcp, azure) = tokio::select! {
                answers = asked => answers,
                () = stop.cancelled() => return,
            };
            match first([aws, gcp, azure]) {
                Ok(Some(machine)) => {
                    info!(?machine, "the cloud's metadata tells what this machine is");
                    *self.0.lock() = Some(machine);
                    return;
                }
                Ok(None) if !said => info!(base, "no cloud's metadata answers here"),
                Err(why) if !said => warn!(base, why, "the cloud's metadata is not understood"),
                _ => {}
            }
            said = true;
            tokio::select! {
                () = tokio::time::sleep(AGAIN_AFTER) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    pub fn tell(&self, out: &mut Samples) {
        let Some(machine) = self.0.lock().clone() else { return };
        let labels = [
            ("provider", machine.provider),
            ("region", &machine.region),
            ("zone", &machine.zone),
            ("instance_type", &machine.instance_type),
            ("lifecycle", if machine.is_spot { "spot" } else { "on_demand" }),
        ];
        let help = "What the cloud's metadata says of this machine; always 1.";
        out.gauge("binnacle_node_cloud_info", help, &labels, 1.0);
    }
}

/// The body of an answer 200; nothing where another cloud's server, or none, is there.
async fn answer(request: RequestBuilder) -> Option<Vec<u8>> {
    let mut response = request.send().await.map_err(|wrong| tracing::debug!(why = explained(&wrong))).ok()?;
    if response.status() != StatusCode::OK {
        return None;
    }
    let mut body = vec![];
    while let Ok(Some(piece)) = response.chunk().await {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return None;
        }
        body.extend_from_slice(&piece);
    }
    Some(body)
}

type Answer = Result<Option<Machine>, String>;

/// The cloud that understands its own. What stands in front of a metadata server may answer the others' questions somehow.
fn first(answers: [Answer; 3]) -> Answer {
    let mut wrong = None;
    for answer in answers {
        match answer {
            Ok(None) => {}
            Err(why) => wrong = wrong.or(Some(why)),
            Ok(machine) => return Ok(machine),
        }
    }
    wrong.map_or(Ok(None), Err)
}

fn read(cloud: &str, body: &[u8], machine: fn(&Value) -> Option<Machine>) -> Answer {
    let value: Value = serde_json::from_slice(body).map_err(|wrong| format!("{cloud}: {wrong}"))?;
    machine(&value).map(Some).ok_or_else(|| format!("{cloud}: the answer names no type of machine"))
}

async fn aws(http: &reqwest::Client, base: &str) -> Answer {
    const TOKEN_LIFE: (&str, &str) = ("X-aws-ec2-metadata-token-ttl-seconds", "60");
    let path = |path: &str| format!("{base}/latest/{path}");
    let token = http.request(Method::PUT, path("api/token")).header(TOKEN_LIFE.0, TOKEN_LIFE.1);
    let Some(token) = answer(token).await.and_then(|token| String::from_utf8(token).ok()) else {
        return Ok(None);
    };
    let get = |at: &str| http.get(path(at)).header("X-aws-ec2-metadata-token", token.trim());
    let Some(document) = answer(get("dynamic/instance-identity/document")).await else { return Ok(None) };
    let lifecycle = is_spot(get("meta-data/instance-life-cycle")).await;
    let is_spot = lifecycle.map_err(|why| format!("AWS: instance-life-cycle: {why}"))?;
    let read = read("AWS", &document, |document| {
        let text = |name: &str| document[name].as_str().unwrap_or("").to_owned();
        let instance_type = document["instanceType"].as_str()?.to_owned();
        let (region, zone) = (text("region"), text("availabilityZone"));
        Some(Machine { provider: "aws", region, zone, instance_type, is_spot: false })
    })?;
    Ok(read.map(|machine| Machine { is_spot, ..machine }))
}

/// It is asked once for all: a spot machine whose answer fails must not be told as another.
async fn is_spot(lifecycle: RequestBuilder) -> Result<bool, String> {
    let mut response = lifecycle.send().await.map_err(|wrong| explained(&wrong))?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(false),
        other => return Err(other.to_string()),
    }
    let word = response.chunk().await.map_err(|wrong| explained(&wrong))?;
    Ok(word.is_some_and(|word| word.trim_ascii() == b"spot"))
}

async fn gcp(http: &reqwest::Client, base: &str) -> Answer {
    let url = format!("{base}/computeMetadata/v1/instance/?recursive=true");
    let Some(body) = answer(http.get(url).header("Metadata-Flavor", "Google")).await else {
        return Ok(None);
    };
    read("Google", &body, |instance| {
        // `projects/1234/zones/us-central1-a`, and the region is all but the zone's letter.
        let last = |name: &str| instance[name].as_str()?.rsplit('/').next();
        let zone = last("zone").unwrap_or("").to_owned();
        let region = zone.rsplit_once('-').map_or("", |(region, _)| region).to_owned();
        let scheduling = |name: &str| instance["scheduling"][name].as_str().unwrap_or("").to_lowercase();
        let is_spot = scheduling("preemptible") == "true" || scheduling("provisioningModel") == "spot";
        Some(Machine {
            provider: "gcp",
            region,
            zone,
            instance_type: last("machineType")?.to_owned(),
            is_spot,
        })
    })
}

async fn azure(http: &reqwest::Client, base: &str) -> Answer {
    let url = format!("{base}/metadata/instance?api-version=2021-02-01");
    let Some(body) = answer(http.get(url).header("Metadata", "true")).await else { return Ok(None) };
    read("Azure", &body, |instance| {
        let compute = &instance["compute"];
        let text = |name: &str| compute[name].as_str().unwrap_or("").to_owned();
        let region = text("location");
        // A number within the region; nodes are labelled with both.
        let zone = match text("zone") {
            zone if zone.is_empty() => zone,
            zone => format!("{region}-{zone}"),
        };
        let is_spot = text("priority") == "Spot";
        Some(Machine {
            provider: "azure",
            region,
            zone,
            instance_type: compute["vmSize"].as_str()?.to_owned(),
            is_spot,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;
    use axum::routing::{get, put};
    use axum::{Json, Router};
    use serde_json::json;

    /// A metadata server with these routes, and what is made of it.
    async fn asked(router: Router) -> Option<Machine> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let http = reqwest::Client::new();
        let (aws, gcp, azure) = tokio::join!(aws(&http, &base), gcp(&http, &base), azure(&http, &base));
        first([aws, gcp, azure]).unwrap()
    }

    fn has(headers: &HeaderMap, name: &str, value: &str) -> Result<(), StatusCode> {
        headers.get(name).filter(|is| *is == value).map(|_| ()).ok_or(StatusCode::UNAUTHORIZED)
    }

    #[tokio::test]
    async fn each_clouds_format_is_understood() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let aws = Router::new()
            .route("/latest/api/token", put(|| async { "secret" }))
            .route(
                "/latest/dynamic/instance-identity/document",
                get(|headers: HeaderMap| async move {
                    has(&headers, "X-aws-ec2-metadata-token", "secret")?;
                    Ok::<_, StatusCode>(Json(json!({ "accountId": "1", "instanceType": "m5.xlarge",
                        "region": "us-east-1", "availabilityZone": "us-east-1b" })))
                }),
            )
            .route("/latest/meta-data/instance-life-cycle", get(|| async { "spot" }))
            .fallback(get(|| async { "a proxy that answers anything" }));
        let machine = |provider, region: &str, zone: &str, instance_type: &str, is_spot| {
            let (region, zone, instance_type) = (region.into(), zone.into(), instance_type.into());
            Some(Machine { provider, region, zone, instance_type, is_spot })
        };
        assert_eq!(asked(aws).await, machine("aws", "us-east-1", "us-east-1b", "m5.xlarge", true));
        let gcp = Router::new().route(
            "/computeMetadata/v1/instance/",
            get(|headers: HeaderMap| async move {
                has(&headers, "Metadata-Flavor", "Google")?;
                Ok::<_, StatusCode>(Json(json!({ "zone": "projects/1/zones/us-central1-a",
                    "machineType": "projects/1/machineTypes/n1-standard-4",
                    "scheduling": { "preemptible": "TRUE", "onHostMaintenance": "TERMINATE" } })))
            }),
        );
        assert_eq!(asked(gcp).await, machine("gcp", "us-central1", "us-central1-a", "n1-standard-4", true));
        let azure = Router::new().route(
            "/metadata/instance",
            get(|headers: HeaderMap| async move {
                has(&headers, "Metadata", "true")?;
                Ok::<_, StatusCode>(Json(
                    json!({ "compute": { "vmSize": "Standard_D4s_v3", "location": "eastus",
                    "zone": "1", "priority": "Regular" } }),
                ))
            }),
        );
        assert_eq!(asked(azure).await, machine("azure", "eastus", "eastus-1", "Standard_D4s_v3", false));
        assert_eq!(asked(Router::new()).await, None);
        let wrong = Router::new().route("/metadata/instance", get(|| async { Json(json!({})) }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, wrong).await.unwrap() });
        assert!(super::azure(&reqwest::Client::new(), &base).await.unwrap_err().contains("Azure"));
        let unsure = Router::new()
            .route("/latest/api/token", put(|| async { "secret" }))
            .route(
                "/latest/dynamic/instance-identity/document",
                get(|| async { Json(json!({ "instanceType": "m5.xlarge" })) }),
            )
            .route(
                "/latest/meta-data/instance-life-cycle",
                get(|| async { StatusCode::SERVICE_UNAVAILABLE }),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, unsure).await.unwrap() });
        assert!(super::aws(&reqwest::Client::new(), &base).await.unwrap_err().contains("life-cycle"));
    }

    #[test]
    fn it_is_told_as_one_series() {
        let known = Known::default();
        let mut samples = Samples::new(0, "n1", false);
        known.tell(&mut samples);
        let machine =
            Machine { provider: "aws", region: "r".into(), instance_type: "t".into(), ..Machine::default() };
        *known.0.lock() = Some(machine);
        known.tell(&mut samples);
        let all = crate::tests::labels_and_values(&samples.finish());
        assert_eq!(all.len(), 1);
        let labels = all[0].0.to_string();
        for part in
            ["binnacle_node_cloud_info", "provider=\"aws\"", "instance_type=\"t\"", "lifecycle=\"on_demand\""]
        {
            assert!(labels.contains(part), "{labels}");
        }
        assert!(!labels.contains("zone="), "{labels}");
    }
}
