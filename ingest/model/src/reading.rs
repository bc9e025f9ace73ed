//! What a room says of itself: named numbers that the binary shows on `/metrics`. Nothing of ours reads them to decide.

/// One number of our own telemetry.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// With the `binnacle_` prefix and the unit at the end; counters end in `_total`.
    pub name: &'static str,
    pub help: &'static str,
    pub kind: ReadingKind,
    /// Few and bounded.
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadingKind {
    Counter,
    Gauge,
    /// One of a classic histogram's series: the name ends in `_bucket` (with an `le` label), `_sum` or `_count`.
    Histogram,
}

impl Reading {
    pub fn counter(name: &'static str, help: &'static str, value: f64) -> Reading {
        Reading { name, help, kind: ReadingKind::Counter, labels: vec![], value }
    }

    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Reading {
        Reading { name, help, kind: ReadingKind::Gauge, labels: vec![], value }
    }

    pub fn with(mut self, label: &'static str, value: impl Into<String>) -> Reading {
        self.labels.push((label, value.into()));
        self
    }
}
