//! Which attributes rows have: their names in order, and the type of each. Many rows have the same ones, so that in memory
//! and in the log a row has the number of its shape and its values alone.

use crate::side_index::{Cursor, put_block};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, DictionaryArray, ListArray, MapArray, RecordBatch,
    StringArray, StringBuilder, StructArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use arrow::error::ArrowError;
use foldhash::HashMap;
pub use model::Shape;
use std::borrow::Borrow;
use std::sync::{Arc, LazyLock};

/// The number of a row's shape in memory, its text in Parquet.
pub const SHAPE: &str = "attribute_shape";
/// In memory: the values of a row's attributes, in their order.
pub const VALUES: &str = "attribute_values";

/// How a shape stands in a log and in a spilled part.
pub fn encode(shape: &Shape, out: &mut Vec<u8>) {
    put_block(out, shape.key());
}

/// What [`encode`] wrote.
pub fn decode(rest: &mut Cursor<'_>) -> Result<Shape, String> {
    let bytes = rest.block()?;
    let shape = Shape::of_key(bytes);
    if shape.is_whole() { Ok(shape) } else { Err("a shape is no list of names".into()) }
}

/// Shapes and their numbers: 0, 1, 2, … in the order of first sight.
#[derive(Default)]
pub struct Shapes {
    list: Vec<Arc<Shape>>,
    numbers: HashMap<ByKey, u32>,
    bytes: usize,
}

#[derive(PartialEq, Eq, Hash)]
struct ByKey(Arc<Shape>);

impl Borrow<[u8]> for ByKey {
    fn borrow(&self) -> &[u8] {
        self.0.key()
    }
}

impl Shapes {
    pub fn number(&mut self, shape: &Arc<Shape>) -> u32 {
        match self.numbers.get(shape.key()) {
            Some(number) => *number,
            None => self.insert(shape.clone()),
        }
    }

    /// Of what [`Shape::push`] wrote.
    pub fn number_of_key(&mut self, key: &[u8]) -> u32 {
        match self.numbers.get(key) {
            Some(number) => *number,
            None => self.insert(Arc::new(Shape::of_key(key))),
        }
    }

    fn insert(&mut self, shape: Arc<Shape>) -> u32 {
        let number = self.list.len() as u32;
        self.bytes += shape.key().len() + 100;
        self.list.push(shape.clone());
        self.numbers.insert(ByKey(shape), number);
        number
    }

    pub fn list(&self) -> &[Arc<Shape>] {
        &self.list
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows whose shapes are texts, as a part has them, with their numbers instead.
    pub fn numbered(&mut self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let column = batch.column_by_name(SHAPE).and_then(|column| column.as_dictionary_opt::<UInt32Type>());
        let column = column.ok_or_else(|| wrong("no shapes"))?;
        let texts = column.values().as_string_opt::<i32>().ok_or_else(|| wrong("shapes are no text"))?;
        let mut number_of = Vec::with_capacity(texts.len());
        for text in texts {
            let shape = Shape::of_text(text.unwrap_or("[]")).ok_or_else(|| wrong("a shape is no list"))?;
            number_of.push(self.number(&Arc::new(shape)));
        }
        let numbers = column.keys().iter().map(|key| number_of.get(key? as usize).copied());
        let numbers = numbers.collect::<Option<Vec<u32>>>().ok_or_else(|| wrong("a row has no shape"))?;
        let at = batch.schema_ref().index_of(SHAPE)?;
        let mut fields: Vec<Arc<Field>> = batch.schema_ref().fields().iter().cloned().collect();
        fields[at] = Arc::new(Field::new(SHAPE, DataType::UInt32, false));
        let mut columns = batch.columns().to_vec();
        columns[at] = Arc::new(UInt32Array::from(numbers));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }
}

fn wrong(what: &str) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("attributes: {what}"))
}

pub fn values_type() -> DataType {
    DataType::List(values_item().clone())
}

fn values_item() -> &'static Arc<Field> {
    static ITEM: LazyLock<Arc<Field>> = LazyLock::new(|| Arc::new(Field::new("item", DataType::Utf8, false)));
    &ITEM
}

