//! Which labels and annotations of objects become labels of `kube_*_labels` and `kube_*_annotations`, by the flags of
//! kube-state-metrics: `pods=[app,team],namespaces=[*]`, where `*` as a kind is every kind.

use std::collections::{BTreeMap, BTreeSet};

/// Kinds as the flags name them: plural and lower case.
const KINDS: [&str; 32] = [
    "certificatesigningrequests",
    "configmaps",
    "cronjobs",
    "daemonsets",
    "deployments",
    "endpointslices",
    "horizontalpodautoscalers",
    "ingresses",
    "jobs",
    "leases",
    "limitranges",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "namespaces",
    "networkpolicies",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "poddisruptionbudgets",
    "pods",
    "replicasets",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "statefulsets",
    "storageclasses",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
    "volumeattachments",
];

/// What is told of objects beside their state.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    pub labels: Allowed,
    pub annotations: Allowed,
}

impl Default for Metadata {
    /// All labels, which costs are added up by. Annotations hold anything, also what is no label's: none.
    fn default() -> Metadata {
        Metadata { labels: Allowed::everything(), annotations: Allowed::default() }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allowed {
    of_kind: BTreeMap<String, Keys>,
    of_all: Option<Keys>,
}

#[derive(Clone, Debug, PartialEq)]
enum Keys {
    All,
    Some(BTreeSet<String>),
}

impl Allowed {
    pub fn everything() -> Allowed {
        Allowed { of_kind: BTreeMap::new(), of_all: Some(Keys::All) }
    }

    /// `pods=[app,team],*=[*]`; an empty text allows nothing.
    pub fn parse(text: &str) -> Result<Allowed, String> {
        let mut allowed = Allowed::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let at = rest;
            let wrong = || {
                format!("{at:?} is not understood; write KIND=[KEY,…], e.g. pods=[app,team],namespaces=[*]")
            };
            let (kind, behind) = rest.split_once("=[").ok_or_else(wrong)?;
            let (keys, behind) = behind.split_once(']').ok_or_else(wrong)?;
            let kind = kind.trim();
            let keys: BTreeSet<String> =
                keys.split(',').map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect();
            let keys = if keys.contains("*") { Keys::All } else { Keys::Some(keys) };
            if kind == "*" {
                allowed.of_all = Some(keys);
            } else if KINDS.contains(&kind) {
                allowed.of_kind.insert(kind.to_owned(), keys);
            } else {
                return Err(format!(
                    "{kind:?} is no kind that is told; use one of {}, or *",
                    KINDS.join(", ")
                ));
            }
            rest = behind.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if rest.is_empty() => rest,
                None => return Err(wrong()),
            };
        }
        Ok(allowed)
    }

    /// Names and values for the metric, each name once; `None` where the kind has none.
    pub fn of<'o>(
        &self,
        kind: &str,
        prefix: &str,
        all: impl Iterator<Item = (&'o str, &'o str)>,
    ) -> Option<Vec<(String, &'o str)>> {
        let keys = self.of_kind.get(kind).or(self.of_all.as_ref())?;
        let is_allowed = |name: &str| match keys {
            Keys::All => true,
            Keys::Some(keys) => keys.contains(name),
        };
        Some(named(prefix, all.filter(|(name, _)| is_allowed(name))))
    }
}

/// By kube-state-metrics' rule for two keys that come to one name: all of them are numbered.
pub fn named<'o>(prefix: &str, all: impl Iterator<Item = (&'o str, &'o str)>) -> Vec<(String, &'o str)> {
    let mut sorted: Vec<(&str, &str)> = all.collect();
    sorted.sort_unstable();
    let mut named: Vec<(String, &str)> =
        sorted.into_iter().map(|(name, value)| (format!("{prefix}_{}", snake_case(name)), value)).collect();
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (name, _) in &named {
        counts.entry(name.clone()).or_default().0 += 1;
    }
    for (name, _) in &mut named {
        if let Some((of_name, told)) = counts.get_mut(name).filter(|(of_name, _)| *of_name > 1) {
            *told += 1;
            debug_assert!(told <= of_name);
            name.push_str(&format!("_conflict{told}"));
        }
    }
    named
}

/// As kube-state-metrics writes them: `app.kubernetes.io/partOf` → `app_kubernetes_io_part_of`.
fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    let mut before = ' ';
    for c in super::label_name(name).chars() {
        if c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(allowed: &str, kind: &str) -> Option<Vec<(String, &'static str)>> {
        let all = [("app", "cart"), ("app.kubernetes.io/partOf", "shop"), ("team", "a")];
        Allowed::parse(allowed).unwrap().of(kind, "label", all.into_iter())
    }

    #[test]
    fn the_flags_name_kinds_and_keys() {
        let of = |names: &[(&str, &'static str)]| {
            Some(names.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect::<Vec<_>>())
        };
        assert_eq!(told("pods=[app,absent],nodes=[*]", "pods"), of(&[("label_app", "cart")]));
        let all =
            of(&[("label_app", "cart"), ("label_app_kubernetes_io_part_of", "shop"), ("label_team", "a")]);
        assert_eq!(told(" pods=[app] , nodes=[*]", "nodes"), all);
        assert_eq!(told("*=[*],pods=[team]", "pods"), of(&[("label_team", "a")]));
        assert_eq!(told("*=[*],pods=[team]", "jobs"), all);
        assert_eq!(told("nodes=[*]", "pods"), None);
        assert_eq!(told("", "pods"), None);
        assert_eq!(Allowed::everything(), Allowed::parse("*=[*]").unwrap());
    }

    #[test]
    fn what_is_written_wrongly_is_named() {
        for (text, named) in
            [("pods", "pods"), ("pods=[a", "pods=[a"), ("pods=[a]nodes=[b]", "nodes"), ("pod=[a]", "\"pod\"")]
        {
            let wrong = Allowed::parse(text).unwrap_err();
            assert!(wrong.contains(named), "{text}: {wrong}");
        }
    }

    #[test]
    fn names_are_theirs() {
        let all =
            [("createdBy", "a"), ("created-by", "b"), ("created_by", "c"), ("podIP", "d"), ("v1Beta", "e")];
        let names: Vec<_> = named("label", all.into_iter()).into_iter().collect();
        let is = [
            ("label_created_by_conflict1", "b"),
            ("label_created_by_conflict2", "a"),
            ("label_created_by_conflict3", "c"),
            ("label_pod_ip", "d"),
            ("label_v1_beta", "e"),
        ];
        assert_eq!(names, is.map(|(name, value)| (name.to_owned(), value)));
    }
}
