//! What comes of a SIGHUP: what does not parse is told, and what was stays in force.

use tracing::{info, warn};

/// What was refused so far.
#[derive(Default)]
pub struct Reload(Vec<&'static str>);

impl Reload {
    pub fn came_to(&mut self, what: &'static str, done: anyhow::Result<()>) {
        if let Err(wrong) = done {
            warn!(error = format!("{wrong:#}"), "{what} are kept as they were");
            self.0.push(what);
        }
    }

    /// Once all was tried. Whoever looks for one line finds it, and reads in it whether all is as he wrote it.
    pub fn tell(self) {
        let Reload(kept) = self;
        if kept.is_empty() {
            info!("reloaded");
        } else {
            warn!(kept = kept.join(", "), "reloaded in part");
        }
    }
}
