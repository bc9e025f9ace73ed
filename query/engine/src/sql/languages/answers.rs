//! What a call of `promql()`, `logql()` or `traceql()` answers: which columns it has, by its query, and its rows.

use super::{Call, Language};
use crate::logql::{Direction, LogLines, LogResult};
use crate::promql::{LOOKBACK_MS, PromResult};
use crate::sql::columns::{LabelMapBuilder, append_labels, label_map_builder};
use crate::traceql::{FoundTrace, SearchOptions, TraceSeries};
use crate::{Engine, QueryError};
use arrow::array::{
    ArrayRef, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use model::{Point, SeriesPoints, Tenant, TimeRange};
use std::sync::{Arc, LazyLock};

const NS_PER_MS: i64 = 1_000_000;
/// Spans a trace gives at most.
const SPANS_MAX: usize = 10_000;

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

fn map(name: &str) -> Field {
    Field::new(name, store::schema::text_map(), false)
}

fn time(name: &str) -> Field {
    Field::new(name, store::schema::timestamp(), false)
}

/// The leading columns are those of the table `metrics`.
static NUMBERS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let value = Field::new("value", DataType::Float64, false);
    Arc::new(Schema::new(vec![time("ts"), text("name"), value, map("labels")]))
});

static LINES: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![time("ts"), text("body"), map("labels"), map("attributes")])));

static SPANS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        text("trace_id"),
        text("span_id"),
        time("start_ts"),
        Field::new("duration_ns", DataType::Int64, false),
        text("name"),
        map("attributes"),
        text("root_service"),
        text("root_name"),
        time("trace_start_ts"),
        Field::new("trace_duration_ns", DataType::Int64, false),
    ]))
});

/// The kind of an answer, known from the query alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    Promql,
    LogNumbers,
    Lines,
    SpanNumbers,
    Spans,
}

impl Answers {
    pub fn of(language: Language, call: &Call) -> Result<Answers, QueryError> {
        let bad = |why: String| QueryError::Bad(format!("in the query of {}(): {why}", language.name()));
        Ok(match language {
            Language::Promql => {
                ::promql::parse(&call.query).map_err(|why| bad(why.to_string()))?;
                Answers::Promql
            }
            Language::Logql => match ::logql::parse(&call.query).map_err(|why| bad(why.to_string()))? {
                ::logql::Expr::Log(_) => Answers::Lines,
                ::logql::Expr::Metric(_) => Answers::LogNumbers,
            },
            Language::Traceql => {
                match ::traceql::parse(&call.query).map_err(|why| bad(why.to_string()))?.root {
                    ::traceql::Root::Spansets(_) => Answers::Spans,
                    ::traceql::Root::Metrics(_) => Answers::SpanNumbers,
                }
            }
        })
    }

    /// The last argument is a step; else it is a limit.
    pub fn has_step(self) -> bool {
        !matches!(self, Answers::Lines | Answers::Spans)
    }

    pub fn schema(self) -> SchemaRef {
        match self {
            Answers::Promql | Answers::LogNumbers | Answers::SpanNumbers => NUMBERS.clone(),
            Answers::Lines => LINES.clone(),
            Answers::Spans => SPANS.clone(),
        }
    }

    pub async fn ask(self, engine: &Engine, tenant: &Tenant, call: &Call) -> Result<RecordBatch, QueryError> {
        let rows = match self {
            Answers::Promql => numbers(&promql(engine, tenant, call).await?),
            Answers::LogNumbers | Answers::Lines => match logql(engine, tenant, call).await? {
                LogResult::Streams(streams) => lines(&streams),
                LogResult::Matrix(series) | LogResult::Vector(series) => numbers(&series),
                LogResult::Scalar(point) => numbers(&[alone(point)]),
            },
            Answers::SpanNumbers => {
                let range = TimeRange { start: call.start_ns, end: call.end_ns };
                let found = engine.traceql_metrics(tenant, &call.query, range, call.step_ms, 0).await?;
                span_numbers(&found.series)
            }
            Answers::Spans => {
                let options = SearchOptions {
                    range: TimeRange { start: call.start_ns, end: call.end_ns },
                    limit: call.limit,
                    spans_per_spanset: SPANS_MAX,
                };
                spans(&engine.traceql_search(tenant, &call.query, options).await?.traces)
            }
        };
        rows.map_err(|wrong| QueryError::Broken(wrong.to_string()))
    }
}

async fn promql(engine: &Engine, tenant: &Tenant, call: &Call) -> Result<Vec<SeriesPoints>, QueryError> {
    let (start, end) = (call.start_ns.div_euclid(NS_PER_MS), call.end_ns.div_euclid(NS_PER_MS));
    let answer = match call.instant {
        true => engine.promql_instant(tenant, &call.query, end, LOOKBACK_MS).await?,
        false => engine.promql_range(tenant, &call.query, start, end, call.step_ms, LOOKBACK_MS).await?,
    };
    match answer.result {
        PromResult::Vector(series) | PromResult::Matrix(series) => {
            // A histogram is no number; the columns of this table are.
            let numbers = series.into_iter().filter(|series| !series.points.is_empty());
            Ok(numbers.map(|series| SeriesPoints { labels: series.labels, points: series.points }).collect())
        }
        PromResult::Scalar(point) => Ok(vec![alone(point)]),
        PromResult::Text { .. } => Err(QueryError::Bad("promql(): a string is no table of numbers".into())),
    }
}

