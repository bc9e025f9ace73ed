//! Who was killed how often, and what of it was told. Plain values in, plain values out: times are handed in.

use super::kernel::{Seen, Victim};
use crate::pods::Pod;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// What the sources know of one kill comes within this time; then it is told.
const GRACE_NS: i64 = 15_000_000_000;

/// A kubelet that is slow to answer, or is asked by an agent that has just begun, says within this time whose it is.
const NAMED_WITHIN_NS: i64 = 60_000_000_000;

/// Container ids remembered; the oldest go.
const CONTAINERS_MAX: usize = 5_000;

/// Victims of one container that are known by name; of a container whose children are killed all day the oldest are counted.
const VICTIMS_MAX: usize = 32;

/// Points of the working set's curve.
const CURVE_POINTS: usize = 20;

/// One kill with all that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Kill {
    pub ts_ns: i64,
    pub uid: String,
    pub container_id: String,
    /// The container's name where the kubelet said it; of an id that it has forgotten since, too.
    pub name: String,
    pub victim: Option<Victim>,
    /// Exit code and reason of the container, where it ended with it.
    pub exit: Option<(i32, String)>,
    pub limit_bytes: Option<f64>,
    /// Time and bytes, the last before the kill.
    pub curve: Vec<(i64, f64)>,
}

#[derive(Default)]
pub struct Ledger {
    curves: BTreeMap<String, Curve>,
    saved: Saved,
    has_kubelet: bool,
}

/// What survives a restart. How far the kernel's log was read and what of it waits to be told are written down together:
/// what waits is not read again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Saved {
    kernel: Seen,
    #[serde(default)]
    containers: BTreeMap<String, Container>,
    /// Kills told, by container id, and when.
    told: BTreeMap<String, (u64, i64)>,
    /// By pod's uid and container's name, `uid/name`.
    counts: BTreeMap<String, u64>,
}

