//! Network of pods: the interfaces of a namespace, which a process in it shows.

use crate::host::Root;
use crate::samples::Samples;

/// A column of /proc/net/dev, and its metric.
const COLUMNS: [(usize, &str, &str); 8] = [
    (0, "receive_bytes", "Cumulative count of bytes received"),
    (1, "receive_packets", "Cumulative count of packets received"),
    (2, "receive_errors", "Cumulative count of errors encountered while receiving"),
    (3, "receive_packets_dropped", "Cumulative count of packets dropped while receiving"),
    (8, "transmit_bytes", "Cumulative count of bytes transmitted"),
    (9, "transmit_packets", "Cumulative count of packets transmitted"),
    (10, "transmit_errors", "Cumulative count of errors encountered while transmitting"),
    (11, "transmit_packets_dropped", "Cumulative count of packets dropped while transmitting"),
];

/// What cAdvisor leaves out as well: the loopback, bridges of Docker, and the host's ends of pods' links.
const LEFT_OUT: [&str; 4] = ["lo", "veth", "docker", "nerdctl"];

/// Of the pod that this process belongs to. A process on the host's network tells nothing of its pod.
pub fn of_pod(root: &Root, pid: u32, labels: &[(&str, &str)], out: &mut Samples) {
    let namespace = |pid: &str| std::fs::read_link(root.path(&format!("proc/{pid}/ns/net"))).ok();
    let own = namespace(&pid.to_string());
    if own.is_some() && own == namespace("1") {
        return;
    }
    if let Some(text) = root.text(&format!("proc/{pid}/net/dev")) {
        tell(&text, labels, out);
    }
}

pub fn of_node(root: &Root, out: &mut Samples) {
    if let Some(text) = root.net("dev") {
        tell(&text, &[("id", "/")], out);
    }
}

fn tell(text: &str, labels: &[(&str, &str)], out: &mut Samples) {
    for line in text.lines() {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        let name = name.trim();
        if LEFT_OUT.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let numbers: Vec<f64> =
            numbers.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        let mut of_interface = labels.to_vec();
        of_interface.push(("interface", name));
        for (column, metric, help) in COLUMNS {
            if let Some(value) = numbers.get(column) {
                out.counter(&format!("container_network_{metric}_total"), help, &of_interface, *value);
            }
        }
    }
}
