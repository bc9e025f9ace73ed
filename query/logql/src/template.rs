//! The templates of `line_format` and `label_format`: the part of Go's text/template that log queries use.
//!
//! Actions hold pipelines of fields (`.name`), variables, literals, functions and methods of times, `if`, `with` and `range` up to
//! their `end`, and templates that are defined inside.
//! Every function name is checked when the query is parsed. A template that fails on a line gives an error for that line, never
//! a panic.

mod functions;
mod layout;
mod print;
mod printf;
mod read;
mod time;
mod value;

use chrono::DateTime;
use functions::Function;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use time::Moment;
use value::Item;
pub(crate) use value::float_text;

/// Actions inside one another.
const DEPTH_MAX: usize = 16;
/// Templates that are called inside one another. Go has more, and a stack that grows.
const CALLS_MAX: usize = 20;
/// What one line may grow to.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// What a function may be given at a time: lines are shorter, and a value that is doubled again and again is not.
const ARGUMENT_BYTES_MAX: usize = 4 << 20;
/// Bytes that are handled for one line, so that `range` in `range` ends, too. Some tenths of a second.
const WORK_BYTES_MAX: usize = 1 << 28;
/// What a node costs that handles nothing.
const NODE_BYTES: usize = 64;

#[derive(Clone, Default)]
pub struct Template {
    text: String,
    nodes: Vec<Node>,
    defined: Definitions,
}

/// Templates inside a template, by name.
type Definitions = BTreeMap<String, Vec<Node>>;

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
        /// Of the pipe.
        place: Place,
    },
    /// `$name := pipe`, and `$name = pipe` where it is not new.
    Set {
        name: String,
        pipe: Pipe,
        is_new: bool,
    },
    Stop(LoopStop),
    /// A template that is defined inside, with what it is given; where it is called.
    Template {
        name: String,
        given: Option<Pipe>,
        place: Place,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoopStop {
    Break,
    Continue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    With,
    Range,
}

/// `first | second | third`: each takes the value before it as its last argument.
type Pipe = Vec<Call>;

/// How Go tells where in a template it failed: what it was to be `line` or `label`, the template that is defined inside, and the node.
#[derive(Clone, Debug, Default)]
struct Place {
    kind: &'static str,
    template: String,
    line: usize,
    column: usize,
    shown: String,
}

impl Place {
    fn fails(&self, why: impl fmt::Display) -> String {
        let Place { kind, template, line, column, shown } = self;
        format!("template: {kind}:{line}:{column}: executing {template:?} at <{shown}>: {why}")
    }
}

#[derive(Clone, Debug)]
enum Call {
    /// With the place of the whole call and of the name.
    Function {
        function: Function,
        arguments: Vec<Operand>,
        place: Place,
        name: Place,
    },
    Operand(Operand),
    /// The last name of a path with arguments; the fault where the item before it has no such method.
    Method {
        of: Operand,
        name: String,
        arguments: Vec<Operand>,
        fault: String,
    },
    /// What Go finds out only when it comes to it.
    Fault(String),
}

#[derive(Clone, Debug)]
struct Operand {
    argument: Argument,
    place: Place,
}

#[derive(Clone, Debug)]
enum Argument {
    Field(String),
    /// `$name.path`; without a name what the dot was at first.
    Variable(String, String),
    Literal(Item),
    Pipe(Pipe),
    /// `(pipe).path`
    Chain(Pipe, String),
    /// `__line__` and `__timestamp__` are functions without arguments.
    Line,
    Timestamp,
}

/// What a template reads of a line.
pub(crate) struct Scope<'a> {
    pub field: &'a dyn Fn(&str) -> Option<String>,
    pub all: &'a dyn Fn() -> Vec<(String, String)>,
    pub line: &'a str,
    pub ts_ns: i64,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.text)
    }
}

impl Template {
    /// A template of a `line` or of a `label`, as its errors call it.
    ///
    /// # Errors
    /// Go's words for what does not read.
    pub fn parse(kind: &'static str, text: &str) -> Result<Template, String> {
        let (nodes, defined) = read::template(kind, text)?;
        Ok(Template { text: text.to_owned(), nodes, defined })
    }

    /// One that writes nothing, for a text that did not read.
    pub(crate) fn unread(text: &str) -> Template {
        Template { text: text.to_owned(), ..Template::default() }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Calls `see` with each field that the template may read.
    pub(crate) fn fields(&self, see: &mut impl FnMut(&str)) {
        visit_nodes(&self.nodes, see);
        self.defined.values().for_each(|nodes| visit_nodes(nodes, see));
    }

    pub(crate) fn render(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), String> {
        let mut frame = Frame {
            scope,
            defined: &self.defined,
            calls: 0,
            given: None,
            dot: None,
            variables: vec![],
            stopped: None,
            work: Cell::new(0),
        };
        render(&self.nodes, &mut frame, out)
    }
}

/// What actions see: the dot, where it is no longer the line's labels, and the variables.
struct Frame<'a> {
    scope: &'a Scope<'a>,
    defined: &'a Definitions,
    /// Templates that this one is called inside of.
    calls: usize,
    /// What the dot was at first, where it was not the line's labels.
    given: Option<Item>,
    dot: Option<Item>,
    variables: Vec<(String, Item)>,
    /// The round of a `range` is over before its end.
    stopped: Option<LoopStop>,
    /// Bytes handled so far.
    work: Cell<usize>,
}

