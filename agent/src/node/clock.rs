//! What time it is here, how good the kernel thinks its clock is, and where that comes from.

use crate::host::Root;
use crate::samples::Samples;

pub fn time(root: &Root, out: &mut Samples) -> Option<()> {
    let now_ns = out.now_ns();
    let help = "System time in seconds since epoch (1970).";
    out.gauge("node_time_seconds", help, &[], now_ns as f64 / 1e9);
    zone(root, now_ns, out);
    for device in root.names(SOURCES) {
        let Some(number) = device.strip_prefix("clocksource") else { continue };
        let file = |name: &str| root.word(&format!("{SOURCES}/{device}/{name}")).unwrap_or_default();
        for source in file("available_clocksource").split_ascii_whitespace() {
            let help = "Available clocksources read from '/sys/devices/system/clocksource'.";
            let labels = [("device", number), ("clocksource", source)];
            out.gauge("node_time_clocksource_available_info", help, &labels, 1.0);
        }
        let current = file("current_clocksource");
        if !current.is_empty() {
            let help = "Current clocksource read from '/sys/devices/system/clocksource'.";
            let labels = [("device", number), ("clocksource", &*current)];
            out.gauge("node_time_clocksource_current_info", help, &labels, 1.0);
        }
    }
    Some(())
}

const SOURCES: &str = "sys/devices/system/clocksource";

/// The offset is this process' own, its name the one that the machine's zone file gives it.
fn zone(root: &Root, now_ns: i64, out: &mut Samples) {
    use chrono::{Local, Offset, TimeZone};
    let seconds = Local.timestamp_nanos(now_ns).offset().fix().local_minus_utc();
    let file = std::fs::read(root.path("etc/localtime")).unwrap_or_default();
    let name = zone_name(&file, seconds).unwrap_or_else(|| "UTC".into());
    let help = "System time zone offset in seconds.";
    out.gauge("node_time_zone_offset_seconds", help, &[("time_zone", &name)], f64::from(seconds));
}

/// The last line of a zone file says what its times are called from now on: `CET-1CEST,M3.5.0,M10.5.0/3`. The first
/// name is the standard time's, whose offset (west is positive) follows it.
fn zone_name(file: &[u8], seconds: i32) -> Option<String> {
    let text = std::str::from_utf8(file.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next()?).ok()?;
    let (standard, rest) = name_and_rest(text)?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || "+-:".contains(c))).unwrap_or(rest.len());
    let (offset, rest) = rest.split_at(end);
    let mut parts = offset.trim_start_matches(['+', '-']).split(':').map(|part| part.parse::<i32>().ok());
    let mut part = || parts.next().flatten().unwrap_or(0);
    let west = part() * 3_600 + part() * 60 + part();
    let standard_seconds = if offset.starts_with('-') { west } else { -west };
    if standard_seconds == seconds {
        return Some(standard.to_owned());
    }
    name_and_rest(rest).map(|(summer, _)| summer.to_owned())
}

/// A name is letters, or anything in `<>`.
fn name_and_rest(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('<') {
        return quoted.split_once('>');
    }
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// The kernel's answer that the clock is not synchronised.
const TIME_ERROR: i32 = 5;
/// In its status: offset and jitter are in nanoseconds, not microseconds.
const STA_NANO: i32 = 0x2000;
/// Frequencies are parts in a million with 16 bits behind the point.
const PPM_16_BITS: f64 = 1e6 * 65_536.0;

pub fn timex(_: &Root, out: &mut Samples) -> Option<()> {
    let (state, clock) = adjtimex()?;
    let fraction = if clock.status & STA_NANO != 0 { 1e9 } else { 1e6 };
    let is_synchronised = f64::from(u8::from(state != TIME_ERROR));
    let gauges = [
        ("sync_status", "Is clock synchronized to a reliable server (1 = yes, 0 = no).", is_synchronised),
        (
            "offset_seconds",
            "Time offset in between local system and reference clock.",
            clock.offset as f64 / fraction,
        ),
        (
            "frequency_adjustment_ratio",
            "Local clock frequency adjustment.",
            1.0 + clock.freq as f64 / PPM_16_BITS,
        ),
        ("maxerror_seconds", "Maximum error in seconds.", clock.maxerror as f64 / 1e6),
        ("estimated_error_seconds", "Estimated error in seconds.", clock.esterror as f64 / 1e6),
        ("status", "Value of the status array bits.", f64::from(clock.status)),
        ("loop_time_constant", "Phase-locked loop time constant.", clock.constant as f64),
        ("tick_seconds", "Seconds between clock ticks.", clock.tick as f64 / 1e6),
        ("pps_frequency_hertz", "Pulse per second frequency.", clock.ppsfreq as f64 / PPM_16_BITS),
        ("pps_jitter_seconds", "Pulse per second jitter.", clock.jitter as f64 / fraction),
        ("pps_shift_seconds", "Pulse per second interval duration.", f64::from(clock.shift)),
        (
            "pps_stability_hertz",
            "Pulse per second stability, average of recent frequency changes.",
            clock.stabil as f64 / PPM_16_BITS,
        ),
        ("tai_offset_seconds", "International Atomic Time (TAI) offset.", f64::from(clock.tai)),
    ];
    for (name, help, value) in gauges {
        out.gauge(&format!("node_timex_{name}"), help, &[], value);
    }
    let counters = [
        ("pps_jitter_total", "Pulse per second count of jitter limit exceeded events.", clock.jitcnt),
        ("pps_calibration_total", "Pulse per second count of calibration intervals.", clock.calcnt),
        ("pps_error_total", "Pulse per second count of calibration errors.", clock.errcnt),
        (
            "pps_stability_exceeded_total",
            "Pulse per second count of stability limit exceeded events.",
            clock.stbcnt,
        ),
    ];
    for (name, help, value) in counters {
        out.counter(&format!("node_timex_{name}"), help, &[], value as f64);
    }
    Some(())
}

/// The kernel's clock discipline; `None` where a sandbox forbids the question.
#[allow(unsafe_code)]
fn adjtimex() -> Option<(i32, libc::timex)> {
    // SAFETY: the struct is plain numbers, for which all zeros is a value, and with `modes` 0 the call only fills it in.
    // No safe crate that is here wraps it.
    let (state, clock) = unsafe {
        let mut clock: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut clock), clock)
    };
    (state >= 0).then_some((state, clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_called_as_their_file_says() {
        let name = |footer: &str, seconds| zone_name(format!("TZif2\0\0\n{footer}\n").as_bytes(), seconds);
        assert_eq!(name("CET-1CEST,M3.5.0,M10.5.0/3", 3_600).as_deref(), Some("CET"));
        assert_eq!(name("CET-1CEST,M3.5.0,M10.5.0/3", 7_200).as_deref(), Some("CEST"));
        assert_eq!(name("EST5EDT,M3.2.0,M11.1.0", -18_000).as_deref(), Some("EST"));
        assert_eq!(name("<+0530>-5:30", 19_800).as_deref(), Some("+0530"));
        assert_eq!(name("UTC0", 0).as_deref(), Some("UTC"));
        assert_eq!(zone_name(b"", 0), None);
        assert_eq!(zone_name(b"TZif2\n\xff\n", 0), None);
    }
}
