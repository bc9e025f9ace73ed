//! Regular expressions as Go's `regexp` reads them, which is what users of Prometheus, Loki and Tempo write: in the words of the engine here. A brace
//! that begins no count stands for itself there, as `[`, `&&`, `--` and `~~` do in a class; `\d`, `\w`, `\s` and `\b` are ASCII; `\Q…\E`
//! quotes. Why one is refused is told in Go's words.

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::{ErrorKind, parse::Parser};
use std::fmt::Write as _;
use std::ops::Deref;

/// Compiled size of one regex, against `x{1000}{1000}`.
const REGEX_BYTES_MAX: usize = 10 << 20;

/// A regular expression, and how the query writes it.
#[derive(Clone, Debug)]
pub struct Regexp {
    regex: Regex,
    text: String,
}

impl Regexp {
    /// # Errors
    /// Go's words for what is wrong.
    pub fn parse(text: &str) -> Result<Regexp, String> {
        Ok(Regexp { regex: compile(text)?, text: text.to_owned() })
    }

    /// As the query writes it.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn regex(&self) -> &Regex {
        &self.regex
    }
}

impl Deref for Regexp {
    type Target = Regex;

    fn deref(&self) -> &Regex {
        &self.regex
    }
}

/// What is refused is told as Go tells it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = translated(pattern);
    build(&translated).map_err(|why| refusal(pattern, &translated, &why))
}

/// One that must match the whole of a text.
pub fn compile_whole(pattern: &str) -> Result<Regex, String> {
    let translated = translated(pattern);
    build(&format!("^(?s:{translated})$")).map_err(|why| refusal(pattern, &translated, &why))
}

fn build(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build()
}

/// Why what was made of a pattern is none.
pub(crate) fn refusal(pattern: &str, translated: &str, why: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(most) = why {
        return format!("error parsing regexp: expression is too large, it takes more than {most} bytes");
    }
    let told = match Parser::new().parse(translated) {
        Err(error) => in_words_of_go(pattern, translated, &error),
        Ok(_) => why.to_string(),
    };
    format!("error parsing regexp: {told}")
}

fn in_words_of_go(pattern: &str, translated: &str, error: &regex_syntax::ast::Error) -> String {
    let (start, end) = (error.span().start.offset, error.span().end.offset);
    let at = translated.get(start..end).unwrap_or(pattern);
    match error.kind() {
        ErrorKind::GroupUnclosed => format!("missing closing ): `{pattern}`"),
        ErrorKind::GroupUnopened => format!("unexpected ): `{pattern}`"),
        ErrorKind::ClassUnclosed => {
            format!("missing closing ]: `{}`", translated.get(start..).unwrap_or(pattern))
        }
        ErrorKind::ClassRangeInvalid | ErrorKind::ClassRangeLiteral => {
            format!("invalid character class range: `{at}`")
        }
        ErrorKind::RepetitionMissing => {
            let operator = translated.get(start..).and_then(|rest| rest.chars().next()).unwrap_or('*');
            format!("missing argument to repetition operator: `{operator}`")
        }
        ErrorKind::RepetitionCountInvalid => format!("invalid repeat count: `{at}`"),
        ErrorKind::EscapeUnexpectedEof => "trailing backslash at end of expression: ``".to_owned(),
        ErrorKind::EscapeUnrecognized | ErrorKind::UnsupportedBackreference => {
            format!("invalid escape sequence: `{at}`")
        }
        ErrorKind::UnsupportedLookAround | ErrorKind::FlagUnrecognized => {
            format!("invalid or unsupported Perl syntax: `{at}`")
        }
        ErrorKind::GroupNameInvalid | ErrorKind::GroupNameEmpty | ErrorKind::GroupNameUnexpectedEof => {
            format!("invalid named capture: `{}`", translated.get(start..).unwrap_or(at))
        }
        kind => kind.to_string(),
    }
}

/// A class of Go's in ranges, and what is not in it.
fn perl_class(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "0-9",
        'D' => r"\x00-/:-\x{10FFFF}",
        'w' => "0-9A-Za-z_",
        // But for ſ and K, of which `(?i)` would make s and k.
        'W' => r"\x00-/:-@\[-\^`\{-\x{17E}\x{180}-\x{2129}\x{212B}-\x{10FFFF}",
        's' => r"\t\n\f\r ",
        'S' => r"\x00-\x08\x0b\x0e-\x1f!-\x{10FFFF}",
        _ => return None,
    })
}

/// The same in the words of the engine here.
pub fn translated(pattern: &str) -> String {
    let mut translation = Translation { rest: pattern, out: String::with_capacity(pattern.len() + 16) };
    while !translation.rest.is_empty() {
        translation.step();
    }
    translation.out
}

struct Translation<'a> {
    rest: &'a str,
    out: String,
}

