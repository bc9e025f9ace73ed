//! The page in a real Chromium: every view opens without an error, dark and light.

use crate::server::{Server, eventually, program};
use std::process::Command;

#[test]
fn every_view_opens_in_chromium() {
    program("chromium");
    let server = Server::up(&["--demo"]);
    eventually("the demo's spans", || server.sql("select 1 as one from spans limit 1").first().cloned());
    eventually("this machine's metrics", || server.promql("node_load1").first().cloned());
    let web = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/web");
    let output = Command::new("node")
        .arg("e2e/pages.mjs")
        .current_dir(web)
        .env("BINNACLE_URL", server.url(""))
        .output()
        .expect("node is needed for the page's tests");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
