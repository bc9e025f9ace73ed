//! What tells two sets of traces, or of log lines, apart: each thing that can be said of one of them, and how often it
//! holds in the selection and in the baseline.
//!
//! What is said of a trace: attributes of its spans and resources, names, states, how long each operation kept it waiting, in
//! classes of powers of two, and the patterns of the log lines that carry its id. What is said of a line: its labels, its level,
//! its pattern. `counts` ranks what was said.
//!
//! An operation's time is its own on the critical path and not that of its span: where one is slow, the spans of all that wait
//! for it are as long, up to the entry, and would stand before what made them so.

use super::counts::{Comparison, Counts, Said, Set, VALUE_CHARS_MAX};
use super::{Names, Row, Sample, path};
use crate::logql::operator::Operator;
use crate::traceql::{SearchOptions, SpanScan, Spans, Val};
use crate::{Direction, Engine, LogEntry, LogResult, QueryError};
use arrow::array::{Array, AsArray, StringArray};
use arrow::datatypes::UInt32Type;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::execute_stream;
use foldhash::fast::RandomState;
use futures::StreamExt;
use model::{Labels, LogSelect, SpanKind, SpanSelect, StatusCode, Tenant, TimeRange, TraceId};
use std::collections::{HashMap, HashSet};
use store::{LogColumns, Snapshot, SpanColumns};
use traceql::Scope;

/// Traces, and lines, of each set: the newest. As many are asked for of both, so that none that was selected but left out for
/// being too old is among the newest of its baseline.
const TRACES_MAX: usize = 2_000;
const LINES_MAX: usize = 5_000;
/// Lines that are looked through for those of the traces.
const LINES_READ_MAX: usize = 2_000_000;
const TRACE_NS_MAX: i64 = 600_000_000_000;
/// What is said of spans, and who is whose child.
const COLUMNS: [&str; 15] = [
    "trace_id",
    "span_id",
    "parent_span_id",
    "start_ts",
    "duration_ns",
    "service",
    "name",
    "kind",
    "status",
    "scope_attributes",
    "scope_attribute_types",
    "attributes",
    "attribute_types",
    "resource",
    "resource_types",
];

impl Engine {
    /// Two queries of one language, TraceQL or LogQL; the selection is looked for in a range of its own, which may be a part of
    /// the other. Without a baseline, everything that the selection is not.
    pub async fn compare(
        &self,
        tenant: &Tenant,
        selection: (&str, TimeRange),
        baseline: Option<&str>,
        range: TimeRange,
    ) -> Result<Comparison, QueryError> {
        match traceql::parse(selection.0) {
            Ok(_) => self.compare_traces(tenant, selection, baseline.unwrap_or("{ }"), range).await,
            Err(no_traces) => match logql::parse(selection.0) {
                Ok(_) => self.compare_lines(tenant, selection, baseline, range).await,
                Err(no_lines) => Err(QueryError::Bad(format!(
                    "the selection is neither TraceQL ({no_traces}) nor LogQL ({no_lines})"
                ))),
            },
        }
    }

    async fn compare_traces(
        &self,
        tenant: &Tenant,
        (selection, part): (&str, TimeRange),
        baseline: &str,
        range: TimeRange,
    ) -> Result<Comparison, QueryError> {
        let (selected, mut warnings) = self.ids(tenant, selection, part).await?;
        let (mut others, more) = self.ids(tenant, baseline, range).await?;
        add_new(&mut warnings, more);
        let chosen: HashSet<TraceId> = selected.iter().copied().collect();
        others.retain(|id| !chosen.contains(id));
        let mut set_of: HashMap<TraceId, Set, RandomState> = HashMap::default();
        set_of.extend(selected.iter().map(|id| (*id, Set::Selection)));
        set_of.extend(others.iter().map(|id| (*id, Set::Baseline)));
        let ids: Vec<TraceId> = set_of.keys().copied().collect();
        let counts = Counts::of_sets(selected.len(), others.len());
        // From nothing, nothing differs.
        if selected.is_empty() || others.is_empty() {
            return Ok(counts.compared(warnings));
        }
        let snapshot = self.source.snapshot(tenant).await?;
        let all = TimeRange { start: range.start.min(part.start), end: range.end.max(part.end) };
        let around = TimeRange {
            start: all.start.saturating_sub(TRACE_NS_MAX),
            end: all.end.saturating_add(TRACE_NS_MAX),
        };
        let select = SpanSelect { trace_ids: ids, ..SpanSelect::all(around) };
        let scan = SpanScan { snapshot: snapshot.clone(), select, columns: SpanColumns::named(&COLUMNS) };
        let context = self.task_context();
        let (counts, all_lines) = self
            .off_thread(async move {
                let reservation = MemoryConsumer::new("compared traces").register(context.memory_pool());
                let batches =
                    execute_stream(Operator::plan(scan, vec![]), context).map_err(crate::logql::broken)?;
                let mut told = Told { counts, set_of, said: HashMap::default(), reservation };
                let sample = told.spans(batches).await?;
                told.times(&sample);
                let all = told.lines(snapshot.as_ref(), around).await?;
                Ok((told.counts, all))
            })
            .await?;
        if !all_lines {
            warnings.push(format!("log patterns are those of the first {LINES_READ_MAX} lines of the time"));
        }
        Ok(counts.compared(warnings))
    }

