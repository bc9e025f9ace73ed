//! OpenCost's `filter`: `namespace:"shop","cart"+(node!:"n1"|pod~:"web")`. Conditions are joined by `+` (all hold) or `|` (one
//! does), a bracket around what the other sign joins; of values one is enough. `:` is equality, `~:` holds of a part, `<~:` of
//! the beginning, `~>:` of the end, each with `!` for its opposite. `label[app]:"cart"` asks a pod's label,
//! `annotation[team]:"shop"` an annotation, `team` and its like the label that they stand for, and of `services` one is enough.

use super::ask::{OWNERS, cluster_name};
use engine::Allocation;

pub enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    One(Condition),
}

pub struct Condition {
    field: Field,
    not: bool,
    way: Way,
    values: Vec<String>,
}

/// How what is there compares with a value.
#[derive(Clone, Copy)]
enum Way {
    Is,
    Has,
    Begins,
    Ends,
}

/// Brackets within brackets.
const DEPTH_MAX: usize = 32;

impl Filter {
    pub fn parse(text: &str) -> Result<Filter, String> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return Ok(Filter::All(vec![]));
        }
        let filter = joined(&mut rest, 0)?;
        if rest.is_empty() { Ok(filter) } else { Err(form(rest)) }
    }

    pub fn is_all(&self) -> bool {
        matches!(self, Filter::All(parts) if parts.is_empty())
    }

    pub fn passes(&self, row: &Allocation) -> bool {
        match self {
            Filter::All(parts) => parts.iter().all(|part| part.passes(row)),
            Filter::Any(parts) => parts.iter().any(|part| part.passes(row)),
            Filter::One(condition) => {
                condition.field.any(row, &|is| condition.has_value(is)) != condition.not
            }
        }
    }

    /// Whether the conditions on the cluster let it pass. What is paid for belongs to no namespace and pod, so of it no others
    /// ask.
    pub fn passes_cluster(&self, told: &str) -> bool {
        self.of_cluster(told) != Some(false)
    }

    /// `None` where it is for others to say.
    fn of_cluster(&self, told: &str) -> Option<bool> {
        match self {
            Filter::All(parts) => {
                parts.iter().any(|part| part.of_cluster(told) == Some(false)).then_some(false)
            }
            Filter::Any(parts) => {
                parts.iter().all(|part| part.of_cluster(told) == Some(false)).then_some(false)
            }
            Filter::One(condition) => matches!(condition.field, Field::Cluster)
                .then(|| condition.has_value(cluster_name(told)) != condition.not),
        }
    }
}

impl Condition {
    fn has_value(&self, is: &str) -> bool {
        let fits = |value: &String| match self.way {
            Way::Is => is == value,
            Way::Has => is.contains(value),
            Way::Begins => is.starts_with(value),
            Way::Ends => is.ends_with(value),
        };
        self.values.iter().any(fits)
    }
}

/// What one sign joins, up to the end or the bracket that closes it.
fn joined(rest: &mut &str, depth: usize) -> Result<Filter, String> {
    let first = part(rest, depth)?;
    let Some(sign) = rest.chars().next().filter(|sign| matches!(sign, '+' | '|')) else { return Ok(first) };
    let mut parts = vec![first];
    while let Some(more) = rest.strip_prefix(sign) {
        *rest = more.trim_start();
        parts.push(part(rest, depth)?);
    }
    Ok(if sign == '+' { Filter::All(parts) } else { Filter::Any(parts) })
}

/// A condition, or what is in brackets.
fn part(rest: &mut &str, depth: usize) -> Result<Filter, String> {
    let Some(inside) = rest.strip_prefix('(') else { return condition(rest).map(Filter::One) };
    if depth == DEPTH_MAX {
        return Err(format!("filter has more than {DEPTH_MAX} brackets within one another"));
    }
    *rest = inside.trim_start();
    let filter = joined(rest, depth + 1)?;
    *rest = rest.strip_prefix(')').ok_or_else(|| form(rest))?.trim_start();
    Ok(filter)
}

fn condition(rest: &mut &str) -> Result<Condition, String> {
    let at = rest.find(['!', ':', '<', '~']).ok_or_else(|| form(rest))?;
    let field = field(rest[..at].trim())?;
    let sign = &rest[at..];
    let not = sign.starts_with('!');
    let sign = sign.strip_prefix('!').unwrap_or(sign);
    let ways = [("<~:", Way::Begins), ("~>:", Way::Ends), ("~:", Way::Has), (":", Way::Is)];
    let way = ways.into_iter().find_map(|(written, way)| Some((way, sign.strip_prefix(written)?)));
    let (way, mut after) = way.ok_or_else(|| form(sign))?;
    // A list has what is one of its items.
    let way = if matches!((&field, way), (Field::Services, Way::Has)) { Way::Is } else { way };
    let mut values = vec![];
    loop {
        let open = after.trim_start().strip_prefix('"').ok_or_else(|| form(after))?;
        let (value, behind) = open.split_once('"').ok_or_else(|| form(after))?;
        values.push(value.to_owned());
        after = behind.trim_start();
        match after.strip_prefix(',') {
            Some(more) => after = more,
            None => break,
        }
    }
    *rest = after;
    Ok(Condition { field, not, way, values })
}

