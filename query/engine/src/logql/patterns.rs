//! Patterns of the lines of a query, and how often each occurred by step.

use super::scan::{Counters, LogScan, Rows, Streams};
use super::{broken, operator::Operator, parse, plan};
use crate::{Engine, QueryError};
use arrow::array::RecordBatch;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use logql::{Drain, Expr, Fields, Pipeline};
use model::{Tenant, TimeRange};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::LogColumns;

/// Lines looked at for one answer: patterns are a picture, not an account.
const LINES_MAX: usize = 2_000_000;
const COLUMNS: [&str; 8] =
    ["ts", "severity_number", "body", "trace_id", "span_id", "attributes", "resource", "stream"];

/// One pattern at one level.
#[derive(Clone, Debug, PartialEq)]
pub struct LogPattern {
    pub pattern: String,
    pub level: &'static str,
    /// Start of the step in nanoseconds, and lines in it; ascending, steps without lines left out.
    pub samples: Vec<(i64, u64)>,
}

impl LogPattern {
    pub fn lines(&self) -> u64 {
        self.samples.iter().map(|(_, lines)| lines).sum()
    }
}

impl Engine {
    /// The patterns of lines in the range, most frequent first.
    pub async fn log_patterns(
        &self,
        tenant: &Tenant,
        query: &str,
        range: TimeRange,
        step_ms: i64,
        limit: usize,
    ) -> Result<Vec<LogPattern>, QueryError> {
        let Expr::Log(log) = parse(query)? else {
            return Err(QueryError::Bad("only label matchers are supported".into()));
        };
        // Refuses what would have more points than a series may have.
        let steps = self.steps(range.start, range.end, step_ms)?;
        let snapshot = self.source.snapshot(tenant).await?;
        let scan = LogScan {
            snapshot,
            select: plan::select(&log, range),
            columns: LogColumns::named(&COLUMNS),
            counters: Arc::new(Counters::default()),
        };
        let mut mining = Mining {
            pipeline: Pipeline::new(&log.stages, None, None),
            range,
            step_ns: steps.step_ns,
            drains: BTreeMap::new(),
            counts: BTreeMap::new(),
            lines: 0,
        };
        let mut streams = Streams::new(log.matchers);
        let context = self.task_context();
        self.off_thread(async move {
            let mut batches = execute_stream(Operator::plan(scan, vec![]), context).map_err(broken)?;
            while let Some(batch) = batches.next().await {
                mining.take(&batch.map_err(broken)?, &mut streams).map_err(broken)?;
                if mining.lines >= LINES_MAX {
                    break;
                }
            }
            Ok(mining.finish(limit))
        })
        .await
    }
}

struct Mining {
    pipeline: Pipeline,
    range: TimeRange,
    step_ns: i64,
    /// One for each level, as Loki has it: lines that differ in their level alone do not share a pattern.
    drains: BTreeMap<&'static str, Drain>,
    /// Lines by level, pattern and step.
    counts: BTreeMap<(&'static str, usize), BTreeMap<i64, u64>>,
    lines: usize,
}

impl Mining {
    fn take(
        &mut self,
        batch: &RecordBatch,
        streams: &mut Streams,
    ) -> Result<(), datafusion::common::DataFusionError> {
        let rows = Rows::of(batch)?;
        streams.see(&rows)?;
        let times = rows.needs_times()?;
        let (mut fields, mut name) = (Fields::default(), String::new());
        for (row, ts) in times.iter().copied().enumerate() {
            let stream = &streams.all[streams.of_key(rows.stream_keys[row])];
            if !stream.selected || !self.range.contains(ts) {
                continue;
            }
            fields.start(&stream.pairs);
            rows.metadata_into(row, &mut fields, &mut name);
            let Some(line) = self.pipeline.run(ts, rows.line(row), &mut fields) else { continue };
            self.lines += 1;
            let level = rows.severity(row);
            if let Some(pattern) = self.drains.entry(level).or_default().learn(&line) {
                let step = ts.div_euclid(self.step_ns) * self.step_ns;
                *self.counts.entry((level, pattern)).or_default().entry(step).or_default() += 1;
            }
        }
        Ok(())
    }

    fn finish(self, limit: usize) -> Vec<LogPattern> {
        // Shapes that became one pattern only after each had a number of its own are put together.
        let mut found: BTreeMap<(String, &'static str), BTreeMap<i64, u64>> = BTreeMap::new();
        for ((level, pattern), steps) in self.counts {
            let pattern = self.drains.get(level).map(|drain| drain.pattern(pattern)).unwrap_or_default();
            let sum = found.entry((pattern, level)).or_default();
            for (step, lines) in steps {
                *sum.entry(step).or_default() += lines;
            }
        }
        let mut patterns: Vec<LogPattern> = found
            .into_iter()
            .map(|((pattern, level), steps)| LogPattern {
                pattern,
                level,
                samples: steps.into_iter().collect(),
            })
            .collect();
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.lines()));
        patterns.truncate(limit);
        patterns
    }
}
