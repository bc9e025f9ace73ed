//! Text to syntax tree.

use super::{functions, names};

const BYTES_MAX: usize = 64 << 10;
/// Of nested blocks and parentheses together.
const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Text(String),
    Pipeline(Pipeline),
    /// Each condition with its body, then what is left.
    If {
        arms: Vec<(Pipeline, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
    Range {
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        value: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// The text of a `define`, written with another `.`.
    Call {
        name: String,
        dot: Option<Pipeline>,
    },
}

/// A template and the ones that it defines.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    pub nodes: Vec<Node>,
    pub defined: Vec<(String, Vec<Node>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// `$a := …`, or `$a, $b := …` in a range.
    pub variables: Vec<String>,
    /// `=` rather than `:=`.
    pub assigns: bool,
    pub commands: Vec<Vec<Operand>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Text(String),
    Integer(i64),
    Number(f64),
    Truth(bool),
    Nil,
    /// `.` and its fields.
    Dot(Vec<String>),
    Variable(String, Vec<String>),
    Function(&'static str),
    Nested(Box<Pipeline>, Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(String),
    Variable(String),
    /// `.name`, joined to what is before it.
    Field(String),
    Dot,
    Open,
    Close,
    Pipe,
    Comma,
    Declare,
    Assign,
    /// Between operands: `(f).x` and `(f) .x` differ.
    Space,
}

pub fn template(text: &str) -> Result<Parsed, String> {
    if text.len() > BYTES_MAX {
        return Err(format!("{} bytes; at most {BYTES_MAX} are taken", text.len()));
    }
    let mut parser = Parser { pieces: pieces(text)?, next: 0, defined: vec![] };
    let (nodes, end) = parser.nodes(0)?;
    match end {
        Stop::Text => {
            let parsed = Parsed { nodes, defined: parser.defined };
            names::check(&parsed)?;
            Ok(parsed)
        }
        Stop::Close => Err("{{ end }} without a block".into()),
        Stop::Else(_) => Err("{{ else }} without a block".into()),
    }
}

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut rest, mut trim) = (vec![], text, false);
    while !rest.is_empty() {
        let (plain, action) = match rest.find("{{") {
            Some(at) => (&rest[..at], Some(&rest[at + 2..])),
            None => (rest, None),
        };
        let plain = if trim { plain.trim_start() } else { plain };
        let Some(action) = action else {
            pieces.push(Piece::Text(plain.to_owned()));
            break;
        };
        let (trims_left, inside) = match action.strip_prefix("- ") {
            Some(inside) => (true, inside),
            None => (false, action),
        };
        pieces.push(Piece::Text(if trims_left { plain.trim_end() } else { plain }.to_owned()));
        let (inside, after) = action_text(inside)?;
        let (inside, trims_right) = match inside.strip_suffix('-') {
            Some(shorter)
                if shorter.ends_with(char::is_whitespace) || inside.trim_start().starts_with("/*") =>
            {
                (shorter, true)
            }
            _ => (inside, false),
        };
        let comment = inside.trim();
        if !comment.starts_with("/*") {
            pieces.push(Piece::Action(tokens(inside)?));
        } else if !comment.ends_with("*/") {
            return Err("a comment is not closed with */".into());
        }
        (rest, trim) = (after, trims_right);
    }
    Ok(pieces)
}

/// What is inside up to `}}` (not one within quotes), and what is after it.
fn action_text(text: &str) -> Result<(&str, &str), String> {
    let bytes = text.as_bytes();
    let mut i = 0;
    if text.trim_start().starts_with("/*") {
        let end = text.find("*/").ok_or("a comment is not closed with */")?;
        i = end + 2;
    }
    while i < bytes.len() {
        match bytes[i] {
            quote @ (b'"' | b'`' | b'\'') => {
                i += 1;
                while i < bytes.len() && bytes[i] != quote {
                    i += if bytes[i] == b'\\' && quote != b'`' { 2 } else { 1 };
                }
                if i >= bytes.len() {
                    return Err("a quote is not closed".into());
                }
            }
            b'}' if bytes.get(i + 1) == Some(&b'}') => return Ok((&text[..i], &text[i + 2..])),
            _ => {}
        }
        i += 1;
    }
    Err("{{ is not closed with }}".into())
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let letters: Vec<char> = text.chars().collect();
    let (mut tokens, mut i) = (vec![], 0);
    let word_from = |start: usize| -> String {
        letters[start..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect()
    };
    while let Some(&letter) = letters.get(i) {
        match letter {
            c if c.is_whitespace() => {
                i += 1;
                if tokens.last() != Some(&Token::Space) {
                    tokens.push(Token::Space);
                }
                continue;
            }
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            '|' => tokens.push(Token::Pipe),
            ',' => tokens.push(Token::Comma),
            '=' => tokens.push(Token::Assign),
            ':' if letters.get(i + 1) == Some(&'=') => {
                tokens.push(Token::Declare);
                i += 1;
            }
            '"' | '`' | '\'' => {
                let (text, end) = quoted(&letters, i)?;
                tokens.push(Token::Text(text));
                i = end;
            }
            '$' => {
                let name = word_from(i + 1);
                i += name.chars().count();
                tokens.push(Token::Variable(name));
            }
            '.' => {
                let name = word_from(i + 1);
                i += name.chars().count();
                tokens.push(if name.is_empty() { Token::Dot } else { Token::Field(name) });
            }
            c if c.is_ascii_digit()
                || ((c == '-' || c == '+') && letters.get(i + 1).is_some_and(char::is_ascii_digit)) =>
            {
                let number: String = std::iter::once(c)
                    .chain(
                        letters[i + 1..]
                            .iter()
                            .copied()
                            .take_while(|c| c.is_ascii_alphanumeric() || *c == '.'),
                    )
                    .collect();
                i += number.len() - 1;
                tokens.push(Token::Number(number));
            }
            c if c.is_alphabetic() || c == '_' => {
                let word = word_from(i);
                i += word.chars().count() - 1;
                tokens.push(Token::Word(word));
            }
            other => return Err(format!("unexpected {other:?} in {:?}", text.trim())),
        }
        i += 1;
    }
    while tokens.last() == Some(&Token::Space) {
        tokens.pop();
    }
    Ok(tokens)
}

/// The text of the quote that opens at `start`, and where it closes.
fn quoted(letters: &[char], start: usize) -> Result<(String, usize), String> {
    let quote = letters[start];
    let (mut text, mut i) = (String::new(), start + 1);
    loop {
        match letters.get(i) {
            None => return Err("a quote is not closed".into()),
            Some(c) if *c == quote => return Ok((text, i)),
            Some('\\') if quote != '`' => {
                i += 1;
                match letters.get(i) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(c @ ('\\' | '"' | '\'')) => text.push(*c),
                    other => return Err(format!("unknown escape \\{}", other.copied().unwrap_or(' '))),
                }
            }
            Some(c) => text.push(*c),
        }
        i += 1;
    }
}

/// What ended a list of nodes.
enum Stop {
    /// The text's own end.
    Text,
    Close,
    /// With the `if …` or `with …` after it, if any.
    Else(Vec<Token>),
}

struct Parser {
    pieces: Vec<Piece>,
    next: usize,
    defined: Vec<(String, Vec<Node>)>,
}

impl Parser {
    fn nodes(&mut self, depth: usize) -> Result<(Vec<Node>, Stop), String> {
        if depth > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} blocks inside one another"));
        }
        let mut nodes = vec![];
        while self.next < self.pieces.len() {
            self.next += 1;
            let tokens = match &mut self.pieces[self.next - 1] {
                Piece::Text(text) => {
                    if !text.is_empty() {
                        nodes.push(Node::Text(std::mem::take(text)));
                    }
                    continue;
                }
                Piece::Action(tokens) => std::mem::take(tokens),
            };
            let mut tokens: &[Token] = trim(&tokens);
            let word = match tokens.first() {
                Some(Token::Word(word)) => word.as_str(),
                Some(_) => "",
                None => return Err("an action is empty: {{ }}".into()),
            };
            if matches!(
                word,
                "if" | "range"
                    | "with"
                    | "else"
                    | "end"
                    | "define"
                    | "template"
                    | "block"
                    | "break"
                    | "continue"
            ) {
                tokens = trim(&tokens[1..]);
            }
            match word {
                "end" => return Ok((nodes, Stop::Close)),
                "else" => return Ok((nodes, Stop::Else(tokens.to_vec()))),
                "if" => nodes.push(self.if_block(tokens, depth)?),
                "range" => {
                    let over = pipeline(tokens, depth)?;
                    let (body, otherwise) = self.body(depth)?;
                    nodes.push(Node::Range { over, body, otherwise });
                }
                "with" => {
                    let value = pipeline(tokens, depth)?;
                    let (body, otherwise) = self.body(depth)?;
                    nodes.push(Node::With { value, body, otherwise });
                }
                "define" => {
                    let [Token::Text(name)] = tokens else {
                        return Err("define needs a name in quotes".into());
                    };
                    let body = self.rest(depth)?;
                    self.defined.push((name.clone(), body));
                }
                "template" => {
                    let Some((Token::Text(name), dot)) = tokens.split_first() else {
                        return Err("template needs a name in quotes".into());
                    };
                    let dot = trim(dot);
                    let dot = if dot.is_empty() { None } else { Some(pipeline(dot, depth)?) };
                    nodes.push(Node::Call { name: name.clone(), dot });
                }
                "block" | "break" | "continue" => {
                    return Err(format!("{{{{ {word} }}}} is not supported in rules"));
                }
                _ => nodes.push(Node::Pipeline(pipeline(tokens, depth)?)),
            }
        }
        Ok((nodes, Stop::Text))
    }

    fn if_block(&mut self, condition: &[Token], depth: usize) -> Result<Node, String> {
        let mut arms = vec![];
        let mut condition = pipeline(condition, depth)?;
        loop {
            let (body, end) = self.nodes(depth + 1)?;
            arms.push((condition, body));
            match end {
                Stop::Close => return Ok(Node::If { arms, otherwise: vec![] }),
                Stop::Text => return Err("a block is not closed with {{ end }}".into()),
                Stop::Else(tokens) => match trim(&tokens).split_first() {
                    None => return Ok(Node::If { arms, otherwise: self.rest(depth)? }),
                    Some((Token::Word(word), rest)) if word == "if" => {
                        condition = pipeline(trim(rest), depth)?
                    }
                    Some(_) => return Err("after {{ else only `if …` can follow".into()),
                },
            }
        }
    }

    fn body(&mut self, depth: usize) -> Result<(Vec<Node>, Vec<Node>), String> {
        match self.nodes(depth + 1)? {
            (body, Stop::Close) => Ok((body, vec![])),
            (body, Stop::Else(tokens)) if tokens.is_empty() => Ok((body, self.rest(depth)?)),
            (_, Stop::Else(_)) => Err("{{ else if }} belongs to {{ if }}".into()),
            (_, Stop::Text) => Err("a block is not closed with {{ end }}".into()),
        }
    }

    fn rest(&mut self, depth: usize) -> Result<Vec<Node>, String> {
        match self.nodes(depth + 1)? {
            (nodes, Stop::Close) => Ok(nodes),
            _ => Err("a block is not closed with {{ end }}".into()),
        }
    }
}

