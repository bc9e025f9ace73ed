//! The same over many traces: spans are counted as they are scanned, by the texts of their attributes. What only a whole trace
//! says of a span is its root, which the indexes know, and how many children it has, which is not compared then.

use super::super::{MetricsQuery, SpanAt, value_of};
use super::roots::Roots;
use super::{Attributes, Counts, Examples, INTRINSICS, VALUES_MAX, example, key_of};
use crate::QueryError;
use crate::logql::broken;
use crate::traceql::alike::{Alike, Known};
use crate::traceql::scan::narrow;
use crate::traceql::shares::in_shares;
use crate::traceql::spans::{Spans, typed};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use foldhash::fast::RandomState;
use futures::StreamExt;
use model::{SpanSelect, Value};
use std::collections::HashMap;
use std::sync::Arc;
use traceql::{Field, FieldExpr, Intrinsic, Scope};

/// What a thread may take before it asks for it: a value may have thousands of steps.
const GROWN_BYTES: usize = 1 << 20;

/// What is asked, for each thread.
#[derive(Clone)]
pub(super) struct Asked {
    pub filter: FieldExpr,
    pub selection: FieldExpr,
    /// Nanoseconds; the selection is of these times alone.
    pub selected: (i64, i64),
    pub columns: Vec<&'static str>,
}

/// What was counted, with the memory that it takes.
pub(super) struct Compared {
    pub attributes: Attributes,
    pub examples: Examples,
    /// Spans that were looked at.
    pub inspected: u64,
    /// Whether the indexes knew the roots of traces.
    pub has_roots: bool,
    _held: Vec<MemoryReservation>,
}

/// A value of one field, and how often each side has it at each step.
struct Slot {
    key: String,
    value: Value,
    counts: [Vec<f64>; 2],
}

/// By text, where a value is counted; `None` for what is no value.
type Places = HashMap<String, Option<usize>, RandomState>;

/// One field.
struct Column {
    name: String,
    totals: [Vec<f64>; 2],
    slots: Vec<Slot>,
    /// By type byte, of which there are few.
    places: Vec<(u8, Places)>,
    distinct: [usize; 2],
    too_many: [bool; 2],
}

/// Where a value is counted.
#[derive(Clone, Copy, Default, PartialEq)]
enum Place {
    Slot(usize),
    /// There are too many others.
    NoRoom,
    /// It is none.
    #[default]
    Nowhere,
}

/// One span to be counted.
#[derive(Clone, Copy)]
struct One {
    side: usize,
    step: usize,
    weight: f64,
}

impl Column {
    fn new(name: String, steps: usize) -> Column {
        Column {
            name,
            totals: [vec![0.0; steps], vec![0.0; steps]],
            slots: vec![],
            places: vec![],
            distinct: [0; 2],
            too_many: [false; 2],
        }
    }

    /// The place of a value by its text, made where it is new; the bytes that it took are added.
    fn place(
        &mut self,
        kind: u8,
        text: &str,
        value: impl FnOnce() -> Option<Value>,
        grown: &mut usize,
    ) -> Place {
        let of_kind = self.places.iter().position(|(own, _)| *own == kind).unwrap_or_else(|| {
            self.places.push((kind, HashMap::default()));
            self.places.len() - 1
        });
        let places = &mut self.places[of_kind].1;
        if let Some(known) = places.get(text) {
            return known.map_or(Place::Nowhere, Place::Slot);
        }
        // Each side has so many; what neither has room for is not remembered.
        if places.len() >= 2 * VALUES_MAX {
            return Place::NoRoom;
        }
        let slot = value().map(|value| {
            self.slots.push(Slot { key: key_of(&value), value, counts: [vec![], vec![]] });
            self.slots.len() - 1
        });
        places.insert(text.to_owned(), slot);
        *grown += 3 * text.len() + 250;
        slot.map_or(Place::Nowhere, Place::Slot)
    }

