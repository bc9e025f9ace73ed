//! LogQL: text to a checked syntax tree.
