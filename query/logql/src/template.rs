//! The templates of `line_format` and `label_format`: the part of Go's text/template that log queries use.
//!
//! Actions hold pipelines of fields (`.name`), variables, literals and functions, and `if`, `with` and `range` up to their `end`.
//! Every function name is checked when the query is parsed. A template that fails on a line gives an error for that line, never
//! a panic.

mod functions;
mod value;

use crate::lexer::unescape;
use chrono::DateTime;
use functions::Function;
use std::fmt;
use value::Item;

/// Actions inside one another.
const DEPTH_MAX: usize = 16;
/// What one line may grow to.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

#[derive(Clone)]
pub struct Template {
    text: String,
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    Text(String),
    Value(Pipe),
    If {
        branches: Vec<(Pipe, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
    /// `with` and `range`, whose body has another dot.
    Inside {
        block: Block,
        names: Vec<String>,
        pipe: Pipe,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// `$name := pipe` and `$name = pipe`.
    Set {
        name: String,
        pipe: Pipe,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    With,
    Range,
}

/// `first | second | third`: each takes the value before it as its last argument.
type Pipe = Vec<Call>;

#[derive(Clone, Debug)]
enum Call {
    Function(Function, Vec<Argument>),
    Argument(Argument),
    /// What Go finds out only when it comes to it.
    Fault(String),
}

#[derive(Clone, Debug)]
enum Argument {
    Field(String),
    /// `$name.path`; without a name what the dot was at first.
    Variable(String, String),
    Literal(Item),
    Pipe(Pipe),
    /// `__line__` and `__timestamp__` are functions without arguments.
    Line,
    Timestamp,
}

/// What a template reads of a line.
pub(crate) struct Scope<'a> {
    pub field: &'a dyn Fn(&str) -> Option<String>,
    pub line: &'a str,
    pub ts_ns: i64,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.text)
    }
}

impl Template {
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut reader = Reader { rest: text, depth: 0 };
        let (nodes, end) = reader.nodes()?;
        match end {
            Stop::TextEnd => Ok(Template { text: text.to_owned(), nodes }),
            _ => Err("template: unexpected {{end}} or {{else}}".to_owned()),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Calls `see` with each field that the template may read.
    pub(crate) fn fields(&self, see: &mut impl FnMut(&str)) {
        visit_nodes(&self.nodes, see);
    }

    pub(crate) fn render(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), String> {
        render(&self.nodes, &mut Frame { scope, dot: None, variables: vec![] }, out)
    }
}

/// What actions see: the dot, where it is no longer the line's labels, and the variables.
struct Frame<'a> {
    scope: &'a Scope<'a>,
    dot: Option<Item>,
    variables: Vec<(String, Item)>,
}

fn visit_nodes(nodes: &[Node], see: &mut impl FnMut(&str)) {
    for node in nodes {
        match node {
            Node::Text(_) => {}
            Node::Value(pipe) => visit_pipe(pipe, see),
            Node::If { branches, otherwise } => {
                for (condition, body) in branches {
                    visit_pipe(condition, see);
                    visit_nodes(body, see);
                }
                visit_nodes(otherwise, see);
            }
            Node::Inside { pipe, body, otherwise, .. } => {
                visit_pipe(pipe, see);
                visit_nodes(body, see);
                visit_nodes(otherwise, see);
            }
            Node::Set { pipe, .. } => visit_pipe(pipe, see),
        }
    }
}

fn visit_pipe(pipe: &[Call], see: &mut impl FnMut(&str)) {
    for call in pipe {
        let arguments = match call {
            Call::Function(_, arguments) => arguments.as_slice(),
            Call::Argument(argument) => std::slice::from_ref(argument),
            Call::Fault(_) => &[],
        };
        for argument in arguments {
            match argument {
                Argument::Field(name) => see(name),
                Argument::Variable(_, path) => see(path),
                Argument::Pipe(inner) => visit_pipe(inner, see),
                Argument::Literal(_) | Argument::Line | Argument::Timestamp => {}
            }
        }
    }
}

fn render(nodes: &[Node], frame: &mut Frame<'_>, out: &mut String) -> Result<(), String> {
    let before = frame.variables.len();
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Value(pipe) => out.push_str(&evaluate(pipe, frame)?.to_string()),
            Node::If { branches, otherwise } => {
                let mut taken = otherwise;
                for (condition, body) in branches {
                    if evaluate(condition, frame)?.is_true() {
                        taken = body;
                        break;
                    }
                }
                render(taken, frame, out)?;
            }
            Node::Inside { block, names, pipe, body, otherwise } => {
                let rounds = rounds(*block, evaluate(pipe, frame)?)?;
                if rounds.is_empty() {
                    render(otherwise, frame, out)?;
                }
                for (key, item) in rounds {
                    render_inside(names, (key, item), body, frame, out)?;
                }
            }
            Node::Set { name, pipe } => {
                let item = evaluate(pipe, frame)?;
                frame.variables.push((name.clone(), item));
            }
        }
        if out.len() > OUTPUT_BYTES_MAX {
            return Err(format!("template output is longer than {OUTPUT_BYTES_MAX} bytes"));
        }
    }
    frame.variables.truncate(before);
    Ok(())
}

