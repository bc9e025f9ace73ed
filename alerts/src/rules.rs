//! Rule files in Prometheus' format, checked: what comes out of [`parse`] can be evaluated.
//!
//! A Kubernetes `PrometheusRule` manifest is read too; its groups are under `spec`. Expressions are checked by whoever
//! knows the language: [`RuleFile::expressions`] says which there are and where.

use crate::duration;
use crate::ruler::Language;
use crate::template::Template;
#[cfg(test)]
use crate::yaml::Mistake;
use crate::yaml::{File, Node, Place};
use model::{METRIC_NAME, Tenant};
use std::collections::HashSet;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub name: String,
    /// The file it is from, as it was given.
    pub file: String,
    /// `None`: as often as the configuration says.
    pub interval: Option<Duration>,
    pub query_offset: Duration,
    /// Most series or alerts one rule may produce; 0 is no limit.
    pub limit: usize,
    pub rules: Vec<Rule>,
    /// Over the API; `None`: it is from a file, in PromQL and over the configuration's tenant.
    pub set_by: Option<SetBy>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SetBy {
    pub tenant: Tenant,
    pub language: Language,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub expr: String,
    /// By name; texts of alerting rules are templates.
    pub labels: Vec<(String, String)>,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Record { name: String },
    Alert { name: String, hold: Duration, keep_firing: Duration, annotations: Vec<(String, String)> },
}

impl Rule {
    pub fn name(&self) -> &str {
        match &self.kind {
            Kind::Record { name } | Kind::Alert { name, .. } => name,
        }
    }

    /// What makes it the same rule after a reload or a restart: not its place in the file, nor its annotations.
    pub fn identity(&self) -> String {
        let mut identity = format!("{}\n{}", self.name(), self.expr);
        for (name, value) in &self.labels {
            identity.push_str(&format!("\n{name}={value}"));
        }
        identity
    }
}

/// Past these a file is refused: each rule is a query at each interval.
const RULES_MAX: usize = 20_000;

/// A parsed file and the places of its expressions.
#[derive(Debug, Default)]
pub struct RuleFile {
    pub groups: Vec<Group>,
    expressions: Vec<(Place, String)>,
}

impl RuleFile {
    pub fn expressions(&self) -> impl Iterator<Item = (&Place, &str)> {
        self.expressions.iter().map(|(place, text)| (place, text.as_str()))
    }

    pub fn rules(&self) -> usize {
        self.groups.iter().map(|group| group.rules.len()).sum()
    }
}

/// The groups of a file. Not right while `file` has mistakes.
pub fn read(file: &File<'_>, name: &str) -> RuleFile {
    let (mut found, mut names) = (RuleFile::default(), HashSet::new());
    for document in file.documents() {
        let root = match document.get("spec") {
            // An object of its own, which others do not know of.
            Some(spec) if document.get("kind").is_some() => {
                names.clear();
                spec
            }
            _ => document,
        };
        root.only(&["groups"]);
        // Generators write `{}` where they have nothing to say.
        let Some(groups) = root.get("groups") else { continue };
        for node in groups.items() {
            if let Some(group) = read_group(&node, name, &mut found.expressions) {
                if !names.insert(group.name.clone()) {
                    node.wrong(format!(
                        "group {:?} is in the file twice; give each its own name",
                        group.name
                    ));
                }
                found.groups.push(group);
            }
        }
    }
    if found.rules() > RULES_MAX {
        file.wrong(
            &Place::default(),
            format!("{} rules; at most {RULES_MAX} are taken from a file", found.rules()),
        );
    }
    found
}

/// As [`read`], without a check of expressions.
#[cfg(test)]
pub fn parse(text: &str) -> Result<Vec<Group>, Vec<Mistake>> {
    let file = File::parse(text).map_err(|wrong| vec![wrong])?;
    let found = read(&file, "test.yaml");
    if file.is_right() { Ok(found.groups) } else { Err(file.mistakes()) }
}

