//! A pattern from left to right, as Go's `regexp/syntax` reads it with the flags of Perl. What it refuses is refused where it finds it
//! and in its words; all else is written down in the words of the engine here.

use std::fmt::Write as _;

/// Of a repetition, and of the repetitions inside one another together.
const REPEATS_MAX: u64 = 1_000;

/// The error is what Go says behind `error parsing regexp: `.
type Read<T> = Result<T, String>;

pub(super) fn translated(pattern: &str) -> Read<String> {
    let mut translation = Translation {
        rest: pattern,
        pattern,
        out: String::with_capacity(pattern.len() + 16),
        last: None,
        end: 0,
        is_repeated: false,
        most: 1,
        around: vec![],
        repetition: None,
        names: vec![],
    };
    while !translation.rest.is_empty() {
        translation.step()?;
    }
    match translation.around.is_empty() {
        true => Ok(translation.out),
        false => Err(format!("missing closing ): `{pattern}`")),
    }
}

struct Translation<'a> {
    pattern: &'a str,
    rest: &'a str,
    out: String,
    /// What a repetition would repeat, told by how often the repetitions in it do so together.
    last: Option<u64>,
    /// Where that ends in `out`. Flags may stand behind it.
    end: usize,
    /// Whether it is a repetition itself.
    is_repeated: bool,
    /// The same of all that stands in the group that is open.
    most: u64,
    /// `most` of the groups around it.
    around: Vec<u64>,
    /// The pattern from the repetition on that was read last, if nothing else was since.
    repetition: Option<&'a str>,
    names: Vec<&'a str>,
}

