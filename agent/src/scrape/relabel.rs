//! Relabelling, as Prometheus does it: rules one after another, each looking at some labels and changing or dropping
//! what has them.

use model::{LabelSetBuilder, Labels};
use regex::Regex;
use serde::Deserialize;

/// One rule, checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Rule {
    source: Vec<String>,
    separator: String,
    regex: Regex,
    modulus: u64,
    target: String,
    replacement: String,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

const ACTIONS: [(&str, Action); 11] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("hashmod", Action::HashMod),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    source_labels: Option<Vec<String>>,
    separator: Option<String>,
    regex: Option<serde_yaml_ng::Value>,
    modulus: Option<u64>,
    target_label: Option<String>,
    replacement: Option<String>,
    action: Option<String>,
}

impl TryFrom<Written> for Rule {
    type Error = String;

    fn try_from(written: Written) -> Result<Rule, String> {
        let named = written.action.as_deref().unwrap_or("replace").to_lowercase();
        let Some((word, action)) = ACTIONS.iter().find(|(word, _)| *word == named).copied() else {
            let known: Vec<&str> = ACTIONS.iter().map(|(word, _)| *word).collect();
            return Err(format!("unknown relabel action {named:?}; one of {}", known.join(", ")));
        };
        let text = match &written.regex {
            None => "(.*)".to_owned(),
            Some(serde_yaml_ng::Value::Null) => String::new(),
            Some(serde_yaml_ng::Value::String(text)) => text.clone(),
            Some(serde_yaml_ng::Value::Number(number)) => number.to_string(),
            Some(serde_yaml_ng::Value::Bool(truth)) => truth.to_string(),
            Some(_) => return Err("regex is no text".into()),
        };
        let regex = regex::RegexBuilder::new(&format!("^(?s:{text})$")).size_limit(10 << 20).build();
        let regex = regex.map_err(|wrong| format!("regex {text:?}: {wrong}"))?;
        let needs_target = !matches!(
            action,
            Action::Keep | Action::Drop | Action::LabelMap | Action::LabelDrop | Action::LabelKeep
        );
        let target = written.target_label.clone().unwrap_or_default();
        if needs_target && target.is_empty() {
            return Err(format!("relabel configuration for {word} action requires 'target_label' value"));
        }
        if action == Action::HashMod && written.modulus.unwrap_or(0) == 0 {
            return Err("relabel configuration for hashmod requires non-zero modulus".into());
        }
        let changes_case = matches!(action, Action::Lowercase | Action::Uppercase);
        if changes_case && written.replacement.as_ref().is_some_and(|text| text != "$1") {
            return Err(format!("'replacement' can not be set for {word} action"));
        }
        let only_regex = matches!(action, Action::LabelDrop | Action::LabelKeep);
        if only_regex
            && (written.source_labels.is_some()
                || written.target_label.is_some()
                || written.modulus.is_some()
                || written.separator.is_some()
                || written.replacement.is_some())
        {
            return Err(format!("{word} action requires only 'regex', and no other fields"));
        }
        let only_labels = matches!(action, Action::KeepEqual | Action::DropEqual);
        if only_labels
            && (written.regex.is_some()
                || written.modulus.is_some()
                || written.separator.is_some()
                || written.replacement.is_some())
        {
            return Err(format!(
                "{word} action requires only 'source_labels' and 'target_label', and no other fields"
            ));
        }
        Ok(Rule {
            source: written.source_labels.unwrap_or_default(),
            separator: written.separator.unwrap_or_else(|| ";".into()),
            regex,
            modulus: written.modulus.unwrap_or(0),
            target,
            replacement: written.replacement.unwrap_or_else(|| "$1".into()),
            action,
        })
    }
}

/// What the rules make of a label set; `None` where one of them drops it.
pub fn relabelled(rules: &[Rule], labels: Labels) -> Option<Labels> {
    if rules.is_empty() {
        return Some(labels);
    }
    let mut builder = LabelSetBuilder::from_labels(&labels);
    rules.iter().all(|rule| rule.apply(&mut builder)).then(|| builder.build())
}

