//! The dashboards that the page draws and Grafana is provisioned with: classic Grafana JSON, unchanged.

use serde_json::Value;
use std::sync::LazyLock;

static TEXTS: &[&str] = include!(concat!(env!("OUT_DIR"), "/grafana.rs"));

static DASHBOARDS: LazyLock<Vec<Dashboard>> =
    LazyLock::new(|| TEXTS.iter().filter_map(|text| Dashboard::read(text)).collect());

/// One dashboard and what a list says about it.
#[derive(Clone, Debug)]
pub struct Dashboard {
    pub uid: String,
    pub title: String,
    pub tags: Vec<String>,
    /// The file as it is in the repository.
    pub json: &'static str,
}

/// In the order of their file names.
pub fn grafana() -> &'static [Dashboard] {
    &DASHBOARDS
}

impl Dashboard {
    /// `None` for a file that is not a dashboard; a test says which.
    fn read(json: &'static str) -> Option<Self> {
        let value: Value = serde_json::from_str(json).ok()?;
        let tags = value["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        Some(Dashboard {
            uid: value["uid"].as_str()?.to_owned(),
            title: value["title"].as_str()?.to_owned(),
            tags: tags.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            json,
        })
    }
}

#[cfg(test)]
mod tests;
