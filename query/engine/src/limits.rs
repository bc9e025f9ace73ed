//! The bounds of a query. Each refusal names the field here that it ran into.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Limits {
    /// What all running queries may hold together.
    pub memory_bytes_max: usize,
    /// Told when a query gives much of that back: the process can have its allocator give it back, too.
    pub on_release: fn(),
    pub timeout: Duration,
    /// PromQL: samples one query may load, as Prometheus' `query.max-samples`.
    pub samples_max: usize,
    /// PromQL: whether what Prometheus has only with `--enable-feature=promql-experimental-functions` is answered.
    pub experimental_functions: bool,
    /// Points a series of a range query may have, as Prometheus' 11,000.
    pub points_max: usize,
    /// Log lines one query may return, as Loki's `max_entries_limit_per_query`.
    pub log_entries_max: usize,
    /// LogQL: whether lines, and series that are not grouped, have `detected_level`, as with Loki's `discover_log_levels`.
    pub discover_log_levels: bool,
    /// Rows an SQL answer may have.
    pub rows_max: usize,
    /// Queries running at once; others wait in line up to the timeout.
    pub concurrency_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory_bytes_max: 1 << 30,
            on_release: || (),
            timeout: Duration::from_secs(120),
            samples_max: 50_000_000,
            experimental_functions: true,
            points_max: 11_000,
            log_entries_max: 5_000,
            discover_log_levels: true,
            rows_max: 1_000_000,
            concurrency_max: 20,
        }
    }
}
