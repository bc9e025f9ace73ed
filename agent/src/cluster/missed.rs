//! What objects say of a time in which nobody watched: scalings of workloads, and what became of nodes. Rollouts have
//! their own room, as their history is kept.
//!
//! Of a scaling the API server keeps who wrote the number last and when, but for the subresource `scale` (`kubectl scale`,
//! autoscalers), which it notes without a time (seen on 1.36). What the number was before stands in the events of the
//! deployments' controller, and for stateful sets in what the holder of the lease before noted there.

use super::rollouts::Until;
use super::sizes::Sizes;
use crate::changes::Change;
use serde_json::Value;
use std::collections::BTreeSet;

/// What the controller of deployments tells when it makes a replica set larger or smaller.
pub const SCALINGS_PATH: &str = "/api/v1/events?fieldSelector=reason%3DScalingReplicaSet";

fn text<'v>(object: &'v Value, path: &str) -> &'v str {
    object.pointer(path).and_then(Value::as_str).unwrap_or("")
}

/// The workload, the node.
fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// When something was, if that was after `until`. Times of objects are of whole seconds.
fn later(time: &str, until: Until) -> Option<i64> {
    crate::pods::time_ns(Some(time)).filter(|at| *at >= until.time_ns.saturating_sub(999_999_999))
}

fn list<'v>(object: &'v Value, path: &str) -> impl Iterator<Item = &'v Value> {
    object.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

/// What there is of numbers before.
pub struct Kept<'k> {
    /// By `SCALINGS_PATH`.
    pub events: &'k [Value],
    pub sizes: &'k Sizes,
}

/// Workloads that were scaled after `until`. A rollout in between moves pods from one replica set to another, which no
/// scaling is.
pub fn scalings(
    kind: &str,
    workloads: &[&Value],
    kept: &Kept,
    rollouts: &[Change],
    until: Until,
) -> Vec<Change> {
    let of_rollout = |one: &Change| (one.namespace.clone(), one.workload.clone());
    let rolled_out: BTreeSet<(String, String)> = rollouts.iter().map(of_rollout).collect();
    let of_one = |workload: &&Value| {
        let now = workload.pointer("/spec/replicas")?.as_u64()?;
        if later(text(workload, "/metadata/creationTimestamp"), until).is_some() {
            return None;
        }
        let namespace = text(workload, "/metadata/namespace");
        let told = match rolled_out.contains(&(namespace.to_owned(), name(workload).to_owned())) {
            true => None,
            false => told_by_controller(text(workload, "/metadata/uid"), kept.events, until),
        };
        let size = kept.sizes.before(workload);
        // The noted number is exact, and events come when the controller acts.
        let before = size.or(told.map(|(_, before)| before));
        // There and back again, or told already.
        if before == Some(now) {
            return None;
        }
        let ts_ns = match (told, before) {
            (Some((at, _)), _) => at,
            (None, Some(_)) => last_written(workload, until),
            (None, None) => written_replicas(workload, until)?,
        };
        let from = before.map_or(String::new(), |before| format!(" from {before}"));
        let what = format!("{kind} {} is scaled{from} to {now}", name(workload));
        let before = before.map_or(String::new(), |before| before.to_string());
        Some(change("scale", kind, workload, ts_ns, (what, before, now.to_string())))
    };
    workloads.iter().filter_map(of_one).collect()
}

/// When a deployment was last scaled, and the number before the first time, where one replica set alone was touched.
fn told_by_controller(uid: &str, events: &[Value], until: Until) -> Option<(i64, u64)> {
    let mut scaled: Vec<(i64, i64, &str, u64)> = vec![];
    for event in events.iter().filter(|event| text(event, "/involvedObject/uid") == uid) {
        let Some(last) = later(text(event, "/lastTimestamp"), until) else { continue };
        // Events of the same words are one, which is counted.
        let first = later(text(event, "/firstTimestamp"), until).unwrap_or(last);
        // `Scaled up replica set cart-5d8f from 2 to 3`.
        let (set, numbers) = text(event, "/message").split_once(" replica set ")?.1.split_once(" from ")?;
        scaled.push((first, last, set, numbers.split_once(" to ")?.0.parse().ok()?));
    }
    let (_, _, set, before) = *scaled.iter().min_by_key(|one| one.0)?;
    let last = scaled.iter().map(|one| one.1).max()?;
    scaled.iter().all(|one| one.2 == set).then_some((last, before))
}

