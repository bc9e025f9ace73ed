//! What a text between the quotes of JSON says, as Loki's reader (`jsonparser`) has it. Who reads a line and who reads the columns that a line
//! was taken apart into must say the same.

/// `None` where an escape is none.
pub fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'u' => {
                let (c, used) = unicode(rest)?;
                out.push(c);
                rest = &rest[used..];
            }
            '"' | '\\' | '/' => out.push(c),
            _ => return None,
        }
    }
    out.push_str(rest);
    Some(out)
}

/// The character of `XXXX`, or of `XXXX\uXXXX` where it is a surrogate pair, and the bytes that it took. Half a pair is no
/// escape at all; of a whole one the second half may be past those that there are, and what stands before its digits is not looked at.
fn unicode(text: &str) -> Option<(char, usize)> {
    let first = hex(text, 0)?;
    if !(0xd800..0xe000).contains(&first) {
        return Some((char::from_u32(first)?, 4));
    }
    let code = 0x10000 + ((first - 0xd800) << 10) + hex(text, 6)?.checked_sub(0xdc00)?;
    Some((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 10))
}

/// What the four hexadecimal digits from there on are.
pub fn hex(text: &str, from: usize) -> Option<u32> {
    let digits = text.get(from..from + 4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_as_loki_reads_them() {
        for (text, said) in [
            (r#"a\"b\\c\/d\b\f\n\r\t"#, Some("a\"b\\c/d\u{8}\u{c}\n\r\t")),
            (r"\u00e9\u0000", Some("é\0")),
            (r"\ud83d\ude00!", Some("😀!")),
            (r"\ud83d\uffff", Some("\u{217ff}")),
            (r"\ud83d--de00", Some("😀")),
            (r"\ud83d", None),
            (r"\ud83d\u0041", None),
            (r"\udc00x", None),
            (r"\u00g0", None),
            (r"\x", None),
            (r"\'", None),
            ("\\", None),
        ] {
            assert_eq!(unescaped(text).as_deref(), said, "{text}");
        }
    }
}
