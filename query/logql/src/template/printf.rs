//! `printf` as Go has it: verbs with flags, widths, precisions and places of arguments.

use super::value::{Item, float_text};

/// What a width or a precision may ask for: lines are shorter.
const NUMBER_MAX: usize = 10_000;

pub(super) fn printf(format: &str, items: &[Item]) -> String {
    let mut printer = Printer { items, next: 0, is_reordered: false, out: String::new() };
    let mut rest = format;
    while let Some((before, behind)) = rest.split_once('%') {
        printer.out.push_str(before);
        rest = printer.verb(behind);
    }
    printer.out.push_str(rest);
    printer.finish()
}

struct Printer<'a> {
    items: &'a [Item],
    /// The item that is printed next.
    next: usize,
    is_reordered: bool,
    out: String,
}

impl Printer<'_> {
    /// From behind a percent sign to behind its verb.
    fn verb<'t>(&mut self, text: &'t str) -> &'t str {
        let (mut spec, mut is_good) = (Spec::default(), true);
        let (mut rest, mut is_placed) = self.place(spec.flags(text), &mut is_good);
        if let Some(behind) = rest.strip_prefix('*') {
            (rest, is_placed) = (behind, false);
            match self.whole() {
                Some(width) => {
                    spec.is_left |= width < 0;
                    spec.width = bounded(width);
                }
                None => self.out.push_str("%!(BADWIDTH)"),
            }
        } else {
            let (width, behind) = number(rest);
            // A place belongs to the verb right behind it.
            is_good &= !(is_placed && width.is_some());
            (spec.width, rest) = (width.unwrap_or(0), behind);
        }
        if let Some(behind) = rest.strip_prefix('.') {
            is_good &= !is_placed;
            (rest, is_placed) = self.place(behind, &mut is_good);
            if let Some(behind) = rest.strip_prefix('*') {
                (rest, is_placed) = (behind, false);
                match self.whole() {
                    Some(precision) => spec.precision = (precision >= 0).then(|| bounded(precision)),
                    None => self.out.push_str("%!(BADPREC)"),
                }
            } else {
                let (precision, behind) = number(rest);
                (spec.precision, rest) = (Some(precision.unwrap_or(0)), behind);
            }
        }
        if !is_placed {
            (rest, _) = self.place(rest, &mut is_good);
        }
        let Some(verb) = rest.chars().next() else {
            self.out.push_str("%!(NOVERB)");
            return rest;
        };
        match (verb, self.items.get(self.next)) {
            ('%', _) => self.out.push('%'),
            _ if !is_good => self.out.push_str(&format!("%!{verb}(BADINDEX)")),
            (_, None) => self.out.push_str(&format!("%!{verb}(MISSING)")),
            (_, Some(item)) => {
                self.next += 1;
                self.out.push_str(&spec.shown(verb, item));
            }
        }
        &rest[verb.len_utf8()..]
    }

    /// Goes to the item of `[2]`; whether it stands there.
    fn place<'t>(&mut self, text: &'t str, is_good: &mut bool) -> (&'t str, bool) {
        let Some(behind) = text.strip_prefix('[') else { return (text, false) };
        self.is_reordered = true;
        let Some((inside, behind)) = behind.split_once(']') else {
            *is_good = false;
            return (behind, false);
        };
        let place = inside.parse::<usize>().ok();
        match place.and_then(|place| place.checked_sub(1)).filter(|at| *at < self.items.len()) {
            Some(at) => self.next = at,
            None => *is_good = false,
        }
        (behind, place.is_some())
    }

    /// The next item as a width or a precision.
    fn whole(&mut self) -> Option<i64> {
        let item = self.items.get(self.next)?;
        self.next += 1;
        item.whole()
    }

    fn finish(mut self) -> String {
        let left = self.items.get(self.next..).unwrap_or_default();
        if !left.is_empty() && !self.is_reordered {
            let left: Vec<String> = left.iter().map(typed).collect();
            self.out.push_str(&format!("%!(EXTRA {})", left.join(", ")));
        }
        self.out
    }
}

fn typed(item: &Item) -> String {
    match item {
        Item::Nothing => "<nil>".to_owned(),
        item => format!("{}={item}", item.type_name()),
    }
}

