//! Whether a line has a match of a regex, or a text, told piece by piece, so that a line that lies in pieces is not put
//! together to be judged. What a piece makes of a state is the same on every line; what is the same on every line of a kind
//! decides for all of them at once.
//!
//! The states are those of a deterministic automaton, in a table of our own: one look-up a byte, and states in which all is
//! decided stay what they are. A regex whose table would be large has none: its lines are put together.

use super::cut::Kind;
use parking_lot::Mutex;
use regex_automata::Anchored;
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::util::start;
use regex_automata::util::syntax;
use std::collections::HashMap;
use std::sync::Arc;

pub type State = u16;

/// A match was seen.
pub const MATCH: State = 0;
/// None can come.
pub const DEAD: State = 1;

/// 512 bytes each.
const STATES_MAX: usize = 1_024;
/// What making it may take. Classes of Unicode are what is large.
const BYTES_MAX: usize = 1 << 20;

/// What can be said of all lines of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Always,
    Never,
    Look,
}

#[derive(Debug)]
pub struct Automaton {
    /// By state and byte.
    next: Vec<State>,
    start: State,
    /// By state: whether a line that ends there has a match.
    at_end: Vec<bool>,
    /// By state and [`Alphabet`]: where its bytes lead, each state once.
    after: Vec<[Box<[State]>; ALL.len()]>,
}

/// The bytes of which a piece of text consists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    Digits,
    Hex,
    Uuid,
    /// Times in digits.
    Clock,
    /// Times with the names of months.
    Date,
    /// Words that follow one another.
    Letters,
    /// One word, with digits.
    Run,
    /// Numbers and truths of JSON.
    Scalar,
    /// What stands between the quotes of JSON.
    Quoted,
    Any,
}

const ALL: [Alphabet; 10] = [
    Alphabet::Digits,
    Alphabet::Hex,
    Alphabet::Uuid,
    Alphabet::Clock,
    Alphabet::Date,
    Alphabet::Letters,
    Alphabet::Run,
    Alphabet::Scalar,
    Alphabet::Quoted,
    Alphabet::Any,
];

impl Alphabet {
    /// A token is of one of them.
    pub fn of(kind: Kind) -> &'static [Alphabet] {
        match kind {
            Kind::Number => &[Alphabet::Digits],
            Kind::Word => &[Alphabet::Letters, Alphabet::Run],
            Kind::Hex(_) => &[Alphabet::Hex],
            Kind::Uuid => &[Alphabet::Uuid],
            Kind::Stamp(stamp) if stamp.names_months() => &[Alphabet::Date],
            Kind::Stamp(_) => &[Alphabet::Clock],
            Kind::Rest => &[Alphabet::Any],
        }
    }

    /// More bytes than there can be make a verdict less sure and never wrong.
    fn has(self, byte: u8) -> bool {
        match self {
            Alphabet::Digits => byte.is_ascii_digit(),
            Alphabet::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Alphabet::Uuid => matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'),
            Alphabet::Clock => byte.is_ascii_digit() || b"-/ :.,T".contains(&byte),
            Alphabet::Date => byte.is_ascii_digit() || b"/ :.,JanFebMrApyulgSOctNovD".contains(&byte),
            Alphabet::Letters => byte.is_ascii_alphabetic() || byte >= 0x80 || b" -._/".contains(&byte),
            Alphabet::Run => byte.is_ascii_alphanumeric() || byte >= 0x80,
            Alphabet::Scalar => byte.is_ascii_alphanumeric() || b"+-.".contains(&byte),
            Alphabet::Quoted | Alphabet::Any => true,
        }
    }
}

