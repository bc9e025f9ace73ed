//! Where a number ends and what is wrong with it, as the scanner of Go's sources has it, which Loki reads queries with. Whether it is
//! one to `ParseFloat` is another matter: binary, octal and hexadecimal ones without an exponent are not.

/// The bytes of the number that the text begins with, and why it is none.
pub(super) fn number_ahead(text: &str) -> (usize, Option<String>) {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, digit_past_base: None, fault: None };
    scan.number();
    let is_apart = |at: usize| {
        let next_to = |at: Option<usize>| at.and_then(|at| text.as_bytes().get(at)).copied().unwrap_or(b'.');
        // A prefix of a base counts as a digit.
        let before = next_to(at.checked_sub(1)).is_ascii_alphanumeric();
        before && next_to(Some(at + 1)).is_ascii_hexdigit() && at + 1 < scan.at
    };
    if !text[..scan.at].match_indices('_').all(|(at, _)| is_apart(at)) {
        scan.fault.get_or_insert("'_' must separate successive digits".to_owned());
    }
    (scan.at, scan.fault)
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    digit_past_base: Option<char>,
    fault: Option<String>,
}

impl Scan<'_> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(b' ').to_ascii_lowercase()
    }

    fn number(&mut self) {
        let (base, name, prefix) = match (self.peek(), self.bytes.get(1).map(u8::to_ascii_lowercase)) {
            (b'0', Some(b'x')) => (16, "hexadecimal", 2),
            (b'0', Some(b'o')) => (8, "octal", 2),
            (b'0', Some(b'b')) => (2, "binary", 2),
            (b'0', _) => (8, "octal", 1),
            _ => (10, "decimal", 0),
        };
        self.at = prefix;
        // The zero that an octal number begins with is a digit of it.
        let mut has_digits = self.digits(base) || prefix == 1;
        let mut is_whole = true;
        if self.peek() == b'.' {
            self.at += 1;
            is_whole = false;
            if prefix == 2 && base < 16 {
                self.note(format!("invalid radix point in {name} literal"));
            }
            has_digits |= self.digits(base);
        }
        if !has_digits {
            self.note(format!("{name} literal has no digits"));
        }
        is_whole &= !self.exponent(base, prefix);
        if base == 16 && !is_whole && !self.bytes[..self.at].iter().any(|byte| matches!(byte, b'p' | b'P')) {
            self.note("hexadecimal mantissa requires a 'p' exponent".to_owned());
        }
        if let (true, Some(digit)) = (is_whole, self.digit_past_base) {
            self.note(format!("invalid digit '{digit}' in {name} literal"));
        }
    }

    /// Whether there is one.
    fn exponent(&mut self, base: u8, prefix: usize) -> bool {
        let letter = self.peek();
        if !matches!(letter, b'e' | b'p') {
            return false;
        }
        let written = char::from(self.bytes[self.at]);
        if letter == b'e' && prefix == 2 {
            self.note(format!("'{written}' exponent requires decimal mantissa"));
        } else if letter == b'p' && base != 16 {
            self.note(format!("'{written}' exponent requires hexadecimal mantissa"));
        }
        self.at += 1;
        if matches!(self.peek(), b'+' | b'-') {
            self.at += 1;
        }
        if !self.digits(10) {
            self.note("exponent has no digits".to_owned());
        }
        true
    }

    /// Goes over digits, whether there are any. Those that a base under ten has not are digits still.
    fn digits(&mut self, base: u8) -> bool {
        let mut is_any = false;
        loop {
            let digit = self.peek();
            let is_digit = if base > 10 { digit.is_ascii_hexdigit() } else { digit.is_ascii_digit() };
            if !is_digit && digit != b'_' {
                return is_any;
            }
            if is_digit && base < 10 && digit >= b'0' + base {
                self.digit_past_base.get_or_insert(char::from(digit));
            }
            is_any |= is_digit;
            self.at += 1;
        }
    }

    /// The first fault is the one that is told.
    fn note(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_they_do_in_go() {
        for (text, length) in [
            ("1.5.2", 3),
            ("1..2", 2),
            (".5s", 2),
            ("1e3KB", 3),
            ("1_000)", 5),
            ("0x1_fKB", 5),
            ("0x_1", 4),
            ("0x1.8p-3", 8),
            ("09.5", 4),
            ("08e1", 4),
            ("0_1 ", 3),
            ("1e1_0", 5),
            ("5.B", 2),
            ("00B", 2),
            ("1-2", 1),
        ] {
            assert_eq!(number_ahead(text), (length, None), "{text}");
        }
        for (text, told) in [
            ("0x", "hexadecimal literal has no digits"),
            ("0b", "binary literal has no digits"),
            ("0b12", "invalid digit '2' in binary literal"),
            ("089", "invalid digit '8' in octal literal"),
            ("0o1.5", "invalid radix point in octal literal"),
            ("1e", "exponent has no digits"),
            ("5EB", "exponent has no digits"),
            ("1p3", "'p' exponent requires hexadecimal mantissa"),
            ("1P3", "'P' exponent requires hexadecimal mantissa"),
            ("0b1e3", "'e' exponent requires decimal mantissa"),
            ("0x1.8", "hexadecimal mantissa requires a 'p' exponent"),
            ("1_", "'_' must separate successive digits"),
            ("1__0", "'_' must separate successive digits"),
            ("1_.5", "'_' must separate successive digits"),
        ] {
            assert_eq!(number_ahead(text).1.as_deref(), Some(told), "{text}");
        }
    }
}
