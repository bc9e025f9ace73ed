//! Durations and byte sizes as people write them, and places in texts.

use super::memory_limit;
use anyhow::{Context, bail};
use std::path::Path;
use std::time::Duration;

/// `90s`, `15m`, `1h30m`, `31d`, `2w`, `1y`, `250ms`: Prometheus' durations. A bare number is refused, as its unit
/// would be a guess.
pub fn parse_duration(text: &str) -> anyhow::Result<Duration> {
    let mut rest = text.trim();
    let mut total_ms: u64 = 0;
    if rest.is_empty() {
        bail!("is empty; write a duration such as 30s, 15m or 31d");
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => bail!("is not a duration such as 30s, 15m, 1h30m or 31d"),
        };
        let number: u64 = number.parse().context("is not a duration such as 30s, 15m, 1h30m or 31d")?;
        total_ms = number
            .checked_mul(unit_ms)
            .and_then(|ms| total_ms.checked_add(ms))
            .context("is too long a duration")?;
        rest = tail;
    }
    if total_ms == 0 {
        bail!("must be longer than nothing");
    }
    Ok(Duration::from_millis(total_ms))
}

/// `512MiB`, `2GiB`, `1500MB`, `1073741824`.
pub fn parse_bytes(text: &str) -> anyhow::Result<usize> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: usize = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "tb" | "t" => 1_000_000_000_000,
        "kib" | "ki" => 1 << 10,
        "mib" | "mi" => 1 << 20,
        "gib" | "gi" => 1 << 30,
        "tib" | "ti" => 1 << 40,
        _ => bail!("is not a size such as 512MiB or 2GiB"),
    };
    let number: usize = number.parse().context("is not a size such as 512MiB or 2GiB")?;
    number.checked_mul(factor).context("is too large a size")
}

/// Limits that have Loki's names have its units, too: a kilobyte is 1,024 bytes there.
pub fn parse_bytes_of_loki(text: &str) -> anyhow::Result<usize> {
    let lower = text.trim().to_ascii_lowercase();
    let before = lower.strip_suffix('b').unwrap_or(&lower);
    if before.ends_with(['k', 'm', 'g', 't']) {
        parse_bytes(&format!("{before}ib"))
    } else {
        parse_bytes(text)
    }
}

/// What is assumed of a machine that does not say how much memory it has.
const MEMORY_UNKNOWN: usize = 1 << 30;

/// 70 % of what this process may use: the cgroup's limit where there is one, else the machine.
pub fn memory_default() -> usize {
    let Ok(mut system) = sysinfo::System::new() else { return MEMORY_UNKNOWN };
    system.refresh_memory();
    let machine = system.total_memory();
    let limit = memory_limit::of_groups(Path::new("/")).map_or(machine, |limit| limit.min(machine));
    usize::try_from(limit / 10 * 7).unwrap_or(usize::MAX)
}

/// Line and column of a byte of a text, both from 1.
pub fn place(text: &str, at: usize) -> String {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(&before[begin..]).chars().count() + 1;
    format!("{line}:{column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        for wrong in
            ["", "5", "m", "0s", "5 parsecs", "99999999999999999999s", "9999999999999y", "-1s", "1h 5m"]
        {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_bytes("2GiB").unwrap(), 2 << 30);
        assert_eq!(parse_bytes("1500 MB").unwrap(), 1_500_000_000);
        assert_eq!(parse_bytes("42").unwrap(), 42);
        for (text, bytes) in
            [("256KB", 256 << 10), ("256k", 256 << 10), ("3 MB", 3 << 20), ("3MiB", 3 << 20), ("42", 42)]
        {
            assert_eq!(parse_bytes_of_loki(text).unwrap(), bytes, "{text}");
        }
        assert!(parse_bytes_of_loki("1.5MB").is_err() && parse_bytes_of_loki("kb").is_err());
        for wrong in ["", "GiB", "1.5GiB", "-1", "99999999999TiB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
