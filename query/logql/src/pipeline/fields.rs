//! The labels of one line while it goes through a pipeline: those of its stream, its structured metadata, and what
//! parsers found. One value is used for all lines of a query; starting it anew frees nothing.

use super::{ERROR, ERROR_DETAILS};
use std::collections::HashSet;
use std::sync::Arc;

/// Names that are looked through one by one. A line of JSON may have tens of thousands, which are looked up.
const NAMES_LOOKED_THROUGH: usize = 64;

/// Where a label comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    Stream,
    Metadata,
    Parsed,
}

#[derive(Debug)]
struct Entry {
    name: String,
    value: String,
    category: Category,
    /// It was taken away. What a parser found stays known as found: no later one finds it again.
    gone: bool,
}

impl Entry {
    /// Whether it is what a parser finds under the name, which the stream or the metadata may have `taken`.
    fn is_parsed_as(&self, name: &str, taken: bool) -> bool {
        let named = match taken {
            true => self.name.strip_suffix("_extracted"),
            false => Some(&*self.name),
        };
        self.category == Category::Parsed && named == Some(name)
    }
}

/// Name and value of a stream's labels.
type StreamLabels = Arc<[(String, String)]>;

#[derive(Debug)]
pub struct Fields {
    stream: StreamLabels,
    /// Which stream labels were taken away or replaced. Empty: none.
    hidden: Vec<bool>,
    /// The first `used` count; the rest are kept for their memory.
    entries: Vec<Entry>,
    used: usize,
    /// Names of all entries, where there are many.
    names: HashSet<String>,
    error: &'static str,
    details: String,
    /// The query asks for errors of this kind.
    is_excused: bool,
}

impl Default for Fields {
    fn default() -> Self {
        Fields {
            stream: Arc::from([]),
            hidden: Vec::new(),
            entries: Vec::new(),
            used: 0,
            names: HashSet::new(),
            error: "",
            details: String::new(),
            is_excused: false,
        }
    }
}

impl Fields {
    /// Forgets the line before and begins with the labels of a stream.
    pub fn start(&mut self, stream: &StreamLabels) {
        if !Arc::ptr_eq(&self.stream, stream) {
            self.stream = stream.clone();
        }
        self.hidden.clear();
        self.used = 0;
        self.names.clear();
        self.error = "";
        self.details.clear();
        self.is_excused = false;
    }

    /// Structured metadata; a name that the stream has gets `_extracted`. Of several that labels spell alike the last stays.
    pub fn add_metadata(&mut self, name: &str, value: &str) {
        let taken = self.stream_index(name).is_some();
        let is_it = |entry: &&mut Entry| match taken {
            true => entry.name.strip_suffix("_extracted") == Some(name),
            false => entry.name == name,
        };
        match self.entries[..self.used].iter_mut().find(is_it) {
            Some(entry) => value.clone_into(&mut entry.value),
            None => self.push(name, taken, value, Category::Metadata),
        }
    }

    /// What a parser found; a name that the stream or the metadata has gets `_extracted`. The first one found stays, and
    /// what was taken away stays away.
    pub fn extract(&mut self, name: &str, value: &str) {
        let taken = self.is_taken(name);
        if !self.is_parsed(name, taken) {
            self.push(name, taken, value, Category::Parsed);
        }
    }

    /// What a parser was asked for by name: it stands over what another found, whether that was taken away or not.
    pub fn extract_over(&mut self, name: &str, value: &str) {
        let taken = self.is_taken(name);
        let found =
            self.entries[..self.used].iter_mut().find(|entry| !entry.gone && entry.is_parsed_as(name, taken));
        match found {
            Some(entry) => value.clone_into(&mut entry.value),
            None => {
                self.names.clear();
                self.push(name, taken, value, Category::Parsed);
            }
        }
    }

    /// As [`extract_over`](Self::extract_over), where of those that get `_extracted` the first one stays.
    pub fn extract_last(&mut self, name: &str, value: &str) {
        match self.is_taken(name) {
            true => self.extract(name, value),
            false => self.extract_over(name, value),
        }
    }

    /// Begins what a parser was asked for by name: it is there, empty, whatever another found. Of a name that the stream or
    /// the metadata has nothing is begun.
    pub fn begin(&mut self, name: &str) {
        if !self.is_taken(name) {
            self.extract_over(name, "");
        }
    }

    /// Whether the stream or the metadata has the name.
    fn is_taken(&self, name: &str) -> bool {
        // Metadata came first.
        let mut metadata =
            self.entries[..self.used].iter().take_while(|entry| entry.category == Category::Metadata);
        self.stream_index(name).is_some() || metadata.any(|entry| !entry.gone && entry.name == name)
    }

    /// Whether a parser has found the name already, or a format made it, whether it was taken away since or not.
    fn is_parsed(&mut self, name: &str, taken: bool) -> bool {
        let parsed = self.entries[..self.used].iter().filter(|entry| entry.category == Category::Parsed);
        if self.used <= NAMES_LOOKED_THROUGH {
            let mut parsed = parsed;
            return parsed.any(|entry| entry.is_parsed_as(name, taken));
        }
        if self.names.is_empty() {
            self.names = parsed.map(|entry| entry.name.clone()).collect();
        }
        // It is put there at once if it is new.
        match taken {
            true => !self.names.insert(format!("{name}_extracted")),
            false => self.names.contains(name) || !self.names.insert(name.to_owned()),
        }
    }

