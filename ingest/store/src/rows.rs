//! Log records and spans: both are Arrow rows in memory and in Parquet, with a side index of where which rows are.

pub mod attribute_names;
pub mod build;
pub mod copies;
pub mod fields;
pub mod gather;
pub mod groups;
pub mod head;
pub mod known_groups;
pub mod logs;
pub mod merge;
pub mod order;
pub mod part;
pub mod root_names;
pub mod shapes;
pub mod spans;
pub mod spilled;
pub mod stored;
pub mod tokens;
pub mod trace_facts;
pub mod trace_roots;
