use super::kernel::{KernelLog, Seen, Victim, victim};
use super::ledger::{Group, Ledger};
use crate::host::Root;
use crate::pods::PodList;
use std::collections::BTreeSet;
use std::path::Path;

const UID: &str = "bc9cf8ac60b99e98935556b80a496543";
const ID: &str = "d06dac27ae37d89b45db2d7d7a4a108b59b6d8b9b9a7fe5b89f0bb91bf16ebf3";
const SECOND: i64 = 1_000_000_000;

fn killed(pid: u32) -> Victim {
    Victim { ts_ns: 100 * SECOND, uid: UID.into(), container_id: ID.into(), pid, name: "tail".into() }
}

fn pod(reason: &str) -> crate::pods::Pod {
    serde_json::from_str(&format!(
        r#"{{"metadata":{{"name":"web","namespace":"d","uid":"{UID}"}},"status":{{"containerStatuses":[{{"name":"oom",
            "lastState":{{"terminated":{{"exitCode":137,"reason":"{reason}","containerID":"containerd://{ID}",
            "finishedAt":"1970-01-01T00:01:41Z"}}}}}}]}}}}"#
    ))
    .unwrap()
}

#[test]
fn three_sources_are_one_event() {
    let mut ledger = Ledger::default();
    ledger.group(
        ID,
        Group { uid: UID, working_set_bytes: Some(5.0), limit_bytes: Some(9.0), kills: 0 },
        90 * SECOND,
    );
    ledger.kernel(killed(7), 100 * SECOND);
    ledger.kernel(killed(7), 100 * SECOND);
    ledger.group(ID, Group { uid: UID, kills: 1, ..Group::default() }, 100 * SECOND);
    assert_eq!(ledger.due(101 * SECOND), [], "the kubelet may have more to say");
    ledger.status(&pod("OOMKilled"), 102 * SECOND);
    let due = ledger.due(102 * SECOND);
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].victim.as_ref().unwrap().pid, 7);
    assert_eq!((due[0].exit.clone(), due[0].name.as_str()), (Some((137, "OOMKilled".into())), "oom"));
    assert_eq!((due[0].curve.as_slice(), due[0].limit_bytes), (&[(90 * SECOND, 5.0)][..], Some(9.0)));
    ledger.status(&pod("OOMKilled"), 110 * SECOND);
    assert_eq!(ledger.due(200 * SECOND), []);
    assert_eq!(ledger.kills(UID, "oom"), 1);
    // As after a restart of the agent, which reads everything again.
    let mut again = Ledger::from_bytes(&ledger.to_bytes());
    again.kernel(killed(7), 300 * SECOND);
    again.status(&pod("OOMKilled"), 300 * SECOND);
    assert_eq!(again.due(400 * SECOND), []);
    assert_eq!(again.kills(UID, "oom"), 1);
}

/// Seen on a real node, with an agent that was killed every five seconds.
#[test]
fn a_kill_that_waits_when_the_agent_is_killed_is_told_by_the_next() {
    const OTHER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let of_other = |pid: u32| Victim { container_id: OTHER.into(), uid: "u".into(), ..killed(pid) };
    let mut ledger = Ledger::default();
    // The kubelet has said how one of them ended: that is told, and how far the log was read is written down.
    ledger.kernel(of_other(8), 100 * SECOND);
    ledger.kernel(killed(7), 100 * SECOND);
    ledger.status(&pod("OOMKilled"), 101 * SECOND);
    assert_eq!(ledger.due(101 * SECOND).len(), 1);
    let mut next = Ledger::from_bytes(&ledger.to_bytes());
    let due = next.due(116 * SECOND);
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].container_id.as_str(), due[0].victim.as_ref().unwrap().pid), (OTHER, 8));
    // A child of a container that has lost one before.
    let mut last = Ledger::from_bytes(&next.to_bytes());
    last.kernel(of_other(9), 200 * SECOND);
    let due = last.due(220 * SECOND);
    assert_eq!(due.iter().map(|kill| kill.victim.as_ref().unwrap().pid).collect::<Vec<_>>(), [9]);
}

