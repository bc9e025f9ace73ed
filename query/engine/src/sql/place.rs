//! Where in a statement a mistake is: what DataFusion knows of it, written as its parser writes it, and a guess from the
//! error's own words where it knows nothing.

/// Line and column, counted from 1.
pub type Place = (usize, usize);

/// The text with the place behind its first line; what follows are suggestions.
pub fn put(text: &str, place: Option<Place>) -> String {
    let Some((line, column)) = place else { return text.to_owned() };
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let first = first.trim_end_matches('.');
    let rest = if rest.is_empty() { String::new() } else { format!("\n{rest}") };
    format!("{first} at Line: {line}, Column: {column}{rest}")
}

/// The place that an error's text tells.
pub fn of(text: &str) -> Option<Place> {
    let (_, after) = text.split_once(" at Line: ")?;
    let (line, after) = after.split_once(", Column: ")?;
    let column = after.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

/// The text with a place: its own, or where what it names stands in the statement.
pub fn told(text: String, query: &str) -> String {
    if of(&text).is_some() {
        return text;
    }
    let found = named(&text).and_then(|name| match name {
        "EOF" => Some(query.trim_end().len()),
        name => word(query, name),
    });
    put(&text, found.map(|offset| place(query, offset)))
}

/// What the error is about, in the wordings of DataFusion and its parser.
fn named(text: &str) -> Option<&str> {
    let first = text.lines().next()?;
    for (before, after) in
        [("found: ", ""), ("No field named ", ". "), ("Invalid function '", "'"), ("table function '", "'")]
    {
        if let Some((_, rest)) = first.split_once(before) {
            let name = if after.is_empty() { rest } else { rest.split(after).next()? };
            return Some(name.trim_end_matches('.').trim());
        }
    }
    None
}

/// The offset of a word that stands alone.
fn word(query: &str, name: &str) -> Option<usize> {
    if name.is_empty() {
        return None;
    }
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let (query_lower, name) = (query.to_ascii_lowercase(), name.to_ascii_lowercase());
    let mut all = query_lower.match_indices(&name);
    all.find(|(at, _)| {
        let starts = name.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let ends = name.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let goes_on_before = starts && part(query_lower[..*at].chars().next_back());
        let goes_on_after = ends && part(query_lower[at + name.len()..].chars().next());
        !goes_on_before && !goes_on_after
    })
    .map(|(at, _)| at)
}

fn place(text: &str, offset: usize) -> Place {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.bytes().filter(|b| *b == b'\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The place as a count of characters from 1, which is how PostgreSQL tells it.
pub fn position(query: &str, (line, column): Place) -> Option<usize> {
    let before: usize =
        query.split('\n').take(line.checked_sub(1)?).map(|line| line.chars().count() + 1).sum();
    let position = before + column;
    (position <= query.chars().count() + 1).then_some(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_have_a_place() {
        for (text, query, expected) in [
            ("Expected: an expression, found: EOF", "select 1\nwhere ", (2, 6)),
            ("Expected: an SQL statement, found: selec", "selec 1", (1, 1)),
            (
                "No field named nope. Did you mean 'node'?\nValid fields are a, b",
                "select a from b\nhaving nope > 1",
                (2, 8),
            ),
            ("Invalid function 'foo'.\nDid you mean 'cos'?", "select food, foo(1)", (1, 14)),
            ("x at Line: 3, Column: 4", "select", (3, 4)),
        ] {
            let told = told(text.to_owned(), query);
            assert_eq!(of(&told), Some(expected), "{told}");
        }
        assert_eq!(told("no more memory".into(), "select 1"), "no more memory");
        assert_eq!(put("a.\nb", Some((1, 2))), "a at Line: 1, Column: 2\nb");
        assert_eq!(position("ab\ncd", (2, 1)), Some(4));
        assert_eq!(position("ab", (1, 9)), None);
    }
}
