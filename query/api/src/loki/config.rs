//! `/config`: the configuration in force as Loki writes its own, in YAML: what of it we have, by Loki's names.

use super::drilldown::{Told, limits_config};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use engine::Engine;
use serde_json::{Value, json};

pub(super) fn config(engine: &Engine, told: &Told) -> Response {
    let text = yaml(&json!({
        "target": "all",
        "auth_enabled": true,
        "limits_config": limits_config(engine, told),
        "pattern_ingester": { "enabled": true },
    }));
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// Two floors of keys; what is below them is written as JSON, which is YAML too.
fn yaml(config: &Value) -> String {
    let mut out = String::new();
    for (name, value) in config.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(of_section) => {
                out.push_str(&format!("{name}:\n"));
                of_section.iter().for_each(|(name, value)| out.push_str(&format!("  {name}: {value}\n")));
            }
            None => out.push_str(&format!("{name}: {value}\n")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_indented_and_values_stand_behind_their_keys() {
        let config = json!({ "target": "all", "limits_config": { "a": [1, "x"], "b": true } });
        let lines = yaml(&config);
        assert!(lines.contains("target: \"all\"\n"));
        assert!(lines.contains("limits_config:\n  a: [1,\"x\"]\n  b: true\n"), "{lines}");
    }
}
