//! Being told of new files and of what is written to those that are followed: the kernel says in which folder below
//! /var/log something was made, renamed, deleted or written. Which file it was is not asked: whoever is woken looks at all
//! of that folder, and at everything where the queue of events overflowed, so nothing is lost with it.
//!
//! Where the kernel gives no more watches, files are looked at now and then.

use crate::host::Root;
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::mem::MaybeUninit;
use tokio::io::unix::AsyncFd;
use tracing::info;

/// Folders watched: three levels, of the pods, of each pod and of each container.
const WATCHES_MAX: usize = 4_000;

/// Where something happened since the last look.
#[derive(Debug, Default, PartialEq)]
pub struct Told {
    /// Folders below the host's root.
    pub folders: HashSet<String>,
    /// Files came, went or have another name.
    pub has_moved: bool,
    /// More happened than the kernel kept: everything is to be looked at.
    pub everything: bool,
}

pub struct Watch {
    events: Option<AsyncFd<OwnedFd>>,
    watched: HashMap<String, i32>,
    folders: HashMap<i32, String>,
    /// All folders are watched: nothing happens unseen.
    pub is_whole: bool,
}

impl Watch {
    pub fn new() -> Watch {
        let made = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let events = made.map_err(std::io::Error::from).and_then(registered);
        if let Err(wrong) = &events {
            info!(error = %wrong, "the kernel tells of no new log files; they are looked for");
        }
        Watch { events: events.ok(), watched: HashMap::new(), folders: HashMap::new(), is_whole: false }
    }

    /// Watches the pods' folders that are there now, and those that the globs look into.
    pub fn look(&mut self, root: &Root, globs: &[String]) {
        let Some(events) = &self.events else { return };
        let mut folders = BTreeSet::from([super::find::PODS.to_owned()]);
        for pod in root.names(super::find::PODS) {
            let pod = format!("{}/{pod}", super::find::PODS);
            folders.extend(root.names(&pod).into_iter().map(|container| format!("{pod}/{container}")));
            folders.insert(pod);
        }
        folders.extend(globs.iter().flat_map(|glob| super::find::folders(root, glob)));
        // One that is not there yet will be made in the one above it.
        let mut folders: BTreeSet<String> = folders.iter().map(|folder| there(root, folder)).collect();
        self.is_whole = folders.len() <= WATCHES_MAX;
        folders = folders.into_iter().take(WATCHES_MAX).collect();
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::MODIFY
            | WatchFlags::ONLYDIR;
        for folder in &folders {
            if !self.watched.contains_key(folder) {
                match inotify::add_watch(events.get_ref(), root.path(folder), flags) {
                    Ok(watch) => {
                        self.watched.insert(folder.clone(), watch);
                        self.folders.insert(watch, folder.clone());
                    }
                    Err(_) => self.is_whole = false,
                }
            }
        }
        // The kernel forgets a watch with its folder.
        self.watched.retain(|folder, _| folders.contains(folder));
        self.folders.retain(|watch, folder| self.watched.get(folder) == Some(watch));
    }

    /// Returns once something happened; never where nothing is watched.
    pub async fn changed(&self) {
        let Some(events) = &self.events else { return std::future::pending().await };
        if events.readable().await.is_err() {
            std::future::pending().await
        }
    }

    /// What happened since it was last asked.
    pub fn told(&self) -> Told {
        let mut told = Told::default();
        let Some(events) = &self.events else { return told };
        // Asked whether it is ready, so that the next wait begins anew once it is empty.
        let emptied = events.try_io(tokio::io::Interest::READABLE, |events| {
            let mut buffer = [MaybeUninit::uninit(); 16 << 10];
            let mut reader = inotify::Reader::new(events, &mut buffer);
            loop {
                let event = reader.next()?;
                let flags = event.events();
                told.everything |= flags.contains(ReadFlags::QUEUE_OVERFLOW);
                told.has_moved |= flags.intersects(
                    ReadFlags::CREATE | ReadFlags::MOVED_TO | ReadFlags::MOVED_FROM | ReadFlags::IGNORED,
                );
                told.folders.extend(self.folders.get(&event.wd()).cloned());
            }
        });
        let _: std::io::Result<()> = emptied;
        told
    }
}

/// The folder, or the nearest one above it that is there.
fn there(root: &Root, folder: &str) -> String {
    let mut folder = folder;
    while !folder.is_empty() && !root.path(folder).is_dir() {
        folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
    }
    folder.to_owned()
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
        watch.look(&Root(dir.path().to_owned()), &[]);
        assert!(watch.is_whole);
        let max = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events");
        let max: usize = max.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(16_384);
        for n in 0..max.min(200_000) + 10 {
            let path = folder.join(n.to_string());
            std::fs::File::create(&path).unwrap();
            std::fs::remove_file(path).unwrap();
        }
        watch.changed().await;
        let told = watch.told();
        assert!(told.everything, "more happened than is known");
        std::fs::File::create(folder.join("0.log")).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(60), watch.changed())
            .await
            .expect("what came after the overflow is told");
    }

    #[tokio::test]
    async fn what_is_written_wakes_for_its_folder_alone() {
        let dir = tempfile::tempdir().unwrap();
        let container = format!("{}/shop_cart_uid/cart", super::super::find::PODS);
        let folder = dir.path().join(&container);
        std::fs::create_dir_all(&folder).unwrap();
        let mut log = std::fs::File::create(folder.join("0.log")).unwrap();
        let mut watch = Watch::new();
        watch.look(&Root(dir.path().to_owned()), &["/var/log/*.log".to_owned(), "/srv/app/*.log".to_owned()]);
        assert!(watch.is_whole, "a folder that is not there is waited for");
        std::io::Write::write_all(&mut log, b"line\n").unwrap();
        watch.changed().await;
        let written = Told { folders: [container].into(), ..Told::default() };
        assert_eq!(watch.told(), written);
        assert_eq!(watch.told(), Told::default());
        std::fs::create_dir_all(dir.path().join("srv/app")).unwrap();
        watch.changed().await;
        assert!(watch.told().has_moved);
    }
}
