//! YAML read by hand, so that every mistake of a file is found in one go and each is told with line and column.
//!
//! [`File`] holds the text and its documents; a [`Node`] is a value at a path of one of them. What is wrong is said on
//! the node and collected in the file. The parser keeps no positions, so the position of a mistake is found by parsing
//! once more down to its path: mistakes are few and bounded, good files pay nothing.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_yaml_ng::Value;
use std::cell::RefCell;
use std::fmt;

/// A rule file of this size is no rule file.
pub const BYTES_MAX: usize = 16 << 20;
/// Past these a file is wrong as a whole; reading on would only cost time.
const MISTAKES_MAX: usize = 50;

/// One thing that is wrong with a file. Shown as `line:column: field: what is wrong and what to do`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub line: usize,
    pub column: usize,
    /// Where in the document, e.g. `groups[0].rules[2].expr`; empty for the document itself.
    pub field: String,
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Where a value is, so that a mistake that is found later can still be placed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    document: usize,
    steps: Vec<Step>,
}

impl Place {
    fn below(&self, step: Step) -> Place {
        let mut steps = self.steps.clone();
        steps.push(step);
        Place { document: self.document, steps }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            match step {
                Step::Key(key) if i == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A file's text, its documents, and what was found wrong so far.
pub struct File<'t> {
    text: &'t str,
    documents: Vec<Value>,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'t> File<'t> {
    /// The error is a text that is not YAML.
    pub fn parse(text: &'t str) -> Result<File<'t>, Mistake> {
        if text.len() > BYTES_MAX {
            return Err(Mistake {
                line: 1,
                column: 1,
                field: String::new(),
                text: format!("the file has {} bytes; at most {BYTES_MAX} are read", text.len()),
            });
        }
        let mut documents = vec![];
        for document in serde_yaml_ng::Deserializer::from_str(text) {
            let mut value = Value::deserialize(document).map_err(|wrong| not_yaml(&wrong))?;
            // `<<: *other` takes over what another mapping has.
            value.apply_merge().map_err(|wrong| not_yaml(&wrong))?;
            documents.push(value);
        }
        Ok(File { text, documents, mistakes: RefCell::default() })
    }

    pub fn documents(&self) -> impl Iterator<Item = Node<'_>> {
        self.documents
            .iter()
            .enumerate()
            .filter(|(_, value)| !value.is_null())
            .map(|(document, value)| Node { file: self, value, place: Place { document, steps: vec![] } })
    }

    pub fn wrong(&self, place: &Place, text: impl Into<String>) {
        self.note(place, false, text.into());
    }

    fn note(&self, place: &Place, at_key: bool, text: String) {
        let mut mistakes = self.mistakes.borrow_mut();
        if mistakes.len() >= MISTAKES_MAX {
            return;
        }
        let (line, column) = position(self.text, place, at_key).unwrap_or((1, 1));
        let mistake = Mistake { line, column, field: place.to_string(), text };
        // What several others refer to is read for each of them, and is wrong only once.
        if !mistakes.contains(&mistake) {
            mistakes.push(mistake);
        }
    }

    pub fn mistakes(self) -> Vec<Mistake> {
        self.mistakes.into_inner()
    }

    pub fn is_right(&self) -> bool {
        self.mistakes.borrow().is_empty()
    }
}

fn not_yaml(wrong: &serde_yaml_ng::Error) -> Mistake {
    let (line, column) = wrong.location().map_or((1, 1), |at| (at.line(), at.column()));
    let text = wrong.to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    Mistake { line, column, field: String::new(), text: format!("not valid YAML: {text}") }
}

/// A value of a document.
#[derive(Clone)]
pub struct Node<'f> {
    file: &'f File<'f>,
    value: &'f Value,
    place: Place,
}

impl<'f> Node<'f> {
    pub fn place(&self) -> Place {
        self.place.clone()
    }

    pub fn wrong(&self, text: impl Into<String>) {
        self.file.wrong(&self.place, text);
    }

    /// The value of `key`; absent and null are the same.
    pub fn get(&self, key: &str) -> Option<Node<'f>> {
        let value = self.value.as_mapping()?.get(key).filter(|value| !value.is_null())?;
        Some(Node { file: self.file, value, place: self.place.below(Step::Key(key.to_owned())) })
    }

    /// As [`get`](Self::get); its absence is a mistake.
    pub fn need(&self, key: &str) -> Option<Node<'f>> {
        let found = self.get(key);
        if found.is_none() {
            self.wrong(format!("`{key}` is missing"));
        }
        found
    }

