//! The contract between who keeps log records and who knows the language in which some of them are named: deletions are
//! queries, and the store keeps their text and carries them out without knowing what it says.

use crate::labels::Labels;
use crate::select::Matcher;
use std::fmt;
use std::sync::Arc;

/// What a log query names: records of the streams that pass `matchers`, all of them or those that pass the judge.
#[derive(Clone, Debug)]
pub struct LogQuery {
    pub matchers: Vec<Matcher>,
    pub judge: Option<Arc<dyn JudgeLog>>,
}

/// A record as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct JudgedLog<'a> {
    pub ts_ns: i64,
    pub body: &'a str,
    pub labels: &'a Labels,
    /// Attributes of the record, then of its resource, then its trace: names as they were sent.
    pub metadata: &'a [(&'a str, &'a str)],
    /// OpenTelemetry's number; 0 is unknown.
    pub severity: u8,
}

/// Says of one record at a time whether a query's stages let it pass.
pub trait JudgeLog: Send + Sync + fmt::Debug {
    fn passes(&self, record: &JudgedLog<'_>) -> bool;
}

/// Reads a query's text; the error says what is wrong with it and where.
pub type ReadLogQuery = fn(&str) -> Result<LogQuery, String>;
