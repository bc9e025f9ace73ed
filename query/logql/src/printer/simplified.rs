//! Which regexes of label filters Loki keeps as such. One that comes down to texts to look for is printed in double quotes, any
//! other in backquotes; nothing else hangs on it.
//!
//! A regex is read as Go reads it, which takes what alternatives have alike before them: `foo|bar|baz` is `foo|ba[rz]`, and a
//! class is no text.

/// Deeper ones are taken for regexes.
const DEPTH_MAX: usize = 20;

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(Vec<char>),
    /// A text in a group, to which no text beside it is joined.
    Group(Vec<char>),
    /// `.*`
    Anything,
    /// `.+`
    Something,
    Nothing,
    Concat(Vec<Part>),
    Either(Vec<Part>),
    /// What comes down to nothing simpler.
    Other,
}

pub(super) fn stays_a_regex(regex: &str) -> bool {
    let body = regex.strip_prefix("(?i)").unwrap_or(regex);
    let mut reader = Reader { rest: body, depth: 0 };
    match reader.either() {
        Some(part) if reader.rest.is_empty() => !comes_down_to_texts(&part),
        _ => true,
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    /// `None` where there is more than the parts tell.
    fn either(&mut self) -> Option<Part> {
        let mut parts = vec![self.concat()?];
        while let Some(rest) = self.rest.strip_prefix('|') {
            self.rest = rest;
            parts.push(self.concat()?);
        }
        Some(factored(parts))
    }

    fn concat(&mut self) -> Option<Part> {
        let mut parts: Vec<Part> = vec![];
        while let Some(c) = self.rest.chars().next().filter(|c| !matches!(c, '|' | ')')) {
            let part = self.one(c)?;
            match (parts.last_mut(), part) {
                (Some(Part::Text(text)), Part::Text(more)) => text.extend(more),
                (_, part) => parts.push(part),
            }
        }
        Some(match parts.len() {
            0 => Part::Nothing,
            1 => parts.remove(0),
            _ => Part::Concat(parts),
        })
    }

    fn one(&mut self, c: char) -> Option<Part> {
        self.rest = &self.rest[c.len_utf8()..];
        let part = match c {
            '.' if self.take("*") => Part::Anything,
            '.' if self.take("+") => Part::Something,
            '.' => Part::Other,
            '(' => {
                let is_group = !self.take("?:");
                if is_group && (self.take("?P<") || self.take("?<")) {
                    self.rest = self.rest.split_once('>')?.1;
                }
                self.depth += 1;
                if self.rest.starts_with('?') || self.depth > DEPTH_MAX {
                    return None;
                }
                let part = self.either()?;
                self.depth -= 1;
                if !self.take(")") {
                    return None;
                }
                match part {
                    Part::Text(text) if is_group => Part::Group(text),
                    part => part,
                }
            }
            '\\' => {
                let escaped = self.rest.chars().next()?;
                self.rest = &self.rest[escaped.len_utf8()..];
                Part::Text(vec![match escaped {
                    'a' => '\u{7}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\u{b}',
                    'x' => self.hexadecimal()?,
                    other if other.is_ascii_alphanumeric() => return None,
                    other => other,
                }])
            }
            '[' | '*' | '+' | '?' | '{' | '^' | '$' => return None,
            other => Part::Text(vec![other]),
        };
        let is_repeated = self.rest.starts_with(['*', '+', '?', '{']);
        (!is_repeated).then_some(part)
    }

    /// Two digits; what is in braces stays as it is.
    fn hexadecimal(&mut self) -> Option<char> {
        let (digits, rest) = self.rest.split_at_checked(2)?;
        self.rest = rest;
        u8::from_str_radix(digits, 16).ok().map(char::from)
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

/// Alternatives with what neighbours have alike at their beginning taken before them, and of single letters a class made.
fn factored(parts: Vec<Part>) -> Part {
    let mut out: Vec<Part> = vec![];
    let mut at = 0;
    while at < parts.len() {
        let (mut alike, mut end) = (beginning(&parts[at]), at + 1);
        while end < parts.len() {
            let same = alike.iter().zip(beginning(&parts[end])).take_while(|(a, b)| a == b).count();
            if same == 0 {
                break;
            }
            alike = &alike[..same];
            end += 1;
        }
        match &parts[at..end] {
            [alone] => out.push(alone.clone()),
            together => {
                let rests = together.iter().map(|part| without(part, alike.len())).collect();
                out.push(Part::Concat(vec![Part::Text(alike.to_vec()), factored(rests)]));
            }
        }
        at = end;
    }
    let is_letter = |part: &Part| matches!(part, Part::Text(text) if text.len() == 1);
    let mut classed: Vec<Part> = vec![];
    for run in out.chunk_by(|a, b| is_letter(a) && is_letter(b)) {
        match run {
            [_, _, ..] => classed.push(Part::Other),
            _ => classed.extend_from_slice(run),
        }
    }
    classed.dedup_by(|a, b| *a == Part::Nothing && *b == Part::Nothing);
    if classed.len() == 1 { classed.remove(0) } else { Part::Either(classed) }
}

fn beginning(part: &Part) -> &[char] {
    match part {
        Part::Text(text) => text,
        Part::Concat(parts) => parts.first().map_or(&[], beginning),
        _ => &[],
    }
}

/// A part without so many letters of its beginning.
fn without(part: &Part, letters: usize) -> Part {
    match part {
        Part::Text(text) if text.len() > letters => Part::Text(text[letters..].to_vec()),
        Part::Text(_) => Part::Nothing,
        Part::Concat(parts) => {
            let mut rest: Vec<Part> =
                [without(&parts[0], letters)].into_iter().chain(parts[1..].to_vec()).collect();
            rest.retain(|part| *part != Part::Nothing);
            if rest.len() == 1 { rest.remove(0) } else { Part::Concat(rest) }
        }
        other => other.clone(),
    }
}

fn comes_down_to_texts(part: &Part) -> bool {
    match part {
        Part::Text(_) | Part::Group(_) | Part::Anything | Part::Something | Part::Nothing => true,
        Part::Either(parts) => parts.iter().all(comes_down_to_texts),
        Part::Concat(parts) => is_text_in_anything(parts, false),
        Part::Other => false,
    }
}

/// One text at most, and either alternatives that follow it or anything around it.
fn is_text_in_anything(parts: &[Part], has_text: bool) -> bool {
    let parts: Vec<&Part> = parts.iter().filter(|part| **part != Part::Nothing).collect();
    let (mut has_own, mut has_alternatives) = (false, false);
    let fits = |one: &Part| match one {
        Part::Nothing | Part::Text(_) | Part::Group(_) | Part::Anything => true,
        Part::Concat(parts) => is_text_in_anything(parts, true),
        _ => false,
    };
    for part in &parts {
        match part {
            Part::Text(_) | Part::Group(_) if !has_own => has_own = true,
            Part::Anything => {}
            Part::Either(either) if (has_text || has_own) && either.iter().all(fits) => {
                has_alternatives = true;
            }
            _ => return false,
        }
    }
    parts.len() <= 3 && (has_alternatives || has_text || has_own)
}

#[cfg(test)]
mod tests {
    use super::stays_a_regex;

    #[test]
    fn texts_are_told_from_regexes() {
        let texts = ["error", "error|warn", "(?i)error", ".*foo.*", ".+", ".*", "foo.*", "a\\.b", "(a1|b2)"];
        for text in texts.into_iter().chain(["foo|foobar", "", "(?P<x>a)", "two\\nlines", "\\x41", "(foo).*"])
        {
            assert!(!stays_a_regex(text), "{text}");
        }
        let regexes = ["5..", "[45].*", "^a$", "foo|bar|baz", "a.+", ".*a.*b.*", "a|b", "\\d+", "a{2}", "(a"];
        for regex in regexes.into_iter().chain(["ab*", "(foo)bar", "foo|(foo)bar", "\\x{41}"]) {
            assert!(stays_a_regex(regex), "{regex}");
        }
    }
}
