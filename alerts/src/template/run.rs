//! Syntax tree to text.

use super::parse::{Node, Operand, Parsed, Pipeline};
use super::{Context, Failed, functions, print};
use model::Labels;
use std::cmp::Ordering;

/// Ranges over query results inside one another multiply; this ends them.
const STEPS_MAX: usize = 100_000;
const BYTES_MAX: usize = 64 << 10;
/// A template may call itself; this ends it before the stack does.
const CALLS_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Nil,
    Truth(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    Labels(Labels),
    List(Vec<Value>),
    /// One series of a query's answer.
    Sample(Labels, f64),
    /// `.` at the top: `.Labels`, `.Value`, `.ExternalURL`.
    Top,
}

pub fn run(parsed: &Parsed, context: &Context<'_>) -> Result<String, Failed> {
    let mut runner = Runner {
        context,
        parsed,
        calls: 0,
        variables: vec![
            ("".into(), Value::Top),
            ("labels".into(), Value::Labels(context.labels.clone())),
            ("externalLabels".into(), Value::Labels(Labels::empty())),
            ("externalURL".into(), Value::Text(context.external_url.to_owned())),
            ("value".into(), Value::Number(context.value)),
        ],
        steps: 0,
        out: String::new(),
    };
    runner.nodes(&parsed.nodes, &Value::Top)?;
    Ok(runner.out)
}

struct Runner<'c> {
    context: &'c Context<'c>,
    parsed: &'c Parsed,
    /// Defined texts inside one another.
    calls: usize,
    /// Innermost last; a name is looked up from the end.
    variables: Vec<(String, Value)>,
    steps: usize,
    out: String,
}

fn wrong<T>(why: impl Into<String>) -> Result<T, Failed> {
    Err(Failed::Wrong(why.into()))
}

