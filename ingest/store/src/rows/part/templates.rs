//! Kinds of text lines, and lines as what each has beside its kind: a *class* is the lines of one skeleton, with those
//! tokens as constants that were the same in all lines looked at. A line is then the number of its class and the texts
//! of its other tokens, numbers in binary, frequent words by their place in a list, ids as bytes, times as differences
//! from the record's.
//!
//! A line that differs in a constant is written with all its tokens; one of no class is not written here at all. Every
//! line that is written was read again and compared.

use super::cut::{self, Cutter, Kind, Piece, Token};
use super::stamps::Stamp;
use crate::side_index::{Cursor, put_block};
use foldhash::{HashMap, HashMapExt};

/// Of a part. Lines of a further class stay whole.
const CLASSES_MAX: usize = 512;
/// A class is kept when it has so many of the lines looked at, and one in so many of them.
const LINES_OF_A_CLASS: usize = 2;
const SHARE_OF_A_CLASS: usize = 500;
/// Frequent words of a part: the first 126 take one byte in a line, the others two.
const WORDS_MAX: usize = 4_096;
const WORD_BYTES_MAX: usize = 128;
const LINES_OF_A_WORD: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    skeleton: Vec<u8>,
    /// By token: what it is in every line, where it is always the same.
    constants: Vec<Option<String>>,
}

/// What the lines of a part have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Templates {
    classes: Vec<Class>,
    words: Vec<String>,
}

impl Templates {
    /// Of some of a part's lines.
    pub fn of(lines: &[&str]) -> Templates {
        let mut cutter = Cutter::default();
        let mut counted: HashMap<Vec<u8>, (usize, Vec<Option<&str>>)> = HashMap::new();
        for line in lines {
            if !cutter.cut(line) {
                continue;
            }
            let texts = cutter.tokens.iter().map(|token| &line[token.start..token.end]);
            match counted.get_mut(&cutter.skeleton) {
                Some((count, constants)) => {
                    *count += 1;
                    constants.iter_mut().zip(texts).for_each(|(constant, text)| {
                        *constant = constant.filter(|constant| *constant == text);
                    });
                }
                None => _ = counted.insert(cutter.skeleton.clone(), (1, texts.map(Some).collect())),
            }
        }
        counted
            .retain(|_, (count, _)| *count >= LINES_OF_A_CLASS && *count * SHARE_OF_A_CLASS >= lines.len());
        let mut counted: Vec<_> = counted.into_iter().collect();
        counted.sort_unstable_by(|a, b| (b.1.0, &a.0).cmp(&(a.1.0, &b.0)));
        counted.truncate(CLASSES_MAX);
        let classes: Vec<Class> = counted
            .into_iter()
            .map(|(skeleton, (_, constants))| Class {
                skeleton,
                constants: constants.into_iter().map(|text| text.map(str::to_owned)).collect(),
            })
            .collect();
        let words = frequent_words(lines, &classes);
        Templates { classes, words }
    }

