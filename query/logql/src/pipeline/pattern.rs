//! `<ip> - <_> "<method> <path>"`: literals and captures in turn.

/// What Loki's reader of patterns says of an empty one.
const NOTHING: &str =
    "parse error at line 1, col 1: syntax error: unexpected $end, expecting IDENTIFIER or LITERAL";

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
        if text.is_empty() {
            return Err(NOTHING.to_owned());
        }
        let pattern = LinePattern::parse(text);
        let names: Vec<&str> = pattern.names().collect();
        if names.is_empty() {
            return Err("at least one capture is required".to_owned());
        }
        pattern.check_neighbours()?;
        let doubled = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
        if let Some((_, name)) = doubled {
            return Err(format!("duplicate capture name ({name}): invalid expression"));
        }
        Ok(pattern)
    }

    /// For `|>`: only `<_>`.
    pub(crate) fn for_filter(text: &str) -> Result<LinePattern, String> {
        let pattern = LinePattern::parse(text);
        pattern.check_neighbours()?;
        let named = pattern.names().next().map(str::to_owned);
        match named {
            Some(name) => Err(format!("named captures are not allowed: found '<{name}>'")),
            None => Ok(pattern),
        }
    }

    /// Between two captures nothing says where the first ends.
    fn check_neighbours(&self) -> Result<(), String> {
        for pair in self.parts.windows(2) {
            if let [Part::Capture(one), Part::Capture(next)] = pair {
                let name = |capture: &Option<String>| capture.clone().unwrap_or_else(|| "_".to_owned());
                return Err(format!(
                    "found consecutive capture '<{}><{}>': invalid expression",
                    name(one),
                    name(next)
                ));
            }
        }
        Ok(())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Capture(Some(name)) => Some(name.as_str()),
            _ => None,
        })
    }

    fn parse(text: &str) -> LinePattern {
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
        LinePattern { text: text.to_owned(), parts }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A capture ends at the first place where the literal after it stands; where that is nowhere it takes the rest.
    /// An empty line has none.
    pub(crate) fn captures(&self, line: &str, found: &mut dyn FnMut(&str, &str)) {
        if line.is_empty() {
            return;
        }
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

    /// Whether the line is the pattern, `<_>` standing for one or more characters. Before a literal that it begins with there may
    /// be anything, as in Loki.
    pub(crate) fn matches(&self, line: &str) -> bool {
        if line.is_empty() || self.parts.is_empty() {
            return line.is_empty() && self.parts.is_empty();
        }
        let mut rest = line;
        for (at, part) in self.parts.iter().enumerate() {
            let Part::Literal(literal) = part else { continue };
            match rest.find(literal.as_str()) {
                Some(0) if at > 0 => return false,
                Some(found) => rest = &rest[found + literal.len()..],
                None => return false,
            }
        }
        matches!(self.parts.last(), Some(Part::Capture(_))) != rest.is_empty()
    }
}
