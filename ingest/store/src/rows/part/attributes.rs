//! Attributes by name: in Parquet each frequent attribute is a column of its own, so that its values lie side by side.
//!
//! A row's *shape* says which attributes it has, in their order and with their types; values of names that have no
//! column are in a map, in the same order. Shape, columns and map give back exactly what came.

use crate::objects::READ_ROWS;
use crate::rows::fields::Typed;
use crate::rows::groups::empty_maps;
pub use crate::rows::shapes::SHAPE;
use crate::rows::shapes::{self, Shape};
use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, DictionaryArray,
    ListArray, MapArray, MapBuilder, RecordBatch, StringArray, StringBuilder, StringDictionaryBuilder,
    UInt8Array, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, Buffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, UInt32Type};
use arrow::error::ArrowError;
use foldhash::{HashMap, HashMapExt};
use model::SpanSelect;
use std::sync::{Arc, LazyLock};

pub const REST: &str = "attributes";
pub const TYPES: &str = "attribute_types";
const PREFIX: &str = "attr.";

/// Columns of a part: each costs some hundred bytes a row group even where it is nearly empty.
const COLUMNS_MAX: usize = 64;

/// A name gets a column when one row in so many has it.
const ROWS_OF_A_NAME: usize = 200;

/// Names that get a column, by how many rows have them: `numbers` are the rows' shapes.
pub fn frequent<'a>(numbers: impl Iterator<Item = &'a UInt32Array>, shapes: &[Arc<Shape>]) -> Vec<String> {
    let mut rows_of = vec![0; shapes.len()];
    numbers.flat_map(|numbers| numbers.values()).for_each(|shape| rows_of[*shape as usize] += 1);
    let (rows, mut counts) = (rows_of.iter().sum::<usize>(), HashMap::<&str, usize>::new());
    for (shape, rows) in shapes.iter().zip(rows_of) {
        shape.entries().for_each(|(name, _)| *counts.entry(name).or_default() += rows);
    }
    let is_frequent = |(_, count): &(&str, usize)| *count > 0 && count * ROWS_OF_A_NAME >= rows;
    let mut counts: Vec<_> = counts.into_iter().filter(is_frequent).collect();
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

/// Judges rows by one attribute, which is in a column of its own or in the map of those without.
pub struct Judged {
    name: String,
    text: String,
    words: Option<JudgedWords>,
}

/// The words of a row group, which all batches of it have alike, and what was found of them.
struct JudgedWords {
    values: StringArray,
    fit: Vec<bool>,
    /// Those that fit.
    keys: Vec<u32>,
}

impl Judged {
    pub fn new(name: &str, text: &str) -> Judged {
        Judged { name: name.to_owned(), text: text.to_owned(), words: None }
    }

    /// Rows of the batch, whose first column is the one that the attribute is in.
    pub fn mask(&mut self, batch: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        let name = &self.name;
        let wrong =
            || ArrowError::InvalidArgumentError(format!("attribute {name} is not where it should be"));
        let column = batch.columns().first().ok_or_else(wrong)?;
        if let Some(values) = column.as_string_opt::<i32>() {
            let passes = |row: usize| values.is_valid(row) && SpanSelect::fits(&self.text, values.value(row));
            return Ok(mask(values.len(), passes));
        }
        if let Some(words) = column.as_dictionary_opt::<UInt32Type>() {
            let values = words.values().as_string_opt::<i32>().ok_or_else(wrong)?;
            let known = match self.words.take() {
                Some(known) if is_same(&known.values, values) => known,
                _ => JudgedWords::of(values, &self.text),
            };
            return Ok(self.words.insert(known).mask(words.keys()));
        }
        let map = column.as_map_opt().ok_or_else(wrong)?;
        let names = map.keys().as_string_opt::<i32>().ok_or_else(wrong)?;
        let values = map.values().as_string_opt::<i32>().ok_or_else(wrong)?;
        Ok(mask(map.len(), |row| {
            let mut entries = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
            entries.any(|at| names.value(at) == name && SpanSelect::fits(&self.text, values.value(at)))
        }))
    }
}

impl JudgedWords {
    fn of(values: &StringArray, text: &str) -> JudgedWords {
        let fits = |value: Option<&str>| value.is_some_and(|value| SpanSelect::fits(text, value));
        let fit: Vec<bool> = values.iter().map(fits).collect();
        let keys = (0..fit.len()).filter(|key| fit[*key]).map(|key| key as u32).collect();
        JudgedWords { values: values.clone(), fit, keys }
    }

    fn mask(&self, keys: &UInt32Array) -> BooleanArray {
        let (rows, own) = (keys.len(), keys.values());
        // Most often one word fits or none, and to compare numbers takes less than to look each up.
        let fitting = match self.keys.as_slice() {
            [] => BooleanBuffer::new_unset(rows),
            [one] => BooleanBuffer::collect_bool(rows, |row| own[row] == *one),
            // A row without a word may have any number.
            _ => BooleanBuffer::collect_bool(rows, |row| {
                self.fit.get(own[row] as usize).is_some_and(|fits| *fits)
            }),
        };
        let fitting = match keys.nulls() {
            Some(valid) => &fitting & valid.inner(),
            None => fitting,
        };
        BooleanArray::new(fitting, None)
    }
}

/// Whether both are one piece of memory.
fn is_same(one: &StringArray, other: &StringArray) -> bool {
    one.len() == other.len()
        && std::ptr::eq(one.value_data(), other.value_data())
        && std::ptr::eq(one.value_offsets(), other.value_offsets())
}

fn mask(rows: usize, passes: impl FnMut(usize) -> bool) -> BooleanArray {
    BooleanArray::new(BooleanBuffer::collect_bool(rows, passes), None)
}

/// Whether a field is one attribute's.
pub fn has_own_column(field: &str) -> bool {
    field.starts_with(PREFIX)
}

/// The names of a shape, in their order.
pub fn names_of_shape(text: &str) -> Option<Vec<String>> {
    Some(Shape::of_text(text)?.entries().map(|(name, _)| name.to_owned()).collect())
}

/// Attributes of rows as they lie in a file, each for itself.
pub struct OfFile<'a> {
    batch: &'a RecordBatch,
    /// Shapes of rows that follow one another, each with how many have it: most that lie together have the same one.
    runs: Vec<(u32, usize)>,
    shapes: Vec<Shape>,
}

