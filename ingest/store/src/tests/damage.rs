//! Bad records and damaged files: told by name, and the rest works.

use super::*;
use std::fs;

pub fn parts(dir: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    let mut folders = vec![dir.join("parts")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_part_is_named_and_the_others_answer() {
    for ending in [".parquet", ".idx"] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        store.write(write(samples("damaged", 0..2, 0..3))).await.unwrap();
        store.flush().await.unwrap();
        store.write(write(samples("whole", 0..2, 0..3))).await.unwrap();
        store.flush().await.unwrap();
        killed(store).await;
        let first = &parts(dir.path(), ending)[0];
        let mut bytes = fs::read(first).unwrap();
        let end = bytes.len();
        bytes[end / 4..].fill(0xA5);
        fs::write(first, &bytes[..end - 3]).unwrap();

        let store = open(dir.path()).await;
        let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
        let block =
            snapshot.samples(&SeriesSelect { matchers: vec![], range: TimeRange::ALL }).await.unwrap();
        let names: Vec<&str> = block.labels.iter().filter_map(|labels| labels.get("__name__")).collect();
        assert_eq!(names, ["whole", "whole"], "{ending}");
        let warnings = snapshot.warnings();
        assert_eq!(warnings.len(), 1, "{ending}: {warnings:?}");
        assert!(warnings[0].contains("part"), "{warnings:?}");
        // New records find their way, and the damaged part stays where it is for whoever repairs it.
        store.write(write(samples("later", 0..1, 0..3))).await.unwrap();
        store.flush().await.unwrap();
        store.compact().await.unwrap();
        assert!(first.exists());
        assert_eq!(read_samples(&store, vec![Matcher::equal("__name__", "later")]).await.values.len(), 3);
    }
}

/// Nobody removes the kernel's files, not even root, and a link leads to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stray_file_that_cannot_be_removed_keeps_nobody_from_starting() {
    const KERNELS: &str = "/proc/sys/fs/inotify";
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.write(write(lines("web", &["kept"], 0))).await.unwrap();
    store.flush().await.unwrap();
    killed(store).await;
    let (stuck, stray) = (dir.path().join("parts/a"), dir.path().join("parts/z"));
    std::os::unix::fs::symlink(KERNELS, &stuck).unwrap();
    fs::write(&stray, "of a flush that did not end").unwrap();
    let there = || fs::read_dir(&stuck).unwrap().count();
    let before = there();
    assert!(before > 0, "nothing that stays");

    let store = open(dir.path()).await;
    assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await, ["kept"]);
    assert!(!stray.exists(), "those behind it go all the same");
    assert_eq!(there(), before);
    store.write(write(lines("web", &["after"], 1))).await.unwrap();
    store.flush().await.unwrap();
    killed(store).await;
    fs::remove_file(&stuck).unwrap();
    let store = open(dir.path()).await;
    assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await, ["after", "kept"]);
}

#[test]
fn a_files_name_tells_its_part() {
    let of = |name: &str| crate::part::id_of(&object_store::path::Path::from(name));
    assert_eq!(of("default/logs/7/000000000042.parquet"), Some(42));
    assert_eq!(of("default/logs/7/000000000042.idx"), Some(42));
    for other in ["a/max_user_watches", "42.idx", "000000000042", "-00000000042.idx", "9999999999999.idx"] {
        assert_eq!(of(other), None, "{other}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_log_tail_costs_only_what_was_never_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.write(write(lines("web", &["kept"], 0))).await.unwrap();
    killed(store).await;
    let segment = fs::read_dir(dir.path().join("wal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| fs::metadata(path).unwrap().len() > 0)
        .max()
        .unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes.extend([0xFF, 0x10, 0, 0, 1, 2, 3]);
    fs::write(&segment, bytes).unwrap();
    let store = open(dir.path()).await;
    assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await, ["kept"]);
    store.write(write(lines("web", &["after"], 1))).await.unwrap();
    killed(store).await;
    let store = open(dir.path()).await;
    assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await, ["after", "kept"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_out_of_bounds_are_counted_by_reason_and_the_rest_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut batch = MetricBatch::default();
    batch.begin_series(&mut [("__name__", "up")]).unwrap();
    batch.push(-62_135_596_800_000, 1.0);
    batch.push(NOON_MS, 1.0);
    batch.push(253_370_764_800_000, 1.0);
    let receipt = store.write(write(Batch::Metrics(batch))).await.unwrap();
    assert_eq!((receipt.accepted, receipt.rejected_count()), (1, 2));
    let long = "x".repeat(10 << 20);
    let receipt = store.write(write(lines("web", &["short", &long], 0))).await.unwrap();
    assert_eq!((receipt.accepted, receipt.rejected_count()), (1, 1));
    assert!(receipt.rejected[0].example.contains("10485760"), "{:?}", receipt.rejected);
    assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await, ["short"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_in_use_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path()).await;
    let second = Store::open(config(dir.path()), clock()).await;
    let told = format!("{:#}", second.err().unwrap());
    assert!(told.contains("in use"), "{told}");
    assert!(told.contains(&*dir.path().to_string_lossy()), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_memory_refuses_until_a_flush_has_made_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Config { memory_bytes_max: 1, ..config(dir.path()) }, clock()).await.unwrap();
    store.write(write(samples("up", 0..100, 0..10))).await.unwrap();
    let refused = store.write(write(samples("up", 0..1, 0..1))).await;
    // The refusal itself asks for a flush, which may be done by now.
    if let Err(refused) = refused {
        assert!(matches!(refused, Refused::Busy { .. }), "{refused}");
    }
    store.flush().await.unwrap();
    store.write(write(samples("up", 0..1, 20..21))).await.unwrap();
}
