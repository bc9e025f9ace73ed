//! What is kept of monitors and services, on each of a cluster's nodes: of a monitor what it selects, and itself as text,
//! which is read where it selects something of this node; of services those that a ServiceMonitor selects and that have
//! pods behind them. It knows no network.
//!
//! A parsed object has 600 bytes for each pair of braces in it, so ten thousand services with all their fields were more
//! memory than everything else of an agent.

use super::selector::{Namespaces, Selector};
use super::service::Service;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use tracing::warn;

/// Objects of one kind; a larger cluster is told in part, and says so.
const OBJECTS_MAX: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    PodMonitor,
    ServiceMonitor,
    Service,
}

/// Services behind what selects them.
pub const KINDS: [Kind; 3] = [Kind::PodMonitor, Kind::ServiceMonitor, Kind::Service];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::PodMonitor => "PodMonitor",
            Kind::ServiceMonitor => "ServiceMonitor",
            Kind::Service => "Service",
        }
    }

    pub fn path(self) -> &'static str {
        match self {
            Kind::PodMonitor => "/apis/monitoring.coreos.com/v1/podmonitors",
            Kind::ServiceMonitor => "/apis/monitoring.coreos.com/v1/servicemonitors",
            Kind::Service => "/api/v1/services",
        }
    }
}

/// Namespace and name.
type Key = (String, String);

#[derive(Default)]
pub struct Objects {
    pod_monitors: BTreeMap<Key, Monitor>,
    service_monitors: BTreeMap<Key, Monitor>,
    services: BTreeMap<Key, Service>,
    /// A ServiceMonitor selects what it did not select before: of services that were thrown away some may be wanted now.
    pub is_wider: bool,
}

/// A monitor that is not read further than to whom it is for.
pub struct Monitor {
    pub namespace: String,
    pub name: String,
    /// Or why it is not understood.
    pub selection: Result<Selection, String>,
    /// Name, namespace and spec.
    text: Box<[u8]>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Selection {
    selector: Selector,
    namespace_selector: Namespaces,
}

impl Monitor {
    fn of(object: &Value) -> Monitor {
        let (namespace, name) = key(object);
        let spec = &object["spec"];
        let selection = Selection::deserialize(spec).map_err(|wrong| wrong.to_string());
        let text = json!({ "metadata": { "namespace": namespace, "name": name }, "spec": spec });
        Monitor { namespace, name, selection, text: text.to_string().into_bytes().into() }
    }

    pub fn selects(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        self.selection.as_ref().is_ok_and(|selection| {
            selection.namespace_selector.select(&self.namespace, namespace)
                && selection.selector.selects(labels)
        })
    }

    pub fn object(&self) -> Value {
        serde_json::from_slice(&self.text).unwrap_or_default()
    }
}

fn key(object: &Value) -> Key {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or("").to_owned();
    (text("namespace"), text("name"))
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or("").to_owned()
}

impl Objects {
    pub fn pod_monitors(&self) -> impl Iterator<Item = &Monitor> {
        self.pod_monitors.values()
    }

    pub fn service_monitors(&self) -> impl Iterator<Item = &Monitor> {
        self.service_monitors.values()
    }

    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    pub fn clear(&mut self, kind: Kind) {
        match kind {
            Kind::PodMonitor => self.pod_monitors.clear(),
            Kind::ServiceMonitor => self.service_monitors.clear(),
            Kind::Service => self.services.clear(),
        }
    }

    /// A whole list instead of what was known, and its version. One that breaks off changes nothing.
    pub fn replace(&mut self, kind: Kind, list: &[u8]) -> Result<String, String> {
        let (mut all, mut left_out) = (vec![], 0usize);
        let version = each(list, |object| match self.read(kind, &object) {
            Some(_) if all.len() >= OBJECTS_MAX => left_out += 1,
            Some(kept) => all.push((key(&object), kept)),
            None => {}
        })?;
        if left_out > 0 {
            let kind = kind.name();
            warn!(kind, left_out, max = OBJECTS_MAX, "too many objects; the rest is left out");
        }
        self.is_wider |= all.iter().any(|(key, kept)| self.widens(key, kept));
        self.clear(kind);
        all.into_iter().for_each(|(key, kept)| self.put(key, kept));
        Ok(version)
    }

