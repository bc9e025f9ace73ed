//! One log file through its rotations: reads whole lines from where it stopped.
//!
//! The open file is read to its end even after it was renamed, packed or deleted; then come rotations that are younger
//! than it, in their order, and at last the file that has the name now. What still comes to the file before is read beside
//! it for a while. A file is known by how it begins: one that is shorter than what was read of it, or that begins
//! otherwise, is another one and is read from its beginning. The number of its inode says nothing: a container's files get
//! two of them in turn. Which of a container's rotations are younger is remembered, as their dates do not tell it: they
//! are of a clock that goes back, every autumn by an hour.

use super::line::LINE_BYTES_MAX;
use super::positions::{LeftFile, Pending, Position};
use super::rotations::{self, Rotation};
use super::source::{HEAD_BYTES, Source, same_file};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A renamed file may still be written to by the runtime until it has opened the new one: about ten milliseconds. So
/// long after something is in the new file the old one is read before it, and its lines are in order.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// A slow runtime may have begun a line in the old file, while the other stream is in the new one already. Its rest is waited
/// for longer: else the next line of that stream would be taken for it. So is the rest of a record, of which the kernel shows
/// how far it was written, page by page: else it would be a line by itself.
const REST_OF_A_LINE: Duration = Duration::from_secs(1);

/// A disk may be slow, and of several processes that write one file each changes to the new one in its own time. So long
/// the old one is looked at beside it: what still comes is late and not lost.
const LATE_WORDS: Duration = Duration::from_secs(60);

/// A new file is seen within milliseconds. After this time one waits until the kernel tells of it.
const NAMELESS: Duration = Duration::from_secs(1);

/// Names of rotations that are remembered though no file has them: one that is being packed may be out of sight for a
/// moment, and what was deleted does not come back.
const GONE_NAMES_MAX: usize = 4;

/// Looks for the remembered file, where files are packed while they are looked at.
const LOOKS_MAX: usize = 5;

/// Lines of one read that are given up by themselves.
const GIVEN_UP_MAX: usize = 16;

pub struct Follow {
    path: PathBuf,
    pub position: Position,
    open: Option<Source>,
    /// The dated name that the open file was last seen by. An empty one that was packed since is known by nothing else.
    seen_as: Option<String>,
    /// Dated names of the rotations that followed the open file when it was opened.
    followed_by: Vec<String>,
    /// What became of the open file's name, and since when.
    leaving: Option<(Away, Instant)>,
    /// What was open before. A container's is looked at after a restart, too.
    left: Option<Left>,
    /// A container's files: their lines have times of their own, so old ones are as good as new, and packed ones are
    /// read too.
    is_container: bool,
    pub losses: Losses,
    /// Beginnings of container lines that came too late, one each of stdout and stderr: what followed in the next file was told.
    pub torn: [Option<Pending>; 2],
    giving: Giving,
    /// Where lines of the open file end that are given up, until they are passed.
    given_up: Vec<u64>,
}

/// What is being given: after a panic, what came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Giving {
    Nothing,
    /// The line that ends where the file is read to.
    Line,
    /// Lines of the file before.
    OfLeft,
}

/// What became of the name of the open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    /// No file has it.
    Nameless,
    /// One has it in which is nothing yet.
    Empty,
    Taken,
}

struct Left {
    source: Source,
    /// What is remembered of it; without a name where it cannot be found again.
    file: LeftFile,
    /// Before its last read, which is made again if what was read came to a panic.
    before: u64,
    since: Instant,
    /// It was read for the last time.
    is_over: bool,
}

/// What could not be read, since the last look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Files that were gone before they were read to their end.
    pub files: u64,
    /// Files that were gone before the next was seen: whether others came between them nobody knows.
    pub gaps: u64,
    /// Packed files that end in the middle.
    pub cut_files: u64,
    /// Bytes of lines that are longer than the limit.
    pub cut_bytes: u64,
    /// Lines that came to a panic each time.
    pub lines: u64,
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to read now.
    More,
    /// At the end of a file that is about to be left.
    Soon,
    /// At the end of what there is.
    Idle,
    /// No file of this name, and nothing more of the open one.
    Gone,
}