fn trim(mut tokens: &[Token]) -> &[Token] {
    while let Some((Token::Space, rest)) = tokens.split_first() {
        tokens = rest;
    }
    while let Some((Token::Space, rest)) = tokens.split_last() {
        tokens = rest;
    }
    tokens
}

fn pipeline(tokens: &[Token], depth: usize) -> Result<Pipeline, String> {
    if depth > DEPTH_MAX {
        return Err(format!("more than {DEPTH_MAX} parentheses inside one another"));
    }
    let (mut variables, mut assigns, mut rest) = (vec![], false, tokens);
    if let Some(at) = declaration(tokens) {
        assigns = tokens[at] == Token::Assign;
        for token in &tokens[..at] {
            if let Token::Variable(name) = token {
                variables.push(name.clone());
            }
        }
        rest = &tokens[at + 1..];
    }
    let mut commands = vec![];
    for part in split_pipes(rest)? {
        let operands = operands(trim(part), depth)?;
        if operands.is_empty() {
            return Err("a value is missing in a pipeline".into());
        }
        commands.push(operands);
    }
    Ok(Pipeline { variables, assigns, commands })
}

/// Where `:=` or `=` is, if the pipeline begins with variables and one of them.
fn declaration(tokens: &[Token]) -> Option<usize> {
    let at = tokens.iter().position(|token| matches!(token, Token::Declare | Token::Assign))?;
    let only_names =
        tokens[..at].iter().all(|t| matches!(t, Token::Variable(_) | Token::Space | Token::Comma));
    (only_names && at > 0).then_some(at)
}

