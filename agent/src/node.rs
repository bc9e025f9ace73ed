//! The machine under node_exporter's metric names and label sets (names: prometheus/node_exporter, its default collectors).

mod cpu;
mod disk;
mod kernel;
mod memory;
mod network;
mod system;

use crate::host::Root;
use crate::samples::Samples;

/// All collectors; one that finds no file adds nothing.
pub fn collect(root: &Root, now_ns: i64, out: &mut Samples) {
    cpu::collect(root, out);
    memory::collect(root, out);
    disk::collect(root, out);
    network::collect(root, out);
    kernel::collect(root, out);
    system::collect(root, now_ns, out);
}

#[cfg(test)]
mod tests;
