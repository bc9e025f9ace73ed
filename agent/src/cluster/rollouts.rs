//! Rollouts: when the template of a workload has a new revision, with the images before and after. What was rolled out while
//! nobody watched is found in the histories that the cluster itself keeps (replica sets, controller revisions).
//!
//! A person changes the images, a controller counts the revision a moment later: a rollout is told by the second of the two,
//! with the images from before the first.

use crate::changes::Change;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub const KINDS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];

/// Revision and images: what a rollout is told by.
#[derive(Clone, Debug, Default, PartialEq)]
struct Template {
    revision: String,
    images: String,
}

/// Workloads whose images were changed and whose revision was not yet, as they were before; by kind, namespace and name.
#[derive(Default)]
pub struct Rollouts {
    changing: BTreeMap<(String, String, String), Template>,
}

/// Until when the changes of workloads were told by who watched before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Until {
    /// Versions are opaque but for their order.
    pub version: u64,
    pub time_ns: i64,
}

fn text<'v>(object: &'v Value, path: &str) -> &'v str {
    object.pointer(path).and_then(Value::as_str).unwrap_or("")
}

fn change(
    kind: &str,
    object: &Value,
    ts_ns: i64,
    (did, before, after): (&str, String, String),
) -> Option<Change> {
    let name = text(object, "/metadata/name");
    Some(Change {
        ts_ns,
        kind: "rollout".to_owned(),
        namespace: text(object, "/metadata/namespace").to_owned(),
        workload: name.to_owned(),
        what: format!("{kind} {name} is {did}"),
        before,
        after,
        severity: 9,
        details: vec![("k8s.object.kind".to_owned(), kind.into())],
    })
}

impl Rollouts {
    /// What an event of a workload says. Creation and deletion are told, too.
    pub fn change(
        &mut self,
        kind: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        now_ns: i64,
    ) -> Option<Change> {
        if !KINDS.contains(&kind) {
            return None;
        }
        let object = after.or(before)?;
        let key = |path| text(object, path).to_owned();
        let key = (kind.to_owned(), key("/metadata/namespace"), key("/metadata/name"));
        let (Some(before), Some(after)) = (before.map(Template::of), after.map(Template::of)) else {
            self.changing.remove(&key);
            let told = match (before, after) {
                (None, Some(after)) => ("created", String::new(), Template::of(after).told()),
                _ => ("deleted", before.map(Template::of).unwrap_or_default().told(), String::new()),
            };
            return change(kind, object, now_ns, told);
        };
        if before.revision == after.revision {
            if before.images != after.images && !before.revision.is_empty() {
                let was = self.changing.entry(key.clone()).or_insert(before);
                // Taken back before anybody acted on it.
                if *was == after {
                    self.changing.remove(&key);
                }
            }
            return None;
        }
        let was = self.changing.remove(&key).unwrap_or(before);
        // The first revision belongs to the creation.
        let is_first = was.revision.is_empty() || after.revision.is_empty();
        (!is_first).then(|| change(kind, object, now_ns, ("rolled out", was.told(), after.told())))?
    }
}

impl Template {
    fn of(object: &Value) -> Template {
        let revisions = [
            "/metadata/annotations/deployment.kubernetes.io~1revision",
            "/status/updateRevision",
            "/metadata/annotations/deprecated.daemonset.template.generation",
        ];
        let revision = revisions.iter().map(|path| text(object, path)).find(|text| !text.is_empty());
        Template { revision: revision.unwrap_or("").to_owned(), images: images(object, "/spec/template") }
    }

    fn told(&self) -> String {
        match self.revision.as_str() {
            "" => self.images.clone(),
            revision => format!("revision {revision}: {}", self.images),
        }
    }
}

fn images(object: &Value, template: &str) -> String {
    let containers = object.pointer(&format!("{template}/spec/containers")).and_then(Value::as_array);
    let images: Vec<&str> =
        containers.into_iter().flatten().map(|container| text(container, "/image")).collect();
    images.join(", ")
}