impl Saved {
    /// The container's name becomes known. What was told without it counts for it from now on.
    fn is_called(&mut self, id: &str, name: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.name.is_empty()
            && let Some((told, _)) = self.told.get(id)
        {
            *self.counts.entry(format!("{}/{name}", container.uid)).or_default() += told;
        }
        name.clone_into(&mut container.name);
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Container {
    uid: String,
    name: String,
    /// By their process ids.
    victims: BTreeMap<u32, Victim>,
    /// Victims that were told and are known no more.
    forgotten: u64,
    /// Victims that were told, those that are forgotten among them.
    #[serde(default)]
    named: u64,
    /// Kills told that the kernel's log had lost, and up to when there were such ones.
    #[serde(default)]
    unseen: (u64, i64),
    exit: Option<(i32, String)>,
    exit_ns: Option<i64>,
    group_kills: u64,
    changed_ns: i64,
    /// The kubelet told of its pod, since this agent began.
    #[serde(skip)]
    has_pod: bool,
    /// Since when how many are known, of those that were not told.
    #[serde(default)]
    known: VecDeque<(i64, u64)>,
}

#[derive(Default)]
struct Curve {
    points: VecDeque<(i64, f64)>,
    limit_bytes: Option<f64>,
}

impl Container {
    fn kills(&self) -> u64 {
        let victims = self.forgotten + self.victims.len() as u64 + self.unseen.0;
        victims.max(self.group_kills).max(u64::from(self.exit.is_some()))
    }

    /// More of its kills are known, or more of one of them.
    fn changed(&mut self, now_ns: i64) {
        self.changed_ns = now_ns;
        let kills = self.kills();
        let is_full = self.known.len() >= VICTIMS_MAX;
        if let Some((_, known)) = self.known.back_mut()
            && (is_full || *known >= kills)
        {
            *known = kills.max(*known);
        } else {
            self.known.push_back((now_ns, kills));
        }
    }

    fn lacks_a_name(&self) -> bool {
        self.name.is_empty() || !self.has_pod
    }

    /// Kills of which nothing more is to come: all of them once it is quiet. Where they go on and on it never is, and those
    /// are told that were known for so long.
    fn ripe(&self, now_ns: i64, waits_for_a_name: bool) -> u64 {
        let grace_ns = if waits_for_a_name { NAMED_WITHIN_NS } else { GRACE_NS };
        let has_all = self.exit.is_some() && !self.victims.is_empty() && !waits_for_a_name;
        if has_all || now_ns - self.changed_ns >= grace_ns {
            return self.kills();
        }
        let for_long = self.known.iter().take_while(|(since_ns, _)| now_ns - since_ns >= grace_ns);
        for_long.last().map_or(0, |(_, kills)| *kills)
    }

    /// Who is known of the kills behind these, the oldest first. They may be fewer: of what the kernel's log lost before it
    /// was read only the number is known.
    fn untold(&self, told: u64) -> Vec<Victim> {
        let mut victims = self.victims.values().cloned().collect::<Vec<_>>();
        victims.sort_by_key(|victim| victim.ts_ns);
        let named = self.named.saturating_sub(self.forgotten) as usize;
        // Of one that an earlier version wrote down those are new that are not told yet.
        let more = victims.len().saturating_sub((self.kills() - told) as usize);
        victims.split_off(named.max(more).min(victims.len()))
    }

    fn has_told(&mut self, told: u64) {
        self.known.retain(|(_, kills)| *kills > told);
        while self.victims.len() > VICTIMS_MAX && self.forgotten < self.named {
            let oldest = self.victims.iter().min_by_key(|(_, victim)| victim.ts_ns).map(|(pid, _)| *pid);
            let Some(pid) = oldest else { return };
            self.victims.remove(&pid);
            self.forgotten += 1;
        }
    }
}

impl Ledger {
    pub fn from_bytes(bytes: &[u8]) -> Ledger {
        let saved = serde_json::from_slice(bytes).unwrap_or_default();
        Ledger { saved, ..Ledger::default() }
    }

    /// Whether somebody says names of containers and of their pods: then a kill waits for them.
    pub fn set_has_kubelet(&mut self, has_kubelet: bool) {
        self.has_kubelet = has_kubelet;
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.saved).unwrap_or_default()
    }

    pub fn kernel_seen(&self) -> Seen {
        self.saved.kernel.clone()
    }

    pub fn set_kernel_seen(&mut self, seen: Seen) {
        self.saved.kernel = seen;
    }

    /// Kills of a container of a pod, whatever ids it had.
    pub fn kills(&self, uid: &str, container: &str) -> u64 {
        self.saved.counts.get(&format!("{uid}/{container}")).copied().unwrap_or(0)
    }

    /// Whether the kubelet is to be asked for a container's name: of one that lives on, nothing else changes by a kill.
    pub fn lacks_a_name(&self) -> bool {
        let Saved { containers, told, .. } = &self.saved;
        let waits = |id: &String, container: &Container| {
            container.kills() > told.get(id).map_or(0, |(told, _)| *told)
        };
        containers.iter().any(|(id, container)| container.lacks_a_name() && waits(id, container))
    }

    pub fn kernel(&mut self, victim: Victim, now_ns: i64) {
        let container = self.saved.containers.entry(victim.container_id.clone()).or_default();
        container.uid.clone_from(&victim.uid);
        let ts_ns = victim.ts_ns;
        // The same process twice is one kill.
        if container.victims.insert(victim.pid, victim).is_some() {
            return;
        }
        // One of those that were told before the log could be read.
        if container.unseen.0 > 0 && ts_ns <= container.unseen.1 {
            container.unseen.0 -= 1;
            container.named += 1;
            return;
        }
        container.changed(now_ns);
    }

    /// A group as it is now. `kills` is its own count.
    pub fn group(&mut self, container_id: &str, group: Group, now_ns: i64) {
        let curve = self.curves.entry(container_id.to_owned()).or_default();
        if let Some(bytes) = group.working_set_bytes {
            curve.points.push_back((now_ns, bytes));
            if curve.points.len() > CURVE_POINTS {
                curve.points.pop_front();
            }
        }
        curve.limit_bytes = group.limit_bytes.filter(|limit| *limit > 0.0).or(curve.limit_bytes);
        if group.kills > 0 {
            let container = self.saved.containers.entry(container_id.to_owned()).or_default();
            group.uid.clone_into(&mut container.uid);
            if group.kills > container.group_kills {
                container.group_kills = group.kills;
                container.changed(now_ns);
            }
        }
    }

    /// What the kubelet says of a pod's containers: how they are, and how they ended before.
    pub fn status(&mut self, pod: &Pod, now_ns: i64) {
        for status in pod.statuses() {
            for (id, _, _) in pod.container_ids().into_iter().filter(|(_, name, _)| *name == status.name) {
                self.saved.is_called(id, &status.name);
            }
            let ended = [&status.state, &status.last_state].map(|state| state.terminated.as_ref());
            for ended in ended.into_iter().flatten().filter(|ended| ended.reason == "OOMKilled") {
                let Some(id) = ended.id() else { continue };
                let container = self.saved.containers.entry(id.to_owned()).or_default();
                pod.folder_uid().clone_into(&mut container.uid);
                if container.exit.is_none() {
                    container.exit = Some((ended.exit_code, ended.reason.clone()));
                    container.exit_ns = crate::pods::time_ns(ended.finished_at.as_deref());
                    container.changed(now_ns);
                }
                self.saved.is_called(id, &status.name);
            }
        }
        self.name_of_only(pod);
        let has_told = pod.statuses().next().is_some();
        let all = self.saved.containers.values_mut();
        all.filter(|container| container.uid == pod.folder_uid()).for_each(|one| one.has_pod |= has_told);
    }

    /// The kubelet knows the last two ids of a container. Older ones of a pod of one container are that one's, too.
    fn name_of_only(&mut self, pod: &Pod) {
        let mut names = pod.statuses().map(|status| &status.name);
        let (Some(only), None) = (names.next(), names.next()) else { return };
        let is_its = |container: &Container| container.name.is_empty() && container.uid == pod.folder_uid();
        let all = self.saved.containers.iter();
        let ids: Vec<String> = all.filter(|(_, one)| is_its(one)).map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.saved.is_called(id, only));
    }

