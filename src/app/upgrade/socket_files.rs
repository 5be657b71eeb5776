//! The files of unix sockets: each is removed at the end by the process to which it belongs.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Weak};

use crate::admin::api;
use crate::admin::api::AdminSocket;
use crate::app::pools::RunningPools;
use crate::net::{Listener, SocketFile};

/// The sockets of this process besides those of pools.
#[derive(Debug)]
pub(in crate::app) struct OwnSockets {
    pub(in crate::app) stats: OwnedFd,
    pub(in crate::app) admin: Option<(OwnedFd, Arc<SocketFile>)>,
}

/// The files of the sockets of a process.
#[derive(Debug)]
pub(in crate::app) struct SocketFiles {
    /// In the order in which the sockets are handed over; `None` for one that has no file, or one that belongs to somebody else.
    files: Vec<Option<File>>,
}

#[derive(Debug)]
enum File {
    Pool(Weak<Listener>),
    Admin(Arc<SocketFile>),
}

impl OwnSockets {
    pub(in crate::app) fn of(stats: &TcpListener, admin: Option<&AdminSocket>) -> io::Result<Self> {
        let admin = admin.map(|admin| {
            let socket = admin.as_fd().try_clone_to_owned()?;
            Ok::<_, io::Error>((socket, admin.file()))
        });
        Ok(Self {
            stats: stats.as_fd().try_clone_to_owned()?,
            admin: admin.transpose()?,
        })
    }

    /// Binds the admin socket anew if its file is gone.
    pub(in crate::app) fn restored_admin(&mut self) -> io::Result<Option<AdminSocket>> {
        match &mut self.admin {
            Some((socket, file)) if !file.is_there() => {
                let bound = api::bind(file.path())?;
                (*socket, *file) = (bound.as_fd().try_clone_to_owned()?, bound.file());
                Ok(Some(bound))
            }
            _ => Ok(None),
        }
    }
}

impl SocketFiles {
    /// Those of all sockets.
    fn all(pools: &RunningPools, own: &OwnSockets) -> impl Iterator<Item = Option<File>> {
        let pools = pools.listeners().into_iter();
        let admin = own.admin.as_ref().map(|(_, file)| Arc::clone(file));
        let stats = None;
        pools
            .map(|listener| Some(File::Pool(listener)))
            .chain([stats])
            .chain(admin.map(|file| Some(File::Admin(file))))
    }

    /// Those of a process that hands over its sockets.
    pub(super) fn given(pools: &RunningPools, own: &OwnSockets) -> Self {
        let files = Self::all(pools, own).map(|file| file.filter(File::is_own));
        Self {
            files: files.collect(),
        }
    }

    /// Has this process, which was handed over sockets, own the files of all.
    pub(in crate::app) fn take(pools: &RunningPools, own: &OwnSockets) {
        let files = Self::all(pools, own).collect();
        Self { files }.own(true);
    }

    /// Has these belong to another process: those at these places, or all if that does not say.
    pub(super) fn pass_on(&self, taken: Option<&[usize]>) {
        for (place, file) in self.files.iter().enumerate() {
            if let Some(file) = file
                && taken.is_none_or(|taken| taken.contains(&place))
            {
                file.own(false);
            }
        }
    }

    /// Says whether they belong to this process.
    pub(super) fn own(&self, are_own: bool) {
        for file in self.files.iter().flatten() {
            file.own(are_own);
        }
    }
}

impl File {
    fn own(&self, is_own: bool) {
        match self {
            Self::Pool(listener) => {
                if let Some(listener) = listener.upgrade() {
                    listener.own_file(is_own);
                }
            }
            Self::Admin(file) => file.own(is_own),
        }
    }

    fn is_own(&self) -> bool {
        match self {
            Self::Pool(listener) => listener.upgrade().is_some_and(|found| found.owns_file()),
            Self::Admin(file) => file.is_own(),
        }
    }
}
