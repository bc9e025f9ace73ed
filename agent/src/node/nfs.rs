//! NFS as a client and as a server: what the kernel counts of calls by their procedure (names: RFC 1094, 1813, 7530, as
//! node_exporter writes them). A file has lines that begin with what they count; what stands where on a line is fixed.

use crate::host::Root;
use crate::samples::Samples;

const VERSION_2: &[&str] = &[
    "Null", "GetAttr", "SetAttr", "Root", "Lookup", "ReadLink", "Read", "WrCache", "Write", "Create",
    "Remove", "Rename", "Link", "SymLink", "MkDir", "RmDir", "ReadDir", "FsStat",
];

const VERSION_3: &[&str] = &[
    "Null",
    "GetAttr",
    "SetAttr",
    "Lookup",
    "Access",
    "ReadLink",
    "Read",
    "Write",
    "Create",
    "MkDir",
    "SymLink",
    "MkNod",
    "Remove",
    "RmDir",
    "Rename",
    "Link",
    "ReadDir",
    "ReadDirPlus",
    "FsStat",
    "FsInfo",
    "PathConf",
    "Commit",
];

/// What a client of version 4 asks for, in the kernel's order.
const CLIENT_4: &[&str] = &[
    "Null",
    "Read",
    "Write",
    "Commit",
    "Open",
    "OpenConfirm",
    "OpenNoattr",
    "OpenDowngrade",
    "Close",
    "Setattr",
    "FsInfo",
    "Renew",
    "SetClientID",
    "SetClientIDConfirm",
    "Lock",
    "Lockt",
    "Locku",
    "Access",
    "Getattr",
    "Lookup",
    "LookupRoot",
    "Remove",
    "Rename",
    "Link",
    "Symlink",
    "Create",
    "Pathconf",
    "StatFs",
    "ReadLink",
    "ReadDir",
    "ServerCaps",
    "DelegReturn",
    "GetACL",
    "SetACL",
    "FsLocations",
    "ReleaseLockowner",
    "Secinfo",
    "FsidPresent",
    "ExchangeID",
    "CreateSession",
    "DestroySession",
    "Sequence",
    "GetLeaseTime",
    "ReclaimComplete",
    "GetDeviceInfo",
    "LayoutGet",
    "LayoutCommit",
    "LayoutReturn",
    "SecinfoNoName",
    "TestStateID",
    "FreeStateID",
    "GetDeviceList",
    "BindConnToSession",
    "DestroyClientID",
    "Seek",
    "Allocate",
    "DeAllocate",
    "LayoutStats",
    "Clone",
];

/// Operations that a server of version 4 carries out, by their number in the RFC; without a name they are not told.
const SERVER_4: &[&str] = &[
    "",
    "",
    "",
    "Access",
    "Close",
    "Commit",
    "Create",
    "DelegPurge",
    "DelegReturn",
    "GetAttr",
    "GetFH",
    "Link",
    "Lock",
    "Lockt",
    "Locku",
    "Lookup",
    "LookupRoot",
    "Nverify",
    "Open",
    "OpenAttr",
    "OpenConfirm",
    "OpenDgrd",
    "PutFH",
    "",
    "",
    "Read",
    "ReadDir",
    "ReadLink",
    "Remove",
    "Rename",
    "Renew",
    "RestoreFH",
    "SaveFH",
    "SecInfo",
    "SetAttr",
    "SetClientID",
    "SetClientIDConfirm",
    "Verify",
    "Write",
    "RelLockOwner",
];

/// The numbers of a line.
struct Counts(Vec<(String, Vec<f64>)>);

impl Counts {
    fn of(text: &str) -> Counts {
        let lines = text.lines().map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default().to_owned();
            (name, words.filter_map(|word| word.parse().ok()).collect())
        });
        Counts(lines.collect())
    }

    fn line(&self, name: &str) -> &[f64] {
        self.0.iter().find(|(known, _)| known == name).map_or(&[], |(_, numbers)| numbers)
    }

    /// A kernel that does not know a field leaves it out at the end of the line: it was never counted.
    fn at(&self, name: &str, place: usize) -> f64 {
        self.line(name).get(place).copied().unwrap_or(0.0)
    }

    /// Calls by procedure; the line begins with how many follow.
    fn calls(&self, line: &str, names: &[&str], of: (&str, &str, &str), out: &mut Samples) {
        let (metric, help, version) = of;
        if self.line(line).is_empty() {
            return;
        }
        for (place, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            out.counter(metric, help, &[("proto", version), ("method", name)], self.at(line, place + 1));
        }
    }
}

