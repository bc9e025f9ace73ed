//! Functions that make as much as their arguments say (`repeat`, `lpad`, `range`, …), within a bound: a number in a
//! statement must not take the memory of the whole process, and what a function makes is not accounted for anywhere.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{cast, kernels::length::length};
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, TimeUnit};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use datafusion::prelude::SessionContext;

/// Made by one call for one batch of rows. A batch of 8,192 rows may pad each to 8 kB.
const BYTES_MAX: u128 = 64 << 20;

/// Of a number, a time or a view of a text.
const VALUE_BYTES: u128 = 8;

const FUNCTIONS: [(&str, Makes); 7] = [
    ("range", Makes::Series),
    ("generate_series", Makes::Series),
    ("repeat", Makes::Texts),
    ("lpad", Makes::Padding),
    ("rpad", Makes::Padding),
    ("array_repeat", Makes::Values),
    ("array_resize", Makes::Values),
];

pub fn register(session: &SessionContext) {
    for (name, makes) in FUNCTIONS {
        let found = session.state_ref().read().scalar_functions().get(name).cloned();
        match found {
            Some(inner) => {
                session
                    .register_udf(ScalarUDF::new_from_impl(Bounded { inner: inner.as_ref().clone(), makes }));
            }
            None => tracing::error!(name, "a function that is to be bounded does not exist"),
        }
    }
}

/// What a function makes, and so how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Makes {
    /// From a start to a stop in steps.
    Series,
    /// The text so many times.
    Texts,
    /// A text so long.
    Padding,
    /// A value so many times.
    Values,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: ScalarUDF,
    makes: Makes,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let bytes = self.makes.bytes(&arrays)?;
        if bytes > BYTES_MAX {
            return exec_err!(
                "{} would make {bytes} bytes at once; the most is {BYTES_MAX}, ask for fewer",
                self.inner.name()
            );
        }
        self.inner.invoke_with_args(arguments)
    }
}

impl Makes {
    /// For all rows of the arguments. Arguments that the function itself refuses are none of this room's business.
    fn bytes(self, arguments: &[ArrayRef]) -> Result<u128> {
        match (self, arguments) {
            (Makes::Series, [stop]) => series(None, stop, None),
            (Makes::Series, [start, stop]) => series(Some(start), stop, None),
            (Makes::Series, [start, stop, step]) => series(Some(start), stop, Some(step)),
            (Makes::Texts, [text, times]) => {
                let lengths = numbers(&length(text)?)?;
                Ok(lengths
                    .into_iter()
                    .zip(numbers(times)?)
                    .map(|(length, n)| positive(length) * positive(n))
                    .sum())
            }
            (Makes::Padding, [_, lengths, ..]) => Ok(numbers(lengths)?.into_iter().map(positive).sum()),
            (Makes::Values, [value, times, ..]) => {
                let each = VALUE_BYTES + value.get_array_memory_size() as u128 / value.len().max(1) as u128;
                Ok(numbers(times)?.into_iter().map(|n| positive(n) * each).sum())
            }
            _ => Ok(0),
        }
    }
}

fn positive(number: i128) -> u128 {
    number.max(0) as u128
}

/// Whole numbers, days and times (in nanoseconds) as numbers; NULL makes nothing.
fn numbers(array: &ArrayRef) -> Result<Vec<i128>> {
    let array = match array.data_type() {
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
            cast(array, &DataType::Timestamp(TimeUnit::Nanosecond, None))?
        }
        _ => array.clone(),
    };
    let array = cast(&array, &DataType::Int64)?;
    Ok(array.as_primitive::<Int64Type>().iter().map(|number| i128::from(number.unwrap_or(0))).collect())
}

/// An interval in nanoseconds, at its shortest: a month has 28 days.
fn steps(array: &ArrayRef) -> Result<Vec<i128>> {
    const DAY_NS: i128 = 86_400_000_000_000;
    let Some(intervals) = array.as_primitive_opt::<IntervalMonthDayNanoType>() else { return numbers(array) };
    let nanoseconds = |months: i32, days: i32, ns: i64| {
        i128::from(months) * 28 * DAY_NS + i128::from(days) * DAY_NS + i128::from(ns)
    };
    let steps = intervals
        .iter()
        .map(|step| step.map_or(0, |step| nanoseconds(step.months, step.days, step.nanoseconds)));
    Ok(steps.collect())
}

fn series(start: Option<&ArrayRef>, stop: &ArrayRef, step: Option<&ArrayRef>) -> Result<u128> {
    let stops = numbers(stop)?;
    let starts = start.map_or_else(|| Ok(vec![0; stops.len()]), numbers)?;
    let steps = step.map_or_else(|| Ok(vec![1; stops.len()]), steps)?;
    let rows = starts.into_iter().zip(stops).zip(steps);
    // A step of 0 is refused by the function; one away from the stop makes nothing.
    let values =
        rows.map(|((start, stop), step)| if step == 0 { 0 } else { positive((stop - start) / step) });
    Ok(values.sum::<u128>() * VALUE_BYTES)
}
