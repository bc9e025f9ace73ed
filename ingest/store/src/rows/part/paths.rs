//! Values of JSON lines by their path, and which paths of a part get a column.

use arrow::array::{Array, StringArray};
use foldhash::{HashMap, HashMapExt, HashSet};

/// Columns of a part: each costs some hundred bytes a row group even where it is nearly empty.
const COLUMNS_MAX: usize = 64;
/// A path gets a column when one JSON line in so many has it.
const LINES_OF_A_PATH: usize = 200;
/// Lines looked at to choose the paths.
const LINES_LOOKED_AT: usize = 4_096;
const DEPTH_MAX: usize = 8;
const PATH_BYTES_MAX: usize = 200;

/// Distinct values of a path are few where those of the lines that are looked at take no more than this.
const FEW_BYTES: usize = 8 << 10;

/// A value of a line: its path and where its text lies. Quotes are not part of it.
pub struct Value {
    path: (usize, usize),
    pub start: usize,
    pub end: usize,
}

/// Reads one line; what it found is used for the next one again.
#[derive(Default)]
pub struct Scan {
    /// The paths of the values, one after the other.
    paths: String,
    path: String,
    pub values: Vec<Value>,
}

impl Scan {
    /// Whether the line is one that can be taken apart.
    pub fn read(&mut self, line: &str) -> bool {
        self.paths.clear();
        self.path.clear();
        self.values.clear();
        let bytes = line.as_bytes();
        let at = space(bytes, 0);
        bytes.get(at) == Some(&b'{')
            && !line.contains('\0')
            && self.object(line, at, 0).is_some_and(|at| space(bytes, at) == bytes.len())
    }

    /// The place behind the object that begins at `at`.
    fn object(&mut self, line: &str, at: usize, depth: usize) -> Option<usize> {
        let bytes = line.as_bytes();
        if depth > DEPTH_MAX {
            return None;
        }
        let mut at = space(bytes, at + 1);
        if bytes.get(at) == Some(&b'}') {
            return Some(at + 1);
        }
        let before = self.path.len();
        loop {
            let (start, end) = string(bytes, at)?;
            let key = &line[start..end];
            if key.contains(['\\', '\u{0}']) {
                return None;
            }
            if depth > 0 {
                self.path.push('/');
            }
            match key.contains(['~', '/']) {
                true => self.path.push_str(&key.replace('~', "~0").replace('/', "~1")),
                false => self.path.push_str(key),
            }
            if self.path.len() > PATH_BYTES_MAX {
                return None;
            }
            at = space(bytes, end + 1);
            if bytes.get(at) != Some(&b':') {
                return None;
            }
            at = space(bytes, at + 1);
            at = match bytes.get(at)? {
                b'{' => self.object(line, at, depth + 1)?,
                // A line with more values than there are columns is not taken apart, and may have thousands.
                _ if self.values.len() >= COLUMNS_MAX => return None,
                b'"' => {
                    let (start, end) = string(bytes, at)?;
                    self.value(start, end);
                    end + 1
                }
                b'[' => {
                    // Its brackets stay in the shape, which so tells an array from a number.
                    let end = array(line, at)?;
                    self.value(at + 1, end - 1);
                    end
                }
                _ => {
                    let end = scalar(bytes, at)?;
                    self.value(at, end);
                    end
                }
            };
            self.path.truncate(before);
            at = space(bytes, at);
            match bytes.get(at)? {
                b',' => at = space(bytes, at + 1),
                b'}' => return Some(at + 1),
                _ => return None,
            }
        }
    }

    fn value(&mut self, start: usize, end: usize) {
        let from = self.paths.len();
        self.paths.push_str(&self.path);
        self.values.push(Value { path: (from, self.paths.len()), start, end });
    }

    pub fn path(&self, value: &Value) -> &str {
        &self.paths[value.path.0..value.path.1]
    }
}

fn space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Start and end of the text between the quotes.
fn string(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let start = at + 1;
    let mut at = start;
    loop {
        match bytes.get(at)? {
            b'"' => return Some((start, at)),
            b'\\' => at += 2,
            0..0x20 => return None,
            _ => at += 1,
        }
    }
}

/// The end of a number or a word.
fn scalar(bytes: &[u8], at: usize) -> Option<usize> {
    for word in [&b"true"[..], b"false", b"null"] {
        if bytes[at..].starts_with(word) {
            return Some(at + word.len());
        }
    }
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut end = at + usize::from(bytes.get(at) == Some(&b'-'));
    if !digit(end) {
        return None;
    }
    while bytes.get(end).is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
        end += 1;
    }
    Some(end)
}

/// The end of an array, which is one value whatever it holds.
fn array(line: &str, at: usize) -> Option<usize> {
    let mut stream = serde_json::Deserializer::from_str(&line[at..]).into_iter::<serde_json::Value>();
    stream.next()?.ok()?;
    Some(at + stream.byte_offset())
}

