//! `/metrics`: what every room says of itself, as OpenMetrics text.

use model::{Reading, ReadingKind};
use std::collections::BTreeMap;
use std::fmt::Write;

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One family after the other by name, each with its type and help once.
pub fn render(readings: &[Reading]) -> String {
    let mut families: BTreeMap<&str, Vec<&Reading>> = BTreeMap::new();
    for reading in readings {
        families.entry(family(reading)).or_default().push(reading);
    }
    let mut out = String::with_capacity(readings.len() * 96);
    for (name, members) in families {
        let kind = match members[0].kind {
            ReadingKind::Counter => "counter",
            ReadingKind::Gauge => "gauge",
            ReadingKind::Histogram => "histogram",
        };
        let _ = writeln!(out, "# TYPE {name} {kind}\n# HELP {name} {}", escape(members[0].help));
        for reading in members {
            out.push_str(reading.name);
            for (i, (label, value)) in reading.labels.iter().enumerate() {
                let _ = write!(out, "{}{label}=\"{}\"", if i == 0 { '{' } else { ',' }, escape(value));
            }
            if !reading.labels.is_empty() {
                out.push('}');
            }
            let _ = writeln!(out, " {}", number(reading.value));
        }
    }
    out.push_str("# EOF\n");
    out
}

/// OpenMetrics names a counter's family without `_total`, a histogram's without its series' endings.
fn family(reading: &Reading) -> &'static str {
    let endings: &[&str] = match reading.kind {
        ReadingKind::Counter => &["_total"],
        ReadingKind::Gauge => &[],
        ReadingKind::Histogram => &["_bucket", "_sum", "_count"],
    };
    endings.iter().find_map(|ending| reading.name.strip_suffix(ending)).unwrap_or(reading.name)
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".into() } else { "-Inf".into() }
    } else {
        value.to_string()
    }
}

/// What the process itself is and uses.
pub fn process(started_ms: i64, role: &str) -> Vec<Reading> {
    let mut readings = vec![
        Reading::gauge("binnacle_build_info", "Version, commit and role of this process; always 1", 1.0)
            .with("version", crate::cli::VERSION)
            .with("commit", env!("BINNACLE_COMMIT"))
            .with("role", role),
        Reading::gauge(
            "process_start_time_seconds",
            "Start of this process, seconds since 1970",
            started_ms as f64 / 1e3,
        ),
    ];
    if let Some(memory) = resident_bytes() {
        readings.push(Reading::gauge("process_resident_memory_bytes", "Resident memory", memory));
    }
    if let Some(seconds) = cpu_seconds() {
        readings.push(Reading::counter("process_cpu_seconds_total", "User and system CPU time", seconds));
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        readings.push(Reading::gauge("process_open_fds", "Open file descriptors", open.count() as f64));
    }
    readings
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()? * 1024.0)
}

fn cpu_seconds() -> Option<f64> {
    // The 14th and 15th field, counted after the name in brackets (which may hold anything); 100 ticks a second is
    // what Linux shows to every program.
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_whole_and_named_as_openmetrics_asks() {
        let text = render(&[
            Reading::counter("binnacle_x_total", "X", 3.0).with("reason", "a\"b"),
            Reading::gauge("binnacle_y_bytes", "Y", 0.5),
            Reading::counter("binnacle_x_total", "X", 1.0).with("reason", "c"),
        ]);
        assert_eq!(
            text,
            "# TYPE binnacle_x counter\n# HELP binnacle_x X\nbinnacle_x_total{reason=\"a\\\"b\"} 3\nbinnacle_x_total{reason=\"c\"} 1\n\
             # TYPE binnacle_y_bytes gauge\n# HELP binnacle_y_bytes Y\nbinnacle_y_bytes 0.5\n# EOF\n"
        );
        assert!(process(0, "up").iter().any(|r| r.name == "process_cpu_seconds_total" && r.value >= 0.0));
    }
}
