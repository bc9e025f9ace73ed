//! Attributes of spans in little room: the spans of a request have few sets of names, which stand once as a [`Shape`], and all
//! their values are one text. A span costs no allocation for them.

use crate::attributes::{Attributes, Value};
use foldhash::HashSet;
use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

/// Behind each name, which is UTF-8, and before its type.
const END: u8 = 0xff;

/// Which attributes something has: their names in order, and the [type](Value::type_byte) of each.
#[derive(Debug, Default)]
pub struct Shape {
    key: Vec<u8>,
    /// All names, one behind the other.
    names: String,
    /// Where each name ends, and its type byte.
    ends: Vec<(usize, u8)>,
}

impl Shape {
    /// Of what [`Shape::push`] wrote; what is no name ends it, and [`Shape::is_whole`] is not.
    pub fn of_key(key: &[u8]) -> Shape {
        let mut shape = Shape { key: key.to_vec(), ..Shape::default() };
        let mut rest = key;
        while let Some(end) = memchr::memchr(END, rest)
            && let Some(kind) = rest.get(end + 1)
            && let Ok(name) = std::str::from_utf8(&rest[..end])
        {
            shape.names.push_str(name);
            shape.ends.push((shape.names.len(), *kind));
            rest = &rest[end + 2..];
        }
        shape
    }

    pub fn push(key: &mut Vec<u8>, name: &str, kind: u8) {
        Shape::push_bytes(key, name.as_bytes(), kind);
    }

    fn push_bytes(key: &mut Vec<u8>, name: &[u8], kind: u8) {
        key.extend_from_slice(name);
        key.extend_from_slice(&[END, kind]);
    }

    /// Whether all of the key is names and types.
    pub fn is_whole(&self) -> bool {
        self.names.len() + 2 * self.ends.len() == self.key.len()
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// What [`Shape::push`] wrote.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Name and type byte of each.
    pub fn entries(&self) -> impl Iterator<Item = (&str, u8)> {
        let mut from = 0;
        self.ends
            .iter()
            .map(move |(end, kind)| (&self.names[std::mem::replace(&mut from, *end)..*end], *kind))
    }

    /// Place and type byte of the first of this name.
    pub fn find(&self, name: &str) -> Option<(usize, u8)> {
        self.entries().enumerate().find(|(_, (own, _))| *own == name).map(|(at, (_, kind))| (at, kind))
    }

    /// As it stands in Parquet: a JSON list of names, each behind its type.
    pub fn text(&self) -> String {
        let names = self.entries().map(|(name, kind)| format!("{}{name}", char::from(kind)));
        serde_json::Value::from(names.collect::<Vec<String>>()).to_string()
    }

    /// `None` where the text is no such list.
    pub fn of_text(text: &str) -> Option<Shape> {
        let names: Vec<String> = serde_json::from_str(text).ok()?;
        let mut key = vec![];
        for name in names {
            let kind = *name.as_bytes().first().filter(|kind| kind.is_ascii())?;
            Shape::push(&mut key, &name[1..], kind);
        }
        Some(Shape::of_key(&key))
    }
}

impl PartialEq for Shape {
    fn eq(&self, other: &Shape) -> bool {
        self.key == other.key
    }
}

impl Eq for Shape {}

/// As its key, by which it is found.
impl Hash for Shape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

/// Shapes are found by their keys.
#[derive(PartialEq, Eq, Hash)]
struct Known(Arc<Shape>);

impl Borrow<[u8]> for Known {
    fn borrow(&self) -> &[u8] {
        self.0.key()
    }
}

/// Values of many spans.
#[derive(Default)]
struct Texts {
    all: String,
    /// Where each value ends.
    ends: Vec<usize>,
}

/// Attributes of one span. A copy shares what it was made of, and so does every span that was packed with it.
#[derive(Clone, Default)]
pub struct Packed(Option<Held>);

#[derive(Clone)]
struct Held {
    shape: Arc<Shape>,
    /// There when the [`Packer`] has gone.
    texts: Arc<OnceLock<Texts>>,
    first: usize,
    count: usize,
}

impl Held {
    /// All values as one text, and where each ends, counted from where the first begins, which is `from`.
    fn texts(&self) -> (&str, &[usize], usize) {
        let Some(texts) = self.texts.get() else { return ("", &[], 0) };
        let ends = &texts.ends[self.first..self.first + self.count];
        let from = if self.first == 0 { 0 } else { texts.ends[self.first - 1] };
        (&texts.all[from..ends.last().copied().unwrap_or(from)], ends, from)
    }
}

impl Packed {
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |held| held.count)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// `None` where there are no attributes.
    pub fn shape(&self) -> Option<&Arc<Shape>> {
        self.0.as_ref().map(|held| &held.shape)
    }

