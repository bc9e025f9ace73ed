//! A time from a value or a text.

use crate::template::value::Item;
use chrono::{DateTime, Utc};
use std::num::{IntErrorKind, ParseIntError};

pub(super) fn instant(item: &Item) -> Result<DateTime<Utc>, String> {
    match item {
        Item::Time(time) => Ok(time.instant()),
        // Numbers are seconds.
        Item::Int(seconds) => DateTime::from_timestamp(*seconds, 0).ok_or_else(|| "no time".to_owned()),
        other => Err(format!("wrong type for value; expected time.Time; got {}", other.type_name())),
    }
}

/// A time of days, seconds, milliseconds, microseconds or nanoseconds since 1970, which its length tells.
pub(super) fn unix_time(text: &str) -> Result<DateTime<Utc>, String> {
    let number: i64 = text.parse().map_err(|why: ParseIntError| {
        let is_long = matches!(why.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow);
        let why = if is_long { "value out of range" } else { "invalid syntax" };
        format!("unable to parse time '{text}': strconv.ParseInt: parsing {text:?}: {why}")
    })?;
    let time = match text.len() {
        5 => DateTime::from_timestamp(number * 86_400, 0),
        10 => DateTime::from_timestamp(number, 0),
        13 => DateTime::from_timestamp_millis(number),
        16 => DateTime::from_timestamp_micros(number),
        19 => Some(DateTime::from_timestamp_nanos(number)),
        _ => None,
    };
    time.ok_or_else(|| format!("unable to parse time '{text}': %!w(<nil>)"))
}