impl Translation<'_> {
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

    fn step(&mut self) {
        match self.take() {
            Some('\\') => self.escape(),
            Some('[') => self.class(),
            Some('{') if !self.is_count() => self.out.push_str(r"\{"),
            Some(other) => self.out.push(other),
            None => {}
        }
    }

    /// Whether what follows a brace makes it a count: `3}`, `3,}`, `3,5}`.
    fn is_count(&self) -> bool {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (least, rest) = self.rest.split_at(digits(self.rest));
        let rest = rest.strip_prefix(',').map_or(rest, |rest| &rest[digits(rest)..]);
        !least.is_empty() && rest.starts_with('}')
    }

    /// Behind a backslash that is in no class.
    fn escape(&mut self) {
        match self.take() {
            Some('Q') => {
                let end = self.rest.find(r"\E").unwrap_or(self.rest.len());
                let (quoted, rest) = self.rest.split_at(end);
                self.out.push_str(&regex::escape(quoted));
                self.rest = rest.strip_prefix(r"\E").unwrap_or(rest);
            }
            Some('C') => self.out.push_str("(?s:.)"),
            Some('b') => self.out.push_str(r"(?-u:\b)"),
            // Whatever `(?i)` says: ſ and K are not among them in Go.
            Some('w') => self.out.push_str("(?-i:[0-9A-Za-z_])"),
            Some('W') => self.out.push_str("(?-i:[^0-9A-Za-z_])"),
            Some(letter) if perl_class(letter).is_some() => {
                _ = write!(self.out, "[{}]", perl_class(letter).unwrap_or_default());
            }
            Some(other) => self.other_escape(other),
            None => self.out.push('\\'),
        }
    }

    /// An escape that means the same in a class and elsewhere.
    fn other_escape(&mut self, letter: char) {
        // These would be the beginning and the end of a word.
        if !matches!(letter, '<' | '>') {
            self.out.push('\\');
        }
        self.out.push(letter);
        if matches!(letter, 'x' | 'p' | 'P')
            && self.rest.starts_with('{')
            && let Some(end) = self.rest.find('}')
        {
            self.out.push_str(&self.rest[..=end]);
            self.rest = &self.rest[end + 1..];
        }
    }

    /// Behind a bracket that opens a class.
    fn class(&mut self) {
        self.out.push('[');
        if self.take_str("^") {
            self.out.push('^');
        }
        let mut is_first = true;
        while !self.rest.is_empty() {
            if !is_first && self.take_str("]") {
                self.out.push(']');
                return;
            }
            is_first = false;
            if let Some(end) = self.rest.strip_prefix("[:").and_then(|rest| rest.find(":]")) {
                let (name, rest) = self.rest.split_at(end + 4);
                self.out.push_str(name);
                self.rest = rest;
                continue;
            }
            self.class_char();
            if self.rest.len() > 1 && self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                _ = self.take();
                self.out.push('-');
                self.class_char();
            }
        }
    }

    fn class_char(&mut self) {
        match self.take() {
            Some('\\') => match self.take() {
                Some(letter) => match perl_class(letter) {
                    Some(ranges) => self.out.push_str(ranges),
                    None => self.other_escape(letter),
                },
                None => self.out.push('\\'),
            },
            Some(literal @ ('[' | ']' | '^' | '&' | '~' | '-')) => self.out.extend(['\\', literal]),
            Some(other) => self.out.push(other),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_itself_in_go_does_so_here() {
        for (pattern, text, is_match) in [
            (r#"{"level":"#, r#"{"level":1}"#, true),
            ("foo{bar}", "foo{bar}", true),
            ("x{,2}", "x{,2}", true),
            ("x{2,}y", "xxxy", true),
            ("x{2}", "x{2}", false),
            (r"\Qa.b{\E+", "a.b{{", true),
            (r"\Qa.b", "axb", false),
            ("[[]1", "[1", true),
            ("[]a]+$", "]a", true),
            ("[^]a]", "]a", false),
            ("[a&&b]", "&", true),
            ("[a~~b]", "~", true),
            ("[--/]", ".", true),
            ("[+--]", ",", true),
            ("[a-]", "-", true),
            (r"[\d-]", "-", true),
            (r"a\<b\>", "a<b>", true),
            (r"\bé", "é", false),
            (r"^\w+$", "café", false),
            (r"^[\w]+$", "cafe_1", true),
            (r"^\W$", "é", true),
            (r"^[\W]$", "é", true),
            (r"^[^\W]$", "é", false),
            (r"(?i)m\W", "ms", false),
            (r"(?i)m[\W_]", "mK", false),
            (r"(?i)m\W", "m\u{17f}", true),
            (r"(?i)^\w$", "\u{212a}", false),
            (r"\d", "٣", false),
            (r"^\s$", "\u{b}", false),
            (r"^[\S]$", "\u{b}", true),
            (r"^\S$", " ", false),
            (r"[[:alpha:]]{2}", "ab", true),
            (r"\x{41}\x42\p{Greek}\pN", "ABα1", true),
            (r"\Cb", "\nb", true),
            (r"(?P<a>x)(?<b>y)", "xy", true),
            (r#"\"\-\_\/"#, "\"-_/", true),
            (r"[\]\[\\]", "\\", true),
        ] {
            let regex = Regexp::parse(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            assert_eq!(regex.is_match(text), is_match, "{pattern} {text} as {}", regex.as_str());
            assert_eq!(regex.text(), pattern);
        }
    }

    #[test]
    fn refusals_are_told_as_go_tells_them() {
        for (pattern, told) in [
            ("a(b", "missing closing ): `a(b`"),
            ("a)b", "unexpected ): `a)b`"),
            ("x[ab", "missing closing ]: `[ab`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("a|+", "missing argument to repetition operator: `+`"),
            (r"a\y", r"invalid escape sequence: `\y`"),
            (r"(a)\1", r"invalid escape sequence: `\1`"),
            (r"a\", "trailing backslash at end of expression: ``"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ] {
            let why = Regexp::parse(pattern).unwrap_err();
            assert_eq!(why, format!("error parsing regexp: {told}"), "{pattern}");
        }
        assert!(compile("x{1000}{1000}").unwrap_err().contains("too large"));
        assert!(compile_whole("a|b").unwrap().is_match("b") && !compile_whole("a|b").unwrap().is_match("ab"));
    }

    proptest::proptest! {
        #[test]
        fn any_pattern_is_read_or_refused(pattern in r"[\[\]{}\\()a-c\-&~^Qdwb,1:<|*]{0,24}") {
            let _ = Regexp::parse(&pattern);
        }
    }
}
