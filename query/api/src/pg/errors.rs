//! Errors in PostgreSQL's shape: a severity, an SQLSTATE that programs branch on, a text for people.

use engine::QueryError;
use engine::session::{DataFusionError, ParserError, place};
use pgwire::error::{ErrorInfo, PgWireError};

/// Ends the connection.
pub fn fatal(code: &str, why: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("FATAL".into(), code.into(), why.into())))
}

fn error(code: &str, why: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".into(), code.into(), why.into())))
}

/// What a reading session may not do.
pub fn refused(why: &str) -> PgWireError {
    error("25006", why)
}

pub fn wrong(wrong: DataFusionError) -> PgWireError {
    PgWireError::ApiError(Box::new(wrong))
}

pub fn of_query(wrong: &QueryError) -> PgWireError {
    error(code(wrong), wrong.to_string())
}

fn code(wrong: &QueryError) -> &'static str {
    match wrong {
        QueryError::Bad(text) if text.starts_with("table ") && text.ends_with("not found") => "42P01",
        QueryError::Bad(text) if text.starts_with("No field named") => "42703",
        QueryError::Bad(text) if text.starts_with("Invalid function") => "42883",
        QueryError::Bad(text) if text.starts_with("not supported") => "0A000",
        QueryError::Bad(_) => "42601",
        QueryError::Execution(_) => "22000",
        QueryError::TooMuch(_) => "54000",
        QueryError::Timeout(_) | QueryError::Cancelled => "57014",
        QueryError::Broken(_) => "XX000",
    }
}

/// An error as it goes out: what DataFusion says, in our few kinds.
pub fn shown(raised: PgWireError) -> PgWireError {
    let PgWireError::ApiError(inner) = raised else {
        return raised;
    };
    match inner.downcast::<DataFusionError>() {
        Ok(ours) => of_query(&engine::sql_error(*ours)),
        Err(inner) => match inner.downcast::<ParserError>() {
            Ok(parser) => error("42601", parser.to_string()),
            Err(other) => PgWireError::ApiError(other),
        },
    }
}

/// The same with the place in the query, by which psql draws its caret.
pub fn placed(raised: PgWireError, query: &str) -> PgWireError {
    let mut info = match shown(raised) {
        PgWireError::UserError(info) => info,
        other => return other,
    };
    if info.code.starts_with("42") {
        info.message = place::told(info.message, query);
        let position = place::of(&info.message).and_then(|place| place::position(query, place));
        info.position = position.map(|position| position.to_string());
    }
    PgWireError::UserError(info)
}
