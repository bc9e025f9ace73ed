//! The objects of one kind as list and watch tell them: what is there, up to which version, and what each event makes of
//! it. It knows no network.
//!
//! Of a cluster of 2,000 nodes there are 20,000 replica sets and 30,000 events. A parsed object has 600 bytes for each pair of
//! braces in it, so whole ones were 55 KB, 15 KB and, of a node with the names of its images, 100 KB. What is asked of them
//! later is kept, as text, and read where it is asked for.

use super::sizes::Sizes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Objects of one kind that are kept; a larger cluster is told in part, and says so.
const OBJECTS_MAX: usize = 50_000;

#[derive(Default)]
pub struct Known {
    kind: &'static str,
    /// By namespace and name.
    objects: BTreeMap<(String, String), Kept>,
    /// Opaque; where a watch goes on.
    pub version: String,
    /// Objects that were left out.
    pub left_out: usize,
}

/// An object as JSON.
pub type Text = Arc<[u8]>;

/// What an object is between two events of it.
struct Kept {
    text: Text,
    /// Asked for at every event.
    replicas: Option<u64>,
}

impl Kept {
    fn of(kind: &str, object: Value) -> Kept {
        let object = kept(kind, object);
        let replicas = object.pointer("/spec/replicas").and_then(Value::as_u64);
        Kept { text: text(&object), replicas }
    }

    fn object(&self) -> Value {
        object(&self.text)
    }
}

pub fn text(object: &Value) -> Text {
    object.to_string().into_bytes().into()
}

