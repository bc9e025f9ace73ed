//! What many rows share and is kept once: a log stream's labels and resource, a span's resource and scope.
//!
//! Rows carry the number of their group. The columns that depend on the group alone (service, pod, resource, stream, …)
//! are made from the numbers when somebody asks for them.

use super::shapes::Shape;
use crate::part::Signal;
use crate::side_index::{Cursor, put_block};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, DictionaryArray, MapArray, MapBuilder, StringArray,
    StringBuilder, StructArray, UInt8Array, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields, UInt32Type};
use arrow::error::ArrowError;
use foldhash::{HashMap, HashMapExt};
use model::{Attributes, Labels, Value};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

/// The number of a row's group, in memory and in Parquet.
pub const GROUP: &str = "group";

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Group {
    /// Of a log stream; empty for spans.
    pub labels: Labels,
    pub resource: AttributeBytes,
    pub scope_name: String,
    pub scope_version: String,
    pub scope_attributes: AttributeBytes,
    /// Of a span's resource and its scope: the schema's URL, and how many attributes the sender left out.
    pub urls: [String; 2],
    pub dropped: [u32; 2],
}

/// Attributes as bytes, so that they can be compared: name, type and text of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AttributeBytes(Vec<u8>);

impl AttributeBytes {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn of(attributes: &Attributes) -> AttributeBytes {
        // Two lengths and a type each, and most values are texts.
        let room = |(name, value): &(String, Value)| 17 + name.len() + value.as_str().map_or(20, str::len);
        let mut bytes = Vec::with_capacity(attributes.iter().map(room).sum());
        for (name, value) in attributes {
            put_block(&mut bytes, name.as_bytes());
            bytes.push(value.type_byte());
            match value {
                Value::String(text) | Value::Json(text) => put_block(&mut bytes, text.as_bytes()),
                other => put_block(&mut bytes, other.to_string().as_bytes()),
            }
        }
        AttributeBytes(bytes)
    }

    fn checked(bytes: &[u8]) -> Result<AttributeBytes, String> {
        let mut rest = Cursor(bytes);
        while !rest.0.is_empty() {
            for text in [rest.block()?, {
                rest.take(1)?;
                rest.block()?
            }] {
                std::str::from_utf8(text).map_err(|e| e.to_string())?;
            }
        }
        Ok(AttributeBytes(bytes.to_vec()))
    }

    /// Name, type byte and text of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u8, &str)> {
        let mut rest = Cursor(&self.0);
        std::iter::from_fn(move || {
            let name = std::str::from_utf8(rest.block().ok()?).ok()?;
            let kind = *rest.take(1).ok()?.first()?;
            Some((name, kind, std::str::from_utf8(rest.block().ok()?).ok()?))
        })
    }

    fn text_of(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| {
            self.iter().find(|(n, kind, _)| n == name && *kind == b's').map(|(_, _, text)| text)
        })
    }

    /// For readers of the Parquet file alone.
    fn json(&self) -> String {
        let pairs = self.iter().map(|(name, _, text)| (name.to_owned(), text.into()));
        serde_json::Value::Object(pairs.collect()).to_string()
    }
}

impl Group {
    /// Of memory that it takes, about.
    pub fn bytes(&self) -> usize {
        let texts = [&self.scope_name, &self.scope_version, &self.urls[0], &self.urls[1]];
        let texts: usize = texts.map(String::len).iter().sum();
        self.labels.as_bytes().len() + self.resource.0.len() + self.scope_attributes.0.len() + texts + 200
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        let texts = [self.scope_name.as_bytes(), self.scope_version.as_bytes()];
        for block in [self.labels.as_bytes(), &self.resource.0].into_iter().chain(texts) {
            put_block(out, block);
        }
    }

    pub fn decode(rest: &mut Cursor<'_>) -> Result<Group, String> {
        let labels = Labels::from_bytes(rest.block()?).map_err(|e| e.to_string())?;
        let resource = AttributeBytes::checked(rest.block()?)?;
        let mut text = || String::from_utf8(rest.block()?.to_vec()).map_err(|e| e.to_string());
        let (scope_name, scope_version) = (text()?, text()?);
        Ok(Group { labels, resource, scope_name, scope_version, ..Group::default() })
    }

