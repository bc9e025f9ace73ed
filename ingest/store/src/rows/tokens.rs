//! Words of a log line, and what a substring says about the words of a line that holds it.
//!
//! A token is a run of ASCII letters, digits, `_` and non-ASCII characters. Three kinds: words go to the inverted
//! index, lower-cased; hex ids of 16 digits and more go to the id index; numbers and short hex are in neither, as they
//! would fill a dictionary with what occurs once. What is in no index is never taken as absent.

use std::borrow::Cow;

/// Longer words are indexed by their first bytes; a search for more looks at the line.
pub const WORD_BYTES_MAX: usize = 64;
const ID_DIGITS_MIN: usize = 16;

/// A trace id. Hex tokens past it (checksums) are noted, as a shorter one may be a part of them.
pub const LONG_ID_DIGITS: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Word,
    Id,
    Neither,
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

pub fn kind(token: &str) -> Kind {
    let hex = token.bytes().all(|b| b.is_ascii_hexdigit());
    if hex && token.len() >= ID_DIGITS_MIN {
        Kind::Id
    } else if hex && token.bytes().any(|b| b.is_ascii_digit()) {
        Kind::Neither
    } else {
        Kind::Word
    }
}

/// The tokens of a line, in order.
pub fn tokens(line: &str) -> impl Iterator<Item = &str> {
    // Splitting at single ASCII bytes keeps every piece valid UTF-8.
    line.split(|c: char| c.is_ascii() && !is_token_byte(c as u8)).filter(|token| !token.is_empty())
}

/// How a word stands in the inverted index.
pub fn indexed(word: &str) -> Cow<'_, str> {
    let mut end = word.len().min(WORD_BYTES_MAX);
    while !word.is_char_boundary(end) {
        end -= 1;
    }
    let word = &word[..end];
    if word.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(word.to_ascii_lowercase())
    } else {
        Cow::Borrowed(word)
    }
}

/// What must be in the indexes for a text to contain a string. All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Clues {
    /// Whole words, as indexed.
    pub words: Vec<String>,
    /// A word contains this: (text, word may go on before it, word may go on after it).
    pub parts: Vec<(String, bool, bool)>,
    /// Whole ids, as they stand in the line.
    pub ids: Vec<String>,
    /// Ids of [`LONG_ID_DIGITS`] digits at an edge: whole ids wherever there are no longer ones.
    pub edge_ids: Vec<String>,
}

/// Tokens that lie wholly inside the string are whole tokens of the text; those at its edges may be parts of longer
/// ones where the text may go on there.
pub fn clues(needle: &str, goes_on_before: bool, goes_on_after: bool) -> Clues {
    let mut clues = Clues::default();
    let start = needle.as_ptr() as usize;
    for token in tokens(needle) {
        let at = token.as_ptr() as usize - start;
        let open_before = goes_on_before && at == 0;
        let open_after = goes_on_after && at + token.len() == needle.len();
        let whole = !open_before && !open_after;
        match kind(token) {
            Kind::Word if whole => clues.words.push(indexed(token).into_owned()),
            // Only hex letters, such as `feed`: at an edge it may be inside an id, which no index splits.
            Kind::Word if token.bytes().all(|b| b.is_ascii_hexdigit()) => {}
            Kind::Word if token.len() <= WORD_BYTES_MAX / 2 => {
                clues.parts.push((indexed(token).into_owned(), open_before, open_after));
            }
            Kind::Id if whole => clues.ids.push(token.to_owned()),
            Kind::Id if token.len() == LONG_ID_DIGITS => clues.edge_ids.push(token.to_owned()),
            _ => {}
        }
    }
    clues
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_may_be_parts_of_longer_words() {
        let clues = |needle| clues(needle, true, true);
        let found = clues("payment timeout");
        assert_eq!(found.parts, [("payment".into(), true, false), ("timeout".into(), false, true)]);
        let found = clues(" Payment 500 0af7651916cd43dd8448eb211c80319c ");
        assert_eq!(
            (found.words, found.ids),
            (vec!["payment".into()], vec!["0af7651916cd43dd8448eb211c80319c".into()])
        );
        assert_eq!(clues("0af7651916cd43dd"), Clues::default());
        assert_eq!(clues("feed"), Clues::default());
        assert_eq!(clues(""), Clues::default());
        assert_eq!(super::clues("payment timeout", false, false).words, ["payment", "timeout"]);
        assert_eq!(super::clues("payment timeout", false, true).parts, [("timeout".into(), false, true)]);
        assert_eq!(tokens("a=b, ü-x_1").collect::<Vec<_>>(), ["a", "b", "ü", "x_1"]);
    }
}
