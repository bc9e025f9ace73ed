//! Times and durations as templates have them, with the methods of Go's that a template may call.

use super::layout;
use super::value::Item;
use crate::units::go_duration;
use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use std::fmt;

const DURATION: &str = "time.Duration";
/// From the first day of the year 1, which is Go's first time, to that of 1970.
const SECONDS_BEFORE_1970: i64 = 62_135_596_800;

/// A time in a zone, and how that is called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moment {
    time: DateTime<FixedOffset>,
    zone: String,
}

/// A whole number that is printed as a word: a month, a day of the week, a duration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    /// What Go calls its type.
    pub kind: &'static str,
    pub number: i64,
    pub text: String,
}

/// What times and durations can be asked, and with how many arguments.
const METHODS: [(&str, usize); 31] = [
    ("Year", 0),
    ("Month", 0),
    ("Day", 0),
    ("Weekday", 0),
    ("YearDay", 0),
    ("Hour", 0),
    ("Minute", 0),
    ("Second", 0),
    ("Nanosecond", 0),
    ("Unix", 0),
    ("UnixMilli", 0),
    ("UnixMicro", 0),
    ("UnixNano", 0),
    ("UTC", 0),
    ("IsZero", 0),
    ("String", 0),
    ("Format", 1),
    ("Add", 1),
    ("Sub", 1),
    ("Before", 1),
    ("After", 1),
    ("Equal", 1),
    ("Truncate", 1),
    ("Round", 1),
    ("Hours", 0),
    ("Minutes", 0),
    ("Seconds", 0),
    ("Milliseconds", 0),
    ("Microseconds", 0),
    ("Nanoseconds", 0),
    ("Abs", 0),
];

/// What a method gives; `None` where the item has none of that name.
pub(super) fn method(of: &Item, name: &str, given: &[Item]) -> Option<Result<Item, String>> {
    let (_, takes) = METHODS.iter().find(|(known, _)| *known == name)?;
    let made = match (of, given.first()) {
        (Item::Named(named), None) if name == "String" => Some(Item::Text(named.text.clone())),
        (Item::Time(moment), None) => moment.part(name),
        (Item::Time(moment), Some(with)) => moment.compared(name, with),
        (Item::Named(Named { kind: DURATION, number, .. }), None) => in_units(*number, name),
        _ => None,
    };
    match (made, of) {
        (Some(made), _) if given.len() == *takes => Some(Ok(made)),
        (_, Item::Time(_) | Item::Named(_)) if given.len() != *takes => {
            Some(Err(format!("wrong number of args for {name}: want {takes} got {}", given.len())))
        }
        (_, Item::Time(_)) if *takes > 0 => {
            let got = given.first().map_or("nothing", Item::type_name);
            Some(Err(format!("wrong type for value of {name}; got {got}")))
        }
        _ => None,
    }
}

fn duration(ns: i64) -> Item {
    Item::Named(Named { kind: DURATION, number: ns, text: go_duration(ns) })
}

fn in_units(ns: i64, name: &str) -> Option<Item> {
    // The fraction apart, as Go has it, so that the last digits agree.
    let of = |unit: i64| Item::Float((ns / unit) as f64 + (ns % unit) as f64 / unit as f64);
    Some(match name {
        "Hours" => of(3_600_000_000_000),
        "Minutes" => of(60_000_000_000),
        "Seconds" => of(1_000_000_000),
        "Milliseconds" => Item::Int(ns / 1_000_000),
        "Microseconds" => Item::Int(ns / 1_000),
        "Nanoseconds" => Item::Int(ns),
        "Abs" => duration(ns.saturating_abs()),
        _ => return None,
    })
}

impl Moment {
    pub fn utc(time: DateTime<Utc>) -> Moment {
        Moment { time: time.fixed_offset(), zone: "UTC".to_owned() }
    }

    /// A text in one of Go's layouts, of `zone` where it tells none. What is none is Go's first time.
    pub fn read(layout: &str, text: &str, zone: Tz) -> Moment {
        let first = || Moment::utc(DateTime::from_timestamp(-SECONDS_BEFORE_1970, 0).unwrap_or_default());
        Moment::told(layout, text, zone).unwrap_or_else(first)
    }