/// A whole line without its end, or the beginning of one that is too long.
pub struct Raw<'a> {
    pub bytes: &'a [u8],
    pub cut: bool,
}

type Each<'e> = dyn FnMut(Raw<'_>, &mut Position) + 'e;

impl Follow {
    pub fn new(path: PathBuf, position: Position, is_container: bool) -> Follow {
        let mut follow = Follow {
            path,
            position,
            open: None,
            seen_as: None,
            followed_by: vec![],
            leaving: None,
            left: None,
            is_container,
            losses: Losses::default(),
            torn: [None, None],
            giving: Giving::Nothing,
            given_up: vec![],
        };
        let after = std::mem::take(&mut follow.position.after);
        if is_container && !after.is_empty() {
            let mut older = rotations::all(&follow.path, true);
            older.retain(|one| one.suffix() <= after.as_str());
            follow.are_read(&older);
        }
        if let Some(file) = follow.position.left.take() {
            follow.left = Left::found(&follow.path, file);
            follow.remember_left();
        }
        follow
    }

    /// Reads up to a buffer's size and gives each line.
    pub fn read(&mut self, buffer: &mut [u8], each: &mut Each<'_>) -> io::Result<Step> {
        if self.open.is_none() && !self.open_where_it_stopped()? {
            return Ok(Step::Gone);
        }
        if self.position.after_gap {
            // What was begun before it ends first.
            return Ok(Step::More);
        }
        self.read_left(buffer, each);
        let Some(source) = &mut self.open else { return Ok(Step::Gone) };
        if let Some(length) = source.length()? {
            let Position { offset, head_bytes, head_hash, .. } = self.position;
            if length < offset || (length > offset && !source.begins_as(head_bytes, head_hash)) {
                self.begin();
            }
            if length <= self.position.offset {
                return self.at_the_end(buffer, each);
            }
        }
        let before = self.position.offset;
        _ = self.read_lines(buffer, each)?;
        if self.position.offset > before {
            self.leaving = None;
            return Ok(Step::More);
        }
        self.at_the_end(buffer, each)
    }

    /// Opens the file and reads nothing of it; a failure shows when it is read.
    pub fn hold(&mut self) {
        if self.open.is_none() {
            _ = self.open_where_it_stopped();
        }
    }

    /// Bytes of the open file that were not read yet, as far as that is known.
    pub fn behind(&self) -> u64 {
        let length = self.open.as_ref().and_then(|source| source.length().ok().flatten());
        length.map_or(0, |length| length.saturating_sub(self.position.offset))
    }

    /// The file is forgotten: what stands at its end without an end of line is its last line.
    pub fn finish(&mut self, buffer: &mut [u8], each: &mut Each<'_>) -> io::Result<()> {
        self.read_left(buffer, each);
        let rest = self.read_lines(buffer, each)?;
        self.last_line(&buffer[rest], each);
        Ok(())
    }

    /// Another file: nothing of it has been read. A begun container line may go on in it, and so may lines that are held.
    fn begin(&mut self) {
        let Position { pending, joined, read, after_gap, left, .. } = std::mem::take(&mut self.position);
        self.position = Position { pending, joined, read, after_gap, left, ..Position::default() };
        self.leaving = None;
    }

    /// So that it is found again after a restart.
    fn remember_left(&mut self) {
        let file = self.left.as_ref().map(|left| &left.file);
        self.position.left = file.filter(|file| !file.name.is_empty()).cloned();
    }

