//! The same over many traces: spans are counted as they are scanned, by their columns. What only a whole trace says of a span is
//! its root, which the indexes know, and how many children it has, which is not compared then.

use super::super::{MetricsQuery, SpanAt, columns_of, value_of};
use super::roots::Roots;
use super::rows::{Judged, Rows};
use super::shared::{KnownShared, places_of_resource};
use super::table::{Held, Place, Table, told};
use super::{Attributes, Examples, INTRINSICS};
use crate::QueryError;
use crate::logql::broken;
use crate::traceql::alike::leading;
use crate::traceql::passing::Passing;
use crate::traceql::scan::narrow;
use crate::traceql::shares::in_shares;
use crate::traceql::sources::fields_or_columns_of;
use crate::traceql::spans::Spans;
use crate::traceql::value::typed;
use datafusion::execution::memory_pool::MemoryConsumer;
use futures::StreamExt;
use model::{SpanField, SpanSelect};
use traceql::{Field, FieldExpr, Intrinsic, Scope};

/// Columns that are compared, or tell when a span is and how often it counts.
const COLUMNS: [&str; 8] =
    ["start_ts", "trace_state", "name", "kind", "status", "status_message", "scope_name", "scope_version"];
const OF_SCOPES: [&str; 2] = ["scope_attributes", "scope_attribute_types"];
/// Attributes that come put together.
const MAPS: [&str; 4] = ["attributes", "attribute_types", "resource", "resource_types"];

/// What is asked, for each thread.
#[derive(Clone)]
pub(super) struct Asked {
    pub filter: FieldExpr,
    pub selection: FieldExpr,
    /// Nanoseconds; the selection is of these times alone.
    pub selected: (i64, i64),
    /// Values of each attribute that are told.
    pub top: usize,
}

/// What is read of spans.
#[derive(Clone)]
struct Wanted {
    columns: Vec<&'static str>,
    /// All attributes, where their names are known.
    fields: Vec<SpanField>,
}

/// What is known of dictionaries of a thread's batches.
#[derive(Default)]
struct Known {
    roots: KnownShared,
    resources: KnownShared,
}

/// What was counted, with the memory that it takes.
pub(super) struct Compared {
    pub attributes: Attributes,
    pub examples: Examples,
    /// Spans that were looked at.
    pub inspected: u64,
    /// Whether the indexes knew the roots of traces.
    pub has_roots: bool,
    _held: Vec<Held>,
}

impl MetricsQuery {
    /// With the roots of traces, where the indexes tell them.
    pub(super) async fn compare_by_scan(
        &self,
        asked: Asked,
        roots: Option<Roots>,
    ) -> Result<Compared, QueryError> {
        let mut wanted = self.wanted(&asked).await?;
        wanted.fields.extend(roots.is_some().then_some(SpanField::Root));
        let mut tables = in_shares(|share| {
            let (own, asked, wanted, roots) = (self.clone(), asked.clone(), wanted.clone(), roots.clone());
            async move { own.share_of_comparison(asked, wanted, roots, share).await }
        })
        .await?;
        let (mut examples, mut inspected) = (Examples::default(), 0);
        for table in &mut tables {
            inspected += table.inspected;
            for (side, own) in std::mem::take(&mut table.examples).into_iter().enumerate() {
                own.into_iter().for_each(|(step, one)| _ = examples[side].entry(step).or_insert(one));
            }
        }
        let (attributes, held) = told(tables, asked.top)?;
        Ok(Compared { attributes, examples, inspected, has_roots: roots.is_some(), _held: held })
    }

    /// Each attribute as a column where it is known which there are, and otherwise all put together.
    async fn wanted(&self, asked: &Asked) -> Result<Wanted, QueryError> {
        let (mut columns, mut fields) = (COLUMNS.to_vec(), vec![]);
        if self.exemplars > 0 {
            columns.extend(["trace_id", "duration_ns"]);
        }
        let mut read: Vec<&Field> = vec![];
        asked.filter.fields(&mut |field| read.push(field));
        asked.selection.fields(&mut |field| read.push(field));
        match self.snapshot.attribute_names(self.steps.range()).await? {
            Some(names) => {
                fields.extend(names.of_spans.into_iter().map(SpanField::Span));
                fields.push(SpanField::Resources);
                if names.scopes_have_some {
                    columns.extend(OF_SCOPES);
                }
                read.iter().for_each(|field| fields_or_columns_of(field, &mut fields, &mut columns));
            }
            None => {
                columns.extend(MAPS);
                columns.extend(OF_SCOPES);
                read.iter().for_each(|field| columns_of(field, &mut columns));
            }
        }
        Ok(Wanted { columns, fields })
    }

