//! `<ip> - <_> "<method> <path>"`: literals and captures in turn.

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    /// `None` for `<_>`.
    Capture(Option<String>),
}

#[derive(Clone, Debug)]
pub struct LinePattern {
    text: String,
    parts: Vec<Part>,
}

impl LinePattern {
    /// For `| pattern`: at least one named capture.
    pub(crate) fn for_parser(text: &str) -> Result<LinePattern, String> {
        let pattern = LinePattern::parse(text)?;
        let mut names: Vec<&str> = pattern.names().collect();
        if names.is_empty() {
            return Err(format!("pattern {text:?}: at least one capture is required, as <status>"));
        }
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("pattern {text:?}: duplicate capture name <{}>", pair[0]));
        }
        Ok(pattern)
    }

    /// For `|>`: only `<_>`.
    pub(crate) fn for_filter(text: &str) -> Result<LinePattern, String> {
        let pattern = LinePattern::parse(text)?;
        let named = pattern.names().next().map(str::to_owned);
        match named {
            Some(name) => {
                Err(format!("pattern {text:?}: named captures are not allowed, write <_> for <{name}>"))
            }
            None => Ok(pattern),
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Capture(Some(name)) => Some(name.as_str()),
            _ => None,
        })
    }

    fn parse(text: &str) -> Result<LinePattern, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let name = rest.strip_prefix('<').and_then(|inner| {
                let end = inner.find('>')?;
                let name = &inner[..end];
                let valid = !name.is_empty()
                    && !name.starts_with(|c: char| c.is_ascii_digit())
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                valid.then_some(name)
            });
            match name {
                Some(name) => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    if matches!(parts.last(), Some(Part::Capture(_))) {
                        return Err(format!("pattern {text:?}: two captures need a literal between them"));
                    }
                    parts.push(Part::Capture((name != "_").then(|| name.to_owned())));
                    rest = &rest[name.len() + 2..];
                }
                None => {
                    literal.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(LinePattern { text: text.to_owned(), parts })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A capture ends at the first place where the literal after it stands; where that is nowhere it takes the rest.
    pub(crate) fn captures(&self, line: &str, found: &mut dyn FnMut(&str, &str)) {
        let mut rest = line;
        let mut parts = self.parts.as_slice();
        if let Some((Part::Literal(literal), after)) = parts.split_first() {
            match rest.strip_prefix(literal.as_str()) {
                Some(tail) => rest = tail,
                None => return,
            }
            parts = after;
        }
        while let Some((Part::Capture(name), after)) = parts.split_first() {
            let (value, tail, ends) = match after.first() {
                Some(Part::Literal(literal)) => match rest.find(literal.as_str()) {
                    Some(at) => (&rest[..at], &rest[at + literal.len()..], false),
                    None => (rest, "", true),
                },
                _ => (rest, "", true),
            };
            if let Some(name) = name {
                found(name, value);
            }
            if ends {
                return;
            }
            rest = tail;
            parts = &after[1..];
        }
    }

    /// Whether the whole line is the pattern, `<_>` standing for one or more characters.
    pub(crate) fn matches(&self, line: &str) -> bool {
        let mut rest = line;
        let mut gap = false;
        for part in &self.parts {
            match part {
                Part::Capture(_) => gap = true,
                Part::Literal(literal) if gap => {
                    let Some(first) = rest.chars().next() else { return false };
                    let from = first.len_utf8();
                    match rest[from..].find(literal.as_str()) {
                        Some(at) => rest = &rest[from + at + literal.len()..],
                        None => return false,
                    }
                    gap = false;
                }
                Part::Literal(literal) => match rest.strip_prefix(literal.as_str()) {
                    Some(tail) => rest = tail,
                    None => return false,
                },
            }
        }
        gap != rest.is_empty()
    }
}