    /// All values, one behind the other, as [`Value`] writes them.
    pub fn text(&self) -> &str {
        self.0.as_ref().map_or("", |held| held.texts().0)
    }

    /// Where each value ends in [`Packed::text`].
    pub fn ends(&self) -> impl Iterator<Item = usize> {
        let (_, ends, from) = self.0.as_ref().map_or(("", &[][..], 0), Held::texts);
        ends.iter().map(move |end| end - from)
    }

    fn values(&self) -> impl Iterator<Item = &str> {
        let (text, mut from) = (self.text(), 0);
        self.ends().map(move |end| &text[std::mem::replace(&mut from, end)..end])
    }

    /// Name, type byte and text of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u8, &str)> {
        let entries = self.shape().into_iter().flat_map(|shape| shape.entries());
        entries.zip(self.values()).map(|((name, kind), text)| (name, kind, text))
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<Value> {
        let (at, kind) = self.shape()?.find(name)?;
        self.values().nth(at).map(|text| Value::from_typed_text(kind, text))
    }

    pub fn unpacked(&self) -> Attributes {
        let own =
            |(name, kind, text): (&str, u8, &str)| (name.to_owned(), Value::from_typed_text(kind, text));
        self.iter().map(own).collect()
    }

    /// The same without the spans that it was packed with: who keeps one of many would keep the values of all.
    pub fn alone(&self) -> Packed {
        self.iter().collect()
    }
}

impl PartialEq for Packed {
    fn eq(&self, other: &Packed) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.unpacked()).finish()
    }
}

impl<'a> FromIterator<(&'a str, u8, &'a str)> for Packed {
    fn from_iter<T: IntoIterator<Item = (&'a str, u8, &'a str)>>(attributes: T) -> Packed {
        let mut packer = Packer::default();
        let each =
            |(name, kind, text): (&str, u8, &str)| packer.push_text(name.as_bytes(), kind, text.as_bytes());
        attributes.into_iter().for_each(each);
        packer.pack().unwrap_or_default()
    }
}

impl FromIterator<(String, Value)> for Packed {
    fn from_iter<T: IntoIterator<Item = (String, Value)>>(attributes: T) -> Packed {
        let mut packer = Packer::default();
        attributes.into_iter().for_each(|(name, value)| packer.push(name.as_bytes(), &value));
        packer.pack().unwrap_or_default()
    }
}

impl From<Attributes> for Packed {
    fn from(attributes: Attributes) -> Packed {
        attributes.into_iter().collect()
    }
}

/// Packs the attributes of many spans, one span after the other. What it packed is there for readers when it is dropped.
#[derive(Default)]
pub struct Packer {
    shapes: HashSet<Known>,
    shared: Arc<OnceLock<Texts>>,
    values: Vec<u8>,
    ends: Vec<usize>,
    /// Of the span that is packed now: what its names and types make, how many they are, and where its values begin.
    key: Vec<u8>,
    count: usize,
    from: usize,
}

/// A name or a value of a span is not UTF-8.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("text that is not UTF-8")]
pub struct NotText;

impl Packer {
    pub fn push(&mut self, name: &[u8], value: &Value) {
        match value {
            Value::String(text) | Value::Json(text) => {
                self.push_text(name, value.type_byte(), text.as_bytes());
            }
            other => self.push_text(name, other.type_byte(), other.to_string().as_bytes()),
        }
    }

    /// A value as its type writes it. Whether it and its name are text is looked at for all of a span at once.
    pub fn push_text(&mut self, name: &[u8], kind: u8, text: &[u8]) {
        self.values.extend_from_slice(text);
        Shape::push_bytes(&mut self.key, name, kind);
        self.ends.push(self.values.len());
        self.count += 1;
    }