impl Frame<'_> {
    fn spend(&self, bytes: usize) -> Result<(), String> {
        let done = self.work.get().saturating_add(bytes);
        self.work.set(done);
        match done > WORK_BYTES_MAX {
            true => Err(format!("template handles more than {WORK_BYTES_MAX} bytes for one line")),
            false => Ok(()),
        }
    }
}

fn visit_nodes(nodes: &[Node], see: &mut impl FnMut(&str)) {
    for node in nodes {
        match node {
            Node::Text(_) | Node::Stop(_) => {}
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
            Node::Template { given, .. } => visit_pipe(given.as_deref().unwrap_or_default(), see),
        }
    }
}

fn visit_pipe(pipe: &[Call], see: &mut impl FnMut(&str)) {
    for call in pipe {
        let (first, others) = match call {
            Call::Function { arguments, .. } => (None, arguments.as_slice()),
            Call::Method { of, arguments, .. } => (Some(of), arguments.as_slice()),
            Call::Operand(operand) => (Some(operand), Default::default()),
            Call::Fault(_) => (None, Default::default()),
        };
        for operand in first.into_iter().chain(others) {
            match &operand.argument {
                Argument::Field(path) | Argument::Variable(_, path) => see(first_of(path).0),
                Argument::Pipe(inner) | Argument::Chain(inner, _) => visit_pipe(inner, see),
                Argument::Literal(_) | Argument::Line | Argument::Timestamp => {}
            }
        }
    }
}

/// The first name of a path, and the rest.
fn first_of(path: &str) -> (&str, &str) {
    path.split_once('.').unwrap_or((path, ""))
}

fn render(nodes: &[Node], frame: &mut Frame<'_>, out: &mut String) -> Result<(), String> {
    let before = frame.variables.len();
    for node in nodes {
        frame.spend(NODE_BYTES)?;
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Value(pipe) => out.push_str(&evaluate(pipe, frame)?.to_string()),
            Node::Stop(stop) => {
                frame.stopped = Some(*stop);
                break;
            }
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
            Node::Inside { block, names, pipe, body, otherwise, place } => {
                let rounds = rounds(*block, evaluate(pipe, frame)?, names.len());
                let mut rounds = rounds.map_err(|why| place.fails(why))?.peekable();
                if rounds.peek().is_none() {
                    render(otherwise, frame, out)?;
                }
                for (key, item) in rounds {
                    frame.spend(NODE_BYTES)?;
                    render_inside(names, (key, item), body, frame, out)?;
                    if *block == Block::Range && frame.stopped.take() == Some(LoopStop::Break) {
                        break;
                    }
                }
            }
            Node::Set { name, pipe, is_new } => {
                let item = evaluate(pipe, frame)?;
                let known = frame.variables.iter_mut().rev().find(|(known, _)| known == name);
                match known.filter(|_| !is_new) {
                    Some((_, old)) => *old = item,
                    None if *is_new => frame.variables.push((name.clone(), item)),
                    None => return Err(format!("undefined variable: ${name}")),
                }
            }
            Node::Template { name, given, place } => {
                render_template(name, given.as_deref(), place, frame, out)?;
            }
        }
        if frame.stopped.is_some() {
            break;
        }
        if out.len() > OUTPUT_BYTES_MAX {
            return Err(format!("template output is longer than {OUTPUT_BYTES_MAX} bytes"));
        }
    }
    frame.variables.truncate(before);
    Ok(())
}

/// Key and dot of each round.
type Rounds = Box<dyn Iterator<Item = (Item, Item)>>;

/// What a body with so many variables is rendered for.
fn rounds(block: Block, item: Item, names: usize) -> Result<Rounds, String> {
    let rounds: Rounds = match (block, item) {
        (Block::With, item) if item.is_true() => Box::new(std::iter::once((Item::Nothing, item))),
        (Block::With, _) | (Block::Range, Item::Nothing) => Box::new(std::iter::empty()),
        (Block::Range, Item::List(items)) => Box::new((0..).map(Item::Int).zip(items)),
        (Block::Range, Item::Map(entries)) => {
            Box::new(entries.into_iter().map(|(name, item)| (Item::Text(name), item)))
        }
        (Block::Range, Item::Int(count)) if names > 1 => {
            return Err(format!("can't use {count} to iterate over more than one variable"));
        }
        (Block::Range, Item::Int(count)) => Box::new((0..count).map(|at| (Item::Int(at), Item::Int(at)))),
        (Block::Range, item) => return Err(format!("range can't iterate over {item}")),
    };
    Ok(rounds)
}