    /// Says so where this is not a mapping or has a key that is not in `known`: a misspelt key would do nothing.
    pub fn only(&self, known: &[&str]) {
        let Some(mapping) = self.value.as_mapping() else {
            self.wrong(format!("a mapping with {} is expected here", known.join(", ")));
            return;
        };
        for key in mapping.keys() {
            match key.as_str() {
                Some(key) if known.contains(&key) => {}
                Some(key) => self.file.note(
                    &self.place.below(Step::Key(key.to_owned())),
                    true,
                    format!("unknown field; known are {}", known.join(", ")),
                ),
                None => self.wrong("a key that is not text"),
            }
        }
    }

    /// A scalar's text: numbers and booleans as they are written.
    pub fn text(&self) -> Option<String> {
        let text = match self.value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        };
        if text.is_none() {
            self.wrong("text is expected here");
        }
        text
    }

    pub fn number(&self) -> Option<f64> {
        let number = match self.value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.wrong("a number is expected here");
        }
        number
    }

    pub fn truth(&self) -> Option<bool> {
        let truth = self.value.as_bool();
        if truth.is_none() {
            self.wrong("true or false is expected here");
        }
        truth
    }

    pub fn items(&self) -> Vec<Node<'f>> {
        let Some(items) = self.value.as_sequence() else {
            self.wrong("a list is expected here");
            return vec![];
        };
        let node = |(i, value)| Node { file: self.file, value, place: self.place.below(Step::Index(i)) };
        items.iter().enumerate().map(node).collect()
    }

    /// Keys and values in the order they are written.
    pub fn entries(&self) -> Vec<(String, Node<'f>)> {
        let Some(mapping) = self.value.as_mapping() else {
            self.wrong("a mapping is expected here");
            return vec![];
        };
        let mut entries = vec![];
        for (key, value) in mapping {
            match key {
                Value::String(key) => {
                    let place = self.place.below(Step::Key(key.clone()));
                    entries.push((key.clone(), Node { file: self.file, value, place }));
                }
                _ => self.wrong("a key that is not text; put it in quotes"),
            }
        }
        entries
    }

    pub fn is_mapping(&self) -> bool {
        self.value.is_mapping()
    }

    pub fn is_scalar(&self) -> bool {
        matches!(self.value, Value::String(_) | Value::Number(_) | Value::Bool(_))
    }
}

/// Line and column of what is at `place`, by parsing down to it and failing there on purpose: the parser adds the
/// position to an error that comes up through it.
fn position(text: &str, place: &Place, at_key: bool) -> Option<(usize, usize)> {
    let document = serde_yaml_ng::Deserializer::from_str(text).nth(place.document)?;
    let failed = Walk { steps: &place.steps, at_key }.deserialize(document).err()?;
    failed.location().map(|at| (at.line(), at.column()))
}

struct Walk<'s> {
    steps: &'s [Step],
    at_key: bool,
}

