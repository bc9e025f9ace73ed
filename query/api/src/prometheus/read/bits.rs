//! Bits one behind the other, the highest of each byte first, and the numbers of variable width that chunks are made of.

#[derive(Default)]
pub struct Bits {
    pub bytes: Vec<u8>,
    /// Bits of the last byte that are not used yet.
    free: u32,
}

impl Bits {
    /// Whole bytes, before any bit.
    pub fn after(bytes: Vec<u8>) -> Bits {
        Bits { bytes, free: 0 }
    }

    pub fn bit(&mut self, bit: bool) {
        self.push(u64::from(bit), 1);
    }

    /// The lowest `count` bits of a number, at most 64.
    pub fn push(&mut self, number: u64, count: u32) {
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let take = left.min(self.free);
            let part = (number >> (left - take)) & ((1 << take) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= (part as u8) << (self.free - take);
            }
            self.free -= take;
            left -= take;
        }
    }

    /// Seven bits a byte, the lowest first.
    pub fn uvarint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.push(number & 0x7f | 0x80, 8);
            number >>= 7;
        }
        self.push(number, 8);
    }

    pub fn varint(&mut self, number: i64) {
        self.uvarint(((number << 1) ^ (number >> 63)) as u64);
    }

    /// Ones and a zero that say the width, then the number in it.
    pub fn varbit_int(&mut self, number: i64) {
        if number == 0 {
            return self.bit(false);
        }
        let class = WIDTHS.iter().position(|width| fits(number, *width));
        self.classed(class, number as u64);
    }

    pub fn varbit_uint(&mut self, number: u64) {
        if number == 0 {
            return self.bit(false);
        }
        let class = WIDTHS.iter().position(|width| number < 1 << width);
        self.classed(class, number);
    }

    fn classed(&mut self, class: Option<usize>, number: u64) {
        match class {
            Some(class) => {
                let ones = class as u32 + 1;
                self.push(((1 << ones) - 1) << 1, ones + 1);
                self.push(number, WIDTHS[class]);
            }
            None => {
                self.push(0xff, 8);
                self.push(number, 64);
            }
        }
    }
}

const WIDTHS: [u32; 7] = [3, 6, 9, 12, 18, 25, 56];

/// Whether a number is within a width whose topmost pattern stands for a positive one.
pub fn fits(number: i64, width: u32) -> bool {
    let half = 1i64 << (width - 1);
    -(half - 1) <= number && number <= half
}