/// Where the history of a kind lies.
pub fn history_path(kind: &str) -> &'static str {
    match kind {
        "Deployment" => "/apis/apps/v1/replicasets",
        _ => "/apis/apps/v1/controllerrevisions",
    }
}

/// By which what is of workloads is found.
pub fn uids<'w>(workloads: &[&'w Value]) -> BTreeSet<&'w str> {
    workloads.iter().map(|workload| text(workload, "/metadata/uid")).collect()
}

/// Whether one of a history is of one of these.
pub fn is_of(one: &Value, uids: &BTreeSet<&str>) -> bool {
    let owners = one.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| uids.contains(text(owner, "/uid")))
}

/// What was created or rolled out after `until`: `workloads` as they are, `history` as its list has it.
pub fn missed(kind: &str, workloads: &[&Value], history: &[Value], until: Until, now_ns: i64) -> Vec<Change> {
    let mut by_owner: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for one in history {
        let owners = one.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        for owner in owners.into_iter().flatten().filter(|owner| owner["controller"] == true) {
            by_owner.entry(text(owner, "/uid")).or_default().push(one);
        }
    }
    let of_one = |workload: &&Value| -> Vec<Change> {
        let mut revisions = by_owner.remove(text(workload, "/metadata/uid")).unwrap_or_default();
        revisions.sort_by_key(|one| number(one));
        let begun = created(workload, until).and_then(|at| {
            // As it is told by who sees it come: its controller has not counted it yet.
            let first = revisions.first().map_or_else(|| Template::of(workload), |one| recorded(kind, one));
            let after = if kind == "DaemonSet" { first.told() } else { first.images };
            change(kind, workload, at.min(now_ns), ("created", String::new(), after))
        });
        let last = revisions.len().saturating_sub(2);
        let step = |(at, pair): (usize, &[&Value])| {
            let (before, one) = (pair[0], pair[1]);
            let (ts_ns, after) = match at == last {
                true => (rolled_out(workload, one, until)?, Template::of(workload)),
                // Of one that has another after it, and that was taken back into use, nothing says when.
                false => (created(one, until)?, recorded(kind, one)),
            };
            let told = ("rolled out", recorded(kind, before).told(), after.told());
            change(kind, workload, ts_ns.min(now_ns), told)
        };
        begun.into_iter().chain(revisions.windows(2).enumerate().filter_map(step)).collect()
    };
    workloads.iter().flat_map(of_one).collect()
}

fn number(one: &Value) -> u64 {
    let of_set = text(one, "/metadata/annotations/deployment.kubernetes.io~1revision").parse().ok();
    one["revision"].as_u64().or(of_set).unwrap_or(0)
}

/// A revision of a history. A daemon set counts its templates, a stateful set names its revisions.
fn recorded(kind: &str, one: &Value) -> Template {
    match kind {
        "Deployment" => Template { revision: number(one).to_string(), images: images(one, "/spec/template") },
        "StatefulSet" => Template {
            revision: text(one, "/metadata/name").to_owned(),
            images: images(one, "/data/spec/template"),
        },
        _ => Template { revision: number(one).to_string(), images: images(one, "/data/spec/template") },
    }
}

/// Whether a revision that was written at some time was so after `until`. Times of objects are of whole seconds.
fn is_later(one: &Value, at_ns: i64, until: Until) -> bool {
    let version = text(one, "/metadata/resourceVersion").parse::<u64>();
    version.is_ok_and(|version| version > until.version) && at_ns >= until.time_ns.saturating_sub(999_999_999)
}

/// When a revision was made, if that was later than `until`.
fn created(one: &Value, until: Until) -> Option<i64> {
    let created = one.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
    crate::pods::time_ns(created).filter(|at| is_later(one, *at, until))
}

