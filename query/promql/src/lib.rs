//! PromQL: text to a checked syntax tree.
