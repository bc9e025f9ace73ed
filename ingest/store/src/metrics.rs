//! Metrics: the head in memory, parts on disk, and how runs of both become one answer.

pub mod head;
pub mod merge;
pub mod part;
pub mod registry;
mod series_order;

use model::Labels;

/// One series' samples from one place, times ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub labels: Labels,
    pub ts_ms: Vec<i64>,
    pub values: Vec<f64>,
}
