//! Attributes by name: in Parquet each frequent attribute is a column of its own, so that its values lie side by side.
//!
//! A row's *shape* says which attributes it has, in their order and with their types; values of names that have no
//! column are in a map, in the same order. Shape, columns and map give back exactly what came.

use crate::objects::READ_ROWS;
use crate::rows::fields::{Typed, looked_up};
use crate::rows::groups::empty_maps;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, DictionaryArray, MapArray,
    MapBuilder, RecordBatch, StringArray, StringBuilder, UInt8Array,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, UInt32Type};
use arrow::error::ArrowError;
use foldhash::{HashMap, HashMapExt};
use std::sync::{Arc, LazyLock};

pub const SHAPE: &str = "attribute_shape";
pub const REST: &str = "attributes";
pub const TYPES: &str = "attribute_types";
const PREFIX: &str = "attr.";

/// Columns of a part: each costs some hundred bytes a row group even where it is nearly empty.
const COLUMNS_MAX: usize = 64;

/// A name gets a column when one row in so many has it.
const ROWS_OF_A_NAME: usize = 200;

/// Names that get a column, by how many rows have them.
pub fn frequent<'a>(maps: impl Iterator<Item = &'a MapArray>) -> Vec<String> {
    let (mut rows, mut counts) = (0, HashMap::<&str, usize>::new());
    for map in maps {
        rows += map.len();
        let names: &StringArray = map.keys().as_string();
        names.iter().flatten().for_each(|name| *counts.entry(name).or_default() += 1);
    }
    let mut counts: Vec<_> = counts.into_iter().filter(|(_, count)| count * ROWS_OF_A_NAME >= rows).collect();
    counts.sort_unstable_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
    counts.truncate(COLUMNS_MAX);
    let mut names: Vec<String> = counts.into_iter().map(|(name, _)| name.to_owned()).collect();
    names.sort_unstable();
    names
}

/// The names that have a column in any of several files, as far as there is room.
pub fn joined<'a>(files: impl Iterator<Item = Vec<&'a str>>) -> Vec<String> {
    let mut counts = HashMap::<&str, usize>::new();
    files.flatten().for_each(|name| *counts.entry(name).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
    counts.truncate(COLUMNS_MAX);
    let mut names: Vec<String> = counts.into_iter().map(|(name, _)| name.to_owned()).collect();
    names.sort_unstable();
    names
}

/// Names with a column among the fields of a file.
pub fn named<'a>(fields: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    fields.filter_map(|field| field.strip_prefix(PREFIX)).collect()
}

