//! What stands in an action: pipes of calls, their words, and literals.

use super::super::{Argument, Call, DEPTH_MAX, Function, Item, Operand, Pipe, Place};
use super::{Reader, find_outside_of_quotes};
use crate::lexer::unescape;

impl Reader<'_> {
    /// A pipe, and how Go writes it.
    pub(super) fn pipe_shown(&self, text: &str) -> Result<(Pipe, String), String> {
        self.pipe_at(text, 0)
    }

    fn pipe_at(&self, text: &str, depth: usize) -> Result<(Pipe, String), String> {
        if depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX}"));
        }
        let (mut pipe, mut shown) = (Vec::new(), Vec::new());
        let mut words: Vec<Word> = Vec::new();
        let mut rest = text.trim_start();
        let mut start = rest;
        loop {
            if rest.is_empty() || rest.starts_with('|') {
                let texts: Vec<&str> = words.iter().map(|word| word.place.shown.as_str()).collect();
                let command = texts.join(" ");
                let place = self.place(start, command.clone());
                shown.push(command);
                pipe.push(call(std::mem::take(&mut words), !pipe.is_empty(), place)?);
                if rest.is_empty() {
                    return Ok((pipe, shown.join(" | ")));
                }
                rest = rest[1..].trim_start();
                start = rest;
                continue;
            }
            let (word, tail) = self.word(rest, depth)?;
            let is_apart = tail.is_empty() || tail.starts_with(char::is_whitespace) || tail.starts_with('|');
            if !is_apart {
                let odd = tail.chars().next().unwrap_or(' ');
                return Err(match odd {
                    ')' => "unexpected right paren".to_owned(),
                    _ => format!("unexpected bad character U+{:04X} {odd:?} in command", odd as u32),
                });
            }
            words.push(word);
            rest = tail.trim_start();
        }
    }

    fn word<'t>(&self, text: &'t str, depth: usize) -> Result<(Word, &'t str), String> {
        let operand = |argument: Argument, length: usize| {
            // Of `.a.b` Go names the place of the last.
            let is_path = matches!(argument, Argument::Field(_));
            let last = text[..length].rfind('.').filter(|_| is_path).unwrap_or(0);
            let place = self.place(&text[last..], text[..length].to_owned());
            Ok((Word { what: What::Argument(argument), place }, &text[length..]))
        };
        match text.as_bytes()[0] {
            b'(' => {
                let end = closing(text).ok_or("unclosed left paren")?;
                let (pipe, shown) = self.pipe_at(&text[1..end], depth + 1)?;
                let tail = &text[end + 1..];
                let length = if tail.starts_with('.') { path_length(tail) } else { 0 };
                let (path, tail) = tail.split_at(length);
                let argument = match path {
                    "" => Argument::Pipe(pipe),
                    path => Argument::Chain(pipe, path[1..].to_owned()),
                };
                let place = self.place(text, format!("({shown}){path}"));
                Ok((Word { what: What::Argument(argument), place }, tail))
            }
            b'`' => {
                let end = text[1..].find('`').ok_or("unterminated raw quoted string")? + 1;
                operand(Argument::Literal(Item::Text(text[1..end].to_owned())), end + 1)
            }
            b'"' => {
                let (value, length) = quoted(text)?;
                operand(Argument::Literal(Item::Text(value)), length)
            }
            b'\'' => {
                let (c, length) = character(text).ok_or("malformed character constant")?;
                operand(Argument::Literal(Item::Int(i64::from(u32::from(c)))), length)
            }
            sign @ (b'.' | b'$') if !text[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let length = path_length(text);
                let name = &text[1..length];
                if text[..length].contains("..") {
                    return Err("unexpected . after term \".\"".to_owned());
                }
                operand(
                    match sign {
                        b'.' => Argument::Field(name.to_owned()),
                        _ => {
                            let (name, path) = name.split_once('.').unwrap_or((name, ""));
                            if !name.is_empty() && !self.variables.iter().any(|known| known == name) {
                                return Err(format!("undefined variable \"${name}\""));
                            }
                            Argument::Variable(name.to_owned(), path.to_owned())
                        }
                    },
                    length,
                )
            }
            _ => self.plain_word(text),
        }
    }

    fn plain_word<'t>(&self, text: &'t str) -> Result<(Word, &'t str), String> {
        let is_name = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let end = match is_name {
            true => text.find(|c: char| !(c.is_alphanumeric() || c == '_')),
            false => text.find(|c: char| c.is_whitespace() || matches!(c, '|' | '(' | ')')),
        };
        let end = end.unwrap_or(text.len());
        let (word, tail) = text.split_at(end);
        let place = self.place(text, word.to_owned());
        let literal = match word {
            "" => return Err(format!("unexpected {:?} in operand", &text[..1.min(text.len())])),
            "true" => Some(Item::Bool(true)),
            "false" => Some(Item::Bool(false)),
            "nil" => Some(Item::Nothing),
            _ if is_name => None,
            number => Some(self::number(number).ok_or_else(|| match number.as_bytes()[0] {
                b'0'..=b'9' | b'+' | b'-' | b'.' => format!("bad number syntax: {number:?}"),
                _ => {
                    let odd = number.chars().next().unwrap_or(' ');
                    format!(
                        "unexpected unrecognized character in action: U+{:04X} {odd:?} in command",
                        odd as u32
                    )
                }
            })?),
        };
        let is_chain = is_name && literal.is_none() && tail.starts_with('.');
        let what = match literal {
            Some(item) => What::Argument(Argument::Literal(item)),
            None if word == "__line__" => What::Argument(Argument::Line),
            None if word == "__timestamp__" => What::Argument(Argument::Timestamp),
            None => What::Function(Function::named(word)?),
        };
        let first = Word { what, place: place.clone() };
        if !is_chain {
            return Ok((first, tail));
        }
        // `__timestamp__.Year`
        let (path, tail) = tail.split_at(path_length(tail));
        let pipe = vec![call(vec![first], false, place)?];
        let place = self.place(text, format!("{word}{path}"));
        let what = What::Argument(Argument::Chain(pipe, path[1..].to_owned()));
        Ok((Word { what, place }, tail))
    }
}

