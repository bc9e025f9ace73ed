//! The text of a template to its nodes. What Go finds out when it reads is refused here, in its words and with the line; what it
//! finds out when it runs becomes a fault of that node.

mod pipes;

use super::{Block, DEPTH_MAX, Definitions, LoopStop, Node, Pipe, Place};
use pipes::quoted;

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
    /// The template that is read: the whole, or one that is defined inside.
    template: String,
    defined: Definitions,
    whole: &'a str,
    rest: &'a str,
    depth: usize,
    /// `range` inside one another.
    loops: usize,
    variables: Vec<String>,
}

pub(super) fn template(kind: &'static str, text: &str) -> Result<(Vec<Node>, Definitions), String> {
    let mut reader = Reader {
        kind,
        template: kind.to_owned(),
        defined: Definitions::new(),
        whole: text,
        rest: text,
        depth: 0,
        loops: 0,
        variables: vec![],
    };
    let read = reader.nodes().and_then(|(nodes, end)| match end {
        Stop::TextEnd => Ok(nodes),
        Stop::IfEnd => Err("unexpected {{end}}".to_owned()),
        Stop::Else | Stop::ElseBlock(_) => Err("unexpected {{else}}".to_owned()),
    });
    let nodes = read.map_err(|why| {
        let done = &text[..text.len() - reader.rest.len()];
        format!("template: {kind}:{}: {why}", done.matches('\n').count() + 1)
    })?;
    Ok((nodes, reader.defined))
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
            let close = action_end(self.rest)?;
            let mut action = &self.rest[..close];
            self.rest = &self.rest[close + 2..];
            let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
            if let Some(trimmed) = action.strip_prefix('-').filter(|rest| rest.starts_with(blank)) {
                text = text.trim_end_matches(blank);
                action = &trimmed[1..];
            }
            if let Some(trimmed) = action.strip_suffix('-').filter(|rest| rest.ends_with(blank)) {
                self.rest = self.rest.trim_start_matches(blank);
                action = &trimmed[..trimmed.len() - 1];
            }
            if !text.is_empty() {
                nodes.push(Node::Text(text.to_owned()));
            }
            // A comment is one where nothing stands beside it.
            if let Some(comment) = action.strip_prefix("/*") {
                match comment.split_once("*/") {
                    Some((_, "")) => continue,
                    _ => return Err("comment ends before closing delimiter".to_owned()),
                }
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
        let (word, tail) = action.split_once(char::is_whitespace).unwrap_or((action, ""));
        match word {
            "end" => Ok(Action::Ends(Stop::IfEnd)),
            "else" => Ok(Action::Ends(match tail.trim() {
                "" => Stop::Else,
                tail => Stop::ElseBlock(tail.to_owned()),
            })),
            "if" | "with" | "range" if tail.trim().is_empty() => Err(format!("missing value for {word}")),
            "if" => {
                let condition = self.pipe(tail)?;
                self.branches(condition).map(Action::Node)
            }
            "with" => self.inside(Block::With, tail).map(Action::Node),
            "range" => self.inside(Block::Range, tail).map(Action::Node),
            "break" | "continue" if self.loops == 0 => Err(format!("{{{{{word}}}}} outside {{{{range}}}}")),
            "break" => Ok(Action::Node(Node::Stop(LoopStop::Break))),
            "continue" => Ok(Action::Node(Node::Stop(LoopStop::Continue))),
            "template" => self.call_of_template(tail).map(Action::Node),
            "block" => self.block(tail).map(Action::Node),
            "define" if self.depth > 1 => Err("unexpected <define> in command".to_owned()),
            "define" => {
                let (name, behind) = template_name(tail, word)?;
                if let Some(odd) = behind.split_whitespace().next() {
                    return Err(format!("unexpected {odd:?} in define clause"));
                }
                self.define(name)?;
                Ok(Action::Nothing)
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

    /// `"name" pipe`
    fn call_of_template(&self, clause: &str) -> Result<Node, String> {
        let (name, behind) = template_name(clause, "template")?;
        let (given, shown) = match behind.trim() {
            "" => (None, String::new()),
            _ => self.pipe_shown(behind).map(|(pipe, shown)| (Some(pipe), format!(" {shown}")))?,
        };
        let place = self.place(clause.trim_start(), format!("{{{{template {name:?}{shown}}}}}"));
        Ok(Node::Template { name, given, place })
    }

    /// A template that is called where it is defined.
    fn block(&mut self, clause: &str) -> Result<Node, String> {
        let (name, behind) = template_name(clause, "block")?;
        if behind.trim().is_empty() {
            return Err("missing value for block clause".to_owned());
        }
        let call = self.call_of_template(clause)?;
        self.define(name)?;
        Ok(call)
    }

    /// Reads a template up to its end; it knows no variable of the one around it.
    fn define(&mut self, name: String) -> Result<(), String> {
        let around = (
            std::mem::take(&mut self.variables),
            std::mem::take(&mut self.loops),
            std::mem::replace(&mut self.template, name.clone()),
        );
        let (nodes, end) = self.nodes()?;
        (self.variables, self.loops, self.template) = around;
        match end {
            Stop::IfEnd => {}
            Stop::TextEnd => return Err("unexpected EOF".to_owned()),
            Stop::Else | Stop::ElseBlock(_) => return Err("unexpected {{else}}".to_owned()),
        }
        // One that writes nothing may be told again.
        let writes = |nodes: &[Node]| {
            nodes.iter().any(|node| !matches!(node, Node::Text(text) if text.trim().is_empty()))
        };
        match self.defined.get(&name).is_some_and(|known| writes(known)) {
            true if writes(&nodes) => Err(format!("template: multiple definition of template {name:?}")),
            true => Ok(()),
            false => {
                self.defined.insert(name, nodes);
                Ok(())
            }
        }
    }

    fn inside(&mut self, block: Block, head: &str) -> Result<Node, String> {
        let (names, _, text) = assignment(head).unwrap_or((vec![], true, head));
        let (pipe, shown) = self.pipe_shown(text)?;
        let place = self.place(text.trim_start(), shown);
        let known = self.variables.len();
        self.variables.extend(names.iter().cloned());
        self.loops += usize::from(block == Block::Range);
        let (body, end) = self.nodes()?;
        self.loops -= usize::from(block == Block::Range);
        let (otherwise, end) = match end {
            Stop::Else => self.nodes()?,
            Stop::ElseBlock(next) if block == Block::With && next.starts_with("with ") => {
                (vec![self.inside(Block::With, &next["with ".len()..])?], Stop::IfEnd)
            }
            end => (vec![], end),
        };
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
            template: self.template.clone(),
            line: before.matches('\n').count() + 1,
            column: before.len() - line_start,
            shown,
        }
    }

    fn pipe(&self, text: &str) -> Result<Pipe, String> {
        self.pipe_shown(text).map(|(pipe, _)| pipe)
    }
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
fn action_end(text: &str) -> Result<usize, &'static str> {
    let trimmed = text.strip_prefix('-').map_or(text, str::trim_start);
    if trimmed.starts_with("/*") {
        // A quote in a comment is none.
        let behind = text.find("*/").ok_or("unclosed comment")? + 2;
        return text[behind..].find("}}").map(|at| behind + at).ok_or("unclosed action");
    }
    find_outside_of_quotes(text, |bytes| bytes.starts_with(b"}}")).map_err(|open| match open {
        Some(b'"') => "unterminated quoted string",
        Some(b'`') => "unterminated raw quoted string",
        Some(_) => "unterminated character constant",
        // Before it is missed, one that stands alone is found.
        None if find_outside_of_quotes(text, |bytes| bytes.starts_with(b"}")).is_ok() => {
            "bad character U+007D '}'"
        }
        None => "unclosed action",
    })
}

/// Where it is, else the quote that stays open, if one does.
fn find_outside_of_quotes(text: &str, mut is_it: impl FnMut(&[u8]) -> bool) -> Result<usize, Option<u8>> {
    let bytes = text.as_bytes();
    let (mut quote, mut at) = (None, 0);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"' | b'\''), b'\\') => at += 1,
            (Some(open), b) if open == b => quote = None,
            (Some(_), _) => {}
            (None, b @ (b'"' | b'`' | b'\'')) => quote = Some(b),
            (None, _) if is_it(&bytes[at..]) => return Ok(at),
            (None, _) => {}
        }
        at += 1;
    }
    Err(quote)
}

/// The name in `define "name"` and the like, and what stands behind it.
fn template_name<'t>(clause: &'t str, word: &str) -> Result<(String, &'t str), String> {
    let clause = clause.trim_start();
    match clause.as_bytes().first() {
        Some(b'"') => quoted(clause).map(|(name, length)| (name, &clause[length..])),
        Some(b'`') => {
            let (name, behind) = clause[1..].split_once('`').ok_or("unterminated raw quoted string")?;
            Ok((name.to_owned(), behind))
        }
        _ => {
            let odd = clause.split_whitespace().next().unwrap_or("}}");
            Err(format!("unexpected {odd:?} in {word} clause"))
        }
    }
}