/// As it was written.
pub fn object(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_default()
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

/// Takes fields away from what stands at the path.
fn without(object: &mut Value, path: &str, names: &[&str]) {
    if let Some(fields) = object.pointer_mut(path).and_then(Value::as_object_mut) {
        names.iter().for_each(|name| _ = fields.remove(*name));
    }
}

/// What nobody asks for is most of an object; what is secret goes no further at all.
pub fn trimmed(mut object: Value) -> Value {
    without(&mut object, "", &["data", "binaryData", "stringData"]);
    without(&mut object, "/metadata", &["managedFields"]);
    without(&mut object, "/metadata/annotations", &["kubectl.kubernetes.io/last-applied-configuration"]);
    without(&mut object, "/status", &["images", "volumesInUse", "volumesAttached"]);
    object
}

/// What is asked of an object when its event is told: of a pod template the images, and of what others make pods by nothing.
/// Of an event only that it was there.
pub fn kept(kind: &str, object: Value) -> Value {
    let mut object = trimmed(object);
    match kind {
        "Event" => {
            let keep = ["namespace", "name", "resourceVersion"];
            let kept = keep.map(|name| object["metadata"][name].clone());
            let [namespace, name, version] = kept;
            return json!({ "metadata": { "namespace": namespace, "name": name, "resourceVersion": version } });
        }
        "ReplicaSet" | "ReplicationController" | "Job" => without(&mut object, "/spec", &["template"]),
        "CronJob" => without(&mut object, "/spec", &["jobTemplate"]),
        "Deployment" | "StatefulSet" | "DaemonSet" => only_images(&mut object, "/spec/template"),
        _ => {}
    }
    object
}

/// What a history is read for.
pub fn of_history(mut object: Value) -> Value {
    without(&mut object, "/metadata", &["managedFields"]);
    only_images(&mut object, "/spec/template");
    only_images(&mut object, "/data/spec/template");
    object
}

fn only_images(object: &mut Value, template: &str) {
    let Some(template) = object.pointer_mut(template) else { return };
    let containers = template.pointer("/spec/containers").and_then(Value::as_array);
    let images = containers.into_iter().flatten().map(|container| json!({ "image": container["image"] }));
    let images: Vec<Value> = images.collect();
    *template = json!({ "spec": { "containers": images } });
}

impl Known {
    pub fn of(kind: &'static str) -> Known {
        Known { kind, ..Known::default() }
    }

    pub fn forget(&mut self) {
        *self = Known::of(self.kind);
    }

    /// All objects, to be read by [`object`]: nobody waits meanwhile.
    pub fn texts(&self) -> Vec<Text> {
        self.objects.values().map(|kept| kept.text.clone()).collect()
    }

    /// How many replicas each workload has.
    pub fn sizes(&self) -> Sizes {
        let all = self.objects.iter();
        Sizes::of(all.filter_map(|((namespace, name), kept)| Some((namespace, name, kept.replicas?))))
    }

    /// The whole list. Objects that differ from what was known come back as before and after, as if watched. Of a first
    /// list, objects are new that were written after the version `since`.
    pub fn replace(
        &mut self,
        items: impl IntoIterator<Item = Value>,
        version: String,
        since: Option<u64>,
    ) -> Vec<Event> {
        let mut before = std::mem::take(&mut self.objects);
        let is_first = self.version.is_empty();
        self.version = version;
        self.left_out = 0;
        let mut events = vec![];
        for object in items {
            let key = key(&object);
            let after = trimmed(object);
            let was = before.remove(&key).map(|was| was.object());
            let is_new = match (is_first, since) {
                (false, _) => was.as_ref().map(version_of) != Some(version_of(&after)),
                // Versions are opaque but for their order.
                (true, Some(since)) => version_of(&after).parse::<u64>().is_ok_and(|version| version > since),
                (true, None) => false,
            };
            if is_new {
                events.push(Event::Changed { before: was, after: Some(after.clone()) });
            }
            self.left_out += usize::from(!self.keep(key, after));
        }
        let gone = |gone: Kept| Event::Changed { before: Some(gone.object()), after: None };
        events.extend(before.into_values().map(gone));
        events
    }

    /// A line of a watch. A stream of status 200 may hold errors.
    pub fn apply(&mut self, line: &[u8]) -> Event {
        let mut event: Value = match serde_json::from_slice(line) {
            Ok(event) => event,
            Err(wrong) => return Event::Relist(format!("an event is no JSON: {wrong}")),
        };
        let object = event.get_mut("object").map(Value::take).unwrap_or_default();
        // A table has the version of its row.
        let version = version_of(&object);
        let object = of_table(object);
        match event["type"].as_str() {
            Some(what @ ("ADDED" | "MODIFIED")) => {
                self.version = version;
                let (key, after) = (key(&object), trimmed(object));
                let before = self.objects.get(&key).map(Kept::object);
                let is_kept = self.keep(key, after.clone());
                self.left_out += usize::from(!is_kept && what == "ADDED");
                Event::Changed { before, after: Some(after) }
            }
            Some("DELETED") => {
                self.version = version;
                let before = self.objects.remove(&key(&object)).map(|before| before.object());
                self.left_out = self.left_out.saturating_sub(usize::from(before.is_none()));
                Event::Changed { before: before.or(Some(trimmed(object))), after: None }
            }
            Some("BOOKMARK") => {
                self.version = version;
                Event::Bookmark
            }
            _ => {
                let text = |name: &str| object[name].as_str().unwrap_or("").to_owned();
                Event::Relist(format!("{} {}: {}", object["code"], text("reason"), text("message")))
            }
        }
    }

    /// Whether there is room for it.
    fn keep(&mut self, key: (String, String), object: Value) -> bool {
        let has_room = self.objects.len() < OBJECTS_MAX || self.objects.contains_key(&key);
        if has_room {
            self.objects.insert(key, Kept::of(self.kind, object));
        }
        has_room
    }
}

/// The objects of a list, or of a table.
pub fn items(list: &mut Value) -> Vec<Value> {
    let mut taken = |name: &str| match list.get_mut(name).map(Value::take) {
        Some(Value::Array(all)) => all,
        _ => vec![],
    };
    let (mut items, rows) = (taken("items"), taken("rows"));
    items.extend(rows.into_iter().map(of_row));
    items
}

/// What a watch tells as a table of one row.
fn of_table(mut object: Value) -> Value {
    let row = if object["kind"] == "Table" { items(&mut object).pop() } else { None };
    row.unwrap_or(object)
}

/// Of secrets the API server makes tables as `kubectl get` shows them, so that their contents stay there: metadata, and in a
/// column the type. Columns are named in the first answer alone; the name is the first and the type the second.
fn of_row(mut row: Value) -> Value {
    let kind = row.pointer_mut("/cells/1").map(Value::take);
    let mut object = row.get_mut("object").map(Value::take).unwrap_or_default();
    if let (Some(Value::String(kind)), Some(fields)) = (kind, object.as_object_mut()) {
        fields.insert("type".to_owned(), kind.into());
    }
    object
}

/// Opaque but for its order.
pub fn version_of(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(known.replace([], "5".into(), None), []);
        let Event::Changed { before: None, after: Some(after) } = known.apply(&event("ADDED", "a", "6"))
        else {
            panic!("added")
        };
        assert!(after.get("data").is_none(), "contents are not kept");
        assert!(matches!(known.apply(&event("MODIFIED", "a", "7")), Event::Changed { before: Some(_), .. }));
        assert_eq!(known.apply(&event("BOOKMARK", "", "9")), Event::Bookmark);
        assert_eq!(known.version, "9");
        assert!(matches!(known.apply(&event("DELETED", "a", "10")), Event::Changed { after: None, .. }));
        assert_eq!(known.texts().len(), 0);
        assert!(matches!(known.apply(b"{"), Event::Relist(_)));
    }

    /// As a real API server answers, 1.36.
    #[test]
    fn of_a_table_of_secrets_the_types_are_known() {
        let row = |version: &str| {
            json!({ "cells": ["s", "example.com/kind", 1, "0s"], "object": { "kind": "PartialObjectMetadata",
                "metadata": { "namespace": "n", "name": "s", "resourceVersion": version } } })
        };
        let mut list = json!({ "kind": "Table", "metadata": { "resourceVersion": "7" }, "rows": [row("5")] });
        let mut known = Known::of("Secret");
        known.replace(items(&mut list), "7".into(), None);
        let types = |known: &Known| -> Vec<Value> {
            known.texts().iter().map(|text| object(text)["type"].clone()).collect()
        };
        assert_eq!(types(&known), ["example.com/kind"]);
        let event = |kind: &str, version: &str, rows: Value| {
            let table = json!({ "kind": "Table", "metadata": { "resourceVersion": version }, "rows": rows });
            json!({ "type": kind, "object": table }).to_string().into_bytes()
        };
        let changed = known.apply(&event("MODIFIED", "8", json!([row("8")])));
        let Event::Changed { before: Some(before), after: Some(after) } = changed else { panic!("changed") };
        assert_eq!((version_of(&before), version_of(&after)), ("5".to_owned(), "8".to_owned()));
        let nothing = json!([{ "cells": ["", "", 0, "<unknown>"],
            "object": { "kind": "PartialObjectMetadata", "metadata": { "resourceVersion": "9" } } }]);
        assert_eq!(known.apply(&event("BOOKMARK", "9", nothing)), Event::Bookmark);
        assert_eq!((known.version.as_str(), types(&known).len()), ("9", 1));
        known.apply(&event("DELETED", "10", json!([row("10")])));
        assert_eq!((known.version.as_str(), types(&known).len()), ("10", 0));
        for odd in [json!(7), json!([]), json!([7]), json!([{ "cells": 7 }])] {
            assert!(matches!(known.apply(&event("ADDED", "11", odd)), Event::Changed { .. }));
        }
    }

    #[test]
    fn what_nobody_asks_for_is_not_kept() {
        let template = json!({ "metadata": { "labels": { "a": "b" } },
            "spec": { "containers": [{ "name": "c", "image": "one:1", "env": [] }, { "name": "d" }] } });
        let object = |kind: &str| {
            json!({ "metadata": { "namespace": "n", "name": kind, "resourceVersion": "1", "managedFields": [{}] },
                "spec": { "replicas": 3, "template": template, "jobTemplate": template },
                "status": { "images": [{}], "conditions": [] }, "message": "words" })
        };
        let metadata = |kind: &str| json!({ "namespace": "n", "name": kind, "resourceVersion": "1" });
        assert_eq!(kept("Event", object("e")), json!({ "metadata": metadata("e") }));
        let images = json!({ "spec": { "containers": [{ "image": "one:1" }, { "image": null }] } });
        for (kind, spec) in [
            ("ReplicaSet", json!({ "replicas": 3, "jobTemplate": template })),
            ("CronJob", json!({ "replicas": 3, "template": template })),
            ("Deployment", json!({ "replicas": 3, "template": images, "jobTemplate": template })),
        ] {
            let status = json!({ "conditions": [] });
            let left =
                json!({ "metadata": metadata("x"), "spec": spec, "status": status, "message": "words" });
            assert_eq!(kept(kind, object("x")), left, "{kind}");
            assert_eq!(kept(kind, left.clone()), left, "{kind}, again");
        }
        let mut known = Known::of("Deployment");
        known.replace(vec![object("d")], "1".into(), None);
        assert_eq!(known.sizes().note(), "n/d=3");
    }

    #[test]
    fn objects_past_the_bound_are_counted() {
        let mut known = Known::of("Event");
        let object = |number: usize| json!({ "metadata": { "namespace": "n", "name": number.to_string() } });
        known.replace((0..OBJECTS_MAX + 2).map(object), "1".into(), None);
        assert_eq!((known.texts().len(), known.left_out), (OBJECTS_MAX, 2));
        for (kind, name, left_out) in [
            ("ADDED", "x", 3),
            ("MODIFIED", "x", 3),
            ("DELETED", "x", 2),
            ("DELETED", "0", 2),
            ("ADDED", "y", 2),
            ("ADDED", "z", 3),
        ] {
            known.apply(&event(kind, name, "2"));
            assert_eq!(known.left_out, left_out, "{kind} {name}");
        }
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
        assert_eq!((known.texts().len(), known.version.as_str()), (3, "577"));
        assert_eq!(events.last(), Some(&Event::Bookmark));
        let broken = std::fs::read(folder.join("watch.ndjson")).unwrap();
        let Event::Relist(why) = known.apply(&broken) else { panic!("an error is an error") };
        assert!(why.starts_with("500 InternalError: a watch stream"), "{why}");
        assert_eq!(known.version, "577", "an error moves nothing");
    }
}