    fn push(&mut self, name: &str, extracted: bool, value: &str, category: Category) {
        if self.used == self.entries.len() {
            self.entries.push(Entry { name: String::new(), value: String::new(), category, gone: false });
        }
        let entry = &mut self.entries[self.used];
        entry.name.clear();
        entry.name.push_str(name);
        if extracted {
            entry.name.push_str("_extracted");
        }
        entry.value.clear();
        entry.value.push_str(value);
        entry.category = category;
        entry.gone = false;
        self.used += 1;
    }

    /// The entries that were not taken away.
    fn standing(&self) -> impl Iterator<Item = &Entry> {
        self.entries[..self.used].iter().filter(|entry| !entry.gone)
    }

    fn stream_index(&self, name: &str) -> Option<usize> {
        self.stream.iter().position(|(n, _)| n == name)
    }

    fn stream_visible(&self, at: usize) -> bool {
        !self.hidden.get(at).copied().unwrap_or(false)
    }

    fn hide_stream(&mut self, at: usize) {
        if self.hidden.is_empty() {
            self.hidden.resize(self.stream.len(), false);
        }
        self.hidden[at] = true;
    }

    /// Parsed labels stand before metadata, metadata before the stream's. "" where there is no error for
    /// `__error__`.
    pub fn get(&self, name: &str) -> Option<&str> {
        if name == ERROR {
            return Some(self.error);
        }
        if name == ERROR_DETAILS {
            return Some(&self.details);
        }
        let of =
            |category| self.standing().find(|e| e.category == category && e.name == name).map(|e| &*e.value);
        of(Category::Parsed).or_else(|| of(Category::Metadata)).or_else(|| {
            let at = self.stream_index(name)?;
            self.stream_visible(at).then(|| &*self.stream[at].1)
        })
    }

    /// Sets a label over whatever it was.
    pub fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.push(name, false, value, Category::Parsed);
    }

    pub fn remove(&mut self, name: &str) {
        if name == ERROR {
            self.error = "";
            return;
        }
        if name == ERROR_DETAILS {
            self.details.clear();
            return;
        }
        if let Some(at) = self.stream_index(name) {
            self.hide_stream(at);
        }
        self.names.clear();
        for entry in self.entries[..self.used].iter_mut().filter(|entry| entry.name == name) {
            entry.gone = true;
        }
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        if let Some(value) = self.get(from).map(str::to_owned) {
            self.set(to, &value);
            self.remove(from);
        }
    }

    /// Takes away the labels that `keep` says no to; errors stay.
    pub fn retain(&mut self, keep: impl Fn(&str, &str) -> bool) {
        for at in 0..self.stream.len() {
            if !keep(&self.stream[at].0, &self.stream[at].1) {
                self.hide_stream(at);
            }
        }
        for entry in &mut self.entries[..self.used] {
            entry.gone |= !keep(&entry.name, &entry.value);
        }
    }

    /// Without details, those of what failed before stay.
    pub fn fail(&mut self, error: &'static str, details: &str) {
        self.error = error;
        if !details.is_empty() {
            details.clone_into(&mut self.details);
        }
    }

    /// Whether a parser or a format made the label.
    pub fn is_parsed_label(&self, name: &str) -> bool {
        self.standing().any(|entry| entry.category == Category::Parsed && entry.name == name)
    }

    /// Lets the line count with its error.
    pub fn excuse(&mut self) {
        self.is_excused = true;
    }

    /// Whether the line has an error that a count must not pass over.
    pub fn fails_the_query(&self) -> bool {
        self.failed() && !self.is_excused
    }

    pub fn failed(&self) -> bool {
        !self.error.is_empty()
    }

    /// "" where there is none.
    pub fn error(&self) -> &'static str {
        self.error
    }

    /// Every label, each name once, in no order. Empty ones are among them where metadata or a parser gave them. What went
    /// wrong stands before what a line calls so.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Category)> {
        let wrong = move |name: &str| match name {
            ERROR => !self.error.is_empty(),
            ERROR_DETAILS => !self.details.is_empty(),
            _ => false,
        };
        let shadowed = move |name: &str, category| {
            self.standing().any(|e| {
                e.name == name
                    && (category == Category::Stream
                        || e.category == Category::Parsed && category != Category::Parsed)
            })
        };
        let stream = self
            .stream
            .iter()
            .enumerate()
            .filter(move |(at, (name, _))| self.stream_visible(*at) && !shadowed(name, Category::Stream))
            .filter(move |(_, (name, _))| !wrong(name));
        stream
            .map(|(_, (name, value))| (&**name, &**value, Category::Stream))
            .chain(
                self.standing()
                    .filter(move |e| e.category == Category::Parsed || !shadowed(&e.name, e.category))
                    .filter(move |e| !wrong(&e.name))
                    .map(|e| (&*e.name, &*e.value, e.category)),
            )
            .chain(
                [(ERROR, self.error, Category::Parsed), (ERROR_DETAILS, &*self.details, Category::Parsed)]
                    .into_iter()
                    .filter(|(_, value, _)| !value.is_empty()),
            )
    }
}
