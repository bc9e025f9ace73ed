//! A label set in one piece of memory: names sorted, each once, no empty value (but in answers of LogQL, which tells an
//! empty label of a line from an absent one).
//!
//! The bytes are the identity: two sets are equal exactly when their bytes are, so a hash map keyed by them needs no
//! look inside, and a batch, a WAL record and a side index can carry them as they are. Layout: for each label, name
//! then value, each as a LEB128 length and that many bytes of UTF-8.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// A sorted label set. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Labels(Arc<[u8]>);

#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum InvalidLabels {
    #[error("a label has no name")]
    EmptyName,
    #[error("label name {0:?} occurs twice")]
    Duplicate(String),
    #[error("label name or value is not valid UTF-8")]
    NotUtf8,
    #[error("label set is cut short or out of order")]
    Corrupt,
}

impl Labels {
    pub fn empty() -> Labels {
        Labels(Arc::from([].as_slice()))
    }

    /// From pairs in any order. Pairs with an empty value are left out, as an absent and an empty label are the same.
    /// Duplicate names keep the last value.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Labels {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        // Pairs of one name stay in their order. A line of JSON may have tens of thousands of names.
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let last_of_each = pairs.chunk_by(|a, b| a.0.as_ref() == b.0.as_ref()).filter_map(<[_]>::last);
        let mut bytes = vec![];
        for (name, value) in last_of_each {
            let (name, value) = (name.as_ref(), value.as_ref());
            if !name.is_empty() && !value.is_empty() {
                put(&mut bytes, name);
                put(&mut bytes, value);
            }
        }
        Labels(bytes.into())
    }

    /// From the canonical bytes, checked: order, UTF-8, no empty name. Use at every door that bytes come in by.
    pub fn from_bytes(bytes: &[u8]) -> Result<Labels, InvalidLabels> {
        let mut rest = bytes;
        let mut last: Option<&str> = None;
        while !rest.is_empty() {
            let name = take_checked(&mut rest)?;
            let _value = take_checked(&mut rest)?;
            if name.is_empty() {
                return Err(InvalidLabels::EmptyName);
            }
            if last.is_some_and(|before| before >= name) {
                return Err(InvalidLabels::Corrupt);
            }
            last = Some(name);
        }
        Ok(Labels(Arc::from(bytes)))
    }

    /// The canonical bytes: identity, hash key, and what is written to disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Name and value of each label, by ascending name.
    pub fn iter(&self) -> Pairs<'_> {
        Labels::pairs_in(&self.0)
    }

    /// As [`iter`](Self::iter), of bytes of which no set was made; ends where they are broken.
    pub fn pairs_in(label_bytes: &[u8]) -> Pairs<'_> {
        Pairs { rest: label_bytes }
    }

    /// As [`iter`](Self::iter), of a set's bytes, without a look whether they are text: for what compares, sorts and
    /// looks up. Text is ordered as its bytes are.
    pub fn raw_pairs_in(label_bytes: &[u8]) -> RawPairs<'_> {
        RawPairs { rest: label_bytes }
    }

    /// The value of `name`, or `None` where the set does not have it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The metric's name, or "" where there is none.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// This set without the labels that `drop` says yes to.
    pub fn without(&self, mut drop: impl FnMut(&str) -> bool) -> Labels {
        let mut bytes = Vec::with_capacity(self.0.len());
        for (name, value) in self.iter() {
            if !drop(name) {
                put(&mut bytes, name);
                put(&mut bytes, value);
            }
        }
        Labels(bytes.into())
    }

    /// A stable 64-bit hash (xxh3 of the bytes): the same on every machine and in every version.
    pub fn fingerprint(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.0)
    }
}

impl Default for Labels {
    fn default() -> Self {
        Labels::empty()
    }
}