/// When somebody wrote the number of replicas, and nothing else of what is wanted.
fn written_replicas(workload: &Value, until: Until) -> Option<i64> {
    let is_it = |one: &&Value| {
        let fields = one.pointer("/fieldsV1/f:spec").and_then(Value::as_object);
        fields.is_some_and(|fields| fields.len() == 1 && fields.contains_key("f:replicas"))
    };
    let all = list(workload, "/metadata/managedFields").filter(is_it);
    all.filter_map(|one| later(text(one, "/time"), until)).max()
}

/// When a set was scaled by who left no time: its controller wrote the status afterwards.
fn last_written(workload: &Value, until: Until) -> i64 {
    let times = list(workload, "/metadata/managedFields").filter_map(|one| later(text(one, "/time"), until));
    written_replicas(workload, until).or_else(|| times.max()).unwrap_or(until.time_ns)
}

/// What became of nodes after `until`: they joined, their conditions changed, they were cordoned.
pub fn of_nodes(nodes: &[&Value], until: Until) -> Vec<Change> {
    let mut found = vec![];
    for node in nodes {
        let name = name(node);
        let mut tell = |ts_ns, what: String, after: &str| {
            let told = (format!("Node {name}{what}"), String::new(), after.to_owned());
            found.push(change("node", "Node", node, ts_ns, told));
        };
        if let Some(at) = later(text(node, "/metadata/creationTimestamp"), until) {
            tell(at, " joined".into(), "joined");
            continue;
        }
        for one in list(node, "/status/conditions") {
            if let Some(at) = later(text(one, "/lastTransitionTime"), until) {
                let (kind, status) = (text(one, "/type"), text(one, "/status"));
                tell(at, format!(": {kind} is {status}"), &format!("{kind}={status}"));
            }
        }
        let is_cordon = |taint: &&Value| text(taint, "/key") == "node.kubernetes.io/unschedulable";
        let cordon = list(node, "/spec/taints").find(is_cordon);
        if let Some(at) = cordon.and_then(|taint| later(text(taint, "/timeAdded"), until)) {
            tell(at, " is cordoned".into(), "cordoned");
        }
    }
    found
}

