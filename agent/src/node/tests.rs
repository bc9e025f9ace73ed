mod suite;

use super::*;
use model::Labels;
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

fn collected(root: &Root) -> Vec<(Labels, f64)> {
    let mut samples = Samples::new(5_000_000_000, "n1", true);
    collect(root, &Textfiles::of(Some("textfile".as_ref())), &Mounts::default(), &mut samples);
    collect_dear(root, &mut samples);
    let batch = samples.finish();
    batch.iter().map(|(labels, _, values)| (Labels::from_bytes(labels).unwrap(), values[0])).collect()
}

/// A tree of /proc and /sys as a machine could have it.
fn fixture() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [
        (
            "proc/stat",
            "cpu 1 1 1 1\ncpu0 100 200 300 400 500 600 700 800 900 1000\nintr 77 1 2\nctxt 5\nbtime 1000\nprocesses 9\nprocs_running 2\nprocs_blocked 1\n",
        ),
        ("proc/loadavg", "0.5 1.5 2.5 1/100 12345\n"),
        ("proc/meminfo", "MemTotal: 1024 kB\nActive(anon): 2 kB\nHugePages_Total: 3\n"),
        ("proc/vmstat", "pgfault 10\nnr_free_pages 5\noom_kill 1\n"),
        (
            "proc/diskstats",
            " 8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n 8 1 sda1 1 2 3 4 5 6 7 8 9 10 11\n 7 0 loop0 1 1 1 1 1 1 1 1 1 1 1\n",
        ),
        (
            "proc/1/mountinfo",
            "1 0 8:0 / / rw - ext4 /dev/sda rw\n2 1 0:5 / /proc rw shared:1 - proc proc rw\n3 1 8:16 / /a\\040b rw - xfs /dev/sdb ro\n",
        ),
        ("proc/1/net/dev", "h\nh\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"),
        ("proc/1/net/snmp", "Tcp: ActiveOpens RtoMin CurrEstab\nTcp: 4 200 2\n"),
        ("proc/1/net/snmp6", "Udp6InDatagrams 6\nIp6InOctets 7\n"),
        ("proc/1/net/sockstat", "sockets: used 100\nTCP: inuse 3 orphan 0 tw 1 alloc 5 mem 2\n"),
        ("proc/pressure/io", "some avg10=0.00 total=2000000\nfull avg10=0.00 total=1000000\n"),
        ("proc/sys/fs/file-nr", "1 0 3\n"),
        ("proc/sys/kernel/hostname", "n1\n"),
    ] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let root = Root(dir.path().to_owned());
    (dir, root)
}

#[test]
fn fields_become_what_node_exporter_calls_them() {
    let (_dir, root) = fixture();
    let found = collected(&root);
    let value = |name: &str, labels: &[(&str, &str)]| {
        let series = found.iter().find(|(known, _)| {
            known.metric_name() == name && labels.iter().all(|(n, v)| known.get(n) == Some(v))
        });
        series.map(|(_, value)| *value)
    };
    assert_eq!(
        value(
            "node_cpu_seconds_total",
            &[("cpu", "0"), ("mode", "iowait"), ("job", "node"), ("instance", "n1")]
        ),
        Some(5.0)
    );
    assert_eq!(value("node_cpu_guest_seconds_total", &[("mode", "nice")]), Some(10.0));
    assert_eq!(value("node_memory_MemTotal_bytes", &[]), Some(1_048_576.0));
    assert_eq!(value("node_memory_Active_anon_bytes", &[]), Some(2048.0));
    assert_eq!(value("node_memory_HugePages_Total", &[]), Some(3.0));
    assert_eq!(value("node_vmstat_pgfault", &[]), Some(10.0));
    assert_eq!(value("node_vmstat_nr_free_pages", &[]), None);
    assert_eq!(value("node_disk_read_bytes_total", &[("device", "sda")]), Some(1536.0));
    assert_eq!(value("node_disk_read_bytes_total", &[("device", "sda1")]), None);
    assert_eq!(value("node_filesystem_size_bytes", &[("mountpoint", "/a b")]), None, "no such directory");
    assert_eq!(value("node_filesystem_readonly", &[("mountpoint", "/a b")]), Some(1.0));
    assert_eq!(value("node_filesystem_device_error", &[("mountpoint", "/a b")]), Some(1.0));
    assert_eq!(value("node_network_transmit_colls_total", &[("device", "eth0")]), Some(14.0));
    assert_eq!(value("node_netstat_Tcp_CurrEstab", &[]), Some(2.0));
    assert_eq!(value("node_netstat_Tcp_RtoMin", &[]), None);
    assert_eq!(value("node_netstat_Ip6_InOctets", &[]), Some(7.0));
    assert_eq!(value("node_sockstat_TCP_tw", &[]), Some(1.0));
    assert_eq!(value("node_pressure_io_stalled_seconds_total", &[]), Some(1.0));
    assert_eq!(value("node_filefd_maximum", &[]), Some(3.0));
    assert_eq!(value("node_load15", &[]), Some(2.5));
    assert_eq!(value("node_boot_time_seconds", &[]), Some(1000.0));
}