    /// Whether it has what only OTLP tells of scopes and resources, and few senders do.
    pub fn has_more(&self) -> bool {
        !self.scope_attributes.is_empty()
            || self.urls.iter().any(|url| !url.is_empty())
            || self.dropped != [0; 2]
    }

    /// This follows the groups, of those that have it: their number, and of each the group's number, three blocks and two
    /// counts.
    pub fn encode_more(groups: &[Arc<Group>], out: &mut Vec<u8>) {
        let with = groups.iter().enumerate().filter(|(_, group)| group.has_more());
        out.extend_from_slice(&(with.clone().count() as u32).to_le_bytes());
        for (number, group) in with {
            out.extend_from_slice(&(number as u32).to_le_bytes());
            put_block(out, &group.scope_attributes.0);
            group.urls.iter().for_each(|url| put_block(out, url.as_bytes()));
            group.dropped.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
        }
    }

    pub fn decode_more(groups: &mut [Arc<Group>], rest: &mut Cursor<'_>) -> Result<(), String> {
        for _ in 0..rest.u32()? {
            let group = groups.get_mut(rest.u32()? as usize).ok_or("a scope is of no group")?;
            let group = Arc::make_mut(group);
            group.scope_attributes = AttributeBytes::checked(rest.block()?)?;
            for url in &mut group.urls {
                *url = String::from_utf8(rest.block()?.to_vec()).map_err(|e| e.to_string())?;
            }
            for count in &mut group.dropped {
                *count = rest.u32()?;
            }
        }
        Ok(())
    }

    /// One of the columns that [`promoted`] lists.
    fn word(&self, signal: Signal, column: &str) -> Option<&str> {
        match column {
            "scope_name" => Some(&self.scope_name),
            "scope_version" => Some(&self.scope_version),
            "resource_schema_url" => Some(&self.urls[0]),
            "scope_schema_url" => Some(&self.urls[1]),
            "service" if signal == Signal::Spans => self.resource.text_of(&["service.name"]),
            _ => {
                let (_, labels, attributes) = PROMOTED.iter().find(|(name, ..)| *name == column)?;
                labels
                    .iter()
                    .find_map(|name| self.labels.get(name))
                    .or_else(|| self.resource.text_of(attributes))
            }
        }
    }

    /// The part of a run's key that the group decides.
    pub fn service(&self) -> &str {
        self.resource.text_of(&["service.name"]).unwrap_or("")
    }
}

/// Where the promoted columns come from, first that is there: stream label names, then resource attribute names.
const PROMOTED: [(&str, &[&str], &[&str]); 5] = [
    ("service", &["service_name", "service"], &["service.name"]),
    ("namespace", &["namespace", "k8s_namespace_name"], &["k8s.namespace.name"]),
    ("pod", &["pod", "k8s_pod_name"], &["k8s.pod.name"]),
    ("container", &["container", "k8s_container_name"], &["k8s.container.name", "container.name"]),
    ("node", &["node", "node_name", "k8s_node_name", "host_name"], &["k8s.node.name", "host.name"]),
];

/// Groups and their numbers: 0, 1, 2, … in the order of first sight.
#[derive(Default)]
pub struct Groups {
    list: Vec<Arc<Group>>,
    numbers: HashMap<Arc<Group>, u32>,
    /// Of those in the list, by where they lie: requests of one sender have the same ones.
    by_address: HashMap<usize, u32>,
    bytes: usize,
}

impl Groups {
    pub fn number(&mut self, group: &Arc<Group>) -> u32 {
        let address = Arc::as_ptr(group).addr();
        if let Some(number) = self.by_address.get(&address) {
            return *number;
        }
        if let Some(number) = self.numbers.get(group) {
            return *number;
        }
        let number = self.list.len() as u32;
        self.bytes += group.bytes();
        self.list.push(group.clone());
        self.numbers.insert(group.clone(), number);
        self.by_address.insert(address, number);
        number
    }

