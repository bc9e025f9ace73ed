//! InfiniBand and Fibre Channel adapters: what each port is, and what it counts.

use crate::host::Root;
use crate::samples::Samples;

/// A port's counters count data in words of four bytes.
const WORD: f64 = 4.0;

/// File, metric, what a unit of the file is in the metric's, help.
const INFINIBAND: [(&str, &str, f64, &str); 24] = [
    (
        "counters_ext/port_multicast_rcv_packets",
        "legacy_multicast_packets_received_total",
        1.0,
        "Number of multicast packets received",
    ),
    (
        "counters_ext/port_multicast_xmit_packets",
        "legacy_multicast_packets_transmitted_total",
        1.0,
        "Number of multicast packets transmitted",
    ),
    (
        "counters_ext/port_rcv_data_64",
        "legacy_data_received_bytes_total",
        WORD,
        "Number of data octets received on all links",
    ),
    (
        "counters_ext/port_rcv_packets_64",
        "legacy_packets_received_total",
        1.0,
        "Number of data packets received on all links",
    ),
    (
        "counters_ext/port_unicast_rcv_packets",
        "legacy_unicast_packets_received_total",
        1.0,
        "Number of unicast packets received",
    ),
    (
        "counters_ext/port_unicast_xmit_packets",
        "legacy_unicast_packets_transmitted_total",
        1.0,
        "Number of unicast packets transmitted",
    ),
    (
        "counters_ext/port_xmit_data_64",
        "legacy_data_transmitted_bytes_total",
        WORD,
        "Number of data octets transmitted on all links",
    ),
    (
        "counters_ext/port_xmit_packets_64",
        "legacy_packets_transmitted_total",
        1.0,
        "Number of data packets received on all links",
    ),
    (
        "counters/link_downed",
        "link_downed_total",
        1.0,
        "Number of times the link failed to recover from an error state and went down",
    ),
    (
        "counters/link_error_recovery",
        "link_error_recovery_total",
        1.0,
        "Number of times the link successfully recovered from an error state",
    ),
    (
        "counters/multicast_rcv_packets",
        "multicast_packets_received_total",
        1.0,
        "Number of multicast packets received (including errors)",
    ),
    (
        "counters/multicast_xmit_packets",
        "multicast_packets_transmitted_total",
        1.0,
        "Number of multicast packets transmitted (including errors)",
    ),
    (
        "counters/port_rcv_constraint_errors",
        "port_constraint_errors_received_total",
        1.0,
        "Number of packets received on the switch physical port that are discarded",
    ),
    (
        "counters/port_xmit_constraint_errors",
        "port_constraint_errors_transmitted_total",
        1.0,
        "Number of packets not transmitted from the switch physical port",
    ),
    (
        "counters/port_rcv_data",
        "port_data_received_bytes_total",
        WORD,
        "Number of data octets received on all links",
    ),
    (
        "counters/port_xmit_data",
        "port_data_transmitted_bytes_total",
        WORD,
        "Number of data octets transmitted on all links",
    ),
    (
        "counters/port_rcv_discards",
        "port_discards_received_total",
        1.0,
        "Number of inbound packets discarded by the port because the port is down or congested",
    ),
    (
        "counters/port_xmit_discards",
        "port_discards_transmitted_total",
        1.0,
        "Number of outbound packets discarded by the port because the port is down or congested",
    ),
    (
        "counters/port_rcv_errors",
        "port_errors_received_total",
        1.0,
        "Number of packets containing an error that were received on this port",
    ),
    (
        "counters/port_rcv_packets",
        "port_packets_received_total",
        1.0,
        "Number of packets received on all VLs by this port (including errors)",
    ),
    (
        "counters/port_xmit_packets",
        "port_packets_transmitted_total",
        1.0,
        "Number of packets transmitted on all VLs from this port (including errors)",
    ),
    (
        "counters/port_xmit_wait",
        "port_transmit_wait_total",
        1.0,
        "Number of ticks during which the port had data to transmit but no data was sent during the entire tick",
    ),
    (
        "counters/unicast_rcv_packets",
        "unicast_packets_received_total",
        1.0,
        "Number of unicast packets received (including errors)",
    ),
    (
        "counters/unicast_xmit_packets",
        "unicast_packets_transmitted_total",
        1.0,
        "Number of unicast packets transmitted (including errors)",
    ),
];

pub fn infiniband(root: &Root, out: &mut Samples) -> Option<()> {
    const FOLDER: &str = "sys/class/infiniband";
    if !root.path(FOLDER).is_dir() {
        return None;
    }
    for device in root.names(FOLDER) {
        let folder = format!("{FOLDER}/{device}");
        let word = |file: &str| root.word(&format!("{folder}/{file}")).unwrap_or_default();
        let info = [
            ("device", &*device),
            ("board_id", &*word("board_id")),
            ("firmware_version", &*word("fw_ver")),
            ("hca_type", &*word("hca_type")),
        ];
        let help = "Non-numeric data from /sys/class/infiniband/<device>, value is always 1.";
        out.gauge("node_infiniband_info", help, &info, 1.0);
        for port in root.names(&format!("{folder}/ports")) {
            infiniband_port(
                root,
                &format!("{folder}/ports/{port}"),
                &[("device", &device), ("port", &port)],
                out,
            );
        }
    }
    Some(())
}

