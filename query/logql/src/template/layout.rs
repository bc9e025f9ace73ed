//! Go's layouts of times: a text that shows how the second of January 2006, 15:04:05 at seven hours behind UTC, would be written.
//! What is written and read by one is what Go writes and reads.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime};

/// Words of that time, of those that begin alike the longer first, and what they are called elsewhere. Offsets have no name there.
const PARTS: [(&str, &str); 33] = [
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("MST", ""),
    ("2006", "%Y"),
    ("Z070000", ""),
    ("Z07:00:00", ""),
    ("Z0700", ""),
    ("Z07:00", ""),
    ("Z07", ""),
    ("-070000", ""),
    ("-07:00:00", ""),
    ("-0700", ""),
    ("-07:00", ""),
    ("-07", ""),
    ("002", "%j"),
    ("__2", "%_j"),
    ("01", "%m"),
    ("02", "%d"),
    ("_2", "%e"),
    ("15", "%H"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
    ("5", "%-S"),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn strftime(part: &str) -> &'static str {
    PARTS.iter().find(|(known, _)| *known == part).map_or("", |(_, format)| format)
}

/// A piece of a layout.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Part(&'static str),
    /// `.000` or `.999`: so many digits, with the zeros at its end or without.
    Fraction(&'a str),
    Other(char),
}

fn pieces(layout: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = layout;
    std::iter::from_fn(move || {
        if let Some(part) = part_ahead(rest) {
            rest = &rest[part.len()..];
            return Some(Piece::Part(part));
        }
        if let Some(length) = fraction_ahead(rest) {
            let (fraction, behind) = rest.split_at(length);
            rest = behind;
            return Some(Piece::Fraction(fraction));
        }
        let other = rest.chars().next()?;
        rest = &rest[other.len_utf8()..];
        Some(Piece::Other(other))
    })
}

fn part_ahead(rest: &str) -> Option<&'static str> {
    // Before a year the underscore is one.
    if rest.starts_with("_2006") {
        return None;
    }
    let (part, _) = PARTS.iter().find(|(part, _)| rest.starts_with(part))?;
    let behind = &rest[part.len()..];
    // `Month` begins with no `Mon`.
    let is_word = matches!(*part, "Jan" | "Mon") && behind.starts_with(|c: char| c.is_ascii_lowercase());
    (!is_word).then_some(*part)
}

/// The length of `.000` or `,999`; before other digits the point is one, as in `02.01.2006`.
fn fraction_ahead(rest: &str) -> Option<usize> {
    let digits = rest.strip_prefix(['.', ','])?;
    let digit = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let length = digits.chars().take_while(|c| *c == digit).count();
    let goes_on = digits[length..].starts_with(|c: char| c.is_ascii_digit());
    (!goes_on).then_some(1 + length)
}

/// Hours, minutes and seconds of an offset, as far as the layout has them.
fn fields_of(offset: &str) -> usize {
    offset.bytes().filter(u8::is_ascii_digit).count() / 2
}

/// `zone` is how the time's zone is called.
pub(super) fn written(layout: &str, time: &DateTime<FixedOffset>, zone: &str) -> String {
    let mut out = String::new();
    for piece in pieces(layout) {
        match piece {
            Piece::Part("MST") => out.push_str(zone),
            Piece::Part(part) if part.starts_with(['Z', '-']) => {
                out.push_str(&written_offset(part, time.offset().local_minus_utc()));
            }
            Piece::Part(part) => out.push_str(&time.format(strftime(part)).to_string()),
            Piece::Fraction(fraction) => {
                let digits = format!("{:09}", time.timestamp_subsec_nanos());
                let digits = &digits[..(fraction.len() - 1).min(digits.len())];
                let is_trimmed = fraction.ends_with('9');
                let digits = if is_trimmed { digits.trim_end_matches('0') } else { digits };
                if !digits.is_empty() {
                    out.push_str(&fraction[..1]);
                    out.push_str(digits);
                }
            }
            Piece::Other(other) => out.push(other),
        }
    }
    out
}

fn written_offset(part: &str, seconds: i32) -> String {
    if seconds == 0 && part.starts_with('Z') {
        return "Z".to_owned();
    }
    let (sign, all) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs());
    let fields = [all / 3_600, all / 60 % 60, all % 60].map(|field| format!("{field:02}"));
    let between = if part.contains(':') { ":" } else { "" };
    format!("{sign}{}", fields[..fields_of(part)].join(between))
}

/// What a text says by a layout. What the layout has not is the first there is: of the year 0.
#[derive(Default)]
pub(super) struct Read {
    year: i32,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
    is_afternoon: Option<bool>,
    /// Seconds ahead of UTC.
    pub offset: Option<i32>,
    pub zone: Option<String>,
}

