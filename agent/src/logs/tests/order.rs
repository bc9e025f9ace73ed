//! Rotations whose names do not tell their order, and files that are out of sight for a moment.

use super::*;

/// As a kubelet names it, in the local time of its node.
fn dated(time: &str) -> String {
    format!("{CURRENT}.20261025-{time}")
}

/// At the end of summer time, and wherever a clock is set back.
#[test]
fn a_clock_that_goes_back_neither_doubles_nor_loses_a_rotation() {
    for restart in [false, true] {
        let mut world = World::new();
        world.append(CURRENT, cri(0..2));
        world.rename(CURRENT, &dated("025950"));
        world.append(CURRENT, cri(2..4));
        assert_eq!(world.bodies(), lines(0..4));
        for (at, time) in ["020000", "020010", "020020"].into_iter().enumerate() {
            let first = 4 + at as u32 * 4;
            // Its last words come after its name, which is before that of one that was read.
            world.append(CURRENT, cri(first..first + 1));
            world.rename(CURRENT, &dated(time));
            world.append(&dated(time), cri(first + 1..first + 3));
            world.append(CURRENT, cri(first + 3..first + 4));
            if restart {
                world.restart();
            }
            assert_eq!(world.bodies(), lines(first..first + 4), "restart: {restart}");
            world.pack(&dated(time));
            assert_eq!(world.bodies(), [""; 0], "packed it is the same");
        }
        world.restart();
        assert_eq!(world.bodies(), [""; 0]);
    }
}

#[test]
fn rotations_of_a_clock_that_goes_back_while_we_are_away_come_once_each() {
    let mut world = World::new();
    world.append(CURRENT, cri(0..1));
    world.rename(CURRENT, &dated("025940"));
    world.append(CURRENT, cri(1..2));
    assert_eq!(world.bodies(), lines(0..2));
    for (n, time) in [(2, "025950"), (3, "020000"), (4, "020010")] {
        world.rename(CURRENT, &dated(time));
        world.append(CURRENT, cri(n..n + 1));
    }
    world.pack(&dated("025940"));
    world.pack(&dated("025950"));
    world.restart();
    let mut found = world.bodies();
    found.sort();
    assert_eq!(found, lines(2..5));
    assert_eq!(world.bodies(), [""; 0]);
    assert_eq!(world.reading("binnacle_agent_log_lost_files_total"), 0.0);
}

#[test]
fn names_of_deleted_rotations_are_forgotten_in_time() {
    let mut world = World::new();
    world.append(CURRENT, cri(0..1));
    assert_eq!(world.bodies(), lines(0..1));
    for n in 1..10 {
        let name = dated(&format!("{n:06}"));
        world.rename(CURRENT, &name);
        world.append(CURRENT, cri(n..n + 1));
        assert_eq!(world.bodies(), lines(n..n + 1));
        fs::remove_file(world.path(&name)).unwrap();
    }
    let positions = world.follower.positions();
    let names = &positions.values().next().unwrap().read;
    assert!(names.len() < 8 && names.contains(&".20261025-000009".to_owned()), "{names:?}");
}

/// Earlier versions remembered the newest name alone.
#[test]
fn positions_of_an_earlier_version_read_nothing_twice() {
    let mut world = World::new();
    for n in 0..2 {
        world.append(CURRENT, cri(n..n + 1));
        world.rename(CURRENT, &dated(&format!("{n:06}")));
    }
    world.append(CURRENT, cri(2..3));
    assert_eq!(world.bodies(), lines(0..3));
    let mut positions = world.follower.positions();
    for position in positions.values_mut() {
        position.after = position.read.drain(..).next_back().unwrap();
    }
    fs::remove_file(world.path(CURRENT)).unwrap();
    world.append(CURRENT, cri(3..4));
    world.follower = Follower::new(world.with(), positions);
    assert_eq!(world.bodies(), lines(3..4));
}

#[test]
fn the_file_after_a_damaged_rotation_may_be_missing_for_a_moment() {
    let mut world = World::new();
    world.append(CURRENT, cri(0..2_000));
    let rotated = world.rotate(1);
    let packed = world.packed(&rotated);
    // There is no file of the name until the runtime has opened a new one.
    world.append(CURRENT, "");
    world.follower.find();
    fs::remove_file(world.path(CURRENT)).unwrap();
    fs::remove_file(world.path(&rotated)).unwrap();
    fs::write(world.path(&format!("{rotated}.gz")), &packed[..packed.len() / 2]).unwrap();
    let some = world.bodies();
    assert_eq!(some.first().map(String::as_str), Some("line 0"));
    assert_eq!(world.bodies(), [""; 0]);
    world.append(CURRENT, cri(2_000..2_001));
    assert_eq!(world.bodies(), lines(2_000..2_001));
    assert_eq!(world.reading("binnacle_agent_log_damaged_files_total"), 1.0, "counted once");
}