impl Runner<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), Failed> {
        let outer = self.variables.len();
        for node in nodes {
            self.node(node, dot)?;
        }
        self.variables.truncate(outer);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), Failed> {
        self.step()?;
        match node {
            Node::Text(text) => self.write(text),
            Node::Pipeline(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() { self.write(&value.print()) } else { Ok(()) }
            }
            Node::If { arms, otherwise } => {
                let outer = self.variables.len();
                for (condition, body) in arms {
                    if self.pipeline(condition, dot)?.is_true() {
                        self.nodes(body, dot)?;
                        self.variables.truncate(outer);
                        return Ok(());
                    }
                }
                self.nodes(otherwise, dot)?;
                self.variables.truncate(outer);
                Ok(())
            }
            Node::With { value, body, otherwise } => {
                let outer = self.variables.len();
                let value = self.pipeline(value, dot)?;
                let ran = if value.is_true() { self.nodes(body, &value) } else { self.nodes(otherwise, dot) };
                self.variables.truncate(outer);
                ran
            }
            Node::Range { over, body, otherwise } => self.range(over, body, otherwise, dot),
            Node::Call { name, dot: argument } => {
                let argument =
                    argument.as_ref().map_or(Ok(Value::Nil), |argument| self.pipeline(argument, dot))?;
                self.call(name, argument)
            }
        }
    }

    fn call(&mut self, name: &str, argument: Value) -> Result<(), Failed> {
        let Some((_, body)) = self.parsed.defined.iter().find(|(known, _)| known == name) else {
            return wrong(format!("template {name:?} is not defined"));
        };
        self.calls += 1;
        if self.calls > CALLS_MAX {
            return wrong(format!("more than {CALLS_MAX} templates inside one another"));
        }
        let outer = std::mem::replace(&mut self.variables, vec![(String::new(), argument.clone())]);
        let ran = self.nodes(body, &argument);
        self.variables = outer;
        self.calls -= 1;
        ran
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<(), Failed> {
        // Its variables stand for key and element, not for the list.
        let list = Pipeline { variables: vec![], ..over.clone() };
        let entries = self.pipeline(&list, dot)?.entries().map_err(Failed::Wrong)?;
        if entries.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let outer = self.variables.len();
        for (key, element) in entries {
            self.step()?;
            match over.variables.as_slice() {
                [one] => self.variables.push((one.clone(), element.clone())),
                [first, second] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), element.clone()));
                }
                _ => {}
            }
            self.nodes(body, &element)?;
            self.variables.truncate(outer);
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Failed> {
        self.steps += 1;
        if self.steps > STEPS_MAX { wrong(format!("more than {STEPS_MAX} steps")) } else { Ok(()) }
    }

    fn write(&mut self, text: &str) -> Result<(), Failed> {
        self.out.push_str(text);
        if self.out.len() > BYTES_MAX {
            wrong(format!("the text is longer than {BYTES_MAX} bytes"))
        } else {
            Ok(())
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Failed> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value, dot)?);
        }
        let value = value.unwrap_or(Value::Nil);
        for name in &pipeline.variables {
            match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
                Some((_, known)) if pipeline.assigns => *known = value.clone(),
                None if pipeline.assigns => return wrong(format!("${name} is not declared; write :=")),
                _ => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    /// `piped` is the last argument, as Go has it.
    fn command(&mut self, command: &[Operand], piped: Option<Value>, dot: &Value) -> Result<Value, Failed> {
        self.step()?;
        let Some((first, rest)) = command.split_first() else { return Ok(Value::Nil) };
        let Operand::Function(name) = first else {
            if !rest.is_empty() || piped.is_some() {
                return wrong("a value that is no function cannot have arguments");
            }
            return self.operand(first, dot);
        };
        if matches!(*name, "and" | "or") {
            return self.shortcut(name, rest, piped, dot);
        }
        let mut arguments =
            rest.iter().map(|operand| self.operand(operand, dot)).collect::<Result<Vec<_>, _>>()?;
        arguments.extend(piped);
        if *name == "query" {
            return self.query(&arguments);
        }
        let (url, now_ms) = (self.context.external_url, self.context.now_ms);
        functions::call(name, &arguments, url, now_ms).map_err(Failed::Wrong)
    }

    fn shortcut(
        &mut self,
        name: &str,
        operands: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, Failed> {
        let mut last = Value::Nil;
        for operand in operands {
            last = self.operand(operand, dot)?;
            if last.is_true() == (name == "or") {
                return Ok(last);
            }
        }
        Ok(piped.unwrap_or(last))
    }

    fn query(&self, arguments: &[Value]) -> Result<Value, Failed> {
        let [Value::Text(query)] = arguments else { return wrong("query takes one text") };
        match self.context.queries.get(query) {
            Some(samples) => Ok(Value::List(
                samples.iter().map(|(labels, value)| Value::Sample(labels.clone(), *value)).collect(),
            )),
            None => Err(Failed::Query(query.clone())),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Failed> {
        let (value, path) = match operand {
            Operand::Text(text) => return Ok(Value::Text(text.clone())),
            Operand::Integer(integer) => return Ok(Value::Integer(*integer)),
            Operand::Number(number) => return Ok(Value::Number(*number)),
            Operand::Truth(truth) => return Ok(Value::Truth(*truth)),
            Operand::Nil => return Ok(Value::Nil),
            Operand::Function(_) => return self.command(std::slice::from_ref(operand), None, dot),
            Operand::Dot(path) => (dot.clone(), path),
            Operand::Variable(name, path) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                match known {
                    Some((_, value)) => (value.clone(), path),
                    None => return wrong(format!("${name} is not declared")),
                }
            }
            Operand::Nested(pipeline, path) => (self.pipeline(pipeline, dot)?, path),
        };
        path.iter().try_fold(value, |value, name| self.field(&value, name))
    }

    fn field(&self, value: &Value, name: &str) -> Result<Value, Failed> {
        Ok(match (value, name) {
            (Value::Top, "Labels") => Value::Labels(self.context.labels.clone()),
            (Value::Top, "Value") => Value::Number(self.context.value),
            (Value::Top, "ExternalURL") => Value::Text(self.context.external_url.to_owned()),
            (Value::Top, "ExternalLabels") => Value::Labels(Labels::empty()),
            (Value::Sample(labels, _), "Labels") => Value::Labels(labels.clone()),
            (Value::Sample(_, value), "Value") => Value::Number(*value),
            (Value::Labels(labels), name) => Value::Text(labels.get(name).unwrap_or("").to_owned()),
            _ => return wrong(format!("no field {name:?}")),
        })
    }
}

impl Value {
    pub fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Truth(truth) => *truth,
            Value::Integer(integer) => *integer != 0,
            Value::Number(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Labels(labels) => !labels.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Sample(..) | Value::Top => true,
        }
    }

    pub fn print(&self) -> String {
        match self {
            Value::Nil | Value::Top => "<no value>".into(),
            Value::Truth(truth) => truth.to_string(),
            Value::Integer(integer) => integer.to_string(),
            Value::Number(number) => print::general(*number),
            Value::Text(text) => text.clone(),
            Value::Labels(labels) => {
                let pairs: Vec<String> =
                    labels.iter().map(|(name, value)| format!("{name}:{value}")).collect();
                format!("map[{}]", pairs.join(" "))
            }
            Value::List(items) => {
                format!("[{}]", items.iter().map(Value::print).collect::<Vec<_>>().join(" "))
            }
            Value::Sample(labels, value) => format!("{labels} {}", print::general(*value)),
        }
    }

    pub fn go_type(&self) -> &'static str {
        match self {
            Value::Nil | Value::Top => "<nil>",
            Value::Truth(_) => "bool",
            Value::Integer(_) => "int",
            Value::Number(_) => "float64",
            Value::Text(_) => "string",
            Value::Labels(_) => "map[string]string",
            Value::List(_) => "[]interface {}",
            Value::Sample(..) => "*template.sample",
        }
    }

    /// Numbers, and texts that are one.
    pub fn number(&self) -> Result<f64, String> {
        match self {
            Value::Number(number) | Value::Sample(_, number) => Ok(*number),
            Value::Integer(integer) => Ok(*integer as f64),
            Value::Text(text) => text.trim().parse().map_err(|_| format!("{text:?} is not a number")),
            other => Err(format!("{} is not a number", other.print())),
        }
    }

    pub fn equals(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Integer(a), Value::Number(b)) | (Value::Number(b), Value::Integer(a)) => *a as f64 == *b,
            _ => self == other,
        }
    }

    pub fn order(&self, other: &Value) -> Result<Option<Ordering>, String> {
        match (self, other) {
            (Value::Text(a), Value::Text(b)) => Ok(Some(a.cmp(b))),
            _ => Ok(self.number()?.partial_cmp(&other.number()?)),
        }
    }

    pub fn length(&self) -> Result<i64, String> {
        Ok(match self {
            Value::Text(text) => text.len(),
            Value::List(items) => items.len(),
            Value::Labels(labels) => labels.len(),
            other => return Err(format!("len of {}", other.go_type())),
        } as i64)
    }

    pub fn index(&self, which: &Value) -> Result<Value, String> {
        match (self, which) {
            (Value::Labels(labels), Value::Text(name)) => {
                Ok(Value::Text(labels.get(name).unwrap_or("").into()))
            }
            (Value::List(items), Value::Integer(i)) => {
                let found = usize::try_from(*i).ok().and_then(|i| items.get(i));
                found.cloned().ok_or_else(|| format!("index {i} is out of range"))
            }
            _ => Err(format!("{} has no index {}", self.go_type(), which.print())),
        }
    }

    pub fn items(&self) -> Result<Vec<Value>, String> {
        match self {
            Value::List(items) => Ok(items.clone()),
            other => Err(format!("{} is no list", other.go_type())),
        }
    }

    pub fn label(&self, name: &str) -> Result<String, String> {
        match self {
            Value::Sample(labels, _) | Value::Labels(labels) => Ok(labels.get(name).unwrap_or("").to_owned()),
            other => Err(format!("{} has no labels", other.go_type())),
        }
    }

    fn entries(&self) -> Result<Vec<(Value, Value)>, String> {
        match self {
            Value::Nil => Ok(vec![]),
            Value::List(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(i, item)| (Value::Integer(i as i64), item.clone()))
                .collect()),
            Value::Labels(labels) => {
                Ok(labels.iter().map(|(n, v)| (Value::Text(n.into()), Value::Text(v.into()))).collect())
            }
            other => Err(format!("range cannot go over {}", other.go_type())),
        }
    }
}