#[test]
fn children_that_are_killed_all_day_are_counted_and_the_latest_known() {
    let mut ledger = Ledger::default();
    for pid in 1..=1_000 {
        ledger.kernel(Victim { ts_ns: i64::from(pid) * SECOND, ..killed(pid) }, 0);
        let due = ledger.due(60 * SECOND);
        assert_eq!(due.iter().map(|kill| kill.victim.as_ref().unwrap().pid).collect::<Vec<_>>(), [pid]);
    }
    assert!(ledger.to_bytes().len() < 20_000, "{}", ledger.to_bytes().len());
    ledger.kernel(killed(1_000), 0);
    assert_eq!(ledger.due(60 * SECOND), [], "the same again");
}

/// Of a container that lives on, a child each five seconds: it is never quiet.
#[test]
fn kills_that_go_on_and_on_are_told_as_they_come() {
    let at = |n: u32| i64::from(n) * 5 * SECOND;
    let (mut by_log, mut by_groups) = (Ledger::default(), Ledger::default());
    let (mut told, mut counted) = (vec![], 0);
    for pid in 1..=100 {
        by_log.kernel(Victim { ts_ns: at(pid), ..killed(pid) }, at(pid));
        told.extend(by_log.due(at(pid)).iter().map(|kill| kill.victim.as_ref().unwrap().pid));
        by_groups.group(ID, Group { uid: UID, kills: pid.into(), ..Group::default() }, at(pid));
        counted += by_groups.due(at(pid)).len();
    }
    assert_eq!(told, (1..=97).collect::<Vec<_>>());
    assert_eq!(counted, 97);
    for ledger in [by_log, by_groups] {
        let mut next = Ledger::from_bytes(&ledger.to_bytes());
        assert_eq!(next.due(at(101)).len(), 1, "as an agent goes on that was killed");
        assert_eq!(next.due(at(103)).len(), 2);
        assert_eq!(next.due(at(200)), []);
    }
}

/// The kernel's log was overrun while the agent was away: how many were killed the group says, and who comes later is known.
#[test]
fn after_kills_that_the_log_lost_the_next_are_known_by_their_names() {
    let of = |pid: u32, at_s: i64| Victim { ts_ns: at_s * SECOND, ..killed(pid) };
    let group = |kills: u64| Group { uid: UID, kills, ..Group::default() };
    let pids = |ledger: &mut Ledger, at_s: i64| {
        let due = ledger.due(at_s * SECOND);
        due.into_iter().map(|kill| kill.victim.map_or(0, |victim| victim.pid)).collect::<Vec<_>>()
    };
    let mut ledger = Ledger::default();
    ledger.kernel(of(1, 0), 0);
    assert_eq!(pids(&mut ledger, 60), [1]);
    (51..=60).for_each(|pid| ledger.kernel(of(pid, pid.into()), 60 * SECOND));
    ledger.group(ID, group(60), 60 * SECOND);
    let expected: Vec<u32> = [0].repeat(49).into_iter().chain(51..=60).collect();
    assert_eq!(pids(&mut ledger, 80), expected);
    let mut next = Ledger::from_bytes(&ledger.to_bytes());
    next.kernel(of(61, 81), 81 * SECOND);
    next.group(ID, group(61), 81 * SECOND);
    assert_eq!(pids(&mut next, 100), [61]);
    // The log told of one after it was told by its number.
    next.group(ID, group(62), 100 * SECOND);
    assert_eq!(pids(&mut next, 120), [0]);
    next.kernel(of(62, 99), 120 * SECOND);
    assert!(pids(&mut next, 140).is_empty());
    next.kernel(of(63, 140), 140 * SECOND);
    next.group(ID, group(63), 140 * SECOND);
    assert_eq!(pids(&mut next, 160), [63]);
    // The last ones were killed after the last look at the group.
    next.kernel(of(64, 161), 161 * SECOND);
    next.kernel(of(65, 162), 165 * SECOND);
    assert_eq!(pids(&mut next, 180), [64, 65]);
}

