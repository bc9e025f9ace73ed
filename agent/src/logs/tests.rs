mod order;

use super::follower::{Follower, Next, With};
use super::journal;
use super::line::LINE_BYTES_MAX;
use super::positions::{Position, Positions};
use super::watch::Told;
use crate::host::Host;
use model::LogBatch;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A host with log files, and who follows them.
struct World {
    dir: tempfile::TempDir,
    follower: Follower,
    pods: crate::pods::Pods,
    counts: Arc<super::Counts>,
}

/// Far more turns than any of these tests needs.
const ROUNDS_MAX: usize = 10_000;

const GLOBS: [&str; 2] = ["/var/log/*.log", "/var/log/syslog"];

fn with(root: &Path, pods: &crate::pods::Pods, counts: &Arc<super::Counts>) -> With {
    With {
        host: Arc::new(Host::of(root)),
        pods: pods.clone(),
        globs: GLOBS.map(str::to_owned).to_vec(),
        rules: Arc::default(),
        limits: Arc::default(),
        counts: counts.clone(),
        wait: Duration::ZERO,
        panics: crate::panics::Panics::default(),
        wait_after_panic: Duration::ZERO,
        forget: Duration::from_secs(60),
    }
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/log")).unwrap();
        let (pods, counts) = (crate::pods::Pods::default(), Arc::default());
        let follower = Follower::new(with(dir.path(), &pods, &counts), BTreeMap::new());
        World { dir, follower, pods, counts }
    }

    fn with(&self) -> With {
        with(self.dir.path(), &self.pods, &self.counts)
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join("var/log").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Everything there is to read, in the order of reading.
    fn read_all(&mut self) -> LogBatch {
        let mut all = LogBatch::default();
        self.follower.find();
        self.follower.wake_all();
        for _ in 0..ROUNDS_MAX {
            let (batch, _, next) = self.follower.read(1_000_000);
            all.streams.extend(batch.streams);
            match next {
                Next::Now => {}
                // A file is left once its last words must have been said.
                Next::Soon => std::thread::sleep(std::time::Duration::from_millis(5)),
                Next::Idle | Next::Quiet => return all,
            }
        }
        panic!("it reads for ever");
    }

    fn bodies(&mut self) -> Vec<String> {
        let all = self.read_all();
        all.streams.into_iter().flat_map(|stream| stream.records).map(|record| record.body).collect()
    }

    /// As after a stop and a start.
    fn restart(&mut self) {
        self.follower = Follower::new(self.with(), self.follower.positions());
    }
}

#[test]
fn lines_come_once_and_unfinished_ones_wait() {
    let mut world = World::new();
    world.append("app.log", "one\r\ntwo\n\nthr");
    assert_eq!(world.bodies(), ["one", "two"]);
    world.append("app.log", "ee\n");
    assert_eq!(world.bodies(), ["three"]);
    assert_eq!(world.bodies(), [] as [&str; 0]);
    world.append("app.log", b"\xff\xfe\n");
    assert_eq!(world.bodies(), ["\u{fffd}\u{fffd}"]);
}

#[test]
fn a_line_that_comes_to_a_panic_holds_up_its_file_alone_and_is_read_once() {
    super::tail::unbearable::LINE.set(b"two");
    let (mut world, panics) = (World::new(), crate::panics::Panics::default());
    world.follower = Follower::new(With { panics: panics.clone(), ..world.with() }, BTreeMap::new());
    world.append("app.log", "one\ntwo\nthree\n");
    world.append("other.log", "of another\n");
    assert_eq!(world.bodies(), ["of another"]);
    assert!(panics.readings()[0].value >= 1.0, "{:?}", panics.readings());
    world.append("other.log", "and on\n");
    super::tail::unbearable::LINE.set(b"none ends so");
    let mut all = world.bodies();
    all.sort();
    assert_eq!(all, ["and on", "one", "three", "two"]);
    assert_eq!(world.bodies(), [""; 0]);
}

#[test]
fn a_line_that_comes_to_a_panic_each_time_is_passed_over_and_told() {
    super::tail::unbearable::LINE.set(b"two");
    let mut world = World::new();
    world.append("app.log", "one\ntwo\nthree\n");
    for _ in 0..4 {
        assert_eq!(world.bodies(), [""; 0]);
    }
    assert_eq!(world.bodies(), ["one", "three"]);
    assert_eq!(world.reading("binnacle_agent_log_lost_lines_total"), 1.0);
    // Those after it hold up nothing any more.
    world.append("app.log", "four\nfive and two\nsix\nand two\nseven\n");
    assert_eq!(world.bodies(), ["four", "six", "seven"]);
    assert_eq!(world.reading("binnacle_agent_log_lost_lines_total"), 3.0);
    super::tail::unbearable::LINE.set(b"no line ends so");
    world.append("app.log", "eight\n");
    assert_eq!(world.bodies(), ["eight"]);
}

/// Each of them costs another read of all.
#[test]
fn of_many_lines_that_come_to_a_panic_not_each_is_tried() {
    super::tail::unbearable::LINE.set(b"two");
    let (mut world, panics) = (World::new(), crate::panics::Panics::default());
    world.follower = Follower::new(With { panics: panics.clone(), ..world.with() }, BTreeMap::new());
    world.append("app.log", ["one\n", &"two\n".repeat(1_000), "three\n"].concat());
    for _ in 0..4 {
        assert_eq!(world.bodies(), [""; 0]);
    }
    assert_eq!(world.bodies(), ["one"]);
    assert_eq!(world.reading("binnacle_agent_log_lost_lines_total"), 1_001.0);
    assert!(panics.readings()[0].value < 30.0, "{:?}", panics.readings());
    super::tail::unbearable::LINE.set(b"no line ends so");
    world.append("app.log", "four\n");
    assert_eq!(world.bodies(), ["four"]);
}