fn alone(point: Point) -> SeriesPoints {
    SeriesPoints { labels: model::Labels::empty(), points: vec![point] }
}

const HOUR_NS: i64 = 3_600_000_000_000;

async fn logql(engine: &Engine, tenant: &Tenant, call: &Call) -> Result<LogResult, QueryError> {
    let (query, backward) = (&call.query, Direction::Backward);
    let is_of_lines = matches!(logql::parse(query), Ok(logql::Expr::Log(_)));
    let answer = match call.instant {
        // Lines are of a range: of the hour up to the time.
        true if is_of_lines => {
            let start = call.end_ns.saturating_sub(HOUR_NS);
            let end = call.end_ns.saturating_add(1);
            engine.logql_range(tenant, query, start, end, HOUR_NS / NS_PER_MS, call.limit, backward).await?
        }
        true => engine.logql_instant(tenant, query, call.end_ns, call.limit, backward).await?,
        false => {
            let (start, end) = (call.start_ns, call.end_ns);
            engine.logql_range(tenant, query, start, end, call.step_ms, call.limit, backward).await?
        }
    };
    Ok(answer.result)
}

fn timestamps() -> TimestampNanosecondBuilder {
    TimestampNanosecondBuilder::new().with_timezone("UTC")
}

type Rows = Result<RecordBatch, ArrowError>;

fn numbers(series: &[SeriesPoints]) -> Rows {
    let (mut ts, mut names, mut values) = (timestamps(), StringBuilder::new(), Float64Builder::new());
    let mut labels = label_map_builder();
    for one in series {
        for point in &one.points {
            ts.append_value(point.ts_ms.saturating_mul(NS_PER_MS));
            names.append_value(one.labels.metric_name());
            values.append_value(point.value);
            append_labels(&mut labels, &one.labels)?;
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ts.finish()),
        Arc::new(names.finish()),
        Arc::new(values.finish()),
        Arc::new(labels.finish()),
    ];
    RecordBatch::try_new(NUMBERS.clone(), columns)
}

fn span_numbers(series: &[TraceSeries]) -> Rows {
    let (mut ts, mut names, mut values) = (timestamps(), StringBuilder::new(), Float64Builder::new());
    let mut labels = label_map_builder();
    for one in series {
        for (ts_ms, value) in &one.points {
            ts.append_value(ts_ms.saturating_mul(NS_PER_MS));
            names.append_value("");
            values.append_value(*value);
            append_values(&mut labels, one.labels.iter().filter(|(name, _)| name != model::METRIC_NAME))?;
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ts.finish()),
        Arc::new(names.finish()),
        Arc::new(values.finish()),
        Arc::new(labels.finish()),
    ];
    RecordBatch::try_new(NUMBERS.clone(), columns)
}

fn append_values<'a>(
    builder: &mut LabelMapBuilder,
    pairs: impl Iterator<Item = &'a (String, model::Value)>,
) -> Result<(), ArrowError> {
    for (name, value) in pairs {
        builder.keys().append_value(name);
        builder.values().append_value(value.to_string());
    }
    builder.append(true)
}

fn lines(streams: &[LogLines]) -> Rows {
    let (mut ts, mut bodies) = (timestamps(), StringBuilder::new());
    let (mut labels, mut attributes) = (label_map_builder(), label_map_builder());
    for stream in streams {
        for entry in &stream.entries {
            ts.append_value(entry.ts_ns);
            bodies.append_value(&entry.line);
            append_labels(&mut labels, &stream.labels)?;
            for (name, value) in entry.metadata.iter().chain(entry.parsed.iter()) {
                attributes.keys().append_value(name);
                attributes.values().append_value(value);
            }
            attributes.append(true)?;
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ts.finish()),
        Arc::new(bodies.finish()),
        Arc::new(labels.finish()),
        Arc::new(attributes.finish()),
    ];
    RecordBatch::try_new(LINES.clone(), columns)
}

/// A row for each span that matched.
fn spans(traces: &[FoundTrace]) -> Rows {
    let (mut trace_ids, mut span_ids) = (StringBuilder::new(), StringBuilder::new());
    let (mut starts, mut durations) = (timestamps(), Int64Builder::new());
    let (mut names, mut attributes) = (StringBuilder::new(), label_map_builder());
    let (mut root_services, mut root_names) = (StringBuilder::new(), StringBuilder::new());
    let (mut trace_starts, mut trace_durations) = (timestamps(), Int64Builder::new());
    for trace in traces {
        for span in trace.spansets.iter().flat_map(|set| &set.spans) {
            trace_ids.append_value(hex::encode(trace.trace_id));
            span_ids.append_value(hex::encode(span.span_id));
            starts.append_value(span.start_ns);
            durations.append_value(span.duration_ns);
            names.append_value(&span.name);
            append_values(&mut attributes, span.attributes.iter())?;
            root_services.append_value(&trace.root_service);
            root_names.append_value(&trace.root_name);
            trace_starts.append_value(trace.start_ns);
            trace_durations.append_value(trace.duration_ns);
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(trace_ids.finish()),
        Arc::new(span_ids.finish()),
        Arc::new(starts.finish()),
        Arc::new(durations.finish()),
        Arc::new(names.finish()),
        Arc::new(attributes.finish()),
        Arc::new(root_services.finish()),
        Arc::new(root_names.finish()),
        Arc::new(trace_starts.finish()),
        Arc::new(trace_durations.finish()),
    ];
    RecordBatch::try_new(SPANS.clone(), columns)
}
