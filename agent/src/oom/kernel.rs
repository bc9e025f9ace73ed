//! The kernel's log: who was killed, in whose group. A record of /dev/kmsg is
//! `priority,sequence,microseconds since boot,flags;text` (source: Documentation/ABI/testing/dev-kmsg).
//!
//! A container may not open that device unless it is privileged, whatever capabilities it has. With CAP_SYSLOG it may ask
//! by syslog(2) instead, which tells the same lines as `<6>[12345.678901] text`, all that are kept at each call.

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
    /// Of what syslog(2) told: microseconds since boot.
    #[serde(default)]
    pub us: i64,
}

/// The log is kept in so much memory at most; what is older is lost in any case.
const RING_BYTES_MAX: usize = 8 << 20;

enum Door {
    Device(OwnedFd),
    Call,
    None,
}

pub struct KernelLog {
    door: Door,
    seen: Seen,
}

impl KernelLog {
    /// Without the right to read it (CAP_SYSLOG) there is nothing in it.
    pub fn open(root: &Root, seen: Seen) -> KernelLog {
        let boot_id = root.word("proc/sys/kernel/random/boot_id").unwrap_or_default();
        let seen = if seen.boot_id == boot_id { seen } else { Seen { boot_id, ..Seen::default() } };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let door = match rustix::fs::open(root.path("dev/kmsg"), flags, Mode::empty()) {
            Ok(log) => Door::Device(log),
            // A folder of a test is no machine.
            Err(Errno::PERM | Errno::ACCESS) if ring().is_some() => Door::Call,
            Err(wrong) => {
                tracing::info!(error = %wrong, "the kernel's log cannot be read; kills are known by groups and the kubelet");
                Door::None
            }
        };
        KernelLog { door, seen }
    }

    pub fn seen(&self) -> Seen {
        self.seen.clone()
    }

    /// What was written since the last look.
    pub fn read(&mut self, now_ns: i64) -> Vec<Victim> {
        let boot_ns = now_ns - since_boot_ns();
        match &self.door {
            Door::Device(log) => records(log, boot_ns, &mut self.seen),
            Door::Call => ring()
                .map_or(vec![], |bytes| lines(&String::from_utf8_lossy(&bytes), boot_ns, &mut self.seen)),
            Door::None => vec![],
        }
    }
}

fn records(log: &OwnedFd, boot_ns: i64, seen: &mut Seen) -> Vec<Victim> {
    let mut victims = vec![];
    // One record a read; 8 KiB hold the longest.
    let mut buffer = [0u8; 8 << 10];
    loop {
        match rustix::io::read(log, &mut buffer) {
            Ok(0) => return victims,
            Ok(read) => {
                let text = String::from_utf8_lossy(&buffer[..read]);
                let Some((sequence, victim)) = record(&text, boot_ns) else { continue };
                if sequence >= seen.sequence {
                    seen.sequence = sequence + 1;
                    victims.extend(victim);
                }
            }
            // Overrun: the next read gives the oldest that is left.
            Err(Errno::PIPE | Errno::INTR) => {}
            Err(_) => return victims,
        }
    }
}

/// All that the kernel keeps of its log; nothing without the right to it.
#[allow(unsafe_code)]
fn ring() -> Option<Vec<u8>> {
    const READ_ALL: i32 = 3;
    const SIZE_BUFFER: i32 = 10;
    // SAFETY: no buffer is asked for or written to.
    let size = unsafe { libc::klogctl(SIZE_BUFFER, std::ptr::null_mut(), 0) };
    let mut bytes = vec![0u8; usize::try_from(size).ok()?.min(RING_BYTES_MAX)];
    let room = i32::try_from(bytes.len()).ok()?;
    // SAFETY: the buffer has `room` bytes, and the call writes no more than it is told.
    let read = unsafe { libc::klogctl(READ_ALL, bytes.as_mut_ptr().cast(), room) };
    bytes.truncate(usize::try_from(read).ok()?);
    Some(bytes)
}

/// Of lines with their times; those that are not newer than what was seen were told.
fn lines(text: &str, boot_ns: i64, seen: &mut Seen) -> Vec<Victim> {
    let mut victims = vec![];
    let before = seen.us;
    for line in text.lines() {
        let Some((us, text)) = timed(line) else { continue };
        if us > before {
            seen.us = seen.us.max(us);
            victims.extend(victim(text, boot_ns.saturating_add(us.saturating_mul(1_000))));
        }
    }
    victims
}

/// `<6>[  123.456789] text`, where times are printed; some kernels say who wrote it in brackets of their own behind the time.
fn timed(line: &str) -> Option<(i64, &str)> {
    let (time, text) = line.split_once('[')?.1.split_once(']')?;
    let (seconds, micros) = time.trim().split_once('.')?;
    let seconds = seconds.parse::<i64>().ok()?.checked_mul(1_000_000)?;
    Some((seconds.checked_add(micros.parse().ok()?)?, text))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_call_are_told_once() {
        let killed = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=a,mems_allowed=0,oom_memcg=/kubepods/x,\
            task_memcg=/kubepods/burstable/pod3c7b1c4e-4f4e-4a39-9f0a-1d8f2ff0f6a1/\
            0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef,task=sh,pid=1513,uid=0";
        let text =
            format!("<6>[    9.000001] eth0: up\n<6>[  100.000002][   T42] {killed}\nno line\n<3>[  x] y\n");
        let mut seen = Seen::default();
        let victims = lines(&text, 1_000, &mut seen);
        assert_eq!(victims.len(), 1);
        assert_eq!((victims[0].pid, victims[0].ts_ns, seen.us), (1513, 1_000 + 100_000_002_000, 100_000_002));
        assert_eq!(lines(&text, 1_000, &mut seen), []);
    }
}
