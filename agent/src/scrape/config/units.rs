//! Durations and sizes as Prometheus writes them.

use serde::Deserialize;
use serde_yaml_ng::Value;
use std::time::Duration;

/// A duration as Prometheus writes it.
#[derive(Clone, Copy)]
pub(super) struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration(&text).map(Span).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "not a valid duration string: {text:?}; write it as 15s or 1m30s"
            ))
        })
    }
}

/// `1h30m`, units from the largest to the smallest.
pub fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 31_536_000_000),
        ("w", 604_800_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut ms, mut next) = (text, 0u64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let unit = next + UNITS[next..].iter().position(|(unit, _)| *unit == &rest[..letters])?;
        ms = ms.checked_add(number.checked_mul(UNITS[unit].1)?)?;
        (rest, next) = (&rest[letters..], unit + 1);
    }
    (!text.is_empty()).then_some(Duration::from_millis(ms))
}

/// The other way.
pub fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis() as u64;
    let mut rest = ms;
    let mut out = String::new();
    for (unit, of_ms) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= of_ms {
            out.push_str(&format!("{}{unit}", rest / of_ms));
            rest %= of_ms;
        }
    }
    if ms == 0 { "0s".into() } else { out }
}

/// `10MB`; every unit counts by 1,024.
#[derive(Clone, Copy)]
pub(super) struct Bytes(pub usize);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text,
            other => return Err(serde::de::Error::custom(format!("{other:?} is no number of bytes"))),
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let unit = text[digits..].trim_end_matches("iB").trim_end_matches('B');
        let power = ["", "K", "M", "G", "T"].iter().position(|known| *known == unit);
        let power = power.filter(|_| digits < text.len() || text == "0");
        let bytes = text[..digits].parse::<usize>().ok().zip(power);
        let bytes =
            bytes.and_then(|(number, power)| number.checked_mul(1usize.checked_shl(10 * power as u32)?));
        bytes.map(Bytes).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is no number of bytes; write it as 10MB or 512KB"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_prometheus_own() {
        for (text, ms) in
            [("15s", 15_000), ("1h30m", 5_400_000), ("1d", 86_400_000), ("1m0s500ms", 60_500), ("0", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["15s", "1h30m", "24h", "1m500ms", "0s"] {
            assert_eq!(duration_text(duration(text).unwrap()), text);
        }
        for text in ["", "5", "s", "5x", "1m1h", "1.5s", "-1s", "99999999999999999999s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
