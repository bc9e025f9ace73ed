//! Rule and SLO files: which a pattern names, and what is in them, checked.

use crate::ruler;
use crate::rules::{self, RuleFile};
use crate::slo::{self, Slo, SloFile};
use crate::yaml::{File, Mistake, Place};
use anyhow::{Context, bail};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A pattern that matches more than this is a mistake.
const FILES_MAX: usize = 1_000;

/// The files of a path whose last part may hold `*`, sorted. A path without `*` must exist.
pub fn matching(pattern: &str) -> anyhow::Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    if !pattern.contains('*') {
        return Ok(vec![path.to_owned()]);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.to_string_lossy().contains('*') {
        bail!("{pattern:?}: a * may only be in the file's name, not in a folder's");
    }
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading the folder of {pattern:?}"))? {
        let entry = entry.with_context(|| format!("reading the folder of {pattern:?}"))?;
        let matches = entry.file_name().to_str().is_some_and(|file| matches(name, file));
        // Editors leave hidden files behind; they are nobody's rules.
        if matches && !entry.file_name().to_string_lossy().starts_with('.') && entry.path().is_file() {
            found.push(entry.path());
        }
    }
    if found.len() > FILES_MAX {
        bail!("{pattern:?} matches {} files; at most {FILES_MAX} are read", found.len());
    }
    found.sort();
    Ok(found)
}

/// Whether `name` is `pattern`, where `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// What a file holds, by its content.
enum Content {
    Rules(RuleFile),
    Slos(SloFile),
}

fn read(file: &File<'_>, name: &str) -> Content {
    let is_slo = file.documents().next().is_some_and(|first| {
        first
            .get("apiVersion")
            .and_then(|version| version.text())
            .is_some_and(|text| text.starts_with("openslo"))
    });
    if is_slo { Content::Slos(slo::read(file, name)) } else { Content::Rules(rules::read(file, name)) }
}

/// What a valid file holds, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked(String);

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a rule or SLO file. `parses` says what is wrong with a PromQL text.
pub fn check_file(path: &Path, parses: &dyn Fn(&str) -> Result<(), String>) -> Result<Checked, Vec<Mistake>> {
    let text = std::fs::read_to_string(path).map_err(|wrong| vec![unreadable(&wrong)])?;
    check_text(&text, parses)
}

fn unreadable(wrong: &std::io::Error) -> Mistake {
    Mistake { line: 1, column: 1, field: String::new(), text: format!("cannot be read: {wrong}") }
}

pub fn check_text(text: &str, parses: &dyn Fn(&str) -> Result<(), String>) -> Result<Checked, Vec<Mistake>> {
    let file = File::parse(text).map_err(|wrong| vec![wrong])?;
    let content = read(&file, "");
    let (expressions, told): (Vec<(&Place, &str)>, String) = match &content {
        Content::Rules(found) => (
            found.expressions().collect(),
            format!("rules are valid, {} in {} groups", found.rules(), found.groups.len()),
        ),
        Content::Slos(found) => {
            (found.expressions().collect(), format!("SLOs are valid, {} objectives", found.slos.len()))
        }
    };
    for (place, expression) in expressions {
        if let Err(why) = parses(expression) {
            file.wrong(place, why);
        }
    }
    if file.is_right() { Ok(Checked(told)) } else { Err(file.mistakes()) }
}

/// Everything that was configured, read and checked but for the queries.
#[derive(Debug, Default)]
pub struct Loaded {
    pub groups: Vec<rules::Group>,
    pub slos: Vec<Slo>,
    /// To be checked by who knows the language.
    pub queries: Vec<Query>,
}

#[derive(Debug)]
struct Source {
    name: String,
    text: String,
}

/// A query and where it stands.
#[derive(Debug)]
pub struct Query {
    source: Arc<Source>,
    place: Place,
    pub text: String,
}

impl Query {
    /// What is wrong with it, as a mistake of its file.
    pub fn mistake(&self, why: String) -> String {
        let Source { name, text } = &*self.source;
        format!("{name}:{}", ruler::placed(text, &[(self.place.clone(), why)]))
    }
}