#[test]
fn whole_lines_that_a_deleted_file_was_given_last_are_lines() {
    let mut world = World::new();
    world.append("app.log", "one\n");
    assert_eq!(world.bodies(), ["one"]);
    let mut writer = fs::OpenOptions::new().append(true).open(world.path("app.log")).unwrap();
    fs::remove_file(world.path("app.log")).unwrap();
    assert_eq!(world.bodies(), [""; 0]);
    writer.write_all(b"two\nthree\nno end").unwrap();
    let tail = world.follower.tails_mut().next().unwrap();
    let counts = super::super::Counts::default();
    let turn = super::super::tail::Turn { buffer: &mut vec![0; 1 << 20], now_ns: 0, counts: &counts };
    let records = tail.finish(turn);
    let bodies: Vec<&str> = records[0].iter().map(|record| record.body.as_str()).collect();
    assert_eq!(bodies, ["two", "three", "no end"]);
}

/// Of several processes that write one file each changes to the new one in its own time.
#[test]
fn late_words_of_the_file_before_are_read_beside_the_new_one() {
    let mut world = World::new();
    for name in ["app.log", CURRENT] {
        let line = |n: u32| if name == CURRENT { cri(n..n + 1) } else { format!("line {n}\n") };
        let before = if name == CURRENT { dated("000001") } else { "app.log.1".to_owned() };
        world.append(name, line(0));
        assert_eq!(world.bodies(), lines(0..1));
        world.rename(name, &before);
        world.append(name, line(1));
        assert_eq!(world.bodies(), lines(1..2));
        let late = line(2);
        let (begun, end) = late.split_at(late.len() - 3);
        world.append(&before, begun);
        world.append(name, line(3));
        assert_eq!(world.bodies(), lines(3..4), "a line has an end");
        world.append(&before, end);
        assert_eq!(world.bodies(), lines(2..3));
        assert_eq!(world.bodies(), [""; 0]);
    }
}

/// The runtime is slow, and the agent is killed before all is in the file that was left.
#[test]
fn late_words_come_after_a_restart_too() {
    for is_packed in [false, true] {
        let mut world = World::new();
        let before = dated("000001");
        world.append(CURRENT, cri(0..1));
        assert_eq!(world.bodies(), lines(0..1));
        world.rename(CURRENT, &before);
        world.append(CURRENT, cri(1..2));
        assert_eq!(world.bodies(), lines(1..2));
        world.append(&before, cri(2..3));
        assert_eq!(world.bodies(), lines(2..3));
        world.append(&before, cri(3..4));
        if is_packed {
            world.pack(&before);
        }
        world.restart();
        assert_eq!(world.bodies(), lines(3..4), "packed: {is_packed}");
        world.restart();
        assert_eq!(world.bodies(), [""; 0], "packed: {is_packed}");
    }
}

/// A runtime that closes a file writes there how far a line had come, which may be after the line's end in the next one.
#[test]
fn a_beginning_that_comes_after_its_end_begins_no_other_line() {
    let mut world = World::new();
    let part = |tag: &str, text: &str| format!("2026-01-01T00:00:00Z stdout {tag} {text}\n");
    let before = dated("000001");
    world.append(CURRENT, part("F", "one"));
    assert_eq!(world.bodies(), ["one"]);
    world.rename(CURRENT, &before);
    world.append(CURRENT, part("F", "its end"));
    assert_eq!(world.bodies(), ["its end"]);
    world.append(&before, part("P", "a beginning"));
    world.append(CURRENT, part("F", "another"));
    assert_eq!(world.bodies(), ["another", "a beginning"]);
    // Nor does what is late end a line of the new file.
    world.append(CURRENT, part("P", "two"));
    assert_eq!(world.bodies(), [""; 0]);
    world.append(&before, part("F", "late"));
    world.append(CURRENT, part("F", " parts"));
    assert_eq!(world.bodies(), ["late", "two parts"]);
    // Where nothing of the new file was read it goes on there.
    world.restart();
    world.append(CURRENT, part("P", "through"));
    world.rename(CURRENT, &dated("000002"));
    world.append(CURRENT, part("F", " two files"));
    assert_eq!(world.bodies(), ["through two files"]);
}