    /// For the lines of several parts. A constant stays one where all parts have the same.
    pub fn joined<'a>(parts: impl Iterator<Item = &'a Templates>) -> Templates {
        let mut classes: HashMap<&[u8], (usize, Class)> = HashMap::new();
        // A word's place is about as frequent as it is.
        let mut words: HashMap<&str, (usize, usize)> = HashMap::new();
        for part in parts {
            for class in &part.classes {
                match classes.get_mut(class.skeleton.as_slice()) {
                    Some((count, known)) => {
                        *count += 1;
                        for (constant, other) in known.constants.iter_mut().zip(&class.constants) {
                            if constant != other {
                                *constant = None;
                            }
                        }
                    }
                    None => _ = classes.insert(&class.skeleton, (1, class.clone())),
                }
            }
            for (place, word) in part.words.iter().enumerate() {
                let (count, places) = words.entry(word).or_default();
                (*count, *places) = (*count + 1, *places + place);
            }
        }
        let mut classes: Vec<_> = classes.into_values().collect();
        classes.sort_unstable_by(|a, b| (b.0, &a.1.skeleton).cmp(&(a.0, &b.1.skeleton)));
        let mut words: Vec<_> = words.into_iter().collect();
        words.sort_unstable_by_key(|(word, (count, places))| {
            (std::cmp::Reverse(*count), places / count, *word)
        });
        Templates {
            classes: classes.into_iter().take(CLASSES_MAX).map(|(_, class)| class).collect(),
            words: words.into_iter().take(WORDS_MAX).map(|(word, _)| word.to_owned()).collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.classes.len() as u32).to_le_bytes());
        for class in &self.classes {
            put_block(out, &class.skeleton);
            for constant in &class.constants {
                out.push(u8::from(constant.is_some()));
                constant.iter().for_each(|text| put_block(out, text.as_bytes()));
            }
        }
        out.extend_from_slice(&(self.words.len() as u32).to_le_bytes());
        self.words.iter().for_each(|word| put_block(out, word.as_bytes()));
    }

    pub fn decode(rest: &mut Cursor<'_>) -> Result<Templates, String> {
        let text = |rest: &mut Cursor<'_>| {
            String::from_utf8(rest.block()?.to_vec()).map_err(|wrong| wrong.to_string())
        };
        let mut classes = vec![];
        for _ in 0..rest.u32()? {
            let skeleton = rest.block()?.to_vec();
            let pieces = cut::pieces(&skeleton).ok_or("a kind of lines is written as none is")?;
            let tokens = pieces.iter().filter(|piece| matches!(piece, Piece::Token(_))).count();
            let mut constants = vec![];
            for _ in 0..tokens {
                let [is_constant] = rest.array()?;
                constants.push(if is_constant != 0 { Some(text(rest)?) } else { None });
            }
            classes.push(Class { skeleton, constants });
        }
        let mut words = vec![];
        for _ in 0..rest.u32()? {
            words.push(text(rest)?);
        }
        Ok(Templates { classes, words })
    }
}

/// Words at places that differ.
fn frequent_words(lines: &[&str], classes: &[Class]) -> Vec<String> {
    let known: HashMap<&[u8], &Class> =
        classes.iter().map(|class| (class.skeleton.as_slice(), class)).collect();
    let mut cutter = Cutter::default();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for line in lines {
        let class = cutter.cut(line).then(|| known.get(cutter.skeleton.as_slice())).flatten();
        let Some(class) = class else { continue };
        for (token, constant) in cutter.tokens.iter().zip(&class.constants) {
            if token.kind == Kind::Word && constant.is_none() && token.end - token.start <= WORD_BYTES_MAX {
                *counts.entry(&line[token.start..token.end]).or_default() += 1;
            }
        }
    }
    counts.retain(|_, count| *count >= LINES_OF_A_WORD);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
    counts.truncate(WORDS_MAX);
    counts.into_iter().map(|(word, _)| word.to_owned()).collect()
}

/// Writes lines.
pub struct Packer {
    templates: Templates,
    reader: Unpacker,
    classes: HashMap<Vec<u8>, usize>,
    words: HashMap<String, usize>,
    cutter: Cutter,
    again: Vec<u8>,
}

impl Packer {
    pub fn new(templates: Templates) -> Packer {
        let numbered = |(number, class): (usize, &Class)| (class.skeleton.clone(), number);
        Packer {
            reader: Unpacker::new(&templates),
            classes: templates.classes.iter().enumerate().map(numbered).collect(),
            words: templates.words.iter().enumerate().map(|(place, word)| (word.clone(), place)).collect(),
            cutter: Cutter::default(),
            again: vec![],
            templates,
        }
    }

