//! Columns of one batch by how they are laid out: words, attributes one by one or put together, lists of events and links.

use crate::traceql::alike::leading;
use crate::traceql::value::{Val, typed};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, ListArray, MapArray, RecordBatch, StringArray, UInt8Array,
};
use arrow::datatypes::{UInt8Type, UInt32Type};
use model::{Attributes, Packed, SpanField, Value};
use std::borrow::Cow;
use traceql::Scope;

/// A column of few words.
pub(super) struct Words<'a> {
    pub keys: &'a [u32],
    array: &'a ArrayRef,
    pub values: &'a StringArray,
}

impl<'a> Words<'a> {
    pub fn of(array: &'a ArrayRef) -> Option<Words<'a>> {
        let dictionary = array.as_dictionary_opt::<UInt32Type>()?;
        let values = dictionary.values().as_string_opt::<i32>()?;
        Some(Words { keys: dictionary.keys().values(), array, values })
    }

    /// The largest number stands for none.
    pub fn keys_or_none(&self) -> Cow<'a, [u32]> {
        match self.array.null_count() {
            0 => Cow::Borrowed(self.keys),
            _ => {
                let nulls = self.array.nulls().into_iter().flat_map(|nulls| nulls.iter());
                self.keys.iter().zip(nulls).map(|(key, valid)| if valid { *key } else { u32::MAX }).collect()
            }
        }
    }

    pub fn get(&self, row: usize) -> Option<&'a str> {
        self.array.is_valid(row).then(|| self.values.value(self.keys[row] as usize))
    }
}

/// A column by whose keys rows are told apart: those with the same key and type have the same value.
pub(crate) struct Keyed<'a> {
    /// The largest number stands for none.
    pub keys: Cow<'a, [u32]>,
    /// Type bytes, where rows have their own; 0 of those without a value, whose keys say nothing.
    pub kinds: Option<&'a [u8]>,
    /// How many keys there are, beside none.
    pub words: usize,
    /// What they are places in, where they are words of a batch.
    pub dictionary: Option<&'a StringArray>,
}

impl<'a> Keyed<'a> {
    /// Whether all rows have the same value, or all have none.
    pub fn is_uniform(&self) -> bool {
        let kinds = self.kinds.unwrap_or_default();
        if let Some(first) = kinds.first()
            && leading(kinds, |kind| kind == *first) < kinds.len()
        {
            return false;
        }
        let same = |first: &u32| leading(&self.keys, |key| key == *first) == self.keys.len();
        kinds.first() == Some(&0) || self.keys.first().is_none_or(same)
    }

    /// Whether all values are of one type.
    pub fn is_of_one_kind(&self) -> bool {
        let kinds = self.kinds.unwrap_or_default();
        match kinds.iter().find(|kind| **kind != 0) {
            Some(first) => leading(kinds, |kind| kind == 0 || kind == *first) == kinds.len(),
            None => true,
        }
    }

    /// The text of a row that has one.
    pub fn text(&self, row: usize) -> &'a str {
        self.dictionary.map_or("", |words| words.value(self.keys[row] as usize))
    }
}

/// One attribute as a column.
pub(super) struct Own<'a> {
    pub of_resource: bool,
    pub name: &'a str,
    pub words: Words<'a>,
    pub types: &'a UInt8Array,
}

impl<'a> Own<'a> {
    /// The columns that [`SpanSelect::fields`](model::SpanSelect) brought.
    pub fn of(batch: &'a RecordBatch) -> Vec<Own<'a>> {
        let fields = batch.schema_ref().fields();
        let own = fields.iter().zip(batch.columns()).enumerate().filter_map(|(at, (field, column))| {
            let (of_resource, name) = match (field.name().strip_prefix("span:"), field.name()) {
                (Some(name), _) => (false, name),
                (None, name) => (true, name.strip_prefix("resource:")?),
            };
            let types = batch.columns().get(at + 1)?.as_primitive_opt::<UInt8Type>()?;
            Some(Own { of_resource, name, words: Words::of(column)?, types })
        });
        own.collect()
    }

    pub fn scope(&self) -> Scope {
        if self.of_resource { Scope::Resource } else { Scope::Span }
    }

    pub fn keys(&self) -> Vec<Cow<'a, [u32]>> {
        let mut keys = vec![self.words.keys_or_none()];
        let mut types = self.types.values().iter().filter(|kind| **kind != 0);
        // The same text may be a number here and a string there.
        if let Some(first) = types.next()
            && types.any(|kind| kind != first)
        {
            keys.push(self.types.values().iter().map(|kind| u32::from(*kind)).collect());
        }
        keys
    }

