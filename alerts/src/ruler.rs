//! Rule groups that are set over the API, as in Loki's and Mimir's rulers: by tenant, language and namespace. They are
//! kept in one file that is replaced as a whole, beside the states of alerts.
//!
//! A group comes as YAML and goes out as the same YAML; what is wrong with it is told with line and column.

use crate::rules::{self, Group, SetBy};
use crate::yaml::{File, Place};
use anyhow::Context;
use model::Tenant;
use serde::{Deserialize, Serialize};
use serde_yaml_ng::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Of one tenant. Each group is a task that evaluates for ever.
pub const GROUPS_MAX: usize = 1_000;
/// Of one group.
const RULES_MAX: usize = 1_000;
const NAME: &str = "rules.json";
const VERSION: u32 = 1;

/// What the rules of a group are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    #[default]
    PromQl,
    LogQl,
}

impl Language {
    pub fn as_str(self) -> &'static str {
        match self {
            Language::PromQl => "promql",
            Language::LogQl => "logql",
        }
    }
}

/// Why groups are not as the caller wants them.
#[derive(Debug, thiserror::Error)]
pub enum RulerError {
    #[error("{0}")]
    NotFound(&'static str),
    #[error("{0}")]
    Invalid(String),
    #[error("{0:#}")]
    Broken(#[from] anyhow::Error),
}

pub const NO_GROUP: RulerError = RulerError::NotFound("group does not exist");
pub const NO_NAMESPACE: RulerError = RulerError::NotFound("group namespace does not exist");

/// Where a group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelf {
    pub tenant: Tenant,
    pub language: Language,
    pub namespace: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    tenant: String,
    language: Language,
    namespace: String,
    group: String,
    text: String,
}

impl Kept {
    fn is_on(&self, shelf: &Shelf) -> bool {
        (self.tenant.as_str(), self.language) == (shelf.tenant.as_str(), shelf.language)
            && self.namespace == shelf.namespace
    }

    fn value(&self) -> Value {
        serde_yaml_ng::from_str(&self.text).unwrap_or(Value::Null)
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ruler {
    version: u32,
    groups: Vec<Kept>,
}

/// A group's text, read.
#[derive(Debug)]
pub struct Read {
    pub group: Group,
    pub expressions: Vec<(Place, String)>,
}

/// The error tells every mistake.
pub fn read(text: &str, shelf: &Shelf) -> Result<Read, String> {
    let file = File::parse(text).map_err(|mistake| mistake.to_string())?;
    let mut expressions = vec![];
    let group = file.documents().next().and_then(|root| {
        let mut group = rules::read_group(&root, &shelf.namespace, &mut expressions)?;
        if group.rules.len() > RULES_MAX {
            root.wrong(format!("{} rules; a group has at most {RULES_MAX}", group.rules.len()));
        }
        group.set_by = Some(SetBy { tenant: shelf.tenant.clone(), language: shelf.language });
        Some(group)
    });
    let mistakes: Vec<String> = file.mistakes().iter().map(ToString::to_string).collect();
    match group.filter(|_| mistakes.is_empty()) {
        Some(group) => Ok(Read { group, expressions }),
        None if mistakes.is_empty() => Err("unable to decoded rule group: the body is empty".into()),
        None => Err(mistakes.join(", ")),
    }
}

/// Mistakes of queries, each where its query stands.
pub fn placed(text: &str, wrong: &[(Place, String)]) -> String {
    let Ok(file) = File::parse(text) else { return String::new() };
    wrong.iter().for_each(|(place, why)| file.wrong(place, why.as_str()));
    let told: Vec<String> = file.mistakes().iter().map(ToString::to_string).collect();
    told.join(", ")
}

impl Ruler {
    /// A file that cannot be understood ends the start: its rules would be missed in silence.
    pub fn open(dir: &Path) -> anyhow::Result<Ruler> {
        let path = dir.join(NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(wrong) if wrong.kind() == std::io::ErrorKind::NotFound => return Ok(Ruler::default()),
            Err(wrong) => return Err(wrong).with_context(|| format!("reading {}", path.display())),
        };
        let ruler: Ruler =
            serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))?;
        anyhow::ensure!(
            ruler.version == VERSION,
            "{}: version {} is not known",
            path.display(),
            ruler.version
        );
        Ok(ruler)
    }

