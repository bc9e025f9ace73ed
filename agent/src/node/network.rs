//! Devices, protocols, sockets.

use crate::host::Root;
use crate::samples::Samples;
use std::collections::BTreeMap;

const RECEIVE: [&str; 8] = ["bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast"];
const TRANSMIT: [&str; 8] = ["bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed"];

/// Columns of /proc/net/dev, and one counter that is only in /sys.
pub fn netdev(root: &Root, out: &mut Samples) -> Option<()> {
    for line in root.net("dev")?.lines().skip(2) {
        let Some((device, rest)) = line.split_once(':') else { continue };
        let device = device.trim();
        let numbers: Vec<f64> = rest.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        let fields = RECEIVE
            .map(|field| ("receive", field))
            .into_iter()
            .chain(TRANSMIT.map(|field| ("transmit", field)));
        for ((way, field), number) in fields.zip(numbers) {
            let help = format!("Network device statistic {way}_{field}.");
            out.counter(&format!("node_network_{way}_{field}_total"), &help, &[("device", device)], number);
        }
        if let Some(packets) = root.number(&format!("sys/class/net/{device}/statistics/rx_nohandler")) {
            let help = "Network device statistic receive_nohandler.";
            out.counter("node_network_receive_nohandler_total", help, &[("device", device)], packets);
        }
    }
    Some(())
}

/// Properties of devices: file, metric, what it is multiplied by. A property that the kernel does not have for a device
/// has no file, or one that cannot be read.
const PROPERTIES: [(&str, &str, f64); 15] = [
    ("addr_assign_type", "address_assign_type", 1.0),
    ("carrier", "carrier", 1.0),
    ("dev_id", "device_id", 1.0),
    ("dormant", "dormant", 1.0),
    ("flags", "flags", 1.0),
    ("ifindex", "iface_id", 1.0),
    ("iflink", "iface_link", 1.0),
    ("link_mode", "iface_link_mode", 1.0),
    ("mtu", "mtu_bytes", 1.0),
    ("name_assign_type", "name_assign_type", 1.0),
    ("netdev_group", "net_dev_group", 1.0),
    // Megabits a second; -1 where it is not known, as node_exporter says too.
    ("speed", "speed_bytes", 125_000.0),
    ("tx_queue_len", "transmit_queue_length", 1.0),
    ("type", "protocol_type", 1.0),
    ("carrier_changes", "carrier_changes_total", 1.0),
];

const IFF_UP: u64 = 1;

pub fn netclass(root: &Root, out: &mut Samples) -> Option<()> {
    let devices = root.names("sys/class/net");
    if devices.is_empty() {
        return None;
    }
    for device in devices {
        let file = |name: &str| root.word(&format!("sys/class/net/{device}/{name}"));
        let text = |name: &str| file(name).unwrap_or_default();
        // Files beside the devices' folders, such as `bonding_masters`, are no devices.
        let Some(state) = file("operstate") else { continue };
        let labels = [("device", device.as_str())];
        let is_up = f64::from(u8::from(state == "up"));
        out.gauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.", &labels, is_up);
        let flags = file("flags").and_then(|flags| hexadecimal(&flags));
        let admin = match flags {
            Some(flags) if flags & IFF_UP != 0 => "up",
            Some(_) => "down",
            None => "unknown",
        };
        let (address, broadcast, duplex, alias) =
            (text("address"), text("broadcast"), text("duplex"), text("ifalias"));
        let info = [
            ("device", device.as_str()),
            ("operstate", &state),
            ("adminstate", admin),
            ("address", &address),
            ("broadcast", &broadcast),
            ("duplex", &duplex),
            ("ifalias", &alias),
        ];
        let help = "Non-numeric data from /sys/class/net/<iface>, value is always 1.";
        out.gauge("node_network_info", help, &info, 1.0);
        for (name, metric, factor) in PROPERTIES {
            let Some(number) = file(name).and_then(|text| number(&text)) else { continue };
            property(metric, &labels, number * factor, out);
        }
        for (name, metric) in [
            ("carrier_up_count", "carrier_up_changes_total"),
            ("carrier_down_count", "carrier_down_changes_total"),
        ] {
            if let Some(number) = file(name).and_then(|text| number(&text)) {
                property(metric, &labels, number, out);
            }
        }
    }
    Some(())
}

fn property(name: &str, labels: &[(&str, &str)], value: f64, out: &mut Samples) {
    let (metric, help) = (format!("node_network_{name}"), format!("Network device property: {name}"));
    if name.ends_with("_total") {
        out.counter(&metric, &help, labels, value);
    } else {
        out.gauge(&metric, &help, labels, value);
    }
}

