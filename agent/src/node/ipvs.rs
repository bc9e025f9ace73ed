//! The kernel's load balancer: what a node's services are when kube-proxy uses it.

use crate::host::Root;
use crate::samples::Samples;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

pub fn ipvs(root: &Root, out: &mut Samples) -> Option<()> {
    let statistics = root.net("ip_vs_stats")?;
    let totals: Vec<u64> = statistics
        .lines()
        .nth(2)?
        .split_ascii_whitespace()
        .filter_map(|word| u64::from_str_radix(word, 16).ok())
        .collect();
    let [connections, packets_in, packets_out, bytes_in, bytes_out] = totals[..] else { return None };
    for (name, help, total) in [
        ("connections", "The total number of connections made.", connections),
        ("incoming_packets", "The total number of incoming packets.", packets_in),
        ("outgoing_packets", "The total number of outgoing packets.", packets_out),
        ("incoming_bytes", "The total amount of incoming data.", bytes_in),
        ("outgoing_bytes", "The total amount of outgoing data.", bytes_out),
    ] {
        out.counter(&format!("node_ipvs_{name}_total"), help, &[], total as f64);
    }
    backends(&root.net("ip_vs")?, out);
    Some(())
}

/// A service: protocol, address, port, and the firewall mark that stands for them.
type Service = (String, String, String, String);

/// A line `TCP C0A80016:0CEA wlc` begins a service, lines `-> address:port forward weight active inactive` are its backends.
/// Backends that differ only in how they are reached are added up.
fn backends(text: &str, out: &mut Samples) {
    let mut service: Option<Service> = None;
    let mut sums: BTreeMap<(Service, String, String), [f64; 3]> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            [protocol @ ("TCP" | "UDP"), local, ..] => {
                service = address(local).map(|(ip, port)| (protocol.into(), ip, port, String::new()));
            }
            ["FWM", mark, ..] => {
                service = Some(("FWM".into(), String::new(), "0".into(), mark.to_owned()));
            }
            ["->", remote, _, weight, active, inactive] => {
                let (Some(service), Some((ip, port))) = (&service, address(remote)) else { continue };
                let sum = sums.entry((service.clone(), ip, port)).or_default();
                for (sum, word) in sum.iter_mut().zip([active, inactive, weight]) {
                    *sum += word.parse::<f64>().unwrap_or(0.0);
                }
            }
            _ => {}
        }
    }
    for (((protocol, local, local_port, mark), remote, remote_port), values) in sums {
        let labels = [
            ("local_address", &*local),
            ("local_port", &*local_port),
            ("remote_address", &*remote),
            ("remote_port", &*remote_port),
            ("proto", &*protocol),
            ("local_mark", &*mark),
        ];
        for ((name, help), value) in [
            ("connections_active", "The current active connections by local and remote address."),
            ("connections_inactive", "The current inactive connections by local and remote address."),
            ("weight", "The current backend weight by local and remote address."),
        ]
        .into_iter()
        .zip(values)
        {
            out.gauge(&format!("node_ipvs_backend_{name}"), help, &labels, value);
        }
    }
}

/// `C0A80016:0CEA`, or `[2620:0000:…]:0050`.
fn address(text: &str) -> Option<(String, String)> {
    let (ip, port) = text.rsplit_once(':')?;
    let ip = match ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')) {
        Some(ip) => ip.parse::<Ipv6Addr>().ok()?.to_string(),
        None => Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?).to_string(),
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?.to_string()))
}
