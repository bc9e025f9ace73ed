//! When a CronJob is due next: the five fields of its schedule, as Kubernetes reads them (names, ranges, steps, lists,
//! `@hourly` and its like), in UTC.

use chrono::{DateTime, Datelike, Duration, TimeZone, Timelike, Utc};

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

/// February 29 comes again within eight years.
const YEARS_MAX: i32 = 9;

impl Schedule {
    /// `None` where it is no schedule, or `@every`, which depends on when it was last due alone.
    pub fn parse(text: &str) -> Option<Schedule> {
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

    /// The first time after `since` (seconds since 1970); `None` where there is none, as on February 30.
    pub fn next(&self, since: i64) -> Option<i64> {
        let since = DateTime::<Utc>::from_timestamp(since, 0)?;
        let mut at = since.with_second(0)? + Duration::minutes(1);
        let last = since.year() + YEARS_MAX;
        while at.year() < last {
            if !has(self.months, at.month()) {
                let (year, month) =
                    if at.month() == 12 { (at.year() + 1, 1) } else { (at.year(), at.month() + 1) };
                at = Utc.with_ymd_and_hms(year, month, 1, 0, 0, 0).single()?;
            } else if !self.is_day(at) {
                at = at.with_hour(0)?.with_minute(0)? + Duration::days(1);
            } else if !has(self.hours, at.hour()) {
                at = at.with_minute(0)? + Duration::hours(1);
            } else if !has(self.minutes, at.minute()) {
                at += Duration::minutes(1);
            } else {
                return Some(at.timestamp());
            }
        }
        None
    }

    fn is_day(&self, at: DateTime<Utc>) -> bool {
        let day = has(self.days, at.day());
        let weekday = has(self.weekdays, at.weekday().num_days_from_sunday());
        // Where both choose, either will do.
        if self.any_day || self.any_weekday { day && weekday } else { day || weekday }
    }
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

    fn next(schedule: &str, since: &str) -> String {
        let since = DateTime::parse_from_rfc3339(since).unwrap().timestamp();
        let next = Schedule::parse(schedule).and_then(|schedule| schedule.next(since));
        next.and_then(|at| DateTime::<Utc>::from_timestamp(at, 0))
            .map_or("never".to_owned(), |at| at.format("%Y-%m-%dT%H:%M").to_string())
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
            "@every 5m",
            "a * * * *",
        ] {
            assert_eq!(Schedule::parse(wrong), None, "{wrong}");
        }
    }
}
