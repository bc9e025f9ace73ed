//! PromQL: text to a checked syntax tree, and back.
//!
//! [`parse`] gives a tree whose types fit (what a function takes, what an operator joins); its errors say line and
//! column in the words that Prometheus uses. [`series`] reads the notation of samples that unit tests of rules are
//! written in. No I/O, no evaluation.

mod ast;
mod check;
mod duration;
mod experiments;
mod functions;
mod lexer;
mod parser;
mod printer;
pub mod series;
mod text;

pub use ast::{
    AggregateOp, At, BinaryOp, Cardinality, DurationOp, Expr, Extension, Fill, Grouping, Matching, Modifiers,
    Node, Selector, Span, Spelled, ValueType,
};
pub use duration::{format_duration, parse_duration};
pub use experiments::refuse_experiments;
pub use functions::{Function, functions};
pub use parser::parse;
pub use text::{is_utf8, quoted};

/// Why a text is no query, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: parse error: {what}")]
pub struct ParseError {
    /// Both from 1; columns count bytes, as Prometheus counts them.
    pub line: usize,
    pub column: usize,
    pub what: String,
}

impl ParseError {
    fn at(text: &str, at: usize, what: String) -> ParseError {
        let (line, column) = line_and_column(text, at);
        ParseError { line, column, what }
    }
}

/// Of a byte of a text, both from 1.
pub fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    (before.iter().filter(|byte| **byte == b'\n').count() + 1, before.len() - line_start + 1)
}