    fn told(layout: &str, text: &str, zone: Tz) -> Option<Moment> {
        let read = layout::read(layout, text)?;
        let naive = read.naive()?;
        match (read.offset, read.zone) {
            (None, None) => Some(Moment::within(naive, zone)),
            // Whose name says nothing of its offset.
            (None, Some(zone)) => Some(Moment { time: naive.and_utc().fixed_offset(), zone }),
            (Some(seconds), zone) => {
                let time = FixedOffset::east_opt(seconds)?.from_local_datetime(&naive).single()?;
                let spelled = || match seconds {
                    0 => "UTC".to_owned(),
                    _ => layout::written("-0700", &time, ""),
                };
                let zone = zone.unwrap_or_else(spelled);
                Some(Moment { time, zone })
            }
        }
    }

    /// Of an hour that clocks show twice the first; one that they skip is taken for UTC's.
    fn within(naive: NaiveDateTime, zone: Tz) -> Moment {
        let time = zone.from_local_datetime(&naive).earliest();
        let time = time.unwrap_or_else(|| zone.from_utc_datetime(&naive));
        Moment { time: time.fixed_offset(), zone: time.format("%Z").to_string() }
    }

    pub fn instant(&self) -> DateTime<Utc> {
        self.time.to_utc()
    }

    pub fn written(&self, layout: &str) -> String {
        layout::written(layout, &self.time, &self.zone)
    }

    /// Methods without an argument.
    fn part(&self, name: &str) -> Option<Item> {
        let time = &self.time;
        let word = |kind, number: u32, format: &str| {
            Item::Named(Named { kind, number: number.into(), text: time.format(format).to_string() })
        };
        Some(match name {
            "Year" => Item::Int(time.year().into()),
            "Month" => word("time.Month", time.month(), "%B"),
            "Day" => Item::Int(time.day().into()),
            "Weekday" => word("time.Weekday", time.weekday().num_days_from_sunday(), "%A"),
            "YearDay" => Item::Int(time.ordinal().into()),
            "Hour" => Item::Int(time.hour().into()),
            "Minute" => Item::Int(time.minute().into()),
            "Second" => Item::Int(time.second().into()),
            "Nanosecond" => Item::Int(time.nanosecond().into()),
            "Unix" => Item::Int(time.timestamp()),
            "UnixMilli" => Item::Int(time.timestamp_millis()),
            "UnixMicro" => Item::Int(time.timestamp_micros()),
            "UnixNano" => Item::Int(time.timestamp_nanos_opt().unwrap_or_default()),
            "UTC" => Item::Time(Moment::utc(self.instant())),
            "IsZero" => Item::Bool(self.since_first() == 0),
            "String" => Item::Text(self.to_string()),
            _ => return None,
        })
    }

    /// Methods with one argument.
    fn compared(&self, name: &str, with: &Item) -> Option<Item> {
        if let (Item::Text(layout), "Format") = (with, name) {
            return Some(Item::Text(self.written(layout)));
        }
        if let Item::Time(other) = with {
            return Some(match name {
                "Sub" => {
                    let between = self.time - other.time;
                    duration(between.num_nanoseconds().unwrap_or(i64::MAX))
                }
                "Before" => Item::Bool(self.time < other.time),
                "After" => Item::Bool(self.time > other.time),
                "Equal" => Item::Bool(self.time == other.time),
                _ => return None,
            });
        }
        let by = with.whole()?;
        let over = |by: i64| self.since_first().rem_euclid(by.into()) as i64;
        let moved = match name {
            "Add" => by,
            "Truncate" | "Round" if by <= 0 => 0,
            "Truncate" => -over(by),
            "Round" if over(by) < by - over(by) => -over(by),
            "Round" => by - over(by),
            _ => return None,
        };
        let time = self.time.checked_add_signed(TimeDelta::nanoseconds(moved))?;
        Some(Item::Time(Moment { time, zone: self.zone.clone() }))
    }

    /// Nanoseconds since Go's first time.
    fn since_first(&self) -> i128 {
        let seconds = i128::from(self.time.timestamp()) + i128::from(SECONDS_BEFORE_1970);
        seconds * 1_000_000_000 + i128::from(self.time.timestamp_subsec_nanos())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}
