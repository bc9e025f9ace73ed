//! What the difference between an object before and after says to people: a scaling, a node that went away, a
//! configuration that changed (rollouts have their own room). Contents of config maps and secrets are never told, only that they changed.

use super::known::Event;
use super::rollouts::Until;
use crate::changes::Change;
use serde_json::{Value, json};

/// An event of the cluster is also a change where its reason is one of these. That a node is not ready is told by its
/// condition, with what it was before.
const REASONS: [(&str, &str); 12] = [
    ("Evicted", "eviction"),
    ("Preempted", "eviction"),
    ("TaintManagerEviction", "eviction"),
    ("Unhealthy", "probe"),
    ("ProbeWarning", "probe"),
    ("EvictionThresholdMet", "node"),
    ("Rebooted", "node"),
    ("SystemOOM", "node"),
    ("FailedScheduling", "scheduling"),
    ("BackOff", "crash"),
    ("Failed", "failure"),
    ("FailedMount", "failure"),
];

fn text<'v>(object: &'v Value, path: &str) -> &'v str {
    object.pointer(path).and_then(Value::as_str).unwrap_or("")
}

/// Deletion and creation are changes of nodes only here.
pub fn changes(kind: &str, before: Option<&Value>, after: Option<&Value>, now_ns: i64) -> Vec<Change> {
    let Some(object) = after.or(before) else { return vec![] };
    let change = |of: &str, what: String, before: String, after: String| Change {
        ts_ns: now_ns,
        kind: of.to_owned(),
        namespace: text(object, "/metadata/namespace").to_owned(),
        workload: text(object, "/metadata/name").to_owned(),
        what,
        before,
        after,
        severity: 9,
        details: named(kind, text(object, "/metadata/name")),
    };
    let name = format!("{kind} {}", text(object, "/metadata/name"));
    match (kind, before, after) {
        ("Deployment" | "StatefulSet" | "DaemonSet", Some(before), Some(after)) => {
            let replicas = |object: &Value| object.pointer("/spec/replicas").and_then(Value::as_u64);
            if let (Some(old), Some(new)) = (replicas(before), replicas(after))
                && old != new
            {
                let what = format!("{name} is scaled from {old} to {new}");
                return vec![change("scale", what, old.to_string(), new.to_string())];
            }
            vec![]
        }
        ("ConfigMap" | "Secret", Some(before), Some(after)) => {
            let (old, new) =
                (text(before, "/metadata/resourceVersion"), text(after, "/metadata/resourceVersion"));
            // The lock of an old kind of leader election is renewed every second.
            let is_lock =
                after.pointer("/metadata/annotations/control-plane.alpha.kubernetes.io~1leader").is_some();
            if old == new || is_lock {
                return vec![];
            }
            vec![change(
                "config",
                format!("{name} changed"),
                format!("version {old}"),
                format!("version {new}"),
            )]
        }
        ("Node", Some(before), Some(after)) => node(before, after, &name, &change),
        ("Node", None, Some(_)) => {
            vec![change("node", format!("{name} joined"), String::new(), "joined".into())]
        }
        ("Node", Some(_), None) => {
            vec![change("node", format!("{name} is gone"), String::new(), "gone".into())]
        }
        ("Event", before, Some(after)) => event(before, after).into_iter().collect(),
        _ => vec![],
    }
}

/// What a change is of. That of a node is on it.
pub fn named(kind: &str, name: &str) -> Vec<(String, model::Value)> {
    let mut details = vec![("k8s.object.kind".to_owned(), kind.into())];
    if kind == "Node" {
        details.push(("k8s.node.name".to_owned(), name.into()));
    }
    details
}

/// What a first list says of an object that was written after `until`. Of a configuration that nobody watched only the end is
/// known, and one that was not there before is no change. An event that was there before goes on: only its count grew.
pub fn since(kind: &str, event: Event, until: Until) -> Option<Event> {
    let Event::Changed { before: None, after: Some(after) } = event else { return Some(event) };
    let created = crate::pods::time_ns(after.pointer("/metadata/creationTimestamp").and_then(Value::as_str));
    let before = match kind {
        "Event" => {
            let counted =
                ["/count", "/series/count"].into_iter().filter_map(|path| after.pointer(path)?.as_u64());
            // Times of objects are of whole seconds.
            let was_there = created.is_some_and(|at| at < until.time_ns.saturating_sub(999_999_999));
            (was_there && counted.max() > Some(1)).then(|| json!({}))
        }
        _ if created? >= until.time_ns => return None,
        _ => Some(json!({ "metadata": { "resourceVersion": format!("up to {}", until.version) } })),
    };
    Some(Event::Changed { before, after: Some(after) })
}

