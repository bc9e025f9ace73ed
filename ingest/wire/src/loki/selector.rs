//! `{app="web", pod="a\"b"}`: how Loki's protobuf carries the labels of a stream.

/// Names and values as written.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let wrong = |rest: &str, what: &str| {
        Err(format!(
            "labels {text:?} are not {{name=\"value\", …}}: {what} at byte {}",
            text.len() - rest.len()
        ))
    };
    let mut pairs = vec![];
    let Some(mut rest) = text.trim().strip_prefix('{').map(str::trim_start) else {
        return wrong(text, "no opening brace");
    };
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return if after.trim().is_empty() {
                Ok(pairs)
            } else {
                wrong(after, "more after the closing brace")
            };
        }
        let Some((name, after)) = rest.split_once('=') else { return wrong(rest, "no name and =") };
        let Some((value, after)) = quoted(after.trim_start()) else { return wrong(after, "no quoted value") };
        pairs.push((name.trim().to_owned(), value));
        let after = after.trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        if rest.len() == after.len() && !rest.starts_with('}') {
            return wrong(rest, "neither a comma nor the closing brace");
        }
    }
}

/// A string in Go's notation, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        return raw.split_once('`').map(|(value, rest)| (value.to_owned(), rest));
    }
    let mut value = String::new();
    let mut chars = text.strip_prefix('"')?.char_indices();
    let body = &text[1..];
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &body[at + 1..])),
            '\\' => value.push(escaped(&mut chars)?),
            other => value.push(other),
        }
    }
    None
}

/// What follows a backslash.
fn escaped(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    let (_, letter) = chars.next()?;
    let mut number = |digits: usize, first: u32, radix: u32| {
        let rest =
            (0..digits).try_fold(first, |code, _| Some(code * radix + chars.next()?.1.to_digit(radix)?));
        rest.and_then(char::from_u32)
    };
    match letter {
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        'a' => Some('\x07'),
        'b' => Some('\x08'),
        'f' => Some('\x0c'),
        'v' => Some('\x0b'),
        'x' => number(2, 0, 16),
        'u' => number(4, 0, 16),
        'U' => number(8, 0, 16),
        '0'..='7' => number(2, letter.to_digit(8)?, 8),
        '"' | '\\' | '\'' => Some(letter),
        _ => None,
    }
}
