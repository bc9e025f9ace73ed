//! The text of a template to its nodes. What Go finds out when it reads is refused here, in its words and with the line; what it
//! finds out when it runs becomes a fault of that node.

use super::{Argument, Block, Call, DEPTH_MAX, Function, Item, LoopStop, Node, Operand, Pipe, Place};
use crate::lexer::unescape;

/// Where a run of nodes stopped.
enum Stop {
    TextEnd,
    IfEnd,
    Else,
    /// `else if` and `else with`, and what stands behind.
    ElseBlock(String),
}

enum Action {
    Node(Node),
    Nothing,
    Ends(Stop),
}

struct Reader<'a> {
    kind: &'static str,
    whole: &'a str,
    rest: &'a str,
    depth: usize,
    /// `range` inside one another.
    loops: usize,
    variables: Vec<String>,
}

pub(super) fn nodes(kind: &'static str, text: &str) -> Result<Vec<Node>, String> {
    let mut reader = Reader { kind, whole: text, rest: text, depth: 0, loops: 0, variables: vec![] };
    let read = reader.nodes().and_then(|(nodes, end)| match end {
        Stop::TextEnd => Ok(nodes),
        Stop::IfEnd => Err("unexpected {{end}}".to_owned()),
        Stop::Else | Stop::ElseBlock(_) => Err("unexpected {{else}}".to_owned()),
    });
    read.map_err(|why| {
        let done = &text[..text.len() - reader.rest.len()];
        format!("template: {kind}:{}: {why}", done.matches('\n').count() + 1)
    })
}

