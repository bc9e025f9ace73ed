//! A line of text cut into what lines of its kind share and what differs: numbers, words, ids and times between
//! delimiters. What kinds of token follow one another, and the delimiters, are the line's *skeleton*.

use super::stamps::Stamp;

/// A token that may differ from line to line. Numbers and ids give their text back by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Up to 17 digits.
    Number,
    /// Letters, and those that follow with a space, `-`, `.`, `_` or `/` between; or letters and digits mixed.
    Word,
    /// So many lower-case hex digits, an even number of at least 16.
    Hex(u8),
    /// 8-4-4-4-12 lower-case hex digits.
    Uuid,
    Stamp(Stamp),
    /// All from the first line break on.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

/// Longer numbers do not fit what they are counted with; see [`number`].
const NUMBER_DIGITS_MAX: usize = 17;
const HEX_DIGITS_MIN: usize = 16;
const HEX_DIGITS_MAX: usize = 128;
const UUID_BYTES: usize = 36;
/// Lines of more tokens, or longer ones, are not cut: they would each be a kind of their own.
const TOKENS_MAX: usize = 128;
const LINE_BYTES_MAX: usize = 64 << 10;

const NUMBER: u8 = 0x80;
const WORD: u8 = 0x81;
const HEX: u8 = 0x82;
const UUID: u8 = 0x83;
const STAMP: u8 = 0x84;
const REST: u8 = 0x85;

/// Cuts lines; what it holds is used for the next one again.
#[derive(Default)]
pub struct Cutter {
    pub tokens: Vec<Token>,
    /// Delimiters as they are, tokens as codes above ASCII.
    pub skeleton: Vec<u8>,
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 0x80
}

fn is_run(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn run_end(bytes: &[u8], at: usize, is: impl Fn(u8) -> bool) -> usize {
    at + bytes[at..].iter().take_while(|byte| is(**byte)).count()
}

impl Cutter {
    /// Whether the line could be cut.
    pub fn cut(&mut self, line: &str) -> bool {
        self.tokens.clear();
        self.skeleton.clear();
        let bytes = line.as_bytes();
        if bytes.is_empty() || bytes.len() > LINE_BYTES_MAX {
            return false;
        }
        let mut at = 0;
        while at < bytes.len() {
            if self.tokens.len() >= TOKENS_MAX {
                return false;
            }
            let byte = bytes[at];
            at = if byte == b'\n' {
                self.push(Kind::Rest, at, bytes.len())
            } else if is_run(byte) {
                self.run(bytes, at)
            } else {
                self.skeleton.push(byte);
                at + 1
            };
        }
        true
    }

    /// The place behind the token, which is pushed.
    fn push(&mut self, kind: Kind, start: usize, end: usize) -> usize {
        match kind {
            Kind::Number => self.skeleton.push(NUMBER),
            Kind::Word => self.skeleton.push(WORD),
            Kind::Hex(digits) => self.skeleton.extend_from_slice(&[HEX, digits]),
            Kind::Uuid => self.skeleton.push(UUID),
            Kind::Stamp(stamp) => {
                self.skeleton.push(STAMP);
                self.skeleton.extend_from_slice(&stamp.code());
            }
            Kind::Rest => self.skeleton.push(REST),
        }
        self.tokens.push(Token { kind, start, end });
        end
    }

    /// A run of letters and digits, of which `at` is the first.
    fn run(&mut self, bytes: &[u8], at: usize) -> usize {
        if at == 0
            && bytes[0].is_ascii_uppercase()
            && let Some((stamp, length)) = Stamp::at_start(&bytes[1..]).filter(|(stamp, _)| stamp.is_klog())
        {
            self.push(Kind::Word, 0, 1);
            return self.push(Kind::Stamp(stamp), 1, 1 + length);
        }
        if let Some((stamp, length)) = Stamp::at_start(&bytes[at..]).filter(|(stamp, _)| !stamp.is_klog()) {
            return self.push(Kind::Stamp(stamp), at, at + length);
        }
        let end = run_end(bytes, at, is_run);
        if run_end(&bytes[..end], at, is_hex) == end {
            let length = end - at;
            if length == 8 && is_uuid(&bytes[at..]) {
                return self.push(Kind::Uuid, at, at + UUID_BYTES);
            }
            if length.is_multiple_of(2) && (HEX_DIGITS_MIN..=HEX_DIGITS_MAX).contains(&length) {
                return self.push(Kind::Hex(length as u8), at, end);
            }
        }
        let letters = run_end(&bytes[..end], at, is_letter);
        if letters == end {
            return self.push(Kind::Word, at, phrase_end(bytes, end));
        }
        let digits = run_end(&bytes[..end], letters, |byte| byte.is_ascii_digit());
        if digits == end && end - letters <= NUMBER_DIGITS_MAX {
            if letters > at {
                self.push(Kind::Word, at, letters);
            }
            return self.push(Kind::Number, letters, end);
        }
        // `30000ms`
        if letters == at
            && digits - at <= NUMBER_DIGITS_MAX
            && run_end(&bytes[..end], digits, is_letter) == end
        {
            self.push(Kind::Number, at, digits);
            return self.push(Kind::Word, digits, end);
        }
        self.push(Kind::Word, at, end)
    }
}

/// The end of the words that follow one another, the first of which ends at `end`.
fn phrase_end(bytes: &[u8], mut end: usize) -> usize {
    while let Some(b' ' | b'-' | b'.' | b'_' | b'/') = bytes.get(end)
        && bytes.get(end + 1).is_some_and(|byte| is_letter(*byte))
    {
        let next = run_end(bytes, end + 1, is_run);
        let is_id = next - end > HEX_DIGITS_MIN && run_end(&bytes[..next], end + 1, is_hex) == next;
        if is_id
            || run_end(&bytes[..next], end + 1, is_letter) != next
            || Stamp::at_start(&bytes[end + 1..]).is_some()
        {
            break;
        }
        end = next;
    }
    end
}

fn is_uuid(bytes: &[u8]) -> bool {
    let Some(uuid) = bytes.get(..UUID_BYTES) else { return false };
    let is_fine = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => is_hex(*byte),
    };
    uuid.iter().enumerate().all(is_fine) && !bytes.get(UUID_BYTES).is_some_and(|byte| is_run(*byte))
}

