//! Maps as JSON text at the top of a plan, for a wire that has no maps.

use super::columns::map_text;
use arrow::array::AsArray;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

#[derive(Debug, PartialEq, Eq, Hash)]
struct MapText(Signature);

impl ScalarUDFImpl for MapText {
    fn name(&self) -> &str {
        "map_text"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [map] = &arguments.args[..] else {
            return exec_err!("map_text takes one map");
        };
        let map = map.to_array(arguments.number_rows)?;
        match map.as_map_opt() {
            Some(map) => Ok(ColumnarValue::Array(map_text(map))),
            None => exec_err!("map_text takes a map"),
        }
    }
}

/// The plan, with columns of labels and attributes turned to JSON text. Names, order and all else stay.
pub fn maps_shown_as_text(plan: LogicalPlan) -> Result<LogicalPlan> {
    let text_map = store::schema::text_map();
    let schema = plan.schema().clone();
    if schema.fields().iter().all(|field| *field.data_type() != text_map) {
        return Ok(plan);
    }
    let map_text = ScalarUDF::from(MapText(Signature::any(1, Volatility::Immutable)));
    let shown = schema.columns().into_iter().zip(schema.fields()).map(|(column, field)| {
        if *field.data_type() != text_map {
            return Expr::Column(column);
        }
        let (table, name) = (column.relation.clone(), column.name.clone());
        map_text.call(vec![Expr::Column(column)]).alias_qualified(table, name)
    });
    LogicalPlanBuilder::from(plan).project(shown.collect::<Vec<_>>())?.build()
}
