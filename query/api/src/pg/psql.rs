//! What psql's describing commands (`\d+`, `\df`, `\dt+`, `\l+`, …) ask of `pg_catalog` and `datafusion-postgres` does
//! not have: functions that have nothing to tell here, and lists of options and privileges, which nothing here has.

use datafusion_postgres::datafusion_pg_catalog::pg_catalog::PG_CATALOG_TABLES;
use engine::session::ast::{
    Expr, FunctionArguments, ObjectName, Query, Statement, Value, VisitMut, VisitorMut, visit_expressions,
    visit_relations,
};
use engine::session::{ConstantFunction, ScalarValue, SessionContext};
use std::ops::ControlFlow;

/// Every function is known and every name visible: there is one schema. Sizes and comments are not kept.
pub fn register(session: &SessionContext) {
    let text = || ScalarValue::Utf8(None);
    for (name, answer) in [
        ("pg_function_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_type_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_get_function_result", text()),
        ("pg_get_function_arguments", text()),
        ("pg_get_function_identity_arguments", text()),
        ("pg_get_function_sqlbody", text()),
        ("pg_get_viewdef", text()),
        ("pg_get_ruledef", text()),
        ("obj_description", text()),
        ("shobj_description", text()),
        ("col_description", text()),
        ("pg_table_size", ScalarValue::Int64(None)),
        ("pg_database_size", ScalarValue::Int64(None)),
        ("pg_size_pretty", text()),
    ] {
        session.register_udf(ConstantFunction::new(name, answer).into());
    }
}

/// Lists that psql builds with `ARRAY(SELECT … FROM pg_catalog…)`, a form that DataFusion does not plan: roles'
/// memberships, privileges, options. There are none, so they are empty. A subquery over anything else stays, and is
/// refused where it is planned.
pub fn without_lists(mut statement: Statement) -> Statement {
    let _ = statement.visit(&mut Lists);
    statement
}

/// From the outside in: once a list is gone, what it was joined to text by is not known any more.
struct Lists;

impl VisitorMut for Lists {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if is_joined_list(expression) {
            *expression = Expr::value(Value::SingleQuotedString(String::new()));
        } else if is_list(expression) {
            *expression = Expr::value(Value::Null);
        }
        ControlFlow::Continue(())
    }
}

/// `ARRAY(SELECT …)` over catalogs alone.
fn is_list(expression: &Expr) -> bool {
    let Expr::Function(call) = expression else { return false };
    match &call.args {
        FunctionArguments::Subquery(query) => is_named(&call.name, "array") && reads_catalogs(query),
        _ => false,
    }
}

/// `array_to_string(…, ', ')` of such a list, or of a column of options or privileges, which are no lists here.
fn is_joined_list(expression: &Expr) -> bool {
    let Expr::Function(call) = expression else { return false };
    let FunctionArguments::List(arguments) = &call.args else { return false };
    if !is_named(&call.name, "array_to_string") {
        return false;
    }
    let Some(first) = arguments.args.first() else { return false };
    let found = visit_expressions(first, |part| {
        let column = match part {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(path) => path.last(),
            _ => None,
        };
        let is_absent = column.is_some_and(|name| ABSENT_COLUMNS.contains(&name.value.as_str()));
        if is_absent || is_list(part) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found.is_break()
}

/// Columns of PostgreSQL's catalogs that hold lists and that `datafusion-postgres` leaves out or has as text.
const ABSENT_COLUMNS: [&str; 5] = ["reloptions", "relacl", "proacl", "nspacl", "attacl"];

fn is_named(name: &ObjectName, wanted: &str) -> bool {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.is_some_and(|ident| ident.value.eq_ignore_ascii_case(wanted))
}

fn reads_catalogs(query: &Query) -> bool {
    let mut found = false;
    let others = visit_relations(query, |relation| {
        found = true;
        let of_catalog = PG_CATALOG_TABLES.iter().any(|table| is_named(relation, table));
        if of_catalog || is_named(relation, "unnest") {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    found && others.is_continue()
}
