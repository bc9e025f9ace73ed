//! How well a name answers what somebody typed, between 0 and 1: by its letters in order, or by likeness
//! (sources: Prometheus' `web/api/v1/search_filters.go`, `util/strutil`).

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Algorithm {
    /// All letters in their order; runs of neighbours count by their square, gaps against it.
    Subsequence,
    /// Contained, or alike in the sense of Jaro and Winkler.
    JaroWinkler,
}

/// Accepts what answers one of several texts.
pub struct Filter {
    sought: Vec<Vec<char>>,
    threshold: f64,
    algorithm: Algorithm,
    case_sensitive: bool,
}

impl Filter {
    pub fn new(texts: &[String], threshold: f64, algorithm: Algorithm, case_sensitive: bool) -> Filter {
        let folded = |text: &String| match case_sensitive {
            true => text.chars().collect(),
            false => text.to_lowercase().chars().collect(),
        };
        Filter { sought: texts.iter().map(folded).collect(), threshold, algorithm, case_sensitive }
    }

    /// The best score of all texts; `None` where the name answers none of them. Without texts every name is as good.
    pub fn score(&self, name: &str) -> Option<f64> {
        if self.sought.is_empty() {
            return Some(1.0);
        }
        let name: Vec<char> = match self.case_sensitive {
            true => name.chars().collect(),
            false => name.to_lowercase().chars().collect(),
        };
        let scores = self.sought.iter().filter_map(|sought| self.one(sought, &name));
        scores.max_by(f64::total_cmp)
    }

    fn one(&self, sought: &[char], name: &[char]) -> Option<f64> {
        if name.starts_with(sought) {
            return Some(1.0);
        }
        match self.algorithm {
            Algorithm::Subsequence => {
                Some(subsequence(sought, name)).filter(|score| *score > 0.0 && *score >= self.threshold)
            }
            Algorithm::JaroWinkler if name.windows(sought.len()).any(|part| part == sought) => Some(0.9),
            Algorithm::JaroWinkler if self.threshold > 0.0 => {
                Some(jaro_winkler(sought, name)).filter(|score| *score >= self.threshold)
            }
            Algorithm::JaroWinkler => None,
        }
    }
}

/// Of all places where the first letter is, the best start; 0 where the letters do not all come.
fn subsequence(sought: &[char], name: &[char]) -> f64 {
    if sought.len() > name.len() {
        return 0.0;
    }
    let mut best = -1.0f64;
    for start in (0..=name.len() - sought.len()).filter(|at| name[*at] == sought[0]) {
        match from(sought, name, start) {
            Some(score) => best = best.max(score),
            // Later starts have fewer letters to find the rest in.
            None => break,
        }
    }
    if best < 0.0 { 0.0 } else { best / (sought.len() * sought.len()) as f64 }
}

fn from(sought: &[char], name: &[char], start: usize) -> Option<f64> {
    let length = name.len() as f64;
    let (mut score, mut at, mut found, mut after) = (0.0, start, 0, 0);
    while found < sought.len() {
        at += name[at..].iter().position(|c| *c == sought[found])?;
        let run = name[at..].iter().zip(&sought[found..]).take_while(|(a, b)| a == b).count();
        score += (run * run) as f64 - (at - after) as f64 / length;
        (at, found) = (at + run, found + run);
        after = at;
    }
    Some(score - (name.len() - after) as f64 / length * 0.5)
}

fn jaro_winkler(a: &[char], b: &[char]) -> f64 {
    let (short, long) = if a.len() > b.len() { (b, a) } else { (a, b) };
    if short.is_empty() {
        return 0.0;
    }
    let reach = (long.len() / 2).saturating_sub(1);
    let (mut of_short, mut of_long) = (vec![false; short.len()], vec![false; long.len()]);
    for (i, c) in short.iter().enumerate() {
        let near = i.saturating_sub(reach)..(i + reach + 1).min(long.len());
        if let Some(j) = near.into_iter().find(|j| !of_long[*j] && long[*j] == *c) {
            (of_short[i], of_long[j]) = (true, true);
        }
    }
    let matched = |all: &[char], which: &[bool]| -> Vec<char> {
        all.iter().zip(which).filter(|(_, is)| **is).map(|(c, _)| *c).collect()
    };
    let (from_short, from_long) = (matched(short, &of_short), matched(long, &of_long));
    let matches = from_short.len() as f64;
    if matches == 0.0 {
        return 0.0;
    }
    let swapped = from_short.iter().zip(&from_long).filter(|(a, b)| a != b).count() as f64;
    let of = |all: &[char]| matches / all.len() as f64;
    let jaro = (of(short) + of(long) + (matches - swapped / 2.0) / matches) / 3.0;
    let prefix = short.iter().zip(long).take(4).take_while(|(a, b)| a == b).count() as f64;
    jaro + prefix * 0.1 * (1.0 - jaro)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(sought: &str, name: &str, algorithm: Algorithm, threshold: f64) -> Option<f64> {
        Filter::new(&[sought.to_owned()], threshold, algorithm, true).score(name)
    }

    #[test]
    fn letters_in_order_are_scored_by_their_runs() {
        let of = |sought: &str, name: &str| score(sought, name, Algorithm::Subsequence, 0.0);
        assert_eq!(
            (of("http", "http_requests"), of("", "x"), of("x", "x")),
            (Some(1.0), Some(1.0), Some(1.0))
        );
        assert_eq!((of("tcp", "http"), of("longer", "long")), (None, None));
        // One run of two after one letter, nothing behind: (4 - 1/3) / 4.
        assert_eq!(of("bc", "abc"), Some((4.0 - 1.0 / 3.0) / 4.0));
        // Two runs of one with a gap of one, a letter before and one behind: (1 - 1/5 + 1 - 1/5 - 1/10) / 4.
        let found = of("bd", "abcde").unwrap();
        assert!((found - (2.0 - 0.5) / 4.0).abs() < 1e-12, "{found}");
        assert_eq!(score("bd", "abcde", Algorithm::Subsequence, 0.5), None);
    }

    #[test]
    fn alike_names_are_scored_by_jaro_and_winkler() {
        let of = |sought: &str, name: &str| score(sought, name, Algorithm::JaroWinkler, 0.5).unwrap_or(0.0);
        // The textbook's pairs.
        for (a, b, wanted) in
            [("MARTHA", "MARHTA", 0.9611), ("DIXON", "DICKSONX", 0.8133), ("DWAYNE", "DUANE", 0.84)]
        {
            assert!((of(a, b) - wanted).abs() < 1e-4, "{a} {b}: {}", of(a, b));
        }
        assert_eq!(of("load", "node_load1"), 0.9);
        assert_eq!(score("loda", "node_load1", Algorithm::JaroWinkler, 0.0), None);
        let folded = Filter::new(&["LOAD".into(), "cpu".into()], 0.0, Algorithm::JaroWinkler, false);
        assert_eq!(
            (folded.score("node_load1"), folded.score("CPU_x"), folded.score("mem")),
            (Some(0.9), Some(1.0), None)
        );
    }
}
