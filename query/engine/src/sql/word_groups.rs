//! Groups rows by words: by a span's service and name, by where a line comes from. Words come as numbers into the dictionary of
//! their batch, so that a text is looked at once a batch, and a row's group is found by its numbers.
//!
//! It stands in place of the first step of an aggregation and makes what that makes: a row a group with the states of the
//! aggregates, a group more than once where there are more than are held. The last step merges them.

use super::stored_forms::{Form, Forms, in_forms};
use crate::logql::{Batches, Operator, Work};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{SchemaRef, UInt32Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use foldhash::fast::RandomState;
use futures::{StreamExt, stream};
use std::collections::HashMap;
use std::sync::Arc;

/// With more groups than that the states of all are handed on, and counting begins anew: in tests with few.
const GROUPS_MAX: usize = if cfg!(test) { 16 } else { 1 << 16 };

/// What stands in place of the first step of an aggregation by columns that lie as words.
pub fn grouped(node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let step = node.downcast_ref::<AggregateExec>()?;
    let by = step.group_expr();
    if *step.mode() != AggregateMode::Partial || by.has_grouping_set() || step.limit_options().is_some() {
        return None;
    }
    let mut forms = Forms::new();
    for group in by.input_exprs() {
        forms.insert(group.downcast_ref::<Column>()?.index(), Form::Words);
    }
    let others = step.aggr_expr().iter().flat_map(|of| of.expressions());
    let mut others = others.chain(step.filter_expr().iter().flatten().cloned());
    let are_texts_looked_at =
        others.any(|of| collect_columns(&of).iter().any(|column| forms.contains_key(&column.index())));
    let is_fine =
        |of: &Arc<AggregateFunctionExpr>| of.groups_accumulator_supported() && of.order_bys().is_empty();
    if forms.is_empty() || are_texts_looked_at || !step.aggr_expr().iter().all(is_fine) {
        return None;
    }
    let grouped = Grouped {
        by: by.input_exprs(),
        aggregates: step.aggr_expr().to_vec(),
        filters: step.filter_expr().to_vec(),
        schema: step.schema(),
    };
    Some(Operator::plan(grouped, vec![in_forms(step.input(), &forms)?]))
}

#[derive(Debug)]
struct Grouped {
    by: Vec<Arc<dyn PhysicalExpr>>,
    aggregates: Vec<Arc<AggregateFunctionExpr>>,
    /// Of each aggregate the condition under which it counts a row.
    filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// The groups, then the states of the aggregates.
    schema: SchemaRef,
}

impl Work for Grouped {
    fn name(&self) -> &'static str {
        "WordGroups"
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn details(&self) -> String {
        let by: Vec<String> = self.by.iter().map(|group| group.to_string()).collect();
        let of: Vec<&str> = self.aggregates.iter().map(|of| of.name()).collect();
        format!("by=[{}], aggr=[{}]", by.join(", "), of.join(", "))
    }

    fn run(
        self: Arc<Self>,
        mut inputs: Vec<SendableRecordBatchStream>,
        context: Arc<TaskContext>,
    ) -> Batches {
        let Some(rows) = inputs.pop() else { return stream::empty().boxed() };
        let reservation = MemoryConsumer::new(self.name()).register(context.memory_pool());
        let grouping = match Grouping::new(self, reservation) {
            Ok(grouping) => grouping,
            Err(wrong) => return stream::once(async { Err(wrong) }).boxed(),
        };
        stream::try_unfold(Some((rows, grouping)), states).boxed()
    }
}

type Unfolded = Option<(SendableRecordBatchStream, Grouping)>;

/// The states of as many rows as are held at once, until there are no more rows.
async fn states(unfolded: Unfolded) -> Result<Option<(RecordBatch, Unfolded)>> {
    let Some((mut rows, mut grouping)) = unfolded else { return Ok(None) };
    while let Some(batch) = rows.next().await {
        grouping.add(&batch?)?;
        if grouping.is_full() {
            return Ok(Some((grouping.emit()?, Some((rows, grouping)))));
        }
    }
    Ok(Some((grouping.emit()?, None)))
}

/// Groups and the states of their aggregates so far.
struct Grouping {
    work: Arc<Grouped>,
    groups: Groups,
    states: Vec<Box<dyn GroupsAccumulator>>,
    reservation: MemoryReservation,
}

impl Grouping {
    fn new(work: Arc<Grouped>, reservation: MemoryReservation) -> Result<Grouping> {
        let states =
            work.aggregates.iter().map(|of| of.create_groups_accumulator()).collect::<Result<_>>()?;
        Ok(Grouping { groups: Groups::new(work.by.len()), work, states, reservation })
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        let value = |of: &Arc<dyn PhysicalExpr>| of.evaluate(batch)?.into_array(rows);
        let words = self.work.by.iter().map(value).collect::<Result<Vec<_>>>()?;
        let of_rows = self.groups.of_rows(&words)?;
        let aggregates = self.work.aggregates.iter().zip(&self.work.filters).zip(&mut self.states);
        for ((of, filter), state) in aggregates {
            let values = of.expressions().iter().map(value).collect::<Result<Vec<_>>>()?;
            let passes = filter.as_ref().map(value).transpose()?;
            let passes: Option<&BooleanArray> = passes.as_ref().and_then(|passes| passes.as_boolean_opt());
            state.update_batch(&values, &of_rows, passes, self.groups.len())?;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let bytes = self.groups.bytes() + self.states.iter().map(|state| state.size()).sum::<usize>();
        self.groups.len() > GROUPS_MAX || self.reservation.try_resize(bytes).is_err()
    }

    /// A row a group; nothing is held then.
    fn emit(&mut self) -> Result<RecordBatch> {
        let schema = &self.work.schema;
        if self.groups.len() == 0 {
            return Ok(RecordBatch::new_empty(schema.clone()));
        }
        let mut columns = self.groups.take();
        for state in &mut self.states {
            columns.extend(state.state(EmitTo::All)?);
        }
        self.reservation.free();
        let typed =
            columns.iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type()));
        Ok(RecordBatch::try_new(schema.clone(), typed.collect::<Result<_, _>>()?)?)
    }
}