    /// A line of a watch, and the version that it brings; else why the list is to be read anew.
    pub fn apply(&mut self, kind: Kind, line: &[u8]) -> Result<String, String> {
        let mut event: Value =
            serde_json::from_slice(line).map_err(|wrong| format!("an event is no JSON: {wrong}"))?;
        let object = event.get_mut("object").map(Value::take).unwrap_or_default();
        match event["type"].as_str() {
            Some("ADDED" | "MODIFIED") => self.take(kind, &object),
            Some("DELETED") => self.remove(kind, &key(&object)),
            Some("BOOKMARK") => {}
            // A stream of status 200 may hold errors.
            _ => return Err(format!("{} {}", object["code"], object["message"].as_str().unwrap_or(""))),
        }
        Ok(version(&object))
    }

    fn take(&mut self, kind: Kind, object: &Value) {
        let key = key(object);
        match self.read(kind, object) {
            Some(kept) => {
                self.is_wider |= self.widens(&key, &kept);
                self.put(key, kept);
            }
            // It was wanted, maybe, until its labels changed.
            None => self.remove(kind, &key),
        }
    }

    fn read(&self, kind: Kind, object: &Value) -> Option<Kept> {
        match kind {
            Kind::PodMonitor => Some(Kept::PodMonitor(Monitor::of(object))),
            Kind::ServiceMonitor => Some(Kept::ServiceMonitor(Monitor::of(object))),
            Kind::Service => {
                let service = Service::read(object)?;
                let is_wanted = |monitor: &Monitor| monitor.selects(&service.namespace, &service.labels);
                self.service_monitors.values().any(is_wanted).then_some(Kept::Service(service))
            }
        }
    }

    fn widens(&self, key: &Key, kept: &Kept) -> bool {
        let Kept::ServiceMonitor(after) = kept else { return false };
        self.service_monitors.get(key).is_none_or(|before| before.selection != after.selection)
    }

    fn put(&mut self, key: Key, kept: Kept) {
        match kept {
            Kept::PodMonitor(monitor) => insert(&mut self.pod_monitors, key, monitor),
            Kept::ServiceMonitor(monitor) => insert(&mut self.service_monitors, key, monitor),
            Kept::Service(service) => insert(&mut self.services, key, service),
        }
    }

    fn remove(&mut self, kind: Kind, key: &Key) {
        match kind {
            Kind::PodMonitor => _ = self.pod_monitors.remove(key),
            Kind::ServiceMonitor => _ = self.service_monitors.remove(key),
            Kind::Service => _ = self.services.remove(key),
        }
    }
}

enum Kept {
    PodMonitor(Monitor),
    ServiceMonitor(Monitor),
    Service(Service),
}

/// Where there is room for it.
fn insert<T>(all: &mut BTreeMap<Key, T>, key: Key, one: T) {
    if all.len() < OBJECTS_MAX || all.contains_key(&key) {
        all.insert(key, one);
    }
}

/// Hands over the objects of a list one by one, so that never all of them are parsed, and tells its version.
fn each(list: &[u8], found: impl FnMut(Value)) -> Result<String, String> {
    let mut reader = serde_json::Deserializer::from_slice(list);
    reader.deserialize_map(List(found)).map_err(|wrong| format!("no list: {wrong}"))
}

struct List<F>(F);

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Versioned {
    resource_version: String,
}

impl<'de, F: FnMut(Value)> Visitor<'de> for List<F> {
    type Value = String;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a list of the API server")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<String, A::Error> {
        let mut version = String::new();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "metadata" => {
                    let metadata: Option<Versioned> = map.next_value()?;
                    version = metadata.unwrap_or_default().resource_version;
                }
                "items" => map.next_value_seed(Items(&mut self.0))?,
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(version)
    }
}

struct Items<'f, F>(&'f mut F);

impl<'de, F: FnMut(Value)> DeserializeSeed<'de> for Items<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, items: D) -> Result<(), D::Error> {
        items.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Value)> Visitor<'de> for Items<'_, F> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("the objects of a list")
    }

    /// `null`, as Go writes what is empty.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Items(found) = self;
        while let Some(object) = items.next_element()? {
            found(object);
        }
        Ok(())
    }
}

#[cfg(test)]
impl Objects {
    /// Objects as they are written, services behind what selects them.
    pub fn of(written: &[(Kind, Value)]) -> Objects {
        let mut objects = Objects::default();
        written.iter().for_each(|(kind, object)| objects.take(*kind, object));
        objects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(namespaces: Value, team: &str) -> Value {
        json!({ "metadata": { "name": "m", "namespace": "shop", "resourceVersion": "2", "managedFields": [{}] },
            "spec": { "namespaceSelector": namespaces, "selector": { "matchLabels": { "team": team } },
                "endpoints": [{ "port": "m" }] },
            "status": {} })
    }

    fn service(name: &str, team: &str) -> Value {
        json!({ "metadata": { "name": name, "namespace": "shop", "labels": { "team": team },
                "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" } },
            "spec": { "selector": { "app": name }, "ports": [{ "name": "m", "port": 90 }] } })
    }

