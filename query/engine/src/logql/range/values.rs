//! Series by the values that an answer groups by. Of most of them nobody will see the labels, as of those below a `topk`, so
//! that labels are made of the values when the answer is, and not for the first line of each.

use super::columns::Class;
use datafusion::common::hash_utils::RandomState;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

/// A value of up to 7 bytes in one word, as many ids are: the bytes, zeros, and in the last one how many. Where there are tens of
/// thousands of them, how much memory their table takes is what finding one costs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Tiny(u64);

const TINY_BYTES_MAX: usize = 7;

impl Tiny {
    fn of(text: &[u8]) -> Option<Tiny> {
        let length = text.len();
        let number = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
        let bytes = match length {
            0 => 0,
            // The first, the one in the middle and the last, some of them twice.
            1..4 => {
                let byte = |at: usize| u64::from(text[at]) << (8 * at);
                byte(0) | byte(length / 2) | byte(length - 1)
            }
            // The first four and the last four, which may overlap.
            4..=TINY_BYTES_MAX => {
                number(text.first_chunk()?) | number(text.last_chunk()?) << (8 * (length - 4))
            }
            _ => return None,
        };
        Some(Tiny(bytes | (length as u64) << 56))
    }

    fn bytes(self) -> Vec<u8> {
        let bytes = self.0.to_le_bytes();
        bytes[..usize::from(bytes[TINY_BYTES_MAX]).min(TINY_BYTES_MAX)].to_vec()
    }
}

/// A value of up to 23 bytes, which is found without following a pointer: the bytes, zeros, and in the last one how many.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Short([u64; 3]);

const SHORT_BYTES_MAX: usize = 23;

impl Hash for Short {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|word| state.write_u64(*word));
    }
}

impl Short {
    fn of(text: &[u8]) -> Option<Short> {
        let mut bytes = [0; 24];
        bytes.get_mut(..SHORT_BYTES_MAX)?.get_mut(..text.len())?.copy_from_slice(text);
        bytes[SHORT_BYTES_MAX] = text.len() as u8;
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Some(Short(words))
    }

    fn bytes(self) -> Vec<u8> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes[..usize::from(bytes[SHORT_BYTES_MAX]).min(SHORT_BYTES_MAX)].to_vec()
    }
}

/// Those whose streams give the answer the same labels.
#[derive(Default)]
struct OfClass {
    /// By label of the answer: what the streams have. It goes before what a line has.
    of_streams: Vec<Option<String>>,
    tiny: HashMap<Tiny, u32, RandomState>,
    short: HashMap<Short, u32, RandomState>,
    long: HashMap<Box<[u8]>, u32, RandomState>,
}

impl OfClass {
    fn is_empty(&self) -> bool {
        self.tiny.is_empty() && self.short.is_empty() && self.long.is_empty()
    }
}

#[derive(Default)]
pub(super) struct Known {
    /// By stream.
    classes: Vec<Class>,
    numbers: HashMap<Vec<Option<String>>, u32>,
    of_class: Vec<OfClass>,
}

impl Known {
    /// The class of a stream, by whether it is mixed and by its labels of the answer.
    pub fn class(
        &mut self,
        stream_at: usize,
        mixed: impl FnOnce() -> bool,
        of_answer: impl FnOnce() -> Vec<Option<String>>,
    ) -> Class {
        if self.classes.len() <= stream_at {
            self.classes.resize(stream_at + 1, Class::New);
        }
        if self.classes[stream_at] == Class::New {
            self.classes[stream_at] = if mixed() {
                Class::Mixed
            } else {
                let values = of_answer();
                let next = self.of_class.len() as u32;
                let number = *self.numbers.entry(values.clone()).or_insert(next);
                if number == next {
                    self.of_class.push(OfClass { of_streams: values, ..OfClass::default() });
                }
                Class::Plain(number)
            };
        }
        self.classes[stream_at]
    }

    /// The series of a value, or of several with the length before each; `make` is told the bytes that it takes.
    pub fn series(&mut self, class: u32, value: &[u8], make: impl FnOnce(usize) -> u32) -> u32 {
        let of_class = &mut self.of_class[class as usize];
        if let Some(tiny) = Tiny::of(value) {
            return *of_class.tiny.entry(tiny).or_insert_with(|| make(24));
        }
        match Short::of(value) {
            Some(short) => *of_class.short.entry(short).or_insert_with(|| make(40)),
            None => match of_class.long.get(value) {
                Some(series) => *series,
                None => {
                    let series = make(value.len() + 40);
                    of_class.long.insert(value.into(), series);
                    series
                }
            },
        }
    }