impl<'a> OfFile<'a> {
    pub fn of(batch: &'a RecordBatch) -> Result<OfFile<'a>, ArrowError> {
        let column = batch.column_by_name(SHAPE).and_then(|column| column.as_dictionary_opt::<UInt32Type>());
        let column = column.ok_or_else(|| wrong("no shapes"))?;
        let shapes = shapes_of(column.values()).ok_or_else(|| wrong("a shape that is no list of names"))?;
        let alike = column.keys().values().chunk_by(|one, next| one == next);
        Ok(OfFile { batch, runs: alike.map(|rows| (rows[0], rows.len())).collect(), shapes })
    }

    /// The texts of one as words, and its types.
    pub fn get(&self, name: &str) -> Result<Typed, ArrowError> {
        let of_shapes: Vec<u8> =
            self.shapes.iter().map(|shape| shape.find(name).map_or(0, |(_, kind)| kind)).collect();
        let mut types = Vec::with_capacity(self.batch.num_rows());
        for (shape, rows) in &self.runs {
            types.resize(types.len() + rows, of_shapes.get(*shape as usize).copied().unwrap_or(0));
        }
        let types = UInt8Array::from(types);
        if let Some(column) = self.batch.column_by_name(&column_of(name)) {
            let word = crate::schema::word();
            let words = if *column.data_type() == word { column.clone() } else { cast(column, &word)? };
            return Ok((words, Arc::new(types)));
        }
        Ok((self.of_rest(name, &types)?, Arc::new(types)))
    }

    /// The first entry of this name in the map of each row that has one.
    fn of_rest(&self, name: &str, types: &UInt8Array) -> Result<ArrayRef, ArrowError> {
        // It is not read where no row has anything in it.
        let Some(rest) = self.batch.column_by_name(REST) else {
            let mut none = StringDictionaryBuilder::<UInt32Type>::new();
            none.append_nulls(types.len());
            return Ok(Arc::new(none.finish()));
        };
        let rest = rest.as_map_opt().ok_or_else(|| wrong("no map"))?;
        let names = rest.keys().as_string_opt::<i32>().ok_or_else(|| wrong("names are no text"))?;
        let values = rest.values().as_string_opt::<i32>().ok_or_else(|| wrong("no text"))?;
        let mut texts = StringDictionaryBuilder::<UInt32Type>::new();
        for (row, kind) in types.values().iter().enumerate() {
            let (start, end) = (rest.value_offsets()[row] as usize, rest.value_offsets()[row + 1] as usize);
            let mut entries = if *kind == 0 { 0..0 } else { start..end };
            match entries.find(|at| names.value(*at) == name) {
                Some(at) => texts.append_value(values.value(at)),
                None => texts.append_null(),
            }
        }
        Ok(Arc::new(texts.finish()))
    }
}

/// The shapes of a dictionary of their texts; `None` where one is no shape.
pub fn shapes_of(texts: &ArrayRef) -> Option<Vec<Shape>> {
    texts.as_string_opt::<i32>()?.iter().map(|text| Shape::of_text(text.unwrap_or("[]"))).collect()
}

pub fn is_column(field: &str) -> bool {
    field == SHAPE || field == REST || field.starts_with(PREFIX)
}

/// Puts attributes into their columns.
pub struct Shredder {
    names: Vec<String>,
    /// By number of shape, what is known of those that came.
    known: Vec<Option<Known>>,
    texts: Vec<String>,
}

struct Known {
    /// Its place among the texts.
    text: u32,
    /// The column of each of its attributes.
    columns: Vec<Option<usize>>,
}

impl Shredder {
    pub fn new(names: Vec<String>) -> Shredder {
        Shredder { names, known: vec![], texts: vec![] }
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

    fn know(&mut self, numbers: &UInt32Array, shapes: &[Arc<Shape>]) {
        self.known.resize_with(self.known.len().max(shapes.len()), || None);
        for number in numbers.values() {
            let (known, shape) = (&mut self.known[*number as usize], &shapes[*number as usize]);
            if known.is_some() {
                continue;
            }
            let mut columns = vec![];
            for (name, _) in shape.entries() {
                let column = self.names.binary_search_by(|other| other.as_str().cmp(name)).ok();
                // A name that comes twice has one place in its column; the second one goes with the rest.
                columns.push(column.filter(|column| !columns.contains(&Some(*column))));
            }
            *known = Some(Known { text: self.texts.len() as u32, columns });
            self.texts.push(shape.text());
        }
    }

    /// Whether any row so far has some.
    pub fn has_attributes(&self) -> bool {
        self.known.iter().flatten().any(|known| !known.columns.is_empty())
    }

    /// The columns of [`fields`](Self::fields), of rows with these shapes and values.
    pub fn shred(
        &mut self,
        (numbers, values): (&UInt32Array, &ListArray),
        shapes: &[Arc<Shape>],
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        self.know(numbers, shapes);
        let texts: &StringArray = values.values().as_string();
        let mut columns: Vec<StringBuilder> = self.names.iter().map(|_| StringBuilder::new()).collect();
        let mut rest = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        let mut shape_of = Vec::with_capacity(numbers.len());
        for (row, number) in numbers.values().iter().enumerate() {
            let Some(known) = &self.known[*number as usize] else { continue };
            shape_of.push(known.text);
            let first = values.value_offsets()[row] as usize;
            for (at, column) in known.columns.iter().enumerate() {
                let text = texts.value(first + at);
                match column {
                    Some(column) => {
                        let column = &mut columns[*column];
                        fill(column, row);
                        column.append_value(text);
                    }
                    None => {
                        let name = shapes[*number as usize].entries().nth(at).map_or("", |(name, _)| name);
                        rest.keys().append_value(name);
                        rest.values().append_value(text);
                    }
                }
            }
            rest.append(true)?;
        }
        let texts = Arc::new(StringArray::from_iter_values(&self.texts));
        let shapes = DictionaryArray::<UInt32Type>::try_new(shape_of.into(), texts)?;
        let mut shredded: Vec<ArrayRef> = vec![Arc::new(shapes), Arc::new(rest.finish())];
        for mut column in columns {
            fill(&mut column, numbers.len());
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
    let placed = Placed::of(batch)?;
    let (rows, entries) = (batch.num_rows(), placed.entries());
    let mut map = MapBuilder::with_capacity(
        None,
        StringBuilder::with_capacity(entries, entries * 16),
        StringBuilder::with_capacity(entries, entries * 12),
        rows,
    );
    let mut types = BinaryBuilder::with_capacity(rows, entries);
    for row in 0..rows {
        let shape = placed.for_each(row, |name, value| {
            map.keys().append_value(name);
            map.values().append_value(value);
        })?;
        map.append(true)?;
        types.append_value(&shape.types);
    }
    Ok((Arc::new(map.finish()), Arc::new(types.finish())))
}

/// The values alone, in the order of their shape.
pub fn restore_values(batch: &RecordBatch) -> Result<ArrayRef, ArrowError> {
    let placed = Placed::of(batch)?;
    let (rows, entries) = (batch.num_rows(), placed.entries());
    let mut values = StringBuilder::with_capacity(entries, entries * 12);
    let mut ends = Vec::with_capacity(rows + 1);
    ends.push(0);
    for row in 0..rows {
        placed.for_each(row, |_, value| values.append_value(value))?;
        ends.push(values.len() as i32);
    }
    shapes::values_column(OffsetBuffer::new(ends.into()), Arc::new(values.finish()))
}

/// Where the values of rows of a file are.
struct Placed {
    shape_of: DictionaryArray<UInt32Type>,
    shapes: Vec<PlacedShape>,
    rest: MapArray,
    rest_values: StringArray,
}

struct PlacedShape {
    types: Vec<u8>,
    /// The column where the value is, or `None` where it is in the rest.
    entries: Vec<(String, Option<StringArray>)>,
}

fn wrong(what: &str) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("attributes: {what}"))
}

impl Placed {
    fn of(batch: &RecordBatch) -> Result<Placed, ArrowError> {
        let shapes = batch.column_by_name(SHAPE).and_then(|column| column.as_dictionary_opt::<UInt32Type>());
        let shapes = shapes.ok_or_else(|| wrong("no shapes"))?;
        let texts = shapes.values().as_string_opt::<i32>().ok_or_else(|| wrong("shapes are no text"))?;
        let rest = batch.column_by_name(REST).and_then(|column| column.as_map_opt());
        let rest = rest.ok_or_else(|| wrong("no map"))?;
        let rest_values = rest.values().as_string_opt::<i32>().ok_or_else(|| wrong("no text"))?;
        let mut columns: HashMap<&str, StringArray> = HashMap::new();
        let schema = batch.schema_ref();
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            if let Some(name) = field.name().strip_prefix(PREFIX) {
                // Where rows were judged by attributes these are words.
                columns.insert(name, cast(column, &DataType::Utf8)?.as_string().clone());
            }
        }
        let parsed = texts.iter().map(|text| PlacedShape::parse(text.unwrap_or("[]"), &columns));
        let parsed = parsed.collect::<Option<Vec<PlacedShape>>>();
        let parsed = parsed.ok_or_else(|| wrong("a shape that is no list of names"))?;
        Ok(Placed {
            shape_of: shapes.clone(),
            shapes: parsed,
            rest: rest.clone(),
            rest_values: rest_values.clone(),
        })
    }