    fn list(items: Value) -> Vec<u8> {
        // As an API server writes it: the version before the objects.
        format!("{{\"kind\": \"List\", \"metadata\": {{\"resourceVersion\": \"7\"}}, \"items\": {items}}}")
            .into_bytes()
    }

    fn names(objects: &Objects) -> Vec<&str> {
        objects.services().map(|service| service.name.as_str()).collect()
    }

    #[test]
    fn services_are_kept_that_a_monitor_selects() {
        let mut objects = Objects::default();
        let all = json!([service("a", "one"), service("b", "two"), service("c", "one")]);
        assert_eq!(objects.replace(Kind::Service, &list(all.clone())), Ok("7".to_owned()));
        assert!(names(&objects).is_empty() && !objects.is_wider, "nobody selects any");
        objects.replace(Kind::ServiceMonitor, &list(json!([monitor(json!({}), "one")]))).unwrap();
        assert!(std::mem::take(&mut objects.is_wider));
        objects.replace(Kind::Service, &list(all.clone())).unwrap();
        assert_eq!(names(&objects), ["a", "c"]);
        objects.replace(Kind::ServiceMonitor, &list(json!([monitor(json!({}), "one")]))).unwrap();
        assert!(!objects.is_wider, "the same as before");
        // Without a selector there are no pods behind it.
        let odd = json!([{ "metadata": { "name": "x", "namespace": "shop", "labels": { "team": "one" } },
            "spec": { "ports": [{ "port": 1 }] } }]);
        objects.replace(Kind::Service, &list(odd)).unwrap();
        assert!(names(&objects).is_empty());
        for broken in [&b"{\"items\": [{}, "[..], b"[]", b"{\"items\": 7}", b""] {
            assert!(objects.replace(Kind::ServiceMonitor, broken).unwrap_err().starts_with("no list"));
        }
        assert_eq!(objects.service_monitors().count(), 1, "as it was");
        objects.replace(Kind::ServiceMonitor, &list(Value::Null)).unwrap();
        assert_eq!(objects.service_monitors().count(), 0);
    }

    #[test]
    fn events_move_what_is_known() {
        let mut objects = Objects::of(&[
            (Kind::ServiceMonitor, monitor(json!({}), "one")),
            (Kind::Service, service("a", "one")),
        ]);
        objects.is_wider = false;
        let event = |kind: &str, mut object: Value| {
            object["metadata"]["resourceVersion"] = json!("9");
            json!({ "type": kind, "object": object }).to_string().into_bytes()
        };
        let nine = Ok("9".to_owned());
        assert_eq!(objects.apply(Kind::Service, &event("ADDED", service("b", "one"))), nine);
        assert_eq!(names(&objects), ["a", "b"]);
        assert_eq!(objects.apply(Kind::Service, &event("MODIFIED", service("a", "two"))), nine);
        assert_eq!(names(&objects), ["b"], "nobody selects it now");
        assert_eq!(objects.apply(Kind::Service, &event("BOOKMARK", json!({ "metadata": {} }))), nine);
        assert_eq!(objects.apply(Kind::Service, &event("DELETED", service("b", "one"))), nine);
        assert!(names(&objects).is_empty() && !objects.is_wider);
        let wider = event("MODIFIED", monitor(json!({ "any": true }), "one"));
        assert_eq!(objects.apply(Kind::ServiceMonitor, &wider), nine);
        assert!(objects.is_wider);
        let gone = json!({ "type": "ERROR", "object": { "code": 410, "message": "too old" } }).to_string();
        assert_eq!(objects.apply(Kind::Service, gone.as_bytes()), Err("410 too old".to_owned()));
        assert!(objects.apply(Kind::Service, b"{").is_err());
    }

    #[test]
    fn of_a_monitor_its_spec_is_kept() {
        let monitor = Monitor::of(&monitor(json!({ "matchNames": ["a"] }), "one"));
        let kept = monitor.object();
        assert_eq!(kept["metadata"], json!({ "namespace": "shop", "name": "m" }));
        assert_eq!((kept["spec"]["endpoints"][0]["port"].as_str(), kept.get("status")), (Some("m"), None));
        let labels = BTreeMap::from([("team".to_owned(), "one".to_owned())]);
        assert!(monitor.selects("a", &labels) && !monitor.selects("shop", &labels));
        let odd = Monitor::of(&json!({ "metadata": {}, "spec": { "selector": 3 } }));
        assert!(odd.selection.is_err() && !odd.selects("", &labels));
    }
}
