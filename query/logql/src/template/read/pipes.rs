//! What stands in an action: pipes of calls, their words, and literals.

use super::super::{Argument, Call, DEPTH_MAX, Function, Item, Operand, Pipe, Place};
use super::{Reader, find_outside_of_quotes};
use crate::lexer::{Escaped, Text, unescape};

impl Reader<'_> {
    /// A pipe, and how Go writes it.
    pub(super) fn pipe_shown(&self, text: &str) -> Result<(Pipe, String), String> {
        self.pipe_at(text, 0)
    }

    fn pipe_at(&self, text: &str, depth: usize) -> Result<(Pipe, String), String> {
        if depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX}"));
        }
        let inside = if depth > 0 { "parenthesized pipeline" } else { "command" };
        let (mut pipe, mut shown): (Pipe, Vec<String>) = (Vec::new(), Vec::new());
        let mut words: Vec<Word> = Vec::new();
        let mut rest = text.trim_start();
        let mut start = rest;
        loop {
            match (words.is_empty(), rest.chars().next()) {
                (true, None) if pipe.is_empty() => return Err(format!("missing value for {inside}")),
                // To Go nothing is missing behind the last `|`.
                (true, None) => return Ok((pipe, shown.join(" | "))),
                (true, Some('|')) => return Err(format!("unexpected \"|\" in {inside}")),
                (is_first, Some(odd)) if is_of_no_word(odd) => {
                    let odd = if rest.starts_with(":=") { ":=" } else { &rest[..1] };
                    return Err(format!(
                        "unexpected {odd:?} in {}",
                        if is_first { inside } else { "operand" }
                    ));
                }
                _ => {}
            }
            if rest.is_empty() || rest.starts_with('|') {
                let texts: Vec<&str> = words.iter().map(|word| word.place.shown.as_str()).collect();
                let command = texts.join(" ");
                let place = self.place(start, command.clone());
                shown.push(command);
                pipe.push(call(std::mem::take(&mut words), pipe.len(), place)?);
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
                return Err(stuck_to(&word, tail));
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
                let (c, length) = character(text)?;
                operand(Argument::Literal(Item::Int(i64::from(u32::from(c)))), length)
            }
            sign @ (b'.' | b'$') if !text[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let length = path_length(text);
                let name = &text[1..length];
                let is_known = |variable: &str| {
                    variable.is_empty() || self.variables.iter().any(|known| known == variable)
                };
                if let (b'$', variable) = (sign, name.split('.').next().unwrap_or_default())
                    && !is_known(variable)
                {
                    return Err(format!("undefined variable \"${variable}\""));
                }
                if name.contains("..") || name.ends_with('.') {
                    return Err("unexpected <.> in operand".to_owned());
                }
                if sign == b'.' && name.starts_with('.') {
                    return Err("unexpected . after term \".\"".to_owned());
                }
                operand(
                    match sign {
                        b'.' => Argument::Field(name.to_owned()),
                        _ => {
                            let (name, path) = name.split_once('.').unwrap_or((name, ""));
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
            "+" | "-" => return Err(format!("illegal number syntax: {word:?}")),
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
        let pipe = vec![call(vec![first], 0, place)?];
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

/// What begins no word of an action, and is a token of its own to Go.
fn is_of_no_word(c: char) -> bool {
    c.is_ascii_punctuation()
        && !matches!(c, '(' | ')' | '"' | '`' | '\'' | '.' | '$' | '+' | '-' | '_' | '|' | '}')
}

/// Why `tail` may not stand behind the word without a blank.
fn stuck_to(word: &Word, tail: &str) -> String {
    let shown = word.place.shown.as_str();
    let odd = tail.chars().next().unwrap_or(' ');
    let name = tail.find(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(tail, |end| &tail[..end]);
    match odd {
        ')' => "unexpected right paren".to_owned(),
        '(' | ',' => format!("unexpected {:?} in operand", &tail[..1]),
        ':' if tail.starts_with(":=") => "unexpected \":=\" in operand".to_owned(),
        _ if !shown.starts_with(['"', '`', '\'', '(']) => {
            format!("bad character U+{:04X} {odd:?}", odd as u32)
        }
        '.' => format!("unexpected . after term {shown:?}"),
        _ if name.is_empty() => format!("unexpected {:?} in operand", odd.to_string()),
        _ => format!("unexpected {name:?} in operand"),
    }
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
    let mut value = Text::default();
    let mut chars = text[1..].char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value.read(), at + 2)),
            '\\' => {
                let escaped = unescape(&mut chars, '"');
                let unterminated = "unterminated quoted string";
                value.push(escaped.map_err(|why| why.map_or(unterminated, |_| "invalid syntax"))?);
            }
            '\n' => return Err("unterminated quoted string".to_owned()),
            c => value.push(Escaped::Char(c)),
        }
    }
    Err("unterminated quoted string".to_owned())
}

/// `'a'`, and its length.
fn character(text: &str) -> Result<(char, usize), String> {
    let mut chars = text[1..].char_indices();
    let c = match chars.next().map(|(_, c)| c) {
        None | Some('\'') => Err("invalid syntax"),
        Some('\\') => match unescape(&mut chars, '\'') {
            Ok(Escaped::Char(c)) => Ok(c),
            // Between these quotes a byte is the character of its number.
            Ok(Escaped::Byte(byte)) => Ok(char::from(byte)),
            Err(_) => Err("invalid syntax"),
        },
        Some(c) => Ok(c),
    }?;
    let (at, end) = chars.next().unwrap_or_default();
    if end != '\'' {
        let whole = chars.find(|(_, c)| *c == '\'').map_or(text, |(at, _)| &text[..at + 2]);
        return Err(format!("malformed character constant: {whole}"));
    }
    Ok((c, at + 2))
}

/// `stage` counts the calls before this one in its pipe.
fn call(words: Vec<Word>, stage: usize, place: Place) -> Result<Call, String> {
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
    let is_called = stage > 0 || words.len() > 0;
    let is_dot = matches!(&first.what, What::Argument(Argument::Field(path)) if path.is_empty());
    if stage > 0 && (is_dot || matches!(first.what, What::Argument(Argument::Literal(_)))) {
        return Err(format!("non executable command in pipeline stage {}", stage + 1));
    }
    Ok(match first.what {
        What::Function(function) => {
            Call::Function { function, name: first.place, arguments: words.map(operand).collect(), place }
        }
        What::Argument(Argument::Literal(Item::Nothing)) => Call::Fault(place.fails("nil is not a command")),
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
