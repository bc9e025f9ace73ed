//! Sensors of /sys/class/hwmon: temperatures, fans, voltages, power.
//!
//! A file is `<kind><number>_<element>`, such as `temp1_crit`; what it is called and in what unit it is given follows
//! from kind and element as node_exporter has it.

use crate::host::Root;
use crate::samples::Samples;
use std::collections::BTreeMap;
use std::path::Path;

const FOLDER: &str = "sys/class/hwmon";

const KINDS: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];

pub fn hwmon(root: &Root, out: &mut Samples) -> Option<()> {
    if !root.path(FOLDER).is_dir() {
        return None;
    }
    let monitors = root.names(FOLDER).into_iter().map(|name| format!("{FOLDER}/{name}"));
    let monitors: Vec<Monitor> = monitors
        .filter(|folder| root.path(folder).is_dir())
        .map(|folder| Monitor::of(root, folder))
        .collect();
    for monitor in &monitors {
        tell(root, monitor, &monitor.chip(&monitors), out);
    }
    Some(())
}

struct Monitor {
    folder: String,
    /// From the device's place on its bus, which stays; the monitor's number depends on the order of loading.
    base: String,
    /// As the driver calls it.
    name: String,
}

impl Monitor {
    fn of(root: &Root, folder: String) -> Monitor {
        let last =
            |path: &Path| path.file_name().map(|name| clean(&name.to_string_lossy())).unwrap_or_default();
        let name = root.word(&format!("{folder}/name")).unwrap_or_default();
        let device = root.path(&format!("{folder}/device")).canonicalize().ok();
        let by_device = device.map(|device| {
            let (bus, device) = (device.parent().map(last).unwrap_or_default(), last(&device));
            if bus.is_empty() { device } else { format!("{bus}_{device}") }
        });
        let number = || root.path(&folder).canonicalize().map(|path| last(&path)).unwrap_or_default();
        let base =
            by_device.or_else(|| Some(clean(&name))).filter(|base| !base.is_empty()).unwrap_or_else(number);
        Monitor { base, name, folder }
    }

    /// Several monitors of one device are told apart by the driver's name, or else by their number.
    fn chip(&self, all: &[Monitor]) -> String {
        let alike: Vec<&Monitor> = all.iter().filter(|other| other.base == self.base).collect();
        if alike.len() < 2 {
            return self.base.clone();
        }
        let same_name = alike.iter().filter(|other| other.name == self.name).count();
        let name = clean(&self.name);
        let number = self.folder.rsplit('/').next().map(clean).unwrap_or_default();
        let suffix = if name.is_empty() || same_name > 1 { number } else { name };
        format!("{}_{suffix}", self.base)
    }
}

/// What metric names and their labels may hold.
fn clean(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == ':' || c == '_';
    let lower = text.trim().to_lowercase();
    let replaced: String = lower.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    replaced.trim_matches('_').to_owned()
}

/// Kind, number and element of a file's name.
fn parts(file: &str) -> Option<(&str, &str, &str)> {
    let (sensor, element) = match KINDS.iter().find(|kind| file.starts_with(**kind) && kind.contains('_')) {
        Some(kind) => (*kind, file[kind.len()..].trim_start_matches('_')),
        None => file.split_once('_').unwrap_or((file, "")),
    };
    let kind = sensor.trim_end_matches(|c: char| c.is_ascii_digit());
    KINDS.contains(&kind).then_some((kind, &sensor[kind.len()..], element))
}

/// By sensor: its kind, and its elements with their text.
type Sensors = BTreeMap<String, (String, BTreeMap<String, String>)>;

fn sensors(root: &Root, folder: &str, found: &mut Sensors) {
    for file in root.names(folder) {
        let Some((kind, number, element)) = parts(&file) else { continue };
        // What cannot be read now (a sensor asleep) is left out.
        let Some(text) = root.text(&format!("{folder}/{file}")) else { continue };
        let number = if number.is_empty() { "0" } else { number };
        let (_, elements) =
            found.entry(format!("{kind}{number}")).or_insert_with(|| (kind.to_owned(), BTreeMap::new()));
        elements.insert(element.to_owned(), text.trim_matches('\n').to_owned());
    }
}

