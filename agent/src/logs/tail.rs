//! One followed file and whose it is: its lines joined, treated by the rules, and named.

use super::counts::Counts;
use super::cri;
use super::find::{Container, Found};
use super::follow::{Follow, Raw, Step};
use super::follower::With;
use super::line::{self, LINE_BYTES_MAX};
use super::positions::{Pending, Position};
use super::rules::Treatment;
use super::script::Treated;
use crate::pods;
use model::{Attributes, Labels, LogRecord};
use std::borrow::Cow;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// A plain file that was never seen is read from so far before its end: old lines have no time of their own.
const FIRST_BYTES_MAX: u64 = 16 << 20;

/// Attempts at one line that came to a panic, after which it is given up.
const PANICS_MAX: u32 = 5;

/// Of losses of one file a warning is given once in this time; all of them are counted.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// A line that may go on is held for so long after the file has nothing more.
const HOLD: Duration = Duration::from_secs(1);

pub struct Tail {
    file: Found,
    follow: Follow,
    /// One for plain files; stdout's and stderr's for containers.
    identities: Vec<(Labels, Attributes)>,
    /// Nothing is sent of a container whose pod wants it so.
    treatment: Option<Treatment>,
    gone: Option<Instant>,
    quiet: Option<Instant>,
    failed: bool,
    /// It is left alone until then: the kubelet has not named its pod.
    unnamed_until: Option<Instant>,
    /// Likewise: its lines came to a panic.
    panicked_until: Option<Instant>,
    /// Where they did, and how often in a row.
    panicked: (u64, u32),
    /// A line was given up; further ones that come to a panic are at once.
    gives_up: bool,
    /// That something of it was lost.
    warned: Option<Instant>,
    behind: u64,
    /// It is to be looked at: something was written, or it was not read to its end.
    pub is_due: bool,
    /// Nobody tells of what is written behind a link.
    pub is_link: bool,
}

/// What a turn of reading works with.
pub struct Turn<'t> {
    pub buffer: &'t mut [u8],
    pub now_ns: i64,
    pub counts: &'t Counts,
}

/// Records by stream.
pub type Records = Vec<Vec<LogRecord>>;

