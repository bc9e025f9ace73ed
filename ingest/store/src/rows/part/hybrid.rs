//! Numbers of few bits as they lie in pages of Parquet: runs of one number, and numbers that stand side by side as they come.

use bytes::Bytes;
use parquet::errors::ParquetError;

/// Numbers are of no more bits.
const WIDTH_MAX: usize = 32;

/// The numbers of a page that are left.
pub struct Hybrid {
    bytes: Bytes,
    /// Where the run begins that follows this one.
    next: usize,
    width: usize,
    /// Of this run.
    left: usize,
    run: Run,
}

#[derive(Clone, Copy)]
enum Run {
    Same(u32),
    /// Side by side; the next one begins at this bit.
    Packed(usize),
}

fn wrong(what: &str) -> ParquetError {
    ParquetError::General(format!("numbers of a page: {what}"))
}

impl Hybrid {
    /// Numbers of so many bits each.
    pub fn new(bytes: Bytes, width: usize) -> Result<Hybrid, ParquetError> {
        match width {
            0..=WIDTH_MAX => Ok(Hybrid { bytes, next: 0, width, left: 0, run: Run::Same(0) }),
            _ => Err(wrong(&format!("they cannot have {width} bits"))),
        }
    }

    /// What comes next, and how often: one number, or `None` for numbers side by side.
    pub fn run(&mut self) -> Result<(Option<u32>, usize), ParquetError> {
        while self.left == 0 {
            self.begin()?;
        }
        Ok(match self.run {
            Run::Same(number) => (Some(number), self.left),
            Run::Packed(_) => (None, self.left),
        })
    }

    fn begin(&mut self) -> Result<(), ParquetError> {
        let header = self.header()?;
        let count = (header >> 1) as usize;
        let is_packed = header & 1 == 1;
        let length = if is_packed { count.checked_mul(self.width) } else { Some(self.width.div_ceil(8)) };
        let end = length.and_then(|length| self.next.checked_add(length));
        let end = end.filter(|end| *end <= self.bytes.len()).ok_or_else(|| wrong("they are cut short"))?;
        (self.left, self.run) = match is_packed {
            true => (count * 8, Run::Packed(self.next * 8)),
            false => {
                let mut number = [0; 4];
                let own = &self.bytes[self.next..end];
                number[..own.len()].copy_from_slice(own);
                (count, Run::Same(u32::from_le_bytes(number)))
            }
        };
        self.next = end;
        Ok(())
    }