/// Decimal, or hexadecimal with its `0x`.
fn number(text: &str) -> Option<f64> {
    match hexadecimal(text) {
        Some(number) => Some(number as f64),
        None => text.parse().ok(),
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// A line of names and below it a line of numbers, each begun with the protocol's name; snmp6 has one pair a line.
pub fn netstat(root: &Root, out: &mut Samples) -> Option<()> {
    let mut found = None;
    for file in ["netstat", "snmp"] {
        let Some(text) = root.net(file) else { continue };
        found = Some(());
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks_exact(2) {
            let (Some((protocol, names)), Some((_, numbers))) =
                (pair[0].split_once(':'), pair[1].split_once(':'))
            else {
                continue;
            };
            for (name, number) in names.split_ascii_whitespace().zip(numbers.split_ascii_whitespace()) {
                statistic(protocol, name, number, out);
            }
        }
    }
    for line in root.net("snmp6").unwrap_or_default().lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(field), Some(number)) = (words.next(), words.next()) else { continue };
        if let Some(at) = field.find('6') {
            statistic(&field[..=at], &field[at + 1..], number, out);
        }
    }
    found
}

fn statistic(protocol: &str, name: &str, number: &str, out: &mut Samples) {
    let kept = name == "InErrors"
        || name == "InErrs"
        || match protocol {
            "Ip" => name == "Forwarding",
            "Ip6" | "IpExt" => matches!(name, "InOctets" | "OutOctets"),
            "Icmp" | "Icmp6" => matches!(name, "InMsgs" | "OutMsgs"),
            "TcpExt" => {
                name.starts_with("Listen")
                    || name.starts_with("Syncookies")
                    || matches!(name, "TCPSynRetrans" | "TCPTimeouts" | "TCPOFOQueue" | "TCPRcvQDrop")
            }
            "Tcp" => matches!(
                name,
                "ActiveOpens"
                    | "InSegs"
                    | "OutSegs"
                    | "OutRsts"
                    | "PassiveOpens"
                    | "RetransSegs"
                    | "CurrEstab"
            ),
            "Udp" | "Udp6" => {
                matches!(name, "InDatagrams" | "OutDatagrams" | "NoPorts" | "RcvbufErrors" | "SndbufErrors")
            }
            _ => false,
        };
    if let (true, Ok(number)) = (kept, number.parse()) {
        let help = format!("Statistic {protocol}{name}.");
        out.untyped(&format!("node_netstat_{protocol}_{name}"), &help, &[], number);
    }
}

/// `mem` is in pages; node_exporter gives it in bytes, too.
pub fn sockstat(root: &Root, out: &mut Samples) -> Option<()> {
    let mut found = None;
    for (file, version) in [("sockstat", "IPv4"), ("sockstat6", "IPv6")] {
        let Some(text) = root.net(file) else { continue };
        found = Some(());
        for line in text.lines() {
            let Some((protocol, rest)) = line.split_once(':') else { continue };
            let words: Vec<&str> = rest.split_ascii_whitespace().collect();
            for pair in words.chunks_exact(2) {
                let Ok(number) = pair[1].parse::<f64>() else { continue };
                if protocol == "sockets" {
                    let help = format!("Number of {version} sockets in use.");
                    out.gauge("node_sockstat_sockets_used", &help, &[], number);
                    continue;
                }
                let help = format!("Number of {protocol} sockets in state {}.", pair[0]);
                let name = format!("node_sockstat_{protocol}_{}", pair[0]);
                out.gauge(&name, &help, &[], number);
                if pair[0] == "mem" {
                    let help = format!("Number of {protocol} sockets in state mem_bytes.");
                    out.gauge(&format!("{name}_bytes"), &help, &[], number * super::page_bytes());
                }
            }
        }
    }
    found
}

/// One line a CPU, hexadecimal. Older kernels write fewer columns; the CPU's own number is the thirteenth.
pub fn softnet(root: &Root, out: &mut Samples) -> Option<()> {
    const COLUMNS: [(usize, &str, &str); 6] = [
        (0, "processed_total", "Number of processed packets"),
        (1, "dropped_total", "Number of dropped packets"),
        (2, "times_squeezed_total", "Number of times processing packets ran out of quota"),
        (
            8,
            "cpu_collision_total",
            "Number of collision occur while obtaining device lock while transmitting",
        ),
        (9, "received_rps_total", "Number of times cpu woken up received_rps"),
        (10, "flow_limit_count_total", "Number of times flow limit has been reached"),
    ];
    for (line_number, line) in root.text("proc/net/softnet_stat")?.lines().enumerate() {
        let numbers: Vec<u64> =
            line.split_ascii_whitespace().filter_map(|word| u64::from_str_radix(word, 16).ok()).collect();
        let cpu = numbers.get(12).map_or(line_number as u64, |cpu| *cpu).to_string();
        let labels = [("cpu", &*cpu)];
        for (column, name, help) in COLUMNS {
            let value = numbers.get(column).copied().unwrap_or(0);
            out.counter(&format!("node_softnet_{name}"), help, &labels, value as f64);
        }
        let backlog = numbers.get(11).copied().unwrap_or(0);
        out.gauge("node_softnet_backlog_len", "Softnet backlog status", &labels, backlog as f64);
    }
    Some(())
}

