//! bcache: a fast disk before a slow one; and bcachefs, the file system that came of it. Both write sizes for people,
//! `1.1M`, in powers of 1,024.

use crate::host::Root;
use crate::samples::Samples;

/// File, metric, help.
type File = (&'static str, &'static str, &'static str);

const OF_SET: [File; 8] = [
    ("average_key_size", "average_key_size_sectors", "Average data per key in the btree (sectors)."),
    ("btree_cache_size", "btree_cache_size_bytes", "Amount of memory currently used by the btree cache."),
    (
        "cache_available_percent",
        "cache_available_percent",
        "Percentage of cache device without dirty data, usable for writeback (may contain clean cached data).",
    ),
    ("congested", "congested", "Congestion."),
    (
        "root_usage_percent",
        "root_usage_percent",
        "Percentage of the root btree node in use (tree depth increases if too high).",
    ),
    ("tree_depth", "tree_depth", "Depth of the btree."),
    (
        "internal/active_journal_entries",
        "active_journal_entries",
        "Number of journal entries that are newer than the index.",
    ),
    ("internal/btree_nodes", "btree_nodes", "Total nodes in the btree."),
];

const OF_BACKING: [File; 7] = [
    ("bypassed", "bypassed_bytes_total", "Amount of IO (both reads and writes) that has bypassed the cache."),
    ("cache_hits", "cache_hits_total", "Hits counted per individual IO as bcache sees them."),
    ("cache_misses", "cache_misses_total", "Misses counted per individual IO as bcache sees them."),
    ("cache_bypass_hits", "cache_bypass_hits_total", "Hits for IO intended to skip the cache."),
    ("cache_bypass_misses", "cache_bypass_misses_total", "Misses for IO intended to skip the cache."),
    (
        "cache_miss_collisions",
        "cache_miss_collisions_total",
        "Instances where data insertion from cache miss raced with write (data already present).",
    ),
    ("cache_readaheads", "cache_readaheads_total", "Count of times readahead occurred."),
];

const WRITEBACK: [File; 5] = [
    ("rate", "writeback_rate", "Current writeback rate for this backing device in bytes."),
    (
        "proportional",
        "writeback_rate_proportional_term",
        "Current result of proportional controller, part of writeback rate",
    ),
    (
        "integral",
        "writeback_rate_integral_term",
        "Current result of integral controller, part of writeback rate",
    ),
    ("change", "writeback_change", "Last writeback rate change step for this backing device."),
    ("target", "dirty_target_bytes", "Current dirty data target threshold for this backing device in bytes."),
];

pub fn bcache(root: &Root, out: &mut Samples) -> Option<()> {
    const FOLDER: &str = "sys/fs/bcache";
    if !root.path(FOLDER).is_dir() {
        return None;
    }
    for uuid in root.names(FOLDER).into_iter().filter(|name| name.contains('-')) {
        let folder = format!("{FOLDER}/{uuid}");
        let labels = [("uuid", &*uuid)];
        for (file, metric, help) in OF_SET {
            if let Some(value) = size(root, &format!("{folder}/{file}")) {
                out.gauge(&format!("node_bcache_{metric}"), help, &labels, value);
            }
        }
        // The file says microseconds; node_exporter takes them for nanoseconds, and dashboards go by what it says.
        if let Some(time) = root.number(&format!("{folder}/internal/btree_read_average_duration_us")) {
            let name = "node_bcache_btree_read_average_duration_seconds";
            out.gauge(name, "Average btree read duration.", &labels, time / 1e9);
        }
        if let Some(races) = root.number(&format!("{folder}/internal/cache_read_races")) {
            let help = "Counts instances where while data was being read from the cache, the bucket was reused and invalidated - i.e. where the pointer was stale after the read completed.";
            out.counter("node_bcache_cache_read_races_total", help, &labels, races);
        }
        for device in root.names(&folder) {
            let of = format!("{folder}/{device}");
            if device.starts_with("bdev") {
                backing(root, &of, &[labels[0], ("backing_device", &device)], out);
            } else if device.strip_prefix("cache").is_some_and(is_number) {
                cache(root, &of, &[labels[0], ("cache_device", &device)], out);
            }
        }
    }
    Some(())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn backing(root: &Root, folder: &str, labels: &[(&str, &str)], out: &mut Samples) {
    for (file, metric, help) in OF_BACKING {
        if let Some(value) = size(root, &format!("{folder}/stats_total/{file}")) {
            out.counter(&format!("node_bcache_{metric}"), help, labels, value);
        }
    }
    if let Some(bytes) = size(root, &format!("{folder}/dirty_data")) {
        let help = "Amount of dirty data for this backing device in the cache.";
        out.gauge("node_bcache_dirty_data_bytes", help, labels, bytes);
    }
    let text = root.text(&format!("{folder}/writeback_rate_debug")).unwrap_or_default();
    let field = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        in_parts(rest.trim().trim_end_matches("/sec"))
    };
    for (name, metric, help) in WRITEBACK {
        if let Some(value) = field(name) {
            out.gauge(&format!("node_bcache_{metric}"), help, labels, value);
        }
    }
}

fn cache(root: &Root, folder: &str, labels: &[(&str, &str)], out: &mut Samples) {
    if let Some(errors) = root.number(&format!("{folder}/io_errors")) {
        let help = "Number of errors that have occurred, decayed by io_error_halflife.";
        out.gauge("node_bcache_io_errors", help, labels, errors);
    }
    for (file, metric, help) in [
        (
            "metadata_written",
            "metadata_written_bytes_total",
            "Sum of all non data writes (btree writes and all other metadata).",
        ),
        ("written", "written_bytes_total", "Sum of all data that has been written to the cache."),
    ] {
        if let Some(bytes) = size(root, &format!("{folder}/{file}")) {
            out.counter(&format!("node_bcache_{metric}"), help, labels, bytes);
        }
    }
    let text = root.text(&format!("{folder}/priority_stats")).unwrap_or_default();
    for (name, metric, help) in [
        ("Unused:", "unused_percent", "The percentage of the cache that doesn't contain any data."),
        ("Metadata:", "metadata_percent", "Bcache's metadata overhead."),
    ] {
        let percent =
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().trim_end_matches('%').parse().ok());
        if let Some(percent) = percent {
            out.gauge(&format!("node_bcache_priority_stats_{metric}"), help, labels, percent);
        }
    }
}