impl<'a> Translation<'a> {
    fn take(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn take_str(&mut self, text: &str) -> bool {
        let found = self.rest.strip_prefix(text);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    /// What was read since `before` was the rest.
    fn since(&self, before: &'a str) -> &'a str {
        &before[..before.len() - self.rest.len()]
    }

    fn step(&mut self) -> Read<()> {
        let before = self.rest;
        let repetition = self.repetition.take();
        match self.take() {
            Some('\\') => return self.escape(before),
            Some('[') => return self.class(before),
            Some('(') => return self.group(before),
            Some(')') => return self.close(),
            Some('|') => {
                self.out.push('|');
                self.last = None;
                return Ok(());
            }
            Some('*' | '+' | '?') => return self.repeat(before, repetition, None),
            Some('{') => match self.count() {
                Some(count) => return self.repeat(before, repetition, Some(count)),
                None => self.out.push_str(r"\{"),
            },
            Some(other) => self.out.push(other),
            None => {}
        }
        self.stands(1);
        Ok(())
    }

    /// Something that can be repeated was written down.
    fn stands(&mut self, repeats: u64) {
        (self.end, self.is_repeated) = (self.out.len(), false);
        self.last = Some(repeats);
        self.most = self.most.max(repeats);
    }

    // ---- repetitions

    /// What a brace counts: `3}`, `3,}`, `3,5}`. One that begins no count stands for itself.
    fn count(&mut self) -> Option<(u64, Option<u64>)> {
        let (least, rest) = number(self.rest)?;
        let (most, rest) = match rest.strip_prefix(',') {
            None => (Some(least), rest),
            Some(rest) if rest.starts_with('}') => (None, rest),
            Some(rest) => {
                let (most, rest) = number(rest)?;
                (Some(most), rest)
            }
        };
        self.rest = rest.strip_prefix('}')?;
        Some((least, most))
    }

    /// `count` is none of `*`, `+` and `?`.
    fn repeat(
        &mut self,
        before: &'a str,
        repetition: Option<&'a str>,
        count: Option<(u64, Option<u64>)>,
    ) -> Read<()> {
        let too_often = |written: &str| Err(format!("invalid repeat count: `{written}`"));
        if let Some((least, most)) = count
            && (least.max(most.unwrap_or(0)) > REPEATS_MAX || most.is_some_and(|most| most < least))
        {
            return too_often(self.since(before));
        }
        // As few as possible, not another repetition.
        _ = self.take_str("?");
        let written = self.since(before);
        if let Some(first) = repetition {
            return Err(format!("invalid nested repetition operator: `{}`", self.since(first)));
        }
        let Some(inside) = self.last else {
            return Err(format!("missing argument to repetition operator: `{written}`"));
        };
        let times = count.map_or(1, |(least, most)| most.unwrap_or(least).max(1));
        let repeats = inside * times;
        if times > 1 && repeats > REPEATS_MAX {
            return too_often(written);
        }
        // Flags are nothing that could be repeated: `a(?i)*` repeats the `a`. `a*(?i)?` is then no `a*?`.
        let counted = match (self.is_repeated, written.as_bytes()[0]) {
            (true, b'*') => written.replacen('*', "{0,}", 1),
            (true, b'+') => written.replacen('+', "{1,}", 1),
            (true, b'?') => written.replacen('?', "{0,1}", 1),
            _ => written.to_owned(),
        };
        let end = self.end + counted.len();
        self.out.insert_str(self.end, &counted);
        self.repetition = Some(before);
        self.stands(repeats);
        (self.end, self.is_repeated) = (end, true);
        Ok(())
    }

    // ---- groups

    fn open(&mut self) {
        self.around.push(self.most);
        (self.most, self.last) = (1, None);
    }

    fn close(&mut self) -> Read<()> {
        let Some(around) = self.around.pop() else {
            return Err(format!("unexpected ): `{}`", self.pattern));
        };
        let inside = self.most;
        self.most = around;
        self.out.push(')');
        self.stands(inside);
        Ok(())
    }

    fn group(&mut self, before: &'a str) -> Read<()> {
        let name_starts = ["(?P<", "(?<"].into_iter().find(|start| before.starts_with(*start));
        match name_starts {
            Some(start) if before.len() > start.len() => self.named_group(before, start.len()),
            _ if self.take_str("?") => self.flags(before),
            _ => {
                self.out.push('(');
                self.open();
                Ok(())
            }
        }
    }

    fn named_group(&mut self, before: &'a str, start: usize) -> Read<()> {
        let Some(end) = before.find('>') else {
            return Err(format!("invalid named capture: `{before}`"));
        };
        self.rest = &before[end + 1..];
        let name = &before[start..end];
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("invalid named capture: `{}`", self.since(before)));
        }
        // In Go groups may have the same name, and one that begins with a digit. Here the first has it, and the digit follows a
        // `_`, as in the name of a label.
        if self.names.contains(&name) {
            self.out.push('(');
        } else {
            self.names.push(name);
            let digit = if name.starts_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
            _ = write!(self.out, "(?P<{digit}{name}>");
        }
        self.open();
        Ok(())
    }

    /// Behind `(?`: flags for the group that they begin, or for the rest of the one that is open. One that is set twice is as it
    /// is set last, which the engine here refuses.
    fn flags(&mut self, before: &'a str) -> Read<()> {
        let (mut on, mut off) = (String::new(), String::new());
        let (mut is_negated, mut is_any) = (false, false);
        while let Some(c) = self.take() {
            match c {
                'i' | 'm' | 's' | 'U' => {
                    on.retain(|flag| flag != c);
                    off.retain(|flag| flag != c);
                    let set = if is_negated { &mut off } else { &mut on };
                    set.push(c);
                    is_any = true;
                }
                '-' if !is_negated => (is_negated, is_any) = (true, false),
                ':' | ')' if is_any || !is_negated => {
                    let minus = if off.is_empty() { "" } else { "-" };
                    // `(?)` sets nothing, and the engine here has no such thing.
                    if c == ':' || !(on.is_empty() && off.is_empty()) {
                        _ = write!(self.out, "(?{on}{minus}{off}{c}");
                    }
                    if c == ':' {
                        self.open();
                    }
                    return Ok(());
                }
                _ => break,
            }
        }
        Err(format!("invalid or unsupported Perl syntax: `{}`", self.since(before)))
    }

    // ---- escapes

    /// Behind a backslash that is in no class.
    fn escape(&mut self, before: &'a str) -> Read<()> {
        let letter = self.rest.chars().next();
        if letter == Some('Q') {
            self.quoted();
            return Ok(());
        }
        if matches!(letter, Some('p' | 'P')) {
            let class = self.unicode_class(before)?;
            self.out.push_str(&class);
        } else if let Some(meant) = letter.and_then(of_no_class) {
            _ = self.take();
            self.out.push_str(meant);
        } else if let Some(class) = letter.and_then(perl_class) {
            _ = self.take();
            self.out.push_str(class);
        } else {
            let c = self.escaped_char(before)?;
            self.put(c);
        }
        self.stands(1);
        Ok(())
    }

    /// `Q…\E`, or up to the end of the pattern.
    fn quoted(&mut self) {
        let quoted = &self.rest[1..];
        let end = quoted.find(r"\E").unwrap_or(quoted.len());
        self.rest = quoted[end..].strip_prefix(r"\E").unwrap_or_default();
        self.out.push_str(&regex::escape(&quoted[..end]));
        if end > 0 {
            self.stands(1);
        }
    }

    /// A character that stands for itself.
    fn put(&mut self, c: char) {
        // With a backslash these would be the beginning and the end of a word.
        if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    /// Behind the backslash of `\pN`, `\p{Greek}`, `\P{^Lu}`.
    fn unicode_class(&mut self, before: &'a str) -> Read<String> {
        let refused = |written: &str| Err(format!("invalid character class range: `{written}`"));
        let letter = self.take();
        let name = match self.take() {
            Some('{') => {
                let Some(end) = self.rest.find('}') else { return refused(before) };
                let name = &self.rest[..end];
                self.rest = &self.rest[end + 1..];
                name
            }
            _ => &self.since(before)[2..],
        };
        let (name, is_turned) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        let is_other = (letter == Some('P')) != is_turned;
        unicode_class(name, is_other).map_or_else(|| refused(self.since(before)), Ok)
    }

    /// The one character of an escape.
    fn escaped_char(&mut self, before: &'a str) -> Read<char> {
        let found = match self.take() {
            None => return Err("trailing backslash at end of expression: ``".to_owned()),
            Some('a') => Some('\u{7}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('v') => Some('\u{b}'),
            Some('x') => self.hexadecimal(),
            Some(digit @ '0'..='7') => self.octal(digit),
            Some(other) => (other.is_ascii() && !other.is_ascii_alphanumeric()).then_some(other),
        };
        found.ok_or_else(|| format!("invalid escape sequence: `{}`", self.since(before)))
    }

    /// Up to three digits; a single one would be a group found before, which is not to be had.
    fn octal(&mut self, first: char) -> Option<char> {
        let mut code = first.to_digit(8)?;
        let ahead = |rest: &str| rest.chars().next().and_then(|c| c.to_digit(8));
        if code > 0 && ahead(self.rest).is_none() {
            return None;
        }
        for _ in 0..2 {
            let Some(digit) = ahead(self.rest) else { break };
            _ = self.take();
            code = code * 8 + digit;
        }
        char::from_u32(code)
    }

    /// Two digits, or any number of them in braces.
    fn hexadecimal(&mut self) -> Option<char> {
        let first = self.take()?;
        if first != '{' {
            let second = self.take()?;
            return char::from_u32(first.to_digit(16)? * 16 + second.to_digit(16)?);
        }
        let mut code = self.take()?.to_digit(16)?;
        loop {
            match self.take()? {
                '}' => return char::from_u32(code),
                digit => code = code * 16 + digit.to_digit(16)?,
            }
            if code > u32::from(char::MAX) {
                return None;
            }
        }
    }

    // ---- classes

    /// Behind a bracket that opens a class.
    fn class(&mut self, before: &'a str) -> Read<()> {
        self.out.push('[');
        if self.take_str("^") {
            self.out.push('^');
        }
        let mut is_first = true;
        while is_first || !self.rest.starts_with(']') {
            is_first = false;
            self.class_item(before)?;
        }
        _ = self.take();
        self.out.push(']');
        self.stands(1);
        Ok(())
    }

    /// `class` is the pattern from the bracket on.
    fn class_item(&mut self, class: &'a str) -> Read<()> {
        let before = self.rest;
        if let Some(end) = before.strip_prefix("[:").and_then(|rest| rest.find(":]")) {
            let (named, rest) = before.split_at(end + 4);
            let name = &named[2..end + 2];
            if !POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
                return Err(format!("invalid character class range: `{named}`"));
            }
            self.out.push_str(named);
            self.rest = rest;
            return Ok(());
        }
        if let Some(escape) = before.strip_prefix('\\') {
            let letter = escape.chars().next().unwrap_or('\\');
            if matches!(letter, 'p' | 'P') {
                self.rest = escape;
                let class = self.unicode_class(before)?;
                self.out.push_str(&class);
                return Ok(());
            }
            if let Some(class) = perl_class(letter) {
                self.rest = &escape[1..];
                self.out.push_str(class);
                return Ok(());
            }
        }
        let low = self.class_char(class)?;
        self.put(low);
        if self.rest.len() > 1 && self.rest.starts_with('-') && !self.rest.starts_with("-]") {
            _ = self.take();
            let high = self.class_char(class)?;
            if high < low {
                return Err(format!("invalid character class range: `{}`", self.since(before)));
            }
            self.out.push('-');
            self.put(high);
        }
        Ok(())
    }

    fn class_char(&mut self, class: &'a str) -> Read<char> {
        let before = self.rest;
        match self.take() {
            Some('\\') => self.escaped_char(before),
            Some(other) => Ok(other),
            None => Err(format!("missing closing ]: `{class}`")),
        }
    }
}

/// The number ahead and what follows. A zero before other digits makes it none.
fn number(text: &str) -> Option<(u64, &str)> {
    let (digits, rest) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let is_padded = digits.len() > 1 && digits.starts_with('0');
    (!digits.is_empty() && !is_padded).then(|| (digits.parse().unwrap_or(u64::MAX), rest))
}

/// What these escapes mean where no class is.
fn of_no_class(letter: char) -> Option<&'static str> {
    Some(match letter {
        'A' => r"\A",
        'z' => r"\z",
        'b' => r"(?-u:\b)",
        'B' => r"(?-u:\B)",
        _ => return None,
    })
}

/// A class of Go's, which may stand in another. With `(?i)` the letters of `\w` are of any case before what is not among them is
/// told: ſ and K are then in `\w`, and not in `\W`.
fn perl_class(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => r"[\t\n\f\r ]",
        'S' => r"[^\t\n\f\r ]",
        _ => return None,
    })
}

