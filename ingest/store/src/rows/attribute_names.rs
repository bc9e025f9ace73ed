//! Names of all attributes that spans have, and whether their scopes have any, without looking at the spans: from the shapes and
//! groups of what is in memory and of spilled parts, and of other parts from their columns and, where some attributes have none,
//! from their shapes.

use super::groups::Group;
use super::part::{read_shapes, shapes_of};
use super::shapes::{SHAPE, Shape};
use crate::part::{Damaged, Part};
use crate::snapshot::AttributeNames;
use arrow::array::{Array, AsArray, StringArray};
use arrow::datatypes::UInt32Type;
use futures::TryStreamExt;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Each is a column of every batch for whoever asks for all.
const NAMES_MAX: usize = 128;
/// Shapes that are looked at: where senders mix the order of their attributes, nearly each span has one of its own.
const SHAPES_MAX: usize = 4_096;

/// What was found so far.
#[derive(Default)]
pub struct Found {
    names: AttributeNames,
    shapes: usize,
    /// A span has two attributes of one name, or there is more than is handed out.
    cannot_tell: bool,
}

impl Found {
    /// `None` where the names do not tell everything.
    pub fn names(self) -> Option<AttributeNames> {
        (!self.cannot_tell).then_some(self.names)
    }

    /// Whether nothing more will change.
    pub fn is_decided(&self) -> bool {
        self.cannot_tell
    }

    pub fn add_groups(&mut self, groups: &[Arc<Group>]) {
        self.names.scopes_have_some |= groups.iter().any(|group| !group.scope_attributes.is_empty());
    }

    pub fn add_shape(&mut self, shape: &Shape) {
        if self.cannot_tell {
            return;
        }
        self.shapes += 1;
        self.cannot_tell |= !added(&mut self.names.of_spans, shape.entries().map(|(name, _)| name));
        self.bound();
    }

    /// A part that is not spilled.
    pub async fn add_part(&mut self, part: &Arc<Part>) -> Result<(), Damaged> {
        let index = part.rows_index().await?;
        self.add_groups(index.groups.groups());
        if !index.has_other_attributes() {
            added(&mut self.names.of_spans, index.frequent_attributes());
            self.bound();
            return Ok(());
        }
        let mut batches = read_shapes(part.clone(), &index)?;
        // Batches of one row group have the same words.
        let mut seen: Option<StringArray> = None;
        while !self.cannot_tell
            && let Some(batch) = batches.try_next().await?
        {
            let wrong = || part.damaged(&part.meta.data_path(), "its shapes are no lists of names");
            let column =
                batch.column_by_name(SHAPE).and_then(|column| column.as_dictionary_opt::<UInt32Type>());
            let words = column.ok_or_else(wrong)?.values();
            let texts = words.as_string_opt::<i32>().ok_or_else(wrong)?;
            if seen.as_ref().is_some_and(|seen| std::ptr::eq(seen.value_data(), texts.value_data())) {
                continue;
            }
            if texts.len() > SHAPES_MAX {
                self.cannot_tell = true;
                return Ok(());
            }
            shapes_of(words).ok_or_else(wrong)?.iter().for_each(|shape| self.add_shape(shape));
            seen = Some(texts.clone());
        }
        Ok(())
    }

    fn bound(&mut self) {
        self.cannot_tell |= self.names.of_spans.len() > NAMES_MAX || self.shapes > SHAPES_MAX;
    }
}

/// Adds the names of one span; `false` where two are the same.
fn added<'a>(all: &mut BTreeSet<String>, names: impl Iterator<Item = &'a str>) -> bool {
    let mut own = HashSet::new();
    for name in names {
        if !own.insert(name) {
            return false;
        }
        if !all.contains(name) {
            all.insert(name.to_owned());
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::groups::AttributeBytes;
    use model::{Attributes, Value};

    fn shape(names: &[&str]) -> Shape {
        let mut key = vec![];
        names.iter().for_each(|name| Shape::push(&mut key, name, b's'));
        Shape::of_key(&key)
    }

    fn group(scope: &[&str]) -> Arc<Group> {
        let one = |name: &&str| ((*name).to_owned(), Value::from("x"));
        let scope_attributes = AttributeBytes::of(&scope.iter().map(one).collect::<Attributes>());
        Arc::new(Group { scope_attributes, ..Group::default() })
    }

    #[test]
    fn names_are_of_spans_and_it_is_told_of_scopes() {
        let mut found = Found::default();
        found.add_groups(&[group(&[])]);
        found.add_shape(&shape(&["x", "y"]));
        found.add_shape(&shape(&["y"]));
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let names = found.names().unwrap();
        assert_eq!(names.of_spans, set(&["x", "y"]));
        assert!(!names.scopes_have_some);
        let mut found = Found::default();
        found.add_groups(&[group(&[]), group(&["n"])]);
        assert!(found.names().unwrap().scopes_have_some);
    }

    #[test]
    fn names_do_not_tell_of_what_has_two_of_one() {
        let mut found = Found::default();
        found.add_shape(&shape(&["x", "y", "x"]));
        assert!(found.is_decided() && found.names().is_none());
    }

    #[test]
    fn too_many_names_are_not_told() {
        let names: Vec<String> = (0..=NAMES_MAX).map(|number| format!("n{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut found = Found::default();
        found.add_shape(&shape(&names[..NAMES_MAX]));
        assert!(!found.is_decided());
        found.add_shape(&shape(&names[NAMES_MAX..]));
        assert!(found.names().is_none());
    }
}