    /// Kills that have not been told, once nothing more is to come of them.
    pub fn due(&mut self, now_ns: i64) -> Vec<Kill> {
        let mut due = vec![];
        let Saved { containers, told: told_of, counts, .. } = &mut self.saved;
        for (id, container) in containers {
            let told = told_of.get(id).map_or(0, |(told, _)| *told);
            let ripe = container.ripe(now_ns, self.has_kubelet && container.lacks_a_name());
            if ripe <= told {
                continue;
            }
            let curve = self.curves.get(id);
            let points: Vec<(i64, f64)> =
                curve.map(|curve| curve.points.iter().copied().collect()).unwrap_or_default();
            let mut victims = container.untold(told).into_iter();
            // Those of whom nobody knows were before the others: the log loses its oldest lines.
            let named_from = ripe.saturating_sub(victims.len() as u64);
            for at in told..ripe {
                let victim = if at >= named_from { victims.next() } else { None };
                // The container ends with the last of its kills, if with any.
                let exit = container.exit.clone().filter(|_| at + 1 == container.kills());
                let ts_ns = victim.as_ref().map(|victim| victim.ts_ns).or(container.exit_ns);
                let ts_ns = ts_ns.unwrap_or(container.changed_ns);
                due.push(Kill {
                    ts_ns,
                    uid: container.uid.clone(),
                    container_id: id.clone(),
                    name: container.name.clone(),
                    victim,
                    exit,
                    limit_bytes: curve.and_then(|curve| curve.limit_bytes),
                    curve: points.iter().filter(|(at_ns, _)| *at_ns <= ts_ns + GRACE_NS).copied().collect(),
                });
            }
            if named_from > told {
                container.unseen = (container.unseen.0 + named_from - told, now_ns);
            }
            container.named = container.forgotten + (container.victims.len() - victims.len()) as u64;
            told_of.insert(id.clone(), (ripe, now_ns));
            if !container.name.is_empty() {
                let count = format!("{}/{}", container.uid, container.name);
                *counts.entry(count).or_default() += ripe - told;
            }
            container.has_told(ripe);
        }
        self.forget();
        due
    }

    fn forget(&mut self) {
        let Saved { containers, told, counts, .. } = &self.saved;
        for map in [containers.len(), self.curves.len(), told.len(), counts.len()] {
            if map <= CONTAINERS_MAX {
                continue;
            }
            let mut by_age: Vec<(i64, String)> =
                self.saved.told.iter().map(|(id, (_, at_ns))| (*at_ns, id.clone())).collect();
            by_age.sort();
            for (_, id) in by_age.into_iter().take(CONTAINERS_MAX / 2) {
                self.saved.told.remove(&id);
                self.saved.containers.remove(&id);
            }
            self.curves.clear();
            while self.saved.counts.len() > CONTAINERS_MAX {
                self.saved.counts.pop_first();
            }
        }
    }
}

/// What a group tells.
#[derive(Clone, Debug, Default)]
pub struct Group<'g> {
    pub uid: &'g str,
    pub working_set_bytes: Option<f64>,
    pub limit_bytes: Option<f64>,
    pub kills: u64,
}