    fn count(&mut self, place: Place, one: One, grown: &mut usize) {
        if place == Place::Nowhere {
            return;
        }
        let steps = self.totals[one.side].len();
        if let Some(total) = self.totals[one.side].get_mut(one.step) {
            *total += one.weight;
        }
        let Place::Slot(slot) = place else {
            self.too_many[one.side] = true;
            return;
        };
        let counts = &mut self.slots[slot].counts[one.side];
        if counts.is_empty() {
            if self.distinct[one.side] >= VALUES_MAX {
                self.too_many[one.side] = true;
                return;
            }
            self.distinct[one.side] += 1;
            *grown += 8 * steps;
            *counts = vec![0.0; steps];
        }
        if let Some(count) = counts.get_mut(one.step) {
            *count += one.weight;
        }
    }
}

/// What one thread has counted.
struct Table {
    steps: usize,
    /// Those of intrinsics first.
    columns: Vec<Column>,
    of_attributes: [HashMap<String, usize, RandomState>; 3],
    examples: Examples,
    inspected: u64,
    grown: usize,
}

impl Table {
    fn new(steps: usize) -> Table {
        let columns = INTRINSICS.map(|intrinsic| Column::new(intrinsic.as_str().to_owned(), steps));
        Table {
            steps,
            columns: columns.into(),
            of_attributes: Default::default(),
            examples: Examples::default(),
            inspected: 0,
            grown: 0,
        }
    }

    fn count_text(&mut self, column: usize, text: &str, one: One) {
        let column = &mut self.columns[column];
        let value = || Some(Value::String(text.to_owned()));
        let place = column.place(b's', text, value, &mut self.grown);
        column.count(place, one, &mut self.grown);
    }

    fn count_attribute(&mut self, scope: Scope, name: &str, (text, kind): (&str, u8), one: One) {
        let of_scope = match scope {
            Scope::Span => 0,
            Scope::Resource => 1,
            _ => 2,
        };
        let at = match self.of_attributes[of_scope].get(name) {
            Some(at) => *at,
            None => {
                let named = Field::Attribute { scope, name: name.to_owned() }.to_string();
                self.grown += 3 * named.len() + 16 * self.steps + 300;
                self.columns.push(Column::new(named, self.steps));
                self.of_attributes[of_scope].insert(name.to_owned(), self.columns.len() - 1);
                self.columns.len() - 1
            }
        };
        let column = &mut self.columns[at];
        let place = column.place(kind, text, || value_of(typed(kind, text)), &mut self.grown);
        column.count(place, one, &mut self.grown);
    }

    /// Adds to what other threads counted.
    fn hand_over(self, attributes: &mut Attributes) {
        for column in self.columns {
            for (side, attributes) in attributes.iter_mut().enumerate() {
                if column.totals[side].iter().all(|total| *total == 0.0) {
                    continue;
                }
                let counts = attributes
                    .entry(column.name.clone())
                    .or_insert_with(|| Counts { total: vec![0.0; self.steps], ..Counts::default() });
                add(&mut counts.total, &column.totals[side]);
                for slot in column.slots.iter().filter(|slot| !slot.counts[side].is_empty()) {
                    let (_, sum) = counts
                        .values
                        .entry(slot.key.clone())
                        .or_insert_with(|| (slot.value.clone(), vec![0.0; self.steps]));
                    add(sum, &slot.counts[side]);
                }
                counts.too_many |= column.too_many[side] || counts.values.len() > VALUES_MAX;
            }
        }
    }
}

fn add(sums: &mut [f64], others: &[f64]) {
    sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
}

impl MetricsQuery {
    pub(super) async fn compare_by_scan(&self, asked: Asked) -> Result<Compared, QueryError> {
        let roots = self.roots().await?.map(Arc::new);
        let tables = in_shares(|share| {
            let (own, asked, roots) = (self.clone(), asked.clone(), roots.clone());
            async move { own.share_of_comparison(asked, roots.as_deref(), share).await }
        })
        .await?;
        let (mut attributes, mut examples) = (Attributes::default(), Examples::default());
        let (mut held, mut inspected) = (vec![], 0);
        for (mut table, of_table) in tables {
            held.push(of_table);
            inspected += table.inspected;
            for (side, own) in std::mem::take(&mut table.examples).into_iter().enumerate() {
                own.into_iter().for_each(|(step, one)| _ = examples[side].entry(step).or_insert(one));
            }
            table.hand_over(&mut attributes);
        }
        Ok(Compared { attributes, examples, inspected, has_roots: roots.is_some(), _held: held })
    }