/// The column of values of rows that end at these offsets.
pub fn values_column(
    offsets: arrow::buffer::OffsetBuffer<i32>,
    texts: ArrayRef,
) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(ListArray::try_new(values_item().clone(), offsets, texts, None)?))
}

/// Numbers of shapes, and the values.
pub fn columns(batch: &RecordBatch) -> Option<(&UInt32Array, &ListArray)> {
    let numbers = batch.column_by_name(SHAPE)?.as_primitive_opt::<UInt32Type>()?;
    Some((numbers, batch.column_by_name(VALUES)?.as_list_opt()?))
}

/// The attributes of rows in memory as whoever asks for them gets them: the map and its types.
pub fn maps(batch: &RecordBatch, shapes: &[Arc<Shape>]) -> Result<(ArrayRef, ArrayRef), ArrowError> {
    let (numbers, values) = columns(batch).ok_or_else(|| wrong("rows have none"))?;
    let offsets = values.offsets();
    let (first, last) = (offsets[0] as usize, offsets[values.len()] as usize);
    // Those of this batch alone: all batches together may have a shape a row.
    let mut parsed: Vec<Option<Vec<(&str, u8)>>> = vec![None; shapes.len()];
    let mut names = StringBuilder::with_capacity(last - first, (last - first) * 16);
    let mut types = BinaryBuilder::with_capacity(batch.num_rows(), last - first);
    let mut kinds = vec![];
    for (row, number) in numbers.values().iter().enumerate() {
        let place = parsed.get_mut(*number as usize).ok_or_else(|| wrong("a row has no shape"))?;
        let shape = place.get_or_insert_with(|| shapes[*number as usize].entries().collect());
        if shape.len() != values.value_length(row) as usize {
            return Err(wrong("a row has not the values of its shape"));
        }
        kinds.clear();
        for (name, kind) in shape.iter() {
            names.append_value(name);
            kinds.push(*kind);
        }
        types.append_value(&kinds);
    }
    let DataType::Map(entry, _) = crate::schema::text_map() else { return Err(wrong("no map")) };
    let DataType::Struct(fields) = entry.data_type() else { return Err(wrong("no map")) };
    let texts = values.values().slice(first, last - first);
    let entries = StructArray::try_new(fields.clone(), vec![Arc::new(names.finish()), texts], None)?;
    let offsets = offsets.iter().map(|offset| offset - first as i32).collect::<Vec<i32>>();
    let map = MapArray::try_new(
        entry.clone(),
        arrow::buffer::OffsetBuffer::new(offsets.into()),
        entries,
        None,
        false,
    )?;
    Ok((Arc::new(map), Arc::new(types.finish())))
}

/// The other way round: as records of older versions have them in the log.
pub fn of_maps(
    map: &MapArray,
    types: &BinaryArray,
    shapes: &mut Shapes,
) -> Result<[ArrayRef; 2], ArrowError> {
    let names: &StringArray = map.keys().as_string_opt().ok_or_else(|| wrong("names are no text"))?;
    let mut key = vec![];
    let mut numbers = Vec::with_capacity(map.len());
    for row in 0..map.len() {
        key.clear();
        let kinds = types.value(row);
        let entries = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
        for (at, entry) in entries.enumerate() {
            Shape::push(&mut key, names.value(entry), kinds.get(at).copied().unwrap_or(b's'));
        }
        numbers.push(shapes.number_of_key(&key));
    }
    let values = values_column(map.offsets().clone(), map.values().clone())?;
    Ok([Arc::new(UInt32Array::from(numbers)), values])
}

/// Shapes of rows that have no attributes, as a part would have them.
pub fn none(rows: usize) -> Result<[ArrayRef; 2], ArrowError> {
    let keys = UInt32Array::from(vec![0; rows]);
    let texts = Arc::new(StringArray::from(vec![Shape::default().text()]));
    let shapes = DictionaryArray::<UInt32Type>::try_new(keys, texts)?;
    let none = arrow::array::new_empty_array(&DataType::Utf8);
    Ok([Arc::new(shapes), values_column(arrow::buffer::OffsetBuffer::new_zeroed(rows), none)?])
}
