//! Texts with `{{ … }}`, as Prometheus' rules have them: the part of Go's templates that rule files use.
//!
//! Actions: pipelines, variables, `if`, `range`, `with`, `else`, comments, trim marks. Functions: see [`functions`].
//! A template is bounded in size, in depth, in steps and in what it writes, so no file can hold an evaluation up.
//! `query` is not answered here: [`Failed::Query`] hands the question out, and the asker runs the template again.

mod functions;
mod names;
mod parse;
pub mod print;
mod run;

pub use functions::query_escape;

use model::Labels;
use std::collections::HashMap;

/// A parsed template.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(parse::Parsed);

/// What a template may speak of.
pub struct Context<'a> {
    pub labels: &'a Labels,
    pub value: f64,
    pub external_url: &'a str,
    /// Answers of the `query`s asked so far.
    pub queries: &'a HashMap<String, Vec<(Labels, f64)>>,
    pub now_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    #[error("{0}")]
    Wrong(String),
    /// The answer of this query is needed to go on.
    #[error("query {0:?} is not answered")]
    Query(String),
}

impl Template {
    pub fn parse(text: &str) -> Result<Template, String> {
        parse::template(text).map(Template)
    }

    pub fn run(&self, context: &Context<'_>) -> Result<String, Failed> {
        run::run(&self.0, context)
    }
}

#[cfg(test)]
mod tests;
