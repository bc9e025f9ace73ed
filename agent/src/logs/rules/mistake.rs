//! Mistakes in a file of rules, and where they stand: the parser keeps no places of what it has read, so the value is looked
//! for in the text, from its rule on.

use std::fmt;

/// What is wrong with the file, all of it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct Mistakes(Vec<Mistake>);

/// `line:column: text`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    pub line: usize,
    pub column: usize,
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.line, self.column, self.text)
    }
}

/// The first, for who begins with the file.
impl fmt::Display for Mistakes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.0.first() {
            first.fmt(out)?;
        }
        match self.0.len() {
            0 | 1 => Ok(()),
            _ => out.write_str("; `binnacle check` tells every mistake"),
        }
    }
}

/// Something of a rule: by its key, and what was written there if that is a text.
#[derive(Debug, PartialEq)]
pub(super) struct Wrong {
    pub key: &'static str,
    pub value: String,
    /// Line and column within the value.
    pub within: Option<(usize, usize)>,
    pub text: String,
}

impl Mistakes {
    /// Of a file that is no rules.
    pub(super) fn of_file(wrong: &serde_yaml_ng::Error) -> Mistakes {
        let (line, column) = wrong.location().map_or((1, 1), |at| (at.line(), at.column()));
        let text = wrong.to_string();
        let text = text.replace(&format!(" at line {line} column {column}"), "");
        Mistakes(vec![Mistake { line, column, text }])
    }

    /// Of rules, by their numbers from 1 on.
    pub(super) fn of_rules(file: &str, all: Vec<(usize, Wrong)>) -> Mistakes {
        let placed = all.into_iter().map(|(number, wrong)| {
            let (line, column) = place(file, number, &wrong);
            Mistake { line, column, text: format!("rule {number}: {}", wrong.text) }
        });
        let mut all: Vec<Mistake> = placed.collect();
        all.sort_by_key(|mistake| (mistake.line, mistake.column));
        Mistakes(all)
    }

    pub fn all(&self) -> &[Mistake] {
        &self.0
    }
}

/// Its value, or else its key, or else where its rule begins.
fn place(file: &str, number: usize, wrong: &Wrong) -> (usize, usize) {
    let (from, to) = lines_of(file, number).unwrap_or((0, usize::MAX));
    let find = |from: usize, what: &str| {
        let mut lines = file.lines().enumerate().take(to).skip(from);
        lines.find_map(|(line, text)| Some((line + 1, text.find(what)? + 1)))
    };
    let Some(key) = find(from, &format!("{}:", wrong.key)) else { return (from + 1, 1) };
    if let Some(placed) = wrong.within.and_then(|within| in_block(file, key, within)) {
        return placed;
    }
    let value = if wrong.value.is_empty() { None } else { find(key.0 - 1, &wrong.value) };
    match (value, wrong.within) {
        (Some((line, column)), Some((_, within))) => (line, column + within - 1),
        _ => value.unwrap_or(key),
    }
}

/// A place of a text whose lines stand below its key as they are. Of one that is folded or says how far it is indented it is not known.
fn in_block(file: &str, key: (usize, usize), within: (usize, usize)) -> Option<(usize, usize)> {
    let (_, header) = file.lines().nth(key.0 - 1)?.get(key.1 - 1..)?.split_once(':')?;
    let mark = header.split_whitespace().next()?;
    if !matches!(mark, "|" | "|-" | "|+") {
        return None;
    }
    let first = file.lines().skip(key.0).find(|text| !text.trim().is_empty())?;
    let indent = first.len() - first.trim_start_matches(' ').len();
    Some((key.0 + within.0, indent + within.1))
}

/// The lines of a rule in a list that has a line for the beginning of each: first, and the one behind the last.
fn lines_of(file: &str, number: usize) -> Option<(usize, usize)> {
    let indent = |text: &str| text.len() - text.trim_start().len();
    let begins = |text: &str| text.trim_start().starts_with('-');
    let first = file.lines().position(|text| text.starts_with("rules:"))? + 1;
    let wanted = file.lines().skip(first).find(|text| begins(text)).map(indent)?;
    let all = file.lines().enumerate().skip(first);
    let mut all = all.filter(|&(_, text)| begins(text) && indent(text) == wanted).map(|(line, _)| line);
    Some((all.nth(number - 1)?, all.next().unwrap_or(usize::MAX)))
}