/// What a body is rendered for: key and dot.
fn rounds(block: Block, item: Item) -> Result<Vec<(Item, Item)>, String> {
    Ok(match (block, item) {
        (Block::With, item) if item.is_true() => vec![(Item::Nothing, item)],
        (Block::With, _) | (Block::Range, Item::Nothing) => vec![],
        (Block::Range, Item::List(items)) => (0..).map(Item::Int).zip(items).collect(),
        (Block::Range, Item::Map(entries)) => {
            entries.into_iter().map(|(name, item)| (Item::Text(name), item)).collect()
        }
        (Block::Range, item) => return Err(format!("template: range can't iterate over {item}")),
    })
}

/// One variable is the item, of two the first is its place.
fn render_inside(
    names: &[String],
    (key, item): (Item, Item),
    body: &[Node],
    frame: &mut Frame<'_>,
    out: &mut String,
) -> Result<(), String> {
    let before = frame.variables.len();
    match names {
        [of_item] => frame.variables.push((of_item.clone(), item.clone())),
        [of_key, of_item, ..] => {
            frame.variables.push((of_key.clone(), key));
            frame.variables.push((of_item.clone(), item.clone()));
        }
        [] => {}
    }
    let dot = frame.dot.replace(item);
    let rendered = render(body, frame, out);
    frame.dot = dot;
    frame.variables.truncate(before);
    rendered
}

fn evaluate(pipe: &[Call], frame: &Frame<'_>) -> Result<Item, String> {
    let mut value: Option<Item> = None;
    for call in pipe {
        value = Some(match call {
            Call::Argument(argument) => argument_value(argument, frame)?,
            Call::Function(function, arguments) => {
                let mut items = Vec::with_capacity(arguments.len() + 1);
                for argument in arguments {
                    items.push(argument_value(argument, frame)?);
                }
                items.extend(value.take());
                function.check_count(items.len())?;
                function.call(&items)?
            }
            Call::Fault(why) => return Err(why.clone()),
        });
    }
    value.ok_or_else(|| "template: empty action".to_owned())
}

fn argument_value(argument: &Argument, frame: &Frame<'_>) -> Result<Item, String> {
    let label = |name: &str| Item::Text((frame.scope.field)(name).unwrap_or_default());
    Ok(match argument {
        Argument::Field(name) => match &frame.dot {
            None => label(name),
            Some(dot) => dot.at(name),
        },
        Argument::Variable(name, path) if name.is_empty() => label(path),
        Argument::Variable(name, path) => {
            let found = frame.variables.iter().rev().find(|(known, _)| known == name);
            found.map_or(Item::Nothing, |(_, item)| item.at(path))
        }
        Argument::Literal(item) => item.clone(),
        Argument::Pipe(pipe) => evaluate(pipe, frame)?,
        Argument::Line => Item::Text(frame.scope.line.to_owned()),
        Argument::Timestamp => Item::Time(DateTime::from_timestamp_nanos(frame.scope.ts_ns)),
    })
}