    /// Late words of the file before. A line of it that has no end yet waits for that, until the time is over.
    fn read_left(&mut self, buffer: &mut [u8], each: &mut Each<'_>) {
        if self.left.as_ref().is_some_and(|left| left.is_over) {
            self.left = None;
            self.remember_left();
        }
        let Some(left) = &mut self.left else { return };
        left.before = left.file.offset;
        // A file that was read to its end and cannot be read any more holds up no other.
        let filled = left.source.fill_at(buffer, left.file.offset).unwrap_or(0);
        let is_full = filled == buffer.len();
        let is_over = !is_full && left.since.elapsed() > LATE_WORDS;
        let whole = memchr::memrchr(b'\n', &buffer[..filled]).map_or(0, |end| end + 1);
        let taken = if is_over || (is_full && whole == 0) { filled } else { whole };
        // A runtime that closes the file writes there how far the line had come, which may be after the line's end in the new
        // one. Once records of a stream were read there, neither file's lines of it go on in the other.
        let said = self.position.said;
        let mut goes_on = [None, None];
        for stream in (0..2usize).filter(|stream| said[*stream]) {
            goes_on[stream] = self.position.pending[stream].take();
        }
        self.giving = Giving::OfLeft;
        for line in buffer[..taken].split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let cut = line.len() > LINE_BYTES_MAX;
            self.losses.cut_bytes += line.len().saturating_sub(LINE_BYTES_MAX) as u64;
            each(Raw { bytes: &line[..line.len().min(LINE_BYTES_MAX)], cut }, &mut self.position);
        }
        self.giving = Giving::Nothing;
        for (stream, goes_on) in goes_on.into_iter().enumerate().filter(|(stream, _)| said[*stream]) {
            self.torn[stream] = std::mem::replace(&mut self.position.pending[stream], goes_on);
        }
        self.position.said = said;
        left.file.offset += taken as u64;
        left.is_over = is_over;
        if taken > 0 {
            self.remember_left();
        }
    }

    /// Behind the line that was given last.
    pub fn place(&self) -> u64 {
        self.position.offset
    }

    /// From there again, as nothing went on of what was read since.
    pub fn read_again(&mut self, from: Position) {
        self.position = from;
        self.losses = Losses::default();
        self.torn = [None, None];
        self.giving = Giving::Nothing;
        if let Some(left) = &mut self.left {
            (left.file.offset, left.is_over) = (left.before, false);
        }
        self.remember_left();
    }

    /// As [`read_again`](Follow::read_again), without what came to a panic: the line that was being given, all that is still
    /// to come of the file before, or what is held. False where there is nothing of these.
    pub fn read_on(&mut self, mut from: Position) -> bool {
        let (end, giving) = (self.position.offset, self.giving);
        let mut lost = Losses::default();
        let is_something = match giving {
            Giving::Line => !self.given_up.contains(&end),
            Giving::OfLeft => self.left.is_some(),
            Giving::Nothing => {
                lost.lines = give_up_held(&mut from);
                lost.lines > 0
            }
        };
        match giving {
            Giving::Line => self.given_up.push(end),
            Giving::OfLeft => (self.left, lost.files) = (None, 1),
            Giving::Nothing => {}
        }
        self.read_again(from);
        self.losses = lost;
        is_something
    }

    /// All that was read has gone on.
    pub fn has_passed(&mut self) {
        self.given_up.clear();
    }

    /// The line that ends where the file is read to. Where it is given up, what is held goes with it: that may be at fault.
    fn give(&mut self, line: Raw<'_>, each: &mut Each<'_>) {
        if self.is_given_up(self.position.offset) {
            self.losses.lines += 1 + give_up_held(&mut self.position);
            return;
        }
        self.giving = Giving::Line;
        each(line, &mut self.position);
        self.giving = Giving::Nothing;
    }

    /// Where there are many, so are all that come behind the first of them: each one costs a panic, and another read.
    fn is_given_up(&self, end: u64) -> bool {
        let first = self.given_up.first().filter(|_| self.given_up.len() > GIVEN_UP_MAX);
        first.is_some_and(|first| end >= *first) || self.given_up.contains(&end)
    }

    /// The open file, which has this dated name now, is read to its end, and the next one is opened.
    fn leave_for(&mut self, next: Source, name: Option<String>) {
        let Position { head_bytes, head_hash, offset, .. } = self.position;
        let file = LeftFile { name: name.unwrap_or_default(), head_bytes, head_hash, offset };
        let before = self.open.replace(next).filter(|source| !source.is_packed());
        self.left = before.map(|source| Left::of(source, file));
        self.begin();
        self.remember_left();
    }

    /// Gives whole lines; returns where in the buffer the one stands that has no end yet.
    fn read_lines(&mut self, buffer: &mut [u8], each: &mut Each<'_>) -> io::Result<Range<usize>> {
        let Some(source) = &mut self.open else { return Ok(0..0) };
        let filled = source.fill_at(buffer, self.position.offset)?;
        remember_head(source, &mut self.position, &buffer[..filled])?;
        let mut rest = &buffer[..filled];
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            self.position.offset += end as u64 + 1;
            if std::mem::take(&mut self.position.skipping) {
                self.losses.cut_bytes += line.len() as u64;
                continue;
            }
            let cut = line.len() > LINE_BYTES_MAX;
            self.losses.cut_bytes += line.len().saturating_sub(LINE_BYTES_MAX) as u64;
            self.give(Raw { bytes: &line[..line.len().min(LINE_BYTES_MAX)], cut }, each);
        }
        if self.position.skipping {
            self.losses.cut_bytes += rest.len() as u64;
            self.position.offset += rest.len() as u64;
        } else if rest.len() >= LINE_BYTES_MAX {
            self.position.skipping = true;
            self.losses.cut_bytes += (rest.len() - LINE_BYTES_MAX) as u64;
            self.position.offset += rest.len() as u64;
            self.give(Raw { bytes: &rest[..LINE_BYTES_MAX], cut: true }, each);
        } else {
            return Ok(filled - rest.len()..filled);
        }
        Ok(0..0)
    }

    /// Stays with the file until its name belongs to another, and then goes on to the next one.
    fn at_the_end(&mut self, buffer: &mut [u8], each: &mut Each<'_>) -> io::Result<Step> {
        let Some(source) = &self.open else { return Ok(Step::Gone) };
        let mine = source.metadata()?;
        let named = std::fs::metadata(&self.path).ok();
        if let (Some(mine), Some(named)) = (&mine, &named)
            && same_file(mine, named)
        {
            self.leaving = None;
            return Ok(Step::Idle);
        }
        let younger = self.younger();
        // Nobody writes to a file after which others were rotated, and nobody to a packed one.
        let may_grow = mine.is_some() && younger.is_empty();
        if may_grow {
            let has_rest = mine.as_ref().is_some_and(|mine| mine.len() > self.position.offset);
            // Of a file that nobody can find any more no more than its last words are waited for.
            let is_deleted = mine.is_some_and(|mine| mine.nlink() == 0);
            let away = match named {
                None if is_deleted => return Ok(Step::Gone),
                // Between a rename and the new file there is none for a moment.
                None => Away::Nameless,
                // Who writes to the old one may not yet know of it: logrotate makes it, and tells them when it made all.
                Some(named) if named.len() == 0 && !is_deleted => Away::Empty,
                Some(_) => Away::Taken,
            };
            let since = match self.leaving {
                Some((before, since)) if before == away => since,
                _ => self.leaving.insert((away, Instant::now())).1,
            };
            match away {
                Away::Taken if since.elapsed() < self.last_words(has_rest) => return Ok(Step::Soon),
                Away::Taken => {}
                Away::Nameless | Away::Empty if since.elapsed() < NAMELESS => return Ok(Step::Soon),
                Away::Nameless | Away::Empty => return Ok(Step::Idle),
            }
        }
        let before = self.position.offset;
        let rest = self.read_lines(buffer, each)?;
        if self.position.offset > before {
            // Written since the look.
            return Ok(Step::More);
        }
        self.last_line(&buffer[rest], each);
        self.losses.cut_files += u64::from(self.open.as_mut().is_some_and(Source::take_cut));
        self.go_on(younger)
    }

    fn last_words(&self, has_rest: bool) -> Duration {
        let is_begun = has_rest || self.position.pending.iter().any(Option::is_some);
        if is_begun { REST_OF_A_LINE } else { LAST_WORDS }
    }

    /// The last line of a file that nobody writes to any more, even without its end.
    fn last_line(&mut self, line: &[u8], each: &mut Each<'_>) {
        if !line.is_empty() {
            self.position.offset += line.len() as u64;
            self.give(Raw { bytes: line, cut: false }, each);
        }
    }

    /// Rotations that came after the open file.
    fn younger(&mut self) -> Vec<Rotation> {
        let mut all = rotations::all(&self.path, self.is_container);
        let place = self.place_of_open(&all);
        match place {
            Some(at) if self.is_container && all[at].is_dated() => {
                self.seen_as = Some(all[at].suffix().to_owned());
                self.unread(all)
            }
            Some(at) => all.split_off(at + 1),
            None if self.is_container => self.unread(all),
            // A plain file that is gone without a trace was replaced: what is beside it is older than it.
            None => vec![],
        }
    }

    /// Without the open file and those that were read to their end or are older than it.
    fn unread(&self, all: Vec<Rotation>) -> Vec<Rotation> {
        let is_read = |name: &str| {
            self.seen_as.as_deref() == Some(name) || self.position.read.iter().any(|read| read == name)
        };
        all.into_iter().filter(|one| !one.is_dated() || !is_read(one.suffix())).collect()
    }

    /// Nothing new comes under these names.
    fn are_read(&mut self, rotations: &[Rotation]) {
        for one in rotations.iter().filter(|one| one.is_dated()) {
            if self.position.read.iter().all(|known| known != one.suffix()) {
                self.position.read.push(one.suffix().to_owned());
            }
        }
    }

    /// Nothing new comes under this name.
    fn has_read(&mut self, name: &str, all: &[Rotation]) {
        let read = &mut self.position.read;
        if read.iter().all(|known| known != name) {
            read.push(name.to_owned());
        }
        let is_there = |name: &str| all.iter().any(|one| one.suffix() == name);
        let mut gone = read.iter().filter(|name| !is_there(name)).count();
        read.retain(|name| {
            let stays = is_there(name) || gone <= GONE_NAMES_MAX;
            gone -= usize::from(!is_there(name));
            stays
        });
    }

    /// Where the open file is now: by its inode, which is its own while it is open, or packed by its content.
    fn place_of_open(&mut self, all: &[Rotation]) -> Option<usize> {
        let mine = self.open.as_ref()?.metadata().ok()?;
        let is_mine = |one: &Rotation| {
            let same = mine.as_ref().zip(std::fs::metadata(&one.path).ok());
            same.is_some_and(|(mine, named)| same_file(mine, &named))
        };
        let at = all.iter().position(is_mine);
        if at.is_some() || self.position.head_bytes == 0 || !self.is_container {
            return at;
        }
        let Position { head_bytes, head_hash, .. } = self.position;
        let is_copy = |one: &Rotation| {
            (one.is_packed() || mine.is_none())
                && Source::open(&one.path).is_ok_and(|mut source| source.begins_as(head_bytes, head_hash))
        };
        all.iter().position(is_copy)
    }

    /// To the next file: the oldest of those that are younger, or the one that has the name.
    fn go_on(&mut self, younger: Vec<Rotation>) -> io::Result<Step> {
        let all = rotations::all(&self.path, self.is_container);
        let place = self.place_of_open(&all).filter(|at| all[*at].is_dated());
        let left = place.map(|at| all[at].suffix().to_owned()).or_else(|| self.seen_as.clone());
        let left = left.filter(|_| self.is_container);
        if let Some(left) = &left {
            self.has_read(left, &all);
        }
        if let Some(next) = younger.first() {
            match Source::open(&next.path) {
                Ok(source) => {
                    let gap = self.gap();
                    self.tell(gap);
                    self.leave_for(source, left);
                    self.seen_as = next.is_dated().then(|| next.suffix().to_owned());
                    self.is_followed_by(&younger[1..]);
                }
                // Packed or deleted since the look; the next look sees what it became.
                Err(wrong) if wrong.kind() == io::ErrorKind::NotFound => return Ok(Step::More),
                Err(wrong) => return Err(wrong),
            }
            return Ok(Step::More);
        }
        let named = match Source::open(&self.path) {
            Ok(named) => named,
            // Between a rename and the new file there is none for a moment, and of a deleted pod for ever.
            Err(wrong) if wrong.kind() == io::ErrorKind::NotFound => return Ok(Step::Gone),
            Err(wrong) => return Err(wrong),
        };
        // Looked at after it was opened: what was rotated in between comes first.
        let since: Vec<Rotation> = self.younger();
        let is_named = |one: &Rotation| {
            let same = named.metadata().ok().flatten().zip(std::fs::metadata(&one.path).ok());
            same.is_some_and(|(named, one)| same_file(&named, &one))
        };
        if since.first().is_some_and(|first| !is_named(first)) {
            return Ok(Step::More);
        }
        // The kubelet renames a file after it deleted others: where none is left behind, nobody knows of a gap.
        let gap = self.gap().filter(|lost| *lost > 0);
        self.tell(gap);
        self.leave_for(named, left);
        self.seen_as = None;
        self.is_followed_by(&[]);
        Ok(Step::More)
    }

    fn is_followed_by(&mut self, younger: &[Rotation]) {
        let dated = younger.iter().filter(|one| one.is_dated());
        self.followed_by = dated.map(|one| one.suffix().to_owned()).collect();
    }

    /// How many files are known to be missing after the open one, which is about to be left; 0 where it is gone itself and
    /// what followed it was never seen, so that nobody knows whether the oldest that is there is the next.
    fn gap(&mut self) -> Option<u64> {
        // One look may miss what is packed meanwhile under either name.
        self.gap_at_a_look()?;
        self.gap_at_a_look()
    }

    fn gap_at_a_look(&mut self) -> Option<u64> {
        // Of an empty file that nobody saw renamed nothing tells where it is.
        if !self.is_container || (self.position.head_bytes == 0 && self.seen_as.is_none()) {
            return None;
        }
        let all = rotations::all(&self.path, true);
        let is_there = |name: &str| all.iter().any(|one| one.suffix() == name);
        let lost = self.followed_by.iter().take_while(|name| !is_there(name)).count();
        if lost < self.followed_by.len() {
            return (lost > 0).then_some(lost as u64);
        }
        // The oldest are deleted first. Of a younger name that is gone alone the rename was taken back.
        let is_gone = !self.seen_as.as_deref().is_some_and(is_there) && self.place_of_open(&all).is_none();
        is_gone.then_some(lost as u64)
    }

    fn tell(&mut self, gap: Option<u64>) {
        let Some(lost) = gap else { return };
        self.losses.files += lost;
        self.losses.gaps += u64::from(lost == 0);
        self.position.after_gap = true;
    }

    /// After a start: the file that begins as the remembered one, or the one that has the name.
    fn open_where_it_stopped(&mut self) -> io::Result<bool> {
        let named = match Source::open(&self.path) {
            Ok(source) => Some(source),
            Err(wrong) if wrong.kind() == io::ErrorKind::NotFound => None,
            Err(wrong) => return Err(wrong),
        };
        let Position { head_bytes, head_hash, offset, .. } = self.position;
        if head_bytes > 0 {
            let is_mine = |source: &mut Source| {
                source.begins_as(head_bytes, head_hash)
                    && source.length().is_ok_and(|length| length.is_none_or(|length| length >= offset))
            };
            let mut named = named;
            let mut all = rotations::all(&self.path, self.is_container);
            if named.as_mut().is_some_and(is_mine) {
                self.open = named;
                if self.is_container {
                    // All others are older than the one that has the name.
                    self.are_read(&all);
                }
                return Ok(true);
            }
            for _ in 0..LOOKS_MAX {
                match first_of(&all, is_mine) {
                    Ok(Some((source, at))) => {
                        self.open_rotation(source, &all[at]);
                        return Ok(true);
                    }
                    Ok(None) => break,
                    // Packed since it was found: it is the same file under another name.
                    Err(_) => all = rotations::all(&self.path, self.is_container),
                }
            }
            if named.is_none() && all.is_empty() {
                return Ok(false);
            }
            // Deleted while nobody looked; how much of it was not read cannot be known any more, and neither what came
            // between it and the oldest that is there.
            self.losses.files += u64::from(self.is_container);
            self.losses.gaps += u64::from(self.is_container);
            self.position.after_gap = self.is_container;
            self.begin();
        }
        // Never seen, or gone: what was rotated before it was found is as new.
        let oldest = match self.is_container {
            true => self.unread(rotations::all(&self.path, true)).into_iter().next(),
            false => None,
        };
        match oldest {
            Some(oldest) => {
                if let Ok(source) = Source::open(&oldest.path) {
                    self.open_rotation(source, &oldest);
                }
            }
            None => match Source::open(&self.path) {
                Ok(source) => self.open = Some(source),
                Err(wrong) if wrong.kind() == io::ErrorKind::NotFound => {}
                Err(wrong) => return Err(wrong),
            },
        }
        Ok(self.open.is_some())
    }

    fn open_rotation(&mut self, source: Source, rotation: &Rotation) {
        self.open = Some(source);
        self.seen_as = rotation.is_dated().then(|| rotation.suffix().to_owned());
        let younger = self.younger();
        self.is_followed_by(&younger);
    }
}

