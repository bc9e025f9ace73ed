//! What the machine is, and what time it has.

use crate::host::Root;
use crate::samples::Samples;

pub fn collect(root: &Root, now_ns: i64, out: &mut Samples) {
    let kernel = |file: &str| root.word(&format!("proc/sys/kernel/{file}")).unwrap_or_default();
    let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
    let (release, version, name, domain) =
        (kernel("osrelease"), kernel("version"), kernel("hostname"), kernel("domainname"));
    let labels = [
        ("sysname", "Linux"),
        ("release", &*release),
        ("version", &*version),
        ("machine", &*machine),
        ("nodename", &*name),
        ("domainname", &*domain),
    ];
    let help = "Labeled system information as provided by the uname system call.";
    out.gauge("node_uname_info", help, &labels, 1.0);
    out.gauge("node_time_seconds", "System time in seconds since epoch (1970).", &[], now_ns as f64 / 1e9);
    os_release(root, out);
    let sources = "sys/devices/system/clocksource/clocksource0";
    if let Some(current) = root.word(&format!("{sources}/current_clocksource")) {
        let labels = [("clocksource", &*current), ("device", "0")];
        out.gauge(
            "node_time_clocksource_current_info",
            "Current clocksource read from '/sys/devices/system/clocksource'.",
            &labels,
            1.0,
        );
    }
}

fn os_release(root: &Root, out: &mut Samples) {
    let text = root.text("etc/os-release").or_else(|| root.text("usr/lib/os-release")).unwrap_or_default();
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or("").trim_matches('"').to_owned()
    };
    let (id, name, pretty, version, version_id, codename) = (
        field("ID"),
        field("NAME"),
        field("PRETTY_NAME"),
        field("VERSION"),
        field("VERSION_ID"),
        field("VERSION_CODENAME"),
    );
    if !id.is_empty() {
        let labels = [
            ("id", &*id),
            ("name", &*name),
            ("pretty_name", &*pretty),
            ("version", &*version),
            ("version_id", &*version_id),
            ("version_codename", &*codename),
        ];
        out.gauge(
            "node_os_info",
            "A metric with a constant '1' value labeled by the fields of os-release.",
            &labels,
            1.0,
        );
    }
}
