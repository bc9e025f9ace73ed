//! What is acknowledged is there; what is not may be cut; damage costs only itself.

use super::*;
use std::io;
use std::sync::atomic::AtomicBool;

fn open(dir: &std::path::Path) -> (Wal, Vec<Damage>) {
    Wal::open(Config { segment_bytes: 200, ..Config::new(dir) }).unwrap()
}

fn all(wal: &Wal) -> Vec<(Seq, Vec<u8>)> {
    wal.read_from(0).next_batch(usize::MAX).unwrap()
}

/// The writer thread lets go of the lock a moment after the last handle is dropped.
fn reopen(dir: &std::path::Path) -> (Wal, Vec<Damage>) {
    loop {
        match Wal::open(Config { segment_bytes: 200, ..Config::new(dir) }) {
            Err(OpenError::Locked(_)) => std::thread::yield_now(),
            other => return other.unwrap(),
        }
    }
}

#[tokio::test]
async fn records_come_back_in_order_and_space_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = open(dir.path());
    for n in 1..=50u64 {
        assert_eq!(wal.append(n.to_le_bytes().to_vec()).await.unwrap(), n);
    }
    drop(wal);
    let (wal, damage) = reopen(dir.path());
    assert!(damage.is_empty());
    assert_eq!(all(&wal).iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=50).collect::<Vec<_>>());
    let before = wal.bytes();
    wal.truncate_before(40).unwrap();
    assert!(wal.bytes() < before / 2);
    let left = all(&wal);
    assert!(left[0].0 <= 40 && left.last().unwrap().0 == 50, "{left:?}");
    assert_eq!(wal.append(vec![1]).await.unwrap(), 51);
}

#[tokio::test]
async fn a_new_segment_lets_everything_before_it_go() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(Config::new(dir.path())).unwrap();
    wal.begin_segment().await.unwrap();
    assert_eq!(wal.append(vec![7; 1000]).await.unwrap(), 1);
    wal.begin_segment().await.unwrap();
    wal.begin_segment().await.unwrap();
    assert_eq!(wal.append(vec![8; 10]).await.unwrap(), 2);
    wal.truncate_before(2).unwrap();
    assert!(wal.bytes() < 100, "{}", wal.bytes());
    assert_eq!(all(&wal), [(2, vec![8; 10])]);
    wal.begin_segment().await.unwrap();
    wal.truncate_before(3).unwrap();
    assert_eq!(wal.bytes(), 0);
    drop(wal);
    // An empty log still knows its position.
    let (wal, damage) = reopen(dir.path());
    assert!(damage.is_empty());
    assert_eq!(wal.append(vec![9]).await.unwrap(), 3);
}

#[tokio::test]
async fn many_appends_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(Config::new(dir.path())).unwrap();
    let appends = (0..200u32).map(|n| wal.append(n.to_le_bytes().to_vec()));
    let mut seqs: Vec<Seq> = futures_join(appends.collect()).await;
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=200).collect::<Vec<_>>());
    assert!(wal.syncs().0 < 200, "{:?}", wal.syncs());
}