const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// Scripts whose names have four letters, as the codes of all others have, which Go does not know.
const SHORT_SCRIPTS: [&str; 8] = ["ahom", "cham", "kawi", "lisu", "modi", "newa", "thai", "toto"];

/// All that is, or is not, of a category or a script. Case, blanks, `-` and `_` in names do not matter, since Go 1.25. The engine
/// here knows other properties, and names that begin with `is`.
fn unicode_class(name: &str, is_other: bool) -> Option<String> {
    let bare = name.replace([' ', '-', '_'], "").to_ascii_lowercase();
    if bare.starts_with("is") || !bare.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    // No text has a surrogate in it.
    if bare == "cs" || bare == "surrogate" {
        return Some(if is_other { r"[\x00-\x{10FFFF}]" } else { r"[^\x00-\x{10FFFF}]" }.to_owned());
    }
    let letter = if is_other { 'P' } else { 'p' };
    let class = |property: &str| Some(format!(r"\{letter}{{{property}={bare}}}"));
    let is_known = |class: &String| regex_syntax::parse(class).is_ok();
    let is_code = bare.len() == 4 && !SHORT_SCRIPTS.contains(&bare.as_str());
    let is_script = !is_code && !matches!(bare.as_str(), "unknown" | "katakanaorhiragana");
    class("gc").filter(is_known).or_else(|| class("sc").filter(|class| is_script && is_known(class)))
}
