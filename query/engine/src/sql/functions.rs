//! Scalar helpers: `label(labels, 'pod')` and `attr(attributes, 'http.route')` read one key of a map, `match(body, …)` and
//! `log_pattern(body)` look at a line, `sampling_weight(trace_state)` says how many spans one stands for; and functions that have one answer, for doors whose clients ask what does not
//! exist here.

use super::full_text::Match;
use super::statement::Arrows;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, MapArray, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, create_udf,
};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::prelude::SessionContext;
use std::sync::Arc;

pub fn register(session: &SessionContext) {
    for name in ["label", "attr"] {
        session.register_udf(ScalarUDF::from(MapValue::new(name)));
    }
    session.register_udf(ScalarUDF::from(Match::default()));
    session.register_udf(create_udf(
        "log_pattern",
        vec![DataType::Utf8],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(log_pattern),
    ));
    session.register_udf(create_udf(
        "sampling_weight",
        vec![DataType::Utf8],
        DataType::Float64,
        Volatility::Immutable,
        Arc::new(sampling_weight),
    ));
    // The planner that is asked first is the one that was registered last; a session without it is no session of ours.
    if let Err(wrong) = session.clone().register_expr_planner(Arc::new(Arrows)) {
        tracing::error!(error = %wrong, "operators on JSON are left out");
    }
}

/// The line with its values as `<_>`, so that lines can be counted by what they say.
fn log_pattern(arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    let Some(lines) = arguments.first() else { return exec_err!("log_pattern takes a line") };
    let lines = ColumnarValue::values_to_arrays(std::slice::from_ref(lines))?.remove(0);
    let lines: &StringArray = lines.as_string();
    let patterns: StringArray = lines.iter().map(|line| line.map(logql::line_pattern)).collect();
    Ok(ColumnarValue::Array(Arc::new(patterns)))
}

/// How many spans a span with this `tracestate` stands for; 1 of what says nothing.
fn sampling_weight(arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    let Some(states) = arguments.first() else { return exec_err!("sampling_weight takes a trace state") };
    let states = ColumnarValue::values_to_arrays(std::slice::from_ref(states))?.remove(0);
    let states: &StringArray = states.as_string();
    let weights: Float64Array =
        states.iter().map(|state| Some(state.map_or(1.0, model::sampling_weight))).collect();
    Ok(ColumnarValue::Array(Arc::new(weights)))
}

/// The value of one key of a `Map<Utf8, Utf8>`, or NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MapValue {
    name: &'static str,
    signature: Signature,
}

impl MapValue {
    pub fn new(name: &'static str) -> Self {
        MapValue { name, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for MapValue {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [map @ DataType::Map(_, _), DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8] => {
                Ok(vec![map.clone(), DataType::Utf8])
            }
            _ => plan_err!("{0} takes a map and a key, as in {0}(attributes, 'http.route')", self.name),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [map, key] = &arguments.args[..] else {
            return exec_err!("{} takes two arguments", self.name);
        };
        let map = map.to_array(arguments.number_rows)?;
        let Some(map) = map.as_map_opt() else {
            return exec_err!("the first argument of {} is not a map", self.name);
        };
        let found = match key {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(key))) => lookup(map, |_| Some(key.as_str())),
            ColumnarValue::Scalar(_) => lookup(map, |_| None),
            ColumnarValue::Array(keys) => {
                let keys: &StringArray = keys.as_string();
                lookup(map, |row| keys.is_valid(row).then(|| keys.value(row)))
            }
        };
        Ok(ColumnarValue::Array(found))
    }
}

/// Where an expression reads one key of a column of maps: the column's number, and the key.
pub fn read_key(expression: &Arc<dyn PhysicalExpr>) -> Option<(usize, &str)> {
    let call = expression.downcast_ref::<ScalarFunctionExpr>()?;
    let [map, key] = call.args() else { return None };
    if !["attr", "label", "get_field"].contains(&call.fun().name()) {
        return None;
    }
    let key = key.downcast_ref::<Literal>()?.value().try_as_str()??;
    Some((map.downcast_ref::<Column>()?.index(), key))
}

fn lookup<'a>(map: &MapArray, key_of: impl Fn(usize) -> Option<&'a str>) -> ArrayRef {
    let keys: &StringArray = map.keys().as_string();
    let values: &StringArray = map.values().as_string();
    let mut out = StringBuilder::new();
    for row in 0..map.len() {
        let (start, end) = (map.value_offsets()[row] as usize, map.value_offsets()[row + 1] as usize);
        let found = key_of(row)
            .filter(|_| map.is_valid(row))
            .and_then(|key| (start..end).find(|&entry| keys.value(entry) == key));
        match found {
            Some(entry) if values.is_valid(entry) => out.append_value(values.value(entry)),
            _ => out.append_null(),
        }
    }
    Arc::new(out.finish())
}

/// Takes any arguments and answers the same.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ConstantFunction {
    name: &'static str,
    answer: ScalarValue,
    signature: Signature,
}

impl ConstantFunction {
    pub fn new(name: &'static str, answer: ScalarValue) -> Self {
        ConstantFunction { name, answer, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ConstantFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.answer.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.answer.clone()))
    }
}
