//! The house rules as tests: which crate may import which, and what no file may hold. When one fails, the place of the
//! new code is wrong, or the architecture changed and this list changes with it, on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Crate, its folder, and the crates of ours it may import. Imports point down only.
const ARROWS: &[(&str, &str, &[&str])] = &[
    ("model", "ingest/model", &[]),
    ("wal", "ingest/wal", &[]),
    ("wire", "ingest/wire", &["model"]),
    ("store", "ingest/store", &["wal", "model"]),
    ("promql", "query/promql", &["model"]),
    ("logql", "query/logql", &["model"]),
    ("traceql", "query/traceql", &["model"]),
    ("receive", "ingest/receive", &["wire", "model"]),
    ("traces", "ingest/traces", &["model"]),
    ("agent", "agent", &["wire", "wal", "model"]),
    ("alerts", "alerts", &["model"]),
    ("engine", "query/engine", &["store", "promql", "logql", "traceql", "model"]),
    ("api", "query/api", &["engine", "store", "promql", "logql", "traceql", "model"]),
    ("dashboards", "dashboards", &[]),
];

/// The one door of each heavy dependency.
const DOORS: &[(&str, &[&str])] = &[
    ("tantivy", &["store"]),
    ("parquet", &["store"]),
    ("object_store", &["store"]),
    ("sqlx", &["store"]),
    ("datafusion", &["engine"]),
    ("promql-parser", &["promql"]),
    ("rust-embed", &["dashboards"]),
    ("procfs", &["agent"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Names below `[dependencies]` of a manifest (not dev-dependencies: tests may look up).
fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(manifest).unwrap_or_else(|e| panic!("{}: {e}", manifest.display()));
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && let Some(name) = line.split(['.', '=', ' ']).next().filter(|n| !n.is_empty()) {
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn imports_point_down() {
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, _, _)| *name).collect();
    let mut wrong = vec![];
    for (name, folder, allowed) in ARROWS {
        for dependency in dependencies(&root().join(folder).join("Cargo.toml")) {
            if ours.contains(dependency.as_str()) && !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("{name} imports {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that are not in the list: {wrong:#?}");
}

#[test]
fn every_member_is_in_the_list() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
    let members: BTreeSet<&str> = members.split('"').skip(1).step_by(2).collect();
    let listed: BTreeSet<&str> = ARROWS.iter().map(|(_, folder, _)| *folder).collect();
    assert_eq!(members, listed);
}

#[test]
fn heavy_dependencies_have_one_door() {
    let by_crate: BTreeMap<&str, BTreeSet<String>> = ARROWS
        .iter()
        .map(|(name, folder, _)| (*name, dependencies(&root().join(folder).join("Cargo.toml"))))
        .collect();
    for (heavy, doors) in DOORS {
        for (name, names) in &by_crate {
            assert!(
                !names.contains(*heavy) || doors.contains(name),
                "{name} imports {heavy}; its door is {doors:?}"
            );
        }
    }
}

/// The agent alone is small because of what it is not built of. Only manifests are read here: nothing is compiled.
#[test]
fn the_agent_alone_is_built_without_store_and_engine() {
    let arguments =
        ["tree", "--no-default-features", "--edges", "normal", "--prefix", "none", "--locked", "--offline"];
    let listed = std::process::Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--format", "{p}", "--package", "binnacle"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    let names: BTreeSet<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("agent") && names.contains("receive"), "{names:?}");
    let of_the_server =
        ["api", "arrow", "datafusion", "engine", "parquet", "pgwire", "sqlx", "store", "tantivy"];
    let heavy: Vec<_> = of_the_server.iter().filter(|name| names.contains(*name)).collect();
    assert!(heavy.is_empty(), "the agent alone is built of {heavy:?}");
}

#[test]
fn no_room_is_left_unfinished() {
    let mut wrong = vec![];
    let mut folders = vec![root().join("src")];
    folders.extend(ARROWS.iter().map(|(_, folder, _)| root().join(folder).join("src")));
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                // Assembled here so that this file does not find itself.
                for word in [
                    concat!("todo", "!("),
                    concat!("unimplemented", "!("),
                    concat!("dbg", "!("),
                    concat!("FIX", "ME"),
                ] {
                    if text.contains(word) {
                        wrong.push(format!("{}: {word}", path.display()));
                    }
                }
                let is_test = path.components().any(|c| c.as_os_str() == "tests")
                    || path.file_stem().is_some_and(|s| s == "tests");
                if !is_test && !text.starts_with("//!") {
                    wrong.push(format!("{}: does not open with what it is for", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The agent's page of pitfalls names tests: each is there.
#[test]
fn each_pitfall_has_its_tests() {
    let page = std::fs::read_to_string(root().join("agent/PITFALLS.md")).unwrap();
    let mut code = String::new();
    let mut folders = vec![root().join("agent/src"), root().join("tests/e2e")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.extension().is_some_and(|e| e == "rs") => {
                    code += &std::fs::read_to_string(path).unwrap();
                }
                _ => {}
            }
        }
    }
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert_eq!(rows.len(), 28);
    for row in rows {
        let tests: Vec<&str> = row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test in {row}");
        let missing = tests.iter().find(|test| !code.contains(&format!("fn {test}(")));
        assert!(missing.is_none(), "{missing:?} is no test; it is named in {row}");
    }
}
