//! Devices, protocols, sockets.

use crate::host::Root;
use crate::samples::Samples;

pub fn collect(root: &Root, out: &mut Samples) {
    device_counters(root, out);
    devices(root, out);
    netstat(root, out);
    sockstat(root, out);
    softnet(root, out);
    tables(root, out);
}

const RECEIVE: [&str; 8] = ["bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast"];
const TRANSMIT: [&str; 8] = ["bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed"];

fn device_counters(root: &Root, out: &mut Samples) {
    for line in root.net("dev").unwrap_or_default().lines().skip(2) {
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
    }
}

fn devices(root: &Root, out: &mut Samples) {
    for device in root.names("sys/class/net") {
        let file = |name: &str| format!("sys/class/net/{device}/{name}");
        let Some(state) = root.word(&file("operstate")) else { continue };
        let labels = [("device", device.as_str())];
        // Not a column of /proc/net/dev.
        if let Some(packets) = root.number(&file("statistics/rx_nohandler")) {
            let help = "Network device statistic receive_nohandler.";
            out.counter("node_network_receive_nohandler_total", help, &labels, packets);
        }
        let is_up = f64::from(u8::from(state == "up"));
        out.gauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.", &labels, is_up);
        let text = |name: &str| root.word(&file(name)).unwrap_or_default();
        let (address, broadcast, duplex, alias) =
            (text("address"), text("broadcast"), text("duplex"), text("ifalias"));
        let info = [
            ("device", device.as_str()),
            ("operstate", &state),
            ("address", &address),
            ("broadcast", &broadcast),
            ("duplex", &duplex),
            ("ifalias", &alias),
        ];
        out.gauge("node_network_info", "Non-numeric data from /sys/class/net/<iface>.", &info, 1.0);
        for (name, metric, factor) in [
            ("mtu", "node_network_mtu_bytes", 1.0),
            ("carrier", "node_network_carrier", 1.0),
            ("tx_queue_len", "node_network_transmit_queue_length", 1.0),
            ("type", "node_network_protocol_type", 1.0),
            ("ifindex", "node_network_iface_id", 1.0),
            ("iflink", "node_network_iface_link", 1.0),
            ("link_mode", "node_network_iface_link_mode", 1.0),
            ("netdev_group", "node_network_net_dev_group", 1.0),
            ("dormant", "node_network_dormant", 1.0),
            ("name_assign_type", "node_network_name_assign_type", 1.0),
            ("addr_assign_type", "node_network_address_assign_type", 1.0),
            // Megabits a second.
            ("speed", "node_network_speed_bytes", 125_000.0),
        ] {
            if let Some(number) = root.number(&file(name)).filter(|number| *number >= 0.0) {
                let help = format!("Network device property: {name}");
                out.gauge(metric, &help, &labels, number * factor);
            }
        }
        for (name, metric) in [
            ("carrier_changes", "node_network_carrier_changes_total"),
            ("carrier_up_count", "node_network_carrier_up_changes_total"),
            ("carrier_down_count", "node_network_carrier_down_changes_total"),
        ] {
            if let Some(number) = root.number(&file(name)) {
                out.counter(metric, &format!("Network device property: {name}"), &labels, number);
            }
        }
    }
}

/// A line of names and below it a line of numbers, each begun with the protocol's name; snmp6 has one pair a line.
fn netstat(root: &Root, out: &mut Samples) {
    for file in ["netstat", "snmp"] {
        let text = root.net(file).unwrap_or_default();
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

fn sockstat(root: &Root, out: &mut Samples) {
    for file in ["sockstat", "sockstat6"] {
        for line in root.net(file).unwrap_or_default().lines() {
            let Some((protocol, rest)) = line.split_once(':') else { continue };
            let words: Vec<&str> = rest.split_ascii_whitespace().collect();
            for pair in words.chunks_exact(2) {
                let Ok(number) = pair[1].parse::<f64>() else { continue };
                let help = format!("Number of {protocol} sockets in state {}.", pair[0]);
                let name = format!("node_sockstat_{protocol}_{}", pair[0]);
                out.gauge(&name, &help, &[], number);
                if pair[0] == "mem" {
                    out.gauge(&format!("{name}_bytes"), &help, &[], number * page_bytes());
                }
            }
        }
    }
}

/// What the kernel handed this process in its auxiliary vector: pairs of machine words, 6 is the page's size.
fn page_bytes() -> f64 {
    const WORD: usize = size_of::<usize>();
    const AT_PAGESZ: usize = 6;
    let vector = std::fs::read("/proc/self/auxv").unwrap_or_default();
    let mut words = vector.chunks_exact(WORD).map(|word| word.try_into().map_or(0, usize::from_ne_bytes));
    while let (Some(kind), Some(value)) = (words.next(), words.next()) {
        if kind == AT_PAGESZ {
            return value as f64;
        }
    }
    4096.0
}

/// One line a CPU, hexadecimal.
fn softnet(root: &Root, out: &mut Samples) {
    for (cpu, line) in root.text("proc/net/softnet_stat").unwrap_or_default().lines().enumerate() {
        let cpu = cpu.to_string();
        let numbers = line.split_ascii_whitespace().map(|word| u64::from_str_radix(word, 16).unwrap_or(0));
        let names = [
            ("node_softnet_processed_total", "Number of processed packets"),
            ("node_softnet_dropped_total", "Number of dropped packets"),
            ("node_softnet_times_squeezed_total", "Number of times processing packets ran out of quota"),
        ];
        for ((name, help), number) in names.into_iter().zip(numbers) {
            out.counter(name, help, &[("cpu", &cpu)], number as f64);
        }
    }
}

fn tables(root: &Root, out: &mut Samples) {
    let mut by_device: std::collections::BTreeMap<String, f64> = std::collections::BTreeMap::new();
    for line in root.net("arp").unwrap_or_default().lines().skip(1) {
        if let Some(device) = line.split_ascii_whitespace().nth(5) {
            *by_device.entry(device.to_owned()).or_default() += 1.0;
        }
    }
    for (device, entries) in by_device {
        out.gauge("node_arp_entries", "ARP entries by device", &[("device", &device)], entries);
    }
    for (file, name) in [
        ("nf_conntrack_count", "node_nf_conntrack_entries"),
        ("nf_conntrack_max", "node_nf_conntrack_entries_limit"),
    ] {
        if let Some(number) = root.number(&format!("proc/sys/net/netfilter/{file}")) {
            out.gauge(name, "Number of flow entries for connection tracking.", &[], number);
        }
    }
}
