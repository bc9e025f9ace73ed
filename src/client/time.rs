//! Times and steps on the command line.

use crate::config::parse_duration;
use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};

/// RFC 3339, Unix seconds, `now`, or a duration before `now` such as `-1h`; nothing is `default`.
pub fn parse(
    text: Option<&str>,
    now: DateTime<Utc>,
    default: DateTime<Utc>,
) -> anyhow::Result<DateTime<Utc>> {
    let Some(text) = text else { return Ok(default) };
    if text == "now" {
        return Ok(now);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    if let Some(before) = text.strip_prefix('-').or_else(|| text.strip_prefix("now-")) {
        let before = TimeDelta::from_std(parse_duration(before).with_context(|| format!("time {text:?}"))?)?;
        return now.checked_sub_signed(before).with_context(|| format!("time {text:?} is before time began"));
    }
    let seconds: f64 = match text.parse() {
        Ok(seconds) => seconds,
        Err(_) => bail!(
            "time {text:?} is neither RFC 3339, nor Unix seconds, nor a duration before now such as -1h"
        ),
    };
    DateTime::from_timestamp_millis((seconds * 1e3) as i64)
        .with_context(|| format!("time {text:?} is out of range"))
}

pub fn seconds(time: DateTime<Utc>) -> String {
    format!("{}.{:03}", time.timestamp(), time.timestamp_subsec_millis())
}

pub fn nanoseconds(time: DateTime<Utc>) -> String {
    time.timestamp_nanos_opt().unwrap_or(i64::MAX).to_string()
}

/// Seconds between two points: as asked, else the range in 250 points, at least one second.
pub fn step(text: Option<&str>, start: DateTime<Utc>, end: DateTime<Utc>) -> anyhow::Result<String> {
    if let Some(text) = text {
        let step = parse_duration(text).with_context(|| format!("--step {text:?}"))?;
        return Ok(step.as_secs_f64().to_string());
    }
    Ok(((end - start).num_seconds() / 250).max(1).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_every_form() {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let at = |text| parse(Some(text), now, now).map(|t| t.timestamp());
        assert_eq!(at("-1h").unwrap(), 996_400);
        assert_eq!(at("now-1m").unwrap(), 999_940);
        assert_eq!(at("1970-01-01T00:00:05Z").unwrap(), 5);
        assert_eq!(at("7.5").unwrap(), 7);
        assert!(at("yesterday").is_err());
        assert_eq!(step(None, now, now).unwrap(), "1");
    }
}
