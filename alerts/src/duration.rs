//! Durations as Prometheus writes them: `90s`, `1h30m`, `5d`.

use std::time::Duration;

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The units must come from big to small, each once. `0` needs no unit.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write for example 30s, 5m, 1h30m or 7d");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut total_ms, mut units) = (text, 0u64, &UNITS[..]);
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let at = units.iter().position(|(unit, _)| *unit == &rest[..letters]).ok_or_else(wrong)?;
        let ms = number.checked_mul(units[at].1).and_then(|ms| ms.checked_add(total_ms));
        total_ms = ms.ok_or_else(|| format!("{text:?} is longer than can be counted"))?;
        units = &units[at + 1..];
        rest = &rest[letters..];
    }
    // What is added to a time in milliseconds must not overflow it.
    if total_ms > 1_000 * UNITS[0].1 {
        return Err(format!("{text:?} is longer than 1000 years"));
    }
    Ok(Duration::from_millis(total_ms))
}

/// The same back, with as few units as say it exactly.
pub fn print(duration: Duration) -> String {
    let mut ms = duration.as_millis() as u64;
    if ms == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (unit, size) in UNITS {
        // Weeks and years only where nothing is left over: `90d` is what people write.
        if ms >= size && (!matches!(unit, "y" | "w") || ms.is_multiple_of(size)) {
            text.push_str(&format!("{}{unit}", ms / size));
            ms %= size;
        }
    }
    text
}

pub fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms) in
            [("0", 0), ("30s", 30_000), ("1h30m", 5_400_000), ("1d", 86_400_000), ("2w", 1_209_600_000)]
        {
            assert_eq!(parse(text).unwrap().as_millis(), ms, "{text}");
        }
        for bad in
            ["", "5", "m", "5 m", "1m1h", "1m1m", "-5m", "1.5h", "99999999999999999y", "2000y", "5mm", "é"]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        for text in ["0s", "30s", "1h30m", "30d", "1w", "500ms"] {
            let same = if text == "0s" { "0" } else { text };
            assert_eq!(print(parse(same).unwrap()), text);
        }
    }
}