pub fn nfs(root: &Root, out: &mut Samples) -> Option<()> {
    let counts = Counts::of(&root.net("rpc/nfs")?);
    for (protocol, place) in [("udp", 1), ("tcp", 2)] {
        let help = "Total NFSd network packets (sent+received) by protocol type.";
        out.counter("node_nfs_packets_total", help, &[("protocol", protocol)], counts.at("net", place));
    }
    for (name, help, line, place) in [
        ("connections_total", "Total number of NFSd TCP connections.", "net", 3),
        ("rpcs_total", "Total number of RPCs performed.", "rpc", 0),
        ("rpc_retransmissions_total", "Number of RPC transmissions performed.", "rpc", 1),
        ("rpc_authentication_refreshes_total", "Number of RPC authentication refreshes performed.", "rpc", 2),
    ] {
        out.counter(&format!("node_nfs_{name}"), help, &[], counts.at(line, place));
    }
    const REQUESTS: (&str, &str) = ("node_nfs_requests_total", "Number of NFS procedures invoked.");
    for (line, names, version) in
        [("proc2", VERSION_2, "2"), ("proc3", VERSION_3, "3"), ("proc4", CLIENT_4, "4")]
    {
        counts.calls(line, names, (REQUESTS.0, REQUESTS.1, version), out);
    }
    Some(())
}

pub fn nfsd(root: &Root, out: &mut Samples) -> Option<()> {
    let counts = Counts::of(&root.net("rpc/nfsd")?);
    for (name, help, line, place) in [
        (
            "reply_cache_hits_total",
            "Total number of NFSd Reply Cache hits (client lost server response).",
            "rc",
            0,
        ),
        (
            "reply_cache_misses_total",
            "Total number of NFSd Reply Cache an operation that requires caching (idempotent).",
            "rc",
            1,
        ),
        (
            "reply_cache_nocache_total",
            "Total number of NFSd Reply Cache non-idempotent operations (rename/delete/…).",
            "rc",
            2,
        ),
        ("file_handles_stale_total", "Total number of NFSd stale file handles", "fh", 0),
        ("disk_bytes_read_total", "Total NFSd bytes read.", "io", 0),
        ("disk_bytes_written_total", "Total NFSd bytes written.", "io", 1),
        ("read_ahead_cache_not_found_total", "Total number of NFSd read ahead cache not found.", "ra", 11),
        ("connections_total", "Total number of NFSd TCP connections.", "net", 3),
        ("server_rpcs_total", "Total number of NFSd RPCs.", "rpc", 0),
    ] {
        out.counter(&format!("node_nfsd_{name}"), help, &[], counts.at(line, place));
    }
    let help = "Total number of NFSd kernel threads that are running.";
    out.gauge("node_nfsd_server_threads", help, &[], counts.at("th", 0));
    let help = "How large the read ahead cache is in blocks.";
    out.gauge("node_nfsd_read_ahead_cache_size_blocks", help, &[], counts.at("ra", 0));
    for (protocol, place) in [("udp", 1), ("tcp", 2)] {
        let help = "Total NFSd network packets (sent+received) by protocol type.";
        out.counter("node_nfsd_packets_total", help, &[("proto", protocol)], counts.at("net", place));
    }
    for (error, place) in [("fmt", 2), ("auth", 3), ("cInt", 4)] {
        let help = "Total number of NFSd RPC errors by error type.";
        out.counter("node_nfsd_rpc_errors_total", help, &[("error", error)], counts.at("rpc", place));
    }
    const REQUESTS: (&str, &str) =
        ("node_nfsd_requests_total", "Total number NFSd Requests by method and protocol.");
    // A server's calls that do nothing are not told.
    for (line, names, version) in [
        ("proc2", without_null(VERSION_2), "2"),
        ("proc3", without_null(VERSION_3), "3"),
        ("proc4ops", SERVER_4.to_vec(), "4"),
    ] {
        counts.calls(line, &names, (REQUESTS.0, REQUESTS.1, version), out);
    }
    let labels = [("proto", "4"), ("method", "WdelegGetattr")];
    out.counter(REQUESTS.0, REQUESTS.1, &labels, counts.at("wdeleg_getattr", 0));
    Some(())
}

fn without_null(names: &[&'static str]) -> Vec<&'static str> {
    names.iter().map(|name| if *name == "Null" { "" } else { name }).collect()
}