    pub fn list(&self) -> &[Arc<Group>] {
        &self.list
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The columns of groups, each made once when it is first asked for.
pub struct GroupColumns {
    signal: Signal,
    groups: Vec<Arc<Group>>,
    /// Of rows in memory, what their attributes are.
    shapes: Vec<Arc<Shape>>,
    words: [OnceLock<Words>; WORDS.len()],
    streams: OnceLock<(Vec<u32>, ArrayRef)>,
    resources: OnceLock<(ArrayRef, ArrayRef)>,
    scopes: OnceLock<(ArrayRef, ArrayRef)>,
    texts: OnceLock<[(Vec<u32>, ArrayRef); 2]>,
    /// Attributes of resources by name, of the first that were asked for.
    kept_attributes: Mutex<HashMap<String, Arc<OfGroups>>>,
}

/// An attribute of the groups' resources: the place of its text and its type byte, both 0 of a group that has none.
struct OfGroups {
    places: Vec<u32>,
    kinds: Vec<u8>,
    /// Each group has one.
    all: bool,
    /// All groups have the same one.
    same: bool,
    values: ArrayRef,
}

/// Attributes that are kept once they were made. Most resources have fewer; others are made for each batch.
const ATTRIBUTES_KEPT: usize = 64;

/// The dictionary, and each group's place in it.
struct Words {
    places: Vec<Option<u32>>,
    /// Each group has one.
    all: bool,
    /// All groups have the same one.
    same: bool,
    values: ArrayRef,
}

const WORDS: [&str; 9] = [
    "service",
    "namespace",
    "pod",
    "container",
    "node",
    "scope_name",
    "scope_version",
    "resource_schema_url",
    "scope_schema_url",
];

impl GroupColumns {
    pub fn new(signal: Signal, groups: Vec<Arc<Group>>) -> GroupColumns {
        GroupColumns {
            signal,
            groups,
            shapes: vec![],
            words: Default::default(),
            streams: OnceLock::new(),
            resources: OnceLock::new(),
            scopes: OnceLock::new(),
            texts: OnceLock::new(),
            kept_attributes: Mutex::default(),
        }
    }

    pub fn with_shapes(self, shapes: Vec<Arc<Shape>>) -> GroupColumns {
        GroupColumns { shapes, ..self }
    }

    pub fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }

    pub fn shapes(&self) -> &[Arc<Shape>] {
        &self.shapes
    }

    /// Labels of the groups of which the columns say this.
    pub fn labels_of_places(&self, places: &[(String, String)]) -> HashSet<&Labels> {
        self.groups.iter().filter(|group| self.is_at(group, places)).map(|group| &group.labels).collect()
    }

    /// Labels of the groups of which a column says something else; another group may have the same labels.
    pub fn labels_beside_places(&self, places: &[(String, String)]) -> HashSet<&Labels> {
        self.groups.iter().filter(|group| !self.is_at(group, places)).map(|group| &group.labels).collect()
    }

    fn is_at(&self, group: &Group, places: &[(String, String)]) -> bool {
        places.iter().all(|(column, text)| group.word(self.signal, column) == Some(text))
    }

    /// Numbers that have no group are damage.
    pub fn check(&self, numbers: &UInt32Array) -> Result<(), ArrowError> {
        // Without a question after each, so that several are looked at together.
        let largest = numbers.values().iter().fold(0, |largest, number| largest.max(*number));
        match numbers.is_empty() || (largest as usize) < self.groups.len() {
            true => Ok(()),
            false => Err(ArrowError::InvalidArgumentError("a row is of no group".into())),
        }
    }

    /// A column of [`schema::LOGS`] or [`schema::SPANS`] that the group decides; the numbers were checked.
    pub fn column(&self, name: &str, numbers: &UInt32Array) -> Result<ArrayRef, ArrowError> {
        match name {
            "stream" => {
                let (places, values) = self.streams.get_or_init(|| self.make_streams());
                let keys = numbers.values().iter().map(|number| places[*number as usize]).collect();
                Ok(Arc::new(DictionaryArray::<UInt32Type>::try_new(keys, values.clone())?))
            }
            "resource" | "scope_attributes" => {
                let (maps, _) = self.attributes(name)?;
                empty_maps(maps, numbers.len()).map_or_else(|| take(maps, numbers, None), Ok)
            }
            "resource_types" => take(&self.attributes("resource")?.1, numbers, None),
            "resource_dropped_attributes" => Ok(self.dropped(0, numbers)),
            "scope_dropped_attributes" => Ok(self.dropped(1, numbers)),
            "scope_attribute_types" => take(&self.attributes("scope_attributes")?.1, numbers, None),
            word => {
                let Some(at) = WORDS.iter().position(|other| *other == word) else {
                    return Err(ArrowError::SchemaError(format!("{word} is no column of a group")));
                };
                let words = self.words[at].get_or_init(|| self.make_words(word));
                let of_row = numbers.values().iter().map(|number| words.places[*number as usize]);
                let keys: UInt32Array = match words.all {
                    true if words.same => vec![0u32; numbers.len()].into(),
                    true => UInt32Array::from_iter_values(of_row.map(Option::unwrap_or_default)),
                    false => of_row.collect(),
                };
                Ok(Arc::new(DictionaryArray::<UInt32Type>::try_new(keys, words.values.clone())?))
            }
        }
    }

    /// An attribute of the resource: its texts and types. Of all batches the words are the same, where they are kept.
    pub fn attribute(&self, name: &str, numbers: &UInt32Array) -> Result<(ArrayRef, ArrayRef), ArrowError> {
        let own = self.attribute_of_groups(name);
        let of_row = || numbers.values().iter().map(|number| *number as usize);
        let (keys, types): (UInt32Array, UInt8Array) = match own.kinds.first() {
            Some(kind) if own.same => (vec![0u32; numbers.len()].into(), vec![*kind; numbers.len()].into()),
            _ => {
                let place = |group: usize| (own.kinds[group] != 0).then_some(own.places[group]);
                let keys = match own.all {
                    true => UInt32Array::from_iter_values(of_row().map(|group| own.places[group])),
                    false => of_row().map(place).collect(),
                };
                (keys, UInt8Array::from_iter_values(of_row().map(|group| own.kinds[group])))
            }
        };
        Ok((Arc::new(DictionaryArray::<UInt32Type>::try_new(keys, own.values.clone())?), Arc::new(types)))
    }

    /// The resources as a dictionary that has each group's: its map and its type bytes.
    pub fn resources(&self, numbers: &UInt32Array) -> Result<ArrayRef, ArrowError> {
        let (maps, types) = self.attributes("resource")?;
        let field = |name, column: &ArrayRef| Field::new(name, column.data_type().clone(), false);
        let fields = Fields::from(vec![field("attributes", maps), field("types", types)]);
        let both = StructArray::try_new(fields, vec![maps.clone(), types.clone()], None)?;
        Ok(Arc::new(DictionaryArray::<UInt32Type>::try_new(numbers.clone(), Arc::new(both))?))
    }

    fn attribute_of_groups(&self, name: &str) -> Arc<OfGroups> {
        if let Some(kept) = self.kept_attributes.lock().get(name) {
            return kept.clone();
        }
        let made = Arc::new(self.make_attribute(name));
        let mut kept = self.kept_attributes.lock();
        if kept.len() >= ATTRIBUTES_KEPT {
            return made;
        }
        // Who made it first has given it to others.
        kept.entry(name.to_owned()).or_insert(made).clone()
    }

    fn make_attribute(&self, name: &str) -> OfGroups {
        let mut distinct = Distinct::default();
        let (mut places, mut kinds) = (vec![], vec![]);
        for group in &self.groups {
            let own = group.resource.iter().find(|(other, ..)| *other == name);
            let (place, kind) = own.map_or((0, 0), |(_, kind, text)| (distinct.place(text), kind));
            places.push(place);
            kinds.push(kind);
        }
        let all = !kinds.contains(&0);
        let same = all && distinct.values.len() == 1 && kinds.iter().all(|kind| *kind == kinds[0]);
        OfGroups { places, kinds, all, same, values: Arc::new(StringArray::from(distinct.values)) }
    }

    fn dropped(&self, of: usize, numbers: &UInt32Array) -> ArrayRef {
        let counts = numbers.values().iter().map(|number| self.groups[*number as usize].dropped[of]);
        Arc::new(UInt32Array::from_iter_values(counts))
    }

    fn make_words(&self, column: &str) -> Words {
        let mut distinct = Distinct::default();
        let places =
            self.groups.iter().map(|group| group.word(self.signal, column).map(|word| distinct.place(word)));
        let places: Vec<Option<u32>> = places.collect();
        let all = places.iter().all(Option::is_some);
        let same = distinct.values.len() == 1;
        Words { places, all, same, values: Arc::new(StringArray::from(distinct.values)) }
    }

    fn make_streams(&self) -> (Vec<u32>, ArrayRef) {
        let mut distinct = Distinct::default();
        let places = self.groups.iter().map(|group| distinct.place(group.labels.as_bytes())).collect();
        (places, Arc::new(BinaryArray::from(distinct.values)))
    }

    /// Each group's map and type bytes.
    fn attributes(&self, column: &str) -> Result<&(ArrayRef, ArrayRef), ArrowError> {
        let (place, of): (_, fn(&Group) -> &AttributeBytes) = match column {
            "resource" => (&self.resources, |group| &group.resource),
            _ => (&self.scopes, |group| &group.scope_attributes),
        };
        if let Some(made) = place.get() {
            return Ok(made);
        }
        let made = self.make_attributes(of)?;
        Ok(place.get_or_init(|| made))
    }

    fn make_attributes(&self, of: fn(&Group) -> &AttributeBytes) -> Result<(ArrayRef, ArrayRef), ArrowError> {
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        let mut types = BinaryBuilder::new();
        for group in &self.groups {
            let mut kinds = vec![];
            for (name, kind, text) in of(group).iter() {
                map.keys().append_value(name);
                map.values().append_value(text);
                kinds.push(kind);
            }
            map.append(true)?;
            types.append_value(kinds);
        }
        Ok((Arc::new(map.finish()), Arc::new(types.finish())))
    }

    /// Labels and resource as JSON text, for readers of the Parquet file alone.
    pub fn texts(&self, numbers: &UInt32Array) -> Result<[ArrayRef; 2], ArrowError> {
        let made = self.texts.get_or_init(|| {
            let labels = |group: &Group| {
                let pairs = group.labels.iter().map(|(name, value)| (name.to_owned(), value.into()));
                serde_json::Value::Object(pairs.collect()).to_string()
            };
            [self.make_texts(labels), self.make_texts(|group| group.resource.json())]
        });
        let column = |(places, values): &(Vec<u32>, ArrayRef)| -> Result<ArrayRef, ArrowError> {
            let keys = numbers.values().iter().map(|number| places[*number as usize]).collect();
            Ok(Arc::new(DictionaryArray::<UInt32Type>::try_new(keys, values.clone())?))
        };
        Ok([column(&made[0])?, column(&made[1])?])
    }

    fn make_texts(&self, text: impl Fn(&Group) -> String) -> (Vec<u32>, ArrayRef) {
        let texts: Vec<String> = self.groups.iter().map(|group| text(group)).collect();
        let mut distinct = Distinct::default();
        let places = texts.iter().map(|text| distinct.place(text.as_str())).collect();
        (places, Arc::new(StringArray::from(distinct.values)))
    }
}

/// So many empty maps, where the given ones are empty: taking them one by one costs as much as if they were not.
pub fn empty_maps(maps: &ArrayRef, rows: usize) -> Option<ArrayRef> {
    let maps = maps.as_map_opt().filter(|maps| maps.entries().is_empty())?;
    let DataType::Map(entry, sorted) = maps.data_type() else { return None };
    let offsets = OffsetBuffer::new_zeroed(rows);
    Some(Arc::new(MapArray::new(entry.clone(), offsets, maps.entries().clone(), None, *sorted)))
}

/// Values in the order of first sight.
struct Distinct<'a, T: ?Sized> {
    places: HashMap<&'a T, u32>,
    values: Vec<&'a T>,
}

