//! Being told of new files: the kernel says when something is made, renamed or deleted below /var/log/pods. Which file it
//! was is not asked: whoever is woken looks at all of them, so a queue of events that overflows loses nothing.
//!
//! Where the kernel gives no more watches, files are found by looking now and then.

use crate::host::Root;
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::collections::HashSet;
use tokio::io::unix::AsyncFd;
use tracing::info;

/// Folders watched: three levels, of the pods, of each pod and of each container.
const WATCHES_MAX: usize = 4_000;

pub struct Watch {
    events: Option<AsyncFd<OwnedFd>>,
    watched: HashSet<String>,
    /// All folders are watched: nothing appears unseen.
    pub is_whole: bool,
}

impl Watch {
    pub fn new() -> Watch {
        let made = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let events = made.map_err(std::io::Error::from).and_then(registered);
        if let Err(wrong) = &events {
            info!(error = %wrong, "the kernel tells of no new log files; they are looked for");
        }
        Watch { events: events.ok(), watched: HashSet::new(), is_whole: false }
    }

    /// Watches the folders that are there now.
    pub fn look(&mut self, root: &Root) {
        let Some(events) = &self.events else { return };
        let mut folders = vec![super::find::PODS.to_owned()];
        for pod in root.names(super::find::PODS) {
            let pod = format!("{}/{pod}", super::find::PODS);
            folders.extend(root.names(&pod).into_iter().map(|container| format!("{pod}/{container}")));
            folders.push(pod);
        }
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::ONLYDIR;
        let mut is_whole = folders.len() <= WATCHES_MAX;
        for folder in folders.iter().take(WATCHES_MAX) {
            if !self.watched.contains(folder) {
                match inotify::add_watch(events.get_ref(), root.path(folder), flags) {
                    Ok(_) => _ = self.watched.insert(folder.clone()),
                    Err(_) => is_whole = false,
                }
            }
        }
        // The kernel forgets a watch with its folder.
        let there: HashSet<&String> = folders.iter().collect();
        self.watched.retain(|folder| there.contains(folder));
        self.is_whole = is_whole;
    }

    /// Returns once something happened; never where nothing is watched.
    pub async fn changed(&self) {
        let Some(events) = &self.events else { return std::future::pending().await };
        match events.readable().await {
            Ok(mut ready) => {
                let mut buffer = [0u8; 16 << 10];
                while rustix::io::read(events.get_ref(), &mut buffer).is_ok_and(|read| read > 0) {}
                ready.clear_ready();
            }
            Err(_) => std::future::pending().await,
        }
    }
}

#[allow(unsafe_code)]
fn registered(events: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is registered, and so open as long as that is.
    unsafe { AsyncFd::register(events) }.map_err(Into::into)
}
