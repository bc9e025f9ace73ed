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

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel keeps so many events (`fs.inotify.max_queued_events`) and then says only that there were more.
    #[tokio::test]
    async fn a_queue_of_events_that_overflowed_wakes_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(super::super::find::PODS).join("shop_cart_uid/cart");
        std::fs::create_dir_all(&folder).unwrap();
        let mut watch = Watch::new();
        watch.look(&Root(dir.path().to_owned()));
        assert!(watch.is_whole);
        let max = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events");
        let max: usize = max.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(16_384);
        for n in 0..max.min(200_000) + 10 {
            let path = folder.join(n.to_string());
            std::fs::File::create(&path).unwrap();
            std::fs::remove_file(path).unwrap();
        }
        watch.changed().await;
        std::fs::File::create(folder.join("0.log")).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(60), watch.changed())
            .await
            .expect("what came after the overflow is told");
    }
}