/// Groups by their numbers, in the order in which they are met.
struct Groups {
    /// Of each column.
    words: Vec<Words>,
    /// What is made of the columns so far with the next one.
    pairs: Vec<HashMap<u64, u32, RandomState>>,
    /// The numbers of its words, group by group.
    members: Vec<u32>,
}

impl Groups {
    fn new(columns: usize) -> Groups {
        Groups {
            words: (0..columns).map(|_| Words::default()).collect(),
            pairs: vec![HashMap::default(); columns.saturating_sub(1)],
            members: vec![],
        }
    }

    fn len(&self) -> usize {
        self.members.len() / self.words.len().max(1)
    }

    fn bytes(&self) -> usize {
        let pairs: usize = self.pairs.iter().map(|pairs| 20 * pairs.capacity()).sum();
        pairs + 4 * self.members.capacity() + self.words.iter().map(|words| words.bytes).sum::<usize>()
    }

    /// The group of each row.
    fn of_rows(&mut self, columns: &[ArrayRef]) -> Result<Vec<usize>> {
        let numbers = self.words.iter_mut().zip(columns).map(|(words, column)| words.of_rows(column));
        let numbers = numbers.collect::<Result<Vec<Vec<u32>>>>()?;
        let Some((first, others)) = numbers.split_first() else { return Ok(vec![]) };
        let mut groups = first.clone();
        for (pairs, next) in self.pairs.iter_mut().zip(others) {
            paired(pairs, &mut groups, next);
        }
        let mut known = self.len();
        for (row, group) in groups.iter().enumerate() {
            // A new one gets the next number.
            if *group as usize == known {
                self.members.extend(numbers.iter().map(|numbers| numbers[row]));
                known += 1;
            }
        }
        Ok(groups.into_iter().map(|group| group as usize).collect())
    }

    /// The words of the groups, column by column; there are no groups then.
    fn take(&mut self) -> Vec<ArrayRef> {
        let columns = self.words.len();
        let members = std::mem::take(&mut self.members);
        self.pairs.iter_mut().for_each(|pairs| *pairs = HashMap::default());
        let words = std::mem::take(&mut self.words).into_iter().enumerate().map(|(at, words)| {
            let of_groups = members.iter().skip(at).step_by(columns);
            Arc::new(of_groups.map(|number| words.text(*number)).collect::<StringArray>()) as ArrayRef
        });
        let taken = words.collect();
        self.words = (0..columns).map(|_| Words::default()).collect();
        taken
    }
}

