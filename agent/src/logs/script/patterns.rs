//! The regexes of scripts, each compiled once: those that are written out when the rules are read, so that a mistake is told
//! then, others when they are first asked for.

use super::at;
use super::engine::{ENGINE, Failed, TEXT_BYTES_MAX};
use parking_lot::Mutex;
use regex::Regex;
use rhai::{EvalAltResult, ImmutableString, Position};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Kept compiled; a script that makes regexes of its lines has them compiled again and again.
const KEPT_MAX: usize = 256;

/// Of one regex compiled.
const COMPILED_BYTES_MAX: usize = 2 << 20;

static KEPT: LazyLock<Mutex<HashMap<String, Arc<Regex>>>> = LazyLock::new(Mutex::default);

pub fn regex(text: &str) -> Result<Arc<Regex>, String> {
    if let Some(regex) = KEPT.lock().get(text) {
        return Ok(regex.clone());
    }
    let built = regex::RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    let regex = Arc::new(built.map_err(|wrong| format!("regex {text:?}: {wrong}"))?);
    let mut kept = KEPT.lock();
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
    kept.insert(text.to_owned(), regex.clone());
    Ok(regex)
}

/// `None` where nothing matches. It stops where the text becomes longer than text may be.
pub fn replaced(text: &str, regex: &Regex, with: &str) -> Result<Option<String>, Failed> {
    let mut made = Made { text, made: String::new(), end: None };
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
    let Made { mut made, end: Some(end), .. } = made else { return Ok(None) };
    made.push_str(&text[end..]);
    Ok(Some(made))
}

struct Made<'t> {
    text: &'t str,
    made: String,
    /// Of the last match.
    end: Option<usize>,
}

impl Made<'_> {
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

/// The written-out regexes of a script, or the first mistake in one and its place.
pub fn compile(script: &str) -> Result<(), String> {
    let lexemes = lexemes(script);
    for (place, pattern) in calls(&lexemes) {
        // The language itself knows what its quotes mean; what it does not take was no such text.
        let Ok(pattern) = ENGINE.eval_expression::<ImmutableString>(pattern) else { continue };
        regex(&pattern).map_err(|wrong| {
            let before = &script[..place];
            let line_start = before.rfind('\n').map_or(0, |end| end + 1);
            let line = before.matches('\n').count() + 1;
            let column = before[line_start..].chars().count() + 1;
            at(Position::new(line as u16, column as u16), &wrong)
        })?;
    }
    Ok(())
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