fn size(root: &Root, file: &str) -> Option<f64> {
    in_parts(&root.word(file)?)
}

/// What bcache writes: its one digit behind the point is hundreds of the next smaller unit, so `427.5k` is 427 * 1024 + 500.
fn in_parts(text: &str) -> Option<f64> {
    let (number, unit) = unit(text);
    let Some((whole, part)) = number.split_once('.') else { return Some(number.parse::<f64>().ok()? * unit) };
    let (whole, part): (f64, f64) = (whole.parse().ok()?, part.parse().ok()?);
    let part = part * 100.0 * (unit / 1024.0);
    Some(whole * unit + if number.starts_with('-') { -part } else { part })
}

/// What bcachefs writes: a fraction of the unit, of which node_exporter keeps whole bytes.
fn in_fractions(text: &str) -> Option<f64> {
    let (number, unit) = unit(text);
    Some((number.parse::<f64>().ok()? * unit).trunc())
}

/// The number, and what its letter stands for.
fn unit(text: &str) -> (&str, f64) {
    let number = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let power = text[number.len()..].chars().next().and_then(|letter| "kMGTPEZY".find(letter));
    (number, power.map_or(1.0, |power| 1024f64.powi(power as i32 + 1)))
}

pub fn bcachefs(root: &Root, out: &mut Samples) -> Option<()> {
    const FOLDER: &str = "sys/fs/bcachefs";
    let found = root.names(FOLDER);
    for uuid in &found {
        let labels = [("uuid", &**uuid)];
        let file = |name: &str| root.text(&format!("{FOLDER}/{uuid}/{name}")).unwrap_or_default();
        out.gauge("node_bcachefs_info", "Filesystem information.", &labels, 1.0);
        if let Some(bytes) = in_fractions(file("btree_cache_size").trim()) {
            let help = "Btree cache memory usage in bytes.";
            out.gauge("node_bcachefs_btree_cache_size_bytes", help, &labels, bytes);
        }
        for [algorithm, compressed, uncompressed] in rows(&file("compression_stats")) {
            let labels = [labels[0], ("algorithm", algorithm)];
            let (Some(small), Some(large)) = (in_fractions(compressed), in_fractions(uncompressed)) else {
                continue;
            };
            let help = "Compressed size by algorithm.";
            out.gauge("node_bcachefs_compression_compressed_bytes", help, &labels, small);
            let help = "Uncompressed size by algorithm.";
            out.gauge("node_bcachefs_compression_uncompressed_bytes", help, &labels, large);
        }
        for [kind, count, bytes] in rows(&file("btree_write_stats")) {
            let labels = [labels[0], ("type", kind.trim_end_matches(':'))];
            let (Ok(count), Some(bytes)) = (count.parse(), in_fractions(bytes)) else { continue };
            out.counter(
                "node_bcachefs_btree_writes_total",
                "Number of btree writes by type.",
                &labels,
                count,
            );
            let help = "Average btree write size by type.";
            out.gauge("node_bcachefs_btree_write_average_size_bytes", help, &labels, bytes);
        }
        for line in file("errors").lines() {
            let mut words = line.split_whitespace();
            let (Some(kind), Some(Ok(count))) = (words.next(), words.next().map(str::parse)) else {
                continue;
            };
            let labels = [labels[0], ("error_type", kind)];
            out.counter("node_bcachefs_errors_total", "Error count by error type.", &labels, count);
        }
        for name in root.names(&format!("{FOLDER}/{uuid}/counters")) {
            let text = file(&format!("counters/{name}"));
            let since = text.lines().find_map(|line| line.strip_prefix("since filesystem creation:"));
            if let Some(count) = since.and_then(|count| in_fractions(count.trim())) {
                let help = format!("Bcachefs counter {name} since filesystem creation.");
                out.counter(
                    &format!("node_bcachefs_{}_total", name.replace('-', "_")),
                    &help,
                    &labels,
                    count,
                );
            }
        }
        for name in root.names(&format!("{FOLDER}/{uuid}")) {
            if let Some(device) = name.strip_prefix("dev-") {
                bcachefs_device(root, &format!("{FOLDER}/{uuid}/{name}"), [uuid, device], out);
            }
        }
    }
    (!found.is_empty()).then_some(())
}