    /// Puts the line behind what is there; its ids go by themselves, as they cannot be compressed. Nothing is put where
    /// it is `false`: then the line is of no class.
    pub fn pack(&mut self, line: &str, ts_ns: i64, values: &mut Vec<u8>, ids: &mut Vec<u8>) -> bool {
        let before = (values.len(), ids.len());
        let is_packed = self.put(line, ts_ns, values, ids).is_some() && {
            self.again.clear();
            let read = self.reader.unpack(&values[before.0..], &ids[before.1..], ts_ns, &mut self.again);
            read.is_some() && self.again == line.as_bytes()
        };
        if !is_packed {
            values.truncate(before.0);
            ids.truncate(before.1);
        }
        is_packed
    }

    fn put(&mut self, line: &str, ts_ns: i64, values: &mut Vec<u8>, ids: &mut Vec<u8>) -> Option<()> {
        if self.classes.is_empty() || !self.cutter.cut(line) {
            return None;
        }
        let number = *self.classes.get(&self.cutter.skeleton)?;
        let constants = &self.templates.classes[number].constants;
        let text = |token: &Token| &line[token.start..token.end];
        let tokens = || self.cutter.tokens.iter().zip(constants);
        let is_usual = tokens()
            .all(|(token, constant)| constant.as_ref().is_none_or(|constant| constant == text(token)));
        put_number(values, (number * 2 + usize::from(!is_usual)) as u64);
        for (token, _) in tokens().filter(|(_, constant)| !is_usual || constant.is_none()) {
            let text = text(token);
            match token.kind {
                Kind::Number => put_number(values, cut::number(text.as_bytes())?),
                Kind::Word => match self.words.get(text) {
                    Some(place) => put_number(values, *place as u64 + 1),
                    None => {
                        values.push(0);
                        put_text(values, text);
                    }
                },
                Kind::Rest => put_text(values, text),
                Kind::Hex(digits) => put_hex(ids, text, usize::from(digits) / 2)?,
                Kind::Uuid => put_hex(ids, &text.replace('-', ""), 16)?,
                Kind::Stamp(stamp) => {
                    let difference = stamp.difference(text.as_bytes(), ts_ns)?;
                    put_number(values, ((difference << 1) ^ (difference >> 63)) as u64);
                }
            }
        }
        Some(())
    }
}

pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_hex(out: &mut Vec<u8>, digits: &str, bytes: usize) -> Option<()> {
    let at = out.len();
    out.resize(at + bytes, 0);
    hex::decode_to_slice(digits, &mut out[at..]).ok()
}

/// A piece of a line that is read.
pub enum Part {
    Text(Vec<u8>),
    Token(Kind),
}

/// Reads lines.
#[derive(Default)]
pub struct Unpacker {
    /// Of each class: with its constants, and without.
    classes: Vec<[Vec<Part>; 2]>,
    words: Vec<String>,
}

impl Unpacker {
    pub fn new(templates: &Templates) -> Unpacker {
        let parts = |class: &Class| {
            let none = vec![None; class.constants.len()];
            [parts(&class.skeleton, &class.constants), parts(&class.skeleton, &none)]
        };
        Unpacker { classes: templates.classes.iter().map(parts).collect(), words: templates.words.clone() }
    }

    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// How many numbers there are that a line can begin with.
    pub fn numbers(&self) -> usize {
        self.classes.len() * 2
    }

    /// What lines that begin with this number consist of.
    pub fn parts(&self, number: usize) -> Option<&[Part]> {
        self.classes.get(number / 2).map(|of_class| of_class[number % 2].as_slice())
    }

    /// Whether lines that begin with this number may be objects of JSON, by what they begin with.
    pub fn may_be_object(&self, number: usize) -> bool {
        let spaces = |text: &[u8]| text.trim_ascii_start().is_empty();
        let mut parts = self.parts(number).unwrap_or_default().iter();
        match parts.find(|part| !matches!(part, Part::Text(text) if spaces(text))) {
            Some(Part::Text(text)) => text.trim_ascii_start().starts_with(b"{"),
            Some(Part::Token(kind)) => *kind == Kind::Rest,
            None => false,
        }
    }

