//! OpenCost's ways to write a window: `today`, `lastweek`, `12h`, `7d offset 1d`, two RFC 3339 times, two Unix times.

use chrono::{DateTime, Datelike, Duration, NaiveDate, Utc};

/// From `start_ms` to before `end_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub start_ms: i64,
    pub end_ms: i64,
}

impl Window {
    pub fn length_ms(self) -> i64 {
        self.end_ms.saturating_sub(self.start_ms)
    }
}

pub fn parse(text: &str, now: DateTime<Utc>) -> Result<Window, String> {
    let text = text.trim();
    let is_digit = |c: char| c.is_ascii_digit();
    // `0-3600`; in a time of RFC 3339 other signs are between digits, too.
    let pair = text.split_once('-').filter(|(a, b)| a.chars().chain(b.chars()).all(is_digit));
    let window = match text.split_once(',').or(pair) {
        Some((start, end)) => Window { start_ms: instant(start)?, end_ms: instant(end)? },
        None => match named(text, now) {
            Some(window) => window,
            None => {
                let (length, back) = text.split_once(" offset ").unwrap_or((text, ""));
                let back_ms = if back.is_empty() { 0 } else { duration_ms(back)? };
                let end_ms = now.timestamp_millis().saturating_sub(back_ms);
                Window { start_ms: end_ms.saturating_sub(duration_ms(length)?), end_ms }
            }
        },
    };
    if window.start_ms >= window.end_ms {
        return Err(format!("window {text:?} is empty: it ends before it begins"));
    }
    Ok(window)
}

fn named(text: &str, now: DateTime<Utc>) -> Option<Window> {
    let today = now.date_naive();
    let week = today - Duration::days(i64::from(today.weekday().num_days_from_sunday()));
    let month = today.with_day(1)?;
    let midnight = |day: NaiveDate| Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis());
    let now_ms = now.timestamp_millis();
    let (start_ms, end_ms) = match text {
        "today" => (midnight(today)?, now_ms),
        "yesterday" => (midnight(today - Duration::days(1))?, midnight(today)?),
        "week" => (midnight(week)?, now_ms),
        "lastweek" => (midnight(week - Duration::days(7))?, midnight(week)?),
        "month" => (midnight(month)?, now_ms),
        "lastmonth" => (midnight((month - Duration::days(1)).with_day(1)?)?, midnight(month)?),
        _ => return None,
    };
    // Midnight itself: an empty day is still that day.
    Some(Window { start_ms, end_ms: end_ms.max(start_ms + 1) })
}

fn instant(text: &str) -> Result<i64, String> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1_000).ok_or_else(|| format!("{text:?} is no time"));
    }
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_millis())
        .map_err(|_| format!("{text:?} is neither a Unix time nor RFC 3339 such as 2026-01-02T15:04:05Z"))
}

/// `30m`, `12h`, `7d`, `2w`.
pub fn duration_ms(text: &str) -> Result<i64, String> {
    let wrong =
        || format!("{text:?} is not understood; write for example 24h, 7d, today, or two times with a comma");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: i64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit_ms = match &text[digits..] {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 7 * 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit_ms).filter(|ms| *ms > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_understood() {
        // A Wednesday.
        let now: DateTime<Utc> = "2026-03-04T12:00:00Z".parse().unwrap();
        let check = |text: &str, start: &str, end: &str| {
            let ms = |text: &str| text.parse::<DateTime<Utc>>().unwrap().timestamp_millis();
            assert_eq!(parse(text, now), Ok(Window { start_ms: ms(start), end_ms: ms(end) }), "{text}");
        };
        check("today", "2026-03-04T00:00:00Z", "2026-03-04T12:00:00Z");
        check("yesterday", "2026-03-03T00:00:00Z", "2026-03-04T00:00:00Z");
        check("lastweek", "2026-02-22T00:00:00Z", "2026-03-01T00:00:00Z");
        check("lastmonth", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z");
        check("12h", "2026-03-04T00:00:00Z", "2026-03-04T12:00:00Z");
        check("2026-01-01T00:00:00Z,2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        check("0,3600", "1970-01-01T00:00:00Z", "1970-01-01T01:00:00Z");
        check("0-3600", "1970-01-01T00:00:00Z", "1970-01-01T01:00:00Z");
        check("12h offset 1d", "2026-03-03T00:00:00Z", "2026-03-03T12:00:00Z");
        for bad in [
            "",
            "soon",
            "5",
            "12h offset",
            "12h offset x",
            "-5",
            "5-",
            "1h-2h",
            "0h",
            "-1h",
            "2,1",
            "1,x",
            "99999999999999999999d",
            "9223372036854775807w",
            "é",
        ] {
            assert!(parse(bad, now).is_err(), "{bad}");
        }
    }
}