/// What a skeleton consists of.
pub enum Piece {
    Delimiters(Vec<u8>),
    Token(Kind),
}

/// `None` for bytes that are no skeleton.
pub fn pieces(mut skeleton: &[u8]) -> Option<Vec<Piece>> {
    let mut pieces = vec![];
    while let [code, rest @ ..] = skeleton {
        let (kind, rest) = match (code, rest) {
            (&NUMBER, rest) => (Kind::Number, rest),
            (&WORD, rest) => (Kind::Word, rest),
            (&UUID, rest) => (Kind::Uuid, rest),
            (&REST, rest) => (Kind::Rest, rest),
            (&HEX, [digits, rest @ ..]) if digits.is_multiple_of(2) => (Kind::Hex(*digits), rest),
            (&STAMP, [form, digits, point, rest @ ..]) => {
                (Kind::Stamp(Stamp::of_code([*form, *digits, *point])?), rest)
            }
            (delimiter, rest) if delimiter.is_ascii() => {
                match pieces.last_mut() {
                    Some(Piece::Delimiters(text)) => text.push(*delimiter),
                    _ => pieces.push(Piece::Delimiters(vec![*delimiter])),
                }
                skeleton = rest;
                continue;
            }
            _ => return None,
        };
        pieces.push(Piece::Token(kind));
        skeleton = rest;
    }
    Some(pieces)
}

/// Digits as a number that tells `7` from `07`: all texts of one digit first, then those of two, and so on.
pub fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit + 1)
    })
}

/// The digits again.
pub fn write_number(mut number: u64, out: &mut Vec<u8>) {
    // The largest number has twenty digits.
    let (mut digits, mut start) = ([0; 20], 20);
    while number > 0 && start > 0 {
        number -= 1;
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(line: &str) -> String {
        let mut cutter = Cutter::default();
        assert!(cutter.cut(line), "{line}");
        let shown = cutter.tokens.iter().map(|token| {
            let kind = match token.kind {
                Kind::Number => "n",
                Kind::Word => "w",
                Kind::Hex(_) => "x",
                Kind::Uuid => "u",
                Kind::Stamp(_) => "t",
                Kind::Rest => "r",
            };
            format!("{kind}:{}", &line[token.start..token.end])
        });
        shown.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn lines_are_cut_at_what_differs() {
        for (line, expected) in [
            (
                "I1101 00:00:00.405000    3589 a.go:629] \"x\"",
                "w:I|t:1101 00:00:00.405000|n:3589|w:a.go|n:629|w:x",
            ),
            (
                "10.0.7.1 - [01/Nov/2026:00:00:00 +0000] \"GET /v1/x HTTP/1.1\" 0.041",
                "n:10|n:0|n:7|n:1|t:01/Nov/2026:00:00:00|n:0000|w:GET|w:v|n:1|w:x HTTP|n:1|n:1|n:0|n:041",
            ),
            (
                "payment declined by provider after 30000ms",
                "w:payment declined by provider after|n:30000|w:ms",
            ),
            (
                "id=28c944f8049d4b8c71a52e05d269bdb8 550e8400-e29b-41d4-a716-446655440000!",
                "w:id|x:28c944f8049d4b8c71a52e05d269bdb8|u:550e8400-e29b-41d4-a716-446655440000",
            ),
            ("ä8b4ae5f1 ü", "w:ä8b4ae5f1|w:ü"),
            ("x\n\tat y", "w:x|r:\n\tat y"),
            ("at Nov  1 00:00:01 host", "w:at|t:Nov  1 00:00:01|w:host"),
            ("123456789012345678", "x:123456789012345678"),
            ("[]", ""),
        ] {
            assert_eq!(cut(line), expected);
        }
        let mut cutter = Cutter::default();
        assert!(
            !cutter.cut("") && !cutter.cut(&"1 ".repeat(TOKENS_MAX + 1)) && !cutter.cut(&"x".repeat(70_000))
        );
    }

    #[test]
    fn numbers_keep_their_zeros() {
        for digits in ["0", "9", "00", "07", "10", "99999999999999999", "00000000000000000"] {
            let mut again = vec![];
            write_number(number(digits.as_bytes()).unwrap(), &mut again);
            assert_eq!(again, digits.as_bytes());
        }
        assert_eq!((number(b"9"), number(b"00"), number(b"1x")), (Some(10), Some(11), None));
    }
}