/// When the newest revision became it, if that was later than `until`.
fn rolled_out(workload: &Value, last: &Value, until: Until) -> Option<i64> {
    if let Some(created) = created(last, until) {
        return Some(created);
    }
    let is_later = |at: &i64| is_later(last, *at, until);
    // An old one that was taken back into use. Controller revisions are written for nothing else.
    if last["revision"].is_u64() {
        return written(last).filter(is_later);
    }
    let has_been_before =
        !text(last, "/metadata/annotations/deployment.kubernetes.io~1revision-history").is_empty();
    let conditions = workload.pointer("/status/conditions").and_then(Value::as_array);
    let progress = conditions.into_iter().flatten().find(|one| one["type"] == "Progressing");
    let progress = progress.filter(|_| has_been_before)?;
    crate::pods::time_ns(progress["lastUpdateTime"].as_str()).filter(is_later)
}

/// When anybody last wrote an object, where it says who writes what of it.
fn written(object: &Value) -> Option<i64> {
    let all = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    all.into_iter().flatten().filter_map(|one| crate::pods::time_ns(one["time"].as_str())).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(revision: &str, image: &str) -> Value {
        json!({
            "metadata": { "name": "cart", "namespace": "shop", "uid": "d",
                "annotations": { "deployment.kubernetes.io/revision": revision } },
            "spec": { "replicas": 2, "template": { "spec": { "containers": [{ "image": image }] } } },
        })
    }

    fn told(change: Option<Change>) -> (String, String) {
        change.map_or(("".into(), "".into()), |change| (change.before, change.after))
    }

    fn is(before: &str, after: &str) -> (String, String) {
        (before.into(), after.into())
    }

    /// The API server tells the new image first, and the revision when the controller has seen it.
    #[test]
    fn a_rollout_is_told_once_with_the_images_of_both_revisions() {
        let mut rollouts = Rollouts::default();
        let (one, two) = (deployment("1", "cart:1"), deployment("2", "cart:2"));
        let between = deployment("1", "cart:2");
        assert_eq!(rollouts.change("Deployment", Some(&one), Some(&between), 1), None);
        let change = rollouts.change("Deployment", Some(&between), Some(&two), 1);
        assert_eq!(told(change), is("revision 1: cart:1", "revision 2: cart:2"));
        assert!(rollouts.changing.is_empty());
        // Another environment is another revision, too.
        let change = rollouts.change("Deployment", Some(&two), Some(&deployment("3", "cart:2")), 1);
        assert_eq!(told(change), is("revision 2: cart:2", "revision 3: cart:2"));
        // Changed and changed back.
        assert_eq!(rollouts.change("Deployment", Some(&one), Some(&between), 1), None);
        assert_eq!(rollouts.change("Deployment", Some(&between), Some(&one), 1), None);
        assert!(rollouts.changing.is_empty());
    }

    #[test]
    fn a_creation_is_told_once_and_so_is_an_end() {
        let mut rollouts = Rollouts::default();
        let (new, counted) = (deployment("", "cart:1"), deployment("1", "cart:1"));
        assert_eq!(told(rollouts.change("Deployment", None, Some(&new), 1)), is("", "cart:1"));
        assert_eq!(rollouts.change("Deployment", Some(&new), Some(&counted), 1), None);
        let end = rollouts.change("Deployment", Some(&counted), None, 1);
        assert_eq!(told(end), is("revision 1: cart:1", ""));
        assert_eq!(rollouts.change("ReplicaSet", None, Some(&new), 1), None);
    }

    fn set(revision: &str, image: &str, version: &str, created: &str) -> Value {
        json!({
            "metadata": { "name": format!("cart-{revision}"), "resourceVersion": version, "creationTimestamp": created,
                "annotations": { "deployment.kubernetes.io/revision": revision },
                "ownerReferences": [{ "uid": "d", "controller": true }] },
            "spec": { "template": { "spec": { "containers": [{ "image": image }] } } },
        })
    }

    #[test]
    fn what_nobody_watched_is_found_in_the_history() {
        let until = Until { version: 100, time_ns: 1_767_225_600_000_000_000 };
        let (early, late) = ("2025-12-31T10:00:00Z", "2026-01-01T00:00:09Z");
        let now = deployment("2", "cart:2");
        let find = |workload: &Value, history: &[Value]| -> Vec<(String, String)> {
            let found = missed("Deployment", &[workload], history, until, i64::MAX);
            found.into_iter().map(|change| told(Some(change))).collect()
        };
        let rolled_out = [is("revision 1: cart:1", "revision 2: cart:2")];
        let old = set("1", "cart:1", "90", early);
        assert_eq!(find(&now, &[set("2", "cart:2", "120", late), old.clone()]), rolled_out);
        // Twice in that time, and once in it and once before.
        let twice = |at: &str| [set("3", "cart:3", "130", late), set("2", "cart:2", "120", at), old.clone()];
        let again = is("revision 2: cart:2", "revision 3: cart:3");
        let both = [rolled_out[0].clone(), again.clone()];
        assert_eq!(find(&deployment("3", "cart:3"), &twice(late)), both);
        assert_eq!(find(&deployment("3", "cart:3"), &twice(early)), [again]);
        // Of before, and scaled since; and one that nothing was before.
        assert_eq!(find(&now, &[set("2", "cart:2", "120", early), old.clone()]), []);
        assert_eq!(find(&now, &[set("2", "cart:2", "120", late)]), []);
        // Created in that time, and rolled out since.
        let mut new = now.clone();
        new["metadata"]["resourceVersion"] = json!("130");
        new["metadata"]["creationTimestamp"] = json!(late);
        assert_eq!(find(&new, &[]), [is("", "cart:2")]);
        let sets = [set("2", "cart:2", "120", late), set("1", "cart:1", "110", late)];
        assert_eq!(find(&new, &sets), [is("", "cart:1"), rolled_out[0].clone()]);
        new["metadata"]["creationTimestamp"] = json!(early);
        assert_eq!(find(&new, &[]), []);
        // Back to an old one: the set is old, the progress is not.
        let (mut back, mut set_back) = (deployment("3", "cart:1"), set("3", "cart:1", "130", early));
        set_back["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] = json!("1");
        back["status"] = json!({ "conditions": [{ "type": "Progressing", "lastUpdateTime": late }] });
        let found = find(&back, &[set_back, set("2", "cart:2", "129", early)]);
        assert_eq!(found, [is("revision 2: cart:2", "revision 3: cart:1")]);
    }

    #[test]
    fn stateful_and_daemon_sets_have_controller_revisions() {
        let until = Until { version: 100, time_ns: 1_767_225_600_000_000_000 };
        let revision = |number: u64, name: &str, image: &str, version: &str| {
            let written = if number == 3 { "2026-01-01T00:00:02Z" } else { "2025-12-31T11:00:00Z" };
            json!({
                "metadata": { "name": name, "resourceVersion": version, "creationTimestamp": "2025-12-31T10:00:00Z",
                    "managedFields": [{ "time": written }], "ownerReferences": [{ "uid": "s", "controller": true }] },
                "revision": number, "data": { "spec": { "template": { "spec": { "containers": [{ "image": image }] } } } },
            })
        };
        let workload = json!({
            "metadata": { "name": "db", "namespace": "shop", "uid": "s" }, "status": { "updateRevision": "db-a" },
            "spec": { "template": { "spec": { "containers": [{ "image": "db:1" }] } } },
        });
        let history = [revision(3, "db-a", "db:1", "130"), revision(2, "db-b", "db:2", "99")];
        let find = |until| -> Vec<(String, String)> {
            let found = missed("StatefulSet", &[&workload], &history, until, i64::MAX);
            found.into_iter().map(|change| told(Some(change))).collect()
        };
        assert_eq!(find(until), [is("revision db-b: db:2", "revision db-a: db:1")]);
        // Told by who watched then, though the version that is noted is older.
        assert_eq!(find(Until { time_ns: until.time_ns + 10_000_000_000, ..until }), []);
    }
}
