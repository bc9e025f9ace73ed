//! The regexes of scripts. Those that are written out are compiled with the script and live as long as it does, so that a
//! mistake is told when the rules are read. Others, which a script makes while it runs (of its lines, perhaps), are few and small:
//! whoever writes the lines must not choose how much memory the agent takes.

use super::Mistake;
use super::engine::{ENGINE, Failed, TEXT_BYTES_MAX};
use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};
use rhai::{EvalAltResult, ImmutableString, Position};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

/// Of one regex: compiled, and again as much for each of two tables that are filled while it is used.
const WRITTEN_BYTES_MAX: usize = 2 << 20;

/// The same of one that a script has made; room for three `\w+` that know all alphabets.
const MADE_BYTES_MAX: usize = 256 << 10;

/// Of its text: `\w\w\w…` takes three thousand times as much while it is read, before anything is compiled.
const MADE_TEXT_BYTES_MAX: usize = 2 << 10;

/// Those made that are kept, the last used ones: at most about 1 MiB each with all that belongs to them.
const MADE_MAX: usize = 8;

/// A regex is cut here in what is told of it: it may be a line.
const TOLD_BYTES_MAX: usize = 200;

/// Written-out ones of all scripts, by their text. Whoever has a script has its regexes.
static WRITTEN: LazyLock<Mutex<HashMap<String, Weak<Regex>>>> = LazyLock::new(Mutex::default);

static MADE: Mutex<Made> = Mutex::new(Made(Vec::new()));

/// Those of scripts that are gone go with them.
fn written(text: &str) -> Result<Arc<Regex>, String> {
    let mut all = WRITTEN.lock();
    all.retain(|_, regex| regex.strong_count() > 0);
    if let Some(regex) = all.get(text).and_then(Weak::upgrade) {
        return Ok(regex);
    }
    let regex = Arc::new(built(text, WRITTEN_BYTES_MAX).map_err(|wrong| mistake(text, &wrong))?);
    all.insert(text.to_owned(), Arc::downgrade(&regex));
    Ok(regex)
}

pub fn regex(text: &str) -> Result<Arc<Regex>, String> {
    let found = WRITTEN.lock().get(text).and_then(Weak::upgrade);
    found.map_or_else(|| MADE.lock().get(text), Ok)
}

fn built(text: &str, bytes_max: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).size_limit(bytes_max).dfa_size_limit(bytes_max).build()
}

/// In one line: the parser draws the text over three, and says what is wrong with it in the last.
pub fn mistake(text: &str, wrong: &regex::Error) -> String {
    match wrong {
        regex::Error::CompiledTooBig(bytes) => {
            format!("{} takes more than {bytes} bytes, compiled", named(text))
        }
        // The whole text is in it once more.
        _ if text.len() > TOLD_BYTES_MAX => format!("{} is none", named(text)),
        _ => {
            let drawn = wrong.to_string();
            let last = drawn.lines().last().unwrap_or("");
            format!("{}: {}", named(text), last.trim_start_matches("error: "))
        }
    }
}

fn named(text: &str) -> String {
    let shown = &text[..text.floor_char_boundary(TOLD_BYTES_MAX)];
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("regex {shown:?}{more}")
}

/// Last used, last.
struct Made(Vec<(String, Arc<Regex>)>);

impl Made {
    fn get(&mut self, text: &str) -> Result<Arc<Regex>, String> {
        let kept = self.0.iter().position(|(known, _)| known == text);
        let used = match kept.map(|at| self.0.remove(at)) {
            Some(used) => used,
            None => (text.to_owned(), Arc::new(made(text)?)),
        };
        let regex = used.1.clone();
        if self.0.len() == MADE_MAX {
            self.0.remove(0);
        }
        self.0.push(used);
        Ok(regex)
    }
}

const WRITTEN_OUT: &str = "one that is written out in the call may take more";

fn made(text: &str) -> Result<Regex, String> {
    if text.len() > MADE_TEXT_BYTES_MAX {
        return Err(format!("{} is longer than {MADE_TEXT_BYTES_MAX} bytes; {WRITTEN_OUT}", named(text)));
    }
    built(text, MADE_BYTES_MAX).map_err(|wrong| match wrong {
        regex::Error::CompiledTooBig(_) => {
            format!("{}; {WRITTEN_OUT}", mistake(text, &wrong))
        }
        _ => mistake(text, &wrong),
    })
}

/// `None` where nothing matches. It stops where the text becomes longer than text may be.
pub fn replaced(text: &str, regex: &Regex, with: &str) -> Result<Option<String>, Failed> {
    let mut made = Replaced { text, made: String::new(), end: None };
    let groups = memchr::memchr_iter(b'$', with.as_bytes()).count();
    if groups == 0 {
        for found in regex.find_iter(text) {
            made.up_to(&found, with.len())?;
            made.made.push_str(with);
        }
    } else {
        for found in regex.captures_iter(text) {
            let whole = found.get_match();
            made.up_to(&whole, with.len() + groups.saturating_mul(whole.len()))?;
            found.expand(with, &mut made.made);
        }
    }
    let Replaced { mut made, end: Some(end), .. } = made else { return Ok(None) };
    made.push_str(&text[end..]);
    Ok(Some(made))
}

