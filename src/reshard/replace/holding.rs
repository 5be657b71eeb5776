//! Holds that are tried until they are committed, and the waits between them.

use std::thread;
use std::time::{Duration, Instant};

use crate::reshard::board::{Board, PAUSED};
use crate::reshard::error::ReshardError;
use crate::reshard::hold::{Held, Reason, Sync};
use crate::reshard::server::Server;
use crate::reshard::worker::Holder;
use crate::topology::BucketSet;

/// How often the end is looked for.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Holds buckets until that is committed; returns false if it was told to end before.
pub(super) fn hold_until_committed(
    holder: &mut Holder<'_>,
    buckets: &BucketSet,
    sync: &mut Sync<'_>,
) -> Result<bool, ReshardError> {
    loop {
        await_resume(holder);
        if holder.board.is_ending() {
            return Ok(false);
        }
        match holder.try_hold(buckets, sync)? {
            Held::Committed(took) => {
                holder.group.committed(took);
                return Ok(true);
            }
            Held::Aborted(reason) => {
                if !put_off(holder, reason) {
                    return Ok(false);
                }
            }
        }
    }
}

/// Waits while the move is paused.
pub(super) fn await_resume(holder: &Holder<'_>) {
    let (board, name) = (holder.board, &holder.source.name);
    if board.is_paused() {
        board.update(name, |status| status.pause = Some(PAUSED.to_owned()));
        board.await_resume();
        board.update(name, |status| status.pause = None);
    }
}

/// Waits after a hold that was aborted; returns false if it was told to end.
pub(super) fn put_off(holder: &mut Holder<'_>, reason: Reason) -> bool {
    holder.aborted(reason);
    wait(holder.board, holder.group.pause())
}

/// Waits for that long; returns false if it was told to end.
pub(super) fn wait(board: &Board, time: Duration) -> bool {
    let until = Instant::now() + time;
    while Instant::now() < until && !board.is_ending() {
        thread::sleep(POLL_EVERY);
    }
    !board.is_ending()
}

/// The error of a server that is not what this coordinator has made it.
pub(super) fn lost(server: &Server) -> ReshardError {
    ReshardError::Lost {
        server: server.at.to_string(),
    }
}