    /// Of all rows, at most.
    fn entries(&self) -> usize {
        self.shapes.iter().map(|shape| shape.entries.len()).max().unwrap_or(0) * self.shape_of.len()
    }

    /// Names and values of a row, in their order.
    fn for_each(&self, row: usize, mut each: impl FnMut(&str, &str)) -> Result<&PlacedShape, ArrowError> {
        let shape = self.shape_of.key(row).and_then(|shape| self.shapes.get(shape));
        let shape = shape.ok_or_else(|| wrong("no shape"))?;
        let offsets = self.rest.value_offsets();
        let mut of_rest = offsets[row] as usize..offsets[row + 1] as usize;
        for (name, column) in &shape.entries {
            match column {
                Some(column) => each(name, column.value(row)),
                None => {
                    let entry = of_rest.next().ok_or_else(|| wrong("a value is missing"))?;
                    each(name, self.rest_values.value(entry));
                }
            }
        }
        Ok(shape)
    }
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

impl PlacedShape {
    fn parse(text: &str, columns: &HashMap<&str, StringArray>) -> Option<PlacedShape> {
        let (mut types, mut entries) = (vec![], Vec::<(String, Option<StringArray>)>::new());
        for (name, kind) in Shape::of_text(text)?.entries() {
            let again = entries.iter().any(|(other, _)| other == name);
            types.push(kind);
            entries.push((name.to_owned(), columns.get(name).filter(|_| !again).cloned()));
        }
        Some(PlacedShape { types, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::shapes::Shapes;
    use arrow::datatypes::Schema;

    #[test]
    fn rows_pass_by_the_words_of_their_own_row_group() {
        let words = |words: &[&str]| StringArray::from(words.to_vec());
        let (first, turned, none, two) =
            (words(&["x", "y"]), words(&["y", "x"]), words(&["y"]), words(&["y", "x", "[1]"]));
        let mut judged = Judged::new("a", "x");
        for (words, keys, expected) in [
            (&first, [Some(0), Some(1), None], [true, false, false]),
            (&first, [Some(1), None, Some(0)], [false, false, true]),
            (&turned, [Some(0), Some(1), None], [false, true, false]),
            (&none, [Some(0), Some(0), None], [false, false, false]),
            // A list may hold what is asked.
            (&two, [Some(1), Some(2), None], [true, true, false]),
            (&first, [Some(0), None, None], [true, false, false]),
        ] {
            let keys = UInt32Array::from(keys.to_vec());
            let column = DictionaryArray::<UInt32Type>::try_new(keys, Arc::new(words.clone())).unwrap();
            let batch = RecordBatch::try_from_iter([("attr.a", Arc::new(column) as ArrayRef)]).unwrap();
            let mask = judged.mask(&batch).unwrap();
            assert_eq!(mask, BooleanArray::from(expected.to_vec()), "{words:?} {batch:?}");
        }
    }

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
        let mut shapes = Shapes::default();
        let [numbers, values] = shapes::of_maps(&map, &types, &mut shapes).unwrap();
        let (numbers, values) = (numbers.as_primitive::<UInt32Type>(), values.as_list::<i32>());
        let shapes = shapes.list();
        assert_eq!(frequent([numbers].into_iter(), shapes), ["a", "b", "c", "rare \"name\""]);
        for names in [vec![], vec!["a"], vec!["a", "b"], vec!["a", "b", "c", "rare \"name\"", "unused"]] {
            let mut shredder = Shredder::new(names.iter().map(|name| name.to_string()).collect());
            let columns = shredder.shred((numbers, values), shapes).unwrap();
            let batch = RecordBatch::try_new(Arc::new(Schema::new(shredder.fields())), columns).unwrap();
            let (again, types_again) = restore(&batch).unwrap();
            assert_eq!((again.as_map(), types_again.as_binary::<i32>()), (&map, &types), "{names:?}");
            assert_eq!(restore_values(&batch).unwrap().as_list::<i32>(), values);
            let mut of_file = Shapes::default();
            of_file.numbered(&batch).unwrap();
            assert_eq!(of_file.list(), shapes);
        }
        let fields = [
            Field::new(SHAPE, DataType::UInt32, false),
            Field::new(shapes::VALUES, shapes::values_type(), false),
        ];
        let kept = RecordBatch::try_new(
            Arc::new(Schema::new(fields.to_vec())),
            vec![Arc::new(numbers.clone()), Arc::new(values.clone())],
        );
        let (again, types_again) = shapes::maps(&kept.unwrap().slice(1, 3), shapes).unwrap();
        assert_eq!(again.as_map(), &map.slice(1, 3));
        assert_eq!(types_again.as_binary::<i32>(), &types.slice(1, 3));
    }
}