fn change(
    of: &str,
    kind: &str,
    object: &Value,
    ts_ns: i64,
    (what, before, after): (String, String, String),
) -> Change {
    Change {
        ts_ns,
        kind: of.to_owned(),
        namespace: text(object, "/metadata/namespace").to_owned(),
        workload: name(object).to_owned(),
        what,
        before,
        after,
        severity: 9,
        details: super::difference::named(kind, name(object)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const UNTIL: Until = Until { version: 100, time_ns: 1_767_225_600_000_000_000 };
    const EARLY: &str = "2025-12-31T10:00:00Z";

    fn late(second: u32) -> String {
        format!("2026-01-01T00:00:{second:02}Z")
    }

    fn workload(replicas: u32, fields: Value, written: &str) -> Value {
        json!({ "metadata": { "name": "cart", "namespace": "shop", "uid": "d", "creationTimestamp": EARLY,
                "managedFields": [{ "time": written, "fieldsV1": { "f:spec": fields } }] },
            "spec": { "replicas": replicas } })
    }

    fn event(set: &str, from_to: &str, first: &str, last: &str) -> Value {
        json!({ "involvedObject": { "uid": "d" }, "firstTimestamp": first, "lastTimestamp": last,
            "message": format!("Scaled up replica set {set} {from_to}") })
    }

    fn told(workload: &Value, events: &[Value], rolled_out: &[&str]) -> Vec<(i64, String, String)> {
        let rollout =
            |name: &&str| Change { namespace: "shop".into(), workload: (*name).into(), ..Change::default() };
        let rollouts: Vec<Change> = rolled_out.iter().map(rollout).collect();
        let kept = Kept { events, sizes: &Sizes::default() };
        let all = scalings("Deployment", &[workload], &kept, &rollouts, UNTIL);
        let second = |ts_ns: i64| (ts_ns - UNTIL.time_ns) / 1_000_000_000;
        all.into_iter().map(|change| (second(change.ts_ns), change.before, change.after)).collect()
    }

    fn is(second: i64, before: &str, after: &str) -> Vec<(i64, String, String)> {
        vec![(second, before.into(), after.into())]
    }

    #[test]
    fn a_scaling_that_nobody_watched_is_told_by_who_did_it() {
        let edited = json!({ "f:replicas": {}, "f:template": {} });
        let by_scale = workload(5, json!({ "f:replicas": {} }), &late(7));
        let by_edit = workload(5, edited, &late(7));
        let twice = [
            event("cart-a", "from 2 to 3", &late(1), &late(1)),
            event("cart-a", "from 3 to 5", &late(4), &late(4)),
        ];
        assert_eq!(told(&by_scale, &twice, &[]), is(4, "2", "5"));
        assert_eq!(told(&by_edit, &twice, &[]), is(4, "2", "5"));
        // The events are gone, or not of scaling; of an edit nobody knows what it was.
        assert_eq!(told(&by_scale, &[], &[]), is(7, "", "5"));
        assert_eq!(told(&by_scale, &twice, &["cart"]), is(7, "", "5"));
        assert_eq!(told(&by_edit, &[], &[]), []);
        let rolling = [twice[0].clone(), event("cart-b", "from 0 to 1", &late(2), &late(2))];
        assert_eq!(told(&by_edit, &rolling, &[]), []);
    }

    #[test]
    fn of_a_stateful_set_the_number_before_is_what_was_noted() {
        let told = |set: &Value, note: &str| -> Vec<String> {
            let kept = Kept { events: &[], sizes: &Sizes::read(note) };
            let all = scalings("StatefulSet", &[set], &kept, &[], UNTIL);
            let second = |ts_ns: i64| (ts_ns - UNTIL.time_ns) / 1_000_000_000;
            all.into_iter().map(|change| format!("{}: {}", second(change.ts_ns), change.what)).collect()
        };
        // The subresource leaves no time; the controller writes the status afterwards.
        let mut by_scale = workload(5, json!({ "f:replicas": {} }), "");
        let status = json!({ "time": late(9), "subresource": "status", "fieldsV1": { "f:status": {} } });
        by_scale["metadata"]["managedFields"].as_array_mut().unwrap().push(status);
        let by_hand = workload(5, json!({ "f:replicas": {} }), &late(7));
        assert_eq!(told(&by_scale, "shop/cart=3"), ["9: StatefulSet cart is scaled from 3 to 5"]);
        assert_eq!(told(&by_hand, "shop/cart=3"), ["7: StatefulSet cart is scaled from 3 to 5"]);
        assert_eq!(told(&by_hand, "shop/cart=5"), [""; 0], "it was told");
        assert_eq!(told(&by_scale, "bank/cart=3"), [""; 0], "nobody knows");
    }

    #[test]
    fn what_was_told_or_taken_back_is_no_scaling() {
        let replicas = json!({ "f:replicas": {} });
        let before = [event("cart-a", "from 2 to 3", EARLY, EARLY)];
        assert_eq!(told(&workload(3, replicas.clone(), EARLY), &before, &[]), []);
        // The same words as yesterday are the same event.
        let again = [event("cart-a", "from 2 to 3", EARLY, &late(2))];
        assert_eq!(told(&workload(3, replicas.clone(), &late(2)), &again, &[]), is(2, "2", "3"));
        let back = [again[0].clone(), event("cart-a", "from 3 to 2", &late(5), &late(5))];
        assert_eq!(told(&workload(2, replicas.clone(), &late(5)), &back, &[]), []);
        let mut new = workload(3, replicas, &late(2));
        new["metadata"]["creationTimestamp"] = json!(late(1));
        assert_eq!(told(&new, &[], &[]), []);
    }

    #[test]
    fn nodes_say_what_became_of_them() {
        let condition = |kind: &str, status: &str, at: &str| json!({ "type": kind, "status": status, "lastTransitionTime": at });
        let conditions = [condition("Ready", "Unknown", &late(3)), condition("DiskPressure", "False", EARLY)];
        let cordon = json!({ "key": "node.kubernetes.io/unschedulable", "timeAdded": late(2) });
        let old = json!({ "metadata": { "name": "n1", "creationTimestamp": EARLY },
            "spec": { "taints": [cordon] }, "status": { "conditions": conditions } });
        let new = json!({ "metadata": { "name": "n2", "creationTimestamp": late(1) },
            "status": { "conditions": [condition("Ready", "True", &late(2))] } });
        let all = of_nodes(&[&old, &new], UNTIL);
        let told: Vec<_> = all.iter().map(|one| (one.what.as_str(), one.after.as_str())).collect();
        let expected = [
            ("Node n1: Ready is Unknown", "Ready=Unknown"),
            ("Node n1 is cordoned", "cordoned"),
            ("Node n2 joined", "joined"),
        ];
        assert_eq!(told, expected);
    }
}
