//! The order of a series' labels. Lines of one metric name them in the same order, one after the other, so it is found
//! once for all of them.

use super::Pairs;

/// How the labels of the line before were put in order.
#[derive(Default)]
pub struct Order<'a> {
    /// Names as they stood there.
    names: Vec<&'a str>,
    /// For each place, which of them belongs there; empty where they stood in order.
    places: Vec<usize>,
    /// What comes next is made of this list's memory.
    spare: Pairs<'a>,
}

impl<'a> Order<'a> {
    pub fn put(&mut self, labels: &mut Pairs<'a>) {
        let stand_as_before = self.names.len() == labels.len()
            && self.names.iter().zip(&*labels).all(|(before, (name, _))| before == name);
        if !stand_as_before {
            self.find(labels);
        }
        if self.places.is_empty() {
            return;
        }
        self.spare.clear();
        self.spare.extend(self.places.iter().map(|at| labels[*at]));
        std::mem::swap(&mut self.spare, labels);
    }

    fn find(&mut self, labels: &Pairs<'a>) {
        self.names.clear();
        self.names.extend(labels.iter().map(|(name, _)| *name));
        self.places.clear();
        if !self.names.is_sorted() {
            self.places.extend(0..labels.len());
            self.places.sort_by_key(|at| labels[*at].0);
        }
    }
}
