//! Software RAID: /proc/mdstat for the state of each array, sysfs for how many of its disks are missing.

use crate::host::Root;
use crate::samples::Samples;

const STATES: [&str; 5] = ["active", "inactive", "recovering", "resync", "check"];

/// What a rebuild is called in the file, and what state the array is then said to be in.
const REBUILDS: [(&str, &str); 4] =
    [("recovery", "recovering"), ("resync", "resync"), ("check", "check"), ("reshape", "reshaping")];

#[derive(Debug, PartialEq)]
struct Array<'t> {
    name: &'t str,
    state: &'static str,
    required: f64,
    active: f64,
    failed: usize,
    spare: usize,
    blocks: f64,
    synced: f64,
}

pub fn mdadm(root: &Root, out: &mut Samples) -> Option<()> {
    for array in arrays(&root.text("proc/mdstat")?) {
        tell(&array, out);
    }
    let arrays = root.names("sys/block").into_iter().filter(|name| name.starts_with("md"));
    for name in arrays {
        let number = |file: &str| root.number(&format!("sys/block/{name}/md/{file}"));
        let Some(disks) = number("raid_disks") else { continue };
        let labels = [("device", &*name)];
        out.gauge("node_md_raid_disks", "Number of raid disks on device.", &labels, disks);
        // An array without redundancy has no such file.
        let degraded = number("degraded").unwrap_or(0.0);
        out.gauge("node_md_degraded", "Number of degraded disks on device.", &labels, degraded);
    }
    Some(())
}

/// An array is a line `name : state level disk[0] disk[1](F)`, a line with its blocks and `[wanted/active]`, and others.
fn arrays(text: &str) -> Vec<Array<'_>> {
    let mut found = vec![];
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((name, disks)) = line.split_once(" : ").filter(|(name, _)| name.starts_with("md")) else {
            continue;
        };
        let mut about = vec![];
        while let Some(line) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
            about.push(line);
        }
        found.extend(array(name, disks, &about));
    }
    found
}

fn array<'t>(name: &'t str, disks: &str, about: &[&str]) -> Option<Array<'t>> {
    let numbers = about.first()?;
    let blocks: f64 = numbers.split_whitespace().next()?.parse().ok()?;
    let is_active = disks.starts_with("active");
    let (required, active) = match numbers.split_whitespace().find_map(wanted) {
        _ if !is_active => (0.0, 0.0),
        Some(counts) => counts,
        // Without redundancy all its disks are needed, and are there.
        None => {
            let all = disks.matches('[').count() as f64;
            (all, all)
        }
    };
    let rebuild = about[1..].iter().find_map(|line| {
        let (_, state) = REBUILDS.iter().find(|(word, _)| line.contains(word))?;
        Some((*state, *line))
    });
    // One that is delayed has no figures yet.
    let done = |line: &str| line.split_once('(')?.1.split_once('/')?.0.parse().ok();
    let (state, synced) = match rebuild {
        Some((state, line)) => (state, done(line).unwrap_or(0.0)),
        None => (if is_active { "active" } else { "inactive" }, blocks),
    };
    let (failed, spare) = (disks.matches("(F)").count(), disks.matches("(S)").count());
    Some(Array { name, state, required, active, failed, spare, blocks, synced })
}

/// `[wanted/active]`.
fn wanted(word: &str) -> Option<(f64, f64)> {
    let (wanted, active) = word.strip_prefix('[')?.strip_suffix(']')?.split_once('/')?;
    Some((wanted.parse().ok()?, active.parse().ok()?))
}

fn tell(array: &Array<'_>, out: &mut Samples) {
    let labels = [("device", array.name)];
    for state in STATES {
        let labels = [("device", array.name), ("state", state)];
        let is_it = f64::from(u8::from(state == array.state));
        out.gauge("node_md_state", "Indicates the state of md-device.", &labels, is_it);
    }
    let counts = [("active", array.active), ("failed", array.failed as f64), ("spare", array.spare as f64)];
    for (state, count) in counts {
        let help = "Number of active/failed/spare disks of device.";
        out.gauge("node_md_disks", help, &[("device", array.name), ("state", state)], count);
    }
    out.gauge("node_md_disks_required", "Total number of disks of device.", &labels, array.required);
    out.gauge("node_md_blocks", "Total number of blocks on device.", &labels, array.blocks);
    out.gauge("node_md_blocks_synced", "Number of blocks synced on device.", &labels, array.synced);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_said_to_be_what_it_does() {
        let text = "Personalities : [raid1]\n\
            md6 : active raid1 sdb2[2](F) sdc[1](S) sda2[0]\n      195310144 blocks [2/1] [U_]\n      \
            [=>....]  recovery =  8.5% (16775552/195310144) finish=17.0min speed=259783K/sec\n\n\
            md9 : active raid1 sdc2[2]\n      523968 blocks super 1.2 [4/4] [UUUU]\n      bitmap: 0/30 pages\n      \
            resync=DELAYED\n\n\
            md10 : active raid0 sda1[0] sdb1[1]\n       314 blocks 64k chunks\n\nunused devices: <none>\n";
        let found = arrays(text);
        let (state, synced): (Vec<_>, Vec<_>) = found.iter().map(|a| (a.state, a.synced)).unzip();
        assert_eq!(state, ["recovering", "resync", "active"]);
        assert_eq!(synced, [16_775_552.0, 0.0, 314.0]);
        let first = &found[0];
        assert_eq!((first.required, first.active, first.failed, first.spare), (2.0, 1.0, 1, 1));
        assert_eq!((found[2].required, found[2].active), (2.0, 2.0));
    }
}
