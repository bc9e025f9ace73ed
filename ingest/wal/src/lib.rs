//! Bytes in, bytes out, crash-safe: a segmented write-ahead log with group commit.