    /// What was pushed since the span before. After an error nothing else can be packed.
    pub fn pack(&mut self) -> Result<Packed, NotText> {
        let (count, from) = (std::mem::take(&mut self.count), self.from);
        if count == 0 {
            return Ok(Packed(None));
        }
        let first = self.ends.len() - count;
        let text = std::str::from_utf8(&self.values[from..]).map_err(|_| NotText)?;
        if !self.ends[first..].iter().all(|end| text.is_char_boundary(end - from)) {
            return Err(NotText);
        }
        self.from = self.values.len();
        let shape = self.shape(count)?;
        self.key.clear();
        Ok(Packed(Some(Held { shape, texts: self.shared.clone(), first, count })))
    }

    /// Names that are no text have bytes in them that are the end of a name: they are more than were pushed.
    fn shape(&mut self, count: usize) -> Result<Arc<Shape>, NotText> {
        let known = match self.shapes.get(&self.key[..]) {
            Some(Known(known)) => known.clone(),
            None => {
                let made = Arc::new(Shape::of_key(&self.key));
                if made.is_whole() {
                    self.shapes.insert(Known(made.clone()));
                }
                made
            }
        };
        if known.is_whole() && known.len() == count { Ok(known) } else { Err(NotText) }
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        // Values that are no text were packed for nobody; nobody else sets it.
        let all = String::from_utf8(std::mem::take(&mut self.values)).unwrap_or_default();
        let ends = if all.is_empty() { vec![0; self.ends.len()] } else { std::mem::take(&mut self.ends) };
        let _ = self.shared.set(Texts { all, ends });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_share_their_shapes_and_keep_their_values() {
        let one: Attributes = vec![
            ("route".into(), Value::from("/ä")),
            ("code".into(), Value::Int(-5)),
            ("route".into(), Value::from("")),
            ("bytes".into(), Value::Bytes(vec![0, 255])),
        ];
        let other: Attributes = vec![("list".into(), Value::Json("[1]".into()))];
        let mut packer = Packer::default();
        let all = [&one, &vec![], &other, &one].map(|attributes| {
            attributes.iter().for_each(|(name, value)| packer.push(name.as_bytes(), value));
            packer.pack().unwrap()
        });
        drop(packer);
        assert_eq!(all.each_ref().map(Packed::unpacked), [one.clone(), vec![], other.clone(), one.clone()]);
        assert!(Arc::ptr_eq(all[0].shape().unwrap(), all[3].shape().unwrap()));
        assert_eq!((all[3].text(), all[3].ends().collect::<Vec<_>>()), ("/ä-500ff", vec![3, 5, 5, 9]));
        assert_eq!(
            (all[1].len(), all[1].is_empty(), all[2].get("list")),
            (0, true, Some(other[0].1.clone()))
        );
        assert_eq!((all[0].get("route"), all[0].get("none")), (Some(Value::from("/ä")), None));
        assert_eq!(all[3].alone(), Packed::from(one));
        assert_ne!(all[2], all[0]);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let packed = |pairs: &[(&[u8], &[u8])]| {
            let mut packer = Packer::default();
            pairs.iter().for_each(|(name, text)| packer.push_text(name, b's', text));
            packer.pack().map(|packed| packed.len())
        };
        assert_eq!(packed(&[(b"a", b"x"), (b"b", b"y")]), Ok(2));
        assert_eq!(packed(&[(b"a", b"\xff")]), Err(NotText));
        assert_eq!(
            packed(&[(b"a", b"\xc3"), (b"b", b"\xa4")]),
            Err(NotText),
            "no character is of two values"
        );
        for name in [&b"a\xffsb"[..], b"a\xff", b"\xff", b"\xffs", b"\xc3"] {
            assert_eq!(packed(&[(name, b"x")]), Err(NotText), "{name:?}");
        }
        // A key that is known by another split is not taken for it.
        let mut packer = Packer::default();
        packer.push_text(b"a", b's', b"1");
        packer.push_text(b"b", b's', b"2");
        assert!(packer.pack().is_ok());
        packer.push_text(b"a\xffsb", b's', b"1");
        assert_eq!(packer.pack(), Err(NotText));
    }
}
