//! Programs of log rules, in [Rhai](https://rhai.rs): what regexes alone do not say.
//!
//! ```rhai
//! if matches(line, #"GET /(health|ready)"#) { drop() }
//! let record = json(line);
//! if type_of(record) == "map" && "password" in record {
//!     record.password = "***";
//!     line = to_json(record);
//! }
//! ```
//!
//! - `line`: the text, to be changed. `attributes`: a map, empty at first, of what is sent beside the line.
//! - `labels` (`namespace`, `pod`, `container`, `service_name`, `stream`, `job`, `node`) and `resource` (OpenTelemetry's names, as
//!   `resource["k8s.deployment.name"]`): whose the line is. `level`: `trace`, `debug`, `info`, `warn`, `error`, `fatal` or nothing.
//! - `drop()`: the line is not sent, and what follows is not done.
//! - `matches(text, regex)`; `replace(text, regex, with)`: with `$1` or `${name}` of the regex. As Rhai's own `replace` it changes a variable in
//!   place; it also gives the text.
//! - `json(text)`: what the text says, `()` where it is no JSON; what begins with `{` and is none is an error. `to_json(value)`: the text, fields
//!   in the order of their names.
//!
//! There is no `eval`, `import`, `print` or `sleep`, and a call of what is not there is a mistake when the script is read. Steps, text, arrays, maps and
//! calls are bounded. Where a program fails the line is sent as if the program were not there, or not at all where the rule has `on_error: drop`.

mod calls;
mod engine;
mod json;
mod patterns;
mod value;

pub use patterns::mistake as mistake_in_regex;

use super::counts::Counts;
use super::level;
use super::line::LINE_BYTES_MAX;
use super::rules::Reason;
use engine::ENGINE;
use model::{Attributes, Labels};
use parking_lot::Mutex;
use regex::Regex;
use rhai::{AST, Dynamic, EvalAltResult, ImmutableString, Map, Position, Scope};
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::warn;

/// Between two words about one script's errors.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What becomes of a line at which the script fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    #[default]
    Keep,
    Drop,
}

/// The program of one rule.
#[derive(Debug)]
pub struct Script {
    /// Its rule's number.
    rule: usize,
    ast: AST,
    /// Found by their text as long as they are here.
    _regexes: Vec<Arc<Regex>>,
    on_error: OnError,
    /// Looking for a line's level is not for nothing.
    asks_level: bool,
    told: Mutex<Option<Instant>>,
}

/// A line as it is sent.
#[derive(Debug, PartialEq)]
pub struct Treated<'l> {
    pub line: Cow<'l, [u8]>,
    pub attributes: Attributes,
}

/// How a run ended that did not fail.
enum Ended {
    Kept(Option<ImmutableString>, Attributes),
    Dropped,
}

/// What is wrong with a program, and where in it.
#[derive(Debug)]
pub struct Mistake {
    place: Position,
    what: String,
}

impl Mistake {
    /// Line and column, from 1 on.
    pub fn place(&self) -> Option<(usize, usize)> {
        Some((self.place.line()?, self.place.position()?))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&at(self.place, &self.what))
    }
}

impl Script {
    pub fn compile(text: &str, rule: usize, on_error: OnError) -> Result<Arc<Script>, Mistake> {
        // Not as constants: those would be put into the program.
        let mut names = Scope::new();
        for name in ["labels", "resource", "line", "attributes", "level"] {
            names.push(name, ());
        }
        let compiled = ENGINE.compile_with_scope(&names, text);
        let ast = compiled
            .map_err(|wrong| Mistake { place: wrong.position(), what: wrong.err_type().to_string() })?;
        let regexes = patterns::compile(text)?;
        calls::check(&ast)?;
        let asks_level = text.contains("level");
        Ok(Arc::new(Script { rule, ast, _regexes: regexes, on_error, asks_level, told: Mutex::default() }))
    }

    /// The line is changed, dropped, or left alone. An error is told where it is in the script.
    fn run(&self, scope: &mut Scope<'static>, line: &ImmutableString) -> Result<Ended, String> {
        let whose = scope.len();
        push_line(scope, line.clone(), self.asks_level.then(|| level::name(level::of(line))));
        // The reader of all files must not end by what an interpreter did not expect.
        let run = catch_unwind(AssertUnwindSafe(|| ENGINE.run_ast_with_scope(scope, &self.ast)));
        let ended = match run {
            Ok(Ok(())) => ended(scope, line),
            Ok(Err(wrong)) if matches!(wrong.unwrap_inner(), EvalAltResult::ErrorTerminated(..)) => {
                Ok(Ended::Dropped)
            }
            Ok(Err(mut wrong)) => {
                let place = wrong.take_position();
                Err(at(place, &wrong.to_string()))
            }
            Err(_) => Err("the interpreter panicked".into()),
        };
        scope.rewind(whose);
        ended
    }

