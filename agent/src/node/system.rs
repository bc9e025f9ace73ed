//! What the machine is: kernel, distribution, firmware.

use crate::host::Root;
use crate::samples::Samples;

pub fn uname(root: &Root, out: &mut Samples) -> Option<()> {
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
    Some(())
}

/// Labels of `node_os_info`; each is a field of os-release in capitals.
const OS_FIELDS: [&str; 12] = [
    "build_id",
    "id",
    "id_like",
    "image_id",
    "image_version",
    "name",
    "pretty_name",
    "variant",
    "variant_id",
    "version",
    "version_codename",
    "version_id",
];

pub fn os(root: &Root, out: &mut Samples) -> Option<()> {
    let text = root.text("etc/os-release").or_else(|| root.text("usr/lib/os-release"))?;
    let field = |name: &str| {
        let name = name.to_ascii_uppercase();
        let value = text.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix('='));
        value.unwrap_or("").trim().trim_matches(['"', '\'']).to_owned()
    };
    let values = OS_FIELDS.map(|name| (name, field(name)));
    let labels: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, &**value)).collect();
    let help = "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, name, \
                pretty_name, variant, variant_id, version, version_codename, version_id.";
    out.gauge("node_os_info", help, &labels, 1.0);
    // `12.5.1` is 12.5.
    let version = field("version_id");
    let digits: Vec<&str> = version.splitn(3, '.').take(2).collect();
    if let Ok(number) = digits.join(".").parse::<f64>() {
        let of = |name: &str| labels.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value);
        let labels = [("id", of("id")), ("id_like", of("id_like")), ("name", of("name"))];
        out.gauge(
            "node_os_version",
            "Metric containing the major.minor part of the OS version.",
            &labels,
            number,
        );
    }
    let end = chrono::NaiveDate::parse_from_str(&field("support_end"), "%Y-%m-%d").ok();
    if let Some(end) = end.and_then(|day| day.and_hms_opt(0, 0, 0)) {
        let help = "Metric containing the end-of-life date timestamp of the OS.";
        out.gauge("node_os_support_end_timestamp_seconds", help, &[], end.and_utc().timestamp() as f64);
    }
    Some(())
}

/// Firmware's tables; serial numbers are readable by root only.
pub fn dmi(root: &Root, out: &mut Samples) -> Option<()> {
    const FIELDS: [&str; 19] = [
        "bios_date",
        "bios_release",
        "bios_vendor",
        "bios_version",
        "board_asset_tag",
        "board_name",
        "board_serial",
        "board_vendor",
        "board_version",
        "chassis_asset_tag",
        "chassis_serial",
        "chassis_vendor",
        "chassis_version",
        "product_family",
        "product_name",
        "product_serial",
        "product_sku",
        "product_uuid",
        "product_version",
    ];
    const FOLDER: &str = "sys/class/dmi/id";
    if !root.path(FOLDER).is_dir() {
        return None;
    }
    let file = |name: &str| root.word(&format!("{FOLDER}/{name}")).unwrap_or_default();
    let mut values: Vec<(&str, String)> = FIELDS.iter().map(|name| (*name, file(name))).collect();
    values.push(("system_vendor", file("sys_vendor")));
    let labels: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, &**value)).collect();
    let help = "A metric with a constant '1' value labeled by bios_date, bios_release, bios_vendor, bios_version, \
                board_asset_tag, board_name, board_serial, board_vendor, board_version, chassis_asset_tag, \
                chassis_serial, chassis_vendor, chassis_version, product_family, product_name, product_serial, \
                product_sku, product_uuid, product_version, system_vendor if provided by DMI.";
    out.gauge("node_dmi_info", help, &labels, 1.0);
    Some(())
}