/// A template that is called sees what it is given, and no variable of who calls it.
fn render_template(
    name: &str,
    given: Option<&[Call]>,
    place: &Place,
    frame: &mut Frame<'_>,
    out: &mut String,
) -> Result<(), String> {
    let (scope, defined) = (frame.scope, frame.defined);
    let Some(nodes) = defined.get(name) else {
        return Err(place.fails(format!("template {name:?} not defined")));
    };
    if frame.calls >= CALLS_MAX {
        return Err(place.fails(format!("exceeded maximum template depth ({CALLS_MAX})")));
    }
    let given = match given {
        Some(pipe) if are_labels(pipe, frame) => None,
        Some(pipe) => Some(evaluate(pipe, frame)?),
        None => Some(Item::Nothing),
    };
    let (calls, dot, work) = (frame.calls + 1, given.clone(), frame.work.clone());
    let mut inner = Frame { scope, defined, calls, given, dot, variables: vec![], stopped: None, work };
    let rendered = render(nodes, &mut inner, out);
    frame.work = inner.work;
    rendered
}

/// Whether it is `.` or `$`, and that the line's labels, of which one that is not there is empty.
fn are_labels(pipe: &[Call], frame: &Frame<'_>) -> bool {
    let [Call::Operand(operand)] = pipe else { return false };
    match &operand.argument {
        Argument::Field(path) => path.is_empty() && frame.dot.is_none(),
        Argument::Variable(name, path) => name.is_empty() && path.is_empty() && frame.given.is_none(),
        _ => false,
    }
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
            Call::Operand(operand) => operand_value(operand, frame)?,
            Call::Function { function, arguments, place, name } => {
                let count = arguments.len() + usize::from(value.is_some());
                function.check_count(count).map_err(|why| name.fails(why))?;
                let mut items = Vec::with_capacity(count);
                for operand in arguments {
                    let item = operand_value(operand, frame)?;
                    let is_written = matches!(operand.argument, Argument::Literal(_));
                    let checked = function.check(
                        items.len(),
                        &item,
                        is_written.then_some(operand.place.shown.as_str()),
                    );
                    checked.map_err(|why| operand.place.fails(why))?;
                    items.push(item);
                }
                if let Some(item) = value.take() {
                    let checked = function.check(items.len(), &item, None);
                    checked.map_err(|why| arguments.last().map_or(name, |last| &last.place).fails(why))?;
                    items.push(item);
                }
                let fails = |why| place.fails(format!("error calling {}: {why}", function.name()));
                if items.iter().map(Item::bytes).sum::<usize>() > ARGUMENT_BYTES_MAX {
                    return Err(fails(format!("more than {ARGUMENT_BYTES_MAX} bytes are given to it")));
                }
                frame.spend(function.bytes())?;
                let made = function.call(&items).map_err(fails)?;
                frame.spend(made.bytes())?;
                made
            }
            Call::Method { of, name, arguments, fault } => {
                let item = operand_value(of, frame)?;
                if !matches!(item, Item::Time(_) | Item::Named(_)) {
                    return Err(fault.clone());
                }
                let mut given = Vec::with_capacity(arguments.len() + 1);
                for operand in arguments {
                    given.push(operand_value(operand, frame)?);
                }
                given.extend(value.take());
                let made = time::method(&item, name, &given).ok_or_else(|| fault.clone())?;
                let made = made.map_err(|why| of.place.fails(why))?;
                frame.spend(made.bytes())?;
                made
            }
            Call::Fault(why) => return Err(why.clone()),
        });
    }
    value.ok_or_else(|| "template: empty action".to_owned())
}

fn operand_value(operand: &Operand, frame: &Frame<'_>) -> Result<Item, String> {
    let of_line = |path: &str| {
        let (name, rest) = first_of(path);
        if name.is_empty() {
            let labels = (frame.scope.all)().into_iter().map(|(name, value)| (name, Item::Text(value)));
            return Ok(Item::Map(labels.collect()));
        }
        Item::Text((frame.scope.field)(name).unwrap_or_default()).at(rest)
    };
    let found = match &operand.argument {
        Argument::Field(path) => match &frame.dot {
            None => of_line(path),
            // As of a template that is given nothing.
            Some(Item::Nothing) => Ok(Item::Nothing),
            Some(dot) => dot.at(path),
        },
        Argument::Variable(name, path) if name.is_empty() => match &frame.given {
            None => of_line(path),
            Some(given) => given.at(path),
        },
        Argument::Variable(name, path) => {
            let found = frame.variables.iter().rev().find(|(known, _)| known == name);
            found.map_or(Ok(Item::Nothing), |(_, item)| item.at(path))
        }
        Argument::Literal(item) => Ok(item.clone()),
        Argument::Pipe(pipe) => return evaluate(pipe, frame),
        Argument::Chain(pipe, path) => match evaluate(pipe, frame)? {
            Item::Nothing => Ok(Item::Nothing),
            item => item.at(path),
        },
        Argument::Line => Ok(Item::Text(frame.scope.line.to_owned())),
        Argument::Timestamp => Ok(Item::Time(Moment::utc(DateTime::from_timestamp_nanos(frame.scope.ts_ns)))),
    };
    let item = found.map_err(|why| operand.place.fails(why))?;
    frame.spend(item.bytes())?;
    Ok(item)
}

#[cfg(test)]
mod tests;
