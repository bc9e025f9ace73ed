//! Regular expressions as Go's `regexp` reads them, which is what users of Prometheus, Loki and Tempo write: in the words of the engine here. A brace
//! that begins no count stands for itself there, as `[`, `&&`, `--` and `~~` do in a class; `\d`, `\w`, `\s`, `\b` and `\B` are ASCII; `\Q…\E`
//! quotes. Why one is refused is told in Go's words.

mod translation;

use regex::{Regex, RegexBuilder};
use std::ops::Deref;

/// Compiled size of one regex, against `(\pL{100}){10}`.
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
    build(&translated(pattern)?, pattern)
}

/// One that must match the whole of a text.
pub fn compile_whole(pattern: &str) -> Result<Regex, String> {
    build(&format!("^(?s:{})$", translated(pattern)?), pattern)
}

fn build(translated: &str, pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(translated).size_limit(REGEX_BYTES_MAX).build().map_err(|why| refusal(&why, pattern))
}

/// The same in the words of the engine here.
pub(crate) fn translated(pattern: &str) -> Result<String, String> {
    translation::translated(pattern).map_err(|why| format!("error parsing regexp: {why}"))
}

/// Why there is none of what Go takes: it is too large, or nested too deep. 250 deep is the most here, and 1,000 in Go.
pub(crate) fn refusal(why: &regex::Error, pattern: &str) -> String {
    let told = match why {
        regex::Error::CompiledTooBig(most) => {
            format!("expression is too large, it takes more than {most} bytes")
        }
        // It draws where, and says last what.
        other => {
            let last = other.to_string().lines().last().unwrap_or_default().to_owned();
            match last.contains("maximum number of nested") {
                true => format!("expression nests too deeply: `{pattern}`"),
                false => last.trim_start_matches("error: ").to_owned(),
            }
        }
    };
    format!("error parsing regexp: {told}")
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
            (r"\Bé\B", "é", true),
            (r"a\B", "a", false),
            (r"^a\Bé", "aé", false),
            (r"^é\Bö", "éö", true),
            (r"^\w+$", "café", false),
            (r"^[\w]+$", "cafe_1", true),
            (r"^\W$", "é", true),
            (r"^[\W]$", "é", true),
            (r"^[^\W]$", "é", false),
            (r"(?i)m\W", "ms", false),
            (r"(?i)m[\W_]", "mK", false),
            (r"(?i)m\W", "m\u{17f}", false),
            (r"(?i:m)\W", "m\u{17f}", true),
            (r"(?i:m)[\W_]", "m\u{17f}", true),
            (r"^[\W]$", "\u{17f}", true),
            (r"(?i)^[\W_]$", "s", false),
            (r"(?i)^\w$", "\u{212a}", true),
            (r"(?i)^[\w-]$", "\u{17f}", true),
            (r"\d", "٣", false),
            (r"^\s$", "\u{b}", false),
            (r"^[\S]$", "\u{b}", true),
            (r"^\S$", " ", false),
            (r"[[:alpha:]]{2}", "ab", true),
            (r"\x{41}\x42\p{Greek}\pN", "ABα1", true),
            (r"(?P<a>x)(?<b>y)", "xy", true),
            (r#"\"\-\_\/"#, "\"-_/", true),
            (r"[\]\[\\]", "\\", true),
            (r"\101\x42\x{43}[\104\x45]\_", "ABCD_", true),
            (r"\Qab\E*\Q\Ec$", "abbc", true),
            (r"^\p{^Greek}\P{^Greek}[\p{Lu}\pN]$", "aα1", true),
            ("(?P<a>x)(?P<a>y)(?P<1b>z)", "xyz", true),
            ("(?ii-s)(?)A(?i-i:b)(?U-m:c+)", "abc", true),
            ("x{01}", "x{01}", true),
            ("^*a|()|b??$", "a", true),
            (r"(x{10}){100}|(?:y?){1000}", "", true),
            ("(?i)^ſK$", "sk", true),
            (r"[\a\f\v\-]", "-", true),
            (r"^\p{greek}\p{ Letter }\pl\p{ASCII}$", "αbc1", true),
            (r"^\p{old italic}\p{LC}\p{Thai}$", "\u{10300}aก", true),
            (r"^[\P{Cs}]\p{^surrogate}$", "ab", true),
            (r"\p{Cs}", "a", false),
            (r"^xa(?i)*B$", "xb", true),
            (r"^a+(?i)?B{2}(?s){2}$", "bbBB", true),
            (r"^(?:a(?m)|b)(?i)+$", "abab", true),
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
            ("(?<=a)", "invalid named capture: `(?<=a)`"),
            ("(?P<a-b>c)", "invalid named capture: `(?P<a-b>`"),
            ("(?P=a)", "invalid or unsupported Perl syntax: `(?P`"),
            ("(?x)a b", "invalid or unsupported Perl syntax: `(?x`"),
            ("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a+?{2}", "invalid nested repetition operator: `+?{2}`"),
            ("(|*)", "missing argument to repetition operator: `*`"),
            ("x{1001}", "invalid repeat count: `{1001}`"),
            ("x{2,1}", "invalid repeat count: `{2,1}`"),
            ("((x{10}){10}){11}?", "invalid repeat count: `{11}?`"),
            (r"\Ca", r"invalid escape sequence: `\C`"),
            (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
            (r"[a\b]", r"invalid escape sequence: `\b`"),
            (r"\p{grek}\pN", r"invalid character class range: `\p{grek}`"),
            (r"\p{IsGreek}", r"invalid character class range: `\p{IsGreek}`"),
            (r"\p{sc=Greek}", r"invalid character class range: `\p{sc=Greek}`"),
            (r"\p{Alphabetic}", r"invalid character class range: `\p{Alphabetic}`"),
            (r"\p{}", r"invalid character class range: `\p{}`"),
            ("(?i)*", "missing argument to repetition operator: `*`"),
            (r"[\pX]", r"invalid character class range: `\pX`"),
            ("[[:wort:]]", "invalid character class range: `[:wort:]`"),
        ] {
            let why = Regexp::parse(pattern).unwrap_err();
            assert_eq!(why, format!("error parsing regexp: {told}"), "{pattern}");
        }
        assert!(compile(r"(\pL{100}){10}").unwrap_err().contains("too large"));
        let nested = "(".repeat(600) + &")".repeat(600);
        let told = format!("error parsing regexp: expression nests too deeply: `{nested}`");
        assert_eq!(
            (compile(&nested).unwrap_err(), compile_whole(&nested).unwrap_err()),
            (told.clone(), told)
        );
        assert!(compile_whole("a|b").unwrap().is_match("b") && !compile_whole("a|b").unwrap().is_match("ab"));
    }

    proptest::proptest! {
        #[test]
        fn any_pattern_is_read_or_refused(pattern in r"[\[\]{}\\()a-c\-&~^Qdwb,1:<|*]{0,24}") {
            let _ = Regexp::parse(&pattern);
        }
    }
}