const FOUND: &str = "found";

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    /// Whatever is not the expected container ends here, which is as near as it gets.
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FOUND)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((Step::Index(wanted), steps)) = self.steps.split_first() else {
            return Err(A::Error::custom(FOUND));
        };
        for _ in 0..*wanted {
            items.next_element::<IgnoredAny>()?;
        }
        items.next_element_seed(Walk { steps, at_key: self.at_key })?;
        Err(A::Error::custom(FOUND))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), steps)) = self.steps.split_first() else {
            return Err(A::Error::custom(FOUND));
        };
        let fail_at_key = self.at_key && steps.is_empty();
        while let Some(is_it) = entries.next_key_seed(Key { wanted, fail: fail_at_key })? {
            if is_it {
                entries.next_value_seed(Walk { steps, at_key: self.at_key })?;
                break;
            }
            entries.next_value::<IgnoredAny>()?;
        }
        Err(A::Error::custom(FOUND))
    }
}

/// Whether a key is the wanted one; fails on it where its own position is asked for.
struct Key<'s> {
    wanted: &'s str,
    fail: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        if key == self.wanted && self.fail { Err(E::custom(FOUND)) } else { Ok(key == self.wanted) }
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_placed_in_block_and_in_flow_style() {
        let text = "groups:\n- name: g\n  rules:\n  - { alert: A, expr: 1 }\n  - alert: B\n    expr: x\n    oops: 1\n";
        let file = File::parse(text).unwrap();
        let root = file.documents().next().unwrap();
        let rules = root.get("groups").unwrap().items()[0].get("rules").unwrap().items();
        rules[0].get("expr").unwrap().wrong("first");
        rules[1].get("expr").unwrap().wrong("second");
        rules[1].only(&["alert", "expr"]);
        rules[1].need("for");
        let told: Vec<String> = file.mistakes().iter().map(ToString::to_string).collect();
        assert_eq!(told[0], "4:23: groups[0].rules[0].expr: first");
        assert_eq!(told[1], "6:11: groups[0].rules[1].expr: second");
        assert_eq!(told[2], "7:5: groups[0].rules[1].oops: unknown field; known are alert, expr");
        assert_eq!(told[3], "5:5: groups[0].rules[1]: `for` is missing");
    }

    #[test]
    fn a_mapping_takes_over_another_one() {
        let text = "rules:\n- &first\n  alert: A\n  expr: up\n- <<: *first\n  alert: B\n  oops: 1\n";
        let file = File::parse(text).unwrap();
        let rules = file.documents().next().unwrap().get("rules").unwrap().items();
        let of_second = |key: &str| rules[1].get(key).and_then(|value| value.text());
        assert_eq!((of_second("alert").as_deref(), of_second("expr").as_deref()), (Some("B"), Some("up")));
        rules[1].only(&["alert", "expr"]);
        let told: Vec<String> = file.mistakes().iter().map(ToString::to_string).collect();
        assert_eq!(told, ["7:3: rules[1].oops: unknown field; known are alert, expr"]);
        let wrong = File::parse("a: &a 1\nb:\n  <<: *a\n").err().unwrap();
        assert!(wrong.text.starts_with("not valid YAML"), "{wrong}");
    }

    #[test]
    fn what_is_not_yaml_is_told_with_its_line() {
        let wrong = File::parse("a: 1\nb: [\n").err().unwrap();
        assert!(wrong.line >= 2 && wrong.text.starts_with("not valid YAML"), "{wrong}");
        assert!(File::parse("a: 1\na: 2\n").err().unwrap().text.contains("duplicate"));
    }

    #[test]
    fn bombs_are_refused() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let before = format!("*a{}, ", i - 1).repeat(10);
            laughs.push_str(&format!("a{i}: &a{i} [{before}]\n"));
        }
        assert!(File::parse(&laughs).is_err());
        assert!(File::parse(&"[".repeat(100_000)).is_err());
        assert!(File::parse(&" ".repeat(BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn the_second_document_is_found() {
        let file = File::parse("a: 1\n---\nb: 2\n").unwrap();
        let second = file.documents().nth(1).unwrap();
        second.get("b").unwrap().wrong("here");
        assert_eq!((file.mistakes()[0].line), 3);
    }
}
