//! Patterns of log lines, mined as Drain does it: lines of like length and beginning whose words mostly agree share a
//! pattern, and where they disagree it has `<_>`.
//!
//! Words with a digit are taken for values from the start, as are the names of a date, so almost all lines find their
//! pattern by one look-up; only a line of a new shape is compared with others. Of a JSON line the message is mined, as
//! it is what people read. What comes out can be given back to `|>`.

use crate::pipeline::json;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

const ANY: &str = "<_>";
/// Blanks of any number.
const BLANKS: &str = "< >";
/// Tokens of a line that are looked at; the rest is `<_>`.
const TOKENS_MAX: usize = 100;
/// Patterns kept; lines of further shapes are counted with none.
const PATTERNS_MAX: usize = 1_000;
/// Patterns of one length and beginning that a new shape is compared with.
const LEAF_PATTERNS_MAX: usize = 200;
/// Shapes remembered, so that each is compared once.
const SHAPES_MAX: usize = 100_000;
/// A shape joins a pattern of which this share of the words agrees. Over LogHub's sets more would tell a few more messages
/// apart, and would give each name in a short one a pattern of its own.
const SIMILAR: f64 = 0.7;
/// Words that are values where they stand in a date.
const CALENDAR: [&str; 19] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Mon", "Tue", "Wed",
    "Thu", "Fri", "Sat", "Sun",
];
/// Fields of a JSON line that hold its message.
const MESSAGES: [&str; 6] = ["message", "msg", "log", "content", "body", "_msg"];

/// Mines patterns of lines, one after the other.
#[derive(Default)]
pub struct Drain {
    patterns: Vec<Pattern>,
    /// Patterns by number of tokens and the word that begins the line, if one does.
    leaves: HashMap<(usize, String), Vec<usize>>,
    /// Pattern by the hash of a line's tokens, values masked.
    shapes: HashMap<u64, Option<usize>>,
    hasher: RandomState,
}

struct Pattern {
    tokens: Vec<String>,
    /// The pattern is of a part of the line.
    of_message: bool,
}

impl Drain {
    /// The number of the line's pattern; `None` where there is no room for another or the line is empty.
    pub fn learn(&mut self, line: &str) -> Option<usize> {
        let message = line.starts_with('{').then(|| message(line)).flatten();
        let tokens = masked(message.as_deref().unwrap_or(line));
        if tokens.is_empty() {
            return None;
        }
        let shape = self.hasher.hash_one((&tokens, message.is_some()));
        if let Some(known) = self.shapes.get(&shape) {
            return *known;
        }
        let found = self.place(&tokens, message.is_some());
        if self.shapes.len() < SHAPES_MAX {
            self.shapes.insert(shape, found);
        }
        found
    }

    fn place(&mut self, tokens: &[&str], of_message: bool) -> Option<usize> {
        // A word that begins the line. Behind a time stand a host, a thread or a level, which tell no message from another.
        let first = tokens.iter().take(2).find(|token| token.bytes().any(|b| b.is_ascii_alphabetic()));
        let key = (tokens.len(), first.copied().unwrap_or_default().to_owned());
        let leaf = self.leaves.entry(key).or_default();
        let mut best: Option<(usize, f64)> = None;
        for at in leaf.iter().copied().filter(|at| self.patterns[*at].of_message == of_message) {
            let similar = similarity(&self.patterns[at].tokens, tokens);
            if similar >= SIMILAR && best.is_none_or(|(_, before)| similar > before) {
                best = Some((at, similar));
            }
        }
        if let Some((at, _)) = best {
            for (known, token) in self.patterns[at].tokens.iter_mut().zip(tokens) {
                if known != token {
                    let both = is_blank(known) && is_blank(token);
                    known.clear();
                    known.push_str(if both { BLANKS } else { ANY });
                }
            }
            return Some(at);
        }
        if self.patterns.len() >= PATTERNS_MAX || leaf.len() >= LEAF_PATTERNS_MAX {
            return None;
        }
        let tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
        self.patterns.push(Pattern { tokens, of_message });
        leaf.push(self.patterns.len() - 1);
        Some(self.patterns.len() - 1)
    }

