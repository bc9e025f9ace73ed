//! A column of small integers, as narrow as its largest one allows: most labels have fewer than 256 values.

use crate::side_index::Cursor;
use std::ops::Range;

pub enum Codes {
    Narrow(Vec<u8>),
    Middle(Vec<u16>),
    Wide(Vec<u32>),
}

impl Codes {
    pub fn new(codes: impl Iterator<Item = u32>, largest: u32) -> Codes {
        if largest <= u32::from(u8::MAX) {
            Codes::Narrow(codes.map(|code| code as u8).collect())
        } else if largest <= u32::from(u16::MAX) {
            Codes::Middle(codes.map(|code| code as u16).collect())
        } else {
            Codes::Wide(codes.collect())
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Codes::Narrow(codes) => codes.len(),
            Codes::Middle(codes) => 2 * codes.len(),
            Codes::Wide(codes) => 4 * codes.len(),
        }
    }

    pub fn get(&self, at: usize) -> u32 {
        match self {
            Codes::Narrow(codes) => u32::from(codes[at]),
            Codes::Middle(codes) => u32::from(codes[at]),
            Codes::Wide(codes) => codes[at],
        }
    }

    /// Places of a stretch whose code passes, ascending.
    pub fn ids_where(&self, within: Range<u32>, passes: impl Fn(u32) -> bool) -> Vec<u32> {
        fn of<T: Copy + Into<u32>>(codes: &[T], first: u32, passes: impl Fn(u32) -> bool) -> Vec<u32> {
            let numbered = (first..).zip(codes);
            numbered.filter(|(_, code)| passes((**code).into())).map(|(at, _)| at).collect()
        }
        let (first, within) = (within.start, within.start as usize..within.end as usize);
        match self {
            Codes::Narrow(codes) => of(&codes[within], first, passes),
            Codes::Middle(codes) => of(&codes[within], first, passes),
            Codes::Wide(codes) => of(&codes[within], first, passes),
        }
    }

    /// Whether no code is smaller than the one before.
    pub fn ascend(&self) -> bool {
        match self {
            Codes::Narrow(codes) => codes.is_sorted(),
            Codes::Middle(codes) => codes.is_sorted(),
            Codes::Wide(codes) => codes.is_sorted(),
        }
    }

    /// Where a code is, of those that ascend.
    pub fn stretch_of(&self, code: u32) -> Range<u32> {
        fn of<T: Copy + Into<u32>>(codes: &[T], code: u32) -> Range<u32> {
            let start = codes.partition_point(|other| (*other).into() < code);
            let end = start + codes[start..].partition_point(|other| (*other).into() == code);
            start as u32..end as u32
        }
        match self {
            Codes::Narrow(codes) => of(codes, code),
            Codes::Middle(codes) => of(codes, code),
            Codes::Wide(codes) => of(codes, code),
        }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Codes::Narrow(codes) => out.extend_from_slice(codes),
            Codes::Middle(codes) => codes.iter().for_each(|code| out.extend_from_slice(&code.to_le_bytes())),
            Codes::Wide(codes) => codes.iter().for_each(|code| out.extend_from_slice(&code.to_le_bytes())),
        }
    }

    /// `largest` says the width; a code past it is damage.
    pub fn decode(rest: &mut Cursor<'_>, count: usize, largest: u32) -> Result<Codes, String> {
        let width = match largest {
            0..=0xff => 1,
            0x100..=0xffff => 2,
            _ => 4,
        };
        let bytes = rest.take(count.checked_mul(width).ok_or("it is cut short")?)?;
        let codes = bytes
            .chunks_exact(width)
            .map(|code| code.iter().rev().fold(0u32, |number, byte| number << 8 | u32::from(*byte)));
        let codes = Codes::new(codes, largest);
        if (0..count).any(|at| codes.get(at) > largest) {
            return Err("a label value is not in its dictionary".into());
        }
        Ok(codes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_in_a_stretch_whatever_their_width() {
        for largest in [0xff, 0x100, 0x1_0000] {
            let codes = Codes::new([0, 1, 1, 3, 3, 3, largest].into_iter(), largest);
            assert!(codes.ascend());
            assert_eq!(
                [0, 1, 2, 3, largest].map(|code| codes.stretch_of(code)),
                [0..1, 1..3, 3..3, 3..6, 6..7]
            );
            assert_eq!(codes.ids_where(2..5, |code| code == 3), [3, 4]);
            assert!(!Codes::new([1, 0].into_iter(), largest).ascend());
        }
    }
}
