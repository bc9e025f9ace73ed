//! Metrics that other programs of the machine leave in files: `*.prom`, Prometheus' text format.

use crate::host::Root;
use crate::samples::Samples;
use model::{Labels, MetricKind};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::Path;
use tracing::warn;

/// A larger file is not read: it is somebody's log.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Where Debian's node_exporter reads them.
const USUAL_FOLDER: &str = "/var/lib/prometheus/node-exporter";

/// The folder, and which of its files are left out and why, as it was said last.
pub struct Textfiles {
    folder: String,
    /// Somebody asked for this folder: it must be there.
    is_named: bool,
    wrong: Mutex<BTreeMap<String, String>>,
}

impl Textfiles {
    /// Of the usual folder where none is named.
    pub fn of(named: Option<&Path>) -> Textfiles {
        let folder = named.unwrap_or(USUAL_FOLDER.as_ref()).to_string_lossy();
        // As the machine has it: a relative path is below its root, not below where the agent was started.
        let folder = format!("/{}", folder.trim_matches('/'));
        Textfiles { folder, is_named: named.is_some(), wrong: Mutex::default() }
    }

    /// Samples carry no time of their own here: a file is as old as it says (`node_textfile_mtime_seconds`).
    pub fn collect(&self, root: &Root, out: &mut Samples) -> Option<()> {
        let folder = &self.folder;
        let mut wrong = BTreeMap::new();
        match std::fs::read_dir(root.path(folder)) {
            Err(none) if none.kind() == ErrorKind::NotFound && !self.is_named => {}
            Err(why) => _ = wrong.insert(folder.clone(), why.to_string()),
            Ok(_) => {}
        }
        for name in root.names(folder).iter().filter(|name| name.ends_with(".prom")) {
            let path = format!("{folder}/{name}");
            match read(root, &path, out) {
                Ok(modified) => {
                    let help = "Unixtime mtime of textfiles successfully read.";
                    out.gauge("node_textfile_mtime_seconds", help, &[("file", &path)], modified);
                }
                Err(why) => _ = wrong.insert(path, why),
            }
        }
        let help = "1 if there was an error opening or reading a file, 0 otherwise";
        out.gauge("node_textfile_scrape_error", help, &[], f64::from(u8::from(!wrong.is_empty())));
        self.say(wrong);
        Some(())
    }

    /// Each that is left out, and why.
    pub fn wrong(&self) -> Vec<String> {
        self.wrong.lock().iter().map(|(path, why)| format!("{path}: {why}")).collect()
    }

    /// What is new of it: each is found at every collection.
    fn say(&self, wrong: BTreeMap<String, String>) {
        let mut said = self.wrong.lock();
        for (path, why) in wrong.iter().filter(|(path, why)| said.get(*path) != Some(*why)) {
            warn!(path, why, "text files of metrics are left out");
        }
        *said = wrong;
    }
}

/// All of a file or nothing; gives when it was written.
fn read(root: &Root, path: &str, out: &mut Samples) -> Result<f64, String> {
    let meta = std::fs::metadata(root.path(path)).map_err(|wrong| wrong.to_string())?;
    // A pipe would be waited for until somebody writes to it.
    if !meta.is_file() {
        return Err("it is no regular file".into());
    }
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
    for family in &decoded.batch.metadata {
        out.describe(&family.name, family.kind, &family.help);
    }
    for (labels, _, values) in decoded.batch.iter() {
        let labels = Labels::from_bytes(labels).unwrap_or_default();
        let name = labels.metric_name();
        let (kind, help) = described.get(name).copied().unwrap_or((MetricKind::Unknown, ""));
        // As for whoever scrapes: job and instance are the target's.
        let own = labels.iter().filter(|(name, _)| *name != "__name__").map(|(name, value)| match name {
            "job" => ("exported_job", value),
            "instance" => ("exported_instance", value),
            own => (own, value),
        });
        let own: Vec<(&str, &str)> = own.collect();
        if let Some(value) = values.first() {
            out.add(name, kind, help, &own, *value);
        }
    }
    let modified = meta.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(modified.map_or(0.0, |since| since.as_secs_f64()))
}