async fn futures_join<F: Future<Output = Result<Seq, AppendError>>>(futures: Vec<F>) -> Vec<Seq> {
    let mut pending: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done = vec![];
    std::future::poll_fn(move |context| {
        pending.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(seq) => {
                done.push(seq.unwrap());
                false
            }
            std::task::Poll::Pending => true,
        });
        if pending.is_empty() {
            std::task::Poll::Ready(std::mem::take(&mut done))
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn a_torn_tail_is_cut_wherever_it_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(Config::new(dir.path())).unwrap();
    wal.append(b"first".to_vec()).await.unwrap();
    let whole = wal.bytes();
    wal.append(b"second".to_vec()).await.unwrap();
    let torn = wal.bytes();
    drop(wal);
    let path = open::segment_path(dir.path(), 1);
    let bytes = std::fs::read(&path).unwrap();
    for cut in whole + 1..torn {
        let copy = tempfile::tempdir().unwrap();
        std::fs::write(open::segment_path(copy.path(), 1), &bytes[..cut as usize]).unwrap();
        let (wal, damage) = Wal::open(Config::new(copy.path())).unwrap();
        assert_eq!(all(&wal), [(1, b"first".to_vec())]);
        assert_eq!((damage.len(), damage[0].offset, damage[0].torn_tail), (1, whole, true));
        assert_eq!(wal.append(b"again".to_vec()).await.unwrap(), 2);
        assert_eq!(all(&wal).len(), 2);
    }
}

#[tokio::test]
async fn a_damaged_middle_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(Config::new(dir.path())).unwrap();
    for word in ["one", "two", "three"] {
        wal.append(word.as_bytes().to_vec()).await.unwrap();
    }
    drop(wal);
    let path = open::segment_path(dir.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    let second = record::HEADER_BYTES + 3;
    bytes[second + record::HEADER_BYTES] ^= 0xff;
    std::fs::write(&path, bytes).unwrap();
    let (wal, damage) = reopen(dir.path());
    assert_eq!(all(&wal).iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 3]);
    assert_eq!((damage[0].offset, damage[0].torn_tail), (second as u64, false));
    assert_eq!(wal.append(vec![]).await.unwrap(), 4);
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let (_wal, _) = open(dir.path());
    let wrong = Wal::open(Config::new(dir.path())).err().unwrap();
    assert!(matches!(wrong, OpenError::Locked(_)) && wrong.to_string().contains("in use"), "{wrong}");
}

#[tokio::test]
async fn a_full_log_refuses_and_goes_on_after_truncation() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) =
        Wal::open(Config { segment_bytes: 100, bytes_max: 300, ..Config::new(dir.path()) }).unwrap();
    let mut last = 0;
    while let Ok(seq) = wal.append(vec![7; 50]).await {
        last = seq;
    }
    assert!(matches!(wal.append(vec![7; 50]).await, Err(AppendError::Full { bytes_max: 300 })));
    wal.truncate_before(last + 1).unwrap();
    assert!(wal.append(vec![7; 50]).await.is_ok());
}

/// Has room for `left` bytes, then is full; writes what fits, as a real disk does.
struct SmallDisk {
    left: usize,
}

impl Disk for SmallDisk {
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let fits = bytes.len().min(self.left);
        RealDisk.write(file, &bytes[..fits])?;
        self.left -= fits;
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        RealDisk.sync(file)
    }
}

#[tokio::test]
async fn a_full_disk_leaves_no_half_record() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open_on(Config::new(dir.path()), Box::new(SmallDisk { left: 50 })).unwrap();
    wal.append(vec![1; 20]).await.unwrap();
    let wrong = wal.append(vec![2; 20]).await.unwrap_err();
    assert!(matches!(&wrong, AppendError::Io { text, .. } if text.contains("storage")), "{wrong}");
    drop(wal);
    let (wal, damage) = reopen(dir.path());
    assert!(damage.is_empty(), "{damage:?}");
    assert_eq!(all(&wal), [(1, vec![1; 20])]);
}

/// What of a disk fails now.
#[derive(Clone, Default)]
struct Broken {
    syncs: Arc<AtomicBool>,
    cuts: Arc<AtomicBool>,
    directories: Arc<AtomicBool>,
    /// The next write comes to a panic.
    panics: Arc<AtomicBool>,
}

fn unless(broken: &AtomicBool, done: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if broken.load(Ordering::SeqCst) { Err(io::Error::other("an I/O error")) } else { done() }
}

impl Disk for Broken {
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        RealDisk.write(file, bytes)?;
        assert!(!self.panics.swap(false, Ordering::SeqCst), "a mistake in the writer");
        Ok(())
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        unless(&self.syncs, || RealDisk.sync(file))
    }

    fn cut(&mut self, file: &File, bytes: u64) -> io::Result<()> {
        unless(&self.cuts, || RealDisk.cut(file, bytes))
    }

    fn sync_dir(&mut self, dir: &std::path::Path) -> io::Result<()> {
        unless(&self.directories, || RealDisk.sync_dir(dir))
    }
}

fn open_broken(dir: &std::path::Path) -> (Wal, Broken) {
    let broken = Broken::default();
    (Wal::open_on(Config::new(dir), Box::new(broken.clone())).unwrap().0, broken)
}