/// Reads all files. The error names the first mistakes of all of them.
pub fn load(patterns: &[String], slo_patterns: &[String]) -> anyhow::Result<Loaded> {
    let mut loaded = Loaded::default();
    let mut wrong = vec![];
    for (pattern, wants_slos) in
        patterns.iter().map(|p| (p, false)).chain(slo_patterns.iter().map(|p| (p, true)))
    {
        let files = matching(pattern)?;
        if files.is_empty() {
            tracing::warn!(pattern, "no file matches");
        }
        for path in files {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            wrong.extend(loaded.add(&path.display().to_string(), &text, wants_slos));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", in_one_line(&wrong));
    }
    Ok(loaded)
}

/// The start is refused in one line; `binnacle check` tells the rest.
pub fn in_one_line(mistakes: &[String]) -> String {
    const SHOWN_MAX: usize = 3;
    let shown = mistakes[..mistakes.len().min(SHOWN_MAX)].join("; ");
    match mistakes.len().saturating_sub(SHOWN_MAX) {
        0 => shown,
        more => format!("{shown}; and {more} more: run `binnacle check` on the files"),
    }
}

impl Loaded {
    /// Adds what is in a file; gives its mistakes, each with the file's name.
    pub fn add(&mut self, name: &str, text: &str, wants_slos: bool) -> Vec<String> {
        let file = match File::parse(text) {
            Ok(file) => file,
            Err(mistake) => return vec![format!("{name}:{mistake}")],
        };
        let source = Arc::new(Source { name: name.to_owned(), text: text.to_owned() });
        let query = |(place, text): (&Place, &str)| Query {
            source: source.clone(),
            place: place.clone(),
            text: text.to_owned(),
        };
        match (read(&file, name), wants_slos) {
            (Content::Rules(found), false) => {
                self.queries.extend(found.expressions().map(query));
                self.groups.extend(found.groups);
            }
            (Content::Slos(found), true) => {
                self.queries.extend(found.expressions().map(query));
                self.slos.extend(found.slos);
            }
            (Content::Rules(_), true) if !text.trim().is_empty() => {
                return vec![format!("{name}:1:1: not an OpenSLO file; rules are given with --rules")];
            }
            (Content::Rules(_), true) => {}
            (Content::Slos(_), false) => {
                return vec![format!("{name}:1:1: an OpenSLO file; SLOs are given with --slos")];
            }
        }
        file.mistakes().iter().map(|mistake| format!("{name}:{mistake}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_within_a_name() {
        for (pattern, name, expected) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "a.yml", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("*", "x", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn files_of_a_folder_are_loaded_in_order_and_all_mistakes_told() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("b.yaml", "groups:\n- {name: b, rules: [{record: x, expr: y}]}\n");
        write("a.yaml", "groups:\n- {name: a, rules: []}\n");
        write(".a.yaml.swp", "::");
        let pattern = dir.path().join("*.yaml").display().to_string();
        let loaded = load(std::slice::from_ref(&pattern), &[]).unwrap();
        let names: Vec<&str> = loaded.groups.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(loaded.queries[0].text, "y");
        write("c.yaml", "groups: 5\n");
        write("d.yaml", "[");
        let wrong = load(&[pattern], &[]).unwrap_err().to_string();
        assert!(wrong.contains("c.yaml:1:9") && wrong.contains("d.yaml:"), "{wrong}");
        assert!(load(&["/nonexistent/x.yaml".into()], &[]).unwrap_err().to_string().contains("x.yaml"));
    }

    #[test]
    fn check_tells_mistakes_of_queries_at_their_place() {
        let parses = |query: &str| if query.contains('(') { Err("1:5: unclosed".to_owned()) } else { Ok(()) };
        let wrong =
            check_text("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(x\n", &parses).unwrap_err();
        assert_eq!(wrong[0].to_string(), "5:11: groups[0].rules[0].expr: 1:5: unclosed");
        let right = check_text("groups:\n- name: g\n  rules:\n  - {record: a, expr: b}\n", &parses).unwrap();
        assert_eq!(right.to_string(), "rules are valid, 1 in 1 groups");
    }
}