pub(super) fn read(layout: &str, text: &str) -> Option<Read> {
    let mut read = Read::default();
    let (mut rest, mut was_blank) = (text, false);
    let mut pieces = pieces(layout).peekable();
    while let Some(piece) = pieces.next() {
        rest = match piece {
            Piece::Other(' ') if was_blank => rest,
            Piece::Other(' ') if rest.is_empty() || rest.starts_with(' ') => rest.trim_start_matches(' '),
            Piece::Other(other) => rest.strip_prefix(other)?,
            Piece::Fraction(fraction) => read.fraction(fraction, rest)?,
            Piece::Part(part) => read.part(part, rest)?,
        };
        was_blank = matches!(piece, Piece::Other(' '));
        // Seconds may have a fraction that the layout has not.
        let is_second = matches!(piece, Piece::Part("05" | "5"));
        if is_second && !matches!(pieces.peek(), Some(Piece::Fraction(_))) {
            rest = read.fraction(".9", rest)?;
        }
    }
    rest.is_empty().then_some(read)
}

impl Read {
    /// Of nines there may be any number of digits, of zeros so many.
    fn fraction<'t>(&mut self, fraction: &str, rest: &'t str) -> Option<&'t str> {
        let (wanted, is_open) = (fraction.len() - 1, fraction.ends_with('9'));
        let behind = rest.strip_prefix(['.', ',']).unwrap_or("");
        let found = behind.bytes().take_while(u8::is_ascii_digit).count();
        if is_open && found == 0 {
            return Some(rest);
        }
        if !is_open && found < wanted {
            return None;
        }
        let (digits, behind) = behind.split_at(if is_open { found } else { wanted });
        let digits = &digits[..digits.len().min(9)];
        self.nanos = digits.parse::<u32>().ok()? * 10u32.pow(9 - digits.len() as u32);
        Some(behind)
    }

    fn part<'t>(&mut self, part: &str, rest: &'t str) -> Option<&'t str> {
        let (value, behind) = match part {
            "2006" => number(rest, 4, 4)?,
            "002" => number(rest, 3, 3)?,
            "__2" => number(rest.trim_start_matches(' '), 1, 3)?,
            "01" | "02" | "03" | "04" | "05" | "06" => number(rest, 2, 2)?,
            "_2" => number(rest.strip_prefix(' ').unwrap_or(rest), 1, 2)?,
            "1" | "2" | "3" | "4" | "5" | "15" => number(rest, 1, 2)?,
            "January" => named(rest, &MONTHS, usize::MAX)?,
            "Jan" => named(rest, &MONTHS, 3)?,
            "Monday" => named(rest, &DAYS, usize::MAX)?,
            "Mon" => named(rest, &DAYS, 3)?,
            "PM" | "pm" => named(rest, &["AM", "PM"], 2)?,
            "MST" => return self.zone(rest),
            offset => return self.offset(offset, rest),
        };
        match part {
            "2006" => self.year = value as i32,
            "06" => self.year = value as i32 + if value >= 69 { 1900 } else { 2000 },
            "01" | "1" | "January" | "Jan" => self.month = Some(value),
            "02" | "2" | "_2" => self.day = Some(value),
            "002" | "__2" => self.day_of_year = Some(value),
            "15" | "03" | "3" => self.hour = value,
            "04" | "4" => self.minute = value,
            "05" | "5" => self.second = value,
            "PM" | "pm" => self.is_afternoon = Some(value == 2),
            // Go does not look whether the day of the week is right.
            _ => {}
        }
        Some(behind)
    }

    fn zone<'t>(&mut self, rest: &'t str) -> Option<&'t str> {
        let length = rest.bytes().take_while(u8::is_ascii_uppercase).count();
        let (zone, behind) = rest.split_at(length);
        self.zone = Some(zone.to_owned());
        (3..=5).contains(&length).then_some(behind)
    }

    fn offset<'t>(&mut self, part: &str, rest: &'t str) -> Option<&'t str> {
        if let (true, Some(behind)) = (part.starts_with('Z'), rest.strip_prefix('Z')) {
            self.offset = Some(0);
            return Some(behind);
        }
        let sign = match rest.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (mut behind, mut seconds) = (&rest[1..], 0);
        for (at, unit) in [3_600, 60, 1].into_iter().take(fields_of(part)).enumerate() {
            if at > 0 && part.contains(':') {
                behind = behind.strip_prefix(':')?;
            }
            let (value, after) = number(behind, 2, 2)?;
            seconds += value as i32 * unit;
            behind = after;
        }
        self.offset = Some(sign * seconds);
        Some(behind)
    }

    /// Date and time where they are such.
    pub fn naive(&self) -> Option<NaiveDateTime> {
        let date = match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(self.year, day)?,
            None => NaiveDate::from_ymd_opt(self.year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let hour = match self.is_afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        date.and_hms_nano_opt(hour, self.minute, self.second, self.nanos)
    }
}

/// A number of so many digits, and the text behind it.
fn number(text: &str, fewest: usize, most: usize) -> Option<(u32, &str)> {
    let length = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (digits, behind) = text.split_at(length);
    (length >= fewest).then_some((digits.parse().ok()?, behind))
}

/// Which of the names it is, counted from 1, of which so many letters are written.
fn named<'t>(text: &'t str, names: &[&str], letters: usize) -> Option<(u32, &'t str)> {
    names.iter().zip(1..).find_map(|(name, at)| {
        let name = &name[..name.len().min(letters)];
        let head = text.get(..name.len())?;
        head.eq_ignore_ascii_case(name).then(|| (at, &text[name.len()..]))
    })
}
