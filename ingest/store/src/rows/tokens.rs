//! Words of a log line, and what a substring says about the words of a line that holds it.
//!
//! A token is a run of ASCII letters, digits, `_` and non-ASCII characters. Three kinds: words go to the inverted
//! index, lower-cased; hex ids of 16 digits and more go to the id index; numbers and short hex are in neither, as they
//! would fill a dictionary with what occurs once. UUIDs, which are five tokens, go to the id index as well. What is in no
//! index is never taken as absent.

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

const TOKEN: u8 = 1;
const HEX: u8 = 2;
const DIGIT: u8 = 4;

/// What each byte can be a part of.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < classes.len() {
        let of = byte as u8;
        if of.is_ascii_alphanumeric() || of == b'_' || of >= 0x80 {
            classes[byte] |= TOKEN;
        }
        if of.is_ascii_hexdigit() {
            classes[byte] |= HEX;
        }
        if of.is_ascii_digit() {
            classes[byte] |= DIGIT;
        }
        byte += 1;
    }
    classes
};

pub fn kind(token: &str) -> Kind {
    let (all, any) = token.bytes().fold((HEX, 0), |(all, any), byte| {
        let class = CLASSES[usize::from(byte)];
        (all & class, any | class)
    });
    if all == 0 {
        Kind::Word
    } else if token.len() >= ID_DIGITS_MIN {
        Kind::Id
    } else if any & DIGIT != 0 {
        Kind::Neither
    } else {
        Kind::Word
    }
}

/// The tokens of a line, in order.
pub fn tokens(line: &str) -> impl Iterator<Item = &str> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let is_token = |byte: &u8| CLASSES[usize::from(*byte)] & TOKEN != 0;
        let bytes = line.as_bytes();
        let start = from + bytes[from..].iter().position(is_token)?;
        let length = bytes[start..].iter().position(|byte| !is_token(byte));
        from = length.map_or(bytes.len(), |length| start + length);
        // What parts tokens is ASCII, so that every one is valid UTF-8.
        line.get(start..from)
    })
}

const UUID_BYTES: usize = 36;

/// The UUIDs in a text, also those that go on before or behind: whatever stands around a string, a text that contains it has
/// the string's.
pub fn uuids(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let is_one = |at: usize, byte: u8| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    memchr::memchr_iter(b'-', bytes).filter_map(move |dash| {
        let start = dash.checked_sub(8)?;
        let uuid = bytes.get(start..start + UUID_BYTES).filter(|uuid| uuid[13] == b'-')?;
        uuid.iter()
            .enumerate()
            .all(|(at, byte)| is_one(at, *byte))
            .then(|| text.get(start..start + UUID_BYTES))?
    })
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
    /// Whole ids and UUIDs, as they stand in the line.
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
    clues.ids.extend(uuids(needle).map(str::to_owned));
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
        assert_eq!(tokens(" , ").count() + tokens("").count(), 0);
    }

    #[test]
    fn uuids_are_ids_wherever_they_stand() {
        let one = "550e8400-e29b-41d4-A716-446655440000";
        for text in
            [one.to_owned(), format!("id={one}"), format!("xff{one}ff-1"), format!("ü-{one}, 2026-11-01-x")]
        {
            assert_eq!(uuids(&text).collect::<Vec<_>>(), [one], "{text}");
            assert_eq!(clues(&text, true, true).ids, [one], "{text}");
        }
        for none in [
            &one[1..],
            &one[..35],
            "550e8400-e29b-41d4-a716_446655440000",
            "-",
            "ü50e8400-e29b-41d4-A716-44665544",
        ] {
            assert_eq!(uuids(none).next(), None, "{none}");
        }
        assert_eq!(uuids(&format!("{one}-{one}")).count(), 2);
        for (text, expected) in [
            ("feed", Kind::Word),
            ("feed1", Kind::Neither),
            ("0123456789abcdef", Kind::Id),
            ("x1", Kind::Word),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }
}