/// One group; `file` is where it is from.
pub fn read_group(node: &Node<'_>, file: &str, expressions: &mut Vec<(Place, String)>) -> Option<Group> {
    node.only(&["name", "interval", "query_offset", "limit", "labels", "rules", "partial_response_strategy"]);
    let name = node.need("name")?.text()?;
    if name.is_empty() {
        node.wrong("`name` is empty");
    }
    let interval = duration_of(node, "interval");
    if interval.is_some_and(|interval| interval < Duration::from_millis(100)) {
        node.wrong("`interval` is shorter than 100ms");
    }
    let labels = labels_of(node, "labels");
    let limit = match node.get("limit").map(|limit| (limit.number(), limit)) {
        Some((Some(number), _)) if number >= 0.0 => number as usize,
        Some((_, limit)) => {
            limit.wrong("a number that is not negative is expected here");
            0
        }
        None => 0,
    };
    let mut rules = vec![];
    for rule in node.get("rules").map(|rules| rules.items()).unwrap_or_default() {
        rules.extend(read_rule(&rule, &labels, expressions));
    }
    let query_offset = duration_of(node, "query_offset").unwrap_or_default();
    Some(Group { name, file: file.to_owned(), interval, query_offset, limit, rules, set_by: None })
}

fn read_rule(
    node: &Node<'_>,
    shared: &[(String, String)],
    expressions: &mut Vec<(Place, String)>,
) -> Option<Rule> {
    node.only(&["record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"]);
    let expr = node.need("expr").and_then(|expr| Some((expr.place(), expr.text()?)));
    if let Some((place, text)) = &expr {
        if text.trim().is_empty() {
            node.wrong("`expr` is empty");
        }
        expressions.push((place.clone(), text.clone()));
    }
    let mut labels = labels_of(node, "labels");
    labels.extend(shared.iter().filter(|(name, _)| node_has_no(node, name)).cloned());
    labels.sort();
    let kind = match (node.get("record"), node.get("alert")) {
        (Some(record), None) => {
            for key in ["for", "keep_firing_for", "annotations"] {
                if let Some(extra) = node.get(key) {
                    extra.wrong(format!(
                        "`{key}` belongs to alerts, and this rule records a series; leave it out"
                    ));
                }
            }
            let name = record.text()?;
            if !is_metric_name(&name) {
                record.wrong(format!("{name:?} is not a metric name; an expression belongs to `expr`"));
            }
            Kind::Record { name }
        }
        (None, Some(alert)) => {
            let annotations = templates_of(node, "annotations");
            for (_, label) in
                node.get("labels").filter(Node::is_mapping).map(|l| l.entries()).unwrap_or_default()
            {
                check_template(&label);
            }
            let name = alert.text()?;
            if name.is_empty() {
                alert.wrong("`alert` is empty");
            }
            Kind::Alert {
                name,
                hold: duration_of(node, "for").unwrap_or_default(),
                keep_firing: duration_of(node, "keep_firing_for").unwrap_or_default(),
                annotations,
            }
        }
        (None, None) => {
            node.wrong("a rule needs `record` or `alert`");
            return None;
        }
        (Some(_), Some(_)) => {
            node.wrong("a rule has either `record` or `alert`, not both; make it two rules");
            return None;
        }
    };
    Some(Rule { expr: expr?.1, labels, kind })
}

fn node_has_no(node: &Node<'_>, label: &str) -> bool {
    node.get("labels").is_none_or(|labels| labels.get(label).is_none())
}

fn duration_of(node: &Node<'_>, key: &str) -> Option<Duration> {
    let node = node.get(key)?;
    match duration::parse(&node.text()?) {
        Ok(duration) => Some(duration),
        Err(why) => {
            node.wrong(why);
            None
        }
    }
}

fn labels_of(node: &Node<'_>, key: &str) -> Vec<(String, String)> {
    let mut labels = vec![];
    for (name, value) in node.get(key).map(|labels| labels.entries()).unwrap_or_default() {
        if name.is_empty() || name == METRIC_NAME {
            value.wrong(format!("{name:?} cannot be the name of a label here"));
        }
        labels.extend(value.text().map(|text| (name, text)));
    }
    labels.sort();
    labels
}

fn templates_of(node: &Node<'_>, key: &str) -> Vec<(String, String)> {
    let mut texts = vec![];
    for (name, value) in node.get(key).map(|texts| texts.entries()).unwrap_or_default() {
        check_template(&value);
        texts.extend(value.text().map(|text| (name, text)));
    }
    texts.sort();
    texts
}

fn check_template(node: &Node<'_>) {
    if node.is_scalar()
        && let Some(text) = node.text()
        && let Err(wrong) = Template::parse(&text)
    {
        node.wrong(format!("template: {wrong}"));
    }
}

/// Any text is a name since Prometheus 3, but what looks like an expression was meant as one.
fn is_metric_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| "{}()[]\"'".contains(c) || c.is_whitespace())
}

#[cfg(test)]
mod tests;