fn tell(root: &Root, monitor: &Monitor, chip: &str, out: &mut Samples) {
    let mut found = Sensors::new();
    sensors(root, &monitor.folder, &mut found);
    sensors(root, &format!("{}/device", monitor.folder), &mut found);
    let name = clean(&monitor.name);
    if !name.is_empty() {
        let labels = [("chip", chip), ("chip_name", &*name)];
        out.gauge("node_hwmon_chip_names", "Annotation metric for human-readable chip names", &labels, 1.0);
    }
    for (sensor, (kind, elements)) in &found {
        let labels = [("chip", chip), ("sensor", sensor)];
        if let Some(label) = elements.get("label") {
            let labels = [("chip", chip), ("sensor", sensor), ("label", label)];
            out.gauge("node_hwmon_sensor_label", "Label for given chip and sensor", &labels, 1.0);
        }
        for (element, text) in elements.iter().filter(|(element, _)| *element != "label") {
            let Ok(value) = text.trim().parse::<f64>() else { continue };
            if kind == "freq" && element == "input" {
                // The only one that is called by its label.
                let Some(label) = elements.get("label").map(|label| clean(label)) else { continue };
                let help = "Hardware monitor for GPU frequency in MHz";
                let labels = [("chip", chip), ("sensor", &*label)];
                out.gauge("node_hwmon_freq_freq_mhz", help, &labels, value / 1e6);
                continue;
            }
            let metric = Metric::of(kind, element, elements.contains_key(""));
            let name = format!("node_hwmon_{}", metric.name);
            if metric.is_counter {
                out.counter(&name, &metric.help, &labels, value / metric.divisor);
            } else {
                out.gauge(&name, &metric.help, &labels, value / metric.divisor);
            }
        }
    }
}

struct Metric {
    name: String,
    help: String,
    divisor: f64,
    is_counter: bool,
}

impl Metric {
    /// `has_bare`: there is a file without an element, which then is the value, and `input` a value beside it.
    fn of(kind: &str, element: &str, has_bare: bool) -> Metric {
        let gauge =
            |name: String, help: String, divisor: f64| Metric { name, help, divisor, is_counter: false };
        match kind {
            "beep_enable" => return gauge("beep_enabled".into(), "Hardware beep enabled".into(), 1.0),
            "vrm" => {
                return gauge("voltage_regulator_version".into(), "Hardware voltage regulator".into(), 1.0);
            }
            "update_interval" => {
                let help = "Hardware monitor update interval".into();
                return gauge("update_interval_seconds".into(), help, 1e3);
            }
            _ => {}
        }
        let name = match element {
            "" => kind.to_owned(),
            "input" if !has_bare => kind.to_owned(),
            _ => format!("{kind}_{}", clean(element)),
        };
        let of = |what: &str| format!("Hardware monitor for {what} ({element})");
        match (kind, element) {
            (_, "fault" | "alarm") => gauge(name, format!("Hardware sensor {element} status ({kind})"), 1.0),
            (_, "beep") => {
                gauge(format!("{name}_enabled"), "Hardware monitor sensor has beeping enabled".into(), 1.0)
            }
            ("in" | "cpu", _) => gauge(format!("{name}_volts"), of("voltage"), 1e3),
            ("temp", element) if element != "type" => {
                gauge(format!("{name}_celsius"), of("temperature"), 1e3)
            }
            ("curr", _) => gauge(format!("{name}_amps"), of("current"), 1e3),
            ("energy", _) => Metric {
                name: format!("{name}_joule_total"),
                help: of("joules used so far"),
                divisor: 1e6,
                is_counter: true,
            },
            ("power", "accuracy") => {
                gauge(name, "Hardware monitor power meter accuracy, as a ratio".into(), 1e6)
            }
            ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
                let help = format!("Hardware monitor power usage update interval ({element})");
                gauge(format!("{name}_seconds"), help, 1e3)
            }
            ("power", _) => gauge(format!("{name}_watt"), of("power usage in watts"), 1e6),
            ("humidity", _) => {
                let what = "humidity, as a ratio (multiply with 100.0 to get the humidity as a percentage)";
                gauge(name, of(what), 1e6)
            }
            ("fan", "input" | "min" | "max" | "target") => {
                gauge(format!("{name}_rpm"), of("fan revolutions per minute"), 1.0)
            }
            _ => gauge(name, format!("Hardware monitor {kind} element {element}"), 1.0),
        }
    }
}