/// Where a run of nodes stopped.
enum Stop {
    TextEnd,
    IfEnd,
    Else,
    ElseIf(Pipe),
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn nodes(&mut self) -> Result<(Vec<Node>, Stop), String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("template: nested deeper than {DEPTH_MAX}"));
        }
        let mut nodes = Vec::new();
        let end = loop {
            let Some(open) = self.rest.find("{{") else {
                nodes.push(Node::Text(std::mem::take(&mut self.rest).to_owned()));
                break Stop::TextEnd;
            };
            let mut text = &self.rest[..open];
            self.rest = &self.rest[open + 2..];
            let close = action_end(self.rest).ok_or("template: unclosed action")?;
            let mut action = &self.rest[..close];
            self.rest = &self.rest[close + 2..];
            if let Some(trimmed) = action.strip_prefix("- ") {
                text = text.trim_end();
                action = trimmed;
            }
            if let Some(trimmed) = action.strip_suffix(" -") {
                self.rest = self.rest.trim_start();
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
        Ok((nodes, end))
    }

    fn action(&mut self, action: &str) -> Result<Action, String> {
        if action.starts_with("/*") {
            return Ok(Action::Nothing);
        }
        let (word, tail) = action.split_once(char::is_whitespace).unwrap_or((action, ""));
        match word {
            "end" => Ok(Action::Ends(Stop::IfEnd)),
            "else" => match tail.trim().strip_prefix("if ") {
                Some(condition) => Ok(Action::Ends(Stop::ElseIf(parse_pipe(condition, 0)?))),
                None => Ok(Action::Ends(Stop::Else)),
            },
            "if" => self.branches(parse_pipe(tail, 0)?).map(Action::Node),
            "with" => self.inside(Block::With, tail).map(Action::Node),
            "range" => self.inside(Block::Range, tail).map(Action::Node),
            "define" | "template" | "block" | "break" | "continue" => Err(format!(
                "template: {{{{{word}}}}} is not supported here; use if, with, range, else and end"
            )),
            _ => match assignment(action) {
                Some((names, pipe)) if names.len() == 1 => {
                    Ok(Action::Node(Node::Set { name: names[0].clone(), pipe: parse_pipe(pipe, 0)? }))
                }
                _ => Ok(Action::Node(Node::Value(parse_pipe(action, 0)?))),
            },
        }
    }

    fn inside(&mut self, block: Block, head: &str) -> Result<Node, String> {
        let (names, pipe) = assignment(head).unwrap_or((vec![], head));
        let pipe = parse_pipe(pipe, 0)?;
        let (body, mut end) = self.nodes()?;
        let mut otherwise = vec![];
        if let Stop::Else = end {
            (otherwise, end) = self.nodes()?;
        }
        match end {
            Stop::IfEnd => Ok(Node::Inside { block, names, pipe, body, otherwise }),
            _ => Err("template: with or range without end".to_owned()),
        }
    }

    fn branches(&mut self, condition: Pipe) -> Result<Node, String> {
        let mut branches = Vec::new();
        let mut condition = Some(condition);
        loop {
            let (body, end) = self.nodes()?;
            let otherwise = match condition.take() {
                Some(pipe) => {
                    branches.push((pipe, body));
                    Vec::new()
                }
                None => body,
            };
            match end {
                Stop::IfEnd => return Ok(Node::If { branches, otherwise }),
                Stop::ElseIf(next) => condition = Some(next),
                Stop::Else if otherwise.is_empty() => {}
                Stop::Else | Stop::TextEnd => return Err("template: if without end".to_owned()),
            }
        }
    }
}

enum Action {
    Node(Node),
    Nothing,
    Ends(Stop),
}

/// The variables before `:=` or `=`, without their dollar signs, and what stands behind it.
fn assignment(text: &str) -> Option<(Vec<String>, &str)> {
    let text = text.trim_start();
    let (before, behind) = text.starts_with('$').then(|| text.split_once('='))??;
    let before = before.strip_suffix(':').unwrap_or(before);
    let name = |name: &str| {
        let name = name.trim().strip_prefix('$')?;
        name.chars().all(|c| c.is_alphanumeric() || c == '_').then(|| name.to_owned())
    };
    Some((before.split(',').map(name).collect::<Option<_>>()?, behind))
}

/// Where the action's `}}` stands, not looking into strings.
fn action_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quote = None;
    let mut at = 0;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(open), b) if open == b => quote = None,
            (Some(_), _) => {}
            (None, b @ (b'"' | b'`')) => quote = Some(b),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn parse_pipe(text: &str, depth: usize) -> Result<Pipe, String> {
    if depth > DEPTH_MAX {
        return Err(format!("template: nested deeper than {DEPTH_MAX}"));
    }
    let mut pipe = Vec::new();
    let mut words: Vec<Word> = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if rest.is_empty() || rest.starts_with('|') {
            pipe.push(call(std::mem::take(&mut words), !pipe.is_empty())?);
            if rest.is_empty() {
                return Ok(pipe);
            }
            rest = rest[1..].trim_start();
            continue;
        }
        let (word, tail) = next_word(rest, depth)?;
        words.push(word);
        rest = tail.trim_start();
    }
}