/// Makes numbers of pairs of them.
fn paired(pairs: &mut HashMap<u64, u32, RandomState>, numbers: &mut [u32], others: &[u32]) {
    let mut last = None;
    for (number, other) in numbers.iter_mut().zip(others) {
        let pair = u64::from(*number) << 32 | u64::from(*other);
        *number = match last {
            Some((known, of_pair)) if known == pair => of_pair,
            _ => {
                let next = pairs.len() as u32;
                *pairs.entry(pair).or_insert(next)
            }
        };
        last = Some((pair, *number));
    }
}

/// What a word of a dictionary is where it was not met yet.
const NOT_MET: u32 = u32::MAX;

/// The words of a column by their numbers, in the order in which they are met.
#[derive(Default)]
struct Words {
    numbers: HashMap<Option<Box<str>>, u32, RandomState>,
    texts: Vec<Option<Box<str>>>,
    /// The dictionary that came last, and the numbers of its words.
    dictionary: Option<ArrayRef>,
    of_dictionary: Vec<u32>,
    bytes: usize,
}

impl Words {
    fn of_rows(&mut self, column: &ArrayRef) -> Result<Vec<u32>> {
        let missing = || DataFusionError::Internal("a column that is grouped by has no words".into());
        let words = column.as_dictionary_opt::<UInt32Type>().ok_or_else(missing)?;
        let texts = words.values().as_string_opt::<i32>().ok_or_else(missing)?;
        if !self.dictionary.as_ref().is_some_and(|known| Arc::ptr_eq(known, words.values())) {
            self.dictionary = Some(words.values().clone());
            self.of_dictionary = vec![NOT_MET; texts.len()];
        }
        let mut numbers = Vec::with_capacity(column.len());
        for key in words.keys() {
            numbers.push(match key.filter(|key| texts.is_valid(*key as usize)) {
                Some(key) => self.of_word(key as usize, texts),
                None => self.number(None),
            });
        }
        Ok(numbers)
    }

    fn of_word(&mut self, key: usize, texts: &StringArray) -> u32 {
        if self.of_dictionary[key] == NOT_MET {
            self.of_dictionary[key] = self.number(Some(texts.value(key)));
        }
        self.of_dictionary[key]
    }

    fn number(&mut self, text: Option<&str>) -> u32 {
        let text: Option<Box<str>> = text.map(Into::into);
        if let Some(known) = self.numbers.get(&text) {
            return *known;
        }
        let number = self.texts.len() as u32;
        self.bytes += 2 * text.as_ref().map_or(0, |text| text.len()) + 80;
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    fn text(&self, number: u32) -> Option<&str> {
        self.texts.get(number as usize)?.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{DictionaryArray, UInt32Array};

    fn words(dictionary: &[Option<&str>], keys: &[Option<u32>]) -> ArrayRef {
        let texts: StringArray = dictionary.iter().copied().collect();
        let keys: UInt32Array = keys.iter().copied().collect();
        Arc::new(DictionaryArray::new(keys, Arc::new(texts)))
    }

    #[test]
    fn a_word_is_of_its_group_whatever_its_number_is() {
        let mut groups = Groups::new(2);
        let services = words(&[Some("a"), Some("b")], &[Some(0), Some(1), None, Some(0)]);
        let names = words(&[Some("x"), Some("y")], &[Some(1), Some(1), Some(0), Some(1)]);
        assert_eq!(groups.of_rows(&[services, names]).unwrap(), [0, 1, 2, 0]);
        // Another dictionary, in which a text may also be none, and a word that nobody has.
        let services = words(&[Some("b"), Some("unused"), None, Some("a")], &[Some(3), Some(2), Some(0)]);
        let names = words(&[Some("y"), Some("x")], &[Some(0), Some(1), Some(1)]);
        assert_eq!(groups.of_rows(&[services, names]).unwrap(), [0, 2, 3]);
        let told = |column: &ArrayRef| -> Vec<Option<String>> {
            column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
        };
        let texts = |texts: [Option<&str>; 4]| texts.map(|text| text.map(str::to_owned)).to_vec();
        let taken = groups.take();
        assert_eq!(told(&taken[0]), texts([Some("a"), Some("b"), None, Some("b")]));
        assert_eq!(told(&taken[1]), texts([Some("y"), Some("y"), Some("x"), Some("x")]));
        assert_eq!(groups.len(), 0);
        let again = [words(&[Some("b")], &[Some(0)]), words(&[Some("x")], &[Some(0)])];
        assert_eq!(groups.of_rows(&again).unwrap(), [0]);
        let no_words: ArrayRef = Arc::new(UInt32Array::from(vec![1]));
        assert!(Groups::new(1).of_rows(&[no_words]).is_err());
    }
}