impl<T: ?Sized> Default for Distinct<'_, T> {
    fn default() -> Self {
        Distinct { places: HashMap::new(), values: vec![] }
    }
}

impl<'a, T: ?Sized + std::hash::Hash + Eq> Distinct<'a, T> {
    fn place(&mut self, value: &'a T) -> u32 {
        *self.places.entry(value).or_insert_with(|| {
            self.values.push(value);
            self.values.len() as u32 - 1
        })
    }
}

/// Whether a column of the signal's public schema comes from the group.
pub fn is_of_group(signal: Signal, column: &str) -> bool {
    match signal {
        Signal::Spans => {
            column == "service" || column.starts_with("resource") || column.starts_with("scope_")
        }
        _ => {
            matches!(column, "stream" | "resource" | "resource_types")
                || PROMOTED.iter().any(|(name, ..)| *name == column)
        }
    }
}

/// Words of the group that are written to Parquet for other readers.
pub fn words_of(signal: Signal) -> &'static [&'static str] {
    match signal {
        Signal::Spans => &["service", "scope_name", "scope_version"],
        _ => &["service", "namespace", "pod", "container", "node"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Array;
    use arrow::datatypes::{DataType, UInt8Type};

    #[test]
    fn a_group_comes_back_and_gives_its_columns() {
        let resource: Attributes = vec![
            ("service.name".into(), "cart".into()),
            ("n".into(), Value::Int(5)),
            ("n".into(), Value::Double(f64::NAN)),
        ];
        let group = Arc::new(Group {
            labels: Labels::from_pairs([("pod", "a")]),
            resource: AttributeBytes::of(&resource),
            scope_name: "scope".into(),
            ..Group::default()
        });
        let mut bytes = vec![];
        group.encode(&mut bytes);
        assert_eq!(Group::decode(&mut Cursor(&bytes)).unwrap(), *group);
        for length in 0..bytes.len() {
            assert!(Group::decode(&mut Cursor(&bytes[..length])).is_err(), "{length}");
        }
        let scoped = Group {
            scope_attributes: AttributeBytes::of(&vec![("n".into(), Value::Int(5))]),
            urls: ["https://resource".into(), String::new()],
            dropped: [0, 7],
            ..Group::clone(&group)
        };
        let (known, mut again) = ([group.clone(), Arc::new(scoped)], [group.clone(), group.clone()]);
        bytes.clear();
        Group::encode_more(&known, &mut bytes);
        for length in 0..bytes.len() {
            assert!(Group::decode_more(&mut again, &mut Cursor(&bytes[..length])).is_err(), "{length}");
        }
        Group::decode_more(&mut again, &mut Cursor(&bytes)).unwrap();
        assert_eq!(again, known);
        assert!(Group::decode_more(&mut again[..1], &mut Cursor(&bytes)).is_err());
        let scopes = GroupColumns::new(Signal::Spans, known.to_vec());
        let types = scopes.column("scope_attribute_types", &UInt32Array::from(vec![1, 0])).unwrap();
        assert_eq!(types.as_binary::<i32>().iter().collect::<Vec<_>>(), [Some(&b"i"[..]), Some(&b""[..])]);
        let dropped = scopes.column("scope_dropped_attributes", &UInt32Array::from(vec![1, 0])).unwrap();
        assert_eq!(dropped.as_primitive::<UInt32Type>().values(), &[7, 0]);
        let bare = Arc::new(Group::default());
        let columns = GroupColumns::new(Signal::Logs, vec![group, bare]);
        let numbers = UInt32Array::from(vec![1, 0, 0]);
        let service = columns.column("service", &numbers).unwrap();
        let service = arrow::compute::cast(&service, &DataType::Utf8).unwrap();
        assert!(service.is_null(0));
        assert_eq!(service.as_any().downcast_ref::<StringArray>().unwrap().value(2), "cart");
        let types = columns.column("resource_types", &numbers).unwrap();
        assert_eq!(types.as_any().downcast_ref::<BinaryArray>().unwrap().value(1), b"sid");
        assert!(columns.check(&UInt32Array::from(vec![2])).is_err());
        let words = |texts: &ArrayRef| {
            let words = texts.as_dictionary::<UInt32Type>().values().as_string::<i32>();
            words.value_data().as_ptr()
        };
        let (texts, types) = columns.attribute("service.name", &numbers).unwrap();
        assert!(texts.is_null(0) && texts.is_valid(1));
        assert_eq!(types.as_primitive::<UInt8Type>().values(), &[0, b's', b's']);
        let (again, _) = columns.attribute("service.name", &numbers).unwrap();
        assert_eq!(words(&texts), words(&again), "one dictionary of all batches");
        let (none, types) = columns.attribute("zone", &numbers).unwrap();
        assert_eq!(none.null_count(), 3);
        assert_eq!(types.as_primitive::<UInt8Type>().values(), &[0, 0, 0]);
    }
}
