//! Metrics that other programs of the machine leave in files: `*.prom`, Prometheus' text format.

use crate::host::Root;
use crate::samples::Samples;
use model::{Labels, MetricKind};
use std::collections::HashMap;

/// A larger file is not read: it is somebody's log.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Samples carry no time of their own here: a file is as old as it says (`node_textfile_mtime_seconds`).
pub fn textfile(root: &Root, folder: &str, out: &mut Samples) -> Option<()> {
    let mut failed = false;
    for name in root.names(folder).iter().filter(|name| name.ends_with(".prom")) {
        let path = format!("{folder}/{name}");
        match read(root, &path, out) {
            Ok(modified) => {
                let help = "Unixtime mtime of textfiles successfully read.";
                let file = format!("/{}", path.trim_start_matches('/'));
                out.gauge("node_textfile_mtime_seconds", help, &[("file", &file)], modified);
            }
            Err(why) => {
                failed = true;
                tracing::debug!(path, why, "a text file of metrics is left out");
            }
        }
    }
    let help = "1 if there was an error opening or reading a file, 0 otherwise";
    out.gauge("node_textfile_scrape_error", help, &[], f64::from(u8::from(failed)));
    Some(())
}

/// All of a file or nothing; gives when it was written.
fn read(root: &Root, path: &str, out: &mut Samples) -> Result<f64, String> {
    let meta = std::fs::metadata(root.path(path)).map_err(|wrong| wrong.to_string())?;
    if meta.len() > FILE_BYTES_MAX {
        return Err(format!("it has {} bytes; at most {FILE_BYTES_MAX} are read", meta.len()));
    }
    let text = std::fs::read_to_string(root.path(path)).map_err(|wrong| wrong.to_string())?;
    let decoded = wire::exposition::parse(&text, i64::MIN).map_err(|wrong| wrong.0)?;
    if decoded.batch.iter().any(|(_, times, _)| times.iter().any(|time| *time != i64::MIN)) {
        return Err("a sample carries a time; times are not allowed here".into());
    }
    let described: HashMap<&str, (MetricKind, &str)> = decoded
        .batch
        .metadata
        .iter()
        .map(|metadata| (&*metadata.name, (metadata.kind, &*metadata.help)))
        .collect();
    for (labels, _, values) in decoded.batch.iter() {
        let labels = Labels::from_bytes(labels).unwrap_or_default();
        let name = labels.metric_name();
        let (kind, help) = described.get(name).copied().unwrap_or((MetricKind::Unknown, ""));
        let own: Vec<(&str, &str)> =
            labels.iter().filter(|(name, _)| !matches!(*name, "__name__" | "job" | "instance")).collect();
        if let Some(value) = values.first() {
            out.add(name, kind, help, &own, *value);
        }
    }
    let modified = meta.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(modified.map_or(0.0, |since| since.as_secs_f64()))
}
