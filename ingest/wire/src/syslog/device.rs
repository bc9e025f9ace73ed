//! What network devices write, as Cisco's do (sources: "System Message Logging" of IOS and NX-OS, "Syslog Messages" of ASA):
//! `33: *Nov 28 13:00:00.123 UTC: %SYS-5-CONFIG_I: text`, `Nov 28 2026 13:00:00 fw01 : %ASA-6-302013: text`. Number, name and
//! time may be there or not; what is said begins with `%`.
//!
//! Read as RFC 3164, the number of a message would be a program's name, and a stream of its own each.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

#[derive(Debug, Default, PartialEq)]
pub(super) struct Said<'a> {
    pub time: Option<NaiveDateTime>,
    /// Whether the time says that it is UTC's.
    pub is_utc: bool,
    pub sequence: Option<&'a str>,
    pub host: Option<&'a str>,
    pub body: &'a str,
}

pub(super) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// More words are no head of a message.
const WORDS_MAX: usize = 12;

/// Of a line behind its priority; `year` is asked for where none is written. `None`: no device wrote this.
pub(super) fn read(line: &str, year: impl Fn(syslog_loose::IncompleteDate) -> i32) -> Option<Said<'_>> {
    let at = line.find('%')?;
    let (head, body) = line.split_at(at);
    if !is_coded(body) {
        return None;
    }
    let mut said = Said { body, ..Said::default() };
    let words: Vec<&str> = head.split_whitespace().take(WORDS_MAX + 1).collect();
    if words.len() > WORDS_MAX {
        return None;
    }
    let (mut date, mut month) = ((None, None), None);
    let mut words = words.into_iter().peekable();
    while let Some(written) = words.next() {
        let word = written.trim_end_matches(':').trim_start_matches(['*', '.']);
        if word.is_empty() {
            continue;
        }
        let number = word.parse::<u32>().ok();
        if let Some(found) = MONTHS.iter().position(|name| *name == word) {
            // A relay may have put a date of its own before the device's.
            (month, date.0) = (Some(found as u32 + 1), None);
        } else if let (Some(day), Some(_), None) = (number, month, date.0) {
            date.0 = Some(day);
        } else if let (Some(year), true) = (number, word.len() == 4 && written.len() == 4) {
            date.1 = Some(year as i32);
        } else if number.is_some() {
            said.sequence = Some(word);
        } else if let Some(time) =
            word.starts_with(|c: char| c.is_ascii_digit()).then(|| clock(word)).flatten()
        {
            said.time = dated(date.1, month?, date.0?, time, &year);
            if let Some(zone) = words.next_if(|next| is_zone(next)) {
                said.is_utc = matches!(zone, "UTC:" | "GMT:");
            }
        } else if said.host.is_none() {
            said.host = Some(word);
        } else {
            return None;
        }
    }
    Some(said)
}

/// `%FACILITY-6-MNEMONIC: `, with more words before the severity perhaps.
fn is_coded(text: &str) -> bool {
    let Some((code, _)) = text[1..].split_once(": ") else { return false };
    let parts: Vec<&str> = code.split('-').collect();
    let is_word = |part: &&str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let is_severity = |part: &&str| matches!(part.as_bytes(), [b'0'..=b'7']);
    parts.len() >= 3 && parts.iter().all(is_word) && is_severity(&parts[parts.len() - 2])
}

fn clock(word: &str) -> Option<NaiveTime> {
    NaiveTime::parse_from_str(word, "%H:%M:%S%.f").ok()
}

/// `UTC:`; a name of a host has a blank before its colon there.
fn is_zone(word: &str) -> bool {
    let name = word.strip_suffix(':').unwrap_or("");
    (3..=5).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn dated(
    written: Option<i32>,
    month: u32,
    day: u32,
    time: NaiveTime,
    year: &impl Fn(syslog_loose::IncompleteDate) -> i32,
) -> Option<NaiveDateTime> {
    use chrono::Timelike;
    let year = written.unwrap_or_else(|| year((month, day, time.hour(), time.minute(), time.second())));
    Some(NaiveDate::from_ymd_opt(year, month, day)?.and_time(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_all_kinds_are_read() {
        let at = |text: &str| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok();
        for (head, sequence, host, time, is_utc) in [
            ("33: Nov 28 13:00:00.123: ", Some("33"), None, at("2026-11-28 13:00:00.123"), false),
            ("000033: *Nov  8 13:00:00.123 UTC: ", Some("000033"), None, at("2026-11-08 13:00:00.123"), true),
            (
                "33: router1: .Nov 28 13:00:00 CET: ",
                Some("33"),
                Some("router1"),
                at("2026-11-28 13:00:00"),
                false,
            ),
            ("Nov 28 2025 13:00:00: ", None, None, at("2025-11-28 13:00:00"), false),
            ("Nov 28 2025 13:00:00 fw01 : ", None, Some("fw01"), at("2025-11-28 13:00:00"), false),
            (": 2025 Nov 28 13:00:00 UTC: ", None, None, at("2025-11-28 13:00:00"), true),
            (
                "Nov 28 2025 13:00:00 10.0.0.1 33: *Nov 28 13:00:01 UTC: ",
                Some("33"),
                Some("10.0.0.1"),
                at("2025-11-28 13:00:01"),
                true,
            ),
            ("", None, None, None, false),
        ] {
            let body = "%LINK-3-UPDOWN: Interface up 100%";
            let line = format!("{head}{body}");
            let said = read(&line, |_| 2026).unwrap();
            assert_eq!(said, Said { time, is_utc, sequence, host, body }, "{head}");
        }
    }

    #[test]
    fn others_lines_are_not_a_devices() {
        for line in [
            "Nov 28 13:00:00 host app: 50% done: yes",
            "host app: %s: x",
            "a b c d e f g h i: %SYS-5-CONFIG_I: x",
            "one two: %SYS-5-CONFIG_I: x",
            "%SYS-9-CONFIG_I: x",
            "%SYS-5: x",
            "text",
        ] {
            assert_eq!(read(line, |_| 2026), None, "{line}");
        }
    }
}
