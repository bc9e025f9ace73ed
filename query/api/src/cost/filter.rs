//! OpenCost's `filter`: `namespace:"shop","cart"+node!:"n1"`. Conditions are joined by `+`, of values one is enough; `:` is
//! equality, `<~:` the beginning, each with `!` for its opposite. `label[app]:"cart"` asks a pod's label,
//! `annotation[team]:"shop"` an annotation, and of `services` one is enough.

use super::ask::cluster_name;
use engine::Allocation;

#[derive(Default)]
pub struct Filter(Vec<Condition>);

struct Condition {
    field: Field,
    not: bool,
    begins: bool,
    values: Vec<String>,
}

impl Filter {
    pub fn parse(text: &str) -> Result<Filter, String> {
        let mut rest = text.trim();
        let mut conditions = vec![];
        while !rest.is_empty() {
            let at = rest.find(['!', ':', '<']).ok_or_else(|| form(rest))?;
            let field = field(rest[..at].trim())?;
            rest = &rest[at..];
            let not = rest.starts_with('!');
            rest = rest.strip_prefix('!').unwrap_or(rest);
            let begins = rest.starts_with("<~");
            rest = rest.strip_prefix("<~").unwrap_or(rest);
            rest = rest.strip_prefix(':').ok_or_else(|| form(rest))?;
            let mut values = vec![];
            loop {
                let open = rest.trim_start().strip_prefix('"').ok_or_else(|| form(rest))?;
                let (value, after) = open.split_once('"').ok_or_else(|| form(rest))?;
                values.push(value.to_owned());
                rest = after.trim_start();
                match rest.strip_prefix(',') {
                    Some(more) => rest = more,
                    None => break,
                }
            }
            conditions.push(Condition { field, not, begins, values });
            if rest.is_empty() {
                break;
            }
            rest = rest.strip_prefix('+').ok_or_else(|| form(rest))?.trim_start();
            if rest.is_empty() {
                return Err(form(rest));
            }
        }
        Ok(Filter(conditions))
    }

    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    pub fn passes(&self, row: &Allocation) -> bool {
        let passes =
            |condition: &Condition| condition.field.any(row, &|is| condition.has_value(is)) != condition.not;
        self.0.iter().all(passes)
    }

    /// Whether the conditions on the cluster pass. What is paid for belongs to no namespace and pod, so of it no others ask.
    pub fn passes_cluster(&self, told: &str) -> bool {
        let mut asked = self.0.iter().filter(|condition| matches!(condition.field, Field::Cluster));
        asked.all(|condition| condition.has_value(cluster_name(told)) != condition.not)
    }
}

impl Condition {
    fn has_value(&self, is: &str) -> bool {
        let fits = |value: &String| if self.begins { is.starts_with(value) } else { is == value };
        self.values.iter().any(fits)
    }
}

fn form(rest: &str) -> String {
    format!("filter is not understood at {rest:?}; write for example namespace:\"shop\"+node!:\"n1\"")
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
                "filter field {other:?} is not known; use cluster, node, namespace, controllerKind, controller, pod, container, \
                 services, label[<name>], annotation[<name>]"
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
        for bad in ["x", "mood:\"a\"", "namespace:a", "namespace:\"a", "namespace:\"a\"+", "namespace!\"a\""]
        {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }
}