/// The line that it stands behind may be at fault as well.
#[test]
fn a_line_that_is_held_goes_with_the_one_that_is_passed_over() {
    let mut world = World::new();
    let line = |text: &str| format!("2026-01-01T00:00:00Z stdout F {text}\n");
    let name = "pods/shop_cart-0_u/app/0.log";
    world.append(name, line("java.io.IOException: x"));
    assert_eq!(world.bodies(), [""; 0], "it may go on");
    super::tail::unbearable::LINE.set(b"two");
    world.append(name, [line("\tat two"), line("three")].concat());
    for _ in 0..4 {
        assert_eq!(world.bodies(), [""; 0]);
    }
    assert_eq!(world.bodies(), ["three"]);
    assert_eq!(world.reading("binnacle_agent_log_lost_lines_total"), 2.0);
    super::tail::unbearable::LINE.set(b"no line ends so");
}

#[test]
fn a_file_whose_last_line_comes_to_a_panic_is_forgotten_once_it_is_gone() {
    let mut world = World::new();
    world.follower = Follower::new(With { forget: Duration::ZERO, ..world.with() }, BTreeMap::new());
    for (name, text) in [("begun.log", "one\nbegun two"), ("whole.log", "one\nwhole two\n")] {
        super::tail::unbearable::LINE.set(b"no line ends so");
        world.append(name, "one\n");
        assert_eq!(world.bodies(), ["one"]);
        super::tail::unbearable::LINE.set(b"two");
        world.append(name, text.strip_prefix("one\n").unwrap());
        fs::remove_file(world.path(name)).unwrap();
        for _ in 0..6 {
            assert_eq!(world.bodies(), [""; 0]);
        }
        assert_eq!(world.follower.tails_mut().count(), 0, "{name}");
    }
    super::tail::unbearable::LINE.set(b"no line ends so");
}

#[test]
fn late_words_of_the_file_before_come_once_though_they_came_to_a_panic() {
    let mut world = World::new();
    world.append("app.log", "one\n");
    assert_eq!(world.bodies(), ["one"]);
    world.rename("app.log", "app.log.1");
    world.append("app.log", "two\n");
    assert_eq!(world.bodies(), ["two"]);
    super::tail::unbearable::LINE.set(b"late");
    world.append("app.log.1", "three\nfour, late\n");
    world.append("app.log", "five\n");
    for _ in 0..3 {
        assert_eq!(world.bodies(), [""; 0]);
    }
    super::tail::unbearable::LINE.set(b"no line ends so");
    assert_eq!(world.bodies(), ["three", "four, late", "five"]);
    assert_eq!(world.bodies(), [""; 0]);
    // What is given up of the file before holds up the new one no longer.
    super::tail::unbearable::LINE.set(b"late");
    world.append("app.log.1", "six, late\n");
    world.append("app.log", "seven\n");
    for _ in 0..4 {
        assert_eq!(world.bodies(), [""; 0]);
    }
    assert_eq!(world.bodies(), ["seven"]);
    assert_eq!(world.reading("binnacle_agent_log_lost_files_total"), 1.0);
    super::tail::unbearable::LINE.set(b"no line ends so");
}

#[test]
fn a_file_that_came_to_a_panic_waits_though_its_pod_is_named_meanwhile() {
    super::tail::unbearable::LINE.set(b"two");
    let (mut world, panics) = (World::new(), crate::panics::Panics::default());
    let hour = Duration::from_secs(3600);
    let with = With { panics: panics.clone(), wait_after_panic: hour, ..world.with() };
    world.follower = Follower::new(with, BTreeMap::new());
    world.append("pods/shop_cart-0_u/app/0.log", "2026-01-01T00:00:00Z stdout F two\n");
    assert_eq!(world.bodies(), [""; 0]);
    world.pods.replace(vec![pod("u", &[])]);
    assert_eq!(world.bodies(), [""; 0]);
    assert_eq!(panics.readings()[0].value, 1.0);
    super::tail::unbearable::LINE.set(b"no line ends so");
}

#[test]
fn a_file_is_looked_at_when_its_folder_is_told_of() {
    let mut world = World::new();
    world.append("app.log", "one\n");
    assert_eq!(world.bodies(), ["one"]);
    world.append("app.log", "two\n");
    let (nothing, _, next) = world.follower.read(0);
    assert_eq!((nothing.records(), next), (0, Next::Quiet), "nobody told of it");
    let elsewhere = Told { folders: ["var/log/pods".to_owned()].into(), ..Told::default() };
    world.follower.wake(&elsewhere);
    assert_eq!(world.follower.read(0).0.records(), 0);
    world.follower.wake(&Told { folders: ["var/log".to_owned()].into(), ..Told::default() });
    assert_eq!(world.follower.read(0).0.records(), 1);
    world.append("app.log", "three\n");
    world.follower.wake(&Told { everything: true, ..Told::default() });
    assert_eq!(world.follower.read(0).0.records(), 1);
}

