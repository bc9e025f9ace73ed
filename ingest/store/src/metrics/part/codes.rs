//! A column of small integers, as narrow as its largest one allows: most labels have fewer than 256 values.

use crate::side_index::Cursor;

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

    pub fn get(&self, at: usize) -> u32 {
        match self {
            Codes::Narrow(codes) => u32::from(codes[at]),
            Codes::Middle(codes) => u32::from(codes[at]),
            Codes::Wide(codes) => codes[at],
        }
    }

    /// Places whose code passes, ascending.
    pub fn ids_where(&self, passes: impl Fn(u32) -> bool) -> Vec<u32> {
        fn of<T: Copy + Into<u32>>(codes: &[T], passes: impl Fn(u32) -> bool) -> Vec<u32> {
            let passing = codes.iter().enumerate().filter(|(_, code)| passes((**code).into()));
            passing.map(|(at, _)| at as u32).collect()
        }
        match self {
            Codes::Narrow(codes) => of(codes, passes),
            Codes::Middle(codes) => of(codes, passes),
            Codes::Wide(codes) => of(codes, passes),
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
