//! From the text of a condition to the condition. What is not known here is told with the place where it stands.

use super::{About, Comparison, Condition, Operand, Path};
use model::Value;
use regex::Regex;

/// Parentheses inside one another.
const DEPTH_MAX: usize = 64;

const PATHS: &str = "attributes[\"…\"], name, kind, status.code, status.message and trace_state of a span, attributes[\"…\"] and \
                     name of an event, resource.attributes[\"…\"], and of instrumentation_scope attributes[\"…\"], name and version";

const SIGNS: [&str; 12] = ["==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ".", ","];

/// The protocol's names of its numbers.
const ENUMS: [(&str, i64); 9] = [
    ("SPAN_KIND_UNSPECIFIED", 0),
    ("SPAN_KIND_INTERNAL", 1),
    ("SPAN_KIND_SERVER", 2),
    ("SPAN_KIND_CLIENT", 3),
    ("SPAN_KIND_PRODUCER", 4),
    ("SPAN_KIND_CONSUMER", 5),
    ("STATUS_CODE_UNSET", 0),
    ("STATUS_CODE_OK", 1),
    ("STATUS_CODE_ERROR", 2),
];

enum Token {
    Word(String),
    Text(String),
    Number(Value),
    Sign(&'static str),
}

pub(super) fn condition(text: &str, about: About) -> Result<Condition, String> {
    let tokens = tokens(text).map_err(|(at, why)| wrong(text, at, &why))?;
    let mut parser = Parser { text, about, tokens, next: 0 };
    let condition = parser.any(0)?;
    match parser.peek() {
        None => Ok(condition),
        Some(_) => Err(parser.wrong("expected and, or, or the end")),
    }
}

fn wrong(text: &str, at: usize, why: &str) -> String {
    match &text[at..] {
        "" => format!("condition {text:?}, at its end: {why}"),
        rest => format!("condition {text:?}, at {rest:?}: {why}"),
    }
}

/// Each with the byte that it begins at.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, (usize, String)> {
    let (mut tokens, mut at) = (vec![], 0);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let read = match first {
            '"' => quoted(rest),
            'a'..='z' | 'A'..='Z' | '_' => Ok(word(rest)),
            '0'..='9' | '-' | '+' => number(rest),
            '.' if rest[1..].starts_with(|next: char| next.is_ascii_digit()) => number(rest),
            _ => sign(rest),
        };
        let (token, length) = read.map_err(|why| (at, why))?;
        tokens.push((at, token));
        at += length;
    }
    Ok(tokens)
}

fn word(rest: &str) -> (Token, usize) {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    (Token::Word(rest[..end].to_owned()), end)
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let is_of_it = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+');
    let end = rest.find(|c: char| !is_of_it(c)).unwrap_or(rest.len());
    let text = &rest[..end];
    let value = match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(number), _) => Value::Int(number),
        (Err(_), Ok(number)) if text.contains('.') => Value::Double(number),
        _ => return Err("this is no number of 64 bits, and nothing is computed here".to_owned()),
    };
    Ok((Token::Number(value), end))
}

fn quoted(rest: &str) -> Result<(Token, usize), String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(text), at + 1)),
            '\\' => text.push(match chars.next() {
                Some((_, escaped @ ('"' | '\\'))) => escaped,
                Some((_, 'n')) => '\n',
                Some((_, 't')) => '\t',
                Some((_, 'r')) => '\r',
                _ => return Err(r#"after \ there is \, ", n, t or r; write \\d for a digit"#.to_owned()),
            }),
            c => text.push(c),
        }
    }
    Err("this text has no end".to_owned())
}

fn sign(rest: &str) -> Result<(Token, usize), String> {
    let sign = SIGNS.iter().copied().find(|sign| rest.starts_with(*sign));
    sign.map(|sign| (Token::Sign(sign), sign.len())).ok_or_else(|| "this is not known here".to_owned())
}

