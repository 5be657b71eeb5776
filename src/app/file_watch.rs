//! Notices that files have changed: the configuration file (`--watch`), and those of TLS.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// The interval at which the file is looked at. A change counts once the file has been the same for one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at the configuration file and at files that it names, through symbolic links: the file that a link leads to may be
/// another one from now on, as in a mounted directory of Kubernetes.
#[derive(Debug)]
pub(super) struct FileWatch {
    path: PathBuf,
    /// Files that are read with it.
    named: Vec<PathBuf>,
    looks: Interval,
    settling: Settling<Stamps>,
}

/// The state of the configuration file, and of each file that it names; `None` if one of these is missing.
type Stamps = (Stamp, Vec<Option<Stamp>>);

/// Tells when what is looked at again and again has changed, and has been the same since for one look.
#[derive(Debug)]
pub(super) struct Settling<S> {
    /// The state that is in use; `None` if that is not known.
    known: Option<S>,
    /// Another one, which may still change.
    fresh: Option<S>,
}

/// What tells one state of a file from another: inode, size, and the time of the last change, of its content or its permissions,
/// in seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(u64, u64, i64, i64);

impl FileWatch {
    pub(super) fn new(path: &Path) -> Self {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            path: path.to_owned(),
            named: Vec::new(),
            looks,
            settling: Settling::new(stamp(path).map(|stamp| (stamp, Vec::new()))),
        }
    }

    /// Looks at these files too from now on, whose paths may be relative to the configuration file.
    pub(super) fn follow(&mut self, named: impl Iterator<Item = String>) {
        let directory = self.path.parent().unwrap_or_else(|| Path::new(""));
        let named: Vec<_> = named.map(|name| directory.join(name)).collect();
        if named != self.named {
            let stamps = named.iter().map(|path| stamp(path)).collect();
            self.named = named;
            self.settling.change_known(|(own, _)| (own, stamps));
        }
    }

    fn stamps(&self) -> Option<Stamps> {
        let named = self.named.iter().map(|path| stamp(path));
        Some((stamp(&self.path)?, named.collect()))
    }

    /// Completes when the files have changed. A configuration file that is missing has not. Cancel safe.
    pub(super) async fn changed(&mut self) {
        loop {
            self.looks.tick().await;
            let Some(found) = self.stamps() else {
                self.settling.unsettle();
                continue;
            };
            if self.settling.has_changed_to(found) {
                return self.settling.accept();
            }
        }
    }
}

impl<S: PartialEq> Settling<S> {
    pub(super) fn new(known: Option<S>) -> Self {
        Self { known, fresh: None }
    }

    /// Returns true if the state is another one than the known one, and was so at the last look.
    pub(super) fn has_changed_to(&mut self, found: S) -> bool {
        let found = Some(found);
        if found == self.known {
            self.fresh = None;
            return false;
        }
        let is_settled = found == self.fresh;
        self.fresh = found;
        is_settled
    }

    /// What was found at the last look is the known one from now on.
    pub(super) fn accept(&mut self) {
        self.known = self.fresh.take();
    }

    /// What was found at the last look does not count.
    pub(super) fn unsettle(&mut self) {
        self.fresh = None;
    }

    /// Changes the known state as what is looked at changes.
    pub(super) fn change_known(&mut self, change: impl FnOnce(S) -> S) {
        self.known = self.known.take().map(change);
    }

    /// Another state may be in use than the known one.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }
}

pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some(Stamp(
        found.ino(),
        found.size(),
        found.ctime(),
        found.ctime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_counts_once_it_has_settled() {
        let mut settling = Settling::new(Some(1));
        assert_eq!(
            [1, 2, 3, 1, 3].map(|found| settling.has_changed_to(found)),
            [false; 5]
        );
        // Again and again, until it is accepted.
        assert!(settling.has_changed_to(3));
        assert!(settling.has_changed_to(3));
        settling.accept();
        assert!(!settling.has_changed_to(3));
        settling.forget();
        assert!(!settling.has_changed_to(3));
        assert!(settling.has_changed_to(3));
    }

    #[test]
    fn state_that_vanishes_must_settle_again() {
        let mut settling = Settling::new(None);
        assert!(!settling.has_changed_to(1));
        settling.unsettle();
        assert!(!settling.has_changed_to(1));
        assert!(settling.has_changed_to(1));
    }
}