    /// Ids of traces that match, the newest first.
    async fn ids(
        &self,
        tenant: &Tenant,
        query: &str,
        range: TimeRange,
    ) -> Result<(Vec<TraceId>, Vec<String>), QueryError> {
        if matches!(traceql::parse(query), Ok(traceql::Query { root: traceql::Root::Metrics(_), .. })) {
            return Err(QueryError::Bad(format!(
                "{query}: a query for traces is compared, not one for numbers"
            )));
        }
        let limit = self.asked(TRACES_MAX);
        let options = SearchOptions { range, limit, spans_per_spanset: 1 };
        let mut found = self.traceql_search(tenant, query, options).await?;
        let mut ids: Vec<TraceId> = found.traces.iter().map(|trace| trace.trace_id).collect();
        found.warnings.extend(newest_alone(("traces", query), &mut ids, TRACES_MAX, limit));
        Ok((ids, found.warnings))
    }

    /// One more, which tells that there are more, or as many as may be asked for.
    fn asked(&self, wanted: usize) -> usize {
        (wanted + 1).min(self.limits.log_entries_max).max(1)
    }

    async fn compare_lines(
        &self,
        tenant: &Tenant,
        (selection, part): (&str, TimeRange),
        baseline: Option<&str>,
        range: TimeRange,
    ) -> Result<Comparison, QueryError> {
        let (selected, mut warnings) = self.lines(tenant, selection, part).await?;
        let (mut others, more) = self.lines(tenant, baseline.unwrap_or(ALL_LINES), range).await?;
        add_new(&mut warnings, more);
        let key = |line: &Line| (line.entry.ts_ns, line.labels.clone(), line.entry.line.clone());
        let chosen: HashSet<_> = selected.iter().map(key).collect();
        others.retain(|line| !chosen.contains(&key(line)));
        let mut counts = Counts::of_sets(selected.len(), others.len());
        for (set, lines) in [(Set::Selection, selected), (Set::Baseline, others)] {
            for Line { labels, entry } in lines {
                let mut said = Said::default();
                for (name, value) in labels.iter().chain(entry.metadata.iter()).chain(entry.parsed.iter()) {
                    counts.say(set, name, value, &mut said);
                }
                counts.say(set, "pattern", &pattern(&entry.line), &mut said);
            }
        }
        Ok(counts.compared(warnings))
    }

    /// Lines that match, the newest first.
    async fn lines(
        &self,
        tenant: &Tenant,
        query: &str,
        range: TimeRange,
    ) -> Result<(Vec<Line>, Vec<String>), QueryError> {
        let limit = self.asked(LINES_MAX);
        let mut answer = self
            .logql_range(tenant, query, range.start, range.end, 1_000, limit, Direction::Backward)
            .await?;
        let LogResult::Streams(streams) = answer.result else {
            return Err(QueryError::Bad(format!(
                "{query}: a query for lines is compared, not one for numbers"
            )));
        };
        let mut lines: Vec<Line> = vec![];
        for stream in streams {
            let labels = stream.labels;
            lines.extend(stream.entries.into_iter().map(|entry| Line { labels: labels.clone(), entry }));
        }
        lines.sort_by_key(|line| std::cmp::Reverse(line.entry.ts_ns));
        answer.warnings.extend(newest_alone(("lines", query), &mut lines, LINES_MAX, limit));
        Ok((lines, answer.warnings))
    }
}

/// A log line of an answer, with its stream.
struct Line {
    labels: Labels,
    entry: LogEntry,
}

