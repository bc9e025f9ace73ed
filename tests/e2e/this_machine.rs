//! `binnacle up` and nothing else: this machine's telemetry within 30 s, under node_exporter's names.

use crate::server::{Peer, Server, eventually};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// One series at least of each collector that the public Node Exporter Full dashboard draws from.
const NAMES: &[&str] = &[
    "node_cpu_seconds_total",
    "node_memory_MemTotal_bytes",
    "node_memory_MemAvailable_bytes",
    "node_load1",
    "node_load5",
    "node_load15",
    "node_disk_read_bytes_total",
    "node_filesystem_size_bytes",
    "node_filesystem_avail_bytes",
    "node_network_receive_bytes_total",
    "node_vmstat_pgfault",
    "node_netstat_Tcp_CurrEstab",
    "node_sockstat_TCP_inuse",
    "node_filefd_allocated",
    "node_uname_info",
    "node_time_seconds",
    "node_boot_time_seconds",
    "node_context_switches_total",
    "node_procs_running",
    "node_memory_SwapTotal_bytes",
];

#[test]
fn up_answers_with_real_data() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("app.log");
    std::fs::write(&logs, "first line of this machine\n").unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let server = Server::start("up", &data, &["--no-web", "--log-files", logs.to_str().unwrap()]);
    for name in NAMES {
        eventually(name, || server.promql(name).first().cloned());
    }
    let modes = server.promql("count by (mode) (node_cpu_seconds_total{cpu=\"0\"})");
    assert!(modes.len() >= 8, "{modes:?}");
    // The kernel and we agree on the memory this machine has.
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total_kb: f64 = meminfo.lines().next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    let total = server.promql("node_memory_MemTotal_bytes");
    assert_eq!(total[0]["value"][1].as_str().unwrap().parse::<f64>().unwrap(), total_kb * 1024.0);
    eventually("the log line", || {
        server.sql("select body from logs where body = 'first line of this machine'").first().cloned()
    });
    let processes = eventually("processes", || {
        let rows = server.promql("topk(3, binnacle_process_resident_memory_bytes)");
        (!rows.is_empty()).then_some(rows)
    });
    assert!(processes.len() <= 3);
}

/// A query looks back for five minutes: without a marker the series would stay for as long.
#[test]
fn a_series_ends_with_the_file_that_told_it() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("backup.prom");
    std::fs::write(&file, "backup_done 1\n").unwrap();
    let folder = files.path().to_str().unwrap();
    let server =
        Server::up(&["--no-alerts", "--no-web", "--collect-interval", "1s", "--textfile-dir", folder]);
    eventually("a series of the file", || server.promql("backup_done").first().cloned());
    std::fs::remove_file(&file).unwrap();
    eventually("its end", || server.promql("backup_done").is_empty().then_some(()));
    std::fs::write(&file, "backup_done 2\n").unwrap();
    eventually("its return", || server.promql("backup_done == 2").first().cloned());
}

#[test]
fn top_in_a_pipe_is_plain_text_and_ends_with_its_reader() {
    let server = Server::bare();
    let mut top = Command::new(env!("CARGO_BIN_EXE_binnacle"));
    top.args(["agent", "top", "--every", "0.2", "--server", &server.url("")]).stdout(Stdio::piped());
    let mut top = Peer(top.spawn().unwrap());
    let mut lines = BufReader::new(top.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    assert!(first[0].starts_with("process ") && first.len() > 3, "{first:?}");
    assert!(!first.concat().contains('\x1b'), "{first:?}");
    assert!(lines.next().unwrap().starts_with("process "), "one table below the other");
    drop(lines);
    let ended = eventually("the end of top", || top.0.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
}