    /// On disk when this returns.
    pub fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let beside = dir.join("rules.json.new");
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&beside)?;
            let ruler = Ruler { version: VERSION, groups: self.groups.clone() };
            file.write_all(&serde_json::to_vec(&ruler).map_err(std::io::Error::other)?)?;
            file.sync_all()?;
            std::fs::rename(&beside, dir.join(NAME))?;
            std::fs::File::open(dir)?.sync_all()
        };
        write().with_context(|| format!("writing rules to {}", dir.display()))
    }

    /// All groups, ready to be evaluated. What was set was right then; what is not any more is told and left out.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups = vec![];
        for kept in &self.groups {
            let Ok(tenant) = Tenant::new(&kept.tenant) else { continue };
            let shelf = Shelf { tenant, language: kept.language, namespace: kept.namespace.clone() };
            match read(&kept.text, &shelf) {
                Ok(read) => groups.push(read.group),
                Err(why) => {
                    let (namespace, group) = (&kept.namespace, &kept.group);
                    tracing::error!(namespace, group, why, "a rule group is left out");
                }
            }
        }
        groups
    }

    pub fn set(&mut self, shelf: &Shelf, group: &str, text: &str) -> Result<(), RulerError> {
        let text = text.to_owned();
        match self.groups.iter_mut().find(|kept| kept.is_on(shelf) && kept.group == group) {
            Some(kept) => kept.text = text,
            None => {
                let of_tenant = self.groups.iter().filter(|kept| kept.tenant == shelf.tenant.as_str());
                if of_tenant.count() >= GROUPS_MAX {
                    return Err(RulerError::Invalid(format!(
                        "per-user rule groups limit (limit: {GROUPS_MAX}) exceeded"
                    )));
                }
                self.groups.push(Kept {
                    tenant: shelf.tenant.as_str().to_owned(),
                    language: shelf.language,
                    namespace: shelf.namespace.clone(),
                    group: group.to_owned(),
                    text,
                });
            }
        }
        Ok(())
    }

    /// One group, or all of the namespace.
    pub fn remove(&mut self, shelf: &Shelf, group: Option<&str>) -> Result<(), RulerError> {
        let before = self.groups.len();
        self.groups.retain(|kept| !kept.is_on(shelf) || group.is_some_and(|group| group != kept.group));
        match (before == self.groups.len(), group) {
            (true, Some(_)) => Err(NO_GROUP),
            (true, None) => Err(NO_NAMESPACE),
            _ => Ok(()),
        }
    }

    /// YAML of one group.
    pub fn group(&self, shelf: &Shelf, group: &str) -> Result<String, RulerError> {
        let found =
            self.groups.iter().find(|kept| kept.is_on(shelf) && kept.group == group).ok_or(NO_GROUP)?;
        Ok(serde_yaml_ng::to_string(&found.value()).context("writing YAML")?)
    }

    /// YAML of all groups of a tenant by namespace, or of one namespace; `None` where there are none.
    pub fn list(
        &self,
        tenant: &Tenant,
        language: Language,
        namespace: Option<&str>,
    ) -> Result<Option<String>, RulerError> {
        let mut by_namespace: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for kept in &self.groups {
            let theirs = kept.tenant == tenant.as_str() && kept.language == language;
            if theirs && namespace.is_none_or(|namespace| namespace == kept.namespace) {
                by_namespace.entry(&kept.namespace).or_default().push(kept.value());
            }
        }
        if by_namespace.is_empty() {
            return Ok(None);
        }
        Ok(Some(serde_yaml_ng::to_string(&by_namespace).context("writing YAML")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(tenant: &str, language: Language, namespace: &str) -> Shelf {
        Shelf { tenant: Tenant::new(tenant).unwrap(), language, namespace: namespace.into() }
    }

    #[test]
    fn groups_are_kept_by_tenant_language_and_namespace() {
        let dir = tempfile::tempdir().unwrap();
        let text = |name: &str, expr: &str| format!("name: {name}\nrules:\n- {{alert: A, expr: '{expr}'}}\n");
        let mut ruler = Ruler::open(dir.path()).unwrap();
        let (a, b) = (shelf("t", Language::LogQl, "a/x"), shelf("u", Language::LogQl, "a/x"));
        for (shelf, name) in [(&a, "g"), (&a, "h"), (&b, "g")] {
            ruler.set(shelf, name, &text(name, "old")).unwrap();
        }
        ruler.set(&a, "g", &text("g", "new")).unwrap();
        ruler.write(dir.path()).unwrap();
        let mut ruler = Ruler::open(dir.path()).unwrap();
        assert_eq!(ruler.groups().len(), 3);
        let listed = ruler.list(&a.tenant, Language::LogQl, None).unwrap().unwrap();
        let listed: BTreeMap<String, Vec<Value>> = serde_yaml_ng::from_str(&listed).unwrap();
        assert_eq!(listed["a/x"].len(), 2);
        assert_eq!(listed["a/x"][0]["rules"][0]["expr"], "new");
        assert!(ruler.list(&a.tenant, Language::PromQl, None).unwrap().is_none());
        assert!(ruler.list(&a.tenant, Language::LogQl, Some("b")).unwrap().is_none());
        ruler.remove(&a, Some("g")).unwrap();
        assert!(matches!(ruler.group(&a, "g"), Err(RulerError::NotFound(_))));
        assert!(ruler.group(&b, "g").unwrap().contains("old"));
        ruler.remove(&a, None).unwrap();
        assert!(matches!(ruler.remove(&a, None), Err(RulerError::NotFound(_))));
        assert_eq!(ruler.groups()[0].set_by.as_ref().unwrap().tenant.as_str(), "u");
        std::fs::write(dir.path().join(NAME), "{").unwrap();
        assert!(Ruler::open(dir.path()).is_err());
    }

    #[test]
    fn what_is_wrong_with_a_group_is_told_where_it_stands() {
        let on = shelf("t", Language::LogQl, "n");
        let wrong = |text: &str| read(text, &on).unwrap_err();
        assert!(
            wrong("name: g\nrules:\n- {record: r, expr: q, for: 1m}\n").starts_with("3:29: rules[0].for:")
        );
        assert!(wrong("rules: []").contains("`name` is missing"));
        assert!(wrong("").contains("empty"));
        assert!(wrong("a: [").contains("not valid YAML"));
        let text = "name: g\nrules:\n- alert: A\n  expr: nonsense\n";
        let read = read(text, &on).unwrap();
        let (place, query) = &read.expressions[0];
        assert_eq!(query, "nonsense");
        let told = placed(text, &[(place.clone(), "parse error at line 1, col 1".into())]);
        assert_eq!(told, "4:9: rules[0].expr: parse error at line 1, col 1");
    }
}
