//! A container's log through the kubelet's rotations, packing and the agent's `kill -9`: every line once.

use crate::server::{Server, eventually};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Rotations a second, and files that stay: more than a kubelet's five, so that a dead agent finds them again.
const ROTATE_EVERY: Duration = Duration::from_millis(333);
const FILES_MAX: usize = 60;
const KILLS: usize = 4;

/// What a runtime and a kubelet do to `0.log`, with lines that know their number.
struct Writer {
    folder: PathBuf,
    written: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    fn open(&self) -> fs::File {
        fs::OpenOptions::new().create(true).append(true).open(self.folder.join("0.log")).unwrap()
    }

    fn run(self) {
        let (mut file, mut rotated) = (self.open(), Instant::now());
        let mut rotations = 0;
        while !self.stop.load(Ordering::SeqCst) {
            let n = self.written.load(Ordering::SeqCst);
            let time = format!("2026-01-01T00:{:02}:{:02}.{:09}Z", n / 60_000 % 60, n / 1_000 % 60, n);
            // One line in seven is written in parts, with the other stream's in between.
            let text = match n % 7 {
                0 => format!(
                    "{time} stdout P line \n{time} stderr P other \n{time} stdout F {n} end\n{time} stderr F {n} end\n"
                ),
                // What may begin a stack trace is held until the next line, which may be in the next file.
                _ => format!("{time} stdout F line {n} end\n{time} stderr F other {n} Error end\n"),
            };
            file.write_all(text.as_bytes()).unwrap();
            self.written.store(n + 1, Ordering::SeqCst);
            if rotated.elapsed() > ROTATE_EVERY {
                rotated = Instant::now();
                rotations += 1;
                // The runtime writes to the renamed file until it has opened the new one.
                let name = format!("0.log.20260101-{rotations:06}");
                fs::rename(self.folder.join("0.log"), self.folder.join(&name)).unwrap();
                let n = self.written.fetch_add(1, Ordering::SeqCst);
                file.write_all(
                    format!("{time} stdout F line {n} end\n{time} stderr F other {n} Error end\n").as_bytes(),
                )
                .unwrap();
                file = self.open();
                self.pack(rotations - 1);
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    }

    /// The rotation before the last one; and the oldest of all goes.
    fn pack(&self, rotation: usize) {
        let plain = self.folder.join(format!("0.log.20260101-{rotation:06}"));
        let Ok(text) = fs::read(&plain) else { return };
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        encoder.write_all(&text).unwrap();
        let tmp = plain.with_extension("tmp");
        fs::write(&tmp, encoder.finish().unwrap()).unwrap();
        fs::rename(&tmp, self.folder.join(format!("0.log.20260101-{rotation:06}.gz"))).unwrap();
        fs::remove_file(&plain).unwrap();
        if rotation > FILES_MAX {
            let _ =
                fs::remove_file(self.folder.join(format!("0.log.20260101-{:06}.gz", rotation - FILES_MAX)));
        }
    }
}

fn lines(server: &Server, what: &str) -> i64 {
    let query = format!("select count(*) as n from logs where body like '{what} %'");
    server.sql(&query)[0]["n"].as_i64().unwrap_or(0)
}

fn agent(dir: &Path, host: &Path, ingest: &str) -> Server {
    let host = host.to_str().unwrap();
    Server::start("agent", dir, &["--host-root", host, "--ingest", ingest, "--collect-interval", "1h"])
}

#[test]
fn no_line_is_lost_or_doubled_through_rotations_and_kills() {
    let dir = tempfile::tempdir().unwrap();
    let (agent_dir, host) = (dir.path().join("agent"), dir.path().join("host"));
    let folder = host.join("var/log/pods/shop_cart-0_0f8fad5b-d9cb-469f-a165-70867728950e/app");
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir(&agent_dir).unwrap();
    let server = Server::bare();
    let (written, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = Writer { folder, written: written.clone(), stop: stop.clone() };
    let writing = std::thread::spawn(move || writer.run());
    let mut running = agent(&agent_dir, &host, &server.url(""));
    for round in 0..KILLS {
        // At another place of its work each time.
        let wanted = written.load(Ordering::SeqCst) as i64 + 150 * round as i64;
        eventually("lines while rotations go on", || (lines(&server, "line") > wanted).then_some(()));
        running.kill();
        running = agent(&agent_dir, &host, &server.url(""));
    }
    stop.store(true, Ordering::SeqCst);
    writing.join().unwrap();
    let total = written.load(Ordering::SeqCst) as i64;
    for what in ["line", "other"] {
        eventually("all lines", || (lines(&server, what) >= total).then_some(()));
        let query = format!(
            "select body, count(*) as n from logs where body like '{what} %' group by body having count(*) > 1"
        );
        assert_eq!(server.sql(&query), Vec::<serde_json::Value>::new(), "none twice");
        assert_eq!(lines(&server, what), total);
        let whole = format!("select count(distinct body) as n from logs where body like '{what} % end'");
        assert_eq!(server.sql(&whole)[0]["n"], total, "each whole, parts joined");
    }
    assert_eq!(crate::traffic::reading(&running, "binnacle_agent_log_lost_files_total"), 0.0);
    let row = &server.sql("select namespace, pod, container, attr(resource, 'k8s.pod.uid') as uid from logs where body like 'line %' limit 1")[0];
    assert_eq!(
        (&row["namespace"], &row["pod"], &row["container"], &row["uid"]),
        (&"shop".into(), &"cart-0".into(), &"app".into(), &"0f8fad5b-d9cb-469f-a165-70867728950e".into())
    );
}