/// Lets a map keyed by label sets be asked with bytes that are on their way in, without making a set of them first.
impl std::borrow::Borrow<[u8]> for Labels {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Order by name and value, label by label (not by bytes, whose lengths come first), as Prometheus orders series.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        // A set that ends is before one that goes on.
        Labels::raw_pairs_in(&self.0).cmp(Labels::raw_pairs_in(&other.0))
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `name{label="value", …}`, as Prometheus prints a series.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric_name())?;
        let mut open = false;
        for (name, value) in self.iter().filter(|(n, _)| *n != METRIC_NAME) {
            f.write_str(if open { ", " } else { "{" })?;
            write!(f, "{name}={value:?}")?;
            open = true;
        }
        if open {
            f.write_str("}")?;
        } else if self.get(METRIC_NAME).is_none() {
            f.write_str("{}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl serde::Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> serde::Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(Labels::from_pairs(pairs))
    }
}

/// Walks a label set. The bytes were checked when the set was made, so it ends rather than fails on a broken one.
pub struct Pairs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let name = take_checked(&mut self.rest).ok()?;
        let value = take_checked(&mut self.rest).ok()?;
        Some((name, value))
    }
}

/// Walks a label set as bytes; see [`Labels::raw_pairs_in`].
pub struct RawPairs<'a> {
    rest: &'a [u8],
}

impl<'a> RawPairs<'a> {
    /// What was not walked yet: itself the bytes of a set.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for RawPairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        Some((take_bytes(&mut self.rest).ok()?, take_bytes(&mut self.rest).ok()?))
    }
}

/// Collects pairs in any order and writes them sorted.
#[derive(Default, Clone)]
pub struct LabelSetBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelSetBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn from_labels(labels: &Labels) -> Self {
        LabelSetBuilder { pairs: labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    /// Sets `name`, replacing what it was. An empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.iter_mut().find(|(n, _)| n == name) {
            Some(pair) => value.clone_into(&mut pair.1),
            None => self.pairs.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(n, _)| n != name);
        self
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn build(mut self) -> Labels {
        self.pairs.retain(|(n, v)| !n.is_empty() && !v.is_empty());
        self.pairs.sort_by(|a, b| a.0.cmp(&b.0));
        let mut bytes = Vec::with_capacity(self.pairs.iter().map(|(n, v)| n.len() + v.len() + 2).sum());
        for (name, value) in &self.pairs {
            put(&mut bytes, name);
            put(&mut bytes, value);
        }
        Labels(bytes.into())
    }

    /// As [`build`](Self::build) over borrowed pairs, for decoders: sorts in place, refuses an empty or doubled name,
    /// leaves empty values out, and appends the canonical bytes to `out`. No allocation beyond `out`.
    pub fn encode_into<N: AsRef<str>, V: AsRef<str>>(
        pairs: &mut [(N, V)],
        out: &mut Vec<u8>,
    ) -> Result<(), InvalidLabels> {
        LabelSetBuilder::encode_those_into(pairs, out, |value| !value.is_empty())
    }

    /// The same with empty values, for an answer that tells an empty label from an absent one.
    pub fn encode_all_into(pairs: &mut [(&str, &str)], out: &mut Vec<u8>) -> Result<(), InvalidLabels> {
        LabelSetBuilder::encode_those_into(pairs, out, |_| true)
    }

