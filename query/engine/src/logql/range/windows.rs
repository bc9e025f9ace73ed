//! Lines by series and step. Counts and bytes are differences: the value at a step is the sum up to it, so that a line is
//! added twice at most however many windows it is in. All series lie in one piece of memory, as an answer may have very many.

/// Of one query.
pub(super) struct Windows {
    steps: usize,
    series: usize,
    /// By series and step.
    counts: Vec<i64>,
    /// Empty where nobody asks for bytes.
    bytes: Vec<i64>,
    has_bytes: bool,
}

impl Windows {
    pub fn new(steps: usize, has_bytes: bool) -> Windows {
        Windows { steps, series: 0, counts: vec![], bytes: vec![], has_bytes }
    }

    /// Bytes of memory that a series takes.
    pub fn bytes_of_series(&self) -> usize {
        self.steps * 8 * (1 + usize::from(self.has_bytes))
    }

    pub fn len(&self) -> usize {
        self.series
    }

    /// One more series: its number.
    pub fn push(&mut self) -> usize {
        self.series += 1;
        self.counts.resize(self.counts.len() + self.steps, 0);
        if self.has_bytes {
            self.bytes.resize(self.counts.len(), 0);
        }
        self.series - 1
    }

    /// Lines of one series become those of another.
    pub fn join(&mut self, from: usize, to: usize) {
        let (from, to) = (from * self.steps, to * self.steps);
        for of_all in [&mut self.counts, &mut self.bytes] {
            if of_all.is_empty() {
                continue;
            }
            for step in 0..self.steps {
                let moved = std::mem::take(&mut of_all[from + step]);
                of_all[to + step] += moved;
            }
        }
    }

    /// Lines that are in the windows of these steps, both included.
    pub fn add(&mut self, series: usize, (first, last): (usize, usize), lines: i64, bytes: usize) {
        let start = series * self.steps;
        let add = |of_all: &mut Vec<i64>, much: i64| {
            of_all[start + first] += much;
            // What it would no longer be in behind the last step nobody reads.
            if last + 1 < self.steps {
                of_all[start + last + 1] -= much;
            }
        };
        add(&mut self.counts, lines);
        if self.has_bytes {
            add(&mut self.bytes, bytes as i64);
        }
    }

    /// Lines and bytes of each step.
    pub fn of(&self, series: usize) -> impl Iterator<Item = (i64, i64)> {
        let (mut lines, mut bytes) = (0, 0);
        let start = series * self.steps;
        (start..start + self.steps).map(move |at| {
            lines += self.counts[at];
            bytes += self.bytes.get(at).copied().unwrap_or(0);
            (lines, bytes)
        })
    }
}
