//! From text to a plan: DataFusion's parser, where `match(…)` is a function (its dialect takes the word for MySQL's
//! `MATCH … AGAINST`), `cluster` a column (it takes the word for Hive's `CLUSTER BY`), and `->` and `->>` read JSON and maps.

use super::functions::MapValue;
use super::json;
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{ExprSchemable, LogicalPlan, ScalarUDF};
use datafusion::sql::parser::DFParserBuilder;
use datafusion::sql::sqlparser::ast::BinaryOperator;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use std::sync::Arc;

/// A statement's plan; what it may do is checked by who runs it.
pub async fn plan(state: &SessionState, sql: &str) -> Result<LogicalPlan> {
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(ParserError::from)?;
    let mut statements = DFParserBuilder::new(with_names(tokens))
        .with_dialect(&dialect)
        .with_recursion_limit(state.config_options().sql_parser.recursion_limit.get())
        .build()?
        .parse_statements()?;
    let (Some(statement), true) = (statements.pop_front(), statements.is_empty()) else {
        return plan_err!("one statement is expected");
    };
    state.statement_to_plan(statement).await
}

/// `match` before a bracket and `cluster` are names like any other: after a comma, the second would end what is selected.
fn with_names(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    for at in 0..tokens.len() {
        let (before, rest) = tokens.split_at_mut(at + 1);
        let next = rest.iter().find(|next| !matches!(next.token, Token::Whitespace(_)));
        let Token::Word(word) = &mut before[at].token else { continue };
        let is_name = match word.keyword {
            Keyword::MATCH => next.is_some_and(|next| next.token == Token::LParen),
            Keyword::CLUSTER => true,
            _ => false,
        };
        if is_name {
            word.keyword = Keyword::NoKeyword;
        }
    }
    tokens
}

/// `body ->> 'level'`, `attributes ->> 'http.route'`, `body -> 'user' ->> 'id'`.
#[derive(Debug)]
pub struct Arrows;

impl ExprPlanner for Arrows {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let as_text = match &expr.op {
            BinaryOperator::LongArrow => true,
            BinaryOperator::Arrow => false,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let kind = expr.left.get_type(schema)?;
        let function = match kind {
            arrow::datatypes::DataType::Map(_, _) => ScalarUDF::from(MapValue::new("attr")),
            kind if kind.is_string() => json::by_keys(as_text),
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(Arc::new(function).call(vec![expr.left, expr.right])))
    }
}
