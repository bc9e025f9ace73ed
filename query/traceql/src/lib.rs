//! TraceQL: text to a checked syntax tree.
//!
//! [`parse`] gives a [`Query`] whose types agree, whose regexes compile and whose depth is bounded. Nothing here knows
//! a span, Arrow or a file.

mod ast;
mod check;
mod durations;
mod lexer;
mod parser;
mod printer;
mod together;

pub use ast::*;
pub use durations::go_duration;
pub use lexer::ParseError;
pub use parser::{parse, parse_field};