fn infiniband_port(root: &Root, folder: &str, labels: &[(&str, &str)], out: &mut Samples) {
    let word = |file: &str| root.word(&format!("{folder}/{file}"));
    // `4: ACTIVE`
    let state = |file: &str| word(file)?.split_once(':')?.0.parse::<f64>().ok();
    if let Some(state) = state("state") {
        let help = "State of the InfiniBand port (0: no change, 1: down, 2: init, 3: armed, 4: active, 5: act defer)";
        out.gauge("node_infiniband_state_id", help, labels, state);
    }
    if let Some(state) = state("phys_state") {
        let help = "Physical state of the InfiniBand port (0: no change, 1: sleep, 2: polling, 3: disable, 4: shift, 5: link up, 6: link error recover, 7: phytest)";
        out.gauge("node_infiniband_physical_state_id", help, labels, state);
    }
    // `40 Gb/sec (4X QDR)`
    let rate = word("rate").and_then(|rate| rate.split_once(" Gb/sec")?.0.parse::<f64>().ok());
    if let Some(gigabits) = rate {
        let name = "node_infiniband_rate_bytes_per_second";
        out.gauge(name, "Maximum signal transfer rate", labels, gigabits * 1e9 / 8.0);
    }
    for (file, metric, unit, help) in INFINIBAND {
        // What the adapter does not count is a word, `N/A (no PMA)`.
        if let Some(count) = root.number(&format!("{folder}/{file}")) {
            out.counter(&format!("node_infiniband_{metric}"), help, labels, count * unit);
        }
    }
}

const FIBRE_CHANNEL: [(&str, &str, &str); 14] = [
    ("dumped_frames", "dumped_frames_total", "Number of dumped frames"),
    ("error_frames", "error_frames_total", "Number of errors in frames"),
    ("fcp_packet_aborts", "fcp_packet_aborts_total", "Number of aborted packets"),
    ("invalid_crc_count", "invalid_crc_total", "Invalid Cyclic Redundancy Check count"),
    ("invalid_tx_word_count", "invalid_tx_words_total", "Number of invalid words transmitted by host port"),
    ("link_failure_count", "link_failure_total", "Number of times the host port link has failed"),
    ("loss_of_signal_count", "loss_of_signal_total", "Number of times signal has been lost"),
    (
        "loss_of_sync_count",
        "loss_of_sync_total",
        "Number of failures on either bit or transmission word boundaries",
    ),
    ("nos_count", "nos_total", "Number Not_Operational Primitive Sequence received by host port"),
    ("rx_frames", "rx_frames_total", "Number of frames received"),
    ("rx_words", "rx_words_total", "Number of words received by host port"),
    (
        "seconds_since_last_reset",
        "seconds_since_last_reset_total",
        "Number of seconds since last host port reset",
    ),
    ("tx_frames", "tx_frames_total", "Number of frames transmitted by host port"),
    ("tx_words", "tx_words_total", "Number of words transmitted by host port"),
];

pub fn fibrechannel(root: &Root, out: &mut Samples) -> Option<()> {
    const FOLDER: &str = "sys/class/fc_host";
    if !root.path(FOLDER).is_dir() {
        return None;
    }
    for host in root.names(FOLDER) {
        let word = |file: &str| root.word(&format!("{FOLDER}/{host}/{file}")).unwrap_or_default();
        let address = |file: &str| word(file).trim_start_matches("0x").to_owned();
        let info = [
            ("fc_host", &*host),
            ("speed", &*word("speed")),
            ("port_state", &*word("port_state")),
            ("port_type", &*word("port_type")),
            ("port_id", &*address("port_id")),
            ("port_name", &*address("port_name")),
            ("fabric_name", &*address("fabric_name")),
            ("symbolic_name", &*word("symbolic_name")),
            ("supported_classes", &*word("supported_classes")),
            ("supported_speeds", &*word("supported_speeds")),
            ("dev_loss_tmo", &*word("dev_loss_tmo")),
        ];
        let help = "Non-numeric data from /sys/class/fc_host/<host>, value is always 1.";
        out.gauge("node_fibrechannel_info", help, &info, 1.0);
        for (file, metric, help) in FIBRE_CHANNEL {
            let count = u64::from_str_radix(&address(&format!("statistics/{file}")), 16).ok();
            // All ones: the adapter does not count it.
            if let Some(count) = count.filter(|count| *count != u64::MAX) {
                out.counter(
                    &format!("node_fibrechannel_{metric}"),
                    help,
                    &[("fc_host", &host)],
                    count as f64,
                );
            }
        }
    }
    Some(())
}
