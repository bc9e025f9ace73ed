//! File handles, entropy, and the like.

use crate::host::Root;
use crate::samples::Samples;

pub fn collect(root: &Root, out: &mut Samples) {
    let handles = root.text("proc/sys/fs/file-nr").unwrap_or_default();
    let numbers: Vec<f64> = handles.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
    if let [allocated, _, maximum] = numbers[..] {
        out.gauge("node_filefd_allocated", "File descriptor statistics: allocated.", &[], allocated);
        out.gauge("node_filefd_maximum", "File descriptor statistics: maximum.", &[], maximum);
    }
    for (file, name, help) in [
        ("entropy_avail", "node_entropy_available_bits", "Bits of available entropy."),
        ("poolsize", "node_entropy_pool_size_bits", "Bits of entropy pool."),
    ] {
        if let Some(number) = root.number(&format!("proc/sys/kernel/random/{file}")) {
            out.gauge(name, help, &[], number);
        }
    }
}