    fn encode_those_into<N: AsRef<str>, V: AsRef<str>>(
        pairs: &mut [(N, V)],
        out: &mut Vec<u8>,
        stays: impl Fn(&str) -> bool,
    ) -> Result<(), InvalidLabels> {
        if !pairs.is_sorted_by(|a, b| a.0.as_ref() < b.0.as_ref()) {
            pairs.sort_unstable_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        }
        let mut last: Option<&str> = None;
        for (name, value) in &*pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            if name.is_empty() {
                return Err(InvalidLabels::EmptyName);
            }
            if last == Some(name) {
                return Err(InvalidLabels::Duplicate(name.to_owned()));
            }
            last = Some(name);
            if stays(value) {
                put(out, name);
                put(out, value);
            }
        }
        Ok(())
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    if text.len() < 0x80 {
        out.push(text.len() as u8);
        return out.extend_from_slice(text.as_bytes());
    }
    let mut len = text.len();
    while len >= 0x80 {
        out.push((len as u8 & 0x7f) | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(text.as_bytes());
}

fn take_checked<'a>(rest: &mut &'a [u8]) -> Result<&'a str, InvalidLabels> {
    std::str::from_utf8(take_bytes(rest)?).map_err(|_| InvalidLabels::NotUtf8)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], InvalidLabels> {
    let mut len = 0usize;
    let mut shift = 0;
    loop {
        let (&byte, tail) = rest.split_first().ok_or(InvalidLabels::Corrupt)?;
        *rest = tail;
        if shift > 28 {
            return Err(InvalidLabels::Corrupt);
        }
        len |= ((byte & 0x7f) as usize) << shift;
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
    }
    if len > rest.len() {
        return Err(InvalidLabels::Corrupt);
    }
    let (text, tail) = rest.split_at(len);
    *rest = tail;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_sorted_and_has_no_empty_values() {
        let labels = Labels::from_pairs([("b", "2"), ("a", "1"), ("gone", "")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(labels, Labels::from_pairs([("a", "1"), ("b", "2")]));
        assert_eq!(Labels::from_bytes(labels.as_bytes()).unwrap(), labels);
        let twice = Labels::from_pairs([("a", "0"), ("b", "2"), ("a", "1"), ("b", ""), ("", "x")]);
        assert_eq!(twice, Labels::from_pairs([("a", "1")]), "the last of a name stands");
    }

    #[test]
    fn sets_are_ordered_by_names_and_values_and_not_by_how_they_are_written() {
        let long = "x".repeat(300);
        let sets =
            [&[][..], &[("a", "")], &[("a", "1")], &[("a", "1"), ("b", "x")], &[("a", "2")], &[("a", &long)]];
        let others = [&[("aa", "0")][..], &[("b", "")], &[("b", "10")], &[("b", "9")], &[("\u{e4}", "z")]];
        let sets: Vec<Labels> =
            sets.into_iter().chain(others).map(|pairs| Labels::from_pairs(pairs.iter().copied())).collect();
        for (a, b) in sets.iter().flat_map(|a| sets.iter().map(move |b| (a, b))) {
            assert_eq!(a.cmp(b), a.iter().cmp(b.iter()), "{a} {b}");
        }
    }

    #[test]
    fn long_values_round_trip() {
        let long = "x".repeat(70_000);
        let labels = Labels::from_pairs([("a", long.as_str())]);
        assert_eq!(labels.get("a"), Some(long.as_str()));
    }

    #[test]
    fn broken_bytes_are_refused() {
        let good = Labels::from_pairs([("a", "1"), ("b", "2")]);
        for cut in 1..good.as_bytes().len() {
            let cut = &good.as_bytes()[..cut];
            if cut.len() != 4 {
                assert!(Labels::from_bytes(cut).is_err(), "{cut:?}");
            }
        }
        assert_eq!(Labels::from_bytes(&[1, b'b', 1, b'1', 1, b'a', 1, b'1']), Err(InvalidLabels::Corrupt));
        assert_eq!(Labels::from_bytes(&[0, 1, b'1']), Err(InvalidLabels::EmptyName));
        assert_eq!(Labels::from_bytes(&[1, 0xff, 1, b'1']), Err(InvalidLabels::NotUtf8));
        assert!(Labels::from_bytes(&[0xff; 12]).is_err());
    }

    #[test]
    fn display_is_what_prometheus_prints() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a\"b"), ("x", "y")]);
        assert_eq!(labels.to_string(), r#"up{job="a\"b", x="y"}"#);
        assert_eq!(Labels::empty().to_string(), "{}");
    }

    #[test]
    fn order_is_by_label_not_by_length() {
        let short = Labels::from_pairs([("a", "z")]);
        let long = Labels::from_pairs([("a", "aaaa")]);
        assert!(long < short);
    }
}