/// It is whole, sound, and has the number of the one that is taken after it.
#[tokio::test]
async fn a_refused_record_that_cannot_be_cut_hides_none_that_is_acknowledged() {
    // At the end of a segment, and alone in one.
    for before in [1, 0] {
        let dir = tempfile::tempdir().unwrap();
        let (wal, broken) = open_broken(dir.path());
        for n in 0..before {
            assert_eq!(wal.append(b"one".to_vec()).await.unwrap(), n + 1);
        }
        broken.syncs.store(true, Ordering::SeqCst);
        broken.cuts.store(true, Ordering::SeqCst);
        for _ in 0..2 {
            let wrong = wal.append(b"refused".to_vec()).await.unwrap_err();
            assert!(wrong.to_string().contains("an I/O error"), "{wrong}");
        }
        broken.syncs.store(false, Ordering::SeqCst);
        assert_eq!(wal.append(b"two".to_vec()).await.unwrap(), before + 1);
        assert_eq!(wal.append(b"three".to_vec()).await.unwrap(), before + 2);
        let expected = |all: Vec<(Seq, Vec<u8>)>| {
            let bodies: Vec<Vec<u8>> = all.into_iter().map(|(_, body)| body).collect();
            let all = [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()];
            assert_eq!(bodies, all[1 - before as usize..]);
        };
        expected(all(&wal));
        drop(wal);
        expected(all(&reopen(dir.path()).0));
    }
}

/// The kernel takes what it could not write for written, and a second sync succeeds.
#[tokio::test]
async fn nothing_more_is_written_to_a_segment_after_a_failed_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, broken) = open_broken(dir.path());
    wal.append(b"one".to_vec()).await.unwrap();
    let bytes = wal.bytes();
    broken.syncs.store(true, Ordering::SeqCst);
    assert!(wal.append(b"refused".to_vec()).await.is_err());
    broken.syncs.store(false, Ordering::SeqCst);
    assert_eq!(wal.append(b"two".to_vec()).await.unwrap(), 2);
    assert_eq!(std::fs::metadata(open::segment_path(dir.path(), 1)).unwrap().len(), bytes);
    assert_eq!(wal.oldest_segment(), Some(1..2));
    drop(wal);
    let (wal, damage) = reopen(dir.path());
    assert_eq!((all(&wal), damage), (vec![(1, b"one".to_vec()), (2, b"two".to_vec())], vec![]));
}

#[tokio::test]
async fn a_segment_that_is_not_there_for_certain_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, broken) = open_broken(dir.path());
    wal.append(b"one".to_vec()).await.unwrap();
    broken.directories.store(true, Ordering::SeqCst);
    assert!(wal.begin_segment().await.is_err());
    // After a crash it may be there and end the one before it, or not be there.
    assert!(wal.append(b"refused".to_vec()).await.is_err());
    broken.directories.store(false, Ordering::SeqCst);
    assert_eq!(wal.append(b"two".to_vec()).await.unwrap(), 2);
    let both = [(1, b"one".to_vec()), (2, b"two".to_vec())];
    assert_eq!(all(&wal), both);
    drop(wal);
    let (wal, damage) = reopen(dir.path());
    assert!(damage.is_empty(), "{damage:?}");
    assert_eq!(all(&wal), both);
}

#[tokio::test]
async fn a_mistake_in_the_writer_costs_one_record_and_not_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, broken) = open_broken(dir.path());
    wal.append(b"one".to_vec()).await.unwrap();
    broken.panics.store(true, Ordering::SeqCst);
    let wrong = wal.append(b"lost".to_vec()).await.unwrap_err();
    assert!(wrong.to_string().contains("came to a panic"), "{wrong}");
    assert_eq!(wal.append(b"two".to_vec()).await.unwrap(), 2);
    let both = [(1, b"one".to_vec()), (2, b"two".to_vec())];
    assert_eq!(all(&wal), both);
    drop(wal);
    assert_eq!(all(&reopen(dir.path()).0), both);
}