/// Leaves the newest of what was found, and a warning where there are more or, as no more may be asked for, may be more.
fn newest_alone<T>(
    (of, query): (&str, &str),
    found: &mut Vec<T>,
    most: usize,
    asked: usize,
) -> Option<String> {
    let (more, at_limit) = (found.len() > most, found.len() >= asked);
    found.truncate(most);
    let count = found.len();
    match (more, at_limit) {
        (true, _) => Some(format!("of the {of} that match {query} only the newest {count} are compared")),
        (false, true) => Some(format!(
            "of the {of} that match {query} the newest {count} are compared, and more may not be asked for"
        )),
        (false, false) => None,
    }
}

/// Both sets may lack the same.
fn add_new(warnings: &mut Vec<String>, more: Vec<String>) {
    for warning in more {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
}

/// Every stream has a service's name.
const ALL_LINES: &str = r#"{service_name=~".+"}"#;

/// What was said of each trace of the two sets.
struct Told {
    counts: Counts,
    set_of: HashMap<TraceId, Set, RandomState>,
    /// A thing counts once a trace, however many of its spans say it.
    said: HashMap<TraceId, Said, RandomState>,
    reservation: MemoryReservation,
}

impl Told {
    /// What spans say by themselves; who is whose child for what they say together.
    async fn spans(&mut self, mut batches: SendableRecordBatchStream) -> Result<Sample, QueryError> {
        let (mut rows, mut names, mut resources) = (Vec::new(), Names::default(), Resources::default());
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(crate::logql::broken)?;
            let spans = Spans::of(&batch);
            for row in 0..spans.len() {
                let id = spans.trace_id(row);
                let Some(set) = self.set_of.get(&id).copied() else { continue };
                let (counts, said) = (&mut self.counts, self.said.entry(id).or_default());
                for thing in resources.things_of(&spans, row, counts) {
                    counts.note(set, *thing, said);
                }
                things_of_span(&spans, row, &mut |attribute, value| {
                    counts.say(set, attribute, value, said);
                });
                rows.push(Row::of(&spans, row, &mut names));
            }
            let said: usize = self.said.values().map(Said::capacity).sum();
            // A number and a byte of metadata of each that is said.
            let bytes = rows.capacity() * size_of::<Row>() + said * (size_of::<u32>() + 1) + resources.bytes;
            self.reservation.try_resize(bytes).map_err(crate::logql::broken)?;
        }
        Ok(Sample::new(rows, names))
    }

    /// How long each operation kept a trace waiting.
    fn times(&mut self, sample: &Sample) {
        let mut own: HashMap<u32, i64> = HashMap::new();
        let habits = sample.habits();
        let attributes: Vec<String> = sample
            .operations
            .iter()
            .map(|operation| format!("time spent in {}: {}", operation.service_name, operation.name))
            .collect();
        for rows in sample.rows.chunk_by(|a, b| a.trace == b.trace) {
            let Some(id) = rows.first().map(|row| row.trace) else { continue };
            let (Some(set), Some(said)) = (self.set_of.get(&id), self.said.get_mut(&id)) else { continue };
            let mut tree = sample.tree(rows);
            habits.tell(rows, &mut tree);
            // Nobody waits for who takes a message; what follows from it is a request of its own.
            let begins = |at: &usize| match tree.parents[*at] {
                Some(parent) => {
                    rows[*at].kind == SpanKind::Consumer || rows[parent].kind == SpanKind::Producer
                }
                None => true,
            };
            own.clear();
            for entry in (0..rows.len()).filter(begins) {
                path::walk(&tree.nodes, entry, |node, ns, _| {
                    *own.entry(rows[node].operation).or_default() += ns
                });
            }
            for (operation, ns) in &own {
                let attribute = &attributes[*operation as usize];
                self.counts.say(*set, attribute, &class(*ns as f64 / 1e6, " ms"), said);
            }
        }
    }

    /// What the services logged while they worked on a trace, by pattern; whether all lines of the time were read.
    async fn lines(&mut self, snapshot: &dyn Snapshot, range: TimeRange) -> Result<bool, QueryError> {
        let columns = LogColumns::named(&["body", "service", "trace_id"]);
        let mut batches = snapshot.logs(&LogSelect::all(range), &columns).await?;
        let mut read = 0;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let column = |name: &str| batch.column_by_name(name);
            let (Some(bodies), Some(services), Some(ids)) = (
                column("body").and_then(|bodies| bodies.as_string_opt::<i32>()),
                column("service").and_then(|services| services.as_dictionary_opt::<UInt32Type>()),
                column("trace_id").and_then(|ids| ids.as_fixed_size_binary_opt()),
            ) else {
                continue;
            };
            let names: &StringArray = services.values().as_string();
            for row in (0..batch.num_rows()).filter(|row| ids.is_valid(*row)) {
                let Ok(id) = TraceId::try_from(ids.value(row)) else { continue };
                let Some(set) = self.set_of.get(&id) else { continue };
                let service = services.key(row).map_or("", |at| names.value(at));
                let line = format!("{service}: {}", pattern(bodies.value(row)));
                self.counts.say(*set, "log pattern", &line, self.said.entry(id).or_default());
            }
            read += batch.num_rows();
            if read > LINES_READ_MAX {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What resources say. A few of them are those of all spans, so that it is put together once for each.
#[derive(Default)]
struct Resources {
    places: HashMap<Vec<u8>, usize, RandomState>,
    things: Vec<Vec<u32>>,
    /// The one that was asked for last, by its service, names, values and types.
    asked: Vec<u8>,
    /// What they take of the memory, about.
    bytes: usize,
}

impl Resources {
    /// Where that which the resource of a span says stands in `counts`.
    fn things_of(&mut self, spans: &Spans<'_>, row: usize, counts: &mut Counts) -> &[u32] {
        let service = spans.service(row);
        self.asked.clear();
        self.asked.extend_from_slice(service.as_bytes());
        spans.each_entry(row, &mut |scope, name, text, kind| {
            if scope == Scope::Resource {
                for part in [name, text] {
                    self.asked.extend_from_slice(&(part.len() as u64).to_le_bytes());
                    self.asked.extend_from_slice(part.as_bytes());
                }
                self.asked.push(kind);
            }
        });
        let at = match self.places.get(&self.asked) {
            Some(at) => *at,
            None => {
                let mut things = vec![];
                attributes_of(spans, row, true, &mut |attribute, value| {
                    things.extend(counts.things_of(service, attribute, value).into_iter().flatten());
                });
                let held = self.asked.len() + things.capacity() * size_of::<u32>();
                self.bytes += held + size_of::<(Vec<u8>, usize, Vec<u32>)>();
                self.places.insert(self.asked.clone(), self.things.len());
                self.things.push(things);
                self.things.len() - 1
            }
        };
        &self.things[at]
    }
}

/// What a span says beside its resource.
fn things_of_span(spans: &Spans<'_>, row: usize, say: &mut dyn FnMut(&str, &str)) {
    say("name", spans.name(row));
    if spans.status(row) == StatusCode::Error {
        say("status", "error");
        say("failed in", &format!("{}: {}", spans.service(row), spans.name(row)));
    }
    attributes_of(spans, row, false, say);
}

/// Attributes of a span's resource, or all others.
fn attributes_of(spans: &Spans<'_>, row: usize, of_resource: bool, say: &mut dyn FnMut(&str, &str)) {
    let mut attribute = String::new();
    spans.each_attribute(row, &mut |scope, name, value| {
        if (scope == Scope::Resource) != of_resource {
            return;
        }
        attribute.clear();
        for part in [scope.as_str(), ".", name] {
            attribute.push_str(part);
        }
        match value {
            Val::Float(number) => say(&attribute, &class(number, "")),
            Val::Int(number) => say(&attribute, &number.to_string()),
            Val::Bool(truth) => say(&attribute, if truth { "true" } else { "false" }),
            Val::Text(text) => say(&attribute, &text),
            _ => {}
        }
    });
}

/// The power of two that a number is at least, as a range.
fn class(number: f64, unit: &str) -> String {
    if !number.is_finite() || number <= 0.0 {
        return format!("{number}{unit}");
    }
    let low = 2f64.powf(number.log2().floor());
    format!("{low} to {}{unit}", 2.0 * low)
}

/// A line with what varies taken out: words that hold a digit.
fn pattern(line: &str) -> String {
    let mut pattern = String::new();
    let mut blank = false;
    for word in line.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let varies = word.chars().any(|c| c.is_ascii_digit());
        if varies && !blank {
            pattern.push_str("<_>");
        }
        let end = word.chars().last().filter(|c| !c.is_alphanumeric());
        match (varies, end) {
            (true, Some(end)) => pattern.push(end),
            (true, None) => {}
            (false, _) => pattern.push_str(word),
        }
        blank = varies && end.is_none_or(|c| c == '.' || c == ':' || c == '-');
        if pattern.len() >= VALUE_CHARS_MAX {
            break;
        }
    }
    pattern.chars().take(VALUE_CHARS_MAX / 4).collect()
}

#[cfg(test)]
mod tests {
    use super::super::counts::Difference;
    use super::super::tests::{Shop, World, range, traffic};
    use super::*;
    use model::{Labels, LogBatch, LogRecord, LogStream, ResourceSpans, Value};
    use std::sync::Arc;

    async fn compared(selection: &str, baseline: Option<&str>) -> Result<Comparison, QueryError> {
        let world = World::new().await;
        world.write(traffic(Shop::new(400, 0.15, 300.0))).await;
        world.engine.compare(&Tenant::default(), (selection, range()), baseline, range()).await
    }

    #[tokio::test]
    async fn slow_traces_differ_in_what_made_them_slow() {
        let found = compared("{ duration > 250ms && kind = server }", None).await.unwrap();
        assert!(found.selection > 30 && found.baseline > 200, "{found:?}");
        let exhausted = |one: &&Difference| one.attribute == "span.db.pool.exhausted" && one.value == "true";
        let exhausted = found.differences.iter().find(exhausted).unwrap();
        assert_eq!((exhausted.selection_share, exhausted.baseline_share), (1.0, 0.0));
        assert!(found.differences[0].score > 0.99);
        assert!(found.differences.iter().all(|one| (0.0..=1.0).contains(&one.score)));
        // Whoever waits for the pool takes as long, and is not what made it slow.
        let times: Vec<&str> =
            found.differences.iter().filter_map(|one| one.attribute.strip_prefix("time spent in ")).collect();
        assert!(!times.is_empty() && times.iter().all(|of| *of == "inventory: db.pool"), "{times:?}");
        let first = &found.differences[0];
        assert!(first.attribute.contains("db.pool"), "{first:?}");
        assert!(
            !found.differences.iter().any(|one| one.attribute.contains("payment")),
            "no accident is claimed"
        );
    }

    #[tokio::test]
    async fn the_log_lines_of_slow_traces_tell_why_and_a_selection_may_be_a_part_of_the_time() {
        let world = World::new().await;
        world.write(traffic(Shop::new(400, 0.15, 300.0))).await;
        let tenant = Tenant::default();
        let slow = "{ duration > 250ms && kind = server }";
        let ids = world.engine.ids(&tenant, slow, range()).await.unwrap().0;
        let line = |(at, id): (usize, &TraceId)| LogRecord {
            ts_ns: range().start + 1 + at as i64,
            body: format!("pool exhausted after {at} ms"),
            trace_id: Some(*id),
            ..LogRecord::default()
        };
        let records = ids.iter().enumerate().map(line).collect();
        let resource = vec![("service.name".to_owned(), Value::from("inventory"))];
        let stream =
            LogStream { labels: Labels::from_pairs([("service_name", "inventory")]), resource, records };
        world.log(LogBatch { streams: vec![stream] }).await;
        let found = world.engine.compare(&tenant, (slow, range()), None, range()).await.unwrap();
        let pattern = found.differences.iter().find(|one| one.attribute == "log pattern").unwrap();
        assert_eq!(pattern.value, "inventory: pool exhausted after <_> ms");
        let counts = (pattern.selection_count as usize, pattern.baseline_count);
        assert_eq!((counts, pattern.score), ((ids.len(), 0), 1.0));
        // Nothing is slow in no time, and then there is nothing to compare.
        let none = TimeRange { start: range().start, end: range().start };
        let found = world.engine.compare(&tenant, (slow, none), None, range()).await.unwrap();
        assert_eq!((found.selection, found.differences.len()), (0, 0));
        assert!(found.baseline > 300, "{found:?}");
    }

    #[tokio::test]
    async fn what_resources_say_is_counted_by_trace() {
        let world = World::new().await;
        let mut batch = traffic(Shop::new(400, 0.15, 300.0));
        let inventory = batch.resources.remove(1).spans;
        let is_long = |span: &&model::Span| span.duration_ns > 200_000_000;
        let slow: HashSet<TraceId> = inventory.iter().filter(is_long).map(|span| span.trace_id).collect();
        let (bad, good): (Vec<_>, Vec<_>) =
            inventory.into_iter().partition(|span| slow.contains(&span.trace_id));
        for (pod, spans) in [("inventory-1", bad), ("inventory-2", good)] {
            let resource = [("service.name", "inventory"), ("pod", pod)];
            let resource = resource.map(|(name, value)| (name.to_owned(), Value::from(value)));
            let resource = Arc::new(Vec::from(resource));
            batch.resources.push(ResourceSpans { resource, spans, ..ResourceSpans::default() });
        }
        world.write(batch).await;
        let selection = ("{ duration > 250ms && kind = server }", range());
        let found = world.engine.compare(&Tenant::default(), selection, None, range()).await.unwrap();
        let pods: Vec<(&str, &str, usize, usize)> = found
            .differences
            .iter()
            .filter(|one| one.attribute.contains("resource."))
            .map(|one| {
                let counts = (one.selection_count as usize, one.baseline_count as usize);
                (one.attribute.as_str(), one.value.as_str(), counts.0, counts.1)
            })
            .collect();
        let (selected, others) = (found.selection, found.baseline);
        assert!(selected == slow.len() && others == 400 - selected, "{found:?}");
        let pod = "resource.pod";
        assert_eq!(pods, [(pod, "inventory-1", selected, 0), (pod, "inventory-2", 0, others)]);
    }

    /// More of it than were asked for were a part of its own baseline once.
    #[tokio::test]
    async fn what_is_selected_is_no_baseline_however_much_it_is() {
        let world = World::new().await;
        world.write(traffic(Shop::new(1_500, 0.6, 300.0))).await;
        let slow = ("{ duration > 250ms && kind = server }", range());
        let found = world.engine.compare(&Tenant::default(), slow, None, range()).await.unwrap();
        assert!(found.selection > 800 && found.selection + found.baseline == 1_500, "{found:?}");
        let exhausted = |one: &&Difference| one.attribute == "span.db.pool.exhausted" && one.value == "true";
        let exhausted = found.differences.iter().find(exhausted).unwrap();
        let counts = (exhausted.selection_count as usize, exhausted.baseline_count);
        assert_eq!((counts, found.warnings.len()), ((found.selection, 0), 0));
    }

    #[tokio::test]
    async fn alike_sets_differ_in_nothing() {
        let found =
            compared("{ name = \"GET /\" && duration < 20ms }", Some("{ name = \"GET /\" }")).await.unwrap();
        assert!(found.differences.iter().all(|one| !one.attribute.starts_with("name")), "{found:?}");
        let empty = compared("{ name = \"nobody\" }", None).await.unwrap();
        assert_eq!((empty.selection, empty.differences.len()), (0, 0));
    }

    #[tokio::test]
    async fn what_is_no_query_is_refused() {
        let wrong = compared("sum(", None).await.unwrap_err().to_string();
        assert!(wrong.contains("TraceQL") && wrong.contains("LogQL"), "{wrong}");
        assert!(matches!(compared("{ }", Some("{ nonsense")).await, Err(QueryError::Bad(_))));
        for (selection, baseline) in
            [("{ } | rate()", None), ("{ }", Some("{ } | count_over_time() by (name)"))]
        {
            let why = compared(selection, baseline).await.unwrap_err();
            assert!(matches!(&why, QueryError::Bad(text) if text.contains("not one for numbers")), "{why}");
        }
    }

    #[test]
    fn all_that_there_is_is_not_the_newest_of_more() {
        for (found, asked, left, told) in [
            (2_000, 2_001, 2_000, false),
            (2_001, 2_001, 2_000, true),
            (3, 2_001, 3, false),
            (500, 500, 500, true),
            (499, 500, 499, false),
        ] {
            let mut all: Vec<usize> = (0..found).collect();
            let warning = newest_alone(("traces", "{ }"), &mut all, 2_000, asked);
            assert_eq!((all.len(), warning.is_some()), (left, told), "{found} of {asked}: {warning:?}");
            assert_eq!(warning.is_some_and(|text| text.contains("only")), found > 2_000);
        }
    }

    #[test]
    fn lines_that_differ_in_numbers_have_one_pattern() {
        assert_eq!(pattern("waited 312 ms for o-000123"), "waited <_> ms for o-<_>");
        assert_eq!(pattern("waited 312 ms for o-000123"), pattern("waited 298 ms for o-999999"));
        assert_eq!(class(300.0, " ms"), "256 to 512 ms");
        assert_eq!(class(0.0, ""), "0");
    }
}
