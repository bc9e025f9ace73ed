//! `compare({ … }, n)`: for every attribute, how often each of its commonest values occurs in the selected spans and in
//! the others.

mod known;
mod many;
mod roots;
mod rows;
mod scan;
mod shared;
mod table;

use super::exemplars::Example;
use super::{MetricsQuery, Series, SpanAt, single_filter, wants_trace};
use crate::QueryError;
use datafusion::execution::memory_pool::MemoryConsumer;
use model::Value;
use std::collections::{BTreeMap, HashMap};
use traceql::{FieldExpr, Intrinsic, MetricsAggregate, Static};

const TOP_DEFAULT: usize = 10;
/// More traces are not read whole.
const TRACES_WHOLE_MAX: usize = 20_000;
/// Values of one attribute that are told apart on either side.
const VALUES_MAX: usize = 10_000;
/// Fields that every span has, compared like attributes.
const INTRINSICS: [Intrinsic; 9] = [
    Intrinsic::Name,
    Intrinsic::Kind,
    Intrinsic::Status,
    Intrinsic::StatusMessage,
    Intrinsic::RootName,
    Intrinsic::RootService,
    Intrinsic::ChildCount,
    Intrinsic::InstrumentationName,
    Intrinsic::InstrumentationVersion,
];
const SIDES: [&str; 2] = ["baseline", "selection"];

/// Counts of one attribute on one side.
#[derive(Default)]
struct Counts {
    total: Vec<f64>,
    /// By type and text.
    values: HashMap<String, (Value, Vec<f64>)>,
    too_many: bool,
}

/// One span of each step on a side.
type Examples = [BTreeMap<usize, Example>; 2];

/// By side (0 the baseline, 1 the selection) and the attribute's name with its scope.
type Attributes = [HashMap<String, Counts>; 2];

