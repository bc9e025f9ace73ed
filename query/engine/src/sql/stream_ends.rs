//! `ORDER BY ts … LIMIT n` over `logs`. The lines of a stream lie by time, so that only its last n, or its first, can be among the n:
//! a scan that is told so reads the ends of streams, and not all of them.
//!
//! It is told where it keeps every condition of the statement itself. Of those that are judged above it nobody knows how many
//! lines they leave.

use super::log_scan::LogScan;
use crate::logql::Operator;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::split_conjunction;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, Partitioning, ReplaceChildrenOptions,
};
use std::sync::Arc;

/// A sort by time that wants some lines, over a scan of ends.
pub fn of_ends(node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let sort = node.downcast_ref::<SortExec>()?;
    // By a second expression another line may be wanted of those with the same time.
    let [by] = &sort.expr()[..] else { return None };
    let ends = Ends { lines: sort.fetch()?, newest_first: by.options.descending };
    over(node, ends.of(sort.input(), by.expr.downcast_ref::<Column>()?.index())?)
}

struct Ends {
    lines: usize,
    newest_first: bool,
}

impl Ends {
    /// The input over a scan that reads only these, where the input's column of this number is the time.
    fn of(&self, input: &Arc<dyn ExecutionPlan>, time: usize) -> Option<Arc<dyn ExecutionPlan>> {
        if input.fetch().is_some() {
            return None;
        }
        if let Some(scan) = input.downcast_ref::<Operator<LogScan>>() {
            return Some(Operator::plan(scan.work().of_ends(time, self.lines, self.newest_first)?, vec![]));
        }
        if let Some(filter) = input.downcast_ref::<FilterExec>() {
            let scan = scan_below(filter.input())?;
            if !split_conjunction(filter.predicate()).into_iter().all(|condition| scan.keeps(condition)) {
                return None;
            }
            let time = filter.projection().as_ref().map_or(Some(time), |kept| kept.get(time).copied())?;
            return over(input, self.of(filter.input(), time)?);
        }
        if let Some(projection) = input.downcast_ref::<ProjectionExec>() {
            let column = projection.expr().get(time)?.expr.downcast_ref::<Column>()?;
            return over(input, self.of(projection.input(), column.index())?);
        }
        if let Some(spread) = input.downcast_ref::<RepartitionExec>() {
            // The few lines that are left need not be spread over threads.
            let is_plain = matches!(spread.partitioning(), Partitioning::RoundRobinBatch(_));
            return self.of(spread.input(), time).filter(|_| is_plain);
        }
        let yielding = input.downcast_ref::<CooperativeExec>()?;
        over(input, self.of(yielding.input(), time)?)
    }
}

fn over(node: &Arc<dyn ExecutionPlan>, input: Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    node.clone().replace_children(vec![input], options).ok()
}

/// The scan whose columns an input has.
fn scan_below(input: &Arc<dyn ExecutionPlan>) -> Option<&LogScan> {
    if let Some(scan) = input.downcast_ref::<Operator<LogScan>>() {
        return Some(scan.work());
    }
    match input.name() {
        "RepartitionExec" | "CooperativeExec" => scan_below(input.children().first().copied()?),
        _ => None,
    }
}
