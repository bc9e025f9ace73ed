//! Why a query has no answer, in as few kinds as a door needs to choose a status code.

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum QueryError {
    /// The query is wrong and will be wrong again. Carries line and column where it does not parse.
    #[error("{0}")]
    Bad(String),
    /// It parses and its data does not let it be answered (many-to-many matching, duplicate labels): Prometheus' 422.
    #[error("{0}")]
    Execution(String),
    /// Past a limit; the text names the limit and its key.
    #[error("{0}")]
    TooMuch(String),
    #[error("query timed out after {0} ms; narrow the range or raise query.timeout")]
    Timeout(u64),
    #[error("query was cancelled")]
    Cancelled,
    /// Not the query's fault.
    #[error("{0}")]
    Broken(String),
}

impl From<store::ReadError> for QueryError {
    fn from(error: store::ReadError) -> Self {
        match error {
            store::ReadError::TooMuch(text) => QueryError::TooMuch(text),
            store::ReadError::Io(text) => QueryError::Broken(text),
        }
    }
}
