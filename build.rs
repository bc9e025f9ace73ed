//! Puts the commit and the build profile into `binnacle version`, and packs its relocations. A source tree without git still builds.

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
    if loader_knows_packed_relocations() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// A third of a million addresses are mended when the binary starts. As a list they are 8 MB of the file, which the start has
/// read and so stay in memory; packed they are 0.1 MB. glibc 2.36 is the first whose loader unpacks them.
fn loader_knows_packed_relocations() -> bool {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let is_own = variable("HOST") == variable("TARGET");
    is_own && variable("CARGO_CFG_TARGET_ENV") == "gnu" && glibc().is_some_and(|version| version >= (2, 36))
}

/// Of the machine that builds.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let (major, minor) =
        std::str::from_utf8(&output.stdout).ok()?.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
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