impl Left {
    fn of(source: Source, file: LeftFile) -> Left {
        Left { source, before: file.offset, file, since: Instant::now(), is_over: false }
    }

    /// After a restart: as it is or packed, and none where it was deleted.
    fn found(path: &Path, file: LeftFile) -> Option<Left> {
        for _ in 0..LOOKS_MAX {
            let all = rotations::all(path, true);
            let one = all.iter().find(|one| one.suffix() == file.name)?;
            // Packed since the look, it has another name.
            let Ok(mut source) = Source::open(&one.path) else { continue };
            let is_it = source.begins_as(file.head_bytes, file.head_hash);
            return is_it.then(|| Left::of(source, file));
        }
        None
    }
}

/// How many lines were held.
fn give_up_held(position: &mut Position) -> u64 {
    let held = position.pending.iter_mut().chain(&mut position.joined);
    held.filter_map(Option::take).count() as u64
}

/// The first that is the wanted one, and its place. An error where there is none, but one could be opened no more.
fn first_of(
    all: &[Rotation],
    is_wanted: impl Fn(&mut Source) -> bool,
) -> io::Result<Option<(Source, usize)>> {
    let mut missing = None;
    for (at, one) in all.iter().enumerate() {
        match Source::open(&one.path) {
            Ok(mut source) => {
                if is_wanted(&mut source) {
                    return Ok(Some((source, at)));
                }
            }
            Err(wrong) if wrong.kind() == io::ErrorKind::NotFound => missing = Some(wrong),
            Err(_) => {}
        }
    }
    missing.map_or(Ok(None), Err)
}

