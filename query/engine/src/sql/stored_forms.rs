//! Columns of a plan as they lie in the store: words as numbers into a dictionary and ids as bytes, where SQL shows text. Whoever
//! only tells values apart, as a join and a grouping do, need not have them put into text, copied, hashed and compared as such.

use super::log_scan::LogScan;
use super::span_scan::SpanScan;
use crate::logql::Operator;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{JoinSide, JoinType};
use datafusion::logical_expr::Operator as Comparison;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A dictionary of texts.
    Words,
    /// Of spans a number, of traces 16 bytes.
    Ids,
}

/// Columns by their numbers, and the form of each. Two that are equal as texts are equal in it, and the other way round.
pub(super) type Forms = BTreeMap<usize, Form>;

impl Form {
    /// The column in this form, if it is one that lies so.
    fn field(self, shown: &FieldRef, stored: &DataType) -> Option<FieldRef> {
        let kind = match (self, stored) {
            (Form::Words, DataType::Dictionary(_, texts)) if **texts == DataType::Utf8 => stored.clone(),
            (Form::Ids, DataType::FixedSizeBinary(8)) => DataType::Int64,
            (Form::Ids, DataType::FixedSizeBinary(_)) => stored.clone(),
            _ => return None,
        };
        Some(Field::new(shown.name(), kind, shown.is_nullable()).into())
    }
}

/// The schema of a scan with some columns in other forms; `stored` tells how a column lies that is one of the table's.
pub(super) fn schema_in(
    schema: &SchemaRef,
    forms: &Forms,
    stored: impl Fn(usize) -> Option<DataType>,
) -> Option<SchemaRef> {
    let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    for (at, form) in forms {
        let field = fields.get_mut(*at)?;
        *field = form.field(field, &stored(*at)?)?;
    }
    Some(Arc::new(Schema::new(fields)))
}

/// The same plan with these of its columns in other forms. `None` where something in it needs them as texts.
pub(super) fn in_forms(plan: &Arc<dyn ExecutionPlan>, forms: &Forms) -> Option<Arc<dyn ExecutionPlan>> {
    if let Some(scan) = plan.downcast_ref::<Operator<SpanScan>>() {
        return Some(Operator::plan(scan.work().in_forms(forms)?, vec![]));
    }
    if let Some(scan) = plan.downcast_ref::<Operator<LogScan>>() {
        return Some(Operator::plan(scan.work().in_forms(forms)?, vec![]));
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return over(plan, vec![below_filter(filter, forms)?]);
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return of_projection(projection, forms);
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return of_join(join, forms);
    }
    if plan.downcast_ref::<RepartitionExec>().is_some() || plan.downcast_ref::<CooperativeExec>().is_some() {
        return over(plan, vec![in_forms(plan.children().first()?, forms)?]);
    }
    None
}

fn over(
    plan: &Arc<dyn ExecutionPlan>,
    children: Vec<Arc<dyn ExecutionPlan>>,
) -> Option<Arc<dyn ExecutionPlan>> {
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    plan.clone().replace_children(children, options).ok()
}

/// What is only compared and goes no further is compared by its words as well.
fn below_filter(filter: &FilterExec, forms: &Forms) -> Option<Arc<dyn ExecutionPlan>> {
    let kept = filter.projection().as_ref();
    let mut below = Forms::new();
    for (at, form) in forms {
        below.insert(kept.map_or(Some(*at), |kept| kept.get(*at).copied())?, *form);
    }
    let mut of_words = below.clone();
    for column in collect_columns(filter.predicate()) {
        let goes_on = kept.is_none_or(|kept| kept.contains(&column.index()));
        if !goes_on {
            of_words.entry(column.index()).or_insert(Form::Words);
        }
    }
    let input_in =
        |forms: &Forms| compares_in(filter.predicate(), forms).then(|| in_forms(filter.input(), forms))?;
    input_in(&of_words).or_else(|| input_in(&below))
}

