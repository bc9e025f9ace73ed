//! Durations as texts: Tempo is written in Go, and answers them as Go writes them.

/// As Go writes a duration: `1h2m3.5s`, `250.1ms`, `7ns`.
pub fn go_duration(ns: i64) -> String {
    const UNITS: [(u64, &str); 4] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns")];
    let sign = if ns < 0 { "-" } else { "" };
    let whole = ns.unsigned_abs();
    let (minutes, rest) = match whole / UNITS[0].0 {
        seconds if seconds >= 60 => (seconds / 60, whole % (60 * UNITS[0].0)),
        _ => (0, whole),
    };
    let (size, unit) = match (whole, minutes) {
        (0, _) => return "0s".to_owned(),
        (_, 0) => *UNITS.iter().find(|(size, _)| *size <= whole).unwrap_or(&UNITS[3]),
        _ => UNITS[0],
    };
    let digits = size.ilog10() as usize;
    let fraction = if digits == 0 { String::new() } else { format!(".{:0digits$}", rest % size) };
    let below = format!("{}{}{unit}", rest / size, fraction.trim_end_matches('0').trim_end_matches('.'));
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{below}"),
        (0, minutes) => format!("{sign}{minutes}m{below}"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{below}"),
    }
}

#[cfg(test)]
mod tests {
    use super::go_duration;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (ns, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_100, "1.1µs"),
            (250_100_000, "250.1ms"),
            (999_999_999, "999.999999ms"),
            (1_000_000_000, "1s"),
            (2_500_000_000, "2.5s"),
            (60_000_000_000, "1m0s"),
            (3_723_500_000_000, "1h2m3.5s"),
            (3_600_000_000_000, "1h0m0s"),
            (-5_000_000, "-5ms"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(go_duration(ns), text, "{ns}");
        }
    }
}