/// The first three words of each line.
fn rows(text: &str) -> impl Iterator<Item = [&str; 3]> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some([words.next()?, words.next()?, words.next()?])
    })
}

fn bcachefs_device(root: &Root, folder: &str, [uuid, device]: [&str; 2], out: &mut Samples) {
    let word = |file: &str| root.word(&format!("{folder}/{file}")).unwrap_or_default();
    let labels = [("uuid", uuid), ("device", device)];
    let info = [labels[0], labels[1], ("label", &*word("label")), ("state", &*word("state"))];
    out.gauge("node_bcachefs_device_info", "Device information.", &info, 1.0);
    for (file, metric, help) in [
        ("bucket_size", "bucket_size_bytes", "Bucket size in bytes."),
        ("nbuckets", "buckets", "Total number of buckets."),
        ("durability", "durability", "Device durability setting."),
    ] {
        if let Some(value) = in_fractions(&word(file)) {
            out.gauge(&format!("node_bcachefs_device_{metric}"), help, &labels, value);
        }
    }
    let pair = |line: &'_ str| -> Option<(String, f64)> {
        let (name, number) = line.split_once(':')?;
        Some((name.trim().to_owned(), number.trim().parse().ok()?))
    };
    // Lines `read:` and `write:` head what comes below them.
    let mut operation = String::new();
    for line in root.text(&format!("{folder}/io_done")).unwrap_or_default().lines() {
        match pair(line) {
            Some((kind, bytes)) => {
                let labels = [labels[0], labels[1], ("operation", &*operation), ("data_type", &*kind)];
                let help = "IO bytes by operation type and data type.";
                out.counter("node_bcachefs_device_io_done_bytes_total", help, &labels, bytes);
            }
            None => operation = line.trim().trim_end_matches(':').to_owned(),
        }
    }
    // First since the file system was made, then since somebody last asked for them to begin anew.
    let errors = root.text(&format!("{folder}/io_errors")).unwrap_or_default();
    let since_made = errors.lines().skip(1).take_while(|line| line.starts_with(' '));
    for (kind, count) in since_made.filter_map(pair) {
        let labels = [labels[0], labels[1], ("type", &*kind)];
        out.counter("node_bcachefs_device_io_errors_total", "IO errors by error type.", &labels, count);
    }
}
