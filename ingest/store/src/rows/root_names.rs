//! Services and names of traces' roots: some thousands of traces share a few.

use std::collections::HashMap;

/// Each pair once, by its number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RootNames {
    all: Vec<(String, String)>,
    numbers: HashMap<(String, String), u32>,
}

impl RootNames {
    /// Of a service and a name, which have one from now on.
    pub fn number(&mut self, service: &str, name: &str) -> u32 {
        let root = (service.to_owned(), name.to_owned());
        let next = self.all.len() as u32;
        *self.numbers.entry(root.clone()).or_insert_with(|| {
            self.all.push(root);
            next
        })
    }

    pub fn get(&self, number: u32) -> Option<&(String, String)> {
        self.all.get(number as usize)
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The numbers here of what has the numbers 0, 1 and so on there.
    pub fn absorb(&mut self, other: &RootNames) -> Vec<u32> {
        other.all.iter().map(|(service, name)| self.number(service, name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::RootNames;

    #[test]
    fn what_two_know_has_one_number() {
        let (mut own, mut other) = (RootNames::default(), RootNames::default());
        assert_eq!([own.number("a", "x"), own.number("b", "x"), own.number("a", "x")], [0, 1, 0]);
        assert_eq!([other.number("c", "y"), other.number("b", "x")], [0, 1]);
        assert_eq!(own.absorb(&other), [2, 1]);
        assert_eq!(own.get(2), Some(&("c".to_owned(), "y".to_owned())));
        assert_eq!((own.get(3), own.len()), (None, 3));
    }
}
