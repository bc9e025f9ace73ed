//! Times that lines write out themselves. Most are the record's own time, cut to some unit, so that the difference is
//! all there is to keep, and it is most often nothing.
//!
//! A stamp is read as UTC. A local time then differs by hours, the same ones on every line. What is written without a year
//! takes the record's.

use chrono::{Datelike, NaiveDate};

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    form: Form,
    /// Digits of the second's fraction, 0 to 9, and what stands before them.
    digits: u8,
    point: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// `2026-11-01T00:00:00`
    Iso,
    /// `2026-11-01 00:00:00`
    Spaced,
    /// `2026/11/01 00:00:00`
    Slashes,
    /// `01/Nov/2026:00:00:00`
    Access,
    /// `I1101 00:00:00`, without its letter.
    Klog,
    /// `Nov  1 00:00:00`
    Syslog,
}

const FORMS: [Form; 6] = [Form::Iso, Form::Spaced, Form::Slashes, Form::Access, Form::Klog, Form::Syslog];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SECOND_NS: i64 = 1_000_000_000;
const DAY_S: i64 = 86_400;

/// A time as it was read; the year may be missing.
struct Parsed {
    year: Option<i32>,
    month: u32,
    day: u32,
    second: i64,
}

impl Stamp {
    /// The stamp that the text begins with, and its length.
    pub fn at_start(text: &[u8]) -> Option<(Stamp, usize)> {
        let form = match text {
            [_, _, _, _, b'-', _, _, b'-', _, _, b'T', ..] => Form::Iso,
            [_, _, _, _, b'-', _, _, b'-', _, _, b' ', ..] => Form::Spaced,
            [_, _, _, _, b'/', _, _, b'/', _, _, b' ', ..] => Form::Slashes,
            [_, _, b'/', _, _, _, b'/', _, _, _, _, b':', ..] => Form::Access,
            [_, _, _, _, b' ', _, _, b':', _, _, b':', ..] => Form::Klog,
            [b'A'..=b'Z', _, _, b' ', _, _, b' ', _, _, b':', ..] => Form::Syslog,
            _ => return None,
        };
        let end = form.len();
        form.parse(text.get(..end)?)?;
        let mut stamp = Stamp { form, digits: 0, point: 0 };
        if let [point @ (b'.' | b','), fraction @ ..] = &text[end..] {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if (1..=9).contains(&digits) {
                (stamp.digits, stamp.point) = (digits as u8, *point);
            }
        }
        let end = stamp.len();
        // What goes on with a digit is something else.
        (!text.get(end).is_some_and(u8::is_ascii_digit)).then_some((stamp, end))
    }

    /// Its first four digits are a date only behind the letter of a level.
    pub fn is_klog(self) -> bool {
        self.form == Form::Klog
    }

    pub fn names_months(self) -> bool {
        matches!(self.form, Form::Access | Form::Syslog)
    }

    pub fn len(self) -> usize {
        self.form.len() + if self.digits > 0 { 1 + usize::from(self.digits) } else { 0 }
    }

    /// Three bytes that say how it is written.
    pub fn code(self) -> [u8; 3] {
        let form = FORMS.iter().position(|form| *form == self.form).unwrap_or(0);
        [form as u8, self.digits, self.point]
    }

    pub fn of_code([form, digits, point]: [u8; 3]) -> Option<Stamp> {
        let is_fine =
            digits <= 9 && (digits > 0) == matches!(point, b'.' | b',') && (digits > 0 || point == 0);
        is_fine.then_some(Stamp { form: *FORMS.get(usize::from(form))?, digits, point })
    }

    fn unit_ns(self) -> i64 {
        10i64.pow(9 - u32::from(self.digits))
    }

    /// How many units the text, a stamp of this kind, is past the record's time. `None` where that cannot be told.
    pub fn difference(self, text: &[u8], ts_ns: i64) -> Option<i64> {
        let form_end = self.form.len();
        let parsed = self.form.parse(text.get(..form_end)?)?;
        let year = parsed.year.unwrap_or_else(|| date(ts_ns.div_euclid(SECOND_NS)).0);
        let days = NaiveDate::from_ymd_opt(year, parsed.month, parsed.day)?.to_epoch_days();
        let second = i64::from(days) * DAY_S + parsed.second;
        let fraction = match self.digits {
            0 => 0,
            _ => number(text.get(form_end + 1..self.len())?)?,
        };
        let units = second.checked_mul(SECOND_NS / self.unit_ns())?.checked_add(fraction)?;
        units.checked_sub(ts_ns.div_euclid(self.unit_ns()))
    }