impl Tail {
    pub fn new(file: Found, remembered: Option<Position>, with: &With) -> Tail {
        let path = with.host.root.path(&file.path);
        let is_container = file.container.is_some();
        let position = remembered.unwrap_or_else(|| {
            let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
            if is_container || bytes <= FIRST_BYTES_MAX {
                return Position::default();
            }
            info!(path = file.path, bytes, "a large file is read from near its end");
            // Somewhere inside a line, which is passed over.
            Position { offset: bytes - FIRST_BYTES_MAX, skipping: true, ..Position::default() }
        });
        let is_link = std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink());
        let mut tail = Tail {
            file,
            follow: Follow::new(path, position, is_container),
            identities: vec![],
            treatment: None,
            gone: None,
            quiet: None,
            failed: false,
            unnamed_until: Some(Instant::now() + with.wait),
            panicked_until: None,
            panicked: (0, 0),
            gives_up: false,
            warned: None,
            behind: 0,
            is_due: true,
            is_link,
        };
        tail.identify(with);
        if tail.unnamed_until.is_some() {
            with.pods.ask();
        }
        tail
    }

    /// Whose lines these are, and what is done with them: anew when more is known of the pod.
    pub fn identify(&mut self, with: &With) {
        let node = with.host.name.as_str();
        let Some(container) = &self.file.container else {
            self.identities = vec![with.host.named(of_file(&self.file.path, node))];
            self.treatment = Some(Treatment::none());
            self.unnamed_until = None;
            return;
        };
        if with.pods.knows(&container.uid) {
            self.unnamed_until = None;
        }
        let pod = with.pods.by_uid(&container.uid);
        let of = |stream: &&str| with.host.named(of_container(container, pod.as_deref(), stream, node));
        self.identities = cri::STREAMS.iter().map(of).collect();
        self.treatment = with.rules.treatment(container, pod.as_deref(), &with.limits);
        if let Some(treatment) = &mut self.treatment {
            treatment.name(&self.identities, &container.namespace, &with.counts);
        }
    }

    pub fn path(&self) -> &str {
        &self.file.path
    }

    pub fn position(&self) -> &Position {
        &self.follow.position
    }

    pub fn identity(&self, stream: usize) -> (Labels, Attributes) {
        self.identities.get(stream).cloned().unwrap_or_default()
    }

    /// Bytes that were there and not read when it was last looked at.
    pub fn behind(&self) -> u64 {
        self.behind
    }

    /// Of its path, below the host's root.
    pub fn folder(&self) -> &str {
        self.file.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// A line is held that goes on in the next one or is let go after a while.
    pub fn holds_lines(&self) -> bool {
        self.follow.position.joined.iter().any(Option::is_some)
    }

    pub fn gone_for(&self) -> Option<Duration> {
        self.gone.map(|since| since.elapsed())
    }

    /// Whether its lines are to stay in the file for now, which is kept open: a pod that is deleted takes its files with it.
    pub fn waits(&mut self) -> bool {
        let now = Instant::now();
        let mut waits = false;
        for until in [&mut self.unnamed_until, &mut self.panicked_until] {
            *until = until.filter(|until| now < *until);
            waits |= until.is_some();
        }
        if waits {
            self.follow.hold();
        }
        waits
    }

    /// Reading it came to a panic: from this position again, after a while. Where that does not help, without the line: a
    /// file that is read no further loses all that comes after. Whether it can be read at once.
    pub fn came_to_a_panic(&mut self, from: Position, wait: Duration) -> bool {
        let place = self.follow.place();
        let times = if self.panicked.0 == place { self.panicked.1 + 1 } else { 1 };
        self.panicked = (place, times);
        self.gives_up |= times >= PANICS_MAX;
        self.is_due = true;
        let path = self.file.path.as_str();
        if !self.gives_up {
            warn!(path, place, "a log file cannot be read on for a mistake of the agent; it is tried again");
            self.follow.read_again(from);
        } else if self.follow.read_on(from) {
            warn!(path, place, "lines of a log file are passed over for a mistake of the agent");
            return true;
        }
        self.panicked_until = Some(Instant::now() + wait);
        false
    }

    /// What is new in the file, once round.
    pub fn read(&mut self, turn: Turn<'_>) -> (Records, Step) {
        let Turn { buffer, now_ns, counts } = turn;
        let mut lines = Lines::new(self.file.container.as_ref(), self.treatment.as_ref(), now_ns, counts);
        lines.records.resize_with(self.identities.len(), Vec::new);
        if std::mem::take(&mut self.follow.position.after_gap) {
            lines.end(&mut self.follow.position);
        }
        let read = self.follow.read(buffer, &mut |raw, position| lines.add(raw, position));
        lines.torn(&mut self.follow.torn);
        let step = match read {
            Ok(step) => {
                self.failed = false;
                match step {
                    Step::Gone => _ = self.gone.get_or_insert_with(Instant::now),
                    Step::More | Step::Soon | Step::Idle => self.gone = None,
                }
                step
            }
            Err(wrong) => {
                // Said once, not at every look.
                if !std::mem::replace(&mut self.failed, true) {
                    warn!(path = self.file.path, error = %wrong, "a log file cannot be read");
                }
                Step::Idle
            }
        };
        if step == Step::More {
            self.quiet = None;
        } else if self.quiet.get_or_insert_with(Instant::now).elapsed() >= HOLD {
            lines.let_go(&mut self.follow.position);
        }
        self.follow.has_passed();
        let losses = std::mem::take(&mut self.follow.losses);
        counts.lost(losses);
        let is_lost = losses.files + losses.gaps > 0;
        if is_lost && self.warned.is_none_or(|last| last.elapsed() > WARN_AGAIN) {
            self.warned = Some(Instant::now());
            let path = self.file.path.as_str();
            if losses.files > 0 {
                warn!(
                    path,
                    files = losses.files,
                    "log files were deleted before they were read to their end"
                );
            }
            if losses.gaps > 0 {
                warn!(
                    path,
                    "a log file was deleted before the next was seen, and so may have been others between them"
                );
            }
        }
        let records = lines.records;
        self.is_due = matches!(step, Step::More | Step::Soon);
        self.behind = if self.is_due { self.follow.behind() } else { 0 };
        (records, step)
    }

    /// The file is gone for good: what is still held is all that will come of it.
    pub fn finish(&mut self, turn: Turn<'_>) -> Records {
        let Turn { buffer, now_ns, counts } = turn;
        let mut lines = Lines::new(self.file.container.as_ref(), self.treatment.as_ref(), now_ns, counts);
        lines.records.resize_with(self.identities.len(), Vec::new);
        if let Err(wrong) = self.follow.finish(buffer, &mut |raw, position| lines.add(raw, position)) {
            warn!(path = self.file.path, error = %wrong, "the end of a log file cannot be read");
        }
        lines.torn(&mut self.follow.torn);
        lines.end(&mut self.follow.position);
        lines.records
    }
}

/// Lines of one turn on their way to records.
struct Lines<'l> {
    container: Option<&'l Container>,
    treatment: Option<&'l Treatment>,
    now_ns: i64,
    counts: &'l Counts,
    records: Records,
}

