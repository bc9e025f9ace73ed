//! Values as `print`, `html` and `js` write them.

use super::printf::is_printable;
use super::value::Item;

/// Everything one after the other, with a blank between two of which neither is a string.
pub(super) fn print(items: &[Item]) -> String {
    let mut out = String::new();
    for (at, item) in items.iter().enumerate() {
        let is_text = |item: &Item| matches!(item, Item::Text(_));
        if at > 0 && !is_text(item) && !is_text(&items[at - 1]) {
            out.push(' ');
        }
        out.push_str(&item.inside());
    }
    out
}

pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

pub(super) fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => {
                out.push('\\');
                out.push(c);
            }
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if c < ' ' || !c.is_ascii() && !is_printable(c) => {
                out.push_str(&format!("\\u{:04X}", c as u32))
            }
            other => out.push(other),
        }
    }
    out
}