impl Reader<'_> {
    fn nodes(&mut self) -> Result<(Vec<Node>, Stop), String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX}"));
        }
        let known = self.variables.len();
        let mut nodes = Vec::new();
        let end = loop {
            let Some(open) = self.rest.find("{{") else {
                nodes.push(Node::Text(std::mem::take(&mut self.rest).to_owned()));
                break Stop::TextEnd;
            };
            let mut text = &self.rest[..open];
            self.rest = &self.rest[open + 2..];
            let close = action_end(self.rest).ok_or("unclosed action")?;
            let mut action = &self.rest[..close];
            self.rest = &self.rest[close + 2..];
            let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
            if let Some(trimmed) = action.strip_prefix('-').filter(|rest| rest.starts_with(blank)) {
                text = text.trim_end_matches(blank);
                action = trimmed;
            }
            if let Some(trimmed) = action.strip_suffix('-').filter(|rest| rest.ends_with(blank)) {
                self.rest = self.rest.trim_start_matches(blank);
                action = trimmed;
            }
            if !text.is_empty() {
                nodes.push(Node::Text(text.to_owned()));
            }
            match self.action(action.trim())? {
                Action::Node(node) => nodes.push(node),
                Action::Nothing => {}
                Action::Ends(end) => break end,
            }
        };
        self.depth -= 1;
        self.variables.truncate(known);
        Ok((nodes, end))
    }

    fn action(&mut self, action: &str) -> Result<Action, String> {
        if action.starts_with("/*") {
            return Ok(Action::Nothing);
        }
        let (word, tail) = action.split_once(char::is_whitespace).unwrap_or((action, ""));
        match word {
            "end" => Ok(Action::Ends(Stop::IfEnd)),
            "else" => Ok(Action::Ends(match tail.trim() {
                "" => Stop::Else,
                tail => Stop::ElseBlock(tail.to_owned()),
            })),
            "if" => {
                let condition = self.pipe(tail)?;
                self.branches(condition).map(Action::Node)
            }
            "with" => self.inside(Block::With, tail).map(Action::Node),
            "range" => self.inside(Block::Range, tail).map(Action::Node),
            "break" | "continue" if self.loops == 0 => Err(format!("{{{{{word}}}}} outside {{{{range}}}}")),
            "break" => Ok(Action::Node(Node::Stop(LoopStop::Break))),
            "continue" => Ok(Action::Node(Node::Stop(LoopStop::Continue))),
            "define" | "template" | "block" => {
                Err(format!("{{{{{word}}}}} is not supported here; use if, with, range, else and end"))
            }
            _ => match assignment(action) {
                Some((names, is_new, pipe)) if names.len() == 1 => {
                    let pipe = self.pipe(pipe)?;
                    let name = names[0].clone();
                    if is_new {
                        self.variables.push(name.clone());
                    }
                    Ok(Action::Node(Node::Set { name, pipe, is_new }))
                }
                _ => Ok(Action::Node(Node::Value(self.pipe(action)?))),
            },
        }
    }

    fn inside(&mut self, block: Block, head: &str) -> Result<Node, String> {
        let (names, _, text) = assignment(head).unwrap_or((vec![], true, head));
        let (pipe, shown) = self.pipe_shown(text)?;
        let place = self.place(text.trim_start(), shown);
        let known = self.variables.len();
        self.variables.extend(names.iter().cloned());
        self.loops += usize::from(block == Block::Range);
        let (body, mut end) = self.nodes()?;
        self.loops -= usize::from(block == Block::Range);
        let mut otherwise = vec![];
        if let Stop::Else = end {
            (otherwise, end) = self.nodes()?;
        }
        self.variables.truncate(known);
        match end {
            Stop::IfEnd => Ok(Node::Inside { block, names, pipe, body, otherwise, place }),
            Stop::TextEnd => Err("unexpected EOF".to_owned()),
            Stop::Else | Stop::ElseBlock(_) => Err("expected end; found {{else}}".to_owned()),
        }
    }

    fn branches(&mut self, condition: Pipe) -> Result<Node, String> {
        let mut branches = Vec::new();
        let mut condition = Some(condition);
        loop {
            let (body, end) = self.nodes()?;
            let is_last = condition.is_none();
            let otherwise = match condition.take() {
                Some(pipe) => {
                    branches.push((pipe, body));
                    Vec::new()
                }
                None => body,
            };
            match end {
                Stop::IfEnd => return Ok(Node::If { branches, otherwise }),
                Stop::TextEnd => return Err("unexpected EOF".to_owned()),
                _ if is_last => return Err("expected end; found {{else}}".to_owned()),
                Stop::ElseBlock(next) => match next.strip_prefix("if ") {
                    Some(next) => condition = Some(self.pipe(next)?),
                    None => return Err(format!("unexpected <{next}> in else")),
                },
                Stop::Else => {}
            }
        }
    }

    /// Where `at` begins, which is a part of the template, or of a copy of a part: then where reading is.
    fn place(&self, at: &str, shown: String) -> Place {
        let (start, whole) = (at.as_ptr() as usize, self.whole.as_ptr() as usize);
        let offset = start.checked_sub(whole).filter(|offset| *offset <= self.whole.len());
        let before = &self.whole[..offset.unwrap_or(self.whole.len() - self.rest.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
            kind: self.kind,
            line: before.matches('\n').count() + 1,
            column: before.len() - line_start,
            shown,
        }
    }

    fn pipe(&self, text: &str) -> Result<Pipe, String> {
        self.pipe_shown(text).map(|(pipe, _)| pipe)
    }

    /// A pipe, and how Go writes it.
    fn pipe_shown(&self, text: &str) -> Result<(Pipe, String), String> {
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
        let what = match literal {
            Some(item) => What::Argument(Argument::Literal(item)),
            None if word == "__line__" => What::Argument(Argument::Line),
            None if word == "__timestamp__" => {
                let path = if tail.starts_with('.') { path_length(tail) } else { 0 };
                if path > 0 {
                    return Err(format!("unexpected {:?} in operand", &tail[..path]));
                }
                What::Argument(Argument::Timestamp)
            }
            None => What::Function(Function::named(word)?),
        };
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

/// The variables before `:=` or `=`, without their dollar signs, whether they are new, and what stands behind it.
fn assignment(text: &str) -> Option<(Vec<String>, bool, &str)> {
    let text = text.trim_start();
    let (before, behind) = text.starts_with('$').then(|| text.split_once('='))??;
    let (before, is_new) = before.strip_suffix(':').map_or((before, false), |before| (before, true));
    let name = |name: &str| {
        let name = name.trim().strip_prefix('$')?;
        name.chars().all(|c| c.is_alphanumeric() || c == '_').then(|| name.to_owned())
    };
    Some((before.split(',').map(name).collect::<Option<_>>()?, is_new, behind))
}

/// Where the action's `}}` stands, not looking into strings.
fn action_end(text: &str) -> Option<usize> {
    find_outside_of_quotes(text, |bytes| bytes.starts_with(b"}}"))
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
}

fn find_outside_of_quotes(text: &str, mut is_it: impl FnMut(&[u8]) -> bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut quote, mut at) = (None, 0);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"' | b'\''), b'\\') => at += 1,
            (Some(open), b) if open == b => quote = None,
            (Some(_), _) => {}
            (None, b @ (b'"' | b'`' | b'\'')) => quote = Some(b),
            (None, _) if is_it(&bytes[at..]) => return Some(at),
            (None, _) => {}
        }
        at += 1;
    }
    None
}

/// The text between quotes, and the length with them.
fn quoted(text: &str) -> Result<(String, usize), String> {
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
        What::Argument(Argument::Field(ref path)) if is_called => {
            let name = path.rsplit('.').next().unwrap_or_default();
            Call::Fault(first.place.fails(format!("{name} is not a method but has arguments")))
        }
        What::Argument(_) if is_called => {
            let shown = first.place.shown.clone();
            Call::Fault(first.place.fails(format!("can't give argument to non-function {shown}")))
        }
        What::Argument(_) => Call::Operand(operand(first)),
    })
}