#[test]
fn an_empty_root_collects_what_needs_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<_> = collected(&Root(dir.path().to_owned()))
        .into_iter()
        .map(|(l, _)| l.metric_name().to_owned())
        .collect();
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let of_node: Vec<&&str> =
        names.iter().filter(|name| name.starts_with("node_") && !name.starts_with("node_timex_")).collect();
    let needed = [
        "node_exporter_build_info",
        "node_scrape_collector_duration_seconds",
        "node_scrape_collector_success",
        "node_selinux_enabled",
        "node_textfile_scrape_error",
        "node_time_seconds",
        "node_time_zone_offset_seconds",
        "node_uname_info",
    ];
    assert_eq!(of_node, needed.iter().collect::<Vec<_>>());
}

struct Exporter(Child);

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the real one says of this machine, with the labels that every metric has; `None` where it is not installed.
fn real_exporter() -> Option<BTreeSet<(String, Vec<String>)>> {
    use std::io::{BufRead, BufReader, Read, Write};
    let mut child = Command::new("prometheus-node-exporter")
        .args(["--web.listen-address=127.0.0.1:0", "--log.level=info"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .ok()?;
    let mut log = BufReader::new(child.stderr.take()?);
    let exporter = Exporter(child);
    let address = loop {
        let mut line = String::new();
        if log.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(at) = line.find("address=127.0.0.1:") {
            break line[at + 8..].split_whitespace().next()?.to_owned();
        }
    };
    let mut stream = std::net::TcpStream::connect(&address).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    drop(exporter);
    let body = text.split_once("\r\n\r\n")?.1;
    let decoded = wire::exposition::parse(body, 0).ok()?;
    Some(decoded.batch.iter().map(|(labels, _, _)| shape(&Labels::from_bytes(labels).unwrap())).collect())
}

/// Name and label names, without those that the scraper adds.
fn shape(labels: &Labels) -> (String, Vec<String>) {
    let names =
        labels.iter().map(|(name, _)| name).filter(|name| !matches!(*name, "__name__" | "job" | "instance"));
    (labels.metric_name().to_owned(), names.map(str::to_owned).collect())
}

#[test]
fn names_and_label_sets_are_those_of_the_real_exporter() {
    let Some(theirs) = real_exporter() else {
        eprintln!("prometheus-node-exporter is not here or printed no port: names are not compared");
        return;
    };
    let ours: BTreeSet<_> = collected(&Root("/".into())).iter().map(|(labels, _)| shape(labels)).collect();
    // By name: a label that is empty on this machine is not sent by us.
    // All but what the list of the absent names, and the exporter's own process.
    let wanted = |name: &str| {
        let is_of_node = name.starts_with("node_") && !name.starts_with("node_exporter_");
        is_of_node
            && !suite::ABSENT.iter().any(|absent| name.starts_with(absent) && !name.contains("network"))
    };
    let ours_by_name: BTreeSet<&str> = ours.iter().map(|(name, _)| name.as_str()).collect();
    let missing: Vec<&str> = theirs
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| wanted(name) && !ours_by_name.contains(name))
        .collect();
    assert!(missing.is_empty(), "the exporter has and we do not: {missing:?}");
    for (name, labels) in theirs.iter().filter(|(name, _)| wanted(name) && !name.ends_with("_info")) {
        assert!(ours.contains(&(name.clone(), labels.clone())), "{name}{labels:?}");
    }
}