impl Automaton {
    /// `None` where it would be large or hangs on what only a whole line tells.
    pub fn of_regex(pattern: &str) -> Option<Automaton> {
        let dfa = dense::Builder::new()
            .syntax(syntax::Config::new())
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Unanchored)
                    .dfa_size_limit(Some(BYTES_MAX))
                    .determinize_size_limit(Some(BYTES_MAX)),
            )
            .build(pattern)
            .ok()?;
        let start = dfa.start_state(&start::Config::new().anchored(Anchored::No)).ok()?;
        let mut known = HashMap::new();
        let mut list = vec![];
        let mut next = vec![MATCH; 256];
        next.resize(512, DEAD);
        let mut number = |id, list: &mut Vec<_>| -> Option<State> {
            if dfa.is_match_state(id) {
                return Some(MATCH);
            } else if dfa.is_dead_state(id) {
                return Some(DEAD);
            } else if dfa.is_quit_state(id) {
                return None;
            }
            if let Some(number) = known.get(&id) {
                return Some(*number);
            }
            let number = (list.len() + 2) as State;
            known.insert(id, number);
            list.push(id);
            (list.len() + 2 <= STATES_MAX).then_some(number)
        };
        let start = number(start, &mut list)?;
        let mut at_end = vec![true, false];
        let mut at = 0;
        while at < list.len() {
            let id = list[at];
            at += 1;
            for byte in 0..=u8::MAX {
                next.push(number(dfa.next_state(id, byte), &mut list)?);
            }
            at_end.push(dfa.is_match_state(dfa.next_eoi_state(id)));
        }
        Some(Automaton::with_table(next, start, at_end))
    }

    /// Of a text that is contained.
    pub fn of_text(text: &str) -> Option<Automaton> {
        let text = text.as_bytes();
        if text.is_empty() || text.len() + 2 > STATES_MAX {
            return None;
        }
        let mut next = vec![MATCH; 256];
        next.resize(512, DEAD);
        // The state in which so many bytes of the text were just seen. `again` is where a line stands that goes on from the second
        // byte of these.
        let state = |seen: usize| if seen == text.len() { MATCH } else { (seen + 2) as State };
        let mut again = state(0);
        for (seen, byte) in text.iter().enumerate() {
            let row = next.len();
            match seen {
                0 => next.resize(row + 256, state(0)),
                _ => {
                    let from = usize::from(again) * 256;
                    next.extend_from_within(from..from + 256);
                }
            }
            next[row + usize::from(*byte)] = state(seen + 1);
            if seen > 0 {
                again = next[usize::from(again) * 256 + usize::from(*byte)];
            }
        }
        let mut at_end = vec![false; text.len() + 2];
        at_end[usize::from(MATCH)] = true;
        Some(Automaton::with_table(next, state(0), at_end))
    }

    fn with_table(next: Vec<State>, start: State, at_end: Vec<bool>) -> Automaton {
        let after = next.chunks(256).map(|row| {
            ALL.map(|alphabet| {
                let mut states: Vec<State> = vec![];
                for byte in (0..=u8::MAX).filter(|byte| alphabet.has(*byte)) {
                    let state = row[usize::from(byte)];
                    if states.last() != Some(&state) && !states.contains(&state) {
                        states.push(state);
                    }
                }
                states.into()
            })
        });
        let after = after.collect();
        Automaton { next, start, at_end, after }
    }

    pub fn states(&self) -> usize {
        self.at_end.len()
    }

    pub fn start(&self) -> State {
        self.start
    }

    /// Whether all is decided.
    pub fn is_final(state: State) -> bool {
        state <= DEAD
    }

    pub fn run(&self, mut state: State, text: &[u8]) -> State {
        for byte in text {
            if Self::is_final(state) {
                return state;
            }
            state = self.next[usize::from(state) * 256 + usize::from(*byte)];
        }
        state
    }

    pub fn matches_at_end(&self, state: State) -> bool {
        self.at_end[usize::from(state)]
    }

    /// Whether no text of these alphabets leads away from the state.
    fn stays(&self, state: State, alphabets: &[Alphabet]) -> bool {
        let mut after =
            alphabets.iter().flat_map(|alphabet| &self.after[usize::from(state)][*alphabet as usize]);
        after.all(|after| *after == state)
    }
}

/// Automata of regexes that were asked for before: a dashboard asks for the same ones at each refresh, and a query asks each
/// part.
#[derive(Default)]
pub struct Automata(Mutex<HashMap<String, Option<Arc<Automaton>>>>);