/// Whether a condition means the same of columns in these forms: it looks at none, or compares words with a text.
fn compares_in(condition: &Arc<dyn PhysicalExpr>, forms: &Forms) -> bool {
    if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
        if matches!(binary.op(), Comparison::And | Comparison::Or) {
            return compares_in(binary.left(), forms) && compares_in(binary.right(), forms);
        }
        let column = binary.left().downcast_ref::<Column>();
        let is_text = binary.right().downcast_ref::<Literal>().is_some_and(is_text);
        let is_equality = matches!(binary.op(), Comparison::Eq | Comparison::NotEq);
        if let Some(column) = column.filter(|_| is_text && is_equality) {
            return forms.get(&column.index()) != Some(&Form::Ids);
        }
    }
    collect_columns(condition).iter().all(|column| !forms.contains_key(&column.index()))
}

fn is_text(literal: &Literal) -> bool {
    literal.value().data_type() == DataType::Utf8
}

fn of_projection(projection: &ProjectionExec, forms: &Forms) -> Option<Arc<dyn ExecutionPlan>> {
    let mut below = Forms::new();
    for (at, form) in forms {
        let column = projection.expr().get(*at)?.expr.downcast_ref::<Column>()?;
        below.insert(column.index(), *form);
    }
    // What else is made of them is made of texts.
    let mut others = projection.expr().iter().enumerate().filter(|(at, _)| !forms.contains_key(at));
    let is_fine = others.all(|(_, other)| looks_at_none(&other.expr, &below));
    let input = in_forms(projection.input(), &below).filter(|_| is_fine)?;
    let made = ProjectionExec::try_new(projection.expr().iter().cloned(), input).ok()?;
    Some(Arc::new(made))
}

fn looks_at_none(expression: &Arc<dyn PhysicalExpr>, forms: &Forms) -> bool {
    collect_columns(expression).iter().all(|column| !forms.contains_key(&column.index()))
}

fn of_join(join: &HashJoinExec, forms: &Forms) -> Option<Arc<dyn ExecutionPlan>> {
    let [mut left, mut right] = [Forms::new(), Forms::new()];
    for (at, form) in forms {
        match side_of(join, *at)? {
            (JoinSide::Left, below) => left.insert(below, *form),
            (JoinSide::Right, below) => right.insert(below, *form),
            _ => return None,
        };
    }
    let is_fine = join.on().iter().all(|(l, r)| looks_at_none(l, &left) && looks_at_none(r, &right));
    if !is_fine || filters(join, &left, &right) {
        return None;
    }
    of_sides(join, in_forms(join.left(), &left)?, in_forms(join.right(), &right)?)
}

/// Where a column of what a join gives comes from. `None` of joins that give other columns than those of both sides.
pub(super) fn side_of(join: &HashJoinExec, at: usize) -> Option<(JoinSide, usize)> {
    let gives_both =
        matches!(join.join_type(), JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full);
    let at = join.projection.as_ref().map_or(Some(at), |kept| kept.get(at).copied())?;
    let of_left = join.left().schema().fields().len();
    let found = if at < of_left { (JoinSide::Left, at) } else { (JoinSide::Right, at - of_left) };
    gives_both.then_some(found)
}

/// Whether a join's condition beside its equalities looks at one of them.
pub(super) fn filters(join: &HashJoinExec, left: &Forms, right: &Forms) -> bool {
    let columns = join.filter().map_or(&[][..], |filter| filter.column_indices());
    columns.iter().any(|column| match column.side {
        JoinSide::Left => left.contains_key(&column.index),
        JoinSide::Right => right.contains_key(&column.index),
        JoinSide::None => false,
    })
}

/// The same join of other inputs.
pub(super) fn of_sides(
    join: &HashJoinExec,
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
) -> Option<Arc<dyn ExecutionPlan>> {
    let builder = join.builder().with_new_children(vec![left, right]).ok()?;
    builder.recompute_properties().reset_state().build_exec().ok()
}