fn form(rest: &str) -> String {
    format!(
        "filter is not understood at {rest:?}; write for example namespace:\"shop\"+(node!:\"n1\"|pod~:\"web\")"
    )
}

enum Field {
    Cluster,
    Column(fn(&Allocation) -> &str),
    Label(String),
    Annotation(String),
    Services,
}

impl Field {
    fn any(&self, row: &Allocation, passes: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Field::Cluster => passes(cluster_name(&row.cluster)),
            Field::Column(column) => passes(column(row)),
            Field::Label(name) => passes(row.labels.get(name).unwrap_or("")),
            Field::Annotation(name) => passes(row.annotations.get(name).unwrap_or("")),
            Field::Services => row.services.iter().any(|service| passes(service)),
        }
    }
}

fn field(name: &str) -> Result<Field, String> {
    let named = |kind: &str| name.strip_prefix(kind).and_then(|rest| rest.strip_suffix(']'));
    if let Some(label) = named("label[") {
        return Ok(Field::Label(super::ask::label_name(label)));
    }
    if let Some(annotation) = named("annotation[") {
        return Ok(Field::Annotation(super::ask::annotation_name(annotation)));
    }
    if let Some((_, label)) = OWNERS.iter().find(|(word, _)| *word == name) {
        return Ok(Field::Label(super::ask::label_name(label)));
    }
    match name {
        "cluster" => return Ok(Field::Cluster),
        "services" => return Ok(Field::Services),
        _ => {}
    }
    Ok(Field::Column(match name {
        "node" => |row| &row.node,
        "namespace" => |row| &row.namespace,
        "controllerKind" => |row| &row.workload_kind,
        "controller" | "controllerName" | "workload" => |row| &row.workload,
        "pod" => |row| &row.pod,
        "container" => |row| &row.container,
        other => {
            return Err(format!(
                "filter field {other:?} is not known; use cluster, node, namespace, controllerKind, controllerName, pod, container, \
                 services, label[<name>], annotation[<name>], {}",
                OWNERS.map(|(word, _)| word).join(", "),
            ));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_joined_and_values_are_alternatives() {
        let row = |namespace: &str, node: &str| Allocation {
            namespace: namespace.into(),
            node: node.into(),
            ..Allocation::default()
        };
        let passes = |filter: &str, row: &Allocation| Filter::parse(filter).unwrap().passes(row);
        assert!(passes("", &row("a", "n")));
        assert!(passes(r#"namespace:"a","b"+node!:"m""#, &row("b", "n")));
        assert!(!passes(r#"namespace:"a","b"+node!:"n""#, &row("b", "n")));
        assert!(passes(r#"namespace<~:"kube-""#, &row("kube-system", "n")));
        assert!(!passes(r#"namespace!<~:"kube-""#, &row("kube-system", "n")));
        let labelled = Allocation {
            labels: model::Labels::from_pairs([("label_app_kubernetes_io_name", "cart")]),
            ..row("a", "n")
        };
        assert!(passes(r#"label[app.kubernetes.io/name]:"cart""#, &labelled));
        assert!(!passes(r#"label[app.kubernetes.io/name]:"cart""#, &row("a", "n")));
        let served = Allocation { services: vec!["api".into(), "web".into()], ..row("a", "n") };
        assert!(passes(r#"services:"web""#, &served) && !passes(r#"services:"web""#, &row("a", "n")));
        let pod = Allocation { pod: "web-1".into(), cluster: "east".into(), ..labelled };
        for (filter, holds) in [
            (r#"pod~:"eb-""#, true),
            (r#"pod!~:"eb-""#, false),
            (r#"pod~>:"-1""#, true),
            (r#"pod!~>:"-2","-3""#, true),
            (r#"services~:"we""#, false),
            (r#"namespace:"b"|pod:"web-1""#, true),
            (r#"namespace:"a" + ( node:"m" | node:"n" ) + pod:"web-1""#, true),
            (r#"(namespace:"b"+pod:"web-1")|(namespace:"b"+node:"n")"#, false),
            (r#"product:"cart""#, false),
        ] {
            assert_eq!(passes(filter, &pod), holds, "{filter}");
        }
        for (filter, cluster, holds) in [
            (r#"cluster:"east"+namespace:"a""#, "east", true),
            (r#"cluster:"east"+namespace:"a""#, "west", false),
            (r#"cluster:"east"|namespace:"a""#, "west", true),
            (r#"cluster:"east"|cluster:"north""#, "west", false),
        ] {
            assert_eq!(Filter::parse(filter).unwrap().passes_cluster(cluster), holds, "{filter} {cluster}");
        }
        let deep = format!("{}namespace:\"a\"{}", "(".repeat(40), ")".repeat(40));
        for bad in [
            deep.as_str(),
            "namespace:\"a\"|namespace:\"b\"+node:\"n\"",
            "(namespace:\"a\"",
            "namespace:\"a\")",
            "namespace~\"a\"",
            "()",
        ] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
        for bad in ["x", "mood:\"a\"", "namespace:a", "namespace:\"a", "namespace:\"a\"+", "namespace!\"a\""]
        {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }
}
