//! Notices that the configuration file has changed (`--watch`).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// The interval at which the file is looked at. A change counts once the file has been the same for one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at one file, through symbolic links: the file that a link leads to may be another one from now on, as in a mounted
/// directory of Kubernetes.
#[derive(Debug)]
pub(super) struct FileWatch {
    path: PathBuf,
    looks: Interval,
    /// The file that is in use.
    known: Option<Stamp>,
    /// A changed file that may still be written to.
    fresh: Option<Stamp>,
}

/// What tells one state of a file from another: inode, size, and the time of the last change in seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(u64, u64, i64, i64);

impl FileWatch {
    pub(super) fn new(path: &Path) -> Self {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            path: path.to_owned(),
            looks,
            known: stamp(path),
            fresh: None,
        }
    }

    /// Completes when the file has changed. A file that is missing has not. Cancel safe.
    pub(super) async fn changed(&mut self) {
        loop {
            self.looks.tick().await;
            let found = stamp(&self.path);
            if found.is_none() || found == self.known {
                self.fresh = None;
            } else if found == self.fresh {
                self.known = found;
                self.fresh = None;
                return;
            } else {
                self.fresh = found;
            }
        }
    }
}

pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some(Stamp(
        found.ino(),
        found.size(),
        found.mtime(),
        found.mtime_nsec(),
    ))
}
