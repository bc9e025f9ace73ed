//! The journal of systemd, read through `journalctl`, which knows its files' format in every version.

use super::line::LINE_BYTES_MAX;
use crate::host::Host;
use crate::panics::Panics;
use model::{Labels, LogBatch, LogRecord, LogStream};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

/// Entries between the reader and the loop; past it the reader waits.
const ENTRIES_MAX: usize = 1_000;

/// Entries from before the first start.
const FIRST_ENTRIES: &str = "--lines=1000";

/// Text that is taken of them at one time, about.
const TAKEN_BYTES: usize = 1 << 20;

/// An entry is JSON around its message, whose bytes may be written as numbers.
const ENTRY_BYTES_MAX: u64 = 8 * LINE_BYTES_MAX as u64;

/// After an end; doubled while no entry came, as where the folder is there and nobody writes a journal.
const RESTART: Duration = Duration::from_secs(10);
const RESTART_MAX: Duration = Duration::from_secs(320);

pub struct Journal {
    entries: mpsc::Receiver<Entry>,
    arrived: Arc<Notify>,
    host: Arc<Host>,
    /// Nobody reads on for whom nobody takes entries.
    _reading: DropGuard,
}

pub(super) struct Entry {
    pub(super) cursor: String,
    pub(super) unit: String,
    pub(super) identifier: String,
    pub(super) record: LogRecord,
}

impl Journal {
    /// Where there is a journal and a `journalctl`; otherwise nothing ever arrives.
    pub fn start(
        host: &Arc<Host>,
        cursor: Option<String>,
        panics: Panics,
        stop: &CancellationToken,
    ) -> Journal {
        let (sender, entries) = mpsc::channel(ENTRIES_MAX);
        let (arrived, stop) = (Arc::new(Notify::new()), stop.child_token());
        let (host, _reading) = (host.clone(), stop.clone().drop_guard());
        let folders = ["var/log/journal", "run/log/journal"].map(|folder| host.root.path(folder));
        if let Some(folder) = folders.into_iter().find(|folder| folder.is_dir()) {
            let cursor = Arc::new(Mutex::new(cursor));
            let (arrived, until) = (arrived.clone(), stop.clone());
            let begin = move || {
                let to = (sender.clone(), arrived.clone());
                follow(folder.clone(), cursor.clone(), to, until.clone())
            };
            tokio::spawn(panics.begun_anew("journal", stop, begin));
        }
        Journal { entries, arrived, host, _reading }
    }

    /// Returns once an entry may be there.
    pub async fn waiting(&self) {
        self.arrived.notified().await;
    }

    /// Adds what has arrived, and gives the cursor behind it.
    pub fn take_into(&mut self, batch: &mut LogBatch) -> Option<String> {
        let mut cursor = None;
        let mut by_unit: HashMap<(String, String), Vec<LogRecord>> = HashMap::new();
        let mut bytes = 0;
        while let Ok(entry) = self.entries.try_recv() {
            bytes += entry.record.body.len() + 64;
            cursor = Some(entry.cursor);
            by_unit.entry((entry.unit, entry.identifier)).or_default().push(entry.record);
            if bytes >= TAKEN_BYTES {
                // There may be more, of which nobody tells again.
                self.arrived.notify_one();
                break;
            }
        }
        for ((unit, identifier), records) in by_unit {
            let service = if unit.is_empty() { &identifier } else { &unit };
            let labels = Labels::from_pairs([
                ("job", "systemd-journal"),
                ("unit", unit.as_str()),
                ("service_name", service.strip_suffix(".service").unwrap_or(service)),
                ("node", &self.host.name),
            ]);
            let (labels, resource) = self.host.named((labels, vec![]));
            batch.streams.push(LogStream { labels, resource, records });
        }
        cursor
    }
}

/// Of the last entry that was handed over.
type Cursor = Arc<Mutex<Option<String>>>;

/// Keeps one `journalctl` running; it ends when journal files are damaged or removed under it.
async fn follow(
    folder: PathBuf,
    cursor: Cursor,
    (entries, arrived): (mpsc::Sender<Entry>, Arc<Notify>),
    stop: CancellationToken,
) {
    let mut wait = RESTART;
    while !stop.is_cancelled() {
        let before = cursor.lock().clone();
        tokio::select! {
            ended = run(&folder, &cursor, &entries, &arrived) => match ended {
                Err(wrong) if wrong.kind() == std::io::ErrorKind::NotFound => {
                    info!("there is a journal and no journalctl: it is not read");
                    return;
                }
                Err(wrong) => warn!(error = %wrong, "journalctl ended; it is started again"),
                Ok(()) => {}
            },
            () = stop.cancelled() => return,
        }
        wait = if *cursor.lock() == before { (wait * 2).min(RESTART_MAX) } else { RESTART };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn run(
    folder: &PathBuf,
    cursor: &Cursor,
    entries: &mpsc::Sender<Entry>,
    arrived: &Notify,
) -> std::io::Result<()> {
    let mut command = Command::new("journalctl");
    command.arg("--directory").arg(folder).args(["--output=json", "--follow", "--all", "--quiet"]);
    match &*cursor.lock() {
        Some(cursor) => command.arg(format!("--after-cursor={cursor}")).arg("--no-tail"),
        None => command.arg(FIRST_ENTRIES),
    };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let Some(stdout) = child.stdout.take() else { return Ok(()) };
    let mut reader = BufReader::new(stdout);
    let mut line = vec![];
    let mut skipping = false;
    loop {
        line.clear();
        if (&mut reader).take(ENTRY_BYTES_MAX).read_until(b'\n', &mut line).await? == 0 {
            child.wait().await?;
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        // The rest of an entry that is too long is no entry.
        if !std::mem::replace(&mut skipping, !whole)
            && let Some(entry) = parse(&line)
        {
            let behind = entry.cursor.clone();
            if entries.send(entry).await.is_err() {
                return Ok(());
            }
            *cursor.lock() = Some(behind);
            arrived.notify_one();
        }
    }
}

pub(super) fn parse(line: &[u8]) -> Option<Entry> {
    let entry: Value = serde_json::from_slice(line).ok()?;
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    let time_us: i64 = text("__REALTIME_TIMESTAMP").parse().ok()?;
    let mut body = message(entry.get("MESSAGE")?);
    let cut = body.len() > LINE_BYTES_MAX;
    body.truncate(LINE_BYTES_MAX);
    let mut record = super::line::record(time_us.checked_mul(1_000)?, body, cut);
    record.severity = text("PRIORITY").parse().map_or(0, model::level::of_syslog);
    let pid = text("_PID");
    if !pid.is_empty() {
        record.attributes.push(("process.pid".into(), pid.into()));
    }
    Some(Entry {
        cursor: text("__CURSOR"),
        unit: text("_SYSTEMD_UNIT"),
        identifier: text("SYSLOG_IDENTIFIER"),
        record,
    })
}

/// Text, or an array of bytes where it is not UTF-8.
fn message(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Array(bytes) => bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect(),
        _ => vec![],
    }
}
