//! Tape drives: what the kernel counts of reads, writes and the time that they took.

use crate::host::Root;
use crate::samples::Samples;

const FOLDER: &str = "sys/class/scsi_tape";

/// File, metric, what a unit of the file is in the metric's, help.
const COUNTERS: [(&str, &str, f64, &str); 9] = [
    (
        "io_ns",
        "io_time_seconds_total",
        1e9,
        "The amount of time spent waiting for all I/O to complete (including read and write). This includes tape movement commands such as seeking between file or set marks and implicit tape movement such as when rewind on close tape devices are used.",
    ),
    (
        "other_cnt",
        "io_others_total",
        1.0,
        "The number of I/Os issued to the tape drive other than read or write commands. The time taken to complete these commands uses the following calculation io_time_seconds_total-read_time_seconds_total-write_time_seconds_total",
    ),
    ("read_byte_cnt", "read_bytes_total", 1.0, "The number of bytes read from the tape drive."),
    ("read_cnt", "reads_completed_total", 1.0, "The number of read requests issued to the tape drive."),
    (
        "read_ns",
        "read_time_seconds_total",
        1e9,
        "The amount of time spent waiting for read requests to complete.",
    ),
    (
        "resid_cnt",
        "residual_total",
        1.0,
        "The number of times during a read or write we found the residual amount to be non-zero. This should mean that a program is issuing a read larger thean the block size on tape. For write not all data made it to tape.",
    ),
    ("write_byte_cnt", "written_bytes_total", 1.0, "The number of bytes written to the tape drive."),
    ("write_cnt", "writes_completed_total", 1.0, "The number of write requests issued to the tape drive."),
    (
        "write_ns",
        "write_time_seconds_total",
        1e9,
        "The amount of time spent waiting for write requests to complete.",
    ),
];

/// A drive has several names, one for each way of opening it; `st` and a number is the drive itself.
pub fn tapestats(root: &Root, out: &mut Samples) -> Option<()> {
    if !root.path(FOLDER).is_dir() {
        return None;
    }
    for name in root.names(FOLDER) {
        let number = name.strip_prefix("st").unwrap_or_default();
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let file = |file: &str| root.number(&format!("{FOLDER}/{name}/stats/{file}"));
        let labels = [("device", &*name)];
        if let Some(now) = file("in_flight") {
            let help = "The number of I/Os currently outstanding to this device.";
            out.gauge("node_tape_io_now", help, &labels, now);
        }
        for (of, metric, unit, help) in COUNTERS {
            if let Some(value) = file(of) {
                out.counter(&format!("node_tape_{metric}"), help, &labels, value / unit);
            }
        }
    }
    Some(())
}