/// The head grows with the file until it is whole.
fn remember_head(source: &mut Source, position: &mut Position, read: &[u8]) -> io::Result<()> {
    let length = position.offset + read.len() as u64;
    let wanted = length.min(HEAD_BYTES as u64) as usize;
    if position.head_bytes as usize >= wanted {
        return Ok(());
    }
    let mut head = [0; HEAD_BYTES];
    // Of a packed file the beginning can be had only while it is read.
    let filled = match (position.offset, source.is_packed()) {
        (0, _) => {
            head[..wanted].copy_from_slice(&read[..wanted]);
            wanted
        }
        (_, false) => source.fill_at(&mut head[..wanted], 0)?,
        (_, true) => return Ok(()),
    };
    position.head_bytes = filled as u32;
    position.head_hash = xxhash_rust::xxh3::xxh3_64(&head[..filled]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_begun_line_is_waited_for_longer() {
        for (is_begun, is_cut) in [(false, false), (true, false), (false, true)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("0.log");
            std::fs::write(&path, if is_cut { "whole\nhalf of a rec" } else { "begun\n" }).unwrap();
            let mut follow = Follow::new(path.clone(), Position::default(), true);
            let mut buffer = vec![0; 64];
            while follow.read(&mut buffer, &mut |_, _| {}).unwrap() == Step::More {}
            std::fs::rename(&path, dir.path().join("0.log.20260101-000001")).unwrap();
            std::fs::write(&path, "of the other stream\n").unwrap();
            follow.position.pending[1] = is_begun.then(Pending::default);
            follow.leaving = Some((Away::Taken, Instant::now().checked_sub(LAST_WORDS).unwrap()));
            let step = follow.read(&mut buffer, &mut |_, _| {}).unwrap();
            let expected = if is_begun || is_cut { Step::Soon } else { Step::More };
            assert_eq!(step, expected, "begun: {is_begun}, cut: {is_cut}");
        }
    }

    #[test]
    fn what_is_packed_while_it_is_looked_for_is_looked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0.log.20260101-000001", "0.log.20260101-000002"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let all = rotations::all(&dir.path().join("0.log"), true);
        std::fs::remove_file(&all[0].path).unwrap();
        assert!(first_of(&all, |_| false).is_err(), "it may have been the first");
        assert_eq!(first_of(&all, |_| true).unwrap().map(|(_, at)| at), Some(1));
        std::fs::write(&all[0].path, "").unwrap();
        assert!(first_of(&all, |_| false).unwrap().is_none());
    }
}