fn bounded(number: i64) -> usize {
    usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX).min(NUMBER_MAX)
}

/// Digits at the beginning of a text, and what stands behind them.
fn number(text: &str) -> (Option<usize>, &str) {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, behind) = text.split_at(length);
    let number = digits.parse().unwrap_or(usize::MAX).min(NUMBER_MAX);
    ((length > 0).then_some(number), behind)
}

/// How a verb is to be written.
#[derive(Clone, Copy, Default)]
struct Spec {
    has_plus: bool,
    is_left: bool,
    is_alternate: bool,
    has_blank: bool,
    has_zeros: bool,
    width: usize,
    precision: Option<usize>,
}

impl Spec {
    fn flags<'t>(&mut self, text: &'t str) -> &'t str {
        let rest = text.trim_start_matches(['+', '-', '#', ' ', '0']);
        for flag in text[..text.len() - rest.len()].chars() {
            match flag {
                '+' => self.has_plus = true,
                '-' => self.is_left = true,
                '#' => self.is_alternate = true,
                ' ' => self.has_blank = true,
                _ => self.has_zeros = true,
            }
        }
        rest
    }

    fn shown(self, verb: char, item: &Item) -> String {
        if verb == 'T' {
            return self.padded(item.type_name());
        }
        let shown = match item {
            Item::Nothing if verb == 'v' => Some(self.padded("<nil>")),
            Item::Nothing => return format!("%!{verb}(<nil>)"),
            Item::Bool(truth) => matches!(verb, 't' | 'v').then(|| self.padded(&truth.to_string())),
            Item::Int(number) => self.whole(verb, *number),
            Item::Float(number) => self.float(verb, *number),
            Item::Text(text) => self.text(verb, text),
            Item::Named(named) => self.text(verb, &named.text).or_else(|| self.whole(verb, named.number)),
            Item::Time(time) => self.text(verb, &time.to_string()),
            Item::List(items) => {
                let items: Vec<String> = items.iter().map(|item| self.inside(verb, item)).collect();
                Some(format!("[{}]", items.join(" ")))
            }
            Item::Map(entries) => {
                let entry = |(name, item): &(String, Item)| {
                    format!("{}:{}", self.inside(verb, &Item::Text(name.clone())), self.inside(verb, item))
                };
                let entries: Vec<String> = entries.iter().map(entry).collect();
                Some(format!("map[{}]", entries.join(" ")))
            }
        };
        shown.unwrap_or_else(|| format!("%!{verb}({}={})", item.type_name(), self.shown('v', item)))
    }

    fn inside(self, verb: char, item: &Item) -> String {
        match item {
            Item::Nothing => "<nil>".to_owned(),
            item => self.shown(verb, item),
        }
    }

    /// In as many characters as are wanted. Go fills texts with zeros, too.
    fn padded(self, text: &str) -> String {
        self.signed("", text)
    }

    /// A sign stands before the zeros.
    fn signed(self, sign: &str, text: &str) -> String {
        let missing = self.width.saturating_sub(sign.len() + text.chars().count());
        match (self.is_left, self.has_zeros) {
            (true, _) => format!("{sign}{text}{}", " ".repeat(missing)),
            (false, true) => format!("{sign}{}{text}", "0".repeat(missing)),
            (false, false) => format!("{}{sign}{text}", " ".repeat(missing)),
        }
    }

    fn sign(self, is_negative: bool) -> &'static str {
        match is_negative {
            true => "-",
            false if self.has_plus => "+",
            false if self.has_blank => " ",
            false => "",
        }
    }

    fn text(self, verb: char, text: &str) -> Option<String> {
        let kept: String = text.chars().take(self.precision.unwrap_or(usize::MAX)).collect();
        Some(match verb {
            'v' if self.is_alternate => self.padded(&quoted(&kept, '"', false)),
            's' | 'v' => self.padded(&kept),
            'q' if self.is_alternate && stays_in_backquotes(&kept) => self.padded(&format!("`{kept}`")),
            'q' => self.padded(&quoted(&kept, '"', self.has_plus)),
            'x' => self.padded(&self.hex(text)),
            'X' => self.padded(&self.hex(text).to_uppercase()),
            _ => return None,
        })
    }

    fn hex(self, text: &str) -> String {
        let bytes = text.bytes().take(self.precision.unwrap_or(usize::MAX));
        let bytes: Vec<String> = bytes.map(|byte| format!("{byte:02x}")).collect();
        let prefix = if self.is_alternate && !bytes.is_empty() { "0x" } else { "" };
        let between = if self.has_blank { format!(" {prefix}") } else { String::new() };
        format!("{prefix}{}", bytes.join(&between))
    }

    fn whole(self, verb: char, number: i64) -> Option<String> {
        let all = number.unsigned_abs();
        let c = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
        let (digits, prefix) = match verb {
            'd' | 'v' => (all.to_string(), ""),
            'b' => (format!("{all:b}"), "0b"),
            'o' | 'O' => (format!("{all:o}"), if verb == 'O' { "0o" } else { "0" }),
            'x' => (format!("{all:x}"), "0x"),
            'X' => (format!("{all:X}"), "0X"),
            'c' => return Some(self.padded(&c.to_string())),
            'q' => return Some(self.padded(&quoted(&c.to_string(), '\'', self.has_plus))),
            'U' => {
                let shown = if self.is_alternate { format!(" '{c}'") } else { String::new() };
                return Some(Spec { has_zeros: false, ..self }.padded(&format!("U+{all:04X}{shown}")));
            }
            _ => return None,
        };
        let sign = self.sign(number < 0);
        let fewest = match self.precision {
            Some(precision) => precision,
            None if self.has_zeros && !self.is_left => self.width.saturating_sub(sign.len()),
            None => 0,
        };
        let digits = match (number, self.precision) {
            (0, Some(0)) => String::new(),
            _ => format!("{digits:0>fewest$}"),
        };
        let prefix = if self.is_alternate || verb == 'O' { prefix } else { "" };
        Some(Spec { has_zeros: false, ..self }.padded(&format!("{sign}{prefix}{digits}")))
    }

    fn float(self, verb: char, number: f64) -> Option<String> {
        if !number.is_finite() {
            return matches!(verb, 'v' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G')
                .then(|| Spec { has_zeros: false, ..self }.padded(&float_text(number)));
        }
        let all = number.abs();
        let text = match verb {
            'v' | 'g' => general(all, self.precision),
            'G' => general(all, self.precision).to_uppercase(),
            'e' => exponential(all, self.precision.unwrap_or(6)),
            'E' => exponential(all, self.precision.unwrap_or(6)).to_uppercase(),
            'f' | 'F' => format!("{all:.*}", self.precision.unwrap_or(6)),
            _ => return None,
        };
        Some(self.signed(self.sign(number.is_sign_negative()), &text))
    }
}