fn split_pipes(tokens: &[Token]) -> Result<Vec<&[Token]>, String> {
    let (mut parts, mut open, mut start) = (vec![], 0usize, 0);
    for (i, token) in tokens.iter().enumerate() {
        match token {
            Token::Open => open += 1,
            Token::Close => open = open.checked_sub(1).ok_or("a ) without (")?,
            Token::Pipe if open == 0 => {
                parts.push(&tokens[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    if open > 0 {
        return Err("a ( is not closed".into());
    }
    parts.push(&tokens[start..]);
    Ok(parts)
}

fn operands(tokens: &[Token], depth: usize) -> Result<Vec<Operand>, String> {
    let (mut operands, mut i) = (vec![], 0);
    while i < tokens.len() {
        let joined = i > 0 && tokens[i - 1] != Token::Space;
        match &tokens[i] {
            Token::Space => {}
            Token::Field(name) if joined => match operands.last_mut() {
                Some(Operand::Dot(path) | Operand::Variable(_, path) | Operand::Nested(_, path)) => {
                    path.push(name.clone());
                }
                _ => return Err(format!(".{name} is not a field of anything")),
            },
            Token::Field(name) => operands.push(Operand::Dot(vec![name.clone()])),
            Token::Dot => operands.push(Operand::Dot(vec![])),
            Token::Variable(name) => operands.push(Operand::Variable(name.clone(), vec![])),
            Token::Text(text) => operands.push(Operand::Text(text.clone())),
            Token::Number(text) => operands.push(number(text)?),
            Token::Word(word) => operands.push(match word.as_str() {
                "true" => Operand::Truth(true),
                "false" => Operand::Truth(false),
                "nil" => Operand::Nil,
                name => {
                    Operand::Function(functions::find(name).ok_or_else(|| format!("no function {name:?}"))?)
                }
            }),
            Token::Open => {
                let close = closing(tokens, i).ok_or("a ( is not closed")?;
                let inside = pipeline(trim(&tokens[i + 1..close]), depth + 1)?;
                operands.push(Operand::Nested(Box::new(inside), vec![]));
                i = close;
            }
            other => return Err(format!("unexpected {other:?}")),
        }
        i += 1;
    }
    Ok(operands)
}

fn closing(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Open => depth += 1,
            Token::Close if depth == 1 => return Some(i),
            Token::Close => depth -= 1,
            _ => {}
        }
    }
    None
}

fn number(text: &str) -> Result<Operand, String> {
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(integer), _) => Ok(Operand::Integer(integer)),
        (_, Ok(number)) => Ok(Operand::Number(number)),
        _ => Err(format!("{text:?} is not a number")),
    }
}