impl MetricsQuery {
    pub(super) async fn compare(
        &self,
        query: &MetricsAggregate,
        inspected: &mut u64,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Series>, QueryError> {
        let Some(selection) = &query.selection else {
            return Err(QueryError::Bad(
                "compare() needs a selection, as compare({ status = error })".into(),
            ));
        };
        let top = query.params.first().map_or(TOP_DEFAULT, |top| (*top as usize).max(1));
        // The selection may be of a part of the time: as a step's, without its start and with its end.
        let selected_from = query.params.get(1).map_or(i64::MIN, |ns| *ns as i64);
        let selected_to = query.params.get(2).map_or(i64::MAX, |ns| *ns as i64);
        let mut columns = vec![
            "start_ts",
            "trace_state",
            "attributes",
            "attribute_types",
            "resource",
            "resource_types",
            "status_message",
            "scope_name",
            "scope_version",
            "scope_attributes",
            "scope_attribute_types",
        ];
        selection.fields(&mut |field| super::columns_of(field, &mut columns));
        let (mut attributes, mut examples) = (Attributes::default(), Examples::default());
        if self.exemplars > 0 {
            columns.extend(["trace_id", "duration_ns"]);
        }
        let reservation = MemoryConsumer::new("traceql compare").register(self.context.memory_pool());
        let filter = single_filter(&query.spansets).filter(|_| !wants_trace(query) && !of_trace(selection));
        let search = self.search_of(&query.spansets);
        // Where all spans are meant, indexes count their traces, which are asked for the roots of so many anyway.
        let mut roots = None;
        if let Some(FieldExpr::Static(Static::Bool(true))) = filter {
            roots = Some(self.roots().await?);
        }
        let shown = match (filter, &roots) {
            (Some(_), Some(Some(roots))) => roots.begun() > TRACES_WHOLE_MAX,
            (Some(filter), _) => self.shows_more_than(TRACES_WHOLE_MAX, filter).await?,
            (None, _) => false,
        };
        let mut looked_at = 0;
        let ids = if shown { vec![] } else { search.ids(&mut looked_at).await? };
        if let Some(filter) = filter.filter(|_| shown || ids.len() > TRACES_WHOLE_MAX) {
            let (filter, selection) = (filter.clone(), selection.clone());
            let selected = (selected_from, selected_to);
            drop(ids);
            let roots = match roots {
                Some(known) => known,
                None => self.roots().await?,
            };
            let compared =
                self.compare_by_scan(scan::Asked { filter, selection, selected, top }, roots).await?;
            *inspected += compared.inspected;
            warnings.push(format!(
                "compare() over more than {TRACES_WHOLE_MAX} traces leaves out {}; narrow the time range or the filter for all",
                if compared.has_roots { "childCount" } else { "childCount, rootName and rootServiceName" }
            ));
            return Ok(all_told(compared.attributes, compared.examples, top));
        }
        *inspected += looked_at;
        // Whole traces tell their own.
        drop(roots);
        self.each_of_these(&search, &ids, columns, &mut |at| {
            let start = at.spans.start(at.row);
            let selected = start > selected_from && start <= selected_to && holds(at, selection);
            if self.exemplars > 0 {
                let step = self.steps.of(start);
                examples[usize::from(selected)].entry(step).or_insert_with(|| example(at));
            }
            let grown = self.note(at, &mut attributes[usize::from(selected)]);
            if grown == 0 { Ok(()) } else { reservation.try_grow(grown).map_err(crate::logql::broken) }
        })
        .await?;
        Ok(all_told(attributes, examples, top))
    }

    /// Counts the values of a span; the bytes that it took.
    fn note(&self, at: &SpanAt<'_>, counts: &mut HashMap<String, Counts>) -> usize {
        let (step, weight) = (self.steps.of(at.spans.start(at.row)), at.spans.weight(at.row));
        let mut grown = 0;
        each_compared(at, &mut |name, value| grown += self.add((step, weight), name, value, counts));
        grown
    }

    fn add(
        &self,
        (step, weight): (usize, f64),
        name: String,
        value: Value,
        counts: &mut HashMap<String, Counts>,
    ) -> usize {
        let mut grown = 0;
        let counts = counts.entry(name).or_insert_with_key(|name| {
            grown += name.len() + self.steps.count * 8 + 200;
            Counts { total: vec![0.0; self.steps.count], ..Counts::default() }
        });
        if let Some(total) = counts.total.get_mut(step) {
            *total += weight;
        }
        let key = key_of(&value);
        if counts.values.len() >= VALUES_MAX && !counts.values.contains_key(&key) {
            counts.too_many = true;
            return grown;
        }
        let (_, of_value) = counts.values.entry(key).or_insert_with_key(|key| {
            grown += 2 * key.len() + self.steps.count * 8 + 100;
            (value, vec![0.0; self.steps.count])
        });
        if let Some(count) = of_value.get_mut(step) {
            *count += weight;
        }
        grown
    }
}

/// The series of both sides, with the commonest values of each attribute.
fn all_told(attributes: Attributes, examples: Examples, top: usize) -> Vec<Series> {
    let mut series = Vec::new();
    for ((side, attributes), examples) in SIDES.into_iter().zip(attributes).zip(examples) {
        // An example stands at one series of its side, the names: each span has one.
        let mut examples = Some(examples);
        for (name, counts) in attributes {
            let mut of_name = told(side, &name, counts, top);
            if name == Intrinsic::Name.as_str()
                && let Some(total) = of_name.iter_mut().find(|series| series.is_total())
            {
                total.exemplars =
                    examples.take().unwrap_or_default().into_values().map(Example::at_its_own).collect();
            }
            series.extend(of_name);
        }
    }
    series
}

impl Series {
    fn is_total(&self) -> bool {
        let kind = self.labels.first().map(|(_, kind)| kind.to_string());
        kind.is_some_and(|kind| SIDES.iter().any(|side| kind == format!("{side}_total")))
    }
}

/// At the height of its duration in seconds, with all that is compared.
fn example(at: &SpanAt<'_>) -> Example {
    let mut example = Example::new(at, at.spans.duration(at.row) as f64 / 1e9, &[]);
    each_compared(at, &mut |name, value| example.labels.push((name, value)));
    example
}

/// Calls `see` with name and value of all that is compared of a span.
fn each_compared(at: &SpanAt<'_>, see: &mut dyn FnMut(String, Value)) {
    for intrinsic in INTRINSICS {
        if let Some(value) = super::value_of(at.value(&traceql::Field::Intrinsic(intrinsic))) {
            see(intrinsic.as_str().to_owned(), value);
        }
    }
    at.spans.each_attribute(at.row, &mut |scope, name, value| {
        if let Some(value) = super::value_of(value) {
            see(traceql::Field::Attribute { scope, name: name.to_owned() }.to_string(), value);
        }
    });
}

fn of_trace(selection: &FieldExpr) -> bool {
    let mut of_trace = false;
    selection.fields(&mut |field| of_trace |= field.of_trace());
    of_trace
}

fn holds(at: &SpanAt<'_>, selection: &FieldExpr) -> bool {
    at.holds(selection) == Some(true)
}

/// The same text may be a number here and a string there.
fn key_of(value: &Value) -> String {
    let kind = match value {
        Value::Int(_) => 'i',
        Value::Double(_) => 'd',
        Value::Bool(_) => 'b',
        _ => 's',
    };
    format!("{kind}{value}")
}

fn told(side: &str, name: &str, counts: Counts, top: usize) -> Vec<Series> {
    let labels = |kind: String, value: Value| {
        vec![("__meta_type".to_owned(), Value::from(kind.as_str())), (name.to_owned(), value)]
    };
    let some = |values: Vec<f64>| values.into_iter().map(Some).collect();
    let with_sum =
        |(key, of_value): (String, (Value, Vec<f64>))| (of_value.1.iter().sum::<f64>(), key, of_value);
    let mut all: Vec<(f64, String, (Value, Vec<f64>))> = counts.values.into_iter().map(with_sum).collect();
    all.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    all.truncate(top);
    let mut series: Vec<Series> = all
        .into_iter()
        .map(|(_, _, (value, counts))| Series::new(labels(side.to_owned(), value), some(counts)))
        .collect();
    series.push(Series::new(labels(format!("{side}_total"), Value::from("nil")), some(counts.total)));
    if counts.too_many {
        let mut labels = labels(side.to_owned(), Value::from("nil"));
        labels.push(("__meta_error".to_owned(), Value::from("__too_many_values__")));
        series.push(Series::new(labels, vec![]));
    }
    series
}

#[cfg(test)]
mod tests;