#[test]
fn what_is_behind_a_link_is_looked_at_untold() {
    let mut world = World::new();
    world.append("elsewhere/target", "one\n");
    std::os::unix::fs::symlink(world.path("elsewhere/target"), world.path("app.log")).unwrap();
    assert_eq!(world.bodies(), ["one"]);
    world.append("elsewhere/target", "two\n");
    assert_eq!(world.follower.read(0).0.records(), 1);
    assert_eq!(world.follower.read(0).2, Next::Idle, "and again");
}

#[test]
fn a_restart_reads_on_where_it_stopped() {
    let mut world = World::new();
    world.append("app.log", "one\ntwo");
    assert_eq!(world.bodies(), ["one"]);
    world.restart();
    world.append("app.log", " more\nthree\n");
    assert_eq!(world.bodies(), ["two more", "three"]);
}

#[test]
fn rotation_truncation_and_replacement_lose_and_double_nothing() {
    let mut world = World::new();
    world.append("app.log", "first line\n");
    assert_eq!(world.bodies(), ["first line"]);
    // Renamed, and still written to.
    world.rename("app.log", "app.log.1");
    world.append("app.log.1", "late\nno end");
    world.append("app.log", "second file\n");
    assert_eq!(world.bodies(), ["late", "no end", "second file"]);
    // Emptied in place and grown past where it was.
    fs::write(world.path("app.log"), "third file is longer than the second\n").unwrap();
    assert_eq!(world.bodies(), ["third file is longer than the second"]);
    fs::write(world.path("app.log"), "short\n").unwrap();
    assert_eq!(world.bodies(), ["short"]);
    // Deleted and made again, as without a rotation.
    fs::remove_file(world.path("app.log")).unwrap();
    world.append("app.log", "new\n");
    assert_eq!(world.bodies(), ["new"]);
}

#[test]
fn files_that_were_rotated_while_we_were_away_are_read_in_order() {
    let mut world = World::new();
    let folder = "pods/shop_cart-0_uid/cart";
    let line = |n: u32| format!("2026-01-01T00:00:{n:02}.000000001Z stdout F line {n}\n");
    let current = format!("{folder}/0.log");
    world.append(&current, line(1));
    assert_eq!(world.bodies(), ["line 1"]);
    world.append(&current, line(2));
    for n in 3..5 {
        world.rename(&current, &format!("{folder}/0.log.20260101-00000{n}"));
        world.append(&current, line(n));
    }
    assert_eq!(world.bodies(), ["line 2", "line 3", "line 4"]);
    world.append(&current, line(5));
    for n in 6..8 {
        world.rename(&current, &format!("{folder}/0.log.20260101-00000{n}"));
        world.append(&current, line(n));
    }
    world.restart();
    assert_eq!(world.bodies(), ["line 5", "line 6", "line 7"]);
}

#[test]
fn files_that_were_rotated_before_they_were_found_are_read_too() {
    let mut world = World::new();
    let current = "pods/shop_cart-0_uid/cart/0.log";
    let line = |n: u32| format!("2026-01-01T00:00:{n:02}.000000001Z stdout F line {n}\n");
    for n in 1..4 {
        world.append(current, line(n));
        world.rename(current, &format!("{current}.20260101-00000{n}"));
    }
    // The oldest is written to last.
    world.append(&format!("{current}.20260101-000001"), line(1));
    world.append(current, line(4));
    assert_eq!(world.bodies(), ["line 1", "line 1", "line 2", "line 3", "line 4"]);
    // A plain file's lines have no time of their own: old ones would look new.
    world.append("old.log.1", "old\n");
    world.append("old.log", "new\n");
    assert_eq!(world.bodies(), ["new"]);
}

#[test]
fn rotations_are_read_in_the_order_of_their_names() {
    let mut world = World::new();
    world.append("app.log", "1\n");
    assert_eq!(world.bodies(), ["1"]);
    for n in 2..13 {
        for at in (1..n).rev() {
            if world.path(&format!("app.log.{at}")).exists() {
                world.rename(&format!("app.log.{at}"), &format!("app.log.{}", at + 1));
            }
        }
        world.rename("app.log", "app.log.1");
        world.append("app.log", format!("{n}\n"));
    }
    // The file that was read is written to again after all of them.
    world.append("app.log.11", "late\n");
    let expected: Vec<String> =
        ["late".to_owned()].into_iter().chain((2..13).map(|n| n.to_string())).collect();
    assert_eq!(world.bodies(), expected);
}

#[test]
fn parts_of_container_lines_are_joined_by_stream_across_files_and_restarts() {
    let mut world = World::new();
    let folder = "pods/shop_cart-0_0f8f/cart.main";
    let current = format!("{folder}/1.log");
    world.append(
        &current,
        "2026-01-01T00:00:01Z stdout P out 1 \n2026-01-01T00:00:02Z stderr P err 1 \n2026-01-01T00:00:03Z stderr F err 2\nnot of the format\n2026-01-01T00:00:04+02:00 stderr F\n",
    );
    let first = world.read_all();
    let of = |batch: &LogBatch, stream: &str| {
        let streams = batch.streams.iter().filter(|s| s.labels.get("stream") == Some(stream));
        streams.flat_map(|s| s.records.clone()).map(|r| (r.ts_ns, r.body)).collect::<Vec<_>>()
    };
    let second_ns = 1_767_225_600_000_000_000i64;
    assert_eq!(
        of(&first, "stderr"),
        [
            (second_ns + 2_000_000_000, "err 1 err 2".to_owned()),
            (second_ns + 4_000_000_000 - 7_200_000_000_000, String::new())
        ]
    );
    assert_eq!(of(&first, "stdout")[0].1, "not of the format");
    let labels = &first.streams[0].labels;
    for (name, value) in [("namespace", "shop"), ("pod", "cart-0"), ("container", "cart.main")] {
        assert_eq!(labels.get(name), Some(value));
    }
    world.restart();
    world.rename(&current, &format!("{folder}/1.log.20260101-000005"));
    world.append(&current, "2026-01-01T00:00:06Z stdout F out 2\n");
    assert_eq!(of(&world.read_all(), "stdout"), [(second_ns + 1_000_000_000, "out 1 out 2".to_owned())]);
}

