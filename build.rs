//! Puts the commit and the build profile into `binnacle version`. A source tree without git still builds.

use std::process::Command;

fn main() {
    // The second changes with each commit; the first names only the branch.
    for path in [".git/HEAD", ".git/logs/HEAD"] {
        if std::path::Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-env-changed=BINNACLE_COMMIT");
    let commit =
        std::env::var("BINNACLE_COMMIT").ok().or_else(git_commit).unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=BINNACLE_COMMIT={commit}");
    println!("cargo::rustc-env=BINNACLE_PROFILE={}", profile().unwrap_or_else(|| "unknown".into()));
}

fn git_commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}

/// The custom profile's name is only in the path: `target/<profile>/build/<package>/out`.
fn profile() -> Option<String> {
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR")?);
    Some(out.ancestors().nth(3)?.file_name()?.to_str()?.to_owned())
}
