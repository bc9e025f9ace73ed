//! Heat and power: thermal zones, cooling, power supplies, the CPU's own energy counters.

use crate::host::Root;
use crate::samples::Samples;
use std::collections::HashMap;

pub fn thermal_zone(root: &Root, out: &mut Samples) -> Option<()> {
    const FOLDER: &str = "sys/class/thermal";
    for name in &root.names(FOLDER) {
        let file = |name: &str, file: &str| root.word(&format!("{FOLDER}/{name}/{file}"));
        let kind = file(name, "type").unwrap_or_default();
        let number = |of: &str| file(name, of).and_then(|text| text.parse::<f64>().ok());
        if let Some(zone) = name.strip_prefix("thermal_zone") {
            // A zone whose sensor sleeps cannot be read.
            let Some(millidegrees) = number("temp") else { continue };
            let labels = [("zone", zone), ("type", &*kind)];
            out.gauge("node_thermal_zone_temp", "Zone temperature in Celsius", &labels, millidegrees / 1e3);
        } else if let Some(device) = name.strip_prefix("cooling_device") {
            let labels = [("name", device), ("type", &*kind)];
            for (of, metric, help) in [
                (
                    "cur_state",
                    "node_cooling_device_cur_state",
                    "Current throttle state of the cooling device",
                ),
                (
                    "max_state",
                    "node_cooling_device_max_state",
                    "Maximum throttle state of the cooling device",
                ),
            ] {
                if let Some(state) = number(of) {
                    out.gauge(metric, help, &labels, state);
                }
            }
        }
    }
    Some(())
}

/// A file of a power supply, its metric, and what its number is divided by: micro-units and tenths of degrees.
const SUPPLY: [(&str, &str, f64); 49] = [
    ("authentic", "authentic", 1.0),
    ("calibrate", "calibrate", 1.0),
    ("capacity", "capacity", 1.0),
    ("capacity_alert_max", "capacity_alert_max", 1.0),
    ("capacity_alert_min", "capacity_alert_min", 1.0),
    ("cycle_count", "cyclecount", 1.0),
    ("online", "online", 1.0),
    ("present", "present", 1.0),
    ("time_to_empty_now", "time_to_empty_seconds", 1.0),
    ("time_to_full_now", "time_to_full_seconds", 1.0),
    ("current_boot", "current_boot", 1e6),
    ("current_max", "current_max", 1e6),
    ("current_now", "current_ampere", 1e6),
    ("energy_empty", "energy_empty", 1e6),
    ("energy_empty_design", "energy_empty_design", 1e6),
    ("energy_full", "energy_full", 1e6),
    ("energy_full_design", "energy_full_design", 1e6),
    ("energy_now", "energy_watthour", 1e6),
    ("voltage_boot", "voltage_boot", 1e6),
    ("voltage_max", "voltage_max", 1e6),
    ("voltage_max_design", "voltage_max_design", 1e6),
    ("voltage_min", "voltage_min", 1e6),
    ("voltage_min_design", "voltage_min_design", 1e6),
    ("voltage_now", "voltage_volt", 1e6),
    ("voltage_ocv", "voltage_ocv", 1e6),
    ("charge_control_limit", "charge_control_limit", 1e6),
    ("charge_control_limit_max", "charge_control_limit_max", 1e6),
    ("charge_counter", "charge_counter", 1e6),
    ("charge_empty", "charge_empty", 1e6),
    ("charge_empty_design", "charge_empty_design", 1e6),
    ("charge_full", "charge_full", 1e6),
    ("charge_full_design", "charge_full_design", 1e6),
    ("charge_now", "charge_ampere", 1e6),
    ("charge_term_current", "charge_term_current", 1e6),
    ("constant_charge_current", "constant_charge_current", 1e6),
    ("constant_charge_current_max", "constant_charge_current_max", 1e6),
    ("constant_charge_voltage", "constant_charge_voltage", 1e6),
    ("constant_charge_voltage_max", "constant_charge_voltage_max", 1e6),
    ("precharge_current", "precharge_current", 1e6),
    ("input_current_limit", "input_current_limit", 1e6),
    ("power_now", "power_watt", 1e6),
    ("temp", "temp_celsius", 10.0),
    ("temp_alert_max", "temp_alert_max_celsius", 10.0),
    ("temp_alert_min", "temp_alert_min_celsius", 10.0),
    ("temp_ambient", "temp_ambient_celsius", 10.0),
    ("temp_ambient_alert_max", "temp_ambient_max_celsius", 10.0),
    ("temp_ambient_alert_min", "temp_ambient_min_celsius", 10.0),
    ("temp_max", "temp_max_celsius", 10.0),
    ("temp_min", "temp_min_celsius", 10.0),
];

pub fn powersupplyclass(root: &Root, out: &mut Samples) -> Option<()> {
    const FOLDER: &str = "sys/class/power_supply";
    const WORDS: [&str; 11] = [
        "capacity_level",
        "charge_type",
        "health",
        "manufacturer",
        "model_name",
        "serial_number",
        "status",
        "technology",
        "type",
        "usb_type",
        "scope",
    ];
    if !root.path(FOLDER).is_dir() {
        return None;
    }
    for supply in root.names(FOLDER) {
        let file = |name: &str| root.word(&format!("{FOLDER}/{supply}/{name}"));
        for (name, metric, divisor) in SUPPLY {
            let Some(number) = file(name).and_then(|text| text.parse::<f64>().ok()) else { continue };
            let help = format!("{metric} value of /sys/class/power_supply/<power_supply>.");
            let labels = [("power_supply", &*supply)];
            out.gauge(&format!("node_power_supply_{metric}"), &help, &labels, number / divisor);
        }
        let words: Vec<(&str, String)> = WORDS.iter().filter_map(|name| Some((*name, file(name)?))).collect();
        let words = words.iter().map(|(name, value)| (*name, &**value));
        let labels: Vec<(&str, &str)> = [("power_supply", &*supply)].into_iter().chain(words).collect();
        out.gauge("node_power_supply_info", "info of /sys/class/power_supply/<power_supply>.", &labels, 1.0);
    }
    Some(())
}

/// `package-0` is the package of index 0; names without a number are counted. Readable by root only.
pub fn rapl(root: &Root, out: &mut Samples) -> Option<()> {
    const FOLDER: &str = "sys/class/powercap";
    let mut used: HashMap<String, u32> = HashMap::new();
    let mut found = None;
    for zone in root.names(FOLDER) {
        let Some(full) = root.word(&format!("{FOLDER}/{zone}/name")) else { continue };
        let numbered = full.split_once('-').and_then(|(name, number)| Some((name, number.parse().ok()?)));
        let (name, index) = numbered.unwrap_or_else(|| (&*full, used.get(&full).copied().unwrap_or(0)));
        used.insert(name.to_owned(), index + 1);
        let Some(microjoules) = root.number(&format!("{FOLDER}/{zone}/energy_uj")) else { continue };
        found = Some(());
        let metric: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let (index, path) = (index.to_string(), format!("/{FOLDER}/{zone}"));
        let labels = [("index", &*index), ("path", &*path)];
        let help = format!("Current RAPL {name} value in joules");
        out.counter(&format!("node_rapl_{metric}_joules_total"), &help, &labels, microjoules / 1e6);
    }
    found
}