    pub fn get(&self, row: usize) -> Option<Val<'a>> {
        self.words.get(row).map(|text| typed(self.types.value(row), text))
    }
}

/// Attributes of resources, as [`SpanField::Resources`] brings them.
pub(crate) struct Resources<'a> {
    /// Which is that of a row.
    pub keys: &'a [u32],
    pub maps: Typed<'a>,
}

impl<'a> Resources<'a> {
    pub fn of(batch: &'a RecordBatch) -> Option<Resources<'a>> {
        let column = batch.column_by_name(&SpanField::Resources.column())?;
        let dictionary = column.as_dictionary_opt::<UInt32Type>()?;
        let both = dictionary.values().as_struct_opt()?;
        let maps = Typed::of(both.column_by_name("attributes")?, both.column_by_name("types"))?;
        Some(Resources { keys: dictionary.keys().values(), maps })
    }

    /// Name, text and type byte of each.
    pub fn of_row(&self, row: usize) -> impl Iterator<Item = (&'a str, &'a str, u8)> {
        self.maps.entries(self.keys[row] as usize)
    }

    /// The names of all attributes stand for the dictionary.
    pub fn keyed(&self) -> Keyed<'a> {
        let (keys, words) = (Cow::Borrowed(self.keys), self.maps.map.len());
        Keyed { keys, kinds: None, words, dictionary: Some(self.maps.keys) }
    }
}

/// Attributes with the types they were sent with.
pub(crate) struct Typed<'a> {
    map: &'a MapArray,
    pub keys: &'a StringArray,
    values: &'a StringArray,
    types: Option<&'a BinaryArray>,
}

impl<'a> Typed<'a> {
    pub fn of(map: &'a ArrayRef, types: Option<&'a ArrayRef>) -> Option<Typed<'a>> {
        let map = map.as_map_opt()?;
        Some(Typed {
            map,
            keys: map.keys().as_string_opt::<i32>()?,
            values: map.values().as_string_opt::<i32>()?,
            types: types.and_then(|types| types.as_binary_opt::<i32>()),
        })
    }

    pub fn is_empty(&self, row: usize) -> bool {
        self.map.value_offsets()[row] == self.map.value_offsets()[row + 1]
    }

    pub fn entries(&self, row: usize) -> impl Iterator<Item = (&'a str, &'a str, u8)> {
        let (keys, values) = (self.keys, self.values);
        let from = self.map.value_offsets()[row] as usize;
        let to = self.map.value_offsets()[row + 1] as usize;
        let types = self.types.map_or(&[][..], |types| types.value(row));
        (from..to).map(move |at| {
            let value = if values.is_null(at) { "" } else { values.value(at) };
            (keys.value(at), value, types.get(at - from).copied().unwrap_or(b's'))
        })
    }

    pub fn get(&self, row: usize, name: &str) -> Option<Val<'a>> {
        self.entries(row).find(|(key, _, _)| *key == name).map(|(_, value, kind)| typed(kind, value))
    }

    pub fn packed(&self, row: usize) -> Packed {
        self.entries(row).map(|(key, text, kind)| (key, kind, text)).collect()
    }

    pub fn owned(&self, row: usize) -> Attributes {
        self.entries(row)
            .map(|(key, text, kind)| (key.to_owned(), Value::from_typed_text(kind, text)))
            .collect()
    }
}

/// Lists of events or links of a batch.
pub(super) struct Parts<'a> {
    list: &'a ListArray,
    pub attributes: Option<Typed<'a>>,
}

impl<'a> Parts<'a> {
    pub fn of(array: &'a ArrayRef) -> Option<Parts<'a>> {
        let list = array.as_list_opt::<i32>()?;
        let items = list.values().as_struct_opt()?;
        let attributes =
            Typed::of(items.column_by_name("attributes")?, items.column_by_name("attribute_types"));
        Some(Parts { list, attributes })
    }

    pub fn rows(&self, row: usize) -> std::ops::Range<usize> {
        self.list.value_offsets()[row] as usize..self.list.value_offsets()[row + 1] as usize
    }

    pub fn column(&self, name: &str) -> Option<&'a ArrayRef> {
        self.list.values().as_struct_opt()?.column_by_name(name)
    }

    pub fn count(&self, name: &str, at: usize) -> u32 {
        let counts = self.column(name).and_then(|column| column.as_primitive_opt::<UInt32Type>());
        counts.map_or(0, |counts| counts.value(at))
    }
}
