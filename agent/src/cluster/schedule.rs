//! When a CronJob is due next: the five fields of its schedule, as Kubernetes reads them (names, ranges, steps, lists,
//! `@hourly` and its like), in UTC or in the time zone that it names. Zones are those that this program was built with: those
//! of the machine may be older, and an image need not have any.

use chrono::{DateTime, Datelike, Duration, NaiveDate, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

/// Of each field the values at which it is due, as bits.
#[derive(Debug, PartialEq)]
pub struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// A field that says nothing does not choose: days then come from the other.
    any_day: bool,
    any_weekday: bool,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// When it is due is a matter of the clock on the wall, or of the time that passed.
#[derive(Debug, PartialEq)]
pub enum Due {
    At(Schedule),
    /// `@every 90m`: seconds.
    Every(i64),
}

/// February 29 comes again within eight years.
const YEARS_MAX: i32 = 9;

impl Due {
    /// `None` where it is no schedule.
    pub fn parse(text: &str) -> Option<Due> {
        match text.trim().strip_prefix("@every ") {
            Some(time) => every(time.trim()).map(Due::Every),
            None => Schedule::parse(text).map(Due::At),
        }
    }

    /// Whether it is one that a clock in that zone can keep.
    pub fn is_valid(text: &str, zone: &str) -> bool {
        Due::parse(text).is_some() && (zone.is_empty() || zone.parse::<Tz>().is_ok())
    }

    /// The first time after `since` (seconds since 1970) in the zone of that name, or in UTC; `None` where there is none, as
    /// on February 30, and where nobody knows the zone.
    pub fn next(&self, since: i64, zone: &str) -> Option<i64> {
        let zone = if zone.is_empty() { Tz::UTC } else { zone.parse().ok()? };
        match self {
            Due::At(schedule) => {
                schedule.next(DateTime::<Utc>::from_timestamp(since, 0)?.with_timezone(&zone))
            }
            Due::Every(seconds) => since.checked_add(*seconds),
        }
    }
}

/// `1h30m10s` in seconds, at least one.
fn every(text: &str) -> Option<i64> {
    let (mut sum, mut rest) = (0_f64, text);
    while !rest.is_empty() {
        let number = rest.find(|letter: char| !matches!(letter, '0'..='9' | '.'))?;
        let unit = rest[number..].find(|letter: char| matches!(letter, '0'..='9' | '.'));
        let (this, next) = rest.split_at(unit.map_or(rest.len(), |unit| number + unit));
        let seconds = match &this[number..] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        sum += this[..number].parse::<f64>().ok()? * seconds;
        rest = next;
    }
    // Further than this no clock goes; a part of a second is cut off.
    (!text.is_empty() && sum < 1e10).then_some((sum as i64).max(1))
}

impl Schedule {
    fn parse(text: &str) -> Option<Schedule> {
        let text = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else { return None };
        let is_any = |field: &str| field.split(',').any(|part| matches!(part, "*" | "?"));
        Some(Schedule {
            minutes: bits(minute, (0, 59), &[])?,
            hours: bits(hour, (0, 23), &[])?,
            days: bits(day, (1, 31), &[])?,
            months: bits(month, (1, 12), &MONTHS)?,
            weekdays: bits(weekday, (0, 6), &WEEKDAYS)?,
            any_day: is_any(day),
            any_weekday: is_any(weekday),
        })
    }

    /// An hour that the clock leaves out in spring is never due, and one that it has twice in autumn is due twice.
    fn next(&self, since: DateTime<Tz>) -> Option<i64> {
        let zone = since.timezone();
        // Not by setting its seconds: an hour that is there twice would have to be chosen.
        let mut at = since + Duration::seconds(60 - i64::from(since.second()));
        let last = since.year() + YEARS_MAX;
        while at.year() < last {
            if !has(self.months, at.month()) {
                let (year, month) =
                    if at.month() == 12 { (at.year() + 1, 1) } else { (at.year(), at.month() + 1) };
                at = begin_of(NaiveDate::from_ymd_opt(year, month, 1)?, zone)?;
            } else if !self.is_day(at.date_naive()) {
                at = begin_of(at.date_naive().succ_opt()?, zone)?;
            } else if !has(self.hours, at.hour()) {
                // Half hours by which some zones are off are not skipped.
                at += Duration::minutes(i64::from(60 - at.minute()));
            } else if !has(self.minutes, at.minute()) {
                at += Duration::minutes(1);
            } else {
                return Some(at.timestamp());
            }
        }
        None
    }

    fn is_day(&self, at: NaiveDate) -> bool {
        let day = has(self.days, at.day());
        let weekday = has(self.weekdays, at.weekday().num_days_from_sunday());
        // Where both choose, either will do.
        if self.any_day || self.any_weekday { day && weekday } else { day || weekday }
    }
}

/// Midnight, or the first time after it: in some zones the clock goes forward at midnight.
fn begin_of(day: NaiveDate, zone: Tz) -> Option<DateTime<Tz>> {
    (0..4).find_map(|half| zone.from_local_datetime(&day.and_hms_opt(half / 2, half % 2 * 30, 0)?).earliest())
}

fn has(bits: u64, at: u32) -> bool {
    bits >> at & 1 == 1
}

/// `*/15`, `1-5`, `mon,wed`, `3/10`.
fn bits(field: &str, (first, last): (u32, u32), names: &[&str]) -> Option<u64> {
    let number = |text: &str| -> Option<u32> {
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let number = match named {
            Some(at) => first + u32::try_from(at).ok()?,
            None => text.parse().ok()?,
        };
        (first..=last).contains(&number).then_some(number)
    };
    let mut found = 0;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<usize>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from)?, number(to)?),
            None if matches!(range, "*" | "?") => (first, last),
            // With a step, up to the end.
            None => (number(range)?, if step.is_some() { last } else { number(range)? }),
        };
        if from > to {
            return None;
        }
        (from..=to).step_by(step.unwrap_or(1)).for_each(|at| found |= 1 << at);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_in(zone: &str, schedule: &str, since: &str) -> String {
        let since = DateTime::parse_from_rfc3339(since).unwrap().timestamp();
        let next = Due::parse(schedule).and_then(|due| due.next(since, zone));
        next.and_then(|at| DateTime::<Utc>::from_timestamp(at, 0))
            .map_or("never".to_owned(), |at| at.format("%Y-%m-%dT%H:%M").to_string())
    }

    fn next(schedule: &str, since: &str) -> String {
        next_in("", schedule, since)
    }

    #[test]
    fn a_zone_has_its_own_noon() {
        for (zone, schedule, since, is) in [
            ("Etc/UTC", "0 12 * * *", "2026-07-01T00:00:00Z", "2026-07-01T12:00"),
            ("Europe/Berlin", "0 12 * * *", "2026-07-01T00:00:00Z", "2026-07-01T10:00"),
            ("Europe/Berlin", "0 12 * * *", "2026-12-01T00:00:00Z", "2026-12-01T11:00"),
            ("Asia/Kolkata", "15 0 * * *", "2026-07-01T00:00:00Z", "2026-07-01T18:45"),
            ("America/New_York", "0 0 1 * *", "2026-06-15T00:00:00Z", "2026-07-01T04:00"),
            // From 02:00 to 03:00 in spring: half past two is not there that day.
            ("Europe/Berlin", "30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:30"),
            // From 03:00 to 02:00 in autumn: half past two is there twice.
            ("Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30"),
            ("Europe/Berlin", "30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:30"),
            // No midnight that day.
            ("Africa/Cairo", "0 1 * * *", "2026-04-23T12:00:00Z", "2026-04-23T22:00"),
            ("Australia/Lord_Howe", "0 * * * *", "2026-04-04T14:00:00Z", "2026-04-04T15:30"),
            ("Mars/Olympus", "0 12 * * *", "2026-07-01T00:00:00Z", "never"),
            ("Europe/Berlin", "@every 1h30m", "2026-07-01T00:00:00Z", "2026-07-01T01:30"),
        ] {
            assert_eq!(next_in(zone, schedule, since), is, "{schedule} in {zone} after {since}");
        }
    }

    #[test]
    fn the_next_time_is_found() {
        for (schedule, since, is) in [
            ("* * * * *", "2026-03-01T10:00:30Z", "2026-03-01T10:01"),
            ("*/15 * * * *", "2026-03-01T10:46:00Z", "2026-03-01T11:00"),
            ("5/20 3 * * *", "2026-03-01T03:25:00Z", "2026-03-01T03:45"),
            ("0 0 1 1 *", "2026-03-01T00:00:00Z", "2027-01-01T00:00"),
            ("@weekly", "2026-11-26T12:00:00Z", "2026-11-29T00:00"),
            ("30 6 * * mon-fri", "2026-11-27T06:30:00Z", "2026-11-30T06:30"),
            ("0 12 13 * FRI", "2026-11-26T00:00:00Z", "2026-11-27T12:00"),
            ("0 0 29 FEB *", "2026-01-01T00:00:00Z", "2028-02-29T00:00"),
            ("0 0 30 2 *", "2026-01-01T00:00:00Z", "never"),
            ("59 23 31 12 ?", "2026-12-31T23:59:00Z", "2027-12-31T23:59"),
        ] {
            assert_eq!(next(schedule, since), is, "{schedule} after {since}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_never_due() {
        for wrong in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "*/0 * * * *",
            "5-1 * * * *",
            "@every 5",
            "@every ",
            "@every 5y",
            "a * * * *",
        ] {
            assert_eq!(Due::parse(wrong), None, "{wrong}");
        }
    }
}
