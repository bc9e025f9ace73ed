//! What all sessions have alike: settings, rules and the functions that ask nothing of the engine. It is made once, as to make it
//! takes longer than a small statement.

use super::node_rules::NodeRule;
use super::{
    SQL_CATALOG, bounded, functions, join_keys, json, percentiles, run_counts, stream_ends, word_groups,
    yielding,
};
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder};
use std::sync::Arc;

/// A state without tables.
pub fn state(runtime: Arc<RuntimeEnv>) -> SessionState {
    let config = SessionConfig::new()
        .with_information_schema(true)
        // Each session has a catalog of its own.
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(SQL_CATALOG, "public")
        // Errors say where in the statement they are.
        .set_bool("datafusion.sql_parser.collect_spans", true)
        .with_target_partitions(std::thread::available_parallelism().map_or(2, usize::from));
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_physical_optimizer_rule(NodeRule::new("RunCounts", run_counts::counts_of))
        .with_physical_optimizer_rule(NodeRule::new("JoinKeys", join_keys::by_ids))
        .with_physical_optimizer_rule(NodeRule::new("WordGroups", word_groups::grouped))
        .with_physical_optimizer_rule(NodeRule::new("StreamEnds", stream_ends::of_ends))
        .with_physical_optimizer_rule(NodeRule::new("Yielding", yielding::yielding))
        .build();
    let session = SessionContext::new_with_state(state);
    bounded::register(&session);
    functions::register(&session);
    percentiles::register(&session);
    json::register(&session);
    session.state()
}
