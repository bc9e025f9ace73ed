//! How many replicas workloads had, noted on the lease by who watches for who comes next.
//!
//! A scaling by the subresource `scale` leaves neither a time nor a number before in the cluster. Of stateful sets there is no
//! event of it either, and of deployments none until their controller has acted on it.

use serde_json::Value;
use std::collections::BTreeMap;

/// Of the note: the lease is written every five seconds, and annotations of an object may take 256 KiB. Some 500 workloads.
const BYTES_MAX: usize = 16 << 10;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sizes(BTreeMap<String, u64>);

fn key(workload: &Value) -> Option<String> {
    let text = |name: &str| workload["metadata"][name].as_str();
    Some(format!("{}/{}", text("namespace")?, text("name")?))
}

impl Sizes {
    /// Namespaces, names and numbers.
    pub fn of<'k>(workloads: impl Iterator<Item = (&'k String, &'k String, u64)>) -> Sizes {
        Sizes(workloads.map(|(namespace, name, size)| (format!("{namespace}/{name}"), size)).collect())
    }

    pub fn read(note: &str) -> Sizes {
        let size = |one: &str| {
            let (name, replicas) = one.split_once('=')?;
            Some((name.to_owned(), replicas.parse().ok()?))
        };
        Sizes(note.split(',').filter_map(size).collect())
    }

    /// `shop/db=3,shop/queue=1`, without those for which there is no room.
    pub fn note(&self) -> String {
        let mut note = String::new();
        for (name, replicas) in &self.0 {
            let one = format!("{name}={replicas}");
            if note.len() + 1 + one.len() > BYTES_MAX {
                break;
            }
            note += if note.is_empty() { "" } else { "," };
            note += &one;
        }
        note
    }

    pub fn before(&self, workload: &Value) -> Option<u64> {
        self.0.get(&key(workload)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(name: &str, replicas: u64) -> Value {
        json!({ "metadata": { "namespace": "shop", "name": name }, "spec": { "replicas": replicas } })
    }

    fn sizes(names: &[String], size: impl Fn(usize) -> u64) -> Sizes {
        let namespace = "shop".to_owned();
        Sizes::of(names.iter().enumerate().map(|(at, name)| (&namespace, name, size(at))))
    }

    #[test]
    fn what_is_noted_is_read_again() {
        let sizes = sizes(&["db".to_owned(), "queue".to_owned()], |at| [3, 0][at]);
        assert_eq!(sizes.note(), "shop/db=3,shop/queue=0");
        assert_eq!(Sizes::read(&sizes.note()), sizes);
        assert_eq!((sizes.before(&set("queue", 9)), sizes.before(&set("new", 9))), (Some(0), None));
        assert_eq!(Sizes::read(""), Sizes::default());
    }

    #[test]
    fn a_note_has_an_end() {
        let names: Vec<String> = (0..10_000).map(|number| format!("db-{number}")).collect();
        let note = sizes(&names, |_| 1).note();
        assert!(note.len() <= BYTES_MAX && note.len() > BYTES_MAX - 20, "{}", note.len());
        assert!(note.ends_with("=1"));
    }
}
