//! Label selectors and namespace selectors, as objects of Kubernetes have them.

use serde::Deserialize;
use std::collections::BTreeMap;

/// All of it must hold; an empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Selector {
    pub match_labels: BTreeMap<String, String>,
    pub match_expressions: Vec<Expression>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Expression {
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`.
    pub operator: String,
    pub values: Vec<String>,
}

impl Selector {
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let all = self.match_labels.iter().all(|(name, value)| labels.get(name) == Some(value));
        all && self.match_expressions.iter().all(|expression| expression.holds(labels))
    }
}

impl Expression {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator.as_str() {
            "In" => value.is_some_and(|value| self.values.contains(value)),
            "NotIn" => value.is_none_or(|value| !self.values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            // What is not understood selects nothing.
            _ => false,
        }
    }
}

/// Of a monitor: its own namespace, those that it names, or any.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Namespaces {
    pub any: bool,
    pub match_names: Vec<String>,
}

impl Namespaces {
    pub fn select(&self, own: &str, namespace: &str) -> bool {
        self.any
            || match self.match_names.is_empty() {
                true => own == namespace,
                false => self.match_names.iter().any(|name| name == namespace),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_selector_must_hold() {
        let labels: BTreeMap<String, String> =
            [("app", "cart"), ("tier", "web")].map(|(k, v)| (k.into(), v.into())).into();
        let selects = |text: &str| serde_json::from_str::<Selector>(text).unwrap().selects(&labels);
        assert!(selects("{}"));
        assert!(selects(r#"{"matchLabels": {"app": "cart"}}"#));
        assert!(!selects(r#"{"matchLabels": {"app": "cart", "tier": "db"}}"#));
        for (operator, key, values, holds) in [
            ("In", "app", r#"["cart", "x"]"#, true),
            ("In", "none", r#"["cart"]"#, false),
            ("NotIn", "app", r#"["cart"]"#, false),
            ("NotIn", "none", r#"["cart"]"#, true),
            ("Exists", "app", "[]", true),
            ("DoesNotExist", "app", "[]", false),
            ("Like", "app", "[]", false),
        ] {
            let text = format!(
                r#"{{"matchExpressions": [{{"key": "{key}", "operator": "{operator}", "values": {values}}}]}}"#
            );
            assert_eq!(selects(&text), holds, "{operator} {key}");
        }
    }

    #[test]
    fn a_monitor_is_for_its_own_namespace_until_it_says_otherwise() {
        let of = |text: &str| serde_json::from_str::<Namespaces>(text).unwrap();
        assert!(of("{}").select("a", "a") && !of("{}").select("a", "b"));
        assert!(of(r#"{"matchNames": ["b"]}"#).select("a", "b"));
        assert!(!of(r#"{"matchNames": ["b"]}"#).select("a", "a"));
        assert!(of(r#"{"any": true}"#).select("a", "c"));
    }
}