/// Half a MiB each at most.
const AUTOMATA_MAX: usize = 16;

impl Automata {
    pub fn of_regex(&self, pattern: &str) -> Option<Arc<Automaton>> {
        if let Some(known) = self.0.lock().get(pattern) {
            return known.clone();
        }
        let made = Automaton::of_regex(pattern).map(Arc::new);
        let mut known = self.0.lock();
        if known.len() >= AUTOMATA_MAX {
            known.clear();
        }
        known.insert(pattern.to_owned(), made.clone());
        made
    }
}

/// States in which lines of a kind can be.
#[derive(Clone)]
pub struct Reached<'a> {
    automaton: &'a Automaton,
    is_in: Vec<bool>,
}

impl<'a> Reached<'a> {
    pub fn from(automaton: &'a Automaton, state: State) -> Reached<'a> {
        let mut is_in = vec![false; automaton.states()];
        is_in[usize::from(state)] = true;
        Reached { automaton, is_in }
    }

    fn states(&self) -> Vec<State> {
        (0..self.is_in.len()).filter(|state| self.is_in[*state]).map(|state| state as State).collect()
    }

    /// The state in which all of them are, where it is one.
    pub fn only(&self) -> Option<State> {
        match self.states().as_slice() {
            [state] => Some(*state),
            _ => None,
        }
    }

    pub fn text(&mut self, text: &[u8]) {
        let before = self.states();
        self.is_in.fill(false);
        before.into_iter().for_each(|state| self.is_in[usize::from(self.automaton.run(state, text))] = true);
    }

    /// Whether a text of these alphabets can matter.
    pub fn looks_at(&self, alphabets: &[Alphabet]) -> bool {
        self.states().into_iter().any(|state| !self.automaton.stays(state, alphabets))
    }

    /// Any text of one of the alphabets.
    pub fn any_text(&mut self, alphabets: &[Alphabet]) {
        let before = self.states();
        for alphabet in alphabets {
            match alphabet {
                Alphabet::Quoted => self.any_quoted(&before),
                alphabet => self.any_of(*alphabet, &before),
            }
        }
    }

    fn any_of(&mut self, alphabet: Alphabet, before: &[State]) {
        let mut seen = vec![false; self.is_in.len()];
        let mut left = before.to_vec();
        while let Some(state) = left.pop() {
            for next in &self.automaton.after[usize::from(state)][alphabet as usize] {
                if !std::mem::replace(&mut seen[usize::from(*next)], true) {
                    left.push(*next);
                }
            }
        }
        self.is_in.iter_mut().zip(seen).for_each(|(is_in, seen)| *is_in |= seen);
    }

    /// Text in which a quote stands behind a backslash alone.
    fn any_quoted(&mut self, before: &[State]) {
        let mut escaped = vec![false; self.is_in.len()];
        let mut left: Vec<(State, bool)> = before.iter().map(|state| (*state, false)).collect();
        while let Some((state, is_escaped)) = left.pop() {
            for byte in (0..=u8::MAX).filter(|byte| is_escaped || *byte != b'"') {
                let next = self.automaton.next[usize::from(state) * 256 + usize::from(byte)];
                let escapes = byte == b'\\' && !is_escaped;
                let seen = if escapes { &mut escaped } else { &mut self.is_in };
                if !std::mem::replace(&mut seen[usize::from(next)], true) {
                    left.push((next, escapes));
                }
            }
        }
    }

    pub fn verdict(&self) -> Verdict {
        let mut ends = self.states().into_iter().map(|state| self.automaton.matches_at_end(state));
        match (ends.clone().any(|matches| matches), ends.all(|matches| matches)) {
            (_, true) => Verdict::Always,
            (false, _) => Verdict::Never,
            _ => Verdict::Look,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cut::Cutter;
    use super::*;
    use proptest::prelude::*;

    fn matches(automaton: &Automaton, line: &str) -> bool {
        automaton.matches_at_end(automaton.run(automaton.start(), line.as_bytes()))
    }

    #[test]
    fn regexes_match_as_they_do_elsewhere() {
        for (pattern, fitting, others) in [
            (
                "HTTP/1.1\" 50[02] ",
                vec!["GET / HTTP/1.1\" 502 7"],
                vec!["GET / HTTP/1.1\" 504 7", "HTTP/1.1\" 50"],
            ),
            ("^a|b$", vec!["ax", "xb", "b"], vec!["xa", "bx", ""]),
            ("(?i)error", vec!["an ERRor"], vec!["err"]),
            ("", vec!["", "x"], vec![]),
            ("^$", vec![""], vec!["x"]),
            ("ä.ö", vec!["xäüö"], vec!["äö"]),
            ("(?s)a.c", vec!["a\nc"], vec!["ac"]),
        ] {
            let automaton = Automaton::of_regex(pattern).unwrap();
            fitting.iter().for_each(|line| assert!(matches(&automaton, line), "{pattern} {line}"));
            others.iter().for_each(|line| assert!(!matches(&automaton, line), "{pattern} {line}"));
        }
        assert!(Automaton::of_regex(r"\berror\b").is_none(), "beyond ASCII it hangs on more than a byte");
        assert!(Automaton::of_regex(r"(\w{10}\s){40}").is_none(), "too large");
    }

    #[test]
    fn what_all_lines_of_a_kind_share_decides_for_them() {
        let automaton = Automaton::of_regex("code=5[0-9]+ ").unwrap();
        let of = |pieces: &[Result<&str, Alphabet>]| {
            let mut reached = Reached::from(&automaton, automaton.start());
            for piece in pieces {
                match piece {
                    Ok(text) => reached.text(text.as_bytes()),
                    Err(alphabet) => reached.any_text(&[*alphabet]),
                }
            }
            reached.verdict()
        };
        let digits = Err(Alphabet::Digits);
        assert_eq!(of(&[digits, Ok(" code=503 "), digits]), Verdict::Always);
        assert_eq!(of(&[digits, Ok(" code="), digits, Ok(" x")]), Verdict::Look);
        assert_eq!(of(&[digits, Ok(" mode="), digits, Ok(" x")]), Verdict::Never);
        assert_eq!(of(&[Err(Alphabet::Any)]), Verdict::Look);
        let quoted = Automaton::of_text("\",\"x").unwrap();
        let mut reached = Reached::from(&quoted, quoted.start());
        reached.any_text(&[Alphabet::Quoted]);
        assert_eq!(reached.verdict(), Verdict::Never, "no quote is without a backslash");
        let escaped = Automaton::of_text("a\\\"b").unwrap();
        let mut reached = Reached::from(&escaped, escaped.start());
        reached.any_text(&[Alphabet::Quoted]);
        assert_eq!(reached.verdict(), Verdict::Look);
    }

    #[test]
    fn alphabets_have_what_tokens_are_made_of() {
        let mut cutter = Cutter::default();
        for line in [
            "a-b.c_d/e f x1y2 07 30000ms ä1",
            "0123456789abcdef 550e8400-e29b-41d4-a716-446655440000",
            "Nov  1 00:00:01 Oct 31 Jan  2 01:02:03",
            "01/Dec/2026:00:00:00 2026-11-01T00:00:00.123 2026-11-01 00:00:00,123 2026/11/01 00:00:00",
            "I1101 00:00:00.405000 x\n\tat {",
        ] {
            assert!(cutter.cut(line));
            for token in &cutter.tokens {
                let text = &line.as_bytes()[token.start..token.end];
                let fits = |alphabet: &Alphabet| text.iter().all(|byte| alphabet.has(*byte));
                assert!(Alphabet::of(token.kind).iter().any(fits), "{line} {token:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_text_is_found_where_it_is(text in "[ab]{1,6}|[ -~ä]{1,4}", line in "[ab]{0,30}|[ -~ä]{0,30}") {
            let automaton = Automaton::of_text(&text).unwrap();
            prop_assert_eq!(matches(&automaton, &line), line.contains(&text));
            let around = format!("{line}{text}{line}");
            prop_assert!(matches(&automaton, &around));
        }
    }
}
