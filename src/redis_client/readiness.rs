//! Calls that do not block, and the wait until they do something.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Waits until there is something to read, or, if the caller `sends`, something can be written; returns false after `within`.
pub(super) fn wait(socket: BorrowedFd<'_>, sends: bool, within: Duration) -> io::Result<bool> {
    let flags = if sends {
        PollFlags::IN | PollFlags::OUT
    } else {
        PollFlags::IN
    };
    let limit = Timespec::try_from(within).ok();
    match poll(
        &mut [PollFd::from_borrowed_fd(socket, flags)],
        limit.as_ref(),
    ) {
        Ok(ready) => Ok(ready > 0),
        // The caller looks at its clock and asks again.
        Err(Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn available(mut act: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match act() {
            Ok(len) => return Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
