//! The objects of one kind as list and watch tell them: what is there, up to which version, and what each event makes of
//! it. It knows no network.

use serde_json::Value;
use std::collections::BTreeMap;

/// Objects of one kind that are kept; a larger cluster is told in part, and says so.
const OBJECTS_MAX: usize = 50_000;

#[derive(Default)]
pub struct Known {
    /// By namespace and name.
    objects: BTreeMap<(String, String), Value>,
    /// Opaque; where a watch goes on.
    pub version: String,
    /// Objects that were left out.
    pub left_out: usize,
}

/// What an event came to.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// An object as it was, if it was, and as it is, if it is.
    Changed { before: Option<Value>, after: Option<Value> },
    /// The version moved on.
    Bookmark,
    /// What was watched is too old, or the watch is broken: the list is to be read anew.
    Relist(String),
}

fn key(object: &Value) -> (String, String) {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or("").to_owned();
    (text("namespace"), text("name"))
}

/// What nobody asks for is most of an object; what is secret is not kept at all.
fn trimmed(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        ["data", "binaryData", "stringData"].iter().for_each(|name| _ = fields.remove(*name));
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    object
}

impl Known {
    pub fn all(&self) -> impl Iterator<Item = &Value> {
        self.objects.values()
    }

    /// The whole list. Objects that differ from what was known come back as before and after, as if watched. Of a first
    /// list, objects are new that were written after the version `since`.
    pub fn replace(&mut self, items: Vec<Value>, version: String, since: Option<u64>) -> Vec<Event> {
        let mut before = std::mem::take(&mut self.objects);
        let is_first = self.version.is_empty();
        self.version = version;
        self.left_out = 0;
        let mut events = vec![];
        for object in items {
            let key = key(&object);
            let after = trimmed(object);
            let was = before.remove(&key);
            let is_new = match (is_first, since) {
                (false, _) => was.as_ref().map(version_of) != Some(version_of(&after)),
                // Versions are opaque but for their order.
                (true, Some(since)) => version_of(&after).parse::<u64>().is_ok_and(|version| version > since),
                (true, None) => false,
            };
            if is_new {
                events.push(Event::Changed { before: was, after: Some(after.clone()) });
            }
            self.keep(key, after);
        }
        events.extend(before.into_values().map(|gone| Event::Changed { before: Some(gone), after: None }));
        events
    }

    /// A line of a watch. A stream of status 200 may hold errors.
    pub fn apply(&mut self, line: &[u8]) -> Event {
        let event: Value = match serde_json::from_slice(line) {
            Ok(event) => event,
            Err(wrong) => return Event::Relist(format!("an event is no JSON: {wrong}")),
        };
        let object = event["object"].clone();
        match event["type"].as_str() {
            Some("ADDED" | "MODIFIED") => {
                self.version = version_of(&object);
                let (key, after) = (key(&object), trimmed(object));
                let before = self.objects.get(&key).cloned();
                self.keep(key, after.clone());
                Event::Changed { before, after: Some(after) }
            }
            Some("DELETED") => {
                self.version = version_of(&object);
                let before = self.objects.remove(&key(&object));
                Event::Changed { before: before.or(Some(trimmed(object))), after: None }
            }
            Some("BOOKMARK") => {
                self.version = version_of(&object);
                Event::Bookmark
            }
            _ => {
                let text = |name: &str| object[name].as_str().unwrap_or("").to_owned();
                Event::Relist(format!("{} {}: {}", object["code"], text("reason"), text("message")))
            }
        }
    }

    fn keep(&mut self, key: (String, String), object: Value) {
        if self.objects.len() < OBJECTS_MAX || self.objects.contains_key(&key) {
            self.objects.insert(key, object);
        } else {
            self.left_out += 1;
        }
    }
}

/// Opaque but for its order.
pub fn version_of(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::Path;

    fn event(kind: &str, name: &str, version: &str) -> Vec<u8> {
        json!({ "type": kind, "object": { "metadata": { "namespace": "n", "name": name, "resourceVersion": version },
            "data": { "password": "x" } } })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn events_move_what_is_known() {
        let mut known = Known::default();
        assert_eq!(known.replace(vec![], "5".into(), None), []);
        let Event::Changed { before: None, after: Some(after) } = known.apply(&event("ADDED", "a", "6"))
        else {
            panic!("added")
        };
        assert!(after.get("data").is_none(), "contents are not kept");
        assert!(matches!(known.apply(&event("MODIFIED", "a", "7")), Event::Changed { before: Some(_), .. }));
        assert_eq!(known.apply(&event("BOOKMARK", "", "9")), Event::Bookmark);
        assert_eq!(known.version, "9");
        assert!(matches!(known.apply(&event("DELETED", "a", "10")), Event::Changed { after: None, .. }));
        assert_eq!(known.all().count(), 0);
        assert!(matches!(known.apply(b"{"), Event::Relist(_)));
    }

    #[test]
    fn a_list_after_a_gap_tells_what_was_missed() {
        let object =
            |name: &str, version: &str| json!({ "metadata": { "name": name, "resourceVersion": version } });
        let mut known = Known::default();
        known.replace(vec![object("a", "1"), object("b", "2"), object("c", "3")], "3".into(), None);
        let missed =
            known.replace(vec![object("a", "1"), object("b", "8"), object("d", "9")], "9".into(), None);
        let names = |event: &Event| match event {
            Event::Changed { before, after } => {
                let name =
                    |object: &Option<Value>| object.as_ref().map(|object| object["metadata"]["name"].clone());
                (name(before), name(after))
            }
            _ => (None, None),
        };
        let missed: Vec<_> = missed.iter().map(names).collect();
        let (b, c, d) = (Some(json!("b")), Some(json!("c")), Some(json!("d")));
        assert_eq!(missed, [(b.clone(), b), (None, d), (c, None)]);
    }

    #[test]
    fn a_first_list_tells_what_nobody_did() {
        let object = |version: &str| json!({ "metadata": { "name": version, "resourceVersion": version } });
        let told = |since| {
            let all = vec![object("9"), object("10"), object("x")];
            Known::default().replace(all, "12".into(), since).len()
        };
        assert_eq!((told(None), told(Some(9)), told(Some(8)), told(Some(12))), (0, 1, 2, 0));
    }

    /// What a real API server sent: a watch that begins with all objects, and an error on a stream of status 200.
    #[test]
    fn recorded_watches_are_understood() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/kubernetes/kubelet-cgroup-v1");
        let Ok(text) = std::fs::read_to_string(folder.join("watch1.ndjson")) else {
            println!("no {}: recorded watches were not read", folder.display());
            return;
        };
        let mut known = Known::default();
        let events: Vec<Event> = text.lines().map(|line| known.apply(line.as_bytes())).collect();
        assert_eq!((known.all().count(), known.version.as_str()), (3, "577"));
        assert_eq!(events.last(), Some(&Event::Bookmark));
        let broken = std::fs::read(folder.join("watch.ndjson")).unwrap();
        let Event::Relist(why) = known.apply(&broken) else { panic!("an error is an error") };
        assert!(why.starts_with("500 InternalError: a watch stream"), "{why}");
        assert_eq!(known.version, "577", "an error moves nothing");
    }
}