fn node(
    before: &Value,
    after: &Value,
    name: &str,
    change: &dyn Fn(&str, String, String, String) -> Change,
) -> Vec<Change> {
    let conditions = |object: &Value| -> Vec<(String, String)> {
        let all = object.pointer("/status/conditions").and_then(Value::as_array);
        let all = all.into_iter().flatten();
        all.map(|one| (text(one, "/type").to_owned(), text(one, "/status").to_owned())).collect()
    };
    let old = conditions(before);
    let mut found = vec![];
    for (kind, status) in conditions(after) {
        let was = old.iter().find(|(known, _)| *known == kind).map(|(_, status)| status.clone());
        if let Some(was) = was.filter(|was| *was != status) {
            let what = format!("{name}: {kind} is {status}");
            found.push(change("node", what, format!("{kind}={was}"), format!("{kind}={status}")));
        }
    }
    let cordoned =
        |object: &Value| object.pointer("/spec/unschedulable").and_then(Value::as_bool).unwrap_or(false);
    if cordoned(before) != cordoned(after) {
        let word = if cordoned(after) { "cordoned" } else { "uncordoned" };
        found.push(change("node", format!("{name} is {word}"), String::new(), word.into()));
    }
    found
}

fn event(before: Option<&Value>, after: &Value) -> Option<Change> {
    let reason = text(after, "/reason");
    let (_, kind) = REASONS.iter().find(|(known, _)| *known == reason)?;
    // Told when it begins: afterwards only its count grows.
    if before.is_some() || is_taken_back(after) {
        return None;
    }
    Some(Change {
        ts_ns: event_time(after)?,
        kind: (*kind).to_owned(),
        namespace: text(after, "/involvedObject/namespace").to_owned(),
        workload: text(after, "/involvedObject/name").to_owned(),
        what: text(after, "/message").to_owned(),
        before: String::new(),
        after: reason.to_owned(),
        severity: if text(after, "/type") == "Warning" { 13 } else { 9 },
        details: whose(after),
    })
}

/// A pod that was to go for a taint of its node stays after all: an event of the same reason says so of each pod of the node.
fn is_taken_back(event: &Value) -> bool {
    text(event, "/reason") == "TaintManagerEviction" && text(event, "/message").starts_with("Cancelling")
}