/// The runtime's two streams change to the next file in their own time.
#[test]
fn a_late_beginning_goes_on_where_nothing_of_its_stream_was_read_in_the_next_file() {
    for restart in [false, true] {
        let mut world = World::new();
        let part =
            |stream: &str, tag: &str, text: &str| format!("2026-01-01T00:00:00Z {stream} {tag} {text}\n");
        let before = dated("000001");
        world.append(CURRENT, part("stdout", "F", "one"));
        assert_eq!(world.bodies(), ["one"]);
        world.rename(CURRENT, &before);
        world.append(CURRENT, part("stdout", "F", "two"));
        assert_eq!(world.bodies(), ["two"]);
        world.append(&before, part("stderr", "P", "begun"));
        world.append(CURRENT, [part("stdout", "P", "three"), part("stdout", "F", " parts")].concat());
        assert_eq!(world.bodies(), ["three parts"]);
        if restart {
            world.restart();
        }
        world.append(CURRENT, part("stderr", "F", " and ended"));
        assert_eq!(world.bodies(), ["begun and ended"], "restart: {restart}");
        // The next one of that stream comes after its end.
        world.append(&before, part("stderr", "P", "alone"));
        world.append(CURRENT, part("stderr", "F", "four"));
        let mut bodies = world.bodies();
        bodies.sort();
        assert_eq!(bodies, ["alone", "four"], "restart: {restart}");
    }
}

/// The agent is so slow that the kubelet deletes what it never saw.
#[test]
fn no_line_goes_on_over_files_that_were_deleted_unseen_and_the_gap_is_told() {
    for restart in [false, true] {
        let mut world = World::new();
        let part = |tag: &str, text: &str| format!("2026-01-01T00:00:00Z stdout {tag} {text}\n");
        let names: Vec<String> = (1..4).map(|n| dated(&format!("{n:06}"))).collect();
        world.append(CURRENT, [part("F", "one"), part("P", "begun")].concat());
        assert_eq!(world.bodies(), ["one"]);
        for name in &names {
            world.rename(CURRENT, name);
            world.append(CURRENT, [part("F", name), part("P", "to ")].concat());
        }
        world.pack(&names[0]);
        fs::remove_file(world.path(&format!("{}.gz", names[0]))).unwrap();
        fs::remove_file(world.path(&names[1])).unwrap();
        world.follower.wake_all();
        let (nothing, _, next) = world.follower.read(0);
        assert_eq!((nothing.records(), next), (0, Next::Now));
        if restart {
            world.restart();
        }
        let found = world.read_all();
        let records: Vec<_> = found.streams.into_iter().flat_map(|stream| stream.records).collect();
        let bodies: Vec<&str> = records.iter().map(|record| record.body.as_str()).collect();
        let joined = format!("to {}", names[2]);
        assert_eq!(bodies, ["begun", names[1].as_str(), joined.as_str()], "restart: {restart}");
        assert_eq!(records[0].attributes[0].0, "log.truncated");
        assert_eq!(world.reading("binnacle_agent_log_gaps_total"), 1.0);
        assert_eq!(world.reading("binnacle_agent_log_lost_files_total"), 0.0, "of that nobody is sure");
    }
}

/// What was seen to follow a file is known to be missing or known to be there.
#[test]
fn of_rotations_that_were_seen_those_that_are_deleted_unread_are_counted() {
    for (deleted, current_alone) in [(1, false), (2, false), (3, false), (3, true)] {
        let mut world = World::new();
        let count = if current_alone { 3 } else { 4 };
        for n in 0..count {
            world.append(CURRENT, cri(n..n + 1));
            world.rename(CURRENT, &dated(&format!("{n:06}")));
        }
        world.append(CURRENT, cri(count..count + 1));
        world.follower.find();
        assert_eq!(world.follower.read(0).0.records(), 1);
        for n in 0..deleted {
            fs::remove_file(world.path(&dated(&format!("{n:06}")))).unwrap();
        }
        assert_eq!(world.bodies(), lines(deleted..count + 1), "{deleted} of {count}");
        let lost = f64::from(deleted - 1);
        assert_eq!(world.reading("binnacle_agent_log_lost_files_total"), lost, "{deleted} of {count}");
        assert_eq!(world.reading("binnacle_agent_log_gaps_total"), 0.0, "{deleted} of {count}");
    }
}

/// A stack trace that is held ends there as well, after a restart too.
#[test]
fn lines_that_are_held_end_at_a_file_that_was_deleted_while_we_were_away() {
    let mut world = World::new();
    let line = |tag: &str, text: &str| format!("2026-01-01T00:00:00Z stdout {tag} {text}\n");
    world.append(CURRENT, [line("F", "java.io.IOException: x"), line("P", "\tat a.")].concat());
    assert_eq!(world.bodies(), [""; 0], "it may go on");
    fs::remove_file(world.path(CURRENT)).unwrap();
    world.append(CURRENT, [line("F", "\tat b"), line("F", "other")].concat());
    world.restart();
    assert_eq!(world.bodies(), ["java.io.IOException: x\n\tat a.", "\tat b", "other"]);
    assert_eq!(world.reading("binnacle_agent_log_lost_files_total"), 1.0);
}

