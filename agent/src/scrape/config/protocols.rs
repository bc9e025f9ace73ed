//! In which notations a target is asked to answer, and how it should write names.

use crate::scrape::client::Format;
use serde::Deserialize;

/// How a target should write names that are not of letters, digits, `_` and `:`.
#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Escaping {
    #[serde(rename = "allow-utf-8")]
    AllowUtf8,
    Underscores,
    Dots,
    Values,
}

impl Escaping {
    fn as_str(self) -> &'static str {
        match self {
            Escaping::AllowUtf8 => "allow-utf-8",
            Escaping::Underscores => "underscores",
            Escaping::Dots => "dots",
            Escaping::Values => "values",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
pub(super) enum Protocol {
    PrometheusProto,
    #[serde(rename = "OpenMetricsText0.0.1")]
    OpenMetrics0,
    #[serde(rename = "OpenMetricsText1.0.0")]
    OpenMetrics1,
    #[serde(rename = "PrometheusText0.0.4")]
    Text0,
    #[serde(rename = "PrometheusText1.0.0")]
    Text1,
}

impl Protocol {
    fn accept(self, escaping: Escaping) -> String {
        let escaping = escaping.as_str();
        match self {
            Protocol::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
                    .into()
            }
            Protocol::OpenMetrics0 => "application/openmetrics-text;version=0.0.1".into(),
            Protocol::OpenMetrics1 => {
                format!("application/openmetrics-text;version=1.0.0;escaping={escaping}")
            }
            Protocol::Text0 => "text/plain;version=0.0.4".into(),
            Protocol::Text1 => format!("text/plain;version=1.0.0;escaping={escaping}"),
        }
    }

    pub fn format(self) -> Format {
        match self {
            Protocol::PrometheusProto => Format::Protobuf,
            Protocol::OpenMetrics0 | Protocol::OpenMetrics1 => Format::OpenMetrics,
            Protocol::Text0 | Protocol::Text1 => Format::Text,
        }
    }
}

/// The first is wanted most.
pub(super) fn accept(protocols: &[Protocol], escaping: Escaping) -> String {
    let mut parts: Vec<String> = vec![];
    for (place, protocol) in protocols.iter().enumerate() {
        parts.push(format!("{};q=0.{}", protocol.accept(escaping), protocols.len() + 1 - place));
    }
    parts.push("*/*;q=0.1".into());
    parts.join(",")
}