pub fn arp(root: &Root, out: &mut Samples) -> Option<()> {
    let mut by_device: BTreeMap<String, f64> = BTreeMap::new();
    for line in root.net("arp")?.lines().skip(1) {
        if let Some(device) = line.split_ascii_whitespace().nth(5) {
            *by_device.entry(device.to_owned()).or_default() += 1.0;
        }
    }
    for (device, entries) in by_device {
        out.gauge("node_arp_entries", "ARP entries by device", &[("device", &device)], entries);
    }
    Some(())
}

/// Without the module there are no files. Statistics have a line a CPU under a line of names.
pub fn conntrack(root: &Root, out: &mut Samples) -> Option<()> {
    const STATISTICS: [(&str, &str); 8] = [
        ("found", "Number of searched entries which were successful."),
        ("invalid", "Number of packets seen which can not be tracked."),
        ("ignore", "Number of packets seen which are already connected to a conntrack entry."),
        ("insert", "Number of entries inserted into the list."),
        ("insert_failed", "Number of entries for which list insertion was attempted but failed."),
        ("drop", "Number of packets dropped due to conntrack failure."),
        (
            "early_drop",
            "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
        ),
        (
            "search_restart",
            "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
        ),
    ];
    let number = |file: &str| root.number(&format!("proc/sys/net/netfilter/{file}"));
    let help = "Number of currently allocated flow entries for connection tracking.";
    out.gauge("node_nf_conntrack_entries", help, &[], number("nf_conntrack_count")?);
    let help = "Maximum size of connection tracking table.";
    out.gauge("node_nf_conntrack_entries_limit", help, &[], number("nf_conntrack_max")?);
    let text = root.net("stat/nf_conntrack")?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split_ascii_whitespace().collect();
    let mut sums = vec![0u64; names.len()];
    for line in lines {
        for (sum, word) in sums.iter_mut().zip(line.split_ascii_whitespace()) {
            *sum = sum.wrapping_add(u64::from_str_radix(word, 16).unwrap_or(0));
        }
    }
    for (name, help) in STATISTICS {
        if let Some(at) = names.iter().position(|known| *known == name) {
            out.gauge(&format!("node_nf_conntrack_stat_{name}"), help, &[], sums[at] as f64);
        }
    }
    Some(())
}

/// Bytes that wait in all UDP sockets: the fifth column is `<send>:<receive>`, hexadecimal.
pub fn udp_queues(root: &Root, out: &mut Samples) -> Option<()> {
    let mut found = None;
    for (file, version) in [("udp", "v4"), ("udp6", "v6")] {
        let Some(text) = root.net(file) else { continue };
        found = Some(());
        let (mut send, mut receive) = (0u64, 0u64);
        for line in text.lines().skip(1) {
            let queues = line.split_ascii_whitespace().nth(4).and_then(|word| word.split_once(':'));
            let Some((tx, rx)) = queues else { continue };
            send += u64::from_str_radix(tx, 16).unwrap_or(0);
            receive += u64::from_str_radix(rx, 16).unwrap_or(0);
        }
        for (queue, bytes) in [("tx", send), ("rx", receive)] {
            let help = "Number of allocated memory in the kernel for UDP datagrams in bytes.";
            out.gauge("node_udp_queues", help, &[("queue", queue), ("ip", version)], bytes as f64);
        }
    }
    found
}

/// Sockets by TCP state: the fourth column, hexadecimal.
pub fn tcpstat(root: &Root, out: &mut Samples) -> Option<()> {
    const STATES: [&str; 12] = [
        "established",
        "syn_sent",
        "syn_recv",
        "fin_wait1",
        "fin_wait2",
        "time_wait",
        "close",
        "close_wait",
        "last_ack",
        "listen",
        "closing",
        "new_syn_recv",
    ];
    let mut counts = [0.0; STATES.len()];
    let (mut send, mut receive) = (0u64, 0u64);
    let files = [root.net("tcp")?, root.net("tcp6").unwrap_or_default()];
    for line in files.iter().flat_map(|text| text.lines().skip(1)) {
        let mut words = line.split_ascii_whitespace().skip(3);
        let state = words.next().and_then(|word| usize::from_str_radix(word, 16).ok());
        if let Some(count) = state.and_then(|state| counts.get_mut(state.wrapping_sub(1))) {
            *count += 1.0;
        }
        if let Some((tx, rx)) = words.next().and_then(|word| word.split_once(':')) {
            send += u64::from_str_radix(tx, 16).unwrap_or(0);
            receive += u64::from_str_radix(rx, 16).unwrap_or(0);
        }
    }
    let states = STATES.into_iter().zip(counts).filter(|(_, count)| *count > 0.0);
    let queues = [("tx_queued_bytes", send as f64), ("rx_queued_bytes", receive as f64)];
    for (state, count) in states.chain(queues) {
        let help = "Number of connection states.";
        out.gauge("node_tcp_connection_states", help, &[("state", state)], count);
    }
    Some(())
}