#[test]
fn a_line_past_the_limit_is_cut_and_the_next_is_whole() {
    let mut world = World::new();
    world.append("app.log", "x".repeat(10 << 20));
    world.append("app.log", "\nnext\n");
    let records: Vec<_> = world.read_all().streams.into_iter().flat_map(|stream| stream.records).collect();
    assert_eq!(records.len(), 2);
    assert_eq!(
        (records[0].body.len(), records[0].attributes[0].0.as_str()),
        (LINE_BYTES_MAX, "log.truncated")
    );
    assert_eq!((records[1].body.as_str(), records[1].attributes.len()), ("next", 0));
}

#[test]
fn globs_leave_rotations_packed_and_hidden_files_out() {
    let mut world = World::new();
    for name in ["a.log", "b.log", "c.txt", "syslog", ".hidden.log"] {
        world.append(name, format!("{name}\n"));
    }
    for name in ["a.log.1", "a.log.2.gz", "syslog.1"] {
        world.append(name, "old\n");
    }
    let mut found = world.bodies();
    found.sort();
    assert_eq!(found, ["a.log", "b.log", "syslog"]);
}

#[test]
fn a_time_at_the_beginning_is_the_lines_own() {
    let mut world = World::new();
    world
        .append("app.log", "2026-01-01T00:00:00.5+00:00 host sshd[1]: in\n2026-13-01T00:00:00Z no time\nT\n");
    let records: Vec<_> = world.read_all().streams.into_iter().flat_map(|stream| stream.records).collect();
    assert_eq!(records[0].ts_ns, 1_767_225_600_500_000_000);
    assert!(records[1].ts_ns < records[2].ts_ns && records[2].ts_ns < 2_000_000);
}

#[test]
fn positions_come_back_from_their_text() {
    let mut world = World::new();
    world.append("pods/a_b_c/d/0.log", b"2026-01-01T00:00:01Z stdout P \xff\n");
    world.bodies();
    let positions = Positions { seq: 7, files: world.follower.positions(), journal: Some("s=1".into()) };
    let text = serde_json::to_vec(&positions).unwrap();
    assert_eq!(serde_json::from_slice::<Positions>(&text).unwrap(), positions);
    assert!(positions.files["var/log/pods/a_b_c/d/0.log"].pending[0].is_some());
}

#[test]
fn journal_entries_have_unit_priority_and_bytes() {
    let entry = journal::parse(
        br#"{"__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1767225600000001","PRIORITY":"3","_SYSTEMD_UNIT":"ssh.service","MESSAGE":[104,105,255]}"#,
    )
    .unwrap();
    assert_eq!((entry.cursor.as_str(), entry.unit.as_str()), ("s=1;i=2", "ssh.service"));
    assert_eq!((entry.record.ts_ns, entry.record.severity), (1_767_225_600_000_001_000, 17));
    assert_eq!(entry.record.body, "hi\u{fffd}");
    for bad in [
        "",
        "{",
        "[]",
        r#"{"MESSAGE":"no time"}"#,
        r#"{"__REALTIME_TIMESTAMP":"9223372036854775807","MESSAGE":"x"}"#,
    ] {
        assert!(journal::parse(bad.as_bytes()).is_none(), "{bad}");
    }
}

/// Lines of a container as its runtime writes them, numbered.
fn cri(numbers: std::ops::Range<u32>) -> String {
    numbers
        .map(|n| format!("2026-01-01T00:{:02}:{:02}.000000001Z stdout F line {n}\n", n / 60, n % 60))
        .collect()
}

fn lines(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!("line {n}")).collect()
}

const CURRENT: &str = "pods/shop_cart-0_uid/cart/0.log";

impl World {
    fn packed(&self, name: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        encoder.write_all(&fs::read(self.path(name)).unwrap()).unwrap();
        encoder.finish().unwrap()
    }

    /// As the kubelet packs: beside it under another name, renamed, and then the original is removed.
    fn pack(&self, name: &str) {
        fs::write(self.path(&format!("{name}.tmp")), self.packed(name)).unwrap();
        self.rename(&format!("{name}.tmp"), &format!("{name}.gz"));
        fs::remove_file(self.path(name)).unwrap();
    }

    fn rotate(&self, second: u32) -> String {
        let rotated = format!("{CURRENT}.20260101-0000{second:02}");
        self.rename(CURRENT, &rotated);
        rotated
    }

    fn reading(&self, name: &str) -> f64 {
        let readings = self.counts.readings();
        readings.iter().filter(|reading| reading.name == name).map(|reading| reading.value).sum()
    }
}