/// What an event is about, and on which node: its own, not that of who watches.
fn whose(event: &Value) -> Vec<(String, model::Value)> {
    let kind = text(event, "/involvedObject/kind");
    let mut found = vec![("k8s.object.kind", kind)];
    if kind == "Pod" {
        found.push(("k8s.pod.name", text(event, "/involvedObject/name")));
        found.push(("k8s.pod.uid", text(event, "/involvedObject/uid")));
    }
    let node = match kind {
        "Node" => text(event, "/involvedObject/name"),
        _ => text(event, "/source/host"),
    };
    found.push(("k8s.node.name", node));
    found.retain(|(_, value)| !value.is_empty());
    found.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// When it was last seen; one of three fields has it, depending on who wrote it.
pub fn event_time(event: &Value) -> Option<i64> {
    let times = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    times.iter().find_map(|path| crate::pods::time_ns(event.pointer(path).and_then(Value::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(replicas: u32) -> Value {
        json!({ "metadata": { "name": "cart", "namespace": "shop" }, "spec": { "replicas": replicas } })
    }

    fn told(kind: &str, before: Option<&Value>, after: Option<&Value>) -> Vec<(String, String, String)> {
        let all = changes(kind, before, after, 1);
        all.into_iter().map(|change| (change.kind, change.before, change.after)).collect()
    }

    fn is(kind: &str, before: &str, after: &str) -> (String, String, String) {
        (kind.into(), before.into(), after.into())
    }

    #[test]
    fn scalings_say_before_and_after() {
        let (old, new) = (deployment(2), deployment(3));
        assert_eq!(told("Deployment", Some(&old), Some(&new)), [is("scale", "2", "3")]);
        assert_eq!(told("Deployment", Some(&old), Some(&old)), []);
        assert_eq!(told("ReplicaSet", Some(&old), Some(&new)), []);
    }

    #[test]
    fn configurations_tell_versions_and_nodes_their_conditions() {
        let config = |version: &str| json!({ "metadata": { "name": "c", "namespace": "n", "resourceVersion": version } });
        assert_eq!(
            told("Secret", Some(&config("1")), Some(&config("2"))),
            [is("config", "version 1", "version 2")]
        );
        let node = |ready: &str, cordoned: bool| {
            json!({ "metadata": { "name": "n1" }, "spec": { "unschedulable": cordoned },
                "status": { "conditions": [{ "type": "Ready", "status": ready, "lastHeartbeatTime": "x" }] } })
        };
        assert_eq!(
            told("Node", Some(&node("True", false)), Some(&node("Unknown", true))),
            [is("node", "Ready=True", "Ready=Unknown"), is("node", "", "cordoned")]
        );
    }

    #[test]
    fn a_configuration_that_nobody_watched_tells_where_it_came_to() {
        let config = |created: &str| {
            let after =
                json!({ "metadata": { "name": "c", "resourceVersion": "9", "creationTimestamp": created } });
            Event::Changed { before: None, after: Some(after) }
        };
        let until = Until { version: 7, time_ns: 1_767_225_600_000_000_000 };
        let since = |created| since("ConfigMap", config(created), until);
        let Some(Event::Changed { before, after }) = since("2025-12-31T00:00:00Z") else {
            panic!("it was there before")
        };
        let change = told("ConfigMap", before.as_ref(), after.as_ref());
        assert_eq!(change, [is("config", "version up to 7", "version 9")]);
        assert_eq!(since("2026-01-01T00:00:01Z"), None, "it is new");
    }

    /// A probe that fails every few seconds is one event, whose count grows.
    #[test]
    fn an_event_that_goes_on_is_no_change_to_who_watches_next() {
        let until = Until { version: 7, time_ns: 1_767_225_600_000_000_000 };
        let told = |created: &str, count: u32| {
            let event = json!({ "metadata": { "creationTimestamp": created }, "reason": "Unhealthy", "count": count,
                "message": "Readiness probe failed", "lastTimestamp": "2026-01-01T00:00:07Z" });
            let event = Event::Changed { before: None, after: Some(event) };
            let Some(Event::Changed { before, after }) = since("Event", event, until) else {
                panic!("a line")
            };
            told("Event", before.as_ref(), after.as_ref()).len()
        };
        let (early, late) = ("2025-12-31T00:00:00Z", "2026-01-01T00:00:02Z");
        assert_eq!((told(early, 3), told(late, 3)), (0, 1));
        // Nobody saw how it began, though it was long ago: who watched may have been slow.
        assert_eq!(told(early, 1), 1);
    }

    #[test]
    fn an_eviction_by_a_taint_is_told_unless_it_is_taken_back() {
        // Both of a real one, 1.36.
        let event = |message: &str| {
            json!({ "reason": "TaintManagerEviction", "type": "Normal", "message": message,
                "lastTimestamp": "2026-01-01T00:00:00Z", "source": { "component": "taint-eviction-controller" },
                "involvedObject": { "kind": "Pod", "namespace": "shop", "name": "cart-0" } })
        };
        let told = |message| told("Event", None, Some(&event(message)));
        let is_told = [is("eviction", "", "TaintManagerEviction")];
        assert_eq!(told("Marking for deletion Pod shop/cart-0"), is_told);
        assert_eq!(told("Cancelling deletion of Pod shop/cart-0"), []);
    }

    #[test]
    fn an_event_names_its_pod_and_its_node() {
        let event = json!({ "reason": "Evicted", "type": "Warning", "message": "The node was low on resource: memory.",
            "lastTimestamp": "2026-01-01T00:00:00Z", "source": { "component": "kubelet", "host": "n2" },
            "involvedObject": { "kind": "Pod", "namespace": "shop", "name": "cart-0", "uid": "u" } });
        let details = changes("Event", None, Some(&event), 1).remove(0).details;
        let text = |name| model::attribute(&details, name).and_then(model::Value::as_str);
        let found = ["k8s.object.kind", "k8s.pod.name", "k8s.pod.uid", "k8s.node.name"].map(text);
        assert_eq!(found, ["Pod", "cart-0", "u", "n2"].map(Some));
    }

    #[test]
    fn an_event_is_a_change_once() {
        let event = json!({ "reason": "Unhealthy", "type": "Warning", "message": "Readiness probe failed", "count": 1,
            "lastTimestamp": "2026-01-01T00:00:00Z",
            "involvedObject": { "kind": "Pod", "namespace": "shop", "name": "cart-0" } });
        assert_eq!(told("Event", None, Some(&event)), [is("probe", "", "Unhealthy")]);
        assert_eq!(told("Event", Some(&event), Some(&event)), []);
        assert_eq!(changes("Event", None, Some(&event), 1)[0].details.len(), 2, "a kind and a pod");
        for reason in ["Pulled", "NodeNotReady"] {
            assert_eq!(
                told(
                    "Event",
                    None,
                    Some(&json!({ "reason": reason, "lastTimestamp": "2026-01-01T00:00:00Z" }))
                ),
                []
            );
        }
    }
}