    /// A pattern's text, by the number that [`Drain::learn`] gave.
    pub fn pattern(&self, number: usize) -> String {
        self.patterns.get(number).map(Pattern::text).unwrap_or_default()
    }
}

impl Pattern {
    fn text(&self) -> String {
        let mut text = if self.of_message { ANY.to_owned() } else { String::new() };
        for (token, any) in self.tokens.iter().zip(self.any()) {
            let token = if any { ANY } else { token.as_str() };
            // Two in a row match what one does.
            if token != ANY || !text.ends_with(ANY) {
                text.push_str(token);
            }
        }
        if self.of_message && !text.ends_with(ANY) {
            text.push_str(ANY);
        }
        text
    }

    /// Which tokens are part of a capture. One ends where what follows it first is, and that may not be a blank of which there
    /// may be two: so blanks of any number are one capture with the values and blanks beside them.
    fn any(&self) -> Vec<bool> {
        let tokens = &self.tokens;
        // In the line these may stand as escapes.
        let escaped = |c: char| !c.is_ascii() || c.is_ascii_control() || "\"\\<>&".contains(c);
        let is_any =
            |token: &String| token == ANY || token == BLANKS || self.of_message && token.contains(escaped);
        let mut any: Vec<bool> = tokens.iter().map(is_any).collect();
        for at in (0..tokens.len()).filter(|at| tokens[*at] == BLANKS) {
            let goes_on = |other: &usize| tokens[*other] == ANY || is_blank(&tokens[*other]);
            let is_value = |other: &usize| tokens[*other] == ANY;
            let first = (0..at).rev().take_while(goes_on).filter(is_value).last().unwrap_or(at);
            let last = (at..tokens.len()).take_while(goes_on).filter(is_value).last().unwrap_or(at);
            any[first..=last].fill(true);
        }
        any
    }
}

/// The pattern of one line by itself: words with a digit become `<_>`. Lines that Drain would put together because their
/// words mostly agree stay apart, and the answer hangs on no other line.
pub fn line_pattern(line: &str) -> String {
    let message = line.starts_with('{').then(|| message(line)).flatten();
    let tokens = masked(message.as_deref().unwrap_or(line)).into_iter().map(str::to_owned).collect();
    Pattern { tokens, of_message: message.is_some() }.text()
}

fn is_blank(token: &str) -> bool {
    token == BLANKS || token.bytes().all(|byte| byte.is_ascii_whitespace())
}

/// The share of words that agree. Values on both sides say nothing of what a line tells, and there are many of them in what
/// stands before each message; what separates words must agree, but for how many blanks.
fn similarity(pattern: &[String], tokens: &[&str]) -> f64 {
    let word = |token: &str| token == ANY || token.bytes().any(|b| b.is_ascii_alphanumeric() || b >= 0x80);
    let (mut same, mut all) = (0usize, 0usize);
    for (known, token) in pattern.iter().zip(tokens) {
        if known == ANY && *token == ANY {
            continue;
        }
        if word(known) || word(token) {
            all += 1;
            same += usize::from(known == token);
        } else if known != token && !(is_blank(known) && is_blank(token)) {
            return 0.0;
        }
    }
    if all == 0 { 1.0 } else { same as f64 / all as f64 }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/' | '@' | '%' | '+' | '#' | '~' | '?' | '&')
}

/// Words and what stands between them; words with a digit as [`ANY`].
fn masked(line: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let text = line.trim_end();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if tokens.len() == TOKENS_MAX {
            tokens.push(ANY);
            break;
        }
        let word = is_word(first);
        let end = rest.find(|c: char| is_word(c) != word).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        let value = word && token.bytes().any(|b| b.is_ascii_digit());
        // A sentence's colon or full stop is not part of the value before it.
        let kept = token.trim_end_matches([':', '.']);
        match value {
            true => {
                tokens.push(ANY);
                if kept.len() < token.len() && !kept.is_empty() {
                    tokens.push(&token[kept.len()..]);
                }
            }
            false => tokens.push(token),
        }
        rest = after;
    }
    mask_dates(&mut tokens);
    mask_captures(&mut tokens);
    // What `|>` is to match is the whole line.
    if text.len() < line.len() && tokens.last().is_some_and(|last| *last != ANY) {
        tokens.push(ANY);
    }
    tokens
}