    /// How many frequent words there are.
    pub fn words(&self) -> usize {
        self.words.len()
    }

    pub fn word(&self, place: usize) -> Option<&str> {
        self.words.get(place).map(String::as_str)
    }

    /// Puts a line behind what is there; `None` where the bytes are none.
    pub fn unpack(&self, values: &[u8], ids: &[u8], ts_ns: i64, out: &mut Vec<u8>) -> Option<()> {
        let (mut values, mut ids) = (values, ids);
        let number = take_number(&mut values)? as usize;
        for part in &self.classes.get(number / 2)?[number % 2] {
            let kind = match part {
                Part::Text(text) => {
                    out.extend_from_slice(text);
                    continue;
                }
                Part::Token(kind) => *kind,
            };
            match kind {
                Kind::Number => cut::write_number(take_number(&mut values)?, out),
                Kind::Word => match take_number(&mut values)? as usize {
                    0 => take_text(&mut values, out)?,
                    place => out.extend_from_slice(self.words.get(place - 1)?.as_bytes()),
                },
                Kind::Rest => take_text(&mut values, out)?,
                Kind::Hex(_) | Kind::Uuid => take_id(kind, &mut ids, out)?,
                Kind::Stamp(stamp) => write_stamp(stamp, take_number(&mut values)?, ts_ns, out),
            }
        }
        Some(())
    }
}

fn parts(skeleton: &[u8], constants: &[Option<String>]) -> Vec<Part> {
    let mut parts: Vec<Part> = vec![];
    let mut constants = constants.iter();
    for piece in cut::pieces(skeleton).unwrap_or_default() {
        let text = match piece {
            Piece::Delimiters(text) => text,
            Piece::Token(kind) => match constants.next().and_then(Option::as_ref) {
                Some(constant) => constant.as_bytes().to_vec(),
                None => {
                    parts.push(Part::Token(kind));
                    continue;
                }
            },
        };
        match parts.last_mut() {
            Some(Part::Text(before)) => before.extend_from_slice(&text),
            _ => parts.push(Part::Text(text)),
        }
    }
    parts
}

/// Takes a number as [`put_number`] puts it.
pub fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0u64, 0);
    loop {
        let byte = *bytes.split_off_first()?;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
}

fn take_text(bytes: &mut &[u8], out: &mut Vec<u8>) -> Option<()> {
    let length = usize::try_from(take_number(bytes)?).ok()?;
    out.extend_from_slice(bytes.split_off(..length)?);
    Some(())
}

fn write_hex(id: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + id.len() * 2, 0);
    // As long as it should be.
    let _ = hex::encode_to_slice(id, &mut out[at..]);
}

/// A hex token or a UUID.
pub fn take_id(kind: Kind, ids: &mut &[u8], out: &mut Vec<u8>) -> Option<()> {
    match kind {
        Kind::Hex(digits) => write_hex(ids.split_off(..usize::from(digits) / 2)?, out),
        _ => {
            let id = ids.split_off(..16)?;
            let groups = [&id[..4], &id[4..6], &id[6..8], &id[8..10], &id[10..]];
            for (at, group) in groups.iter().enumerate() {
                if at > 0 {
                    out.push(b'-');
                }
                write_hex(group, out);
            }
        }
    }
    Some(())
}

