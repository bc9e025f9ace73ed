//! Where SQL statements end: at a `;` outside of quotes and comments. As much of SQL as the prompt must know.

/// A text as it is typed or piped in.
#[derive(Debug, PartialEq)]
pub struct Split<'a> {
    /// Whole statements without their `;`.
    pub whole: Vec<&'a str>,
    /// A begun statement; empty where nothing but blanks and comments follows the last `;`.
    pub begun: &'a str,
}

pub fn split(text: &str) -> Split<'_> {
    let (mut whole, mut start, mut at) = (vec![], 0, 0);
    // Whether anything but blanks and comments was seen since the last `;`.
    let mut has_words = false;
    while let Some(next) = text[at..].chars().next() {
        let rest = &text[at..];
        let comment = if rest.starts_with("--") {
            Some(rest.find('\n').map_or(rest.len(), |end| end + 1))
        } else if rest.starts_with("/*") {
            // One that does not end is as much a begun statement as a quote is.
            let end = rest.find("*/").map(|end| end + 2);
            has_words |= end.is_none();
            Some(end.unwrap_or(rest.len()))
        } else {
            None
        };
        if let Some(length) = comment {
            at += length;
            continue;
        }
        if next == ';' {
            if has_words {
                whole.push(text[start..at].trim());
            }
            at += 1;
            (start, has_words) = (at, false);
            continue;
        }
        has_words |= !next.is_whitespace();
        at += quoted(rest).unwrap_or(next.len_utf8());
    }
    // An open quote may have run to the end of the text.
    let begun = if has_words { text[start..].trim() } else { "" };
    Split { whole, begun }
}

/// The length of the quote that a text begins with; up to the text's end where it is not closed. Doubled quotes need no
/// care: they close one and open the next.
fn quoted(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    let opening = match first {
        '\'' | '"' => &text[..1],
        '$' => dollars(text)?,
        _ => return None,
    };
    let body = &text[opening.len()..];
    Some(body.find(opening).map_or(text.len(), |end| opening.len() + end + opening.len()))
}

/// `$$` or `$tag$`; a parameter (`$1`) or a macro (`$__timeFilter(ts)`) opens nothing.
fn dollars(text: &str) -> Option<&str> {
    let end = 1 + text[1..].find('$')?;
    let tag = &text[1..end];
    let is_tag = !tag.starts_with(|c: char| c.is_ascii_digit())
        && tag.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_tag.then(|| &text[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_outside_of_quotes_and_comments() {
        for (text, whole, begun) in [
            ("", &[][..], ""),
            ("  \n;;", &[], ""),
            ("select 1", &[], "select 1"),
            ("select 1;", &["select 1"], ""),
            ("select 1; select 2 ;\n", &["select 1", "select 2"], ""),
            ("select 1; select", &["select 1"], "select"),
            ("select ';", &[], "select ';"),
            ("select 'it''s;', \"a;b\";", &["select 'it''s;', \"a;b\""], ""),
            ("select 1 -- ; not yet\n;", &["select 1 -- ; not yet"], ""),
            ("-- nothing;", &[], ""),
            ("select 1; -- done", &["select 1"], ""),
            ("/* ; */ select 1;", &["/* ; */ select 1"], ""),
            ("/* select 1;", &[], "/* select 1;"),
            ("select $$;$$, $a$;$$;$a$, $1;", &["select $$;$$, $a$;$$;$a$, $1"], ""),
            ("select '日;本', 'é'; x", &["select '日;本', 'é'"], "x"),
        ] {
            let expected = Split { whole: whole.to_vec(), begun };
            assert_eq!(split(text), expected, "{text:?}");
        }
    }
}