/// `Sun Dec 04` and `Jun 14`: names of days and months beside a number or one another.
fn mask_dates(tokens: &mut [&str]) {
    let is_name = |token: &str| token.len() == 3 && CALENDAR.contains(&token);
    // Between two words stands what separates them.
    let mut before = (false, false);
    for at in 0..tokens.len() {
        let is = is_name(tokens[at]);
        let is_beside = |token: &str| token == ANY || is_name(token);
        let (beside, behind) = (before.0, tokens.get(at + 2).is_some_and(|token| is_beside(token)));
        before = (before.1, is_beside(tokens[at]));
        if is && (beside || behind) {
            tokens[at] = ANY;
        }
    }
}

/// A word in angle brackets would be read as the name of a capture.
fn mask_captures(tokens: &mut [&str]) {
    for at in 1..tokens.len().saturating_sub(1) {
        let in_brackets = tokens[at - 1].ends_with('<') && tokens[at + 1].starts_with('>');
        if in_brackets && tokens[at].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            tokens[at] = ANY;
        }
    }
}

fn message(line: &str) -> Option<String> {
    let mut found: Option<(usize, String)> = None;
    let read = json::strings(line, &mut |key, value| {
        let rank = MESSAGES.iter().position(|name| *name == key);
        if let Some(rank) =
            rank.filter(|rank| !value.is_empty() && found.as_ref().is_none_or(|f| *rank < f.0))
        {
            found = Some((rank, value.to_owned()));
        }
    });
    read.ok().and(found).map(|(_, message)| message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(lines: &[&str]) -> Vec<(String, usize)> {
        let mut drain = Drain::default();
        let mut counts: Vec<usize> = Vec::new();
        for line in lines {
            if let Some(at) = drain.learn(line) {
                counts.resize(counts.len().max(at + 1), 0);
                counts[at] += 1;
            }
        }
        counts.into_iter().enumerate().map(|(at, count)| (drain.pattern(at), count)).collect()
    }

    #[test]
    fn lines_that_differ_in_values_share_a_pattern() {
        assert_eq!(
            patterns(&[
                "GET /items/7 took 12ms",
                "GET /items/9 took 3ms",
                "level=info msg=done took=3ms",
                "level=info msg=done took=999ms",
                "connection refused: retry in 5s",
            ]),
            [
                ("GET <_> took <_>".to_owned(), 2),
                ("level=info msg=done took=<_>".to_owned(), 2),
                ("connection refused: retry in <_>".to_owned(), 1),
            ]
        );
    }

    #[test]
    fn words_that_differ_become_any() {
        let found = patterns(&[
            "user alice logged in from the office",
            "user bob logged in from the office",
            "user carol logged in from the street",
        ]);
        assert_eq!(found, [("user <_> logged in from the <_>".to_owned(), 3)]);
    }

    #[test]
    fn what_stands_before_a_message_does_not_make_others_alike() {
        let found = patterns(&[
            "- 1117838570 2005.06.03 R02-M1 2005-06-03-15.42 R02 RAS KERNEL INFO instruction cache parity error corrected",
            "- 1117838573 2005.06.03 R02-M2 2005-06-03-15.43 R02 RAS KERNEL INFO instruction cache parity error corrected",
            "- 1117838976 2005.06.03 R02-M3 2005-06-03-15.44 R02 RAS KERNEL INFO generating core files for process",
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_host_behind_a_time_makes_no_pattern_of_its_own() {
        let found = patterns(&[
            "Jul  1 09:00:55 authorMacBook-Pro kernel: en0: channel changed to 1",
            "Jul  1 09:01:05 calvisitor-10 kernel: en0: channel changed to 6",
            "Jul  1 09:01:07 office kernel: en0: channel changed to 11",
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn a_date_is_a_value() {
        let found = patterns(&[
            "[Sun Dec 04 04:47:44 2005] workerEnv.init() ok",
            "[Mon Dec 05 13:00:01 2005] workerEnv.init() ok",
            "Jun 14 15:16:01 combo su: session opened at Sat Jun 18",
            "Jul  4 15:16:02 combo su: session opened at Mon Jul  4",
            "May I ask, said Sun",
        ]);
        assert_eq!(
            found,
            [
                ("[<_> <_> <_> <_> <_>] workerEnv.init() ok".to_owned(), 2),
                ("<_> combo su: session opened at <_>".to_owned(), 2),
                ("May I ask, said Sun".to_owned(), 1),
            ]
        );
    }

    #[test]
    fn of_json_the_message_is_mined() {
        let found = patterns(&[
            r#"{"ts":"2026-01-01T00:00:00Z","level":"info","msg":"order 17 placed"}"#,
            r#"{"ts":"2026-01-01T00:00:01Z","level":"warn","msg":"order 18 placed"}"#,
            r#"{"level":"info"}"#,
        ]);
        assert_eq!(found[0], ("<_>order <_> placed<_>".to_owned(), 2));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_line_has_a_pattern_of_its_own() {
        assert_eq!(line_pattern("GET /items/7 took 12ms"), "GET <_> took <_>");
        assert_eq!(line_pattern(r#"{"msg":"order 17 placed"}"#), "<_>order <_> placed<_>");
        assert_eq!(line_pattern(""), "");
    }

    #[test]
    fn what_is_mined_matches_its_lines() {
        for line in [
            "GET /items/7 took 12ms",
            "a=1 b=2 c",
            "E0101 12:00:00.1 file.go:12] \"oops\" n=\"x1\"",
            "x",
            "Jun  4 09:00:55 host su: Sat Jun 18",
            "took 3ms by rhost \r",
            "took 3ms \r",
            "5 nodesets <ok> <_> in <domain>",
            "5 of <a-b> and <c",
            r#"{"msg":"say \"hi\" to order 17 \u003cb\u003e, caf\u00e9\n"}"#,
        ] {
            let mut drain = Drain::default();
            let number = drain.learn(line).unwrap();
            let pattern = drain.pattern(number);
            if pattern.contains(ANY) {
                let filter = crate::pipeline::pattern::LinePattern::for_filter(&pattern);
                assert!(filter.unwrap_or_else(|why| panic!("{pattern}: {why}")).matches(line), "{pattern}");
            }
        }
    }

    #[test]
    fn what_several_lines_share_matches_each() {
        for lines in [
            ["Jun 14 15:16:01 combo su: Sat Jun 18 ok", "Jul  4 15:16:02 combo su: Mon Jul  4 ok"],
            ["state  of 7: a b c d", "state of 8: a  b c d"],
            ["at 1  2 x y z", "at 1 2 x y z"],
        ] {
            let mut drain = Drain::default();
            let numbers = lines.map(|line| drain.learn(line).unwrap());
            assert_eq!(numbers[0], numbers[1], "{lines:?}");
            let pattern = drain.pattern(numbers[0]);
            let filter = crate::pipeline::pattern::LinePattern::for_filter(&pattern).unwrap();
            for line in lines {
                assert!(filter.matches(line), "{pattern}: {line}");
            }
        }
    }

    #[test]
    fn shapes_without_end_are_bounded() {
        let mut drain = Drain::default();
        for at in 0..(PATTERNS_MAX * 3) {
            let word: String = at.to_string().bytes().map(|b| (b - b'0' + b'a') as char).collect();
            drain.learn(&format!("{word} {}", "w ".repeat(at % 50)));
        }
        assert!(drain.patterns.len() <= PATTERNS_MAX);
        assert_eq!(drain.learn(""), None);
    }
}
