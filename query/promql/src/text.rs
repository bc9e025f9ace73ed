//! Strings as Go keeps and prints them. A string of a query may hold bytes that are no UTF-8 (`"\xc5"`); such a byte is
//! carried as a character of the last private plane, so that names with it can be refused in Prometheus' words.

/// Byte `b` that is no UTF-8 is the character `RAW + b`.
const RAW: u32 = 0x10_FE00;

pub(crate) fn raw_byte(byte: u8) -> char {
    char::from_u32(RAW + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn byte_of(c: char) -> Option<u8> {
    u32::from(c).checked_sub(RAW).and_then(|byte| u8::try_from(byte).ok())
}

/// Whether a string of a query is UTF-8 throughout.
pub fn is_utf8(text: &str) -> bool {
    text.chars().all(|c| byte_of(c).is_none())
}

/// In quotes, escaped as Go's `%q` does.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            c if byte_of(c).is_some() => {
                out.push_str(&format!("\\x{:02x}", byte_of(c).unwrap_or_default()));
            }
            c if (c as u32) < 0x20 || c == '\x7f' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
