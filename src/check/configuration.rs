//! A configuration file: every key that is not known, every value that does not mean anything, each with its place.

use crate::config::{Config, Flags, Role, place};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Its mistakes as `line:column: text`.
pub fn mistakes(text: &str) -> Vec<String> {
    let (table, wrong) = DeTable::parse_recoverable(text);
    let mut found: Vec<(usize, String)> = wrong
        .iter()
        .map(|wrong| (wrong.span().map_or(0, |span| span.start), wrong.message().to_owned()))
        .collect();
    let known = Flags::keys();
    for (key, value) in table.get_ref() {
        let (name, at) = (key.get_ref().as_ref(), key.span().start);
        if !known.iter().any(|known| known == name) {
            found.push((at, unknown(name, &known)));
        } else if wrong.is_empty()
            // Where the text itself is broken, what was read of it need not be what is written.
            && let Err(why) = meaning(text, name, value.get_ref(), value.span())
        {
            found.push((value.span().start, why));
        }
    }
    // What contradicts another key can be said only once each means something.
    if found.is_empty()
        && let Err(why) = Flags::from_toml(text).and_then(|flags| Config::build(ALL, flags))
    {
        found.push((0, format!("{why:#}")));
    }
    found.sort();
    found.into_iter().map(|(at, why)| format!("{}: {why}", place(text, at))).collect()
}

/// The role that reads every key.
const ALL: Role = Role::Up { demo: false, agent: true, alerts: true, web: true };

fn unknown(name: &str, known: &[String]) -> String {
    let closest = known.iter().min_by_key(|known| distance(name, known));
    match closest.filter(|known| distance(name, known) <= 3) {
        Some(known) => format!("{name:?} is not a key; did you mean `{known}`?"),
        None => format!(
            "{name:?} is not a key; `binnacle up --help` lists the flags, and each is a key with _ for -"
        ),
    }
}

/// A key by itself: is its value of the right kind, and does it parse?
fn meaning(text: &str, name: &str, value: &DeValue<'_>, span: Range<usize>) -> Result<(), String> {
    if matches!(value, DeValue::Table(_)) {
        return Err(format!("`{name}` is a value, not a table"));
    }
    let written = text.get(span).unwrap_or_default();
    let flags = Flags::from_toml(&format!("{name} = {written}")).map_err(|wrong| {
        let wrong = wrong
            .downcast_ref::<toml::de::Error>()
            .map_or_else(|| wrong.to_string(), |w| w.message().to_owned());
        format!("{wrong} (write `{name} = …` as `binnacle up --help` shows it; lists in brackets)")
    })?;
    Config::meaning(ALL, flags).map(|_| ()).map_err(|wrong| format!("{wrong:#}"))
}

/// Letters to add, drop or change.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_has_its_place_and_a_way_out() {
        let text = "log_level = \"info\"\nhtpt = \"x\"\nmemory = \"2 elephants\"\nrules = \"r.yaml\"\nretention_logs = \"31d\"\npg = 5439\n";
        let found = mistakes(text);
        assert_eq!(found.len(), 4, "{found:#?}");
        for (i, (place, part)) in
            [("2:1", "`http`"), ("3:10", "512MiB"), ("4:9", "brackets"), ("6:6", "string")].iter().enumerate()
        {
            assert!(found[i].starts_with(&format!("{place}: ")) && found[i].contains(part), "{}", found[i]);
        }
        assert_eq!(mistakes("http = \"127.0.0.1:7400\"\nrules = [\"a*.yaml\"]\n"), [] as [&str; 0]);
        assert!(mistakes("pg = \"127.0.0.1:7400\"\n")[0].contains("--http and --pg"));
        assert!(mistakes("http = \n").len() == 1);
        assert!(mistakes("[http]\nx = 1\n")[0].contains("not a table"));
    }
}