    /// Once a minute at most: every line may fail.
    fn tell(&self, error: &str, scope: &Scope<'static>) {
        let mut told = self.told.lock();
        if told.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return;
        }
        *told = Some(Instant::now());
        let labels = scope.get("labels").and_then(|labels| labels.as_map_ref().ok());
        let label = |name| labels.as_ref().and_then(|labels| labels.get(name)).map(ToString::to_string);
        let (namespace, pod) = (label("namespace"), label("pod"));
        let on_error = self.on_error;
        warn!(
            rule = self.rule,
            error,
            ?on_error,
            namespace,
            pod,
            "a script of the log rules failed at a line"
        );
    }
}

/// What the script left in its variables.
fn ended(scope: &Scope<'static>, before: &ImmutableString) -> Result<Ended, String> {
    let now = scope.get("line").ok_or("line is gone")?;
    let text =
        now.as_immutable_string_ref().map_err(|found| format!("line has become {found} and is no text"))?;
    let changed = (*text != *before).then(|| text.clone());
    if changed.as_ref().is_some_and(|text| text.len() > LINE_BYTES_MAX) {
        return Err(format!("line has become longer than {LINE_BYTES_MAX} bytes"));
    }
    let attributes = scope.get("attributes").ok_or("attributes are gone")?;
    let map =
        attributes.as_map_ref().map_err(|found| format!("attributes have become {found} and are no map"))?;
    Ok(Ended::Kept(changed, value::attributes(&map)?))
}

/// As compilers say it.
fn at(place: Position, what: &str) -> String {
    match (place.line(), place.position()) {
        (Some(line), Some(column)) => format!("script line {line}, column {column}: {what}"),
        _ => format!("script: {what}"),
    }
}

/// What every line of a stream has in common.
fn scope_of(labels: &Labels, resource: &Attributes) -> Scope<'static> {
    let labels = labels.iter().map(|(name, value)| (name.into(), Dynamic::from(value.to_owned())));
    let mut scope = Scope::new();
    scope.push_constant("labels", labels.collect::<Map>());
    scope.push_constant("resource", value::map(resource));
    scope
}

fn push_line(scope: &mut Scope<'static>, line: ImmutableString, level: Option<&'static str>) {
    scope.push("line", line);
    scope.push("attributes", Map::new());
    if let Some(level) = level {
        scope.push_constant("level", ImmutableString::from(level));
    }
}

/// The scripts that a container's lines go through, in the order of their rules.
#[derive(Debug, Default)]
pub struct Scripts {
    scripts: Vec<Arc<Script>>,
    /// By stream. A lock, and never waited for: a file has one reader.
    scopes: Vec<Mutex<Scope<'static>>>,
    namespace: String,
    counts: Arc<Counts>,
}

impl Scripts {
    pub fn add(&mut self, script: &Arc<Script>) {
        self.scripts.push(script.clone());
    }

    /// Whose lines these are, by labels and resource of each stream, and who is told of errors.
    pub fn name(&mut self, streams: &[(Labels, Attributes)], namespace: &str, counts: &Arc<Counts>) {
        if !self.scripts.is_empty() {
            let scopes = streams.iter().map(|(labels, resource)| Mutex::new(scope_of(labels, resource)));
            self.scopes = scopes.collect();
            (self.namespace, self.counts) = (namespace.to_owned(), counts.clone());
        }
    }

    pub fn of<'l>(&self, stream: usize, line: &'l [u8]) -> Result<Treated<'l>, Reason> {
        let untouched = Treated { line: Cow::Borrowed(line), attributes: vec![] };
        if self.scripts.is_empty() {
            return Ok(untouched);
        }
        let nobody = Mutex::default();
        let scope = self.scopes.get(stream).unwrap_or(&nobody);
        let mut scope = scope.lock();
        let bare = line.strip_suffix(b"\r").unwrap_or(line);
        let mut text = ImmutableString::from(String::from_utf8_lossy(bare).as_ref());
        let mut has_changed = false;
        let mut attributes = vec![];
        for script in &self.scripts {
            match script.run(&mut scope, &text) {
                Ok(Ended::Dropped) => return Err("script"),
                Ok(Ended::Kept(changed, more)) => {
                    has_changed |= changed.is_some();
                    text = changed.unwrap_or(text);
                    attributes.retain(|(name, _)| more.iter().all(|(newer, _)| newer != name));
                    attributes.extend(more);
                }
                Err(error) => {
                    self.counts.script_failed(script.rule, &self.namespace);
                    script.tell(&error, &scope);
                    if script.on_error == OnError::Drop {
                        return Err("script_failed");
                    }
                }
            }
        }
        let line = if has_changed { Cow::Owned(text.as_bytes().to_vec()) } else { untouched.line };
        Ok(Treated { line, attributes })
    }
}

#[cfg(test)]
mod tests;