/// A text as Go writes it in its programs.
fn quoted(text: &str, quote: char, is_ascii: bool) -> String {
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            c if c == quote || c == '\\' => out.extend(['\\', c]),
            c if is_printable(c) && (c.is_ascii() || !is_ascii) => out.push(c),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) <= 0xffff => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push(quote);
    out
}

/// What this language, too, writes as it is. Behind a letter, as a mark that stands first is escaped.
pub(super) fn is_printable(c: char) -> bool {
    match c.is_ascii() {
        true => c == ' ' || c.is_ascii_graphic(),
        false => format!("a{c}").escape_debug().count() == 2,
    }
}

fn stays_in_backquotes(text: &str) -> bool {
    !text.contains(|c: char| c == '`' || c == '\u{feff}' || c.is_ascii_control() && c != '\t')
}

fn exponential(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{mantissa}e-{exponent:0>2}"),
        None => format!("{mantissa}e+{exponent:0>2}"),
    }
}

/// The shorter of both ways to write a float, in so many digits.
fn general(number: f64, precision: Option<usize>) -> String {
    let Some(precision) = precision else { return float_text(number) };
    let digits = precision.max(1);
    let text = exponential(number, digits - 1);
    let exponent: i32 = text.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let without_zeros = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
        return format!("{}e{exponent}", without_zeros(mantissa));
    }
    without_zeros(&format!("{number:.*}", (digits as i32 - 1 - exponent).max(0) as usize))
}
