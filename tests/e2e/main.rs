//! End to end: the real binary, real peers, real sockets. One test binary, so that the program is linked once.
//!
//! Every server takes free ports and a directory of its own, so tests run side by side in any order. Waiting is always
//! for a condition with a generous bound, never for a length of time.

mod alerting;
mod bad_input;
mod container_logs;
mod crash;
mod grafana;
mod jaeger_storage;
mod journal;
mod log_rules;
mod page;
mod passed_on;
mod peers;
mod plain_parquet;
mod postgres;
mod roles;
mod server;
mod shippers;
mod sql;
mod start;
mod this_machine;
mod tls;
mod traces;
mod traffic;