/// logrotate makes all new files, and then tells those who write.
#[test]
fn a_file_is_written_to_until_something_is_in_the_new_one() {
    let mut world = World::new();
    world.append("app.log", "one\n");
    assert_eq!(world.bodies(), ["one"]);
    world.rename("app.log", "app.log.1");
    assert_eq!(world.bodies(), [""; 0], "nobody has the name, and it is not asked for without end");
    world.append("app.log.1", "two\n");
    assert_eq!(world.bodies(), ["two"]);
    world.append("app.log", "");
    assert_eq!(world.bodies(), [""; 0]);
    world.restart();
    world.append("app.log.1", "three\n");
    assert_eq!(world.bodies(), ["three"]);
    world.append("app.log", "four\n");
    assert_eq!(world.bodies(), ["four"]);
}

/// A kubelet, a clock and an agent of whom nobody knows what they do next.
#[derive(Default)]
struct Chance {
    state: u64,
    /// Lines written so far.
    lines: u32,
    /// By name, and how many of them were deleted.
    rotations: Vec<String>,
    deleted: usize,
}

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % bound
    }

    fn write(&mut self, world: &World, name: &str, count: u64) {
        let next = self.lines + count as u32;
        world.append(name, cri(self.lines..next));
        self.lines = next;
    }

    /// To a name of this second; others are packed, and the renamed file may get last words.
    fn rotate(&mut self, world: &World, second: u64) {
        let name = dated(&format!("{second:06}"));
        if self.rotations.contains(&name) {
            return;
        }
        self.rotations.iter().filter(|old| world.path(old).exists()).for_each(|old| world.pack(old));
        world.rename(CURRENT, &name);
        let last_words = self.below(2);
        self.write(world, &name, last_words);
        self.write(world, CURRENT, 1);
        self.rotations.push(name);
    }
}

#[test]
fn whatever_rotations_clocks_and_restarts_do_each_line_comes_once() {
    for seed in 1..11u64 {
        let mut world = World::new();
        let mut chance = Chance { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), ..Chance::default() };
        let (mut second, mut found) = (500_000, vec![]);
        chance.write(&world, CURRENT, 1);
        for _ in 0..25 {
            match chance.below(8) {
                0 | 1 => {
                    let count = chance.below(3);
                    chance.write(&world, CURRENT, count);
                }
                2 | 3 => {
                    let goes_back = chance.below(4) == 0;
                    second =
                        if goes_back { second - chance.below(2_000) } else { second + 1 + chance.below(10) };
                    chance.rotate(&world, second);
                }
                4 => world.restart(),
                5 => {
                    found.extend(world.bodies());
                    // The oldest goes once it was read, as the kubelet deletes it.
                    if chance.rotations.len() > chance.deleted + 4 {
                        let oldest = &chance.rotations[chance.deleted];
                        let _ = fs::remove_file(world.path(oldest));
                        let _ = fs::remove_file(world.path(&format!("{oldest}.gz")));
                        chance.deleted += 1;
                    }
                }
                _ => {
                    world.follower.wake_all();
                    let (batch, ..) = world.follower.read(0);
                    let records = batch.streams.into_iter().flat_map(|stream| stream.records);
                    found.extend(records.map(|record| record.body));
                }
            }
        }
        found.extend(world.bodies());
        found.sort_by_key(|line| line["line ".len()..].parse::<u32>().unwrap());
        assert_eq!(found, lines(0..chance.lines), "seed {seed}");
        for lost in ["binnacle_agent_log_lost_files_total", "binnacle_agent_log_gaps_total"] {
            assert_eq!(world.reading(lost), 0.0, "{lost}, seed {seed}");
        }
    }
}

/// Whoever logs into a folder of its own can make there what is no file.
#[test]
fn what_is_no_file_holds_nothing_up() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let mut world = World::new();
    let pipe = |path: PathBuf| {
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        // Held open, so that what waits for its other end fails and does not hang.
        fs::OpenOptions::new().read(true).write(true).open(&path).unwrap()
    };
    world.append("app.log", "one\n");
    assert_eq!(world.bodies(), ["one"]);
    world.rename("app.log", "app.log.2");
    let _rotation = pipe(world.path("app.log.1"));
    world.append("app.log", "two\n");
    std::os::unix::fs::symlink("/nowhere", world.path(&dated("000001"))).unwrap();
    world.append(CURRENT, cri(0..1));
    let mut found = world.bodies();
    found.sort();
    assert_eq!(found, ["line 0", "two"]);

    fs::remove_file(world.path("app.log.1")).unwrap();
    fs::remove_file(world.path("app.log.2")).unwrap();
    world.rename("app.log", "app.log.1");
    let _named = pipe(world.path("app.log"));
    world.append("app.log.1", "three\n");
    assert_eq!(world.bodies(), ["three"]);
    fs::remove_file(world.path("app.log")).unwrap();
    world.append("app.log", "four\n");
    assert_eq!(world.bodies(), ["four"]);
}