    /// Whether no two of the series can have the same labels.
    pub fn is_of_one_class(&self) -> bool {
        self.of_class.iter().filter(|of_class| !of_class.is_empty()).count() <= 1
    }

    /// Each series that is wanted, with its values for so many labels of the answer.
    pub fn each<E>(
        self,
        labels: usize,
        wanted: impl Fn(usize) -> bool,
        mut see: impl FnMut(&[Option<&str>], usize) -> Result<(), E>,
    ) -> Result<(), E> {
        for of_class in self.of_class {
            let tiny = of_class.tiny.into_iter().filter(|(_, series)| wanted(*series as usize));
            let tiny = tiny.map(|(value, series)| (value.bytes(), series));
            let short = of_class.short.into_iter().filter(|(_, series)| wanted(*series as usize));
            let short = short.map(|(value, series)| (value.bytes(), series));
            let long = of_class.long.into_iter().filter(|(_, series)| wanted(*series as usize));
            let long = long.map(|(value, series)| (value.into_vec(), series));
            for (key, series) in tiny.chain(short).chain(long) {
                let mut values = parts(&key, labels);
                for (value, of_stream) in values.iter_mut().zip(&of_class.of_streams) {
                    *value = of_stream.as_deref().or(*value);
                }
                see(&values, series as usize)?;
            }
        }
        Ok(())
    }
}

/// Of a label that a line has not, which is another value than an empty one: no text is so.
pub(super) const NO_VALUE: &[u8] = &[0xff];

/// The values that a key is made of.
fn parts(key: &[u8], labels: usize) -> Vec<Option<&str>> {
    fn text(bytes: &[u8]) -> Option<&str> {
        (bytes != NO_VALUE).then(|| std::str::from_utf8(bytes).unwrap_or_default())
    }
    if labels == 1 {
        return vec![text(key)];
    }
    let (mut rest, mut values) = (key, vec![]);
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (value, behind) = behind.split_at(behind.len().min(u32::from_le_bytes(*length) as usize));
        values.push(text(value));
        rest = behind;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_however_long_they_are() {
        let mut known = Known::default();
        let Class::Plain(class) = known.class(3, || false, || vec![None]) else { panic!("it is plain") };
        // With zeros, which are not what fills a value up.
        let of_length = |length: usize| "abc\0\0def\0".chars().cycle().take(length).collect::<String>();
        let texts: Vec<String> = (0..=26).chain([400]).map(of_length).collect();
        let mut next = 0;
        for _ in 0..2 {
            for text in &texts {
                known.series(class, text.as_bytes(), |_| {
                    next += 1;
                    next - 1
                });
            }
        }
        assert_eq!(next as usize, texts.len());
        assert!(known.is_of_one_class());
        let mut seen = vec![];
        let all: Result<(), ()> = known.each(
            1,
            |series| series != 3,
            |values, series| {
                seen.push((series, values[0].unwrap_or_default().to_owned()));
                Ok(())
            },
        );
        all.unwrap();
        seen.sort_unstable();
        let wanted = texts.into_iter().enumerate().filter(|(series, _)| *series != 3);
        assert_eq!(seen, wanted.collect::<Vec<_>>());
    }

    #[test]
    fn labels_of_streams_go_before_those_of_lines() {
        let mut known = Known::default();
        let own = || vec![None, Some("prod".to_owned())];
        assert!(known.class(0, || true, own) == Class::Mixed);
        let Class::Plain(class) = known.class(1, || false, own) else { panic!("it is plain") };
        assert!(known.class(2, || false, own) == Class::Plain(class));
        let key = [&3u32.to_le_bytes()[..], b"api", &4u32.to_le_bytes(), b"test"].concat();
        known.series(class, &key, |_| 7);
        let seen = known.each(
            2,
            |_| true,
            |values, series| {
                let texts: Vec<&str> = values.iter().flatten().copied().collect();
                Err::<(), _>((texts.join(" "), series))
            },
        );
        assert_eq!(seen, Err(("api prod".to_owned(), 7)));
    }
}