struct Parser<'a> {
    text: &'a str,
    about: About,
    tokens: Vec<(usize, Token)>,
    next: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn wrong(&self, why: &str) -> String {
        wrong(self.text, self.tokens.get(self.next).map_or(self.text.len(), |(at, _)| *at), why)
    }

    fn sign(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.next += usize::from(is_next);
        is_next
    }

    fn word(&mut self, word: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token::Word(next)) if next == word);
        self.next += usize::from(is_next);
        is_next
    }

    fn expected(&mut self, sign: &str) -> Result<(), String> {
        if self.sign(sign) { Ok(()) } else { Err(self.wrong(&format!("expected {sign}"))) }
    }

    fn text(&mut self) -> Result<String, String> {
        let Some(Token::Text(text)) = self.peek() else {
            return Err(self.wrong("expected a text in quotes"));
        };
        let text = text.clone();
        self.next += 1;
        Ok(text)
    }

    fn any(&mut self, depth: usize) -> Result<Condition, String> {
        let mut any = vec![self.all(depth)?];
        while self.word("or") {
            any.push(self.all(depth)?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Condition::Any(any) })
    }

    fn all(&mut self, depth: usize) -> Result<Condition, String> {
        let mut all = vec![self.one(depth)?];
        while self.word("and") {
            all.push(self.one(depth)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::All(all) })
    }

    fn one(&mut self, depth: usize) -> Result<Condition, String> {
        match self.word("not") {
            true => Ok(Condition::Not(Box::new(self.plain(depth)?))),
            false => self.plain(depth),
        }
    }

    fn plain(&mut self, depth: usize) -> Result<Condition, String> {
        if depth >= DEPTH_MAX {
            return Err(self.wrong(&format!("parentheses are at most {DEPTH_MAX} inside one another")));
        }
        if self.sign("(") {
            let inner = self.any(depth + 1)?;
            self.expected(")")?;
            return Ok(inner);
        }
        if let Some(called) = self.call()? {
            return Ok(called);
        }
        let left = self.operand()?;
        match (self.comparison(), left) {
            (Some(op), left) => Ok(Condition::Compares(left, op, self.operand()?)),
            (None, Operand::Literal(Value::Bool(truth))) => Ok(Condition::Always(truth)),
            (None, _) => Err(self.wrong("expected ==, !=, <, <=, > or >=")),
        }
    }

    /// A function, which stands before a parenthesis.
    fn call(&mut self) -> Result<Option<Condition>, String> {
        let Some(Token::Word(name)) = self.peek() else { return Ok(None) };
        let name = name.clone();
        if !matches!(self.tokens.get(self.next + 1), Some((_, Token::Sign("(")))) {
            return Ok(None);
        }
        if !matches!(name.as_str(), "IsMatch" | "IsRootSpan") {
            return Err(self.wrong("of the functions IsMatch and IsRootSpan are known here"));
        }
        self.next += 2;
        if name == "IsRootSpan" {
            self.expected(")")?;
            return Ok(Some(Condition::IsRoot));
        }
        let operand = self.operand()?;
        self.expected(",")?;
        let at = self.next;
        let regex = Regex::new(&self.text()?).map_err(|why| {
            self.next = at;
            self.wrong(&why.to_string())
        })?;
        self.expected(")")?;
        Ok(Some(Condition::Matches(operand, regex)))
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let Some(Token::Sign(sign)) = self.peek() else { return None };
        let op = match *sign {
            "==" => Comparison::Equal,
            "!=" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        };
        self.next += 1;
        Some(op)
    }

    fn operand(&mut self) -> Result<Operand, String> {
        let known = match self.peek() {
            Some(Token::Text(text)) => Operand::Literal(Value::from(text.as_str())),
            Some(Token::Number(number)) => Operand::Literal(number.clone()),
            Some(Token::Word(word)) => match word.as_str() {
                "nil" => Operand::Nil,
                "true" => Operand::Literal(Value::Bool(true)),
                "false" => Operand::Literal(Value::Bool(false)),
                word => match ENUMS.iter().find(|(name, _)| *name == word) {
                    Some((_, number)) => Operand::Literal(Value::Int(*number)),
                    None => return self.path().map(Operand::Path),
                },
            },
            _ => return Err(self.wrong("expected a value")),
        };
        self.next += 1;
        Ok(known)
    }

    fn path(&mut self) -> Result<Path, String> {
        let begin = self.next;
        let (mut names, mut key) = (vec![], None);
        while let Some(Token::Word(name)) = self.peek() {
            names.push(name.clone());
            self.next += 1;
            if !self.sign(".") {
                break;
            }
        }
        if self.sign("[") {
            key = Some(self.text()?);
            self.expected("]")?;
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        path_of(self.about, &names, key).ok_or_else(|| {
            self.next = begin;
            self.wrong(&format!("this path is not known here; those are: {PATHS}"))
        })
    }
}

fn path_of(about: About, names: &[&str], key: Option<String>) -> Option<Path> {
    let (about, names) = match names {
        ["span", own @ ..] => (About::Span, own),
        ["spanevent", own @ ..] if about == About::Event => (About::Event, own),
        _ => (about, names),
    };
    Some(match (about, names, key) {
        (_, ["resource", "attributes"], Some(key)) => Path::ResourceAttribute(key),
        (_, ["instrumentation_scope" | "scope", "attributes"], Some(key)) => Path::ScopeAttribute(key),
        (_, ["instrumentation_scope" | "scope", "name"], None) => Path::ScopeName,
        (_, ["instrumentation_scope" | "scope", "version"], None) => Path::ScopeVersion,
        (About::Event, ["attributes"], Some(key)) => Path::EventAttribute(key),
        (About::Event, ["name"], None) => Path::EventName,
        (About::Span, ["attributes"], Some(key)) => Path::SpanAttribute(key),
        (About::Span, ["name"], None) => Path::SpanName,
        (About::Span, ["kind"], None) => Path::Kind,
        (About::Span, ["status", "code"], None) => Path::Status,
        (About::Span, ["status", "message"], None) => Path::StatusMessage,
        (About::Span, ["trace_state"], None) => Path::TraceState,
        _ => return None,
    })
}