#[test]
fn packed_rotations_are_read_on_from_where_the_plain_one_was_left() {
    for restart in [false, true] {
        let mut world = World::new();
        world.append(CURRENT, cri(0..3));
        assert_eq!(world.bodies(), lines(0..3));
        // Not read yet when it is rotated and packed, and so are two more; the last is only rotated.
        world.append(CURRENT, cri(3..5));
        for second in 1..4 {
            let rotated = world.rotate(second);
            world.pack(&rotated);
            world.append(CURRENT, cri(5 + second * 2..7 + second * 2));
        }
        world.rotate(4);
        world.append(CURRENT, cri(20..21));
        if restart {
            world.restart();
        }
        let expected = [lines(3..5), lines(7..13), lines(20..21)].concat();
        assert_eq!(world.bodies(), expected, "after a restart: {restart}");
        assert_eq!(world.bodies(), [] as [&str; 0]);
        world.restart();
        assert_eq!(world.bodies(), [] as [&str; 0], "nothing twice");
    }
}

#[test]
fn a_rotation_that_is_there_packed_and_plain_is_one() {
    let mut world = World::new();
    world.append(CURRENT, cri(0..2));
    let rotated = world.rotate(1);
    fs::write(world.path(&format!("{rotated}.gz")), world.packed(&rotated)).unwrap();
    fs::write(world.path(&format!("{rotated}.tmp")), "half").unwrap();
    world.append(CURRENT, cri(2..3));
    assert_eq!(world.bodies(), lines(0..3));
}

#[test]
fn a_packed_rotation_that_was_cut_gives_what_it_has_and_is_counted_once() {
    let mut world = World::new();
    // Enough that the cut is behind some of it.
    let noise: String = (0..4_000u32).map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761))).collect();
    world.append(CURRENT, cri(0..1));
    world.append(CURRENT, format!("2026-01-01T00:00:02Z stdout F {noise}\n"));
    let rotated = world.rotate(1);
    let packed = world.packed(&rotated);
    fs::remove_file(world.path(&rotated)).unwrap();
    fs::write(world.path(&format!("{rotated}.gz")), &packed[..packed.len() / 2]).unwrap();
    world.append(CURRENT, cri(5..6));
    let bodies = world.bodies();
    assert_eq!((bodies.first().unwrap().as_str(), bodies.last().unwrap().as_str()), ("line 0", "line 5"));
    assert!(noise.starts_with(&bodies[1]), "what is there of the line");
    assert_eq!(world.reading("binnacle_agent_log_damaged_files_total"), 1.0);
    assert_eq!(world.bodies(), [] as [&str; 0], "not tried for ever");
}

#[test]
fn a_file_that_is_named_back_goes_on() {
    let mut world = World::new();
    world.append(CURRENT, cri(0..1));
    assert_eq!(world.bodies(), lines(0..1));
    let rotated = world.rotate(1);
    world.append(&rotated, cri(1..2));
    // There is no file of the name now; then the runtime's reopen fails and the kubelet undoes the rename.
    world.follower.wake_all();
    let (first, _, next) = world.follower.read(0);
    assert_eq!((first.records(), next), (1, Next::Now));
    assert_eq!(world.follower.read(0).2, Next::Soon);
    world.rename(&rotated, CURRENT);
    world.append(CURRENT, cri(2..3));
    assert_eq!(world.bodies(), lines(2..3));
}

#[test]
fn a_rotation_that_was_deleted_before_it_was_read_is_counted_and_the_others_are_read() {
    let mut world = World::new();
    world.append(CURRENT, cri(0..1));
    assert_eq!(world.bodies(), lines(0..1));
    let positions = world.follower.positions();
    for second in 1..4 {
        world.rotate(second);
        world.append(CURRENT, cri(second..second + 1));
    }
    fs::remove_file(world.path(&format!("{CURRENT}.20260101-000001"))).unwrap();
    world.follower = Follower::new(world.with(), positions);
    assert_eq!(world.bodies(), lines(1..4));
    assert_eq!(world.reading("binnacle_agent_log_lost_files_total"), 1.0);
    assert_eq!(world.reading("binnacle_agent_log_gaps_total"), 1.0, "others may have been deleted, too");
}

#[test]
fn rotations_with_nothing_in_them_hold_nothing_up() {
    for restart in [false, true] {
        let mut world = World::new();
        world.append(CURRENT, cri(0..1));
        assert_eq!(world.bodies(), lines(0..1));
        for second in 1..5 {
            let rotated = world.rotate(second);
            world.append(CURRENT, "");
            world.pack(&rotated);
        }
        assert_eq!(world.bodies(), [""; 0]);
        world.append(CURRENT, cri(1..3));
        if restart {
            world.restart();
        }
        assert_eq!(world.bodies(), lines(1..3), "restart: {restart}");
    }
}

#[test]
fn a_deleted_pod_gives_its_last_words() {
    let mut world = World::new();
    world.append(CURRENT, cri(0..1));
    assert_eq!(world.bodies(), lines(0..1));
    world.append(CURRENT, cri(1..2));
    world.append(CURRENT, "2026-01-01T00:00:02Z stderr P begun\n2026-01-01T00:00:03Z stdout F no end");
    fs::remove_dir_all(world.path("pods")).unwrap();
    assert_eq!(world.bodies(), lines(1..2));
    let tail = world.follower.tails_mut().next().unwrap();
    let counts = super::Counts::default();
    let turn = super::tail::Turn { buffer: &mut vec![0; 1 << 20], now_ns: 0, counts: &counts };
    let records = tail.finish(turn);
    assert_eq!((records[0][0].body.as_str(), records[1][0].body.as_str()), ("no end", "begun"));
    assert_eq!(records[1][0].attributes[0].0, "log.truncated");
}