/// The column of an attribute that has one.
pub fn column_of(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// Rows whose attribute passes, by its own column or the map of those without.
pub fn judge(
    batch: &RecordBatch,
    name: &str,
    passes: impl Fn(&str) -> bool,
) -> Result<BooleanArray, ArrowError> {
    let wrong = || ArrowError::InvalidArgumentError(format!("attribute {name} is not where it should be"));
    let column = batch.columns().first().ok_or_else(wrong)?;
    if let Some(values) = column.as_string_opt::<i32>() {
        return Ok(values.iter().map(|value| Some(value.is_some_and(&passes))).collect());
    }
    if let Some(words) = column.as_dictionary_opt::<UInt32Type>() {
        let values = words.values().as_string_opt::<i32>().ok_or_else(wrong)?;
        // A row group may have more words than the batch has rows.
        let mut known: Vec<Option<bool>> = vec![None; values.len()];
        let mut word = |key: usize| *known[key].get_or_insert_with(|| passes(values.value(key)));
        return Ok((0..words.len()).map(|row| Some(words.key(row).is_some_and(&mut word))).collect());
    }
    let map = column.as_map_opt().ok_or_else(wrong)?;
    let names = map.keys().as_string_opt::<i32>().ok_or_else(wrong)?;
    let values = map.values().as_string_opt::<i32>().ok_or_else(wrong)?;
    let judged = (0..map.len()).map(|row| {
        let mut entries = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
        Some(entries.any(|at| names.value(at) == name && passes(values.value(at))))
    });
    Ok(judged.collect())
}

/// Whether a field is one attribute's.
pub fn has_own_column(field: &str) -> bool {
    field.starts_with(PREFIX)
}

/// The names of a shape, in their order.
pub fn names_of_shape(text: &str) -> Option<Vec<String>> {
    let names: Vec<String> = serde_json::from_str(text).ok()?;
    names.iter().map(|name| name.get(1..).map(str::to_owned)).collect()
}

/// One attribute of rows as they lie in a file: its texts as words, and its types.
pub fn of_file(batch: &RecordBatch, name: &str) -> Result<Typed, ArrowError> {
    let wrong = || ArrowError::InvalidArgumentError(format!("attribute {name} is not where it should be"));
    let shapes = batch.column_by_name(SHAPE).and_then(|column| column.as_dictionary_opt::<UInt32Type>());
    let shapes = shapes.ok_or_else(wrong)?;
    let texts = shapes.values().as_string_opt::<i32>().ok_or_else(wrong)?;
    // Its type by shape; none where the shape does not have it.
    let kind = |text: Option<&str>| {
        let names: Vec<String> = serde_json::from_str(text.unwrap_or("[]")).ok()?;
        let own = names.iter().find(|own| own.get(1..) == Some(name));
        Some(own.map_or(0, |own| own.as_bytes()[0]))
    };
    let kinds = texts.iter().map(kind).collect::<Option<Vec<u8>>>().ok_or_else(wrong)?;
    let kind_of = |row: usize| shapes.key(row).and_then(|shape| kinds.get(shape).copied()).unwrap_or(0);
    if let Some(column) = batch.column_by_name(&column_of(name)) {
        let types = UInt8Array::from_iter_values((0..batch.num_rows()).map(kind_of));
        return Ok((cast(column, &crate::schema::word())?, Arc::new(types)));
    }
    let rest = batch.column_by_name(REST).and_then(|column| column.as_map_opt()).ok_or_else(wrong)?;
    looked_up(rest, name, |row, _| kind_of(row))
}

pub fn is_column(field: &str) -> bool {
    field == SHAPE || field == REST || field.starts_with(PREFIX)
}

/// Puts attributes into their columns.
pub struct Shredder {
    names: Vec<String>,
    shapes: HashMap<Vec<u8>, usize>,
    /// Text of each shape, and the column of each of its attributes.
    known: Vec<(String, Vec<Option<usize>>)>,
}

impl Shredder {
    pub fn new(names: Vec<String>) -> Shredder {
        Shredder { names, shapes: HashMap::new(), known: vec![] }
    }

    pub fn fields(&self) -> Vec<Field> {
        let mut fields = vec![
            Field::new(SHAPE, crate::schema::word(), false),
            Field::new(REST, crate::schema::text_map(), false),
        ];
        fields.extend(
            self.names.iter().map(|name| Field::new(format!("{PREFIX}{name}"), DataType::Utf8, true)),
        );
        fields
    }

    fn shape(&mut self, key: &[u8], names: &mut dyn Iterator<Item = (&str, u8)>) -> usize {
        if let Some(shape) = self.shapes.get(key) {
            return *shape;
        }
        let (mut text, mut columns) = (vec![], vec![]);
        for (name, kind) in names {
            let column = self.names.binary_search_by(|other| other.as_str().cmp(name)).ok();
            // A name that comes twice has one place in its column; the second one goes with the rest.
            columns.push(column.filter(|column| !columns.contains(&Some(*column))));
            text.push(format!("{}{name}", char::from(kind)));
        }
        let text = serde_json::Value::from(text).to_string();
        self.known.push((text, columns));
        self.shapes.insert(key.to_vec(), self.known.len() - 1);
        self.known.len() - 1
    }

    /// Whether any row so far has some.
    pub fn has_attributes(&self) -> bool {
        self.known.iter().any(|(_, columns)| !columns.is_empty())
    }

    /// The columns of [`fields`](Self::fields).
    pub fn shred(&mut self, map: &MapArray, types: &BinaryArray) -> Result<Vec<ArrayRef>, ArrowError> {
        let names: &StringArray = map.keys().as_string();
        let values: &StringArray = map.values().as_string();
        let mut columns: Vec<StringBuilder> = self.names.iter().map(|_| StringBuilder::new()).collect();
        let mut rest = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        let mut shape_of = Vec::with_capacity(map.len());
        let mut key = vec![];
        for row in 0..map.len() {
            let entries = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
            let kinds = types.value(row);
            key.clear();
            for (at, entry) in entries.clone().enumerate() {
                key.extend_from_slice(names.value(entry).as_bytes());
                key.extend_from_slice(&[0xff, kinds.get(at).copied().unwrap_or(b's')]);
            }
            let shape = self.shape(
                &key,
                &mut entries
                    .clone()
                    .enumerate()
                    .map(|(at, entry)| (names.value(entry), kinds.get(at).copied().unwrap_or(b's'))),
            );
            shape_of.push(shape as u32);
            for (entry, column) in entries.zip(&self.known[shape].1) {
                match column {
                    Some(column) => {
                        let column = &mut columns[*column];
                        fill(column, row);
                        column.append_value(values.value(entry));
                    }
                    None => {
                        rest.keys().append_value(names.value(entry));
                        rest.values().append_value(values.value(entry));
                    }
                }
            }
            rest.append(true)?;
        }
        let texts: StringArray = self.known.iter().map(|(text, _)| Some(text.as_str())).collect();
        let shapes = DictionaryArray::<UInt32Type>::try_new(shape_of.into(), Arc::new(texts))?;
        let mut shredded: Vec<ArrayRef> = vec![Arc::new(shapes), Arc::new(rest.finish())];
        for mut column in columns {
            fill(&mut column, map.len());
            shredded.push(Arc::new(column.finish()));
        }
        Ok(shredded)
    }
}

/// Nulls up to a row.
fn fill(column: &mut StringBuilder, row: usize) {
    let missing = row - arrow::array::ArrayBuilder::len(column);
    if missing > 0 {
        column.append_nulls(missing);
    }
}

/// The map and its types again, from the columns of a file.
pub fn restore(batch: &RecordBatch) -> Result<(ArrayRef, ArrayRef), ArrowError> {
    let wrong = |what: &str| ArrowError::InvalidArgumentError(format!("attributes: {what}"));
    let shapes = batch.column_by_name(SHAPE).and_then(|column| column.as_dictionary_opt::<UInt32Type>());
    let shapes = shapes.ok_or_else(|| wrong("no shapes"))?;
    let texts = shapes.values().as_string_opt::<i32>().ok_or_else(|| wrong("shapes are no text"))?;
    let rest =
        batch.column_by_name(REST).and_then(|column| column.as_map_opt()).ok_or_else(|| wrong("no map"))?;
    let rest_values = rest.values().as_string_opt::<i32>().ok_or_else(|| wrong("no text"))?;
    let mut columns: HashMap<&str, StringArray> = HashMap::new();
    let schema = batch.schema_ref();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if let Some(name) = field.name().strip_prefix(PREFIX) {
            // Where rows were judged by attributes these are words.
            columns.insert(name, cast(column, &DataType::Utf8)?.as_string().clone());
        }
    }
    let parsed = texts.iter().map(|text| Shape::parse(text.unwrap_or("[]"), &columns));
    let parsed =
        parsed.collect::<Option<Vec<Shape>>>().ok_or_else(|| wrong("a shape that is no list of names"))?;
    let entries = parsed.iter().map(|shape| shape.entries.len()).max().unwrap_or(0) * batch.num_rows();
    let mut map = MapBuilder::with_capacity(
        None,
        StringBuilder::with_capacity(entries, entries * 16),
        StringBuilder::with_capacity(entries, entries * 12),
        batch.num_rows(),
    );
    let mut types = BinaryBuilder::with_capacity(batch.num_rows(), entries);
    for row in 0..batch.num_rows() {
        let shape = shapes.key(row).and_then(|shape| parsed.get(shape)).ok_or_else(|| wrong("no shape"))?;
        let mut of_rest = rest.value_offsets()[row] as usize..rest.value_offsets()[row + 1] as usize;
        for (name, column) in &shape.entries {
            map.keys().append_value(name);
            match column {
                Some(column) => map.values().append_value(column.value(row)),
                None => {
                    let entry = of_rest.next().ok_or_else(|| wrong("a value is missing"))?;
                    map.values().append_value(rest_values.value(entry));
                }
            }
        }
        map.append(true)?;
        types.append_value(&shape.types);
    }
    Ok((Arc::new(map.finish()), Arc::new(types.finish())))
}

