//! The kernel's log: who was killed, in whose group. A record of /dev/kmsg is
//! `priority,sequence,microseconds since boot,flags;text` (source: Documentation/ABI/testing/dev-kmsg).

use crate::host::Root;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// A process that was killed inside a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Victim {
    /// Nanoseconds since 1970.
    pub ts_ns: i64,
    /// Pod's uid as in its groups.
    pub uid: String,
    pub container_id: String,
    pub pid: u32,
    pub name: String,
}

/// How far the log was read: numbers begin anew with each boot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub boot_id: String,
    pub sequence: u64,
}

pub struct KernelLog {
    log: Option<OwnedFd>,
    seen: Seen,
}

impl KernelLog {
    /// Without the right to read it (CAP_SYSLOG) there is nothing in it.
    pub fn open(root: &Root, seen: Seen) -> KernelLog {
        let boot_id = root.word("proc/sys/kernel/random/boot_id").unwrap_or_default();
        let seen = if seen.boot_id == boot_id { seen } else { Seen { boot_id, sequence: 0 } };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let log = rustix::fs::open(root.path("dev/kmsg"), flags, Mode::empty());
        if let Err(wrong) = &log {
            tracing::info!(error = %wrong, "the kernel's log cannot be read; kills are known by groups and the kubelet");
        }
        KernelLog { log: log.ok(), seen }
    }

    pub fn seen(&self) -> Seen {
        self.seen.clone()
    }

    /// What was written since the last look.
    pub fn read(&mut self, now_ns: i64) -> Vec<Victim> {
        let Some(log) = &self.log else { return vec![] };
        let boot_ns = now_ns - since_boot_ns();
        let mut victims = vec![];
        // One record a read; 8 KiB hold the longest.
        let mut buffer = [0u8; 8 << 10];
        loop {
            match rustix::io::read(log, &mut buffer) {
                Ok(0) => return victims,
                Ok(read) => {
                    let text = String::from_utf8_lossy(&buffer[..read]);
                    let Some((sequence, victim)) = record(&text, boot_ns) else { continue };
                    if sequence >= self.seen.sequence {
                        self.seen.sequence = sequence + 1;
                        victims.extend(victim);
                    }
                }
                // Overrun: the next read gives the oldest that is left.
                Err(Errno::PIPE | Errno::INTR) => {}
                Err(_) => return victims,
            }
        }
    }
}

fn since_boot_ns() -> i64 {
    // The log's clock stands still while a machine sleeps.
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// A record's number, and the victim it tells of.
fn record(text: &str, boot_ns: i64) -> Option<(u64, Option<Victim>)> {
    let (head, text) = text.split_once(';')?;
    let mut fields = head.split(',').skip(1);
    let sequence = fields.next()?.parse().ok()?;
    let us: i64 = fields.next()?.parse().ok()?;
    Some((sequence, victim(text, boot_ns + us * 1_000)))
}

/// `oom-kill:constraint=…,task_memcg=/kubepods/…/pod<uid>/<id>,task=tail,pid=1513,uid=0`: once for each decision, where
/// the line `Killed process` comes twice when a whole group goes.
pub fn victim(text: &str, ts_ns: i64) -> Option<Victim> {
    let fields = text.lines().next()?.split_once("oom-kill:")?.1;
    let field = |name: &str| {
        let from = fields.find(&format!("{name}="))? + name.len() + 1;
        Some(fields[from..].split(',').next().unwrap_or(""))
    };
    let group = field("task_memcg")?;
    let mut parts = group.rsplit('/');
    let mut id = None;
    let uid = loop {
        let part = parts.next()?;
        match crate::containers::place(part, id.is_none()) {
            crate::containers::Place::Container(found) => id = Some(found),
            crate::containers::Place::Pod(uid) => break uid,
            crate::containers::Place::Other => {}
        }
    };
    Some(Victim {
        ts_ns,
        uid,
        container_id: id?,
        pid: field("pid")?.parse().ok()?,
        name: field("task")?.to_owned(),
    })
}