impl<'l> Lines<'l> {
    fn new(
        container: Option<&'l Container>,
        treatment: Option<&'l Treatment>,
        now_ns: i64,
        counts: &'l Counts,
    ) -> Lines<'l> {
        Lines { container, treatment, now_ns, counts, records: vec![] }
    }

    fn add(&mut self, raw: Raw<'_>, position: &mut Position) {
        #[cfg(test)]
        unbearable::check(raw.bytes);
        // Lines of one read keep their order by a nanosecond each.
        self.now_ns += 1;
        if self.container.is_none() {
            if !raw.bytes.is_empty() {
                let ts_ns = line::time_of(raw.bytes).unwrap_or(self.now_ns);
                self.send(0, ts_ns, raw.bytes, raw.cut);
            }
            return;
        }
        let now_ns = self.now_ns;
        let Position { pending, joined, said, .. } = position;
        cri::add(raw.bytes, now_ns, pending, said, &mut |whole| {
            self.whole(whole.stream, whole.ts_ns, whole.body, whole.cut || raw.cut, joined);
        });
    }

    /// A line of the container, which may go on what is held or be held itself.
    fn whole(
        &mut self,
        stream: usize,
        ts_ns: i64,
        body: Cow<'_, [u8]>,
        cut: bool,
        held: &mut [Option<Pending>; 2],
    ) {
        let Some(treatment) = self.treatment else { return };
        if let Some(mut open) = held[stream].take() {
            let line = body.strip_suffix(b"\r").unwrap_or(&body);
            let next = open.kind.and_then(|kind| treatment.joining.goes_on(kind, &open.body, line));
            if next.is_some() && open.body.len() + 1 + line.len() <= LINE_BYTES_MAX {
                open.kind = next;
                open.body.push(b'\n');
                open.body.extend_from_slice(line);
                open.cut |= cut;
                held[stream] = Some(open);
                return;
            }
            self.send(stream, open.ts_ns, &open.body, open.cut);
        }
        match treatment.joining.begins(&body) {
            Some(kind) => {
                let mut body = body.into_owned();
                if body.last() == Some(&b'\r') {
                    body.pop();
                }
                held[stream] = Some(Pending { ts_ns, body, cut, kind: Some(kind) });
            }
            None => self.send(stream, ts_ns, &body, cut),
        }
    }

    /// Nothing is joined to them.
    fn torn(&mut self, beginnings: &mut [Option<Pending>; 2]) {
        for (stream, begun) in beginnings.iter_mut().enumerate() {
            if let Some(begun) = begun.take() {
                self.send(stream, begun.ts_ns, &begun.body, true);
            }
        }
    }

    /// Nothing goes on what is begun or held.
    fn end(&mut self, position: &mut Position) {
        for stream in 0..2 {
            if let Some(open) = position.pending[stream].take() {
                self.whole(stream, open.ts_ns, open.body.into(), true, &mut position.joined);
            }
        }
        self.let_go(position);
    }

    fn let_go(&mut self, position: &mut Position) {
        for (stream, held) in position.joined.iter_mut().enumerate() {
            if let Some(open) = held.take() {
                self.send(stream, open.ts_ns, &open.body, open.cut);
            }
        }
    }

    fn send(&mut self, stream: usize, ts_ns: i64, line: &[u8], cut: bool) {
        let Some(treatment) = self.treatment else { return };
        match treatment.of(stream, line, ts_ns, self.now_ns) {
            Ok(Treated { line, attributes }) => {
                let mut record = line::record(ts_ns, line.into_owned(), cut);
                record.attributes.extend(attributes);
                self.records[stream].push(record);
            }
            Err(reason) => {
                let namespace = self.container.map_or("", |container| &container.namespace);
                self.counts.left_out(reason, namespace);
            }
        }
    }
}

/// promtail's labels, and OpenTelemetry's resource beside them.
fn of_container(
    container: &Container,
    pod: Option<&pods::Pod>,
    stream: &str,
    node: &str,
) -> (Labels, Attributes) {
    let job = format!("{}/{}", container.namespace, container.name);
    let named = pods::Pod::named(&container.namespace, &container.pod, &container.uid);
    let pod = pod.unwrap_or(&named);
    let service = pod.service_name(&container.name);
    let labels = Labels::from_pairs([
        ("namespace", container.namespace.as_str()),
        ("pod", &container.pod),
        ("container", &container.name),
        ("service_name", &service),
        ("stream", stream),
        ("job", &job),
        ("node", node),
    ]);
    let mut resource = pods::attributes(pod, Some(&container.name), node);
    resource.push(("service.name".into(), service.into()));
    (labels, resource)
}

fn of_file(path: &str, node: &str) -> (Labels, Attributes) {
    let filename = format!("/{path}");
    let name = path.rsplit('/').next().unwrap_or(path);
    let service = name.strip_suffix(".log").filter(|stem| !stem.is_empty()).unwrap_or(name);
    let labels = Labels::from_pairs([
        ("filename", filename.as_str()),
        ("job", "files"),
        ("service_name", service),
        ("node", node),
    ]);
    let resource = vec![
        ("service.name".into(), service.into()),
        ("host.name".into(), node.into()),
        ("log.file.path".into(), filename.as_str().into()),
    ];
    (labels, resource)
}

/// Lines that come to a panic, for tests of what follows.
#[cfg(test)]
pub mod unbearable {
    thread_local! {
        pub static LINE: std::cell::Cell<&'static [u8]> = const { std::cell::Cell::new(b"no line ends so") };
    }

    pub fn check(line: &[u8]) {
        assert!(!line.ends_with(LINE.get()), "an unbearable line");
    }
}