#[test]
fn each_attempt_of_a_container_is_a_file_of_its_own() {
    let mut world = World::new();
    world.append("pods/shop_cart.v1-0_uid/cart/0.log", cri(0..1));
    world.append("pods/shop_cart.v1-0_uid/cart/1.log", cri(1..2));
    world.append("pods/shop_cart.v1-0_uid2/cart/0.log", cri(2..3));
    let all = world.read_all();
    assert_eq!(all.records(), 3);
    assert!(all.streams.iter().all(|stream| stream.labels.get("pod") == Some("cart.v1-0")));
}

#[test]
fn a_huge_container_line_is_cut_counted_and_the_next_is_whole() {
    let mut world = World::new();
    let part = "x".repeat(16 << 10);
    for _ in 0..64 {
        world.append(CURRENT, format!("2026-01-01T00:00:00Z stdout P {part}\n"));
        world.append(CURRENT, "2026-01-01T00:00:00Z stderr F between\n");
    }
    world.append(CURRENT, "2026-01-01T00:00:01Z stdout F end\n2026-01-01T00:00:02Z stdout F next\n");
    let all = world.read_all();
    let stdout: Vec<_> = all
        .streams
        .iter()
        .filter(|stream| stream.labels.get("stream") == Some("stdout"))
        .flat_map(|stream| &stream.records)
        .collect();
    assert_eq!(stdout.len(), 2);
    assert_eq!((stdout[0].body.len(), stdout[0].attributes[0].0.as_str()), (LINE_BYTES_MAX, "log.truncated"));
    assert_eq!(stdout[1].body, "next");
    assert_eq!(all.records(), 66);
}

/// Who is slow is seen by the container that writes the most.
#[test]
fn it_is_told_how_far_reading_is_behind_in_which_file() {
    let mut world = World::new();
    let of = |pod: u32| format!("pods/shop_cart-{pod}_uid{pod}/cart/0.log");
    let line = format!("2026-01-01T00:00:00Z stdout F {}\n", "x".repeat(10_000));
    for pod in 0..3 {
        // More than one turn of reading takes.
        world.append(&of(pod), line.repeat(100));
    }
    world.follower.find();
    world.follower.read(0);
    let all: Vec<_> = world.counts.readings();
    let behind: Vec<(&str, f64)> = all
        .iter()
        .filter(|reading| reading.name == "binnacle_agent_log_behind_bytes")
        .map(|reading| (reading.labels[0].1.as_str(), reading.value))
        .collect();
    assert!(behind[0].1 > 0.0 && behind[0].0.starts_with("/var/log/pods/shop_cart-"), "{behind:?}");
    assert_eq!(behind.last().unwrap().0, "", "all others");
    world.bodies();
    assert_eq!(world.reading("binnacle_agent_log_behind_bytes"), 0.0);
    let paths: Vec<String> = (0..30).map(|n| format!("var/log/{n}.log")).collect();
    world.counts.behind(paths.iter().zip(1..).map(|(path, bytes)| (path.as_str(), bytes)));
    let all = world.counts.readings();
    let told: Vec<f64> = all.iter().filter(|one| one.name.contains("behind")).map(|one| one.value).collect();
    assert_eq!((told.len(), told[0], told[20]), (21, 30.0, 55.0), "the most, and all others together");
}

#[test]
fn odd_lines_are_lines() {
    let mut world = World::new();
    let text: &[u8] = b"2026-01-01T00:00:09Z stdout F \n2026-01-01T00:00:01Z stdout F\n\
        2026-01-01T00:00:01+02:00 stdout F:x \xff\0a\r\n\
        2026-01-01T00:00:02Z stdout F half a rec2026-01-01T00:00:03.5Z stderr F whole\n\
        2026-01-01T00:00:04Z stdout F it wrote \"2026-01-01T00:00:05Z stdout F x\"\n";
    world.append(CURRENT, text);
    let all = world.read_all();
    let of = |stream: &str| -> Vec<(String, bool)> {
        let streams = all.streams.iter().filter(|one| one.labels.get("stream") == Some(stream));
        let records = streams.flat_map(|one| &one.records);
        records.map(|record| (record.body.clone(), !record.attributes.is_empty())).collect()
    };
    let whole = |text: &str| (text.to_owned(), false);
    // In the file's order, though the clock went back.
    let expected = [
        whole(""),
        whole(""),
        whole("\u{fffd}\0a"),
        ("half a rec".to_owned(), true),
        whole("it wrote \"2026-01-01T00:00:05Z stdout F x\""),
    ];
    assert_eq!(of("stdout"), expected);
    assert_eq!(of("stderr"), [whole("whole")]);
}

#[test]
fn a_stack_trace_is_one_record_also_across_a_restart() {
    let mut world = World::new();
    let line = |text: &str| format!("2026-01-01T00:00:00Z stderr F {text}\n");
    world.append(
        CURRENT,
        [line("before"), line("java.io.IOException: x"), line("\tat a.B(C.java:1)")].concat(),
    );
    world.follower.find();
    let (first, _, _) = world.follower.read(0);
    assert_eq!(first.records(), 1, "the trace may go on");
    world.restart();
    world.append(CURRENT, [line("\tat a.D(E.java:2)"), line("after")].concat());
    let bodies = world.bodies();
    assert_eq!(bodies, ["java.io.IOException: x\n\tat a.B(C.java:1)\n\tat a.D(E.java:2)", "after"]);
}

