//! Joins by ids of spans and traces. Where a join is the only one that looks at the ids, it looks at them as they lie in the store,
//! and not at their digits.

use super::stored_forms::{Form, Forms, filters, in_forms, of_sides, side_of};
use datafusion::common::JoinSide;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use std::sync::Arc;

/// The join with the keys as ids that are; `None` where there is none.
pub fn by_ids(node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let join = node.downcast_ref::<HashJoinExec>()?;
    let (mut left, mut right) = (join.left().clone(), join.right().clone());
    let mut is_changed = false;
    for (of_left, of_right) in join.on() {
        let (Some(l), Some(r)) = (of_left.downcast_ref::<Column>(), of_right.downcast_ref::<Column>()) else {
            continue;
        };
        let forms = [l, r].map(|column| Forms::from([(column.index(), Form::Ids)]));
        if is_shown(join, &forms)? || filters(join, &forms[0], &forms[1]) || is_key_again(join, l, r) {
            continue;
        }
        let (Some(l_ids), Some(r_ids)) = (in_forms(&left, &forms[0]), in_forms(&right, &forms[1])) else {
            continue;
        };
        let kind = |plan: &Arc<dyn ExecutionPlan>, of: &Column| {
            plan.schema().fields().get(of.index()).map(|field| field.data_type().clone())
        };
        // An id of a span is none of a trace.
        if kind(&l_ids, l) == kind(&r_ids, r) {
            (left, right, is_changed) = (l_ids, r_ids, true);
        }
    }
    is_changed.then(|| of_sides(join, left, right))?
}

/// Whether the join gives one of them; `None` where it cannot be told.
fn is_shown(join: &HashJoinExec, [left, right]: &[Forms; 2]) -> Option<bool> {
    for at in 0..join.schema().fields().len() {
        let (side, below) = side_of(join, at)?;
        let forms = if side == JoinSide::Left { left } else { right };
        if forms.contains_key(&below) {
            return Some(true);
        }
    }
    Some(false)
}

/// Whether another equality looks at one of the columns as well.
fn is_key_again(join: &HashJoinExec, l: &Column, r: &Column) -> bool {
    let looks = |key: &Arc<dyn PhysicalExpr>, at: &Column| {
        collect_columns(key).iter().any(|column| column.index() == at.index())
    };
    join.on().iter().filter(|(left, right)| looks(left, l) || looks(right, r)).count() > 1
}