/// The same of rows without any. Most lines have none: what stands for it is made once.
pub fn none(rows: usize) -> (ArrayRef, ArrayRef) {
    static NONE: LazyLock<(ArrayRef, ArrayRef)> = LazyLock::new(|| made_of_none(READ_ROWS));
    match rows {
        0..=READ_ROWS => (NONE.0.slice(0, rows), NONE.1.slice(0, rows)),
        _ => made_of_none(rows),
    }
}

fn made_of_none(rows: usize) -> (ArrayRef, ArrayRef) {
    let map: ArrayRef = Arc::new(MapBuilder::new(None, StringBuilder::new(), StringBuilder::new()).finish());
    let types = BinaryArray::new(OffsetBuffer::new_zeroed(rows), Buffer::from(&[]), None);
    (empty_maps(&map, rows).unwrap_or(map), Arc::new(types))
}

struct Shape<'a> {
    types: Vec<u8>,
    /// The column where the value is, or `None` where it is in the rest.
    entries: Vec<(String, Option<&'a StringArray>)>,
}

impl<'a> Shape<'a> {
    fn parse(text: &str, columns: &'a HashMap<&str, StringArray>) -> Option<Shape<'a>> {
        let names: Vec<String> = serde_json::from_str(text).ok()?;
        let (mut types, mut entries) = (vec![], Vec::<(String, Option<&StringArray>)>::new());
        for name in names {
            let kind = *name.as_bytes().first().filter(|kind| kind.is_ascii())?;
            let name = name[1..].to_owned();
            let again = entries.iter().any(|(other, _)| *other == name);
            let column = columns.get(name.as_str()).filter(|_| !again);
            types.push(kind);
            entries.push((name, column));
        }
        Some(Shape { types, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Schema;

    #[test]
    fn what_is_taken_apart_is_put_together_again() {
        let rows: [&[(&str, &str, u8)]; 5] = [
            &[("a", "1", b'i'), ("b", "x", b's')],
            &[],
            &[("b", "", b's'), ("a", "true", b'b'), ("b", "again", b's')],
            &[("rare \"name\"", "r", b's'), ("a", "2", b'i'), ("a", "3", b'i')],
            &[("c", "[1]", b'j')],
        ];
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        let mut types = BinaryBuilder::new();
        for row in rows {
            for (name, value, _) in row {
                map.keys().append_value(name);
                map.values().append_value(value);
            }
            map.append(true).unwrap();
            types.append_value(row.iter().map(|(_, _, kind)| *kind).collect::<Vec<u8>>());
        }
        let (map, types) = (map.finish(), types.finish());
        assert_eq!(frequent([&map].into_iter()), ["a", "b", "c", "rare \"name\""]);
        for names in [vec![], vec!["a"], vec!["a", "b"], vec!["a", "b", "c", "rare \"name\"", "unused"]] {
            let mut shredder = Shredder::new(names.iter().map(|name| name.to_string()).collect());
            let columns = shredder.shred(&map, &types).unwrap();
            let batch = RecordBatch::try_new(Arc::new(Schema::new(shredder.fields())), columns).unwrap();
            let (again, types_again) = restore(&batch).unwrap();
            assert_eq!((again.as_map(), types_again.as_binary::<i32>()), (&map, &types), "{names:?}");
        }
    }
}