#[test]
fn a_stack_trace_goes_on_through_rotations() {
    let mut world = World::new();
    let line = |text: &str| format!("2026-01-01T00:00:00Z stderr F {text}\n");
    world.append(CURRENT, [line("java.io.IOException: x"), line("\tat a.B(C.java:1)")].concat());
    world.follower.find();
    assert_eq!(world.follower.read(0).0.records(), 0, "the trace may go on");
    world.rotate(1);
    world.append(CURRENT, line("\tat a.D(E.java:2)"));
    world.rotate(2);
    world.append(CURRENT, line("after"));
    let bodies = world.bodies();
    assert_eq!(bodies, ["java.io.IOException: x\n\tat a.B(C.java:1)\n\tat a.D(E.java:2)", "after"]);
}

#[test]
fn damaged_positions_give_way_to_those_before_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("positions.json");
    let queue = crate::queue::Queue::open(dir.path().join("queue"), 64 << 20).unwrap();
    let of = |offset| {
        let files = BTreeMap::from([("a".to_owned(), Position { offset, ..Position::default() })]);
        Positions { files, ..Positions::default() }
    };
    for offset in 1..3 {
        Positions::save(&of(offset).to_bytes(), &path).unwrap();
    }
    assert_eq!(Positions::load(&path, &queue), of(2));
    let mut damaged = fs::read(&path).unwrap();
    // A digit that is another digit: JSON as good as before.
    let at = damaged.windows(8).position(|part| part == b"offset\":").unwrap() + 8;
    damaged[at] = b'7';
    fs::write(&path, &damaged).unwrap();
    assert_eq!(Positions::load(&path, &queue), of(1));
    fs::write(path.with_extension("previous"), "0123").unwrap();
    assert_eq!(Positions::load(&path, &queue), Positions::default(), "read from the beginning");
    // As it was written once: JSON alone.
    fs::write(&path, serde_json::to_vec(&of(3)).unwrap()).unwrap();
    assert_eq!(Positions::load(&path, &queue), of(3));
}

/// A queue of several segments that was closed by a kill: where it lies, itself, and how many segments there are.
async fn queue_after_a_kill(dir: &Path) -> (Arc<crate::queue::Queue>, impl Fn() -> usize) {
    let folder = dir.join("queue");
    let queue = crate::queue::Queue::open(folder.clone(), 64 << 10).unwrap();
    for _ in 0..60 {
        // Hard to compress, so that there are several segments.
        let body: String = (0..1_000).map(|_| rand::random_range('a'..='z')).collect();
        let record = model::LogRecord { body, ..model::LogRecord::default() };
        let stream = model::LogStream { records: vec![record], ..model::LogStream::default() };
        let batch = LogBatch { streams: vec![stream] };
        queue.push_logs(&model::Tenant::default(), &batch, b"{}").await.unwrap();
    }
    drop(queue);
    let queue = loop {
        match crate::queue::Queue::open(folder.clone(), 64 << 10) {
            Ok(queue) => break Arc::new(queue),
            // The log's writer lets go of its lock a moment after the queue is dropped.
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let segments = move || {
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|extension| extension == "wal")).count()
    };
    assert!(segments() > 1);
    (queue, segments)
}

/// A full disk takes no positions; what the queue gives back is the room that they want.
#[tokio::test]
async fn what_was_sent_is_given_back_after_a_start_before_positions_are_saved() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, segments) = queue_after_a_kill(dir.path()).await;
    let path = dir.path().join("positions.json");
    Positions::save(&Positions { seq: queue.newest(), ..Positions::default() }.to_bytes(), &path).unwrap();
    Positions::load(&path, &queue);
    queue.mark_sent(queue.newest());
    // Nothing can be written.
    fs::create_dir(dir.path().join("queue/sent.next")).unwrap();
    assert!(queue.save_sent().is_err());
    assert_eq!(segments(), 1);
}

/// Filled in less time than passes between two times that they are saved.
#[tokio::test]
async fn a_disk_that_is_full_of_what_was_sent_gets_room_for_the_positions_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, segments) = queue_after_a_kill(dir.path()).await;
    let path = dir.path().join("positions.json");
    let positions = Positions::load(&path, &queue);
    queue.mark_sent(queue.newest());
    let before = segments();
    queue.save_sent().unwrap();
    assert_eq!(segments(), before, "they are nowhere else");
    let next = dir.path().join("positions.next");
    std::os::unix::fs::symlink("/dev/full", &next).unwrap();
    super::save(&path, &positions, &queue).await;
    assert_eq!(segments(), 1);
    fs::remove_file(&next).unwrap();
    super::save(&path, &positions, &queue).await;
    assert_eq!(Positions::load(&path, &queue), positions);
}

#[test]
fn rules_and_annotations_treat_lines_and_count_what_they_leave_out() {
    let mut world = World::new();
    let rules =
        "rules: [{match: {namespace: shop}, drop: ['line 1'], redact: [{pattern: '\\d', with: '#'}]}]";
    world.append(CURRENT, cri(0..3));
    world.append("pods/bank_safe-0_uid3/safe/0.log", cri(5..6));
    let quiet = r#"{"metadata":{"name":"safe-0","namespace":"bank","uid":"uid3","annotations":{"binnacle.io/logs":"off"}}}"#;
    world.pods.replace(vec![serde_json::from_str(quiet).unwrap()]);
    world.follower.set_rules(Arc::new(super::Rules::parse(rules).unwrap()));
    assert_eq!(world.bodies(), ["line #", "line #"]);
    assert_eq!(world.reading("binnacle_agent_log_lines_dropped_total"), 1.0);
}