impl Rule {
    /// False drops the set.
    fn apply(&self, labels: &mut LabelSetBuilder) -> bool {
        let source: Vec<&str> = self.source.iter().map(|name| labels.get(name).unwrap_or("")).collect();
        let value = source.join(&self.separator);
        match self.action {
            Action::Keep => return self.regex.is_match(&value),
            Action::Drop => return !self.regex.is_match(&value),
            Action::KeepEqual => return labels.get(&self.target).unwrap_or("") == value,
            Action::DropEqual => return labels.get(&self.target).unwrap_or("") != value,
            Action::Replace => {
                if let Some(found) = self.regex.captures(&value) {
                    let (mut target, mut replacement) = (String::new(), String::new());
                    // Templates are as in Go: `$name` takes the longest name.
                    found.expand(&self.target, &mut target);
                    found.expand(&self.replacement, &mut replacement);
                    if !target.is_empty() {
                        labels.set(&target, &replacement);
                    }
                }
            }
            Action::Lowercase => _ = labels.set(&self.target, &value.to_lowercase()),
            Action::Uppercase => _ = labels.set(&self.target, &value.to_uppercase()),
            Action::HashMod => {
                let hash = md5::compute(value.as_bytes());
                let last = u64::from_be_bytes(hash.0[8..].try_into().unwrap_or_default());
                labels.set(&self.target, &(last % self.modulus).to_string());
            }
            Action::LabelMap => {
                let all = labels.clone().build();
                for (name, value) in all.iter() {
                    if let Some(found) = self.regex.captures(name) {
                        let mut to = String::new();
                        found.expand(&self.replacement, &mut to);
                        labels.set(&to, value);
                    }
                }
            }
            Action::LabelDrop | Action::LabelKeep => {
                let all = labels.clone().build();
                for (name, _) in all.iter() {
                    if self.regex.is_match(name) == (self.action == Action::LabelDrop) {
                        labels.remove(name);
                    }
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(rules: &str, labels: &[(&str, &str)]) -> Option<String> {
        let rules: Vec<Rule> = serde_yaml_ng::from_str(rules).unwrap();
        relabelled(&rules, Labels::from_pairs(labels.iter().copied())).map(|labels| labels.to_string())
    }

    /// The cases of Prometheus' own test, as far as they tell actions apart.
    #[test]
    fn each_action_does_what_prometheus_does() {
        let abc = [("a", "foo"), ("b", "bar"), ("c", "baz")];
        for (rule, wanted) in [
            (
                "{source_labels: [a], regex: 'f(.*)', target_label: d, separator: ';', replacement: 'ch${1}-ch${1}'}",
                "{a=\"foo\", b=\"bar\", c=\"baz\", d=\"choo-choo\"}",
            ),
            (
                "{source_labels: [a, b], regex: 'f(.*);(.*)r', target_label: a, replacement: 'b${1}${2}m'}",
                "{a=\"boobam\", b=\"bar\", c=\"baz\"}",
            ),
            ("{source_labels: [a], regex: 'no-match', target_label: d}", "{a=\"foo\", b=\"bar\", c=\"baz\"}"),
            ("{target_label: d, replacement: fixed}", "{a=\"foo\", b=\"bar\", c=\"baz\", d=\"fixed\"}"),
            ("{source_labels: [a], target_label: a, replacement: ''}", "{b=\"bar\", c=\"baz\"}"),
            (
                "{source_labels: [a], regex: '(f).*', target_label: '${1}x', replacement: y}",
                "{a=\"foo\", b=\"bar\", c=\"baz\", fx=\"y\"}",
            ),
            (
                "{action: hashmod, source_labels: [c], target_label: d, modulus: 1000}",
                "{a=\"foo\", b=\"bar\", c=\"baz\", d=\"976\"}",
            ),
            (
                "{action: labelmap, regex: '(b.*)', replacement: 'my_$1'}",
                "{a=\"foo\", b=\"bar\", c=\"baz\", my_b=\"bar\"}",
            ),
            ("{action: labeldrop, regex: '(b|c)'}", "{a=\"foo\"}"),
            ("{action: labelkeep, regex: '(b|c)'}", "{b=\"bar\", c=\"baz\"}"),
            ("{action: Uppercase, source_labels: [a], target_label: a}", "{a=\"FOO\", b=\"bar\", c=\"baz\"}"),
            (
                "{action: lowercase, source_labels: [a], target_label: d}",
                "{a=\"foo\", b=\"bar\", c=\"baz\", d=\"foo\"}",
            ),
        ] {
            assert_eq!(made(&format!("[{rule}]"), &abc).as_deref(), Some(wanted), "{rule}");
        }
        for (rule, stays) in [
            ("{action: keep, source_labels: [a], regex: 'fo+'}", true),
            ("{action: keep, source_labels: [a], regex: 'fo'}", false),
            ("{action: drop, source_labels: [a, b], regex: 'foo;.*'}", false),
            ("{action: drop, source_labels: [absent], regex: 'x'}", true),
            ("{action: keepequal, source_labels: [a], target_label: b}", false),
            ("{action: dropequal, source_labels: [a], target_label: a}", false),
        ] {
            assert_eq!(made(&format!("[{rule}]"), &abc).is_some(), stays, "{rule}");
        }
    }

    #[test]
    fn a_wrong_rule_says_what_it_lacks() {
        for (rule, place) in [
            ("{action: jump}", "unknown relabel action \"jump\""),
            ("{source_labels: [a]}", "target_label"),
            ("{regex: '(', target_label: a}", "regex \"(\""),
            ("{action: hashmod, target_label: a}", "modulus"),
            ("{action: labeldrop, regex: a, target_label: b}", "only 'regex'"),
            ("{action: uppercase, target_label: b, replacement: c}", "'replacement' can not be set"),
            ("{action: keepequal, target_label: b, regex: a}", "only 'source_labels'"),
        ] {
            let wrong = serde_yaml_ng::from_str::<Rule>(rule).unwrap_err().to_string();
            assert!(wrong.contains(place), "{rule}: {wrong}");
        }
    }
}