    async fn share_of_comparison(
        &self,
        asked: Asked,
        wanted: Wanted,
        roots: Option<Roots>,
        share: (usize, usize),
    ) -> Result<Table, QueryError> {
        let all = SpanSelect::all(self.steps.range());
        let mut select = SpanSelect { share: Some(share), fields: wanted.fields, ..all };
        narrow(&mut select, &asked.filter);
        let mut batches = match &roots {
            Some(roots) => self.rooted(select, &wanted.columns, roots.known.clone())?,
            None => self.scanned(select, &wanted.columns)?,
        };
        let reservation = MemoryConsumer::new("traceql compare").register(self.context.memory_pool());
        let mut table = Table::new(self.steps.count, Held::of(reservation));
        let passing = (Passing::new(&asked.filter), Passing::new(&asked.selection));
        let mut known = Known::default();
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(broken)?;
            table.inspected += batch.num_rows() as u64;
            let spans = Spans::of(&batch);
            let rows = self.rows(&spans, &passing, asked.selected);
            if !rows.is_empty() {
                self.count_rows(&spans, &rows, roots.as_ref(), (&mut table, &mut known))?;
            }
            table.held.ask()?;
        }
        Ok(table)
    }

    /// Rows in the range that pass the filter, those on one side that pass the selection.
    fn rows(
        &self,
        spans: &Spans<'_>,
        (filter, selection): &(Passing<'_>, Passing<'_>),
        (after, until): (i64, i64),
    ) -> Rows {
        let (starts, range) = (spans.starts().unwrap_or_default(), self.steps.range());
        let mut counted: Vec<bool> = starts.iter().map(|start| range.contains(*start)).collect();
        filter.judge(spans, &mut counted);
        let is_of_times = |start: i64| after < start && start <= until;
        let mut selected: Vec<bool> =
            starts.iter().zip(&counted).map(|(start, counted)| *counted && is_of_times(*start)).collect();
        selection.judge(spans, &mut selected);
        // Most are of the step of the one before; those that are not counted may be of none.
        let mut end = 0;
        let runs = std::iter::from_fn(|| {
            let first = starts.get(end)?;
            let step = self.steps.of(*first);
            let (after, until) = self.steps.times(step);
            let run = end..end + leading(&starts[end..], |start| after < start && start <= until).max(1);
            end = run.end;
            Some((step, run))
        });
        Rows::new(runs, &Judged { counted, selected }, spans.weights().as_deref(), self.steps.count)
    }

    fn count_rows(
        &self,
        spans: &Spans<'_>,
        rows: &Rows,
        roots: Option<&Roots>,
        (table, known): (&mut Table, &mut Known),
    ) -> Result<(), QueryError> {
        if self.exemplars > 0 {
            table.show(spans, rows);
        }
        count_intrinsics(spans, rows, table)?;
        if let Some((roots, keyed)) = roots.and_then(|roots| Some((roots, roots.keyed(spans)?))) {
            known.roots.count(&keyed, rows, table, |root, table| places_of_root(roots, root, table))?;
        }
        if let Some(resources) = spans.resources() {
            let places = |key: usize, table: &mut Table| places_of_resource(resources, key, table);
            known.resources.count(&resources.keyed(), rows, table, places)?;
        }
        // Single ones are read where they are judged by.
        let is_counted = |scope: Scope| scope == Scope::Resource && spans.resources().is_some();
        for (scope, name, keyed) in spans.own_columns().filter(|(scope, ..)| !is_counted(*scope)) {
            let at = table.attribute(scope, name);
            table.columns[at].count_keyed(&keyed, rows, &mut table.held, |column, row, grown| {
                let (text, kind) = (keyed.text(row), keyed.kinds.map_or(b's', |kinds| kinds[row]));
                column.place(kind, text, || value_of(typed(kind, text)), grown)
            })?;
        }
        if !spans.has_entries() {
            return Ok(());
        }
        for (row, one) in rows.iter() {
            spans.each_entry(row, &mut |scope, name, text, kind| {
                table.count_entry(scope, name, (text, kind), one);
            });
            table.held.ask_if_much()?;
        }
        Ok(())
    }
}

fn count_intrinsics(spans: &Spans<'_>, rows: &Rows, table: &mut Table) -> Result<(), QueryError> {
    for (column, intrinsic) in table.columns.iter_mut().zip(INTRINSICS) {
        if intrinsic == Intrinsic::StatusMessage {
            column.count_texts(spans.status_messages(), rows, &mut table.held)?;
        }
        let Some(keyed) = spans.keyed(intrinsic) else { continue };
        let field = Field::Intrinsic(intrinsic);
        column.count_keyed(&keyed, rows, &mut table.held, |column, row, grown| {
            match value_of(SpanAt { spans, row, trace: None }.value(&field)) {
                Some(value) => column.place(b's', &value.to_string(), || Some(value.clone()), grown),
                None => Place::Nowhere,
            }
        })?;
    }
    Ok(())
}

fn places_of_root(roots: &Roots, root: usize, table: &mut Table) -> Vec<(usize, Place)> {
    let Some((service, name)) = roots.get(root as u32) else { return vec![] };
    let held = &mut table.held;
    let columns = table.columns.iter_mut().zip(INTRINSICS).enumerate();
    let places = columns.filter_map(|(at, (column, intrinsic))| {
        let text = match intrinsic {
            Intrinsic::RootService => service,
            Intrinsic::RootName => name,
            _ => return None,
        };
        Some((at, column.place_of_text(text, &mut held.grown)))
    });
    places.collect()
}