/// Shows path and value of everything in some of the lines, with the number of the batch and of the row in it, and says how many
/// of them can be taken apart.
pub fn look(bodies: &[&StringArray], mut show: impl FnMut((usize, usize), &str, &str)) -> usize {
    let rows: usize = bodies.iter().map(|bodies| bodies.len()).sum();
    let every = (rows / LINES_LOOKED_AT).max(1);
    let (mut scan, mut lines) = (Scan::default(), 0usize);
    let rows = |(batch, bodies): (usize, &&StringArray)| (0..bodies.len()).map(move |row| (batch, row));
    for at @ (batch, row) in bodies.iter().enumerate().flat_map(rows).step_by(every) {
        let line = bodies[batch].value(row);
        if scan.read(line) {
            lines += 1;
            scan.values.iter().for_each(|value| show(at, scan.path(value), &line[value.start..value.end]));
        }
    }
    lines
}

/// Paths that have a column, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    pub all: Vec<String>,
    /// Those that say one of a few values again and again, as far as can be told.
    pub few_valued: Vec<String>,
}

/// What is seen of a path.
#[derive(Default)]
struct Seen {
    lines: usize,
    values: HashSet<String>,
    bytes: usize,
}

impl Seen {
    fn add(&mut self, value: &str) {
        self.lines += 1;
        if self.bytes <= FEW_BYTES && !self.values.contains(value) {
            self.bytes += value.len() + size_of::<u32>();
            self.values.insert(value.to_owned());
        }
    }
}

impl Paths {
    /// Of what some of the lines have.
    pub fn frequent(bodies: &[&StringArray]) -> Paths {
        let mut seen: HashMap<String, Seen> = HashMap::new();
        let lines = look(bodies, |_, path, value| match seen.get_mut(path) {
            Some(of_path) => of_path.add(value),
            None => seen.entry(path.to_owned()).or_default().add(value),
        });
        seen.retain(|_, of_path| of_path.lines * LINES_OF_A_PATH >= lines);
        let all = chosen(seen.iter().map(|(path, of_path)| (path.clone(), of_path.lines)).collect());
        let is_few_valued = |path: &&String| seen.get(*path).is_some_and(|seen| seen.bytes <= FEW_BYTES);
        Paths { few_valued: all.iter().filter(is_few_valued).cloned().collect(), all }
    }

    /// The paths of any of several files, as far as there is room. Few-valued are those that are it in each file that has them.
    pub fn joined(files: &[Paths]) -> Paths {
        let mut counts = HashMap::<String, usize>::new();
        let mut few = HashMap::<&str, usize>::new();
        for file in files {
            file.all.iter().for_each(|path| *counts.entry(path.clone()).or_default() += 1);
            file.few_valued.iter().for_each(|path| *few.entry(path).or_default() += 1);
        }
        let is_few_valued = |path: &&String| few.get(path.as_str()) == counts.get(*path);
        let all = chosen(counts.iter().map(|(path, files)| (path.clone(), *files)).collect());
        Paths { few_valued: all.iter().filter(is_few_valued).cloned().collect(), all }
    }
}

fn chosen(mut counts: Vec<(String, usize)>) -> Vec<String> {
    counts.sort_unstable_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    counts.truncate(COLUMNS_MAX);
    let mut paths: Vec<String> = counts.into_iter().map(|(path, _)| path).collect();
    paths.sort_unstable();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_more_fields_than_columns_is_not_even_read_to_its_end() {
        let line = |fields: usize| {
            let fields: Vec<String> = (0..fields).map(|n| format!("\"k{n}\":{n}")).collect();
            StringArray::from(vec![format!("{{{}}}", fields.join(","))])
        };
        assert_eq!(Paths::frequent(&[&line(COLUMNS_MAX)]).all.len(), COLUMNS_MAX);
        assert_eq!(Paths::frequent(&[&line(COLUMNS_MAX + 1)]).all.len(), 0);
    }

    #[test]
    fn few_values_are_those_of_every_file() {
        let lines = |user: fn(usize) -> usize| {
            let line =
                |n: usize| format!("{{\"level\":\"{}\",\"user\":{}}}", ["info", "warn"][n % 2], user(n));
            StringArray::from((0..4_096).map(line).collect::<Vec<String>>())
        };
        let many = Paths::frequent(&[&lines(|n| n * 7_919)]);
        assert_eq!(
            (&many.all[..], &many.few_valued[..]),
            (&["level".into(), "user".into()][..], &["level".into()][..])
        );
        let few = Paths::frequent(&[&lines(|n| n % 9)]);
        assert_eq!(few.few_valued, few.all);
        assert_eq!(Paths::joined(&[few.clone(), many.clone()]), many);
        assert_eq!(Paths::joined(&[few.clone(), Paths::default()]), few);
    }
}