/// A container that lives on has nothing new to its kubelet.
#[test]
fn a_kill_waits_for_the_name_of_its_container() {
    let mut ledger = Ledger::default();
    assert!(!ledger.lacks_a_name());
    ledger.group(ID, Group { uid: UID, kills: 1, ..Group::default() }, 100 * SECOND);
    assert!(ledger.lacks_a_name());
    ledger.status(&pod("OOMKilled"), 101 * SECOND);
    assert!(!ledger.lacks_a_name());
    assert_eq!((ledger.due(120 * SECOND).len(), ledger.kills(UID, "oom")), (1, 1));
}

/// It was started anew so often, while the agent was away, that its kubelet knows the id no more.
#[test]
fn a_container_that_is_alone_in_its_pod_is_known_by_that() {
    const OLD: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let mut of_two = pod("Error");
    let mut other = of_two.status.container_statuses[0].clone();
    other.name = "other".into();
    of_two.status.container_statuses.push(other);
    for (pod, name) in [(pod("Error"), "oom"), (of_two, "")] {
        let mut ledger = Ledger::default();
        ledger.kernel(Victim { container_id: OLD.into(), ..killed(7) }, 100 * SECOND);
        assert!(ledger.lacks_a_name());
        ledger.status(&pod, 101 * SECOND);
        let due = ledger.due(120 * SECOND);
        assert_eq!((due.len(), due[0].name.as_str()), (1, name));
        assert_eq!(ledger.kills(UID, "oom"), u64::from(name == "oom"));
    }
}

/// The agent has just begun, and the kubelet is slow.
#[test]
fn a_kill_waits_for_a_slow_kubelet_and_counts_for_the_name_that_comes_after_it() {
    let begun = || {
        let mut ledger = Ledger::default();
        ledger.set_has_kubelet(true);
        ledger.kernel(killed(7), 100 * SECOND);
        assert_eq!(ledger.due(150 * SECOND), [], "nobody has said its name");
        ledger
    };
    let mut ledger = begun();
    ledger.status(&pod("OOMKilled"), 151 * SECOND);
    let due = ledger.due(151 * SECOND);
    assert_eq!((due.len(), due[0].name.as_str(), ledger.kills(UID, "oom")), (1, "oom", 1));
    let mut ledger = begun();
    assert_eq!(ledger.due(160 * SECOND)[0].name, "");
    assert_eq!(ledger.kills(UID, "oom"), 0);
    for at in [161, 162] {
        ledger.status(&pod("OOMKilled"), at * SECOND);
        assert_eq!(ledger.due(200 * SECOND), []);
        assert_eq!(ledger.kills(UID, "oom"), 1);
    }
    // The next agent has the container's name, and still nothing of its pod.
    let mut next = Ledger::from_bytes(&ledger.to_bytes());
    next.set_has_kubelet(true);
    next.kernel(killed(8), 200 * SECOND);
    assert_eq!(next.due(220 * SECOND), []);
    assert!(next.lacks_a_name(), "the kubelet is asked for it");
    next.status(&pod("OOMKilled"), 221 * SECOND);
    assert!(!next.lacks_a_name());
    assert_eq!((next.due(221 * SECOND).len(), next.kills(UID, "oom")), (1, 2));
}

#[test]
fn each_source_alone_is_enough_after_a_while() {
    let of = |tell: &dyn Fn(&mut Ledger)| {
        let mut ledger = Ledger::default();
        tell(&mut ledger);
        assert_eq!(ledger.due(101 * SECOND).len(), 0);
        ledger.due(120 * SECOND).len()
    };
    assert_eq!(of(&|ledger| ledger.kernel(killed(7), 100 * SECOND)), 1);
    assert_eq!(of(&|ledger| ledger.status(&pod("OOMKilled"), 100 * SECOND)), 1);
    assert_eq!(
        of(&|ledger| ledger.group(ID, Group { uid: UID, kills: 2, ..Group::default() }, 100 * SECOND)),
        2
    );
    assert_eq!(of(&|ledger| ledger.status(&pod("Error"), 100 * SECOND)), 0);
    // Children that are killed while their container lives.
    assert_eq!(of(&|ledger| (7..10).for_each(|pid| ledger.kernel(killed(pid), 100 * SECOND))), 3);
}