enum Word {
    Name(String),
    Argument(Argument),
}

fn next_word(text: &str, depth: usize) -> Result<(Word, &str), String> {
    let bytes = text.as_bytes();
    match bytes[0] {
        b'(' => {
            let end = closing(text).ok_or("template: unclosed left paren")?;
            Ok((Word::Argument(Argument::Pipe(parse_pipe(&text[1..end], depth + 1)?)), &text[end + 1..]))
        }
        b'`' => {
            let end = text[1..].find('`').ok_or("template: unterminated raw quoted string")? + 1;
            let item = Item::Text(text[1..end].to_owned());
            Ok((Word::Argument(Argument::Literal(item)), &text[end + 1..]))
        }
        b'"' => quoted(text),
        sign @ (b'.' | b'$') => {
            let end = text[1..]
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
                .map_or(text.len(), |at| at + 1);
            let name = &text[1..end];
            let argument = match sign {
                b'.' => Argument::Field(name.to_owned()),
                _ => {
                    let (name, path) = name.split_once('.').unwrap_or((name, ""));
                    Argument::Variable(name.to_owned(), path.to_owned())
                }
            };
            Ok((Word::Argument(argument), &text[end..]))
        }
        _ => {
            let end =
                text.find(|c: char| c.is_whitespace() || matches!(c, '|' | '(' | ')')).unwrap_or(text.len());
            if end == 0 {
                return Err(format!("template: unexpected {:?}", &text[..1.min(text.len())]));
            }
            let word = &text[..end];
            let literal = match word {
                "true" => Some(Item::Bool(true)),
                "false" => Some(Item::Bool(false)),
                _ => word.parse::<i64>().map(Item::Int).or_else(|_| word.parse().map(Item::Float)).ok(),
            };
            let starts_name = word.starts_with(|c: char| c.is_alphabetic() || c == '_');
            match literal {
                Some(item) if !starts_name || matches!(item, Item::Bool(_)) => {
                    Ok((Word::Argument(Argument::Literal(item)), &text[end..]))
                }
                _ if starts_name => Ok((Word::Name(word.to_owned()), &text[end..])),
                _ => Err(format!("template: unexpected {word:?}")),
            }
        }
    }
}

fn quoted(text: &str) -> Result<(Word, &str), String> {
    let mut value = String::new();
    let mut chars = text[1..].char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Word::Argument(Argument::Literal(Item::Text(value))), &text[at + 2..])),
            '\\' => {
                let escape = chars.next().map(|(_, c)| c).ok_or("template: unterminated quoted string")?;
                value.push(unescape(escape, &mut chars).ok_or("template: invalid escape in a string")?);
            }
            c => value.push(c),
        }
    }
    Err("template: unterminated quoted string".to_owned())
}

/// Where the parenthesis that opens the text closes.
fn closing(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut quote, mut at) = (0usize, None, 0);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(open), b) if open == b => quote = None,
            (Some(_), _) => {}
            (None, b @ (b'"' | b'`')) => quote = Some(b),
            (None, b'(') => depth += 1,
            (None, b')') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn call(words: Vec<Word>, piped: bool) -> Result<Call, String> {
    let mut words = words.into_iter();
    let argument = |word| match word {
        Word::Argument(argument) => Ok(argument),
        Word::Name(name) if name == "__line__" => Ok(Argument::Line),
        Word::Name(name) if name == "__timestamp__" => Ok(Argument::Timestamp),
        Word::Name(name) => {
            let function = Function::named(&name)?;
            Ok(Argument::Pipe(vec![Call::Function(function, Vec::new())]))
        }
    };
    match words.next() {
        None => Err("template: missing value for command".to_owned()),
        Some(Word::Name(name)) if name != "__line__" && name != "__timestamp__" => {
            let function = Function::named(&name)?;
            let arguments = words.map(argument).collect::<Result<Vec<_>, _>>()?;
            Ok(Call::Function(function, arguments))
        }
        Some(Word::Argument(Argument::Field(name))) if !piped && words.len() > 0 => Ok(Call::Fault(format!(
            "template: line:1: executing \"line\" at <.{name}>: {name} is not a method but has arguments"
        ))),
        Some(first) => {
            if piped || words.next().is_some() {
                return Err("template: can't give argument to non-function".to_owned());
            }
            argument(first).map(Call::Argument)
        }
    }
}

#[cfg(test)]
mod tests;