    fn header(&mut self) -> Result<u32, ParquetError> {
        let mut header = 0;
        for shift in (0..35).step_by(7) {
            let byte = *self.bytes.get(self.next).ok_or_else(|| wrong("they are too few"))?;
            self.next += 1;
            header |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(header).map_err(|_| wrong("a run is too long"));
            }
        }
        Err(wrong("a run is too long"))
    }

    /// Leaves out some of this run, not more than it has.
    fn pass(&mut self, count: usize) {
        self.left -= count;
        if let Run::Packed(bit) = &mut self.run {
            *bit += count * self.width;
        }
    }

    /// Leaves out so many, of whatever runs.
    pub fn skip(&mut self, mut count: usize) -> Result<(), ParquetError> {
        while count > 0 {
            let (_, left) = self.run()?;
            let own = left.min(count);
            self.pass(own);
            count -= own;
        }
        Ok(())
    }

    /// Takes some of this run, not more than it has.
    pub fn take(&mut self, count: usize, out: &mut Vec<u32>) {
        match self.run {
            Run::Same(number) => out.resize(out.len() + count, number),
            Run::Packed(bit) => self.unpack(bit, count, out),
        }
        self.pass(count);
    }

    fn unpack(&self, mut first: usize, mut count: usize, out: &mut Vec<u32>) {
        let mask = (1u64 << self.width) - 1;
        // Eight numbers are whole bytes, at most 32 of them, behind which all are read without asking where they end.
        while count >= 8
            && first.is_multiple_of(8)
            && let Some(bytes) = self.bytes.get(first / 8..).and_then(<[u8]>::first_chunk::<40>)
        {
            let eight: [u32; 8] = std::array::from_fn(|at| {
                let bit = at * self.width;
                let own = std::array::from_fn(|byte| bytes[((bit / 8) & 31) + byte]);
                (u64::from_le_bytes(own) >> (bit % 8) & mask) as u32
            });
            out.extend_from_slice(&eight);
            (first, count) = (first + 8 * self.width, count - 8);
        }
        let number = |at: usize| {
            let bit = first + at * self.width;
            let rest = &self.bytes[bit / 8..];
            // Whatever follows the number is cut off.
            let bytes = rest.first_chunk().copied().unwrap_or_else(|| {
                let mut last = [0; 8];
                last[..rest.len()].copy_from_slice(rest);
                last
            });
            (u64::from_le_bytes(bytes) >> (bit % 8) & mask) as u32
        };
        out.extend((0..count).map(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn all(bytes: &[u8], width: usize, most: usize) -> Result<Vec<u32>, ParquetError> {
        let mut numbers = Hybrid::new(Bytes::copy_from_slice(bytes), width)?;
        let mut out = vec![];
        while out.len() < most {
            let (_, left) = numbers.run()?;
            numbers.take(left.min(most - out.len()), &mut out);
        }
        Ok(out)
    }

    /// The example of the format's own page: the numbers 0 to 7 in three bits each.
    #[test]
    fn runs_and_packed_numbers_are_read() {
        assert_eq!(all(&[0x03, 0x88, 0xc6, 0xfa], 3, 8).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
        // Nothing of none, 300 times one of two bytes, and eight of nine bits.
        let mut bytes = vec![0x00, 0x00, 0x00, 0xd8, 0x04, 0x01, 0x01, 0x03];
        bytes.extend([0xff, 0x01, 0, 0, 0, 0, 0, 0, 0x80]);
        let read = all(&bytes, 9, 308).unwrap();
        assert_eq!(read[..300], [257; 300]);
        assert_eq!(read[300..], [511, 0, 0, 0, 0, 0, 0, 256]);
        assert_eq!(all(&[0x0c], 0, 6).unwrap(), [0; 6]);
        let mut some = Hybrid::new(Bytes::from(bytes), 9).unwrap();
        some.skip(299).unwrap();
        assert_eq!(some.run().unwrap(), (Some(257), 1));
        some.skip(2).unwrap();
        let mut out = vec![];
        some.take(2, &mut out);
        some.skip(4).unwrap();
        some.take(1, &mut out);
        assert_eq!(out, [0, 0, 256]);
    }

    #[test]
    fn numbers_of_every_width_are_read_in_whatever_pieces() {
        let mut rng = StdRng::seed_from_u64(7);
        for width in 1..=WIDTH_MAX {
            let numbers: Vec<u32> = (0..400).map(|_| rng.random::<u32>() >> (32 - width)).collect();
            let mut bytes = vec![0; 400 * width / 8];
            for bit in (0..400 * width).filter(|bit| numbers[bit / width] >> (bit % width) & 1 == 1) {
                bytes[bit / 8] |= 1 << (bit % 8);
            }
            // Fifty groups of eight.
            let mut packed = Hybrid::new([&[50 << 1 | 1][..], &bytes].concat().into(), width).unwrap();
            let (mut read, mut expected, mut at): (Vec<u32>, Vec<u32>, usize) = (vec![], vec![], 0);
            while at < 400 {
                let (skipped, taken) = (rng.random_range(0..9), rng.random_range(0..60));
                let skipped = skipped.min(400 - at);
                let taken = taken.min(400 - at - skipped);
                packed.skip(skipped).unwrap();
                if taken > 0 {
                    assert_eq!(packed.run().unwrap(), (None, 400 - at - skipped));
                    packed.take(taken, &mut read);
                }
                expected.extend(&numbers[at + skipped..at + skipped + taken]);
                at += skipped + taken;
            }
            assert_eq!(read, expected, "{width}");
        }
    }

    #[test]
    fn what_is_cut_short_is_told() {
        for (bytes, width) in [
            (&[][..], 3),
            (&[0x80], 3),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0x01], 3),
            (&[0xff, 0xff, 0xff, 0xff, 0x7f], 3),
            (&[0x03, 0x88, 0xc6], 3),
            (&[0x02], 9),
        ] {
            assert!(all(bytes, width, 8).is_err(), "{bytes:?}");
        }
        assert!(Hybrid::new(Bytes::new(), 33).is_err());
    }
}
