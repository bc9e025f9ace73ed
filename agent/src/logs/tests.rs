use super::follower::Follower;
use super::journal;
use super::line::LINE_BYTES_MAX;
use super::positions::{Position, Positions};
use crate::host::Host;
use model::LogBatch;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A host with log files, and who follows them.
struct World {
    dir: tempfile::TempDir,
    follower: Follower,
}

const GLOBS: [&str; 2] = ["/var/log/*.log", "/var/log/syslog"];

fn follower(root: &Path, remembered: BTreeMap<String, Position>) -> Follower {
    Follower::new(Arc::new(Host::of(root)), GLOBS.map(str::to_owned).to_vec(), remembered)
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/log")).unwrap();
        let follower = follower(dir.path(), BTreeMap::new());
        World { dir, follower }
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
        // One look more than the two that it takes to leave a rotated file.
        let mut quiet = 0;
        while quiet < 3 {
            let (batch, _, more) = self.follower.read(1_000_000);
            quiet = if batch.records() == 0 && !more { quiet + 1 } else { 0 };
            all.streams.extend(batch.streams);
        }
        all
    }

    fn bodies(&mut self) -> Vec<String> {
        let all = self.read_all();
        all.streams.into_iter().flat_map(|stream| stream.records).map(|record| record.body).collect()
    }

    /// As after a stop and a start.
    fn restart(&mut self) {
        self.follower = follower(self.dir.path(), self.follower.positions());
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