struct Replaced<'t> {
    text: &'t str,
    made: String,
    /// Of the last match.
    end: Option<usize>,
}

impl Replaced<'_> {
    /// What is before a match, if there is room for what comes in its place.
    fn up_to(&mut self, found: &regex::Match<'_>, bytes: usize) -> Result<(), Failed> {
        self.made.push_str(&self.text[self.end.unwrap_or(0)..found.start()]);
        self.end = Some(found.end());
        if self.made.len().saturating_add(bytes) > TEXT_BYTES_MAX {
            let what = "Length of string".to_owned();
            return Err(EvalAltResult::ErrorDataTooLarge(what, Position::NONE).into());
        }
        Ok(())
    }
}

/// The written-out regexes of a script, to be kept as long as it is, or the first mistake in one and its place.
pub fn compile(script: &str) -> Result<Vec<Arc<Regex>>, Mistake> {
    let lexemes = lexemes(script);
    let mut regexes = vec![];
    for (place, pattern) in calls(&lexemes) {
        // The language itself knows what its quotes mean; what it does not take was no such text.
        let Ok(pattern) = ENGINE.eval_expression::<ImmutableString>(pattern) else { continue };
        regexes.push(written(&pattern).map_err(|what| {
            let before = &script[..place];
            let line_start = before.rfind('\n').map_or(0, |end| end + 1);
            let line = before.matches('\n').count() + 1;
            let column = before[line_start..].chars().count() + 1;
            let known = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
            Mistake { place: Position::new(known(line), known(column)), what }
        })?);
    }
    Ok(regexes)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lexeme<'s> {
    Word(&'s str),
    Quoted(&'s str),
    Sign(char),
}

/// Quoted patterns of calls of `matches` and `replace`: the first argument after a dot, else the second.
fn calls<'s>(lexemes: &[(usize, Lexeme<'s>)]) -> Vec<(usize, &'s str)> {
    let mut found = vec![];
    for (at, (_, lexeme)) in lexemes.iter().enumerate() {
        let is_call = matches!(lexeme, Lexeme::Word("matches" | "replace"))
            && lexemes.get(at + 1).is_some_and(|(_, next)| *next == Lexeme::Sign('('));
        if !is_call {
            continue;
        }
        let is_method = at > 0 && lexemes[at - 1].1 == Lexeme::Sign('.');
        let arguments = &lexemes[at + 2..];
        let Some(pattern) = (if is_method { Some(0) } else { after_comma(arguments) }) else { continue };
        let ends = |(_, lexeme): &(usize, Lexeme)| matches!(lexeme, Lexeme::Sign(',' | ')'));
        if let Some((place, Lexeme::Quoted(text))) = arguments.get(pattern)
            && arguments.get(pattern + 1).is_some_and(ends)
        {
            found.push((*place, *text));
        }
    }
    found
}

fn after_comma(lexemes: &[(usize, Lexeme)]) -> Option<usize> {
    let mut depth = 0;
    for (at, (_, lexeme)) in lexemes.iter().enumerate() {
        match lexeme {
            Lexeme::Sign('(' | '[' | '{') => depth += 1,
            Lexeme::Sign(')' | ']' | '}') if depth == 0 => return None,
            Lexeme::Sign(')' | ']' | '}') => depth -= 1,
            Lexeme::Sign(',') if depth == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Enough of the language to find texts in quotes: `"…"`, `'…'`, `` `…` ``, `#"…"#`, and comments, which are left out.
fn lexemes(script: &str) -> Vec<(usize, Lexeme<'_>)> {
    let mut lexemes = vec![];
    let mut at = 0;
    while let Some(first) = script[at..].chars().next() {
        let rest = &script[at..];
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if hashes > 0 && rest[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            rest[hashes + 1..].find(&close).map_or(rest.len(), |end| hashes + 1 + end + close.len())
        } else if matches!(first, '"' | '\'' | '`') {
            quoted(rest, first)
        } else if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let text = &rest[..length];
        if matches!(first, '"' | '\'' | '`') || first == '#' && length > 1 {
            lexemes.push((at, Lexeme::Quoted(text)));
        } else if first.is_alphanumeric() || first == '_' {
            lexemes.push((at, Lexeme::Word(text)));
        } else if length == first.len_utf8() && !first.is_whitespace() {
            lexemes.push((at, Lexeme::Sign(first)));
        }
        at += length;
    }
    lexemes
}

/// Bytes of the text in quotes at the beginning; a backslash goes with what follows it.
fn quoted(rest: &str, quote: char) -> usize {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return at + quote.len_utf8();
        }
        if character == '\\' && quote != '`' {
            characters.next();
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests;