#[test]
fn scripts_treat_lines_and_a_mistake_leaves_the_rules_as_they_were() {
    let mut world = World::new();
    let rules = r#"rules: [{match: {namespace: shop}, script: 'if line == "line 1" { drop() } line += " of " + labels.namespace;'}]"#;
    let parse = |text: &str| super::Rules::parse(text).map(Arc::new);
    world.append(CURRENT, cri(0..3));
    world.follower.set_rules(parse(rules).unwrap());
    assert_eq!(world.bodies(), ["line 0 of shop", "line 2 of shop"]);
    assert_eq!(world.reading("binnacle_agent_log_lines_dropped_total"), 1.0);
    let wrong =
        parse("rules: [{script: 'line = '}]").map(|rules| world.follower.set_rules(rules)).unwrap_err();
    assert!(wrong.to_string().starts_with("1:26: rule 1: script line 1, column 8: "), "{wrong}");
    world.append(CURRENT, cri(3..4));
    assert_eq!(world.bodies(), ["line 3 of shop"]);
}

/// Files of a real kubelet: two packed, one rotated and the current one, with a partial line in between.
#[test]
fn a_real_kubelets_rotations_are_read_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/kubernetes/kubelet-cgroup-v1/log-pods-sample/default_web-node1_73ab2dd5d7eb07d8c0fe169a240a62b8");
    if !folder.is_dir() {
        println!("no {}: a kubelet's log files were not read", folder.display());
        return;
    }
    let mut world = World::new();
    for container in ["app", "oom"] {
        for entry in fs::read_dir(folder.join(container)).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let to = world
                .path(&format!("pods/default_web-node1_73ab2dd5d7eb07d8c0fe169a240a62b8/{container}/{name}"));
            fs::write(to, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
    let all = world.read_all();
    let of = |container: &str| -> Vec<String> {
        let streams = all.streams.iter().filter(|one| one.labels.get("container") == Some(container));
        streams.flat_map(|one| one.records.iter().map(|record| record.body.clone())).collect()
    };
    let numbers: Vec<u32> =
        of("app").iter().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert!(numbers.len() > 500, "{}", numbers.len());
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "every line once, in order");
    assert_eq!(of("oom"), ["before oom", "before oom"]);
}

/// Two files of one name that begin alike for more than is looked at: what comes after must tell them apart.
#[test]
fn files_that_begin_alike_are_two() {
    let mut world = World::new();
    let banner = ["the same banner"; 200].join(" ");
    world.append("app.log", format!("{banner}\nfirst\n"));
    assert_eq!(world.bodies(), [banner.as_str(), "first"]);
    world.rename("app.log", "app.log.1");
    world.append("app.log", format!("{banner}\nsecond\n"));
    let found = world.bodies();
    assert_eq!(found.last().map(String::as_str), Some("second"), "{found:?}");
    assert_eq!(found.len(), 2, "the banner is a line of the second as well: {found:?}");
}

/// A pod as the kubelet names it.
fn pod(uid: &str, annotations: &[(&str, &str)]) -> crate::pods::Pod {
    let mut pod = crate::pods::Pod::named("shop", "cart-0", uid);
    pod.metadata.annotations =
        annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    pod
}

#[test]
fn nothing_is_sent_of_a_pod_before_it_is_known_what_it_wants() {
    let mut world = World::new();
    world.follower = Follower::new(With { wait: Duration::from_secs(3600), ..world.with() }, BTreeMap::new());
    for uid in ["wants", "wants-not", "is-gone"] {
        world.append(
            &format!("pods/shop_cart-0_{uid}/app/0.log"),
            format!("2026-01-01T00:00:00Z stdout F {uid}\n"),
        );
    }
    // Names of folders say nothing of annotations.
    world.pods.look(&crate::host::Root(world.dir.path().to_owned()));
    assert_eq!(world.bodies(), [""; 0]);
    fs::remove_dir_all(world.path("pods/shop_cart-0_is-gone")).unwrap();
    let off = [("binnacle.io/logs", "off")];
    world.pods.replace(vec![pod("wants", &[]), pod("wants-not", &off), pod("is-gone", &[])]);
    assert_eq!(world.bodies(), ["is-gone", "wants"], "deleted meanwhile it was held open");
}

#[test]
fn a_pod_that_the_kubelet_does_not_name_is_waited_for_a_while() {
    let mut world = World::new();
    world.follower = Follower::new(With { wait: Duration::from_millis(20), ..world.with() }, BTreeMap::new());
    world.append("pods/shop_cart-0_u/app/0.log", "2026-01-01T00:00:00Z stdout F line\n");
    let begun = std::time::Instant::now();
    let mut lines = vec![];
    while lines.is_empty() && begun.elapsed() < Duration::from_secs(10) {
        lines = world.bodies();
    }
    assert_eq!(lines, ["line"]);
    assert!(begun.elapsed() >= Duration::from_millis(20));
}

#[test]
fn who_looks_beforehand_is_told_which_containers_are_left_out() {
    let world = World::new();
    for uid in ["wants", "wants-not"] {
        world.append(&format!("pods/shop_cart-0_{uid}/app/0.log"), "");
    }
    world.pods.replace(vec![pod("wants", &[]), pod("wants-not", &[("binnacle.io/logs", "off")])]);
    let config = crate::Config { log_files: vec![], ..crate::Config::default() };
    let found = super::found(&config, &Host::of(world.dir.path()), &world.pods);
    let mut whose: Vec<String> = found.into_iter().filter_map(|(_, whose)| whose).collect();
    whose.sort();
    let app = "shop/cart-0 container app";
    assert_eq!(whose, [app.to_owned(), format!("{app}, left out as its pod wants it")]);
}