    async fn share_of_comparison(
        &self,
        asked: Asked,
        roots: Option<&Roots>,
        share: (usize, usize),
    ) -> Result<(Table, MemoryReservation), QueryError> {
        let range = self.steps.range();
        let mut select = SpanSelect { share: Some(share), ..SpanSelect::all(range) };
        narrow(&mut select, &asked.filter);
        let mut batches = self.scanned(select, &asked.columns)?;
        let reservation = MemoryConsumer::new("traceql compare").register(self.context.memory_pool());
        let mut table = Table::new(self.steps.count);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(broken)?;
            table.inspected += batch.num_rows() as u64;
            let spans = Spans::of(&batch);
            let mut words = Words::of(&spans);
            for row in (0..spans.len()).filter(|row| range.contains(spans.start(*row))) {
                let at = SpanAt { spans: &spans, row, trace: None };
                if at.holds(&asked.filter) == Some(true) {
                    self.count_one(&at, &asked, roots, &mut words, &mut table);
                    if table.grown > GROWN_BYTES {
                        reservation.try_grow(std::mem::take(&mut table.grown)).map_err(broken)?;
                    }
                }
            }
            reservation.try_grow(std::mem::take(&mut table.grown)).map_err(broken)?;
        }
        Ok((table, reservation))
    }

    fn count_one(
        &self,
        at: &SpanAt<'_>,
        asked: &Asked,
        roots: Option<&Roots>,
        words: &mut Words<'_>,
        table: &mut Table,
    ) {
        let (spans, row) = (at.spans, at.row);
        let start = spans.start(row);
        let selected =
            start > asked.selected.0 && start <= asked.selected.1 && super::holds(at, &asked.selection);
        let one = One { side: usize::from(selected), step: self.steps.of(start), weight: spans.weight(row) };
        if self.exemplars > 0 {
            table.examples[one.side].entry(one.step).or_insert_with(|| example(at));
        }
        for (number, intrinsic) in INTRINSICS.into_iter().enumerate() {
            let root = |of: fn(&(String, String)) -> &String| roots?.of(spans.trace_id(row)).map(of);
            let text = match intrinsic {
                Intrinsic::RootService => root(|root| &root.0).map(String::as_str),
                Intrinsic::RootName => root(|root| &root.1).map(String::as_str),
                Intrinsic::ChildCount => None,
                _ => {
                    words.count(number, at, one, table);
                    None
                }
            };
            if let Some(text) = text {
                table.count_text(number, text, one);
            }
        }
        spans.each_entry(row, &mut |scope, name, text, kind| {
            table.count_attribute(scope, name, (text, kind), one);
        });
    }
}

/// Intrinsics of a batch that are words: each word's slot is looked up once.
struct Words<'a> {
    alike: [Option<Alike<'a>>; INTRINSICS.len()],
    places: [Known<Place>; INTRINSICS.len()],
}

impl<'a> Words<'a> {
    fn of(spans: &Spans<'a>) -> Words<'a> {
        Words {
            alike: INTRINSICS.map(|intrinsic| Alike::new(spans, &[&Field::Intrinsic(intrinsic)])),
            places: Default::default(),
        }
    }

    fn count(&mut self, number: usize, at: &SpanAt<'_>, one: One, table: &mut Table) {
        let (column, grown) = (&mut table.columns[number], &mut table.grown);
        let mut make = || match value_of(at.value(&Field::Intrinsic(INTRINSICS[number]))) {
            Some(value) => column.place(b's', &value.to_string(), || Some(value.clone()), grown),
            None => Place::Nowhere,
        };
        let place = match &mut self.alike[number] {
            Some(alike) => self.places[number].get(alike.of(at.row), make),
            None => make(),
        };
        column.count(place, one, grown);
    }
}
