//! What functions there are, what they take and what they return (source: prometheus.io/docs, querying functions).

use crate::ast::ValueType::{self, Matrix, Scalar, Text, Vector};

#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    pub arguments: &'static [ValueType],
    /// As Prometheus counts: 0 is exactly `arguments`; else the last one may be left out, or come up to so many times
    /// (any number where it is -1).
    pub variadic: i32,
    pub returns: ValueType,
}

const fn function(name: &'static str, arguments: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, arguments, variadic: 0, returns }
}

const fn with_optional(name: &'static str, arguments: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, arguments, variadic: 1, returns }
}

const fn variadic(name: &'static str, arguments: &'static [ValueType], most: i32) -> Function {
    Function { name, arguments, variadic: most, returns: Vector }
}

static FUNCTIONS: [Function; 91] = [
    function("abs", &[Vector], Vector),
    function("absent", &[Vector], Vector),
    function("absent_over_time", &[Matrix], Vector),
    function("acos", &[Vector], Vector),
    function("acosh", &[Vector], Vector),
    function("asin", &[Vector], Vector),
    function("asinh", &[Vector], Vector),
    function("atan", &[Vector], Vector),
    function("atanh", &[Vector], Vector),
    function("avg_over_time", &[Matrix], Vector),
    function("ceil", &[Vector], Vector),
    function("changes", &[Matrix], Vector),
    function("clamp", &[Vector, Scalar, Scalar], Vector),
    function("clamp_max", &[Vector, Scalar], Vector),
    function("clamp_min", &[Vector, Scalar], Vector),
    function("cos", &[Vector], Vector),
    function("cosh", &[Vector], Vector),
    function("count_over_time", &[Matrix], Vector),
    with_optional("day_of_month", &[Vector], Vector),
    with_optional("day_of_week", &[Vector], Vector),
    with_optional("day_of_year", &[Vector], Vector),
    with_optional("days_in_month", &[Vector], Vector),
    function("deg", &[Vector], Vector),
    function("delta", &[Matrix], Vector),
    function("deriv", &[Matrix], Vector),
    function("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector),
    function("end", &[], Scalar),
    function("exp", &[Vector], Vector),
    function("first_over_time", &[Matrix], Vector),
    function("floor", &[Vector], Vector),
    function("histogram_avg", &[Vector], Vector),
    function("histogram_count", &[Vector], Vector),
    function("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    function("histogram_quantile", &[Scalar, Vector], Vector),
    variadic("histogram_quantiles", &[Vector, Text, Scalar, Scalar], 9),
    function("histogram_stddev", &[Vector], Vector),
    function("histogram_stdvar", &[Vector], Vector),
    function("histogram_sum", &[Vector], Vector),
    function("holt_winters", &[Matrix, Scalar, Scalar], Vector),
    with_optional("hour", &[Vector], Vector),
    function("idelta", &[Matrix], Vector),
    function("increase", &[Matrix], Vector),
    with_optional("info", &[Vector, Vector], Vector),
    function("irate", &[Matrix], Vector),
    variadic("label_join", &[Vector, Text, Text, Text], -1),
    function("label_replace", &[Vector, Text, Text, Text, Text], Vector),
    function("last_over_time", &[Matrix], Vector),
    function("ln", &[Vector], Vector),
    function("log10", &[Vector], Vector),
    function("log2", &[Vector], Vector),
    function("mad_over_time", &[Matrix], Vector),
    function("max_of", &[Scalar, Scalar], Scalar),
    function("max_over_time", &[Matrix], Vector),
    function("min_of", &[Scalar, Scalar], Scalar),
    function("min_over_time", &[Matrix], Vector),
    with_optional("minute", &[Vector], Vector),
    with_optional("month", &[Vector], Vector),
    function("pi", &[], Scalar),
    function("predict_linear", &[Matrix, Scalar], Vector),
    function("present_over_time", &[Matrix], Vector),
    function("quantile_over_time", &[Scalar, Matrix], Vector),
    function("rad", &[Vector], Vector),
    function("range", &[], Scalar),
    function("rate", &[Matrix], Vector),
    function("resets", &[Matrix], Vector),
    with_optional("round", &[Vector, Scalar], Vector),
    function("scalar", &[Vector], Scalar),
    function("sgn", &[Vector], Vector),
    function("sin", &[Vector], Vector),
    function("sinh", &[Vector], Vector),
    function("sort", &[Vector], Vector),
    variadic("sort_by_label", &[Vector, Text], -1),
    variadic("sort_by_label_desc", &[Vector, Text], -1),
    function("sort_desc", &[Vector], Vector),
    function("sqrt", &[Vector], Vector),
    function("start", &[], Scalar),
    function("start_timestamp", &[Vector], Vector),
    function("stddev_over_time", &[Matrix], Vector),
    function("stdvar_over_time", &[Matrix], Vector),
    function("step", &[], Scalar),
    function("sum_over_time", &[Matrix], Vector),
    function("tan", &[Vector], Vector),
    function("tanh", &[Vector], Vector),
    function("time", &[], Scalar),
    function("timestamp", &[Vector], Vector),
    function("ts_of_first_over_time", &[Matrix], Vector),
    function("ts_of_last_over_time", &[Matrix], Vector),
    function("ts_of_max_over_time", &[Matrix], Vector),
    function("ts_of_min_over_time", &[Matrix], Vector),
    function("vector", &[Scalar], Vector),
    with_optional("year", &[Vector], Vector),
];

/// All functions.
pub fn functions() -> &'static [Function] {
    &FUNCTIONS
}

impl Function {
    pub fn named(name: &str) -> Option<&'static Function> {
        functions().iter().find(|function| function.name == name)
    }
}
