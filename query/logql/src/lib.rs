//! LogQL: text to a checked syntax tree, and what a pipeline does to one line.
//!
//! [`parse`] takes a query and gives an [`Expr`] that is checked: regexes compile, templates parse, aggregations have
//! the unwrap they need, matching is legal. [`Pipeline`] runs the stages of such a tree over one line and its labels.
//! The printer (`Display` of [`Expr`]) writes a tree back as a query, and [`pretty`] lays it out. Nothing here knows Arrow, a file or a socket.

mod ast;
mod check;
mod drain;
mod ip;
mod judge;
mod lexer;
mod parser;
mod pipeline;
mod printer;
mod template;
mod units;

pub use ast::*;
pub use drain::{Drain, line_pattern};
pub use ip::IpMatch;
pub use judge::{metadata_name, read_log_query};
pub use lexer::ParseError;
pub use parser::{parse, parse_to_print, text_of};
pub use pipeline::{Category, Fields, LabelTest, Pipeline};
pub use printer::pretty;
pub use template::Template;
pub use units::{
    format_duration, go_duration, parse_bytes, parse_duration_ns, parse_float, parse_go_duration_ns,
};

/// Parses a query that must be a stream selector alone, as `match[]` and volume calls send.
///
/// # Errors
/// Loki's words for what is none.
pub fn parse_selector(text: &str) -> Result<Vec<model::Matcher>, String> {
    match parse(text).map_err(|why| why.to_string())? {
        Expr::Log(log) if log.stages.is_empty() => Ok(log.matchers),
        _ => Err("only label matchers are supported".to_owned()),
    }
}
