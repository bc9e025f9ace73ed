//! The journal of systemd: real journal files, written by `systemd-journal-remote` and read through `journalctl`.

use crate::server::{Server, eventually, now_ms, program};
use serde_json::Value;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};

const MACHINE: &str = "0123456789abcdef0123456789abcdef";

/// Adds entries to a journal file, in the export format. Every seventh message is two lines and no UTF-8.
pub fn write(journal: &Path, entries: Range<i64>) {
    // Debian has it beside the other servants of systemd, not where programs are looked for.
    let writer = Path::new("/lib/systemd/systemd-journal-remote");
    assert!(writer.is_file(), "systemd-journal-remote is not installed; run tests/setup.sh");
    let mut export = vec![];
    for n in entries {
        let priority = if n % 10 == 0 { 3 } else { 6 };
        let message = match n % 7 {
            0 => [format!("entry {n:05}\nsecond line ").as_bytes(), &[0xff]].concat(),
            _ => format!("entry {n:05}").into_bytes(),
        };
        write!(
            export,
            "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={MACHINE}\n_MACHINE_ID={MACHINE}\n\
             PRIORITY={priority}\nSYSLOG_IDENTIFIER=shop\n_SYSTEMD_UNIT=shop.service\n_PID=42\nMESSAGE\n",
            now_ms() * 1_000 + n,
            1_000_000 + n,
        )
        .unwrap();
        export.extend_from_slice(&(message.len() as u64).to_le_bytes());
        export.extend_from_slice(&message);
        export.extend_from_slice(b"\n\n");
    }
    let mut child = Command::new(writer)
        .arg("--output")
        .arg(journal)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&export).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_journal_is_read_once_through_a_kill() {
    program("journalctl");
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("var/log/journal").join(MACHINE);
    std::fs::create_dir_all(&folder).unwrap();
    let journal = folder.join("system.journal");
    write(&journal, 0..300);
    let server = Server::bare();
    let data = tempfile::tempdir().unwrap();
    let (ingest, root) = (server.url(""), root.path().to_str().unwrap());
    let flags = ["--ingest", &ingest, "--host-root", root, "--log-files", "/none", "--textfile-dir", "/none"];
    let arrived = |expected: i64| {
        eventually(&format!("{expected} entries"), || {
            let rows = server.sql("select count(*) as n, count(distinct body) as different from logs");
            let (n, different) = (rows[0]["n"].as_i64()?, rows[0]["different"].as_i64()?);
            assert_eq!(n, different, "an entry is there twice");
            (n == expected).then_some(())
        });
    };
    let agent = Server::start("agent", data.path(), &flags);
    arrived(300);
    write(&journal, 300..500);
    arrived(500);
    agent.kill();
    write(&journal, 500..600);
    let _agent = Server::start("agent", data.path(), &flags);
    arrived(600);
    let rows = server.sql(
        "select body, service, severity, label(labels, 'unit') as unit, attr(attributes, 'process.pid') as pid \
         from logs where starts_with(body, 'entry 00560')",
    );
    let expected = serde_json::json!({ "body": "entry 00560\nsecond line \u{fffd}", "service": "shop",
        "severity": "error", "unit": "shop.service", "pid": "42" });
    assert_eq!(rows, [expected] as [Value; 1]);
}
