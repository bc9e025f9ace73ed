//! PromQL: text to a checked syntax tree, and back.
//!
//! [`parse`] gives a tree whose types fit (what a function takes, what an operator joins); its errors say line and
//! column in the words that Prometheus uses. No I/O, no evaluation.

mod ast;
mod duration;
mod functions;
mod lexer;
mod parser;
mod printer;

pub use ast::{
    AggregateOp, At, BinaryOp, Cardinality, Expr, Grouping, Matching, Modifiers, Selector, ValueType,
};
pub use duration::{format_duration, parse_duration};
pub use functions::{Function, functions};
pub use parser::parse;

/// Why a text is no query, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: parse error: {what}")]
pub struct ParseError {
    /// Both from 1; columns count characters.
    pub line: usize,
    pub column: usize,
    pub what: String,
}
