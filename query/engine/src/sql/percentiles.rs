//! `approx_percentile_cont` of groups. A digest sorts and merges all that it has with whatever it is given, so that it is given much
//! at a time: the values of some batches are gathered first.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::datatypes::{DataType, FieldRef, Float64Type, Schema};
use datafusion::common::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, Signature,
};
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr, PhysicalSortExpr};
use datafusion::prelude::SessionContext;
use std::sync::Arc;

const FUNCTION: &str = "approx_percentile_cont";
/// Values that are gathered before digests get them: 16 bytes each.
const GATHERED_MAX: usize = 1 << 17;

pub fn register(session: &SessionContext) {
    let found = session.state_ref().read().aggregate_functions().get(FUNCTION).cloned();
    match found {
        Some(digests) => {
            let digests = digests.as_ref().clone();
            session.register_udaf(AggregateUDF::new_from_impl(Percentiles { digests }));
        }
        None => tracing::error!(FUNCTION, "a function that is to gather its values does not exist"),
    }
}

/// The function with groups of its own.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Percentiles {
    digests: AggregateUDF,
}

impl AggregateUDFImpl for Percentiles {
    fn name(&self) -> &str {
        self.digests.name()
    }

    fn aliases(&self) -> &[String] {
        self.digests.aliases()
    }

    fn signature(&self) -> &Signature {
        self.digests.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.digests.return_type(arguments)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.digests.state_fields(arguments)
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.digests.accumulator(arguments)
    }

    fn supports_within_group_clause(&self) -> bool {
        self.digests.supports_within_group_clause()
    }

    /// `WITHIN GROUP (ORDER BY …)` says of what the percentile is, and not in which order values must come.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.digests.documentation()
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
        arguments.expr_fields.first().is_some_and(|field| *field.data_type() == DataType::Float64)
            && !arguments.is_distinct
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let (digests, arguments) = (self.digests.clone(), Arguments::of(&arguments));
        let of_groups = GroupsAccumulatorAdapter::new(move || digests.accumulator(arguments.lent()));
        Ok(Box::new(Gathered { of_groups, values: vec![], groups: vec![], groups_count: 0 }))
    }
}

/// What an accumulator is made of, to make one a group.
struct Arguments {
    return_field: FieldRef,
    schema: Schema,
    ignore_nulls: bool,
    order_bys: Vec<PhysicalSortExpr>,
    is_reversed: bool,
    name: String,
    is_distinct: bool,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    expr_fields: Vec<FieldRef>,
}

impl Arguments {
    fn of(arguments: &AccumulatorArgs) -> Arguments {
        Arguments {
            return_field: arguments.return_field.clone(),
            schema: arguments.schema.clone(),
            ignore_nulls: arguments.ignore_nulls,
            order_bys: arguments.order_bys.to_vec(),
            is_reversed: arguments.is_reversed,
            name: arguments.name.to_owned(),
            is_distinct: arguments.is_distinct,
            exprs: arguments.exprs.to_vec(),
            expr_fields: arguments.expr_fields.to_vec(),
        }
    }

    fn lent(&self) -> AccumulatorArgs<'_> {
        AccumulatorArgs {
            return_field: self.return_field.clone(),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &self.order_bys,
            is_reversed: self.is_reversed,
            name: &self.name,
            is_distinct: self.is_distinct,
            exprs: &self.exprs,
            expr_fields: &self.expr_fields,
        }
    }
}

struct Gathered {
    of_groups: GroupsAccumulatorAdapter,
    /// With the group of each.
    values: Vec<f64>,
    groups: Vec<usize>,
    groups_count: usize,
}

impl Gathered {
    /// Gives the digests what was gathered; groups of which there is nothing get one as well.
    fn hand_over(&mut self) -> Result<()> {
        let values: ArrayRef = Arc::new(Float64Array::from(std::mem::take(&mut self.values)));
        let groups = std::mem::take(&mut self.groups);
        self.of_groups.update_batch(&[values], &groups, None, self.groups_count)
    }

    fn emitted(&mut self, emit_to: EmitTo) {
        self.groups_count = match emit_to {
            EmitTo::All => 0,
            EmitTo::First(groups) => self.groups_count.saturating_sub(groups),
        };
    }
}

impl GroupsAccumulator for Gathered {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups_count = total_num_groups;
        let values = values[0].as_primitive::<Float64Type>();
        if values.null_count() == 0 && opt_filter.is_none() {
            self.values.extend_from_slice(values.values());
            self.groups.extend_from_slice(group_indices);
        } else {
            let passes = |row: usize| opt_filter.is_none_or(|of| of.is_valid(row) && of.value(row));
            for (row, group) in group_indices.iter().enumerate() {
                if values.is_valid(row) && passes(row) {
                    self.values.push(values.value(row));
                    self.groups.push(*group);
                }
            }
        }
        if self.values.len() >= GATHERED_MAX { self.hand_over() } else { Ok(()) }
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.hand_over()?;
        self.emitted(emit_to);
        self.of_groups.evaluate(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.hand_over()?;
        self.emitted(emit_to);
        self.of_groups.state(emit_to)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups_count = total_num_groups;
        self.of_groups.merge_batch(values, group_indices, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.of_groups.convert_to_state(values, opt_filter)
    }

    fn size(&self) -> usize {
        self.of_groups.size() + 8 * (self.values.capacity() + self.groups.capacity())
    }
}