pub fn write_stamp(stamp: Stamp, number: u64, ts_ns: i64, out: &mut Vec<u8>) {
    let difference = (number >> 1) as i64 ^ -((number & 1) as i64);
    stamp.write(ts_ns, difference, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-01 00:00:01.045000291
    const TS: i64 = 1_793_491_201_045_000_291;

    fn lines() -> Vec<String> {
        let access = |n: usize| {
            format!(
                "10.0.{n}.7 - - [01/Nov/2026:00:00:01 +0000] \"GET /v1/cart HTTP/1.1\" 200 {} \"-\" \"okhttp/4.12.0\" \
                 0.{:03} {:032x}",
                n * 977,
                n,
                n as u128 * 0x1234_5678_9abc_def0_1234
            )
        };
        let java = |n: usize| {
            let level = if n.is_multiple_of(3) { "WARN " } else { "INFO " };
            format!(
                "2026-11-01 00:00:01.{:03} {level} [exec-{n}] c.e.Ledger - posting account=acc-{n}",
                n + 40
            )
        };
        (0..40).flat_map(|n| [access(n), java(n)]).collect()
    }

    fn packed(packer: &mut Packer, line: &str) -> Option<(usize, String)> {
        let (mut values, mut ids) = (vec![], vec![]);
        if !packer.pack(line, TS, &mut values, &mut ids) {
            assert!(values.is_empty() && ids.is_empty());
            return None;
        }
        let mut out = vec![];
        packer.reader.unpack(&values, &ids, TS, &mut out).unwrap();
        Some((values.len() + ids.len(), String::from_utf8(out).unwrap()))
    }

    #[test]
    fn lines_come_back_and_are_small() {
        let lines = lines();
        let templates = Templates::of(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let mut stored = vec![];
        templates.encode(&mut stored);
        let mut rest = Cursor(&stored);
        assert_eq!((Templates::decode(&mut rest).unwrap(), rest.0.len()), (templates.clone(), 0));
        let mut packer = Packer::new(templates);
        for line in &lines {
            let (bytes, again) = packed(&mut packer, line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(again, *line);
            assert!(bytes <= if line.starts_with("10.") { 24 } else { 9 }, "{bytes}: {line}");
        }
        // Another method and another agent than all lines had: the same kind, and nothing is lost.
        let other = lines[0].replace("GET", "DELETE").replace("okhttp/4", "curl/08");
        assert_eq!(packed(&mut packer, &other).map(|(_, again)| again), Some(other));
        for none in [
            "",
            "another kind of line 1",
            "2026-02-31 00:00:01.040 INFO  [exec-1] c.e.Ledger - posting account=acc-1",
        ] {
            assert_eq!(packed(&mut packer, none), None, "{none}");
        }
    }

    #[test]
    fn constants_of_several_parts_are_what_all_have() {
        let of = |name: &str| {
            let lines: Vec<String> = (0..9).map(|n| format!("{name}: request {n} took {n}ms")).collect();
            Templates::of(&lines.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let (cart, pay) = (of("cart"), of("pay"));
        assert_eq!(cart.classes[0].constants[0].as_deref(), Some("cart"));
        assert_eq!(Templates::joined([&cart, &cart].into_iter()), cart);
        let both = Templates::joined([&cart, &pay].into_iter());
        assert_eq!((both.classes.len(), &both.classes[0].constants[0]), (1, &None));
        assert_eq!(both.classes[0].constants[1].as_deref(), Some("request"));
        for line in ["cart: request 7 took 07ms", "other: request 1 took 2ms"] {
            assert_eq!(packed(&mut Packer::new(both.clone()), line).unwrap().1, line);
        }
    }

    proptest! {
        #[test]
        fn any_line_comes_back_or_is_refused(
            lines in prop::collection::vec("[a-f0-9 :/.\\-T\\n\"Zä]{0,40}|[ -~]{0,60}", 1..40),
            junk in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let of: Vec<&str> = lines.iter().flat_map(|line| [line.as_str(), line.as_str()]).collect();
            let mut packer = Packer::new(Templates::of(&of));
            for line in &lines {
                if let Some((_, again)) = packed(&mut packer, line) {
                    prop_assert_eq!(&again, line);
                }
            }
            // Bytes that nobody wrote are refused or read, and never panic.
            let _ = packer.reader.unpack(&junk, &junk, TS, &mut vec![]);
            let _ = Templates::decode(&mut Cursor(&junk));
        }
    }
}