#[tokio::test]
async fn a_segment_that_cannot_be_deleted_is_there_and_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(Config::new(dir.path())).unwrap();
    wal.append(vec![1; 100]).await.unwrap();
    wal.begin_segment().await.unwrap();
    wal.append(vec![2; 100]).await.unwrap();
    let (path, bytes) = (open::segment_path(dir.path(), 1), wal.bytes());
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(wal.truncate_before(2).is_err());
    assert_eq!((wal.bytes(), wal.first_seq()), (bytes, 1));
    std::fs::remove_dir(&path).unwrap();
    wal.truncate_before(2).unwrap();
    assert_eq!((wal.bytes(), wal.first_seq(), wal.oldest_segment()), (bytes / 2, 2, None));
}

/// Whoever makes room on a disk by hand deletes the largest files.
#[tokio::test]
async fn no_position_is_given_again_where_somebody_knows_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(Config { next_min: 1_000, ..Config::new(dir.path()) }).unwrap();
    assert_eq!(wal.append(b"one".to_vec()).await.unwrap(), 1_000);
    drop(wal);
    let (wal, damage) = reopen(dir.path());
    assert!(damage.is_empty());
    assert_eq!(wal.append(b"two".to_vec()).await.unwrap(), 1_001);
    assert_eq!(all(&wal), [(1_000, b"one".to_vec()), (1_001, b"two".to_vec())]);
}

/// Fails at a quarter of what it is asked for, as a seed has it, and writes half where it does not write. It syncs nothing:
/// there is no power loss here.
#[derive(Clone)]
struct Moody(Arc<AtomicU64>);

impl Moody {
    /// A step of xorshift.
    fn next(&self) -> u64 {
        let step = |mut x: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^ (x << 17)
        };
        step(self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |x| Some(step(x))).unwrap()) >> 16
    }

    fn unless_moody(&self) -> io::Result<()> {
        if self.next().is_multiple_of(4) { Err(io::Error::other("a mood")) } else { Ok(()) }
    }
}

impl Disk for Moody {
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let done = self.unless_moody();
        let written = if done.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        RealDisk.write(file, written).and(done)
    }

    fn sync(&mut self, _: &File) -> io::Result<()> {
        self.unless_moody()
    }

    fn cut(&mut self, file: &File, bytes: u64) -> io::Result<()> {
        self.unless_moody().and_then(|()| RealDisk.cut(file, bytes))
    }

    fn sync_dir(&mut self, _: &std::path::Path) -> io::Result<()> {
        self.unless_moody()
    }
}

fn open_moody(dir: &std::path::Path, disk: &Moody) -> Wal {
    loop {
        let config = Config { segment_bytes: 200, ..Config::new(dir) };
        match Wal::open_on(config, Box::new(disk.clone())) {
            Ok((wal, _)) => return wal,
            Err(OpenError::Locked(_)) => std::thread::yield_now(),
            // As long as the disk is in this mood, it cannot be opened.
            Err(OpenError::Io { .. }) => {}
        }
    }
}

/// Whatever fails: what was acknowledged is there once and in its order, and nothing else is, but for what was refused just
/// before a crash.
#[tokio::test]
async fn a_disk_that_fails_now_and_then_loses_nothing_that_was_acknowledged() {
    for seed in 1..=20u64 {
        let dir = tempfile::tempdir().unwrap();
        let disk = Moody(Arc::new(AtomicU64::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
        let mut wal = open_moody(dir.path(), &disk);
        let (mut taken, mut refused) = (vec![], vec![]);
        for n in 0..150u64 {
            let payload = n.to_le_bytes().repeat(1 + (disk.next() % 12) as usize);
            match wal.append(payload.clone()).await {
                Ok(seq) => taken.push((seq, payload)),
                Err(_) => refused.push(payload),
            }
            match disk.next() % 12 {
                0 => _ = wal.begin_segment().await,
                // As after a kill.
                1 => {
                    drop(wal);
                    wal = open_moody(dir.path(), &disk);
                    let found = all(&wal);
                    assert!(found.starts_with(&taken), "seed {seed}, {n}: {found:?} {taken:?}");
                    let more = &found[taken.len()..];
                    assert!(more.iter().all(|(_, payload)| refused.contains(payload)), "seed {seed}, {n}");
                    taken = found;
                }
                _ => {}
            }
            assert_eq!(all(&wal), taken, "seed {seed}, {n}");
        }
        assert!(taken.len() > 20 && refused.len() > 20, "{} {}", taken.len(), refused.len());
    }
}