struct Word {
    what: What,
    place: Place,
}

enum What {
    Function(Function),
    Argument(Argument),
}

/// The length of `.a.b` or `$a.b`.
fn path_length(text: &str) -> usize {
    text[1..].find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).map_or(text.len(), |at| at + 1)
}

/// As Go writes numbers: in several bases, with underscores.
fn number(text: &str) -> Option<Item> {
    let digits = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let sign = if text.starts_with('-') { -1 } else { 1 };
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = digits.strip_prefix(prefix) {
            let number = i64::from_str_radix(&digits.replace('_', ""), radix).ok()?;
            return number.checked_mul(sign).map(Item::Int);
        }
    }
    let plain = text.replace('_', "");
    plain.parse::<i64>().map(Item::Int).ok().or_else(|| plain.parse().map(Item::Float).ok())
}

/// Where the parenthesis that opens the text closes.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    find_outside_of_quotes(text, |bytes| {
        match bytes[0] {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        depth == 0
    })
    .ok()
}

/// The text between quotes, and the length with them.
pub(super) fn quoted(text: &str) -> Result<(String, usize), String> {
    let mut value = String::new();
    let mut chars = text[1..].char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, at + 2)),
            '\\' => {
                let escape = chars.next().map(|(_, c)| c).ok_or("unterminated quoted string")?;
                value.push(unescape(escape, &mut chars).ok_or("invalid syntax")?);
            }
            '\n' => return Err("unterminated quoted string".to_owned()),
            c => value.push(c),
        }
    }
    Err("unterminated quoted string".to_owned())
}

/// `'a'`, and its length.
fn character(text: &str) -> Option<(char, usize)> {
    let mut chars = text[1..].char_indices();
    let c = match chars.next()?.1 {
        '\\' => unescape(chars.next()?.1, &mut chars)?,
        c => c,
    };
    let (at, end) = chars.next()?;
    (end == '\'').then_some((c, at + 2))
}

fn call(words: Vec<Word>, piped: bool, place: Place) -> Result<Call, String> {
    let mut words = words.into_iter();
    let Some(first) = words.next() else { return Err("missing value for command".to_owned()) };
    let operand = |word: Word| {
        let argument = match word.what {
            What::Argument(argument) => argument,
            What::Function(function) => {
                let name = word.place.clone();
                let place = word.place.clone();
                Argument::Pipe(vec![Call::Function { function, arguments: vec![], place, name }])
            }
        };
        Operand { argument, place: word.place }
    };
    let is_called = piped || words.len() > 0;
    Ok(match first.what {
        What::Function(function) => {
            Call::Function { function, name: first.place, arguments: words.map(operand).collect(), place }
        }
        What::Argument(Argument::Literal(Item::Nothing)) => Call::Fault(place.fails("nil is not a command")),
        What::Argument(Argument::Literal(_)) if piped => {
            return Err("non executable command in pipeline stage 2".to_owned());
        }
        What::Argument(argument) if is_called => {
            let fault = first.place.fails(match &argument {
                Argument::Field(path) => {
                    let name = path.rsplit('.').next().unwrap_or_default();
                    format!("{name} is not a method but has arguments")
                }
                _ => format!("can't give argument to non-function {}", first.place.shown),
            });
            match before_last_name(argument) {
                Some((argument, name)) => {
                    let of = Operand { argument, place: first.place };
                    Call::Method { of, name, arguments: words.map(operand).collect(), fault }
                }
                None => Call::Fault(fault),
            }
        }
        What::Argument(_) => Call::Operand(operand(first)),
    })
}

/// What a path is without its last name, and that name.
fn before_last_name(argument: Argument) -> Option<(Argument, String)> {
    let cut = |path: &str| {
        let (before, name) = path.rsplit_once('.').unwrap_or(("", path));
        (before.to_owned(), name.to_owned())
    };
    let (before, name) = match argument {
        Argument::Field(path) => {
            let (before, name) = cut(&path);
            (Argument::Field(before), name)
        }
        Argument::Variable(variable, path) => {
            let (before, name) = cut(&path);
            (Argument::Variable(variable, before), name)
        }
        Argument::Chain(pipe, path) => match cut(&path) {
            (before, name) if before.is_empty() => (Argument::Pipe(pipe), name),
            (before, name) => (Argument::Chain(pipe, before), name),
        },
        _ => return None,
    };
    (!name.is_empty()).then_some((before, name))
}
