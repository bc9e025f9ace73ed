use super::*;
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;

#[test]
fn columns_are_told_by_the_names_that_their_values_have() {
    let column = |name: &str| Field::new(name, DataType::Int64, true);
    let schema = Arc::new(Schema::new(vec![column("c"), column("c"), column("c_2")]));
    let values = (1..4).map(|n| Arc::new(Int64Array::from(vec![n])) as ArrayRef).collect();
    let batch = RecordBatch::try_new(schema.clone(), values).unwrap();
    let told = to_json(&SqlAnswer { schema, batches: vec![batch], warnings: vec![] }).unwrap();
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["columns"], json!(["c", "c_2", "c_2_2"]));
    assert_eq!(told["rows"], json!([{"c": 1, "c_2": 2, "c_2_2": 3}]));
}