#[test]
fn the_kernel_names_pod_container_and_process() {
    let line = format!(
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg=/kubepods.slice/x,\
         task_memcg=/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f8fad5b_d9cb_469f_a165_70867728950e.slice/cri-containerd-{ID}.scope,task=tail,pid=1513,uid=0"
    );
    let found = victim(&line, 5).unwrap();
    assert_eq!(
        (found.uid.as_str(), found.container_id.as_str()),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", ID)
    );
    assert_eq!((found.pid, found.name.as_str(), found.ts_ns), (1513, "tail", 5));
    for other in [
        "",
        "oom-kill:",
        "Memory cgroup out of memory: Killed process 1 (a)",
        "oom-kill:task_memcg=/system.slice/a.service,task=a,pid=1",
    ] {
        assert_eq!(victim(other, 0), None, "{other}");
    }
}

/// The log of a kernel that killed a container again and again, and what the kubelet said at its end.
#[test]
fn a_recorded_nodes_kills_are_told_once_each() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/kubernetes/kubelet-cgroup-v2");
    let Ok(log) = std::fs::read_to_string(folder.join("dmesg")) else {
        println!("no {}: a kernel's log was not read", folder.display());
        return;
    };
    let mut ledger = Ledger::default();
    let mut expected = BTreeSet::new();
    for line in log.lines() {
        let Some((time, text)) = line.trim_start_matches('[').split_once("] ") else { continue };
        let seconds: f64 = time.trim().parse().unwrap_or(0.0);
        if let Some(victim) = victim(text, (seconds * 1e9) as i64) {
            expected.insert((victim.container_id.clone(), victim.pid));
            ledger.kernel(victim, 0);
        }
    }
    let twice = log.matches("Killed process").count();
    let list: PodList = serde_json::from_slice(&std::fs::read(folder.join("pods")).unwrap()).unwrap();
    list.items.iter().for_each(|pod| ledger.status(pod, 0));
    let told = ledger.due(60 * SECOND);
    println!("{} kills, printed {twice} times", told.len());
    assert!(expected.len() >= 4 && twice == 2 * expected.len(), "the kernel prints each victim twice");
    let found: BTreeSet<_> = told
        .iter()
        .map(|kill| (kill.container_id.clone(), kill.victim.as_ref().map_or(0, |victim| victim.pid)))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(told.len(), expected.len());
    assert_eq!(
        told.iter().filter(|kill| kill.exit.is_some()).count(),
        2,
        "those that the kubelet still knows"
    );
}

/// Records are numbered anew with each boot: what an old number says of a new log would hide its kills.
#[test]
fn the_kernels_log_begins_anew_with_a_boot() {
    let host = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = host.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    // A file stands for the device, of which one read gives one record.
    write(
        "dev/kmsg",
        &format!("6,41,1000,-;oom-kill:task_memcg=/kubepods/pod{UID}/{ID},task=tail,pid=9,uid=0"),
    );
    write("proc/sys/kernel/random/boot_id", "first\n");
    let kills = |seen: Seen| {
        let mut log = KernelLog::open(&Root(host.path().to_owned()), seen);
        (log.read(SECOND).len(), log.seen())
    };
    let (found, seen) = kills(Seen::default());
    assert_eq!((found, seen.boot_id.as_str(), seen.sequence), (1, "first", 42));
    assert_eq!(kills(seen.clone()).0, 0, "the same boot, read again");
    write("proc/sys/kernel/random/boot_id", "second\n");
    let (found, seen) = kills(seen);
    assert_eq!((found, seen.boot_id.as_str()), (1, "second"));
}
