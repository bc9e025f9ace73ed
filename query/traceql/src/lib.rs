//! TraceQL: text to a checked syntax tree.
