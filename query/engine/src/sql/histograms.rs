//! Native histograms as rows: what a histogram has one of in columns, its filled buckets as JSON.

use super::columns::{append_labels, label_map_builder};
use arrow::array::{ArrayRef, Float64Builder, Int32Builder, StringBuilder, TimestampNanosecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use model::{Bucket, Histogram, runs};
use std::fmt::Write;
use std::sync::{Arc, LazyLock};
use store::SampleBlock;

pub static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("ts", store::schema::timestamp(), false),
        Field::new("name", DataType::Utf8, false),
        Field::new("count", DataType::Float64, false),
        Field::new("sum", DataType::Float64, false),
        Field::new("schema", DataType::Int32, false),
        Field::new("zero_threshold", DataType::Float64, false),
        Field::new("zero_count", DataType::Float64, false),
        Field::new("buckets", DataType::Utf8, false),
        Field::new("labels", store::schema::text_map(), false),
    ]))
});

/// All columns of the histograms whose parts the block has, and how many they are. Markers of an end are none.
pub fn columns(block: &SampleBlock) -> Result<(Vec<ArrayRef>, usize), ArrowError> {
    let mut ts = TimestampNanosecondBuilder::new().with_timezone("UTC");
    let (mut names, mut buckets, mut labels) =
        (StringBuilder::new(), StringBuilder::new(), label_map_builder());
    let mut numbers: [Float64Builder; 4] = std::array::from_fn(|_| Float64Builder::new());
    let mut schemas = Int32Builder::new();
    let stored = block.labels.iter().enumerate().map(|(at, labels)| {
        let samples = block.offsets[at]..block.offsets[at + 1];
        (labels, &block.ts_ms[samples.clone()], &block.values[samples])
    });
    let mut rows = 0;
    for run in runs(stored) {
        for (ts_ms, histogram) in run.histograms.iter().filter(|(_, one)| !one.is_stale_marker()) {
            ts.append_value(ts_ms.saturating_mul(1_000_000));
            names.append_value(run.labels.metric_name());
            let Histogram { count, sum, zero_threshold, zero_count, schema, .. } = &**histogram;
            for (builder, number) in numbers.iter_mut().zip([count, sum, zero_threshold, zero_count]) {
                builder.append_value(*number);
            }
            schemas.append_value(i32::from(*schema));
            buckets.append_value(json(&histogram.all_buckets()));
            append_labels(&mut labels, &run.labels)?;
            rows += 1;
        }
    }
    let [mut count, mut sum, mut width, mut zero] = numbers;
    let all: Vec<ArrayRef> = vec![
        Arc::new(ts.finish()),
        Arc::new(names.finish()),
        Arc::new(count.finish()),
        Arc::new(sum.finish()),
        Arc::new(schemas.finish()),
        Arc::new(width.finish()),
        Arc::new(zero.finish()),
        Arc::new(buckets.finish()),
        Arc::new(labels.finish()),
    ];
    Ok((all, rows))
}

/// `[{"lower":1,"upper":2,"count":3}]`; what JSON has no number for is a text.
fn json(buckets: &[Bucket]) -> String {
    let mut out = String::from("[");
    for bucket in buckets.iter().filter(|bucket| bucket.count != 0.0) {
        out.push_str(if out.len() > 1 { "," } else { "" });
        let [lower, upper, count] = [bucket.lower, bucket.upper, bucket.count].map(number);
        let _ = write!(out, r#"{{"lower":{lower},"upper":{upper},"count":{count}}}"#);
    }
    out.push(']');
    out
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "\"+Inf\"".into(),
        f64::NEG_INFINITY => "\"-Inf\"".into(),
        value if value.is_nan() => "\"NaN\"".into(),
        value => value.to_string(),
    }
}
