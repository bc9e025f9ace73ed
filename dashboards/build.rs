//! Writes the tables that `src/lib.rs` includes: the files of `web/dist` and the JSON of `grafana`.
//!
//! It reads only. Vite has already compressed what is worth compressing (`name.gz` beside `name`); here the smaller
//! one is taken, hashed for its ETag and put into the binary by `include_bytes!`. Without a built page the table is
//! empty and the crate serves a line that says how to build it, so that Rust work needs no Node.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let dist = here.join("web/dist");
    // Cargo reruns this script at every build for as long as a watched path is missing. Where the tree cannot be
    // written (a vendored crate) that is only slower.
    let _ = fs::create_dir_all(&dist);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=web/dist");
    println!("cargo::rerun-if-changed=grafana");
    if !dist.join("index.html").exists() {
        println!(
            "cargo::warning=the web page is not built: run `make web` (needs Node 20 or newer), then build again"
        );
    }
    fs::write(out.join("files.rs"), file_table(&dist)?)?;
    fs::write(out.join("grafana.rs"), dashboard_table(&here.join("grafana"))?)
}

/// `&[File { path, bytes, encoding, etag }, …]`, sorted by path.
fn file_table(dist: &Path) -> io::Result<String> {
    let mut table = String::from("&[\n");
    for path in files_below(dist)? {
        let Some(name) = path.strip_prefix(dist).ok().and_then(Path::to_str) else { continue };
        if name.ends_with(".gz") {
            continue;
        }
        let compressed = PathBuf::from(format!("{}.gz", path.display()));
        let (stored, encoding) =
            if compressed.exists() { (compressed, "Some(\"gzip\")") } else { (path.clone(), "None") };
        let etag = fnv1a(&fs::read(&stored)?);
        let _ = writeln!(
            table,
            "    File {{ path: {name:?}, bytes: include_bytes!({:?}), encoding: {encoding}, etag: \"\\\"{etag:016x}\\\"\" }},",
            stored.display().to_string(),
        );
    }
    table.push(']');
    Ok(table)
}

/// `&[text, …]`, sorted by file name.
fn dashboard_table(folder: &Path) -> io::Result<String> {
    let mut table = String::from("&[\n");
    for path in files_below(folder)? {
        if path.extension().is_some_and(|extension| extension == "json") {
            let _ = writeln!(table, "    include_str!({:?}),", path.display().to_string());
        }
    }
    table.push(']');
    Ok(table)
}

fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Enough for an ETag: it must differ when the file does, nobody attacks it.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