    /// The text again. Nothing is written where the difference leads out of all times.
    pub fn write(self, ts_ns: i64, difference: i64, out: &mut Vec<u8>) {
        let units = ts_ns.div_euclid(self.unit_ns()).checked_add(difference);
        let in_a_second = SECOND_NS / self.unit_ns();
        let Some(units) = units.filter(|units| units.unsigned_abs() < i64::MAX as u64 / 2) else { return };
        let (second, fraction) = (units.div_euclid(in_a_second), units.rem_euclid(in_a_second));
        let (year, month, day) = date(second);
        let of_day = second.rem_euclid(DAY_S);
        let name = MONTHS[month as usize - 1].as_bytes();
        // `01/Nov/2026:00:00:00.000000000` is the longest.
        let mut text = [0; 30];
        let put = |text: &mut [u8; 30], at: usize, width: usize, number: i64| {
            let mut rest = number.unsigned_abs();
            for byte in text[at..at + width].iter_mut().rev() {
                *byte = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        };
        match self.form {
            Form::Iso | Form::Spaced | Form::Slashes => {
                let between = if self.form == Form::Slashes { b'/' } else { b'-' };
                put(&mut text, 0, 4, i64::from(year));
                put(&mut text, 5, 2, i64::from(month));
                put(&mut text, 8, 2, i64::from(day));
                (text[4], text[7]) = (between, between);
                text[10] = if self.form == Form::Iso { b'T' } else { b' ' };
            }
            Form::Access => {
                put(&mut text, 0, 2, i64::from(day));
                text[3..6].copy_from_slice(name);
                put(&mut text, 7, 4, i64::from(year));
                (text[2], text[6], text[11]) = (b'/', b'/', b':');
            }
            Form::Klog => {
                put(&mut text, 0, 2, i64::from(month));
                put(&mut text, 2, 2, i64::from(day));
                text[4] = b' ';
            }
            Form::Syslog => {
                text[..3].copy_from_slice(name);
                put(&mut text, 4, 2, i64::from(day));
                if day < 10 {
                    text[4] = b' ';
                }
                (text[3], text[6]) = (b' ', b' ');
            }
        }
        let clock = self.form.len() - 8;
        put(&mut text, clock, 2, of_day / 3_600);
        put(&mut text, clock + 3, 2, of_day / 60 % 60);
        put(&mut text, clock + 6, 2, of_day % 60);
        (text[clock + 2], text[clock + 5]) = (b':', b':');
        if self.digits > 0 {
            text[clock + 8] = self.point;
            put(&mut text, clock + 9, usize::from(self.digits), fraction);
        }
        out.extend_from_slice(&text[..self.len()]);
    }
}

impl Form {
    /// Without a fraction.
    fn len(self) -> usize {
        match self {
            Form::Iso | Form::Spaced | Form::Slashes => 19,
            Form::Access => 20,
            Form::Klog => 13,
            Form::Syslog => 15,
        }
    }

    fn parse(self, text: &[u8]) -> Option<Parsed> {
        let field = |from: usize, to: usize| number(text.get(from..to)?);
        let month_of = |from: usize| {
            let name = text.get(from..from + 3)?;
            MONTHS.iter().position(|month| month.as_bytes() == name).map(|month| month as i64 + 1)
        };
        let (year, month, day, clock) = match self {
            Form::Iso | Form::Spaced | Form::Slashes => (Some(field(0, 4)?), field(5, 7)?, field(8, 10)?, 11),
            Form::Access => (Some(field(7, 11)?), month_of(3)?, field(0, 2)?, 12),
            Form::Klog => (None, field(0, 2)?, field(2, 4)?, 5),
            Form::Syslog if text.get(4) == Some(&b' ') => (None, month_of(0)?, field(5, 6)?, 7),
            Form::Syslog => (None, month_of(0)?, field(4, 6)?, 7),
        };
        let clock = text.get(clock..)?;
        let two = |from: usize| number(clock.get(from..from + 2)?);
        let second = (two(0)? * 60 + two(3)?) * 60 + two(6)?;
        let is_one = clock.get(2) == Some(&b':') && clock.get(5) == Some(&b':') && clock.len() == 8;
        is_one.then_some(Parsed {
            year: year.map(|year| year as i32),
            month: month as u32,
            day: day as u32,
            second,
        })
    }
}

/// Year, month and day of a second since 1970.
fn date(second: i64) -> (i32, u32, u32) {
    let day = NaiveDate::from_epoch_days(second.div_euclid(DAY_S) as i32).unwrap_or_default();
    (day.year(), day.month(), day.day())
}

fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0i64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-01 00:00:01.045000291
    const TS: i64 = 1_793_491_201_045_000_291;

    #[test]
    fn stamps_are_read_and_written_again() {
        for (text, difference) in [
            ("2026-11-01T00:00:01.045", 0),
            ("2026-11-01T00:00:01.045000291", 0),
            ("2026-11-01 00:00:01,045", 0),
            ("2026-11-01 00:00:01", 0),
            ("2026/11/01 00:00:01", 0),
            ("2026/10/31 23:59:59", -2),
            ("01/Nov/2026:00:00:01", 0),
            ("1101 00:00:01.045000", 0),
            ("1101 00:00:01.044998", -2),
            ("Nov  1 00:00:01", 0),
            ("Nov 11 00:00:01", 864_000),
            ("2026-11-01T02:00:01.045", 7_200_000),
            ("1969-12-31T23:59:59", -1_793_491_202),
        ] {
            let (stamp, end) = Stamp::at_start(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(end, text.len(), "{text}");
            assert_eq!(stamp.difference(text.as_bytes(), TS), Some(difference), "{text}");
            let mut again = vec![];
            Stamp::of_code(stamp.code()).unwrap().write(TS, difference, &mut again);
            assert_eq!(String::from_utf8(again).unwrap(), text);
        }
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        for text in [
            "2026-11-01",
            "2026-11-01T00:00:0x",
            "2026-11-01T00:00:011",
            "20a6-11-01T00:00:01",
            "01/Now/2026:00:00:01",
            "Nov 1 00:00:01",
            "",
        ] {
            assert!(Stamp::at_start(text.as_bytes()).is_none(), "{text}");
        }
        // A day that no month has, and a time past what a record can have.
        let (stamp, _) = Stamp::at_start(b"2026-02-31T00:00:00").unwrap();
        assert_eq!(stamp.difference(b"2026-02-31T00:00:00", TS), None);
        let mut out = vec![];
        stamp.write(TS, i64::MAX, &mut out);
        assert!(
            out.is_empty() && Stamp::of_code([9, 0, 0]).is_none() && Stamp::of_code([0, 10, b'.']).is_none()
        );
    }
}
